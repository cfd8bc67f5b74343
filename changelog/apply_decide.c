/* apply_decide.c - a commit that came against what is here: key by key, and ranges piece by piece. Called by apply.c.
 *
 * What is here is, for each key, the last operation on it, a deletion too, be it of the key or of a range. If the commit
 * that came knew that operation, what came is later and wins. Else they are concurrent. What came never is the older one:
 * all that is here came here after everything that it was later than.
 *
 * So that all nodes come to the same, the last operation on a key must always be the greatest of all that were applied,
 * by an order that "later" agrees with: sum of the clock, then node. That holds for keys that are not there too: a
 * range delete that came is cut where a greater deletion lies, else a put between the two would win here and lose
 * elsewhere.
 *
 * A decision of the call-back is an operation of this database, later than both sides, also where it takes one of
 * them as it is: as the side itself it would stand for what it alone knew, and a successor of it would win against
 * the other side here, but not where the three meet in another order. */
#include "changelog/apply.h"
#include "base/mem.h"
#include "engine/branches.h"
#include "engine/sources.h"
#include <stdlib.h>

/* ---- one against the other ---- */

/* Whether the version here, of which seq is the number, was not known to what came. */
static helios_status is_concurrent(struct applying *a, helios_seq seq, uint8_t space, helios_slice key,
                                   struct version_origin *v, bool *concurrent)
{
    helios_status status = origin_of_version(&a->rows, seq, space, key, v);

    *concurrent = status == HELIOS_OK && clock_of(a->first->vector_clock, v->node) < v->commit;
    return status;
}

/* What came is greater. */
static bool is_greater(const struct applying *a, const struct version_origin *v)
{
    if (a->sum != v->sum)
        return a->sum > v->sum;
    return memcmp(a->first->origin, v->node, NODE_BYTES) > 0;
}

/* A side of a conflict: a value, or a deletion. */
struct side {
    bool present;
    helios_slice value;
};

static helios_status decide_own(struct applying *a, uint8_t space, helios_slice key, const struct side *side)
{
    helios_status status = side->present ? check_value(side->value) : HELIOS_OK;

    if (status != HELIOS_OK)
        return status;
    return batch_append(&a->own, side->present ? KIND_VALUE : KIND_TOMBSTONE, space, key,
                        side->present ? side->value : slice_make("", 0));
}

static helios_status ask(struct applying *a, const helios_change *change, uint8_t space, helios_slice key,
                         helios_seq seq, const struct version_origin *v, const struct side *ours,
                         const struct side *theirs)
{
    helios_apply_conflict conflict = {
        .branch = a->branch,
        .space = space,
        .key = key,
        .has_ours = ours->present,
        .has_theirs = theirs->present,
        .ours = ours->present ? ours->value : (helios_slice){0},
        .theirs = theirs->present ? theirs->value : (helios_slice){0},
        .ours_seq = seq,
        .change = change,
    };
    struct side side = {.present = true};
    helios_resolution resolution;
    helios_status status = origin_clock_of_version(&a->rows, seq, v, &a->clock);

    if (status != HELIOS_OK)
        return status;
    memcpy(conflict.ours_origin, v->node, NODE_BYTES);
    conflict.ours_clock = buf_slice(&a->clock);
    a->value.size = 0;
    resolution = a->options->resolve(a->options->arg, &conflict, &a->value);
    switch (resolution) {
    case HELIOS_TAKE_OURS: return decide_own(a, space, key, ours);
    case HELIOS_TAKE_THEIRS: return decide_own(a, space, key, theirs);
    case HELIOS_TAKE_DELETE: side.present = false; return decide_own(a, space, key, &side);
    case HELIOS_TAKE_VALUE: side.value = buf_slice(&a->value); return decide_own(a, space, key, &side);
    case HELIOS_TAKE_ABORT:
        return fail(HELIOS_CONFLICT, "resolve() gave up on a key that was changed here and on another node");
    default:
        return fail(HELIOS_INVALID, "resolve() returned %d, which is none of helios_resolution",
                    (int)resolution);
    }
}

