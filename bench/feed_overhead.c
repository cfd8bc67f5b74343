/* feed_overhead.c - what the feed costs writers: that it is kept, that cursors are open, that followers follow. */
#include "bench/feed.h"
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum { CURSORS = 100, FOLLOWERS = 10, PACE = 10000 /* commits a second */ };

/* ---- that it is kept ---- */

struct cost {
    double writing, all; /* seconds: of the writer; until the database was at rest */
};

static struct cost fill_once(const char *name, bool feed)
{
    helios_db *db = feed_db_open(name, feed);
    char path[PATH_BYTES];
    struct cost cost;
    double start = seconds_now();

    feed_fill(db, 0, data.count, 0, 1);
    cost.writing = seconds_now() - start;
    must(helios_flush(db), "flush");
    cost.all = process_wait_idle() - start;
    must(helios_close(db), "close");
    path_of(name, path);
    directory_remove(path);
    return cost;
}

static void compare_fills(void)
{
    double writing[2][ROUNDS_MAX], all[2][ROUNDS_MAX];

    for (unsigned i = 0; i < settings.rounds; i++)
        for (unsigned side = 0; side < 2; side++) {
            bool feed = side ^ (i & 1); /* neither is always the first */
            struct cost cost = fill_once("fill", feed);

            writing[feed][i] = cost.writing;
            all[feed][i] = cost.all;
        }
    figure_add("fillrandom with a feed: time / without", NULL,
               median(writing[1], settings.rounds) / median(writing[0], settings.rounds), "x", 1.05, false);
    figure_add("fillrandom until at rest with a feed: time / without", NULL,
               median(all[1], settings.rounds) / median(all[0], settings.rounds), "x", 0, false);
}

/* ---- that cursors are open ---- */

static double time_fill(helios_db *db, unsigned generation)
{
    double start = seconds_now();

    feed_fill(db, 0, data.count / 4, generation, 1);
    start = seconds_now() - start;
    must(helios_flush(db), "flush");
    process_wait_idle();
    return start;
}

static void compare_cursors(helios_db *db)
{
    helios_changes *cursors[CURSORS];
    double without[ROUNDS_MAX], with[ROUNDS_MAX];
    helios_change change;

    time_fill(db, 0);
    for (unsigned i = 0; i < settings.rounds; i++) {
        without[i] = time_fill(db, 2 * i + 1);
        for (size_t c = 0; c < CURSORS; c++) {
            cursors[c] = changes_open(db, NULL);
            must(helios_changes_next(cursors[c], 0, &change), "next");
        }
        with[i] = time_fill(db, 2 * i + 2);
        for (size_t c = 0; c < CURSORS; c++)
            helios_changes_free(cursors[c]);
    }
    figure_add("100 cursors that do not read: writers' time / without", NULL,
               median(with, settings.rounds) / median(without, settings.rounds), "x", 1.03, false);
}

/* ---- that followers follow ---- */

struct follower {
    helios_db *db;
    helios_seq last; /* where to end */
    pthread_t thread;
};

static void *follow(void *arg)
{
    struct follower *f = arg;
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *changes;
    helios_change change = {0};

    options.from = helios_latest(f->db) + 1;
    options.unsynced = true;
    changes = changes_open(f->db, &options);
    while (change.lsn < f->last)
        must(helios_changes_next(changes, UINT64_MAX, &change), "next");
    helios_changes_free(changes);
    return NULL;
}

struct pace {
    double rate, busy; /* commits a second; microseconds in each */
};

/* Commits at a fixed rate; what is late is made up for at once. */
static struct pace commit_at_pace(helios_db *db, uint64_t count)
{
    double start = seconds_now(), busy = 0;

    for (uint64_t i = 0; i < count; i++) {
        double due = start + (double)i / PACE, now = seconds_now();
        char key[KEY_BYTES];

        if (due - now > 60e-6)
            nanosleep(&(struct timespec){0, (long)((due - now - 60e-6) * 1e9)}, NULL);
        while ((now = seconds_now()) < due)
            continue;
        data_key(&data, i * 2, key);
        must(helios_put(db, NULL, slice_make(key, sizeof(key)), data_value(&data, i, 0)), "put");
        busy += seconds_now() - now;
    }
    return (struct pace){(double)count / (seconds_now() - start), busy / (double)count * 1e6};
}

static void compare_followers(helios_db *db)
{
    uint64_t count = settings.quick ? PACE / 10 : 2 * PACE;
    double rate[2][ROUNDS_MAX], busy[2][ROUNDS_MAX];
    struct follower followers[FOLLOWERS];

    for (unsigned i = 0; i < settings.rounds; i++)
        for (unsigned side = 0; side < 2; side++) {
            helios_seq last = helios_latest(db) + count;
            struct pace pace;

            for (size_t f = 0; side && f < FOLLOWERS; f++) {
                followers[f] = (struct follower){.db = db, .last = last};
                if (pthread_create(&followers[f].thread, NULL, follow, &followers[f]) != 0)
                    bench_die("no thread to follow in");
            }
            nanosleep(&(struct timespec){0, 50000000}, NULL);
            pace = commit_at_pace(db, count);
            for (size_t f = 0; side && f < FOLLOWERS; f++)
                pthread_join(followers[f].thread, NULL);
            rate[side][i] = pace.rate;
            busy[side][i] = pace.busy;
        }
    figure_add("10 followers of 10,000 commits/s: time for them / without", NULL,
               median(rate[0], settings.rounds) / median(rate[1], settings.rounds), "x", 1.10, false);
    figure_add("a commit beside no follower", NULL, median(busy[0], settings.rounds), "us", 0, false);
    figure_add("a commit beside 10 followers", NULL, median(busy[1], settings.rounds), "us", 0, false);
}

void measure_overhead(void)
{
    helios_db *db;

    compare_fills();
    db = feed_db_open("overhead", true);
    compare_cursors(db);
    compare_followers(db);
    must(helios_close(db), "close");
}
