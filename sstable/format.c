/* format.c - footer, properties and range deletes of a table; the drawings are in format.h. Called by the
 * table writer and the open table. Decoders take bytes whose checksum was right, and still believe none. */
#include "sstable/format.h"
#include "base/buf.h"
#include "base/file_header.h"
#include "base/hash.h"
#include "base/mem.h"
#include <assert.h>
#include <inttypes.h>
#include <stddef.h>

/* ---- footer ---- */

static const struct {
    uint32_t at;
    enum block_type type;
    size_t field;
} footer_handles[] = {
    {FOOTER_FILTER, BLOCK_FILTER, offsetof(struct table_footer, filter)},
    {FOOTER_RANGE_DELETES, BLOCK_RANGE_DELETES, offsetof(struct table_footer, range_deletes)},
    {FOOTER_HISTORY_INDEX, BLOCK_INDEX, offsetof(struct table_footer, history_index)},
    {FOOTER_TOP_INDEX, BLOCK_INDEX_TOP, offsetof(struct table_footer, top_index)},
    {FOOTER_PROPERTIES, BLOCK_PROPERTIES, offsetof(struct table_footer, properties)},
};
enum { FOOTER_HANDLES = sizeof(footer_handles) / sizeof(footer_handles[0]) };
_Static_assert(FOOTER_HANDLES *HANDLE_SIZE == FOOTER_VERSION, "the handles are followed by the version");

helios_status footer_encode(const struct table_footer *footer, uint64_t salt, const struct crypt_file *crypt,
                            uint64_t offset, unsigned char out[TABLE_FOOTER_SIZE])
{
    helios_status status = HELIOS_OK;

    memset(out, 0, TABLE_FOOTER_SIZE);
    for (int i = 0; i < FOOTER_HANDLES; i++)
        handle_put(out + footer_handles[i].at,
                   (const struct block_handle *)(const void *)((const char *)footer + footer_handles[i].field));
    put_u32(out + FOOTER_VERSION, FORMAT_VERSION);
    if (crypt_is_on(crypt)) /* there is nothing to hide, but handles that lead elsewhere would not be noticed */
        status = crypt_seal(crypt, offset, slice_make(out, FOOTER_TAG), NULL, 0, out + FOOTER_TAG);
    put_u64(out + FOOTER_XXH3, checksum(out, FOOTER_XXH3, salt, offset));
    memcpy(out + FOOTER_MAGIC, MAGIC_FOOTER, 8);
    return status;
}

static bool all_zero(const unsigned char *at, size_t size)
{
    unsigned char any = 0;

    for (size_t i = 0; i < size; i++)
        any |= at[i];
    return any == 0;
}

static helios_status footer_open(const unsigned char in[TABLE_FOOTER_SIZE], const struct crypt_file *crypt,
                                 uint64_t offset, const char *path)
{
    unsigned char none[CRYPT_TAG_SIZE];
    bool right = true;
    helios_status status = HELIOS_OK;

    if (crypt_is_on(crypt))
        status = crypt_open(crypt, offset, slice_make(in, FOOTER_TAG), in + FOOTER_TAG, CRYPT_TAG_SIZE, none,
                            &right);
    else if (!all_zero(in + FOOTER_TAG, CRYPT_TAG_SIZE))
        return fail_corrupt("%s: footer at %" PRIu64 ": bytes set that must be zero", path, offset);
    if (status == HELIOS_OK && !right)
        return fail_corrupt("%s: footer at %" PRIu64 ": not what was signed there", path, offset);
    return status;
}

helios_status footer_decode(const unsigned char in[TABLE_FOOTER_SIZE], uint64_t salt,
                            const struct crypt_file *crypt, uint64_t offset, const char *path,
                            struct table_footer *footer_out)
{
    helios_status opened;
    struct table_footer footer;

