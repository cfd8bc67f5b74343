/* write_index.h - what a transaction has written, by key: a skip list (Pugh, CACM 1990) in an arena, from each key
 * to the operation that decides about it now, and behind that to those of outer savepoints.
 *
 * Operations are numbers, ascending: places in the transaction's batch. A savepoint is the number of the next
 * operation (`base`): what is at or above the base of the innermost one is replaced in place, what is below is kept
 * behind, so that a chain is never longer than savepoints are deep. A node's key never moves. One thread. */
#ifndef HELIOS_MVCC_WRITE_INDEX_H
#define HELIOS_MVCC_WRITE_INDEX_H
#include "base/arena.h"
#include "base/key.h"
#include "base/status.h"

enum { WRITE_HEIGHT_MAX = 12, WRITE_FILTER_WORDS = 8 };

struct write_entry {
    uint32_t op;
    enum key_kind kind; /* RANGE_DELETE: a range delete that came later than the key's own operation */
    struct write_entry *before;
};

struct write_node {
    struct write_entry top;
    uint64_t hash; /* of the key */
    helios_slice key;
    struct write_node *next[]; /* by height */
};

struct write_index {
    struct write_node *head[WRITE_HEIGHT_MAX];
    unsigned height;
    size_t count;
    uint64_t draws;
    uint64_t filter[WRITE_FILTER_WORDS]; /* of hashes; keys that went stay in it */
    struct arena arena;
};

/* first: memory to begin with; the owner's, for as long as the index. */
void write_index_init(struct write_index *, void *first, size_t size);
void write_index_release(struct write_index *);

/* The operation decides about the key from here on. Fails only with HELIOS_NO_MEMORY, and then changes nothing. */
helios_status write_index_set(struct write_index *, helios_slice key, uint64_t hash, uint32_t op, enum key_kind,
                              uint32_t base) CHECKED;
/* A range delete decides about all keys in [from, to) that are there; likewise. */
helios_status write_index_delete_range(struct write_index *, helios_slice from, helios_slice to, uint32_t op,
                                       uint32_t base) CHECKED;
/* Takes operations at or above base off the key, off the keys in [from, to). */
void write_index_undo(struct write_index *, helios_slice key, uint32_t base);
void write_index_undo_range(struct write_index *, helios_slice from, helios_slice to, uint32_t base);

/* NULL: there is none. Nodes stay where they are until they are undone. */
struct write_node *write_index_find(const struct write_index *, helios_slice key, uint64_t hash);
struct write_node *write_index_seek(const struct write_index *, helios_slice key);   /* first at or after key */
struct write_node *write_index_before(const struct write_index *, helios_slice key); /* last before key */
struct write_node *write_index_last(const struct write_index *);
static inline struct write_node *write_index_first(const struct write_index *index)
{
    return index->head[0];
}
static inline struct write_node *write_index_next(const struct write_node *node)
{
    return node->next[0];
}

#endif
