/* status.c - the sentence behind helios_last_error(), one for each thread, and names of statuses. */
#include "base/status.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static __thread char last_error[ERROR_TEXT_BYTES];
static __thread const char *fixed_error; /* instead of it; NULL: last_error is the sentence */

const char *helios_last_error(void)
{
    return fixed_error ? fixed_error : last_error;
}

const char *helios_status_name(helios_status status)
{
    static const char *const names[] = {
        [HELIOS_OK] = "HELIOS_OK",
        [HELIOS_NOT_FOUND] = "HELIOS_NOT_FOUND",
        [HELIOS_EXISTS] = "HELIOS_EXISTS",
        [HELIOS_INVALID] = "HELIOS_INVALID",
        [HELIOS_CONFLICT] = "HELIOS_CONFLICT",
        [HELIOS_HISTORY_GONE] = "HELIOS_HISTORY_GONE",
        [HELIOS_FEED_TRIMMED] = "HELIOS_FEED_TRIMMED",
        [HELIOS_TIMEOUT] = "HELIOS_TIMEOUT",
        [HELIOS_BUSY] = "HELIOS_BUSY",
        [HELIOS_READ_ONLY] = "HELIOS_READ_ONLY",
        [HELIOS_NO_SPACE] = "HELIOS_NO_SPACE",
        [HELIOS_LIMIT] = "HELIOS_LIMIT",
        [HELIOS_CORRUPT] = "HELIOS_CORRUPT",
        [HELIOS_UNSUPPORTED] = "HELIOS_UNSUPPORTED",
        [HELIOS_IO] = "HELIOS_IO",
        [HELIOS_NO_MEMORY] = "HELIOS_NO_MEMORY",
        [HELIOS_GAP] = "HELIOS_GAP",
    };

    if ((size_t)status >= sizeof(names) / sizeof(names[0]))
        return "HELIOS_?";
    return names[status];
}

/* As much of it as there is room for, and its end. */
static void copy_text(char *to, const char *text, size_t room)
{
    size_t size = strlen(text);

    size = size < room ? size : room - 1;
    memcpy(to, text, size);
    to[size] = '\0';
}

/* The arguments may point into the sentence that is being replaced, so it is made beside it. */
static void set_text(const char *format, va_list args)
{
    char text[ERROR_TEXT_BYTES];

    vsnprintf(text, sizeof(text), format, args);
    memcpy(last_error, text, sizeof(text));
    fixed_error = NULL;
}

helios_status fail(helios_status status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    set_text(format, args);
    va_end(args);
    return status;
}

helios_status fail_fixed(helios_status status, const char *text)
{
    fixed_error = text;
    return status;
}

helios_status fail_corrupt(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    set_text(format, args);
    va_end(args);
    return HELIOS_CORRUPT;
}

helios_status fail_no_memory(size_t size)
{
    return fail(HELIOS_NO_MEMORY, "out of memory: %zu bytes wanted", size);
}

static helios_status status_of_errno(int error_number)
{
    switch (error_number) {
    case ENOSPC:
    case EDQUOT: return HELIOS_NO_SPACE;
    case ENOENT: return HELIOS_NOT_FOUND;
    case EEXIST: return HELIOS_EXISTS;
    case ENOMEM: return HELIOS_NO_MEMORY;
    case EROFS: return HELIOS_READ_ONLY;
    default: return HELIOS_IO;
    }
}

helios_status fail_io(int error_number, const char *what, const char *path)
{
    char buffer[128];

    return fail(status_of_errno(error_number), "cannot %s %s: %s (errno %d)", what, path,
                strerror_r(error_number, buffer, sizeof(buffer)), error_number);
}

helios_status fail_context(helios_status status, const char *format, ...)
{
    char text[ERROR_TEXT_BYTES];
    va_list args;
    size_t used;

    if (status == HELIOS_OK)
        return status;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    used = strlen(text);
    if (used + 2 < sizeof(text)) { /* else there is no room for the sentence itself */
        memcpy(text + used, ": ", 3);
        used += 2;
        copy_text(text + used, helios_last_error(), sizeof(text) - used);
    }
    memcpy(last_error, text, sizeof(text));
    fixed_error = NULL;
    return status;
}

void error_keep(struct error_note *note, helios_status status)
{
    if (status == HELIOS_OK || note->status != HELIOS_OK)
        return;
    copy_text(note->text, helios_last_error(), sizeof(note->text));
    note->status = status;
}

helios_status error_tell(const struct error_note *note)
{
    if (note->status != HELIOS_OK) {
        memcpy(last_error, note->text, sizeof(last_error));
        fixed_error = NULL;
    }
    return note->status;
}
