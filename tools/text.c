/* text.c - keys and values as text and back. */
#include "tools/heliosctl.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

void buf_add(helios_buf *buf, const void *data, size_t size)
{
    size_t wanted = buf->size + size + 1;

    if (wanted > buf->capacity) {
        size_t capacity = buf->capacity * 2 > wanted ? buf->capacity * 2 : wanted + 64;

        buf->data = xrealloc(buf->data, capacity);
        buf->capacity = capacity;
    }
    if (size)
        memcpy(buf->data + buf->size, data, size);
    buf->size += size;
    buf->data[buf->size] = '\0';
}

void buf_add_text(helios_buf *buf, const char *text)
{
    buf_add(buf, text, strlen(text));
}

/* Bytes of the well-formed UTF-8 sequence at `at` (RFC 3629), 0 if there is none. */
static size_t utf8_length(const unsigned char *at, size_t left)
{
    static const struct {
        unsigned char from, to, second_from, second_to, size;
    } rows[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (at[0] < rows[i].from || at[0] > rows[i].to)
            continue;
        if (rows[i].size > left)
            return 0;
        if (rows[i].size > 1 && (at[1] < rows[i].second_from || at[1] > rows[i].second_to))
            return 0;
        for (size_t k = 2; k < rows[i].size; k++)
            if ((at[k] & 0xc0) != 0x80)
                return 0;
        return rows[i].size;
    }
    return 0;
}

bool utf8_valid(helios_slice slice)
{
    const unsigned char *bytes = slice.data;

    for (size_t at = 0; at < slice.size;) {
        size_t size = utf8_length(bytes + at, slice.size - at);

        if (size == 0)
            return false;
        at += size;
    }
    return true;
}

size_t utf8_columns(const char *text)
{
    size_t columns = 0;

    for (; *text; text++)
        columns += ((unsigned char)*text & 0xc0) != 0x80;
    return columns;
}

/* C0 and C1 controls and DEL could drive the terminal. */
static bool is_control(const unsigned char *at, size_t size)
{
    return (size == 1 && (at[0] < 0x20 || at[0] == 0x7f)) || (size == 2 && at[0] == 0xc2 && at[1] < 0xa0);
}

static void append_escaped(helios_buf *out, helios_slice slice, bool exact)
{
    const unsigned char *bytes = slice.data;

    for (size_t at = 0; at < slice.size;) {
        size_t size = utf8_length(bytes + at, slice.size - at);

        if (exact && bytes[at] == '\\') {
            buf_add(out, "\\\\", 2);
            at++;
        } else if (size == 0 || is_control(bytes + at, size)) {
            char escape[5];

            snprintf(escape, sizeof(escape), "\\x%02x", bytes[at]);
            buf_add(out, escape, 4);
            at++;
        } else {
            buf_add(out, bytes + at, size);
            at += size;
        }
    }
    buf_add(out, "", 0);
}

void text_append(helios_buf *out, helios_slice slice)
{
    append_escaped(out, slice, true);
}

void display_append(helios_buf *out, helios_slice slice)
{
    append_escaped(out, slice, false);
}

void hex_append(helios_buf *out, helios_slice slice)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *bytes = slice.data;

    for (size_t i = 0; i < slice.size; i++) {
        char pair[2] = {digits[bytes[i] >> 4], digits[bytes[i] & 15]};

        buf_add(out, pair, 2);
    }
    buf_add(out, "", 0);
}

void print_bytes(FILE *file, const struct args *args, helios_slice slice)
{
    helios_buf text = {0};

    if (args->hex)
        hex_append(&text, slice);
    else
        text_append(&text, slice);
    fwrite(text.data, 1, text.size, file);
    free(text.data);
}

/* Bytes of the first `columns` code points; *whole: that is all of it. */
static size_t columns_end(const char *text, size_t columns, bool *whole)
{
    size_t at = 0;

    for (; text[at]; at++)
        if (((unsigned char)text[at] & 0xc0) != 0x80 && columns-- == 0)
            break;
    *whole = !text[at];
    return at;
}

size_t print_shortened(const struct args *args, helios_slice slice, size_t skip, size_t width)
{
    helios_buf text = {0};
    const char *bytes = slice.data;
    size_t end, room = skip ? width - 3 : width;
    bool whole, cut;

    while (skip && skip < slice.size && ((unsigned char)bytes[skip] & 0xc0) == 0x80)
        skip--; /* not within a code point */
    slice = (helios_slice){slice.size ? bytes + skip : "", slice.size - skip};
    cut = slice.size > room * 4; /* a code point is at most 4 bytes */
    if (cut)
        slice.size = room * 4;
    (args->hex ? hex_append : text_append)(&text, slice);
    end = columns_end(text.data, room, &whole);
    cut |= !whole;
    if (cut)
        end = columns_end(text.data, room - 3, &whole);
    printf("%s%.*s%s", skip ? "..." : "", (int)end, text.data, cut ? "..." : "");
    text.data[end] = '\0';
    end = utf8_columns(text.data) + (skip ? 3 : 0) + (cut ? 3 : 0);
    free(text.data);
    return end;
}

