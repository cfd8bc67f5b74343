/* test_filter.c - the filter: never forgets, rarely imagines, refuses what is no filter. */
#undef NDEBUG
#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"
#include "sstable/filter.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(uint64_t i)
{
    return hash_bytes(&i, sizeof(i));
}

static void build(double bits, uint64_t keys, helios_buf *image)
{
    struct filter_builder *builder;

    assert(filter_builder_new(bits, &builder) == HELIOS_OK);
    for (uint64_t i = 0; i < keys; i++) {
        assert(filter_builder_add(builder, hash_of(i)) == HELIOS_OK);
        assert(filter_builder_add(builder, hash_of(i)) == HELIOS_OK); /* an older version */
    }
    assert(filter_builder_finish(builder, image) == HELIOS_OK);
    assert(filter_builder_estimate(builder) + 64 >= image->size);
    filter_builder_free(builder);
}

static const struct {
    double bits;
    uint64_t keys;
    double rate_max;
} cases[] = {
    {14, 0, 0},       {14, 1, 0.02},    {14, 1000, 0.006},   {14, 100000, 0.004}, {10, 100000, 0.016},
    {5, 50000, 0.15}, {1, 10000, 0.75}, {24, 50000, 0.0005}, {0.1, 100, 0.75},    {1000, 100, 0.001},
};

static void test_rates(void)
{
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        helios_buf image = {0};
        struct filter filter;
        int wrong = 0, tries = 100000;

        build(cases[c].bits, cases[c].keys, &image);
        assert(filter_open(image.data, image.size, "t", 0, &filter) == HELIOS_OK);
        for (uint64_t i = 0; i < cases[c].keys; i++)
            assert(filter_may_hold(&filter, hash_of(i)));
        for (int i = 0; i < tries; i++) {
            filter_prefetch(&filter, hash_of(1u << 30 | (uint64_t)i));
            wrong += filter_may_hold(&filter, hash_of(1u << 30 | (uint64_t)i));
        }
        printf("%g bits a key, %llu keys: %.3f %% false\n", cases[c].bits, (unsigned long long)cases[c].keys,
               100.0 * wrong / tries);
        assert(wrong <= cases[c].rate_max * tries);
        helios_buf_free(&image);
    }
}

static void test_none(void)
{
    struct filter filter = {0};

    assert(filter_may_hold(&filter, 1));
    filter_prefetch(&filter, 1);
}

static void test_damage(void)
{
    helios_buf image = {0};
    struct filter filter;
    size_t trailer;

    build(14, 100, &image);
    trailer = image.size - 8;
    for (size_t size = 0; size < image.size; size++) {
        char *copy = malloc(size ? size : 1);

        assert(copy);
        memcpy(copy, image.data, size);
        assert(filter_open(copy, size, "t", 0, &filter) == HELIOS_CORRUPT);
        free(copy);
    }
    for (size_t at = trailer; at < image.size; at++)
        for (int flip = 1; flip < 256; flip++) {
            image.data[at] ^= (char)flip;
            /* another number of probes is a good shape; the checksum guards it */
            if (filter_open(image.data, image.size, "t", 0, &filter) == HELIOS_OK) {
                assert(at == trailer + 4);
                assert(filter.probes > 0);
                filter_may_hold(&filter, hash_of(1));
            }
            image.data[at] ^= (char)flip;
        }
    helios_buf_free(&image);
}

static void test_no_memory(void)
{
    for (uint64_t n = 1;; n++) {
        struct filter_builder *builder = NULL;
        helios_buf image = {0};
        helios_status status;

        mem_fail_at(n, false);
        status = filter_builder_new(14, &builder);
        for (uint64_t i = 0; i < 5000 && status == HELIOS_OK; i++)
            status = filter_builder_add(builder, hash_of(i));
        if (status == HELIOS_OK)
            status = filter_builder_finish(builder, &image);
        mem_fail_at(0, false);
        filter_builder_free(builder);
        helios_buf_free(&image);
        if (status == HELIOS_OK)
            break;
        assert(status == HELIOS_NO_MEMORY);
    }
}

int main(void)
{
    test_rates();
    test_none();
    test_damage();
    test_no_memory();
    return 0;
}
