/* feed_consumers.c - durable names of readers of the feed: their entries in the system space, the list in memory, what
 * they hold, the public calls. tags.c is the model.
 *
 * A consumer is two entries of branch 0, system space, made by one commit: 'C' | name says what it is, 'c' | name how far
 * it is, so that an acknowledgement is one small put, by itself or within a batch. Positions only grow: whoever writes one
 * holds change_mu from the look at the old one to the publication of its commit; durability is waited for afterwards, so
 * that acknowledgements share syncs. In memory a position may be ahead of the disk: a trim syncs before it relies on it. */
#include "engine/feed.h"
#include "base/utf8.h"
#include "engine/consumer_entries.h"
#include "engine/read.h"
#include <assert.h>
#include <inttypes.h>

enum {
    ACTIVE_STALE = 60000000, /* us; a time of activity that is older is written anew by an open and a close */
    EXPIRY_GRACE = 60000000, /* us; nobody expires before the database has been open for that long */
};
_Static_assert(NAME_BYTES_MAX + 1 == sizeof(((struct feed_held *)0)->name), "every name fits");

/* ---- the list ---- */

/* Where the name is or would be. Under change_mu or mu. */
static size_t find(const struct feed *feed, helios_slice name, bool *found)
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

/* NULL: none, or not yet. Under change_mu. */
static struct feed_consumer *find_made(const struct feed *feed, helios_slice name)
{
    bool found;
    size_t at = find(feed, name, &found);

    return found && feed->consumers[at]->made ? feed->consumers[at] : NULL;
}

static void consumer_free(struct feed_consumer *c)
{
    if (!c)
        return;
    mem_free(c->name);
    mem_free(c);
}

static helios_status consumer_new(helios_slice name, struct feed_consumer **out)
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

/* Takes the consumer, whose name is not there yet, unless it fails. */
static helios_status list_add(struct feed *feed, struct feed_consumer *c)
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
        at = find(feed, slice_make(c->name, strlen(c->name)), &found);
        assert(!found);
        memmove(feed->consumers + at + 1, feed->consumers + at,
                (feed->consumer_count++ - at) * sizeof(struct feed_consumer *));
        feed->consumers[at] = c;
    }
    mutex_unlock(&feed->mu);
    return status;
}

/* Out of the list, with what it holds. Under change_mu. */
static void list_remove(struct helios_db *db, struct feed_consumer *c)
{
    struct feed *feed = &db->feed;
    bool found;
    size_t at;

    mutex_lock(&feed->mu);
    at = find(feed, slice_make(c->name, strlen(c->name)), &found);
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

/* At this time by the wall clock. From here on the monotonic one counts. */
static void set_active(struct helios_db *db, struct feed_consumer *c, uint64_t active)
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

static helios_status floor_of(struct helios_db *db, helios_seq acked, pin_id *pin)
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
                      c->name, (now - c->quiet_from + c->quiet) / 1000000, c->acked + 1);
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
                      c->expired ? "consumer_expiry" : "feed_retention_bytes", first - 1, c->name, c->acked);
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

    if (floor_of(db, at, &fresh) != HELIOS_OK)
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

/* The commit that says so is visible: it was heard of, and holds again. One that was lost may be back, if there is history
 * for it. */
static void move_consumer(struct helios_db *db, struct feed_consumer *c, helios_seq acked, uint64_t active,
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
    set_active(db, c, active);
    if (c->lost)
        hold_nothing_locked(db, c);
    else if (c->before_images && !c->floor)
        (void)move_floor_locked(db, c, acked);
    mutex_unlock(&feed->mu);
    feed_consumers_follow(db);
}

/* ---- on disk ---- */

