/* horizon.h - how far back every state is readable by the wish for history alone: samples of (time of
 * arrival, last number), and the newest one that is older than the retention. Floors are the engine's
 * to subtract. Times: us, monotonic; the caller's lock protects it. */
#ifndef HELIOS_MVCC_HORIZON_H
#define HELIOS_MVCC_HORIZON_H
#include "base/status.h"

enum { HORIZON_SAMPLES = 2048 };

struct horizon_sample {
    int64_t time; /* at this time `seq` was the last visible number */
    helios_seq seq;
};

struct horizon {
    uint64_t retention; /* 0: none; HELIOS_FOREVER */
    helios_seq point;   /* never moves back */
    size_t first, count;
    struct horizon_sample samples[HORIZON_SAMPLES]; /* a ring, ascending */
};

/* point: H at open. */
void horizon_init(struct horizon *, uint64_t retention, helios_seq point);
/* From now on: a longer one brings nothing back, a shorter one moves the point at the next advance. */
void horizon_set_retention(struct horizon *, uint64_t retention);
/* Takes a sample if one is due (every 1024th of the retention; without end: of the time there are samples of) and returns the retention point. To be
 * called now and then, also when nothing is written; with retention 0 it returns `visible`: call it when a
 * job is about to collect. */
helios_seq horizon_advance(struct horizon *, uint64_t now, helios_seq visible);
/* us from now until the next sample is due or the point can move; UINT64_MAX: never. */
uint64_t horizon_next(const struct horizon *, uint64_t now, helios_seq visible);

/* For the next open: samples by the wall clock, oldest first, at most max (thinned evenly); how many. */
size_t horizon_save(const struct horizon *, uint64_t now, uint64_t wall, struct horizon_sample *out,
                    size_t max);
/* Ages are by the wall clock, never negative. True: some sample's clock was ahead of ours by more than a
 * minute (to be logged). Samples out of order are skipped: they come from disk. */
bool horizon_load(struct horizon *, uint64_t now, uint64_t wall, const struct horizon_sample *, size_t count);

#endif
