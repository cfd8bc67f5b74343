/* branch_model.c - the naive model of branches and merges; see branch_model.h. Slow wherever that is simpler. */
#undef NDEBUG
#include "tests/branch_model.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define DRAFT (UINT64_MAX - 1) /* stands for the number of the commit that is being made */

void model_init(struct model *m, size_t keys)
{
    memset(m, 0, sizeof(*m));
    m->keys = keys;
    m->branch_count = 1;
    m->empty = calloc(keys, sizeof(*m->empty));
    m->draft = calloc(keys, sizeof(*m->draft));
    strcpy(m->events[m->event_count++].name, "main");
}

void model_release(struct model *m)
{
    model_forget_after(m, 0);
    for (size_t i = 0; i < MODEL_BRANCHES; i++)
        free(m->branches[i].commits);
    for (size_t i = 0; i < MODEL_MERGES; i++)
        free(m->merges[i].vector);
    free(m->commits);
    free(m->empty);
    free(m->draft);
}

/* ---- states ---- */

helios_seq model_commit_at(const struct model *m, helios_seq at)
{
    size_t low = 0, high = m->commit_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (m->commits[middle] <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? m->commits[low - 1] : 0;
}

static const struct model_commit *last_commit(const struct model_branch *b, helios_seq at)
{
    size_t low = 0, high = b->commit_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (b->commits[middle].seq <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? &b->commits[low - 1] : NULL;
}

/* The newest on the branch, else what the parent shows at the fork. */
static const struct model_commit *find(const struct model *m, helios_branch_id branch, helios_seq at,
                                       helios_branch_id *layer)
{
    for (;;) {
        const struct model_branch *b = &m->branches[branch];
        const struct model_commit *found = last_commit(b, at);

        *layer = branch;
        if (found || branch == 0)
            return found;
        if (b->fork < at)
            at = b->fork;
        branch = b->parent;
    }
}

const struct model_cell *model_state(const struct model *m, helios_branch_id branch, helios_seq at)
{
    helios_branch_id layer;
    const struct model_commit *found = find(m, branch, at, &layer);

    return found ? found->cells : m->empty;
}

helios_seq model_state_commit(const struct model *m, helios_branch_id branch, helios_seq at,
                              helios_branch_id *layer)
{
    helios_branch_id found_on;
    const struct model_commit *found = find(m, branch, at, &found_on);

    if (layer)
        *layer = found_on;
    return found ? found->seq : 0;
}

void model_begin(struct model *m, helios_branch_id branch)
{
    memcpy(m->draft, model_state(m, branch, UINT64_MAX), m->keys * sizeof(*m->draft));
}

void model_put(struct model *m, size_t key, uint32_t value)
{
    assert(value != 0);
    m->draft[key] = (struct model_cell){value, DRAFT, DRAFT, 0};
}

void model_delete(struct model *m, size_t key)
{
    m->draft[key] = (struct model_cell){0, 0, DRAFT, 0};
}

void model_note_commit(struct model *m, helios_seq seq)
{
    assert(seq > model_latest(m));
    if (m->commit_count == m->commit_room) {
        m->commit_room = m->commit_room ? 2 * m->commit_room : 1024;
        m->commits = realloc(m->commits, m->commit_room * sizeof(*m->commits));
    }
    m->commits[m->commit_count++] = seq;
}

void model_commit(struct model *m, helios_branch_id branch, helios_seq seq)
{
    struct model_branch *b = &m->branches[branch];
    const struct model_cell *before = model_state(m, branch, UINT64_MAX);
    struct model_cell *cells = malloc(m->keys * sizeof(*cells));

    model_note_commit(m, seq);
    for (size_t i = 0; i < m->keys; i++) {
        cells[i] = m->draft[i];
        if (cells[i].seq == DRAFT)
            cells[i].seq = seq;
        if (cells[i].touched == DRAFT)
            cells[i].touched = seq;
        if (!cells[i].value)
            cells[i].deleted = before[i].value ? seq : before[i].deleted;
    }
    if (b->commit_count == b->commit_room) {
        b->commit_room = b->commit_room ? 2 * b->commit_room : 16;
        b->commits = realloc(b->commits, b->commit_room * sizeof(*b->commits));
    }
    b->commits[b->commit_count++] = (struct model_commit){seq, cells};
}

/* ---- branches ---- */

void model_event(struct model *m, helios_branch_id branch, const char *name, uint32_t metadata,
                 helios_seq commit)
{
    struct model_event *e = &m->events[m->event_count++];

    assert(m->event_count <= MODEL_EVENTS);
    *e = (struct model_event){.seq = commit, .branch = branch, .metadata = metadata};
    strncpy(e->name, name, MODEL_NAME - 1);
    model_note_commit(m, commit);
}

helios_branch_id model_fork(struct model *m, helios_branch_id parent, helios_seq at, const char *name,
                            helios_seq commit)
{
    helios_branch_id id = m->branch_count++;

    assert(m->branch_count <= MODEL_BRANCHES);
    m->branches[id].parent = parent;
    m->branches[id].fork = at;
    m->branches[id].made = commit;
    model_event(m, id, name, 0, commit);
    return id;
}

const struct model_event *model_event_at(const struct model *m, helios_branch_id branch, helios_seq at)
{
    for (size_t i = m->event_count; i-- > 0;)
        if (m->events[i].branch == branch && m->events[i].seq <= at)
            return &m->events[i];
    return NULL;
}

uint32_t model_children(const struct model *m, helios_branch_id branch)
{
    uint32_t count = 0;

    for (helios_branch_id i = 1; i < m->branch_count; i++)
        count += model_is_live(m, i) && m->branches[i].parent == branch;
    return count;
}

helios_seq model_last_change(const struct model *m, helios_branch_id branch, bool visible)
{
    const struct model_branch *b = &m->branches[branch];
    helios_seq last = 0;

    for (size_t i = 0; i < m->merge_count; i++)
        if (m->merges[i].target == branch)
            last = m->merges[i].commit;
    for (size_t i = b->commit_count; i-- > 0 && b->commits[i].seq > last;) {
        const struct model_cell *before = model_state(m, branch, b->commits[i].seq - 1);
        bool differs = false;

        for (size_t key = 0; key < m->keys; key++)
            differs |= b->commits[i].cells[key].seq != before[key].seq;
        if (differs || !visible)
            return b->commits[i].seq;
    }
    return last;
}

void model_forget_after(struct model *m, helios_seq latest)
{
    while (m->commit_count && model_latest(m) > latest)
        m->commit_count--;
    while (m->merge_count && m->merges[m->merge_count - 1].commit > latest)
        m->merge_count--;
    while (m->event_count && m->events[m->event_count - 1].seq > latest)
        m->event_count--;
    for (helios_branch_id i = 0; i < m->branch_count; i++) {
        struct model_branch *b = &m->branches[i];

        while (b->commit_count && b->commits[b->commit_count - 1].seq > latest)
            free(b->commits[--b->commit_count].cells);
        if (b->closed > latest)
            b->closed = 0;
        if (b->dropped > latest)
            b->dropped = 0;
    }
    while (m->branch_count > 1 && m->branches[m->branch_count - 1].made > latest) {
        free(m->branches[--m->branch_count].commits);
        m->branches[m->branch_count] = (struct model_branch){0};
    }
}

/* ---- merges ---- */

static void raise_to(uint64_t *vector, helios_point point)
{
    if (vector[point.branch] < point.at + 1)
        vector[point.branch] = point.at + 1;
}

static void vector_at(struct model *m, helios_branch_id branch, helios_seq at, uint64_t *out);

/* The target's pointwise maximum with the source's, plus the source's point. */
static void vector_after(struct model *m, struct model_merge *merge, const uint64_t *before)
{
    uint64_t source[MODEL_BRANCHES];

    if (merge->reckoned == m->reckoning)
        return;
    if (!merge->vector)
        merge->vector = malloc(sizeof(source));
    vector_at(m, merge->source.branch, merge->source.at, source);
    for (size_t i = 0; i < MODEL_BRANCHES; i++)
        merge->vector[i] = source[i] > before[i] ? source[i] : before[i];
    raise_to(merge->vector, merge->source);
    merge->reckoned = m->reckoning;
}

/* Without the branch itself. From the fork on: the parent's at the fork, the fork's point, and the merges up to here;
 * before it: the parent's at the point, and that point. */
static void vector_at(struct model *m, helios_branch_id branch, helios_seq at, uint64_t *out)
{
    const struct model_branch *b = &m->branches[branch];
    const uint64_t *now = out;

    memset(out, 0, MODEL_BRANCHES * sizeof(*out));
    if (branch != 0) {
        helios_point from = {b->parent, at < b->fork ? at : b->fork};

        vector_at(m, from.branch, from.at, out);
        raise_to(out, from);
    }
    for (size_t i = 0; i < m->merge_count && m->merges[i].commit <= at; i++)
        if (m->merges[i].target == branch) {
            vector_after(m, &m->merges[i], now);
            now = m->merges[i].vector;
        }
    if (now != out)
        memcpy(out, now, MODEL_BRANCHES * sizeof(*out));
}

static void whole_vector(struct model *m, helios_point point, uint64_t *out)
{
    vector_at(m, point.branch, point.at, out);
    raise_to(out, point);
}

void model_vector(struct model *m, helios_branch_id branch, helios_seq at, uint64_t out[MODEL_BRANCHES])
{
    m->reckoning++;
    whole_vector(m, (helios_point){branch, at}, out);
}

/* Where the point lies: at or below a branch's fork it is its parent's. */
static helios_point settled(const struct model *m, helios_point point)
{
    while (point.branch != 0 && point.at <= m->branches[point.branch].fork)
        point.branch = m->branches[point.branch].parent;
    return point;
}

size_t model_bases(struct model *m, helios_point a, helios_point b, helios_point bases[MODEL_BRANCHES])
{
    uint64_t of_a[MODEL_BRANCHES], of_b[MODEL_BRANCHES], of_point[MODEL_BRANCHES];
    uint64_t common[MODEL_BRANCHES] = {0};
    bool covered[MODEL_BRANCHES] = {false};
    size_t count = 0;

    m->reckoning++;
    whole_vector(m, a, of_a);
    whole_vector(m, b, of_b);
    for (helios_branch_id i = 0; i < m->branch_count; i++) {
        uint64_t least = of_a[i] < of_b[i] ? of_a[i] : of_b[i];

        if (least)
            raise_to(common, settled(m, (helios_point){i, least - 1}));
    }
    for (helios_branch_id i = 0; i < m->branch_count; i++) {
        if (!common[i])
            continue;
        whole_vector(m, (helios_point){i, common[i] - 1}, of_point);
        for (helios_branch_id k = 0; k < m->branch_count; k++)
            if (k != i && common[k] && of_point[k] >= common[k])
                covered[k] = true;
    }
    for (helios_branch_id i = 0; i < m->branch_count; i++)
        if (common[i] && !covered[i])
            bases[count++] = (helios_point){i, common[i] - 1};
    return count;
}

enum model_outcome model_three_way(const struct model_cell *source, const struct model_cell *target,
                                   const struct model_cell *const *bases, size_t count, size_t key)
{
    bool source_changed = count == 0, target_changed = count == 0;

    if (source[key].value == target[key].value)
        return MODEL_KEEP;
    for (size_t i = 0; i < count; i++) {
        source_changed |= source[key].value != bases[i][key].value;
        target_changed |= target[key].value != bases[i][key].value;
    }
    if (source_changed && target_changed)
        return MODEL_CONFLICT;
    return source_changed ? MODEL_TAKE : MODEL_KEEP;
}
