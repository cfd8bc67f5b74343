/* job.h - the merge of a flush or compaction: a cursor over all versions in, tables out.
 * Knows nothing of levels. Fixed memory: one key, one writer, the list of results.
 *
 * Outputs are cut between user keys, never inside one; the range deletes of each are clipped to its part
 * of the key space, so the outputs are disjoint and in order. The caller syncs the directory. */
#ifndef HELIOS_COMPACTION_JOB_H
#define HELIOS_COMPACTION_JOB_H
#include "base/cursor.h"
#include "compaction/garbage.h"
#include "sstable/file.h"
#include <stdatomic.h>

/* Written by the job every few hundred entries, read by anybody; sums over jobs that share one. */
struct compact_progress {
    _Atomic uint64_t entries_read, bytes_read;       /* keys and values */
    _Atomic uint64_t entries_written, bytes_written; /* bytes: of finished files */
    _Atomic uint64_t dropped;                        /* versions left out */
};

struct compact_job {
    struct cursor *input;                 /* CURSOR_ALL; the job positions it; stays the caller's */
    helios_slice lower, upper;            /* [lower, upper) of keys with layer; no data: open */
    const struct rangedel_set *rangedels; /* of all inputs together; NULL: none */
    const struct garbage_rules *rules;

    const struct table_home *home;      /* where the outputs go */
    uint64_t (*next_number)(void *arg); /* of the next output */
    void *next_number_arg;
    const struct table_writer_options *writer; /* all but fs, number and path */
    uint64_t target_bytes;                     /* of an output */
    struct table_file *const *grandparents;    /* sorted; the level below the outputs, in this range */
    size_t grandparent_count;
    uint64_t grandparent_bytes_max; /* an output that overlaps more is cut; 0: no limit */

    const _Atomic bool *cancel;        /* NULL: never; seen within a few hundred entries */
    struct compact_progress *progress; /* NULL: not wanted */
    /* Called every few hundred entries with those read so far and the bytes of their keys and values; NULL: not wanted. */
    void (*tick)(void *arg, uint64_t entries, uint64_t bytes);
    void *tick_arg;
};

struct compact_result {
    struct table_result *tables; /* ascending; may be none */
    size_t count;
    uint64_t entries_read, entries_written, dropped;
};

/* On failure no output file is left and *result is untouched. HELIOS_BUSY: cancelled. */
helios_status compact_run(const struct compact_job *, struct compact_result *result) CHECKED;
void compact_result_release(struct compact_result *); /* memory only; the files stay */
/* Removes the files too: what was written could not be installed. */
void compact_result_discard(struct compact_result *, const struct table_home *);

#endif
