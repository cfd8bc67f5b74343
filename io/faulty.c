/* faulty.c - the memory file system behind a gate that fails calls by plan, counts them, and can stop
 * the machine; with a clock and a randomness of its own, so that everything follows from the seed. */
#include "io/io_internal.h"
#include "base/mem.h"
#include "base/random.h"
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

struct faulty {
    struct io_fs fs; /* first: what callers hold is a pointer to it */
    struct io_fs *inner;
    pthread_mutex_t lock; /* guards all below */
    struct io_fault plan;
    bool planned;
    uint64_t planned_calls; /* those that the plan counts, since it was made */
    uint64_t calls[IO_CALL_COUNT];
    uint64_t changes, stop_at; /* stop_at: 0, or the number of the change that is the first to fail */
    bool stopped;
    bool virtual_time, unmapped;
    uint64_t wall, monotonic;
    struct random rng;
};

struct faulty_file {
    struct io_file file;
    struct io_file *inner;
};

static struct faulty *faulty_of(struct io_fs *fs)
{
    return (struct faulty *)fs;
}

static struct io_file *inner_file(struct io_file *file)
{
    return ((struct faulty_file *)file)->inner;
}

/* ---- the gate ---- */

static bool plan_counts_locked(const struct faulty *f, enum io_call call, const char *path, const char *other)
{
    const char *wanted = f->plan.path_contains;

    if (!f->planned || (f->plan.mask && !(f->plan.mask & UINT32_C(1) << call)))
        return false;
    return !wanted || (path && strstr(path, wanted)) || (other && strstr(other, wanted));
}

/* 0, or the errno with which this call fails. */
static int gate_locked(struct faulty *f, enum io_call call, bool changes, const char *path, const char *other)
{
    f->calls[call]++;
    f->changes += changes;
    if (changes && f->stop_at && f->changes >= f->stop_at)
        f->stopped = true;
    if (f->stopped)
        return EIO;
    if (!plan_counts_locked(f, call, path, other))
        return 0;
    f->planned_calls++;
    if (f->plan.fail_at == 0 || f->planned_calls < f->plan.fail_at)
        return 0;
    return f->planned_calls == f->plan.fail_at || f->plan.forever ? f->plan.error_number : 0;
}

static int gate_error(struct io_fs *fs, enum io_call call, bool changes, const char *path, const char *other)
{
    struct faulty *f = faulty_of(fs);
    int error;

    pthread_mutex_lock(&f->lock);
    error = gate_locked(f, call, changes, path, other);
    pthread_mutex_unlock(&f->lock);
    return error;
}

static helios_status gate(struct io_fs *fs, enum io_call call, bool changes, const char *what, const char *path,
                          const char *other)
{
    int error = gate_error(fs, call, changes, path, other);

    return error ? fail_io(error, what, path ? path : "") : HELIOS_OK;
}

static struct io_fs *inner_of(struct io_fs *fs)
{
    return faulty_of(fs)->inner;
}

/* ---- files ---- */

static helios_status faulty_open(struct io_fs *fs, const char *path, unsigned flags, struct io_file **file)
{
    struct faulty_file *wrap = mem_alloc(sizeof(*wrap));
    helios_status status;

    if (!wrap)
        return fail_no_memory(sizeof(*wrap));
    status = gate(fs, IO_CALL_OPEN, flags & (IO_CREATE | IO_TRUNCATE), "open", path, NULL);
    if (status == HELIOS_OK)
        status = inner_of(fs)->ops->open(inner_of(fs), path, flags, &wrap->inner);
    if (status != HELIOS_OK) {
        mem_free(wrap);
        return status;
    }
    wrap->file = (struct io_file){fs, wrap->inner->path};
    *file = &wrap->file;
    return HELIOS_OK;
}

static void faulty_close(struct io_file *file)
{
    struct io_file *inner = inner_file(file);

    inner->fs->ops->close(inner);
    mem_free(file);
}

static helios_status faulty_read(struct io_file *file, uint64_t offset, void *data, size_t size, size_t *got)
{
    helios_status status = gate(file->fs, IO_CALL_READ, false, "read", file->path, NULL);

    if (status != HELIOS_OK)
        return status;
    return inner_of(file->fs)->ops->read(inner_file(file), offset, data, size, got);
}

