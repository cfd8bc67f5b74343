/* feed_cursor.c - helios_changes_*: a cursor over the change feed, from its options to its entries. The other files of
 * this room find commits (follow.c), make entries of them (entries.c) and read what was before (images.c).
 *
 * A cursor holds no file and no lock between calls; what it reads may be let go of at any time, and it then says so. One
 * that looks back, for images or the keys of ranges, holds history by a floor. */
#include "base/mem.h"
#include "changelog/changes_internal.h"
#include <inttypes.h>

static const helios_changes_options default_changes = HELIOS_CHANGES_OPTIONS_INIT;
enum { TRIM_TRIES = 8 }; /* the oldest entry may go between the look and the cursor */

/* ---- where to begin ---- */

/* Whether the last commit before the feed's first entry is older than `time`: nothing that was asked for has gone. */
static helios_status nothing_gone(helios_changes *c, uint64_t time, helios_seq first, bool *nothing)
{
    uint64_t before = 0;
    helios_status status = first > 1 ? helios_time_of_seq(c->db, first - 1, &before) : HELIOS_NOT_FOUND;

    *nothing = status == HELIOS_NOT_FOUND || (status == HELIOS_OK && before < time);
    return status == HELIOS_NOT_FOUND || status == HELIOS_HISTORY_GONE ? HELIOS_OK : status;
}

/* The first commit made at or after a time: the one behind the last that was made before. */
static helios_status begin_at_time(helios_changes *c, uint64_t time)
{
    helios_seq last = 0, first = feed_first(c->db);
    bool nothing = true;
    helios_status status = helios_seq_at_time(c->db, time - 1, &last);

    if (status == HELIOS_HISTORY_GONE)
        status = HELIOS_OK, last = 0;
    if (status != HELIOS_OK)
        return status;
    c->from = last == HELIOS_SEQ_NONE ? 1 : last + 1;
    if (c->from >= first)
        return HELIOS_OK;
    status = nothing_gone(c, time, first, &nothing);
    if (status != HELIOS_OK)
        return status;
    if (!nothing)
        return fail(HELIOS_FEED_TRIMMED,
                    "changes made since the time %" PRIu64 " have gone: the feed begins with %" PRIu64, time,
                    first);
    c->from = first;
    return HELIOS_OK;
}

/* A consumer goes on behind what it has acknowledged. */
static helios_status begin_as_consumer(helios_changes *c, const char *name)
{
    helios_seq acked = 0;
    helios_status status =
        c->db->options.read_only
            ? feed_consumer_position(c->db, name, &acked)
            : feed_consumer_open(c->db, name, c->from, changes_look_back(c), &c->consumer, &acked);

    if (status != HELIOS_OK)
        return status;
    c->from = acked + 1;
    c->goes_on = feed_consumer_goes_on(c->db, name);
    return HELIOS_OK;
}

static helios_status open_log(helios_changes *c)
{
    const struct wal_filter filter = {SPACE_USER, buf_slice(&c->prefix)};
    bool filtered = c->has_prefix && !c->all_spaces;
    helios_status status = feed_check(c->db, c->from);

    c->next = c->from;
    if (status == HELIOS_OK)
        status = floor_follow(c, true);
    return status == HELIOS_OK ? wal_cursor_new(feed_log(c->db), c->from, filtered ? &filter : NULL, &c->log)
                               : status;
}

static helios_status begin(helios_changes *c, const helios_changes_options *options)
{
    bool from_oldest = options->from == 0 && options->from_time == 0;
    helios_status status = HELIOS_OK;

    c->from = options->from;
    if (options->from_time)
        status = begin_at_time(c, options->from_time);
    if (status == HELIOS_OK && from_oldest)
        c->from = feed_first(c->db);
    if (status == HELIOS_OK && options->consumer)
        status = begin_as_consumer(c, options->consumer);
    if (status == HELIOS_OK)
        status = open_log(c);
    for (int i = 0; i < TRIM_TRIES && status == HELIOS_FEED_TRIMMED && from_oldest && !options->consumer; i++) {
        c->from = feed_first(c->db);
        status = open_log(c);
    }
    return status;
}

