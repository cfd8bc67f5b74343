/* test_compact_job.c - merges of drawn histories into tables: what is read from the tables equals what the
 * definition of visibility says of the history, at every readable point; tables are disjoint; a failure
 * or a cancel leaves no file. */
#undef NDEBUG
#include "base/mem.h"
#include "base/random.h"
#include "compaction/job.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    KEYS = 40,
    SYSTEM_KEYS = 8,
    BRANCHES = 2,
    SEQ_LAST = 60,
    ENTRIES_MAX = 2000,
    RANGES_MAX = 64,
    KEY_SIZE = 8
};

struct entry {
    unsigned char key[KEY_SIZE];
    uint64_t tag;
    char value[40];
    size_t size;
    bool large;
};

struct world {
    struct random random;
    struct entry entries[ENTRIES_MAX];
    size_t entry_count;
    struct rangedel ranges[RANGES_MAX];
    unsigned char range_keys[RANGES_MAX][2][KEY_SIZE];
    size_t range_count;
    helios_seq horizon, pins[8];
    size_t pin_count;
    helios_seq outside; /* versions numbered at or below it are in other tables */
};

static void make_key(unsigned char *out, int branch, int number)
{
    key_put_layer(out, (helios_branch_id)branch, number < KEYS - SYSTEM_KEYS ? SPACE_USER : SPACE_SYSTEM);
    out[5] = 'k';
    out[6] = (unsigned char)('0' + number / 10);
    out[7] = (unsigned char)('0' + number % 10);
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    return key_compare(slice_make(x->key, KEY_SIZE), x->tag, slice_make(y->key, KEY_SIZE), y->tag);
}

/* ---- a cursor over the entries that are inside ---- */

struct array_cursor {
    struct cursor base;
    const struct world *world;
    size_t at;
    struct error_note note;
    size_t fail_at;
};

static void array_show(struct array_cursor *c)
{
    while (c->at < c->world->entry_count && tag_seq(c->world->entries[c->at].tag) <= c->world->outside)
        c->at++;
    c->base.valid = c->at < c->world->entry_count;
    if (c->base.valid && c->fail_at && c->at >= c->fail_at) {
        c->base.valid = false;
        c->base.status = fail_corrupt("drawn damage");
        error_keep(&c->note, c->base.status);
    }
    if (c->base.valid) {
        const struct entry *e = &c->world->entries[c->at];

        c->base.key = slice_make(e->key, KEY_SIZE);
        c->base.tag = e->tag;
        c->base.value = slice_make(e->large ? NULL : e->value, e->size);
        c->base.value_large = e->large;
    }
}

static void array_first(struct cursor *base)
{
    struct array_cursor *c = (struct array_cursor *)base;

    c->at = 0;
    array_show(c);
}

static void array_seek(struct cursor *base, helios_slice key, uint64_t tag)
{
    struct array_cursor *c = (struct array_cursor *)base;

    for (c->at = 0; c->at < c->world->entry_count; c->at++) {
        const struct entry *e = &c->world->entries[c->at];

        if (key_compare(slice_make(e->key, KEY_SIZE), e->tag, key, tag) >= 0)
            break;
    }
    array_show(c);
}

static void array_next(struct cursor *base)
{
    struct array_cursor *c = (struct array_cursor *)base;

    c->at++;
    array_show(c);
}

static helios_status array_load(struct cursor *base)
{
    struct array_cursor *c = (struct array_cursor *)base;

    base->value.data = c->world->entries[c->at].value;
    return HELIOS_OK;
}

static const struct cursor_ops array_ops = {
    .first = array_first,
    .seek = array_seek,
    .next = array_next,
    .load = array_load,
};

static struct array_cursor array_cursor(const struct world *world)
{
    return (struct array_cursor){.base = {.ops = &array_ops}, .world = world};
}

/* ---- the history ---- */

