/* histogram.c - log-linear buckets: values below 64 each have their own, every power of two above is
 * cut into 64. */
#include "base/histogram.h"
#include <string.h>

enum { SUB_BITS = 6, SUB_COUNT = 1 << SUB_BITS };

static unsigned bucket_of(uint64_t value)
{
    unsigned exponent;

    if (value < SUB_COUNT)
        return (unsigned)value;
    exponent = 63 - (unsigned)__builtin_clzll(value);
    return (exponent - SUB_BITS + 1) * SUB_COUNT +
           (unsigned)((value >> (exponent - SUB_BITS)) & (SUB_COUNT - 1));
}

/* The greatest value that falls into the bucket. */
static uint64_t bucket_top(unsigned bucket)
{
    unsigned group = bucket / SUB_COUNT;
    uint64_t low = bucket % SUB_COUNT;

    if (group == 0)
        return low;
    return ((SUB_COUNT + low) << (group - 1)) + ((UINT64_C(1) << (group - 1)) - 1);
}

void histogram_init(struct histogram *h)
{
    memset(h, 0, sizeof(*h));
    h->min = UINT64_MAX;
}

void histogram_add(struct histogram *h, uint64_t value)
{
    h->count++;
    h->sum += value;
    if (value < h->min)
        h->min = value;
    if (value > h->max)
        h->max = value;
    h->bucket[bucket_of(value)]++;
}

void histogram_merge(struct histogram *h, const struct histogram *other)
{
    h->count += other->count;
    h->sum += other->sum;
    if (other->min < h->min)
        h->min = other->min;
    if (other->max > h->max)
        h->max = other->max;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        h->bucket[i] += other->bucket[i];
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
    double wanted = (double)h->count * percent / 100;
    uint64_t seen = 0;

    if (h->count == 0)
        return 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen > 0 && (double)seen >= wanted)
            return bucket_top(i) < h->max ? bucket_top(i) : h->max;
    }
    return h->max;
}
