/* timeline.c - from time to number and back. The newest commits stand in the stretches of memtables, all others in
 * runs that flushes wrote into the system space (mvcc/timeline.h). Called by the public look-ups, by flushes for
 * what they write, by jobs for what they may leave out, by commits.c.
 *
 * Runs go when nobody can ask for them, each by itself: every run names the commit before it, so that a look-up
 * that falls between two runs knows whether one is missing there. */
#include "engine/timeline.h"
#include <assert.h>
#include <inttypes.h>

/* ---- what a flush writes ---- */

struct timeline_cursor {
    struct cursor cursor;
    struct stretch_index index;
    helios_seq before;
    size_t runs, at; /* first each run by number, then each by time: that is the order of their keys */
    struct timeline_run run;
    unsigned char key[KEY_LAYER_BYTES + TIMELINE_TIME_KEY_BYTES];
    unsigned char value[TIMELINE_PACKED_MAX];
};

static size_t run_end(const struct timeline_cursor *t, size_t run)
{
    size_t end = (run + 1) * TIMELINE_RUN_MAX;

    return end < t->index.count ? end : t->index.count;
}

static size_t pack_run(struct timeline_cursor *t, size_t run)
{
    size_t first = run * TIMELINE_RUN_MAX, end = run_end(t, run);

    t->run.before = first ? stretch_index_at(&t->index, first - 1)->last : t->before;
    t->run.count = (uint32_t)(end - first);
    for (size_t i = first; i < end; i++)
        t->run.entries[i - first] = *stretch_index_at(&t->index, i);
    return timeline_pack(&t->run, t->value);
}

static void show(struct timeline_cursor *t)
{
    const struct timeline_entry *last;
    size_t key_size = KEY_LAYER_BYTES, value_size = sizeof(uint64_t);

    t->cursor.valid = t->at < 2 * t->runs;
    if (!t->cursor.valid)
        return;
    last = stretch_index_at(&t->index, run_end(t, t->at % t->runs) - 1);
    if (t->at < t->runs) {
        timeline_seq_key(t->key + KEY_LAYER_BYTES, last->last);
        key_size += TIMELINE_SEQ_KEY_BYTES;
        put_u64_be(t->value, last->time);
    } else {
        timeline_time_key(t->key + KEY_LAYER_BYTES, last->time, last->last);
        key_size += TIMELINE_TIME_KEY_BYTES;
        value_size = pack_run(t, t->at - t->runs);
    }
    t->cursor.key = slice_make(t->key, key_size);
    t->cursor.tag = tag_make(last->last, KIND_VALUE);
    t->cursor.value = slice_make(t->value, value_size);
}

static void cursor_to_first(struct cursor *c)
{
    struct timeline_cursor *t = (struct timeline_cursor *)c;

    t->at = 0;
    show(t);
}

static void cursor_to_next(struct cursor *c)
{
    struct timeline_cursor *t = (struct timeline_cursor *)c;

    t->at++;
    show(t);
}

static void cursor_to(struct cursor *c, helios_slice key, uint64_t tag)
{
    for (cursor_to_first(c); c->valid && key_compare(c->key, c->tag, key, tag) < 0;)
        cursor_to_next(c);
}

static void cursor_release(struct cursor *c)
{
    struct timeline_cursor *t = (struct timeline_cursor *)c;

    stretch_index_release(&t->index);
    mem_free(t);
}

/* Only walked forwards, by one job. */
static const struct cursor_ops timeline_cursor_ops = {
    .first = cursor_to_first, .seek = cursor_to, .next = cursor_to_next, .free = cursor_release};

helios_status timeline_cursor_new(const struct stretch *stretch, helios_seq before, struct cursor **out)
{
    struct timeline_cursor *t = mem_zalloc(sizeof(*t));
    helios_status status;

    if (!t)
        return fail_no_memory(sizeof(*t));
    t->cursor.ops = &timeline_cursor_ops;
    t->before = before;
    key_put_layer(t->key, 0, SPACE_SYSTEM);
    status = stretch_index_init(&t->index, stretch);
    if (status != HELIOS_OK) {
        mem_free(t);
        return status;
    }
    assert(t->index.count > 0);
    t->runs = (t->index.count + TIMELINE_RUN_MAX - 1) / TIMELINE_RUN_MAX;
    *out = &t->cursor;
    return HELIOS_OK;
}

/* ---- runs in tables ---- */

