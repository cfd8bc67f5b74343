/* branches.h - what the paths of this room ask about branches. */
#ifndef HELIOS_ENGINE_BRANCHES_H
#define HELIOS_ENGINE_BRANCHES_H
#include "branch/registry.h"
#include "engine/engine_internal.h"

/* At open, after recovery and before anything is collected. */
helios_status branches_load(struct helios_db *) CHECKED;

enum { BRANCH_KEY_BYTES = 5 };
helios_slice branch_key(unsigned char out[BRANCH_KEY_BYTES], helios_branch_id);
/* The branch as its entry says it; borrows. And the entry as a commit; commit may be NULL. */
struct branch_record branch_entry_of(const struct branch *);
helios_status branch_entry_commit(struct helios_db *, const struct branch_record *, helios_seq *commit) CHECKED;

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

/* Whether a branch's fork holds what (branch, seq) reads, below the horizon. */
bool branch_forked_at(struct helios_db *, helios_branch_id, helios_seq);

/* The same, or a merge's base may be there. */
bool branch_holds_point(struct helios_db *, helios_branch_id, helios_seq);

/* What jobs may collect, branch by branch: fills in rules->branches and others. pins: the points pinned on every
 * branch, ascending, below the rules' horizon; borrowed. */
helios_status branch_rules_init(struct helios_db *, struct job_rules *, const helios_seq *pins,
                                size_t count) CHECKED;
void branch_rules_release(struct job_rules *);
bool branch_is_garbage(void *db, helios_branch_id);

#endif
