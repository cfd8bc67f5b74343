/* utf8.c - whether bytes are text. Called wherever a name comes from a caller or from disk. */
#include "base/utf8.h"
#include <string.h>

/* The bytes of one character, 0 if it is none. */
static size_t character_size(const unsigned char *s, size_t left)
{
    size_t size = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;

    if (size > left)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return size;
}

static bool is_control(const unsigned char *s, size_t size)
{
    return s[0] < 0x20 || s[0] == 0x7f || (size == 2 && s[0] == 0xc2 && s[1] < 0xa0);
}

size_t utf8_bad_byte(const char *text, size_t size)
{
    size_t at = 0;

    while (at < size) {
        const unsigned char *s = (const unsigned char *)text + at;
        size_t bytes = character_size(s, size - at);

        if (bytes == 0 || is_control(s, bytes))
            break;
        at += bytes;
    }
    return at;
}

bool is_name(const char *text, size_t size)
{
    return size > 0 && size <= NAME_BYTES_MAX && utf8_bad_byte(text, size) == size;
}

helios_status name_check(const char *what, const char *name)
{
    size_t size = name ? strlen(name) : 0;

    if (is_name(name, size))
        return HELIOS_OK;
    if (size == 0 || size > NAME_BYTES_MAX)
        return fail(HELIOS_INVALID, "the name of %s has 1 to %d bytes, this one %zu", what, NAME_BYTES_MAX,
                    size);
    return fail(HELIOS_INVALID, "the name of %s is UTF-8 without control characters; byte %zu is not", what,
                utf8_bad_byte(name, size));
}
