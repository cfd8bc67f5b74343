/* test_block.c - blocks: what is built is what is read, damage is refused or harmless. */
#undef NDEBUG
#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"
#include "sstable/block.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { ENTRIES_MAX = 400, SALT = 77, OFFSET = 4096 };

struct entry {
    char key[64];
    size_t key_size;
    helios_seq seq;
    uint8_t kind;
    char value[256];
    size_t value_size;
};
static struct entry entries[ENTRIES_MAX];
static uint32_t entry_count;

static helios_slice key_of(const struct entry *e)
{
    return slice_make(e->key, e->key_size);
}
static helios_slice value_of(const struct entry *e)
{
    return slice_make(e->value, e->value_size);
}
static uint64_t tag_of(const struct entry *e)
{
    return tag_make(e->seq, e->kind & BLOCK_KIND_MASK);
}

static int compare_entries(const void *a, const void *b)
{
    return key_compare(key_of(a), tag_of(a), key_of(b), tag_of(b));
}

/* Keys of few letters, so that prefixes, equal keys and keys that begin others are common. */
static void make_key(struct random *r, struct entry *e, size_t shared)
{
    memset(e->key, 'p', shared);
    e->key_size = shared + random_below(r, 14);
    for (size_t i = shared; i < e->key_size; i++)
        e->key[i] = (char)(random_below(r, 3) ? 0 : random_below(r, 2) ? 0xff : 'a' + (int)random_below(r, 3));
}

static void make_entries(struct random *r, bool versions)
{
    size_t shared = random_below(r, 20);
    helios_seq seq_range = (uint64_t)1 << random_below(r, 57), base = 1 + random_below(r, 1000);
    uint32_t kept = 0;

    entry_count = 1 + (uint32_t)random_below(r, ENTRIES_MAX);
    for (uint32_t i = 0; i < entry_count; i++) {
        struct entry *e = &entries[i];

        make_key(r, e, shared);
        e->seq = base + random_below(r, seq_range);
        if (e->seq > SEQ_MAX)
            e->seq = SEQ_MAX;
        e->kind = random_below(r, 5) ? KIND_VALUE : KIND_TOMBSTONE;
        e->value_size = e->kind == KIND_VALUE ? random_below(r, sizeof(e->value)) : 0;
        memset(e->value, (int)random_below(r, 256), e->value_size);
    }
    qsort(entries, entry_count, sizeof(entries[0]), compare_entries);
    for (uint32_t i = 0; i < entry_count; i++) {
        struct entry *last = kept ? &entries[kept - 1] : NULL;

        if (last && slice_equal(key_of(last), key_of(&entries[i])) &&
            (!versions || last->seq == entries[i].seq))
            continue;
        entries[kept++] = entries[i];
    }
    entry_count = kept;
}

static helios_slice build(struct block_builder *builder)
{
    helios_slice image;

    block_builder_reset(builder);
    for (uint32_t i = 0; i < entry_count; i++) {
        struct entry *e = &entries[i];
        size_t before = block_builder_estimate(builder),
               cost = block_builder_cost(builder, key_of(e), e->value_size);

        assert(block_builder_add(builder, key_of(e), e->seq, e->kind, value_of(e), hash_key(key_of(e))) ==
               HELIOS_OK);
        assert(i == 0 ||
               before + cost + 8 * block_builder_count(builder) + 64 * i >= block_builder_estimate(builder));
    }
    assert(block_builder_count(builder) == entry_count);
    assert(slice_equal(block_builder_last_key(builder), key_of(&entries[entry_count - 1])));
    assert(block_builder_last_seq(builder) == entries[entry_count - 1].seq);
    assert(block_builder_finish(builder, &image) == HELIOS_OK);
    assert(image.size == block_builder_estimate(builder));
    return image;
}

static uint32_t slow_lower_bound(helios_slice key, uint64_t tag)
{
    uint32_t i = 0;

    while (i < entry_count && key_compare(key_of(&entries[i]), tag_of(&entries[i]), key, tag) < 0)
        i++;
    return i;
}

static void check_contents(const struct block *b)
{
    assert(b->count == entry_count);
    for (uint32_t i = 0; i < entry_count; i++) {
        helios_slice key = key_of(&entries[i]), suffix = block_suffix(b, i);

        assert(b->shared_size + suffix.size == key.size);
        assert(memcmp(b->shared, key.data, b->shared_size) == 0);
        assert(slice_equal(suffix, slice_make((const char *)key.data + b->shared_size, suffix.size)));
        assert(slice_equal(block_value(b, i), value_of(&entries[i])));
        assert(block_seq(b, i) == entries[i].seq);
        assert(block_tag(b, i) == tag_of(&entries[i]));
        assert(block_kind_bits(b, i) == entries[i].kind);
    }
}

