/* merge_walk.c - the three-way merge, key by key: what the source changed and the target did not is the target's to write; what
 * both changed, to different ends, is a conflict. Called by merge_commit.c, which writes what comes out.
 *
 * With several bases (criss-cross) a side counts as changed when it differs from any of them: a conflict too many, never a
 * silent loss. */
#include "engine/merge.h"
#include "engine/text.h"
#include <inttypes.h>

enum { THEIRS, OURS, FIRST_BASE };

/* The catalog says what rows are; entries of indexes follow from rows: merge_rows.c. */
static const uint8_t merged_spaces[] = {SPACE_META, SPACE_USER, SPACE_DATA};
enum { SPACES = sizeof(merged_spaces) };

void merge_walk_begin(struct merge_walk *w, struct helios_db *db, const struct merge_states *states,
                      const helios_merge_options *options, const struct merge_rows_ops *ops)
{
    *w = (struct merge_walk){.db = db, .states = states, .options = options, .ops = ops};
    batch_init(&w->catalog);
}

void merge_walk_end(struct merge_walk *w)
{
    compare_free(w->compare);
    w->compare = NULL;
    w->ops->end(w->rows);
    w->rows = NULL;
    batch_release(&w->catalog);
    helios_buf_free(&w->value);
    helios_buf_free(&w->first_conflict);
}

helios_status merge_walk_status(const struct merge_walk *w)
{
    return error_tell(&w->error);
}

static void give_up(struct merge_walk *w, helios_status status)
{
    error_keep(&w->error, status);
    w->over = true;
}

/* ---- the states of one space ---- */

/* The states by their indices, and behind the bases one more, unless it is NULL. */
static helios_status compare_states(struct helios_db *db, const struct merge_states *s,
                                    const struct state_point *more, struct compare_options *options,
                                    struct compare **out)
{
    size_t count = FIRST_BASE + s->base_count + (more != NULL);
    struct state_point *points = mem_array(count, sizeof(*points));
    helios_status status;

    if (!points)
        return fail_no_memory(count * sizeof(*points));
    points[THEIRS] = s->theirs;
    points[OURS] = s->ours;
    for (size_t i = 0; i < s->base_count; i++)
        points[FIRST_BASE + i] = (struct state_point){s->bases[i].branch, s->bases[i].seq};
    if (more)
        points[count - 1] = *more;
    options->states = points;
    options->state_count = count;
    status = compare_new(db, options, out);
    mem_free(points);
    return status;
}

/* Candidates are what the source changed since each base; without a base, what differs from the target. */
static helios_status open_states(struct merge_walk *w)
{
    const struct merge_states *s = w->states;
    size_t pairs = s->base_count ? s->base_count : 1;
    uint8_t(*pair)[2] = mem_array(pairs, sizeof(*pair));
    struct compare_options options = {
        .space = merged_spaces[w->space], .pairs = (const uint8_t(*)[2])pair, .pair_count = pairs};
    helios_status status;

    if (!pair)
        return fail_no_memory(pairs * sizeof(*pair));
    pair[0][0] = THEIRS;
    pair[0][1] = OURS;
    for (size_t i = 0; i < s->base_count; i++) {
        pair[i][0] = (uint8_t)(FIRST_BASE + i);
        pair[i][1] = THEIRS;
    }
    status = compare_states(w->db, s, s->seen, &options, &w->compare);
    mem_free(pair);
    return status;
}

/* ---- one key ---- */

enum verdict { SAME, TAKE, CONFLICT };

/* Whether a side differs from any base. */
static helios_status changed(const struct merge_states *s, struct compare *compare, size_t side, bool *out)
{
    helios_status status = HELIOS_OK;

    *out = s->base_count == 0;
    for (size_t i = 0; i < s->base_count && !*out && status == HELIOS_OK; i++) {
        bool equal = true;

        status = compare_equal(compare, side, FIRST_BASE + i, &equal);
        *out = !equal;
    }
    return status;
}

