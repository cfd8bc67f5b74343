/* block_seal.c - a block of any type on disk: compression and trailer; the drawing is in block.h.
 * Called by the table writer (sealing), by the open table and the cache (reading). The compressors
 * keep their own memory: zstd's contexts come from zstd's allocator. */
#include "base/buf.h"
#include "base/file_header.h"
#include "base/hash.h"
#include "base/mem.h"
#include "sstable/block.h"
#include <assert.h>
#include <inttypes.h>
#include <lz4.h>
#include <stdatomic.h>
#include <zstd.h>
#include <zstd_errors.h>

enum {
    TRAILER_COMPRESSION = 0,
    TRAILER_TYPE = 1,
    TRAILER_ZERO = 2,
    TRAILER_SIZE = 4,
    TRAILER_XXH3 = 8,
    CACHE_LINE = 64,
    SMALL_SEALED = 20 * 1024, /* read onto the stack: a usual block needs no allocation but its image */
    ZSTD_LEVEL_DEFAULT = 3,
};
_Static_assert(TRAILER_XXH3 + 8 == BLOCK_TRAILER_SIZE, "the checksum ends the trailer");

/* ---- sealing ---- */

void block_compressor_release(struct block_compressor *compressor)
{
    ZSTD_freeCCtx(compressor->zstd);
    compressor->zstd = NULL;
}

static helios_status fail_zstd(size_t code, const char *what)
{
    if (ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation)
        return fail(HELIOS_NO_MEMORY, "zstd: no memory to %s", what);
    return fail(HELIOS_INVALID, "zstd: cannot %s: %s", what, ZSTD_getErrorName(code));
}

/* Sets *stored to 0 if the block does not fit into `room`. */
static helios_status seal_zstd(struct block_compressor *compressor, helios_slice image, char *at, size_t room,
                               size_t *stored)
{
    int level = compressor->level ? compressor->level : ZSTD_LEVEL_DEFAULT;
    size_t size;

    if (!compressor->zstd)
        compressor->zstd = ZSTD_createCCtx();
    if (!compressor->zstd)
        return fail(HELIOS_NO_MEMORY, "zstd: no memory to compress");
    size = ZSTD_compressCCtx(compressor->zstd, at, room, image.data, image.size, level);
    if (!ZSTD_isError(size)) {
        *stored = size;
        return HELIOS_OK;
    }
    *stored = 0;
    if (ZSTD_getErrorCode(size) == ZSTD_error_dstSize_tooSmall)
        return HELIOS_OK;
    return fail_zstd(size, "compress");
}

static size_t seal_lz4(helios_slice image, char *at, size_t room)
{
    if (image.size > LZ4_MAX_INPUT_SIZE)
        return 0;
    return (size_t)LZ4_compress_default(image.data, at, (int)image.size, (int)room);
}

/* The stored bytes at `at`, which has room for the image. Only what saves an eighth is worth decoding:
 * the compressors get no more room than that and give up early. */
static helios_status store(struct block_compressor *compressor, helios_slice image, char *at, size_t *stored,
                           helios_compression *compression)
{
    size_t room = image.size - image.size / 8;
    helios_status status = HELIOS_OK;

    *stored = 0;
    *compression = compressor->compression;
    if (*compression == HELIOS_COMPRESSION_LZ4)
        *stored = seal_lz4(image, at, room);
    else if (*compression == HELIOS_COMPRESSION_ZSTD)
        status = seal_zstd(compressor, image, at, room, stored);
    if (status != HELIOS_OK || *stored > 0)
        return status;
    memcpy(at, image.data, image.size);
    *stored = image.size;
    *compression = HELIOS_COMPRESSION_NONE;
    return HELIOS_OK;
}

/* The trailer without its checksum: what encryption binds to the block. */
static void put_facts(unsigned char facts[TRAILER_XXH3], helios_compression compression, enum block_type type,
                      uint32_t size)
{
    facts[TRAILER_COMPRESSION] = (unsigned char)compression;
    facts[TRAILER_TYPE] = (unsigned char)type;
    put_u16(facts + TRAILER_ZERO, 0);
    put_u32(facts + TRAILER_SIZE, size);
}

