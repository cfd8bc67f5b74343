/* open.c - databases opened and closed for a command, and failures told: what, why, what next. */
#include "tools/heliosctl.h"
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

static helios_db *shared; /* the shell's */

int exit_code_of(helios_status status)
{
    switch (status) {
    case HELIOS_OK: return EXIT_CODE_OK;
    case HELIOS_NOT_FOUND: return EXIT_CODE_NOT_FOUND;
    case HELIOS_INVALID:
    case HELIOS_EXISTS: return EXIT_CODE_USAGE;
    case HELIOS_CORRUPT: return EXIT_CODE_CORRUPT;
    case HELIOS_BUSY: return EXIT_CODE_BUSY;
    case HELIOS_HISTORY_GONE:
    case HELIOS_FEED_TRIMMED: return EXIT_CODE_HISTORY;
    case HELIOS_CONFLICT: return EXIT_CODE_CONFLICT;
    default: return EXIT_CODE_DATABASE;
    }
}

static const char *advice(helios_status status)
{
    switch (status) {
    case HELIOS_BUSY: return "close the program that has it open (`fuser -v DB/HELIOS` names it) and try again";
    case HELIOS_CORRUPT:
        return "copy the directory before anything else, then go back to a checkpoint; `heliosctl dump` shows "
               "what "
               "single files hold";
    case HELIOS_NO_SPACE: return "nothing was lost: make room on the disk and try again";
    case HELIOS_NO_MEMORY: return "give the process more memory, or load in parts with --batch";
    case HELIOS_UNSUPPORTED: return "it needs a newer version of Helios: use the heliosctl of that version";
    case HELIOS_READ_ONLY: return "open it again; if that fails too, `heliosctl verify DB` says why";
    case HELIOS_IO: return "check permissions and the disk (`dmesg`), then try again";
    case HELIOS_EXISTS: return "choose another path, or leave out what insists on a new one";
    default: return NULL;
    }
}

static void print_failure(const struct args *args, const char *status_name, const char *message,
                          const char *next, int code)
{
    fflush(stdout);
    if (args->json) {
        struct json_object *outer = json_object_new_object(), *inner = json_object_new_object();

        json_object_object_add(inner, "status", json_object_new_string(status_name));
        json_add_bytes(inner, "message", (helios_slice){message, strlen(message)});
        if (next)
            json_object_object_add(inner, "advice", json_object_new_string(next));
        json_object_object_add(inner, "exit_code", json_object_new_int(code));
        json_object_object_add(outer, "error", inner);
        json_print(stderr, outer);
        json_free(outer);
        return;
    }
    fprintf(stderr, "heliosctl %s: %s\n", args->command->name, message);
    if (next)
        fprintf(stderr, "  next: %s\n", next);
}

int report_status(const struct args *args, helios_status status, const char *what)
{
    helios_buf message = {0};
    int code = exit_code_of(status);

    if (what) {
        buf_add_text(&message, what);
        buf_add_text(&message, ": ");
    }
    buf_add_text(&message, helios_last_error());
    print_failure(args, helios_status_name(status), message.data, advice(status), code);
    free(message.data);
    return code;
}

static int report_text(const struct args *args, const char *name, const char *next, int code,
                       const char *format, va_list values)
{
    char message[1024];

    vsnprintf(message, sizeof(message), format, values);
    print_failure(args, name, message, next, code);
    return code;
}

int report_usage(const struct args *args, const char *format, ...)
{
    char next[128];
    va_list values;
    int code;

    snprintf(next, sizeof(next), "`heliosctl %s --help` shows how it is called", args->command->name);
    va_start(values, format);
    code = report_text(args, "USAGE", next, EXIT_CODE_USAGE, format, values);
    va_end(values);
    return code;
}

int report_input(const struct args *args, const char *format, ...)
{
    va_list values;
    int code;

    va_start(values, format);
    code = report_text(args, "INPUT", NULL, EXIT_CODE_INPUT, format, values);
    va_end(values);
    return code;
}

int report_failure(const struct args *args, const char *format, ...)
{
    va_list values;
    int code;

    va_start(values, format);
    code = report_text(args, "FAILURE", NULL, EXIT_CODE_DATABASE, format, values);
    va_end(values);
    return code;
}

int report_system(const struct args *args, const char *format, ...)
{
    int error = errno;
    char message[1024];
    size_t size;
    va_list values;

    va_start(values, format);
    vsnprintf(message, sizeof(message), format, values);
    va_end(values);
    size = strlen(message);
    snprintf(message + size, sizeof(message) - size, ": %s", strerror(error));
    print_failure(args, error == ENOENT ? "NOT_FOUND" : "SYSTEM", message, NULL,
                  error == ENOENT ? EXIT_CODE_NOT_FOUND : EXIT_CODE_DATABASE);
    return error == ENOENT ? EXIT_CODE_NOT_FOUND : EXIT_CODE_DATABASE;
}

int report_advice(const struct args *args, const char *status_name, int code, const char *next,
                  const char *format, ...)
{
    va_list values;

    va_start(values, format);
    report_text(args, status_name, next, code, format, values);
    va_end(values);
    return code;
}

void ctl_share(helios_db *db)
{
    shared = db;
}

bool ctl_is_shared(void)
{
    return shared != NULL;
}

helios_status ctl_try_open(const struct args *args, enum open_mode mode, helios_db **db)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_encryption key;
    bool encrypted;

    if (shared) {
        *db = shared;
        return HELIOS_OK;
    }
    options.create_if_missing = mode == OPEN_CREATE || mode == OPEN_NEW || args->create;
    options.error_if_exists = mode == OPEN_NEW;
    options.read_only = mode == OPEN_READ;
    options.history_retention = args->retention; /* forever unless given: the tool lets nothing go by itself */
    options.feed_retention = mode == OPEN_FEED || args->feed ? HELIOS_FOREVER : HELIOS_IF_KEPT;
    if (mode == OPEN_NO_FEED)
        options.feed_retention = 0;
    if (key_take(args, &args->key, &key, &encrypted) != EXIT_CODE_OK)
        return HELIOS_INVALID;
    options.encryption = encrypted ? &key : NULL;
    return helios_open(args->words[0], &options, db);
}

int report_open(const struct args *args, enum open_mode mode, helios_status status)
{
    bool creates = mode == OPEN_CREATE || mode == OPEN_NEW || args->create;
    int code = report_status(args, status, NULL);

    if (status == HELIOS_NOT_FOUND && !args->json)
        fprintf(stderr,
                creates ? "  next: make the directory above %s first\n"
                        : "  next: check the path, or make a database with `heliosctl create %s`\n",
                args->words[0]);
    return code;
}

int ctl_open(const struct args *args, enum open_mode mode, helios_db **db)
{
    helios_status status = ctl_try_open(args, mode, db);

    return status == HELIOS_OK ? EXIT_CODE_OK : report_open(args, mode, status);
}

int ctl_close(const struct args *args, helios_db *db, int code)
{
    helios_status status;

    if (db == shared)
        return code;
    status = helios_close(db);
    if (status == HELIOS_OK)
        return code;
    report_status(args, status, "closing");
    return code ? code : exit_code_of(status);
}
