/* feed.c - how much of the log stays as the change feed: the watermark, what moves it, the public trim and bounds.
 * Called by open.c, by the janitor, by changelog/.
 *
 * A move: where to is decided (rounded down to a commit, held by consumers), what was acknowledged up to now is synced,
 * as consumers may have been looked at that are ahead of their durable position; then the manifest says so durably, then the
 * number in memory, and only then segments and tables go. A crash in between leaves files that the next open lets go. */
#include "engine/feed.h"
#include "engine/timeline.h"
#include <inttypes.h>

enum {
    MOVES_PER_RETENTION = 16,     /* by age alone, where no segment comes free */
    MOVE_INTERVAL_MAX = 60000000, /* us */
};

/* ---- open and close ---- */

void feed_init(struct helios_db *db)
{
    struct feed *feed = &db->feed;

    mutex_init(&feed->move_mu);
    mutex_init(&feed->change_mu);
    mutex_init(&feed->mu);
    mutex_init(&feed->notify_mu);
}

helios_status feed_found(struct helios_db *db, helios_seq mark, uint64_t segment)
{
    struct feed *feed = &db->feed;

    feed->mark = mark;
    feed->segment = segment;
    if (db->options.feed_retention == HELIOS_IF_KEPT)
        db->options.feed_retention = mark ? HELIOS_FOREVER : 0;
    if (db->options.feed_retention == 0 || db->options.read_only)
        return HELIOS_OK;
    feed->retention = mem_zalloc(sizeof(*feed->retention));
    return feed->retention ? HELIOS_OK : fail_no_memory(sizeof(*feed->retention));
}

void feed_release(struct helios_db *db)
{
    struct feed *feed = &db->feed;

    feed_consumers_release(db);
    (void)!wal_close(feed->found, NULL);
    mem_free(feed->tables);
    mem_free(feed->retention);
    mutex_release(&feed->notify_mu);
    mutex_release(&feed->mu);
    mutex_release(&feed->change_mu);
    mutex_release(&feed->move_mu);
}

helios_status feed_load_retention(struct helios_db *db, const struct horizon_sample *samples, size_t count)
{
    struct feed *feed = &db->feed;

    if (!feed->retention)
        return HELIOS_OK;
    mutex_lock(&feed->move_mu);
    horizon_init(feed->retention, db->options.feed_retention, 0);
    (void)horizon_load(feed->retention, io_monotonic(db->fs), io_time(db->fs), samples, count);
    mutex_unlock(&feed->move_mu);
    return HELIOS_OK;
}

helios_status feed_begin(struct helios_db *db)
{
    struct feed *feed = &db->feed;
    helios_seq mark = 0;
    uint64_t segment = 0;
    helios_status status;

    if (feed->retention) {
        mark = feed->mark ? feed->mark : db->next;
        segment = feed->mark ? wal_segment_of(db->wal, mark) : wal_segment_now(db->wal);
        wal_keep(db->wal, segment);
        wal_keep_begins(db->wal, mark);
    }
    if (feed->found) {
        mark = feed->mark;
        segment = feed->segment;
        wal_keep_begins(feed->found, mark);
    }
    mutex_lock(&db->manifest_mu);
    feed->mark = mark;
    feed->segment = segment;
    mutex_unlock(&db->manifest_mu);
    if (!mark)
        return HELIOS_OK;
    status = feed_tables_load(db, mark);
    if (status == HELIOS_OK)
        status = feed_consumers_load(db, mark);
    if (status == HELIOS_OK) /* last: from here on the janitor moves it */
        atomic_store(&feed->first, mark);
    return status;
}

void feed_settle(struct helios_db *db)
{
    if (atomic_load(&db->feed.first) || db->options.read_only)
        return;
    if (db->wal)
        wal_keep(db->wal, WAL_KEEP_NONE);
    if (feed_tables_load(db, 0) != HELIOS_OK)
        event_log_say(db->events, "tables of a feed that is no longer kept were left: %s", helios_last_error());
}

/* ---- what there is ---- */

helios_status feed_kept(struct helios_db *db)
{
    if (atomic_load(&db->feed.first))
        return HELIOS_OK;
    if (db->options.read_only)
        return fail(HELIOS_UNSUPPORTED, "%s: opened read-only, and no change feed was kept (feed_retention)",
                    db->path);
    return fail(HELIOS_UNSUPPORTED, "%s: no change feed is kept; open it with feed_retention", db->path);
}

struct wal *feed_log(struct helios_db *db)
{
    return db->wal ? db->wal : db->feed.found;
}

helios_seq feed_first(struct helios_db *db)
{
    return atomic_load(&db->feed.first);
}