_Static_assert((int)TIMELINE_BY_TIME == (int)TIMELINE_BY_SEQ + 1, "one range of keys holds both");
static const unsigned char keys_from[] = {0, 0, 0, 0, SPACE_SYSTEM, TIMELINE_BY_SEQ};
static const unsigned char keys_to[] = {0, 0, 0, 0, SPACE_SYSTEM, TIMELINE_BY_TIME + 1};
const struct garbage_aged timeline_keys = {{keys_from, sizeof(keys_from)}, {keys_to, sizeof(keys_to)}, 0};

helios_status timeline_open(struct helios_db *db, struct sources *sources)
{
    const struct sources_options options = {
        .lower = timeline_keys.from,
        .upper = timeline_keys.to,
        .read_point = SEQ_MAX,
        .fill_cache = true,
    };

    return sources_open(db, &options, sources);
}

struct timeline_key {
    unsigned char bytes[KEY_LAYER_BYTES + TIMELINE_TIME_KEY_BYTES];
    helios_slice key;
};

static helios_slice time_key(struct timeline_key *k, uint64_t time, helios_seq seq)
{
    key_put_layer(k->bytes, 0, SPACE_SYSTEM);
    timeline_time_key(k->bytes + KEY_LAYER_BYTES, time, seq);
    return slice_make(k->bytes, KEY_LAYER_BYTES + TIMELINE_TIME_KEY_BYTES);
}

static helios_slice seq_key(struct timeline_key *k, helios_seq seq)
{
    key_put_layer(k->bytes, 0, SPACE_SYSTEM);
    timeline_seq_key(k->bytes + KEY_LAYER_BYTES, seq);
    return slice_make(k->bytes, KEY_LAYER_BYTES + TIMELINE_SEQ_KEY_BYTES);
}

/* What an entry's key says. */
struct timeline_mark {
    uint64_t time;
    helios_seq last;
};

static helios_status fail_entry(struct helios_db *db, const struct cursor *c, const char *what)
{
    return fail_corrupt("%s: timeline entry numbered %" PRIu64 " (key of %zu bytes): %s", db->path,
                        tag_seq(c->tag), c->key.size, what);
}

/* Where the cursor stands: *there if on an entry of the kind, its mark read and checked. */
static helios_status read_mark(struct helios_db *db, struct cursor *c, int kind, struct timeline_mark *mark,
                               bool *there)
{
    const unsigned char *user;
    helios_slice value;
    helios_status status;

    *there = false;
    if (!c->valid)
        return c->status == HELIOS_OK || !c->error ? c->status : error_tell(c->error);
    user = slice_bytes(c->key) + KEY_LAYER_BYTES;
    if (c->key.size <= KEY_LAYER_BYTES || key_branch(c->key) != 0 || key_space_of(c->key) != SPACE_SYSTEM ||
        user[0] != kind)
        return HELIOS_OK;
    if (tag_kind(c->tag) != KIND_VALUE)
        return fail_entry(db, c, "no value");
    if (kind == TIMELINE_BY_SEQ) {
        status = cursor_value(c, &value);
        if (status != HELIOS_OK)
            return c->error ? error_tell(c->error) : status;
        if (c->key.size != KEY_LAYER_BYTES + TIMELINE_SEQ_KEY_BYTES || value.size != sizeof(uint64_t))
            return fail_entry(db, c, "not of the size that such an entry has");
        *mark = (struct timeline_mark){get_u64_be(value.data), get_u64_be(user + 1)};
    } else {
        if (c->key.size != KEY_LAYER_BYTES + TIMELINE_TIME_KEY_BYTES)
            return fail_entry(db, c, "not of the size that such an entry has");
        *mark = (struct timeline_mark){get_u64_be(user + 1), get_u64_be(user + 9)};
    }
    if (mark->last != tag_seq(c->tag))
        return fail_entry(db, c, "its key has another number");
    *there = true;
    return HELIOS_OK;
}

/* The run of a by-time entry under the cursor. */
static helios_status read_run(struct helios_db *db, struct cursor *c, const struct timeline_mark *mark,
                              struct timeline_run *run)
{
    helios_slice value;
    helios_status status = cursor_value(c, &value);

    if (status != HELIOS_OK)
        return c->error ? error_tell(c->error) : status;
    return timeline_unpack(value, mark->time, mark->last, run)
               ? HELIOS_OK
               : fail_entry(db, c, "its commits cannot be read");
}

