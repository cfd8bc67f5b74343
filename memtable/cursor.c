/* cursor.c - the walk over a memtable. At a read point only the newest version at or below it of each
 * key is shown.
 *
 * The cursor sorts one leaf at a time into an array of its own. What is inserted behind its back into that
 * leaf it does not see: at a read point nothing of it counts, as all up to there was linked before. */
#include "memtable/memtable_internal.h"
#include "base/mem.h"

enum {
    SKIPS_MAX = 8,   /* versions passed one by one before a search is cheaper */
    FETCH_AHEAD = 6, /* entries: they lie anywhere in the mapping */
};

struct memtable_cursor {
    struct cursor base;
    struct memtable *memtable;
    helios_seq read_point;
    helios_seq since;   /* what is shown is above */
    helios_slice upper; /* behind this struct; no data: open */
    /* Where it stands: on links[at], or nowhere when at == count. */
    struct span span;
    unsigned at, count;
    uint64_t links[LEAF_SLOTS];
};

static struct memtable_cursor *cursor_of(struct cursor *c)
{
    return (struct memtable_cursor *)c;
}

static bool all_versions(const struct memtable_cursor *mc)
{
    return mc->read_point == CURSOR_ALL;
}
static bool stands(const struct memtable_cursor *mc)
{
    return mc->at < mc->count;
}

static const struct memtable_node *here(const struct memtable_cursor *mc)
{
    return node_at(mc->memtable, mc->links[mc->at]);
}

static bool has_key(const struct memtable_node *node, helios_slice key)
{
    return slice_equal(node_key(node), key);
}

static bool is_visible(const struct memtable_cursor *mc, const struct memtable_node *node)
{
    return tag_seq(node->tag) <= mc->read_point;
}

static void enter_span(struct memtable_cursor *mc, struct span span)
{
    mc->span = span;
    mc->count = index_sort(mc->memtable, &span, mc->links, NULL);
    mc->at = 0;
    for (unsigned i = 0; i < FETCH_AHEAD && i < mc->count; i++)
        __builtin_prefetch(node_at(mc->memtable, mc->links[i]));
}

/* Whether anything in the leaf is above `since`, in any order; what is not sorted costs one wait for all entries. */
static bool is_touched(const struct memtable_cursor *mc, const struct leaf *leaf)
{
    const struct memtable_node *nodes[LEAF_SLOTS];
    unsigned count = 0;
    uint64_t link;

    for (; count < LEAF_SLOTS && (link = leaf_slot(leaf, count)) != 0; count++) {
        nodes[count] = node_at(mc->memtable, link);
        __builtin_prefetch(nodes[count]);
    }
    for (unsigned i = 0; i < count; i++)
        if (tag_seq(nodes[i]->tag) > mc->since)
            return true;
    return false;
}

static bool begins_beyond(const struct memtable_cursor *mc, struct span span)
{
    uint64_t separator = stand_at(mc->memtable, span.stand)->separator;

    return mc->upper.data && slice_compare(node_key(node_at(mc->memtable, separator)), mc->upper) >= 0;
}

/* Past leaves with nothing above `since`; the next is asked for while one is looked at. */
static struct span pass_leaves(const struct memtable_cursor *mc, struct span span)
{
    while (!link_is_end(span.next)) {
        struct span next = index_span(mc->memtable, span.next);

        if (is_touched(mc, span.leaf) || begins_beyond(mc, span))
            break;
        span = next;
    }
    return span;
}

/* Off the end of a leaf, to the first entry of the next. Only the head's leaf can be empty. */
static void cross(struct memtable_cursor *mc)
{
    if (!stands(mc) && !link_is_end(mc->span.next))
        enter_span(mc, index_span(mc->memtable, mc->span.next));
}

/* The same on the way forward to what is shown. */
static void cross_forward(struct memtable_cursor *mc)
{
    if (mc->since && !stands(mc) && !link_is_end(mc->span.next))
        enter_span(mc, pass_leaves(mc, index_span(mc->memtable, mc->span.next)));
    else
        cross(mc);
}

static void step_forward(struct memtable_cursor *mc)
{
    mc->at++;
    if (mc->at + FETCH_AHEAD < mc->count)
        __builtin_prefetch(node_at(mc->memtable, mc->links[mc->at + FETCH_AHEAD]));
    cross_forward(mc);
}

/* At the start of a leaf a search leads to the one before: no entry with this key lies between the separator
 * and its tag plus one. */
static void step_back(struct memtable_cursor *mc)
{
    const struct memtable *m = mc->memtable;
    struct target t;

    if (mc->at > 0) {
        mc->at--;
        return;
    }
    if (link_is_end(mc->span.stand)) {
        mc->count = 0;
        return;
    }
    t = target_of(m, stand_at(m, mc->span.stand)->separator);
    t.tag++;
    enter_span(mc, memtable_find_span(m, &t));
    mc->at = mc->count ? mc->count - 1 : 0;
}

