/* segment.c - a segment's first page (header, link, seal; the drawing is in wal.h) and how its file comes
 * to be: written whole under a temporary name, synced, renamed. Called by wal_open and by
 * the keeper, which then sync the directory. */
#include "wal/wal_internal.h"
#include "base/hash.h"
#include "base/mem.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

enum {
    LINK_PREDECESSOR = WAL_LINK,
    LINK_PREDECESSOR_END = WAL_LINK + 8,
    LINK_PREDECESSOR_LAST = WAL_LINK + 16,
    LINK_FIRST = WAL_LINK + 24,
    LINK_SEGMENT_SIZE = WAL_LINK + 32,
    LINK_CREATED = WAL_LINK + 40,
    LINK_COPIED_END = WAL_LINK + 48,
    LINK_XXH3 = WAL_LINK + 56,
    LINK_END = WAL_LINK + 64,

    SEAL_MAGIC = 0,
    SEAL_END = 8,
    SEAL_LAST = 16,
    SEAL_TIME = 24,
    SEAL_XXH3 = 56,
    SEAL_SIZE = 64,
};
_Static_assert((int)WAL_LINK == (int)FILE_HEADER_SIZE, "the link follows the file header");
_Static_assert((int)LINK_XXH3 + 8 == (int)LINK_END && (int)LINK_COPIED_END + 8 == (int)LINK_XXH3,
               "its checksum ends it");
_Static_assert(SEAL_TIME + 8 + 3 * 8 == SEAL_XXH3 && SEAL_XXH3 + 8 == SEAL_SIZE,
               "the seal keeps three words for later");
_Static_assert((int)LINK_END <= (int)WAL_SEAL && (int)WAL_SEAL + (int)SEAL_SIZE <= (int)WAL_DATA,
               "link and seal do not meet");
_Static_assert(WAL_SEAL % 512 == 0, "the seal is alone in its sector, so that writing it risks nothing else");

static const char seal_magic[8] = {'S', 'E', 'A', 'L', 'S', 'E', 'A', 'L'};

void wal_segment_path(const char *directory, uint64_t number, char *out, size_t size)
{
    snprintf(out, size, "%s/%08" PRIu64 ".wal", directory, number);
}

void wal_place_path(const char *directory, uint64_t number, bool archived, char *out, size_t size)
{
    if (archived)
        wal_archive_path(directory, number, false, out, size);
    else
        wal_segment_path(directory, number, out, size);
}

void wal_temporary_path(const char *directory, uint64_t number, char *out, size_t size)
{
    snprintf(out, size, "%s/%08" PRIu64 ".wal.tmp", directory, number);
}

void wal_info_encode(const struct wal_segment_info *info, unsigned char page[WAL_DATA])
{
    memset(page, 0, WAL_DATA);
    file_header_encode(&info->header, MAGIC_LOG, page);
    put_u64(page + LINK_PREDECESSOR, info->predecessor);
    put_u64(page + LINK_PREDECESSOR_END, info->predecessor_end);
    put_u64(page + LINK_PREDECESSOR_LAST, info->predecessor_last);
    put_u64(page + LINK_FIRST, info->first);
    put_u64(page + LINK_SEGMENT_SIZE, info->size);
    put_u64(page + LINK_CREATED, info->created);
    put_u64(page + LINK_COPIED_END, info->copied_end);
    put_u64(page + LINK_XXH3, checksum(page + WAL_LINK, LINK_XXH3 - WAL_LINK, info->header.salt, WAL_LINK));
}

void wal_seal_encode(unsigned char out[SEAL_SIZE], uint64_t salt, uint64_t end, helios_seq last, uint64_t time)
{
    memset(out, 0, SEAL_SIZE);
    memcpy(out + SEAL_MAGIC, seal_magic, sizeof(seal_magic));
    put_u64(out + SEAL_END, end);
    put_u64(out + SEAL_LAST, last);
    put_u64(out + SEAL_TIME, time);
    put_u64(out + SEAL_XXH3, checksum(out, SEAL_XXH3, salt, WAL_SEAL));
}

static bool is_offset(uint64_t offset, uint64_t size)
{
    return offset >= WAL_DATA && offset <= size && offset % WAL_ALIGN == 0;
}

static helios_status link_check(const struct wal_segment_info *info, const char *path)
{
    if (info->size < WAL_DATA || info->size > WAL_SEGMENT_MAX || info->size % WAL_PAGE != 0)
        return fail_corrupt("%s: link at %d: no segment has %" PRIu64 " bytes", path, WAL_LINK, info->size);
    if (info->predecessor >= info->header.number)
        return fail_corrupt("%s: link at %d: predecessor %" PRIu64, path, WAL_LINK, info->predecessor);
    if (info->predecessor_end != 0 && !is_offset(info->predecessor_end, WAL_SEGMENT_MAX))
        return fail_corrupt("%s: link at %d: predecessor ends at %" PRIu64, path, WAL_LINK,
                            info->predecessor_end);
    if (info->copied_end != 0 && !is_offset(info->copied_end, info->size))
        return fail_corrupt("%s: link at %d: copied up to %" PRIu64, path, WAL_LINK, info->copied_end);
    return HELIOS_OK;
}

