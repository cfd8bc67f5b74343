/* branch_checks.c - the reads of test_branch_model: keys, walks, histories and lists, at points of all kinds. */
#undef NDEBUG
#include "tests/branch_test.h"

bool value_is(struct test *t, helios_slice bytes, uint32_t value)
{
    return slice_equal(bytes, value_slice(t, value, t->other));
}

/* ---- points ---- */

/* Some number there is: mostly of late. */
static helios_seq any_number(struct test *t)
{
    helios_seq latest = model_latest(t->model);
    uint64_t reach = chance(t, 4) ? latest : latest < 100 ? latest : 100;

    return latest ? latest - below(t, reach) : 0;
}

struct ask ask_at(struct test *t, helios_branch_id branch, helios_seq at)
{
    struct ask ask = {.read = HELIOS_READ_OPTIONS_INIT, .branch = branch, .at = at};

    ask.read.branch = branch;
    ask.read.at = as_point(at);
    ask.horizon = helios_horizon(t->db);
    return ask;
}

struct ask any_ask(struct test *t)
{
    helios_branch_id branch = any_branch(t);
    struct ask ask = ask_at(t, branch, model_latest(t->model));
    const struct held_snapshot *s = &t->snapshots[below(t, SNAPSHOTS_MAX)];
    const struct tag *tag = t->tag_count ? &t->tags[below(t, t->tag_count)] : NULL;
    helios_branch_id other = any_branch(t);

    switch (below(t, 12)) {
    case 0:
        if (s->handle) {
            ask.at = s->at;
            ask.read.at = chance(t, 2) ? 1 : 0; /* the snapshot wins */
            ask.read.snapshot = s->handle;
        }
        return ask;
    case 1: return tag && !tag->dropped ? ask_at(t, tag->branch, tag->at) : ask;
    case 2: return other ? ask_at(t, branch, branch_fork(t, other)) : ask;
    case 3: return other ? ask_at(t, t->model->branches[other].parent, branch_fork(t, other)) : ask;
    case 4: return chance(t, 4) ? ask_at(t, branch, 0) : ask_at(t, branch, helios_horizon(t->db));
    case 5:
    case 6:
    case 7: return ask_at(t, branch, any_number(t));
    default: ask.read.at = 0; return ask;
    }
}

static bool snapshot_at(const struct test *t, helios_seq at)
{
    for (size_t i = 0; i < SNAPSHOTS_MAX; i++)
        if (t->snapshots[i].handle && t->snapshots[i].at == at)
            return true;
    return false;
}

static bool tag_holds(const struct test *t, helios_branch_id branch, helios_seq at)
{
    for (size_t i = 0; i < t->tag_count; i++)
        if (!t->tags[i].dropped && t->tags[i].branch == branch && t->tags[i].at == at)
            return true;
    return false;
}

bool must_be_readable(struct test *t, const struct ask *ask)
{
    return ask->at == 0 || ask->read.snapshot || ask->at >= helios_horizon(t->db) || snapshot_at(t, ask->at) ||
           tag_holds(t, ask->branch, ask->at);
}

/* Anything that may pin a point which reads as this one, on any branch; the one before the first commit needs none. */
bool may_be_readable(struct test *t, const struct ask *ask)
{
    const struct model *m = t->model;
    helios_seq commit = model_commit_at(m, ask->at);

    if (ask->at == 0 || ask->at >= ask->horizon)
        return true;
    for (size_t i = 0; i < SNAPSHOTS_MAX; i++)
        if (t->snapshots[i].handle && model_commit_at(m, t->snapshots[i].at) == commit)
            return true;
    for (size_t i = 0; i < ITERATORS_MAX; i++)
        if (t->iterators[i].handle && model_commit_at(m, t->iterators[i].at) == commit)
            return true;
    for (size_t i = 0; i < TXNS_MAX; i++)
        if (t->txns[i].handle && model_commit_at(m, t->txns[i].begin) == commit)
            return true;
    for (size_t i = 0; i < t->tag_count; i++)
        if (!t->tags[i].dropped && model_commit_at(m, t->tags[i].at) == commit)
            return true;
    for (helios_branch_id i = 1; i < m->branch_count; i++)
        if (model_commit_at(m, branch_fork(t, i)) == commit)
            return true; /* of a dropped one, too: others may have merged it */
    for (size_t i = 0; i < m->merge_count; i++)
        if (model_commit_at(m, m->merges[i].source.at) == commit)
            return true;
    return false;
}

