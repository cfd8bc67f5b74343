/* text.c - keys in sentences for people. Called where a conflict is told. */
#include "engine/text.h"

void print_key(helios_slice key, char out[PRINTED_KEY_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;

    for (size_t i = 0; i < key.size; i++) {
        unsigned char byte = slice_bytes(key)[i];

        if (at > PRINTED_KEY_BYTES - 8) {
            memcpy(out + at, "...", 3);
            at += 3;
            break;
        }
        if (byte >= ' ' && byte < 0x7f && byte != '\\') {
            out[at++] = (char)byte;
            continue;
        }
        out[at++] = '\\';
        out[at++] = 'x';
        out[at++] = digits[byte >> 4];
        out[at++] = digits[byte & 15];
    }
    out[at] = 0;
}
