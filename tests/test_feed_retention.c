/* test_feed_retention.c - what of the change feed stays and what goes: trims and bounds, age and bytes, consumers and
 * what they hold, tables of ingested commits; through closes, crashes and checkpoints. On a file system in memory whose
 * clock is the test's. */
#undef NDEBUG
#include "engine/feed.h"
#include "base/random.h"
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH   "/feed"
#define SECOND UINT64_C(1000000)
#define START  (UINT64_C(1700000000) * SECOND)

static struct io_fs *fs;
static helios_options options;
static helios_db *db;
static uint64_t seed = 1;

#define MUST(call)                                                                                             \
    do {                                                                                                       \
        helios_status status_ = (call);                                                                        \
        if (status_ != HELIOS_OK) {                                                                            \
            fprintf(stderr, "%s:%d: seed %" PRIu64 ": %s: %s: %s\n", __FILE__, __LINE__, seed, #call,          \
                    helios_status_name(status_), helios_last_error());                                         \
            abort();                                                                                           \
        }                                                                                                      \
    } while (0)

static helios_slice text(const char *s)
{
    return (helios_slice){s, strlen(s)};
}

static void open_db(void)
{
    MUST(engine_open(fs, PATH, &options, &db));
}

static void reopen(void)
{
    MUST(helios_close(db));
    open_db();
}

/* The machine stops; what was not synced is lost or not. */
static void crash(enum io_damage damage)
{
    io_faulty_stop_at(fs, 1);
    if (helios_close(db) != HELIOS_OK) {
        /* nothing can be closed in order any more */
    }
    io_faulty_power_cut(fs, damage, seed);
    open_db();
}

static void begin(void)
{
    MUST(io_faulty_new(seed, &fs));
    io_faulty_set_time(fs, START, SECOND);
    options = (helios_options)HELIOS_OPTIONS_INIT;
    options.memtable_bytes = 64 << 10;
    options.feed_retention = HELIOS_FOREVER;
    options.durability = HELIOS_DURABILITY_ASYNC;
}

static void end(void)
{
    MUST(helios_close(db));
    io_free(fs);
}

/* A commit of `count` puts; its number. */
static helios_seq commit(unsigned count)
{
    static unsigned counter;
    helios_batch *batch = helios_batch_new();
    helios_seq seq;
    char key[32];

    for (unsigned i = 0; i < count; i++) {
        snprintf(key, sizeof(key), "key %06u", counter++ % 1000);
        helios_batch_put(batch, text(key), text("value"));
    }
    MUST(helios_write(db, NULL, batch, &seq));
    helios_batch_free(batch);
    return seq;
}

static void check_bounds(helios_seq oldest, helios_seq newest)
{
    helios_seq a = 7, b = 7;

    MUST(helios_feed_bounds(db, &a, &b));
    if (a != oldest || b != newest)
        fprintf(stderr, "bounds %" PRIu64 " %" PRIu64 ", not %" PRIu64 " %" PRIu64 "\n", a, b, oldest, newest);
    assert(a == oldest && b == newest);
}

static uint64_t stat_of(const char *name)
{
    uint64_t value = 0;

    MUST(helios_stat(db, name, &value));
    return value;
}

static uint64_t trim(helios_seq below)
{
    uint64_t removed = 77;

    MUST(helios_feed_trim(db, below, &removed));
    return removed;
}

/* ---- files ---- */

struct names {
    size_t segments, tables;
};

static helios_status count_name(void *arg, const char *name)
{
    struct names *names = arg;
    uint64_t commit, number;

    names->segments += (strstr(name, ".wal") || strstr(name, ".arc")) && !strstr(name, ".tmp");
    names->tables += feed_table_name(name, &commit, &number);
    return HELIOS_OK;
}

static struct names names_in(const char *path)
{
    struct names names = {0};

    MUST(io_list(fs, path, count_name, &names));
    return names;
}

/* ---- no feed ---- */

static void check_refused(void)
{
    helios_batch *batch = helios_batch_new();
    struct feed_consumer *consumer;
    helios_consumer_info *list;
    uint64_t removed;
    helios_seq a, b;
    size_t n;

    assert(helios_feed_bounds(db, &a, &b) == HELIOS_UNSUPPORTED);
    assert(helios_feed_trim(db, 5, &removed) == HELIOS_UNSUPPORTED);
    assert(helios_consumer_list(db, &list, &n) == HELIOS_UNSUPPORTED);
    assert(helios_consumer_drop(db, "name") == HELIOS_UNSUPPORTED);
    assert(feed_consumer_open(db, "name", 0, false, &consumer, &a) == HELIOS_UNSUPPORTED);
    assert(strstr(helios_last_error(), "feed_retention"));
    helios_batch_ack(batch, "name", 1);
    assert(helios_write(db, NULL, batch, NULL) == HELIOS_UNSUPPORTED);
    helios_batch_free(batch);
    assert(stat_of("feed.first") == 0 && stat_of("feed.bytes") == 0);
}

static void test_none(void)
{
    helios_seq last;

    begin();
    options.feed_retention = 0;
    open_db();
    commit(3);
    check_refused();
    MUST(helios_close(db));
    /* Turned on it begins there. */
    options.feed_retention = HELIOS_FOREVER;
    open_db();
    check_bounds(0, 0);
    last = commit(2);
    MUST(helios_sync(db));
    check_bounds(last - 1, last);
    MUST(helios_close(db));
    options.read_only = true; /* it is read, and stays as it is */
    open_db();
    check_bounds(last - 1, last);
    assert(helios_feed_trim(db, last, NULL) == HELIOS_READ_ONLY);
    MUST(helios_close(db));
    options.read_only = false;
    open_db();
    check_bounds(last - 1, last);
    MUST(helios_close(db));
    options.feed_retention = HELIOS_IF_KEPT; /* it is */
    open_db();
    check_bounds(last - 1, last);
    last = commit(1);
    MUST(helios_sync(db));
    check_bounds(last - 2, last);
    MUST(helios_close(db));
    /* Turned off, what was kept goes; on again, it begins anew. */
    options.feed_retention = 0;
    open_db();
    check_refused();
    last = commit(1);
    MUST(helios_close(db));
    options.feed_retention = HELIOS_IF_KEPT; /* it is not */
    open_db();
    check_refused();
    last = commit(1);
    MUST(helios_close(db));
    options.feed_retention = HELIOS_FOREVER;
    open_db();
    check_bounds(0, 0);
    assert(feed_check(db, last) == HELIOS_FEED_TRIMMED);
    MUST(feed_check(db, last + 1));
    end();
}

