/* branch_merges.c - differences, merges and reverts of test_branch_model, against the same made of whole states. */
#undef NDEBUG
#include "tests/branch_test.h"

/* ---- differences ---- */

static void check_difference(struct test *t, const helios_difference *d, size_t key,
                             const struct model_cell *from, const struct model_cell *to, bool keys_only)
{
    CHECK(t, slice_equal(d->key, key_slice(t, key)));
    CHECK(t, d->in_from == (from[key].value != 0) && d->in_to == (to[key].value != 0));
    CHECK(t, d->from_seq == from[key].seq && d->to_seq == to[key].seq);
    if (keys_only) {
        CHECK(t, !d->from.data && !d->to.data);
        return;
    }
    if (d->in_from)
        CHECK(t, value_is(t, d->from, from[key].value));
    if (d->in_to)
        CHECK(t, value_is(t, d->to, to[key].value));
}

static void check_diff(struct test *t, helios_diff *d, const struct model_cell *from,
                       const struct model_cell *to, size_t lower, size_t upper, bool keys_only)
{
    helios_difference difference;

    for (size_t key = lower; key < upper; key++)
        if (from[key].value != to[key].value) {
            CHECK(t, helios_diff_next(d, &difference));
            check_difference(t, &difference, key, from, to, keys_only);
        }
    CHECK(t, !helios_diff_next(d, &difference));
    CHECK(t, !helios_diff_next(d, &difference));
    MUST(t, helios_diff_status(d));
}

static void check_counts(struct test *t, const helios_diff_counts *counts, const struct model_cell *from,
                         const struct model_cell *to, size_t lower, size_t upper)
{
    uint64_t added = 0, removed = 0, changed = 0;

    for (size_t key = lower; key < upper; key++)
        if (from[key].value != to[key].value) {
            added += from[key].value == 0;
            removed += to[key].value == 0;
            changed += from[key].value && to[key].value;
        }
    CHECK(t, counts->added == added && counts->removed == removed && counts->changed == changed);
}

void diff(struct test *t)
{
    helios_diff_options options = HELIOS_DIFF_OPTIONS_INIT;
    struct ask from = any_ask(t), to = any_ask(t);
    size_t lower = 0, upper = t->key_count;
    helios_point a = {from.branch, from.read.at}, b = {to.branch, to.read.at};
    helios_diff_counts counts;
    helios_diff *d = NULL;
    helios_status status;

    if (from.read.snapshot || to.read.snapshot)
        return;
    if (chance(t, 3)) {
        lower = below(t, upper);
        upper = lower + below(t, upper - lower);
        options.lower = key_slice(t, lower);
        options.upper = key_slice(t, upper);
    }
    options.keys_only = chance(t, 4);
    status = helios_diff_new_with(t->db, a, b, &options, &d);
    if (status == HELIOS_HISTORY_GONE) {
        CHECK(t, !must_be_readable(t, &from) || !must_be_readable(t, &to));
        t->counts.gone++;
        return;
    }
    MUST(t, status);
    CHECK(t, may_be_readable(t, &from) && may_be_readable(t, &to));
    check_diff(t, d, state_of(t, &from), state_of(t, &to), lower, upper, options.keys_only);
    MUST(t, helios_diff_count(t->db, a, b, &options, &counts)); /* while the diff holds both points */
    check_counts(t, &counts, state_of(t, &from), state_of(t, &to), lower, upper);
    helios_diff_free(d);
    t->counts.diffs++;
    t->checks += 2;
}

/* ---- merges: what is to come ---- */

/* A merge or revert that is asked for, and what the model says of it. */
struct plan {
    struct test *t;
    helios_branch_id source, target;
    const struct model_cell *theirs, *ours, *base; /* base: NULL if there is not exactly one */
    enum model_outcome outcome[KEYS_MAX];
    uint64_t conflicts;
    helios_merge_options options;
    helios_resolution decision[KEYS_MAX];
    uint32_t value[KEYS_MAX]; /* of TAKE_VALUE */
    size_t abort_at;          /* key_count: nowhere */
    size_t told, asked;       /* keys up to here */
};