static helios_status faulty_write(struct io_file *file, uint64_t offset, const void *data, size_t size)
{
    helios_status status = gate(file->fs, IO_CALL_WRITE, true, "write", file->path, NULL);

    if (status != HELIOS_OK)
        return status;
    return inner_of(file->fs)->ops->write(inner_file(file), offset, data, size);
}

static bool drops_pages(struct faulty *f)
{
    bool drops;

    pthread_mutex_lock(&f->lock);
    drops = !f->stopped && f->planned && f->plan.sync_drops_pages;
    pthread_mutex_unlock(&f->lock);
    return drops;
}

static helios_status faulty_sync(struct io_file *file)
{
    helios_status status = gate(file->fs, IO_CALL_SYNC, true, "sync", file->path, NULL);

    if (status == HELIOS_OK)
        return inner_of(file->fs)->ops->sync(inner_file(file));
    if (drops_pages(faulty_of(file->fs)))
        memory_revert(inner_file(file));
    return status;
}

static helios_status faulty_resize(struct io_file *file, uint64_t size)
{
    helios_status status = gate(file->fs, IO_CALL_RESIZE, true, "resize", file->path, NULL);

    if (status != HELIOS_OK)
        return status;
    return inner_of(file->fs)->ops->resize(inner_file(file), size);
}

/* A planned EOPNOTSUPP is what it is to a true one: no failure, but a file system without the call. */
static helios_status faulty_reserve(struct io_file *file, uint64_t size, bool *reserved)
{
    int error = gate_error(file->fs, IO_CALL_RESIZE, true, file->path, NULL);

    *reserved = false;
    if (error)
        return error == EOPNOTSUPP ? HELIOS_OK : fail_io(error, "reserve", file->path);
    return inner_of(file->fs)->ops->reserve(inner_file(file), size, reserved);
}

static helios_status faulty_size(struct io_file *file, uint64_t *size)
{
    helios_status status = gate(file->fs, IO_CALL_SIZE, false, "stat", file->path, NULL);

    if (status != HELIOS_OK)
        return status;
    return inner_of(file->fs)->ops->size(inner_file(file), size);
}

static void faulty_hint(struct io_file *file, uint64_t offset, size_t size) {}

static bool faulty_map_supported(struct io_file *file)
{
    struct faulty *f = faulty_of(file->fs);
    bool unmapped;

    pthread_mutex_lock(&f->lock);
    unmapped = f->unmapped;
    pthread_mutex_unlock(&f->lock);
    return !unmapped && inner_of(file->fs)->ops->map_supported(inner_file(file));
}

static helios_status faulty_map(struct io_file *file, size_t size, void **mapping)
{
    helios_status status = gate(file->fs, IO_CALL_MAP, false, "map", file->path, NULL);

    if (status != HELIOS_OK)
        return status;
    return inner_of(file->fs)->ops->map(inner_file(file), size, mapping);
}

static void faulty_map_populate(struct io_file *file, void *mapping, size_t offset, size_t size) {}

static void faulty_map_unload(struct io_file *file, void *mapping, size_t size) {}

static void faulty_unmap(struct io_file *file, void *mapping, size_t size)
{
    inner_of(file->fs)->ops->unmap(inner_file(file), mapping, size);
}

/* ---- names ---- */

static helios_status faulty_stat(struct io_fs *fs, const char *path, struct io_stat *stat)
{
    helios_status status = gate(fs, IO_CALL_STAT, false, "stat", path, NULL);

    return status == HELIOS_OK ? inner_of(fs)->ops->stat(inner_of(fs), path, stat) : status;
}

static helios_status faulty_rename(struct io_fs *fs, const char *from, const char *to)
{
    helios_status status = gate(fs, IO_CALL_RENAME, true, "rename", from, to);

    return status == HELIOS_OK ? inner_of(fs)->ops->rename(inner_of(fs), from, to) : status;
}

static helios_status faulty_link(struct io_fs *fs, const char *from, const char *to)
{
    helios_status status = gate(fs, IO_CALL_LINK, true, "link", from, to);

    return status == HELIOS_OK ? inner_of(fs)->ops->link(inner_of(fs), from, to) : status;
}

static helios_status faulty_remove(struct io_fs *fs, const char *path)
{
    helios_status status = gate(fs, IO_CALL_REMOVE, true, "remove", path, NULL);

    return status == HELIOS_OK ? inner_of(fs)->ops->remove(inner_of(fs), path) : status;
}

