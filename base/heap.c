/* heap.c - objects in chunks of a huge page. A chunk is counted in lines of 64 bytes; the first ones hold a bit for each
 * line, set where a free extent begins or ends, so that who frees an object knows its free neighbours. An extent says how
 * long it is in its first and in its last line. */
#include "base/heap.h"
#include "base/mem.h"
#include "base/thread.h"
#include <assert.h>
#if defined(__has_feature) /* clang's way to tell */
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#endif
#if defined(UNDER_ASAN)
#include <sanitizer/asan_interface.h>
#endif

enum {
    LINE_BYTES = 64,
    CHUNK_BYTES = 2 << 20,
    CHUNK_LINES = CHUNK_BYTES / LINE_BYTES,
    HEAD_LINES = CHUNK_LINES / 8 / LINE_BYTES + 1, /* the bits and the rest of struct chunk */
    OBJECT_LINES_MAX = CHUNK_LINES / 8,
    EXACT_BINS = 128,       /* bin i: extents of i lines */
    BINS = EXACT_BINS + 16, /* behind these: of 128 << i lines up to twice as many */
    BIN_WORDS = (BINS + 63) / 64,
    TRIES = 8, /* extents of the last bin that may be too short, looked at before a longer one is cut */
};

/* In the first line of a free extent. */
struct extent {
    struct extent *next, *previous;
    uint32_t lines;
};

struct chunk {
    uint64_t edges[CHUNK_LINES / 64];
    struct chunk *next, *previous;
    uint32_t used; /* lines */
};
_Static_assert(sizeof(struct chunk) <= HEAD_LINES * LINE_BYTES, "a chunk's head has its lines");

struct heap {
    struct mutex mu;
    /* Guarded by mu. */
    struct chunk *chunks;
    struct chunk *spare; /* empty, its extent in its bin; NULL: none */
    uint64_t filled[BIN_WORDS];
    struct extent *bins[BINS];
};

/* What is free must not be touched but by this file: the sanitizer is told so. */
#if defined(UNDER_ASAN)
static void hide(void *at, size_t size)
{
    ASAN_POISON_MEMORY_REGION(at, size);
}
static void unhide(void *at, size_t size)
{
    ASAN_UNPOISON_MEMORY_REGION(at, size);
}
#else
static void hide(void *at, size_t size)
{
    (void)at;
    (void)size;
}
static void unhide(void *at, size_t size)
{
    (void)at;
    (void)size;
}
#endif

static uint32_t lines_of(size_t size)
{
    return (uint32_t)((size + LINE_BYTES - 1) / LINE_BYTES);
}

static bool is_large(size_t size)
{
    return size > (size_t)OBJECT_LINES_MAX * LINE_BYTES;
}

