/* test_feed_threads.c - the change feed with everything at once: cursors with all kinds of filters, images and expanded
 * ranges, two consumers that commit their position with their work, names that come and go, the judge of the feed; beside
 * writers, branches that are made, merged and dropped, flushes, compactions, trims and changing retention. To be run under
 * TSan too.
 * Usage: test_feed_threads [--seed S] [--seconds N] */
#undef NDEBUG
#include "base/thread.h"
#include "tests/derived.h"
#include "tests/feed_replay.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { CONSUMERS = 2 };

static uint64_t seed = 1;
static helios_db *db;
static struct feed_replay *replay;
static struct derived consumers[CONSUMERS] = {{.name = "images", .images = true},
                                              {.name = "plain", .unsynced = true}};
static _Atomic bool stop;
static _Atomic uint64_t writes, reads;

static void must(helios_status status, int line, const char *what)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "test_feed_threads.c:%d: seed %" PRIu64 ": %s: %s: %s\n", line, seed, what,
            helios_status_name(status), helios_last_error());
    abort();
}
#define MUST(call) must(call, __LINE__, #call)

static void *write_on(void *arg)
{
    struct random *rng = arg;

    while (!atomic_load(&stop)) {
        MUST(derived_write(db, rng, random_below(rng, 400) == 0));
        if (atomic_fetch_add(&writes, 1) % 32 == 0)
            thread_sleep(2000);
    }
    return NULL;
}

static void *consume_on(void *arg)
{
    struct random *rng = arg;
    struct derived *d = &consumers[rng->s[3] % CONSUMERS];

    while (!atomic_load(&stop)) {
        MUST(derived_read(d, 100000, 1 + (unsigned)random_below(rng, 300)));
        MUST(derived_commit(d, db, HELIOS_DURABILITY_ASYNC));
    }
    return NULL;
}

static void *follow_on(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        feed_replay_follow(replay, db);
        thread_sleep(20000);
    }
    return NULL;
}

/* What a reader may meet: what it wants to begin with was trimmed, or its history has gone, also while it reads. */
static bool may_be(helios_status status, const helios_changes_options *options)
{
    return status == HELIOS_FEED_TRIMMED ||
           (status == HELIOS_HISTORY_GONE && (options->before_images || options->expand_ranges));
}

static void *read_on(void *arg)
{
    struct random *rng = arg;
    const helios_branch_id main_branch = 0;

    while (!atomic_load(&stop)) {
        helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
        helios_changes *changes = NULL;
        helios_change change;
        helios_status status;
        helios_seq last = 0;

        options.from = random_below(rng, 2) ? 1 + random_below(rng, helios_latest(db) + 1) : 0;
        options.before_images = random_below(rng, 2);
        options.expand_ranges = random_below(rng, 2);
        options.unsynced = random_below(rng, 2);
        options.all_spaces = random_below(rng, 2);
        options.branch = random_below(rng, 2) ? &main_branch : NULL;
        options.prefix = random_below(rng, 2) ? slice_text("in/3") : (helios_slice){0};
        options.consumer = random_below(rng, 8) ? NULL : "passing";
        status = helios_changes_new(db, &options, &changes);
        for (int i = 0; status == HELIOS_OK && i < 300; i++) {
            status = helios_changes_next(changes, 1000, &change);
            if (status != HELIOS_OK)
                break;
            assert(change.lsn > last || (options.expand_ranges && change.lsn == last));
            last = change.lsn;
            atomic_fetch_add(&reads, 1);
        }
        if (last && options.consumer && status != HELIOS_FEED_TRIMMED)
            MUST(helios_changes_ack(changes, last));
        if (status != HELIOS_TIMEOUT && status != HELIOS_BUSY && !may_be(status, &options))
            MUST(status);
        helios_changes_free(changes);
    }
    return NULL;
}