/* Both entries, put or deleted, as one durable commit. Under change_mu. */
static helios_status commit_consumer(struct helios_db *db, enum key_kind kind, const struct feed_consumer *c)
{
    const struct consumer_record record = {c->before_images, c->created};
    const struct position_record at = {c->acked, c->active};
    unsigned char told[CONSUMER_SIZE], position[POSITION_SIZE];
    helios_slice none = slice_make("", 0);
    bool put = kind == KIND_VALUE;
    struct helios_batch batch;
    struct consumer_key key;
    struct write_set set;
    helios_status status;

    memset(&batch, 0, sizeof(batch));
    batch_init(&batch);
    batch_add(&batch, kind, SPACE_SYSTEM, consumer_key_of(&key, CONSUMER_KEY, c->name),
              put ? consumer_encode(told, &record) : none);
    batch_add(&batch, kind, SPACE_SYSTEM, consumer_key_of(&key, POSITION_KEY, c->name),
              put ? position_encode(position, &at) : none);
    status = error_tell(&batch.error);
    if (status == HELIOS_OK) {
        set = write_set_of(&batch);
        status = commit_write(db, 0, HELIOS_DURABILITY_SYNC, &set, NULL);
    }
    batch_release(&batch);
    return status;
}

/* What it is has changed, durably, and so is its position then. That is written only with what was never acknowledged. */
static helios_status commit_wish(struct helios_db *db, const struct feed_consumer *c)
{
    const struct consumer_record record = {c->before_images, c->created};
    unsigned char told[CONSUMER_SIZE];
    struct consumer_key key;

    if (c->fresh)
        return commit_consumer(db, KIND_VALUE, c);
    return write_system(db, HELIOS_DURABILITY_SYNC, KIND_VALUE, consumer_key_of(&key, CONSUMER_KEY, c->name),
                        consumer_encode(told, &record), NULL);
}

/* ---- at open ---- */

static helios_status load_consumer(struct helios_db *db, helios_slice key, helios_slice value, helios_seq seq)
{
    struct consumer_record record;
    struct feed_consumer *c = NULL;
    helios_status status = consumer_decode(db->path, key, value, &record);

    if (status == HELIOS_OK)
        status = consumer_new(consumer_name(key), &c);
    if (status != HELIOS_OK)
        return status;
    c->before_images = record.before_images;
    c->created = record.created;
    c->told = seq;
    status = list_add(&db->feed, c);
    if (status != HELIOS_OK)
        consumer_free(c);
    return status;
}

/* With its position it is complete. */
static helios_status load_position(struct helios_db *db, helios_slice key, helios_slice value, helios_seq seq)
{
    struct position_record record;
    helios_status status = position_decode(db->path, key, value, &record);
    struct feed_consumer *c;
    bool found;
    size_t at;

    if (status != HELIOS_OK)
        return status;
    at = find(&db->feed, consumer_name(key), &found);
    if (!found || record.acked > atomic_load(&db->visible))
        return consumer_entry_damaged(db->path, key, value);
    c = db->feed.consumers[at];
    c->acked = record.acked;
    c->fresh = c->told == seq;
    set_active(db, c, record.active);
    c->made = true;
    return HELIOS_OK;
}

static helios_status load_kind(struct helios_db *db, unsigned char kind,
                               helios_status (*load)(struct helios_db *, helios_slice key, helios_slice value,
                                                     helios_seq seq))
{
    const unsigned char to = (unsigned char)(kind + 1);
    helios_iter *it = NULL;
    helios_status status =
        iter_new_internal(db, 0, SPACE_SYSTEM, slice_make(&kind, 1), slice_make(&to, 1), SEQ_MAX, &it);

    if (status != HELIOS_OK)
        return status;
    for (helios_iter_first(it); helios_iter_valid(it) && status == HELIOS_OK; helios_iter_next(it))
        status = load(db, helios_iter_key(it), helios_iter_value(it), helios_iter_seq(it));
    if (status == HELIOS_OK)
        status = helios_iter_status(it);
    helios_iter_free(it);
    return status;
}

/* It holds again what it held. That history has gone can be where no feed was kept for a while; its reader is told. */
static helios_status resume(struct helios_db *db, struct feed_consumer *c, helios_seq first)
{
    helios_status status;

    if (!c->made)
        return fail_corrupt("%s: consumer \"%s\" has no position", db->path, c->name);
    c->lost = c->acked + 1 < first;
    if (!c->before_images || c->lost)
        return HELIOS_OK;
    c->held = c->acked;
    status = floor_of(db, c->acked, &c->floor);
    return status == HELIOS_HISTORY_GONE ? HELIOS_OK : status;
}

