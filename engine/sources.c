/* sources.c - gathers cursors and range deletes from a view. Called by iterator.c, history.c and compare.c.
 *
 * Only what has anything within the bounds is asked: memtables always, of L0 each such file, of the deeper
 * levels the run of such files by one cursor. */
#include "engine/sources.h"

/* Range deletes of one source, with the gap or fragment around the last key asked about: keys come in
 * order, so that most questions are answered by two comparisons. */
struct cover {
    struct rangedel_set *set; /* counted */
    helios_seq limit;         /* the read point on the layer that is asked; SEQ_MAX: a transaction's own */
    helios_seq since;         /* of a span: what is numbered above this counts */
    helios_branch_id branch;  /* that layer's, where keys come without it */
    bool stripped, known;
    helios_slice from, to; /* no data: open */
    helios_seq seq; /* newest at or below the limit in [from, to); 0: none. Of a span: 0 if nothing follows */
};

struct gathering {
    struct sources_options options; /* of the layer that is gathered */
    helios_seq since;               /* there; 0: all counts */
    bool stripped;
    struct table_file **files; /* those of a level that count */
    size_t file_capacity;
    struct cursor **cursors;
    helios_branch_id *branches; /* on which each is gathered */
    helios_seq *newests;        /* nothing that each yields is numbered above */
    size_t count, capacity;
    struct cover *covers;
    size_t cover_count, cover_capacity;
};

/* ---- gathering ---- */

static helios_status cursors_room(struct gathering *g)
{
    size_t capacity = g->capacity ? g->capacity * 2 : 16;
    struct cursor **cursors = mem_realloc(g->cursors, capacity * sizeof(*cursors));
    helios_branch_id *branches;
    helios_seq *newests;

    if (!cursors)
        return fail_no_memory(capacity * sizeof(*cursors));
    g->cursors = cursors;
    branches = mem_realloc(g->branches, capacity * sizeof(*branches));
    if (!branches)
        return fail_no_memory(capacity * sizeof(*branches));
    g->branches = branches;
    newests = mem_realloc(g->newests, capacity * sizeof(*newests));
    if (!newests)
        return fail_no_memory(capacity * sizeof(*newests));
    g->newests = newests;
    g->capacity = capacity;
    return HELIOS_OK;
}

static helios_status add_cursor(struct gathering *g, struct cursor *cursor, helios_seq newest)
{
    helios_status status = g->count < g->capacity ? HELIOS_OK : cursors_room(g);

    if (status != HELIOS_OK) {
        cursor_free(cursor);
        return status;
    }
    g->branches[g->count] = key_branch(g->options.lower);
    g->newests[g->count] = newest;
    g->cursors[g->count++] = cursor;
    return HELIOS_OK;
}

static helios_status add_cover(struct gathering *g, struct rangedel_set *set)
{
    if (!set || set->seq_max <= g->since)
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
                                                 .since = g->since,
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
    status = own ? add_cursor(g, own, SEQ_MAX) : HELIOS_OK;
    if (status == HELIOS_OK && g->options.own_ranges) {
        status = add_cover(g, g->options.own_ranges);
        if (status == HELIOS_OK)
            g->covers[g->cover_count - 1].limit = SEQ_MAX;
        g->options.own_ranges = NULL;
    }
    return status;
}

static helios_status add_memtable(struct gathering *g, struct memtable *memtable, helios_seq newest)
{
    struct cursor *cursor = NULL;
    helios_status status;

    /* Inside an epoch while the set is counted: an insertion may replace it. */
    epoch_enter();
    status = add_cover(g, memtable_rangedels(memtable));
    epoch_leave();
    if (status != HELIOS_OK || memtable_count(memtable) == 0)
        return status;
    status = memtable_cursor_new_within(memtable, g->options.read_point, g->since, g->options.upper, &cursor);
    return status == HELIOS_OK ? add_cursor(g, cursor, newest) : status;
}

/* The numbers of one that is active still change. */
static helios_status add_closed(struct gathering *g, const struct mem_slot *slot)
{
    return slot->last > g->since ? add_memtable(g, slot->memtable, slot->last) : HELIOS_OK;
}

static bool file_in_bounds(const struct gathering *g, const struct table_file *file)
{
    return slice_compare(file->largest, g->options.lower) >= 0 &&
           slice_compare(file->smallest, g->options.upper) < 0;
}

static bool file_counts(const struct gathering *g, const struct table_file *file)
{
    return file->properties.seq_min <= g->options.read_point && file->properties.seq_max > g->since;
}