/* ---- trims and bounds ---- */

static void test_trim(void)
{
    helios_seq c[10];

    begin();
    open_db();
    check_bounds(0, 0);
    assert(trim(100) == 0);
    for (int i = 0; i < 10; i++)
        c[i] = commit(3);
    MUST(helios_sync(db));
    check_bounds(c[0] - 2, c[9]);
    assert(trim(0) == 0 && trim(c[0]) == 0); /* rounded down to a commit */
    check_bounds(c[0] - 2, c[9]);
    assert(trim(c[2]) == 6);
    check_bounds(c[2] - 2, c[9]);
    assert(trim(c[1]) == 0 && trim(HELIOS_SEQ_NONE) == 0);
    assert(feed_check(db, c[1]) == HELIOS_FEED_TRIMMED);
    MUST(feed_check(db, c[2] - 2));
    reopen();
    check_bounds(c[2] - 2, c[9]);
    MUST(helios_flush(db));
    assert(trim(c[4] + 1) == 9);
    crash(IO_DAMAGE_DROP_ALL);
    check_bounds(c[5] - 2, c[9]);
    assert(trim(UINT64_MAX - 1) == 15);
    check_bounds(0, 0);
    assert(feed_first(db) == c[9] + 1);
    c[0] = commit(2);
    MUST(helios_sync(db));
    check_bounds(c[0] - 1, c[0]);
    MUST(helios_feed_trim(db, c[0], NULL));
    check_bounds(c[0] - 1, c[0]);
    end();
}

/* The durable end, and where a crash has cut. */
static void test_crash(void)
{
    helios_seq kept, lost, after;

    begin();
    open_db();
    kept = commit(4);
    MUST(helios_sync(db));
    check_bounds(kept - 3, kept);
    lost = commit(2);
    lost = commit(2);
    assert(feed_last(db, true) == lost && feed_last(db, false) == kept);
    check_bounds(kept - 3, kept);
    crash(IO_DAMAGE_DROP_ALL);
    check_bounds(kept - 3, kept);
    MUST(feed_check(db, kept + 1));
    assert(feed_check(db, lost) == HELIOS_FEED_TRIMMED);
    assert(feed_check(db, lost + 1) == HELIOS_FEED_TRIMMED);
    after = commit(1);
    MUST(helios_sync(db));
    MUST(feed_check(db, after));
    check_bounds(kept - 3, after);
    assert(trim(after) == 4);
    check_bounds(after, after);
    end();
}

/* Segments stay through flushes and opens, and go with the entries. */
static void test_segments(void)
{
    helios_seq first, last = 0, middle = 0;
    size_t before;
    uint64_t bytes;

    begin();
    open_db();
    first = commit(1);
    for (int i = 0; i < 3000; i++) {
        last = commit(10);
        middle = i == 1500 ? last : middle;
    }
    MUST(helios_flush(db));
    MUST(helios_sync(db));
    check_bounds(first, last);
    reopen();
    check_bounds(first, last);
    before = names_in(PATH "/wal").segments;
    bytes = stat_of("feed.bytes");
    assert(before > 8 && bytes > 0);
    assert(trim(middle + 1) == middle - first + 1);
    reopen();
    check_bounds(middle + 1, last);
    assert(names_in(PATH "/wal").segments < before);
    assert(stat_of("feed.bytes") < bytes);
    MUST(helios_close(db));
    options.feed_retention = 0;
    open_db();
    MUST(helios_close(db));
    open_db();
    assert(names_in(PATH "/wal").segments < 8);
    end();
}

/* ---- age and bytes ---- */

static void look_until_past(helios_seq seq)
{
    for (int i = 0; i < 100 && feed_first(db) <= seq; i++) {
        io_faulty_advance(fs, SECOND);
        feed_look(db);
    }
}

static void test_age(void)
{
    helios_seq old, young;

    begin();
    options.feed_retention = 100 * SECOND;
    open_db();
    old = commit(5);
    feed_look(db);
    io_faulty_advance(fs, 60 * SECOND);
    feed_look(db);
    young = commit(5);
    MUST(helios_sync(db));
    feed_look(db);
    check_bounds(old - 4, young);
    io_faulty_advance(fs, 41 * SECOND);
    feed_look(db);
    check_bounds(old + 1, young);
    /* Across an open the wall clock counts. */
    reopen();
    io_faulty_advance(fs, 30 * SECOND);
    feed_look(db);
    check_bounds(old + 1, young);
    MUST(helios_close(db));
    io_faulty_advance(fs, 80 * SECOND);
    open_db();
    look_until_past(young);
    check_bounds(0, 0);
    /* What a consumer has not acknowledged stays. */
    {
        struct feed_consumer *consumer;
        helios_seq acked, last = commit(1);

        MUST(helios_sync(db));
        MUST(feed_consumer_open(db, "slow", 0, false, &consumer, &acked));
        for (int i = 0; i < 400; i++) {
            io_faulty_advance(fs, SECOND);
            feed_look(db);
        }
        assert(feed_first(db) == last);
        MUST(feed_consumer_ack(db, consumer, last));
        look_until_past(last);
        assert(feed_first(db) > last);
        feed_consumer_close(db, consumer);
    }
    end();
}

