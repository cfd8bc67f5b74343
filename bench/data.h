/* data.h - the keys and values that every engine is given, made in a few nanoseconds each.
 * Present ids are even and absent ones odd, so that a miss falls between hits. A value is half random
 * bytes that the rest repeats, taken from a pool that stays in the processor's cache; it follows from
 * index and generation, so that what is read back can be checked. */
#ifndef HELIOS_BENCH_DATA_H
#define HELIOS_BENCH_DATA_H
#include "base/slice.h"
#include <endian.h>

enum { KEY_BYTES = 16 };

struct data {
    uint64_t count;   /* keys, at index 0 to count - 1; the id of index i is 2 i */
    unsigned bits;    /* count <= 2^bits */
    bool binary_keys; /* 8 bytes big-endian and 8 of hash, instead of 16 decimal digits */
    size_t value_bytes;
    unsigned char *pool;
    uint64_t pool_mask;
};

void data_init(struct data *, uint64_t count, size_t value_bytes, bool binary_keys);
void data_release(struct data *);

/* Draws of indexes below `keys`, zipfian 0.99: the popular ones scattered over those that `data` counts (keys that were
 * inserted later are behind them), or 0 the most popular. Freed by the caller. */
uint32_t *data_zipfian(const struct data *, uint64_t keys, uint64_t draws, uint64_t seed, bool scattered);

/* Eight decimal digits as the bytes of a word: halves, quarters and eighths of the number are split
 * by multiplications side by side (Khuong, "How to print integers really fast"). */
static inline uint64_t eight_digits(uint32_t v)
{
    uint64_t halves = v / 10000 | (uint64_t)(v % 10000) << 32;
    uint64_t upper = halves * 10486 >> 20 & UINT64_C(0x7f0000007f);
    uint64_t pairs = upper + ((halves - 100 * upper) << 16);
    uint64_t tens = pairs * 103 >> 10 & UINT64_C(0x000f000f000f000f);

    return htole64(tens + ((pairs - 10 * tens) << 8) + UINT64_C(0x3030303030303030));
}

static inline void data_key(const struct data *data, uint64_t id, char key[KEY_BYTES])
{
    uint64_t upper, lower;

    if (data->binary_keys) {
        upper = htobe64(id);
        lower = (id + 1) * UINT64_C(0x9e3779b97f4a7c15);
        lower ^= lower >> 29;
    } else {
        upper = eight_digits(id < 100000000 ? 0 : (uint32_t)(id / 100000000));
        lower = eight_digits((uint32_t)(id % 100000000));
    }
    memcpy(key, &upper, 8);
    memcpy(key + 8, &lower, 8);
}

/* A permutation of the indexes without memory: an invertible mix of `bits` bits, walked until it
 * falls below count. */
static inline uint64_t data_scatter(const struct data *data, uint64_t index)
{
    uint64_t mask = (UINT64_C(1) << data->bits) - 1, x = index;
    unsigned shift = data->bits / 2;

    do {
        x = (x + 0x5bd1e995) & mask;
        x = (x ^ x >> shift) * UINT64_C(0xd6e8feb86659fd93) & mask;
        x = (x ^ x >> shift) * UINT64_C(0xa0761d6478bd642f) & mask;
        x ^= x >> shift;
    } while (x >= data->count);
    return x;
}

static inline helios_slice data_value(const struct data *data, uint64_t index, unsigned generation)
{
    uint64_t slot = (index + generation * UINT64_C(1031)) & data->pool_mask;

    return slice_make(data->pool + slot * data->value_bytes, data->value_bytes);
}

#endif
