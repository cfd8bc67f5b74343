/* branches.h - what the parts of bench-branches share: databases and their rows. */
#ifndef HELIOS_BENCH_BRANCHES_H
#define HELIOS_BENCH_BRANCHES_H
#include "bench/suite.h"

enum {
    OWN_SHARE = 100, /* one row in so many is a level's own */
    NAME_BYTES = 32,
};

enum state { STATE_MEMTABLE, STATE_COMPACTED };
extern const char *const state_names[];
/* Of our directory: the defaults, but for a memtable that holds everything where that is what is measured, and a cache
 * that does. */
helios_db *db_open(const char *name, enum state);
helios_db *db_open_within(const char *name, uint64_t memory_budget);
/* In tables of the default size, all in the deepest level. */
helios_db *db_compacted(helios_db *, const char *name);

helios_branch_id branch_make(helios_db *, helios_branch_id parent, const char *prefix, uint64_t number);
/* Rows by number in the scattered order: those of different ranges are different ones. */
void fill(helios_db *, helios_branch_id, uint64_t from, uint64_t count, unsigned generation);
uint64_t own_rows(void);
/* How many a walk finds; touches every value. */
uint64_t rows_of(helios_db *, helios_branch_id);
/* That every row is of the generation that was written: the nearest of `levels` that has it as its own (all: each level has
 * some; else the last alone), or else of main's. Warms the caches as well. */
void check(helios_db *, helios_branch_id, unsigned levels, bool all, unsigned of_main);

static inline uint64_t live_branches(void) /* that there are all together */
{
    return settings.quick ? 200 : 10000;
}

/* ---- the parts ---- */
void measure_creates(void); /* branch_many.c */
void measure_many(void);
void probe_open(const char *name);
void measure_reads(void); /* branch_reads.c */
void measure_diffs(void); /* branch_changes.c */
void measure_merges(void);
void probe_merge(const char *name);

#endif
