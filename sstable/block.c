/* block.c - a block in memory: checked once when it is loaded, then searched without decoding. Called
 * by the open table, its cursors and the cache. The image is a stranger's until block_open has passed;
 * after that every access stays within it, whatever the bytes are. */
#include "sstable/block.h"
#include <inttypes.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

_Static_assert(BLOCK_SEQ_BASE + 8 == BLOCK_HEADER_SIZE, "the base is the header's last field");

/* ---- checking ---- */

/* Why an image is refused; NULL: it is not. */
static const char *read_header(const unsigned char *image, size_t size, struct block *b)
{
    if (size < BLOCK_HEADER_SIZE)
        return "shorter than its header";
    b->image = image;
    b->count = get_u32(image + BLOCK_COUNT);
    b->size = get_u32(image + BLOCK_SIZE);
    b->shared_size = get_u32(image + BLOCK_SHARED);
    b->offset_width = image[BLOCK_OFFSET_WIDTH];
    b->seq_width = image[BLOCK_SEQ_WIDTH];
    b->seq_base = get_u64(image + BLOCK_SEQ_BASE);
    if (b->size != size)
        return "wrong size";
    if (b->count == 0)
        return "no entries";
    if (b->offset_width != 2 && b->offset_width != 4)
        return "bad offset width";
    if (b->seq_width > 8 || b->seq_base == 0 || b->seq_base > SEQ_MAX)
        return "bad versions";
    if (get_u16(image + BLOCK_ZERO) != 0)
        return "bytes set that must be zero";
    if (b->shared_size > KEY_BYTES_MAX)
        return "shared prefix too long";
    return NULL;
}

/* The header is good: place the arrays, which must fill the image exactly. */
static const char *place_arrays(struct block *b)
{
    uint64_t fixed = BLOCK_HEADER_SIZE + (uint64_t)b->shared_size +
                     (uint64_t)b->count * (2u * b->offset_width + 2u + b->seq_width);
    size_t count = b->count, ends = count * b->offset_width;

    if (fixed > b->size)
        return "arrays reach past the end";
    b->shared = b->image + BLOCK_HEADER_SIZE;
    b->key_ends = b->shared + b->shared_size;
    b->value_ends = b->key_ends + ends;
    b->kinds = b->value_ends + ends;
    b->hashes = b->kinds + count;
    b->versions = b->hashes + count;
    b->keys = b->image + fixed;
    b->values = b->keys + block_end_(b->key_ends, b->count - 1, b->offset_width);
    fixed += (uint64_t)block_end_(b->key_ends, b->count - 1, b->offset_width) +
             block_end_(b->value_ends, b->count - 1, b->offset_width);
    return fixed == b->size ? NULL : "keys and values do not fill it";
}

/* Ends never go back; as the last one is within the image, then all are. */
static inline bool ends_ordered(const unsigned char *ends, uint32_t count, uint8_t width)
{
    bool bad = false;

    for (uint32_t i = 1; i < count; i++)
        bad |= block_end_(ends, i, width) < block_end_(ends, i - 1, width);
    return !bad;
}

static bool kinds_known(const struct block *b, bool versions)
{
    uint8_t allowed = versions ? BLOCK_LARGE : BLOCK_LARGE | BLOCK_HAS_HISTORY;
    bool bad = false;

    for (uint32_t i = 0; i < b->count; i++) {
        uint8_t kind = b->kinds[i] & BLOCK_KIND_MASK, flags = b->kinds[i] & (uint8_t)~BLOCK_KIND_MASK;

        bad |= (kind != KIND_VALUE && kind != KIND_TOMBSTONE) || (flags & (uint8_t)~allowed);
        bad |= kind == KIND_TOMBSTONE && (flags & BLOCK_LARGE);
    }
    return !bad;
}

static bool large_values_are_handles(const struct block *b)
{
    uint8_t flags = 0;

    for (uint32_t i = 0; i < b->count; i++)
        flags |= b->kinds[i];
    if (!(flags & BLOCK_LARGE))
        return true;
    for (uint32_t i = 0; i < b->count; i++)
        if ((b->kinds[i] & BLOCK_LARGE) && block_value(b, i).size != BLOCK_LARGE_SIZE)
            return false;
    return true;
}

