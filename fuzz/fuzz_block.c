/* fuzz_block.c - images of a table's blocks, as if their checksum had been right. The first byte says which
 * decoder gets the rest; what it accepts is then read in every way that a reader would. */
#undef NDEBUG
#include "base/hash.h"
#include "sstable/filter.h"
#include "sstable/index.h"
#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned sink;

static void touch(helios_slice bytes)
{
    for (size_t i = 0; i < bytes.size; i++)
        sink += slice_bytes(bytes)[i];
}

static void search_block(const struct block *b, uint32_t i)
{
    helios_slice suffix = block_suffix(b, i);
    size_t size = b->shared_size + suffix.size;
    char *key = malloc(size + 1);

    assert(key);
    memcpy(key, b->shared, b->shared_size);
    memcpy(key + b->shared_size, suffix.data, suffix.size);
    assert(block_lower_bound(b, slice_make(key, size), block_tag(b, i)) == i);
    sink += block_find(b, slice_make(key, size), hash_key(slice_make(key, size)));
    sink += block_find(b, slice_make(key, size / 2), (uint64_t)b->hashes[i] << 56);
    free(key);
}

static void fuzz_block(const uint8_t *data, size_t size, bool versions)
{
    struct block b;

    if (block_open(data, size, versions, "fuzz", 0, &b) != HELIOS_OK)
        return;
    for (uint32_t i = 0; i < b.count; i++) {
        touch(block_suffix(&b, i));
        touch(block_value(&b, i));
        assert(block_seq(&b, i) > 0 && block_seq(&b, i) <= SEQ_MAX);
        if (i < 64)
            search_block(&b, i);
    }
}

static void fuzz_index(const uint8_t *data, size_t size)
{
    struct index index;

    if (index_open(data, size, "fuzz", 0, &index) != HELIOS_OK)
        return;
    for (uint32_t i = 0; i < index.count; i++) {
        struct block_handle handle = index_handle(&index, i);

        touch(index_key(&index, i));
        sink += handle.stored + index_entries(&index, i) + index_tombstones(&index, i) +
                (unsigned)index_seq_max(&index, i);
        assert(index_find_tag(&index, index_key(&index, i), index_last_tag(&index, i)) == i);
        assert(index_find(&index, index_key(&index, i)) <= i);
    }
    index_release(&index);
}

static void fuzz_filter(const uint8_t *data, size_t size)
{
    struct filter filter;

    if (filter_open(data, size, "fuzz", 0, &filter) != HELIOS_OK)
        return;
    for (uint64_t i = 0; i < 16; i++)
        sink += filter_may_hold(&filter, i * UINT64_C(0x0fffffffffffffff));
}

static void fuzz_properties(const uint8_t *data, size_t size)
{
    struct table_summary summary;

    if (properties_decode(data, size, "fuzz", 0, &summary) != HELIOS_OK)
        return;
    touch(summary.smallest);
    touch(summary.largest);
    sink += table_summary_has_layer(&summary, slice_make("\0\0\0\1\0", KEY_LAYER_BYTES));
}

static void fuzz_rangedels(const uint8_t *data, size_t size)
{
    struct rangedel_set *set;

    if (rangedels_decode(data, size, "fuzz", 0, &set) != HELIOS_OK)
        return;
    for (size_t i = 0; i < set->count; i++)
        assert(rangedel_newest(set, set->fragments[i].from, SEQ_MAX) == set->fragments[i].seqs[0]);
    rangedel_unref(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    switch (data[0] % 6) {
    case 0: fuzz_block(data + 1, size - 1, false); break;
    case 1: fuzz_block(data + 1, size - 1, true); break;
    case 2: fuzz_index(data + 1, size - 1); break;
    case 3: fuzz_filter(data + 1, size - 1); break;
    case 4: fuzz_properties(data + 1, size - 1); break;
    default: fuzz_rangedels(data + 1, size - 1); break;
    }
    return 0;
}
