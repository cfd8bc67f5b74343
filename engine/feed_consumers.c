/* feed_consumers.c - durable names of readers of the feed: the list in memory, when they were heard of, what they hold.
 * What is on disk of them, and opening them: feed_consumer_open.c; acknowledgements: feed_acks.c. */
#include "engine/feed_consumers.h"
#include <assert.h>
#include <inttypes.h>

enum {
    EXPIRY_GRACE = 60000000, /* us; nobody expires before the database has been open for that long */
};
_Static_assert(NAME_BYTES_MAX + 1 == sizeof(((struct feed_held *)0)->name), "every name fits");

/* ---- the list ---- */

size_t consumer_place(const struct feed *feed, helios_slice name, bool *found)
{
    size_t from = 0, to = feed->consumer_count;

    *found = false;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        const char *other = feed->consumers[middle]->name;
        int order = slice_compare(slice_make(other, strlen(other)), name);

        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

struct feed_consumer *consumer_made(const struct feed *feed, helios_slice name)
{
    bool found;
    size_t at = consumer_place(feed, name, &found);

    return found && feed->consumers[at]->made ? feed->consumers[at] : NULL;
}

void consumer_free(struct feed_consumer *c)
{
    if (!c)
        return;
    mem_free(c->name);
    mem_free(c);
}

helios_status consumer_new(helios_slice name, struct feed_consumer **out)
{
    struct feed_consumer *c = mem_zalloc(sizeof(*c));

    if (c)
        c->name = mem_alloc(name.size + 1);
    if (!c || !c->name) {
        consumer_free(c);
        return fail_no_memory(sizeof(*c) + name.size + 1);
    }
    memcpy(c->name, name.data, name.size);
    c->name[name.size] = 0;
    *out = c;
    return HELIOS_OK;
}

helios_status consumer_add(struct feed *feed, struct feed_consumer *c)
{
    helios_status status = HELIOS_OK;
    bool found;
    size_t at;

    mutex_lock(&feed->mu);
    if (feed->consumer_count == feed->consumer_capacity) {
        size_t capacity = feed->consumer_capacity ? feed->consumer_capacity * 2 : 16;
        struct feed_consumer **grown = mem_realloc(feed->consumers, capacity * sizeof(struct feed_consumer *));

        if (grown) {
            feed->consumers = grown;
            feed->consumer_capacity = capacity;
        } else {
            status = fail_no_memory(capacity * sizeof(struct feed_consumer *));
        }
    }
    if (status == HELIOS_OK) {
        at = consumer_place(feed, slice_make(c->name, strlen(c->name)), &found);
        assert(!found);
        memmove(feed->consumers + at + 1, feed->consumers + at,
                (feed->consumer_count++ - at) * sizeof(struct feed_consumer *));
        feed->consumers[at] = c;
    }
    mutex_unlock(&feed->mu);
    return status;
}

void consumer_remove(struct helios_db *db, struct feed_consumer *c)
{
    struct feed *feed = &db->feed;
    bool found;
    size_t at;

    mutex_lock(&feed->mu);
    at = consumer_place(feed, slice_make(c->name, strlen(c->name)), &found);
    assert(found);
    memmove(feed->consumers + at, feed->consumers + at + 1,
            (--feed->consumer_count - at) * sizeof(struct feed_consumer *));
    mutex_unlock(&feed->mu);
    pins_release(db->floors, c->floor);
    consumer_free(c);
}

void feed_consumers_release(struct helios_db *db)
{
    struct feed *feed = &db->feed;

    for (size_t i = 0; i < feed->consumer_count; i++) {
        pins_release(db->floors, feed->consumers[i]->floor);
        consumer_free(feed->consumers[i]);
    }
    mem_free(feed->consumers);
}

/* ---- when they were heard of ---- */

void consumer_set_active(struct helios_db *db, struct feed_consumer *c, uint64_t active)
{
    uint64_t now = io_time(db->fs);

    c->active = active;
    c->quiet = now > active ? now - active : 0;
    c->quiet_from = io_monotonic(db->fs);
}

/* Neither open nor heard of for consumer_expiry. After an open it gets a while to come back. Under mu. */
static bool quiet_too_long(const struct helios_db *db, const struct feed_consumer *c, uint64_t now)
{
    uint64_t expiry = db->options.consumer_expiry, here = now - c->quiet_from;
    uint64_t grace = expiry < EXPIRY_GRACE ? expiry : EXPIRY_GRACE;

    return expiry && c->made && !c->open && here >= grace && here + c->quiet > expiry;
}

/* ---- what they hold ---- */

helios_status consumer_floor(struct helios_db *db, helios_seq acked, pin_id *pin)
{
    const struct pin_owner owner = pin_owner_now(db, HELIOS_PIN_CONSUMER);

    return pins_acquire_at(db->floors, &owner, acked, &db->horizon, NULL, NULL, pin);
}

helios_seq feed_consumers_need(struct helios_db *db)
{
    struct feed *feed = &db->feed;
    helios_seq need = SEQ_MAX;

    mutex_lock(&feed->mu);
    for (size_t i = 0; i < feed->consumer_count; i++) {
        const struct feed_consumer *c = feed->consumers[i];
        helios_seq at = c->anew ? c->anew : c->acked;

        if ((c->anew || (!c->lost && !c->expired)) && at + 1 < need)
            need = at + 1;
    }
    mutex_unlock(&feed->mu);
    return need;
}

/* Nor history. */
static void hold_nothing_locked(struct helios_db *db, struct feed_consumer *c)
{
    pins_release(db->floors, c->floor);
    c->floor = 0;
    c->due_commit = 0;
}

/* LOG is not encrypted. */
static const char *name_for_log(const struct helios_db *db, const struct feed_consumer *c)
{
    return db->keys ? "(its name is encrypted)" : c->name;
}

void feed_consumers_expire(struct helios_db *db)
{
    struct feed *feed = &db->feed;
    uint64_t now;

    if (!db->options.consumer_expiry)
        return;
    mutex_lock(&feed->mu);
    now = io_monotonic(db->fs);
    for (size_t i = 0; i < feed->consumer_count; i++) {
        struct feed_consumer *c = feed->consumers[i];

        if (c->lost || c->expired || !quiet_too_long(db, c, now))
            continue;
        c->expired = true;
        hold_nothing_locked(db, c);
        event_log_say(db->events,
                      "consumer_expiry: consumer \"%s\" was not heard of for %" PRIu64
                      " s; it holds nothing from %" PRIu64 " on any more",
                      name_for_log(db, c), (now - c->quiet_from + c->quiet) / 1000000, c->acked + 1);
    }
    mutex_unlock(&feed->mu);
}

void feed_consumers_passed(struct helios_db *db)
{
    struct feed *feed = &db->feed;
    helios_seq first = atomic_load(&feed->first);

    mutex_lock(&feed->mu);
    for (size_t i = 0; i < feed->consumer_count; i++) {
        struct feed_consumer *c = feed->consumers[i];

        if (c->anew + 1 < first)
            c->anew = 0;
        if (c->lost || c->acked + 1 >= first)
            continue;
        c->lost = true;
        hold_nothing_locked(db, c);
        event_log_say(db->events, "%s: entries up to %" PRIu64 " have gone, consumer \"%s\" stood at %" PRIu64,
                      c->expired ? "consumer_expiry" : "feed_retention_bytes", first - 1, name_for_log(db, c),
                      c->acked);
    }
    mutex_unlock(&feed->mu);
}

size_t feed_consumers_count(struct helios_db *db, enum consumers_counted which)
{
    struct feed *feed = &db->feed;
    size_t count = 0;

    mutex_lock(&feed->mu);
    for (size_t i = 0; i < feed->consumer_count; i++) {
        const struct feed_consumer *c = feed->consumers[i];

        count += which == CONSUMERS_ALL || (which == CONSUMERS_LOST && c->lost) ||
                 (which == CONSUMERS_EXPIRED && c->expired);
    }
    mutex_unlock(&feed->mu);
    return count;
}

helios_status feed_consumers_held(struct helios_db *db, struct feed_held **out, size_t *n)
{
    struct feed *feed = &db->feed;
    struct feed_held *list;
    size_t count = 0;

    mutex_lock(&feed->mu);
    list = mem_array(feed->consumer_count + 1, sizeof(*list));
    for (size_t i = 0; list && i < feed->consumer_count; i++) {
        const struct feed_consumer *c = feed->consumers[i];

        if (!c->floor)
            continue;
        memcpy(list[count].name, c->name, strlen(c->name) + 1);
        list[count].since = c->created;
        list[count++].at = c->held;
    }
    mutex_unlock(&feed->mu);
    if (!list)
        return fail_no_memory(sizeof(*list));
    *out = list;
    *n = count;
    return HELIOS_OK;
}

/* False: without memory the old one holds more than it needs to. */
static bool move_floor_locked(struct helios_db *db, struct feed_consumer *c, helios_seq at)
{
    pin_id fresh = 0;

    if (consumer_floor(db, at, &fresh) != HELIOS_OK)
        return false;
    pins_release(db->floors, c->floor);
    c->floor = fresh;
    c->held = at;
    return true;
}

/* The power may still take back a position whose commit is not durable, and the next open then needs the history of the
 * one before. So the floor goes from one durable position to the next, of those that come in between one at a time. */
static void follow_locked(struct helios_db *db, struct feed_consumer *c, helios_seq durable)
{
    while (c->floor && (c->due_commit || c->acked > c->held)) {
        if (!c->due_commit) {
            c->due = c->acked;
            c->due_commit = c->ack_commit;
        }
        if (c->due_commit > durable || !move_floor_locked(db, c, c->due))
            break;
        c->due_commit = 0;
    }
}

void feed_consumers_follow(struct helios_db *db)
{
    struct feed *feed = &db->feed;
    helios_seq durable = feed_last(db, false);

    mutex_lock(&feed->mu);
    for (size_t i = 0; i < feed->consumer_count; i++)
        follow_locked(db, feed->consumers[i], durable);
    mutex_unlock(&feed->mu);
}

void consumer_moved(struct helios_db *db, struct feed_consumer *c, helios_seq acked, uint64_t active,
                    helios_seq commit)
{
    struct feed *feed = &db->feed;

    mutex_lock(&feed->mu);
    c->acked = acked;
    c->ack_commit = commit;
    c->anew = 0;
    c->fresh = false;
    c->lost = acked + 1 < atomic_load(&feed->first);
    c->expired = false;
    consumer_set_active(db, c, active);
    if (c->lost)
        hold_nothing_locked(db, c);
    else if (c->before_images && !c->floor)
        (void)move_floor_locked(db, c, acked);
    mutex_unlock(&feed->mu);
    feed_consumers_follow(db);
}

/* ---- as the public sees them ---- */

/* Numbers that are nobody's are not counted where it is known. */
static uint64_t behind(const struct helios_db *db, helios_seq acked, helios_seq latest)
{
    uint64_t count = acked < latest ? latest - acked : 0;

    for (uint32_t i = 0; i < db->fate.lost_count; i++) {
        const struct lost_range *lost = &db->fate.lost[i];

        if (lost->first > acked && lost->last <= latest)
            count -= lost->last - lost->first + 1;
    }
    return count;
}

/* Entries first, the names behind them. */
static helios_status list_locked(struct helios_db *db, helios_consumer_info **out, size_t *n)
{
    const struct feed *feed = &db->feed;
    helios_seq latest = atomic_load(&db->latest);
    uint64_t now = io_time(db->fs);
    size_t bytes = 1, count = 0;
    helios_consumer_info *list;
    char *names;

    for (size_t i = 0; i < feed->consumer_count; i++)
        bytes += sizeof(*list) + strlen(feed->consumers[i]->name) + 1;
    list = mem_zalloc(bytes);
    if (!list)
        return fail_no_memory(bytes);
    names = (char *)(list + feed->consumer_count);
    for (size_t i = 0; i < feed->consumer_count; i++) {
        const struct feed_consumer *c = feed->consumers[i];
        size_t size = strlen(c->name) + 1;

        if (!c->made)
            continue;
        memcpy(names, c->name, size);
        list[count++] = (helios_consumer_info){.name = names,
                                               .acked = c->acked,
                                               .before_images = c->before_images,
                                               .open = c->open,
                                               .lost = c->lost,
                                               .expired = c->expired,
                                               .active = c->open ? now : c->active,
                                               .behind = behind(db, c->acked, latest)};
        names += size;
    }
    *out = list;
    *n = count;
    return HELIOS_OK;
}

helios_status helios_consumer_list(helios_db *db, helios_consumer_info **list, size_t *n)
{
    helios_status status;

    if (!db || !list || !n)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the list" : "database");
    status = feed_kept(db);
    if (status != HELIOS_OK)
        return status;
    mutex_lock(&db->feed.mu);
    status = list_locked(db, list, n);
    mutex_unlock(&db->feed.mu);
    return status;
}
