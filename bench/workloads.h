/* workloads.h - the workloads by the names of LevelDB's db_bench: what one thread of each does. */
#ifndef HELIOS_BENCH_WORKLOADS_H
#define HELIOS_BENCH_WORKLOADS_H
#include "base/histogram.h"
#include "base/random.h"
#include "bench/data.h"
#include "bench/engine.h"
#include <stdatomic.h>

enum { BATCH_RECORDS = 100 };

/* One thread of a workload; filled by the driver but for what it counts. */
struct worker {
    const struct engine *engine;
    void *session;
    const struct data *data;
    uint64_t live;      /* keys that the last fill left */
    uint64_t from, to;  /* this thread's share of the operations */
    uint64_t keys_from; /* indexes of its own, in workloads where each thread has some */
    uint64_t keys_to;
    unsigned generation;        /* of the values to write */
    unsigned versions;          /* of each key, for fillversions and overwrites */
    double seconds;             /* for mixed */
    uint64_t past;              /* an older read point: noted by fillversions, given to what reads there */
    const uint32_t *hot;        /* drawn beforehand: indexes of the operations, or NULL */
    const _Atomic bool *stop;   /* for the writer beside readers */
    _Atomic uint64_t *inserted; /* keys behind the live ones, of all threads */
    struct random random;
    /* By the driver. */
    double began, ended;   /* seconds_now() */
    double cpu_seconds;    /* of this thread */
    uint64_t instructions; /* of this thread in user mode; 0: no counters */
    /* Counted. */
    struct histogram ticks;       /* of an operation; for batches of the whole batch */
    struct histogram get_ticks;   /* of the gets among them, in mixed */
    uint64_t ops, found, written; /* written: bytes of keys and values */
    uint64_t attempts;            /* of transactions, those that lost included */
    unsigned char touched;        /* so that no read is optimised away */
};

enum workload_flags {
    WORKLOAD_FRESH = 1,      /* begins with an empty database and defines what is live */
    WORKLOAD_WRITES = 2,     /* ends with a flush, a wait for background work, a check of all records */
    WORKLOAD_SYNC = 4,       /* every write is synced; logs are recycled first */
    WORKLOAD_DELETES = 8,    /* keys may be missing afterwards */
    WORKLOAD_HOT = 16,       /* zipfian draws */
    WORKLOAD_WRITER = 32,    /* one more thread overwrites all the while */
    WORKLOAD_HITS = 64,      /* every look-up finds its key, unless some were deleted */
    WORKLOAD_MISSES = 128,   /* no look-up finds its key */
    WORKLOAD_VERSIONS = 256, /* every key several times; notes a point half-way */
    WORKLOAD_PAST = 512,     /* reads at that point */
    WORKLOAD_TXN = 1024,     /* in transactions */
    WORKLOAD_SNAPSHOTS = 2048,
    WORKLOAD_LATEST = 4096,  /* the popular ones are the last, not scattered */
    WORKLOAD_INSERTS = 8192, /* adds keys behind the live ones */
    WORKLOAD_ALONE = 16384,  /* one thread */
};

enum workload_count {
    COUNT_KEYS,
    COUNT_VERSIONS,
    COUNT_SYNCED,
    COUNT_SYNCED_BATCHES,
    COUNT_READS,
    COUNT_STEPS,
    COUNT_SEEKS,
    COUNT_SEEKS_MANY
};

struct workload {
    const char *name;
    void (*run)(struct worker *);
    enum workload_count count;
    unsigned flags;
    void (*finish)(const struct engine *, void *session, uint64_t ops); /* checks what it left and removes it */
};

/* NULL when there is none of that name. */
const struct workload *workload_find(const char *name, size_t name_size);

void overwrite_until_stopped(struct worker *);

void mixed(struct worker *); /* mixed.c */

/* ---- ycsb.c ---- */
void ycsb_a(struct worker *);
void ycsb_b(struct worker *);
void ycsb_c(struct worker *);
void ycsb_d(struct worker *);
void ycsb_e(struct worker *);
void ycsb_f(struct worker *);

#endif
