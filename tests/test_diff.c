/* test_diff.c - differences through the public API, against whole walks of both points: random trees of branches,
 * forks in the past, writes of the same bytes again, range deletes, large values, flushes, compactions, reopening, also
 * in the middle of a walk; with all history kept, or none but what tags, forks and snapshots pin. And comparisons of
 * several states at once, what a difference costs, failing allocations, and differences while others write.
 * Usage: test_diff [--seed S] [--steps N] [--threads ROUNDS] */
#undef NDEBUG
#include "base/mem.h"
#include "base/random.h"
#include "engine/compare.h"
#include "io/io.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEYS = 300, BRANCHES_MAX = 12, POINTS_MAX = 24, LARGE = 300000, STATES = 4 };

/* A point that stays readable. */
struct point {
    uint32_t branch; /* tagged ones: of it alone */
    helios_seq seq;
    bool tagged;
    helios_snapshot *snapshot; /* NULL: a tag, or nothing is collected */
};

/* A state, as a walk shows it. */
struct state_copy {
    bool there[KEYS];
    uint64_t hash[KEYS];
    helios_seq seq[KEYS];
};

static struct point points[POINTS_MAX];
static size_t point_count;
static helios_branch_id parents[BRANCHES_MAX + 1];
static bool dropped[BRANCHES_MAX + 1];
static uint32_t branch_count;
static helios_db *db;
static struct io_fs *fs;
static helios_options options;
static struct random rng;
static uint64_t seed = 1, step, differences, tag_number;
static char *large;

