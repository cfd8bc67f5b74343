/* test_txn.c - transactions through the public API.
 *
 *   model    random transactions, several open at once, against arrays too simple to be wrong: what each sees by get and
 *            by iterators both ways, savepoints, range deletes; and which commit loses, exactly, for both isolations
 *   cases    what the header promises of begin, end, limits, iterators; write skew, phantoms; commits that are no
 *            longer in the ring, or in tables only; large ones; memory that runs out
 *   threads  a counter, transfers between accounts, writers of their own keys; to be run under TSan too
 *
 *   test_txn [--seed N] [--steps N] [model|cases|threads] */
#undef NDEBUG
#include "base/mem.h"
#include "base/random.h"
#include "engine/txn.h"
#include "tests/feed_replay.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t seed = 1;
static unsigned steps = 30000, step;

static void must_at(int line, helios_status status, helios_status wanted)
{
    if (status == wanted)
        return;
    fprintf(stderr, "test_txn.c:%d: seed %" PRIu64 ", step %u: %s, not %s: %s\n", line, seed, step,
            helios_status_name(status), helios_status_name(wanted), helios_last_error());
    abort();
}
#define MUST(call)           must_at(__LINE__, call, HELIOS_OK)
#define EXPECT(wanted, call) must_at(__LINE__, call, wanted)
#define CHECK(condition)                                                                                       \
    do {                                                                                                       \
        if (!(condition)) {                                                                                    \
            fprintf(stderr, "test_txn.c:%d: seed %" PRIu64 ", step %u: not so: %s\n", __LINE__, seed, step,    \
                    #condition);                                                                               \
            abort();                                                                                           \
        }                                                                                                      \
    } while (0)

static helios_slice text(const char *s)
{
    return slice_make(s, strlen(s));
}

static helios_db *open_small(struct io_fs *fs)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_db *db;

    options.memtable_bytes = 256 * 1024;
    options.block_cache_bytes = 1 << 20;
    options.history_retention = 0;
    options.transaction_bytes = 0;
    options.feed_retention = HELIOS_FOREVER;
    MUST(engine_open(fs, "/db", &options, &db));
    return db;
}

/* ---- the model ---- */

enum { KEYS = 48, TXNS = 4, ITERS = 2, POINTS = 32, SAVEPOINTS = 4 };
enum own { NONE, PUT, DELETED, HIDDEN };

struct view_model {
    uint32_t value[KEYS]; /* 0: absent */
};

/* What a transaction has written; copied for a savepoint. */
struct writes_model {
    uint8_t own[KEYS]; /* enum own */
    uint32_t value[KEYS];
    bool range[KEYS];
};

struct iter_model {
    helios_iter *iter;
    int lower, upper; /* indices: [lower, upper) */
    int at;           /* -1: not valid */
    uint32_t value;
};

struct txn_model {
    helios_txn *txn;
    bool serializable, read_only;
    struct view_model base;
    struct writes_model writes, savepoints[SAVEPOINTS];
    unsigned savepoint_count;
    bool read[KEYS], changed[KEYS];
    bool wrote_some; /* operations are in it */
    unsigned ops, ops_at[SAVEPOINTS];
    struct iter_model iters[ITERS];
};

static struct world {
    struct io_fs *fs;
    helios_db *db;
    struct random rng;
    char *keys[KEYS];
    size_t sizes[KEYS];
    struct view_model now;
    uint32_t values;
    struct txn_model txns[TXNS];
    struct {
        helios_seq seq;
        struct view_model view;
    } points[POINTS];
    unsigned point_count, wins, losses;
} w;

static unsigned below(unsigned limit)
{
    return (unsigned)random_below(&w.rng, limit);
}

static helios_slice key(int index)
{
    return slice_make(w.keys[index], w.sizes[index]);
}

/* The number at its front, then bytes enough to be told apart; some are large. */
static helios_slice value_of(uint32_t number)
{
    static unsigned char bytes[70000];
    size_t size = number % 257 == 0 ? sizeof(bytes) : 4 + number % 90;

    memset(bytes, (int)number, size);
    memcpy(bytes, &number, 4);
    return slice_make(bytes, size);
}

static void check_value_is(helios_slice value, uint32_t number)
{
    helios_slice wanted = value_of(number);

    CHECK(slice_equal(value, wanted));
}

static void make_keys(void)
{
    for (int i = 0; i < KEYS; i++) {
        char name[16];
        size_t size = i == 0 ? 0 : i % 7 == 3 ? 600 : 6;

        w.keys[i] = calloc(1, size + 1);
        w.sizes[i] = size;
        snprintf(name, sizeof(name), "key%03d", i);
        memset(w.keys[i], i % 7 == 3 ? 'x' : 0, size);
        memcpy(w.keys[i], name, size < 6 ? size : 6);
    }
}

static bool seen(const struct txn_model *t, int i, uint32_t *value)
{
    *value = t->writes.own[i] == PUT ? t->writes.value[i] : 0;
    if (t->writes.own[i] == NONE && !t->writes.range[i])
        *value = t->base.value[i];
    return *value != 0;
}

static void note_commit(helios_seq seq, const bool touched[KEYS])
{
    unsigned slot = w.point_count++ % POINTS;

    w.points[slot].seq = seq;
    w.points[slot].view = w.now;
    for (int t = 0; t < TXNS; t++)
        for (int i = 0; i < KEYS; i++)
            w.txns[t].changed[i] |= touched[i];
}

/* ---- the model: writes beside transactions ---- */

static void plain_batch(bool touched[KEYS])
{
    helios_batch *batch = helios_batch_new();
    unsigned count = 1 + below(below(8) == 0 ? 40 : 4);

    for (unsigned n = 0; n < count; n++) {
        int i = (int)below(KEYS), j = i + (int)below((unsigned)(KEYS - i));

        switch (below(6)) {
        case 0:
            helios_batch_delete(batch, key(i));
            w.now.value[i] = 0;
            touched[i] = true;
            break;
        case 1:
            helios_batch_delete_range(batch, key(i), key(j));
            for (int k = i; k < j; k++) {
                w.now.value[k] = 0;
                touched[k] = true;
            }
            break;
        default:
            w.now.value[i] = ++w.values;
            helios_batch_put(batch, key(i), value_of(w.values));
            touched[i] = true;
        }
    }
    MUST(helios_write(w.db, NULL, batch, NULL));
    helios_batch_free(batch);
}