bool judge(struct test *t, const struct ask *ask, helios_status status)
{
    t->checks++;
    if (status == HELIOS_HISTORY_GONE) {
        CHECK(t, !must_be_readable(t, ask));
        t->counts.gone++;
        return false;
    }
    MUST(t, status);
    CHECK(t, may_be_readable(t, ask));
    return true;
}

/* ---- keys ---- */

void get(struct test *t)
{
    struct ask ask = any_ask(t);
    size_t key = below(t, t->key_count);
    helios_status status = helios_get(t->db, &ask.read, key_slice(t, key), &t->got);
    uint32_t value = state_of(t, &ask)[key].value;

    if (!judge(t, &ask, status == HELIOS_NOT_FOUND ? HELIOS_OK : status))
        return;
    CHECK(t, status == (value ? HELIOS_OK : HELIOS_NOT_FOUND));
    if (value)
        CHECK(t, value_is(t, buf_slice(&t->got), value));
}

void multi_get(struct test *t)
{
    enum { COUNT = 7 };
    struct ask ask = any_ask(t);
    helios_slice keys[COUNT];
    size_t chosen[COUNT];
    helios_buf values[COUNT] = {0};
    helios_status each[COUNT];

    for (size_t i = 0; i < COUNT; i++) {
        chosen[i] = below(t, t->key_count);
        keys[i] = key_slice(t, chosen[i]);
    }
    if (judge(t, &ask, helios_multi_get(t->db, &ask.read, COUNT, keys, values, each)))
        for (size_t i = 0; i < COUNT; i++) {
            uint32_t value = state_of(t, &ask)[chosen[i]].value;

            CHECK(t, each[i] == (value ? HELIOS_OK : HELIOS_NOT_FOUND));
            if (value)
                CHECK(t, value_is(t, buf_slice(&values[i]), value));
        }
    for (size_t i = 0; i < COUNT; i++)
        helios_buf_free(&values[i]);
}

/* ---- walks ---- */

static void check_cell(struct test *t, helios_iter *it, size_t key, const struct model_cell *cell)
{
    CHECK(t, helios_iter_valid(it));
    CHECK(t, slice_equal(helios_iter_key(it), key_slice(t, key)));
    CHECK(t, value_is(t, helios_iter_value(it), cell->value));
    CHECK(t, helios_iter_seq(it) == cell->seq);
}

/* Keys [lower, upper) of the state, one way or the other; the iterator has these bounds. */
static void check_walk(struct test *t, helios_iter *it, const struct model_cell *cells, size_t lower,
                       size_t upper, bool backward)
{
    backward ? helios_iter_last(it) : helios_iter_first(it);
    for (size_t i = lower; i < upper; i++) {
        size_t key = backward ? upper - 1 - (i - lower) : i;

        if (!cells[key].value)
            continue;
        check_cell(t, it, key, &cells[key]);
        backward ? helios_iter_prev(it) : helios_iter_next(it);
    }
    CHECK(t, !helios_iter_valid(it));
    MUST(t, helios_iter_status(it));
    t->checks++;
}

static void any_bounds(struct test *t, helios_read_options *read, size_t *lower, size_t *upper)
{
    *lower = 0;
    *upper = t->key_count;
    if (chance(t, 3))
        return;
    *lower = below(t, t->key_count);
    *upper = *lower + below(t, t->key_count - *lower);
    read->lower = key_slice(t, *lower);
    read->upper = key_slice(t, *upper);
}

void walk(struct test *t)
{
    struct ask ask = any_ask(t);
    helios_iter *it = NULL;
    size_t lower, upper;

    any_bounds(t, &ask.read, &lower, &upper);
    if (!judge(t, &ask, helios_iter_new(t->db, &ask.read, &it)))
        return;
    check_walk(t, it, state_of(t, &ask), lower, upper, chance(t, 2));
    helios_iter_free(it);
}