/* block_seq() without the fear of overflow: a delta may be anything here. */
static bool versions_valid(const struct block *b)
{
    helios_seq room = SEQ_MAX - b->seq_base;
    bool bad = false;

    if (b->seq_width < 8 && (UINT64_C(1) << 8 * b->seq_width) - 1 <= room)
        return true; /* whatever the deltas are */
    for (uint32_t i = 0; i < b->count; i++)
        bad |= block_seq(b, i) - b->seq_base > room;
    return !bad;
}

/* Whether the first eight bytes of each suffix, zero-filled, are above those of the one before: as all blocks are whose
 * keys differ early. Without a branch in the loop, which is most of what opening a block takes. The ends are in order. */
static inline bool prefixes_ascend(const struct block *b, uint8_t width)
{
    size_t suffix_max = KEY_BYTES_MAX - b->shared_size;
    uint64_t before = 0;
    uint32_t from = 0;
    bool bad = false;

    if (b->image + b->size - b->values < 8) /* eight bytes may be loaded from any suffix on */
        return false;
    for (uint32_t i = 0; i < b->count; i++) {
        uint32_t end = block_end_(b->key_ends, i, width), size = end - from;
        uint64_t mask = size < 8 ? ~(UINT64_MAX >> 8 * size) : UINT64_MAX, prefix;

        prefix = get_u64_be(b->keys + from) & mask;
        bad |= (size > suffix_max) | ((i > 0) & (prefix <= before));
        before = prefix;
        from = end;
    }
    return !bad;
}

/* Equal keys are rare in a data block (they are damage) and usual in a history block. */
static const char *check_keys(const struct block *b, bool versions)
{
    size_t suffix_max = KEY_BYTES_MAX - b->shared_size;
    helios_slice before = block_suffix(b, 0);
    uint64_t before_prefix = key_prefix(before, 0);

    if (before.size > suffix_max)
        return "key too long";
    for (uint32_t i = 1; i < b->count; i++) {
        helios_slice suffix = block_suffix(b, i);
        uint64_t prefix = key_prefix(suffix, 0);
        int order = before_prefix < prefix ? -1 : before_prefix > prefix ? 1 : slice_compare(before, suffix);

        if (suffix.size > suffix_max)
            return "key too long";
        if (order > 0 || (order == 0 && (!versions || block_tag(b, i - 1) <= block_tag(b, i))))
            return "entries out of order";
        before = suffix;
        before_prefix = prefix;
    }
    return NULL;
}

static const char *check_entries(const struct block *b, bool versions)
{
    bool ordered = b->offset_width == 2
                       ? ends_ordered(b->key_ends, b->count, 2) && ends_ordered(b->value_ends, b->count, 2)
                       : ends_ordered(b->key_ends, b->count, 4) && ends_ordered(b->value_ends, b->count, 4);

    if (!ordered)
        return "ends out of order";
    if (!kinds_known(b, versions))
        return "unknown kind";
    if (!large_values_are_handles(b))
        return "a large value without a handle";
    if (!versions_valid(b))
        return "version too large";
    if (b->offset_width == 2 ? prefixes_ascend(b, 2) : prefixes_ascend(b, 4))
        return NULL;
    return check_keys(b, versions);
}

helios_status block_open(const void *image, size_t size, bool versions, const char *path, uint64_t offset,
                         struct block *block)
{
    struct block b;
    const char *wrong = read_header(image, size, &b);

    if (!wrong)
        wrong = place_arrays(&b);
    if (!wrong)
        wrong = check_entries(&b, versions);
    if (wrong)
        return fail_corrupt("%s: block at %" PRIu64 ": %s", path, offset, wrong);
    *block = b;
    return HELIOS_OK;
}

/* ---- searching ---- */

/* Where the shared bytes put the key: below all entries, above all, or among them. */
static int compare_shared(const struct block *b, helios_slice key)
{
    size_t common = key.size < b->shared_size ? key.size : b->shared_size;
    int order = memcmp(key.data, b->shared, common);

    if (order != 0)
        return order;
    return key.size < b->shared_size ? -1 : 0;
}

