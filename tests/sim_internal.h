/* sim_internal.h - of the simulation's machine, for sim_sched.c and sim_wrap.c alone. */
#ifndef HELIOS_TESTS_SIM_INTERNAL_H
#define HELIOS_TESTS_SIM_INTERNAL_H
#include "base/random.h"
#include "tests/sim_sched.h"
#include <pthread.h>
#include <semaphore.h>

enum { THREADS_MAX = 4096 };
enum thread_state { THREAD_READY, THREAD_WAITING, THREAD_DONE };

struct sim_thread {
    unsigned index;
    enum thread_state state;
    bool ending, timed_out;
    const void *waits_for; /* an address, that of what wakes it */
    const char *why;
    uint64_t until; /* WAITING: when it is woken without; UINT64_MAX: never */
    int64_t priority;
    sem_t baton;
    pthread_t handle;
    void *(*run)(void *);
    void *arg;
    char name[16];
};

/* Touched by the holder of the baton alone. */
struct machine {
    struct random rng;
    struct sim_thread *threads[THREADS_MAX];
    unsigned count, cpus;
    uint64_t now, frozen_at, latency, points, switches, switch_every;
    int64_t wall_offset, lowest;
    bool by_priority, frozen;
    pthread_key_t exit_key;
    struct sim_thread *ended; /* and not joined yet */
    uint64_t trace;
    FILE *trace_file;
    void (*tell)(void);
};
extern struct machine sim;
extern __thread struct sim_thread *sim_self; /* NULL: not of the machine, or not started yet */

void sim_point(unsigned kind);
/* False: the time was up. */
bool sim_wait(const void *for_what, uint64_t until, const char *why);
void sim_wake(const void *for_what, int count);
void sim_let_run(void);
uint64_t sim_wall(void);
struct sim_thread *sim_thread_new(const char *name);
int sim_thread_begin(struct sim_thread *, void *(*run)(void *), void *arg);

#endif
