/* pace.h - smooth back-pressure: from the debt of flushes and compactions to a rate for writers, and the
 * bucket that turns a rate into waiting; the same bucket limits background writing. */
#ifndef HELIOS_COMPACTION_PACE_H
#define HELIOS_COMPACTION_PACE_H
#include "base/status.h"
#include <stdatomic.h>

struct pace_debt {
    unsigned l0_runs;          /* compact_l0_runs() */
    uint64_t compaction_bytes; /* compact_debt() */
    uint64_t memtable_bytes;   /* size of one */
    unsigned unflushed;        /* memtables that wait for or are in a flush, without the active one */
    unsigned unflushed_max;    /* when so many wait and the active one is full, writers stop */
    uint64_t active_free;      /* bytes left in the active memtable */
};

/* Bytes per second at which writers may go; UINT64_MAX: as they like. Continuous: just above comfort the
 * rate is beyond what anybody reaches, then halves with every step of debt; never 0. */
uint64_t pace_rate(const struct pace_debt *);
/* What weighs most, for statistics: "" when nothing does. */
const char *pace_cause(const struct pace_debt *);

/* A flush on its way, and the memtable that fills up meanwhile. */
struct pace_flush {
    uint64_t elapsed;                 /* us since it began */
    uint64_t entries, entries_all;    /* read so far, and to be read */
    uint64_t user_bytes;              /* of those read so far */
    uint64_t flushed_bytes;           /* of memory, that the flushed memtable takes */
    uint64_t active_used, active_max; /* of memory, of the one that fills */
};

/* Bytes per second of users' keys and values at which the active memtable becomes full when the flush ends, UINT64_MAX
 * if at the speed so far it will not. */
uint64_t pace_flush_rate(const struct pace_flush *);

/* Who may ask for a rate, each in one thread at a time. */
enum pace_asker { PACE_DEBT, PACE_FLUSH, PACE_ASKERS };

/* A bucket as a virtual schedule (GCRA): the time up to which all was paid for. Any threads; real time. */
struct pace_bucket {
    _Atomic uint64_t rate;               /* bytes/s; UINT64_MAX: no limit */
    _Atomic uint64_t asked[PACE_ASKERS]; /* by pace_ask(); UINT64_MAX: as they like */
    _Atomic uint64_t paid;               /* ns, monotonic */
    _Atomic uint64_t waited;             /* us slept by pace_wait so far */
    _Atomic uint32_t stopped;            /* futex: sleepers leave at once */
    uint64_t burst;                      /* ns of unused time that may be caught up */
};
void pace_bucket_init(struct pace_bucket *, uint64_t rate, uint64_t burst); /* rate 0: no limit; burst in us */
void pace_set_rate(struct pace_bucket *, uint64_t rate);
/* The rate is the least that is asked for: of a bucket whose rate nobody sets otherwise. */
void pace_ask(struct pace_bucket *, enum pace_asker, uint64_t rate);
/* Takes bytes and says for how many us to wait; pure but for the bucket. now: ns, monotonic. */
uint64_t pace_take(struct pace_bucket *, uint64_t bytes, uint64_t now);
/* Takes bytes and sleeps, for a quarter of a millisecond at least or not at all: what is less is left to those that come
 * later. Returns the us slept. No system call while there is nothing to wait for. */
uint64_t pace_wait(struct pace_bucket *, uint64_t bytes);
void pace_table(void *bucket, size_t bytes); /* pace_wait as table_writer_options.pace */
void pace_stop(struct pace_bucket *);        /* wakes all sleepers; nobody waits any more */

#endif
