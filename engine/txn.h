/* txn.h - transactions: what they write and read until they commit, and how a commit finds that it is not the first.
 *
 *   begin      a floor (or, read-only, a pin) and the first ticket whose commit may lie above it
 *   read       own writes first (write_index, ranges), else the tree at the floor; serializable ones note what they read
 *   commit     txn_validate: against the footprints of all tickets since, in the tree where one is unknown; reserve;
 *              txn_validate_reserved: the tickets that came between; then as any commit, or VOID
 *
 * txn.c is the public side, txn_validate.c finds conflicts, txn_tree.c those that only the tree knows, txn_scan.c is what
 * an iterator of a transaction has beside, txn_run.c tries again. One thread at a time uses a transaction and its
 * iterators. */
#ifndef HELIOS_ENGINE_TXN_H
#define HELIOS_ENGINE_TXN_H
#include "engine/branches.h"
#include "engine/read.h"

/* Own writes stand above all numbers; own range deletes hide what is below them and not the own writes, which know by
 * the index whether a later range delete decides about them. */
#define SEQ_OWN       SEQ_MAX
#define SEQ_OWN_RANGE (SEQ_MAX - 1)

enum txn_state {
    TXN_OPEN,
    TXN_LOST, /* a conflict: only rollback and free are left */
    TXN_ENDED
};

struct txn_savepoint {
    size_t base; /* operations before it */
    struct rangedel_set *ranges;
    struct arena_mark mark;
};

enum { TXN_WRITE_MEMORY = 512, TXN_READ_MEMORY = 512 }; /* what small transactions need, within the struct */

struct helios_txn {
    struct helios_db *db;
    enum txn_state state;
    bool read_only, serializable;
    bool watches; /* a snapshot one, and `reads` has something: see txn_watch() */
    helios_branch_id branch;
    helios_durability durability;
    helios_seq point;   /* where it reads */
    pin_id pin;         /* of the point; read-only: in db->pins, else in db->floors */
    helios_seq checked; /* commits numbered at or below are no conflict, */
    uint64_t ticket;    /* nor those of tickets below */

    struct write_index writes;   /* by key with layer, into the batch */
    struct rangedel_set *ranges; /* deleted; NULL: none */
    struct read_set reads;       /* serializable only */
    bool reads_lost;             /* without memory something that was read could not be noted */
    struct txn_savepoint *savepoints;
    size_t savepoint_count, savepoint_capacity;
    struct txn_scan *scans; /* of its open iterators */

    struct helios_batch batch; /* every operation, in order */
    uint64_t write_memory[TXN_WRITE_MEMORY / 8];
    uint64_t read_memory[TXN_READ_MEMORY / 8];
};

/* ---- validation ---- */

/* Against everything visible, and what is in flight and known. HELIOS_CONFLICT names a key. Outside any epoch. */
helios_status txn_validate(struct helios_txn *) CHECKED;
/* Behind the reservation: all that came between the last validation and the own ticket. Waits only for earlier tickets, and
 * only for those that wrote what this one read or wrote, or are unknown. */
helios_status txn_validate_reserved(struct helios_txn *, const struct reserved *) CHECKED;
/* What the validation asks about; also that of the tree. */
struct conflict_sets txn_conflict_sets(const struct helios_txn *);
helios_status txn_conflict(const struct helios_txn *, helios_slice key, helios_seq seq);
/* Looks in the tree for versions and range deletes above txn->checked up to `upto`; all commits up to there are visible. May
 * read files. On HELIOS_OK, checked is upto. */
helios_status txn_check_tree(struct helios_txn *, helios_seq upto) CHECKED;

/* HELIOS_LIMIT if so many bytes more are too much (options.transaction_bytes). */
helios_status txn_room(const struct helios_txn *, size_t bytes) CHECKED;

/* ---- any space ---- */

/* What helios_txn_* are for space 0, for rooms above that keep keys in others. */
helios_status txn_get(struct helios_txn *, uint8_t space, helios_slice key, helios_buf *value) CHECKED;
helios_status txn_put(struct helios_txn *, uint8_t space, helios_slice key, helios_slice value) CHECKED;
helios_status txn_delete(struct helios_txn *, uint8_t space, helios_slice key) CHECKED;
helios_status txn_delete_range(struct helios_txn *, uint8_t space, helios_slice from, helios_slice to) CHECKED;
helios_status txn_iter(struct helios_txn *, uint8_t space, const helios_read_options *bounds,
                       struct helios_iter **) CHECKED;
/* The key has to be at the commit as it was at the beginning, whatever the isolation: what is written rests on it. Not for
 * keys that the transaction itself wrote before. */
helios_status txn_watch(struct helios_txn *, uint8_t space, helios_slice key) CHECKED;

/* The last savepoint is no place to come back to any more; what was written since stays. */
void txn_savepoint_release(struct helios_txn *);

/* ---- iterators ---- */

/* Beside an iterator of a transaction. What it walks is one range from the last seek on, turns included, kept as its ends
 * without where it stands now: nothing is copied for a step. */
struct txn_scan {
    struct helios_txn *txn; /* NULL: has ended */
    struct helios_iter *iter;
    struct txn_scan *next, **link;
    bool regather; /* ranges were deleted or writes taken back: the sources are not its any more */
    bool reseek;   /* something was written where it is going */
    bool walking;  /* serializable: [low, high) was read since the last seek */
    helios_buf low, high;
    helios_buf value; /* of an own write on which it stands */
};

helios_status txn_scan_new(struct helios_txn *, struct helios_iter *, struct txn_scan **) CHECKED;
void txn_scan_free(struct txn_scan *); /* NULL is fine; what it walked was handed over */
/* A cursor over the own writes; their values are loaded when asked for, as the batch moves. */
helios_status txn_scan_cursor(struct txn_scan *, struct cursor **) CHECKED;
/* The walk begins with [low, high); widens to one key, to a bound. Without memory the transaction cannot commit. */
void txn_scan_begin(struct txn_scan *, helios_slice low, helios_slice high, bool high_inclusive);
void txn_scan_widen(struct txn_scan *, helios_slice key);
void txn_scan_reached(struct txn_scan *, helios_slice bound, bool forward);
/* What was walked is part of the read set from here on; and the walk ends, or, with HELIOS_LIMIT, nothing happens. */
void txn_scan_note(struct txn_scan *);
helios_status txn_scan_hand_over(struct txn_scan *) CHECKED;

/* iterator.c: */
helios_status iter_new_txn(struct helios_txn *, uint8_t space, const helios_read_options *,
                           struct helios_iter **) CHECKED;
void iter_note_walk(struct helios_iter *);                   /* where it stands is part of what it walked */
void iter_txn_wrote(struct helios_iter *, helios_slice key); /* the transaction did, a key with layer */
void iter_txn_ended(struct helios_iter *);                   /* nothing of it may be touched any more */

#endif
