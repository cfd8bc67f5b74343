/* status.h - how a failure is told: a status and one sentence for a person, per thread.
 * The sentence is written where the facts are known; the way up may add context in front. */
#ifndef HELIOS_BASE_STATUS_H
#define HELIOS_BASE_STATUS_H
#include "helios/helios.h"
#include <stdarg.h>

#define CHECKED                  __attribute__((warn_unused_result))
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))

enum { ERROR_TEXT_BYTES = 512 };

/* A failure kept for later: the sticky error of a handle, the state after a background error. */
struct error_note {
    helios_status status; /* HELIOS_OK: nothing happened */
    char text[ERROR_TEXT_BYTES];
};

/* Sets this thread's sentence and returns the status, which is never HELIOS_OK. */
helios_status fail(helios_status status, const char *format, ...) PRINTF_LIKE(2, 3);

/* The same for a sentence that needs no formatting and lives as long as the program: cheap enough for what is asked a
 * million times. */
helios_status fail_fixed(helios_status status, const char *text);

/* The one way in which corruption is reported: name the file and the offset. */
helios_status fail_corrupt(const char *format, ...) PRINTF_LIKE(1, 2);

helios_status fail_no_memory(size_t size);

/* A failed call of the operating system: "cannot <what> <path>: <strerror> (errno n)".
 * ENOSPC and EDQUOT give HELIOS_NO_SPACE, ENOENT HELIOS_NOT_FOUND, EEXIST HELIOS_EXISTS,
 * ENOMEM HELIOS_NO_MEMORY, EROFS HELIOS_READ_ONLY, the rest HELIOS_IO. */
helios_status fail_io(int error_number, const char *what, const char *path);

/* Puts "context: " in front of the sentence; returns the status given. HELIOS_OK passes through. */
helios_status fail_context(helios_status status, const char *format, ...) PRINTF_LIKE(2, 3);

/* Copies status and this thread's sentence into the note, unless the note has an error already. */
void error_keep(struct error_note *note, helios_status status);

/* Sets this thread's sentence from the note and returns its status. */
helios_status error_tell(const struct error_note *note);

#endif
