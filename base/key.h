/* key.h - the internal key: branch (u32, big-endian) | space (u8) | user key, and beside it a tag:
 * version (the commit's number, 56 bits) << 8 | kind. Order: key bytes ascending, tag descending.
 *
 * The rooms below engine/ see a key as opaque bytes and a tag; only the five leading bytes, the
 * layer, are looked at by a table to say which layers it holds, and the branch by a merge over layers. */
#ifndef HELIOS_BASE_KEY_H
#define HELIOS_BASE_KEY_H
#include "base/coding.h"

enum {
    BRANCH_BYTES = 4,         /* in front of every internal key */
    KEY_LAYER_BYTES = 5,      /* branch and space */
    KEY_USER_MAX = 64 * 1024, /* bytes of a user key */
    KEY_BYTES_MAX = KEY_LAYER_BYTES + KEY_USER_MAX,
};
#define VALUE_BYTES_MAX ((uint64_t)1 << 30)

/* Zero is no kind. BLOB_REF and MERGE are reserved. */
enum key_kind {
    KIND_VALUE = 1,
    KIND_TOMBSTONE = 2,
    KIND_BLOB_REF = 3,
    KIND_MERGE = 4,
    KIND_RANGE_DELETE = 5, /* in logs and batches only; never the kind of a key in a table */
};

enum key_space { SPACE_USER = 0, SPACE_DATA = 1, SPACE_INDEX = 2, SPACE_META = 3, SPACE_SYSTEM = 255 };

#define SEQ_MAX (((uint64_t)1 << 56) - 1)
#define TAG_MAX UINT64_MAX /* sorts before every version of its key */

static inline uint64_t tag_make(helios_seq seq, enum key_kind kind)
{
    return seq << 8 | (uint64_t)kind;
}
static inline helios_seq tag_seq(uint64_t tag)
{
    return tag >> 8;
}
static inline enum key_kind tag_kind(uint64_t tag)
{
    return (enum key_kind)(tag & 0xff);
}

/* The tag to seek with for the newest version numbered at or below seq. */
static inline uint64_t tag_at(helios_seq seq)
{
    return seq << 8 | 0xff;
}

static inline void key_put_layer(void *at, helios_branch_id branch, uint8_t space)
{
    put_u32_be(at, branch);
    ((unsigned char *)at)[4] = space;
}

static inline helios_branch_id key_branch(helios_slice key)
{
    return get_u32_be(key.data);
}
static inline uint8_t key_space_of(helios_slice key)
{
    return slice_bytes(key)[4];
}

static inline helios_slice key_user(helios_slice key)
{
    return slice_make(slice_bytes(key) + KEY_LAYER_BYTES, key.size - KEY_LAYER_BYTES);
}

/* Internal order: key ascending, then newest first. */
static inline int key_compare(helios_slice a, uint64_t tag_a, helios_slice b, uint64_t tag_b)
{
    int order = slice_compare(a, b);

    if (order != 0)
        return order;
    return tag_a > tag_b ? -1 : tag_a < tag_b;
}

/* `size` bytes, fewer than eight, as the first ones of a big-endian number. By loads that overlap: bytes copied one by
 * one to where eight are loaded from would stall that load. */
static inline uint64_t key_prefix_short(const unsigned char *bytes, size_t size)
{
    unsigned unused = 64 - 8 * (unsigned)size;

    if (size >= 4)
        return (uint64_t)get_u32_be(bytes) << 32 | (uint64_t)get_u32_be(bytes + size - 4) << unused;
    if (size >= 2)
        return (uint64_t)get_u16_be(bytes) << 48 | (uint64_t)get_u16_be(bytes + size - 2) << unused;
    return size ? (uint64_t)bytes[0] << 56 : 0;
}

/* Eight bytes of key from `skip` on as a big-endian number, zero-filled: for keys that share their
 * first `skip` bytes, a smaller number means a smaller key; equal numbers decide nothing. */
static inline uint64_t key_prefix(helios_slice key, size_t skip)
{
    if (key.size >= skip + 8)
        return get_u64_be(slice_bytes(key) + skip);
    return key.size > skip ? key_prefix_short(slice_bytes(key) + skip, key.size - skip) : 0;
}

#endif
