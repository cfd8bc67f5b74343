/* scaling.c - bench-scaling: what an operation costs as there is more of one thing: keys, bytes of a value, versions of a key,
 * log to replay, branches, threads. A line of JSON for each point of a curve; `report` draws them.
 *
 * --num is the most keys: 1, 3, 10, 30, 100 million as far as that goes. */
#include "bench/scaling.h"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    GETS = 300000,
    SEEKS = 60000,
    STEPS = 1000000,
    VALUE = 100,
    VALUES_BYTES = 128 << 20, /* of all values of a size together */
    VALUES_MOST = 200000,
    VERSIONS_IN_ALL = 1000000,
    VERSIONS_MOST = 1000,
};

/* ---- keys, opening and closing ---- */

static void time_reopen(struct scaled *s)
{
    double start = seconds_now();

    must(helios_close(s->db), "close");
    point_add("keys in the database", "close", "keys", s->data.count, seconds_now() - start, 1);
    start = seconds_now();
    scaled_reopen(s);
    point_add("keys in the database", "open", "keys", s->data.count, seconds_now() - start, 1);
}

static void keys_step(uint64_t keys)
{
    const char *curve = "keys in the database";
    uint64_t gets = at_most(GETS), seeks = at_most(SEEKS), steps = at_most(STEPS);
    struct scaled s;

    scaled_open(&s, "keys", keys, VALUE, 0);
    point_add(curve, "put, new keys", "keys", keys, put_all(&s, 0), keys);
    scaled_settle(&s);
    time_reopen(&s);
    get_drawn(&s, gets * 2, false, 2);
    point_add(curve, "get", "keys", keys, get_drawn(&s, gets, false, 1), gets);
    point_add(curve, "get of an absent key", "keys", keys, get_drawn(&s, gets, true, 1), gets);
    point_add(curve, "seek and 10 steps", "keys", keys, seek_drawn(&s, seeks), seeks);
    point_add(curve, "step of a scan", "keys", keys, scan_steps(&s, steps), steps);
    point_add(curve, "overwrite", "keys", keys, put_drawn(&s, gets, HELIOS_DURABILITY_DEFAULT, 3), gets);
    scaled_close(&s);
}

void scale_keys(void)
{
    uint64_t keys = settings.quick ? settings.count : 1000000;

    for (unsigned step = 0; keys <= settings.count; step++) {
        keys_step(keys);
        keys = step % 2 ? keys / 3 * 10 : keys * 3;
    }
}

/* ---- bytes of a value ---- */

static void values_step(size_t bytes)
{
    uint64_t count = VALUES_BYTES / bytes < VALUES_MOST ? VALUES_BYTES / bytes : VALUES_MOST;
    struct scaled s;

    count = at_most(count);
    scaled_open(&s, "values", count, bytes, 0);
    point_add("bytes of a value", "put", "bytes", bytes, put_all(&s, 0), count);
    scaled_settle(&s);
    get_drawn(&s, count, false, 2);
    point_add("bytes of a value", "get", "bytes", bytes, get_drawn(&s, count, false, 1), count);
    point_add("bytes of a value", "step of a scan", "bytes", bytes, scan_steps(&s, count), count);
    scaled_close(&s);
}

void scale_values(void)
{
    for (size_t bytes = 16; bytes <= 1 << 20; bytes *= 8)
        values_step(bytes);
    values_step(1 << 20);
}

/* ---- versions of a key ---- */

static void versions_step(uint64_t versions)
{
    const char *curve = "versions of a key";
    uint64_t keys = at_most(VERSIONS_IN_ALL) / versions, gets = at_most(GETS);
    struct scaled s;
    helios_seq half = 0;
    double seconds = 0;

    scaled_open(&s, "versions", keys, VALUE, HELIOS_FOREVER);
    for (uint64_t pass = 1; pass <= versions; pass++) {
        seconds += put_all(&s, (unsigned)pass);
        if (pass == (versions + 1) / 2)
            half = helios_latest(s.db);
    }
    point_add(curve, "put", "versions", versions, seconds, keys * versions);
    must(helios_compact(s.db, (helios_slice){0}, (helios_slice){0}), "compact");
    scaled_settle(&s);
    get_drawn(&s, gets, false, 2);
    point_add(curve, "get, newest", "versions", versions, get_drawn(&s, gets, false, 1), gets);
    point_add(curve, "step of a scan, newest", "versions", versions, scan_steps(&s, gets), gets);
    s.at = half;
    get_drawn(&s, gets, false, 2);
    point_add(curve, "get, half-way back", "versions", versions, get_drawn(&s, gets, false, 1), gets);
    scaled_close(&s);
}

void scale_versions(void)
{
    for (uint64_t versions = 1; versions <= VERSIONS_MOST && versions <= at_most(VERSIONS_IN_ALL) / 10;
         versions *= 10)
        versions_step(versions);
}

/* ---- a log to replay ---- */

static void recovery_step(uint64_t records)
{
    struct scaled s;
    pid_t child;
    double start;

    fflush(stdout);
    child = fork();
    if (child < 0)
        bench_die("cannot fork");
    if (child == 0) {
        scaled_open(&s, "recovery", records, VALUE, 0);
        put_all(&s, 0);
        kill(getpid(), SIGKILL);
    }
    waitpid(child, NULL, 0);
    start = seconds_now();
    scaled_open(&s, "recovery", records, VALUE, 0);
    point_add("records in the log of a killed process", "open, in all", "records", records,
              seconds_now() - start, 1);
    get_drawn(&s, records, false, 1);
    scaled_close(&s);
}

void scale_recovery(void)
{
    for (uint64_t records = 1000; records <= at_most(1000000); records *= 10) {
        recovery_step(records);
        if (records * 3 < at_most(1000000))
            recovery_step(records * 3);
    }
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {{"keys", scale_keys},         {"values", scale_values},
                                        {"versions", scale_versions}, {"recovery", scale_recovery},
                                        {"branches", scale_branches}, {"threads", scale_threads}};
    static const struct suite suite = {
        .name = "bench-scaling", .parts = parts, .part_count = sizeof(parts) / sizeof(parts[0])};

    settings.count = 10000000;
    return suite_main(&suite, argc, argv);
}
