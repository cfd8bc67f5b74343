/* arena.h - memory that is taken piece by piece and given back as a whole, or back to a mark.
 * The first piece may be the owner's own memory, so that what stays small allocates nothing.
 * Threads: the owner's. */
#ifndef HELIOS_BASE_ARENA_H
#define HELIOS_BASE_ARENA_H
#include <stddef.h>

struct arena_chunk;

struct arena {
    unsigned char *at, *end;
    struct arena_chunk *chunks; /* newest first */
    size_t chunk_bytes;         /* of the next one */
    size_t bytes;               /* handed out */
};

struct arena_mark {
    unsigned char *at, *end;
    struct arena_chunk *chunk;
    size_t bytes;
};

void arena_init(struct arena *, void *first, size_t size); /* size 0: none */
void *arena_alloc(struct arena *, size_t size);            /* aligned to 8; NULL: no memory, no sentence */
void *arena_copy(struct arena *, const void *data, size_t size);
struct arena_mark arena_mark(const struct arena *);
void arena_rewind(struct arena *, const struct arena_mark *); /* forgets what was taken since */
void arena_release(struct arena *);

#endif
