/* read_set.h - what a serializable transaction has read: single keys, present or absent, and ranges [from, to).
 * Keys with their layer, copied. One thread. */
#ifndef HELIOS_MVCC_READ_SET_H
#define HELIOS_MVCC_READ_SET_H
#include "base/arena.h"
#include "base/key.h"
#include "base/status.h"

enum { READ_FEW = 8, READ_FILTER_WORDS = 8 };

struct read_key {
    uint64_t hash;
    helios_slice key;
};

struct read_range {
    helios_slice from, to;
};

struct read_set {
    struct read_key *keys; /* in order of reading */
    size_t key_count, key_capacity;
    uint32_t *table; /* open addressing: index + 1; none while keys are few */
    size_t table_size;
    struct read_range *ranges; /* disjoint and ascending once settled */
    size_t range_count, range_capacity, range_settled;
    uint64_t filter[READ_FILTER_WORDS]; /* of the keys' hashes */
    struct arena arena;
};

/* first: memory to begin with; the owner's, for as long as the set. */
void read_set_init(struct read_set *, void *first, size_t size);
void read_set_release(struct read_set *);

/* What is there already costs nothing. Both fail only with HELIOS_NO_MEMORY, and then change nothing. */
helios_status read_set_add_key(struct read_set *, helios_slice key, uint64_t hash) CHECKED;
helios_status read_set_add_range(struct read_set *, helios_slice from, helios_slice to) CHECKED;
size_t read_set_bytes(const struct read_set *); /* memory taken */
/* Before asking: sorts and joins the ranges. */
void read_set_settle(struct read_set *);

bool read_set_has(const struct read_set *, helios_slice key, uint64_t hash); /* as a key or in a range */
/* A key or range that meets [from, to). */
bool read_set_meets(const struct read_set *, helios_slice from, helios_slice to);

#endif
