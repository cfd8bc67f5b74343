/* sync.c - one fsync for many commits. A leader syncs up to what was published when it began; those who
 * come meanwhile and need more wait for the next round, whose leader is named (handed) by the one that
 * ends, before it wakes those that it served. So the disk is never idle while somebody waits, and a woken
 * thread either returns without a lock or leads.
 *
 * A failed fsync is final: what it covered is in doubt, and a second one could succeed without having
 * written anything. */
#include "wal/wal_internal.h"
#include <limits.h>

static struct sync_batch *batch_of(struct wal *wal, uint64_t round)
{
    return &wal->batch[round & 1];
}

static void batch_wake(struct sync_batch *batch, int count)
{
    atomic_fetch_add_explicit(&batch->word, 1, memory_order_release);
    futex_wake(&batch->word, count);
}

static wal_pos durable_now(const struct wal *wal)
{
    return atomic_load_explicit(&wal->durable, memory_order_acquire);
}

static bool has_failed(const struct wal *wal)
{
    return atomic_load_explicit(&wal->failed, memory_order_acquire);
}

/* The first segment numbered `number` to `last`, or NULL. It stays open as long as durable is not beyond it; one above,
 * prepared and not yet in use, could be thrown away at any moment. */
static struct wal_segment *segment_from(struct wal *wal, uint64_t number, uint64_t last)
{
    struct wal_segment *segment;

    mutex_lock(&wal->mu);
    for (segment = wal->first; segment && segment->number < number;)
        segment = segment->next;
    if (segment && segment->number > last)
        segment = NULL;
    mutex_unlock(&wal->mu);
    return segment;
}

/* The segment that `from` is in too, also when all its records are durable: it has got its END since, and
 * nothing behind it counts without that. */
static helios_status segments_sync(struct wal *wal, wal_pos from, wal_pos to)
{
    uint64_t number = wal_pos_segment(from);
    helios_status status = HELIOS_OK;

    while (status == HELIOS_OK) {
        struct wal_segment *segment = segment_from(wal, number, wal_pos_segment(to));

        if (!segment)
            break;
        status = io_sync(segment->file);
        number = segment->number + 1;
    }
    return status;
}

/* Ends a round, under sync_mu: names the next leader if somebody waits for the next round. The wakes are the
 * caller's, by word, after unlocking. */
static bool round_end_locked(struct wal *wal)
{
    struct sync_batch *next = batch_of(wal, wal->sync_round + 1);

    batch_of(wal, wal->sync_round)->waiters = 0; /* they are served and do not come back to say so */
    wal->sync_running = next->waiters > 0;
    if (!wal->sync_running)
        return false;
    wal->sync_round++;
    wal->sync_covers = UINT64_MAX; /* the new leader has not yet looked: it will cover all published */
    atomic_store_explicit(&wal->sync_handed, 1, memory_order_release);
    return true;
}

static void failure_set_locked(struct wal *wal, helios_status status)
{
    error_keep(&wal->error, status);
    atomic_store_explicit(&wal->failed, true, memory_order_release);
}

static void wake_after_failure(struct wal *wal)
{
    batch_wake(&wal->batch[0], INT_MAX);
    batch_wake(&wal->batch[1], INT_MAX);
    mutex_lock(&wal->mu);
    condition_broadcast(&wal->prepared_changed);
    mutex_unlock(&wal->mu);
}

void wal_fail(struct wal *wal, helios_status status)
{
    mutex_lock(&wal->sync_mu);
    failure_set_locked(wal, status);
    mutex_unlock(&wal->sync_mu);
    wake_after_failure(wal);
}

helios_status wal_error(struct wal *wal)
{
    return has_failed(wal) ? error_tell(&wal->error) : HELIOS_OK;
}