static void check_searches(const struct block *b, struct random *r, bool versions)
{
    for (uint32_t i = 0; i < entry_count; i++) {
        helios_slice key = key_of(&entries[i]);

        assert(block_lower_bound(b, key, tag_of(&entries[i])) == i);
        assert(block_lower_bound(b, key, TAG_MAX) == slow_lower_bound(key, TAG_MAX));
        assert(block_lower_bound(b, key, 0) == slow_lower_bound(key, 0));
        if (!versions)
            assert(block_find(b, key, hash_key(key)) == i);
    }
    for (int i = 0; i < 200; i++) {
        struct entry e;
        uint32_t at, found;

        make_key(r, &e, random_below(r, 20));
        e.seq = 1 + random_below(r, 2000);
        at = slow_lower_bound(key_of(&e), tag_at(e.seq));
        assert(block_lower_bound(b, key_of(&e), tag_at(e.seq)) == at);
        for (uint32_t near = 0; near <= b->count; near++)
            assert(block_lower_bound_near(b, key_of(&e), tag_at(e.seq), near) == at);
        found = block_find(b, key_of(&e), hash_key(key_of(&e)));
        at = slow_lower_bound(key_of(&e), TAG_MAX);
        assert((found == b->count) == (at == entry_count || !slice_equal(key_of(&entries[at]), key_of(&e))));
    }
}

/* A copy of exactly its size, so that the sanitizer sees a byte too many. */
static void *exact_copy(helios_slice image)
{
    void *copy = malloc(image.size);

    assert(copy);
    memcpy(copy, image.data, image.size);
    return copy;
}

static void test_round_trips(struct random *r)
{
    struct block_builder *builder;
    struct block b;

    assert(block_builder_new(&builder) == HELIOS_OK);
    for (int round = 0; round < 150; round++) {
        bool versions = round % 2;
        helios_slice image;
        void *copy;

        make_entries(r, versions);
        image = build(builder);
        copy = exact_copy(image);
        assert(block_open(copy, image.size, versions, "t", OFFSET, &b) == HELIOS_OK);
        check_contents(&b);
        check_searches(&b, r, versions);
        free(copy);
    }
    block_builder_free(builder);
}

/* Touch everything that a reader may touch. */
static void walk(const struct block *b)
{
    volatile unsigned sum = 0;

    for (uint32_t i = 0; i < b->count; i++) {
        helios_slice suffix = block_suffix(b, i), value = block_value(b, i);
        char key[256];

        for (size_t k = 0; k < suffix.size; k++)
            sum += slice_bytes(suffix)[k];
        for (size_t k = 0; k < value.size; k++)
            sum += slice_bytes(value)[k];
        sum += (unsigned)block_seq(b, i) + block_kind_bits(b, i);
        assert(block_seq(b, i) > 0 && block_seq(b, i) <= SEQ_MAX);
        if (b->shared_size + suffix.size <= sizeof(key)) {
            helios_slice whole = slice_make(key, b->shared_size + suffix.size);

            memcpy(key, b->shared, b->shared_size);
            memcpy(key + b->shared_size, suffix.data, suffix.size);
            assert(block_lower_bound(b, whole, block_tag(b, i)) == i);
            assert(block_find(b, whole, hash_key(whole)) <= b->count);
        }
    }
    (void)sum;
}

static void small_block(bool versions, struct block_builder *builder, helios_slice *image)
{
    static const char *const keys[] = {"", "tab", "tabl", "table", "tablf", "u"};

    entry_count = 0;
    for (uint32_t i = 0; i < 6; i++)
        for (uint32_t v = 0; v < (versions ? 3u : 1u); v++) {
            struct entry *e = &entries[entry_count++];

            e->key_size = (size_t)snprintf(e->key, sizeof(e->key), "pre%s", keys[i]);
            e->seq = 70000 + 300 - 100 * v;
            e->kind = (v + i) % 4 == 3 ? KIND_TOMBSTONE : KIND_VALUE;
            e->value_size = (size_t)snprintf(e->value, sizeof(e->value), "value %u.%u", i, v);
        }
    *image = build(builder);
}

