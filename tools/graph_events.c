/* graph_events.c - what there is to draw: the branches to show, and their forks, merges, tags and ends in order. */
#include "tools/at.h"
#include "tools/graph.h"
#include <stdlib.h>

static int compare_ids(const void *a, const void *b)
{
    const struct graph_branch *x = a, *y = b;

    return x->info->id < y->info->id ? -1 : x->info->id > y->info->id;
}

/* SIZE_MAX: not known. */
static size_t index_of(const struct graph *g, helios_branch_id id)
{
    const helios_branch_info info = {.id = id};
    const struct graph_branch key = {.info = &info};
    const struct graph_branch *found =
        bsearch(&key, g->branches, g->branch_count, sizeof(*g->branches), compare_ids);

    return found ? (size_t)(found - g->branches) : SIZE_MAX;
}

static helios_status take_all(struct graph *g)
{
    helios_status status = branch_rows_take(g->db, true, &g->rows);

    if (status != HELIOS_OK)
        return status;
    g->branches = xalloc(g->rows.count * sizeof(*g->branches));
    for (size_t i = 0; i < g->rows.count; i++)
        g->branches[g->branch_count++] = (struct graph_branch){.info = g->rows.rows[i]};
    qsort(g->branches, g->branch_count, sizeof(*g->branches), compare_ids);
    for (size_t i = 0; i < g->branch_count; i++) {
        struct graph_branch *b = &g->branches[i];

        if (b->info->state == HELIOS_BRANCH_DROPPED) /* its merges went with it */
            continue;
        status = helios_branch_merges(g->db, b->info->id, &b->merges, &b->merge_count);
        if (status != HELIOS_OK)
            return status;
    }
    return helios_tag_list(g->db, &g->tags, &g->tag_count);
}

/* ---- which ---- */

/* With what it came from and what was merged into it. */
static void show(struct graph *g, size_t index)
{
    struct graph_branch *b;

    if (index == SIZE_MAX || g->branches[index].shown)
        return;
    b = &g->branches[index];
    b->shown = true;
    show(g, index_of(g, b->info->parent));
    for (size_t i = 0; i < b->merge_count; i++)
        show(g, index_of(g, b->merges[i].source.branch));
}

static size_t count_shown(const struct graph *g)
{
    size_t count = 0;

    for (size_t i = 0; i < g->branch_count; i++)
        count += g->branches[i].shown;
    return count;
}

/* The youngest first, as ids ascend with age. */
static void show_many(struct graph *g, size_t branches_max)
{
    show(g, 0);
    for (size_t i = g->branch_count; i-- > 1;) {
        if (g->branches[i].shown || (g->branches[i].info->state == HELIOS_BRANCH_DROPPED && !g->args->all))
            continue;
        if (count_shown(g) < branches_max)
            show(g, i);
        else
            g->left_out++;
    }
}

/* ---- what happened ---- */

static struct event *add_event(struct graph *g, enum event_kind kind, helios_seq seq, size_t branch,
                               size_t other)
{
    if (g->event_count == g->event_capacity) {
        g->event_capacity = g->event_capacity ? g->event_capacity * 2 : 64;
        g->events = xrealloc(g->events, g->event_capacity * sizeof(*g->events));
    }
    g->events[g->event_count] = (struct event){.kind = kind, .seq = seq, .branch = branch, .other = other};
    return &g->events[g->event_count++];
}

static helios_seq plain(helios_seq seq)
{
    return seq == HELIOS_SEQ_NONE ? 0 : seq;
}

/* Is its last commit a merge into a branch that is drawn? */
static bool ends_in_merge(const struct graph *g, const helios_branch_info *info)
{
    for (size_t i = 0; i < g->branch_count; i++)
        for (size_t k = 0; g->branches[i].shown && k < g->branches[i].merge_count; k++)
            if (g->branches[i].merges[k].commit == info->closed_seq)
                return true;
    return false;
}

static void add_branch(struct graph *g, size_t index)
{
    const struct graph_branch *b = &g->branches[index];

    if (b->info->state == HELIOS_BRANCH_ACTIVE)
        add_event(g, EVENT_HEAD, HELIOS_SEQ_NONE, index, 0);
    else if (b->info->state == HELIOS_BRANCH_DROPPED || !ends_in_merge(g, b->info))
        add_event(g, EVENT_END, b->info->closed_seq, index, 0);
    if (b->info->id)
        add_event(g, EVENT_FORK, plain(b->info->fork_seq), index_of(g, b->info->parent), index);
    for (size_t i = 0; i < b->merge_count; i++)
        add_event(g, EVENT_MERGE, b->merges[i].commit, index, index_of(g, b->merges[i].source.branch))
            ->source_seq = b->merges[i].source.at;
}

/* On the branch, or where its point lies before the fork, on the ancestor that shows there. */
static void add_tag(struct graph *g, const helios_tag_info *tag)
{
    helios_seq at = plain(tag->at);
    size_t index = index_of(g, tag->branch);

    while (index != SIZE_MAX && g->branches[index].info->id && at < plain(g->branches[index].info->fork_seq))
        index = index_of(g, g->branches[index].info->parent);
    if (index != SIZE_MAX && g->branches[index].shown)
        add_event(g, EVENT_TAG, at, index, 0)->tag = tag;
}

/* Heads: main, then the youngest forks, so that no line crosses another where that can be avoided. Then newest first;
 * at one point descendants before ancestors, whose fork may be there. */
static int compare_events(const void *a, const void *b)
{
    const struct event *x = a, *y = b;

    if (x->seq != y->seq)
        return x->seq > y->seq ? -1 : 1;
    if (x->branch != y->branch && x->kind == EVENT_HEAD && (x->branch == 0 || y->branch == 0))
        return x->branch == 0 ? -1 : 1;
    if (x->branch != y->branch)
        return x->branch > y->branch ? -1 : 1;
    if (x->kind != y->kind)
        return (int)x->kind - (int)y->kind;
    return x->other < y->other ? -1 : x->other > y->other;
}

int graph_take(struct graph *g, const struct args *args, helios_db *db, size_t branches_max)
{
    helios_branch_id id;
    helios_status status;
    int code;

    *g = (struct graph){.args = args, .db = db};
    code = branch_resolve(args, db, args->branch, &id);
    if (code)
        return code;
    status = take_all(g);
    if (status != HELIOS_OK)
        return report_read(args, db, status, NULL);
    if (args->branch)
        show(g, index_of(g, id));
    else
        show_many(g, branches_max);
    for (size_t i = 0; i < g->branch_count; i++)
        if (g->branches[i].shown)
            add_branch(g, i);
    for (size_t i = 0; i < g->tag_count; i++)
        add_tag(g, &g->tags[i]);
    qsort(g->events, g->event_count, sizeof(*g->events), compare_events);
    return EXIT_CODE_OK;
}

void graph_release(struct graph *g)
{
    for (size_t i = 0; i < g->branch_count; i++)
        helios_free(g->branches[i].merges);
    free(g->branches);
    helios_free(g->tags);
    free(g->events);
    branch_rows_release(&g->rows);
}
