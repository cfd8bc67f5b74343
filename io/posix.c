/* posix.c - files as Linux has them. Follows no symbolic link in a file's last component, opens nothing
 * but regular files, and hands no descriptor to programs that the host executes. */
#include "io/posix_internal.h"
#include "base/mem.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

enum { MAGIC_EXT4 = 0xEF53, MAGIC_XFS = 0x58465342, MAGIC_TMPFS = 0x01021994 };
enum { ADVICE_POPULATE_WRITE = 23 }; /* MADV_POPULATE_WRITE, since Linux 5.14; older headers lack it */

/* Which file it was, to know it again. The number of an inode alone is soon given to another file. */
struct identity {
    uint32_t device_major, device_minor, born_nanoseconds;
    uint64_t inode;
    int64_t born; /* 0 where the file system does not tell */
};

struct posix_file {
    struct io_file file;
    bool reopens; /* IO_RANDOM: the descriptor is `idle`'s, else it is `fd` */
    bool direct;
    int fd;
    struct descriptor idle;
    struct identity identity;
    char path[];
};

static struct posix_file *posix_of(struct io_file *file)
{
    return (struct posix_file *)file;
}

/* ---- opening ---- */

/* The host may have used up its descriptors while we hold idle ones. */
static int open_retrying(const char *path, int flags)
{
    int fd;

    do {
        fd = open(path, flags | O_CLOEXEC, 0600);
    } while (fd < 0 && (errno == EINTR || ((errno == EMFILE || errno == ENFILE) && descriptors_close_idle())));
    return fd;
}

/* Without O_NONBLOCK a named pipe would hold us here; on regular files it means nothing. */
static int open_flags(unsigned flags)
{
    return (flags & IO_WRITE ? O_RDWR : O_RDONLY) | (flags & IO_CREATE ? O_CREAT : 0) |
           (flags & IO_EXCLUSIVE ? O_EXCL : 0) | (flags & IO_TRUNCATE ? O_TRUNC : 0) | O_NOFOLLOW | O_NOCTTY |
           O_NONBLOCK;
}

/* Asked for after the opening: where it is not to be had, open() fails only after creating the file. */
static bool set_direct(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_DIRECT) == 0;
}

static helios_status open_regular(const char *path, int flags, int *fd, struct identity *identity)
{
    int opened = open_retrying(path, flags);
    struct statx found;
    int error;

    if (opened < 0)
        return fail_io(errno, "open", path);
    if (statx(opened, "", AT_EMPTY_PATH, STATX_TYPE | STATX_INO | STATX_BTIME, &found) != 0) {
        error = errno;
        close(opened);
        return fail_io(error, "stat", path);
    }
    if (!S_ISREG(found.stx_mode)) {
        close(opened);
        return fail(HELIOS_IO, "cannot open %s: not a regular file", path);
    }
    *fd = opened;
    *identity = (struct identity){found.stx_dev_major, found.stx_dev_minor, 0, found.stx_ino, 0};
    if (found.stx_mask & STATX_BTIME) {
        identity->born = found.stx_btime.tv_sec;
        identity->born_nanoseconds = found.stx_btime.tv_nsec;
    }
    return HELIOS_OK;
}

static bool same_file(const struct identity *a, const struct identity *b)
{
    return a->device_major == b->device_major && a->device_minor == b->device_minor && a->inode == b->inode &&
           a->born == b->born && a->born_nanoseconds == b->born_nanoseconds;
}

static helios_status posix_open(struct io_fs *fs, const char *path, unsigned flags, struct io_file **file)
{
    size_t path_size = strlen(path) + 1;
    struct posix_file *p = mem_zalloc(sizeof(*p) + path_size);
    helios_status status;

    if (!p)
        return fail_no_memory(sizeof(*p) + path_size);
    status = open_regular(path, open_flags(flags), &p->fd, &p->identity);
    if (status != HELIOS_OK) {
        mem_free(p);
        return status;
    }
    memcpy(p->path, path, path_size);
    p->file = (struct io_file){fs, p->path};
    p->direct = (flags & IO_DIRECT) && set_direct(p->fd);
    /* One that is written to stays open: what a failed write-back has to say, it says to the open one. */
    p->reopens = (flags & IO_RANDOM) && !(flags & IO_WRITE);
    if (p->reopens) {
        p->fd = descriptor_install(&p->idle, p->fd);
        descriptor_done(&p->idle);
    }
    *file = &p->file;
    return HELIOS_OK;
}

/* The same file again, or an error: another one may have taken its name. That it is gone is no answer
 * to a read, which must not be taken for "no such key". */