static void draw_commit(struct world *w, helios_seq seq)
{
    bool touched[BRANCHES][KEYS] = {{false}};
    int count = (int)random_below(&w->random, 12);

    if (random_below(&w->random, 5) == 0) {
        int branch = (int)random_below(&w->random, BRANCHES), from = (int)random_below(&w->random, KEYS);
        unsigned char(*keys)[KEY_SIZE] = w->range_keys[w->range_count];

        make_key(keys[0], branch, from);
        make_key(keys[1], branch, from + 1 + (int)random_below(&w->random, (uint64_t)(KEYS - from)));
        w->ranges[w->range_count++] =
            (struct rangedel){slice_make(keys[0], KEY_SIZE), slice_make(keys[1], KEY_SIZE), seq};
    }
    while (count-- > 0) {
        int branch = (int)random_below(&w->random, BRANCHES), key = (int)random_below(&w->random, KEYS);
        struct entry *e = &w->entries[w->entry_count];

        if (touched[branch][key])
            continue;
        touched[branch][key] = true;
        make_key(e->key, branch, key);
        e->tag = tag_make(seq, random_below(&w->random, 3) ? KIND_VALUE : KIND_TOMBSTONE);
        e->size =
            tag_kind(e->tag) == KIND_VALUE
                ? (size_t)snprintf(e->value, sizeof(e->value), "value of %d/%d at %d", branch, key, (int)seq)
                : 0;
        e->large = random_below(&w->random, 10) == 0 && e->size;
        w->entry_count++;
    }
}

static int compare_seqs(const void *a, const void *b)
{
    helios_seq x = *(const helios_seq *)a, y = *(const helios_seq *)b;

    return x < y ? -1 : x > y;
}

static void draw_world(struct world *w, uint64_t seed)
{
    *w = (struct world){0};
    random_seed(&w->random, seed);
    for (helios_seq seq = 1; seq <= SEQ_LAST; seq++)
        draw_commit(w, seq);
    qsort(w->entries, w->entry_count, sizeof(w->entries[0]), compare_entries);
    w->horizon = random_below(&w->random, SEQ_LAST + 2);
    w->outside = random_below(&w->random, 2) ? random_below(&w->random, SEQ_LAST / 2) : 0;
    for (uint64_t i = random_below(&w->random, 4); i > 0; i--) {
        helios_seq pin = 1 + random_below(&w->random, SEQ_LAST);
        bool known = false;

        for (size_t k = 0; k < w->pin_count; k++)
            known |= w->pins[k] == pin;
        if (!known)
            w->pins[w->pin_count++] = pin;
    }
    qsort(w->pins, w->pin_count, sizeof(w->pins[0]), compare_seqs);
}

/* ---- reading by the definition ---- */

/* Raises *best to the newest thing at or below the point; a version wins over a range delete at its number. */
static void see_version(uint64_t tag, helios_slice value, helios_seq point, uint64_t *best, helios_slice *seen)
{
    if (tag_seq(tag) <= point && tag_seq(tag) * 2 + 1 > *best) {
        *best = tag_seq(tag) * 2 + 1;
        *seen = tag_kind(tag) == KIND_VALUE ? value : slice_make(NULL, 0);
    }
}

static void see_range(helios_seq seq, helios_seq point, uint64_t *best, helios_slice *seen)
{
    if (seq <= point && seq * 2 > *best) {
        *best = seq * 2;
        *seen = slice_make(NULL, 0);
    }
}

/* What of the history is in (low, high]. */
static void see_history(const struct world *w, helios_slice key, helios_seq low, helios_seq high,
                        helios_seq point, uint64_t *best, helios_slice *seen)
{
    for (size_t i = 0; i < w->entry_count; i++) {
        const struct entry *e = &w->entries[i];

        if (tag_seq(e->tag) > low && tag_seq(e->tag) <= high && slice_equal(slice_make(e->key, KEY_SIZE), key))
            see_version(e->tag, slice_make(e->value, e->size), point, best, seen);
    }
    for (size_t i = 0; i < w->range_count; i++) {
        const struct rangedel *r = &w->ranges[i];

        if (r->seq > low && r->seq <= high && slice_compare(r->from, key) <= 0 && slice_compare(key, r->to) < 0)
            see_range(r->seq, point, best, seen);
    }
}