static void test_bytes(void)
{
    struct feed_consumer *consumer;
    helios_seq first, last = 0, acked, oldest, newest;
    helios_consumer_info *list;
    size_t n;

    begin();
    options.feed_retention_bytes = 256 << 10;
    open_db();
    first = commit(1);
    MUST(feed_consumer_open(db, "slow", 0, true, &consumer, &acked));
    assert(acked == first - 1);
    for (int i = 0; i < 4000; i++)
        last = commit(10);
    MUST(helios_flush(db));
    MUST(helios_sync(db));
    for (int i = 0; i < 200 && stat_of("feed.bytes") > options.feed_retention_bytes; i++) {
        feed_look(db);
        thread_sleep(10000);
    }
    assert(stat_of("feed.bytes") <= options.feed_retention_bytes);
    MUST(helios_feed_bounds(db, &oldest, &newest));
    assert(oldest > first && newest == last && feed_first(db) >= oldest); /* the janitor looks, too */
    assert(stat_of("feed.consumers") == 1 && stat_of("feed.consumers.trimmed") == 1);
    feed_consumer_close(db, consumer);
    assert(feed_consumer_open(db, "slow", 0, true, &consumer, &acked) == HELIOS_FEED_TRIMMED);
    reopen();
    assert(feed_first(db) >= oldest && stat_of("feed.consumers.trimmed") == 1);
    assert(feed_consumer_open(db, "slow", 0, true, &consumer, &acked) == HELIOS_FEED_TRIMMED);
    assert(trim(last) > 0); /* it holds nothing any more */
    MUST(helios_consumer_list(db, &list, &n));
    assert(n == 1 && strcmp(list[0].name, "slow") == 0 && list[0].acked == first - 1);
    helios_free(list);
    MUST(helios_consumer_drop(db, "slow"));
    assert(stat_of("feed.consumers.trimmed") == 0);
    end();
}

/* ---- consumers ---- */

static void check_consumer(const char *name, helios_seq acked, bool before_images, bool is_open)
{
    helios_consumer_info *list = NULL;
    bool found = false;
    size_t n = 0;

    MUST(helios_consumer_list(db, &list, &n));
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0) {
            found = true;
            assert(list[i].acked == acked && list[i].before_images == before_images && list[i].open == is_open);
        }
    assert(found);
    helios_free(list);
}

static void test_consumers(void)
{
    struct feed_consumer *a, *b, *other;
    helios_seq c[8], acked, mine;
    char long_name[300];

    begin();
    open_db();
    for (int i = 0; i < 4; i++)
        c[i] = commit(3);
    MUST(feed_consumer_open(db, "a", 0, false, &a, &acked));
    assert(acked == c[0] - 3);
    MUST(feed_consumer_open(db, "b", c[1], false, &b, &acked));
    assert(acked == c[1] - 1);
    assert(feed_consumer_open(db, "b", c[1], false, &other, &acked) == HELIOS_BUSY);
    assert(feed_consumer_open(db, "", 0, false, &other, &acked) == HELIOS_INVALID);
    assert(feed_consumer_open(db, "a\n", 0, false, &other, &acked) == HELIOS_INVALID);
    memset(long_name, 'x', sizeof(long_name));
    long_name[256] = 0;
    assert(feed_consumer_open(db, long_name, 0, false, &other, &acked) == HELIOS_INVALID);
    assert(feed_consumer_open(db, "c", 100000, false, &other, &acked) == HELIOS_INVALID);
    assert(helios_consumer_drop(db, "b") == HELIOS_BUSY && helios_consumer_drop(db, "c") == HELIOS_NOT_FOUND);
    assert(trim(c[3]) == 0); /* a has acknowledged nothing */
    MUST(feed_consumer_ack(db, a, c[2] - 1));
    assert(feed_consumer_ack(db, a, 100000) == HELIOS_INVALID);
    MUST(feed_consumer_ack(db, a, c[1])); /* older: nothing */
    check_consumer("a", c[2] - 1, false, true);
    assert(trim(c[3]) == 3); /* b is within the second commit */
    feed_consumer_close(db, a);
    feed_consumer_close(db, b);
    crash(IO_DAMAGE_DROP_ALL);
    check_consumer("a", c[2] - 1, false, false);
    check_consumer("b", c[1] - 1, false, false);
    MUST(feed_consumer_open(db, "b", 1, false, &b, &acked)); /* its position wins */
    assert(acked == c[1] - 1);
    feed_consumer_close(db, b);
    MUST(helios_consumer_drop(db, "b"));
    reopen();
    assert(helios_consumer_drop(db, "b") == HELIOS_NOT_FOUND);
    assert(stat_of("feed.consumers") == 1);
    assert(trim(c[3]) == 3);
    assert(feed_consumer_open(db, "b", c[1], false, &b, &acked) == HELIOS_FEED_TRIMMED);
    assert(stat_of("feed.consumers") == 1);
    /* One that has everything goes on behind what a crash cuts. */
    MUST(feed_consumer_open(db, "a", 0, false, &a, &acked));
    mine = commit(1);
    MUST(feed_consumer_ack(db, a, mine));
    feed_consumer_close(db, a);
    commit(5);
    crash(IO_DAMAGE_DROP_ALL);
    MUST(feed_consumer_open(db, "a", 0, false, &a, &acked));
    assert(acked == mine);
    feed_consumer_close(db, a);
    end();
}

/* ---- acknowledgements within a batch ---- */

static helios_status write_with_ack(const char *name, helios_seq lsn, helios_branch_id branch)
{
    helios_write_options how = HELIOS_WRITE_OPTIONS_INIT;
    helios_batch *batch = helios_batch_new();
    helios_status status;

    how.branch = branch;
    helios_batch_put(batch, text("total"), text("sum"));
    helios_batch_ack(batch, name, lsn);
    status = helios_batch_status(batch);
    if (status == HELIOS_OK)
        status = helios_write(db, &how, batch, NULL);
    helios_batch_free(batch);
    return status;
}

