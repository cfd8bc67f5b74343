/* archive_write.c - an archive made of a segment, record by record: what does not verify is not archived. Written under a
 * temporary name and synced; archiver.c gives it its own. Small frames: a filter for one of many tables then passes over
 * most of them. */
#include "wal/wal_internal.h"
#include "base/buf.h"
#include "base/mem.h"
#include "wal/archive_internal.h"
#include <inttypes.h>
#include <stdio.h>
#include <zstd.h>

enum {
    LEVEL = 1
}; /* the records' checksums do not compress, and the rest does at the first level: docs/decisions.md */

struct writing {
    const struct wal_options *options;
    const _Atomic bool *stop;
    uint64_t salt;
    struct io_file *file;
    uint64_t written; /* of the archive; behind it comes what is in out */
    uint64_t most;    /* bytes that are worth it */
    helios_buf out;
    /* The frame that is being filled. */
    helios_buf raw;
    helios_seq first;
    /* Those before. */
    uint32_t frames;
    helios_seq first_before;
    helios_buf index;
    struct wal_terms terms;
    ZSTD_CCtx *context;
    helios_seq last; /* number so far */
    bool too_large;
};

void wal_archive_path(const char *directory, uint64_t number, bool temporary, char *out, size_t size)
{
    snprintf(out, size, "%s/%08" PRIu64 ".arc%s", directory, number, temporary ? ".tmp" : "");
}

static uint64_t place_of(const struct writing *w)
{
    return w->written + w->out.size;
}

static helios_status flush(struct writing *w)
{
    helios_status status = io_write(w->file, w->written, w->out.data, w->out.size);

    w->written += w->out.size;
    w->out.size = 0;
    return status;
}

/* The bytes from `start` of out, which stand at `place` of the file, get their checksum. */
static helios_status append_checksum(struct writing *w, size_t start, uint64_t place)
{
    unsigned char sum[ARCHIVE_XXH3];

    put_u64(sum, checksum(w->out.data + start, w->out.size - start, w->salt, place));
    return buf_append(&w->out, sum, sizeof(sum));
}

static helios_status append_section(struct writing *w, const helios_buf *bytes)
{
    uint64_t place = place_of(w);
    size_t start = w->out.size;
    helios_status status = buf_append(&w->out, bytes->data, bytes->size);

    return status == HELIOS_OK ? append_checksum(w, start, place) : status;
}

/* ---- frames ---- */

/* The raw bytes, compressed, behind out; as they are where that is not less. */
static helios_status append_compressed(struct writing *w)
{
    size_t room = ZSTD_compressBound(w->raw.size), size;
    helios_status status = buf_reserve(&w->out, w->out.size + room);

    if (status != HELIOS_OK)
        return status;
    if (!w->context)
        w->context = ZSTD_createCCtx();
    if (!w->context)
        return fail(HELIOS_NO_MEMORY, "zstd: no memory to compress");
    size = ZSTD_compressCCtx(w->context, w->out.data + w->out.size, room, w->raw.data, w->raw.size, LEVEL);
    if (ZSTD_isError(size) || size >= w->raw.size)
        return buf_append(&w->out, w->raw.data, w->raw.size);
    w->out.size += size;
    return HELIOS_OK;
}

static helios_status note_frame(struct writing *w, uint64_t stored)
{
    const uint64_t values[] = {w->raw.size / WAL_ALIGN, stored, w->first - w->first_before};
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < 3 && status == HELIOS_OK; i++) {
        unsigned char out[VARINT_MAX];

        status = buf_append(&w->index, out, put_varint(out, values[i]));
    }
    w->first_before = w->first;
    w->frames++;
    w->terms.frame = w->frames;
    w->raw.size = 0;
    return status;
}

static helios_status end_frame(struct writing *w)
{
    uint64_t place = place_of(w);
    size_t start = w->out.size;
    helios_status status;

    if (w->raw.size == 0)
        return HELIOS_OK;
    status = append_compressed(w);
    if (status == HELIOS_OK)
        status = append_checksum(w, start, place);
    if (status == HELIOS_OK)
        status = note_frame(w, w->out.size - start - ARCHIVE_XXH3);
    if (status == HELIOS_OK && w->out.size >= WAL_CHUNK)
        status = flush(w);
    w->too_large |= place_of(w) > w->most;
    return status;
}

/* Bytes that no checksum covers are zeros. */
static helios_status add_record(struct writing *w, const struct wal_record *record, const unsigned char *bytes)
{
    size_t size = (size_t)(record->end - record->at), whole = WAL_RECORD_HEADER + record->body.size;
    helios_status status = HELIOS_OK;

    if (w->raw.size > 0 && w->raw.size + size > WAL_FRAME)
        status = end_frame(w);
    if (status == HELIOS_OK)
        status = buf_reserve(&w->raw, w->raw.size + size);
    if (status != HELIOS_OK)
        return status;
    if (w->raw.size == 0)
        w->first = record->first;
    memcpy(w->raw.data + w->raw.size, bytes, whole);
    memset(w->raw.data + w->raw.size + whole, 0, size - whole);
    w->raw.size += size;
    w->last = record->first + record->op_count - 1;
    if (record->type == WAL_VOID)
        return HELIOS_OK;
    if (w->options->terms)
        w->options->terms(record, &w->terms);
    else
        wal_terms_always(&w->terms);
    return HELIOS_OK;
}