static void plan_outcomes(struct plan *p, const struct model_cell *const *bases, size_t count)
{
    p->base = count == 1 ? bases[0] : NULL;
    for (size_t i = 0; i < p->t->key_count; i++) {
        p->outcome[i] = model_three_way(p->theirs, p->ours, bases, count, i);
        p->conflicts += p->outcome[i] == MODEL_CONFLICT;
    }
}

/* The commit that made a side, or deleted it; what is at or below the horizon need not be known any more. */
static bool made_by(const struct test *t, const struct model_cell *cell, bool has, helios_seq seq)
{
    if (has != (cell->value != 0))
        return false;
    return has ? seq == cell->seq
               : seq == cell->deleted || (seq == 0 && cell->deleted <= helios_horizon(t->db));
}

static void check_conflict(struct plan *p, const helios_merge_conflict *c, size_t *cursor)
{
    struct test *t = p->t;
    size_t key = *cursor;

    while (key < t->key_count && p->outcome[key] != MODEL_CONFLICT)
        key++;
    CHECK(t, key < t->key_count);
    CHECK(t, slice_equal(c->key, key_slice(t, key)));
    CHECK(t, made_by(t, &p->ours[key], c->has_ours, c->ours_seq));
    CHECK(t, made_by(t, &p->theirs[key], c->has_theirs, c->theirs_seq));
    if (c->has_ours)
        CHECK(t, value_is(t, c->ours, p->ours[key].value));
    if (c->has_theirs)
        CHECK(t, value_is(t, c->theirs, p->theirs[key].value));
    if (p->base) {
        CHECK(t, made_by(t, &p->base[key], c->has_base, c->base_seq));
        if (c->has_base)
            CHECK(t, value_is(t, c->base, p->base[key].value));
    }
    *cursor = key + 1;
    t->checks++;
}

static void hear_conflict(void *arg, const helios_merge_conflict *c)
{
    struct plan *p = arg;

    check_conflict(p, c, &p->told);
}

static helios_resolution resolve(void *arg, const helios_merge_conflict *c, helios_buf *value)
{
    struct plan *p = arg;
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    size_t key;
    helios_status status;

    check_conflict(p, c, &p->asked);
    key = p->asked - 1;
    read.branch = p->target; /* it may read, also the target */
    status = helios_get(p->t->db, &read, c->key, &p->t->got);
    CHECK(p->t, status == (c->has_ours ? HELIOS_OK : HELIOS_NOT_FOUND));
    if (key == p->abort_at)
        return HELIOS_TAKE_ABORT;
    if (p->decision[key] == HELIOS_TAKE_VALUE) {
        helios_slice bytes = value_slice(p->t, p->value[key], p->t->value);

        MUST(p->t, buf_set(value, bytes.data, bytes.size));
    }
    return p->decision[key];
}

static void plan_options(struct plan *p, bool dry_run)
{
    struct test *t = p->t;

    p->options = (helios_merge_options)HELIOS_MERGE_OPTIONS_INIT;
    p->options.strategy = (helios_merge_strategy)below(t, 4);
    p->options.resolve = resolve;
    p->options.on_conflict = chance(t, 4) ? NULL : hear_conflict;
    p->options.arg = p;
    p->options.dry_run = dry_run;
    p->abort_at = t->key_count;
    for (size_t i = 0; i < t->key_count; i++) {
        p->decision[i] = (helios_resolution)below(t, 4); /* OURS, THEIRS, VALUE, DELETE */
        p->value[i] = fresh_value(t);
        if (p->outcome[i] == MODEL_CONFLICT && p->options.strategy == HELIOS_MERGE_RESOLVE && chance(t, 60) &&
            p->abort_at == t->key_count)
            p->abort_at = i;
    }
}

