/* memory.c - files in memory: what an in-memory database uses, and inside the faulty file system what
 * the tests use. */
#include "io/memory_internal.h"
#include "base/mem.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

enum { IMAGE_BYTES_MIN = 4096 };
#define FREE_WITHOUT_LIMIT (UINT64_C(1) << 50)

/* ---- images ---- */

/* Doubling, so that appending costs O(1) a byte. The pages of what is never used are never touched. */
static helios_status image_reserve(struct image *image, uint64_t size)
{
    uint64_t capacity = image->capacity ? image->capacity : IMAGE_BYTES_MIN;
    unsigned char *bytes;

    if (size <= image->capacity)
        return HELIOS_OK;
    if (size > SIZE_MAX / 4)
        return fail_no_memory(SIZE_MAX);
    while (capacity < size)
        capacity *= 2;
    bytes = pages_grow(image->bytes, image->capacity, capacity);
    if (!bytes)
        return fail_no_memory(capacity);
    image->bytes = bytes;
    image->capacity = capacity;
    return HELIOS_OK;
}

static void mark_dirty(struct inode *inode, uint64_t from, uint64_t to)
{
    if (from >= to)
        return;
    if (inode->dirty_from >= inode->dirty_to) {
        inode->dirty_from = from;
        inode->dirty_to = to;
        return;
    }
    inode->dirty_from = from < inode->dirty_from ? from : inode->dirty_from;
    inode->dirty_to = to > inode->dirty_to ? to : inode->dirty_to;
}

/* Takes space for a file that grows; a shrinking one gives back. */
static helios_status take_space(struct memory_fs *fs, const struct inode *inode, uint64_t size,
                                const char *path)
{
    uint64_t limit = atomic_load(&fs->limit), grown = size - inode->now.size, used;

    if (size <= inode->now.size) {
        atomic_fetch_sub(&fs->used, inode->now.size - size);
        return HELIOS_OK;
    }
    used = atomic_fetch_add(&fs->used, grown) + grown;
    if (limit == 0 || used <= limit)
        return HELIOS_OK;
    atomic_fetch_sub(&fs->used, grown);
    return fail_io(ENOSPC, "write", path);
}

/* With inode.lock held for writing. Growth reads as zero. */
static helios_status inode_resize_locked(struct memory_fs *fs, struct inode *inode, uint64_t size,
                                         const char *path)
{
    helios_status status;
    uint64_t old = inode->now.size;

    if (size > inode->now.capacity && inode->mappings > 0)
        return fail(HELIOS_INVALID, "cannot let %s grow to that size while it is mapped", path);
    status = image_reserve(&inode->now, size);
    if (status == HELIOS_OK && fs->cuts)
        status = image_reserve(&inode->synced, inode->now.capacity);
    if (status == HELIOS_OK)
        status = take_space(fs, inode, size, path);
    if (status != HELIOS_OK)
        return status;
    if (size < old)
        memset(inode->now.bytes + size, 0, old - size);
    inode->now.size = size;
    mark_dirty(inode, size < old ? size : old, size < old ? old : size);
    return HELIOS_OK;
}

/* ---- files ---- */

static helios_status refuse_directory(const struct inode *inode, const char *path)
{
    if (inode->is_directory)
        return fail(HELIOS_IO, "cannot open %s: not a regular file", path);
    return HELIOS_OK;
}

/* The inode to open, with one user more. fs->lock is held. */
static helios_status open_inode_locked(struct memory_fs *fs, const char *path, unsigned flags,
                                       struct inode **result)
{
    struct place place;
    struct inode *fresh;
    helios_status status = place_find(fs, "open", path, &place);

    if (status != HELIOS_OK)
        return status;
    if (place.inode) {
        if ((flags & IO_CREATE) && (flags & IO_EXCLUSIVE))
            return fail_io(EEXIST, "open", path);
        status = refuse_directory(place.inode, path);
        if (status != HELIOS_OK)
            return status;
        inode_use(fs, place.inode);
        *result = place.inode;
        return HELIOS_OK;
    }
    if (!(flags & IO_CREATE))
        return fail_io(ENOENT, "open", path);
    fresh = inode_new(false);
    if (!fresh)
        return fail_no_memory(sizeof(*fresh));
    status = names_change(fs, &place, fresh, NULL, NULL);
    if (status == HELIOS_OK) {
        inode_use(fs, fresh);
        *result = fresh;
    }
    inode_unref(fs, fresh); /* the name and the handle hold it now; or nobody does */
    return status;
}

