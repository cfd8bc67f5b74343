/* index.c - stands and leaves: finding the place of an entry, taking one in. Called by the other files
 * of this folder. The shape, and why readers miss nothing, is in memtable_internal.h.
 *
 * A lost race is a failed compare-and-swap: on a slot (try the next), on a stand's lowest link or leaf
 * (look again), on a link above (walk on). Some other thread has then got further, so there is no lock,
 * and a thread that is stopped anywhere stops nobody. */
#include "memtable/memtable_internal.h"

enum { HINT_STEPS = 2 };

static bool separator_behind(const struct memtable *m, uint64_t stand, const struct target *t)
{
    if (link_bits(stand) != t->bits)
        return link_bits(stand) > t->bits;
    return link_is_end(stand) || entry_compare(m, stand_at(m, stand)->separator, t) > 0;
}

/* Moves *at to the last stand on this level that is not behind the target and returns the link that leads
 * on. beyond: a stand known to be behind, 0 at first; it spares comparing its separator again on each
 * level below. */
static inline uint64_t level_walk(const struct memtable *m, const struct target *t, unsigned level,
                                  uint64_t *at, uint32_t *beyond)
{
    for (;;) {
        uint64_t link = stand_next(m, *at, level);

        if (link_bits(link) > t->bits || (uint32_t)link == *beyond)
            return link;
        if (link_bits(link) == t->bits && separator_behind(m, link, t)) {
            *beyond = (uint32_t)link;
            return link;
        }
        *at = link;
    }
}

static uint64_t search(const struct memtable *m, const struct target *t, unsigned level_min)
{
    uint64_t at = 0;
    uint32_t beyond = 0;

    for (unsigned level = LEVEL_MAX; level-- > level_min;)
        level_walk(m, t, level, &at, &beyond);
    return at;
}

struct span index_span(const struct memtable *m, uint64_t link)
{
    const struct stand *stand = stand_at(m, link);
    struct span span = {.stand = link};

    span.leaf = place_at(m, atomic_load_explicit(&stand->leaf, memory_order_acquire));
    for (unsigned line = 0; line < sizeof(struct leaf); line += LINE_BYTES)
        __builtin_prefetch((const char *)span.leaf + line);
    span.next = stand_next(m, link, 0);
    return span;
}

static struct span span_from(const struct memtable *m, const struct target *t, uint64_t at)
{
    struct span span = index_span(m, at);

    while (!separator_behind(m, span.next, t))
        span = index_span(m, span.next);
    return span;
}

struct span memtable_find_span(const struct memtable *m, const struct target *t)
{
    return span_from(m, t, search(m, t, 0));
}

struct span index_first(const struct memtable *m)
{
    return index_span(m, 0);
}

struct span index_last(const struct memtable *m)
{
    uint64_t at = 0, next;
    struct span span;

    for (unsigned level = LEVEL_MAX; level-- > 0;) {
        while (next = stand_next(m, at, level), !link_is_end(next))
            at = next;
    }
    for (span = index_span(m, at); !link_is_end(span.next);)
        span = index_span(m, span.next);
    return span;
}

static bool link_less(const struct memtable *m, uint64_t a, uint64_t b)
{
    struct target t;

    if (link_bits(a) != link_bits(b))
        return link_bits(a) < link_bits(b);
    t = target_of(m, b);
    return entry_compare(m, a, &t) < 0;
}

/* How many of these, which are in order, stand before the next stand. */
static unsigned live_count(const struct memtable *m, uint64_t next, const uint64_t links[], unsigned count)
{
    uint64_t limit;

    if (link_is_end(next))
        return count;
    limit = stand_at(m, next)->separator;
    while (count > 0 && !link_less(m, links[count - 1], limit))
        count--;
    return count;
}

/* Versions of one key are told apart by their entries, which lie anywhere: asked for at once, they cost one wait. */
static void fetch_equals(const struct memtable *m, const struct leaf *leaf)
{
    uint64_t before = leaf_slot(leaf, 0), link;

    for (unsigned i = 1; i < LEAF_SLOTS && (link = leaf_slot(leaf, i)) != 0; i++, before = link)
        if (link_bits(link) == link_bits(before)) {
            __builtin_prefetch(node_at(m, before));
            __builtin_prefetch(node_at(m, link));
        }
}