static void plain_write(void)
{
    bool touched[KEYS] = {false};
    int i = (int)below(KEYS), j = i + (int)below((unsigned)(KEYS - i));

    switch (below(5)) {
    case 0:
        MUST(helios_delete(w.db, NULL, key(i)));
        w.now.value[i] = 0;
        touched[i] = true;
        break;
    case 1:
        j = j > i + 3 ? i + 3 : j;
        MUST(helios_delete_range(w.db, NULL, key(i), key(j)));
        for (int k = i; k < j; k++) {
            w.now.value[k] = 0;
            touched[k] = true;
        }
        break;
    case 2: plain_batch(touched); break;
    default:
        w.now.value[i] = ++w.values;
        MUST(helios_put(w.db, NULL, key(i), value_of(w.values)));
        touched[i] = true;
    }
    note_commit(helios_latest(w.db), touched);
}

/* ---- the model: iterators ---- */

static void mark_read(struct txn_model *t, int from, int to) /* inclusive */
{
    for (int i = from; i <= to; i++)
        t->read[i] = true;
}

static void check_iter(const struct iter_model *m)
{
    CHECK(helios_iter_valid(m->iter) == (m->at >= 0));
    MUST(helios_iter_status(m->iter));
    if (m->at < 0)
        return;
    CHECK(slice_equal(helios_iter_key(m->iter), key(m->at)));
    check_value_is(helios_iter_value(m->iter), m->value);
}

/* Moves on from i (inclusive) in a direction to what is seen within the bounds. */
static void land(struct txn_model *t, struct iter_model *m, int i, int direction)
{
    int from = i, value_at = -1;
    uint32_t value = 0;

    for (; i >= m->lower && i < m->upper; i += direction)
        if (seen(t, i, &value)) {
            value_at = i;
            break;
        }
    m->at = value_at;
    m->value = value;
    if (direction > 0)
        mark_read(t, from < m->lower ? m->lower : from, m->at >= 0 ? m->at : m->upper - 1);
    else
        mark_read(t, m->at >= 0 ? m->at : m->lower, from >= m->upper ? m->upper - 1 : from);
}

static void move_iter(struct txn_model *t, struct iter_model *m)
{
    int i = (int)below(KEYS);

    switch (below(9)) {
    case 0:
        helios_iter_first(m->iter);
        land(t, m, m->lower, 1);
        break;
    case 1:
        helios_iter_last(m->iter);
        land(t, m, m->upper - 1, -1);
        break;
    case 2:
        helios_iter_seek(m->iter, key(i));
        land(t, m, i < m->lower ? m->lower : i, 1);
        break;
    case 3:
        helios_iter_seek_for_prev(m->iter, key(i));
        land(t, m, i >= m->upper ? m->upper - 1 : i, -1);
        break;
    case 4:
    case 5:
        helios_iter_prev(m->iter);
        if (m->at >= 0)
            land(t, m, m->at - 1, -1);
        break;
    default:
        helios_iter_next(m->iter);
        if (m->at >= 0)
            land(t, m, m->at + 1, 1);
    }
    check_iter(m);
}

static void use_iter(struct txn_model *t, struct iter_model *m)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;

    if (m->iter && below(12) == 0) {
        helios_iter_free(m->iter);
        m->iter = NULL;
    }
    if (!m->iter) {
        m->lower = 0;
        m->upper = KEYS;
        if (below(2)) {
            m->lower = (int)below(KEYS);
            options.lower = key(m->lower);
        }
        if (below(2)) {
            m->upper = (int)below(KEYS);
            options.upper = key(m->upper);
        }
        m->at = -1;
        MUST(helios_txn_iter(t->txn, &options, &m->iter));
    }
    for (unsigned n = 1 + below(6); n > 0; n--)
        move_iter(t, m);
}

/* ---- the model: transactions ---- */

static void begin(struct txn_model *t)
{
    helios_txn_options options = HELIOS_TXN_OPTIONS_INIT;
    helios_snapshot *snapshot = NULL;

    memset(t, 0, sizeof(*t));
    t->serializable = below(2);
    t->read_only = below(8) == 0;
    t->base = w.now;
    options.isolation = t->serializable ? HELIOS_ISOLATION_SERIALIZABLE : HELIOS_ISOLATION_SNAPSHOT;
    options.read_only = t->read_only;
    if (t->read_only && w.point_count && below(2)) {
        unsigned slot = below(w.point_count < POINTS ? w.point_count : POINTS);

        if (helios_snapshot_new(w.db, w.points[slot].seq, &snapshot) == HELIOS_OK) {
            options.at = w.points[slot].seq;
            t->base = w.points[slot].view;
        }
    }
    MUST(helios_txn_begin(w.db, &options, &t->txn));
    helios_snapshot_free(w.db, snapshot);
}

static void finish_iters(struct txn_model *t)
{
    for (int i = 0; i < ITERS; i++) {
        if (!t->iters[i].iter)
            continue;
        CHECK(!helios_iter_valid(t->iters[i].iter));
        helios_iter_first(t->iters[i].iter);
        EXPECT(HELIOS_INVALID, helios_iter_status(t->iters[i].iter));
        helios_iter_free(t->iters[i].iter);
    }
}

static bool loses(const struct txn_model *t)
{
    for (int i = 0; i < KEYS; i++) {
        bool written = t->writes.range[i] || t->writes.own[i] == PUT || t->writes.own[i] == DELETED;

        if (t->changed[i] && (written || (t->serializable && t->read[i])))
            return true;
    }
    return false;
}

