/* read.c - point reads: get and multi_get.
 *
 * The fast way runs inside an epoch and does no I/O: view, then visible number, memtables, cached blocks.
 * If it would have to read, it counts the view, leaves the epoch and starts over the slow way. */
#include "engine/read.h"
#include "engine/branches.h"
#include "engine/layers.h"
#include <assert.h>
#include <inttypes.h>

static const helios_read_options default_read = HELIOS_READ_OPTIONS_INIT;

helios_status read_options(struct helios_db *db, const helios_read_options *given, helios_read_options *out)
{
    helios_status status =
        options_copy(given, given ? given->size : 0, &default_read, sizeof(*out), out, "helios_read_options");

    if (status == HELIOS_OK && out->branch != 0)
        status = branch_readable(db, out->branch);
    return status;
}

helios_status fail_history_gone(struct helios_db *db, helios_seq seq)
{
    return fail(HELIOS_HISTORY_GONE,
                "the read point %" PRIu64 " is below the horizon %" PRIu64 "; keep more history"
                " (history_retention) or pin points with snapshots or tags",
                seq, (uint64_t)atomic_load(&db->horizon));
}

helios_status read_point_of(struct helios_db *db, const helios_read_options *options, struct read_point *point)
{
    helios_seq visible;

    *point = (struct read_point){0};
    if (options->snapshot) {
        if (options->snapshot->db != db)
            return fail(HELIOS_INVALID, "the snapshot belongs to another database");
        point->seq = options->snapshot->seq;
        point->pinned = true;
    } else if (options->at == 0) {
        point->latest = true;
    } else if (options->at != HELIOS_SEQ_NONE) {
        visible = atomic_load(&db->visible);
        if (options->at > visible && options->at > atomic_load(&db->latest))
            return fail(HELIOS_INVALID, "the read point %" PRIu64 " is above the last commit %" PRIu64,
                        options->at, visible);
        point->seq = options->at;
    } else {
        point->pinned = true; /* before the first commit: nothing to keep */
    }
    return HELIOS_OK;
}

/* A branch, of which a tag or a fork may pin a point. */
struct named_branch {
    struct helios_db *db;
    helios_branch_id branch;
};

static bool is_named(void *arg, helios_seq seq)
{
    const struct named_branch *named = arg;

    return tags_hold(&named->db->tags, named->branch, seq) || branch_holds_point(named->db, named->branch, seq);
}

helios_status read_point_pin(struct helios_db *db, const helios_read_options *options, helios_pin_kind kind,
                             pin_id *pin, helios_seq *seq)
{
    const struct pin_owner owner = pin_owner_now(db, kind);
    struct named_branch named = {db, options->branch};
    struct read_point point;
    helios_status status = read_point_of(db, options, &point);

    *pin = 0;
    if (status != HELIOS_OK)
        return status;
    *seq = point.seq;
    if (point.latest)
        return pins_acquire_latest(db->pins, &owner, &db->latest, &db->horizon, pin, seq);
    if (point.pinned && !options->snapshot)
        return HELIOS_OK;
    if (options->snapshot)
        return options->snapshot->pin ? pins_acquire_same(db->pins, &owner, options->snapshot->pin, pin)
                                      : HELIOS_OK;
    status = pins_acquire_at(db->pins, &owner, point.seq, &db->horizon,
                             kind == HELIOS_PIN_SNAPSHOT ? NULL : is_named, &named, pin);
    return status == HELIOS_HISTORY_GONE ? fail_history_gone(db, point.seq) : status;
}

helios_status layered_init(struct layered *l, helios_branch_id branch, uint8_t space, helios_slice key)
{
    unsigned char *at = l->small;

    l->large = NULL;
    if (key.size + KEY_LAYER_BYTES > sizeof(l->small)) {
        at = l->large = mem_alloc(key.size + KEY_LAYER_BYTES);
        if (!at)
            return fail_no_memory(key.size + KEY_LAYER_BYTES);
    }
    key_put_layer(at, branch, space);
    if (key.size)
        memcpy(at + KEY_LAYER_BYTES, key.data, key.size);
    l->key = slice_make(at, key.size + KEY_LAYER_BYTES);
    return HELIOS_OK;
}