static void *branch_on(void *arg)
{
    struct random *rng = arg;
    helios_merge_options options = HELIOS_MERGE_OPTIONS_INIT;
    char name[32];

    options.strategy = HELIOS_MERGE_THEIRS;
    for (unsigned i = 0; !atomic_load(&stop); i++) {
        helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;

        snprintf(name, sizeof(name), "branch %u", i);
        MUST(helios_branch_create(db, name, 0, 0, &write.branch));
        for (int k = 0; k < 5; k++)
            MUST(helios_put(db, &write, slice_text("in/31"), slice_make(name, 8 + (size_t)k % 2)));
        MUST(helios_delete_range(db, &write, slice_text("in/40"), slice_text("in/45")));
        if (random_below(rng, 2))
            MUST(helios_branch_merge(db, write.branch, 0, &options, NULL));
        MUST(helios_branch_drop(db, write.branch));
        thread_sleep(10000);
    }
    return NULL;
}

static void *upkeep_on(void *arg)
{
    struct random *rng = arg;
    helios_status status;

    while (!atomic_load(&stop)) {
        switch (random_below(rng, 7)) {
        case 0: MUST(helios_flush(db)); break;
        case 1: MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0})); break;
        case 2: MUST(helios_feed_trim(db, helios_latest(db) + 1, NULL)); break;
        case 3: MUST(helios_set_history_retention(db, random_below(rng, 2) ? 0 : 1000000)); break;
        case 4: MUST(helios_sync(db)); break;
        default:
            status = helios_consumer_drop(db, "passing");
            if (status != HELIOS_NOT_FOUND && status != HELIOS_BUSY)
                MUST(status);
        }
        thread_sleep(random_below(rng, 30000));
    }
    return NULL;
}

static void *(*const kinds[])(void *) = {write_on, write_on, consume_on, consume_on, follow_on,
                                         read_on,  read_on,  branch_on,  upkeep_on};
enum { THREADS = sizeof(kinds) / sizeof(kinds[0]) };

static void run(uint64_t seconds)
{
    struct random rngs[THREADS];
    pthread_t threads[THREADS];

    for (unsigned i = 0; i < THREADS; i++) {
        random_seed(&rngs[i], seed * 100 + i);
        rngs[i].s[3] = rngs[i].s[3] / CONSUMERS * CONSUMERS + i % CONSUMERS; /* each consumer once */
        MUST(thread_start(&threads[i], "feed", kinds[i], &rngs[i]));
    }
    thread_sleep(seconds * 1000000);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < THREADS; i++)
        thread_join(threads[i]);
}

int main(int argc, char **argv)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_changes_options holding = HELIOS_CHANGES_OPTIONS_INIT;
    struct feed_replay_options replaying = {.others_write = true, .no_trim = true};
    uint64_t seconds = 3;
    struct io_fs *fs;
    helios_changes *held;

    for (int i = 1; i + 1 < argc; i += 2)
        *(strcmp(argv[i], "--seed") == 0 ? &seed : &seconds) = strtoull(argv[i + 1], NULL, 10);
    options.memtable_bytes = 64 << 10;
    options.feed_retention = HELIOS_FOREVER;
    MUST(io_memory_new(&fs));
    MUST(engine_open(fs, "/db", &options, &db));
    holding.consumer = "judge"; /* of the whole feed, for the judges */
    MUST(helios_changes_new(db, &holding, &held));
    replaying.seed = seed;
    replay = feed_replay_new(&replaying);
    for (unsigned i = 0; i < CONSUMERS; i++)
        MUST(derived_begin(&consumers[i], db));
    run(seconds);
    feed_replay_follow(replay, db);
    for (unsigned i = 0; i < CONSUMERS; i++) {
        derived_end(&consumers[i]);
        derived_judge(&consumers[i], db);
    }
    feed_replay_report(replay);
    feed_replay_free(replay);
    helios_changes_free(held);
    printf("seed %" PRIu64 ": %" PRIu64 " writes, %" PRIu64 " entries read beside\n", seed,
           atomic_load(&writes), atomic_load(&reads));
    MUST(helios_close(db));
    io_free(fs);
    return 0;
}
