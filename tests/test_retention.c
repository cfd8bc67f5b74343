/* test_retention.c - history that goes and history that stays.
 *
 * The race: writers overwrite and delete while readers read at snapshots, tags, iterators and past points, jobs
 * collect, and the retention changes. What a reader sees is noted and judged at the end, when it is known which
 * commit wrote what: exactly the newest version at its point, or, where nothing held the point, HELIOS_HISTORY_GONE.
 *
 * Then: that space comes back by itself, and what the retention promises across opens and clocks. */
#undef NDEBUG
#include "base/random.h"
#include "engine/engine_internal.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(call)                                                                                             \
    do {                                                                                                       \
        helios_status status_ = (call);                                                                        \
        if (status_ != HELIOS_OK) {                                                                            \
            fprintf(stderr, "%s:%d: %s: %s: %s\n", __FILE__, __LINE__, #call, helios_status_name(status_),     \
                    helios_last_error());                                                                      \
            abort();                                                                                           \
        }                                                                                                      \
    } while (0)
#define SECOND UINT64_C(1000000)

/* ---- the race ---- */

enum {
    WRITERS = 2,
    READERS = 3,
    KEYS_EACH = 24, /* of a writer, its own */
    KEYS = WRITERS * KEYS_EACH,
    VERSIONS_MAX = 200000, /* of a key */
    SEEN_MAX = 1 << 20,    /* of a reader */
    VALUE_BYTES = 80,
};

/* What the writers know after their commits; 0: deleted. */
struct written {
    helios_seq seq;
    uint32_t count;
};
struct seen {
    helios_seq at;
    uint32_t key, count; /* 0: absent */
};

static struct {
    helios_db *db;
    uint64_t seed;
    _Atomic bool stop;
    struct written *written[KEYS];
    size_t written_count[KEYS];
    struct seen *seen[READERS];
    size_t seen_count[READERS];
    _Atomic uint64_t gone, held;
} race;

static helios_slice key_of(uint32_t key, char out[16])
{
    snprintf(out, 16, "key %03u", key);
    return (helios_slice){out, strlen(out)};
}

static void note_written(uint32_t key, helios_seq seq, uint32_t count)
{
    assert(race.written_count[key] < VERSIONS_MAX);
    race.written[key][race.written_count[key]++] = (struct written){seq, count};
}

/* Sometimes all keys of the writer go at once. */
static void write_some(uint32_t writer, struct random *random, uint32_t *count, helios_batch *batch)
{
    uint32_t first = writer * KEYS_EACH, key = first + (uint32_t)random_below(random, KEYS_EACH);
    uint64_t dice = random_below(random, 200);
    unsigned char value[VALUE_BYTES] = {0};
    char from[16], to[16];
    helios_seq seq;

    helios_batch_clear(batch);
    ++*count;
    memcpy(value, &key, 4);
    memcpy(value + 4, count, 4);
    if (dice == 0)
        helios_batch_delete_range(batch, key_of(first, from), key_of(first + KEYS_EACH, to));
    else if (dice < 20)
        helios_batch_delete(batch, key_of(key, from));
    else
        helios_batch_put(batch, key_of(key, from), (helios_slice){value, sizeof(value)});
    MUST(helios_write(race.db, NULL, batch, &seq));
    if (dice == 0)
        for (uint32_t k = first; k < first + KEYS_EACH; k++)
            note_written(k, seq, 0);
    else
        note_written(key, seq, dice < 20 ? 0 : *count);
}

static void *writer_run(void *arg)
{
    uint32_t writer = (uint32_t)(uintptr_t)arg, count = 0;
    helios_batch *batch = helios_batch_new();
    struct random random;

    random_seed(&random, race.seed + writer);
    while (!atomic_load(&race.stop) && count < VERSIONS_MAX - 1)
        write_some(writer, &random, &count, batch);
    helios_batch_free(batch);
    return NULL;
}

