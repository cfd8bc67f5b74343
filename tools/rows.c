/* rows.c - prints rows of a table, in the order of their ids or of an index. */
#include "tools/cells.h"
#include "tools/csv_out.h"
#include "tools/grid.h"
#include "tools/tables.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

enum form { FORM_GRID, FORM_JSON, FORM_CSV, FORM_TSV };

struct rows {
    struct args *args;
    struct table_work work;
    const helios_schema *schema;
    size_t *places; /* of the columns to print */
    size_t count;
    enum form form;
    struct grid *grid;
    struct csv_out csv;
    char **members; /* FORM_JSON: "name": as it is printed */
    helios_buf text;
    struct row_values from, to;
    uint64_t done;
};

static int take_form(const struct args *args, enum form *form)
{
    *form = args->json ? FORM_JSON : FORM_GRID;
    if (!args->format || strcmp(args->format, "table") == 0)
        return EXIT_CODE_OK;
    if (args->json)
        return report_usage(args, "give --format or --json, not both");
    if (strcmp(args->format, "csv") == 0)
        *form = FORM_CSV;
    else if (strcmp(args->format, "tsv") == 0)
        *form = FORM_TSV;
    else
        return report_usage(args, "--format is table, csv or tsv, not \"%s\"", args->format);
    return EXIT_CODE_OK;
}

/* ---- columns ---- */

static int take_columns(struct rows *rows)
{
    const char *at = rows->args->columns;
    int code = EXIT_CODE_OK;

    rows->places = xalloc(rows->schema->column_count * sizeof(*rows->places));
    for (; !at && rows->count < rows->schema->column_count; rows->count++)
        rows->places[rows->count] = rows->count;
    while (at && code == EXIT_CODE_OK) {
        size_t size = strcspn(at, ",");
        char *name = xtext(at);

        name[size] = '\0';
        if (rows->count == rows->schema->column_count)
            code = report_usage(rows->args, "--columns names more columns than the table has");
        if (code == EXIT_CODE_OK)
            code = table_column_find(rows->args, rows->schema, name, &rows->places[rows->count]);
        rows->count += code == EXIT_CODE_OK;
        free(name);
        at = at[size] ? at + size + 1 : NULL;
    }
    return code;
}

/* "name": */
static char *member_of(const char *name)
{
    struct json_object *string = json_object_new_string(name);
    helios_buf text = {0};

    buf_add_text(&text, json_object_to_json_string_ext(string, JSON_C_TO_STRING_NOSLASHESCAPE));
    buf_add_text(&text, ":");
    json_free(string);
    return text.data;
}

/* ---- bounds ---- */

static int take_id(const struct args *args, const char *option, const char *text, uint64_t *id)
{
    char *end;

    *id = strtoull(text, &end, 10);
    if (end != text && *end == '\0' && *text != '-')
        return EXIT_CODE_OK;
    return report_usage(args, "%s \"%s\": without an index, and without a primary key, it is the id of a row",
                        option, text);
}

static int take_key(struct rows *rows, const struct key_columns *key, const char *word,
                    struct row_values *values, const helios_value **items, size_t *count)
{
    char problem[PROBLEM_SIZE];

    if (!word)
        return EXIT_CODE_OK;
    *items = values->items;
    if (key_values_take(values, rows->schema, key->names, key->count, word, count, problem))
        return EXIT_CODE_OK;
    return report_usage(rows->args, "%s", problem);
}

/* Bounds without an index are those of the primary key; where there is none, of ids. */
static int take_bounds(struct rows *rows, helios_rows_options *options)
{
    const struct args *args = rows->args;
    struct key_columns key;
    int code = EXIT_CODE_OK;

    options->index = args->index;
    if (!args->index && (args->from || args->to) && rows->schema->primary_key_count)
        options->index = HELIOS_PRIMARY;
    if (!options->index) {
        if (args->from)
            code = take_id(args, "--from", args->from, &options->from_id);
        if (args->to && code == EXIT_CODE_OK)
            code = take_id(args, "--to", args->to, &options->to_id);
        return code;
    }
    code = table_key_find(args, rows->schema, options->index, &key);
    if (code == EXIT_CODE_OK)
        code = take_key(rows, &key, args->from, &rows->from, &options->from, &options->from_count);
    if (code == EXIT_CODE_OK)
        code = take_key(rows, &key, args->to, &rows->to, &options->to, &options->to_count);
    return code;
}

/* ---- printing ---- */

static void begin_output(struct rows *rows)
{
    size_t columns = rows->count + rows->args->ids;

    rows->csv = (struct csv_out){.file = stdout, .tabs = rows->form == FORM_TSV};
    rows->members = xalloc(rows->count * sizeof(*rows->members));
    if (rows->form == FORM_GRID)
        rows->grid = grid_new(columns);
    if (rows->form == FORM_GRID && rows->args->ids)
        grid_text(rows->grid, "#");
    if (rows->form >= FORM_CSV && rows->args->ids)
        csv_out_field(&rows->csv, "#", 1);
    for (size_t i = 0; i < rows->count; i++) {
        const char *name = rows->schema->columns[rows->places[i]].name;

        rows->members[i] = member_of(name);
        if (rows->form == FORM_GRID)
            grid_text(rows->grid, name);
        if (rows->form >= FORM_CSV)
            csv_out_field(&rows->csv, name, strlen(name));
    }
    if (rows->form >= FORM_CSV)
        csv_out_end(&rows->csv);
}

static bool is_number(const helios_value *value)
{
    return (value->type >= HELIOS_TYPE_INT16 && value->type <= HELIOS_TYPE_FLOAT64) ||
           value->type == HELIOS_TYPE_DECIMAL;
}

