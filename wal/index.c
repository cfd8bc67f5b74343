/* index.c - where in a segment which numbers begin, a point for each 64 KiB: in memory while the segment is written,
 * beside it in a file <number>.idx once it is sealed and kept. Only a help for walks that begin in the middle: one
 * that is missing or does not verify is made again by reading the segment. So it is never synced. */
#include "wal/wal_internal.h"
#include "base/hash.h"
#include "base/mem.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

/* The file, little-endian; its header has the file id and number of the segment:
 *   0        64        72       80                      80 + 16 * count
 *   | header | end     | count  | count (offset, first) | xxh3 of [64, here), salted, at offset 64 | */
enum {
    INDEX_END = FILE_HEADER_SIZE,
    INDEX_COUNT = INDEX_END + 8,
    INDEX_ENTRIES = INDEX_COUNT + 8,
    INDEX_ENTRY_SIZE = 16,
    INDEX_XXH3_SIZE = 8,
};
_Static_assert((int)INDEX_ENTRIES == (int)FILE_HEADER_SIZE + 16, "end and count follow the header");

static size_t encoded_size(size_t count)
{
    return INDEX_ENTRIES + count * INDEX_ENTRY_SIZE + INDEX_XXH3_SIZE;
}

void wal_index_path(const char *directory, uint64_t number, char *out, size_t size)
{
    snprintf(out, size, "%s/%08" PRIu64 ".idx", directory, number);
}

/* ---- in memory ---- */

helios_status wal_index_reserve(struct wal_index *index, size_t capacity)
{
    struct wal_index_entry *entries;

    if (capacity <= index->capacity)
        return HELIOS_OK;
    entries = mem_realloc(index->entries, capacity * sizeof(*entries));
    if (!entries)
        return fail_no_memory(capacity * sizeof(*entries));
    index->entries = entries;
    index->capacity = capacity;
    return HELIOS_OK;
}

void wal_index_release(struct wal_index *index)
{
    mem_free(index->entries);
    index->entries = NULL;
    index->capacity = 0;
    atomic_store_explicit(&index->count, 0, memory_order_relaxed);
}

size_t wal_index_room(uint64_t size)
{
    return (size_t)(size / WAL_INDEX_CHUNK + 1);
}

uint64_t wal_index_due(const struct wal_index *index)
{
    size_t count = atomic_load_explicit(&index->count, memory_order_relaxed);

    return count == 0 ? WAL_INDEX_CHUNK
                      : (index->entries[count - 1].offset / WAL_INDEX_CHUNK + 1) * WAL_INDEX_CHUNK;
}

void wal_index_put(struct wal_index *index, uint64_t offset, helios_seq first)
{
    size_t count = atomic_load_explicit(&index->count, memory_order_relaxed);

    assert(count < index->capacity);
    assert(offset >= wal_index_due(index));
    index->entries[count] = (struct wal_index_entry){offset, first};
    atomic_store_explicit(&index->count, count + 1, memory_order_release); /* acquire: wal_index_find */
}

helios_status wal_index_note(struct wal_index *index, uint64_t offset, helios_seq first)
{
    size_t count = atomic_load_explicit(&index->count, memory_order_relaxed);

    if (offset < wal_index_due(index))
        return HELIOS_OK;
    if (count == index->capacity) {
        helios_status status = wal_index_reserve(index, count ? 2 * count : 16);

        if (status != HELIOS_OK)
            return status;
    }
    wal_index_put(index, offset, first);
    return HELIOS_OK;
}

