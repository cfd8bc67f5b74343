/* driver.c - runs workloads on one engine, one after the other, in a directory of its own; prints a line of
 * JSON for the settings and one for each workload. `compare` runs several engines in turn and makes tables.
 */
#include "bench/driver.h"
#include "base/thread.h"
#include "bench/process.h"
#include "bench/workloads.h"
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    THREADS_MAX = 64,
    WARM_ROUNDS = 6,
    WARM_PASSES = 2,
    WARM_BATCH = 1000,
    STEPS_PER_READ = 4,
    READS_PER_SEEK = 4,
    READS_PER_SEEK_MANY = 16
};

static char scratch[4096]; /* this run's directory */
static bool scratch_stays; /* else removed at exit */

void bench_die(const char *format, ...)
{
    va_list args;

    fprintf(stderr, "bench-%s: ", bench_engine.name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

/* Not at exit of a child that shares the directory: it is killed. */
static void scratch_remove(void)
{
    if (scratch[0] && !scratch_stays)
        directory_remove(scratch);
}

void bench_close(struct bench *bench)
{
    if (bench->db)
        bench->engine->close(bench->db);
    bench->db = NULL;
}

void bench_fresh(struct bench *bench)
{
    bench_close(bench);
    directory_remove(bench->settings.path);
    if (mkdir(bench->settings.path, 0777) != 0)
        bench_die("cannot create %s: %s", bench->settings.path, strerror(errno));
}

double bench_settle(struct bench *bench)
{
    double start = seconds_now(), flushed, idle;

    bench->engine->flush(bench->db);
    flushed = seconds_now();
    idle = process_wait_idle();
    return (idle > flushed ? idle : flushed) - start;
}

/* Generations that a value may be of. */
struct generations {
    unsigned first, last;
};

static bool value_is_right(const struct bench *bench, uint64_t index, helios_slice value,
                           struct generations allowed)
{
    for (unsigned generation = allowed.first; generation <= allowed.last; generation++)
        if (slice_equal(value, data_value(&bench->data, index, generation)))
            return true;
    return false;
}

static void check_session(struct bench *bench, void *session, struct generations allowed)
{
    const struct engine *engine = bench->engine;
    void *cursor = engine->cursor_open(session);
    struct record record;
    char key[KEY_BYTES];
    uint64_t index = 0;

    for (bool valid = engine->first(cursor, &record); valid; valid = engine->next(cursor, &record), index++) {
        data_key(&bench->data, index * 2, key);
        while (bench->holes && index < bench->live && !slice_equal(record.key, slice_make(key, KEY_BYTES)))
            data_key(&bench->data, ++index * 2, key);
        if (index >= bench->live || !slice_equal(record.key, slice_make(key, KEY_BYTES)))
            bench_die("check: the key at index %" PRIu64 " is not the one that was written", index);
        if (!value_is_right(bench, index, record.value, allowed))
            bench_die("check: the value at index %" PRIu64 " is not the one that was written", index);
    }
    if (!bench->holes && index != bench->live)
        bench_die("check: %" PRIu64 " records instead of %" PRIu64, index, bench->live);
    engine->cursor_close(cursor);
}

void bench_check(struct bench *bench)
{
    void *session = bench->engine->session_open(bench->db);

    check_session(bench, session, (struct generations){0, bench->generation});
    bench->engine->session_close(session);
}

/* After fillversions: at the point that was noted everything is as it was then, and now as it was written last. */
static void check_versions(struct bench *bench)
{
    void *session = bench->engine->session_open(bench->db);
    unsigned then = (bench->sizes.versions - 1) / 2, now = bench->sizes.versions - 1;

    check_session(bench, session, (struct generations){now, now});
    bench->engine->read_at(session, bench->past);
    check_session(bench, session, (struct generations){then, then});
    bench->engine->session_close(session);
}

struct run {
    struct bench *bench;
    const struct workload *workload;
    unsigned threads;
    uint64_t ops; /* asked for, all threads */
    uint32_t *hot;
    pthread_barrier_t begin;
    _Atomic bool stop;
    _Atomic uint64_t inserted;
    /* Measured. */
    struct worker *workers; /* `threads` of them, then the writer beside readers */
    double seconds, settle_seconds;
    uint64_t written, settle_written, peak;
    double cpu_seconds, settle_cpu_seconds; /* of the whole process */
    struct usage usage;
};

struct start {
    struct run *run;
    struct worker *worker;
    void (*work)(struct worker *);
};

static void *worker_main(void *arg)
{
    struct start *start = arg;
    struct worker *w = start->worker;
    double cpu;
    int counter;

    pthread_barrier_wait(&start->run->begin);
    counter = counter_open();
    cpu = seconds_of_thread();
    w->began = seconds_now();
    start->work(w);
    w->ended = seconds_now();
    w->cpu_seconds = seconds_of_thread() - cpu;
    w->instructions = counter_close(counter);
    return NULL;
}

/* The same draws in every run, others in every workload and thread. */
static uint64_t seed_of(const char *name, unsigned thread)
{
    uint64_t seed = 14695981039346656037u + thread;

    for (; *name; name++)
        seed = (seed ^ (unsigned char)*name) * 1099511628211u;
    return seed;
}

static void worker_init(struct run *run, unsigned number)
{
    struct bench *bench = run->bench;
    struct worker *w = &run->workers[number];

    *w = (struct worker){
        .engine = bench->engine,
        .session = bench->engine->session_open(bench->db),
        .data = &bench->data,
        .live = bench->live,
        .generation = bench->generation,
        .versions = bench->sizes.versions,
        .seconds = bench->sizes.seconds,
        .past = bench->past,
        .hot = run->hot,
        .stop = &run->stop,
        .inserted = &run->inserted,
        .from = run->ops * number / run->threads,
        .to = run->ops * (number + 1) / run->threads,
        .keys_from = bench->live * number / run->threads,
        .keys_to = bench->live * (number + 1) / run->threads,
    };
    random_seed(&w->random, seed_of(run->workload->name, number));
    histogram_init(&w->ticks);
    histogram_init(&w->get_ticks);
}

/* From the first that began to the last that ended; not by the clock of the thread that waits for them, which may
 * wake up late. */
static double seconds_all(const struct run *run)
{
    double began = run->workers[0].began, ended = run->workers[0].ended;

    for (unsigned i = 1; i < run->threads; i++) {
        const struct worker *w = &run->workers[i];

        began = w->began < began ? w->began : began;
        ended = w->ended > ended ? w->ended : ended;
    }
    return ended - began;
}

static void run_threads(struct run *run)
{
    unsigned all = run->threads + (run->workload->flags & WORKLOAD_WRITER ? 1 : 0);
    struct start starts[THREADS_MAX + 1];
    pthread_t threads[THREADS_MAX + 1];

    pthread_barrier_init(&run->begin, NULL, all + 1);
    for (unsigned i = 0; i < all; i++) {
        worker_init(run, i);
        starts[i] = (struct start){run, &run->workers[i],
                                   i < run->threads ? run->workload->run : overwrite_until_stopped};
        if (thread_start(&threads[i], "bench", worker_main, &starts[i]) != HELIOS_OK)
            bench_die("%s", helios_last_error());
    }
    pthread_barrier_wait(&run->begin);
    for (unsigned i = 0; i < run->threads; i++)
        thread_join(threads[i]);
    atomic_store(&run->stop, true);
    for (unsigned i = run->threads; i < all; i++)
        thread_join(threads[i]);
    run->seconds = seconds_all(run);
    for (unsigned i = 0; i < all; i++)
        run->bench->engine->session_close(run->workers[i].session);
    pthread_barrier_destroy(&run->begin);
}

/* Writes what will be measured a few times over, so that logs have been retired and can be used again. */
static void warm_logs(struct bench *bench, uint64_t count)
{
    const struct engine *engine = bench->engine;
    void *session = engine->session_open(bench->db);
    static struct record records[WARM_BATCH];
    static char keys[WARM_BATCH][KEY_BYTES];
    size_t used = 0;

    for (uint64_t i = 0; i < count * WARM_ROUNDS * WARM_PASSES; i++) {
        uint64_t index = data_scatter(&bench->data, i % count);

        data_key(&bench->data, index * 2, keys[used]);
        records[used] = (struct record){slice_make(keys[used], KEY_BYTES), data_value(&bench->data, index, 0)};
        if (++used == WARM_BATCH || (i + 1) % count == 0) {
            engine->put_batch(session, records, used);
            used = 0;
        }
        if ((i + 1) % (count * WARM_PASSES) == 0)
            bench_settle(bench);
    }
    engine->session_close(session);
}

static uint64_t ops_of(const struct bench *bench, const struct workload *workload, unsigned threads)
{
    const struct sizes *sizes = &bench->sizes;

    switch (workload->count) {
    case COUNT_VERSIONS: return sizes->count * sizes->versions;
    case COUNT_SYNCED: return threads > 1 ? sizes->synced * 4 : sizes->synced;
    case COUNT_SYNCED_BATCHES: return (threads > 1 ? sizes->synced * 4 : sizes->synced) * BATCH_RECORDS;
    case COUNT_READS: return sizes->reads;
    case COUNT_STEPS: return sizes->reads * STEPS_PER_READ;
    case COUNT_SEEKS: return sizes->reads / READS_PER_SEEK;
    case COUNT_SEEKS_MANY: return sizes->reads / READS_PER_SEEK_MANY;
    case COUNT_KEYS: break;
    }
    return sizes->count;
}

static void check_possible(const struct run *run)
{
    const struct bench *bench = run->bench;
    const struct engine *engine = bench->engine;
    unsigned flags = run->workload->flags;

    if (!(flags & WORKLOAD_FRESH) && bench->live == 0)
        bench_die("%s: a fill must come before", run->workload->name);
    if (flags & WORKLOAD_ALONE && run->threads > 1)
        bench_die("%s: one thread", run->workload->name);
    if ((flags & (WORKLOAD_VERSIONS | WORKLOAD_PAST) && !engine->read_at) ||
        (flags & WORKLOAD_TXN && !engine->txn_begin) || (flags & WORKLOAD_SNAPSHOTS && !engine->snapshot_new))
        bench_die("%s: the engine has nothing of the kind", run->workload->name);
    if (flags & WORKLOAD_PAST && bench->past == 0)
        bench_die("%s: fillversions must come before", run->workload->name);
}

/* A database in the state and with the settings that the workload begins with. */
static void prepare(struct run *run)
{
    struct bench *bench = run->bench;
    unsigned flags = run->workload->flags, writers = flags & WORKLOAD_WRITER ? 1 : run->threads;
    bool fresh = flags & WORKLOAD_FRESH, sync = flags & WORKLOAD_SYNC, transactions = flags & WORKLOAD_TXN,
         mixed = flags & WORKLOAD_WRITES && flags & WORKLOAD_HITS;
    bool other = bench->settings.sync != sync || (bench->settings.writers > 1) != (writers > 1) ||
                 bench->settings.transactions != transactions || bench->settings.mixed != mixed;

    check_possible(run);
    if (fresh) {
        bench->live = flags & WORKLOAD_VERSIONS ? bench->sizes.count : run->ops;
        bench->generation = flags & WORKLOAD_VERSIONS ? bench->sizes.versions - 1 : 0;
        bench->past = 0;
        bench->holes = false;
        data_release(&bench->data);
        data_init(&bench->data, bench->live, bench->sizes.value_bytes, bench->sizes.binary_keys);
    } else if (flags & WORKLOAD_WRITES) {
        bench->generation++;
        bench->holes |= (flags & WORKLOAD_DELETES) != 0;
    }
    if (fresh || (other && flags & WORKLOAD_WRITES)) {
        bench->settings.sync = sync;
        bench->settings.writers = writers;
        bench->settings.transactions = transactions;
        bench->settings.mixed = mixed;
        if (fresh)
            bench_fresh(bench);
        bench_close(bench);
        bench->db = bench->engine->open(&bench->settings);
        if (!fresh && bench->engine->stores)
            bench_check(bench); /* caches as warm as if nothing had been closed */
    }
    if (sync && bench->engine->stores)
        warm_logs(bench, run->ops);
    if (flags & WORKLOAD_HOT)
        run->hot = data_zipfian(&bench->data, bench->live, run->ops, seed_of(run->workload->name, 0),
                                !(flags & WORKLOAD_LATEST));
}

/* Closed, out of the page cache, open again: whatever the engine keeps in memory is empty then too. */
static void prepare_cold(struct bench *bench)
{
    bench_close(bench);
    directory_forget(bench->settings.path);
    bench->db = bench->engine->open(&bench->settings);
}

static uint64_t found_all(const struct run *run)
{
    uint64_t found = 0;

    for (unsigned i = 0; i < run->threads; i++)
        found += run->workers[i].found;
    return found;
}

static void finish(const struct run *run)
{
    const struct engine *engine = run->bench->engine;
    void *session = engine->session_open(run->bench->db);

    run->workload->finish(engine, session, run->ops);
    engine->session_close(session);
}

static void check(const struct run *run)
{
    unsigned flags = run->workload->flags;
    struct bench *bench = run->bench;

    if (flags & WORKLOAD_VERSIONS)
        bench->past = run->workers[0].past;
    if (!bench->engine->stores)
        return;
    /* Of several threads one may read the newest key before it is there. */
    if (flags & WORKLOAD_LATEST && run->threads > 1)
        flags &= ~(unsigned)WORKLOAD_HITS;
    if (flags & WORKLOAD_HITS && !bench->holes && found_all(run) != run->ops)
        bench_die("%s: %" PRIu64 " of %" PRIu64 " keys were found", run->workload->name, found_all(run),
                  run->ops);
    if (flags & WORKLOAD_MISSES && found_all(run) != 0)
        bench_die("%s: %" PRIu64 " absent keys were found", run->workload->name, found_all(run));
    if (run->workload->finish)
        finish(run);
    if (flags & WORKLOAD_VERSIONS)
        check_versions(bench);
    else if (flags & WORKLOAD_WRITES)
        bench_check(bench);
}

static void measure(struct run *run)
{
    uint64_t before;
    double cpu;

    process_peak_reset();
    before = process_written();
    cpu = seconds_of_process();
    run_threads(run);
    run->written = process_written() - before;
    run->cpu_seconds = seconds_of_process() - cpu;
    run->bench->live += atomic_load(&run->inserted);
    if (run->workload->flags & WORKLOAD_WRITES) {
        run->settle_seconds = bench_settle(run->bench);
        run->settle_written = process_written() - before - run->written;
        run->settle_cpu_seconds = seconds_of_process() - cpu - run->cpu_seconds;
    }
    run->peak = process_peak();
    run->usage = directory_usage(run->bench->settings.path);
}

static void print_writes(const struct run *run, uint64_t user_bytes)
{
    const struct bench *bench = run->bench;
    uint64_t live = bench->live * (KEY_BYTES + bench->sizes.value_bytes);

    printf(", \"settle_seconds\": %.3f, \"written\": %" PRIu64 ", \"settle_written\": %" PRIu64
           ", \"user_bytes\": %" PRIu64 ", \"write_amplification\": %.3f",
           run->settle_seconds, run->written, run->settle_written, user_bytes,
           (double)(run->written + run->settle_written) / (double)(user_bytes + 1));
    if (!bench->holes)
        printf(", \"space_amplification\": %.3f", (double)run->usage.bytes / (double)live);
}

/* Processor time of an operation: of the threads that measure, and of all threads with the work left at the end. The
 * instructions are null where the machine has no counters for a program. */
static void print_cpu(const struct run *run, uint64_t ops)
{
    double threads = 0, each = 1e9 / (double)(ops + !ops);
    uint64_t instructions = 0;

    for (unsigned i = 0; i < run->threads; i++) {
        threads += run->workers[i].cpu_seconds;
        instructions += run->workers[i].instructions;
    }
    printf(", \"cpu_nanos\": {\"threads\": %.1f, \"process\": %.1f, \"with_settling\": %.1f}", threads * each,
           run->cpu_seconds * each, (run->cpu_seconds + run->settle_cpu_seconds) * each);
    if (instructions)
        printf(", \"instructions\": %.1f", (double)instructions / (double)ops);
    else
        printf(", \"instructions\": null");
}

static void print_nanos(const char *name, const struct histogram *ticks)
{
    double nanos = ticks_nanos();

    printf(", \"%s\": {\"mean\": %.1f, \"p50\": %.0f, \"p90\": %.0f, \"p99\": %.0f, \"p99.9\": %.0f, "
           "\"p99.99\": "
           "%.0f, \"max\": %.0f}",
           name, (double)ticks->sum * nanos / (double)(ticks->count + !ticks->count),
           (double)histogram_percentile(ticks, 50) * nanos, (double)histogram_percentile(ticks, 90) * nanos,
           (double)histogram_percentile(ticks, 99) * nanos, (double)histogram_percentile(ticks, 99.9) * nanos,
           (double)histogram_percentile(ticks, 99.99) * nanos, (double)ticks->max * nanos);
}

static void print_result(const struct run *run, const char *name)
{
    struct histogram ticks, gets;
    uint64_t ops = 0, attempts = 0, user_bytes = 0;

    histogram_init(&ticks);
    histogram_init(&gets);
    for (unsigned i = 0; i < run->threads; i++) {
        ops += run->workers[i].ops;
        attempts += run->workers[i].attempts;
        user_bytes += run->workers[i].written;
        histogram_merge(&ticks, &run->workers[i].ticks);
        histogram_merge(&gets, &run->workers[i].get_ticks);
    }
    printf("{\"engine\": \"%s\", \"workload\": \"%s\", \"threads\": %u, \"ops\": %" PRIu64
           ", \"seconds\": %.6f, \"ops_per_second\": %.0f",
           run->bench->engine->name, name, run->threads, ops, run->seconds, (double)ops / run->seconds);
    if (run->workload->flags & WORKLOAD_WRITER) {
        const struct worker *writer = &run->workers[run->threads];

        user_bytes += writer->written;
        printf(", \"writer_ops_per_second\": %.0f", (double)writer->ops / run->seconds);
    }
    if (run->workload->flags & WORKLOAD_TXN)
        printf(", \"conflicts\": %" PRIu64, attempts - ops);
    if (run->workload->flags & WORKLOAD_WRITES)
        print_writes(run, user_bytes);
    print_cpu(run, ops);
    print_nanos("nanos", &ticks);
    if (gets.count > 0)
        print_nanos("get_nanos", &gets);
    printf(", \"space_bytes\": %" PRIu64 ", \"files\": %" PRIu64 ", \"peak_bytes\": %" PRIu64 "}\n",
           run->usage.bytes, run->usage.files, run->peak);
    fflush(stdout);
}

/* "name", "name-cold", either with "@threads". */
static void run_named(struct bench *bench, const char *name)
{
    static const char suffix[] = "-cold";
    size_t size = strcspn(name, "@"), suffix_size = sizeof(suffix) - 1, base_size = size;
    struct run run = {.bench = bench, .threads = 1};
    bool cold = size > suffix_size && memcmp(name + size - suffix_size, suffix, suffix_size) == 0;

    if (cold)
        base_size -= suffix_size;
    if (scenario_run(bench, name))
        return;
    run.workload = workload_find(name, base_size);
    if (!run.workload)
        bench_die("no workload is called %s", name);
    if (name[size])
        run.threads = (unsigned)strtoul(name + size + 1, NULL, 10);
    if (run.threads < 1 || run.threads > THREADS_MAX)
        bench_die("%s: 1 to %d threads", name, THREADS_MAX);
    run.workers = calloc(run.threads + 1, sizeof(*run.workers));
    if (!run.workers)
        bench_die("no memory");
    run.ops = ops_of(bench, run.workload, run.threads);
    prepare(&run);
    if (cold)
        prepare_cold(bench);
    measure(&run);
    check(&run);
    print_result(&run, name);
    free(run.hot);
    free(run.workers);
}

static void print_settings(const struct bench *bench)
{
    char text[1024];

    bench->engine->describe(&bench->settings, text, sizeof(text));
    printf("{\"engine\": \"%s\", \"keys\": %" PRIu64
           ", \"key_bytes\": %d, \"value_bytes\": %zu, \"settings\": \"%s\"}\n",
           bench->engine->name, bench->sizes.count, KEY_BYTES, bench->sizes.value_bytes, text);
    fflush(stdout);
}

static const char usage_text[] =
    "Usage: bench-%s [option]... WORKLOAD[@THREADS][,...]\n"
    "Runs the workloads in turn in a scratch directory and prints a line of JSON for each.\n"
    "A fill begins with an empty database, everything else goes on with what is there.\n"
    "  fillseq fillrandom fillbatch bulkload fillsync fillsyncbatch overwrite overwrites updaterandom "
    "deleterandom mixed\n"
    "  readrandom readmissing readhot readwhilewriting readseq readreverse seekrandom seekrandom100 "
    "seekrandomnew open replay\n"
    "  ycsba ycsbb ycsbc ycsbd ycsbe ycsbf\n"
    "  fillversions readrandom-at scan-at snapshot snapshots txn-rmw txn-disjoint txn-counter\n"
    "With -cold behind its name (readrandom-cold) a workload begins without anything in the page cache.\n"
    "  --dir=DIR       where the scratch directory is made (.)\n"
    "  --database=DIR  instead of a scratch directory; stays, and later runs may go on with it\n"
    "  --num=N         keys of a fill (2000000)\n"
    "  --reads=N       reads (as --num); a quarter as many seeks, four times as many steps of a scan\n"
    "  --synced=N      writes of fillsync (--num / 200); four times as many with several threads\n"
    "  --value=N       bytes of a value (100)\n"
    "  --versions=N    of each key, in fillversions (2); an older point lies half-way. Passes of overwrites\n"
    "  --seconds=N     of mixed (60)\n"
    "  --retention=T   history that Helios keeps: none, forever, or so many hours, as 24h (none)\n"
    "  --encrypt       Helios encrypts what it writes\n"
    "  --keys=binary   8 bytes big-endian and 8 of hash instead of 16 decimal digits\n"
    "  --memtable=N    bytes of a memtable (64M)\n"
    "  --cache=N       bytes of the block cache (256M)\n"
    "  --file=N        bytes of a table file, where the engine has such a setting (64M)\n"
    "Numbers take K, M, G: 1024 each.\n";

static uint64_t number_of(const char *text)
{
    char *end = NULL;
    uint64_t number = strtoull(text, &end, 10);
    const char *units = "KMG", *unit = *end ? strchr(units, *end) : NULL;

    if (end == text || (*end && (!unit || end[1])))
        bench_die("%s is no number", text);
    return unit ? number << (10 * (unit - units + 1)) : number;
}

/* As Helios takes it: us. */
static uint64_t retention_of(const char *text)
{
    char *end = NULL;
    uint64_t hours = strtoull(text, &end, 10);

    if (strcmp(text, "none") == 0)
        return 0;
    if (strcmp(text, "forever") == 0)
        return HELIOS_FOREVER;
    if (end == text || strcmp(end, "h") != 0)
        bench_die("a retention is none, forever, or a number of hours, as 24h");
    return hours * 3600 * 1000000;
}

static const struct option options[] = {
    {"dir", required_argument, NULL, 'd'},      {"database", required_argument, NULL, 'D'},
    {"num", required_argument, NULL, 'n'},      {"reads", required_argument, NULL, 'r'},
    {"synced", required_argument, NULL, 's'},   {"value", required_argument, NULL, 'v'},
    {"versions", required_argument, NULL, 'V'}, {"retention", required_argument, NULL, 'R'},
    {"encrypt", no_argument, NULL, 'E'},        {"keys", required_argument, NULL, 'k'},
    {"memtable", required_argument, NULL, 'm'}, {"cache", required_argument, NULL, 'c'},
    {"file", required_argument, NULL, 'f'},     {"seconds", required_argument, NULL, 'S'},
    {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
};

static _Noreturn void show_usage(FILE *to, int exit_code)
{
    fprintf(to, usage_text, bench_engine.name);
    exit(exit_code);
}

static void option_set(struct bench *bench, int option, const char *value, const char **directory)
{
    switch (option) {
    case 'd': *directory = value; break;
    case 'D':
        snprintf(scratch, sizeof(scratch), "%s", value);
        scratch_stays = true;
        break;
    case 'n': bench->sizes.count = number_of(value); break;
    case 'r': bench->sizes.reads = number_of(value); break;
    case 's': bench->sizes.synced = number_of(value); break;
    case 'v': bench->sizes.value_bytes = number_of(value); break;
    case 'S': bench->sizes.seconds = (double)number_of(value); break;
    case 'V': bench->sizes.versions = (unsigned)number_of(value); break;
    case 'R': bench->settings.retention = retention_of(value); break;
    case 'E': bench->settings.encrypted = true; break;
    case 'k': bench->sizes.binary_keys = strcmp(value, "binary") == 0; break;
    case 'm': bench->settings.memtable_bytes = number_of(value); break;
    case 'c': bench->settings.cache_bytes = number_of(value); break;
    case 'f': bench->settings.file_bytes = number_of(value); break;
    case 'h': show_usage(stdout, 0);
    default: show_usage(stderr, 2);
    }
}

/* Returns the workloads, which the caller cuts up. */
static char *arguments_read(struct bench *bench, int argc, char **argv, const char **directory)
{
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        option_set(bench, option, optarg, directory);
    if (optind + 1 != argc || bench->sizes.count < 1 || bench->sizes.value_bytes < 1 ||
        bench->sizes.versions < 1)
        show_usage(stderr, 2);
    if (!bench->sizes.reads)
        bench->sizes.reads = bench->sizes.count;
    if (!bench->sizes.synced)
        bench->sizes.synced = bench->sizes.count / 200 + 1;
    return argv[optind];
}

/* The database that an earlier run left, of as many keys as --num says. */
static void open_existing(struct bench *bench)
{
    bench->live = bench->sizes.count;
    bench->db = bench->engine->open(&bench->settings);
}

static void scratch_make(const char *directory)
{
    snprintf(scratch, sizeof(scratch), "%s/bench-%s-XXXXXX", directory, bench_engine.name);
    if (!mkdtemp(scratch)) {
        scratch[0] = '\0';
        bench_die("cannot make a directory in %s: %s", directory, strerror(errno));
    }
}

int main(int argc, char **argv)
{
    struct bench bench = {
        .engine = &bench_engine,
        .sizes = {.count = 2000000, .value_bytes = 100, .versions = 2, .seconds = 60},
        .settings = {.path = scratch,
                     .memtable_bytes = 64 << 20,
                     .cache_bytes = 256 << 20,
                     .file_bytes = 64 << 20,
                     .writers = 1},
    };
    const char *directory = ".";
    char *workloads = arguments_read(&bench, argc, argv, &directory);
    bool existing = scratch_stays && access(scratch, F_OK) == 0;

    if (scratch_stays)
        mkdir(scratch, 0777);
    else
        scratch_make(directory);
    atexit(scratch_remove);
    data_init(&bench.data, bench.sizes.count, bench.sizes.value_bytes, bench.sizes.binary_keys);
    ticks_nanos();
    print_settings(&bench);
    if (existing)
        open_existing(&bench);
    for (char *name = strtok(workloads, ","); name; name = strtok(NULL, ","))
        run_named(&bench, name);
    bench_close(&bench);
    data_release(&bench.data);
    return 0;
}