/* The stored bytes at `at` where they stand; *stored grows by the tag. */
static helios_status encrypt(const struct crypt_file *crypt, uint64_t offset,
                             const unsigned char facts[TRAILER_XXH3], char *at, size_t *stored)
{
    const helios_slice plain = slice_make(at, *stored);

    if (!crypt_is_on(crypt))
        return HELIOS_OK;
    *stored += CRYPT_TAG_SIZE;
    return crypt_seal(crypt, offset, slice_make(facts, TRAILER_XXH3), &plain, 1, at);
}

helios_status block_seal_append(struct block_compressor *compressor, helios_slice image, enum block_type type,
                                uint64_t salt, const struct crypt_file *crypt, uint64_t offset, helios_buf *out,
                                struct block_handle *handle)
{
    helios_compression compression = HELIOS_COMPRESSION_NONE;
    unsigned char facts[TRAILER_XXH3];
    size_t stored;
    char *at;
    helios_status status;

    assert(image.size > 0);
    assert(image.size <= UINT32_MAX - BLOCK_TRAILER_SIZE - CRYPT_TAG_SIZE);
    status = buf_reserve(out, out->size + image.size + crypt_overhead(crypt) + BLOCK_TRAILER_SIZE);
    if (status != HELIOS_OK)
        return status;
    at = out->data + out->size;
    status = store(compressor, image, at, &stored, &compression);
    if (status != HELIOS_OK)
        return status;
    put_facts(facts, compression, type, (uint32_t)image.size);
    status = encrypt(crypt, offset, facts, at, &stored);
    if (status != HELIOS_OK)
        return status;
    memcpy(at + stored, facts, sizeof(facts));
    put_u64(at + stored + TRAILER_XXH3, checksum(at, stored + TRAILER_XXH3, salt, offset));
    out->size += stored + BLOCK_TRAILER_SIZE;
    *handle = (struct block_handle){offset, (uint32_t)stored, (uint32_t)image.size};
    return HELIOS_OK;
}

helios_status block_seal(helios_slice image, enum block_type type, helios_compression compression, int level,
                         uint64_t salt, uint64_t offset, helios_buf *out)
{
    struct block_compressor compressor = {compression, level, NULL};
    struct block_handle handle;
    helios_status status;

    out->size = 0;
    status = block_seal_append(&compressor, image, type, salt, NULL, offset, out, &handle);
    block_compressor_release(&compressor);
    return status;
}

/* ---- reading ---- */

static bool size_allowed(uint32_t size, enum block_type type)
{
    if (type == BLOCK_FILTER)
        return true; /* stored as it is, so the file's size limits it */
    return size <= (type == BLOCK_VALUE ? VALUE_BYTES_MAX : BLOCK_IMAGE_MAX);
}

helios_status block_check_handle(const struct block_handle *handle, enum block_type type, uint64_t file_size,
                                 const char *path)
{
    uint64_t bytes = (uint64_t)handle->stored + BLOCK_TRAILER_SIZE;

    if (handle->offset < FILE_HEADER_SIZE || handle->stored == 0 ||
        handle->stored > (uint64_t)handle->size + CRYPT_TAG_SIZE || !size_allowed(handle->size, type) ||
        bytes > file_size || handle->offset > file_size - bytes)
        return fail_corrupt("%s: block at %" PRIu64 ": no block of %u bytes (%u in memory) can be there", path,
                            handle->offset, handle->stored, handle->size);
    return HELIOS_OK;
}

static const char *trailer_wrong(const unsigned char *trailer, const struct block_handle *handle,
                                 enum block_type type, size_t overhead)
{
    uint8_t compression = trailer[TRAILER_COMPRESSION];