/* Seeks to either side, then a few moves this way and that. */
void seek(struct test *t)
{
    struct ask ask = any_ask(t);
    const struct model_cell *cells = state_of(t, &ask);
    helios_iter *it = NULL;
    size_t key = below(t, t->key_count), count = t->key_count;

    if (!judge(t, &ask, helios_iter_new(t->db, &ask.read, &it)))
        return;
    if (chance(t, 2)) {
        helios_iter_seek(it, key_slice(t, key));
        while (key < count && !cells[key].value)
            key++;
    } else {
        helios_iter_seek_for_prev(it, key_slice(t, key));
        while (key < count && !cells[key].value)
            key--; /* below 0 it is a huge number */
    }
    for (int moves = 0; moves < 8; moves++) {
        CHECK(t, helios_iter_valid(it) == (key < count));
        if (key >= count)
            break;
        check_cell(t, it, key, &cells[key]);
        if (chance(t, 2)) {
            helios_iter_next(it);
            while (++key < count && !cells[key].value)
                ;
        } else {
            helios_iter_prev(it);
            while (--key < count && !cells[key].value)
                ;
        }
    }
    MUST(t, helios_iter_status(it));
    helios_iter_free(it);
}

/* One that stays open over the steps; what it shows stays as it was. */
void hold_iterator(struct test *t)
{
    struct held_iterator *held = &t->iterators[below(t, ITERATORS_MAX)];
    struct ask ask = any_ask(t);

    if (held->handle) {
        check_walk(t, held->handle, model_state(t->model, held->branch, held->at), held->lower, held->upper,
                   chance(t, 2));
        if (chance(t, 3)) {
            helios_iter_free(held->handle);
            *held = (struct held_iterator){0};
        }
        return;
    }
    any_bounds(t, &ask.read, &held->lower, &held->upper);
    if (judge(t, &ask, helios_iter_new(t->db, &ask.read, &held->handle))) {
        held->branch = ask.branch;
        held->at = ask.at;
    }
}

/* ---- histories ---- */

static void check_version(struct test *t, const helios_version *v, const struct model_cell *cell,
                          helios_seq seq, helios_branch_id layer)
{
    CHECK(t, v->seq == seq);
    CHECK(t, v->branch == layer);
    CHECK(t, v->deleted == (cell->value == 0));
    if (cell->value)
        CHECK(t, value_is(t, v->value, cell->value));
}

/* The commits of the branch's past, newest first: each that put the key is a version, each that took it away too. */
void history_of_key(struct test *t)
{
    struct ask ask = any_ask(t);
    helios_branch_id branch = ask.branch, layer;
    size_t key = below(t, t->key_count);
    helios_seq at = ask.at, horizon, seq;
    helios_history *h = NULL;
    helios_version version;

    if (!judge(t, &ask, helios_history_new(t->db, &ask.read, key_slice(t, key), &h)))
        return;
    horizon = ask.at < helios_horizon(t->db) ? ask.at : helios_horizon(t->db);
    while (at > horizon && (seq = model_state_commit(t->model, branch, at, &layer)) > horizon) {
        const struct model_cell *cell = &model_state(t->model, layer, seq)[key],
                                *before = &model_state(t->model, layer, seq - 1)[key];

        if (cell->value ? cell->seq == seq : before->value != 0) {
            CHECK(t, helios_history_next(h, &version));
            check_version(t, &version, cell, seq, layer);
        }
        at = seq - 1;
        branch = layer;
    }
    if (model_state(t->model, ask.branch, horizon)[key].value) {
        const struct model_cell *cell = &model_state(t->model, ask.branch, horizon)[key];

        CHECK(t, helios_history_next(h, &version));
        (void)model_state_commit(t->model, ask.branch, cell->seq, &layer);
        check_version(t, &version, cell, cell->seq, layer);
    }
    CHECK(t, !helios_history_next(h, &version));
    MUST(t, helios_history_status(h));
    helios_history_free(h);
}

/* ---- lists ---- */

static helios_branch_state state_at(const struct model_branch *b, helios_seq at)
{
    if (b->dropped && b->dropped <= at)
        return HELIOS_BRANCH_DROPPED;
    return b->closed && b->closed <= at ? HELIOS_BRANCH_MERGED : HELIOS_BRANCH_ACTIVE;
}

