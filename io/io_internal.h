/* io_internal.h - what every file system gives to io.c: a table of functions, and the beginnings of its
 * objects. What io.h says of each call holds here; only these differ: read is io_read_some, list may be
 * called back while nothing is locked, and paths are never NULL. */
#ifndef HELIOS_IO_IO_INTERNAL_H
#define HELIOS_IO_IO_INTERNAL_H
#include "io/io.h"
#include <stdatomic.h>

struct io_ops {
    void (*free)(struct io_fs *);
    helios_status (*open)(struct io_fs *, const char *path, unsigned flags, struct io_file **);
    void (*close)(struct io_file *);
    helios_status (*read)(struct io_file *, uint64_t offset, void *data, size_t size, size_t *got);
    helios_status (*write)(struct io_file *, uint64_t offset, const void *data, size_t size);
    helios_status (*sync)(struct io_file *);
    helios_status (*resize)(struct io_file *, uint64_t size);
    helios_status (*reserve)(struct io_file *, uint64_t size, bool *reserved);
    helios_status (*size)(struct io_file *, uint64_t *size);
    void (*prefetch)(struct io_file *, uint64_t offset, size_t size);
    void (*write_back)(struct io_file *, uint64_t offset, size_t size);
    bool (*map_supported)(struct io_file *);
    helios_status (*map)(struct io_file *, size_t size, void **);
    void (*map_populate)(struct io_file *, void *mapping, size_t offset, size_t size);
    void (*map_unload)(struct io_file *, void *mapping, size_t size);
    void (*unmap)(struct io_file *, void *mapping, size_t size);
    helios_status (*stat)(struct io_fs *, const char *path, struct io_stat *);
    helios_status (*rename)(struct io_fs *, const char *from, const char *to);
    helios_status (*link)(struct io_fs *, const char *from, const char *to);
    helios_status (*remove)(struct io_fs *, const char *path);
    helios_status (*make_directory)(struct io_fs *, const char *path);
    helios_status (*remove_directory)(struct io_fs *, const char *path);
    helios_status (*list)(struct io_fs *, const char *path, helios_status (*entry)(void *arg, const char *name),
                          void *arg);
    helios_status (*sync_directory)(struct io_fs *, const char *path);
    helios_status (*free_space)(struct io_fs *, const char *path, uint64_t *bytes);
    helios_status (*lock)(struct io_fs *, const char *path, bool exclusive, struct io_lock **);
    void (*unlock)(struct io_lock *);
    uint64_t (*time)(struct io_fs *);
    uint64_t (*monotonic)(struct io_fs *);
    helios_status (*random)(struct io_fs *, void *data, size_t size);
};

struct io_fs {
    const struct io_ops *ops;
    _Atomic uint64_t read_bytes, written_bytes, syncs;
};

struct io_file {
    struct io_fs *fs;
    const char *path; /* the implementation's */
};

struct io_lock {
    struct io_fs *fs;
};

/* The machine's clocks and randomness, for every file system that has none of its own. */
uint64_t system_time(struct io_fs *);
uint64_t system_monotonic(struct io_fs *);
helios_status system_random(struct io_fs *, void *data, size_t size) CHECKED;

/* ---- the memory file system, as the faulty one uses it ---- */

/* With `cuts` it keeps what is durable beside what is live. */
helios_status memory_new(bool cuts, struct io_fs **) CHECKED;
void memory_revert(struct io_file *); /* unsynced bytes become what was synced; the size stays */
void memory_power_cut(struct io_fs *, enum io_damage, uint64_t seed);
void memory_set_space(struct io_fs *, uint64_t bytes_total);
unsigned char *memory_bytes(struct io_fs *, const char *path, uint64_t *size);

#endif
