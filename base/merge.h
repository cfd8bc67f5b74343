/* merge.h - several cursors as one, by a loser tree (Knuth, TAOCP 3, 5.4.1).
 *
 * merge_cursor_new takes over the cursors (and frees them) on success. At a read point it yields each
 * key once, the entry with the greatest tag; over all versions it yields every (key, tag) once, the
 * first source's where two are equal. A single live source runs without the tree. Both directions at
 * a read point; forward only over all versions. `sources` is copied. */
#ifndef HELIOS_BASE_MERGE_H
#define HELIOS_BASE_MERGE_H
#include "base/cursor.h"

helios_status merge_cursor_new(struct cursor *const *sources, size_t count, helios_seq read_point,
                               struct cursor **) CHECKED;

/* At a read point, over layers: of each source what lies on one branch, and nothing else. Keys come, and are sought,
 * without their branch, so that a branch and its ancestors merge into what the branch shows: what a child wrote came
 * after its fork point, and of the parent the source must let nothing above that point through. `branches` is copied. */
helios_status merge_layers_new(struct cursor *const *sources, const helios_branch_id *branches, size_t count,
                               struct cursor **) CHECKED;

/* While it walks forward at a read point: the sources that yield nothing numbered at or above `below` (newests[i] of the
 * i-th is below it) go on to the first key >= `to`, which is above the current one. Keys as they are shown. False: no
 * source was behind, nothing was moved. */
bool merge_skip(struct cursor *, const helios_seq *newests, helios_seq below, helios_slice to);

#endif