#define MUST(call) must((call), #call, __LINE__)
static void must(helios_status status, const char *what, int line)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "line %d, seed %" PRIu64 ", step %" PRIu64 ": %s: %s %s\n", line, seed, step, what,
            helios_status_name(status), helios_last_error());
    abort();
}
#define CHECK(x)                                                                                               \
    do {                                                                                                       \
        if (!(x)) {                                                                                            \
            fprintf(stderr, "line %d, seed %" PRIu64 ", step %" PRIu64 ": not so: %s\n", __LINE__, seed, step, \
                    #x);                                                                                       \
            abort();                                                                                           \
        }                                                                                                      \
    } while (0)

static uint32_t below(uint32_t limit)
{
    return (uint32_t)random_below(&rng, limit);
}

/* In order, of several sizes; the first is empty. */
static helios_slice key_of(uint32_t key, char out[64])
{
    return slice_make(out, key ? (size_t)sprintf(out, "key%03u%s", key, key % 5 ? "" : "-and-more-behind") : 0);
}

static uint32_t number_of(helios_slice key)
{
    const char *digits = (const char *)key.data + 3;

    return key.size ? (uint32_t)((digits[0] - '0') * 100 + (digits[1] - '0') * 10 + digits[2] - '0') : 0;
}

static uint64_t hash_of(helios_slice value)
{
    return hash_key(value);
}

static uint32_t some_branch(void)
{
    uint32_t branch;

    do
        branch = below(branch_count);
    while (dropped[branch]);
    return branch;
}

/* ---- writing ---- */

static helios_slice some_value(char out[32])
{
    if (below(400) == 0) {
        memset(large, 'a' + (int)below(3), LARGE);
        return slice_make(large, LARGE - below(2));
    }
    return slice_make(out, (size_t)sprintf(out, "value %u", below(below(2) ? 3 : 1000)));
}

static void write_some(void)
{
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    helios_batch *batch = helios_batch_new();
    uint32_t count = 1 + below(below(10) ? 4 : 200);
    char from[64], to[64], value[32];

    write.branch = some_branch();
    while (count-- > 0) {
        uint32_t key = below(KEYS), end = key + 1 + below(below(3) ? 10 : 150);

        switch (below(60)) {
        case 0: helios_batch_delete_range(batch, key_of(key, from), key_of(end, to)); break;
        case 1:
        case 2:
        case 3:
        case 4:
        case 5:
        case 6:
        case 7: helios_batch_delete(batch, key_of(key, from)); break;
        default: helios_batch_put(batch, key_of(key, from), some_value(value));
        }
    }
    MUST(helios_write(db, &write, batch, NULL));
    helios_batch_free(batch);
}

static void fork_some(void)
{
    struct point *point = point_count && below(2) ? &points[below((uint32_t)point_count)] : NULL;
    uint32_t parent = point && !dropped[point->branch] ? point->branch : some_branch();
    helios_branch_id id;
    char name[32];

    if (branch_count > BRANCHES_MAX)
        return;
    sprintf(name, "branch %u", branch_count);
    MUST(helios_branch_create(db, name, parent, point && parent == point->branch ? point->seq : 0, &id));
    CHECK(id == branch_count);
    parents[branch_count++] = parent;
}

static void drop_some(void)
{
    uint32_t branch = some_branch();
    bool used = branch == 0;

    for (uint32_t i = 1; i < branch_count; i++)
        used |= !dropped[i] && parents[i] == branch;
    for (size_t i = 0; i < point_count; i++)
        used |= points[i].branch == branch;
    if (used)
        return;
    MUST(helios_branch_drop(db, branch));
    dropped[branch] = true;
}

static void keep_point(void)
{
    struct point *point = &points[point_count < POINTS_MAX ? point_count : below(POINTS_MAX)];
    char name[32];

    if (point_count < POINTS_MAX) {
        point_count++;
    } else if (point->tagged) { /* a tag stays: another time */
        return;
    } else {
        helios_snapshot_free(db, point->snapshot);
    }
    *point = (struct point){.branch = some_branch(), .tagged = below(2)};
    MUST(helios_snapshot_new(db, 0, &point->snapshot));
    point->seq = helios_snapshot_seq(point->snapshot);
    if (!point->tagged)
        return;
    sprintf(name, "tag %" PRIu64, tag_number++);
    MUST(helios_tag_create(db, name, point->branch, point->seq));
    helios_snapshot_free(db, point->snapshot);
    point->snapshot = NULL;
}

static void let_go_of_snapshots(void)
{
    size_t kept = 0;

    for (size_t i = 0; i < point_count; i++) {
        if (points[i].tagged) {
            points[kept++] = points[i];
            continue;
        }
        helios_snapshot_free(db, points[i].snapshot);
    }
    point_count = kept;
}

static void reopen(void)
{
    let_go_of_snapshots();
    MUST(helios_close(db));
    MUST(engine_open(fs, "/db", &options, &db));
}

/* What changes nothing that is there. */
static void stir(void)
{
    switch (below(8)) {
    case 0: MUST(helios_flush(db)); break;
    case 1: MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0})); break;
    default: write_some();
    }
}

/* ---- checking ---- */

static helios_point some_point(void)
{
    struct point *point = point_count && below(4) ? &points[below((uint32_t)point_count)] : NULL;
    helios_seq latest = helios_latest(db);
    bool all = options.history_retention == HELIOS_FOREVER && below(2);

    if (below(40) == 0)
        return (helios_point){some_branch(), HELIOS_SEQ_NONE};
    if (all && latest)
        return (helios_point){some_branch(), 1 + random_below(&rng, latest)};
    if (point)
        return (helios_point){point->snapshot ? some_branch() : point->branch, point->seq};
    return (helios_point){some_branch(), 0};
}

static void copy_state(helios_point point, struct state_copy *copy)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_iter *it;

    memset(copy, 0, sizeof(*copy));
    read.branch = point.branch;
    read.at = point.at;
    MUST(helios_iter_new(db, &read, &it));
    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it)) {
        uint32_t key = number_of(helios_iter_key(it));

        CHECK(key < KEYS);
        copy->there[key] = true;
        copy->hash[key] = hash_of(helios_iter_value(it));
        copy->seq[key] = helios_iter_seq(it);
    }
    MUST(helios_iter_status(it));
    helios_iter_free(it);
}

