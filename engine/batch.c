/* batch.c - helios_batch: operations gathered in the form of a log record's body, so that committing
 * copies them once. Of several operations on one key only the last one reaches the memtable; a small
 * hash table finds the earlier ones, made when a key comes that is not above the one before it: who loads
 * sorted records pays a comparison for each and no table. */
#include "engine/batch.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rangedel.h"
#include <assert.h>

helios_status check_key(helios_slice key)
{
    if (!key.data)
        return fail(HELIOS_INVALID, "no key was given");
    if (key.size > KEY_USER_MAX)
        return fail(HELIOS_INVALID, "a key of %zu bytes is above the limit of %d", key.size, KEY_USER_MAX);
    return HELIOS_OK;
}

helios_status check_value(helios_slice value)
{
    if (!value.data)
        return fail(HELIOS_INVALID, "no value was given");
    if (value.size > VALUE_BYTES_MAX)
        return fail(HELIOS_INVALID, "a value of %zu bytes is above the limit of 1 GiB", value.size);
    return HELIOS_OK;
}

size_t op_header(unsigned char out[OP_HEADER_MAX], enum key_kind kind, uint8_t space, helios_slice key,
                 helios_slice value)
{
    size_t size = 2;

    out[0] = (unsigned char)kind;
    out[1] = space;
    size += put_varint(out + size, key.size);
    if (kind != KIND_TOMBSTONE)
        size += put_varint(out + size, value.size);
    return size;
}

bool op_read(struct reader *r, bool several_branches, struct op *op)
{
    uint64_t key_size, value_size = 0;
    uint8_t kind = read_u8(r);

    op->space = read_u8(r);
    op->branch = several_branches ? read_u32(r) : 0;
    key_size = read_varint(r);
    if (kind != KIND_VALUE && kind != KIND_TOMBSTONE && kind != KIND_RANGE_DELETE)
        return false;
    if (kind != KIND_TOMBSTONE)
        value_size = read_varint(r);
    if (r->bad || key_size > KEY_USER_MAX || value_size > VALUE_BYTES_MAX ||
        key_size + value_size > reader_left(r))
        return false;
    op->kind = (enum key_kind)kind;
    op->key = slice_make(read_raw(r, (size_t)key_size), (size_t)key_size);
    op->value = slice_make(read_raw(r, (size_t)value_size), (size_t)value_size);
    return true;
}

struct op batch_at(const struct helios_batch *batch, size_t index)
{
    uint64_t from = batch->ops[index].offset;
    struct reader r = reader_make(batch->body.data + from, batch->body.size - from);
    struct op op = {0};
    bool good = op_read(&r, batch->several_branches, &op);

    assert(good);
    (void)good;
    return op;
}

void batch_set_value(struct helios_batch *batch, size_t index, helios_slice value)
{
    struct op op = batch_at(batch, index);

    assert(op.value.size == value.size);
    memcpy(batch->body.data + ((const char *)op.value.data - batch->body.data), value.data, value.size);
}

helios_batch *helios_batch_new(void)
{
    helios_batch *batch = mem_zalloc(sizeof(*batch));

    if (!batch)
        (void)!fail_no_memory(sizeof(*batch));
    return batch;
}

void batch_init(struct helios_batch *batch)
{
    memset(batch, 0, offsetof(struct helios_batch, error));
    batch->error.status = HELIOS_OK; /* the text behind it is only read with an error */
}

void batch_release(struct helios_batch *batch)
{
    helios_buf_free(&batch->body);
    mem_free(batch->ops);
    mem_free(batch->table);
}

void helios_batch_free(helios_batch *batch)
{
    if (!batch)
        return;
    batch_release(batch);
    mem_free(batch);
}

void helios_batch_clear(helios_batch *batch)
{
    bool ascended;

    if (!batch)
        return;
    ascended = batch_ascends(batch);
    batch->body.size = 0;
    batch->count = batch->range_deletes = batch->acks = 0;
    batch->ascending = batch->last_key = 0;
    batch->user_bytes = 0;
    batch->error.status = HELIOS_OK;
    if (batch->table_size && !ascended)
        memset(batch->table, 0, batch->table_size * sizeof(*batch->table));
}

