/* read_set.c - keys in a small hash table, ranges in an array that is sorted and joined now and then, so that a
 * transaction that scans the same again and again stays small. Called by engine/'s transactions. */
#include "mvcc/read_set.h"
#include "base/mem.h"
#include <assert.h>
#include <stdlib.h>

enum { RANGES_MIN = 64 };

void read_set_init(struct read_set *set, void *first, size_t size)
{
    memset(set, 0, sizeof(*set));
    arena_init(&set->arena, first, size);
}

void read_set_release(struct read_set *set)
{
    mem_free(set->table);
    if (set->key_capacity > READ_FEW)
        mem_free(set->keys);
    mem_free(set->ranges);
    arena_release(&set->arena);
}

size_t read_set_bytes(const struct read_set *set)
{
    return set->arena.bytes + set->table_size * sizeof(*set->table) +
           (set->key_capacity > READ_FEW ? set->key_capacity * sizeof(*set->keys) : 0) +
           set->range_capacity * sizeof(*set->ranges);
}

/* ---- keys ---- */

static bool in_filter(const struct read_set *set, uint64_t hash)
{
    return set->filter[hash >> 6 & (READ_FILTER_WORDS - 1)] >> (hash & 63) & 1;
}

static bool same(const struct read_key *known, helios_slice key, uint64_t hash)
{
    return known->hash == hash && slice_equal(known->key, key);
}

static bool has_key(const struct read_set *set, helios_slice key, uint64_t hash)
{
    size_t mask = set->table_size - 1;

    if (!in_filter(set, hash))
        return false;
    if (!set->table) {
        for (size_t i = 0; i < set->key_count; i++)
            if (same(&set->keys[i], key, hash))
                return true;
        return false;
    }
    for (size_t at = (size_t)hash & mask; set->table[at]; at = (at + 1) & mask)
        if (same(&set->keys[set->table[at] - 1], key, hash))
            return true;
    return false;
}

static void table_put(struct read_set *set, size_t index)
{
    size_t mask = set->table_size - 1, at = (size_t)set->keys[index].hash & mask;

    while (set->table[at])
        at = (at + 1) & mask;
    set->table[at] = (uint32_t)index + 1;
}

/* Room for one more key; the first few stand in the arena. */
static helios_status grow_keys(struct read_set *set)
{
    size_t capacity = set->key_capacity * 2, size = capacity * 2;
    struct read_key *keys;
    uint32_t *table;

    if (set->key_count < set->key_capacity)
        return HELIOS_OK;
    if (set->key_capacity == 0) {
        set->keys = arena_alloc(&set->arena, READ_FEW * sizeof(*set->keys));
        set->key_capacity = set->keys ? READ_FEW : 0;
        return set->keys ? HELIOS_OK : fail_no_memory(READ_FEW * sizeof(*set->keys));
    }
    if (capacity >= UINT32_MAX)
        return fail(HELIOS_LIMIT, "a transaction reads at most %zu keys", set->key_count);
    table = mem_array(size, sizeof(*table));
    keys = mem_array(capacity, sizeof(*keys));
    if (!table || !keys) {
        mem_free(table);
        mem_free(keys);
        return fail_no_memory(size * sizeof(*table) + capacity * sizeof(*keys));
    }
    memcpy(keys, set->keys, set->key_count * sizeof(*keys));
    if (set->key_capacity > READ_FEW)
        mem_free(set->keys);
    mem_free(set->table);
    set->keys = keys;
    set->key_capacity = capacity;
    set->table = table;
    set->table_size = size;
    for (size_t i = 0; i < set->key_count; i++)
        table_put(set, i);
    return HELIOS_OK;
}

helios_status read_set_add_key(struct read_set *set, helios_slice key, uint64_t hash)
{
    helios_status status;
    void *copy;

    if (has_key(set, key, hash))
        return HELIOS_OK;
    status = grow_keys(set);
    if (status != HELIOS_OK)
        return status;
    copy = arena_copy(&set->arena, key.data, key.size);
    if (!copy)
        return fail_no_memory(key.size);
    set->keys[set->key_count] = (struct read_key){hash, slice_make(copy, key.size)};
    set->filter[hash >> 6 & (READ_FILTER_WORDS - 1)] |= UINT64_C(1) << (hash & 63);
    if (set->table)
        table_put(set, set->key_count);
    set->key_count++;
    return HELIOS_OK;
}

