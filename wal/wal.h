/* wal.h - the log: segments of records, written by many threads in parallel, and its recovery.
 *
 * The caller (engine/) decides the order: it reserves bytes and numbers together under its own lock,
 * then copies outside it, then publishes in order. This room knows records as bytes with a first
 * number, an op count and a time; never what an op means.
 *
 * A position (wal_pos) is segment number << 32 | offset: ordered like the log. */
#ifndef HELIOS_WAL_WAL_H
#define HELIOS_WAL_WAL_H
#include "base/crypt.h"
#include "base/file_header.h"
#include "base/key.h"
#include "io/io.h"

typedef uint64_t wal_pos;
static inline wal_pos wal_pos_make(uint64_t segment, uint64_t offset)
{
    return segment << 32 | offset;
}
static inline uint64_t wal_pos_segment(wal_pos pos)
{
    return pos >> 32;
}
static inline uint64_t wal_pos_offset(wal_pos pos)
{
    return pos & UINT32_MAX;
}

/* Segment file wal/<number, 8 decimal digits>.wal:
 *   [0, 64)     file header (base/file_header.h), magic HELIOSWL
 *   [64, 128)   link: predecessor's number (u64, 0: none), predecessor's end (u64, 0: its natural end;
 *               set by recovery only, which syncs what is before it), predecessor's last number (u64, 0:
 *               not known; none in it is above), first number of this one (u64, 0: not known), size of this
 *               segment (u64), created time (u64), end of what recovery copied in and synced (u64, 0:
 *               nothing), xxh3 of [64, 120) salted, at offset 64
 *   [512, 576)  seal, written after the fsync of everything before `end`: magic "SEALSEAL", end offset
 *               (u64), last number (u64; none in it is above), sealed time (u64), reserved (3 x u64), xxh3 of the 56 bytes
 *               before it, salted, at offset 512; zeros while not sealed
 *   [4096, end) records, each at a multiple of 8. The natural end is an END record, or fewer than 64 bytes
 *               left
 *
 * A segment gets this name by a rename, after all of it (its full size, header and link) was synced. So a
 * file of this name that does not verify is damage, never a crash. A temporary one is <number>.wal.tmp.
 *
 * Record, little-endian:
 *    0  u32 size         whole record in bytes, without the padding to 8
 *    4  u32 op_count     numbers that it owns: first .. first + op_count - 1
 *    8  u64 checksum     of bytes [16, 64), salted, bound to its offset in the segment
 *   16  u64 first << 8 | type
 *   24  u64 time         commit time, us
 *   32  u64 synced       the log position known to be durable when it was reserved
 *   40  u64 body_xxh3    of bytes [64, size), unseeded: computed before the place is known
 *   48  u32 branch       the one branch of all ops, or 0xffffffff: more than one, each op says
 *   52  u32 flags        WAL_RECORD_ORIGIN: the body begins with an origin; others: refused
 *   56  u64 size_check   bytes [0, 8) ^ 0x5d8a1f3b96c2e047: covers size and op_count, never verifies on zeros,
 *                        and lets a scan dismiss a place with one comparison
 *   64  body             of a VOID: whatever stands there, not covered by a checksum and read as empty
 * In an encrypted segment the body is sealed, bound to its place and to the header but for the two checksums; it ends with
 * the tag (16 bytes), which `size` counts, and body_xxh3 is the tag's alone.
 * A chain of commits has no gaps but those left by unlogged commits, so `first` never falls. */
enum {
    WAL_LINK = 64,
    WAL_SEAL = 512,
    WAL_DATA = 4096,
    WAL_RECORD_HEADER = 64,
    WAL_ALIGN = 8,
};

enum wal_record_type {
    WAL_COMMIT = 1, /* body: ops, see engine/ */
    WAL_INGEST = 2, /* body: names the tables that hold the ops */
    WAL_VOID = 3,   /* reserved and given up; its numbers are lost */
    WAL_END = 4,    /* the rest of this segment is unused; owns no number, first = next number */
};
enum { WAL_RECORD_ORIGIN = 1 };
#define WAL_BRANCH_MANY UINT32_MAX

