/* branch_access.c - what a call on a branch must know before it begins. Called by every read and write; waits for
 * nobody and takes no lock. */
#include "engine/branches.h"
#include <inttypes.h>

const struct branch *branch_at(struct helios_db *db, helios_branch_id id)
{
    const struct branch *branch;

    epoch_enter(); /* the branch itself stays until the database is closed */
    branch = registry_at(db->registry, id);
    epoch_leave();
    return branch;
}

static helios_status fail_dropped(const struct branch *branch)
{
    return fail(HELIOS_NOT_FOUND, "branch %u was dropped by commit %" PRIu64, branch->id, branch->closed_seq);
}

helios_status branch_readable(struct helios_db *db, helios_branch_id id)
{
    const struct branch *branch = branch_at(db, id);

    if (!branch)
        return fail(HELIOS_NOT_FOUND, "no branch %u", id);
    return atomic_load(&branch->state) == HELIOS_BRANCH_DROPPED ? fail_dropped(branch) : HELIOS_OK;
}

helios_status branch_writable(struct helios_db *db, helios_branch_id id)
{
    struct branch *branch = (struct branch *)branch_at(db, id);
    helios_seq none = 0;

    if (!branch)
        return fail(HELIOS_NOT_FOUND, "no branch %u", id);
    switch (atomic_load(&branch->state)) {
    case HELIOS_BRANCH_DROPPED: return fail_dropped(branch);
    case HELIOS_BRANCH_MERGED:
        return fail(HELIOS_READ_ONLY, "branch %u was merged and closed by commit %" PRIu64, id,
                    branch->closed_seq);
    default: break;
    }
    /* Before the number of the write is taken. */
    if (atomic_load_explicit(&branch->first_write, memory_order_relaxed) == 0)
        atomic_compare_exchange_strong(&branch->first_write, &none, atomic_load(&db->visible) + 1);
    return HELIOS_OK;
}

const struct branch *branch_overlay(struct helios_db *db, helios_branch_id id, helios_seq *seq)
{
    const struct branch *branch = branch_at(db, id);

    /* What is written from now on is numbered above *seq. */
    while (branch->id != 0 && atomic_load_explicit(&branch->first_write, memory_order_acquire) == 0) {
        if (branch->up_seq < *seq)
            *seq = branch->up_seq;
        branch = branch->up ? branch->up : branch_at(db, 0);
    }
    return branch;
}

helios_status branch_hold(struct helios_db *db, helios_branch_id id)
{
    struct branch *branch;

    if (id == 0)
        return HELIOS_OK;
    branch = (struct branch *)branch_at(db, id);
    if (!branch)
        return fail(HELIOS_NOT_FOUND, "no branch %u", id);
    atomic_fetch_add(&branch->handles, 1);
    if (!atomic_load(&branch->closing) && /* after the count: one of the two sees the other */
        atomic_load(&branch->state) != HELIOS_BRANCH_DROPPED)
        return HELIOS_OK;
    atomic_fetch_sub(&branch->handles, 1);
    return atomic_load(&branch->state) == HELIOS_BRANCH_DROPPED
               ? fail_dropped(branch)
               : fail(HELIOS_BUSY, "branch %u is being dropped", id);
}

void branch_release(struct helios_db *db, helios_branch_id id)
{
    if (id)
        atomic_fetch_sub(&((struct branch *)branch_at(db, id))->handles, 1);
}
