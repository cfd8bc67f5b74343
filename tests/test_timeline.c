/* test_timeline.c - the map between times and numbers: runs as bytes, stretches, and through the API against a plain
 * list of (number, time) on a file system whose clock the test sets: flushes, compactions, clean and unclean ends,
 * large commits, clocks that stand, jump and step back, committers beside the questions, retention.
 *
 *   test_timeline [--seed N] [--steps N] [--race]
 *
 * --race: committers beside questions alone, on a file system without a clock to set, to be run under TSan (what the
 * one with a clock copies at a sync is being written to through mappings). */
#undef NDEBUG
#include "base/random.h"
#include "engine/engine_internal.h"
#include "mvcc/timeline.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition, ...)                                                                                  \
    do {                                                                                                       \
        if (!(condition)) {                                                                                    \
            fprintf(stderr, "test_timeline.c:%d: %s: ", __LINE__, #condition);                                 \
            fprintf(stderr, __VA_ARGS__);                                                                      \
            fprintf(stderr, "\n");                                                                             \
            abort();                                                                                           \
        }                                                                                                      \
    } while (0)
#define MUST(call) CHECK((call) == HELIOS_OK, "%s", helios_last_error())

/* ---- runs as bytes ---- */

static void draw_run(struct random *rng, struct timeline_run *run)
{
    struct timeline_entry last = {.last = random_below(rng, 3) ? random_below(rng, 1 << 20) : 0};

    run->before = last.last;
    run->count = 1 + (uint32_t)random_below(rng, TIMELINE_RUN_MAX);
    for (uint32_t i = 0; i < run->count; i++) {
        uint64_t gap = random_below(rng, 4) ? 0 : random_below(rng, 1 << 24);

        last.time += random_below(rng, 2) ? 0 : random_next(rng) >> (16 + random_below(rng, 40));
        last.count = 1 + (uint32_t)random_below(rng, random_below(rng, 9) ? 3 : UINT32_MAX);
        last.last += gap + last.count;
        last.bytes = (uint32_t)random_next(rng);
        run->entries[i] = last;
    }
}

static bool same_runs(const struct timeline_run *a, const struct timeline_run *b)
{
    return a->before == b->before && a->count == b->count &&
           memcmp(a->entries, b->entries, a->count * sizeof(a->entries[0])) == 0;
}

static void check_order(const struct timeline_run *run)
{
    struct timeline_entry before = {.last = run->before};

    for (uint32_t i = 0; i < run->count; before = run->entries[i++]) {
        CHECK(run->entries[i].time >= before.time && run->entries[i].last > before.last, "entry %u", i);
        CHECK(run->entries[i].count && run->entries[i].count <= run->entries[i].last - before.last, "entry %u",
              i);
    }
}

static void test_runs(struct random *rng)
{
    static struct timeline_run run, back;
    static unsigned char bytes[TIMELINE_PACKED_MAX];

    for (int i = 0; i < 300; i++) {
        const struct timeline_entry *last;
        size_t size;

        draw_run(rng, &run);
        last = &run.entries[run.count - 1];
        size = timeline_pack(&run, bytes);
        CHECK(timeline_unpack(slice_make(bytes, size), last->time, last->last, &back), "run %d", i);
        CHECK(same_runs(&run, &back), "run %d", i);
        CHECK(!timeline_unpack(slice_make(bytes, size), last->time + 1, last->last, &back), "another time");
        CHECK(!timeline_unpack(slice_make(bytes, size), last->time, last->last + 1, &back), "another number");
        for (size_t cut = 0; cut < size; cut += 1 + size / 50)
            CHECK(!timeline_unpack(slice_make(bytes, cut), last->time, last->last, &back), "cut to %zu", cut);
        for (int flips = 0; flips < 50; flips++) {
            size_t at = (size_t)random_below(rng, size);
            unsigned char byte = bytes[at];

            bytes[at] ^= (unsigned char)(1 + random_below(rng, 255));
            if (timeline_unpack(slice_make(bytes, size), last->time, last->last, &back))
                check_order(&back); /* another run, but one */
            bytes[at] = byte;
        }
        for (uint32_t e = 0; e < run.count; e += 7) {
            CHECK(timeline_count_seq(&run, run.entries[e].last) == e + 1, "entry %u", e);
            CHECK(timeline_count_seq(&run, run.entries[e].last - 1) == e, "entry %u", e);
            CHECK(timeline_count_time(&run, run.entries[e].time) > e, "entry %u", e);
        }
    }
}

static void test_bad_runs(void)
{
    static const struct {
        const char *name;
        unsigned char bytes[12];
        size_t size;
        bool good; /* it ends at time 9, number 7 */
    } cases[] = {
        {"as it should be", {1, 1, 0, 9, 7, 6, 5}, 7, true},
        {"nothing", {0}, 0, false},
        {"zeros", {0, 0, 0, 0, 0, 0, 0}, 7, false},
        {"another version", {2, 1, 0, 9, 7, 6, 5}, 7, false},
        {"no commits", {1, 0, 0}, 3, false},
        {"too many commits", {1, 0x81, 0x02, 0, 9, 7, 6, 5}, 8, false},
        {"fewer commits than said", {1, 2, 0, 9, 7, 6, 5}, 7, false},
        {"a byte more", {1, 1, 0, 9, 7, 6, 5, 0}, 8, false},
        {"a commit without numbers", {1, 1, 0, 9, 7, 7, 5}, 7, false},
        {"a commit that repeats a number", {1, 1, 7, 9, 0, 0, 5}, 7, false},
        {"a number too large for bytes", {1, 1, 0, 9, 7, 6, 0xff, 0xff, 0xff, 0xff, 0x7f}, 11, false},
    };
    static struct timeline_run run;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        CHECK(timeline_unpack(slice_make(cases[i].bytes, cases[i].size), 9, 7, &run) == cases[i].good, "%s",
              cases[i].name);
}

static void test_stretch(void)
{
    enum { COUNT = 3 * STRETCH_CHUNK_ENTRIES + 17 };
    static struct timeline_entry read[TIMELINE_RUN_MAX];
    struct stretch_index index;
    struct stretch stretch;
    helios_seq at = 0;
    size_t n, seen = 0;

    stretch_init(&stretch);
    assert(stretch_read_up(&stretch, 0, read, 10) == 0 && stretch_read_down(&stretch, SEQ_MAX, read, 10) == 0);
    for (uint64_t i = 1; i <= COUNT; i++) {
        const struct timeline_entry entry = {i / 5, i * 3, 2, 1};

        MUST(stretch_prepare(&stretch));
        stretch_append(&stretch, &entry);
    }
    for (; (n = stretch_read_up(&stretch, at, read, TIMELINE_RUN_MAX)) > 0; at = read[n - 1].last + 1)
        for (size_t i = 0; i < n; i++)
            assert(read[i].last == ++seen * 3);
    assert(seen == COUNT);
    for (at = SEQ_MAX; (n = stretch_read_down(&stretch, at, read, TIMELINE_RUN_MAX)) > 0;
         at = read[n - 1].last - 1)
        for (size_t i = 0; i < n; i++)
            assert(read[i].last == seen-- * 3);
    assert(seen == 0);
    assert(stretch_read_up(&stretch, 3 * STRETCH_CHUNK_ENTRIES + 1, read, 1) == 1);
    assert(read[0].last == 3 * (STRETCH_CHUNK_ENTRIES + 1));
    MUST(stretch_index_init(&index, &stretch));
    assert(index.count == COUNT);
    for (size_t i = 0; i < COUNT; i++)
        assert(stretch_index_at(&index, i)->last == (i + 1) * 3);
    stretch_index_release(&index);
    stretch_release(&stretch);
}

/* ---- against a list ---- */

struct test {
    struct random rng;
    uint64_t seed, step;
    struct io_fs *fs;
    helios_options options;
    helios_db *db;
    uint64_t now, clock; /* what the file system says; what no later commit is before */
    helios_commit_info *list;
    size_t count, capacity, ingests;
    size_t gone; /* so many at the beginning may be gone */
};

static void set_clock(struct test *t, uint64_t now)
{
    t->now = now;
    io_faulty_set_time(t->fs, now, now);
}

static void note(struct test *t, helios_seq seq, uint64_t operations, uint64_t bytes)
{
    if (t->count == t->capacity) {
        t->capacity = t->capacity ? t->capacity * 2 : 1024;
        t->list = realloc(t->list, t->capacity * sizeof(*t->list));
        assert(t->list);
    }
    if (t->clock < t->now)
        t->clock = t->now;
    t->list[t->count++] =
        (helios_commit_info){.seq = seq, .time = t->clock, .operations = operations, .bytes = bytes};
}

static void commit(struct test *t)
{
    static char value[3000];
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    helios_batch *batch = helios_batch_new();
    size_t operations = 1 + (size_t)random_below(&t->rng, 5), value_size = (size_t)random_below(&t->rng, 60);
    uint64_t bytes = 0;
    helios_seq seq;

    if (random_below(&t->rng, 60) == 0) {
        operations = 20;
        value_size = sizeof(value); /* a large commit */
        t->ingests++;
    }
    for (size_t i = 0; i < operations; i++) {
        char key[16], end[17];
        size_t size = (size_t)snprintf(key, sizeof(key), "%" PRIu64, random_below(&t->rng, 500));

        memcpy(end, key, size + 1);
        end[size] = 'z';
        if (random_below(&t->rng, 10) < 8)
            helios_batch_put(batch, slice_make(key, size), slice_make(value, value_size));
        else
            helios_batch_delete_range(batch, slice_make(key, size), slice_make(end, size + 1));
        bytes += size;
    }
    bytes = batch->user_bytes; /* as the engine counts everywhere else */
    MUST(helios_write(t->db, &options, batch, &seq));
    note(t, seq, operations, bytes);
    helios_batch_free(batch);
}

/* The last of the list at or before; -1: none. */
static long at_time(const struct test *t, uint64_t time)
{
    long i = (long)t->count - 1;

    while (i >= 0 && t->list[i].time > time)
        i--;
    return i;
}

static long at_seq(const struct test *t, helios_seq seq)
{
    long i = (long)t->count - 1;

    while (i >= 0 && t->list[i].seq > seq)
        i--;
    return i;
}

static void ask_time(struct test *t, uint64_t time)
{
    uint64_t now = t->now > t->clock ? t->now : t->clock, upto = time < now ? time : now;
    long i = at_time(t, time);
    helios_seq seq = 0;
    helios_status status = helios_seq_at_time(t->db, time, &seq);

    if (t->clock <= upto && !t->options.read_only)
        t->clock = upto + 1;
    if (status == HELIOS_HISTORY_GONE && i < (long)t->gone)
        return;
    CHECK(status == HELIOS_OK, "seed %" PRIu64 " step %" PRIu64 ": at %" PRIu64 ": %s", t->seed, t->step, time,
          helios_last_error());
    CHECK(seq == (i < 0 ? HELIOS_SEQ_NONE : t->list[i].seq),
          "seed %" PRIu64 " step %" PRIu64 ": at %" PRIu64 " %" PRIu64, t->seed, t->step, time, seq);
}

static void ask_seq(struct test *t, helios_seq seq)
{
    long i = seq ? at_seq(t, seq) : (long)t->count - 1; /* 0: the latest */
    uint64_t time = 0;
    helios_status status = helios_time_of_seq(t->db, seq, &time);

    if (status == HELIOS_HISTORY_GONE && i < (long)t->gone)
        return;
    if (seq > helios_latest(t->db) || i < 0) {
        CHECK(status == (seq > helios_latest(t->db) ? HELIOS_INVALID : HELIOS_NOT_FOUND), "%" PRIu64, seq);
        return;
    }
    CHECK(status == HELIOS_OK && time == t->list[i].time,
          "seed %" PRIu64 " step %" PRIu64 ": of %" PRIu64 ": %" PRIu64 ", %s", t->seed, t->step, seq, time,
          helios_last_error());
}

/* A walk from index `first` to `last` of the list. */
static void check_walk(struct test *t, long first, long last, bool oldest_first)
{
    helios_commits_options options = HELIOS_COMMITS_OPTIONS_INIT;
    helios_commits *commits;
    helios_commit_info info;
    long at = oldest_first ? first : last, seen = 0;

    options.oldest_first = oldest_first;
    if (first > 0)
        options.from = t->list[first].seq - random_below(&t->rng, t->list[first].seq - t->list[first - 1].seq);
    if (last < (long)t->count - 1)
        options.to = t->list[last].seq + random_below(&t->rng, t->list[last + 1].seq - t->list[last].seq);
    MUST(helios_commits_new(t->db, &options, &commits));
    for (; helios_commits_next(commits, &info); at += oldest_first ? 1 : -1, seen++) {
        CHECK(at >= first && at <= last, "seed %" PRIu64 " step %" PRIu64 ": %" PRIu64, t->seed, t->step,
              info.seq);
        CHECK(memcmp(&info, &t->list[at], sizeof(info)) == 0,
              "seed %" PRIu64 " step %" PRIu64 ": %" PRIu64 " at %" PRIu64 " of %" PRIu64
              " operations, %" PRIu64 " bytes, not %" PRIu64 " at %" PRIu64 " of %" PRIu64 ", %" PRIu64,
              t->seed, t->step, info.seq, info.time, info.operations, info.bytes, t->list[at].seq,
              t->list[at].time, t->list[at].operations, t->list[at].bytes);
    }
    MUST(helios_commits_status(commits));
    CHECK(seen == last - first + 1, "seed %" PRIu64 " step %" PRIu64 ": %ld of %ld to %ld", t->seed, t->step,
          seen, first, last);
    helios_commits_free(commits);
}

static void check_all(struct test *t)
{
    size_t each = 1 + t->count / 400;

    CHECK(helios_latest(t->db) == (t->count ? t->list[t->count - 1].seq : 0), "%" PRIu64, helios_latest(t->db));
    for (size_t i = (size_t)random_below(&t->rng, each); i < t->count; i += each) {
        ask_seq(t, t->list[i].seq);
        ask_seq(t, t->list[i].seq - 1); /* 0: the latest */
        ask_time(t, t->list[i].time);
        ask_time(t, t->list[i].time - 1);
    }
    ask_seq(t, helios_latest(t->db) + 1);
    if (t->gone)
        return;
    check_walk(t, 0, (long)t->count - 1, true);
    check_walk(t, 0, (long)t->count - 1, false);
    if (t->count) {
        long first = (long)random_below(&t->rng, t->count);

        check_walk(t, first, first + (long)random_below(&t->rng, t->count - (size_t)first),
                   random_below(&t->rng, 2));
    }
}

static void reopen(struct test *t, bool kill)
{
    if (kill) {
        io_faulty_stop_at(t->fs, 1);
        (void)!helios_close(t->db);
        io_faulty_power_cut(t->fs, IO_DAMAGE_KEEP_ALL, random_next(&t->rng));
        set_clock(t, t->now);
    } else {
        MUST(helios_close(t->db));
    }
    MUST(engine_open(t->fs, "/timeline", &t->options, &t->db));
    /* What only questions have raised the clock to is kept by a close alone. */
    CHECK(t->db->last_time <= t->clock && (kill || t->db->last_time == t->clock), "%" PRIu64, t->db->last_time);
    CHECK(t->count == 0 || t->db->last_time >= t->list[t->count - 1].time, "%" PRIu64, t->db->last_time);
    t->clock = t->db->last_time;
}

static void move_clock(struct test *t)
{
    uint64_t dice = random_below(&t->rng, 100);

    if (dice < 40)
        return;
    if (dice < 90)
        set_clock(t, t->now + 1 + random_below(&t->rng, 3));
    else if (dice < 95)
        set_clock(t, t->now + random_below(&t->rng, 100000));
    else
        set_clock(t, t->now - random_below(&t->rng, 1000)); /* back */
}

static void test_open(struct test *t, uint64_t seed)
{
    *t = (struct test){.seed = seed, .options = HELIOS_OPTIONS_INIT};
    random_seed(&t->rng, seed);
    t->options.memtable_bytes = 64 << 10;
    t->options.history_retention = HELIOS_FOREVER;
    t->options.background_threads = 2;
    MUST(io_faulty_new(seed, &t->fs));
    set_clock(t, UINT64_C(1000000000));
    MUST(engine_open(t->fs, "/timeline", &t->options, &t->db));
}

static void test_close(struct test *t)
{
    MUST(helios_close(t->db));
    io_free(t->fs);
    free(t->list);
}

static void run_steps(struct test *t, uint64_t steps)
{
    for (t->step = 0; t->step < steps; t->step++) {
        uint64_t dice = random_below(&t->rng, 10000);

        move_clock(t);
        if (dice < 9000)
            commit(t);
        else if (dice < 9300)
            ask_time(t, t->now - 20 + random_below(&t->rng, 40));
        else if (dice < 9700 && t->count)
            ask_seq(t, 1 + random_below(&t->rng, t->list[t->count - 1].seq));
        else if (dice < 9850)
            MUST(helios_flush(t->db));
        else if (dice < 9880)
            MUST(helios_compact(t->db, (helios_slice){0}, (helios_slice){0}));
        else if (dice < 9910)
            reopen(t, false);
        else if (dice < 9940)
            reopen(t, true);
        else if (dice < 9970)
            check_all(t);
    }
    check_all(t);
}

static void test_against_list(uint64_t seed, uint64_t steps)
{
    struct test t;

    test_open(&t, seed);
    check_all(&t);
    ask_time(&t, 5);
    run_steps(&t, steps);
    MUST(helios_close(t.db));
    t.options.read_only = true;
    MUST(engine_open(t.fs, "/timeline", &t.options, &t.db));
    check_all(&t);
    printf("list: %zu commits, %zu large\n", t.count, t.ingests);
    test_close(&t);
}

/* A large commit is the first, the last, and all there is between two opens. */
static void test_ingests_alone(uint64_t seed)
{
    struct test t;

    test_open(&t, seed);
    for (int i = 0; i < 30; i++) {
        helios_batch *batch = helios_batch_new();
        static char value[4000];
        helios_seq seq;

        for (int k = 0; k < 20; k++) {
            char key[16];

            snprintf(key, sizeof(key), "%d", i * 20 + k);
            helios_batch_put(batch, slice_text(key), slice_make(value, sizeof(value)));
        }
        set_clock(&t, t.now + (uint64_t)(i % 3));
        MUST(helios_write(t.db, NULL, batch, &seq));
        note(&t, seq, 20, batch->user_bytes);
        helios_batch_free(batch);
        if (i % 5 == 1)
            reopen(&t, true);
        if (i % 5 == 3)
            reopen(&t, false);
        if (i % 7 == 4)
            MUST(helios_flush(t.db));
        check_all(&t);
    }
    for (int i = 0; i < 3; i++)
        reopen(&t, i % 2);
    check_all(&t);
    test_close(&t);
}

/* Commits that are in no log live by their flush alone, and are nobody's when they are lost. */
static void test_unlogged(uint64_t seed)
{
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    struct test t;
    helios_seq seq;

    test_open(&t, seed);
    options.durability = HELIOS_DURABILITY_NONE;
    for (int i = 0; i < 1000; i++) {
        set_clock(&t, t.now + 1);
        MUST(helios_put(t.db, &options, slice_text("key"), slice_text("value")));
        note(&t, helios_latest(t.db), 1, 8);
    }
    MUST(helios_flush(t.db));
    MUST(helios_put(t.db, &options, slice_text("key"), slice_text("lost")));
    set_clock(&t, 500); /* far back: the last time is in tables alone */
    reopen(&t, true);
    check_all(&t);
    MUST(helios_put(t.db, NULL, slice_text("key"), slice_text("value")));
    seq = helios_latest(t.db);
    note(&t, seq, 1, 8);
    CHECK(seq > t.list[t.count - 2].seq + 2, "%" PRIu64, seq);
    ask_seq(&t, seq - 1); /* in the cut range */
    check_all(&t);
    test_close(&t);
}

static bool log_says(struct io_fs *fs, const char *sentence)
{
    uint64_t size = 0;
    unsigned char *bytes = io_memory_bytes(fs, "/timeline/LOG", &size);

    return bytes && memmem(bytes, size, sentence, strlen(sentence));
}

static void test_clock(uint64_t seed)
{
    struct test t;

    test_open(&t, seed);
    set_clock(&t, UINT64_C(900000000000));
    commit(&t);
    commit(&t);
    set_clock(&t, 1000000); /* ten days back */
    commit(&t);
    assert(t.list[0].time == t.list[2].time);
    MUST(helios_flush(t.db));
    assert(!log_says(t.fs, "ahead of this one's: commits get"));
    reopen(&t, false);
    assert(log_says(t.fs, "the clock of an earlier run was 899999 s ahead of this one's: commits get"));
    commit(&t);
    assert(t.list[0].time == t.list[3].time);
    check_all(&t);
    ask_time(&t, UINT64_MAX);
    ask_time(&t, UINT64_MAX); /* a clock that stands is pushed on, so that the answer stays */
    commit(&t);
    assert(t.list[4].time > t.list[3].time);
    set_clock(&t, UINT64_C(2000000000000));
    commit(&t);
    assert(t.list[5].time == t.now);
    check_all(&t);
    test_close(&t);
}

/* ---- what goes ---- */

static size_t count_gone(struct test *t)
{
    size_t gone = 0;
    uint64_t time;

    while (gone < t->count && helios_time_of_seq(t->db, t->list[gone].seq, &time) == HELIOS_HISTORY_GONE)
        gone++;
    return gone;
}

static void churn(struct test *t, int rounds)
{
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < 700; i++) {
            move_clock(t);
            commit(t);
        }
        MUST(helios_flush(t->db));
        MUST(helios_compact(t->db, (helios_slice){0}, (helios_slice){0}));
    }
}

