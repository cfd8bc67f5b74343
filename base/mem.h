/* mem.h - every allocation of the library, so that each one can be made to fail.
 * Threads: any. mem_free(NULL) is fine. What helios_free() frees comes from here. */
#ifndef HELIOS_BASE_MEM_H
#define HELIOS_BASE_MEM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *mem_alloc(size_t size); /* size 0 gives a unique pointer */
void *mem_zalloc(size_t size);
void *mem_array(size_t count, size_t size); /* zeroed; NULL when the product overflows */
void *mem_realloc(void *old, size_t size);
void *mem_aligned(size_t alignment, size_t size); /* freed by mem_free */
void *mem_copy(const void *data, size_t size);
char *mem_text(const char *text);
void mem_free(void *);
size_t mem_usable(const void *); /* what the block really takes: malloc_usable_size */

/* Zeroed pages straight from the system, in huge pages where there are some; given back by
 * pages_free with the same size. Memory is taken as it is touched. */
void *pages_alloc(size_t size);
void pages_free(void *, size_t size);
/* Moves the pages to where size bytes fit, without copying them; NULL changes nothing. */
void *pages_grow(void *, size_t old_size, size_t size);
void pages_reset(void *, size_t size); /* gives the memory back, keeps the range; reads as zero */

/* For tests: the n-th allocation from now (counting from 1, all threads, pages included) fails;
 * with `forever` all later ones fail too. 0 turns it off. mem_count: allocations since the first
 * call of either, so that the difference of two calls is what was allocated between them. */
/* Gives back to the system what the allocator keeps for later. Costs a while. */
void mem_trim(void);

void mem_fail_at(uint64_t n, bool forever);
uint64_t mem_count(void);

/* For tests: fail only allocations of this thread when on. */
void mem_fail_thread_only(bool on);

#endif
