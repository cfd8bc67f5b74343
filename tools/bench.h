/* bench.h - the workloads of `heliosctl bench`. */
#ifndef HELIOS_TOOLS_BENCH_H
#define HELIOS_TOOLS_BENCH_H
#include "base/histogram.h"
#include "base/random.h"
#include "tools/heliosctl.h"

enum { BENCH_KEY_BYTES = 16, BENCH_BATCH = 100, BENCH_NEXTS = 10 };

struct bench_setup {
    uint64_t count; /* keys */
    uint64_t value_bytes;
    unsigned threads;
};

struct bench_job; /* one thread's share of a workload */

struct bench_workload {
    const char *name, *summary;
    bool fresh;      /* on an empty database */
    uint64_t divide; /* operations: count / divide */
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

extern const struct bench_workload bench_workloads[]; /* ends with a NULL name */

#endif
