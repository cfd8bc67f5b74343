/* row_ids.c - see row_ids.h. An entry of branch 0, space 255, as docs/format.md has it:
 *
 *   key 'R' | table u32 BE        value: version u8 | limit u64 */
#include "engine/row_ids.h"
#include "engine/read.h"
#include <inttypes.h>

enum {
    ROW_IDS_KEY_SIZE = 5,
    ROW_IDS_VERSION = 0,
    ROW_IDS_LIMIT = 1,
    ROW_IDS_SIZE = 9,
    ROW_IDS_VERSION_NOW = 1,
    BLOCK_MAX = 4096, /* ids: a crash leaves no larger gap */
};

void row_ids_init(struct row_ids *ids)
{
    mutex_init(&ids->mu);
}

void row_ids_release(struct row_ids *ids)
{
    mem_free(ids->counters);
    mutex_release(&ids->mu);
}

static helios_slice entry_key(unsigned char out[ROW_IDS_KEY_SIZE], uint32_t table)
{
    out[0] = ROW_IDS_KEY;
    put_u32_be(out + 1, table);
    return slice_make(out, ROW_IDS_KEY_SIZE);
}

static helios_status load(struct helios_db *db, uint32_t table, uint64_t *limit)
{
    const struct read_point latest = {.latest = true};
    unsigned char key[ROW_IDS_KEY_SIZE];
    struct layered layered;
    helios_buf value = {0};
    helios_status status = layered_init(&layered, 0, SPACE_SYSTEM, entry_key(key, table));

    if (status != HELIOS_OK)
        return status;
    status = read_at(db, &latest, true, layered.key, &value);
    layered_release(&layered);
    if (status == HELIOS_NOT_FOUND) {
        *limit = 1;
        status = HELIOS_OK;
    } else if (status == HELIOS_OK) {
        if (value.size != ROW_IDS_SIZE || value.data[ROW_IDS_VERSION] != ROW_IDS_VERSION_NOW ||
            (*limit = get_u64(value.data + ROW_IDS_LIMIT)) == 0)
            status = fail_corrupt("%s: the row-id counter of table %u is damaged", db->path, table);
    }
    helios_buf_free(&value);
    return status;
}

/* Where the table's counter is or would be. */
static size_t find_locked(const struct row_ids *ids, uint32_t table)
{
    size_t low = 0, high = ids->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (ids->counters[middle].table < table)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static helios_status counter_locked(struct helios_db *db, uint32_t table, struct row_counter **out)
{
    struct row_ids *ids = &db->row_ids;
    size_t at = find_locked(ids, table);
    uint64_t limit = 0;
    helios_status status;

    if (at < ids->count && ids->counters[at].table == table) {
        *out = &ids->counters[at];
        return HELIOS_OK;
    }
    status = load(db, table, &limit);
    if (status != HELIOS_OK)
        return status;
    if (ids->count == ids->capacity) {
        size_t capacity = ids->capacity ? ids->capacity * 2 : 16;
        struct row_counter *grown = mem_realloc(ids->counters, capacity * sizeof(*grown));

        if (!grown)
            return fail_no_memory(capacity * sizeof(*grown));
        ids->counters = grown;
        ids->capacity = capacity;
    }
    memmove(ids->counters + at + 1, ids->counters + at, (ids->count++ - at) * sizeof(*ids->counters));
    ids->counters[at] = (struct row_counter){.table = table, .next = limit, .limit = limit, .block = 1};
    *out = &ids->counters[at];
    return HELIOS_OK;
}

/* Ids below `wanted`, and a block behind, are reserved durably as rows are. */
static helios_status reserve_block_locked(struct helios_db *db, struct row_counter *c, uint64_t wanted)
{
    uint64_t spare = c->block - 1, limit = wanted > ROW_ID_MAX - spare ? ROW_ID_MAX + 1 : wanted + spare;
    unsigned char key[ROW_IDS_KEY_SIZE], value[ROW_IDS_SIZE] = {ROW_IDS_VERSION_NOW};
    helios_status status = db_writable(db);

    if (status != HELIOS_OK)
        return status;
    put_u64(value + ROW_IDS_LIMIT, limit);
    status = write_system(db, HELIOS_DURABILITY_ASYNC, KIND_VALUE, entry_key(key, c->table),
                          slice_make(value, sizeof(value)), NULL);
    if (status != HELIOS_OK)
        return status;
    c->limit = limit;
    if (c->block < BLOCK_MAX)
        c->block *= 2;
    return HELIOS_OK;
}

helios_status row_ids_take(struct helios_db *db, uint32_t table, uint64_t count, uint64_t *first)
{
    struct row_counter *c;
    helios_status status;

    mutex_lock(&db->row_ids.mu);
    status = counter_locked(db, table, &c);
    if (status == HELIOS_OK && count > ROW_ID_MAX + 1 - c->next)
        status = fail(HELIOS_LIMIT, "there are no more ids: the last was %" PRIu64, c->next - 1);
    if (status == HELIOS_OK && c->next + count > c->limit)
        status = reserve_block_locked(db, c, c->next + count);
    if (status == HELIOS_OK) {
        *first = c->next;
        c->next += count;
    }
    mutex_unlock(&db->row_ids.mu);
    return status;
}

helios_status row_ids_raise(struct helios_db *db, uint32_t table, uint64_t id)
{
    struct row_counter *c;
    helios_status status;

    mutex_lock(&db->row_ids.mu);
    status = counter_locked(db, table, &c);
    if (status == HELIOS_OK && id >= c->limit)
        status = reserve_block_locked(db, c, id + 1);
    if (status == HELIOS_OK && id >= c->next)
        c->next = id + 1;
    mutex_unlock(&db->row_ids.mu);
    return status;
}
