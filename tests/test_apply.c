/* test_apply.c - changes of other nodes, case by case: clocks, gaps, repetition, conflicts either way, ranges, branches,
 * commits through tables, transactions beside, power cuts, and what no database would ever send.
 * Usage: test_apply [--seed S] */
#undef NDEBUG
#include "base/coding.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/slice.h"
#include "engine/engine_internal.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t seed = 1;
static struct random rng;

#define MUST(call)         must((call), HELIOS_OK, #call, __LINE__)
#define GETS(status, call) must((call), status, #call, __LINE__)
static void must(helios_status got, helios_status wanted, const char *what, int line)
{
    if (got == wanted)
        return;
    fprintf(stderr, "line %d, seed %" PRIu64 ": %s: %s, wanted %s: %s\n", line, seed, what,
            helios_status_name(got), helios_status_name(wanted), helios_last_error());
    abort();
}
#define CHECK(x)                                                                                               \
    do {                                                                                                       \
        if (!(x)) {                                                                                            \
            fprintf(stderr, "line %d, seed %" PRIu64 ": not so: %s (%s)\n", __LINE__, seed, #x,                \
                    helios_last_error());                                                                      \
            abort();                                                                                           \
        }                                                                                                      \
    } while (0)

static uint64_t below(uint64_t limit)
{
    return random_below(&rng, limit);
}

/* ---- databases ---- */

struct node {
    helios_db *db;
    struct io_fs *fs;
    helios_options options;
    uint8_t id[16];
};

static void node_open(struct node *n)
{
    MUST(engine_open(n->fs, "/node", &n->options, &n->db));
}

static void node_begin(struct node *n, uint8_t id)
{
    memset(n, 0, sizeof(*n));
    MUST(io_faulty_new(seed, &n->fs));
    n->options = (helios_options)HELIOS_OPTIONS_INIT;
    n->options.feed_retention = HELIOS_FOREVER;
    n->options.history_retention = HELIOS_FOREVER;
    n->options.memtable_bytes = 256 << 10;
    n->options.block_cache_bytes = 1 << 20;
    n->options.node_id[0] = id;
    memcpy(n->id, n->options.node_id, 16);
    node_open(n);
}

static void node_end(struct node *n)
{
    MUST(helios_close(n->db));
    io_free(n->fs);
}

static void node_cut(struct node *n, enum io_damage damage)
{
    io_faulty_stop_at(n->fs, 1);
    (void)helios_close(n->db);
    io_faulty_power_cut(n->fs, damage, seed);
    node_open(n);
}

static helios_slice text(const char *s)
{
    return slice_text(s);
}

static void put(struct node *n, const char *key, const char *value)
{
    MUST(helios_put(n->db, NULL, text(key), text(value)));
}

static bool has_on(struct node *n, helios_branch_id branch, const char *key, const char *value)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_buf got = {0};
    helios_status status;
    bool same;

    options.branch = branch;
    status = helios_get(n->db, &options, text(key), &got);
    CHECK(status == HELIOS_OK || status == HELIOS_NOT_FOUND);
    same =
        value ? status == HELIOS_OK && slice_equal(buf_slice(&got), text(value)) : status == HELIOS_NOT_FOUND;
    helios_buf_free(&got);
    return same;
}

static bool has(struct node *n, const char *key, const char *value)
{
    return has_on(n, 0, key, value);
}

static helios_seq applied(struct node *n, struct node *of)
{
    helios_buf clock = {0};
    helios_seq number = 0;

    MUST(helios_applied(n->db, &clock));
    MUST(helios_clock_get(buf_slice(&clock), of->id, &number));
    helios_buf_free(&clock);
    return number;
}

static helios_changes *feed_of(struct node *n, helios_seq from)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *changes = NULL;

    options.from = from;
    options.unsynced = options.for_apply = true;
    MUST(helios_changes_new(n->db, &options, &changes));
    return changes;
}

/* All that `from` has from a number on; how many commits were new. */
static uint64_t bring(struct node *from, struct node *to, helios_seq at, const helios_apply_options *options)
{
    helios_changes *feed = feed_of(from, at);
    const helios_change *changes;
    helios_apply_result result;
    helios_status status;
    uint64_t count = 0;
    size_t n;

    while ((status = helios_changes_next_commit(feed, 0, &changes, &n)) == HELIOS_OK) {
        MUST(helios_apply(to->db, options, changes, n, &result));
        count += result.applied;
        CHECK(result.applied + result.skipped >= 1 && (result.commit != 0) == (result.applied != 0));
    }
    GETS(HELIOS_TIMEOUT, status);
    helios_changes_free(feed);
    return count;
}

/* ---- clocks ---- */

enum { MODEL_NODES = 5 };

static void model_clock(const helios_seq numbers[MODEL_NODES], helios_buf *out)
{
    unsigned char entry[24] = {0};

    out->size = 0;
    for (int i = 0; i < MODEL_NODES; i++) {
        entry[3] = (unsigned char)(7 * i + 1);
        put_u64(entry + 16, numbers[i]);
        if (numbers[i])
            MUST(buf_append(out, entry, sizeof(entry)));
    }
}

