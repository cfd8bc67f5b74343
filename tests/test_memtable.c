/* test_memtable.c - the memtable against a sorted array: versions, read points, both directions, shared
 * prefixes, range deletes, fullness, failing allocations, and inserts by several threads at once.
 * Usage: test_memtable [seed] */
#undef NDEBUG
#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/thread.h"
#include "memtable/memtable.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { ENTRIES = 3000, KEY_MAX = 48, THREADS = 4, THREAD_ENTRIES = 4000 };

struct entry {
    unsigned char key[KEY_MAX];
    size_t key_size;
    uint64_t tag;
    uint64_t value; /* the value's bytes */
};

struct model {
    struct entry entries[ENTRIES];
    size_t count;
};

static struct random rng;

static helios_slice entry_key(const struct entry *e)
{
    return slice_make(e->key, e->key_size);
}

static int entry_compare(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;

    return key_compare(entry_key(left), left->tag, entry_key(right), right->tag);
}

static struct memtable *open_memtable(uint64_t bytes, helios_slice shared)
{
    struct memtable *m;

    assert(memtable_new(bytes, shared, &m) == HELIOS_OK);
    return m;
}

static void close_memtable(struct memtable *m)
{
    memtable_unref(m);
    epoch_drain();
}

static void put(struct memtable *m, helios_slice key, helios_slice value, uint64_t tag,
                struct memtable_hint *hint)
{
    struct memtable_node *node = memtable_prepare(m, key, value, tag_kind(tag));

    assert(node);
    assert(slice_equal(memtable_node_key(node), key));
    memtable_insert(m, node, tag_seq(tag), hint);
}

/* Keys of several shapes: around a shared prefix, shorter than it, prefixes of each other, no user key. */
static void random_key(struct entry *e)
{
    static const char *const stems[] = {"",     "user:", "user:0000", "user:0000000",
                                        "user", "v",     "a",         "\xff\xff\xff\xff\xff\xff"};
    const char *stem = stems[random_below(&rng, 8)];
    size_t tail = random_below(&rng, 4);

    key_put_layer(e->key, random_below(&rng, 20) == 0, SPACE_USER);
    memcpy(e->key + KEY_LAYER_BYTES, stem, strlen(stem));
    e->key_size = KEY_LAYER_BYTES + strlen(stem);
    for (size_t i = 0; i < tail; i++)
        e->key[e->key_size++] = (unsigned char)"0129a\0\xff"[random_below(&rng, 7)];
}

static void fill_both(struct memtable *m, struct model *model, bool hinted)
{
    struct memtable_hint hint = {0};

    for (size_t i = 0; i < ENTRIES; i++) {
        struct entry *e = &model->entries[i];

        random_key(e);
        e->tag = tag_make(i + 1, random_below(&rng, 8) ? KIND_VALUE : KIND_TOMBSTONE);
        e->value = random_next(&rng);
        put(m, entry_key(e), slice_make(&e->value, i % 9), e->tag, hinted ? &hint : NULL);
        e->value = i % 9 == 0 ? 0 : e->value & (UINT64_MAX >> (64 - i % 9 * 8));
    }
    model->count = ENTRIES;
    qsort(model->entries, model->count, sizeof(model->entries[0]), entry_compare);
}

/* What a reader at the point sees: the newest version of each key at or below it; CURSOR_ALL sees all. */
static size_t model_view(const struct model *model, helios_seq point, const struct entry **view)
{
    size_t count = 0;

    for (size_t i = 0; i < model->count; i++) {
        const struct entry *e = &model->entries[i];

        if (tag_seq(e->tag) > point)
            continue;
        if (point != CURSOR_ALL && count && slice_equal(entry_key(view[count - 1]), entry_key(e)))
            continue;
        view[count++] = e;
    }
    return count;
}

static void must_stand(const struct cursor *c, const struct entry *e)
{
    uint64_t value = 0;

    assert(c->valid && c->status == HELIOS_OK && !c->value_large);
    assert(slice_equal(c->key, entry_key(e)));
    assert(c->tag == e->tag);
    memcpy(&value, c->value.data, c->value.size);
    assert(value == e->value);
}