static void commit(struct txn_model *t)
{
    bool touched[KEYS] = {false};
    helios_seq seq = 77;

    if (t->ops == 0) {
        MUST(helios_txn_commit(t->txn, &seq));
        CHECK(seq == 0);
    } else if (loses(t)) {
        EXPECT(HELIOS_CONFLICT, helios_txn_commit(t->txn, &seq));
        CHECK(strstr(helios_last_error(), "key") && seq == 77);
        EXPECT(HELIOS_INVALID, helios_txn_commit(t->txn, &seq));
        if (below(2))
            MUST(helios_txn_rollback(t->txn));
        w.losses++;
    } else {
        MUST(helios_txn_commit(t->txn, &seq));
        CHECK(seq == helios_latest(w.db));
        for (int i = 0; i < KEYS; i++) {
            uint32_t value;

            touched[i] = t->writes.range[i] || t->writes.own[i] == PUT || t->writes.own[i] == DELETED;
            if (touched[i]) {
                seen(t, i, &value);
                w.now.value[i] = value;
            }
        }
        note_commit(seq, touched);
        w.wins++;
    }
    finish_iters(t);
    helios_txn_free(t->txn);
    memset(t, 0, sizeof(*t));
}

static void roll_back(struct txn_model *t)
{
    if (below(2))
        MUST(helios_txn_rollback(t->txn));
    helios_txn_free(t->txn);
    t->txn = NULL;
    finish_iters(t);
}

static void get_one(struct txn_model *t, int i)
{
    helios_buf value = {0};
    uint32_t wanted;

    if (t->writes.own[i] == NONE && !t->writes.range[i])
        t->read[i] = true;
    if (seen(t, i, &wanted)) {
        MUST(helios_txn_get(t->txn, key(i), &value));
        check_value_is(slice_make(value.data, value.size), wanted);
    } else {
        EXPECT(HELIOS_NOT_FOUND, helios_txn_get(t->txn, key(i), &value));
    }
    helios_buf_free(&value);
}

static void write_one(struct txn_model *t)
{
    int i = (int)below(KEYS), j = i + (int)below((unsigned)(KEYS - i));

    if (t->read_only) {
        EXPECT(HELIOS_READ_ONLY, helios_txn_put(t->txn, key(i), text("v")));
        return;
    }
    switch (below(8)) {
    case 0:
        j = j > i + 6 ? i + 6 : j;
        MUST(helios_txn_delete_range(t->txn, key(i), key(j)));
        t->ops += j > i;
        for (int k = i; k < j; k++) {
            t->writes.range[k] = true;
            if (t->writes.own[k] != NONE)
                t->writes.own[k] = HIDDEN;
        }
        return;
    case 1:
    case 2:
        MUST(helios_txn_delete(t->txn, key(i)));
        t->writes.own[i] = DELETED;
        break;
    default:
        t->writes.value[i] = ++w.values;
        t->writes.own[i] = PUT;
        MUST(helios_txn_put(t->txn, key(i), value_of(w.values)));
    }
    t->ops++;
}

static void use_savepoint(struct txn_model *t)
{
    if (t->savepoint_count < SAVEPOINTS && below(2)) {
        MUST(helios_txn_savepoint(t->txn));
        t->ops_at[t->savepoint_count] = t->ops;
        t->savepoints[t->savepoint_count++] = t->writes;
    } else if (t->savepoint_count) {
        MUST(helios_txn_rollback_to_savepoint(t->txn));
        t->writes = t->savepoints[--t->savepoint_count];
        t->ops = t->ops_at[t->savepoint_count];
    } else {
        EXPECT(HELIOS_NOT_FOUND, helios_txn_rollback_to_savepoint(t->txn));
    }
}

static void use_txn(struct txn_model *t)
{
    unsigned dice = below(100);

    if (!t->txn)
        begin(t);
    else if (dice < 35)
        write_one(t);
    else if (dice < 55)
        get_one(t, (int)below(KEYS));
    else if (dice < 80)
        use_iter(t, &t->iters[below(ITERS)]);
    else if (dice < 88)
        use_savepoint(t);
    else if (dice < 98)
        commit(t);
    else
        roll_back(t);
}

static void check_all(void)
{
    helios_iter *it;
    int i = 0;

    MUST(helios_iter_new(w.db, NULL, &it));
    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it), i++) {
        while (i < KEYS && w.now.value[i] == 0)
            i++;
        CHECK(i < KEYS && slice_equal(helios_iter_key(it), key(i)));
        check_value_is(helios_iter_value(it), w.now.value[i]);
    }
    while (i < KEYS)
        CHECK(w.now.value[i++] == 0);
    MUST(helios_iter_status(it));
    helios_iter_free(it);
}

static void tell_where(const void *arg)
{
    (void)arg;
    fprintf(stderr, "  test_txn model --seed %" PRIu64 ", step %u\n", seed, step);
}

static void model(void)
{
    const struct feed_replay_options options = {.seed = seed, .where = tell_where, .no_trim = true};
    struct feed_replay *replay = feed_replay_new(&options);

    memset(&w, 0, sizeof(w));
    random_seed(&w.rng, seed);
    make_keys();
    MUST(io_memory_new(&w.fs));
    w.db = open_small(w.fs);
    for (step = 0; step < steps; step++) {
        unsigned dice = below(1000);

        if (dice < 120)
            plain_write();
        else if (dice < 124)
            MUST(helios_flush(w.db));
        else if (dice < 126)
            MUST(helios_compact(w.db, (helios_slice){0}, (helios_slice){0}));
        else
            use_txn(&w.txns[below(TXNS)]);
        if (step % 500 == 0)
            check_all();
        if (step % 2000 == 0)
            feed_replay_follow(replay, w.db);
    }
    for (int i = 0; i < TXNS; i++)
        if (w.txns[i].txn)
            roll_back(&w.txns[i]);
    check_all();
    MUST(helios_close(w.db));
    w.db = open_small(w.fs);
    check_all();
    feed_replay_follow(replay, w.db);
    feed_replay_report(replay);
    feed_replay_free(replay);
    MUST(helios_verify(w.db, NULL, NULL));
    MUST(helios_close(w.db));
    io_free(w.fs);
    for (int i = 0; i < KEYS; i++)
        free(w.keys[i]);
    printf("model: seed %" PRIu64 ", %u steps, %u commits won, %u lost\n", seed, steps, w.wins, w.losses);
}

/* ---- cases ---- */

static helios_db *open_memory(uint64_t transaction_bytes)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_db *db;

    options.in_memory = true;
    options.memtable_bytes = 1 << 20;
    options.transaction_bytes = transaction_bytes;
    MUST(helios_open("txn", &options, &db));
    return db;
}