size_t helios_batch_count(const helios_batch *batch)
{
    return batch ? batch->count : 0;
}

helios_status helios_batch_status(const helios_batch *batch)
{
    if (!batch)
        return fail(HELIOS_INVALID, "no batch was given");
    return error_tell(&batch->error);
}

/* ---- the table of keys ---- */

static bool same_key(const struct helios_batch *batch, size_t index, uint64_t hash, uint8_t space,
                     helios_slice key)
{
    struct op op;

    if (batch->ops[index].hash != hash)
        return false;
    op = batch_at(batch, index);
    return op.space == space && slice_equal(op.key, key);
}

/* Puts op `index` into the table in the place of an earlier one of the same key, which is superseded. */
static void table_add(struct helios_batch *batch, size_t index)
{
    struct op op = batch_at(batch, index);
    uint64_t hash = batch->ops[index].hash;
    size_t mask = batch->table_size - 1, at = (size_t)hash & mask;

    for (; batch->table[at]; at = (at + 1) & mask)
        if (same_key(batch, batch->table[at] - 1, hash, op.space, op.key)) {
            batch->ops[batch->table[at] - 1].superseded = true;
            break;
        }
    batch->table[at] = (uint32_t)index + 1;
}

/* Room for one operation more. */
static helios_status table_grow(struct helios_batch *batch)
{
    size_t size = batch->table_size ? batch->table_size * 2 : 64;
    uint32_t *table;

    while (size < batch->count * 2 + 2)
        size *= 2;
    table = mem_array(size, sizeof(*table));
    if (!table)
        return fail_no_memory(size * sizeof(*table));
    mem_free(batch->table);
    batch->table = table;
    batch->table_size = size;
    for (size_t i = 0; i < batch->count; i++)
        if (batch_at(batch, i).kind != KIND_RANGE_DELETE && !batch->ops[i].superseded)
            table_add(batch, i);
    return HELIOS_OK;
}

static bool table_full(const struct helios_batch *batch)
{
    return (batch->count + 1) * 2 > batch->table_size;
}

static uint64_t hash_op(uint8_t space, helios_slice key)
{
    return hash_seeded(key.data, key.size, space);
}

/* The keys so far ascended, the next does not: from now on they are looked up. */
static helios_status table_begin(struct helios_batch *batch)
{
    batch->ascending = 0; /* and there is an operation, so that it is not the count any more */
    for (size_t i = 0; i < batch->count; i++) {
        struct op op = batch_at(batch, i);

        batch->ops[i].hash = hash_op(op.space, op.key);
    }
    if (table_full(batch))
        return table_grow(batch);
    for (size_t i = 0; i < batch->count; i++)
        if (batch_at(batch, i).kind != KIND_RANGE_DELETE)
            table_add(batch, i);
    return HELIOS_OK;
}

/* ---- adding ---- */

static helios_status grow_ops(struct helios_batch *batch)
{
    size_t capacity = batch->capacity ? batch->capacity * 2 : 8;
    struct batch_op *ops;

    if (batch->count == UINT32_MAX - 1)
        return fail(HELIOS_LIMIT, "a batch holds at most %u operations", UINT32_MAX - 1);
    if (batch->count < batch->capacity)
        return HELIOS_OK;
    ops = mem_realloc(batch->ops, capacity * sizeof(*ops));
    if (!ops)
        return fail_no_memory(capacity * sizeof(*ops));
    batch->ops = ops;
    batch->capacity = capacity;
    return HELIOS_OK;
}

