/* delta_rows.h - the rows that a window of deltas has touched, each with what it was at first and what it is now. By key
 * in a hash table, in memory in proportion to rows and bytes, not to operations. The last commit that was added can be
 * taken back. One thread at a time. */
#ifndef HELIOS_CHANGELOG_DELTA_ROWS_H
#define HELIOS_CHANGELOG_DELTA_ROWS_H
#include "base/arena.h"
#include "base/slice.h"
#include "base/status.h"

/* Bytes in the arena that may be written again. */
struct delta_place {
    unsigned char *data;
    size_t capacity;
};

struct delta_row {
    helios_slice key, before;
    helios_slice after; /* in here */
    struct delta_place here, other;
    helios_seq first_lsn, lsn, commit;
    uint64_t time;
    uint32_t table, hash;
    bool has_before, has_after;
};

struct delta_touched {
    size_t index;
    struct delta_row was;
};

struct delta_rows {
    struct delta_row *rows;
    size_t count, capacity;
    uint32_t *slots; /* index + 1; open addressing, at most half full, its size a power of two */
    size_t slot_count;
    struct arena arena;
    /* The commit that is being added. */
    size_t count_before;
    struct arena_mark mark;
    struct delta_touched *touched; /* older rows as they were before it */
    size_t touched_count, touched_capacity;
    /* Settled: those that differ, by table and lsn. */
    const struct delta_row **order;
    size_t order_count;
};

void delta_rows_init(struct delta_rows *);
void delta_rows_clear(struct delta_rows *);
void delta_rows_release(struct delta_rows *);
size_t delta_rows_bytes(const struct delta_rows *);

/* What is added from now on is of another commit. */
void delta_rows_begin(struct delta_rows *);
/* As it was at the last begin. */
void delta_rows_undo(struct delta_rows *);

/* *row NULL: it is not there. Valid until the next add. */
struct delta_row *delta_rows_find(const struct delta_rows *, uint32_t table, helios_slice key);
/* A row that is not there yet, as it is before the window; before without data: it is absent. */
helios_status delta_rows_add(struct delta_rows *, uint32_t table, helios_slice key, helios_slice before,
                             struct delta_row **row) CHECKED;
/* An operation on it; value without data: it is deleted. lsn, commit, time are the operation's. */
struct delta_operation {
    helios_seq lsn, commit;
    uint64_t time;
    helios_slice value;
};
helios_status delta_rows_change(struct delta_rows *, struct delta_row *,
                                const struct delta_operation *) CHECKED;

/* The rows that differ from what they were, into `order`; nothing is added any more. */
helios_status delta_rows_settle(struct delta_rows *) CHECKED;

#endif
