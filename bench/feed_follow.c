/* feed_follow.c - how long after a commit a follower has it: one that sees what a power loss could take back, and one that
 * waits until nothing could. */
#include "bench/feed.h"
#include <pthread.h>
#include <time.h>

enum { PAUSE = 500 /* us between commits */, WARM = 100 };

struct follower {
    helios_db *db;
    bool unsynced;
    uint64_t count, *ticks;
};

/* The value of each commit is the tick before it. */
static void *follow(void *arg)
{
    struct follower *f = arg;
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *changes;
    helios_change change;

    options.from = helios_latest(f->db) + 1;
    options.unsynced = f->unsynced;
    changes = changes_open(f->db, &options);
    for (uint64_t i = 0; i < f->count; i++) {
        uint64_t start;

        must(helios_changes_next(changes, UINT64_MAX, &change), "next");
        f->ticks[i] = ticks_now();
        memcpy(&start, change.value.data, sizeof(start));
        f->ticks[i] -= start;
    }
    helios_changes_free(changes);
    return NULL;
}

static void commit_slowly(helios_db *db, uint64_t count)
{
    const struct timespec pause = {0, PAUSE * 1000};

    for (uint64_t i = 0; i < count; i++) {
        char key[KEY_BYTES];
        uint64_t now;

        nanosleep(&pause, NULL);
        data_key(&data, i * 2, key);
        now = ticks_now();
        must(helios_put(db, NULL, slice_make(key, sizeof(key)), slice_make(&now, sizeof(now))), "put");
    }
}

static int compare_ticks(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void time_follower(helios_db *db, bool unsynced, double median_target, double p99_target)
{
    struct follower f = {db, unsynced, (settings.quick ? 100 : 10000) + WARM, NULL};
    const char *state = unsynced ? "unsynced" : "durable";
    uint64_t count = f.count - WARM;
    double nanos = ticks_nanos();
    pthread_t thread;

    f.ticks = calloc(f.count, sizeof(*f.ticks));
    if (!f.ticks || pthread_create(&thread, NULL, follow, &f) != 0)
        bench_die("no thread to follow in");
    nanosleep(&(struct timespec){0, 50000000}, NULL);
    commit_slowly(db, f.count);
    pthread_join(thread, NULL);
    qsort(f.ticks + WARM, count, sizeof(*f.ticks), compare_ticks);
    figure_add("commit to follower, median", state, (double)f.ticks[WARM + count / 2] * nanos / 1e3, "us",
               median_target, false);
    figure_add("commit to follower, p99", state, (double)f.ticks[WARM + count * 99 / 100] * nanos / 1e3, "us",
               p99_target, false);
    free(f.ticks);
}

void measure_follow(void)
{
    helios_db *db = feed_db_open("follow", true);

    time_follower(db, true, 100, 1000);
    time_follower(db, false, 0, 0); /* group_commit_interval and an fsync: the disk's */
    must(helios_close(db), "close");
}
