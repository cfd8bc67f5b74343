/* sources.c - gathers cursors and range deletes from a view. Called by iterator.c and history.c.
 *
 * Only what has anything within the bounds is asked: memtables always, of L0 each such file, of the deeper
 * levels the run of such files by one cursor. */
#include "engine/sources.h"
#include "branch/layer_cursor.h"

/* Range deletes of one source, with the gap or fragment around the last key asked about: keys come in
 * order, so that most questions are answered by two comparisons. */
struct cover {
    struct rangedel_set *set; /* counted */
    helios_seq limit;         /* the read point on the layer that is asked; SEQ_MAX: a transaction's own */
    helios_branch_id branch;  /* that layer's, where keys come without it */
    bool stripped, known;
    helios_slice from, to; /* no data: open */
    helios_seq seq;        /* newest at or below the limit in [from, to); 0: none */
};

struct gathering {
    struct sources_options options; /* of the layer that is gathered */
    bool stripped;
    struct cursor **cursors;
    size_t count, capacity;
    struct cover *covers;
    size_t cover_count, cover_capacity;
};

/* ---- gathering ---- */

static helios_status add_cursor(struct gathering *g, struct cursor *cursor)
{
    if (g->count == g->capacity) {
        size_t capacity = g->capacity ? g->capacity * 2 : 16;
        struct cursor **cursors = mem_realloc(g->cursors, capacity * sizeof(*cursors));

        if (!cursors) {
            cursor_free(cursor);
            return fail_no_memory(capacity * sizeof(*cursors));
        }
        g->cursors = cursors;
        g->capacity = capacity;
    }
    g->cursors[g->count++] = cursor;
    return HELIOS_OK;
}

static helios_status add_cover(struct gathering *g, struct rangedel_set *set)
{
    if (!set)
        return HELIOS_OK;
    if (g->cover_count == g->cover_capacity) {
        size_t capacity = g->cover_capacity ? g->cover_capacity * 2 : 8;
        struct cover *covers = mem_realloc(g->covers, capacity * sizeof(*covers));

        if (!covers)
            return fail_no_memory(capacity * sizeof(*covers));
        g->covers = covers;
        g->cover_capacity = capacity;
    }
    g->covers[g->cover_count++] = (struct cover){.set = rangedel_ref(set),
                                                 .limit = g->options.read_point,
                                                 .branch = key_branch(g->options.lower),
                                                 .stripped = g->stripped};
    return HELIOS_OK;
}

/* First of all, so that no failure can lose the cursor. */
static helios_status add_own(struct gathering *g)
{
    struct cursor *own = g->options.own;
    helios_status status;

    g->options.own = NULL; /* of the first layer only */
    status = own ? add_cursor(g, own) : HELIOS_OK;
    if (status == HELIOS_OK && g->options.own_ranges) {
        status = add_cover(g, g->options.own_ranges);
        if (status == HELIOS_OK)
            g->covers[g->cover_count - 1].limit = SEQ_MAX;
        g->options.own_ranges = NULL;
    }
    return status;
}

static helios_status add_memtable(struct gathering *g, struct memtable *memtable)
{
    struct cursor *cursor = NULL;
    helios_status status;

    /* Inside an epoch while the set is counted: an insertion may replace it. */
    epoch_enter();
    status = add_cover(g, memtable_rangedels(memtable));
    epoch_leave();
    if (status != HELIOS_OK || memtable_count(memtable) == 0)
        return status;
    status = memtable_cursor_new(memtable, g->options.read_point, &cursor);
    return status == HELIOS_OK ? add_cursor(g, cursor) : status;
}

static bool file_in_bounds(const struct gathering *g, const struct table_file *file)
{
    return slice_compare(file->largest, g->options.lower) >= 0 &&
           slice_compare(file->smallest, g->options.upper) < 0;
}

static helios_status add_file_cover(struct gathering *g, struct table_file *file)
{
    struct table *table;
    helios_status status;

    if (file->properties.range_deletes == 0 || !file_in_bounds(g, file))
        return HELIOS_OK;
    status = table_file_open(file, &table);
    return status == HELIOS_OK ? add_cover(g, table_rangedels(table)) : status;
}