    if (memcmp(in + FOOTER_MAGIC, MAGIC_FOOTER, 8) != 0)
        return fail_corrupt("%s: footer at %" PRIu64 ": does not end with %s", path, offset, MAGIC_FOOTER);
    if (get_u64(in + FOOTER_XXH3) != checksum(in, FOOTER_XXH3, salt, offset))
        return fail_corrupt("%s: footer at %" PRIu64 ": bad checksum", path, offset);
    if (get_u32(in + FOOTER_VERSION) != FORMAT_VERSION)
        return fail(HELIOS_UNSUPPORTED, "%s: table version %u, only %u is known", path,
                    get_u32(in + FOOTER_VERSION), (unsigned)FORMAT_VERSION);
    if (!all_zero(in + FOOTER_ZERO, FOOTER_XXH3 - FOOTER_ZERO))
        return fail_corrupt("%s: footer at %" PRIu64 ": bytes set that must be zero", path, offset);
    opened = footer_open(in, crypt, offset, path);
    if (opened != HELIOS_OK)
        return opened;
    for (int i = 0; i < FOOTER_HANDLES; i++) {
        struct block_handle handle = handle_get(in + footer_handles[i].at);
        bool none =
            all_zero(in + footer_handles[i].at, HANDLE_SIZE) && footer_handles[i].type != BLOCK_PROPERTIES;
        helios_status status =
            none ? HELIOS_OK : block_check_handle(&handle, footer_handles[i].type, offset, path);

        if (status != HELIOS_OK)
            return fail_context(status, "footer");
        memcpy((char *)&footer + footer_handles[i].field, &handle, sizeof(handle));
    }
    *footer_out = footer;
    return HELIOS_OK;
}

/* ---- properties ---- */

/* Tags are the format's: never reused, new ones at the end of their kind. */
enum {
    PROPERTY_NUMBERS_END = 32, /* the tags below are numbers of struct table_properties */
    PROPERTY_SMALLEST = 32,
    PROPERTY_LARGEST = 33,
    PROPERTY_LARGEST_EXCLUSIVE = 34,
    PROPERTY_LAYERS = 35,
    PROPERTY_LAYERS_MANY = 36,
};

static const struct {
    uint8_t tag;
    size_t field;
} numbers[] = {
    {1, offsetof(struct table_properties, entries)},
    {2, offsetof(struct table_properties, keys)},
    {3, offsetof(struct table_properties, tombstones)},
    {4, offsetof(struct table_properties, range_deletes)},
    {5, offsetof(struct table_properties, key_bytes)},
    {6, offsetof(struct table_properties, value_bytes)},
    {7, offsetof(struct table_properties, data_bytes)},
    {8, offsetof(struct table_properties, history_bytes)},
    {9, offsetof(struct table_properties, index_bytes)},
    {10, offsetof(struct table_properties, filter_bytes)},
    {11, offsetof(struct table_properties, value_block_bytes)},
    {12, offsetof(struct table_properties, seq_min)},
    {13, offsetof(struct table_properties, seq_max)},
    {14, offsetof(struct table_properties, time_min)},
    {15, offsetof(struct table_properties, time_max)},
    {16, offsetof(struct table_properties, history_seq_max)},
    {17, offsetof(struct table_properties, shadow_min)},
};
enum { NUMBER_COUNT = sizeof(numbers) / sizeof(numbers[0]) };
_Static_assert(NUMBER_COUNT * sizeof(uint64_t) == sizeof(struct table_properties),
               "every property has its tag");
_Static_assert((int)NUMBER_COUNT < (int)PROPERTY_NUMBERS_END, "numbers keep to their tags");

static helios_status put_item(helios_buf *image, uint64_t tag, const void *data, size_t size)
{
    unsigned char head[2 * VARINT_MAX];
    size_t head_size = put_varint(head, tag);
    helios_status status;

    head_size += put_varint(head + head_size, size);
    status = buf_append(image, head, head_size);
    if (status != HELIOS_OK)
        return status;
    return buf_append(image, data, size);
}

