/* feed_replay.c - follows the feed and judges it; see feed_replay.h. feed_compare.c compares with other reads. */
#undef NDEBUG
#include "tests/feed_judge.h"
#include "base/coding.h"
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { RECORDS_MAX = 40000 };

_Noreturn void judge_failed(const struct feed_replay *r, int line, const char *file, const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "%s:%d: the feed, at entry %" PRIu64 " of commit %" PRIu64 ": ", file, line, r->lsn,
            r->commit);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n  last error: %s\n", helios_last_error());
    if (r->options.where)
        r->options.where(r->options.arg);
    abort();
}

struct feed_replay *feed_replay_new(const struct feed_replay_options *options)
{
    struct feed_replay *r = calloc(1, sizeof(*r));

    assert(r);
    r->options = *options;
    if (!r->options.scans)
        r->options.scans = 6;
    if (!r->options.filters)
        r->options.filters = 2;
    random_seed(&r->rng, options->seed);
    states_init(&r->states);
    r->ended = true;
    r->next = 1;
    return r;
}

void feed_replay_release(struct feed_replay *r)
{
    helios_changes_free(r->cursor);
    r->cursor = NULL;
}

void feed_replay_free(struct feed_replay *r)
{
    if (!r)
        return;
    feed_replay_release(r);
    states_release(&r->states);
    free(r->records);
    free(r->commits);
    free(r);
}

void feed_replay_report(const struct feed_replay *r)
{
    printf("feed: %" PRIu64 " entries of %zu commits followed in %" PRIu64 " goes, %" PRIu64 " images, %" PRIu64
           " compared with reads, %" PRIu64 " states scanned, %" PRIu64 " filters, begun anew %" PRIu64
           " times\n",
           r->counts.entries, r->commit_count, r->counts.goes, r->counts.images, r->counts.reads,
           r->counts.scans, r->counts.filters, r->counts.adopted);
}

/* ---- what was read ---- */

static void *room_for(void *list, size_t count, size_t *capacity, size_t each)
{
    if (count < *capacity)
        return list;
    *capacity = *capacity ? 2 * *capacity : 256;
    list = realloc(list, *capacity * each);
    assert(list);
    return list;
}

/* Only the newest are kept, from the beginning of a commit on. */
static void forget_old_records(struct feed_replay *r)
{
    size_t from = r->record_count / 2;

    if (r->record_count < RECORDS_MAX)
        return;
    while (from < r->record_count && r->records[from].commit == r->records[from - 1].commit)
        from++;
    r->record_count -= from;
    memmove(r->records, r->records + from, r->record_count * sizeof(*r->records));
    r->forgot_records = true;
}

static void record(struct feed_replay *r, const struct feed_record *entry)
{
    r->records = room_for(r->records, r->record_count, &r->record_room, sizeof(*r->records));
    r->records[r->record_count++] = *entry;
}

static void note_commit(struct feed_replay *r, const helios_change *change)
{
    r->commits = room_for(r->commits, r->commit_count, &r->commit_room, sizeof(*r->commits));
    r->commits[r->commit_count++] =
        (struct feed_commit){.seq = change->commit, .time = change->time, .first = change->lsn};
}

/* Commits above the point never were. */
static void forget_after(struct feed_replay *r, helios_seq latest)
{
    while (r->record_count && r->records[r->record_count - 1].commit > latest)
        r->record_count--;
    while (r->commit_count && r->commits[r->commit_count - 1].seq > latest)
        r->commit_count--;
    states_forget_after(&r->states, latest);
    if (r->next > latest + 1)
        r->next = latest + 1;
    if (r->lsn > latest)
        r->lsn = r->commit = latest;
    if (r->commit_count)
        r->time = r->commits[r->commit_count - 1].time;
    r->ended = true;
}

void feed_replay_opened(struct feed_replay *r, helios_db *db)
{
    feed_replay_release(r);
    forget_after(r, helios_latest(db));
}

/* ---- beginning in the middle ---- */

static void adopt_branch(struct feed_replay *r, helios_db *db, helios_branch_id id, helios_seq point)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_iter *it;
    helios_status status;

    options.branch = id;
    options.at = point;
    status = helios_iter_new(db, &options, &it);
    if (status == HELIOS_NOT_FOUND) /* dropped meanwhile: it stays unknown */
        return;
    JUDGE_MUST(r, status);
    states_adopt(&r->states, id, point);
    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it))
        states_set(&r->states, id, states_key(&r->states, 0, helios_iter_key(it)),
                   feed_value_of(helios_iter_value(it)), point);
    JUDGE_MUST(r, helios_iter_status(it));
    helios_iter_free(it);
}

