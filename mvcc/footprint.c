/* footprint.c - making footprints, and holding one against what a transaction wrote and read. Called by the path of
 * commits in engine/. */
#include "mvcc/footprint.h"
#include "base/hash.h"
#include "base/mem.h"
#include <assert.h>

struct footprint *footprint_new(size_t pieces, size_t key_bytes)
{
    size_t size = pieces * sizeof(struct footprint_piece) + key_bytes;
    bool too_big = pieces > FOOTPRINT_BYTES_MAX || size > FOOTPRINT_BYTES_MAX;
    struct footprint *f = mem_alloc(sizeof(*f) + (too_big ? 0 : size));

    if (!f)
        return NULL;
    atomic_init(&f->refs, 1);
    atomic_init(&f->outcome, FOOTPRINT_IN_FLIGHT);
    f->too_big = too_big;
    f->piece_count = f->bytes_used = 0;
    f->piece_capacity = too_big ? 0 : (uint32_t)pieces;
    f->bytes_capacity = too_big ? 0 : (uint32_t)key_bytes;
    return f;
}

static unsigned char *bytes_of(const struct footprint *f)
{
    return (unsigned char *)(f->pieces + f->piece_capacity);
}

static uint32_t put_key(struct footprint *f, const unsigned char *layer, helios_slice key)
{
    unsigned char *at = bytes_of(f) + f->bytes_used;

    assert(f->bytes_used + KEY_LAYER_BYTES + key.size <= f->bytes_capacity);
    memcpy(at, layer, KEY_LAYER_BYTES);
    if (key.size)
        memcpy(at + KEY_LAYER_BYTES, key.data, key.size);
    f->bytes_used += KEY_LAYER_BYTES + (uint32_t)key.size;
    return KEY_LAYER_BYTES + (uint32_t)key.size;
}

static struct footprint_piece *add_piece(struct footprint *f, bool range)
{
    struct footprint_piece *piece = &f->pieces[f->piece_count++];

    assert(f->piece_count <= f->piece_capacity);
    *piece = (struct footprint_piece){.from = f->bytes_used, .range = range};
    return piece;
}

void footprint_add_key(struct footprint *f, const unsigned char layer[KEY_LAYER_BYTES], helios_slice key)
{
    struct footprint_piece *piece = add_piece(f, false);

    piece->from_size = put_key(f, layer, key);
    piece->hash = hash_key(slice_make(bytes_of(f) + piece->from, piece->from_size));
}

void footprint_add_range(struct footprint *f, const unsigned char layer[KEY_LAYER_BYTES], helios_slice from,
                         helios_slice to)
{
    struct footprint_piece *piece = add_piece(f, true);

    piece->from_size = put_key(f, layer, from);
    piece->to_size = put_key(f, layer, to);
}

/* ---- holding ---- */

struct footprint *footprint_ref(struct footprint *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

void footprint_unref(struct footprint *f)
{
    if (f && atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) == 1)
        mem_free(f);
}

static void release_footprint(struct epoch_item *item)
{
    footprint_unref((struct footprint *)((char *)item - offsetof(struct footprint, item)));
}

void footprint_retire(struct footprint *f)
{
    if (f)
        epoch_retire(&f->item, release_footprint);
}

/* ---- asking ---- */

static bool range_deletes_meet(const struct rangedel_set *set, helios_slice from, helios_slice to)
{
    size_t i = set ? rangedel_find(set, from) : 0;

    return set && i < set->count && slice_compare(set->fragments[i].from, to) < 0;
}

static bool key_meets(const struct conflict_sets *sets, helios_slice key, uint64_t hash)
{
    return write_index_find(sets->writes, key, hash) ||
           (sets->ranges && rangedel_newest(sets->ranges, key, SEQ_MAX)) ||
           (sets->reads && read_set_has(sets->reads, key, hash));
}

static bool range_meets(const struct conflict_sets *sets, helios_slice from, helios_slice to)
{
    const struct write_node *node = write_index_seek(sets->writes, from);

    return (node && slice_compare(node->key, to) < 0) || range_deletes_meet(sets->ranges, from, to) ||
           (sets->reads && read_set_meets(sets->reads, from, to));
}

bool footprint_meets(const struct footprint *f, const struct conflict_sets *sets, helios_slice *where)
{
    const unsigned char *bytes = bytes_of(f);

    for (uint32_t i = 0; i < f->piece_count; i++) {
        const struct footprint_piece *piece = &f->pieces[i];
        helios_slice from = slice_make(bytes + piece->from, piece->from_size);

        if (piece->range
                ? range_meets(sets, from, slice_make(bytes + piece->from + piece->from_size, piece->to_size))
                : key_meets(sets, from, piece->hash)) {
            *where = from;
            return true;
        }
    }
    return false;
}