static helios_status append_encoded(struct helios_batch *batch, enum key_kind kind, helios_slice header,
                                    helios_slice key, helios_slice value)
{
    size_t size = header.size, old = batch->body.size;
    helios_status status = grow_ops(batch);

    if (status == HELIOS_OK && batch->body.capacity < old + size + key.size + value.size) {
        size_t wanted = old + size + key.size + value.size;

        status = buf_reserve(&batch->body, wanted > 2 * old ? wanted : 2 * old);
    }
    if (status != HELIOS_OK)
        return status;
    memcpy(batch->body.data + old, header.data, size);
    if (key.size)
        memcpy(batch->body.data + old + size, key.data, key.size);
    if (value.size)
        memcpy(batch->body.data + old + size + key.size, value.data, value.size);
    batch->body.size = old + size + key.size + value.size;
    batch->ops[batch->count++] = (struct batch_op){.offset = old};
    batch->range_deletes += kind == KIND_RANGE_DELETE;
    batch->user_bytes += key.size + value.size;
    return HELIOS_OK;
}

helios_status batch_append(struct helios_batch *batch, enum key_kind kind, uint8_t space, helios_slice key,
                           helios_slice value)
{
    unsigned char header[OP_HEADER_MAX];
    size_t size = op_header(header, kind, space, key, value);

    assert(!batch->several_branches);
    return append_encoded(batch, kind, slice_make(header, size), key, value);
}

helios_status batch_append_on(struct helios_batch *batch, helios_branch_id branch, enum key_kind kind,
                              uint8_t space, helios_slice key, helios_slice value)
{
    unsigned char header[OP_HEADER_MAX];
    size_t size = op_header(header, kind, space, key, value);

    assert(batch->several_branches);
    memmove(header + 6, header + 2, size - 2); /* behind kind and space */
    put_u32(header + 2, branch);
    return append_encoded(batch, kind, slice_make(header, size + 4), key, value);
}

void batch_truncate(struct helios_batch *batch, size_t count)
{
    assert(batch->table_size == 0);
    while (batch->count > count) {
        struct op op = batch_at(batch, batch->count - 1);

        batch->range_deletes -= op.kind == KIND_RANGE_DELETE;
        batch->user_bytes -= op.key.size + op.value.size;
        batch->body.size = (size_t)batch->ops[--batch->count].offset;
    }
}

static bool is_above_last(const struct helios_batch *batch, uint8_t space, helios_slice key)
{
    if (batch->last_key == 0)
        return true;
    if (space != batch->last_space)
        return space > batch->last_space;
    return slice_compare(slice_make(batch->body.data + batch->last_key, batch->last_key_size), key) < 0;
}

static helios_status append_ascending(struct helios_batch *batch, enum key_kind kind, uint8_t space,
                                      helios_slice key, helios_slice value)
{
    helios_status status = batch_append(batch, kind, space, key, value);

    if (status != HELIOS_OK)
        return status;
    batch->ascending = batch->count;
    if (kind != KIND_RANGE_DELETE) {
        batch->last_key = batch->body.size - value.size - key.size;
        batch->last_key_size = key.size;
        batch->last_space = space;
    }
    return HELIOS_OK;
}

static helios_status append_hashed(struct helios_batch *batch, enum key_kind kind, uint8_t space,
                                   helios_slice key, helios_slice value)
{
    helios_status status = HELIOS_OK;

    if (batch_ascends(batch))
        status = table_begin(batch);
    else if (table_full(batch))
        status = table_grow(batch);
    if (status == HELIOS_OK)
        status = batch_append(batch, kind, space, key, value);
    if (status != HELIOS_OK)
        return status;
    batch->ops[batch->count - 1].hash = hash_op(space, key);
    if (kind != KIND_RANGE_DELETE)
        table_add(batch, batch->count - 1);
    return HELIOS_OK;
}

static helios_status append_op(struct helios_batch *batch, enum key_kind kind, uint8_t space, helios_slice key,
                               helios_slice value)
{
    if (batch_ascends(batch) && (kind == KIND_RANGE_DELETE || is_above_last(batch, space, key)))
        return append_ascending(batch, kind, space, key, value);
    return append_hashed(batch, kind, space, key, value);
}