static void test_batch_ack(void)
{
    struct feed_consumer *c;
    helios_seq acked, first, last;
    helios_branch_id branch;
    helios_batch *batch = helios_batch_new();

    begin();
    open_db();
    first = commit(10);
    last = commit(10);
    MUST(helios_branch_create(db, "side", 0, 0, &branch));
    assert(write_with_ack("a", first, 0) == HELIOS_NOT_FOUND);
    assert(write_with_ack("", first, 0) == HELIOS_INVALID);
    MUST(feed_consumer_open(db, "a", 0, false, &c, &acked));
    MUST(write_with_ack("a", first, 0));
    check_consumer("a", first, false, true);
    assert(write_with_ack("a", last, branch) == HELIOS_INVALID);
    assert(write_with_ack("a", last + 100000, 0) == HELIOS_INVALID);
    check_consumer("a", first, false, true);
    MUST(helios_sync(db));
    /* Not synced: it comes back with its commit, or not. */
    MUST(write_with_ack("a", last, 0));
    check_consumer("a", last, false, true);
    feed_consumer_close(db, c);
    crash(IO_DAMAGE_DROP_ALL);
    check_consumer("a", first, false, false);
    MUST(write_with_ack("a", last, 0));
    crash(IO_DAMAGE_KEEP_ALL);
    check_consumer("a", last, false, false);
    /* An older one, or several in one batch: the newest is what counts, after a replay too. */
    MUST(write_with_ack("a", first, 0));
    helios_batch_ack(batch, "a", last + 1);
    helios_batch_ack(batch, "a", first);
    helios_batch_put(batch, text("x"), text("y"));
    MUST(helios_write(db, NULL, batch, NULL));
    check_consumer("a", last + 1, false, false);
    crash(IO_DAMAGE_KEEP_ALL);
    check_consumer("a", last + 1, false, false);
    MUST(helios_write(db, NULL, batch, NULL)); /* once more changes nothing of it */
    helios_batch_clear(batch);
    helios_batch_put(batch, text("x"), text("z"));
    MUST(helios_write(db, NULL, batch, NULL));
    check_consumer("a", last + 1, false, false);
    /* A trim relies on what is durable alone. */
    last = commit(1);
    MUST(write_with_ack("a", last, 0));
    assert(trim(last + 1) > 0);
    crash(IO_DAMAGE_DROP_ALL);
    check_consumer("a", last, false, false);
    MUST(feed_consumer_open(db, "a", 0, false, &c, &acked));
    feed_consumer_close(db, c);
    helios_batch_free(batch);
    end();
}

/* With what a large commit brings. */
static void test_large_ack(void)
{
    struct feed_consumer *c;
    helios_batch *batch = helios_batch_new();
    char *value = calloc(1, 200000);
    helios_seq acked, last;

    begin();
    open_db();
    last = commit(10);
    MUST(feed_consumer_open(db, "a", 0, false, &c, &acked));
    feed_consumer_close(db, c);
    helios_batch_put(batch, text("large"), (helios_slice){value, 200000});
    helios_batch_ack(batch, "a", last);
    MUST(helios_write(db, NULL, batch, NULL));
    check_consumer("a", last, false, false);
    assert(names_in(PATH "/wal").tables > 0);
    crash(IO_DAMAGE_DROP_ALL);
    check_consumer("a", last, false, false);
    helios_batch_free(batch);
    free(value);
    end();
}

/* ---- before-images ---- */

static helios_status read_at_point(helios_seq at)
{
    helios_read_options how = HELIOS_READ_OPTIONS_INIT;
    helios_buf value = {0};
    helios_status status;

    how.at = at;
    status = helios_get(db, &how, text("key"), &value);
    helios_buf_free(&value);
    return status;
}

static void put_key(const char *value)
{
    MUST(helios_put(db, NULL, text("key"), text(value)));
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
}

static void check_pin(const char *name, helios_seq at)
{
    helios_pin_info *list;
    bool found = false;
    size_t n;

    MUST(helios_pin_list(db, &list, &n));
    for (size_t i = 0; i < n; i++)
        found |= list[i].kind == HELIOS_PIN_CONSUMER && strcmp(list[i].owner, name) == 0 && list[i].at == at &&
                 list[i].from_on;
    helios_free(list);
    assert(found == (at != 0));
}

/* Unless that commit is durable by now: the log is synced now and then by itself. */
static void check_pin_before(helios_seq commit, const char *name, helios_seq at)
{
    helios_pin_info *list;
    size_t n;

    MUST(helios_pin_list(db, &list, &n));
    for (size_t i = 0; i < n; i++)
        if (list[i].kind == HELIOS_PIN_CONSUMER && strcmp(list[i].owner, name) == 0)
            assert(list[i].at == at || feed_last(db, false) >= commit);
    helios_free(list);
}