    if (trailer[TRAILER_TYPE] != type)
        return "is of another type";
    if (get_u32(trailer + TRAILER_SIZE) != handle->size)
        return "size differs from its index entry";
    if (get_u16(trailer + TRAILER_ZERO) != 0)
        return "bytes set that must be zero";
    if (compression > HELIOS_COMPRESSION_ZSTD)
        return "unknown compression";
    if (handle->stored <= overhead || handle->stored - overhead > handle->size ||
        (compression == HELIOS_COMPRESSION_NONE) != (handle->stored - overhead == handle->size))
        return "stored size does not fit its compression";
    if (compression != HELIOS_COMPRESSION_NONE && type == BLOCK_FILTER)
        return "a compressed filter";
    return NULL;
}

helios_status block_check_sealed(const void *sealed, const struct block_handle *handle, enum block_type type,
                                 uint64_t salt, const struct crypt_file *crypt, const char *path,
                                 helios_compression *compression)
{
    const unsigned char *trailer = (const unsigned char *)sealed + handle->stored;
    const char *wrong = NULL;

    if (checksum(sealed, (size_t)handle->stored + TRAILER_XXH3, salt, handle->offset) !=
        get_u64(trailer + TRAILER_XXH3))
        wrong = "bad checksum";
    else
        wrong = trailer_wrong(trailer, handle, type, crypt_overhead(crypt));
    if (wrong)
        return fail_corrupt("%s: block at %" PRIu64 ": %s", path, handle->offset, wrong);
    *compression = (helios_compression)trailer[TRAILER_COMPRESSION];
    return HELIOS_OK;
}

/* A context of zstd is costly to make: a few are kept between calls, whoever comes takes one. */
enum { SPARE_CONTEXTS = 4 };
static _Atomic(ZSTD_DCtx *) spare_contexts[SPARE_CONTEXTS];

static ZSTD_DCtx *context_take(void)
{
    for (int i = 0; i < SPARE_CONTEXTS; i++) {
        ZSTD_DCtx *context = atomic_exchange(&spare_contexts[i], NULL);

        if (context)
            return context;
    }
    return ZSTD_createDCtx();
}

static void context_put(ZSTD_DCtx *context)
{
    for (int i = 0; i < SPARE_CONTEXTS; i++) {
        ZSTD_DCtx *none = NULL;

        if (atomic_compare_exchange_strong(&spare_contexts[i], &none, context))
            return;
    }
    ZSTD_freeDCtx(context);
}

static helios_status expand_zstd(const void *stored, const struct block_handle *handle, void *image,
                                 bool *right)
{
    ZSTD_DCtx *context = context_take();
    size_t size;

    if (!context)
        return fail(HELIOS_NO_MEMORY, "zstd: no memory to decompress");
    size = ZSTD_decompressDCtx(context, image, handle->size, stored, handle->stored);
    context_put(context);
    if (ZSTD_isError(size) && ZSTD_getErrorCode(size) == ZSTD_error_memory_allocation)
        return fail_zstd(size, "decompress");
    *right = !ZSTD_isError(size) && size == handle->size;
    return HELIOS_OK;
}

static bool expand_lz4(const void *stored, const struct block_handle *handle, void *image)
{
    if (handle->stored > INT32_MAX || handle->size > INT32_MAX)
        return false;
    return LZ4_decompress_safe(stored, image, (int)handle->stored, (int)handle->size) == (int)handle->size;
}

helios_status block_expand(const void *stored, const struct block_handle *handle,
                           helios_compression compression, const char *path, void *image)
{
    helios_status status = HELIOS_OK;
    bool right = false;

    if (compression == HELIOS_COMPRESSION_LZ4) {
        right = expand_lz4(stored, handle, image);
    } else if (compression == HELIOS_COMPRESSION_ZSTD) {
        status = expand_zstd(stored, handle, image, &right);
    } else if (handle->stored == handle->size) {
        memcpy(image, stored, handle->size);
        right = true;
    }
    if (status == HELIOS_OK && !right)
        return fail_corrupt("%s: block at %" PRIu64 ": does not decompress", path, handle->offset);
    return status;
}

/* The sealed block was checked. Stored as it is: straight to where it is wanted. */
static helios_status decrypt(const unsigned char *sealed, const struct block_handle *handle,
                             const struct crypt_file *crypt, const char *path, void *out)
{
    bool right;
    helios_status status = crypt_open(crypt, handle->offset, slice_make(sealed + handle->stored, TRAILER_XXH3),
                                      sealed, handle->stored, out, &right);

    if (status == HELIOS_OK && !right)
        return fail_corrupt("%s: block at %" PRIu64 ": not what was encrypted there", path, handle->offset);
    return status;
}

