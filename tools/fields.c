/* fields.c - records of fields. CSV comes from libcsv in its strict mode, fed one line at a time so
 * that a record knows its line. TSV has one record a line; \t, \n, \r and \\ stand for what cannot be
 * written, any other backslash for itself. */
#include "tools/fields.h"
#include <csv.h>
#include <stdlib.h>
#include <string.h>

void lines_begin(struct lines *lines, FILE *file)
{
    free(lines->text);
    *lines = (struct lines){.file = file};
}

bool lines_next(struct lines *lines)
{
    ssize_t size = getline(&lines->text, &lines->capacity, lines->file);

    if (size < 0)
        return false;
    lines->size = (size_t)size;
    lines->offset += lines->size;
    if (++lines->number == 1 && lines->size >= 3 && memcmp(lines->text, "\xef\xbb\xbf", 3) == 0) {
        lines->size -= 3;
        memmove(lines->text, lines->text + 3, lines->size + 1);
    }
    return true;
}

void lines_release(struct lines *lines)
{
    free(lines->text);
    lines->text = NULL;
}

struct field_reader {
    bool tabs;
    bool row_done;  /* the record is complete */
    bool row_extra; /* and something came behind it on its line */
    struct csv_parser csv;
    helios_buf bytes; /* the fields, one behind the other */
    size_t *ends;
    helios_slice *items;
    size_t count, capacity;
};

/* RFC 4180: "spaces are considered part of a field". */
static int no_space(unsigned char c)
{
    return 0;
}

static void csv_begin(struct field_reader *reader)
{
    csv_init(&reader->csv, CSV_STRICT | CSV_STRICT_FINI);
    csv_set_space_func(&reader->csv, no_space);
}

struct field_reader *field_reader_new(bool tabs)
{
    struct field_reader *reader = xalloc(sizeof(*reader));

    memset(reader, 0, sizeof(*reader));
    reader->tabs = tabs;
    csv_begin(reader);
    return reader;
}

void field_reader_free(struct field_reader *reader)
{
    if (!reader)
        return;
    csv_free(&reader->csv);
    free(reader->bytes.data);
    free(reader->ends);
    free(reader->items);
    free(reader);
}

static void end_field(struct field_reader *reader)
{
    if (reader->count == reader->capacity) {
        reader->capacity = reader->capacity ? reader->capacity * 2 : 16;
        reader->ends = xrealloc(reader->ends, reader->capacity * sizeof(*reader->ends));
        reader->items = xrealloc(reader->items, reader->capacity * sizeof(*reader->items));
    }
    reader->ends[reader->count++] = reader->bytes.size;
}

static void take_field(void *data, size_t size, void *arg)
{
    struct field_reader *reader = arg;

    reader->row_extra |= reader->row_done;
    buf_add(&reader->bytes, data ? data : "", size);
    end_field(reader);
}

static void take_row(int terminator, void *arg)
{
    struct field_reader *reader = arg;

    reader->row_extra |= reader->row_done;
    reader->row_done = true;
}

static enum fields_result finish(struct field_reader *reader, struct fields *fields)
{
    size_t from = 0;

    for (size_t i = 0; i < reader->count; i++) {
        reader->items[i] = (helios_slice){reader->bytes.data + from, reader->ends[i] - from};
        from = reader->ends[i];
    }
    fields->items = reader->items;
    fields->count = reader->count;
    return FIELDS_RECORD;
}

static enum fields_result bad_csv(struct field_reader *reader, struct fields *fields, const char *problem)
{
    csv_free(&reader->csv);
    csv_begin(reader);
    fields->problem = problem;
    return FIELDS_BAD;
}

static const char broken_quotes[] =
    "quotes are not as RFC 4180 wants them: a field with a quote is quoted, and a quote in it doubled";

static enum fields_result next_csv(struct field_reader *reader, struct lines *lines, struct fields *fields)
{
    bool begun = false;

    while (lines_next(lines)) {
        if (!begun)
            fields->line = lines->number;
        if (csv_parse(&reader->csv, lines->text, lines->size, take_field, take_row, reader) != lines->size)
            return bad_csv(reader, fields, broken_quotes);
        if (reader->row_extra)
            return bad_csv(reader, fields, "a carriage return in the line, outside quotes");
        if (reader->row_done)
            return finish(reader, fields);
        /* A blank line leaves nothing begun; anything else goes on in the next line. */
        begun = reader->count > 0 || reader->csv.pstate != 0;
    }
    if (!begun)
        return FIELDS_END;
    if (csv_fini(&reader->csv, take_field, take_row, reader) != 0)
        return bad_csv(reader, fields, "a quote is opened here and never closed");
    return finish(reader, fields);
}

/* What the escape behind a backslash stands for, 0 if it is none. */
static char tab_escape(char c)
{
    static const char names[] = "tnr\\", values[] = "\t\n\r\\";
    const char *found = c ? strchr(names, c) : NULL;

    return found ? values[found - names] : 0;
}

static enum fields_result next_tabs(struct field_reader *reader, struct lines *lines, struct fields *fields)
{
    size_t size;

    do {
        if (!lines_next(lines))
            return FIELDS_END;
        size = lines->size;
        if (size && lines->text[size - 1] == '\n')
            size--;
        if (size && lines->text[size - 1] == '\r')
            size--;
    } while (size == 0);
    fields->line = lines->number;
    for (size_t i = 0; i < size; i++) {
        char escaped = lines->text[i] == '\\' && i + 1 < size ? tab_escape(lines->text[i + 1]) : 0;

        if (lines->text[i] == '\t') {
            end_field(reader);
            continue;
        }
        buf_add(&reader->bytes, escaped ? &escaped : lines->text + i, 1);
        i += escaped != 0;
    }
    end_field(reader);
    return finish(reader, fields);
}

enum fields_result field_reader_next(struct field_reader *reader, struct lines *lines, struct fields *fields)
{
    reader->count = 0;
    reader->bytes.size = 0;
    reader->row_done = reader->row_extra = false;
    buf_add(&reader->bytes, "", 0);
    return reader->tabs ? next_tabs(reader, lines, fields) : next_csv(reader, lines, fields);
}