static helios_txn *begin_as(helios_db *db, helios_isolation isolation)
{
    helios_txn_options options = HELIOS_TXN_OPTIONS_INIT;
    helios_txn *txn;

    options.isolation = isolation;
    MUST(helios_txn_begin(db, &options, &txn));
    return txn;
}

static uint64_t stat(helios_db *db, const char *name)
{
    uint64_t value;

    MUST(helios_stat(db, name, &value));
    return value;
}

static void promises(void)
{
    helios_db *db = open_memory(0);
    helios_txn_options options = HELIOS_TXN_OPTIONS_INIT;
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_txn *txn;
    helios_iter *it;
    helios_snapshot *snapshot;
    helios_buf value = {0};
    helios_seq seq;

    MUST(helios_put(db, NULL, text("a"), text("1")));
    options.branch = 7;
    EXPECT(HELIOS_NOT_FOUND, helios_txn_begin(db, &options, &txn));
    options = (helios_txn_options)HELIOS_TXN_OPTIONS_INIT;
    options.isolation = (helios_isolation)9;
    EXPECT(HELIOS_INVALID, helios_txn_begin(db, &options, &txn));
    options = (helios_txn_options)HELIOS_TXN_OPTIONS_INIT;
    options.durability = (helios_durability)9;
    EXPECT(HELIOS_INVALID, helios_txn_begin(db, &options, &txn));
    options = (helios_txn_options)HELIOS_TXN_OPTIONS_INIT;
    options.at = 1;
    EXPECT(HELIOS_INVALID, helios_txn_begin(db, &options, &txn));
    options.read_only = true;
    options.at = 99;
    EXPECT(HELIOS_INVALID, helios_txn_begin(db, &options, &txn));
    EXPECT(HELIOS_INVALID, helios_txn_begin(NULL, NULL, &txn));
    EXPECT(HELIOS_INVALID, helios_txn_begin(db, NULL, NULL));
    CHECK(stat(db, "transactions") == 0);

    options.at = 1;
    MUST(helios_txn_begin(db, &options, &txn));
    MUST(helios_put(db, NULL, text("a"), text("2")));
    MUST(helios_txn_get(txn, text("a"), &value));
    CHECK(value.size == 1 && value.data[0] == '1');
    EXPECT(HELIOS_READ_ONLY, helios_txn_put(txn, text("a"), text("3")));
    EXPECT(HELIOS_READ_ONLY, helios_txn_delete(txn, text("a")));
    EXPECT(HELIOS_READ_ONLY, helios_txn_delete_range(txn, text("a"), text("b")));
    EXPECT(HELIOS_BUSY, helios_close(db));
    MUST(helios_txn_commit(txn, &seq));
    CHECK(seq == 0);
    helios_txn_free(txn);

    MUST(helios_txn_begin(db, NULL, &txn));
    read.branch = 3;
    EXPECT(HELIOS_INVALID, helios_txn_iter(txn, &read, &it));
    read.branch = 0;
    read.at = 1;
    EXPECT(HELIOS_INVALID, helios_txn_iter(txn, &read, &it));
    MUST(helios_snapshot_new(db, 1, &snapshot));
    read.snapshot = snapshot;
    EXPECT(HELIOS_INVALID, helios_txn_iter(txn, &read, &it));
    helios_snapshot_free(db, snapshot);
    read.snapshot = NULL;
    read.at = helios_latest(db);
    MUST(helios_txn_iter(txn, &read, &it));
    EXPECT(HELIOS_INVALID, helios_txn_put(txn, (helios_slice){0}, text("")));
    EXPECT(HELIOS_INVALID, helios_txn_put(txn, text("a"), (helios_slice){0}));
    EXPECT(HELIOS_INVALID, helios_txn_get(txn, text("a"), NULL));
    EXPECT(HELIOS_NOT_FOUND, helios_txn_rollback_to_savepoint(txn));
    MUST(helios_txn_delete_range(txn, text("b"), text("a")));
    helios_iter_first(it);
    CHECK(helios_iter_valid(it) && helios_iter_seq(it) == helios_latest(db));
    MUST(helios_txn_put(txn, text("a"), text("4")));
    helios_iter_first(it);
    CHECK(helios_iter_valid(it) && helios_iter_seq(it) == 0);
    CHECK(stat(db, "transactions") == 1);
    MUST(helios_txn_commit(txn, &seq));
    CHECK(seq == helios_latest(db) && !helios_iter_valid(it));
    EXPECT(HELIOS_INVALID, helios_iter_status(it));
    EXPECT(HELIOS_INVALID, helios_txn_commit(txn, &seq));
    EXPECT(HELIOS_INVALID, helios_txn_rollback(txn));
    EXPECT(HELIOS_INVALID, helios_txn_get(txn, text("a"), &value));
    EXPECT(HELIOS_INVALID, helios_txn_put(txn, text("a"), text("5")));
    EXPECT(HELIOS_INVALID, helios_txn_iter(txn, NULL, &it));
    EXPECT(HELIOS_INVALID, helios_txn_savepoint(txn));
    helios_txn_free(txn); /* before its iterator */
    helios_iter_free(it);
    helios_txn_free(NULL);
    EXPECT(HELIOS_INVALID, helios_txn_commit(NULL, NULL));
    helios_buf_free(&value);
    CHECK(stat(db, "transactions") == 0 && stat(db, "iterators") == 0 && stat(db, "pins") == 0);
    MUST(helios_close(db));
}

/* Two read both keys and each writes one: a snapshot does not mind. */
static void write_skew(helios_isolation isolation, helios_status second)
{
    helios_db *db = open_memory(0);
    helios_buf value = {0};
    helios_txn *a, *b;

    MUST(helios_put(db, NULL, text("x"), text("1")));
    a = begin_as(db, isolation);
    b = begin_as(db, isolation);
    MUST(helios_txn_get(a, text("x"), &value));
    EXPECT(HELIOS_NOT_FOUND, helios_txn_get(a, text("y"), &value));
    MUST(helios_txn_get(b, text("x"), &value));
    EXPECT(HELIOS_NOT_FOUND, helios_txn_get(b, text("y"), &value));
    MUST(helios_txn_put(a, text("x"), text("2")));
    MUST(helios_txn_put(b, text("y\n"), text("2")));
    MUST(helios_txn_put(b, text("y"), text("2")));
    MUST(helios_txn_commit(a, NULL));
    EXPECT(second, helios_txn_commit(b, NULL));
    if (second == HELIOS_CONFLICT)
        CHECK(strstr(helios_last_error(), "\"x\""));
    helios_txn_free(a);
    helios_txn_free(b);
    helios_buf_free(&value);
    MUST(helios_close(db));
}

