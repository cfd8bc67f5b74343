/* pool.c - two queues and some threads. Called by engine/. */
#include "compaction/pool.h"
#include "base/mem.h"
#include "base/thread.h"
#include <assert.h>

struct queue {
    struct pool_job *first, **end;
    unsigned queued, running;
};

struct pool {
    /* Constant after pool_new. */
    unsigned thread_count;
    pthread_t *threads;
    /* Guarded by mu. */
    struct mutex mu;
    struct condition work; /* something may be begun, or the end */
    struct condition idle; /* a job ended */
    struct queue queues[POOL_PRIORITIES];
    bool closing;
};

static void queue_init(struct queue *queue)
{
    queue->end = &queue->first;
}

static void queue_put(struct queue *queue, struct pool_job *job)
{
    job->next = NULL;
    *queue->end = job;
    queue->end = &job->next;
    queue->queued++;
}

static struct pool_job *queue_take(struct queue *queue)
{
    struct pool_job *job = queue->first;

    queue->first = job->next;
    if (!queue->first)
        queue->end = &queue->first;
    queue->queued--;
    return job;
}

static bool queue_remove(struct queue *queue, struct pool_job *job)
{
    struct pool_job **link = &queue->first;

    while (*link && *link != job)
        link = &(*link)->next;
    if (!*link)
        return false;
    *link = job->next;
    if (queue->end == &job->next)
        queue->end = link;
    queue->queued--;
    return true;
}

/* The queue from which a thread may begin a job now, or NULL. */
static struct queue *choose_locked(struct pool *pool)
{
    struct queue *flushes = &pool->queues[POOL_FLUSH], *compactions = &pool->queues[POOL_COMPACTION];
    unsigned reserved = pool->thread_count > 1;

    if (pool->closing)
        return NULL;
    if (flushes->first)
        return flushes;
    if (compactions->first && compactions->running + reserved < pool->thread_count)
        return compactions;
    return NULL;
}

static void run_one_locked(struct pool *pool, struct queue *queue)
{
    struct pool_job *job = queue_take(queue);

    queue->running++;
    mutex_unlock(&pool->mu);
    job->run(job); /* and from here on the job may be gone */
    mutex_lock(&pool->mu);
    queue->running--;
    condition_broadcast(&pool->idle);
}

static void *work(void *arg)
{
    struct pool *pool = arg;

    mutex_lock(&pool->mu);
    while (!pool->closing) {
        struct queue *queue = choose_locked(pool);

        if (queue)
            run_one_locked(pool, queue);
        else
            condition_wait(&pool->work, &pool->mu);
    }
    mutex_unlock(&pool->mu);
    return NULL;
}

static void end_threads(struct pool *pool, unsigned started)
{
    mutex_lock(&pool->mu);
    pool->closing = true;
    condition_broadcast(&pool->work);
    mutex_unlock(&pool->mu);
    for (unsigned i = 0; i < started; i++)
        thread_join(pool->threads[i]);
}

static void pool_destroy(struct pool *pool)
{
    condition_release(&pool->work);
    condition_release(&pool->idle);
    mutex_release(&pool->mu);
    mem_free(pool->threads);
    mem_free(pool);
}

helios_status pool_new(unsigned threads, struct pool **pool_out)
{
    struct pool *pool = mem_zalloc(sizeof(*pool));

    assert(threads > 0);
    if (!pool)
        return fail_no_memory(sizeof(*pool));
    pool->thread_count = threads;
    mutex_init(&pool->mu);
    condition_init(&pool->work);
    condition_init(&pool->idle);
    for (int i = 0; i < POOL_PRIORITIES; i++)
        queue_init(&pool->queues[i]);
    pool->threads = mem_array(threads, sizeof(*pool->threads));
    if (!pool->threads) {
        pool_destroy(pool);
        return fail_no_memory(threads * sizeof(*pool->threads));
    }
    for (unsigned i = 0; i < threads; i++) {
        helios_status status = thread_start(&pool->threads[i], "helios-pool", work, pool);

        if (status != HELIOS_OK) {
            end_threads(pool, i);
            pool_destroy(pool);
            return status;
        }
    }
    *pool_out = pool;
    return HELIOS_OK;
}

void pool_submit(struct pool *pool, enum pool_priority priority, struct pool_job *job)
{
    mutex_lock(&pool->mu);
    queue_put(&pool->queues[priority], job);
    condition_signal(&pool->work);
    mutex_unlock(&pool->mu);
}

bool pool_cancel(struct pool *pool, struct pool_job *job)
{
    bool found = false;

    mutex_lock(&pool->mu);
    for (int i = 0; i < POOL_PRIORITIES && !found; i++)
        found = queue_remove(&pool->queues[i], job);
    if (found)
        condition_broadcast(&pool->idle);
    mutex_unlock(&pool->mu);
    return found;
}

static bool is_idle_locked(const struct pool *pool)
{
    for (int i = 0; i < POOL_PRIORITIES; i++) {
        if (pool->queues[i].queued || pool->queues[i].running)
            return false;
    }
    return true;
}

void pool_drain(struct pool *pool)
{
    mutex_lock(&pool->mu);
    while (!is_idle_locked(pool))
        condition_wait(&pool->idle, &pool->mu);
    mutex_unlock(&pool->mu);
}

/* Dropping may submit again, which is dropped likewise; no thread is left by then. */
static void drop_queued(struct pool *pool, void (*dropped)(struct pool_job *))
{
    for (int i = 0; i < POOL_PRIORITIES; i++) {
        while (pool->queues[i].first) {
            struct pool_job *job = queue_take(&pool->queues[i]);

            if (dropped)
                dropped(job);
        }
    }
}

void pool_free(struct pool *pool, void (*dropped)(struct pool_job *))
{
    if (!pool)
        return;
    end_threads(pool, pool->thread_count);
    drop_queued(pool, dropped);
    pool_destroy(pool);
}

unsigned pool_threads(const struct pool *pool)
{
    return pool->thread_count;
}

void pool_load(struct pool *pool, enum pool_priority priority, unsigned *queued, unsigned *running)
{
    mutex_lock(&pool->mu);
    *queued = pool->queues[priority].queued;
    *running = pool->queues[priority].running;
    mutex_unlock(&pool->mu);
}
