/* test_model.c - the model test: seeded operations through the public API on Helios and on the naive history of
 * history_model.h, compared after every step. Small memtables make flushes, ingests and compactions happen all the
 * time under living snapshots and iterators; the database is closed and opened again with other options.
 *
 *   test_model [--set NAME] [--seed N] [--steps N] [--verbose]
 *
 * A failure prints the set, the seed and the step; the same set and seed make the same steps (the background keeps
 * its own time). */
#undef NDEBUG
#include "engine/engine_internal.h"
#include "engine/identity.h"
#include "tests/encrypted.h"
#include "tests/feed_replay.h"
#include "tests/history_model.h"
#include <assert.h>
#include <inttypes.h>
#include <unistd.h>

enum {
    SNAPSHOTS_MAX = 24,
    ITERATORS_MAX = 12,
    MULTI_MAX = 40,
    LARGE_VALUE = 300 << 10,
    VALUE_MAX = LARGE_VALUE + 1000,
};

/* ---- what differs between the tests ---- */

enum place { ON_MEMORY, ON_DISK, IN_MEMORY };
/* All of the feed is kept; or it is trimmed, by calls, bytes and age, and now and then not kept by an open. */
enum kept_feed { FEED_NONE, FEED_KEPT, FEED_TRIMMED };

static const struct option_set {
    const char *name;
    enum place place;
    size_t pool;             /* keys */
    uint64_t retention;      /* us; RANDOM_RETENTION: another one at each open */
    uint64_t memtable_bytes; /* 0: another one at each open */
    unsigned heavy;          /* of 10000 steps so many write a batch that is ingested */
    enum kept_feed feed;
} sets[] = {
#define RANDOM_RETENTION 12345
    {"day", ON_MEMORY, 1200, (uint64_t)24 * 3600 * 1000000, 64 << 10, 4, FEED_KEPT},
    {"forever", ON_MEMORY, 300, HELIOS_FOREVER, 128 << 10, 4, FEED_KEPT},
    {"none", ON_MEMORY, 2500, 0, 64 << 10, 6, FEED_NONE},
    {"moment", ON_MEMORY, 800, 3000, 96 << 10, 6, FEED_TRIMMED},
    {"disk", ON_DISK, 1500, 20000, 256 << 10, 6, FEED_TRIMMED},
    {"in_memory", IN_MEMORY, 1500, 0, 64 << 10, 6, FEED_KEPT},
    {"mixed", ON_MEMORY, 1000, RANDOM_RETENTION, 0, 6, FEED_TRIMMED},
    {"ingest", ON_MEMORY, 600, RANDOM_RETENTION, 64 << 10, 60, FEED_KEPT},
};

struct held_snapshot {
    helios_snapshot *handle;
    helios_seq seq;
};

/* An iterator and where the model says it stands. */
struct held_iterator {
    helios_iter *handle;
    helios_seq seq;
    size_t from, to; /* keys of the pool within its bounds */
    size_t at;       /* if valid */
    bool valid, keys_only;
};

struct test {
    const struct option_set *set;
    uint64_t seed, steps, step, calls;
    bool verbose;
    struct random rng;
    struct history history;
    struct io_fs *fs;
    char path[256];
    helios_db *db;
    helios_options options;
    bool read_only;
    helios_seq *commits; /* numbers of commits, ascending, thinned when there are many */
    size_t commit_count;
    struct held_snapshot snapshots[SNAPSHOTS_MAX];
    struct held_iterator iterators[ITERATORS_MAX];
    unsigned char *value;
    helios_buf got;
    struct feed_replay *replay; /* of the feed */
    uint64_t counts[16];
};

static void die(const struct test *t, const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: %s\n  test_model --set %s --seed %" PRIu64 ", step %" PRIu64 "; last error: %s\n",
            file, line, what, t->set->name, t->seed, t->step, helios_last_error());
    abort();
}

