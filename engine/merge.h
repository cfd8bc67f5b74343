/* merge.h - merges and reverts, and the record of merges.
 *
 *   merge.c          the public calls: who takes part, bases, rounds, the commit
 *   merge_walk.c     three states side by side: what the target has to write, key by key; conflicts
 *   merge_rows.c     the part of the walk that rows have beside: the catalog before them, their index entries behind
 *   merge_commit.c   that as one commit: a batch while it is small, tables when it is not
 *   merge_entries.c  merges in the system space and in the registry
 */
#ifndef HELIOS_ENGINE_MERGE_H
#define HELIOS_ENGINE_MERGE_H
#include "branch/vector.h"
#include "engine/batch.h"
#include "engine/branches.h"
#include "engine/compare.h"

/* ---- merge_entries.c: user key 'M' | target u32 BE | ordinal u32 BE ---- */

enum { MERGE_KEY_BYTES = 9 };

/* At open, behind branches_load(). */
helios_status merges_load(struct helios_db *) CHECKED;
/* What a merge has raised is held for as long as its target lives: from before its commit, and let go of by holds_settle()
 * with the target, or here if there was no commit. */
helios_status merge_hold(struct helios_db *, const struct merge *) CHECKED;
void merge_let_go(struct helios_db *, const struct merge *);
/* And behind tags_load(): an earlier open may have let go of what replaced merges held. */
helios_status merges_settle(struct helios_db *) CHECKED;
/* The newest merge into the target has raised a branch's entry, perhaps of an earlier one. */
void merge_replaces(struct helios_db *, const struct branch *target, helios_branch_id raised);
helios_slice merge_key(unsigned char out[MERGE_KEY_BYTES], helios_branch_id target, uint32_t ordinal);

/* ---- merge_walk.c ---- */

/* What a merge or revert compares: states of `theirs` and `ours`, and the bases; all pinned and held by the caller. */
struct merge_states {
    struct state_point theirs, ours;
    const struct vector_entry *bases; /* none: every key that differs is a conflict */
    size_t base_count;
    const struct state_point *seen; /* ours, when the conflicts were told last; NULL: never */
};

/* An operation that the target needs; borrowed until the next one. */
struct merge_op {
    uint8_t space;
    enum key_kind kind; /* VALUE or TOMBSTONE */
    helios_slice key, value;
};

/* What knows rows, indexes and the catalog: table/merges.c. Index entries are never merged as keys: they are made of the rows
 * that the merge writes, by the catalog as it will be. */
struct merge_rows;
struct merge_rows_ops {
    /* Whether a line of the catalog is never changed once it is there, and so can be in no conflict. */
    bool (*is_fixed)(helios_slice key);
    /* catalog: the operations on it, all; it and the states stay until end(). HELIOS_CONFLICT if it would not be one. */
    helios_status (*begin)(struct helios_db *, const struct merge_states *, helios_merge_strategy,
                           const struct helios_batch *catalog, struct merge_rows **);
    /* A row that the merge would write. before: what the target has, NULL: none. *keep false: it is to be left alone. */
    helios_status (*row)(struct merge_rows *, const struct merge_op *, const helios_slice *before, bool *keep);
    /* All rows were given. HELIOS_CONFLICT if they do not fit together. */
    helios_status (*settle)(struct merge_rows *);
    /* From then on: operations on entries, ascending; false: no more. */
    bool (*next)(struct merge_rows *, struct merge_op *);
    /* Whether an operation on the catalog is to be written. */
    bool (*keeps)(struct merge_rows *, const struct merge_op *);
    void (*end)(struct merge_rows *); /* NULL is fine */
};

struct merge_walk {
    struct helios_db *db;
    const struct merge_states *states;
    const helios_merge_options *options;
    struct compare *compare;
    size_t space; /* index of the one being walked */
    uint64_t merged, deleted, conflicts;
    bool over;
    const struct merge_rows_ops *ops;
    struct merge_rows *rows;     /* NULL: nothing of tables came yet */
    struct helios_batch catalog; /* operations on it, which are written last */
    size_t catalog_at;
    bool settled;                     /* entries and the catalog are being written */
    helios_buf value, first_conflict; /* resolve()'s; the key, for people */
    uint8_t first_space;
    struct error_note error;
};

void merge_walk_begin(struct merge_walk *, struct helios_db *, const struct merge_states *,
                      const helios_merge_options *, const struct merge_rows_ops *);
/* False: the end, or a failure that merge_walk_status() tells: HELIOS_CONFLICT where conflicts make the merge fail; all
 * were told by then. */
bool merge_walk_next(struct merge_walk *, struct merge_op *);
helios_status merge_walk_status(const struct merge_walk *) CHECKED;
void merge_walk_end(struct merge_walk *);

/* Whether the walk has to be made again on the target as it is at `now`, which the caller holds: a key that the source has
 * changed differs there from what the walk saw. Also one that the walk left alone, as both sides were alike or a conflict
 * was the target's: it may be a conflict now, or the source's to say. A walk that had to do with tables: any row or line
 * of the catalog, as entries were made of those that there were. */
helios_status merge_is_overtaken(const struct merge_walk *, helios_seq now, bool *overtaken) CHECKED;

/* ---- merge.c ---- */

/* The calls of the public header, with what knows rows; without it there are none to know. */
helios_status merge_branches(struct helios_db *, helios_branch_id source, helios_branch_id target,
                             const helios_merge_options *, const struct merge_rows_ops *,
                             helios_merge_result *) CHECKED;
helios_status merge_revert(struct helios_db *, helios_branch_id, helios_seq first, helios_seq last,
                           const helios_merge_options *, const struct merge_rows_ops *,
                           helios_merge_result *) CHECKED;

/* ---- merge_rows.c ---- */

/* An operation on the catalog, kept for later. */
helios_status merge_catalog_add(struct merge_walk *, const struct merge_op *) CHECKED;
helios_status merge_row(struct merge_walk *, const struct merge_op *, const helios_slice *before,
                        bool *keep) CHECKED;
/* Behind all rows: entries, then the catalog. False: the end, or a failure, which *status tells. */
bool merge_behind_rows(struct merge_walk *, struct merge_op *, helios_status *status);
/* An operation was counted and is not written. */
void merge_uncount(struct merge_walk *, const struct merge_op *);

/* ---- merge_commit.c ---- */

/* What goes into the commit beside the target's keys: entries of the system space, ascending by key. */
struct merge_entry {
    helios_slice key, value;
};

struct merge_plan {
    struct helios_db *db;
    helios_branch_id target;
    const struct merge_entry *entries;
    size_t entry_count;
    bool gated;   /* the target's gate is closed already: nothing can have come in between */
    bool dry_run; /* walk to the end, commit nothing */
    bool *begun;  /* set when merge_commit_begin() was called: the caller ends it */
};

/* merge.c: around the commit, until the registry has the merge. No other merge takes its point meanwhile: it would see what
 * was merged, and not that it was. */
void merge_commit_begin(struct helios_db *);
void merge_commit_end(struct helios_db *);

/* Walks and commits. *again: nothing was committed, as keys that the source has changed were written on the target meanwhile.
 * *commit 0: nothing was to be committed (no operation and no entry; dry run). */
helios_status merge_commit(const struct merge_plan *, struct merge_walk *, bool *again,
                           helios_seq *commit) CHECKED;

#endif
