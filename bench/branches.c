/* branches.c - bench-branches: what branches cost those who make them, those who read through them, and those who never
 * look at them. Helios alone, through its public header.
 *
 * Each comparison takes turns: a round asks every side for a share of the reads, and what is told is the median of the
 * rounds' ratios, so that a busy machine slows both sides of a ratio. A line of JSON for each measurement on stdout, the
 * figures beside what is asked of them on stderr at the end. */
#include "base/random.h"
#include "bench/data.h"
#include "bench/engine.h"
#include "bench/process.h"
#include <helios/helios.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LEVELS = 10,        /* of the branch that has rows of its own on each */
    LEVELS_FAR = 100,   /* of the one that has some at both ends alone */
    OWN_SHARE = 100,    /* one row in so many is a level's own */
    IDLE_ROWS = 5,      /* on each branch that nobody reads */
    SMALL_KEYS = 10000, /* of the small database in which branches are made */
    CREATES = 1000,     /* that are timed */
    CREATES_WARM = 20,  /* before */
    BATCH = 100,
    NAME_BYTES = 32,
    SIDES_MAX = 6,
    ROUNDS_MAX = 64,
    FIGURES_MAX = 64,
    ENTRY_BYTES = 256, /* of a memtable that is to hold everything, a record */
};

static struct {
    const char *directory;
    uint64_t count, idle, live; /* rows of main; branches nobody reads; branches that live all together */
    unsigned rounds;
    size_t value_bytes;
} settings = {.directory = ".", .count = 1000000, .idle = 1000, .live = 10000, .rounds = 9, .value_bytes = 100};

static struct data data;

