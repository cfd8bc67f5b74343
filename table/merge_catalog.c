/* merge_catalog.c - tables as they will be behind a merge. Called by merges.c.
 *
 * Which indexes a table has may change by the merge. Entries of one that goes are deleted, one by one as merges write single
 * keys; one that comes is filled from the target's rows, before those that the merge writes have their word. */
#include "table/merges.h"
#include <inttypes.h>

enum { NAME_VERSION = 0, NAME_ID = 1, NAME_SIZE = 5, TABLE_LINE_SIZE = 5 };

bool merged_line(const struct merge_rows *m, const struct catalog_key *key, struct op *line)
{
    size_t low = 0, high = m->catalog->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (slice_compare(batch_at(m->catalog, middle).key, catalog_key_slice(key)) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == m->catalog->count)
        return false;
    *line = batch_at(m->catalog, low);
    return slice_equal(line->key, catalog_key_slice(key));
}

/* ---- indexes that go and come ---- */

static const struct table_index *index_by_id(const struct table_schema *s, uint32_t id)
{
    for (size_t i = 0; s && i < s->index_count; i++)
        if (s->indexes[i].id == id)
            return &s->indexes[i];
    return NULL;
}

/* All entries of the target whose keys have the prefix. */
static helios_status entries_go(struct merge_rows *m, const helios_buf *prefix)
{
    helios_buf to = {0};
    struct view_bounds bounds = {.lower = buf_slice(prefix), .keys_only = true, .no_cache_fill = true};
    helios_iter *it = NULL;
    helios_status status = buf_set(&to, prefix->data, prefix->size);

    if (status == HELIOS_OK && key_step_over(&to))
        bounds.upper = buf_slice(&to);
    if (status == HELIOS_OK)
        status = view_iter(&m->ours, SPACE_INDEX, &bounds, &it);
    if (status == HELIOS_OK) {
        for (helios_iter_first(it); helios_iter_valid(it) && status == HELIOS_OK; helios_iter_next(it))
            status = merge_entry_add(m, helios_iter_key(it), 0, false, false);
        if (status == HELIOS_OK)
            status = helios_iter_status(it);
    }
    helios_iter_free(it);
    helios_buf_free(&to);
    return status;
}

static helios_status old_indexes_go(struct merge_rows *m, const struct merged_table *t)
{
    unsigned char id[4];
    helios_status status = HELIOS_OK;

    if (!t->handle) {
        put_u32_be(id, t->id);
        status = buf_set(&m->key, id, sizeof(id));
        return status == HELIOS_OK ? entries_go(m, &m->key) : status;
    }
    for (size_t i = 0; i < t->ours->index_count && status == HELIOS_OK; i++)
        if (!index_by_id(t->handle->schema, t->ours->indexes[i].id)) {
            status = index_prefix(&m->key, t->id, t->ours->indexes[i].id);
            if (status == HELIOS_OK)
                status = entries_go(m, &m->key);
        }
    return status;
}

static bool is_new(const struct merged_table *t, const struct table_index *index)
{
    return !index_by_id(t->ours, index->id);
}

static helios_status row_comes(struct merge_rows *m, struct merged_table *t, uint64_t id, helios_slice bytes)
{
    const struct table_schema *s = t->handle->schema;
    helios_status status = merged_row(m, t, id, bytes, &m->before);
    bool single;

    for (size_t i = 0; i < s->index_count && status == HELIOS_OK; i++) {
        if (!is_new(t, &s->indexes[i]))
            continue;
        status = index_key(&m->key, t->id, &s->indexes[i], m->before.values, id, &single);
        if (status == HELIOS_OK)
            status = merge_entry_add(m, buf_slice(&m->key), id, single, true);
    }
    return status;
}

