/* filter.c - the blocked bloom filter of a table; the drawing is in filter.h. Called by the table writer
 * and the open table.
 *
 * The line comes from the upper half of the hash, the probes within it from products of the whole hash:
 * seven groups of nine bits a product, so that the probes of a key do not wait for one another. */
#include "sstable/filter.h"
#include "base/buf.h"
#include "base/coding.h"
#include "base/mem.h"
#include <assert.h>
#include <inttypes.h>

enum {
    LINE_BYTES = 64,
    LINE_BITS = 512,
    PROBE_BITS = 9,
    PROBES_PER_WORD = 7,
    PROBES_MAX = 14,
    TRAILER_LINES = 0,
    TRAILER_PROBES = 4,
    TRAILER_SIZE = 8,
    BUILDER_CAPACITY_MIN = 1024,
    PREFETCH_DISTANCE = 8,
};
#define PROBE_MULTIPLIER UINT64_C(0x9E3779B97F4A7C15)
_Static_assert(1 << PROBE_BITS == LINE_BITS, "a probe names a bit of its line");
_Static_assert(PROBES_MAX == 2 * PROBES_PER_WORD, "two words hold all probes");

static inline size_t line_of(uint64_t hash, uint32_t line_count)
{
    return (size_t)(((hash >> 32) * line_count) >> 32) * LINE_BYTES;
}

static inline uint64_t first_word(uint64_t hash)
{
    return hash * PROBE_MULTIPLIER;
}
static inline uint64_t next_word(uint64_t word)
{
    return (word ^ word >> 32) * PROBE_MULTIPLIER;
}
static inline uint32_t probe_at(uint64_t word, uint32_t i)
{
    return (uint32_t)(word >> (64 - PROBE_BITS * (i + 1))) & (LINE_BITS - 1);
}

/* ---- building ---- */

struct filter_builder {
    double bits_per_key;
    uint64_t *hashes;
    size_t count, capacity;
};

helios_status filter_builder_new(double bits_per_key, struct filter_builder **builder_out)
{
    struct filter_builder *builder = mem_zalloc(sizeof(*builder));

    if (!builder)
        return fail_no_memory(sizeof(*builder));
    builder->bits_per_key = bits_per_key < 1 ? 1 : bits_per_key > 64 ? 64 : bits_per_key;
    *builder_out = builder;
    return HELIOS_OK;
}

void filter_builder_free(struct filter_builder *builder)
{
    if (!builder)
        return;
    mem_free(builder->hashes);
    mem_free(builder);
}

static helios_status grow(struct filter_builder *builder)
{
    size_t capacity = builder->capacity ? builder->capacity * 2 : BUILDER_CAPACITY_MIN;
    uint64_t *hashes = mem_realloc(builder->hashes, capacity * sizeof(*hashes));

    if (!hashes)
        return fail_no_memory(capacity * sizeof(*hashes));
    builder->hashes = hashes;
    builder->capacity = capacity;
    return HELIOS_OK;
}

helios_status filter_builder_add(struct filter_builder *builder, uint64_t hash)
{
    if (builder->count > 0 && builder->hashes[builder->count - 1] == hash)
        return HELIOS_OK;
    if (builder->count == builder->capacity) {
        helios_status status = grow(builder);

        if (status != HELIOS_OK)
            return status;
    }
    builder->hashes[builder->count++] = hash;
    return HELIOS_OK;
}

size_t filter_builder_estimate(const struct filter_builder *builder)
{
    return (size_t)((double)builder->count * builder->bits_per_key / 8) + LINE_BYTES + TRAILER_SIZE;
}

/* Fewer than the 0.69 a bit that suit a plain filter: lines that are fuller than others cost more. */
static uint8_t probes_for(double bits_per_key)
{
    double probes = bits_per_key * 0.6;

    return probes < 1 ? 1 : probes > PROBES_MAX ? PROBES_MAX : (uint8_t)(probes + 0.5);
}

