/* rangedel.h - range deletes, fragmented: cut at each other's ends into disjoint pieces, each with
 * the numbers that cover it, newest first; so that asking for a key is one binary search.
 * A set is immutable and owns its bytes; sets are counted (holders: memtables, tables, cursors). */
#ifndef HELIOS_BASE_RANGEDEL_H
#define HELIOS_BASE_RANGEDEL_H
#include "base/key.h"
#include "base/status.h"

struct rangedel {
    helios_slice from, to;
    helios_seq seq;
}; /* [from, to), keys with their layer */

struct rangedel_fragment {
    helios_slice from, to;
    const helios_seq *seqs; /* newest first, distinct */
    size_t count;           /* > 0 */
};

struct rangedel_set {
    const struct rangedel_fragment *fragments; /* by from, disjoint; neighbours may touch */
    size_t count;
    helios_seq seq_min, seq_max;
    size_t bytes; /* memory taken */
};

/* From items in any order; from < to in each. */
helios_status rangedel_build(const struct rangedel *items, size_t count, struct rangedel_set **) CHECKED;
/* A new set that also has the item; old may be NULL and is not changed. */
helios_status rangedel_add(const struct rangedel_set *old, const struct rangedel *item,
                           struct rangedel_set **) CHECKED;
struct rangedel_set *rangedel_ref(struct rangedel_set *);
void rangedel_unref(struct rangedel_set *); /* NULL is fine */

/* The newest number <= limit that covers key; 0 when none does. NULL set: 0. O(log n). */
helios_seq rangedel_newest(const struct rangedel_set *, helios_slice key, helios_seq limit);
/* The oldest number > above that covers key; 0 when none does: what shadows a version next. */
helios_seq rangedel_next_above(const struct rangedel_set *, helios_slice key, helios_seq above);
/* Index of the first fragment whose `to` is above key (count if none). */
size_t rangedel_find(const struct rangedel_set *, helios_slice key);

#endif
