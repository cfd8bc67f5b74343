/* background.c - what happens without being asked: flushes and compactions start, writers are paced, the
 * horizon moves, work that waited for space or memory is tried again. */
#include "engine/branches.h"
#include "engine/feed.h"
#include "engine/timeline.h"
#include <assert.h>
#include <inttypes.h>

enum {
    JANITOR_INTERVAL = 250000, /* us between looks while there is something to wait for */
    JANITOR_IDLE_INTERVAL = 1000000,
    REST_LEAST = 150000,   /* us without commits, until runs are merged for readers */
    REST_SPACE_PART = 4,   /* of the free space, for one such merge */
    SINK_AGE = 300000000,  /* us: what sinks beside ordinary work is older */
    IDLE_LEAST = 1000000,  /* us without commits, and the retention, until a memtable is flushed for that; */
    IDLE_LONG = 300000000, /* a small one, or where no retention tells what is old */
    IDLE_PART = 16,        /* of a memtable: less is small */
    SPACE_RESERVE_BYTES = 4 << 20, /* beyond what a flush needs, before it is tried again */
};

/* ---- scheduling ---- */

/* Ingested tables above an unflushed memtable must stay in L0, and so must those of a commit that is not visible
 * yet: an edit without them would not count the commit as flushed, and the log would ask for them. */
static helios_seq l0_limit(struct helios_db *db)
{
    helios_seq visible = atomic_load(&db->visible);
    const struct view *view = atomic_load(&db->view);
    const struct mem_slot *oldest = view->closed_count ? view->closed[view->closed_count - 1] : view->active;

    return oldest->first && oldest->first - 1 < visible ? oldest->first - 1 : visible;
}

/* With nothing new for as long as the retention the database is at rest, and sinks to its live data; else only what
 * has been left alone for a while does. */
static uint64_t sink_time_locked(struct helios_db *db, helios_seq horizon)
{
    uint64_t now = io_time(db->fs);

    if (db->options.history_retention != 0 && horizon == atomic_load(&db->latest))
        return UINT64_MAX;
    return now > SINK_AGE ? now - SINK_AGE : 0;
}

/* While a memtable waits for its flush there will soon be one run more. */
static uint64_t rest_bytes_locked(struct helios_db *db)
{
    bool rests = atomic_load(&db->latest) == db->rest_latest && atomic_load(&db->view)->closed_count == 0;

    return rests && !db->flush_running ? db->rest_bytes : 0;
}

void compact_tree_of(struct helios_db *db, struct version *version, struct compact_tree *tree)
{
    helios_seq horizon = horizon_of_jobs_locked(db);

    *tree = (struct compact_tree){
        .memtable_bytes = db->options.memtable_bytes,
        .target_file_bytes = db->target_bytes,
        .horizon = horizon,
        .aged = {timeline_keys.from, timeline_keys.to, atomic_load(&db->aged_below)},
        .sink_time = sink_time_locked(db, horizon),
        .rest_bytes = rest_bytes_locked(db),
        .limit_seq = l0_limit(db),
        .running = db->running,
        .running_count = db->running_count,
        .drops = atomic_load(&db->holds.settled),
    };
    if (tree->drops) {
        tree->branch_is_garbage = branch_is_garbage;
        tree->branch_is_garbage_arg = db;
    }
    for (size_t l = 0; l < LEVEL_COUNT; l++)
        tree->levels[l] = (struct compact_level){version->levels[l].files, version->levels[l].count};
}

static void set_pace_locked(struct helios_db *db, const struct compact_tree *tree)
{
    const struct view *view = atomic_load(&db->view);
    const struct pace_debt debt = {
        .l0_runs = (unsigned)compact_l0_runs(tree),
        .compaction_bytes = compact_debt(tree),
        .memtable_bytes = db->options.memtable_bytes,
        .unflushed = (unsigned)view->closed_count,
        .unflushed_max = VIEW_MEMTABLES_MAX,
        .active_free = db->options.memtable_bytes,
    };

    pace_ask(&db->write_pace, PACE_DEBT, pace_rate(&debt));
}

static void schedule_compactions_locked(struct helios_db *db)
{
    struct compact_tree tree;
    size_t threads = pool_threads(db->pool), most = threads > 1 ? threads - 1 : 1;

    compact_tree_of(db, db->version, &tree);
    while (db->running_count < most && db->running_count < RUNNING_MAX) {
        struct compact_pick *pick = NULL;

        tree.running_count = db->running_count;
        if (compact_pick(&tree, &pick) != HELIOS_OK || !pick)
            break; /* no memory: the janitor looks again */
        if (compaction_start_locked(db, pick) != HELIOS_OK)
            break;
    }
    set_pace_locked(db, &tree);
}