static helios_status expand_checked(const void *sealed, const struct block_handle *handle,
                                    const struct crypt_file *crypt, const char *path,
                                    helios_compression compression, void *room, void *image)
{
    struct block_handle plain = *handle;
    helios_status status;

    if (!crypt_is_on(crypt))
        return block_expand(sealed, handle, compression, path, image);
    if (compression == HELIOS_COMPRESSION_NONE)
        return decrypt(sealed, handle, crypt, path, image);
    plain.stored -= CRYPT_TAG_SIZE;
    status = decrypt(sealed, handle, crypt, path, room);
    return status == HELIOS_OK ? block_expand(room, &plain, compression, path, image) : status;
}

helios_status block_unseal(const void *sealed, const struct block_handle *handle, enum block_type type,
                           uint64_t salt, const struct crypt_file *crypt, const char *path, void *room,
                           void *image, helios_compression *compression)
{
    helios_status status = block_check_sealed(sealed, handle, type, salt, crypt, path, compression);

    return status == HELIOS_OK ? expand_checked(sealed, handle, crypt, path, *compression, room, image)
                               : status;
}

static void *image_alloc(enum block_type type, size_t size)
{
    return type == BLOCK_FILTER ? mem_aligned(CACHE_LINE, size) : mem_alloc(size);
}

/* The sealed bytes were read and may be written to: an image of its own. They are checked first: only then is the
 * size believed. */
static helios_status expand_new(void *sealed, uint64_t salt, const struct crypt_file *crypt,
                                const struct block_handle *handle, enum block_type type, const char *path,
                                void **image_out)
{
    helios_compression compression = HELIOS_COMPRESSION_NONE;
    helios_status status = block_check_sealed(sealed, handle, type, salt, crypt, path, &compression);
    void *image;

    if (status != HELIOS_OK)
        return status;
    image = image_alloc(type, handle->size);
    if (!image)
        return fail_no_memory(handle->size);
    status = expand_checked(sealed, handle, crypt, path, compression, sealed, image);
    if (status != HELIOS_OK) {
        mem_free(image);
        return status;
    }
    *image_out = image;
    return HELIOS_OK;
}

static bool is_plain(const struct crypt_file *crypt, const struct block_handle *handle)
{
    return !crypt_is_on(crypt) && handle->stored == handle->size;
}

static helios_status read_small(struct io_file *file, uint64_t salt, const struct crypt_file *crypt,
                                const struct block_handle *handle, enum block_type type, void **image)
{
    char sealed[SMALL_SEALED];
    helios_status status = io_read(file, handle->offset, sealed, handle->stored + BLOCK_TRAILER_SIZE);

    if (status != HELIOS_OK)
        return status;
    return expand_new(sealed, salt, crypt, handle, type, io_path(file), image);
}

/* The sealed bytes of an uncompressed block that is not encrypted are the image, with the trailer behind it. */
static helios_status read_plain(struct io_file *file, uint64_t salt, const struct block_handle *handle,
                                enum block_type type, void *sealed)
{
    helios_compression compression = HELIOS_COMPRESSION_NONE;
    helios_status status = io_read(file, handle->offset, sealed, (size_t)handle->stored + BLOCK_TRAILER_SIZE);

    if (status != HELIOS_OK)
        return status;
    return block_check_sealed(sealed, handle, type, salt, NULL, io_path(file), &compression);
}

static helios_status read_big(struct io_file *file, uint64_t salt, const struct crypt_file *crypt,
                              const struct block_handle *handle, enum block_type type, void **image)
{
    size_t bytes = (size_t)handle->stored + BLOCK_TRAILER_SIZE;
    void *sealed = image_alloc(type, bytes);
    helios_status status;

    if (!sealed)
        return fail_no_memory(bytes);
    if (!is_plain(crypt, handle)) {
        status = io_read(file, handle->offset, sealed, bytes);
        if (status == HELIOS_OK)
            status = expand_new(sealed, salt, crypt, handle, type, io_path(file), image);
        goto out;
    }
    status = read_plain(file, salt, handle, type, sealed);
    if (status != HELIOS_OK)
        goto out;
    *image = sealed;
    sealed = NULL;
out:
    mem_free(sealed);
    return status;
}

