/* feed.h - the change feed's side of the engine: which of the log is kept, who still needs it. changelog/ reads it.
 *
 * The feed is the log from its first lsn on: an exact number, the *watermark*, durable in the manifest before anything
 * below it goes; and the segment that it lies in. Segments go whole, entries logically. Tables of ingested commits
 * stay under a second name in wal/, made before their record is written, until their commit lies below the watermark.
 *
 * Who needs it: consumers (durable names, entries of the system space, user key 'C' | name, that tell the last
 * acknowledged lsn); a cursor without a name holds nothing. feed_retention holds what is younger, feed_retention_bytes
 * wins over all: consumers that it passes are lost, they get HELIOS_FEED_TRIMMED and hold nothing any more; nor do those that were not
 * heard of for consumer_expiry. */
#ifndef HELIOS_ENGINE_FEED_H
#define HELIOS_ENGINE_FEED_H
#include "engine/engine_internal.h"

/* HELIOS_UNSUPPORTED, naming the option, while no feed is kept. A read-only open has what was kept. */
helios_status feed_kept(struct helios_db *) CHECKED;
/* The log that cursors read; not NULL while a feed is kept. */
struct wal *feed_log(struct helios_db *);
/* The watermark: no entry is below. 0: no feed is kept. */
helios_seq feed_first(struct helios_db *);
/* The last lsn that is durable, or visible. Where an open has skipped numbers, maybe one of those. */
helios_seq feed_last(struct helios_db *, bool unsynced);
/* HELIOS_FEED_TRIMMED, with from and the watermark in the sentence, if from lies below it or in a range that a crash has
 * cut; but not for the first number of such a range: there goes on who has read everything before it. */
helios_status feed_check(struct helios_db *, helios_seq from) CHECKED;

/* Before-images of what is numbered at or above `next` can be read until the release: a floor at next - 1.
 * HELIOS_HISTORY_GONE. The owner moves it on as it goes (a new one, then the old one's release). */
helios_status feed_floor_acquire(struct helios_db *, helios_seq next, pin_id *) CHECKED;
void feed_floor_release(struct helios_db *, pin_id);

/* ---- consumers: feed_consumers.c, feed_consumer_open.c, feed_acks.c ---- */
struct feed_consumer {
    /* Constant. */
    char *name;
    uint64_t created;
    /* Changed under change_mu and mu of the feed, read under either. */
    helios_seq acked;   /* everything at or below is done with; 0: nothing */
    helios_seq wanted;  /* by the batch that is being written */
    uint64_t active;    /* when it was heard of, as its entry says */
    bool before_images; /* its floor holds the history that its images need, also while it is not open */
    bool open;
    bool made; /* its commit is done; else it only holds */
    bool
        fresh; /* nothing was acknowledged: it stands where it was made. On disk: one commit wrote both of its entries last */
    /* Guarded by mu. */
    bool lost; /* what it has not acknowledged has gone */
    bool
        expired; /* it was not heard of for consumer_expiry and holds nothing, but may come back before it is lost */
    uint64_t quiet, quiet_from; /* not heard of for `quiet` us at quiet_from, by the monotonic clock */
    helios_seq anew; /* its reader begins again behind this number, not acknowledged yet; 0: it does not */
    pin_id floor;    /* 0: none */
    helios_seq
        held; /* where that is: a position that is known to be durable, so that an open finds history for the one it finds */
    helios_seq told;            /* the commit of its entry; at open alone */
    helios_seq ack_commit;      /* that made it stand at `acked` */
    helios_seq due, due_commit; /* a position that the floor moves to once its commit is durable; 0: none */
};
/* Opens a durable name for one reader, made at `from` if it is new (0: at the watermark; its stored position wins over
 * from): *acked gets its position, it goes on at *acked + 1. What it wants of before-images is remembered. HELIOS_BUSY if it is
 * open; HELIOS_INVALID for a name as tags and branches have them, or a new one above what there is; HELIOS_FEED_TRIMMED;
 * HELIOS_HISTORY_GONE. */
helios_status feed_consumer_open(struct helios_db *, const char *name, helios_seq from, bool before_images,
                                 struct feed_consumer **, helios_seq *acked) CHECKED;
/* One with before-images also where what it should go on with has gone, made at `from` if it is new: it then holds
 * nothing. HELIOS_BUSY, HELIOS_INVALID. */
helios_status feed_consumer_open_gone(struct helios_db *, const char *name, helios_seq from,
                                      struct feed_consumer **) CHECKED;
