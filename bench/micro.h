/* micro.h - what the bare mechanisms under each path do on this machine: the limits in docs/performance.md. */
#ifndef HELIOS_BENCH_MICRO_H
#define HELIOS_BENCH_MICRO_H
#include "base/mem.h"
#include "base/random.h"
#include "base/slice.h"
#include "base/status.h"
#include "bench/process.h"

extern struct micro_settings {
    const char *directory; /* a scratch directory on the disk to be measured */
    uint64_t entries;      /* of a memtable, a skip list, all runs of a merge */
    bool quick;            /* does it run? the figures mean nothing */
} micro;

/* Runs it three times; the line shows the median. run() returns the seconds that `count` operations took; bytes: those
 * of one operation, where throughput means something, or 0. */
void micro_measure(const char *name, uint64_t count, uint64_t bytes, double (*run)(void *arg), void *arg);
uint64_t micro_times(uint64_t count); /* fewer in a quick run */

/* Whatever fails here ends the program. */
void micro_must(helios_status);
void *micro_alloc(size_t size);
_Noreturn void micro_die(const char *what);
void micro_sink(uint64_t value); /* so that no result is optimised away */

void micro_memory(void);   /* micro_memory.c: latency, copies */
void micro_log(void);      /* micro_log.c: appends, syncs, reads of files */
void micro_blocks(void);   /* micro_blocks.c: checksums, compression, search, filters */
void micro_memtable(void); /* micro_memtable.c: ours, and a bare skip list */
void micro_merge(void);    /* micro_merge.c: sorted runs through the tree of losers */

#endif
