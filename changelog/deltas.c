/* deltas.c - helios_deltas_*: the net changes of tables, window by window, read from the change feed.
 *
 * A window is the commits numbered (since, upto]. It is made by reading the feed from since + 1 on, without images but with
 * the keys of range deletes: of a row only the first operation asks what was there before, at `since`, which a floor keeps
 * readable. Rows are collected (delta_rows.c) until memory or the feed ends; a commit that goes beyond memory is taken
 * back and left for the next window. Alone in a window, it is not collected at all: the states at `since` and `upto` are
 * compared, as helios_diff does.
 *
 * Gone is what the feed or history says is gone, here or at any step; the handle then stands anew at what is there now, and says
 * so by a window with `refresh`. */
#include "base/mem.h"
#include "changelog/changes_internal.h"
#include "changelog/delta_rows.h"
#include "changelog/delta_tables.h"
#include "engine/branches.h"
#include "engine/compare.h"
#include "engine/read.h"
#include "engine/timeline.h"
#include <assert.h>
#include <inttypes.h>

enum {
    WINDOW_BYTES = 16 * 1024 * 1024,
    BEGIN_TRIES = 8, /* retention may pass a point between the choice and the floor */
};

struct helios_deltas {
    struct helios_db *db;
    /* As asked for. */
    struct delta_tables tables;
    helios_branch_id branch; /* held */
    bool unsynced, branch_held;
    size_t memory;
    /* Where it stands. */
    helios_changes *changes; /* its next commit is the one behind upto */
    struct feed_consumer *consumer;
    pin_id floor; /* at since */
    helios_seq since, upto;
    bool refresh; /* not told yet */
    /* The window. */
    struct delta_rows rows;
    size_t at;         /* of their order */
    bool full;         /* ends before the feed does */
    helios_buf before; /* of the row that is being added */
    /* One commit that does not fit. */
    bool walking, on_row; /* on a row that was not given yet */
    struct compare *compare;
    uint32_t compare_table;
    uint64_t time; /* of upto */
    struct error_note error;
};

static const helios_deltas_options default_deltas = HELIOS_DELTAS_OPTIONS_INIT;

static bool gone(helios_status status)
{
    return status == HELIOS_FEED_TRIMMED || status == HELIOS_HISTORY_GONE;
}

/* ---- where it stands ---- */

/* The end of a commit; the first entry that there is begins one. */
static helios_status round_down(struct helios_db *db, helios_seq *at)
{
    helios_seq first = feed_first(db), last = 0;
    helios_status status = feed_check(db, *at + 1);

    if (status == HELIOS_FEED_TRIMMED && *at + 1 >= first)
        status = HELIOS_OK; /* nobody's numbers: the commit before them */
    if (status == HELIOS_OK && *at)
        status = timeline_commit_at(db, *at, &last);
    if (status != HELIOS_OK)
        return status;
    *at = last < first ? first - 1 : last;
    return HELIOS_OK;
}

/* What its parent wrote until then shows through, and is in no feed of the branch. */
static helios_status check_fork(struct helios_deltas *d, helios_seq at)
{
    const struct branch *b = branch_at(d->db, d->branch);

    if (d->branch == 0 || at >= b->fork_seq)
        return HELIOS_OK;
    return fail(HELIOS_HISTORY_GONE, "branch %u was forked at %" PRIu64 ", after %" PRIu64, d->branch,
                b->fork_seq, at);
}

static helios_status open_changes(struct helios_deltas *d, helios_seq from, helios_changes **changes)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_status status;

    options.from = from;
    options.branch = &d->branch;
    options.prefix = delta_tables_common(&d->tables);
    options.all_spaces = delta_tables_other_spaces(&d->tables);
    options.expand_ranges = true;
    options.unsynced = d->unsynced;
    status = helios_changes_new(d->db, &options, changes);
    if (status == HELIOS_OK)
        (*changes)->tables = &d->tables;
    return status;
}

