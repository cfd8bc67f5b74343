/* file.h - a table file as a version of the tree knows it: bounds and counts from the manifest, the
 * open table only once it is needed (a database of thousands of files opens without touching them).
 * Immutable but for `table`, `busy` and the count. Shared by versions, jobs and cursors.
 *
 * Where memory is bounded, what open tables keep in it (filter, indexes, slots) is too: when all of them take more than
 * that, those that nobody has used since the hand of a clock came by are closed, and opened again when they are needed. */
#ifndef HELIOS_SSTABLE_FILE_H
#define HELIOS_SSTABLE_FILE_H
#include "base/thread.h"
#include "sstable/table.h"

/* Where tables live; outlives every file. */
struct table_home {
    struct io_fs *fs;
    struct crypt *crypt; /* NULL: not encrypted */
    char *directory;     /* <db>/sst */
    struct cache *cache;
    uint64_t open_bytes_max; /* of memory: above, tables are closed; 0: no bound */
    struct mutex open_mu;    /* serialises opening; taken before ring_mu and the cache's locks */
    struct mutex ring_mu;    /* guards what is below; nothing is taken or released under it */
    struct table_file *hand; /* of the ring of open files; NULL: none is open */
    /* Called with the file's path when its last reference goes and it was dropped; after the unlink. */
    void (*removed)(void *arg, uint64_t number);
    void *removed_arg;
};

struct table_file {
    _Atomic uint32_t refs;
    _Atomic(struct table *) table; /* NULL: not open */
    _Atomic bool touched;          /* used since the hand was here */
    _Atomic bool dropped;          /* no version has it any more: the last unref unlinks the file */
    bool busy;                     /* input of a running job; guarded by the engine's job lock */
    struct table_home *home;
    const char *path; /* behind this struct; NULL: where home has its number */
    uint64_t number, size;
    helios_seq override_seq;        /* ingested: the one version of all its keys; else 0 */
    helios_slice smallest, largest; /* keys with layer; behind this struct */
    bool largest_exclusive;         /* largest is the end of a range delete */
    helios_seq collected;           /* the horizon of the job that wrote it: what was garbage then is gone
                                          or pinned. Set by the owner before it is shared; 0: unknown */
    uint64_t drops_seen; /* likewise: so many branches had been dropped, and nothing of them is in it */
    /* The owner's estimate of what lies on dropped branches, and after how many drops it was made. */
    _Atomic uint64_t dropped_bytes, dropped_as_of;
    struct table_file *ring_next, *ring_previous; /* while open */
    struct table_properties properties;
};

/* Copies the slices; one reference. */
helios_status table_file_new(struct table_home *, uint64_t number, uint64_t size, helios_seq override_seq,
                             helios_slice smallest, helios_slice largest, bool largest_exclusive,
                             const struct table_properties *, struct table_file **) CHECKED;
/* The same for a file that lies elsewhere, and may be removed there meanwhile: once open it stays so. */
helios_status table_file_new_at(struct table_home *, const char *path, uint64_t number, uint64_t size,
                                helios_seq override_seq, helios_slice smallest, helios_slice largest,
                                bool largest_exclusive, const struct table_properties *,
                                struct table_file **) CHECKED;
struct table_file *table_file_ref(struct table_file *);
void table_file_unref(struct table_file *); /* NULL is fine; call without locks */
/* The open table, opened if need be (does I/O then), counted. Outside any epoch. */
helios_status table_file_open(struct table_file *, struct table **) CHECKED;
/* NULL: not open. Inside an epoch, and as long as it lasts. */
static inline struct table *table_file_peek(struct table_file *f)
{
    struct table *table = atomic_load_explicit(&f->table, memory_order_acquire);

    if (table && !atomic_load_explicit(&f->touched, memory_order_relaxed))
        atomic_store_explicit(&f->touched, true, memory_order_relaxed);
    return table;
}
/* Closes tables that were not used lately while they take too much memory. */
void table_home_trim(struct table_home *);
void table_file_path(const struct table_home *, uint64_t number, char *out, size_t size);

/* A cursor over files that are sorted and disjoint in internal order (a level): concatenation, each
 * opened as it is reached. Holds references. `files` is copied. A user key may be split between two
 * neighbours (newer versions in the former); at a read point each key comes once. */
helios_status level_cursor_new(struct table_file *const *files, size_t count,
                               const struct table_cursor_options *, struct cursor **) CHECKED;

#endif