static void test_clock_model(void)
{
    helios_buf a = {0}, b = {0}, both = {0}, wanted = {0};

    for (int round = 0; round < 2000; round++) {
        helios_seq x[MODEL_NODES], y[MODEL_NODES], most[MODEL_NODES];
        bool less = false, more = false;
        helios_clock_order order;

        for (int i = 0; i < MODEL_NODES; i++) {
            x[i] = below(3);
            y[i] = below(2) ? x[i] : below(3);
            most[i] = x[i] > y[i] ? x[i] : y[i];
            less |= x[i] < y[i];
            more |= x[i] > y[i];
        }
        model_clock(x, &a);
        model_clock(y, &b);
        model_clock(most, &wanted);
        MUST(helios_clock_compare(buf_slice(&a), buf_slice(&b), &order));
        CHECK(order == (less ? (more ? HELIOS_CLOCK_CONCURRENT : HELIOS_CLOCK_BEFORE)
                             : (more ? HELIOS_CLOCK_AFTER : HELIOS_CLOCK_EQUAL)));
        MUST(helios_clock_merge(buf_slice(&a), buf_slice(&b), &both));
        CHECK(slice_equal(buf_slice(&both), buf_slice(&wanted)));
        for (int i = 0; i < MODEL_NODES; i++) {
            uint8_t node[16] = {0, 0, 0, (uint8_t)(7 * i + 1)};
            helios_seq number;

            MUST(helios_clock_get(buf_slice(&a), node, &number));
            CHECK(number == x[i]);
        }
    }
    helios_buf_free(&a);
    helios_buf_free(&b);
    helios_buf_free(&both);
    helios_buf_free(&wanted);
}

static void test_clock_cases(void)
{
    unsigned char two[48] = {0};
    helios_clock_order order;
    helios_slice none = {0};
    uint8_t node[16] = {1};
    helios_seq number;
    helios_buf out = {0};

    two[0] = 1;
    two[24] = 2;
    put_u64(two + 16, 5);
    put_u64(two + 40, 6);
    MUST(helios_clock_compare(slice_make(two, 48), slice_make(two, 48), &order));
    CHECK(order == HELIOS_CLOCK_EQUAL); /* equal clocks are no conflict */
    MUST(helios_clock_compare(none, none, &order));
    CHECK(order == HELIOS_CLOCK_EQUAL);
    MUST(helios_clock_compare(none, slice_make(two, 24), &order));
    CHECK(order == HELIOS_CLOCK_BEFORE);
    MUST(helios_clock_compare(slice_make(two, 24), slice_make(two + 24, 24), &order));
    CHECK(order == HELIOS_CLOCK_CONCURRENT);
    MUST(helios_clock_get(slice_make(two, 48), node, &number));
    CHECK(number == 5);
    GETS(HELIOS_INVALID, helios_clock_get(slice_make(two, 47), node, &number));
    GETS(HELIOS_INVALID, helios_clock_get(slice_make(NULL, 24), node, &number));
    two[24] = 1; /* twice */
    GETS(HELIOS_INVALID, helios_clock_compare(slice_make(two, 48), none, &order));
    two[0] = 3; /* out of order */
    GETS(HELIOS_INVALID, helios_clock_merge(none, slice_make(two, 48), &out));
    two[0] = 0; /* no node, no number, too great a one */
    GETS(HELIOS_INVALID, helios_clock_merge(slice_make(two, 24), none, &out));
    two[0] = 1;
    put_u64(two + 16, 0);
    GETS(HELIOS_INVALID, helios_clock_merge(slice_make(two, 24), none, &out));
    put_u64(two + 16, UINT64_C(1) << 56);
    GETS(HELIOS_INVALID, helios_clock_merge(slice_make(two, 24), none, &out));
    helios_buf_free(&out);
}

/* ---- whose turn it is ---- */

static void test_repetition(void)
{
    struct node a, b;
    uint8_t id[16];

    node_begin(&a, 1);
    node_begin(&b, 2);
    put(&a, "k", "1");
    put(&a, "k", "2");
    MUST(helios_delete(a.db, NULL, text("gone")));
    CHECK(bring(&a, &b, 1, NULL) == 3 && has(&b, "k", "2"));
    CHECK(applied(&b, &a) == 3 && applied(&b, &b) == helios_latest(b.db));
    CHECK(bring(&a, &b, 1, NULL) == 0);
    CHECK(bring(&b, &a, 1, NULL) == 0); /* its own come back */
    helios_node_id(b.db, id);
    CHECK(memcmp(id, b.id, 16) == 0);
    MUST(helios_close(b.db));
    b.options.node_id[0] = 77; /* looked at when it was made alone */
    node_open(&b);
    helios_node_id(b.db, id);
    CHECK(memcmp(id, b.id, 16) == 0 && applied(&b, &a) == 3);
    CHECK(bring(&a, &b, 1, NULL) == 0);
    put(&a, "k", "3");
    CHECK(bring(&a, &b, applied(&b, &a) + 1, NULL) == 1 && has(&b, "k", "3"));
    node_end(&a);
    node_end(&b);
}

/* The commit with this number of a feed: applied alone. */
static helios_status apply_one(struct node *from, helios_seq number, struct node *to, bool first_only)
{
    helios_changes *feed = feed_of(from, 1);
    const helios_change *changes;
    helios_status status;
    size_t n;

    do
        MUST(helios_changes_next_commit(feed, 0, &changes, &n));
    while (changes[0].commit != number);
    status = helios_apply(to->db, NULL, changes, first_only ? 1 : n, NULL);
    helios_changes_free(feed);
    return status;
}