static helios_slice text_of(const struct rows *rows)
{
    return (helios_slice){rows->text.data ? rows->text.data : "", rows->text.size};
}

/* The texts of one row; JSON is collected in one. */
static helios_status print_value(struct rows *rows, size_t i, const helios_value *value)
{
    helios_status status;
    helios_slice text;

    rows->text.size = 0;
    status = rows->form == FORM_JSON ? helios_value_print_json(value, &rows->text)
                                     : helios_value_print(value, &rows->text);
    if (status != HELIOS_OK)
        return status;
    text = text_of(rows);
    if (rows->form == FORM_GRID && value->type == HELIOS_TYPE_NULL)
        grid_text(rows->grid, "NULL");
    else if (rows->form == FORM_GRID)
        grid_cell(rows->grid, text, is_number(value));
    else if (rows->form == FORM_JSON)
        printf("%s%s%.*s", i || rows->args->ids ? "," : "", rows->members[i], (int)text.size,
               (const char *)text.data);
    else
        csv_out_field(&rows->csv, text.data, text.size);
    return HELIOS_OK;
}

static void print_id(struct rows *rows, uint64_t id)
{
    char text[24];
    int size = snprintf(text, sizeof(text), "%llu", (unsigned long long)id);

    if (rows->form == FORM_GRID)
        grid_cell(rows->grid, (helios_slice){text, (size_t)size}, true);
    else if (rows->form == FORM_JSON)
        printf("\"#\":%s", text);
    else
        csv_out_field(&rows->csv, text, (size_t)size);
}

static helios_status print_row(struct rows *rows, const helios_row *row)
{
    helios_status status = HELIOS_OK;

    if (rows->form == FORM_JSON)
        putchar('{');
    if (rows->args->ids)
        print_id(rows, row->id);
    for (size_t i = 0; i < rows->count && status == HELIOS_OK; i++)
        status = print_value(rows, i, &row->values[rows->places[i]]);
    if (rows->form == FORM_JSON)
        fputs("}\n", stdout);
    if (rows->form >= FORM_CSV)
        csv_out_end(&rows->csv);
    return status;
}

static int print_rows(struct rows *rows, helios_rows *walk)
{
    helios_status status = HELIOS_OK;
    const helios_row *row;
    uint64_t left = rows->args->limit;

    begin_output(rows);
    for (; left && status == HELIOS_OK && !ferror(stdout) && helios_rows_next(walk, &row); left--)
        status = print_row(rows, row);
    if (rows->grid)
        grid_finish(rows->grid);
    for (size_t i = 0; i < rows->count; i++)
        free(rows->members[i]);
    free(rows->members);
    return table_work_check(rows->args, &rows->work, status == HELIOS_OK ? helios_rows_status(walk) : status);
}

static int print_table(struct rows *rows)
{
    helios_rows_options options = HELIOS_ROWS_OPTIONS_INIT;
    helios_rows *walk = NULL;
    int code = take_columns(rows);

    row_values_begin(&rows->from, rows->schema);
    row_values_begin(&rows->to, rows->schema);
    if (code == EXIT_CODE_OK)
        code = take_bounds(rows, &options);
    options.reverse = rows->args->reverse;
    options.offset = rows->args->offset == UINT64_MAX ? 0 : rows->args->offset;
    options.no_cache_fill = true;
    if (code == EXIT_CODE_OK)
        code = table_work_check(rows->args, &rows->work, helios_rows_new(rows->work.table, &options, &walk));
    if (code == EXIT_CODE_OK)
        code = print_rows(rows, walk);
    helios_rows_free(walk);
    row_values_release(&rows->from);
    row_values_release(&rows->to);
    helios_buf_free(&rows->text);
    free(rows->places);
    return code;
}

static int run_rows(struct args *args)
{
    struct rows rows = {.args = args};
    int code = take_form(args, &rows.form);

    if (code == EXIT_CODE_OK)
        code = table_work_begin(args, OPEN_READ, &rows.work);
    if (code)
        return code;
    code = table_work_open(args, &rows.work, args->words[1]);
    if (code == EXIT_CODE_OK) {
        rows.schema = helios_table_schema(rows.work.table);
        code = print_table(&rows);
    }
    return table_work_end(args, &rows.work, code);
}

static const struct argp_option rows_options[] = {
    {"columns", OPTION_COLUMNS, "A,B,...", 0, "Only these columns, in this order", 0},
    {"index", OPTION_INDEX, "NAME", 0, "In the order of this index; primary: of the primary key", 0},
    {"from", OPTION_FROM, "KEY", 0, "From KEY on, inclusive: of the index, or the primary key", 0},
    {"to", OPTION_TO, "KEY", 0, "Up to KEY, inclusive", 0},
    {"limit", OPTION_LIMIT, "N", 0, "At most N rows", 0},
    {"offset", OPTION_OFFSET, "N", 0, "Leave out the first N", 0},
    {"reverse", OPTION_REVERSE, NULL, 0, "Last row first", 0},
    {"ids", OPTION_IDS, NULL, 0, "With the rows' ids, as column #", 0},
    {"format", OPTION_FORMAT, "FORMAT", 0, "table (default), csv or tsv", 0},
    OPTION_ROW_AT,
    OPTION_ROW_BRANCH,
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};

const struct command rows_commands[] = {
    {"rows", "DB TABLE", "Print a table's rows",
     "In the order of their ids, or of an index. A KEY of several columns is written with commas between them, "
     "and may "
     "be the first of them alone; a table without a primary key takes ids. With --json one object a line, "
     "which `load "
     "--table` reads.\n\n" POINT_DOC,
     rows_options, 2, 2, run_rows},
    {0},
};