/* Between windows, at a point from which all is there. */
static helios_status stand_at(struct helios_deltas *d, helios_seq at)
{
    helios_changes *changes = NULL;
    pin_id floor = 0;
    helios_status status = round_down(d->db, &at);

    if (status == HELIOS_OK)
        status = check_fork(d, at);
    if (status == HELIOS_OK)
        status = feed_floor_acquire(d->db, at + 1, &floor);
    if (status == HELIOS_OK)
        status = open_changes(d, at + 1, &changes);
    if (status != HELIOS_OK) {
        feed_floor_release(d->db, floor);
        return status;
    }
    helios_changes_free(d->changes);
    feed_floor_release(d->db, d->floor);
    d->changes = changes;
    d->floor = floor;
    d->since = d->upto = at;
    return HELIOS_OK;
}

static void close_window(struct helios_deltas *d)
{
    delta_rows_clear(&d->rows);
    if (d->before.capacity > d->memory)
        helios_buf_free(&d->before);
    compare_free(d->compare);
    d->compare = NULL;
    d->walking = d->on_row = d->full = false;
    d->at = 0;
}

/* From here on nothing of the window is needed. */
static helios_status pass_window(struct helios_deltas *d)
{
    pin_id floor;
    helios_status status;

    close_window(d);
    if (d->since == d->upto)
        return HELIOS_OK;
    status = feed_floor_acquire(d->db, d->upto + 1, &floor);
    if (status != HELIOS_OK)
        return status;
    feed_floor_release(d->db, d->floor);
    d->floor = floor;
    d->since = d->upto;
    return HELIOS_OK;
}

/* ---- beginning anew ---- */

/* What there is now; durable as well, unless that is not asked for. */
static helios_status newest(struct helios_deltas *d, helios_seq *at)
{
    bool sync = !d->unsynced && !d->db->options.read_only;
    helios_status status = sync ? helios_sync(d->db) : HELIOS_OK;

    if (status == HELIOS_OK)
        status = timeline_commit_at(d->db, atomic_load(&d->db->latest), at);
    return status;
}

static helios_status stand_at_newest(struct helios_deltas *d)
{
    helios_seq at = 0;
    helios_status status = newest(d, &at);

    if (status != HELIOS_OK)
        return status;
    if (d->consumer)
        feed_consumer_begin_anew(d->db, d->consumer, at);
    return stand_at(d, at);
}

/* name: of a consumer that could not be opened as it is; it is then open, or stays NULL. since: if it is new. */
static helios_status begin_anew(struct helios_deltas *d, const char *name, helios_seq since)
{
    helios_status status = HELIOS_OK;

    close_window(d);
    if (name && !d->consumer && !d->db->options.read_only)
        status = feed_consumer_open_gone(d->db, name, since + 1, &d->consumer);
    if (status == HELIOS_OK)
        status = stand_at_newest(d);
    for (int i = 1; i < BEGIN_TRIES && gone(status); i++)
        status = stand_at_newest(d);
    d->refresh = status == HELIOS_OK;
    return status;
}

/* ---- making the handle ---- */

/* The number that `since` stands for; 0 also where time does not reach back so far, and then its first entry is gone. */
static helios_status find_since(struct helios_deltas *d, const helios_deltas_options *o, helios_seq *since)
{
    helios_status status;

    *since = o->since == HELIOS_SEQ_NONE ? 0 : o->since;
    if (o->since && o->since_time)
        return fail(HELIOS_INVALID, "a number and a time were given to begin at");
    if (*since >= SEQ_MAX)
        return fail(HELIOS_INVALID, "no commit is ever numbered %" PRIu64, *since);
    if (!o->since_time)
        return HELIOS_OK;
    status = helios_seq_at_time(d->db, o->since_time - 1, since);
    if (status != HELIOS_OK || *since == HELIOS_SEQ_NONE)
        *since = 0;
    return status == HELIOS_HISTORY_GONE ? HELIOS_OK : status;
}

static helios_status check_since(struct helios_deltas *d, helios_seq since)
{
    helios_seq latest = atomic_load(&d->db->latest);

    if (since <= latest)
        return HELIOS_OK;
    return fail(HELIOS_INVALID, "deltas since %" PRIu64 "; the last commit is %" PRIu64, since, latest);
}

/* since: where it begins if it is new; then its position. Read-only it is that alone. */
static helios_status open_consumer(struct helios_deltas *d, const char *name, helios_seq *since)
{
    return d->db->options.read_only ? feed_consumer_position(d->db, name, since)
                                    : feed_consumer_open(d->db, name, *since + 1, true, &d->consumer, since);
}