/* ---- the look-up ---- */

/* The newest version of a key at or below a number, over all sources; and the newest range delete. On a branch,
 * layer by layer towards the root, until one has something. */
struct lookup {
    helios_slice key;            /* the caller's bytes; their branch becomes the layer's that is asked */
    const struct branch *branch; /* where the look-up begins; NULL: main */
    helios_seq point;            /* the read point there */
    uint64_t hash;
    helios_seq seq; /* the read point on the layer that is asked */
    bool may_read, fill_cache;
    bool placed;                /* places are the key's on this layer: */
    size_t places[LEVEL_COUNT]; /* of each deeper level, the first file that does not end before it */
    /* found */
    uint64_t tag; /* 0: none yet */
    helios_slice value;
    helios_seq cover;    /* the newest range delete over the key at or below seq; 0: none */
    struct frame *frame; /* counted, if may_read */
    struct table *table; /* of a large value; counted, if may_read */
    bool large;
    struct block_handle large_at;
    helios_status status;
    struct newest *newest; /* asked for; NULL: the value alone is */
};

static void cover_by(struct lookup *l, const struct rangedel_set *set)
{
    helios_seq seq = rangedel_newest(set, l->key, l->seq);

    if (seq > l->cover)
        l->cover = seq;
}

/* The set may be replaced at any moment: only an epoch keeps the old one. */
static void cover_by_memtable(struct lookup *l, const struct memtable *memtable)
{
    const struct rangedel_set *set;

    epoch_enter();
    set = memtable_rangedels(memtable);
    if (set)
        cover_by(l, set);
    epoch_leave();
}

/* False: nothing older can matter. */
static bool look_in_memtable(struct lookup *l, const struct memtable *memtable)
{
    if (!memtable_may_hold_layer(memtable, slice_bytes(l->key)))
        return true;
    if (memtable_rangedels(memtable))
        cover_by_memtable(l, memtable);
    return !memtable_get(memtable, l->key, l->hash, l->seq, &l->tag, &l->value) && l->cover == 0;
}

static void take_hit(struct lookup *l, struct table *table, const struct table_hit *hit)
{
    if (hit->tag <= l->tag) {
        frame_unref(hit->frame);
        return;
    }
    frame_unref(l->frame);
    if (l->may_read) {
        table_unref(l->table);
        table_ref(table);
    }
    l->tag = hit->tag;
    l->value = hit->value;
    l->frame = hit->frame;
    l->table = table;
    l->large = hit->large;
    l->large_at = hit->large_at;
}

enum looked { LOOK_ON, LOOK_ENOUGH, LOOK_WOULD_READ, LOOK_FAILED };

static enum looked look_in_table(struct lookup *l, const struct table_file *file, struct table *table)
{
    struct table_hit hit = {0};

    if (file->properties.range_deletes)
        cover_by(l, table_rangedels(table));
    switch (table_get(table, l->key, l->hash, l->seq, l->may_read, l->fill_cache, &hit)) {
    case TABLE_ABSENT: break;
    case TABLE_FOUND: take_hit(l, table, &hit); break;
    case TABLE_WOULD_READ: return LOOK_WOULD_READ;
    default: l->status = hit.status; return LOOK_FAILED;
    }
    return l->tag || l->cover ? LOOK_ENOUGH : LOOK_ON;
}

/* Outside any epoch: the table is counted. */
static enum looked look_in_file_slowly(struct lookup *l, struct table_file *file)
{
    struct table *table;
    enum looked looked;

    l->status = table_file_open(file, &table);
    if (l->status != HELIOS_OK)
        return LOOK_FAILED;
    looked = look_in_table(l, file, table);
    table_unref(table);
    return looked;
}

static enum looked look_in_file(struct lookup *l, struct table_file *file)
{
    struct table *table;

    if (l->may_read)
        return look_in_file_slowly(l, file);
    table = table_file_peek(file);
    return table ? look_in_table(l, file, table) : LOOK_WOULD_READ;
}

