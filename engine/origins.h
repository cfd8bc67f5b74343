/* origins.h - where commits came from: rows that say which commits here were another node's, and the prefix of their log
 * records. Written by changelog/apply.c, read by it and by the feed.
 *
 * Each applied commit has one row, an entry of branch 0, system space, written with it, never changed or deleted. The key
 * is 'O' and a number (u64, big-endian) that no other commit can have come between: the next one to be handed out when
 * the row was made, before the reservation, one apply at a time. So rows are in the order of their commits, and
 *
 *   key of row i  <=  first number of its commit  <=  last  <  key of row i + 1
 *
 * where last is the row's version, and first follows from how many operations it says there were. What was applied at
 * or below s: the last such row. Whose the version s is: that row's, if s is one of its commit's numbers, unless the
 * row lists the key as this database's own decision; else this database's. */
#ifndef HELIOS_ENGINE_ORIGINS_H
#define HELIOS_ENGINE_ORIGINS_H
#include "engine/clock.h"
#include "engine/read.h"

enum { ORIGIN_KEY = 'O', ORIGIN_KEY_SIZE = 9 };

/* A row, or what a record's prefix says; slices are borrowed from what was read. */
struct origin {
    uint32_t op_count; /* numbers of the commit here, the row's included */
    helios_branch_id branch;
    const unsigned char *node;
    helios_seq commit;        /* there */
    helios_slice came, after; /* its clock; what was applied here with it, without an entry for this database */
    uint32_t own_count;       /* keys on which this database decided, in order of space and key */
    helios_slice own;         /* each: space u8, key size varint, key */
};

/* Appends the row's value. */
helios_status origin_encode(helios_buf *, const struct origin *) CHECKED;
/* Advances over one; false: it is none. */
bool origin_read(struct reader *, struct origin *) CHECKED;
/* The next of the own keys; false at their end. The reader over origin.own is checked already. */
bool origin_next_own(struct reader *, uint8_t *space, helios_slice *key);

/* The prefix of a log record: size of what follows (u32), then as a row, then how many operations have an lsn there, 0 or
 * op_count (varint); their differences, from the commit's number on (zigzag varints). */
helios_status origin_prefix(const struct origin *, const helios_seq *lsns, size_t count,
                            helios_buf *out) CHECKED;
struct record_origin {
    struct origin origin;
    struct reader lsns;
    bool has_lsns;
};
/* Takes the prefix off a body; with NULL it only looks for its end. False: damaged. */
bool origin_prefix_read(helios_slice *body, struct record_origin *) CHECKED;
static inline helios_seq origin_next_lsn(struct record_origin *o, helios_seq before)
{
    uint64_t zigzag = read_varint(&o->lsns);

    return before + ((zigzag >> 1) ^ (0 - (zigzag & 1)));
}

/* ---- what is known in memory: part of struct helios_db ---- */

void origins_init(struct origins *);
void origins_release(struct origins *);
/* At open, when everything is replayed. */
helios_status origins_load(struct helios_db *) CHECKED;
/* Under origins.mu: a commit with a row of this key is about to be written. Before it is visible: who reads the feed behind
 * it looks for its row. If it then fails, there is none to be found. */
void origins_begin(struct helios_db *, helios_seq key);
/* Under origins.mu: it is visible; takes the buffer's bytes. */
void origins_advance(struct helios_db *, helios_buf *after);

/* ---- looking ---- */

/* A walk over rows; one thread at a time. {.db} to start. */
struct origin_rows {
    struct helios_db *db;
    helios_iter *it; /* NULL: not needed yet */
};
void origin_rows_release(struct origin_rows *);
/* The last one applied at or below seq, its commit's number in *last; 0: none. Borrowed until the next call. */
helios_status origin_rows_at(struct origin_rows *, helios_seq seq, struct origin *, helios_seq *last) CHECKED;

/* Whose a version is: the operation on a key that the commit numbered seq made, which is visible. */
struct version_origin {
    bool own;
    unsigned char node[NODE_BYTES];
    helios_seq commit;     /* there; own: seq */
    unsigned __int128 sum; /* of its clock */
};
helios_status origin_of_version(struct origin_rows *, helios_seq seq, uint8_t space, helios_slice key,
                                struct version_origin *) CHECKED;
/* The clock of that version into the buffer; right after origin_of_version(). */
helios_status origin_clock_of_version(struct origin_rows *, helios_seq seq, const struct version_origin *,
                                      helios_buf *clock) CHECKED;

#endif