static void test_retention(uint64_t seed)
{
    helios_commits_options options = HELIOS_COMMITS_OPTIONS_INIT;
    helios_snapshot *snapshot;
    helios_commits *commits;
    helios_commit_info info;
    struct test t;
    size_t at, gone;
    helios_seq seq;

    test_open(&t, seed);
    t.options.history_retention = 0;
    reopen(&t, false);
    for (int i = 0; i < 300; i++)
        commit(&t);
    /* A walk holds what is ahead of it. */
    options.oldest_first = true;
    MUST(helios_commits_new(t.db, &options, &commits));
    at = (size_t)at_seq(&t, helios_horizon(t.db)) + (helios_horizon(t.db) == 0);
    assert(helios_close(t.db) == HELIOS_BUSY);
    churn(&t, 4);
    CHECK(count_gone(&t) <= at, "%zu gone, %zu below the horizon", count_gone(&t), at);
    for (; helios_commits_next(commits, &info); at++)
        CHECK(memcmp(&info, &t.list[at], sizeof(info)) == 0, "%zu", at);
    CHECK(at == 300, "%zu", at);
    helios_commits_free(commits);
    /* A pin, inside of a commit's numbers, holds the commit that it shows. */
    MUST(helios_snapshot_new(t.db, helios_latest(t.db), &snapshot));
    at = t.count - 1;
    churn(&t, 4);
    gone = count_gone(&t);
    CHECK(gone > 1000 && gone <= at, "%zu of %zu, pinned %zu", gone, t.count, at);
    t.gone = gone;
    check_all(&t);
    assert(helios_seq_at_time(t.db, 7, &seq) == HELIOS_HISTORY_GONE);
    helios_snapshot_free(t.db, snapshot);
    churn(&t, 4);
    CHECK(count_gone(&t) > at, "%zu", count_gone(&t));
    t.gone = count_gone(&t);
    check_all(&t);
    reopen(&t, true);
    CHECK(t.gone == count_gone(&t), "%zu, %zu", t.gone, count_gone(&t));
    check_all(&t);
    printf("retention: %zu of %zu gone\n", t.gone, t.count);
    test_close(&t);
}