static bool plan_fails(const struct plan *p)
{
    return (p->conflicts && p->options.strategy == HELIOS_MERGE_FAIL) || p->abort_at < p->t->key_count;
}

/* What the target has of a key after it. */
static uint32_t outcome_value(const struct plan *p, size_t key)
{
    uint32_t ours = p->ours[key].value, theirs = p->theirs[key].value;

    if (p->outcome[key] != MODEL_CONFLICT)
        return p->outcome[key] == MODEL_TAKE ? theirs : ours;
    switch (p->options.strategy) {
    case HELIOS_MERGE_THEIRS: return theirs;
    case HELIOS_MERGE_RESOLVE: break;
    default: return ours;
    }
    switch (p->decision[key]) {
    case HELIOS_TAKE_THEIRS: return theirs;
    case HELIOS_TAKE_VALUE: return p->value[key];
    case HELIOS_TAKE_DELETE: return 0;
    default: return ours;
    }
}

/* Into the model's draft; counts what changes. */
static void plan_apply(struct plan *p, uint64_t *merged, uint64_t *deleted)
{
    *merged = *deleted = 0;
    model_begin(p->t->model, p->target);
    for (size_t i = 0; i < p->t->key_count; i++) {
        uint32_t value = outcome_value(p, i);

        if (value == p->ours[i].value)
            continue;
        value ? model_put(p->t->model, i, value) : model_delete(p->t->model, i);
        *(value ? merged : deleted) += 1;
    }
}

static void check_told(const struct plan *p)
{
    size_t last = 0;

    for (size_t i = 0; i < p->t->key_count; i++)
        if (p->outcome[i] == MODEL_CONFLICT && i <= p->abort_at)
            last = i + 1;
    if (p->options.on_conflict)
        CHECK(p->t, p->told >= last);
    CHECK(p->t, p->asked == (p->options.strategy == HELIOS_MERGE_RESOLVE ? last : 0));
}

/* ---- merges: done ---- */

/* The last merge into the target, as the library tells it: which point of the source it took is its own choice, as
 * long as that shows what the source shows now. */
static void note_merge(struct plan *p, const helios_merge_result *result)
{
    struct test *t = p->t;
    struct model *m = t->model;
    struct model_merge *merge = &m->merges[m->merge_count++];
    helios_merge_info *list = NULL;
    size_t n = 0;

    MUST(t, helios_branch_merges(t->db, p->target, &list, &n));
    CHECK(t, n > 0 && list[n - 1].commit == result->commit);
    CHECK(t, list[n - 1].source.branch == p->source);
    merge->commit = result->commit;
    merge->target = p->target;
    merge->source = (helios_point){p->source, of_point(list[n - 1].source.at)};
    merge->base = (helios_point){list[n - 1].base.branch, of_point(list[n - 1].base.at)};
    merge->closed_source = p->options.close_source;
    merge->reckoned = 0;
    CHECK(t, merge->source.at < result->commit);
    CHECK(t, model_last_change(m, p->source, false) <= merge->source.at);
    helios_free(list);
}

/* The bases' states; none where one of them was dropped. */
static size_t base_states(struct test *t, const helios_point *bases, size_t count,
                          const struct model_cell **states)
{
    for (size_t i = 0; i < count; i++) {
        if (!model_is_live(t->model, bases[i].branch))
            return 0;
        states[i] = model_state(t->model, bases[i].branch, bases[i].at);
    }
    return count;
}

static void check_base(struct test *t, helios_point told, const helios_point *bases, size_t count,
                       bool orphaned)
{
    bool found = orphaned && told.branch == 0 && told.at == HELIOS_SEQ_NONE;

    for (size_t i = 0; i < count; i++)
        found |= told.branch == bases[i].branch && of_point(told.at) == bases[i].at;
    CHECK(t, found);
}

