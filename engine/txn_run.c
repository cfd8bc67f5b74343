/* txn_run.c - a transaction that is tried again until it wins.
 *
 * Losers wait a random moment that doubles, microseconds at first. Who has lost several times stands in a queue whose
 * first alone tries, so that losers lose against newcomers at most. And if the first keeps losing all the same, first
 * attempts wait until it has won: nobody starves. All waits are bounded and a run within a run does not wait in turn, as
 * a body may itself wait for somebody who stands here. */
#include "base/random.h"
#include "engine/txn.h"
#include <limits.h>

enum {
    LOSSES_BEFORE_QUEUE = 4,
    LOSSES_IN_TURN = 4,     /* then newcomers wait */
    PAUSE_DOUBLINGS = 10,   /* up to a millisecond */
    TURN_WAIT_MAX = 500000, /* us; then an attempt is made all the same */
};

struct txn_waiter {
    struct txn_waiter *next;
    _Atomic uint32_t turn; /* 1: the first; sleeps on it */
};

struct attempts {
    struct helios_db *db;
    struct random random;
    unsigned losses;
    bool queued, starving;
    struct txn_waiter waiter;
};

static __thread unsigned runs; /* of this thread, one within the other */

/* ---- the queue ---- */

static void wait_while(struct helios_db *db, _Atomic uint32_t *word, uint32_t value)
{
    uint64_t until = io_monotonic(db->fs) + TURN_WAIT_MAX, now;

    while (atomic_load(word) == value && (now = io_monotonic(db->fs)) < until)
        futex_wait(word, value, until - now);
}

static void enter_queue(struct attempts *a)
{
    struct txn_queue *queue = &a->db->queue;
    struct txn_waiter **link = &queue->first;

    mutex_lock(&queue->mu);
    while (*link)
        link = &(*link)->next;
    *link = &a->waiter;
    a->waiter.next = NULL;
    atomic_store(&a->waiter.turn, link == &queue->first);
    mutex_unlock(&queue->mu);
    a->queued = true;
    wait_while(a->db, &a->waiter.turn, 0);
}

/* From wherever it stands, as its wait may have been too long. */
static void leave_queue(struct attempts *a)
{
    struct txn_queue *queue = &a->db->queue;
    struct txn_waiter **link = &queue->first;

    mutex_lock(&queue->mu);
    while (*link != &a->waiter)
        link = &(*link)->next;
    *link = a->waiter.next;
    if (queue->first && atomic_exchange(&queue->first->turn, 1) == 0)
        futex_wake(&queue->first->turn, 1); /* under the lock: the waiter is on another thread's stack */
    mutex_unlock(&queue->mu);
}

/* ---- attempts ---- */

static void pause_randomly(struct attempts *a)
{
    unsigned doublings = a->losses < PAUSE_DOUBLINGS ? a->losses : PAUSE_DOUBLINGS;

    thread_sleep(random_below(&a->random, UINT64_C(1) << doublings) + 1);
}

/* Before an attempt. */
static void await_turn(struct attempts *a)
{
    struct txn_queue *queue = &a->db->queue;

    if (runs > 1) {
        if (a->losses)
            pause_randomly(a);
    } else if (a->losses == 0) {
        if (atomic_load(&queue->starving))
            wait_while(a->db, &queue->starving, 1);
    } else if (a->losses < LOSSES_BEFORE_QUEUE) {
        pause_randomly(a);
    } else if (!a->queued) {
        enter_queue(a);
    } else if (a->losses >= LOSSES_BEFORE_QUEUE + LOSSES_IN_TURN && !a->starving) {
        a->starving = true;
        atomic_store(&queue->starving, 1);
    }
}

static void note_loss(struct attempts *a)
{
    if (a->losses++ == 0)
        random_seed(&a->random, io_monotonic(a->db->fs) ^ (uint64_t)(uintptr_t)a);
}

static void stop(struct attempts *a)
{
    if (a->starving) {
        atomic_store(&a->db->queue.starving, 0);
        futex_wake(&a->db->queue.starving, INT_MAX);
    }
    if (a->queued)
        leave_queue(a);
}

static helios_status attempt(struct helios_db *db, const helios_txn_options *options,
                             helios_status (*body)(void *arg, helios_txn *), void *arg, helios_seq *commit)
{
    helios_txn *txn;
    helios_status status = helios_txn_begin(db, options, &txn);

    if (status != HELIOS_OK)
        return status;
    status = body(arg, txn);
    if (status == HELIOS_OK)
        status = helios_txn_commit(txn, commit);
    helios_txn_free(txn);
    return status;
}

helios_status helios_txn_run(helios_db *db, const helios_txn_options *options,
                             helios_status (*body)(void *arg, helios_txn *), void *arg, helios_seq *commit)
{
    struct attempts a;
    helios_status status;

    if (!db || !body)
        return fail(HELIOS_INVALID, "no %s was given", db ? "body" : "database");
    a.db = db;
    a.losses = 0;
    a.queued = a.starving = false;
    runs++;
    for (;;) {
        await_turn(&a);
        status = attempt(db, options, body, arg, commit);
        if (status != HELIOS_CONFLICT)
            break;
        note_loss(&a);
    }
    runs--;
    stop(&a);
    return status;
}
