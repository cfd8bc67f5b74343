/* archive_read.c - an archive of a segment, opened and read: frames for reader.c, where a number is, which frames a filter
 * wants. Its ends are read when it is opened, the rest when it is first needed. All of it is a stranger's bytes. */
#include "wal/wal_internal.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "wal/archive_internal.h"
#include <inttypes.h>
#include <zstd.h>
#include <zstd_errors.h>

struct frame {
    uint64_t at;     /* in the archive */
    uint64_t offset; /* of its first record in the segment */
    helios_seq first;
};

struct wal_archive {
    struct io_file *file;
    uint64_t salt, size;
    struct archive_footer footer;
    struct frame *frames; /* count + 1: the last one is where they end; NULL: not read yet */
    uint64_t *selected;   /* bits; NULL: all are wanted */
    unsigned char *stored;
    size_t stored_capacity;
    ZSTD_DCtx *context;
};

/* ---- bytes of it ---- */

static helios_status fail_at(const struct wal_archive *archive, const char *what, uint64_t offset,
                             const char *why)
{
    return fail_corrupt("%s: %s at %" PRIu64 ": %s", io_path(archive->file), what, offset, why);
}

static helios_status read_stored(struct wal_archive *archive, uint64_t offset, uint64_t size)
{
    if (size > archive->stored_capacity) {
        unsigned char *grown = mem_realloc(archive->stored, (size_t)size);

        if (!grown)
            return fail_no_memory((size_t)size);
        archive->stored = grown;
        archive->stored_capacity = (size_t)size;
    }
    return io_read(archive->file, offset, archive->stored, (size_t)size);
}

/* What stands in [offset, end), the last 8 bytes a checksum of the rest. */
static helios_status read_checked(struct wal_archive *archive, const char *what, uint64_t offset, uint64_t end)
{
    size_t size = (size_t)(end - offset);
    helios_status status;

    if (size < ARCHIVE_XXH3)
        return fail_at(archive, what, offset, "has no room for its checksum");
    status = read_stored(archive, offset, size);
    if (status != HELIOS_OK)
        return status;
    if (get_u64(archive->stored + size - ARCHIVE_XXH3) !=
        checksum(archive->stored, size - ARCHIVE_XXH3, archive->salt, offset))
        return fail_at(archive, what, offset, "bad checksum");
    return HELIOS_OK;
}

/* ---- opening ---- */

bool wal_archive_is(const unsigned char *page, size_t size)
{
    return size >= 8 && memcmp(page, MAGIC_ARCHIVE, 8) == 0;
}

/* The segment's own first page, of which only the beginning is not zeros. */
static helios_status head_read(struct wal_archive *archive, struct wal_segment_info *info)
{
    unsigned char head[ARCHIVE_FRAMES], page[WAL_DATA] = {0};
    struct file_header header;
    helios_status status = io_read(archive->file, 0, head, sizeof(head));

    if (status == HELIOS_OK)
        status = file_header_decode(head, MAGIC_ARCHIVE, io_path(archive->file), &header);
    if (status != HELIOS_OK)
        return status;
    if (get_u64(head + ARCHIVE_HEAD_XXH3) !=
        checksum(head + ARCHIVE_HEAD, ARCHIVE_HEAD_SIZE, header.salt, ARCHIVE_HEAD))
        return fail_at(archive, "head", ARCHIVE_HEAD, "bad checksum");
    memcpy(page, head + ARCHIVE_HEAD, ARCHIVE_HEAD_SIZE);
    status = wal_info_decode(page, sizeof(page), io_path(archive->file), info);
    if (status != HELIOS_OK)
        return status;
    if (memcmp(header.id, info->header.id, FILE_ID_SIZE) != 0 || header.number != info->header.number ||
        !info->sealed)
        return fail_at(archive, "head", ARCHIVE_HEAD, "is not that of this segment, sealed");
    archive->salt = header.salt;
    return HELIOS_OK;
}

