/* file_header.c - the first 64 bytes of every file; the drawing is in file_header.h. */
#include "base/file_header.h"
#include "base/coding.h"
#include "base/hash.h"
#include <assert.h>

_Static_assert(FILE_VERSION == FILE_MAGIC + FILE_MAGIC_SIZE, "the magic is followed by the version");
_Static_assert(FILE_NUMBER == FILE_ID + FILE_ID_SIZE, "the id is followed by the number");
_Static_assert(FILE_DRAW == FILE_KEY_ID + 4 && FILE_XXH3 == FILE_DRAW + FILE_DRAW_SIZE,
               "the key ends at the checksum");
_Static_assert(FILE_HEADER_SIZE == FILE_XXH3 + 8, "the checksum covers all fields before");

uint64_t file_salt(const unsigned char id[FILE_ID_SIZE])
{
    return hash_bytes(id, FILE_ID_SIZE);
}

void file_header_encode(const struct file_header *header, const char *magic,
                        unsigned char out[FILE_HEADER_SIZE])
{
    assert(strlen(magic) == FILE_MAGIC_SIZE);
    memset(out, 0, FILE_HEADER_SIZE);
    memcpy(out + FILE_MAGIC, magic, FILE_MAGIC_SIZE);
    put_u32(out + FILE_VERSION, FORMAT_VERSION);
    put_u32(out + FILE_FLAGS, header->flags);
    memcpy(out + FILE_ID, header->id, FILE_ID_SIZE);
    put_u64(out + FILE_NUMBER, header->number);
    if (header->flags & FILE_ENCRYPTED) {
        put_u32(out + FILE_KEY_ID, header->key_id);
        memcpy(out + FILE_DRAW, header->draw, FILE_DRAW_SIZE);
    }
    put_u64(out + FILE_XXH3, hash_bytes(out, FILE_XXH3));
}

/* The checksum comes before version and flags: it keeps its place in every version, and so a flipped
 * bit is told from a newer format. */
helios_status file_header_decode(const unsigned char in[FILE_HEADER_SIZE], const char *magic, const char *path,
                                 struct file_header *header)
{
    uint32_t flags;

    assert(strlen(magic) == FILE_MAGIC_SIZE);
    if (memcmp(in + FILE_MAGIC, magic, FILE_MAGIC_SIZE) != 0)
        return fail_corrupt("%s: header at 0: does not begin with %s", path, magic);
    if (get_u64(in + FILE_XXH3) != hash_bytes(in, FILE_XXH3))
        return fail_corrupt("%s: header at 0: bad checksum", path);
    if (get_u32(in + FILE_VERSION) != FORMAT_VERSION)
        return fail(HELIOS_UNSUPPORTED, "%s: format version %u, only %u is known", path,
                    get_u32(in + FILE_VERSION), (unsigned)FORMAT_VERSION);
    flags = get_u32(in + FILE_FLAGS);
    if (flags & ~(uint32_t)FILE_ENCRYPTED)
        return fail(HELIOS_UNSUPPORTED, "%s: unknown feature flags 0x%x", path, flags);
    *header = (struct file_header){.flags = flags, .number = get_u64(in + FILE_NUMBER)};
    if (flags & FILE_ENCRYPTED) {
        header->key_id = get_u32(in + FILE_KEY_ID);
        memcpy(header->draw, in + FILE_DRAW, FILE_DRAW_SIZE);
    }
    memcpy(header->id, in + FILE_ID, FILE_ID_SIZE);
    header->salt = file_salt(header->id);
    return HELIOS_OK;
}
