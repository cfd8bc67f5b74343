/* feed_acks.c - acknowledgements of consumers, by themselves and within batches.
 *
 * Positions only grow: whoever writes one holds change_mu from the look at the old one to the publication of its commit;
 * durability is waited for afterwards, so that acknowledgements share syncs. In memory a position may be ahead of the disk: a
 * trim syncs before it relies on it. */
#include "engine/feed_consumers.h"
#include "engine/consumer_entries.h"
#include <inttypes.h>

helios_status consumer_check_ack(struct helios_db *db, helios_seq lsn)
{
    helios_seq latest = atomic_load(&db->latest);

    if (lsn <= latest)
        return HELIOS_OK;
    return fail(HELIOS_INVALID, "%" PRIu64 " is acknowledged; the last entry is %" PRIu64, lsn, latest);
}

/* *commit: 0 if there was nothing to write. Under change_mu. */
static helios_status ack_changing(struct helios_db *db, struct feed_consumer *c, helios_seq lsn,
                                  helios_seq *commit)
{
    const struct position_record at = {lsn, io_time(db->fs)};
    unsigned char value[POSITION_SIZE];
    struct consumer_key key;
    helios_status status;

    *commit = 0;
    if (lsn <= c->acked)
        return HELIOS_OK;
    status = consumer_check_ack(db, lsn);
    if (status == HELIOS_OK)
        status =
            write_system(db, HELIOS_DURABILITY_ASYNC, KIND_VALUE, consumer_key_of(&key, POSITION_KEY, c->name),
                         position_encode(value, &at), commit);
    if (status == HELIOS_OK)
        consumer_moved(db, c, lsn, at.active, *commit);
    return status;
}

static helios_status wait_durable(struct helios_db *db, helios_seq commit)
{
    helios_status status = helios_wait_durable(db, commit, UINT64_MAX);

    if (status == HELIOS_OK)
        feed_consumers_follow(db);
    return status;
}

helios_status feed_consumer_ack(struct helios_db *db, struct feed_consumer *c, helios_seq lsn)
{
    helios_seq commit = 0;
    helios_status status = db_writable(db);

    if (status != HELIOS_OK)
        return status;
    mutex_lock(&db->feed.change_mu);
    status = ack_changing(db, c, lsn, &commit);
    mutex_unlock(&db->feed.change_mu);
    return status == HELIOS_OK && commit ? wait_durable(db, commit) : status;
}

/* ---- acknowledging within a batch ---- */

void helios_batch_ack(helios_batch *batch, const char *consumer, helios_seq lsn)
{
    const struct position_record at = {lsn, 0}; /* the time is known when it is written */
    unsigned char value[POSITION_SIZE];
    struct consumer_key key;
    helios_status status;

    if (!batch || batch->error.status != HELIOS_OK)
        return;
    status = consumer ? name_check("a consumer", consumer) : fail(HELIOS_INVALID, "no consumer was given");
    if (status != HELIOS_OK) {
        error_keep(&batch->error, status);
        return;
    }
    batch_add(batch, KIND_VALUE, SPACE_SYSTEM, consumer_key_of(&key, POSITION_KEY, consumer),
              position_encode(value, &at));
    batch->acks++;
}

/* The next acknowledgement from *index on; false: no more. In a program's batch nothing else is of this space. */
static bool next_ack(const struct helios_batch *batch, size_t *index, struct op *op)
{
    for (; *index < batch->count; ++*index) {
        *op = batch_at(batch, *index);
        if (op->space == SPACE_SYSTEM) {
            ++*index;
            return true;
        }
    }
    return false;
}

/* Every position in the batch becomes what its consumer will have by then: an older one changes nothing, in the log
 * and in its replay neither. Under change_mu. */
static helios_status settle_acks(struct helios_db *db, struct helios_batch *batch, uint64_t now)
{
    unsigned char value[POSITION_SIZE];
    struct op op;

    for (size_t i = 0; next_ack(batch, &i, &op);) {
        struct feed_consumer *c = consumer_made(&db->feed, consumer_name(op.key));

        if (!c)
            return fail(HELIOS_NOT_FOUND, "no consumer \"%.*s\"", (int)op.key.size - 1,
                        (const char *)op.key.data + 1);
        c->wanted = c->acked;
    }
    for (size_t i = 0; next_ack(batch, &i, &op);) {
        struct feed_consumer *c = consumer_made(&db->feed, consumer_name(op.key));
        helios_seq lsn = position_acked(op.value);
        helios_status status = lsn > c->acked ? consumer_check_ack(db, lsn) : HELIOS_OK;

        if (status != HELIOS_OK)
            return status;
        if (lsn > c->wanted)
            c->wanted = lsn;
        batch_set_value(batch, i - 1, position_encode(value, &(struct position_record){c->wanted, now}));
    }
    return HELIOS_OK;
}

static void move_acked(struct helios_db *db, const struct helios_batch *batch, uint64_t now, helios_seq commit)
{
    struct op op;

    for (size_t i = 0; next_ack(batch, &i, &op);) {
        struct feed_consumer *c = consumer_made(&db->feed, consumer_name(op.key));

        if (c->wanted > c->acked)
            consumer_moved(db, c, c->wanted, now, commit);
    }
}

helios_status feed_write_acks(struct helios_db *db, helios_branch_id branch, helios_durability durability,
                              struct write_set *set, helios_seq *commit)
{
    helios_seq seq = 0;
    uint64_t now;
    helios_status status = feed_kept(db);

    if (status == HELIOS_OK && branch != 0)
        status = fail(HELIOS_INVALID, "a batch with an acknowledgement is written on main, not on branch %u",
                      branch);
    if (status != HELIOS_OK)
        return status;
    mutex_lock(&db->feed.change_mu);
    now = io_time(db->fs);
    status = settle_acks(db, set->batch, now);
    if (status == HELIOS_OK)
        status = commit_write(db, branch, HELIOS_DURABILITY_ASYNC, set, &seq);
    if (status == HELIOS_OK)
        move_acked(db, set->batch, now, seq);
    mutex_unlock(&db->feed.change_mu);
    if (status != HELIOS_OK)
        return status;
    if (durability == HELIOS_DURABILITY_GROUP)
        wal_sync_soon(db->wal, db->options.group_commit_interval);
    if (durability == HELIOS_DURABILITY_SYNC)
        status = wait_durable(db, seq);
    if (status == HELIOS_OK && commit)
        *commit = seq;
    return status;
}
