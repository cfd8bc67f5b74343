/* test_pins.c - slots, growth, the rule for points below the horizon, and the race of readers with a
 * collector: no acquired point is ever collected. */
#undef NDEBUG
#include "base/mem.h"
#include "base/random.h"
#include "base/thread.h"
#include "mvcc/pins.h"
#include <assert.h>
#include <stdio.h>
#include <time.h>

static const struct pin_owner owner = {HELIOS_PIN_ITERATOR, 4711, 1700000000000000};

static void test_basics(void)
{
    struct pins *pins;
    _Atomic helios_seq visible = 0, horizon = 0;
    pin_id a, b, c;
    helios_seq seq, *seqs;
    size_t count;

    assert(pins_new(&pins) == HELIOS_OK);
    assert(pins_count(pins) == 0 && pins_oldest(pins) == UINT64_MAX);
    assert(pins_collect(pins, UINT64_MAX, &seqs, &count) == HELIOS_OK && count == 0 && !seqs);
    /* The point before the first commit is a point. */
    assert(pins_acquire_latest(pins, &owner, &visible, &horizon, &a, &seq) == HELIOS_OK && seq == 0);
    assert(pins_count(pins) == 1 && pins_oldest(pins) == 0 && pins_seq(pins, a) == 0);
    visible = 9;
    assert(pins_acquire_latest(pins, &owner, &visible, &horizon, &b, &seq) == HELIOS_OK && seq == 9);
    assert(pins_acquire_at(pins, &owner, ((UINT64_C(1) << 56) - 1), &horizon, NULL, NULL, &c) == HELIOS_OK);
    assert(pins_seq(pins, c) == ((UINT64_C(1) << 56) - 1));
    assert(pins_collect(pins, UINT64_MAX, &seqs, &count) == HELIOS_OK && count == 3);
    assert(seqs[0] == 0 && seqs[1] == 9 && seqs[2] == ((UINT64_C(1) << 56) - 1));
    mem_free(seqs);
    assert(pins_collect(pins, 9, &seqs, &count) == HELIOS_OK && count == 1 && seqs[0] == 0);
    mem_free(seqs);
    pins_release(pins, a);
    pins_release(pins, b);
    pins_release(pins, c);
    pins_release(pins, 0);
    pins_free(pins);
    pins_free(NULL);
}

static void test_list(void)
{
    static const struct pin_owner owners[] = {
        {HELIOS_PIN_SNAPSHOT, 1, 0},
        {HELIOS_PIN_ITERATOR, (1 << 22) - 1, 1700000000000000},
        {HELIOS_PIN_HISTORY, 4711, 4000000000000000}, /* the year 2096 */
    };
    struct pins *pins;
    _Atomic helios_seq horizon = 0;
    pin_id ids[3], same;
    struct pin_info *list;
    size_t count;

    assert(pins_new(&pins) == HELIOS_OK);
    assert(pins_list(pins, &list, &count) == HELIOS_OK && count == 0 && !list);
    for (size_t i = 0; i < 3; i++)
        assert(pins_acquire_at(pins, &owners[i], i + 5, &horizon, NULL, NULL, &ids[i]) == HELIOS_OK);
    assert(pins_acquire_same(pins, &owners[1], ids[0], &same) == HELIOS_OK);
    assert(pins_list(pins, &list, &count) == HELIOS_OK && count == 4);
    for (size_t i = 0; i < 4; i++) {
        const struct pin_owner *want = &owners[i < 3 ? i : 1];

        assert(list[i].seq == (i < 3 ? i + 5 : 5));
        assert(list[i].owner.kind == want->kind && list[i].owner.thread == want->thread);
        assert(list[i].owner.since <= want->since && want->since - list[i].owner.since < 8192);
    }
    mem_free(list);
    for (size_t i = 0; i < 3; i++)
        pins_release(pins, ids[i]);
    pins_release(pins, same);
    pins_free(pins);
}

static bool is_seven(void *arg, helios_seq seq)
{
    ++*(int *)arg;
    return seq == 7;
}

