/* row.c - the commands that insert, change and delete rows of a table. Each is one transaction. */
#include "tools/cells.h"
#include "tools/tables.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

/* Rows of a command line: words COLUMN=VALUE, which are one row, or JSON objects, each a row. */
struct given {
    struct cells cells;
    struct json_object *object; /* behind the cells, or NULL */
    char **copies;              /* names of COLUMN=VALUE */
    size_t copy_count;
};

static void given_clear(struct given *given)
{
    cells_clear(&given->cells);
    json_object_put(given->object);
    given->object = NULL;
    for (size_t i = 0; i < given->copy_count; i++)
        free(given->copies[i]);
    given->copy_count = 0;
}

static void given_release(struct given *given)
{
    given_clear(given);
    cells_release(&given->cells);
    free(given->copies);
}

static int take_object(const struct args *args, const char *word, struct given *given)
{
    enum json_tokener_error error;

    given->object = json_tokener_parse_verbose(word, &error);
    if (!json_object_is_type(given->object, json_type_object))
        return report_usage(args, "\"%s\" is not a JSON object: %s", word,
                            given->object ? "it is something else" : json_tokener_error_desc(error));
    if (!cells_add_object(&given->cells, given->object))
        return report_usage(args, "\"%s\": " NUMBER_PROBLEM, word);
    return EXIT_CODE_OK;
}

static int take_assignment(const struct args *args, const char *word, struct given *given)
{
    const char *equals = strchr(word, '=');
    char *name;

    if (!equals)
        return report_usage(args, "\"%s\" is neither COLUMN=VALUE nor a JSON object", word);
    name = xtext(word);
    name[equals - word] = '\0';
    given->copies = xrealloc(given->copies, (given->copy_count + 1) * sizeof(*given->copies));
    given->copies[given->copy_count++] = name;
    cells_add_text(&given->cells, name, (helios_slice){equals + 1, strlen(equals + 1)});
    return EXIT_CODE_OK;
}

/* The next row of the words from *at on. */
static int given_next(const struct args *args, int *at, struct given *given)
{
    int code = EXIT_CODE_OK;

    given_clear(given);
    if (args->words[*at][0] == '{')
        return take_object(args, args->words[(*at)++], given);
    while (code == EXIT_CODE_OK && *at < args->word_count && args->words[*at][0] != '{')
        code = take_assignment(args, args->words[(*at)++], given);
    return code;
}

static void print_id(const struct args *args, uint64_t id)
{
    printf(args->json ? "{\"id\":%llu}\n" : "row %llu\n", (unsigned long long)id);
}

static int values_of(const struct args *args, struct table_work *work, const struct given *given,
                     struct row_values *values)
{
    char problem[PROBLEM_SIZE];

    if (row_values_take(values, helios_table_schema(work->table), &given->cells, problem))
        return EXIT_CODE_OK;
    return report_usage(args, "%s", problem);
}

static int insert_rows(const struct args *args, struct table_work *work, uint64_t *ids, size_t *count)
{
    struct given given = {0};
    struct row_values values;
    int code = EXIT_CODE_OK;

    row_values_begin(&values, helios_table_schema(work->table));
    for (int at = 2; code == EXIT_CODE_OK && at < args->word_count;) {
        uint64_t *id = &ids[*count];

        *id = 0;
        code = given_next(args, &at, &given);
        if (code == EXIT_CODE_OK)
            code = values_of(args, work, &given, &values);
        if (code == EXIT_CODE_OK)
            code = table_work_check(args, work,
                                    (args->replace ? helios_row_upsert : helios_row_insert)(
                                        work->table, values.items, values.count, id));
        *count += code == EXIT_CODE_OK;
    }
    given_release(&given);
    row_values_release(&values);
    return code;
}

/* Opens the table in a transaction. */
static int begin(const struct args *args, struct table_work *work)
{
    int code = table_work_begin(args, OPEN_WRITE, work);

    if (code)
        return code;
    code = table_work_transact(args, work);
    if (code == EXIT_CODE_OK)
        code = table_work_open(args, work, args->words[1]);
    return code ? table_work_end(args, work, code) : code;
}

static int run_insert(struct args *args)
{
    uint64_t *ids;
    struct table_work work;
    size_t count = 0;
    int code = begin(args, &work);

    if (code)
        return code;
    ids = xalloc((size_t)args->word_count * sizeof(*ids));
    code = table_work_commit(args, &work, insert_rows(args, &work, ids, &count));
    code = table_work_end(args, &work, code);
    for (size_t i = 0; i < count && code == EXIT_CODE_OK; i++)
        print_id(args, ids[i]);
    free(ids);
    return code;
}

/* ---- one row, by its key ---- */

static int report_no_row(const struct args *args, const char *word)
{
    return report_advice(args, helios_status_name(HELIOS_NOT_FOUND), EXIT_CODE_NOT_FOUND, NULL,
                         "table \"%s\" has no row %s", args->words[1], word);
}