static helios_status faulty_make_directory(struct io_fs *fs, const char *path)
{
    helios_status status = gate(fs, IO_CALL_MAKE_DIRECTORY, true, "make directory", path, NULL);

    return status == HELIOS_OK ? inner_of(fs)->ops->make_directory(inner_of(fs), path) : status;
}

static helios_status faulty_remove_directory(struct io_fs *fs, const char *path)
{
    helios_status status = gate(fs, IO_CALL_REMOVE_DIRECTORY, true, "remove directory", path, NULL);

    return status == HELIOS_OK ? inner_of(fs)->ops->remove_directory(inner_of(fs), path) : status;
}

static helios_status faulty_list(struct io_fs *fs, const char *path,
                                 helios_status (*entry)(void *arg, const char *name), void *arg)
{
    helios_status status = gate(fs, IO_CALL_LIST, false, "list", path, NULL);

    return status == HELIOS_OK ? inner_of(fs)->ops->list(inner_of(fs), path, entry, arg) : status;
}

static helios_status faulty_sync_directory(struct io_fs *fs, const char *path)
{
    helios_status status = gate(fs, IO_CALL_SYNC_DIRECTORY, true, "sync directory", path, NULL);

    return status == HELIOS_OK ? inner_of(fs)->ops->sync_directory(inner_of(fs), path) : status;
}

static helios_status faulty_free_space(struct io_fs *fs, const char *path, uint64_t *bytes)
{
    helios_status status = gate(fs, IO_CALL_FREE_SPACE, false, "ask for free space at", path, NULL);

    return status == HELIOS_OK ? inner_of(fs)->ops->free_space(inner_of(fs), path, bytes) : status;
}

/* The lock is the inner file system's, which will be asked to unlock it. */
static helios_status faulty_lock(struct io_fs *fs, const char *path, bool exclusive, struct io_lock **lock)
{
    helios_status status = gate(fs, IO_CALL_LOCK, false, "lock", path, NULL);

    return status == HELIOS_OK ? inner_of(fs)->ops->lock(inner_of(fs), path, exclusive, lock) : status;
}

/* ---- time and chance ---- */

static uint64_t faulty_time(struct io_fs *fs)
{
    struct faulty *f = faulty_of(fs);
    uint64_t now;

    pthread_mutex_lock(&f->lock);
    now = f->virtual_time ? f->wall : system_time(fs);
    pthread_mutex_unlock(&f->lock);
    return now;
}

static uint64_t faulty_monotonic(struct io_fs *fs)
{
    struct faulty *f = faulty_of(fs);
    uint64_t now;

    pthread_mutex_lock(&f->lock);
    now = f->virtual_time ? f->monotonic : system_monotonic(fs);
    pthread_mutex_unlock(&f->lock);
    return now;
}

static helios_status faulty_random(struct io_fs *fs, void *data, size_t size)
{
    struct faulty *f = faulty_of(fs);
    helios_status status = gate(fs, IO_CALL_RANDOM, false, "draw", "random bytes", NULL);

    if (status != HELIOS_OK)
        return status;
    pthread_mutex_lock(&f->lock);
    for (size_t at = 0; at < size; at += 8) {
        uint64_t drawn = random_next(&f->rng);

        memcpy((char *)data + at, &drawn, size - at < 8 ? size - at : 8);
    }
    pthread_mutex_unlock(&f->lock);
    return HELIOS_OK;
}

/* ---- the whole ---- */

static void faulty_free(struct io_fs *fs)
{
    struct faulty *f = faulty_of(fs);

    io_free(f->inner);
    pthread_mutex_destroy(&f->lock);
    mem_free(f);
}

static const struct io_ops faulty_ops = {
    .free = faulty_free,
    .open = faulty_open,
    .close = faulty_close,
    .read = faulty_read,
    .write = faulty_write,
    .sync = faulty_sync,
    .resize = faulty_resize,
    .reserve = faulty_reserve,
    .size = faulty_size,
    .prefetch = faulty_hint,
    .write_back = faulty_hint,
    .map_supported = faulty_map_supported,
    .map = faulty_map,
    .map_populate = faulty_map_populate,
    .map_unload = faulty_map_unload,
    .unmap = faulty_unmap,
    .stat = faulty_stat,
    .rename = faulty_rename,
    .link = faulty_link,
    .remove = faulty_remove,
    .make_directory = faulty_make_directory,
    .remove_directory = faulty_remove_directory,
    .list = faulty_list,
    .sync_directory = faulty_sync_directory,
    .free_space = faulty_free_space,
    .lock = faulty_lock,
    .time = faulty_time,
    .monotonic = faulty_monotonic,
    .random = faulty_random,
};

