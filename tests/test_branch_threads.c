/* test_branch_threads.c - branches used by many threads at once, to be run under TSan too: writers, transactions, forks, drops,
 * diffs, and merges into one target from several sides while it is written to.
 *
 * While it runs, what a merge brings is there as a whole or not at all. Afterwards nothing that was acknowledged is
 * missing, and (as all history is kept) each merge that was recorded must have made of the target's state just before
 * it what the definition makes of that state, the source's and the base's: so no write that came in between was lost
 * to it.
 *
 *   test_branch_threads [--seconds N] [--seed N] [--disk] */
#undef NDEBUG
#include "base/random.h"
#include "base/thread.h"
#include "engine/engine_internal.h"
#include "engine/identity.h"
#include "tests/feed_replay.h"
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Keys, by their first letter:
 *   b/side/writer/number  put once on a side branch          c/round/writer/number  put once on a branch to be closed
 *   m/merger/number       put once on a fork, then merged     n/number               counters, by transactions on main
 *   o/number              put by all on main and on forks     p/merger/number        always all alike, from a fork
 *   w/writer/number       put once on main
 * m to p are held against the definition after every merge, the others after some. */
enum {
    WRITERS = 2,
    MERGERS = 2,
    SIDES = 2,
    COUNTERS = 3,
    SHARED = 12,
    ALIKE = 6,
    CLOSERS = 2,
    MERGES_MAX = 4000
};

struct merge_made {
    helios_seq commit;
    helios_merge_strategy strategy;
};

struct test {
    struct io_fs *fs;
    char path[128];
    helios_db *db;
    helios_options options;
    uint64_t seed, seconds;
    helios_branch_id sides[SIDES];
    _Atomic bool stop;
    bool on_disk;
    struct feed_replay *replay;         /* by its thread, then by main */
    _Atomic uint64_t counted[COUNTERS]; /* increments that were acknowledged */
    uint64_t put[WRITERS];              /* numbers on main, each by its writer alone */
    uint64_t put_on_side[WRITERS][SIDES];
    uint64_t merged[MERGERS]; /* numbers that must be on main */
    struct mutex mu;          /* of the merges made */
    struct merge_made merges[MERGES_MAX];
    size_t merge_count;
    /* The branch that is being closed. */
    _Atomic uint32_t round; /* closers' writers write while it is odd */
    _Atomic helios_branch_id closing;
    _Atomic unsigned writing; /* of them, how many have not met the end yet */
    _Atomic bool no_more_rounds;
    uint64_t put_on_closed[CLOSERS];
    _Atomic uint64_t diffs, walks, closed, drops;
};

struct worker {
    struct test *test;
    unsigned index;
    struct random rng;
};

static void must_at(int line, helios_status status)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "test_branch_threads.c:%d: %s: %s\n", line, helios_status_name(status),
            helios_last_error());
    abort();
}
#define MUST(call) must_at(__LINE__, call)

static uint64_t below(struct worker *w, uint64_t limit)
{
    return random_below(&w->rng, limit);
}

struct name {
    char text[48];
    helios_slice key;
};
static const struct name *name_of(struct name *name, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static const struct name *name_of(struct name *name, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    name->key.size = (size_t)vsnprintf(name->text, sizeof(name->text), format, arguments);
    va_end(arguments);
    name->key.data = name->text;
    return name;
}
#define KEY(...) (name_of(&(struct name){0}, __VA_ARGS__)->key)

static helios_slice number_slice(const uint64_t *number)
{
    return slice_make(number, sizeof(*number));
}

static uint64_t number_in(helios_slice value)
{
    uint64_t number;

    assert(value.size == sizeof(number));
    memcpy(&number, value.data, sizeof(number));
    return number;
}

static helios_status put(struct test *t, helios_branch_id branch, helios_slice key, uint64_t number)
{
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;

    write.branch = branch;
    return helios_put(t->db, &write, key, number_slice(&number));
}

static bool shows(struct test *t, helios_branch_id branch, helios_slice key, uint64_t *number)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_buf value = {0};
    helios_status status;

    read.branch = branch;
    status = helios_get(t->db, &read, key, &value);
    if (status == HELIOS_OK)
        *number = number_in(slice_make(value.data, value.size));
    else
        assert(status == HELIOS_NOT_FOUND);
    helios_buf_free(&value);
    return status == HELIOS_OK;
}

