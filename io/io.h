/* io.h - the one door to the operating system: files, directories, clock, randomness. Nothing else in
 * the tree makes a system call on files. Three implementations: posix (posix.c), memory (memory.c:
 * no file is touched; also what an in-memory database uses) and faulty (faulty.c: wraps memory with a
 * plan of failures and can cut the power).
 *
 * Paths are plain strings with '/'. Every failure is a status with a sentence that names the path.
 * Short transfers and EINTR are handled below this line. Threads: any, on one file too, for reads and
 * writes of disjoint ranges. */
#ifndef HELIOS_IO_IO_H
#define HELIOS_IO_IO_H
#include "base/slice.h"
#include "base/status.h"

struct io_fs;
struct io_file;
struct io_lock;

enum io_flags {
    IO_READ = 1,
    IO_WRITE = 2,     /* implies read */
    IO_CREATE = 4,    /* 0600 */
    IO_EXCLUSIVE = 8, /* with IO_CREATE: HELIOS_EXISTS when it is there */
    IO_TRUNCATE = 16,
    IO_DIRECT = 32, /* bypass the page cache if the file system can; buffers, offsets and sizes are
                          multiples of IO_DIRECT_ALIGN then; silently ordinary where it cannot */
    IO_RANDOM = 64, /* a table: read here and there; its descriptor may be closed while idle and
                          opened again, so that more files than descriptors can be open */
};
enum { IO_DIRECT_ALIGN = 4096 };

struct io_stat {
    bool is_directory;
    bool is_regular;
    uint64_t size;
    uint64_t disk_bytes;
};

/* Bytes moved so far through one io_fs, for statistics. */
struct io_counts {
    uint64_t read_bytes, written_bytes, syncs;
};

/* ---- file systems ---- */
struct io_fs *io_posix(void);                         /* one, never freed */
helios_status io_memory_new(struct io_fs **) CHECKED; /* empty; freed by io_free */
void io_free(struct io_fs *);                         /* no-op for posix; NULL is fine */
void io_get_counts(struct io_fs *, struct io_counts *);

/* ---- files ---- */
helios_status io_open(struct io_fs *, const char *path, unsigned flags, struct io_file **) CHECKED;
void io_close(struct io_file *); /* NULL is fine; what was not synced may be lost, so errors say nothing */
const char *io_path(const struct io_file *);
/* All of size bytes; a file that ends earlier is HELIOS_CORRUPT ("... ends at N, M bytes wanted at O"). */
helios_status io_read(struct io_file *, uint64_t offset, void *data, size_t size) CHECKED;
/* Up to size bytes; *got < size only at the end of the file. */
helios_status io_read_some(struct io_file *, uint64_t offset, void *data, size_t size, size_t *got) CHECKED;
helios_status io_write(struct io_file *, uint64_t offset, const void *data, size_t size) CHECKED;
helios_status io_sync(struct io_file *) CHECKED; /* content and size; never retried after a failure */
helios_status io_resize(struct io_file *, uint64_t size) CHECKED;
/* Room for [0, size), which reads as zeros where nothing was written; *reserved false, and nothing done, where the
 * file system has no such call. Not for a file that is larger. */
helios_status io_reserve(struct io_file *, uint64_t size, bool *reserved) CHECKED;
helios_status io_size(struct io_file *, uint64_t *size) CHECKED;
void io_prefetch(struct io_file *, uint64_t offset, size_t size); /* a hint */
/* Starts write-back of a range without waiting; a hint. */
void io_write_back(struct io_file *, uint64_t offset, size_t size);

/* Shared, writable mapping of the whole range [0, size), size a multiple of 4096 and at most the
 * file's size. io_map_supported: ext4, xfs, tmpfs, memory; false elsewhere. Populate makes the pages
 * of a range writable without faults later; a hint. What is stored through the mapping is durable
 * after io_sync. */
bool io_map_supported(struct io_file *);
helios_status io_map(struct io_file *, size_t size, void **) CHECKED;
void io_map_populate(struct io_file *, void *mapping, size_t offset, size_t size);
/* The process needs none of its pages until they are touched again, with what was stored in them; a hint. */
void io_map_unload(struct io_file *, void *mapping, size_t size);
void io_unmap(struct io_file *, void *mapping, size_t size);

/* ---- names ---- */
helios_status io_stat(struct io_fs *, const char *path,
                      struct io_stat *) CHECKED; /* of the link itself; NOT_FOUND */
helios_status io_rename(struct io_fs *, const char *from, const char *to) CHECKED; /* replaces */
helios_status io_link(struct io_fs *, const char *from, const char *to) CHECKED;   /* hard link */
helios_status io_remove(struct io_fs *, const char *path) CHECKED;                 /* a file */
helios_status io_make_directory(struct io_fs *, const char *path) CHECKED;         /* 0700; EXISTS */
helios_status io_remove_directory(struct io_fs *, const char *path) CHECKED;       /* an empty one */
/* Calls entry(arg, name) for each but . and ..; a status other than OK from it stops and is returned. */
helios_status io_list(struct io_fs *, const char *path, helios_status (*entry)(void *arg, const char *name),
                      void *arg) CHECKED;
