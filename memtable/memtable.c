/* memtable.c - making a memtable, adding to it, asking it. Called by engine/ and compaction/.
 *
 * Adding: the entry is filled where nobody sees it, its bits go into the filter, then index_insert makes it
 * seen by a release. So who meets an entry finds it whole, and who finds its bits missing meets no
 * published entry. Nothing is ever removed. */
#include "memtable/memtable_internal.h"
#include "base/hash.h"
#include "base/mem.h"
#include <inttypes.h>

enum {
    MAPPING_POOL_MAX = 1,
    HEAD_BYTES = (LEVEL_MAX * 8 + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES,
    BYTES_MIN = 4096,
    RESERVE_MIN =
        16 << 20,       /* a commit that is not ingested fits into any memtable; untouched it costs nothing */
    SLACK = 1 << 20,    /* for pieces in flight between threads, and for heights above the average */
    FILTER_SHARE = 128, /* of `bytes`: 11 bits a key at 180 bytes an entry; twice that misses the caches more */
    GUESS_MAX = 64,
    /* Lines fetched for the entries to come: the first locked instruction waits for all stores before it. */
    FETCH_AHEAD = 512,
    FETCH_LINES = 3,
    ENTRY_MIN = sizeof(struct memtable_node) + 8,
};

/* With reserve and tolls, offsets stay within 32 bits of units, and counts and bytes within their words. */
#define BYTES_MAX ((uint64_t)1 << 32)

/* Mappings of memtables that are gone, newest last. What was written to them stays: a new memtable clears
 * only the head and the filter, so a recycled arena costs neither faults nor zeroing. */
static struct {
    struct mutex mu;
    struct mapping kept[MAPPING_POOL_MAX];
    size_t count;
} pool = {.mu = {PTHREAD_MUTEX_INITIALIZER}};

static bool pool_take(size_t size, struct mapping *mapping)
{
    bool found = false;

    mutex_lock(&pool.mu);
    for (size_t i = pool.count; i-- > 0 && !found;) {
        if (pool.kept[i].size != size)
            continue;
        *mapping = pool.kept[i];
        pool.count--;
        memmove(&pool.kept[i], &pool.kept[i + 1], (pool.count - i) * sizeof(*mapping));
        found = true;
    }
    mutex_unlock(&pool.mu);
    return found;
}

/* The oldest makes room, so that a size no longer in use does not stay for good. */
static void pool_give(struct mapping mapping)
{
    struct mapping oldest = {0};

    mutex_lock(&pool.mu);
    if (pool.count == MAPPING_POOL_MAX) {
        oldest = pool.kept[0];
        memmove(&pool.kept[0], &pool.kept[1], (MAPPING_POOL_MAX - 1) * sizeof(mapping));
        pool.count--;
    }
    pool.kept[pool.count++] = mapping;
    mutex_unlock(&pool.mu);
    pages_free(oldest.pages, oldest.size);
}

void memtable_pool_release(void)
{
    struct mapping kept[MAPPING_POOL_MAX];
    size_t count;

    mutex_lock(&pool.mu);
    count = pool.count;
    memcpy(kept, pool.kept, sizeof(kept));
    pool.count = 0;
    mutex_unlock(&pool.mu);
    for (size_t i = 0; i < count; i++)
        pages_free(kept[i].pages, kept[i].size);
}

static helios_status mapping_open(size_t size, struct mapping *mapping)
{
    if (pool_take(size, mapping))
        return HELIOS_OK;
    *mapping = (struct mapping){pages_alloc(size), size, 0};
    return mapping->pages ? HELIOS_OK : fail_no_memory(size);
}

/* How often a byte is expected in a key: digits and zeros most, then hexadecimal, then letters. */
static unsigned byte_weight(unsigned byte)
{
    if (byte == 0)
        return 4096;
    if (byte >= '0' && byte <= '9')
        return 2730;
    if (byte >= 'a' && byte <= 'f')
        return 1024;
    if ((byte >= 'g' && byte <= 'z') || (byte >= 'A' && byte <= 'Z'))
        return 328;
    return 66;
}

static void weights_init(struct byte_weight weights[256])
{
    unsigned below = 0;

    for (unsigned byte = 0; byte < 256; byte++) {
        weights[byte] = (struct byte_weight){(uint16_t)below, (uint16_t)byte_weight(byte)};
        below += byte_weight(byte);
    }
    assert(below <= 1 << 16);
}

/* The bits of a key: arithmetic coding (Rissanen, 1976) of what follows the shared prefix, cut at 32 bits,
 * with fixed weights. It keeps the order as the bytes themselves would, but tells seven decimal digits
 * apart where they tell four. A key that is another's prefix gets the low end of the other's range.
 * While the prefix is not known there is nothing to be found, with whatever bits. */
uint32_t memtable_key_bits(const struct memtable *m, helios_slice key)
{
    uint32_t shared_size = atomic_load_explicit(&m->shared_size, memory_order_acquire);
    size_t common = key.size < shared_size ? key.size : shared_size;
    const unsigned char *at = slice_bytes(key) + common, *end = slice_bytes(key) + key.size;
    uint64_t low = 0, range = UINT64_MAX;
    int order;

    if (shared_size == SHARED_UNKNOWN)
        return 0;
    order = common ? memcmp(key.data, m->shared, common) : 0;
    if (order > 0)
        return UINT32_MAX;
    if (order < 0 || common < shared_size)
        return 0;
    for (; at < end && range >> 32; at++) {
        range >>= 16;
        low += range * m->weights[*at].below;
        range *= m->weights[*at].own;
    }
    return (uint32_t)(low >> 32);
}

/* With no memtable before it to tell, the first key makes the guess: others are in its layer, and have most
 * of the zeros that it begins with. A wrong guess costs comparisons, as no guess would. */
static size_t guess_shared(helios_slice key)
{
    const unsigned char *bytes = slice_bytes(key);
    size_t at = KEY_LAYER_BYTES;

    while (at < key.size && at < GUESS_MAX && (bytes[at] == 0 || bytes[at] == '0'))
        at++;
    return at > KEY_LAYER_BYTES ? at - 1 : at;
}

static void learn_shared(struct memtable *m, helios_slice first)
{
    size_t size = guess_shared(first);

    mutex_lock(&m->shared_mu);
    if (atomic_load_explicit(&m->shared_size, memory_order_relaxed) == SHARED_UNKNOWN) {
        memcpy(m->shared, first.data, size);
        atomic_store_explicit(&m->shared_size, (uint32_t)size, memory_order_release);
    }
    mutex_unlock(&m->shared_mu);
}

static uint64_t lines(uint64_t bytes)
{
    return (bytes + LINE_BYTES - 1) & ~(uint64_t)(LINE_BYTES - 1);
}

/* Sets the constants of the layout; returns the mapping's size. */
static uint64_t memtable_layout(struct memtable *m, uint64_t bytes)
{
    uint64_t filter_bytes;

    m->bytes = bytes < BYTES_MIN ? BYTES_MIN : lines(bytes);
    filter_bytes = lines(m->bytes / FILTER_SHARE);
    m->filter_words = filter_bytes / sizeof(*m->filter);
    m->room = m->bytes + (m->bytes < RESERVE_MIN ? RESERVE_MIN : m->bytes);
    m->entries_start = LINE_BYTES + filter_bytes;
    m->stands_start = m->entries_start + m->room + SLACK;
    return HEAD_BYTES + m->stands_start + lines(m->room / (ENTRY_MIN + LEAF_TOLL + STAND_TOLL) * STAND_TOLL) +
           SLACK;
}

static void memtable_init(struct memtable *m, struct mapping mapping, helios_slice shared)
{
    static _Atomic uint64_t ids;

    m->id = atomic_fetch_add(&ids, 1) + 1;
    m->mapping = mapping;
    m->base = mapping.pages + HEAD_BYTES;
    m->filter = (_Atomic uint64_t *)(m->base + LINE_BYTES);
    if (mapping.touched)
        memset((void *)m->filter, 0, m->filter_words * sizeof(*m->filter));
    if (shared.size)
        memcpy(m->shared, shared.data, shared.size);
    atomic_init(&m->shared_size, shared.size ? (uint32_t)shared.size : SHARED_UNKNOWN);
    weights_init(m->weights);
    mutex_init(&m->spares.mu);
    mutex_init(&m->rangedel_mu);
    mutex_init(&m->shared_mu);
    atomic_init(&m->refs, 1);
    index_init(m);
}

helios_status memtable_new(uint64_t bytes, helios_slice shared, struct memtable **memtable_out)
{
    struct mapping mapping;
    struct memtable *m;
    size_t size = sizeof(*m) + (shared.size ? shared.size : GUESS_MAX);
    helios_status status;

    if (bytes > BYTES_MAX)
        return fail(HELIOS_INVALID, "a memtable of %" PRIu64 " bytes: at most %" PRIu64, bytes, BYTES_MAX);
    m = mem_aligned(LINE_BYTES, size);
    if (!m)
        return fail_no_memory(size);
    memset(m, 0, sizeof(*m));
    status = mapping_open(memtable_layout(m, bytes), &mapping);
    if (status != HELIOS_OK) {
        mem_free(m);
        return status;
    }
    memtable_init(m, mapping, shared);
    *memtable_out = m;
    return HELIOS_OK;
}

struct memtable *memtable_ref(struct memtable *m)
{
    uint32_t before = atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);

