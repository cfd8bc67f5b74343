/* load_table.c - rows of a file into a table, which is made after the file where it is not there. Without --batch the
 * table's making and all rows are one transaction. */
#include "tools/load_table.h"
#include "tools/bad_lines.h"
#include "tools/infer.h"
#include "tools/input.h"
#include "tools/tables.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLE_DEFAULT = 10000 };

struct load {
    struct args *args;
    struct input *input;
    struct table_work work;
    struct row_values values;
    struct progress progress;
    struct bad_lines bad;
    bool made;
    uint64_t waiting, committed, commits, started; /* waiting: rows of the open transaction */
};

/* ---- the table ---- */

static helios_column *column_named(helios_column *columns, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(columns[i].name, name) == 0)
            return &columns[i];
    return NULL;
}

/* Marks the columns that --unique names, and sees that the primary key's are there. */
static int mark_columns(const struct args *args, helios_column *columns, size_t count)
{
    const char *missing = NULL;

    for (int i = 0; i < args->unique_columns.count; i++) {
        helios_column *column = column_named(columns, count, args->unique_columns.names[i]);

        if (column)
            column->unique = true;
        else
            missing = args->unique_columns.names[i];
    }
    for (int i = 0; i < args->primary_key.count; i++)
        if (!column_named(columns, count, args->primary_key.names[i]))
            missing = args->primary_key.names[i];
    if (missing)
        return report_usage(args, "%s has no column \"%s\"", args->words[1], missing);
    return EXIT_CODE_OK;
}

static int make_after(struct load *load, const struct infer *infer)
{
    const struct args *args = load->args;
    helios_schema schema = HELIOS_SCHEMA_INIT;
    helios_column *columns = infer_columns(infer, &schema.column_count);
    int code = mark_columns(args, columns, schema.column_count);

    schema.name = args->table;
    schema.columns = columns;
    schema.primary_key = args->primary_key.names;
    schema.primary_key_count = (size_t)args->primary_key.count;
    if (code == EXIT_CODE_OK && schema.column_count == 0)
        code = report_input(args, "%s has no rows, so the columns of a table do not follow from it",
                            args->words[1]);
    if (code == EXIT_CODE_OK)
        code = table_work_check(args, &load->work,
                                helios_table_create(load->work.db, &load->work.options, &schema, NULL));
    load->made = code == EXIT_CODE_OK;
    free(columns);
    return code;
}

/* Bad lines of the sample are told when they are met again. */
static int make_table(struct load *load)
{
    uint64_t left = load->args->sample == UINT64_MAX ? SAMPLE_DEFAULT : load->args->sample;
    enum input_result result = INPUT_ROW;
    struct infer *infer;
    struct input_row row;
    int code;

    if (!input_can_rewind(load->input))
        return report_usage(load->args,
                            "a pipe cannot be read twice: make the table first (`heliosctl table create`)");
    infer = infer_new();
    for (; left && (result = input_next(load->input, &row)) != INPUT_END; left -= result == INPUT_ROW)
        if (result == INPUT_ROW)
            infer_row(infer, row.cells);
    code = result == INPUT_END && input_failed(load->input)
               ? report_system(load->args, "cannot read %s", load->args->words[1])
               : make_after(load, infer);
    infer_free(infer);
    return code ? code : input_rewind(load->input);
}

/* Opens the table in a transaction of which its making is part. */
static int begin(struct load *load)
{
    const struct args *args = load->args;
    helios_schema *schema = NULL;
    helios_status status;
    int code = table_work_transact(args, &load->work);

    if (code)
        return code;
    status = helios_table_describe(load->work.db, &load->work.options, args->table, &schema);
    helios_free(schema);
    if (status == HELIOS_NOT_FOUND)
        code = make_table(load);
    else if (status == HELIOS_OK && (args->primary_key.count || args->unique_columns.count))
        code = report_usage(args, "table \"%s\" is there: --primary-key and --unique are for making one",
                            args->table);
    else
        code = table_work_check(args, &load->work, status);
    return code ? code : table_work_open(args, &load->work, args->table);
}

/* ---- the rows ---- */

static int commit(struct load *load)
{
    int code;

    if (load->args->batch == UINT64_MAX)
        progress_say(&load->progress, "committing ...");
    code = table_work_commit(load->args, &load->work, EXIT_CODE_OK);
    if (code)
        return code;
    load->committed += load->waiting;
    load->waiting = 0;
    load->commits++;
    if (load->args->acknowledge) {
        progress_clear(&load->progress);
        printf("committed %llu\n", (unsigned long long)load->committed);
        fflush(stdout);
    }
    return EXIT_CODE_OK;
}

static int commit_batch(struct load *load)
{
    int code = load->waiting < load->args->batch ? EXIT_CODE_OK : commit(load);

    if (code || load->waiting)
        return code;
    code = table_work_transact(load->args, &load->work);
    return code ? code : table_work_open(load->args, &load->work, load->args->table);
}