#define CHECK(t, condition)                                                                                    \
    do {                                                                                                       \
        if (!(condition))                                                                                      \
            die(t, __FILE__, __LINE__, #condition);                                                            \
    } while (0)
#define MUST(t, call) CHECK(t, (call) == HELIOS_OK)

static uint64_t below(struct test *t, uint64_t limit)
{
    return random_below(&t->rng, limit);
}
static bool chance(struct test *t, uint64_t of)
{
    return below(t, of) == 0;
}

/* ---- choices ---- */

/* Half of the time one of a few neighbours, so that keys have many versions. */
static size_t any_key(struct test *t)
{
    size_t count = t->history.count;

    if (chance(t, 2))
        return (t->seed * 7 + t->step / 5000 + below(t, 20)) % count;
    return below(t, count);
}

/* A key of the pool or one near it; its bytes are in `bytes`. */
static helios_slice near_key(struct test *t, unsigned char bytes[512])
{
    const struct history_key *key = &t->history.keys[below(t, t->history.count)];
    size_t size = key->size > 500 ? 500 : key->size;

    if (chance(t, 2))
        return history_slice(key);
    memcpy(bytes, key->data, size);
    if (size && chance(t, 2))
        bytes[below(t, size)] = (unsigned char)random_next(&t->rng);
    else
        bytes[size++] = (unsigned char)below(t, 256);
    return slice_make(bytes, size);
}

static uint32_t any_size(struct test *t)
{
    uint64_t dice = below(t, 2000);

    if (dice == 0)
        return (uint32_t)(LARGE_VALUE + below(t, 1000));
    if (dice < 40)
        return (uint32_t)below(t, 9000);
    if (dice < 100)
        return 0;
    return (uint32_t)below(t, 120);
}

static helios_durability any_durability(struct test *t)
{
    static const helios_durability common[] = {HELIOS_DURABILITY_DEFAULT, HELIOS_DURABILITY_ASYNC,
                                               HELIOS_DURABILITY_NONE, HELIOS_DURABILITY_GROUP};

    return chance(t, 50) ? HELIOS_DURABILITY_SYNC : common[below(t, 4)];
}

static helios_write_options any_write(struct test *t)
{
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;

    options.durability = any_durability(t);
    return options;
}

/* ---- writing ---- */

static void committed(struct test *t, size_t operations)
{
    t->history.latest += operations;
    CHECK(t, helios_latest(t->db) == t->history.latest);
    if (t->commit_count == 1 << 20) {
        for (size_t i = 0; i < t->commit_count / 2; i++)
            t->commits[i] = t->commits[i * 2];
        t->commit_count /= 2;
    }
    t->commits[t->commit_count++] = t->history.latest;
}

static void put(struct test *t)
{
    helios_write_options options = any_write(t);
    size_t key = any_key(t);
    uint32_t size = any_size(t);
    uint64_t value = ++t->history.values;

    value_fill(value, t->value, size);
    MUST(t, helios_put(t->db, &options, history_slice(&t->history.keys[key]), slice_make(t->value, size)));
    history_put(&t->history, key, t->history.latest + 1, value, size);
    committed(t, 1);
}

static void delete_key(struct test *t)
{
    helios_write_options options = any_write(t);
    size_t key = any_key(t);

    MUST(t, helios_delete(t->db, &options, history_slice(&t->history.keys[key])));
    history_delete(&t->history, key, t->history.latest + 1);
    committed(t, 1);
}

/* Mostly a few keys, now and then a third of everything. */
static void any_range(struct test *t, unsigned char bytes[2][512], helios_slice *from, helios_slice *to)
{
    size_t first = below(t, t->history.count),
           last = first + below(t, chance(t, 100) ? t->history.count / 3 : 12);

    if (chance(t, 4)) {
        *from = near_key(t, bytes[0]);
        first = history_find(&t->history, *from);
        last = first + below(t, 12);
    } else {
        *from = history_slice(&t->history.keys[first]);
    }
    if (last >= t->history.count)
        last = t->history.count - 1;
    *to = history_slice(&t->history.keys[last]);
    if (chance(t, 4) && to->size < 500) { /* past that key */
        memcpy(bytes[1], to->data, to->size);
        bytes[1][to->size] = (unsigned char)below(t, 3);
        *to = slice_make(bytes[1], to->size + 1);
    }
}

static void delete_range(struct test *t)
{
    helios_write_options options = any_write(t);
    unsigned char bytes[2][512];
    helios_slice from, to;

    any_range(t, bytes, &from, &to);
    MUST(t, helios_delete_range(t->db, &options, from, to));
    if (slice_compare(from, to) >= 0) {
        CHECK(t, helios_latest(t->db) == t->history.latest);
        return;
    }
    history_delete_range(&t->history, history_find(&t->history, from), history_find(&t->history, to),
                         t->history.latest + 1);
    committed(t, 1);
}

/* One operation of a batch; the commit's number is given afterwards, so the model takes a stand-in. */
static size_t add_to_batch(struct test *t, helios_batch *batch, helios_seq seq, uint32_t size)
{
    uint64_t dice = below(t, 100);
    unsigned char bytes[2][512];
    helios_slice from, to;
    size_t key = any_key(t);

    if (dice < 80) {
        uint64_t value = ++t->history.values;

        value_fill(value, t->value, size);
        helios_batch_put(batch, history_slice(&t->history.keys[key]), slice_make(t->value, size));
        history_put(&t->history, key, seq, value, size);
        return 1;
    }
    if (dice < 96) {
        helios_batch_delete(batch, history_slice(&t->history.keys[key]));
        history_delete(&t->history, key, seq);
        return 1;
    }
    any_range(t, bytes, &from, &to);
    helios_batch_delete_range(batch, from, to);
    if (slice_compare(from, to) >= 0)
        return 0;
    history_delete_range(&t->history, history_find(&t->history, from), history_find(&t->history, to), seq);
    return 1;
}

/* The model writes under a number above all, which becomes the commit's own once it is known. */
static void settle_batch(struct test *t, helios_seq stand_in, helios_seq seq)
{
    for (size_t i = 0; i < t->history.count; i++) {
        struct history_key *key = &t->history.keys[i];

        if (key->count && key->versions[key->count - 1].seq == stand_in)
            key->versions[key->count - 1].seq = seq;
    }
}

static void write_batch(struct test *t, size_t operations, uint32_t size)
{
    const helios_seq stand_in = UINT64_MAX - 1;
    helios_write_options options = any_write(t);
    helios_batch *batch = helios_batch_new();
    helios_seq commit = 77;
    size_t count = 0;

    for (size_t i = 0; i < operations; i++)
        count +=
            add_to_batch(t, batch, stand_in, size ? size - (uint32_t)below(t, size / 2) : any_size(t) % 2000);
    MUST(t, helios_batch_status(batch));
    CHECK(t, helios_batch_count(batch) == count);
    MUST(t, helios_write(t->db, &options, batch, &commit));
    if (count) {
        CHECK(t, commit == t->history.latest + count);
        settle_batch(t, stand_in, commit);
        committed(t, count);
    } else {
        CHECK(t, commit == 0);
    }
    helios_batch_free(batch);
}

/* ---- read points ---- */

static bool is_pinned(const struct test *t, helios_seq seq)
{
    for (size_t i = 0; i < SNAPSHOTS_MAX; i++)
        if (t->snapshots[i].handle && t->snapshots[i].seq == seq)
            return true;
    return false;
}

/* A point to read at, in options; and the number that the model shows for it. */
static helios_seq any_point(struct test *t, helios_read_options *options)
{
    uint64_t dice = below(t, 100);
    helios_seq horizon;

    if (dice < 55)
        return t->history.latest;
    if (dice < 75) {
        const struct held_snapshot *s = &t->snapshots[below(t, SNAPSHOTS_MAX)];

        if (!s->handle)
            return t->history.latest;
        options->snapshot = s->handle;
        if (chance(t, 2))
            options->at = 1; /* the snapshot wins */
        return s->seq;
    }
    if (dice < 76) {
        options->at = HELIOS_SEQ_NONE;
        return 0;
    }
    if (t->history.latest == 0)
        return 0;
    if (dice < 85) { /* often inside a commit */
        options->at = 1 + below(t, t->history.latest);
        return options->at;
    }
    horizon = helios_horizon(t->db);
    options->at =
        dice < 92 && horizon ? horizon : t->history.latest - below(t, t->history.latest - horizon + 1);
    if (dice > 97)
        options->at = t->commits[below(t, t->commit_count)];
    if (options->at == 0)
        options->at = HELIOS_SEQ_NONE;
    return options->at == HELIOS_SEQ_NONE ? 0 : options->at;
}

/* Whether the answer HISTORY_GONE is allowed for this point. */
static void check_gone(struct test *t, const helios_read_options *options)
{
    CHECK(t, !options->snapshot);
    CHECK(t, options->at != 0 && options->at != HELIOS_SEQ_NONE);
    CHECK(t, options->at < helios_horizon(t->db));
    CHECK(t, !is_pinned(t, options->at));
    t->counts[0]++;
}

/* ---- point reads ---- */

static void tell_key(const struct test *t, size_t key, helios_seq seq)
{
    const struct history_key *k = &t->history.keys[key];

    fprintf(stderr,
            "key %zu of %zu bytes at %" PRIu64 ", horizon %" PRIu64 ", latest %" PRIu64 "; its versions:", key,
            k->size, seq, helios_horizon(t->db), helios_latest(t->db));
    for (size_t i = k->count > 12 ? k->count - 12 : 0; i < k->count; i++)
        fprintf(stderr, " %" PRIu64 "%s", k->versions[i].seq, k->versions[i].deleted ? "-" : "");
    fprintf(stderr, "\n");
}

static void check_got(struct test *t, size_t key, helios_seq seq, helios_status status, const helios_buf *value)
{
    const struct history_version *v = history_at(&t->history, key, seq);
    bool right = v ? status == HELIOS_OK && value_matches(v, slice_make(value->data, value->size))
                   : status == HELIOS_NOT_FOUND;

    if (!right)
        tell_key(t, key, seq);
    CHECK(t, right);
}

static void get(struct test *t)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    size_t key = any_key(t), old = t->got.size;
    helios_seq seq = any_point(t, &options);
    helios_status status;

    options.no_cache_fill = chance(t, 10);
    status = helios_get(t->db, &options, history_slice(&t->history.keys[key]), &t->got);
    if (status != HELIOS_OK)
        CHECK(t, t->got.size == old);
    if (status == HELIOS_HISTORY_GONE)
        check_gone(t, &options);
    else
        check_got(t, key, seq, status, &t->got);
}