/* ---- committers beside the questions ---- */

enum { WRITERS = 3, ANSWERS_MAX = 20000 };

struct answer {
    uint64_t time;
    helios_seq seq;
};

struct race {
    helios_db *db;
    struct io_fs *fs;
    bool clock; /* to be turned */
    _Atomic bool stop;
    struct answer answers[ANSWERS_MAX];
    size_t count;
};

static void *write_on(void *arg)
{
    struct race *race = arg;
    static char value[40000];

    for (uint64_t i = 0; !atomic_load(&race->stop); i++) {
        char key[24];
        helios_slice k = slice_make(key, (size_t)snprintf(key, sizeof(key), "%" PRIu64, i % 1000));

        MUST(helios_put(race->db, NULL, k, slice_make(value, i % 500 == 99 ? sizeof(value) : 20)));
    }
    return NULL;
}

static void *turn_clock(void *arg)
{
    struct race *race = arg;
    struct random rng;

    random_seed(&rng, 1);
    while (!atomic_load(&race->stop)) {
        uint64_t now = io_time(race->fs), dice = random_below(&rng, 100);

        if (race->clock)
            io_faulty_set_time(race->fs,
                               dice < 3 ? now - random_below(&rng, 2000) : now + random_below(&rng, 40), now);
        if (dice == 50)
            MUST(helios_flush(race->db));
        thread_sleep(20);
    }
    return NULL;
}

