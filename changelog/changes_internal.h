/* changes_internal.h - a cursor over the change feed, as the files of this room share it. feed_cursor.c makes it and hands
 * entries out; follow.c finds the next commit, or waits for one; entries.c makes entries of it; origin.c knows whose they
 * are; images.c reads the state before it. */
#ifndef HELIOS_CHANGELOG_CHANGES_INTERNAL_H
#define HELIOS_CHANGELOG_CHANGES_INTERNAL_H
#include "changelog/delta_tables.h"
#include "changelog/ingested.h"
#include "changelog/notify.h"
#include "changelog/own.h"
#include "engine/feed.h"
#include "engine/origins.h"

/* One entry with the bytes that are not its record's: two of them, as one is always made ahead. */
struct change_entry {
    helios_change change;
    helios_buf key, value, before;
    bool large; /* the value is still to be fetched from its table */
};

/* All entries of a commit, with their bytes: for helios_changes_next_commit. */
struct change_group {
    helios_change *items;
    size_t count, capacity;
    helios_buf bytes; /* of each its key, value, image, clock */
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

/* Whose a commit's operations are. */
struct change_origin {
    bool applied;                /* another node's; but for own decisions among them */
    struct record_origin record; /* then; borrowed from the log cursor */
    struct reader own;           /* the keys of own decisions that are still to come, and the first of them */
    bool has_own;
    uint8_t own_space;
    helios_slice own_key;
    helios_seq previous;     /* of the other node: what was given of it before */
    helios_seq own_previous; /* likewise of this database */
    bool foreign_wanted, foreign_given;
    /* The operation that was read last. */
    bool is_own;
    helios_seq lsn; /* there, if it is not */
};

/* The commit that is being handed out. */
struct change_commit {
    struct wal_record record; /* its body is the log cursor's */
    bool open;
    helios_seq last;
    uint32_t at;             /* operations read */
    struct reader reader;    /* COMMIT */
    struct ingested *tables; /* INGEST; else NULL */
    struct change_origin origin;
    bool begun;     /* an entry was made of it */
    bool cut;       /* it goes on behind what was asked for */
    struct own own; /* built where the state before an operation is wanted */
    struct expansion expansion;
};

struct helios_changes {
    struct helios_db *db;
    /* As asked for. */
    helios_seq from, to; /* to 0: no end */
    uint64_t to_time;    /* 0: none */
    uint64_t left;       /* entries still to be handed out; 0: no limit, or it is reached */
    helios_buf prefix, prefix_end;
    bool has_prefix, has_prefix_end;
    const struct delta_tables *tables; /* keys of others are not wanted; NULL: all are */
    bool one_branch;
    helios_branch_id branch;
    bool images, expand, unsynced, all_spaces, for_apply;
    uint32_t kinds; /* bits of helios_change_kind */
    bool one_origin, own_wanted;
    unsigned char origin[NODE_BYTES];
    /* Where it stands. */
    struct wal_cursor *log;
    helios_seq next; /* everything below was read */
    bool ended;      /* past the end that was asked for */
    /* The end of what may be read, as last seen: all that was visible then is below `published`. */
    helios_seq visible;
    wal_pos published, upto;
    struct wal_record pending; /* read, not yet visible */
    bool has_pending;
    /* What own entries come after: moved by each commit; the own number stands at own_at. Not known before the first. */
    bool clock_known;
    helios_buf clock;
    size_t own_at;
    helios_buf given;     /* the last commit given of each other node, */
    helios_seq own_given; /* and of this one: */
    bool own_given_known; /* where what was given before `from` counts, that is looked up when it is needed */
    struct change_commit commit;
    struct change_entry entries[2];
    unsigned ahead; /* which of them is the next one */
    bool has_ahead;
    struct feed_consumer *consumer;
    bool goes_on; /* behind what its consumer has acknowledged */
    pin_id floor;
    helios_seq floor_at;
    struct change_group group;
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

/* ---- origin.c ---- */
/* Begins with a commit: takes the prefix off its record. *good false: damaged. */
helios_status change_origin_begin(helios_changes *, struct wal_record *, bool *good) CHECKED;
/* An operation was read from the commit. */
void change_origin_read(helios_changes *, const struct op *);
/* The next entry is to be one of the operation that was read last: fills in what tells where it came from. */
helios_status change_origin_tell(helios_changes *, helios_change *) CHECKED;
/* At the end of a commit: whether an entry of kind NONE has to tell that it was there. */
bool change_origin_wants_none(const helios_changes *);
static inline bool change_origin_wanted(const helios_changes *c)
{
    return c->commit.origin.is_own ? c->own_wanted : c->commit.origin.foreign_wanted;
}

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