static helios_status reopen(struct posix_file *p, int *fd)
{
    struct identity found;
    int opened;
    helios_status status = open_regular(p->path, open_flags(IO_READ), &opened, &found);

    if (status != HELIOS_OK)
        return status == HELIOS_NOT_FOUND ? HELIOS_IO : status;
    if (!same_file(&found, &p->identity)) {
        close(opened);
        return fail(HELIOS_IO, "cannot open %s again: another file has its name now", p->path);
    }
    if (p->direct)
        set_direct(opened);
    *fd = descriptor_install(&p->idle, opened);
    return HELIOS_OK;
}

/* The descriptor, which stays open until posix_done. */
static inline helios_status posix_use(struct posix_file *p, int *fd)
{
    if (!p->reopens) {
        *fd = p->fd;
        return HELIOS_OK;
    }
    if (descriptor_use(&p->idle, fd))
        return HELIOS_OK;
    return reopen(p, fd);
}

static inline void posix_done(struct posix_file *p)
{
    if (p->reopens)
        descriptor_done(&p->idle);
}

static void posix_close(struct io_file *file)
{
    struct posix_file *p = posix_of(file);

    if (p->reopens)
        descriptor_release(&p->idle);
    else
        close(p->fd);
    mem_free(p);
}

/* ---- content ---- */

static helios_status posix_read(struct io_file *file, uint64_t offset, void *data, size_t size, size_t *got)
{
    struct posix_file *p = posix_of(file);
    size_t done = 0;
    int fd, error = 0;
    helios_status status = posix_use(p, &fd);

    if (status != HELIOS_OK)
        return status;
    while (done < size) {
        ssize_t n = pread(fd, (char *)data + done, size - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            error = errno;
        if (n <= 0)
            break;
        done += (size_t)n;
        if (p->direct && n % IO_DIRECT_ALIGN != 0)
            break; /* the end of the file; going on from there would not be aligned */
    }
    posix_done(p);
    if (error)
        return fail_io(error, "read", p->path);
    *got = done;
    return HELIOS_OK;
}

static helios_status posix_write(struct io_file *file, uint64_t offset, const void *data, size_t size)
{
    struct posix_file *p = posix_of(file);
    size_t done = 0;
    int fd, error = 0;
    helios_status status = posix_use(p, &fd);

    if (status != HELIOS_OK)
        return status;
    while (done < size && !error) {
        ssize_t n = pwrite(fd, (const char *)data + done, size - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            error = errno;
            break;
        }
        if (p->direct)
            n -= n % IO_DIRECT_ALIGN;
        if (n == 0)
            error = EIO; /* no progress and no reason: do not ask for ever */
        done += (size_t)n;
    }
    posix_done(p);
    return error ? fail_io(error, "write", p->path) : HELIOS_OK;
}

static helios_status posix_sync(struct io_file *file)
{
    struct posix_file *p = posix_of(file);
    int fd, result, error;
    helios_status status = posix_use(p, &fd);

    if (status != HELIOS_OK)
        return status;
    do {
        result = fdatasync(fd); /* interrupted, nothing was decided yet: not the retry that is forbidden */
        error = errno;
    } while (result != 0 && error == EINTR);
    posix_done(p);
    return result == 0 ? HELIOS_OK : fail_io(error, "sync", p->path);
}

static helios_status posix_resize(struct io_file *file, uint64_t size)
{
    struct posix_file *p = posix_of(file);
    int fd, result, error;
    helios_status status = posix_use(p, &fd);

    if (status != HELIOS_OK)
        return status;
    do {
        result = ftruncate(fd, (off_t)size);
        error = errno;
    } while (result != 0 && error == EINTR);
    posix_done(p);
    return result == 0 ? HELIOS_OK : fail_io(error, "resize", p->path);
}

static helios_status posix_reserve(struct io_file *file, uint64_t size, bool *reserved)
{
    struct posix_file *p = posix_of(file);
    int fd, result, error;
    helios_status status = posix_use(p, &fd);

    if (status != HELIOS_OK)
        return status;
    do {
        result = fallocate(fd, 0, 0, (off_t)size);
        error = errno;
    } while (result != 0 && error == EINTR);
    posix_done(p);
    *reserved = result == 0;
    if (result == 0 || error == EOPNOTSUPP || error == ENOSYS) /* the latter from sandboxes */
        return HELIOS_OK;
    return fail_io(error, "reserve", p->path);
}

static helios_status posix_size(struct io_file *file, uint64_t *size)
{
    struct posix_file *p = posix_of(file);
    struct stat found;
    int fd, result, error;
    helios_status status = posix_use(p, &fd);

    if (status != HELIOS_OK)
        return status;
    result = fstat(fd, &found);
    error = errno;
    posix_done(p);
    if (result != 0)
        return fail_io(error, "stat", p->path);
    *size = (uint64_t)found.st_size;
    return HELIOS_OK;
}

static void posix_prefetch(struct io_file *file, uint64_t offset, size_t size)
{
    struct posix_file *p = posix_of(file);
    int fd;

    if (p->direct || posix_use(p, &fd) != HELIOS_OK)
        return;
    posix_fadvise(fd, (off_t)offset, (off_t)size, POSIX_FADV_WILLNEED);
    posix_done(p);
}

static void posix_write_back(struct io_file *file, uint64_t offset, size_t size)
{
    struct posix_file *p = posix_of(file);
    int fd;

    if (p->direct || posix_use(p, &fd) != HELIOS_OK)
        return;
    sync_file_range(fd, (off64_t)offset, (off64_t)size, SYNC_FILE_RANGE_WRITE);
    posix_done(p);
}

/* ---- mapping ---- */

static bool posix_map_supported(struct io_file *file)
{
    struct posix_file *p = posix_of(file);
    struct statfs found;
    int fd, result;

    if (posix_use(p, &fd) != HELIOS_OK)
        return false;
    result = fstatfs(fd, &found);
    posix_done(p);
    return result == 0 &&
           (found.f_type == MAGIC_EXT4 || found.f_type == MAGIC_XFS || found.f_type == MAGIC_TMPFS);
}

static helios_status posix_map(struct io_file *file, size_t size, void **mapping)
{
    struct posix_file *p = posix_of(file);
    void *at;
    int fd, error;
    helios_status status = posix_use(p, &fd);

    if (status != HELIOS_OK)
        return status;
    at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    error = errno;
    posix_done(p);
    if (at == MAP_FAILED)
        return fail_io(error, "map", p->path);
    madvise(at, size, MADV_RANDOM); /* a fault brings its page alone, not a large folio around it */
    *mapping = at;
    return HELIOS_OK;
}

static void posix_map_populate(struct io_file *file, void *mapping, size_t offset, size_t size)
{
    size_t from = offset & ~(size_t)4095;

    madvise((char *)mapping + from, offset + size - from, ADVICE_POPULATE_WRITE);
}

static void posix_map_unload(struct io_file *file, void *mapping, size_t size)
{
    madvise(mapping, size, MADV_DONTNEED); /* of a shared mapping: the page cache keeps what they hold */
}

static void posix_unmap(struct io_file *file, void *mapping, size_t size)
{
    munmap(mapping, size);
}

uint64_t io_physical_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);

    return pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : 0;
}

