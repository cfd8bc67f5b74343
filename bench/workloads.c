/* workloads.c - the loops. Each operation makes its key, calls the engine, reads the cycle counter once. */
#include "bench/operations.h"

enum { SEEK_NEXTS = 10, SEEK_NEXTS_MANY = 100 };

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
        count_written(w, records, count);
        start = lap(w, start);
    }
    w->ops = w->to - w->from;
}

struct ascending {
    struct worker *w;
    uint64_t index, start;
    char key[KEY_BYTES];
};

static bool ascending_next(void *arg, struct record *record)
{
    struct ascending *a = arg;

    if (a->index > a->w->from)
        a->start = lap(a->w, a->start);
    if (a->index == a->w->to)
        return false;
    data_key(a->w->data, a->index * 2, a->key);
    record->key = slice_make(a->key, KEY_BYTES);
    record->value = data_value(a->w->data, a->index, a->w->generation);
    count_written(a->w, record, 1);
    a->index++;
    return true;
}

/* A latency is the time until the engine asks for the next record: it shows where a batch or a file ended. */
static void load_ascending(struct worker *w)
{
    struct ascending a = {.w = w, .index = w->from, .start = ticks_now()};

    w->engine->bulk_load(w->session, &(struct source){ascending_next, &a});
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
    uint64_t start = ticks_now();

    for (uint64_t i = w->from; i < w->to; i++) {
        del(w, draw(w));
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

static void seek_and_next(struct worker *w, void *cursor, int nexts)
{
    char key[KEY_BYTES];
    struct record record;

    data_key(w->data, draw(w) * 2, key);
    if (!w->engine->seek(cursor, slice_make(key, KEY_BYTES), &record))
        return;
    w->found++;
    touch(w, record.value);
    for (int i = 0; i < nexts && w->engine->next(cursor, &record); i++)
        touch(w, record.value);
}

/* One cursor for all seeks, as db_bench does it. */
static void seek_all(struct worker *w, int nexts)
{
    void *cursor = w->engine->cursor_open(w->session);
    uint64_t start = ticks_now();

    for (uint64_t i = w->from; i < w->to; i++) {
        seek_and_next(w, cursor, nexts);
        start = lap(w, start);
    }
    w->ops = w->to - w->from;
    w->engine->cursor_close(cursor);
}

static void seek_drawn(struct worker *w)
{
    seek_all(w, SEEK_NEXTS);
}
static void seek_drawn_many(struct worker *w)
{
    seek_all(w, SEEK_NEXTS_MANY);
}

static void seek_drawn_new(struct worker *w)
{
    uint64_t start = ticks_now();

    for (uint64_t i = w->from; i < w->to; i++) {
        void *cursor = w->engine->cursor_open(w->session);

        seek_and_next(w, cursor, SEEK_NEXTS);
        w->engine->cursor_close(cursor);
        start = lap(w, start);
    }
    w->ops = w->to - w->from;
}

/* ---- history ---- */

/* All keys again and again, each time with other values; a point half-way is noted. */
static void fill_versions(struct worker *w)
{
    uint64_t start = ticks_now();

    for (unsigned pass = 1; pass <= w->versions; pass++) {
        w->generation = pass - 1;
        for (uint64_t i = 0; i < w->live; i++) {
            put(w, data_scatter(w->data, i));
            start = lap(w, start);
        }
        if (pass == (w->versions + 1) / 2)
            w->past = w->engine->point(w->session);
    }
    w->ops = w->versions * w->live;
}

static void read_drawn_past(struct worker *w)
{
    w->engine->read_at(w->session, w->past);
    read_drawn(w);
}

static void scan_past(struct worker *w)
{
    w->engine->read_at(w->session, w->past);
    scan(w, w->engine->first, w->engine->next);
}

/* Made and freed in turn; each of the two is an operation. */
static void make_snapshots(struct worker *w)
{
    uint64_t start = ticks_now();

    for (uint64_t i = w->from; i < w->to; i++) {
        void *snapshot = w->engine->snapshot_new(w->session);

        start = lap(w, start);
        w->engine->snapshot_free(w->session, snapshot);
        start = lap(w, start);
    }
    w->ops = 2 * (w->to - w->from);
}

/* ---- transactions ---- */

/* Read, then write another value of the same key, as one; done again if another was faster. */
static void update_in_txn(struct worker *w, uint64_t index)
{
    char bytes[KEY_BYTES];
    struct record record = {slice_make(bytes, KEY_BYTES), data_value(w->data, index, w->generation)};
    helios_slice value;
    bool found;

    data_key(w->data, index * 2, bytes);
    do {
        w->attempts++;
        w->engine->txn_begin(w->session);
        found = w->engine->txn_get(w->session, record.key, &value);
        if (found)
            touch(w, value);
        w->engine->txn_put(w->session, record.key, record.value);
    } while (!w->engine->txn_commit(w->session));
    count_written(w, &record, 1);
    w->found += found;
}

static void txn_update(struct worker *w)
{
    uint64_t start = ticks_now();

    for (uint64_t i = w->from; i < w->to; i++) {
        update_in_txn(w, draw(w));
        start = lap(w, start);
    }
    w->ops = w->to - w->from;
}

/* Each thread has keys of its own, so that none can lose. */
static void txn_update_own(struct worker *w)
{
    uint64_t start = ticks_now();

    for (uint64_t i = w->from; i < w->to; i++) {
        update_in_txn(w, w->keys_from + random_below(&w->random, w->keys_to - w->keys_from));
        start = lap(w, start);
    }
    w->ops = w->to - w->from;
}

static const helios_slice counter_key = {"the counter", 11}; /* behind all keys of digits or of small numbers */

static uint64_t counter_of(helios_slice value)
{
    uint64_t count = 0;

    if (value.size == sizeof(count))
        memcpy(&count, value.data, sizeof(count));
    return count;
}

static void increment(void *arg)
{
    struct worker *w = arg;
    helios_slice value = {0};
    uint64_t count = 0;

    w->attempts++;
    if (w->engine->txn_get(w->session, counter_key, &value))
        count = counter_of(value);
    count++;
    w->engine->txn_put(w->session, counter_key, slice_make(&count, sizeof(count)));
    w->written += counter_key.size + sizeof(count);
}

/* All threads want the same key; the longest lap is how long one had to wait for its turn. */
static void txn_count(struct worker *w)
{
    uint64_t start = ticks_now();

    for (uint64_t i = w->from; i < w->to; i++) {
        w->engine->txn_run(w->session, increment, w);
        start = lap(w, start);
    }
    w->ops = w->to - w->from;
}

static void counter_finish(const struct engine *engine, void *session, uint64_t ops)
{
    helios_slice value = {0};

    if (!engine->get(session, counter_key, &value) || counter_of(value) != ops)
        bench_die("txn-counter: the counter says %zu after %zu increments", (size_t)counter_of(value),
                  (size_t)ops);
    engine->del(session, counter_key);
}

enum { YCSB = WORKLOAD_HOT | WORKLOAD_WRITES | WORKLOAD_HITS };

static const struct workload workloads[] = {
    {"fillseq", fill_ascending, COUNT_KEYS, WORKLOAD_FRESH | WORKLOAD_WRITES},
    {"fillrandom", fill_scattered, COUNT_KEYS, WORKLOAD_FRESH | WORKLOAD_WRITES},
    {"fillbatch", fill_batches, COUNT_KEYS, WORKLOAD_FRESH | WORKLOAD_WRITES},
    {"bulkload", load_ascending, COUNT_KEYS, WORKLOAD_FRESH | WORKLOAD_WRITES | WORKLOAD_ALONE},
    {"fillsync", fill_scattered, COUNT_SYNCED, WORKLOAD_FRESH | WORKLOAD_WRITES | WORKLOAD_SYNC},
    {"fillsyncbatch", fill_batches, COUNT_SYNCED_BATCHES, WORKLOAD_FRESH | WORKLOAD_WRITES | WORKLOAD_SYNC},
    {"overwrite", overwrite, COUNT_KEYS, WORKLOAD_WRITES},
    {"overwrites", overwrite, COUNT_VERSIONS, WORKLOAD_WRITES},
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
    {"seekrandom100", seek_drawn_many, COUNT_SEEKS_MANY, WORKLOAD_HITS},
    {"ycsba", ycsb_a, COUNT_READS, YCSB},
    {"ycsbb", ycsb_b, COUNT_READS, YCSB},
    {"ycsbc", ycsb_c, COUNT_READS, WORKLOAD_HOT | WORKLOAD_HITS},
    {"ycsbd", ycsb_d, COUNT_READS, YCSB | WORKLOAD_LATEST | WORKLOAD_INSERTS},
    {"ycsbe", ycsb_e, COUNT_SEEKS, YCSB | WORKLOAD_INSERTS},
    {"ycsbf", ycsb_f, COUNT_READS, YCSB},
    {"mixed", mixed, COUNT_KEYS, WORKLOAD_WRITES | WORKLOAD_DELETES},
    {"fillversions", fill_versions, COUNT_VERSIONS,
     WORKLOAD_FRESH | WORKLOAD_WRITES | WORKLOAD_VERSIONS | WORKLOAD_ALONE},
    {"readrandom-at", read_drawn_past, COUNT_READS, WORKLOAD_HITS | WORKLOAD_PAST},
    {"scan-at", scan_past, COUNT_STEPS, WORKLOAD_PAST},
    {"snapshot", make_snapshots, COUNT_READS, WORKLOAD_SNAPSHOTS},
    {"txn-rmw", txn_update, COUNT_KEYS, WORKLOAD_WRITES | WORKLOAD_HITS | WORKLOAD_TXN},
    {"txn-disjoint", txn_update_own, COUNT_KEYS, WORKLOAD_WRITES | WORKLOAD_HITS | WORKLOAD_TXN},
    {"txn-counter", txn_count, COUNT_SEEKS, WORKLOAD_WRITES | WORKLOAD_TXN, counter_finish},
};

const struct workload *workload_find(const char *name, size_t name_size)
{
    for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
        if (strlen(workloads[i].name) == name_size && memcmp(workloads[i].name, name, name_size) == 0)
            return &workloads[i];
    return NULL;
}
