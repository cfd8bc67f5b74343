/* table.c - the commands that make, show and remove tables. */
#include "tools/grid.h"
#include "tools/tables.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

/* ---- create ---- */

/* What "NAME:TYPE:..." is made of; texts are cut out of copies of the words. */
struct definition {
    helios_column *columns;
    char **copies;
    helios_buf *defaults; /* memory of the columns' default values */
    size_t count;
    const char *primary_key[KEY_COLUMNS_MAX];
    size_t primary_key_count;
};

/* "decimal(2)" */
static bool take_type(char *text, helios_column *column)
{
    char *bracket = strchr(text, '('), *end;

    if (bracket) {
        column->scale = (uint32_t)strtoul(bracket + 1, &end, 10);
        if (end == bracket + 1 || strcmp(end, ")") != 0)
            return false;
        *bracket = '\0';
    }
    column->type = helios_type_named(text);
    return column->type != HELIOS_TYPE_NONE && column->type != HELIOS_TYPE_NULL &&
           (!bracket || column->type == HELIOS_TYPE_DECIMAL);
}

static int add_primary(const struct args *args, struct definition *made, const char *name)
{
    if (made->primary_key_count == KEY_COLUMNS_MAX)
        return report_usage(args, "a primary key has at most %d columns", KEY_COLUMNS_MAX);
    made->primary_key[made->primary_key_count++] = name;
    return EXIT_CODE_OK;
}

static int take_property(const struct args *args, struct definition *made, char *text)
{
    helios_column *column = &made->columns[made->count];
    helios_status status;

    if (strcmp(text, "not-null") == 0)
        column->not_null = true;
    else if (strcmp(text, "unique") == 0)
        column->unique = true;
    else if (strcmp(text, "primary") == 0)
        return add_primary(args, made, column->name);
    else if (strncmp(text, "default=", 8) == 0) {
        status = helios_value_read(column->type, (helios_slice){text + 8, strlen(text + 8)},
                                   &made->defaults[made->count], &column->default_value);
        return status == HELIOS_OK ? EXIT_CODE_OK : report_status(args, status, column->name);
    } else
        return report_usage(args, "\"%s\": a column is not-null, unique, primary or has a default=VALUE", text);
    return EXIT_CODE_OK;
}

/* Cuts the text at its next colon, unless a default begins there, which is all that follows. NULL: there is no more. */
static char *cut(char *text)
{
    char *colon = strncmp(text, "default=", 8) == 0 ? NULL : strchr(text, ':');

    if (!colon)
        return NULL;
    *colon = '\0';
    return colon + 1;
}

static int take_definition(const struct args *args, struct definition *made, const char *word)
{
    char *name = made->copies[made->count] = xtext(word), *type = cut(name), *property, *next;
    helios_column *column = &made->columns[made->count];
    int code = EXIT_CODE_OK;

    *column = (helios_column){.name = name};
    made->defaults[made->count] = (helios_buf){0};
    property = type ? cut(type) : NULL;
    if (!type || !take_type(type, column))
        code =
            report_usage(args,
                         "\"%s\": a column is NAME:TYPE, the type one of bool, int16, int32, int64, float32, "
                         "float64, text, bytes, date, timestamp, uuid, decimal(DIGITS), json, vector",
                         word);
    for (; code == EXIT_CODE_OK && property; property = next) {
        next = cut(property);
        code = take_property(args, made, property);
    }
    made->count++;
    return code;
}

static void definition_release(struct definition *made)
{
    for (size_t i = 0; i < made->count; i++) {
        free(made->copies[i]);
        helios_buf_free(&made->defaults[i]);
    }
    free(made->columns);
    free(made->copies);
    free(made->defaults);
}

static int take_definitions(const struct args *args, struct definition *made)
{
    size_t count = (size_t)args->word_count - 2;
    int code = EXIT_CODE_OK;

    *made = (struct definition){.columns = xalloc(count * sizeof(*made->columns)),
                                .copies = xalloc(count * sizeof(*made->copies)),
                                .defaults = xalloc(count * sizeof(*made->defaults))};
    for (int i = 0; i < args->primary_key.count && code == EXIT_CODE_OK; i++)
        code = add_primary(args, made, args->primary_key.names[i]);
    for (size_t i = 0; i < count && code == EXIT_CODE_OK; i++)
        code = take_definition(args, made, args->words[2 + i]);
    return code;
}

