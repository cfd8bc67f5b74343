/* sim_sched.c - who runs next, and what time it is; see sim_sched.h. */
#undef NDEBUG
#include "tests/sim_internal.h"
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS_MAX = 40000000, BASE_WALL_SECONDS = 1700000000 };

struct machine sim;
__thread struct sim_thread *sim_self;

/* ---- the trace ---- */

static uint64_t mixed(uint64_t hash, uint64_t by)
{
    hash = (hash ^ by) * UINT64_C(0x9fb21c651e98df25);
    return hash ^ hash >> 32;
}

void sim_trace_bytes(const void *data, uint64_t size)
{
    const unsigned char *bytes = data;

    for (uint64_t i = 0; i < size; i++)
        sim.trace = mixed(sim.trace, bytes[i]);
}

void sim_note(const char *format, ...)
{
    char line[512];
    va_list arguments;
    int size;

    va_start(arguments, format);
    size = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    sim_trace_bytes(line, (uint64_t)(size < (int)sizeof(line) ? size : (int)sizeof(line) - 1));
    if (sim.trace_file)
        fprintf(sim.trace_file, "%12" PRIu64 " %3u %s\n", sim.now, sim_self ? sim_self->index : 0, line);
}

uint64_t sim_trace_hash(void)
{
    return sim.trace;
}

void sim_trace_to(FILE *file)
{
    sim.trace_file = file;
}

uint64_t sim_switches(void)
{
    return sim.switches;
}

void sim_on_failure(void (*tell)(void))
{
    sim.tell = tell;
}

/* ---- who runs ---- */

static bool can_run(const struct sim_thread *t)
{
    return t->state == THREAD_READY || (t->state == THREAD_WAITING && t->until <= sim.now);
}

static _Noreturn void give_up(const char *why)
{
    fprintf(stderr, "sim: %s at %" PRIu64 " us\n", why, sim.now);
    for (unsigned i = 0; i < sim.count; i++)
        if (sim.threads[i]->state == THREAD_WAITING)
            fprintf(stderr, "  thread %u, %s, waits (%s)\n", i, sim.threads[i]->name, sim.threads[i]->why);
    if (sim.tell)
        sim.tell();
    abort();
}

/* One of those that can run: by chance, or the one of the highest priority. NULL: none. */
static struct sim_thread *pick(void)
{
    struct sim_thread *found = NULL;
    uint64_t ready = 0;

    for (unsigned i = 0; i < sim.count; i++) {
        struct sim_thread *t = sim.threads[i];

        if (!can_run(t))
            continue;
        ready++;
        if (!found || (sim.by_priority ? t->priority > found->priority : random_below(&sim.rng, ready) == 0))
            found = t;
    }
    return found;
}

static void jump_to_next_timer(void)
{
    uint64_t next = UINT64_MAX;

    for (unsigned i = 0; i < sim.count; i++)
        if (sim.threads[i]->state == THREAD_WAITING && sim.threads[i]->until < next)
            next = sim.threads[i]->until;
    if (next == UINT64_MAX)
        give_up("a deadlock");
    sim.now = next;
}

/* Who had it before may have been at its end: what is left of that thread goes first, as it frees memory. */
static void await_baton(struct sim_thread *self)
{
    while (sem_wait(&self->baton) != 0)
        ;
    if (sim.ended)
        pthread_join(sim.ended->handle, NULL);
    sim.ended = NULL;
}

static void hand_to(struct sim_thread *next)
{
    struct sim_thread *self = sim_self;

    if (next->state == THREAD_WAITING) {
        next->timed_out = true;
        next->state = THREAD_READY;
        next->waits_for = NULL;
    }
    if (next == self)
        return;
    sim.switches++;
    sim.trace = mixed(sim.trace, next->index);
    sem_post(&next->baton);
    if (self->state != THREAD_DONE)
        await_baton(self);
}

void sim_let_run(void)
{
    struct sim_thread *next;

    while (!(next = pick()))
        jump_to_next_timer();
    hand_to(next);
}

/* Whether the seed takes the baton away here. */
void sim_point(unsigned kind)
{
    sim.now++;
    sim.trace = mixed(sim.trace, kind << 8 | sim_self->index);
    if (++sim.points > POINTS_MAX)
        give_up("no end in sight");
    if (random_below(&sim.rng, sim.switch_every) != 0)
        return;
    if (sim.by_priority) /* a change of priorities: this one is the last from now on */
        sim_self->priority = --sim.lowest;
    sim_let_run();
}

