/* install.c - changes of the tree: durable in the manifest first, then shown in a new view. One at a
 * time under manifest_mu. Called by flushes, compactions, ingest, recovery and close. */
#include "engine/engine_internal.h"
#include <assert.h>

#define CEILING_STEP ((helios_seq)1 << 24)

uint64_t file_number_take(void *arg)
{
    struct helios_db *db = arg;
    uint64_t number;

    mutex_lock(&db->state_mu);
    number = db->next_file++;
    mutex_unlock(&db->state_mu);
    return number;
}

helios_status changes_add_results(struct helios_db *db, const struct compact_result *result, uint32_t level,
                                  struct collected collected, struct version_change *out)
{
    for (size_t i = 0; i < result->count; i++) {
        const struct table_result *table = &result->tables[i];
        helios_status status;

        status = table_file_new(&db->home, table->number, table->size, 0, table->smallest, table->largest,
                                table->largest_exclusive, &table->properties, &out[i].file);
        if (status != HELIOS_OK) {
            while (i-- > 0)
                table_file_unref(out[i].file);
            return status;
        }
        out[i].file->collected = collected.horizon;
        out[i].file->drops_seen = collected.drops;
        out[i].level = level;
        out[i].remove = false;
    }
    return HELIOS_OK;
}

/* Every number below the oldest memtable that remains is in tables, once it is visible. */
static helios_seq flushed_without(struct helios_db *db, const struct view *view, const struct mem_slot *flushed)
{
    const struct mem_slot *oldest = view->active;
    helios_seq visible = atomic_load(&db->visible);

    for (size_t i = 0; i < view->closed_count; i++)
        if (view->closed[i] != flushed)
            oldest = view->closed[i]; /* newest first */
    return oldest->first - 1 < visible ? oldest->first - 1 : visible;
}

/* The oldest segment that the remaining memtables need. */
static uint64_t log_floor_without(const struct view *view, const struct mem_slot *flushed)
{
    uint64_t floor = view->active->log_segment;

    for (size_t i = 0; i < view->closed_count; i++)
        if (view->closed[i] != flushed && view->closed[i]->log_segment < floor)
            floor = view->closed[i]->log_segment;
    return floor;
}

/* The state as it will be with this edit. */
static void next_state(struct helios_db *db, const struct mem_slot *flushed, struct manifest_state *state)
{
    struct timeline_entry first, last;
    struct view *view;

    *state = db->manifest_state;
    mutex_lock(&db->state_mu);
    view = atomic_load(&db->view);
    if (state->next_file > db->next_file)
        db->next_file = state->next_file;
    state->next_file = db->next_file;
    if (view) {
        helios_seq in_tables = flushed_without(db, view, flushed);

        /* Until the log is open its end may still move into another segment. */
        if (!db->recovering || db->wal)
            state->log_floor = log_floor_without(view, flushed);
        if (in_tables > state->flushed)
            state->flushed = in_tables;
    }
    if (flushed && stretch_ends(&flushed->stretch, &first, &last))
        state->timeline_flushed = last.last;
    mutex_unlock(&db->state_mu);
    mutex_lock(&db->commit_mu);
    if (state->ceiling < db->next + CEILING_STEP / 2)
        state->ceiling = db->next + CEILING_STEP;
    state->clock = db->last_time;
    mutex_unlock(&db->commit_mu);
    if (db->wal) {
        state->last_synced = wal_durable_seq(db->wal);
        state->log_synced = wal_durable(db->wal);
    }
    state->horizon = atomic_load(&db->horizon);
    state->time = io_time(db->fs);
    state->last = atomic_load(&db->visible);
    state->clean = false;
    state->clean_end = 0;
    state->feed_first = db->feed.mark;
    state->feed_segment = db->feed.segment;
    state->drops_settled = atomic_load(&db->holds.through);
    state->user_bytes = atomic_load_explicit(&db->user_bytes, memory_order_relaxed);
}

/* Files that no version has any more are unlinked with their last reference. */
static void mark_dropped(const struct version_change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool moved = false;

        for (size_t j = 0; j < count && changes[i].remove; j++)
            moved |= !changes[j].remove && changes[j].file->number == changes[i].file->number;
        if (changes[i].remove && !moved)
            atomic_store(&changes[i].file->dropped, true);
    }
}

