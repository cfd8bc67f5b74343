/* rangedel.c - range deletes as disjoint fragments. Pieces are emitted in key order into a builder,
 * which joins neighbours that say the same, and are then packed into one allocation:
 *
 *   | struct held_set | fragments | numbers of all fragments | bytes of the keys | */
#include "base/rangedel.h"
#include "base/mem.h"
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

struct held_set {
    struct rangedel_set set; /* first: what callers hold is a pointer to it */
    _Atomic uint32_t holders;
};

/* ---- building ---- */

struct piece {
    helios_slice from, to; /* borrowed from the input */
    size_t seqs_at, count; /* into builder.seqs */
};

struct builder {
    struct piece *pieces;
    size_t piece_count, piece_capacity;
    helios_seq *seqs;
    size_t seq_count, seq_capacity;
};

static void builder_release(struct builder *b)
{
    mem_free(b->pieces);
    mem_free(b->seqs);
}

/* Makes *array hold at least `needed` elements. */
static helios_status grow(void *array, size_t *capacity, size_t needed, size_t element_size)
{
    size_t wanted = *capacity * 2 > needed ? *capacity * 2 : needed;
    void *grown;

    if (needed <= *capacity)
        return HELIOS_OK;
    grown = mem_realloc(*(void **)array, wanted * element_size);
    if (!grown)
        return fail_no_memory(wanted * element_size);
    *(void **)array = grown;
    *capacity = wanted;
    return HELIOS_OK;
}

/* Removes repetitions from what was appended since `start`; it is sorted. */
static void drop_repeated(struct builder *b, size_t start)
{
    size_t kept = start;

    for (size_t i = start; i < b->seq_count; i++) {
        if (kept == start || b->seqs[kept - 1] != b->seqs[i])
            b->seqs[kept++] = b->seqs[i];
    }
    b->seq_count = kept;
}

/* The numbers appended last say the same of [from, ...) as the piece that ends there. */
static bool continues_last(const struct builder *b, helios_slice from, size_t start)
{
    const struct piece *last = b->piece_count ? &b->pieces[b->piece_count - 1] : NULL;
    size_t count = b->seq_count - start;

    return last && last->count == count && slice_equal(last->to, from) &&
           memcmp(b->seqs + last->seqs_at, b->seqs + start, count * sizeof(*b->seqs)) == 0;
}

/* Adds [from, to) covered by seqs, newest first, and by `extra` unless it is 0. */
static helios_status emit(struct builder *b, helios_slice from, helios_slice to, const helios_seq *seqs,
                          size_t count, helios_seq extra)
{
    size_t start = b->seq_count, i = 0;
    helios_status status = grow(&b->seqs, &b->seq_capacity, b->seq_count + count + 1, sizeof(*b->seqs));

    if (status == HELIOS_OK)
        status = grow(&b->pieces, &b->piece_capacity, b->piece_count + 1, sizeof(*b->pieces));
    if (status != HELIOS_OK)
        return status;
    while (i < count && seqs[i] > extra)
        b->seqs[b->seq_count++] = seqs[i++];
    if (extra)
        b->seqs[b->seq_count++] = extra;
    while (i < count)
        b->seqs[b->seq_count++] = seqs[i++];
    drop_repeated(b, start);
    if (continues_last(b, from, start)) {
        b->pieces[b->piece_count - 1].to = to;
        b->seq_count = start;
        return HELIOS_OK;
    }
    b->pieces[b->piece_count++] = (struct piece){from, to, start, b->seq_count - start};
    return HELIOS_OK;
}

static helios_slice put_key(unsigned char **at, helios_slice key)
{
    helios_slice copy = slice_make(*at, key.size);

    if (key.size)
        memcpy(*at, key.data, key.size);
    *at += key.size;
    return copy;
}

/* Where one piece ends and the next begins, one copy of the key serves both. */
static bool touches_previous(const struct builder *b, size_t i)
{
    return i > 0 && slice_equal(b->pieces[i - 1].to, b->pieces[i].from);
}

static size_t key_bytes(const struct builder *b)
{
    size_t bytes = 0;

    for (size_t i = 0; i < b->piece_count; i++)
        bytes += (touches_previous(b, i) ? 0 : b->pieces[i].from.size) + b->pieces[i].to.size;
    return bytes;
}

