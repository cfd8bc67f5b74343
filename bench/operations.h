/* operations.h - what the loops of workloads.c, ycsb.c and mixed.c are made of. */
#ifndef HELIOS_BENCH_OPERATIONS_H
#define HELIOS_BENCH_OPERATIONS_H
#include "bench/process.h"
#include "bench/workloads.h"

enum { TOUCH_BYTES = 64 };

/* One operation ended: its time runs from the end of the one before. */
static inline uint64_t lap(struct worker *w, uint64_t start)
{
    uint64_t now = ticks_now();

    histogram_add(&w->ticks, now - start);
    return now;
}

/* A byte in each cache line, so that an engine that copies nothing has to bring the data in. */
static inline void touch(struct worker *w, helios_slice value)
{
    for (size_t i = 0; i < value.size; i += TOUCH_BYTES)
        w->touched ^= slice_bytes(value)[i];
}

static inline uint64_t draw(struct worker *w)
{
    return random_below(&w->random, w->live);
}

/* The records of which the user knows, for write amplification. */
static inline void count_written(struct worker *w, const struct record *records, size_t count)
{
    for (size_t i = 0; i < count; i++)
        w->written += records[i].key.size + records[i].value.size;
}

static inline void put(struct worker *w, uint64_t index)
{
    char key[KEY_BYTES];
    helios_slice value = data_value(w->data, index, w->generation);

    data_key(w->data, index * 2, key);
    w->engine->put(w->session, slice_make(key, KEY_BYTES), value);
    w->written += KEY_BYTES + value.size;
}

static inline void del(struct worker *w, uint64_t index)
{
    char key[KEY_BYTES];

    data_key(w->data, index * 2, key);
    w->engine->del(w->session, slice_make(key, KEY_BYTES));
    w->written += KEY_BYTES;
}

static inline void get(struct worker *w, uint64_t id)
{
    char key[KEY_BYTES];
    helios_slice value;

    data_key(w->data, id, key);
    if (!w->engine->get(w->session, slice_make(key, KEY_BYTES), &value))
        return;
    w->found++;
    touch(w, value);
}

#endif