static helios_status add_file_cover(struct gathering *g, struct table_file *file)
{
    struct table *table;
    helios_status status;

    if (file->properties.range_deletes == 0 || !file_in_bounds(g, file))
        return HELIOS_OK;
    status = table_file_open(file, &table);
    if (status != HELIOS_OK)
        return status;
    status = add_cover(g, table_rangedels(table));
    table_unref(table);
    return status;
}

static helios_status add_run(struct gathering *g, struct table_file *const *files, size_t count)
{
    const struct table_cursor_options options = {.read_point = g->options.read_point,
                                                 .since = g->since,
                                                 .upper = g->options.upper,
                                                 .fill_cache = g->options.fill_cache};
    struct cursor *cursor = NULL;
    helios_seq newest = 0;
    helios_status status = HELIOS_OK;

    if (count == 0)
        return HELIOS_OK;
    for (size_t i = 0; i < count && status == HELIOS_OK; i++) {
        if (files[i]->properties.seq_max > newest)
            newest = files[i]->properties.seq_max;
        status = add_file_cover(g, files[i]);
    }
    if (status == HELIOS_OK)
        status = level_cursor_new(files, count, &options, &cursor);
    return status == HELIOS_OK ? add_cursor(g, cursor, newest) : status;
}

static helios_status files_room(struct gathering *g, size_t count)
{
    struct table_file **files;

    if (count <= g->file_capacity)
        return HELIOS_OK;
    files = mem_realloc(g->files, count * sizeof(*files));
    if (!files)
        return fail_no_memory(count * sizeof(*files));
    g->files = files;
    g->file_capacity = count;
    return HELIOS_OK;
}

/* Of a level's files from the first that reaches the bounds on, those within and that count. */
static helios_status add_level(struct gathering *g, const struct level *level)
{
    size_t from = version_find(level, g->options.lower), end = from, count = 0;
    helios_status status;

    while (end < level->count && slice_compare(level->files[end]->smallest, g->options.upper) < 0)
        end++;
    status = files_room(g, end - from);
    if (status != HELIOS_OK)
        return status;
    for (size_t i = from; i < end; i++)
        if (file_counts(g, level->files[i]))
            g->files[count++] = level->files[i];
    return add_run(g, g->files, count);
}

static helios_status add_levels(struct gathering *g, const struct version *version)
{
    const struct level *l0 = &version->levels[0];
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < l0->count && status == HELIOS_OK; i++)
        if (file_counts(g, l0->files[i]) && file_in_bounds(g, l0->files[i]))
            status = add_run(g, l0->files + i, 1);
    for (size_t l = 1; l < LEVEL_COUNT && status == HELIOS_OK; l++)
        status = add_level(g, &version->levels[l]);
    return status;
}

/* All of the view in the bounds. */
static helios_status add_view(struct gathering *g, const struct view *view)
{
    helios_status status = add_own(g);

    if (status == HELIOS_OK)
        status = add_memtable(g, view->active->memtable, SEQ_MAX);
    for (size_t i = 0; i < view->closed_count && status == HELIOS_OK; i++)
        status = add_closed(g, view->closed[i]);
    return status == HELIOS_OK ? add_levels(g, view->version) : status;
}

/* ---- layers ---- */

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

/* What is the same for all layers. */
struct layering {
    const struct sources_options *given;
    const struct view *view;
    helios_buf bounds[2]; /* on the branch whose layer is gathered */
};

static helios_status add_layer(struct gathering *g, struct layering *l, const struct span *span)
{
    helios_status status = HELIOS_OK;

    g->options.read_point = span->at;
    g->since = span->since;
    if (key_branch(g->options.lower) != span->branch)
        status = move_bounds(g, l->given, l->bounds, span->branch);
    return status == HELIOS_OK ? add_view(g, l->view) : status;
}

/* A branch and its ancestors. */
static helios_status add_overlay(struct gathering *g, struct layering *l)
{
    helios_seq at = l->given->read_point;
    helios_status status = HELIOS_OK;

    for (const struct branch *b = l->given->branch; b && status == HELIOS_OK; b = b->up) {
        const struct span span = {.branch = b->id, .at = at};

        status = add_layer(g, l, &span);
        if (b->up_seq < at)
            at = b->up_seq;
    }
    return status;
}

static helios_status add_spans(struct gathering *g, struct layering *l)
{
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < l->given->span_count && status == HELIOS_OK; i++)
        status = add_layer(g, l, &l->given->spans[i]);
    return status;
}

