/* indexes.c - the commands on indexes of a table. */
#include "tools/grid.h"
#include "tools/tables.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

static struct json_object *names_json(const char *const *names, size_t count)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < count; i++)
        json_object_array_add(list, json_object_new_string(names[i]));
    return list;
}

/* The primary key as the index that it is. */
static helios_index_schema primary_of(const helios_schema *schema)
{
    return (helios_index_schema){.name = HELIOS_PRIMARY,
                                 .columns = schema->primary_key,
                                 .column_count = schema->primary_key_count,
                                 .unique = true};
}

static struct json_object *index_json(const helios_index_schema *index)
{
    struct json_object *object = json_object_new_object();

    json_object_object_add(object, "name", json_object_new_string(index->name));
    json_object_object_add(object, "columns", names_json(index->columns, index->column_count));
    json_object_object_add(object, "unique", json_object_new_boolean(index->unique));
    json_object_object_add(object, "building", json_object_new_boolean(index->building));
    return object;
}

struct json_object *indexes_json(const helios_schema *schema)
{
    struct json_object *list = json_object_new_array();
    helios_index_schema primary = primary_of(schema);

    if (primary.column_count)
        json_object_array_add(list, index_json(&primary));
    for (size_t i = 0; i < schema->index_count; i++)
        json_object_array_add(list, index_json(&schema->indexes[i]));
    return list;
}

static void print_index(struct grid *grid, const helios_index_schema *index)
{
    helios_buf columns = {0};

    for (size_t i = 0; i < index->column_count; i++) {
        buf_add_text(&columns, i ? ", " : "on ");
        buf_add_text(&columns, index->columns[i]);
    }
    grid_text(grid, "index");
    grid_text(grid, index->name);
    grid_text(grid, columns.data);
    grid_text(grid, index->building ? "not complete: create it again" : index->unique ? "unique" : "");
    free(columns.data);
}

void indexes_print(const helios_schema *schema)
{
    helios_index_schema primary = primary_of(schema);
    struct grid *grid = grid_new(4);

    if (primary.column_count)
        print_index(grid, &primary);
    for (size_t i = 0; i < schema->index_count; i++)
        print_index(grid, &schema->indexes[i]);
    grid_finish(grid);
}

static int run_list(struct args *args)
{
    struct table_work work;
    helios_schema *schema = NULL;
    int code = table_work_begin(args, OPEN_READ, &work);

    if (code)
        return code;
    code =
        table_work_check(args, &work, helios_table_describe(work.db, &work.options, args->words[1], &schema));
    if (code == EXIT_CODE_OK && args->json) {
        struct json_object *list = indexes_json(schema);

        json_print(stdout, list);
        json_free(list);
    } else if (code == EXIT_CODE_OK) {
        indexes_print(schema);
    }
    helios_free(schema);
    return table_work_end(args, &work, code);
}

/* The columns' names, joined. */
static char *name_of_columns(const struct args *args)
{
    helios_buf name = {0};

    for (int i = 2; i < args->word_count; i++) {
        buf_add_text(&name, i > 2 ? "_" : "");
        buf_add_text(&name, args->words[i]);
    }
    return name.data;
}

static int run_create(struct args *args)
{
    helios_index_schema index = {
        .columns = &args->words[2], .column_count = (size_t)args->word_count - 2, .unique = args->unique};
    struct table_work work;
    char *name;
    int code = table_work_begin(args, OPEN_WRITE, &work);

    if (code)
        return code;
    name = args->name ? xtext(args->name) : name_of_columns(args);
    index.name = name;
    code = table_work_check(args, &work, helios_index_create(work.db, &work.options, args->words[1], &index));
    free(name);
    return table_work_end(args, &work, code);
}

static int run_drop(struct args *args)
{
    struct table_work work;
    int code = table_work_begin(args, OPEN_WRITE, &work);

    if (code)
        return code;
    code = table_work_check(args, &work,
                            helios_index_drop(work.db, &work.options, args->words[1], args->words[2]));
    return table_work_end(args, &work, code);
}

static const struct argp_option list_options[] = {OPTION_ROW_AT, OPTION_ROW_BRANCH, OPTION_ROW_JSON,
                                                  OPTION_ROW_END};
static const struct argp_option create_options[] = {
    {"name", OPTION_NAME, "NAME", 0, "Its name (default: the columns', joined by _)", 0},
    {"unique", OPTION_UNIQUE, NULL, 0, "No two rows are equal in these columns", 0},
    OPTION_ROW_BRANCH,
    OPTION_ROW_DURABILITY,
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};
static const struct argp_option drop_options[] = {OPTION_ROW_BRANCH, OPTION_ROW_DURABILITY, OPTION_ROW_JSON,
                                                  OPTION_ROW_END};

const struct command index_commands[] = {
    {"index list", "DB TABLE", "List a table's indexes", POINT_DOC, list_options, 2, 2, run_list},
    {"index create", "DB TABLE COLUMN...", "Make an index and fill it from the rows",
     "If it is stopped half-way the same command completes it. A unique index over rows of which two are equal "
     "there "
     "is not made: exit code 2, and the failure says which.",
     create_options, 3, 2 + KEY_COLUMNS_MAX, run_create},
    {"index drop", "DB TABLE NAME", "Remove an index", NULL, drop_options, 3, 3, run_drop},
    {0},
};