bool file_holds(const struct table_file *file, helios_slice key)
{
    int order;

    if (slice_compare(file->smallest, key) > 0)
        return false;
    order = slice_compare(file->largest, key);
    return order > 0 || (order == 0 && !file->largest_exclusive);
}

/* False is certain: neither a version of the key nor a range delete is in the file. Its filter is at hand when bounds,
 * which are two comparisons away, are not. */
static bool file_may_matter(const struct lookup *l, struct table_file *file)
{
    const struct table *table = l->may_read ? NULL : table_file_peek(file);

    return !table || file->properties.range_deletes || table_may_hold(table, l->hash);
}

/* L0, newest first; a file that is older than what was found cannot matter. */
static enum looked look_in_l0(struct lookup *l, const struct level *level)
{
    for (size_t i = 0; i < level->count; i++) {
        struct table_file *file = level->files[i];
        enum looked looked;

        if (file->properties.seq_max <= tag_seq(l->tag) || file->properties.seq_max < l->cover)
            break;
        if (!file_may_matter(l, file) || !file_holds(file, l->key))
            continue;
        looked = look_in_file(l, file);
        if (looked == LOOK_WOULD_READ || looked == LOOK_FAILED)
            return looked;
    }
    return l->tag || l->cover ? LOOK_ENOUGH : LOOK_ON;
}

/* One level below L0: the file whose bounds hold the key; two or more only if it splits the key. */
static enum looked look_in_level(struct lookup *l, const struct level *level, size_t first)
{
    for (size_t i = first; i < level->count; i++) {
        enum looked looked;

        /* No file from the first on ends before the key. */
        if (slice_compare(level->files[i]->smallest, l->key) > 0)
            return LOOK_ON;
        looked = look_in_file(l, level->files[i]);
        if (looked != LOOK_ON)
            return looked;
    }
    return LOOK_ON;
}

/* Fetches the line of each filter that may be asked about the key, so that they are waited for together, and keeps
 * the places that this takes. */
static void fetch_filters(struct lookup *l, const struct view *view)
{
    const struct level *levels = view->version->levels;
    const struct table *table;

    memtable_prefetch(view->active->memtable, l->hash);
    for (size_t i = 0; i < view->closed_count; i++)
        memtable_prefetch(view->closed[i]->memtable, l->hash);
    for (size_t i = 0; i < levels[0].count; i++)
        if ((table = table_file_peek(levels[0].files[i])) != NULL)
            table_prefetch(table, l->hash);
    for (size_t n = 1; n < LEVEL_COUNT; n++) {
        size_t i = l->places[n] = version_find(&levels[n], l->key);

        if (i < levels[n].count && (table = table_file_peek(levels[n].files[i])) != NULL)
            table_prefetch(table, l->hash);
    }
    l->placed = true;
}

static enum looked look_up(struct lookup *l, const struct view *view)
{
    bool more = look_in_memtable(l, view->active->memtable);
    const struct level *levels = view->version->levels;
    enum looked looked;

    for (size_t i = 0; i < view->closed_count && more; i++)
        more = look_in_memtable(l, view->closed[i]->memtable);
    /* Memtables are newer than tables, but for an ingested one above a memtable. */
    if (!more && view->ingested <= tag_seq(l->tag))
        return LOOK_ENOUGH;
    if (!more && view->ingested == 0)
        return LOOK_ENOUGH;
    looked = look_in_l0(l, &levels[0]);
    for (size_t i = 1; i < LEVEL_COUNT && looked == LOOK_ON; i++)
        if (levels[i].count)
            looked = look_in_level(l, &levels[i], l->placed ? l->places[i] : version_find(&levels[i], l->key));
    return looked;
}

static enum looked look_up_layer(struct lookup *l, const struct view *view, const struct layer *layer)
{
    put_u32_be((void *)l->key.data, layer->branch);
    l->hash = layer->hash;
    l->seq = layer->seq;
    return look_up(l, view);
}

