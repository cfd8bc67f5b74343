/* fault_scenarios.c - what is done while the power is cut or calls fail; see fault_world.h. */
#include "tests/fault_world.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static helios_durability draw_durability(struct world *w)
{
    static const helios_durability all[] = {HELIOS_DURABILITY_NONE, HELIOS_DURABILITY_ASYNC,
                                            HELIOS_DURABILITY_ASYNC, HELIOS_DURABILITY_GROUP,
                                            HELIOS_DURABILITY_SYNC};

    return all[random_below(&w->rng, 5)];
}

static void commits(struct world *w, unsigned count, helios_durability durability, unsigned ops, uint32_t size)
{
    for (unsigned i = 0; i < count; i++)
        world_commit(w, durability ? durability : draw_durability(w), ops, size);
}

static void flush(struct world *w)
{
    if (world_going(w))
        world_note(w, helios_flush(w->db), true);
}

static void compact(struct world *w)
{
    if (world_going(w))
        world_note(w, helios_compact(w->db, (helios_slice){0}, (helios_slice){0}), true);
}

static void before_small(struct world *w)
{
    world_open(w);
    commits(w, 10, 0, 4, SIZE_SMALL);
    world_close(w);
}

static void run_create(struct world *w)
{
    world_open(w);
    commits(w, 3, HELIOS_DURABILITY_SYNC, 3, SIZE_SMALL);
    world_close(w);
}

/* A commit of GROUP becomes durable without being asked. */
static void wait_group(struct world *w)
{
    struct world_commit *last = &w->commits[w->commit_count - 1];
    helios_status status = HELIOS_TIMEOUT;

    for (int i = 0; i < 4000 && status == HELIOS_TIMEOUT && world_going(w); i++) {
        status = helios_wait_durable(w->db, last->seq, 0);
        if (status == HELIOS_TIMEOUT)
            usleep(500);
    }
    CHECK(status != HELIOS_TIMEOUT || w->failed, "a GROUP commit is not durable after two seconds");
    if (status == HELIOS_OK)
        for (uint32_t i = 0; i < w->commit_count; i++)
            w->commits[i].durable |= w->commits[i].acknowledged && w->commits[i].logged;
    w->failed |= status != HELIOS_OK;
}

/* That commit and all before it. */
static void wait_for(struct world *w, uint32_t index)
{
    struct world_commit *commit = &w->commits[index];
    helios_status status;

    if (!world_going(w) || !commit->acknowledged)
        return;
    status = helios_wait_durable(w->db, commit->seq, UINT64_MAX);
    w->failed |= status != HELIOS_OK;
    for (uint32_t i = 0; i <= index && status == HELIOS_OK; i++)
        w->commits[i].durable |= w->commits[i].acknowledged;
}

static void run_mixed(struct world *w)
{
    world_open(w);
    commits(w, 12, 0, 4, SIZE_SMALL);
    world_sync(w);
    commits(w, 2, HELIOS_DURABILITY_ASYNC, 3, SIZE_SMALL);
    wait_for(w, w->commit_count - 1);
    commits(w, 3, HELIOS_DURABILITY_NONE, 3, SIZE_SMALL);
    commits(w, 1, HELIOS_DURABILITY_SYNC, 3, SIZE_SMALL);
    /* Of the unlogged ones only this says so. */
    wait_for(w, w->commit_count - 2);
    commits(w, 1, HELIOS_DURABILITY_GROUP, 3, SIZE_SMALL);
    if (world_going(w) && w->commits[w->commit_count - 1].acknowledged)
        wait_group(w);
    commits(w, 6, 0, 4, SIZE_SMALL);
}

static void run_roll(struct world *w)
{
    world_open(w);
    for (int i = 0; i < 5; i++) {
        commits(w, 12, HELIOS_DURABILITY_ASYNC, 2, SIZE_PAGE);
        commits(w, 1, HELIOS_DURABILITY_SYNC, 2, SIZE_SMALL);
    }
    commits(w, 3, HELIOS_DURABILITY_ASYNC, 2, SIZE_SMALL);
    world_close(w);
}

