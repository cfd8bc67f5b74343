/* pace.c - how fast writers may go. Called by engine/ on commits, and by table writers.
 *
 * Each kind of debt has a comfort, where it begins to weigh, and a limit; in between its weight rises from
 * 0 to 1, and on beyond it. The heaviest counts. The rate halves DOUBLINGS times from weight 0 to 1, from a
 * rate that nobody reaches; so no step is felt, and writers slow down long before the limit. */
#include "compaction/pace.h"
#include "base/thread.h"
#include <time.h>

enum {
    L0_COMFORT = 8,
    L0_LIMIT = 24,
    COMPACTION_COMFORT = 16, /* memtables' worth of pending bytes */
    COMPACTION_LIMIT = 256,
    DOUBLINGS = 9,
};
#define RATE_TOP      (UINT64_C(4) << 30) /* bytes/s at weight 0 */
#define RATE_LEAST    (UINT64_C(64) << 10)
#define NS_PER_SECOND UINT64_C(1000000000)
#define WAIT_LEAST    UINT64_C(250000)   /* ns: a sleep costs two switches of threads */
#define WAIT_PIECE    UINT64_C(50000000) /* ns: sleepers look this often whether the rate has risen */

/* ---- debt to rate ---- */

static double weight_of(double value, double comfort, double limit)
{
    return value <= comfort ? 0 : (value - comfort) / (limit - comfort);
}

/* Behind memtables that wait for their flush, the active one may fill to half before it weighs; with fewer
 * waiting than may, the room of those counts as room too. */
static double memtable_weight(const struct pace_debt *debt)
{
    double one = (double)debt->memtable_bytes, room, all;

    if (debt->unflushed == 0 || debt->unflushed_max == 0 || one == 0)
        return 0;
    all = one * debt->unflushed_max;
    room = (double)debt->active_free;
    if (debt->unflushed < debt->unflushed_max)
        room += one * (debt->unflushed_max - debt->unflushed);
    return weight_of(all - room, all - one / 2, all);
}

struct weights {
    double l0, compaction, memtables, top;
};

static struct weights weigh(const struct pace_debt *debt)
{
    double one = (double)debt->memtable_bytes;
    struct weights w = {
        .l0 = weight_of(debt->l0_runs, L0_COMFORT, L0_LIMIT),
        .compaction = one > 0 ? weight_of((double)debt->compaction_bytes, one * COMPACTION_COMFORT,
                                          one * COMPACTION_LIMIT)
                              : 0,
        .memtables = memtable_weight(debt),
    };

    w.top = w.l0 > w.compaction ? w.l0 : w.compaction;
    w.top = w.memtables > w.top ? w.memtables : w.top;
    return w;
}

uint64_t pace_rate(const struct pace_debt *debt)
{
    double steps = weigh(debt).top * DOUBLINGS;
    unsigned whole;
    uint64_t rate;

    if (steps <= 0)
        return UINT64_MAX;
    if (steps >= 32)
        return RATE_LEAST;
    whole = (unsigned)steps;
    rate = RATE_TOP >> whole;
    rate -= (uint64_t)((double)rate / 2 * (steps - whole)); /* straight between the powers of two */
    return rate > RATE_LEAST ? rate : RATE_LEAST;
}

const char *pace_cause(const struct pace_debt *debt)
{
    struct weights w = weigh(debt);

    if (w.top <= 0)
        return "";
    if (w.top == w.memtables)
        return "memtables";
    return w.top == w.l0 ? "l0 files" : "compaction debt";
}

/* ---- a flush under way ---- */

enum {
    FLUSH_PART_LEAST = 16, /* of a flush: before that nothing is known of its speed */
    FLUSH_PART_SYNC = 6,   /* of its time, for what comes behind the last entry: syncs and the edit */
};

/* Without this a writer that is faster than the flush fills its memtable and then stands still for what is left of the
 * flush: measured, up to 250 ms at once. */
uint64_t pace_flush_rate(const struct pace_flush *flush)
{
    double part, left, free, used = (double)flush->active_used;
    double elapsed = (double)(flush->elapsed ? flush->elapsed : 1);

    if (flush->entries * FLUSH_PART_LEAST < flush->entries_all || flush->flushed_bytes == 0)
        return UINT64_MAX;
    part = flush->entries < flush->entries_all ? (double)flush->entries / (double)flush->entries_all : 1;
    left = elapsed / part * (1 + 1.0 / FLUSH_PART_SYNC) - elapsed;
    free = flush->active_used < flush->active_max ? (double)flush->active_max - used : 0;
    if (used * left <= free * elapsed)
        return UINT64_MAX;
    free *= (double)flush->user_bytes / part / (double)flush->flushed_bytes;
    free = free * 1e6 / left;
    return free > (double)RATE_LEAST ? (uint64_t)free : RATE_LEAST;
}

/* ---- rate to waiting ---- */

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