/* The next layers towards the root that can hold anything that shows through. The root's is looked at in any case. */
static size_t next_layers(const struct branch **branch, helios_seq *seq, struct layer layers[LAYERS_AT_ONCE])
{
    size_t count = 0;

    for (; *branch && count < LAYERS_AT_ONCE; *branch = (*branch)->up) {
        if (atomic_load_explicit(&(*branch)->first_write, memory_order_acquire))
            layers[count++] = (struct layer){.branch = (*branch)->id, .seq = *seq, .may_hold = !(*branch)->up};
        if ((*branch)->up_seq < *seq)
            *seq = (*branch)->up_seq;
    }
    return count;
}

/* The branch's layer, then the nearest ancestor's that can show through, and so on. Most layers have nothing of most
 * keys: the filters of a handful are asked before the first is looked at. */
static enum looked look_up_layers(struct lookup *l, const struct view *view)
{
    struct layer layers[LAYERS_AT_ONCE];
    struct key_hasher hasher;
    const struct branch *branch = l->branch;
    helios_seq seq = l->point;
    enum looked looked = LOOK_ON;
    size_t count;

    if (!branch) {
        l->seq = l->point;
        if (!l->may_read)
            fetch_filters(l, view);
        return look_up(l, view);
    }
    key_hasher_init(&hasher, l->key);
    while (looked == LOOK_ON) {
        count = next_layers(&branch, &seq, layers);
        if (count == 0)
            break;
        epoch_enter(); /* also where it reads: tables are only looked at */
        layers_ask(view, l->key, &hasher, layers, count);
        epoch_leave();
        for (size_t i = 0; i < count && looked == LOOK_ON; i++)
            if (layers[i].may_hold)
                looked = look_up_layer(l, view, &layers[i]);
    }
    return looked;
}

/* What the look-up found, into the caller's buffer. */
static helios_status deliver(const struct lookup *l, helios_buf *value)
{
    if (l->newest) {
        l->newest->seq = l->cover > tag_seq(l->tag) ? l->cover : tag_seq(l->tag);
        l->newest->present = l->tag && tag_kind(l->tag) != KIND_TOMBSTONE && l->cover <= tag_seq(l->tag);
        if (!l->newest->present || !value)
            return HELIOS_OK;
    }
    if (l->tag == 0 || tag_kind(l->tag) == KIND_TOMBSTONE || l->cover > tag_seq(l->tag))
        return fail_fixed(HELIOS_NOT_FOUND, "no such key");
    if (l->large)
        return table_read_large(l->table, &l->large_at, value);
    return buf_set(value, l->value.data, l->value.size);
}

static helios_status get_slowly(struct helios_db *db, struct view *view, struct lookup *l, helios_buf *value)
{
    enum looked looked;
    helios_status status;

    l->may_read = true;
    l->tag = 0;
    l->cover = 0;
    l->large = false;
    l->table = NULL;
    looked = look_up_layers(l, view);
    status = looked == LOOK_FAILED ? l->status : deliver(l, value);
    frame_unref(l->frame);
    l->frame = NULL;
    table_unref(l->table);
    l->table = NULL;
    (void)db;
    return status;
}

/* Inside an epoch: the number to read at. False: history_gone. */
static bool settle_point(struct helios_db *db, const struct read_point *point, helios_seq *seq)
{
    if (point->latest) {
        *seq = atomic_load_explicit(&db->visible, memory_order_acquire);
        return true;
    }
    *seq = point->seq;
    /* After the view was loaded: what it lacks was collected below this horizon. */
    return point->pinned || point->seq >= atomic_load(&db->horizon);
}

