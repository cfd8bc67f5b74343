/* feed_state.h - what an open database knows of its change feed: the watermark, consumers, tables of ingested commits.
 * Part of struct helios_db; feed*.c work on it.
 *
 * Lock order: change_mu, then move_mu, both above all others of the engine; mu is below all others. notify_mu is taken with none of them. */
#ifndef HELIOS_ENGINE_FEED_STATE_H
#define HELIOS_ENGINE_FEED_STATE_H
#include "base/status.h"
#include "base/thread.h"

struct feed_consumer;
struct feed_notifier;
struct horizon;

/* A table that an ingested commit brought, under its second name. */
struct feed_table {
    helios_seq commit;
    uint64_t number, bytes;
};

struct feed {
    /* Atomic. The watermark: every entry numbered at or above is there, those below are gone; as the manifest has it.
     * 0: no feed is kept. */
    _Atomic helios_seq first;
    struct wal *found; /* read-only: the log as recovery found it; constant. NULL: no feed was kept */

    /* The watermark moves, a consumer begins somewhere; one at a time. */
    struct mutex move_mu;
    struct horizon *retention; /* by age; its points are numbers of entries that may go */
    uint64_t moved;            /* when it moved last, by the monotonic clock */

    /* What edits of the manifest say, guarded by manifest_mu: the watermark, and its segment. */
    helios_seq mark;
    uint64_t segment;

    /* Consumers are made, dropped, acknowledge; one at a time, from the look at what there is to the commit's
     * publication. */
    struct mutex change_mu;

    struct mutex mu;
    struct feed_consumer **consumers; /* by name */
    size_t consumer_count, consumer_capacity;
    struct feed_table *tables;
    size_t table_count, table_capacity;

    /* Begins with the first descriptor of a cursor, ends with the last; changelog/notify.c. */
    struct mutex notify_mu;
    struct feed_notifier *notifier;
};

#endif
