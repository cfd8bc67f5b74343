/* pick_internal.h - spans of keys and runs of files, for the pickers only. */
#ifndef HELIOS_COMPACTION_PICK_INTERNAL_H
#define HELIOS_COMPACTION_PICK_INTERNAL_H
#include "compaction/pick.h"

/* [from, to], or [from, to) if exclusive; a slice without data is open. */
struct span {
    helios_slice from, to;
    bool exclusive;
};

/* files[first, end) of a level. */
struct run {
    size_t first, end;
};

struct span span_of(const struct table_file *);
void span_add(struct span *, const struct table_file *);
struct span span_of_files(struct table_file *const *files, size_t count);
bool span_overlaps(const struct span *, const struct span *);
bool file_overlaps(const struct table_file *, const struct span *);

/* The files of a sorted level that overlap, and those that share a user key with them. */
struct run level_overlaps(const struct compact_level *, const struct span *);
struct run level_widened(const struct compact_level *, struct run);
bool run_is_busy(const struct compact_level *, struct run);
uint64_t run_bytes(const struct compact_level *, struct run);
uint64_t level_bytes(const struct compact_level *);

/* The largest and smallest number in a table. */
helios_seq file_seq_max(const struct table_file *);
helios_seq file_seq_min(const struct table_file *);

/* L0 files that may be moved down: [compact_l0_begin, count). */
size_t compact_l0_begin(const struct compact_tree *);
/* Where the sorted run that begins at L0 file `first` ends. */
size_t compact_l0_run_end(const struct compact_tree *, size_t first);

/* Would a rewrite at the tree's horizon let go of much, judged by counts? */
bool compact_is_expired(const struct compact_tree *, const struct table_file *);
bool compact_has_tombstones(const struct compact_tree *, const struct table_file *);
/* Would it let go of half of the file's entries by age alone? */
bool compact_has_aged(const struct compact_tree *, const struct table_file *);
/* Is enough of it, by the owner's estimate, of dropped branches? And may there be anything of one in it at all? */
bool compact_has_dropped(const struct compact_tree *, const struct table_file *);
bool compact_may_have_dropped(const struct compact_tree *, const struct table_file *);
/* Has it range deletes, all behind the horizon, that were not when it was written? How much they hide in the file
 * itself is not counted anywhere. */
bool compact_may_hide(const struct compact_tree *, const struct table_file *);

#endif
