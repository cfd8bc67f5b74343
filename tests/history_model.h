/* history_model.h - for tests of the engine through the public API: a fixed pool of keys in order, and for each
 * of them every version that was ever committed; too simple to be wrong. A range delete is written out as a
 * deleted version of each key that was there. Values follow from a number, so that none need be kept. */
#ifndef HELIOS_TESTS_HISTORY_MODEL_H
#define HELIOS_TESTS_HISTORY_MODEL_H
#include "base/random.h"
#include "base/slice.h"
#include "helios/helios.h"
#include <stdio.h>
#include <stdlib.h>

struct history_version {
    helios_seq seq; /* of the commit */
    uint64_t value; /* its number */
    uint32_t size;
    bool deleted;
};

struct history_key {
    unsigned char *data;
    size_t size;
    struct history_version *versions; /* ascending by seq */
    size_t count, capacity;
};

struct history {
    struct history_key *keys; /* ascending */
    size_t count;
    helios_seq latest; /* number of the last commit */
    uint64_t values;   /* numbers handed out */
};

static inline helios_slice history_slice(const struct history_key *key)
{
    return slice_make(key->data, key->size);
}

/* ---- keys ---- */

static inline void key_bytes(struct history_key *key, const void *data, size_t size)
{
    key->data = malloc(size + 1);
    key->size = size;
    memcpy(key->data, data, size);
}

/* Kinds that have gone wrong somewhere before: the empty one, long common prefixes, one a prefix of the next,
 * zeros and 0xff at the end, numbers in order, some that are huge. */
static inline void make_pool_key(struct history_key *key, size_t index, struct random *rng)
{
    unsigned char bytes[512], *huge;
    size_t size, kind = random_below(rng, 100);
    uint64_t number = random_below(rng, 100000);

    memset(bytes, 'p', sizeof(bytes));
    if (index == 0) {
        key_bytes(key, bytes, 0);
    } else if (index <= 2) {
        huge = calloc(1, 65536);
        memset(huge, index == 1 ? 'h' : 0xff, 65536);
        key_bytes(key, huge, 65536 - (index == 1 ? number % 7 : 0));
        free(huge);
    } else if (kind < 40) {
        size = (size_t)snprintf((char *)bytes, sizeof(bytes), "user:%06u", (unsigned)number % 5000);
        key_bytes(key, bytes, size);
    } else if (kind < 60) {
        for (int i = 0; i < 8; i++)
            bytes[i] = (unsigned char)(number / 13 >> (56 - 8 * i));
        key_bytes(key, bytes, 8);
    } else if (kind < 75) { /* few byte values: prefixes of each other */
        size = 1 + random_below(rng, 12);
        for (size_t i = 0; i < size; i++)
            bytes[i] = (unsigned char)(random_below(rng, 3) == 0 ? 0xff : random_below(rng, 2));
        key_bytes(key, bytes, size);
    } else if (kind < 95) {
        size = 180 + (size_t)snprintf((char *)bytes + 180, 20, "%03u", (unsigned)number % 1000);
        key_bytes(key, bytes, size);
    } else {
        size = 1 + random_below(rng, 30);
        for (size_t i = 0; i < size; i++)
            bytes[i] = (unsigned char)random_next(rng);
        key_bytes(key, bytes, size);
    }
}

static inline int compare_pool_keys(const void *a, const void *b)
{
    return slice_compare(history_slice(a), history_slice(b));
}

static inline void history_init(struct history *h, size_t pool, struct random *rng)
{
    size_t kept = 1;

    *h = (struct history){.keys = calloc(pool, sizeof(*h->keys))};
    for (size_t i = 0; i < pool; i++)
        make_pool_key(&h->keys[i], i, rng);
    qsort(h->keys, pool, sizeof(*h->keys), compare_pool_keys);
    for (size_t i = 1; i < pool; i++) {
        if (slice_equal(history_slice(&h->keys[i]), history_slice(&h->keys[kept - 1])))
            free(h->keys[i].data);
        else
            h->keys[kept++] = h->keys[i];
    }
    h->count = kept;
}

static inline void history_release(struct history *h)
{
    for (size_t i = 0; i < h->count; i++) {
        free(h->keys[i].data);
        free(h->keys[i].versions);
    }
    free(h->keys);
}

/* The first key of the pool at or above this one. */
static inline size_t history_find(const struct history *h, helios_slice key)
{
    size_t low = 0, high = h->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (slice_compare(history_slice(&h->keys[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- versions ---- */

static inline struct history_version *history_add(struct history_key *key, helios_seq seq)
{
    if (key->count && key->versions[key->count - 1].seq == seq)
        return &key->versions[key->count - 1]; /* the last one of a commit wins */
    if (key->count == key->capacity) {
        key->capacity = key->capacity ? key->capacity * 2 : 4;
        key->versions = realloc(key->versions, key->capacity * sizeof(*key->versions));
    }
    key->versions[key->count] = (struct history_version){.seq = seq};
    return &key->versions[key->count++];
}

static inline void history_put(struct history *h, size_t key, helios_seq seq, uint64_t value, uint32_t size)
{
    struct history_version *v = history_add(&h->keys[key], seq);

    *v = (struct history_version){.seq = seq, .value = value, .size = size};
}

static inline void history_delete(struct history *h, size_t key, helios_seq seq)
{
    struct history_version *v = history_add(&h->keys[key], seq);

    *v = (struct history_version){.seq = seq, .deleted = true};
}

/* Keys [from, to) of the pool. */
static inline void history_delete_range(struct history *h, size_t from, size_t to, helios_seq seq)
{
    for (size_t i = from; i < to; i++)
        if (h->keys[i].count && !h->keys[i].versions[h->keys[i].count - 1].deleted)
            history_delete(h, i, seq);
}

/* What is seen of a key at a number; NULL: absent. */
static inline const struct history_version *history_at(const struct history *h, size_t key, helios_seq seq)
{
    const struct history_key *k = &h->keys[key];
    size_t low = 0, high = k->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (k->versions[middle].seq <= seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 || k->versions[low - 1].deleted ? NULL : &k->versions[low - 1];
}

/* ---- values ---- */

static inline void value_fill(uint64_t value, unsigned char *out, size_t size)
{
    uint64_t word = value * 0x9e3779b97f4a7c15u;

    for (size_t i = 0; i < size; i++) /* half of it compresses */
        out[i] = i % 16 < 8 ? (unsigned char)(word >> (i % 8 * 8)) : (unsigned char)(value + i / 64);
}

static inline bool value_matches(const struct history_version *v, helios_slice value)
{
    const unsigned char *bytes = value.data;
    uint64_t word = v->value * 0x9e3779b97f4a7c15u;

    if (value.size != v->size)
        return false;
    for (size_t i = 0; i < value.size; i++)
        if (bytes[i] !=
            (i % 16 < 8 ? (unsigned char)(word >> (i % 8 * 8)) : (unsigned char)(v->value + i / 64)))
            return false;
    return true;
}

#endif
