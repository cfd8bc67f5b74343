/* sim_judge.c - holds what the clients of the simulation did and saw against the naive model. */
#undef NDEBUG
#include "tests/sim_world.h"
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

/* ---- what is in doubt ---- */

/* The commit that wrote the marker with this value; 0: none that is there. False: it could not be read. */
static bool find_marker(struct sim_world *w, const struct sim_event *e, helios_seq *seq)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_slice key = sim_key(w, e->ops[e->op_count - 1].key);
    helios_iter *it = NULL;
    helios_status status;

    *seq = 0;
    read.branch = e->branch;
    status = helios_iter_new(w->db, &read, &it);
    if (status == HELIOS_NOT_FOUND)
        return true;
    if (status != HELIOS_OK)
        return false;
    helios_iter_seek(it, key);
    if (helios_iter_valid(it) && slice_equal(helios_iter_key(it), key) &&
        sim_value_number(helios_iter_value(it)) == e->marker)
        *seq = helios_iter_seq(it);
    status = helios_iter_status(it);
    helios_iter_free(it);
    return status == HELIOS_OK;
}

/* Of one commit without a marker: it is the last one, or it is not there. */
static bool find_last(struct sim_world *w, const struct sim_event *e, helios_seq *seq)
{
    helios_seq latest = helios_latest(w->db);

    *seq = latest > e->before && latest > model_latest(w->model) ? latest : 0;
    return true;
}

static bool find_fork(struct sim_world *w, struct sim_event *e, helios_seq *seq)
{
    helios_branch_info *list = NULL;
    size_t n = 0;

    *seq = 0;
    if (helios_branch_list(w->db, &list, &n) != HELIOS_OK)
        return false;
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, e->name) == 0) {
            *seq = list[i].created_seq;
            e->other = list[i].id;
            e->at = list[i].fork_seq == HELIOS_SEQ_NONE ? 0 : list[i].fork_seq;
        }
    helios_free(list);
    return true;
}

static bool merge_is_known(const struct sim_world *w, helios_seq commit)
{
    for (size_t i = 0; i < w->model->merge_count; i++)
        if (w->model->merges[i].commit == commit)
            return true;
    for (size_t i = 0; i < w->event_count; i++)
        if (w->events[i].kind == EVENT_MERGE && w->events[i].seq == commit)
            return true;
    return false;
}

static bool find_merge(struct sim_world *w, struct sim_event *e, helios_seq *seq)
{
    helios_merge_info *list = NULL;
    size_t n = 0;
    helios_status status = helios_branch_merges(w->db, e->branch, &list, &n);

    *seq = 0;
    if (status == HELIOS_NOT_FOUND)
        return true;
    if (status != HELIOS_OK)
        return false;
    for (size_t i = 0; i < n; i++)
        if (list[i].source.branch == e->other && list[i].commit > e->before &&
            !merge_is_known(w, list[i].commit)) {
            *seq = list[i].commit;
            e->at = list[i].source.at == HELIOS_SEQ_NONE ? 0 : list[i].source.at;
            break;
        }
    helios_free(list);
    return true;
}

static bool find_drop(struct sim_world *w, const struct sim_event *e, helios_seq *seq)
{
    helios_branch_info *info = NULL;
    helios_status status = helios_branch_get(w->db, e->branch, &info);

    *seq = 0;
    if (status == HELIOS_OK && info->state == HELIOS_BRANCH_DROPPED)
        *seq = info->closed_seq;
    helios_free(info);
    return status == HELIOS_OK || status == HELIOS_NOT_FOUND;
}

static bool find_event(struct sim_world *w, struct sim_event *e, helios_seq *seq)
{
    switch (e->kind) {
    case EVENT_FORK: return find_fork(w, e, seq);
    case EVENT_MERGE: return find_merge(w, e, seq);
    case EVENT_DROP: return find_drop(w, e, seq);
    default: return e->marker ? find_marker(w, e, seq) : find_last(w, e, seq);
    }
}

/* Gives those that are there their numbers; answers from where on it is not known what there is. What failed to be made
 * durable may be seen before the next open, while branches and merges are told of only once they are. */
