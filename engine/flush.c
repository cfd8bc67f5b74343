/* flush.c - a closed memtable becomes tables of L0. Oldest first, one at a time, so that the tree always
 * holds a prefix of the history. Runs on the pool, and on the opening thread during recovery. */
#include "engine/timeline.h"
#include <assert.h>
#include <inttypes.h>

/* Whether an older version of a key in the range can lie in the tree: everything there is older than a
 * memtable, or, being ingested, no harm to count. */
static bool tree_may_hold(void *arg, helios_slice from, helios_slice to, bool inclusive)
{
    const struct version *version = arg;

    (void)inclusive; /* one key too many is no harm */
    if (version->file_count == 0)
        return false;
    if (!from.data || !to.data)
        return true;
    return version_overlaps(version, 0, from, to);
}

static struct mem_slot *oldest_closed(struct helios_db *db)
{
    struct mem_slot *slot = NULL;
    struct view *view;

    mutex_lock(&db->state_mu);
    view = atomic_load(&db->view);
    if (view->closed_count)
        slot = mem_slot_ref(view->closed[view->closed_count - 1]);
    mutex_unlock(&db->state_mu);
    return slot;
}

/* All versions of the memtable, and when its commits were made. */
static helios_status open_input(struct mem_slot *slot, helios_seq timeline_before, struct cursor **input)
{
    struct cursor *sources[2] = {0};
    size_t count = 1;
    helios_status status = memtable_cursor_new(slot->memtable, CURSOR_ALL, &sources[0]);

    if (status == HELIOS_OK && !stretch_empty(&slot->stretch)) {
        status = timeline_cursor_new(&slot->stretch, timeline_before, &sources[1]);
        count = 2;
    }
    if (status == HELIOS_OK && count == 1)
        *input = sources[0];
    else if (status == HELIOS_OK)
        status = merge_cursor_new(sources, count, CURSOR_ALL, input);
    for (size_t i = 0; i < 2 && status != HELIOS_OK; i++)
        cursor_free(sources[i]);
    return status;
}

struct flush_pace {
    struct helios_db *db;
    uint64_t began, entries_all, flushed_bytes;
};

/* So that writers meet the end of the flush with a memtable that is just full, none of them having stood still. */
static void pace_writers(void *arg, uint64_t entries, uint64_t bytes)
{
    const struct flush_pace *pace = arg;
    struct helios_db *db = pace->db;
    struct pace_flush flush = {
        .elapsed = io_monotonic(db->fs) - pace->began,
        .entries = entries,
        .entries_all = pace->entries_all,
        .user_bytes = bytes,
        .flushed_bytes = pace->flushed_bytes,
        .active_max = db->options.memtable_bytes,
    };

    epoch_enter();
    flush.active_used = memtable_used(view_now(db)->active->memtable);
    epoch_leave();
    pace_ask(&db->write_pace, PACE_FLUSH, pace_flush_rate(&flush));
}

static helios_status write_tables(struct helios_db *db, struct mem_slot *slot, struct compact_result *result,
                                  struct collected *collected)
{
    struct timeline_entry first = {0}, last = {0};
    bool timed = stretch_ends(&slot->stretch, &first, &last);
    const struct table_writer_options writer = {
        .block_bytes = db->options.block_bytes,
        .filter_bits_per_key = db->options.filter_bits_per_key,
        .compression = db->options.compression,
        .time_min = timed ? first.time : 0,
        .time_max = timed ? last.time : 0,
        .pace = pace_table,
        .pace_arg = &db->background_pace,
    };
    struct job_rules rules = {0};
    struct version *version = NULL;
    struct flush_pace pace = {
        .db = db,
        .began = io_monotonic(db->fs),
        .entries_all = memtable_count(slot->memtable),
        .flushed_bytes = memtable_used(slot->memtable),
    };
    struct compact_job job = {
        .rangedels = memtable_rangedels(slot->memtable),
        .rules = &rules.rules,
        .home = &db->home,
        .next_number = file_number_take,
        .next_number_arg = db,
        .writer = &writer,
        .target_bytes = db->target_bytes,
        .tick = pace_writers,
        .tick_arg = &pace,
    };
    helios_seq timeline_before;
    helios_status status;

    mutex_lock(&db->state_mu);
    version = version_ref(db->version);
    timeline_before = db->timeline_flushed;
    mutex_unlock(&db->state_mu);
    status = job_rules_init(db, &rules);
    if (status == HELIOS_OK) {
        *collected = collected_by(&rules);
        rules.rules.may_hold_older = tree_may_hold;
        rules.rules.may_hold_older_arg = version;
        status = open_input(slot, timeline_before, &job.input);
    }
    if (status == HELIOS_OK)
        status = compact_run(&job, result);
    cursor_free(job.input);
    job_rules_release(&rules);
    version_unref(version);
    return status;
}

static helios_status install_tables(struct helios_db *db, struct mem_slot *slot, struct compact_result *result,
                                    struct collected collected)
{
    struct version_change *changes = mem_array(result->count + 1, sizeof(*changes));
    helios_status status;

    if (!changes)
        return fail_no_memory(result->count * sizeof(*changes));
    status = io_sync_directory(db->fs, db->sst_directory);
    if (status == HELIOS_OK)
        status = changes_add_results(db, result, 0, collected, changes);
    if (status == HELIOS_OK) {
        status = tree_install(db, changes, result->count, slot);
        for (size_t i = 0; i < result->count; i++) {
            if (status == HELIOS_OK)
                atomic_fetch_add(&db->flush_bytes, changes[i].file->size);
            table_file_unref(changes[i].file);
        }
    }
    mem_free(changes);
    return status;
}

helios_status flush_oldest(struct helios_db *db)
{
    struct mem_slot *slot = oldest_closed(db);
    struct compact_result result = {0};
    uint64_t began = io_monotonic(db->fs);
    struct collected collected = {0};
    helios_status status;

    if (!slot)
        return HELIOS_OK;
    if (db->wal)
        wal_sync_soon(db->wal, 0); /* beside the writing of the table: its edit has to wait for it */
    status = publish_wait(db, slot->last);
    if (status == HELIOS_OK)
        status = write_tables(db, slot, &result, &collected);
    if (status == HELIOS_OK) {
        status = install_tables(db, slot, &result, collected);
        if (status != HELIOS_OK)
            tables_discard(db, &result);
        else
            event_log_say(db->events, "flushed %" PRIu64 " entries into %zu tables in %" PRIu64 " ms",
                          result.entries_written, result.count, (io_monotonic(db->fs) - began) / 1000);
    }
    compact_result_release(&result);
    if (status == HELIOS_OK)
        atomic_fetch_add(&db->flushes, 1);
    pace_ask(&db->write_pace, PACE_FLUSH, UINT64_MAX);
    mem_slot_unref(slot);
    return status;
}

void flush_run(struct pool_job *job)
{
    struct flush_job *flush = (struct flush_job *)((char *)job - offsetof(struct flush_job, job));
    struct helios_db *db = flush->db;
    helios_status status = flush_oldest(db);

    /* The memtable goes back to the pool before the next one is wanted: through its view, then by itself. */
    epoch_collect();
    view_bury(db);
    epoch_collect();
    mutex_lock(&db->state_mu);
    db->flush_running = false;
    mutex_unlock(&db->state_mu);
    background_done(db, status);
}