static helios_status look_at(struct helios_db *db, const struct read_point *point, bool fill_cache,
                             helios_slice key, struct newest *newest, helios_buf *value)
{
    struct lookup l = {.key = key, .hash = hash_key(key), .fill_cache = fill_cache, .newest = newest};
    struct view *view;
    enum looked looked;
    helios_status status;

    epoch_enter();
    view = view_now(db);
    if (key_branch(key) != 0)
        l.branch = registry_at(db->registry, key_branch(key));
    /* After the view was loaded: what it lacks of a branch went after the drop. */
    if (l.branch && !point->dropped && atomic_load(&l.branch->state) == HELIOS_BRANCH_DROPPED) {
        epoch_leave();
        return branch_readable(db, key_branch(key));
    }
    if (!settle_point(db, point, &l.point)) {
        epoch_leave();
        return fail_history_gone(db, point->seq);
    }
    looked = look_up_layers(&l, view);
    if (looked == LOOK_WOULD_READ || (l.large && looked != LOOK_FAILED)) {
        view_ref(view);
        epoch_leave();
        status = get_slowly(db, view, &l, value);
        view_unref(view);
        return status;
    }
    status = looked == LOOK_FAILED ? l.status : deliver(&l, value);
    epoch_leave();
    return status;
}

helios_status read_at(struct helios_db *db, const struct read_point *point, bool fill_cache, helios_slice key,
                      helios_buf *value)
{
    return look_at(db, point, fill_cache, key, NULL, value);
}

helios_status read_newest(struct helios_db *db, helios_slice key, struct newest *newest, helios_buf *value)
{
    const struct read_point latest = {.latest = true};

    return look_at(db, &latest, true, key, newest, value);
}

/* A point below the horizon is readable while somebody pins it: pin it as well for the call. */
static helios_status get_below_horizon(struct helios_db *db, const helios_read_options *options,
                                       bool fill_cache, helios_slice key, helios_buf *value)
{
    struct read_point point = {.pinned = true};
    pin_id pin;
    helios_status status = read_point_pin(db, options, HELIOS_PIN_ITERATOR, &pin, &point.seq);

    if (status != HELIOS_OK)
        return status;
    status = read_at(db, &point, fill_cache, key, value);
    pins_release(db->pins, pin);
    return status;
}

static helios_status get_checked(struct helios_db *db, const helios_read_options *options, uint8_t space,
                                 helios_slice key, helios_buf *value)
{
    struct layered layered;
    struct read_point point;
    helios_status status = read_point_of(db, options, &point);

    if (status == HELIOS_OK)
        status = layered_init(&layered, options->branch, space, key);
    if (status != HELIOS_OK)
        return status;
    status = read_at(db, &point, !options->no_cache_fill, layered.key, value);
    if (status == HELIOS_HISTORY_GONE)
        status = get_below_horizon(db, options, !options->no_cache_fill, layered.key, value);
    layered_release(&layered);
    return status;
}

helios_status get_in(struct helios_db *db, uint8_t space, const helios_read_options *given, helios_slice key,
                     helios_buf *value)
{
    helios_read_options options;
    helios_status status = check_key(key);

    if (status == HELIOS_OK)
        status = read_options(db, given, &options);
    if (status == HELIOS_OK)
        status = get_checked(db, &options, space, key, value);
    return status;
}

helios_status helios_get(helios_db *db, const helios_read_options *options, helios_slice key, helios_buf *value)
{
    if (!db || !value)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the value" : "database");
    return get_in(db, SPACE_USER, options, key, value);
}

helios_status helios_multi_get(helios_db *db, const helios_read_options *given, size_t n,
                               const helios_slice *keys, helios_buf *values, helios_status *each)
{
    helios_read_options options;
    pin_id pin = 0;
    struct read_point point = {.pinned = true};
    helios_status status;

    if (!db || (n && (!keys || !values || !each)))
        return fail(HELIOS_INVALID, "no %s was given", db ? "keys, values or statuses" : "database");
    status = read_options(db, given, &options);
    if (status == HELIOS_OK)
        status = read_point_pin(db, &options, HELIOS_PIN_ITERATOR, &pin, &point.seq);
    for (size_t i = 0; i < n && status == HELIOS_OK; i++) {
        struct layered layered;

        each[i] = check_key(keys[i]);
        if (each[i] == HELIOS_OK)
            each[i] = layered_init(&layered, options.branch, SPACE_USER, keys[i]);
        if (each[i] != HELIOS_OK)
            continue;
        each[i] = read_at(db, &point, !options.no_cache_fill, layered.key, &values[i]);
        layered_release(&layered);
    }
    pins_release(db->pins, pin);
    return status;
}
