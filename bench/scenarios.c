/* scenarios.c - what is no loop of operations: opening a database of many files, the log of a killed process,
 * many snapshots at once. */
#include "bench/driver.h"
#include "bench/process.h"
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OPENS = 7, REPLAY_FILL_PERCENT = 55 };

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double open_seconds(struct bench *bench)
{
    double start = seconds_now();

    bench->db = bench->engine->open(&bench->settings);
    return seconds_now() - start;
}

/* Cleanly closed, then opened again with everything in the page cache; the median counts. */
static void run_open(struct bench *bench)
{
    double seconds[OPENS];
    struct usage usage;

    if (!bench->db)
        bench_die("open: a fill must come before");
    for (int i = 0; i < OPENS; i++) {
        bench->engine->close(bench->db);
        seconds[i] = open_seconds(bench);
    }
    qsort(seconds, OPENS, sizeof(seconds[0]), compare_doubles);
    usage = directory_usage(bench->settings.path);
    printf("{\"engine\": \"%s\", \"workload\": \"open\", \"seconds\": %.6f, \"seconds_max\": %.6f, "
           "\"files\": %" PRIu64 ", \"space_bytes\": %" PRIu64 "}\n",
           bench->engine->name, seconds[OPENS / 2], seconds[OPENS - 1], usage.files, usage.bytes);
}

/* Writes and dies without closing; everything that a put returned for must be there afterwards. */
static void write_and_die(struct bench *bench, uint64_t count)
{
    void *session;
    char key[KEY_BYTES];

    bench->db = bench->engine->open(&bench->settings);
    session = bench->engine->session_open(bench->db);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t index = data_scatter(&bench->data, i);

        data_key(&bench->data, index * 2, key);
        bench->engine->put(session, slice_make(key, KEY_BYTES), data_value(&bench->data, index, 0));
    }
    kill(getpid(), SIGKILL);
}

/* As much as a memtable surely holds, so that all of it is in the log only. */
static void run_replay(struct bench *bench)
{
    uint64_t record = KEY_BYTES + bench->sizes.value_bytes;
    uint64_t count = bench->settings.memtable_bytes / 100 * REPLAY_FILL_PERCENT / record;
    double seconds;
    pid_t child;
    int how = 0;

    bench_fresh(bench);
    data_release(&bench->data);
    data_init(&bench->data, count, bench->sizes.value_bytes, bench->sizes.binary_keys);
    fflush(stdout);
    child = fork();
    if (child < 0)
        bench_die("replay: cannot fork");
    if (child == 0)
        write_and_die(bench, count);
    waitpid(child, &how, 0);
    if (!WIFSIGNALED(how) || WTERMSIG(how) != SIGKILL)
        bench_die("replay: the writer failed");
    seconds = open_seconds(bench);
    bench->live = count;
    bench->generation = 0;
    bench->holes = false;
    bench_check(bench);
    printf("{\"engine\": \"%s\", \"workload\": \"replay\", \"seconds\": %.6f, \"ops\": %" PRIu64
           ", \"ops_per_second\": %.0f, \"bytes_per_second\": %.0f}\n",
           bench->engine->name, seconds, count, (double)count / seconds, (double)(count * record) / seconds);
}

/* As many as there are reads, all at once: what making, keeping and freeing one costs. */
static void run_snapshots(struct bench *bench)
{
    uint64_t count = bench->sizes.reads, before, bytes;
    void **all = malloc(count * sizeof(*all)), *session;
    double made, freed;

    if (!bench->db || !bench->engine->snapshot_new || !all)
        bench_die("snapshots: a fill must come before, and an engine that has them, and memory");
    memset(all, 1, count * sizeof(*all)); /* not to be counted below */
    session = bench->engine->session_open(bench->db);
    process_peak_reset();
    before = process_peak();
    made = seconds_now();
    for (uint64_t i = 0; i < count; i++)
        all[i] = bench->engine->snapshot_new(session);
    made = seconds_now() - made;
    bytes = process_peak() - before;
    freed = seconds_now();
    for (uint64_t i = 0; i < count; i++)
        bench->engine->snapshot_free(session, all[i]);
    freed = seconds_now() - freed;
    bench->engine->session_close(session);
    free(all);
    printf("{\"engine\": \"%s\", \"workload\": \"snapshots\", \"ops\": %" PRIu64
           ", \"seconds\": %.6f, \"seconds_free\": %.6f, \"bytes_each\": %.1f}\n",
           bench->engine->name, count, made, freed, (double)bytes / (double)count);
    fflush(stdout);
}

bool scenario_run(struct bench *bench, const char *name)
{
    bench->settings.sync = false;
    if (strcmp(name, "open") == 0)
        run_open(bench);
    else if (strcmp(name, "snapshots") == 0)
        run_snapshots(bench);
    else if (strcmp(name, "replay") == 0)
        run_replay(bench);
    else
        return false;
    return true;
}
