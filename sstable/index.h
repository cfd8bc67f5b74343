/* index.h - where the blocks of a table stand and which keys they hold: the drawing of an index image is
 * in table.h. Used by the writer, which makes images, and by the open table, which searches them.
 *
 * Three images share the form: a partition (an entry is a data block), the top index (an entry is a
 * partition) and the history index (an entry is a history block). An entry's key is a separator: at
 * or above the last key of its block, below the first key of the next; only in the history index may it
 * be the first key of the next too, and then last_tag decides. It may be shorter than a layer. */
#ifndef HELIOS_SSTABLE_INDEX_H
#define HELIOS_SSTABLE_INDEX_H
#include "sstable/format.h"

enum {
    INDEX_COUNT = 0,
    INDEX_SIZE = 4,
    INDEX_OFFSET_WIDTH = 8,
    INDEX_ZERO = 9,
    INDEX_HEADER_SIZE = 16,
    INDEX_ENTRY_SIZE = 40,
    INDEX_PARTITION_BYTES = 64 * 1024, /* of a partition's image: where it is cut */
};

struct index_entry {
    struct block_handle handle;
    helios_seq seq_max; /* largest version in the block, or in all blocks of the partition */
    uint64_t last_tag;  /* tag of its last entry */
    uint32_t entries;   /* in the block, or in all blocks of the partition; > 0 */
    uint32_t tombstones;
};

/* ---- building ---- */

/* Holds the entries of a whole table; images are made of stretches of them. */
struct index_builder {
    helios_buf entries, key_ends, keys; /* as in an image; key_ends count from the first entry of all */
    uint32_t count;
};
/* {0} to start. Separators ascending, with equal ones last_tag descending (asserted). */
helios_status index_builder_add(struct index_builder *, helios_slice separator,
                                const struct index_entry *) CHECKED;
/* How many entries from `from` on fit an image of `bytes`; at least one while there are any. */
uint32_t index_builder_fit(const struct index_builder *, uint32_t from, size_t bytes);
/* The image of entries [from, from + count), count > 0, into `image` (replaced). HELIOS_LIMIT if it would
 * be larger than a block may be. `sum`: what an entry of the level above says of it but for the handle;
 * `separator`: of the last entry, borrowed from the builder. Both may be NULL. */
helios_status index_builder_encode(const struct index_builder *, uint32_t from, uint32_t count,
                                   helios_buf *image, struct index_entry *sum, helios_slice *separator) CHECKED;
size_t index_builder_bytes(const struct index_builder *); /* of one image of all entries */
void index_builder_release(struct index_builder *);

/* ---- reading ---- */

struct index {
    uint32_t count;                                 /* > 0 */
    uint32_t size;                                  /* of the image */
    const unsigned char *entries, *key_ends, *keys; /* borrowed from the image */
    helios_slice shared;                            /* what all separators begin with; borrowed */
    uint64_t *prefixes; /* count: eight bytes of each separator behind the shared ones; owned */
};

/* One pass that checks everything but where the blocks stand (block_read does). The image must outlive
 * the index. path and offset are for the sentence of HELIOS_CORRUPT. */
helios_status index_open(const void *image, size_t size, const char *path, uint64_t offset,
                         struct index *) CHECKED;
void index_release(struct index *);        /* also of a zeroed one */
size_t index_memory(const struct index *); /* beside the image */

/* The first entry whose separator >= key: whose block holds key if any does. count if none. */
uint32_t index_find(const struct index *, helios_slice key);
/* The first entry whose (separator, last_tag) is at or after (key, tag) in internal order; count if none. */
uint32_t index_find_tag(const struct index *, helios_slice key, uint64_t tag);

static inline const unsigned char *index_at_(const struct index *index, uint32_t i)
{
    return index->entries + (size_t)i * INDEX_ENTRY_SIZE;
}
static inline struct block_handle index_handle(const struct index *index, uint32_t i)
{
    return handle_get(index_at_(index, i));
}
static inline helios_seq index_seq_max(const struct index *index, uint32_t i)
{
    return get_u64(index_at_(index, i) + 16);
}
static inline uint64_t index_last_tag(const struct index *index, uint32_t i)
{
    return get_u64(index_at_(index, i) + 24);
}
static inline uint32_t index_entries(const struct index *index, uint32_t i)
{
    return get_u32(index_at_(index, i) + 32);
}
static inline uint32_t index_tombstones(const struct index *index, uint32_t i)
{
    return get_u32(index_at_(index, i) + 36);
}
static inline helios_slice index_key(const struct index *index, uint32_t i)
{
    uint32_t from = i ? get_u32(index->key_ends + (size_t)(i - 1) * 4) : 0;

    return slice_make(index->keys + from, get_u32(index->key_ends + (size_t)i * 4) - from);
}

/* Whether (key, tag) is at or before the end of block i, as its separator tells. */
static inline bool index_reaches(const struct index *index, uint32_t i, helios_slice key, uint64_t tag)
{
    return key_compare(index_key(index, i), index_last_tag(index, i), key, tag) >= 0;
}

#endif
