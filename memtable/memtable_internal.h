/* memtable_internal.h - how a memtable lies in memory, for the files of this folder.
 *
 * Entries are found through leaves of up to LEAF_SLOTS links, leaves through stands, and the stands are
 * a skip list by separator, the first entry of their leaf:
 *
 *   head ----------------------> stand ---------------------> end      levels above
 *   head ---------> stand -----> stand ---------> stand ----> end      level 0
 *    |               |            |                |
 *   leaf            leaf         leaf             leaf                 slots: links to entries
 *
 * A link is a word: 32 bits of the key (memtable_key_bits) above an offset in units of 8 bytes from
 * `base`, where the head is. Offset 0 means the end: nothing leads to the head. Moving over stands, and
 * inside a leaf, reads no entry unless the bits are equal. All stands and leaves of a memtable fit the
 * caches or nearly so, where a skip list of the entries themselves misses on every low level.
 *
 * Slots are written once, from the lowest up, in any order of keys; `sorted` of them were in order when the
 * leaf was made. A full leaf therefore never changes, and is split by whoever finds it full:
 *
 *   1. a new stand with a leaf of the upper entries is linked behind the leaf's stand;
 *   2. the stand gets a new leaf of the lower ones, when next an entry belongs there. Until then its
 *      full leaf holds entries that are the next stand's: they are dead, whoever reads skips them.
 *
 * Reading, the leaf is loaded before the link to the next stand. A reader that sees the leaf of step 2
 * then also sees the stand of step 1, so that nothing is missed; a reader that sees the full leaf has
 * all that had been there.
 *
 * The mapping:  | head | filter | entries ->          <- leaves | stands -> | */
#ifndef HELIOS_MEMTABLE_INTERNAL_H
#define HELIOS_MEMTABLE_INTERNAL_H
#include "base/thread.h"
#include "memtable/memtable.h"
#include <assert.h>

enum {
    UNIT = 8,
    LINE_BYTES = 64,
    LEAF_SLOTS = 28,
    LEVEL_MAX = 12,
    LAYER_WORDS = 8, /* a line of bits says which layers may be there */
    /* `taken` and `linked` count entries above so many bits, and bytes in them. */
    COUNT_SHIFT = 36,
    /* What an entry may cost in leaves and stands. A full leaf makes at most two leaves and one stand; a
     * leaf starts with at most half its slots, or with all but one when its upper part was only the
     * last entry, and then the leaf before it and it have taken 15 entries: 4 leaves and 2 stands. */
    LEAF_TOLL = 72,
    STAND_TOLL = 16,
};
#define SHARED_UNKNOWN UINT32_MAX
#define COUNT_ONE      ((uint64_t)1 << COUNT_SHIFT)
#define LINK_END       ((uint64_t)UINT32_MAX << 32)

struct memtable_node {
    uint64_t tag; /* from prepare to insert: the key's bits, its print, the kind */
    uint32_t key_size;
    uint32_t value_size;
    unsigned char bytes[]; /* key, value, up to 7 bytes of nothing */
};
_Static_assert(sizeof(struct memtable_node) == 16, "an entry's head counts in the arena");

struct leaf {
    _Atomic uint64_t slots[LEAF_SLOTS];
    /* A byte of each key's hash, so that a look-up reads no other entries even where their bits are
     * equal. Written after the slot; 0 while it is not known. */
    _Atomic uint8_t prints[LEAF_SLOTS];
    _Atomic uint8_t filled; /* a hint: at least so many slots are */
    uint8_t sorted;
};
_Static_assert(sizeof(struct leaf) == 256, "a leaf is four lines");

/* Its links stand before it, the lowest the nearest. */
struct stand {
    uint64_t separator;    /* a link; 0 for the head, which is before everything */
    _Atomic uint32_t leaf; /* offset */
    uint32_t height;
};

struct mapping {
    char *pages;
    size_t size;
    size_t touched; /* bytes written at most in one life; 0 when fresh */
};

/* Pieces that lost a race before anybody saw them, by height; leaves at 0. */
struct spares {
    struct mutex mu;
    uint32_t first[LEVEL_MAX + 1];
    _Atomic uint32_t count;
};

struct memtable {
    /* Constant after memtable_new. */
    char *base;
    _Atomic uint64_t *filter;
    uint64_t filter_words;
    uint64_t entries_start, stands_start; /* from base; leaves grow down from stands_start */
    uint64_t room;                        /* for entries and their tolls */
    uint64_t bytes;                       /* of room, when it counts as full */
    uint64_t id;
    struct mapping mapping;
    /* The share of 2^16 that a byte has in the bits, and what the bytes below it have. */
    struct byte_weight {
        uint16_t below, own;
    } weights[256];
    struct epoch_item retired;

    /* Atomic; lines with different writers. */
    _Alignas(LINE_BYTES) _Atomic uint64_t taken;  /* entries and bytes; may pass the room by what failed */
    _Alignas(LINE_BYTES) _Atomic uint64_t linked; /* entries, and bytes of keys and values */
    _Alignas(LINE_BYTES) _Atomic uint64_t leaf_bytes;
    _Atomic uint64_t stand_bytes;
    _Alignas(LINE_BYTES) _Atomic uint64_t layers[LAYER_WORDS];
    _Alignas(LINE_BYTES) _Atomic uint32_t refs;
    _Atomic(struct rangedel_set *) rangedels; /* replaced whole (release; read by acquire) */