static bool differs(const struct state_copy *a, const struct state_copy *b, uint32_t key)
{
    return a->there[key] != b->there[key] || (a->there[key] && a->hash[key] != b->hash[key]);
}

static void check_difference(const helios_difference *d, uint32_t key, const struct state_copy *from,
                             const struct state_copy *to, bool keys_only)
{
    char k[64];

    CHECK(slice_equal(d->key, key_of(key, k)));
    CHECK(d->in_from == from->there[key] && d->in_to == to->there[key]);
    CHECK(d->from_seq == from->seq[key] && d->to_seq == to->seq[key]);
    if (keys_only) {
        CHECK(!d->from.data && !d->to.data);
        return;
    }
    CHECK(d->in_from ? hash_of(d->from) == from->hash[key] : !d->from.data);
    CHECK(d->in_to ? hash_of(d->to) == to->hash[key] : !d->to.data);
}

static void check_counts(helios_point a, helios_point b, const helios_diff_options *bounds, uint32_t low,
                         uint32_t high, const struct state_copy *from, const struct state_copy *to)
{
    helios_diff_counts counts, wanted = {0};

    for (uint32_t key = low; key < high; key++)
        if (differs(from, to, key))
            *(!from->there[key] ? &wanted.added : !to->there[key] ? &wanted.removed : &wanted.changed) += 1;
    MUST(helios_diff_count(db, a, b, bounds, &counts));
    CHECK(memcmp(&counts, &wanted, sizeof(counts)) == 0);
}

/* With all that was found; the walk may be stirred on the way. */
static void check_walk(helios_point a, helios_point b, bool stirred)
{
    static struct state_copy from, to;
    helios_diff_options bounds = HELIOS_DIFF_OPTIONS_INIT;
    uint32_t low = below(2) ? below(KEYS) : 0, high = below(2) ? below(KEYS + 1) : KEYS, key = low;
    char l[64], h[64];
    helios_difference d;
    helios_diff *diff;

    bounds.keys_only = below(3) == 0;
    bounds.no_cache_fill = below(2);
    if (low)
        bounds.lower = key_of(low, l);
    if (high < KEYS)
        bounds.upper = key_of(high, h);
    copy_state(a, &from);
    copy_state(b, &to);
    MUST(helios_diff_new_with(db, a, b, &bounds, &diff));
    while (helios_diff_next(diff, &d)) {
        while (key < high && !differs(&from, &to, key))
            key++;
        CHECK(key < high);
        check_difference(&d, key++, &from, &to, bounds.keys_only);
        differences++;
        if (stirred && below(10) == 0)
            stir();
    }
    MUST(helios_diff_status(diff));
    CHECK(!helios_diff_next(diff, &d));
    while (key < high && !differs(&from, &to, key))
        key++;
    CHECK(key >= high);
    helios_diff_free(diff);
    if (!stirred)
        check_counts(a, b, &bounds, low, high, &from, &to);
}

static void check_diff(bool stirred)
{
    check_walk(some_point(), some_point(), stirred);
}

