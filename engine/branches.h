/* branches.h - what the paths of this room ask about branches. */
#ifndef HELIOS_ENGINE_BRANCHES_H
#define HELIOS_ENGINE_BRANCHES_H
#include "branch/registry.h"
#include "engine/engine_internal.h"

/* At open, after recovery and before anything is collected. */
helios_status branches_load(struct helios_db *) CHECKED;

/* ---- entries: branch_entries.c ---- */
enum { BRANCH_KEY_BYTES = 5 };
helios_slice branch_key(unsigned char out[BRANCH_KEY_BYTES], helios_branch_id);
/* A branch's entry as a commit; drop_merges: those into it go with the same commit. commit may be NULL. */
helios_status branch_entry_commit(struct helios_db *, const struct branch_record *, bool drop_merges,
                                  helios_seq *commit) CHECKED;
/* Entries are logged always: what is written on a branch, or on a child of it, may be logged and must find it again. */
helios_durability branch_entry_durability(const struct helios_db *);
/* As it is now, under registry_mu: slices point into the value. */
helios_status branch_entry_read(struct helios_db *, const struct branch *, helios_buf *value,
                                struct branch_record *) CHECKED;
/* All of them at a point that the caller keeps, by id; main has none. */
helios_status branch_entries_walk(struct helios_db *, helios_seq at,
                                  helios_status (*each)(void *arg, const struct branch_record *),
                                  void *arg) CHECKED;

/* ---- for calls on a branch: branch_access.c ---- */
/* HELIOS_NOT_FOUND for a branch that never was or was dropped; writable: HELIOS_READ_ONLY after it was merged and
 * closed. To be asked before each write: the branch counts as written from then on. */
helios_status branch_readable(struct helios_db *, helios_branch_id) CHECKED;
helios_status branch_writable(struct helios_db *, helios_branch_id) CHECKED;
/* Where a walk of a branch at *seq begins: it, or the nearest ancestor that holds anything, with the point there. */
const struct branch *branch_overlay(struct helios_db *, helios_branch_id, helios_seq *seq);
const struct branch *branch_at(struct helios_db *, helios_branch_id); /* NULL: there never was */

/* A handle that reads or writes on the branch: it cannot be dropped until the release. HELIOS_NOT_FOUND. Nothing to do
 * for main. */
helios_status branch_hold(struct helios_db *, helios_branch_id) CHECKED;
void branch_release(struct helios_db *, helios_branch_id);
/* HELIOS_BUSY if there are more handles than the caller's own, or tags. Under registry_mu. */
helios_status branch_unused(struct helios_db *, const struct branch *, uint32_t own) CHECKED;

/* Whether a live branch's fork, or a merge, holds what (branch, seq) reads, below the horizon. */
bool branch_holds_point(struct helios_db *, helios_branch_id, helios_seq);

/* ---- for jobs: branch_rules.c ---- */
/* What jobs may collect, branch by branch: fills in rules->branches and others from rules->held. pins: the points pinned
 * on every branch, ascending, below the rules' horizon; borrowed. */
helios_status branch_rules_init(struct job_rules *, const helios_seq *pins, size_t count) CHECKED;
void branch_rules_release(struct job_rules *);
/* Dropped, and the drop is settled: nobody reads it any more. */
bool branch_is_garbage(void *db, helios_branch_id);
/* The point, or as far as the log is durable: what is let go of must not come back by a crash. */
helios_seq branches_durable(struct helios_db *, helios_seq point);
/* Settles the drops that are durable and not above the floor. */
void branches_settle(struct helios_db *, helios_seq floor);

/* ---- what lies on them: branch_space.c ---- */
/* Looks at what dropped branches still take, so that jobs find it; and drops that nothing is left of are no longer
 * looked for. May open tables; without locks. */
struct dropped_space {
    uint64_t branches; /* of which something may be left */
    uint64_t bytes;    /* of tables, about */
    bool in_memory;    /* some of it is in the active memtable */
};
void branch_space_look(struct helios_db *, struct dropped_space *);

#endif
