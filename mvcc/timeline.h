/* timeline.h - a run of commits as bytes: what a flush writes of its stretch and look-ups read back. Pure.
 *
 * Each run stands twice in the system space of main, under user keys that order by time and by number:
 *    't' | time of the last commit, u64 big-endian | its number, u64 big-endian  ->  the packed run
 *    's' | number of the last commit, u64 big-endian                             ->  its time, u64 big-endian
 * Both are versions with the last commit's number. The packed run, numbers as varints:
 *    u8 1 | count, 1 to 256 | number of the commit before the run, 0: there was none |
 *    for each commit: time since the one before (the first: since 1970) | number above the one before |
 *                     numbers between the two that are no commit's | bytes */
#ifndef HELIOS_MVCC_TIMELINE_H
#define HELIOS_MVCC_TIMELINE_H
#include "base/coding.h"
#include "mvcc/stretch.h"

enum {
    TIMELINE_BY_TIME = 't',
    TIMELINE_BY_SEQ = 's',
    TIMELINE_TIME_KEY_BYTES = 17,
    TIMELINE_SEQ_KEY_BYTES = 9,
    TIMELINE_RUN_MAX = 256,
    TIMELINE_PACKED_MAX = 1 + 2 * VARINT_MAX + TIMELINE_RUN_MAX * 4 * VARINT_MAX,
};

struct timeline_run {
    helios_seq before; /* the commit before the first; 0: the first was the first ever */
    uint32_t count;
    struct timeline_entry entries[TIMELINE_RUN_MAX];
};

/* The user keys. */
void timeline_time_key(unsigned char out[TIMELINE_TIME_KEY_BYTES], uint64_t time, helios_seq seq);
void timeline_seq_key(unsigned char out[TIMELINE_SEQ_KEY_BYTES], helios_seq seq);

/* At most TIMELINE_PACKED_MAX bytes; the size. */
size_t timeline_pack(const struct timeline_run *, unsigned char *out);
/* From disk: false unless it is a run in order that ends with this time and number. */
bool timeline_unpack(helios_slice packed, uint64_t time, helios_seq last, struct timeline_run *);

/* How many of the run's commits are at or before the time, or numbered at or below. */
uint32_t timeline_count_time(const struct timeline_run *, uint64_t time);
uint32_t timeline_count_seq(const struct timeline_run *, helios_seq seq);

#endif