static void compare_walks(struct cursor *c, const struct entry **view, size_t count)
{
    size_t i = 0;

    for (cursor_first(c); c->valid; cursor_next(c))
        must_stand(c, view[i++]);
    assert(i == count);
    for (cursor_last(c); c->valid; cursor_prev(c))
        must_stand(c, view[--i]);
    assert(i == 0);
}

static void compare_seeks(struct cursor *c, const struct entry **view, size_t count, bool all)
{
    struct entry wanted;
    size_t at = 0;

    random_key(&wanted);
    wanted.tag = all && random_below(&rng, 2) ? tag_at(random_below(&rng, ENTRIES) + 1) : TAG_MAX;
    while (at < count && entry_compare(view[at], &wanted) < 0)
        at++;
    cursor_seek(c, entry_key(&wanted), wanted.tag);
    assert(c->valid == (at < count));
    for (int steps = 0; steps < 12 && c->valid; steps++) {
        must_stand(c, view[at]);
        if (random_below(&rng, 2)) {
            cursor_next(c);
            assert(c->valid == (++at < count));
        } else {
            cursor_prev(c);
            assert(c->valid == (at-- > 0));
        }
    }
    wanted.tag = 0; /* behind all versions */
    at = 0;
    while (at < count && entry_compare(view[at], &wanted) < 0)
        at++;
    cursor_seek_for_prev(c, entry_key(&wanted));
    assert(c->valid == (at > 0));
    for (int steps = 0; steps < 4 && c->valid; steps++, cursor_prev(c))
        must_stand(c, view[--at]);
}

static void compare_get(const struct memtable *m, const struct model *model)
{
    struct entry wanted;
    const struct entry *found = NULL;
    helios_seq point = random_below(&rng, 10) ? random_below(&rng, ENTRIES + 10) : SEQ_MAX;
    helios_slice value;
    uint64_t tag, bytes = 0;

    if (random_below(&rng, 4))
        wanted = model->entries[random_below(&rng, model->count)];
    else
        random_key(&wanted);
    for (size_t i = 0; i < model->count && !found; i++) {
        const struct entry *e = &model->entries[i];

        if (slice_equal(entry_key(e), entry_key(&wanted)) && tag_seq(e->tag) <= point)
            found = e;
    }
    assert(memtable_get(m, entry_key(&wanted), hash_key(entry_key(&wanted)), point, &tag, &value) == !!found);
    if (!found)
        return;
    memcpy(&bytes, value.data, value.size);
    assert(tag == found->tag && bytes == found->value);
}

/* What was written between two numbers; and below a key, behind which the cursor may end or not. */
static void compare_spans(struct memtable *m, const struct model *model, const struct entry **view)
{
    for (int i = 0; i < 12; i++) {
        helios_seq since = random_below(&rng, ENTRIES),
                   point = i < 4 ? SEQ_MAX : since + random_below(&rng, ENTRIES + 1 - since);
        size_t count = 0, all = model_view(model, point, view), at = 0;
        struct entry upper;
        struct cursor *c;

        for (size_t k = 0; k < all; k++)
            if (tag_seq(view[k]->tag) > since)
                view[count++] = view[k];
        assert(memtable_cursor_new_within(m, point, since, slice_make(NULL, 0), &c) == HELIOS_OK);
        compare_walks(c, view, count);
        for (int seeks = 0; seeks < 300; seeks++)
            compare_seeks(c, view, count, false);
        cursor_free(c);
        random_key(&upper);
        assert(memtable_cursor_new_within(m, point, since, entry_key(&upper), &c) == HELIOS_OK);
        cursor_first(c);
        for (; at < count && slice_compare(entry_key(view[at]), entry_key(&upper)) < 0; cursor_next(c))
            must_stand(c, view[at++]);
        assert(!c->valid || slice_compare(c->key, entry_key(&upper)) >= 0);
        cursor_free(c);
    }
}

