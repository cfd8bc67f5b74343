/* consumer_entries.h - consumers of the change feed as the system space has them; written and read by feed_consumer_open.c, feed_acks.c. */
#ifndef HELIOS_ENGINE_CONSUMER_ENTRIES_H
#define HELIOS_ENGINE_CONSUMER_ENTRIES_H
#include "base/slice.h"
#include "base/status.h"
#include "base/utf8.h"

enum {
    CONSUMER_KEY = 'C', /* what it is */
    POSITION_KEY = 'c', /* how far it is, and when it was heard of */
    CONSUMER_SIZE = 10,
    POSITION_SIZE = 17,
};

struct consumer_key {
    unsigned char bytes[1 + NAME_BYTES_MAX];
};
helios_slice consumer_key_of(struct consumer_key *, unsigned char kind, const char *name);
static inline helios_slice consumer_name(helios_slice key)
{
    return slice_make((const char *)key.data + 1, key.size - 1);
}

struct consumer_record {
    bool before_images;
    uint64_t created;
};
struct position_record {
    helios_seq acked;
    uint64_t active; /* wall clock: the last acknowledgement, or when it was open */
};
helios_slice consumer_encode(unsigned char out[CONSUMER_SIZE], const struct consumer_record *);
helios_slice position_encode(unsigned char out[POSITION_SIZE], const struct position_record *);
/* HELIOS_CORRUPT, HELIOS_UNSUPPORTED. */
helios_status consumer_decode(const char *path, helios_slice key, helios_slice value,
                              struct consumer_record *) CHECKED;
helios_status position_decode(const char *path, helios_slice key, helios_slice value,
                              struct position_record *) CHECKED;
/* Of a value that was just encoded. */
helios_seq position_acked(helios_slice value);
helios_status consumer_entry_damaged(const char *path, helios_slice key, helios_slice value);

#endif
