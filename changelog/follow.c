/* follow.c - the next commit of the log for a cursor, and the wait for one. Called by feed_cursor.c.
 *
 * A commit is handed out once it is visible and, unless `unsynced` was asked for, durable. A record may be durable before
 * it is visible (an ingested commit's is): it is then kept until it is.
 *
 * Who has read all that is visible sleeps among the followers (engine/followers.c), who are counted, so that a commit pays for
 * a wake-up only while somebody sleeps. Who sees commits ahead that are not durable asks for a sync within
 * the group interval, as a commit of durability GROUP does, and looks again when it is due; so a follower makes the
 * log sync at most as often as one such writer would. */
#include "changelog/changes_internal.h"

enum { DURABLE_PAUSE = 1000 /* us */ };

/* ---- time ---- */

/* What is left of it; 0: it is over. The clock is asked only by who waits. */
static uint64_t time_left(helios_changes *c, struct deadline *d)
{
    uint64_t now;

    if (d->timeout == 0 || d->timeout == UINT64_MAX)
        return d->timeout;
    now = io_monotonic(c->db->fs);
    if (!d->counting) {
        d->counting = true;
        d->until = now > UINT64_MAX - d->timeout ? UINT64_MAX : now + d->timeout;
    }
    return now < d->until ? d->until - now : 0;
}

static helios_status fail_timeout(void)
{
    return fail_fixed(HELIOS_TIMEOUT, "no change in the time that was given");
}

/* ---- the end ---- */

static helios_status end(helios_changes *c)
{
    c->ended = true;
    return fail_fixed(HELIOS_NOT_FOUND, "the end of the changes that were asked for");
}

/* The visible number first: all that it shows has been published in the log. */
static void look_at_end(helios_changes *c)
{
    struct wal *log = feed_log(c->db);

    c->visible = atomic_load(&c->db->visible);
    c->published = wal_published(log);
    c->upto = c->unsynced ? c->published : wal_durable(log);
}

/* Everything that was visible has been read. */
static bool caught_up(const helios_changes *c)
{
    return !c->has_pending && c->upto >= c->published;
}

/* A time that has passed is a number: no commit will be made before it any more. *wait: until it has passed. */
static helios_status settle_to_time(helios_changes *c, uint64_t *wait)
{
    uint64_t now = io_time(c->db->fs);
    helios_seq to = 0;
    helios_status status;

    *wait = UINT64_MAX;
    if (c->to_time == 0)
        return HELIOS_OK;
    if (now <= c->to_time) {
        *wait = c->to_time - now + 1;
        return HELIOS_OK;
    }
    status = helios_seq_at_time(c->db, c->to_time, &to);
    if (status == HELIOS_HISTORY_GONE || (status == HELIOS_OK && to == HELIOS_SEQ_NONE))
        return end(c); /* all that is left of the feed is later */
    if (status != HELIOS_OK)
        return status;
    c->to_time = 0;
    if (c->to == 0 || to < c->to)
        c->to = to;
    return HELIOS_OK;
}

/* ---- waiting ---- */

static helios_status failure_of(struct helios_db *db)
{
    helios_status status;

    mutex_lock(&db->state_mu);
    status = error_tell(&db->failure);
    mutex_unlock(&db->state_mu);
    return status;
}

static helios_status wait_visible(helios_changes *c, helios_seq above, uint64_t most, struct deadline *d)
{
    struct helios_db *db = c->db;
    helios_status status = HELIOS_OK;

    if (time_left(c, d) == 0)
        return atomic_load(&db->failed) ? failure_of(db) : fail_timeout();
    followers_enter(&db->followers);
    for (;;) {
        uint32_t word = followers_word(&db->followers);
        uint64_t left = time_left(c, d);

        if (atomic_load(&db->visible) > above)
            break;
        if (atomic_load(&db->failed)) {
            status = failure_of(db);
            break;
        }
        if (left == 0) {
            status = fail_timeout();
            break;
        }
        followers_sleep(&db->followers, word, left < most ? left : most);
        if (most != UINT64_MAX)
            break; /* something else is to be looked at */
    }
    followers_leave(&db->followers);
    return status;
}