/* The states before the first entry that is left, if history reaches there, else of now. */
static void adopt_all(struct feed_replay *r, helios_db *db, helios_seq latest)
{
    helios_branch_info *list;
    helios_seq oldest, newest, point = latest;
    helios_snapshot *held = NULL; /* the horizon moves at any time */
    size_t count;

    JUDGE_MUST(r, helios_feed_bounds(db, &oldest, &newest));
    if (oldest > 1 && oldest <= latest && !r->options.others_write &&
        helios_snapshot_new(db, oldest - 1, &held) == HELIOS_OK)
        point = oldest - 1;
    else
        JUDGE_MUST(r, helios_snapshot_new(db, point ? point : HELIOS_SEQ_NONE, &held));

    JUDGE(r, !r->options.no_trim, "entry %" PRIu64 " was trimmed", r->next);
    states_forget_all(&r->states);
    r->record_count = r->commit_count = 0;
    r->forgot_records = r->adopted = r->ended = true;
    adopt_branch(r, db, 0, point);
    JUDGE_MUST(r, helios_branch_list_at(db, point, &list, &count));
    for (size_t i = 0; i < count; i++) {
        if (list[i].id == 0 || list[i].state == HELIOS_BRANCH_DROPPED)
            continue;
        states_fork(&r->states, list[i].id, list[i].parent, judge_plain(list[i].fork_seq), list[i].created_seq);
        states_branch(&r->states, list[i].id)->since = STATES_BLIND;
        adopt_branch(r, db, list[i].id, point);
    }
    helios_free(list);
    helios_snapshot_free(db, held);
    r->next = point + 1;
    r->lsn = r->commit = point;
    r->counts.adopted++;
}

/* ---- events of branches ---- */

static void apply_branch(struct feed_replay *r, const helios_change *change)
{
    struct reader key = reader_make((const char *)change->key.data + 1, change->key.size - 1);
    struct reader value = reader_make(change->value.data, change->value.size);
    helios_branch_id id = (helios_branch_id)get_u32_be(read_raw(&key, 4)), parent;
    helios_seq fork, created, closed;
    struct feed_branch *b = states_branch(&r->states, id);
    unsigned state;

    JUDGE(r, read_u8(&value) == 1, "a branch's entry of another version");
    state = read_u8(&value);
    parent = (helios_branch_id)read_varint(&value);
    fork = read_varint(&value);
    created = read_varint(&value);
    (void)read_varint(&value);
    closed = read_varint(&value);
    if (!b) {
        JUDGE(r, state == 0, "branch %u begins as one that is closed", id);
        JUDGE(r, states_branch(&r->states, parent), "branch %u of %u, which was never made", id, parent);
        states_fork(&r->states, id, parent, fork, created ? created : change->commit);
        return;
    }
    JUDGE(r, b->parent == parent && b->fork == fork && b->created == created, "branch %u has changed its fork",
          id);
    JUDGE(r, !b->dropped, "branch %u changes after its end", id);
    if (state != 2)
        return;
    b->dropped = closed ? closed : change->commit;
    if (r->options.others_write) /* and nothing is lost */
        states_let_go(&r->states, id);
}

/* ---- one entry ---- */

struct expanding {
    struct feed_replay *r;
    const struct feed_record *range;
};

static void record_expansion(void *arg, const struct feed_key *key, struct feed_value before)
{
    struct expanding *x = arg;
    struct feed_record entry = *x->range;

    entry.kind = HELIOS_CHANGE_DELETE;
    entry.expansion = true;
    entry.key = key;
    entry.end = NULL;
    entry.before = before;
    record(x->r, &entry);
}

static void check_order(struct feed_replay *r, const helios_change *change)
{
    static const unsigned char nobody[16];

    JUDGE(r, change->lsn > r->lsn && change->lsn >= r->next, "entry %" PRIu64 " comes next", change->lsn);
    JUDGE(r, change->lsn <= change->commit, "entry %" PRIu64 " of commit %" PRIu64, change->lsn,
          change->commit);
    if (r->ended)
        JUDGE(r, change->commit > r->commit, "commit %" PRIu64 " comes next", change->commit);
    else
        JUDGE(r, change->commit == r->commit, "commit %" PRIu64 " within another", change->commit);
    JUDGE(r, change->time >= r->time && (r->ended || change->time == r->time),
          "time %" PRIu64 " after %" PRIu64, change->time, r->time);
    JUDGE(r, memcmp(change->origin, nobody, sizeof(nobody)) != 0 && change->origin_lsn,
          "a change without origin");
    JUDGE(r, change->vector_clock.data || change->origin_lsn == change->lsn,
          "made here, but not with its number");
    JUDGE(r, !change->has_before || r->images, "an image that nobody has asked for");
}

