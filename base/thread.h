/* thread.h - mutex, condition, thread, futex: thin over pthreads and Linux, asserting success. */
#ifndef HELIOS_BASE_THREAD_H
#define HELIOS_BASE_THREAD_H
#include "base/status.h"
#include <pthread.h>
#include <stdatomic.h>

struct mutex {
    pthread_mutex_t lock;
}; /* adaptive: spins a moment, then sleeps */
struct condition {
    pthread_cond_t cond;
}; /* waits on CLOCK_MONOTONIC */

void mutex_init(struct mutex *);
void mutex_release(struct mutex *);
static inline void mutex_lock(struct mutex *m)
{
    pthread_mutex_lock(&m->lock);
}
static inline bool mutex_try(struct mutex *m)
{
    return pthread_mutex_trylock(&m->lock) == 0;
}
static inline void mutex_unlock(struct mutex *m)
{
    pthread_mutex_unlock(&m->lock);
}

void condition_init(struct condition *);
void condition_release(struct condition *);
void condition_wait(struct condition *, struct mutex *);
bool condition_wait_for(struct condition *, struct mutex *, uint64_t timeout); /* us; false: timed out */
static inline void condition_signal(struct condition *c)
{
    pthread_cond_signal(&c->cond);
}
static inline void condition_broadcast(struct condition *c)
{
    pthread_cond_broadcast(&c->cond);
}

/* All signals blocked in the new thread; name is shown by debuggers, at most 15 bytes. */
helios_status thread_start(pthread_t *, const char *name, void *(*run)(void *), void *arg) CHECKED;
void thread_join(pthread_t);

/* From now on the calling thread runs when others leave it the processor; best effort. */
void thread_yield_to_others(void);

void thread_sleep(uint64_t time); /* us */

/* The system's number of the calling thread, as debuggers show it; asked once a thread. */
uint32_t thread_id(void);

/* Sleep while *word == expected, at most timeout us (UINT64_MAX: no limit); may wake early. */
void futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout);
void futex_wake(_Atomic uint32_t *word, int count); /* INT_MAX: all */

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

unsigned cpu_count(void);

#endif