static void get_absent(struct test *t)
{
    unsigned char bytes[512];
    helios_slice key = near_key(t, bytes);
    size_t at = history_find(&t->history, key);
    helios_status status = helios_get(t->db, NULL, key, &t->got);

    if (at < t->history.count && slice_equal(key, history_slice(&t->history.keys[at])))
        check_got(t, at, t->history.latest, status, &t->got);
    else
        CHECK(t, status == HELIOS_NOT_FOUND);
}

static void multi_get(struct test *t)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_slice keys[MULTI_MAX];
    helios_buf values[MULTI_MAX] = {{0}};
    helios_status each[MULTI_MAX], status;
    size_t wanted[MULTI_MAX], n = below(t, MULTI_MAX);
    helios_seq seq = any_point(t, &options);

    for (size_t i = 0; i < n; i++) {
        wanted[i] = any_key(t);
        keys[i] = history_slice(&t->history.keys[wanted[i]]);
    }
    status = helios_multi_get(t->db, &options, n, keys, values, each);
    if (status == HELIOS_HISTORY_GONE)
        check_gone(t, &options);
    else
        MUST(t, status);
    for (size_t i = 0; i < n && status == HELIOS_OK; i++)
        check_got(t, wanted[i], seq, each[i], &values[i]);
    for (size_t i = 0; i < n; i++)
        helios_buf_free(&values[i]);
}

