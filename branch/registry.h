/* registry.h - the branches there are, in memory: id, name, parent, fork point, state; and for readers, from
 * each branch the nearest ancestor whose layer can hold anything that shows through. Pure: engine/ makes
 * every change durable first and then tells the registry.
 *
 * Readers (registry_at and what it returns) are inside an epoch or hold the registry's lock; they never wait.
 * Everything else needs the caller's lock. A branch's parent, fork point and links never change; ids are never
 * reused, so an id finds the same branch for ever, also a dropped one.
 *
 * Points are plain numbers here: the point before the first commit is 0. */
#ifndef HELIOS_BRANCH_REGISTRY_H
#define HELIOS_BRANCH_REGISTRY_H
#include "base/buf.h"
#include "base/key.h"
#include <stdatomic.h>

enum { BRANCH_METADATA_MAX = 64 * 1024 };

/* What is durable of a branch, and what one is made from. Slices are borrowed. */
struct branch_record {
    helios_branch_id id, parent;
    helios_seq fork_seq;
    helios_seq created_seq; /* 0: the number of the commit that holds the record */
    uint64_t created_time;
    helios_branch_state state;
    helios_seq closed_seq; /* merged and closed, or dropped: by this commit; 0: the one that holds the record */
    helios_slice name, metadata;
};
helios_status branch_record_encode(helios_buf *, const struct branch_record *) CHECKED;
/* Slices point into the value. False: damaged. */
bool branch_record_decode(helios_slice value, struct branch_record *);
/* HELIOS_INVALID unless it is 1 to 255 bytes of UTF-8 without control characters and a leading '-'. */
helios_status branch_name_check(const char *name) CHECKED;

struct merge;

/* Points of a branch that are held, ascending; guarded by the holds' lock (holds.h). */
struct held_point {
    helios_seq seq;
    uint32_t holders;
};
struct held_points {
    struct held_point *at;
    uint32_t count, capacity;
};

/* Metadata is on disk alone. */
struct branch {
    helios_branch_id id, parent;
    helios_seq fork_seq, created_seq, closed_seq;
    uint64_t created_time;
    _Atomic uint32_t state; /* helios_branch_state; release by the one who closes it */
    /* The first number that its layer may hold; 0: nothing was ever written. Set before such a number is
     * visible. */
    _Atomic helios_seq first_write;
    /* The nearest ancestor that holds anything at or below up_seq, the point at which it shows through. */
    const struct branch *up;
    helios_seq up_seq;
    uint32_t live_children;         /* lock */
    _Atomic(struct merge *) merges; /* into it, newest first: vector.h */
    _Atomic uint32_t handles;       /* open iterators and transactions on it */
    _Atomic bool closing;           /* no new ones: set before handles is looked at */
    bool merging;                   /* a merge into it is under way; guarded by the engine's merge_mu */
    bool sealed;                    /* takes no writes for now; guarded by the engine's reservation */
    char *name;                     /* lock */
    struct held_points held;
    struct branch *next_dropped; /* holds.h */
    _Atomic bool garbage;        /* nobody will read it any more; release by holds_settle() */
};

struct registry;
helios_status registry_new(struct registry **) CHECKED; /* with main */
void registry_free(struct registry *);

/* NULL: there never was such a branch. */
const struct branch *registry_at(const struct registry *, helios_branch_id);

/* ---- under the caller's lock ---- */
struct branch *registry_by_name(struct registry *, const char *name); /* live ones only; NULL */
helios_branch_id registry_next_id(const struct registry *);
/* Room for one more, so that registry_add cannot fail afterwards. */
helios_status registry_prepare(struct registry *, const struct branch_record *, struct branch **fresh) CHECKED;
void registry_discard(struct branch *fresh);
/* Its parent is there already; its first_write is 0. */
void registry_add(struct registry *, struct branch *fresh);
/* At open: all are loaded, parents first, before anything is looked up by name; then it is told which ids hold anything.
 * False: two live ones have the same name. */
void registry_load(struct registry *, struct branch *fresh);
bool registry_loaded(struct registry *, const bool *written);
/* Takes over the name, from mem_alloc. */
void registry_rename(struct registry *, struct branch *, char *name);
void registry_close(struct registry *, struct branch *, helios_branch_state, helios_seq closed_seq);
size_t registry_live(const struct registry *); /* main included */
/* The live ones (or all), by name; mem_free()d by the caller. */
helios_status registry_list(const struct registry *, bool all, struct branch ***list, size_t *count) CHECKED;

/* Where (branch, seq) meets `ancestor`: the point at which the ancestor shows through; false: it is none. */
bool branch_point_on(const struct registry *, helios_branch_id, helios_seq, helios_branch_id ancestor,
                     helios_seq *point);

#endif