static void ask_on(struct race *race, uint64_t duration)
{
    struct io_fs *real = io_posix();
    uint64_t end = io_monotonic(real) + duration;
    struct random rng;

    random_seed(&rng, 2);
    while (io_monotonic(real) < end && race->count < ANSWERS_MAX) {
        struct answer *answer = &race->answers[race->count++];

        answer->time = io_time(race->fs) - random_below(&rng, 3) * random_below(&rng, 300);
        MUST(helios_seq_at_time(race->db, answer->time, &answer->seq));
    }
}

static helios_seq truth(const helios_commit_info *list, size_t count, uint64_t time)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (list[middle].time <= time)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? list[low - 1].seq : HELIOS_SEQ_NONE;
}

static void test_race(uint64_t seed, bool clock)
{
    static struct race race;
    helios_commits_options options = HELIOS_COMMITS_OPTIONS_INIT;
    helios_commits *commits;
    helios_commit_info info;
    pthread_t threads[WRITERS + 1];
    struct test t;

    test_open(&t, seed);
    if (!clock) {
        MUST(helios_close(t.db));
        io_free(t.fs);
        MUST(io_memory_new(&t.fs));
        MUST(engine_open(t.fs, "/timeline", &t.options, &t.db));
    }
    race.db = t.db;
    race.fs = t.fs;
    race.clock = clock;
    for (int i = 0; i < WRITERS; i++)
        MUST(thread_start(&threads[i], "writer", write_on, &race));
    MUST(thread_start(&threads[WRITERS], "clock", turn_clock, &race));
    ask_on(&race, 1500000);
    atomic_store(&race.stop, true);
    for (int i = 0; i <= WRITERS; i++)
        thread_join(threads[i]);
    options.oldest_first = true;
    MUST(helios_commits_new(t.db, &options, &commits));
    while (helios_commits_next(commits, &info)) {
        CHECK(t.count == 0 || (info.time >= t.list[t.count - 1].time &&
                               info.seq - info.operations >= t.list[t.count - 1].seq),
              "commit %" PRIu64, info.seq);
        t.clock = t.now = info.time;
        note(&t, info.seq, info.operations, info.bytes);
    }
    MUST(helios_commits_status(commits));
    helios_commits_free(commits);
    for (size_t i = 0; i < race.count; i++)
        CHECK(race.answers[i].seq == truth(t.list, t.count, race.answers[i].time),
              "at %" PRIu64 ": %" PRIu64 " then, %" PRIu64 " now", race.answers[i].time, race.answers[i].seq,
              truth(t.list, t.count, race.answers[i].time));
    printf("race: %zu answers beside %zu commits\n", race.count, t.count);
    test_close(&t);
}

