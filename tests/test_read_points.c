/* test_read_points.c - every way to read at every kind of read point on every state of a database, against the
 * naive history of history_model.h.
 *
 *   ways    get, multi_get, iterators (first and next, last and prev, seek, seek_for_prev, turns, bounds,
 *           keys_only), the versions of a key
 *   points  latest, a commit, a number inside a commit, one in a gap, before the first commit, a snapshot, a
 *           snapshot of the past, a tag, a time; above the last commit; below the horizon, pinned and not
 *   states  memtable, flushed, compacted, reopened, read-only, in memory; each with plain commits, range deletes,
 *           ingested batches, large values, a hundred versions of a key
 *
 *   test_read_points [seed] */
#undef NDEBUG
#include "engine/engine_internal.h"
#include "tests/history_model.h"
#include <assert.h>
#include <inttypes.h>

enum { POOL = 36, COMMITS = 260, COMMITS_MAX = 400, LARGE = 300 << 10, VALUE_MAX = LARGE + 64, SNAPSHOTS = 3 };

enum content { PLAIN, RANGES, INGESTED, LARGE_VALUES, MANY_VERSIONS, CONTENT_COUNT };
enum place { MEMTABLE, FLUSHED, COMPACTED, REOPENED, READ_ONLY, IN_MEMORY, PLACE_COUNT };

static const char *const content_names[] = {"plain", "range deletes", "ingested", "large values",
                                            "many versions"};
static const char *const place_names[] = {"memtable", "flushed",   "compacted",
                                          "reopened", "read-only", "in memory"};

/* A commit as it was made: its numbers and its time. */
struct made {
    helios_seq first, last;
    uint64_t time;
};

struct test {
    uint64_t seed;
    enum content content;
    enum place place;
    struct random rng;
    struct history history;
    struct io_fs *fs;
    helios_options options;
    helios_db *db;
    struct made made[COMMITS_MAX];
    size_t made_count;
    uint64_t time;
    helios_seq gap_first, gap_last; /* skipped by an open */
    helios_snapshot *snapshots[SNAPSHOTS];
    unsigned char *value;
    char where[200];
};