void bench_die(const char *format, ...)
{
    va_list args;

    fputs("bench-branches: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static void must(helios_status status, const char *what)
{
    if (status != HELIOS_OK)
        bench_die("%s: %s: %s", what, helios_status_name(status), helios_last_error());
}

/* ---- figures ---- */

struct figure {
    char name[96];
    const char *unit;
    double value, target; /* target 0: nothing is asked */
    bool at_least;
};
static struct figure figures[FIGURES_MAX];
static size_t figure_count;

static bool reached(const struct figure *f)
{
    return f->at_least ? f->value >= f->target : f->value <= f->target;
}

static void figure_add(const char *name, const char *state, double value, const char *unit, double target,
                       bool at_least)
{
    struct figure *f = &figures[figure_count++];

    if (figure_count > FIGURES_MAX)
        bench_die("more than %d figures", FIGURES_MAX);
    *f = (struct figure){.unit = unit, .value = value, .target = target, .at_least = at_least};
    snprintf(f->name, sizeof(f->name), "%s%s%s", name, state ? ", " : "", state ? state : "");
    printf("{\"figure\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"", f->name, value, unit);
    if (target != 0)
        printf(", \"%s\": %.6g, \"reached\": %s", at_least ? "at_least" : "at_most", target,
               reached(f) ? "true" : "false");
    puts("}");
    fflush(stdout);
}

static void figures_print(void)
{
    fprintf(stderr, "\n%" PRIu64 " keys, medians of %u rounds\n", settings.count, settings.rounds);
    fprintf(stderr, "%-56s %14s %14s\n", "figure", "value", "asked");
    for (size_t i = 0; i < figure_count; i++) {
        const struct figure *f = &figures[i];

        fprintf(stderr, "%-56s %9.4g %-4s", f->name, f->value, f->unit);
        if (f->target != 0)
            fprintf(stderr, "    %s %.4g %-6s %s", f->at_least ? ">=" : "<=", f->target, f->unit,
                    reached(f) ? "reached" : "not reached");
        fputc('\n', stderr);
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median(const double *values, size_t count)
{
    double sorted[ROUNDS_MAX];

    memcpy(sorted, values, count * sizeof(*values));
    qsort(sorted, count, sizeof(*sorted), compare_doubles);
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

/* ---- databases ---- */

enum state { STATE_MEMTABLE, STATE_COMPACTED };
static const char *const state_names[] = {"memtable", "compacted"};

static void path_of(const char *name, char *path, size_t size)
{
    if (snprintf(path, size, "%s/%s", settings.directory, name) >= (int)size)
        bench_die("the path of the directory is too long");
}

/* The defaults, but for a memtable that holds everything where that is what is measured, and a cache that does. */
static helios_db *db_open(const char *name, enum state state)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    uint64_t bytes = settings.count * (settings.value_bytes + ENTRY_BYTES) + (UINT64_C(64) << 20);
    helios_db *db = NULL;
    char path[4096];

    path_of(name, path, sizeof(path));
    if (state == STATE_MEMTABLE)
        options.memtable_bytes = bytes;
    options.block_cache_bytes = bytes * 2;
    must(helios_open(path, &options, &db), "open");
    return db;
}

/* In tables of the default size, all in the deepest level. */
static helios_db *db_compacted(helios_db *db, const char *name)
{
    must(helios_close(db), "close");
    db = db_open(name, STATE_COMPACTED);
    must(helios_compact(db, (helios_slice){0}, (helios_slice){0}), "compact");
    return db;
}

static helios_branch_id branch_make(helios_db *db, helios_branch_id parent, const char *prefix, uint64_t number)
{
    helios_branch_id id = 0;
    char name[NAME_BYTES];

    snprintf(name, sizeof(name), "%s-%05" PRIu64, prefix, number);
    must(helios_branch_create(db, name, parent, 0, &id), "branch");
    return id;
}

/* Rows by number in the scattered order: those of different ranges are different ones. */
static void fill(helios_db *db, helios_branch_id branch, uint64_t from, uint64_t count, unsigned generation)
{
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    helios_batch *batch = helios_batch_new();

    options.branch = branch;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t index = data_scatter(&data, (from + i) % data.count);
        char key[KEY_BYTES];

        data_key(&data, index * 2, key);
        helios_batch_put(batch, slice_make(key, sizeof(key)), data_value(&data, index, generation));
        if ((i + 1) % BATCH == 0 || i + 1 == count) {
            must(helios_write(db, &options, batch, NULL), "write");
            helios_batch_clear(batch);
        }
    }
    helios_batch_free(batch);
}

static uint64_t own_rows(void)
{
    return data.count / OWN_SHARE ? data.count / OWN_SHARE : 1;
}

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

static uint64_t rows_of(helios_db *db, helios_branch_id branch)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_iter *iter = NULL;
    uint64_t rows = 0, touched = 0;

    options.branch = branch;
    must(helios_iter_new(db, &options, &iter), "iterator");
    for (helios_iter_first(iter); helios_iter_valid(iter); helios_iter_next(iter)) {
        helios_slice value = helios_iter_value(iter);

        touched += *(const unsigned char *)value.data;
        rows++;
    }
    must(helios_iter_status(iter), "iterator");
    helios_iter_free(iter);
    if (touched == 0)
        bench_die("all values are empty");
    return rows;
}

/* That every row reads as the nearest level's that wrote it; warms the caches as well. levels 0: main. */
static void check(helios_db *db, helios_branch_id branch, unsigned levels, bool all)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_buf value = {0};

    options.branch = branch;
    for (uint64_t i = 0; i < data.count; i++) {
        uint64_t index = data_scatter(&data, i), level = i / own_rows() + 1;
        unsigned generation = level <= levels && (all || level == levels) ? (unsigned)level : 0;
        helios_slice wanted = data_value(&data, index, generation);
        char key[KEY_BYTES];

        data_key(&data, index * 2, key);
        must(helios_get(db, &options, slice_make(key, sizeof(key)), &value), "get");
        if (value.size != wanted.size || memcmp(value.data, wanted.data, wanted.size) != 0)
            bench_die("branch %u: the value at index %" PRIu64 " is not what was written", branch, index);
    }
    helios_buf_free(&value);
    if (rows_of(db, branch) != data.count)
        bench_die("branch %u: a scan gives other rows than there are", branch);
}

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

struct databases {
    helios_db *plain; /* without a branch */
    helios_db *deep;  /* with two lines of branches */
    helios_db *idle;  /* with many small ones */
    helios_branch_id near, far;
};

static void measure_reads(const struct databases *d, enum state state)
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

    check(d->deep, d->near, LEVELS, true);
    check(d->deep, d->far, LEVELS_FAR, false);
    for (size_t i = 0; i < SIDES; i++)
        if (sides[i].branch == 0)
            check(sides[i].db, 0, 0, false);
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

static void reads(void)
{
    struct databases d = {db_open("plain", STATE_MEMTABLE), db_open("deep", STATE_MEMTABLE),
                          db_open("idle", STATE_MEMTABLE), 0, 0};

    fill(d.plain, 0, 0, data.count, 0);
    fill(d.deep, 0, 0, data.count, 0);
    fill(d.idle, 0, 0, data.count, 0);
    d.near = line_make(d.deep, "near", LEVELS, true);
    d.far = line_make(d.deep, "far", LEVELS_FAR, false);
    for (uint64_t i = 0; i < settings.idle; i++)
        fill(d.idle, branch_make(d.idle, 0, "idle", i), i * IDLE_ROWS, IDLE_ROWS, 1);
    measure_reads(&d, STATE_MEMTABLE);
    d.plain = db_compacted(d.plain, "plain");
    d.deep = db_compacted(d.deep, "deep");
    d.idle = db_compacted(d.idle, "idle");
    measure_reads(&d, STATE_COMPACTED);
    must(helios_close(d.plain), "close");
    must(helios_close(d.deep), "close");
    must(helios_close(d.idle), "close");
}

/* ---- making branches, and opening with many ---- */

static int compare_ticks(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Times CREATES creates of main. */
static void time_creates(helios_db *db, uint64_t keys)
{
    static uint64_t ticks[CREATES];
    double nanos = ticks_nanos(), seconds;
    char state[32];

    for (uint64_t i = 0; i < CREATES_WARM; i++)
        branch_make(db, 0, "warm", i);
    seconds = seconds_now();
    for (uint64_t i = 0; i < CREATES; i++) {
        uint64_t start = ticks_now();

        branch_make(db, 0, "timed", i);
        ticks[i] = ticks_now() - start;
    }
    seconds = seconds_now() - seconds;
    qsort(ticks, CREATES, sizeof(ticks[0]), compare_ticks);
    printf("{\"workload\": \"branch_create\", \"keys\": %" PRIu64
           ", \"mean\": %.2f, \"p50\": %.2f, \"p99\": %.2f, "
           "\"unit\": \"us\"}\n",
           keys, seconds * 1e6 / CREATES, (double)ticks[CREATES / 2] * nanos / 1e3,
           (double)ticks[CREATES * 99 / 100] * nanos / 1e3);
    snprintf(state, sizeof(state), "%" PRIu64 " keys", keys);
    figure_add("create, mean", state, seconds * 1e6 / CREATES, "us", 100, false);
}

static void creates(void)
{
    const uint64_t keys[] = {SMALL_KEYS, settings.count};

    for (size_t i = 0; i < 2; i++) {
        char name[NAME_BYTES];
        helios_db *db;

        snprintf(name, sizeof(name), "create-%zu", i);
        db = db_open(name, STATE_COMPACTED);
        fill(db, 0, 0, keys[i] < data.count ? keys[i] : data.count, 0);
        time_creates(db, keys[i]);
        must(helios_close(db), "close");
    }
}

/* In a process of its own, so that nothing of what was there before counts: seconds and bytes. */
static void probe(const char *name)
{
    double seconds;
    helios_db *db;

    db = NULL;
    seconds = seconds_now();
    db = db_open(name, STATE_COMPACTED);
    seconds = seconds_now() - seconds;
    printf("%.9f %" PRIu64 "\n", seconds, process_resident());
    must(helios_close(db), "close");
}

struct opened {
    double seconds, bytes; /* medians */
};

static struct opened probe_all(const char *name, const char *label)
{
    double seconds[ROUNDS_MAX], bytes[ROUNDS_MAX];
    char command[8192];
    struct opened opened;

    snprintf(command, sizeof(command), "/proc/%d/exe '--dir=%s' --num=%" PRIu64 " --probe=%s", (int)getpid(),
             settings.directory, settings.count, name);
    for (unsigned round = 0; round < settings.rounds; round++) {
        FILE *output = popen(command, "re");

        if (!output || fscanf(output, "%lf %lf", &seconds[round], &bytes[round]) != 2 || pclose(output) != 0)
            bench_die("cannot open %s in another process", name);
    }
    opened = (struct opened){median(seconds, settings.rounds), median(bytes, settings.rounds)};
    printf("{\"workload\": \"open\", \"state\": \"%s\", \"branches\": %" PRIu64 ", \"seconds\": %.6f, "
           "\"resident\": %.0f}\n",
           label, settings.live, opened.seconds, opened.bytes);
    return opened;
}

/* name is closed; lives so again afterwards. */
static void compare_opens(const char *name, const struct opened *without, const char *label)
{
    struct opened with = probe_all(name, label);

    figure_add("open with all branches, more than with none", label, (with.seconds - without->seconds) * 1e3,
               "ms", 100, false);
    figure_add("memory of all branches after an open", label, (with.bytes - without->bytes) / (1 << 20), "MB",
               64, false);
}

static void many(void)
{
    helios_db *db = db_open("many", STATE_COMPACTED);
    struct opened without;
    double resident;

    fill(db, 0, 0, data.count < SMALL_KEYS ? data.count : SMALL_KEYS, 0);
    must(helios_flush(db), "flush");
    must(helios_close(db), "close");
    without = probe_all("many", "without");
    db = db_open("many", STATE_COMPACTED);
    resident = (double)process_resident();
    for (uint64_t i = 0; i < settings.live; i++)
        branch_make(db, 0, "live", i);
    figure_add("memory of all branches as they are made", NULL,
               ((double)process_resident() - resident) / (1 << 20), "MB", 64, false);
    must(helios_close(db), "close");
    compare_opens("many", &without, "from the log");
    db = db_open("many", STATE_COMPACTED);
    must(helios_flush(db), "flush");
    must(helios_close(db), "close");
    compare_opens("many", &without, "from tables");
}

/* ---- the program ---- */

static const struct part {
    const char *name;
    void (*run)(void);
} parts[] = {{"create", creates}, {"many", many}, {"reads", reads}};

static _Noreturn void usage(void)
{
    fputs("bench-branches [--dir=DIR] [--num=KEYS] [--rounds=N] [--only=create|many|reads] [--quick]\n",
          stderr);
    exit(2);
}

static bool option(const char *argument, const char *name, const char **value)
{
    size_t size = strlen(name);

    if (strncmp(argument, name, size) != 0 || argument[size] != '=')
        return false;
    *value = argument + size + 1;
    return true;
}

static void parse(int argc, char **argv, const char **only, const char **probed)
{
    const char *value;

    for (int i = 1; i < argc; i++) {
        if (option(argv[i], "--dir", &settings.directory) || option(argv[i], "--only", only) ||
            option(argv[i], "--probe", probed))
            continue;
        if (option(argv[i], "--num", &value))
            settings.count = strtoull(value, NULL, 10);
        else if (option(argv[i], "--rounds", &value))
            settings.rounds = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "--quick") == 0)
            settings.count = 5000, settings.idle = 50, settings.live = 200, settings.rounds = 1;
        else
            usage();
    }
    if (settings.count < 1000 || settings.rounds < 1 || settings.rounds > ROUNDS_MAX)
        usage();
}

/* A directory of our own in the one that was given. */
static void run_parts(const char *only)
{
    char scratch[4096];

    path_of("bench-branches-XXXXXX", scratch, sizeof(scratch));
    if (!mkdtemp(scratch))
        bench_die("cannot make %s: %s", scratch, strerror(errno));
    settings.directory = scratch;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (!only || strcmp(only, parts[i].name) == 0)
            parts[i].run();
    directory_remove(scratch);
    rmdir(scratch);
    figures_print();
}

int main(int argc, char **argv)
{
    const char *only = NULL, *probed = NULL;

    parse(argc, argv, &only, &probed);
    data_init(&data, settings.count, settings.value_bytes, false);
    if (probed)
        probe(probed);
    else
        run_parts(only);
    data_release(&data);
    return 0;
}
