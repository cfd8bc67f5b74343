/* micro_blocks.c - what is done to a block of a table on its way to a reader, by the code that does it: checksum,
 * compression, search; and the filter that comes before. */
#include "base/hash.h"
#include "bench/data.h"
#include "bench/micro.h"
#include "sstable/block.h"
#include "sstable/filter.h"
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <zstd.h>

enum {
    VALUE = 100,
    KEY_SIZE = KEY_LAYER_BYTES + KEY_BYTES,
    BLOCK_BYTES = 4096,
    BLOCKS_MANY = 60000,
    BLOCKS_FEW = 200,
    SEARCHES = 1000000,
    PASSES = 20000,
    FILTER_KEYS = 500000,
};

struct blocks {
    struct block *at;
    uint64_t count, records; /* records of each */
    struct data data;
    bool by_hash; /* find a key that is there; else the lower bound */
};

static helios_slice layered_key(const struct data *data, uint64_t index, unsigned char key[KEY_SIZE])
{
    key_put_layer(key, 0, SPACE_USER);
    data_key(data, index * 2, (char *)key + KEY_LAYER_BYTES);
    return slice_make(key, KEY_SIZE);
}

/* Blocks of consecutive keys, as large as a table makes them. */
static struct blocks blocks_make(uint64_t count)
{
    struct blocks blocks = {.at = micro_alloc(count * sizeof(*blocks.at)), .count = count};
    struct block_builder *builder;
    unsigned char key[KEY_SIZE];
    helios_slice image, name;

    data_init(&blocks.data, 1 << 20, VALUE, false);
    micro_must(block_builder_new(&builder));
    for (uint64_t i = 0; i < count; i++) {
        uint64_t first = blocks.records * i;
        unsigned char *copy;

        block_builder_reset(builder);
        for (uint64_t k = 0;
             blocks.records ? k < blocks.records : block_builder_estimate(builder) < BLOCK_BYTES; k++) {
            name = layered_key(&blocks.data, first + k, key);
            micro_must(block_builder_add(builder, name, 1, KIND_VALUE, data_value(&blocks.data, first + k, 0),
                                         hash_key(name)));
        }
        blocks.records = block_builder_count(builder);
        micro_must(block_builder_finish(builder, &image));
        copy = mem_alloc(image.size);
        if (!copy)
            micro_die("no memory");
        memcpy(copy, image.data, image.size);
        micro_must(block_open(copy, image.size, false, "block", 0, &blocks.at[i]));
    }
    block_builder_free(builder);
    return blocks;
}

static void blocks_release(struct blocks *blocks)
{
    for (uint64_t i = 0; i < blocks->count; i++)
        mem_free((void *)blocks->at[i].image);
    free(blocks->at);
    data_release(&blocks->data);
}

static double search(void *arg)
{
    const struct blocks *blocks = arg;
    uint64_t count = micro_times(SEARCHES), found = 0;
    struct random random;
    unsigned char key[KEY_SIZE];
    double start;

    random_seed(&random, 1);
    start = seconds_now();
    for (uint64_t i = 0; i < count; i++) {
        uint64_t index = random_below(&random, blocks->count * blocks->records);
        const struct block *block = &blocks->at[index / blocks->records];
        helios_slice name = layered_key(&blocks->data, index, key);

        found += blocks->by_hash ? block_find(block, name, hash_key(name))
                                 : block_lower_bound(block, name, UINT64_MAX);
    }
    start = seconds_now() - start;
    micro_sink(found);
    return start;
}