    assert(before > 0);
    (void)before;
    return m;
}

static size_t memtable_touched(const struct memtable *m)
{
    size_t touched = HEAD_BYTES + m->entries_start + memtable_used(m);

    return touched < m->mapping.touched ? m->mapping.touched : touched;
}

static void memtable_release(struct epoch_item *item)
{
    struct memtable *m = (struct memtable *)((char *)item - offsetof(struct memtable, retired));

    m->mapping.touched = memtable_touched(m);
    rangedel_unref(atomic_load_explicit(&m->rangedels, memory_order_relaxed));
    mutex_release(&m->rangedel_mu);
    mutex_release(&m->shared_mu);
    mutex_release(&m->spares.mu);
    pool_give(m->mapping);
    mem_free(m);
}

void memtable_unref(struct memtable *m)
{
    uint32_t before;

    if (!m)
        return;
    before = atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1)
        epoch_retire(&m->retired, memtable_release);
}

static uint64_t count_part(uint64_t word)
{
    return word >> COUNT_SHIFT;
}
static uint64_t bytes_part(uint64_t word)
{
    return word & (COUNT_ONE - 1);
}

static bool has_room(const struct memtable *m, uint64_t taken)
{
    return bytes_part(taken) + count_part(taken) * (LEAF_TOLL + STAND_TOLL) <= m->room;
}

