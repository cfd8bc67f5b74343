/* load.c - rows of a file into the database.
 *
 * Without --batch the file is one commit: all of it or nothing, also when the process is killed.
 * With --batch a first pass checks the whole file, so that a bad line is found before anything is
 * written; with --keep-going there is no first pass and bad lines are left out. */
#include "tools/bad_lines.h"
#include "tools/branches.h"
#include "tools/input.h"
#include "tools/load_table.h"
#include "tools/seen.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

struct load {
    struct args *args;
    struct input *input;
    helios_db *db;
    helios_branch_id branch;
    helios_batch *batch;
    struct seen *seen; /* NULL with --replace: the last one wins */
    helios_buf old;
    struct progress progress;
    struct bad_lines bad;
    uint64_t rows, committed, commits, bytes, started;
};

/* Duplicates are bad lines unless --replace. False: this row is one. */
static bool is_new(struct load *load, const struct input_row *row, int *code)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_buf text = {0};
    char problem[256];
    uint64_t before;
    helios_status status = HELIOS_NOT_FOUND;

    if (!load->seen)
        return true;
    before = seen_add(load->seen, row->key, row->line);
    options.branch = load->branch;
    if (!before)
        status = helios_get(load->db, &options, row->key, &load->old);
    if (!before && status == HELIOS_NOT_FOUND)
        return true;
    if (!before && status != HELIOS_OK) {
        *code = report_status(load->args, status, "looking for a key that is there already");
        return false;
    }
    text_append(&text, row->key);
    if (before)
        snprintf(problem, sizeof(problem),
                 "the key \"%.150s\" stands in line %llu already (--replace: the last one wins)", text.data,
                 (unsigned long long)before);
    else
        snprintf(problem, sizeof(problem),
                 "the key \"%.150s\" is in the database already (--replace overwrites it)", text.data);
    free(text.data);
    bad_lines_note(&load->bad, row->line, problem);
    return false;
}

static int commit(struct load *load)
{
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    size_t count = helios_batch_count(load->batch);
    helios_status status = helios_batch_status(load->batch);

    if (status == HELIOS_OK && count == 0)
        return EXIT_CODE_OK;
    options.durability = load->args->durability;
    options.branch = load->branch;
    if (load->args->batch == UINT64_MAX)
        progress_say(&load->progress, "committing ...");
    if (status == HELIOS_OK)
        status = helios_write(load->db, &options, load->batch, NULL);
    if (status != HELIOS_OK || load->args->acknowledge)
        progress_clear(&load->progress);
    if (status != HELIOS_OK) {
        char what[64];

        snprintf(what, sizeof(what), "%llu rows are in, the next are not", (unsigned long long)load->committed);
        return report_status(load->args, status, what);
    }
    load->committed += count;
    load->commits++;
    helios_batch_clear(load->batch);
    if (load->args->acknowledge) {
        printf("committed %llu\n", (unsigned long long)load->committed);
        fflush(stdout);
    }
    return EXIT_CODE_OK;
}

/* One pass over the file. Rows go into the batch unless only_check; full batches are committed. */
static int pass(struct load *load, bool only_check, bool check)
{
    struct input_row row;
    enum input_result result;
    int code = EXIT_CODE_OK;

    progress_begin(&load->progress, load->args, only_check ? "checking" : "loading", "rows",
                   input_total(load->input));
    load->rows = 0;
    while (code == EXIT_CODE_OK && (result = input_next(load->input, &row)) != INPUT_END) {
        if (result == INPUT_BAD) {
            bad_lines_note(&load->bad, row.line, row.problem);
            continue;
        }
        if (check && !is_new(load, &row, &code))
            continue;
        load->rows++;
        progress_update(&load->progress, input_offset(load->input), load->rows);
        if (only_check)
            continue;
        load->bytes += row.key.size + row.value.size;
        helios_batch_put(load->batch, row.key, row.value);
        if (helios_batch_count(load->batch) >= load->args->batch)
            code = commit(load);
    }
    progress_clear(&load->progress);
    if (code == EXIT_CODE_OK && input_failed(load->input))
        code = report_system(load->args, "cannot read %s", load->args->words[1]);
    return code;
}

static int refuse(const struct load *load)
{
    return report_input(
        load->args, "%llu bad line%s in %s: nothing was loaded. Mend them, or leave them out with --keep-going",
        (unsigned long long)load->bad.count, load->bad.count == 1 ? "" : "s", load->args->words[1]);
}

static int run_passes(struct load *load)
{
    bool batches = load->args->batch != UINT64_MAX, keep_going = load->args->keep_going;
    bool checked = batches && !keep_going;
    int code;

    if (checked) {
        code = pass(load, true, true);
        if (code == EXIT_CODE_OK && load->bad.count)
            code = refuse(load);
        if (code == EXIT_CODE_OK)
            code = input_rewind(load->input);
        if (code)
            return code;
    }
    code = pass(load, false, !checked);
    if (code)
        return code;
    if (load->bad.count && !keep_going)
        return refuse(load);
    return commit(load);
}

static void print_summary(const struct load *load)
{
    double seconds = (double)(clock_micros() - load->started) / 1e6;
    char rows[32], bytes[32];

    if (load->args->json) {
        struct json_object *object = json_object_new_object();

        json_object_object_add(object, "loaded", json_object_new_uint64(load->committed));
        json_object_object_add(object, "bad_lines", json_object_new_uint64(load->bad.count));
        json_object_object_add(object, "commits", json_object_new_uint64(load->commits));
        json_object_object_add(object, "bytes", json_object_new_uint64(load->bytes));
        json_object_object_add(object, "seconds", json_object_new_double(seconds));
        json_print(stdout, object);
        json_free(object);
        return;
    }
    human_count(load->committed, rows);
    human_bytes(load->bytes, bytes);
    printf("%s rows, %s, in %llu commit%s, %.2f s\n", rows, bytes, (unsigned long long)load->commits,
           load->commits == 1 ? "" : "s", seconds);
    bad_lines_summary(&load->bad);
}