/* From the by-number entry under the cursor, if there is one, to its run. */
static helios_status follow(struct helios_db *db, struct cursor *c, struct timeline_run *run, bool *found)
{
    struct timeline_mark mark, there = {0};
    struct timeline_key key;
    helios_status status = read_mark(db, c, TIMELINE_BY_SEQ, &mark, found);

    if (status != HELIOS_OK || !*found)
        return status;
    cursor_seek(c, time_key(&key, mark.time, mark.last), TAG_MAX);
    status = read_mark(db, c, TIMELINE_BY_TIME, &there, found);
    if (status != HELIOS_OK)
        return status;
    /* The two go by themselves: a compaction may have met one only. */
    *found = *found && there.last == mark.last && there.time == mark.time;
    return *found ? read_run(db, c, &mark, run) : HELIOS_OK;
}

helios_status timeline_run_from(struct helios_db *db, struct sources *sources, helios_seq seq,
                                struct timeline_run *run, bool *found)
{
    struct timeline_key key;

    cursor_seek(sources->cursor, seq_key(&key, seq), TAG_MAX);
    return follow(db, sources->cursor, run, found);
}

helios_status timeline_run_below(struct helios_db *db, struct sources *sources, helios_seq seq,
                                 struct timeline_run *run, bool *found)
{
    struct timeline_key key;

    cursor_seek_for_prev(sources->cursor, seq_key(&key, seq));
    return follow(db, sources->cursor, run, found);
}

/* ---- looking up ---- */

enum lookup_result {
    COMMIT_FOUND,
    COMMIT_NONE, /* the point is before the first commit ever */
    COMMIT_GONE, /* what would tell was left out */
};

/* The last commit of a run that ends with `before`, the commit before another run, or before the stretches. */
static helios_status last_of_run(struct helios_db *db, struct sources *sources, helios_seq before,
                                 struct timeline_entry *entry, enum lookup_result *result)
{
    struct timeline_run run;
    bool found = false;
    helios_status status;

    *result = before ? COMMIT_GONE : COMMIT_NONE;
    if (!before)
        return HELIOS_OK;
    status = timeline_run_below(db, sources, before, &run, &found);
    if (status == HELIOS_OK && found && run.entries[run.count - 1].last == before) {
        *entry = run.entries[run.count - 1];
        *result = COMMIT_FOUND;
    }
    return status;
}

static bool take_from(const struct timeline_run *run, uint32_t count, struct timeline_entry *entry,
                      enum lookup_result *result)
{
    if (count == 0)
        return false;
    *entry = run->entries[count - 1];
    *result = COMMIT_FOUND;
    return true;
}

static helios_status run_at_time(struct helios_db *db, struct sources *sources, uint64_t time,
                                 struct timeline_entry *entry, enum lookup_result *result)
{
    struct cursor *c = sources->cursor;
    struct timeline_run run;
    struct timeline_mark mark;
    struct timeline_key key;
    bool found;
    helios_status status;

    cursor_seek(c, time_key(&key, time < UINT64_MAX ? time + 1 : time, 0), TAG_MAX);
    status = read_mark(db, c, TIMELINE_BY_TIME, &mark, &found);
    if (status != HELIOS_OK)
        return status;
    if (!found)
        return last_of_run(db, sources, sources->view->timeline_flushed, entry, result);
    status = read_run(db, c, &mark, &run);
    if (status != HELIOS_OK || take_from(&run, timeline_count_time(&run, time), entry, result))
        return status;
    return last_of_run(db, sources, run.before, entry, result);
}

static helios_status run_at_seq(struct helios_db *db, struct sources *sources, helios_seq seq,
                                struct timeline_entry *entry, enum lookup_result *result)
{
    struct timeline_run run;
    bool found;
    helios_status status = timeline_run_from(db, sources, seq, &run, &found);

    if (status != HELIOS_OK)
        return status;
    if (!found)
        run.before = sources->view->timeline_flushed;
    else if (take_from(&run, timeline_count_seq(&run, seq), entry, result))
        return HELIOS_OK;
    *result = COMMIT_GONE; /* the run that held it */
    return run.before > seq ? HELIOS_OK : last_of_run(db, sources, run.before, entry, result);
}

struct lookup_point {
    bool by_time;
    uint64_t time;
    helios_seq seq;
};

static bool look_in_stretch(const struct stretch *stretch, const struct lookup_point *point,
                            struct timeline_entry *entry)
{
    return point->by_time ? stretch_at_time(stretch, point->time, entry)
                          : stretch_at_seq(stretch, point->seq, entry);
}

static bool look_in_view(const struct view *view, const struct lookup_point *point,
                         struct timeline_entry *entry)
{
    if (look_in_stretch(&view->active->stretch, point, entry))
        return true;
    for (size_t i = 0; i < view->closed_count; i++)
        if (look_in_stretch(&view->closed[i]->stretch, point, entry))
            return true;
    return false;
}