static void check_info(struct test *t, const helios_branch_info *info, helios_seq at)
{
    const struct model_branch *b = &t->model->branches[info->id];
    helios_branch_state state = state_at(b, at);

    CHECK(t, info->id < t->model->branch_count);
    CHECK(t, strcmp(info->name, model_event_at(t->model, info->id, at)->name) == 0);
    CHECK(t, info->state == state);
    if (info->id != 0) {
        CHECK(t, info->parent == b->parent);
        CHECK(t, of_point(info->fork_seq) == b->fork);
        CHECK(t, info->created_seq == b->made);
    }
    CHECK(t, info->closed_seq == (state == HELIOS_BRANCH_ACTIVE   ? 0
                                  : state == HELIOS_BRANCH_MERGED ? b->closed
                                                                  : b->dropped));
}

static void check_list(struct test *t, const helios_branch_info *list, size_t n, helios_seq at)
{
    size_t live = 0;

    for (helios_branch_id i = 0; i < t->model->branch_count; i++)
        live +=
            t->model->branches[i].made <= at && state_at(&t->model->branches[i], at) != HELIOS_BRANCH_DROPPED;
    CHECK(t, n == live);
    for (size_t i = 0; i < n; i++) {
        CHECK(t, i == 0 || strcmp(list[i - 1].name, list[i].name) < 0);
        check_info(t, &list[i], at);
    }
}

void list_branches(struct test *t)
{
    helios_branch_info *list = NULL;
    size_t n = 0;

    MUST(t, helios_branch_list(t->db, &list, &n));
    check_list(t, list, n, model_latest(t->model));
    for (size_t i = 0; i < n; i++) {
        helios_branch_id id = 77;

        MUST(t, helios_branch_find(t->db, list[i].name, &id));
        CHECK(t, id == list[i].id);
    }
    helios_free(list);
    t->checks++;
}

void list_branches_at(struct test *t)
{
    helios_branch_info *list = NULL;
    struct ask ask = any_ask(t);
    size_t n = 0;
    helios_status status;

    if (ask.read.snapshot)
        return;
    status = helios_branch_list_at(t->db, ask.read.at, &list, &n);
    t->checks++;
    if (status == HELIOS_HISTORY_GONE) { /* whatever pins keys */
        CHECK(t, ask.at < helios_horizon(t->db));
        return;
    }
    MUST(t, status);
    check_list(t, list, n, ask.at);
    helios_free(list);
}

/* All that there is to know about one branch, dropped ones included. */
void check_branch(struct test *t)
{
    helios_branch_id id = (helios_branch_id)below(t, t->model->branch_count), found;
    const struct model_event *event = model_event_at(t->model, id, UINT64_MAX);
    helios_branch_info *info = NULL;
    helios_branch_usage usage;

    MUST(t, helios_branch_get(t->db, id, &info));
    CHECK(t, info->id == id);
    check_info(t, info, UINT64_MAX);
    helios_free(info);
    if (model_is_live(t->model, id)) {
        MUST(t, helios_branch_usage_get(t->db, id, &usage));
        CHECK(t, usage.children == model_children(t->model, id));
        CHECK(t, id == 0 || usage.handles == handles_on(t, id));
    }
    if (id && model_is_live(t->model, id)) {
        MUST(t, helios_branch_metadata(t->db, id, &t->got));
        CHECK(t, t->got.size == event->metadata);
        CHECK(t,
              event->metadata == 0 || memcmp(t->got.data, t->metadata + event->metadata % 7, t->got.size) == 0);
    } else if (id && helios_branch_find(t->db, event->name, &found) == HELIOS_OK) {
        CHECK(t, found != id); /* the name may have been given again */
    }
    t->checks++;
}

/* ---- what must be refused ---- */