static void test_floors(void)
{
    helios_consumer_info *list;
    size_t n;
    struct feed_consumer *c;
    helios_seq acked, point, later;
    pin_id floor;

    begin();
    options.history_retention = 0;
    open_db();
    put_key("one");
    point = commit(1);
    MUST(feed_consumer_open(db, "images", point + 1, true, &c, &acked));
    assert(acked == point);
    put_key("two");
    put_key("three");
    MUST(read_at_point(point));
    check_pin("images", point);
    feed_consumer_close(db, c);
    put_key("four");
    reopen();
    put_key("five");
    MUST(read_at_point(point));
    crash(IO_DAMAGE_DROP_ALL);
    put_key("six");
    MUST(read_at_point(point));
    check_consumer("images", point, true, false);
    /* It moves with acknowledgements, but not before they are durable: the power may take them back. */
    MUST(write_with_ack("images", commit(1), 0));
    later = helios_latest(db);
    for (int i = 0; i < 2; i++) {
        check_pin_before(later, "images", point);
        MUST(write_with_ack("images", commit(1), 0));
        feed_look(db);
    }
    crash(IO_DAMAGE_DROP_ALL);
    MUST(helios_consumer_list(db, &list, &n));
    MUST(read_at_point(list[0].acked));
    helios_free(list);
    later = commit(1);
    MUST(write_with_ack("images", later, 0));
    MUST(helios_sync(db));
    feed_look(db);
    check_pin("images", later);
    put_key("seven");
    assert(read_at_point(point) == HELIOS_HISTORY_GONE);
    MUST(read_at_point(later));
    assert(feed_floor_acquire(db, point + 1, &floor) == HELIOS_HISTORY_GONE);
    MUST(feed_floor_acquire(db, later + 1, &floor));
    feed_floor_release(db, floor);
    assert(feed_consumer_open(db, "late", point + 1, true, &c, &acked) == HELIOS_HISTORY_GONE);
    /* Opened without the wish, it holds no history; dropped neither. */
    MUST(feed_consumer_open(db, "images", 0, false, &c, &acked));
    feed_consumer_close(db, c);
    check_pin("images", 0);
    put_key("eight");
    assert(read_at_point(later) == HELIOS_HISTORY_GONE);
    assert(feed_consumer_open(db, "images", 0, true, &c, &acked) == HELIOS_HISTORY_GONE);
    check_consumer("images", later, false, false);
    reopen();
    check_consumer("images", later, false, false);
    end();
}

/* ---- ingested commits ---- */

static helios_seq ingest(void)
{
    static unsigned counter;
    helios_batch *batch = helios_batch_new();
    char *value = calloc(1, 3000), key[32];
    helios_seq seq;

    for (unsigned i = 0; i < 60; i++) {
        snprintf(key, sizeof(key), "large %06u", counter++ % 100);
        snprintf(value, 3000, "value %u", counter);
        helios_batch_put(batch, text(key), (helios_slice){value, 3000});
    }
    MUST(helios_write(db, NULL, batch, &seq));
    helios_batch_free(batch);
    free(value);
    return seq;
}

/* Reads all of the tables that the commit's record names: how many entries they have. */
static helios_status read_tables(helios_seq commit, size_t *entries)
{
    struct wal_cursor *cursor = NULL;
    struct wal_record record = {0};
    struct reader reader;
    uint64_t count;

    *entries = 0;
    MUST(wal_cursor_new(db->wal, commit, NULL, &cursor));
    do {
        MUST(wal_cursor_next(cursor, wal_published(db->wal), &record));
    } while (record.first + record.op_count - 1 < commit);
    assert(record.type == WAL_INGEST && record.first + record.op_count - 1 == commit);
    reader = reader_make(record.body.data, record.body.size);
    count = read_varint(&reader);
    for (uint64_t i = 0; i < count; i++) {
        struct table_file *file = NULL;
        struct file_record named;
        struct table *table;
        helios_status status;

        assert(file_record_read(&reader, &named));
        status = feed_table_open(db, &named, commit, &file);
        if (status != HELIOS_OK) {
            wal_cursor_free(cursor);
            return status;
        }
        assert(file->override_seq == commit);
        MUST(table_file_open(file, &table));
        table_unref(table);
        *entries += file->properties.entries;
        table_file_unref(file);
    }
    wal_cursor_free(cursor);
    return HELIOS_OK;
}

static void check_tables(helios_seq commit)
{
    size_t entries = 0;

    MUST(read_tables(commit, &entries));
    assert(entries == 60);
}

static void compact(void)
{
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
}

/* ---- consumers that nobody hears of ---- */

static helios_consumer_info info_of(const char *name)
{
    helios_consumer_info *list = NULL, found = {0};
    size_t n = 0;

    MUST(helios_consumer_list(db, &list, &n));
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0)
            found = list[i];
    assert(found.name);
    found.name = name;
    helios_free(list);
    return found;
}

static bool log_says(const char *words)
{
    uint64_t size = 0;
    const unsigned char *bytes = io_memory_bytes(fs, PATH "/LOG", &size);

    return bytes && memmem(bytes, size, words, strlen(words));
}

static void pass(uint64_t seconds)
{
    for (uint64_t i = 0; i < seconds; i++) {
        io_faulty_advance(fs, SECOND);
        feed_look(db);
    }
}

static void begin_expiry(uint64_t expiry)
{
    begin();
    options.consumer_expiry = expiry * SECOND;
    open_db();
}

/* It holds nothing from then on, but while its entries are there it reads on and holds again. */
static void test_expiry(void)
{
    struct feed_consumer *here, *gone;
    helios_seq first, last, acked;
    uint64_t from;

    begin_expiry(100);
    first = commit(3);
    MUST(feed_consumer_open(db, "here", 0, false, &here, &acked));
    MUST(feed_consumer_open(db, "gone", 0, false, &gone, &acked));
    MUST(feed_consumer_ack(db, gone, first));
    last = commit(2);
    pass(150);
    assert(!info_of("gone").expired); /* open, however idle */
    from = io_time(fs);
    assert(info_of("gone").active == from);
    feed_consumer_close(db, gone);
    pass(60);
    MUST(write_with_ack("gone", first + 1, 0)); /* to be heard of it need not be open */
    pass(99);
    assert(!info_of("gone").expired && stat_of("feed.consumers.expired") == 0);
    pass(2);
    assert(info_of("gone").expired && !info_of("gone").lost && !info_of("here").expired);
    assert(stat_of("feed.consumers.expired") == 1 && log_says("consumer_expiry: consumer \"gone\""));
    MUST(feed_consumer_open(db, "gone", 0, false, &gone, &acked)); /* what it needs is still there */
    assert(acked == first + 1 && !info_of("gone").expired);
    MUST(feed_consumer_ack(db, here, last));
    assert(trim(last + 1) == 3 && feed_first(db) == first + 1);
    feed_consumer_close(db, gone);
    pass(101);
    assert(trim(last + 1) == last - first && feed_first(db) == last + 1);
    assert(info_of("gone").lost && stat_of("feed.consumers.trimmed") == 1);
    assert(log_says("consumer_expiry: entries up to"));
    assert(feed_consumer_open(db, "gone", 0, false, &gone, &acked) == HELIOS_FEED_TRIMMED);
    assert(!info_of("gone").open);
    feed_consumer_close(db, here);
    end();
}

