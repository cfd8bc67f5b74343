/* thread.c - pthreads and futexes. What fails here is our own mistake, but for starting a thread. */
#include "base/thread.h"
#include <assert.h>
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Waiting longer than this is waiting without a limit, and adding it to a clock does not overflow. */
#define TIMEOUT_MAX (UINT64_C(1000000) * 3600 * 24 * 365)

static void must(int result)
{
    assert(result == 0);
    (void)result;
}

void mutex_init(struct mutex *m)
{
    pthread_mutexattr_t attributes;

    must(pthread_mutexattr_init(&attributes));
    must(pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP));
    must(pthread_mutex_init(&m->lock, &attributes));
    must(pthread_mutexattr_destroy(&attributes));
}

void mutex_release(struct mutex *m)
{
    must(pthread_mutex_destroy(&m->lock));
}

void condition_init(struct condition *c)
{
    pthread_condattr_t attributes;

    must(pthread_condattr_init(&attributes));
    must(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC));
    must(pthread_cond_init(&c->cond, &attributes));
    must(pthread_condattr_destroy(&attributes));
}

void condition_release(struct condition *c)
{
    must(pthread_cond_destroy(&c->cond));
}

void condition_wait(struct condition *c, struct mutex *m)
{
    must(pthread_cond_wait(&c->cond, &m->lock));
}

static struct timespec timespec_of(uint64_t microseconds)
{
    return (struct timespec){(time_t)(microseconds / 1000000), (long)(microseconds % 1000000) * 1000};
}

bool condition_wait_for(struct condition *c, struct mutex *m, uint64_t timeout)
{
    struct timespec until, by = timespec_of(timeout);
    int result;

    if (timeout > TIMEOUT_MAX) {
        condition_wait(c, m);
        return true;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += by.tv_sec;
    until.tv_nsec += by.tv_nsec;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    result = pthread_cond_timedwait(&c->cond, &m->lock, &until);
    assert(result == 0 || result == ETIMEDOUT);
    return result == 0;
}

helios_status thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *arg)
{
    sigset_t all, before;
    char shown[16];
    int result;

    sigfillset(&all);
    must(pthread_sigmask(SIG_SETMASK, &all, &before)); /* inherited: the host's signals stay the host's */
    result = pthread_create(thread, NULL, run, arg);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL));
    if (result != 0)
        return fail_io(result, "start thread", name);
    snprintf(shown, sizeof(shown), "%s", name);
    pthread_setname_np(*thread, shown);
    return HELIOS_OK;
}

void thread_yield_to_others(void)
{
    if (setpriority(PRIO_PROCESS, thread_id(), 10) != 0) /* on Linux, of a thread */
        return;
}

void thread_join(pthread_t thread)
{
    must(pthread_join(thread, NULL));
}

void futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout)
{
    struct timespec by = timespec_of(timeout);

    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout > TIMEOUT_MAX ? NULL : &by, NULL, 0);
}

void futex_wake(_Atomic uint32_t *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

unsigned cpu_count(void)
{
    cpu_set_t set;
    long online;

    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        return (unsigned)CPU_COUNT(&set);
    online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}

uint32_t thread_id(void)
{
    static _Thread_local uint32_t id;

    if (id == 0)
        id = (uint32_t)syscall(SYS_gettid);
    return id;
}

void thread_sleep(uint64_t time)
{
    struct timespec left = {(time_t)(time / 1000000), (long)(time % 1000000) * 1000};

    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
        ;
}
