/* test_consumer_kills.c - consumers of the change feed that commit their position with what they make of it, killed at any
 * moment: what they have made is always that of exactly what they have acknowledged, nothing missed, nothing twice.
 *
 * On a real directory a child process writes and consumes in threads, beside flushes, compactions, trims, and is
 * killed, again and again. Then, in one process, on a file system that loses its power at each call that changes it.
 * Usage: test_consumer_kills [--seed S] [--rounds N] [--cuts N] (at every so many calls; default 1) */
#undef NDEBUG
#include "base/thread.h"
#include "tests/derived.h"
#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONSUMERS = 3, WRITERS = 2, LIFE_MAX_MS = 60, RANDOM_STEPS = 60 };

static uint64_t seed = 1, round_now;
static struct derived consumers[CONSUMERS] = {
    {.name = "images", .images = true, .unsynced = true},
    {.name = "expanded", .expand = true},
    {.name = "plain"},
};

static void must(helios_status status, int line, const char *what)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "test_consumer_kills.c:%d: --seed %" PRIu64 ", round %" PRIu64 ": %s: %s\n", line, seed,
            round_now, what, helios_last_error());
    abort();
}
#define MUST(call) must(call, __LINE__, #call)

static helios_options options_of(uint64_t round)
{
    static const uint64_t retentions[] = {HELIOS_FOREVER, 0, 1000};
    helios_options options = HELIOS_OPTIONS_INIT;

    options.memtable_bytes = 64 << 10;
    options.block_cache_bytes = 1 << 20;
    options.background_threads = 2;
    options.history_retention = retentions[round % 3];
    options.feed_retention = round % 4 == 3 ? 1 : HELIOS_FOREVER; /* consumers hold it all the same */
    return options;
}

/* The judge's own name holds what it has yet to judge; acknowledges up to a number. */
static helios_status hold_for_judge(helios_db *on, helios_seq done)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *changes;
    helios_status status;

    options.consumer = "judge";
    status = helios_changes_new(on, &options, &changes);
    if (status != HELIOS_OK)
        return status;
    if (done)
        status = helios_changes_ack(changes, done);
    helios_changes_free(changes);
    return status;
}

/* ---- the child ---- */

static helios_db *db; /* the child's */

static void *write_on(void *arg)
{
    struct random rng;

    random_seed(&rng, seed * 1000003 + round_now * 7 + (uint64_t)(uintptr_t)arg);
    for (uint64_t i = 1;; i++) {
        MUST(derived_write(db, &rng, random_below(&rng, 300) == 0));
        if (i % 64 == 0)
            thread_sleep(random_below(&rng, 3000));
        if (random_below(&rng, 2000) == 0)
            MUST(helios_flush(db));
        if (random_below(&rng, 500) == 0)
            MUST(helios_feed_trim(db, helios_latest(db) + 1, NULL));
        if (random_below(&rng, 4000) == 0)
            MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    }
    return NULL;
}

static void *consume_on(void *arg)
{
    static const helios_durability durabilities[] = {HELIOS_DURABILITY_ASYNC, HELIOS_DURABILITY_ASYNC,
                                                     HELIOS_DURABILITY_GROUP, HELIOS_DURABILITY_SYNC};
    struct derived *d = arg;
    struct random rng;

    random_seed(&rng, seed * 999983 + round_now);
    for (;;) {
        MUST(derived_read(d, 1000000, 1 + (unsigned)random_below(&rng, 200)));
        MUST(derived_commit(d, db, durabilities[random_below(&rng, 4)]));
    }
    return NULL;
}

static void child(const char *path)
{
    helios_options options = options_of(round_now);
    pthread_t threads[CONSUMERS + WRITERS];

    MUST(helios_open(path, &options, &db));
    MUST(hold_for_judge(db, 0));
    for (unsigned i = 0; i < CONSUMERS;
         i++) /* before there is history that may go; who looks back comes first */
        MUST(derived_begin(&consumers[i], db));
    for (uintptr_t i = 0; i < WRITERS; i++)
        MUST(thread_start(&threads[i], "write", write_on, (void *)i));
    for (unsigned i = 0; i < CONSUMERS; i++)
        MUST(thread_start(&threads[WRITERS + i], "consume", consume_on, &consumers[i]));
    for (;;)
        pause();
}

static void live_and_die(const char *path, uint64_t life)
{
    pid_t pid;
    int how;

    fflush(NULL);
    pid = fork();
    assert(pid >= 0);
    if (pid == 0) {
        child(path);
        _exit(1);
    }
    thread_sleep(life);
    assert(kill(pid, SIGKILL) == 0);
    assert(waitpid(pid, &how, 0) == pid);
    assert(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL); /* it did not end by itself */
}

/* ---- the judge ---- */