static void note_seen(int reader, helios_seq at, uint32_t key, helios_slice value)
{
    struct seen *seen = &race.seen[reader][race.seen_count[reader]];

    if (race.seen_count[reader] == SEEN_MAX)
        return;
    race.seen_count[reader]++;
    *seen = (struct seen){at, key, 0};
    if (value.data) {
        assert(value.size == VALUE_BYTES && memcmp(value.data, &key, 4) == 0);
        memcpy(&seen->count, (const char *)value.data + 4, 4);
    }
}

static helios_status get_some(int reader, struct random *random, const helios_read_options *o, helios_seq at)
{
    helios_buf value = {0};
    helios_status status = HELIOS_OK;

    for (int i = 0; i < 8; i++) {
        uint32_t key = (uint32_t)random_below(random, KEYS);
        char name[16];

        status = helios_get(race.db, o, key_of(key, name), &value);
        if (status == HELIOS_HISTORY_GONE)
            break;
        if (status == HELIOS_NOT_FOUND)
            note_seen(reader, at, key, (helios_slice){0});
        else
            note_seen(reader, at, key, (helios_slice){value.data, value.size});
        assert(status == HELIOS_OK || status == HELIOS_NOT_FOUND);
        status = HELIOS_OK;
    }
    helios_buf_free(&value);
    return status;
}

/* Every key between those that come is absent. */
static void walk(int reader, helios_iter *it, helios_seq at)
{
    uint32_t next = 0;

    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it)) {
        helios_slice key = helios_iter_key(it);
        char digits[4] = {0};
        uint32_t number;

        assert(key.size == 7);
        memcpy(digits, (const char *)key.data + 4, 3);
        number = (uint32_t)atoi(digits);
        assert(number >= next && number < KEYS);
        for (; next < number; next++)
            note_seen(reader, at, next, (helios_slice){0});
        note_seen(reader, at, next++, helios_iter_value(it));
    }
    MUST(helios_iter_status(it));
    for (; next < KEYS; next++)
        note_seen(reader, at, next, (helios_slice){0});
}

static helios_seq some_point(struct random *random)
{
    helios_seq latest = helios_latest(race.db),
               back = random_below(random, random_below(random, 2) ? 50 : 5000);

    return latest > back ? latest - back : latest;
}

static void read_past(int reader, struct random *random)
{
    helios_read_options o = HELIOS_READ_OPTIONS_INIT;

    o.at = some_point(random);
    if (o.at && get_some(reader, random, &o, o.at) == HELIOS_HISTORY_GONE)
        atomic_fetch_add(&race.gone, 1);
}

static void read_iterator(int reader, struct random *random)
{
    helios_read_options o = HELIOS_READ_OPTIONS_INIT;
    helios_iter *it = NULL;
    helios_status status;

    o.at = some_point(random);
    if (o.at == 0)
        return;
    status = helios_iter_new(race.db, &o, &it);
    if (status == HELIOS_HISTORY_GONE) {
        atomic_fetch_add(&race.gone, 1);
        return;
    }
    MUST(status);
    for (int i = 0; i < 3; i++) {
        walk(reader, it, o.at);
        thread_sleep(random_below(random, 2000));
    }
    atomic_fetch_add(&race.held, 1);
    helios_iter_free(it);
}

/* A point that is held is readable by everybody, below the horizon too: also through children that outlive the one
 * who held it first. */
static void read_snapshot(int reader, struct random *random)
{
    helios_read_options o = HELIOS_READ_OPTIONS_INIT;
    helios_snapshot *snapshot = NULL, *second = NULL;
    helios_iter *it = NULL;
    helios_seq at;
    helios_status status =
        helios_snapshot_new(race.db, random_below(random, 2) ? 0 : some_point(random), &snapshot);

    if (status == HELIOS_HISTORY_GONE) {
        atomic_fetch_add(&race.gone, 1);
        return;
    }
    MUST(status);
    at = helios_snapshot_seq(snapshot);
    for (int i = 0; i < 3 && at != HELIOS_SEQ_NONE; i++) {
        o.snapshot = snapshot;
        MUST(get_some(reader, random, &o, at));
        thread_sleep(random_below(random, 1500));
        MUST(helios_iter_new(race.db, &o, &it));
        MUST(helios_snapshot_new(race.db, at, &second));
        helios_snapshot_free(race.db, snapshot);
        walk(reader, it, at);
        helios_iter_free(it);
        snapshot = second;
        o.snapshot = NULL;
        o.at = at;
        MUST(get_some(reader, random, &o, at));
    }
    atomic_fetch_add(&race.held, 1);
    helios_snapshot_free(race.db, snapshot);
}

