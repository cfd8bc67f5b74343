/* fate.c - what became of a commit: whether it survives the machine, is lost, or is not known yet. Called by
 * programs that saw a commit fail, and by the write path to note what the log refused.
 *
 * Numbers, from the old to the new:
 *   below this open's first   all that is readable was made durable by the open; the rest is lost
 *   visible                   kept once its log record is synced or its memtable is in tables
 *   handed out                on its way; lost if the log refused the record of this or an earlier one: replay stops
 *                             at a record that is not there, and nothing from there on was shown to anybody
 *   not handed out            nobody's
 * A failed fsync decides nothing: what was written may be on the disk. Only the next open knows. */
#include "engine/timeline.h"

/* Called once, when numbers and lost ranges are what they will be for this open. */
void fate_begin(struct helios_db *db)
{
    const struct manifest_state *state = &db->manifest_state;
    struct fate *fate = &db->fate;

    memcpy(fate->lost, state->lost, state->lost_count * sizeof(fate->lost[0]));
    fate->lost_count = state->lost_count;
    fate->recovered = db->first_number ? db->first_number - 1 : 0;
    if (db->options.read_only && !state->clean) /* what was replayed may be in the page cache alone */
        fate->recovered = state->flushed > state->last_synced ? state->flushed : state->last_synced;
    atomic_store(&fate->refused, UINT64_MAX);
}

void fate_refused(struct helios_db *db, helios_seq first)
{
    helios_seq now = atomic_load(&db->fate.refused);

    while (first < now && !atomic_compare_exchange_weak(&db->fate.refused, &now, first))
        ;
}

static bool in_lost_range(const struct fate *fate, helios_seq seq)
{
    for (uint32_t i = 0; i < fate->lost_count; i++)
        if (seq >= fate->lost[i].first && seq <= fate->lost[i].last)
            return true;
    return false;
}

bool fate_is_lost(const struct helios_db *db, helios_seq seq)
{
    return seq > atomic_load(&db->latest) || in_lost_range(&db->fate, seq);
}

static helios_commit_fate fate_in_flight(struct helios_db *db, helios_seq seq)
{
    bool handed_out;

    if (seq < db->first_number) /* beyond what the open found */
        return HELIOS_COMMIT_LOST;
    mutex_lock(&db->commit_mu);
    handed_out = seq < db->next;
    mutex_unlock(&db->commit_mu);
    return handed_out && seq < atomic_load(&db->fate.refused) ? HELIOS_COMMIT_UNKNOWN : HELIOS_COMMIT_LOST;
}

/* The slot whose commits the number is one of, with the commit: the one with the least last number that is not
 * below it. NULL: all are below, or all of memory is above and it is no commit's of these. */
static struct mem_slot *slot_of(const struct view *view, helios_seq seq, struct timeline_entry *entry)
{
    struct mem_slot *found = NULL;

    for (size_t i = 0; i <= view->closed_count; i++) {
        struct mem_slot *slot = i ? view->closed[i - 1] : view->active;
        struct timeline_entry candidate;

        if (!stretch_read_up(&slot->stretch, seq, &candidate, 1) || (found && candidate.last > entry->last))
            continue;
        found = slot;
        *entry = candidate;
    }
    return found && seq > entry->last - entry->count ? found : NULL;
}

static helios_commit_fate fate_in_memory(struct helios_db *db, const struct mem_slot *slot, helios_seq last)
{
    if (last <= db->fate.recovered || db->options.in_memory)
        return HELIOS_COMMIT_KEPT;
    if (!db->wal || stretch_is_unlogged(&slot->stretch, last))
        return HELIOS_COMMIT_UNKNOWN;
    return wal_durable_seq(db->wal) >= last ? HELIOS_COMMIT_KEPT : HELIOS_COMMIT_UNKNOWN;
}

/* Of what is in tables the timeline knows the commits, as far as it is kept; before that only whole ranges that were
 * lost are known. */
static helios_commit_fate fate_in_tables(struct helios_db *db, helios_seq seq)
{
    struct sources sources = {0};
    struct timeline_run run = {0};
    const struct timeline_entry *entry;
    bool found = false;
    helios_seq flushed = 0;
    helios_status status = timeline_open(db, &sources);

    if (status == HELIOS_OK) {
        flushed = sources.view->timeline_flushed;
        status = timeline_run_from(db, &sources, seq, &run, &found);
    }
    sources_close(&sources);
    if (status != HELIOS_OK)
        return HELIOS_COMMIT_UNKNOWN;
    if (!found)
        return seq <= flushed ? HELIOS_COMMIT_KEPT : HELIOS_COMMIT_LOST;
    if (seq <= run.before)
        return HELIOS_COMMIT_KEPT;
    entry = &run.entries[timeline_count_seq(&run, seq - 1)];
    return seq > entry->last - entry->count ? HELIOS_COMMIT_KEPT : HELIOS_COMMIT_LOST;
}

/* The view is loaded after the visible number: a commit that is not in its memtables is in tables then. */
static helios_commit_fate fate_visible(struct helios_db *db, helios_seq seq)
{
    helios_commit_fate fate = HELIOS_COMMIT_LOST;
    struct view *view = view_acquire(db);
    struct timeline_entry entry = {0};
    struct mem_slot *slot = slot_of(view, seq, &entry);

    if (slot)
        fate = fate_in_memory(db, slot, entry.last);
    view_unref(view);
    if (slot || in_lost_range(&db->fate, seq))
        return fate;
    return fate_in_tables(db, seq);
}

helios_commit_fate helios_commit_state(helios_db *db, helios_seq seq)
{
    if (!db || seq == 0)
        return HELIOS_COMMIT_LOST;
    return seq > atomic_load(&db->visible) ? fate_in_flight(db, seq) : fate_visible(db, seq);
}
