/* test_powercut.c - the power goes at any moment: for each scenario the machine stops at every changing call,
 * the disk keeps what each kind of damage leaves of the unsynced part, and an open must find a prefix of the
 * commits with everything in it that was acknowledged as durable. Then the same for cuts during that open.
 * Usage: test_powercut [seed [runs [scenario [k damage]]]]; seed 0: the day's; runs: at most so many a scenario, 0: all; for a scenario
 * "even" and "odd" stand for every second one, so that two processors can share them. */
#undef NDEBUG
#include "engine/identity.h"
#include "tests/fault_world.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUNS_DEFAULT = 200, RECOVERY_SAMPLE = 41 };

static uint64_t seed = 1, runs_max = RUNS_DEFAULT;
static uint64_t cuts, recovery_cuts;

/* The files that every run of a scenario begins with, and what was committed to them. */
struct image {
    struct io_fs *fs;
    struct world *world;
};

static struct world *world_copy(const struct world *from, struct io_fs *fs)
{
    struct world *w = malloc(sizeof(*w));

    memcpy(w, from, sizeof(*w));
    w->fs = fs;
    return w;
}

static void image_make(const struct scenario *s, struct image *image)
{
    snprintf(fault_where, sizeof(fault_where), "seed %" PRIu64 ", scenario %s, before it", seed, s->name);
    MUST(io_faulty_new(seed, &image->fs));
    image->world = malloc(sizeof(*image->world));
    world_init(image->world, image->fs, "/db", seed);
    image->world->options.memtable_bytes = s->memtable_bytes;
    if (s->before)
        s->before(image->world);
    image->world->failed = false;
    image->world->stop_on_error = true;
    io_faulty_power_cut(image->fs, IO_DAMAGE_KEEP_ALL, seed);
}

/* ---- after a cut ---- */

static void check_copy(struct world *w)
{
    helios_options options = w->options;
    helios_db *db = NULL;
    helios_status status;

    if (w->copied) {
        world_check_copy(w, "/copy", w->copied_commits);
        return;
    }
    options.create_if_missing = false;
    status = engine_open(w->fs, "/copy", &options, &db);
    if (status == HELIOS_OK)
        MUST(helios_close(db));
    if (status == HELIOS_OK)
        world_check_copy(w, "/copy", 0);
}

/* The machine stops at every changing call of the open, or of the close after it. */
static void cut_recovery(const struct world *cut, enum io_damage damage)
{
    size_t length = strlen(fault_where);
    bool stopped = true;

    for (uint64_t j = 1; stopped; j++) {
        struct world *w = world_copy(cut, world_clone(cut->fs, seed + j));
        enum io_damage second = (enum io_damage)((damage + j) % IO_DAMAGE_COUNT);

        snprintf(fault_where + length, sizeof(fault_where) - length, ", then call %" PRIu64 " of the open, %s",
                 j, damage_names[second]);
        io_faulty_stop_at(w->fs, j);
        w->failed = false;
        /* What it found is not known here, so its close makes nothing more durable. */
        if (world_open(w) && helios_close(w->db) != HELIOS_OK)
            CHECK(io_faulty_stopped(w->fs), "close: %s", helios_last_error());
        w->db = NULL;
        stopped = io_faulty_stopped(w->fs);
        CHECK(stopped || !w->failed, "open: %s", helios_last_error());
        world_cut(w, second, seed + j);
        world_reopen(w);
        world_close(w);
        io_free(w->fs);
        free(w);
        recovery_cuts++;
    }
    fault_where[length] = 0;
}

/* True: the machine stopped before the scenario was over. */
static bool run_cut(const struct scenario *s, const struct image *image, uint64_t k, enum io_damage damage)
{
    uint64_t run = k * IO_DAMAGE_COUNT + damage;
    struct world *w = world_copy(image->world, world_clone(image->fs, seed + run));
    bool stopped;

    snprintf(fault_where, sizeof(fault_where), "test_powercut %" PRIu64 " 0 %s %" PRIu64 " %d (%s)", seed,
             s->name, k, (int)damage, damage_names[damage]);
    io_faulty_stop_at(w->fs, k);
    s->run(w);
    stopped = io_faulty_stopped(w->fs);
    world_cut(w, damage, seed + run);
    if (run % RECOVERY_SAMPLE == 0)
        cut_recovery(w, damage);
    world_reopen(w);
    if (s == scenario_named("checkpoint"))
        check_copy(w);
    /* What an open has shown stays, also if nothing is synced after it. */
    world_commit(w, HELIOS_DURABILITY_ASYNC, 3, SIZE_SMALL);
    world_cut(w, (enum io_damage)(run % 3 ? IO_DAMAGE_DROP_ALL : damage), seed + run + 1);
    world_reopen(w);
    world_commit(w, HELIOS_DURABILITY_SYNC, 3, SIZE_SMALL);
    world_close(w);
    CHECK(!w->failed, "after all that: %s", helios_last_error());
    world_reopen(w);
    world_close(w);
    io_free(w->fs);
    free(w);
    cuts++;
    return stopped;
}

