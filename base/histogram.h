/* histogram.h - counts of values in log-linear buckets 1.6 % wide (64 per power of two).
 * One thread adds; histogram_merge sums several. Percentiles are the bucket's upper bound. */
#ifndef HELIOS_BASE_HISTOGRAM_H
#define HELIOS_BASE_HISTOGRAM_H
#include <stdint.h>

enum { HISTOGRAM_BUCKETS = 64 * 59 };
struct histogram {
    uint64_t count, sum, min, max, bucket[HISTOGRAM_BUCKETS];
};
void histogram_init(struct histogram *);
void histogram_add(struct histogram *, uint64_t value);
void histogram_merge(struct histogram *, const struct histogram *other);
uint64_t histogram_percentile(const struct histogram *, double percent); /* 0..100 */

#endif
