/* process.c - reads /proc and the clocks. Linux, as the library. */
#include "bench/process.h"
#include "base/thread.h"
#include "bench/engine.h"
#include <sys/types.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <fcntl.h>
#include <fts.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLE = 50000, IDLE_SAMPLES = 8, IDLE_WRITTEN = 65536 };
static const double idle_load = 0.1; /* of one core: timers tick, but nobody works */

static double clock_seconds(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double seconds_now(void)
{
    return clock_seconds(CLOCK_MONOTONIC);
}

double seconds_of_thread(void)
{
    return clock_seconds(CLOCK_THREAD_CPUTIME_ID);
}

double seconds_of_process(void)
{
    return clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
}

int counter_open(void)
{
    struct perf_event_attr wanted = {
        .type = PERF_TYPE_HARDWARE,
        .size = sizeof(wanted),
        .config = PERF_COUNT_HW_INSTRUCTIONS,
        .exclude_kernel = 1,
        .exclude_hv = 1,
    };

    return (int)syscall(SYS_perf_event_open, &wanted, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

uint64_t counter_close(int counter)
{
    uint64_t count = 0;

    if (counter < 0)
        return 0;
    if (read(counter, &count, sizeof(count)) != sizeof(count))
        count = 0;
    close(counter);
    return count;
}

double ticks_nanos(void)
{
    static double nanos;
    double start;
    uint64_t ticks;

    if (nanos == 0) {
        start = seconds_now();
        ticks = ticks_now();
        thread_sleep(50000);
        nanos = (seconds_now() - start) * 1e9 / (double)(ticks_now() - ticks);
    }
    return nanos;
}

/* The number behind a name at the start of a line. */
static uint64_t proc_number(const char *path, const char *name)
{
    FILE *file = fopen(path, "re");
    char line[256];
    uint64_t value = 0;

    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtoull(line + strlen(name), NULL, 10);
    if (file)
        fclose(file);
    return value;
}

uint64_t process_written(void)
{
    return proc_number("/proc/self/io", "write_bytes:");
}

uint64_t process_peak(void)
{
    return proc_number("/proc/self/status", "VmHWM:") * 1024;
}

uint64_t process_resident(void)
{
    return proc_number("/proc/self/status", "VmRSS:") * 1024;
}

void process_peak_reset(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "we");

    if (!file)
        return;
    fputs("5", file);
    fclose(file);
}

double process_wait_idle(void)
{
    double cpu = seconds_of_process(), busy_until = seconds_now();
    uint64_t written = process_written();

    for (int idle = 0; idle < IDLE_SAMPLES; idle++) {
        double cpu_before = cpu;
        uint64_t written_before = written;

        thread_sleep(SAMPLE);
        cpu = seconds_of_process();
        written = process_written();
        if ((cpu - cpu_before) * 1e6 < idle_load * SAMPLE && written - written_before < IDLE_WRITTEN)
            continue;
        busy_until = seconds_now();
        idle = -1;
    }
    return busy_until;
}

static FTS *walk_begin(const char *path)
{
    char *paths[] = {(char *)path, NULL};
    FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);

    if (!walk)
        bench_die("cannot list %s", path);
    return walk;
}

struct usage directory_usage(const char *path)
{
    FTS *walk = walk_begin(path);
    struct usage usage = {0};

    for (FTSENT *entry = fts_read(walk); entry; entry = fts_read(walk)) {
        if (entry->fts_info != FTS_F)
            continue;
        usage.bytes += (uint64_t)entry->fts_statp->st_blocks * 512;
        usage.files++;
    }
    fts_close(walk);
    return usage;
}

void directory_remove(const char *path)
{
    FTS *walk = walk_begin(path);

    for (FTSENT *entry = fts_read(walk); entry; entry = fts_read(walk)) {
        if (entry->fts_info == FTS_D)
            continue;
        if (entry->fts_info == FTS_DP)
            rmdir(entry->fts_path);
        else
            unlink(entry->fts_path);
    }
    fts_close(walk);
}

void directory_forget(const char *path)
{
    FTS *walk = walk_begin(path);

    for (FTSENT *entry = fts_read(walk); entry; entry = fts_read(walk)) {
        int fd = entry->fts_info == FTS_F ? open(entry->fts_path, O_RDONLY | O_CLOEXEC) : -1;

        if (fd < 0)
            continue;
        if (fsync(fd) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
            bench_die("cannot empty the page cache of %s", entry->fts_path);
        close(fd);
    }
    fts_close(walk);
}