static helios_seq settle_doubts(struct sim_world *w, bool opened)
{
    helios_seq unsure = HELIOS_SEQ_NONE;

    for (size_t i = 0; i < w->event_count; i++) {
        struct sim_event *e = &w->events[i];
        helios_seq seq = 0;

        if (!e->in_doubt)
            continue;
        if (!find_event(w, e, &seq) || (!seq && !opened && e->kind != EVENT_WRITE)) {
            unsure = e->before < unsure ? e->before : unsure;
            continue;
        }
        sim_note("doubt about step %u: %" PRIu64, e->step, seq);
        e->seq = seq;
        e->in_doubt = seq == 0;
    }
    return unsure;
}

/* ---- looks ---- */

static bool look_matches(const struct sim_world *w, const struct sim_look *look, helios_seq at)
{
    const struct model_cell *state = model_state(w->model, look->branch, at);

    for (size_t i = 0; i < w->cell_count; i++)
        if (look->seen[i] >= 0 && state[i].value != (uint32_t)look->seen[i])
            return false;
    return true;
}

/* The next point at which a look may have been, after `at`; 0 to begin with. False: none is left. */
static bool next_point(const struct sim_world *w, const struct sim_look *look, bool first, helios_seq *at)
{
    const struct model *m = w->model;
    size_t i = 0;

    if (first) {
        *at = look->low;
        return true;
    }
    while (i < m->commit_count && m->commits[i] <= *at)
        i++;
    if (i == m->commit_count || m->commits[i] > look->high)
        return false;
    *at = m->commits[i];
    return true;
}

static void tell_look(const struct sim_world *w, const struct sim_look *look)
{
    const struct model_cell *low = model_state(w->model, look->branch, look->low);
    const struct model_cell *high = model_state(w->model, look->branch, look->high);

    for (size_t i = 0; i < w->cell_count; i++)
        if (look->seen[i] >= 0 && low[i].value != (uint32_t)look->seen[i])
            fprintf(stderr,
                    "  key %zu: seen %" PRId32 ", at %" PRIu64 " %" PRIu32 " of %" PRIu64 ", at %" PRIu64
                    " %" PRIu32 " of %" PRIu64 "\n",
                    i, look->seen[i], look->low, low[i].value, low[i].touched, look->high, high[i].value,
                    high[i].touched);
}

static void check_look(const struct sim_world *w, const struct sim_look *look)
{
    helios_seq at = 0;
    bool first = true;

    for (; next_point(w, look, first, &at); first = false)
        if (look_matches(w, look, at))
            return;
    tell_look(w, look);
    sim_failed(__FILE__, __LINE__,
               "step %u saw of branch %" PRIu32 " what was at no point from %" PRIu64 " to %" PRIu64,
               look->step, look->branch, look->low, look->high);
}

/* ---- commits ---- */

static bool untouched_since(const struct sim_world *w, const struct sim_event *e, helios_seq at)
{
    const struct model_cell *state = model_state(w->model, e->branch, UINT64_MAX);

    for (unsigned i = 0; i < e->op_count; i++) {
        const struct sim_op *op = &e->ops[i];
        size_t to = op->kind == SIM_RANGE ? op->to : op->key + 1u;

        for (size_t key = op->key; key < to; key++)
            if (state[key].touched > at)
                return false;
    }
    return true;
}

/* It began at one point, has seen that, and was the first to write what it wrote since; a serializable one could have read
 * everything just before its commit. */
static void check_transaction(const struct sim_world *w, const struct sim_event *e)
{
    const struct sim_look *look = &w->looks[e->look];
    helios_seq at = 0;
    bool first = true, found = false;

    for (; !found && next_point(w, look, first, &at); first = false)
        found = look_matches(w, look, at) && untouched_since(w, e, at);
    if (!found) {
        tell_look(w, look);
        for (unsigned i = 0; i < e->op_count; i++)
            fprintf(stderr, "  wrote %d, keys %u to %u, value %" PRIu32 "\n", (int)e->ops[i].kind,
                    e->ops[i].key, e->ops[i].to, e->ops[i].value);
    }
    SIM_CHECK(found, "step %u: its transaction %" PRIu64 " began at no point from %" PRIu64 " to %" PRIu64,
              e->step, e->seq, look->low, look->high);
    SIM_CHECK(!e->serializable || look_matches(w, look, UINT64_MAX),
              "step %u: what transaction %" PRIu64 " read was not so at its commit", e->step, e->seq);
}

