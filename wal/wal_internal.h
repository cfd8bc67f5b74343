/* wal_internal.h - what the files of this room share.
 *
 * record.c and reader.c know bytes; segment.c makes files; chain.c finds which files are the log;
 * recover.c walks them; open.c makes the log ready for writing; wal.c is the path of a commit; sync.c the
 * shared fsync; background.c the two threads; kept.c what stays for the feed, index.c where in it to begin, cursor.c
 * the walk over it; archiver.c the thread that compresses it, archive_write.c, archive_read.c and terms.c the archives. */
#ifndef HELIOS_WAL_WAL_INTERNAL_H
#define HELIOS_WAL_WAL_INTERNAL_H
#include "base/thread.h"
#include "wal/archive.h"
#include "wal/index.h"
#include "wal/wal.h"

/* Offsets are 32 bits, sizes multiples of 4096. */
#define WAL_SEGMENT_MAX UINT64_C(0xfffff000)
#define WAL_RECORD_MAX  (UINT64_C(1) << 31)
#define WAL_NUMBER_MAX  UINT64_C(0xfffffffe)
enum {
    WAL_PAGE = 4096,
    WAL_FIRST_MIN = 64 * 1024, /* bounds of the first segment of an open, which a caller waits for */
    WAL_FIRST_MAX = 1024 * 1024,
    WAL_PATH_MAX = 4096,
    WAL_CHUNK = 256 * 1024, /* of zeros written, of a segment read */
    WAL_SMALL = 64 * 1024,  /* between two fsyncs: see wal_write */
};

static inline uint64_t wal_round_up(uint64_t value, uint64_t to)
{
    return (value + to - 1) / to * to;
}

/* ---- record.c ---- */
enum wal_verdict {
    WAL_VALID,
    WAL_NO_RECORD,
    WAL_UNKNOWN, /* verifies, but of a type or with flags that this version does not know */
};

/* size: the whole record without the padding. */
void wal_header_encode(unsigned char out[WAL_RECORD_HEADER], const struct wal_record *, uint32_t size,
                       uint64_t body_xxh3, uint64_t salt, uint64_t offset);
/* What encryption binds to the body: the header, but for its two checksums. */
void wal_header_bound(const unsigned char header[WAL_RECORD_HEADER], unsigned char bound[WAL_RECORD_HEADER]);
/* The checksums of one that was encoded before its body was sealed. */
void wal_header_sum(unsigned char header[WAL_RECORD_HEADER], uint64_t body_xxh3, uint64_t salt,
                    uint64_t offset);
/* Could a record begin here? Cheap, for scanning. */
bool wal_header_plausible(const unsigned char in[WAL_RECORD_HEADER]);
/* room: bytes from here to the end of the segment. Fills all of record but body.data, at and end. */
enum wal_verdict wal_header_decode(const unsigned char in[WAL_RECORD_HEADER], uint64_t salt, uint64_t offset,
                                   uint64_t room, struct wal_record *, uint64_t *body_xxh3);

/* ---- segment.c: the first page, and files ---- */

/* An open or retired segment. Holders: the list of its wal, and reservations in it until wal_publish has
 * passed them. */
struct wal_segment {
    /* Constant once listed. */
    struct file_header header; /* of an old one only the number */
    struct crypt_file crypt;   /* not of an old one */
    uint64_t number, size, salt;
    uint64_t predecessor; /* as its link names it; 0 if old */
    bool old;             /* from before this open: never written or recycled */
    /* Set when the first reservation enters; 0: nobody has. No number here is below. */
    _Atomic helios_seq first;
    struct wal_index index; /* added to under the reservation lock; no room: not kept */
    /* Keeper's, changed under mu; the sync leader reads `file` where durable has not passed it. */
    uint64_t bytes;       /* that the file has: size, until it is cut to its end */
    struct io_file *file; /* NULL once sealed */
    unsigned char *map;   /* NULL: pwrite */
    bool sealed;          /* done with: synced, sealed, unmapped, closed */
    bool linked;          /* shown to a checkpoint as sealed: another name may share its bytes */
    struct wal_segment *next;
    /* Set when the last reservation has left, by wal_reserve: last, then end (release). */
    helios_seq last;
    _Atomic uint64_t end; /* 0: in use */
};