/* The sections follow each other, and frames hold at least a record's header each. */
static bool footer_fits(const struct wal_archive *archive)
{
    const struct archive_footer *f = &archive->footer;
    uint64_t end = archive->size - ARCHIVE_FOOTER_SIZE;

    return f->index >= ARCHIVE_FRAMES && f->postings >= f->index + ARCHIVE_XXH3 &&
           f->directory >= f->postings && end >= f->directory + ARCHIVE_XXH3 && f->postings <= end &&
           f->directory <= end && f->index <= end && f->frames <= (f->end - WAL_DATA) / WAL_RECORD_HEADER &&
           f->frames <= (f->postings - f->index) / 3;
}

static helios_status footer_read(struct wal_archive *archive, const struct wal_segment_info *info)
{
    unsigned char in[ARCHIVE_FOOTER_SIZE];
    uint64_t at;
    helios_status status = io_size(archive->file, &archive->size);

    if (status != HELIOS_OK)
        return status;
    if (archive->size < ARCHIVE_FRAMES + ARCHIVE_FOOTER_SIZE || archive->size > ARCHIVE_SIZE_MAX)
        return fail_at(archive, "file", 0, "no archive has that size");
    at = archive->size - ARCHIVE_FOOTER_SIZE;
    status = io_read(archive->file, at, in, sizeof(in));
    if (status != HELIOS_OK)
        return status;
    if (!archive_footer_decode(in, archive->salt, at, &archive->footer))
        return fail_at(archive, "footer", at, "bad checksum, or the file was cut");
    if (archive->footer.end != info->sealed_end || !footer_fits(archive))
        return fail_at(archive, "footer", at, "does not fit the file");
    return HELIOS_OK;
}

helios_status wal_archive_open(struct io_file *file, struct wal_segment_info *info, struct wal_archive **out)
{
    struct wal_archive *archive = mem_zalloc(sizeof(*archive));
    struct wal_segment_info found;
    helios_status status;

    if (!archive)
        return fail_no_memory(sizeof(*archive));
    archive->file = file;
    status = head_read(archive, &found);
    if (status == HELIOS_OK)
        status = footer_read(archive, &found);
    if (status != HELIOS_OK) {
        wal_archive_close(archive);
        return status;
    }
    *info = found;
    *out = archive;
    return HELIOS_OK;
}

void wal_archive_close(struct wal_archive *archive)
{
    if (!archive)
        return;
    ZSTD_freeDCtx(archive->context);
    mem_free(archive->frames);
    mem_free(archive->selected);
    mem_free(archive->stored);
    mem_free(archive);
}

/* ---- the frame index ---- */

/* Each frame has something, and zstd makes at most so much of a byte; together they are all there is. */
static bool frames_decode(const struct wal_archive *archive, struct reader r, struct frame *frames)
{
    const struct archive_footer *f = &archive->footer;
    struct frame at = {ARCHIVE_FRAMES, WAL_DATA, 0};

    for (uint64_t i = 0; i < f->frames; i++) {
        uint64_t words = read_varint(&r), stored = read_varint(&r), step = read_varint(&r);

        if (r.bad || words < WAL_RECORD_HEADER / WAL_ALIGN || words > (f->end - at.offset) / WAL_ALIGN ||
            stored == 0 || stored > f->index - at.at || f->index - at.at - stored < ARCHIVE_XXH3 ||
            stored > words * WAL_ALIGN || words * WAL_ALIGN / ARCHIVE_RATIO_MAX > stored || step == 0 ||
            step > SEQ_MAX - at.first)
            return false;
        at.first += step;
        frames[i] = at;
        at.offset += words * WAL_ALIGN;
        at.at += stored + ARCHIVE_XXH3;
    }
    frames[f->frames] = at;
    return reader_done(&r) && at.offset == f->end && at.at == f->index;
}

static helios_status frames_load(struct wal_archive *archive)
{
    const struct archive_footer *f = &archive->footer;
    struct frame *frames;
    helios_status status;

    if (archive->frames)
        return HELIOS_OK;
    status = read_checked(archive, "frame index", f->index, f->postings);
    if (status != HELIOS_OK)
        return status;
    frames = mem_array((size_t)f->frames + 1, sizeof(*frames));
    if (!frames)
        return fail_no_memory(((size_t)f->frames + 1) * sizeof(*frames));
    if (!frames_decode(archive, reader_make(archive->stored, (size_t)(f->postings - f->index) - ARCHIVE_XXH3),
                       frames)) {
        mem_free(frames);
        return fail_at(archive, "frame index", f->index, "its frames do not fit the file");
    }
    archive->frames = frames;
    return HELIOS_OK;
}

