/* bench.c - heliosctl bench: a few standard workloads on the user's own disk, in a scratch database. */
#include "tools/bench.h"
#include <json-c/json.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    THREADS_MAX = 256,
    RESULTS_MAX = 64,
    PATH_BYTES = 4200,
    SEED = 20240229,
    KEYS = 500000,
    KEYS_QUICK = 50000
};

static const char default_workloads[] =
    "fillsync,fillsync16,fillseq,fillrandom,readrandom,readmissing,seekrandom,readseq,overwrite";

struct bench {
    struct args *args;
    struct bench_setup setup;
    struct bench_disk disk;
    char path[PATH_BYTES]; /* the scratch database, in a directory of its own */
    bool made_directory;   /* the one around it was not there */
    helios_db *db;
    struct bench_result results[RESULTS_MAX];
    size_t result_count;
};

static void *run_job(void *arg)
{
    struct bench_job *job = arg;

    job->status = job->workload->run(job);
    if (job->status != HELIOS_OK)
        snprintf(job->error, sizeof(job->error), "%s", helios_last_error());
    return NULL;
}

/* All threads of one workload; the first failure is the result. */
static int run_jobs(struct bench *bench, const struct bench_workload *workload, unsigned count,
                    struct bench_job *jobs, double *seconds)
{
    uint64_t ops = bench->setup.count / workload->divide, start;
    pthread_t threads[THREADS_MAX];
    unsigned begun = 0;

    start = clock_micros();
    for (unsigned i = 0; i < count; i++) {
        jobs[i] = (struct bench_job){.workload = workload, .setup = &bench->setup, .db = bench->db};
        jobs[i].from = ops * i / count;
        jobs[i].to = ops * (i + 1) / count;
        random_seed(&jobs[i].random, SEED + i);
        histogram_init(&jobs[i].nanos);
        if (pthread_create(&threads[i], NULL, run_job, &jobs[i]) != 0)
            break;
        begun++;
    }
    for (unsigned i = 0; i < begun; i++)
        pthread_join(threads[i], NULL);
    *seconds = (double)(clock_micros() - start) / 1e6 + 1e-9;
    if (begun < count)
        return report_failure(bench->args, "cannot start %u threads", count);
    for (unsigned i = 0; i < begun; i++)
        if (jobs[i].status != HELIOS_OK)
            return report_failure(bench->args, "%s: %s: %s", workload->name, helios_status_name(jobs[i].status),
                                  jobs[i].error);
    return EXIT_CODE_OK;
}

static void print_result_json(const struct bench_result *result)
{
    struct json_object *object = json_object_new_object();

    json_object_object_add(object, "workload", json_object_new_string(result->workload->name));
    json_object_object_add(object, "threads", json_object_new_int((int)result->threads));
    json_object_object_add(object, "ops", json_object_new_uint64(result->ops));
    json_object_object_add(object, "seconds", json_object_new_double(result->seconds));
    json_object_object_add(object, "ops_per_second",
                           json_object_new_double((double)result->ops / result->seconds));
    json_object_object_add(object, "bytes_per_second",
                           json_object_new_double((double)result->bytes / result->seconds));
    json_object_object_add(object, "p50_nanos", json_object_new_uint64(result->p50));
    json_object_object_add(object, "p99_nanos", json_object_new_uint64(result->p99));
    json_object_object_add(object, "p999_nanos", json_object_new_uint64(result->p999));
    json_object_object_add(object, "max_nanos", json_object_new_uint64(result->max));
    json_print(stdout, object);
    json_free(object);
}

static void print_result(const struct bench *bench, const struct bench_result *result)
{
    char rate[32];

    if (bench->args->json) {
        print_result_json(result);
        return;
    }
    human_count((uint64_t)((double)result->ops / result->seconds), rate);
    printf("%-13s %12s/s %8.1f MB/s %9.2f %9.2f %9.2f %10.2f\n", result->workload->name, rate,
           (double)result->bytes / result->seconds / 1e6, (double)result->p50 / 1e3, (double)result->p99 / 1e3,
           (double)result->p999 / 1e3, (double)result->max / 1e3);
    fflush(stdout);
}