/* ---- ranges ---- */

static int range_order(const void *a, const void *b)
{
    return slice_compare(((const struct read_range *)a)->from, ((const struct read_range *)b)->from);
}

void read_set_settle(struct read_set *set)
{
    size_t kept = 0;

    if (set->range_settled == set->range_count)
        return;
    qsort(set->ranges, set->range_count, sizeof(*set->ranges), range_order);
    for (size_t i = 1; i < set->range_count; i++) {
        const struct read_range *range = &set->ranges[i];

        if (slice_compare(range->from, set->ranges[kept].to) > 0)
            set->ranges[++kept] = *range;
        else if (slice_compare(range->to, set->ranges[kept].to) > 0)
            set->ranges[kept].to = range->to;
    }
    set->range_count = set->range_settled = kept + 1;
}

static bool in_last_range(const struct read_set *set, helios_slice from, helios_slice to)
{
    const struct read_range *last = set->range_count ? &set->ranges[set->range_count - 1] : NULL;

    return last && slice_compare(last->from, from) <= 0 && slice_compare(to, last->to) <= 0;
}

/* Room for one more range: joins them first, if there are many new ones. */
static helios_status grow_ranges(struct read_set *set)
{
    size_t capacity = set->range_capacity ? set->range_capacity * 2 : 8;
    struct read_range *ranges;

    if (set->range_count < set->range_capacity)
        return HELIOS_OK;
    if (set->range_count >= RANGES_MIN) {
        read_set_settle(set);
        if (set->range_count <= set->range_capacity / 2)
            return HELIOS_OK;
    }
    ranges = mem_realloc(set->ranges, capacity * sizeof(*ranges));
    if (!ranges)
        return fail_no_memory(capacity * sizeof(*ranges));
    set->ranges = ranges;
    set->range_capacity = capacity;
    return HELIOS_OK;
}

helios_status read_set_add_range(struct read_set *set, helios_slice from, helios_slice to)
{
    helios_status status;
    void *from_copy, *to_copy;

    if (slice_compare(from, to) >= 0 || in_last_range(set, from, to))
        return HELIOS_OK;
    status = grow_ranges(set);
    if (status != HELIOS_OK)
        return status;
    from_copy = arena_copy(&set->arena, from.data, from.size);
    to_copy = from_copy ? arena_copy(&set->arena, to.data, to.size) : NULL;
    if (!to_copy)
        return fail_no_memory(from.size + to.size);
    set->ranges[set->range_count++] =
        (struct read_range){slice_make(from_copy, from.size), slice_make(to_copy, to.size)};
    return HELIOS_OK;
}

/* The first range that ends above key; NULL: none. */
static const struct read_range *range_above(const struct read_set *set, helios_slice key)
{
    size_t low = 0, high = set->range_count;

    assert(set->range_settled == set->range_count);
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (slice_compare(set->ranges[middle].to, key) > 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low < set->range_count ? &set->ranges[low] : NULL;
}

/* ---- asking ---- */

bool read_set_has(const struct read_set *set, helios_slice key, uint64_t hash)
{
    const struct read_range *range;

    if (has_key(set, key, hash))
        return true;
    range = set->range_count ? range_above(set, key) : NULL;
    return range && slice_compare(range->from, key) <= 0;
}

bool read_set_meets(const struct read_set *set, helios_slice from, helios_slice to)
{
    const struct read_range *range = set->range_count ? range_above(set, from) : NULL;

    if (range && slice_compare(range->from, to) < 0)
        return true;
    for (size_t i = 0; i < set->key_count; i++)
        if (slice_compare(set->keys[i].key, from) >= 0 && slice_compare(set->keys[i].key, to) < 0)
            return true;
    return false;
}
