/* seen.c - an open-addressing set of key hashes. Keys themselves are not kept: 24 bytes a key, and two
 * keys with one 128-bit hash do not happen. */
#include "tools/seen.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct slot {
    uint64_t low, high, line; /* line 0: free */
};

struct seen {
    struct slot *slots;
    size_t count, capacity; /* capacity is a power of two, at most 3/4 full */
};

static struct slot *find(struct slot *slots, size_t capacity, uint64_t low, uint64_t high)
{
    size_t at = low & (capacity - 1);

    while (slots[at].line && (slots[at].low != low || slots[at].high != high))
        at = (at + 1) & (capacity - 1);
    return &slots[at];
}

static void resize(struct seen *seen, size_t capacity)
{
    struct slot *slots = xalloc(capacity * sizeof(*slots));

    memset(slots, 0, capacity * sizeof(*slots));
    for (size_t i = 0; i < seen->capacity; i++)
        if (seen->slots[i].line)
            *find(slots, capacity, seen->slots[i].low, seen->slots[i].high) = seen->slots[i];
    free(seen->slots);
    seen->slots = slots;
    seen->capacity = capacity;
}

struct seen *seen_new(void)
{
    struct seen *seen = xalloc(sizeof(*seen));

    *seen = (struct seen){0};
    resize(seen, 1024);
    return seen;
}

void seen_free(struct seen *seen)
{
    if (!seen)
        return;
    free(seen->slots);
    free(seen);
}

uint64_t seen_add(struct seen *seen, helios_slice key, uint64_t line)
{
    XXH128_hash_t hash = XXH3_128bits(key.data, key.size);
    struct slot *slot;

    if (seen->count * 4 >= seen->capacity * 3)
        resize(seen, seen->capacity * 2);
    slot = find(seen->slots, seen->capacity, hash.low64, hash.high64);
    if (slot->line)
        return slot->line;
    *slot = (struct slot){hash.low64, hash.high64, line};
    seen->count++;
    return 0;
}