uint64_t wal_index_find(const struct wal_index *index, helios_seq seq)
{
    size_t low = 0, high = atomic_load_explicit(&index->count, memory_order_acquire);

    while (low < high) { /* entries below low begin at or below seq, those from high on above */
        size_t middle = low + (high - low) / 2;

        if (index->entries[middle].first <= seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? WAL_DATA : index->entries[low - 1].offset;
}

/* ---- as bytes ---- */

static void encode(const struct wal_index *index, size_t count, const struct file_header *segment, uint64_t end,
                   unsigned char *out)
{
    struct file_header header = *segment;
    unsigned char *at = out + INDEX_ENTRIES;

    header.flags = 0; /* never encrypted: it has numbers alone */
    file_header_encode(&header, MAGIC_INDEX, out);
    put_u64(out + INDEX_END, end);
    put_u64(out + INDEX_COUNT, count);
    for (size_t i = 0; i < count; i++, at += INDEX_ENTRY_SIZE) {
        put_u64(at, index->entries[i].offset);
        put_u64(at + 8, index->entries[i].first);
    }
    put_u64(at, checksum(out + INDEX_END, (size_t)(at - out) - INDEX_END, segment->salt, INDEX_END));
}

/* The entries, each in order and where its boundary wants it. */
static bool entries_decode(const unsigned char *in, size_t count, uint64_t end, struct wal_index *index)
{
    helios_seq before = 0;

    for (size_t i = 0; i < count; i++, in += INDEX_ENTRY_SIZE) {
        uint64_t offset = get_u64(in);
        helios_seq first = get_u64(in + 8);

        if (offset < wal_index_due(index) || offset >= end || offset % WAL_ALIGN != 0 || first <= before ||
            first > SEQ_MAX)
            return false;
        wal_index_put(index, offset, first);
        before = first;
    }
    return true;
}

helios_status wal_index_decode(const unsigned char *in, size_t size, const char *path,
                               const struct file_header *segment, uint64_t end, struct wal_index *out)
{
    struct wal_index index = {0};
    struct file_header header;
    uint64_t count;
    helios_status status;

    if (size < encoded_size(0))
        return fail_corrupt("%s: ends at %zu", path, size);
    status = file_header_decode(in, MAGIC_INDEX, path, &header);
    if (status != HELIOS_OK)
        return status;
    if (memcmp(header.id, segment->id, FILE_ID_SIZE) != 0 || header.number != segment->number)
        return fail_corrupt("%s: header at 0: of another segment", path);
    count = get_u64(in + INDEX_COUNT);
    if (get_u64(in + INDEX_END) != end || count > (size - encoded_size(0)) / (size_t)INDEX_ENTRY_SIZE ||
        encoded_size((size_t)count) != size)
        return fail_corrupt("%s: %" PRIu64 " entries at %d do not fit", path, count, INDEX_END);
    if (get_u64(in + size - INDEX_XXH3_SIZE) !=
        checksum(in + INDEX_END, size - INDEX_XXH3_SIZE - INDEX_END, segment->salt, INDEX_END))
        return fail_corrupt("%s: entries at %d: bad checksum", path, INDEX_ENTRIES);
    status = wal_index_reserve(&index, (size_t)count);
    if (status != HELIOS_OK)
        return status;
    if (!entries_decode(in + INDEX_ENTRIES, (size_t)count, end, &index)) {
        wal_index_release(&index);
        return fail_corrupt("%s: entries at %d: out of order", path, INDEX_ENTRIES);
    }
    *out = index;
    return HELIOS_OK;
}

/* ---- files ---- */

void wal_index_write(const struct wal_options *options, const struct file_header *segment, uint64_t end,
                     const struct wal_index *index)
{
    size_t count = atomic_load_explicit(&index->count, memory_order_acquire), size = encoded_size(count);
    unsigned char *bytes = mem_alloc(size);
    char path[WAL_PATH_MAX];
    struct io_file *file = NULL;
    helios_status status;

    if (!bytes)
        return;
    encode(index, count, segment, end, bytes);
    wal_index_path(options->directory, segment->number, path, sizeof(path));
    status = io_open(options->fs, path, IO_WRITE | IO_CREATE | IO_TRUNCATE, &file);
    if (status == HELIOS_OK)
        status = io_write(file, 0, bytes, size);
    io_close(file);
    mem_free(bytes);
    if (status != HELIOS_OK)
        wal_index_remove(options, segment->number); /* part of one is none; its room may be wanted */
}

void wal_index_remove(const struct wal_options *options, uint64_t number)
{
    char path[WAL_PATH_MAX];

    wal_index_path(options->directory, number, path, sizeof(path));
    if (io_remove(options->fs, path) != HELIOS_OK)
        return; /* it was not there, or the next open removes it */
}

static helios_status index_load(const struct wal_options *options, const struct file_header *segment,
                                uint64_t end, struct wal_index *out)
{
    char path[WAL_PATH_MAX];
    struct io_file *file = NULL;
    unsigned char *bytes = NULL;
    uint64_t size = 0;
    helios_status status;

    wal_index_path(options->directory, segment->number, path, sizeof(path));
    status = io_open(options->fs, path, IO_READ, &file);
    if (status == HELIOS_OK)
        status = io_size(file, &size);
    if (status == HELIOS_OK && size > encoded_size(wal_index_room(end)))
        status = fail_corrupt("%s: %" PRIu64 " bytes are too many", path, size);
    if (status == HELIOS_OK) {
        bytes = mem_alloc((size_t)size + 1);
        status = bytes ? io_read(file, 0, bytes, (size_t)size) : fail_no_memory((size_t)size);
    }
    if (status == HELIOS_OK)
        status = wal_index_decode(bytes, (size_t)size, path, segment, end, out);
    mem_free(bytes);
    io_close(file);
    return status;
}

/* By reading the segment up to `end`, or to where something is no record: a walk will tell of that when it comes
 * there. *whole: nothing was. */
static helios_status index_build(struct wal_reader *reader, uint64_t end, struct wal_index *index, bool *whole)
{
    helios_status status = HELIOS_OK;
    enum wal_found found = FOUND_RECORD;

    wal_reader_seek(reader, WAL_DATA);
    while (status == HELIOS_OK && found == FOUND_RECORD && wal_reader_offset(reader) < end) {
        struct wal_record record;

        status = wal_reader_step(reader, &record, &found);
        if (status == HELIOS_OK && found == FOUND_RECORD)
            status = wal_index_note(index, wal_pos_offset(record.at), record.first);
    }
    *whole = found != FOUND_HOLE;
    return status;
}

helios_status wal_index_seek(const struct wal_options *options, struct wal_reader *reader, uint64_t end,
                             helios_seq seq, uint64_t *offset)
{
    const struct file_header *segment = &wal_reader_info(reader)->header;
    struct wal_index index = {0};
    bool whole = false;
    helios_status status;

    *offset = WAL_DATA;
    if (wal_reader_is_archive(reader))
        return wal_reader_find(reader, seq, offset);
    if (end <= WAL_INDEX_CHUNK)
        return HELIOS_OK;
    status = index_load(options, segment, end, &index);
    if (status == HELIOS_NO_MEMORY)
        return status;
    if (status != HELIOS_OK) {
        status = index_build(reader, end, &index, &whole);
        if (status == HELIOS_OK && whole && !options->read_only)
            wal_index_write(options, segment, end, &index);
    }
    if (status == HELIOS_OK)
        *offset = wal_index_find(&index, seq);
    wal_index_release(&index);
    return status;
}
