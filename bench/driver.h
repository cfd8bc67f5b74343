/* driver.h - one run: an engine, its directory, what the last fill left in it. */
#ifndef HELIOS_BENCH_DRIVER_H
#define HELIOS_BENCH_DRIVER_H
#include "bench/data.h"
#include "bench/engine.h"

struct sizes {
    uint64_t count, reads, synced; /* keys of a fill, reads, writes of fillsync */
    size_t value_bytes;
    unsigned versions; /* of each key, in fillversions; passes of overwrites */
    double seconds;    /* of mixed */
    bool binary_keys;
};

struct bench {
    const struct engine *engine;
    struct sizes sizes;
    struct settings settings;
    struct data data;
    void *db;            /* NULL until a workload opens one */
    uint64_t live;       /* keys that the last fill left; 0: none has run */
    unsigned generation; /* the newest values written to them */
    bool holes;          /* some may have been deleted */
    uint64_t past;       /* a read point in the middle of fillversions; 0: that was not the last fill */
};

void bench_close(struct bench *);
void bench_fresh(struct bench *); /* closes, and leaves an empty directory */

/* Reads everything once: order, keys, values, and that nothing is missing. */
void bench_check(struct bench *);

/* The engine's own background work ends. */
double bench_settle(struct bench *); /* seconds, flush included */

/* scenarios.c: not loops of operations, but what opening costs. */
bool scenario_run(struct bench *, const char *name);

#endif