static helios_status add_level(struct gathering *g, const struct level *level, size_t from, size_t count)
{
    const struct table_cursor_options options = {.read_point = g->options.read_point,
                                                 .fill_cache = g->options.fill_cache};
    struct cursor *cursor = NULL;
    helios_status status = HELIOS_OK;

    for (size_t i = from; i < from + count && status == HELIOS_OK; i++)
        status = add_file_cover(g, level->files[i]);
    if (status == HELIOS_OK)
        status = level_cursor_new(level->files + from, count, &options, &cursor);
    return status == HELIOS_OK ? add_cursor(g, cursor) : status;
}

static helios_status add_levels(struct gathering *g, const struct version *version)
{
    const struct level *l0 = &version->levels[0];
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < l0->count && status == HELIOS_OK; i++)
        if (l0->files[i]->properties.seq_min <= g->options.read_point && file_in_bounds(g, l0->files[i]))
            status = add_level(g, l0, i, 1);
    for (size_t l = 1; l < LEVEL_COUNT && status == HELIOS_OK; l++) {
        const struct level *level = &version->levels[l];
        size_t from = version_find(level, g->options.lower), end = from;

        while (end < level->count && slice_compare(level->files[end]->smallest, g->options.upper) < 0)
            end++;
        if (end > from)
            status = add_level(g, level, from, end - from);
    }
    return status;
}

/* One cursor over all of the view in the bounds. */
static helios_status merge_view(struct gathering *g, const struct view *view, struct cursor **out)
{
    helios_status status = add_own(g);

    if (status == HELIOS_OK)
        status = add_memtable(g, view->active->memtable);
    for (size_t i = 0; i < view->closed_count && status == HELIOS_OK; i++)
        status = add_memtable(g, view->closed[i]->memtable);
    if (status == HELIOS_OK)
        status = add_levels(g, view->version);
    if (status == HELIOS_OK)
        status = merge_cursor_new(g->cursors, g->count, g->options.read_point, out);
    if (status != HELIOS_OK)
        for (size_t i = 0; i < g->count; i++)
            cursor_free(g->cursors[i]);
    g->count = 0;
    return status;
}

/* ---- a branch and its ancestors ---- */

/* The bounds on another branch. */
static helios_status move_bounds(struct gathering *g, const struct sources_options *given, helios_buf bounds[2],
                                 helios_branch_id branch)
{
    helios_status status = buf_set(&bounds[0], given->lower.data, given->lower.size);

    if (status == HELIOS_OK)
        status = buf_set(&bounds[1], given->upper.data, given->upper.size);
    if (status != HELIOS_OK)
        return status;
    put_u32_be(bounds[0].data, branch);
    put_u32_be(bounds[1].data, branch);
    g->options.lower = buf_slice(&bounds[0]);
    g->options.upper = buf_slice(&bounds[1]);
    return HELIOS_OK;
}

static helios_status open_layer(struct gathering *g, const struct view *view, helios_branch_id branch,
                                struct cursor **out)
{
    struct cursor *inner = NULL;
    helios_status status = merge_view(g, view, &inner);

    if (status != HELIOS_OK)
        return status;
    status = layer_cursor_new(inner, branch, out);
    if (status != HELIOS_OK)
        cursor_free(inner);
    return status;
}

static helios_status merge_layers(struct gathering *g, const struct sources_options *given,
                                  const struct view *view, struct cursor **out)
{
    helios_buf bounds[2] = {{0}};
    struct gathering layers = {0};
    helios_status status = HELIOS_OK;

    g->stripped = true;
    for (const struct branch *b = given->branch; b && status == HELIOS_OK; b = b->up) {
        struct cursor *cursor = NULL;

        if (b != given->branch) /* the bounds name the first */
            status = move_bounds(g, given, bounds, b->id);
        if (status == HELIOS_OK)
            status = open_layer(g, view, b->id, &cursor);
        if (status == HELIOS_OK)
            status = add_cursor(&layers, cursor);
        if (b->up_seq < g->options.read_point)
            g->options.read_point = b->up_seq;
    }
    if (status == HELIOS_OK)
        status = merge_cursor_new(layers.cursors, layers.count, given->read_point, out);
    if (status != HELIOS_OK)
        for (size_t i = 0; i < layers.count; i++)
            cursor_free(layers.cursors[i]);
    mem_free(layers.cursors);
    helios_buf_free(&bounds[0]);
    helios_buf_free(&bounds[1]);
    return status;
}

