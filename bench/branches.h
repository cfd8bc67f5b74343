/* branches.h - what the parts of bench-branches share: settings, figures, databases and their rows. */
#ifndef HELIOS_BENCH_BRANCHES_H
#define HELIOS_BENCH_BRANCHES_H
#include "bench/data.h"
#include "bench/engine.h"
#include "bench/process.h"
#include <helios/helios.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    OWN_SHARE = 100, /* one row in so many is a level's own */
    NAME_BYTES = 32,
    ROUNDS_MAX = 64,
};

extern struct branch_settings {
    const char *directory;
    uint64_t count, idle, live; /* rows of main; branches nobody reads; branches that live all together */
    unsigned rounds;
    size_t value_bytes;
} settings;
extern struct data data;

void must(helios_status, const char *what);

/* A line of the table at the end; state may be NULL. target 0: nothing is asked. */
void figure_add(const char *name, const char *state, double value, const char *unit, double target,
                bool at_least);
void figures_print(void);
double median(const double *values, size_t count); /* at most ROUNDS_MAX */

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

/* The output of this program in a process of its own, so that nothing of what was there before counts: so many numbers. */
void run_apart(const char *probe, const char *name, double *numbers, size_t count);

/* ---- the parts ---- */
void measure_creates(void); /* branch_many.c */
void measure_many(void);
void probe_open(const char *name);
void measure_reads(void); /* branch_reads.c */
void measure_diffs(void); /* branch_changes.c */
void measure_merges(void);
void probe_merge(const char *name);

#endif