static helios_status begin(struct helios_deltas *d, const helios_deltas_options *o)
{
    helios_seq since = 0, made = 0;
    helios_status status = find_since(d, o, &since);

    made = since;
    if (status == HELIOS_OK && o->consumer)
        status = open_consumer(d, o->consumer, &since);
    else if (status == HELIOS_OK)
        status = check_since(d, since);
    if (status == HELIOS_OK)
        status = stand_at(d, since);
    return gone(status) ? begin_anew(d, o->consumer, made) : status;
}

static helios_status take_options(struct helios_deltas *d, const helios_deltas_options *o)
{
    helios_status status = delta_tables_init(&d->tables, o->tables, o->table_count);

    d->unsynced = o->unsynced;
    d->memory = o->memory ? o->memory : WINDOW_BYTES;
    d->branch = o->branch;
    if (status == HELIOS_OK)
        status = branch_hold(d->db, d->branch);
    d->branch_held = status == HELIOS_OK;
    return status;
}

helios_status helios_deltas_new(helios_db *db, const helios_deltas_options *given, helios_deltas **out)
{
    helios_deltas_options options;
    struct helios_deltas *d;
    helios_status status;

    if (!db || !out)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the deltas" : "database");
    status = options_copy(given, given ? given->size : 0, &default_deltas, sizeof(options), &options,
                          "helios_deltas_options");
    if (status == HELIOS_OK)
        status = feed_kept(db);
    if (status != HELIOS_OK)
        return status;
    d = mem_zalloc(sizeof(*d));
    if (!d)
        return fail_no_memory(sizeof(*d));
    d->db = db;
    atomic_fetch_add_explicit(&db->iterators, 1, memory_order_relaxed);
    delta_rows_init(&d->rows);
    status = take_options(d, &options);
    if (status == HELIOS_OK)
        status = begin(d, &options);
    if (status != HELIOS_OK) {
        helios_deltas_free(d);
        return status;
    }
    *out = d;
    return HELIOS_OK;
}

void helios_deltas_free(helios_deltas *d)
{
    if (!d)
        return;
    close_window(d);
    delta_rows_release(&d->rows);
    delta_tables_release(&d->tables);
    helios_buf_free(&d->before);
    helios_changes_free(d->changes);
    feed_floor_release(d->db, d->floor);
    if (d->consumer)
        feed_consumer_close(d->db, d->consumer);
    if (d->branch_held)
        branch_release(d->db, d->branch);
    atomic_fetch_sub_explicit(&d->db->iterators, 1, memory_order_release);
    mem_free(d);
}

/* ---- a window of one commit: the two states side by side ---- */

static helios_status compare_table(struct helios_deltas *d, uint32_t table, struct compare **compare)
{
    static const uint8_t pair[1][2] = {{0, 1}};
    const struct delta_table *t = &d->tables.tables[table];

    return compare_new(d->db,
                       &(struct compare_options){
                           .space = t->space,
                           .lower = buf_slice(&t->prefix),
                           .upper = t->has_end ? buf_slice(&t->end) : (helios_slice){0},
                           .states = (struct state_point[]){{d->branch, d->since}, {d->branch, d->upto}},
                           .state_count = 2,
                           .pairs = pair,
                           .pair_count = 1,
                       },
                       compare);
}

/* On to the next row that differs; *there false: the table has no more. */
static helios_status next_differing(struct compare *c, bool *there)
{
    helios_status status = HELIOS_OK;
    bool equal = true;

    while (status == HELIOS_OK && equal && compare_next(c))
        status = compare_equal(c, 0, 1, &equal);
    *there = status == HELIOS_OK && !equal;
    return status == HELIOS_OK && equal ? compare_status(c) : status;
}

/* To the next row, in this table or a later one. */
static helios_status walk_on(struct helios_deltas *d)
{
    helios_status status = HELIOS_OK;

    for (d->on_row = false; status == HELIOS_OK && !d->on_row && d->compare_table < d->tables.count;) {
        if (!d->compare)
            status = compare_table(d, d->compare_table, &d->compare);
        if (status == HELIOS_OK)
            status = next_differing(d->compare, &d->on_row);
        if (status == HELIOS_OK && !d->on_row) {
            compare_free(d->compare);
            d->compare = NULL;
            d->compare_table++;
        }
    }
    return status;
}

