/* pins.h - the read points in use: by calls, snapshots, iterators, transactions. Lock-free but for growth, and for
 * points that pass from one holder to another while a job looks.
 * Groups of 64 slots under one word of marks; a thread returns to the group it used last.
 *
 * The protocol with the horizon H: a reader publishes its pin, then re-reads H; a job that is about to
 * collect moves H (seq_cst: plain atomic_store), then collects the pins. So either the job sees the pin
 * or the reader sees that H has passed it. A point below H is granted beside another holder of it, who may let go
 * at once: so that a job cannot look past both, nothing is granted that way between pins_freeze and pins_thaw.
 *
 * Points are plain numbers here: the point before the first commit is 0. */
#ifndef HELIOS_MVCC_PINS_H
#define HELIOS_MVCC_PINS_H
#include "base/status.h"
#include <stdatomic.h>

struct pins;
typedef uint32_t pin_id; /* 0: none */

/* Whose it is, for lists. */
struct pin_owner {
    helios_pin_kind kind; /* SNAPSHOT, ITERATOR, TRANSACTION, HISTORY, CONSUMER */
    uint32_t thread;      /* thread_id(); 22 bits are kept, as many as Linux hands out */
    uint64_t since;       /* us since 1970; kept to 8 ms */
};

helios_status pins_new(struct pins **) CHECKED;
void pins_free(struct pins *); /* all released, asserted; NULL is fine */

/* Pins what is visible now: seq_out is at or above the horizon and stays readable until the release.
 * Fails only with HELIOS_NO_MEMORY. */
helios_status pins_acquire_latest(struct pins *, const struct pin_owner *, const _Atomic helios_seq *visible,
                                  const _Atomic helios_seq *horizon, pin_id *, helios_seq *seq_out) CHECKED;

/* Pins a point. Below the horizon only if somebody else's pin that covers all branches holds it, or if
 * named(arg, seq), asked after the own pin is published, says that a durable pin (tag, fork point) holds it
 * for what the caller will read; such a pin is no ground for others. named may be NULL.
 * HELIOS_HISTORY_GONE else; HELIOS_NO_MEMORY. */
helios_status pins_acquire_at(struct pins *, const struct pin_owner *, helios_seq seq,
                              const _Atomic helios_seq *horizon, bool (*named)(void *arg, helios_seq),
                              void *arg, pin_id *) CHECKED;

/* One more pin of a point that this pin holds: a child of a snapshot. */
helios_status pins_acquire_same(struct pins *, const struct pin_owner *, pin_id, pin_id *) CHECKED;
void pins_release(struct pins *, pin_id); /* 0 is fine; any thread */
helios_seq pins_seq(const struct pins *, pin_id);

/* Between the two nothing is granted below the horizon: every point below it that is held at the end was held all the
 * time, by a pin that pins_collect and pins_oldest see or by a name that is asked for here as well. One thread at a
 * time, others wait; for microseconds. */
void pins_freeze(struct pins *);
void pins_thaw(struct pins *);
/* The distinct points pinned below `below` (UINT64_MAX: all), ascending; mem_free()d by the caller; NULL
 * when there are none. */
helios_status pins_collect(struct pins *, helios_seq below, helios_seq **seqs, size_t *count) CHECKED;
/* Sorts points and drops repetitions: how many are left. */
size_t pins_sort(helios_seq *seqs, size_t count);
uint64_t pins_count(const struct pins *);
struct pin_info {
    helios_seq seq;
    struct pin_owner owner;
};
/* All of them as they stand, in no order; mem_free()d by the caller. */
helios_status pins_list(const struct pins *, struct pin_info **, size_t *count) CHECKED;
/* The oldest one; UINT64_MAX when there is none. */
helios_seq pins_oldest(const struct pins *);

#endif