static void test_damage(bool versions)
{
    struct block_builder *builder;
    helios_slice image;
    struct block b;
    unsigned refused = 0;

    assert(block_builder_new(&builder) == HELIOS_OK);
    small_block(versions, builder, &image);
    for (size_t at = 0; at < image.size; at++)
        for (unsigned flip = 1; flip < 256; flip++) {
            unsigned char *copy = exact_copy(image);

            copy[at] ^= (unsigned char)flip;
            if (block_open(copy, image.size, versions, "t", OFFSET, &b) == HELIOS_OK)
                walk(&b);
            else
                refused++;
            free(copy);
        }
    assert(refused > 0);
    for (size_t size = 0; size < image.size; size++) {
        void *copy = exact_copy(slice_make(image.data, size));

        assert(block_open(copy, size, versions, "t", OFFSET, &b) == HELIOS_CORRUPT);
        free(copy);
    }
    block_builder_free(builder);
}

/* One field of a good image is changed; all must be refused. */
static void test_refusals(void)
{
    static const struct {
        const char *name;
        size_t at;
        int size;
        uint64_t value;
    } cases[] = {
        {"no entries", BLOCK_COUNT, 4, 0},
        {"too many entries", BLOCK_COUNT, 4, 7},
        {"count beyond reason", BLOCK_COUNT, 4, UINT32_MAX},
        {"wrong size", BLOCK_SIZE, 4, 1},
        {"shared beyond the end", BLOCK_SHARED, 4, 1000},
        {"shared longer than a key", BLOCK_SHARED, 4, KEY_BYTES_MAX + 1},
        {"shared beyond reason", BLOCK_SHARED, 4, UINT32_MAX},
        {"offset width 0", BLOCK_OFFSET_WIDTH, 1, 0},
        {"offset width 3", BLOCK_OFFSET_WIDTH, 1, 3},
        {"offset width 4", BLOCK_OFFSET_WIDTH, 1, 4},
        {"version width 9", BLOCK_SEQ_WIDTH, 1, 9},
        {"zeros set", BLOCK_ZERO, 2, 1},
        {"version 0", BLOCK_SEQ_BASE, 8, 0},
        {"version above the limit", BLOCK_SEQ_BASE, 8, SEQ_MAX + 1},
        {"a sum of versions above the limit", BLOCK_SEQ_BASE, 8, SEQ_MAX},
        {"an end that goes back", BLOCK_HEADER_SIZE + 3, 2, 200},
        {"a last end beyond", BLOCK_HEADER_SIZE + 3 + 10, 2, 2000},
        {"a value end that goes back", BLOCK_HEADER_SIZE + 3 + 12, 2, 2000},
        {"kind 0", BLOCK_HEADER_SIZE + 3 + 24, 1, 0},
        {"reserved kind", BLOCK_HEADER_SIZE + 3 + 24, 1, KIND_MERGE},
        {"a large value without a handle", BLOCK_HEADER_SIZE + 3 + 24, 1, KIND_VALUE | BLOCK_LARGE},
        {"a large tombstone", BLOCK_HEADER_SIZE + 3 + 24, 1, KIND_TOMBSTONE | BLOCK_LARGE},
    };
    struct block_builder *builder;
    helios_slice image;
    struct block b;

    assert(block_builder_new(&builder) == HELIOS_OK);
    small_block(false, builder, &image);
    /* so that a sum of versions can exceed the limit */
    entries[5].seq += 5;
    image = build(builder);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned char *copy = exact_copy(image);

        for (int byte = 0; byte < cases[i].size; byte++)
            copy[cases[i].at + (size_t)byte] = (unsigned char)(cases[i].value >> (8 * byte));
        if (block_open(copy, image.size, false, "t", OFFSET, &b) != HELIOS_CORRUPT) {
            printf("accepted: %s\n", cases[i].name);
            assert(!"refused");
        }
        assert(strstr(helios_last_error(), "t: block at 4096: "));
        free(copy);
    }
    block_builder_free(builder);
}

static void test_order(void)
{
    struct block_builder *builder;
    helios_slice image;
    struct block b;
    unsigned char *copy;

    assert(block_builder_new(&builder) == HELIOS_OK);
    small_block(true, builder, &image);
    assert(block_open(image.data, image.size, true, "t", 0, &b) == HELIOS_OK);
    assert(block_open(image.data, image.size, false, "t", 0, &b) == HELIOS_CORRUPT); /* equal keys */
    small_block(false, builder, &image);
    assert(block_open(image.data, image.size, false, "t", 0, &b) == HELIOS_OK);
    copy = exact_copy(image);
    copy[b.keys - b.image] = 'z'; /* "zab" before "tabl" */
    assert(block_open(copy, image.size, false, "t", 0, &b) == HELIOS_CORRUPT);
    assert(strstr(helios_last_error(), "out of order"));
    free(copy);
    /* flags: history is known of in data blocks only */
    block_builder_mark_last(builder, BLOCK_HAS_HISTORY);
    assert(block_builder_finish(builder, &image) == HELIOS_OK);
    assert(block_open(image.data, image.size, false, "t", 0, &b) == HELIOS_OK);
    assert(block_kind_bits(&b, 5) & BLOCK_HAS_HISTORY);
    assert(block_open(image.data, image.size, true, "t", 0, &b) == HELIOS_CORRUPT);
    block_builder_free(builder);
}