static helios_status side(struct compare *c, size_t state, bool *has, helios_slice *value)
{
    helios_status status;

    *has = compare_has(c, state);
    status = compare_status(c);
    return status == HELIOS_OK && *has ? compare_value(c, state, value) : status;
}

static helios_delta_kind kind_of(bool before, bool after)
{
    return !before ? HELIOS_DELTA_INSERT : after ? HELIOS_DELTA_UPDATE : HELIOS_DELTA_DELETE;
}

static helios_status show_walked(struct helios_deltas *d, helios_delta *delta)
{
    bool before = false, after = false;
    helios_status status;

    *delta = (helios_delta){
        .table = d->compare_table,
        .key = compare_key(d->compare),
        .first_lsn = d->upto,
        .lsn = d->upto,
        .commit = d->upto,
        .time = d->time,
    };
    status = side(d->compare, 0, &before, &delta->before);
    if (status == HELIOS_OK)
        status = side(d->compare, 1, &after, &delta->after);
    delta->kind = kind_of(before, after);
    return status;
}

static helios_status count_walked(struct helios_deltas *d, uint32_t table, uint64_t *count)
{
    struct compare *c = NULL;
    bool there = true;
    helios_status status = compare_table(d, table, &c);

    *count = 0;
    while (status == HELIOS_OK && there) {
        status = next_differing(c, &there);
        *count += there;
    }
    compare_free(c);
    return status;
}

/* ---- collecting a window ---- */

static helios_status next_commit(struct helios_deltas *d, struct deadline *deadline, struct wal_record *record)
{
    helios_status status = changes_next_commit(d->changes, deadline, record);

    if (status == HELIOS_NOT_FOUND) /* a file: the end is not asked for */
        status = fail_context(HELIOS_CORRUPT, "the change feed misses a file");
    return status;
}

/* The same commit is the next one again. */
static void put_back(struct helios_deltas *d, const struct wal_record *record)
{
    d->changes->pending = *record;
    d->changes->has_pending = true;
}

static helios_status read_before(struct helios_deltas *d, const helios_change *change, helios_slice *before)
{
    const struct read_point point = {.seq = d->since, .pinned = true};
    struct layered key;
    helios_status status = layered_init(&key, d->branch, change->space, change->key);

    *before = (helios_slice){0};
    if (status != HELIOS_OK)
        return status;
    status = read_at(d->db, &point, true, key.key, &d->before);
    layered_release(&key);
    if (status == HELIOS_OK)
        *before = buf_slice(&d->before);
    return status == HELIOS_NOT_FOUND ? HELIOS_OK : status;
}

static helios_status value_of(struct helios_deltas *d, const struct change_entry *e, helios_slice *value)
{
    const helios_change *change = &e->change;
    const struct op op = {KIND_VALUE, change->space, change->branch, change->key, change->value};

    *value = change->value;
    if (change->kind != HELIOS_CHANGE_PUT)
        *value = (helios_slice){0};
    return e->large ? ingested_fetch(d->changes->commit.tables, &op, value) : HELIOS_OK;
}

/* The row in the window, made with what was there before; NULL for the delete of one that is not there. */
static helios_status row_of(struct helios_deltas *d, const helios_change *change, uint32_t table,
                            struct delta_row **out)
{
    struct delta_row *row = delta_rows_find(&d->rows, table, change->key);
    bool deleted = change->kind != HELIOS_CHANGE_PUT;
    helios_slice before;
    helios_status status;

    *out = row && deleted && !row->has_after ? NULL : row;
    if (row)
        return HELIOS_OK;
    status = read_before(d, change, &before);
    if (status != HELIOS_OK || (deleted && !before.data))
        return status;
    return delta_rows_add(&d->rows, table, change->key, before, out);
}