static void test_model(helios_slice shared, bool hinted)
{
    static struct model model;
    static const struct entry *view[ENTRIES];
    struct memtable *m = open_memtable(1 << 20, shared);
    uint64_t bytes = 0;

    fill_both(m, &model, hinted);
    memtable_check(m);
    assert(memtable_count(m) == ENTRIES && !memtable_empty(m));
    for (size_t i = 0; i < ENTRIES; i++)
        bytes += model.entries[i].key_size + (tag_seq(model.entries[i].tag) - 1) % 9;
    assert(memtable_user_bytes(m) == bytes);
    for (int i = 0; i < 12; i++) {
        helios_seq point = i == 0 ? CURSOR_ALL : i == 1 ? SEQ_MAX : random_below(&rng, ENTRIES + 1);
        size_t count = model_view(&model, point, view);
        struct cursor *c;

        assert(memtable_cursor_new(m, point, &c) == HELIOS_OK);
        assert(!c->valid);
        compare_walks(c, view, count);
        for (int seeks = 0; seeks < 300; seeks++)
            compare_seeks(c, view, count, point == CURSOR_ALL);
        cursor_free(c);
    }
    compare_spans(m, &model, view);
    for (int i = 0; i < 3000; i++)
        compare_get(m, &model);
    close_memtable(m);
}

/* One key with many versions and a few around it: steps over versions and read points between them. */
static void test_versions(void)
{
    static const char keys[3][7] = {"\0\0\0\0\0a", "\0\0\0\0\0b", "\0\0\0\0\0c"};
    struct memtable *m = open_memtable(1 << 20, slice_make(keys[0], 5));
    helios_slice b = slice_make(keys[1], 6), value;
    struct cursor *c;
    uint64_t tag;

    for (helios_seq seq = 10; seq < 2000; seq++)
        put(m, b, slice_make(&seq, 8), tag_make(seq, KIND_VALUE), NULL);
    put(m, slice_make(keys[0], 6), slice_make("", 0), tag_make(5, KIND_VALUE), NULL);
    put(m, slice_make(keys[2], 6), slice_make("", 0), tag_make(6, KIND_TOMBSTONE), NULL);
    memtable_check(m);
    assert(!memtable_get(m, b, hash_key(b), 9, &tag, &value));
    for (helios_seq seq = 10; seq < 2000; seq += 7)
        assert(memtable_get(m, b, hash_key(b), seq, &tag, &value) && tag_seq(tag) == seq);
    for (helios_seq point = 5; point < 30; point++) {
        assert(memtable_cursor_new(m, point, &c) == HELIOS_OK);
        cursor_seek(c, b, TAG_MAX);
        assert(c->valid == (point >= 6) && (!c->valid || slice_equal(c->key, b) == (point >= 10)));
        cursor_seek_for_prev(c, b);
        assert(c->valid && slice_equal(c->key, b) == (point >= 10));
        cursor_free(c);
    }
    close_memtable(m);
}

static void test_empty(void)
{
    static const unsigned char layer[KEY_LAYER_BYTES] = {0};
    struct memtable *m = open_memtable(0, slice_make("", 0));
    helios_slice key = slice_make(layer, 5), value;
    struct cursor *c;
    uint64_t tag;

    assert(memtable_empty(m) && !memtable_full(m) && memtable_count(m) == 0 && !memtable_rangedels(m));
    assert(!memtable_get(m, key, hash_key(key), SEQ_MAX, &tag, &value));
    assert(!memtable_may_hold_layer(m, layer) && memtable_common_prefix(m, &tag, 8) == 0);
    assert(memtable_cursor_new(m, 7, &c) == HELIOS_OK);
    cursor_first(c);
    assert(!c->valid);
    cursor_last(c);
    assert(!c->valid);
    cursor_seek_for_prev(c, key);
    assert(!c->valid);
    put(m, key, slice_make("", 0), tag_make(3, KIND_VALUE), NULL); /* the empty user key */
    memtable_unref(m);
    cursor_first(c); /* the cursor holds it */
    assert(c->valid && c->key.size == 5 && c->tag == tag_make(3, KIND_VALUE));
    cursor_free(c);
    memtable_unref(NULL);
    epoch_drain();
    assert(memtable_new((uint64_t)1 << 40, slice_make("", 0), &m) == HELIOS_INVALID);
}

