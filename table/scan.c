/* scan.c - rows in the order of their ids or of an index, one found by a key, and how many there are. */
#include "table/table_internal.h"
#include <inttypes.h>

struct helios_rows {
    helios_table *table;
    struct table_view view;
    struct table_schema *schema;     /* of the view; counted */
    const struct table_index *index; /* NULL: by id */
    helios_iter *iter;               /* NULL: the bounds hold nothing */
    bool reverse, begun;
    uint64_t offset, left; /* to be passed over; to be given, UINT64_MAX: all */
    helios_buf lower, upper;
    helios_row row;
    struct error_note error;
};

static const helios_rows_options default_rows = HELIOS_ROWS_OPTIONS_INIT;

/* ---- bounds ---- */

static helios_status id_bounds(helios_rows *rows, const helios_rows_options *o)
{
    unsigned char from[ROW_KEY_SIZE], to[ROW_KEY_SIZE];
    helios_status status;

    if (o->from_count || o->to_count)
        return fail(HELIOS_INVALID, "bounds by values need an index");
    row_key_put(from, rows->table->id, o->from_id);
    row_key_put(to, rows->table->id, o->to_id ? o->to_id : UINT64_MAX);
    status = buf_set(&rows->lower, from, sizeof(from));
    if (status == HELIOS_OK)
        status = buf_set(&rows->upper, to, sizeof(to));
    (void)!key_step_over(&rows->upper); /* no table has the last id */
    return status;
}

static helios_status bound_of(const helios_rows *rows, const helios_value *values, size_t count,
                              helios_buf *key)
{
    bool possible;
    helios_status status = index_bound(key, rows->schema, rows->index, values, count, &possible);

    if (status == HELIOS_OK && !possible)
        return fail(HELIOS_INVALID, "a bound is no value of the columns of index \"%s\"", rows->index->name);
    return status;
}

static helios_status index_bounds(helios_rows *rows, const helios_rows_options *o)
{
    helios_status status;

    if (o->from_id || o->to_id)
        return fail(HELIOS_INVALID, "bounds by id are for a walk by id");
    if ((o->from_count && !o->from) || (o->to_count && !o->to))
        return fail(HELIOS_INVALID, "no values were given for a bound");
    status = bound_of(rows, o->from, o->from_count, &rows->lower);
    if (status == HELIOS_OK)
        status = bound_of(rows, o->to, o->to_count, &rows->upper);
    (void)!key_step_over(&rows->upper);
    return status;
}

/* ---- making ---- */

static helios_status usable_index(const struct table_schema *schema, const char *name,
                                  const struct table_index **out)
{
    const struct table_index *index = schema_index(schema, name);

    if (!index)
        return fail(HELIOS_INVALID, "table \"%s\" has no index \"%s\"", schema->pub.name, name);
    if (index->building)
        return fail(HELIOS_INVALID,
                    "index \"%s\" of table \"%s\" is not complete: helios_index_create() completes it", name,
                    schema->pub.name);
    *out = index;
    return HELIOS_OK;
}

static helios_status open_walk(helios_rows *rows, const helios_rows_options *o)
{
    struct view_bounds bounds = {.no_cache_fill = o->no_cache_fill};
    helios_status status = table_refresh(rows->table, &rows->view);

    if (status != HELIOS_OK)
        return status;
    rows->schema = rows->table->schema;
    rows->schema->refs++;
    if (o->index)
        status = usable_index(rows->schema, o->index, &rows->index);
    if (status == HELIOS_OK)
        status = rows->index ? index_bounds(rows, o) : id_bounds(rows, o);
    bounds.lower = buf_slice(&rows->lower);
    bounds.upper = buf_slice(&rows->upper);
    if (status != HELIOS_OK || slice_compare(bounds.lower, bounds.upper) >= 0)
        return status;
    return view_iter(&rows->view, rows->index ? SPACE_INDEX : SPACE_DATA, &bounds, &rows->iter);
}