helios_status feed_consumers_load(struct helios_db *db, helios_seq first)
{
    helios_status status = load_kind(db, CONSUMER_KEY, load_consumer);

    if (status == HELIOS_OK)
        status = load_kind(db, POSITION_KEY, load_position);
    for (size_t i = 0; i < db->feed.consumer_count && status == HELIOS_OK; i++)
        status = resume(db, db->feed.consumers[i], first);
    return status;
}

/* ---- opening ---- */

/* Where a new one begins, and that it holds from there on; under move_mu, so that the watermark does not pass. */
static helios_status begin_locked(struct helios_db *db, struct feed_consumer *c, helios_seq from)
{
    helios_seq first = atomic_load(&db->feed.first), latest = atomic_load(&db->latest);
    helios_status status;

    if (from == 0)
        from = first;
    if (from > latest + 1 && from > first)
        return fail(HELIOS_INVALID, "a consumer from %" PRIu64 " on; the last entry is %" PRIu64, from, latest);
    c->acked = c->held = from - 1;
    status = feed_check(db, from);
    if (status == HELIOS_OK && c->before_images)
        status = floor_of(db, c->acked, &c->floor);
    return status == HELIOS_OK ? list_add(&db->feed, c) : status;
}

/* One that is in the list is made by its commit; or leaves the list, unless what is on disk is not known. */
static helios_status make(struct helios_db *db, struct feed_consumer *c, struct feed_consumer **out)
{
    helios_status status = commit_consumer(db, KIND_VALUE, c);

    if (status == HELIOS_OK) {
        mutex_lock(&db->feed.mu);
        c->made = true;
        mutex_unlock(&db->feed.mu);
        *out = c;
    } else if (!atomic_load(&db->failed)) {
        list_remove(db, c);
    }
    return status;
}

static helios_status create(struct helios_db *db, helios_slice name, helios_seq from, bool before_images,
                            struct feed_consumer **out)
{
    struct feed_consumer *c = NULL;
    helios_status status = consumer_new(name, &c);

    if (status != HELIOS_OK)
        return status;
    c->before_images = before_images;
    c->fresh = true;
    c->created = io_time(db->fs);
    set_active(db, c, c->created);
    mutex_lock(&db->feed.move_mu);
    status = begin_locked(db, c, from);
    mutex_unlock(&db->feed.move_mu);
    if (status != HELIOS_OK) {
        pins_release(db->floors, c->floor);
        consumer_free(c);
        return status;
    }
    return make(db, c, out);
}

/* Its wish for before-images has changed: the floor first, then the entry. */
static helios_status change_wish(struct helios_db *db, struct feed_consumer *c, bool before_images)
{
    pin_id floor = 0;
    helios_status status = before_images ? floor_of(db, c->acked, &floor) : HELIOS_OK;

    if (status != HELIOS_OK)
        return status;
    c->before_images = before_images;
    status = commit_wish(db, c);
    mutex_lock(&db->feed.mu);
    if (status == HELIOS_OK) {
        pin_id old = c->floor;

        c->floor = floor;
        c->held = c->acked; /* durable with the entry */
        c->due_commit = 0;
        floor = old;
    } else {
        c->before_images = !before_images;
    }
    mutex_unlock(&db->feed.mu);
    pins_release(db->floors, floor);
    return status;
}

/* Both entries, so that it stays fresh. */
static helios_status note_fresh(struct helios_db *db, const struct feed_consumer *c, uint64_t active)
{
    struct feed_consumer told = *c;

    told.active = active;
    return commit_consumer(db, KIND_VALUE, &told);
}

/* Notes durably, in time, that it is there; not each time that a cursor comes and goes. */
static helios_status note_active(struct helios_db *db, struct feed_consumer *c)
{
    const struct position_record at = {c->acked, io_time(db->fs)};
    unsigned char value[POSITION_SIZE];
    struct consumer_key key;
    helios_status status = HELIOS_OK;

    if (at.active >= c->active + ACTIVE_STALE && c->fresh)
        status = note_fresh(db, c, at.active);
    else if (at.active >= c->active + ACTIVE_STALE)
        status = write_system(db, HELIOS_DURABILITY_ASYNC, KIND_VALUE,
                              consumer_key_of(&key, POSITION_KEY, c->name), position_encode(value, &at), NULL);
    if (status != HELIOS_OK)
        return status;
    mutex_lock(&db->feed.mu);
    if (at.active >= c->active + ACTIVE_STALE)
        c->active = at.active;
    c->quiet = 0;
    c->quiet_from = io_monotonic(db->fs);
    mutex_unlock(&db->feed.mu);
    return HELIOS_OK;
}