/* Until the log is durable further than now. A sync of somebody else's may come before the one that is asked for. */
static helios_status wait_durable(helios_changes *c, struct deadline *d)
{
    struct helios_db *db = c->db;
    uint64_t due = io_monotonic(db->fs) + db->options.group_commit_interval;
    helios_status status = HELIOS_OK;

    wal_sync_soon(db->wal, db->options.group_commit_interval);
    while (status == HELIOS_OK && wal_durable(db->wal) <= c->upto) {
        uint64_t left = time_left(c, d), now = io_monotonic(db->fs), pause = now < due ? due - now : 0;

        status = wal_error(db->wal);
        if (status != HELIOS_OK)
            break;
        if (left == 0)
            return fail_timeout();
        if (pause > DURABLE_PAUSE)
            pause = DURABLE_PAUSE;
        if (pause == 0)
            status = wal_sync(db->wal, c->published, left);
        else
            thread_sleep(pause < left ? pause : left);
    }
    return status == HELIOS_TIMEOUT ? fail_timeout() : status;
}

static helios_seq last_of(const struct wal_record *record)
{
    return record->first + record->op_count - 1;
}

static helios_status wait_for_more(helios_changes *c, struct deadline *d)
{
    uint64_t most = UINT64_MAX;
    helios_status status = HELIOS_OK;

    if (caught_up(c)) {
        status = settle_to_time(c, &most);
        if (status == HELIOS_OK && c->to && c->visible >= c->to)
            return end(c);
    }
    if (status == HELIOS_OK)
        status = floor_follow(c, true);
    if (status != HELIOS_OK)
        return status;
    if (c->db->options.read_only)
        return fail_timeout(); /* nothing will come */
    if (c->has_pending)
        return wait_visible(c, last_of(&c->pending) - 1, UINT64_MAX, d);
    return caught_up(c) ? wait_visible(c, c->visible, most, d) : wait_durable(c, d);
}

struct watch_wish changes_wish(const helios_changes *c)
{
    struct watch_wish wish = {.visible = c->unsynced, .above = c->visible, .upto = c->upto, .due = UINT64_MAX};
    uint64_t now;

    if (c->has_pending) {
        wish.visible = true;
        wish.above = last_of(&c->pending) - 1;
    } else if (c->to_time && caught_up(c)) {
        now = io_time(c->db->fs);
        wish.due = io_monotonic(c->db->fs) + (now <= c->to_time ? c->to_time - now + 1 : 0);
    }
    return wish;
}

/* ---- reading ---- */

static bool pending_ready(helios_changes *c)
{
    helios_seq last = last_of(&c->pending);

    if (!c->has_pending)
        return false;
    if (c->visible < last)
        c->visible = atomic_load(&c->db->visible);
    return c->visible >= last;
}

/* The next record into pending; HELIOS_NOT_FOUND: none within the end that was last seen. */
static helios_status read_record(helios_changes *c)
{
    helios_status status;

    if (c->has_pending)
        return HELIOS_OK;
    status = wal_cursor_next(c->log, c->upto, &c->pending);
    c->has_pending = status == HELIOS_OK;
    return status;
}

helios_status changes_next_commit(helios_changes *c, struct deadline *d, struct wal_record *record)
{
    helios_status status = HELIOS_OK;

    for (bool looked = false; status == HELIOS_OK;) {
        if (c->to && c->next > c->to)
            return end(c);
        status = read_record(c);
        if (status == HELIOS_OK && pending_ready(c))
            break;
        if (status != HELIOS_OK && status != HELIOS_NOT_FOUND)
            return status;
        status = looked ? wait_for_more(c, d) : HELIOS_OK;
        if (status != HELIOS_OK)
            return status;
        looked = !looked;
        if (!c->has_pending)
            look_at_end(c);
    }
    c->has_pending = false;
    *record = c->pending;
    if ((c->to && record->first > c->to) || (c->to_time && record->time > c->to_time))
        return end(c);
    if (record->first < feed_first(c->db)) { /* its file may still be there */
        status = feed_check(c->db, record->first);
        if (status != HELIOS_OK)
            return status;
    }
    return floor_follow(c, false);
}
