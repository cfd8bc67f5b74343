/* check.c - walks a memtable at rest and stops the program where its shape is wrong; for tests. It
 * does so in every build, so that a release build is tested too. */
#include "memtable/memtable_internal.h"
#include "base/hash.h"
#include <stdio.h>
#include <stdlib.h>

static void must(bool holds, const char *what, uint64_t link)
{
    if (holds)
        return;
    fprintf(stderr, "memtable: node at %u: %s\n", (unsigned)link, what);
    abort();
}

static void check_node(const struct memtable *m, uint64_t link)
{
    const struct memtable_node *node = node_at(m, link);
    helios_slice key = node_key(node);
    unsigned layer = layer_bit(key.data);

    must(node_height(node) >= 1 && node_height(node) <= MEMTABLE_HEIGHT_MAX, "height out of bounds", link);
    must(link_bits(link) == memtable_key_bits(m, key), "link with bits of another key", link);
    must(filter_may_hold(m, hash_key(key)), "key not in the filter", link);
    must(atomic_load(&m->layers[layer / 64]) >> layer % 64 & 1, "layer not marked", link);
    must(tag_seq(node->tag) > 0 && tag_kind(node->tag) != 0, "zero in the tag", link);
}

static void check_order(const struct memtable *m, uint64_t link, uint64_t next)
{
    const struct memtable_node *node = node_at(m, link), *after = node_at(m, next);

    must(link_bits(link) <= link_bits(next), "bits out of order", next);
    must(key_compare(node_key(node), node->tag, node_key(after), after->tag) < 0, "keys out of order", next);
}

/* Returns how many nodes are on the level; on the lowest, counts those that reach each level. */
static uint64_t check_level(const struct memtable *m, unsigned level, uint64_t reaching[MEMTABLE_HEIGHT_MAX + 1],
                            uint64_t *bytes)
{
    uint64_t count = 0, last = 0;

    for (uint64_t at = node_next(m, 0, level); !link_is_end(at); last = at, at = node_next(m, at, level)) {
        const struct memtable_node *node = node_at(m, at);

        count++;
        must(node_height(node) > level, "on a level above its height", at);
        if (last)
            check_order(m, last, at);
        if (level > 0)
            continue;
        check_node(m, at);
        *bytes += node_key(node).size + node_value(node).size;
        for (unsigned i = 0; i < node_height(node); i++)
            reaching[i]++;
    }
    return count;
}

void memtable_check(const struct memtable *m)
{
    uint64_t reaching[MEMTABLE_HEIGHT_MAX + 1] = {0}, bytes = 0;

    must(check_level(m, 0, reaching, &bytes) == memtable_count(m), "count of entries", 0);
    must(bytes == memtable_user_bytes(m), "count of bytes", 0);
    for (unsigned level = 1; level < MEMTABLE_HEIGHT_MAX; level++)
        must(check_level(m, level, reaching, &bytes) == reaching[level], "nodes missing on a level", level);
}