/* What it has not acknowledged is there, and stays from here on; under move_mu, so that the watermark does not pass. */
static helios_status hold_again(struct helios_db *db, struct feed_consumer *c)
{
    helios_status status;

    mutex_lock(&db->feed.move_mu);
    status = feed_check(db, c->acked + 1);
    mutex_lock(&db->feed.mu);
    if (status == HELIOS_OK) {
        c->expired = false;
        c->open = true;
    }
    mutex_unlock(&db->feed.mu);
    mutex_unlock(&db->feed.move_mu);
    return status;
}

static void set_open(struct helios_db *db, struct feed_consumer *c, bool open)
{
    mutex_lock(&db->feed.mu);
    c->open = open;
    mutex_unlock(&db->feed.mu);
}

static helios_status open_made(struct helios_db *db, struct feed_consumer *c, bool before_images)
{
    helios_status status;

    if (c->open)
        return fail(HELIOS_BUSY, "consumer \"%s\" is open", c->name);
    status = hold_again(db, c);
    if (status != HELIOS_OK)
        return status;
    status = note_active(db, c);
    if (status == HELIOS_OK && (c->before_images != before_images || (before_images && !c->floor)))
        status = change_wish(db, c, before_images);
    if (status != HELIOS_OK)
        set_open(db, c, false);
    return status;
}

helios_status feed_consumer_open(struct helios_db *db, const char *name, helios_seq from, bool before_images,
                                 struct feed_consumer **out, helios_seq *acked)
{
    helios_slice wanted = slice_make(name, strlen(name));
    struct feed_consumer *c;
    helios_status status = name_check("a consumer", name);

    if (status == HELIOS_OK)
        status = feed_kept(db);
    if (status == HELIOS_OK)
        status = db_writable(db);
    if (status != HELIOS_OK)
        return status;
    mutex_lock(&db->feed.change_mu);
    c = find_made(&db->feed, wanted);
    status = c ? open_made(db, c, before_images) : create(db, wanted, from, before_images, &c);
    if (status == HELIOS_OK) {
        set_open(db, c, true);
        *acked = c->acked;
        *out = c;
    }
    mutex_unlock(&db->feed.change_mu);
    return status;
}

/* ---- beginning anew ---- */

static helios_status check_ack(struct helios_db *db, helios_seq lsn)
{
    helios_seq latest = atomic_load(&db->latest);

    if (lsn <= latest)
        return HELIOS_OK;
    return fail(HELIOS_INVALID, "%" PRIu64 " is acknowledged; the last entry is %" PRIu64, lsn, latest);
}

static helios_status create_gone(struct helios_db *db, helios_slice name, helios_seq from,
                                 struct feed_consumer **out)
{
    struct feed_consumer *c = NULL;
    helios_status status = consumer_new(name, &c);

    if (status != HELIOS_OK)
        return status;
    c->before_images = true;
    c->fresh = true;
    c->created = io_time(db->fs);
    set_active(db, c, c->created);
    c->acked = from - 1;
    c->lost = true; /* as what it stands at has gone, or its history; the next open looks again */
    status = c->acked <= atomic_load(&db->latest) ? list_add(&db->feed, c) : check_ack(db, c->acked);
    if (status != HELIOS_OK) {
        consumer_free(c);
        return status;
    }
    return make(db, c, out);
}

/* Its wish is remembered, though there is no floor for it. */
static helios_status open_made_gone(struct helios_db *db, struct feed_consumer *c)
{
    helios_status status = HELIOS_OK;

    if (c->open)
        return fail(HELIOS_BUSY, "consumer \"%s\" is open", c->name);
    if (c->before_images)
        return HELIOS_OK;
    c->before_images = true;
    status = commit_wish(db, c);
    if (status != HELIOS_OK)
        c->before_images = false;
    return status;
}

helios_status feed_consumer_open_gone(struct helios_db *db, const char *name, helios_seq from,
                                      struct feed_consumer **out)
{
    helios_slice wanted = slice_make(name, strlen(name));
    struct feed_consumer *c;
    helios_status status = db_writable(db);

