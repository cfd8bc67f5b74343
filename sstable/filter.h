/* filter.h - a bloom filter whose probes for one key lie in one cache line of 64 bytes (Putze, Sanders,
 * Singler 2007). The image is the lines, then u32 line count, u8 probes, 3 zero bytes. Keys come as
 * hash_key() of the whole key with its layer. docs/format.md says which bits a key sets. */
#ifndef HELIOS_SSTABLE_FILTER_H
#define HELIOS_SSTABLE_FILTER_H
#include "base/status.h"

struct filter_builder;
helios_status filter_builder_new(double bits_per_key, struct filter_builder **) CHECKED;
void filter_builder_free(struct filter_builder *);
helios_status filter_builder_add(struct filter_builder *,
                                 uint64_t hash) CHECKED; /* equal neighbours count once */
helios_status filter_builder_finish(struct filter_builder *, helios_buf *image) CHECKED;

size_t filter_builder_estimate(const struct filter_builder *); /* of the image, now */

struct filter {
    const unsigned char *lines;
    uint32_t line_count;
    uint8_t probes;
};
helios_status filter_open(const void *image, size_t size, const char *path, uint64_t offset,
                          struct filter *) CHECKED;
bool filter_may_hold(const struct filter *, uint64_t hash); /* no filter (line_count 0): true */
void filter_prefetch(const struct filter *, uint64_t hash);

#endif