static void test_full(void)
{
    struct memtable *m = open_memtable(64 << 10, slice_make("", 0));
    struct memtable_node *node;
    char key[KEY_LAYER_BYTES + 8] = {0}, value[1000] = {0};
    helios_seq seq = 0;
    size_t full_at = 0;

    for (;; seq++) {
        put_u64_be(key + KEY_LAYER_BYTES, seq);
        node = memtable_prepare(m, slice_make(key, sizeof(key)), slice_make(value, sizeof(value)), KIND_VALUE);
        if (!node)
            break;
        memtable_insert(m, node, seq + 1, NULL);
        if (!full_at && memtable_full(m))
            full_at = memtable_used(m);
    }
    assert(full_at >= 64 << 10 && full_at < 68 << 10);
    assert(memtable_full(m) && seq > 128); /* there was a reserve */
    assert(memtable_resident(m) >= memtable_used(m));
    memtable_check(m);
    close_memtable(m);
}

static void test_rangedels(void)
{
    static const unsigned char before[] = {0, 0, 0, 0, 255}, in[] = {0, 0, 0, 1, 0},
                               between[] = {0, 0, 0, 1, 7}, last[] = {0, 0, 0, 2, 0},
                               behind[] = {0, 0, 0, 2, 1};
    struct memtable *m = open_memtable(1 << 16, slice_make("", 0));
    struct rangedel item = {slice_make("\0\0\0\1\0k", 6), slice_make("\0\0\0\2\0k", 6), 9};

    mem_fail_at(1, true);
    assert(memtable_add_rangedels(m, &item, 1) == HELIOS_NO_MEMORY);
    mem_fail_at(2, true);
    assert(memtable_add_rangedels(m, &item, 1) == HELIOS_NO_MEMORY);
    mem_fail_at(0, false);
    assert(memtable_empty(m) && !memtable_rangedels(m));
    assert(memtable_add_rangedels(m, &item, 1) == HELIOS_OK);
    assert(!memtable_empty(m) && memtable_count(m) == 0);
    assert(rangedel_newest(memtable_rangedels(m), slice_make("\0\0\0\1\0z", 6), SEQ_MAX) == 9);
    item.seq = 12;
    item.to = slice_make("\0\0\0\1\0x", 6);
    assert(memtable_add_rangedels(m, &item, 1) == HELIOS_OK);
    assert(rangedel_newest(memtable_rangedels(m), slice_make("\0\0\0\1\0l", 6), SEQ_MAX) == 12);
    assert(rangedel_newest(memtable_rangedels(m), slice_make("\0\0\0\1\0z", 6), SEQ_MAX) == 9);
    assert(!memtable_may_hold_layer(m, before) && memtable_may_hold_layer(m, in));
    assert(memtable_may_hold_layer(m, between) && memtable_may_hold_layer(m, last));
    assert(!memtable_may_hold_layer(m, behind));
    put(m, slice_make("\0\0\0\2\1key", 8), slice_make("", 0), tag_make(20, KIND_VALUE), NULL);
    assert(memtable_may_hold_layer(m, behind));
    close_memtable(m);
}

/* Orders that split leaves in other ways than random keys do: ascending ones leave full leaves behind, into
 * which the second pass then goes; descending ones fill the head's. */
static void test_orders(bool descending, bool hinted)
{
    struct memtable *m = open_memtable(1 << 20, slice_make("", 0));
    struct memtable_hint hint = {0};
    unsigned char key[KEY_LAYER_BYTES + 8] = {0};
    enum { COUNT = 5000 };

    for (uint64_t i = 0; i < COUNT; i++) {
        uint64_t id = i < COUNT / 2 ? i * 2 : (i - COUNT / 2) * 2 + 1;

        put_u64_be(key + KEY_LAYER_BYTES, descending ? COUNT - id : id);
        put(m, slice_make(key, sizeof(key)), slice_make(key, sizeof(key)), tag_make(i + 1, KIND_VALUE),
            hinted ? &hint : NULL);
        if (i % 1000 == 999)
            memtable_check(m);
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        helios_slice wanted = slice_make(key, sizeof(key)), value;
        uint64_t tag;

        put_u64_be(key + KEY_LAYER_BYTES, i + descending);
        assert(memtable_get(m, wanted, hash_key(wanted), SEQ_MAX, &tag, &value));
        assert(slice_equal(value, wanted));
    }
    close_memtable(m);
}