/* While it is open, or until it acknowledges, it holds what is behind this number instead of what it has not acknowledged.
 * Its position stays: a reader that does not come to the acknowledgement begins anew another time. */
void feed_consumer_begin_anew(struct helios_db *, struct feed_consumer *, helios_seq at);
void feed_consumer_close(struct helios_db *, struct feed_consumer *);
/* Where it stands, for a read-only open, which holds nothing: *acked. HELIOS_NOT_FOUND. */
helios_status feed_consumer_position(struct helios_db *, const char *name, helios_seq *acked) CHECKED;
/* Whether something was acknowledged: who reads on there has dealt with what was before. Of a name that is there. */
bool feed_consumer_goes_on(struct helios_db *, const char *name);
/* Durable; never goes back: an older lsn changes nothing. HELIOS_INVALID above what there is. */
helios_status feed_consumer_ack(struct helios_db *, struct feed_consumer *, helios_seq lsn) CHECKED;
/* Writes a settled batch with acknowledgements in it. */
helios_status feed_write_acks(struct helios_db *, helios_branch_id, helios_durability, struct write_set *,
                              helios_seq *commit) CHECKED;
/* The floors move on to what has become durable. */
void feed_consumers_follow(struct helios_db *);
/* At open, with the watermark to be, before history is collected. */
helios_status feed_consumers_load(struct helios_db *, helios_seq first) CHECKED;
void feed_consumers_release(struct helios_db *);
/* Everything below may go as far as consumers are concerned; SEQ_MAX: there is none. */
helios_seq feed_consumers_need(struct helios_db *);
/* The watermark has moved: says who is lost by it. */
void feed_consumers_passed(struct helios_db *);
/* Who holds history, for lists; mem_free()d by the caller. */
struct feed_held {
    char name[256];
    helios_seq at;
    uint64_t since;
};
helios_status feed_consumers_held(struct helios_db *, struct feed_held **, size_t *count) CHECKED;
enum consumers_counted { CONSUMERS_ALL, CONSUMERS_LOST, CONSUMERS_EXPIRED };
size_t feed_consumers_count(struct helios_db *, enum consumers_counted);
/* Those that were not heard of for consumer_expiry hold nothing from here on. */
void feed_consumers_expire(struct helios_db *);

/* ---- ingested commits: feed_tables.c ---- */
/* A table that an ingest record names, open, also after compactions: from the tree or under its name in wal/. The
 * caller unrefs it. HELIOS_FEED_TRIMMED. */
helios_status feed_table_open(struct helios_db *, const struct file_record *, helios_seq commit,
                              struct table_file **) CHECKED;
/* Gives the tables of a reserved commit their second names, durably. On failure they have none. */
helios_status feed_tables_keep(struct helios_db *, const struct compact_result *, helios_seq commit) CHECKED;
/* At open: which there are. Names of commits that are not there, or below the watermark to be, go; 0: all do. */
helios_status feed_tables_load(struct helios_db *, helios_seq first) CHECKED;
void feed_tables_trim(struct helios_db *, helios_seq first);     /* those of commits below */
uint64_t feed_tables_bytes(struct helios_db *, helios_seq from); /* of commits at or above */
/* For checkpoints: links those at or above from into another database's directory. Under manifest_mu. */
helios_status feed_tables_link(struct helios_db *, const char *path, helios_seq from) CHECKED;
/* <commit>-<number>.sst? */
bool feed_table_name(const char *name, helios_seq *commit, uint64_t *number);

/* ---- archives of the log: feed_terms.c ---- */
void feed_terms(const struct wal_record *, struct wal_terms *);

/* ---- open and upkeep ---- */
void feed_init(struct helios_db *); /* nothing is kept yet */
/* What the manifest says (mark 0: no feed was kept), and with it what this open wants; before anything runs. */
helios_status feed_found(struct helios_db *, helios_seq mark, uint64_t segment) CHECKED;
void feed_release(struct helios_db *);
/* Arrival of commits, as history_retention knows it. */
helios_status feed_load_retention(struct helios_db *, const struct horizon_sample *, size_t count) CHECKED;
/* After the replay, when numbers are what they will be; what it decides is durable with the next edit. */
helios_status feed_begin(struct helios_db *) CHECKED;
/* After that edit: what no feed needs any more goes. */
void feed_settle(struct helios_db *);
/* Of the janitor: what retention lets go. */
void feed_look(struct helios_db *);

#endif
