/* test_deltas.c - net changes of tables through the public API.
 *
 * First cases by name. Then a view that is kept by deltas alone: a copy of three tables, and of each group of rows their
 * number and the sum of their sizes, written with the acknowledgement of each window; over random puts, deletes, ranges, batches,
 * transactions, merges, commits through tables, flushes, compactions, reopening, power cuts and windows that are never
 * acknowledged, with budgets from one byte on. Whatever happens, what the view shows is the tables as they were at the
 * consumer's position; each window is the difference between its two points.
 * Usage: test_deltas [--seed S] [--steps N] [--threads BATCHES: beside writers, instead] */
#undef NDEBUG
#include "base/buf.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/slice.h"
#include "base/thread.h"
#include "engine/feed.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { TABLES = 3, GROUPS = 4, ROWS = 24, LARGE = 300000, OPS_MAX = 10 };

#define BYTES(s)                                                                                               \
    {                                                                                                          \
        (s), sizeof(s) - 1                                                                                     \
    }

/* Names that begin alike, with an end that no name has in it. */
static const helios_delta_table tables[TABLES] = {
    {0, BYTES("a\0")},
    {0, BYTES("a:b\0")},
    {0, BYTES("ab\0")},
};

static helios_db *db;
static struct io_fs *fs;
static helios_options options;
static struct random rng;
static uint64_t seed = 1, step;
static const char *path = "/deltas";