/* Whether the target has all of the source already. In doubt where nothing that can be seen was done on the source
 * since it was last merged, or since its fork: that may be taken for something new or not. */
enum doubt { NO, PERHAPS, YES };
static enum doubt contained(struct test *t, helios_branch_id source, helios_branch_id target)
{
    uint64_t vector[MODEL_BRANCHES];
    helios_seq change = model_last_change(t->model, source, false);

    model_vector(t->model, target, model_latest(t->model), vector);
    if (change ? vector[source] > change : source == 0)
        return YES;
    return vector[source] > model_last_change(t->model, source, true) ||
                   model_last_change(t->model, source, true) == 0
               ? PERHAPS
               : NO;
}

/* No merge, but the source may have been closed, which is a commit of its own. */
static void nothing_merged(struct plan *p)
{
    struct test *t = p->t;

    t->counts.contained += !p->options.dry_run;
    if (p->options.close_source && !p->options.dry_run) {
        note_commit(t);
        t->model->branches[p->source].closed = model_latest(t->model);
    }
    CHECK(t, helios_latest(t->db) == model_latest(t->model));
}

static void merge_planned(struct plan *p, const helios_point *bases, size_t count, bool orphaned)
{
    struct test *t = p->t;
    enum doubt is_contained = contained(t, p->source, p->target);
    bool used = handles_on(t, p->source) || tagged(t, p->source);
    uint64_t merged, deleted;
    helios_merge_result result = {.commit = 77};
    helios_status status = helios_branch_merge(t->db, p->source, p->target, &p->options, &result);

    t->checks++;
    if (t->model->branches[p->target].closed && !p->options.dry_run) {
        CHECK(t, status == HELIOS_READ_ONLY);
        return;
    }
    if (t->model->branches[p->target].closed && status == HELIOS_READ_ONLY)
        return;
    if (p->options.close_source && used) {
        CHECK(t, status == HELIOS_BUSY || (status == HELIOS_CONFLICT && plan_fails(p)));
        CHECK(t, helios_latest(t->db) == model_latest(t->model));
        return;
    }
    check_told(p);
    if (plan_fails(p)) {
        CHECK(t, status == HELIOS_CONFLICT);
        CHECK(t, p->options.strategy != HELIOS_MERGE_FAIL || result.conflicts == p->conflicts);
        CHECK(t, helios_latest(t->db) == model_latest(t->model));
        return;
    }
    MUST(t, status);
    plan_apply(p, &merged, &deleted);
    CHECK(t, result.merged == merged && result.deleted == deleted && result.conflicts == p->conflicts);
    if (is_contained != YES)
        check_base(t, result.base, bases, count, orphaned);
    if (p->options.dry_run || (is_contained != NO && result.commit == 0)) {
        CHECK(t, result.commit == 0);
        nothing_merged(p);
        return;
    }
    CHECK(t, is_contained != YES);
    CHECK(t, result.commit == helios_latest(t->db));
    note_merge(p, &result);
    committed(t, p->target);
    if (p->options.close_source)
        t->model->branches[p->source].closed = result.commit;
    t->counts.merges++;
    t->counts.empty += merged + deleted == 0;
    t->counts.conflicts += p->conflicts != 0;
    t->counts.several += count > 1;
    t->counts.orphaned += orphaned;
}

void merge(struct test *t)
{
    helios_seq latest = model_latest(t->model);
    struct plan p = {.t = t, .source = any_branch(t), .target = any_branch(t)};
    helios_point bases[MODEL_BRANCHES];
    const struct model_cell *states[MODEL_BRANCHES];
    size_t count, usable;

    if (p.source == p.target || t->model->merge_count == MODEL_MERGES)
        return;
    p.theirs = model_state(t->model, p.source, latest);
    p.ours = model_state(t->model, p.target, latest);
    count = model_bases(t->model, (helios_point){p.source, latest}, (helios_point){p.target, latest}, bases);
    usable = base_states(t, bases, count, states);
    plan_outcomes(&p, states, usable);
    if (chance(t, 4)) {
        struct plan dry = p;

        plan_options(&dry, true);
        merge_planned(&dry, bases, count, usable < count);
    }
    plan_options(&p, false);
    p.options.close_source = p.source && !t->model->branches[p.source].closed && chance(t, 40);
    merge_planned(&p, bases, count, usable < count);
}

