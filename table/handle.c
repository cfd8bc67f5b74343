/* handle.c - helios_table: the schema it goes by, and rows made of bytes. */
#include "table/table_internal.h"
#include <inttypes.h>

/* ---- schemas ---- */

void schema_unref(struct table_schema *schema)
{
    if (schema && --schema->refs == 0)
        mem_free(schema);
}

static helios_status adopt(helios_table *table, helios_slice entry)
{
    struct table_schema *schema;
    helios_status status = schema_decode(entry, table->id, &schema);

    if (status != HELIOS_OK)
        return status;
    status = buf_set(&table->entry, entry.data, entry.size);
    if (status != HELIOS_OK) {
        mem_free(schema);
        return status;
    }
    schema_unref(table->schema);
    table->schema = schema;
    schema->refs = 1;
    return HELIOS_OK;
}

/* The entry as bytes tells whether anything has changed: it is small, and then nothing is decoded. */
helios_status table_refresh(helios_table *table, const struct table_view *view)
{
    struct catalog_key key = catalog_table_key(table->id);
    helios_status status = view_get(view, SPACE_META, catalog_key_slice(&key), &table->scratch);

    if (status == HELIOS_NOT_FOUND)
        return fail(HELIOS_NOT_FOUND, "table %u was dropped", table->id);
    if (status != HELIOS_OK)
        return status;
    if (table->schema && slice_equal(buf_slice(&table->scratch), buf_slice(&table->entry)))
        return HELIOS_OK;
    return adopt(table, buf_slice(&table->scratch));
}

/* ---- opening ---- */

helios_status helios_table_open(helios_db *db, const helios_table_options *given, const char *name,
                                helios_table **out)
{
    helios_table *table;
    struct table_view view;
    helios_status status;

    if (!db || !out)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the table" : "database");
    table = mem_zalloc(sizeof(*table));
    if (!table)
        return fail_no_memory(sizeof(*table));
    table->db = db;
    status = table_options(given, &table->options);
    if (status == HELIOS_OK)
        status = view_begin(&view, db, &table->options);
    if (status == HELIOS_OK) {
        status = catalog_find(&view, name, &table->id);
        if (status == HELIOS_OK)
            status = table_refresh(table, &view);
        view_end(&view);
    }
    if (status != HELIOS_OK) {
        helios_table_close(table);
        return status;
    }
    *out = table;
    return HELIOS_OK;
}

void helios_table_close(helios_table *table)
{
    if (!table)
        return;
    schema_unref(table->schema);
    for (size_t i = 0; i < table->layout_count; i++)
        mem_free(table->layouts[i]);
    mem_free(table->layouts);
    helios_buf_free(&table->entry);
    helios_buf_free(&table->scratch);
    helios_buf_free(&table->row_bytes);
    helios_buf_free(&table->cells);
    helios_buf_free(&table->key);
    helios_buf_free(&table->old_key);
    helios_row_release(&table->old);
    mem_free(table);
}

const helios_schema *helios_table_schema(const helios_table *table)
{
    return table ? &table->schema->pub : NULL;
}

/* ---- layouts ---- */

static helios_status layout_of(helios_table *table, const struct table_view *view, uint32_t id,
                               const struct layout **out)
{
    struct layout *layout;
    helios_status status;

    for (size_t i = table->layout_count; i-- > 0;)
        if (table->layouts[i]->id == id) {
            *out = table->layouts[i];
            return HELIOS_OK;
        }
    if (table->layout_count == table->layout_capacity) {
        size_t capacity = table->layout_capacity ? table->layout_capacity * 2 : 4;
        struct layout **grown = mem_realloc(table->layouts, capacity * sizeof(struct layout *));

        if (!grown)
            return fail_no_memory(capacity * sizeof(struct layout *));
        table->layouts = grown;
        table->layout_capacity = capacity;
    }
    status = catalog_layout(view, table->id, id, &layout);
    if (status == HELIOS_OK)
        *out = table->layouts[table->layout_count++] = layout;
    return status;
}

/* ---- rows ---- */

void helios_row_release(helios_row *row)
{
    if (!row)
        return;
    helios_buf_free(&row->bytes);
    helios_buf_free(&row->cells);
    *row = (helios_row){0};
}

/* Where in the layout a column stands, or -1: it came later. */
static int64_t place_in(const struct layout *layout, const helios_column *column, uint32_t hint)
{
    if (hint < layout->count && layout->columns[hint].id == column->id)
        return hint;
    for (uint32_t i = 0; i < layout->count; i++)
        if (layout->columns[i].id == column->id)
            return i;
    return -1;
}