/* The target's rows; count alone, or given to new indexes and looked at. */
static helios_status rows_of(struct merge_rows *m, struct merged_table *t, bool count_only, uint64_t *count)
{
    unsigned char from[4], to[4];
    struct view_bounds bounds = {.lower = slice_make(from, 4), .keys_only = count_only, .no_cache_fill = true};
    helios_iter *it;
    helios_status status;

    put_u32_be(from, t->id);
    put_u32_be(to, t->id + 1);
    if (t->id != UINT32_MAX)
        bounds.upper = slice_make(to, 4);
    *count = 0;
    status = view_iter(&m->ours, SPACE_DATA, &bounds, &it);
    if (status != HELIOS_OK)
        return status;
    for (helios_iter_first(it); helios_iter_valid(it) && status == HELIOS_OK; helios_iter_next(it)) {
        helios_slice key = helios_iter_key(it);

        ++*count;
        if (!count_only && key.size != ROW_KEY_SIZE)
            status = fail_corrupt("table %u has a row with a key of %zu bytes", t->id, key.size);
        else if (!count_only)
            status = row_comes(m, t, get_u64_be(slice_bytes(key) + 4), helios_iter_value(it));
    }
    if (status == HELIOS_OK)
        status = helios_iter_status(it);
    helios_iter_free(it);
    return status;
}

static bool has_column(const struct table_schema *s, uint32_t id)
{
    for (size_t i = 0; i < s->pub.column_count; i++)
        if (s->pub.columns[i].id == id)
            return true;
    return false;
}

/* Whether rows that the merge does not touch are asked more than so far. */
static bool concerns_all_rows(const struct merged_table *t)
{
    const struct table_schema *s = t->handle->schema;

    for (size_t i = 0; i < s->index_count; i++)
        if (is_new(t, &s->indexes[i]))
            return true;
    for (size_t i = 0; i < s->pub.column_count; i++)
        if (s->pub.columns[i].not_null && !has_column(t->ours, s->pub.columns[i].id))
            return true;
    return false;
}

/* ---- tables ---- */

/* A handle on the schema, which it takes over. */
static helios_status handle_on(struct merge_rows *m, struct table_schema *schema, helios_table **out)
{
    helios_table *handle = mem_zalloc(sizeof(*handle));

    if (!handle) {
        mem_free(schema);
        return fail_no_memory(sizeof(*handle));
    }
    schema->refs = 1;
    handle->db = m->db;
    handle->id = schema->pub.id;
    handle->schema = schema;
    *out = handle;
    return HELIOS_OK;
}

static helios_status table_read(struct merge_rows *m, struct merged_table *t)
{
    const struct catalog_key key = catalog_table_key(t->id);
    struct table_schema *schema = NULL;
    struct op line;
    bool changes = merged_line(m, &key, &line);
    helios_status status = catalog_load(&m->ours, t->id, &t->ours);

    if (status == HELIOS_NOT_FOUND)
        status = HELIOS_OK;
    if (status == HELIOS_OK && changes && line.kind == KIND_VALUE)
        status = schema_decode(line.value, t->id, &schema);
    else if (status == HELIOS_OK && !changes && t->ours)
        status = catalog_load(&m->ours, t->id, &schema);
    return status == HELIOS_OK && schema ? handle_on(m, schema, &t->handle) : status;
}

helios_status merged_table_find(struct merge_rows *m, uint32_t id, struct merged_table **out)
{
    struct merged_table *t;
    uint64_t rows;
    helios_status status;

    for (size_t i = m->table_count; i-- > 0;)
        if (m->tables[i].id == id) {
            *out = &m->tables[i];
            return HELIOS_OK;
        }
    if (m->table_count == m->table_capacity) {
        size_t capacity = m->table_capacity ? m->table_capacity * 2 : 8;
        struct merged_table *grown = mem_realloc(m->tables, capacity * sizeof(*grown));

        if (!grown)
            return fail_no_memory(capacity * sizeof(*grown));
        m->tables = grown;
        m->table_capacity = capacity;
    }
    t = &m->tables[m->table_count++];
    *t = (struct merged_table){.id = id};
    status = table_read(m, t);
    if (status == HELIOS_OK && t->ours)
        status = old_indexes_go(m, t);
    if (status == HELIOS_OK && t->ours && t->handle && concerns_all_rows(t))
        status = rows_of(m, t, false, &rows);
    *out = t;
    return status;
}

void merged_tables_release(struct merge_rows *m)
{
    for (size_t i = 0; i < m->table_count; i++) {
        mem_free(m->tables[i].ours);
        helios_table_close(m->tables[i].handle);
    }
    mem_free(m->tables);
}

/* ---- names ---- */

static helios_status fail_name(const char *name)
{
    return fail(HELIOS_CONFLICT,
                "of the table \"%s\" the two sides have made different ones: rename or drop one", name);
}

