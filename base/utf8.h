/* utf8.h - whether bytes are text, and a name. */
#ifndef HELIOS_BASE_UTF8_H
#define HELIOS_BASE_UTF8_H
#include "base/status.h"
#include <stddef.h>

enum { NAME_BYTES_MAX = 255 };

/* The offset of the first byte that is not part of a UTF-8 character (RFC 3629), or of a control character (C0, DEL,
 * C1); size: there is none. */
size_t utf8_bad_byte(const char *text, size_t size);

/* Whether bytes can be a name: 1 to NAME_BYTES_MAX of UTF-8 without control characters. */
bool is_name(const char *text, size_t size);
/* The same of what a caller gave, NULL too; HELIOS_INVALID says what is wrong with the name of `what`: "a tag". */
helios_status name_check(const char *what, const char *name) CHECKED;

#endif
