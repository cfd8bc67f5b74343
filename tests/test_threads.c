/* test_threads.c - writers, readers, iterators, snapshots, flushes, compactions and checkpoints at once on a small
 * memtable, to be run under TSan too.
 *
 * Every writer owns a group of keys and always writes all of them in one batch with one counter, or deletes all of
 * them, in one of several ways. So at every read point all keys of a group show one counter, or none is there; and
 * from one snapshot to a later one the counter of a group does not go back.
 *
 *   test_threads [--seconds N] [--seed N] [--disk] */
#undef NDEBUG
#include "base/random.h"
#include "engine/engine_internal.h"
#include "engine/identity.h"
#include "tests/feed_replay.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { GROUPS = 4, GROUP_KEYS = 24, READERS = 2, VALUE_BYTES = 120 };

struct test {
    struct io_fs *fs;
    char path[256];
    helios_db *db;
    uint64_t seed, seconds;
    helios_options options;
    _Atomic bool stop;
    struct feed_replay *replay;            /* by its thread, then by main */
    _Atomic uint64_t acknowledged[GROUPS]; /* the newest counter that a writer knows to be visible */
    _Atomic uint64_t writes, reads;
};

struct worker {
    struct test *test;
    unsigned index;
    struct random rng;
};

static void must_at(int line, helios_status status)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "test_threads.c:%d: %s: %s\n", line, helios_status_name(status), helios_last_error());
    abort();
}
#define MUST(call) must_at(__LINE__, call)

static helios_slice key_of(unsigned group, unsigned index, char out[32])
{
    /* Groups interleave, so that their keys share blocks and ranges. */
    return slice_make(out, (size_t)snprintf(out, 32, "key%03u-%u", index, group));
}

/* ---- writers ---- */

/* All keys of the group with one counter. A large batch repeats them, so that it is ingested. */
static void fill_batch(helios_batch *batch, unsigned group, uint64_t counter, unsigned rounds)
{
    unsigned char value[4096] = {0};
    size_t size = rounds > 1 ? sizeof(value) : VALUE_BYTES;
    char key[32];

    memcpy(value, &counter, sizeof(counter));
    for (unsigned r = 0; r < rounds; r++)
        for (unsigned i = 0; i < GROUP_KEYS; i++)
            helios_batch_put(batch, key_of(group, i, key), slice_make(value, size));
}

/* Deletes the group: key by key, or by ranges that end just behind each key. */
static void fill_deletes(helios_batch *batch, unsigned group, bool ranges)
{
    char key[32], end[33];

    for (unsigned i = 0; i < GROUP_KEYS; i++) {
        helios_slice from = key_of(group, i, key);

        if (!ranges) {
            helios_batch_delete(batch, from);
            continue;
        }
        memcpy(end, from.data, from.size);
        end[from.size] = 0;
        helios_batch_delete_range(batch, from, slice_make(end, from.size + 1));
    }
}

static void *write_run(void *arg)
{
    struct worker *w = arg;
    struct test *t = w->test;
    helios_batch *batch = helios_batch_new();
    helios_seq last = 0;
    char key[32];

    for (uint64_t counter = 1; !atomic_load(&t->stop); counter++) {
        helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
        uint64_t dice = random_below(&w->rng, 200);
        helios_seq commit = 0;

        options.durability = (helios_durability)random_below(&w->rng, 4);
        helios_batch_clear(batch);
        if (dice < 10 || dice > 190)
            fill_deletes(batch, w->index, dice < 5 || dice > 195);
        if (dice >= 10)
            fill_batch(batch, w->index, counter, dice == 100 ? 14 : 1);
        MUST(helios_write(t->db, &options, batch, &commit));
        assert(commit > last);
        last = commit;
        if (dice >= 10)
            atomic_store(&t->acknowledged[w->index], counter);
        /* Read your own write. */
        if (dice >= 10) {
            helios_buf value = {0};

            MUST(helios_get(t->db, NULL, key_of(w->index, (unsigned)counter % GROUP_KEYS, key), &value));
            assert(memcmp(value.data, &counter, sizeof(counter)) == 0);
            helios_buf_free(&value);
        }
        /* A key of nobody's group: plain calls race with the batches. */
        MUST(helios_put(t->db, NULL, slice_make("zz", 2), slice_make(&counter, sizeof(counter))));
        if (dice % 16 == 0)
            MUST(helios_delete_range(t->db, NULL, slice_make("z", 1), slice_make("zzz", 3)));
        atomic_fetch_add(&t->writes, 1);
    }
    helios_batch_free(batch);
    return NULL;
}

/* ---- readers ---- */