/* ---- snapshots ---- */

static void toggle_snapshot(struct test *t)
{
    struct held_snapshot *s = &t->snapshots[below(t, SNAPSHOTS_MAX)];
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_snapshot *handle = NULL;
    helios_status status;
    helios_seq seq = 0;

    if (s->handle) {
        helios_snapshot_free(chance(t, 2) ? t->db : NULL, s->handle);
        *s = (struct held_snapshot){0};
        return;
    }
    do {
        options = (helios_read_options)HELIOS_READ_OPTIONS_INIT;
        seq = any_point(t, &options);
    } while (options.snapshot);
    status = helios_snapshot_new(t->db, options.at, &handle);
    if (status == HELIOS_HISTORY_GONE) {
        check_gone(t, &options);
        return;
    }
    MUST(t, status);
    CHECK(t, helios_snapshot_seq(handle) == (seq ? seq : HELIOS_SEQ_NONE));
    *s = (struct held_snapshot){handle, seq};
}

/* ---- iterators ---- */

static void step_model(const struct test *t, struct held_iterator *it, size_t at, int direction)
{
    it->valid = false;
    for (; at >= it->from && at < it->to; at += (size_t)direction) {
        if (!history_at(&t->history, at, it->seq))
            continue;
        it->at = at;
        it->valid = true;
        return;
    }
}

