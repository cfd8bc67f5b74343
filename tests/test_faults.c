/* test_faults.c - calls that fail: each scenario with its n-th call failing, for all n; a full disk; a failed fsync.
 * No call may crash or hang; what was acknowledged as durable is there after an open without faults. Then cases
 * by name.
 * Usage: test_faults [seed [runs [scenario]]]; seed 0: the day's; runs: at most so many for each scenario and kind of fault, 0: every call. */
#undef NDEBUG
#include "base/mem.h"
#include "engine/identity.h"
#include "tests/fault_world.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { RUNS_DEFAULT = 24 };

static uint64_t seed = 1, runs_max = RUNS_DEFAULT;
static uint64_t call_runs, memory_runs;

static const uint32_t all_calls = 0;
static const uint32_t space_calls = 1u << IO_CALL_WRITE | 1u << IO_CALL_RESIZE | 1u << IO_CALL_OPEN |
                                    1u << IO_CALL_RENAME | 1u << IO_CALL_MAKE_DIRECTORY | 1u << IO_CALL_LINK;
static const uint32_t open_calls = 1u << IO_CALL_OPEN | 1u << IO_CALL_LIST;
static const uint32_t sync_calls = 1u << IO_CALL_SYNC | 1u << IO_CALL_SYNC_DIRECTORY;

static const struct kind {
    const char *name;
    uint32_t mask;
    int error_number; /* 0: of memory */
    bool forever, drops_pages;
} kinds[] = {
    {"EIO once", all_calls, EIO, false, false},
    {"EIO from then on", all_calls, EIO, true, false},
    {"ENOSPC once", space_calls, ENOSPC, false, false},
    {"ENOSPC from then on", space_calls, ENOSPC, true, false},
    {"sync fails once and drops pages", sync_calls, EIO, false, true},
    {"sync fails from then on", sync_calls, EIO, true, true},
    {"EMFILE once", open_calls, EMFILE, false, false},
    {"EMFILE from then on", open_calls, EMFILE, true, false},
    {"no memory once", 0, 0, false, false},
    {"no memory from then on", 0, 0, true, false},
};
enum { KIND_COUNT = sizeof(kinds) / sizeof(kinds[0]) };

static struct world *world_on(struct io_fs *fs, uint64_t memtable_bytes)
{
    struct world *w = malloc(sizeof(*w));

    world_init(w, fs, "/db", seed);
    w->options.memtable_bytes = memtable_bytes;
    return w;
}

static void world_free(struct world *w)
{
    io_free(w->fs);
    free(w);
}

/* ---- the n-th call fails ---- */

/* A creation that failed takes itself back; a cut on the way may leave parts, but never a database of parts. */
static void clear_half_made(struct world *w)
{
    helios_db *db = NULL;

    if (engine_open(w->fs, w->path, &w->options, &db) == HELIOS_OK) {
        MUST(helios_close(db));
        return;
    }
    CHECK(strstr(helios_last_error(), "destroy what is left"), "%s", helios_last_error());
    MUST(directory_remove_ours(w->fs, "/db", true));
}

static void run_fault(const struct scenario *s, const struct world *image, const struct kind *kind, uint64_t n)
{
    const struct io_fault fault = {.fail_at = n,
                                   .forever = kind->forever,
                                   .mask = kind->mask,
                                   .error_number = kind->error_number,
                                   .sync_drops_pages = kind->drops_pages};
    struct world *w = malloc(sizeof(*w));

    memcpy(w, image, sizeof(*w));
    w->fs = world_clone(image->fs, seed + n);
    snprintf(fault_where, sizeof(fault_where), "seed %" PRIu64 ", scenario %s, %s at call %" PRIu64, seed,
             s->name, kind->name, n);
    if (kind->error_number)
        io_faulty_plan(w->fs, &fault);
    else
        mem_fail_at(n, kind->forever);
    s->run(w);
    mem_fail_at(0, false);
    io_faulty_plan(w->fs, NULL);
    *(kind->error_number ? &call_runs : &memory_runs) += 1;
    if (n % 2)
        world_close(w);
    world_cut(w, kind->drops_pages ? IO_DAMAGE_DROP_ALL : (enum io_damage)(n / 2 % IO_DAMAGE_COUNT), seed + n);
    if (!s->before)
        clear_half_made(w);
    world_reopen(w);
    world_commit(w, HELIOS_DURABILITY_SYNC, 3, SIZE_SMALL);
    world_close(w);
    CHECK(!w->failed, "%s", helios_last_error());
    world_reopen(w);
    world_close(w);
    world_free(w);
}