/* ---- writers on main and on the sides ---- */

struct increment {
    struct test *test;
    unsigned counter;
};

static helios_status increment(void *arg, helios_txn *txn)
{
    const struct increment *i = arg;
    helios_buf value = {0};
    uint64_t count = 0;
    helios_status status = helios_txn_get(txn, KEY("n/%u", i->counter), &value);

    if (status == HELIOS_OK)
        count = number_in(slice_make(value.data, value.size));
    else if (status != HELIOS_NOT_FOUND)
        return status;
    helios_buf_free(&value);
    count++;
    return helios_txn_put(txn, KEY("n/%u", i->counter), number_slice(&count));
}

static void *write_run(void *arg)
{
    struct worker *w = arg;
    struct test *t = w->test;

    while (!atomic_load(&t->stop)) {
        struct increment i = {t, (unsigned)below(w, COUNTERS)};
        unsigned side = (unsigned)below(w, SIDES);

        MUST(put(t, 0, KEY("w/%u/%" PRIu64, w->index, t->put[w->index]), t->put[w->index]));
        t->put[w->index]++;
        MUST(put(t, t->sides[side], KEY("b/%u/%u/%" PRIu64, side, w->index, t->put_on_side[w->index][side]),
                 t->put_on_side[w->index][side]));
        t->put_on_side[w->index][side]++;
        MUST(put(t, 0, KEY("o/%u", (unsigned)below(w, SHARED)), random_next(&w->rng)));
        if (below(w, 3) == 0) {
            MUST(helios_txn_run(t->db, NULL, increment, &i, NULL));
            atomic_fetch_add(&t->counted[i.counter], 1);
        }
        thread_sleep(100);
    }
    return NULL;
}

/* ---- merges ---- */

static void note_merge(struct test *t, helios_seq commit, helios_merge_strategy strategy)
{
    mutex_lock(&t->mu);
    assert(t->merge_count < MERGES_MAX);
    t->merges[t->merge_count++] = (struct merge_made){commit, strategy};
    mutex_unlock(&t->mu);
}

static helios_status merge(struct worker *w, helios_branch_id source, helios_branch_id target, bool close)
{
    helios_merge_options options = HELIOS_MERGE_OPTIONS_INIT;
    helios_merge_result result = {0};
    helios_status status;

    options.strategy = (helios_merge_strategy)below(w, 3);
    options.close_source = close;
    status = helios_branch_merge(w->test->db, source, target, &options, &result);
    if (status == HELIOS_OK && result.commit)
        note_merge(w->test, result.commit, options.strategy);
    if (status == HELIOS_CONFLICT)
        assert(options.strategy == HELIOS_MERGE_FAIL && result.conflicts > 0);
    return status;
}

/* On a fork of main: keys of its own, some that all write, and a group that is always alike; large now and then. */
static void write_fork(struct worker *w, helios_branch_id fork, uint64_t number)
{
    struct test *t = w->test;
    uint64_t group = random_next(&w->rng);
    unsigned many = below(w, 10) == 0 ? 600 : 3;

    for (unsigned i = 0; i < many; i++)
        MUST(put(t, fork, KEY("m/%u/%" PRIu64 "/%u", w->index, number, i), number));
    for (unsigned i = 0; i < 3; i++)
        MUST(put(t, fork, KEY("o/%u", (unsigned)below(w, SHARED)), random_next(&w->rng)));
    for (unsigned i = 0; i < ALIKE; i++)
        MUST(put(t, fork, KEY("p/%u/%u", w->index, i), group));
}

static void *merge_run(void *arg)
{
    struct worker *w = arg;
    struct test *t = w->test;

    while (!atomic_load(&t->stop)) {
        uint64_t number = t->merged[w->index];
        helios_branch_id fork;
        struct name name;
        helios_status status;

        name_of(&name, "merger %u, %" PRIu64 ", %" PRIu64, w->index, number, random_next(&w->rng));
        MUST(helios_branch_create(t->db, name.text, 0, 0, &fork));
        write_fork(w, fork, number);
        status = merge(w, fork, 0, below(w, 3) == 0);
        if (status == HELIOS_OK)
            t->merged[w->index]++;
        else if (status != HELIOS_CONFLICT)
            MUST(status);
        thread_sleep(below(w, 3000));
    }
    return NULL;
}