static void run_flush(struct world *w)
{
    world_open(w);
    commits(w, 10, 0, 4, SIZE_SMALL);
    flush(w);
    commits(w, 2, HELIOS_DURABILITY_SYNC, 4, SIZE_SMALL);
    commits(w, 8, HELIOS_DURABILITY_NONE, 4, SIZE_SMALL);
    flush(w);
    commits(w, 2, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL);
}

static void before_tables(struct world *w)
{
    world_open(w);
    for (int i = 0; i < 4; i++) {
        commits(w, 6, 0, 8, SIZE_SMALL * 5);
        flush(w);
    }
    commits(w, 3, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL);
    world_close(w);
}

static void run_compact(struct world *w)
{
    world_open(w);
    commits(w, 2, HELIOS_DURABILITY_SYNC, 4, SIZE_SMALL);
    compact(w);
    commits(w, 2, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL);
    flush(w);
    compact(w);
    world_close(w);
}

static void run_ingest(struct world *w)
{
    world_open(w);
    commits(w, 3, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL);
    commits(w, 1, HELIOS_DURABILITY_SYNC, 24, SIZE_INGEST);
    commits(w, 3, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL);
    commits(w, 1, HELIOS_DURABILITY_ASYNC, 24, SIZE_INGEST);
    commits(w, 2, HELIOS_DURABILITY_NONE, 4, SIZE_SMALL);
    commits(w, 1, HELIOS_DURABILITY_NONE, 24, SIZE_INGEST);
    commits(w, 2, HELIOS_DURABILITY_SYNC, 4, SIZE_SMALL);
    world_close(w);
}

static void run_ranges(struct world *w)
{
    world_open(w);
    world_commit_range(w, HELIOS_DURABILITY_SYNC, 10, 50);
    commits(w, 3, HELIOS_DURABILITY_ASYNC, 6, SIZE_SMALL);
    flush(w);
    world_commit_range(w, HELIOS_DURABILITY_ASYNC, 30, 80);
    commits(w, 3, HELIOS_DURABILITY_SYNC, 6, SIZE_SMALL);
    world_commit_range(w, HELIOS_DURABILITY_NONE, 0, 5);
    compact(w);
    world_commit_range(w, HELIOS_DURABILITY_SYNC, 60, 90);
    world_close(w);
}

static void run_close(struct world *w)
{
    for (int i = 0; i < 2 && !(w->stop_on_error && w->failed); i++) {
        world_open(w);
        commits(w, 4, 0, 4, SIZE_SMALL);
        world_close(w);
    }
}

/* The process dies with a good part of the log unsynced, twice. */
static void before_crashed(struct world *w)
{
    world_open(w);
    commits(w, 6, HELIOS_DURABILITY_SYNC, 4, SIZE_SMALL);
    commits(w, 20, HELIOS_DURABILITY_ASYNC, 4, SIZE_PAGE);
    world_cut(w, IO_DAMAGE_PREFIX, 7);
    world_reopen(w);
    commits(w, 20, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL);
    world_cut(w, IO_DAMAGE_KEEP_ALL, 8);
}

static void run_reopen(struct world *w)
{
    world_open(w);
    commits(w, 2, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL);
    world_close(w);
    if (w->stop_on_error && w->failed)
        return;
    world_open(w);
    commits(w, 2, HELIOS_DURABILITY_SYNC, 4, SIZE_SMALL);
    world_close(w);
}

/* A manifest whose end is in doubt is followed by a new one. */
static void run_manifest(struct world *w)
{
    const struct io_fault fault = {
        .fail_at = 1, .mask = 1u << IO_CALL_SYNC, .error_number = EIO, .path_contains = "MANIFEST"};

    world_open(w);
    compact(w); /* so few tables are left that no compaction comes beside, whose edit would fail instead */
    commits(w, 4, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL);
    for (int i = 0; i < 2 && world_going(w); i++) {
        io_faulty_plan(w->fs, &fault);
        if (helios_flush(w->db) == HELIOS_OK)
            CHECK(io_faulty_stopped(w->fs), "a flush is fine whose manifest was not synced");
        io_faulty_plan(w->fs, NULL);
        world_note(w, helios_resume(w->db), false);
        flush(w);
        commits(w, 2, HELIOS_DURABILITY_SYNC, 4, SIZE_SMALL);
    }
    world_close(w);
}

