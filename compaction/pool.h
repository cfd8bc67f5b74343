/* pool.h - the threads of flushes and compactions. Flushes first; with two threads or more one is kept
 * free of compactions, so that a flush never waits behind them. A job is a node embedded in what it works
 * on: submitting cannot fail and allocates nothing. */
#ifndef HELIOS_COMPACTION_POOL_H
#define HELIOS_COMPACTION_POOL_H
#include "base/status.h"

enum pool_priority { POOL_FLUSH, POOL_COMPACTION, POOL_PRIORITIES };

struct pool_job {
    void (*run)(struct pool_job *); /* may free the job, may submit (itself too) */
    struct pool_job *next;          /* private */
};
struct pool;

/* threads >= 1; all started, or none. */
helios_status pool_new(unsigned threads, struct pool **) CHECKED;
/* The job must not be queued already. Any thread. */
void pool_submit(struct pool *, enum pool_priority, struct pool_job *);
/* Takes a job back that has not begun; false: it runs, ran, or was never queued. */
bool pool_cancel(struct pool *, struct pool_job *);
/* Returns once nothing is queued and nothing runs. Not from a job. */
void pool_drain(struct pool *);
/* Waits for the jobs that run, gives those still queued to dropped (NULL: forgets them), ends the threads.
 * What is submitted by then is dropped likewise. NULL is fine. Not from a job. */
void pool_free(struct pool *, void (*dropped)(struct pool_job *));

unsigned pool_threads(const struct pool *);
/* How many jobs of a priority wait and run. */
void pool_load(struct pool *, enum pool_priority, unsigned *queued, unsigned *running);

#endif