static helios_status judge(struct merge_walk *w, enum verdict *verdict)
{
    bool theirs = false, ours = false, equal = false;
    helios_status status = changed(w->states, w->compare, THEIRS, &theirs);

    *verdict = SAME;
    if (status != HELIOS_OK || !theirs)
        return status;
    status = compare_equal(w->compare, THEIRS, OURS, &equal);
    if (status != HELIOS_OK || equal)
        return status;
    status = changed(w->states, w->compare, OURS, &ours);
    *verdict = ours ? CONFLICT : TAKE;
    return status;
}

/* ---- operations ---- */

static bool put(struct merge_walk *w, helios_slice value, struct merge_op *op)
{
    *op = (struct merge_op){merged_spaces[w->space], KIND_VALUE, compare_key(w->compare), value};
    w->merged++;
    return true;
}

/* False: there is nothing to delete. */
static bool delete (struct merge_walk *w, struct merge_op *op)
{
    if (!compare_has(w->compare, OURS))
        return false;
    *op =
        (struct merge_op){merged_spaces[w->space], KIND_TOMBSTONE, compare_key(w->compare), slice_make("", 0)};
    w->deleted++;
    return true;
}

static bool take_theirs(struct merge_walk *w, struct merge_op *op)
{
    helios_slice value;

    if (!compare_has(w->compare, THEIRS))
        return delete (w, op);
    return compare_value(w->compare, THEIRS, &value) == HELIOS_OK && put(w, value, op);
}

/* ---- conflicts ---- */

/* The commit that deleted the key as a state has it; 0: it was never there, or that is below the horizon. */
static helios_status deleted_by(struct merge_walk *w, const struct state_point *at, helios_seq *seq)
{
    helios_read_options options = {
        .size = sizeof(options), .branch = at->branch, .at = at->seq, .keys_only = true};
    helios_version version;
    helios_history *h;
    helios_status status;

    *seq = 0;
    if (at->seq == 0 || merged_spaces[w->space] != SPACE_USER)
        return HELIOS_OK;
    status = helios_history_new(w->db, &options, compare_key(w->compare), &h);
    if (status != HELIOS_OK) /* the base may lie on a branch that is dropped by now */
        return status == HELIOS_HISTORY_GONE || status == HELIOS_NOT_FOUND ? HELIOS_OK : status;
    if (helios_history_next(h, &version) && version.deleted)
        *seq = version.seq;
    status = helios_history_status(h);
    helios_history_free(h);
    return status;
}

/* at: the state's point. */
static helios_status side(struct merge_walk *w, size_t state, const struct state_point *at, bool *has,
                          helios_slice *value, helios_seq *seq)
{
    *has = compare_has(w->compare, state);
    *seq = compare_seq(w->compare, state);
    return *has ? compare_value(w->compare, state, value) : deleted_by(w, at, seq);
}

static helios_status describe(struct merge_walk *w, helios_merge_conflict *c)
{
    const struct merge_states *s = w->states;
    struct state_point base;
    helios_status status;

    *c = (helios_merge_conflict){.key = compare_key(w->compare)};
    c->of = merged_spaces[w->space] == SPACE_DATA   ? HELIOS_CONFLICT_OF_ROW
            : merged_spaces[w->space] == SPACE_META ? HELIOS_CONFLICT_OF_CATALOG
                                                    : HELIOS_CONFLICT_OF_KEY;
    status = side(w, THEIRS, &s->theirs, &c->has_theirs, &c->theirs, &c->theirs_seq);
    if (status == HELIOS_OK)
        status = side(w, OURS, &s->ours, &c->has_ours, &c->ours, &c->ours_seq);
    if (status == HELIOS_OK && s->base_count) {
        base = (struct state_point){s->bases[0].branch, s->bases[0].seq};
        status = side(w, FIRST_BASE, &base, &c->has_base, &c->base, &c->base_seq);
    }
    return status == HELIOS_OK ? compare_status(w->compare) : status;
}