static void test_extremes(void)
{
    static char long_key[KEY_BYTES_MAX];
    static char big_value[256 * 1024];
    struct block_builder *builder;
    helios_slice image, empty = slice_make("", 0), key = slice_make(long_key, sizeof(long_key));
    struct block b;

    memset(long_key, 'k', sizeof(long_key));
    assert(block_builder_new(&builder) == HELIOS_OK);
    assert(block_builder_add(builder, empty, 1, KIND_TOMBSTONE, empty, hash_key(empty)) == HELIOS_OK);
    assert(block_builder_finish(builder, &image) == HELIOS_OK);
    assert(block_open(image.data, image.size, false, "t", 0, &b) == HELIOS_OK);
    assert(b.offset_width == 2 && b.seq_width == 0);
    assert(block_find(&b, empty, hash_key(empty)) == 0);
    block_builder_reset(builder);
    assert(block_builder_add(builder, empty, SEQ_MAX, KIND_VALUE, empty, hash_key(empty)) == HELIOS_OK);
    assert(block_builder_add(builder, key, 1, KIND_VALUE, slice_make(big_value, sizeof(big_value)),
                             hash_key(key)) == HELIOS_OK);
    assert(block_builder_finish(builder, &image) == HELIOS_OK);
    assert(block_open(image.data, image.size, false, "t", 0, &b) == HELIOS_OK);
    assert(b.offset_width == 4 && b.seq_width == 7);
    assert(block_find(&b, key, hash_key(key)) == 1);
    assert(block_lower_bound(&b, slice_make(long_key, sizeof(long_key) - 1), TAG_MAX) == 1);
    assert(block_value(&b, 1).size == sizeof(big_value));
    block_builder_free(builder);
}

/* ---- sealed ---- */

static void check_sealed(helios_compression compression, helios_slice image)
{
    helios_buf sealed = {0}, out = {0};
    struct block_compressor compressor = {compression, 3, NULL};
    struct block_handle handle;
    helios_compression found;
    char *back = malloc(image.size);

    assert(back);
    assert(block_seal(image, BLOCK_DATA, compression, 3, SALT, OFFSET, &sealed) == HELIOS_OK);
    assert(buf_append(&out, "before", 6) == HELIOS_OK);
    for (int i = 0; i < 2; i++) {
        out.size = 6;
        assert(block_seal_append(&compressor, image, BLOCK_DATA, SALT, NULL, OFFSET, &out, &handle) ==
               HELIOS_OK);
        assert(slice_equal(slice_make(out.data + 6, out.size - 6), buf_slice(&sealed)));
    }
    assert(handle.offset == OFFSET && handle.size == image.size &&
           handle.stored + BLOCK_TRAILER_SIZE == sealed.size);
    assert(block_check_sealed(sealed.data, &handle, BLOCK_DATA, SALT, NULL, "t", &found) == HELIOS_OK);
    assert(found == compression || handle.stored == handle.size);
    assert(block_expand(sealed.data, &handle, found, "t", back) == HELIOS_OK);
    assert(memcmp(back, image.data, image.size) == 0);
    /* every flipped bit, another place, another file, another type */
    for (size_t at = 0; at < sealed.size; at++)
        for (int bit = 0; bit < 8; bit++) {
            sealed.data[at] ^= (char)(1 << bit);
            assert(block_check_sealed(sealed.data, &handle, BLOCK_DATA, SALT, NULL, "t", &found) ==
                   HELIOS_CORRUPT);
            sealed.data[at] ^= (char)(1 << bit);
        }
    assert(block_check_sealed(sealed.data, &handle, BLOCK_HISTORY, SALT, NULL, "t", &found) == HELIOS_CORRUPT);
    assert(block_check_sealed(sealed.data, &handle, BLOCK_DATA, SALT + 1, NULL, "t", &found) == HELIOS_CORRUPT);
    handle.offset++;
    assert(block_check_sealed(sealed.data, &handle, BLOCK_DATA, SALT, NULL, "t", &found) == HELIOS_CORRUPT);
    handle.offset--;
    handle.size++;
    assert(block_check_sealed(sealed.data, &handle, BLOCK_DATA, SALT, NULL, "t", &found) == HELIOS_CORRUPT);
    block_compressor_release(&compressor);
    helios_buf_free(&sealed);
    helios_buf_free(&out);
    free(back);
}

