/* feed_scan.c - reading the feed back: all of it, with and without before-images; from a number or a time in its middle;
 * one of a thousand tables. */
#include "bench/feed.h"

/* ---- all of it ---- */

/* Seconds of processor time of the walk over `count` entries from `from` on. */
static double walk(helios_db *db, helios_seq from, uint64_t count, bool images)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    uint64_t entries = 0, before = 0;
    helios_changes *changes;
    helios_change change;
    double seconds;

    options.from = from;
    options.to = from + count - 1;
    options.before_images = images;
    changes = changes_open(db, &options);
    seconds = seconds_of_thread();
    while (helios_changes_next(changes, 0, &change) == HELIOS_OK) {
        entries++;
        before += change.has_before;
        if (change.lsn != from + entries - 1 || *(const char *)change.key.data != '0')
            bench_die("entry %" PRIu64 " is not what was written", entries);
    }
    seconds = seconds_of_thread() - seconds;
    helios_changes_free(changes);
    if (entries != count || before != (images ? count : 0))
        bench_die("%" PRIu64 " of %" PRIu64 " entries, %" PRIu64 " with before-images", entries, count, before);
    return seconds;
}

static void time_walks(helios_db *db, helios_seq from, bool images, const char *name, const char *state,
                       double target)
{
    double rates[ROUNDS_MAX];

    walk(db, from, data.count, images); /* what it reads is in caches then */
    for (unsigned i = 0; i < settings.rounds; i++)
        rates[i] = (double)data.count / walk(db, from, data.count, images);
    figure_add(name, state, median(rates, settings.rounds), "entries/s", target, true);
}

void measure_scans(void)
{
    static const struct {
        const char *name, *state;
        size_t batch;
    } fills[] = {{"scan-puts", "commits of 1", 1}, {"scan-batches", "commits of 100", BATCH}};

    for (size_t i = 0; i < 2; i++) {
        helios_db *db = feed_db_open(fills[i].name, true);
        helios_seq from;

        feed_fill(db, 0, data.count, 0, fills[i].batch);
        from = helios_latest(db) + 1;
        feed_fill(db, 0, data.count, 1, fills[i].batch); /* overwrites: every entry has a before-image */
        must(helios_sync(db), "sync");
        time_walks(db, from, false, "changes_scan", fills[i].state, 2e6);
        time_walks(db, from, true, "changes_scan with before-images", fills[i].state, 5e5);
        must(helios_close(db), "close");
    }
}

/* ---- from its middle ---- */

/* Microseconds until the first entry at or after a number, or a time, is there. */
static double seek(helios_db *db, helios_seq from, uint64_t from_time)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *changes;
    helios_change change;
    double seconds = seconds_now();

    options.from = from;
    options.from_time = from_time;
    changes = changes_open(db, &options);
    must(helios_changes_next(changes, 0, &change), "next");
    seconds = seconds_now() - seconds;
    if (from ? change.lsn != from : change.time < from_time)
        bench_die("a seek to %" PRIu64 " gave entry %" PRIu64, from, change.lsn);
    helios_changes_free(changes);
    return seconds * 1e6;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

void measure_seeks(void)
{
    enum { SEEKS = 1000 };
    static double micros[2][SEEKS];
    helios_db *db = feed_db_open("seek", true);
    helios_seq last;
    uint64_t x = 1;

    feed_fill(db, 0, data.count, 0, BATCH);
    must(helios_sync(db), "sync");
    last = helios_latest(db);
    for (size_t i = 0; i < SEEKS + 20; i++) { /* the first ones warm */
        uint64_t time = 0;
        helios_seq to;

        x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
        to = BATCH + (x >> 20) % (last - BATCH + 1); /* not before the first commit */
        must(helios_time_of_seq(db, to, &time), "time");
        micros[0][i % SEEKS] = seek(db, to, 0);
        micros[1][i % SEEKS] = seek(db, 0, time);
    }
    for (size_t by = 0; by < 2; by++) {
        qsort(micros[by], SEEKS, sizeof(micros[by][0]), compare_doubles);
        figure_add(by ? "seek by time, median" : "seek by number, median", NULL, micros[by][SEEKS / 2], "us",
                   1000, false);
        figure_add(by ? "seek by time, p99" : "seek by number, p99", NULL, micros[by][SEEKS * 99 / 100], "us",
                   0, false);
    }
    must(helios_close(db), "close");
}

/* ---- one table ---- */

enum { TABLES = 1000, TABLES_ASKED = 20 };

/* Bytes that this process has read by system calls. */
static uint64_t bytes_read(void)
{
    uint64_t bytes = 0;
    FILE *file = fopen("/proc/self/io", "re");

    if (!file || fscanf(file, "rchar: %" SCNu64, &bytes) != 1)
        bench_die("/proc/self/io tells nothing");
    fclose(file);
    return bytes;
}

static uint64_t walk_table(helios_db *db, const char *prefix, uint64_t *entries)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    uint64_t bytes = bytes_read();
    helios_changes *changes;
    helios_change change;

    options.to = helios_latest(db);
    if (prefix)
        options.prefix = slice_make(prefix, strlen(prefix));
    changes = changes_open(db, &options);
    while (helios_changes_next(changes, 0, &change) == HELIOS_OK)
        ++*entries;
    helios_changes_free(changes);
    return bytes_read() - bytes;
}

/* Rows of all tables in a random mix, a commit each. Waits until the log is at rest: what it becomes then is what is read. */
static void fill_tables(helios_db *db)
{
    uint64_t x = 7;

    for (uint64_t i = 0; i < data.count; i++) {
        char key[32];

        x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
        snprintf(key, sizeof(key), "table%04u:%010" PRIu64, (unsigned)((x >> 33) % TABLES), i);
        must(helios_put(db, NULL, slice_make(key, strlen(key)), data_value(&data, i, 0)), "put");
    }
    must(helios_flush(db), "flush");
    process_wait_idle();
}

void measure_filter(void)
{
    helios_db *db = feed_db_open("filter", true);
    uint64_t all, one = 0, entries = 0, found = 0, log = 0;

    fill_tables(db);
    must(helios_stat(db, "feed.bytes", &log), "feed.bytes");
    all = walk_table(db, NULL, &entries);
    for (unsigned i = 0; i < TABLES_ASKED; i++) {
        char prefix[16];

        snprintf(prefix, sizeof(prefix), "table%04u:", i * (TABLES / TABLES_ASKED));
        one += walk_table(db, prefix, &found);
    }
    printf("{\"workload\": \"feed_filter\", \"entries\": %" PRIu64 ", \"found\": %" PRIu64
           ", \"bytes_all\": %" PRIu64 ", \"bytes_one\": %" PRIu64 ", \"feed_bytes\": %" PRIu64 "}\n",
           entries, found / TABLES_ASKED, all, one / TABLES_ASKED, log);
    if (entries != data.count || found == 0)
        bench_die("the walk gave %" PRIu64 " entries", entries);
    figure_add("one of 1,000 tables: share of the bytes read for all", NULL,
               (double)one / TABLES_ASKED / (double)all * 100, "%", 5, false);
    must(helios_close(db), "close");
}
