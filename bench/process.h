/* process.h - clocks, and what the system says about this process and its directory. */
#ifndef HELIOS_BENCH_PROCESS_H
#define HELIOS_BENCH_PROCESS_H
#include <stdint.h>

/* Ticks of the cycle counter, cheap enough to be read after each operation. */
#if defined(__x86_64__)
static inline uint64_t ticks_now(void)
{
    return __builtin_ia32_rdtsc();
}
#else
#include <time.h>
static inline uint64_t ticks_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}
#endif

/* Instructions of the calling thread in user mode, where the machine lets a program count them. */
int counter_open(void);              /* -1: it does not */
uint64_t counter_close(int counter); /* since it was opened; 0 for -1 */

double ticks_nanos(void); /* nanoseconds in one tick; measured by the first call, which takes 50 ms */

double seconds_now(void);
double seconds_of_thread(void);  /* of processor time that the caller has used */
double seconds_of_process(void); /* and all threads together */

/* What the process has made dirty in files since it began (/proc/self/io, write_bytes). */
uint64_t process_written(void);

/* The high-water mark of resident memory since the last reset. */
uint64_t process_peak(void);
void process_peak_reset(void);
uint64_t process_resident(void); /* now */

/* Waits until background threads have had nothing to do for a while; returns when they last did. */
double process_wait_idle(void);

struct usage {
    uint64_t bytes, files;
};
struct usage directory_usage(const char *path); /* blocks on disk, not lengths of files */
void directory_remove(const char *path);
void directory_forget(
    const char *path); /* its files are written out and leave the page cache; nobody has them open */

#endif
