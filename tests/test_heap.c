/* test_heap.c - objects of all sizes come and go; nobody's bytes change but by their owner. */
#include "base/heap.h"
#include "base/mem.h"
#include "base/random.h"
#include <assert.h>
#include <string.h>

enum { OBJECTS = 2000, STEPS = 40000 };

struct object {
    unsigned char *at;
    size_t size;
    unsigned char mark;
};

static void check(const struct object *o)
{
    assert((uintptr_t)o->at % 64 == 0);
    for (size_t i = 0; i < o->size; i++)
        assert(o->at[i] == o->mark);
}

static size_t size_drawn(struct random *random)
{
    switch (random_below(random, 16)) {
    case 0: return 1 + random_below(random, 64);
    case 1: return 1 + random_below(random, 300000); /* some larger than chunks are for */
    default: return 4000 + random_below(random, 500);
    }
}

/* Each turn fills the places that are empty and empties those that are full, more of the one or of the other in turn. */
static void test_come_and_go(void)
{
    struct heap *heap = heap_new();
    static struct object objects[OBJECTS];
    struct random random;

    assert(heap);
    random_seed(&random, 1);
    for (int step = 0; step < STEPS; step++) {
        struct object *o = &objects[random_below(&random, OBJECTS)];
        bool growing = step / 5000 % 2 == 0;

        if (o->at && random_below(&random, 4) >= (growing ? 3u : 1u)) {
            check(o);
            heap_release(heap, o->at, o->size);
            o->at = NULL;
        } else if (!o->at && random_below(&random, 4) >= (growing ? 0u : 3u)) {
            o->size = size_drawn(&random);
            o->mark = (unsigned char)step;
            o->at = heap_alloc(heap, o->size);
            assert(o->at);
            memset(o->at, o->mark, o->size);
        }
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        if (!objects[i].at)
            continue;
        check(&objects[i]);
        heap_release(heap, objects[i].at, heap_round(objects[i].size));
    }
    heap_free(heap);
}

/* What was given back is used again, joined with its neighbours. */
static void test_reuse(void)
{
    struct heap *heap = heap_new();
    void *first, *second, *third, *all;

    assert(heap);
    first = heap_alloc(heap, 4096);
    second = heap_alloc(heap, 4000);
    third = heap_alloc(heap, 64);
    assert(first && second && third);
    heap_release(heap, first, 4096);
    heap_release(heap, second, 4000);
    all = heap_alloc(heap, 8192 - 64);
    assert(all == first);
    heap_release(heap, third, 64);
    heap_release(heap, all, 8192 - 64);
    heap_free(heap);
}

static void test_no_memory(void)
{
    struct heap *heap = heap_new();
    void *object;

    assert(heap);
    mem_fail_at(1, false);
    assert(!heap_alloc(heap, 4096));
    object = heap_alloc(heap, 4096);
    assert(object);
    heap_release(heap, object, 4096);
    mem_fail_at(0, false);
    heap_free(heap);
}

int main(void)
{
    test_come_and_go();
    test_reuse();
    test_no_memory();
    return 0;
}