void background_schedule_locked(struct helios_db *db)
{
    if (atomic_load(&db->closing) || db->failure.status != HELIOS_OK || db->space_failure.status != HELIOS_OK ||
        !db->pool)
        return;
    if (!db->flush_running && atomic_load(&db->view)->closed_count) {
        db->flush_running = true;
        db->jobs++;
        pool_submit(db->pool, POOL_FLUSH, &db->flush_job->job);
    }
    if (!db->recovering)
        schedule_compactions_locked(db);
}

/* Space and memory come back by themselves; anything else ends writing. A cancelled job is no failure. */
static void keep_failure_locked(struct helios_db *db, helios_status status)
{
    if (status == HELIOS_NO_SPACE || status == HELIOS_NO_MEMORY) {
        if (db->space_failure.status == HELIOS_OK) {
            error_keep(&db->space_failure, status);
            atomic_store(&db->no_space, status == HELIOS_NO_SPACE);
        }
        return;
    }
    if (db->failure.status == HELIOS_OK) {
        error_keep(&db->failure, status);
        atomic_store(&db->failed, true);
        visible_wake(db);
    }
}

void background_done(struct helios_db *db, helios_status status)
{
    view_bury(db);
    if (status != HELIOS_OK && !atomic_load(&db->closing))
        event_log_say(db->events, "background work failed: %s", helios_last_error());
    mutex_lock(&db->state_mu);
    if (status != HELIOS_OK && !(status == HELIOS_BUSY && atomic_load(&db->closing)))
        keep_failure_locked(db, status);
    background_schedule_locked(db);
    assert(db->jobs > 0);
    db->jobs--;
    condition_broadcast(&db->state_changed);
    mutex_unlock(&db->state_mu);
}

/* ---- the janitor ---- */

/* Tries again what waited for space or memory, once there is some. */
static void retry_locked(struct helios_db *db)
{
    uint64_t bytes = 0;

    if (db->space_failure.status == HELIOS_OK)
        return;
    if (db->space_failure.status == HELIOS_NO_SPACE) {
        if (io_free_space(db->fs, db->path, &bytes) != HELIOS_OK || bytes < SPACE_RESERVE_BYTES)
            return;
    }
    db->space_failure.status = HELIOS_OK;
    atomic_store(&db->no_space, false);
    background_schedule_locked(db);
    condition_broadcast(&db->state_changed);
}

/* Since when nothing was committed, by the monotonic clock. */
struct rest {
    helios_seq latest;
    uint64_t since;
    bool unloaded; /* since then, of what only writers need */
    bool merging;  /* since then, whatever is worth it for readers */
};

static uint64_t time_at_rest(struct helios_db *db, struct rest *rest)
{
    uint64_t now = io_monotonic(db->fs);
    helios_seq latest = atomic_load(&db->latest);

    if (latest != rest->latest || now < rest->since)
        *rest = (struct rest){.latest = latest, .since = now};
    return now - rest->since;
}

/* Is the active memtable to be flushed because nothing is written? All of it is behind the horizon then, and what it
 * and the tables below it shadow can go; or some of it is dropped: of a branch that nobody reads. A small one is not
 * worth a table each time that there is a pause. */
static bool rests_too_long_locked(struct helios_db *db, uint64_t rest, bool dropped)
{
    const struct view *view = atomic_load(&db->view);
    uint64_t retention = db->options.history_retention, least = retention > IDLE_LEAST ? retention : IDLE_LEAST;
    bool small = memtable_used(view->active->memtable) < db->options.memtable_bytes / IDLE_PART;

    if ((retention == 0 || small) && least < IDLE_LONG)
        least = IDLE_LONG;
    if (dropped)
        least = small ? IDLE_LONG : IDLE_LEAST;
    return rest >= least && !mem_slot_empty(view->active) && view->closed_count == 0 &&
           (dropped || horizon_of_jobs_locked(db) == atomic_load(&db->latest)) &&
           db->failure.status == HELIOS_OK && db->space_failure.status == HELIOS_OK;
}

static void flush_at_rest(struct helios_db *db, struct rest *rest, bool dropped)
{
    uint64_t time = time_at_rest(db, rest);
    struct mem_slot *slot = NULL;

    mutex_lock(&db->state_mu);
    if (!db->recovering && rests_too_long_locked(db, time, dropped))
        slot = mem_slot_ref(db->active);
    mutex_unlock(&db->state_mu);
    if (!slot)
        return;
    if (memtable_switch(db, slot) != HELIOS_OK)
        rest->since = io_monotonic(db->fs); /* no memory: after another rest */
    mem_slot_unref(slot);
}

/* Memory that only writers need, for those who read: the mapping kept for the next memtable and the log's pages, as
 * much as a memtable and two segments. */
static void unload_at_rest(struct helios_db *db, struct rest *rest)
{
    if (rest->unloaded || time_at_rest(db, rest) < JANITOR_IDLE_INTERVAL / 2)
        return;
    rest->unloaded = true;
    memtable_pool_release();
    if (db->wal)
        wal_unload(db->wal);
}

