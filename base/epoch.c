/* epoch.c - reclamation by epochs. One clock counts retirements. A reader shows in its slot what the
 * clock said when it came; an item may go once every reader inside came after the item's own tick:
 *
 *   retire: unlink, then tick = clock++        reader: slot = clock, then load pointers
 *
 * A reader with slot > tick read the clock after the item was unlinked and cannot reach it. One with
 * slot <= tick is waited for, if the collector sees its slot; if it does not, the reader's loads come
 * later than the collector's look and so later than the unlinking. That last step needs the store to
 * the slot to be ordered before the loads that follow: the one expensive instruction here. */
#include "base/epoch.h"
#include "base/thread.h"
#include <assert.h>
#include <unistd.h>

enum { SLOT_COUNT = 1024, COLLECT_EVERY = 32, CACHE_LINE = 64 };
#define OUTSIDE UINT64_MAX

struct slot {
    _Alignas(CACHE_LINE) _Atomic uint64_t inside; /* 0: free; OUTSIDE; else the clock at entering */
};

static struct slot slots[SLOT_COUNT];
static _Atomic unsigned slots_used; /* those from here on were never taken */
static _Atomic uint64_t now = 1;

/* Threads that found no slot: counted in two generations, so that one empties while newcomers go to
 * the other, and an endless overlap of stays does not hold the oldest clock for ever. */
static struct {
    pthread_mutex_t lock;
    uint64_t inside[2];
    unsigned count[2];
    unsigned current;
} crowd = {.lock = PTHREAD_MUTEX_INITIALIZER};
static struct slot crowd_member; /* only its address is used */

/* What a library touches on each enter must not cost a call: hence the model. */
#define FAST_THREAD_LOCAL static __thread __attribute__((tls_model("initial-exec")))
FAST_THREAD_LOCAL struct slot *mine;
FAST_THREAD_LOCAL unsigned depth;
FAST_THREAD_LOCAL unsigned crowd_generation;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t exit_key;
static bool exit_key_made;

/* ---- entering and leaving ---- */

