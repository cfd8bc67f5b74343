/* heap.h - memory for many objects of a few KiB that come and go, in huge pages: what is read at random from
 * hundreds of MiB waits for address translation as long as for the data when pages are small. Objects stand on cache
 * lines and take whole ones, nothing else; their owner remembers the size. Good fit by free lists for each size, free
 * neighbours are joined at once (Knuth, TAOCP 1, 2.5). An empty chunk goes back to the system, but for one.
 *
 * Threads: any, one lock. Larger objects come from mem_aligned(). */
#ifndef HELIOS_BASE_HEAP_H
#define HELIOS_BASE_HEAP_H
#include <stddef.h>

struct heap;
struct heap *heap_new(void);   /* NULL: no memory */
void heap_free(struct heap *); /* all objects released; NULL is fine */

size_t heap_round(size_t size);                              /* what an object takes */
void *heap_alloc(struct heap *, size_t size);                /* NULL: no memory */
void heap_release(struct heap *, void *object, size_t size); /* as it was asked for, or rounded */

#endif