static void measure_search(void)
{
    static const struct {
        const char *name;
        uint64_t count;
        bool by_hash;
    } cases[] = {
        {"block search by hash, 200 blocks", BLOCKS_FEW, true},
        {"block search by order, 200 blocks", BLOCKS_FEW, false},
        {"block search by hash, 60,000 blocks", BLOCKS_MANY, true},
        {"block search by order, 60,000 blocks", BLOCKS_MANY, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct blocks blocks = blocks_make(micro_times(cases[i].count));

        blocks.by_hash = cases[i].by_hash;
        search(&blocks);
        micro_measure(cases[i].name, micro_times(SEARCHES), 0, search, &blocks);
        blocks_release(&blocks);
    }
}

/* ---- one block, as it is stored ---- */

struct stored {
    const unsigned char *image;
    size_t size, packed_size;
    char packed[BLOCK_BYTES * 4], room[BLOCK_BYTES * 4];
};

static double check_sum(void *arg)
{
    struct stored *s = arg;
    uint64_t count = micro_times(PASSES * 10), sum = 0;
    double start = seconds_now();

    for (uint64_t i = 0; i < count; i++)
        sum += checksum(s->image, s->size, i, 0);
    start = seconds_now() - start;
    micro_sink(sum);
    return start;
}

static double lz4_pack(void *arg)
{
    struct stored *s = arg;
    uint64_t count = micro_times(PASSES);
    double start = seconds_now();

    for (uint64_t i = 0; i < count; i++)
        s->packed_size =
            (size_t)LZ4_compress_default((const char *)s->image, s->packed, (int)s->size, sizeof(s->packed));
    return seconds_now() - start;
}

static double lz4_unpack(void *arg)
{
    struct stored *s = arg;
    uint64_t count = micro_times(PASSES);
    double start = seconds_now();

    for (uint64_t i = 0; i < count; i++)
        micro_sink((uint64_t)LZ4_decompress_safe(s->packed, s->room, (int)s->packed_size, sizeof(s->room)));
    return seconds_now() - start;
}

static double zstd_pack(void *arg)
{
    struct stored *s = arg;
    uint64_t count = micro_times(PASSES);
    ZSTD_CCtx *context = ZSTD_createCCtx();
    double start = seconds_now();

    for (uint64_t i = 0; i < count; i++)
        s->packed_size = ZSTD_compressCCtx(context, s->packed, sizeof(s->packed), s->image, s->size, 1);
    start = seconds_now() - start;
    ZSTD_freeCCtx(context);
    return start;
}

static double zstd_unpack(void *arg)
{
    struct stored *s = arg;
    uint64_t count = micro_times(PASSES);
    ZSTD_DCtx *context = ZSTD_createDCtx();
    double start = seconds_now();

    for (uint64_t i = 0; i < count; i++)
        micro_sink(ZSTD_decompressDCtx(context, s->room, sizeof(s->room), s->packed, s->packed_size));
    start = seconds_now() - start;
    ZSTD_freeDCtx(context);
    return start;
}

static void measure_stored(void)
{
    struct blocks blocks = blocks_make(1);
    static struct stored s;

    s.image = blocks.at[0].image;
    s.size = blocks.at[0].size;
    micro_measure("checksum of a block", micro_times(PASSES * 10), s.size, check_sum, &s);
    micro_measure("block compressed by LZ4", micro_times(PASSES), s.size, lz4_pack, &s);
    micro_measure("block decompressed by LZ4", micro_times(PASSES), s.size, lz4_unpack, &s);
    micro_measure("block compressed by zstd 1", micro_times(PASSES), s.size, zstd_pack, &s);
    micro_measure("block decompressed by zstd 1", micro_times(PASSES), s.size, zstd_unpack, &s);
    blocks_release(&blocks);
}

/* ---- filters ---- */

static double filter_fill(void *arg)
{
    struct filter_builder *builder;
    uint64_t count = micro_times(FILTER_KEYS);
    struct random random;
    helios_buf *image = arg;
    double start;

    random_seed(&random, 1);
    micro_must(filter_builder_new(14, &builder));
    start = seconds_now();
    for (uint64_t i = 0; i < count; i++)
        micro_must(filter_builder_add(builder, random_next(&random)));
    micro_must(filter_builder_finish(builder, image));
    start = seconds_now() - start;
    filter_builder_free(builder);
    return start;
}

static double filter_ask(void *arg)
{
    uint64_t count = micro_times(SEARCHES), found = 0;
    struct filter *filter = arg;
    struct random random;
    double start;

    random_seed(&random, 2); /* others than those that are in it */
    start = seconds_now();
    for (uint64_t i = 0; i < count; i++)
        found += filter_may_hold(filter, random_next(&random));
    start = seconds_now() - start;
    micro_sink(found);
    return start;
}

void micro_blocks(void)
{
    helios_buf image = {0};
    struct filter filter;
    void *lines;

    measure_stored();
    measure_search();
    micro_measure("filter of 500,000 keys made, a key", micro_times(FILTER_KEYS), 0, filter_fill, &image);
    lines = micro_alloc(image.size); /* on a cache line, as a table has it */
    memcpy(lines, image.data, image.size);
    micro_must(filter_open(lines, image.size, "filter", 0, &filter));
    micro_measure("filter asked for an absent key", micro_times(SEARCHES), 0, filter_ask, &filter);
    free(lines);
    helios_buf_free(&image);
}