#define MUST(call) must((call), #call, __LINE__)
static void must(helios_status status, const char *what, int line)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "line %d, seed %" PRIu64 ", step %" PRIu64 ": %s: %s %s\n", line, seed, step, what,
            helios_status_name(status), helios_last_error());
    abort();
}
#define CHECK(x)                                                                                               \
    do {                                                                                                       \
        if (!(x)) {                                                                                            \
            fprintf(stderr, "line %d, seed %" PRIu64 ", step %" PRIu64 ": not so: %s (%s)\n", __LINE__, seed,  \
                    step, #x, helios_last_error());                                                            \
            abort();                                                                                           \
        }                                                                                                      \
    } while (0)

static uint32_t below(uint32_t limit)
{
    return (uint32_t)random_below(&rng, limit);
}

static void open_db(void)
{
    MUST(engine_open(fs, path, &options, &db));
}

static void begin_on(struct io_fs *files)
{
    fs = files;
    options = (helios_options)HELIOS_OPTIONS_INIT;
    options.memtable_bytes = 128 * 1024;
    options.history_retention = HELIOS_FOREVER;
    options.feed_retention = HELIOS_FOREVER;
    open_db();
}

static void begin_db(void)
{
    struct io_fs *files;

    MUST(io_faulty_new(seed, &files));
    begin_on(files);
}

static void end_db(void)
{
    MUST(helios_close(db));
    io_free(fs);
}

static void reopen(void)
{
    MUST(helios_close(db));
    open_db();
}

static helios_deltas *deltas_of(const char *consumer, helios_seq since)
{
    helios_deltas_options o = HELIOS_DELTAS_OPTIONS_INIT;
    helios_deltas *d;

    o.tables = tables;
    o.table_count = TABLES;
    o.consumer = consumer;
    o.since = since;
    o.unsynced = true;
    MUST(helios_deltas_new(db, &o, &d));
    return d;
}

/* ---- cases ---- */

static helios_slice key_in(unsigned table, unsigned row, char out[64])
{
    size_t size = tables[table].prefix.size;

    memcpy(out, tables[table].prefix.data, size);
    return slice_make(out, size + (size_t)snprintf(out + size, 64 - size, "%05u", row));
}

static helios_seq put(unsigned table, unsigned row, const char *value)
{
    char key[64];

    MUST(helios_put(db, NULL, key_in(table, row, key), slice_text(value)));
    return helios_latest(db);
}

static helios_seq del(unsigned table, unsigned row)
{
    char key[64];

    MUST(helios_delete(db, NULL, key_in(table, row, key)));
    return helios_latest(db);
}

static bool next(helios_deltas *d, helios_delta *delta)
{
    bool there = helios_deltas_next(d, delta);

    if (!there)
        MUST(helios_deltas_status(d));
    return there;
}

static uint64_t count(helios_deltas *d, size_t table)
{
    uint64_t n = UINT64_MAX;

    MUST(helios_deltas_count(d, table, &n));
    return n;
}

static void expect(helios_deltas *d, unsigned table, helios_delta_kind kind, unsigned row, const char *before,
                   const char *after, helios_seq first, helios_seq last)
{
    helios_delta delta;
    char key[64];
    uint64_t time;

    CHECK(next(d, &delta));
    CHECK(delta.table == table && delta.kind == kind && slice_equal(delta.key, key_in(table, row, key)));
    CHECK(before ? slice_equal(delta.before, slice_text(before)) : !delta.before.data);
    CHECK(after ? slice_equal(delta.after, slice_text(after)) : !delta.after.data);
    CHECK(delta.first_lsn == first && delta.lsn == last && delta.commit == last);
    MUST(helios_time_of_seq(db, delta.commit, &time));
    CHECK(time == delta.time);
}

static void expect_end(helios_deltas *d)
{
    helios_delta delta;

    CHECK(!next(d, &delta));
}

/* An insert: its kind, the new row, no old one; numbers are the commit's, from 1. */
static void case_t_m1_m2_first_insert(void)
{
    helios_deltas *d = deltas_of(NULL, 0);
    helios_delta_window w;

    CHECK(helios_deltas_window(d, 0, &w) == HELIOS_TIMEOUT && helios_deltas_upto(d) == HELIOS_SEQ_NONE);
    CHECK(put(0, 1, "Ann") == 1);
    MUST(helios_deltas_window(d, 0, &w));
    CHECK(w.since == HELIOS_SEQ_NONE && w.upto == 1 && !w.refresh);
    expect(d, 0, HELIOS_DELTA_INSERT, 1, NULL, "Ann", 1, 1);
    expect_end(d);
    CHECK(helios_deltas_window(d, 0, &w) == HELIOS_TIMEOUT && helios_deltas_upto(d) == 1);
    helios_deltas_free(d);
}

static void case_t_m3_since_a_time(void)
{
    helios_deltas_options o = HELIOS_DELTAS_OPTIONS_INIT;
    helios_delta_window w;
    helios_deltas *d;

    put(0, 1, "Ann");
    o.tables = tables;
    o.table_count = TABLES;
    o.since_time = io_time(fs) - 60 * 1000000;
    MUST(helios_deltas_new(db, &o, &d));
    MUST(helios_deltas_window(d, UINT64_MAX, &w));
    CHECK(count(d, 0) == 1 && count(d, 1) == 0);
    helios_deltas_free(d);
    MUST(helios_time_of_seq(db, 1, &o.since_time)); /* inclusive */
    MUST(helios_deltas_new(db, &o, &d));
    MUST(helios_deltas_window(d, UINT64_MAX, &w));
    expect(d, 0, HELIOS_DELTA_INSERT, 1, NULL, "Ann", 1, 1);
    helios_deltas_free(d);
    o.since_time++;
    MUST(helios_deltas_new(db, &o, &d));
    CHECK(helios_deltas_window(d, 0, &w) == HELIOS_TIMEOUT);
    helios_deltas_free(d);
    o.since = 1;
    CHECK(helios_deltas_new(db, &o, &d) == HELIOS_INVALID);
}

static void case_t_m4_counts(void)
{
    helios_deltas *d;
    helios_delta_window w;
    uint64_t n;

    put(0, 1, "Ann");
    put(2, 1, "apple");
    put(0, 2, "Bob");
    d = deltas_of(NULL, 0);
    MUST(helios_deltas_window(d, 0, &w));
    CHECK(count(d, 0) == 2 && count(d, 1) == 0 && count(d, 2) == 1);
    CHECK(helios_deltas_count(d, TABLES, &n) == HELIOS_INVALID);
    helios_deltas_free(d);
}

static void case_d01_round_trip_of_update_and_delete(void)
{
    helios_deltas *d;
    helios_delta_window w;
    helios_seq since, first, last;

    put(0, 1, "Ann");
    since = put(0, 2, "Bob");
    first = put(0, 1, "Anna");
    last = del(0, 2);
    reopen();
    d = deltas_of(NULL, since);
    MUST(helios_deltas_window(d, 0, &w));
    CHECK(w.since == since && w.upto == last);
    expect(d, 0, HELIOS_DELTA_UPDATE, 1, "Ann", "Anna", first, first);
    expect(d, 0, HELIOS_DELTA_DELETE, 2, "Bob", NULL, last, last);
    expect_end(d);
    helios_deltas_free(d);
}

/* The id of a transaction is its commit's number, the same for all of its rows. */
static void case_d02_real_commit_numbers(void)
{
    helios_batch *batch = helios_batch_new();
    helios_deltas *d = deltas_of(NULL, 0);
    helios_delta_window w;
    helios_delta delta;
    helios_seq commit, lsn = 0;
    char key[64];

    for (unsigned row = 1; row <= 3; row++)
        helios_batch_put(batch, key_in(row % 2, row, key), slice_text("x"));
    MUST(helios_write(db, NULL, batch, &commit));
    helios_batch_free(batch);
    MUST(helios_deltas_window(d, 0, &w));
    CHECK(w.upto == commit);
    for (int i = 0; i < 3; i++) {
        CHECK(next(d, &delta) && delta.commit == commit && delta.lsn <= commit);
        CHECK(delta.table || delta.lsn > lsn);
        lsn = delta.lsn;
    }
    expect_end(d);
    helios_deltas_free(d);
}

static void acknowledge_in_batch(const char *consumer, helios_seq upto)
{
    helios_batch *batch = helios_batch_new();

    helios_batch_ack(batch, consumer, upto);
    MUST(helios_write(db, NULL, batch, NULL));
    helios_batch_free(batch);
}

/* Positions outlive every end of the program: nothing twice, nothing missing, no number again. */
static void case_d03_d12_restart(void)
{
    helios_delta_window w;
    helios_deltas *d = deltas_of("view", 0);
    helios_seq one = put(0, 1, "one"), two;

    MUST(helios_deltas_window(d, 0, &w));
    expect(d, 0, HELIOS_DELTA_INSERT, 1, NULL, "one", one, one);
    helios_deltas_free(d);
    reopen();
    d = deltas_of("view", 0); /* not acknowledged: again */
    MUST(helios_deltas_window(d, 0, &w));
    expect(d, 0, HELIOS_DELTA_INSERT, 1, NULL, "one", one, one);
    acknowledge_in_batch("view", w.upto);
    helios_deltas_free(d);
    reopen();
    d = deltas_of("view", 0);
    CHECK(helios_deltas_window(d, 0, &w) == HELIOS_TIMEOUT);
    two = put(0, 1, "two");
    CHECK(two > one);
    MUST(helios_deltas_window(d, 0, &w));
    expect(d, 0, HELIOS_DELTA_UPDATE, 1, "one", "two", two, two);
    helios_deltas_free(d);
    d = deltas_of(NULL, one);
    MUST(helios_deltas_window(d, 0, &w));
    expect(d, 0, HELIOS_DELTA_UPDATE, 1, "one", "two", two, two);
    helios_deltas_free(d);
}

/* Of other tables nothing is asked: their range deletes cost nothing, and what they have is not read. */
static void case_d04_d06_others_cost_nothing(void)
{
    helios_delta_window w;
    helios_deltas *d;
    char key[64];
    helios_seq last;

    for (unsigned row = 0; row < 100; row++) {
        snprintf(key, sizeof(key), "other%05u", row);
        MUST(helios_put(db, NULL, slice_text(key), slice_text("x")));
    }
    last = put(1, 7, "x");
    MUST(helios_delete_range(db, NULL, slice_text("other"), slice_text("p")));
    d = deltas_of(NULL, 0);
    MUST(helios_deltas_window(d, 0, &w));
    expect(d, 1, HELIOS_DELTA_INSERT, 7, NULL, "x", last, last);
    expect_end(d);
    helios_deltas_free(d);
}

/* What a trim lets go is bounded by the slowest consumer, and gone for all others. */
static void case_d05_purge(void)
{
    helios_delta_window w;
    helios_deltas *fast, *slow;
    uint64_t removed = 0;
    helios_seq at = put(0, 1, "one");

    slow = deltas_of("slow", 0);
    fast = deltas_of("fast", 0);
    MUST(helios_deltas_window(fast, 0, &w));
    acknowledge_in_batch("fast", w.upto);
    MUST(helios_feed_trim(db, helios_latest(db) + 1, &removed));
    CHECK(removed == 0);
    MUST(helios_deltas_window(slow, 0, &w));
    CHECK(!w.refresh);
    acknowledge_in_batch("slow", w.upto);
    MUST(helios_feed_trim(db, helios_latest(db) + 1, &removed));
    CHECK(removed >= 1);
    helios_deltas_free(slow);
    helios_deltas_free(fast);
    fast = deltas_of(NULL, 0);
    MUST(helios_deltas_window(fast, 0, &w));
    CHECK(w.refresh && w.upto > at);
    helios_deltas_free(fast);
}

/* Every way to write: each row of it is a delta. */
static void case_d07_nothing_is_left_out(void)
{
    helios_write_options branch = HELIOS_WRITE_OPTIONS_INIT;
    helios_batch *batch = helios_batch_new();
    helios_deltas *d = deltas_of("view", 0);
    char *large = calloc(1, LARGE), key[64];
    helios_delta_window w;
    helios_delta delta;
    helios_txn *txn;
    unsigned n = 0;

    MUST(helios_txn_begin(db, NULL, &txn));
    MUST(helios_txn_put(txn, key_in(0, 1, key), slice_text("txn")));
    MUST(helios_txn_commit(txn, NULL));
    helios_txn_free(txn);
    for (unsigned row = 2; row < 8; row++)
        helios_batch_put(batch, key_in(0, row, key), slice_make(large, LARGE));
    MUST(helios_write(db, NULL, batch, NULL));
    MUST(helios_branch_create(db, "side", 0, 0, &branch.branch));
    MUST(helios_put(db, &branch, key_in(0, 8, key), slice_text("branch")));
    MUST(helios_branch_merge(db, branch.branch, 0, NULL, NULL));
    while (helios_deltas_window(d, 0, &w) == HELIOS_OK) {
        CHECK(!w.refresh);
        for (; next(d, &delta); n++)
            CHECK(delta.kind == HELIOS_DELTA_INSERT);
    }
    CHECK(n == 8);
    MUST(helios_delete_range(db, NULL, key_in(0, 0, key), slice_text("b")));
    MUST(helios_deltas_window(d, 0, &w));
    for (n = 0; next(d, &delta); n++)
        CHECK(delta.kind == HELIOS_DELTA_DELETE && delta.before.size);
    CHECK(n == 8);
    helios_deltas_free(d);
    helios_batch_free(batch);
    free(large);
}

/* Commits of one time, or after a clock that stepped back, are apart by their numbers. */
static void case_d08_since_is_exact(void)
{
    helios_delta_window w;
    helios_seq at[4];

    io_faulty_set_time(fs, 5000000, 5000000);
    for (unsigned i = 0; i < 4; i++) {
        at[i] = put(0, i, "x");
        if (i == 1)
            io_faulty_set_time(fs, 4000000, 5000000);
    }
    for (unsigned i = 0; i < 4; i++) {
        helios_deltas *d = deltas_of(NULL, i ? at[i - 1] : 0);

        MUST(helios_deltas_window(d, 0, &w));
        CHECK(count(d, 0) == 4 - i);
        expect(d, 0, HELIOS_DELTA_INSERT, i, NULL, "x", at[i], at[i]);
        helios_deltas_free(d);
    }
}

/* An update of a row that was not there is an insert. */
static void case_d10_unknown_row(void)
{
    helios_deltas *d = deltas_of(NULL, 0);
    helios_delta_window w;
    helios_seq at;

    del(0, 1);
    CHECK(helios_deltas_window(d, 0, &w) == HELIOS_TIMEOUT);
    at = put(0, 1, "new");
    MUST(helios_deltas_window(d, 0, &w));
    expect(d, 0, HELIOS_DELTA_INSERT, 1, NULL, "new", at, at);
    helios_deltas_free(d);
}

static void case_d11_sequences_are_merged(void)
{
    helios_deltas *d;
    helios_delta_window w;
    helios_seq since, l[12];

    put(0, 3, "c");
    put(0, 4, "d");
    put(0, 6, "f");
    since = put(0, 5, "e");
    l[0] = put(0, 1, "a1"); /* insert, update */
    put(0, 2, "b");         /* insert, delete */
    l[1] = put(0, 3, "c1"); /* update, update */
    l[2] = put(0, 4, "d1"); /* update, delete */
    l[3] = del(0, 5);       /* delete, insert */
    put(0, 6, "f1");        /* there and back */
    l[4] = put(0, 5, "e1");
    l[5] = del(0, 4);
    l[6] = put(0, 3, "c2");
    del(0, 2);
    l[7] = put(0, 1, "a2");
    put(0, 6, "f");
    d = deltas_of(NULL, since);
    MUST(helios_deltas_window(d, 0, &w));
    CHECK(count(d, 0) == 4);
    expect(d, 0, HELIOS_DELTA_UPDATE, 5, "e", "e1", l[3], l[4]);
    expect(d, 0, HELIOS_DELTA_DELETE, 4, "d", NULL, l[2], l[5]);
    expect(d, 0, HELIOS_DELTA_UPDATE, 3, "c", "c2", l[1], l[6]);
    expect(d, 0, HELIOS_DELTA_INSERT, 1, NULL, "a2", l[0], l[7]);
    expect_end(d);
    helios_deltas_free(d);
}

static void case_d13_names_that_begin_alike(void)
{
    static const helios_delta_table alike[] = {{0, BYTES("a:")}, {0, BYTES("b")}, {0, BYTES("a:b:")}};
    helios_deltas_options o = HELIOS_DELTAS_OPTIONS_INIT;
    helios_delta_window w;
    helios_deltas *d;

    for (unsigned table = 0; table < TABLES; table++)
        put(table, table, "x");
    d = deltas_of(NULL, 0);
    MUST(helios_deltas_window(d, 0, &w));
    for (unsigned table = 0; table < TABLES; table++)
        expect(d, table, HELIOS_DELTA_INSERT, table, NULL, "x", table + 1, table + 1);
    expect_end(d);
    helios_deltas_free(d);
    o.tables = alike;
    o.table_count = 3;
    CHECK(helios_deltas_new(db, &o, &d) == HELIOS_INVALID);
    o.table_count = 2;
    MUST(helios_deltas_new(db, &o, &d));
    helios_deltas_free(d);
    o.table_count = 0;
    CHECK(helios_deltas_new(db, &o, &d) == HELIOS_INVALID);
}

/* A new view of a feed that began later, then its consumer passed by, then the whole feed turned off: each time it is
 * made anew and goes on from there. */
static void case_refresh(void)
{
    helios_delta_window w;
    helios_deltas *d;
    helios_seq at;
    char *large = calloc(1, LARGE), key[64];

    put(0, 1, "before");
    options.feed_retention = 0;
    reopen();
    put(0, 1, "unseen");
    options.feed_retention = HELIOS_FOREVER;
    reopen();
    at = put(0, 1, "seen");
    d = deltas_of("view", 0);
    MUST(helios_deltas_window(d, 0, &w));
    CHECK(w.refresh && w.upto >= at && count(d, 0) == 0);
    helios_deltas_free(d);
    d = deltas_of("view", 0); /* it was not made */
    MUST(helios_deltas_window(d, 0, &w));
    CHECK(w.refresh);
    at = put(0, 1, "while it is made");
    MUST(helios_feed_trim(db, at, NULL)); /* it holds what it goes on with */
    acknowledge_in_batch("view", w.upto);
    MUST(helios_deltas_window(d, 0, &w));
    expect(d, 0, HELIOS_DELTA_UPDATE, 1, "seen", "while it is made", at, at);
    acknowledge_in_batch("view", w.upto);
    helios_deltas_free(d);
    d = deltas_of("view", 0);
    CHECK(helios_deltas_window(d, 0, &w) == HELIOS_TIMEOUT);
    helios_deltas_free(d);

    options.feed_retention_bytes = 64 << 10;
    reopen();
    d = deltas_of("view", 0);
    for (unsigned i = 0; i < 500; i++)
        MUST(helios_put(db, NULL, key_in(1, i, key), slice_make(large, 3000)));
    MUST(helios_flush(db));
    for (int i = 0; i < 200 && feed_first(db) < at + 100; i++) {
        feed_look(db);
        thread_sleep(5000);
    }
    MUST(helios_deltas_window(d, 0, &w));
    CHECK(w.refresh && w.upto == helios_latest(db));
    acknowledge_in_batch("view", w.upto);
    at = put(0, 1, "after");
    MUST(helios_deltas_window(d, 0, &w));
    CHECK(!w.refresh);
    expect(d, 0, HELIOS_DELTA_UPDATE, 1, "while it is made", "after", at, at);
    helios_deltas_free(d);
    options.feed_retention_bytes = 0;
    free(large);
}

/* What other tables and branches write is passed over, so that an acknowledgement lets go of it. */
static void case_quiet_tables(void)
{
    helios_write_options side = HELIOS_WRITE_OPTIONS_INIT;
    helios_deltas *d = deltas_of("view", 0);
    helios_delta_window w;
    uint64_t removed;

    MUST(helios_branch_create(db, "side", 0, 0, &side.branch));
    for (unsigned i = 0; i < 10; i++) {
        MUST(helios_put(db, NULL, slice_text("other"), slice_text("x")));
        MUST(helios_put(db, &side, slice_text("other"), slice_text("x")));
        CHECK(helios_deltas_window(d, i % 2 ? 1000 : 0, &w) == HELIOS_TIMEOUT);
        CHECK(helios_deltas_upto(d) == helios_latest(db));
    }
    acknowledge_in_batch("view", helios_deltas_upto(d));
    MUST(helios_feed_trim(db, helios_latest(db), &removed));
    CHECK(removed > 20);
    helios_deltas_free(d);
}

/* Of a branch: what it wrote itself. What its parent wrote before the fork is no delta of it. */
static void case_branches(void)
{
    helios_write_options side = HELIOS_WRITE_OPTIONS_INIT;
    helios_deltas_options o = HELIOS_DELTAS_OPTIONS_INIT;
    helios_delta_window w;
    helios_deltas *d;
    helios_seq at;
    char key[64];

    put(0, 1, "main");
    MUST(helios_branch_create(db, "side", 0, 0, &side.branch));
    put(0, 1, "main again");
    o.branch = side.branch;
    o.unsynced = true;
    o.since = 0;
    MUST(helios_deltas_new(db, &o, &d));
    MUST(helios_deltas_window(d, 0, &w));
    CHECK(w.refresh);
    MUST(helios_put(db, &side, key_in(0, 1, key), slice_text("side")));
    at = helios_latest(db);
    MUST(helios_deltas_window(d, 0, &w));
    expect(d, 0, HELIOS_DELTA_UPDATE, 1, "main", "side", at, at);
    CHECK(helios_branch_drop(db, side.branch) == HELIOS_BUSY);
    helios_deltas_free(d);
    MUST(helios_branch_drop(db, side.branch));
    CHECK(helios_deltas_new(db, &o, &d) == HELIOS_NOT_FOUND);
}

/* Read-only a consumer is a position, nothing is made or held. */
static void case_read_only(void)
{
    helios_deltas_options o = HELIOS_DELTAS_OPTIONS_INIT;
    helios_delta_window w;
    helios_deltas *d;
    helios_seq one = put(0, 1, "one"), two;

    d = deltas_of("view", 0);
    acknowledge_in_batch("view", one);
    helios_deltas_free(d);
    two = put(0, 1, "two");
    options.read_only = true;
    reopen();
    d = deltas_of("view", 0);
    MUST(helios_deltas_window(d, UINT64_MAX, &w));
    expect(d, 0, HELIOS_DELTA_UPDATE, 1, "one", "two", two, two);
    CHECK(helios_deltas_window(d, UINT64_MAX, &w) == HELIOS_TIMEOUT);
    helios_deltas_free(d);
    d = deltas_of(NULL, 0);
    MUST(helios_deltas_window(d, 0, &w));
    expect(d, 0, HELIOS_DELTA_INSERT, 1, NULL, "two", one, two);
    helios_deltas_free(d);
    o.consumer = "nobody";
    CHECK(helios_deltas_new(db, &o, &d) == HELIOS_NOT_FOUND);
    options.read_only = false;
    reopen();
    MUST(helios_feed_trim(db, two, NULL));
    options.read_only = true;
    reopen();
    d = deltas_of(NULL, 0);
    MUST(helios_deltas_window(d, 0, &w));
    CHECK(w.refresh && w.upto >= two);
    helios_deltas_free(d);
    options.read_only = false;
}

static void case_arguments(void)
{
    helios_deltas_options o = HELIOS_DELTAS_OPTIONS_INIT;
    const helios_delta_table index = {.space = 2};
    helios_deltas *d = NULL, *other = NULL;
    helios_delta_window w;
    helios_delta delta;
    uint64_t n;

    put(0, 1, "x");
    CHECK(helios_deltas_new(NULL, NULL, &d) == HELIOS_INVALID);
    CHECK(helios_deltas_new(db, NULL, NULL) == HELIOS_INVALID);
    o.tables = &index;
    o.table_count = 1;
    CHECK(helios_deltas_new(db, &o, &d) == HELIOS_INVALID);
    o = (helios_deltas_options)HELIOS_DELTAS_OPTIONS_INIT;
    o.since = 100;
    CHECK(helios_deltas_new(db, &o, &d) == HELIOS_INVALID);
    o.since = HELIOS_SEQ_NONE;
    o.branch = 77;
    CHECK(helios_deltas_new(db, &o, &d) == HELIOS_NOT_FOUND);
    o.branch = 0;
    o.consumer = "";
    CHECK(helios_deltas_new(db, &o, &d) == HELIOS_INVALID);
    o.consumer = "view";
    MUST(helios_deltas_new(db, &o, &d));
    CHECK(helios_deltas_new(db, &o, &other) == HELIOS_BUSY);
    CHECK(helios_close(db) == HELIOS_BUSY);
    CHECK(helios_deltas_window(NULL, 0, &w) == HELIOS_INVALID);
    CHECK(helios_deltas_window(d, 0, NULL) == HELIOS_INVALID);
    CHECK(helios_deltas_count(NULL, 0, &n) == HELIOS_INVALID && helios_deltas_upto(NULL) == 0);
    CHECK(helios_deltas_status(NULL) == HELIOS_INVALID && !helios_deltas_next(NULL, &delta));
    CHECK(!helios_deltas_next(d, &delta) && helios_deltas_status(d) == HELIOS_OK); /* no window yet */
    helios_deltas_free(d);
    helios_deltas_free(NULL);
    options.feed_retention = 0;
    reopen();
    CHECK(helios_deltas_new(db, NULL, &d) == HELIOS_UNSUPPORTED);
}

static void run_cases(void)
{
    static void (*const cases[])(void) = {
        case_t_m1_m2_first_insert,
        case_t_m3_since_a_time,
        case_t_m4_counts,
        case_d01_round_trip_of_update_and_delete,
        case_d02_real_commit_numbers,
        case_d03_d12_restart,
        case_d04_d06_others_cost_nothing,
        case_d05_purge,
        case_d07_nothing_is_left_out,
        case_d08_since_is_exact,
        case_d10_unknown_row,
        case_d11_sequences_are_merged,
        case_d13_names_that_begin_alike,
        case_refresh,
        case_quiet_tables,
        case_read_only,
        case_branches,
        case_arguments,
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        step = i;
        begin_db();
        cases[i]();
        end_db();
    }
}

/* ---- a view that is kept by deltas ---- */

struct group {
    uint64_t rows, bytes;
};

static helios_slice view_key(const char *kind, helios_slice key, helios_buf *out)
{
    out->size = 0;
    MUST(buf_append(out, kind, strlen(kind)));
    MUST(buf_append(out, key.data, key.size));
    return buf_slice(out);
}

/* Of a table's rows, by the last digit. */
static unsigned group_of(helios_slice key)
{
    return slice_bytes(key)[key.size - 1] % GROUPS;
}

static void load_groups(struct group groups[TABLES][GROUPS])
{
    helios_buf value = {0};

    memset(groups, 0, TABLES * sizeof(*groups));
    if (helios_get(db, NULL, slice_text("view groups"), &value) == HELIOS_OK) {
        CHECK(value.size == TABLES * sizeof(*groups));
        memcpy(groups, value.data, value.size);
    }
    helios_buf_free(&value);
}

static void count_in(struct group *group, helios_slice value)
{
    if (!value.data)
        return;
    group->rows++;
    group->bytes += value.size;
}

static void count_out(struct group *group, helios_slice value)
{
    if (!value.data)
        return;
    CHECK(group->rows > 0 && group->bytes >= value.size);
    group->rows--;
    group->bytes -= value.size;
}

/* The commit that made a row what it is at a point. */
static helios_seq last_change(helios_slice key, helios_seq at)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_history *history;
    helios_version version;

    read.at = at;
    MUST(helios_history_new(db, &read, key, &history));
    CHECK(helios_history_next(history, &version));
    helios_history_free(history);
    return version.seq;
}