/* The frame that the offset is in; the count if it is behind all of them. */
static size_t frame_at(const struct wal_archive *archive, uint64_t offset)
{
    size_t low = 0, high = (size_t)archive->footer.frames + 1;

    while (low < high) { /* those below low begin at or before it */
        size_t middle = low + (high - low) / 2;

        if (archive->frames[middle].offset <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? low - 1 : 0;
}

helios_status wal_archive_find(struct wal_archive *archive, helios_seq seq, uint64_t *offset)
{
    helios_status status = frames_load(archive);
    size_t low = 0, high = (size_t)archive->footer.frames;

    if (status != HELIOS_OK)
        return status;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (archive->frames[middle].first <= seq)
            low = middle + 1;
        else
            high = middle;
    }
    *offset = archive->frames[low > 0 ? low - 1 : 0].offset;
    return HELIOS_OK;
}

/* ---- frames ---- */

static bool is_selected(const struct wal_archive *archive, size_t frame)
{
    return !archive->selected || (archive->selected[frame / 64] >> frame % 64 & 1);
}

helios_status wal_archive_run(struct wal_archive *archive, uint64_t offset, uint64_t size, struct wal_run *run)
{
    helios_status status = frames_load(archive);
    size_t frames = (size_t)archive->footer.frames, end;

    if (status != HELIOS_OK)
        return status;
    if (offset < WAL_DATA || offset > archive->footer.end || size > archive->footer.end - offset)
        return fail_at(archive, "frames", archive->footer.index, "end before what was wanted");
    run->frame = frame_at(archive, offset);
    for (end = run->frame; end < frames && archive->frames[end].offset < offset + size;)
        end++;
    while (end < frames && is_selected(archive, end) &&
           archive->frames[end + 1].offset - archive->frames[run->frame].offset <= ARCHIVE_RUN)
        end++;
    run->count = end - run->frame;
    run->from = archive->frames[run->frame].offset;
    run->bytes = archive->frames[end].offset - run->from;
    return HELIOS_OK;
}

static helios_status expand(struct wal_archive *archive, const unsigned char *stored, size_t size,
                            unsigned char *out, size_t bytes, uint64_t at)
{
    size_t got;

    if (size == bytes) {
        memcpy(out, stored, size);
        return HELIOS_OK;
    }
    if (!archive->context)
        archive->context = ZSTD_createDCtx();
    if (!archive->context)
        return fail(HELIOS_NO_MEMORY, "zstd: no memory to decompress");
    got = ZSTD_decompressDCtx(archive->context, out, bytes, stored, size);
    if (ZSTD_isError(got) && ZSTD_getErrorCode(got) == ZSTD_error_memory_allocation)
        return fail(HELIOS_NO_MEMORY, "zstd: no memory to decompress");
    return !ZSTD_isError(got) && got == bytes ? HELIOS_OK
                                              : fail_at(archive, "frame", at, "does not decompress");
}

helios_status wal_archive_read(struct wal_archive *archive, const struct wal_run *run, unsigned char *out)
{
    const struct frame *frame = &archive->frames[run->frame], *end = frame + run->count;
    uint64_t base = frame->at;
    helios_status status = read_stored(archive, base, end->at - base);

    for (; frame < end && status == HELIOS_OK; frame++) {
        const unsigned char *stored = archive->stored + (frame->at - base);
        size_t size = (size_t)(frame[1].at - frame->at) - ARCHIVE_XXH3;

        if (get_u64(stored + size) != checksum(stored, size, archive->salt, frame->at))
            return fail_at(archive, "frame", frame->at, "bad checksum");
        status = expand(archive, stored, size, out + (frame->offset - run->from),
                        (size_t)(frame[1].offset - frame->offset), frame->at);
    }
    return status;
}

/* ---- what a filter wants ---- */

/* The lists that stand in [offset, offset + size) of the postings; sizes are theirs. */
static helios_status mark_lists(struct wal_archive *archive, uint64_t offset, const uint64_t *sizes,
                                size_t count, uint64_t *bits)
{
    uint64_t base = archive->footer.postings + offset, total = 0, at = 0;
    helios_status status;

    if (count == 0)
        return HELIOS_OK;
    for (size_t i = 0; i < count; i++)
        total += sizes[i] + ARCHIVE_XXH3;
    status = read_stored(archive, base, total);
    for (size_t i = 0; i < count && status == HELIOS_OK; i++) {
        const unsigned char *list = archive->stored + at;
        size_t size = (size_t)sizes[i];

        if (get_u64(list + size) != checksum(list, size, archive->salt, base + at))
            return fail_at(archive, "postings", base + at, "bad checksum");
        if (!wal_list_mark(list, size, (size_t)archive->footer.frames, bits))
            return fail_at(archive, "postings", base + at, "name frames that there are not");
        at += size + ARCHIVE_XXH3;
    }
    return status;
}

static helios_status mark(struct wal_archive *archive, const struct wal_filter *filter, uint64_t *bits)
{
    const struct archive_footer *f = &archive->footer;
    uint64_t end = archive->size - ARCHIVE_FOOTER_SIZE;
    struct wal_lists lists = {0};
    bool good = false;
    helios_status status = read_checked(archive, "directory", f->directory, end);

    if (status == HELIOS_OK)
        status = wal_lists_find(archive->stored, (size_t)(end - f->directory) - ARCHIVE_XXH3,
                                f->directory - f->postings, filter, &lists, &good);
    if (status == HELIOS_OK && !good)
        status = fail_at(archive, "directory", f->directory, "its terms do not fit their postings");
    if (status == HELIOS_OK)
        status = mark_lists(archive, 0, &lists.always, 1, bits);
    if (status == HELIOS_OK)
        status = mark_lists(archive, lists.offset, (const uint64_t *)(const void *)lists.sizes.data,
                            lists.sizes.size / sizeof(uint64_t), bits);
    helios_buf_free(&lists.sizes);
    return status;
}

static bool has_terms(const struct wal_archive *archive)
{
    return archive->footer.directory + ARCHIVE_XXH3 < archive->size - ARCHIVE_FOOTER_SIZE;
}

helios_status wal_archive_select(struct wal_archive *archive, const struct wal_filter *filter)
{
    size_t words = (size_t)archive->footer.frames / 64 + 1;
    uint64_t *bits;
    helios_status status = frames_load(archive);

    if (status != HELIOS_OK || !has_terms(archive))
        return status;
    bits = mem_array(words, sizeof(*bits));
    if (!bits)
        return fail_no_memory(words * sizeof(*bits));
    status = mark(archive, filter, bits);
    if (status != HELIOS_OK) {
        mem_free(bits);
        return status;
    }
    mem_free(archive->selected);
    archive->selected = bits;
    return HELIOS_OK;
}

uint64_t wal_archive_skip(const struct wal_archive *archive, uint64_t offset)
{
    size_t frames = (size_t)archive->footer.frames, frame;

    if (!archive->selected)
        return offset;
    frame = frame_at(archive, offset);
    if (archive->frames[frame].offset != offset)
        return offset;
    while (frame < frames && !is_selected(archive, frame))
        frame++;
    return archive->frames[frame].offset;
}

helios_status wal_archive_check(struct wal_archive *archive)
{
    size_t words = (size_t)archive->footer.frames / 64 + 1;
    uint64_t *bits, end = archive->size - ARCHIVE_FOOTER_SIZE;
    helios_status status = frames_load(archive);

    if (status == HELIOS_OK && !has_terms(archive))
        return read_checked(archive, "directory", archive->footer.directory, end);
    if (status != HELIOS_OK)
        return status;
    bits = mem_array(words, sizeof(*bits));
    if (!bits)
        return fail_no_memory(words * sizeof(*bits));
    status = mark(archive, NULL, bits);
    mem_free(bits);
    return status;
}
