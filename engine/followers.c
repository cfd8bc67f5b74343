/* followers.c - those who sleep until more becomes visible, for as long as that takes: readers of the change feed. Told by
 * the publisher (commit.c), by failures. Committers who wait for their own number have a word of their own.
 *
 * Waking a thread costs its waker microseconds, so a commit wakes one, whatever their number, and leaves the *baton*: the
 * next who stops sleeping, for whatever reason, takes it and wakes all others. Nobody is forgotten: who was told sleeps no
 * more, or was not yet asleep and finds another word than the one it read, and in either case comes by the baton. */
#include "engine/engine_internal.h"
#include <limits.h>

static void pass_on(struct followers *f)
{
    if (atomic_load(&f->baton) && atomic_exchange(&f->baton, 0))
        futex_wake(&f->word, INT_MAX);
}

void followers_enter(struct followers *f)
{
    atomic_fetch_add(&f->waiting, 1);
}

uint32_t followers_word(struct followers *f)
{
    return atomic_load(&f->word);
}

void followers_sleep(struct followers *f, uint32_t word, uint64_t timeout)
{
    futex_wait(&f->word, word, timeout);
    pass_on(f);
}

void followers_leave(struct followers *f)
{
    atomic_fetch_sub(&f->waiting, 1);
    pass_on(f);
}

void followers_tell(struct followers *f)
{
    if (!atomic_load(&f->waiting))
        return;
    atomic_store(&f->baton, 1);
    atomic_fetch_add(&f->word, 1);
    futex_wake(&f->word, 1);
}