/* Main into the sides and the sides into main, one thread for both, so that there is always one base. */
static void *catch_up_run(void *arg)
{
    struct worker *w = arg;
    struct test *t = w->test;

    while (!atomic_load(&t->stop)) {
        helios_branch_id side = t->sides[below(w, SIDES)];
        helios_status status = below(w, 2) ? merge(w, side, 0, false) : merge(w, 0, side, false);

        if (status != HELIOS_CONFLICT)
            MUST(status);
        thread_sleep(2000 + below(w, 5000));
    }
    return NULL;
}

/* ---- branches that come and go ---- */

static void *fork_and_drop_run(void *arg)
{
    struct worker *w = arg;
    struct test *t = w->test;

    for (uint64_t number = 0; !atomic_load(&t->stop); number++) {
        helios_read_options read = HELIOS_READ_OPTIONS_INIT;
        helios_branch_id parent = below(w, 2) ? 0 : t->sides[below(w, SIDES)], child, grandchild;
        struct name name;
        uint64_t seen;
        helios_iter *it;

        MUST(helios_branch_create(t->db, name_of(&name, "child %" PRIu64, number)->text, parent, 0, &child));
        MUST(helios_branch_create(t->db, name_of(&name, "grandchild %" PRIu64, number)->text, child, 0,
                                  &grandchild));
        MUST(put(t, child, KEY("own"), number));
        MUST(put(t, grandchild, KEY("w/0/0"), number));
        assert(!shows(t, grandchild, KEY("own"), &seen)); /* written after the fork */
        assert(shows(t, child, KEY("own"), &seen) && seen == number);
        assert(helios_branch_drop(t->db, child) == HELIOS_INVALID);
        read.branch = grandchild;
        MUST(helios_iter_new(t->db, &read, &it));
        assert(helios_branch_drop(t->db, grandchild) == HELIOS_BUSY);
        helios_iter_free(it);
        MUST(helios_branch_drop(t->db, grandchild));
        assert(put(t, grandchild, KEY("own"), number) == HELIOS_NOT_FOUND);
        MUST(helios_branch_drop(t->db, child));
        atomic_fetch_add(&t->drops, 2);
        thread_sleep(below(w, 2000));
    }
    return NULL;
}

/* ---- readers ---- */

/* What one mergers' group shows at a point: all alike, or nothing yet. */
static void check_alike(struct test *t, helios_seq at)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    uint64_t group[MERGERS] = {0}, count[MERGERS] = {0};
    helios_iter *it;

    read.at = at;
    read.lower = slice_make("p/", 2);
    read.upper = slice_make("p0", 2);
    MUST(helios_iter_new(t->db, &read, &it));
    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it)) {
        unsigned merger = (unsigned)(((const char *)helios_iter_key(it).data)[2] - '0');
        uint64_t number = number_in(helios_iter_value(it));

        assert(count[merger]++ == 0 || group[merger] == number);
        group[merger] = number;
    }
    MUST(helios_iter_status(it));
    helios_iter_free(it);
    for (unsigned i = 0; i < MERGERS; i++)
        assert(count[i] == 0 || count[i] == ALIKE);
    atomic_fetch_add(&t->walks, 1);
}

/* Of a group all or nothing differs between two points. */
static void check_diff(struct test *t, helios_point from, helios_point to)
{
    unsigned differ[MERGERS] = {0};
    helios_difference d;
    helios_diff *diff;

    MUST(helios_diff_new(t->db, from, to, &diff));
    while (helios_diff_next(diff, &d)) {
        const char *key = d.key.data;

        assert(!d.in_from || !d.in_to || !slice_equal(d.from, d.to));
        if (key[0] == 'p')
            differ[key[2] - '0']++;
    }
    MUST(helios_diff_status(diff));
    helios_diff_free(diff);
    for (unsigned i = 0; i < MERGERS; i++)
        assert(differ[i] == 0 || differ[i] == ALIKE);
    atomic_fetch_add(&t->diffs, 1);
}

