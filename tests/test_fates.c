/* test_fates.c - helios_commit_state against what an open finds. One writer or several commit in every durability, small
 * and large, in transactions too, until the log refuses a write, an fsync fails, or the power goes at some change. What
 * was said of each number then must agree with what is there after the next open: KEPT is there, LOST is
 * not; and then nothing is UNKNOWN. Until then KEPT and LOST never change.
 *
 *   test_fates [seed [rounds]] */
#undef NDEBUG
#include "engine/engine_internal.h"
#include "base/random.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    RUNS = 3,
    THREADS = 3,
    STEPS = 120,
    LARGE_BYTES = 200000 /* ingested */,
    PRESENT_MAX = 8192,
    NUMBERS_MAX = 1 << 16
};

enum trouble { REFUSED_WRITE, FAILED_SYNC, POWER_CUT, TROUBLE_COUNT };
static const char *const trouble_names[] = {"a refused write", "a failed fsync", "a power cut"};

struct range {
    helios_seq first, last;
};

struct test {
    uint64_t seed;
    enum trouble trouble;
    bool threads, mapped;
    struct io_fs *fs;
    helios_options options;
    helios_db *db;
    _Atomic uint32_t markers;
    struct range handed_out[RUNS]; /* by each open */
    size_t run;
    struct range present[PRESENT_MAX]; /* what the open found */
    size_t present_count;
    unsigned char said[RUNS][NUMBERS_MAX]; /* 0, or 1 + KEPT or LOST, by a number's place in its range */
};