helios_status io_faulty_new(uint64_t seed, struct io_fs **fs)
{
    struct faulty *f = mem_zalloc(sizeof(*f));
    helios_status status;

    if (!f)
        return fail_no_memory(sizeof(*f));
    status = memory_new(true, &f->inner);
    if (status != HELIOS_OK) {
        mem_free(f);
        return status;
    }
    f->fs.ops = &faulty_ops;
    pthread_mutex_init(&f->lock, NULL);
    random_seed(&f->rng, seed);
    *fs = &f->fs;
    return HELIOS_OK;
}

static struct io_fs *memory_inside(struct io_fs *fs)
{
    return fs->ops == &faulty_ops ? faulty_of(fs)->inner : fs;
}

void io_faulty_plan(struct io_fs *fs, const struct io_fault *plan)
{
    struct faulty *f = faulty_of(fs);

    assert(fs->ops == &faulty_ops);
    pthread_mutex_lock(&f->lock);
    f->planned = plan != NULL;
    if (plan)
        f->plan = *plan;
    f->planned_calls = 0;
    pthread_mutex_unlock(&f->lock);
}

uint64_t io_faulty_calls(struct io_fs *fs, uint32_t mask)
{
    struct faulty *f = faulty_of(fs);
    uint64_t calls = 0;

    pthread_mutex_lock(&f->lock);
    for (int i = 0; i < IO_CALL_COUNT; i++) {
        if (mask == 0 || (mask & UINT32_C(1) << i))
            calls += f->calls[i];
    }
    pthread_mutex_unlock(&f->lock);
    return calls;
}

void io_faulty_stop_at(struct io_fs *fs, uint64_t n)
{
    struct faulty *f = faulty_of(fs);

    pthread_mutex_lock(&f->lock);
    f->stop_at = n ? f->changes + n : 0;
    f->stopped = false;
    pthread_mutex_unlock(&f->lock);
}

uint64_t io_faulty_changes(struct io_fs *fs)
{
    struct faulty *f = faulty_of(fs);
    uint64_t changes;

    pthread_mutex_lock(&f->lock);
    changes = f->changes;
    pthread_mutex_unlock(&f->lock);
    return changes;
}

bool io_faulty_stopped(struct io_fs *fs)
{
    struct faulty *f = faulty_of(fs);
    bool stopped;

    pthread_mutex_lock(&f->lock);
    stopped = f->stopped;
    pthread_mutex_unlock(&f->lock);
    return stopped;
}

void io_faulty_power_cut(struct io_fs *fs, enum io_damage damage, uint64_t seed)
{
    io_faulty_plan(fs, NULL);
    io_faulty_stop_at(fs, 0);
    memory_power_cut(inner_of(fs), damage, seed);
}

void io_faulty_set_time(struct io_fs *fs, uint64_t wall, uint64_t monotonic)
{
    struct faulty *f = faulty_of(fs);

    pthread_mutex_lock(&f->lock);
    f->virtual_time = true;
    f->wall = wall;
    f->monotonic = monotonic;
    pthread_mutex_unlock(&f->lock);
}

void io_faulty_advance(struct io_fs *fs, uint64_t by)
{
    io_faulty_set_time(fs, faulty_time(fs) + by, faulty_monotonic(fs) + by);
}

void io_faulty_unmap(struct io_fs *fs)
{
    struct faulty *f = faulty_of(fs);

    assert(fs->ops == &faulty_ops);
    pthread_mutex_lock(&f->lock);
    f->unmapped = true;
    pthread_mutex_unlock(&f->lock);
}

void io_faulty_set_space(struct io_fs *fs, uint64_t bytes_total)
{
    memory_set_space(inner_of(fs), bytes_total);
}

unsigned char *io_memory_bytes(struct io_fs *fs, const char *path, uint64_t *size)
{
    return memory_bytes(memory_inside(fs), path, size);
}
