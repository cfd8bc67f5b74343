/* stretch.h - the timeline of what is not flushed: one entry for each commit, in order, in memory beside its
 * memtable. The publisher of commits appends, one thread at a time, and cannot fail: whoever is about to
 * reserve a number makes sure beforehand that there is a spare chunk (stretch_prepare), and a chunk holds
 * as many entries as there can be commits between reservation and publication. Readers hold the memtable
 * slot or are inside an epoch. See engine/timeline.c for the part that is in tables. */
#ifndef HELIOS_MVCC_STRETCH_H
#define HELIOS_MVCC_STRETCH_H
#include "base/status.h"
#include <stdatomic.h>

enum { STRETCH_CHUNK_ENTRIES = 4096, STRETCH_MARK_WORDS = STRETCH_CHUNK_ENTRIES / 64 };

struct timeline_entry {
    uint64_t time;   /* us; never decreases */
    helios_seq last; /* the commit's number; increases */
    uint32_t count;  /* its operations: it owns (last - count, last] */
    uint32_t bytes;  /* of keys and values; UINT32_MAX: that many or more */
};

struct stretch_chunk {
    struct stretch_chunk *before;
    _Atomic uint32_t count;                        /* release: entries below are written */
    _Atomic uint64_t unlogged[STRETCH_MARK_WORDS]; /* a bit for each entry: in no log */
    struct timeline_entry entries[STRETCH_CHUNK_ENTRIES];
};

struct stretch {
    _Atomic(struct stretch_chunk *) newest; /* release by the publisher; acquire by readers */
    _Atomic(struct stretch_chunk *) spare;
};

void stretch_init(struct stretch *);
void stretch_release(struct stretch *);
/* Makes sure that the next chunk is there; HELIOS_NO_MEMORY. Any thread; one load when it is. */
helios_status stretch_prepare_slowly(struct stretch *) CHECKED;
static inline helios_status stretch_prepare(struct stretch *s)
{
    return atomic_load_explicit(&s->spare, memory_order_acquire) ? HELIOS_OK : stretch_prepare_slowly(s);
}
void stretch_append(struct stretch *, const struct timeline_entry *);
/* The entry appended last is of a commit that is in no log; known to whoever learns of the commit after. */
void stretch_mark_unlogged(struct stretch *);

bool stretch_empty(const struct stretch *);
/* The first and the last entry; false when there is none. */
bool stretch_ends(const struct stretch *, struct timeline_entry *first, struct timeline_entry *last);
/* The last entry whose time is <= time, or whose number is <= seq; false: none, all are later. O(chunks + log n). */
bool stretch_at_time(const struct stretch *, uint64_t time, struct timeline_entry *);
bool stretch_at_seq(const struct stretch *, helios_seq seq, struct timeline_entry *);
/* Entries for walks: those numbered at or above seq upwards, or at or below it downwards; how many, 0: none.
 * Fewer than max although there are more, where a chunk ends. */
size_t stretch_read_up(const struct stretch *, helios_seq seq, struct timeline_entry *out, size_t max);
size_t stretch_read_down(const struct stretch *, helios_seq seq, struct timeline_entry *out, size_t max);
/* Whether the first entry numbered at or above seq is marked so. */
bool stretch_is_unlogged(const struct stretch *, helios_seq seq);

/* All entries by index, of a stretch that is complete: for its flush. */
struct stretch_index {
    const struct stretch_chunk **chunks; /* oldest first; all but the last are full */
    size_t count;                        /* entries */
};
helios_status stretch_index_init(struct stretch_index *, const struct stretch *) CHECKED;
void stretch_index_release(struct stretch_index *);
static inline const struct timeline_entry *stretch_index_at(const struct stretch_index *index, size_t i)
{
    return &index->chunks[i / STRETCH_CHUNK_ENTRIES]->entries[i % STRETCH_CHUNK_ENTRIES];
}

#endif
