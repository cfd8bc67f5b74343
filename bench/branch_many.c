/* branch_many.c - what it takes to make a branch, and to have ten thousand. */
#include "bench/branches.h"

enum {
    SMALL_KEYS = 10000, /* of the small database in which branches are made */
    CREATES = 1000,     /* that are timed */
    CREATES_WARM = 20,  /* before */
};

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

void measure_creates(void)
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

/* Prints seconds and bytes. */
void probe_open(const char *name)
{
    double seconds;
    helios_db *db;

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
    struct opened opened;

    for (unsigned round = 0; round < settings.rounds; round++) {
        double numbers[2];

        run_apart("probe-open", name, numbers, 2);
        seconds[round] = numbers[0];
        bytes[round] = numbers[1];
    }
    opened = (struct opened){median(seconds, settings.rounds), median(bytes, settings.rounds)};
    printf("{\"workload\": \"open\", \"state\": \"%s\", \"branches\": %" PRIu64 ", \"seconds\": %.6f, "
           "\"resident\": %.0f}\n",
           label, live_branches(), opened.seconds, opened.bytes);
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

void measure_many(void)
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
    for (uint64_t i = 0; i < live_branches(); i++)
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
