/* block_builder.c - collects the entries of one block and lays out its image; the drawing is in block.h.
 * Called by the table writer. Keys stay whole until the image is made, as what they share is known
 * only then; everything lives in buffers that grow and are kept from block to block. */
#include "base/buf.h"
#include "base/mem.h"
#include "sstable/block.h"
#include <assert.h>

enum { BUILDER_CAPACITY_MIN = 64, BUILDER_KEYS_MIN = 4096 };

struct block_builder {
    helios_buf keys, values, image;
    uint32_t count, capacity;        /* of the arrays */
    uint32_t *key_ends, *value_ends; /* in keys and values */
    helios_seq *seqs;
    uint8_t *kinds, *hashes;
    size_t shared; /* what first and last key, and so all, begin with */
    helios_seq seq_min, seq_max;
};

helios_status block_builder_new(struct block_builder **builder_out)
{
    struct block_builder *builder = mem_zalloc(sizeof(*builder));
    helios_status status;

    if (!builder)
        return fail_no_memory(sizeof(*builder));
    status = buf_reserve(&builder->keys, BUILDER_KEYS_MIN); /* so that its data is never NULL */
    if (status != HELIOS_OK) {
        mem_free(builder);
        return status;
    }
    *builder_out = builder;
    return HELIOS_OK;
}

void block_builder_free(struct block_builder *builder)
{
    if (!builder)
        return;
    helios_buf_free(&builder->keys);
    helios_buf_free(&builder->values);
    helios_buf_free(&builder->image);
    mem_free(builder->key_ends);
    mem_free(builder->value_ends);
    mem_free(builder->seqs);
    mem_free(builder->kinds);
    mem_free(builder->hashes);
    mem_free(builder);
}

void block_builder_reset(struct block_builder *builder)
{
    builder->keys.size = builder->values.size = 0;
    builder->count = 0;
    builder->shared = 0;
    builder->seq_min = builder->seq_max = 0;
}

/* An array that could grow stays grown when another cannot: harmless, capacity is raised last. */
static bool grow_array(void *array_at, size_t capacity, size_t width)
{
    void *old, *grown;

    memcpy(&old, array_at, sizeof(old));
    grown = mem_realloc(old, capacity * width);
    if (!grown)
        return false;
    memcpy(array_at, &grown, sizeof(grown));
    return true;
}

static helios_status grow(struct block_builder *builder)
{
    size_t capacity = builder->capacity ? (size_t)builder->capacity * 2 : BUILDER_CAPACITY_MIN;

    if (!grow_array(&builder->key_ends, capacity, sizeof(*builder->key_ends)) ||
        !grow_array(&builder->value_ends, capacity, sizeof(*builder->value_ends)) ||
        !grow_array(&builder->seqs, capacity, sizeof(*builder->seqs)) ||
        !grow_array(&builder->kinds, capacity, 1) || !grow_array(&builder->hashes, capacity, 1))
        return fail_no_memory(capacity * sizeof(*builder->seqs));
    builder->capacity = (uint32_t)capacity;
    return HELIOS_OK;
}

static helios_slice key_at(const struct block_builder *builder, uint32_t i)
{
    uint32_t from = i ? builder->key_ends[i - 1] : 0;

    return slice_make(builder->keys.data + from, builder->key_ends[i] - from);
}

static uint64_t tag_of(helios_seq seq, uint8_t kind_bits)
{
    return tag_make(seq, (enum key_kind)(kind_bits & BLOCK_KIND_MASK));
}

__attribute__((unused)) /* but by an assert */
static bool
follows(const struct block_builder *builder, helios_slice key, uint64_t tag)
{
    uint32_t last = builder->count - 1;

    return builder->count == 0 ||
           key_compare(key_at(builder, last), tag_of(builder->seqs[last], builder->kinds[last]), key, tag) < 0;
}

/* As keys ascend, what first and new key share all between them share too. */
static void update_shared(struct block_builder *builder, helios_slice key)
{
    if (builder->count == 0)
        builder->shared = key.size;
    else if (key.size < builder->shared || memcmp(builder->keys.data, key.data, builder->shared) != 0)
        builder->shared = slice_common(slice_make(builder->keys.data, builder->shared), key);
}

static void update_seqs(struct block_builder *builder, helios_seq seq)
{
    if (builder->count == 0 || seq < builder->seq_min)
        builder->seq_min = seq;
    if (seq > builder->seq_max)
        builder->seq_max = seq;
}

helios_status block_builder_add(struct block_builder *builder, helios_slice key, helios_seq seq,
                                uint8_t kind_bits, helios_slice value, uint64_t hash)
{
    uint32_t i = builder->count;
    size_t keys_size = builder->keys.size;
    helios_status status;

    assert(key.size <= KEY_BYTES_MAX);
    assert(seq > 0);
    assert(seq <= SEQ_MAX);
    assert(follows(builder, key, tag_of(seq, kind_bits)));
    if (i == builder->capacity) {
        status = grow(builder);
        if (status != HELIOS_OK)
            return status;
    }
    status = buf_append(&builder->keys, key.data, key.size);
    if (status != HELIOS_OK)
        return status;
    status = buf_append(&builder->values, value.data, value.size);
    if (status != HELIOS_OK) {
        builder->keys.size = keys_size;
        return status;
    }
    update_shared(builder, key);
    update_seqs(builder, seq);
    builder->key_ends[i] = (uint32_t)builder->keys.size;
    builder->value_ends[i] = (uint32_t)builder->values.size;
    builder->seqs[i] = seq;
    builder->kinds[i] = kind_bits;
    builder->hashes[i] = (uint8_t)(hash >> 56);
    builder->count = i + 1;
    return HELIOS_OK;
}