static void seal_decode(const unsigned char *seal, struct wal_segment_info *info)
{
    uint64_t end = get_u64(seal + SEAL_END);

    if (memcmp(seal + SEAL_MAGIC, seal_magic, sizeof(seal_magic)) != 0 || !is_offset(end, info->size) ||
        get_u64(seal + SEAL_XXH3) != checksum(seal, SEAL_XXH3, info->header.salt, WAL_SEAL))
        return;
    info->sealed = true;
    info->sealed_end = end;
    info->sealed_last = get_u64(seal + SEAL_LAST);
}

helios_status wal_info_decode(const unsigned char *page, size_t size, const char *path,
                              struct wal_segment_info *out)
{
    struct wal_segment_info info = {0};
    helios_status status;

    if (size < WAL_DATA)
        return fail_corrupt("%s: ends at %zu, within its first page", path, size);
    status = file_header_decode(page, MAGIC_LOG, path, &info.header);
    if (status != HELIOS_OK)
        return status;
    if (get_u64(page + LINK_XXH3) !=
        checksum(page + WAL_LINK, LINK_XXH3 - WAL_LINK, info.header.salt, WAL_LINK))
        return fail_corrupt("%s: link at %d: bad checksum", path, WAL_LINK);
    info.predecessor = get_u64(page + LINK_PREDECESSOR);
    info.predecessor_end = get_u64(page + LINK_PREDECESSOR_END);
    info.predecessor_last = get_u64(page + LINK_PREDECESSOR_LAST);
    info.first = get_u64(page + LINK_FIRST);
    info.size = get_u64(page + LINK_SEGMENT_SIZE);
    info.created = get_u64(page + LINK_CREATED);
    info.copied_end = get_u64(page + LINK_COPIED_END);
    status = link_check(&info, path);
    if (status != HELIOS_OK)
        return status;
    seal_decode(page + WAL_SEAL, &info);
    *out = info;
    return HELIOS_OK;
}

helios_seq wal_info_first(const struct wal_segment_info *info)
{
    return info->predecessor_last != 0 ? info->predecessor_last + 1 : info->first;
}

helios_status wal_info_new(const struct wal_options *options, struct wal_segment_info *info,
                           struct crypt_file *crypt)
{
    helios_status status = io_random(options->fs, info->header.id, FILE_ID_SIZE);

    if (status == HELIOS_OK)
        status = crypt_file_begin(options->crypt, &info->header, MAGIC_LOG, crypt);
    if (status != HELIOS_OK)
        return status;
    info->header.salt = file_salt(info->header.id);
    info->created = io_time(options->fs);
    return HELIOS_OK;
}

/* Page by page: the page cache then holds the file in single pages. In larger pieces it would hold it in
 * large folios, and a record stored through the mapping would make all of one dirty: measured, with pieces
 * of 1 MiB each fsync of one record wrote 1 MiB. */
helios_status wal_write_zeros(struct io_file *file, uint64_t from, uint64_t to)
{
    static const unsigned char zeros[WAL_PAGE];
    helios_status status = HELIOS_OK;

    while (from < to && status == HELIOS_OK) {
        size_t size = to - from < WAL_PAGE ? (size_t)(to - from) : WAL_PAGE;

        status = io_write(file, from, zeros, size);
        from += size;
    }
    io_write_back(file, 0, (size_t)to);
    return status;
}

static helios_status first_page_write(const struct wal_segment_info *info, struct io_file *file)
{
    unsigned char page[WAL_DATA];
    helios_status status;

    wal_info_encode(info, page);
    status = io_write(file, 0, page, sizeof(page));
    return status == HELIOS_OK ? io_sync(file) : status;
}

/* Opened anew rather than kept, so that its path in messages is the one it has. */
static helios_status segment_open(const struct wal_options *options, const struct wal_segment_info *info,
                                  struct crypt_file *crypt, const char *path, bool populate,
                                  struct wal_segment **out)
{
    struct wal_segment *segment = mem_zalloc(sizeof(*segment));
    void *map = NULL;
    helios_status status;