/* Between the window's two points, in one table. */
static uint64_t count_differences(const helios_delta_window *w, unsigned table)
{
    helios_diff_options o = HELIOS_DIFF_OPTIONS_INIT;
    helios_diff_counts counts;
    char end[8];

    o.lower = tables[table].prefix;
    memcpy(end, o.lower.data, o.lower.size);
    end[o.lower.size - 1]++;
    o.upper = slice_make(end, o.lower.size);
    MUST(helios_diff_count(db, (helios_point){0, w->since}, (helios_point){0, w->upto}, &o, &counts));
    return counts.added + counts.removed + counts.changed;
}

static void check_side(helios_slice key, helios_seq at, helios_slice value)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_buf found = {0};
    helios_status status;

    read.at = at;
    status = helios_get(db, &read, key, &found);
    CHECK(value.data ? status == HELIOS_OK && slice_equal(buf_slice(&found), value)
                     : status == HELIOS_NOT_FOUND);
    helios_buf_free(&found);
}

/* A delta of a row, each row once, as it is at both points, by the commit that last wrote it. */
static void check_delta(const helios_delta_window *w, const helios_delta *delta)
{
    helios_seq made;

    CHECK(delta->table < TABLES && slice_starts_with(delta->key, tables[delta->table].prefix));
    CHECK((delta->kind != HELIOS_DELTA_INSERT) == (delta->before.data != NULL));
    CHECK((delta->kind != HELIOS_DELTA_DELETE) == (delta->after.data != NULL));
    CHECK(!delta->before.data || !delta->after.data || !slice_equal(delta->before, delta->after));
    check_side(delta->key, w->since, delta->before);
    check_side(delta->key, w->upto, delta->after);
    CHECK(delta->first_lsn <= delta->lsn && delta->lsn <= delta->commit && delta->commit <= w->upto);
    CHECK(w->since == HELIOS_SEQ_NONE || delta->first_lsn > w->since);
    made = last_change(delta->key, w->upto);
    CHECK(made >= delta->first_lsn && made <= delta->commit);
    CHECK(made == delta->commit ||
          delta->kind == HELIOS_DELTA_DELETE); /* which may put and delete it once more */
}

