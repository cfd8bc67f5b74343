/* history_reads.c - reads of test_history at points of all kinds, compared with the model: gets, walks both ways, the
 * versions of a key. */
#undef NDEBUG
#include "tests/history_test.h"
#include <inttypes.h>

_Noreturn void history_die(const struct test *t, const char *file, int line, const char *what)
{
    fprintf(stderr,
            "%s:%d: %s\n  test_history --set %s --seed %" PRIu64 ", step %" PRIu64 "; horizon %" PRIu64
            ", latest %" PRIu64 "; last error: %s\n",
            file, line, what, t->set->name, t->seed, t->step, t->db ? helios_horizon(t->db) : 0,
            t->history.latest, helios_last_error());
    abort();
}

/* ---- read points, and what may be said about them ---- */

const struct tag *any_tag(struct test *t)
{
    for (int i = 0; i < 10 && t->tag_count; i++) {
        const struct tag *tag = &t->tags[below(t, t->tag_count)];

        if (!tag->dropped)
            return tag;
    }
    return NULL;
}

static helios_seq any_number(struct test *t, uint64_t dice, helios_seq horizon)
{
    const struct tag *tag = any_tag(t);

    if (dice < 70 && tag)
        return tag->at;
    if (dice < 80 && t->commit_count)
        return t->commits[below(t, t->commit_count)].seq;
    if (dice < 85)
        return horizon + below(t, 3);
    if (dice < 93)
        return t->history.latest - below(t, t->history.latest < 40 ? t->history.latest + 1 : 40);
    return 1 + below(t, t->history.latest + 1);
}

struct point any_point(struct test *t)
{
    struct point p = {.options = HELIOS_READ_OPTIONS_INIT, .seq = t->history.latest};
    const struct held_snapshot *s = &t->snapshots[below(t, SNAPSHOTS_MAX)];
    uint64_t dice = below(t, 100);

    p.horizon = helios_horizon(t->db);
    if (dice < 30)
        return p;
    if (dice < 45 && s->handle) {
        p.options.snapshot = s->handle;
        p.seq = s->seq;
        return p;
    }
    p.seq = any_number(t, dice, p.horizon);
    p.is_above = p.seq > t->history.latest;
    p.options.at = p.seq ? p.seq : HELIOS_SEQ_NONE;
    return p;
}

/* Does somebody hold exactly this number? */
static bool is_named(const struct test *t, const struct point *p)
{
    for (size_t i = 0; i < SNAPSHOTS_MAX; i++)
        if (t->snapshots[i].handle && t->snapshots[i].seq == p->seq)
            return true;
    for (size_t i = 0; i < t->tag_count; i++)
        if (!t->tags[i].dropped && t->tags[i].at == p->seq && !p->on_all)
            return true;
    return false;
}

/* Or one that reads the same? Iterators hold their points too. */
static bool may_be_held(const struct test *t, helios_seq seq)
{
    helios_seq commit = commit_at(t, seq);

    for (size_t i = 0; i < SNAPSHOTS_MAX; i++)
        if (t->snapshots[i].handle && commit_at(t, t->snapshots[i].seq) == commit)
            return true;
    for (size_t i = 0; i < t->tag_count; i++)
        if (!t->tags[i].dropped && commit_at(t, t->tags[i].at) == commit)
            return true;
    for (size_t i = 0; i < ITERATORS_MAX; i++)
        if (t->iterators[i].handle && commit_at(t, t->iterators[i].seq) == commit)
            return true;
    return commit == 0;
}

bool judge(struct test *t, const struct point *p, helios_status status)
{
    t->checks++;
    if (p->is_above) {
        CHECK(t, status == HELIOS_INVALID);
        return false;
    }
    if (status == HELIOS_HISTORY_GONE) {
        if (p->seq >= helios_horizon(t->db) || is_named(t, p))
            fprintf(stderr, "gone: %" PRIu64 "\n", p->seq);
        CHECK(t, p->seq < helios_horizon(t->db));
        CHECK(t, !p->options.snapshot && !is_named(t, p));
        CHECK(t, p->seq != 0);
        t->gone++;
        return false;
    }
    if (p->seq < p->horizon && !may_be_held(t, p->seq))
        fprintf(stderr, "not gone: %" PRIu64 "\n", p->seq);
    CHECK(t, p->seq >= p->horizon || may_be_held(t, p->seq));
    return true;
}

static void tell_key(const struct test *t, size_t key, helios_seq seq)
{
    const struct history_key *k = &t->history.keys[key];

    fprintf(stderr, "key %zu of %zu bytes at %" PRIu64 "; its versions:", key, k->size, seq);
    for (size_t i = k->count > 30 ? k->count - 30 : 0; i < k->count; i++)
        fprintf(stderr, " %" PRIu64 "%s", k->versions[i].seq, k->versions[i].deleted ? "-" : "");
    fprintf(stderr, "\n");
}

/* ---- point reads ---- */

