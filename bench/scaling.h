/* scaling.h - what the parts of bench-scaling share: a database, its rows, loops that are timed. */
#ifndef HELIOS_BENCH_SCALING_H
#define HELIOS_BENCH_SCALING_H
#include "base/random.h"
#include "bench/suite.h"

/* One database of a part, in its own directory, with default options but for what is given. */
struct scaled {
    helios_db *db;
    struct data data; /* as many keys as it is to have */
    char path[PATH_BYTES];
    uint64_t retention;
    helios_branch_id branch; /* what the loops below read and write */
    helios_seq at;           /* what they read at; 0: the latest */
};
void scaled_open(struct scaled *, const char *name, uint64_t keys, size_t value_bytes, uint64_t retention);
void scaled_reopen(struct scaled *);
void scaled_settle(struct scaled *); /* flushed, and the background has nothing to do */
void scaled_close(struct scaled *);

/* Seconds that so many of them took. Puts of all keys, each once, in scattered order; of keys that are drawn; gets of keys that
 * are there, or not; seeks with 10 steps; steps of one scan. */
double put_all(struct scaled *, unsigned generation);
double put_drawn(struct scaled *, uint64_t count, helios_durability, uint64_t seed);
double get_drawn(struct scaled *, uint64_t count, bool absent, uint64_t seed);
double seek_drawn(struct scaled *, uint64_t count);
double scan_steps(struct scaled *, uint64_t count);

/* A point of a curve: JSON on stdout. */
void point_add(const char *curve, const char *operation, const char *unit, uint64_t x, double seconds,
               uint64_t count);
uint64_t at_most(uint64_t count); /* fewer in a quick run */

void scale_keys(void); /* scaling.c: also opening and closing */
void scale_values(void);
void scale_versions(void);
void scale_recovery(void);
void scale_branches(void); /* scaling_many.c */
void scale_threads(void);

#endif
