/* branch_reads.c - gets and scans through branches ten and a hundred levels deep, and of main beside branches that nobody
 * reads. Each side of a comparison in turn; the figure is the median of the rounds' ratios. */
#include "base/random.h"
#include "bench/branches.h"

enum {
    LEVELS = 10,      /* of the branch that has rows of its own on each */
    LEVELS_FAR = 100, /* of the one that has some at both ends alone */
    IDLE_ROWS = 5,    /* on each branch that nobody reads */
};

/* ---- reads, side by side ----
 *
 * In processor time of the thread that reads: all is in memory, and what else runs on the machine is not counted. */

struct side {
    const char *name;
    helios_db *db;
    helios_branch_id branch;
    double nanos[ROUNDS_MAX]; /* of an operation, by round */
};

static double gets(const struct side *side, uint64_t reads, uint64_t seed)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_buf value = {0};
    struct random random;
    double start = seconds_of_thread();

    options.branch = side->branch;
    random_seed(&random, seed);
    for (uint64_t i = 0; i < reads; i++) {
        char key[KEY_BYTES];

        data_key(&data, random_below(&random, data.count) * 2, key);
        must(helios_get(side->db, &options, slice_make(key, sizeof(key)), &value), "get");
    }
    start = seconds_of_thread() - start;
    helios_buf_free(&value);
    return start * 1e9 / (double)reads;
}

static double scan(const struct side *side, uint64_t reads, uint64_t seed)
{
    double start = seconds_of_thread();
    uint64_t rows = rows_of(side->db, side->branch);

    (void)reads;
    (void)seed;
    return (seconds_of_thread() - start) * 1e9 / (double)rows;
}

static void side_tell(const struct side *side, const char *what, const char *state)
{
    double nanos = median(side->nanos, settings.rounds);

    printf("{\"workload\": \"%s\", \"state\": \"%s\", \"side\": \"%s\", \"keys\": %" PRIu64
           ", \"rounds\": %u, \"nanos\": %.2f, \"ops_per_second\": %.0f}\n",
           what, state, side->name, settings.count, settings.rounds, nanos, 1e9 / nanos);
    fflush(stdout);
}

/* Each side in turn, the first one another in each round. */
static void take_turns(struct side *sides, size_t count, const char *what, const char *state,
                       double (*operation)(const struct side *, uint64_t reads, uint64_t seed))
{
    uint64_t reads = settings.count / 5 + 1;

    for (unsigned round = 0; round < settings.rounds; round++)
        for (size_t i = 0; i < count; i++) {
            struct side *side = &sides[(i + round) % count];

            side->nanos[round] = operation(side, reads, round + 1);
        }
    for (size_t i = 0; i < count; i++)
        side_tell(&sides[i], what, state);
}

/* The median of a's time over b's. */
static double times(const struct side *a, const struct side *b)
{
    double ratios[ROUNDS_MAX];

    for (unsigned round = 0; round < settings.rounds; round++)
        ratios[round] = a->nanos[round] / b->nanos[round];
    return median(ratios, settings.rounds);
}

/* ---- reads through branches, and beside them ---- */

/* The deepest of a line of branches, every one with rows of its own, or the last alone. */
static helios_branch_id line_make(helios_db *db, const char *prefix, unsigned levels, bool all)
{
    helios_branch_id branch = 0;

    for (unsigned level = 1; level <= levels; level++) {
        branch = branch_make(db, branch, prefix, level);
        if (all || level == levels)
            fill(db, branch, (level - 1) * own_rows(), own_rows(), level);
    }
    return branch;
}

struct databases {
    helios_db *plain; /* without a branch */
    helios_db *deep;  /* with two lines of branches */
    helios_db *idle;  /* with many small ones */
    helios_branch_id near, far;
};

static void measure_state(const struct databases *d, enum state state)
{
    enum { PLAIN, MAIN, NEAR, FAR, BESIDE, SIDES };
    struct side sides[SIDES] = {
        [PLAIN] = {"main without branches", d->plain, 0, {0}},
        [MAIN] = {"main", d->deep, 0, {0}},
        [NEAR] = {"branch@10", d->deep, d->near, {0}},
        [FAR] = {"branch@100", d->deep, d->far, {0}},
        [BESIDE] = {"main beside idle branches", d->idle, 0, {0}},
    };
    const char *name = state_names[state];

    check(d->deep, d->near, LEVELS, true, 0);
    check(d->deep, d->far, LEVELS_FAR, false, 0);
    for (size_t i = 0; i < SIDES; i++)
        if (sides[i].branch == 0)
            check(sides[i].db, 0, 0, false, 0);
    take_turns(sides, SIDES, "readrandom", name, gets);
    figure_add("get@10: time / main's", name, times(&sides[NEAR], &sides[MAIN]), "x", 1.5, false);
    figure_add("get@10: time / main's without branches", name, times(&sides[NEAR], &sides[PLAIN]), "x", 1.5,
               false);
    figure_add("get@100: time / main's", name, times(&sides[FAR], &sides[MAIN]), "x", 1.3, false);
    figure_add("get@100: time / main's without branches", name, times(&sides[FAR], &sides[PLAIN]), "x", 1.3,
               false);
    figure_add("get of main beside idle branches: time / without", name, times(&sides[BESIDE], &sides[PLAIN]),
               "x", 1.05, false);
    take_turns(sides, SIDES, "readseq", name, scan);
    figure_add("scan@10: rows/s / main's", name, times(&sides[MAIN], &sides[NEAR]), "x", 0.6, true);
    figure_add("scan@100: rows/s / main's", name, times(&sides[MAIN], &sides[FAR]), "x", 0, true);
    figure_add("scan of main beside idle branches: time / without", name, times(&sides[BESIDE], &sides[PLAIN]),
               "x", 1.05, false);
}

void measure_reads(void)
{
    struct databases d = {db_open("plain", STATE_MEMTABLE), db_open("deep", STATE_MEMTABLE),
                          db_open("idle", STATE_MEMTABLE), 0, 0};

    fill(d.plain, 0, 0, data.count, 0);
    fill(d.deep, 0, 0, data.count, 0);
    fill(d.idle, 0, 0, data.count, 0);
    d.near = line_make(d.deep, "near", LEVELS, true);
    d.far = line_make(d.deep, "far", LEVELS_FAR, false);
    for (uint64_t i = 0; i < (settings.quick ? 50u : 1000u); i++)
        fill(d.idle, branch_make(d.idle, 0, "idle", i), i * IDLE_ROWS, IDLE_ROWS, 1);
    measure_state(&d, STATE_MEMTABLE);
    d.plain = db_compacted(d.plain, "plain");
    d.deep = db_compacted(d.deep, "deep");
    d.idle = db_compacted(d.idle, "idle");
    measure_state(&d, STATE_COMPACTED);
    must(helios_close(d.plain), "close");
    must(helios_close(d.deep), "close");
    must(helios_close(d.idle), "close");
}