static void check_got(struct test *t, size_t key, helios_seq seq, helios_status status, const helios_buf *value)
{
    const struct history_version *v = history_at(&t->history, key, seq);
    bool right = v ? status == HELIOS_OK && value_matches(v, slice_make(value->data, value->size))
                   : status == HELIOS_NOT_FOUND;

    if (!right) {
        tell_key(t, key, seq);
        fprintf(stderr, "the answer is %s\n", helios_status_name(status));
    }
    CHECK(t, right);
    t->checks++;
}

void get(struct test *t)
{
    struct point p = any_point(t);
    size_t key = any_key(t);
    helios_status status = helios_get(t->db, &p.options, key_slice(t, key), &t->got);

    if (judge(t, &p, status))
        check_got(t, key, p.seq, status, &t->got);
}

/* A read-only transaction at the point says the same. */
void get_in_transaction(struct test *t)
{
    helios_txn_options options = HELIOS_TXN_OPTIONS_INIT;
    struct point p = any_point(t);
    helios_txn *txn = NULL;
    helios_status status;

    if (p.options.snapshot)
        return;
    options.read_only = true;
    options.at = p.options.at;
    status = helios_txn_begin(t->db, &options, &txn);
    if (judge(t, &p, status)) {
        MUST(t, status);
        for (size_t i = 0; i < 4; i++) {
            size_t key = any_key(t);

            status = helios_txn_get(txn, key_slice(t, key), &t->got);
            check_got(t, key, p.seq, status, &t->got);
        }
    }
    helios_txn_free(txn);
}

void multi_get(struct test *t)
{
    struct point p = any_point(t);
    helios_slice keys[MULTI_MAX];
    helios_buf values[MULTI_MAX] = {{0}};
    helios_status each[MULTI_MAX], status;
    size_t wanted[MULTI_MAX], n = 1 + below(t, MULTI_MAX - 1);

    for (size_t i = 0; i < n; i++) {
        wanted[i] = any_key(t);
        keys[i] = key_slice(t, wanted[i]);
    }
    status = helios_multi_get(t->db, &p.options, n, keys, values, each);
    if (judge(t, &p, status)) {
        MUST(t, status);
        for (size_t i = 0; i < n; i++)
            check_got(t, wanted[i], p.seq, each[i], &values[i]);
    }
    for (size_t i = 0; i < n; i++)
        helios_buf_free(&values[i]);
}

/* ---- iterators ---- */

static void step_model(const struct test *t, struct held_iterator *it, size_t at, int direction)
{
    it->valid = false;
    for (; at >= it->from && at < it->to; at += (size_t)direction) {
        if (!history_at(&t->history, at, it->seq))
            continue;
        it->at = at;
        it->valid = true;
        return;
    }
}

static void check_iterator(struct test *t, struct held_iterator *it)
{
    const struct history_version *v;

    t->checks++;
    MUST(t, helios_iter_status(it->handle));
    if (helios_iter_valid(it->handle) != it->valid)
        tell_key(t, it->valid ? it->at : history_find(&t->history, helios_iter_key(it->handle)), it->seq);
    CHECK(t, helios_iter_valid(it->handle) == it->valid);
    if (!it->valid)
        return;
    v = history_at(&t->history, it->at, it->seq);
    if (!slice_equal(helios_iter_key(it->handle), key_slice(t, it->at)) ||
        helios_iter_seq(it->handle) != v->seq) {
        tell_key(t, it->at, it->seq);
        tell_key(t, history_find(&t->history, helios_iter_key(it->handle)), it->seq);
        fprintf(stderr, "the iterator shows the version %" PRIu64 "\n", helios_iter_seq(it->handle));
    }
    CHECK(t, slice_equal(helios_iter_key(it->handle), key_slice(t, it->at)));
    CHECK(t, helios_iter_seq(it->handle) == v->seq);
    CHECK(t, value_matches(v, helios_iter_value(it->handle)));
}

static bool new_iterator(struct test *t, struct held_iterator *it)
{
    struct point p = any_point(t);

    *it = (struct held_iterator){.seq = p.seq, .to = t->history.count};
    if (chance(t, 3)) {
        it->from = any_key(t);
        p.options.lower = key_slice(t, it->from);
    }
    if (chance(t, 3)) {
        it->to = any_key(t);
        p.options.upper = key_slice(t, it->to);
    }
    return judge(t, &p, helios_iter_new(t->db, &p.options, &it->handle));
}

static void place_iterator(struct test *t, struct held_iterator *it)
{
    size_t key = any_key(t);

    switch (below(t, 4)) {
    case 0:
        helios_iter_first(it->handle);
        step_model(t, it, it->from, 1);
        break;
    case 1:
        helios_iter_last(it->handle);
        it->valid = false;
        if (it->to > 0)
            step_model(t, it, it->to - 1, -1);
        break;
    case 2:
        helios_iter_seek(it->handle, key_slice(t, key));
        step_model(t, it, key < it->from ? it->from : key, 1);
        break;
    default:
        helios_iter_seek_for_prev(it->handle, key_slice(t, key));
        it->valid = false;
        if (it->to > 0)
            step_model(t, it, key < it->to ? key : it->to - 1, -1);
        break;
    }
    check_iterator(t, it);
}