helios_seq feed_last(struct helios_db *db, bool unsynced)
{
    helios_seq latest = atomic_load(&db->latest), durable;

    if (unsynced || !db->wal)
        return latest;
    durable = wal_durable_seq(db->wal);
    if (durable < db->fate.recovered)
        durable = db->fate.recovered;
    return durable < latest ? durable : latest;
}

helios_status feed_check(struct helios_db *db, helios_seq from)
{
    helios_seq first = atomic_load(&db->feed.first);
    const struct fate *fate = &db->fate;

    if (from < first)
        return fail(HELIOS_FEED_TRIMMED, "the feed begins at %" PRIu64 "; from %" PRIu64 " on it is gone",
                    first, from);
    for (uint32_t i = 0; i < fate->lost_count; i++)
        if (from > fate->lost[i].first && from <= fate->lost[i].last)
            return fail(HELIOS_FEED_TRIMMED,
                        "%" PRIu64 " lies in a range that a crash has cut: %" PRIu64 " to %" PRIu64
                        " are nobody's (the feed begins at %" PRIu64 ")",
                        from, fate->lost[i].first, fate->lost[i].last, first);
    return HELIOS_OK;
}

helios_status feed_floor_acquire(struct helios_db *db, helios_seq next, pin_id *pin)
{
    const struct pin_owner owner = pin_owner_now(db, HELIOS_PIN_HISTORY);
    helios_seq point = next ? next - 1 : 0;

    return pins_acquire_at(db->floors, &owner, point, &db->horizon, NULL, NULL, pin);
}

void feed_floor_release(struct helios_db *db, pin_id pin)
{
    pins_release(db->floors, pin);
}

/* ---- moving the watermark ---- */

/* Rounded down to the end of a commit: the watermark that lets go of what is below target; as it is: nothing does. */
static helios_status mark_for(struct helios_db *db, helios_seq target, helios_seq *mark)
{
    helios_seq latest = atomic_load(&db->latest), last = 0;
    helios_status status;

    *mark = atomic_load(&db->feed.first);
    if (target > latest + 1)
        target = latest + 1;
    if (target <= *mark)
        return HELIOS_OK;
    status = timeline_commit_at(db, target - 1, &last);
    if (status == HELIOS_OK && last >= *mark)
        *mark = last + 1;
    return status;
}

/* The mark as edits write it, until one is durable; as it was, if that fails. */
static helios_status write_mark(struct helios_db *db, helios_seq mark, uint64_t segment)
{
    struct feed *feed = &db->feed;
    helios_seq mark_before;
    uint64_t segment_before;
    helios_status status;

    mutex_lock(&db->manifest_mu);
    mark_before = feed->mark;
    segment_before = feed->segment;
    feed->mark = mark;
    feed->segment = segment;
    mutex_unlock(&db->manifest_mu);
    status = tree_install(db, NULL, 0, NULL);
    if (status == HELIOS_OK)
        return HELIOS_OK;
    mutex_lock(&db->manifest_mu);
    feed->mark = mark_before;
    feed->segment = segment_before;
    mutex_unlock(&db->manifest_mu);
    return status;
}

/* Under move_mu. */
static helios_status move_to_locked(struct helios_db *db, helios_seq mark)
{
    struct feed *feed = &db->feed;
    uint64_t segment;
    helios_status status;

    if (mark <= atomic_load(&feed->first))
        return HELIOS_OK;
    status = helios_sync(db);
    if (status != HELIOS_OK)
        return status;
    segment = wal_segment_of(db->wal, mark);
    status = write_mark(db, mark, segment);
    if (status != HELIOS_OK)
        return status;
    atomic_store(&feed->first, mark);
    feed->moved = io_monotonic(db->fs);
    feed_consumers_passed(db);
    wal_keep(db->wal, segment);
    feed_tables_trim(db, mark);
    return HELIOS_OK;
}

/* ---- retention ---- */

static helios_seq least(helios_seq a, helios_seq b)
{
    return a < b ? a : b;
}

/* What is old enough to go, as a number that all of it lies below. */
static helios_seq aged_locked(struct helios_db *db)
{
    struct horizon *retention = db->feed.retention;

    return horizon_advance(retention, io_monotonic(db->fs), atomic_load(&db->latest)) + 1;
}

/* Kept segments, from the oldest: where the feed would have to begin to fit. */
struct fitting {
    struct helios_db *db;
    uint64_t total, dropped, limit;
    helios_seq from; /* 0: all of it fits */
};

static bool add_segment(void *arg, uint64_t number, helios_seq first, uint64_t bytes)
{
    struct fitting *f = arg;

    (void)number;
    (void)first;
    f->total += bytes;
    return true;
}