static uint64_t counter_in(helios_slice value)
{
    uint64_t counter;

    assert(value.size >= sizeof(counter));
    memcpy(&counter, value.data, sizeof(counter));
    return counter;
}

/* Group of a key "key%03u-%u". */
static unsigned group_of(helios_slice key)
{
    return (unsigned)(((const char *)key.data)[key.size - 1] - '0');
}

/* What one walk saw of each group. */
struct seen {
    uint64_t counter[GROUPS];
    unsigned keys[GROUPS];
};

static void see(struct seen *seen, helios_slice key, helios_slice value)
{
    unsigned group = group_of(key);

    if (seen->keys[group]++ == 0)
        seen->counter[group] = counter_in(value);
    assert(seen->counter[group] == counter_in(value));
}

static void check_whole(const struct seen *seen)
{
    for (unsigned g = 0; g < GROUPS; g++)
        assert(seen->keys[g] == 0 || seen->keys[g] == GROUP_KEYS);
}

static void walk(helios_db *db, const helios_snapshot *snapshot, bool backwards, bool slowly, struct seen *seen)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_iter *it = NULL;

    *seen = (struct seen){0};
    options.snapshot = snapshot;
    options.upper = slice_make("l", 1);
    MUST(helios_iter_new(db, &options, &it));
    (backwards ? helios_iter_last : helios_iter_first)(it);
    for (; helios_iter_valid(it); (backwards ? helios_iter_prev : helios_iter_next)(it)) {
        see(seen, helios_iter_key(it), helios_iter_value(it));
        if (slowly)
            thread_sleep(300);
    }
    MUST(helios_iter_status(it));
    helios_iter_free(it);
    check_whole(seen);
}

static void same(const struct seen *a, const struct seen *b)
{
    for (unsigned g = 0; g < GROUPS; g++)
        assert(a->keys[g] == b->keys[g] && a->counter[g] == b->counter[g]);
}

/* All of a group by multi_get at one point. */
static void get_group(struct test *t, const helios_snapshot *snapshot, unsigned group, struct seen *seen)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    char names[GROUP_KEYS][32];
    helios_slice keys[GROUP_KEYS];
    helios_buf values[GROUP_KEYS] = {{0}};
    helios_status each[GROUP_KEYS];

    *seen = (struct seen){0};
    options.snapshot = snapshot;
    for (unsigned i = 0; i < GROUP_KEYS; i++)
        keys[i] = key_of(group, i, names[i]);
    MUST(helios_multi_get(t->db, &options, GROUP_KEYS, keys, values, each));
    for (unsigned i = 0; i < GROUP_KEYS; i++) {
        if (each[i] == HELIOS_OK)
            see(seen, keys[i], slice_make(values[i].data, values[i].size));
        else
            assert(each[i] == HELIOS_NOT_FOUND);
        helios_buf_free(&values[i]);
    }
    check_whole(seen);
}

static void *read_run(void *arg)
{
    struct worker *w = arg;
    struct test *t = w->test;
    struct seen before = {0}, now, again;

    while (!atomic_load(&t->stop)) {
        uint64_t known[GROUPS];
        unsigned group = (unsigned)random_below(&w->rng, GROUPS);
        helios_snapshot *snapshot = NULL;

        for (unsigned g = 0; g < GROUPS; g++)
            known[g] = atomic_load(&t->acknowledged[g]);
        MUST(helios_snapshot_new(t->db, 0, &snapshot));
        walk(t->db, snapshot, random_below(&w->rng, 2), random_below(&w->rng, 20) == 0, &now);
        for (unsigned g = 0; g < GROUPS; g++)
            if (now.keys[g]) {
                assert(now.counter[g] >= known[g]);
                assert(now.counter[g] >= before.counter[g]);
                before.counter[g] = now.counter[g];
            }
        walk(t->db, snapshot, random_below(&w->rng, 2), false, &again);
        same(&now, &again);
        get_group(t, snapshot, group, &again);
        assert(again.keys[group] == now.keys[group] && again.counter[group] == now.counter[group]);
        helios_snapshot_free(t->db, snapshot);
        get_group(t, NULL, group, &again);
        atomic_fetch_add(&t->reads, 1);
    }
    return NULL;
}

/* ---- upkeep ---- */

static void checkpoint(struct test *t)
{
    char path[300];
    helios_options options = t->options;
    helios_db *copy = NULL;
    struct seen seen;

    snprintf(path, sizeof(path), "%s-copy", t->path);
    MUST(helios_checkpoint(t->db, path));
    options.create_if_missing = false;
    MUST(engine_open(t->fs, path, &options, &copy));
    walk(copy, NULL, false, false, &seen);
    MUST(helios_verify(copy, NULL, NULL));
    MUST(helios_close(copy));
    MUST(directory_remove_ours(t->fs, path, true));
}