/* A conflict was told already if the target had the same when the walk was here before. */
static helios_status tell(struct merge_walk *w, const helios_merge_conflict *conflict)
{
    bool told = false;
    helios_status status = HELIOS_OK;

    if (!w->options->on_conflict)
        return HELIOS_OK;
    if (w->states->seen)
        status = compare_equal(w->compare, OURS, FIRST_BASE + w->states->base_count, &told);
    if (status == HELIOS_OK && !told)
        w->options->on_conflict(w->options->arg, conflict);
    return status;
}

static bool resolve(struct merge_walk *w, const helios_merge_conflict *conflict, struct merge_op *op)
{
    char key[PRINTED_KEY_BYTES];
    helios_status status;

    w->value.size = 0;
    switch (w->options->resolve(w->options->arg, conflict, &w->value)) {
    case HELIOS_TAKE_OURS: return false;
    case HELIOS_TAKE_THEIRS: return take_theirs(w, op);
    case HELIOS_TAKE_DELETE: return delete (w, op);
    case HELIOS_TAKE_VALUE:
        status = conflict->of == HELIOS_CONFLICT_OF_KEY
                     ? check_value(buf_slice(&w->value))
                     : fail(HELIOS_INVALID, "resolve() can take either side's row, not make one");
        if (status != HELIOS_OK)
            give_up(w, status);
        return status == HELIOS_OK && put(w, buf_slice(&w->value), op);
    case HELIOS_TAKE_ABORT:
        print_key(conflict->key, key);
        give_up(w, fail(HELIOS_CONFLICT, "the merge was given up by its resolver at the key \"%s\"", key));
        return false;
    default: give_up(w, fail(HELIOS_INVALID, "resolve() gave an answer that there is not")); return false;
    }
}

static bool settle(struct merge_walk *w, struct merge_op *op)
{
    helios_merge_conflict conflict;
    helios_status status = describe(w, &conflict);

    if (status == HELIOS_OK && w->conflicts++ == 0) {
        w->first_space = merged_spaces[w->space];
        status = buf_set(&w->first_conflict, conflict.key.data, conflict.key.size);
    }
    if (status == HELIOS_OK)
        status = tell(w, &conflict);
    if (status != HELIOS_OK) {
        give_up(w, status);
        return false;
    }
    switch (w->options->strategy) {
    case HELIOS_MERGE_THEIRS: return take_theirs(w, op);
    case HELIOS_MERGE_RESOLVE: return resolve(w, &conflict, op);
    default: return false; /* ours stays; or the merge fails at its end */
    }
}

/* ---- the walk ---- */

static bool fails(const struct merge_walk *w)
{
    return w->options->strategy == HELIOS_MERGE_FAIL && w->conflicts;
}

static helios_status fail_conflicts(const struct merge_walk *w)
{
    char key[PRINTED_KEY_BYTES];

    print_key(buf_slice(&w->first_conflict), key);
    return fail(HELIOS_CONFLICT,
                "%" PRIu64 " keys were changed on both sides to different values, %s\"%s\" the first",
                w->conflicts,
                w->first_space == SPACE_META   ? "the catalog's "
                : w->first_space == SPACE_DATA ? "the row "
                                               : "",
                key);
}

/* A line of the catalog that is never changed comes along if the target lacks it. */
static bool is_fixed(const struct merge_walk *w)
{
    return merged_spaces[w->space] == SPACE_META && w->ops->is_fixed(compare_key(w->compare));
}

/* True: the key makes an operation. */
static bool decide(struct merge_walk *w, struct merge_op *op)
{
    enum verdict verdict;
    helios_status status = judge(w, &verdict);

    if (status != HELIOS_OK) {
        give_up(w, status);
        return false;
    }
    switch (verdict) {
    case TAKE: return take_theirs(w, op) && !fails(w);
    case CONFLICT: return is_fixed(w) ? take_theirs(w, op) : settle(w, op);
    default: return false;
    }
}

