/* gate.c - which branches take no reservations. Called by commit.c for every commit that is not on an unheld main, by merge.c
 * and branches.c to close and open. */
#include "engine/gate.h"
#include "engine/branches.h"
#include <limits.h>

enum { GATE_WAIT = 100000 /* us; then the writer looks again */ };

static struct branch *branch_of(struct helios_db *db, helios_branch_id id)
{
    return (struct branch *)branch_at(db, id);
}

/* All that has a number becomes visible. */
static helios_status drain(struct helios_db *db)
{
    helios_seq last;

    mutex_lock(&db->commit_mu);
    last = db->next - 1;
    mutex_unlock(&db->commit_mu);
    return publish_wait(db, last);
}

/* False: the branch has one. */
static bool add(struct helios_db *db, struct gate *gate)
{
    const struct gate *other;

    mutex_lock(&db->commit_mu);
    for (other = db->gates; other && other->branch != gate->branch; other = other->next)
        ;
    if (!other) {
        gate->next = db->gates;
        db->gates = gate;
    }
    mutex_unlock(&db->commit_mu);
    return !other;
}

helios_status gate_close(struct helios_db *db, struct gate *gate, helios_branch_id branch)
{
    helios_status status;

    gate->branch = branch;
    while (!add(db, gate)) {
        status = gate_wait(db);
        if (status != HELIOS_OK)
            return status;
    }
    status = drain(db);
    if (status != HELIOS_OK)
        gate_open(db, gate);
    return status;
}

void gate_open(struct helios_db *db, struct gate *gate)
{
    struct gate **link = &db->gates;

    mutex_lock(&db->commit_mu);
    while (*link != gate)
        link = &(*link)->next;
    *link = gate->next;
    mutex_unlock(&db->commit_mu);
    atomic_fetch_add(&db->gate_word, 1);
    futex_wake(&db->gate_word, INT_MAX);
}

helios_status branch_seal(struct helios_db *db, helios_branch_id id)
{
    struct branch *branch = branch_of(db, id);
    bool was;
    helios_status status;

    mutex_lock(&db->commit_mu);
    was = branch->sealed;
    branch->sealed = true;
    mutex_unlock(&db->commit_mu);
    if (was)
        return fail(HELIOS_BUSY, "branch %u is being closed by another call", id);
    status = drain(db);
    if (status != HELIOS_OK)
        branch_unseal(db, id);
    return status;
}

void branch_unseal(struct helios_db *db, helios_branch_id id)
{
    struct branch *branch = branch_of(db, id);

    mutex_lock(&db->commit_mu);
    branch->sealed = false;
    mutex_unlock(&db->commit_mu);
}

bool branch_is_sealed(struct helios_db *db, helios_branch_id id)
{
    bool sealed;

    mutex_lock(&db->commit_mu);
    sealed = branch_of(db, id)->sealed;
    mutex_unlock(&db->commit_mu);
    return sealed;
}

enum reserve_result gate_look_locked(struct helios_db *db, helios_branch_id id)
{
    const struct branch *branch;

    if (id == WAL_BRANCH_MANY)
        return RESERVE_DONE;
    for (const struct gate *gate = db->gates; gate; gate = gate->next)
        if (gate->branch == id)
            return RESERVE_HELD;
    if (id == 0)
        return RESERVE_DONE;
    branch = branch_at(db, id);
    return branch->sealed || atomic_load(&branch->state) != HELIOS_BRANCH_ACTIVE ? RESERVE_CLOSED
                                                                                 : RESERVE_DONE;
}

helios_status gate_wait(struct helios_db *db)
{
    uint32_t word = atomic_load(&db->gate_word);
    bool closed;

    mutex_lock(&db->commit_mu);
    closed = db->gates != NULL;
    mutex_unlock(&db->commit_mu);
    if (closed)
        futex_wait(&db->gate_word, word, GATE_WAIT);
    return atomic_load(&db->failed) ? db_writable(db) : HELIOS_OK;
}

helios_status gate_refuse(struct helios_db *db, helios_branch_id id)
{
    helios_status status = branch_writable(db, id);

    return status == HELIOS_OK ? fail(HELIOS_BUSY, "branch %u is being closed", id) : status;
}
