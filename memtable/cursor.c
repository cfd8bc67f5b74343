/* cursor.c - the walk over a memtable. At a read point only the newest version at or below it of each
 * key is shown. There are no links back: a step back is a search for what stands before. */
#include "memtable/memtable_internal.h"
#include "base/mem.h"

enum { SKIPS_MAX = 8 }; /* versions passed one by one before a search is cheaper */

struct memtable_cursor {
    struct cursor base;
    struct memtable *memtable;
    helios_seq read_point;
    uint64_t at; /* the link to the current node; while valid */
};

static struct memtable_cursor *cursor_of(struct cursor *c)
{
    return (struct memtable_cursor *)c;
}

static bool all_versions(const struct memtable_cursor *mc)
{
    return mc->read_point == CURSOR_ALL;
}

/* Every tag is above zero, so (key, 0) stands behind all versions of the key. */
static uint64_t seek_link(const struct memtable *m, helios_slice key, uint64_t tag, uint64_t *before)
{
    struct target target = target_make(m, key, tag);

    return memtable_search(m, &target, before);
}

static uint64_t newest_tag(const struct memtable_cursor *mc)
{
    return mc->read_point < SEQ_MAX ? tag_at(mc->read_point) : TAG_MAX;
}

/* Stands on the node, or nowhere at the end of the list. The next one is fetched ahead of its use. */
static void cursor_set(struct memtable_cursor *mc, uint64_t link)
{
    const struct memtable_node *node;

    mc->base.valid = !link_is_end(link);
    if (!mc->base.valid)
        return;
    mc->at = link;
    node = node_at(mc->memtable, link);
    mc->base.key = node_key(node);
    mc->base.tag = node->tag;
    mc->base.value = node_value(node);
    __builtin_prefetch(node_at(mc->memtable, node_next(mc->memtable, link, 0)));
}

/* From a node on that is the newest of its key that counts: the first one at or below the read point. */
static uint64_t visible_from(const struct memtable_cursor *mc, uint64_t link)
{
    const struct memtable *m = mc->memtable;
    uint64_t before;

    for (unsigned skips = 1; !link_is_end(link) && tag_seq(node_at(m, link)->tag) > mc->read_point; skips++) {
        if (skips % SKIPS_MAX == 0)
            link = seek_link(m, node_key(node_at(m, link)), newest_tag(mc), &before);
        else
            link = node_next(m, link, 0);
    }
    return link;
}

/* The first node of the key after this one's. */
static uint64_t next_key(const struct memtable *m, uint64_t link)
{
    helios_slice key = node_key(node_at(m, link));
    uint64_t next = link, before;

    for (unsigned skips = 0; skips < SKIPS_MAX; skips++) {
        next = node_next(m, next, 0);
        if (link_is_end(next) || link_bits(next) != link_bits(link) || !slice_equal(node_key(node_at(m, next)), key))
            return next;
    }
    return seek_link(m, key, 0, &before);
}

/* Stands on what the cursor shows of this node's key, or of the last key before it that shows anything.
 * The link is that of a key's oldest version, or the head's. */
static void settle_back(struct memtable_cursor *mc, uint64_t link)
{
    const struct memtable *m = mc->memtable;
    uint64_t before = link, found;

    while (!all_versions(mc) && !link_is_end(link)) {
        helios_slice key = node_key(node_at(m, link));

        found = seek_link(m, key, newest_tag(mc), &before);
        if (!link_is_end(found) && slice_equal(node_key(node_at(m, found)), key)) {
            link = found;
            break;
        }
        /* The key has nothing old enough: `before` may be a version of it that is too new. */
        seek_link(m, key, TAG_MAX, &before);
        link = before;
    }
    cursor_set(mc, link);
}

static void memtable_cursor_first(struct cursor *c)
{
    struct memtable_cursor *mc = cursor_of(c);

    cursor_set(mc, visible_from(mc, node_next(mc->memtable, 0, 0)));
}

static void memtable_cursor_last(struct cursor *c)
{
    struct memtable_cursor *mc = cursor_of(c);
    uint64_t at = 0, next;

    for (unsigned level = MEMTABLE_HEIGHT_MAX; level-- > 0;) {
        while (next = node_next(mc->memtable, at, level), !link_is_end(next))
            at = next;
    }
    settle_back(mc, at);
}

static void memtable_cursor_seek(struct cursor *c, helios_slice key, uint64_t tag)
{
    struct memtable_cursor *mc = cursor_of(c);
    uint64_t before;

    cursor_set(mc, visible_from(mc, seek_link(mc->memtable, key, all_versions(mc) ? tag : newest_tag(mc), &before)));
}

static void memtable_cursor_seek_for_prev(struct cursor *c, helios_slice key)
{
    struct memtable_cursor *mc = cursor_of(c);
    uint64_t before;

    seek_link(mc->memtable, key, 0, &before);
    settle_back(mc, before);
}

static void memtable_cursor_next(struct cursor *c)
{
    struct memtable_cursor *mc = cursor_of(c);

    assert(c->valid);
    if (all_versions(mc))
        cursor_set(mc, node_next(mc->memtable, mc->at, 0));
    else
        cursor_set(mc, visible_from(mc, next_key(mc->memtable, mc->at)));
}

static void memtable_cursor_prev(struct cursor *c)
{
    struct memtable_cursor *mc = cursor_of(c);
    uint64_t before;

    assert(c->valid);
    seek_link(mc->memtable, c->key, all_versions(mc) ? c->tag : TAG_MAX, &before);
    settle_back(mc, before);
}

/* Never called: nothing is left on disk. */
static helios_status memtable_cursor_load(struct cursor *c)
{
    return c->status;
}

static void memtable_cursor_free(struct cursor *c)
{
    memtable_unref(cursor_of(c)->memtable);
    mem_free(c);
}

static const struct cursor_ops memtable_cursor_ops = {
    .first = memtable_cursor_first,
    .last = memtable_cursor_last,
    .seek = memtable_cursor_seek,
    .seek_for_prev = memtable_cursor_seek_for_prev,
    .next = memtable_cursor_next,
    .prev = memtable_cursor_prev,
    .load = memtable_cursor_load,
    .free = memtable_cursor_free,
};

helios_status memtable_cursor_new(struct memtable *m, helios_seq read_point, struct cursor **cursor_out)
{
    struct memtable_cursor *mc = mem_zalloc(sizeof(*mc));

    if (!mc)
        return fail_no_memory(sizeof(*mc));
    mc->base.ops = &memtable_cursor_ops;
    mc->memtable = memtable_ref(m);
    mc->read_point = read_point;
    *cursor_out = &mc->base;
    return HELIOS_OK;
}
