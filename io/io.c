/* io.c - hands each call to the file system's table; counts; reads all or says what is missing. */
#include "io/io_internal.h"
#include <inttypes.h>

static void count(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

void io_free(struct io_fs *fs)
{
    if (fs)
        fs->ops->free(fs);
}

void io_get_counts(struct io_fs *fs, struct io_counts *counts)
{
    counts->read_bytes = atomic_load_explicit(&fs->read_bytes, memory_order_relaxed);
    counts->written_bytes = atomic_load_explicit(&fs->written_bytes, memory_order_relaxed);
    counts->syncs = atomic_load_explicit(&fs->syncs, memory_order_relaxed);
}

/* ---- files ---- */

helios_status io_open(struct io_fs *fs, const char *path, unsigned flags, struct io_file **file)
{
    return fs->ops->open(fs, path, flags, file);
}

void io_close(struct io_file *file)
{
    if (file)
        file->fs->ops->close(file);
}

const char *io_path(const struct io_file *file)
{
    return file->path;
}

helios_status io_read_some(struct io_file *file, uint64_t offset, void *data, size_t size, size_t *got)
{
    helios_status status = file->fs->ops->read(file, offset, data, size, got);

    if (status == HELIOS_OK)
        count(&file->fs->read_bytes, *got);
    return status;
}

helios_status io_read(struct io_file *file, uint64_t offset, void *data, size_t size)
{
    size_t got;
    helios_status status = io_read_some(file, offset, data, size, &got);

    if (status != HELIOS_OK || got == size)
        return status;
    return fail_corrupt("%s: ends at %" PRIu64 ", %zu bytes wanted at %" PRIu64, file->path, offset + got, size,
                        offset);
}

helios_status io_write(struct io_file *file, uint64_t offset, const void *data, size_t size)
{
    helios_status status = file->fs->ops->write(file, offset, data, size);

    if (status == HELIOS_OK)
        count(&file->fs->written_bytes, size);
    return status;
}

helios_status io_sync(struct io_file *file)
{
    count(&file->fs->syncs, 1);
    return file->fs->ops->sync(file);
}

helios_status io_resize(struct io_file *file, uint64_t size)
{
    return file->fs->ops->resize(file, size);
}

helios_status io_reserve(struct io_file *file, uint64_t size, bool *reserved)
{
    return file->fs->ops->reserve(file, size, reserved);
}

helios_status io_size(struct io_file *file, uint64_t *size)
{
    return file->fs->ops->size(file, size);
}

void io_prefetch(struct io_file *file, uint64_t offset, size_t size)
{
    file->fs->ops->prefetch(file, offset, size);
}

void io_write_back(struct io_file *file, uint64_t offset, size_t size)
{
    file->fs->ops->write_back(file, offset, size);
}

bool io_map_supported(struct io_file *file)
{
    return file->fs->ops->map_supported(file);
}

helios_status io_map(struct io_file *file, size_t size, void **mapping)
{
    uint64_t file_size;
    helios_status status = file->fs->ops->size(file, &file_size);

    if (status != HELIOS_OK)
        return status;
    if (size == 0 || size % 4096 != 0 || size > file_size)
        return fail(HELIOS_INVALID, "cannot map %zu bytes of %s, which has %" PRIu64, size, file->path,
                    file_size);
    return file->fs->ops->map(file, size, mapping);
}

void io_map_populate(struct io_file *file, void *mapping, size_t offset, size_t size)
{
    file->fs->ops->map_populate(file, mapping, offset, size);
}

void io_map_unload(struct io_file *file, void *mapping, size_t size)
{
    file->fs->ops->map_unload(file, mapping, size);
}

void io_unmap(struct io_file *file, void *mapping, size_t size)
{
    file->fs->ops->unmap(file, mapping, size);
}

/* ---- names ---- */

helios_status io_stat(struct io_fs *fs, const char *path, struct io_stat *stat)
{
    return fs->ops->stat(fs, path, stat);
}

helios_status io_rename(struct io_fs *fs, const char *from, const char *to)
{
    return fs->ops->rename(fs, from, to);
}

helios_status io_link(struct io_fs *fs, const char *from, const char *to)
{
    return fs->ops->link(fs, from, to);
}

helios_status io_remove(struct io_fs *fs, const char *path)
{
    return fs->ops->remove(fs, path);
}

helios_status io_make_directory(struct io_fs *fs, const char *path)
{
    return fs->ops->make_directory(fs, path);
}

helios_status io_remove_directory(struct io_fs *fs, const char *path)
{
    return fs->ops->remove_directory(fs, path);
}

helios_status io_list(struct io_fs *fs, const char *path, helios_status (*entry)(void *arg, const char *name),
                      void *arg)
{
    return fs->ops->list(fs, path, entry, arg);
}

helios_status io_sync_directory(struct io_fs *fs, const char *path)
{
    count(&fs->syncs, 1);
    return fs->ops->sync_directory(fs, path);
}

helios_status io_free_space(struct io_fs *fs, const char *path, uint64_t *bytes)
{
    return fs->ops->free_space(fs, path, bytes);
}

helios_status io_lock(struct io_fs *fs, const char *path, bool exclusive, struct io_lock **lock)
{
    return fs->ops->lock(fs, path, exclusive, lock);
}

void io_unlock(struct io_lock *lock)
{
    if (lock)
        lock->fs->ops->unlock(lock);
}

/* ---- time and chance ---- */

uint64_t io_time(struct io_fs *fs)
{
    return fs->ops->time(fs);
}

uint64_t io_monotonic(struct io_fs *fs)
{
    return fs->ops->monotonic(fs);
}

helios_status io_random(struct io_fs *fs, void *data, size_t size)
{
    return fs->ops->random(fs, data, size);
}