static helios_status memory_open(struct io_fs *fs, const char *path, unsigned flags, struct io_file **file)
{
    struct memory_fs *m = memory_of(fs);
    size_t path_size = strlen(path) + 1;
    struct memory_file *handle = mem_zalloc(sizeof(*handle) + path_size);
    helios_status status;

    if (!handle)
        return fail_no_memory(sizeof(*handle) + path_size);
    memcpy(handle->path, path, path_size);
    handle->file = (struct io_file){fs, handle->path};
    handle->writable = flags & IO_WRITE;
    pthread_mutex_lock(&m->lock);
    status = open_inode_locked(m, path, flags, &handle->inode);
    if (status == HELIOS_OK) {
        m->handles++;
        if (flags & IO_TRUNCATE) {
            pthread_rwlock_wrlock(&handle->inode->lock);
            status = inode_resize_locked(m, handle->inode, 0, path); /* getting smaller cannot fail */
            pthread_rwlock_unlock(&handle->inode->lock);
        }
    }
    pthread_mutex_unlock(&m->lock);
    if (status != HELIOS_OK) {
        mem_free(handle);
        return status;
    }
    *file = &handle->file;
    return HELIOS_OK;
}

static void memory_close(struct io_file *file)
{
    struct memory_fs *m = memory_of(file->fs);

    pthread_mutex_lock(&m->lock);
    m->handles--;
    inode_unuse(m, inode_of(file));
    pthread_mutex_unlock(&m->lock);
    mem_free(file);
}

static helios_status memory_read(struct io_file *file, uint64_t offset, void *data, size_t size, size_t *got)
{
    struct inode *inode = inode_of(file);
    uint64_t there;

    pthread_rwlock_rdlock(&inode->lock);
    there = offset < inode->now.size ? inode->now.size - offset : 0;
    if (size > there)
        size = (size_t)there;
    if (size)
        memcpy(data, inode->now.bytes + offset, size);
    pthread_rwlock_unlock(&inode->lock);
    *got = size;
    return HELIOS_OK;
}

static helios_status memory_write(struct io_file *file, uint64_t offset, const void *data, size_t size)
{
    struct inode *inode = inode_of(file);
    helios_status status = HELIOS_OK;

    if (!((struct memory_file *)file)->writable)
        return fail_io(EBADF, "write", file->path);
    if (size == 0)
        return HELIOS_OK;
    if (offset > UINT64_MAX - size)
        return fail_io(EFBIG, "write", file->path);
    pthread_rwlock_wrlock(&inode->lock);
    if (offset + size > inode->now.size)
        status = inode_resize_locked(memory_of(file->fs), inode, offset + size, file->path);
    if (status == HELIOS_OK) {
        memcpy(inode->now.bytes + offset, data, size);
        mark_dirty(inode, offset, offset + size);
    }
    pthread_rwlock_unlock(&inode->lock);
    return status;
}

static helios_status memory_sync(struct io_file *file)
{
    struct inode *inode = inode_of(file);

    if (!memory_of(file->fs)->cuts)
        return HELIOS_OK;
    pthread_rwlock_wrlock(&inode->lock);
    inode_sync(inode);
    pthread_rwlock_unlock(&inode->lock);
    return HELIOS_OK;
}

static helios_status memory_resize(struct io_file *file, uint64_t size)
{
    struct inode *inode = inode_of(file);
    helios_status status;

    if (!((struct memory_file *)file)->writable)
        return fail_io(EBADF, "resize", file->path);
    pthread_rwlock_wrlock(&inode->lock);
    status = inode_resize_locked(memory_of(file->fs), inode, size, file->path);
    pthread_rwlock_unlock(&inode->lock);
    return status;
}

static helios_status memory_reserve(struct io_file *file, uint64_t size, bool *reserved)
{
    *reserved = true;
    return memory_resize(file, size);
}

static helios_status memory_size(struct io_file *file, uint64_t *size)
{
    struct inode *inode = inode_of(file);

    pthread_rwlock_rdlock(&inode->lock);
    *size = inode->now.size;
    pthread_rwlock_unlock(&inode->lock);
    return HELIOS_OK;
}

static void memory_hint(struct io_file *file, uint64_t offset, size_t size) {}

/* ---- mapping: the live bytes themselves, which do not move while mapped ---- */

static bool memory_map_supported(struct io_file *file)
{
    return true;
}

