/* delta_rows.c - net rows of a window; see delta_rows.h. Called by deltas.c. */
#include "changelog/delta_rows.h"
#include "base/hash.h"
#include "base/mem.h"
#include <assert.h>
#include <stdlib.h>

enum { SLOTS_FIRST = 64, SLOTS_PER_ROW_MAX = 16, ROWS_MAX = UINT32_MAX / 4 };

void delta_rows_init(struct delta_rows *r)
{
    *r = (struct delta_rows){0};
    arena_init(&r->arena, NULL, 0);
}

/* After a large window there may be small ones: they begin small again. */
void delta_rows_clear(struct delta_rows *r)
{
    arena_release(&r->arena);
    arena_init(&r->arena, NULL, 0);
    if (r->slot_count > SLOTS_PER_ROW_MAX * (r->count + SLOTS_FIRST)) {
        mem_free(r->slots);
        r->slots = NULL;
        r->slot_count = 0;
    } else if (r->count) {
        memset(r->slots, 0, r->slot_count * sizeof(*r->slots));
    }
    r->count = r->count_before = r->touched_count = r->order_count = 0;
    r->mark = arena_mark(&r->arena);
}

void delta_rows_release(struct delta_rows *r)
{
    arena_release(&r->arena);
    mem_free(r->rows);
    mem_free(r->slots);
    mem_free(r->touched);
    mem_free(r->order);
}

size_t delta_rows_bytes(const struct delta_rows *r)
{
    return r->arena.bytes +
           r->count * (sizeof(*r->rows) + 4 * sizeof(*r->slots) + sizeof(*r->touched) + sizeof(*r->order));
}

/* ---- by key ---- */

static uint32_t hash_of(uint32_t table, helios_slice key)
{
    return (uint32_t)hash_seeded(key.data, key.size, table);
}

/* Where the row is, or would be. */
static uint32_t *slot_of(const struct delta_rows *r, uint32_t hash, uint32_t table, helios_slice key)
{
    size_t mask = r->slot_count - 1;

    for (size_t at = hash & mask;; at = (at + 1) & mask) {
        uint32_t *slot = &r->slots[at];
        const struct delta_row *row = *slot ? &r->rows[*slot - 1] : NULL;

        if (!row || (row->hash == hash && row->table == table && slice_equal(row->key, key)))
            return slot;
    }
}

struct delta_row *delta_rows_find(const struct delta_rows *r, uint32_t table, helios_slice key)
{
    uint32_t slot = r->slot_count ? *slot_of(r, hash_of(table, key), table, key) : 0;

    return slot ? &r->rows[slot - 1] : NULL;
}

/* In the order of their indices, so that the last row's slot may simply be emptied: no other was put behind it. */
static void fill_slots(struct delta_rows *r)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct delta_row *row = &r->rows[i];

        *slot_of(r, row->hash, row->table, row->key) = (uint32_t)i + 1;
    }
}

static helios_status grow_slots(struct delta_rows *r)
{
    size_t count = r->slot_count ? 2 * r->slot_count : SLOTS_FIRST;
    uint32_t *slots;

    if (2 * (r->count + 1) <= r->slot_count)
        return HELIOS_OK;
    slots = mem_array(count, sizeof(*slots));
    if (!slots)
        return fail_no_memory(count * sizeof(*slots));
    mem_free(r->slots);
    r->slots = slots;
    r->slot_count = count;
    fill_slots(r);
    return HELIOS_OK;
}

static helios_status grow(void **array, size_t *capacity, size_t count, size_t size)
{
    size_t more = *capacity ? *capacity * 2 : 32;
    void *bigger;

    if (count < *capacity)
        return HELIOS_OK;
    bigger = mem_realloc(*array, more * size);
    if (!bigger)
        return fail_no_memory(more * size);
    *array = bigger;
    *capacity = more;
    return HELIOS_OK;
}

/* ---- bytes ---- */

static helios_status place_reserve(struct delta_rows *r, struct delta_place *place, size_t size)
{
    unsigned char *data;

    if (place->data && place->capacity >= size)
        return HELIOS_OK;
    data = arena_alloc(&r->arena, size);
    if (!data)
        return fail_no_memory(size);
    *place = (struct delta_place){data, size};
    return HELIOS_OK;
}

static helios_status keep(struct delta_rows *r, helios_slice bytes, helios_slice *kept)
{
    struct delta_place place = {0};
    helios_status status = place_reserve(r, &place, bytes.size);

    if (status != HELIOS_OK)
        return status;
    if (bytes.size)
        memcpy(place.data, bytes.data, bytes.size);
    *kept = slice_make(place.data, bytes.size);
    return HELIOS_OK;
}

