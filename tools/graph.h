/* graph.h - `log --graph`: branches, forks, merges and tags, drawn. events.c finds what there is to draw. */
#ifndef HELIOS_TOOLS_GRAPH_H
#define HELIOS_TOOLS_GRAPH_H
#include "tools/branches.h"

int graph_run(struct args *);

/* ---- between graph.c and graph_events.c ---- */

enum event_kind {
    EVENT_HEAD,  /* a live branch, as of now */
    EVENT_END,   /* dropped, or closed other than by a merge that is drawn */
    EVENT_MERGE, /* into the branch, from other */
    EVENT_FORK,  /* off the branch: other */
    EVENT_TAG,
};

struct event {
    enum event_kind kind;
    helios_seq seq; /* 0: before the first commit; of heads SEQ_NONE */
    size_t branch, other;
    helios_seq source_seq;      /* of a merge */
    const helios_tag_info *tag; /* of a tag */
};

struct graph_branch {
    const helios_branch_info *info;
    bool shown;
    helios_merge_info *merges; /* into it; the library's */
    size_t merge_count;
};

struct graph {
    const struct args *args;
    helios_db *db;
    struct branch_rows rows;
    struct graph_branch *branches; /* by id */
    size_t branch_count, left_out;
    helios_tag_info *tags;
    size_t tag_count;
    struct event *events; /* newest first; what happened to one branch at one point stands together */
    size_t event_count, event_capacity;
};

/* At most branches_max live branches, and what belongs to them. 0, or an exit code, reported; graph_release() also
 * then. */
int graph_take(struct graph *, const struct args *, helios_db *, size_t branches_max);
void graph_release(struct graph *);

#endif