static helios_status put_number(helios_buf *image, uint64_t tag, uint64_t value)
{
    unsigned char number[VARINT_MAX];

    if (value == 0)
        return HELIOS_OK;
    return put_item(image, tag, number, put_varint(number, value));
}

helios_status properties_encode(const struct table_summary *summary, helios_buf *image)
{
    helios_status status = HELIOS_OK;

    image->size = 0;
    for (int i = 0; i < NUMBER_COUNT && status == HELIOS_OK; i++) {
        uint64_t value;

        memcpy(&value, (const char *)&summary->properties + numbers[i].field, sizeof(value));
        status = put_number(image, numbers[i].tag, value);
    }
    if (status == HELIOS_OK)
        status = put_item(image, PROPERTY_SMALLEST, summary->smallest.data, summary->smallest.size);
    if (status == HELIOS_OK)
        status = put_item(image, PROPERTY_LARGEST, summary->largest.data, summary->largest.size);
    if (status == HELIOS_OK)
        status = put_number(image, PROPERTY_LARGEST_EXCLUSIVE, summary->largest_exclusive);
    if (status == HELIOS_OK && !summary->layers_many)
        status =
            put_item(image, PROPERTY_LAYERS, summary->layers, (size_t)summary->layer_count * KEY_LAYER_BYTES);
    if (status == HELIOS_OK)
        status = put_number(image, PROPERTY_LAYERS_MANY, summary->layers_many);
    return status;
}

/* False: the item is no number. */
static bool get_number(helios_slice item, uint64_t *value)
{
    struct reader r = reader_make(item.data, item.size);

    *value = read_varint(&r);
    return reader_done(&r);
}

static bool get_flag(helios_slice item, bool *flag)
{
    uint64_t value;

    if (!get_number(item, &value) || value > 1)
        return false;
    *flag = value == 1;
    return true;
}

static bool get_property(struct table_properties *properties, uint64_t tag, helios_slice item)
{
    uint64_t value;

    if (tag == 0)
        return false;
    if (tag > NUMBER_COUNT)
        return true; /* of a later writer */
    assert(numbers[tag - 1].tag == tag);
    if (!get_number(item, &value))
        return false;
    memcpy((char *)properties + numbers[tag - 1].field, &value, sizeof(value));
    return true;
}

static bool get_layers(struct table_summary *summary, helios_slice item)
{
    if (item.size % KEY_LAYER_BYTES != 0 || item.size / KEY_LAYER_BYTES > TABLE_LAYERS_MAX)
        return false;
    summary->layers = item.data;
    summary->layer_count = (uint32_t)(item.size / KEY_LAYER_BYTES);
    for (uint32_t i = 1; i < summary->layer_count; i++)
        if (memcmp(summary->layers + (i - 1) * KEY_LAYER_BYTES, summary->layers + i * KEY_LAYER_BYTES,
                   KEY_LAYER_BYTES) >= 0)
            return false;
    return true;
}

static bool get_item(struct table_summary *summary, uint64_t tag, helios_slice item)
{
    if (tag < PROPERTY_NUMBERS_END)
        return get_property(&summary->properties, tag, item);
    switch (tag) {
    case PROPERTY_SMALLEST: summary->smallest = item; return item.size <= KEY_BYTES_MAX;
    case PROPERTY_LARGEST: summary->largest = item; return item.size <= KEY_BYTES_MAX;
    case PROPERTY_LARGEST_EXCLUSIVE: return get_flag(item, &summary->largest_exclusive);
    case PROPERTY_LAYERS: return get_layers(summary, item);
    case PROPERTY_LAYERS_MANY: return get_flag(item, &summary->layers_many);
    default: return true; /* of a later writer */
    }
}