static void die(const struct test *t, const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: %s\n  seed %" PRIu64 ", %s, %s, %s; last error: %s\n", file, line, what, t->seed,
            place_names[t->place], content_names[t->content], t->where, helios_last_error());
    abort();
}
#define CHECK(t, condition)                                                                                    \
    do {                                                                                                       \
        if (!(condition))                                                                                      \
            die(t, __FILE__, __LINE__, #condition);                                                            \
    } while (0)
#define MUST(t, call) CHECK(t, (call) == HELIOS_OK)

static size_t below(struct test *t, size_t limit)
{
    return (size_t)random_below(&t->rng, limit);
}

/* ---- a point and what is to be seen there ---- */

struct point {
    char name[48];
    helios_read_options options;
    helios_seq seq; /* in the model */
};

static helios_slice key_of(const struct test *t, size_t key)
{
    return history_slice(&t->history.keys[key]);
}

static size_t next_seen(const struct test *t, size_t from, size_t to, helios_seq seq)
{
    while (from < to && !history_at(&t->history, from, seq))
        from++;
    return from;
}

/* The last one in [from, to) that is seen, plus one; from: none. */
static size_t last_seen(const struct test *t, size_t from, size_t to, helios_seq seq)
{
    while (to > from && !history_at(&t->history, to - 1, seq))
        to--;
    return to;
}

/* ---- get ---- */

static void check_get(struct test *t, const struct point *p)
{
    helios_buf value = {0};

    for (size_t i = 0; i < t->history.count; i++) {
        const struct history_version *v = history_at(&t->history, i, p->seq);
        helios_status status = helios_get(t->db, &p->options, key_of(t, i), &value);

        CHECK(t, status == (v ? HELIOS_OK : HELIOS_NOT_FOUND));
        CHECK(t, !v || value_matches(v, slice_make(value.data, value.size)));
    }
    helios_buf_free(&value);
}

static void check_multi_get(struct test *t, const struct point *p)
{
    helios_slice keys[POOL];
    helios_buf values[POOL] = {{0}};
    helios_status each[POOL];

    for (size_t i = 0; i < t->history.count; i++)
        keys[i] = key_of(t, i);
    MUST(t, helios_multi_get(t->db, &p->options, t->history.count, keys, values, each));
    for (size_t i = 0; i < t->history.count; i++) {
        const struct history_version *v = history_at(&t->history, i, p->seq);

        CHECK(t, each[i] == (v ? HELIOS_OK : HELIOS_NOT_FOUND));
        CHECK(t, !v || value_matches(v, slice_make(values[i].data, values[i].size)));
        helios_buf_free(&values[i]);
    }
}

/* ---- iterators ---- */

/* An iterator, and where the model says that it stands. */
struct walk {
    helios_iter *it;
    const struct point *point;
    size_t from, to; /* keys within the bounds */
    size_t at;       /* to: nowhere */
    bool keys_only;
};

static void check_standing(struct test *t, const struct walk *w)
{
    const struct history_version *v;

    MUST(t, helios_iter_status(w->it));
    CHECK(t, helios_iter_valid(w->it) == (w->at < w->to));
    if (w->at == w->to)
        return;
    v = history_at(&t->history, w->at, w->point->seq);
    CHECK(t, slice_equal(helios_iter_key(w->it), key_of(t, w->at)));
    CHECK(t, helios_iter_seq(w->it) == v->seq);
    CHECK(t, w->keys_only || value_matches(v, helios_iter_value(w->it)));
}

static void stand(struct test *t, struct walk *w, size_t at)
{
    w->at = at;
    check_standing(t, w);
}

static void stand_before(struct test *t, struct walk *w, size_t end)
{
    size_t last = last_seen(t, w->from, end, w->point->seq);

    stand(t, w, last > w->from ? last - 1 : w->to);
}

static void walk_first(struct test *t, struct walk *w)
{
    helios_iter_first(w->it);
    stand(t, w, next_seen(t, w->from, w->to, w->point->seq));
}
static void walk_last(struct test *t, struct walk *w)
{
    helios_iter_last(w->it);
    stand_before(t, w, w->to);
}
static void walk_next(struct test *t, struct walk *w)
{
    helios_iter_next(w->it);
    stand(t, w, next_seen(t, w->at + 1, w->to, w->point->seq));
}
static void walk_prev(struct test *t, struct walk *w)
{
    helios_iter_prev(w->it);
    stand_before(t, w, w->at);
}
static void walk_seek(struct test *t, struct walk *w, size_t key)
{
    helios_iter_seek(w->it, key_of(t, key));
    stand(t, w, key < w->to ? next_seen(t, key > w->from ? key : w->from, w->to, w->point->seq) : w->to);
}
static void walk_seek_for_prev(struct test *t, struct walk *w, size_t key)
{
    helios_iter_seek_for_prev(w->it, key_of(t, key));
    stand_before(t, w, key < w->from ? w->from : key + 1 < w->to ? key + 1 : w->to);
}

static void walk_open(struct test *t, struct walk *w, const struct point *p, size_t from, size_t to)
{
    helios_read_options options = p->options;

    *w = (struct walk){.point = p, .from = from, .to = to, .at = to, .keys_only = options.keys_only};
    if (from > 0)
        options.lower = key_of(t, from);
    if (to < t->history.count)
        options.upper = key_of(t, to);
    MUST(t, helios_iter_new(t->db, &options, &w->it));
    check_standing(t, w);
}

static void check_walks(struct test *t, const struct point *p, size_t from, size_t to)
{
    struct walk w;

    walk_open(t, &w, p, from, to);
    for (walk_first(t, &w); w.at < to;)
        walk_next(t, &w);
    for (walk_last(t, &w); w.at < to;)
        walk_prev(t, &w);
    for (size_t i = 0; i < t->history.count; i++) {
        walk_seek(t, &w, i);
        walk_seek_for_prev(t, &w, i);
    }
    walk_seek(t, &w, below(t, t->history.count));
    for (int i = 0; i < 60; i++) { /* turns */
        if (w.at == w.to)
            walk_seek(t, &w, below(t, t->history.count));
        else if (below(t, 2))
            walk_next(t, &w);
        else
            walk_prev(t, &w);
    }
    helios_iter_free(w.it);
}

static void check_iterators(struct test *t, const struct point *p)
{
    struct point keys_only = *p;
    size_t from = below(t, t->history.count), to = from + below(t, t->history.count - from);

    check_walks(t, p, 0, t->history.count);
    check_walks(t, p, from, to);
    keys_only.options.keys_only = true;
    check_walks(t, &keys_only, 0, t->history.count);
}

/* ---- the versions of a key ---- */

/* A history, and where the model says that it is: all above `limit` was told. */
struct telling {
    helios_history *handle;
    size_t key;
    helios_seq limit, horizon;
    bool over;
};

static uint64_t time_of(const struct test *t, helios_seq seq)
{
    for (size_t i = t->made_count; i-- > 0;)
        if (t->made[i].last == seq)
            return t->made[i].time;
    return 0;
}

/* The next version to be told, by the rule in helios.h. */
static const struct history_version *telling_next(const struct test *t, struct telling *l)
{
    const struct history_key *key = &t->history.keys[l->key];

    for (size_t i = key->count; i-- > 0 && !l->over;) {
        const struct history_version *v = &key->versions[i];

        if (v->seq > l->limit)
            continue;
        l->over = v->seq <= l->horizon;
        if (v->deleted && (l->over || i == 0 || key->versions[i - 1].deleted))
            continue;
        l->limit = v->seq - 1;
        return v;
    }
    l->over = true;
    return NULL;
}

/* The horizon may move while the handle is made, but not afterwards. */
static void telling_open(struct test *t, struct telling *l, const struct point *p, size_t key)
{
    for (;;) {
        helios_seq before = helios_horizon(t->db);

        MUST(t, helios_history_new(t->db, &p->options, key_of(t, key), &l->handle));
        if (helios_horizon(t->db) == before) {
            *l = (struct telling){l->handle, key, p->seq, p->seq < before ? p->seq : before, false};
            return;
        }
        helios_history_free(l->handle);
    }
}

static void telling_step(struct test *t, struct telling *l)
{
    const struct history_version *v = telling_next(t, l);
    helios_version got;
    bool more = helios_history_next(l->handle, &got);

    MUST(t, helios_history_status(l->handle));
    CHECK(t, more == (v != NULL));
    if (!more)
        return;
    CHECK(t, got.seq == v->seq);
    CHECK(t, got.branch == 0);
    CHECK(t, got.deleted == v->deleted);
    CHECK(t, got.time == time_of(t, v->seq) || (got.time == 0 && v->seq <= l->horizon));
    CHECK(t, v->deleted ? got.value.data == NULL : value_matches(v, got.value));
}

static void check_histories(struct test *t, const struct point *p)
{
    for (size_t i = 0; i < t->history.count; i++) {
        struct telling l;

        telling_open(t, &l, p, i);
        while (!l.over)
            telling_step(t, &l);
        telling_step(t, &l);
        helios_history_free(l.handle);
    }
}

static void check_point(struct test *t, const struct point *p)
{
    snprintf(t->where, sizeof(t->where), "%s (%" PRIu64 ")", p->name, p->seq);
    check_get(t, p);
    check_multi_get(t, p);
    check_iterators(t, p);
    check_histories(t, p);
}

/* No way to read gives anything but this. */
static void check_refused(struct test *t, const char *name, const helios_read_options *options,
                          helios_status expected)
{
    helios_slice key = key_of(t, 0);
    helios_buf value = {0};
    helios_status each;
    helios_iter *it;
    helios_history *history;
    helios_snapshot *snapshot;

    snprintf(t->where, sizeof(t->where), "%s (%" PRIu64 ")", name, options->at);
    CHECK(t, helios_get(t->db, options, key, &value) == expected);
    CHECK(t, helios_multi_get(t->db, options, 1, &key, &value, &each) == expected);
    CHECK(t, helios_iter_new(t->db, options, &it) == expected);
    CHECK(t, helios_history_new(t->db, options, key, &history) == expected);
    CHECK(t, helios_snapshot_new(t->db, options->at, &snapshot) == expected);
}

/* ---- all points ---- */

static struct point point_at(const char *name, helios_seq at, helios_seq seq)
{
    struct point p = {.options = HELIOS_READ_OPTIONS_INIT, .seq = seq};

    snprintf(p.name, sizeof(p.name), "%s", name);
    p.options.at = at;
    return p;
}

static void check_at(struct test *t, const char *name, helios_seq at, helios_seq seq)
{
    struct point p = point_at(name, at, seq);

    check_point(t, &p);
}

static void check_snapshot(struct test *t, const char *name, helios_seq at)
{
    struct point p = point_at(name, 1, at); /* a snapshot wins over `at` */
    helios_snapshot *snapshot;

    MUST(t, helios_snapshot_new(t->db, at, &snapshot));
    p.options.snapshot = snapshot;
    p.seq = at == HELIOS_SEQ_NONE ? 0 : at ? at : t->history.latest;
    CHECK(t, helios_snapshot_seq(snapshot) == (p.seq ? p.seq : HELIOS_SEQ_NONE));
    check_point(t, &p);
    helios_snapshot_free(t->db, snapshot);
}

/* As of a time: the last commit at or before it. */
static void check_time(struct test *t)
{
    size_t i = below(t, t->made_count);
    uint64_t time = t->made[i].time + (i + 1 < t->made_count ? below(t, 3) : 0);
    helios_seq seq = 0;

    while (i + 1 < t->made_count && t->made[i + 1].time <= time)
        i++;
    MUST(t, helios_seq_at_time(t->db, time, &seq));
    CHECK(t, seq == t->made[i].last);
    check_at(t, "a time", seq, seq);
    MUST(t, helios_seq_at_time(t->db, t->made[0].time - 1, &seq));
    CHECK(t, seq == HELIOS_SEQ_NONE);
    t->time += 2; /* the next commit is later than what was asked for */
}

static void committed(struct test *t, helios_seq seq, size_t operations)
{
    CHECK(t, helios_latest(t->db) == seq);
    CHECK(t, t->made_count < COMMITS_MAX);
    t->history.latest = seq;
    t->made[t->made_count++] = (struct made){seq - operations + 1, seq, t->time};
}

static void check_tag(struct test *t)
{
    helios_seq at = t->made[below(t, t->made_count)].last, found = 0;
    helios_branch_id branch;

    if (t->place == READ_ONLY)
        return;
    io_faulty_set_time(t->fs, t->time, t->time);
    MUST(t, helios_tag_create(t->db, "a tag", 0, at));
    committed(t, helios_latest(t->db), 1); /* tags are commits too */
    MUST(t, helios_tag_get(t->db, "a tag", &branch, &found));
    CHECK(t, branch == 0 && found == at);
    check_at(t, "a tag", found, at);
    MUST(t, helios_tag_drop(t->db, "a tag"));
    committed(t, helios_latest(t->db), 1);
}

static void check_inside(struct test *t)
{
    for (size_t i = 1; i < t->made_count; i++) {
        const struct made *m = &t->made[i];

        if (m->last == m->first || below(t, 6))
            continue;
        check_at(t, "inside a commit", m->last - 1, t->made[i - 1].last);
        check_at(t, "first of a commit", m->first, t->made[i - 1].last);
        return;
    }
}

static void check_readable(struct test *t)
{
    helios_read_options above = HELIOS_READ_OPTIONS_INIT;

    check_at(t, "latest", 0, t->history.latest);
    check_at(t, "the last commit", t->history.latest, t->history.latest);
    check_at(t, "none", HELIOS_SEQ_NONE, 0);
    check_at(t, "the first commit", t->made[0].last, t->made[0].last);
    for (int i = 0; i < 3; i++) {
        helios_seq at = t->made[below(t, t->made_count)].last;

        check_at(t, "a commit", at, at);
    }
    check_inside(t);
    check_time(t);
    check_tag(t);
    if (t->gap_first) {
        check_at(t, "in a gap", t->gap_first + (t->gap_last - t->gap_first) / 2, t->gap_first - 1);
        check_at(t, "end of a gap", t->gap_last, t->gap_first - 1);
    }
    check_snapshot(t, "snapshot", 0);
    check_snapshot(t, "snapshot of none", HELIOS_SEQ_NONE);
    check_snapshot(t, "snapshot of the past", t->made[below(t, t->made_count)].last);
    above.at = t->history.latest + 1;
    check_refused(t, "above the last commit", &above, HELIOS_INVALID);
    above.at = SEQ_MAX;
    check_refused(t, "far above", &above, HELIOS_INVALID);
}

/* ---- writing ---- */

static uint32_t any_size(struct test *t)
{
    if (t->content == LARGE_VALUES && below(t, 12) == 0)
        return (uint32_t)(LARGE + below(t, 64));
    return (uint32_t)below(t, t->content == MANY_VERSIONS ? 24 : 90);
}

/* One in four of a few keys, which so get the most versions. */
static size_t any_key(struct test *t)
{
    if (below(t, 4) == 0 || t->content == MANY_VERSIONS)
        return t->history.count / 2 + below(t, 2);
    return below(t, t->history.count);
}

/* The numbers of a batch are known when it is committed: the model gets a stand-in, the number that follows if
 * nothing is in between, which is so here. */
static void add_operation(struct test *t, helios_batch *batch, helios_seq seq)
{
    size_t key = any_key(t), to = key + 1 + below(t, 7);
    uint64_t dice = below(t, 100), range = t->content == RANGES ? 25 : 2;

    if (dice < range) {
        to = to < t->history.count ? to : t->history.count - 1;
        key = key < to ? key : to - 1;
        helios_batch_delete_range(batch, key_of(t, key), key_of(t, to));
        history_delete_range(&t->history, key, to, seq);
    } else if (dice < range + 20) {
        helios_batch_delete(batch, key_of(t, key));
        history_delete(&t->history, key, seq);
    } else {
        uint32_t size = any_size(t);
        uint64_t value = ++t->history.values;

        value_fill(value, t->value, size);
        helios_batch_put(batch, key_of(t, key), slice_make(t->value, size));
        history_put(&t->history, key, seq, value, size);
    }
}

static void commit(struct test *t)
{
    helios_batch *batch = helios_batch_new();
    size_t operations = below(t, 3) ? 1 : 1 + below(t, 12);
    helios_seq seq = 0, first;

    if (t->content == INGESTED && below(t, 10) == 0)
        operations = 130; /* too many for a memtable of 64 KiB */
    mutex_lock(&t->db->commit_mu);
    first = t->db->next;
    mutex_unlock(&t->db->commit_mu);
    t->time += below(t, 3) ? 1 + below(t, 50) : 0;
    io_faulty_set_time(t->fs, t->time, t->time);
    for (size_t i = 0; i < operations; i++)
        add_operation(t, batch, first + operations - 1);
    MUST(t, helios_write(t->db, NULL, batch, &seq));
    CHECK(t, seq == first + operations - 1);
    committed(t, seq, operations);
    helios_batch_free(batch);
}

static void commits(struct test *t, size_t count)
{
    for (size_t i = 0; i < count; i++)
        commit(t);
}

/* ---- states ---- */

static void db_open(struct test *t)
{
    MUST(t, engine_open(t->fs, "/db", &t->options, &t->db));
}

static void drop_snapshots(struct test *t)
{
    for (size_t i = 0; i < SNAPSHOTS; i++) {
        helios_snapshot_free(t->db, t->snapshots[i]);
        t->snapshots[i] = NULL;
    }
}

static void db_close(struct test *t)
{
    drop_snapshots(t);
    MUST(t, helios_close(t->db));
}

/* As after a killed process: the next open skips what may have been handed out. */
static void crash(struct test *t)
{
    MUST(t, helios_sync(t->db));
    io_faulty_stop_at(t->fs, 1);
    drop_snapshots(t);
    CHECK(t, helios_close(t->db) != HELIOS_OK);
    io_faulty_power_cut(t->fs, IO_DAMAGE_KEEP_ALL, t->seed);
    io_faulty_set_time(t->fs, t->time, t->time);
    db_open(t);
    t->gap_first = t->history.latest + 1;
    t->gap_last = t->db->next - 1;
    CHECK(t, t->gap_last > t->gap_first);
}

static void build(struct test *t)
{
    bool tables = t->place != MEMTABLE && t->place != IN_MEMORY;

    commits(t, COMMITS / 4);
    if (t->place != IN_MEMORY)
        crash(t);
    if (tables)
        MUST(t, helios_flush(t->db));
    commits(t, COMMITS / 4);
    if (tables)
        MUST(t, helios_flush(t->db));
    if (t->place == COMPACTED)
        MUST(t, helios_compact(t->db, (helios_slice){0}, (helios_slice){0}));
    commits(t, COMMITS / 4);
    if (t->place == FLUSHED || t->place == COMPACTED)
        MUST(t, helios_flush(t->db));
    commits(t, COMMITS / 4);
    if (t->place == FLUSHED || t->place == COMPACTED)
        MUST(t, helios_flush(t->db));
    if (t->place == COMPACTED)
        MUST(t, helios_compact(t->db, (helios_slice){0}, (helios_slice){0}));
    if (t->place == REOPENED || t->place == READ_ONLY) {
        db_close(t);
        t->options.read_only = t->place == READ_ONLY;
        db_open(t);
    }
}

static void test_init(struct test *t, uint64_t seed, enum content content, enum place place)
{
    *t = (struct test){.seed = seed, .content = content, .place = place, .time = 1000000};
    random_seed(&t->rng, seed * 100 + (uint64_t)content * 10 + (uint64_t)place);
    history_init(&t->history, POOL, &t->rng);
    t->value = malloc(VALUE_MAX);
    t->options = (helios_options)HELIOS_OPTIONS_INIT;
    t->options.history_retention = HELIOS_FOREVER;
    t->options.memtable_bytes = content == INGESTED ? 64 << 10 : 8 << 20;
    t->options.in_memory = place == IN_MEMORY;
    MUST(t, io_faulty_new(seed, &t->fs));
    io_faulty_set_time(t->fs, t->time, t->time);
    db_open(t);
}

static void test_release(struct test *t)
{
    db_close(t);
    io_free(t->fs);
    history_release(&t->history);
    free(t->value);
}

static void test_matrix(uint64_t seed, enum content content, enum place place)
{
    struct test t;

    test_init(&t, seed, content, place);
    build(&t);
    check_readable(&t);
    test_release(&t);
}

/* ---- below the horizon ---- */

static helios_seq move_horizon(struct test *t)
{
    helios_seq before = helios_horizon(t->db);

    commits(t, 20);
    MUST(t, helios_compact(t->db, (helios_slice){0}, (helios_slice){0}));
    CHECK(t, helios_horizon(t->db) > before);
    return helios_horizon(t->db);
}

/* Held by a handle, or a flush that goes on could move it. */
static void check_horizon(struct test *t)
{
    helios_history *guard;
    helios_seq horizon;

    MUST(t, helios_history_new(t->db, NULL, key_of(t, 0), &guard));
    horizon = helios_horizon(t->db);
    check_at(t, "the horizon", horizon, horizon);
    CHECK(t, helios_horizon(t->db) == horizon);
    helios_history_free(guard);
}

static void test_horizon(uint64_t seed, enum content content)
{
    helios_read_options gone = HELIOS_READ_OPTIONS_INIT;
    struct test t;
    helios_seq pinned;

    test_init(&t, seed, content, FLUSHED);
    drop_snapshots(&t);
    db_close(&t);
    t.options.history_retention = 0;
    db_open(&t);
    commits(&t, 60);
    MUST(&t, helios_snapshot_new(t.db, 0, &t.snapshots[0]));
    pinned = t.history.latest;
    commits(&t, 60);
    move_horizon(&t);
    commits(&t, 10);
    for (int i = 0; i < 2; i++) {
        struct point held = point_at("held by a snapshot", 1, pinned);

        check_at(&t, "latest", 0, t.history.latest);
        check_horizon(&t);
        check_at(&t, "pinned", pinned, pinned);
        held.options.snapshot = t.snapshots[0];
        check_point(&t, &held);
        check_snapshot(&t, "snapshot beside another", pinned);
        check_at(&t, "none", HELIOS_SEQ_NONE, 0);
        gone.at = pinned - 1;
        check_refused(&t, "below the pin", &gone, HELIOS_HISTORY_GONE);
        gone.at = pinned + 1;
        check_refused(&t, "above the pin", &gone, HELIOS_HISTORY_GONE);
        gone.at = 1;
        check_refused(&t, "the oldest", &gone, HELIOS_HISTORY_GONE);
        move_horizon(&t);
    }
    MUST(&t, helios_tag_create(t.db, "kept", 0, pinned));
    committed(&t, helios_latest(t.db), 1);
    drop_snapshots(&t);
    move_horizon(&t);
    check_at(&t, "held by a tag", pinned, pinned);
    db_close(&t);
    db_open(&t);
    move_horizon(&t);
    check_at(&t, "held by a tag, reopened", pinned, pinned);
    MUST(&t, helios_tag_drop(t.db, "kept"));
    committed(&t, helios_latest(t.db), 1);
    gone.at = pinned;
    check_refused(&t, "released", &gone, HELIOS_HISTORY_GONE);
    test_release(&t);
}

/* Handles that are open while the tree changes under them tell what they would have told before. */
static void test_histories_hold(uint64_t seed, enum content content)
{
    struct telling all[POOL * 2];
    struct test t;
    struct point latest, past;
    size_t count = 0;
    helios_history *guard;
    helios_seq horizon;

    test_init(&t, seed, content, FLUSHED);
    db_close(&t);
    t.options.history_retention = 0;
    db_open(&t);
    commits(&t, 100);
    move_horizon(&t);
    MUST(&t, helios_history_new(t.db, NULL, key_of(&t, 0), &guard)); /* the horizon stands still from here on */
    horizon = helios_horizon(t.db);
    commits(&t, 100);
    latest = point_at("latest, held", 0, t.history.latest);
    past = point_at("the past, held", t.made[t.made_count - 40].last, t.made[t.made_count - 40].last);
    snprintf(t.where, sizeof(t.where), "histories that stay open");
    for (size_t i = 0; i < t.history.count; i++) {
        telling_open(&t, &all[count++], &latest, i);
        telling_open(&t, &all[count++], &past, i);
    }
    CHECK(&t, helios_horizon(t.db) == horizon);
    CHECK(&t, helios_close(t.db) == HELIOS_BUSY);
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < count; i += 1 + (size_t)round)
            telling_step(&t, &all[i]);
        commits(&t, 15);
        MUST(&t, round % 2 ? helios_flush(t.db) : helios_compact(t.db, (helios_slice){0}, (helios_slice){0}));
        CHECK(&t, helios_horizon(t.db) == horizon);
    }
    for (size_t i = 0; i < count; i++) {
        while (!all[i].over)
            telling_step(&t, &all[i]);
        helios_history_free(all[i].handle);
    }
    helios_history_free(guard);
    move_horizon(&t);
    check_at(&t, "latest", 0, t.history.latest);
    test_release(&t);
}