/* ---- adding ---- */

void delta_rows_begin(struct delta_rows *r)
{
    r->count_before = r->count;
    r->touched_count = 0;
    r->mark = arena_mark(&r->arena);
}

void delta_rows_undo(struct delta_rows *r)
{
    while (r->count > r->count_before) {
        const struct delta_row *row = &r->rows[r->count - 1];

        *slot_of(r, row->hash, row->table, row->key) = 0;
        r->count--;
    }
    while (r->touched_count) {
        const struct delta_touched *t = &r->touched[--r->touched_count];

        r->rows[t->index] = t->was;
    }
    arena_rewind(&r->arena, &r->mark);
}

helios_status delta_rows_add(struct delta_rows *r, uint32_t table, helios_slice key, helios_slice before,
                             struct delta_row **out)
{
    struct delta_row row = {.table = table, .hash = hash_of(table, key), .has_before = before.data != NULL};
    helios_status status;

    if (r->count == ROWS_MAX)
        return fail(HELIOS_LIMIT, "a window of deltas has %u rows", (unsigned)ROWS_MAX);
    status = grow((void **)&r->rows, &r->capacity, r->count, sizeof(*r->rows));
    if (status == HELIOS_OK)
        status = grow_slots(r);
    if (status == HELIOS_OK)
        status = keep(r, key, &row.key);
    if (status == HELIOS_OK && row.has_before)
        status = keep(r, before, &row.before);
    if (status != HELIOS_OK)
        return status;
    *slot_of(r, row.hash, table, key) = (uint32_t)r->count + 1;
    *out = &r->rows[r->count++];
    **out = row;
    return HELIOS_OK;
}

/* The first time in this commit that an older row is touched. What it has now stays until the commit after, so the new
 * value goes to the other place. */
static helios_status touch(struct delta_rows *r, struct delta_row *row)
{
    size_t index = (size_t)(row - r->rows);
    struct delta_place here = row->here;
    helios_status status;

    status = grow((void **)&r->touched, &r->touched_capacity, r->touched_count, sizeof(*r->touched));
    if (status != HELIOS_OK)
        return status;
    r->touched[r->touched_count++] = (struct delta_touched){index, *row};
    row->here = row->other;
    row->other = here;
    return HELIOS_OK;
}

helios_status delta_rows_change(struct delta_rows *r, struct delta_row *row, const struct delta_operation *op)
{
    bool older = (size_t)(row - r->rows) < r->count_before;
    helios_status status = HELIOS_OK;

    assert(op->lsn >= row->lsn);
    if (older && row->commit != op->commit)
        status = touch(r, row);
    if (status == HELIOS_OK && op->value.data)
        status = place_reserve(r, &row->here, op->value.size);
    if (status != HELIOS_OK)
        return status;
    row->has_after = op->value.data != NULL;
    if (op->value.size)
        memcpy(row->here.data, op->value.data, op->value.size);
    row->after = slice_make(row->here.data, op->value.size);
    if (!row->first_lsn)
        row->first_lsn = op->lsn;
    row->lsn = op->lsn;
    row->commit = op->commit;
    row->time = op->time;
    return HELIOS_OK;
}

/* ---- settling ---- */

static bool differs(const struct delta_row *row)
{
    if (row->has_before != row->has_after)
        return true;
    return row->has_before && !slice_equal(row->before, row->after);
}

/* One range delete gives many rows the same lsn. */
static int compare_rows(const void *a, const void *b)
{
    const struct delta_row *x = *(const struct delta_row *const *)a, *y = *(const struct delta_row *const *)b;

    if (x->table != y->table)
        return x->table < y->table ? -1 : 1;
    if (x->lsn != y->lsn)
        return x->lsn < y->lsn ? -1 : 1;
    return slice_compare(x->key, y->key);
}

helios_status delta_rows_settle(struct delta_rows *r)
{
    mem_free(r->order);
    r->order_count = 0;
    r->order = mem_array(r->count + 1, sizeof(*r->order));
    if (!r->order)
        return fail_no_memory((r->count + 1) * sizeof(*r->order));
    for (size_t i = 0; i < r->count; i++)
        if (differs(&r->rows[i]))
            r->order[r->order_count++] = &r->rows[i];
    qsort(r->order, r->order_count, sizeof(*r->order), compare_rows);
    return HELIOS_OK;
}
