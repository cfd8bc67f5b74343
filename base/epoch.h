/* epoch.h - epoch-based reclamation (Fraser, 2004): readers of shared, immutable structures mark
 * their stay with two plain stores; whoever unlinks a structure retires it, and it is freed when
 * no reader that could have seen it is left. No reader ever waits.
 *
 * One process-wide domain, so that a thread owns one slot whatever number of databases it uses; the
 * slot is taken at a thread's first use and given back at its exit; threads beyond the slots share
 * a counted one. Between enter and leave: no I/O, no lock that is held across I/O, no waiting. */
#ifndef HELIOS_BASE_EPOCH_H
#define HELIOS_BASE_EPOCH_H
#include "base/status.h"

/* Nesting is allowed. */
void epoch_enter(void);
void epoch_leave(void);

/* Embedded in what is retired, so that retiring cannot fail. */
struct epoch_item {
    struct epoch_item *next;
    void (*release)(struct epoch_item *);
    uint64_t epoch;
};

/* The item can no longer be reached by new readers; release(item) runs on some thread, later, outside
 * every epoch and with no lock of the caller's held by this call... it may run inside this very call,
 * for older items: call it without locks that a release function takes. */
void epoch_retire(struct epoch_item *, void (*release)(struct epoch_item *));

/* Runs what can run now. epoch_drain waits until everything retired before the call has been
 * released; not from inside an epoch. */
void epoch_collect(void);
void epoch_drain(void);

#endif
