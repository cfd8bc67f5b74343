/* bench.c - heliosctl bench: a few standard workloads on the user's own disk, in a scratch database. */
#include "tools/bench.h"
#include <json-c/json.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 256, SEED = 20240229 };

static const char default_workloads[] =
    "fillrandom,fillsync,overwrite,readrandom,readmissing,readseq,readreverse,seekrandom";

struct bench {
    struct args *args;
    struct bench_setup setup;
    helios_db *db;
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
static int run_jobs(struct bench *bench, const struct bench_workload *workload, struct bench_job *jobs,
                    double *seconds)
{
    uint64_t ops = bench->setup.count / workload->divide, start;
    pthread_t threads[THREADS_MAX];
    unsigned begun = 0;

    start = clock_micros();
    for (unsigned i = 0; i < bench->setup.threads; i++) {
        jobs[i] = (struct bench_job){.workload = workload, .setup = &bench->setup, .db = bench->db};
        jobs[i].from = ops * i / bench->setup.threads;
        jobs[i].to = ops * (i + 1) / bench->setup.threads;
        random_seed(&jobs[i].random, SEED + i);
        histogram_init(&jobs[i].nanos);
        if (pthread_create(&threads[i], NULL, run_job, &jobs[i]) != 0)
            break;
        begun++;
    }
    for (unsigned i = 0; i < begun; i++)
        pthread_join(threads[i], NULL);
    *seconds = (double)(clock_micros() - start) / 1e6 + 1e-9;
    if (begun < bench->setup.threads)
        return report_failure(bench->args, "cannot start %u threads", bench->setup.threads);
    for (unsigned i = 0; i < begun; i++)
        if (jobs[i].status != HELIOS_OK)
            return report_failure(bench->args, "%s: %s: %s", workload->name, helios_status_name(jobs[i].status),
                                  jobs[i].error);
    return EXIT_CODE_OK;
}

static void print_result_json(const struct bench_workload *workload, const struct histogram *nanos,
                              double seconds, uint64_t bytes)
{
    struct json_object *object = json_object_new_object();

    json_object_object_add(object, "workload", json_object_new_string(workload->name));
    json_object_object_add(object, "ops", json_object_new_uint64(nanos->count));
    json_object_object_add(object, "seconds", json_object_new_double(seconds));
    json_object_object_add(object, "ops_per_second", json_object_new_double((double)nanos->count / seconds));
    json_object_object_add(object, "bytes_per_second", json_object_new_double((double)bytes / seconds));
    json_object_object_add(object, "p50_nanos", json_object_new_uint64(histogram_percentile(nanos, 50)));
    json_object_object_add(object, "p99_nanos", json_object_new_uint64(histogram_percentile(nanos, 99)));
    json_object_object_add(object, "p999_nanos", json_object_new_uint64(histogram_percentile(nanos, 99.9)));
    json_object_object_add(object, "max_nanos", json_object_new_uint64(nanos->max));
    json_print(stdout, object);
    json_free(object);
}

static void print_result(const struct bench *bench, const struct bench_workload *workload,
                         const struct histogram *nanos, double seconds, uint64_t bytes)
{
    char rate[32];

    if (bench->args->json) {
        print_result_json(workload, nanos, seconds, bytes);
        return;
    }
    human_count((uint64_t)((double)nanos->count / seconds), rate);
    printf("%-13s %12s/s %8.1f MB/s %9.2f %9.2f %9.2f %10.2f\n", workload->name, rate,
           (double)bytes / seconds / 1e6, (double)histogram_percentile(nanos, 50) / 1e3,
           (double)histogram_percentile(nanos, 99) / 1e3, (double)histogram_percentile(nanos, 99.9) / 1e3,
           (double)nanos->max / 1e3);
    fflush(stdout);
}

static int open_scratch(struct bench *bench, bool fresh)
{
    int code = EXIT_CODE_OK;
    helios_status status;

    if (bench->db && fresh) {
        code = ctl_close(bench->args, bench->db, code);
        bench->db = NULL;
        if (code)
            return code;
        status = helios_destroy(bench->args->words[0]);
        if (status != HELIOS_OK)
            return report_status(bench->args, status, NULL);
    }
    if (!bench->db)
        code = ctl_open(bench->args, OPEN_NEW, &bench->db);
    return code;
}

static int run_workload(struct bench *bench, const struct bench_workload *workload)
{
    struct bench_job *jobs = xalloc(sizeof(*jobs) * bench->setup.threads);
    struct histogram *total = xalloc(sizeof(*total));
    uint64_t bytes = 0;
    double seconds;
    int code = open_scratch(bench, workload->fresh);

    if (code == EXIT_CODE_OK)
        code = run_jobs(bench, workload, jobs, &seconds);
    if (code == EXIT_CODE_OK) {
        histogram_init(total);
        for (unsigned i = 0; i < bench->setup.threads; i++) {
            histogram_merge(total, &jobs[i].nanos);
            bytes += jobs[i].bytes;
        }
        print_result(bench, workload, total, seconds, bytes);
    }
    free(total);
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

static int run_bench(struct args *args)
{
    struct bench bench = {.args = args};
    char *list = xtext(args->workloads ? args->workloads : default_workloads);
    helios_status status;
    int code;

    bench.setup.count = args->count == UINT64_MAX ? 500000 : args->count;
    bench.setup.value_bytes = args->value_bytes == UINT64_MAX ? 100 : args->value_bytes;
    bench.setup.threads = args->threads == UINT64_MAX ? 1 : (unsigned)args->threads;
    if (ctl_is_shared())
        code = report_usage(args, "not inside the shell: it wants a directory of its own");
    else if (bench.setup.count < 1000 || bench.setup.threads < 1 || args->threads + 1 > THREADS_MAX + 1)
        code = report_usage(args, "at least 1000 keys and 1 to %d threads", THREADS_MAX);
    else
        code = open_scratch(&bench, false);
    if (code) {
        free(list);
        return code;
    }
    print_header(&bench);
    code = run_list(&bench, list);
    free(list);
    if (bench.db)
        code = ctl_close(args, bench.db, code);
    status = helios_destroy(args->words[0]);
    if (status != HELIOS_OK && code == EXIT_CODE_OK)
        code = report_status(args, status, NULL);
    return code;
}

static const struct argp_option bench_options[] = {
    {"count", OPTION_COUNT, "N", 0, "Keys (default 500000)", 0},
    {"value-bytes", OPTION_VALUE_BYTES, "N", 0, "Bytes of a value (default 100)", 0},
    {"threads", OPTION_THREADS, "N", 0, "Threads (default 1)", 0},
    {"workloads", OPTION_WORKLOADS, "LIST", 0, "Names with commas between, in this order", 0},
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};

const struct command bench_commands[] = {
    {"bench", "DIRECTORY", "Measure this machine and disk",
     "Makes a scratch database in DIRECTORY, which must not hold one, and removes it at the end. Workloads: "
     "fillseq, "
     "fillrandom, fillbatch (100 puts a commit), fillsync, overwrite, readrandom, readmissing, readseq, "
     "readreverse, seekrandom (and 10 next), deleterandom. The fills begin with an empty database, except "
     "fillsync; fillsync does a thousandth, seekrandom a tenth of the operations.",
     bench_options, 1, 1, run_bench},
    {0},
};
