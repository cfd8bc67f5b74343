/* notify.h - tells programs that poll when a cursor of the feed has something to give. Used by feed_cursor.c.
 *
 * One thread a database, there while a cursor has a descriptor. It sleeps where followers sleep, and counts as one of
 * them, only while a cursor is *armed*: its reader was told that there is nothing, and its descriptor is not readable. So
 * who has no reader that waits pays nothing. */
#ifndef HELIOS_CHANGELOG_NOTIFY_H
#define HELIOS_CHANGELOG_NOTIFY_H
#include "engine/feed.h"

/* What an armed cursor waits for; copied from it, as it may be read on meanwhile. */
struct watch_wish {
    helios_seq above; /* `visible`: a commit above is visible; else the log is durable further than upto */
    wal_pos upto;
    bool visible;
    uint64_t due; /* by the monotonic clock; UINT64_MAX: none */
};
struct change_watch; /* a cursor's descriptor; the list and thread hold no reference, it holds them */

/* Readable from the start: nobody has looked yet. */
helios_status watch_new(struct helios_db *, struct change_watch **) CHECKED;
void watch_free(struct helios_db *, struct change_watch *); /* NULL is fine */
int watch_fd(const struct change_watch *);
/* Its reader found nothing: not readable until what is wished for has come, which may be now. */
void watch_arm(struct helios_db *, struct change_watch *, const struct watch_wish *);
/* Readable until it is armed again. */
void watch_set(struct helios_db *, struct change_watch *);

#endif