void block_builder_mark_last(struct block_builder *builder, uint8_t flags)
{
    assert(builder->count > 0);
    assert((flags & BLOCK_KIND_MASK) == 0);
    builder->kinds[builder->count - 1] |= flags;
}

/* Bytes that hold it. */
static uint8_t width_of(uint64_t value)
{
    return value ? (uint8_t)((71 - __builtin_clzll(value)) / 8) : 0;
}

static size_t suffixes_size(const struct block_builder *builder)
{
    return builder->keys.size - builder->shared * builder->count;
}

static uint8_t offset_width(const struct block_builder *builder)
{
    return suffixes_size(builder) <= UINT16_MAX && builder->values.size <= UINT16_MAX ? 2 : 4;
}

static size_t entry_overhead(const struct block_builder *builder)
{
    return 2 * (size_t)offset_width(builder) + 2 + width_of(builder->seq_max - builder->seq_min);
}

size_t block_builder_estimate(const struct block_builder *builder)
{
    if (builder->count == 0)
        return 0;
    return BLOCK_HEADER_SIZE + builder->shared + builder->count * entry_overhead(builder) +
           suffixes_size(builder) + builder->values.size;
}

size_t block_builder_cost(const struct block_builder *builder, helios_slice key, size_t value_size)
{
    size_t suffix = key.size > builder->shared ? key.size - builder->shared : 0;

    return suffix + value_size + (builder->count ? entry_overhead(builder) : BLOCK_HEADER_SIZE);
}

uint32_t block_builder_count(const struct block_builder *builder)
{
    return builder->count;
}

helios_slice block_builder_last_key(const struct block_builder *builder)
{
    assert(builder->count > 0);
    return key_at(builder, builder->count - 1);
}

helios_seq block_builder_last_seq(const struct block_builder *builder)
{
    assert(builder->count > 0);
    return builder->seqs[builder->count - 1];
}

uint64_t block_builder_last_tag(const struct block_builder *builder)
{
    assert(builder->count > 0);
    return tag_of(builder->seqs[builder->count - 1], builder->kinds[builder->count - 1]);
}

helios_seq block_builder_max_seq(const struct block_builder *builder)
{
    return builder->seq_max;
}

/* ---- the image ---- */

static unsigned char *put_ends(unsigned char *at, const uint32_t *ends, uint32_t count, size_t less,
                               uint8_t width)
{
    if (width == 2)
        for (uint32_t i = 0; i < count; i++)
            put_u16(at + (size_t)i * 2, (uint16_t)(ends[i] - less * (i + 1)));
    else
        for (uint32_t i = 0; i < count; i++)
            put_u32(at + (size_t)i * 4, (uint32_t)(ends[i] - less * (i + 1)));
    return at + (size_t)count * width;
}

static unsigned char *put_versions(unsigned char *at, const struct block_builder *builder, uint8_t width)
{
    for (uint32_t i = 0; i < builder->count; i++) {
        uint64_t delta = builder->seqs[i] - builder->seq_min;

        for (uint8_t byte = 0; byte < width; byte++)
            *at++ = (unsigned char)(delta >> (8 * byte));
    }
    return at;
}

static unsigned char *put_suffixes(unsigned char *at, const struct block_builder *builder)
{
    const char *from = builder->keys.data;

    for (uint32_t i = 0; i < builder->count; i++) {
        const char *end = builder->keys.data + builder->key_ends[i];
        size_t size = (size_t)(end - from) - builder->shared;

        memcpy(at, from + builder->shared, size);
        at += size;
        from = end;
    }
    return at;
}

static unsigned char *put_bytes(unsigned char *at, const void *data, size_t size)
{
    if (size)
        memcpy(at, data, size);
    return at + size;
}

helios_status block_builder_finish(struct block_builder *builder, helios_slice *image)
{
    size_t size = block_builder_estimate(builder);
    uint8_t offsets = offset_width(builder), seqs = width_of(builder->seq_max - builder->seq_min);
    uint32_t count = builder->count;
    unsigned char *at;
    helios_status status;

    assert(count > 0);
    if (size > BLOCK_IMAGE_MAX)
        return fail(HELIOS_LIMIT, "a block of %zu bytes, %u is the limit", size, (unsigned)BLOCK_IMAGE_MAX);
    status = buf_reserve(&builder->image, size);
    if (status != HELIOS_OK)
        return status;
    at = (unsigned char *)builder->image.data;
    put_u32(at + BLOCK_COUNT, count);
    put_u32(at + BLOCK_SIZE, (uint32_t)size);
    put_u32(at + BLOCK_SHARED, (uint32_t)builder->shared);
    at[BLOCK_OFFSET_WIDTH] = offsets;
    at[BLOCK_SEQ_WIDTH] = seqs;
    put_u16(at + BLOCK_ZERO, 0);
    put_u64(at + BLOCK_SEQ_BASE, builder->seq_min);
    at = put_bytes(at + BLOCK_HEADER_SIZE, builder->keys.data, builder->shared);
    at = put_ends(at, builder->key_ends, count, builder->shared, offsets);
    at = put_ends(at, builder->value_ends, count, 0, offsets);
    at = put_bytes(at, builder->kinds, count);
    at = put_bytes(at, builder->hashes, count);
    at = put_versions(at, builder, seqs);
    at = put_suffixes(at, builder);
    at = put_bytes(at, builder->values.data, builder->values.size);
    assert((size_t)(at - (unsigned char *)builder->image.data) == size);
    builder->image.size = size;
    *image = buf_slice(&builder->image);
    return HELIOS_OK;
}
