/* mem.c - allocation, with failures on request. Off, a request costs one relaxed load; on, it counts
 * in one atomic that all threads share. */
#include "base/mem.h"
#include "helios/helios.h"
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE_BYTES = 4096, HUGE_PAGE_BYTES = 2 << 20 };

static _Atomic bool watching;         /* somebody counts, or wants failures */
static _Atomic uint64_t seen;         /* allocations since watching began */
static _Atomic int64_t until_failure; /* at 1 the next one fails; 0: none will */
static _Atomic bool fail_forever;
static _Atomic bool one_thread_only;
static __thread bool this_thread;

static bool counts_here(void)
{
    return !atomic_load_explicit(&one_thread_only, memory_order_relaxed) || this_thread;
}

/* True when this allocation has to fail. */
static bool watch(void)
{
    int64_t left;

    atomic_fetch_add_explicit(&seen, 1, memory_order_relaxed);
    left = atomic_load_explicit(&until_failure, memory_order_relaxed);
    if (left == 0 || !counts_here())
        return false;
    while (left > 1 || (left == 1 && !atomic_load_explicit(&fail_forever, memory_order_relaxed))) {
        if (atomic_compare_exchange_weak(&until_failure, &left, left - 1))
            return left == 1;
    }
    return left == 1;
}

static inline bool must_fail(void)
{
    return __builtin_expect(atomic_load_explicit(&watching, memory_order_relaxed), 0) && watch();
}

void *mem_alloc(size_t size)
{
    return must_fail() ? NULL : malloc(size ? size : 1);
}

void *mem_zalloc(size_t size)
{
    return must_fail() ? NULL : calloc(1, size ? size : 1);
}

void *mem_array(size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return mem_zalloc(bytes);
}

void *mem_realloc(void *old, size_t size)
{
    return must_fail() ? NULL : realloc(old, size ? size : 1);
}

void *mem_aligned(size_t alignment, size_t size)
{
    void *result;

    if (must_fail() || posix_memalign(&result, alignment, size ? size : 1) != 0)
        return NULL;
    return result;
}

void *mem_copy(const void *data, size_t size)
{
    void *copy = mem_alloc(size);

    if (copy && size)
        memcpy(copy, data, size);
    return copy;
}

char *mem_text(const char *text)
{
    return mem_copy(text, strlen(text) + 1);
}

void mem_free(void *old)
{
    free(old);
}

size_t mem_usable(const void *block)
{
    return malloc_usable_size((void *)(uintptr_t)block);
}

void helios_free(void *block)
{
    mem_free(block);
}

void helios_buf_free(helios_buf *buf)
{
    if (!buf)
        return;
    mem_free(buf->data);
    *buf = (helios_buf){0};
}

/* jemalloc's, if that is what the program uses. */
extern int mallctl(const char *name, void *old, size_t *old_size, void *new, size_t new_size)
    __attribute__((weak));

void mem_trim(void)
{
    malloc_trim(0);
    if (mallctl)
        mallctl("arena.4096.purge", NULL, NULL, NULL, 0); /* 4096: all arenas */
}

static size_t page_round(size_t size)
{
    return (size + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
}

static void *map_pages(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return at == MAP_FAILED ? NULL : at;
}

/* Huge pages need an aligned range: take one huge page more and give back what sticks out. */
static void *map_huge(size_t size)
{
    char *at, *aligned;
    size_t before;

    if (size > SIZE_MAX - HUGE_PAGE_BYTES)
        return NULL;
    at = map_pages(size + HUGE_PAGE_BYTES);
    if (!at)
        return NULL;
    before = -(uintptr_t)at & (HUGE_PAGE_BYTES - 1);
    aligned = at + before;
    if (before)
        munmap(at, before);
    munmap(aligned + size, HUGE_PAGE_BYTES - before);
    madvise(aligned, size, MADV_HUGEPAGE); /* a wish: small pages do as well */
    return aligned;
}

void *pages_alloc(size_t size)
{
    size_t rounded = page_round(size);

    if (must_fail() || rounded < size)
        return NULL;
    if (rounded >= HUGE_PAGE_BYTES)
        return map_huge(rounded);
    return map_pages(rounded ? rounded : PAGE_BYTES);
}

void pages_free(void *pages, size_t size)
{
    size_t rounded = page_round(size);

    if (pages)
        munmap(pages, rounded ? rounded : PAGE_BYTES);
}

/* Into a new range rather than by letting mremap choose, which knows nothing of huge pages. */
void *pages_grow(void *pages, size_t old_size, size_t size)
{
    size_t rounded = page_round(old_size);
    void *grown = pages_alloc(size);

    if (!grown || !pages)
        return grown;
    if (mremap(pages, rounded, rounded, MREMAP_MAYMOVE | MREMAP_FIXED, grown) == MAP_FAILED) {
        pages_free(grown, size);
        return NULL;
    }
    if (page_round(size) >= HUGE_PAGE_BYTES)
        madvise(grown, page_round(size), MADV_HUGEPAGE);
    return grown;
}

void pages_reset(void *pages, size_t size)
{
    madvise(pages, page_round(size), MADV_DONTNEED);
}

void mem_fail_at(uint64_t n, bool forever)
{
    atomic_store(&fail_forever, forever);
    atomic_store(&until_failure, (int64_t)n);
    if (n)
        atomic_store(&watching, true);
}

void mem_fail_thread_only(bool on)
{
    this_thread = on;
    atomic_store(&one_thread_only, on);
}

uint64_t mem_count(void)
{
    atomic_store(&watching, true);
    return atomic_load(&seen);
}
