/* holds.h - what the garbage rule has to know of branches: the points of each that stay readable below the horizon, as a
 * live branch was forked there or a merge needs it for a base; and the branches that nobody can read any more. Any
 * thread, beside readers and the registry's changes: a lock of its own, below all others and held for moments.
 *
 * A hold of (b, s) is one of (b, s), and where s lies before b's own fork, of (parent(b), s), and so on: what shows through
 * there. From b's fork on that is the fork's own hold, which lasts while b lives. */
#ifndef HELIOS_BRANCH_HOLDS_H
#define HELIOS_BRANCH_HOLDS_H
#include "base/thread.h"
#include "branch/registry.h"

struct branch_holds {
    const struct registry *registry;
    struct mutex mu;
    struct branch *dropped;    /* whose drop is not settled yet */
    size_t points;             /* of all branches, distinct */
    struct replaced *replaced; /* entries of merges that later ones have raised */
    size_t replaced_count, replaced_capacity;
    _Atomic uint64_t drops, settled; /* branches dropped so far; those of them that are garbage */
    _Atomic helios_seq through;      /* drops above are not settled */
};
void holds_init(struct branch_holds *, const struct registry *);
void holds_release(struct branch_holds *);

/* One hold more, or one less; fails only with HELIOS_NO_MEMORY, and then holds nothing. A branch's own fork is held by
 * whoever makes it, before its commit, on the parent. */
helios_status holds_add(struct branch_holds *, helios_branch_id, helios_seq) CHECKED;
void holds_remove(struct branch_holds *, helios_branch_id, helios_seq);
bool holds_have(struct branch_holds *, helios_branch_id, helios_seq);

/* The branch is dropped: once that is settled, all of it is garbage and the hold of its fork is gone. Drops are settled
 * through a commit as soon as that is durable and nobody needs a state from before it: else a crash could bring
 * a branch back without its content. */
void holds_drop(struct branch_holds *, struct branch *);
void holds_settle(struct branch_holds *, helios_seq through);

/* An entry of a merge into the target was raised by a later one, numbered `by`: it is for states of the target in
 * [merge->commit, by) alone, and let go of by the garbage rule as a version would be: when `by` is at or below through and
 * neither a pin nor a hold of the target lies in between. Without memory it stays until the next open. */
void holds_replaced(struct branch_holds *, const struct branch *target, struct merge *, size_t index,
                    helios_seq by);
/* Whether the merge's entry still holds its point. */
bool holds_entry(struct branch_holds *, const struct merge *, size_t index);
void holds_settle_replaced(struct branch_holds *, helios_seq through, const helios_seq *pins, size_t count);

/* What is held below a point, and the garbage; ascending by branch, others have neither. */
struct held_branch {
    helios_branch_id branch;
    bool garbage;
    const helios_seq *points; /* ascending, distinct */
    size_t count;
};
struct held_list {
    struct held_branch *at;
    size_t count;
    helios_seq *points; /* of all of them */
    uint64_t settled;   /* how many branches were garbage */
};
helios_status holds_list(struct branch_holds *, helios_seq below, struct held_list *) CHECKED;
void held_list_release(struct held_list *); /* {0} is fine */

#endif