static void check_iterator(struct test *t, struct held_iterator *it)
{
    const struct history_version *v;
    bool right;

    MUST(t, helios_iter_status(it->handle));
    if (helios_iter_valid(it->handle) != it->valid)
        tell_key(t, it->valid ? it->at : history_find(&t->history, helios_iter_key(it->handle)), it->seq);
    CHECK(t, helios_iter_valid(it->handle) == it->valid);
    if (!it->valid)
        return;
    v = history_at(&t->history, it->at, it->seq);
    right = slice_equal(helios_iter_key(it->handle), history_slice(&t->history.keys[it->at]));
    if (!right || helios_iter_seq(it->handle) != v->seq) {
        tell_key(t, it->at, it->seq);
        tell_key(t, history_find(&t->history, helios_iter_key(it->handle)), it->seq);
        fprintf(stderr, "the iterator shows the version %" PRIu64 "\n", helios_iter_seq(it->handle));
    }
    CHECK(t, right);
    CHECK(t, helios_iter_seq(it->handle) == v->seq);
    if (!it->keys_only)
        CHECK(t, value_matches(v, helios_iter_value(it->handle)));
    t->calls++;
}

/* Bounds of the public call and of the model. */
static void any_bounds(struct test *t, struct held_iterator *it, helios_read_options *options,
                       unsigned char bytes[2][512])
{
    it->from = 0;
    it->to = t->history.count;
    if (chance(t, 3)) {
        options->lower = near_key(t, bytes[0]);
        it->from = history_find(&t->history, options->lower);
    }
    if (chance(t, 3)) {
        options->upper = near_key(t, bytes[1]);
        it->to = history_find(&t->history, options->upper);
    }
}

static bool new_iterator(struct test *t, struct held_iterator *it)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    unsigned char bytes[2][512];
    helios_status status;

    *it = (struct held_iterator){0};
    any_bounds(t, it, &options, bytes);
    it->seq = any_point(t, &options);
    options.keys_only = it->keys_only = chance(t, 8);
    options.no_cache_fill = chance(t, 4);
    status = helios_iter_new(t->db, &options, &it->handle);
    if (status == HELIOS_HISTORY_GONE) {
        check_gone(t, &options);
        return false;
    }
    MUST(t, status);
    CHECK(t, !helios_iter_valid(it->handle));
    return true;
}

static void seek(struct test *t, struct held_iterator *it)
{
    unsigned char bytes[512];
    helios_slice key = near_key(t, bytes);
    size_t at = history_find(&t->history, key);
    bool there = at < t->history.count && slice_equal(key, history_slice(&t->history.keys[at]));

    if (chance(t, 2)) {
        helios_iter_seek(it->handle, key);
        step_model(t, it, at < it->from ? it->from : at, 1);
    } else {
        helios_iter_seek_for_prev(it->handle, key);
        at = there ? at + 1 : at; /* the first above */
        at = at > it->to ? it->to : at;
        it->valid = false;
        if (at > 0)
            step_model(t, it, at - 1, -1);
    }
}

static void move_iterator(struct test *t, struct held_iterator *it)
{
    bool forward = chance(t, 2);
    uint64_t steps = chance(t, 20) ? 300 : below(t, 12);

    switch (below(t, 8)) {
    case 0:
        helios_iter_first(it->handle);
        step_model(t, it, it->from, 1);
        break;
    case 1:
        helios_iter_last(it->handle);
        it->valid = false;
        if (it->to > 0)
            step_model(t, it, it->to - 1, -1);
        break;
    case 2:
    case 3: seek(t, it); break;
    default: break;
    }
    check_iterator(t, it);
    for (uint64_t i = 0; i < steps; i++) {
        if (chance(t, 8))
            forward = !forward;
        (forward ? helios_iter_next : helios_iter_prev)(it->handle);
        if (it->valid)
            step_model(t, it, forward ? it->at + 1 : it->at - 1, forward ? 1 : -1);
        check_iterator(t, it);
        if (!it->valid)
            break;
    }
}

static void use_iterator(struct test *t)
{
    struct held_iterator *it = &t->iterators[below(t, ITERATORS_MAX)];

    if (!it->handle) {
        if (new_iterator(t, it))
            move_iterator(t, it);
        return;
    }
    move_iterator(t, it);
    if (chance(t, 20)) {
        helios_iter_free(it->handle);
        *it = (struct held_iterator){0};
    }
}