unsigned index_sort(const struct memtable *m, const struct span *span, uint64_t links[LEAF_SLOTS],
                    uint8_t prints[LEAF_SLOTS])
{
    unsigned count = 0, sorted = span->leaf->sorted;
    uint8_t from[LEAF_SLOTS]; /* the slots that the links come from */
    uint64_t link;

    fetch_equals(m, span->leaf);
    for (; count < LEAF_SLOTS && (link = leaf_slot(span->leaf, count)) != 0; count++) {
        unsigned at = count;

        for (; count >= sorted && at > 0 && link_less(m, link, links[at - 1]); at--) {
            links[at] = links[at - 1];
            from[at] = from[at - 1];
        }
        links[at] = link;
        from[at] = (uint8_t)count;
    }
    for (unsigned i = 0; prints && i < count; i++)
        prints[i] = atomic_load_explicit(&span->leaf->prints[from[i]], memory_order_relaxed);
    return live_count(m, span->next, links, count);
}

/* The room is there: memtable_prepare has taken the toll. Leaves are whole lines. */
static void *leaf_take(struct memtable *m)
{
    uint64_t bytes = atomic_fetch_add_explicit(&m->leaf_bytes, sizeof(struct leaf), memory_order_relaxed);

    return m->base + m->stands_start - bytes - sizeof(struct leaf);
}

static void *stand_take(struct memtable *m, unsigned height)
{
    uint64_t size = height * sizeof(uint64_t) + sizeof(struct stand);
    uint64_t bytes = atomic_fetch_add_explicit(&m->stand_bytes, size, memory_order_relaxed);

    return m->base + m->stands_start + bytes + height * sizeof(uint64_t);
}

/* NULL when there is none of this height; 0 asks for a leaf. */
static void *spare_take(struct memtable *m, unsigned height)
{
    struct spares *spares = &m->spares;
    uint32_t *piece = NULL;

    if (atomic_load_explicit(&spares->count, memory_order_relaxed) == 0)
        return NULL;
    mutex_lock(&spares->mu);
    if (spares->first[height]) {
        piece = place_at(m, spares->first[height]);
        spares->first[height] = *piece;
        atomic_fetch_sub_explicit(&spares->count, 1, memory_order_relaxed);
    }
    mutex_unlock(&spares->mu);
    return piece;
}

static void spare_give(struct memtable *m, unsigned height, void *piece)
{
    struct spares *spares = &m->spares;

    mutex_lock(&spares->mu);
    *(uint32_t *)piece = spares->first[height];
    spares->first[height] = place_offset(m, piece);
    atomic_fetch_add_explicit(&spares->count, 1, memory_order_relaxed);
    mutex_unlock(&spares->mu);
}

static struct leaf *leaf_make(struct memtable *m, const uint64_t links[], const uint8_t prints[],
                              unsigned count)
{
    struct leaf *leaf = spare_take(m, 0);

    if (!leaf)
        leaf = leaf_take(m);
    atomic_init(&leaf->filled, (uint8_t)count);
    leaf->sorted = (uint8_t)count;
    for (unsigned i = 0; i < LEAF_SLOTS; i++) {
        atomic_init(&leaf->slots[i], i < count ? links[i] : 0);
        atomic_init(&leaf->prints[i], i < count ? prints[i] : 0);
    }
    return leaf;
}

/* Three quarters of the stands have one level, three sixteenths two. */
static unsigned random_height(uint64_t number)
{
    number *= UINT64_C(0xD6E8FEB86659FD93);
    number ^= number >> 32;
    number *= UINT64_C(0xD6E8FEB86659FD93);
    number ^= number >> 32;
    return 1 + (unsigned)__builtin_ctzll(number | UINT64_C(1) << 2 * (LEVEL_MAX - 1)) / 2;
}

static struct stand *stand_make(struct memtable *m, uint64_t separator, const struct leaf *leaf)
{
    unsigned height = random_height(separator);
    struct stand *stand = spare_take(m, height);

    if (!stand)
        stand = stand_take(m, height);
    stand->separator = separator;
    stand->height = height;
    atomic_init(&stand->leaf, place_offset(m, leaf));
    return stand;
}

void index_init(struct memtable *m)
{
    struct stand *head = stand_at(m, 0);

    head->separator = 0;
    head->height = LEVEL_MAX;
    atomic_init(&head->leaf, place_offset(m, leaf_make(m, NULL, NULL, 0)));
    for (unsigned level = 0; level < LEVEL_MAX; level++)
        atomic_init(stand_link(head, level), LINK_END);
}