void print_both(const struct args *args, helios_slice from, helios_slice to, int width)
{
    enum { ARROW_COLUMNS = 4, CONTEXT = 12 };
    size_t part = width < 56 + ARROW_COLUMNS ? 28 : (size_t)(width - ARROW_COLUMNS) / 2;
    size_t skip = bytes_common(from, to), longest = from.size > to.size ? from.size : to.size;

    skip = longest > part && skip > CONTEXT ? skip - CONTEXT : 0;
    print_shortened(args, from, skip, part);
    fputs(" -> ", stdout);
    print_shortened(args, to, skip, part);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte written as two digits at text, or -1. */
static int hex_byte(const char *text)
{
    int high = hex_digit(text[0]), low = high < 0 ? -1 : hex_digit(text[1]);

    return low < 0 ? -1 : high << 4 | low;
}

static bool decode_hex(const char *text, char *out, size_t *size)
{
    size_t length = strlen(text);

    if (length % 2)
        return false;
    for (size_t i = 0; i < length; i += 2) {
        int byte = hex_byte(text + i);

        if (byte < 0)
            return false;
        out[i / 2] = (char)byte;
    }
    *size = length / 2;
    return true;
}

/* What one escape, behind its backslash, stands for; *used gets its characters. -1: it is none. */
static int escape_value(const char *text, size_t *used)
{
    static const char names[] = "\\ntr0", values[] = "\\\n\t\r\0";
    const char *found;

    *used = 1;
    if (*text == 'x') {
        *used = 3;
        return hex_byte(text + 1);
    }
    found = *text ? strchr(names, *text) : NULL;
    return found ? (unsigned char)values[found - names] : -1;
}

static bool decode_text(const char *text, char *out, size_t *size)
{
    size_t count = 0;

    while (*text) {
        size_t used;
        int byte;

        if (*text != '\\') {
            out[count++] = *text++;
            continue;
        }
        byte = escape_value(text + 1, &used);
        if (byte < 0)
            return false;
        out[count++] = (char)byte;
        text += 1 + used;
    }
    *size = count;
    return true;
}

bool bytes_decode(bool hex, const char *text, helios_slice *slice)
{
    char *bytes = xalloc(strlen(text) + 1);
    size_t size = 0;

    if (!(hex ? decode_hex(text, bytes, &size) : decode_text(text, bytes, &size))) {
        free(bytes);
        return false;
    }
    *slice = (helios_slice){bytes, size};
    return true;
}

bool bytes_from_text(const struct args *args, const char *text, helios_slice *slice)
{
    if (bytes_decode(args->hex, text, slice))
        return true;
    if (args->hex)
        report_usage(args, "\"%s\" is not hexadecimal: an even number of digits 0-9 a-f is wanted", text);
    else
        report_usage(args, "\"%s\": a backslash there begins no escape; \\\\ is a backslash, \\xNN a byte",
                     text);
    return false;
}

int bytes_from_file(const struct args *args, const char *path, helios_slice *value)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    helios_buf content = {0};
    char piece[65536];
    size_t got;
    bool bad;

    if (!file)
        return report_system(args, "cannot open %s", path);
    while ((got = fread(piece, 1, sizeof(piece), file)) > 0)
        buf_add(&content, piece, got);
    bad = ferror(file);
    if (file != stdin)
        fclose(file);
    if (bad) {
        free(content.data);
        return report_system(args, "cannot read %s", path);
    }
    buf_add(&content, "", 0);
    *value = (helios_slice){content.data, content.size};
    return EXIT_CODE_OK;
}

size_t bytes_common(helios_slice a, helios_slice b)
{
    const char *x = a.data, *y = b.data;
    size_t size = a.size < b.size ? a.size : b.size, at = 0;

    while (at < size && x[at] == y[at])
        at++;
    return at;
}

void slice_free(helios_slice *slice)
{
    free((void *)(uintptr_t)slice->data);
    *slice = (helios_slice){0};
}

helios_slice prefix_end(helios_slice prefix)
{
    unsigned char *end = xalloc(prefix.size + 1);
    size_t size = prefix.size;

    if (size)
        memcpy(end, prefix.data, size);
    while (size && end[size - 1] == 0xff)
        size--;
    if (size == 0) {
        free(end);
        return (helios_slice){0};
    }
    end[size - 1]++;
    return (helios_slice){end, size};
}
