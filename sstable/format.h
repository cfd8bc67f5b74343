/* format.h - the small parts of a table file: handles, footer, properties, range deletes. Shared by
 * the writer and the open table; docs/format.md has every byte.
 *
 * Footer, the last 128 bytes of a table; xxh3 covers [0, 112), salted, bound to the footer's offset. A
 * handle of zeros: there is no such block.
 *   0        16              32              48          64           80        84    100    112    120
 *   | filter | range deletes | history index | top index | properties | version | tag | zero | xxh3 | magic |
 *
 * tag: of an encrypted table, over all before it; else zero.
 * Handle: u64 offset, u32 stored, u32 size. */
#ifndef HELIOS_SSTABLE_FORMAT_H
#define HELIOS_SSTABLE_FORMAT_H
#include "base/rangedel.h"
#include "sstable/block.h"
#include "sstable/table.h"

enum {
    HANDLE_SIZE = 16,
    FOOTER_FILTER = 0,
    FOOTER_RANGE_DELETES = 16,
    FOOTER_HISTORY_INDEX = 32,
    FOOTER_TOP_INDEX = 48,
    FOOTER_PROPERTIES = 64,
    FOOTER_VERSION = 80,
    FOOTER_TAG = 84,
    FOOTER_ZERO = 100,
    FOOTER_XXH3 = 112,
    FOOTER_MAGIC = 120,
};
_Static_assert(FOOTER_MAGIC + 8 == TABLE_FOOTER_SIZE, "the magic ends the file");
#define MAGIC_FOOTER "HELIOSTE"

static inline void handle_put(void *at, const struct block_handle *handle)
{
    put_u64(at, handle->offset);
    put_u32((unsigned char *)at + 8, handle->stored);
    put_u32((unsigned char *)at + 12, handle->size);
}
static inline struct block_handle handle_get(const void *at)
{
    const unsigned char *bytes = at;

    return (struct block_handle){get_u64(bytes), get_u32(bytes + 8), get_u32(bytes + 12)};
}
static inline bool handle_is_none(const struct block_handle *handle)
{
    return handle->offset == 0;
}
/* What a block takes in its file. */
static inline uint64_t handle_bytes(const struct block_handle *handle)
{
    return (uint64_t)handle->stored + BLOCK_TRAILER_SIZE;
}

/* Only properties is always there; top index: none in a table of range deletes alone. */
struct table_footer {
    struct block_handle filter, range_deletes, history_index, top_index, properties;
};
helios_status footer_encode(const struct table_footer *, uint64_t salt, const struct crypt_file *,
                            uint64_t offset, unsigned char out[TABLE_FOOTER_SIZE]) CHECKED;
/* HELIOS_CORRUPT for magic, checksum, or handles that are not within the file before the footer (which
 * stands at `offset`); HELIOS_UNSUPPORTED for a newer version. */
helios_status footer_decode(const unsigned char in[TABLE_FOOTER_SIZE], uint64_t salt, const struct crypt_file *,
                            uint64_t offset, const char *path, struct table_footer *) CHECKED;

/* What the properties block holds: items of varint tag, varint size, size bytes, tags ascending; a number
 * is a varint that fills its item; unknown tags are skipped; a number that is not there is zero. */
struct table_summary {
    struct table_properties properties;
    helios_slice smallest, largest; /* widened by range deletes; decoded ones are borrowed from the image */
    bool largest_exclusive;         /* largest is the end of a range delete */
    bool layers_many;               /* more than TABLE_LAYERS_MAX, none are listed */
    uint32_t layer_count;
    const unsigned char *layers; /* layer_count x KEY_LAYER_BYTES, ascending; borrowed likewise */
};
helios_status properties_encode(const struct table_summary *, helios_buf *image) CHECKED; /* replaced */
helios_status properties_decode(const void *image, size_t size, const char *path, uint64_t offset,
                                struct table_summary *) CHECKED;
/* May the table hold keys or range deletes of the layer that key begins with? Key of at least a layer. */
bool table_summary_has_layer(const struct table_summary *, helios_slice key);

/* The range-delete block: u32 count (> 0), then items: varint size and bytes of `from`, likewise `to`,
 * varint seq; in any order. The items are not cut at each other's ends: reading does that. */
helios_status rangedels_append(helios_buf *image, const struct rangedel *) CHECKED; /* {0} to start */
helios_status rangedels_decode(const void *image, size_t size, const char *path, uint64_t offset,
                               struct rangedel_set **) CHECKED;

#endif