/* NULL when even the reserve is used up. The look before the addition keeps `taken` from running on. */
static struct memtable_node *entry_take(struct memtable *m, size_t size)
{
    uint64_t more = COUNT_ONE + ((size + UNIT - 1) & ~(size_t)(UNIT - 1));
    uint64_t taken = atomic_load_explicit(&m->taken, memory_order_relaxed);
    char *at;

    if (!has_room(m, taken + more))
        return NULL;
    taken = atomic_fetch_add_explicit(&m->taken, more, memory_order_relaxed);
    if (!has_room(m, taken + more))
        return NULL;
    at = m->base + m->entries_start + bytes_part(taken);
    for (unsigned line = 0; line < FETCH_LINES; line++)
        __builtin_prefetch(at + FETCH_AHEAD + line * LINE_BYTES, 1);
    return (struct memtable_node *)at;
}

static void bits_set(_Atomic uint64_t *word, uint64_t mask)
{
    if ((atomic_load_explicit(word, memory_order_relaxed) & mask) != mask)
        atomic_fetch_or_explicit(word, mask, memory_order_relaxed);
}

/* The filter's line is fetched while the entry is filled. */
struct memtable_node *memtable_prepare(struct memtable *m, helios_slice key, helios_slice value,
                                       enum key_kind kind)
{
    uint64_t hash = hash_key(key);
    struct memtable_node *node;

    assert(key.size >= KEY_LAYER_BYTES);
    assert(key.size <= KEY_BYTES_MAX);
    assert(value.size <= VALUE_BYTES_MAX);
    __builtin_prefetch((void *)filter_word(m, hash), 1);
    node = entry_take(m, sizeof(*node) + key.size + value.size);
    if (!node)
        return NULL;
    if (atomic_load_explicit(&m->shared_size, memory_order_relaxed) == SHARED_UNKNOWN)
        learn_shared(m, key);
    node->tag = (uint64_t)memtable_key_bits(m, key) << 32 | (uint64_t)print_of(hash) << 8 | (uint64_t)kind;
    node->key_size = (uint32_t)key.size;
    node->value_size = (uint32_t)value.size;
    memcpy(node->bytes, key.data, key.size);
    if (value.size)
        memcpy(node->bytes + key.size, value.data, value.size);
    bits_set(filter_word(m, hash), filter_mask(hash));
    return node;
}

helios_slice memtable_node_key(const struct memtable_node *node)
{
    return node_key(node);
}