static helios_status memory_map(struct io_file *file, size_t size, void **mapping)
{
    struct inode *inode = inode_of(file);

    if (!((struct memory_file *)file)->writable)
        return fail_io(EACCES, "map", file->path);
    pthread_rwlock_wrlock(&inode->lock);
    inode->mappings++;
    if (size > inode->mapped_bytes)
        inode->mapped_bytes = size;
    mark_dirty(inode, 0, inode->mapped_bytes);
    *mapping = inode->now.bytes;
    pthread_rwlock_unlock(&inode->lock);
    return HELIOS_OK;
}

static void memory_map_populate(struct io_file *file, void *mapping, size_t offset, size_t size) {}

static void memory_map_unload(struct io_file *file, void *mapping, size_t size) {}

static void memory_unmap(struct io_file *file, void *mapping, size_t size)
{
    struct inode *inode = inode_of(file);

    pthread_rwlock_wrlock(&inode->lock);
    assert(inode->mappings > 0);
    if (--inode->mappings == 0)
        inode->mapped_bytes = 0; /* what was stored stays dirty until the next sync */
    pthread_rwlock_unlock(&inode->lock);
}

/* ---- names ---- */

static helios_status memory_stat(struct io_fs *fs, const char *path, struct io_stat *stat)
{
    struct memory_fs *m = memory_of(fs);
    struct place place;
    helios_status status;

    pthread_mutex_lock(&m->lock);
    status = place_find(m, "stat", path, &place);
    if (status == HELIOS_OK && !place.inode)
        status = fail_io(ENOENT, "stat", path);
    if (status == HELIOS_OK) {
        pthread_rwlock_rdlock(&place.inode->lock);
        *stat = (struct io_stat){place.inode->is_directory, !place.inode->is_directory, place.inode->now.size,
                                 place.inode->now.size};
        pthread_rwlock_unlock(&place.inode->lock);
    }
    pthread_mutex_unlock(&m->lock);
    return status;
}

/* 0, or the errno with which from may not take the place of what is at to. */
static int replace_error(const struct place *from, const struct place *to)
{
    if (!from->inode)
        return ENOENT;
    if (!from->name[0] || !to->name[0])
        return EBUSY;
    if (!to->inode)
        return 0;
    if (to->inode->is_directory != from->inode->is_directory)
        return to->inode->is_directory ? EISDIR : ENOTDIR;
    return to->inode->names.count > 0 ? ENOTEMPTY : 0;
}

static helios_status memory_rename(struct io_fs *fs, const char *from, const char *to)
{
    struct memory_fs *m = memory_of(fs);
    struct place old, new;
    int error;
    helios_status status;

    pthread_mutex_lock(&m->lock);
    status = place_find(m, "rename", from, &old);
    if (status == HELIOS_OK)
        status = place_find(m, "rename to", to, &new);
    if (status == HELIOS_OK) {
        error = replace_error(&old, &new);
        if (error)
            status = fail_io(error, "rename", from);
        else if (old.inode != new.inode) /* two names of one file: POSIX leaves both */
            status = names_change(m, &old, NULL, &new, old.inode);
    }
    pthread_mutex_unlock(&m->lock);
    return status;
}

static helios_status memory_link(struct io_fs *fs, const char *from, const char *to)
{
    struct memory_fs *m = memory_of(fs);
    struct place old, new;
    helios_status status;

    pthread_mutex_lock(&m->lock);
    status = place_find(m, "link", from, &old);
    if (status == HELIOS_OK)
        status = place_find(m, "make link", to, &new);
    if (status == HELIOS_OK && !old.inode)
        status = fail_io(ENOENT, "link", from);
    if (status == HELIOS_OK && old.inode->is_directory)
        status = fail_io(EPERM, "link", from);
    if (status == HELIOS_OK && new.inode)
        status = fail_io(EEXIST, "make link", to);
    if (status == HELIOS_OK)
        status = names_change(m, &new, old.inode, NULL, NULL);
    pthread_mutex_unlock(&m->lock);
    return status;
}

static int remove_error(const struct place *place, bool directory)
{
    if (!place->inode)
        return ENOENT;
    if (!place->name[0])
        return EBUSY;
    if (place->inode->is_directory != directory)
        return directory ? ENOTDIR : EISDIR;
    return place->inode->names.count > 0 ? ENOTEMPTY : 0;
}