static helios_status pack(const struct builder *b, struct rangedel_set **result)
{
    size_t fragment_bytes = b->piece_count * sizeof(struct rangedel_fragment);
    size_t seq_bytes = b->seq_count * sizeof(helios_seq);
    size_t bytes = sizeof(struct held_set) + fragment_bytes + seq_bytes + key_bytes(b);
    struct held_set *held = mem_alloc(bytes);
    struct rangedel_fragment *fragments;
    helios_seq *seqs;
    unsigned char *at;

    if (!held)
        return fail_no_memory(bytes);
    fragments = (struct rangedel_fragment *)(held + 1);
    seqs = (helios_seq *)(fragments + b->piece_count);
    at = (unsigned char *)(seqs + b->seq_count);
    held->set = (struct rangedel_set){fragments, b->piece_count, UINT64_MAX, 0, bytes};
    atomic_init(&held->holders, 1);
    if (seq_bytes)
        memcpy(seqs, b->seqs, seq_bytes);
    for (size_t i = 0; i < b->piece_count; i++) {
        const struct piece *piece = &b->pieces[i];
        helios_slice from = touches_previous(b, i) ? fragments[i - 1].to : put_key(&at, piece->from);

        fragments[i] =
            (struct rangedel_fragment){from, put_key(&at, piece->to), seqs + piece->seqs_at, piece->count};
    }
    for (size_t i = 0; i < b->seq_count; i++) {
        held->set.seq_min = seqs[i] < held->set.seq_min ? seqs[i] : held->set.seq_min;
        held->set.seq_max = seqs[i] > held->set.seq_max ? seqs[i] : held->set.seq_max;
    }
    *result = &held->set;
    return HELIOS_OK;
}

/* ---- from items: a sweep over their ends ---- */

struct edge {
    helios_slice key;
    helios_seq seq;
    bool begins;
};

static int edge_order(const void *a, const void *b)
{
    return slice_compare(((const struct edge *)a)->key, ((const struct edge *)b)->key);
}

/* The numbers open at the sweep's place, newest first, as often as they were opened. */
static void open_seq(helios_seq *open, size_t *count, helios_seq seq)
{
    size_t i = (*count)++;

    while (i > 0 && open[i - 1] < seq) {
        open[i] = open[i - 1];
        i--;
    }
    open[i] = seq;
}

static void close_seq(helios_seq *open, size_t *count, helios_seq seq)
{
    size_t i = 0;

    while (open[i] != seq)
        i++;
    memmove(open + i, open + i + 1, (*count - i - 1) * sizeof(*open));
    (*count)--;
}

static helios_status sweep(struct edge *edges, size_t count, helios_seq *open, struct builder *b)
{
    size_t open_count = 0;

    qsort(edges, count, sizeof(*edges), edge_order);
    for (size_t i = 0; i < count; i++) {
        /* A close may stand before its open only at one key, and from < to: so never. */
        if (edges[i].begins)
            open_seq(open, &open_count, edges[i].seq);
        else
            close_seq(open, &open_count, edges[i].seq);
        if (open_count > 0 && slice_compare(edges[i].key, edges[i + 1].key) < 0) {
            helios_status status = emit(b, edges[i].key, edges[i + 1].key, open, open_count, 0);

            if (status != HELIOS_OK)
                return status;
        }
    }
    return HELIOS_OK;
}

helios_status rangedel_build(const struct rangedel *items, size_t count, struct rangedel_set **result)
{
    struct builder b = {0};
    struct edge *edges = mem_array(count, 2 * sizeof(*edges));
    helios_seq *open = mem_array(count, sizeof(*open));
    helios_status status;

    if (!edges || !open) {
        status = fail_no_memory(count * 2 * sizeof(*edges));
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        assert(slice_compare(items[i].from, items[i].to) < 0);
        assert(items[i].seq > 0);
        edges[2 * i] = (struct edge){items[i].from, items[i].seq, true};
        edges[2 * i + 1] = (struct edge){items[i].to, items[i].seq, false};
    }
    status = sweep(edges, 2 * count, open, &b);
    if (status == HELIOS_OK)
        status = pack(&b, result);
out:
    builder_release(&b);
    mem_free(edges);
    mem_free(open);
    return status;
}

