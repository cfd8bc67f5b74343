/* indexes.c - entries of rows in indexes; docs/format.md, "Index entries".
 *
 *   key    table id u32 BE | index id u32 BE | columns, see codec.c | [row id u64 BE]
 *   value  row id u64 BE, where the key does not end with it
 *
 * The key of a unique index ends with its columns, so that two rows that are equal there write the same key; but for a row
 * with NULL among them, which is equal to none. */
#include "table/table_internal.h"
#include <inttypes.h>

helios_status index_prefix(helios_buf *key, uint32_t table, uint32_t index)
{
    unsigned char bytes[INDEX_PREFIX_SIZE];

    put_u32_be(bytes, table);
    put_u32_be(bytes + 4, index);
    return buf_set(key, bytes, sizeof(bytes));
}

helios_status index_key(helios_buf *key, uint32_t table, const struct table_index *index,
                        const helios_value *values, uint64_t row, bool *single)
{
    unsigned char id[ROW_ID_SIZE];
    helios_status status = index_prefix(key, table, index->id);

    *single = index->unique;
    for (uint32_t i = 0; i < index->count && status == HELIOS_OK; i++) {
        const helios_value *v = &values[index->columns[i]];

        *single &= v->type != HELIOS_TYPE_NULL;
        status = key_encode(key, v);
    }
    if (status == HELIOS_OK && !*single) {
        put_u64_be(id, row);
        status = buf_append(key, id, sizeof(id));
    }
    if (status == HELIOS_OK && key->size > INDEX_KEY_MAX)
        return fail(HELIOS_INVALID, "index \"%s\": a key of %zu bytes is too long", index->name, key->size);
    return status;
}

helios_status index_row(helios_slice key, helios_slice value, uint64_t *row)
{
    if (value.size == ROW_ID_SIZE)
        *row = get_u64_be(value.data);
    else if (value.size == 0 && key.size >= INDEX_PREFIX_SIZE + 1 + ROW_ID_SIZE)
        *row = get_u64_be(slice_bytes(key) + key.size - ROW_ID_SIZE);
    else
        return fail_corrupt("an index entry of %zu and %zu bytes is damaged", key.size, value.size);
    return HELIOS_OK;
}

helios_status index_bound(helios_buf *key, const struct table_schema *schema, const struct table_index *index,
                          const helios_value *values, size_t count, bool *possible)
{
    helios_status status = index_prefix(key, schema->pub.id, index->id);

    *possible = true;
    if (count > index->count)
        return fail(HELIOS_INVALID, "index \"%s\" has %u columns, not %zu", index->name, index->count, count);
    for (size_t i = 0; i < count && status == HELIOS_OK && *possible; i++) {
        const helios_column *c = &schema->pub.columns[index->columns[i]];
        helios_value v;

        *possible = value_coerce(&values[i], c->type, c->scale, &v) && v.type != HELIOS_TYPE_NONE;
        if (*possible)
            status = key_encode(key, &v);
    }
    *possible &= key->size <= INDEX_KEY_MAX;
    return status;
}

static helios_status fail_taken(const struct table_schema *schema, const struct table_index *index,
                                const helios_value *values, uint64_t other)
{
    helios_buf text = {0};
    helios_status status = HELIOS_OK;

    for (uint32_t i = 0; i < index->count && status == HELIOS_OK; i++) {
        if (i)
            status = buf_append(&text, ", ", 2);
        if (status == HELIOS_OK)
            status = helios_value_print(&values[index->columns[i]], &text);
    }
    (void)fail(HELIOS_EXISTS, "table \"%s\": row %" PRIu64 " has (%.*s) in its unique index \"%s\"",
               schema->pub.name, other, (int)(text.size < 200 ? text.size : 200), text.data ? text.data : "",
               index->name);
    helios_buf_free(&text);
    return HELIOS_EXISTS;
}

helios_status index_put(helios_txn *txn, const struct table_schema *schema, const struct table_index *index,
                        const helios_value *values, uint64_t row, helios_buf *key)
{
    unsigned char id[ROW_ID_SIZE];
    helios_buf found = {0};
    uint64_t other = 0;
    bool single;
    helios_status status = index_key(key, schema->pub.id, index, values, row, &single);

    if (status != HELIOS_OK || !single)
        return status == HELIOS_OK ? txn_put(txn, SPACE_INDEX, buf_slice(key), slice_make("", 0)) : status;
    status = txn_get(txn, SPACE_INDEX, buf_slice(key), &found);
    if (status == HELIOS_OK) {
        status = index_row(buf_slice(key), buf_slice(&found), &other);
        if (status == HELIOS_OK && other != row)
            status = fail_taken(schema, index, values, other);
    } else if (status == HELIOS_NOT_FOUND) {
        put_u64_be(id, row);
        status = txn_put(txn, SPACE_INDEX, buf_slice(key), slice_make(id, sizeof(id)));
    }
    helios_buf_free(&found);
    return status;
}

/* Old entries that no longer hold go first: of two rows that swap their keys in one transaction each finds the other's
 * gone. */
helios_status index_change(helios_table *table, helios_txn *txn, const helios_value *before,
                           const helios_value *after, uint64_t row)
{
    const struct table_schema *schema = table->schema;
    helios_status status = HELIOS_OK;
    bool single, same;

    for (size_t i = 0; i < schema->index_count && status == HELIOS_OK; i++) {
        const struct table_index *index = &schema->indexes[i];

        same = false;
        if (before)
            status = index_key(&table->old_key, schema->pub.id, index, before, row, &single);
        if (status == HELIOS_OK && before && after) {
            status = index_key(&table->key, schema->pub.id, index, after, row, &single);
            same = slice_equal(buf_slice(&table->key), buf_slice(&table->old_key));
        }
        /* A `building` index may not have the old entry yet: then its filling would, or find the row changed. */
        if (status == HELIOS_OK && before && !same)
            status = txn_delete(txn, SPACE_INDEX, buf_slice(&table->old_key));
        if (status == HELIOS_OK && after && (!same || index->building))
            status = index_put(txn, schema, index, after, row, &table->key);
    }
    return status;
}

bool key_step_over(helios_buf *prefix)
{
    while (prefix->size && (unsigned char)prefix->data[prefix->size - 1] == 0xff)
        prefix->size--;
    if (prefix->size == 0)
        return false;
    prefix->data[prefix->size - 1]++;
    return true;
}