/* Three or four states in pairs that share some: each key that differs in a pair comes, once, in order. */
static void check_compare(void)
{
    static const uint8_t pairs[][2] = {{0, 1}, {0, 2}, {3, 1}};
    static struct state_copy copies[STATES];
    struct state_point states[STATES];
    helios_snapshot *pins[STATES] = {0};
    struct compare_options wanted = {.states = states,
                                     .state_count = STATES,
                                     .pairs = pairs,
                                     .pair_count = 1 + below(3),
                                     .fill_cache = true};
    struct compare *c;
    uint32_t key = 0;

    for (size_t i = 0; i < STATES; i++) {
        helios_point point = some_point();

        if (point.at == 0)
            MUST(helios_snapshot_new(db, 0, &pins[i]));
        states[i] = (struct state_point){point.branch, pins[i] ? helios_snapshot_seq(pins[i])
                                                       : point.at == HELIOS_SEQ_NONE ? 0
                                                                                     : point.at};
        point.at = states[i].seq ? states[i].seq : HELIOS_SEQ_NONE;
        copy_state(point, &copies[i]);
    }
    MUST(compare_new(db, &wanted, &c));
    while (compare_next(c)) {
        uint32_t now = number_of(compare_key(c));

        for (; key <= now; key++)
            for (size_t p = 0; p < wanted.pair_count && key < now; p++)
                CHECK(!differs(&copies[pairs[p][0]], &copies[pairs[p][1]], key));
        CHECK(key == now + 1);
        for (size_t n = below(4); n > 0; n--) {
            size_t i = below(STATES), j = below(STATES);
            helios_slice value;
            bool equal;

            CHECK(compare_has(c, i) == copies[i].there[now]);
            CHECK(compare_seq(c, i) == copies[i].seq[now]);
            MUST(compare_equal(c, i, j, &equal));
            CHECK(equal == !differs(&copies[i], &copies[j], now));
            if (!copies[i].there[now])
                continue;
            MUST(compare_value(c, i, &value));
            CHECK(hash_of(value) == copies[i].hash[now]);
        }
        if (below(30) == 0)
            stir();
    }
    MUST(compare_status(c));
    for (; key < KEYS; key++)
        for (size_t p = 0; p < wanted.pair_count; p++)
            CHECK(!differs(&copies[pairs[p][0]], &copies[pairs[p][1]], key));
    compare_free(c);
    for (size_t i = 0; i < STATES; i++)
        helios_snapshot_free(db, pins[i]);
}

static void check_bad_calls(void)
{
    helios_point none = {.branch = 999}, here = {0}, future = {.at = helios_latest(db) + 1};
    helios_diff_counts counts;
    helios_diff *diff = NULL;

    CHECK(helios_diff_new(db, none, here, &diff) == HELIOS_NOT_FOUND);
    CHECK(helios_diff_new(db, here, none, &diff) == HELIOS_NOT_FOUND);
    CHECK(helios_diff_new(db, here, future, &diff) == HELIOS_INVALID);
    CHECK(helios_diff_new(NULL, here, here, &diff) == HELIOS_INVALID);
    CHECK(helios_diff_new(db, here, here, NULL) == HELIOS_INVALID);
    CHECK(helios_diff_count(db, here, here, NULL, NULL) == HELIOS_INVALID);
    CHECK(helios_diff_status(NULL) == HELIOS_INVALID);
    MUST(helios_diff_new(db, here, here, &diff));
    CHECK(helios_close(db) == HELIOS_BUSY);
    helios_diff_free(diff);
    diff = NULL;
    CHECK(!helios_diff_next(NULL, NULL) && !diff);
    helios_diff_free(NULL);
    MUST(helios_diff_count(db, here, here, NULL, &counts));
    CHECK(counts.added + counts.removed + counts.changed == 0);
}

static void one_step(void)
{
    switch (below(40)) {
    case 0: MUST(helios_flush(db)); break;
    case 1: MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0})); break;
    case 2:
        if (below(4) == 0)
            reopen();
        break;
    case 3: drop_some(); break;
    case 4:
    case 5: fork_some(); break;
    case 6:
    case 7:
    case 8: keep_point(); break;
    case 9:
    case 10:
    case 11:
    case 12: check_diff(false); break;
    case 13: check_diff(true); break;
    case 14: check_compare(); break;
    default: write_some();
    }
}

static void open_small(uint64_t retention)
{
    options = (helios_options)HELIOS_OPTIONS_INIT;
    options.memtable_bytes = 64 << 10;
    options.block_bytes = 1024;
    options.history_retention = retention;
    options.durability = HELIOS_DURABILITY_NONE;
    branch_count = 1;
    point_count = 0;
    memset(dropped, 0, sizeof(dropped));
    MUST(io_memory_new(&fs));
    MUST(engine_open(fs, "/db", &options, &db));
}