static helios_status give_row(struct merge_walk *w, const struct merge_op *op, bool *keep)
{
    bool has = compare_has(w->compare, OURS);
    helios_slice before;
    helios_status status = has ? compare_value(w->compare, OURS, &before) : compare_status(w->compare);

    return status == HELIOS_OK ? merge_row(w, op, has ? &before : NULL, keep) : status;
}

/* True: the operation is the next one. */
static bool visit(struct merge_walk *w, struct merge_op *op)
{
    helios_status status = HELIOS_OK;
    bool keep = true;

    if (!decide(w, op) || w->over)
        return false;
    if (merged_spaces[w->space] == SPACE_META) {
        status = merge_catalog_add(w, op);
        keep = false;
    } else if (merged_spaces[w->space] == SPACE_DATA) {
        status = give_row(w, op, &keep);
        if (status == HELIOS_OK && !keep)
            merge_uncount(w, op);
    }
    if (status != HELIOS_OK)
        give_up(w, status);
    return status == HELIOS_OK && keep;
}

/* On to the next space, or behind the last. */
static void next_space(struct merge_walk *w)
{
    helios_status status = w->compare ? compare_status(w->compare) : HELIOS_OK;

    if (w->compare) {
        compare_free(w->compare);
        w->compare = NULL;
        w->space++;
    }
    if (status == HELIOS_OK && w->space < SPACES)
        status = open_states(w);
    else if (status == HELIOS_OK && fails(w))
        status = fail_conflicts(w);
    if (status != HELIOS_OK)
        give_up(w, status);
}

static bool walk_keys(struct merge_walk *w, struct merge_op *op)
{
    while (!w->over && w->space < SPACES) {
        while (w->compare && compare_next(w->compare)) {
            if (visit(w, op))
                return true;
            if (w->over)
                return false;
        }
        next_space(w);
    }
    return false;
}

bool merge_walk_next(struct merge_walk *w, struct merge_op *op)
{
    helios_status status;

    if (walk_keys(w, op))
        return true;
    if (w->over)
        return false;
    if (merge_behind_rows(w, op, &status))
        return true;
    if (status != HELIOS_OK)
        give_up(w, status);
    w->over = true;
    return false;
}

/* ---- does it still hold? ---- */

/* Most of what is written on a target is not the source's concern: so theirs is asked about first. any: it need not be. */
static helios_status key_is_overtaken(const struct merge_states *s, struct compare *compare, bool any,
                                      bool *overtaken)
{
    bool theirs = any, equal = true;
    helios_status status = any ? HELIOS_OK : changed(s, compare, THEIRS, &theirs);

    if (status == HELIOS_OK && theirs)
        status = compare_equal(compare, OURS, FIRST_BASE + s->base_count, &equal);
    *overtaken = status == HELIOS_OK && !equal;
    return status;
}

static helios_status space_is_overtaken(const struct merge_walk *w, uint8_t space, helios_seq now,
                                        bool *overtaken)
{
    const struct merge_states *s = w->states;
    const struct state_point target = {s->ours.branch, now};
    const uint8_t pair[1][2] = {{OURS, (uint8_t)(FIRST_BASE + s->base_count)}};
    struct compare_options options = {.space = space, .pairs = pair, .pair_count = 1};
    struct compare *compare = NULL;
    helios_status status = compare_states(w->db, s, &target, &options, &compare);

    while (status == HELIOS_OK && !*overtaken && compare_next(compare))
        status = key_is_overtaken(s, compare, w->rows && space != SPACE_USER, overtaken);
    if (status == HELIOS_OK)
        status = compare_status(compare);
    compare_free(compare);
    return status;
}

helios_status merge_is_overtaken(const struct merge_walk *w, helios_seq now, bool *overtaken)
{
    helios_status status = HELIOS_OK;

    *overtaken = false;
    for (size_t i = 0; i < SPACES && status == HELIOS_OK && !*overtaken; i++)
        status = space_is_overtaken(w, merged_spaces[i], now, overtaken);
    return status;
}