static void read_tag(int reader, struct random *random)
{
    helios_read_options o = HELIOS_READ_OPTIONS_INIT;
    helios_branch_id branch;
    helios_iter *it = NULL;
    char name[32];
    helios_status status;

    snprintf(name, sizeof(name), "tag of %d", reader);
    status = helios_tag_create(race.db, name, 0, random_below(random, 2) ? 0 : some_point(random));
    if (status == HELIOS_HISTORY_GONE) {
        atomic_fetch_add(&race.gone, 1);
        return;
    }
    MUST(status);
    MUST(helios_tag_get(race.db, name, &branch, &o.at));
    for (int i = 0; i < 3 && o.at != HELIOS_SEQ_NONE; i++) {
        thread_sleep(random_below(random, 1500));
        MUST(get_some(reader, random, &o, o.at));
        helios_iter_free(it);
        it = NULL;
        MUST(helios_iter_new(race.db, &o, &it));
        walk(reader, it, o.at);
    }
    MUST(helios_tag_drop(race.db, name));
    thread_sleep(random_below(random, 1500));
    if (it)
        walk(reader, it, o.at);
    atomic_fetch_add(&race.held, 1);
    helios_iter_free(it);
}

static void *reader_run(void *arg)
{
    static void (*const ways[])(int, struct random *) = {read_past, read_iterator, read_snapshot, read_tag};
    int reader = (int)(uintptr_t)arg;
    struct random random;

    random_seed(&random, race.seed + 100 + (uint64_t)reader);
    while (!atomic_load(&race.stop))
        ways[random_below(&random, 4)](reader, &random);
    return NULL;
}

static void *upkeep_run(void *arg)
{
    static const uint64_t retentions[] = {0, 0, 1000, 20000, 500000, HELIOS_FOREVER};
    helios_seq horizon = 0;
    struct random random;

    (void)arg;
    random_seed(&random, race.seed + 200);
    while (!atomic_load(&race.stop)) {
        helios_seq now = helios_horizon(race.db);

        assert(now >= horizon && now <= helios_latest(race.db));
        horizon = now;
        if (random_below(&random, 4) == 0)
            MUST(helios_set_history_retention(race.db, retentions[random_below(&random, 6)]));
        if (random_below(&random, 2))
            MUST(helios_compact(race.db, (helios_slice){0}, (helios_slice){0}));
        else
            MUST(helios_flush(race.db));
        thread_sleep(random_below(&random, 10000));
    }
    return NULL;
}

/* The newest version at or below the point. */
static uint32_t count_at(uint32_t key, helios_seq at)
{
    size_t from = 0, to = race.written_count[key];

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (race.written[key][middle].seq <= at)
            from = middle + 1;
        else
            to = middle;
    }
    return from ? race.written[key][from - 1].count : 0;
}

static void judge(void)
{
    uint64_t all = 0;

    for (int reader = 0; reader < READERS; reader++) {
        for (size_t i = 0; i < race.seen_count[reader]; i++) {
            const struct seen *seen = &race.seen[reader][i];
            uint32_t want = count_at(seen->key, seen->at);

            if (seen->count != want)
                fprintf(stderr, "seed %" PRIu64 ": key %u at %" PRIu64 " was %u, not %u\n", race.seed,
                        seen->key, seen->at, seen->count, want);
            assert(seen->count == want);
        }
        all += race.seen_count[reader];
    }
    printf("race, seed %" PRIu64 ": %" PRIu64 " reads judged, %" PRIu64 " points held, %" PRIu64 " gone\n",
           race.seed, all, (uint64_t)race.held, (uint64_t)race.gone);
    assert(all > 1000 && race.held > 10);
}