void list_merges(struct test *t)
{
    helios_branch_id branch = any_branch(t);
    helios_merge_info *list = NULL;
    size_t n = 0, at = 0;

    MUST(t, helios_branch_merges(t->db, branch, &list, &n));
    for (size_t i = 0; i < t->model->merge_count; i++) {
        const struct model_merge *merge = &t->model->merges[i];

        if (merge->target != branch)
            continue;
        CHECK(t, at < n);
        CHECK(t, list[at].commit == merge->commit && list[at].target == branch);
        CHECK(t, list[at].source.branch == merge->source.branch);
        CHECK(t, of_point(list[at].source.at) == merge->source.at);
        CHECK(t, list[at].base.branch == merge->base.branch && of_point(list[at].base.at) == merge->base.at);
        CHECK(t, list[at].closed_source == merge->closed_source);
        at++;
    }
    CHECK(t, at == n);
    helios_free(list);
    t->checks++;
}

/* ---- reverts ---- */

/* Some span of the past; commits of other branches lie in it, too. */
static void any_span(struct test *t, helios_seq *first, helios_seq *last)
{
    helios_seq latest = model_latest(t->model), swap;
    uint64_t reach = chance(t, 5) ? latest : latest < 40 ? latest : 40;

    *first = latest - below(t, reach);
    *last = latest - below(t, reach);
    if (*first > *last) {
        swap = *first;
        *first = *last;
        *last = swap;
    }
}

void revert(struct test *t)
{
    struct plan p = {.t = t};
    struct ask before, last_ask;
    helios_seq first, last;
    uint64_t merged, deleted;
    helios_merge_result result = {.commit = 77};
    helios_status status;

    if (model_latest(t->model) == 0)
        return;
    any_span(t, &first, &last);
    p.source = p.target = any_branch(t);
    before = ask_at(t, p.target, first - 1);
    last_ask = ask_at(t, p.target, last);
    p.theirs = state_of(t, &before);
    p.ours = model_state(t->model, p.target, UINT64_MAX);
    plan_outcomes(&p, (const struct model_cell *[]){state_of(t, &last_ask)}, 1);
    plan_options(&p, chance(t, 4));
    status = helios_branch_revert(t->db, p.target, first, last, &p.options, &result);
    t->checks++;
    if (status == HELIOS_HISTORY_GONE) {
        CHECK(t, !must_be_readable(t, &before) || !must_be_readable(t, &last_ask));
        t->counts.gone++;
        return;
    }
    if (t->model->branches[p.target].closed && (status == HELIOS_READ_ONLY || !p.options.dry_run)) {
        CHECK(t, status == HELIOS_READ_ONLY);
        return;
    }
    CHECK(t, may_be_readable(t, &before) && may_be_readable(t, &last_ask));
    check_told(&p);
    if (plan_fails(&p)) {
        CHECK(t, status == HELIOS_CONFLICT);
        CHECK(t, helios_latest(t->db) == model_latest(t->model));
        return;
    }
    MUST(t, status);
    plan_apply(&p, &merged, &deleted);
    CHECK(t, result.merged == merged && result.deleted == deleted && result.conflicts == p.conflicts);
    if (p.options.dry_run || (merged + deleted == 0 && result.commit == 0)) {
        CHECK(t, result.commit == 0 && helios_latest(t->db) == model_latest(t->model));
        return;
    }
    CHECK(t, result.commit == helios_latest(t->db));
    committed(t, p.target);
    t->counts.reverts++;
}
