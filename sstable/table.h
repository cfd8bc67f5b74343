/* table.h - sorted tables: the writer, the open table, its cursor.
 *
 * File sst/<number, 8 decimal digits>.sst, in this order:
 *   file header | data, history and value blocks as they fill | index partitions | filter |
 *   range deletes | history index | top index | properties | footer
 * Data blocks hold the newest version in this table of each key, each key once; older ones are in
 * history blocks, sorted by key and descending version. docs/format.md has every byte.
 *
 * Index image (partitions, top, history): u32 count, u32 size, u8 offset_width = 4, 7 zero bytes, then
 * entries count x 40 bytes { u64 offset, u32 stored, u32 size, u64 largest seq, u64 last tag, u32 entries,
 * u32 tombstones }, key ends count x u32, keys. The key of an entry is a separator: at or above the last
 * key of its block and below the first key of the next (equal only between versions in history, where
 * the last tag decides). An entry of the top index is a partition. A small table has one partition. */
#ifndef HELIOS_SSTABLE_TABLE_H
#define HELIOS_SSTABLE_TABLE_H
#include "base/crypt.h"
#include "base/cursor.h"
#include "base/file_header.h"
#include "base/rangedel.h"
#include "io/io.h"
#include "sstable/cache.h"

enum {
    LARGE_VALUE_BYTES = 256 * 1024, /* above: a block of its own */
    TABLE_FOOTER_SIZE = 128,
    TABLE_LAYERS_MAX = 64, /* more layers than this are not listed: "many" */
};

/* What a table says of itself; in its properties block and, mostly, in the manifest. */
struct table_properties {
    uint64_t entries; /* versions, tombstones included; in data and history blocks */
    uint64_t keys;    /* distinct: entries of data blocks */
    uint64_t tombstones;
    uint64_t range_deletes;
    uint64_t key_bytes, value_bytes; /* before compression, all entries */
    uint64_t data_bytes, history_bytes, index_bytes, filter_bytes, value_block_bytes; /* as stored */
    helios_seq seq_min, seq_max; /* over entries and range deletes */
    uint64_t time_min, time_max; /* of the commits, as given by the writer's owner; 0 unknown */
    uint64_t history_seq_max;    /* largest version in history blocks; 0: none */
    uint64_t shadow_min;         /* smallest version that shadows one in this table; 0: none */
};

/* ---- writing ---- */

struct table_writer_options {
    struct io_fs *fs;
    struct crypt *crypt; /* NULL: not encrypted */
    const char *path;
    uint64_t number;
    uint32_t block_bytes;
    double filter_bits_per_key; /* 0: no filter */
    helios_compression compression;
    int zstd_level;
    uint64_t time_min, time_max;
    void (*pace)(void *arg, size_t bytes); /* called before bytes are written; may sleep; NULL: none */
    void *pace_arg;
};
struct table_writer;
/* What the finished table is, for the manifest. Slices are owned by the result: table_result_release. */
struct table_result {
    uint64_t number, size;
    helios_slice smallest,
        largest;            /* keys with layer, widened by range deletes (largest: their exclusive end) */
    bool largest_exclusive; /* largest is the end of a range delete, not a key of the table */
    struct table_properties properties;
    char *memory; /* behind the slices */
};
void table_result_release(struct table_result *);

helios_status table_writer_new(const struct table_writer_options *, struct table_writer **) CHECKED;
/* In internal order: key ascending, tag descending. The first version of a key goes to a data block, the
 * others to history blocks. Large values are written at once. */
helios_status table_writer_add(struct table_writer *, helios_slice key, uint64_t tag,
                               helios_slice value) CHECKED;
/* Any order; those that come before the entries they cover also count for shadow_min. */
helios_status table_writer_add_rangedel(struct table_writer *, const struct rangedel *) CHECKED;
uint64_t table_writer_size(const struct table_writer *); /* estimate of the file if finished now */
uint64_t table_writer_entries(const struct table_writer *);
/* Writes the rest and syncs the file (not its directory). */
helios_status table_writer_finish(struct table_writer *, struct table_result *) CHECKED;
void table_writer_free(struct table_writer *); /* unfinished: removes the file */

