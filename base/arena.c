/* arena.c - bump allocation in chunks that double up to a limit; what is larger gets a chunk of its own. */
#include "base/arena.h"
#include "base/mem.h"
#include <string.h>

enum { CHUNK_FIRST = 4096, CHUNK_MAX = 1024 * 1024, ALIGNMENT = 8 };

struct arena_chunk {
    struct arena_chunk *older;
    unsigned char bytes[] __attribute__((aligned(ALIGNMENT)));
};

void arena_init(struct arena *arena, void *first, size_t size)
{
    *arena = (struct arena){
        .at = first, .end = first ? (unsigned char *)first + size : NULL, .chunk_bytes = CHUNK_FIRST};
}

static void *alloc_in_chunk(struct arena *arena, size_t size)
{
    size_t room = size > arena->chunk_bytes ? size : arena->chunk_bytes;
    struct arena_chunk *chunk = mem_alloc(sizeof(*chunk) + room);

    if (!chunk)
        return NULL;
    if (arena->chunk_bytes < CHUNK_MAX)
        arena->chunk_bytes *= 2;
    chunk->older = arena->chunks;
    arena->chunks = chunk;
    arena->at = chunk->bytes + size;
    arena->end = chunk->bytes + room;
    arena->bytes += size;
    return chunk->bytes;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    unsigned char *at = arena->at;

    size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if ((size_t)(arena->end - at) < size)
        return alloc_in_chunk(arena, size);
    arena->at += size;
    arena->bytes += size;
    return at;
}

void *arena_copy(struct arena *arena, const void *data, size_t size)
{
    void *copy = arena_alloc(arena, size);

    if (copy && size)
        memcpy(copy, data, size);
    return copy;
}

struct arena_mark arena_mark(const struct arena *arena)
{
    return (struct arena_mark){arena->at, arena->end, arena->chunks, arena->bytes};
}

void arena_rewind(struct arena *arena, const struct arena_mark *mark)
{
    while (arena->chunks != mark->chunk) {
        struct arena_chunk *chunk = arena->chunks;

        arena->chunks = chunk->older;
        mem_free(chunk);
    }
    arena->at = mark->at;
    arena->end = mark->end;
    arena->bytes = mark->bytes;
}

void arena_release(struct arena *arena)
{
    const struct arena_mark nothing = {0};

    arena_rewind(arena, &nothing);
}
