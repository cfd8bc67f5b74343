/* feed.h - what the parts of bench-feed share: databases with a feed, and what reading it costs. */
#ifndef HELIOS_BENCH_FEED_H
#define HELIOS_BENCH_FEED_H
#include "bench/suite.h"

enum { BATCH = 100 };

/* In our directory, with the defaults but for the feed: 0 or for ever. */
helios_db *feed_db_open(const char *name, bool feed);
/* Rows by number in the scattered order, `batch` a commit. */
void feed_fill(helios_db *, uint64_t from, uint64_t count, unsigned generation, size_t batch);
helios_changes *changes_open(helios_db *, const helios_changes_options *);

/* ---- the parts ---- */
void measure_scans(void); /* feed_scan.c */
void measure_seeks(void);
void measure_filter(void);
void measure_follow(void);   /* feed_follow.c */
void measure_overhead(void); /* feed_overhead.c */

#endif