static uint64_t count_changes(const struct scenario *s, const struct image *image)
{
    struct world *w = world_copy(image->world, world_clone(image->fs, seed));
    uint64_t before = io_faulty_changes(w->fs), count;

    snprintf(fault_where, sizeof(fault_where), "seed %" PRIu64 ", scenario %s, whole", seed, s->name);
    s->run(w);
    CHECK(!w->failed, "without a cut: %s", helios_last_error());
    count = io_faulty_changes(w->fs) - before;
    world_cut(w, IO_DAMAGE_KEEP_ALL, seed);
    io_free(w->fs);
    free(w);
    return count;
}

static void run_scenario(const struct scenario *s)
{
    struct image image;
    uint64_t count, stride = 1, before = cuts;

    image_make(s, &image);
    count = count_changes(s, &image);
    if (runs_max && count * IO_DAMAGE_COUNT > runs_max)
        stride = (count * IO_DAMAGE_COUNT + runs_max - 1) / runs_max;
    /* Every call with one damage at least, and every damage in its turn. */
    for (uint64_t k = 1, run = seed % stride; k <= count + 3; k++)
        for (int damage = 0; damage < IO_DAMAGE_COUNT; damage++)
            if (run++ % stride == 0)
                run_cut(s, &image, k, (enum io_damage)damage);
    printf("%-32s %4" PRIu64 " changing calls, %5" PRIu64 " cuts\n", s->name, count, cuts - before);
    fflush(stdout);
    io_free(image.fs);
    free(image.world);
}

/* ---- destroying ---- */

static bool run_destroy(const struct image *image, uint64_t k, enum io_damage damage)
{
    struct world *w = world_copy(image->world, world_clone(image->fs, seed + k));
    helios_status status;
    bool stopped;

    snprintf(fault_where, sizeof(fault_where), "seed %" PRIu64 ", destroy, call %" PRIu64 ", %s", seed, k,
             damage_names[damage]);
    io_faulty_stop_at(w->fs, k);
    if (directory_remove_ours(w->fs, "/db", true) != HELIOS_OK)
        CHECK(io_faulty_stopped(w->fs), "destroy: %s", helios_last_error());
    stopped = io_faulty_stopped(w->fs);
    world_cut(w, damage, seed + k);
    w->options.create_if_missing = false;
    status = engine_open(w->fs, "/db", &w->options, &w->db);
    /* All of it, or none, or a clear refusal. */
    if (status == HELIOS_OK)
        world_check(w, false);
    else
        CHECK(status == HELIOS_NOT_FOUND || status == HELIOS_CORRUPT, "%s: %s", helios_status_name(status),
              helios_last_error());
    world_close(w);
    if (directory_remove_ours(w->fs, "/db", true) != HELIOS_OK) {
        struct io_stat stat;

        CHECK(io_stat(w->fs, "/db", &stat) == HELIOS_NOT_FOUND, "destroyed again: %s", helios_last_error());
    }
    w->options.create_if_missing = true;
    MUST(engine_open(w->fs, "/db", &w->options, &w->db));
    CHECK(helios_latest(w->db) == 0, "a new database is not empty");
    world_close(w);
    io_free(w->fs);
    free(w);
    cuts++;
    return stopped;
}

static void test_destroy(void)
{
    struct image image;

    image_make(scenario_named("compaction"), &image);
    for (int damage = 0; damage < IO_DAMAGE_COUNT; damage++)
        for (uint64_t k = 1; run_destroy(&image, k, (enum io_damage)damage); k++)
            continue;
    io_free(image.fs);
    free(image.world);
}

int main(int argc, char **argv)
{
    size_t part;

    seed = fault_seed(argc > 1 ? argv[1] : NULL);
    runs_max = argc > 2 ? strtoull(argv[2], NULL, 10) : RUNS_DEFAULT;
    if (argc > 5) {
        struct image image;

        image_make(scenario_named(argv[3]), &image);
        for (int i = 0; i < 100; i++) /* the threads do not always come in the same order */
            run_cut(scenario_named(argv[3]), &image, strtoull(argv[4], NULL, 10),
                    (enum io_damage)atoi(argv[5]));
        io_free(image.fs);
        free(image.world);
        return 0;
    }
    part = argc > 3 && strcmp(argv[3], "even") == 0 ? 0 : argc > 3 && strcmp(argv[3], "odd") == 0 ? 1 : 2;
    if (argc > 3 && part == 2) {
        run_scenario(scenario_named(argv[3]));
        return 0;
    }
    for (size_t i = 0; i < scenario_count(); i++)
        if (part == 2 || i % 2 == part)
            run_scenario(scenario_at(i));
    test_destroy();
    fault_tried(cuts, "power cuts");
    fault_tried(recovery_cuts, "power cuts in recovery");
    return 0;
}