static void run_model(uint64_t retention, uint64_t steps)
{
    open_small(retention);
    for (step = 0; step < steps; step++)
        one_step();
    check_bad_calls();
    let_go_of_snapshots();
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_close(db));
    io_free(fs);
}

/* ---- what it costs ---- */

static uint64_t metric(const char *name)
{
    uint64_t value;

    MUST(helios_stat(db, name, &value));
    return value;
}

static void put_row(helios_branch_id branch, uint32_t row, uint32_t version)
{
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    char key[32], value[100];

    write.branch = branch;
    memset(value, '.', sizeof(value));
    memcpy(value, &version, sizeof(version));
    sprintf(key, "row%08u", row);
    MUST(helios_put(db, &write, slice_text(key), slice_make(value, sizeof(value))));
}

/* Blocks read for a difference of `changed` keys. */
static uint64_t blocks_for(helios_point from, helios_point to, uint64_t changed)
{
    helios_diff_options given = HELIOS_DIFF_OPTIONS_INIT;
    helios_diff_counts counts;
    uint64_t before;

    given.no_cache_fill = true;
    MUST(helios_diff_count(db, from, to, &given, &counts)); /* opens what files it needs */
    before = metric("cache.misses") + metric("cache.hits");
    MUST(helios_diff_count(db, from, to, &given, &counts));
    CHECK(counts.changed == changed && counts.added + counts.removed == 0);
    return metric("cache.misses") + metric("cache.hits") - before;
}

/* One row of many that are compacted: on a branch, and between two points of one branch, before and after its block was
 * rewritten with others. */
static void check_costs(void)
{
    enum { ROWS = 60000 };
    helios_point then, now = {0}, fork = {0};
    uint64_t blocks;

    options = (helios_options)HELIOS_OPTIONS_INIT;
    options.memtable_bytes = 1 << 20;
    options.history_retention = HELIOS_FOREVER;
    options.durability = HELIOS_DURABILITY_NONE;
    MUST(io_memory_new(&fs));
    MUST(engine_open(fs, "/db", &options, &db));
    for (uint32_t i = 0; i < ROWS; i++)
        put_row(0, i, 0);
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    then = (helios_point){0, helios_latest(db)};
    MUST(helios_branch_create(db, "b", 0, 0, &fork.branch));
    put_row(fork.branch, ROWS / 3, 1);
    put_row(0, ROWS / 2, 1);
    for (int i = 0; i < 3; i++) {
        CHECK((blocks = blocks_for(then, now, 1)) <= 16);
        printf("%d: a point and main: %" PRIu64, i, blocks);
        CHECK((blocks = blocks_for(then, fork, 1)) <= 16);
        printf(", a branch and its base: %" PRIu64, blocks);
        CHECK((blocks = blocks_for(fork, now, 2)) <= 32);
        printf(", a branch and main: %" PRIu64 " blocks\n", blocks);
        if (i == 0)
            MUST(helios_flush(db));
        else
            MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    }
    MUST(helios_close(db));
    io_free(fs);
}

/* ---- without memory ---- */

/* HELIOS_OK, or where it ended; what came before that is right. */
static helios_status walk_all(helios_point from, helios_point to, uint64_t *count)
{
    helios_diff *diff;
    helios_difference d;
    helios_status status = helios_diff_new(db, from, to, &diff);

    *count = 0;
    if (status != HELIOS_OK)
        return status;
    while (helios_diff_next(diff, &d)) {
        CHECK(d.in_from || d.in_to);
        ++*count;
    }
    status = helios_diff_status(diff);
    CHECK(!helios_diff_next(diff, &d) && helios_diff_status(diff) == status);
    helios_diff_free(diff);
    return status;
}