static void test_sealing(struct random *r)
{
    struct block_builder *builder;
    helios_slice image;
    char noise[300];

    assert(block_builder_new(&builder) == HELIOS_OK);
    small_block(true, builder, &image);
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (char)random_next(r);
    for (int c = HELIOS_COMPRESSION_NONE; c <= HELIOS_COMPRESSION_ZSTD; c++) {
        check_sealed((helios_compression)c, image);
        check_sealed((helios_compression)c, slice_make(noise, sizeof(noise)));
        check_sealed((helios_compression)c, slice_make("x", 1));
    }
    block_builder_free(builder);
}

/* What the checksum does not catch, because it is right: compressed bytes that are none. */
static void test_expanding_nonsense(struct random *r)
{
    unsigned char stored[64], image[256];
    struct block_handle handle = {OFFSET, sizeof(stored), sizeof(image)};

    for (int round = 0; round < 2000; round++) {
        for (size_t i = 0; i < sizeof(stored); i++)
            stored[i] = (unsigned char)random_next(r);
        for (int c = HELIOS_COMPRESSION_NONE; c <= HELIOS_COMPRESSION_ZSTD; c++) {
            helios_status status = block_expand(stored, &handle, (helios_compression)c, "t", image);

            assert(status == HELIOS_CORRUPT || (status == HELIOS_OK && c == HELIOS_COMPRESSION_LZ4));
        }
    }
}

static void test_handles(void)
{
    static const struct {
        const char *name;
        struct block_handle handle;
        enum block_type type;
        bool good;
    } cases[] = {
        {"good", {64, 100, 100}, BLOCK_DATA, true},
        {"ends where the file does", {884, 100, 100}, BLOCK_DATA, true},
        {"one byte beyond", {885, 100, 100}, BLOCK_DATA, false},
        {"in the header", {63, 100, 100}, BLOCK_DATA, false},
        {"nowhere", {0, 0, 0}, BLOCK_DATA, false},
        {"nothing stored", {64, 0, 100}, BLOCK_DATA, false},
        {"with a tag", {64, 116, 100}, BLOCK_DATA, true},
        {"more stored than there is", {64, 117, 100}, BLOCK_DATA, false},
        {"offset that wraps", {UINT64_MAX - 10, 100, 100}, BLOCK_DATA, false},
        {"stored beyond the file", {64, UINT32_MAX, UINT32_MAX}, BLOCK_VALUE, false},
        {"image too large", {64, 100, BLOCK_IMAGE_MAX + 1}, BLOCK_DATA, false},
        {"value as large", {64, 100, BLOCK_IMAGE_MAX + 1}, BLOCK_VALUE, true},
        {"value too large", {64, 100, (1u << 30) + 1}, BLOCK_VALUE, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool good = block_check_handle(&cases[i].handle, cases[i].type, 1000, "t") == HELIOS_OK;

        if (good != cases[i].good)
            printf("%s\n", cases[i].name);
        assert(good == cases[i].good);
    }
}

static helios_status build_and_seal(void)
{
    struct block_builder *builder = NULL;
    helios_buf sealed = {0};
    helios_slice image;
    helios_status status = block_builder_new(&builder);

    for (int i = 0; i < 300 && status == HELIOS_OK; i++) {
        char key[32];
        size_t size = (size_t)snprintf(key, sizeof(key), "key%06d", i);

        status = block_builder_add(builder, slice_make(key, size), 5, KIND_VALUE, slice_make(key, size), 0);
    }
    if (status == HELIOS_OK)
        status = block_builder_finish(builder, &image);
    if (status == HELIOS_OK)
        status = block_seal(image, BLOCK_DATA, HELIOS_COMPRESSION_LZ4, 0, SALT, OFFSET, &sealed);
    block_builder_free(builder);
    helios_buf_free(&sealed);
    return status;
}

static void test_no_memory(void)
{
    uint64_t n = 1;

    for (;; n++) {
        helios_status status;

        mem_fail_at(n, false);
        status = build_and_seal();
        mem_fail_at(0, false);
        if (status == HELIOS_OK)
            break;
        assert(status == HELIOS_NO_MEMORY);
    }
    assert(n > 5);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 20240611;
    struct random r;

    printf("seed %llu\n", (unsigned long long)seed);
    random_seed(&r, seed);
    test_round_trips(&r);
    test_damage(false);
    test_damage(true);
    test_refusals();
    test_order();
    test_extremes();
    test_sealing(&r);
    test_expanding_nonsense(&r);
    test_handles();
    test_no_memory();
    return 0;
}