/* Across opens by the wall clock, but not in the first minute; and as durable as the entries. */
static void test_expiry_reopen(void)
{
    struct feed_consumer *c;
    helios_seq first, acked;
    uint64_t active;

    begin_expiry(1000);
    first = commit(3);
    MUST(feed_consumer_open(db, "a", 0, false, &c, &acked));
    pass(500);
    feed_consumer_close(db, c); /* a minute is over: written */
    active = io_time(fs);
    MUST(helios_sync(db));
    io_faulty_advance(fs, 900 * SECOND);
    crash(IO_DAMAGE_DROP_ALL);
    assert(info_of("a").active == active);
    pass(99);
    assert(!info_of("a").expired);
    pass(2);
    assert(info_of("a").expired);
    MUST(helios_close(db));
    io_faulty_advance(fs, 900 * SECOND);
    open_db();
    pass(59);
    assert(!info_of("a").expired && trim(first + 1) == 0);
    MUST(feed_consumer_open(db, "a", 0, false, &c, &acked));
    feed_consumer_close(db, c);
    pass(999);
    assert(!info_of("a").expired);
    pass(2);
    assert(info_of("a").expired && trim(first + 1) == 3);
    /* Without the option nobody does. */
    first = commit(1);
    MUST(feed_consumer_open(db, "b", 0, false, &c, &acked));
    feed_consumer_close(db, c);
    options.consumer_expiry = 0;
    reopen();
    pass(3000);
    assert(!info_of("b").expired && trim(first + 1) == 0);
    end();
}

/* Nor does it hold history; what of it is there when it comes back is held again. */
static void test_expiry_images(void)
{
    struct feed_consumer *c;
    helios_seq acked, point;
    helios_status status;

    begin();
    options.history_retention = 0;
    options.consumer_expiry = 100 * SECOND;
    open_db();
    put_key("one");
    point = commit(1);
    MUST(feed_consumer_open(db, "images", point + 1, true, &c, &acked));
    put_key("two");
    feed_consumer_close(db, c);
    pass(99);
    MUST(read_at_point(point));
    check_pin("images", point);
    pass(2);
    put_key("three");
    assert(info_of("images").expired && read_at_point(point) == HELIOS_HISTORY_GONE);
    assert(feed_consumer_open(db, "images", 0, true, &c, &acked) == HELIOS_HISTORY_GONE);
    assert(!info_of("images").open);
    MUST(feed_consumer_open(db, "images", 0, false, &c, &acked)); /* entries, without what was before */
    assert(acked == point);
    do { /* a job may move the horizon onto the acknowledgement's own commit */
        MUST(feed_consumer_ack(db, c, helios_latest(db)));
        feed_consumer_close(db, c);
        status = feed_consumer_open(db, "images", 0, true, &c, &acked);
        if (status == HELIOS_HISTORY_GONE)
            MUST(feed_consumer_open(db, "images", 0, false, &c, &acked));
    } while (status == HELIOS_HISTORY_GONE);
    MUST(status);
    check_pin("images", acked);
    feed_consumer_close(db, c);
    end();
}

/* ---- branches that were dropped before a consumer has passed them ---- */

static void put_on(helios_branch_id branch, const char *key, const char *value)
{
    helios_write_options o = HELIOS_WRITE_OPTIONS_INIT;

    o.branch = branch;
    MUST(helios_put(db, &o, text(key), text(value)));
}

/* Two branches with two changes of an inherited key each, and the drops. */
static void change_and_drop(helios_branch_id branches[2])
{
    static const char *const names[] = {"one", "two"};

    put_on(0, "shared", "main");
    for (int i = 0; i < 2; i++) {
        MUST(helios_branch_create(db, names[i], 0, 0, &branches[i]));
        put_on(branches[i], "shared", "first");
        put_on(branches[i], "shared", "second");
    }
    put_on(0, "shared", "later");
    MUST(helios_flush(db));
    for (int i = 0; i < 2; i++)
        MUST(helios_branch_drop(db, branches[i]));
    put_on(0, "shared", "last");
}

/* What the consumer reads of a branch, as "before>value" in a row; or how it ends. */
static helios_status images_of(const char *consumer, helios_branch_id branch, char *out, size_t size)
{
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *c;
    helios_change e;
    helios_status status;
    size_t used = 0;

    o.before_images = true;
    o.unsynced = true;
    o.consumer = consumer;
    o.branch = &branch;
    MUST(helios_changes_new(db, &o, &c));
    out[0] = 0;
    while ((status = helios_changes_next(c, 0, &e)) == HELIOS_OK)
        used += (size_t)snprintf(out + used, size - used, "%.*s>%.*s ", e.has_before ? (int)e.before.size : 0,
                                 (const char *)e.before.data, (int)e.value.size, (const char *)e.value.data);
    helios_changes_free(c);
    return status;
}

static void expect_images(helios_branch_id branch, const char *wanted)
{
    char got[200];
    helios_status status = images_of("images", branch, got, sizeof(got));

    if (status != HELIOS_TIMEOUT || strcmp(got, wanted) != 0)
        fprintf(stderr, "branch %u: %s, not %s: %s\n", branch, got, wanted,
                status == HELIOS_TIMEOUT ? "" : helios_last_error());
    assert(status == HELIOS_TIMEOUT && strcmp(got, wanted) == 0);
}

/* The flush is an edit, which says what has been settled until then. */
static void compact_all(void)
{
    put_on(0, "filler", "x");
    MUST(helios_compact(db, text(""), (helios_slice){0}));
    put_on(0, "filler", "x");
    MUST(helios_flush(db));
}