/* Called with sync_mu held by the one leader of the running round; returns without. */
static void lead_locked(struct wal *wal)
{
    struct wal_reading target = wal_point_read(wal);
    wal_pos from = durable_now(wal);
    struct sync_batch *served = batch_of(wal, wal->sync_round);
    helios_status status;
    bool handed = false, waiting = false;

    wal->sync_covers = target.pos;
    mutex_unlock(&wal->sync_mu);
    status = has_failed(wal) ? wal_error(wal) : segments_sync(wal, from, target.pos);
    mutex_lock(&wal->sync_mu);
    if (status != HELIOS_OK) {
        failure_set_locked(wal, status); /* the round never ends: there is no other */
    } else {
        atomic_store_explicit(&wal->sync_small, target.pos - from < WAL_SMALL, memory_order_relaxed);
        atomic_store_explicit(&wal->durable_seq, target.last, memory_order_release);
        atomic_store_explicit(&wal->durable, target.pos, memory_order_release);
        waiting = served->waiters > 0;
        handed = round_end_locked(wal);
    }
    mutex_unlock(&wal->sync_mu);
    if (handed)
        batch_wake(served == &wal->batch[0] ? &wal->batch[1] : &wal->batch[0], 1);
    if (waiting)
        batch_wake(served, INT_MAX);
    if (status != HELIOS_OK)
        wake_after_failure(wal);
    else if (wal_pos_segment(target.pos) > wal_pos_segment(from))
        wal_keeper_wake(wal);
}

static bool take_lead(struct wal *wal)
{
    return atomic_load_explicit(&wal->sync_handed, memory_order_acquire) != 0 &&
           atomic_exchange_explicit(&wal->sync_handed, 0, memory_order_acq_rel) != 0;
}

/* Out of time. A wake meant for the next leader may have come to this thread: passed on. */
static helios_status give_up(struct wal *wal, struct sync_batch *batch, wal_pos pos)
{
    bool pass_on = false;

    mutex_lock(&wal->sync_mu);
    if (durable_now(wal) >= pos) {
        mutex_unlock(&wal->sync_mu);
        return HELIOS_OK;
    }
    batch->waiters--; /* not served, so still counted */
    if (atomic_load_explicit(&wal->sync_handed, memory_order_acquire)) {
        pass_on = batch->waiters > 0;
        if (!pass_on && take_lead(wal))
            wal->sync_running = false;
    }
    mutex_unlock(&wal->sync_mu);
    if (pass_on)
        batch_wake(batch, 1);
    if (has_failed(wal))
        return wal_error(wal);
    return fail(HELIOS_TIMEOUT, "the log was not synced in time");
}

static helios_status wait_in(struct wal *wal, struct sync_batch *batch, wal_pos pos, uint64_t timeout)
{
    uint64_t until = 0, now = 0;

    if (timeout != UINT64_MAX) {
        now = io_monotonic(wal->options.fs);
        until = now > UINT64_MAX - timeout ? UINT64_MAX : now + timeout;
    }
    for (;;) {
        uint32_t word = atomic_load_explicit(&batch->word, memory_order_acquire);

        if (durable_now(wal) >= pos)
            return HELIOS_OK;
        if (has_failed(wal))
            return wal_error(wal);
        if (take_lead(wal)) {
            mutex_lock(&wal->sync_mu);
            batch->waiters--;
            lead_locked(wal);
            continue;
        }
        if (timeout == UINT64_MAX) {
            futex_wait(&batch->word, word, UINT64_MAX);
            continue;
        }
        if (now >= until)
            return give_up(wal, batch, pos);
        futex_wait(&batch->word, word, until - now);
        now = io_monotonic(wal->options.fs);
    }
}

helios_status wal_sync(struct wal *wal, wal_pos pos, uint64_t timeout)
{
    wal_pos published = wal_published(wal);
    struct sync_batch *batch;

    if (has_failed(wal))
        return wal_error(wal);
    if (pos > published)
        pos = published;
    if (durable_now(wal) >= pos)
        return HELIOS_OK;
    if (timeout == 0)
        return fail(HELIOS_TIMEOUT, "the log is not yet synced that far");
    mutex_lock(&wal->sync_mu);
    if (!wal->sync_running) {
        if (durable_now(wal) >= pos) {
            mutex_unlock(&wal->sync_mu);
            return HELIOS_OK;
        }
        wal->sync_running = true;
        wal->sync_round++;
        lead_locked(wal);
        return durable_now(wal) >= pos ? HELIOS_OK : wal_error(wal);
    }
    batch = batch_of(wal, pos <= wal->sync_covers ? wal->sync_round : wal->sync_round + 1);
    batch->waiters++;
    mutex_unlock(&wal->sync_mu);
    return wait_in(wal, batch, pos, timeout);
}

wal_pos wal_durable(const struct wal *wal)
{
    return durable_now(wal);
}

helios_seq wal_durable_seq(const struct wal *wal)
{
    return atomic_load_explicit(&wal->durable_seq, memory_order_acquire);
}
