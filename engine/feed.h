/* feed.h - the change feed's side of the engine: which of the log is kept, who still needs it. changelog/ reads it.
 *
 * The feed is the log from its first lsn on: an exact number, the *watermark*, durable in the manifest before anything
 * below it goes; and the segment that it lies in. Segments go whole, entries logically. Tables of ingested commits
 * stay under a second name in wal/, until their commit lies below the watermark.
 *
 * Who needs it: consumers (durable names, entries of the system space, user key 'C' | name, that tell the last
 * acknowledged lsn) and open cursors; feed_retention holds what is younger, feed_retention_bytes wins over all. */
#ifndef HELIOS_ENGINE_FEED_H
#define HELIOS_ENGINE_FEED_H
#include "engine/engine_internal.h"

/* HELIOS_UNSUPPORTED, naming the option, while no feed is kept. */
helios_status feed_kept(struct helios_db *) CHECKED;
/* The first lsn that is there, and the last: durable, or visible. 0: none. */
helios_seq feed_first(struct helios_db *);
helios_seq feed_last(struct helios_db *, bool unsynced);
/* HELIOS_FEED_TRIMMED, with from and the watermark in the sentence, if from lies below it or in a range that a crash has
 * cut; but not for the first number of such a range: there goes on who has read everything before it. */
helios_status feed_check(struct helios_db *, helios_seq from) CHECKED;

/* Before-images of what is numbered at or above `next` can be read until the release: a floor at next - 1.
 * HELIOS_HISTORY_GONE. The owner moves it on as it goes (a new one, then the old one's release). */
helios_status feed_floor_acquire(struct helios_db *, helios_seq next, pin_id *) CHECKED;
void feed_floor_release(struct helios_db *, pin_id);

/* ---- consumers ---- */
struct feed_consumer {
    char *name;
    helios_seq acked;   /* everything at or below is done with; 0: nothing */
    bool before_images; /* its floor holds the history that its images need, also while it is not open */
    bool open;
};
/* Opens a durable name for one reader, made at `from` if it is new (its stored position wins over from): *acked gets its
 * position. HELIOS_BUSY if it is open; HELIOS_INVALID for a name as tags and branches have them. */
helios_status feed_consumer_open(struct helios_db *, const char *name, helios_seq from, bool before_images,
                                 struct feed_consumer **, helios_seq *acked) CHECKED;
void feed_consumer_close(struct helios_db *, struct feed_consumer *);
/* Durable; never goes back: an older lsn changes nothing. HELIOS_INVALID above what there is. */
helios_status feed_consumer_ack(struct helios_db *, struct feed_consumer *, helios_seq lsn) CHECKED;

/* ---- ingested commits ---- */
/* The i-th table that an ingest record names, open, also after compactions: from the tree or under its name in wal/. The
 * caller unrefs it. */
helios_status feed_table_open(struct helios_db *, const struct file_record *, helios_seq commit,
                              struct table_file **) CHECKED;

/* ---- upkeep ---- */
/* Of the janitor: what retention lets go. */
void feed_look(struct helios_db *);

#endif