static void test_gaps(void)
{
    struct node a, b, c;
    helios_batch *batch = helios_batch_new();
    helios_seq seen, pair;

    node_begin(&a, 1);
    node_begin(&b, 2);
    node_begin(&c, 3);
    put(&a, "k", "1");
    put(&a, "k", "2");
    GETS(HELIOS_GAP, apply_one(&a, 2, &b, false));
    CHECK(strstr(helios_last_error(), "01000000000000000000000000000000"));
    CHECK(has(&b, "k", NULL) && applied(&b, &a) == 0);
    MUST(apply_one(&a, 1, &b, false));
    MUST(apply_one(&a, 2, &b, false));
    put(&b, "k", "3"); /* knows both of a */
    seen = helios_latest(b.db);
    GETS(HELIOS_GAP, apply_one(&b, seen, &c, false));
    CHECK(bring(&b, &c, 1, NULL) == 3); /* those of a, forwarded, come first */
    CHECK(has(&c, "k", "3") && applied(&c, &a) == 2 && applied(&c, &b) == seen);
    CHECK(bring(&a, &c, 1, NULL) == 0);
    helios_batch_put(batch, text("x"), text("1"));
    helios_batch_put(batch, text("y"), text("1"));
    MUST(helios_write(a.db, NULL, batch, &pair));
    GETS(HELIOS_INVALID, apply_one(&a, pair, &b, true));
    CHECK(has(&b, "x", NULL));
    CHECK(bring(&a, &b, pair - 1, NULL) == 1 && has(&b, "y", "1"));
    put(&a, "z", "1");
    { /* nor is the first part of one all of it */
        helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
        helios_changes *feed = NULL;
        const helios_change *changes;
        size_t n;

        options.from = options.to = pair - 1;
        options.unsynced = options.for_apply = true;
        MUST(helios_changes_new(a.db, &options, &feed));
        GETS(HELIOS_NOT_FOUND, helios_changes_next_commit(feed, 0, &changes, &n));
        helios_changes_free(feed);
        options.to = 0;
        options.limit = 1;
        MUST(helios_changes_new(a.db, &options, &feed));
        GETS(HELIOS_NOT_FOUND, helios_changes_next_commit(feed, 0, &changes, &n));
        helios_changes_free(feed);
    }
    { /* from within a commit nobody misses the first part of it */
        helios_changes *feed = feed_of(&a, pair);
        const helios_change *changes;
        size_t n;

        MUST(helios_changes_next_commit(feed, 0, &changes, &n));
        CHECK(n == 1);
        GETS(HELIOS_GAP, helios_apply(c.db, NULL, changes, n, NULL));
        helios_changes_free(feed);
    }
    helios_batch_free(batch);
    node_end(&a);
    node_end(&b);
    node_end(&c);
}

/* A reader that goes on behind another node's commit has less of this one than the number before. */
static void test_resume(void)
{
    struct node a, b, c;
    helios_changes *feed;
    const helios_change *changes;
    size_t n;

    node_begin(&a, 1);
    node_begin(&b, 2);
    node_begin(&c, 3);
    put(&b, "mine", "1");
    put(&a, "k", "1");
    CHECK(bring(&a, &b, 1, NULL) == 1);
    MUST(helios_tag_create(b.db, "tag", 0, 0));
    CHECK(bring(&b, &c, 1, NULL) == 2);
    put(&b, "mine", "2");
    feed = feed_of(&b, helios_latest(b.db));
    MUST(helios_changes_next_commit(feed, 0, &changes, &n));
    CHECK(changes[0].origin_previous == 1);
    MUST(helios_apply(c.db, NULL, changes, n, NULL));
    helios_changes_free(feed);
    node_end(&a);
    node_end(&b);
    node_end(&c);
}

/* A feed that was trimmed, or began late: a new consumer lacks what was before, also the next time; one that has acknowledged
 * it does not. Once for a program that forgets nothing, and once opened again, with another wish. */
static void test_new_consumer(bool again)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *feed = NULL;
    struct node a, b;
    const helios_change *changes;
    helios_seq branches;
    size_t n;

    options.consumer = "b";
    options.unsynced = options.for_apply = true;
    node_begin(&a, 1);
    node_begin(&b, 2);
    put(&a, "k", "1");
    put(&a, "k", "2");
    MUST(helios_feed_trim(a.db, 3, NULL));
    put(&a, "l", "1");
    for (int i = 0; i < 2; i++) { /* made, then found */
        MUST(helios_changes_new(a.db, &options, &feed));
        MUST(helios_changes_next_commit(feed, 0, &changes, &n));
        CHECK(changes[0].commit == 3 && changes[0].origin_previous == 2);
        GETS(HELIOS_GAP, helios_apply(b.db, NULL, changes, n, NULL));
        helios_changes_free(feed);
        options.before_images ^= again;
        if (again)
            MUST(helios_close(a.db)), node_open(&a);
    }
    MUST(helios_changes_new(a.db, &options,
                            &feed)); /* as if all was there: what counts is what it acknowledged */
    MUST(helios_tag_create(a.db, "tag", 0, 0));
    branches = helios_latest(a.db);
    MUST(helios_changes_ack(feed, branches));
    helios_changes_free(feed);
    MUST(helios_feed_trim(a.db, branches + 1, NULL));
    put(&a, "m", "1");
    for (int i = 0; i < 2; i++) {
        options.before_images ^= again;
        MUST(helios_changes_new(a.db, &options, &feed));
        MUST(helios_changes_next_commit(feed, 0, &changes, &n));
        CHECK(slice_equal(changes[0].key, text("m")) && changes[0].origin_previous == 0);
        helios_changes_free(feed);
        if (again)
            MUST(helios_close(a.db)), node_open(&a);
    }
    node_end(&a);
    node_end(&b);
}