/* They stay whole for it, through any number of opens, and go once it has passed the drop. */
static void test_drops(void)
{
    struct feed_consumer *c;
    helios_branch_id b[2];
    helios_seq acked;

    begin();
    options.history_retention = 0;
    open_db();
    put_on(0, "zero", "0");
    MUST(feed_consumer_open(db, "images", helios_latest(db) + 1, true, &c, &acked));
    feed_consumer_close(db, c);
    change_and_drop(b);
    MUST(helios_sync(db));
    for (int i = 0; i < 4; i++) {
        if (i % 2)
            reopen();
        else
            crash(IO_DAMAGE_DROP_ALL);
        compact_all();
        assert(stat_of("branches.dropped") == 2);
        expect_images(b[0], "main>first first>second ");
        expect_images(b[1], "main>first first>second ");
    }
    MUST(write_with_ack("images", helios_latest(db), 0));
    reopen();
    while (stat_of("branches.dropped")) /* jobs that run beside leave it to the next */
        compact_all();
    assert(stat_of("branches.dropped.bytes") == 0);
    end();
}

/* What was let go of is not taken for whole by a later open. */
static void test_drops_settled(void)
{
    struct feed_consumer *c;
    helios_branch_id b[2];
    helios_seq acked, start;
    char got[200];

    begin();
    options.history_retention = HELIOS_FOREVER;
    options.consumer_expiry = 100 * SECOND;
    open_db();
    put_on(0, "zero", "0");
    start = helios_latest(db);
    MUST(feed_consumer_open(db, "images", 0, true, &c, &acked));
    feed_consumer_close(db, c);
    change_and_drop(b);
    MUST(helios_sync(db));
    pass(101); /* it holds nothing any more, history stays all the same */
    assert(info_of("images").expired);
    compact_all();
    for (int i = 0; i < 3; i++) {
        assert(images_of("images", b[0], got, sizeof(got)) == HELIOS_HISTORY_GONE);
        if (i % 2)
            reopen();
        else
            crash(IO_DAMAGE_DROP_ALL);
        compact_all();
    }
    /* Nor for a consumer that begins before the drops, but was made behind them. */
    MUST(feed_consumer_open(db, "new", start, true, &c, &acked));
    feed_consumer_close(db, c);
    reopen();
    assert(images_of("new", b[1], got, sizeof(got)) == HELIOS_HISTORY_GONE);
    end();
}

static void test_tables(void)
{
    helios_seq a, b, last;
    size_t both, one;

    begin();
    options.history_retention = 0;
    open_db();
    commit(3);
    a = ingest();
    one = names_in(PATH "/wal").tables;
    b = ingest();
    both = names_in(PATH "/wal").tables;
    assert(one > 0 && both > one);
    check_tables(a);
    ingest();
    compact();
    commit(1);
    compact();
    check_tables(a); /* out of the tree */
    check_tables(b);
    reopen();
    check_tables(a);
    check_tables(b);
    crash(IO_DAMAGE_DROP_ALL);
    check_tables(a);
    assert(stat_of("feed.bytes") > 0);
    /* A checkpoint takes them along. */
    MUST(helios_checkpoint(db, "/copy"));
    assert(trim(a + 1) >= 63);
    assert(names_in(PATH "/wal").tables < names_in("/copy/wal").tables);
    check_tables(b);
    crash(IO_DAMAGE_DROP_ALL);
    check_tables(b);
    last = commit(1);
    trim(last + 1);
    assert(names_in(PATH "/wal").tables == 0);
    MUST(helios_close(db));
    MUST(engine_open(fs, "/copy", &options, &db));
    check_tables(a);
    check_tables(b);
    MUST(helios_close(db));
    /* Without a feed none is left. */
    options.feed_retention = 0;
    MUST(engine_open(fs, "/copy", &options, &db));
    assert(names_in("/copy/wal").tables == 0);
    end();
}

static helios_status find_table(void *arg, const char *name)
{
    uint64_t commit, number;

    if (feed_table_name(name, &commit, &number))
        snprintf(arg, 256, PATH "/wal/%s", name);
    return HELIOS_OK;
}

/* helios_verify reads tables that the feed alone has. */
static void test_verify_tables(void)
{
    unsigned char byte;
    struct io_file *file;
    char path[256] = "";

    begin();
    options.history_retention = 0;
    open_db();
    ingest();
    ingest();
    compact();
    commit(1);
    compact();
    MUST(helios_verify(db, NULL, NULL));
    MUST(io_list(fs, PATH "/wal", find_table, path));
    assert(path[0]);
    MUST(helios_close(db));
    MUST(io_open(fs, path, IO_READ | IO_WRITE, &file));
    MUST(io_read(file, 1000, &byte, 1));
    byte ^= 1;
    MUST(io_write(file, 1000, &byte, 1));
    io_close(file);
    for (int read_only = 1; read_only >= 0; read_only--) {
        options.read_only = read_only != 0;
        open_db();
        assert(helios_verify(db, NULL, NULL) == HELIOS_CORRUPT);
        assert(strstr(helios_last_error(), strrchr(path, '/') + 1));
        if (read_only)
            MUST(helios_close(db));
    }
    trim(helios_latest(db) + 1); /* what has gone is not missed */
    MUST(helios_verify(db, NULL, NULL));
    end();
}