static inline void set_bits(unsigned char *line, uint64_t word, uint32_t probes)
{
    for (uint32_t i = 0; i < probes; i++) {
        uint32_t bit = probe_at(word, i);

        line[bit / 8] |= (unsigned char)(1u << bit % 8);
    }
}

static inline void add_to_line(unsigned char *line, uint64_t hash, uint32_t probes)
{
    uint64_t word = first_word(hash);

    if (probes <= PROBES_PER_WORD) {
        set_bits(line, word, probes);
    } else {
        set_bits(line, word, PROBES_PER_WORD);
        set_bits(line, next_word(word), probes - PROBES_PER_WORD);
    }
}

helios_status filter_builder_finish(struct filter_builder *builder, helios_buf *image)
{
    double lines_wanted = (double)builder->count * builder->bits_per_key / LINE_BITS + 1;
    uint32_t line_count =
        lines_wanted > UINT32_MAX / LINE_BYTES ? UINT32_MAX / LINE_BYTES - 1 : (uint32_t)lines_wanted;
    size_t lines_size = (size_t)line_count * LINE_BYTES;
    uint8_t probes = probes_for(builder->bits_per_key);
    unsigned char *lines;
    helios_status status = buf_reserve(image, lines_size + TRAILER_SIZE);

    if (status != HELIOS_OK)
        return status;
    lines = (unsigned char *)image->data;
    memset(lines, 0, lines_size + TRAILER_SIZE);
    for (size_t i = 0; i < builder->count; i++) {
        size_t ahead = i + PREFETCH_DISTANCE < builder->count ? i + PREFETCH_DISTANCE : i;

        __builtin_prefetch(lines + line_of(builder->hashes[ahead], line_count), 1);
        add_to_line(lines + line_of(builder->hashes[i], line_count), builder->hashes[i], probes);
    }
    put_u32(lines + lines_size + TRAILER_LINES, line_count);
    lines[lines_size + TRAILER_PROBES] = probes;
    image->size = lines_size + TRAILER_SIZE;
    return HELIOS_OK;
}

/* ---- asking ---- */

helios_status filter_open(const void *image, size_t size, const char *path, uint64_t offset,
                          struct filter *filter)
{
    const unsigned char *lines = image, *trailer;
    uint32_t line_count;
    uint8_t probes;

    if (size < LINE_BYTES + TRAILER_SIZE)
        return fail_corrupt("%s: filter at %" PRIu64 ": too short", path, offset);
    trailer = lines + size - TRAILER_SIZE;
    line_count = get_u32(trailer + TRAILER_LINES);
    probes = trailer[TRAILER_PROBES];
    if (size - TRAILER_SIZE != (uint64_t)line_count * LINE_BYTES || probes == 0 || probes > PROBES_MAX ||
        trailer[5] != 0 || trailer[6] != 0 || trailer[7] != 0)
        return fail_corrupt("%s: filter at %" PRIu64 ": bad shape", path, offset);
    *filter = (struct filter){lines, line_count, probes};
    return HELIOS_OK;
}

static inline bool has_bits(const unsigned char *line, uint64_t word, uint32_t probes)
{
    uint32_t all = 1;

    for (uint32_t i = 0; i < probes; i++) {
        uint32_t bit = probe_at(word, i);

        all &= (uint32_t)line[bit / 8] >> bit % 8;
    }
    return all;
}

bool filter_may_hold(const struct filter *filter, uint64_t hash)
{
    const unsigned char *line;
    uint64_t word = first_word(hash);

    if (filter->line_count == 0)
        return true;
    line = filter->lines + line_of(hash, filter->line_count);
    if (filter->probes <= PROBES_PER_WORD)
        return has_bits(line, word, filter->probes);
    return has_bits(line, word, PROBES_PER_WORD) &&
           has_bits(line, next_word(word), filter->probes - PROBES_PER_WORD);
}

void filter_prefetch(const struct filter *filter, uint64_t hash)
{
    if (filter->line_count > 0)
        __builtin_prefetch(filter->lines + line_of(hash, filter->line_count));
}