/* No number in it is below, and all before it are; 0: its first page does not say. */
helios_seq wal_info_first(const struct wal_segment_info *);
/* The first page of a segment: header and link, no seal. */
void wal_info_encode(const struct wal_segment_info *, unsigned char page[WAL_DATA]);
/* HELIOS_CORRUPT, HELIOS_UNSUPPORTED. A seal that does not verify is none. */
helios_status wal_info_decode(const unsigned char *page, size_t size, const char *path,
                              struct wal_segment_info *) CHECKED;
void wal_seal_encode(unsigned char out[64], uint64_t salt, uint64_t end, helios_seq last, uint64_t time);
/* Of the segment, or of its archive. */
void wal_place_path(const char *directory, uint64_t number, bool archived, char *out, size_t size);
void wal_temporary_path(const char *directory, uint64_t number, char *out, size_t size);

/* A new file id, the salt, and the key. */
helios_status wal_info_new(const struct wal_options *, struct wal_segment_info *, struct crypt_file *) CHECKED;
helios_status wal_write_zeros(struct io_file *, uint64_t from, uint64_t to) CHECKED;
/* The temporary file has its full size and content but the first page: writes that, syncs, gives it its
 * name, opens and maps it; populate: makes its pages writable, which makes them dirty. The caller syncs the
 * directory before use. file and key are consumed. On failure no file of it is left, if that can be had. */
helios_status wal_segment_finish(const struct wal_options *, const struct wal_segment_info *,
                                 struct crypt_file *, bool populate, struct io_file *file,
                                 struct wal_segment **) CHECKED;
/* Unmaps, closes, frees; the file stays. NULL is fine. */
void wal_segment_free(struct wal_segment *);

/* ---- reader.c ---- */
enum wal_found {
    FOUND_RECORD, /* COMMIT, INGEST or VOID; the offset is behind it */
    FOUND_END,    /* an END record; the offset is at it */
    FOUND_LIMIT,  /* no room for a record, or the sealed end */
    FOUND_HOLE,   /* nothing that verifies */
};
/* Statuses are of reading only: HELIOS_IO, HELIOS_NO_MEMORY; HELIOS_UNSUPPORTED for an unknown record. */
helios_status wal_reader_step(struct wal_reader *, struct wal_record *, enum wal_found *) CHECKED;
/* Nothing from `end` on is read, but everything before it may be: also more than so far, as others have written. Not below
 * the offset. */
void wal_reader_bound(struct wal_reader *, uint64_t end);
bool wal_reader_is_at_limit(const struct wal_reader *);
const char *wal_reader_path(const struct wal_reader *);
/* Bytes of the segment within the limit, borrowed until the next call. */
helios_status wal_reader_bytes(struct wal_reader *, uint64_t offset, size_t size,
                               const unsigned char **) CHECKED;
/* Of an archive: a place before the record with seq, near it. */
bool wal_reader_is_archive(const struct wal_reader *);
helios_status wal_reader_find(struct wal_reader *, helios_seq seq, uint64_t *offset) CHECKED;
/* From now on what holds nothing for the filter may be passed over, as far as that is known: by skip, which says whether
 * it did. */
helios_status wal_reader_select(struct wal_reader *, const struct wal_filter *) CHECKED;
bool wal_reader_skip(struct wal_reader *);
/* The first page again: where the records of a segment end that may have been sealed since it was opened. */
helios_status wal_reader_reload(struct wal_reader *, uint64_t *end) CHECKED;
/* As wal_reader_scan, without a sentence: found is FOUND_RECORD, FOUND_END (the offset behind it) or
 * FOUND_LIMIT for none. */
helios_status wal_reader_search(struct wal_reader *, struct wal_record *, enum wal_found *) CHECKED;

/* ---- chain.c: which files are the log ---- */
enum wal_name_kind {
    WAL_NAME_SEGMENT,
    WAL_NAME_TEMPORARY,
    WAL_NAME_INDEX,
    WAL_NAME_ARCHIVE,
    WAL_NAME_ARCHIVE_TEMPORARY,
    WAL_NAME_COUNT,
};
struct wal_name {
    uint64_t number;
    enum wal_name_kind kind;
};

struct wal_link {
    struct wal_segment_info info;
    uint64_t file_bytes;
    bool gap;      /* salvage: it, or what should stand before it, is missing or damaged */
    bool archived; /* only of kept ones */
};

struct wal_chain {
    struct wal_name *names; /* every file of ours, by number */
    size_t name_count, name_capacity;
    uint64_t last;          /* highest number in any name */
    struct wal_link *links; /* oldest first */
    size_t count;
};

/* The segments from the floor on, by the predecessors that they name, from the highest one down. */
helios_status wal_chain_load(const struct wal_options *, uint64_t floor, bool salvage,
                             struct wal_chain *) CHECKED;
