/* test_pool.c - flushes go first and never wait behind compactions; nothing is lost, nothing runs twice. */
#undef NDEBUG
#include "base/mem.h"
#include "base/thread.h"
#include "compaction/pool.h"
#include <assert.h>
#include <stdio.h>
#include <time.h>

enum { JOBS = 500 };

struct task {
    struct pool_job job;
    int index;
};

static _Atomic int ran, dropped_count;
static _Atomic uint32_t gate; /* 0: closed */
static _Atomic int at_gate;

static void count_job(struct pool_job *job)
{
    atomic_fetch_add(&ran, 1);
    mem_free(job); /* the node is the job's own */
}

static void gate_job(struct pool_job *job)
{
    atomic_fetch_add(&at_gate, 1);
    while (atomic_load(&gate) == 0)
        futex_wait(&gate, 0, UINT64_MAX);
    atomic_fetch_sub(&at_gate, 1);
}

static void note_dropped(struct pool_job *job)
{
    atomic_fetch_add(&dropped_count, 1);
}

static void nap(void)
{
    nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static void open_gate(void)
{
    atomic_store(&gate, 1);
    futex_wake(&gate, INT32_MAX);
}

static void test_all_run(unsigned threads)
{
    struct pool *pool;

    atomic_store(&ran, 0);
    assert(pool_new(threads, &pool) == HELIOS_OK && pool_threads(pool) == threads);
    for (int i = 0; i < JOBS; i++) {
        struct pool_job *job = mem_zalloc(sizeof(*job));

        job->run = count_job;
        pool_submit(pool, i % 3 ? POOL_COMPACTION : POOL_FLUSH, job);
    }
    pool_drain(pool);
    assert(ran == JOBS);
    pool_free(pool, NULL);
}

/* Compactions fill their threads and the queue; a flush runs all the same. */
static void test_flush_is_free(void)
{
    struct pool *pool;
    struct pool_job blocks[4] = {{gate_job}, {gate_job}, {gate_job}, {gate_job}};
    unsigned queued, running;

    atomic_store(&gate, 0);
    atomic_store(&ran, 0);
    assert(pool_new(3, &pool) == HELIOS_OK);
    for (int i = 0; i < 4; i++)
        pool_submit(pool, POOL_COMPACTION, &blocks[i]);
    while (atomic_load(&at_gate) < 2)
        nap();
    for (int i = 0; i < 10; i++) {
        struct pool_job *flush = mem_zalloc(sizeof(*flush));

        flush->run = count_job;
        pool_submit(pool, POOL_FLUSH, flush);
    }
    while (atomic_load(&ran) < 10)
        nap();
    pool_load(pool, POOL_COMPACTION, &queued, &running);
    assert(queued == 2 && running == 2);
    assert(pool_cancel(pool, &blocks[3]) && !pool_cancel(pool, &blocks[3]) && !pool_cancel(pool, &blocks[0]));
    open_gate();
    pool_drain(pool);
    pool_free(pool, NULL);
}

static int order[3];
static _Atomic int order_count;

static void note_order(struct pool_job *job)
{
    order[atomic_fetch_add(&order_count, 1)] = ((struct task *)job)->index;
}

/* With one thread everything shares it, flushes first. */
static void test_one_thread(void)
{
    struct pool *pool;
    struct pool_job block = {gate_job};
    struct task tasks[3] = {{{note_order}, 0}, {{note_order}, 1}, {{note_order}, 2}};

    atomic_store(&gate, 0);
    assert(pool_new(1, &pool) == HELIOS_OK);
    pool_submit(pool, POOL_COMPACTION, &block);
    while (atomic_load(&at_gate) == 0)
        nap();
    pool_submit(pool, POOL_COMPACTION, &tasks[0].job);
    pool_submit(pool, POOL_FLUSH, &tasks[1].job);
    pool_submit(pool, POOL_FLUSH, &tasks[2].job);
    open_gate();
    pool_drain(pool);
    assert(order[0] == 1 && order[1] == 2 && order[2] == 0);
    pool_free(pool, NULL);
}

static struct pool *closing;
static struct pool_job late = {gate_job};

static void submit_late(struct pool_job *job)
{
    atomic_fetch_add(&at_gate, 1);
    while (atomic_load(&gate) == 0)
        nap();
    pool_submit(closing, POOL_COMPACTION, &late);
    atomic_fetch_sub(&at_gate, 1);
}

static void *open_later(void *arg)
{
    nap();
    open_gate();
    return NULL;
}

/* What runs at the end is waited for; what is queued then, and what it submits, is dropped. */
static void test_close(void)
{
    struct pool_job first = {submit_late}, second = {gate_job};
    pthread_t thread;

    atomic_store(&gate, 0);
    atomic_store(&dropped_count, 0);
    assert(pool_new(1, &closing) == HELIOS_OK);
    pool_submit(closing, POOL_COMPACTION, &first);
    pool_submit(closing, POOL_COMPACTION, &second);
    while (atomic_load(&at_gate) == 0)
        nap();
    assert(thread_start(&thread, "opener", open_later, NULL) == HELIOS_OK);
    pool_free(closing, note_dropped);
    thread_join(thread);
    assert(at_gate == 0 && dropped_count <= 2);
    pool_free(NULL, NULL);
}

static void test_no_memory(void)
{
    struct pool *pool;

    for (int n = 1; n <= 2; n++) {
        mem_fail_at((uint64_t)n, false);
        assert(pool_new(2, &pool) == HELIOS_NO_MEMORY);
        mem_fail_at(0, false);
    }
}

int main(void)
{
    for (unsigned threads = 1; threads <= 4; threads++)
        test_all_run(threads);
    test_flush_is_free();
    test_one_thread();
    for (int i = 0; i < 20; i++)
        test_close();
    test_no_memory();
    return 0;
}
