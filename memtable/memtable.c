/* memtable.c - making a memtable, adding to it, asking it. Called by engine/ and compaction/.
 *
 * Adding: the node is filled where nobody sees it, its bits go into the filter, then it is linked from
 * the lowest level up, each level by one release compare-and-swap. So who meets a node finds it whole,
 * and on all the levels below the one on which it was met; who finds the bits missing meets no
 * published node. Nothing is ever unlinked, so the node before a place stays before it, and a lost
 * race is mended by walking on from there.
 *
 * Heights: each level has half the nodes of the one below. A quarter, the usual choice, saves 5 bytes a
 * node, but makes three moves a level of which the lowest levels' all miss the caches, where two levels
 * at a half make two. */
#include "memtable/memtable_internal.h"
#include "base/hash.h"
#include "base/mem.h"

enum {
    MAPPING_POOL_MAX = 2,
    HEAD_BYTES = (MEMTABLE_HEIGHT_MAX * 8 + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES,
    BYTES_MIN = 4096,
    RESERVE_MIN = 8 << 20, /* a commit that is not ingested fits into any memtable; untouched it costs nothing */
    FILTER_SHARE = 64,     /* of `bytes`: about 19 bits a key at 150 bytes an entry */
};

/* With the reserve, offsets stay within 32 bits of units and key and value bytes within LINKED_BYTES_BITS. */
#define BYTES_MAX ((uint64_t)1 << (LINKED_BYTES_BITS - 1))

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
 * apart where they tell four. A key that is another's prefix gets the low end of the other's range. */
uint32_t memtable_key_bits(const struct memtable *m, helios_slice key)
{
    size_t common = key.size < m->shared.size ? key.size : m->shared.size;
    int order = common ? memcmp(key.data, m->shared.data, common) : 0;
    const unsigned char *at = slice_bytes(key) + common, *end = slice_bytes(key) + key.size;
    uint64_t low = 0, range = UINT64_MAX;

    if (order > 0)
        return UINT32_MAX;
    if (order < 0 || common < m->shared.size)
        return 0;
    for (; at < end && range >> 32; at++) {
        range >>= 16;
        low += range * m->weights[*at].below;
        range *= m->weights[*at].own;
    }
    return (uint32_t)(low >> 32);
}

static void mapping_prepare(struct memtable *m)
{
    for (unsigned level = 0; level < MEMTABLE_HEIGHT_MAX; level++)
        atomic_init(node_link(node_at(m, 0), level), LINK_END);
    if (m->mapping.touched)
        memset((void *)m->filter, 0, m->filter_words * sizeof(*m->filter));
}

helios_status memtable_new(uint64_t bytes, helios_slice shared, struct memtable **memtable_out)
{
    static _Atomic uint64_t ids;
    uint64_t filter_bytes, size;
    struct mapping mapping;
    struct memtable *m;
    helios_status status;

    if (bytes > BYTES_MAX)
        return fail(HELIOS_INVALID, "a memtable of %llu bytes: at most %llu", (unsigned long long)bytes,
                    (unsigned long long)BYTES_MAX);
    bytes = bytes < BYTES_MIN ? BYTES_MIN : (bytes + LINE_BYTES - 1) & ~(uint64_t)(LINE_BYTES - 1);
    filter_bytes = bytes / FILTER_SHARE / LINE_BYTES * LINE_BYTES + LINE_BYTES;
    size = HEAD_BYTES + LINE_BYTES + filter_bytes + bytes + (bytes < RESERVE_MIN ? RESERVE_MIN : bytes);
    m = mem_aligned(LINE_BYTES, sizeof(*m) + shared.size);
    if (!m)
        return fail_no_memory(sizeof(*m) + shared.size);
    status = mapping_open(size, &mapping);
    if (status != HELIOS_OK) {
        mem_free(m);
        return status;
    }
    memset(m, 0, sizeof(*m));
    m->mapping = mapping;
    m->base = mapping.pages + HEAD_BYTES;
    m->filter = (_Atomic uint64_t *)(m->base + LINE_BYTES);
    m->filter_words = filter_bytes / sizeof(*m->filter);
    m->arena_start = LINE_BYTES + filter_bytes;
    m->arena_size = size - HEAD_BYTES - m->arena_start;
    m->bytes = bytes;
    m->id = atomic_fetch_add(&ids, 1) + 1;
    memcpy(m->shared_bytes, shared.data, shared.size);
    m->shared = slice_make(m->shared_bytes, shared.size);
    weights_init(m->weights);
    mapping_prepare(m);
    mutex_init(&m->rangedel_mu);
    atomic_init(&m->refs, 1);
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

static void memtable_release(struct epoch_item *item)
{
    struct memtable *m = (struct memtable *)((char *)item - offsetof(struct memtable, retired));
    size_t touched = HEAD_BYTES + m->arena_start + memtable_used(m);

    if (m->mapping.touched < touched)
        m->mapping.touched = touched;
    rangedel_unref(atomic_load_explicit(&m->rangedels, memory_order_relaxed));
    mutex_release(&m->rangedel_mu);
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

/* One more than the zeros at the end of a mixed number: 1 for half of them, 2 for a quarter. */
static unsigned height_of(uint64_t number)
{
    number ^= number >> 32;
    number *= UINT64_C(0xD6E8FEB86659FD93);
    number ^= number >> 32;
    return 1 + (unsigned)__builtin_ctzll(number | UINT64_C(1) << (MEMTABLE_HEIGHT_MAX - 1));
}

/* NULL when even the reserve is used up. The look before the addition keeps `used` from running on. */
static struct memtable_node *arena_take(struct memtable *m, size_t entry_size, uint64_t hash, unsigned *height)
{
    uint64_t used = atomic_load_explicit(&m->used, memory_order_relaxed);
    size_t size;

    /* The place makes versions of one key differ in height. */
    *height = height_of(hash ^ used);
    size = *height * sizeof(uint64_t) + sizeof(struct memtable_node) + entry_size;
    size = (size + NODE_UNIT - 1) & ~(size_t)(NODE_UNIT - 1);
    if (used + size > m->arena_size)
        return NULL;
    used = atomic_fetch_add_explicit(&m->used, size, memory_order_relaxed);
    if (used + size > m->arena_size)
        return NULL;
    return (struct memtable_node *)(m->base + m->arena_start + used + *height * sizeof(uint64_t));
}

struct memtable_node *memtable_prepare(struct memtable *m, helios_slice key, helios_slice value, enum key_kind kind)
{
    uint64_t hash = hash_key(key), offset;
    struct memtable_node *node;
    unsigned height;

    assert(key.size >= KEY_LAYER_BYTES);
    assert(key.size <= KEY_BYTES_MAX);
    assert(value.size <= VALUE_BYTES_MAX);
    __builtin_prefetch((void *)filter_word(m, hash), 1);
    node = arena_take(m, key.size + value.size, hash, &height);
    if (!node)
        return NULL;
    node->tag = (hash & ~(uint64_t)0xff) | (uint64_t)kind;
    node->key_size = (uint32_t)key.size | height << KEY_SIZE_BITS;
    node->value_size = (uint32_t)value.size;
    memcpy(node->bytes, key.data, key.size);
    if (value.size)
        memcpy(node->bytes + key.size, value.data, value.size);
    /* Until it is linked, its lowest link keeps what will lead to it. */
    offset = (uint64_t)((char *)node - m->base) / NODE_UNIT;
    atomic_init(node_link(node, 0), (uint64_t)memtable_key_bits(m, key) << 32 | offset);
    return node;
}

helios_slice memtable_node_key(const struct memtable_node *node)
{
    return node_key(node);
}

static bool link_before(const struct memtable *m, uint64_t link, const struct target *t)
{
    if (link_bits(link) != t->bits)
        return link_bits(link) < t->bits;
    return !link_is_end(link) && node_before(m, link, t);
}

/* The lowest level on which the hint stands before the target with nothing between them on that level; the
 * search goes down from there. The hint's nodes never get later from one level to the one above, so
 * those above stand before the target too. */
static unsigned hint_level(const struct memtable *m, const struct target *t, struct memtable_hint *hint)
{
    for (unsigned level = 0; level < MEMTABLE_HEIGHT_MAX; level++) {
        uint64_t at = hint->at[level];

        if (!link_is_end(at) && !link_before(m, at, t))
            hint->at[level] = 0;
        else if (!link_before(m, node_next(m, at, level), t))
            return level;
    }
    return MEMTABLE_HEIGHT_MAX - 1;
}

/* Fills hint->at with the last nodes before the target on all levels; above `level` they may be early. */
static void hint_search(const struct memtable *m, const struct target *t, unsigned level, struct memtable_hint *hint)
{
    uint64_t at = hint->at[level];
    uint32_t beyond = 0;

    do {
        level_walk(m, t, level, &at, &beyond);
        hint->at[level] = at;
    } while (level-- > 0);
}

/* On one level: between *at or, when others were faster, a later node, and what follows it. */
static void link_level(struct memtable *m, const struct target *t, unsigned level, struct memtable_node *node,
                       uint64_t own, uint64_t *at)
{
    uint64_t next;
    uint32_t beyond;

    do {
        beyond = 0;
        next = level_walk(m, t, level, at, &beyond);
        atomic_store_explicit(node_link(node, level), next, memory_order_relaxed);
    } while (!atomic_compare_exchange_strong_explicit(node_link(node_at(m, *at), level), &next, own,
                                                      memory_order_release, memory_order_relaxed));
}

void memtable_insert(struct memtable *m, struct memtable_node *node, helios_seq seq, struct memtable_hint *hint)
{
    uint64_t own = atomic_load_explicit(node_link(node, 0), memory_order_relaxed), hash = node->tag;
    helios_slice key = node_key(node);
    struct target target = {key, tag_make(seq, tag_kind(hash)), link_bits(own)};
    struct memtable_hint local;
    unsigned layer = layer_bit(key.data), height = node_height(node), from = MEMTABLE_HEIGHT_MAX - 1;

    node->tag = target.tag;
    if (!hint) {
        hint = &local;
        hint->at[from] = 0;
    } else if (hint->memtable_id == m->id) {
        from = hint_level(m, &target, hint);
    } else {
        *hint = (struct memtable_hint){.memtable_id = m->id};
    }
    hint_search(m, &target, from, hint);
    bits_set(filter_word(m, hash), filter_mask(hash));
    bits_set(&m->layers[layer / 64], UINT64_C(1) << layer % 64);
    for (unsigned level = 0; level < height; level++) {
        link_level(m, &target, level, node, own, &hint->at[level]);
        hint->at[level] = own;
    }
    atomic_fetch_add_explicit(&m->linked, (UINT64_C(1) << LINKED_BYTES_BITS) + key.size + node->value_size,
                              memory_order_relaxed);
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

helios_status memtable_add_rangedel(struct memtable *m, const struct rangedel *item)
{
    struct rangedel_retired *retired = mem_alloc(sizeof(*retired));
    struct rangedel_set *next;
    helios_status status;

    if (!retired)
        return fail_no_memory(sizeof(*retired));
    mutex_lock(&m->rangedel_mu);
    retired->set = atomic_load_explicit(&m->rangedels, memory_order_relaxed);
    status = rangedel_add(retired->set, item, &next);
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

bool memtable_get(const struct memtable *m, helios_slice key, uint64_t hash, helios_seq seq, uint64_t *tag,
                  helios_slice *value)
{
    const struct memtable_node *node;
    struct target target;
    uint64_t link, before;

    if (!filter_may_hold(m, hash))
        return false;
    target = target_make(m, key, seq < SEQ_MAX ? tag_at(seq) : TAG_MAX);
    link = memtable_search(m, &target, &before);
    if (link_is_end(link) || link_bits(link) != target.bits)
        return false;
    node = node_at(m, link);
    if (!slice_equal(node_key(node), key))
        return false;
    *tag = node->tag;
    *value = node_value(node);
    return true;
}

size_t memtable_used(const struct memtable *m)
{
    uint64_t used = atomic_load_explicit(&m->used, memory_order_relaxed);

    return used < m->arena_size ? used : m->arena_size;
}

size_t memtable_resident(const struct memtable *m)
{
    size_t touched = HEAD_BYTES + m->arena_start + memtable_used(m);
    const struct rangedel_set *set;
    size_t set_bytes;

    epoch_enter();
    set = memtable_rangedels(m);
    set_bytes = set ? set->bytes : 0;
    epoch_leave();
    return sizeof(*m) + (touched < m->mapping.touched ? m->mapping.touched : touched) + set_bytes;
}

uint64_t memtable_count(const struct memtable *m)
{
    return atomic_load_explicit(&m->linked, memory_order_relaxed) >> LINKED_BYTES_BITS;
}

uint64_t memtable_user_bytes(const struct memtable *m)
{
    return atomic_load_explicit(&m->linked, memory_order_relaxed) & ((UINT64_C(1) << LINKED_BYTES_BITS) - 1);
}

bool memtable_full(const struct memtable *m)
{
    return atomic_load_explicit(&m->used, memory_order_relaxed) >= m->bytes;
}

bool memtable_empty(const struct memtable *m)
{
    return memtable_count(m) == 0 && !memtable_rangedels(m);
}

enum { SAMPLE_WANTED = 64, SAMPLE_MAX = 512 };

/* Up to SAMPLE_MAX nodes in order: a level that has at least SAMPLE_WANTED, or the lowest. Every level is
 * as good a sample as random heights are. */
static size_t sample_take(const struct memtable *m, const struct memtable_node *sample[SAMPLE_MAX])
{
    size_t count = 0;

    for (unsigned level = MEMTABLE_HEIGHT_MAX; level-- > 0 && count < SAMPLE_WANTED;) {
        count = 0;
        for (uint64_t at = node_next(m, 0, level); !link_is_end(at) && count < SAMPLE_MAX; at = node_next(m, at, level))
            sample[count++] = node_at(m, at);
    }
    return count;
}

size_t memtable_common_prefix(const struct memtable *m, void *out, size_t capacity)
{
    const struct memtable_node *sample[SAMPLE_MAX];
    size_t count = sample_take(m, sample), window = count - count / 8, size = 0;
    helios_slice best = {0};

    for (size_t i = 0; count > 0 && i + window <= count; i++) {
        size_t common = slice_common(node_key(sample[i]), node_key(sample[i + window - 1]));

        if (i == 0 || common > best.size)
            best = slice_make(sample[i]->bytes, common);
    }
    size = best.size < capacity ? best.size : capacity;
    if (size)
        memcpy(out, best.data, size);
    return size;
}

/* The first five bytes say all: a piece that ends after the layer's start is in it unless it starts behind. */
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