bool sim_wait(const void *for_what, uint64_t until, const char *why)
{
    struct sim_thread *self = sim_self;

    self->state = THREAD_WAITING;
    self->waits_for = for_what;
    self->until = until;
    self->timed_out = false;
    self->why = why;
    sim_let_run();
    return !self->timed_out;
}

/* Up to `count` of those that wait, chosen by the seed. */
void sim_wake(const void *for_what, int count)
{
    while (count-- > 0) {
        struct sim_thread *found = NULL;
        uint64_t waiting = 0;

        for (unsigned i = 0; i < sim.count; i++)
            if (sim.threads[i]->state == THREAD_WAITING && sim.threads[i]->waits_for == for_what &&
                random_below(&sim.rng, ++waiting) == 0)
                found = sim.threads[i];
        if (!found)
            return;
        found->state = THREAD_READY;
        found->waits_for = NULL;
    }
}

/* ---- threads ---- */

struct sim_thread *sim_thread_new(const char *name)
{
    struct sim_thread *t = calloc(1, sizeof(*t));

    assert(t && sim.count < THREADS_MAX);
    t->index = sim.count;
    t->state = THREAD_READY;
    t->priority = 1 + random_below(&sim.rng, UINT32_MAX);
    snprintf(t->name, sizeof(t->name), "%s", name);
    sem_init(&t->baton, 0, 0);
    sim.threads[sim.count++] = t;
    return t;
}

/* The second time round, so that what others left to be done at a thread's exit is done by then. */
static void thread_ends(void *self)
{
    struct sim_thread *t = self;

    if (!t->ending) {
        t->ending = true;
        pthread_setspecific(sim.exit_key, t);
        return;
    }
    t->state = THREAD_DONE;
    sim.ended = t;
    sim_wake(t, INT32_MAX);
    sim_let_run();
    sim_self = NULL;
}

static void *thread_main(void *arg)
{
    struct sim_thread *t = arg;

    sim_self = t;
    pthread_setspecific(sim.exit_key, t);
    await_baton(t);
    return t->run(t->arg);
}

int sim_thread_begin(struct sim_thread *t, void *(*run)(void *), void *arg)
{
    t->run = run;
    t->arg = arg;
    return pthread_create(&t->handle, NULL, thread_main, t);
}

struct sim_thread *sim_spawn(const char *name, void *(*run)(void *), void *arg)
{
    struct sim_thread *t = sim_thread_new(name);
    int result = sim_thread_begin(t, run, arg);

    assert(result == 0);
    return t;
}

void sim_join(struct sim_thread *t)
{
    while (t->state != THREAD_DONE)
        sim_wait(t, UINT64_MAX, "for a thread's end");
}

/* ---- time ---- */

uint64_t sim_now(void)
{
    return sim.now;
}

void sim_sleep(uint64_t time)
{
    uint64_t until = sim.now + time;

    sim_wait(&until, until, "asleep");
}

uint64_t sim_wall(void)
{
    return (uint64_t)((int64_t)(sim.frozen ? sim.frozen_at : sim.now) + sim.wall_offset);
}

void sim_clock_jump(int64_t by)
{
    sim.wall_offset += by;
}

void sim_clock_freeze(bool frozen)
{
    if (frozen && !sim.frozen)
        sim.frozen_at = sim.now;
    if (!frozen && sim.frozen)
        sim.wall_offset -= (int64_t)(sim.now - sim.frozen_at);
    sim.frozen = frozen;
}

void sim_set_latency(uint64_t most)
{
    sim.latency = most;
}

/* How often the baton changes hands is drawn too: bugs need long stretches as well as short ones. */
void sim_start(uint64_t seed)
{
    static const uint64_t every[] = {2, 8, 40, 300};

    random_seed(&sim.rng, seed);
    sim.now = 5000000;
    sim.wall_offset = (int64_t)BASE_WALL_SECONDS * 1000000;
    sim.by_priority = random_below(&sim.rng, 3) == 0;
    sim.switch_every = every[random_below(&sim.rng, 4)] * (sim.by_priority ? 10 : 1);
    sim.lowest = 0;
    sim.cpus = 2 + (unsigned)random_below(&sim.rng, 4);
    pthread_key_create(&sim.exit_key, thread_ends);
    sim_self = sim_thread_new("main");
}