/* All records up to *end, or to where they end if that is the end of the segment's file. */
static helios_status add_records(struct writing *w, struct wal_reader *reader, uint64_t *end)
{
    helios_status status = HELIOS_OK;

    while (status == HELIOS_OK && !w->too_large && wal_reader_offset(reader) < *end) {
        uint64_t at = wal_reader_offset(reader);
        const unsigned char *bytes;
        struct wal_record record;
        enum wal_found found;

        if (atomic_load_explicit(w->stop, memory_order_relaxed))
            return HELIOS_TIMEOUT;
        status = wal_reader_step(reader, &record, &found);
        if (status != HELIOS_OK)
            return status;
        if (found != FOUND_RECORD && (found == FOUND_HOLE || *end != wal_reader_info(reader)->size))
            return fail_corrupt("segment %" PRIu64 ": no record at %" PRIu64,
                                wal_reader_info(reader)->header.number, at);
        if (found != FOUND_RECORD) {
            *end = at;
            break;
        }
        if (record.first <= w->last)
            return fail_corrupt("segment %" PRIu64 ": record at %" PRIu64 " is out of order",
                                wal_reader_info(reader)->header.number, at);
        status = wal_reader_bytes(reader, at, WAL_RECORD_HEADER + record.body.size, &bytes);
        if (status == HELIOS_OK)
            status = add_record(w, &record, bytes);
    }
    return status == HELIOS_OK ? end_frame(w) : status;
}

/* ---- the rest ---- */

static helios_status write_head(struct writing *w, struct wal_reader *reader, uint64_t end)
{
    const struct wal_segment_info *info = wal_reader_info(reader);
    unsigned char head[ARCHIVE_FRAMES];
    const unsigned char *page;
    helios_status status;

    wal_reader_bound(reader, WAL_DATA);
    status = wal_reader_bytes(reader, 0, ARCHIVE_HEAD_SIZE, &page);
    if (status != HELIOS_OK)
        return status;
    file_header_encode(&info->header, MAGIC_ARCHIVE, head);
    memcpy(head + ARCHIVE_HEAD, page, ARCHIVE_HEAD_SIZE);
    if (!info->sealed)
        wal_seal_encode(head + ARCHIVE_HEAD + WAL_SEAL, w->salt, end, w->last, io_time(w->options->fs));
    put_u64(head + ARCHIVE_HEAD_XXH3, checksum(head + ARCHIVE_HEAD, ARCHIVE_HEAD_SIZE, w->salt, ARCHIVE_HEAD));
    return io_write(w->file, 0, head, sizeof(head));
}

static helios_status write_ends(struct writing *w, uint64_t end)
{
    struct archive_footer footer = {.frames = w->frames, .index = place_of(w), .end = end};
    helios_buf postings = {0}, directory = {0};
    unsigned char out[ARCHIVE_FOOTER_SIZE];
    helios_status status = append_section(w, &w->index);

    footer.postings = place_of(w);
    if (status == HELIOS_OK)
        status = wal_terms_encode(&w->terms, w->frames, w->salt, footer.postings, &postings, &directory);
    if (status == HELIOS_OK)
        status = buf_append(&w->out, postings.data, postings.size);
    footer.directory = place_of(w);
    if (status == HELIOS_OK)
        status = append_section(w, &directory);
    archive_footer_encode(out, &footer, w->salt, place_of(w));
    if (status == HELIOS_OK)
        status = buf_append(&w->out, out, sizeof(out));
    if (status == HELIOS_OK)
        status = flush(w);
    helios_buf_free(&postings);
    helios_buf_free(&directory);
    return status;
}

static helios_status write_all(struct writing *w, struct wal_reader *reader, uint64_t *end)
{
    const struct wal_segment_info *info = wal_reader_info(reader);
    helios_seq first = wal_info_first(info);
    helios_status status;

    if (info->sealed && info->sealed_end != *end)
        return fail_corrupt("segment %" PRIu64 ": was cut before its seal", info->header.number);
    if (first > 0)
        w->last = first - 1; /* of one without records */
    w->salt = info->header.salt;
    w->written = ARCHIVE_FRAMES;
    wal_reader_bound(reader, *end);
    status = add_records(w, reader, end);
    if (status != HELIOS_OK || w->too_large)
        return status;
    status = write_ends(w, *end);
    w->too_large |= w->written > w->most;
    if (status == HELIOS_OK && !w->too_large)
        status = write_head(w, reader, *end);
    return status == HELIOS_OK && !w->too_large ? io_sync(w->file) : status;
}

static void release(struct writing *w)
{
    ZSTD_freeCCtx(w->context);
    helios_buf_free(&w->out);
    helios_buf_free(&w->raw);
    helios_buf_free(&w->index);
    wal_terms_release(&w->terms);
    io_close(w->file);
}

helios_status wal_archive_write(const struct wal_options *options, uint64_t number, const _Atomic bool *stop,
                                uint64_t most, uint64_t *end, uint64_t *bytes)
{
    struct writing w = {.options = options, .stop = stop, .most = most};
    char path[WAL_PATH_MAX], temporary[WAL_PATH_MAX];
    struct wal_reader *reader = NULL;
    uint64_t found = *end;
    helios_status status;

    wal_segment_path(options->directory, number, path, sizeof(path));
    wal_archive_path(options->directory, number, true, temporary, sizeof(temporary));
    status = wal_reader_open(options->fs, options->crypt, path, &reader);
    if (status == HELIOS_OK)
        status = io_open(options->fs, temporary, IO_WRITE | IO_CREATE | IO_TRUNCATE, &w.file);
    if (status == HELIOS_OK)
        status = write_all(&w, reader, &found);
    if (status == HELIOS_OK) {
        *end = found;
        *bytes = w.too_large ? 0 : w.written;
    }
    release(&w);
    wal_reader_close(reader);
    return status;
}