/* The segments before those of the chain, by the same links, down to number `from`: kept for the feed, never looked at by
 * recovery. The newest first; freed by the caller. Salvage: as far as they are whole. */
helios_status wal_chain_load_kept(const struct wal_options *, uint64_t from, bool salvage,
                                  const struct wal_chain *, struct wal_link **kept, size_t *count) CHECKED;
void wal_chain_release(struct wal_chain *);

/* A walk over the records of a chain. */
struct wal_walk {
    const struct wal_options *options;
    const struct wal_chain *chain;
    size_t index;
    struct wal_reader *reader;
    helios_seq expected; /* a record numbered below is stale, no record */
    wal_pos gap_at;      /* where it passed the first gap; 0: none */
};
enum walk_found {
    WALK_RECORD,
    WALK_HOLE, /* what stands at wal_walk_at is no record */
    WALK_END,  /* orderly end of the last segment */
    WALK_LOST, /* an END record, which is written only when the next segment is there for good: it is not */
};
/* at: in a segment of the chain. */
helios_status wal_walk_open(struct wal_walk *, const struct wal_options *, const struct wal_chain *, wal_pos at,
                            helios_seq expected) CHECKED;
void wal_walk_close(struct wal_walk *);
wal_pos wal_walk_at(const struct wal_walk *);
helios_status wal_walk_next(struct wal_walk *, struct wal_record *, enum walk_found *) CHECKED;
/* Any valid record at or behind the walk, END records too: WALK_RECORD or WALK_END. */
helios_status wal_walk_skip(struct wal_walk *, struct wal_record *, enum walk_found *) CHECKED;

/* ---- old.c: what an open finds ---- */

/* Behind recovery: the segments of the chain up to the predecessor of `first` into the list, the kept ones beside it; all
 * other files of ours are removed, unless read-only. */
helios_status wal_take_over(struct wal *, const struct wal_chain *, const struct wal_link *kept,
                            size_t kept_count, const struct wal_segment_info *first) CHECKED;

/* ---- kept.c: segments that recovery needs no more ---- */

/* One that is there for the feed alone; sealed, or from before this open. */
struct wal_kept {
    uint64_t number, bytes; /* bytes of the file */
    uint64_t end;           /* of its records; the size of the segment: where an END or no room for one is */
    helios_seq first;
    bool archived;
};

/* What a walk must know of a segment. */
struct wal_place {
    uint64_t number;
    uint64_t end;    /* as in wal_kept; 0: not left yet */
    uint64_t offset; /* where to look from: before the number that was asked for */
    bool sought; /* that is as good as it gets; else all of the segment is written, and an index can be made */
    bool archived;
};

helios_status wal_kept_add_locked(struct wal *, const struct wal_kept *) CHECKED;
/* Takes the oldest off that are no longer to be kept, if nobody holds them: how many, up to max. */
size_t wal_kept_drop(struct wal *, struct wal_kept *, size_t max);
/* The first from number on that is kept and not archived. */
bool wal_kept_plain(struct wal *, uint64_t number, struct wal_kept *);
enum wal_replaced {
    WAL_REPLACED,
    WAL_NOT_THERE, /* let go of meanwhile */
    WAL_HELD,      /* somebody is about to open it; the archiver is woken when not any more */
};
enum wal_replaced wal_kept_replace(struct wal *, uint64_t number, uint64_t end, uint64_t bytes);
bool wal_is_kept(const struct wal *, uint64_t number);
bool wal_keeping(const struct wal *);
/* Where the record with seq, or the first one above, is. HELIOS_FEED_TRIMMED if the log begins above. */
helios_status wal_place_of(struct wal *, helios_seq seq, struct wal_place *) CHECKED;
/* The segment of that number, and the next one that was entered; false: not there (any more, or yet). */
bool wal_place_at(struct wal *, uint64_t number, struct wal_place *);
bool wal_place_after(struct wal *, uint64_t number, struct wal_place *);

/* ---- the open log ---- */
struct wal_point {
    _Atomic wal_pos pos;
    _Atomic helios_seq last;
};

/* Threads waiting for one fsync. */
struct sync_batch {
    _Atomic uint32_t word; /* changes when they should look again */
    uint32_t waiters;      /* guarded by sync_mu */
};