static int find_by_key(const struct args *args, struct table_work *work, const char *index, const char *word,
                       uint64_t *id)
{
    const helios_schema *schema = helios_table_schema(work->table);
    char problem[PROBLEM_SIZE];
    struct row_values values;
    struct key_columns key;
    helios_row row = {0};
    helios_status status = HELIOS_OK;
    size_t count;
    int code = table_key_find(args, schema, index, &key);

    if (code)
        return code;
    row_values_begin(&values, schema);
    if (!key_values_take(&values, schema, key.names, key.count, word, &count, problem))
        code = report_usage(args, "%s", problem);
    if (code == EXIT_CODE_OK)
        status = helios_row_find(work->table, index, values.items, count, &row);
    if (status == HELIOS_NOT_FOUND)
        code = report_no_row(args, word);
    else if (status != HELIOS_OK)
        code = table_work_check(args, work, status);
    *id = row.id;
    helios_row_release(&row);
    row_values_release(&values);
    return code;
}

/* #ID, a key of the index that --index names, or a primary key. */
static int find_row(const struct args *args, struct table_work *work, const char *word, uint64_t *id)
{
    helios_row row = {0};
    helios_status status;
    char *end;

    if (args->index || word[0] != '#')
        return find_by_key(args, work, args->index ? args->index : HELIOS_PRIMARY, word, id);
    *id = strtoull(word + 1, &end, 10);
    if (end == word + 1 || *end)
        return report_usage(args, "\"%s\": an id is # and a number; a key that begins so needs --index primary",
                            word);
    status = helios_row_get(work->table, *id, &row);
    helios_row_release(&row);
    return status == HELIOS_NOT_FOUND ? report_no_row(args, word) : table_work_check(args, work, status);
}

static int update_row(const struct args *args, struct table_work *work)
{
    struct given given = {0};
    struct row_values values;
    uint64_t id = 0;
    int at = 3, code = find_row(args, work, args->words[2], &id);

    row_values_begin(&values, helios_table_schema(work->table));
    if (code == EXIT_CODE_OK)
        code = given_next(args, &at, &given);
    if (code == EXIT_CODE_OK && at < args->word_count)
        code = report_usage(args, "one row is changed: give COLUMN=VALUE words, or one JSON object");
    if (code == EXIT_CODE_OK)
        code = values_of(args, work, &given, &values);
    if (code == EXIT_CODE_OK)
        code = table_work_check(args, work, helios_row_update(work->table, id, values.items, values.count));
    given_release(&given);
    row_values_release(&values);
    return code;
}

static int run_update(struct args *args)
{
    struct table_work work;
    int code = begin(args, &work);

    if (code)
        return code;
    code = table_work_commit(args, &work, update_row(args, &work));
    return table_work_end(args, &work, code);
}

static int run_delete(struct args *args)
{
    struct table_work work;
    int code = begin(args, &work);

    if (code)
        return code;
    for (int i = 2; i < args->word_count && code == EXIT_CODE_OK; i++) {
        uint64_t id = 0;

        code = find_row(args, &work, args->words[i], &id);
        if (code == EXIT_CODE_OK)
            code = table_work_check(args, &work, helios_row_delete(work.table, id));
    }
    code = table_work_commit(args, &work, code);
    return table_work_end(args, &work, code);
}

#define OPTION_ROW_KEY_INDEX                                                                                   \
    {                                                                                                          \
        "index", OPTION_INDEX, "NAME", 0, "KEY is of this index (default: the primary key)", 0                 \
    }
#define KEY_DOC                                                                                                \
    "KEY is the row's primary key (of several columns: with commas between them), of the index that --index "  \
    "names, or #ID, as `rows --ids` shows it."
#define VALUES_DOC                                                                                             \
    "What a row gets is written COLUMN=VALUE, a word for each column, nothing behind the = being NULL; or as " \
    "a JSON object."

static const struct argp_option insert_options[] = {
    {"replace", OPTION_REPLACE, NULL, 0, "Replace the row that has the same primary key", 0},
    OPTION_ROW_BRANCH,
    OPTION_ROW_DURABILITY,
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};
static const struct argp_option change_options[] = {
    OPTION_ROW_KEY_INDEX, OPTION_ROW_BRANCH, OPTION_ROW_DURABILITY, OPTION_ROW_JSON, OPTION_ROW_END,
};

const struct command row_commands[] = {
    {"row insert", "DB TABLE VALUE...", "Add rows to a table",
     VALUES_DOC
     " Several objects are several rows, in one commit. Columns that are not given have their default. "
     "Prints the ids.",
     insert_options, 3, WORDS_MAX, run_insert},
    {"row update", "DB TABLE KEY VALUE...", "Change columns of a row", KEY_DOC "\n\n" VALUES_DOC,
     change_options, 4, WORDS_MAX, run_update},
    {"row delete", "DB TABLE KEY...", "Delete rows of a table, in one commit", KEY_DOC, change_options, 3,
     WORDS_MAX, run_delete},
    {0},
};