helios_status io_sync_directory(struct io_fs *, const char *path) CHECKED;
helios_status io_free_space(struct io_fs *, const char *path, uint64_t *bytes) CHECKED;

/* Advisory lock on an existing file, held across the process boundary and also against other opens in
 * this process. HELIOS_BUSY if it is held. Closed on exec. */
helios_status io_lock(struct io_fs *, const char *path, bool exclusive, struct io_lock **) CHECKED;
void io_unlock(struct io_lock *); /* NULL is fine */

/* ---- time and chance ---- */
uint64_t io_time(struct io_fs *);      /* wall clock, us since the epoch */
uint64_t io_monotonic(struct io_fs *); /* us from some start */
helios_status io_random(struct io_fs *, void *data, size_t size) CHECKED;

/* Of the machine, in bytes; 0: unknown. A limit on the process alone is not seen. */
uint64_t io_physical_memory(void);

/* ---- descriptors that poll() waits for; the same under every file system ---- */
helios_status io_event_new(int *fd) CHECKED; /* readable */
void io_event_set(int fd);
void io_event_clear(int fd); /* not readable */
void io_event_close(int fd);

/* ---- the faulty file system, for tests ---- */

/* Fails calls by a plan. Everything is deterministic by seed. The inner memory file system keeps, for
 * each file, a durable image beside the live one (also for what is stored through mappings), and for
 * each directory the durable set of names. */
enum io_call {
    IO_CALL_OPEN,
    IO_CALL_READ,
    IO_CALL_WRITE,
    IO_CALL_SYNC,
    IO_CALL_RESIZE,
    IO_CALL_SIZE,
    IO_CALL_MAP,
    IO_CALL_STAT,
    IO_CALL_RENAME,
    IO_CALL_LINK,
    IO_CALL_REMOVE,
    IO_CALL_MAKE_DIRECTORY,
    IO_CALL_REMOVE_DIRECTORY,
    IO_CALL_LIST,
    IO_CALL_SYNC_DIRECTORY,
    IO_CALL_LOCK,
    IO_CALL_RANDOM,
    IO_CALL_FREE_SPACE,
    IO_CALL_COUNT,
};

struct io_fault {
    uint64_t fail_at;          /* the n-th call from now (from 1) among `mask` fails; 0: none */
    bool forever;              /* and all later ones too */
    uint32_t mask;             /* bits 1 << io_call; 0 means all */
    int error_number;          /* EIO, ENOSPC, EMFILE, ... */
    const char *path_contains; /* only calls on such paths count; NULL: all */
    bool sync_drops_pages;     /* a failing sync reverts unsynced bytes to the durable image */
};

/* How much of what was not synced survives a power cut, per 512-byte sector and per directory entry. */
enum io_damage {
    IO_DAMAGE_DROP_ALL,   /* only what was synced is there */
    IO_DAMAGE_KEEP_ALL,   /* everything made it, as after a killed process */
    IO_DAMAGE_SECTORS,    /* each dirty sector and each directory change by the toss of a coin */
    IO_DAMAGE_PREFIX,     /* of each file's dirty sectors a prefix survives */
    IO_DAMAGE_SUFFIX,     /* a suffix */
    IO_DAMAGE_DATA_ONLY,  /* all file content survives, no directory change does */
    IO_DAMAGE_NAMES_ONLY, /* all directory changes survive, no unsynced content does: zero-length or old */
    IO_DAMAGE_GARBAGE,    /* as SECTORS, but a lost sector of newly grown file holds noise */
    IO_DAMAGE_COUNT,
};

helios_status io_faulty_new(uint64_t seed, struct io_fs **) CHECKED; /* freed by io_free */
void io_faulty_plan(struct io_fs *, const struct io_fault *);        /* NULL: no failures */
uint64_t io_faulty_calls(struct io_fs *, uint32_t mask);             /* calls so far among mask (0: all) */
/* From the n-th *changing* call on (write, sync, resize, rename, link, remove, directories; from 1, counted
 * from now) every call fails with EIO: the machine has stopped. 0 turns it off. Stores through
 * mappings still work but are not durable, as no later sync succeeds. */
void io_faulty_stop_at(struct io_fs *, uint64_t n);
uint64_t io_faulty_changes(struct io_fs *); /* changing calls so far */
bool io_faulty_stopped(struct io_fs *);
/* The machine starts again: the live state becomes what the damage leaves. All files, mappings and
 * locks must have been closed before. Turns off plan and stop. */
void io_faulty_power_cut(struct io_fs *, enum io_damage, uint64_t seed);
void io_faulty_set_time(struct io_fs *, uint64_t wall, uint64_t monotonic); /* virtual from now on */
void io_faulty_advance(struct io_fs *, uint64_t by);
void io_faulty_set_space(struct io_fs *, uint64_t bytes_total); /* ENOSPC beyond; 0: no limit */
void io_faulty_unmap(struct io_fs *); /* a file system that files are not mapped on, from now on */
/* For flips: the live bytes of a file, to be changed in place; NULL if there is no such file. Valid
 * until the file changes. Works on plain memory file systems too. */
unsigned char *io_memory_bytes(struct io_fs *, const char *path, uint64_t *size);

#endif
