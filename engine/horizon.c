/* horizon.c - how far back every state is readable, the floors that hold it, and what a job may collect.
 * Called by jobs when they start, by the janitor, by transactions and histories.
 *
 * The horizon is for readers: a point below it is readable only where a pin names it. It stops at the
 * oldest floor when it moves; a floor that is taken at that very moment may see it pass. That floor then looks
 * again, or the job sees the floor: whoever moved the horizon looks for floors afterwards, and collects nothing
 * that one of them needs. */
#include "engine/branches.h"
#include "engine/timeline.h"

static helios_seq oldest_floor(struct helios_db *db)
{
    return pins_oldest(db->floors);
}

helios_seq horizon_of_jobs_locked(struct helios_db *db)
{
    helios_seq point = atomic_load(&db->horizon), floor = oldest_floor(db);

    if (db->options.history_retention == 0)
        point = atomic_load(&db->latest);
    return point < floor ? point : floor;
}

helios_seq horizon_move(struct helios_db *db)
{
    helios_seq point, now, floor;

    mutex_lock(&db->state_mu);
    point = horizon_advance(&db->retention, io_monotonic(db->fs), atomic_load(&db->latest));
    floor = oldest_floor(db);
    if (point > floor)
        point = floor;
    now = atomic_load(&db->horizon);
    if (point > now && !db->recovering) {
        atomic_store(&db->horizon, point);
        now = point;
    }
    mutex_unlock(&db->state_mu);
    return now;
}

helios_status helios_set_history_retention(helios_db *db, uint64_t retention)
{
    if (!db)
        return fail(HELIOS_INVALID, "no database was given");
    if (db->options.read_only)
        return fail(HELIOS_READ_ONLY, "%s: opened read-only", db->path);
    mutex_lock(&db->state_mu);
    db->options.history_retention = retention;
    horizon_set_retention(&db->retention, retention);
    condition_broadcast(&db->state_changed); /* the janitor moves the horizon */
    mutex_unlock(&db->state_mu);
    return HELIOS_OK;
}

struct pin_owner pin_owner_now(struct helios_db *db, helios_pin_kind kind)
{
    return (struct pin_owner){.kind = kind, .thread = thread_id(), .since = io_time(db->fs)};
}

helios_status floor_acquire_latest(struct helios_db *db, helios_pin_kind kind, pin_id *pin, helios_seq *seq)
{
    const struct pin_owner owner = pin_owner_now(db, kind);

    return pins_acquire_latest(db->floors, &owner, &db->latest, &db->horizon, pin, seq);
}

helios_status floor_acquire_horizon(struct helios_db *db, helios_pin_kind kind, pin_id *pin, helios_seq *seq)
{
    const struct pin_owner owner = pin_owner_now(db, kind);
    helios_status status;

    do {
        *seq = atomic_load(&db->horizon);
        status = pins_acquire_at(db->floors, &owner, *seq, &db->horizon, NULL, NULL, pin);
    } while (status == HELIOS_HISTORY_GONE); /* it moved meanwhile */
    return status;
}

/* What was committed before the oldest point that anybody can still ask for is not asked for by time. */
static void set_timeline_rule(struct helios_db *db, struct job_rules *rules)
{
    helios_seq point = rules->rules.horizon, feed = atomic_load(&db->feed.first);

    if (feed && feed - 1 < point) /* trims count by it, and the feed is found by time */
        point = feed - 1;
    if (rules->pins && rules->pins[0] < point)
        point = rules->pins[0];
    rules->rules.aged = timeline_keys;
    rules->rules.aged.below = timeline_floor(db, point);
    atomic_store(&db->aged_below, rules->rules.aged.below);
}

helios_status job_rules_init(struct helios_db *db, struct job_rules *rules)
{
    helios_seq horizon, floor;
    size_t count = 0;
    helios_status status;

    *rules = (struct job_rules){0};
    rules->rules.collect = !db->recovering;
    if (!rules->rules.collect)
        return HELIOS_OK;
    horizon = horizon_move(db);
    pins_freeze(db->floors);
    floor = oldest_floor(db); /* after the horizon has moved */
    pins_thaw(db->floors);
    rules->rules.horizon = horizon < floor ? horizon : floor;
    branches_settle(db, floor);
    pins_freeze(db->pins);
    status = pins_collect(db->pins, rules->rules.horizon, &rules->pins, &count);
    if (status == HELIOS_OK)
        status = tags_add_points(&db->tags, rules->rules.horizon, &rules->pins, &count);
    if (status == HELIOS_OK)
        holds_settle_replaced(&db->holds, branches_durable(db, rules->rules.horizon), rules->pins, count);
    if (status == HELIOS_OK) /* after the pins: a fork's hold begins before the pin of its making ends */
        status = holds_list(&db->holds, rules->rules.horizon, &rules->held);
    pins_thaw(db->pins);
    if (status != HELIOS_OK)
        return status;
    set_timeline_rule(db, rules);
    return branch_rules_init(rules, rules->pins, count);
}

struct collected collected_by(const struct job_rules *rules)
{
    return (struct collected){rules->rules.horizon, rules->held.settled};
}

void horizon_look(struct helios_db *db, helios_seq *looked)
{
    helios_seq horizon = horizon_move(db);
    struct job_rules rules = {0};

    if (horizon == *looked)
        return;
    if (job_rules_init(db, &rules) == HELIOS_OK)
        *looked = horizon;
    job_rules_release(&rules);
}

void job_rules_release(struct job_rules *rules)
{
    branch_rules_release(rules);
    held_list_release(&rules->held);
    mem_free(rules->pins);
    rules->pins = NULL;
}
