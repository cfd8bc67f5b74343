/* manifest.h - the log of edits to the tree: which files there are, where recovery begins, which
 * numbers were handed out. An edit is durable before anything acts on it.
 *
 * File MANIFEST-<number, 8 digits>: file header (magic HELIOSMF), then edits at multiples of 8:
 *    0 u32 body size | 4 u32 zero | 8 u64 xxh3 of the size word and the body, salted, at its offset | 16 body
 * The first edit is a snapshot of everything. Body: fields, each a tag byte and its content, see
 * docs/format.md. CURRENT holds "MANIFEST-00000001 <16 hex digits: xxh3 of the name>\n". */
#ifndef HELIOS_ENGINE_MANIFEST_H
#define HELIOS_ENGINE_MANIFEST_H
#include "engine/version.h"
#include "base/buf.h"
#include "io/io.h"
#include "wal/wal.h"

/* Numbers that a recovery cut: they belong to no commit and never will. The newest ones are kept. */
struct lost_range {
    helios_seq first, last;
};
enum { LOST_RANGES_MAX = 64 };

/* Everything but the files. An edit carries the whole of it (it is small). */
struct manifest_state {
    uint64_t next_file;     /* tables and manifests share the numbers */
    uint64_t log_floor;     /* segments below are not needed */
    wal_pos log_synced;     /* the log is durable up to here at least */
    helios_seq last_synced; /* last number in that part */
    helios_seq flushed;     /* everything at or below is in tables */
    helios_seq ceiling;     /* no number above was ever handed out; clean: itself the last that was */
    helios_seq horizon;     /* largest H used by a flush or compaction */
    uint64_t time;          /* wall time of the edit, us */
    helios_seq last;        /* last commit when the edit was made, for the retention across opens */
    bool clean;             /* closed cleanly; gone with the next edit */
    wal_pos clean_end;
    uint64_t user_bytes;         /* written by users since creation, for write amplification */
    helios_seq timeline_flushed; /* commits at or below have their timeline entries in tables, or had them */
    uint64_t clock;              /* no later commit has an earlier time */
    helios_seq feed_first;       /* the feed has every entry from here on; 0: none is kept */
    uint64_t feed_segment;       /* and segments from here on stay for it */
    helios_seq drops_settled;    /* branches dropped by later commits are whole; SEQ_MAX: it is not known */
    uint32_t lost_count;
    struct lost_range lost[LOST_RANGES_MAX]; /* oldest first */
};

struct manifest;

/* Creates MANIFEST-<state.next_file> with a snapshot and points CURRENT to it, durably. */
helios_status manifest_create(struct io_fs *, struct crypt *, const char *directory, struct manifest_state *,
                              const struct version *, struct manifest **) CHECKED;
/* Reads the live manifest: files come back as a version (home owns the tables). read_only: nothing will
 * be written. HELIOS_NOT_FOUND when there is no CURRENT. */
helios_status manifest_open(struct io_fs *, struct crypt *, const char *directory, struct table_home *,
                            bool read_only, struct manifest_state *, struct version **,
                            struct manifest **) CHECKED;
/* Appends an edit and syncs it. After a failure the file's end is in doubt: the next call begins a
 * new manifest with a snapshot of `after`. after: the version with the changes applied. */
helios_status manifest_append(struct manifest *, struct manifest_state *, const struct version_change *,
                              size_t count, const struct version *after) CHECKED;
/* An append failed in such a way that an open may find its edit all the same: what it names must stay until
 * a later one succeeded. */
bool manifest_in_doubt(const struct manifest *);
/* The next edit begins a new file, which has the newest data key. */
void manifest_renew(struct manifest *);
void manifest_close(struct manifest *);
uint64_t manifest_number(const struct manifest *);
const char *manifest_path(const struct manifest *);

/* A file as an edit holds it, for log records that name tables. Reading takes the fields of one that
 * file_encode wrote; slices are borrowed; false: damaged. */
struct file_record {
    uint64_t number, size;
    helios_slice smallest, largest;
    bool largest_exclusive;
    struct table_properties properties;
};
helios_status file_record_encode(helios_buf *, const struct file_record *) CHECKED;
bool file_record_read(struct reader *, struct file_record *);

/* For checkpoints: writes a manifest and CURRENT for the same files into another directory. */
helios_status manifest_write_copy(struct io_fs *, struct crypt *, const char *directory,
                                  const struct manifest_state *, const struct version *) CHECKED;

/* For dump: calls line(arg, text) for each field of each edit of the file, readable. */
helios_status manifest_dump(struct io_fs *, const char *path, void (*line)(void *arg, const char *text),
                            void *arg) CHECKED;

#endif