static uint64_t count_calls(const struct scenario *s, const struct world *image, const struct kind *kind)
{
    struct world *w = malloc(sizeof(*w));
    uint64_t before, count;

    memcpy(w, image, sizeof(*w));
    w->fs = world_clone(image->fs, seed);
    before = kind->error_number ? io_faulty_calls(w->fs, kind->mask) : mem_count();
    s->run(w);
    count = (kind->error_number ? io_faulty_calls(w->fs, kind->mask) : mem_count()) - before;
    world_cut(w, IO_DAMAGE_KEEP_ALL, seed);
    world_free(w);
    return count;
}

static void test_scenario(const struct scenario *s)
{
    struct world *image;
    struct io_fs *fs = NULL;
    uint64_t runs = 0;

    snprintf(fault_where, sizeof(fault_where), "seed %" PRIu64 ", scenario %s, before it", seed, s->name);
    MUST(io_faulty_new(seed, &fs));
    image = world_on(fs, s->memtable_bytes);
    if (s->before)
        s->before(image);
    image->failed = false;
    io_faulty_power_cut(fs, IO_DAMAGE_KEEP_ALL, seed);
    for (size_t k = 0; k < KIND_COUNT; k++) {
        uint64_t count = count_calls(s, image, &kinds[k]), step = 1;

        if (runs_max && count > runs_max)
            step = (count + runs_max - 1) / runs_max;
        for (uint64_t n = 1 + seed % step; n <= count; n += step, runs++)
            run_fault(s, image, &kinds[k], n);
    }
    printf("%-32s %5" PRIu64 " failing calls\n", s->name, runs);
    fflush(stdout);
    world_free(image);
}

/* ---- by name ---- */

static struct world *world_new(uint64_t memtable_bytes)
{
    struct io_fs *fs = NULL;
    struct world *w;

    MUST(io_faulty_new(seed, &fs));
    w = world_on(fs, memtable_bytes);
    CHECK(world_open(w), "%s", helios_last_error());
    return w;
}

static helios_slice text(const char *string)
{
    return slice_make(string, strlen(string));
}

static helios_status put(struct world *w, const char *key, const char *value, helios_durability durability)
{
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;

    options.durability = durability;
    return value ? helios_put(w->db, &options, text(key), text(value))
                 : helios_delete(w->db, &options, text(key));
}

static void check_is(struct world *w, const char *key, const char *value)
{
    helios_buf buf = {0};
    helios_status status = helios_get(w->db, NULL, text(key), &buf);

    if (value)
        CHECK(status == HELIOS_OK && buf.size == strlen(value) && memcmp(buf.data, value, buf.size) == 0,
              "%s should be %s (%s)", key, value, helios_status_name(status));
    else
        CHECK(status == HELIOS_NOT_FOUND, "%s is there (%s)", key, helios_status_name(status));
    helios_buf_free(&buf);
}

/* NO_SPACE is an answer: reads go on, nothing is lost, and writes resume by themselves. */
static void full_disk(void)
{
    struct world *w = world_new(256 << 10);
    unsigned refused = 0;

    for (int i = 0; i < 20; i++)
        world_commit(w, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL * 8);
    io_faulty_set_space(w->fs, 1 << 20);
    for (int i = 0; i < 600 && refused < 20; i++) {
        w->failed = false;
        world_commit(w, i % 5 ? HELIOS_DURABILITY_ASYNC : HELIOS_DURABILITY_SYNC, 4, SIZE_SMALL * 40);
        if (w->failed) {
            CHECK(strstr(helios_last_error(), "space"), "not for want of space: %s", helios_last_error());
            refused++;
        }
    }
    CHECK(refused > 0, "the disk was never full");
    check_is(w, "m000001", "here");
    io_faulty_set_space(w->fs, 0);
    for (int i = 0; i < 500; i++) {
        w->failed = false;
        world_commit(w, HELIOS_DURABILITY_SYNC, 2, SIZE_SMALL);
        if (!w->failed)
            break;
        usleep(20000);
    }
    CHECK(!w->failed, "writes do not resume: %s", helios_last_error());
    world_sync(w);
    world_check(w, false);
    world_cut(w, IO_DAMAGE_DROP_ALL, seed);
    world_reopen(w);
    world_close(w);
    world_free(w);
}

