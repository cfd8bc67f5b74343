/* stretch.c - commit times in memory. Chunks are linked newest first; a reader finds the chunk by walking
 * back, the entry by binary search. */
#include "mvcc/stretch.h"
#include "base/mem.h"
#include <assert.h>
#include <string.h>

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
    for (size_t i = 0; i < STRETCH_MARK_WORDS; i++)
        atomic_init(&chunk->unlogged[i], 0);
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

void stretch_mark_unlogged(struct stretch *s)
{
    struct stretch_chunk *chunk = atomic_load_explicit(&s->newest, memory_order_relaxed);
    uint32_t at = atomic_load_explicit(&chunk->count, memory_order_relaxed) - 1;

    atomic_fetch_or_explicit(&chunk->unlogged[at / 64], UINT64_C(1) << at % 64, memory_order_release);
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

/* The first entry whose number is at or above seq is the n-th of this chunk; NULL: none is. It is in the oldest chunk
 * that has one: the chunks behind that have only higher ones. */
static const struct stretch_chunk *find_from(const struct stretch *s, helios_seq seq, uint32_t *n)
{
    const struct stretch_chunk *from = NULL;

    for (const struct stretch_chunk *chunk = newest_of(s); chunk; chunk = chunk->before) {
        uint32_t below = seq ? at_or_before(chunk, UINT64_MAX, seq - 1) : 0;

        if (below < count_of(chunk)) {
            from = chunk;
            *n = below;
        }
        if (below > 0)
            break;
    }
    return from;
}

size_t stretch_read_up(const struct stretch *s, helios_seq seq, struct timeline_entry *out, size_t max)
{
    uint32_t first, count;
    const struct stretch_chunk *from = find_from(s, seq, &first);

    if (!from)
        return 0;
    count = count_of(from) - first;
    if (count > max)
        count = (uint32_t)max;
    memcpy(out, from->entries + first, count * sizeof(*out));
    return count;
}

bool stretch_is_unlogged(const struct stretch *s, helios_seq seq)
{
    uint32_t n;
    const struct stretch_chunk *chunk = find_from(s, seq, &n);

    return chunk && atomic_load_explicit(&chunk->unlogged[n / 64], memory_order_acquire) >> n % 64 & 1;
}

size_t stretch_read_down(const struct stretch *s, helios_seq seq, struct timeline_entry *out, size_t max)
{
    for (const struct stretch_chunk *chunk = newest_of(s); chunk; chunk = chunk->before) {
        uint32_t from = at_or_before(chunk, UINT64_MAX, seq);
        size_t count = from < max ? from : max;

        for (size_t i = 0; i < count; i++)
            out[i] = chunk->entries[from - 1 - i];
        if (count)
            return count;
    }
    return 0;
}

helios_status stretch_index_init(struct stretch_index *index, const struct stretch *s)
{
    size_t chunks = 0;

    *index = (struct stretch_index){0};
    for (const struct stretch_chunk *chunk = newest_of(s); chunk; chunk = chunk->before) {
        chunks++;
        index->count += count_of(chunk);
    }
    index->chunks = mem_array(chunks, sizeof(struct stretch_chunk *));
    if (!index->chunks)
        return fail_no_memory(chunks * sizeof(struct stretch_chunk *));
    for (const struct stretch_chunk *chunk = newest_of(s); chunk; chunk = chunk->before) {
        index->chunks[--chunks] = chunk;
        assert(chunk == newest_of(s) || count_of(chunk) == STRETCH_CHUNK_ENTRIES);
    }
    return HELIOS_OK;
}

void stretch_index_release(struct stretch_index *index)
{
    mem_free(index->chunks);
    *index = (struct stretch_index){0};
}
