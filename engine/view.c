/* view.c - views: what a reader reads, replaced whole; and the slots that hold memtables.
 * Readers see a view inside an epoch or hold a count on it. */
#include "engine/engine_internal.h"
#include <assert.h>

struct view *view_now(struct helios_db *db)
{
    return atomic_load_explicit(&db->view, memory_order_acquire);
}

struct view *view_ref(struct view *view)
{
    atomic_fetch_add_explicit(&view->refs, 1, memory_order_relaxed);
    return view;
}

struct view *view_acquire(struct helios_db *db)
{
    struct view *view;

    epoch_enter();
    view = view_ref(view_now(db));
    epoch_leave();
    return view;
}

/* With the last view of a table go its blocks in the cache and its file: tenths of a second, for which no reader is to
 * pay who happened to be the last. Views wait here for a job or the janitor. */
void view_unref(struct view *view)
{
    struct helios_db *db;

    if (!view || atomic_fetch_sub_explicit(&view->refs, 1, memory_order_acq_rel) != 1)
        return;
    db = view->db;
    view->next_dead = atomic_load_explicit(&db->dead_views, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&db->dead_views, &view->next_dead, view, memory_order_release,
                                                  memory_order_relaxed))
        ;
    condition_broadcast(&db->state_changed); /* unlocked: a janitor that misses it looks soon anyhow */
}

static void view_free(struct view *view)
{
    mem_slot_unref(view->active);
    for (size_t i = 0; i < view->closed_count; i++)
        mem_slot_unref(view->closed[i]);
    version_unref(view->version);
    mem_free(view);
}

void view_bury(struct helios_db *db)
{
    struct view *view = atomic_exchange_explicit(&db->dead_views, NULL, memory_order_acquire), *next;

    for (; view; view = next) {
        next = view->next_dead;
        view_free(view);
    }
}

/* Numbers of ingested tables may lie above those of a memtable that is not flushed yet. */
helios_seq view_newest_ingested(const struct view *view)
{
    const struct mem_slot *oldest = view->closed_count ? view->closed[view->closed_count - 1] : view->active;

    return view->version->seq_max >= oldest->first ? view->version->seq_max : 0;
}

struct view *view_alloc(struct helios_db *db)
{
    struct view *view = mem_zalloc(sizeof(*view));

    if (view)
        view->db = db;
    else
        (void)!fail_no_memory(sizeof(*view));
    return view;
}

void view_fill(struct view *view, struct mem_slot *active, struct mem_slot *const *closed, size_t closed_count,
               struct version *version)
{
    assert(closed_count <= VIEW_MEMTABLES_MAX);
    atomic_init(&view->refs, 1);
    view->active = mem_slot_ref(active);
    view->closed_count = closed_count;
    for (size_t i = 0; i < closed_count; i++)
        view->closed[i] = mem_slot_ref(closed[i]);
    view->version = version_ref(version);
    view->ingested = view_newest_ingested(view);
}

void view_install_locked(struct helios_db *db, struct view *view)
{
    view->generation = atomic_load_explicit(&db->generation, memory_order_relaxed) + 1;
    view->timeline_flushed = db->timeline_flushed;
    atomic_store_explicit(&db->view, view, memory_order_seq_cst);
    atomic_store_explicit(&db->generation, view->generation, memory_order_release);
}

static void release_view(struct epoch_item *item)
{
    view_unref((struct view *)((char *)item - offsetof(struct view, item)));
}

void view_retire(struct view *old)
{
    if (old)
        epoch_retire(&old->item, release_view);
}

/* ---- memtable slots ---- */

helios_status mem_slot_new(struct helios_db *db, helios_slice shared, struct mem_slot **out)
{
    struct mem_slot *slot = mem_zalloc(sizeof(*slot));
    helios_status status;

    if (!slot)
        return fail_no_memory(sizeof(*slot));
    status = memtable_new(db->memtable_least > db->options.memtable_bytes ? db->memtable_least
                                                                          : db->options.memtable_bytes,
                          shared, &slot->memtable);
    if (status != HELIOS_OK) {
        mem_free(slot);
        return status;
    }
    atomic_init(&slot->refs, 1);
    stretch_init(&slot->stretch);
    *out = slot;
    return HELIOS_OK;
}