static void *read_run(void *arg)
{
    struct worker *w = arg;
    struct test *t = w->test;

    while (!atomic_load(&t->stop)) {
        helios_seq latest = helios_latest(t->db), at = latest - below(w, latest < 300 ? latest : 300);
        helios_branch_id side = t->sides[below(w, SIDES)];

        check_alike(t, below(w, 2) ? 0 : at);
        check_diff(t, (helios_point){0, at}, (helios_point){0, 0});
        check_diff(t, (helios_point){side, 0}, (helios_point){0, at});
        thread_sleep(500);
    }
    return NULL;
}

/* ---- closing under writers ---- */

/* Puts, now and then a transaction, until the branch does not take any more. */
static helios_status write_to_closing(struct worker *w, helios_branch_id branch, helios_slice key,
                                      uint64_t number)
{
    helios_txn_options begin = HELIOS_TXN_OPTIONS_INIT;
    helios_txn *txn;
    helios_status status;

    if (below(w, 4))
        return put(w->test, branch, key, number);
    begin.branch = branch;
    status = helios_txn_begin(w->test->db, &begin, &txn);
    if (status != HELIOS_OK)
        return status;
    MUST(helios_txn_put(txn, key, number_slice(&number)));
    status = helios_txn_commit(txn, NULL);
    helios_txn_free(txn);
    return status;
}

static void *write_to_closing_run(void *arg)
{
    struct worker *w = arg;
    struct test *t = w->test;
    uint32_t done = 0;

    while (!atomic_load(&t->no_more_rounds)) {
        uint32_t round = atomic_load(&t->round);
        helios_branch_id branch = atomic_load(&t->closing);
        helios_status status = HELIOS_OK;
        uint64_t number = 0;

        if (round % 2 == 0 || round == done) {
            thread_sleep(100);
            continue;
        }
        while (status == HELIOS_OK || status == HELIOS_BUSY) {
            status = write_to_closing(w, branch, KEY("c/%u/%u/%" PRIu64, round, w->index, number), number);
            number += status == HELIOS_OK;
            if (status == HELIOS_BUSY)
                thread_sleep(50);
        }
        assert(status == HELIOS_READ_ONLY || status == HELIOS_NOT_FOUND);
        t->put_on_closed[w->index] = number;
        done = round;
        atomic_fetch_sub(&t->writing, 1);
    }
    return NULL;
}

/* What was acknowledged on the branch is on main. */
static void check_closed(struct test *t, uint32_t round)
{
    for (unsigned i = 0; i < CLOSERS; i++)
        for (uint64_t number = 0; number < t->put_on_closed[i]; number++) {
            uint64_t seen = 0;

            assert(shows(t, 0, KEY("c/%u/%u/%" PRIu64, round, i, number), &seen) && seen == number);
        }
}

static void *close_run(void *arg)
{
    struct worker *w = arg;
    struct test *t = w->test;

    while (!atomic_load(&t->stop)) {
        uint32_t round = atomic_load(&t->round) + 1;
        bool merges = below(w, 3) != 0;
        helios_branch_id branch;
        struct name name;
        helios_status status;

        MUST(helios_branch_create(t->db, name_of(&name, "round %u", round)->text, 0, 0, &branch));
        atomic_store(&t->closing, branch);
        atomic_store(&t->writing, CLOSERS);
        atomic_store(&t->round, round);
        thread_sleep(1000 + below(w, 20000));
        do
            status = merges ? merge(w, branch, 0, true) : helios_branch_drop(t->db, branch);
        while (status == HELIOS_BUSY || status == HELIOS_CONFLICT); /* a transaction is open just now */
        MUST(status);
        while (atomic_load(&t->writing) != 0)
            thread_sleep(100);
        if (merges)
            check_closed(t, round);
        atomic_store(&t->round, round + 1);
        atomic_fetch_add(&t->closed, 1);
    }
    atomic_store(&t->no_more_rounds, true);
    return NULL;
}

/* ---- afterwards ---- */