/* Lock order: sync_mu and mu are never held together. */
struct wal {
    /* Constant after open. */
    struct wal_options options; /* directory is ours */
    pthread_t keeper, syncer;
    pthread_t archiver; /* of the keeper, as archiver_runs: started when there is something for it to do */
    bool archiver_runs;

    /* Guarded by the caller's reservation lock; `at` and `limit` are also looked at without. */
    struct wal_segment *active __attribute__((aligned(64)));
    _Atomic wal_pos at;      /* of the next record */
    _Atomic wal_pos limit;   /* end of the active segment */
    _Atomic uint64_t passed; /* record bytes in segments that were left, less the start of the active */
    wal_pos note_at; /* a record from here on is noted in the active segment's index; never, without one */

    /* The next segment: stored by the keeper (release), taken by wal_reserve or back by the keeper
     * (exchange). room is a hint that may be stale; it is lowered before and raised after. */
    _Atomic(struct wal_segment *) prepared __attribute__((aligned(64)));
    _Atomic uint64_t prepared_room;

    /* Written by publishers, in order: point[turn & 1] is the newest; the other is being written. */
    struct wal_point point[2] __attribute__((aligned(64)));
    _Atomic uint64_t turn;

    /* Written by the sync leader, durable last (release). */
    _Atomic wal_pos durable __attribute__((aligned(64)));
    _Atomic helios_seq durable_seq;
    _Atomic bool sync_small; /* the last fsync covered few bytes: a hint for wal_write */
    _Atomic bool failed;     /* release, after error is set; the error never changes again */
    struct error_note error;

    struct mutex sync_mu __attribute__((aligned(64)));
    bool sync_running;   /* somebody leads, or was named leader */
    uint64_t sync_round; /* of the running one; its waiters are in batch[round & 1] */
    wal_pos sync_covers; /* what the running one will make durable */
    struct sync_batch batch[2];
    _Atomic uint32_t sync_handed; /* 1: a leader is wanted; whoever exchanges it for 0 is it */

    /* Guarded by mu: the list and what is asked of the keeper. */
    struct mutex mu __attribute__((aligned(64)));
    struct condition prepared_changed; /* an attempt ended, or the log failed */
    struct wal_segment *first, *last;  /* by number; the prepared one is the last */
    struct wal_segment *spare;         /* released, for reuse */
    uint32_t spare_count;
    uint32_t holds; /* wal_each_segment calls in progress */
    uint32_t
        cursors; /* while there are any, nothing is recycled: a file that is read may be written again otherwise */
    struct wal_kept *kept; /* older than the list; by number */
    size_t kept_count, kept_capacity;
    uint64_t kept_bytes;
    uint64_t want;     /* room asked of the next segment; 0: any */
    uint64_t attempts; /* to prepare, ended */
    bool attempting;
    struct error_note attempt; /* how the last one ended */
    uint64_t next_number, next_size;

    _Atomic uint64_t bytes; /* on disk */
    _Atomic uint64_t floor, keep;
    _Atomic bool stop;
    _Atomic uint32_t keeper_word, syncer_word, archiver_word; /* change to wake them */
    _Atomic uint64_t soon; /* monotonic time by which to sync; 0: not asked */
};

/* wal.c */
void wal_fail(struct wal *, helios_status); /* keeps this thread's sentence as the final error */
struct wal_reading {
    wal_pos pos;
    helios_seq last;
};
struct wal_reading wal_point_read(const struct wal *);
void wal_point_set(struct wal *, wal_pos, helios_seq last);
/* The next reservation is at offset of segment. */
void wal_active_set(struct wal *, struct wal_segment *, uint64_t offset);
/* The two halves of leaving a full segment, under the reservation lock. Between them the keeper may already prepare the
 * segment after the one that was taken, though that is not the active one yet. NULL: none of the size is prepared. */
struct wal_segment *wal_next_take(struct wal *, uint64_t size);
void wal_next_enter(struct wal *, struct wal_segment *next, helios_seq first, struct wal_reservation *);
/* background.c */
helios_status wal_background_start(struct wal *) CHECKED;
void wal_background_stop(struct wal *);
void wal_keeper_wake(struct wal *);
/* Its failure is final: it could only be tried again on the same directory, which has told of it once. */
helios_status wal_directory_sync(struct wal *) CHECKED;
void wal_keeper_seal(struct wal *); /* seals what durable has passed */
helios_status wal_seal(struct wal *, struct wal_segment *, uint64_t end, helios_seq last, bool sync) CHECKED;
/* archiver.c */
void *wal_archiver_run(void *wal);
void wal_archiver_wake(struct wal *);

#endif
