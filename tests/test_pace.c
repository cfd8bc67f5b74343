/* test_pace.c - the rate is continuous and falls with every kind of debt; the bucket keeps its rate. */
#undef NDEBUG
#include "base/thread.h"
#include "compaction/pace.h"
#include <assert.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>

#define MIB (UINT64_C(1) << 20)

static const struct pace_debt quiet = {.memtable_bytes = 64 * MIB, .unflushed_max = 2, .active_free = 64 * MIB};

static void test_comfort(void)
{
    struct pace_debt debt = quiet;

    assert(pace_rate(&debt) == UINT64_MAX && pace_cause(&debt)[0] == '\0');
    debt.l0_runs = 8;
    debt.compaction_bytes = 16 * 64 * MIB;
    debt.active_free = 0; /* nobody waits for a flush: the next memtable is free */
    assert(pace_rate(&debt) == UINT64_MAX);
    debt.unflushed = 1; /* of two, and the second one is still all there */
    debt.active_free = 32 * MIB;
    assert(pace_rate(&debt) == UINT64_MAX);
    assert(pace_rate(&(struct pace_debt){0}) == UINT64_MAX);
}

/* Each step by a 100th of a kind of debt changes the rate by less than a tenth, and never upwards. */
static void check_falls(struct pace_debt debt, int kind, const char *cause)
{
    uint64_t last = UINT64_C(5) << 30;

    for (int step = 1; step <= 200; step++) {
        uint64_t rate;

        if (kind == 0)
            debt.compaction_bytes = 64 * MIB * 16 + 64 * MIB * 240 / 100 * (uint64_t)step;
        else
            debt.active_free = step <= 100 ? 32 * MIB - 32 * MIB / 100 * (uint64_t)step : 0;
        rate = pace_rate(&debt);
        assert(rate != UINT64_MAX && rate > 0 && rate <= last);
        assert(step == 1 || rate >= last / 10 * 9 || rate <= 64 << 10);
        assert(pace_cause(&debt)[0] == cause[0]);
        last = rate;
    }
    assert(last < 10 * MIB);
}

static void test_continuous(void)
{
    struct pace_debt debt = quiet;

    check_falls(debt, 0, "compaction debt");
    debt.unflushed = 2;
    check_falls(debt, 1, "memtables");
    debt = quiet;
    for (uint64_t last = UINT64_MAX; debt.l0_runs < 100; debt.l0_runs++) {
        uint64_t rate = pace_rate(&debt);

        assert(rate <= last && rate >= 64 << 10);
        last = rate;
    }
    assert(pace_rate(&debt) == 64 << 10);
}

static void test_bucket(void)
{
    struct pace_bucket bucket;
    uint64_t now = UINT64_C(1000) * 1000000000, waited = 0;

    pace_bucket_init(&bucket, 1 * MIB, 0);
    /* Ten callers at once take a second's worth together: the last waits for all of it. */
    for (int i = 0; i < 10; i++)
        waited = pace_take(&bucket, MIB / 10, now);
    assert(waited > 999000 && waited <= 1000000);
    assert(pace_take(&bucket, 0, now + UINT64_C(2000000000)) == 0);
    pace_bucket_init(&bucket, 0, 0);
    assert(pace_take(&bucket, UINT64_MAX, now) == 0);
    /* Unused time may be caught up, as far as the burst goes. */
    pace_bucket_init(&bucket, 1 * MIB, 500000);
    assert(pace_take(&bucket, MIB / 2, now) == 0);
    assert(pace_take(&bucket, MIB / 2, now) > 499000);
    pace_bucket_init(&bucket, 1, 0);
    assert(pace_take(&bucket, UINT64_MAX, now) > 0); /* no overflow */
    assert(pace_take(&bucket, UINT64_MAX, now) > 0);
}

/* Half a second into a flush of 100 units of memory that hold 50 of users' bytes; with half of it done
 * there are two thirds of a second to go: as long as so far, and a sixth of all for the syncs. */