helios_status block_read(struct io_file *file, uint64_t file_size, uint64_t salt,
                         const struct crypt_file *crypt, const struct block_handle *handle,
                         enum block_type type, void **image)
{
    helios_status status = block_check_handle(handle, type, file_size, io_path(file));

    if (status != HELIOS_OK)
        return status;
    if ((size_t)handle->stored + BLOCK_TRAILER_SIZE <= SMALL_SEALED)
        return read_small(file, salt, crypt, handle, type, image);
    return read_big(file, salt, crypt, handle, type, image);
}

/* sealed: room for the stored bytes and the trailer. */
static helios_status read_sealed(struct io_file *file, uint64_t salt, const struct crypt_file *crypt,
                                 const struct block_handle *handle, enum block_type type, void *sealed,
                                 void *image)
{
    helios_compression compression = HELIOS_COMPRESSION_NONE;
    helios_status status = io_read(file, handle->offset, sealed, (size_t)handle->stored + BLOCK_TRAILER_SIZE);

    if (status != HELIOS_OK)
        return status;
    return block_unseal(sealed, handle, type, salt, crypt, io_path(file), sealed, image, &compression);
}

helios_status block_read_into(struct io_file *file, uint64_t file_size, uint64_t salt,
                              const struct crypt_file *crypt, const struct block_handle *handle,
                              enum block_type type, void *image)
{
    size_t bytes = (size_t)handle->stored + BLOCK_TRAILER_SIZE;
    char small[SMALL_SEALED];
    void *sealed;
    helios_status status = block_check_handle(handle, type, file_size, io_path(file));

    if (status != HELIOS_OK)
        return status;
    if (is_plain(crypt, handle))
        return read_plain(file, salt, handle, type, image);
    if (bytes <= sizeof(small))
        return read_sealed(file, salt, crypt, handle, type, small, image);
    sealed = mem_alloc(bytes);
    if (!sealed)
        return fail_no_memory(bytes);
    status = read_sealed(file, salt, crypt, handle, type, sealed, image);
    mem_free(sealed);
    return status;
}

static helios_status read_buf_plain(struct io_file *file, uint64_t salt, const struct block_handle *handle,
                                    enum block_type type, helios_buf *image)
{
    helios_status status = buf_reserve(image, (size_t)handle->stored + BLOCK_TRAILER_SIZE);

    if (status != HELIOS_OK)
        return status;
    return read_plain(file, salt, handle, type, image->data);
}

static helios_status read_buf_sealed(struct io_file *file, uint64_t salt, const struct crypt_file *crypt,
                                     const struct block_handle *handle, enum block_type type, helios_buf *image)
{
    size_t bytes = (size_t)handle->stored + BLOCK_TRAILER_SIZE;
    void *sealed = mem_alloc(bytes);
    helios_status status;

    if (!sealed)
        return fail_no_memory(bytes);
    status = buf_reserve(image, handle->size);
    if (status == HELIOS_OK)
        status = read_sealed(file, salt, crypt, handle, type, sealed, image->data);
    mem_free(sealed);
    return status;
}

helios_status block_read_buf(struct io_file *file, uint64_t file_size, uint64_t salt,
                             const struct crypt_file *crypt, const struct block_handle *handle,
                             enum block_type type, helios_buf *image)
{
    helios_status status = block_check_handle(handle, type, file_size, io_path(file));

    if (status != HELIOS_OK)
        return status;
    image->size = 0;
    if (is_plain(crypt, handle))
        status = read_buf_plain(file, salt, handle, type, image);
    else
        status = read_buf_sealed(file, salt, crypt, handle, type, image);
    if (status == HELIOS_OK)
        image->size = handle->size;
    return status;
}
