/* consumer_entries.c - the two entries of a consumer, little-endian:
 *
 *   'C' | name    0         1       2         10
 *                 | version | flags | created |
 *   'c' | name    0         1       9        17
 *                 | version | acked | active |     */
#include "engine/consumer_entries.h"
#include "base/coding.h"
#include <string.h>

enum {
    CONSUMER_VERSION = 0,
    CONSUMER_FLAGS = 1,
    CONSUMER_CREATED = 2,
    POSITION_VERSION = 0,
    POSITION_ACKED = 1,
    POSITION_ACTIVE = 9,
    VERSION_NOW = 1,
    FLAG_BEFORE_IMAGES = 1,
};
_Static_assert(CONSUMER_SIZE == CONSUMER_CREATED + 8, "it ends with its creation");
_Static_assert(POSITION_SIZE == POSITION_ACTIVE + 8, "it ends with its last activity");

helios_slice consumer_key_of(struct consumer_key *key, unsigned char kind, const char *name)
{
    size_t size = strlen(name);

    key->bytes[0] = kind;
    memcpy(key->bytes + 1, name, size);
    return slice_make(key->bytes, size + 1);
}

helios_slice consumer_encode(unsigned char out[CONSUMER_SIZE], const struct consumer_record *record)
{
    out[CONSUMER_VERSION] = VERSION_NOW;
    out[CONSUMER_FLAGS] = record->before_images ? FLAG_BEFORE_IMAGES : 0;
    put_u64(out + CONSUMER_CREATED, record->created);
    return slice_make(out, CONSUMER_SIZE);
}

helios_slice position_encode(unsigned char out[POSITION_SIZE], const struct position_record *record)
{
    out[POSITION_VERSION] = VERSION_NOW;
    put_u64(out + POSITION_ACKED, record->acked);
    put_u64(out + POSITION_ACTIVE, record->active);
    return slice_make(out, POSITION_SIZE);
}

helios_seq position_acked(helios_slice value)
{
    return get_u64(slice_bytes(value) + POSITION_ACKED);
}

helios_status consumer_entry_damaged(const char *path, helios_slice key, helios_slice value)
{
    return fail_corrupt("%s: a consumer's entry of %zu and %zu bytes that is none", path, key.size, value.size);
}

static helios_status check(const char *path, helios_slice key, helios_slice value, size_t wanted)
{
    helios_slice name = consumer_name(key);

    if (value.size < 1 || !is_name(name.data, name.size))
        return consumer_entry_damaged(path, key, value);
    if (slice_bytes(value)[0] != VERSION_NOW)
        return fail(HELIOS_UNSUPPORTED, "%s: a consumer's entry of version %u; this library knows version %u",
                    path, slice_bytes(value)[0], VERSION_NOW);
    return value.size == wanted ? HELIOS_OK : consumer_entry_damaged(path, key, value);
}

helios_status consumer_decode(const char *path, helios_slice key, helios_slice value,
                              struct consumer_record *record)
{
    const unsigned char *in = value.data;
    helios_status status = check(path, key, value, CONSUMER_SIZE);

    if (status == HELIOS_OK && in[CONSUMER_FLAGS] & ~FLAG_BEFORE_IMAGES)
        status = consumer_entry_damaged(path, key, value);
    if (status != HELIOS_OK)
        return status;
    *record = (struct consumer_record){in[CONSUMER_FLAGS] & FLAG_BEFORE_IMAGES, get_u64(in + CONSUMER_CREATED)};
    return HELIOS_OK;
}

helios_status position_decode(const char *path, helios_slice key, helios_slice value,
                              struct position_record *record)
{
    const unsigned char *in = value.data;
    helios_status status = check(path, key, value, POSITION_SIZE);

    if (status != HELIOS_OK)
        return status;
    *record = (struct position_record){get_u64(in + POSITION_ACKED), get_u64(in + POSITION_ACTIVE)};
    return HELIOS_OK;
}
