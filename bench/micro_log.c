/* micro_log.c - what the log does of files: appends of 128 bytes in three ways, syncs of three kinds of files; and reads of
 * blocks from the page cache. */
#include "bench/micro.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    RECORD = 128,
    LOG_BYTES = 64 << 20,
    RECORDS = LOG_BYTES / RECORD,
    WRITES = 200000,
    SYNCS = 2000,
    PAGE = 4096,
    READ_FILE = 256 << 20,
    READS = 400000,
};

static int file_new(const char *name)
{
    char path[4200];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", micro.directory, name);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        micro_die(path);
    unlink(path);
    return fd;
}

static void write_all(int fd, uint64_t bytes)
{
    static char zeros[1 << 20];

    for (uint64_t at = 0; at < bytes; at += sizeof(zeros))
        if (pwrite(fd, zeros, sizeof(zeros), (off_t)at) != sizeof(zeros))
            micro_die("write");
}

static unsigned char *map(int fd, bool populate)
{
    unsigned char *at =
        mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | (populate ? MAP_POPULATE : 0), fd, 0);

    if (at == MAP_FAILED)
        micro_die("map");
    return at;
}

static double copy_records(unsigned char *to)
{
    static unsigned char record[RECORD];
    double start = seconds_now();

    for (uint64_t i = 0; i < RECORDS; i++) {
        memcpy(record, &i, sizeof(i));
        memcpy(to + i * RECORD, record, RECORD);
    }
    return seconds_now() - start;
}

/* Pages of a new file are made and zeroed as they are touched. */
static double append_fresh(void *arg)
{
    int fd = file_new("fresh");
    unsigned char *at;
    double seconds;

    if (ftruncate(fd, LOG_BYTES) != 0)
        micro_die("ftruncate");
    at = map(fd, false);
    seconds = copy_records(at);
    munmap(at, LOG_BYTES);
    close(fd);
    return seconds;
}

static double append_resident(void *at)
{
    return copy_records(at);
}

static double append_write(void *arg)
{
    static unsigned char record[RECORD];
    uint64_t count = micro_times(WRITES);
    int fd = file_new("write");
    double start = seconds_now();

    for (uint64_t i = 0; i < count; i++)
        if (pwrite(fd, record, RECORD, (off_t)(i * RECORD)) != RECORD)
            micro_die("write");
    start = seconds_now() - start;
    close(fd);
    return start;
}

static double sync_each(void *arg)
{
    static unsigned char record[RECORD];
    uint64_t count = micro_times(SYNCS);
    int fd = *(int *)arg;
    double start = seconds_now();

    for (uint64_t i = 0; i < count; i++)
        if (pwrite(fd, record, RECORD, (off_t)(i * RECORD)) != RECORD || fdatasync(fd) != 0)
            micro_die("sync");
    return seconds_now() - start;
}

static double sync_growing(void *arg)
{
    int fd = file_new("growing");
    double seconds = sync_each(&fd);

    close(fd);
    return seconds;
}

static double read_blocks(void *arg)
{
    static unsigned char block[PAGE];
    uint64_t count = micro_times(READS);
    int fd = *(int *)arg;
    struct random random;
    double start;

    random_seed(&random, 1);
    start = seconds_now();
    for (uint64_t i = 0; i < count; i++)
        if (pread(fd, block, PAGE, (off_t)(random_below(&random, READ_FILE / PAGE) * PAGE)) != PAGE)
            micro_die("read");
    return seconds_now() - start;
}

void micro_log(void)
{
    int fd = file_new("written");
    unsigned char *at;

    write_all(fd, READ_FILE);
    if (fdatasync(fd) != 0)
        micro_die("sync");
    micro_measure("append of 128 B, mapped, fresh pages", RECORDS, RECORD, append_fresh, NULL);
    at = map(fd, true);
    copy_records(at);
    micro_measure("append of 128 B, mapped, resident pages", RECORDS, RECORD, append_resident, at);
    munmap(at, LOG_BYTES);
    micro_measure("append of 128 B, pwrite", micro_times(WRITES), RECORD, append_write, NULL);
    micro_measure("append of 128 B and fdatasync, growing file", micro_times(SYNCS), 0, sync_growing, NULL);
    micro_measure("append of 128 B and fdatasync, written before", micro_times(SYNCS), 0, sync_each, &fd);
    micro_measure("pread of 4 KiB at random, page cache", micro_times(READS), PAGE, read_blocks, &fd);
    close(fd);
}