    if (!segment)
        return fail_no_memory(sizeof(*segment));
    segment->header = info->header;
    segment->number = info->header.number;
    segment->size = segment->bytes = info->size;
    segment->salt = info->header.salt;
    atomic_init(&segment->first, wal_info_first(info));
    segment->predecessor = info->predecessor;
    status = io_open(options->fs, path, IO_WRITE, &segment->file);
    if (status == HELIOS_OK && options->use_mapping && io_map_supported(segment->file)) {
        status = io_map(segment->file, (size_t)info->size, &map);
        if (status == HELIOS_OK)
            segment->map = map;
    }
    if (status == HELIOS_OK && segment->map && populate)
        io_map_populate(segment->file, map, 0, (size_t)info->size);
    else if (status == HELIOS_OK)
        io_prefetch(segment->file, 0, (size_t)info->size); /* a recycled one may be on disk only */
    if (status == HELIOS_OK) {
        segment->crypt = *crypt;
        *crypt = (struct crypt_file){0};
        *out = segment;
        segment = NULL;
    }
    wal_segment_free(segment);
    return status;
}

/* Best effort: what is left behind is no part of the log, and the next open removes it. */
static void leave_nothing(const struct wal_options *options, const char *path)
{
    struct error_note cause = {0};

    error_keep(&cause, HELIOS_IO);
    if (io_remove(options->fs, path) != HELIOS_OK)
        (void)error_tell(&cause); /* the sentence of the first failure stays */
}

helios_status wal_segment_finish(const struct wal_options *options, const struct wal_segment_info *info,
                                 struct crypt_file *crypt, bool populate, struct io_file *file,
                                 struct wal_segment **out)
{
    char path[WAL_PATH_MAX], temporary[WAL_PATH_MAX];
    struct wal_segment *segment = NULL;
    helios_status status = first_page_write(info, file);
    bool renamed = false;

    wal_segment_path(options->directory, info->header.number, path, sizeof(path));
    wal_temporary_path(options->directory, info->header.number, temporary, sizeof(temporary));
    io_close(file);
    if (status != HELIOS_OK)
        goto out;
    status = io_rename(options->fs, temporary, path);
    if (status != HELIOS_OK)
        goto out;
    renamed = true;
    status = segment_open(options, info, crypt, path, populate, &segment);
    if (status != HELIOS_OK)
        goto out;
    *out = segment;
    segment = NULL;
out:
    wal_segment_free(segment);
    crypt_file_release(crypt);
    if (status != HELIOS_OK)
        leave_nothing(options, renamed ? path : temporary);
    return status;
}

void wal_segment_free(struct wal_segment *segment)
{
    if (!segment)
        return;
    if (segment->map)
        io_unmap(segment->file, segment->map, (size_t)segment->size);
    io_close(segment->file);
    crypt_file_release(&segment->crypt);
    wal_index_release(&segment->index);
    mem_free(segment);
}

static helios_status copy_bytes(struct io_file *from, struct io_file *to, uint64_t end, uint64_t *salt)
{
    unsigned char *chunk = mem_alloc(WAL_CHUNK);
    struct wal_segment_info info;
    helios_status status = HELIOS_OK;
    uint64_t at = 0;

    if (!chunk)
        return fail_no_memory(WAL_CHUNK);
    while (at < end && status == HELIOS_OK) {
        size_t size = end - at < WAL_CHUNK ? (size_t)(end - at) : WAL_CHUNK;

        status = io_read(from, at, chunk, size);
        if (status == HELIOS_OK && at == 0)
            status = wal_info_decode(chunk, size, io_path(from), &info);
        if (status == HELIOS_OK)
            status = io_write(to, at, chunk, size);
        at += size;
    }
    if (status == HELIOS_OK)
        *salt = info.header.salt;
    mem_free(chunk);
    return status;
}

helios_status wal_segment_copy(struct io_fs *fs, const char *from_path, const char *to_path, uint64_t end,
                               helios_seq last)
{
    struct io_file *from = NULL, *to = NULL;
    unsigned char seal[SEAL_SIZE];
    uint64_t salt = 0;
    helios_status status;

    if (!is_offset(end, WAL_SEGMENT_MAX))
        return fail(HELIOS_INVALID, "copy %s: %" PRIu64 " is no end of a segment", from_path, end);
    status = io_open(fs, from_path, IO_READ, &from);
    if (status == HELIOS_OK)
        status = io_open(fs, to_path, IO_WRITE | IO_CREATE | IO_TRUNCATE, &to);
    if (status == HELIOS_OK)
        status = copy_bytes(from, to, end, &salt);
    if (status == HELIOS_OK) {
        wal_seal_encode(seal, salt, end, last, io_time(fs));
        status = io_write(to, WAL_SEAL, seal, sizeof(seal));
    }
    if (status == HELIOS_OK)
        status = io_sync(to);
    io_close(to);
    io_close(from);
    return status;
}