/* ---- options ---- */

/* The first key behind all that begin with the prefix, if there is one. */
static helios_status set_prefix(helios_changes *c, helios_slice prefix)
{
    size_t size = prefix.size;
    helios_status status;

    if (!prefix.data || prefix.size == 0)
        return HELIOS_OK;
    c->has_prefix = true;
    while (size && slice_bytes(prefix)[size - 1] == 0xff)
        size--;
    c->has_prefix_end = size > 0;
    status = buf_set(&c->prefix, prefix.data, prefix.size);
    if (status == HELIOS_OK)
        status = buf_set(&c->prefix_end, prefix.data, size);
    if (status == HELIOS_OK && size)
        ((unsigned char *)c->prefix_end.data)[size - 1]++;
    return status;
}

static helios_status take_options(helios_changes *c, const helios_changes_options *options)
{
    c->to = options->to;
    c->to_time = options->to_time;
    c->left = options->limit;
    c->one_branch = options->branch != NULL;
    c->branch = options->branch ? *options->branch : 0;
    c->images = options->before_images;
    c->expand = options->expand_ranges;
    c->unsynced = options->unsynced;
    c->all_spaces = options->all_spaces;
    c->for_apply = options->for_apply;
    c->kinds = options->kinds ? options->kinds : UINT32_MAX;
    c->one_origin = options->origin != NULL;
    if (c->one_origin)
        memcpy(c->origin, options->origin, NODE_BYTES);
    c->own_wanted = !c->one_origin || memcmp(c->origin, c->db->node_id, NODE_BYTES) == 0;
    if (options->for_apply && options->expand_ranges)
        return fail(HELIOS_INVALID,
                    "for_apply gives range deletes as they are: the keys that are not there count too");
    if (options->from && options->from_time)
        return fail(HELIOS_INVALID, "a number and a time were given to begin at");
    if (options->from > SEQ_MAX)
        return fail(HELIOS_INVALID, "no commit is ever numbered %" PRIu64, options->from);
    if (options->prefix.size > KEY_USER_MAX)
        return fail(HELIOS_INVALID, "a prefix of %zu bytes is above the limit of a key", options->prefix.size);
    return set_prefix(c, options->prefix);
}

/* ---- the public calls ---- */

helios_status helios_changes_new(helios_db *db, const helios_changes_options *given, helios_changes **out)
{
    helios_changes_options options;
    helios_changes *c;
    helios_status status;

    if (!db || !out)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the changes" : "database");
    status = options_copy(given, given ? given->size : 0, &default_changes, sizeof(options), &options,
                          "helios_changes_options");
    if (status == HELIOS_OK)
        status = feed_kept(db);
    if (status != HELIOS_OK)
        return status;
    c = mem_zalloc(sizeof(*c));
    if (!c)
        return fail_no_memory(sizeof(*c));
    c->db = db;
    atomic_fetch_add_explicit(&db->iterators, 1, memory_order_relaxed);
    status = take_options(c, &options);
    if (status == HELIOS_OK)
        status = begin(c, &options);
    if (status != HELIOS_OK) {
        helios_changes_free(c);
        return status;
    }
    *out = c;
    return HELIOS_OK;
}

/* Makes the first entry of the next commit that has one. */
static helios_status refill(helios_changes *c, uint64_t timeout)
{
    struct deadline deadline = {.timeout = timeout};
    struct wal_record record;
    helios_status status = HELIOS_OK;

    while (status == HELIOS_OK && !c->has_ahead) {
        if (c->commit.open)
            commit_end(c);
        status = changes_next_commit(c, &deadline, &record);
        if (status != HELIOS_OK)
            return status;
        status = commit_begin(c, &record);
        if (status == HELIOS_OK && c->commit.open)
            status = commit_next(c);
        c->next = c->commit.last + 1;
    }
    return status;
}