/* ---- conflicts ---- */

/* Both ways until nothing is new. */
static void meet(struct node *a, struct node *b, const helios_apply_options *options)
{
    while (bring(a, b, 1, options) + bring(b, a, 1, options))
        ;
}

static void test_default_rule(void)
{
    for (int way = 0; way < 2; way++) {
        struct node a, b;

        node_begin(&a, way ? 1 : 9);
        node_begin(&b, 5);
        put(&a, "tie", "a");
        put(&b, "tie", "b");
        put(&b, "more", "b");
        put(&b, "sum", "b"); /* 3 against 2 */
        put(&a, "sum", "a");
        meet(&a, &b, NULL);
        CHECK(has(&a, "tie", way ? "b" : "a") && has(&b, "tie", way ? "b" : "a"));
        CHECK(has(&a, "sum", "b") && has(&b, "sum", "b") && has(&a, "more", "b"));
        put(&a, "sum", "later"); /* knows the other's: wins whatever the numbers */
        meet(&a, &b, NULL);
        CHECK(has(&b, "sum", "later"));
        put(&a, "del", "x");
        meet(&a, &b, NULL);
        MUST(helios_delete(b.db, NULL, text("del")));
        put(&a, "del", "kept or not");
        meet(&a, &b, NULL);
        CHECK(has(&a, "del", NULL) == has(&b, "del", NULL));
        MUST(helios_delete(a.db, NULL, text("del")));
        meet(&a, &b, NULL);
        CHECK(has(&a, "del", NULL) && has(&b, "del", NULL));
        node_end(&a);
        node_end(&b);
    }
}

static helios_resolution answer;
static uint64_t asked;

static helios_resolution resolve(void *arg, const helios_apply_conflict *c, helios_buf *value)
{
    asked++;
    CHECK(arg == &asked && c->key.size && (c->has_ours || c->has_theirs) && c->ours_seq);
    if (answer == HELIOS_TAKE_VALUE && helios_buf_set(value, text("both")) != HELIOS_OK)
        return HELIOS_TAKE_ABORT; /* without memory */
    return answer;
}

static void test_call_back(void)
{
    static const struct {
        helios_resolution answer;
        const char *value;
    } cases[] = {{HELIOS_TAKE_OURS, "b"},
                 {HELIOS_TAKE_THEIRS, "a"},
                 {HELIOS_TAKE_VALUE, "both"},
                 {HELIOS_TAKE_DELETE, NULL}};
    helios_apply_options options = HELIOS_APPLY_OPTIONS_INIT;

    options.resolve = resolve;
    options.arg = &asked;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct node a, b;
        uint64_t count;

        node_begin(&a, 1);
        node_begin(&b, 2);
        put(&a, "k", "a");
        put(&b, "k", "b");
        put(&a, "same", "x");
        put(&b, "same", "x");
        answer = HELIOS_TAKE_ABORT;
        {
            helios_changes *feed = feed_of(&a, 1);
            const helios_change *changes;
            size_t n;

            MUST(helios_changes_next_commit(feed, 0, &changes, &n));
            GETS(HELIOS_CONFLICT, helios_apply(b.db, &options, changes, n, NULL));
            CHECK(has(&b, "k", "b") && applied(&b, &a) == 0);
            helios_changes_free(feed);
        }
        answer = cases[i].answer;
        count = asked;
        CHECK(bring(&a, &b, 1, &options) == 2 && asked == count + 1);
        CHECK(has(&b, "k", cases[i].value));
        /* There the sides are the other way round; then both have decided alike, and nobody is asked again. */
        answer = answer == HELIOS_TAKE_OURS     ? HELIOS_TAKE_THEIRS
                 : answer == HELIOS_TAKE_THEIRS ? HELIOS_TAKE_OURS
                                                : answer;
        CHECK(bring(&b, &a, 1, &options) > 0 && asked == count + 2);
        meet(&a, &b, &options);
        CHECK(asked == count + 2 && has(&a, "k", cases[i].value) && has(&b, "k", cases[i].value));
        node_end(&a);
        node_end(&b);
    }
}

static void test_ranges(void)
{
    struct node a, b;

    node_begin(&a, 1);
    node_begin(&b, 2);
    put(&a, "b", "old");
    put(&a, "c", "old");
    put(&a, "d", "old");
    meet(&a, &b, NULL);
    put(&b, "c", "new"); /* small sums */
    put(&b, "bb", "unseen");
    for (int i = 0; i < 10; i++)
        put(&a, "other", "x");
    MUST(helios_delete_range(a.db, NULL, text("b"), text("e"))); /* greater than both */
    meet(&a, &b, NULL);
    CHECK(has(&b, "b", NULL) && has(&b, "c", NULL) && has(&b, "bb", NULL) && has(&a, "bb", NULL));
    MUST(helios_delete_range(a.db, NULL, text("a"), text("m")));
    for (int i = 0; i < 40; i++)
        put(&b, "c", "greater");
    meet(&a, &b, NULL);
    CHECK(has(&a, "c", "greater") && has(&b, "c", "greater"));
    put(&a, "c", "last");
    meet(&a, &b, NULL);
    MUST(helios_delete_range(b.db, NULL, text("a"), text("m")));
    meet(&a, &b, NULL);
    CHECK(has(&a, "c", NULL) && has(&b, "c", NULL));
    node_end(&a);
    node_end(&b);
}

