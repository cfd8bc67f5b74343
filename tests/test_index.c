/* test_index.c - index images: built, cut into partitions, searched, damaged. */
#undef NDEBUG
#include "base/mem.h"
#include "base/random.h"
#include "sstable/index.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { ENTRIES_MAX = 600 };
static struct separator {
    char key[40];
    size_t size;
    uint64_t tag;
} separators[ENTRIES_MAX];
static uint32_t separator_count;

static helios_slice key_of(const struct separator *s)
{
    return slice_make(s->key, s->size);
}

static int compare(const void *a, const void *b)
{
    const struct separator *one = a, *two = b;

    return key_compare(key_of(one), one->tag, key_of(two), two->tag);
}

/* Few letters, so that many separators agree in more than the eight bytes of a prefix. */
static void make_key(struct random *r, struct separator *s, size_t shared)
{
    memset(s->key, 's', shared);
    s->size = shared + random_below(r, 20);
    for (size_t i = shared; i < s->size; i++)
        s->key[i] = random_below(r, 8) ? 0 : (char)(random_below(r, 2) * 255);
    s->tag = tag_make(1 + random_below(r, 1000), KIND_VALUE);
}

static void make_separators(struct random *r, bool versions)
{
    size_t shared = random_below(r, 12);
    uint32_t kept = 0, count = 1 + (uint32_t)random_below(r, ENTRIES_MAX);

    for (uint32_t i = 0; i < count; i++)
        make_key(r, &separators[i], shared);
    qsort(separators, count, sizeof(separators[0]), compare);
    for (uint32_t i = 0; i < count; i++) {
        struct separator *last = kept ? &separators[kept - 1] : NULL;

        if (last && slice_equal(key_of(last), key_of(&separators[i])) &&
            (!versions || last->tag == separators[i].tag))
            continue;
        separators[kept++] = separators[i];
    }
    separator_count = kept;
}

static struct index_entry entry_of(uint32_t i)
{
    return (struct index_entry){
        {64 + 4096 * (uint64_t)i, 4000 - i, 4096}, 1 + i * 7 % 1000, separators[i].tag, 40 + i, i % 40};
}

static void build(struct index_builder *builder)
{
    *builder = (struct index_builder){0};
    for (uint32_t i = 0; i < separator_count; i++) {
        struct index_entry entry = entry_of(i);

        assert(index_builder_add(builder, key_of(&separators[i]), &entry) == HELIOS_OK);
    }
}

static uint32_t slow_find(helios_slice key, uint64_t tag)
{
    uint32_t i = 0;

    while (i < separator_count && key_compare(key_of(&separators[i]), separators[i].tag, key, tag) < 0)
        i++;
    return i;
}

static void check_entry(const struct index *index, uint32_t at, uint32_t i)
{
    struct index_entry entry = entry_of(i);
    struct block_handle handle = index_handle(index, at);

    assert(handle.offset == entry.handle.offset && handle.stored == entry.handle.stored &&
           handle.size == entry.handle.size);
    assert(index_seq_max(index, at) == entry.seq_max);
    assert(index_last_tag(index, at) == entry.last_tag);
    assert(index_entries(index, at) == entry.entries);
    assert(index_tombstones(index, at) == entry.tombstones);
    assert(slice_equal(index_key(index, at), key_of(&separators[i])));
}

static void check_searches(const struct index *index, struct random *r)
{
    for (uint32_t i = 0; i < separator_count; i++) {
        helios_slice key = key_of(&separators[i]);

        assert(index_find_tag(index, key, separators[i].tag) == i);
        assert(index_find_tag(index, key, separators[i].tag - 1) == i + 1);
        assert(index_find(index, key) == slow_find(key, TAG_MAX));
        assert(index_find_tag(index, key, 0) == slow_find(key, 0));
    }
    for (int i = 0; i < 300; i++) {
        struct separator s;

        make_key(r, &s, random_below(r, 12));
        assert(index_find(index, key_of(&s)) == slow_find(key_of(&s), TAG_MAX));
        assert(index_find_tag(index, key_of(&s), s.tag) == slow_find(key_of(&s), s.tag));
    }
}

static void test_whole(struct random *r)
{
    for (int round = 0; round < 100; round++) {
        struct index_builder builder;
        struct index index;
        helios_buf image = {0};
        void *copy;

        make_separators(r, round % 2);
        build(&builder);
        assert(index_builder_encode(&builder, 0, separator_count, &image, NULL, NULL) == HELIOS_OK);
        assert(image.size == index_builder_bytes(&builder));
        copy = mem_copy(image.data, image.size);
        assert(copy);
        assert(index_open(copy, image.size, "t", 0, &index) == HELIOS_OK);
        assert(index.count == separator_count);
        assert(index_memory(&index) == separator_count * 8);
        for (uint32_t i = 0; i < separator_count; i++)
            check_entry(&index, i, i);
        check_searches(&index, r);
        index_release(&index);
        mem_free(copy);
        helios_buf_free(&image);
        index_builder_release(&builder);
    }
}

