/* sim_wrap.c - the calls by which the engine's threads meet each other and the clock, as the simulation's machine answers
 * them; the linker puts them in the place of the true ones. */
#undef NDEBUG
#include "tests/sim_internal.h"
#include "base/thread.h"
#include "io/io.h"
#include <assert.h>
#include <errno.h>
#include <limits.h>

enum { AT_LOCK = 1, AT_UNLOCK, AT_SIGNAL, AT_FUTEX, AT_START, AT_CLOCK, AT_FILE };

static uint64_t deadline(uint64_t timeout)
{
    return timeout > UINT64_MAX - sim.now ? UINT64_MAX : sim.now + timeout;
}

/* ---- locks: the true one is taken, never waited for ---- */

int __real_pthread_mutex_lock(pthread_mutex_t *);
int __real_pthread_mutex_trylock(pthread_mutex_t *);
int __real_pthread_mutex_unlock(pthread_mutex_t *);
int __real_pthread_rwlock_rdlock(pthread_rwlock_t *);
int __real_pthread_rwlock_wrlock(pthread_rwlock_t *);
int __real_pthread_rwlock_unlock(pthread_rwlock_t *);
int __wrap_pthread_mutex_lock(pthread_mutex_t *);
int __wrap_pthread_mutex_trylock(pthread_mutex_t *);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *);
int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *);
int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *);
int __wrap_pthread_rwlock_unlock(pthread_rwlock_t *);

int __wrap_pthread_mutex_lock(pthread_mutex_t *m)
{
    if (!sim_self)
        return __real_pthread_mutex_lock(m);
    sim_point(AT_LOCK);
    while (__real_pthread_mutex_trylock(m) != 0)
        sim_wait(m, UINT64_MAX, "for a mutex");
    return 0;
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t *m)
{
    if (sim_self)
        sim_point(AT_LOCK);
    return __real_pthread_mutex_trylock(m);
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *m)
{
    int result = __real_pthread_mutex_unlock(m);

    if (sim_self) {
        sim_wake(m, INT_MAX);
        sim_point(AT_UNLOCK);
    }
    return result;
}

int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *l)
{
    if (!sim_self)
        return __real_pthread_rwlock_rdlock(l);
    while (pthread_rwlock_tryrdlock(l) != 0)
        sim_wait(l, UINT64_MAX, "for a file's lock, to read");
    return 0;
}

int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *l)
{
    if (!sim_self)
        return __real_pthread_rwlock_wrlock(l);
    while (pthread_rwlock_trywrlock(l) != 0)
        sim_wait(l, UINT64_MAX, "for a file's lock, to write");
    return 0;
}

int __wrap_pthread_rwlock_unlock(pthread_rwlock_t *l)
{
    int result = __real_pthread_rwlock_unlock(l);

    if (sim_self)
        sim_wake(l, INT_MAX);
    return result;
}

/* ---- conditions ---- */

int __wrap_pthread_cond_signal(pthread_cond_t *);
int __wrap_pthread_cond_broadcast(pthread_cond_t *);
void __wrap_condition_wait(struct condition *, struct mutex *);
bool __wrap_condition_wait_for(struct condition *, struct mutex *, uint64_t);

int __wrap_pthread_cond_signal(pthread_cond_t *c)
{
    sim_wake(c, 1);
    sim_point(AT_SIGNAL);
    return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *c)
{
    sim_wake(c, INT_MAX);
    sim_point(AT_SIGNAL);
    return 0;
}

/* Nobody runs between letting go and waiting. */
bool __wrap_condition_wait_for(struct condition *c, struct mutex *m, uint64_t timeout)
{
    bool woken;

    __real_pthread_mutex_unlock(&m->lock);
    sim_wake(&m->lock, INT_MAX);
    woken = sim_wait(&c->cond, deadline(timeout), "for a condition");
    while (__real_pthread_mutex_trylock(&m->lock) != 0)
        sim_wait(&m->lock, UINT64_MAX, "for a condition's mutex");
    return woken;
}