static void add_delta(helios_batch *batch, struct group groups[TABLES][GROUPS], const helios_delta *delta)
{
    struct group *group = &groups[delta->table][group_of(delta->key)];
    helios_buf key = {0};

    view_key("view ", delta->key, &key);
    if (delta->after.data)
        helios_batch_put(batch, buf_slice(&key), delta->after);
    else
        helios_batch_delete(batch, buf_slice(&key));
    count_out(group, delta->before);
    count_in(group, delta->after);
    helios_buf_free(&key);
}

static void add_all(helios_batch *batch, struct group groups[TABLES][GROUPS], const helios_delta_window *w,
                    helios_deltas *d)
{
    uint64_t seen[TABLES] = {0};
    helios_seq last_lsn = 0;
    size_t last_table = 0;
    helios_delta delta;

    while (next(d, &delta)) {
        check_delta(w, &delta);
        CHECK(delta.table >= last_table);
        CHECK(delta.table > last_table || delta.lsn >= last_lsn);
        last_table = delta.table;
        last_lsn = delta.lsn;
        seen[delta.table]++;
        add_delta(batch, groups, &delta);
    }
    for (unsigned table = 0; table < TABLES; table++)
        CHECK(seen[table] == count_differences(w, table) && seen[table] == count(d, table));
}

