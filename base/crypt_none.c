/* crypt_none.c - crypt.h where the library is built without libcrypto: there is no struct crypt, and so no file of one. */
#include "base/crypt.h"
#include "base/mem.h"
#include <assert.h>
#include <string.h>

static helios_status fail_none(void)
{
    return fail(HELIOS_UNSUPPORTED, "encryption: this library was built without libcrypto");
}

helios_status crypt_new(helios_status (*random)(void *arg, void *data, size_t size), void *arg,
                        struct crypt **out)
{
    return fail_none();
}

void crypt_free(struct crypt *crypt)
{
    assert(!crypt);
}

helios_status crypt_key_add(struct crypt *crypt, uint32_t id, const unsigned char key[CRYPT_KEY_SIZE])
{
    return fail_none();
}

void crypt_key_use(struct crypt *crypt, uint32_t id) {}

bool crypt_key_remove(struct crypt *crypt, uint32_t id)
{
    return false;
}

uint32_t crypt_key_current(struct crypt *crypt)
{
    return 0;
}

size_t crypt_keys(struct crypt *crypt, uint32_t *ids, unsigned char (*keys)[CRYPT_KEY_SIZE])
{
    return 0;
}

helios_status crypt_file_begin(struct crypt *crypt, struct file_header *header, const char *magic,
                               struct crypt_file *file)
{
    *file = (struct crypt_file){0};
    return crypt ? fail_none() : HELIOS_OK;
}

helios_status crypt_file_open(struct crypt *crypt, const struct file_header *header, const char *magic,
                              const char *path, struct crypt_file *file)
{
    *file = (struct crypt_file){0};
    return header->flags & FILE_ENCRYPTED ? fail_none() : HELIOS_OK;
}

helios_status crypt_file_derive(struct crypt *crypt, const unsigned char key[CRYPT_KEY_SIZE],
                                const struct file_header *header, const char *magic, struct crypt_file *file)
{
    return fail_none();
}

void crypt_file_release(struct crypt_file *file) {}

helios_status crypt_seal(const struct crypt_file *file, uint64_t offset, helios_slice bound,
                         const helios_slice *pieces, size_t count, void *out)
{
    return fail_none();
}

helios_status crypt_open(const struct crypt_file *file, uint64_t offset, helios_slice bound, const void *sealed,
                         size_t size, void *out, bool *right)
{
    *right = false;
    return fail_none();
}

helios_status crypt_stream_begin(struct crypt_stream *stream, const struct crypt_file *file, uint64_t offset,
                                 helios_slice bound)
{
    return fail_none();
}

helios_status crypt_stream_put(struct crypt_stream *stream, helios_slice piece, void *out)
{
    return fail_none();
}

helios_status crypt_stream_end(struct crypt_stream *stream, unsigned char tag[CRYPT_TAG_SIZE])
{
    return fail_none();
}

helios_status crypt_password_key(helios_slice password, helios_slice salt, const struct crypt_scrypt *scrypt,
                                 unsigned char key[CRYPT_KEY_SIZE])
{
    return fail_none();
}

void crypt_wipe(void *data, size_t size)
{
    memset(data, 0, size);
}
