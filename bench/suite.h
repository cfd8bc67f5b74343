/* suite.h - a program of several measurements of Helios alone: settings, figures beside what is asked of them, a
 * directory of its own. suite_main() is the whole of main(). */
#ifndef HELIOS_BENCH_SUITE_H
#define HELIOS_BENCH_SUITE_H
#include "bench/data.h"
#include "bench/engine.h"
#include "bench/process.h"
#include <helios/helios.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS_MAX = 64, PATH_BYTES = 4096 };

extern struct suite_settings {
    const char *directory;
    uint64_t count; /* keys */
    unsigned rounds;
    size_t value_bytes;
    bool quick; /* does it run? the figures mean nothing */
} settings;
extern struct data data;

struct part {
    const char *name;
    void (*run)(void);
};
/* What is measured in a process of its own: run_apart("probe-x", database, ...) is --probe-x=database. */
struct probe {
    const char *name;
    void (*run)(const char *database);
};
struct suite {
    const char *name;
    const struct part *parts;
    size_t part_count;
    const struct probe *probes;
    size_t probe_count;
};
int suite_main(const struct suite *, int argc, char **argv);

void must(helios_status, const char *what);
void path_of(const char *name, char path[PATH_BYTES]); /* in our directory */

/* A line of the table at the end; state may be NULL. target 0: nothing is asked. */
void figure_add(const char *name, const char *state, double value, const char *unit, double target,
                bool at_least);
double median(const double *values, size_t count); /* at most ROUNDS_MAX */

/* The output of this program in a process of its own, so that nothing of what was there before counts: so many numbers. */
void run_apart(const char *probe, const char *name, double *numbers, size_t count);

#endif