/* Each allocation of a difference fails once: with a range delete, large values, tables and memtables. */
static void check_memory(void)
{
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    helios_point from = {0}, to = {0};
    uint64_t wanted, count;
    helios_status status;
    char a[64], b[64];

    open_small(HELIOS_FOREVER);
    for (int i = 0; i < 200; i++)
        write_some();
    fork_some();
    write.branch = to.branch = 1;
    MUST(helios_flush(db));
    memset(large, 'x', LARGE);
    MUST(helios_delete_range(db, &write, key_of(20, a), key_of(150, b)));
    MUST(helios_put(db, &write, key_of(15, a), slice_make(large, LARGE)));
    MUST(helios_put(db, NULL, key_of(15, a), slice_make(large, LARGE)));
    MUST(helios_put(db, NULL, key_of(16, a), slice_make(large, LARGE)));
    MUST(helios_put(db, &write, key_of(160, a), slice_make("y", 1)));
    MUST(walk_all(from, to, &wanted));
    mem_fail_thread_only(true);
    do {
        mem_fail_at(++step, false);
        status = walk_all(from, to, &count);
        mem_fail_at(0, false);
        CHECK(status == HELIOS_OK || status == HELIOS_NO_MEMORY);
        CHECK(status == HELIOS_OK ? count == wanted : count <= wanted);
    } while (status != HELIOS_OK || step < 10);
    mem_fail_thread_only(false);
    printf("%" PRIu64 " allocations failed\n", step);
    MUST(helios_close(db));
    io_free(fs);
}

/* ---- beside others ---- */

static _Atomic bool over;

static void *write_on(void *arg)
{
    struct random own;
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    char from[64], to[64], value[32];

    random_seed(&own, seed + (uintptr_t)arg);
    while (!atomic_load(&over)) {
        uint32_t key = (uint32_t)random_below(&own, KEYS);

        write.branch = (helios_branch_id)random_below(&own, 3);
        if (random_below(&own, 500) == 0)
            MUST(helios_delete_range(db, &write, key_of(key, from), key_of(key + 20, to)));
        else if (random_below(&own, 4) == 0)
            MUST(helios_delete(db, &write, key_of(key, from)));
        else
            MUST(helios_put(db, &write, key_of(key, from),
                            slice_make(value, (size_t)sprintf(value, "%" PRIu64, random_below(&own, 5)))));
        if (random_below(&own, 20000) == 0)
            MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    }
    return NULL;
}

static void run_threads(uint64_t rounds)
{
    pthread_t threads[2];

    open_small(0);
    while (branch_count < 3)
        fork_some();
    for (size_t i = 0; i < 2; i++)
        MUST(thread_start(&threads[i], "writer", write_on, (void *)(i + 1)));
    for (step = 0; step < rounds; step++) {
        point_count = 0; /* the last ones stay pinned for this round */
        keep_point();
        keep_point();
        check_walk((helios_point){points[0].branch, points[0].seq},
                   (helios_point){points[1].branch, points[1].seq}, false);
        let_go_of_snapshots();
    }
    atomic_store(&over, true);
    for (size_t i = 0; i < 2; i++)
        thread_join(threads[i]);
    let_go_of_snapshots();
    MUST(helios_close(db));
    io_free(fs);
    printf("%" PRIu64 " differences\n", differences);
}

int main(int argc, char **argv)
{
    uint64_t steps = 4000, rounds = 0;

    for (int i = 1; i + 1 < argc; i += 2)
        *(strcmp(argv[i], "--seed") == 0      ? &seed
          : strcmp(argv[i], "--threads") == 0 ? &rounds
                                              : &steps) = strtoull(argv[i + 1], NULL, 10);
    printf("seed %" PRIu64 ", %" PRIu64 " steps\n", seed, steps);
    random_seed(&rng, seed);
    large = malloc(LARGE);
    assert(large);
    if (rounds) {
        run_threads(rounds);
        free(large);
        return 0;
    }
    check_costs();
    check_memory();
    run_model(HELIOS_FOREVER, steps / 2);
    run_model(0, steps);
    free(large);
    printf("%" PRIu64 " differences\n", differences);
    return 0;
}