void batch_add(struct helios_batch *batch, enum key_kind kind, uint8_t space, helios_slice key,
               helios_slice value)
{
    helios_status status;

    if (batch->error.status != HELIOS_OK)
        return;
    status = check_key(key);
    if (status == HELIOS_OK && kind == KIND_VALUE)
        status = check_value(value);
    if (status == HELIOS_OK && kind == KIND_RANGE_DELETE)
        status = check_key(value);
    if (status == HELIOS_OK && kind == KIND_RANGE_DELETE && slice_compare(key, value) >= 0)
        return; /* an empty range: nothing to do */
    if (status == HELIOS_OK)
        status = append_op(batch, kind, space, key, value);
    if (status != HELIOS_OK)
        error_keep(&batch->error, status);
}

void helios_batch_put(helios_batch *batch, helios_slice key, helios_slice value)
{
    if (batch)
        batch_add(batch, KIND_VALUE, SPACE_USER, key, value);
}

void helios_batch_delete(helios_batch *batch, helios_slice key)
{
    if (batch)
        batch_add(batch, KIND_TOMBSTONE, SPACE_USER, key, slice_make("", 0));
}

void helios_batch_delete_range(helios_batch *batch, helios_slice from, helios_slice to)
{
    if (batch)
        batch_add(batch, KIND_RANGE_DELETE, SPACE_USER, from, to);
}

/* ---- range deletes within the batch ---- */

/* Keys are compared with their space in front, as one batch may hold several. */
static helios_status spaced_key(helios_buf *buf, uint8_t space, helios_slice key)
{
    helios_status status;

    buf->size = 0;
    status = buf_append(buf, &space, 1);
    return status == HELIOS_OK ? buf_append(buf, key.data, key.size) : status;
}

static helios_status collect_ranges(const struct helios_batch *batch, struct rangedel *items, helios_buf *keys)
{
    size_t at = 0, n = 0;
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < batch->count && status == HELIOS_OK; i++) {
        struct op op = batch_at(batch, i);

        if (op.kind != KIND_RANGE_DELETE)
            continue;
        status = buf_append(keys, &op.space, 1);
        if (status == HELIOS_OK)
            status = buf_append(keys, op.key.data, op.key.size);
        if (status == HELIOS_OK)
            status = buf_append(keys, &op.space, 1);
        if (status == HELIOS_OK)
            status = buf_append(keys, op.value.data, op.value.size);
        items[n++] = (struct rangedel){{NULL, op.key.size + 1}, {NULL, op.value.size + 1}, i + 1};
    }
    for (size_t i = 0; i < n; i++) { /* the buffer has stopped moving */
        items[i].from.data = keys->data + at;
        items[i].to.data = keys->data + at + items[i].from.size;
        at += items[i].from.size + items[i].to.size;
    }
    return status;
}

helios_status batch_settle(struct helios_batch *batch)
{
    struct rangedel_set *set = NULL;
    struct rangedel *items;
    helios_buf keys = {0}, key = {0};
    helios_status status;

    if (batch->range_deletes == 0 || batch->count == batch->range_deletes)
        return HELIOS_OK;
    items = mem_array(batch->range_deletes, sizeof(*items));
    if (!items)
        return fail_no_memory(batch->range_deletes * sizeof(*items));
    status = collect_ranges(batch, items, &keys);
    if (status == HELIOS_OK)
        status = rangedel_build(items, batch->range_deletes, &set);
    for (size_t i = 0; i < batch->count && status == HELIOS_OK; i++) {
        struct op op = batch_at(batch, i);

        if (op.kind == KIND_RANGE_DELETE)
            continue;
        status = spaced_key(&key, op.space, op.key);
        if (status == HELIOS_OK && rangedel_next_above(set, buf_slice(&key), i + 1) != 0)
            batch->ops[i].superseded = true;
    }
    rangedel_unref(set);
    helios_buf_free(&keys);
    helios_buf_free(&key);
    mem_free(items);
    return status;
}
