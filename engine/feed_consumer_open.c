/* feed_consumer_open.c - consumers on disk: made, loaded, opened by their readers, dropped. tags.c is the model.
 *
 * A consumer is two entries of branch 0, system space, made by one commit: 'C' | name says what it is, 'c' | name how far
 * it is, so that an acknowledgement is one small put, by itself or within a batch. */
#include "engine/feed_consumers.h"
#include "engine/consumer_entries.h"
#include "engine/read.h"
#include <inttypes.h>

enum {
    ACTIVE_STALE = 60000000, /* us; a time of activity that is older is written anew by an open and a close */
};

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
    status = consumer_add(&db->feed, c);
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
    at = consumer_place(&db->feed, consumer_name(key), &found);
    if (!found || record.acked > atomic_load(&db->visible))
        return consumer_entry_damaged(db->path, key, value);
    c = db->feed.consumers[at];
    c->acked = record.acked;
    c->fresh = c->told == seq;
    consumer_set_active(db, c, record.active);
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
    status = consumer_floor(db, c->acked, &c->floor);
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
        status = consumer_floor(db, c->acked, &c->floor);
    return status == HELIOS_OK ? consumer_add(&db->feed, c) : status;
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
        consumer_remove(db, c);
    }
    return status;
}

/* One that nobody knows of yet, without a place. */
static helios_status fresh(struct helios_db *db, helios_slice name, bool before_images,
                           struct feed_consumer **out)
{
    struct feed_consumer *c;
    helios_status status = consumer_new(name, out);

    if (status != HELIOS_OK)
        return status;
    c = *out;
    c->before_images = before_images;
    c->fresh = true;
    c->created = io_time(db->fs);
    consumer_set_active(db, c, c->created);
    return HELIOS_OK;
}

static helios_status create(struct helios_db *db, helios_slice name, helios_seq from, bool before_images,
                            struct feed_consumer **out)
{
    struct feed_consumer *c = NULL;
    helios_status status = fresh(db, name, before_images, &c);

    if (status != HELIOS_OK)
        return status;
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
    helios_status status = before_images ? consumer_floor(db, c->acked, &floor) : HELIOS_OK;

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
    c = consumer_made(&db->feed, wanted);
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

static helios_status create_gone(struct helios_db *db, helios_slice name, helios_seq from,
                                 struct feed_consumer **out)
{
    struct feed_consumer *c = NULL;
    helios_status status = fresh(db, name, true, &c);

    if (status != HELIOS_OK)
        return status;
    c->acked = from - 1;
    c->lost = true; /* as what it stands at has gone, or its history; the next open looks again */
    status =
        c->acked <= atomic_load(&db->latest) ? consumer_add(&db->feed, c) : consumer_check_ack(db, c->acked);
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
    c = consumer_made(&db->feed, wanted);
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
    c = consumer_made(&db->feed, slice_make(name, strlen(name)));
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
    c = consumer_made(&db->feed, slice_make(name, strlen(name)));
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

/* ---- dropping ---- */

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
    c = consumer_made(&db->feed, slice_make(name, strlen(name)));
    if (!c)
        status = fail(HELIOS_NOT_FOUND, "no consumer \"%s\"", name);
    else if (c->open)
        status = fail(HELIOS_BUSY, "consumer \"%s\" is open; free its cursor first", name);
    else
        status = commit_consumer(db, KIND_TOMBSTONE, c);
    if (status == HELIOS_OK)
        consumer_remove(db, c);
    mutex_unlock(&db->feed.change_mu);
    return status;
}