helios_status helios_rows_new(helios_table *table, const helios_rows_options *given, helios_rows **out)
{
    helios_rows_options options;
    helios_rows *rows;
    helios_status status;

    if (!table || !out)
        return fail(HELIOS_INVALID, "no %s was given", table ? "place for the walk" : "table");
    status = options_copy(given, given ? given->size : 0, &default_rows, sizeof(options), &options,
                          "helios_rows_options");
    if (status != HELIOS_OK)
        return status;
    rows = mem_zalloc(sizeof(*rows));
    if (!rows)
        return fail_no_memory(sizeof(*rows));
    rows->table = table;
    rows->reverse = options.reverse;
    rows->offset = options.offset;
    rows->left = options.limit ? options.limit : UINT64_MAX;
    status = view_begin(&rows->view, table->db, &table->options);
    if (status != HELIOS_OK) {
        mem_free(rows);
        return status;
    }
    status = open_walk(rows, &options);
    if (status != HELIOS_OK) {
        helios_rows_free(rows);
        return status;
    }
    *out = rows;
    return HELIOS_OK;
}

void helios_rows_free(helios_rows *rows)
{
    if (!rows)
        return;
    helios_iter_free(rows->iter);
    view_end(&rows->view);
    schema_unref(rows->schema);
    helios_buf_free(&rows->lower);
    helios_buf_free(&rows->upper);
    helios_row_release(&rows->row);
    mem_free(rows);
}

/* ---- walking ---- */

static bool step(helios_rows *rows)
{
    if (!rows->begun && rows->reverse)
        helios_iter_last(rows->iter);
    else if (!rows->begun)
        helios_iter_first(rows->iter);
    else if (rows->reverse)
        helios_iter_prev(rows->iter);
    else
        helios_iter_next(rows->iter);
    rows->begun = true;
    return helios_iter_valid(rows->iter);
}

/* The row whose key or entry the walk stands on. */
static helios_status load(helios_rows *rows)
{
    helios_slice key = helios_iter_key(rows->iter), value = helios_iter_value(rows->iter);
    helios_status status = helios_iter_status(rows->iter);

    if (status != HELIOS_OK)
        return status;
    if (!rows->index) {
        if (key.size != ROW_KEY_SIZE)
            return fail_corrupt("table \"%s\": a row's key has %zu bytes", rows->schema->pub.name, key.size);
        rows->row.id = get_u64_be(slice_bytes(key) + 4);
        return row_fill(rows->table, &rows->view, rows->schema, value, &rows->row);
    }
    status = index_row(key, value, &rows->row.id);
    if (status != HELIOS_OK)
        return status;
    status = row_read(rows->table, &rows->view, rows->schema, rows->row.id, &rows->row);
    if (status == HELIOS_NOT_FOUND)
        return fail_corrupt("table \"%s\": index \"%s\" has an entry of row %" PRIu64 ", which is not there",
                            rows->schema->pub.name, rows->index->name, rows->row.id);
    return status;
}

bool helios_rows_next(helios_rows *rows, const helios_row **out)
{
    helios_status status;

    if (!rows || !out || !rows->iter || rows->error.status != HELIOS_OK || rows->left == 0)
        return false;
    for (; rows->offset; rows->offset--)
        if (!step(rows))
            break;
    if (rows->offset || !step(rows)) {
        rows->left = 0;
        error_keep(&rows->error, helios_iter_status(rows->iter));
        return false;
    }
    status = load(rows);
    if (status != HELIOS_OK) {
        error_keep(&rows->error, status);
        return false;
    }
    if (rows->left != UINT64_MAX)
        rows->left--;
    *out = &rows->row;
    return true;
}

helios_status helios_rows_status(const helios_rows *rows)
{
    if (!rows)
        return fail(HELIOS_INVALID, "no walk was given");
    return error_tell(&rows->error);
}

/* ---- by a key ---- */