struct mem_slot *mem_slot_ref(struct mem_slot *slot)
{
    atomic_fetch_add_explicit(&slot->refs, 1, memory_order_relaxed);
    return slot;
}

void mem_slot_unref(struct mem_slot *slot)
{
    if (!slot || atomic_fetch_sub_explicit(&slot->refs, 1, memory_order_acq_rel) != 1)
        return;
    memtable_unref(slot->memtable);
    stretch_release(&slot->stretch);
    mem_free(slot);
}

bool mem_slot_empty(const struct mem_slot *slot)
{
    return memtable_empty(slot->memtable) && stretch_empty(&slot->stretch);
}

/* ---- switching ---- */

enum { CLOSED_MAX = 1 /* memtables waiting for their flush before writers wait too */ };

/* Makes the active memtable a closed one and `fresh` the active one. Under state_mu. */
static helios_status switch_locked(struct helios_db *db, struct mem_slot *fresh, struct view **old)
{
    struct mem_slot *closed[VIEW_MEMTABLES_MAX];
    struct view *now = atomic_load(&db->view), *view = NULL;
    struct mem_slot *active = now->active;

    if (now->closed_count == VIEW_MEMTABLES_MAX)
        return fail(HELIOS_LIMIT, "%s: %d memtables wait to be flushed", db->path, VIEW_MEMTABLES_MAX);
    view = view_alloc(db);
    if (!view)
        return HELIOS_NO_MEMORY;
    closed[0] = active;
    for (size_t i = 0; i < now->closed_count; i++)
        closed[i + 1] = now->closed[i];
    view_fill(view, fresh, closed, now->closed_count + 1, now->version);
    mutex_lock(&db->commit_mu);
    active->last = db->next - 1;
    fresh->first = db->next;
    fresh->log_segment = db->wal ? wal_segment_now(db->wal) : db->replay_segment;
    view->ingested = view_newest_ingested(view);
    db->active = fresh;
    view_install_locked(db, view);
    mutex_unlock(&db->commit_mu);
    *old = now;
    return HELIOS_OK;
}

helios_status view_wait_for_room(struct helios_db *db, const struct mem_slot *expected)
{
    uint64_t began = io_monotonic(db->fs);
    bool waited = false;

    while (db->pool && atomic_load(&db->view)->closed_count >= CLOSED_MAX && db->active == expected) {
        helios_status status = HELIOS_OK;

        if (db->failure.status != HELIOS_OK)
            status = fail_context(error_tell(&db->failure), "%s: writes are refused after", db->path);
        else if (db->space_failure.status != HELIOS_OK)
            status = error_tell(&db->space_failure);
        else if (atomic_load(&db->closing))
            status = fail(HELIOS_BUSY, "%s: is being closed", db->path);
        if (status != HELIOS_OK)
            return status;
        background_schedule_locked(db);
        waited = true;
        condition_wait_for(&db->state_changed, &db->state_mu, 1000000);
    }
    if (waited) {
        atomic_fetch_add_explicit(&db->stall_time, io_monotonic(db->fs) - began, memory_order_relaxed);
        atomic_fetch_add_explicit(&db->stall_count, 1, memory_order_relaxed);
    }
    return HELIOS_OK;
}

helios_status memtable_switch(struct helios_db *db, struct mem_slot *expected)
{
    unsigned char shared[KEY_BYTES_MAX > 256 ? 256 : KEY_BYTES_MAX];
    struct mem_slot *fresh = NULL;
    struct view *old = NULL;
    helios_status status;

    mutex_lock(&db->state_mu);
    if (!expected)
        expected = db->active;
    status = view_wait_for_room(db, expected);
    if (status == HELIOS_OK && db->active == expected &&
        (!mem_slot_empty(expected) || memtable_full(expected->memtable) || db->memtable_least)) {
        size_t size = memtable_common_prefix(expected->memtable, shared, sizeof(shared));

        epoch_collect(); /* a memtable that was flushed meanwhile leaves its mapping to the new one */
        status = mem_slot_new(db, slice_make(shared, size), &fresh);
        if (status == HELIOS_OK)
            status = switch_locked(db, fresh, &old);
        if (status == HELIOS_OK)
            background_schedule_locked(db);
    }
    mutex_unlock(&db->state_mu);
    view_retire(old);
    mem_slot_unref(fresh); /* the view has its own count */
    return status;
}