/* The power goes at every change that a few large commits and a trim make: what the feed says is there can be read. */
static void cut_tables_at(uint64_t n, enum io_damage damage, bool *reached)
{
    helios_seq first, last;

    begin();
    open_db();
    ingest();
    io_faulty_stop_at(fs, n);
    if (helios_put(db, NULL, text("x"), text("y")) == HELIOS_OK) {
        helios_batch *batch = helios_batch_new();
        char *value = calloc(1, 100000);
        helios_seq large = 0;

        helios_batch_put(batch, text("cut"), (helios_slice){value, 100000});
        if (helios_write(db, NULL, batch, &large) == HELIOS_OK &&
            helios_compact(db, (helios_slice){0}, (helios_slice){0}) == HELIOS_OK)
            (void)!helios_feed_trim(db, large, NULL);
        helios_batch_free(batch);
        free(value);
    }
    *reached = io_faulty_stopped(fs);
    if (helios_close(db) != HELIOS_OK) {
        /* the machine has stopped */
    }
    io_faulty_power_cut(fs, damage, n);
    open_db();
    MUST(helios_feed_bounds(db, &first, &last));
    while (first && first <= last) {
        struct wal_cursor *cursor = NULL;
        struct wal_record record = {0};
        size_t entries;

        MUST(wal_cursor_new(db->wal, first, NULL, &cursor));
        MUST(wal_cursor_next(cursor, wal_durable(db->wal), &record));
        wal_cursor_free(cursor);
        first = record.first + record.op_count;
        if (record.type == WAL_INGEST)
            MUST(read_tables(first - 1, &entries));
    }
    end();
}

static void test_table_cuts(void)
{
    static const enum io_damage damages[] = {IO_DAMAGE_DROP_ALL, IO_DAMAGE_KEEP_ALL, IO_DAMAGE_NAMES_ONLY,
                                             IO_DAMAGE_DATA_ONLY, IO_DAMAGE_SECTORS};
    uint64_t n = 1;

    for (bool reached = true; reached && n < 1000; n++)
        cut_tables_at(n, damages[n % 5], &reached);
    assert(n > 10 && n < 1000);
}

/* ---- in memory, and many at once ---- */

static void test_in_memory(void)
{
    helios_options how = HELIOS_OPTIONS_INIT;
    struct feed_consumer *c;
    helios_seq first, acked;

    how.in_memory = true;
    how.feed_retention = HELIOS_FOREVER;
    MUST(helios_open("name", &how, &db));
    first = commit(3);
    commit(3);
    MUST(helios_sync(db));
    check_bounds(first - 2, first + 3);
    MUST(feed_consumer_open(db, "a", 0, true, &c, &acked));
    MUST(feed_consumer_ack(db, c, first));
    feed_consumer_close(db, c);
    assert(trim(first + 3) == 3);
    MUST(helios_consumer_drop(db, "a"));
    MUST(helios_close(db));
}

/* What the feed has beside the log goes with the database. */
static void test_destroy(void)
{
    char path[] = "/tmp/helios_feed_XXXXXX", inside[64];
    helios_options how = HELIOS_OPTIONS_INIT;
    struct io_stat stat;

    assert(mkdtemp(path));
    snprintf(inside, sizeof(inside), "%s/db", path);
    how.memtable_bytes = 64 << 10;
    how.feed_retention = HELIOS_FOREVER;
    MUST(helios_open(inside, &how, &db));
    for (int i = 0; i < 1000; i++)
        commit(10);
    ingest();
    MUST(helios_flush(db));
    MUST(helios_close(db));
    MUST(helios_destroy(inside));
    assert(io_stat(io_posix(), inside, &stat) == HELIOS_NOT_FOUND);
    MUST(io_remove_directory(io_posix(), path));
}

struct worker {
    char name[16];
    pthread_t thread;
    uint64_t seed;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    struct random random;
    struct feed_consumer *c;
    helios_seq acked, latest;
    char key[32];

    random_seed(&random, w->seed);
    MUST(feed_consumer_open(db, w->name, 0, true, &c, &acked));
    for (unsigned i = 0; i < 150; i++) {
        snprintf(key, sizeof(key), "%s %u", w->name, i % 10);
        MUST(helios_put(db, NULL, text(key), text("value")));
        latest = feed_last(db, true);
        switch (random_below(&random, 4)) {
        case 0: MUST(feed_consumer_ack(db, c, latest)); break;
        case 1: MUST(write_with_ack(w->name, latest, 0)); break;
        case 2: (void)trim(latest); break;
        default: feed_look(db);
        }
    }
    latest = feed_last(db, true);
    MUST(feed_consumer_ack(db, c, latest));
    feed_consumer_close(db, c);
    return NULL;
}

static void test_threads(void)
{
    struct worker workers[4];

    begin();
    io_faulty_unmap(fs); /* under TSan: this file system's sync reads mapped pages as they are written */
    options.feed_retention = 1 * SECOND;
    options.history_retention = 0;
    open_db();
    for (unsigned i = 0; i < 4; i++) {
        snprintf(workers[i].name, sizeof(workers[i].name), "worker %u", i);
        workers[i].seed = seed * 10 + i;
        assert(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    for (unsigned i = 0; i < 4; i++)
        assert(pthread_join(workers[i].thread, NULL) == 0);
    for (unsigned i = 0; i < 4; i++)
        MUST(helios_consumer_drop(db, workers[i].name));
    reopen();
    assert(stat_of("feed.consumers") == 0);
    end();
}

int main(int count, char **arguments)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } cases[] = {
        {"none", test_none},
        {"trim", test_trim},
        {"crash", test_crash},
        {"segments", test_segments},
        {"age", test_age},
        {"bytes", test_bytes},
        {"consumers", test_consumers},
        {"batch ack", test_batch_ack},
        {"large ack", test_large_ack},
        {"floors", test_floors},
        {"expiry", test_expiry},
        {"expiry across opens", test_expiry_reopen},
        {"expiry and images", test_expiry_images},
        {"drops", test_drops},
        {"drops settled", test_drops_settled},
        {"tables", test_tables},
        {"verify tables", test_verify_tables},
        {"table cuts", test_table_cuts},
        {"in memory", test_in_memory},
        {"destroy", test_destroy},
        {"threads", test_threads},
    };

    if (count > 1)
        seed = strtoull(arguments[1], NULL, 10);
    printf("seed %" PRIu64 "\n", seed);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (count > 2 && strcmp(arguments[2], cases[i].name) != 0)
            continue;
        printf("%s\n", cases[i].name);
        fflush(stdout);
        cases[i].run();
    }
    return 0;
}
