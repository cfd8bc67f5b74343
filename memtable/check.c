/* check.c - walks a memtable at rest and stops the program where its shape is wrong; for tests. It
 * does so in every build, so that a release build is tested too. */
#include "memtable/memtable_internal.h"
#include "base/hash.h"
#include <stdio.h>
#include <stdlib.h>

struct totals {
    uint64_t entries, bytes;
    uint64_t stands, reaching[LEVEL_MAX]; /* stands, by the levels they have */
    uint64_t last;                        /* the link of the entry before */
};

static void must(bool holds, const char *what, uint64_t link)
{
    if (holds)
        return;
    fprintf(stderr, "memtable: at %u: %s\n", (unsigned)link, what);
    abort();
}

static void check_entry(const struct memtable *m, uint64_t link, struct totals *totals)
{
    const struct memtable_node *node = node_at(m, link);
    struct target t = target_of(m, link);
    unsigned layer = layer_bit(t.key.data);

    must(t.bits == memtable_key_bits(m, t.key), "link with bits of another key", link);
    must(filter_may_hold(m, hash_key(t.key)), "key not in the filter", link);
    must(atomic_load(&m->layers[layer / 64]) >> layer % 64 & 1, "layer not marked", link);
    must(tag_seq(t.tag) > 0 && tag_kind(t.tag) != 0, "zero in the tag", link);
    must(totals->last == 0 || entry_compare(m, totals->last, &t) < 0, "entries out of order", link);
    totals->entries++;
    totals->bytes += node->key_size + node->value_size;
    totals->last = link;
}

static void check_span(const struct memtable *m, struct span span, struct totals *totals)
{
    const struct stand *stand = stand_at(m, span.stand);
    uint64_t links[LEAF_SLOTS];
    uint8_t prints[LEAF_SLOTS];
    unsigned live = index_sort(m, &span, links, prints), filled = 0;

    while (filled < LEAF_SLOTS && leaf_slot(span.leaf, filled) != 0)
        filled++;
    must(atomic_load(&span.leaf->filled) <= filled, "hint above the filled slots", span.stand);
    must(live == filled || filled == LEAF_SLOTS, "dead entries in a leaf with room", span.stand);
    for (; filled < LEAF_SLOTS; filled++)
        must(leaf_slot(span.leaf, filled) == 0, "a slot filled behind an empty one", span.stand);
    for (unsigned i = 0; i < live; i++) {
        check_entry(m, links[i], totals);
        must(prints[i] == 0 || prints[i] == print_of(hash_key(node_key(node_at(m, links[i])))), "wrong print",
             links[i]);
    }
    must(stand->height >= 1 && stand->height <= LEVEL_MAX, "height out of bounds", span.stand);
    if (link_is_end(span.stand))
        return;
    must(live > 0 && links[0] == stand->separator, "the separator is not the first entry", span.stand);
    must(link_bits(span.stand) == link_bits(stand->separator), "bits of another separator", span.stand);
    totals->stands++;
    for (unsigned level = 0; level < stand->height; level++)
        totals->reaching[level]++;
}

/* Returns how many stands are on the level. */
static uint64_t check_level(const struct memtable *m, unsigned level)
{
    uint64_t count = 0, last = 0;

    for (uint64_t at = stand_next(m, 0, level); !link_is_end(at); last = at, at = stand_next(m, at, level)) {
        struct target t = target_of(m, stand_at(m, at)->separator);

        must(stand_at(m, at)->height > level, "on a level above its height", at);
        must(last == 0 || entry_compare(m, stand_at(m, last)->separator, &t) < 0, "stands out of order", at);
        count++;
    }
    return count;
}

void memtable_check(const struct memtable *m)
{
    struct totals totals = {0};
    struct span span = index_first(m);

    for (; !link_is_end(span.next); span = index_span(m, span.next))
        check_span(m, span, &totals);
    check_span(m, span, &totals);
    must(totals.entries == memtable_count(m), "count of entries", 0);
    must(totals.bytes == memtable_user_bytes(m), "count of bytes", 0);
    for (unsigned level = 0; level < LEVEL_MAX; level++)
        must(check_level(m, level) == totals.reaching[level], "stands missing on a level", level);
    must(atomic_load(&m->leaf_bytes) <= totals.entries * LEAF_TOLL + (1 << 20), "leaves above the toll", 0);
    must(atomic_load(&m->stand_bytes) <= totals.entries * STAND_TOLL + (1 << 20), "stands above the toll", 0);
}