/* ---- bad input, other ways to open ---- */

static void test_arguments(void)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_commits_options walk = HELIOS_COMMITS_OPTIONS_INIT;
    helios_commits *commits;
    helios_commit_info info;
    uint64_t time = 0;
    helios_seq seq = 0;
    helios_db *db;

    options.in_memory = true;
    MUST(helios_open("", &options, &db));
    assert(helios_seq_at_time(NULL, 1, &seq) == HELIOS_INVALID);
    assert(helios_seq_at_time(db, 1, NULL) == HELIOS_INVALID);
    assert(helios_time_of_seq(NULL, 1, &time) == HELIOS_INVALID);
    assert(helios_time_of_seq(db, 0, NULL) == HELIOS_INVALID);
    assert(helios_time_of_seq(db, 0, &time) == HELIOS_NOT_FOUND);
    assert(helios_time_of_seq(db, HELIOS_SEQ_NONE, &time) == HELIOS_NOT_FOUND);
    assert(helios_time_of_seq(db, 1, &time) == HELIOS_INVALID);
    assert(helios_seq_at_time(db, UINT64_MAX, &seq) == HELIOS_OK && seq == HELIOS_SEQ_NONE);
    assert(helios_commits_new(NULL, NULL, &commits) == HELIOS_INVALID);
    assert(helios_commits_new(db, NULL, NULL) == HELIOS_INVALID);
    assert(helios_commits_status(NULL) == HELIOS_INVALID && !helios_commits_next(NULL, &info));
    helios_commits_free(NULL);
    MUST(helios_put(db, NULL, slice_text("a"), slice_text("b")));
    MUST(helios_put(db, NULL, slice_text("a"), slice_text("c")));
    MUST(helios_time_of_seq(db, 0, &time));
    MUST(helios_seq_at_time(db, UINT64_MAX, &seq));
    assert(seq == helios_latest(db) && time > 0);
    MUST(helios_seq_at_time(db, time - 100000000, &seq));
    assert(seq == HELIOS_SEQ_NONE);
    walk.to = HELIOS_SEQ_NONE;
    MUST(helios_commits_new(db, &walk, &commits));
    assert(!helios_commits_next(commits, &info) && !helios_commits_next(commits, NULL));
    helios_commits_free(commits);
    MUST(helios_flush(db));
    walk.from = HELIOS_SEQ_NONE;
    walk.to = 0;
    MUST(helios_commits_new(db, &walk, &commits));
    assert(helios_commits_next(commits, &info) && info.seq == helios_latest(db));
    assert(helios_commits_next(commits, &info) && info.seq == helios_latest(db) - 1 && info.bytes == 2);
    assert(!helios_commits_next(commits, &info));
    MUST(helios_commits_status(commits));
    helios_commits_free(commits);
    MUST(helios_close(db));
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, steps = 6000;
    bool race_only = false;
    struct random rng;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--steps") == 0 && i + 1 < argc)
            steps = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--race") == 0)
            race_only = true;
    }
    printf("seed %" PRIu64 "\n", seed);
    if (race_only) {
        test_race(seed, false);
        return 0;
    }
    random_seed(&rng, seed);
    test_runs(&rng);
    test_bad_runs();
    test_stretch();
    test_arguments();
    test_clock(seed);
    test_unlogged(seed);
    test_ingests_alone(seed);
    test_against_list(seed, steps);
    test_retention(seed);
    test_race(seed, true);
    return 0;
}