static void test_race(uint64_t seed, uint64_t time)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    pthread_t writers[WRITERS], readers[READERS], upkeep;

    memset(&race, 0, sizeof(race));
    race.seed = seed;
    options.in_memory = true;
    options.memtable_bytes = 64 << 10;
    options.history_retention = seed % 2 ? 0 : 1000;
    for (int i = 0; i < KEYS; i++)
        race.written[i] = malloc(VERSIONS_MAX * sizeof(struct written));
    for (int i = 0; i < READERS; i++)
        race.seen[i] = malloc(SEEN_MAX * sizeof(struct seen));
    MUST(helios_open("race", &options, &race.db));
    for (uintptr_t i = 0; i < WRITERS; i++)
        MUST(thread_start(&writers[i], "writer", writer_run, (void *)i));
    for (uintptr_t i = 0; i < READERS; i++)
        MUST(thread_start(&readers[i], "reader", reader_run, (void *)i));
    MUST(thread_start(&upkeep, "upkeep", upkeep_run, NULL));
    thread_sleep(time);
    atomic_store(&race.stop, true);
    for (int i = 0; i < WRITERS; i++)
        thread_join(writers[i]);
    for (int i = 0; i < READERS; i++)
        thread_join(readers[i]);
    thread_join(upkeep);
    MUST(helios_close(race.db));
    judge();
    for (int i = 0; i < KEYS; i++)
        free(race.written[i]);
    for (int i = 0; i < READERS; i++)
        free(race.seen[i]);
}

/* ---- space comes back by itself ---- */

static uint64_t number(helios_db *db, const char *name)
{
    uint64_t value = 0;

    MUST(helios_stat(db, name, &value));
    return value;
}

/* Incompressible, as its size is what is measured. */
static void put_drawn(helios_db *db, uint32_t key, struct random *random)
{
    uint64_t value[16];
    char name[16];

    for (size_t i = 0; i < 16; i++)
        value[i] = random_next(random);
    snprintf(name, sizeof(name), "key %06u", key);
    MUST(helios_put(db, NULL, (helios_slice){name, strlen(name)}, (helios_slice){value, sizeof(value)}));
}

enum { EXPIRY_KEYS = 4000 };

/* What a database takes that never held anything but the live keys. */
static uint64_t live_bytes(uint32_t from, uint32_t to)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    struct random random;
    helios_db *db;
    uint64_t bytes;

    random_seed(&random, 1);
    options.in_memory = true;
    options.memtable_bytes = 64 << 10;
    MUST(helios_open("live", &options, &db));
    for (uint32_t key = from; key < to; key++)
        put_drawn(db, key, &random);
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    bytes = number(db, "table.bytes");
    MUST(helios_close(db));
    return bytes;
}

/* Nothing is written and nothing asked for any more; time_max: to get there. */
static void expect_shrinking(helios_db *db, const char *what, uint64_t live, uint64_t time_max)
{
    uint64_t waited = 0, before = number(db, "table.bytes"), bytes = before;
    char *json = NULL;

    for (; waited < time_max && bytes > live + live / 4; waited += SECOND / 20) {
        thread_sleep(SECOND / 20);
        bytes = number(db, "table.bytes");
    }
    printf("expiry, %s: %" PRIu64 " bytes, after %.1f s %" PRIu64 ", live %" PRIu64 "\n", what, before,
           (double)waited / 1e6, bytes, live);
    if (bytes > live + live / 4 && helios_stats_json(db, &json) == HELIOS_OK)
        fprintf(stderr, "%s\n", json);
    assert(bytes <= live + live / 4);
}

