/* index.c - making, checking and searching index images; the drawing is in table.h. Called by the table
 * writer and the open table.
 *
 * Searching goes over an array of eight-byte prefixes, taken behind what all separators share, and looks
 * at separators only where the prefix is the key's own. */
#include "sstable/index.h"
#include "base/buf.h"
#include "base/mem.h"
#include <assert.h>
#include <inttypes.h>

enum {
    ENTRY_HANDLE = 0,
    ENTRY_SEQ_MAX = 16,
    ENTRY_LAST_TAG = 24,
    ENTRY_ENTRIES = 32,
    ENTRY_TOMBSTONES = 36,
};
_Static_assert(ENTRY_SEQ_MAX == ENTRY_HANDLE + HANDLE_SIZE, "the handle is followed by the version");
_Static_assert(ENTRY_TOMBSTONES + 4 == INDEX_ENTRY_SIZE, "the counts end an entry");
_Static_assert(INDEX_ZERO + 7 == INDEX_HEADER_SIZE, "the header ends with zeros");

/* ---- building ---- */

static uint32_t key_end(const struct index_builder *builder, uint32_t i)
{
    return get_u32(builder->key_ends.data + (size_t)i * 4);
}

static uint32_t key_start(const struct index_builder *builder, uint32_t i)
{
    return i ? key_end(builder, i - 1) : 0;
}

static helios_slice key_of(const struct index_builder *builder, uint32_t i)
{
    return slice_make(builder->keys.data + key_start(builder, i), key_end(builder, i) - key_start(builder, i));
}

static const char *entry_of(const struct index_builder *builder, uint32_t i)
{
    return builder->entries.data + (size_t)i * INDEX_ENTRY_SIZE;
}

__attribute__((unused)) /* but by an assert */
static bool
follows(const struct index_builder *builder, helios_slice separator, uint64_t last_tag)
{
    uint32_t last = builder->count - 1;

    return builder->count == 0 ||
           key_compare(key_of(builder, last), get_u64(entry_of(builder, last) + ENTRY_LAST_TAG), separator,
                       last_tag) < 0;
}

/* Room in all three first: then nothing changes unless everything does. */
static helios_status reserve(struct index_builder *builder, size_t key_size)
{
    helios_status status = buf_reserve(&builder->entries, builder->entries.size + INDEX_ENTRY_SIZE);

    if (status == HELIOS_OK)
        status = buf_reserve(&builder->key_ends, builder->key_ends.size + 4);
    if (status == HELIOS_OK)
        status = buf_reserve(&builder->keys, builder->keys.size + key_size + 1);
    return status;
}

helios_status index_builder_add(struct index_builder *builder, helios_slice separator,
                                const struct index_entry *entry)
{
    char *at;
    helios_status status;

    assert(follows(builder, separator, entry->last_tag));
    if (builder->keys.size + separator.size > UINT32_MAX)
        return fail(HELIOS_LIMIT, "an index with more than 4 GiB of separators");
    status = reserve(builder, separator.size);
    if (status != HELIOS_OK)
        return status;
    at = builder->entries.data + builder->entries.size;
    handle_put(at + ENTRY_HANDLE, &entry->handle);
    put_u64(at + ENTRY_SEQ_MAX, entry->seq_max);
    put_u64(at + ENTRY_LAST_TAG, entry->last_tag);
    put_u32(at + ENTRY_ENTRIES, entry->entries);
    put_u32(at + ENTRY_TOMBSTONES, entry->tombstones);
    builder->entries.size += INDEX_ENTRY_SIZE;
    if (separator.size)
        memcpy(builder->keys.data + builder->keys.size, separator.data, separator.size);
    builder->keys.size += separator.size;
    put_u32(builder->key_ends.data + builder->key_ends.size, (uint32_t)builder->keys.size);
    builder->key_ends.size += 4;
    builder->count++;
    return HELIOS_OK;
}

static size_t image_size(const struct index_builder *builder, uint32_t from, uint32_t count)
{
    return INDEX_HEADER_SIZE + (size_t)count * (INDEX_ENTRY_SIZE + 4) + key_end(builder, from + count - 1) -
           key_start(builder, from);
}

size_t index_builder_bytes(const struct index_builder *builder)
{
    return builder->count ? image_size(builder, 0, builder->count) : 0;
}