/* The commit is not acknowledged, nothing is written any more, and an open starts from what is on the disk. */
static void failed_fsync(void)
{
    const struct io_fault fault = {.fail_at = 1,
                                   .forever = true, /* the keeper's sync of the next segment may come first */
                                   .mask = 1u << IO_CALL_SYNC,
                                   .error_number = EIO,
                                   .path_contains = ".wal",
                                   .sync_drops_pages = true};
    struct world *w = world_new(256 << 10);

    for (int i = 0; i < 10; i++)
        world_commit(w, HELIOS_DURABILITY_SYNC, 4, SIZE_SMALL);
    CHECK(put(w, "z", "one", HELIOS_DURABILITY_SYNC) == HELIOS_OK, "%s", helios_last_error());
    CHECK(helios_delete(w->db, NULL, text("z")) == HELIOS_OK, "%s", helios_last_error());
    io_faulty_plan(w->fs, &fault);
    world_commit(w, HELIOS_DURABILITY_SYNC, 4, SIZE_SMALL);
    CHECK(w->failed, "a SYNC commit whose fsync failed was acknowledged");
    io_faulty_plan(w->fs, NULL);
    CHECK(put(w, "z", "two", HELIOS_DURABILITY_ASYNC) == HELIOS_READ_ONLY, "it can be written still");
    CHECK(helios_resume(w->db) != HELIOS_OK, "only an open helps");
    check_is(w, "m000003", "here");
    CHECK(helios_close(w->db) != HELIOS_OK, "a close that could not sync says nothing");
    w->db = NULL;
    world_cut(w, IO_DAMAGE_DROP_ALL, seed);
    world_reopen(w);
    CHECK(put(w, "z", NULL, HELIOS_DURABILITY_SYNC) == HELIOS_OK, "%s", helios_last_error());
    world_close(w);
    world_free(w);
}

/* Across opens of every kind; world_commit checks each number. */
static void k01_numbers_never_reused(void)
{
    struct world *w = world_new(256 << 10);

    for (int i = 0; i < 24; i++) {
        if (i % 3)
            for (int j = 0; j < 3; j++)
                world_commit(w, j ? HELIOS_DURABILITY_ASYNC : HELIOS_DURABILITY_SYNC, 2, SIZE_SMALL);
        if (i % 4 == 3)
            world_close(w);
        else
            world_cut(w, (enum io_damage)(i % IO_DAMAGE_COUNT), seed + (uint64_t)i);
        world_reopen(w);
        if (i % 5 == 0) { /* opened and closed without a commit */
            world_close(w);
            world_reopen(w);
        }
    }
    world_close(w);
    world_free(w);
}

static void k04_reopen_at_once_in_each_durability(void)
{
    struct world *w = world_new(256 << 10);

    for (int durability = HELIOS_DURABILITY_NONE; durability <= HELIOS_DURABILITY_SYNC; durability++)
        for (int i = 0; i < 3; i++) {
            world_commit(w, (helios_durability)durability, 3, SIZE_SMALL);
            world_close(w); /* all of it is durable now */
            io_faulty_power_cut(w->fs, IO_DAMAGE_DROP_ALL, seed);
            world_reopen(w);
        }
    world_close(w);
    world_free(w);
}

static void k06_overwrites_without_end(void)
{
    struct world *w = world_new(64 << 10);
    char value[1000];

    w->options.history_retention = 0;
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = 0;
    for (int i = 0; i < 5000; i++)
        MUST(put(w, "one", value, HELIOS_DURABILITY_ASYNC));
    check_is(w, "one", value);
    MUST(put(w, "one", NULL, HELIOS_DURABILITY_ASYNC));
    world_close(w);
    world_free(w);
}

static void k07_deletes_are_logged_like_puts(void)
{
    struct world *w = world_new(256 << 10);

    MUST(put(w, "z", "one", HELIOS_DURABILITY_SYNC));
    MUST(put(w, "z", NULL, HELIOS_DURABILITY_SYNC));
    MUST(put(w, "\xff\xff any bytes", "one", HELIOS_DURABILITY_SYNC));
    MUST(put(w, "\xff\xff any bytes", NULL, HELIOS_DURABILITY_SYNC));
    world_cut(w, IO_DAMAGE_DROP_ALL, seed);
    world_reopen(w);
    check_is(w, "z", NULL);
    check_is(w, "\xff\xff any bytes", NULL);
    world_close(w);
    world_free(w);
}

/* What is in tables is not replayed over what came later, whichever way it came. */
static void w04_replay_keeps_unlogged_update_w05_and_delete(void)
{
    struct world *w = world_new(256 << 10);

    MUST(put(w, "a", "old", HELIOS_DURABILITY_SYNC));
    MUST(put(w, "b", "old", HELIOS_DURABILITY_SYNC));
    MUST(put(w, "a", "new", HELIOS_DURABILITY_NONE));
    MUST(put(w, "b", NULL, HELIOS_DURABILITY_NONE));
    MUST(helios_flush(w->db));
    if (helios_close(w->db) != HELIOS_OK)
        CHECK(false, "%s", helios_last_error());
    for (int i = 0; i < 3; i++) {
        CHECK(world_open(w), "%s", helios_last_error());
        check_is(w, "a", "new");
        check_is(w, "b", NULL);
        if (i)
            world_close(w);
        else
            world_cut(w, IO_DAMAGE_DROP_ALL, seed);
    }
    world_free(w);
}

