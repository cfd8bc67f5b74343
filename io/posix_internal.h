/* posix_internal.h - descriptors that may be closed while nobody uses them, so that more tables than
 * descriptors can be open. Private to posix.c and descriptors.c. */
#ifndef HELIOS_IO_POSIX_INTERNAL_H
#define HELIOS_IO_POSIX_INTERNAL_H
#include "io/io_internal.h"
#include <sys/types.h>

/* Using one that is open costs an atomic add and its undoing; no lock. */
struct descriptor {
    _Atomic uint32_t state;             /* DESCRIPTOR_OPEN and how many use it; 0: closed */
    _Atomic bool recent;                /* used since the clock came by */
    int fd;                             /* written before state says open (release), read after (acquire) */
    struct descriptor *next, *previous; /* the ring of open ones, guarded by its lock */
};
#define DESCRIPTOR_OPEN UINT32_C(0x80000000)

/* False when it is closed: then open the file and hand that to descriptor_install. */
static inline bool descriptor_use(struct descriptor *d, int *fd)
{
    uint32_t state = atomic_load_explicit(&d->state, memory_order_relaxed);

    do {
        if (!(state & DESCRIPTOR_OPEN))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&d->state, &state, state + 1, memory_order_acquire,
                                                    memory_order_relaxed));
    if (!atomic_load_explicit(&d->recent, memory_order_relaxed))
        atomic_store_explicit(&d->recent, true, memory_order_relaxed);
    *fd = d->fd;
    return true;
}

static inline void descriptor_done(struct descriptor *d)
{
    atomic_fetch_sub_explicit(&d->state, 1, memory_order_release);
}

/* Takes over fd and uses it; when another thread was faster, closes it and uses that one's. Returns
 * the one to use. Closes idle ones while about half of what the process may open is taken. */
int descriptor_install(struct descriptor *, int fd);
void descriptor_release(struct descriptor *); /* closes it; nobody uses it */

/* Closes some that are idle. False when there is none. */
bool descriptors_close_idle(void);

#endif
