/* compare.c - the keys that may differ between states of branches. Called by diff.c and by what merges.
 *
 * Two states of one database have a nearest common one: where their chains of (branch, parent's branch at the fork, ...)
 * meet, at the lower of the two points. What is not in one of the spans between it and the two states is the same
 * in both: each layer on the way down, and in the layer where they meet what lies between the points.
 *
 *   main  ----1----4-------8----9---          from (b, 7), to (main, 9): they meet in main at 4
 *              \    \\                          spans: b (4, 7], main (4, 9]
 *               a    b --5--6--7--
 *
 * The spans of all pairs make one ordered walk of keys (sources.h); a key comes once. A range delete in a span hides keys
 * that have no version there: of its pieces, each key that any state shows is a candidate. Both are walked side by
 * side, so that nothing is ever listed.
 *
 * States are walks too, which follow the candidates: a few steps, or a seek where those do not reach. So many changes
 * cost what a scan costs, and few in a large database a look-up each. Neither candidates nor states hold a view
 * longer than to the next move. */
#include "engine/compare.h"
#include "engine/branches.h"
#include "engine/read.h"
#include "engine/sources.h"
#include <assert.h>

enum { STEPS_MAX = 8 /* about what a seek costs */ };

struct state {
    struct state_point point;
    helios_iter *walk;   /* NULL: not asked yet. Else on the first key at or after the one asked about last */
    uint64_t generation; /* of the view when it was placed */
    uint64_t asked;      /* about the candidate of this number */
    bool has;
};

struct compare {
    struct helios_db *db;
    uint8_t space;
    bool fill_cache;
    helios_slice user_lower, user_upper; /* as given; in the buffers below */
    helios_buf lower, upper;             /* with main's layer; always both */
    struct span *spans;
    size_t span_count, span_capacity;
    struct sources sources; /* of the spans; keys have no branch: space | user key */
    helios_buf key;         /* the candidate; before the first one, where to begin */
    helios_buf from;        /* the first key behind the candidate */
    uint64_t number;        /* of the candidate; 0: before the first */
    bool on_cursor;         /* the sources stand on it */
    bool ended;
    struct deleted_piece piece; /* the first that ends behind the candidate */
    bool piece_known, piece_there;
    struct error_note error;
    size_t state_count;
    struct state states[];
};

/* ---- what lies between ---- */

static void climb(const struct branch *branch, struct state_point *p)
{
    p->branch = branch->parent;
    if (branch->fork_seq < p->seq)
        p->seq = branch->fork_seq;
}

/* A state below its branch's fork is the parent's. */
static void normalise(struct helios_db *db, struct state_point *p)
{
    while (p->branch != 0) {
        const struct branch *branch = branch_at(db, p->branch);

        if (p->seq > branch->fork_seq)
            return;
        climb(branch, p);
    }
}

static bool meet(const struct span *a, const struct span *b)
{
    return a->branch == b->branch && a->since <= b->at && b->since <= a->at;
}

static helios_status add_span(struct compare *c, struct span span)
{
    size_t kept = 0;

    for (size_t i = 0; i < c->span_count; i++) { /* those that meet become one */
        struct span *s = &c->spans[i];

        if (!meet(s, &span)) {
            c->spans[kept++] = *s;
            continue;
        }
        span.since = s->since < span.since ? s->since : span.since;
        span.at = s->at > span.at ? s->at : span.at;
    }
    c->span_count = kept;
    if (kept == c->span_capacity) {
        size_t capacity = kept ? kept * 2 : 8;
        struct span *spans = mem_realloc(c->spans, capacity * sizeof(*spans));

        if (!spans)
            return fail_no_memory(capacity * sizeof(*spans));
        c->spans = spans;
        c->span_capacity = capacity;
    }
    c->spans[c->span_count++] = span;
    return HELIOS_OK;
}

/* All of a branch's layer up to p, if anything was written there; on to what it was forked from. */
static helios_status leave_branch(struct compare *c, struct state_point *p)
{
    const struct branch *branch = branch_at(c->db, p->branch);
    helios_seq first = atomic_load_explicit(&branch->first_write, memory_order_acquire);
    helios_status status = HELIOS_OK;

    if (first && first <= p->seq)
        status = add_span(c, (struct span){p->branch, branch->fork_seq, p->seq});
    climb(branch, p);
    normalise(c->db, p);
    return status;
}