static void bad_keys_are_printed(void)
{
    helios_db *db = open_memory(0);
    helios_txn *txn = begin_as(db, HELIOS_ISOLATION_SNAPSHOT);

    MUST(helios_txn_put(txn, text("a\n\\b\xff"), text("")));
    MUST(helios_put(db, NULL, text("a\n\\b\xff"), text("")));
    EXPECT(HELIOS_CONFLICT, helios_txn_commit(txn, NULL));
    CHECK(strstr(helios_last_error(), "\"a\\x0a\\x5cb\\xff\""));
    helios_txn_free(txn);
    MUST(helios_close(db));
}

/* More commits than the ring has slots, in memtables or tables: validated in the tree. */
static void out_of_the_ring(bool flush, int overlap)
{
    struct io_fs *fs;
    helios_db *db;
    helios_txn *txn;
    helios_iter *it;
    helios_buf value = {0};

    MUST(io_memory_new(&fs));
    db = open_small(fs);
    MUST(helios_put(db, NULL, text("read"), text("1")));
    txn = begin_as(db, HELIOS_ISOLATION_SERIALIZABLE);
    MUST(helios_txn_get(txn, text("read"), &value));
    EXPECT(HELIOS_NOT_FOUND, helios_txn_get(txn, text("absent"), &value));
    MUST(helios_txn_iter(txn, NULL, &it));
    helios_iter_seek(it, text("r"));
    CHECK(helios_iter_valid(it));
    helios_iter_free(it);
    MUST(helios_txn_put(txn, text("mine"), text("2")));
    MUST(helios_txn_delete_range(txn, text("s"), text("t")));
    for (unsigned i = 0; i < 5000; i++) {
        char name[16];

        MUST(helios_put(db, NULL, slice_make(name, (size_t)snprintf(name, 16, "other%u", i % 100)), text("v")));
        if (i != 100)
            continue;
        switch (overlap) {
        case 1: MUST(helios_put(db, NULL, text("mine"), text("3"))); break;
        case 2: MUST(helios_delete(db, NULL, text("absent"))); break;
        case 3: MUST(helios_delete_range(db, NULL, text("p"), text("rb"))); break;
        case 4: MUST(helios_put(db, NULL, text("ra"), text("3"))); break;
        case 5: MUST(helios_put(db, NULL, text("sss"), text("3"))); break;
        case 6: MUST(helios_put(db, NULL, text("readx"), text("3"))); break; /* behind what was walked */
        default: break;
        }
    }
    if (flush) {
        MUST(helios_flush(db));
        MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    }
    EXPECT(overlap == 0 || overlap == 6 ? HELIOS_OK : HELIOS_CONFLICT, helios_txn_commit(txn, NULL));
    helios_txn_free(txn);
    helios_buf_free(&value);
    MUST(helios_close(db));
    io_free(fs);
}

/* A transaction that is written as tables of its own; a loser leaves none behind. */
static void large(bool lose)
{
    static unsigned char bytes[20000];
    struct io_fs *fs;
    helios_db *db;
    helios_txn *txn;
    helios_buf value = {0};
    helios_seq seq = 0;
    uint64_t files;

    MUST(io_memory_new(&fs));
    db = open_small(fs);
    MUST(helios_put(db, NULL, text("key07"), text("old")));
    MUST(helios_flush(db));
    files = stat(db, "files");
    txn = begin_as(db, HELIOS_ISOLATION_SNAPSHOT);
    for (unsigned i = 0; i < 200; i++) {
        char name[16];

        memset(bytes, (int)i, sizeof(bytes));
        MUST(helios_txn_put(txn, slice_make(name, (size_t)snprintf(name, 16, "key%02u", i % 100)),
                            slice_make(bytes, sizeof(bytes))));
    }
    MUST(helios_txn_delete_range(txn, text("key50"), text("key60")));
    MUST(helios_put(db, NULL, text(lose ? "key55" : "key"), text("new")));
    EXPECT(lose ? HELIOS_CONFLICT : HELIOS_OK, helios_txn_commit(txn, &seq));
    helios_txn_free(txn);
    if (lose)
        CHECK(stat(db, "files") == files);
    for (int again = 0; again < 2; again++) {
        MUST(helios_get(db, NULL, text("key07"), &value));
        CHECK(lose ? value.size == 3 : value.size == sizeof(bytes) && value.data[5] == 107);
        EXPECT(lose ? HELIOS_OK : HELIOS_NOT_FOUND, helios_get(db, NULL, text("key55"), &value));
        MUST(helios_verify(db, NULL, NULL));
        MUST(helios_close(db));
        db = open_small(fs);
    }
    helios_buf_free(&value);
    MUST(helios_close(db));
    io_free(fs);
}

/* ---- a commit that stays in flight while a transaction commits ---- */

struct held {
    helios_db *db;
    struct memtable_node *node;
    struct reserved reserved;
};

/* Reserves for one put, with its footprint or without, and goes no further. */
static void hold(struct held *h, helios_db *db, helios_slice name, bool footprint)
{
    const struct write_set set = {.one = {.kind = KIND_VALUE, .key = name, .value = name}, .count = 1};
    struct layered layered;
    struct mem_slot *slot;

    h->db = db;
    MUST(layered_init(&layered, 0, SPACE_USER, name));
    epoch_enter();
    slot = view_now(db)->active;
    h->node = memtable_prepare(slot->memtable, layered.key, name, KIND_VALUE);
    MUST(stretch_prepare(&slot->stretch));
    CHECK(h->node && reserve_try(db, 0, slot, 1, 0, footprint ? footprint_of(db, 0, &set) : NULL,
                                 &h->reserved) == RESERVE_DONE);
    epoch_leave();
}

static void let_go(struct held *h, bool give_up)
{
    struct memtable_hint hint = {0};

    if (give_up) {
        MUST(publish_void(h->db, &h->reserved));
        return;
    }
    memtable_insert(h->reserved.slot->memtable, h->node, h->reserved.last, &hint);
    MUST(publish(h->db, &h->reserved, 8));
}

