/* fault_calls.c - scenarios for the calls of the public API that fault_scenarios.c has not: reads, merges, feeds, upkeep,
 * and the same background work with other options; see fault_world.h. scripts/check-scenarios.py says which calls
 * no scenario makes. */
#include "tests/fault_world.h"

static void commits(struct world *w, unsigned count, helios_durability durability, unsigned ops, uint32_t size)
{
    for (unsigned i = 0; i < count; i++)
        world_commit(w, durability, ops, size);
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

/* ---- what is there before ---- */

static void fill(struct world *w)
{
    for (int i = 0; i < 3; i++) {
        commits(w, 5, HELIOS_DURABILITY_ASYNC, 8, SIZE_SMALL * 4);
        flush(w);
    }
    commits(w, 3, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL);
}

static void before_tables(struct world *w)
{
    w->options.history_retention = HELIOS_FOREVER;
    w->options.durability = HELIOS_DURABILITY_SYNC;
    world_open(w);
    fill(w);
    world_close(w);
}

static void before_large_values(struct world *w)
{
    world_open(w);
    commits(w, 2, HELIOS_DURABILITY_ASYNC, 4, SIZE_LARGE);
    commits(w, 1, HELIOS_DURABILITY_ASYNC, 12, SIZE_INGEST);
    flush(w);
    world_close(w);
}

static void before_branches(struct world *w)
{
    w->options.history_retention = HELIOS_FOREVER;
    w->options.durability = HELIOS_DURABILITY_SYNC;
    world_open(w);
    fill(w);
    world_branch(w);
    world_branch_write(w);
    world_merge(w, MERGE_PLAIN, SIZE_SMALL);
    flush(w);
    world_close(w);
}

static void before_feed(struct world *w)
{
    world_feed(w);
    before_tables(w);
}

static void before_consumer(struct world *w)
{
    world_feed(w);
    w->options.history_retention = HELIOS_FOREVER;
    world_open(w);
    world_consume(w);
    commits(w, 4, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL);
    world_close(w);
}

/* ---- reads ---- */

/* A scenario that opens, makes the calls, and closes. */
#define READS(name, ...)                                                                                       \
    static void run_##name(struct world *w)                                                                    \
    {                                                                                                          \
        world_open(w);                                                                                         \
        __VA_ARGS__                                                                                            \
        world_close(w);                                                                                        \
    }

READS(read_all, world_read_ends(w); world_read(w);)
READS(read_points, world_read_points(w); commits(w, 2, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL);
      world_read_points(w);)
READS(read_history, world_read_history(w);)
READS(read_diff, world_read_diff(w);)
READS(read_commits, world_read_commits(w); commits(w, 2, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL);
      world_read_commits(w);)
READS(read_upkeep, world_tag(w); world_read_upkeep(w);)
READS(read_txn, world_read_txn(w);)
READS(read_branches, world_read_branches(w);)
READS(read_changes, commits(w, 3, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL); world_read_changes(w);)
READS(read_deltas, commits(w, 3, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL); world_read_deltas(w);)
READS(verify, world_verify(w);)

/* Tables, log and readers at once: nothing is cached yet. */
READS(read_busy, commits(w, 6, HELIOS_DURABILITY_ASYNC, 6, SIZE_SMALL * 8); world_read(w); flush(w);
      world_read(w); compact(w); world_read(w);)

static void run_read_only(struct world *w)
{
    w->options.read_only = true;
    world_open(w);
    world_read(w);
    world_read_history(w);
    if (w->db && helios_close(w->db) != HELIOS_OK)
        w->failed = true;
    w->db = NULL;
    w->options.read_only = false;
}

/* ---- merges ---- */

static void merges(struct world *w, enum merge_how how, uint32_t size)
{
    world_open(w);
    commits(w, 2, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL);
    world_merge(w, how, size);
    flush(w);
    commits(w, 1, HELIOS_DURABILITY_SYNC, 4, SIZE_SMALL);
    world_merge(w, how == MERGE_RESOLVE ? MERGE_PLAIN : how, SIZE_SMALL);
    world_close(w);
}

#define MERGES(name, how, size)                                                                                \
    static void run_##name(struct world *w)                                                                    \
    {                                                                                                          \
        merges(w, how, size);                                                                                  \
    }
MERGES(merge, MERGE_PLAIN, SIZE_SMALL)
MERGES(merge_close, MERGE_CLOSE, SIZE_SMALL)
MERGES(merge_resolve, MERGE_RESOLVE, SIZE_SMALL)
MERGES(merge_nested, MERGE_NESTED, SIZE_SMALL)
MERGES(merge_again, MERGE_AGAIN, SIZE_SMALL)
MERGES(merge_drop, MERGE_DROP, SIZE_SMALL)
MERGES(merge_large, MERGE_PLAIN, SIZE_INGEST * 2)

READS(revert, world_merge(w, MERGE_PLAIN, SIZE_SMALL); world_revert(w); world_merge(w, MERGE_PLAIN, SIZE_SMALL);
      flush(w); world_revert(w);)
READS(merge_and_compact, world_merge(w, MERGE_DROP, SIZE_SMALL); compact(w);
      world_merge(w, MERGE_CLOSE, SIZE_SMALL); compact(w);)
READS(branch_writes, world_branch(w); world_branch_write(w); world_branch_rename(w); flush(w); world_branch(w);
      world_branch_write(w); world_branch_drop(w);)

/* ---- transactions ---- */

READS(txn_run, world_txn_run(w); flush(w); world_txn_run(w); world_forget(w); flush(w);)
READS(txn_flush, world_txn(w, HELIOS_DURABILITY_ASYNC, 6, SIZE_SMALL, TXN_COMMIT); flush(w);
      world_txn(w, HELIOS_DURABILITY_SYNC, 6, SIZE_SMALL, TXN_CONFLICT); compact(w);
      world_txn(w, HELIOS_DURABILITY_NONE, 6, SIZE_SMALL, TXN_LEAVE);)
READS(txn_large, world_txn(w, HELIOS_DURABILITY_ASYNC, 12, SIZE_INGEST, TXN_COMMIT);
      world_txn(w, HELIOS_DURABILITY_SYNC, 3, SIZE_SMALL, TXN_COMMIT);)

/* ---- the feed ---- */

READS(apply, world_apply(w, SIZE_SMALL); commits(w, 1, HELIOS_DURABILITY_ASYNC, 3, SIZE_SMALL);
      world_apply(w, SIZE_SMALL);)
READS(apply_large, world_apply(w, SIZE_INGEST * 2);)
READS(batch_ack, world_batch_ack(w); commits(w, 1, HELIOS_DURABILITY_ASYNC, 3, SIZE_SMALL); world_batch_ack(w);
      world_changes_ack(w); flush(w);)
READS(feed_ingest, commits(w, 1, HELIOS_DURABILITY_ASYNC, 12, SIZE_INGEST); compact(w); world_trim(w);)
READS(
    feed_roll, for (int i = 0; i < 4; i++) {
        commits(w, 10, HELIOS_DURABILITY_ASYNC, 3, SIZE_PAGE);
        world_trim(w);
    })
READS(feed_merge, world_merge(w, MERGE_PLAIN, SIZE_SMALL); world_consume(w); world_ack(w); world_trim(w);)

static void run_consumer_drop(struct world *w)
{
    helios_consumer_info *list = NULL;
    size_t count;
    helios_status status;

    world_open(w);
    world_ack(w);
    if (world_going(w) && w->consumer == TAG_THERE) {
        w->consumer = TAG_IN_DOUBT;
        status = helios_consumer_drop(w->db, "reader");
        w->failed |= status != HELIOS_OK;
        if (status == HELIOS_OK)
            w->consumer = TAG_GONE;
    }
    if (world_going(w))
        world_note(w, helios_consumer_list(w->db, &list, &count), false);
    helios_free(list);
    world_close(w);
}

/* Nothing is kept from the next open on, and then anew. */
static void run_feed_off(struct world *w)
{
    for (int i = 0; i < 2 && !(w->stop_on_error && w->failed); i++) {
        w->options.feed_retention = i ? HELIOS_FOREVER : 0;
        w->trimmed = 0;
        w->acked = w->acked_tried = 0;
        world_open(w);
        commits(w, 2, HELIOS_DURABILITY_SYNC, 4, SIZE_SMALL);
        world_close(w);
    }
}

/* ---- upkeep ---- */

static bool stop_soon(void *arg, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    return ++*(int *)arg < 2;
}

static void run_compact_range(struct world *w)
{
    helios_compact_options options = HELIOS_COMPACT_OPTIONS_INIT;
    int calls = 0;
    helios_status status;

    world_open(w);
    options.from = slice_make("k020", 4);
    options.to = slice_make("k060", 4);
    options.progress = stop_soon;
    options.arg = &calls;
    if (world_going(w)) {
        status = helios_compact_range(w->db, &options);
        world_note(w, status == HELIOS_BUSY ? HELIOS_OK : status, false);
    }
    commits(w, 2, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL);
    compact(w);
    world_close(w);
}

static void run_sync(struct world *w)
{
    world_open(w);
    for (int i = 0; i < 3; i++) {
        commits(w, 3, HELIOS_DURABILITY_NONE, 4, SIZE_SMALL);
        commits(w, 2, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL);
        world_sync(w);
    }
    if (world_going(w))
        world_note(w, helios_resume(w->db), false);
    world_close(w);
}

/* Snapshots hold what compactions would let go. */
static void run_snapshots(struct world *w)
{
    helios_snapshot *snapshot = NULL;

    w->options.history_retention = 0;
    world_open(w);
    commits(w, 3, HELIOS_DURABILITY_ASYNC, 6, SIZE_SMALL);
    if (world_going(w))
        world_note(w, helios_snapshot_new(w->db, 0, &snapshot), false);
    commits(w, 3, HELIOS_DURABILITY_ASYNC, 6, SIZE_SMALL);
    compact(w);
    helios_snapshot_free(w->db, snapshot);
    commits(w, 3, HELIOS_DURABILITY_SYNC, 6, SIZE_SMALL);
    compact(w);
    world_close(w);
}

static void write_and_merge_down(struct world *w)
{
    world_open(w);
    for (int i = 0; i < 3; i++) {
        commits(w, 5, HELIOS_DURABILITY_ASYNC, 6, SIZE_SMALL * 6);
        flush(w);
    }
    compact(w);
    world_close(w);
}

static void run_zstd(struct world *w)
{
    w->options.compression = w->options.bottom_compression = HELIOS_COMPRESSION_ZSTD;
    write_and_merge_down(w);
}

static void run_plain_blocks(struct world *w)
{
    w->options.compression = w->options.bottom_compression = HELIOS_COMPRESSION_NONE;
    w->options.filter_bits_per_key = 0;
    w->options.block_bytes = 16 << 10;
    write_and_merge_down(w);
}

static void run_no_history(struct world *w)
{
    w->options.history_retention = 0;
    write_and_merge_down(w);
}

static void run_large_values(struct world *w)
{
    world_open(w);
    commits(w, 2, HELIOS_DURABILITY_ASYNC, 4, SIZE_LARGE);
    flush(w);
    world_read(w);
    compact(w);
    world_close(w);
}

/* All of the memory that there is, and a limit to the background's writing. */
static void run_budget(struct world *w)
{
    w->options.memory_budget = 1 << 20;
    w->options.write_rate_limit = (uint64_t)64 << 20;
    write_and_merge_down(w);
}

static void run_many_tags(struct world *w)
{
    world_open(w);
    for (int i = 0; i < 6; i++) {
        commits(w, 1, HELIOS_DURABILITY_ASYNC, 4, SIZE_SMALL);
        world_tag(w);
        world_tag_past(w);
    }
    flush(w);
    world_tag_drop(w);
    world_tag_drop(w);
    world_close(w);
}

const struct scenario call_scenarios[] = {
    {"read_all", 256 << 10, before_branches, run_read_all},
    {"read_points", 256 << 10, before_tables, run_read_points},
    {"read_history", 256 << 10, before_tables, run_read_history},
    {"read_diff", 256 << 10, before_tables, run_read_diff},
    {"read_commits", 256 << 10, before_tables, run_read_commits},
    {"read_upkeep", 256 << 10, before_branches, run_read_upkeep},
    {"read_txn", 256 << 10, before_tables, run_read_txn},
    {"read_branches", 256 << 10, before_branches, run_read_branches},
    {"read_changes", 256 << 10, before_feed, run_read_changes},
    {"read_deltas", 256 << 10, before_feed, run_read_deltas},
    {"read_busy", 256 << 10, before_tables, run_read_busy},
    {"read_only", 256 << 10, before_tables, run_read_only},
    {"read_large_values", 256 << 10, before_large_values, run_read_all},
    {"verify", 256 << 10, before_feed, run_verify},
    {"verify_large_values", 256 << 10, before_large_values, run_verify},
    {"merge", 256 << 10, before_branches, run_merge},
    {"merge_close", 256 << 10, before_tables, run_merge_close},
    {"merge_resolve", 256 << 10, before_tables, run_merge_resolve},
    {"merge_nested", 256 << 10, before_tables, run_merge_nested},
    {"merge_again", 256 << 10, before_tables, run_merge_again},
    {"merge_drop", 256 << 10, before_tables, run_merge_drop},
    {"merge_large", 256 << 10, before_tables, run_merge_large},
    {"merge_and_compact", 256 << 10, before_branches, run_merge_and_compact},
    {"revert", 256 << 10, before_tables, run_revert},
    {"branch_writes", 256 << 10, before_tables, run_branch_writes},
    {"txn_run", 256 << 10, before_tables, run_txn_run},
    {"txn_flush", 256 << 10, before_tables, run_txn_flush},
    {"txn_large", 256 << 10, before_tables, run_txn_large},
    {"apply", 256 << 10, before_tables, run_apply},
    {"apply_into_feed", 256 << 10, before_feed, run_apply},
    {"apply_large", 256 << 10, before_tables, run_apply_large},
    {"batch_ack", 256 << 10, before_consumer, run_batch_ack},
    {"consumer_drop", 256 << 10, before_consumer, run_consumer_drop},
    {"feed_ingest", 256 << 10, before_feed, run_feed_ingest},
    {"feed_roll", 256 << 10, before_feed, run_feed_roll},
    {"feed_merge", 256 << 10, before_feed, run_feed_merge},
    {"feed_off", 256 << 10, before_feed, run_feed_off},
    {"compact_range", 256 << 10, before_tables, run_compact_range},
    {"sync", 256 << 10, before_tables, run_sync},
    {"snapshots", 256 << 10, NULL, run_snapshots},
    {"zstd", 256 << 10, NULL, run_zstd},
    {"plain_blocks", 256 << 10, NULL, run_plain_blocks},
    {"no_history", 256 << 10, before_tables, run_no_history},
    {"large_values", 256 << 10, before_large_values, run_large_values},
    {"budget", 256 << 10, before_tables, run_budget},
    {"many_tags", 256 << 10, before_tables, run_many_tags},
};
const size_t call_scenario_count = sizeof(call_scenarios) / sizeof(call_scenarios[0]);