static int run_create(struct args *args)
{
    helios_schema schema = HELIOS_SCHEMA_INIT;
    struct definition made;
    struct table_work work;
    int code = take_definitions(args, &made);

    if (code == EXIT_CODE_OK)
        code = table_work_begin(args, OPEN_WRITE, &work);
    if (code)
        goto out;
    schema.name = args->words[1];
    schema.columns = made.columns;
    schema.column_count = made.count;
    schema.primary_key = made.primary_key;
    schema.primary_key_count = made.primary_key_count;
    code = table_work_check(args, &work, helios_table_create(work.db, &work.options, &schema, NULL));
    code = table_work_end(args, &work, code);
out:
    definition_release(&made);
    return code;
}

/* ---- list and describe ---- */

static struct json_object *column_json(const helios_column *column)
{
    struct json_object *object = json_object_new_object();
    char type[TYPE_TEXT_SIZE];
    helios_buf text = {0};

    type_text(column, type);
    json_object_object_add(object, "name", json_object_new_string(column->name));
    json_object_object_add(object, "type", json_object_new_string(type));
    json_object_object_add(object, "not_null", json_object_new_boolean(column->not_null));
    if (column->default_value.type != HELIOS_TYPE_NONE &&
        helios_value_print(&column->default_value, &text) == HELIOS_OK)
        json_object_object_add(object, "default",
                               json_object_new_string_len(text.data ? text.data : "", (int)text.size));
    helios_buf_free(&text);
    return object;
}

static void print_schema_json(const helios_schema *schema)
{
    struct json_object *object = json_object_new_object(), *columns = json_object_new_array();

    for (size_t i = 0; i < schema->column_count; i++)
        json_object_array_add(columns, column_json(&schema->columns[i]));
    json_object_object_add(object, "name", json_object_new_string(schema->name));
    json_object_object_add(object, "id", json_object_new_uint64(schema->id));
    json_object_object_add(object, "columns", columns);
    json_object_object_add(object, "indexes", indexes_json(schema));
    json_print(stdout, object);
    json_free(object);
}

static void default_text(const helios_column *column, helios_buf *text)
{
    helios_buf value = {0};

    if (column->default_value.type == HELIOS_TYPE_NONE)
        return;
    if (helios_value_print(&column->default_value, &value) == HELIOS_OK) {
        buf_add_text(text, text->size ? ", default " : "default ");
        buf_add(text, value.data ? value.data : "", value.size);
    }
    helios_buf_free(&value);
}

static void print_columns(const helios_schema *schema)
{
    struct grid *grid = grid_new(3);

    for (size_t i = 0; i < schema->column_count; i++) {
        const helios_column *column = &schema->columns[i];
        helios_buf text = {0};
        char type[TYPE_TEXT_SIZE];

        type_text(column, type);
        buf_add_text(&text, column->not_null ? "not null" : "");
        default_text(column, &text);
        grid_text(grid, column->name);
        grid_text(grid, type);
        grid_text(grid, text.data);
        free(text.data);
    }
    grid_finish(grid);
}

static int run_describe(struct args *args)
{
    struct table_work work;
    helios_schema *schema = NULL;
    int code = table_work_begin(args, OPEN_READ, &work);

    if (code)
        return code;
    code =
        table_work_check(args, &work, helios_table_describe(work.db, &work.options, args->words[1], &schema));
    if (code == EXIT_CODE_OK && args->json) {
        print_schema_json(schema);
    } else if (code == EXIT_CODE_OK) {
        print_columns(schema);
        printf("\n");
        indexes_print(schema);
    }
    helios_free(schema);
    return table_work_end(args, &work, code);
}