/* ---- branches, spaces, filters ---- */

static helios_branch_id target;

static helios_status branch_of(void *arg, const helios_change *change, helios_branch_id *branch)
{
    (void)arg;
    *branch = change->branch ? target : 0;
    return HELIOS_OK;
}

static void test_branches(void)
{
    helios_apply_options options = HELIOS_APPLY_OPTIONS_INIT;
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    struct node a, b;
    helios_branch_id branch;
    helios_changes *feed;
    const helios_change *changes;
    size_t n;

    node_begin(&a, 1);
    node_begin(&b, 2);
    put(&b, "inherited", "b");
    put(&b, "other", "b");
    MUST(helios_branch_create(a.db, "work", 0, 0, &branch));
    MUST(helios_branch_create(b.db, "some", 0, 0, &target));
    MUST(helios_branch_create(b.db, "more", 0, 0, &target));
    write.branch = branch;
    MUST(helios_put(a.db, &write, text("k"), text("1")));
    MUST(helios_put(a.db, &write, text("l"), text("1")));
    MUST(helios_delete_range(a.db, &write, text("i"), text("l")));
    options.branch_of = branch_of;
    CHECK(bring(&a, &b, 1, &options) == 3);
    CHECK(has_on(&b, target, "k", NULL) && has_on(&b, target, "l", "1") && has(&b, "l", NULL));
    CHECK(has(&b, "inherited", "b") && has_on(&b, target, "inherited", NULL));
    MUST(helios_close(b.db));
    node_open(&b);
    CHECK(has_on(&b, target, "k", NULL) && has_on(&b, target, "l", "1") && has_on(&b, target, "other", "b"));
    CHECK(bring(&a, &b, 1, &options) == 0);
    target = 99;
    MUST(helios_put(a.db, &write, text("k"), text("2")));
    feed = feed_of(&a, helios_latest(a.db));
    MUST(helios_changes_next_commit(feed, 0, &changes, &n));
    GETS(HELIOS_NOT_FOUND, helios_apply(b.db, &options, changes, n, NULL));
    CHECK(strstr(helios_last_error(), "branch"));
    helios_changes_free(feed);
    node_end(&a);
    node_end(&b);
}

static unsigned count_changes(struct node *n, uint32_t kinds, const uint8_t *origin, bool for_apply)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *changes = NULL;
    helios_change change;
    unsigned count = 0;

    options.unsynced = true;
    options.kinds = kinds;
    options.origin = origin;
    options.for_apply = for_apply;
    MUST(helios_changes_new(n->db, &options, &changes));
    for (; helios_changes_next(changes, 0, &change) == HELIOS_OK; count++) {
        CHECK(!kinds || kinds >> change.kind & 1 || change.kind == HELIOS_CHANGE_NONE);
        CHECK(!origin || memcmp(change.origin, origin, 16) == 0);
        CHECK(change.vector_clock.size);
    }
    helios_changes_free(changes);
    return count;
}

static void test_filters(void)
{
    struct node a, b;
    uint8_t other[16] = {9};

    node_begin(&a, 1);
    node_begin(&b, 2);
    put(&a, "k", "1");
    MUST(helios_delete(a.db, NULL, text("l")));
    MUST(helios_delete_range(a.db, NULL, text("m"), text("n")));
    put(&b, "mine", "1");
    put(&b, "k", "b");
    put(&b, "k", "b");
    put(&b, "k", "b"); /* the greater sum */
    CHECK(bring(&a, &b, 1, NULL) == 3);
    CHECK(has(&b, "k", "b"));
    CHECK(count_changes(&b, 0, NULL, false) == 6 && count_changes(&b, 0, NULL, true) == 7);
    CHECK(count_changes(&b, 1 << HELIOS_CHANGE_PUT, NULL, false) == 4);
    CHECK(count_changes(&b, 1 << HELIOS_CHANGE_DELETE | 1 << HELIOS_CHANGE_DELETE_RANGE, NULL, false) == 2);
    CHECK(count_changes(&b, 0, a.id, false) == 2 && count_changes(&b, 0, b.id, false) == 4);
    CHECK(count_changes(&b, 0, b.id, true) == 4 && count_changes(&b, 0, other, true) == 0);
    node_end(&a);
    node_end(&b);
}

/* ---- archives ---- */

static bool first_segment_is_archived(struct node *n)
{
    struct io_stat stat;

    return io_stat(n->fs, "/node/wal/00000001.arc", &stat) == HELIOS_OK;
}

/* Own changes of one prefix, each with the clock that a cursor which passes over nothing gives. */
static uint64_t compare_clocks(struct node *n, struct node *of, const char *prefix)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *all = NULL, *some = NULL;
    helios_change one, other;
    helios_seq number;
    uint64_t greatest = 0;

    options.unsynced = true;
    MUST(helios_changes_new(n->db, &options, &all));
    options.prefix = text(prefix);
    MUST(helios_changes_new(n->db, &options, &some));
    while (helios_changes_next(some, 0, &other) == HELIOS_OK) {
        do
            MUST(helios_changes_next(all, 0, &one));
        while (one.lsn != other.lsn);
        CHECK(slice_equal(one.vector_clock, other.vector_clock));
        MUST(helios_clock_get(other.vector_clock, of->id, &number));
        greatest = number;
    }
    helios_changes_free(all);
    helios_changes_free(some);
    return greatest;
}