static void test_expiry(void)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_slice from = {"key 000000", 10}, to = {"key 003000", 10};
    struct random random;
    helios_db *db;

    random_seed(&random, 2);
    options.in_memory = true;
    options.memtable_bytes = 64 << 10;
    options.history_retention = HELIOS_FOREVER;
    MUST(helios_open("expiry", &options, &db));
    for (int round = 0; round < 6; round++)
        for (uint32_t key = 0; key < EXPIRY_KEYS; key++)
            put_drawn(db,
                      (uint32_t)random_below(&random, 2) ? key : (uint32_t)random_below(&random, EXPIRY_KEYS),
                      &random);
    for (uint32_t key = 0; key < EXPIRY_KEYS; key++)
        put_drawn(db, key, &random);
    MUST(helios_flush(db));
    MUST(helios_set_history_retention(db, SECOND / 2));
    expect_shrinking(db, "overwritten", live_bytes(0, EXPIRY_KEYS), 20 * SECOND);
    MUST(helios_delete_range(db, NULL, from, to));
    MUST(helios_flush(db));
    expect_shrinking(db, "a range deleted", live_bytes(3000, EXPIRY_KEYS), 20 * SECOND);
    for (uint32_t key = 3000; key < 3900; key++) {
        char name[16];

        snprintf(name, sizeof(name), "key %06u", key);
        MUST(helios_delete(db, NULL, (helios_slice){name, strlen(name)}));
    }
    MUST(helios_flush(db));
    expect_shrinking(db, "keys deleted", live_bytes(3900, EXPIRY_KEYS), 20 * SECOND);
    MUST(helios_close(db));
}

/* A memtable that nobody adds to is flushed for what it hides, once it holds enough. */
static void test_memtable_at_rest(void)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    struct random random;
    helios_db *db;

    random_seed(&random, 3);
    options.in_memory = true;
    options.memtable_bytes = 1 << 20;
    options.history_retention = SECOND / 10;
    MUST(helios_open("rest", &options, &db));
    for (int round = 0; round < 2; round++)
        for (uint32_t key = 0; key < 1000; key++)
            put_drawn(db, key, &random);
    assert(number(db, "files") == 0);
    for (int i = 0; i < 200 && number(db, "files") == 0; i++)
        thread_sleep(SECOND / 20);
    assert(number(db, "files") > 0);
    expect_shrinking(db, "memtable at rest", live_bytes(0, 1000), 10 * SECOND);
    MUST(helios_close(db));
}

/* ---- clocks and opens ---- */

static struct io_fs *fs;
static uint64_t wall, monotonic;

static void set_clock(int64_t wall_by, uint64_t monotonic_by)
{
    wall += (uint64_t)wall_by;
    monotonic += monotonic_by;
    io_faulty_set_time(fs, wall, monotonic);
}

static helios_db *open_with(uint64_t retention)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_db *db;

    options.history_retention = retention;
    MUST(engine_open(fs, "/clock", &options, &db));
    return db;
}

static helios_seq put_one(helios_db *db, const char *value)
{
    MUST(helios_put(db, NULL, (helios_slice){"k", 1}, (helios_slice){value, strlen(value)}));
    return helios_latest(db);
}

/* The horizon as it is when it is looked after now. */
static helios_seq horizon_now(helios_db *db)
{
    return horizon_move(db);
}

static bool reads(helios_db *db, helios_seq at, const char *want)
{
    helios_read_options o = HELIOS_READ_OPTIONS_INIT;
    helios_buf value = {0};
    helios_status status;
    bool same;

    o.at = at;
    status = helios_get(db, &o, (helios_slice){"k", 1}, &value);
    same = status == HELIOS_OK && value.size == strlen(want) && memcmp(value.data, want, value.size) == 0;
    assert(same || status == HELIOS_HISTORY_GONE);
    helios_buf_free(&value);
    return same;
}

static void compact_all(helios_db *db)
{
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
}