static int list_one(const struct args *args, const struct table_work *work, const char *name, struct grid *grid)
{
    helios_schema *schema = NULL;
    int code = table_work_check(args, work, helios_table_describe(work->db, &work->options, name, &schema));
    char text[64];

    if (code == EXIT_CODE_OK && !grid) {
        print_schema_json(schema);
    } else if (code == EXIT_CODE_OK) {
        grid_text(grid, name);
        snprintf(text, sizeof(text), "%zu column%s", schema->column_count,
                 schema->column_count == 1 ? "" : "s");
        grid_text(grid, text);
        snprintf(text, sizeof(text), "%zu index%s", schema->index_count + !!schema->primary_key_count,
                 schema->index_count + !!schema->primary_key_count == 1 ? "" : "es");
        grid_text(grid, text);
    }
    helios_free(schema);
    return code;
}

static int run_list(struct args *args)
{
    struct table_work work;
    struct grid *grid = NULL;
    char **names = NULL;
    size_t count = 0;
    int code = table_work_begin(args, OPEN_READ, &work);

    if (code)
        return code;
    code = table_work_check(args, &work, helios_table_list(work.db, &work.options, &names, &count));
    if (!args->json)
        grid = grid_new(3);
    for (size_t i = 0; i < count && code == EXIT_CODE_OK; i++)
        code = list_one(args, &work, names[i], grid);
    if (grid)
        grid_finish(grid);
    helios_free(names);
    return table_work_end(args, &work, code);
}

/* ---- drop and rename ---- */

static int run_drop(struct args *args)
{
    struct table_work work;
    int code = table_work_begin(args, OPEN_WRITE, &work);

    if (code)
        return code;
    code = table_work_check(args, &work, helios_table_drop(work.db, &work.options, args->words[1]));
    return table_work_end(args, &work, code);
}

static int run_rename(struct args *args)
{
    struct table_work work;
    int code = table_work_begin(args, OPEN_WRITE, &work);

    if (code)
        return code;
    code = table_work_check(args, &work,
                            helios_table_rename(work.db, &work.options, args->words[1], args->words[2]));
    return table_work_end(args, &work, code);
}

static const struct argp_option create_options[] = {
    {"primary-key", OPTION_PRIMARY_KEY, "COLUMN", 0, "The column that tells rows apart; repeated: together", 0},
    OPTION_ROW_BRANCH,
    OPTION_ROW_DURABILITY,
    OPTION_ROW_CREATE,
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};
static const struct argp_option read_options[] = {OPTION_ROW_AT, OPTION_ROW_BRANCH, OPTION_ROW_JSON,
                                                  OPTION_ROW_END};
static const struct argp_option write_options[] = {OPTION_ROW_BRANCH, OPTION_ROW_DURABILITY, OPTION_ROW_JSON,
                                                   OPTION_ROW_END};

const struct command table_commands[] = {
    {"table list", "DB", "List the tables", POINT_DOC, read_options, 1, 1, run_list},
    {"table describe", "DB TABLE", "Show a table's columns and indexes", POINT_DOC, read_options, 2, 2,
     run_describe},
    {"table create", "DB TABLE COLUMN...", "Make a table",
     "A COLUMN is NAME:TYPE, and behind it, with colons between them, what else it is:\n\n"
     "  heliosctl table create DB airports code:text:primary name:text:not-null elevation:int32:default=0\n\n"
     "Types: bool, int16, int32, int64, float32, float64, text, bytes, date, timestamp, uuid, "
     "decimal(DIGITS behind the point), json, vector. not-null: there is always a value; unique: no two rows "
     "are "
     "equal there; primary: part of the primary key; default=VALUE, the last: for rows that do not say. "
     "`load --table` makes a table after a file.",
     create_options, 3, WORDS_MAX, run_create},
    {"table rename", "DB TABLE NEW-NAME", "Give a table another name", NULL, write_options, 3, 3, run_rename},
    {"table drop", "DB TABLE", "Remove a table and its rows",
     "It stays readable in the past, as long as history "
     "is kept.",
     write_options, 2, 2, run_drop},
    {0},
};
