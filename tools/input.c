/* input.c - rows out of CSV, TSV and NDJSON. A row's value is a JSON object: of the columns, by name, or
 * the line itself; its key is --prefix, then the --key columns, then --row-number. With --pairs both
 * are taken as `export` wrote them; with --table a row is its cells. */
#include "tools/input.h"
#include "tools/fields.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { KEY_BYTES_MAX = 64 * 1024, VALUE_BYTES_MAX = 1 << 30 };

enum format { FORMAT_CSV, FORMAT_TSV, FORMAT_NDJSON };

struct input {
    const struct args *args;
    enum format format;
    FILE *file;
    struct lines lines;
    uint64_t total;
    uint64_t row; /* rows seen, bad ones too */
    struct field_reader *fields;
    char **columns;
    size_t column_count;
    size_t key_columns[KEY_COLUMNS_MAX]; /* where --key (or --pairs: key, value) stand */
    struct json_tokener *tokener;
    struct json_object *object;                  /* behind the row's value */
    helios_slice prefix, key_bytes, value_bytes; /* owned; the latter two with --pairs */
    helios_buf key;
    struct cells cells;
    char problem[256];
};

static enum input_result bad(struct input *input, struct input_row *row, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum input_result bad(struct input *input, struct input_row *row, const char *format, ...)
{
    va_list values;

    va_start(values, format);
    vsnprintf(input->problem, sizeof(input->problem), format, values);
    va_end(values);
    row->problem = input->problem;
    return INPUT_BAD;
}

/* ---- keys ---- */

static void key_begin(struct input *input)
{
    input->key.size = 0;
    buf_add(&input->key, input->prefix.data ? input->prefix.data : "", input->prefix.size);
}

static void key_part(struct input *input, const void *data, size_t size)
{
    const char *separator = input->args->separator ? input->args->separator : ":";

    if (input->key.size > input->prefix.size)
        buf_add_text(&input->key, separator);
    buf_add(&input->key, data, size);
}

static enum input_result check_sizes(struct input *input, struct input_row *row)
{
    if (row->key.size > KEY_BYTES_MAX)
        return bad(input, row, "the key has %zu bytes, more than 64 KiB", row->key.size);
    if (row->value.size > VALUE_BYTES_MAX)
        return bad(input, row, "the value has %zu bytes, more than 1 GiB", row->value.size);
    return INPUT_ROW;
}

static enum input_result key_end(struct input *input, struct input_row *row)
{
    char number[24];

    if (input->args->row_number) {
        int size = snprintf(number, sizeof(number), "%010llu", (unsigned long long)input->row);

        key_part(input, number, (size_t)size);
    }
    row->key = (helios_slice){input->key.data, input->key.size};
    return check_sizes(input, row);
}

/* The object as one line of JSON, borrowed from it. */
static helios_slice object_text(struct json_object *object)
{
    size_t size;
    const char *text = json_object_to_json_string_length(
        object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &size);

    return (helios_slice){text, size};
}

/* ---- CSV and TSV ---- */

/* The field's text form decoded. A NUL is written as an escape, so one in the field ends the matter. */
static bool decode_field(helios_slice field, helios_slice *bytes)
{
    helios_buf text = {0};
    bool good;

    slice_free(bytes);
    buf_add(&text, field.data, field.size);
    good = strlen(text.data) == field.size && bytes_decode(false, text.data, bytes);
    free(text.data);
    return good;
}

static enum input_result row_of_pair(struct input *input, const struct fields *fields, struct input_row *row)
{
    if (!decode_field(fields->items[input->key_columns[0]], &input->key_bytes) ||
        !decode_field(fields->items[input->key_columns[1]], &input->value_bytes))
        return bad(input, row, "a backslash that begins no escape");
    row->key = input->key_bytes;
    row->value = input->value_bytes;
    return check_sizes(input, row);
}

static enum input_result row_of_cells(struct input *input, struct input_row *row)
{
    row->cells = &input->cells;
    return INPUT_ROW;
}

static enum input_result cells_of_fields(struct input *input, const struct fields *fields,
                                         struct input_row *row)
{
    cells_clear(&input->cells);
    for (size_t i = 0; i < fields->count; i++)
        cells_add_text(&input->cells, input->columns[i], fields->items[i]);
    return row_of_cells(input, row);
}

static enum input_result row_of_fields(struct input *input, const struct fields *fields, struct input_row *row)
{
    if (fields->count != input->column_count)
        return bad(input, row, "%zu fields where the header has %zu", fields->count, input->column_count);
    if (input->args->table)
        return cells_of_fields(input, fields, row);
    if (input->args->pairs)
        return row_of_pair(input, fields, row);
    json_object_put(input->object);
    input->object = json_object_new_object();
    for (size_t i = 0; i < fields->count; i++) {
        helios_slice item = fields->items[i];

        if (item.size > VALUE_BYTES_MAX)
            return bad(input, row, "column \"%s\" has %zu bytes, more than 1 GiB", input->columns[i],
                       item.size);
        if (!utf8_valid(item))
            return bad(input, row, "column \"%s\" is not UTF-8 (convert the file with iconv)",
                       input->columns[i]);
        json_object_object_add_ex(input->object, input->columns[i],
                                  json_object_new_string_len(item.data, (int)item.size),
                                  JSON_C_OBJECT_ADD_KEY_IS_NEW | JSON_C_OBJECT_ADD_CONSTANT_KEY);
    }
    key_begin(input);
    for (int k = 0; k < input->args->key_column_count; k++) {
        helios_slice item = fields->items[input->key_columns[k]];

        if (item.size == 0)
            return bad(input, row, "the key column \"%s\" is empty", input->args->key_columns[k]);
        key_part(input, item.data, item.size);
    }
    row->value = object_text(input->object);
    return key_end(input, row);
}

static enum input_result next_record(struct input *input, struct input_row *row)
{
    struct fields fields = {0};
    enum fields_result result = field_reader_next(input->fields, &input->lines, &fields);

    row->line = fields.line;
    if (result == FIELDS_END)
        return INPUT_END;
    input->row++;
    if (result == FIELDS_BAD)
        return bad(input, row, "%s", fields.problem);
    return row_of_fields(input, &fields, row);
}

/* ---- NDJSON ---- */

/* A member as bytes: itself when it is text, or NAME_hex. */
static bool pair_member(struct json_object *object, const char *name, helios_slice *bytes)
{
    struct json_object *member;
    char hex_name[16];
    size_t size;

    slice_free(bytes);
    if (json_object_object_get_ex(object, name, &member) && json_object_is_type(member, json_type_string)) {
        size = (size_t)json_object_get_string_len(member);
        *bytes = (helios_slice){memcpy(xalloc(size + 1), json_object_get_string(member), size), size};
        return true;
    }
    snprintf(hex_name, sizeof(hex_name), "%s_hex", name);
    return json_object_object_get_ex(object, hex_name, &member) &&
           json_object_is_type(member, json_type_string) &&
           bytes_decode(true, json_object_get_string(member), bytes);
}

static enum input_result row_of_object(struct input *input, helios_slice line, struct input_row *row)
{
    key_begin(input);
    for (int k = 0; k < input->args->key_column_count; k++) {
        const char *name = input->args->key_columns[k];
        struct json_object *member = NULL;

        if (!json_object_object_get_ex(input->object, name, &member))
            return bad(input, row, "there is no field \"%s\"", name);
        if (!json_object_is_type(member, json_type_string) && !json_object_is_type(member, json_type_int))
            return bad(input, row, "the key field \"%s\" is neither text nor a whole number", name);
        if (json_object_get_string_len(member) == 0 && json_object_is_type(member, json_type_string))
            return bad(input, row, "the key field \"%s\" is empty", name);
        if (json_object_is_type(member, json_type_string))
            key_part(input, json_object_get_string(member), (size_t)json_object_get_string_len(member));
        else
            key_part(input, json_object_get_string(member), strlen(json_object_get_string(member)));
    }
    row->value = line;
    return key_end(input, row);
}

/* One that has failed keeps half a surrogate pair over a reset, and gives it to the next line: it is used no more. */
static void tokener_renew(struct input *input)
{
    if (input->tokener)
        json_tokener_free(input->tokener);
    input->tokener = json_tokener_new();
    json_tokener_set_flags(input->tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
}

static enum input_result bad_json(struct input *input, struct input_row *row)
{
    enum json_tokener_error error = json_tokener_get_error(input->tokener);
    size_t at = json_tokener_get_parse_end(input->tokener);

    tokener_renew(input);
    return bad(input, row, "not JSON: %s at byte %zu of the line",
               error == json_tokener_continue ? "the object ends early" : json_tokener_error_desc(error), at);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static helios_slice trimmed(const struct lines *lines)
{
    const char *text = lines->text;
    size_t size = lines->size;

    while (size && is_blank(text[size - 1]))
        size--;
    while (size && is_blank(*text)) {
        text++;
        size--;
    }
    return (helios_slice){text, size};
}

static enum input_result next_object(struct input *input, struct input_row *row)
{
    helios_slice line;

    do {
        if (!lines_next(&input->lines))
            return INPUT_END;
        line = trimmed(&input->lines);
    } while (line.size == 0);
    row->line = input->lines.number;
    input->row++;
    if (line.size > VALUE_BYTES_MAX)
        return bad(input, row, "the line has %zu bytes, more than 1 GiB", line.size);
    json_object_put(input->object);
    input->object = NULL;
    json_tokener_reset(input->tokener);
    input->object = json_tokener_parse_ex(input->tokener, line.data, (int)line.size);
    if (json_tokener_get_error(input->tokener) != json_tokener_success)
        return bad_json(input, row);
    if (json_tokener_get_parse_end(input->tokener) != line.size ||
        !json_object_is_type(input->object, json_type_object))
        return bad(input, row, "not one JSON object");
    if (input->args->table) {
        cells_clear(&input->cells);
        if (!cells_add_object(&input->cells, input->object))
            return bad(input, row, NUMBER_PROBLEM);
        return row_of_cells(input, row);
    }
    if (!input->args->pairs)
        return row_of_object(input, line, row);
    if (!pair_member(input->object, "key", &input->key_bytes) ||
        !pair_member(input->object, "value", &input->value_bytes))
        return bad(input, row,
                   "not as `export` writes pairs: \"key\" and \"value\", or \"key_hex\" and \"value_hex\"");
    row->key = input->key_bytes;
    row->value = input->value_bytes;
    return check_sizes(input, row);
}

enum input_result input_next(struct input *input, struct input_row *row)
{
    *row = (struct input_row){0};
    return input->format == FORMAT_NDJSON ? next_object(input, row) : next_record(input, row);
}

/* ---- opening ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);

    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

static int take_format(const struct args *args, enum format *format)
{
    const char *path = args->words[1], *name = args->format;

    if (!name)
        name = ends_with(path, ".csv")                                   ? "csv"
               : ends_with(path, ".tsv") || ends_with(path, ".tab")      ? "tsv"
               : ends_with(path, ".ndjson") || ends_with(path, ".jsonl") ? "ndjson"
                                                                         : NULL;
    if (!name)
        return report_usage(args, "what is in %s? Say --format csv, tsv or ndjson", path);
    if (strcmp(name, "csv") == 0)
        *format = FORMAT_CSV;
    else if (strcmp(name, "tsv") == 0)
        *format = FORMAT_TSV;
    else if (strcmp(name, "ndjson") == 0)
        *format = FORMAT_NDJSON;
    else
        return report_usage(args, "--format is csv, tsv or ndjson, not \"%s\"", name);
    return EXIT_CODE_OK;
}

static int report_column(const struct input *input, const char *name)
{
    helios_buf names = {0};
    int code;

    for (size_t i = 0; i < input->column_count; i++) {
        buf_add_text(&names, i ? ", " : "");
        buf_add_text(&names, input->columns[i]);
    }
    code = report_usage(input->args, "%s has no column \"%s\"; it has: %s", input->args->words[1], name,
                        names.data);
    free(names.data);
    return code;
}

static int find_column(const struct input *input, const char *name, size_t *index)
{
    for (size_t i = 0; i < input->column_count; i++) {
        if (strcmp(input->columns[i], name) == 0) {
            *index = i;
            return EXIT_CODE_OK;
        }
    }
    return report_column(input, name);
}

static int find_columns(struct input *input)
{
    const struct args *args = input->args;
    int code = EXIT_CODE_OK; /* keep_header() saw at least one column */

    if (args->pairs) {
        code = find_column(input, "key", &input->key_columns[0]);
        return code ? code : find_column(input, "value", &input->key_columns[1]);
    }
    for (int k = 0; code == EXIT_CODE_OK && k < args->key_column_count; k++)
        code = find_column(input, args->key_columns[k], &input->key_columns[k]);
    return code;
}

static int keep_header(struct input *input, const struct fields *fields)
{
    const char *path = input->args->words[1];

    input->columns = xalloc(fields->count * sizeof(*input->columns));
    for (size_t i = 0; i < fields->count; i++) {
        helios_slice item = fields->items[i];
        char *name = xalloc(item.size + 1);

        memcpy(name, item.data, item.size);
        name[item.size] = '\0';
        input->columns[input->column_count++] = name;
        if (!utf8_valid(item) || strlen(name) != item.size)
            return report_input(input->args, "%s:%llu: the name of column %zu is not UTF-8 text", path,
                                (unsigned long long)fields->line, i + 1);
        for (size_t k = 0; k < i; k++)
            if (strcmp(input->columns[k], name) == 0)
                return report_input(input->args, "%s:%llu: two columns are named \"%s\"", path,
                                    (unsigned long long)fields->line, name);
    }
    return EXIT_CODE_OK;
}

static int read_header(struct input *input)
{
    struct fields fields = {0};
    enum fields_result result = field_reader_next(input->fields, &input->lines, &fields);
    int code;

    if (result == FIELDS_END && ferror(input->file))
        return report_system(input->args, "cannot read %s", input->args->words[1]);
    if (result == FIELDS_END)
        return report_input(input->args, "%s is empty: a first line with the names of the columns is wanted",
                            input->args->words[1]);
    if (result == FIELDS_BAD)
        return report_input(input->args, "%s:%llu: in the header: %s", input->args->words[1],
                            (unsigned long long)fields.line, fields.problem);
    if (input->columns)
        return EXIT_CODE_OK; /* read before */
    code = keep_header(input, &fields);
    return code ? code : find_columns(input);
}

static int begin(struct input *input)
{
    lines_begin(&input->lines, input->file);
    input->row = 0;
    if (input->format == FORMAT_NDJSON)
        return EXIT_CODE_OK;
    field_reader_free(input->fields);
    input->fields = field_reader_new(input->format == FORMAT_TSV);
    return read_header(input);
}

int input_open(const struct args *args, struct input **input_out)
{
    const char *path = args->words[1];
    struct input *input = xalloc(sizeof(*input));
    struct stat info;
    int code;

    memset(input, 0, sizeof(*input));
    input->args = args;
    code = take_format(args, &input->format);
    if (code)
        goto out;
    if (args->prefix && !bytes_from_text(args, args->prefix, &input->prefix)) {
        code = EXIT_CODE_USAGE;
        goto out;
    }
    input->file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (!input->file) {
        code = report_system(args, "cannot open %s", path);
        goto out;
    }
    if (fstat(fileno(input->file), &info) == 0 && S_ISREG(info.st_mode))
        input->total = (uint64_t)info.st_size;
    tokener_renew(input);
    code = begin(input);
out:
    if (code == EXIT_CODE_OK)
        *input_out = input;
    else
        input_close(input);
    return code;
}

void input_close(struct input *input)
{
    if (!input)
        return;
    if (input->file && input->file != stdin)
        fclose(input->file);
    json_object_put(input->object);
    for (size_t i = 0; i < input->column_count; i++)
        free(input->columns[i]);
    free(input->columns);
    field_reader_free(input->fields);
    cells_release(&input->cells);
    lines_release(&input->lines);
    if (input->tokener)
        json_tokener_free(input->tokener);
    slice_free(&input->prefix);
    slice_free(&input->key_bytes);
    slice_free(&input->value_bytes);
    free(input->key.data);
    free(input);
}

bool input_failed(const struct input *input)
{
    return ferror(input->file);
}

bool input_can_rewind(const struct input *input)
{
    return input->total > 0;
}

int input_rewind(struct input *input)
{
    rewind(input->file);
    return begin(input);
}

uint64_t input_offset(const struct input *input)
{
    return input->lines.offset;
}

uint64_t input_total(const struct input *input)
{
    return input->total;
}
