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

#endif
