/* reader.c - one segment from its file, or from its archive: by recovery, dump, verify, the feed. Nothing is believed
 * before its checksum: sizes come from headers that verified and stay within the file. What reads is a window over the
 * segment's bytes; only how it is filled differs between the two. */
#include "wal/wal_internal.h"
#include "base/hash.h"
#include "base/mem.h"
#include <inttypes.h>

struct wal_reader {
    struct io_file *file;
    struct wal_archive *archive; /* NULL: the file is the segment */
    struct wal_segment_info info;
    struct crypt *keys;
    struct crypt_file crypt;
    uint64_t limit;  /* records end here: the sealed end, the segment's, or the file's if that is earlier */
    bool truncated;  /* limit is the file's */
    uint64_t offset; /* of the next record; a multiple of 8 */
    /* A window of the file. */
    unsigned char *data;
    uint64_t data_offset;
    size_t data_size, data_capacity;
    /* The body of the last record, decrypted. */
    unsigned char *plain;
    size_t plain_capacity;
};

static helios_status archive_load(struct wal_reader *reader)
{
    helios_status status =
        reader->archive ? HELIOS_OK : wal_archive_open(reader->file, &reader->info, &reader->archive);

    if (status != HELIOS_OK)
        return status;
    reader->limit = reader->info.sealed_end;
    reader->offset = WAL_DATA;
    return HELIOS_OK;
}

static helios_status reader_load(struct wal_reader *reader)
{
    unsigned char page[WAL_DATA];
    uint64_t file_size;
    size_t got;
    helios_status status = io_read_some(reader->file, 0, page, sizeof(page), &got);

    if (status == HELIOS_OK && wal_archive_is(page, got))
        return archive_load(reader);
    if (status == HELIOS_OK)
        status = wal_info_decode(page, got, io_path(reader->file), &reader->info);
    if (status == HELIOS_OK && !crypt_is_on(&reader->crypt)) /* the first time */
        status = crypt_file_open(reader->keys, &reader->info.header, MAGIC_LOG, io_path(reader->file),
                                 &reader->crypt);
    if (status == HELIOS_OK)
        status = io_size(reader->file, &file_size);
    if (status != HELIOS_OK)
        return status;
    reader->limit = reader->info.sealed ? reader->info.sealed_end : reader->info.size;
    if (file_size < reader->limit) {
        reader->limit = file_size / WAL_ALIGN * WAL_ALIGN;
        reader->truncated = true;
    }
    reader->offset = WAL_DATA;
    return HELIOS_OK;
}

helios_status wal_reader_open(struct io_fs *fs, struct crypt *keys, const char *path, struct wal_reader **out)
{
    struct wal_reader *reader = mem_zalloc(sizeof(*reader));
    helios_status status;

    if (!reader)
        return fail_no_memory(sizeof(*reader));
    reader->keys = keys;
    status = io_open(fs, path, IO_READ, &reader->file);
    if (status == HELIOS_OK)
        status = reader_load(reader);
    if (status == HELIOS_OK) {
        *out = reader;
        reader = NULL;
    }
    wal_reader_close(reader);
    return status;
}

void wal_reader_close(struct wal_reader *reader)
{
    if (!reader)
        return;
    wal_archive_close(reader->archive);
    io_close(reader->file);
    crypt_file_release(&reader->crypt);
    mem_free(reader->data);
    mem_free(reader->plain);
    mem_free(reader);
}

const struct wal_segment_info *wal_reader_info(const struct wal_reader *reader)
{
    return &reader->info;
}

uint64_t wal_reader_offset(const struct wal_reader *reader)
{
    return reader->offset;
}

void wal_reader_limit(struct wal_reader *reader, uint64_t end)
{
    if (end < reader->limit)
        reader->limit = end;
}

void wal_reader_bound(struct wal_reader *reader, uint64_t end)
{
    reader->limit = end > reader->offset ? end : reader->offset;
    reader->truncated = false; /* a file that is shorter says so when it is read */
}

bool wal_reader_is_at_limit(const struct wal_reader *reader)
{
    return reader->offset == reader->limit;
}

helios_status wal_reader_reload(struct wal_reader *reader, uint64_t *end)
{
    uint64_t offset = reader->offset;
    helios_status status = reader_load(reader);

    reader->offset = offset;
    if (status == HELIOS_OK)
        *end = reader->limit;
    return status;
}

const char *wal_reader_path(const struct wal_reader *reader)
{
    return io_path(reader->file);
}

bool wal_reader_is_archive(const struct wal_reader *reader)
{
    return reader->archive != NULL;
}

helios_status wal_reader_find(struct wal_reader *reader, helios_seq seq, uint64_t *offset)
{
    return wal_archive_find(reader->archive, seq, offset);
}