static void apply_write(struct sim_world *w, const struct sim_event *e)
{
    if (e->look >= 0)
        check_transaction(w, e);
    model_begin(w->model, e->branch);
    for (unsigned i = 0; i < e->op_count; i++) {
        const struct sim_op *op = &e->ops[i];

        if (op->kind == SIM_PUT)
            model_put(w->model, op->key, op->value);
        for (size_t key = op->key; op->kind == SIM_RANGE && key < op->to; key++)
            model_delete(w->model, key);
        if (op->kind == SIM_DELETE)
            model_delete(w->model, op->key);
    }
    model_commit(w->model, e->branch, e->seq);
}

/* Numbers that failed calls took are of branches that never were. */
static void apply_fork(struct sim_world *w, const struct sim_event *e)
{
    struct model *m = w->model;

    SIM_CHECK(e->other >= m->branch_count, "step %u: branch %" PRIu32 " was there before", e->step, e->other);
    for (; m->branch_count < e->other; m->branch_count++)
        m->branches[m->branch_count] = (struct model_branch){.made = e->seq, .dropped = 1};
    (void)model_fork(m, e->branch, e->at, e->name, e->seq);
}

static size_t base_states(struct sim_world *w, const struct sim_event *e, const struct model_cell **states)
{
    helios_point bases[MODEL_BRANCHES];
    size_t count =
        model_bases(w->model, (helios_point){e->other, e->at}, (helios_point){e->branch, e->seq - 1}, bases);

    for (size_t i = 0; i < count; i++) {
        if (!model_is_live(w->model, bases[i].branch))
            return 0;
        states[i] = model_state(w->model, bases[i].branch, bases[i].at);
    }
    return count;
}

static void apply_merge(struct sim_world *w, const struct sim_event *e)
{
    struct model *m = w->model;
    const struct model_cell *bases[MODEL_BRANCHES], *theirs = model_state(m, e->other, e->at);
    const struct model_cell *ours = model_state(m, e->branch, UINT64_MAX);
    size_t count = base_states(w, e, bases);

    SIM_CHECK(e->at < e->seq, "step %u: merge %" PRIu64 " is of the later %" PRIu64, e->step, e->seq, e->at);
    model_begin(m, e->branch);
    for (size_t key = 0; key < w->cell_count; key++) {
        enum model_outcome outcome = model_three_way(theirs, ours, bases, count, key);

        if (outcome == MODEL_KEEP || (outcome == MODEL_CONFLICT && !e->theirs))
            continue;
        theirs[key].value ? model_put(m, key, theirs[key].value) : model_delete(m, key);
    }
    m->merges[m->merge_count] = (struct model_merge){.commit = e->seq,
                                                     .target = e->branch,
                                                     .source = {e->other, e->at},
                                                     .vector = m->merges[m->merge_count].vector};
    m->merge_count++;
    model_commit(m, e->branch, e->seq);
}

static void apply(struct sim_world *w, const struct sim_event *e)
{
    SIM_CHECK(e->seq > model_latest(w->model), "step %u: commit %" PRIu64 " comes after %" PRIu64, e->step,
              e->seq, model_latest(w->model));
    switch (e->kind) {
    case EVENT_WRITE: apply_write(w, e); break;
    case EVENT_FORK: apply_fork(w, e); break;
    case EVENT_MERGE: apply_merge(w, e); break;
    case EVENT_DROP:
        w->model->branches[e->branch].dropped = e->seq;
        model_note_commit(w->model, e->seq);
        break;
    }
}