static bool drop_segment(void *arg, uint64_t number, helios_seq first, uint64_t bytes)
{
    struct fitting *f = arg;

    (void)number;
    if (first)
        f->from = first;
    if (f->total - f->dropped + feed_tables_bytes(f->db, f->from) <= f->limit)
        return false;
    f->dropped += bytes;
    return true;
}

/* The first number from which on the feed takes no more than it may; 0: it does. The newest segment stays. */
static helios_seq fit_bytes(struct helios_db *db)
{
    struct fitting f = {.db = db, .limit = db->options.feed_retention_bytes};

    if (!f.limit)
        return 0;
    wal_each_kept(db->wal, add_segment, &f);
    if (f.total + feed_tables_bytes(db, 0) <= f.limit)
        return 0;
    wal_each_kept(db->wal, drop_segment, &f);
    return f.from;
}

/* A move costs two syncs: by age it is made when a segment comes free by it, or after a while. */
static bool move_is_worth_locked(struct helios_db *db, helios_seq mark)
{
    struct feed *feed = &db->feed;
    uint64_t now = io_monotonic(db->fs), wait = db->options.feed_retention / MOVES_PER_RETENTION;

    if (mark <= atomic_load(&feed->first))
        return false;
    if (wait > MOVE_INTERVAL_MAX)
        wait = MOVE_INTERVAL_MAX;
    return now >= feed->moved + wait || wal_segment_of(db->wal, mark) > feed->segment;
}

/* What fails here is tried again at the next look; a log or a manifest that cannot be written says so by itself. */
void feed_look(struct helios_db *db)
{
    struct feed *feed = &db->feed;
    helios_seq aged, mark;

    if (!atomic_load(&feed->first) || atomic_load(&db->failed))
        return;
    feed_consumers_expire(db);
    feed_consumers_follow(db);
    mutex_lock(&feed->move_mu);
    aged = least(aged_locked(db), feed_consumers_need(db));
    if (mark_for(db, aged, &mark) == HELIOS_OK && move_is_worth_locked(db, mark))
        (void)!move_to_locked(db, mark);
    if (mark_for(db, fit_bytes(db), &mark) == HELIOS_OK)
        (void)!move_to_locked(db, mark);
    mutex_unlock(&feed->move_mu);
}

/* ---- the public calls ---- */

static helios_status trim_locked(struct helios_db *db, helios_seq below, uint64_t *removed)
{
    helios_seq mark, first = atomic_load(&db->feed.first);
    struct timeline_count counted = {0};
    helios_status status = mark_for(db, least(below, feed_consumers_need(db)), &mark);

    if (status == HELIOS_OK && mark > first) /* before it moves: the timeline goes with it */
        status = timeline_operations(db, first, mark - 1, &counted);
    if (status == HELIOS_OK)
        status = move_to_locked(db, mark);
    if (status == HELIOS_OK && removed)
        *removed = counted.operations;
    return status;
}

helios_status helios_feed_trim(helios_db *db, helios_seq below, uint64_t *removed)
{
    helios_status status;

    if (!db)
        return fail(HELIOS_INVALID, "no database was given");
    status = feed_kept(db);
    if (status == HELIOS_OK)
        status = db_writable(db);
    if (status != HELIOS_OK)
        return status;
    if (below == HELIOS_SEQ_NONE)
        below = 0;
    mutex_lock(&db->feed.move_mu);
    status = trim_locked(db, below, removed);
    mutex_unlock(&db->feed.move_mu);
    return status;
}

/* Under move_mu: what the timeline has of the feed stays. */
static helios_status bounds_locked(struct helios_db *db, helios_seq *oldest, helios_seq *newest)
{
    helios_seq first = atomic_load(&db->feed.first), last = 0;
    struct timeline_count counted = {0};
    helios_status status = timeline_commit_at(db, feed_last(db, false), &last);

    if (status == HELIOS_OK && last >= first)
        status = timeline_first(db, first, last, &counted);
    if (status != HELIOS_OK)
        return status;
    *oldest = counted.first;
    *newest = counted.first ? last : 0;
    return HELIOS_OK;
}

helios_status helios_feed_bounds(helios_db *db, helios_seq *oldest, helios_seq *newest)
{
    helios_status status;

    if (!db || !oldest || !newest)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the bounds" : "database");
    status = feed_kept(db);
    if (status != HELIOS_OK)
        return status;
    mutex_lock(&db->feed.move_mu);
    status = bounds_locked(db, oldest, newest);
    mutex_unlock(&db->feed.move_mu);
    return status;
}
