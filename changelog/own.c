/* own.c - the operations of one commit by key; see own.h. Called by entries.c and images.c. */
#include "changelog/own.h"
#include "base/mem.h"
#include "base/slice.h"
#include <stdlib.h>

static int compare_layer(helios_branch_id a, uint8_t a_space, helios_branch_id b, uint8_t b_space)
{
    if (a != b)
        return a < b ? -1 : 1;
    return a_space < b_space ? -1 : a_space > b_space;
}

static int compare_to(const struct own_op *op, helios_branch_id branch, uint8_t space, helios_slice key)
{
    int order = compare_layer(op->branch, op->space, branch, space);

    return order ? order : slice_compare(op->key, key);
}

static int compare_ops(const void *a, const void *b)
{
    const struct own_op *x = a, *y = b;
    int order = compare_to(x, y->branch, y->space, y->key);

    return order ? order : x->index < y->index ? -1 : 1;
}

static int compare_edges(const void *a, const void *b)
{
    const struct own_edge *x = a, *y = b;
    int order = compare_layer(x->branch, x->space, y->branch, y->space);

    return order ? order : slice_compare(x->key, y->key);
}

/* Room for one more; doubles. */
static helios_status grow(void **array, size_t *capacity, size_t count, size_t size)
{
    size_t more = *capacity ? *capacity * 2 : 64;
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

static helios_status add_edge(struct own *own, const struct op *op, helios_slice key)
{
    helios_status status =
        grow((void **)&own->edges, &own->edges_capacity, own->edge_count, sizeof(*own->edges));

    if (status == HELIOS_OK)
        own->edges[own->edge_count++] = (struct own_edge){op->branch, op->space, key};
    return status;
}

static helios_status add_op(struct own *own, const struct op *op, uint32_t index)
{
    helios_status status = grow((void **)&own->ops, &own->ops_capacity, own->count, sizeof(*own->ops));

    if (status == HELIOS_OK)
        own->ops[own->count++] =
            (struct own_op){op->branch, op->space, op->kind == KIND_VALUE, index, op->key, op->value};
    return status;
}

static helios_status add(struct own *own, const struct op *op, uint32_t index)
{
    helios_status status;

    if (op->kind != KIND_RANGE_DELETE)
        return add_op(own, op, index);
    status = add_edge(own, op, op->key);
    return status == HELIOS_OK ? add_edge(own, op, op->value) : status;
}

/* Edges in order, each once, and no marks on what lies between. */
static helios_status settle_edges(struct own *own)
{
    size_t kept = 0;

    qsort(own->edges, own->edge_count, sizeof(*own->edges), compare_edges);
    for (size_t i = 0; i < own->edge_count; i++)
        if (kept == 0 || compare_edges(&own->edges[kept - 1], &own->edges[i]) != 0)
            own->edges[kept++] = own->edges[i];
    own->edge_count = kept;
    if (2 * kept > own->marks_capacity) {
        uint32_t *marks = mem_realloc(own->marks, 2 * kept * sizeof(*marks));

        if (!marks)
            return fail_no_memory(2 * kept * sizeof(*marks));
        own->marks = marks;
        own->marks_capacity = 2 * kept;
    }
    memset(own->marks, 0, 2 * kept * sizeof(*own->marks));
    return HELIOS_OK;
}

helios_status own_build(struct own *own, const struct wal_record *record, bool *good)
{
    struct reader reader = reader_make(record->body.data, record->body.size);
    bool many = record->branch == WAL_BRANCH_MANY;
    helios_status status = HELIOS_OK;
    struct op op;

    own_clear(own);
    *good = true;
    for (uint32_t i = 0; i < record->op_count && status == HELIOS_OK; i++) {
        *good = op_read(&reader, many, &op);
        if (!*good)
            return HELIOS_OK;
        if (!many)
            op.branch = record->branch;
        status = add(own, &op, i);
    }
    if (status != HELIOS_OK)
        return status;
    if (own->count)
        qsort(own->ops, own->count, sizeof(*own->ops), compare_ops);
    if (own->edge_count)
        status = settle_edges(own);
    own->built = status == HELIOS_OK;
    return status;
}

void own_clear(struct own *own)
{
    own->built = false;
    own->count = own->edge_count = 0;
}

void own_release(struct own *own)
{
    mem_free(own->ops);
    mem_free(own->edges);
    mem_free(own->marks);
    *own = (struct own){0};
}

/* How many edges are at or below the key. */
static size_t edges_up_to(const struct own *own, helios_branch_id branch, uint8_t space, helios_slice key)
{
    const struct own_edge sought = {branch, space, key};
    size_t low = 0, high = own->edge_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (compare_edges(&own->edges[middle], &sought) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Later ones have larger indices, so that a node needs the newest alone. */
void own_pass_range(struct own *own, uint32_t index, const struct op *op)
{
    size_t from, to;

    if (!own->built)
        return;
    from = edges_up_to(own, op->branch, op->space, op->key) - 1 + own->edge_count;
    to = edges_up_to(own, op->branch, op->space, op->value) - 1 + own->edge_count;
    for (; from < to; from /= 2, to /= 2) {
        if (from & 1)
            own->marks[from++] = index + 1;
        if (to & 1)
            own->marks[--to] = index + 1;
    }
}

/* The newest range delete passed that covers the key, index + 1; 0: none. */
static uint32_t newest_range(const struct own *own, const struct op *op)
{
    size_t piece = own->edge_count ? edges_up_to(own, op->branch, op->space, op->key) : 0;
    uint32_t newest = 0;

    if (piece == 0)
        return 0;
    for (piece += own->edge_count - 1; piece >= 1; piece /= 2)
        if (own->marks[piece] > newest)
            newest = own->marks[piece];
    return newest;
}

size_t own_find(const struct own *own, helios_branch_id branch, uint8_t space, helios_slice key)
{
    size_t low = 0, high = own->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (compare_to(&own->ops[middle], branch, space, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t own_key_end(const struct own *own, size_t at)
{
    const struct own_op *op = &own->ops[at];
    size_t end = at + 1;

    while (end < own->count && compare_to(&own->ops[end], op->branch, op->space, op->key) == 0)
        end++;
    return end;
}

/* The last of the key's operations before `index`: by halves, as a batch may write one key over and over. */
static const struct own_op *last_before(const struct own *own, const struct op *op, uint32_t index)
{
    size_t low = 0, high = own->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = compare_to(&own->ops[middle], op->branch, op->space, op->key);

        if (order < 0 || (order == 0 && own->ops[middle].index < index))
            low = middle + 1;
        else
            high = middle;
    }
    return low && compare_to(&own->ops[low - 1], op->branch, op->space, op->key) == 0 ? &own->ops[low - 1]
                                                                                      : NULL;
}

enum own_state own_look(const struct own *own, const struct op *op, uint32_t index, helios_slice *value)
{
    const struct own_op *last;
    uint32_t range;

    if (!own->built)
        return OWN_UNTOUCHED;
    last = last_before(own, op, index);
    range = newest_range(own, op);
    if (range && (!last || range > last->index))
        return OWN_DELETED;
    if (!last)
        return OWN_UNTOUCHED;
    *value = last->value;
    return last->put ? OWN_PUT : OWN_DELETED;
}
