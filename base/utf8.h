/* utf8.h - whether bytes are text, for names. */
#ifndef HELIOS_BASE_UTF8_H
#define HELIOS_BASE_UTF8_H
#include <stddef.h>

/* The offset of the first byte that is not part of a UTF-8 character (RFC 3629), or of a control character (C0, DEL,
 * C1); size: there is none. */
size_t utf8_bad_byte(const char *text, size_t size);

#endif