/* ---- the outputs, all in memory ---- */

struct output {
    struct entry *entries;
    size_t count;
    struct rangedel_set *ranges; /* of each table, chained through tables */
    struct table *tables[64];
    size_t table_count;
};

static struct table_home *home_new(struct io_fs *fs)
{
    struct table_home *home = mem_zalloc(sizeof(*home));

    home->fs = fs;
    home->directory = mem_text("sst");
    mutex_init(&home->open_mu);
    mutex_init(&home->ring_mu);
    assert(cache_new(1 << 20, &home->cache) == HELIOS_OK);
    return home;
}

static void home_free(struct table_home *home)
{
    epoch_drain();
    cache_free(home->cache);
    mutex_release(&home->ring_mu);
    mutex_release(&home->open_mu);
    mem_free(home->directory);
    mem_free(home);
}

static void read_table(struct table_home *home, const struct table_result *result, struct output *out)
{
    struct table_cursor_options options = {.read_point = CURSOR_ALL};
    char path[256];
    struct table *table;
    struct cursor *cursor;
    uint64_t before = out->count;

    table_file_path(home, result->number, path, sizeof(path));
    assert(table_open(home->fs, NULL, path, result->number, result->size, 0, home->cache, &table) == HELIOS_OK);
    assert(table_verify(table) == HELIOS_OK);
    assert(table_cursor_new(table, &options, &cursor) == HELIOS_OK);
    for (cursor_first(cursor); cursor->valid; cursor_next(cursor)) {
        struct entry *e = &out->entries[out->count++];
        helios_slice value;

        assert(cursor_value(cursor, &value) == HELIOS_OK);
        memcpy(e->key, cursor->key.data, KEY_SIZE);
        memcpy(e->value, value.data, value.size);
        e->tag = cursor->tag;
        e->size = value.size;
        assert(slice_compare(result->smallest, cursor->key) <= 0);
        assert(slice_compare(cursor->key, result->largest) <= 0);
        /* The engine's own entries are in tables of their own. */
        assert((e->key[4] == SPACE_SYSTEM) == (out->entries[before].key[4] == SPACE_SYSTEM));
    }
    assert(cursor->status == HELIOS_OK);
    assert(out->count - before == result->properties.entries);
    cursor_free(cursor);
    out->tables[out->table_count++] = table;
}

static void see_output(const struct output *out, helios_slice key, helios_seq point, uint64_t *best,
                       helios_slice *seen)
{
    for (size_t i = 0; i < out->count; i++) {
        const struct entry *e = &out->entries[i];

        if (slice_equal(slice_make(e->key, KEY_SIZE), key))
            see_version(e->tag, slice_make(e->value, e->size), point, best, seen);
    }
    for (size_t i = 0; i < out->table_count; i++) {
        struct rangedel_set *set = table_rangedels(out->tables[i]);

        see_range(set ? rangedel_newest(set, key, point) : 0, point, best, seen);
    }
}

static void output_release(struct output *out)
{
    for (size_t i = 0; i < out->table_count; i++)
        table_unref(out->tables[i]);
    mem_free(out->entries);
}

/* ---- a run ---- */

static uint64_t next_number(void *arg)
{
    return ++*(uint64_t *)arg;
}

static bool older_outside(void *arg, helios_slice from, helios_slice to, bool inclusive)
{
    return ((const struct world *)arg)->outside > 0;
}

struct run {
    struct table_writer_options writer;
    struct garbage_branch root;
    struct garbage_rules rules;
    struct rangedel_set *ranges;
    struct array_cursor cursor;
    struct compact_job job;
    uint64_t number;
};

