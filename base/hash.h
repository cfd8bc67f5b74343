/* hash.h - XXH3 (Collet). Three uses: checksums bound to a file and an offset, filters, salts. */
#ifndef HELIOS_BASE_HASH_H
#define HELIOS_BASE_HASH_H
#include "base/slice.h"

uint64_t hash_bytes(const void *data, size_t size);
uint64_t hash_seeded(const void *data, size_t size, uint64_t seed);

/* The same number as hash_bytes() of the pieces laid one behind the other. */
uint64_t hash_pieces(const helios_slice *pieces, size_t count);

/* hash_seeded() of bytes that come piece by piece; asked for at any place, and gone on with. */
struct hash_stream;
struct hash_stream *hash_stream_new(void); /* NULL: no memory, the sentence is set */
void hash_stream_free(struct hash_stream *);
void hash_stream_begin(struct hash_stream *, uint64_t seed);
void hash_stream_add(struct hash_stream *, const void *data, size_t size);
uint64_t hash_stream_end(const struct hash_stream *);

/* Of a key with its layer: asked once per look-up and used by all filters and blocks. */
static inline uint64_t hash_key(helios_slice key)
{
    return hash_bytes(key.data, key.size);
}

/* hash_key() of one key on many branches: what does not depend on the branch, its first four bytes, is computed once.
 * The key is borrowed, and written to where its size leaves nothing to save. */
struct key_hasher {
    unsigned char *key;
    size_t size;
    uint64_t rest;      /* the sum of the hash without the part of the first 16 bytes */
    uint64_t low, high; /* those, low without the branch */
    bool in_parts;
};
void key_hasher_init(struct key_hasher *, helios_slice key);
uint64_t key_hasher_on(const struct key_hasher *, uint32_t branch);

/* The checksum of a block at `offset` of the file with this salt: a block that was moved within
 * its file, or into another, does not verify. */
static inline uint64_t checksum(const void *data, size_t size, uint64_t salt, uint64_t offset)
{
    return hash_seeded(data, size, salt ^ (offset * UINT64_C(0x9E3779B97F4A7C15)));
}

#endif