/* Who comes back finds jobs as short as any out of L0, beside which writers go on. Only what is left of much free space
 * is taken: nobody has asked for this. */
static void merge_at_rest(struct helios_db *db, struct rest *rest)
{
    uint64_t space = 0;

    if (rest->merging || time_at_rest(db, rest) < REST_LEAST)
        return;
    rest->merging = true;
    if (io_free_space(db->fs, db->path, &space) != HELIOS_OK)
        space = 0;
    mutex_lock(&db->state_mu);
    db->rest_latest = rest->latest;
    db->rest_bytes = space / REST_SPACE_PART;
    mutex_unlock(&db->state_mu);
}

/* Once a second at most, however often jobs wake the janitor: it walks over all that the allocator has, and who allocates
 * meanwhile waits. */
static void give_memory_back(struct helios_db *db, uint64_t *last)
{
    uint64_t now = io_monotonic(db->fs);

    if (db->options.memory_budget == 0 || now - *last < JANITOR_IDLE_INTERVAL)
        return;
    *last = now;
    mem_trim();
}

static uint64_t janitor_interval_locked(struct helios_db *db, const struct rest *rest)
{
    if (db->space_failure.status != HELIOS_OK)
        return JANITOR_INTERVAL;
    return rest->merging ? JANITOR_IDLE_INTERVAL : REST_LEAST;
}

static void *janitor_run(void *arg)
{
    struct helios_db *db = arg;
    struct rest rest = {.merging = true}; /* who opens may soon write, or close */
    struct dropped_space dropped = {0};
    helios_seq looked = 0;
    uint64_t trimmed = 0;

    mutex_lock(&db->state_mu);
    while (!atomic_load(&db->closing)) {
        bool moves, open;

        condition_wait_for(&db->state_changed, &db->state_mu, janitor_interval_locked(db, &rest));
        if (atomic_load(&db->closing))
            break;
        retry_locked(db);
        open = !db->recovering; /* until then the log and the registry are not there yet */
        moves = db->options.history_retention != 0 && open;
        mutex_unlock(&db->state_mu);
        if (moves)
            horizon_look(db, &looked);
        if (open)
            feed_look(db);
        if (open)
            branch_space_look(db, &dropped);
        flush_at_rest(db, &rest, dropped.in_memory);
        if (open)
            unload_at_rest(db, &rest);
        if (open)
            merge_at_rest(db, &rest);
        table_home_trim(&db->home);
        view_bury(db);
        give_memory_back(db, &trimmed);
        mutex_lock(&db->state_mu);
        background_schedule_locked(db);
    }
    mutex_unlock(&db->state_mu);
    return NULL;
}

/* ---- start and stop ---- */

helios_status background_start(struct helios_db *db)
{
    unsigned threads =
        db->options.background_threads > 0 ? (unsigned)db->options.background_threads : cpu_count();
    helios_status status;

    if (threads < 2)
        threads = 2;
    if (threads > 16)
        threads = 16;
    status = pool_new(threads, &db->pool);
    if (status == HELIOS_OK)
        status = thread_start(&db->janitor, "helios-janitor", janitor_run, db);
    db->janitor_started = status == HELIOS_OK;
    return status;
}

void background_stop(struct helios_db *db)
{
    mutex_lock(&db->state_mu);
    atomic_store(&db->closing, true);
    pace_stop(&db->background_pace);
    condition_broadcast(&db->state_changed);
    while (db->jobs)
        condition_wait(&db->state_changed, &db->state_mu);
    mutex_unlock(&db->state_mu);
    if (db->janitor_started)
        thread_join(db->janitor);
    db->janitor_started = false;
    pool_free(db->pool, NULL);
    db->pool = NULL;
}

/* Until nothing is closed and unflushed, or it cannot go on. Under state_mu. */
static helios_status wait_flushed_locked(struct helios_db *db)
{
    while (atomic_load(&db->view)->closed_count) {
        if (db->failure.status != HELIOS_OK)
            return error_tell(&db->failure);
        if (db->space_failure.status != HELIOS_OK)
            return error_tell(&db->space_failure);
        if (atomic_load(&db->closing))
            return fail(HELIOS_BUSY, "%s: is being closed", db->path);
        background_schedule_locked(db);
        condition_wait_for(&db->state_changed, &db->state_mu, JANITOR_IDLE_INTERVAL);
    }
    return HELIOS_OK;
}

helios_status background_wait_flushed(struct helios_db *db)
{
    helios_status status = HELIOS_OK;

    mutex_lock(&db->state_mu);
    if (db->pool)
        status = wait_flushed_locked(db);
    while (db->flush_running)
        condition_wait(&db->state_changed, &db->state_mu);
    mutex_unlock(&db->state_mu);
    return status;
}

helios_status background_flush_all(struct helios_db *db)
{
    helios_status status = memtable_switch(db, NULL);

    return status == HELIOS_OK ? background_wait_flushed(db) : status;
}
