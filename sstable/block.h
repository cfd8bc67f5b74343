/* block.h - slotted blocks: the unit of a table that is read, checked and cached. Slotted means that
 * every entry is reached by arrays of offsets and nothing is decoded to find it.
 *
 * A data or history block, uncompressed, little-endian:
 *    0  u32 count          entries, > 0
 *    4  u32 size           of this whole image
 *    8  u32 shared         bytes that all keys begin with
 *   12  u8  offset_width   2 or 4
 *   13  u8  seq_width      0 to 8: bytes of each version, less seq_base
 *   14  u16 zero
 *   16  u64 seq_base
 *   24  shared key bytes
 *       key ends           count x offset_width: where each key suffix ends in the key area
 *       value ends         count x offset_width: likewise in the value area
 *       kinds              count x u8: enum key_kind | BLOCK_HAS_HISTORY | BLOCK_LARGE
 *       hashes             count x u8: the top byte of hash_key(whole key)
 *       versions           count x seq_width
 *       key suffixes       together
 *       values             together, to the end
 *
 * On disk: the image as it is, or by lz4 or zstd, followed by a trailer of 16 bytes:
 *    0 u8 compression | 1 u8 block type | 2 u16 zero | 4 u32 image size | 8 u64 xxh3 of the stored bytes and
 * the first 8 bytes of the trailer, salted by the file and bound to the block's offset. With the
 * encryption flag (not yet defined) a 16-byte tag follows. */
#ifndef HELIOS_SSTABLE_BLOCK_H
#define HELIOS_SSTABLE_BLOCK_H
#include "base/crypt.h"
#include "base/key.h"
#include "base/status.h"
#include "io/io.h"

enum {
    BLOCK_KIND_MASK = 0x3f,
    BLOCK_LARGE = 0x40,       /* the value is a handle of a block of its own in this file */
    BLOCK_HAS_HISTORY = 0x80, /* data blocks: older versions are in the history blocks */
    BLOCK_COUNT = 0,
    BLOCK_SIZE = 4,
    BLOCK_SHARED = 8,
    BLOCK_OFFSET_WIDTH = 12,
    BLOCK_SEQ_WIDTH = 13,
    BLOCK_ZERO = 14,
    BLOCK_SEQ_BASE = 16,
    BLOCK_HEADER_SIZE = 24,
    BLOCK_LARGE_SIZE = 16, /* of the handle that stands for a large value */
    BLOCK_TRAILER_SIZE = 16,
};
_Static_assert(BLOCK_SIZE == BLOCK_COUNT + 4 && BLOCK_SHARED == BLOCK_SIZE + 4 &&
                   BLOCK_OFFSET_WIDTH == BLOCK_SHARED + 4 && BLOCK_SEQ_WIDTH == BLOCK_OFFSET_WIDTH + 1 &&
                   BLOCK_ZERO == BLOCK_SEQ_WIDTH + 1 && BLOCK_SEQ_BASE == BLOCK_ZERO + 2 &&
                   BLOCK_HEADER_SIZE == BLOCK_SEQ_BASE + 8,
               "a block's fields follow each other without a gap");

enum block_type { /* zero is none */
                  BLOCK_DATA = 1,
                  BLOCK_HISTORY,
                  BLOCK_INDEX,
                  BLOCK_INDEX_TOP,
                  BLOCK_FILTER,
                  BLOCK_RANGE_DELETES,
                  BLOCK_PROPERTIES,
                  BLOCK_VALUE,
};

/* Where a block stands. */
struct block_handle {
    uint64_t offset;
    uint32_t stored; /* bytes on disk without the trailer */
    uint32_t size;   /* of the image */
};

/* A block's arrays found once, when it is loaded. Borrowed from the image. */
struct block {
    const unsigned char *image;
    uint32_t count, size;
    const unsigned char *shared;
    uint32_t shared_size;
    const unsigned char *key_ends, *value_ends, *kinds, *hashes, *versions, *keys, *values;
    uint64_t seq_base;
    uint8_t offset_width, seq_width;
};

/* ---- building ---- */
struct block_builder;
helios_status block_builder_new(struct block_builder **) CHECKED;
void block_builder_free(struct block_builder *);
/* In internal order (asserted). kind_bits: the kind with its flags. */
helios_status block_builder_add(struct block_builder *, helios_slice key, helios_seq seq, uint8_t kind_bits,
                                helios_slice value, uint64_t hash) CHECKED;
size_t block_builder_estimate(const struct block_builder *); /* of the image, now */
/* What adding this would add to it, or a little more. */
size_t block_builder_cost(const struct block_builder *, helios_slice key, size_t value_size);
uint32_t block_builder_count(const struct block_builder *);
/* Sets flags of the entry added last (BLOCK_HAS_HISTORY: known only when the next version comes). */
void block_builder_mark_last(struct block_builder *, uint8_t flags);
helios_slice block_builder_last_key(const struct block_builder *);
helios_seq block_builder_last_seq(const struct block_builder *);
uint64_t block_builder_last_tag(const struct block_builder *);
helios_seq block_builder_max_seq(const struct block_builder *);
/* The image, borrowed until the next add or reset. */
helios_status block_builder_finish(struct block_builder *, helios_slice *image) CHECKED;
void block_builder_reset(struct block_builder *);

/* ---- reading ---- */
/* One pass that checks everything: counts, ends in order and in bounds, kinds known, keys in order
 * (ascending; equal keys only with descending versions and only if `versions`). path and offset are
 * for the sentence of HELIOS_CORRUPT. */
helios_status block_open(const void *image, size_t size, bool versions, const char *path, uint64_t offset,
                         struct block *) CHECKED;

