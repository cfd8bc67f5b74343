/* workloads.c - the loops. Each operation makes its key, calls the engine, reads the cycle counter once. */
#include "bench/workloads.h"
#include "bench/process.h"

enum { BATCH_RECORDS = 100, SEEK_NEXTS = 10, TOUCH_BYTES = 64 };

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

static inline void put(struct worker *w, uint64_t index)
{
    char key[KEY_BYTES];

    data_key(w->data, index * 2, key);
    w->engine->put(w->session, slice_make(key, KEY_BYTES), data_value(w->data, index, w->generation));
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

static void fill_ascending(struct worker *w)
{
    uint64_t start = ticks_now();

    for (uint64_t i = w->from; i < w->to; i++) {
        put(w, i);
        start = lap(w, start);
    }
    w->ops = w->to - w->from;
}

static void fill_scattered(struct worker *w)
{
    uint64_t start = ticks_now();

    for (uint64_t i = w->from; i < w->to; i++) {
        put(w, data_scatter(w->data, i));
        start = lap(w, start);
    }
    w->ops = w->to - w->from;
}

static void fill_batches(struct worker *w)
{
    struct record records[BATCH_RECORDS];
    char keys[BATCH_RECORDS][KEY_BYTES];
    uint64_t start = ticks_now();

    for (uint64_t i = w->from; i < w->to;) {
        size_t count = 0;

        for (; count < BATCH_RECORDS && i < w->to; count++, i++) {
            uint64_t index = data_scatter(w->data, i);

            data_key(w->data, index * 2, keys[count]);
            records[count].key = slice_make(keys[count], KEY_BYTES);
            records[count].value = data_value(w->data, index, w->generation);
        }
        w->engine->put_batch(w->session, records, count);
        start = lap(w, start);
    }
    w->ops = w->to - w->from;
}

static void overwrite(struct worker *w)
{
    uint64_t start = ticks_now();

    for (uint64_t i = w->from; i < w->to; i++) {
        put(w, draw(w));
        start = lap(w, start);
    }
    w->ops = w->to - w->from;
}

void overwrite_until_stopped(struct worker *w)
{
    uint64_t start = ticks_now();

    while (!atomic_load_explicit(w->stop, memory_order_relaxed)) {
        put(w, draw(w));
        start = lap(w, start);
        w->ops++;
    }
}

/* Read, then write another value of the same key. */
static void update(struct worker *w)
{
    uint64_t start = ticks_now();

    for (uint64_t i = w->from; i < w->to; i++) {
        uint64_t index = draw(w);

        get(w, index * 2);
        put(w, index);
        start = lap(w, start);
    }
    w->ops = w->to - w->from;
}

static void delete_drawn(struct worker *w)
{
    char key[KEY_BYTES];
    uint64_t start = ticks_now();

    for (uint64_t i = w->from; i < w->to; i++) {
        data_key(w->data, draw(w) * 2, key);
        w->engine->del(w->session, slice_make(key, KEY_BYTES));
        start = lap(w, start);
    }
    w->ops = w->to - w->from;
}

static void read_drawn(struct worker *w)
{
    uint64_t start = ticks_now();

    for (uint64_t i = w->from; i < w->to; i++) {
        get(w, draw(w) * 2);
        start = lap(w, start);
    }
    w->ops = w->to - w->from;
}

static void read_missing(struct worker *w)
{
    uint64_t start = ticks_now();

    for (uint64_t i = w->from; i < w->to; i++) {
        get(w, draw(w) * 2 + 1);
        start = lap(w, start);
    }
    w->ops = w->to - w->from;
}

static void read_hot(struct worker *w)
{
    uint64_t start = ticks_now();

    for (uint64_t i = w->from; i < w->to; i++) {
        get(w, w->hot[i] * UINT64_C(2));
        start = lap(w, start);
    }
    w->ops = w->to - w->from;
}

typedef bool step_function(void *cursor, struct record *);

/* Around and around, until all steps are done. */
static void scan(struct worker *w, step_function *begin, step_function *step)
{
    void *cursor = w->engine->cursor_open(w->session);
    struct record record;
    uint64_t start = ticks_now();

    for (uint64_t i = w->from; i < w->to; i++) {
        if (i == w->from || !step(cursor, &record))
            if (!begin(cursor, &record))
                break;
        touch(w, record.value);
        start = lap(w, start);
        w->ops++;
    }
    w->engine->cursor_close(cursor);
}

static void scan_forward(struct worker *w)
{
    scan(w, w->engine->first, w->engine->next);
}
static void scan_backward(struct worker *w)
{
    scan(w, w->engine->last, w->engine->prev);
}

static void seek_and_next(struct worker *w, void *cursor)
{
    char key[KEY_BYTES];
    struct record record;

    data_key(w->data, draw(w) * 2, key);
    if (!w->engine->seek(cursor, slice_make(key, KEY_BYTES), &record))
        return;
    w->found++;
    touch(w, record.value);
    for (int i = 0; i < SEEK_NEXTS && w->engine->next(cursor, &record); i++)
        touch(w, record.value);
}

/* One cursor for all seeks, as db_bench does it. */
static void seek_drawn(struct worker *w)
{
    void *cursor = w->engine->cursor_open(w->session);
    uint64_t start = ticks_now();

    for (uint64_t i = w->from; i < w->to; i++) {
        seek_and_next(w, cursor);
        start = lap(w, start);
    }
    w->ops = w->to - w->from;
    w->engine->cursor_close(cursor);
}

static void seek_drawn_new(struct worker *w)
{
    uint64_t start = ticks_now();

    for (uint64_t i = w->from; i < w->to; i++) {
        void *cursor = w->engine->cursor_open(w->session);

        seek_and_next(w, cursor);
        w->engine->cursor_close(cursor);
        start = lap(w, start);
    }
    w->ops = w->to - w->from;
}

static const struct workload workloads[] = {
    {"fillseq", fill_ascending, COUNT_KEYS, WORKLOAD_FRESH | WORKLOAD_WRITES},
    {"fillrandom", fill_scattered, COUNT_KEYS, WORKLOAD_FRESH | WORKLOAD_WRITES},
    {"fillbatch", fill_batches, COUNT_KEYS, WORKLOAD_FRESH | WORKLOAD_WRITES},
    {"fillsync", fill_scattered, COUNT_SYNCED, WORKLOAD_FRESH | WORKLOAD_WRITES | WORKLOAD_SYNC},
    {"overwrite", overwrite, COUNT_KEYS, WORKLOAD_WRITES},
    {"updaterandom", update, COUNT_KEYS, WORKLOAD_WRITES | WORKLOAD_HITS},
    {"deleterandom", delete_drawn, COUNT_KEYS, WORKLOAD_WRITES | WORKLOAD_DELETES},
    {"readrandom", read_drawn, COUNT_READS, WORKLOAD_HITS},
    {"readmissing", read_missing, COUNT_READS, WORKLOAD_MISSES},
    {"readhot", read_hot, COUNT_READS, WORKLOAD_HOT | WORKLOAD_HITS},
    {"readwhilewriting", read_drawn, COUNT_READS, WORKLOAD_WRITES | WORKLOAD_WRITER | WORKLOAD_HITS},
    {"readseq", scan_forward, COUNT_STEPS, 0},
    {"readreverse", scan_backward, COUNT_STEPS, 0},
    {"seekrandom", seek_drawn, COUNT_SEEKS, WORKLOAD_HITS},
    {"seekrandomnew", seek_drawn_new, COUNT_SEEKS, WORKLOAD_HITS},
};

const struct workload *workload_find(const char *name, size_t name_size)
{
    for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
        if (strlen(workloads[i].name) == name_size && memcmp(workloads[i].name, name, name_size) == 0)
            return &workloads[i];
    return NULL;
}
