/* csv_out.c - fields quoted as RFC 4180 wants them, only where needed; for TSV, escaped. Lines end with
 * a line feed. */
#include "tools/csv_out.h"
#include <string.h>

static bool wants_quotes(const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (strchr(",\"\r\n", data[i]) && data[i])
            return true;
    return size && (data[0] == ' ' || data[size - 1] == ' ');
}

static void put_tabs(FILE *file, const char *data, size_t size)
{
    static const char names[] = "tnr\\", values[] = "\t\n\r\\";

    for (size_t i = 0; i < size; i++) {
        const char *found = data[i] ? strchr(values, data[i]) : NULL;

        if (found)
            fputc('\\', file);
        fputc(found ? names[found - values] : data[i], file);
    }
}

static void put_quoted(FILE *file, const char *data, size_t size)
{
    fputc('"', file);
    for (size_t i = 0; i < size; i++) {
        if (data[i] == '"')
            fputc('"', file);
        fputc(data[i], file);
    }
    fputc('"', file);
}

void csv_out_field(struct csv_out *out, const void *data, size_t size)
{
    if (out->fields++)
        fputc(out->tabs ? '\t' : ',', out->file);
    if (out->tabs)
        put_tabs(out->file, data, size);
    else if (wants_quotes(data, size))
        put_quoted(out->file, data, size);
    else if (size)
        fwrite(data, 1, size, out->file);
}

void csv_out_end(struct csv_out *out)
{
    fputc('\n', out->file);
    out->fields = 0;
}
