/* txn_validate.c - whether a transaction comes too late: its writes and reads against the footprints of all commits since
 * its beginning. Called by txn.c before the reservation, by commit.c and ingest.c behind it.
 *
 * A ticket's footprint hangs in its slot of the ring until the slot is used again, 4096 commits later; one that is gone,
 * was never made or is too big leaves its commit unknown, and the tree is asked (txn_tree.c).
 *
 * There is no deadlock: a reserved transaction waits for earlier tickets alone, and whoever is not reserved holds nothing. */
#include "engine/text.h"
#include "engine/txn.h"
#include <assert.h>
#include <inttypes.h>

enum { TICKETS_A_STAY = 256 /* in one epoch */, OUTCOME_SPINS = 100 };

struct conflict_sets txn_conflict_sets(const struct helios_txn *txn)
{
    return (struct conflict_sets){&txn->writes, txn->ranges,
                                  txn->serializable || txn->watches ? &txn->reads : NULL};
}

helios_status txn_conflict(const struct helios_txn *txn, helios_slice key, helios_seq seq)
{
    char text[PRINTED_KEY_BYTES];

    print_key(key_user(key), text);
    return fail(HELIOS_CONFLICT,
                "a transaction that began at %" PRIu64 " lost: commit %" PRIu64 " has changed the key \"%s\"%s",
                txn->point, seq, text,
                txn->serializable || txn->watches ? ", which it wrote or read" : ", which it wrote");
}

/* ---- one ticket ---- */

enum verdict { CLEAR, CONFLICT, IN_FLIGHT, UNKNOWN };

/* Inside an epoch. IN_FLIGHT: it meets, and *counted is to be waited for. */
static enum verdict check_ticket(const struct helios_txn *txn, uint64_t ticket,
                                 const struct conflict_sets *sets, struct footprint **counted)
{
    struct footprint *f =
        atomic_load_explicit(&txn->db->ring[ticket % RING_SLOTS].footprint, memory_order_acquire);
    helios_slice where;

    if (!f || f->ticket != ticket)
        return UNKNOWN;
    if (f->last <= txn->checked || (!f->too_big && !footprint_meets(f, sets, &where)))
        return CLEAR;
    switch (atomic_load_explicit(&f->outcome, memory_order_acquire)) {
    case FOOTPRINT_VOID: return CLEAR;
    case FOOTPRINT_IN_FLIGHT: *counted = footprint_ref(f); return IN_FLIGHT;
    default: break;
    }
    if (f->too_big)
        return UNKNOWN;
    (void)!txn_conflict(txn, where, f->last);
    return CONFLICT;
}

static helios_status wait_for_outcome(struct helios_db *db, const struct footprint *f)
{
    for (int i = 0; i < OUTCOME_SPINS; i++) {
        if (atomic_load_explicit(&f->outcome, memory_order_acquire) != FOOTPRINT_IN_FLIGHT)
            return HELIOS_OK;
        cpu_relax();
    }
    return publish_wait(db, f->last);
}

/* ---- all tickets ---- */

/* From txn->ticket on, up to `end` or to the first that is unknown. */
static helios_status check_tickets(struct helios_txn *txn, uint64_t end, bool *unknown)
{
    const struct conflict_sets sets = txn_conflict_sets(txn);

    *unknown = false;
    while (txn->ticket < end && !*unknown) {
        enum verdict verdict = CLEAR;
        struct footprint *counted = NULL;
        helios_status status = HELIOS_OK;

        epoch_enter();
        for (int n = 0; n < TICKETS_A_STAY && txn->ticket < end; n++) {
            verdict = check_ticket(txn, txn->ticket, &sets, &counted);
            if (verdict != CLEAR)
                break;
            txn->ticket++;
        }
        epoch_leave();
        if (verdict == CONFLICT)
            return HELIOS_CONFLICT;
        if (verdict == IN_FLIGHT)
            status = wait_for_outcome(txn->db, counted);
        footprint_unref(counted);
        if (status != HELIOS_OK)
            return status;
        *unknown = verdict == UNKNOWN;
    }
    return HELIOS_OK;
}

helios_status txn_validate(struct helios_txn *txn)
{
    struct helios_db *db = txn->db;

    for (;;) {
        bool unknown;
        uint64_t published = atomic_load_explicit(&db->published, memory_order_acquire);
        helios_status status = check_tickets(txn, published + RING_SLOTS, &unknown);

        if (status != HELIOS_OK || !unknown)
            return status;
        /* What is not even reserved is unknown too: that and what is in flight is left to the second look. */
        published = atomic_load_explicit(&db->published, memory_order_acquire);
        if (txn->ticket >= published)
            return HELIOS_OK;
        status = txn_check_tree(txn, atomic_load(&db->visible));
        if (status != HELIOS_OK)
            return status;
        txn->ticket = published;
    }
}

helios_status txn_validate_reserved(struct helios_txn *txn, const struct reserved *reserved)
{
    bool unknown;
    helios_status status = check_tickets(txn, reserved->ticket, &unknown);

    if (status != HELIOS_OK || !unknown)
        return status;
    status = publish_wait(txn->db, reserved->first - 1);
    if (status == HELIOS_OK)
        status = txn_check_tree(txn, reserved->first - 1);
    if (status == HELIOS_OK)
        txn->ticket = reserved->ticket;
    return status;
}
