/* vector.h - what a branch contains of others: its merge vector, and from two of them the bases of a merge.
 *
 * The vector of b at s is, for s >= fork_seq(b): the parent's at fork_seq(b), the parent itself up to there, and what
 * b's merges numbered <= s have added; below: the parent's at s, and the parent up to s. A number 0 is the point
 * before the first commit: contained, not missing. Pure: no I/O, no locks; registry.h says who may call. */
#ifndef HELIOS_BRANCH_VECTOR_H
#define HELIOS_BRANCH_VECTOR_H
#include "branch/registry.h"

struct vector_entry {
    helios_branch_id branch;
    helios_seq seq;
};
struct vector {
    struct vector_entry *at; /* ascending by branch */
    size_t count, capacity;
};
void vector_release(struct vector *);
helios_status vector_raise(struct vector *, helios_branch_id, helios_seq) CHECKED;
bool vector_find(const struct vector *, helios_branch_id, helios_seq *); /* false: not contained at all */

/* One merge into a branch; immutable, but for let_go, once it is in the registry, which then owns it. */
struct merge {
    struct merge *older; /* into the same branch */
    uint32_t ordinal;    /* the first is 0 */
    helios_seq commit;
    uint64_t time;
    struct vector_entry source, base; /* the first base, if there were several */
    bool has_base, closed_source;
    size_t count;
    struct raised {
        struct vector_entry
            at;      /* what the target's vector did not contain before, the source's point among it */
        bool let_go; /* its hold is gone, as a later merge has raised it further; guarded by the holds' lock */
    } raised[];
};
struct merge *merge_alloc(size_t raised); /* zeroed; NULL: no memory */
void merge_free(struct merge *);
/* The newest first; NULL: none. */
struct merge *branch_merges(const struct branch *);
/* Takes it over. */
void branch_add_merge(struct branch *, struct merge *);

helios_status merge_encode(helios_buf *, const struct merge *) CHECKED;
/* NULL: damaged, or no memory; the status tells. commit and ordinal are the caller's to set. */
helios_status merge_decode(helios_slice value, struct merge **) CHECKED;

/* A point of the branch on which it lies: at or below a fork nothing lies on the branch itself. */
struct vector_entry point_settled(const struct registry *, helios_branch_id, helios_seq);

/* The vector of a branch at a point, the branch itself up to there included. Adds to *vector. */
helios_status vector_of(const struct registry *, helios_branch_id, helios_seq, struct vector *vector) CHECKED;

/* The points that two states have in common and that no other such point contains. lost: one of them is on a
 * dropped branch, whose content is gone: there is no base then. */
struct bases {
    struct vector points;
    bool lost;
};
void bases_release(struct bases *);
helios_status bases_find(const struct registry *, const struct vector *, const struct vector *,
                         struct bases *) CHECKED;

/* What `theirs` contains and `ours` does not. */
helios_status vector_missing(const struct vector *theirs, const struct vector *ours,
                             struct vector *out) CHECKED;

#endif