/* Ids grow from parent to child: the larger one is not an ancestor of the other. */
static helios_status add_pair(struct compare *c, struct state_point a, struct state_point b)
{
    helios_status status = HELIOS_OK;

    normalise(c->db, &a);
    normalise(c->db, &b);
    while (a.branch != b.branch && status == HELIOS_OK)
        status = leave_branch(c, a.branch > b.branch ? &a : &b);
    if (status != HELIOS_OK || a.seq == b.seq)
        return status;
    return add_span(c, a.seq < b.seq ? (struct span){a.branch, a.seq, b.seq}
                                     : (struct span){a.branch, b.seq, a.seq});
}

/* ---- making ---- */

static helios_status set_bound(helios_buf *bound, uint8_t space, helios_slice user_key)
{
    unsigned char layer[KEY_LAYER_BYTES];
    helios_status status;

    key_put_layer(layer, 0, space);
    status = buf_set(bound, layer, sizeof(layer));
    return status == HELIOS_OK ? buf_append(bound, user_key.data, user_key.size) : status;
}

static helios_slice without_branch(const helios_buf *key)
{
    return slice_make(key->data + BRANCH_BYTES, key->size - BRANCH_BYTES);
}

static helios_slice user_part(helios_slice stripped)
{
    return slice_make(slice_bytes(stripped) + 1, stripped.size - 1);
}

static helios_status set_bounds(struct compare *c, const struct compare_options *options)
{
    helios_slice lower, none = {"", 0};
    helios_status status = set_bound(&c->lower, c->space, options->lower.data ? options->lower : none);

    if (status == HELIOS_OK)
        status = options->upper.data ? set_bound(&c->upper, c->space, options->upper)
                                     : set_bound(&c->upper, c->space + 1, none);
    if (status != HELIOS_OK)
        return status;
    lower = without_branch(&c->lower);
    c->user_lower = user_part(lower);
    if (options->upper.data)
        c->user_upper = user_part(without_branch(&c->upper));
    return buf_set(&c->key, lower.data, lower.size);
}

helios_status compare_new(struct helios_db *db, const struct compare_options *options, struct compare **out)
{
    size_t bytes = sizeof(struct compare) + options->state_count * sizeof(struct state);
    struct compare *c = mem_zalloc(bytes);
    helios_status status;

    assert(options->space != SPACE_SYSTEM); /* it has no branches, and nothing behind it */
    if (!c)
        return fail_no_memory(bytes);
    c->db = db;
    c->space = options->space;
    c->fill_cache = options->fill_cache;
    c->state_count = options->state_count;
    for (size_t i = 0; i < c->state_count; i++)
        c->states[i].point = options->states[i];
    status = set_bounds(c, options);
    for (size_t i = 0; i < options->pair_count && status == HELIOS_OK; i++) {
        const uint8_t *pair = options->pairs[i];

        assert(pair[0] < c->state_count);
        assert(pair[1] < c->state_count);
        status = add_pair(c, options->states[pair[0]], options->states[pair[1]]);
    }
    if (status != HELIOS_OK) {
        compare_free(c);
        return status;
    }
    c->ended = c->span_count == 0;
    *out = c;
    return HELIOS_OK;
}

void compare_free(struct compare *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->state_count; i++)
        helios_iter_free(c->states[i].walk);
    sources_close(&c->sources);
    mem_free(c->spans);
    helios_buf_free(&c->lower);
    helios_buf_free(&c->upper);
    helios_buf_free(&c->key);
    helios_buf_free(&c->from);
    mem_free(c);
}

static bool give_up(struct compare *c, helios_status status)
{
    error_keep(&c->error, status);
    c->ended = true;
    return false;
}

helios_status compare_status(const struct compare *c)
{
    return error_tell(&c->error);
}

/* ---- the states ---- */

static helios_status state_open(struct compare *c, struct state *s)
{
    const struct state_walk walk = {.branch = s->point.branch,
                                    .space = c->space,
                                    .lower = c->user_lower,
                                    .upper = c->user_upper,
                                    .seq = s->point.seq,
                                    .fill_cache = c->fill_cache};

    return iter_new_state(c->db, &walk, &s->walk);
}

/* To the first key at or after a user key, which does not fall from call to call: *on it or behind it. One that already
 * stands there lets go of a view that is not the current one all the same. */