helios_status wal_reader_select(struct wal_reader *reader, const struct wal_filter *filter)
{
    return reader->archive ? wal_archive_select(reader->archive, filter) : HELIOS_OK;
}

bool wal_reader_skip(struct wal_reader *reader)
{
    uint64_t before = reader->offset, after;

    if (!reader->archive || before >= reader->limit)
        return false;
    after = wal_archive_skip(reader->archive, before);
    reader->offset = after < reader->limit ? after : reader->limit; /* which is where a record begins */
    return reader->offset != before;
}

helios_status wal_reader_check(struct wal_reader *reader)
{
    return reader->archive ? wal_archive_check(reader->archive) : HELIOS_OK;
}

void wal_reader_seek(struct wal_reader *reader, uint64_t offset)
{
    uint64_t aligned = offset > reader->limit ? reader->limit : wal_round_up(offset, WAL_ALIGN);

    reader->offset = aligned < WAL_DATA ? WAL_DATA : aligned;
}

/* Room for a window of that size; nothing is valid in it. */
static helios_status window_room(struct wal_reader *reader, size_t want)
{
    reader->data_size = 0;
    if (want > reader->data_capacity) {
        /* At least doubled: one that follows a writer gets ever larger pieces. */
        size_t capacity = want > 2 * reader->data_capacity ? want : 2 * reader->data_capacity;
        unsigned char *data = mem_realloc(reader->data, capacity);

        if (!data)
            return fail_no_memory(capacity);
        reader->data = data;
        reader->data_capacity = capacity;
    }
    return HELIOS_OK;
}

static helios_status fill_from_archive(struct wal_reader *reader, uint64_t offset, size_t size)
{
    struct wal_run run;
    helios_status status = wal_archive_run(reader->archive, offset, size, &run);

    if (status == HELIOS_OK)
        status = window_room(reader, (size_t)run.bytes);
    if (status == HELIOS_OK)
        status = wal_archive_read(reader->archive, &run, reader->data);
    if (status != HELIOS_OK)
        return status;
    reader->data_offset = run.from;
    reader->data_size = (size_t)run.bytes;
    return HELIOS_OK;
}

/* Brings [offset, offset + size), which is within the limit, into the window. */
static helios_status window_fill(struct wal_reader *reader, uint64_t offset, size_t size)
{
    uint64_t left = reader->limit - offset;
    size_t want = size > WAL_CHUNK ? size : left < WAL_CHUNK ? (size_t)left : WAL_CHUNK;
    helios_status status;

    if (reader->archive)
        return fill_from_archive(reader, offset, size);
    status = window_room(reader, want);
    if (status == HELIOS_OK)
        status = io_read(reader->file, offset, reader->data, want);
    if (status != HELIOS_OK)
        return status;
    reader->data_offset = offset;
    reader->data_size = want;
    return HELIOS_OK;
}

static helios_status window_get(struct wal_reader *reader, uint64_t offset, size_t size,
                                const unsigned char **out)
{
    if (offset < reader->data_offset || offset + size > reader->data_offset + reader->data_size) {
        helios_status status = window_fill(reader, offset, size);

        if (status != HELIOS_OK)
            return status;
    }
    *out = reader->data + (offset - reader->data_offset);
    return HELIOS_OK;
}

helios_status wal_reader_bytes(struct wal_reader *reader, uint64_t offset, size_t size,
                               const unsigned char **out)
{
    return window_get(reader, offset, size, out);
}

static helios_status plain_room(struct wal_reader *reader, size_t size)
{
    unsigned char *plain;

    if (size <= reader->plain_capacity)
        return HELIOS_OK;
    plain = mem_alloc(size);
    if (!plain)
        return fail_no_memory(size);
    mem_free(reader->plain);
    reader->plain = plain;
    reader->plain_capacity = size;
    return HELIOS_OK;
}

/* A body that is not what was sealed there is none, as one with a wrong checksum. */
static helios_status body_open(struct wal_reader *reader, const unsigned char *header, uint64_t body_xxh3,
                               struct wal_record *record, bool *good)
{
    const unsigned char *sealed = header + WAL_RECORD_HEADER;
    unsigned char bound[WAL_RECORD_HEADER];
    size_t size = record->body.size;
    helios_status status;

    *good = size >= CRYPT_TAG_SIZE && hash_bytes(sealed + size - CRYPT_TAG_SIZE, CRYPT_TAG_SIZE) == body_xxh3;
    if (!*good)
        return HELIOS_OK;
    status = plain_room(reader, size);
    if (status != HELIOS_OK)
        return status;
    wal_header_bound(header, bound);
    record->body = slice_make(reader->plain, size - CRYPT_TAG_SIZE);
    return crypt_open(&reader->crypt, reader->offset, slice_make(bound, sizeof(bound)), sealed, size,
                      reader->plain, good);
}