uint32_t index_builder_fit(const struct index_builder *builder, uint32_t from, size_t bytes)
{
    uint32_t count = 1;

    assert(from < builder->count);
    while (from + count < builder->count && image_size(builder, from, count + 1) <= bytes)
        count++;
    return count;
}

static void sum_up(const struct index_builder *builder, uint32_t from, uint32_t count, struct index_entry *sum)
{
    *sum = (struct index_entry){.last_tag = get_u64(entry_of(builder, from + count - 1) + ENTRY_LAST_TAG)};
    for (uint32_t i = from; i < from + count; i++) {
        helios_seq seq_max = get_u64(entry_of(builder, i) + ENTRY_SEQ_MAX);

        if (seq_max > sum->seq_max)
            sum->seq_max = seq_max;
        sum->entries += get_u32(entry_of(builder, i) + ENTRY_ENTRIES);
        sum->tombstones += get_u32(entry_of(builder, i) + ENTRY_TOMBSTONES);
    }
}

static void put_image(const struct index_builder *builder, uint32_t from, uint32_t count, size_t size, char *at)
{
    uint32_t start = key_start(builder, from);

    memset(at, 0, INDEX_HEADER_SIZE);
    put_u32(at + INDEX_COUNT, count);
    put_u32(at + INDEX_SIZE, (uint32_t)size);
    at[INDEX_OFFSET_WIDTH] = 4;
    at += INDEX_HEADER_SIZE;
    memcpy(at, entry_of(builder, from), (size_t)count * INDEX_ENTRY_SIZE);
    at += (size_t)count * INDEX_ENTRY_SIZE;
    for (uint32_t i = from; i < from + count; i++, at += 4)
        put_u32(at, key_end(builder, i) - start);
    memcpy(at, builder->keys.data + start, key_end(builder, from + count - 1) - start);
}

helios_status index_builder_encode(const struct index_builder *builder, uint32_t from, uint32_t count,
                                   helios_buf *image, struct index_entry *sum, helios_slice *separator)
{
    size_t size = image_size(builder, from, count);
    helios_status status;

    assert(count > 0);
    assert(from + count <= builder->count);
    if (size > BLOCK_IMAGE_MAX)
        return fail(HELIOS_LIMIT, "an index of %zu bytes, %u is the limit", size, (unsigned)BLOCK_IMAGE_MAX);
    status = buf_reserve(image, size);
    if (status != HELIOS_OK)
        return status;
    put_image(builder, from, count, size, image->data);
    image->size = size;
    if (sum)
        sum_up(builder, from, count, sum);
    if (separator)
        *separator = key_of(builder, from + count - 1);
    return HELIOS_OK;
}

void index_builder_release(struct index_builder *builder)
{
    helios_buf_free(&builder->entries);
    helios_buf_free(&builder->key_ends);
    helios_buf_free(&builder->keys);
    builder->count = 0;
}

/* ---- checking ---- */

static const char *read_header(const unsigned char *image, size_t size, struct index *index)
{
    uint64_t fixed;

    if (size < INDEX_HEADER_SIZE)
        return "shorter than its header";
    index->count = get_u32(image + INDEX_COUNT);
    index->size = get_u32(image + INDEX_SIZE);
    if (index->size != size)
        return "wrong size";
    if (index->count == 0)
        return "no entries";
    /* the width and the zeros behind it, as one number */
    if (get_u64(image + INDEX_OFFSET_WIDTH) != 4)
        return "bad offset width";
    fixed = INDEX_HEADER_SIZE + (uint64_t)index->count * (INDEX_ENTRY_SIZE + 4);
    if (fixed > size)
        return "arrays reach past the end";
    index->entries = image + INDEX_HEADER_SIZE;
    index->key_ends = index->entries + (size_t)index->count * INDEX_ENTRY_SIZE;
    index->keys = image + fixed;
    if (fixed + get_u32(index->key_ends + (size_t)(index->count - 1) * 4) != size)
        return "keys do not fill it";
    return NULL;
}

static bool ends_ordered(const struct index *index)
{
    uint32_t before = 0;
    bool bad = false;

    for (uint32_t i = 0; i < index->count; i++) {
        uint32_t end = get_u32(index->key_ends + (size_t)i * 4);

        bad |= end < before;
        before = end;
    }
    return !bad;
}

