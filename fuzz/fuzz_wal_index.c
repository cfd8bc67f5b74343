/* fuzz_wal_index.c - the index of a log segment. Bit 0 of the first byte: the header and the checksum are made right
 * first, so that mutations reach the entries. The next 8 bytes are where the segment's records end. */
#undef NDEBUG
#include "base/hash.h"
#include "base/mem.h"
#include "wal/index.h"
#include <assert.h>
#include <stdatomic.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a decoder has let through leads a search to a place in the segment, later ones not to earlier places. */
static void check(const struct wal_index *index, uint64_t end)
{
    size_t count = atomic_load(&index->count);
    uint64_t before = WAL_DATA;

    assert(count < wal_index_room(end));
    for (size_t i = 0; i < count; i++) {
        const struct wal_index_entry *entry = &index->entries[i];

        assert(entry->offset > before && entry->offset < end && entry->offset % WAL_ALIGN == 0);
        assert(wal_index_find(index, entry->first) == entry->offset);
        assert(wal_index_find(index, entry->first - 1) == before);
        before = entry->offset;
    }
    assert(wal_index_find(index, SEQ_MAX) == before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct file_header segment = {.id = {1, 2, 3}, .number = 7};
    struct wal_index index = {0};
    unsigned char *bytes;
    uint64_t end;

    if (size < 9)
        return 0;
    segment.salt = file_salt(segment.id);
    end = get_u64(data + 1) % UINT32_MAX;
    bytes = mem_copy(data + 9, size - 9);
    size -= 9;
    assert(bytes || size == 0);
    if ((data[0] & 1) && size >= FILE_HEADER_SIZE + 24) {
        file_header_encode(&segment, MAGIC_INDEX, bytes);
        put_u64(bytes + FILE_HEADER_SIZE, end);
        put_u64(bytes + FILE_HEADER_SIZE + 8, (size - FILE_HEADER_SIZE - 24) / 16);
        put_u64(bytes + size - 8, checksum(bytes + FILE_HEADER_SIZE, size - 8 - FILE_HEADER_SIZE, segment.salt,
                                           FILE_HEADER_SIZE));
    }
    if (wal_index_decode(bytes, size, "index", &segment, end, &index) == HELIOS_OK)
        check(&index, end);
    wal_index_release(&index);
    mem_free(bytes);
    return 0;
}