size_t heap_round(size_t size)
{
    return (size + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
}

static struct chunk *chunk_of(const void *at)
{
    return (struct chunk *)((uintptr_t)at & ~(uintptr_t)(CHUNK_BYTES - 1));
}

static uint32_t line_of(const void *at)
{
    return (uint32_t)((uintptr_t)at & (CHUNK_BYTES - 1)) / LINE_BYTES;
}

static void *line_at(struct chunk *chunk, uint32_t line)
{
    return (char *)chunk + (size_t)line * LINE_BYTES;
}

static bool is_edge(const struct chunk *chunk, uint32_t line)
{
    return chunk->edges[line / 64] >> line % 64 & 1;
}

/* The length, in the last four bytes of an extent. */
static uint32_t *foot(struct extent *e, uint32_t lines)
{
    return (uint32_t *)(void *)((char *)e + (size_t)lines * LINE_BYTES) - 1;
}

static uint32_t bin_of(uint32_t lines)
{
    return lines < EXACT_BINS ? lines : EXACT_BINS - 7 + (31 - (uint32_t)__builtin_clz(lines));
}

/* ---- free extents ---- */

/* The line of a foot is the head's too if the extent has but one. */
static void show_ends(struct extent *e, uint32_t lines)
{
    unhide(e, LINE_BYTES);
    unhide(foot(e, lines), sizeof(uint32_t));
}

static void extent_add(struct heap *h, struct extent *e, uint32_t lines)
{
    struct chunk *chunk = chunk_of(e);
    uint32_t bin = bin_of(lines), first = line_of(e), last = first + lines - 1;

    hide(e, (size_t)lines * LINE_BYTES);
    show_ends(e, lines);
    *e = (struct extent){.next = h->bins[bin], .lines = lines};
    *foot(e, lines) = lines;
    if (e->next)
        e->next->previous = e;
    h->bins[bin] = e;
    h->filled[bin / 64] |= UINT64_C(1) << bin % 64;
    chunk->edges[first / 64] |= UINT64_C(1) << first % 64;
    chunk->edges[last / 64] |= UINT64_C(1) << last % 64;
}

static void extent_remove(struct heap *h, struct extent *e)
{
    struct chunk *chunk = chunk_of(e);
    uint32_t bin = bin_of(e->lines), first = line_of(e), last = first + e->lines - 1;

    if (e->next)
        e->next->previous = e->previous;
    if (e->previous)
        e->previous->next = e->next;
    else
        h->bins[bin] = e->next;
    if (!h->bins[bin])
        h->filled[bin / 64] &= ~(UINT64_C(1) << bin % 64);
    chunk->edges[first / 64] &= ~(UINT64_C(1) << first % 64);
    chunk->edges[last / 64] &= ~(UINT64_C(1) << last % 64);
    unhide(e, (size_t)e->lines * LINE_BYTES);
}

/* The first bin from `from` on that has any; BINS: none. */
static uint32_t next_filled(const struct heap *h, uint32_t from)
{
    for (uint32_t word = from / 64; word < BIN_WORDS; word++) {
        uint64_t bits = h->filled[word];

        if (word == from / 64)
            bits &= UINT64_MAX << from % 64;
        if (bits)
            return word * 64 + (uint32_t)__builtin_ctzll(bits);
    }
    return BINS;
}

static struct extent *find_free(const struct heap *h, uint32_t lines)
{
    uint32_t bin = bin_of(lines);
    struct extent *e;
    int tries = 0;

    if (bin >= EXACT_BINS) {
        for (e = h->bins[bin]; e && tries < TRIES; e = e->next, tries++)
            if (e->lines >= lines)
                return e;
        bin++;
    }
    bin = next_filled(h, bin);
    return bin < BINS ? h->bins[bin] : NULL;
}

/* ---- chunks ---- */

static struct extent *chunk_add(struct heap *h)
{
    struct chunk *chunk = pages_alloc(CHUNK_BYTES);
    struct extent *e;

    if (!chunk)
        return NULL;
    chunk->next = h->chunks;
    if (chunk->next)
        chunk->next->previous = chunk;
    h->chunks = chunk;
    e = line_at(chunk, HEAD_LINES);
    extent_add(h, e, CHUNK_LINES - HEAD_LINES);
    return e;
}

static void chunk_remove(struct heap *h, struct chunk *chunk)
{
    if (chunk->next)
        chunk->next->previous = chunk->previous;
    if (chunk->previous)
        chunk->previous->next = chunk->next;
    else
        h->chunks = chunk->next;
    pages_free(chunk, CHUNK_BYTES);
}

/* One stays, so that a heap about as large as a whole number of chunks does not get and give back one again and again. */
static void chunk_emptied(struct heap *h, struct chunk *chunk)
{
    if (!h->spare) {
        h->spare = chunk;
        return;
    }
    extent_remove(h, line_at(chunk, HEAD_LINES));
    chunk_remove(h, chunk);
}

struct heap *heap_new(void)
{
    struct heap *h = mem_zalloc(sizeof(*h));

    if (h)
        mutex_init(&h->mu);
    return h;
}

void heap_free(struct heap *h)
{
    if (!h)
        return;
    while (h->chunks) {
        struct chunk *chunk = h->chunks;

        assert(chunk->used == 0);
        unhide(chunk, CHUNK_BYTES);
        chunk_remove(h, chunk);
    }
    mutex_release(&h->mu);
    mem_free(h);
}

/* ---- objects ---- */

static void *alloc_locked(struct heap *h, uint32_t lines)
{
    struct extent *e = find_free(h, lines);
    struct chunk *chunk;
    uint32_t left;

    if (!e)
        e = chunk_add(h);
    if (!e)
        return NULL;
    chunk = chunk_of(e);
    left = e->lines - lines;
    extent_remove(h, e);
    if (left)
        extent_add(h, line_at(chunk, line_of(e) + lines), left);
    if (chunk == h->spare)
        h->spare = NULL;
    chunk->used += lines;
    return e;
}

void *heap_alloc(struct heap *h, size_t size)
{
    void *object;

    assert(size > 0);
    if (is_large(size))
        return mem_aligned(LINE_BYTES, heap_round(size));
    mutex_lock(&h->mu);
    object = alloc_locked(h, lines_of(size));
    mutex_unlock(&h->mu);
    return object;
}

static void release_locked(struct heap *h, void *object, uint32_t lines)
{
    struct chunk *chunk = chunk_of(object);
    uint32_t first = line_of(object), end = first + lines;

    assert(chunk->used >= lines);
    chunk->used -= lines;
    if (end < CHUNK_LINES && is_edge(chunk, end)) {
        struct extent *behind = line_at(chunk, end);

        end += behind->lines;
        extent_remove(h, behind);
    }
    if (first > HEAD_LINES && is_edge(chunk, first - 1)) {
        first -= ((const uint32_t *)line_at(chunk, first))[-1];
        extent_remove(h, line_at(chunk, first));
    }
    extent_add(h, line_at(chunk, first), end - first);
    if (chunk->used == 0)
        chunk_emptied(h, chunk);
}

void heap_release(struct heap *h, void *object, size_t size)
{
    if (is_large(size)) {
        mem_free(object);
        return;
    }
    mutex_lock(&h->mu);
    release_locked(h, object, lines_of(size));
    mutex_unlock(&h->mu);
}