/* What the writer can never have said. */
static bool summary_possible(const struct table_summary *s)
{
    const struct table_properties *p = &s->properties;

    return s->smallest.data && s->largest.data && slice_compare(s->smallest, s->largest) <= 0 &&
           (p->entries > 0 || p->range_deletes > 0) && p->keys <= p->entries && p->tombstones <= p->entries &&
           p->seq_min > 0 && p->seq_min <= p->seq_max && p->seq_max <= SEQ_MAX &&
           p->history_seq_max <= p->seq_max && p->shadow_min <= p->seq_max &&
           s->layers_many == (s->layer_count == 0);
}

helios_status properties_decode(const void *image, size_t size, const char *path, uint64_t offset,
                                struct table_summary *summary_out)
{
    struct table_summary summary = {0};
    struct reader r = reader_make(image, size);
    uint64_t before = 0;

    while (!r.bad && reader_left(&r) > 0) {
        uint64_t tag = read_varint(&r);
        helios_slice item = read_slice(&r);

        if (tag <= before || !get_item(&summary, tag, item))
            r.bad = true;
        before = tag;
    }
    if (r.bad || !summary_possible(&summary))
        return fail_corrupt("%s: properties at %" PRIu64 ": malformed", path, offset);
    *summary_out = summary;
    return HELIOS_OK;
}

bool table_summary_has_layer(const struct table_summary *summary, helios_slice key)
{
    uint32_t low = 0, high = summary->layer_count;

    if (summary->layers_many)
        return true;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = memcmp(summary->layers + middle * KEY_LAYER_BYTES, key.data, KEY_LAYER_BYTES);

        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* ---- range deletes ---- */

enum { RANGEDELS_HEADER = 4, RANGEDEL_BYTES_MIN = 4 /* two sizes, one byte of `to`, a number */ };

helios_status rangedels_append(helios_buf *image, const struct rangedel *item)
{
    size_t size = image->size ? image->size : RANGEDELS_HEADER;
    size_t room = item->from.size + item->to.size + 3 * VARINT_MAX;
    unsigned char *at;
    helios_status status = buf_reserve(image, size + room);

    if (status != HELIOS_OK)
        return status;
    if (image->size == 0)
        put_u32(image->data, 0);
    at = (unsigned char *)image->data + size;
    at += put_varint(at, item->from.size);
    if (item->from.size)
        memcpy(at, item->from.data, item->from.size);
    at += item->from.size;
    at += put_varint(at, item->to.size);
    memcpy(at, item->to.data, item->to.size);
    at += item->to.size;
    at += put_varint(at, item->seq);
    put_u32(image->data, get_u32(image->data) + 1);
    image->size = (size_t)(at - (unsigned char *)image->data);
    return HELIOS_OK;
}

static bool read_rangedel(struct reader *r, struct rangedel *item)
{
    item->from = read_slice(r);
    item->to = read_slice(r);
    item->seq = read_varint(r);
    return !r->bad && item->from.size <= KEY_BYTES_MAX && item->to.size <= KEY_BYTES_MAX && item->seq > 0 &&
           item->seq <= SEQ_MAX && slice_compare(item->from, item->to) < 0;
}

helios_status rangedels_decode(const void *image, size_t size, const char *path, uint64_t offset,
                               struct rangedel_set **set)
{
    struct reader r = reader_make(image, size);
    uint32_t count = read_u32(&r);
    struct rangedel *items = NULL;
    bool good = count > 0 && count <= reader_left(&r) / RANGEDEL_BYTES_MIN;
    helios_status status;

    if (good) {
        items = mem_array(count, sizeof(*items));
        if (!items)
            return fail_no_memory(count * sizeof(*items));
    }
    for (uint32_t i = 0; good && i < count; i++)
        good = read_rangedel(&r, &items[i]);
    if (good && reader_done(&r))
        status = rangedel_build(items, count, set);
    else
        status = fail_corrupt("%s: range deletes at %" PRIu64 ": malformed", path, offset);
    mem_free(items);
    return status;
}
