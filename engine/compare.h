/* compare.h - walks the keys that may differ between states of branches, and holds the states side by side at each
 * of them. What diffs, merges and reverts are made of.
 *
 * A state is a read point of a branch. A pair of them makes candidates: the keys that were written, or lie in a
 * range that was deleted, between the two states and their nearest common one; files, blocks and memtables that
 * have nothing in between are not touched. Every key that differs in a pair is a candidate; some candidates do not
 * differ. Candidates of several pairs come as one ordered walk.
 *
 * The caller keeps all points readable (pins) and the branches alive (branch_hold) until compare_free(). One
 * thread at a time. */
#ifndef HELIOS_ENGINE_COMPARE_H
#define HELIOS_ENGINE_COMPARE_H
#include "engine/engine_internal.h"

struct state_point {
    helios_branch_id branch;
    helios_seq seq; /* 0: before the first commit */
};

struct compare_options {
    uint8_t space;
    helios_slice lower, upper; /* user keys [lower, upper); no data: open; copied */
    const struct state_point *states;
    size_t state_count;
    const uint8_t (*pairs)[2]; /* of indices of states */
    size_t pair_count;
    bool fill_cache;
};

struct compare;

helios_status compare_new(struct helios_db *, const struct compare_options *, struct compare **) CHECKED;
void compare_free(struct compare *); /* NULL is fine */
/* On to the next candidate, the first at first; false: the end, or an error, which the status tells. */
bool compare_next(struct compare *);
helios_status compare_status(const struct compare *) CHECKED;
/* Of the candidate, until the next call of compare_next(). A state is looked up when it is first asked about; a
 * failure there ends the walk: false, 0, HELIOS_... and the status tells it. */
helios_slice compare_key(const struct compare *); /* the user key */
bool compare_has(struct compare *, size_t state);
helios_seq compare_seq(struct compare *, size_t state); /* the value's commit; 0: absent */
helios_status compare_value(struct compare *, size_t state, helios_slice *) CHECKED; /* only where it has one */
/* Both absent, the same version, or the same bytes. */
helios_status compare_equal(struct compare *, size_t a, size_t b, bool *equal) CHECKED;

#endif
