/* merge_entries.c - entries of indexes that a merge changes. Called by merges.c and merge_catalog.c.
 *
 * Each change says that a row has an entry or no longer has it. Once all are there, in order of keys, a key that one row alone
 * can have is held against the target's entry: who has it there, unless a change says otherwise, has it still. */
#include "table/merges.h"
#include <inttypes.h>
#include <stdlib.h>

helios_status merge_entry_add(struct merge_rows *m, helios_slice key, uint64_t row, bool single, bool put)
{
    struct merge_entry_list *list = &m->entries;
    unsigned char *copy;

    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        struct merge_entry_change *grown = mem_realloc(list->at, capacity * sizeof(*grown));

        if (!grown)
            return fail_no_memory(capacity * sizeof(*grown));
        list->at = grown;
        list->capacity = capacity;
    }
    copy = arena_copy(&list->keys, key.data, key.size);
    if (!copy)
        return fail_no_memory(key.size);
    list->at[list->count] = (struct merge_entry_change){.key = copy,
                                                        .size = (uint32_t)key.size,
                                                        .put = put,
                                                        .single = single,
                                                        .row = row,
                                                        .order = list->count};
    list->count++;
    return HELIOS_OK;
}

static helios_slice key_of(const struct merge_entry_change *e)
{
    return slice_make(e->key, e->size);
}

static int by_key(const void *a, const void *b)
{
    const struct merge_entry_change *x = a, *y = b;
    int order = slice_compare(key_of(x), key_of(y));

    if (order == 0)
        order = (x->row > y->row) - (x->row < y->row);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static helios_status fail_equal(struct merge_rows *m, helios_slice key, uint64_t a, uint64_t b)
{
    uint32_t id = get_u32_be(key.data), index = get_u32_be(slice_bytes(key) + 4);
    const char *name = "";
    struct merged_table *table;
    helios_status status = merged_table_find(m, id, &table);

    if (status != HELIOS_OK)
        return status;
    for (size_t i = 0; table->handle && i < table->handle->schema->index_count; i++)
        if (table->handle->schema->indexes[i].id == index)
            name = table->handle->schema->indexes[i].name;
    return fail(HELIOS_CONFLICT,
                "table \"%s\": the rows %" PRIu64 " and %" PRIu64 " would be equal in its unique index \"%s\"",
                table->handle ? table->handle->schema->pub.name : "", a, b, name);
}

/* The row that has the key in the target; 0: none. */
static helios_status holder(struct merge_rows *m, helios_slice key, uint64_t *row)
{
    helios_status status = view_get(&m->ours, SPACE_INDEX, key, &m->key);

    *row = 0;
    if (status == HELIOS_OK)
        status = index_row(key, buf_slice(&m->key), row);
    return status == HELIOS_NOT_FOUND ? HELIOS_OK : status;
}

/* The changes of one key that one row can have, [from, to); *out: what is to be written. */
static helios_status settle_single(struct merge_rows *m, size_t from, size_t to, struct merge_entry_change *out,
                                   bool *write)
{
    const struct merge_entry_change *at = m->entries.at;
    helios_slice key = key_of(&at[from]);
    uint64_t was, has;
    helios_status status = holder(m, key, &was);

    if (status != HELIOS_OK)
        return status;
    has = was;
    for (size_t i = from; i < to; i++)
        if (at[i].row == was && (i + 1 == to || at[i + 1].row != was) && !at[i].put)
            has = 0;
    for (size_t i = from; i < to; i++) {
        bool last = i + 1 == to || at[i + 1].row != at[i].row;

        if (!last || !at[i].put || at[i].row == has)
            continue;
        if (has)
            return fail_equal(m, key, has, at[i].row);
        has = at[i].row;
    }
    *out = at[from];
    out->row = has;
    out->put = has != 0;
    *write = has != was;
    return HELIOS_OK;
}

helios_status merge_entries_settle(struct merge_rows *m)
{
    struct merge_entry_list *list = &m->entries;
    helios_status status = HELIOS_OK;
    size_t kept = 0;

    if (list->count)
        qsort(list->at, list->count, sizeof(*list->at), by_key);
    for (size_t from = 0, to; from < list->count && status == HELIOS_OK; from = to) {
        struct merge_entry_change change;
        bool write = true;

        for (to = from + 1; to < list->count && slice_equal(key_of(&list->at[from]), key_of(&list->at[to]));)
            to++;
        change = list->at[to - 1];
        if (change.single)
            status = settle_single(m, from, to, &change, &write);
        if (status == HELIOS_OK && write)
            list->at[kept++] = change;
    }
    list->count = kept;
    return status;
}

bool merge_entries_next(struct merge_rows *m, struct merge_op *op)
{
    const struct merge_entry_change *e = &m->entries.at[m->entries.next];

    if (m->entries.next == m->entries.count)
        return false;
    m->entries.next++;
    put_u64_be(m->value, e->row);
    *op = (struct merge_op){SPACE_INDEX, e->put ? KIND_VALUE : KIND_TOMBSTONE, key_of(e),
                            slice_make(m->value, e->put && e->single ? sizeof(m->value) : 0)};
    return true;
}