struct committer {
    helios_txn *txn;
    helios_status status;
    _Atomic bool done;
};

static void *commit_it(void *arg)
{
    struct committer *c = arg;

    c->status = helios_txn_commit(c->txn, NULL);
    atomic_store(&c->done, true);
    return NULL;
}

static helios_status count_entry(void *arg, const char *name)
{
    *(uint64_t *)arg += strstr(name, ".sst") != NULL;
    return HELIOS_OK;
}

/* The transaction reads one key and writes others, as much as makes tables or not. The held commit may meet it; known
 * by its footprint or not, it is waited for and its outcome counts. */
static void held_up(const char *name, bool large_one, bool footprint, bool give_up, helios_status wanted)
{
    static unsigned char bytes[100000];
    struct committer c = {0};
    struct held held;
    struct io_fs *fs;
    helios_buf value = {0};
    pthread_t thread;
    helios_seq last;
    uint64_t tables = 0;

    MUST(io_memory_new(&fs));
    held.db = open_small(fs);
    c.txn = begin_as(held.db, HELIOS_ISOLATION_SERIALIZABLE);
    EXPECT(HELIOS_NOT_FOUND, helios_txn_get(c.txn, text("read"), &value));
    for (unsigned i = 0; i < (large_one ? 30 : 2); i++) {
        char own[16];

        MUST(helios_txn_put(c.txn, slice_make(own, (size_t)snprintf(own, 16, "own%u", i)),
                            slice_make(bytes, large_one ? sizeof(bytes) : 10)));
    }
    hold(&held, held.db, text(name), footprint);
    MUST(thread_start(&thread, "committer", commit_it, &c));
    thread_sleep(30000);
    CHECK(!atomic_load(&c.done));
    let_go(&held, give_up);
    thread_join(thread);
    EXPECT(wanted, c.status);
    helios_txn_free(c.txn);
    MUST(helios_flush(held.db));
    MUST(io_list(fs, "/db/sst", count_entry, &tables));
    CHECK(tables == stat(held.db, "files")); /* a loser's are removed */
    last = helios_latest(held.db);
    for (int again = 0; again < 2; again++) {
        EXPECT(wanted == HELIOS_OK ? HELIOS_OK : HELIOS_NOT_FOUND,
               helios_get(held.db, NULL, text("own0"), &value));
        MUST(helios_get(held.db, NULL, text(name), &value)); /* whoever of the two wrote it */
        CHECK(helios_latest(held.db) == last);
        MUST(helios_close(held.db));
        held.db = open_small(fs);
    }
    MUST(helios_put(held.db, NULL, text("own1"), text("")));
    MUST(helios_close(held.db));
    helios_buf_free(&value);
    io_free(fs);
}

/* Something was first between the validation and the reservation: the numbers become VOID in the log. */
static void beaten_at_the_reservation(void)
{
    struct io_fs *fs;
    helios_db *db;
    helios_txn *txn;
    helios_buf value = {0};
    struct write_set set;
    helios_seq seq = 7, before;

    MUST(io_memory_new(&fs));
    db = open_small(fs);
    txn = begin_as(db, HELIOS_ISOLATION_SNAPSHOT);
    MUST(helios_txn_put(txn, text("key"), text("mine")));
    MUST(txn_validate(txn));
    MUST(helios_put(db, NULL, text("key"), text("theirs")));
    before = helios_latest(db);
    set = write_set_of(&txn->batch);
    set.txn = txn;
    EXPECT(HELIOS_CONFLICT, commit_write(db, 0, HELIOS_DURABILITY_SYNC, &set, &seq));
    CHECK(seq == 7 && helios_latest(db) == before);
    EXPECT(HELIOS_CONFLICT, helios_txn_commit(txn, NULL));
    helios_txn_free(txn);
    MUST(helios_put(db, NULL, text("later"), text("")));
    before = helios_latest(db);
    for (int again = 0; again < 2; again++) {
        MUST(helios_get(db, NULL, text("key"), &value));
        CHECK(value.size == 6 && helios_latest(db) == before);
        MUST(helios_close(db));
        db = open_small(fs);
    }
    helios_buf_free(&value);
    MUST(helios_close(db));
    io_free(fs);
}

static void limited(void)
{
    helios_db *db = open_memory(10000);
    helios_txn *txn = begin_as(db, HELIOS_ISOLATION_SERIALIZABLE);
    helios_buf value = {0};
    helios_iter *it;
    helios_status status = HELIOS_OK;
    unsigned writes = 0, reads = 0;
    char name[16];

    while (writes < 1000 && status == HELIOS_OK) {
        status =
            helios_txn_put(txn, slice_make(name, (size_t)snprintf(name, 16, "w%u", writes)), text("value"));
        writes += status == HELIOS_OK;
    }
    CHECK(status == HELIOS_LIMIT && writes > 20);
    EXPECT(HELIOS_LIMIT, helios_txn_get(txn, text("r"), &value));
    MUST(helios_txn_get(txn, text("w3"), &value));
    MUST(helios_txn_commit(txn, NULL));
    helios_txn_free(txn);

    txn = begin_as(db, HELIOS_ISOLATION_SERIALIZABLE);
    for (status = HELIOS_OK; reads < 1000 && status != HELIOS_LIMIT; reads++)
        status = helios_txn_get(txn, slice_make(name, (size_t)snprintf(name, 16, "r%u", reads)), &value);
    CHECK(status == HELIOS_LIMIT && reads > 20);
    MUST(helios_txn_iter(txn, NULL, &it));
    helios_iter_first(it);
    for (unsigned i = 0; i < 1000 && helios_iter_status(it) == HELIOS_OK; i++) {
        helios_iter_seek(it, slice_make(name, (size_t)snprintf(name, 16, "w%u", i % writes)));
    }
    EXPECT(HELIOS_LIMIT, helios_iter_status(it));
    helios_iter_free(it);
    MUST(helios_txn_commit(txn, NULL));
    helios_txn_free(txn);
    helios_buf_free(&value);
    MUST(helios_close(db));
}