static void checkpoint(struct world *w)
{
    uint32_t commits_before = w->commit_count;
    helios_status status;

    if (!world_going(w))
        return;
    status = helios_checkpoint(w->db, "/copy");
    world_note(w, status, true);
    w->copied |= status == HELIOS_OK;
    w->copied_commits = commits_before;
}

static void run_checkpoint(struct world *w)
{
    world_open(w);
    commits(w, 5, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL);
    flush(w);
    commits(w, 5, 0, 4, SIZE_SMALL);
    checkpoint(w);
    commits(w, 3, HELIOS_DURABILITY_SYNC, 4, SIZE_SMALL);
    world_close(w);
}

/* Flushes and compactions by themselves, log segments come and go. */
static void run_busy(struct world *w)
{
    world_open(w);
    for (int i = 0; i < 7; i++) {
        commits(w, 12, 0, 4, SIZE_SMALL * 8);
        commits(w, 8, HELIOS_DURABILITY_ASYNC, 2, SIZE_SMALL * 8);
    }
    world_close(w);
}

/* Transactions that commit, are taken back, lose, or are open when it ends. */
static void run_txns(struct world *w)
{
    world_open(w);
    world_txn(w, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL, TXN_COMMIT);
    world_txn(w, HELIOS_DURABILITY_SYNC, 4, SIZE_SMALL, TXN_COMMIT);
    world_txn(w, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL, TXN_ROLLBACK);
    world_txn(w, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL, TXN_CONFLICT);
    world_txn(w, HELIOS_DURABILITY_SYNC, 4, SIZE_SMALL, TXN_LEAVE);
    commits(w, 2, HELIOS_DURABILITY_ASYNC, 3, SIZE_SMALL);
    world_txn(w, HELIOS_DURABILITY_NONE, 4, SIZE_SMALL, TXN_COMMIT);
    flush(w);
    world_txn(w, HELIOS_DURABILITY_SYNC, 4, SIZE_SMALL, TXN_CONFLICT);
    world_txn(w, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL, TXN_COMMIT);
    world_txn(w, HELIOS_DURABILITY_ASYNC, 24, SIZE_INGEST, TXN_COMMIT);
    world_txn(w, HELIOS_DURABILITY_SYNC, 4, SIZE_SMALL, TXN_COMMIT);
    world_txn(w, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL, TXN_LEAVE);
}

/* Losers that had reserved their place in the log leave it void. */
static void run_collisions(struct world *w)
{
    world_open(w);
    world_add(w, 8);
    flush(w);
    world_add(w, 4);
    world_close(w);
}

/* Nothing but the tags keeps the past. */
static void run_tags(struct world *w)
{
    w->options.history_retention = 0;
    world_open(w);
    commits(w, 2, HELIOS_DURABILITY_ASYNC, 6, SIZE_SMALL);
    world_tag(w);
    commits(w, 3, HELIOS_DURABILITY_SYNC, 6, SIZE_SMALL);
    world_tag_past(w);
    flush(w);
    commits(w, 3, HELIOS_DURABILITY_ASYNC, 6, SIZE_SMALL);
    world_tag(w);
    world_tag_drop(w);
    commits(w, 3, HELIOS_DURABILITY_ASYNC, 6, SIZE_SMALL);
    compact(w);
    world_tag_drop(w);
    commits(w, 1, HELIOS_DURABILITY_SYNC, 6, SIZE_SMALL);
    world_close(w);
}

/* Times that are in the log, in memory and in tables. */
static void run_timeline(struct world *w)
{
    w->options.history_retention = HELIOS_FOREVER;
    world_open(w);
    commits(w, 5, 0, 3, SIZE_SMALL);
    flush(w);
    commits(w, 5, 0, 3, SIZE_SMALL);
    compact(w);
    commits(w, 3, HELIOS_DURABILITY_ASYNC, 3, SIZE_SMALL);
    world_close(w);
    if (w->stop_on_error && w->failed)
        return;
    world_open(w);
    commits(w, 3, HELIOS_DURABILITY_SYNC, 3, SIZE_SMALL);
}