/* ---- the open table ---- */

struct table;
/* Reads and checks header, footer, properties, top index, filter, range deletes; and the one partition
 * of a small table. size: recorded length, the file's must equal it. override_seq: not 0 for an ingested table, all of whose versions read
 * as this number. Starts with one reference. */
helios_status table_open(struct io_fs *, struct crypt *, const char *path, uint64_t number, uint64_t size,
                         helios_seq override_seq, struct cache *, struct table **) CHECKED;
struct table *table_ref(struct table *);
/* The last one closes the file and gives back its blocks; call without locks. */
void table_unref(struct table *);
/* Gives up a count on a table that others may see inside their epochs. What it charged is given back at once. */
void table_retire(struct table *);
const struct table_properties *table_properties(const struct table *);
struct rangedel_set *table_rangedels(const struct table *); /* NULL: none; lives as long as the table */
/* May it hold keys or range deletes of the layer that key begins with? */
bool table_has_layer(const struct table *, helios_slice key);
size_t table_memory(const struct table *); /* index, filter, slots: charged to the cache's budget */

enum table_found { TABLE_ABSENT, TABLE_FOUND, TABLE_WOULD_READ, TABLE_ERROR };
struct table_hit {
    uint64_t tag;
    helios_slice value;  /* borrowed from the frame; size right and data NULL if large */
    struct frame *frame; /* may_read: counted, the caller unrefs it; else NULL: the epoch holds it */
    bool large;
    struct block_handle large_at;
    helios_status status; /* TABLE_ERROR: what, sentence set */
};
/* The newest version of key numbered at or below seq in this table. hash = hash_key(key). Without
 * may_read: inside an epoch, never does I/O, TABLE_WOULD_READ if it had to. With: outside any epoch. */
enum table_found table_get(struct table *, helios_slice key, uint64_t hash, helios_seq seq, bool may_read,
                           bool fill_cache, struct table_hit *);
/* The filter alone, for who asks many: its line, and whether it may hold the key; false is certain. */
void table_prefetch(const struct table *, uint64_t hash);
bool table_may_hold(const struct table *, uint64_t hash);
/* A large value into the caller's buffer, verified. */
helios_status table_read_large(struct table *, const struct block_handle *, helios_buf *value) CHECKED;

struct table_cursor_options {
    helios_seq read_point; /* CURSOR_ALL: every version */
    /* At a read point only: keys whose version there is at or below this are passed over, forward without loading
     * blocks that have none above it; 0: no key is. */
    helios_seq since;
    /* Forward it may end when all that is left is at or above; no data: open. Borrowed for the cursor's life,
     * but level_cursor_new copies it. */
    helios_slice upper;
    bool fill_cache;
    size_t read_ahead; /* bytes: compaction reads ahead outside the cache; 0: through the cache */
};
/* Holds a reference on the table and on the frames it stands on. */
helios_status table_cursor_new(struct table *, const struct table_cursor_options *, struct cursor **) CHECKED;

/* Estimated bytes of the file before key: difference of two gives a range's size. */
uint64_t table_offset_of(struct table *, helios_slice key);
/* Reads and checks every block, order across blocks, filter for every key, counts against the
 * properties. Any thread; outside the cache. */
helios_status table_verify(struct table *) CHECKED;

/* For dump: calls block(arg, type, handle, count, first key, last key, image) for each block in file order. */
struct table_block_info {
    enum block_type type;
    struct block_handle handle;
    helios_compression compression;
    uint32_t count;
};
helios_status table_each_block(struct io_fs *, const char *path,
                               helios_status (*block)(void *arg, const struct table_block_info *,
                                                      helios_slice image),
                               void *arg) CHECKED;

#endif