static int close_scratch(struct bench *bench, int code)
{
    helios_status status;

    if (!bench->db)
        return code;
    code = ctl_close(bench->args, bench->db, code);
    bench->db = NULL;
    status = helios_destroy(bench->path);
    if (status != HELIOS_OK && code == EXIT_CODE_OK)
        code = report_status(bench->args, status, NULL);
    return code;
}

/* With the options that a program gets when it gives none. */
static int open_scratch(struct bench *bench, bool fresh)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_encryption key;
    helios_status status;
    bool encrypted;
    int code = fresh ? close_scratch(bench, EXIT_CODE_OK) : EXIT_CODE_OK;

    if (code || bench->db)
        return code;
    code = key_take(bench->args, &bench->args->key, &key, &encrypted);
    if (code)
        return code;
    options.encryption = encrypted ? &key : NULL;
    options.error_if_exists = true;
    status = helios_open(bench->path, &options, &bench->db);
    return status == HELIOS_OK ? EXIT_CODE_OK : report_status(bench->args, status, NULL);
}

static void sum_up(struct bench_result *result, const struct bench_job *jobs)
{
    struct histogram *total = xalloc(sizeof(*total));

    histogram_init(total);
    for (unsigned i = 0; i < result->threads; i++) {
        histogram_merge(total, &jobs[i].nanos);
        result->bytes += jobs[i].bytes;
    }
    result->ops = total->count;
    result->p50 = histogram_percentile(total, 50);
    result->p99 = histogram_percentile(total, 99);
    result->p999 = histogram_percentile(total, 99.9);
    result->max = total->max;
    free(total);
}

static int run_workload(struct bench *bench, const struct bench_workload *workload)
{
    struct bench_result result = {.workload = workload,
                                  .threads = workload->threads ? workload->threads : bench->setup.threads};
    struct bench_job *jobs = xalloc(sizeof(*jobs) * result.threads);
    int code = open_scratch(bench, workload->fresh);

    if (code == EXIT_CODE_OK)
        code = run_jobs(bench, workload, result.threads, jobs, &result.seconds);
    if (code == EXIT_CODE_OK) {
        sum_up(&result, jobs);
        print_result(bench, &result);
        bench->results[bench->result_count++] = result;
    }
    free(jobs);
    return code;
}

static const struct bench_workload *find_workload(const char *name)
{
    for (const struct bench_workload *w = bench_workloads; w->name; w++)
        if (strcmp(w->name, name) == 0)
            return w;
    return NULL;
}

static int run_list(struct bench *bench, char *list)
{
    char *rest = NULL;
    int code = EXIT_CODE_OK;

    for (char *name = strtok_r(list, ",", &rest); name && code == EXIT_CODE_OK;
         name = strtok_r(NULL, ",", &rest)) {
        const struct bench_workload *workload = find_workload(name);

        if (!workload)
            return report_usage(bench->args, "there is no workload \"%s\"", name);
        if (bench->result_count == RESULTS_MAX)
            return report_usage(bench->args, "at most %d workloads", RESULTS_MAX);
        code = run_workload(bench, workload);
    }
    return code;
}

static void print_header(const struct bench *bench)
{
    if (bench->args->json)
        return;
    printf("%llu keys of %d bytes, values of %llu, %u thread%s; times in us\n",
           (unsigned long long)bench->setup.count, BENCH_KEY_BYTES,
           (unsigned long long)bench->setup.value_bytes, bench->setup.threads,
           bench->setup.threads == 1 ? "" : "s");
    printf("%-13s %14s %13s %9s %9s %9s %10s\n", "workload", "operations", "moved", "p50", "p99", "p99.9",
           "max");
}

/* helios_destroy has removed the files; the directories go if nobody else put anything there. */
static void remove_scratch(struct bench *bench)
{
    char *end = strrchr(bench->path, '/');

    rmdir(bench->path);
    if (!bench->made_directory || !end)
        return;
    *end = '\0';
    rmdir(bench->path);
}

/* A directory of our own in the one that was named, which is made if it is not there, so that nothing is touched that was
 * there before. */