static int load_row(struct load *load, const struct input_row *row)
{
    char problem[PROBLEM_SIZE];
    uint64_t id = 0;
    helios_status status;

    if (!row_values_take(&load->values, helios_table_schema(load->work.table), row->cells, problem)) {
        bad_lines_note(&load->bad, row->line, problem);
        return EXIT_CODE_OK;
    }
    status = (load->args->replace ? helios_row_upsert : helios_row_insert)(load->work.table, load->values.items,
                                                                           load->values.count, &id);
    if (status == HELIOS_EXISTS || status == HELIOS_INVALID) {
        bad_lines_note(&load->bad, row->line, helios_last_error());
        return EXIT_CODE_OK;
    }
    if (status != HELIOS_OK)
        return table_work_check(load->args, &load->work, status);
    load->waiting++;
    return commit_batch(load);
}

static int refuse(const struct load *load)
{
    uint64_t bad = load->bad.count;

    progress_end(load->bad.progress);
    bad_lines_end(&load->bad);
    return report_input(
        load->args,
        "%llu bad line%s in %s: %llu rows were loaded. Mend them, leave them out with --keep-going%s",
        (unsigned long long)bad, bad == 1 ? "" : "s", load->args->words[1], (unsigned long long)load->committed,
        load->made ? ", or let more rows say what types the columns have, with --sample" : "");
}

/* One pass. With --batch the first bad line ends it, as not all can be taken back. */
static int load_rows(struct load *load)
{
    bool batches = load->args->batch != UINT64_MAX, keep_going = load->args->keep_going;
    struct input_row row;
    enum input_result result;
    int code = EXIT_CODE_OK;

    progress_begin(&load->progress, load->args, "loading", "rows", input_total(load->input));
    while (code == EXIT_CODE_OK && (result = input_next(load->input, &row)) != INPUT_END) {
        if (result == INPUT_BAD)
            bad_lines_note(&load->bad, row.line, row.problem);
        else
            code = load_row(load, &row);
        progress_update(&load->progress, input_offset(load->input), load->committed + load->waiting);
        if (load->bad.count && batches && !keep_going)
            break;
    }
    if (code == EXIT_CODE_OK && input_failed(load->input))
        code = report_system(load->args, "cannot read %s", load->args->words[1]);
    if (code == EXIT_CODE_OK && load->bad.count && !keep_going)
        return refuse(load);
    return code ? code : commit(load);
}

/* ---- the command ---- */

static void print_made(struct load *load)
{
    helios_table_options options = HELIOS_TABLE_OPTIONS_INIT;
    helios_schema *schema = NULL;
    char type[TYPE_TEXT_SIZE];

    options.branch = load->work.branch;
    if (!load->made || load->args->json ||
        helios_table_describe(load->work.db, &options, load->args->table, &schema) != HELIOS_OK)
        return;
    printf("made table %s:", schema->name);
    for (size_t i = 0; i < schema->column_count; i++) {
        type_text(&schema->columns[i], type);
        printf("%s %s %s", i ? "," : "", schema->columns[i].name, type);
    }
    printf("\n");
    helios_free(schema);
}

static void print_summary(const struct load *load)
{
    double seconds = (double)(clock_micros() - load->started) / 1e6;
    char rows[32];

    if (load->args->json) {
        struct json_object *object = json_object_new_object();

        json_object_object_add(object, "table", json_object_new_string(load->args->table));
        json_object_object_add(object, "made", json_object_new_boolean(load->made));
        json_object_object_add(object, "loaded", json_object_new_uint64(load->committed));
        json_object_object_add(object, "bad_lines", json_object_new_uint64(load->bad.count));
        json_object_object_add(object, "commits", json_object_new_uint64(load->commits));
        json_object_object_add(object, "seconds", json_object_new_double(seconds));
        json_print(stdout, object);
        json_free(object);
        return;
    }
    human_count(load->committed, rows);
    printf("%s rows in %llu commit%s, %.2f s\n", rows, (unsigned long long)load->commits,
           load->commits == 1 ? "" : "s", seconds);
    bad_lines_summary(&load->bad);
}

static int check_arguments(const struct args *args)
{
    if (args->key_column_count || args->row_number || args->prefix || args->pairs || args->separator)
        return report_usage(args, "a table has no --key, --row-number, --prefix, --separator or --pairs");
    if (args->batch == 0 || args->sample == 0)
        return report_usage(args, "--%s wants at least 1", args->batch ? "sample" : "batch");
    return EXIT_CODE_OK;
}

static int run(struct load *load)
{
    int code = begin(load);

    if (code)
        return code;
    row_values_begin(&load->values, helios_table_schema(load->work.table));
    code = load_rows(load);
    progress_end(&load->progress);
    if (code == EXIT_CODE_OK) {
        bad_lines_end(&load->bad);
        print_made(load);
    }
    return code;
}

int load_table(struct args *args)
{
    struct load load = {.args = args, .started = clock_micros()};
    int code = check_arguments(args);

    load.bad = (struct bad_lines){.args = args, .progress = &load.progress};
    if (code == EXIT_CODE_OK)
        code = input_open(args, &load.input);
    if (code)
        return code;
    code = table_work_begin(args, OPEN_WRITE, &load.work);
    if (code == EXIT_CODE_OK)
        code = table_work_end(args, &load.work, run(&load));
    row_values_release(&load.values);
    input_close(load.input);
    if (code)
        return code;
    print_summary(&load);
    return load.bad.count ? EXIT_CODE_INPUT : EXIT_CODE_OK;
}
