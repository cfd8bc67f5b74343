/* feed_states.h - what a replay of the change feed makes: for each branch all its keys, each with every version that was
 * put or deleted, too simple to be wrong. A branch begins with a copy of what its parent showed at the fork. Of values
 * size and hash are kept, of the system space's the bytes too, as branches, tags and consumers are read from them.
 *
 * Points here are plain: 0 is the one before the first commit. One thread at a time. */
#ifndef HELIOS_TESTS_FEED_STATES_H
#define HELIOS_TESTS_FEED_STATES_H
#include "base/slice.h"
#include <stdint.h>

enum { STATES_SYSTEM = 255 };
#define STATES_BLIND UINT64_MAX

struct feed_value {
    bool there;
    size_t size;
    uint64_t hash;
    char *bytes; /* of the system space, else NULL; the states' own */
};
struct feed_value feed_value_of(helios_slice);
bool feed_value_is(struct feed_value, bool there, helios_slice);
bool feed_value_same(struct feed_value, struct feed_value);

/* One for each space and bytes, for good: equal keys are the same pointer. */
struct feed_key {
    uint64_t hash;
    size_t size;
    uint8_t space;
    char bytes[];
};
static inline helios_slice feed_key_slice(const struct feed_key *key)
{
    return slice_make(key->bytes, key->size);
}

struct feed_version {
    helios_seq commit;
    struct feed_value value;
};
struct feed_cell {
    const struct feed_key *key;
    struct feed_value inherited;   /* at the fork */
    struct feed_version *versions; /* ascending */
    uint32_t count, capacity;
};
/* Cells are allocated in pieces, and go with their branch. */
struct feed_cells {
    struct feed_cells *next;
    size_t count, capacity;
    struct feed_cell cells[];
};
struct feed_branch {
    bool made;
    helios_branch_id parent;
    helios_seq fork, created, dropped; /* dropped 0: it lives */
    helios_seq since;                  /* what it showed is known from here on; STATES_BLIND: it is not */
    struct feed_cell **cells;          /* by space and key */
    struct feed_cells *pieces;
    size_t count, capacity;
};

struct feed_states {
    struct feed_branch *branches; /* by id; main is the first */
    uint32_t branch_count;
    struct feed_key **keys;
    size_t key_count, key_room; /* a power of two */
};

void states_init(struct feed_states *);
void states_release(struct feed_states *);
const struct feed_key *states_key(struct feed_states *, uint8_t space, helios_slice key);

/* NULL: there is none. */
struct feed_branch *states_branch(struct feed_states *, helios_branch_id);
/* Fork: the parent's point. It is blind if what the parent showed there is not known. */
void states_fork(struct feed_states *, helios_branch_id, helios_branch_id parent, helios_seq fork,
                 helios_seq created);

/* The branch as operations up to now have made it. */
struct feed_value states_now(struct feed_states *, helios_branch_id, const struct feed_key *);
/* The commit that wrote the key last on the branch; 0: none. */
helios_seq states_written(struct feed_states *, helios_branch_id, const struct feed_key *);
/* Value {0}: deleted. */
void states_set(struct feed_states *, helios_branch_id, const struct feed_key *, struct feed_value, helios_seq);
/* Deletes all that is there in [from, to), each told before. */
void states_set_range(struct feed_states *, helios_branch_id, uint8_t space, helios_slice from, helios_slice to,
                      helios_seq commit,
                      void (*each)(void *arg, const struct feed_key *, struct feed_value before), void *arg);

/* The branch was dropped, and no loss of power can take that back: nobody asks about it any more. */
void states_let_go(struct feed_states *, helios_branch_id);

/* A walk in order over what a branch shows at a point: *at begins as 0; NULL: the end. */
const struct feed_key *states_next(struct feed_states *, helios_branch_id, uint8_t space, helios_seq point,
                                   size_t *at, struct feed_value *);
struct feed_value states_at(struct feed_states *, helios_branch_id, const struct feed_key *, helios_seq point);

/* Commits above the point never were. */
void states_forget_after(struct feed_states *, helios_seq latest);
/* Nothing is known any more; main is blind. */
void states_forget_all(struct feed_states *);
/* A branch is empty at the point, and known from there on; what is put next with that number is what it has. */
void states_adopt(struct feed_states *, helios_branch_id, helios_seq point);

#endif