/* Allocation n fails: every call succeeds or says so, and afterwards all is as it should be. */
static bool run_without_memory(helios_db *db, uint64_t n)
{
    helios_txn *txn = NULL;
    helios_iter *it = NULL;
    helios_buf value = {0};
    helios_seq seq = 0;
    uint64_t before;
    char big[700];
    bool put, deleted;
    helios_status status;

    memset(big, 'b', sizeof(big));
    MUST(helios_put(db, NULL, text("a"), text("1")));
    MUST(helios_put(db, NULL, text("q"), text("1")));
    before = mem_count();
    mem_fail_thread_only(true);
    mem_fail_at(n, false);
    status = helios_txn_begin(
        db,
        &(helios_txn_options){.size = sizeof(helios_txn_options), .isolation = HELIOS_ISOLATION_SERIALIZABLE},
        &txn);
    if (status != HELIOS_OK) {
        mem_fail_at(0, false);
        CHECK(status == HELIOS_NO_MEMORY);
        return true;
    }
    put = helios_txn_put(txn, text("a"), text("2")) == HELIOS_OK;
    (void)!helios_txn_get(txn, text("q"), &value);
    if (helios_txn_iter(txn, NULL, &it) == HELIOS_OK)
        for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it))
            (void)!helios_txn_put(txn, slice_make(big, sizeof(big)), text("x"));
    deleted = helios_txn_delete_range(txn, text("p"), text("r")) == HELIOS_OK;
    if (helios_txn_savepoint(txn) == HELIOS_OK) {
        (void)!helios_txn_put(txn, text("a"), text("3"));
        (void)!helios_txn_put(txn, slice_make(big, sizeof(big)), text("x"));
        (void)!helios_txn_delete_range(txn, text("a"), slice_make(big, sizeof(big)));
        while ((status = helios_txn_rollback_to_savepoint(txn)) != HELIOS_OK)
            CHECK(status == HELIOS_NO_MEMORY);
    }
    status = helios_txn_commit(txn, &seq);
    mem_fail_at(0, false);
    if (status != HELIOS_OK && helios_txn_commit(txn, &seq) == HELIOS_OK)
        status = HELIOS_OK;
    CHECK(status == HELIOS_OK || status == HELIOS_NO_MEMORY);
    helios_txn_free(txn);
    helios_iter_free(it);
    MUST(helios_get(db, NULL, text("a"), &value));
    CHECK(value.data[0] == (status == HELIOS_OK && put ? '2' : '1'));
    EXPECT(status == HELIOS_OK && deleted ? HELIOS_NOT_FOUND : HELIOS_OK,
           helios_get(db, NULL, text("q"), &value));
    helios_buf_free(&value);
    return mem_count() - before >= n;
}

static void without_memory(void)
{
    struct io_fs *fs;
    helios_db *db;
    uint64_t n = 1;

    MUST(io_memory_new(&fs));
    db = open_small(fs);
    while (run_without_memory(db, n))
        n++;
    CHECK(n > 10);
    mem_fail_thread_only(false);
    MUST(helios_close(db));
    io_free(fs);
}

static helios_status fail_with(void *arg, helios_txn *txn)
{
    MUST(helios_txn_put(txn, text("never"), text("")));
    return *(helios_status *)arg;
}

static unsigned tries;
static helios_status conflict_twice(void *arg, helios_txn *txn)
{
    MUST(helios_txn_put(txn, text("run"), text("")));
    if (tries++ < 20)
        MUST(helios_put(arg, NULL, text("run"), text("other")));
    return HELIOS_OK;
}

static void runs(void)
{
    helios_db *db = open_memory(0);
    helios_status status = HELIOS_LIMIT;
    helios_buf value = {0};
    helios_seq seq;

    EXPECT(HELIOS_LIMIT, helios_txn_run(db, NULL, fail_with, &status, &seq));
    EXPECT(HELIOS_NOT_FOUND, helios_get(db, NULL, text("never"), &value));
    EXPECT(HELIOS_INVALID, helios_txn_run(db, NULL, NULL, NULL, NULL));
    MUST(helios_txn_run(db, NULL, conflict_twice, db, &seq));
    CHECK(tries == 21 && seq == helios_latest(db));
    MUST(helios_get(db, NULL, text("run"), &value));
    CHECK(value.size == 0);
    helios_buf_free(&value);
    MUST(helios_close(db));
}

static void cases(void)
{
    promises();
    write_skew(HELIOS_ISOLATION_SNAPSHOT, HELIOS_OK);
    write_skew(HELIOS_ISOLATION_SERIALIZABLE, HELIOS_CONFLICT);
    bad_keys_are_printed();
    for (int overlap = 0; overlap <= 6; overlap++) {
        out_of_the_ring(false, overlap);
        out_of_the_ring(true, overlap);
    }
    large(false);
    large(true);
    beaten_at_the_reservation();
    for (int bits = 0; bits < 4; bits++) {
        held_up("own1", bits & 1, bits & 2, false, HELIOS_CONFLICT);
        held_up("read", bits & 1, bits & 2, false, HELIOS_CONFLICT);
        held_up("own1", bits & 1, bits & 2, true, HELIOS_OK);
        held_up("other", bits & 1, bits & 2, false, HELIOS_OK); /* waits to be published, all the same */
    }
    limited();
    without_memory();
    runs();
    printf("cases: done\n");
}

/* ---- threads ---- */

enum { COUNTERS = 16, ROUNDS = 60, ACCOUNTS = 12, TOTAL = ACCOUNTS * 100 };

struct team {
    helios_db *db;
    _Atomic unsigned index;
    _Atomic bool stop;
    _Atomic uint64_t longest; /* us */
};

static uint64_t number_in(const helios_buf *value)
{
    uint64_t number = 0;

    CHECK(value->size == sizeof(number));
    memcpy(&number, value->data, sizeof(number));
    return number;
}

static helios_status add_one(void *arg, helios_txn *txn)
{
    helios_buf value = {0};
    helios_status status = helios_txn_get(txn, text(arg), &value);
    uint64_t number = status == HELIOS_OK ? number_in(&value) + 1 : 1;

    helios_buf_free(&value);
    return helios_txn_put(txn, text(arg), slice_make(&number, sizeof(number)));
}

