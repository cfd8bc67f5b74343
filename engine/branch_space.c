/* branch_space.c - what lies on branches: for helios_branch_usage_get, for the statistics, and for jobs, what dropped ones
 * still take. A table of several branches is judged by its index, so bytes are estimates to about a block. */
#include "engine/branches.h"

/* ---- in memory ---- */

static bool memtable_has_garbage(struct helios_db *db, struct memtable *memtable)
{
    unsigned char layer[KEY_LAYER_BYTES] = {0};
    const struct rangedel_set *deletes;
    struct cursor *cursor = NULL;
    bool found = false;

    epoch_enter(); /* a range delete may replace the set */
    deletes = memtable_rangedels(memtable);
    for (size_t i = 0; deletes && i < deletes->count && !found; i++)
        found = branch_is_garbage(db, key_branch(deletes->fragments[i].from));
    epoch_leave();
    if (found || memtable_cursor_new(memtable, CURSOR_ALL, &cursor) != HELIOS_OK)
        return found; /* no memory: at the next look */
    for (;;) {        /* from each branch to the next */
        cursor_seek(cursor, slice_make(layer, sizeof(layer)), TAG_MAX);
        if (!cursor->valid)
            break;
        found = branch_is_garbage(db, key_branch(cursor->key));
        if (found || key_branch(cursor->key) == UINT32_MAX)
            break;
        key_put_layer(layer, key_branch(cursor->key) + 1, 0);
    }
    cursor_free(cursor);
    return found;
}

/* ---- dropped branches ---- */

/* The part of the file that lies on garbage, run by run of neighbouring branches. */
static uint64_t measure_dropped(struct helios_db *db, struct table_file *file, helios_branch_id first,
                                helios_branch_id last)
{
    unsigned char from[KEY_LAYER_BYTES], to[KEY_LAYER_BYTES];
    uint64_t bytes = 0;

    for (helios_branch_id id = first; id <= last && !atomic_load(&db->closing); id++) {
        helios_branch_id begin = id;

        while (id <= last && branch_is_garbage(db, id))
            id++;
        if (id == begin)
            continue;
        key_put_layer(from, begin, 0);
        key_put_layer(to, id, 0);
        if (file_share(file, slice_make(from, sizeof(from)), slice_make(to, sizeof(to)), &bytes) != HELIOS_OK)
            break; /* who reads the table is told */
    }
    return bytes;
}

/* Measured once for as many drops. */
static uint64_t dropped_in(struct helios_db *db, struct table_file *file, uint64_t settled)
{
    helios_branch_id first, last;
    uint64_t bytes;

    if (file->drops_seen >= settled)
        return 0;
    if (atomic_load_explicit(&file->dropped_as_of, memory_order_acquire) == settled)
        return atomic_load(&file->dropped_bytes);
    compact_branches_of(file, &first, &last);
    bytes = measure_dropped(db, file, first, last);
    atomic_store(&file->dropped_bytes, bytes);
    atomic_store_explicit(&file->dropped_as_of, settled, memory_order_release);
    return bytes;
}

static void look_at_view(struct helios_db *db, const struct view *view, uint64_t settled,
                         struct dropped_space *space)
{
    bool closed = false;

    space->in_memory = memtable_has_garbage(db, view->active->memtable);
    for (size_t i = 0; i < view->closed_count; i++)
        closed |= memtable_has_garbage(db, view->closed[i]->memtable);
    for (size_t l = 0; l < LEVEL_COUNT; l++)
        for (size_t i = 0; i < view->version->levels[l].count; i++)
            space->bytes += dropped_in(db, view->version->levels[l].files[i], settled);
    if (space->bytes == 0 && !space->in_memory && !closed)
        atomic_store(&db->drops_gone, settled);
}