static void die(const struct test *t, int line, const char *what, helios_seq seq)
{
    fprintf(stderr, "test_fates.c:%d: %s, number %" PRIu64 "\n  seed %" PRIu64 ", %s, %s, %s; last error: %s\n",
            line, what, seq, t->seed, trouble_names[t->trouble], t->threads ? "many writers" : "one writer",
            t->mapped ? "mapped" : "not mapped", helios_last_error());
    abort();
}
#define CHECK(t, condition, seq)                                                                               \
    do {                                                                                                       \
        if (!(condition))                                                                                      \
            die(t, __LINE__, #condition, seq);                                                                 \
    } while (0)

/* ---- what is said ---- */

static helios_seq next_number(struct test *t)
{
    helios_seq next;

    mutex_lock(&t->db->commit_mu);
    next = t->db->next;
    mutex_unlock(&t->db->commit_mu);
    return next;
}

/* Asks, and compares with what was said before. UNKNOWN is no answer: after a cut the files that know cannot be read. */
static void ask(struct test *t, helios_seq seq)
{
    helios_commit_fate fate = helios_commit_state(t->db, seq);
    helios_seq place = seq - t->handed_out[t->run].first;
    unsigned char *said = &t->said[t->run][place];

    CHECK(t, place < NUMBERS_MAX, seq);
    CHECK(t, *said == 0 || fate == HELIOS_COMMIT_UNKNOWN || *said == 1 + fate, seq);
    if (fate != HELIOS_COMMIT_UNKNOWN)
        *said = (unsigned char)(1 + fate);
}

static void ask_all(struct test *t)
{
    for (helios_seq seq = t->handed_out[t->run].first; seq < next_number(t); seq++)
        ask(t, seq);
}

/* ---- writing ---- */

struct writer {
    struct test *t;
    struct random rng;
    pthread_t thread;
};

static helios_status put_hot_keys(void *arg, helios_txn *txn)
{
    helios_batch *batch = arg; /* of which only the marker counts */
    struct op op = batch_at(batch, 0);
    helios_buf value = {0};
    helios_status status = helios_txn_get(txn, slice_text("hot"), &value);

    helios_buf_free(&value);
    if (status == HELIOS_OK || status == HELIOS_NOT_FOUND)
        status = helios_txn_put(txn, slice_text("hot"), op.key);
    if (status == HELIOS_OK)
        status = helios_txn_put(txn, op.key, op.value);
    return status;
}

/* A marker, whose value is the number of operations, and some more. False: it failed. */
static bool commit(struct writer *w)
{
    static const helios_durability durabilities[] = {HELIOS_DURABILITY_NONE, HELIOS_DURABILITY_ASYNC,
                                                     HELIOS_DURABILITY_ASYNC, HELIOS_DURABILITY_GROUP,
                                                     HELIOS_DURABILITY_SYNC};
    static const char large[LARGE_BYTES];
    struct test *t = w->t;
    helios_batch *batch = helios_batch_new();
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    uint64_t dice = random_below(&w->rng, 40);
    uint32_t operations = dice < 30 ? 1 : 2 + (uint32_t)random_below(&w->rng, 6);
    bool transaction = dice == 29;
    char key[32], value[32];
    helios_seq seq = 0;
    helios_status status;

    options.durability = durabilities[random_below(&w->rng, 5)];
    if (transaction)
        operations = 2;
    snprintf(key, sizeof(key), "m%08u", atomic_fetch_add(&t->markers, 1));
    snprintf(value, sizeof(value), "%u", operations);
    helios_batch_put(batch, slice_text(key), slice_text(value));
    for (uint32_t i = 1; i < operations && !transaction; i++) {
        snprintf(key, sizeof(key), "x%u", (unsigned)random_below(&w->rng, 100));
        if (i == 1 && dice >= 36)
            helios_batch_put(batch, slice_text(key), slice_make(large, sizeof(large)));
        else if (i % 3 == 2)
            helios_batch_delete_range(batch, slice_text("x2"), slice_text("x3"));
        else
            helios_batch_put(batch, slice_text(key), slice_text("a value"));
    }
    if (transaction) {
        helios_txn_options begin = HELIOS_TXN_OPTIONS_INIT;

        begin.durability = options.durability;
        status = helios_txn_run(t->db, &begin, put_hot_keys, batch, &seq);
    } else {
        status = helios_write(t->db, &options, batch, &seq);
    }
    helios_batch_free(batch);
    if (status == HELIOS_OK) {
        helios_commit_fate fate = helios_commit_state(t->db, seq),
                           first = helios_commit_state(t->db, seq - operations + 1);
        bool gone = t->trouble == POWER_CUT; /* maybe: then the files that know cannot be read */

        CHECK(t, fate != HELIOS_COMMIT_LOST && first != HELIOS_COMMIT_LOST, seq);
        CHECK(t, options.durability != HELIOS_DURABILITY_SYNC || fate == HELIOS_COMMIT_KEPT || gone, seq);
        CHECK(t, first == fate || fate != HELIOS_COMMIT_KEPT || gone, seq);
    }
    return status == HELIOS_OK;
}

static void *write_some(void *arg)
{
    struct writer *w = arg;

    for (int i = 0; i < STEPS && commit(w); i++) {
        if (random_below(&w->rng, 60) == 0)
            (void)!helios_flush(w->t->db);
        if (random_below(&w->rng, 60) == 0)
            (void)!helios_sync(w->t->db);
        if (!w->t->threads && i % 20 == 0)
            ask_all(w->t);
    }
    return NULL;
}

static void write_until_trouble(struct test *t)
{
    struct writer writers[THREADS];
    size_t count = t->threads ? THREADS : 1;

    for (size_t i = 0; i < count; i++) {
        writers[i].t = t;
        random_seed(&writers[i].rng, t->seed * 1000 + t->run * 10 + i);
        if (t->threads)
            assert(pthread_create(&writers[i].thread, NULL, write_some, &writers[i]) == 0);
        else
            write_some(&writers[i]);
    }
    for (size_t i = 0; i < count && t->threads; i++)
        assert(pthread_join(writers[i].thread, NULL) == 0);
}

/* ---- what is there ---- */

static int compare_ranges(const void *a, const void *b)
{
    const struct range *x = a, *y = b;

    return x->first < y->first ? -1 : x->first > y->first;
}

static void find_present(struct test *t)
{
    helios_iter *it = NULL;

    t->present_count = 0;
    assert(helios_iter_new(t->db, NULL, &it) == HELIOS_OK);
    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it)) {
        helios_seq last = helios_iter_seq(it);
        helios_slice value = helios_iter_value(it);

        if (*(const char *)helios_iter_key(it).data != 'm')
            continue;
        assert(value.size == 1); /* fewer than ten operations */
        assert(t->present_count < PRESENT_MAX);
        t->present[t->present_count++] =
            (struct range){last + 1 - (helios_seq)(*(const char *)value.data - '0'), last};
    }
    CHECK(t, helios_iter_status(it) == HELIOS_OK, 0);
    helios_iter_free(it);
    qsort(t->present, t->present_count, sizeof(t->present[0]), compare_ranges);
}