/* What the header says beside the body; given by the caller. */
struct wal_record {
    helios_seq first;
    uint32_t op_count;
    enum wal_record_type type;
    uint64_t time;
    wal_pos synced;
    helios_branch_id branch;
    uint32_t flags;
    helios_slice body;
    /* Filled on reading: */
    wal_pos at, end;
};

struct wal;
struct wal_terms;

/* What a walk wants: commits with a key in this space that begins so. */
struct wal_filter {
    uint8_t space;
    helios_slice prefix;
};

struct wal_options {
    struct io_fs *fs;
    struct crypt *crypt;    /* NULL: not encrypted */
    const char *directory;  /* <db>/wal; copied */
    uint64_t segment_bytes; /* usual size; a multiple of 4096 */
    uint64_t sync_interval; /* us: the background sync of ASYNC commits, 1 s */
    bool use_mapping;       /* and the file system can */
    uint32_t recycle_max;   /* how many old segments are kept for reuse */
    uint64_t keep;  /* segments from this number on stay for the feed although recovery needs them no more;
                               WAL_KEEP_NONE: none does */
    bool read_only; /* for wal_open_reading: no file is changed, indexes neither */
    bool archive;   /* segments that are there for the feed alone are compressed in the background */
    /* For archives: says by wal_terms_add which keys a record has, or that it is wanted whatever was asked for. NULL: the latter
     * of all of them. Must not miss a key. */
    void (*terms)(const struct wal_record *, struct wal_terms *);
    /* A sentence for people, from the background; NULL: nobody listens. */
    void (*say)(void *arg, const char *sentence);
    void *say_arg;
};
#define WAL_KEEP_NONE UINT64_MAX
void wal_terms_add(struct wal_terms *, uint8_t space, helios_slice key);
void wal_terms_always(struct wal_terms *);

/* ---- recovery, in two steps ---- */

struct wal_recovery {
    /* Given: what the manifest knows. */
    uint64_t floor;         /* segments below are not needed; 0: none */
    wal_pos synced;         /* known to have been durable */
    helios_seq last_synced; /* the last number that was durable in the log; 0 unknown */
    bool clean;             /* closed cleanly: everything up to clean_end must be there */
    wal_pos clean_end;
    bool salvage;   /* go on behind damage; where the floor's own segment is damaged, the next
                                recovery needs a floor at the segment that wal_open makes */
    bool read_only; /* change no file */
    /* Found: */
    helios_seq last; /* last number replayed, 0 if none */
    uint64_t last_time;
    wal_pos end;     /* the log ends here */
    wal_pos durable; /* up to here it was known to be durable before the replay */
    uint64_t records, bytes;
    uint64_t cut_bytes, cut_records; /* beyond the hole; nothing acknowledged as durable */
    uint64_t last_segment;           /* highest segment number seen in any file name */
};

/* Calls record() for each COMMIT, INGEST and VOID from the floor on, in order; its body is borrowed
 * during the call. Finds the hole and decides if it is the end of what a killed writer left, or
 * damage (HELIOS_CORRUPT with file and offset): see docs/architecture.md, "Recovery". */
helios_status wal_recover(const struct wal_options *, struct wal_recovery *,
                          helios_status (*record)(void *arg, const struct wal_record *), void *arg) CHECKED;

/* Opens for writing after wal_recover: writes a new segment that names the end of the old ones, copies
 * into it what was replayed beyond `durable`, syncs it and the directory, removes segments beyond the
 * end. Starts the background thread (prepares the next segment; syncs in the background; seals and
 * trims). next: the first number that will be reserved. */
helios_status wal_open(const struct wal_options *, const struct wal_recovery *, helios_seq next,
                       struct wal **) CHECKED;
/* Syncs everything, seals the last segment, stops the thread, frees. NULL is fine. The status is that of
 * the sync; *end gets the end position if not NULL. The wal is gone in any case. */
helios_status wal_close(struct wal *, wal_pos *end);

/* For cursors alone, after wal_recover, whose next number is given: what it found and, with options.keep, what is kept before that; nothing is written and no
 * thread started. published and durable are its end. *out NULL: there is no segment. Closed by wal_close. */
helios_status wal_open_reading(const struct wal_options *, const struct wal_recovery *, helios_seq next,
                               struct wal **out) CHECKED;