static void test_below_horizon(void)
{
    struct pins *pins;
    _Atomic helios_seq horizon = 0;
    pin_id snapshot, again, third;
    int asked = 0;

    assert(pins_new(&pins) == HELIOS_OK);
    assert(pins_acquire_at(pins, &owner, 5, &horizon, NULL, NULL, &snapshot) == HELIOS_OK);
    horizon = 10;
    assert(pins_acquire_at(pins, &owner, 6, &horizon, NULL, NULL, &again) == HELIOS_HISTORY_GONE);
    assert(pins_acquire_at(pins, &owner, 6, &horizon, is_seven, &asked, &again) == HELIOS_HISTORY_GONE &&
           asked == 1);
    assert(pins_acquire_at(pins, &owner, 10, &horizon, NULL, NULL, &again) == HELIOS_OK);
    pins_release(pins, again);
    assert(pins_acquire_at(pins, &owner, 5, &horizon, NULL, NULL, &again) == HELIOS_OK);
    pins_release(pins, snapshot);
    /* The child of a snapshot is ground for others in turn. */
    assert(pins_acquire_same(pins, &owner, again, &snapshot) == HELIOS_OK);
    pins_release(pins, again);
    assert(pins_acquire_at(pins, &owner, 5, &horizon, NULL, NULL, &again) == HELIOS_OK);
    pins_release(pins, again);
    pins_release(pins, snapshot);
    assert(pins_acquire_at(pins, &owner, 5, &horizon, NULL, NULL, &again) == HELIOS_HISTORY_GONE);
    /* A pin by name covers one branch, and is no ground for others. */
    assert(pins_acquire_at(pins, &owner, 7, &horizon, is_seven, &asked, &again) == HELIOS_OK);
    assert(pins_acquire_at(pins, &owner, 7, &horizon, NULL, NULL, &third) == HELIOS_HISTORY_GONE);
    assert(pins_acquire_same(pins, &owner, again, &third) == HELIOS_OK);
    pins_release(pins, third);
    pins_release(pins, again);
    assert(pins_count(pins) == 0);
    pins_free(pins);
}

/* A million at once; then most are given back in a drawn order and taken again: no growth without need. */
static void test_many(void)
{
    enum { MANY = 1000000 };
    struct pins *pins;
    _Atomic helios_seq horizon = 0;
    pin_id *ids = mem_array(MANY, sizeof(*ids));
    struct random random;
    struct timespec begin, end;
    helios_seq *seqs;
    size_t count;
    double each;

    random_seed(&random, 42);
    assert(pins_new(&pins) == HELIOS_OK);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < MANY; i++)
        assert(pins_acquire_at(pins, &owner, (helios_seq)i % 1000 + 1, &horizon, NULL, NULL, &ids[i]) ==
               HELIOS_OK);
    clock_gettime(CLOCK_MONOTONIC, &end);
    each = ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) / MANY;
    printf("acquire, a million live: %.0f ns\n", each);
    assert(pins_count(pins) == MANY);
    assert(pins_collect(pins, UINT64_MAX, &seqs, &count) == HELIOS_OK && count == 1000);
    for (size_t i = 0; i < count; i++)
        assert(seqs[i] == i + 1);
    mem_free(seqs);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++) {
            if (random_below(&random, 2) == 0) {
                pins_release(pins, ids[i]);
                ids[i] = 0;
            }
        }
        for (int i = 0; i < MANY; i++) {
            if (!ids[i])
                assert(pins_acquire_at(pins, &owner, 5, &horizon, NULL, NULL, &ids[i]) == HELIOS_OK);
        }
        assert(pins_count(pins) == MANY);
    }
    for (int i = 0; i < MANY; i++) {
        assert(ids[i] < 4 * MANY); /* memory in proportion */
        pins_release(pins, ids[i]);
    }
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < MANY; i++) {
        pin_id id;

        assert(pins_acquire_at(pins, &owner, 5, &horizon, NULL, NULL, &id) == HELIOS_OK);
        pins_release(pins, id);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    each = ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) / MANY;
    printf("acquire and release: %.0f ns\n", each);
    pins_free(pins);
    mem_free(ids);
}

static void test_no_memory(void)
{
    struct pins *pins;
    _Atomic helios_seq horizon = 0;
    pin_id id = 0;
    helios_status status = HELIOS_OK;

    for (int n = 1; n <= 2; n++) {
        mem_fail_at((uint64_t)n, false);
        assert(pins_new(&pins) == HELIOS_NO_MEMORY);
        mem_fail_at(0, false);
    }
    assert(pins_new(&pins) == HELIOS_OK);
    mem_fail_at(1, true);
    for (int i = 0; i < 100000 && status == HELIOS_OK; i++)
        status = pins_acquire_at(pins, &owner, 1, &horizon, NULL, NULL, &id);
    mem_fail_at(0, false);
    assert(status == HELIOS_NO_MEMORY && pins_count(pins) == 1024);
    for (id = 1; id <= 1024; id++)
        pins_release(pins, id);
    pins_free(pins);
}

