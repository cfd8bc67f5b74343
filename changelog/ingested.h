/* ingested.h - the operations of an ingested commit, read through the tables that its record names: in the order of
 * branch, space and key, a range delete where its first key stands and before what stands there. One thread at a time;
 * the memory of a cursor, whatever the commit's size. */
#ifndef HELIOS_CHANGELOG_INGESTED_H
#define HELIOS_CHANGELOG_INGESTED_H
#include "engine/feed.h"

struct ingested;

/* HELIOS_FEED_TRIMMED, HELIOS_CORRUPT, and what opening tables fails with. */
helios_status ingested_open(struct helios_db *, const struct wal_record *, struct ingested **) CHECKED;
void ingested_close(struct ingested *); /* NULL is fine */

/* The next operation, borrowed until the next call; a large value is not given, its size is. *there false: the end. */
helios_status ingested_next(struct ingested *, struct op *, bool *there) CHECKED;
/* The value of a key of this commit, of any size; until the next fetch. */
helios_status ingested_fetch(struct ingested *, const struct op *, helios_slice *value) CHECKED;
/* Whether a range delete of this commit covers the key. */
helios_status ingested_covers(struct ingested *, const struct op *, bool *covered) CHECKED;

#endif