static void test_clocks(void)
{
    uint64_t retention = 100 * SECOND;
    helios_seq a, b, c, d;
    helios_db *db;

    MUST(io_faulty_new(1, &fs));
    wall = UINT64_C(1700000000) * SECOND;
    set_clock(0, SECOND);
    db = open_with(retention);
    a = put_one(db, "a");
    assert(horizon_now(db) < a);
    set_clock(60 * (int64_t)SECOND, 60 * SECOND);
    b = put_one(db, "b");
    assert(horizon_now(db) < a);
    /* Within an open the monotonic clock counts, wherever the other one jumps. */
    set_clock(86400 * (int64_t)SECOND, 0);
    assert(horizon_now(db) < a);
    set_clock(-86400 * (int64_t)SECOND, 41 * SECOND);
    assert(horizon_now(db) == a && reads(db, a, "a"));
    set_clock(0, 61 * SECOND);
    assert(horizon_now(db) == b);
    compact_all(db);
    assert(!reads(db, a, "a") && reads(db, b, "b"));
    /* Across opens the wall clock counts, never backwards. */
    c = put_one(db, "c");
    MUST(helios_flush(db));
    d = put_one(db, "d");
    MUST(helios_close(db));
    set_clock(-50 * (int64_t)SECOND, 0);
    db = open_with(retention);
    assert(horizon_now(db) == b);
    MUST(helios_close(db));
    set_clock(90 * (int64_t)SECOND, 5 * SECOND);
    db = open_with(retention);
    assert(horizon_now(db) == b);
    set_clock(0, 70 * SECOND); /* by the wall clock: 40 s before, or less; with these: 110 */
    assert(horizon_now(db) >= b && reads(db, d, "d"));
    set_clock(0, 40 * SECOND);
    assert(horizon_now(db) == d);
    compact_all(db);
    assert(!reads(db, c, "c") && reads(db, d, "d"));
    MUST(helios_close(db));
    io_free(fs);
}

/* A retention that is longer, at an open or at run time, brings nothing back; a shorter one lets go. */
static void test_changes(void)
{
    helios_seq a, b, c, d;
    helios_db *db;

    MUST(io_faulty_new(1, &fs));
    wall = UINT64_C(1700000000) * SECOND;
    set_clock(0, SECOND);
    db = open_with(0);
    a = put_one(db, "a");
    b = put_one(db, "b");
    assert(reads(db, a, "a")); /* until a job collects */
    compact_all(db);
    assert(helios_horizon(db) == b && !reads(db, a, "a"));
    MUST(helios_close(db));
    db = open_with(HELIOS_FOREVER);
    assert(helios_horizon(db) == b);
    c = put_one(db, "c");
    d = put_one(db, "d");
    set_clock(1000000 * (int64_t)SECOND, 1000000 * SECOND);
    compact_all(db);
    assert(horizon_now(db) == b && reads(db, b, "b") && reads(db, c, "c") && !reads(db, a, "a"));
    MUST(helios_close(db));
    db = open_with(HELIOS_FOREVER);
    MUST(helios_set_history_retention(db, 1000 * SECOND));
    assert(horizon_now(db) == d); /* known from its file, or from the last edit */
    assert(!reads(db, c, "c"));
    a = put_one(db, "a");
    MUST(helios_set_history_retention(db, HELIOS_FOREVER));
    b = put_one(db, "b");
    set_clock(0, 100000 * SECOND);
    compact_all(db);
    assert(helios_horizon(db) == d && reads(db, a, "a"));
    MUST(helios_set_history_retention(db, 0));
    compact_all(db);
    assert(helios_horizon(db) == b && !reads(db, a, "a"));
    MUST(helios_set_history_retention(db, HELIOS_FOREVER));
    assert(horizon_now(db) == b);
    MUST(helios_close(db));
    io_free(fs);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t time = argc > 2 ? strtoull(argv[2], NULL, 10) * SECOND : 2 * SECOND;

    setvbuf(stdout, NULL, _IOLBF, 0);
    test_clocks();
    test_changes();
    for (int i = 0; i < 2 && time; i++)
        test_race(seed + (uint64_t)i, time);
    test_expiry();
    test_memtable_at_rest();
    return 0;
}