static int make_scratch(struct bench *bench)
{
    struct args *args = bench->args;
    const char *directory = args->dir ? args->dir : args->word_count ? args->words[0] : ".";
    int code;

    snprintf(bench->path, sizeof(bench->path), "%s/HELIOS", directory);
    if (access(bench->path, F_OK) == 0)
        return report_usage(args, "%s is a database: name a directory beside it, on the same disk", directory);
    bench->made_directory = mkdir(directory, 0777) == 0;
    if (snprintf(bench->path, sizeof(bench->path), "%s/helios-bench-XXXXXX", directory) >= PATH_BYTES)
        return report_usage(args, "the path of the directory is too long");
    if (mkdtemp(bench->path) && bench_disk_probe(bench->path, &bench->disk) == 0)
        return EXIT_CODE_OK;
    code = report_system(args, "%s", bench->path);
    remove_scratch(bench);
    return code;
}

static void explain(const struct bench *bench)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    struct bench_summary summary = {.setup = &bench->setup,
                                    .disk = &bench->disk,
                                    .results = bench->results,
                                    .count = bench->result_count,
                                    .cache_bytes = options.block_cache_bytes};

    bench_explain(&summary, bench->args->json);
}

static int run_all(struct bench *bench)
{
    char *list = xtext(bench->args->workloads ? bench->args->workloads : default_workloads);
    int code = make_scratch(bench);

    if (code == EXIT_CODE_OK) {
        print_header(bench);
        code = run_list(bench, list);
        code = close_scratch(bench, code);
        remove_scratch(bench);
    }
    if (code == EXIT_CODE_OK)
        explain(bench);
    free(list);
    return code;
}

static int run_bench(struct args *args)
{
    struct bench *bench = xalloc(sizeof(*bench));
    int code;

    *bench = (struct bench){.args = args};
    bench->setup.count = args->count != UINT64_MAX ? args->count : args->quick ? KEYS_QUICK : KEYS;
    bench->setup.value_bytes = args->value_bytes == UINT64_MAX ? 100 : args->value_bytes;
    bench->setup.threads = args->threads == UINT64_MAX ? 1 : (unsigned)args->threads;
    if (ctl_is_shared())
        code = report_usage(args, "not inside the shell: it wants a directory of its own");
    else if (bench->setup.count < 1000 || bench->setup.threads < 1 || args->threads + 1 > THREADS_MAX + 1)
        code = report_usage(args, "at least 1000 keys and 1 to %d threads", THREADS_MAX);
    else
        code = run_all(bench);
    free(bench);
    return code;
}

static const struct argp_option bench_options[] = {
    {"dir", OPTION_DIR, "DIRECTORY", 0, "On the disk that is asked about (default: here)", 0},
    {"quick", OPTION_QUICK, NULL, 0, "A tenth of the keys: a few seconds, less exact", 0},
    {"count", OPTION_COUNT, "N", 0, "Keys (default 500000)", 0},
    {"value-bytes", OPTION_VALUE_BYTES, "N", 0, "Bytes of a value (default 100)", 0},
    {"threads", OPTION_THREADS, "N", 0, "Threads (default 1)", 0},
    {"workloads", OPTION_WORKLOADS, "LIST", 0, "Names with commas between, in this order", 0},
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};

const struct command bench_commands[] = {
    {"bench", "[DIRECTORY]", "Measure this machine and disk, and say what it means",
     "Makes a scratch database in a new directory inside DIRECTORY, with the options that a program gets by "
     "default, and "
     "removes it at the end; nothing else there is touched. Workloads: fillsync (each put on the disk before "
     "it "
     "returns), fillsync16 (16 threads do so), fillseq, fillrandom, fillbatch (100 puts a commit), overwrite, "
     "readrandom, readmissing, readseq, readreverse, seekrandom (and 10 next), deleterandom. The fills but "
     "fillsync begin "
     "with an empty database. fillsync does a thousandth, fillsync16 a hundredth, seekrandom a tenth of the "
     "operations. "
     "With --json, a line for each, then one with what it means.",
     bench_options, 0, 1, run_bench},
    {0},
};
