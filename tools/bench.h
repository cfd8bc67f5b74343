/* bench.h - what the files of `heliosctl bench` share: bench.c runs, bench_workloads.c is what is run, bench_disk.c asks the
 * disk alone, bench_words.c says what the figures mean. */
#ifndef HELIOS_TOOLS_BENCH_H
#define HELIOS_TOOLS_BENCH_H
#include "base/histogram.h"
#include "base/random.h"
#include "tools/heliosctl.h"

enum { BENCH_KEY_BYTES = 16, BENCH_BATCH = 100, BENCH_NEXTS = 10 };

struct bench_setup {
    uint64_t count; /* keys */
    uint64_t value_bytes;
    unsigned threads; /* where the workload does not say */
};

struct bench_job; /* one thread's share of a workload */

struct bench_workload {
    const char *name, *summary;
    bool fresh;       /* on an empty database */
    uint64_t divide;  /* operations: count / divide */
    unsigned threads; /* 0: as many as were asked for */
    helios_durability durability;
    helios_status (*run)(struct bench_job *);
};

struct bench_job {
    const struct bench_workload *workload;
    const struct bench_setup *setup;
    helios_db *db;
    uint64_t from, to; /* operations of this thread */
    struct random random;
    struct histogram nanos;
    uint64_t bytes, found;
    helios_status status;
    char error[512];
};

/* Of one workload; times in nanoseconds. */
struct bench_result {
    const struct bench_workload *workload;
    unsigned threads;
    uint64_t ops, bytes, p50, p99, p999, max;
    double seconds;
};

/* The disk without a database: appends to a file that was written before, each synced. */
struct bench_disk {
    uint64_t p50, p99; /* nanoseconds of a sync */
    bool in_memory;    /* a file system without a disk */
};
/* 0, or -1 with errno. */
int bench_disk_probe(const char *directory, struct bench_disk *);

struct bench_summary {
    const struct bench_setup *setup;
    const struct bench_disk *disk;
    const struct bench_result *results;
    size_t count;
    uint64_t cache_bytes;
};
/* Sentences for a person, or one object of JSON with the same. */
void bench_explain(const struct bench_summary *, bool as_json);

extern const struct bench_workload bench_workloads[]; /* ends with a NULL name */

#endif