/* Slots fill in order, so the first empty one has none filled behind it. */
static bool leaf_append(const struct leaf *found, uint64_t own, uint8_t print)
{
    struct leaf *leaf = (struct leaf *)(uintptr_t)found;

    for (unsigned i = atomic_load_explicit(&leaf->filled, memory_order_relaxed); i < LEAF_SLOTS; i++) {
        uint64_t empty = 0;

        if (atomic_load_explicit(&leaf->slots[i], memory_order_relaxed) != 0)
            continue;
        if (!atomic_compare_exchange_strong_explicit(&leaf->slots[i], &empty, own, memory_order_release,
                                                     memory_order_relaxed))
            continue;
        atomic_store_explicit(&leaf->prints[i], print, memory_order_relaxed);
        atomic_store_explicit(&leaf->filled, (uint8_t)(i + 1), memory_order_relaxed);
        return true;
    }
    return false;
}

/* Links a stand, which is on the lowest level already, on its other levels. */
static void stand_raise(struct memtable *m, struct stand *stand, uint64_t own)
{
    struct target t = target_of(m, stand->separator);

    for (unsigned level = 1; level < stand->height; level++) {
        uint64_t at = search(m, &t, level), next;
        uint32_t beyond;

        do {
            beyond = 0;
            next = level_walk(m, &t, level, &at, &beyond);
            atomic_store_explicit(stand_link(stand, level), next, memory_order_relaxed);
        } while (!atomic_compare_exchange_strong_explicit(stand_link(stand_at(m, at), level), &next, own,
                                                          memory_order_release, memory_order_relaxed));
    }
}

/* Step 1: the upper entries, from `from` on, get a stand of their own. False when somebody was faster. */
static bool split_upper(struct memtable *m, const struct span *span, const uint64_t links[],
                        const uint8_t prints[], unsigned from)
{
    struct leaf *leaf = leaf_make(m, links + from, prints + from, LEAF_SLOTS - from);
    struct stand *stand = stand_make(m, links[from], leaf);
    uint64_t own = (uint64_t)link_bits(links[from]) << 32 | place_offset(m, stand), next = span->next;

    atomic_init(stand_link(stand, 0), next);
    if (atomic_compare_exchange_strong_explicit(stand_link(stand_at(m, span->stand), 0), &next, own,
                                                memory_order_release, memory_order_relaxed)) {
        stand_raise(m, stand, own);
        return true;
    }
    spare_give(m, stand->height, stand);
    spare_give(m, 0, leaf);
    return false;
}

/* Step 2: the stand keeps the lower entries in a leaf with room. */
static void split_lower(struct memtable *m, const struct span *span, const uint64_t links[],
                        const uint8_t prints[], unsigned count)
{
    struct leaf *leaf = leaf_make(m, links, prints, count);
    uint32_t full = place_offset(m, span->leaf);

    if (!atomic_compare_exchange_strong_explicit(&stand_at(m, span->stand)->leaf, &full, place_offset(m, leaf),
                                                 memory_order_release, memory_order_relaxed))
        spare_give(m, 0, leaf);
}

/* The leaf is full: one step, or both, towards room for the target. At the end of the list, keys that
 * ascend leave full leaves behind and pay for nothing but the next one. */
static void make_room(struct memtable *m, const struct span *span, const struct target *t)
{
    uint64_t links[LEAF_SLOTS];
    uint8_t prints[LEAF_SLOTS];
    unsigned count = index_sort(m, span, links, prints), from = LEAF_SLOTS / 2;

    if (count < LEAF_SLOTS) {
        split_lower(m, span, links, prints, count);
        return;
    }
    if (link_is_end(span->next) && entry_compare(m, links[LEAF_SLOTS - 1], t) < 0)
        from = LEAF_SLOTS - 1;
    if (split_upper(m, span, links, prints, from) && entry_compare(m, links[from], t) > 0)
        split_lower(m, span, links, prints, from);
}

/* Where to start: at the hint's stand when the target is there or hardly further. */
static uint64_t hint_start(const struct memtable *m, const struct target *t, const struct memtable_hint *hint)
{
    uint64_t at = hint->stand;

    if (hint->memtable_id != m->id || (!link_is_end(at) && separator_behind(m, at, t)))
        return search(m, t, 0);
    for (unsigned steps = 0; steps < HINT_STEPS; steps++) {
        uint64_t next = stand_next(m, at, 0);

        if (separator_behind(m, next, t))
            return at;
        at = next;
    }
    return search(m, t, 0);
}

void index_insert(struct memtable *m, const struct target *t, uint64_t own, uint8_t print,
                  struct memtable_hint *hint)
{
    struct span span = span_from(m, t, hint ? hint_start(m, t, hint) : search(m, t, 0));

    while (!leaf_append(span.leaf, own, print)) {
        make_room(m, &span, t);
        span = span_from(m, t, span.stand);
    }
    if (hint)
        *hint = (struct memtable_hint){span.stand, m->id};
}