static bool is_present(const struct test *t, helios_seq seq)
{
    size_t low = 0, high = t->present_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (t->present[middle].last < seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low < t->present_count && t->present[low].first <= seq;
}

/* After an open: what was said before it, and what is said now. */
static void judge(struct test *t)
{
    helios_seq next = next_number(t);

    find_present(t);
    for (size_t run = 0; run <= t->run; run++) {
        const struct range *range = &t->handed_out[run];
        helios_seq beyond;

        for (helios_seq seq = range->first; seq <= range->last; seq++) {
            unsigned char said = t->said[run][seq - range->first];
            bool there = is_present(t, seq);

            CHECK(t, said != 1 + HELIOS_COMMIT_KEPT || there, seq);
            CHECK(t, said != 1 + HELIOS_COMMIT_LOST || !there, seq);
            CHECK(t, helios_commit_state(t->db, seq) == (there ? HELIOS_COMMIT_KEPT : HELIOS_COMMIT_LOST), seq);
            t->said[run][seq - range->first] = there ? 1 + HELIOS_COMMIT_KEPT : 1 + HELIOS_COMMIT_LOST;
        }
        beyond = run < t->run ? t->handed_out[run + 1].first - 1 : next - 1;
        if (range->last < beyond) { /* skipped by the open */
            CHECK(t, helios_commit_state(t->db, range->last + 1) == HELIOS_COMMIT_LOST, range->last + 1);
            CHECK(t, helios_commit_state(t->db, beyond) == HELIOS_COMMIT_LOST, beyond);
        }
    }
    CHECK(t, helios_commit_state(t->db, 0) == HELIOS_COMMIT_LOST, 0);
    CHECK(t, helios_commit_state(t->db, next) == HELIOS_COMMIT_LOST, next);
    CHECK(t, helios_commit_state(t->db, HELIOS_SEQ_NONE) == HELIOS_COMMIT_LOST, HELIOS_SEQ_NONE);
}

/* ---- one run after the other on the same files ---- */

static void plan_trouble(struct test *t, struct random *rng)
{
    struct io_fault fault = {
        .fail_at = 1 + random_below(rng, 40), .error_number = EIO, .path_contains = ".wal"};

    if (t->trouble == POWER_CUT) {
        io_faulty_stop_at(t->fs, 1 + random_below(rng, 150));
        return;
    }
    fault.mask = t->trouble == REFUSED_WRITE ? 1u << IO_CALL_WRITE : 1u << IO_CALL_SYNC;
    fault.sync_drops_pages = random_below(rng, 2);
    if (t->trouble == REFUSED_WRITE)
        fault.fail_at *= 3;
    io_faulty_plan(t->fs, &fault);
}

static void db_open(struct test *t)
{
    CHECK(t, engine_open(t->fs, "/db", &t->options, &t->db) == HELIOS_OK, 0);
}

static void run_once(struct test *t, struct random *rng)
{
    t->handed_out[t->run].first = next_number(t);
    plan_trouble(t, rng);
    write_until_trouble(t);
    ask_all(t);
    t->handed_out[t->run].last = next_number(t) - 1;
    if (random_below(rng, 2)) { /* a close syncs what it can, and so decides more */
        (void)!helios_close(t->db);
        io_faulty_plan(t->fs, NULL);
    } else {
        io_faulty_plan(t->fs, NULL);
        io_faulty_stop_at(t->fs, 1);
        (void)!helios_close(t->db);
    }
    io_faulty_power_cut(t->fs, (enum io_damage)random_below(rng, IO_DAMAGE_COUNT), t->seed + t->run);
    db_open(t);
    judge(t);
}

static void test_fates(uint64_t seed, enum trouble trouble, bool threads, bool mapped)
{
    struct test *t = calloc(1, sizeof(*t));
    struct random rng;

    t->seed = seed;
    t->trouble = trouble;
    t->threads = threads;
    t->mapped = mapped;
    t->options = (helios_options)HELIOS_OPTIONS_INIT;
    t->options.memtable_bytes = 256 << 10;
    t->options.history_retention = HELIOS_FOREVER;
    random_seed(&rng, seed);
    CHECK(t, io_faulty_new(seed, &t->fs) == HELIOS_OK, 0);
    if (!mapped)
        io_faulty_unmap(t->fs);
    db_open(t);
    for (t->run = 0; t->run < RUNS; t->run++)
        run_once(t, &rng);
    t->run--;
    CHECK(t, helios_close(t->db) == HELIOS_OK, 0);
    t->options.read_only = true;
    db_open(t); /* closed cleanly: read-only knows as much */
    judge(t);
    CHECK(t, helios_close(t->db) == HELIOS_OK, 0);
    io_free(t->fs);
    free(t);
}

/* In memory there is nothing to survive. */
static void test_in_memory(void)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_db *db = NULL;

    options.in_memory = true;
    assert(helios_open("memory", &options, &db) == HELIOS_OK);
    assert(helios_commit_state(db, 1) == HELIOS_COMMIT_LOST);
    assert(helios_put(db, NULL, slice_text("k"), slice_text("v")) == HELIOS_OK);
    assert(helios_commit_state(db, 1) == HELIOS_COMMIT_KEPT);
    assert(helios_commit_state(db, 2) == HELIOS_COMMIT_LOST);
    assert(helios_flush(db) == HELIOS_OK);
    assert(helios_commit_state(db, 1) == HELIOS_COMMIT_KEPT);
    assert(helios_commit_state(NULL, 1) == HELIOS_COMMIT_LOST);
    assert(helios_close(db) == HELIOS_OK);
}