/* A cursor with a prefix passes over frames of an archive, but not over what was applied there. */
static void test_archives(void)
{
    static char value[2000];
    struct node a, b;
    char key[32];

    node_begin(&a, 1);
    node_begin(&b, 2);
    memset(value, 'v', sizeof(value));
    for (int i = 0; i < 8; i++)
        put(&a, "k", "1");
    for (int i = 0; !first_segment_is_archived(&b); i++) {
        helios_slice wanted = slice_make(key, (size_t)sprintf(key, i % 50 ? "other%04d" : "wanted%04d", i));

        CHECK(i < 100000);
        MUST(helios_put(b.db, NULL, wanted, slice_make(value, sizeof(value))));
        if (i == 20)
            CHECK(bring(&a, &b, 1, NULL) == 8);
        if (i % 500 == 499) {
            MUST(helios_flush(b.db)); /* the log before it is the feed's alone */
            thread_sleep(2000);
        }
    }
    CHECK(compare_clocks(&b, &a, "wanted") == 8);
    node_end(&a);
    node_end(&b);
}

/* ---- through tables ---- */

static void test_large(void)
{
    helios_batch *batch = helios_batch_new();
    static char value[5000];
    char key[32];
    struct node a, b, c;

    node_begin(&a, 1);
    node_begin(&b, 2);
    node_begin(&c, 3);
    memset(value, 'v', sizeof(value));
    helios_batch_delete_range(batch, text("a"), text("z"));
    for (int i = 0; i < 600; i++)
        helios_batch_put(batch, slice_make(key, (size_t)sprintf(key, "key%04d", i)),
                         slice_make(value, sizeof(value)));
    put(&b, "inside", "small");
    for (int i = 0; i < 700; i++)
        put(&b, "key0300", "the greater");
    MUST(helios_write(a.db, NULL, batch, NULL));
    CHECK(bring(&a, &b, 1, NULL) == 1);
    CHECK(has(&b, "key0300", "the greater") && has(&b, "inside", NULL));
    MUST(helios_close(b.db));
    node_open(&b);
    CHECK(bring(&a, &b, 1, NULL) == 0 && has(&b, "key0300", "the greater"));
    CHECK(bring(&b, &c, 1, NULL) == 702);
    CHECK(has(&c, "key0300", "the greater") && has(&c, "inside", NULL));
    CHECK(bring(&a, &c, 1, NULL) == 0);
    helios_batch_free(batch);
    node_end(&a);
    node_end(&b);
    node_end(&c);
}

/* ---- beside others ---- */

static void test_transactions(void)
{
    helios_txn_options options = HELIOS_TXN_OPTIONS_INIT;
    helios_buf value = {0};
    helios_txn *writes, *reads, *free_one;
    struct node a, b;

    node_begin(&a, 1);
    node_begin(&b, 2);
    put(&a, "k", "1");
    MUST(helios_txn_begin(b.db, &options, &writes));
    options.isolation = HELIOS_ISOLATION_SERIALIZABLE;
    MUST(helios_txn_begin(b.db, &options, &reads));
    MUST(helios_txn_begin(b.db, &options, &free_one));
    MUST(helios_txn_put(writes, text("k"), text("mine")));
    GETS(HELIOS_NOT_FOUND, helios_txn_get(reads, text("k"), &value));
    MUST(helios_txn_put(reads, text("r"), text("mine")));
    MUST(helios_txn_put(free_one, text("f"), text("mine")));
    CHECK(bring(&a, &b, 1, NULL) == 1);
    GETS(HELIOS_CONFLICT, helios_txn_commit(writes, NULL));
    GETS(HELIOS_CONFLICT, helios_txn_commit(reads, NULL));
    MUST(helios_txn_commit(free_one, NULL));
    helios_txn_free(writes);
    helios_txn_free(reads);
    helios_txn_free(free_one);
    helios_buf_free(&value);
    CHECK(has(&b, "k", "1"));
    node_end(&a);
    node_end(&b);
}