static void check_acknowledged(struct test *t)
{
    uint64_t seen = 0;

    for (unsigned i = 0; i < COUNTERS; i++) {
        bool there = shows(t, 0, KEY("n/%u", i), &seen);

        assert(there ? seen == atomic_load(&t->counted[i]) : atomic_load(&t->counted[i]) == 0);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        for (uint64_t n = 0; n < t->put[i]; n++)
            assert(shows(t, 0, KEY("w/%u/%" PRIu64, i, n), &seen) && seen == n);
        for (unsigned side = 0; side < SIDES; side++)
            for (uint64_t n = 0; n < t->put_on_side[i][side]; n++)
                assert(shows(t, t->sides[side], KEY("b/%u/%u/%" PRIu64, side, i, n), &seen) && seen == n);
    }
    for (unsigned i = 0; i < MERGERS; i++)
        for (uint64_t n = 0; n < t->merged[i]; n++)
            assert(shows(t, 0, KEY("m/%u/%" PRIu64 "/0", i, n), &seen) && seen == n);
}

/* A state, walked to its end side by side with others. */
struct side {
    helios_iter *it;
    bool has; /* the key that all are asked about */
};

static void side_open(struct test *t, struct side *s, helios_point point, bool whole)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;

    read.branch = point.branch;
    read.at = point.at;
    if (!whole) {
        read.lower = slice_make("m", 1);
        read.upper = slice_make("q", 1);
    }
    MUST(helios_iter_new(t->db, &read, &s->it));
    helios_iter_first(s->it);
}

enum { THEIRS, OURS, BASE, RESULT, STATES };

/* The least key that any of them stands on; no data: the end. */
static helios_slice next_key(struct side sides[STATES])
{
    helios_slice least = {0};

    for (int i = 0; i < STATES; i++)
        if (helios_iter_valid(sides[i].it)) {
            helios_slice key = helios_iter_key(sides[i].it);

            if (!least.data || slice_compare(key, least) < 0)
                least = key;
        }
    for (int i = 0; i < STATES; i++)
        sides[i].has = helios_iter_valid(sides[i].it) && slice_equal(helios_iter_key(sides[i].it), least);
    return least;
}

static bool equal(const struct side *a, const struct side *b)
{
    if (!a->has || !b->has)
        return a->has == b->has;
    return slice_equal(helios_iter_value(a->it), helios_iter_value(b->it));
}

static void check_merged_key(const struct side *s, helios_merge_strategy strategy, helios_slice key)
{
    int from = OURS;

    if (!equal(&s[THEIRS], &s[OURS]) && !equal(&s[THEIRS], &s[BASE])) {
        bool conflict = !equal(&s[OURS], &s[BASE]);

        assert(!conflict || strategy != HELIOS_MERGE_FAIL);
        if (!conflict || strategy == HELIOS_MERGE_THEIRS)
            from = THEIRS;
    }
    if (!equal(&s[RESULT], &s[from])) {
        fprintf(stderr, "the merge made something else of %.*s\n", (int)key.size, (const char *)key.data);
        abort();
    }
}

static void check_merge(struct test *t, const helios_merge_info *info, helios_merge_strategy strategy,
                        bool whole)
{
    struct side sides[STATES];
    helios_slice key;

    side_open(t, &sides[THEIRS], info->source, whole);
    side_open(t, &sides[OURS], (helios_point){info->target, info->commit - 1}, whole);
    side_open(t, &sides[BASE], info->base, whole);
    side_open(t, &sides[RESULT], (helios_point){info->target, info->commit}, whole);
    while ((key = next_key(sides)).data) {
        check_merged_key(sides, strategy, key);
        for (int i = 0; i < STATES; i++)
            if (sides[i].has)
                helios_iter_next(sides[i].it);
    }
    for (int i = 0; i < STATES; i++) {
        MUST(helios_iter_status(sides[i].it));
        helios_iter_free(sides[i].it);
    }
}

static helios_merge_strategy strategy_of(const struct test *t, helios_seq commit)
{
    for (size_t i = 0; i < t->merge_count; i++)
        if (t->merges[i].commit == commit)
            return t->merges[i].strategy;
    abort(); /* one that nobody made */
}

static size_t check_merges_into(struct test *t, helios_branch_id target)
{
    helios_merge_info *list;
    size_t n;

    MUST(helios_branch_merges(t->db, target, &list, &n));
    for (size_t i = 0; i < n; i++)
        check_merge(t, &list[i], strategy_of(t, list[i].commit), i % 16 == 0);
    helios_free(list);
    return n;
}