#if defined(__x86_64__) || defined(__SANITIZE_THREAD__)
static inline void show(struct slot *slot, uint64_t clock)
{
    atomic_exchange(&slot->inside, clock); /* a full barrier on this machine */
}
#else
static inline void show(struct slot *slot, uint64_t clock)
{
    atomic_store_explicit(&slot->inside, clock, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
}
#endif

static void slot_give_back(void *slot)
{
    assert(depth == 0);
    mine = NULL;
    atomic_store(&((struct slot *)slot)->inside, 0);
}

static void make_exit_key(void)
{
    exit_key_made = pthread_key_create(&exit_key, slot_give_back) == 0;
}

static void note_used(unsigned count)
{
    unsigned used = atomic_load(&slots_used);

    while (used < count && !atomic_compare_exchange_weak(&slots_used, &used, count))
        ;
}

static struct slot *slot_find(void)
{
    for (unsigned i = 0; i < SLOT_COUNT; i++) {
        uint64_t unused = 0;

        note_used(i + 1); /* before it is taken, or a collector could overlook it */
        if (atomic_compare_exchange_strong(&slots[i].inside, &unused, OUTSIDE))
            return &slots[i];
    }
    return NULL;
}

/* Without the note that gives the slot back at the thread's exit, none is taken. */
static __attribute__((noinline)) struct slot *slot_take(void)
{
    struct slot *slot = NULL;

    pthread_once(&once, make_exit_key);
    if (exit_key_made)
        slot = slot_find();
    if (slot && pthread_setspecific(exit_key, slot) != 0) {
        atomic_store(&slot->inside, 0);
        slot = NULL;
    }
    mine = slot ? slot : &crowd_member;
    return mine;
}

static __attribute__((noinline)) void crowd_enter(void)
{
    unsigned other;

    pthread_mutex_lock(&crowd.lock);
    other = !crowd.current;
    if (crowd.count[crowd.current] > 0 && crowd.count[other] == 0)
        crowd.current = other;
    if (crowd.count[crowd.current]++ == 0)
        crowd.inside[crowd.current] = atomic_load(&now);
    crowd_generation = crowd.current;
    pthread_mutex_unlock(&crowd.lock);
}

static __attribute__((noinline)) void crowd_leave(void)
{
    pthread_mutex_lock(&crowd.lock);
    crowd.count[crowd_generation]--;
    pthread_mutex_unlock(&crowd.lock);
}

void epoch_enter(void)
{
    struct slot *slot = mine;

    if (depth++ > 0)
        return;
    if (!slot)
        slot = slot_take();
    if (slot != &crowd_member)
        show(slot, atomic_load_explicit(&now, memory_order_acquire));
    else
        crowd_enter();
}

void epoch_leave(void)
{
    assert(depth > 0);
    if (--depth > 0)
        return;
    if (mine != &crowd_member)
        atomic_store_explicit(&mine->inside, OUTSIDE, memory_order_release);
    else
        crowd_leave();
}

/* ---- retiring and collecting ---- */

static _Atomic(struct epoch_item *) retired; /* a stack: pushed by all, taken whole by the collector */
static _Atomic uint64_t pending;             /* retired and not yet released */
static _Atomic uint64_t collect_at = COLLECT_EVERY;
static _Atomic bool collecting;    /* at most one collector; the others do not wait */
static struct epoch_item *waiting; /* the collector's */

static uint64_t crowd_oldest(void)
{
    uint64_t oldest = OUTSIDE;

    pthread_mutex_lock(&crowd.lock);
    for (int i = 0; i < 2; i++) {
        if (crowd.count[i] > 0 && crowd.inside[i] < oldest)
            oldest = crowd.inside[i];
    }
    pthread_mutex_unlock(&crowd.lock);
    return oldest;
}

/* The clock of the reader that came first, of those inside; what ticked at or after it stays. */
static uint64_t oldest_inside(void)
{
    uint64_t oldest = crowd_oldest();
    unsigned used;

    atomic_fetch_add(&now, 0); /* orders the unlinking of what was taken before the look at the slots */
    used = atomic_load(&slots_used);
    for (unsigned i = 0; i < used; i++) {
        uint64_t inside = atomic_load(&slots[i].inside);

        if (inside != 0 && inside < oldest)
            oldest = inside;
    }
    return oldest;
}

static void take_retired(void)
{
    struct epoch_item *item = atomic_exchange(&retired, NULL);

    while (item) {
        struct epoch_item *next = item->next;

        item->next = waiting;
        waiting = item;
        item = next;
    }
}

/* Releases what can go. Returns the smallest tick that had to stay. */
static uint64_t release_old(void)
{
    struct epoch_item **link = &waiting, *free_now = NULL, *item;
    uint64_t oldest, left = UINT64_MAX;

    take_retired();
    oldest = oldest_inside();
    while ((item = *link) != NULL) {
        if (item->epoch < oldest) {
            *link = item->next;
            item->next = free_now;
            free_now = item;
        } else {
            left = item->epoch < left ? item->epoch : left;
            link = &item->next;
        }
    }
    while ((item = free_now) != NULL) {
        free_now = item->next;
        item->release(item);
        atomic_fetch_sub(&pending, 1);
    }
    return left;
}

/* False when another thread is at it, or this one further up. *left: the smallest tick not released. */
static bool collect(uint64_t *left)
{
    if (atomic_exchange(&collecting, true))
        return false;
    *left = release_old();
    atomic_store(&collect_at, atomic_load(&pending) + COLLECT_EVERY);
    atomic_store(&collecting, false);
    return true;
}

void epoch_retire(struct epoch_item *item, void (*release)(struct epoch_item *))
{
    uint64_t left;

    item->release = release;
    item->epoch = atomic_fetch_add(&now, 1);
    item->next = atomic_load_explicit(&retired, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&retired, &item->next, item))
        ;
    if (atomic_fetch_add(&pending, 1) + 1 >= atomic_load(&collect_at) && depth == 0)
        collect(&left);
}

void epoch_collect(void)
{
    uint64_t left;

    if (depth == 0)
        collect(&left);
}

void epoch_drain(void)
{
    uint64_t before = atomic_fetch_add(&now, 1), left;

    assert(depth == 0);
    while (!collect(&left) || left < before)
        usleep(20);
}
