/* ycsb.c - the core workloads A to F of the Yahoo! Cloud Serving Benchmark (Cooper et al., "Benchmarking cloud serving
 * systems with YCSB", SoCC 2010), one operation a draw: zipfian over all keys, in D over the latest ones. */
#include "bench/operations.h"

enum { SCAN_MAX = 100, PERCENT = 100 };

/* Of a hundred operations; the rest update. */
struct mix {
    unsigned read, insert, scan, modify;
};

/* The index that operation i is about; latest: so many from the newest key. */
static uint64_t target(struct worker *w, uint64_t i, bool latest)
{
    uint64_t all;

    if (!latest)
        return w->hot[i];
    all = w->live + atomic_load_explicit(w->inserted, memory_order_relaxed);
    return all - 1 - w->hot[i];
}

/* Behind all others. An update counts as found, and so does this: what is missing is what a read missed. */
static void insert(struct worker *w)
{
    put(w, w->live + atomic_fetch_add_explicit(w->inserted, 1, memory_order_relaxed));
    w->found++;
}

static void scan_some(struct worker *w, uint64_t index)
{
    uint64_t count = 1 + random_below(&w->random, SCAN_MAX);
    void *cursor = w->engine->cursor_open(w->session);
    struct record record;
    char key[KEY_BYTES];

    data_key(w->data, index * 2, key);
    if (w->engine->seek(cursor, slice_make(key, KEY_BYTES), &record)) {
        w->found++;
        touch(w, record.value);
        while (--count && w->engine->next(cursor, &record))
            touch(w, record.value);
    }
    w->engine->cursor_close(cursor);
}

static void run(struct worker *w, const struct mix *mix, bool latest)
{
    uint64_t start = ticks_now();

    for (uint64_t i = w->from; i < w->to; i++) {
        unsigned coin = (unsigned)random_below(&w->random, PERCENT);
        uint64_t index = target(w, i, latest);

        if (coin < mix->read) {
            get(w, index * 2);
        } else if (coin < mix->read + mix->insert) {
            insert(w);
        } else if (coin < mix->read + mix->insert + mix->scan) {
            scan_some(w, index);
        } else if (coin < mix->read + mix->insert + mix->scan + mix->modify) {
            get(w, index * 2);
            put(w, index);
        } else {
            put(w, index);
            w->found++;
        }
        start = lap(w, start);
    }
    w->ops = w->to - w->from;
}

void ycsb_a(struct worker *w)
{
    run(w, &(struct mix){.read = 50}, false);
}
void ycsb_b(struct worker *w)
{
    run(w, &(struct mix){.read = 95}, false);
}
void ycsb_c(struct worker *w)
{
    run(w, &(struct mix){.read = 100}, false);
}
void ycsb_d(struct worker *w)
{
    run(w, &(struct mix){.read = 95, .insert = 5}, true);
}
void ycsb_e(struct worker *w)
{
    run(w, &(struct mix){.scan = 95, .insert = 5}, false);
}
void ycsb_f(struct worker *w)
{
    run(w, &(struct mix){.read = 50, .modify = 50}, false);
}