/* Without memory nothing happens, and the next try is right. */
static void test_memory(void)
{
    helios_apply_options options = HELIOS_APPLY_OPTIONS_INIT;
    helios_batch *batch = helios_batch_new();
    const helios_change *changes;
    helios_changes *feed;
    helios_status status = HELIOS_NO_MEMORY;
    struct node a, b;
    size_t n;

    node_begin(&a, 1);
    node_begin(&b, 2);
    put(&b, "j", "b");
    put(&b, "k", "b");
    helios_batch_delete_range(batch, text("a"), text("z"));
    helios_batch_put(batch, text("k"), text("a"));
    helios_batch_put(batch, text("l"), text("a"));
    MUST(helios_write(a.db, NULL, batch, NULL));
    options.resolve = resolve;
    options.arg = &asked;
    answer = HELIOS_TAKE_VALUE;
    feed = feed_of(&a, 1);
    MUST(helios_changes_next_commit(feed, 0, &changes, &n));
    mem_fail_thread_only(true);
    for (uint64_t at = 1; status != HELIOS_OK; at++) {
        helios_seq latest = helios_latest(b.db);

        mem_fail_at(at, false);
        status = helios_apply(b.db, &options, changes, n, NULL);
        mem_fail_at(0, false);
        CHECK(status == HELIOS_OK || status == HELIOS_NO_MEMORY || status == HELIOS_CONFLICT);
        CHECK(status == HELIOS_OK || helios_latest(b.db) == latest);
        CHECK(status == HELIOS_OK || (has(&b, "k", "b") && has(&b, "l", NULL) && applied(&b, &a) == 0));
    }
    mem_fail_thread_only(false);
    CHECK(has(&b, "k", "both") && has(&b, "j", "both") && has(&b, "l", "a") && applied(&b, &a) == 3);
    helios_changes_free(feed);
    feed = NULL;
    status = HELIOS_NO_MEMORY;
    mem_fail_thread_only(true);
    for (uint64_t at = 1; status != HELIOS_OK; at++) {
        helios_changes_options wanted = HELIOS_CHANGES_OPTIONS_INIT;

        wanted.from = 3;
        wanted.unsynced = wanted.for_apply = true;
        mem_fail_at(at, false);
        status = helios_changes_new(b.db, &wanted, &feed);
        if (status == HELIOS_OK)
            status = helios_changes_next_commit(feed, 0, &changes, &n);
        mem_fail_at(0, false);
        CHECK(status == HELIOS_OK || status == HELIOS_NO_MEMORY);
        if (status == HELIOS_OK)
            CHECK(changes[n - 1].commit_end && changes[0].origin_previous == 0);
        helios_changes_free(feed);
        feed = NULL;
    }
    mem_fail_thread_only(false);
    helios_batch_free(batch);
    node_end(&a);
    node_end(&b);
}

/* What is there after a cut is there with its row, and what was synced is there. */
static void test_power(void)
{
    static const enum io_damage damages[] = {IO_DAMAGE_DROP_ALL, IO_DAMAGE_SECTORS, IO_DAMAGE_GARBAGE};
    char value[32];
    struct node a, b;

    node_begin(&a, 1);
    node_begin(&b, 2);
    for (int i = 1; i <= 60; i++) {
        helios_apply_options options = HELIOS_APPLY_OPTIONS_INIT;
        helios_seq least, now;

        put(&a, "k", (sprintf(value, "%d", i), value));
        options.durability = HELIOS_DURABILITY_SYNC;
        (void)bring(&a, &b, applied(&b, &a) + 1, &options);
        least = applied(&b, &a);
        put(&a, "k", (sprintf(value, "%d later", i), value));
        options.durability = HELIOS_DURABILITY_ASYNC;
        CHECK(bring(&a, &b, applied(&b, &a) + 1, &options) == 1);
        seed++;
        node_cut(&b, damages[i % 3]);
        now = applied(&b, &a);
        CHECK(now == least || now == least + 1);
        CHECK(has(&b, "k", (sprintf(value, now == least ? "%d" : "%d later", i), value)));
    }
    node_end(&a);
    node_end(&b);
}

/* ---- what must not be lost, nor come into what is closed ---- */

/* The clock is one for all commits: if a later one survives its process, so must those before. */
static void test_durability(void)
{
    helios_apply_options options = HELIOS_APPLY_OPTIONS_INIT;
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    struct node a, b;

    node_begin(&a, 1);
    node_begin(&b, 2);
    MUST(helios_close(b.db));
    b.options.feed_retention = 0;
    node_open(&b);
    put(&a, "k", "1");
    options.durability = HELIOS_DURABILITY_NONE;
    CHECK(bring(&a, &b, 1, &options) == 1);
    put(&a, "l", "1");
    options.durability = HELIOS_DURABILITY_ASYNC;
    CHECK(bring(&a, &b, 1, &options) == 1);
    write.durability = HELIOS_DURABILITY_SYNC;
    MUST(helios_put(b.db, &write, text("m"), text("1")));
    node_cut(&b, IO_DAMAGE_DROP_ALL);
    CHECK(applied(&b, &a) == 2 && has(&b, "l", "1") && has(&b, "k", "1"));
    node_end(&a);
    node_end(&b);
}

struct while_closing {
    struct node *from, *to;
    helios_status status;
};

static helios_resolution apply_meanwhile(void *arg, const helios_merge_conflict *conflict, helios_buf *value)
{
    helios_apply_options options = HELIOS_APPLY_OPTIONS_INIT;
    struct while_closing *w = arg;
    helios_changes *feed = feed_of(w->from, 1);
    const helios_change *changes;
    size_t n;

    (void)conflict;
    (void)value;
    options.branch_of = branch_of;
    MUST(helios_changes_next_commit(feed, 0, &changes, &n));
    w->status = helios_apply(w->to->db, &options, changes, n, NULL);
    helios_changes_free(feed);
    return HELIOS_TAKE_THEIRS;
}

/* A branch that a merge closes takes no writes, of other nodes neither: the merge would not have them. */
static void test_closing(void)
{
    helios_merge_options merge = HELIOS_MERGE_OPTIONS_INIT;
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    struct node a, b;
    struct while_closing w = {.from = &a, .to = &b};

    node_begin(&a, 1);
    node_begin(&b, 2);
    MUST(helios_branch_create(a.db, "work", 0, 0, &write.branch));
    MUST(helios_put(a.db, &write, text("late"), text("1")));
    MUST(helios_branch_create(b.db, "work", 0, 0, &target));
    put(&b, "k", "main");
    write.branch = target;
    MUST(helios_put(b.db, &write, text("k"), text("work")));
    merge.close_source = true;
    merge.resolve = apply_meanwhile;
    merge.arg = &w;
    merge.strategy = HELIOS_MERGE_RESOLVE;
    MUST(helios_branch_merge(b.db, target, 0, &merge, NULL));
    CHECK(w.status == HELIOS_BUSY && applied(&b, &a) == 0);
    CHECK(has(&b, "k", "work") && has_on(&b, target, "late", NULL));
    node_end(&a);
    node_end(&b);
}