void memtable_insert(struct memtable *m, struct memtable_node *node, helios_seq seq, struct memtable_hint *hint)
{
    uint32_t bits = link_bits(node->tag);
    struct target target = {node_key(node), tag_make(seq, tag_kind(node->tag)), bits};
    unsigned layer = layer_bit(target.key.data);
    uint8_t print = (uint8_t)(node->tag >> 8);

    assert(seq > 0);
    assert(seq <= SEQ_MAX);
    node->tag = target.tag;
    bits_set(&m->layers[layer / 64], UINT64_C(1) << layer % 64);
    index_insert(m, &target, (uint64_t)bits << 32 | place_offset(m, node), print, hint);
    atomic_fetch_add_explicit(&m->linked, COUNT_ONE + node->key_size + node->value_size, memory_order_relaxed);
}

/* A set that was replaced, until no reader is left that could have taken it from the memtable. */
struct rangedel_retired {
    struct epoch_item item;
    struct rangedel_set *set;
};

static void rangedel_retired_release(struct epoch_item *item)
{
    struct rangedel_retired *retired = (struct rangedel_retired *)item;

    rangedel_unref(retired->set);
    mem_free(retired);
}

/* old with all items; old itself is not changed. */
static helios_status add_items(const struct rangedel_set *old, const struct rangedel *items, size_t count,
                               struct rangedel_set **out)
{
    struct rangedel_set *set = NULL;

    for (size_t i = 0; i < count; i++) {
        struct rangedel_set *next = NULL;
        helios_status status = rangedel_add(set ? set : old, &items[i], &next);

        rangedel_unref(set);
        if (status != HELIOS_OK)
            return status;
        set = next;
    }
    *out = set;
    return HELIOS_OK;
}

helios_status memtable_add_rangedels(struct memtable *m, const struct rangedel *items, size_t count)
{
    struct rangedel_retired *retired = mem_alloc(sizeof(*retired));
    struct rangedel_set *next;
    helios_status status;

    if (!retired)
        return fail_no_memory(sizeof(*retired));
    mutex_lock(&m->rangedel_mu);
    retired->set = atomic_load_explicit(&m->rangedels, memory_order_relaxed);
    status = add_items(retired->set, items, count, &next);
    if (status == HELIOS_OK)
        atomic_store_explicit(&m->rangedels, next, memory_order_release);
    mutex_unlock(&m->rangedel_mu);
    if (status == HELIOS_OK && retired->set)
        epoch_retire(&retired->item, rangedel_retired_release);
    else
        mem_free(retired);
    return status;
}

struct rangedel_set *memtable_rangedels(const struct memtable *m)
{
    return atomic_load_explicit(&m->rangedels, memory_order_acquire);
}

/* The newest version of the target's key at or before it in the leaf, which need not be sorted for this. Dead
 * entries do no harm: they are older than the next stand's separator, which is among them. */
static const struct memtable_node *leaf_newest(const struct memtable *m, const struct leaf *leaf,
                                               const struct target *t, uint8_t print)
{
    const struct memtable_node *newest = NULL;
    uint64_t link;

    for (unsigned i = 0; i < LEAF_SLOTS && (link = leaf_slot(leaf, i)) != 0; i++) {
        const struct memtable_node *node = node_at(m, link);
        uint8_t has = atomic_load_explicit(&leaf->prints[i], memory_order_relaxed);

        if ((has != print && has != 0) || link_bits(link) != t->bits)
            continue;
        if (node->tag > t->tag || (newest && node->tag < newest->tag))
            continue;
        if (slice_equal(node_key(node), t->key))
            newest = node;
    }
    return newest;
}

bool memtable_get(const struct memtable *m, helios_slice key, uint64_t hash, helios_seq seq, uint64_t *tag,
                  helios_slice *value)
{
    const struct memtable_node *node;
    struct target target;
    struct span span;

    if (!filter_may_hold(m, hash))
        return false;
    target = target_make(m, key, tag_newest(seq));
    span = memtable_find_span(m, &target);
    node = leaf_newest(m, span.leaf, &target, print_of(hash));
    if (!node && !link_is_end(span.next) && link_bits(span.next) == target.bits) {
        node = node_at(m, stand_at(m, span.next)->separator); /* the first entry behind the span */
        if (!slice_equal(node_key(node), key))
            return false;
    }
    if (!node)
        return false;
    *tag = node->tag;
    *value = node_value(node);
    return true;
}

void memtable_prefetch(const struct memtable *m, uint64_t hash)
{
    __builtin_prefetch((const void *)filter_word(m, hash));
}

