/* branch_model.h - what branches, merges and reverts are, in the most naive way: for each commit on a branch the whole
 * state of that branch, all keys of a fixed pool; for each fork and each merge one line in a list, from which merge
 * vectors and bases are computed anew whenever they are asked for. Nothing is shared with the library but types.
 *
 * Points here are plain: 0 is the one before the first commit, and there is no "latest". */
#ifndef HELIOS_TESTS_BRANCH_MODEL_H
#define HELIOS_TESTS_BRANCH_MODEL_H
#include "helios/helios.h"

enum { MODEL_BRANCHES = 300, MODEL_MERGES = 6000, MODEL_EVENTS = 4000, MODEL_NAME = 24 };

/* What a state holds of one key. */
struct model_cell {
    uint32_t value;     /* its number; 0: the key is absent */
    helios_seq seq;     /* the commit that put it; 0: absent */
    helios_seq touched; /* the last commit that wrote or deleted it, also without effect */
    helios_seq deleted; /* the commit since which it is absent; 0: it was never there */
};

struct model_commit {
    helios_seq seq;
    struct model_cell *cells; /* of the whole branch, ancestors included, after the commit */
};

struct model_branch {
    helios_branch_id parent;
    helios_seq fork, made, closed, dropped; /* commits; closed: by a merge; 0: not */
    struct model_commit *commits;           /* ascending */
    size_t commit_count, commit_room;
};

struct model_merge {
    helios_seq commit;
    helios_branch_id target;
    helios_point source, base;
    bool closed_source;
    uint64_t *vector; /* the target's after it; of the reckoning numbered `reckoned` */
    uint64_t reckoned;
};

/* A change of a branch's name or metadata. */
struct model_event {
    helios_seq seq;
    helios_branch_id branch;
    char name[MODEL_NAME];
    uint32_t metadata; /* number of its bytes; 0: empty */
};

struct model {
    size_t keys;
    struct model_cell *empty; /* the state before the first commit */
    struct model_branch branches[MODEL_BRANCHES];
    uint32_t branch_count; /* main is the first; the next id */
    struct model_merge merges[MODEL_MERGES];
    size_t merge_count;
    struct model_event events[MODEL_EVENTS];
    size_t event_count;
    helios_seq *commits; /* all there are, on any branch or none, ascending */
    size_t commit_count, commit_room;
    struct model_cell *draft; /* of the commit that is being made */
    uint64_t reckoning;
};

void model_init(struct model *, size_t keys);
void model_release(struct model *);

/* ---- states ---- */

static inline helios_seq model_latest(const struct model *m)
{
    return m->commit_count ? m->commits[m->commit_count - 1] : 0;
}
/* The last commit at or below; 0: none. */
helios_seq model_commit_at(const struct model *, helios_seq at);
/* All keys of a branch at a point; borrowed, for good. */
const struct model_cell *model_state(const struct model *, helios_branch_id, helios_seq at);

/* The commit on a branch that made its state at a point, and through layer (may be NULL) whose it is; 0: none. Stepping
 * on from (layer, that commit - 1) walks the branch's history. */
helios_seq model_state_commit(const struct model *, helios_branch_id, helios_seq at, helios_branch_id *layer);

/* A commit on a branch: begin gives the state to be changed by model_put and model_delete; commit gives it its number. */
void model_begin(struct model *, helios_branch_id);
void model_put(struct model *, size_t key, uint32_t value);
void model_delete(struct model *, size_t key);
void model_commit(struct model *, helios_branch_id, helios_seq);
/* One that changes no keys: tags, forks, drops. */
void model_note_commit(struct model *, helios_seq);

/* ---- branches ---- */

helios_branch_id model_fork(struct model *, helios_branch_id parent, helios_seq at, const char *name,
                            helios_seq commit);
void model_event(struct model *, helios_branch_id, const char *name, uint32_t metadata, helios_seq commit);
/* The last event of a branch at a point, from which it takes its name; NULL: it was not made yet. */
const struct model_event *model_event_at(const struct model *, helios_branch_id, helios_seq at);
uint32_t model_children(const struct model *, helios_branch_id); /* live ones */
static inline bool model_is_live(const struct model *m, helios_branch_id branch)
{
    return m->branches[branch].dropped == 0;
}
/* The last commit on the branch itself: of keys, or a merge into it; 0: none. visible: not one that only deleted what
 * was not there. */
helios_seq model_last_change(const struct model *, helios_branch_id, bool visible);

/* After a loss of power: the last commit that is there. Forgets what came after it. */
void model_forget_after(struct model *, helios_seq latest);

/* ---- merges ---- */

/* What each branch is contained up to, plus one; 0: nothing of it is. Including itself. */
void model_vector(struct model *, helios_branch_id, helios_seq at, uint64_t out[MODEL_BRANCHES]);
/* The maximal ones of the points that two points both contain. */
size_t model_bases(struct model *, helios_point a, helios_point b, helios_point bases[MODEL_BRANCHES]);

/* What becomes of one key of the target. */
enum model_outcome { MODEL_KEEP, MODEL_TAKE, MODEL_CONFLICT };
/* Of states: the source's, the target's, the bases'; with none of these every difference is a conflict. */
enum model_outcome model_three_way(const struct model_cell *source, const struct model_cell *target,
                                   const struct model_cell *const *bases, size_t count, size_t key);

#endif
