/* feed_consumers.h - the list of consumers, for the files that make, open and acknowledge for them. See feed.h. */
#ifndef HELIOS_ENGINE_FEED_CONSUMERS_H
#define HELIOS_ENGINE_FEED_CONSUMERS_H
#include "engine/feed.h"

helios_status consumer_new(helios_slice name, struct feed_consumer **) CHECKED;
void consumer_free(struct feed_consumer *);
/* Where the name is or would be. Under change_mu or mu. */
size_t consumer_place(const struct feed *, helios_slice name, bool *found);
/* NULL: none, or not yet. Under change_mu. */
struct feed_consumer *consumer_made(const struct feed *, helios_slice name);
/* Takes the consumer, whose name is not there yet, unless it fails. */
helios_status consumer_add(struct feed *, struct feed_consumer *) CHECKED;
/* Out of the list, with what it holds. Under change_mu. */
void consumer_remove(struct helios_db *, struct feed_consumer *);
/* Heard of at this time by the wall clock. From here on the monotonic one counts. */
void consumer_set_active(struct helios_db *, struct feed_consumer *, uint64_t active);
/* History for one that stands there. HELIOS_HISTORY_GONE. */
helios_status consumer_floor(struct helios_db *, helios_seq acked, pin_id *) CHECKED;
/* The commit that says so is visible: it was heard of, and holds again. One that was lost may be back, if there is history
 * for it. */
void consumer_moved(struct helios_db *, struct feed_consumer *, helios_seq acked, uint64_t active,
                    helios_seq commit);
/* HELIOS_INVALID for what nobody can have read. */
helios_status consumer_check_ack(struct helios_db *, helios_seq lsn) CHECKED;

#endif