static void test_partitions(struct random *r)
{
    struct index_builder builder;
    uint32_t from = 0, partitions = 0;

    make_separators(r, false);
    build(&builder);
    while (from < separator_count) {
        uint32_t count = index_builder_fit(&builder, from, 1000);
        helios_buf image = {0};
        helios_slice separator;
        struct index_entry sum;
        struct index index;
        uint64_t entries = 0, tombstones = 0;
        helios_seq seq_max = 0;

        assert(index_builder_encode(&builder, from, count, &image, &sum, &separator) == HELIOS_OK);
        assert(image.size <= 1000);
        assert(index_open(image.data, image.size, "t", 0, &index) == HELIOS_OK);
        for (uint32_t i = 0; i < count; i++) {
            check_entry(&index, i, from + i);
            entries += index_entries(&index, i);
            tombstones += index_tombstones(&index, i);
            if (index_seq_max(&index, i) > seq_max)
                seq_max = index_seq_max(&index, i);
        }
        assert(sum.entries == entries && sum.tombstones == tombstones && sum.seq_max == seq_max);
        assert(sum.last_tag == separators[from + count - 1].tag);
        assert(slice_equal(separator, key_of(&separators[from + count - 1])));
        index_release(&index);
        helios_buf_free(&image);
        from += count;
        partitions++;
    }
    assert(partitions > 1);
    assert(index_builder_fit(&builder, 0, 1) == 1);
    index_builder_release(&builder);
}

static void walk(const struct index *index)
{
    volatile unsigned sum = 0;

    for (uint32_t i = 0; i < index->count; i++) {
        helios_slice key = index_key(index, i);

        for (size_t k = 0; k < key.size; k++)
            sum += slice_bytes(key)[k];
        assert(index_find_tag(index, key, index_last_tag(index, i)) == i);
        assert(index_find(index, key) <= i);
    }
    (void)sum;
}

static void test_damage(void)
{
    static const char *const keys[] = {"share", "shared", "sharing", "she", "shell"};
    struct index_builder builder;
    struct index index;
    helios_buf image = {0};
    unsigned refused = 0;

    separator_count = 5;
    for (uint32_t i = 0; i < separator_count; i++) {
        separators[i].size = (size_t)snprintf(separators[i].key, sizeof(separators[i].key), "%s", keys[i]);
        separators[i].tag = tag_make(9, KIND_VALUE);
    }
    build(&builder);
    assert(index_builder_encode(&builder, 0, separator_count, &image, NULL, NULL) == HELIOS_OK);
    for (size_t size = 0; size < image.size; size++) {
        void *copy = mem_copy(image.data, size);

        assert(index_open(copy, size, "t", 0, &index) == HELIOS_CORRUPT);
        mem_free(copy);
    }
    for (size_t at = 0; at < image.size; at++)
        for (int flip = 1; flip < 256; flip++) {
            char *copy = mem_copy(image.data, image.size);

            copy[at] ^= (char)flip;
            if (index_open(copy, image.size, "t", 0, &index) == HELIOS_OK) {
                walk(&index);
                index_release(&index);
            } else {
                refused++;
            }
            assert(at >= INDEX_HEADER_SIZE || refused == (at * 255) + (unsigned)flip);
            mem_free(copy);
        }
    helios_buf_free(&image);
    index_builder_release(&builder);
}

static helios_status build_and_open(void)
{
    struct index_builder builder = {0};
    struct index_entry entry = {{64, 100, 100}, 1, tag_make(1, KIND_VALUE), 1, 0};
    struct index index = {0};
    helios_buf image = {0};
    helios_status status = HELIOS_OK;

    for (int i = 0; i < 100 && status == HELIOS_OK; i++) {
        char key[16];

        status = index_builder_add(&builder, slice_make(key, (size_t)snprintf(key, sizeof(key), "key%04d", i)),
                                   &entry);
    }
    if (status == HELIOS_OK)
        status = index_builder_encode(&builder, 0, 100, &image, NULL, NULL);
    if (status == HELIOS_OK)
        status = index_open(image.data, image.size, "t", 0, &index);
    index_release(&index);
    helios_buf_free(&image);
    index_builder_release(&builder);
    return status;
}

static void test_no_memory(void)
{
    for (uint64_t n = 1;; n++) {
        helios_status status;

        mem_fail_at(n, false);
        status = build_and_open();
        mem_fail_at(0, false);
        if (status == HELIOS_OK)
            break;
        assert(status == HELIOS_NO_MEMORY);
    }
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 4711;
    struct random r;

    printf("seed %llu\n", (unsigned long long)seed);
    random_seed(&r, seed);
    test_whole(&r);
    test_partitions(&r);
    test_damage();
    test_no_memory();
    return 0;
}