/* Shows the version, without the flushed memtable. Cannot fail: the view was allocated before. */
static struct view *show_locked(struct helios_db *db, struct view *view, struct version *version,
                                const struct mem_slot *flushed)
{
    struct view *now = atomic_load(&db->view);
    struct mem_slot *closed[VIEW_MEMTABLES_MAX];
    size_t count = 0;

    for (size_t i = 0; i < now->closed_count; i++)
        if (now->closed[i] != flushed)
            closed[count++] = now->closed[i];
    view_fill(view, now->active, closed, count, version);
    view_install_locked(db, view);
    return now;
}

/* Replaces the version and the view by what the edit says. */
static void show(struct helios_db *db, struct view **fresh, struct version **version, struct mem_slot *flushed,
                 const struct version_change *changes, size_t count, struct view **old)
{
    struct version *before;

    mutex_lock(&db->state_mu);
    before = db->version;
    db->version = *version;
    *version = before;
    db->timeline_flushed = db->manifest_state.timeline_flushed;
    if (atomic_load(&db->view)) {
        *old = show_locked(db, *fresh, db->version, flushed);
        *fresh = NULL;
    }
    mark_dropped(changes, count);
    condition_broadcast(&db->state_changed);
    mutex_unlock(&db->state_mu);
}

static helios_status write_edit(struct helios_db *db, const struct version_change *changes, size_t count,
                                const struct mem_slot *flushed, const struct version *version, bool clean,
                                wal_pos end)
{
    struct manifest_state state;
    helios_status status;

    next_state(db, flushed, &state);
    state.clean = clean;
    state.clean_end = end;
    if (clean) /* nobody writes any more */
        state.ceiling = db->next - 1;
    status = manifest_append(db->manifest, &state, changes, count, version);
    mutex_lock(&db->state_mu);
    if (state.next_file > db->next_file) /* a new manifest took a number */
        db->next_file = state.next_file;
    mutex_unlock(&db->state_mu);
    if (status != HELIOS_OK)
        return status;
    db->manifest_state = state;
    mutex_lock(&db->commit_mu);
    db->ceiling = state.ceiling;
    mutex_unlock(&db->commit_mu);
    return HELIOS_OK;
}

static helios_status install(struct helios_db *db, const struct version_change *changes, size_t count,
                             struct mem_slot *flushed, bool logged)
{
    struct version *version = NULL; /* the new one; after show() the one before */
    struct view *fresh, *old = NULL;
    helios_status status = HELIOS_OK;

    mutex_lock(&db->manifest_mu);
    fresh = view_alloc(db);
    if (!fresh)
        status = HELIOS_NO_MEMORY;
    /* What the edit lets go of in the log, and what it says is in tables, must not outlive the log. */
    if (status == HELIOS_OK && flushed && db->wal)
        status = wal_sync(db->wal, wal_published(db->wal), UINT64_MAX);
    if (status == HELIOS_OK)
        status = version_apply(db->version, changes, count, &version);
    if (status == HELIOS_OK) {
        /* Read-only, the replay shows the tables that the log names, and that is all. */
        if (!db->options.read_only)
            status = write_edit(db, changes, count, flushed, version, false, 0);
        if (status != HELIOS_OK && logged) {
            event_log_say(db->events, "the manifest could not be written, the log keeps what was ingested: %s",
                          helios_last_error());
            status = HELIOS_OK;
        }
        if (status == HELIOS_OK)
            show(db, &fresh, &version, flushed, changes, count, &old);
    }
    if (status == HELIOS_OK && db->wal)
        wal_release(db->wal, db->manifest_state.log_floor);
    mutex_unlock(&db->manifest_mu);
    view_retire(old);
    version_unref(version);
    mem_free(fresh);
    return status;
}

helios_status tree_install(struct helios_db *db, const struct version_change *changes, size_t count,
                           struct mem_slot *flushed)
{
    return install(db, changes, count, flushed, false);
}

helios_status tree_install_logged(struct helios_db *db, const struct version_change *changes, size_t count)
{
    return install(db, changes, count, NULL, true);
}

void tables_discard(struct helios_db *db, struct compact_result *result)
{
    struct error_note note = {0};
    bool doubt;

    error_keep(&note, HELIOS_IO);
    mutex_lock(&db->manifest_mu);
    doubt = manifest_in_doubt(db->manifest);
    mutex_unlock(&db->manifest_mu);
    if (doubt)
        compact_result_release(result);
    else
        compact_result_discard(result, &db->home);
    (void)!error_tell(&note);
}

helios_status tree_mark_clean(struct helios_db *db, wal_pos end)
{
    helios_status status;

    mutex_lock(&db->manifest_mu);
    status = write_edit(db, NULL, 0, NULL, db->version, true, end);
    mutex_unlock(&db->manifest_mu);
    return status;
}
