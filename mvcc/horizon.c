/* horizon.c - the retention point. Called by engine/ before a job and now and then.
 *
 * A sample (t, s) says that every commit above s arrived after t. So once t is as old as the retention,
 * every state that is younger than it is still there with all versions from s on: the newest such s. */
#include "mvcc/horizon.h"
#include <assert.h>

enum { SAMPLES_PER_RETENTION = 1024 };
#define CLOCK_AHEAD ((int64_t)60 * 1000000)
#define TIME_MAX    INT64_MAX

void horizon_init(struct horizon *h, uint64_t retention, helios_seq point)
{
    h->retention = retention;
    h->point = point;
    h->first = h->count = 0;
}

static struct horizon_sample *sample_at(struct horizon *h, size_t index)
{
    return &h->samples[(h->first + index) % HORIZON_SAMPLES];
}

static const struct horizon_sample *sample_of(const struct horizon *h, size_t index)
{
    return &h->samples[(h->first + index) % HORIZON_SAMPLES];
}

static int64_t as_time(uint64_t time)
{
    return time > (uint64_t)TIME_MAX ? TIME_MAX : (int64_t)time;
}

void horizon_set_retention(struct horizon *h, uint64_t retention)
{
    h->retention = retention;
}

/* Between samples. With all of history kept they are for a retention that may be set later, of whatever length. */
static int64_t interval(const struct horizon *h, int64_t now)
{
    uint64_t reach = h->retention;
    int64_t each;

    if (reach == HELIOS_FOREVER)
        reach = h->count && now > sample_of(h, 0)->time ? (uint64_t)now - (uint64_t)sample_of(h, 0)->time : 0;
    each = as_time(reach / SAMPLES_PER_RETENTION);
    return each > 0 ? each : 1;
}

/* Keeps every second sample: a sample less keeps more history, never less. */
static void thin(struct horizon *h)
{
    size_t kept = 0;

    for (size_t i = 1; i < h->count; i += 2)
        *sample_at(h, kept++) = *sample_of(h, i);
    h->count = kept;
}

static void add_sample(struct horizon *h, int64_t time, helios_seq seq)
{
    if (h->count == HORIZON_SAMPLES)
        thin(h);
    *sample_at(h, h->count++) = (struct horizon_sample){time, seq};
}

/* Nothing new arrived, or the last sample is too fresh. */
static bool sample_is_due(const struct horizon *h, int64_t now, helios_seq visible)
{
    const struct horizon_sample *last;

    if (h->count == 0)
        return visible > h->point;
    last = sample_of(h, h->count - 1);
    return visible > last->seq && now >= last->time && now - last->time >= interval(h, now);
}

/* Is a sample of this time as old as the retention? */
static bool is_old(const struct horizon *h, int64_t time, int64_t now)
{
    if (h->retention == HELIOS_FOREVER)
        return false;
    return now >= time && (uint64_t)now - (uint64_t)time >= h->retention;
}

helios_seq horizon_advance(struct horizon *h, uint64_t now_us, helios_seq visible)
{
    int64_t now = as_time(now_us);

    if (h->retention == 0) {
        if (visible > h->point)
            h->point = visible;
        return h->point;
    }
    if (sample_is_due(h, now, visible))
        add_sample(h, now, visible);
    while (h->count > 0 && is_old(h, sample_of(h, 0)->time, now)) {
        if (sample_of(h, 0)->seq > h->point)
            h->point = sample_of(h, 0)->seq;
        h->first = (h->first + 1) % HORIZON_SAMPLES;
        h->count--;
    }
    return h->point;
}

static uint64_t until(int64_t then, int64_t now)
{
    return then > now ? (uint64_t)then - (uint64_t)now : 0;
}

uint64_t horizon_next(const struct horizon *h, uint64_t now_us, helios_seq visible)
{
    int64_t now = as_time(now_us);
    uint64_t next = UINT64_MAX;

    if (h->retention == HELIOS_FOREVER || h->retention == 0)
        return UINT64_MAX;
    if (h->count == 0)
        return visible > h->point ? 0 : UINT64_MAX;
    if (visible > sample_of(h, h->count - 1)->seq)
        next = until(sample_of(h, h->count - 1)->time + interval(h, now), now);
    if (sample_of(h, 0)->time <= now) {
        uint64_t age = (uint64_t)now - (uint64_t)sample_of(h, 0)->time;
        uint64_t left = age < h->retention ? h->retention - age : 0;

        next = left < next ? left : next;
    }
    return next;
}

size_t horizon_save(const struct horizon *h, uint64_t now, uint64_t wall, struct horizon_sample *out,
                    size_t max)
{
    size_t count = h->count < max ? h->count : max;

    for (size_t i = 0; i < count; i++) {
        /* The last one always, the others at even distances before it. */
        const struct horizon_sample *sample = sample_of(h, (i + 1) * h->count / count - 1);

        out[i].time = as_time(wall) - (as_time(now) - sample->time);
        out[i].seq = sample->seq;
    }
    return count;
}

bool horizon_load(struct horizon *h, uint64_t now_us, uint64_t wall_us, const struct horizon_sample *samples,
                  size_t count)
{
    int64_t now = as_time(now_us), wall = as_time(wall_us), latest = INT64_MIN;
    helios_seq seq = 0;
    bool ahead = false;

    for (size_t i = 0; i < count; i++) {
        int64_t time = samples[i].time, age;

        if (samples[i].seq <= seq || time < latest || time < 0)
            continue;
        if (time > wall && time - wall > CLOCK_AHEAD)
            ahead = true;
        age = time < wall ? wall - time : 0;
        add_sample(h, now - age, samples[i].seq);
        latest = time;
        seq = samples[i].seq;
    }
    return ahead;
}