/* Before the entry changes the states. */
static void check_before(struct feed_replay *r, helios_db *db, const helios_change *change,
                         const struct feed_record *entry)
{
    if (entry->kind == HELIOS_CHANGE_DELETE_RANGE) {
        JUDGE(r, !change->has_before, "a range delete with an image");
        return;
    }
    if (r->images) {
        JUDGE(r, feed_value_is(entry->before, change->has_before, change->before),
              "the image of branch %u, key %.*s: %zu bytes%s instead of %zu%s", change->branch,
              (int)(change->key.size < 60 ? change->key.size : 60), (const char *)change->key.data,
              change->before.size, change->has_before ? "" : " (none)", entry->before.size,
              entry->before.there ? "" : " (none)");
        r->counts.images++;
    }
    if (random_below(&r->rng, 50) == 0)
        judge_read_before(r, db, entry);
}

static struct feed_value value_of(const helios_change *change)
{
    struct feed_value value = {0};

    if (change->kind != HELIOS_CHANGE_PUT)
        return value;
    value = feed_value_of(change->value);
    if (change->space == STATES_SYSTEM) {
        value.bytes = malloc(value.size + 1);
        assert(value.bytes);
        memcpy(value.bytes, change->value.data, value.size);
    }
    return value;
}

static void apply(struct feed_replay *r, helios_db *db, const helios_change *change)
{
    struct feed_branch *b = states_branch(&r->states, change->branch);
    struct feed_record entry = {change->lsn, change->commit, change->time, change->branch, change->kind};
    struct expanding expanding = {r, &entry};

    check_order(r, change);
    memcpy(r->node, change->origin, sizeof(r->node));
    JUDGE(r, b && !b->dropped, "branch %u, which is not there", change->branch);
    if (r->ended)
        note_commit(r, change);
    r->commits[r->commit_count - 1].entries++;
    entry.space = change->space;
    entry.blind = b->since == STATES_BLIND || (r->adopted && change->space == STATES_SYSTEM);
    entry.key = states_key(&r->states, change->space, change->key);
    if (change->kind == HELIOS_CHANGE_DELETE_RANGE)
        entry.end = states_key(&r->states, change->space, change->value);
    else
        entry.before = states_now(&r->states, change->branch, entry.key);
    if (!entry.blind)
        check_before(r, db, change, &entry);
    entry.value = value_of(change);
    record(r, &entry);
    if (change->kind == HELIOS_CHANGE_DELETE_RANGE)
        states_set_range(&r->states, change->branch, change->space, change->key, change->value, change->commit,
                         record_expansion, &expanding);
    else
        states_set(&r->states, change->branch, entry.key, entry.value, change->commit);
    if (change->space == STATES_SYSTEM && change->kind == HELIOS_CHANGE_PUT && change->key.size == 5 &&
        *(const char *)change->key.data == 'B')
        apply_branch(r, change);
    r->lsn = change->lsn;
    r->commit = change->commit;
    r->time = change->time;
    r->ended = change->commit_end;
    r->next = change->lsn + 1;
    r->counts.entries++;
}

/* ---- following ---- */

static void tell_commit(struct feed_replay *r, helios_db *db, helios_seq before)
{
    helios_seq now = helios_latest(db);

    if (now > before && r->options.committed)
        r->options.committed(r->options.committed_arg, now);
}

static helios_status open_cursor(struct feed_replay *r, helios_db *db, helios_seq to)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_seq latest = helios_latest(db);
    helios_status status;

    options.from = r->next;
    options.to = r->options.hold ? 0 : to;
    options.all_spaces = true;
    options.unsynced = r->options.hold || r->options.no_sync || random_below(&r->rng, 2);
    options.consumer = r->no_images ? NULL : r->options.consumer;
    options.before_images = r->images = options.consumer || (!r->no_images && random_below(&r->rng, 4));
    status = helios_changes_new(db, &options, &r->cursor);
    if (status == HELIOS_HISTORY_GONE && r->images) {
        JUDGE(r, !r->options.consumer && r->next - 1 < helios_horizon(db), "no history where there is");
        options.before_images = r->images = false;
        status = helios_changes_new(db, &options, &r->cursor);
    }
    tell_commit(r, db, latest);
    return status;
}

/* A consumer stands at what it has acknowledged last, or tried to. False: it is still to be made. */
static bool check_consumer(struct feed_replay *r, helios_db *db)
{
    helios_consumer_info *list;
    bool found = false;
    size_t count;

    if (!r->options.consumer)
        return true;
    JUDGE_MUST(r, helios_consumer_list(db, &list, &count));
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].name, r->options.consumer) == 0) {
            JUDGE(r, list[i].acked >= r->acked && list[i].acked < r->next, "the consumer stands at %" PRIu64,
                  list[i].acked);
            forget_after(r, list[i].acked);
            found = true;
        }
    helios_free(list);
    return found;
}