    if (status != HELIOS_OK)
        return status;
    mutex_lock(&db->feed.change_mu);
    c = find_made(&db->feed, wanted);
    status = c ? open_made_gone(db, c) : create_gone(db, wanted, from, &c);
    if (status == HELIOS_OK) {
        set_open(db, c, true);
        *out = c;
    }
    mutex_unlock(&db->feed.change_mu);
    return status;
}

void feed_consumer_begin_anew(struct helios_db *db, struct feed_consumer *c, helios_seq at)
{
    mutex_lock(&db->feed.mu);
    c->anew = at;
    mutex_unlock(&db->feed.mu);
}

helios_status feed_consumer_position(struct helios_db *db, const char *name, helios_seq *acked)
{
    const struct feed_consumer *c;

    mutex_lock(&db->feed.change_mu);
    c = find_made(&db->feed, slice_make(name, strlen(name)));
    if (c)
        *acked = c->acked;
    mutex_unlock(&db->feed.change_mu);
    return c ? HELIOS_OK
             : fail(HELIOS_NOT_FOUND, "there is no consumer \"%s\", and read-only none is made", name);
}

bool feed_consumer_goes_on(struct helios_db *db, const char *name)
{
    const struct feed_consumer *c;
    bool goes_on;

    mutex_lock(&db->feed.change_mu);
    c = find_made(&db->feed, slice_make(name, strlen(name)));
    goes_on = c && !c->fresh;
    mutex_unlock(&db->feed.change_mu);
    return goes_on;
}

void feed_consumer_close(struct helios_db *db, struct feed_consumer *c)
{
    feed_consumer_begin_anew(db, c, 0);
    mutex_lock(&db->feed.change_mu);
    if (!atomic_load(&db->failed) && !atomic_load(&db->no_space))
        (void)!note_active(db, c); /* if it cannot be written: it was there when it was opened */
    set_open(db, c, false);
    mutex_unlock(&db->feed.change_mu);
}

/* ---- acknowledging ---- */

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
    status = check_ack(db, lsn);
    if (status == HELIOS_OK)
        status =
            write_system(db, HELIOS_DURABILITY_ASYNC, KIND_VALUE, consumer_key_of(&key, POSITION_KEY, c->name),
                         position_encode(value, &at), commit);
    if (status == HELIOS_OK)
        move_consumer(db, c, lsn, at.active, *commit);
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
        struct feed_consumer *c = find_made(&db->feed, consumer_name(op.key));

        if (!c)
            return fail(HELIOS_NOT_FOUND, "no consumer \"%.*s\"", (int)op.key.size - 1,
                        (const char *)op.key.data + 1);
        c->wanted = c->acked;
    }
    for (size_t i = 0; next_ack(batch, &i, &op);) {
        struct feed_consumer *c = find_made(&db->feed, consumer_name(op.key));
        helios_seq lsn = position_acked(op.value);
        helios_status status = lsn > c->acked ? check_ack(db, lsn) : HELIOS_OK;

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
        struct feed_consumer *c = find_made(&db->feed, consumer_name(op.key));

        if (c->wanted > c->acked)
            move_consumer(db, c, c->wanted, now, commit);
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

/* ---- the public calls ---- */

helios_status helios_consumer_drop(helios_db *db, const char *name)
{
    struct feed_consumer *c;
    helios_status status;

    if (!db || !name)
        return fail(HELIOS_INVALID, "no %s was given", db ? "name" : "database");
    status = name_check("a consumer", name);
    if (status == HELIOS_OK)
        status = feed_kept(db);
    if (status == HELIOS_OK)
        status = db_writable(db);
    if (status != HELIOS_OK)
        return status;
    mutex_lock(&db->feed.change_mu);
    c = find_made(&db->feed, slice_make(name, strlen(name)));
    if (!c)
        status = fail(HELIOS_NOT_FOUND, "no consumer \"%s\"", name);
    else if (c->open)
        status = fail(HELIOS_BUSY, "consumer \"%s\" is open; free its cursor first", name);
    else
        status = commit_consumer(db, KIND_TOMBSTONE, c);
    if (status == HELIOS_OK)
        list_remove(db, c);
    mutex_unlock(&db->feed.change_mu);
    return status;
}

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