static helios_status gather(struct gathering *g, const struct view *view)
{
    const struct sources_options given = g->options;
    struct layering layering = {.given = &given, .view = view};
    helios_status status;

    g->stripped = given.spans || given.branch;
    if (!g->stripped)
        return add_view(g, view);
    status = given.spans ? add_spans(g, &layering) : add_overlay(g, &layering);
    helios_buf_free(&layering.bounds[0]);
    helios_buf_free(&layering.bounds[1]);
    return status;
}

/* One cursor of all that was gathered, which it takes over; one that is alone needs nothing around it. */
static helios_status merge_gathered(const struct gathering *g, helios_seq read_point, struct cursor **out)
{
    if (g->stripped)
        return merge_layers_new(g->cursors, g->branches, g->count, out);
    if (g->count != 1)
        return merge_cursor_new(g->cursors, g->count, read_point, out);
    *out = g->cursors[0];
    return HELIOS_OK;
}

helios_status sources_open(struct helios_db *db, const struct sources_options *options, struct sources *sources)
{
    struct gathering g = {.options = *options};
    struct view *view = view_acquire(db);
    helios_status status = gather(&g, view);

    if (status == HELIOS_OK)
        status = merge_gathered(&g, options->read_point, &sources->cursor);
    if (status != HELIOS_OK)
        for (size_t i = 0; i < g.count; i++)
            cursor_free(g.cursors[i]);
    mem_free(g.cursors);
    mem_free(g.branches);
    mem_free(g.files);
    sources->merged = g.stripped || g.count != 1;
    sources->newests = g.newests;
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
    mem_free(sources->newests);
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

helios_status sources_cover_piece(struct sources *sources, helios_slice key, helios_seq *seq, helios_slice *to)
{
    helios_status status = sources_cover(sources, key, seq);

    *to = (helios_slice){0};
    for (size_t i = 0; i < sources->cover_count && status == HELIOS_OK; i++) {
        helios_slice end = sources->covers[i].to;

        if (end.data && (!to->data || slice_compare(end, *to) < 0))
            *to = end;
    }
    return status;
}

helios_status sources_pass_deleted(struct sources *sources, helios_slice end, bool *far)
{
    struct cursor *c = sources->cursor;
    helios_slice to;
    helios_seq below;
    helios_status status = sources_cover_piece(sources, c->key, &below, &to);

    *far = false;
    if (status != HELIOS_OK)
        return status;
    if (!to.data || slice_compare(to, end) > 0)
        to = end;
    if (slice_compare(to, c->key) <= 0)
        return HELIOS_OK;
    if (sources->merged) {
        *far = merge_skip(c, sources->newests, below, to);
    } else if (sources->newests[0] < below) {
        cursor_seek(c, to, TAG_MAX);
        *far = true;
    }
    return HELIOS_OK;
}

/* The newest number at or below the limit; 0: none. */
static helios_seq fragment_newest(const struct rangedel_fragment *f, helios_seq limit)
{
    size_t i = 0;

    while (i < f->count && f->seqs[i] > limit)
        i++;
    return i < f->count ? f->seqs[i] : 0;
}

/* To the first fragment that counts and ends above the key; the key with its branch. */
static void cover_find_piece(struct cover *cover, helios_slice key)
{
    const struct rangedel_set *set = cover->set;
    size_t i = rangedel_find(set, key);

    cover->known = true;
    cover->seq = 0;
    for (; i < set->count && key_branch(set->fragments[i].from) <= cover->branch; i++) {
        const struct rangedel_fragment *f = &set->fragments[i];
        helios_seq newest = fragment_newest(f, cover->limit);

        if (newest <= cover->since)
            continue;
        cover->from = cover_bound(cover, f->from);
        cover->to = cover_bound(cover, f->to);
        cover->seq = newest;
        return;
    }
}

helios_status sources_deleted_piece(struct sources *sources, helios_slice key, struct deleted_piece *piece,
                                    bool *there)
{
    *there = false;
    for (size_t i = 0; i < sources->cover_count; i++) {
        struct cover *cover = &sources->covers[i];
        bool passed = cover->known && cover->seq && cover->to.data && slice_compare(cover->to, key) <= 0;

        if (!cover->known || passed) {
            helios_slice whole = key;
            helios_status status = cover_key(sources, cover, &whole);

            if (status != HELIOS_OK)
                return status;
            cover_find_piece(cover, whole);
        }
        if (cover->seq == 0 || (*there && piece->from.data == NULL) ||
            (*there && cover->from.data && slice_compare(cover->from, piece->from) >= 0))
            continue;
        *piece = (struct deleted_piece){cover->from, cover->to};
        *there = true;
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