static size_t default_bytes(const struct table_schema *schema)
{
    size_t bytes = 0;

    for (size_t i = 0; i < schema->pub.column_count; i++) {
        const helios_value *v = &schema->pub.columns[i].default_value;

        if (v->type == HELIOS_TYPE_VECTOR)
            bytes += v->as.vector.count * sizeof(float);
        else if (v->type == HELIOS_TYPE_TEXT || v->type == HELIOS_TYPE_BYTES || v->type == HELIOS_TYPE_JSON)
            bytes += v->as.bytes.size;
    }
    return bytes;
}

/* The default of a column that the row is older than, in the row's own memory. */
static helios_value default_in(const helios_value *given, char **bytes, float **floats)
{
    helios_value v = *given;

    if (v.type == HELIOS_TYPE_NONE)
        v.type = HELIOS_TYPE_NULL;
    if (v.type == HELIOS_TYPE_VECTOR && v.as.vector.count) {
        v.as.vector.at = memcpy(*floats, v.as.vector.at, v.as.vector.count * sizeof(float));
        *floats += v.as.vector.count;
    } else if (v.type == HELIOS_TYPE_TEXT || v.type == HELIOS_TYPE_BYTES || v.type == HELIOS_TYPE_JSON) {
        v.as.bytes.data = memcpy(*bytes, v.as.bytes.data, v.as.bytes.size);
        *bytes += v.as.bytes.size;
    }
    return v;
}

static void adapt(const struct table_schema *schema, const struct layout *layout, const helios_value *stored,
                  helios_value *out, char *bytes, float *floats)
{
    for (size_t i = 0; i < schema->pub.column_count; i++) {
        const helios_column *column = &schema->pub.columns[i];
        int64_t at = place_in(layout, column, (uint32_t)i);

        out[i] = at >= 0 ? stored[at] : default_in(&column->default_value, &bytes, &floats);
    }
}

/* Cells: the values as the schema has them, those as the layout has them, floats of both. */
static helios_status decode(const struct table_schema *schema, const struct layout *layout, helios_slice bytes,
                            helios_row *row)
{
    size_t count = schema->pub.column_count, extra = default_bytes(schema);
    helios_status status = buf_reserve(&row->bytes, bytes.size + extra + 1);
    helios_value *values, *stored;
    float *floats;

    if (status == HELIOS_OK)
        status = buf_reserve(&row->cells, (count + layout->count) * sizeof(*values) + bytes.size + extra + 8);
    if (status == HELIOS_OK)
        status = buf_set(&row->bytes, bytes.data, bytes.size);
    if (status != HELIOS_OK)
        return status;
    values = (helios_value *)(void *)row->cells.data;
    stored = values + count;
    floats = (float *)(void *)(stored + layout->count);
    if (!row_decode(buf_slice(&row->bytes), layout, floats, stored))
        return HELIOS_CORRUPT;
    /* What was decoded took at most the row's bytes: defaults come behind. */
    adapt(schema, layout, stored, values, row->bytes.data + bytes.size, floats + (bytes.size + 3) / 4);
    row->values = values;
    row->count = count;
    return HELIOS_OK;
}

helios_status row_fill(helios_table *table, const struct table_view *view, const struct table_schema *schema,
                       helios_slice bytes, helios_row *row)
{
    uint32_t id = row_layout(bytes);
    const struct layout *layout = NULL;
    helios_status status = id ? layout_of(table, view, id, &layout) : HELIOS_CORRUPT;

    if (status == HELIOS_OK)
        status = decode(schema, layout, bytes, row);
    if (status == HELIOS_CORRUPT)
        return fail_corrupt("table \"%s\": row %" PRIu64 " is damaged", schema->pub.name, row->id);
    return status;
}

helios_status row_read(helios_table *table, const struct table_view *view, const struct table_schema *schema,
                       uint64_t id, helios_row *row)
{
    unsigned char key[ROW_KEY_SIZE];
    helios_status status;

    row_key_put(key, table->id, id);
    status = view_get(view, SPACE_DATA, slice_make(key, sizeof(key)), &table->row_bytes);
    if (status == HELIOS_NOT_FOUND)
        return fail(HELIOS_NOT_FOUND, "table \"%s\" has no row %" PRIu64, schema->pub.name, id);
    if (status != HELIOS_OK)
        return status;
    row->id = id;
    return row_fill(table, view, schema, buf_slice(&table->row_bytes), row);
}
