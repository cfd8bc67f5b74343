/* gate.h - branches whose commits are held up or refused in the reservation: by a merge that is about to commit, and by
 * what closes a branch. A commit on main pays one comparison for it. */
#ifndef HELIOS_ENGINE_GATE_H
#define HELIOS_ENGINE_GATE_H
#include "engine/engine_internal.h"

/* One closed gate; the holder's, on its stack. */
struct gate {
    helios_branch_id branch;
    struct gate *next;
};

/* No commit on the branch is reserved until gate_open(); its writers wait. Returns when all that were reserved before are
 * visible. The holder commits with WAL_BRANCH_MANY, or a write set that holds_gate, which passes; who else
 * closes a gate of the same branch waits. On failure it is open. */
helios_status gate_close(struct helios_db *, struct gate *, helios_branch_id) CHECKED;
void gate_open(struct helios_db *, struct gate *);

/* Likewise, but writers get HELIOS_BUSY; for good, if the branch's state says so before branch_unseal(). HELIOS_BUSY if it is
 * sealed already. */
helios_status branch_seal(struct helios_db *, helios_branch_id) CHECKED;
void branch_unseal(struct helios_db *, helios_branch_id);
bool branch_is_sealed(struct helios_db *, helios_branch_id);

/* ---- for the reservation ---- */

/* Under commit_mu. RESERVE_DONE: it may go on. */
enum reserve_result gate_look_locked(struct helios_db *, helios_branch_id);
helios_status gate_wait(struct helios_db *) CHECKED; /* for a gate to open, or a while */
/* Why a branch takes no writes: always a failure. */
helios_status gate_refuse(struct helios_db *, helios_branch_id) CHECKED;

#endif
