/* micro_merge.c - sorted runs through the tree of losers, from memory: what a scan or a compaction costs beyond its blocks. */
#include "base/merge.h"
#include "bench/data.h"
#include "bench/micro.h"
#include <stdlib.h>

enum { RUNS = 8, KEY_SIZE = KEY_LAYER_BYTES + KEY_BYTES, VALUE = 100 };

/* One run: every RUNS-th key, or stretches of keys, laid one behind the other. */
struct run {
    struct cursor cursor;
    const unsigned char *keys;
    uint64_t at, count;
};

static struct run *run_of(struct cursor *cursor)
{
    return (struct run *)cursor;
}

static void stand(struct run *run)
{
    run->cursor.valid = run->at < run->count;
    if (run->cursor.valid)
        run->cursor.key = slice_make(run->keys + run->at * KEY_SIZE, KEY_SIZE);
}

static void run_first(struct cursor *cursor)
{
    run_of(cursor)->at = 0;
    stand(run_of(cursor));
}

static void run_next(struct cursor *cursor)
{
    run_of(cursor)->at++;
    stand(run_of(cursor));
}

static void run_free(struct cursor *cursor) {}

static const struct cursor_ops run_ops = {.first = run_first, .next = run_next, .free = run_free};

struct runs {
    struct run all[RUNS];
    unsigned char *keys[RUNS];
    uint64_t each;
};

/* stretch: so many keys in a row come from the same run. */
static void runs_fill(struct runs *runs, uint64_t stretch)
{
    struct data data;

    data_init(&data, runs->each * RUNS, VALUE, false);
    for (uint64_t i = 0; i < runs->each * RUNS; i++) {
        uint64_t run = i / stretch % RUNS, index = i / (stretch * RUNS) * stretch + i % stretch;
        unsigned char *key = runs->keys[run] + index * KEY_SIZE;

        key_put_layer(key, 0, SPACE_USER);
        data_key(&data, i * 2, (char *)key + KEY_LAYER_BYTES);
    }
    data_release(&data);
}

static double merge(void *arg)
{
    struct runs *runs = arg;
    struct cursor *sources[RUNS], *merged;
    uint64_t count = 0;
    double start;

    for (int i = 0; i < RUNS; i++) {
        runs->all[i] = (struct run){.cursor = {.ops = &run_ops, .tag = UINT64_C(1) << 8 | KIND_VALUE},
                                    .keys = runs->keys[i],
                                    .count = runs->each};
        sources[i] = &runs->all[i].cursor;
    }
    micro_must(merge_cursor_new(sources, RUNS, SEQ_MAX, &merged));
    start = seconds_now();
    for (cursor_first(merged); merged->valid; cursor_next(merged))
        count++;
    start = seconds_now() - start;
    if (count != runs->each * RUNS)
        micro_die("the merge lost entries");
    cursor_free(merged);
    return start;
}

void micro_merge(void)
{
    struct runs runs = {.each = micro.entries / RUNS / 16 * 16};

    for (int i = 0; i < RUNS; i++)
        runs.keys[i] = micro_alloc(runs.each * KEY_SIZE);
    runs_fill(&runs, 1);
    micro_measure("merge of 8 runs, each key from another run", runs.each * RUNS, 0, merge, &runs);
    runs_fill(&runs, 16);
    micro_measure("merge of 8 runs, 16 keys in a row", runs.each * RUNS, 0, merge, &runs);
    for (int i = 0; i < RUNS; i++)
        free(runs.keys[i]);
}