static const char *check_entry(const struct index *index, uint32_t i)
{
    struct block_handle handle = index_handle(index, i);

    if (handle.offset == 0 || handle.stored == 0 || handle.size == 0)
        return "an entry without a block";
    if (index_entries(index, i) == 0 || index_tombstones(index, i) > index_entries(index, i))
        return "impossible counts";
    if (index_seq_max(index, i) == 0 || index_seq_max(index, i) > SEQ_MAX)
        return "impossible version";
    if (index_key(index, i).size > KEY_BYTES_MAX)
        return "separator too long";
    if (i > 0 && key_compare(index_key(index, i - 1), index_last_tag(index, i - 1), index_key(index, i),
                             index_last_tag(index, i)) >= 0)
        return "entries out of order";
    return NULL;
}

static const char *check_entries(const struct index *index)
{
    const char *wrong = ends_ordered(index) ? NULL : "ends out of order";

    for (uint32_t i = 0; i < index->count && !wrong; i++)
        wrong = check_entry(index, i);
    return wrong;
}

helios_status index_open(const void *image, size_t size, const char *path, uint64_t offset,
                         struct index *index_out)
{
    struct index index;
    const char *wrong = read_header(image, size, &index);
    helios_slice first;

    if (!wrong)
        wrong = check_entries(&index);
    if (wrong)
        return fail_corrupt("%s: index at %" PRIu64 ": %s", path, offset, wrong);
    index.prefixes = mem_array(index.count, sizeof(*index.prefixes));
    if (!index.prefixes)
        return fail_no_memory(index.count * sizeof(*index.prefixes));
    first = index_key(&index, 0);
    index.shared = slice_make(first.data, slice_common(first, index_key(&index, index.count - 1)));
    for (uint32_t i = 0; i < index.count; i++)
        index.prefixes[i] = key_prefix(index_key(&index, i), index.shared.size);
    *index_out = index;
    return HELIOS_OK;
}

void index_release(struct index *index)
{
    mem_free(index->prefixes);
    *index = (struct index){0};
}

size_t index_memory(const struct index *index)
{
    return (size_t)index->count * sizeof(*index->prefixes);
}

/* ---- searching ---- */

/* Below all separators, above all, or among them, by what they share. */
static int compare_shared(const struct index *index, helios_slice key)
{
    size_t common = key.size < index->shared.size ? key.size : index->shared.size;
    int order = memcmp(key.data, index->shared.data, common);

    if (order != 0)
        return order;
    return key.size < index->shared.size ? -1 : 0;
}

/* First prefix >= wanted. The step is a conditional move: the branch could not be foretold. */
static uint32_t prefix_lower_bound(const uint64_t *prefixes, uint32_t count, uint64_t wanted)
{
    const uint64_t *base = prefixes;

    while (count > 1) {
        uint32_t half = count / 2;

        base += base[half - 1] < wanted ? half : 0;
        count -= half;
    }
    return (uint32_t)(base - prefixes) + (*base < wanted);
}

/* Among entries from low on, all of which have a prefix >= the key's: the first that is not before it. */
static uint32_t settle(const struct index *index, uint32_t low, helios_slice key, uint64_t prefix, uint64_t tag)
{
    uint32_t high = low;

    if (low == index->count || index->prefixes[low] != prefix)
        return low;
    for (uint32_t step = 1; high < index->count && index->prefixes[high] == prefix; step *= 2) {
        if (key_compare(index_key(index, high), index_last_tag(index, high), key, tag) >= 0)
            break;
        low = high + 1;
        high = index->count - high > step ? high + step : index->count;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (index->prefixes[middle] == prefix &&
            key_compare(index_key(index, middle), index_last_tag(index, middle), key, tag) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint32_t index_find_tag(const struct index *index, helios_slice key, uint64_t tag)
{
    int order = compare_shared(index, key);
    uint64_t prefix;

    if (order != 0)
        return order < 0 ? 0 : index->count;
    prefix = key_prefix(key, index->shared.size);
    return settle(index, prefix_lower_bound(index->prefixes, index->count, prefix), key, prefix, tag);
}

/* The greatest tag: no separator equal to the key is before it. */
uint32_t index_find(const struct index *index, helios_slice key)
{
    return index_find_tag(index, key, TAG_MAX);
}