static helios_iter *rows_of(unsigned table, helios_seq at)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    static char end[8];
    helios_iter *it;

    read.lower = tables[table].prefix;
    memcpy(end, read.lower.data, read.lower.size);
    end[read.lower.size - 1]++;
    read.upper = slice_make(end, read.lower.size);
    read.at = at;
    MUST(helios_iter_new(db, &read, &it));
    helios_iter_first(it);
    return it;
}

static void make_anew(helios_batch *batch, struct group groups[TABLES][GROUPS], helios_seq at)
{
    helios_buf key = {0};

    memset(groups, 0, TABLES * sizeof(*groups));
    helios_batch_delete_range(batch, slice_text("view "), slice_text("view!"));
    for (unsigned table = 0; table < TABLES; table++) {
        helios_iter *it = rows_of(table, at);

        for (; helios_iter_valid(it); helios_iter_next(it)) {
            view_key("view ", helios_iter_key(it), &key);
            helios_batch_put(batch, buf_slice(&key), helios_iter_value(it));
            count_in(&groups[table][group_of(helios_iter_key(it))], helios_iter_value(it));
        }
        MUST(helios_iter_status(it));
        helios_iter_free(it);
    }
    helios_buf_free(&key);
}

/* Whatever has happened, the view is the tables as they were where its consumer stands. */
static void check_view(void)
{
    struct group shown[TABLES][GROUPS], counted[TABLES][GROUPS] = {0};
    helios_consumer_info *list;
    helios_seq at = HELIOS_SEQ_NONE;
    helios_buf key = {0}, value = {0};
    uint64_t n = 0, rows = 0;
    size_t consumers;

    MUST(helios_consumer_list(db, &list, &consumers));
    if (consumers && list[0].acked)
        at = list[0].acked;
    helios_free(list);
    load_groups(shown);
    for (unsigned table = 0; table < TABLES; table++) {
        helios_iter *it = rows_of(table, at);

        for (; helios_iter_valid(it); helios_iter_next(it), n++) {
            MUST(helios_get(db, NULL, view_key("view ", helios_iter_key(it), &key), &value));
            CHECK(slice_equal(buf_slice(&value), helios_iter_value(it)));
            count_in(&counted[table][group_of(helios_iter_key(it))], helios_iter_value(it));
        }
        helios_iter_free(it);
        for (unsigned g = 0; g < GROUPS; g++) {
            CHECK(shown[table][g].rows == counted[table][g].rows);
            CHECK(shown[table][g].bytes == counted[table][g].bytes);
            rows += shown[table][g].rows;
        }
    }
    CHECK(rows == n);
    helios_buf_free(&key);
    helios_buf_free(&value);
}