/* ---- names ---- */

static helios_status posix_stat(struct io_fs *fs, const char *path, struct io_stat *result)
{
    struct stat found;

    if (lstat(path, &found) != 0)
        return fail_io(errno, "stat", path);
    *result = (struct io_stat){.is_directory = S_ISDIR(found.st_mode),
                               .is_regular = S_ISREG(found.st_mode),
                               .size = (uint64_t)found.st_size,
                               .disk_bytes = (uint64_t)found.st_blocks * 512};
    return HELIOS_OK;
}

static helios_status posix_rename(struct io_fs *fs, const char *from, const char *to)
{
    return rename(from, to) == 0 ? HELIOS_OK : fail_io(errno, "rename", from);
}

static helios_status posix_link(struct io_fs *fs, const char *from, const char *to)
{
    if (link(from, to) == 0)
        return HELIOS_OK;
    return fail_io(errno, errno == EEXIST ? "make link" : "link", errno == EEXIST ? to : from);
}

static helios_status posix_remove(struct io_fs *fs, const char *path)
{
    return unlink(path) == 0 ? HELIOS_OK : fail_io(errno, "remove", path);
}

static helios_status posix_make_directory(struct io_fs *fs, const char *path)
{
    return mkdir(path, 0700) == 0 ? HELIOS_OK : fail_io(errno, "make directory", path);
}

static helios_status posix_remove_directory(struct io_fs *fs, const char *path)
{
    return rmdir(path) == 0 ? HELIOS_OK : fail_io(errno, "remove directory", path);
}

static helios_status open_directory(const char *path, int *fd)
{
    *fd = open_retrying(path, O_RDONLY | O_DIRECTORY);
    return *fd >= 0 ? HELIOS_OK : fail_io(errno, "open directory", path);
}

static helios_status list_entries(DIR *directory, const char *path,
                                  helios_status (*entry)(void *arg, const char *name), void *arg)
{
    for (;;) {
        const struct dirent *found;
        helios_status status;

        errno = 0;
        found = readdir(directory);
        if (!found)
            return errno ? fail_io(errno, "list", path) : HELIOS_OK;
        if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0)
            continue;
        status = entry(arg, found->d_name);
        if (status != HELIOS_OK)
            return status;
    }
}