/* ---- keys ---- */

size_t apply_find_point(const struct applying *a, uint8_t space, helios_slice key, bool *found)
{
    size_t low = 0, high = a->point_count;

    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct op op = batch_at(&a->came, a->points[middle].op);
        int order = op.space != space ? (op.space < space ? -1 : 1) : slice_compare(op.key, key);

        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static helios_status decide_conflict(struct applying *a, struct apply_point *point, const struct op *op,
                                     helios_slice layered, const struct newest *newest,
                                     const struct version_origin *v)
{
    const struct side theirs = {op->kind == KIND_VALUE, op->value};
    struct side ours = {.present = newest->present};
    struct newest again;
    helios_status status = HELIOS_OK;

    a->conflicts++;
    point->outcome = is_greater(a, v) ? POINT_TAKEN : POINT_KEPT;
    if (!a->options->resolve || (!ours.present && !theirs.present))
        return HELIOS_OK;
    if (ours.present)
        status = read_newest(a->db, layered, &again, &a->ours);
    ours.value = buf_slice(&a->ours);
    if (status != HELIOS_OK || (ours.present && theirs.present && slice_equal(ours.value, theirs.value)))
        return status;
    point->outcome = POINT_OURS;
    return ask(a, a->from[point->op], op->space, op->key, newest->seq, v, &ours, &theirs);
}

static helios_status decide_point(struct applying *a, struct apply_point *point)
{
    struct op op = batch_at(&a->came, point->op);
    struct version_origin v;
    struct layered layered;
    struct newest newest;
    bool concurrent = false;
    helios_status status = layered_init(&layered, a->branch, op.space, op.key);

    point->outcome = POINT_TAKEN;
    if (status != HELIOS_OK)
        return status;
    status = read_newest(a->db, layered.key, &newest, NULL);
    if (status == HELIOS_OK && newest.seq)
        status = is_concurrent(a, newest.seq, op.space, op.key, &v, &concurrent);
    if (status == HELIOS_OK && concurrent)
        status = decide_conflict(a, point, &op, layered.key, &newest, &v);
    layered_release(&layered);
    return status;
}

/* ---- ranges ---- */

/* A walk over what is here of a range delete that came. */
struct range_walk {
    struct applying *a;
    const helios_change *change;
    uint8_t space;
    struct sources sources;
    size_t layer_bytes;      /* in front of the keys of the walk */
    helios_buf lower, upper; /* in their form */
    helios_buf begin;        /* user key: from here on nothing has been decided to stay; */
    bool open;               /* or, not open, it has, up to where the walk is */
};

static helios_slice user_key(const struct range_walk *w, helios_slice key)
{
    return slice_make(slice_bytes(key) + w->layer_bytes, key.size - w->layer_bytes);
}

static helios_status set_begin(struct range_walk *w, helios_slice key)
{
    w->open = true;
    return buf_set(&w->begin, key.data, key.size);
}

/* Everything from the beginning up to `to` goes. */
static helios_status close_piece(struct range_walk *w, helios_slice to)
{
    unsigned char lsn[8];
    helios_status status;

    if (!w->open || slice_compare(buf_slice(&w->begin), to) >= 0)
        return HELIOS_OK;
    put_u64(lsn, w->change->origin_lsn);
    status = batch_append(&w->a->pieces, KIND_RANGE_DELETE, w->space, buf_slice(&w->begin), to);
    return status == HELIOS_OK ? buf_append(&w->a->piece_lsns, lsn, sizeof(lsn)) : status;
}

/* The least key above this one. That of the longest is the least that does not begin with it, short of its end. */
static helios_status begin_after(struct range_walk *w, helios_slice key)
{
    helios_status status = set_begin(w, key);

    if (status != HELIOS_OK || key.size < KEY_USER_MAX)
        return status == HELIOS_OK ? buf_append(&w->begin, "", 1) : status;
    while (w->begin.size && ((unsigned char *)w->begin.data)[w->begin.size - 1] == 0xff)
        w->begin.size--;
    if (w->begin.size)
        ((unsigned char *)w->begin.data)[w->begin.size - 1]++;
    else
        w->open = false; /* there is none */
    return HELIOS_OK;
}

static helios_status keep_key(struct range_walk *w, helios_slice key)
{
    helios_status status = close_piece(w, key);

    return status == HELIOS_OK ? begin_after(w, key) : status;
}

/* A key that is there, or whose own deletion is, and that what came does not know. */
static helios_status decide_key(struct range_walk *w, helios_slice key, const struct version_origin *v)
{
    struct cursor *c = w->sources.cursor;
    struct side ours = {.present = tag_kind(c->tag) == KIND_VALUE}, theirs = {0};
    helios_status status;

    w->a->conflicts++;
    if (!w->a->options->resolve || !ours.present)
        return is_greater(w->a, v) ? HELIOS_OK : keep_key(w, key);
    status = cursor_value(c, &ours.value);
    if (status != HELIOS_OK)
        return c->error ? error_tell(c->error) : status;
    return ask(w->a, w->change, w->space, key, tag_seq(c->tag), v, &ours, &theirs);
}

static helios_status look_at_key(struct range_walk *w)
{
    helios_slice key = user_key(w, w->sources.cursor->key);
    struct version_origin v;
    bool concurrent, came;
    size_t at = apply_find_point(w->a, w->space, key, &came);
    helios_status status;

    if (came) /* later in the same commit */
        return w->a->points[at].outcome == POINT_KEPT ? keep_key(w, key) : HELIOS_OK;
    status = is_concurrent(w->a, tag_seq(w->sources.cursor->tag), w->space, key, &v, &concurrent);
    return status == HELIOS_OK && concurrent ? decide_key(w, key, &v) : status;
}

/* The keys in [at, end), all of which a range delete numbered `cover` covers, or none (0). */
static helios_status walk_keys(struct range_walk *w, helios_slice at, helios_slice end, helios_seq cover)
{
    struct cursor *c = w->sources.cursor;
    helios_status status = HELIOS_OK;

    cursor_seek(c, at, TAG_MAX);
    while (status == HELIOS_OK && c->valid && slice_compare(c->key, end) < 0) {
        if (tag_seq(c->tag) >= cover)
            status = look_at_key(w);
        if (status == HELIOS_OK)
            cursor_next(c);
    }
    if (status == HELIOS_OK && !c->valid && c->status != HELIOS_OK)
        return c->error ? error_tell(c->error) : c->status;
    return status;
}

/* Whether the range delete here stays above the one that came. Keys on which its commit decided have versions. */
static helios_status cover_stays(struct range_walk *w, helios_seq cover, bool *stays)
{
    struct version_origin v;
    bool concurrent = false;
    helios_status status = HELIOS_OK;

    if (cover)
        status = is_concurrent(w->a, cover, SPACE_SYSTEM, slice_make("", 0), &v, &concurrent);
    *stays = concurrent && !is_greater(w->a, &v);
    return status;
}

/* *at goes on to where the piece ends. */
static helios_status walk_piece(struct range_walk *w, helios_slice *at)
{
    helios_slice end;
    helios_seq cover;
    bool stays;
    helios_status status = sources_cover_piece(&w->sources, *at, &cover, &end);

    if (status == HELIOS_OK)
        status = cover_stays(w, cover, &stays);
    if (status != HELIOS_OK)
        return status;
    if (!end.data || slice_compare(end, buf_slice(&w->upper)) > 0)
        end = buf_slice(&w->upper);
    if (stays) {
        status = close_piece(w, user_key(w, *at));
        w->open = false;
    } else {
        if (!w->open)
            status = set_begin(w, user_key(w, *at));
        if (status == HELIOS_OK)
            status = walk_keys(w, *at, end, cover);
    }
    *at = end;
    return status;
}

/* Bounds and sources as an iterator's. */
static helios_status open_walk(struct range_walk *w, helios_slice from, helios_slice to)
{
    struct helios_db *db = w->a->db;
    struct sources_options options = {.read_point = atomic_load(&db->visible), .fill_cache = true};
    const struct branch *branch = NULL;
    unsigned char layer[KEY_LAYER_BYTES];
    size_t skip;
    helios_status status;

    if (w->a->branch)
        branch = branch_overlay(db, w->a->branch, &options.read_point);
    options.branch = branch && branch->up ? branch : NULL;
    key_put_layer(layer, branch ? branch->id : 0, w->space);
    status = buf_set(&w->lower, layer, sizeof(layer));
    if (status == HELIOS_OK)
        status = buf_append(&w->lower, from.data, from.size);
    if (status == HELIOS_OK)
        status = buf_set(&w->upper, layer, sizeof(layer));
    if (status == HELIOS_OK)
        status = buf_append(&w->upper, to.data, to.size);
    options.lower = buf_slice(&w->lower);
    options.upper = buf_slice(&w->upper);
    if (status == HELIOS_OK)
        status = sources_open(db, &options, &w->sources);
    if (status != HELIOS_OK)
        return status;
    skip = options.branch ? BRANCH_BYTES : 0; /* keys come without it */
    w->layer_bytes = KEY_LAYER_BYTES - skip;
    memmove(w->lower.data, w->lower.data + skip, w->lower.size -= skip);
    memmove(w->upper.data, w->upper.data + skip, w->upper.size -= skip);
    return HELIOS_OK;
}

static helios_status decide_range(struct applying *a, const helios_change *change, uint8_t space,
                                  helios_slice from, helios_slice to)
{
    struct range_walk w = {.a = a, .change = change, .space = space};
    helios_slice at;
    helios_status status = open_walk(&w, from, to);

    if (status == HELIOS_OK)
        status = set_begin(&w, from);
    at = buf_slice(&w.lower);
    while (status == HELIOS_OK && slice_compare(at, buf_slice(&w.upper)) < 0)
        status = walk_piece(&w, &at);
    if (status == HELIOS_OK)
        status = close_piece(&w, to);
    sources_close(&w.sources);
    helios_buf_free(&w.lower);
    helios_buf_free(&w.upper);
    helios_buf_free(&w.begin);
    return status;
}

/* ---- all of it ---- */

static int compare_ranges(const void *x, const void *y, void *arg)
{
    const struct helios_batch *came = arg;
    struct op a = batch_at(came, *(const size_t *)x), b = batch_at(came, *(const size_t *)y);

    return a.space != b.space ? (a.space < b.space ? -1 : 1) : slice_compare(a.key, b.key);
}

/* Ranges that meet are one, so that no key is asked about twice. */
static helios_status decide_ranges(struct applying *a)
{
    size_t count = 0, *ranges = mem_array(a->came.range_deletes + 1, sizeof(*ranges));
    helios_status status = ranges ? HELIOS_OK : fail_no_memory(a->came.range_deletes * sizeof(*ranges));

    for (size_t i = 0; ranges && i < a->came.count; i++)
        if (batch_at(&a->came, i).kind == KIND_RANGE_DELETE)
            ranges[count++] = i;
    if (count)
        qsort_r(ranges, count, sizeof(*ranges), compare_ranges, &a->came);
    for (size_t i = 0, next; i < count && status == HELIOS_OK; i = next) {
        struct op op = batch_at(&a->came, ranges[i]);
        helios_slice to = op.value;

        for (next = i + 1; next < count; next++) {
            struct op other = batch_at(&a->came, ranges[next]);

            if (other.space != op.space || slice_compare(other.key, to) > 0)
                break;
            if (slice_compare(other.value, to) > 0)
                to = other.value;
        }
        status = decide_range(a, a->from[ranges[i]], op.space, op.key, to);
    }
    mem_free(ranges);
    return status;
}

helios_status apply_decide(struct applying *a)
{
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < a->point_count && status == HELIOS_OK; i++)
        status = decide_point(a, &a->points[i]);
    return status == HELIOS_OK && a->came.range_deletes ? decide_ranges(a) : status;
}