/* Everything at a point, both ways. */
static void scan_all(struct test *t)
{
    struct held_iterator it;

    if (!new_iterator(t, &it))
        return;
    helios_iter_first(it.handle);
    step_model(t, &it, it.from, 1);
    for (check_iterator(t, &it); it.valid; check_iterator(t, &it)) {
        helios_iter_next(it.handle);
        step_model(t, &it, it.at + 1, 1);
    }
    helios_iter_last(it.handle);
    if (it.to > 0)
        step_model(t, &it, it.to - 1, -1);
    for (check_iterator(t, &it); it.valid; check_iterator(t, &it)) {
        helios_iter_prev(it.handle);
        step_model(t, &it, it.at - 1, -1);
    }
    helios_iter_free(it.handle);
}

/* ---- opening ---- */

static void any_feed(struct test *t)
{
    static const uint64_t bytes[] = {0, 0, 64 << 10, 1 << 20}, ages[] = {1000, 2000000, HELIOS_FOREVER};
    helios_options *o = &t->options;

    if (t->set->feed != FEED_NONE)
        o->feed_retention = HELIOS_FOREVER;
    if (t->set->feed != FEED_TRIMMED)
        return;
    o->feed_retention = ages[below(t, 3)];
    o->feed_retention_bytes = bytes[below(t, 4)];
    if (chance(t, 8))
        o->feed_retention = 0;
}

static void any_options(struct test *t)
{
    static const uint64_t memtables[] = {64 << 10, 80 << 10, 256 << 10, 1 << 20, 4 << 20};
    static const uint64_t retentions[] = {0, 1000, 50000, 60000000, HELIOS_FOREVER};
    static const uint32_t blocks[] = {1024, 4096, 4096, 16384, 65536};
    static const uint64_t caches[] = {0, 64 << 10, 1 << 20, 64 << 20};
    helios_options *o = &t->options;

    *o = (helios_options)HELIOS_OPTIONS_INIT;
    o->memtable_bytes = t->set->memtable_bytes ? t->set->memtable_bytes : memtables[below(t, 5)];
    o->history_retention = t->set->retention == RANDOM_RETENTION ? retentions[below(t, 5)] : t->set->retention;
    o->block_bytes = blocks[below(t, 5)];
    o->block_cache_bytes = caches[below(t, 4)];
    o->filter_bits_per_key = chance(t, 4) ? 0 : (double)below(t, 20);
    o->compression = (helios_compression)below(t, 3);
    o->bottom_compression = (helios_compression)below(t, 3);
    o->durability = any_durability(t);
    o->background_threads = (int)below(t, 4);
    o->in_memory = t->set->place == IN_MEMORY;
    any_feed(t);
}

static void open_database(struct test *t)
{
    any_options(t);
    t->options.encryption = t->set->place == IN_MEMORY ? NULL : encrypted_if_asked();
    t->read_only = t->options.read_only = t->history.latest > 0 && chance(t, 5);
    if (t->verbose)
        printf("step %" PRIu64 ": open, memtable %" PRIu64 ", block %u, cache %" PRIu64 ", retention %" PRIu64
               ", feed %" PRIu64 ", of %" PRIu64 " bytes%s\n",
               t->step, t->options.memtable_bytes, t->options.block_bytes, t->options.block_cache_bytes,
               t->options.history_retention, t->options.feed_retention, t->options.feed_retention_bytes,
               t->read_only ? ", read-only" : "");
    if (t->set->place == ON_MEMORY)
        MUST(t, engine_open(t->fs, t->path, &t->options, &t->db));
    else
        MUST(t, helios_open(t->path, &t->options, &t->db));
    CHECK(t, helios_latest(t->db) == t->history.latest);
    feed_replay_opened(t->replay, t->db);
}

static void release_handles(struct test *t)
{
    for (size_t i = 0; i < SNAPSHOTS_MAX; i++) {
        helios_snapshot_free(t->db, t->snapshots[i].handle);
        t->snapshots[i] = (struct held_snapshot){0};
    }
    for (size_t i = 0; i < ITERATORS_MAX; i++) {
        helios_iter_free(t->iterators[i].handle);
        t->iterators[i] = (struct held_iterator){0};
    }
}