/* Another retention at each open, and while it is open; tags hold what it lets go. */
static void run_retention(struct world *w)
{
    for (int i = 0; i < 2 && !(w->stop_on_error && w->failed); i++) {
        w->options.history_retention = i ? HELIOS_FOREVER : 1000;
        world_open(w);
        commits(w, 4, HELIOS_DURABILITY_ASYNC, 6, SIZE_SMALL);
        world_tag(w);
        commits(w, 4, 0, 6, SIZE_SMALL);
        if (world_going(w) && i == 1)
            world_note(w, helios_set_history_retention(w->db, 0), false);
        compact(w);
        world_close(w);
    }
}

static void before_feed(struct world *w)
{
    world_feed(w);
    before_small(w);
}

static void run_feed(struct world *w)
{
    world_open(w);
    world_consume(w);
    commits(w, 3, 0, 4, SIZE_SMALL);
    commits(w, 1, HELIOS_DURABILITY_ASYNC, 12, SIZE_INGEST);
    world_ack(w);
    commits(w, 2, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL);
    world_trim(w);
    compact(w);
    commits(w, 1, HELIOS_DURABILITY_SYNC, 12, SIZE_INGEST);
    world_ack(w);
    flush(w);
    world_close(w);
    if (w->stop_on_error && w->failed)
        return;
    world_open(w);
    commits(w, 2, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL);
    world_trim(w);
    checkpoint(w);
}

/* Branches that are all that keeps the past; with data on them, in memory and in tables. */
static void run_branches(struct world *w)
{
    w->options.history_retention = 0;
    w->options.durability = HELIOS_DURABILITY_SYNC;
    world_open(w);
    commits(w, 2, HELIOS_DURABILITY_ASYNC, 6, SIZE_SMALL);
    world_branch(w);
    commits(w, 3, HELIOS_DURABILITY_ASYNC, 6, SIZE_SMALL);
    world_branch_write(w);
    flush(w);
    world_branch(w);
    commits(w, 2, HELIOS_DURABILITY_NONE, 6, SIZE_SMALL);
    world_branch_write(w);
    world_branch_rename(w);
    compact(w);
    world_branch_drop(w);
    commits(w, 2, HELIOS_DURABILITY_ASYNC, 6, SIZE_SMALL);
    compact(w);
    world_branch_drop(w);
    world_close(w);
}

const struct scenario durability_scenarios[] = {
    {"k02_create", 256 << 10, NULL, run_create},
    {"w01_w28_w29_mixed_durability", 256 << 10, before_small, run_mixed},
    {"w21_log_roll_over", 1 << 20, before_small, run_roll},
    {"w04_flush", 256 << 10, before_small, run_flush},
    {"compaction", 256 << 10, before_tables, run_compact},
    {"k12_ingest", 256 << 10, before_small, run_ingest},
    {"w06_range_deletes", 256 << 10, before_tables, run_ranges},
    {"k04_clean_close", 256 << 10, before_small, run_close},
    {"k03_reopen_after_crash", 256 << 10, before_crashed, run_reopen},
    {"manifest_roll", 256 << 10, before_small, run_manifest},
    {"checkpoint", 256 << 10, before_tables, run_checkpoint},
    {"busy", 64 << 10, before_small, run_busy},
    {"transactions", 256 << 10, before_small, run_txns},
    {"collisions", 256 << 10, before_small, run_collisions},
    {"tags", 256 << 10, before_tables, run_tags},
    {"branches", 256 << 10, before_tables, run_branches},
    {"timeline", 256 << 10, before_small, run_timeline},
    {"retention", 256 << 10, before_small, run_retention},
    {"feed", 256 << 10, before_feed, run_feed},
};
const size_t durability_scenario_count = sizeof(durability_scenarios) / sizeof(durability_scenarios[0]);

size_t scenario_count(void)
{
    return durability_scenario_count + call_scenario_count;
}

const struct scenario *scenario_at(size_t index)
{
    return index < durability_scenario_count ? &durability_scenarios[index]
                                             : &call_scenarios[index - durability_scenario_count];
}

const struct scenario *scenario_named(const char *name)
{
    for (size_t i = 0; i < scenario_count(); i++)
        if (strcmp(scenario_at(i)->name, name) == 0)
            return scenario_at(i);
    fprintf(stderr, "no scenario %s\n", name);
    exit(2);
}