/* A power cut may take back an acknowledgement after the history that it let go of: the view is then made anew. */
static bool still_there(void)
{
    helios_consumer_info *list;
    helios_status status = HELIOS_OK;
    helios_snapshot *snapshot = NULL;
    size_t consumers;

    MUST(helios_consumer_list(db, &list, &consumers));
    if (consumers && list[0].acked)
        status = helios_snapshot_new(db, list[0].acked, &snapshot);
    helios_free(list);
    helios_snapshot_free(db, snapshot);
    CHECK(status == HELIOS_OK || status == HELIOS_HISTORY_GONE);
    return status == HELIOS_OK;
}

/* ---- what changes the tables ---- */

static helios_slice random_value(char out[128])
{
    size_t size = below(3) ? below(8) : below(128);

    memset(out, 'a' + (int)below(3), size);
    return slice_make(out, size);
}

/* A row, or now and then something beside the tables. */
static helios_slice random_key(char out[64])
{
    if (below(8) == 0)
        return slice_make(out, (size_t)snprintf(out, 64, "a%u", below(3)));
    return key_in(below(TABLES), below(ROWS), out);
}

static void random_range(char from[64], char to[64], helios_slice *low, helios_slice *high)
{
    *low = below(6) ? random_key(from) : slice_text("a");
    *high = below(6) ? random_key(to) : slice_text("b");
}

