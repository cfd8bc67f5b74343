/* upkeep.c - what a program asks for now and then: sync, flush, compact, resume, a range's size. */
#include "engine/engine_internal.h"
#include "engine/branches.h"
#include "engine/read.h"
#include <assert.h>
#include <inttypes.h>

enum { PROGRESS_INTERVAL = 100000 /* us between reports of a manual compaction */ };

static helios_status check_db(helios_db *db)
{
    return db ? HELIOS_OK : fail(HELIOS_INVALID, "no database was given");
}

/* ---- durability ---- */

static helios_status sync_published(struct helios_db *db, uint64_t timeout)
{
    helios_status status;

    if (!db->wal)
        return HELIOS_OK;
    status = wal_sync(db->wal, wal_published(db->wal), timeout);
    if (status == HELIOS_OK || status == HELIOS_TIMEOUT)
        return status;
    return db_fail(db, wal_error(db->wal));
}

static bool slot_unlogged(const struct mem_slot *slot, helios_seq last)
{
    helios_seq first = atomic_load(&slot->unlogged);

    return first != 0 && first <= last;
}

bool unlogged_up_to(struct helios_db *db, helios_seq last)
{
    struct view *view = view_acquire(db);
    bool unlogged = db->wal && slot_unlogged(view->active, last);

    for (size_t i = 0; i < view->closed_count; i++)
        unlogged |= db->wal && slot_unlogged(view->closed[i], last);
    view_unref(view);
    return unlogged;
}

helios_status helios_sync(helios_db *db)
{
    helios_status status = check_db(db);

    if (status != HELIOS_OK || db->options.read_only)
        return status;
    status = unlogged_up_to(db, SEQ_MAX) ? background_flush_all(db) : HELIOS_OK;
    return status == HELIOS_OK ? sync_published(db, UINT64_MAX) : status;
}

helios_status helios_wait_durable(helios_db *db, helios_seq commit, uint64_t timeout)
{
    helios_status status = check_db(db);

    if (status != HELIOS_OK)
        return status;
    if (commit > atomic_load(&db->visible))
        return fail(HELIOS_INVALID, "%" PRIu64 " is above the last commit", commit);
    if (!db->wal)
        return HELIOS_OK;
    if (unlogged_up_to(db, commit)) { /* only their tables make them durable */
        if (timeout == 0)
            return fail(HELIOS_TIMEOUT, "commits up to %" PRIu64 " are in no log and not yet flushed", commit);
        status = background_flush_all(db);
    }
    if (status != HELIOS_OK || wal_durable_seq(db->wal) >= commit)
        return status;
    return sync_published(db, timeout);
}

helios_status helios_resume(helios_db *db)
{
    helios_status status = check_db(db);

    if (status != HELIOS_OK)
        return status;
    mutex_lock(&db->state_mu);
    if (db->log_failed) {
        status =
            fail_context(error_tell(&db->failure), "%s: close and open it again; the log failed", db->path);
    } else {
        db->failure.status = db->space_failure.status = HELIOS_OK;
        atomic_store(&db->failed, false);
        atomic_store(&db->no_space, false);
        background_schedule_locked(db);
        condition_broadcast(&db->state_changed);
    }
    mutex_unlock(&db->state_mu);
    return status;
}

/* ---- flush and compact ---- */

helios_status helios_flush(helios_db *db)
{
    helios_status status = check_db(db);

    if (status == HELIOS_OK)
        status = db_writable(db);
    return status == HELIOS_OK ? background_flush_all(db) : status;
}

/* What ends a wait for the background. Under state_mu. */
static helios_status trouble_locked(struct helios_db *db)
{
    if (db->failure.status != HELIOS_OK)
        return error_tell(&db->failure);
    if (db->space_failure.status != HELIOS_OK)
        return error_tell(&db->space_failure);
    if (db->damage.status != HELIOS_OK)
        return error_tell(&db->damage);
    if (atomic_load(&db->closing))
        return fail(HELIOS_BUSY, "%s: is being closed", db->path);
    return HELIOS_OK;
}

/* A manual compaction: what it was asked, and how far it is. */
struct manual {
    const helios_compact_options *options;
    struct compact_range range;
    uint64_t before, total; /* bytes read by compactions when it began; that it will read, about */
};

/* Tells how far it is; false: the caller wants no more. Lets go of state_mu for the call-back. */
static bool tell_progress_locked(struct helios_db *db, const struct manual *m)
{
    uint64_t done = atomic_load(&db->progress.bytes_read) - m->before;
    bool more;

    if (!m->options->progress)
        return true;
    mutex_unlock(&db->state_mu);
    more = m->options->progress(m->options->arg, done < m->total ? done : m->total, m->total);
    mutex_lock(&db->state_mu);
    return more;
}