void __wrap_condition_wait(struct condition *c, struct mutex *m)
{
    (void)!__wrap_condition_wait_for(c, m, UINT64_MAX);
}

/* ---- threads ---- */

helios_status __wrap_thread_start(pthread_t *, const char *, void *(*)(void *), void *);
void __wrap_thread_join(pthread_t);
void __wrap_thread_yield_to_others(void);
void __wrap_thread_sleep(uint64_t);
uint32_t __wrap_thread_id(void);
unsigned __wrap_cpu_count(void);

/* The handle is a number of the machine's: a true one is used again as soon as its thread has ended. */
helios_status __wrap_thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *arg)
{
    *thread = sim_spawn(name, run, arg)->index;
    sim_point(AT_START);
    return HELIOS_OK;
}

void __wrap_thread_join(pthread_t thread)
{
    assert(thread < sim.count);
    sim_join(sim.threads[thread]);
}

void __wrap_thread_yield_to_others(void) {}

void __wrap_thread_sleep(uint64_t time)
{
    sim_sleep(time);
}

uint32_t __wrap_thread_id(void)
{
    return sim_self->index + 1;
}

unsigned __wrap_cpu_count(void)
{
    return sim.cpus;
}

/* ---- futexes ---- */

void __wrap_futex_wait(_Atomic uint32_t *, uint32_t, uint64_t);
void __wrap_futex_wake(_Atomic uint32_t *, int);

void __wrap_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout)
{
    sim_point(AT_FUTEX);
    if (atomic_load(word) == expected)
        (void)!sim_wait(word, deadline(timeout), "for a futex");
}

void __wrap_futex_wake(_Atomic uint32_t *word, int count)
{
    sim_wake(word, count);
    sim_point(AT_FUTEX);
}

/* ---- clocks, and how long files take ---- */

uint64_t __wrap_io_time(struct io_fs *);
uint64_t __wrap_io_monotonic(struct io_fs *);
uint64_t __wrap_io_physical_memory(void);
helios_status __real_io_write(struct io_file *, uint64_t, const void *, size_t);
helios_status __real_io_read_some(struct io_file *, uint64_t, void *, size_t, size_t *);
helios_status __real_io_read(struct io_file *, uint64_t, void *, size_t);
helios_status __real_io_sync(struct io_file *);
helios_status __wrap_io_write(struct io_file *, uint64_t, const void *, size_t);
helios_status __wrap_io_read_some(struct io_file *, uint64_t, void *, size_t, size_t *);
helios_status __wrap_io_read(struct io_file *, uint64_t, void *, size_t);
helios_status __wrap_io_sync(struct io_file *);

uint64_t __wrap_io_time(struct io_fs *fs)
{
    sim_point(AT_CLOCK);
    return sim_wall();
}

uint64_t __wrap_io_monotonic(struct io_fs *fs)
{
    sim_point(AT_CLOCK);
    return sim.now;
}

uint64_t __wrap_io_physical_memory(void)
{
    return UINT64_C(8) << 30;
}

static void take_time(uint64_t times)
{
    sim_point(AT_FILE);
    if (sim.latency)
        sim_sleep(random_below(&sim.rng, sim.latency * times));
}

helios_status __wrap_io_write(struct io_file *file, uint64_t offset, const void *data, size_t size)
{
    take_time(1);
    return __real_io_write(file, offset, data, size);
}

helios_status __wrap_io_read_some(struct io_file *file, uint64_t offset, void *data, size_t size, size_t *got)
{
    take_time(1);
    return __real_io_read_some(file, offset, data, size, got);
}

helios_status __wrap_io_read(struct io_file *file, uint64_t offset, void *data, size_t size)
{
    take_time(1);
    return __real_io_read(file, offset, data, size);
}

/* Half before and half after, so that what is written meanwhile may be in or not. */
helios_status __wrap_io_sync(struct io_file *file)
{
    helios_status status;

    take_time(20);
    status = __real_io_sync(file);
    take_time(20);
    return status;
}
