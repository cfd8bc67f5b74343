/* test_epoch.c - readers follow a shared pointer while writers replace and retire what it points to;
 * what is released is poisoned, so that a reader who still sees it finds out. */
#undef NDEBUG
#include "base/epoch.h"
#include "base/mem.h"
#include "base/thread.h"
#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

enum { READERS = 3, WRITERS = 2, REPLACEMENTS = 5000, CELLS = 4, GOOD = 0x600d, CROWD = 1100 };

struct item {
    uint64_t state;
    uint64_t number;
    struct epoch_item retired;
};

static _Atomic(struct item *) cells[CELLS];
static _Atomic bool stop;
static _Atomic uint64_t made, released;

static struct item *item_new(uint64_t number)
{
    struct item *item = mem_alloc(sizeof(*item));

    assert(item);
    item->state = GOOD;
    item->number = number;
    atomic_fetch_add(&made, 1);
    return item;
}

static void item_release(struct epoch_item *retired)
{
    struct item *item = (struct item *)((char *)retired - offsetof(struct item, retired));

    assert(item->state == GOOD);
    item->state = 0;
    atomic_fetch_add(&released, 1);
    mem_free(item);
}

static void *read_cells(void *arg)
{
    uint64_t seen = 0;

    while (!atomic_load(&stop)) {
        epoch_enter();
        for (int i = 0; i < CELLS; i++) {
            struct item *item = atomic_load_explicit(&cells[i], memory_order_acquire);

            epoch_enter(); /* nested */
            assert(item->state == GOOD);
            seen += item->number;
            epoch_leave();
            assert(item->state == GOOD);
        }
        epoch_leave();
    }
    return (void *)(uintptr_t)(seen > 0);
}

static void *replace_cells(void *arg)
{
    for (uint64_t i = 0; i < REPLACEMENTS; i++) {
        struct item *old = atomic_exchange(&cells[i % CELLS], item_new(i));

        epoch_retire(&old->retired, item_release);
    }
    return NULL;
}

static void readers_and_writers(void)
{
    pthread_t readers[READERS], writers[WRITERS];

    for (int i = 0; i < CELLS; i++)
        atomic_store(&cells[i], item_new(1));
    for (int i = 0; i < READERS; i++)
        assert(thread_start(&readers[i], "reader", read_cells, NULL) == HELIOS_OK);
    for (int i = 0; i < WRITERS; i++)
        assert(thread_start(&writers[i], "writer", replace_cells, NULL) == HELIOS_OK);
    for (int i = 0; i < WRITERS; i++)
        thread_join(writers[i]);
    epoch_drain(); /* with readers still about */
    assert(atomic_load(&released) == WRITERS * REPLACEMENTS);
    atomic_store(&stop, true);
    for (int i = 0; i < READERS; i++)
        thread_join(readers[i]);
}

/* What is retired while this thread is inside stays until it leaves. */
static void held_while_inside(void)
{
    struct item *item = item_new(1);
    uint64_t before = atomic_load(&released);
    pthread_t writers[1];

    epoch_enter();
    epoch_retire(&item->retired, item_release);
    epoch_collect();
    assert(item->state == GOOD);
    assert(thread_start(&writers[0], "writer", replace_cells, NULL) == HELIOS_OK);
    thread_join(writers[0]);
    assert(item->state == GOOD);
    assert(atomic_load(&released) == before);
    epoch_leave();
    epoch_drain();
    assert(atomic_load(&released) == before + 1 + REPLACEMENTS);
}

/* More threads than slots, all inside at once; then again, with the slots given back. */
static _Atomic int inside;
static _Atomic uint32_t may_leave;

static void *stay(void *arg)
{
    epoch_enter();
    assert(atomic_load(&cells[0])->state == GOOD);
    atomic_fetch_add(&inside, 1);
    futex_wait(&may_leave, 0, UINT64_MAX);
    while (!atomic_load(&may_leave))
        futex_wait(&may_leave, 0, UINT64_MAX);
    epoch_leave();
    epoch_enter();
    epoch_leave();
    return NULL;
}

static void crowd(void)
{
    pthread_t *threads = mem_array(CROWD, sizeof(*threads));
    struct item *item = item_new(1);
    uint64_t before = atomic_load(&released);

    atomic_store(&inside, 0);
    atomic_store(&may_leave, 0);
    for (int i = 0; i < CROWD; i++)
        assert(thread_start(&threads[i], "crowd", stay, NULL) == HELIOS_OK);
    while (atomic_load(&inside) < CROWD)
        usleep(100);
    epoch_retire(&item->retired, item_release);
    epoch_collect();
    assert(atomic_load(&released) == before);
    atomic_store(&may_leave, 1);
    futex_wake(&may_leave, INT32_MAX);
    epoch_drain();
    assert(atomic_load(&released) == before + 1);
    for (int i = 0; i < CROWD; i++)
        thread_join(threads[i]);
    mem_free(threads);
}

int main(void)
{
    readers_and_writers();
    held_while_inside();
    crowd();
    crowd();
    for (int i = 0; i < CELLS; i++)
        epoch_retire(&atomic_load(&cells[i])->retired, item_release);
    epoch_drain();
    assert(atomic_load(&made) == atomic_load(&released));
    return 0;
}