/* Steps, one after the other, until nothing in the range is left to do. */
static helios_status compact_range_locked(struct helios_db *db, const struct manual *m)
{
    helios_status status = HELIOS_OK;
    bool done = false;

    while (status == HELIOS_OK && !done) {
        struct compact_pick *pick = NULL;
        struct compact_tree tree;

        status = trouble_locked(db);
        if (status != HELIOS_OK)
            break;
        compact_tree_of(db, db->version, &tree);
        status = compact_pick_range(&tree, &m->range, &pick, &done);
        if (status == HELIOS_OK && pick && db->running_count < RUNNING_MAX)
            status = compaction_start_locked(db, pick);
        else
            compact_pick_free(pick);
        if (status == HELIOS_OK && !done) {
            condition_wait_for(&db->state_changed, &db->state_mu, PROGRESS_INTERVAL);
            if (!tell_progress_locked(db, m))
                return fail(HELIOS_BUSY, "the compaction was cancelled; what was done stays");
        }
    }
    return status;
}

static const helios_compact_options default_compact = HELIOS_COMPACT_OPTIONS_INIT;

static helios_status compact_as(helios_db *db, const helios_compact_options *given, bool rewrite)
{
    helios_compact_options options;
    struct layered lower = {0}, upper = {0};
    struct manual m = {.options = &options};
    helios_status status = options_copy(given, given ? given->size : 0, &default_compact, sizeof(options),
                                        &options, "helios_compact_options");

    if (status == HELIOS_OK)
        status = helios_flush(db);
    if (status == HELIOS_OK && options.from.data)
        status = layered_init(&lower, 0, SPACE_USER, options.from);
    if (status == HELIOS_OK && options.to.data)
        status = layered_init(&upper, 0, SPACE_USER, options.to);
    if (status == HELIOS_OK)
        status = helios_approximate_size(db, 0, options.from, options.to, &m.total);
    if (status == HELIOS_OK) {
        horizon_move(db);
        branches_settle(db, pins_oldest(db->floors)); /* the flush has synced the drops */
        mutex_lock(&db->state_mu);
        m.range =
            (struct compact_range){lower.key, upper.key, atomic_load(&db->visible), db->next_file, rewrite};
        m.before = atomic_load(&db->progress.bytes_read);
        status = compact_range_locked(db, &m);
        mutex_unlock(&db->state_mu);
    }
    layered_release(&lower);
    layered_release(&upper);
    return status;
}

helios_status helios_compact_range(helios_db *db, const helios_compact_options *given)
{
    return compact_as(db, given, false);
}

helios_status compact_rewriting(struct helios_db *db, const helios_compact_options *options)
{
    return compact_as(db, options, true);
}

helios_status helios_compact(helios_db *db, helios_slice from, helios_slice to)
{
    helios_compact_options options = HELIOS_COMPACT_OPTIONS_INIT;

    options.from = from;
    options.to = to;
    return helios_compact_range(db, &options);
}

/* ---- sizes ---- */

helios_status file_share(struct table_file *file, helios_slice from, helios_slice to, uint64_t *bytes)
{
    struct table *table;
    uint64_t begin = 0, end = file->size;
    helios_status status;

    if (slice_compare(file->largest, from) < 0 || slice_compare(file->smallest, to) >= 0)
        return HELIOS_OK;
    if (slice_compare(file->smallest, from) >= 0 && slice_compare(file->largest, to) < 0) {
        *bytes += file->size;
        return HELIOS_OK;
    }
    status = table_file_open(file, &table);
    if (status != HELIOS_OK)
        return status;
    if (slice_compare(file->smallest, from) < 0)
        begin = table_offset_of(table, from);
    if (slice_compare(file->largest, to) >= 0)
        end = table_offset_of(table, to);
    table_unref(table);
    *bytes += end > begin ? end - begin : 0;
    return HELIOS_OK;
}

helios_status helios_approximate_size(helios_db *db, helios_branch_id branch, helios_slice from,
                                      helios_slice to, uint64_t *bytes)
{
    struct layered lower = {0}, upper = {0};
    struct view *view = NULL;
    uint64_t total = 0;
    helios_status status = check_db(db);

    if (status == HELIOS_OK && !bytes)
        status = fail(HELIOS_INVALID, "no place for the size was given");
    if (status == HELIOS_OK && branch != 0)
        status = branch_readable(db, branch);
    if (status == HELIOS_OK)
        status = layered_init(&lower, branch, SPACE_USER, from.data ? from : slice_make("", 0));
    if (status == HELIOS_OK)
        status = layered_init(&upper, branch, to.data ? SPACE_USER : SPACE_USER + 1,
                              to.data ? to : slice_make("", 0));
    if (status == HELIOS_OK)
        view = view_acquire(db);
    for (size_t l = 0; l < LEVEL_COUNT && status == HELIOS_OK; l++)
        for (size_t i = 0; i < view->version->levels[l].count && status == HELIOS_OK; i++)
            status = file_share(view->version->levels[l].files[i], lower.key, upper.key, &total);
    view_unref(view);
    layered_release(&lower);
    layered_release(&upper);
    if (status == HELIOS_OK)
        *bytes = total;
    return status;
}