/* Of what was dropped before the cursor was made there may be no images: on without. */
static bool without_images(struct feed_replay *r, helios_db *db, helios_status status)
{
    if (status != HELIOS_HISTORY_GONE || !r->images)
        return false;
    JUDGE(r, judge_any_dropped(r, db), "no image, and no branch was dropped");
    feed_replay_release(r);
    r->no_images = true;
    return true;
}

/* Whether the cursor has read all up to the point: false: it must be made anew. */
static bool read_on(struct feed_replay *r, helios_db *db, helios_seq to)
{
    const uint64_t patience = r->options.hold ? 0 : UINT64_MAX;
    helios_seq from = r->next;
    unsigned scans = r->options.scans;
    helios_change change;
    helios_status status;

    while ((status = helios_changes_next(r->cursor, patience, &change)) == HELIOS_OK) {
        apply(r, db, &change);
        JUDGE(r, r->commit <= to, "commit %" PRIu64 " is not there yet", r->commit);
        if (r->ended && scans && random_below(&r->rng, (to - from) / r->options.scans + 1) < 3) {
            judge_commit(r, db, &change);
            scans--;
        }
    }
    if (without_images(r, db, status))
        return false;
    if (status == HELIOS_FEED_TRIMMED) {
        feed_replay_release(r);
        adopt_all(r, db, to);
        return r->next > to;
    }
    JUDGE(r, status == (r->options.hold ? HELIOS_TIMEOUT : HELIOS_NOT_FOUND), "reading: %s",
          helios_status_name(status));
    JUDGE(r, r->ended, "the last commit does not end");
    return true;
}

static void follow_to(struct feed_replay *r, helios_db *db, helios_seq to)
{
    helios_status status;
    bool done = false;

    do {
        status = r->cursor ? HELIOS_OK : open_cursor(r, db, to);
        if (status == HELIOS_FEED_TRIMMED) {
            adopt_all(r, db, to);
            continue;
        }
        JUDGE_MUST(r, status);
        done = read_on(r, db, to);
    } while (!done && r->next <= to);
    if (r->next <= to)
        r->next = to + 1;
}

/* Branches whose beginning was not known are, from here on. */
static void open_eyes(struct feed_replay *r, helios_db *db, helios_seq point)
{
    for (helios_branch_id id = 0; id < r->states.branch_count; id++) {
        struct feed_branch *b = states_branch(&r->states, id);

        if (b && !b->dropped && b->since == STATES_BLIND)
            adopt_branch(r, db, id, point);
    }
}

static void acknowledge(struct feed_replay *r, helios_db *db, helios_seq to)
{
    bool anew =
        r->no_images; /* it was read without the name, with which there were images that cannot be had */
    helios_seq latest = helios_latest(db);

    if (!r->options.consumer || r->acked == to)
        return;
    r->no_images = false;
    if (anew) {
        feed_replay_release(r);
        JUDGE_MUST(r, open_cursor(r, db, to));
    }
    if (!r->cursor)
        return;
    JUDGE_MUST(r, helios_changes_ack(r->cursor, to));
    r->acked = to;
    tell_commit(r, db, latest);
    if (anew) {
        feed_replay_release(r);
        JUDGE_MUST(r, open_cursor(r, db, to));
    }
}

void feed_replay_follow(struct feed_replay *r, helios_db *db)
{
    helios_seq oldest, newest, to;
    helios_snapshot *here;
    size_t commits;
    bool made = true;

    if (helios_feed_bounds(db, &oldest, &newest) == HELIOS_UNSUPPORTED)
        return;
    r->no_images = false;
    if (!r->cursor)
        made = check_consumer(r, db);
    if (!r->cursor && (r->options.hold || !made)) {
        /* Before the end is looked up: a new name is a commit. */
        JUDGE_MUST(r, open_cursor(r, db, 0));
        if (!r->options.hold)
            feed_replay_release(r);
    }
    JUDGE_MUST(r, helios_snapshot_new(db, 0, &here));
    to = judge_plain(helios_snapshot_seq(here));
    forget_old_records(r);
    commits = r->commit_count;
    if (to >= r->next || r->options.hold)
        follow_to(r, db, to);
    r->counts.goes++;
    if (commits > r->commit_count)
        commits = 0;
    open_eyes(r, db, to);
    judge_end(r, db, to);
    judge_commits(r, db, commits, to);
    for (unsigned i = 0; i < r->options.filters; i++)
        judge_filter(r, db);
    acknowledge(r, db, to);
    helios_snapshot_free(db, here);
    if (!r->options.hold)
        feed_replay_release(r);
}