void pace_bucket_init(struct pace_bucket *bucket, uint64_t rate, uint64_t burst)
{
    atomic_init(&bucket->rate, rate ? rate : UINT64_MAX);
    for (size_t i = 0; i < PACE_ASKERS; i++)
        atomic_init(&bucket->asked[i], UINT64_MAX);
    atomic_init(&bucket->paid, 0);
    atomic_init(&bucket->waited, 0);
    atomic_init(&bucket->stopped, 0);
    bucket->burst = burst * 1000;
}

/* What is still to be waited for at one rate takes this long at another. */
static uint64_t rescale(uint64_t ns, uint64_t from, uint64_t to)
{
    unsigned __int128 scaled = (unsigned __int128)ns * from / to;

    return scaled > UINT64_MAX / 4 ? UINT64_MAX / 4 : (uint64_t)scaled;
}

/* A higher rate also holds for what was taken at the lower one: also if somebody takes just now, as the schedule of a
 * rate near 0 may reach minutes ahead. Two who set it at once leave a schedule that is a little off, and that only until
 * it is paid. */
void pace_set_rate(struct pace_bucket *bucket, uint64_t rate)
{
    uint64_t to = rate ? rate : UINT64_MAX;
    uint64_t from = atomic_exchange(&bucket->rate, to);
    uint64_t now, paid;

    if (from >= to)
        return;
    now = now_ns();
    paid = atomic_load_explicit(&bucket->paid, memory_order_relaxed);
    while (paid > now &&
           !atomic_compare_exchange_weak(&bucket->paid, &paid, now + rescale(paid - now, from, to)))
        continue;
}

static uint64_t least_asked(const struct pace_bucket *bucket)
{
    uint64_t least = UINT64_MAX;

    for (size_t i = 0; i < PACE_ASKERS; i++) {
        uint64_t asked = atomic_load(&bucket->asked[i]);

        if (asked < least)
            least = asked;
    }
    return least;
}

/* Who has set a rate looks again: the other one may have asked in between and have set its own first. All in one order,
 * so that the last of them to set it sees what the others asked for. */
void pace_ask(struct pace_bucket *bucket, enum pace_asker asker, uint64_t rate)
{
    uint64_t least;

    atomic_store(&bucket->asked[asker], rate);
    do {
        least = least_asked(bucket);
        if (atomic_load(&bucket->rate) != least)
            pace_set_rate(bucket, least);
    } while (least_asked(bucket) != least);
}

static uint64_t cost_of(uint64_t bytes, uint64_t rate)
{
    unsigned __int128 cost = (unsigned __int128)bytes * NS_PER_SECOND / rate;

    return cost > UINT64_MAX / 4 ? UINT64_MAX / 4 : (uint64_t)cost;
}

uint64_t pace_take(struct pace_bucket *bucket, uint64_t bytes, uint64_t now)
{
    uint64_t rate = atomic_load_explicit(&bucket->rate, memory_order_relaxed);
    uint64_t earliest = now > bucket->burst ? now - bucket->burst : 0;
    uint64_t old, paid;

    if (rate == UINT64_MAX)
        return 0;
    old = atomic_load_explicit(&bucket->paid, memory_order_relaxed);
    do {
        paid = (old > earliest ? old : earliest) + cost_of(bytes, rate);
    } while (!atomic_compare_exchange_weak_explicit(&bucket->paid, &old, paid, memory_order_relaxed,
                                                    memory_order_relaxed));
    return paid > now ? (paid - now) / 1000 : 0;
}

uint64_t pace_wait(struct pace_bucket *bucket, uint64_t bytes)
{
    uint64_t rate = atomic_load_explicit(&bucket->rate, memory_order_relaxed);
    uint64_t begin, now, left;

    if (rate == UINT64_MAX)
        return 0;
    begin = now = now_ns();
    left = pace_take(bucket, bytes, now) * 1000;
    if (left < WAIT_LEAST)
        return 0;
    while (left > 0 && !atomic_load_explicit(&bucket->stopped, memory_order_relaxed)) {
        uint64_t before = now, slept, rate_now;

        futex_wait(&bucket->stopped, 0, left < WAIT_PIECE ? left / 1000 : WAIT_PIECE / 1000);
        now = now_ns();
        slept = now - before;
        left = slept < left ? left - slept : 0;
        rate_now = atomic_load_explicit(&bucket->rate, memory_order_relaxed);
        if (rate_now > rate)
            left = rescale(left, rate, rate_now);
        rate = rate_now;
        if (left < 1000)
            left = 0;
    }
    if (now > begin)
        atomic_fetch_add_explicit(&bucket->waited, (now - begin) / 1000, memory_order_relaxed);
    return (now - begin) / 1000;
}

void pace_table(void *bucket, size_t bytes)
{
    pace_wait(bucket, bytes);
}

void pace_stop(struct pace_bucket *bucket)
{
    pace_set_rate(bucket, UINT64_MAX);
    atomic_store(&bucket->stopped, 1);
    futex_wake(&bucket->stopped, INT32_MAX);
}