/* Unlogged commits wait for their flush; logged ones among them do not. */
static void test_unlogged(void)
{
    helios_write_options none = HELIOS_WRITE_OPTIONS_INIT, sync = HELIOS_WRITE_OPTIONS_INIT;
    helios_options options = HELIOS_OPTIONS_INIT;
    struct io_fs *fs = NULL;
    helios_db *db = NULL;

    none.durability = HELIOS_DURABILITY_NONE;
    sync.durability = HELIOS_DURABILITY_SYNC;
    assert(io_faulty_new(1, &fs) == HELIOS_OK);
    assert(engine_open(fs, "/db", &options, &db) == HELIOS_OK);
    for (int i = 0; i < 6; i++)
        assert(helios_put(db, i % 2 ? &sync : &none, slice_text("k"), slice_text("v")) == HELIOS_OK);
    for (helios_seq seq = 1; seq <= 6; seq++)
        assert(helios_commit_state(db, seq) == (seq % 2 ? HELIOS_COMMIT_UNKNOWN : HELIOS_COMMIT_KEPT));
    assert(helios_flush(db) == HELIOS_OK);
    for (helios_seq seq = 1; seq <= 6; seq++)
        assert(helios_commit_state(db, seq) == HELIOS_COMMIT_KEPT);
    assert(helios_close(db) == HELIOS_OK);
    io_free(fs);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 6;

    printf("seed %" PRIu64 "\n", seed);
    test_in_memory();
    test_unlogged();
    for (uint64_t round = 0; round < rounds; round++)
        for (int trouble = 0; trouble < TROUBLE_COUNT; trouble++)
            for (int threads = 0; threads < 2; threads++) {
                test_fates(seed + round, (enum trouble)trouble, threads, false);
                if (trouble != REFUSED_WRITE) /* a mapping takes what a write refuses */
                    test_fates(seed + round, (enum trouble)trouble, threads, true);
            }
    return 0;
}