/* ---- one more ---- */

static helios_slice slice_min(helios_slice a, helios_slice b)
{
    return slice_compare(a, b) < 0 ? a : b;
}

/* Emits [from, to) if it is not empty. */
static helios_status emit_some(struct builder *b, helios_slice from, helios_slice to,
                               const struct rangedel_fragment *f, helios_seq extra)
{
    if (slice_compare(from, to) >= 0)
        return HELIOS_OK;
    return emit(b, from, to, f ? f->seqs : NULL, f ? f->count : 0, extra);
}

/* A fragment and the part of the item from *at up to its end: what lies before the item, the item
 * alone before the fragment, both, and what lies behind the item. */
static helios_status emit_overlaid(struct builder *b, const struct rangedel_fragment *f,
                                   const struct rangedel *item, helios_slice *at)
{
    helios_slice lone_end = slice_min(f->from, item->to), both, both_end = slice_min(f->to, item->to);
    helios_status status = emit_some(b, f->from, slice_min(f->to, item->from), f, 0);

    if (status == HELIOS_OK)
        status = emit_some(b, *at, lone_end, NULL, item->seq);
    both = slice_compare(*at, f->from) < 0 ? f->from : *at;
    if (status == HELIOS_OK)
        status = emit_some(b, both, both_end, f, item->seq);
    if (slice_compare(*at, both_end) < 0)
        *at = both_end;
    if (status == HELIOS_OK)
        status = emit_some(b, slice_compare(f->from, item->to) < 0 ? item->to : f->from, f->to, f, 0);
    return status;
}

helios_status rangedel_add(const struct rangedel_set *old, const struct rangedel *item,
                           struct rangedel_set **result)
{
    struct builder b = {0};
    helios_slice at = item->from; /* up to here the item is emitted */
    helios_status status = HELIOS_OK;

    assert(slice_compare(item->from, item->to) < 0);
    assert(item->seq > 0);
    for (size_t i = 0; old && i < old->count && status == HELIOS_OK; i++)
        status = emit_overlaid(&b, &old->fragments[i], item, &at);
    if (status == HELIOS_OK)
        status = emit_some(&b, at, item->to, NULL, item->seq);
    if (status == HELIOS_OK)
        status = pack(&b, result);
    builder_release(&b);
    return status;
}

/* ---- holding and asking ---- */

static struct held_set *held_of(struct rangedel_set *set)
{
    return (struct held_set *)set;
}

struct rangedel_set *rangedel_ref(struct rangedel_set *set)
{
    if (set)
        atomic_fetch_add_explicit(&held_of(set)->holders, 1, memory_order_relaxed);
    return set;
}

void rangedel_unref(struct rangedel_set *set)
{
    uint32_t holders;

    if (!set)
        return;
    holders = atomic_fetch_sub_explicit(&held_of(set)->holders, 1, memory_order_acq_rel);
    assert(holders > 0);
    if (holders == 1)
        mem_free(held_of(set));
}

size_t rangedel_find(const struct rangedel_set *set, helios_slice key)
{
    size_t low = 0, high = set->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (slice_compare(set->fragments[middle].to, key) > 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static const struct rangedel_fragment *covering(const struct rangedel_set *set, helios_slice key)
{
    size_t i;

    if (!set)
        return NULL;
    i = rangedel_find(set, key);
    if (i == set->count || slice_compare(set->fragments[i].from, key) > 0)
        return NULL;
    return &set->fragments[i];
}

/* Index of the first number <= limit; they descend. */
static size_t first_at_most(const struct rangedel_fragment *f, helios_seq limit)
{
    size_t low = 0, high = f->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (f->seqs[middle] <= limit)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

helios_seq rangedel_newest(const struct rangedel_set *set, helios_slice key, helios_seq limit)
{
    const struct rangedel_fragment *f = covering(set, key);
    size_t i = f ? first_at_most(f, limit) : 0;

    return f && i < f->count ? f->seqs[i] : 0;
}

helios_seq rangedel_next_above(const struct rangedel_set *set, helios_slice key, helios_seq above)
{
    const struct rangedel_fragment *f = covering(set, key);
    size_t i = f ? first_at_most(f, above) : 0;

    return i > 0 ? f->seqs[i - 1] : 0;
}