static void test_flush_rate(void)
{
    static const struct {
        const char *name;
        uint64_t entries, used, least, most;
    } cases[] = {
        {"nothing read", 0, 90, UINT64_MAX, UINT64_MAX},
        {"too early to tell", 50, 90, UINT64_MAX, UINT64_MAX},
        {"slower than the flush", 500, 30, UINT64_MAX, UINT64_MAX},
        {"half done, three quarters full", 500, 75, 18 * MIB, 19 * MIB},
        {"all but done, three quarters full", 1000, 75, UINT64_MAX, UINT64_MAX},
        {"all but done, all but full", 1000, 95, 29 * MIB, 31 * MIB},
        {"full", 500, 100, 64 << 10, 64 << 10},
        {"more than full", 500, 130, 64 << 10, 64 << 10},
        {"more read than was counted", 2000, 100, 64 << 10, 64 << 10},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct pace_flush flush = {
            .elapsed = 500000,
            .entries = cases[i].entries,
            .entries_all = 1000,
            .user_bytes = cases[i].entries * 50 * MIB / 1000,
            .flushed_bytes = 100 * MIB,
            .active_used = cases[i].used * MIB,
            .active_max = 100 * MIB,
        };
        uint64_t rate = pace_flush_rate(&flush);

        if (rate < cases[i].least || rate > cases[i].most)
            fprintf(stderr, "%s: %" PRIu64 "\n", cases[i].name, rate);
        assert(rate >= cases[i].least);
        assert(rate <= cases[i].most);
    }
    assert(pace_flush_rate(&(struct pace_flush){0}) == UINT64_MAX);
}

static void *sleeper(void *arg)
{
    pace_wait(arg, 100 * MIB);
    return NULL;
}

/* Whoever sleeps at a low rate leaves when the rate rises, or when all is over. */
static void test_wake(void)
{
    struct pace_bucket bucket;
    pthread_t thread;

    pace_bucket_init(&bucket, MIB, 0);
    assert(thread_start(&thread, "sleeper", sleeper, &bucket) == HELIOS_OK);
    pace_set_rate(&bucket, UINT64_C(4) << 30);
    thread_join(thread);
    assert(bucket.waited < 20000000);
    pace_set_rate(&bucket, MIB);
    assert(thread_start(&thread, "sleeper", sleeper, &bucket) == HELIOS_OK);
    pace_stop(&bucket);
    thread_join(thread);
    pace_table(&bucket, 100 * MIB); /* at once */
}

/* ---- two that ask ---- */

enum { ROUNDS = 2000, STEPS = 4 };

struct askers {
    struct pace_bucket bucket;
    _Atomic unsigned begun, ended; /* rounds, by each of the threads */
};

static void meet(_Atomic unsigned *count, unsigned until)
{
    atomic_fetch_add(count, 1);
    while (atomic_load(count) < until)
        sched_yield(); /* they may share a processor */
}

static void ask_in_rounds(struct askers *a, enum pace_asker asker)
{
    for (unsigned round = 1; round <= ROUNDS; round++) {
        meet(&a->begun, 2 * round);
        for (int step = 0; step < STEPS; step++)
            pace_ask(&a->bucket, asker, step % 2 ? UINT64_MAX : 64 << 10);
        meet(&a->ended, 2 * round);
        assert(atomic_load(&a->bucket.rate) == UINT64_MAX);
    }
}

static void *debt_asker(void *arg)
{
    ask_in_rounds(arg, PACE_DEBT);
    return NULL;
}

/* The least that is asked for; and nobody's word is lost if both have theirs at once, which left writers at next to
 * nothing after a flush. */
static void test_askers(void)
{
    struct askers a = {.begun = 0};
    pthread_t thread;

    pace_bucket_init(&a.bucket, 0, 0);
    pace_ask(&a.bucket, PACE_DEBT, 2 * MIB);
    pace_ask(&a.bucket, PACE_FLUSH, 3 * MIB);
    assert(a.bucket.rate == 2 * MIB);
    pace_ask(&a.bucket, PACE_DEBT, UINT64_MAX);
    assert(a.bucket.rate == 3 * MIB);
    pace_ask(&a.bucket, PACE_FLUSH, UINT64_MAX);
    assert(thread_start(&thread, "asker", debt_asker, &a) == HELIOS_OK);
    ask_in_rounds(&a, PACE_FLUSH);
    thread_join(thread);
}

int main(void)
{
    test_comfort();
    test_continuous();
    test_flush_rate();
    test_bucket();
    test_wake();
    test_askers();
    return 0;
}