static helios_status remove_name(struct io_fs *fs, const char *path, bool directory, const char *what)
{
    struct memory_fs *m = memory_of(fs);
    struct place place;
    int error;
    helios_status status;

    pthread_mutex_lock(&m->lock);
    status = place_find(m, what, path, &place);
    if (status == HELIOS_OK) {
        error = remove_error(&place, directory);
        status = error ? fail_io(error, what, path) : names_change(m, &place, NULL, NULL, NULL);
    }
    pthread_mutex_unlock(&m->lock);
    return status;
}

static helios_status memory_remove(struct io_fs *fs, const char *path)
{
    return remove_name(fs, path, false, "remove");
}

static helios_status memory_remove_directory(struct io_fs *fs, const char *path)
{
    return remove_name(fs, path, true, "remove directory");
}

static helios_status memory_make_directory(struct io_fs *fs, const char *path)
{
    struct memory_fs *m = memory_of(fs);
    struct place place;
    struct inode *fresh;
    helios_status status;

    pthread_mutex_lock(&m->lock);
    status = place_find(m, "make directory", path, &place);
    if (status == HELIOS_OK && place.inode)
        status = fail_io(EEXIST, "make directory", path);
    if (status == HELIOS_OK) {
        fresh = inode_new(true);
        status = fresh ? names_change(m, &place, fresh, NULL, NULL) : fail_no_memory(sizeof(*fresh));
        inode_unref(m, fresh);
    }
    pthread_mutex_unlock(&m->lock);
    return status;
}

static helios_status find_directory_locked(struct memory_fs *m, const char *what, const char *path,
                                           struct inode **directory)
{
    struct place place;
    helios_status status = place_find(m, what, path, &place);

    if (status != HELIOS_OK)
        return status;
    if (!place.inode || !place.inode->is_directory)
        return fail_io(place.inode ? ENOTDIR : ENOENT, what, path);
    *directory = place.inode;
    return HELIOS_OK;
}

/* All names, one after the other, each with its NUL: entry() may come back and change the directory. */
static helios_status copy_names_locked(const struct names *names, char **copy, size_t *size)
{
    size_t bytes = 0;
    char *at;

    for (size_t i = 0; i < names->count; i++)
        bytes += strlen(names->entries[i].name->text) + 1;
    at = *copy = mem_alloc(bytes);
    if (!at)
        return fail_no_memory(bytes);
    for (size_t i = 0; i < names->count; i++)
        at = stpcpy(at, names->entries[i].name->text) + 1;
    *size = bytes;
    return HELIOS_OK;
}

static helios_status memory_list(struct io_fs *fs, const char *path,
                                 helios_status (*entry)(void *arg, const char *name), void *arg)
{
    struct memory_fs *m = memory_of(fs);
    struct inode *directory;
    char *copy = NULL;
    size_t size = 0;
    helios_status status;

    pthread_mutex_lock(&m->lock);
    status = find_directory_locked(m, "list", path, &directory);
    if (status == HELIOS_OK)
        status = copy_names_locked(&directory->names, &copy, &size);
    pthread_mutex_unlock(&m->lock);
    for (size_t at = 0; at < size && status == HELIOS_OK; at += strlen(copy + at) + 1)
        status = entry(arg, copy + at);
    mem_free(copy);
    return status;
}

static helios_status memory_sync_directory(struct io_fs *fs, const char *path)
{
    struct memory_fs *m = memory_of(fs);
    struct inode *directory;
    helios_status status;

    pthread_mutex_lock(&m->lock);
    status = find_directory_locked(m, "sync directory", path, &directory);
    if (status == HELIOS_OK && m->cuts)
        changes_sync(m, directory);
    pthread_mutex_unlock(&m->lock);
    return status;
}

static helios_status memory_free_space(struct io_fs *fs, const char *path, uint64_t *bytes)
{
    struct memory_fs *m = memory_of(fs);
    uint64_t limit = atomic_load(&m->limit), used = atomic_load(&m->used);

    if (limit == 0)
        limit = FREE_WITHOUT_LIMIT;
    *bytes = used < limit ? limit - used : 0;
    return HELIOS_OK;
}

/* ---- locks ---- */

struct memory_lock {
    struct io_lock lock;
    struct inode *inode;
};

static helios_status take_lock_locked(struct memory_fs *m, const char *path, bool exclusive,
                                      struct inode **inode)
{
    struct place place;
    helios_status status = place_find(m, "lock", path, &place);