/* ---- writing ---- */

struct wal_reservation {
    wal_pos at, end;   /* where the record stands */
    wal_pos synced;    /* goes into the record */
    void *segment;     /* the open segment; stays open until wal_publish passes `end` */
    void *old_segment; /* not NULL: this reservation left that segment; wal_write puts an END there */
    wal_pos old_end;
};

/* Makes sure that a record of size bytes can be reserved soon: waits for the next segment, makes a bigger
 * one if need be. Called before the reservation lock. HELIOS_NO_SPACE, HELIOS_IO, HELIOS_NO_MEMORY. */
helios_status wal_prepare(struct wal *, uint64_t size) CHECKED;
/* Under the caller's reservation lock; never waits, fails or allocates. False: the segment is full and
 * the next is not ready; unlock, wal_prepare, try again. first: the record's first number. */
bool wal_reserve(struct wal *, uint64_t size, helios_seq first, struct wal_reservation *);
/* Copies the record to its place; parallel. body in `count` pieces, body_xxh3 over all of them (not looked at if the log
 * is encrypted: wal_is_encrypted); together they fill what was reserved, but for a VOID, which takes no pieces and covers it all. Fails only with the
 * pwrite back end, and if libcrypto does. */
helios_status wal_write(struct wal *, const struct wal_reservation *, const struct wal_record *,
                        uint64_t body_xxh3, const helios_slice *pieces, size_t count) CHECKED;
/* In order, by whoever advances the published prefix: everything before `end` is complete. */
void wal_publish(struct wal *, wal_pos end, helios_seq last);
uint64_t wal_record_size(uint64_t body_size); /* with header and padding */
/* The same of a body that is still to be sealed: what is reserved for it. */
uint64_t wal_record_room(const struct wal *, uint64_t body_size);

/* ---- durability ---- */

/* Returns once everything published up to pos is durable, by an fsync that began after it was; shares
 * the fsync with others. The first failed fsync or write is final: this and all later calls return it.
 * Timeout 0 only asks; UINT64_MAX waits without a limit. */
helios_status wal_sync(struct wal *, wal_pos pos, uint64_t timeout) CHECKED; /* us; HELIOS_TIMEOUT */
bool wal_is_encrypted(const struct wal *);
wal_pos wal_published(const struct wal *);
wal_pos wal_durable(const struct wal *);
helios_seq wal_durable_seq(const struct wal *); /* last number in the durable part */
/* Ask the background thread to sync what is published within `delay` us; returns at once. */
void wal_sync_soon(struct wal *, uint64_t delay);
helios_status wal_error(struct wal *); /* HELIOS_OK, or the final error, told again */

/* ---- upkeep ---- */
uint64_t wal_segment_now(const struct wal *); /* segment of the next reservation */
/* Where what recovery read in this segment is now: wal_open moves the end of the log into a new one. */
uint64_t wal_segment_moved(struct wal *, uint64_t number);
/* Segments below floor are no longer needed for recovery: recycled or removed in the background. */
void wal_release(struct wal *, uint64_t floor);
/* For a pause in writing: the memory of the mapped segments is given back. Writing may go on at any time, at first with
 * a fault for each page. */
void wal_unload(struct wal *);
uint64_t wal_bytes(const struct wal *);   /* on disk */
uint64_t wal_written(const struct wal *); /* record bytes since open */
/* The path of a segment into out. */
void wal_segment_path(const char *directory, uint64_t number, char *out, size_t size);
/* For checkpoints: calls segment(arg, number, path, end, last, sealed) for each from the floor, or from the oldest that is kept
 * for the feed, up to pos; the path may be that of its archive, which is sealed. A sealed one may be linked, the others are
 * copied up to `end` by wal_segment_copy. last: no number in it is above, and all behind it are; SEQ_MAX: it is still written,
 * or sealed. Nothing is recycled meanwhile, and what was shown as sealed never. */
helios_status wal_each_segment(struct wal *, wal_pos upto,
                               helios_status (*segment)(void *arg, uint64_t number, const char *path,
                                                        uint64_t end, helios_seq last, bool sealed),
                               void *arg) CHECKED;

