/* fault_branches.c - branches of the fault tests and their judge; see fault_world.h. A branch shows main as it was when it
 * was made; what is written on it is one batch: a key of its own, and the first shared keys deleted. */
#include "tests/fault_world.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { OWN_DELETES = 10 };

static const char *branch_name(char letter, uint32_t index, char out[16])
{
    snprintf(out, 16, "%c%u", letter, index);
    return out;
}

/* What an acknowledged call has made is durable: the registry's commits are SYNC in these scenarios. */
static void note(struct world *w, enum tag_state *state, enum tag_state made, helios_status status)
{
    w->failed |= status != HELIOS_OK;
    if (status == HELIOS_OK)
        *state = made;
}

void world_branch(struct world *w)
{
    struct world_branch *branch = &w->branches[w->branch_count];
    char name[16];

    if (!world_going(w))
        return;
    CHECK(w->branch_count < WORLD_BRANCHES, "too many branches");
    *branch = (struct world_branch){.state = TAG_IN_DOUBT, .commits = w->commit_count};
    note(w, &branch->state, TAG_THERE,
         helios_branch_create(w->db, branch_name('b', w->branch_count++, name), 0, 0, &branch->id));
}

/* The oldest that is there, or the newest; NULL: none, or no more is to be done. */
static struct world_branch *find_branch(struct world *w, bool newest)
{
    for (uint32_t i = 0; world_going(w) && i < w->branch_count; i++) {
        struct world_branch *branch = &w->branches[newest ? w->branch_count - 1 - i : i];

        if (branch->state == TAG_THERE)
            return branch;
    }
    return NULL;
}

void world_branch_write(struct world *w)
{
    struct world_branch *branch = find_branch(w, true);
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    helios_batch *batch;
    char from[16], to[16];

    if (!branch)
        return;
    batch = helios_batch_new();
    write.branch = branch->id;
    write.durability = HELIOS_DURABILITY_SYNC;
    helios_batch_put(batch, slice_make("own", 3), world_value(branch->id, 0, SIZE_SMALL));
    helios_batch_delete_range(batch, world_key(0, from), world_key(OWN_DELETES, to));
    branch->own = TAG_IN_DOUBT;
    note(w, &branch->own, TAG_THERE, helios_write(w->db, &write, batch, NULL));
    helios_batch_free(batch);
}

void world_branch_rename(struct world *w)
{
    struct world_branch *branch = find_branch(w, true);
    char name[16];

    if (!branch)
        return;
    branch->renamed = TAG_IN_DOUBT;
    note(w, &branch->renamed, TAG_THERE,
         helios_branch_rename(w->db, branch->id, branch_name('r', (uint32_t)(branch - w->branches), name)));
}

void world_branch_drop(struct world *w)
{
    struct world_branch *branch = find_branch(w, false);

    if (!branch)
        return;
    branch->state = TAG_IN_DOUBT;
    note(w, &branch->state, TAG_GONE, helios_branch_drop(w->db, branch->id));
}

/* ---- judging ---- */

static void conclude(enum tag_state *state, bool there, const char *what, uint32_t index)
{
    CHECK(*state != TAG_GONE || !there, "branch %u: %s, which should not be", index, what);
    CHECK(*state != TAG_THERE || there, "branch %u: not %s", index, what);
    *state = there ? TAG_THERE : TAG_GONE;
}

static void check_one(struct check *c, uint32_t index, const helios_branch_info *info)
{
    struct world_branch *branch = &c->w->branches[index];
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_status status;
    helios_iter *it = NULL;

    read.branch = branch->id = info->id;
    conclude(&branch->state, true, "there", index);
    conclude(&branch->renamed, info->name[0] == 'r', "renamed", index);
    status = helios_get(c->w->db, &read, slice_make("own", 3), &c->value);
    if (!check_judge(c, status, "get on a branch"))
        return;
    conclude(&branch->own, status == HELIOS_OK, "written", index);
    check_expect(c, branch->commits);
    for (unsigned key = 0; key < OWN_DELETES && status == HELIOS_OK; key++)
        c->by_op[key] = -1;
    if (check_judge(c, helios_iter_new(c->w->db, &read, &it), "iterator of a branch"))
        (void)check_scan(c, it);
    helios_iter_free(it);
}

void check_branches(struct check *c)
{
    struct world *w = c->w;
    helios_branch_info *list = NULL;
    bool listed[WORLD_BRANCHES] = {false};
    size_t count = 0;

    if (w->branch_count == 0 || !check_judge(c, helios_branch_list(w->db, &list, &count), "list of branches"))
        return;
    for (size_t i = 0; i < count; i++) {
        unsigned long index = strtoul(list[i].name + 1, NULL, 10);

        if (list[i].id == 0 || list[i].name[0] == 's') /* those of merges: fault_merges.c */
            continue;
        CHECK(index < w->branch_count, "a branch %s that nobody made", list[i].name);
        check_one(c, (uint32_t)index, &list[i]);
        listed[index] = true;
    }
    for (uint32_t i = 0; i < w->branch_count && !c->detected; i++)
        conclude(&w->branches[i].state, listed[i], "there", i);
    helios_free(list);
}