/* One commit there that is two here, of another node and its own: both, or neither. */
static void test_both_parts(void)
{
    helios_apply_options options = HELIOS_APPLY_OPTIONS_INIT;
    struct node a, b, c;
    helios_batch *batch = helios_batch_new();

    node_begin(&a, 1);
    node_begin(&b, 2);
    node_begin(&c, 3);
    put(&a, "k", "a");
    helios_batch_put(batch, text("k"), text("b"));
    helios_batch_put(batch, text("l"), text("b"));
    MUST(helios_write(b.db, NULL, batch, NULL));
    helios_batch_free(batch);
    options.resolve = resolve;
    options.arg = &asked;
    answer = HELIOS_TAKE_THEIRS;
    CHECK(bring(&b, &a, 1, &options) == 1);
    GETS(HELIOS_GAP, apply_one(&a, helios_latest(a.db), &c, false)); /* without the first one of a */
    CHECK(has(&c, "l", NULL) && applied(&c, &b) == 0);
    CHECK(bring(&a, &c, 1, NULL) == 3 && has(&c, "k", "b") && has(&c, "l", "b"));
    node_end(&a);
    node_end(&b);
    node_end(&c);
}

/* What came after a commit of this database that the power has taken is refused: nobody brings that commit back. */
static void test_lost(void)
{
    struct node a, b;
    helios_seq seen;

    node_begin(&a, 1);
    node_begin(&b, 2);
    put(&a, "k", "1");
    MUST(helios_sync(a.db));
    put(&a, "l", "1");
    CHECK(bring(&a, &b, 1, NULL) == 2); /* also what is not durable yet */
    node_cut(&a, IO_DAMAGE_DROP_ALL);
    CHECK(has(&a, "l", NULL));
    put(&b, "m", "1");
    seen = helios_latest(b.db);
    GETS(HELIOS_GAP, apply_one(&b, seen, &a, false));
    CHECK(strstr(helios_last_error(), "lost"));
    put(&a, "n", "1"); /* beyond what was lost */
    GETS(HELIOS_GAP, apply_one(&b, seen, &a, false));
    CHECK(has(&a, "m", NULL) && applied(&a, &b) == 0);
    node_end(&a);
    node_end(&b);
}

/* ---- what nobody sends ---- */

static void test_hostile(void)
{
    struct node a, b;
    helios_changes *feed;
    const helios_change *changes;
    size_t n;

    node_begin(&a, 1);
    node_begin(&b, 2);
    put(&a, "k", "1");
    feed = feed_of(&a, 1);
    MUST(helios_changes_next_commit(feed, 0, &changes, &n));
    for (int i = 0; i < 3000; i++) {
        unsigned char clock[48];
        helios_change c = changes[0];
        helios_apply_result result;

        memcpy(clock, c.vector_clock.data, 24);
        memcpy(clock + 24, clock, 24);
        clock[24] = (unsigned char)below(4);
        clock[below(48)] ^= (unsigned char)(1 << below(8));
        c.vector_clock = slice_make(clock, below(3) ? 24 : below(49));
        switch (below(8)) {
        case 0: c.kind = (helios_change_kind)below(9); break;
        case 1: c.key = (helios_slice){0}; break;
        case 2: c.value = (helios_slice){0}; break;
        case 3: c.origin_previous = below(2) ? UINT64_MAX : below(3); break;
        case 4: c.origin[below(16)] ^= 1; break;
        case 5: c.branch = (helios_branch_id)below(3); break;
        case 6: c.space = (uint8_t)below(256); break;
        default: c.origin_lsn = below(2) ? UINT64_MAX : 0; break;
        }
        if (helios_apply(b.db, NULL, &c, 1, &result) == HELIOS_OK && i % 64 == 0) {
            MUST(helios_close(b.db));
            node_open(&b);
        }
    }
    GETS(HELIOS_INVALID, helios_apply(b.db, NULL, changes, 0, NULL));
    GETS(HELIOS_INVALID, helios_apply(b.db, NULL, NULL, 1, NULL));
    GETS(HELIOS_INVALID, helios_apply(NULL, NULL, changes, 1, NULL));
    helios_changes_free(feed);
    (void)count_changes(&b, 0, NULL, true);
    node_end(&a);
    node_end(&b);
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "--seed") == 0)
        seed = strtoull(argv[2], NULL, 10);
    printf("seed %" PRIu64 "\n", seed);
    random_seed(&rng, seed);
    test_clock_model();
    test_clock_cases();
    test_repetition();
    test_gaps();
    test_resume();
    test_new_consumer(false);
    test_new_consumer(true);
    test_default_rule();
    test_call_back();
    test_ranges();
    test_branches();
    test_filters();
    test_archives();
    test_large();
    test_transactions();
    test_memory();
    test_power();
    test_durability();
    test_closing();
    test_both_parts();
    test_lost();
    test_hostile();
    return 0;
}