    struct spares spares;
    struct mutex rangedel_mu; /* who replaces rangedels */
    struct mutex shared_mu;   /* who makes shared known */
    _Atomic uint32_t
        shared_size; /* SHARED_UNKNOWN until the first entry is prepared (release; read by acquire) */
    unsigned char shared[];
};

/* A place to look for: (key, tag), and the key's bits. */
struct target {
    helios_slice key;
    uint64_t tag;
    uint32_t bits;
};

/* A stand's leaf and the stand that ends it, seen together as the rule above says. */
struct span {
    uint64_t stand, next; /* links */
    const struct leaf *leaf;
};

static inline void *place_at(const struct memtable *m, uint64_t link)
{
    return m->base + (uint64_t)(uint32_t)link * UNIT;
}

static inline uint32_t place_offset(const struct memtable *m, const void *place)
{
    return (uint32_t)((uint64_t)((const char *)place - m->base) / UNIT);
}

static inline struct memtable_node *node_at(const struct memtable *m, uint64_t link)
{
    return place_at(m, link);
}
static inline struct stand *stand_at(const struct memtable *m, uint64_t link)
{
    return place_at(m, link);
}
static inline bool link_is_end(uint64_t link)
{
    return (uint32_t)link == 0;
}
static inline uint32_t link_bits(uint64_t link)
{
    return (uint32_t)(link >> 32);
}

static inline helios_slice node_key(const struct memtable_node *node)
{
    return slice_make(node->bytes, node->key_size);
}

static inline helios_slice node_value(const struct memtable_node *node)
{
    return slice_make(node->bytes + node->key_size, node->value_size);
}

static inline _Atomic uint64_t *stand_link(struct stand *stand, unsigned level)
{
    return (_Atomic uint64_t *)stand - 1 - level;
}

/* Acquire, as for slots: pairs with the release that linked; what a link leads to is complete. */
static inline uint64_t stand_next(const struct memtable *m, uint64_t link, unsigned level)
{
    return atomic_load_explicit(stand_link(stand_at(m, link), level), memory_order_acquire);
}

static inline uint64_t leaf_slot(const struct leaf *leaf, unsigned i)
{
    return atomic_load_explicit(&leaf->slots[i], memory_order_acquire);
}

static inline int entry_compare(const struct memtable *m, uint64_t link, const struct target *t)
{
    const struct memtable_node *node = node_at(m, link);

    if (link_bits(link) != t->bits)
        return link_bits(link) < t->bits ? -1 : 1;
    return key_compare(node_key(node), node->tag, t->key, t->tag);
}

uint32_t memtable_key_bits(const struct memtable *m, helios_slice key);

static inline struct target target_make(const struct memtable *m, helios_slice key, uint64_t tag)
{
    return (struct target){key, tag, memtable_key_bits(m, key)};
}

static inline struct target target_of(const struct memtable *m, uint64_t link)
{
    return (struct target){node_key(node_at(m, link)), node_at(m, link)->tag, link_bits(link)};
}

/* The tag of the newest version that a reader at seq may see. */
static inline uint64_t tag_newest(helios_seq seq)
{
    return seq < SEQ_MAX ? tag_at(seq) : TAG_MAX;
}

/* index.c. The span that the target belongs to: its stand's separator is at or before the target, the
 * next one's behind. */
void index_init(struct memtable *m);
struct span memtable_find_span(const struct memtable *m, const struct target *t);
struct span index_first(const struct memtable *m);
struct span index_last(const struct memtable *m);
struct span index_span(const struct memtable *m, uint64_t stand);
/* The live entries of the span in order; returns how many, 0 only for the head's. prints may be NULL. */
unsigned index_sort(const struct memtable *m, const struct span *span, uint64_t links[LEAF_SLOTS],
                    uint8_t prints[LEAF_SLOTS]);
void index_insert(struct memtable *m, const struct target *t, uint64_t own, uint8_t print,
                  struct memtable_hint *hint);

/* Of other bits of the hash than the filter uses; never 0. */
static inline uint8_t print_of(uint64_t hash)
{
    uint8_t print = (uint8_t)(hash >> 24);

    return print ? print : 1;
}

static inline uint64_t filter_mask(uint64_t hash)
{
    return UINT64_C(1) << (hash & 63) | UINT64_C(1) << (hash >> 6 & 63) | UINT64_C(1) << (hash >> 12 & 63) |
           UINT64_C(1) << (hash >> 18 & 63);
}

static inline _Atomic uint64_t *filter_word(const struct memtable *m, uint64_t hash)
{
    return &m->filter[(hash >> 32) * m->filter_words >> 32];
}

static inline bool filter_may_hold(const struct memtable *m, uint64_t hash)
{
    uint64_t mask = filter_mask(hash);

    return (atomic_load_explicit(filter_word(m, hash), memory_order_relaxed) & mask) == mask;
}

/* The bit of a layer: its number in the line of bits. */
static inline unsigned layer_bit(const void *layer)
{
    uint64_t number = (uint64_t)get_u32_be(layer) << 8 | ((const unsigned char *)layer)[4];

    return (unsigned)(number * UINT64_C(0x9E3779B97F4A7C15) >> 55);
}
_Static_assert(LAYER_WORDS * 64 == 1 << (64 - 55), "layer_bit ends where the line does");

#endif