static void *count_up(void *arg)
{
    struct team *team = arg;

    for (int i = 0; i < ROUNDS; i++) {
        uint64_t began = io_monotonic(team->db->fs), took, longest;

        MUST(helios_txn_run(team->db, NULL, add_one, "counter", NULL));
        took = io_monotonic(team->db->fs) - began;
        longest = atomic_load(&team->longest);
        while (took > longest && !atomic_compare_exchange_weak(&team->longest, &longest, took))
            ;
    }
    return NULL;
}

/* Moves money between two accounts that it finds by a scan; the sum never changes. */
struct transfer {
    unsigned from, to;
};

static helios_status move_money(void *arg, helios_txn *txn)
{
    const struct transfer *move = arg;
    helios_iter *it;
    uint64_t sum = 0, balance[ACCOUNTS];
    unsigned n = 0;
    char name[16];
    helios_status status = helios_txn_iter(txn, NULL, &it);

    if (status != HELIOS_OK)
        return status;
    for (helios_iter_seek(it, text("account")); helios_iter_valid(it) && n < ACCOUNTS; helios_iter_next(it)) {
        CHECK(slice_starts_with(helios_iter_key(it), text("account")));
        memcpy(&balance[n], helios_iter_value(it).data, 8);
        sum += balance[n++];
    }
    helios_iter_free(it);
    CHECK(n == ACCOUNTS && sum == TOTAL);
    if (balance[move->from] == 0 || move->from == move->to)
        return HELIOS_OK;
    balance[move->from]--;
    balance[move->to]++;
    snprintf(name, sizeof(name), "account%02u", move->from);
    status = helios_txn_put(txn, text(name), slice_make(&balance[move->from], 8));
    snprintf(name, sizeof(name), "account%02u", move->to);
    return status == HELIOS_OK ? helios_txn_put(txn, text(name), slice_make(&balance[move->to], 8)) : status;
}

static void *move_about(void *arg)
{
    struct team *team = arg;
    helios_txn_options options = HELIOS_TXN_OPTIONS_INIT;
    struct random rng;

    options.isolation = HELIOS_ISOLATION_SERIALIZABLE;
    random_seed(&rng, seed + atomic_fetch_add(&team->index, 1));
    for (int i = 0; i < ROUNDS * 2; i++) {
        struct transfer move = {(unsigned)random_below(&rng, ACCOUNTS), (unsigned)random_below(&rng, ACCOUNTS)};

        MUST(helios_txn_run(team->db, &options, move_money, &move, NULL));
    }
    return NULL;
}

/* Keys of its own: nobody is in the way, nothing may be refused. */
static void *keep_apart(void *arg)
{
    struct team *team = arg;
    unsigned me = atomic_fetch_add(&team->index, 1);
    helios_buf value = {0};
    char name[32];

    for (uint64_t i = 0; i < ROUNDS * 4; i++) {
        helios_txn *txn = begin_as(team->db, i % 2 ? HELIOS_ISOLATION_SERIALIZABLE : HELIOS_ISOLATION_SNAPSHOT);
        helios_slice own = slice_make(name, (size_t)snprintf(name, sizeof(name), "own%02u", me));

        if (i)
            MUST(helios_txn_get(txn, own, &value));
        CHECK(i == 0 || number_in(&value) == i - 1);
        MUST(helios_txn_put(txn, own, slice_make(&i, sizeof(i))));
        MUST(helios_txn_commit(txn, NULL));
        helios_txn_free(txn);
    }
    helios_buf_free(&value);
    return NULL;
}

static void *disturb(void *arg)
{
    struct team *team = arg;
    static unsigned char bytes[3000];
    char name[32];

    for (unsigned i = 0; !atomic_load(&team->stop); i++) {
        helios_batch *batch = helios_batch_new();

        for (unsigned j = 0; j < (i % 16 == 0 ? 200 : 3); j++)
            helios_batch_put(batch, slice_make(name, (size_t)snprintf(name, sizeof(name), "zz%03u", j)),
                             slice_make(bytes, sizeof(bytes)));
        MUST(helios_write(team->db, NULL, batch, NULL));
        helios_batch_free(batch);
        if (i % 32 == 7)
            MUST(helios_flush(team->db));
        thread_sleep(500);
    }
    return NULL;
}

static void start(pthread_t *thread, void *(*run)(void *), struct team *team)
{
    MUST(thread_start(thread, "txn", run, team));
}

static void threads(void)
{
    pthread_t counters[COUNTERS], movers[3], loners[3], disturber;
    struct team team = {0};
    struct io_fs *fs;
    helios_buf value = {0};
    uint64_t balance = 100;
    char name[16];

    MUST(io_memory_new(&fs));
    team.db = open_small(fs);
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        snprintf(name, sizeof(name), "account%02u", i);
        MUST(helios_put(team.db, NULL, text(name), slice_make(&balance, 8)));
    }
    for (int i = 0; i < COUNTERS; i++)
        start(&counters[i], count_up, &team);
    start(&disturber, disturb, &team);
    for (int i = 0; i < 3; i++) {
        start(&movers[i], move_about, &team);
        start(&loners[i], keep_apart, &team);
    }
    for (int i = 0; i < COUNTERS; i++)
        thread_join(counters[i]);
    for (int i = 0; i < 3; i++) {
        thread_join(movers[i]);
        thread_join(loners[i]);
    }
    atomic_store(&team.stop, true);
    thread_join(disturber);
    for (int again = 0; again < 2; again++) {
        MUST(helios_get(team.db, NULL, text("counter"), &value));
        CHECK(number_in(&value) == COUNTERS * ROUNDS);
        MUST(helios_close(team.db));
        team.db = open_small(fs);
    }
    MUST(helios_close(team.db));
    helios_buf_free(&value);
    io_free(fs);
    printf("threads: done; the longest run of a counter took %" PRIu64 " us\n", atomic_load(&team.longest));
}

int main(int argc, char **argv)
{
    const char *what = NULL;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--steps") == 0 && i + 1 < argc)
            steps = (unsigned)strtoul(argv[++i], NULL, 10);
        else
            what = argv[i];
    }
    if (!what || strcmp(what, "model") == 0)
        model();
    if (!what || strcmp(what, "cases") == 0)
        cases();
    if (!what || strcmp(what, "threads") == 0)
        threads();
    return 0;
}
