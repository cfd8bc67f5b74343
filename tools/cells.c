/* cells.c - cells collected, and read as values of columns. Values of JSON columns are looked into here, as the library does
 * not: what is printed as JSON must be some. */
#include "tools/cells.h"
#include "tools/tables.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

size_t table_column_named(const helios_schema *schema, const char *name)
{
    size_t i = 0;

    while (i < schema->column_count && strcmp(schema->columns[i].name, name) != 0)
        i++;
    return i;
}

void cells_clear(struct cells *cells)
{
    cells->count = 0;
}

void cells_release(struct cells *cells)
{
    free(cells->items);
    *cells = (struct cells){0};
}

static struct cell *add(struct cells *cells, const char *name)
{
    if (cells->count == cells->capacity) {
        cells->capacity = cells->capacity ? cells->capacity * 2 : 16;
        cells->items = xrealloc(cells->items, cells->capacity * sizeof(*cells->items));
    }
    cells->items[cells->count] = (struct cell){.name = name};
    return &cells->items[cells->count++];
}

void cells_add_text(struct cells *cells, const char *name, helios_slice text)
{
    struct cell *cell = add(cells, name);

    cell->kind = text.size ? CELL_TEXT : CELL_NULL;
    cell->text = text;
}

static enum cell_kind kind_of(struct json_object *member)
{
    switch (json_object_get_type(member)) {
    case json_type_null: return CELL_NULL;
    case json_type_boolean: return CELL_BOOL;
    case json_type_int:
    case json_type_double: return CELL_NUMBER;
    case json_type_string: return CELL_STRING;
    default: return CELL_NESTED;
    }
}

/* The parser makes the nearest that fits of a number that does not. */
static bool is_clamped(struct json_object *member)
{
    return json_object_is_type(member, json_type_int) &&
           (json_object_get_uint64(member) == UINT64_MAX || json_object_get_int64(member) == INT64_MIN);
}

bool cells_add_object(struct cells *cells, struct json_object *object)
{
    bool exact = true;

    json_object_object_foreach(object, name, member)
    {
        struct cell *cell = add(cells, name);

        exact = exact && !is_clamped(member);
        cell->kind = kind_of(member);
        cell->json.data = json_object_to_json_string_length(
            member, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &cell->json.size);
        cell->text = cell->json;
        if (cell->kind == CELL_STRING)
            cell->text =
                (helios_slice){json_object_get_string(member), (size_t)json_object_get_string_len(member)};
    }
    return exact;
}

void row_values_begin(struct row_values *values, const helios_schema *schema)
{
    values->count = schema->column_count;
    values->items = xalloc(values->count * sizeof(*values->items));
    values->memory = xalloc(values->count * sizeof(*values->memory));
    memset(values->memory, 0, values->count * sizeof(*values->memory));
}

void row_values_release(struct row_values *values)
{
    for (size_t i = 0; i < values->count; i++)
        helios_buf_free(&values->memory[i]);
    free(values->items);
    free(values->memory);
    *values = (struct row_values){0};
}

static bool is_json(helios_slice text)
{
    struct json_tokener *tokener = json_tokener_new();
    struct json_object *object;
    bool good;

    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    object = json_tokener_parse_ex(tokener, text.data, (int)text.size);
    if (json_tokener_get_error(tokener) == json_tokener_continue) /* a number may go on */
        object = json_tokener_parse_ex(tokener, "", -1);
    good = json_tokener_get_error(tokener) == json_tokener_success;
    json_object_put(object);
    json_tokener_free(tokener);
    return good;
}

static bool read_cell(const helios_column *column, const struct cell *cell, helios_buf *memory,
                      helios_value *value, char problem[PROBLEM_SIZE])
{
    bool nested = column->type == HELIOS_TYPE_JSON || column->type == HELIOS_TYPE_VECTOR;
    helios_slice text = nested && cell->kind != CELL_TEXT ? cell->json : cell->text;

    *value = (helios_value){.type = HELIOS_TYPE_NULL};
    if (cell->kind == CELL_NULL)
        return true;
    if (helios_value_read(column->type, text, memory, value) != HELIOS_OK) {
        snprintf(problem, PROBLEM_SIZE, "column \"%.80s\": %s", column->name, helios_last_error());
        return false;
    }
    if (column->type != HELIOS_TYPE_JSON || cell->kind != CELL_TEXT || is_json(text))
        return true;
    snprintf(problem, PROBLEM_SIZE, "column \"%.80s\": \"%.*s\" is not JSON", column->name,
             (int)(text.size < 100 ? text.size : 100), (const char *)text.data);
    return false;
}

bool row_values_take(struct row_values *values, const helios_schema *schema, const struct cells *cells,
                     char problem[PROBLEM_SIZE])
{
    for (size_t i = 0; i < values->count; i++)
        values->items[i] = (helios_value){.type = HELIOS_TYPE_NONE};
    for (size_t i = 0; i < cells->count; i++) {
        const struct cell *cell = &cells->items[i];
        size_t place = i; /* of a file most often */

        if (place >= values->count || strcmp(schema->columns[place].name, cell->name) != 0)
            place = table_column_named(schema, cell->name);
        if (place == values->count) {
            snprintf(problem, PROBLEM_SIZE, "table \"%.80s\" has no column \"%.80s\"", schema->name,
                     cell->name);
            return false;
        }
        if (!read_cell(&schema->columns[place], cell, &values->memory[place], &values->items[place], problem))
            return false;
    }
    return true;
}

bool key_values_take(struct row_values *values, const helios_schema *schema, const char *const *columns,
                     size_t column_count, const char *word, size_t *count, char problem[PROBLEM_SIZE])
{
    const char *at = word;

    for (*count = 0; at; (*count)++) {
        const char *comma = column_count > 1 ? strchr(at, ',') : NULL;
        struct cell cell = {.kind = CELL_TEXT};
        const helios_column *column;

        if (*count == column_count) {
            snprintf(problem, PROBLEM_SIZE, "\"%.100s\" has more than %zu parts", word, column_count);
            return false;
        }
        column = &schema->columns[table_column_named(schema, columns[*count])];
        cell.text = (helios_slice){at, comma ? (size_t)(comma - at) : strlen(at)};
        if (!read_cell(column, &cell, &values->memory[*count], &values->items[*count], problem))
            return false;
        at = comma ? comma + 1 : NULL;
    }
    return true;
}
