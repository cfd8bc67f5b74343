/* own.h - what a commit's own earlier operations made of a key: for the images before each of its operations, which are
 * the state before the commit with these on top.
 *
 * A commit's puts and deletes lie sorted by key, those of one key in their order; its range deletes are marks on the
 * pieces between all their ends (a segment tree), set one by one as the walk passes them. So both questions cost
 * O(log n), whatever the commit has in it. Memory in proportion to its operations. One thread at a time. */
#ifndef HELIOS_CHANGELOG_OWN_H
#define HELIOS_CHANGELOG_OWN_H
#include "engine/batch.h"
#include "wal/wal.h"

struct own_op {
    helios_branch_id branch;
    uint8_t space;
    bool put;
    uint32_t index; /* in the commit */
    helios_slice key, value;
};

struct own_edge {
    helios_branch_id branch;
    uint8_t space;
    helios_slice key;
};

struct own {
    struct own_op *ops; /* puts and deletes by branch, space, key, index */
    size_t count, ops_capacity;
    struct own_edge *edges; /* of the range deletes, sorted, each once */
    size_t edge_count, edges_capacity;
    uint32_t *marks; /* 2 * edge_count: the newest range delete passed, index + 1, over a node's pieces */
    size_t marks_capacity;
    bool built;
};

enum own_state { OWN_UNTOUCHED, OWN_PUT, OWN_DELETED };

/* Of a COMMIT record of more than one operation, whose body stays. Memory of the last one is used again. False in *good:
 * its operations cannot be read. */
helios_status own_build(struct own *, const struct wal_record *, bool *good) CHECKED;
void own_clear(struct own *); /* nothing is known, memory is kept */
void own_release(struct own *);

/* The range delete with this index comes before whatever is asked from now on. */
void own_pass_range(struct own *, uint32_t index, const struct op *);
/* What the operations before `index` made of a key; *value for OWN_PUT, borrowed from the record. */
enum own_state own_look(const struct own *, const struct op *key_of, uint32_t index, helios_slice *value);

/* The first key of the commit's puts and deletes at or above this one, or its end: for walks. */
size_t own_find(const struct own *, helios_branch_id, uint8_t space, helios_slice key);
/* One behind the operations on the same key as this one. */
size_t own_key_end(const struct own *, size_t at);

#endif