bool memtable_may_hold(const struct memtable *m, uint64_t hash)
{
    return filter_may_hold(m, hash);
}

size_t memtable_used(const struct memtable *m)
{
    uint64_t taken = bytes_part(atomic_load_explicit(&m->taken, memory_order_relaxed));

    return (taken < m->room ? taken : m->room) + atomic_load_explicit(&m->leaf_bytes, memory_order_relaxed) +
           atomic_load_explicit(&m->stand_bytes, memory_order_relaxed);
}

size_t memtable_resident(const struct memtable *m)
{
    const struct rangedel_set *set;
    size_t set_bytes;

    epoch_enter();
    set = memtable_rangedels(m);
    set_bytes = set ? set->bytes : 0;
    epoch_leave();
    return sizeof(*m) + memtable_touched(m) + set_bytes;
}

uint64_t memtable_count(const struct memtable *m)
{
    return count_part(atomic_load_explicit(&m->linked, memory_order_relaxed));
}

uint64_t memtable_user_bytes(const struct memtable *m)
{
    return bytes_part(atomic_load_explicit(&m->linked, memory_order_relaxed));
}

bool memtable_full(const struct memtable *m)
{
    return memtable_used(m) >= m->bytes;
}

bool memtable_empty(const struct memtable *m)
{
    return memtable_count(m) == 0 && !memtable_rangedels(m);
}

enum { SAMPLE_WANTED = 64, SAMPLE_MAX = 512 };

/* The separators of a level, if it has enough of them: as good a sample as random heights are. */
static size_t sample_level(const struct memtable *m, unsigned level, uint64_t sample[SAMPLE_MAX])
{
    size_t count = 0;

    for (uint64_t at = stand_next(m, 0, level); !link_is_end(at) && count < SAMPLE_MAX;
         at = stand_next(m, at, level))
        sample[count++] = stand_at(m, at)->separator;
    return count;
}

/* Of a small memtable, the first and the last entry of each leaf. */
static size_t sample_leaves(const struct memtable *m, uint64_t sample[SAMPLE_MAX])
{
    uint64_t links[LEAF_SLOTS];
    size_t count = 0;

    for (struct span span = index_first(m);; span = index_span(m, span.next)) {
        unsigned live = index_sort(m, &span, links, NULL);

        if (live > 0) {
            sample[count++] = links[0];
            sample[count++] = links[live - 1];
        }
        if (link_is_end(span.next) || count + 2 > SAMPLE_MAX)
            return count;
    }
}

size_t memtable_common_prefix(const struct memtable *m, void *out, size_t capacity)
{
    uint64_t sample[SAMPLE_MAX];
    size_t count = 0, window, size = 0;
    helios_slice best = {0};

    for (unsigned level = LEVEL_MAX; level-- > 0 && count < SAMPLE_WANTED;)
        count = sample_level(m, level, sample);
    if (count < SAMPLE_WANTED)
        count = sample_leaves(m, sample);
    window = count - count / 8;
    for (size_t i = 0; count > 0 && i + window <= count; i++) {
        helios_slice first = node_key(node_at(m, sample[i]));
        size_t common = slice_common(first, node_key(node_at(m, sample[i + window - 1])));

        if (i == 0 || common > best.size)
            best = slice_make(first.data, common);
    }
    size = best.size < capacity ? best.size : capacity;
    if (size)
        memcpy(out, best.data, size);
    return size;
}

/* The first five bytes say all: a piece that ends after the layer's start is in it unless it starts behind.
 */
static bool rangedels_hold_layer(const struct rangedel_set *set, const unsigned char layer[KEY_LAYER_BYTES])
{
    size_t at = rangedel_find(set, slice_make(layer, KEY_LAYER_BYTES));

    return at < set->count && memcmp(set->fragments[at].from.data, layer, KEY_LAYER_BYTES) <= 0;
}

bool memtable_may_hold_layer(const struct memtable *m, const unsigned char layer[KEY_LAYER_BYTES])
{
    unsigned bit = layer_bit(layer);
    const struct rangedel_set *set;
    bool held;

    if (atomic_load_explicit(&m->layers[bit / 64], memory_order_relaxed) >> bit % 64 & 1)
        return true;
    if (!memtable_rangedels(m))
        return false;
    epoch_enter();
    set = memtable_rangedels(m);
    held = rangedels_hold_layer(set, layer);
    epoch_leave();
    return held;
}