/* What all have acknowledged is let go of. */
static void judge(const char *path, bool catch_up)
{
    helios_options options = options_of(round_now);
    helios_seq least = UINT64_MAX;
    helios_db *judged;

    MUST(helios_open(path, &options, &judged));
    for (unsigned i = 0; i < CONSUMERS; i++) {
        helios_seq acked = derived_judge(&consumers[i], judged);

        least = acked < least ? acked : least;
    }
    for (unsigned i = 0; catch_up && i < CONSUMERS; i++) {
        MUST(derived_begin(&consumers[i], judged));
        do {
            MUST(derived_commit(&consumers[i], judged, HELIOS_DURABILITY_ASYNC));
            MUST(derived_read(&consumers[i], 0, 1000));
        } while (consumers[i].ready);
        derived_end(&consumers[i]);
        derived_judge(&consumers[i], judged);
    }
    if (least) {
        MUST(hold_for_judge(judged, least));
        MUST(helios_feed_trim(judged, helios_latest(judged) + 1, NULL));
    }
    MUST(helios_close(judged));
}

static void kills(uint64_t rounds)
{
    char made[] = "/tmp/helios-consumers-XXXXXX", path[PATH_MAX];
    uint64_t total = 0;
    struct random rng;

    assert(mkdtemp(made));
    snprintf(path, sizeof(path), "%s/db", made);
    random_seed(&rng, seed);
    for (round_now = 0; round_now < rounds; round_now++) {
        live_and_die(path, random_below(&rng, LIFE_MAX_MS * 1000));
        judge(path, round_now + 1 == rounds);
    }
    for (unsigned i = 0; i < CONSUMERS; i++)
        total += consumers[i].judged.count;
    MUST(helios_destroy(path));
    assert(rmdir(made) == 0);
    printf("seed %" PRIu64 ": %" PRIu64 " entries consumed by %d consumers\n", seed, total, CONSUMERS);
    printf("tried: %" PRIu64 " kills of consumers\n", rounds);
}

/* ---- without power ---- */

static helios_status one_step(helios_db *on, struct derived *d, struct random *rng)
{
    static const helios_durability durabilities[] = {HELIOS_DURABILITY_ASYNC, HELIOS_DURABILITY_SYNC};
    uint64_t dice = random_below(rng, 20);
    helios_status status;

    if (dice < 10)
        return derived_write(on, rng, dice == 0);
    if (dice == 10)
        return helios_flush(on);
    if (dice == 11)
        return helios_feed_trim(on, helios_latest(on) + 1, NULL);
    status = derived_read(d, 0, 1 + (unsigned)random_below(rng, 20));
    return status == HELIOS_OK ? derived_commit(d, on, durabilities[dice % 2]) : status;
}

/* The same steps each time, until the power goes at call n. False: they went through. */
static bool run_until_cut(struct io_fs *fs, const helios_options *options, struct derived *d, uint64_t n)
{
    helios_db *on = NULL;
    struct random rng;
    helios_status status;

    random_seed(&rng, seed);
    io_faulty_stop_at(fs, n);
    status = engine_open(fs, "/db", options, &on);
    if (status == HELIOS_OK)
        status = hold_for_judge(on, 0);
    if (status == HELIOS_OK)
        status = derived_begin(d, on);
    for (int step = 0; status == HELIOS_OK && step < RANDOM_STEPS; step++)
        status = one_step(on, d, &rng);
    derived_end(d);
    if (on)
        (void)!helios_close(on);
    return io_faulty_stopped(fs);
}

static void cuts(uint64_t stride)
{
    helios_options options = options_of(0);
    uint64_t count = 0;
    bool stopped = true;

    options.background_threads = 2;
    for (uint64_t n = 1; stopped; n += stride, count++) {
        struct derived d = {.name = "cut", .images = n % 2, .unsynced = n % 3 == 0};
        struct io_fs *fs;
        helios_db *again;

        round_now = n;
        MUST(io_faulty_new(seed, &fs));
        stopped = run_until_cut(fs, &options, &d, n);
        io_faulty_power_cut(fs, (enum io_damage)(n / stride % IO_DAMAGE_COUNT), seed + n);
        MUST(engine_open(fs, "/db", &options, &again));
        derived_judge(&d, again);
        MUST(derived_begin(&d, again)); /* and it goes on */
        do {
            MUST(derived_commit(&d, again, HELIOS_DURABILITY_ASYNC));
            MUST(derived_read(&d, 0, 100));
        } while (d.ready);
        derived_end(&d);
        derived_judge(&d, again);
        MUST(helios_close(again));
        io_free(fs);
    }
    printf("tried: %" PRIu64 " power cuts of consumers\n", count);
}

int main(int argc, char **argv)
{
    uint64_t rounds = 40, stride = 1;

    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t value = strtoull(argv[i + 1], NULL, 10);

        if (strcmp(argv[i], "--seed") == 0)
            seed = value;
        else if (strcmp(argv[i], "--rounds") == 0)
            rounds = value;
        else if (strcmp(argv[i], "--cuts") == 0)
            stride = value;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    kills(rounds);
    if (stride)
        cuts(stride);
    return 0;
}
