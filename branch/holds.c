/* holds.c - points of branches that are held, and dropped branches on their way to being garbage. Called by engine/ when
 * branches are made and dropped, by reads below the horizon and by each job. */
#include "branch/holds.h"
#include "base/epoch.h"
#include "base/mem.h"
#include "branch/vector.h"
#include <assert.h>

/* ---- the points of one branch ---- */

/* The first at or above seq. */
static size_t points_find(const struct held_points *points, helios_seq seq)
{
    size_t from = 0, to = points->count;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (points->at[middle].seq < seq)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static bool points_have(const struct held_points *points, helios_seq seq, size_t *place)
{
    *place = points_find(points, seq);
    return *place < points->count && points->at[*place].seq == seq;
}

static helios_status points_reserve(struct held_points *points)
{
    uint32_t capacity = points->capacity ? points->capacity * 2 : 2;
    struct held_point *at;

    if (points->count < points->capacity)
        return HELIOS_OK;
    at = mem_realloc(points->at, capacity * sizeof(*at));
    if (!at)
        return fail_no_memory(capacity * sizeof(*at));
    points->at = at;
    points->capacity = capacity;
    return HELIOS_OK;
}

/* Into reserved room. True: nobody held it before. */
static bool points_add(struct held_points *points, helios_seq seq)
{
    size_t place;
    bool fresh = !points_have(points, seq, &place);

    if (fresh) {
        assert(points->count < points->capacity);
        memmove(points->at + place + 1, points->at + place, (points->count++ - place) * sizeof(*points->at));
        points->at[place] = (struct held_point){seq, 0};
    }
    points->at[place].holders++;
    return fresh;
}

/* True: nobody holds it any more. */
static bool points_remove(struct held_points *points, helios_seq seq)
{
    size_t place;
    bool held = points_have(points, seq, &place);

    assert(held && points->at[place].holders > 0);
    if (!held || --points->at[place].holders > 0)
        return false;
    memmove(points->at + place, points->at + place + 1, (--points->count - place) * sizeof(*points->at));
    return true;
}

/* ---- chains ---- */

/* The next branch of a hold's chain; NULL: its end. */
static struct branch *up_from(const struct branch_holds *holds, const struct branch *branch, helios_seq seq)
{
    if (branch->id == 0 || seq >= branch->fork_seq)
        return NULL;
    return (struct branch *)registry_at(holds->registry, branch->parent);
}

static helios_status add_locked(struct branch_holds *holds, struct branch *first, helios_seq seq)
{
    for (struct branch *b = first; b; b = up_from(holds, b, seq)) {
        helios_status status = points_reserve(&b->held);

        if (status != HELIOS_OK)
            return status;
    }
    for (struct branch *b = first; b; b = up_from(holds, b, seq))
        holds->points += points_add(&b->held, seq);
    return HELIOS_OK;
}

static void remove_locked(struct branch_holds *holds, struct branch *first, helios_seq seq)
{
    for (struct branch *b = first; b; b = up_from(holds, b, seq))
        holds->points -= points_remove(&b->held, seq);
}

/* Branches stay until the database is closed; the table that finds them is kept by an epoch. */
static void enter(struct branch_holds *holds)
{
    mutex_lock(&holds->mu);
    epoch_enter();
}

static void leave(struct branch_holds *holds)
{
    epoch_leave();
    mutex_unlock(&holds->mu);
}

helios_status holds_add(struct branch_holds *holds, helios_branch_id id, helios_seq seq)
{
    helios_status status;

    enter(holds);
    status = add_locked(holds, (struct branch *)registry_at(holds->registry, id), seq);
    leave(holds);
    return status;
}

void holds_remove(struct branch_holds *holds, helios_branch_id id, helios_seq seq)
{
    enter(holds);
    remove_locked(holds, (struct branch *)registry_at(holds->registry, id), seq);
    leave(holds);
}

bool holds_have(struct branch_holds *holds, helios_branch_id id, helios_seq seq)
{
    const struct branch *branch;
    size_t place;
    bool have;

    enter(holds);
    branch = registry_at(holds->registry, id);
    have = branch && points_have(&branch->held, seq, &place);
    leave(holds);
    return have;
}

/* ---- drops ---- */

void holds_drop(struct branch_holds *holds, struct branch *branch)
{
    mutex_lock(&holds->mu);
    branch->next_dropped = holds->dropped;
    holds->dropped = branch;
    atomic_fetch_add(&holds->drops, 1);
    mutex_unlock(&holds->mu);
}

/* What the branch held: its fork, and what was merged into it. */
static void remove_all_locked(struct branch_holds *holds, const struct branch *branch)
{
    remove_locked(holds, (struct branch *)registry_at(holds->registry, branch->parent), branch->fork_seq);
    for (const struct merge *merge = branch_merges(branch); merge; merge = merge->older)
        for (size_t i = 0; i < merge->count; i++)
            if (!merge->raised[i].let_go)
                remove_locked(holds, (struct branch *)registry_at(holds->registry, merge->raised[i].at.branch),
                              merge->raised[i].at.seq);
}

void holds_settle(struct branch_holds *holds, helios_seq through)
{
    struct branch **link = &holds->dropped;

    enter(holds);
    if (through > atomic_load(&holds->through))
        atomic_store(&holds->through,
                     through); /* before anything is garbage: who collects it writes this along */
    while (*link) {
        struct branch *branch = *link;

        if (branch->closed_seq > through) {
            link = &branch->next_dropped;
            continue;
        }
        *link = branch->next_dropped;
        remove_all_locked(holds, branch);
        atomic_store_explicit(&branch->garbage, true, memory_order_release);
        atomic_fetch_add(&holds->settled, 1);
    }
    leave(holds);
}

/* ---- merges that later ones have replaced ---- */

struct replaced {
    const struct branch *target;
    struct merge *merge;
    size_t index;
    helios_seq by;
};

void holds_replaced(struct branch_holds *holds, const struct branch *target, struct merge *merge, size_t index,
                    helios_seq by)
{
    mutex_lock(&holds->mu);
    if (holds->replaced_count == holds->replaced_capacity) {
        size_t capacity = holds->replaced_capacity ? holds->replaced_capacity * 2 : 16;
        struct replaced *replaced = mem_realloc(holds->replaced, capacity * sizeof(*replaced));

        if (replaced) {
            holds->replaced = replaced;
            holds->replaced_capacity = capacity;
        }
    }
    if (holds->replaced_count < holds->replaced_capacity)
        holds->replaced[holds->replaced_count++] = (struct replaced){target, merge, index, by};
    mutex_unlock(&holds->mu);
}

bool holds_entry(struct branch_holds *holds, const struct merge *merge, size_t index)
{
    bool held;

    mutex_lock(&holds->mu);
    held = !merge->raised[index].let_go;
    mutex_unlock(&holds->mu);
    return held;
}

/* The first of an ascending array at or above seq. */
static size_t find_seq(const helios_seq *seqs, size_t count, helios_seq seq)
{
    size_t from = 0, to = count;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (seqs[middle] < seq)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static bool needed(const struct replaced *r, helios_seq through, const helios_seq *pins, size_t count)
{
    helios_seq from = r->merge->commit;
    size_t pin = find_seq(pins, count, from), held = points_find(&r->target->held, from);

    return r->by > through || (pin < count && pins[pin] < r->by) ||
           (held < r->target->held.count && r->target->held.at[held].seq < r->by);
}

void holds_settle_replaced(struct branch_holds *holds, helios_seq through, const helios_seq *pins, size_t count)
{
    size_t kept = 0;

    enter(holds);
    for (size_t i = 0; i < holds->replaced_count; i++) {
        struct replaced *r = &holds->replaced[i];
        struct raised *raised = &r->merge->raised[r->index];

        if (atomic_load(&r->target->garbage))
            continue; /* with all that it held */
        if (needed(r, through, pins, count)) {
            holds->replaced[kept++] = *r;
            continue;
        }
        raised->let_go = true;
        remove_locked(holds, (struct branch *)registry_at(holds->registry, raised->at.branch), raised->at.seq);
    }
    holds->replaced_count = kept;
    leave(holds);
}

/* ---- for a job ---- */

static void list_locked(const struct branch_holds *holds, helios_seq below, struct held_list *list)
{
    helios_branch_id ids = registry_next_id(holds->registry);
    helios_seq *points = list->points;

    for (helios_branch_id id = 0; id < ids; id++) {
        const struct branch *branch = registry_at(holds->registry, id);
        struct held_branch held = {.branch = id, .points = points};

        if (!branch)
            continue;
        held.garbage = atomic_load(&branch->garbage);
        if (!held.garbage)
            held.count = points_find(&branch->held, below);
        for (size_t i = 0; i < held.count; i++)
            *points++ = branch->held.at[i].seq;
        if (held.garbage || held.count)
            list->at[list->count++] = held;
    }
    list->settled = atomic_load(&holds->settled);
}

helios_status holds_list(struct branch_holds *holds, helios_seq below, struct held_list *out)
{
    helios_status status = HELIOS_OK;
    size_t points, branches;

    enter(holds);
    points = holds->points;
    branches = points + atomic_load(&holds->settled);
    *out = (struct held_list){.points = mem_array(points, sizeof(helios_seq)),
                              .at = mem_array(branches, sizeof(struct held_branch))};
    if (out->points && out->at)
        list_locked(holds, below, out);
    else
        status = fail_no_memory(branches * sizeof(struct held_branch) + points * sizeof(helios_seq));
    leave(holds);
    if (status != HELIOS_OK)
        held_list_release(out);
    return status;
}

void held_list_release(struct held_list *list)
{
    mem_free(list->at);
    mem_free(list->points);
    *list = (struct held_list){0};
}

/* ---- life ---- */

void holds_init(struct branch_holds *holds, const struct registry *registry)
{
    *holds = (struct branch_holds){.registry = registry};
    mutex_init(&holds->mu);
}

void holds_release(struct branch_holds *holds)
{
    mutex_release(&holds->mu);
    mem_free(holds->replaced);
}