/* On the first entry of its leaf at or after the target; at the leaf's end when there is none. */
static void enter_at(struct memtable_cursor *mc, helios_slice key, uint64_t tag)
{
    struct target t = target_make(mc->memtable, key, tag);
    unsigned low = 0, high;

    enter_span(mc, memtable_find_span(mc->memtable, &t));
    high = mc->count;
    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (entry_compare(mc->memtable, mc->links[middle], &t) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    mc->at = low;
}

static void seek_from(struct memtable_cursor *mc, helios_slice key, uint64_t tag)
{
    enter_at(mc, key, tag);
    cross_forward(mc);
}

static void seek_before(struct memtable_cursor *mc, helios_slice key, uint64_t tag)
{
    enter_at(mc, key, tag);
    step_back(mc);
}

/* Shows where it stands. */
static void show(struct memtable_cursor *mc)
{
    const struct memtable_node *node;

    mc->base.valid = stands(mc);
    if (!mc->base.valid)
        return;
    node = here(mc);
    mc->base.key = node_key(node);
    mc->base.tag = node->tag;
    mc->base.value = node_value(node);
}

/* A visible one is the newest of its key when it is met: what is at or below `since` hides older ones that are too. */
static bool is_shown(const struct memtable_cursor *mc, const struct memtable_node *node)
{
    return is_visible(mc, node) && tag_seq(node->tag) > mc->since;
}

/* After some versions of one key that are not shown: to the first that may be, or behind the key. */
static void pass_versions(struct memtable_cursor *mc)
{
    const struct memtable_node *node = here(mc);

    seek_from(mc, node_key(node), is_visible(mc, node) ? 0 : tag_newest(mc->read_point));
}

/* From the first entry of a key that counts on: to the first one that is shown. */
static void settle_forward(struct memtable_cursor *mc)
{
    const struct memtable_node *mark = stands(mc) ? here(mc) : NULL;

    for (unsigned skips = 1; stands(mc) && !is_shown(mc, here(mc)); skips++) {
        if (skips % SKIPS_MAX != 0) {
            step_forward(mc);
            continue;
        }
        if (mc->upper.data && slice_compare(node_key(here(mc)), mc->upper) >= 0) {
            mc->at = mc->count;
            break;
        }
        if (has_key(here(mc), node_key(mark)))
            pass_versions(mc);
        else
            step_forward(mc);
        mark = stands(mc) ? here(mc) : NULL;
    }
    show(mc);
}

/* From any version of a key to the last entry of the key before. */
static void leave_back(struct memtable_cursor *mc, helios_slice key)
{
    for (unsigned skips = 0; stands(mc) && has_key(here(mc), key); skips++) {
        if (skips == SKIPS_MAX)
            seek_before(mc, key, TAG_MAX);
        else
            step_back(mc);
    }
}

/* From the oldest version of a key, which is visible, to the newest that is. */
static void climb_versions(struct memtable_cursor *mc)
{
    helios_slice key = node_key(here(mc));

    for (unsigned skips = 0; mc->at > 0 && skips < SKIPS_MAX; skips++, mc->at--) {
        const struct memtable_node *newer = node_at(mc->memtable, mc->links[mc->at - 1]);

        if (!has_key(newer, key) || !is_visible(mc, newer))
            return;
    }
    enter_at(mc, key, tag_newest(mc->read_point));
    cross(mc);
}

/* From the oldest version of a key: to what is shown of it, or of the last key before it that shows anything.
 */
static void settle_back(struct memtable_cursor *mc)
{
    while (!all_versions(mc) && stands(mc)) {
        if (is_visible(mc, here(mc))) {
            climb_versions(mc);
            if (is_shown(mc, here(mc)))
                break;
        }
        leave_back(mc, node_key(here(mc)));
    }
    show(mc);
}

static void memtable_cursor_first(struct cursor *c)
{
    struct memtable_cursor *mc = cursor_of(c);

    enter_span(mc, index_first(mc->memtable));
    cross_forward(mc);
    settle_forward(mc);
}

static void memtable_cursor_last(struct cursor *c)
{
    struct memtable_cursor *mc = cursor_of(c);

    enter_span(mc, index_last(mc->memtable));
    mc->at = mc->count;
    step_back(mc);
    settle_back(mc);
}

static void memtable_cursor_seek(struct cursor *c, helios_slice key, uint64_t tag)
{
    struct memtable_cursor *mc = cursor_of(c);

    seek_from(mc, key, all_versions(mc) ? tag : tag_newest(mc->read_point));
    settle_forward(mc);
}

/* Every tag is above zero, so (key, 0) stands behind all versions of the key. */
static void memtable_cursor_seek_for_prev(struct cursor *c, helios_slice key)
{
    struct memtable_cursor *mc = cursor_of(c);

    seek_before(mc, key, 0);
    settle_back(mc);
}

static void memtable_cursor_next(struct cursor *c)
{
    struct memtable_cursor *mc = cursor_of(c);
    unsigned skips = 0;

    assert(c->valid);
    step_forward(mc);
    for (; !all_versions(mc) && stands(mc) && has_key(here(mc), c->key); skips++) {
        if (skips == SKIPS_MAX)
            seek_from(mc, c->key, 0);
        else
            step_forward(mc);
    }
    settle_forward(mc);
}

static void memtable_cursor_prev(struct cursor *c)
{
    struct memtable_cursor *mc = cursor_of(c);

    assert(c->valid);
    if (all_versions(mc))
        step_back(mc);
    else
        leave_back(mc, c->key);
    settle_back(mc);
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

helios_status memtable_cursor_new_within(struct memtable *m, helios_seq read_point, helios_seq since,
                                         helios_slice upper, struct cursor **cursor_out)
{
    size_t bytes = sizeof(struct memtable_cursor) + upper.size;
    struct memtable_cursor *mc = mem_zalloc(bytes);

    assert(since == 0 || read_point != CURSOR_ALL);
    if (!mc)
        return fail_no_memory(bytes);
    mc->base.ops = &memtable_cursor_ops;
    mc->memtable = memtable_ref(m);
    mc->read_point = read_point;
    mc->since = since;
    if (upper.data) {
        memcpy(mc + 1, upper.data, upper.size);
        mc->upper = slice_make(mc + 1, upper.size);
    }
    *cursor_out = &mc->base;
    return HELIOS_OK;
}

helios_status memtable_cursor_new(struct memtable *m, helios_seq read_point, struct cursor **cursor_out)
{
    return memtable_cursor_new_within(m, read_point, 0, (helios_slice){0}, cursor_out);
}