static void w23_durability_switched_at_every_commit(void)
{
    struct world *w = world_new(256 << 10);

    for (int from = HELIOS_DURABILITY_NONE; from <= HELIOS_DURABILITY_SYNC; from++)
        for (int to = HELIOS_DURABILITY_NONE; to <= HELIOS_DURABILITY_SYNC; to++)
            for (int i = 0; i < 3; i++) {
                world_commit(w, (helios_durability)(i % 2 ? to : from), 2, SIZE_SMALL);
                CHECK(!w->failed, "%d to %d: %s", from, to, helios_last_error());
            }
    world_commit(w, HELIOS_DURABILITY_NONE, 2, SIZE_SMALL);
    world_commit(w, HELIOS_DURABILITY_SYNC, 2, SIZE_SMALL);
    /* That a later commit is durable says nothing of an unlogged one. */
    CHECK(helios_wait_durable(w->db, w->commits[w->commit_count - 2].seq, 0) == HELIOS_TIMEOUT,
          "an unlogged commit is durable");
    world_note(w, helios_wait_durable(w->db, w->commits[w->commit_count - 1].seq, UINT64_MAX), true);
    world_cut(w, IO_DAMAGE_DROP_ALL, seed);
    world_reopen(w);
    world_close(w);
    world_free(w);
}

/* One writer waits for its fsync and for nothing else. */
static void w24_single_sync_writer_never_waits_for_the_group(void)
{
    struct world *w = world_new(1 << 20);
    uint64_t began;

    world_close(w);
    w->options.group_commit_interval = 1000000;
    CHECK(world_open(w), "%s", helios_last_error());
    began = io_monotonic(w->fs);
    for (int i = 0; i < 300; i++)
        world_commit(w, HELIOS_DURABILITY_SYNC, 1, SIZE_SMALL);
    began = io_monotonic(w->fs) - began;
    CHECK(began < 3000000, "300 SYNC commits in memory took %" PRIu64 " us", began);
    world_cut(w, IO_DAMAGE_DROP_ALL, seed);
    world_reopen(w);
    world_close(w);
    world_free(w);
}

/* A feed that was trimmed to its end is empty, also after crashes that left only new segments: nothing of it is missing. */
static void feed_trimmed_to_its_end_before_crashes(void)
{
    struct world *w;
    struct io_fs *fs = NULL;

    MUST(io_faulty_new(seed, &fs));
    w = world_on(fs, 256 << 10);
    world_feed(w);
    CHECK(world_open(w), "%s", helios_last_error());
    world_consume(w);
    for (int i = 0; i < 4; i++) {
        world_commit(w, HELIOS_DURABILITY_SYNC, 3, SIZE_SMALL);
        world_changes_ack(w);
        world_trim(w);
        MUST(helios_flush(w->db));
        for (int crash = 0; crash < 3; crash++) {
            helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
            helios_changes *changes = NULL;

            world_cut(w, IO_DAMAGE_DROP_ALL, seed);
            world_reopen(w);
            MUST(helios_changes_new(w->db, &options, &changes));
            helios_changes_free(changes);
            world_changes_ack(w);
            CHECK(!w->failed, "%s", helios_last_error());
        }
    }
    world_close(w);
    world_free(w);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"feed_trimmed_to_its_end_before_crashes", feed_trimmed_to_its_end_before_crashes},
    {"full_disk", full_disk},
    {"failed_fsync", failed_fsync},
    {"k01_numbers_never_reused", k01_numbers_never_reused},
    {"k04_reopen_at_once_in_each_durability", k04_reopen_at_once_in_each_durability},
    {"k06_overwrites_without_end", k06_overwrites_without_end},
    {"k07_deletes_are_logged_like_puts", k07_deletes_are_logged_like_puts},
    {"w04_replay_keeps_unlogged_update_w05_and_delete", w04_replay_keeps_unlogged_update_w05_and_delete},
    {"w23_durability_switched_at_every_commit", w23_durability_switched_at_every_commit},
    {"w24_single_sync_writer_never_waits_for_the_group", w24_single_sync_writer_never_waits_for_the_group},
};

int main(int argc, char **argv)
{
    seed = fault_seed(argc > 1 ? argv[1] : NULL);
    runs_max = argc > 2 ? strtoull(argv[2], NULL, 10) : RUNS_DEFAULT;
    if (argc > 3) {
        test_scenario(scenario_named(argv[3]));
        return 0;
    }
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(fault_where, sizeof(fault_where), "seed %" PRIu64 ", %s", seed, cases[i].name);
        cases[i].run();
        printf("%s\n", cases[i].name);
        fflush(stdout);
    }
    for (size_t i = 0; i < scenario_count(); i++)
        if (strcmp(scenario_at(i)->name, "manifest_roll") != 0) /* has faults of its own */
            test_scenario(scenario_at(i));
    fault_tried(call_runs, "failing calls");
    fault_tried(memory_runs, "failing allocations");
    return 0;
}