static void random_batch(const helios_write_options *w, bool large)
{
    helios_batch *batch = helios_batch_new();
    static char big[LARGE];
    char a[64], b[64], value[128];
    helios_slice low, high;

    for (unsigned n = large ? 6 : 1 + below(OPS_MAX); n > 0; n--) {
        unsigned dice = below(10);

        if (dice == 0) {
            random_range(a, b, &low, &high);
            helios_batch_delete_range(batch, low, high);
        } else if (dice < 3) {
            helios_batch_delete(batch, random_key(a));
        } else {
            helios_batch_put(batch, random_key(a), large ? slice_make(big, LARGE) : random_value(value));
        }
    }
    big[0]++;
    MUST(helios_write(db, w, batch, NULL));
    helios_batch_free(batch);
}

static void random_txn(void)
{
    helios_txn *txn;
    char a[64], b[64], value[128];
    helios_slice low, high;

    MUST(helios_txn_begin(db, NULL, &txn));
    for (unsigned n = 1 + below(4); n > 0; n--)
        MUST(helios_txn_put(txn, random_key(a), random_value(value)));
    if (below(4) == 0) {
        random_range(a, b, &low, &high);
        MUST(helios_txn_delete_range(txn, low, high));
    }
    MUST(helios_txn_commit(txn, NULL));
    helios_txn_free(txn);
}

/* Made, written, merged into main and dropped, with other changes of main in between. */
static helios_branch_id side;

static void random_branch(void)
{
    helios_write_options w = HELIOS_WRITE_OPTIONS_INIT;
    helios_merge_options m = HELIOS_MERGE_OPTIONS_INIT;
    helios_merge_result result;

    if (!side) {
        MUST(helios_branch_create(db, "side", 0, 0, &side));
        return;
    }
    w.branch = side;
    if (below(3)) {
        random_batch(&w, false);
        return;
    }
    m.strategy = HELIOS_MERGE_THEIRS;
    MUST(helios_branch_merge(db, side, 0, &m, &result));
    if (below(2)) {
        MUST(helios_branch_drop(db, side));
        side = 0;
    }
}

static void random_change(void)
{
    char a[64], b[64], value[128];
    helios_slice low, high;
    unsigned dice = below(100);

    if (dice < 40) {
        MUST(helios_put(db, NULL, random_key(a), random_value(value)));
    } else if (dice < 55) {
        MUST(helios_delete(db, NULL, random_key(a)));
    } else if (dice < 60) {
        random_range(a, b, &low, &high);
        MUST(helios_delete_range(db, NULL, low, high));
    } else if (dice < 80) {
        random_batch(NULL, false);
    } else if (dice < 81) {
        random_batch(NULL, true);
    } else if (dice < 90) {
        random_txn();
    } else {
        random_branch();
    }
}

/* ---- keeping it ---- */

static helios_deltas *view;

static void open_view(void)
{
    static const size_t budgets[] = {1, 300, 2000, 20000, 0};
    helios_deltas_options o = HELIOS_DELTAS_OPTIONS_INIT;

    if (view)
        return;
    o.tables = tables;
    o.table_count = TABLES;
    o.consumer = "view";
    o.unsynced = below(4) != 0;
    o.memory = budgets[below(5)];
    MUST(helios_deltas_new(db, &o, &view));
}

static void close_view(void)
{
    helios_deltas_free(view);
    view = NULL;
}

static void cut_power(void)
{
    close_view();
    io_faulty_stop_at(fs, 1);
    if (helios_close(db) != HELIOS_OK) {
        /* the machine has stopped */
    }
    io_faulty_stop_at(fs, UINT64_MAX);
    io_faulty_power_cut(fs, below(2) ? IO_DAMAGE_KEEP_ALL : IO_DAMAGE_DROP_ALL, seed + step);
    open_db();
    side = 0;
    if (helios_branch_find(db, "side", &side) != HELIOS_OK)
        side = 0;
}