static helios_status posix_list(struct io_fs *fs, const char *path,
                                helios_status (*entry)(void *arg, const char *name), void *arg)
{
    DIR *directory;
    int fd;
    helios_status status = open_directory(path, &fd);

    if (status != HELIOS_OK)
        return status;
    directory = fdopendir(fd);
    if (!directory) {
        status = fail_io(errno, "list", path);
        close(fd);
        return status;
    }
    status = list_entries(directory, path, entry, arg);
    closedir(directory);
    return status;
}

static helios_status posix_sync_directory(struct io_fs *fs, const char *path)
{
    int fd, result, error;
    helios_status status = open_directory(path, &fd);

    if (status != HELIOS_OK)
        return status;
    do {
        result = fsync(fd);
        error = errno;
    } while (result != 0 && error == EINTR);
    close(fd);
    if (result == 0 || error == EINVAL) /* EINVAL: this file system knows no syncing of directories */
        return HELIOS_OK;
    return fail_io(error, "sync directory", path);
}

static helios_status posix_free_space(struct io_fs *fs, const char *path, uint64_t *bytes)
{
    struct statvfs found;

    if (statvfs(path, &found) != 0)
        return fail_io(errno, "ask for free space at", path);
    *bytes = (uint64_t)found.f_bavail * found.f_frsize;
    return HELIOS_OK;
}

/* ---- locks ---- */

struct posix_lock {
    struct io_lock lock;
    int fd;
};

static int set_lock(int fd, int type)
{
    struct flock all = {.l_type = (short)type, .l_whence = SEEK_SET};

    return fcntl(fd, F_OFD_SETLK, &all);
}

/* On the open file, not the process: so a second opening in this process is refused as well, and
 * closing some other descriptor of the file does not let go of it. */
static helios_status posix_lock(struct io_fs *fs, const char *path, bool exclusive, struct io_lock **result)
{
    struct posix_lock *lock = mem_alloc(sizeof(*lock));
    struct identity found;
    helios_status status;
    int error;

    if (!lock)
        return fail_no_memory(sizeof(*lock));
    lock->lock.fs = fs;
    status = open_regular(path, open_flags(exclusive ? IO_WRITE : IO_READ), &lock->fd, &found);
    if (status != HELIOS_OK) {
        mem_free(lock);
        return status;
    }
    if (set_lock(lock->fd, exclusive ? F_WRLCK : F_RDLCK) != 0) {
        error = errno;
        close(lock->fd);
        mem_free(lock);
        if (error == EAGAIN || error == EACCES)
            return fail(HELIOS_BUSY, "%s is locked by another process or another open", path);
        return fail_io(error, "lock", path);
    }
    *result = &lock->lock;
    return HELIOS_OK;
}

/* Let go of by name: a forked child may hold the descriptor still. */
static void posix_unlock(struct io_lock *lock)
{
    struct posix_lock *p = (struct posix_lock *)lock;

    set_lock(p->fd, F_UNLCK);
    close(p->fd);
    mem_free(p);
}

/* ---- time and chance ---- */

static uint64_t clock_now(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t system_time(struct io_fs *fs)
{
    return clock_now(CLOCK_REALTIME);
}

uint64_t system_monotonic(struct io_fs *fs)
{
    return clock_now(CLOCK_MONOTONIC);
}

helios_status system_random(struct io_fs *fs, void *data, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = getrandom((char *)data + done, size - done, 0);

        if (n < 0 && errno != EINTR)
            return fail_io(errno, "draw", "random bytes");
        if (n > 0)
            done += (size_t)n;
    }
    return HELIOS_OK;
}

static void posix_free(struct io_fs *fs) {}

static const struct io_ops posix_ops = {
    .free = posix_free,
    .open = posix_open,
    .close = posix_close,
    .read = posix_read,
    .write = posix_write,
    .sync = posix_sync,
    .resize = posix_resize,
    .reserve = posix_reserve,
    .size = posix_size,
    .prefetch = posix_prefetch,
    .write_back = posix_write_back,
    .map_supported = posix_map_supported,
    .map = posix_map,
    .map_populate = posix_map_populate,
    .map_unload = posix_map_unload,
    .unmap = posix_unmap,
    .stat = posix_stat,
    .rename = posix_rename,
    .link = posix_link,
    .remove = posix_remove,
    .make_directory = posix_make_directory,
    .remove_directory = posix_remove_directory,
    .list = posix_list,
    .sync_directory = posix_sync_directory,
    .free_space = posix_free_space,
    .lock = posix_lock,
    .unlock = posix_unlock,
    .time = system_time,
    .monotonic = system_monotonic,
    .random = system_random,
};

struct io_fs *io_posix(void)
{
    static struct io_fs posix = {.ops = &posix_ops};

    return &posix;
}