/* ---- all of it ---- */

static void open_database(struct test *t)
{
    t->options = (helios_options)HELIOS_OPTIONS_INIT;
    t->options.memtable_bytes = 64 << 10;
    t->options.history_retention = HELIOS_FOREVER;
    t->options.feed_retention =
        t->on_disk ? HELIOS_FOREVER : 0; /* in memory so much is written that the judge would take
                                              longer than the test */
    MUST(engine_open(t->fs, t->path, &t->options, &t->db));
}

static void begin(struct test *t, bool disk)
{
    strcpy(t->path, "/branches");
    t->on_disk = disk;
    if (disk) {
        snprintf(t->path, sizeof(t->path), "/tmp/helios-branch-threads-%d", (int)getpid());
        (void)!helios_destroy(t->path);
        t->fs = io_posix();
    } else {
        MUST(io_memory_new(&t->fs));
    }
    mutex_init(&t->mu);
    open_database(t);
    MUST(put(t, 0, KEY("own"), 77));
    MUST(helios_delete(t->db, NULL, KEY("own")));
    for (unsigned i = 0; i < SIDES; i++)
        MUST(helios_branch_create(t->db, i ? "side 1" : "side 0", 0, 0, &t->sides[i]));
}

/* Follows the feed while it is written. */
static void *replay_run(void *arg)
{
    struct worker *w = arg;
    struct test *t = w->test;

    while (!atomic_load(&t->stop)) {
        feed_replay_follow(t->replay, t->db);
        thread_sleep(random_below(&w->rng, 300000));
    }
    return NULL;
}

static const struct {
    void *(*run)(void *);
    unsigned count;
} kinds[] = {
    {write_run, WRITERS},
    {merge_run, MERGERS},
    {catch_up_run, 1},
    {fork_and_drop_run, 1},
    {read_run, 1},
    {close_run, 1},
    {write_to_closing_run, CLOSERS},
    {replay_run, 1},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]), THREADS_MAX = 16 };

static void run(struct test *t)
{
    struct worker workers[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    unsigned count = 0;

    for (unsigned k = 0; k < KINDS; k++)
        for (unsigned i = 0; i < kinds[k].count; i++, count++) {
            workers[count] = (struct worker){.test = t, .index = i};
            random_seed(&workers[count].rng, t->seed * 100 + count);
            MUST(thread_start(&threads[count], "worker", kinds[k].run, &workers[count]));
        }
    thread_sleep(t->seconds * 1000000);
    atomic_store(&t->stop, true);
    while (count-- > 0)
        thread_join(threads[count]);
}

int main(int argc, char **argv)
{
    struct feed_replay_options replay = {.others_write = true, .no_trim = true};
    static struct test t = {.seed = 1, .seconds = 3};
    size_t merges;
    bool disk = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--disk") == 0)
            disk = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            t.seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
            t.seconds = strtoull(argv[++i], NULL, 10);
    }
    begin(&t, disk);
    replay.seed = t.seed;
    t.replay = feed_replay_new(&replay);
    run(&t);
    check_acknowledged(&t);
    feed_replay_release(t.replay);
    MUST(helios_close(t.db));
    open_database(&t);
    feed_replay_opened(t.replay, t.db);
    feed_replay_follow(t.replay, t.db);
    feed_replay_report(t.replay);
    feed_replay_free(t.replay);
    check_acknowledged(&t);
    merges = check_merges_into(&t, 0);
    for (unsigned i = 0; i < SIDES; i++)
        merges += check_merges_into(&t, t.sides[i]);
    MUST(helios_verify(t.db, NULL, NULL));
    MUST(helios_close(t.db));
    if (disk)
        MUST(helios_destroy(t.path));
    io_free(t.fs);
    printf("seed %" PRIu64 ": %zu merges, %" PRIu64 " puts, %" PRIu64
           " branches closed or dropped under their writers, "
           "%" PRIu64 " dropped, %" PRIu64 " diffs, %" PRIu64 " walks\n",
           t.seed, merges, t.put[0] + t.put[1], atomic_load(&t.closed), atomic_load(&t.drops),
           atomic_load(&t.diffs), atomic_load(&t.walks));
    return 0;
}