/* The body of a record whose header verified. */
static helios_status body_get(struct wal_reader *reader, struct wal_record *record, uint64_t body_xxh3,
                              bool *good)
{
    size_t size = record->body.size;
    const unsigned char *at;
    helios_status status;

    *good = true;
    if (record->type == WAL_VOID) {
        record->body = slice_make("", 0);
        return HELIOS_OK;
    }
    status = window_get(reader, reader->offset, WAL_RECORD_HEADER + size, &at);
    if (status != HELIOS_OK)
        return status;
    if (crypt_is_on(&reader->crypt) && record->type != WAL_END)
        return body_open(reader, at, body_xxh3, record, good);
    record->body = slice_make(at + WAL_RECORD_HEADER, size);
    *good = hash_bytes(record->body.data, size) == body_xxh3;
    return HELIOS_OK;
}

/* The record at the offset: moves behind it, unless it is an END. */
static helios_status record_get(struct wal_reader *reader, struct wal_record *out, enum wal_found *found)
{
    uint64_t at = reader->offset, number = reader->info.header.number, body_xxh3, size;
    const unsigned char *header;
    struct wal_record record;
    bool good;
    helios_status status = window_get(reader, at, WAL_RECORD_HEADER, &header);

    *found = FOUND_HOLE;
    if (status != HELIOS_OK)
        return status;
    switch (wal_header_decode(header, reader->info.header.salt, at, reader->limit - at, &record, &body_xxh3)) {
    case WAL_NO_RECORD: return HELIOS_OK;
    case WAL_UNKNOWN:
        return fail(HELIOS_UNSUPPORTED, "%s: record at %" PRIu64 ": type %d, flags 0x%x are not known",
                    io_path(reader->file), at, (int)record.type, record.flags);
    case WAL_VALID: break;
    }
    size = wal_record_size(record.body.size);
    status = body_get(reader, &record, body_xxh3, &good);
    if (status != HELIOS_OK || !good)
        return status;
    record.at = wal_pos_make(number, at);
    record.end = wal_pos_make(number, at + size);
    *out = record;
    *found = record.type == WAL_END ? FOUND_END : FOUND_RECORD;
    if (*found == FOUND_RECORD)
        reader->offset = at + size;
    return HELIOS_OK;
}

helios_status wal_reader_step(struct wal_reader *reader, struct wal_record *record, enum wal_found *found)
{
    if (reader->limit - reader->offset >= WAL_RECORD_HEADER)
        return record_get(reader, record, found);
    /* A sealed segment ends at its seal and nowhere before. */
    if (reader->truncated || (reader->info.sealed && reader->offset < reader->limit))
        *found = FOUND_HOLE;
    else
        *found = FOUND_LIMIT;
    return HELIOS_OK;
}

helios_status wal_reader_search(struct wal_reader *reader, struct wal_record *record, enum wal_found *found)
{
    const unsigned char *header;
    helios_status status;

    for (; reader->limit - reader->offset >= WAL_RECORD_HEADER; reader->offset += WAL_ALIGN) {
        status = window_get(reader, reader->offset, WAL_RECORD_HEADER, &header);
        if (status != HELIOS_OK)
            return status;
        if (!wal_header_plausible(header))
            continue;
        status = record_get(reader, record, found);
        if (status != HELIOS_OK)
            return status;
        if (*found == FOUND_END)
            reader->offset += WAL_RECORD_HEADER;
        if (*found != FOUND_HOLE)
            return HELIOS_OK;
    }
    *found = FOUND_LIMIT;
    return HELIOS_OK;
}

helios_status wal_reader_next(struct wal_reader *reader, struct wal_record *record)
{
    enum wal_found found;
    helios_status status = wal_reader_step(reader, record, &found);

    if (status != HELIOS_OK || found == FOUND_RECORD)
        return status;
    if (found == FOUND_HOLE)
        return fail_corrupt("%s: no record at %" PRIu64, io_path(reader->file), reader->offset);
    return fail(HELIOS_NOT_FOUND, "%s: ends at %" PRIu64, io_path(reader->file), reader->offset);
}

helios_status wal_reader_scan(struct wal_reader *reader, struct wal_record *record)
{
    enum wal_found found;
    helios_status status = wal_reader_search(reader, record, &found);

    if (status != HELIOS_OK || found != FOUND_LIMIT)
        return status;
    return fail(HELIOS_NOT_FOUND, "%s: no record up to %" PRIu64, io_path(reader->file), reader->limit);
}