/* A copy of [0, end) of a segment, sealed at `end` and synced: recovery refuses a segment that is shorter
 * than it says unless its seal says so. last: no number in it is above. */
helios_status wal_segment_copy(struct io_fs *, const char *from, const char *to, uint64_t end,
                               helios_seq last) CHECKED;

/* ---- the feed: segments that are kept, and walks over them ---- */

/* At open: what there is from seq on stands in the kept segments, so the oldest of them begins there at the latest, also where its
 * own first number lies beyond numbers that a crash has made nobody's. */
void wal_keep_begins(struct wal *, helios_seq seq);
/* Segments below are no longer kept for the feed; only raised (from WAL_KEEP_NONE: begins to keep what is there).
 * Kept ones are sealed, cut to their length, never recycled. */
void wal_keep(struct wal *, uint64_t segment);
/* The oldest segment that may hold numbers at or above seq: what is to be kept for them. */
uint64_t wal_segment_of(struct wal *, helios_seq seq);
/* All numbers of the log that is kept are at or above this; 0: nothing is kept or written yet. */
helios_seq wal_kept_first(struct wal *);
uint64_t wal_kept_bytes(struct wal *); /* of segments that are there for the feed alone */
/* The first number of each kept segment from the oldest, with its bytes: for retention by size. False: stop. */
void wal_each_kept(struct wal *, bool (*segment)(void *arg, uint64_t number, helios_seq first, uint64_t bytes),
                   void *arg);

/* A walk over the commits of kept and live segments in order, beside writers; one thread at a time. It keeps no file
 * from being let go of but the one that it reads. */
struct wal_cursor;
/* Before the first record with a number at or above `from`. HELIOS_FEED_TRIMMED: the log begins later. With a filter, which is
 * copied, records that have nothing for it may be left out, and what only they would need is not read. */
helios_status wal_cursor_new(struct wal *, helios_seq from, const struct wal_filter *,
                             struct wal_cursor **) CHECKED;
void wal_cursor_free(struct wal_cursor *); /* NULL is fine */
/* The next COMMIT or INGEST that ends at or before upto (wal_durable() or wal_published()); its body is borrowed until the next
 * call. HELIOS_NOT_FOUND, without a sentence to be relied on: none yet. HELIOS_FEED_TRIMMED: what comes next was let go of.
 * HELIOS_CORRUPT with file and offset. After a failure other than NOT_FOUND the walk is over. */
helios_status wal_cursor_next(struct wal_cursor *, wal_pos upto, struct wal_record *) CHECKED;

/* ---- reading one segment: recovery, dump, verify, the feed ---- */
/* Of a segment or of the archive of one, which then looks as the sealed segment that it was made of; messages name the
 * file that is read, and the offset in the segment. */
struct wal_reader;
helios_status wal_reader_open(struct io_fs *, struct crypt *, const char *path, struct wal_reader **) CHECKED;
void wal_reader_close(struct wal_reader *);
struct wal_segment_info {
    struct file_header header;
    uint64_t predecessor, predecessor_end, size, created;
    helios_seq predecessor_last, first;
    uint64_t copied_end;
    bool sealed;
    uint64_t sealed_end;
    helios_seq sealed_last;
};
const struct wal_segment_info *wal_reader_info(const struct wal_reader *);
/* The record at the reader's offset. HELIOS_NOT_FOUND at the end (END record, or sealed end);
 * HELIOS_CORRUPT at what is no record: a hole, garbage or damage, offset told by wal_reader_offset. */
helios_status wal_reader_next(struct wal_reader *, struct wal_record *) CHECKED;
uint64_t wal_reader_offset(const struct wal_reader *);
/* Nothing from `end` on is read: for a segment that others write behind there. */
void wal_reader_limit(struct wal_reader *, uint64_t end);
void wal_reader_seek(struct wal_reader *, uint64_t offset);
/* Behind all records: checks what there is beside them, in an archive. */
helios_status wal_reader_check(struct wal_reader *) CHECKED;
/* Any valid record at or after the reader's offset, by trying each multiple of 8: HELIOS_NOT_FOUND if none. */
helios_status wal_reader_scan(struct wal_reader *, struct wal_record *) CHECKED;

#endif