/* The last commit at or before a point. */
static helios_status look_up(struct helios_db *db, const struct lookup_point *point,
                             struct timeline_entry *entry, enum lookup_result *result)
{
    struct sources sources = {0};
    bool found;
    helios_status status;

    *result = COMMIT_FOUND;
    epoch_enter();
    found = look_in_view(view_now(db), point, entry);
    epoch_leave();
    if (found)
        return HELIOS_OK;
    status = timeline_open(db, &sources);
    /* Again: what was flushed since is in its tables, what was not is in its stretches. */
    if (status == HELIOS_OK && !look_in_view(sources.view, point, entry))
        status = point->by_time ? run_at_time(db, &sources, point->time, entry, result)
                                : run_at_seq(db, &sources, point->seq, entry, result);
    sources_close(&sources);
    return status;
}

helios_seq timeline_floor(struct helios_db *db, helios_seq point)
{
    struct lookup_point at = {.seq = point};
    struct timeline_entry entry;
    enum lookup_result result;
    helios_seq flushed;

    mutex_lock(&db->state_mu);
    flushed = db->timeline_flushed;
    mutex_unlock(&db->state_mu);
    /* The last run in tables stays: it says whether anything is missing before the stretches. */
    if (at.seq > flushed)
        at.seq = flushed;
    if (at.seq == 0 || look_up(db, &at, &entry, &result) != HELIOS_OK || result != COMMIT_FOUND)
        return 0;
    return entry.last;
}

helios_status timeline_commit_at(struct helios_db *db, helios_seq seq, helios_seq *last)
{
    const struct lookup_point point = {.seq = seq};
    enum lookup_result result;
    struct timeline_entry entry;
    helios_status status = look_up(db, &point, &entry, &result);

    if (status == HELIOS_OK)
        *last = result == COMMIT_FOUND ? entry.last : 0;
    return status;
}

/* ---- the public look-ups ---- */

/* Commits that are reserved from now on are later than min(time, now), and those before are visible on return. */
static helios_status settle(struct helios_db *db, uint64_t time)
{
    uint64_t now = io_time(db->fs);
    helios_seq reserved;

    if (db->options.read_only)
        return HELIOS_OK;
    mutex_lock(&db->commit_mu);
    if (now < db->last_time)
        now = db->last_time;
    if (time > now)
        time = now;
    if (db->last_time <= time)
        db->last_time = time + 1;
    reserved = db->next - 1;
    mutex_unlock(&db->commit_mu);
    return publish_wait(db, reserved);
}

helios_status helios_seq_at_time(helios_db *db, uint64_t time, helios_seq *seq)
{
    const struct lookup_point point = {.by_time = true, .time = time};
    enum lookup_result result = COMMIT_NONE;
    struct timeline_entry entry;
    helios_status status;

    if (!db || !seq)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the number" : "database");
    status = settle(db, time);
    if (status == HELIOS_OK)
        status = look_up(db, &point, &entry, &result);
    if (status != HELIOS_OK)
        return status;
    if (result == COMMIT_GONE)
        return fail(HELIOS_HISTORY_GONE, "the time %" PRIu64 " is before the history that is kept", time);
    *seq = result == COMMIT_FOUND ? entry.last : HELIOS_SEQ_NONE;
    return HELIOS_OK;
}

helios_status helios_time_of_seq(helios_db *db, helios_seq seq, uint64_t *time)
{
    struct lookup_point point = {.seq = seq};
    enum lookup_result result = COMMIT_NONE;
    struct timeline_entry entry;
    helios_seq latest;
    helios_status status = HELIOS_OK;

    if (!db || !time)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the time" : "database");
    latest = atomic_load(&db->latest);
    if (seq == 0)
        point.seq = latest;
    if (seq != HELIOS_SEQ_NONE && point.seq > latest)
        return fail(HELIOS_INVALID, "the point %" PRIu64 " is above the last commit %" PRIu64, seq, latest);
    if (seq != HELIOS_SEQ_NONE)
        status = look_up(db, &point, &entry, &result);
    if (status != HELIOS_OK)
        return status;
    if (result == COMMIT_GONE)
        return fail(HELIOS_HISTORY_GONE, "when commit %" PRIu64 " was made is not kept any more", point.seq);
    if (result == COMMIT_NONE)
        return fail(HELIOS_NOT_FOUND, "there is no commit at or before that point");
    *time = entry.time;
    return HELIOS_OK;
}
