/* fuzz_wal_reader.c - arbitrary bytes as a log segment. The first byte chooses: odd, and the checksums of the
 * first page and of every record are made right, so that what is behind them is reached; even, the bytes are
 * taken as they are. Whatever they are, records lie within the file and the walk ends. */
#undef NDEBUG
#include "base/hash.h"
#include "base/mem.h"
#include "wal/wal.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PATH "/00000001.wal"

/* Header, link, sometimes a seal: the drawings are in wal.h. The size is such that the rest is reached. */
static void fix_first_page(unsigned char *bytes, size_t size)
{
    struct file_header header = {.number = 1};
    unsigned char *link = bytes + WAL_LINK, *seal = bytes + WAL_SEAL;
    uint64_t segment_size = (size + 4095) / 4096 * 4096 + (uint64_t)(link[0] % 3) * 4096;

    memcpy(header.id, bytes + FILE_ID, FILE_ID_SIZE);
    header.salt = file_salt(header.id);
    file_header_encode(&header, MAGIC_LOG, bytes);
    memset(link, 0, 56);
    put_u64(link + 32, segment_size);
    put_u64(link + 56, checksum(link, 56, header.salt, WAL_LINK));
    if (seal[0] % 2) {
        memcpy(seal, "SEALSEAL", 8);
        put_u64(seal + 8, get_u32(seal + 8) % size / 8 * 8);
        put_u64(seal + 56, checksum(seal, 56, header.salt, WAL_SEAL));
    }
}

/* Every record that could be meant: its size as given, wrapped into the file. */
static void fix_records(unsigned char *bytes, size_t size)
{
    uint64_t salt = file_salt(bytes + FILE_ID);

    for (size_t at = WAL_DATA; at + WAL_RECORD_HEADER <= size;) {
        unsigned char *header = bytes + at;
        size_t body = get_u32(header) % (size - at - WAL_RECORD_HEADER + 1);

        put_u32(header, (uint32_t)(WAL_RECORD_HEADER + body));
        header[16] &= 7;
        put_u32(header + 52, get_u32(header + 52) & 3);
        put_u64(header + 40, hash_bytes(header + WAL_RECORD_HEADER, body));
        put_u64(header + 56, get_u64(header) ^ UINT64_C(0x5d8a1f3b96c2e047));
        put_u64(header + 8, checksum(header + 16, 48, salt, at));
        at += wal_record_size(body);
    }
}

static void check(const struct wal_record *record, size_t size)
{
    uint64_t sum = 0;

    assert(record->at < record->end && wal_pos_offset(record->end) <= (size + 7) / 8 * 8);
    for (size_t i = 0; i < record->body.size; i++)
        sum += slice_bytes(record->body)[i];
    assert(record->body.size == 0 || sum <= 255 * record->body.size);
}

static void read_all(struct io_fs *fs, size_t size)
{
    struct wal_reader *reader;
    struct wal_record record;
    helios_status status;

    if (wal_reader_open(fs, NULL, PATH, &reader) != HELIOS_OK)
        return;
    while ((status = wal_reader_next(reader, &record)) == HELIOS_OK)
        check(&record, size);
    assert(status != HELIOS_NO_MEMORY);
    while (wal_reader_scan(reader, &record) == HELIOS_OK)
        check(&record, size);
    wal_reader_close(reader);
}

static void write_all(struct io_fs *fs, const unsigned char *bytes, size_t size)
{
    struct io_file *file;

    assert(io_open(fs, PATH, IO_WRITE | IO_CREATE, &file) == HELIOS_OK);
    assert(io_write(file, 0, bytes, size) == HELIOS_OK);
    io_close(file);
}

static helios_status ignore(void *arg, const struct wal_record *record)
{
    check(record, *(size_t *)arg);
    return HELIOS_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct io_fs *fs;
    unsigned char *bytes;
    struct wal_recovery recovery = {.salvage = true};
    struct wal_options options = {.directory = "/", .keep = WAL_KEEP_NONE};

    if (size < 2)
        return 0;
    bytes = mem_copy(data + 1, size - 1);
    assert(bytes && io_memory_new(&fs) == HELIOS_OK);
    if (data[0] % 2 && size - 1 > WAL_DATA) {
        fix_first_page(bytes, size - 1);
        fix_records(bytes, size - 1);
    }
    write_all(fs, bytes, size - 1);
    read_all(fs, size - 1);
    options.fs = fs;
    recovery.salvage = data[0] & 2;
    size--;
    if (wal_recover(&options, &recovery, ignore, &size) == HELIOS_OK)
        assert(recovery.durable <= recovery.end);
    io_free(fs);
    mem_free(bytes);
    return 0;
}
