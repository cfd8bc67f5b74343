/* export.c - the database, or a part, as a file: pairs of key and value, or, with --rows, the JSON
 * objects that are the values as rows. */
#include "tools/csv_out.h"
#include "tools/scan.h"
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

struct export
{
    struct args *args;
    struct walk walk;
    FILE *file;
    bool delimited; /* CSV or TSV */
    struct csv_out out;
    struct json_tokener *tokener;
    struct json_object *columns; /* an object whose names, in order, are the columns */
    struct json_object *row;
    struct progress progress;
    uint64_t count;
};

/* ---- rows ---- */

static int parse_row(struct export *export)
{
    helios_slice value = helios_iter_value(export->walk.iter);
    helios_buf key = {0};
    int code;

    json_object_put(export->row);
    json_tokener_reset(export->tokener);
    export->row = json_tokener_parse_ex(export->tokener, value.size ? value.data : "", (int)value.size);
    if (export->row && json_object_is_type(export->row, json_type_object))
        return EXIT_CODE_OK;
    text_append(&key, helios_iter_key(export->walk.iter));
    code = report_input(export->args,
                        "the value of \"%s\" is no JSON object: choose keys with --prefix, or leave out --rows",
                        key.data);
    free(key.data);
    return code;
}

/* First pass of --rows for CSV and TSV: every field that any row has, in order of appearance. */
static int collect_columns(struct export *export)
{
    helios_iter *iter = export->walk.iter;
    int code = EXIT_CODE_OK;

    export->columns = json_object_new_object();
    for (helios_iter_first(iter); code == EXIT_CODE_OK && helios_iter_valid(iter); helios_iter_next(iter)) {
        code = parse_row(export);
        if (code)
            break;
        json_object_object_foreach(export->row, name, unused)
        {
            (void)unused;
            if (!json_object_object_get_ex(export->columns, name, NULL))
                json_object_object_add(export->columns, name, NULL);
        }
    }
    return code;
}

static void write_names(struct export *export)
{
    json_object_object_foreach(export->columns, name, unused)
    {
        (void)unused;
        csv_out_field(&export->out, name, strlen(name));
    }
    csv_out_end(&export->out);
}

static void write_field(struct export *export, struct json_object *field)
{
    size_t size = 0;
    const char *text = "";

    if (field && json_object_is_type(field, json_type_string)) {
        text = json_object_get_string(field);
        size = (size_t)json_object_get_string_len(field);
    } else if (field) {
        text = json_object_to_json_string_length(field, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE,
                                                 &size);
    }
    csv_out_field(&export->out, text, size);
}

static int write_row(struct export *export)
{
    int code = parse_row(export);

    if (code)
        return code;
    if (!export->delimited) {
        json_print(export->file, export->row);
        return EXIT_CODE_OK;
    }
    json_object_object_foreach(export->columns, name, unused)
    {
        struct json_object *field = NULL;

        (void)unused;
        json_object_object_get_ex(export->row, name, &field);
        write_field(export, field);
    }
    csv_out_end(&export->out);
    return EXIT_CODE_OK;
}

/* ---- pairs ---- */

static void write_text_field(struct export *export, helios_slice bytes)
{
    helios_buf text = {0};

    text_append(&text, bytes);
    csv_out_field(&export->out, text.data, text.size);
    free(text.data);
}

static int write_pair(struct export *export)
{
    helios_slice key = helios_iter_key(export->walk.iter), value = helios_iter_value(export->walk.iter);

    if (!export->delimited) {
        pair_print_json(export->file, key, &value, 0);
        return EXIT_CODE_OK;
    }
    write_text_field(export, key);
    write_text_field(export, value);
    csv_out_end(&export->out);
    return EXIT_CODE_OK;
}

static int write_header(struct export *export)
{
    int code;

    if (!export->delimited)
        return EXIT_CODE_OK;
    if (export->args->rows) {
        code = collect_columns(export);
        if (code == EXIT_CODE_OK)
            write_names(export);
        return code;
    }
    csv_out_field(&export->out, "key", 3);
    csv_out_field(&export->out, "value", 5);
    csv_out_end(&export->out);
    return EXIT_CODE_OK;
}

static int write_all(struct export *export)
{
    helios_iter *iter = export->walk.iter;
    int code = write_header(export);

    if (code)
        return code;
    progress_begin(&export->progress, export->args, "exporting", "keys", 0);
    for (helios_iter_first(iter); code == EXIT_CODE_OK && helios_iter_valid(iter); helios_iter_next(iter)) {
        code = export->args->rows ? write_row(export) : write_pair(export);
        if (ferror(export->file))
            break;
        progress_update(&export->progress, 0, ++export->count);
    }
    progress_end(&export->progress);
    return code;
}

static int take_format(struct export *export)
{
    const char *name = export->args->format ? export->args->format : "ndjson";

    export->delimited = strcmp(name, "ndjson") != 0;
    export->out.tabs = strcmp(name, "tsv") == 0;
    if (export->delimited && !export->out.tabs && strcmp(name, "csv") != 0)
        return report_usage(export->args, "--format is ndjson, csv or tsv, not \"%s\"", name);
    return EXIT_CODE_OK;
}

static int close_file(struct export *export, int code)
{
    bool bad = fflush(export->file) != 0 || ferror(export->file);
    int error = errno;

    if (export->file != stdout)
        bad |= fclose(export->file) != 0;
    if (!bad || error == EPIPE || code)
        return code;
    errno = error;
    return report_system(export->args, "cannot write %s",
                         export->args->output ? export->args->output : "the output");
}

static int run_export(struct args *args)
{
    struct export export = {.args = args};
    char number[32];
    int code = take_format(&export);

    if (code == EXIT_CODE_OK)
        code = walk_begin(args, &export.walk, false);
    if (code)
        return code;
    export.file = args->output ? fopen(args->output, "wb") : stdout;
    if (!export.file) {
        return walk_end(args, &export.walk, report_system(args, "cannot write %s", args->output));
    }
    export.out.file = export.file;
    export.tokener = json_tokener_new();
    code = close_file(&export, write_all(&export));
    json_tokener_free(export.tokener);
    json_object_put(export.row);
    json_object_put(export.columns);
    code = walk_end(args, &export.walk, code);
    if (code == EXIT_CODE_OK && args->output) {
        human_count(export.count, number);
        if (args->json)
            printf("{\"exported\":%llu}\n", (unsigned long long)export.count);
        else
            printf("%s keys to %s\n", number, args->output);
    }
    return code;
}

static const struct argp_option export_options[] = {
    {"format", OPTION_FORMAT, "FORMAT", 0, "ndjson (default), csv or tsv", 0},
    {"rows", OPTION_ROWS, NULL, 0, "The values are JSON objects: write their fields, without the keys", 0},
    {"output", OPTION_OUTPUT, "FILE", 0, "Write to FILE instead of standard output", 0},
    OPTION_ROW_PREFIX,
    OPTION_ROW_FROM,
    OPTION_ROW_TO,
    OPTION_ROW_AT,
    OPTION_ROW_BRANCH,
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};

const struct command export_commands[] = {
    {"export", "DB", "Write keys and values as NDJSON, CSV or TSV",
     "Pairs can be loaded again with `load --pairs`: in NDJSON as key and value (key_hex and value_hex for "
     "bytes "
     "that are no UTF-8), in CSV and TSV in the text form with \\xNN. With --rows, what `load` made of a file "
     "becomes that file again; for CSV the columns are those that any row has. With --at, as it "
     "was then.\n\n" POINT_DOC,
     export_options, 1, 1, run_export},
    {0},
};
