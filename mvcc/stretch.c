/* stretch.c - commit times in memory. Chunks are linked newest first; a reader finds the chunk by walking
 * back, the entry by binary search. */
#include "mvcc/stretch.h"
#include "base/mem.h"
#include <assert.h>

void stretch_init(struct stretch *s)
{
    atomic_init(&s->newest, NULL);
    atomic_init(&s->spare, NULL);
}

void stretch_release(struct stretch *s)
{
    struct stretch_chunk *chunk = atomic_load(&s->newest);

    while (chunk) {
        struct stretch_chunk *before = chunk->before;

        mem_free(chunk);
        chunk = before;
    }
    mem_free(atomic_load(&s->spare));
}

helios_status stretch_prepare_slowly(struct stretch *s)
{
    struct stretch_chunk *chunk = mem_alloc(sizeof(*chunk)), *expected = NULL;

    if (!chunk)
        return fail_no_memory(sizeof(*chunk));
    chunk->before = NULL;
    atomic_init(&chunk->count, 0);
    if (!atomic_compare_exchange_strong(&s->spare, &expected, chunk))
        mem_free(chunk); /* another thread was faster */
    return HELIOS_OK;
}

void stretch_append(struct stretch *s, const struct timeline_entry *entry)
{
    struct stretch_chunk *chunk = atomic_load_explicit(&s->newest, memory_order_relaxed);
    uint32_t count = chunk ? atomic_load_explicit(&chunk->count, memory_order_relaxed) : STRETCH_CHUNK_ENTRIES;

    if (count == STRETCH_CHUNK_ENTRIES) {
        struct stretch_chunk *next = atomic_exchange_explicit(&s->spare, NULL, memory_order_acq_rel);

        assert(next); /* prepared before the reservation */
        next->before = chunk;
        next->entries[0] = *entry;
        atomic_store_explicit(&next->count, 1, memory_order_relaxed);
        atomic_store_explicit(&s->newest, next, memory_order_release);
        return;
    }
    chunk->entries[count] = *entry;
    atomic_store_explicit(&chunk->count, count + 1, memory_order_release);
}

static const struct stretch_chunk *newest_of(const struct stretch *s)
{
    return atomic_load_explicit(&s->newest, memory_order_acquire);
}

bool stretch_empty(const struct stretch *s)
{
    return newest_of(s) == NULL; /* a chunk hangs here with its first entry */
}

static uint32_t count_of(const struct stretch_chunk *chunk)
{
    return atomic_load_explicit(&chunk->count, memory_order_acquire);
}

bool stretch_ends(const struct stretch *s, struct timeline_entry *first, struct timeline_entry *last)
{
    const struct stretch_chunk *chunk = newest_of(s);

    if (!chunk)
        return false;
    *last = chunk->entries[count_of(chunk) - 1];
    while (chunk->before)
        chunk = chunk->before;
    *first = chunk->entries[0];
    return true;
}

/* How many of the chunk's entries are at or before the point. */
static uint32_t at_or_before(const struct stretch_chunk *chunk, uint64_t time, helios_seq seq)
{
    uint32_t low = 0, high = count_of(chunk);

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (chunk->entries[middle].time <= time && chunk->entries[middle].last <= seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool find(const struct stretch *s, uint64_t time, helios_seq seq, struct timeline_entry *entry)
{
    for (const struct stretch_chunk *chunk = newest_of(s); chunk; chunk = chunk->before) {
        uint32_t n = at_or_before(chunk, time, seq);

        if (n) {
            *entry = chunk->entries[n - 1];
            return true;
        }
    }
    return false;
}

bool stretch_at_time(const struct stretch *s, uint64_t time, struct timeline_entry *entry)
{
    return find(s, time, UINT64_MAX, entry);
}

bool stretch_at_seq(const struct stretch *s, helios_seq seq, struct timeline_entry *entry)
{
    return find(s, UINT64_MAX, seq, entry);
}

bool stretch_from(const struct stretch *s, helios_seq seq, struct timeline_entry *entry)
{
    const struct stretch_chunk *chunk = newest_of(s), *after = NULL;

    for (; chunk; after = chunk, chunk = chunk->before) {
        uint32_t n = seq ? at_or_before(chunk, UINT64_MAX, seq - 1) : 0;

        if (n == 0 && chunk->before)
            continue; /* all of it is at or above, and maybe more before it */
        if (n < count_of(chunk)) {
            *entry = chunk->entries[n];
            return true;
        }
        break;
    }
    if (!after)
        return false;
    *entry = after->entries[0];
    return true;
}