/* Is entry i before (key, tag)? rest: the key behind the shared bytes; prefix: its first eight. */
static inline bool entry_before(const struct block *b, uint32_t i, helios_slice rest, uint64_t prefix,
                                uint64_t tag)
{
    helios_slice suffix = block_suffix(b, i);
    uint64_t entry_prefix = key_prefix(suffix, 0);
    int order;

    if (entry_prefix != prefix)
        return entry_prefix < prefix;
    order = slice_compare(suffix, rest);
    return order < 0 || (order == 0 && block_tag(b, i) > tag);
}

/* Among `count` entries from low on. Branches on purpose: with conditional moves the loads of a step wait for
 * the one before, and it measured a quarter slower. */
static inline uint32_t lower_bound_among(const struct block *b, uint32_t low, uint32_t count, helios_slice rest,
                                         uint64_t prefix, uint64_t tag)
{
    while (count > 0) {
        uint32_t half = count / 2;

        if (entry_before(b, low + half, rest, prefix, tag)) {
            low += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return low;
}

uint32_t block_lower_bound(const struct block *b, helios_slice key, uint64_t tag)
{
    int order = compare_shared(b, key);
    helios_slice rest;

    if (order != 0)
        return order < 0 ? 0 : b->count;
    rest = slice_make(slice_bytes(key) + b->shared_size, key.size - b->shared_size);
    return lower_bound_among(b, 0, b->count, rest, key_prefix(rest, 0), tag);
}

/* In steps that double, away from `near`, then among what lies between the last two. */
uint32_t block_lower_bound_near(const struct block *b, helios_slice key, uint64_t tag, uint32_t near)
{
    int order = compare_shared(b, key);
    uint32_t low = 0, high = b->count, step = 1;
    helios_slice rest;
    uint64_t prefix;

    if (order != 0)
        return order < 0 ? 0 : b->count;
    rest = slice_make(slice_bytes(key) + b->shared_size, key.size - b->shared_size);
    prefix = key_prefix(rest, 0);
    if (near < b->count && entry_before(b, near, rest, prefix, tag)) {
        low = near + 1;
        for (uint32_t at = low; at < b->count; at += step, step *= 2) {
            if (!entry_before(b, at, rest, prefix, tag)) {
                high = at;
                break;
            }
            low = at + 1;
        }
    } else {
        high = near;
        for (uint32_t at = near; at > 0; step *= 2) {
            at = near > step ? near - step : 0;
            if (entry_before(b, at, rest, prefix, tag)) {
                low = at + 1;
                break;
            }
            high = at;
        }
    }
    return lower_bound_among(b, low, high - low, rest, prefix, tag);
}

#if defined(__SSE2__)
/* Bit i: at[i] == byte, for 16 bytes. */
static inline uint32_t match_16(const unsigned char *at, uint8_t byte)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);

    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8((char)byte)));
}
#else
static inline uint32_t match_16(const unsigned char *at, uint8_t byte)
{
    uint32_t matches = 0;

    for (uint32_t i = 0; i < 16; i++)
        matches |= (uint32_t)(at[i] == byte) << i;
    return matches;
}
#endif

/* Matches among the hashes [i, i + 16), those past the last one left out. The load may reach behind the
 * hashes but not behind the image. */
static inline uint32_t match_hashes(const struct block *b, uint32_t i, uint8_t byte)
{
    const unsigned char *at = b->hashes + i;
    uint32_t left = b->count - i, matches = 0;

    if (b->image + b->size - at >= 16)
        return match_16(at, byte) & (left < 16 ? (1u << left) - 1 : UINT32_MAX);
    for (uint32_t k = 0; k < left; k++)
        matches |= (uint32_t)(at[k] == byte) << k;
    return matches;
}

static inline bool key_is(const struct block *b, uint32_t i, helios_slice key)
{
    helios_slice suffix = block_suffix(b, i);

    return key.size == b->shared_size + suffix.size &&
           memcmp(slice_bytes(key) + b->shared_size, suffix.data, suffix.size) == 0 &&
           memcmp(key.data, b->shared, b->shared_size) == 0;
}

uint32_t block_find(const struct block *b, helios_slice key, uint64_t hash)
{
    uint8_t byte = (uint8_t)(hash >> 56);

    for (uint32_t i = 0; i < b->count; i += 16) {
        uint32_t matches = match_hashes(b, i, byte);

        for (; matches; matches &= matches - 1) {
            uint32_t at = i + (uint32_t)__builtin_ctz(matches);

            if (key_is(b, at, key))
                return at;
        }
    }
    return b->count;
}