/* What would not fit is not copied first. */
static helios_status add_entry(struct helios_deltas *d, const struct change_entry *e, bool *fits)
{
    const helios_change *change = &e->change;
    const struct delta_table *t = delta_tables_find(&d->tables, change->space, change->key);
    struct delta_operation op = {.lsn = change->lsn, .commit = change->commit, .time = change->time};
    struct delta_row *row = NULL;
    helios_status status = HELIOS_OK;

    assert(t); /* the cursor gives no other */
    *fits = delta_rows_bytes(&d->rows) + change->key.size + change->value.size <= d->memory;
    if (*fits)
        status = row_of(d, change, (uint32_t)(t - d->tables.tables), &row);
    if (status != HELIOS_OK || !row)
        return status;
    status = value_of(d, e, &op.value);
    if (status == HELIOS_OK)
        status = delta_rows_change(&d->rows, row, &op);
    *fits = delta_rows_bytes(&d->rows) <= d->memory;
    return status;
}

static helios_status add_entries(struct helios_deltas *d, const struct wal_record *record, bool *fits)
{
    helios_changes *c = d->changes;
    helios_status status = commit_begin(c, record);

    *fits = true;
    while (status == HELIOS_OK && *fits && c->commit.open) {
        status = commit_next(c);
        if (status != HELIOS_OK || !c->has_ahead)
            break;
        status = add_entry(d, &c->entries[c->ahead], fits);
    }
    c->has_ahead = false;
    commit_end(c);
    return status;
}

/* Into the window, or it is the window. */
static helios_status add_commit(struct helios_deltas *d, const struct wal_record *record)
{
    bool alone = d->rows.count == 0, fits;
    helios_status status;

    delta_rows_begin(&d->rows);
    status = add_entries(d, record, &fits);
    if (status != HELIOS_OK)
        return status;
    d->full = !fits;
    if (!fits)
        delta_rows_undo(&d->rows);
    if (!fits && !alone) {
        put_back(d, record);
        return HELIOS_OK;
    }
    d->upto = d->changes->commit.last;
    d->changes->next = d->upto + 1;
    if (fits)
        return HELIOS_OK;
    d->time = record->time;
    d->walking = true;
    d->compare_table = 0;
    return walk_on(d);
}

/* The feed has no more up to here, though the log may have: what is on other branches or keys may not even be read. */
static helios_status pass_up_to(struct helios_deltas *d, helios_seq end)
{
    helios_seq last = 0;
    helios_status status = d->upto < end ? timeline_commit_at(d->db, end, &last) : HELIOS_OK;

    if (status != HELIOS_OK || last <= d->upto)
        return status;
    d->upto = last;
    d->changes->next = last + 1;
    return HELIOS_OK;
}

/* What there is, as far as memory goes; not what is written meanwhile, or a row that is written over and over would keep
 * it here. */
static helios_status fill(struct helios_deltas *d)
{
    helios_seq visible = atomic_load(&d->db->visible), end = feed_last(d->db, d->unsynced);
    helios_status status = HELIOS_OK;

    if (end > visible)
        end = visible;
    while (status == HELIOS_OK && !d->full && d->upto < end) {
        struct deadline none = {0};
        struct wal_record record;

        status = next_commit(d, &none, &record);
        if (status == HELIOS_OK)
            status = add_commit(d, &record);
    }
    return status == HELIOS_TIMEOUT ? pass_up_to(d, end) : status;
}

static helios_status settle(struct helios_deltas *d, bool *differs)
{
    helios_status status = d->walking ? HELIOS_OK : delta_rows_settle(&d->rows);

    *differs = d->walking ? d->on_row : d->rows.order_count > 0;
    return status;
}

/* ---- waiting ---- */

/* Also asks for a sync of what is ahead. With no time left nothing more is read, or it would never end beside writers of other
 * tables. */
static helios_status wait_for_commit(struct helios_deltas *d, uint64_t until)
{
    uint64_t now = until && until != UINT64_MAX ? io_monotonic(d->db->fs) : 0;
    struct deadline deadline = {.timeout = until == UINT64_MAX ? until : now < until ? until - now : 0};
    struct wal_record record;
    helios_status status;

    status = next_commit(d, &deadline, &record);
    if (status != HELIOS_OK)
        return status;
    put_back(d, &record);
    return deadline.timeout ? HELIOS_OK
                            : fail_fixed(HELIOS_TIMEOUT, "no row has changed in the time that was given");
}