/* Which table will have the name; 0: none. */
static helios_status named_after(struct merge_rows *m, const char *name, uint32_t *table)
{
    const struct catalog_key key = catalog_name_key(name);
    struct op line;
    helios_status status;

    *table = 0;
    if (merged_line(m, &key, &line)) {
        if (line.kind != KIND_VALUE)
            return HELIOS_OK;
        if (line.value.size != NAME_SIZE || slice_bytes(line.value)[NAME_VERSION] != CATALOG_VERSION)
            return fail_corrupt("the catalog's entry of the name \"%s\" is damaged", name);
        *table = get_u32(slice_bytes(line.value) + NAME_ID);
        return HELIOS_OK;
    }
    status = catalog_find(&m->ours, name, table);
    return status == HELIOS_NOT_FOUND ? HELIOS_OK : status;
}

static helios_status check_table(struct merge_rows *m, helios_slice key)
{
    struct merged_table *t;
    uint32_t named = 0;
    const char *name;
    helios_status status;

    if (key.size != TABLE_LINE_SIZE)
        return fail_corrupt("the catalog has a damaged key of %zu bytes", key.size);
    status = merged_table_find(m, get_u32_be(slice_bytes(key) + 1), &t);
    if (status != HELIOS_OK || (!t->handle && !t->ours))
        return status;
    name = t->handle ? t->handle->schema->pub.name : t->ours->pub.name;
    status = named_after(m, name, &named);
    if (status == HELIOS_OK && (named == t->id) != (t->handle != NULL))
        status = fail_name(name);
    return status;
}

/* So that it is known whether the layout's table will be there. */
static helios_status check_layout(struct merge_rows *m, helios_slice key)
{
    struct merged_table *t;

    return key.size < TABLE_LINE_SIZE ? fail_corrupt("the catalog has a damaged key of %zu bytes", key.size)
                                      : merged_table_find(m, get_u32_be(slice_bytes(key) + 1), &t);
}

/* Whether the table will have the name, as it says itself, is what the name must say. */
static helios_status check_holder(struct merge_rows *m, const char *name, uint32_t table, bool named)
{
    struct merged_table *t;
    helios_status status = merged_table_find(m, table, &t);

    if (status == HELIOS_OK && (t->handle && strcmp(t->handle->schema->pub.name, name) == 0) != named)
        status = fail_name(name);
    return status;
}

static helios_status check_name(struct merge_rows *m, helios_slice key)
{
    char name[256] = {0};
    uint32_t named = 0, was = 0;
    helios_status status;

    if (key.size - 1 >= sizeof(name))
        return fail_corrupt("the catalog has a damaged key of %zu bytes", key.size);
    memcpy(name, slice_bytes(key) + 1, key.size - 1);
    status = named_after(m, name, &named);
    if (status == HELIOS_OK && named)
        status = check_holder(m, name, named, true);
    if (status == HELIOS_OK)
        status = catalog_find(&m->ours, name, &was);
    if (status == HELIOS_NOT_FOUND)
        return HELIOS_OK;
    return status == HELIOS_OK && was != named ? check_holder(m, name, was, false) : status;
}

helios_status merged_catalog_check(struct merge_rows *m)
{
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < m->catalog->count && status == HELIOS_OK; i++) {
        helios_slice key = batch_at(m->catalog, i).key;

        if (key.size && slice_bytes(key)[0] == CATALOG_TABLE)
            status = check_table(m, key);
        else if (key.size && slice_bytes(key)[0] == CATALOG_NAME)
            status = check_name(m, key);
        else if (key.size && slice_bytes(key)[0] == CATALOG_LAYOUT)
            status = check_layout(m, key);
    }
    return status;
}

helios_status merged_rows_left(struct merge_rows *m)
{
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < m->table_count && status == HELIOS_OK; i++) {
        struct merged_table *t = &m->tables[i];
        uint64_t rows;

        if (!t->ours || t->handle)
            continue;
        status = rows_of(m, t, true, &rows);
        if (status == HELIOS_OK && rows > t->deleted)
            status = fail(HELIOS_CONFLICT,
                          "table \"%s\" was dropped in the source and its rows changed in the target",
                          t->ours->pub.name);
    }
    return status;
}