static void run_init(struct run *run, struct world *w, struct table_home *home)
{
    struct rangedel inside[RANGES_MAX];
    size_t count = 0;

    *run = (struct run){
        .writer = {.block_bytes = 512, .filter_bits_per_key = 10},
        .root = {.branch = 0, .pins = w->pins, .count = w->pin_count, .is_root = true},
        .cursor = array_cursor(w),
    };
    run->rules = (struct garbage_rules){
        .collect = true,
        .horizon = w->horizon,
        .branches = &run->root,
        .count = 1,
        .may_hold_older = older_outside,
        .may_hold_older_arg = w,
        .others = {.pins = w->pins, .count = w->pin_count},
    };
    for (size_t i = 0; i < w->range_count; i++) {
        if (w->ranges[i].seq > w->outside)
            inside[count++] = w->ranges[i];
    }
    if (count)
        assert(rangedel_build(inside, count, &run->ranges) == HELIOS_OK);
    run->cursor.base.error = &run->cursor.note;
    run->job = (struct compact_job){
        .input = &run->cursor.base,
        .rangedels = run->ranges,
        .rules = &run->rules,
        .home = home,
        .next_number = next_number,
        .next_number_arg = &run->number,
        .writer = &run->writer,
        .target_bytes = 1500,
    };
}

static void check_disjoint(const struct compact_result *a, const struct table_result *next)
{
    const struct table_result *last = a->count ? &a->tables[a->count - 1] : NULL;
    int order = last ? slice_compare(last->largest, next->smallest) : -1;

    assert(order < 0 || (order == 0 && last->largest_exclusive));
}

static void check_reads(const struct world *w, const struct output *out)
{
    for (int branch = 0; branch < BRANCHES; branch++) {
        for (int number = 0; number < KEYS; number++) {
            unsigned char bytes[KEY_SIZE];
            helios_slice key = slice_make(bytes, KEY_SIZE);

            make_key(bytes, branch, number);
            for (helios_seq point = 1; point <= SEQ_LAST; point++) {
                uint64_t was_best = 0, is_best = 0;
                helios_slice was = {0}, is = {0};
                bool readable = point >= w->horizon;

                for (size_t i = 0; i < w->pin_count; i++)
                    readable |= w->pins[i] == point;
                if (!readable)
                    continue;
                see_history(w, key, 0, SEQ_LAST, point, &was_best, &was);
                see_history(w, key, 0, w->outside, point, &is_best, &is);
                see_output(out, key, point, &is_best, &is);
                assert(!was.data == !is.data);
                assert(!was.data || slice_equal(was, is));
                if (branch > 0) /* something must still hide the ancestors */
                    assert((was_best > 0) == (is_best > 0));
            }
        }
    }
}

static void check_no_file(struct io_fs *fs, uint64_t last)
{
    for (uint64_t number = 1; number <= last; number++) {
        struct table_home home = {.fs = fs, .directory = (char *)"sst"};
        char path[256];
        struct io_stat stat;

        table_file_path(&home, number, path, sizeof(path));
        assert(io_stat(fs, path, &stat) == HELIOS_NOT_FOUND);
    }
}

static void test_world(uint64_t seed, bool split)
{
    struct world *w = mem_alloc(sizeof(*w));
    struct io_fs *fs;
    struct table_home *home;
    struct run run;
    struct output out = {.entries = mem_array(ENTRIES_MAX, sizeof(struct entry))};
    unsigned char bounds[2][KEY_SIZE];
    int parts = split ? 3 : 1;
    struct compact_result all = {0}, results[3] = {{0}};
    struct compact_progress progress = {0};
    uint64_t read = 0;

    draw_world(w, seed);
    assert(io_memory_new(&fs) == HELIOS_OK);
    assert(io_make_directory(fs, "sst") == HELIOS_OK);
    home = home_new(fs);
    run_init(&run, w, home);
    run.job.progress = &progress;
    make_key(bounds[0], 0, (int)random_below(&w->random, KEYS));
    make_key(bounds[1], 1, (int)random_below(&w->random, KEYS));
    for (int i = 0; i < parts; i++) {
        if (split) {
            run.job.lower = i ? slice_make(bounds[i - 1], KEY_SIZE) : slice_make(NULL, 0);
            run.job.upper = i < 2 ? slice_make(bounds[i], KEY_SIZE) : slice_make(NULL, 0);
        }
        assert(compact_run(&run.job, &results[i]) == HELIOS_OK);
        read += results[i].entries_read;
        for (size_t k = 0; k < results[i].count; k++) {
            check_disjoint(&all, &results[i].tables[k]);
            all = (struct compact_result){.tables = &results[i].tables[k], .count = 1};
            read_table(home, &results[i].tables[k], &out);
        }
    }
    assert(read == progress.entries_read && out.count == progress.entries_written);
    check_reads(w, &out);
    output_release(&out);
    for (int i = 0; i < parts; i++)
        compact_result_discard(&results[i], home);
    check_no_file(fs, run.number);
    rangedel_unref(run.ranges);
    home_free(home);
    io_free(fs);
    mem_free(w);
}