static bool any_handle(const struct test *t)
{
    bool any = false;

    for (size_t i = 0; i < SNAPSHOTS_MAX; i++)
        any |= t->snapshots[i].handle != NULL;
    for (size_t i = 0; i < ITERATORS_MAX; i++)
        any |= t->iterators[i].handle != NULL;
    return any;
}

static void reopen(struct test *t)
{
    if (t->set->place == IN_MEMORY)
        return;
    if (any_handle(t) && chance(t, 2))
        CHECK(t, helios_close(t->db) == HELIOS_BUSY);
    release_handles(t);
    MUST(t, helios_close(t->db));
    open_database(t);
    t->counts[1]++;
}

/* ---- upkeep ---- */

static void compact(struct test *t)
{
    unsigned char bytes[2][512];
    helios_slice from = {0}, to = {0};

    if (chance(t, 2))
        any_range(t, bytes, &from, &to);
    MUST(t, helios_compact(t->db, from, to));
    t->counts[2]++;
}

static void size_of_range(struct test *t)
{
    unsigned char bytes[2][512];
    helios_slice from, to;
    uint64_t size = 0;
    char *json = NULL;

    any_range(t, bytes, &from, &to);
    MUST(t, helios_approximate_size(t->db, 0, from, to, &size));
    MUST(t, helios_stats_json(t->db, &json));
    helios_free(json);
}

/* The copy shows the same, and may be written without harm to the original. */
static void checkpoint(struct test *t)
{
    struct test copy = *t;
    char path[300];

    if (t->set->place == IN_MEMORY)
        return;
    snprintf(path, sizeof(path), "%s-copy", t->path);
    MUST(t, helios_checkpoint(t->db, path));
    memset(copy.snapshots, 0, sizeof(copy.snapshots));
    memset(copy.iterators, 0, sizeof(copy.iterators));
    memcpy(copy.path, path, sizeof(copy.path) - 1);
    copy.options.read_only = false;
    copy.options.create_if_missing = false;
    MUST(t, engine_open(t->fs, path, &copy.options, &copy.db));
    CHECK(t, helios_latest(copy.db) == t->history.latest);
    scan_all(&copy);
    MUST(t, helios_verify(copy.db, NULL, NULL));
    MUST(t, helios_put(copy.db, NULL, slice_make("copy", 4), slice_make("", 0)));
    MUST(t, helios_close(copy.db));
    MUST(t, directory_remove_ours(t->fs, path, true));
    t->calls = copy.calls;
    t->rng = copy.rng;
    t->got = copy.got;
    t->counts[3]++;
}

static void refuse_writes(struct test *t)
{
    helios_slice key = slice_make("k", 1);

    CHECK(t, helios_put(t->db, NULL, key, key) == HELIOS_READ_ONLY);
    CHECK(t, helios_delete(t->db, NULL, key) == HELIOS_READ_ONLY);
    CHECK(t, helios_flush(t->db) == HELIOS_READ_ONLY);
}

static void trim_feed(struct test *t)
{
    if (t->set->feed == FEED_TRIMMED && t->options.feed_retention && t->history.latest)
        MUST(t, helios_feed_trim(t->db, below(t, t->history.latest + 2), NULL));
}

/* ---- the steps ---- */

static void read_step(struct test *t)
{
    uint64_t dice = below(t, 100);

    if (dice < 45)
        get(t);
    else if (dice < 50)
        get_absent(t);
    else if (dice < 55)
        multi_get(t);
    else if (dice < 96)
        use_iterator(t);
    else
        toggle_snapshot(t);
    if (chance(t, 2000))
        scan_all(t);
}

static void write_step(struct test *t)
{
    uint64_t dice = below(t, 10000);

    if (dice < 6500)
        put(t);
    else if (dice < 7800)
        delete_key(t);
    else if (dice < 8100)
        delete_range(t);
    else if (dice < 9950)
        write_batch(t, below(t, 30), 0);
    else if (dice < 9990)
        write_batch(t, below(t, 1500), 20);
    else
        write_batch(t, 100, 2000);
    if (below(t, 10000) < t->set->heavy) {
        write_batch(t, 300 + below(t, 300), 9000); /* ingested */
        t->counts[4]++;
    }
}