static void test_prefix(void)
{
    struct memtable *m = open_memtable(1 << 20, slice_make("", 0));
    char key[KEY_LAYER_BYTES + 32] = {0}, out[64];
    helios_slice outlier = slice_make("\0\0\0\0\377x", 6);
    int size;

    for (int i = 0; i < 2000; i++) {
        size = KEY_LAYER_BYTES + snprintf(key + KEY_LAYER_BYTES, 32, "row:%08d", i * 7919 % 10000 + 10000);
        put(m, slice_make(key, (size_t)size), slice_make("", 0), tag_make((helios_seq)i + 1, KIND_VALUE), NULL);
    }
    assert(memtable_common_prefix(m, out, sizeof(out)) == 13 && memcmp(out, "\0\0\0\0\0row:0001", 13) == 0);
    assert(memtable_common_prefix(m, out, 3) == 3);
    put(m, outlier, slice_make("", 0), tag_make(9999, KIND_VALUE),
        NULL); /* one key elsewhere changes nothing */
    assert(memtable_common_prefix(m, out, sizeof(out)) == 13);
    memtable_check(m);
    close_memtable(m);
    m = open_memtable(1 << 20, slice_make("", 0));
    put(m, slice_make("\0\0\0\0\0abcd", 9), slice_make("", 0), tag_make(1, KIND_VALUE), NULL);
    put(m, slice_make("\0\0\0\0\0abx", 8), slice_make("", 0), tag_make(2, KIND_VALUE), NULL);
    assert(memtable_common_prefix(m, out, sizeof(out)) == 7);
    close_memtable(m);
}

static void test_no_memory(void)
{
    struct memtable *m;
    struct cursor *c;

    memtable_pool_release();
    for (uint64_t n = 1; n <= 2; n++) {
        mem_fail_at(n, false);
        assert(memtable_new(12345678, slice_make("abc", 3), &m) == HELIOS_NO_MEMORY);
    }
    mem_fail_at(0, false);
    assert(memtable_new(12345678, slice_make("abc", 3), &m) == HELIOS_OK);
    mem_fail_at(1, false);
    assert(memtable_cursor_new(m, 1, &c) == HELIOS_NO_MEMORY);
    mem_fail_at(0, false);
    close_memtable(m);
}

/* A mapping used again shows nothing of its former life. */
static void test_recycled(void)
{
    struct memtable *m;
    unsigned char key[KEY_LAYER_BYTES + 8] = {0};

    for (int life = 0; life < 4; life++) {
        m = open_memtable(256 << 10, slice_make("", 0));
        assert(memtable_empty(m) && memtable_used(m) < 4096);
        for (uint64_t i = 0; i < 1000; i++) {
            helios_slice value;
            uint64_t tag;

            put_u64_be(key + KEY_LAYER_BYTES, i * 4 + (uint64_t)life);
            assert(!memtable_get(m, slice_make(key, sizeof(key)), hash_key(slice_make(key, sizeof(key))),
                                 SEQ_MAX, &tag, &value));
            put(m, slice_make(key, sizeof(key)), slice_make(key, sizeof(key)), tag_make(i + 1, KIND_VALUE),
                NULL);
        }
        memtable_check(m);
        close_memtable(m);
    }
    memtable_pool_release();
}

/* Threads put disjoint versions of the same few keys, and keys of their own, ascending and at random, while
 * readers look for what is already published. */
static struct shared_state {
    struct memtable *m;
    _Atomic uint64_t published[THREADS]; /* per writer: how many of its entries are linked */
    _Atomic bool over;
} shared_state;

static helios_seq thread_seq(unsigned thread, uint64_t i)
{
    return i * THREADS + thread + 1;
}

static helios_slice thread_key(unsigned char key[KEY_LAYER_BYTES + 9], unsigned thread, uint64_t i)
{
    uint64_t id = i % 4 == 0   ? i % 32
                  : i % 4 == 1 ? i * THREADS + thread
                               : (i * UINT64_C(0x9E3779B97F4A7C15)) >> 40;

    key_put_layer(key, 0, SPACE_DATA);
    put_u64_be(key + KEY_LAYER_BYTES, id);
    key[KEY_LAYER_BYTES + 8] = (unsigned char)(i % 4 == 0 ? 0 : thread + 1);
    return slice_make(key, KEY_LAYER_BYTES + 9);
}