/* One window into the view; false: there was none. Now and then the program ends between window and acknowledgement. */
static bool keep_view(void)
{
    struct group groups[TABLES][GROUPS];
    helios_delta_window w;
    helios_batch *batch;
    helios_status status;

    open_view();
    status = helios_deltas_window(view, 0, &w);
    if (status == HELIOS_TIMEOUT) {
        if (below(4) == 0 && helios_deltas_upto(view) != HELIOS_SEQ_NONE)
            acknowledge_in_batch("view", helios_deltas_upto(view));
        return false;
    }
    MUST(status);
    batch = helios_batch_new();
    load_groups(groups);
    if (w.refresh)
        make_anew(batch, groups, w.upto);
    else
        add_all(batch, groups, &w, view);
    helios_batch_put(batch, slice_text("view groups"), slice_make(groups, sizeof(groups)));
    helios_batch_ack(batch, "view", w.upto);
    if (below(10) == 0)
        close_view(); /* and nothing is written */
    else
        MUST(helios_write(db, NULL, batch, NULL));
    helios_batch_free(batch);
    if (view || still_there())
        check_view();
    return true;
}

static void random_step(void)
{
    unsigned dice = below(200);

    if (dice < 150) {
        random_change();
    } else if (dice < 185) {
        for (unsigned n = below(4) ? 1 : 1000; n > 0 && keep_view(); n--)
            ;
    } else if (dice < 189) {
        close_view();
    } else if (dice < 192) {
        MUST(helios_flush(db));
    } else if (dice < 194) {
        MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    } else if (dice < 196) {
        MUST(helios_feed_trim(db, below((uint32_t)helios_latest(db) + 2), NULL));
    } else if (dice < 198) {
        cut_power();
        if (still_there())
            check_view();
    } else {
        close_view();
        options.history_retention = below(2) ? HELIOS_FOREVER : 0;
        reopen();
    }
}

static void run_random(uint64_t steps)
{
    begin_db();
    options.history_retention = below(2) ? HELIOS_FOREVER : 0;
    for (step = 0; step < steps; step++)
        random_step();
    while (keep_view())
        ;
    check_view();
    close_view();
    end_db();
}

/* ---- beside writers ---- */

enum { WRITERS = 2 };
static _Atomic int writing;
static uint64_t batches;

static void *write_rows(void *arg)
{
    struct random mine;
    char key[64];

    random_seed(&mine, seed + *(int *)arg);
    for (uint64_t i = 0; i < batches; i++) {
        helios_batch *batch = helios_batch_new();
        uint64_t value = random_next(&mine);

        for (int n = 0; n < 3; n++) {
            helios_slice row =
                key_in((unsigned)random_below(&mine, TABLES), (unsigned)random_below(&mine, ROWS), key);

            if (random_below(&mine, 3))
                helios_batch_put(batch, row, slice_make(&value, sizeof(value)));
            else
                helios_batch_delete(batch, row);
        }
        MUST(helios_write(db, NULL, batch, NULL));
        helios_batch_free(batch);
    }
    atomic_fetch_sub(&writing, 1);
    return NULL;
}

/* A copy in memory, 0: absent. */
static uint64_t copy[TABLES][ROWS];

static uint64_t number(helios_slice value)
{
    uint64_t n = 0;

    if (value.data)
        memcpy(&n, value.data, sizeof(n));
    return n;
}

static unsigned row_in(unsigned table, helios_slice key)
{
    size_t at = tables[table].prefix.size;
    char digits[8] = {0};

    memcpy(digits, (const char *)key.data + at, key.size - at);
    return (unsigned)strtoul(digits, NULL, 10);
}

static void follow(helios_deltas *d)
{
    helios_delta_window w;
    helios_delta delta;
    helios_status status = HELIOS_OK;

    while (status != HELIOS_TIMEOUT || atomic_load(&writing)) {
        status = helios_deltas_window(d, 20000, &w);
        if (status == HELIOS_TIMEOUT)
            continue;
        MUST(status);
        CHECK(!w.refresh);
        while (next(d, &delta)) {
            uint64_t *was = &copy[delta.table][row_in((unsigned)delta.table, delta.key)];

            CHECK(number(delta.before) == *was && number(delta.after) != *was);
            *was = number(delta.after);
        }
        acknowledge_in_batch("follower", w.upto);
    }
}

static void run_threads(uint64_t each)
{
    pthread_t writers[WRITERS];
    struct io_fs *files;
    int numbers[WRITERS];
    helios_deltas *d;

    batches = each;
    MUST(io_memory_new(&files));
    begin_on(files);
    d = deltas_of("follower", 0);
    atomic_store(&writing, WRITERS);
    for (int i = 0; i < WRITERS; i++) {
        numbers[i] = i;
        MUST(thread_start(&writers[i], "writer", write_rows, &numbers[i]));
    }
    follow(d);
    for (int i = 0; i < WRITERS; i++)
        thread_join(writers[i]);
    helios_deltas_free(d);
    for (unsigned table = 0; table < TABLES; table++) {
        helios_iter *it = rows_of(table, 0);

        for (; helios_iter_valid(it); helios_iter_next(it)) {
            uint64_t *was = &copy[table][row_in(table, helios_iter_key(it))];

            CHECK(*was == number(helios_iter_value(it)));
            *was = 0;
        }
        helios_iter_free(it);
        for (unsigned row = 0; row < ROWS; row++)
            CHECK(copy[table][row] == 0);
    }
    end_db();
}

int main(int argc, char **argv)
{
    uint64_t steps = 1500, threads = 0;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--steps") == 0)
            steps = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--threads") == 0)
            threads = strtoull(argv[i + 1], NULL, 10);
    }
    printf("seed %" PRIu64 "\n", seed);
    random_seed(&rng, seed);
    if (threads) {
        run_threads(threads);
        return 0;
    }
    run_cases();
    run_random(steps);
    return 0;
}
