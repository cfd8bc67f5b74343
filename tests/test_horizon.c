/* test_horizon.c - the retention point against the exact one, over drawn arrivals and clocks. */
#undef NDEBUG
#include "base/mem.h"
#include "base/random.h"
#include "mvcc/horizon.h"
#include <assert.h>
#include <stdio.h>

enum { STEPS = 20000 };
#define SECOND UINT64_C(1000000)

/* What arrived under one retention expires under the next; nothing comes back. */
static void test_changes(void)
{
    struct horizon *h = mem_zalloc(sizeof(*h));
    uint64_t now = SECOND;
    helios_seq seq = 0;

    horizon_init(h, HELIOS_FOREVER, 0);
    for (; seq < 100000; now += SECOND)
        assert(horizon_advance(h, now, ++seq) == 0);
    assert(h->count <= HORIZON_SAMPLES);
    horizon_set_retention(h, 10000 * SECOND);
    assert(horizon_advance(h, now, seq) <= 90000);
    assert(horizon_advance(h, now, seq) > 89800); /* samples lie about a thousandth of all that time apart */
    horizon_set_retention(h, HELIOS_FOREVER);
    assert(horizon_advance(h, now + 20000 * SECOND, seq) > 89800);
    assert(horizon_advance(h, now + 20000 * SECOND, seq) <= 90000);
    now += 20000 * SECOND;
    horizon_set_retention(h, 50000 * SECOND);
    assert(horizon_advance(h, now, seq) <= 90000);
    horizon_set_retention(h, 0);
    assert(horizon_advance(h, now, seq) == seq);
    horizon_set_retention(h, 5 * SECOND);
    assert(horizon_advance(h, now, seq + 1) == seq);
    assert(horizon_advance(h, now + 5 * SECOND, seq + 2) == seq + 1);
    mem_free(h);
}

static void test_modes(void)
{
    struct horizon *h = mem_zalloc(sizeof(*h));

    horizon_init(h, 0, 5);
    assert(horizon_advance(h, 100, 3) == 5); /* never back */
    assert(horizon_advance(h, 100, 9) == 9);
    assert(horizon_next(h, 100, 12) == UINT64_MAX);
    horizon_init(h, HELIOS_FOREVER, 4);
    assert(horizon_advance(h, 100, 9) == 4);
    assert(horizon_next(h, 100, 12) == UINT64_MAX);
    horizon_init(h, 10 * SECOND, 0);
    assert(horizon_next(h, 0, 0) == UINT64_MAX && horizon_next(h, 0, 1) == 0);
    assert(horizon_advance(h, 0, 7) == 0);
    assert(horizon_next(h, 0, 7) == 10 * SECOND);
    assert(horizon_advance(h, 10 * SECOND - 1, 7) == 0);
    assert(horizon_advance(h, 10 * SECOND, 7) == 7);
    mem_free(h);
}

/* Everything that arrived within the retention stays readable, and what is older than that by a few
 * samples does not hold it up. */
static void test_against_exact(uint64_t seed)
{
    struct horizon *h = mem_zalloc(sizeof(*h));
    static uint64_t arrival[STEPS + 1];
    uint64_t now = 1, retention = 100 * SECOND, slack = retention / 1024 + 2 * SECOND;
    helios_seq visible = 0, exact = 0, loose = 0, before = 0;
    struct random random;

    random_seed(&random, seed);
    horizon_init(h, retention, 0);
    for (int step = 0; step < STEPS; step++) {
        helios_seq point;

        now += random_below(&random, SECOND);
        if (random_below(&random, 3))
            arrival[++visible] = now;
        point = horizon_advance(h, now, visible);
        while (exact < visible && arrival[exact + 1] + retention <= now)
            exact++;
        while (loose < visible && arrival[loose + 1] + retention + slack <= now)
            loose++;
        assert(point <= exact && point >= loose && point >= before);
        assert(h->count <= HORIZON_SAMPLES);
        before = point;
    }
    mem_free(h);
}

static void test_reopen(void)
{
    struct horizon *h = mem_zalloc(sizeof(*h)), *next = mem_zalloc(sizeof(*next));
    struct horizon_sample saved[8], broken[] = {{50, 5}, {40, 6}, {60, 5}, {-3, 9}, {70, 8}};
    size_t count;

    horizon_init(h, 1000 * SECOND, 0);
    for (uint64_t i = 1; i <= 100; i++)
        horizon_advance(h, 5000 * SECOND + i * SECOND, i);
    /* 100 samples as 8: the last one among them. */
    count = horizon_save(h, 5100 * SECOND, 90000 * SECOND, saved, 8);
    assert(count == 8 && saved[7].seq == 100 && saved[7].time == (int64_t)(90000 * SECOND));
    /* Another boot, ten minutes later: the monotonic clock is smaller than the ages. */
    horizon_init(next, 1000 * SECOND, 3);
    assert(!horizon_load(next, 2 * SECOND, 90600 * SECOND, saved, count));
    assert(horizon_advance(next, 2 * SECOND, 100) == 3);
    assert(horizon_advance(next, 402 * SECOND, 100) == 100);
    /* The clock went back far: age 0, and it is said. */
    horizon_init(next, 1000 * SECOND, 3);
    assert(horizon_load(next, 2 * SECOND, 80000 * SECOND, saved, count));
    assert(horizon_advance(next, 1001 * SECOND, 100) == 3);
    assert(horizon_advance(next, 1002 * SECOND, 100) == 100);
    /* Disorder is skipped. */
    horizon_init(next, 1000 * SECOND, 0);
    horizon_load(next, 2 * SECOND, SECOND, broken, 5);
    assert(next->count == 2 && next->samples[1].seq == 8);
    /* More samples than there is room for. */
    horizon_init(next, 1, 0);
    next->retention = 1 << 20;
    for (uint64_t i = 0; i < 5000; i++) {
        struct horizon_sample one = {(int64_t)i, i + 1};

        horizon_load(next, i, i, &one, 1);
    }
    assert(next->count <= HORIZON_SAMPLES &&
           next->samples[(next->first + next->count - 1) % HORIZON_SAMPLES].seq == 5000);
    mem_free(h);
    mem_free(next);
}

int main(void)
{
    test_modes();
    test_changes();
    for (uint64_t seed = 1; seed <= 5; seed++)
        test_against_exact(seed);
    test_reopen();
    return 0;
}