/* The entry that was made ahead, after the one behind it. */
static helios_status hand_out(helios_changes *c, helios_change *change)
{
    struct change_entry *e = &c->entries[c->ahead];
    struct op op;
    helios_status status = HELIOS_OK;

    c->ahead ^= 1;
    if (c->commit.record.op_count == 1 && !c->commit.expansion.tree)
        c->has_ahead = false;
    else
        status = commit_next(c);
    if (status == HELIOS_OK && e->large) {
        op = (struct op){KIND_VALUE, e->change.space, e->change.branch, e->change.key, e->change.value};
        status = ingested_fetch(c->commit.tables, &op, &e->change.value);
    }
    if (status != HELIOS_OK)
        return status;
    if (c->left && --c->left == 0) {
        c->commit.cut |= c->has_ahead;
        c->has_ahead = false;
        c->ended = true;
    }
    /* A part of a commit must not pass for all of it where it is applied. */
    e->change.commit_end = !c->has_ahead && !(c->for_apply && c->commit.cut);
    *change = e->change;
    return HELIOS_OK;
}

static helios_status next(helios_changes *c, uint64_t timeout, helios_change *change)
{
    helios_status status = HELIOS_OK;

    if (c->error.status != HELIOS_OK)
        return error_tell(&c->error);
    if (!c->has_ahead)
        status = c->ended ? fail_fixed(HELIOS_NOT_FOUND, "the end of the changes that were asked for")
                          : refill(c, timeout);
    if (status == HELIOS_OK)
        status = hand_out(c, change);
    if (status != HELIOS_OK && status != HELIOS_TIMEOUT && !c->ended) {
        if (status == HELIOS_NOT_FOUND) /* a file: not the end */
            status = fail_context(HELIOS_CORRUPT, "the change feed misses a file");
        c->has_ahead = false;
        error_keep(&c->error, status);
    }
    return status;
}

helios_status helios_changes_next(helios_changes *c, uint64_t timeout, helios_change *change)
{
    helios_status status;

    if (!c || !change)
        return fail(HELIOS_INVALID, "no %s given", c ? "place for the change was" : "changes were");
    status = next(c, timeout, change);
    if (c->watch && status == HELIOS_TIMEOUT) {
        struct watch_wish wish = changes_wish(c);

        watch_arm(c->db, c->watch, &wish);
    } else if (c->watch && status != HELIOS_OK) {
        watch_set(c->db, c->watch); /* for good: it is told again */
    }
    return status;
}

helios_status helios_changes_fd(helios_changes *c, int *fd)
{
    helios_status status = HELIOS_OK;

    if (!c || !fd)
        return fail(HELIOS_INVALID, "no %s given", c ? "place for the descriptor was" : "changes were");
    if (!c->watch)
        status = watch_new(c->db, &c->watch);
    if (status == HELIOS_OK)
        *fd = watch_fd(c->watch);
    return status;
}

helios_status helios_changes_ack(helios_changes *c, helios_seq lsn)
{
    if (!c)
        return fail(HELIOS_INVALID, "no changes were given");
    if (c->db->options.read_only)
        return db_writable(c->db);
    if (!c->consumer)
        return fail(HELIOS_INVALID, "the cursor has no consumer, whose position an acknowledgement moves");
    return feed_consumer_ack(c->db, c->consumer, lsn);
}

void helios_changes_free(helios_changes *c)
{
    if (!c)
        return;
    watch_free(c->db, c->watch);
    commit_end(c);
    own_release(&c->commit.own);
    wal_cursor_free(c->log);
    feed_floor_release(c->db, c->floor);
    if (c->consumer)
        feed_consumer_close(c->db, c->consumer);
    for (size_t i = 0; i < 2; i++) {
        helios_buf_free(&c->entries[i].key);
        helios_buf_free(&c->entries[i].value);
        helios_buf_free(&c->entries[i].before);
    }
    helios_buf_free(&c->prefix);
    helios_buf_free(&c->prefix_end);
    helios_buf_free(&c->clock);
    helios_buf_free(&c->given);
    helios_buf_free(&c->group.bytes);
    mem_free(c->group.items);
    atomic_fetch_sub_explicit(&c->db->iterators, 1, memory_order_release);
    mem_free(c);
}
