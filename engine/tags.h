/* tags.h - durable names of read points, in memory: a small registry beside the entries of the system space.
 * Used by open.c, read.c, horizon.c, pin_list.c; tags.c makes and drops them.
 *
 * A tag is an entry of branch 0, system space, key 'T' | name; made and dropped by an ordinary commit. In the
 * registry it is a pin of its point on its branch: from before its commit until after the one that drops it.
 *
 * Lock order: change_mu is above all others, held for a whole create or drop; mu is below all others. */
#ifndef HELIOS_ENGINE_TAGS_H
#define HELIOS_ENGINE_TAGS_H
#include "base/status.h"
#include "base/thread.h"
#include "base/utf8.h"

struct tag_point {
    helios_branch_id branch;
    helios_seq seq; /* 0: before the first commit */
    uint64_t time;
    bool made; /* its commit is durable; else it only pins */
    char name[];
};

struct tags {
    struct mutex change_mu; /* creates and drops, one at a time */
    struct mutex mu;
    struct tag_point **items; /* by name */
    size_t count, capacity;
};

struct helios_db;

void tags_init(struct tags *);
void tags_release(struct tags *);
/* Reads them from the system space. After the replay, before anything is collected. */
helios_status tags_load(struct helios_db *) CHECKED;
/* Does a tag pin this point of this branch? */
bool tags_hold(struct tags *, helios_branch_id, helios_seq);
/* A tag on the branch, its name into name (NAME_BYTES_MAX + 1 bytes); false: none. */
bool tags_on_branch(struct tags *, helios_branch_id, char *name);
/* Adds the points below `below` to an ascending, distinct array, which may move. */
helios_status tags_add_points(struct tags *, helios_seq below, helios_seq **seqs, size_t *count) CHECKED;

#endif