static void upkeep_step(struct test *t)
{
    uint64_t dice = below(t, 100);

    if (dice < 50)
        MUST(t, helios_flush(t->db));
    else if (dice < 60)
        compact(t);
    else if (dice < 80)
        MUST(t, helios_sync(t->db));
    else if (dice < 90)
        size_of_range(t);
    else if (dice < 93)
        checkpoint(t);
    else if (dice < 95)
        MUST(t, helios_verify(t->db, NULL, NULL));
    else if (dice < 97)
        trim_feed(t);
    else
        MUST(t, helios_wait_durable(t->db, t->history.latest, UINT64_MAX));
}

static void one_step(struct test *t)
{
    uint64_t dice = below(t, 1000);

    t->calls++;
    if (chance(t, t->set->feed == FEED_TRIMMED ? 300 : 4000))
        feed_replay_follow(t->replay, t->db);
    if (chance(t, t->read_only ? 500 : 8000))
        reopen(t);
    else if (t->read_only && dice < 20)
        refuse_writes(t);
    else if (dice < 450 || t->read_only)
        read_step(t);
    else if (dice < 997)
        write_step(t);
    else
        upkeep_step(t);
}

static void report(struct test *t)
{
    static const char *const names[] = {"flushes", "compactions", "ingest.bytes", "files"};

    printf("test_model --set %s --seed %" PRIu64 ": %" PRIu64 " steps, %" PRIu64
           " calls, %zu keys; gone %" PRIu64 ", reopened %" PRIu64 ", compacted %" PRIu64
           ", checkpoints %" PRIu64 ", ingests %" PRIu64 "\n",
           t->set->name, t->seed, t->steps, t->calls, t->history.count, t->counts[0], t->counts[1],
           t->counts[2], t->counts[3], t->counts[4]);
    for (size_t i = 0; i < 4; i++) {
        uint64_t value = 0;

        MUST(t, helios_stat(t->db, names[i], &value));
        printf("%s %" PRIu64 "%s", names[i], value, i == 3 ? "\n" : ", ");
    }
    feed_replay_report(t->replay);
}

static void tell_where(const void *arg)
{
    const struct test *t = arg;

    fprintf(stderr, "  test_model --set %s --seed %" PRIu64 ", step %" PRIu64 "\n", t->set->name, t->seed,
            t->step);
}

static void run(struct test *t)
{
    const struct feed_replay_options replay = {
        .seed = t->seed, .where = tell_where, .arg = t, .no_trim = t->set->feed == FEED_KEPT};

    t->replay = feed_replay_new(&replay);
    random_seed(&t->rng, t->seed);
    history_init(&t->history, t->set->pool, &t->rng);
    t->commits = malloc(sizeof(*t->commits) << 20);
    t->value = malloc(VALUE_MAX);
    t->fs = io_posix();
    snprintf(t->path, sizeof(t->path), "/model");
    if (t->set->place == ON_MEMORY)
        MUST(t, io_memory_new(&t->fs));
    if (t->set->place == ON_DISK) {
        snprintf(t->path, sizeof(t->path), "%s/helios-model-XXXXXX",
                 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
        CHECK(t, mkdtemp(t->path));
    }
    open_database(t);
    for (t->step = 1; t->step <= t->steps; t->step++)
        one_step(t);
    scan_all(t);
    feed_replay_follow(t->replay, t->db);
    MUST(t, helios_verify(t->db, NULL, NULL));
    release_handles(t);
    report(t);
    MUST(t, helios_close(t->db));
    if (t->set->place == ON_DISK)
        MUST(t, helios_destroy(t->path));
    io_free(t->fs);
    feed_replay_free(t->replay);
    helios_buf_free(&t->got);
    history_release(&t->history);
    free(t->commits);
    free(t->value);
}

int main(int argc, char **argv)
{
    struct test t = {.set = &sets[0], .seed = 1, .steps = 20000};

    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(argv[i], "--verbose") == 0) {
            t.verbose = true;
            continue;
        }
        if (strcmp(argv[i], "--seed") == 0)
            t.seed = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--steps") == 0)
            t.steps = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--set") == 0)
            for (size_t s = 0; s < sizeof(sets) / sizeof(sets[0]); s++)
                t.set = strcmp(sets[s].name, value) == 0 ? &sets[s] : t.set;
        i++;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    run(&t);
    return 0;
}