static int by_seq(const void *a, const void *b)
{
    const struct sim_event *x = a, *y = b;

    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* All that have a number up to here, in its order; the others stay, as what is not known yet may come before them. */
static void apply_all(struct sim_world *w, helios_seq upto)
{
    size_t kept = 0;

    qsort(w->events, w->event_count, sizeof(*w->events), by_seq);
    for (size_t i = 0; i < w->event_count; i++) {
        if (w->events[i].seq && w->events[i].seq <= upto)
            apply(w, &w->events[i]);
        else if (w->events[i].seq || w->events[i].in_doubt)
            w->events[kept++] = w->events[i];
    }
    w->event_count = kept;
}

/* ---- both times ---- */

/* A branch can be read at points before it was made: then its fork may not be known yet. */
static bool can_judge(const struct sim_world *w, const struct sim_look *look, helios_seq unsure)
{
    return look->high != HELIOS_SEQ_NONE && look->high <= unsure && look->branch < w->model->branch_count;
}

void sim_judge_round(struct sim_world *w)
{
    helios_seq unsure = settle_doubts(w, false);

    apply_all(w, unsure);
    for (size_t i = 0; i < w->look_count; i++)
        if (can_judge(w, &w->looks[i], unsure))
            check_look(w, &w->looks[i]);
    w->look_count = 0;
    for (size_t i = 0; i < w->event_count; i++) /* they are gone */
        w->events[i].look = -1;
}

static void check_branch(struct sim_world *w, helios_branch_id branch)
{
    const struct model_cell *state = model_state(w->model, branch, UINT64_MAX);
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_iter *it = NULL;

    read.branch = branch;
    SIM_MUST(helios_iter_new(w->db, &read, &it));
    helios_iter_first(it);
    for (size_t key = 0; key < w->cell_count; key++) {
        uint32_t found = 0;

        if (helios_iter_valid(it) && slice_equal(helios_iter_key(it), sim_key(w, key))) {
            found = sim_value_number(helios_iter_value(it));
            SIM_CHECK(found != state[key].value || helios_iter_seq(it) == state[key].seq,
                      "branch %" PRIu32 ", key %zu: of commit %" PRIu64 ", expected %" PRIu64, branch, key,
                      helios_iter_seq(it), state[key].seq);
            helios_iter_next(it);
        }
        SIM_CHECK(found == state[key].value,
                  "branch %" PRIu32 ", key %zu: value %" PRIu32 ", expected %" PRIu32 " of commit %" PRIu64,
                  branch, key, found, state[key].value, state[key].touched);
    }
    SIM_CHECK(!helios_iter_valid(it), "branch %" PRIu32 " has a key that nobody wrote", branch);
    SIM_MUST(helios_iter_status(it));
    helios_iter_free(it);
}

static void check_branches(struct sim_world *w)
{
    helios_branch_info *list = NULL;
    uint32_t live = 0;
    size_t n = 0;

    SIM_MUST(helios_branch_list(w->db, &list, &n));
    for (helios_branch_id i = 0; i < MODEL_BRANCHES; i++) {
        bool is = i < w->model->branch_count && model_is_live(w->model, i);

        w->branches[i] = (struct sim_branch){.known = is && i > 0};
        live += is;
        if (is)
            check_branch(w, i);
    }
    SIM_CHECK(n == live, "there are %zu branches, expected %" PRIu32, n, live);
    helios_free(list);
}

/* Of those that are not in the model yet. */
static void forget_lost(struct sim_world *w, helios_seq latest)
{
    size_t kept = 0;

    for (size_t i = 0; i < w->event_count; i++)
        if (w->events[i].seq <= latest)
            w->events[kept++] = w->events[i];
    w->event_count = kept;
}

void sim_judge_open(struct sim_world *w)
{
    helios_seq latest = helios_latest(w->db), known = model_latest(w->model);

    sim_note("open: %" PRIu64 " of %" PRIu64 ", durable %" PRIu64, latest, known, w->durable);
    SIM_CHECK(latest >= w->durable, "commit %" PRIu64 " was durable, and the last is %" PRIu64, w->durable,
              latest);
    SIM_CHECK(latest >= w->kept, "commit %" PRIu64 " survives the process, and the last is %" PRIu64, w->kept,
              latest);
    w->counts.lost += latest < known;
    model_forget_after(w->model, latest);
    SIM_CHECK(settle_doubts(w, true) == HELIOS_SEQ_NONE, "what is there cannot be read: %s",
              helios_last_error());
    forget_lost(w, latest);
    apply_all(w, latest);
    w->event_count = 0;
    w->durable = latest;
    check_branches(w);
}