helios_status sources_open(struct helios_db *db, const struct sources_options *options, struct sources *sources)
{
    struct gathering g = {.options = *options};
    struct view *view = view_acquire(db);
    helios_status status = options->branch ? merge_layers(&g, options, view, &sources->cursor)
                                           : merge_view(&g, view, &sources->cursor);

    mem_free(g.cursors);
    sources->view = view;
    sources->covers = g.covers;
    sources->cover_count = g.cover_count;
    if (status != HELIOS_OK)
        sources_close(sources);
    return status;
}

void sources_close(struct sources *sources)
{
    cursor_free(sources->cursor);
    for (size_t i = 0; i < sources->cover_count; i++)
        rangedel_unref(sources->covers[i].set);
    mem_free(sources->covers);
    helios_buf_free(&sources->place);
    view_unref(sources->view);
    *sources = (struct sources){0};
}

/* ---- what is deleted ---- */

/* A bound as callers see keys: without its branch, open if it is another branch's. */
static helios_slice cover_bound(const struct cover *cover, helios_slice key)
{
    if (!cover->stripped || !key.data)
        return key;
    if (key_branch(key) != cover->branch)
        return (helios_slice){0};
    return slice_make(slice_bytes(key) + BRANCH_BYTES, key.size - BRANCH_BYTES);
}

/* key: with its branch */
static void cover_find(struct cover *cover, helios_slice key)
{
    size_t i = rangedel_find(cover->set, key);
    const struct rangedel_fragment *f = i < cover->set->count ? &cover->set->fragments[i] : NULL;

    cover->known = true;
    cover->seq = 0;
    if (f && slice_compare(f->from, key) <= 0) {
        cover->from = cover_bound(cover, f->from);
        cover->to = cover_bound(cover, f->to);
        cover->seq = rangedel_newest(cover->set, key, cover->limit);
        return;
    }
    cover->from = i > 0 ? cover_bound(cover, cover->set->fragments[i - 1].to) : (helios_slice){0};
    cover->to = f ? cover_bound(cover, f->from) : (helios_slice){0};
}

/* The key on the cover's layer. */
static helios_status cover_key(struct sources *sources, const struct cover *cover, helios_slice *key)
{
    unsigned char branch[BRANCH_BYTES];
    helios_status status;

    if (!cover->stripped)
        return HELIOS_OK;
    put_u32_be(branch, cover->branch);
    status = buf_set(&sources->place, branch, sizeof(branch));
    if (status == HELIOS_OK)
        status = buf_append(&sources->place, key->data, key->size);
    *key = buf_slice(&sources->place);
    return status;
}

helios_status sources_cover(struct sources *sources, helios_slice key, helios_seq *seq)
{
    *seq = 0;
    for (size_t i = 0; i < sources->cover_count; i++) {
        struct cover *cover = &sources->covers[i];

        if (!cover->known || (cover->from.data && slice_compare(key, cover->from) < 0) ||
            (cover->to.data && slice_compare(key, cover->to) >= 0)) {
            helios_slice whole = key;
            helios_status status = cover_key(sources, cover, &whole);

            if (status != HELIOS_OK)
                return status;
            cover_find(cover, whole);
        }
        if (cover->seq > *seq)
            *seq = cover->seq;
    }
    return HELIOS_OK;
}

helios_seq sources_newest_delete(const struct sources *sources, helios_slice key, helios_seq limit)
{
    helios_seq newest = 0;

    for (size_t i = 0; i < sources->cover_count; i++) {
        helios_seq seq = rangedel_newest(sources->covers[i].set, key, limit);

        if (seq > newest)
            newest = seq;
    }
    return newest;
}

bool sources_deletes_on(const struct sources *sources, helios_branch_id branch)
{
    unsigned char layer[KEY_LAYER_BYTES];

    key_put_layer(layer, branch, 0);
    for (size_t i = 0; i < sources->cover_count; i++) {
        const struct rangedel_set *set = sources->covers[i].set;
        size_t first = rangedel_find(set, slice_make(layer, sizeof(layer)));

        if (first < set->count && key_branch(set->fragments[first].from) <= branch)
            return true;
    }
    return false;
}