static void *write_some(void *arg)
{
    unsigned thread = (unsigned)(uintptr_t)arg;
    unsigned char key[KEY_LAYER_BYTES + 9];
    struct memtable_hint hint = {0};

    for (uint64_t i = 0; i < THREAD_ENTRIES; i++) {
        helios_seq seq = thread_seq(thread, i);

        put(shared_state.m, thread_key(key, thread, i), slice_make(&seq, 8), tag_make(seq, KIND_VALUE),
            thread % 2 ? &hint : NULL);
        atomic_store(&shared_state.published[thread], i + 1);
    }
    return NULL;
}

static void *read_some(void *arg)
{
    unsigned char key[KEY_LAYER_BYTES + 9];
    struct random mine;

    random_seed(&mine, (uint64_t)(uintptr_t)arg);
    while (!atomic_load(&shared_state.over)) {
        unsigned thread = (unsigned)random_below(&mine, THREADS);
        uint64_t count = atomic_load(&shared_state.published[thread]), tag, i;
        helios_slice wanted, value, last = {0};
        struct cursor *c;

        if (count == 0)
            continue;
        i = random_below(&mine, count);
        wanted = thread_key(key, thread, i);
        assert(memtable_get(shared_state.m, wanted, hash_key(wanted), thread_seq(thread, i), &tag, &value));
        assert(tag_seq(tag) == thread_seq(thread, i) && memcmp(value.data, &(uint64_t){tag_seq(tag)}, 8) == 0);
        assert(memtable_cursor_new(shared_state.m, thread_seq(thread, i), &c) == HELIOS_OK);
        cursor_seek(c, wanted, TAG_MAX);
        assert(c->valid && slice_equal(c->key, wanted) && tag_seq(c->tag) == thread_seq(thread, i));
        for (int steps = 0; steps < 50 && c->valid; steps++, cursor_next(c)) {
            assert(!last.data || slice_compare(last, c->key) < 0);
            last = c->key;
        }
        cursor_seek_for_prev(c, wanted);
        assert(c->valid && tag_seq(c->tag) == thread_seq(thread, i));
        cursor_prev(c);
        assert(!c->valid || slice_compare(c->key, wanted) < 0);
        cursor_free(c);
    }
    return NULL;
}

static void test_threads(void)
{
    pthread_t writers[THREADS], readers[2];
    struct rangedel item = {slice_make("\0\0\0\1\0k", 6), slice_make("\0\0\0\1\0l", 6), 1};

    shared_state.m = open_memtable(4 << 20, slice_make("\0\0\0\0\1\0\0\0\0", 9));
    for (uintptr_t i = 0; i < 2; i++)
        assert(thread_start(&readers[i], "reader", read_some, (void *)(i + 1)) == HELIOS_OK);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert(thread_start(&writers[i], "writer", write_some, (void *)i) == HELIOS_OK);
    for (; item.seq < 20; item.seq++) {
        static const unsigned char layer[KEY_LAYER_BYTES] = {0, 0, 0, 1, 0};

        assert(memtable_add_rangedels(shared_state.m, &item, 1) == HELIOS_OK);
        assert(memtable_may_hold_layer(shared_state.m, layer));
    }
    for (int i = 0; i < THREADS; i++)
        thread_join(writers[i]);
    atomic_store(&shared_state.over, true);
    for (int i = 0; i < 2; i++)
        thread_join(readers[i]);
    assert(memtable_count(shared_state.m) == THREADS * THREAD_ENTRIES);
    memtable_check(shared_state.m);
    close_memtable(shared_state.m);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 20240601;

    printf("seed %" PRIu64 "\n", seed);
    random_seed(&rng, seed);
    test_empty();
    test_model(slice_make("", 0), false);
    test_model(slice_make("\0\0\0\0\0user:0000", 14), false);
    test_model(slice_make("\0\0\0\0\0user:0000", 14), true);
    test_model(slice_make("\0\0\0\0\0user:0000000000", 20), true);
    test_versions();
    test_full();
    test_rangedels();
    for (int i = 0; i < 4; i++)
        test_orders(i & 1, i & 2);
    test_prefix();
    test_no_memory();
    test_recycled();
    test_threads();
    return 0;
}