static void ask_dropped(struct test *t, helios_branch_id branch)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    helios_txn_options begin = HELIOS_TXN_OPTIONS_INIT;
    helios_slice key = key_slice(t, below(t, t->key_count));
    helios_merge_result result;
    helios_branch_id id;
    helios_history *h;
    helios_iter *it;
    helios_txn *txn;
    helios_diff *d;

    read.branch = write.branch = begin.branch = branch;
    read.at = chance(t, 2) ? 0 : as_point(model_latest(t->model));
    CHECK(t, helios_get(t->db, &read, key, &t->got) == HELIOS_NOT_FOUND);
    CHECK(t, helios_iter_new(t->db, &read, &it) == HELIOS_NOT_FOUND);
    CHECK(t, helios_history_new(t->db, &read, key, &h) == HELIOS_NOT_FOUND);
    CHECK(t, helios_put(t->db, &write, key, key) == HELIOS_NOT_FOUND);
    CHECK(t, helios_delete_range(t->db, &write, key, slice_make("\xff\xff\xff", 3)) == HELIOS_NOT_FOUND);
    CHECK(t, helios_txn_begin(t->db, &begin, &txn) == HELIOS_NOT_FOUND);
    CHECK(t, helios_tag_create(t->db, "of none", branch, 0) == HELIOS_NOT_FOUND);
    CHECK(t, helios_branch_create(t->db, "of none", branch, 0, &id) == HELIOS_NOT_FOUND);
    CHECK(t, helios_branch_drop(t->db, branch) == HELIOS_NOT_FOUND);
    CHECK(t, helios_branch_rename(t->db, branch, "of none") == HELIOS_NOT_FOUND);
    CHECK(t, helios_branch_merge(t->db, branch, 0, NULL, &result) == HELIOS_NOT_FOUND);
    CHECK(t, helios_branch_merge(t->db, 0, branch, NULL, &result) == HELIOS_NOT_FOUND);
    CHECK(t, helios_branch_revert(t->db, branch, 1, 1, NULL, &result) == HELIOS_NOT_FOUND);
    CHECK(t, helios_diff_new(t->db, (helios_point){branch, 0}, (helios_point){0, 0}, &d) == HELIOS_NOT_FOUND);
    CHECK(t, helios_diff_new(t->db, (helios_point){0, 0}, (helios_point){branch, 0}, &d) == HELIOS_NOT_FOUND);
}

void ask_wrongly(struct test *t)
{
    helios_branch_id dropped = any_dropped(t), branch = any_branch(t), id;
    helios_seq latest = model_latest(t->model);
    helios_merge_options close = HELIOS_MERGE_OPTIONS_INIT;
    helios_merge_result result;
    helios_diff *d;

    if (latest == 0)
        return;
    ask_dropped(t, dropped ? dropped : t->model->branch_count + 5);
    CHECK(t, helios_branch_create(t->db, "in the future", branch, latest + 1, &id) == HELIOS_INVALID);
    CHECK(t, helios_branch_create(t->db, model_event_at(t->model, branch, UINT64_MAX)->name, 0, 0, &id) ==
                 HELIOS_EXISTS);
    CHECK(t, helios_branch_drop(t->db, 0) == HELIOS_INVALID);
    CHECK(t, helios_branch_rename(t->db, 0, "head") == HELIOS_INVALID);
    CHECK(t, helios_branch_set_metadata(t->db, 0, slice_make("x", 1)) == HELIOS_INVALID);
    CHECK(t, helios_branch_merge(t->db, branch, branch, NULL, &result) == HELIOS_INVALID);
    CHECK(t, helios_branch_revert(t->db, 0, latest + 1, latest + 1, NULL, &result) == HELIOS_INVALID);
    CHECK(t, helios_branch_revert(t->db, 0, latest, latest - 1, NULL, &result) == HELIOS_INVALID);
    CHECK(t, helios_diff_new(t->db, (helios_point){0, latest + 1}, (helios_point){branch, 0}, &d) ==
                 HELIOS_INVALID);
    close.close_source = true;
    CHECK(t, helios_branch_revert(t->db, 0, latest, latest, &close, &result) == HELIOS_INVALID);
    if (branch && !t->model->branches[branch].closed)
        CHECK(t, helios_branch_merge(t->db, 0, branch, &close, &result) == HELIOS_INVALID);
    CHECK(t, helios_latest(t->db) == latest);
    t->checks++;
}

/* ---- everything ---- */

void check_all(struct test *t)
{
    for (helios_branch_id i = 0; i < t->model->branch_count; i++)
        if (model_is_live(t->model, i)) {
            helios_read_options read = HELIOS_READ_OPTIONS_INIT;
            helios_iter *it = NULL;

            read.branch = i;
            MUST(t, helios_iter_new(t->db, &read, &it));
            check_walk(t, it, model_state(t->model, i, UINT64_MAX), 0, t->key_count, i % 2);
            helios_iter_free(it);
        }
    list_branches(t);
}
