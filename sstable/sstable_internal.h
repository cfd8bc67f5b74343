/* sstable_internal.h - what the reading files of this room share: the open table, blocks read ahead
 * outside the cache, the table cursor that a level cursor moves from table to table. */
#ifndef HELIOS_SSTABLE_INTERNAL_H
#define HELIOS_SSTABLE_INTERNAL_H
#include "base/buf.h"
#include "sstable/filter.h"
#include "sstable/format.h"
#include "sstable/index.h"
#include "sstable/table.h"
#include <inttypes.h>

/* ---- the open table (table.c) ---- */

/* The blocks under one index image, a partition's or the history's, with their slots. Constant but for
 * the slots. */
struct table_part {
    struct index index;
    void *image;
    enum block_type type; /* of its blocks: DATA, HISTORY */
    cache_slot slots[];   /* index.count */
};

struct table {
    /* Constant after open. */
    struct io_file *file;
    struct cache *cache;
    uint64_t number, size, salt;
    struct crypt_file crypt;
    helios_seq override_seq;
    helios_seq seq_min, seq_max; /* as read: with override_seq, that */
    struct filter filter;
    struct index top;           /* count 0: no keys */
    struct table_part *history; /* NULL: none */
    struct rangedel_set *rangedels;
    struct table_properties properties;
    struct table_summary summary; /* borrows from properties_image */
    struct table_footer footer;
    void *filter_image, *top_image, *properties_image;
    _Atomic uint64_t *regions; /* a bit each: it was asked for ahead (table_read_region) */
    /* Atomic. */
    _Atomic uint32_t refs;
    _Atomic size_t memory;
    struct epoch_item retired;
    _Atomic(struct table_part *) parts[]; /* top.count; NULL until first used, then for good */
};

/* Before a block is read that is not in the cache: the region of the file around it, once in the table's life. */
enum { TABLE_REGION_BYTES = 256 * 1024 };
void table_read_region(struct table *, uint64_t offset);
/* The n-th partition, read at its first use. Outside any epoch. */
helios_status table_part_get(struct table *, uint32_t n, struct table_part **) CHECKED;
/* The block of the part, counted. */
helios_status table_block_get(struct table *, struct table_part *, uint32_t block, bool fill,
                              struct frame **) CHECKED;
/* Which handle the value of a BLOCK_LARGE entry is; checked against the file. */
helios_status table_large_handle(const struct table *, helios_slice value, struct block_handle *) CHECKED;
/* Whoever sees a key may look at its layer, so none is shorter. */
static inline helios_status block_check_layers(const struct block *b, const char *path, uint64_t offset)
{
    if (b->shared_size >= KEY_LAYER_BYTES)
        return HELIOS_OK;
    for (uint32_t i = 0; i < b->count; i++)
        if (b->shared_size + block_suffix(b, i).size < KEY_LAYER_BYTES)
            return fail_corrupt("%s: block at %" PRIu64 ": a key without a layer", path, offset);
    return HELIOS_OK;
}

/* ---- blocks outside the cache (block_reader.c) ---- */

/* Blocks of one kind read one after the other, several by one read: for compaction and verify. What
 * stands between two of them (the other kind's blocks) is read along while it is short. */
struct block_reader {
    struct table *table;
    size_t read_ahead;
    unsigned char *buffer; /* of the file, from buffer_offset on */
    size_t buffer_size, buffer_capacity;
    uint64_t buffer_offset;
    unsigned char *image, *room; /* room: of an encrypted table, what is between the two */
    size_t image_capacity, room_capacity;
    struct block block; /* in image; until the next get */
};
void block_reader_init(struct block_reader *, struct table *, size_t read_ahead);
void block_reader_release(struct block_reader *);
helios_status block_reader_get(struct block_reader *, const struct table_part *, uint32_t block) CHECKED;

/* ---- the cursor (table_cursor.c) ---- */

/* Where a cursor stands in the data blocks, or in the history blocks. */
struct cursor_side {
    struct table_part *part;
    uint32_t part_number;
    uint32_t number;           /* of the block in its part */
    uint32_t at;               /* entry in the block; its count: before the next block */
    const struct block *block; /* NULL: nowhere */
    struct frame *frame;       /* counted; NULL when read ahead */
    struct block_reader reader;
    uint64_t miss_from, miss_to;   /* where the last block stood that was not in the cache */
    uint64_t fetch_from, fetch_to; /* what was asked for ahead */
    uint32_t misses;               /* in sequence */
    uint32_t window;
};

enum cursor_mode {
    MODE_PLAIN, /* every newest version is visible: history is never looked at */
    MODE_POINT, /* some may be newer than the read point */
    MODE_ALL,   /* every version */
    MODE_NONE,  /* all are newer than the read point, or passed over */
};

struct table_cursor {
    struct cursor base;
    struct table *table; /* NULL: attached to none */
    struct table_cursor_options options;
    enum cursor_mode mode;
    bool in_history;     /* the entry shown is history's */
    bool approached;     /* data.part, data.part_number, data.number are where the next seek leads */
    bool history_placed; /* over all versions: history stands where the data block's key begins */
    /* The data block's, found when it was loaded. */
    bool wide_keys; /* 16 bytes may be read from any key suffix on */
    bool wide_seqs; /* 8 bytes from any version on */
    uint64_t seq_base, seq_mask;
    struct cursor_side data, history;
    unsigned char *key; /* begins with the data block's shared bytes */
    size_t key_capacity;
    helios_buf large;
    struct error_note error;
};

void table_cursor_init(struct table_cursor *, const struct table_cursor_options *);
void table_cursor_release(struct table_cursor *);
/* Moves the cursor to another table, NULL: none; it is invalid then. */
void table_cursor_attach(struct table_cursor *, struct table *);
void table_cursor_fail(struct table_cursor *, helios_status); /* sentence set */
void table_cursor_first(struct table_cursor *);
void table_cursor_last(struct table_cursor *);
void table_cursor_seek(struct table_cursor *, helios_slice key, uint64_t tag);
void table_cursor_approach(struct table_cursor *, helios_slice key, unsigned stage);
void table_cursor_seek_for_prev(struct table_cursor *, helios_slice key);
void table_cursor_next(struct table_cursor *);
void table_cursor_prev(struct table_cursor *);
helios_status table_cursor_load(struct table_cursor *);

/* The frame in the slot, if there is one, and the first lines behind it, before it is looked at: an address is all that
 * is needed, so that neither whose frame it is by then nor where that ends matters. */
static inline void prefetch_frame(cache_slot *slot)
{
    enum { LINE = 64, BYTES = FRAME_BYTES + 7 * LINE };
    uintptr_t frame = (uintptr_t)atomic_load_explicit(slot, memory_order_relaxed);

    if (!frame)
        return;
    __builtin_prefetch((const void *)frame, 1);
    __builtin_prefetch((const void *)(frame + LINE), 1);
    for (size_t at = FRAME_BYTES; at < BYTES; at += LINE)
        __builtin_prefetch((const void *)(frame + at));
}

/* The columns of a block and its first keys, of which a search touches several lines one after the other:
 * asked for at once, they cost one wait instead of many. */
static inline void prefetch_columns(const struct block *b)
{
    enum { LINE = 64, BYTES_MAX = 16 * LINE };
    const unsigned char *from = b->key_ends, *to = b->values;

    if (to - from > BYTES_MAX)
        to = from + BYTES_MAX;
    for (; from < to; from += LINE)
        __builtin_prefetch(from);
}

#endif
