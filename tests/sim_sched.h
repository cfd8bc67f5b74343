/* sim_sched.h - the simulation's machine: threads that run one at a time, a clock that nobody waits for, and all
 * that follows from one seed.
 *
 * The engine's threads are true ones, but only the holder of the baton runs. Whatever waits, wakes, locks or asks for
 * the time passes by here, as the program is linked with --wrap for each of these calls (sim_wraps in meson.build): the
 * library itself is the one that is shipped. At each such call the seed decides who runs next. Sleeps and time-outs
 * take no time: when nobody can run, the clock jumps to the next of them. Nobody can run and nothing is timed: that
 * is a deadlock, which ends the program with a list of who waits for what.
 *
 * Between two such calls nothing is interrupted: races of plain loads and stores are for the thread sanitizer. */
#ifndef HELIOS_TESTS_SIM_SCHED_H
#define HELIOS_TESTS_SIM_SCHED_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* The calling thread becomes the first of the machine, and holds the baton. Once a process. */
void sim_start(uint64_t seed);

/* A thread of the test's own; started by its creator, waited for by sim_join. */
struct sim_thread;
struct sim_thread *sim_spawn(const char *name, void *(*run)(void *arg), void *arg);
void sim_join(struct sim_thread *);

void sim_sleep(uint64_t time); /* us */
uint64_t sim_now(void);        /* us since the start, monotonic */

/* The wall clock jumps by so many us, forwards or back; frozen: it stands still. */
void sim_clock_jump(int64_t by);
void sim_clock_freeze(bool frozen);

/* Operations on files take up to so many us each, by the seed; 0: none at all. */
void sim_set_latency(uint64_t most);

/* What happened so far, as a number: every decision and everything that was noted. */
void sim_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t sim_trace_hash(void);
void sim_trace_bytes(const void *data, uint64_t size); /* into the hash alone */
void sim_trace_to(FILE *);                             /* notes as text; NULL: nowhere */
uint64_t sim_switches(void);

/* Told when the machine cannot go on: before the program is ended. */
void sim_on_failure(void (*tell)(void));

#endif