static inline uint32_t block_end_(const unsigned char *ends, uint32_t index, uint8_t width)
{
    return width == 2 ? get_u16(ends + (size_t)index * 2) : get_u32(ends + (size_t)index * 4);
}
/* The part of entry i's key behind the shared bytes. */
static inline helios_slice block_suffix(const struct block *b, uint32_t i)
{
    uint32_t from = i ? block_end_(b->key_ends, i - 1, b->offset_width) : 0;

    return slice_make(b->keys + from, block_end_(b->key_ends, i, b->offset_width) - from);
}
static inline helios_slice block_value(const struct block *b, uint32_t i)
{
    uint32_t from = i ? block_end_(b->value_ends, i - 1, b->offset_width) : 0;

    return slice_make(b->values + from, block_end_(b->value_ends, i, b->offset_width) - from);
}
static inline uint8_t block_kind_bits(const struct block *b, uint32_t i)
{
    return b->kinds[i];
}
static inline helios_seq block_seq(const struct block *b, uint32_t i)
{
    const unsigned char *at = b->versions + (size_t)i * b->seq_width;
    uint64_t delta = 0;

    if (b->seq_width == 0)
        return b->seq_base;
    if (b->image + b->size - at >= 8) /* one load and a mask; what lies behind belongs to the image */
        return b->seq_base + (get_u64(at) & (UINT64_MAX >> (64 - 8 * b->seq_width)));
    for (int byte = b->seq_width - 1; byte >= 0; byte--)
        delta = delta << 8 | at[byte];
    return b->seq_base + delta;
}
static inline uint64_t block_tag(const struct block *b, uint32_t i)
{
    return block_seq(b, i) << 8 | (b->kinds[i] & BLOCK_KIND_MASK);
}
/* Index of the first entry at or after (key, tag) in internal order; count if none. */
uint32_t block_lower_bound(const struct block *, helios_slice key, uint64_t tag);
/* The same, and cheap when it is a few entries from `near` (at most count). */
uint32_t block_lower_bound_near(const struct block *, helios_slice key, uint64_t tag, uint32_t near);
/* Index of the entry with exactly this key in a data block, through the hash column; count if none. */
uint32_t block_find(const struct block *, helios_slice key, uint64_t hash);

/* ---- on disk ---- */
enum { BLOCK_IMAGE_MAX = 64 << 20 }; /* of all types but BLOCK_VALUE and BLOCK_FILTER */

/* Reads, verifies, decompresses. The handle is checked against file_size and the limits before anything
 * is read, the checksum before the image is allocated. A filter's image stands on a cache line. */
helios_status block_read(struct io_file *, uint64_t file_size, uint64_t salt, const struct crypt_file *,
                         const struct block_handle *, enum block_type,
                         void **image) CHECKED; /* mem_free()d by the caller */
/* The same into memory of the caller's, got before anything is known but the handle: handle->size bytes and room for a
 * trailer, both undefined on failure. */
helios_status block_read_into(struct io_file *, uint64_t file_size, uint64_t salt, const struct crypt_file *,
                              const struct block_handle *, enum block_type, void *image) CHECKED;
/* The same into a buffer that is reused (it grows to the handle's size, its content is replaced, also on failure). */
helios_status block_read_buf(struct io_file *, uint64_t file_size, uint64_t salt, const struct crypt_file *,
                             const struct block_handle *, enum block_type, helios_buf *image) CHECKED;

/* The parts of it, for who has read the bytes already. A handle that can be: sizes within limits, block
 * and trailer between the file's header and its end. */
helios_status block_check_handle(const struct block_handle *, enum block_type, uint64_t file_size,
                                 const char *path) CHECKED;
/* Trailer and checksum of the sealed block: handle->stored bytes and the trailer. With
 * HELIOS_COMPRESSION_NONE the stored bytes are the image, and in an encrypted file that sealed. */
helios_status block_check_sealed(const void *sealed, const struct block_handle *, enum block_type,
                                 uint64_t salt, const struct crypt_file *, const char *path,
                                 helios_compression *) CHECKED;
/* The stored bytes, which were checked, into image, handle->size bytes. */
helios_status block_expand(const void *stored, const struct block_handle *, helios_compression,
                           const char *path, void *image) CHECKED;
/* All of it: checks the sealed block, decrypts, expands into image. room: handle->stored bytes for what is decrypted and
 * not yet expanded; may be `sealed`, which then is no sealed block any more; not looked at unless encrypted. */
helios_status block_unseal(const void *sealed, const struct block_handle *, enum block_type, uint64_t salt,
                           const struct crypt_file *, const char *path, void *room, void *image,
                           helios_compression *) CHECKED;

/* What compresses, kept from block to block. */
struct block_compressor {
    helios_compression compression;
    int level;                /* zstd */
    struct ZSTD_CCtx_s *zstd; /* made when first needed */
};
void block_compressor_release(struct block_compressor *);
/* Compresses (or not, if it does not save an eighth), encrypts if the file is, and appends the block and its trailer
 * to `out`. offset: where it will stand in the file, for the first and last time. out is unchanged on failure. */
helios_status block_seal_append(struct block_compressor *, helios_slice image, enum block_type, uint64_t salt,
                                const struct crypt_file *, uint64_t offset, helios_buf *out,
                                struct block_handle *) CHECKED;
/* The same once, into `out` (replaced), not encrypted. */
helios_status block_seal(helios_slice image, enum block_type, helios_compression, int level, uint64_t salt,
                         uint64_t offset, helios_buf *out) CHECKED;

#endif