static helios_status state_reach(struct compare *c, struct state *s, helios_slice key, bool *on)
{
    uint64_t generation = atomic_load_explicit(&c->db->generation, memory_order_acquire);
    bool seek = !s->walk || s->generation != generation;
    helios_status status = s->walk ? HELIOS_OK : state_open(c, s);

    *on = false;
    if (status != HELIOS_OK)
        return status;
    for (int steps = 0; !seek && helios_iter_valid(s->walk); steps++) {
        int order = slice_compare(helios_iter_key(s->walk), key);

        *on = order == 0;
        if (order >= 0)
            return HELIOS_OK;
        if (steps == STEPS_MAX)
            seek = true;
        else
            helios_iter_next(s->walk);
    }
    s->generation = generation;
    if (seek)
        helios_iter_seek(s->walk, key);
    *on = helios_iter_valid(s->walk) && slice_equal(helios_iter_key(s->walk), key);
    return helios_iter_valid(s->walk) ? HELIOS_OK : helios_iter_status(s->walk);
}

/* Whether the state has the candidate: its walk stands on it then. False also on failure, kept. */
static bool look(struct compare *c, size_t number)
{
    struct state *s = &c->states[number];
    helios_status status;

    assert(number < c->state_count);
    if (s->asked == c->number)
        return s->has;
    status = state_reach(c, s, compare_key(c), &s->has);
    s->asked = c->number;
    return status == HELIOS_OK ? s->has : give_up(c, status);
}

/* ---- the candidates ---- */

/* Needed where ranges were deleted only. */
static helios_status set_from(struct compare *c)
{
    helios_status status = buf_set(&c->from, c->key.data, c->key.size);

    return status == HELIOS_OK && c->number ? buf_append(&c->from, "", 1) : status;
}

/* The sources of the current view, standing at or behind the candidate. */
static helios_status refresh(struct compare *c)
{
    const struct sources_options options = {.lower = buf_slice(&c->lower),
                                            .upper = buf_slice(&c->upper),
                                            .spans = c->spans,
                                            .span_count = c->span_count,
                                            .fill_cache = c->fill_cache};
    helios_slice key = buf_slice(&c->key);
    struct cursor *cursor;
    helios_status status;

    if (!sources_stale(&c->sources, c->db))
        return HELIOS_OK;
    sources_close(&c->sources);
    c->piece_known = false;
    status = sources_open(c->db, &options, &c->sources);
    if (status != HELIOS_OK)
        return status;
    cursor = c->sources.cursor;
    cursor_seek(cursor, key, TAG_MAX);
    c->on_cursor = c->number && cursor->valid && slice_equal(cursor->key, key);
    return set_from(c);
}

/* The first key behind the candidate that was written in a span; no data: none is left. */
static helios_status next_written(struct compare *c, helios_slice *key)
{
    struct cursor *cursor = c->sources.cursor;

    if (c->on_cursor)
        cursor_next(cursor);
    c->on_cursor = false;
    *key = (helios_slice){0};
    if (!cursor->valid && cursor->status != HELIOS_OK)
        return cursor->error ? error_tell(cursor->error) : cursor->status;
    if (cursor->valid && slice_compare(cursor->key, without_branch(&c->upper)) < 0)
        *key = cursor->key;
    return HELIOS_OK;
}

/* Finds the piece that ends above the key, which does not fall. */
static helios_status find_piece(struct compare *c, helios_slice from)
{
    helios_status status;

    if (c->piece_known && (!c->piece_there || !c->piece.to.data || slice_compare(c->piece.to, from) > 0))
        return HELIOS_OK;
    status = sources_deleted_piece(&c->sources, from, &c->piece, &c->piece_there);
    c->piece_known = status == HELIOS_OK;
    return status;
}

/* The first user key at or after `from` that any state shows; no data: none. */
static helios_status next_shown(struct compare *c, helios_slice from, helios_slice *key)
{
    *key = (helios_slice){0};
    for (size_t i = 0; i < c->state_count; i++) {
        struct state *s = &c->states[i];
        bool on;
        helios_status status = state_reach(c, s, from, &on);
        helios_slice shown;

        if (status != HELIOS_OK)
            return status;
        if (!helios_iter_valid(s->walk))
            continue;
        shown = helios_iter_key(s->walk);
        if (!key->data || slice_compare(shown, *key) < 0)
            *key = shown;
    }
    return HELIOS_OK;
}

/* A piece may end in a later space, or nowhere. */
static bool ends_above(const struct deleted_piece *piece, uint8_t space, helios_slice user_key)
{
    return !piece->to.data || slice_bytes(piece->to)[0] != space ||
           slice_compare(user_part(piece->to), user_key) > 0;
}

