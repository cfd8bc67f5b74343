/* memtable_internal.h - nodes, links and the search, for memtable.c, cursor.c and check.c.
 *
 * One mapping, all of it addressed from `base`, which is the head's place:
 *
 *   | head's links | filter | arena: node, node, ...                          |
 *                  ^ base
 *
 *   node:  | link[h-1] .. link[1] | link[0] | tag | key size, h | value size | key | value | pad to 8 |
 *                                           ^ its offset, in units of 8 bytes from base
 *
 * so that a search that moves to a node reads one line of it, as a rule. The head has offset 0, which
 * as a link means the end of the list: the head follows nobody. */
#ifndef HELIOS_MEMTABLE_INTERNAL_H
#define HELIOS_MEMTABLE_INTERNAL_H
#include "base/thread.h"
#include "memtable/memtable.h"
#include <assert.h>

enum {
    NODE_UNIT = 8,
    KEY_SIZE_BITS = 24,
    LAYER_WORDS = 8, /* a line of bits says which layers may be there */
    LINE_BYTES = 64,
};

/* Sorts behind every target but those whose bits are all ones. */
#define LINK_END ((uint64_t)UINT32_MAX << 32)

struct memtable_node {
    uint64_t tag;      /* from prepare to insert: 56 bits of the key's hash, and the kind */
    uint32_t key_size; /* and the height above KEY_SIZE_BITS */
    uint32_t value_size;
    unsigned char bytes[];
};
_Static_assert(sizeof(struct memtable_node) == 16, "the node's size counts in the arena");
_Static_assert(KEY_BYTES_MAX < 1 << KEY_SIZE_BITS, "a key's size and the height share a word");

struct mapping {
    char *pages;
    size_t size;
    size_t touched; /* up to here pages have been written in some life */
};

struct memtable {
    /* Constant after memtable_new. */
    char *base;
    _Atomic uint64_t *filter;
    uint64_t filter_words;
    uint64_t arena_start; /* from base */
    uint64_t arena_size;  /* with the reserve */
    uint64_t bytes;       /* of arena, when it counts as full */
    uint64_t id;
    struct mapping mapping;
    helios_slice shared;
    /* The share of 2^16 that a byte has in key_bits, and what the bytes below it have. */
    struct byte_weight { uint16_t below, own; } weights[256];
    struct epoch_item retired;

    /* Atomic; each line has its own writers. */
    _Alignas(LINE_BYTES) _Atomic uint64_t used; /* of the arena; may pass its end by what failed */
    _Alignas(LINE_BYTES) _Atomic uint64_t linked; /* entries above LINKED_BYTES_BITS, key and value bytes */
    _Alignas(LINE_BYTES) _Atomic uint64_t layers[LAYER_WORDS];
    _Alignas(LINE_BYTES) _Atomic uint32_t refs;
    _Atomic(struct rangedel_set *) rangedels; /* replaced whole (release; read by acquire) */

    struct mutex rangedel_mu; /* who replaces rangedels */
    unsigned char shared_bytes[];
};

enum { LINKED_BYTES_BITS = 34 };

/* What a search looks for: the place of (key, tag). */
struct target {
    helios_slice key;
    uint64_t tag;
    uint32_t bits;
};

uint32_t memtable_key_bits(const struct memtable *m, helios_slice key);

static inline struct memtable_node *node_at(const struct memtable *m, uint64_t link)
{
    return (struct memtable_node *)(m->base + (uint64_t)(uint32_t)link * NODE_UNIT);
}

static inline _Atomic uint64_t *node_link(struct memtable_node *node, unsigned level)
{
    return (_Atomic uint64_t *)node - 1 - level;
}

/* Acquire: pairs with the release in memtable_insert, so that what a link leads to is complete. */
static inline uint64_t node_next(const struct memtable *m, uint64_t link, unsigned level)
{
    return atomic_load_explicit(node_link(node_at(m, link), level), memory_order_acquire);
}

static inline bool link_is_end(uint64_t link) { return (uint32_t)link == 0; }
static inline uint32_t link_bits(uint64_t link) { return (uint32_t)(link >> 32); }

static inline unsigned node_height(const struct memtable_node *node) { return node->key_size >> KEY_SIZE_BITS; }

static inline helios_slice node_key(const struct memtable_node *node)
{
    return slice_make(node->bytes, node->key_size & ((1u << KEY_SIZE_BITS) - 1));
}

static inline helios_slice node_value(const struct memtable_node *node)
{
    return slice_make(node->bytes + node_key(node).size, node->value_size);
}

static inline struct target target_make(const struct memtable *m, helios_slice key, uint64_t tag)
{
    return (struct target){key, tag, memtable_key_bits(m, key)};
}

/* Whether the node stands before the target; asked when the bits are equal. */
static inline bool node_before(const struct memtable *m, uint64_t link, const struct target *t)
{
    const struct memtable_node *node = node_at(m, link);

    return key_compare(node_key(node), node->tag, t->key, t->tag) < 0;
}

/* Moves *at to the last node before the target on this level and returns the link that leads on.
 * beyond: a node known to stand at or after the target, 0 at first; it spares comparing that node
 * again on each level below. */
static inline uint64_t level_walk(const struct memtable *m, const struct target *t, unsigned level, uint64_t *at,
                                  uint32_t *beyond)
{
    for (;;) {
        uint64_t link = node_next(m, *at, level);

        if (link_bits(link) > t->bits || (uint32_t)link == *beyond)
            return link;
        if (link_bits(link) == t->bits && (link_is_end(link) || !node_before(m, link, t))) {
            *beyond = (uint32_t)link;
            return link;
        }
        *at = link;
    }
}

/* The link to the first node at or after the target; *before gets the one to the last before it. */
static inline uint64_t memtable_search(const struct memtable *m, const struct target *t, uint64_t *before)
{
    uint64_t at = 0, link = LINK_END;
    uint32_t beyond = 0;

    for (unsigned level = MEMTABLE_HEIGHT_MAX; level-- > 0;)
        link = level_walk(m, t, level, &at, &beyond);
    *before = at;
    return link;
}

static inline uint64_t filter_mask(uint64_t hash)
{
    return UINT64_C(1) << (hash >> 8 & 63) | UINT64_C(1) << (hash >> 14 & 63) | UINT64_C(1) << (hash >> 20 & 63) |
           UINT64_C(1) << (hash >> 26 & 63);
}

/* The low 8 bits of the hash are not used: in a prepared node the kind stands there. */
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

static inline void bits_set(_Atomic uint64_t *word, uint64_t mask)
{
    if ((atomic_load_explicit(word, memory_order_relaxed) & mask) != mask)
        atomic_fetch_or_explicit(word, mask, memory_order_relaxed);
}

#endif