/* until: by the monotonic clock; 0: no wait, UINT64_MAX: for ever. */
static helios_status make_window(struct helios_deltas *d, uint64_t until)
{
    bool differs = false;
    helios_status status = pass_window(d);

    while (status == HELIOS_OK && !differs) {
        bool more;

        status = fill(d);
        if (status == HELIOS_OK)
            status = settle(d, &differs);
        more = d->full;
        if (status == HELIOS_OK && !differs)
            status = pass_window(d);
        if (status == HELIOS_OK && !differs && !more)
            status = wait_for_commit(d, until);
    }
    return status;
}

static uint64_t until_of(const struct helios_deltas *d, uint64_t timeout)
{
    uint64_t now;

    if (timeout == 0 || timeout == UINT64_MAX)
        return timeout;
    now = io_monotonic(d->db->fs);
    return now > UINT64_MAX - timeout ? UINT64_MAX : now + timeout;
}

/* ---- the public calls ---- */

static helios_status go_on(struct helios_deltas *d, uint64_t timeout)
{
    helios_status status = make_window(d, until_of(d, timeout));

    return gone(status) ? begin_anew(d, NULL, 0) : status;
}

helios_status helios_deltas_window(helios_deltas *d, uint64_t timeout, helios_delta_window *window)
{
    helios_status status = HELIOS_OK;

    if (!d || !window)
        return fail(HELIOS_INVALID, "no %s given", d ? "place for the window was" : "deltas were");
    if (d->error.status != HELIOS_OK)
        return error_tell(&d->error);
    if (!d->refresh)
        status = go_on(d, timeout);
    if (status != HELIOS_OK) {
        if (status != HELIOS_TIMEOUT)
            error_keep(&d->error, status);
        return status;
    }
    *window = (helios_delta_window){
        .since = d->since ? d->since : HELIOS_SEQ_NONE,
        .upto = d->upto ? d->upto : HELIOS_SEQ_NONE,
        .refresh = d->refresh,
    };
    d->refresh = false;
    return HELIOS_OK;
}

static void show_row(const struct delta_row *row, helios_delta *delta)
{
    *delta = (helios_delta){
        .table = row->table,
        .kind = kind_of(row->has_before, row->has_after),
        .key = row->key,
        .first_lsn = row->first_lsn,
        .lsn = row->lsn,
        .commit = row->commit,
        .time = row->time,
    };
    if (row->has_before)
        delta->before = row->before;
    if (row->has_after)
        delta->after = row->after;
}

static helios_status next_walked(struct helios_deltas *d, helios_delta *delta)
{
    helios_status status = d->on_row ? HELIOS_OK : walk_on(d);

    if (status == HELIOS_OK && d->on_row)
        status = show_walked(d, delta);
    return status;
}

bool helios_deltas_next(helios_deltas *d, helios_delta *delta)
{
    helios_status status;
    bool there;

    if (!d || !delta || d->error.status != HELIOS_OK)
        return false;
    if (!d->walking) {
        there = d->at < d->rows.order_count;
        if (there)
            show_row(d->rows.order[d->at++], delta);
        return there;
    }
    status = next_walked(d, delta);
    error_keep(&d->error, status);
    there = status == HELIOS_OK && d->on_row;
    d->on_row = false;
    return there;
}

helios_status helios_deltas_status(const helios_deltas *d)
{
    if (!d)
        return fail(HELIOS_INVALID, "no deltas were given");
    return d->error.status == HELIOS_OK ? HELIOS_OK : error_tell(&d->error);
}

helios_status helios_deltas_count(helios_deltas *d, size_t table, uint64_t *count)
{
    uint64_t counted = 0;
    helios_status status = HELIOS_OK;

    if (!d || !count)
        return fail(HELIOS_INVALID, "no %s given", d ? "place for the count was" : "deltas were");
    if (table >= d->tables.count)
        return fail(HELIOS_INVALID, "table %zu of %u was asked for", table, d->tables.count);
    if (d->error.status != HELIOS_OK)
        return error_tell(&d->error);
    if (d->walking)
        status = count_walked(d, (uint32_t)table, &counted);
    for (size_t i = 0; !d->walking && i < d->rows.order_count; i++)
        counted += d->rows.order[i]->table == table;
    if (status == HELIOS_OK)
        *count = counted;
    return status;
}

helios_seq helios_deltas_upto(const helios_deltas *d)
{
    if (!d)
        return 0;
    return d->upto ? d->upto : HELIOS_SEQ_NONE;
}