static void *upkeep_run(void *arg)
{
    struct worker *w = arg;
    struct test *t = w->test;
    uint64_t value, dice;
    char *json = NULL;

    while (!atomic_load(&t->stop)) {
        dice = random_below(&w->rng, 10);
        if (dice < 4) {
            MUST(helios_flush(t->db));
        } else if (dice < 5) {
            MUST(helios_compact(t->db, (helios_slice){0}, (helios_slice){0}));
        } else if (dice < 6) {
            checkpoint(t);
        } else if (dice < 7) {
            MUST(helios_verify(t->db, NULL, NULL));
        } else if (dice < 8) {
            MUST(helios_sync(t->db));
        } else {
            MUST(helios_stats_json(t->db, &json));
            helios_free(json);
            MUST(helios_approximate_size(t->db, 0, slice_make("k", 1), slice_make("l", 1), &value));
            MUST(helios_wait_durable(t->db, helios_latest(t->db), UINT64_MAX));
        }
        thread_sleep(random_below(&w->rng, 5000));
    }
    return NULL;
}

/* Follows the feed while it is written. */
static void *replay_run(void *arg)
{
    struct worker *w = arg;
    struct test *t = w->test;

    while (!atomic_load(&t->stop)) {
        feed_replay_follow(t->replay, t->db);
        thread_sleep(random_below(&w->rng, 300000));
    }
    return NULL;
}

/* ---- running ---- */

enum { WORKERS = GROUPS + READERS + 2 };

static void run(struct test *t)
{
    struct worker workers[WORKERS];
    pthread_t threads[WORKERS];
    struct seen before, after;

    for (unsigned i = 0; i < WORKERS; i++) {
        void *(*work)(void *) = i < GROUPS             ? write_run
                                : i < GROUPS + READERS ? read_run
                                : i < WORKERS - 1      ? upkeep_run
                                                       : replay_run;

        workers[i] = (struct worker){.test = t, .index = i};
        random_seed(&workers[i].rng, t->seed * 100 + i);
        MUST(thread_start(&threads[i], "worker", work, &workers[i]));
    }
    thread_sleep(t->seconds * 1000000);
    atomic_store(&t->stop, true);
    for (unsigned i = 0; i < WORKERS; i++)
        thread_join(threads[i]);
    walk(t->db, NULL, false, false, &before);
    feed_replay_release(t->replay);
    MUST(helios_close(t->db));
    MUST(engine_open(t->fs, t->path, &t->options, &t->db));
    walk(t->db, NULL, true, false, &after);
    same(&before, &after);
    feed_replay_opened(t->replay, t->db);
    feed_replay_follow(t->replay, t->db);
    feed_replay_report(t->replay);
    MUST(helios_verify(t->db, NULL, NULL));
    MUST(helios_close(t->db));
}

int main(int argc, char **argv)
{
    struct feed_replay_options replay = {.others_write = true, .no_trim = true};
    struct test t = {.seed = 1, .seconds = 5};
    bool disk = false;

    for (int i = 1; i < argc; i++) {
        disk |= strcmp(argv[i], "--disk") == 0;
        if (i + 1 < argc && strcmp(argv[i], "--seconds") == 0)
            t.seconds = strtoull(argv[i + 1], NULL, 10);
        if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
            t.seed = strtoull(argv[i + 1], NULL, 10);
    }
    t.options = (helios_options)HELIOS_OPTIONS_INIT;
    t.options.memtable_bytes = 64 << 10;
    t.options.block_cache_bytes = 256 << 10;
    t.options.history_retention = t.seed % 2 ? 0 : 1000000;
    t.options.background_threads = 3;
    t.options.feed_retention = HELIOS_FOREVER;
    snprintf(t.path, sizeof(t.path), "/threads");
    if (disk) {
        snprintf(t.path, sizeof(t.path), "%s/helios-threads-XXXXXX",
                 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
        assert(mkdtemp(t.path));
        t.fs = io_posix();
    } else {
        MUST(io_memory_new(&t.fs));
    }
    MUST(engine_open(t.fs, t.path, &t.options, &t.db));
    replay.seed = t.seed;
    t.replay = feed_replay_new(&replay);
    run(&t);
    feed_replay_free(t.replay);
    printf("seed %" PRIu64 ": %" PRIu64 " batches, %" PRIu64 " reads\n", t.seed, atomic_load(&t.writes),
           atomic_load(&t.reads));
    MUST(directory_remove_ours(t.fs, t.path, true));
    io_free(t.fs);
    return 0;
}