void branch_space_look(struct helios_db *db, struct dropped_space *space)
{
    uint64_t settled;
    struct view *view;

    *space = (struct dropped_space){0};
    if (!db->options.read_only)
        branches_settle(db, pins_oldest(db->floors));
    settled = atomic_load(&db->holds.settled);
    if (settled > atomic_load(&db->drops_gone)) {
        view = view_acquire(db);
        look_at_view(db, view, settled, space);
        view_unref(view);
    }
    space->branches = atomic_load(&db->holds.drops) - atomic_load(&db->drops_gone);
}

/* ---- of one branch ---- */

struct survey {
    unsigned char from[KEY_LAYER_BYTES], to[KEY_LAYER_BYTES]; /* without the system space */
    helios_branch_usage usage;
};

static void note_write(struct survey *s, helios_seq seq)
{
    if (seq > s->usage.last_write)
        s->usage.last_write = seq;
}

static helios_status survey_memtable(struct survey *s, struct memtable *memtable)
{
    helios_slice from = slice_make(s->from, sizeof(s->from)), to = slice_make(s->to, sizeof(s->to));
    const struct rangedel_set *deletes;
    struct cursor *cursor;
    helios_status status = memtable_cursor_new(memtable, CURSOR_ALL, &cursor);

    if (status != HELIOS_OK)
        return status;
    for (cursor_seek(cursor, from, TAG_MAX); cursor->valid && slice_compare(cursor->key, to) < 0;
         cursor_next(cursor)) {
        s->usage.entries++;
        s->usage.bytes += cursor->key.size + cursor->value.size;
        note_write(s, tag_seq(cursor->tag));
    }
    cursor_free(cursor);
    epoch_enter();
    deletes = memtable_rangedels(memtable);
    for (size_t i = deletes ? rangedel_find(deletes, from) : 0; deletes && i < deletes->count; i++)
        if (slice_compare(deletes->fragments[i].from, to) < 0)
            note_write(s, deletes->fragments[i].seqs[0]);
    epoch_leave();
    return HELIOS_OK;
}

static helios_status survey_file(struct survey *s, struct table_file *file)
{
    const struct table_properties *p = &file->properties;
    uint64_t bytes = 0;
    helios_status status =
        file_share(file, slice_make(s->from, sizeof(s->from)), slice_make(s->to, sizeof(s->to)), &bytes);

    s->usage.bytes += bytes;
    s->usage.entries += (uint64_t)((double)p->entries * (double)bytes / (double)file->size);
    if (bytes == file->size)
        note_write(s, file->override_seq ? file->override_seq : p->seq_max);
    return status;
}

static helios_status survey_view(struct survey *s, const struct view *view)
{
    helios_status status = survey_memtable(s, view->active->memtable);

    for (size_t i = 0; i < view->closed_count && status == HELIOS_OK; i++)
        status = survey_memtable(s, view->closed[i]->memtable);
    for (size_t l = 0; l < LEVEL_COUNT; l++)
        for (size_t i = 0; i < view->version->levels[l].count && status == HELIOS_OK; i++)
            status = survey_file(s, view->version->levels[l].files[i]);
    return status;
}

helios_status helios_branch_usage_get(helios_db *db, helios_branch_id id, helios_branch_usage *usage)
{
    struct survey s = {0};
    const struct branch *branch;
    struct view *view;
    helios_status status;

    if (!db || !usage)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the usage" : "database");
    branch = branch_at(db, id);
    if (!branch)
        return fail(HELIOS_NOT_FOUND, "no branch %u", id);
    key_put_layer(s.from, id, 0);
    key_put_layer(s.to, id, SPACE_SYSTEM);
    view = view_acquire(db);
    status = survey_view(&s, view);
    view_unref(view);
    if (status != HELIOS_OK)
        return status;
    mutex_lock(&db->registry_mu);
    s.usage.children = branch->live_children;
    mutex_unlock(&db->registry_mu);
    s.usage.handles = atomic_load(&branch->handles);
    *usage = s.usage;
    return HELIOS_OK;
}
