/* delta_tables.c - which table a key is of; see delta_tables.h. Called by deltas.c, and for it by entries.c and images.c. */
#include "changelog/delta_tables.h"
#include "base/key.h"
#include "base/mem.h"

static int compare_to(const struct delta_table *t, uint8_t space, helios_slice key)
{
    if (t->space != space)
        return t->space < space ? -1 : 1;
    return slice_compare(buf_slice(&t->prefix), key);
}

static const struct delta_table *sorted(const struct delta_tables *t, uint32_t at)
{
    return &t->tables[t->tables[at].place];
}

/* ---- making ---- */

static helios_status set_prefix(struct delta_table *t, const helios_delta_table *given)
{
    helios_slice prefix = given->prefix.data ? given->prefix : slice_make("", 0);
    size_t size = prefix.size;
    helios_status status;

    if (given->space != SPACE_USER && given->space != SPACE_DATA)
        return fail(HELIOS_INVALID, "there are no tables in space %u", given->space);
    if (size > KEY_USER_MAX)
        return fail(HELIOS_INVALID, "a table's prefix of %zu bytes is above the limit of a key", size);
    t->space = given->space;
    while (size && slice_bytes(prefix)[size - 1] == 0xff)
        size--;
    t->has_end = size > 0;
    status = buf_set(&t->prefix, prefix.data, prefix.size);
    if (status == HELIOS_OK)
        status = buf_set(&t->end, prefix.data, size);
    if (status == HELIOS_OK && size)
        ((unsigned char *)t->end.data)[size - 1]++;
    return status;
}

/* Into the order of those before it; views have few tables. */
static void place(struct delta_tables *t, uint32_t index)
{
    const struct delta_table *table = &t->tables[index];
    uint32_t at = index;

    for (; at > 0 && compare_to(sorted(t, at - 1), table->space, buf_slice(&table->prefix)) > 0; at--)
        t->tables[at].place = t->tables[at - 1].place;
    t->tables[at].place = index;
}

/* What begins with a prefix follows it. */
static helios_status check_apart(const struct delta_tables *t)
{
    for (uint32_t i = 1; i < t->count; i++) {
        const struct delta_table *a = sorted(t, i - 1), *b = sorted(t, i);

        if (a->space == b->space && slice_starts_with(buf_slice(&b->prefix), buf_slice(&a->prefix)))
            return fail(HELIOS_INVALID, "the keys of table %u are also of table %u", (unsigned)(b - t->tables),
                        (unsigned)(a - t->tables));
    }
    return HELIOS_OK;
}

helios_status delta_tables_init(struct delta_tables *t, const helios_delta_table *given, size_t count)
{
    static const helios_delta_table all;
    helios_status status = HELIOS_OK;

    if (!given) {
        given = &all;
        count = 1;
    }
    if (count == 0 || count > UINT16_MAX)
        return fail(HELIOS_INVALID, "deltas of %zu tables were asked for; 1 to %d can be", count, UINT16_MAX);
    t->tables = mem_array(count, sizeof(*t->tables));
    if (!t->tables)
        return fail_no_memory(count * sizeof(*t->tables));
    for (; t->count < count && status == HELIOS_OK; t->count++) {
        status = set_prefix(&t->tables[t->count], &given[t->count]);
        place(t, t->count);
    }
    return status == HELIOS_OK ? check_apart(t) : status;
}

void delta_tables_release(struct delta_tables *t)
{
    for (uint32_t i = 0; i < t->count; i++) {
        helios_buf_free(&t->tables[i].prefix);
        helios_buf_free(&t->tables[i].end);
    }
    mem_free(t->tables);
}

/* ---- asking ---- */

/* The place behind the last that is not above the key. */
static uint32_t behind(const struct delta_tables *t, uint8_t space, helios_slice key)
{
    uint32_t low = 0, high = t->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (compare_to(sorted(t, middle), space, key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Of the prefixes not above the key, only the last may begin it. */
const struct delta_table *delta_tables_find(const struct delta_tables *t, uint8_t space, helios_slice key)
{
    uint32_t at = behind(t, space, key);
    const struct delta_table *found = at ? sorted(t, at - 1) : NULL;

    return found && found->space == space && slice_starts_with(key, buf_slice(&found->prefix)) ? found : NULL;
}

const struct delta_table *delta_tables_meet(const struct delta_tables *t, uint32_t *at, uint8_t space,
                                            helios_slice from, helios_slice to)
{
    uint32_t first = behind(t, space, from), place;
    const struct delta_table *found;

    if (first && delta_tables_find(t, space, from))
        first--; /* it begins within that one */
    place = *at > first ? *at : first;
    found = place < t->count ? sorted(t, place) : NULL;
    *at = place + 1;
    return found && found->space == space && slice_compare(buf_slice(&found->prefix), to) < 0 ? found : NULL;
}

helios_slice delta_tables_common(const struct delta_tables *t)
{
    helios_slice common = buf_slice(&t->tables[0].prefix);

    for (uint32_t i = 1; i < t->count; i++)
        common.size = slice_common(common, buf_slice(&t->tables[i].prefix));
    return common;
}

bool delta_tables_other_spaces(const struct delta_tables *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (t->tables[i].space != SPACE_USER)
            return true;
    return false;
}