    if (status != HELIOS_OK)
        return status;
    if (!place.inode)
        return fail_io(ENOENT, "lock", path);
    status = refuse_directory(place.inode, path);
    if (status != HELIOS_OK)
        return status;
    if (place.inode->locked < 0 || (exclusive && place.inode->locked > 0))
        return fail(HELIOS_BUSY, "%s is locked by another open", path);
    place.inode->locked = exclusive ? -1 : place.inode->locked + 1;
    inode_use(m, place.inode);
    *inode = place.inode;
    return HELIOS_OK;
}

static helios_status memory_lock(struct io_fs *fs, const char *path, bool exclusive, struct io_lock **result)
{
    struct memory_fs *m = memory_of(fs);
    struct memory_lock *lock = mem_alloc(sizeof(*lock));
    helios_status status;

    if (!lock)
        return fail_no_memory(sizeof(*lock));
    lock->lock.fs = fs;
    pthread_mutex_lock(&m->lock);
    status = take_lock_locked(m, path, exclusive, &lock->inode);
    pthread_mutex_unlock(&m->lock);
    if (status != HELIOS_OK) {
        mem_free(lock);
        return status;
    }
    *result = &lock->lock;
    return HELIOS_OK;
}

static void memory_unlock(struct io_lock *lock)
{
    struct memory_fs *m = memory_of(lock->fs);
    struct inode *inode = ((struct memory_lock *)lock)->inode;

    pthread_mutex_lock(&m->lock);
    inode->locked = inode->locked < 0 ? 0 : inode->locked - 1;
    inode_unuse(m, inode);
    pthread_mutex_unlock(&m->lock);
    mem_free(lock);
}

/* ---- the whole ---- */

static void memory_free(struct io_fs *fs)
{
    struct memory_fs *m = memory_of(fs);

    assert(m->handles == 0);
    memory_names_release(m);
    pthread_mutex_destroy(&m->lock);
    mem_free(m);
}

static const struct io_ops memory_ops = {
    .free = memory_free,
    .open = memory_open,
    .close = memory_close,
    .read = memory_read,
    .write = memory_write,
    .sync = memory_sync,
    .resize = memory_resize,
    .reserve = memory_reserve,
    .size = memory_size,
    .prefetch = memory_hint,
    .write_back = memory_hint,
    .map_supported = memory_map_supported,
    .map = memory_map,
    .map_populate = memory_map_populate,
    .map_unload = memory_map_unload,
    .unmap = memory_unmap,
    .stat = memory_stat,
    .rename = memory_rename,
    .link = memory_link,
    .remove = memory_remove,
    .make_directory = memory_make_directory,
    .remove_directory = memory_remove_directory,
    .list = memory_list,
    .sync_directory = memory_sync_directory,
    .free_space = memory_free_space,
    .lock = memory_lock,
    .unlock = memory_unlock,
    .time = system_time,
    .monotonic = system_monotonic,
    .random = system_random,
};

helios_status memory_new(bool cuts, struct io_fs **fs)
{
    struct memory_fs *m = mem_zalloc(sizeof(*m));

    if (!m)
        return fail_no_memory(sizeof(*m));
    m->fs.ops = &memory_ops;
    m->cuts = cuts;
    m->root = inode_new(true);
    if (!m->root) {
        mem_free(m);
        return fail_no_memory(sizeof(*m->root));
    }
    pthread_mutex_init(&m->lock, NULL);
    *fs = &m->fs;
    return HELIOS_OK;
}

helios_status io_memory_new(struct io_fs **fs)
{
    return memory_new(false, fs);
}

void memory_set_space(struct io_fs *fs, uint64_t bytes_total)
{
    atomic_store(&memory_of(fs)->limit, bytes_total);
}

unsigned char *memory_bytes(struct io_fs *fs, const char *path, uint64_t *size)
{
    struct memory_fs *m = memory_of(fs);
    struct place place;
    unsigned char *bytes = NULL;

    pthread_mutex_lock(&m->lock);
    if (place_find(m, "find", path, &place) == HELIOS_OK && place.inode && !place.inode->is_directory) {
        pthread_rwlock_wrlock(&place.inode->lock);
        mark_dirty(place.inode, 0, place.inode->now.size); /* the caller changes who knows what */
        bytes = place.inode->now.bytes;
        *size = place.inode->now.size;
        pthread_rwlock_unlock(&place.inode->lock);
    }
    pthread_mutex_unlock(&m->lock);
    return bytes;
}
