/* fuzz_filter.c - a filter of keys drawn from the input: it holds every one of them, whatever the bits a key; and the
 * input as a filter's image. The first byte: bit 0, the trailer is made right, so that the probes are reached; the
 * others, the bits a key. */
#undef NDEBUG
#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "sstable/filter.h"
#include "base/coding.h"
#include <assert.h>

enum { TRAILER = 8, LINE = 64, KEY = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_keys(const uint8_t *data, size_t size, double bits)
{
    struct filter_builder *builder = NULL;
    struct filter filter;
    helios_buf image = {0};

    assert(filter_builder_new(bits, &builder) == HELIOS_OK);
    for (size_t at = 0; at + KEY <= size; at += KEY)
        assert(filter_builder_add(builder, hash_bytes(data + at, KEY)) == HELIOS_OK);
    assert(filter_builder_finish(builder, &image) == HELIOS_OK);
    assert(filter_open(image.data, image.size, "fuzz", 0, &filter) == HELIOS_OK);
    for (size_t at = 0; at + KEY <= size; at += KEY)
        assert(filter_may_hold(&filter, hash_bytes(data + at, KEY)));
    filter_builder_free(builder);
    helios_buf_free(&image);
}

static void as_image(const uint8_t *data, size_t size, bool right)
{
    unsigned char *image = mem_alloc(size + 1);
    struct filter filter;
    unsigned held = 0;

    assert(image);
    if (size)
        memcpy(image, data, size);
    if (right && size >= LINE + TRAILER) {
        unsigned char *trailer;

        size -= (size - TRAILER) % LINE;
        trailer = image + size - TRAILER;
        put_u32(trailer, (uint32_t)((size - TRAILER) / LINE));
        memset(trailer + 5, 0, 3);
    }
    if (filter_open(image, size, "fuzz", 0, &filter) == HELIOS_OK)
        for (uint64_t i = 0; i < 64; i++) {
            filter_prefetch(&filter, i * UINT64_C(0x9E3779B97F4A7C15));
            held += filter_may_hold(&filter, i * UINT64_C(0x9E3779B97F4A7C15));
        }
    assert(held <= 64);
    mem_free(image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    as_keys(data + 1, size - 1, 1 + (data[0] >> 1) % 64);
    as_image(data + 1, size - 1, data[0] & 1);
    return 0;
}
