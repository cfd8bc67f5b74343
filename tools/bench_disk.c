/* bench_disk.c - what the disk under `heliosctl bench` does by itself: how long a sync takes. */
#include "tools/bench.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

enum { SYNCS = 300, PIECE = 4096, PATH_BYTES = 4300 };

static uint64_t nanos_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int write_at(int file, uint64_t index)
{
    static const char piece[PIECE];
    ssize_t written = pwrite(file, piece, PIECE, (off_t)(index * PIECE));

    if (written >= 0 && written != PIECE)
        errno = ENOSPC;
    return written == PIECE ? 0 : -1;
}

/* Over what was written and synced before, as the log does it, so that no room has to be found. */
static int time_syncs(int file, struct histogram *nanos)
{
    for (uint64_t i = 0; i < SYNCS; i++)
        if (write_at(file, i) != 0)
            return -1;
    if (fsync(file) != 0)
        return -1;
    for (uint64_t i = 0; i < SYNCS; i++) {
        uint64_t start = nanos_now();

        if (write_at(file, i) != 0 || fdatasync(file) != 0)
            return -1;
        histogram_add(nanos, nanos_now() - start);
    }
    return 0;
}

/* A file without a name: made and unlinked, since not every file system makes one without. -1: errno says why. */
static int open_unnamed(const char *directory)
{
    char path[PATH_BYTES];
    int file;

    if (snprintf(path, sizeof(path), "%s/disk-XXXXXX", directory) >= PATH_BYTES) {
        errno = ENAMETOOLONG;
        return -1;
    }
    file = mkostemp(path, O_CLOEXEC);
    if (file >= 0)
        unlink(path);
    return file;
}

int bench_disk_probe(const char *directory, struct bench_disk *disk)
{
    struct histogram *nanos = xalloc(sizeof(*nanos));
    struct statfs system;
    int file = open_unnamed(directory), result = -1, error;

    histogram_init(nanos);
    if (file >= 0 && fstatfs(file, &system) == 0 && time_syncs(file, nanos) == 0) {
        disk->in_memory = system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC;
        disk->p50 = histogram_percentile(nanos, 50);
        disk->p99 = histogram_percentile(nanos, 99);
        result = 0;
    }
    error = errno;
    if (file >= 0)
        close(file);
    free(nanos);
    errno = error;
    return result;
}
