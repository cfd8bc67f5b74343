/* changes_internal.h - a cursor over the change feed, as the files of this room share it. feed_cursor.c makes it and hands
 * entries out; follow.c finds the next commit, or waits for one; entries.c makes entries of it; images.c reads the state
 * before it. */
#ifndef HELIOS_CHANGELOG_CHANGES_INTERNAL_H
#define HELIOS_CHANGELOG_CHANGES_INTERNAL_H
#include "changelog/delta_tables.h"
#include "changelog/ingested.h"
#include "changelog/notify.h"
#include "changelog/own.h"
#include "engine/feed.h"

/* One entry with the bytes that are not its record's: two of them, as one is always made ahead. */
struct change_entry {
    helios_change change;
    helios_buf key, value, before;
    bool large; /* the value is still to be fetched from its table */
};

/* The keys that a range delete has deleted: what was visible before its commit, with what the commit did before it. Piece by
 * piece, where only tables are wanted. */
struct expansion {
    helios_iter *tree; /* at the number before the commit; NULL: no range is being expanded */
    struct op range;
    uint32_t index;
    size_t own;                /* the next of the commit's own keys */
    uint32_t table;            /* the next one that may be in it */
    helios_slice lower, upper; /* what of it is wanted; the record's, the tables' or the prefix's bytes */
};

/* The commit that is being handed out. */
struct change_commit {
    struct wal_record record; /* its body is the log cursor's */
    bool open;
    helios_seq last;
    uint32_t at;             /* operations read */
    struct reader reader;    /* COMMIT */
    struct ingested *tables; /* INGEST; else NULL */
    struct own own;          /* built where the state before an operation is wanted */
    struct expansion expansion;
};

struct helios_changes {
    struct helios_db *db;
    /* As asked for. */
    helios_seq from, to; /* to 0: no end */
    uint64_t to_time;    /* 0: none */
    helios_buf prefix, prefix_end;
    bool has_prefix, has_prefix_end;
    const struct delta_tables *tables; /* keys of others are not wanted; NULL: all are */
    bool one_branch;
    helios_branch_id branch;
    bool images, expand, unsynced, all_spaces;
    /* Where it stands. */
    struct wal_cursor *log;
    helios_seq next; /* everything below was read */
    bool ended;      /* past the end that was asked for */
    /* The end of what may be read, as last seen: all that was visible then is below `published`. */
    helios_seq visible;
    wal_pos published, upto;
    struct wal_record pending; /* read, not yet visible */
    bool has_pending;
    struct change_commit commit;
    struct change_entry entries[2];
    unsigned ahead; /* which of them is the next one */
    bool has_ahead;
    struct feed_consumer *consumer;
    pin_id floor;
    helios_seq floor_at;
    struct change_watch *watch; /* NULL: nobody asked for a descriptor */
    struct error_note error;
};

/* ---- follow.c ---- */
struct deadline {
    uint64_t timeout, until;
    bool counting;
};
/* The next commit that has numbers at or above `from`. HELIOS_TIMEOUT; HELIOS_NOT_FOUND behind the end. */
helios_status changes_next_commit(helios_changes *, struct deadline *, struct wal_record *) CHECKED;
/* It found none: what would have to come for it to find one. */
struct watch_wish changes_wish(const helios_changes *);

/* ---- entries.c ---- */
helios_status commit_begin(helios_changes *, const struct wal_record *) CHECKED;
void commit_end(helios_changes *);
/* Its next entry into entries[ahead]; has_ahead false: there is none. */
helios_status commit_next(helios_changes *) CHECKED;
/* HELIOS_CORRUPT, naming the commit's place in the log. */
helios_status commit_damaged(const helios_changes *);

/* ---- images.c ---- */
/* Whether images or the keys of ranges are wanted: history is read. */
static inline bool changes_look_back(const helios_changes *c)
{
    return c->images || c->expand;
}
/* The state before everything that is still to be read stays readable; moved when it is far behind, or `now`. */
helios_status floor_follow(helios_changes *, bool now) CHECKED;
/* The image before the operation with this index: into the entry. */
helios_status image_before(helios_changes *, const struct op *, uint32_t index, struct change_entry *) CHECKED;
helios_status expansion_open(helios_changes *, const struct op *, uint32_t index) CHECKED;
void expansion_close(helios_changes *);
/* The next key into the entry; *there false: all are done. */
helios_status expansion_next(helios_changes *, struct change_entry *, bool *there) CHECKED;

#endif