static int check_arguments(const struct args *args)
{
    if (args->pairs && (args->key_column_count || args->row_number || args->prefix))
        return report_usage(args, "--pairs brings its own keys: leave out --key, --row-number and --prefix");
    if (!args->pairs && !args->key_column_count && !args->row_number)
        return report_usage(args,
                            "which column is the key? --key COLUMN (several: repeat it), or --row-number; or "
                            "--table NAME for a table");
    if (args->primary_key.count || args->unique_columns.count || args->sample != UINT64_MAX)
        return report_usage(args, "--primary-key, --unique and --sample are of a table: say --table NAME");
    if (args->batch == 0)
        return report_usage(args, "--batch wants at least 1");
    return EXIT_CODE_OK;
}

static int run_load(struct args *args)
{
    struct load load = {.args = args, .started = clock_micros()};
    int code;

    if (args->table)
        return load_table(args);
    load.bad = (struct bad_lines){.args = args, .progress = &load.progress};
    code = check_arguments(args);
    if (code == EXIT_CODE_OK)
        code = input_open(args, &load.input);
    if (code)
        return code;
    if (args->batch != UINT64_MAX && !args->keep_going && !input_can_rewind(load.input)) {
        code = report_usage(
            args,
            "--batch reads the file twice, which a pipe cannot give: leave out --batch, or add --keep-going");
        goto out;
    }
    code = ctl_open(args, OPEN_WRITE, &load.db);
    if (code)
        goto out;
    load.batch = helios_batch_new();
    load.seen = args->replace ? NULL : seen_new();
    code = load.batch ? branch_resolve(args, load.db, args->branch, &load.branch)
                      : report_status(args, HELIOS_NO_MEMORY, NULL);
    if (code == EXIT_CODE_OK)
        code = run_passes(&load);
    progress_end(&load.progress);
    bad_lines_end(&load.bad);
    code = ctl_close(args, load.db, code);
    if (code == EXIT_CODE_OK)
        print_summary(&load);
    if (code == EXIT_CODE_OK && load.bad.count)
        code = EXIT_CODE_INPUT;
out:
    helios_batch_free(load.batch);
    seen_free(load.seen);
    helios_buf_free(&load.old);
    input_close(load.input);
    return code;
}

static const struct argp_option load_options[] = {
    {"key", OPTION_KEY, "COLUMN", 0, "The column (or field) that is the key; repeated: joined", 0},
    {"row-number", OPTION_ROW_NUMBER, NULL, 0, "End the key with the row's number, ten digits", 0},
    {"prefix", OPTION_PREFIX, "TEXT", 0, "Begin every key with TEXT", 0},
    {"separator", OPTION_SEPARATOR, "TEXT", 0, "What joins the parts of a key (default :)", 0},
    {"pairs", OPTION_PAIRS, NULL, 0, "The file is what `export` wrote: keys and values", 0},
    {"table", OPTION_TABLE, "NAME", 0, "Into this table; it is made if it is not there", 0},
    {"primary-key", OPTION_PRIMARY_KEY, "COLUMN", 0, "Making a table: its primary key; repeated: together", 0},
    {"unique", OPTION_UNIQUE_COLUMN, "COLUMN", 0,
     "Making a table: no two rows are equal there; may be repeated", 0},
    {"sample", OPTION_SAMPLE, "N", 0, "Making a table: its types are those of the first N rows (default 10000)",
     0},
    {"format", OPTION_FORMAT, "FORMAT", 0, "csv, tsv or ndjson (default: by the file's name)", 0},
    {"batch", OPTION_BATCH, "N", 0, "Commit every N rows, instead of all in one commit", 0},
    {"acknowledge", OPTION_ACKNOWLEDGE, NULL, 0, "Print a line after each commit", 0},
    {"keep-going", OPTION_KEEP_GOING, NULL, 0, "Load the good lines, leave out the bad ones", 0},
    {"replace", OPTION_REPLACE, NULL, 0, "Overwrite keys that are there already", 0},
    OPTION_ROW_BRANCH,
    OPTION_ROW_DURABILITY,
    OPTION_ROW_RETENTION,
    OPTION_ROW_CREATE,
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};

const struct command load_commands[] = {
    {"load", "DB FILE", "Load a CSV, TSV or NDJSON file",
     "Each row becomes one key; its value is a JSON object of the columns (for NDJSON: the line). CSV is as in "
     "RFC 4180, its first line names the columns. FILE may be - for standard input.\n\n"
     "All rows are one commit: everything is loaded or nothing, and a bad line (reported with its number) "
     "means nothing. Exit code 6 if there were bad lines, also with --keep-going.\n\n"
     "With --table each row becomes a row of that table, by the names of the columns; an empty field is NULL. "
     "A table that "
     "is not there is made, with the types that all values of the sample have: int64, float64, bool, date, "
     "timestamp, "
     "json (of NDJSON) or text, which codes such as 007 are too. A row that a unique index or a column's type "
     "refuses is a "
     "bad line. With --batch what stands before the first bad line stays.",
     load_options, 2, 2, run_load},
    {0},
};
