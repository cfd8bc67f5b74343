/* group.c - helios_changes_next_commit: the entries of a commit together, for who cannot do with one after the other. */
#include "base/mem.h"
#include "changelog/changes_internal.h"

static helios_status room(struct change_group *g)
{
    size_t capacity = g->capacity ? 2 * g->capacity : 16;
    helios_change *items;

    if (g->count == UINT32_MAX)
        return fail(HELIOS_LIMIT, "a commit of more than %u entries cannot be given at once", UINT32_MAX);
    if (g->count < g->capacity)
        return HELIOS_OK;
    items = mem_realloc(g->items, capacity * sizeof(*items));
    if (!items)
        return fail_no_memory(capacity * sizeof(*items));
    g->items = items;
    g->capacity = capacity;
    return HELIOS_OK;
}

static helios_status copy(struct change_group *g, helios_slice bytes)
{
    return buf_append(&g->bytes, bytes.data, bytes.size);
}

static helios_status add(struct change_group *g, const helios_change *change)
{
    helios_status status = room(g);

    if (status == HELIOS_OK)
        status = copy(g, change->key);
    if (status == HELIOS_OK)
        status = copy(g, change->value);
    if (status == HELIOS_OK)
        status = copy(g, change->before);
    if (status == HELIOS_OK)
        status = copy(g, change->vector_clock);
    if (status == HELIOS_OK)
        g->items[g->count++] = *change;
    return status;
}

/* What was not given stays so. */
static void place(helios_slice *slice, const char **at)
{
    if (slice->data)
        slice->data = *at;
    *at += slice->size;
}

/* The bytes have stopped moving. */
static void place_all(struct change_group *g)
{
    const char *at = buf_slice(&g->bytes).data;

    for (size_t i = 0; i < g->count; i++) {
        place(&g->items[i].key, &at);
        place(&g->items[i].value, &at);
        place(&g->items[i].before, &at);
        place(&g->items[i].vector_clock, &at);
    }
}

helios_status helios_changes_next_commit(helios_changes *c, uint64_t timeout, const helios_change **changes,
                                         size_t *n)
{
    struct change_group *g;
    helios_change change = {0};
    helios_status status = HELIOS_OK;

    if (!c || !changes || !n)
        return fail(HELIOS_INVALID, "no %s given", c ? "place for the changes was" : "changes were");
    g = &c->group;
    g->count = g->bytes.size = 0;
    while (status == HELIOS_OK && !change.commit_end) {
        status = helios_changes_next(c, timeout, &change);
        if (status != HELIOS_OK && g->count == 0)
            return status;
        if (status == HELIOS_OK)
            status = add(g, &change);
    }
    if (status != HELIOS_OK) { /* the rest alone is of no use */
        c->has_ahead = false;
        error_keep(&c->error, status);
        return status;
    }
    place_all(g);
    *changes = g->items;
    *n = g->count;
    return HELIOS_OK;
}
