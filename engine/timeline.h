/* timeline.h - when commits were made: what a flush writes of it, and the look-ups that commits.c and horizon.c
 * share with the public ones. */
#ifndef HELIOS_ENGINE_TIMELINE_H
#define HELIOS_ENGINE_TIMELINE_H
#include "engine/engine_internal.h"
#include "engine/sources.h"
#include "mvcc/timeline.h"

/* The entries of a complete, not empty stretch as a cursor over versions, for a flush. before: the last commit
 * whose entry is in tables; 0: none. The stretch outlives it. */
helios_status timeline_cursor_new(const struct stretch *, helios_seq before, struct cursor **) CHECKED;

/* The range of its keys; `below` is for the caller to fill in. */
extern const struct garbage_aged timeline_keys;

/* Sources over all of the timeline that is in tables; their view has the rest. */
helios_status timeline_open(struct helios_db *, struct sources *) CHECKED;
/* The run in tables that holds `seq`, or else the first one above; *found false: all are below. */
helios_status timeline_run_from(struct helios_db *, struct sources *, helios_seq seq, struct timeline_run *,
                                bool *found) CHECKED;
/* The last run in tables that ends at or below seq. */
helios_status timeline_run_below(struct helios_db *, struct sources *, helios_seq seq, struct timeline_run *,
                                 bool *found) CHECKED;

/* Entries of timeline runs numbered below are needed by nobody: the number of the commit that the point shows, if
 * that is in tables. 0: none. Failures to read count as none. */
helios_seq timeline_floor(struct helios_db *, helios_seq point);

/* The last commit numbered at or below seq; 0: none that is known. */
helios_status timeline_commit_at(struct helios_db *, helios_seq seq, helios_seq *last) CHECKED;
/* The commits numbered in [from, to], which the caller keeps in the timeline: how many operations they have, and the
 * lsn of the first; zeros: there are none. Walks over all of them, or to the first: commits.c. */
struct timeline_count {
    uint64_t operations;
    helios_seq first;
};
helios_status timeline_operations(struct helios_db *, helios_seq from, helios_seq to,
                                  struct timeline_count *) CHECKED;
helios_status timeline_first(struct helios_db *, helios_seq from, helios_seq to,
                             struct timeline_count *) CHECKED;

#endif
