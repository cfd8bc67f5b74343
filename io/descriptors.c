/* descriptors.c - the ring of descriptors that may be closed while idle. A clock hand (Corbato, 1968)
 * goes round: what was used since it last came by is spared once. One for the process, as the limit
 * is the process's. */
#include "io/posix_internal.h"
#include <assert.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

enum { CLOSE_AT_ONCE = 16 };

static pthread_mutex_t ring_lock = PTHREAD_MUTEX_INITIALIZER;
static struct descriptor *hand; /* NULL: the ring is empty */
static size_t ring_count;

static size_t ring_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return SIZE_MAX;
    return limit.rlim_cur < 4 ? 2 : (size_t)limit.rlim_cur / 2;
}

static void ring_add_locked(struct descriptor *d)
{
    if (hand) {
        d->next = hand;
        d->previous = hand->previous;
        d->previous->next = d;
        hand->previous = d;
    } else {
        d->next = d->previous = d;
        hand = d;
    }
    ring_count++;
}

static void ring_remove_locked(struct descriptor *d)
{
    d->next->previous = d->previous;
    d->previous->next = d->next;
    if (hand == d)
        hand = d->next == d ? NULL : d->next;
    ring_count--;
}

/* Closes the next idle one. Two rounds: the first may find only recent ones. */
static bool close_one_locked(void)
{
    for (size_t left = 2 * ring_count; left > 0; left--) {
        struct descriptor *d = hand;
        uint32_t idle = DESCRIPTOR_OPEN;

        hand = d->next;
        if (atomic_exchange_explicit(&d->recent, false, memory_order_relaxed))
            continue;
        if (!atomic_compare_exchange_strong(&d->state, &idle, 0))
            continue;
        ring_remove_locked(d);
        close(d->fd);
        return true;
    }
    return false;
}

bool descriptors_close_idle(void)
{
    int closed = 0;

    pthread_mutex_lock(&ring_lock);
    while (closed < CLOSE_AT_ONCE && close_one_locked())
        closed++;
    pthread_mutex_unlock(&ring_lock);
    return closed > 0;
}

int descriptor_install(struct descriptor *d, int fd)
{
    int used;

    pthread_mutex_lock(&ring_lock);
    if (descriptor_use(d, &used)) {
        close(fd);
    } else {
        while (ring_count >= ring_limit() && close_one_locked())
            ;
        used = d->fd = fd;
        ring_add_locked(d);
        atomic_store_explicit(&d->recent, true, memory_order_relaxed);
        atomic_store_explicit(&d->state, DESCRIPTOR_OPEN | 1, memory_order_release);
    }
    pthread_mutex_unlock(&ring_lock);
    return used;
}

void descriptor_release(struct descriptor *d)
{
    pthread_mutex_lock(&ring_lock);
    if (atomic_load(&d->state) & DESCRIPTOR_OPEN) {
        assert(atomic_load(&d->state) == DESCRIPTOR_OPEN);
        ring_remove_locked(d);
        close(d->fd);
        atomic_store(&d->state, 0);
    }
    pthread_mutex_unlock(&ring_lock);
}