/* Every call in turn fails, then every allocation: nothing is left behind, and the failure is told. */
static void test_failures(uint64_t seed)
{
    struct world *w = mem_alloc(sizeof(*w));
    struct io_fs *fs;
    struct table_home *home;
    helios_status status = HELIOS_IO;

    draw_world(w, seed);
    assert(io_faulty_new(seed, &fs) == HELIOS_OK);
    assert(io_make_directory(fs, "sst") == HELIOS_OK);
    home = home_new(fs);
    for (int kind = 0; kind < 2; kind++) {
        for (uint64_t n = 1;; n++) {
            struct io_fault fault = {
                .fail_at = n,
                .error_number = 5,
                .mask = 1u << IO_CALL_OPEN | 1u << IO_CALL_WRITE | 1u << IO_CALL_SYNC,
            };
            struct compact_result result = {0};
            struct run run;

            run_init(&run, w, home);
            if (kind == 0)
                io_faulty_plan(fs, &fault);
            else
                mem_fail_at(n, false);
            status = compact_run(&run.job, &result);
            io_faulty_plan(fs, NULL);
            mem_fail_at(0, false);
            rangedel_unref(run.ranges);
            if (status == HELIOS_OK) {
                compact_result_discard(&result, home);
                assert(n > 3);
                break;
            }
            assert(status == (kind == 0 ? HELIOS_IO : HELIOS_NO_MEMORY) && helios_last_error()[0] &&
                   !result.tables);
            check_no_file(fs, run.number);
        }
    }
    home_free(home);
    io_free(fs);
    mem_free(w);
}

static void test_stops(uint64_t seed)
{
    struct world *w = mem_alloc(sizeof(*w));
    struct io_fs *fs;
    struct table_home *home;
    struct run run;
    struct compact_result result = {0};
    _Atomic bool cancel = true;

    draw_world(w, seed);
    assert(io_memory_new(&fs) == HELIOS_OK && io_make_directory(fs, "sst") == HELIOS_OK);
    home = home_new(fs);
    run_init(&run, w, home);
    run.job.cancel = &cancel;
    assert(compact_run(&run.job, &result) == HELIOS_BUSY);
    cancel = false;
    run.rules.collect = false;
    run.cursor.fail_at = w->entry_count - 1; /* the input breaks at its end */
    assert(compact_run(&run.job, &result) == HELIOS_CORRUPT);
    assert(strcmp(helios_last_error(), "drawn damage") == 0 && run.number > 1);
    check_no_file(fs, run.number);
    /* Two versions in the wrong order. */
    run.cursor = array_cursor(w);
    w->outside = 0;
    w->entries[1] = w->entries[0];
    assert(compact_run(&run.job, &result) == HELIOS_CORRUPT);
    check_no_file(fs, run.number);
    rangedel_unref(run.ranges);
    home_free(home);
    io_free(fs);
    mem_free(w);
}

int main(void)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        test_world(seed, false);
        test_world(seed, true);
    }
    test_failures(7);
    test_stops(8);
    return 0;
}