static void walk_iterator(struct test *t, struct held_iterator *it, uint64_t steps)
{
    bool forward = chance(t, 2);

    for (uint64_t i = 0; i < steps && it->valid; i++) {
        if (chance(t, 10))
            forward = !forward;
        (forward ? helios_iter_next : helios_iter_prev)(it->handle);
        step_model(t, it, forward ? it->at + 1 : it->at - 1, forward ? 1 : -1);
        check_iterator(t, it);
    }
}

void use_iterator(struct test *t)
{
    struct held_iterator *it = &t->iterators[below(t, ITERATORS_MAX)];

    if (!it->handle && !new_iterator(t, it))
        return;
    if (!it->valid || chance(t, 3))
        place_iterator(t, it);
    walk_iterator(t, it, chance(t, 30) ? 200 : below(t, 16));
    if (chance(t, 8)) {
        helios_iter_free(it->handle);
        *it = (struct held_iterator){0};
    }
}

/* Everything at a point, both ways. */
void scan_all(struct test *t)
{
    struct held_iterator it;

    if (!new_iterator(t, &it))
        return;
    helios_iter_first(it.handle);
    step_model(t, &it, it.from, 1);
    for (check_iterator(t, &it); it.valid; check_iterator(t, &it)) {
        helios_iter_next(it.handle);
        step_model(t, &it, it.at + 1, 1);
    }
    helios_iter_last(it.handle);
    if (it.to > 0)
        step_model(t, &it, it.to - 1, -1);
    for (check_iterator(t, &it); it.valid; check_iterator(t, &it)) {
        helios_iter_prev(it.handle);
        step_model(t, &it, it.at - 1, -1);
    }
    helios_iter_free(it.handle);
}

/* ---- the versions of a key ---- */

/* The index of the newest version numbered at or below, one above it: 0: none. */
static size_t versions_to(const struct history_key *k, helios_seq seq)
{
    size_t count = k->count;

    while (count > 0 && k->versions[count - 1].seq > seq)
        count--;
    return count;
}

/* Does the walk show it? Above the horizon what changed the key, at it what is valid there, and of a point below the
 * horizon what is seen at it. */
static bool is_listed(const struct history_key *k, size_t i, helios_seq at, helios_seq horizon)
{
    const struct history_version *v = &k->versions[i];
    helios_seq low = at < horizon ? at : horizon;

    if (v->seq <= low)
        return !v->deleted && versions_to(k, low) == i + 1;
    return !v->deleted || (i > 0 && !k->versions[i - 1].deleted);
}

static void check_version(struct test *t, const struct history_version *v, const helios_version *got)
{
    size_t commits = commits_to(t, v->seq);

    CHECK(t, got->seq == v->seq);
    CHECK(t, got->deleted == v->deleted);
    CHECK(t, v->deleted ? !got->value.data : value_matches(v, got->value));
    CHECK(t, got->branch == 0);
    if (got->time != t->commits[commits - 1].time && got->time != 0)
        fprintf(stderr, "version %" PRIu64 ": time %" PRIu64 ", not %" PRIu64 "\n", got->seq, got->time,
                t->commits[commits - 1].time);
    CHECK(t, got->time == t->commits[commits - 1].time || got->time == 0);
    CHECK(t, got->time != 0 || got->seq < helios_horizon(t->db)); /* only there it may not be kept */
    t->checks++;
}

/* The horizon stands still as long as a walk lives that began above it. */
static void walk_versions(struct test *t, size_t key, const struct point *p, helios_history *h)
{
    const struct history_key *k = &t->history.keys[key];
    helios_seq horizon = helios_horizon(t->db);
    helios_version got;

    for (size_t i = versions_to(k, p->seq); i > 0; i--) {
        bool more;

        if (!is_listed(k, i - 1, p->seq, horizon))
            continue;
        if (chance(t, 100))
            MUST(t, helios_flush(t->db));
        more = helios_history_next(h, &got);
        if (!more || got.seq != k->versions[i - 1].seq)
            tell_key(t, key, p->seq);
        CHECK(t, more);
        check_version(t, &k->versions[i - 1], &got);
    }
    if (helios_history_next(h, &got)) {
        tell_key(t, key, p->seq);
        fprintf(stderr, "the walk goes on to %" PRIu64 "%s\n", got.seq, got.deleted ? "-" : "");
        CHECK(t, false);
    }
    MUST(t, helios_history_status(h));
    CHECK(t, p->seq < horizon || horizon == helios_horizon(t->db));
    t->walked++;
}

void history_of_key(struct test *t)
{
    struct point p = any_point(t);
    size_t key = any_key(t);
    helios_history *h = NULL;
    helios_status status = helios_history_new(t->db, &p.options, key_slice(t, key), &h);

    if (judge(t, &p, status)) {
        MUST(t, status);
        walk_versions(t, key, &p, h);
    }
    helios_history_free(h);
}