/* The first user key in a deleted piece, below `written`, if there is one; no data: none. */
static helios_status next_deleted(struct compare *c, helios_slice written, helios_slice *key)
{
    helios_slice from = buf_slice(&c->from), end = written.data ? written : without_branch(&c->upper), shown;
    helios_status status;

    *key = (helios_slice){0};
    while (slice_compare(from, end) < 0) {
        status = find_piece(c, from);
        if (status != HELIOS_OK || !c->piece_there)
            return status;
        if (c->piece.from.data && slice_compare(c->piece.from, from) > 0)
            from = c->piece.from;
        if (slice_compare(from, end) >= 0)
            return HELIOS_OK;
        status = next_shown(c, user_part(from), &shown);
        if (status != HELIOS_OK || !shown.data)
            return status;
        if (written.data && slice_compare(shown, user_part(written)) >= 0)
            return HELIOS_OK; /* nothing before it, in this piece or another */
        if (ends_above(&c->piece, c->space, shown)) {
            *key = shown;
            return HELIOS_OK;
        }
        from = c->piece.to;
    }
    return HELIOS_OK;
}

static helios_status set_candidate(struct compare *c, helios_slice user_key)
{
    helios_status status;

    c->key.size = 1; /* the space stays */
    status = buf_append(&c->key, user_key.data, user_key.size);
    return status == HELIOS_OK && c->sources.cover_count ? set_from(c) : status;
}

static helios_status advance(struct compare *c, helios_slice *user_key)
{
    helios_slice written, deleted = {0};
    helios_status status = refresh(c);

    *user_key = (helios_slice){0};
    if (status == HELIOS_OK)
        status = next_written(c, &written);
    if (status == HELIOS_OK && c->sources.cover_count)
        status = next_deleted(c, written, &deleted);
    if (status != HELIOS_OK)
        return status;
    c->on_cursor = !deleted.data && written.data;
    if (deleted.data)
        *user_key = deleted;
    else if (written.data)
        *user_key = user_part(written);
    return HELIOS_OK;
}

bool compare_next(struct compare *c)
{
    helios_slice user_key;
    helios_status status;

    if (c->ended)
        return false;
    status = advance(c, &user_key);
    if (status == HELIOS_OK && !user_key.data) {
        c->ended = true;
        return false;
    }
    c->number++;
    if (status == HELIOS_OK)
        status = set_candidate(c, user_key);
    return status == HELIOS_OK || give_up(c, status);
}

/* ---- what is asked of a candidate ---- */

helios_slice compare_key(const struct compare *c)
{
    return user_part(buf_slice(&c->key));
}

bool compare_has(struct compare *c, size_t state)
{
    return look(c, state);
}

helios_seq compare_seq(struct compare *c, size_t state)
{
    return look(c, state) ? helios_iter_seq(c->states[state].walk) : 0;
}

helios_status compare_value(struct compare *c, size_t state, helios_slice *value)
{
    helios_iter *walk = c->states[state].walk;
    bool has = look(c, state);
    helios_status status;

    assert(has || c->ended);
    if (!has)
        return compare_status(c);
    *value = helios_iter_value(walk);
    status = helios_iter_valid(walk) ? HELIOS_OK : helios_iter_status(walk);
    if (status != HELIOS_OK)
        give_up(c, status);
    return status;
}

static helios_status equal_values(struct compare *c, size_t a, size_t b, bool *equal)
{
    helios_slice x = {0}, y = {0};
    helios_status status;

    *equal = false;
    if (iter_value_size(c->states[a].walk) != iter_value_size(c->states[b].walk))
        return HELIOS_OK;
    status = compare_value(c, a, &x);
    if (status == HELIOS_OK)
        status = compare_value(c, b, &y);
    if (status == HELIOS_OK)
        *equal = slice_equal(x, y);
    return status;
}

/* Of the program's keys a commit writes those of one branch: its number and the key name a version. */
helios_status compare_equal(struct compare *c, size_t a, size_t b, bool *equal)
{
    bool in_a = look(c, a), in_b = look(c, b);

    if (c->error.status != HELIOS_OK)
        return compare_status(c);
    *equal = in_a == in_b;
    if (!in_a || !in_b || compare_seq(c, a) == compare_seq(c, b))
        return HELIOS_OK;
    return equal_values(c, a, b, equal);
}
