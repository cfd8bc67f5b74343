/* branch_changes.c - differences between points, and merges: of one changed row among all, and of all. */
#include "bench/branches.h"

enum {
    REPEATS = 200, /* of what is small, and told by its median */
    BUDGET_MIB = 64,
};

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median_of_repeats(double *values)
{
    qsort(values, REPEATS, sizeof(*values), compare_doubles);
    return (values[REPEATS / 2 - 1] + values[REPEATS / 2]) / 2;
}

/* ---- differences ---- */

/* Walks it; there must be so many. Seconds. */
static double diff(helios_db *db, helios_point from, helios_point to, uint64_t wanted)
{
    helios_difference difference;
    helios_diff *diff = NULL;
    double start = seconds_now();
    uint64_t count = 0;

    must(helios_diff_new(db, from, to, &diff), "diff");
    while (helios_diff_next(diff, &difference))
        count++;
    must(helios_diff_status(diff), "diff");
    helios_diff_free(diff);
    start = seconds_now() - start;
    if (count != wanted)
        bench_die("%" PRIu64 " differences instead of %" PRIu64, count, wanted);
    return start;
}

static void diff_of_one(helios_db *db, const char *what, const char *state, helios_point from, helios_point to)
{
    double seconds[REPEATS], middle;
    char name[64];

    for (unsigned i = 0; i < REPEATS; i++)
        seconds[i] = diff(db, from, to, 1);
    middle = median_of_repeats(seconds);
    printf("{\"workload\": \"diff\", \"state\": \"%s\", \"between\": \"%s\", \"keys\": %" PRIu64
           ", \"p50\": %.6f, \"max\": %.6f}\n",
           state, what, settings.count, middle, seconds[REPEATS - 1]);
    snprintf(name, sizeof(name), "diff of one row, %s", what);
    figure_add(name, state, middle * 1e3, "ms", 5, false);
}

/* All rows are written anew on a branch. */
static void diff_of_all(helios_db *db, const char *state, helios_branch_id all)
{
    const helios_point from = {0, 0}, to = {all, 0};
    double rates[ROUNDS_MAX];

    for (unsigned round = 0; round < settings.rounds; round++)
        rates[round] = (double)settings.count / diff(db, from, to, settings.count);
    figure_add("diff of all rows", state, median(rates, settings.rounds), "keys/s", 0, true);
}

struct points {
    helios_branch_id one, all;
    helios_seq before, after; /* one row of main differs */
};

static void diff_all(helios_db *db, const struct points *p, const char *state)
{
    diff_of_one(db, "on a branch", state, (helios_point){0, p->before}, (helios_point){p->one, 0});
    diff_of_one(db, "on main", state, (helios_point){0, p->before}, (helios_point){0, p->after});
}

void measure_diffs(void)
{
    helios_db *db = db_open("diff", STATE_COMPACTED);
    struct points p = {0};

    fill(db, 0, 0, data.count, 0);
    must(helios_compact(db, (helios_slice){0}, (helios_slice){0}), "compact");
    p.one = branch_make(db, 0, "one", 0);
    p.before = helios_latest(db);
    fill(db, p.one, 0, 1, 1);
    fill(db, 0, 1, 1, 1);
    p.after = helios_latest(db);
    diff_all(db, &p, "in the memtable");
    must(helios_compact(db, (helios_slice){0}, (helios_slice){0}), "compact");
    diff_all(db, &p, state_names[STATE_COMPACTED]);
    p.all = branch_make(db, 0, "all", 0);
    fill(db, p.all, 0, data.count, 2);
    diff_of_all(db, "as written", p.all);
    must(helios_compact(db, (helios_slice){0}, (helios_slice){0}), "compact");
    diff_of_all(db, state_names[STATE_COMPACTED], p.all);
    must(helios_close(db), "close");
}

/* ---- merges ---- */

/* Seconds. */
static double merge(helios_db *db, helios_branch_id source, uint64_t wanted)
{
    helios_merge_result result;
    double start = seconds_now();

    must(helios_branch_merge(db, source, 0, NULL, &result), "merge");
    start = seconds_now() - start;
    if (result.merged != wanted || result.conflicts)
        bench_die("%" PRIu64 " rows merged instead of %" PRIu64, result.merged, wanted);
    return start;
}

static void merge_of_one(helios_db *db, const char *state)
{
    helios_branch_id branch = branch_make(db, 0, "one", 0);
    double seconds[REPEATS], middle;

    for (unsigned i = 0; i < REPEATS; i++) {
        fill(db, branch, i, 1, 1);
        seconds[i] = merge(db, branch, 1);
    }
    middle = median_of_repeats(seconds);
    printf("{\"workload\": \"merge\", \"state\": \"%s\", \"keys\": %" PRIu64
           ", \"p50\": %.6f, \"max\": %.6f}\n",
           state, settings.count, middle, seconds[REPEATS - 1]);
    figure_add("merge of one row", state, middle * 1e3, "ms", 5, false);
}

/* Prints seconds, and the resident bytes before, when all has been read once, and at most. */
void probe_merge(const char *name)
{
    helios_db *db = db_open_within(name, (uint64_t)BUDGET_MIB << 20);
    helios_branch_id all = 0;
    uint64_t before;
    double seconds;

    must(helios_branch_find(db, "all-00000", &all), "find");
    if (rows_of(db, 0) != rows_of(db, all))
        bench_die("main and its branch have not as many rows");
    process_peak_reset();
    before = process_resident();
    seconds = merge(db, all, settings.count);
    printf("%.9f %" PRIu64 " %" PRIu64 "\n", seconds, before, process_peak());
    check(db, 0, 0, false, 2);
    must(helios_close(db), "close");
}

void measure_merges(void)
{
    helios_db *db = db_open("merge", STATE_COMPACTED);
    helios_branch_id all;
    double numbers[3];

    fill(db, 0, 0, data.count, 0);
    must(helios_compact(db, (helios_slice){0}, (helios_slice){0}), "compact");
    merge_of_one(db, state_names[STATE_COMPACTED]);
    all = branch_make(db, 0, "all", 0);
    fill(db, all, 0, data.count, 2);
    must(helios_flush(db), "flush");
    must(helios_close(db), "close");
    run_apart("probe-merge", "merge", numbers, 3);
    printf("{\"workload\": \"merge\", \"state\": \"as written\", \"keys\": %" PRIu64 ", \"seconds\": %.6f, "
           "\"before\": %.0f, \"peak\": %.0f, \"budget\": %d}\n",
           settings.count, numbers[0], numbers[1], numbers[2], BUDGET_MIB << 20);
    figure_add("merge of all rows", NULL, (double)settings.count / numbers[0], "rows/s", 300000, true);
    figure_add("merge of all rows: memory above the budget", NULL, numbers[2] / (1 << 20) - BUDGET_MIB, "MiB",
               16, false);
    figure_add("merge of all rows: memory above that before", NULL, (numbers[2] - numbers[1]) / (1 << 20),
               "MiB", 16, false);
}
