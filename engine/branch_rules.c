/* branch_rules.c - what jobs may collect, branch by branch: all of a dropped one, and of the others what no fork
 * sees any more. Called by horizon.c for each job. */
#include "engine/branches.h"
#include <stdlib.h>

bool branch_is_garbage(void *arg, helios_branch_id id)
{
    const struct branch *branch = branch_at(arg, id);

    return branch && atomic_load(&branch->state) == HELIOS_BRANCH_DROPPED;
}

bool branch_forked_at(struct helios_db *db, helios_branch_id id, helios_seq seq)
{
    helios_branch_id count = registry_next_id(db->registry);
    bool found = false;

    for (helios_branch_id child = id + 1; child < count && !found; child++) {
        const struct branch *branch = branch_at(db, child);
        helios_seq point;

        if (!branch || atomic_load(&branch->state) == HELIOS_BRANCH_DROPPED)
            continue;
        epoch_enter();
        found = branch_point_on(db->registry, child, branch->fork_seq, id, &point) && point == seq;
        epoch_leave();
    }
    return found;
}

/* A branch's own point and, where it shows through, its ancestors'. */
struct fork_point {
    helios_branch_id branch;
    helios_seq seq;
};

static int compare_points(const void *a, const void *b)
{
    const struct fork_point *x = a, *y = b;

    if (x->branch != y->branch)
        return x->branch < y->branch ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

struct fork_points {
    struct fork_point *at;
    size_t count, capacity;
};

static helios_status add_fork(struct fork_points *points, helios_branch_id branch, helios_seq seq)
{
    if (points->count == points->capacity) {
        size_t capacity = points->capacity ? points->capacity * 2 : 64;
        struct fork_point *at = mem_realloc(points->at, capacity * sizeof(*at));

        if (!at)
            return fail_no_memory(capacity * sizeof(*at));
        points->at = at;
        points->capacity = capacity;
    }
    points->at[points->count++] = (struct fork_point){branch, seq};
    return HELIOS_OK;
}

/* Every point at which a live branch sees an ancestor, below the horizon: above, all is kept anyway. */
static helios_status collect_forks(struct helios_db *db, helios_seq horizon, struct fork_points *points)
{
    helios_branch_id count = registry_next_id(db->registry);
    helios_status status = HELIOS_OK;
    size_t distinct = 0;

    for (helios_branch_id id = 1; id < count && status == HELIOS_OK; id++) {
        const struct branch *branch = branch_at(db, id);
        helios_seq seq = SEQ_MAX;

        if (!branch || atomic_load(&branch->state) == HELIOS_BRANCH_DROPPED)
            continue;
        while (branch->id != 0 && status == HELIOS_OK) {
            if (branch->fork_seq < seq)
                seq = branch->fork_seq;
            branch = branch_at(db, branch->parent);
            if (seq < horizon)
                status = add_fork(points, branch->id, seq);
        }
    }
    if (points->count)
        qsort(points->at, points->count, sizeof(*points->at), compare_points);
    for (size_t i = 0; i < points->count; i++)
        if (i == 0 || compare_points(&points->at[distinct - 1], &points->at[i]) != 0)
            points->at[distinct++] = points->at[i];
    points->count = distinct;
    return status;
}

/* Two ascending lists as one. */
static size_t merge_points(const helios_seq *pins, size_t pin_count, const struct fork_point *forks,
                           size_t fork_count, helios_seq *out)
{
    size_t n = 0, i = 0, j = 0;

    while (i < pin_count || j < fork_count) {
        helios_seq next =
            j == fork_count || (i < pin_count && pins[i] <= forks[j].seq) ? pins[i] : forks[j].seq;

        out[n++] = next;
        while (i < pin_count && pins[i] == next)
            i++;
        while (j < fork_count && forks[j].seq == next)
            j++;
    }
    return n;
}

static helios_status fill_rules(struct helios_db *db, struct job_rules *rules, const struct fork_points *forks,
                                const helios_seq *pins, size_t count)
{
    helios_branch_id ids = registry_next_id(db->registry);
    size_t listed = 0, at = 0;

    for (helios_branch_id id = 0; id < ids; id++) {
        struct garbage_branch branch = {.branch = id, .pins = pins, .count = count, .is_root = id == 0};
        size_t first = at;

        while (at < forks->count && forks->at[at].branch == id)
            at++;
        branch.dropped = branch_is_garbage(db, id);
        if (at > first) {
            helios_seq *own = mem_array(count + (at - first), sizeof(*own));

            if (!own)
                return fail_no_memory((count + (at - first)) * sizeof(*own));
            branch.count = merge_points(pins, count, forks->at + first, at - first, own);
            branch.pins = own;
        }
        if (id == 0 || branch.dropped || at > first)
            rules->branches[listed++] = branch;
        rules->rules.count = listed;
    }
    return HELIOS_OK;
}

helios_status branch_rules_init(struct helios_db *db, struct job_rules *rules, const helios_seq *pins,
                                size_t count)
{
    helios_branch_id ids = registry_next_id(db->registry);
    struct fork_points forks = {0};
    helios_status status;

    rules->branches = mem_array(ids, sizeof(*rules->branches));
    if (!rules->branches)
        return fail_no_memory(ids * sizeof(*rules->branches));
    rules->rules.branches = rules->branches;
    rules->rules.count = 0;
    rules->rules.others = (struct garbage_branch){.pins = pins, .count = count, .is_root = false};
    status = collect_forks(db, rules->rules.horizon, &forks);
    if (status == HELIOS_OK)
        status = fill_rules(db, rules, &forks, pins, count);
    mem_free(forks.at);
    return status;
}

void branch_rules_release(struct job_rules *rules)
{
    for (size_t i = 0; i < rules->rules.count && rules->branches; i++)
        if (rules->branches[i].pins != rules->rules.others.pins)
            mem_free((void *)rules->branches[i].pins);
    mem_free(rules->branches);
    rules->branches = NULL;
    rules->rules.count = 0;
}