static helios_status find_in(helios_table *table, const struct table_view *view, const char *name,
                             const helios_value *key, size_t count, helios_row *row)
{
    const struct table_index *index = NULL;
    helios_buf upper = {0};
    helios_iter *it = NULL;
    struct view_bounds bounds = {0};
    bool possible = true;
    uint64_t id = 0;
    helios_status status = table_refresh(table, view);

    if (status == HELIOS_OK)
        status = usable_index(table->schema, name, &index);
    if (status == HELIOS_OK && count != index->count)
        status = fail(HELIOS_INVALID, "index \"%s\" has %u columns, not %zu", name, index->count, count);
    if (status == HELIOS_OK)
        status = index_bound(&table->key, table->schema, index, key, count, &possible);
    if (status != HELIOS_OK)
        return status;
    if (!possible)
        return fail(HELIOS_NOT_FOUND, "table \"%s\" has no such row", table->schema->pub.name);
    if (index->unique) {
        status = view_get(view, SPACE_INDEX, buf_slice(&table->key), &table->scratch);
        if (status == HELIOS_OK)
            status = index_row(buf_slice(&table->key), buf_slice(&table->scratch), &id);
        if (status != HELIOS_NOT_FOUND)
            return status == HELIOS_OK ? row_read(table, view, table->schema, id, row) : status;
    }
    /* Rows with NULL, and all of other indexes, have their ids behind the columns. */
    status = buf_set(&upper, table->key.data, table->key.size);
    (void)!key_step_over(&upper);
    bounds.lower = buf_slice(&table->key);
    bounds.upper = buf_slice(&upper);
    if (status == HELIOS_OK)
        status = view_iter(view, SPACE_INDEX, &bounds, &it);
    if (status == HELIOS_OK) {
        helios_iter_first(it);
        status = helios_iter_status(it);
    }
    if (status == HELIOS_OK && !helios_iter_valid(it))
        status = fail(HELIOS_NOT_FOUND, "table \"%s\" has no such row", table->schema->pub.name);
    if (status == HELIOS_OK)
        status = index_row(helios_iter_key(it), helios_iter_value(it), &id);
    helios_iter_free(it);
    helios_buf_free(&upper);
    return status == HELIOS_OK ? row_read(table, view, table->schema, id, row) : status;
}

helios_status helios_row_find(helios_table *table, const char *index, const helios_value *key, size_t count,
                              helios_row *row)
{
    struct table_view view;
    helios_status status;

    if (!table || !row || !key)
        return fail(HELIOS_INVALID, "no %s was given", !table ? "table" : key ? "place for the row" : "key");
    status = view_begin(&view, table->db, &table->options);
    if (status != HELIOS_OK)
        return status;
    status = find_in(table, &view, index ? index : HELIOS_PRIMARY, key, count, row);
    view_end(&view);
    return status;
}

/* ---- counting ---- */

static helios_status count_in(helios_table *table, const struct table_view *view, uint64_t *count)
{
    unsigned char from[4], to[4];
    const struct view_bounds bounds = {slice_make(from, 4), slice_make(to, 4), .keys_only = true};
    helios_iter *it;
    helios_status status = table_refresh(table, view);

    put_u32_be(from, table->id);
    put_u32_be(to, table->id + 1);
    if (status == HELIOS_OK)
        status = view_iter(view, SPACE_DATA, &bounds, &it);
    if (status != HELIOS_OK)
        return status;
    *count = 0;
    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it))
        ++*count;
    status = helios_iter_status(it);
    helios_iter_free(it);
    return status;
}

helios_status helios_row_count(helios_table *table, uint64_t *count)
{
    struct table_view view;
    uint64_t found;
    helios_status status;

    if (!table || !count)
        return fail(HELIOS_INVALID, "no %s was given", table ? "place for the count" : "table");
    status = view_begin(&view, table->db, &table->options);
    if (status != HELIOS_OK)
        return status;
    status = count_in(table, &view, &found);
    view_end(&view);
    if (status == HELIOS_OK)
        *count = found;
    return status;
}