/* What is listed does not depend on whether a compaction has been there. */
static void test_deletions_listed_once(void)
{
    static const struct {
        const char *name,
            *commits;       /* p put, d delete, r range delete, b both deletes in one batch, x range delete
                                       and put in one, n range delete of others */
        const char *listed; /* newest first: P value, D deletion */
    } cases[] = {
        {"nothing", "n", ""},
        {"values", "ppp", "PPP"},
        {"deleted once", "pd", "DP"},
        {"deleted twice", "pdd", "DP"},
        {"deleted before", "dp", "P"},
        {"deleted only", "dd", ""},
        {"by a range", "pr", "DP"},
        {"by two ranges", "prr", "DP"},
        {"range then key", "prd", "DP"},
        {"key then range", "pdr", "DP"},
        {"by both at once", "pb", "DP"},
        {"range of nothing", "rpr", "DP"},
        {"range and put at once", "px", "PP"},
        {"again and again", "pdpr", "DPDP"},
        {"others' range", "pnp", "PP"},
        {"range, put, range", "prpprd", "DPPDP"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (int compacted = 0; compacted < 3; compacted++) {
            helios_options options = HELIOS_OPTIONS_INIT;
            helios_batch *batch = helios_batch_new();
            helios_history *h = NULL;
            helios_version v;
            helios_db *db = NULL;
            const char *listed = cases[i].listed;

            options.in_memory = true;
            assert(helios_open("memory", &options, &db) == HELIOS_OK);
            for (const char *c = cases[i].commits; *c; c++) {
                helios_batch_clear(batch);
                if (*c == 'r' || *c == 'b' || *c == 'x')
                    helios_batch_delete_range(batch, slice_text("a"), slice_text("z"));
                if (*c == 'n')
                    helios_batch_delete_range(batch, slice_text("l"), slice_text("z"));
                if (*c == 'd' || *c == 'b')
                    helios_batch_delete(batch, slice_text("k"));
                if (*c == 'p' || *c == 'x')
                    helios_batch_put(batch, slice_text("k"), slice_text("v"));
                assert(helios_write(db, NULL, batch, NULL) == HELIOS_OK);
                if (compacted == 2)
                    assert(helios_flush(db) == HELIOS_OK);
            }
            if (compacted)
                assert(helios_compact(db, (helios_slice){0}, (helios_slice){0}) == HELIOS_OK);
            assert(helios_history_new(db, NULL, slice_text("k"), &h) == HELIOS_OK);
            while (helios_history_next(h, &v)) {
                if (*listed == '\0' || v.deleted != (*listed == 'D')) {
                    fprintf(stderr, "%s (compacted %d): not listed as it should be\n", cases[i].name,
                            compacted);
                    abort();
                }
                listed++;
            }
            assert(helios_history_status(h) == HELIOS_OK && *listed == '\0');
            helios_history_free(h);
            helios_batch_free(batch);
            assert(helios_close(db) == HELIOS_OK);
        }
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;

    printf("seed %" PRIu64 "\n", seed);
    test_deletions_listed_once();
    for (int content = 0; content < CONTENT_COUNT; content++) {
        for (int place = 0; place < PLACE_COUNT; place++)
            test_matrix(seed, (enum content)content, (enum place)place);
        test_horizon(seed, (enum content)content);
        test_histories_hold(seed, (enum content)content);
    }
    return 0;
}