/* ---- the race ---- */

enum { POINTS = 1 << 16, READERS = 3, COLLECTIONS = 2000, REACH = 4096 };

static struct pins *shared;
static _Atomic helios_seq visible, horizon;
static _Atomic bool gone[POINTS]; /* a state that was collected */
static _Atomic bool stop;

static void read_latest(struct random *random)
{
    pin_id id, child;
    helios_seq seq;

    assert(pins_acquire_latest(shared, &owner, &visible, &horizon, &id, &seq) == HELIOS_OK);
    assert(!atomic_load(&gone[seq]));
    if (random_below(random, 2)) {
        /* Below the horizon by then or not: the snapshot is there. */
        assert(pins_acquire_at(shared, &owner, seq, &horizon, NULL, NULL, &child) == HELIOS_OK);
        pins_release(shared, id);
        id = child;
    }
    assert(!atomic_load(&gone[seq]));
    pins_release(shared, id);
}

static void read_old(struct random *random)
{
    helios_seq latest = atomic_load(&visible), seq = latest - random_below(random, latest < 8 ? latest + 1 : 8);
    pin_id id;

    if (pins_acquire_at(shared, &owner, seq, &horizon, NULL, NULL, &id) != HELIOS_OK)
        return;
    assert(!atomic_load(&gone[seq]));
    pins_release(shared, id);
}

/* One old point that never stays with one holder: a collector must not look past both. */
static void *passer(void *arg)
{
    pin_id id, next;
    helios_seq seq;

    (void)arg;
    assert(pins_acquire_latest(shared, &owner, &visible, &horizon, &id, &seq) == HELIOS_OK);
    for (int i = 0; !atomic_load(&stop); i++) {
        if (i % 2)
            assert(pins_acquire_same(shared, &owner, id, &next) == HELIOS_OK);
        else
            assert(pins_acquire_at(shared, &owner, seq, &horizon, NULL, NULL, &next) == HELIOS_OK);
        pins_release(shared, id);
        id = next;
        assert(!atomic_load(&gone[seq]));
        if (i % 1024)
            continue;
        pins_release(shared, id);
        assert(pins_acquire_latest(shared, &owner, &visible, &horizon, &id, &seq) == HELIOS_OK);
    }
    pins_release(shared, id);
    return NULL;
}

static void *reader(void *arg)
{
    struct random random;

    random_seed(&random, (uint64_t)(uintptr_t)arg);
    while (!atomic_load(&stop)) {
        read_latest(&random);
        read_old(&random);
    }
    return NULL;
}

static void collect(void)
{
    helios_seq to = atomic_load(&visible), *seqs;
    size_t count, at = 0;

    atomic_store(&horizon, to);
    pins_freeze(shared);
    assert(pins_collect(shared, to, &seqs, &count) == HELIOS_OK);
    pins_thaw(shared);
    for (helios_seq seq = to > REACH ? to - REACH : 0; seq < to; seq++) {
        while (at < count && seqs[at] < seq)
            at++;
        if (at == count || seqs[at] != seq)
            atomic_store(&gone[seq], true);
    }
    mem_free(seqs);
}

static void test_race(void)
{
    pthread_t threads[READERS], passing;

    assert(pins_new(&shared) == HELIOS_OK);
    for (uintptr_t i = 0; i < READERS; i++)
        assert(thread_start(&threads[i], "reader", reader, (void *)(i + 1)) == HELIOS_OK);
    assert(thread_start(&passing, "passer", passer, NULL) == HELIOS_OK);
    for (int i = 0; i < COLLECTIONS; i++) {
        for (int k = 0; k < 16; k++)
            atomic_fetch_add(&visible, 1);
        collect();
    }
    atomic_store(&stop, true);
    for (int i = 0; i < READERS; i++)
        thread_join(threads[i]);
    thread_join(passing);
    assert(pins_count(shared) == 0);
    pins_free(shared);
}

int main(void)
{
    test_basics();
    test_list();
    test_below_horizon();
    test_many();
    test_no_memory();
    test_race();
    return 0;
}
