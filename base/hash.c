/* hash.c - XXH3, compiled in, as most of what is hashed is short. */
#include "base/hash.h"
#include "base/coding.h"
#include "base/mem.h"
#include "base/status.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t hash_bytes(const void *data, size_t size)
{
    return XXH3_64bits(data, size);
}

uint64_t hash_seeded(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}

uint64_t hash_pieces(const helios_slice *pieces, size_t count)
{
    XXH3_state_t state;

    XXH3_64bits_reset(&state);
    for (size_t i = 0; i < count; i++)
        XXH3_64bits_update(&state, pieces[i].data, pieces[i].size);
    return XXH3_64bits_digest(&state);
}

/* ---- piece by piece ---- */

struct hash_stream {
    XXH3_state_t state;
};

struct hash_stream *hash_stream_new(void)
{
    struct hash_stream *stream = mem_aligned(64, sizeof(*stream));

    if (!stream)
        (void)!fail_no_memory(sizeof(*stream));
    return stream;
}

void hash_stream_free(struct hash_stream *stream)
{
    mem_free(stream);
}

void hash_stream_begin(struct hash_stream *stream, uint64_t seed)
{
    XXH3_INITSTATE(&stream->state);
    XXH3_64bits_reset_withSeed(&stream->state, seed);
}

void hash_stream_add(struct hash_stream *stream, const void *data, size_t size)
{
    XXH3_64bits_update(&stream->state, data, size);
}

uint64_t hash_stream_end(const struct hash_stream *stream)
{
    return XXH3_64bits_digest(&stream->state);
}

/* ---- one key on many branches ----
 *
 * XXH3 of 17 to 128 bytes is a sum of products, one for each 16 bytes, mixed at the end by steps that can be taken
 * back. Up to 32 bytes these are the first and the last 16, above the first and last 32 at least; so the branch is in one
 * product alone unless the last ones reach back to it. */
static inline bool branch_is_apart(size_t size)
{
    return (size >= 16 + 4 && size <= 32) || (size >= 32 + 4 && size <= 128);
}

/* The first 16 bytes of XXH3's secret; the multiplier of its last step and that one's inverse modulo 2^64. */
#define SECRET_LOW      UINT64_C(0xbe4ba423396cfeb8)
#define SECRET_HIGH     UINT64_C(0x1cad21f72c81017c)
#define LAST_MULTIPLIER UINT64_C(0x165667919E3779F9)
#define LAST_INVERSE    UINT64_C(0x8DA8EE41D6DF849)

static inline uint64_t first_product(uint64_t low, uint64_t high)
{
    unsigned __int128 product = (unsigned __int128)(low ^ SECRET_LOW) * (high ^ SECRET_HIGH);

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t last_step(uint64_t sum)
{
    sum ^= sum >> 37;
    sum *= LAST_MULTIPLIER;
    return sum ^ sum >> 32;
}

static inline uint64_t last_step_back(uint64_t hash)
{
    hash ^= hash >> 32;
    hash *= LAST_INVERSE;
    return hash ^ hash >> 37;
}

void key_hasher_init(struct key_hasher *h, helios_slice key)
{
    uint64_t low;

    h->key = (unsigned char *)key.data;
    h->size = key.size;
    h->in_parts = branch_is_apart(key.size);
    if (!h->in_parts)
        return;
    low = get_u64(h->key);
    h->high = get_u64(h->key + 8);
    h->rest = last_step_back(hash_key(key)) - first_product(low, h->high);
    h->low = low >> 32 << 32;
}

uint64_t key_hasher_on(const struct key_hasher *h, uint32_t branch)
{
    if (h->in_parts)
        return last_step(h->rest + first_product(h->low | __builtin_bswap32(branch), h->high));
    put_u32_be(h->key, branch);
    return hash_bytes(h->key, h->size);
}
