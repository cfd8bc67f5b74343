/* fuzz_wal_reader.c - arbitrary bytes as a log segment. The first byte chooses: odd, and the checksums of the
 * first page and of every record are made right, so that what is behind them is reached; even, the bytes are
 * taken as they are. Whatever they are, records lie within the file and the walk ends. */
#undef NDEBUG
#include "base/hash.h"
#include "base/mem.h"
#include "wal/wal_internal.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PATH "/00000001.wal"

/* Header and link: the magic, and sizes that the rest of the input can be reached with. */
static void fix_first_page(unsigned char *bytes, size_t size)
{
    struct wal_segment_info info = {.header.number = 1};
    unsigned char page[WAL_DATA];

    memcpy(info.header.id, bytes + FILE_ID, FILE_ID_SIZE);
    info.header.salt = file_salt(info.header.id);
    info.size = wal_round_up(size, WAL_PAGE) + (uint64_t)(bytes[WAL_LINK] % 3) * WAL_PAGE;
    wal_info_encode(&info, page);
    if (bytes[WAL_SEAL] % 2)
        wal_seal_encode(page + WAL_SEAL, info.header.salt, get_u32(bytes + WAL_SEAL + 8) % size / 8 * 8, 1, 1);
    memcpy(bytes, page, sizeof(page));
}

/* Every record that could be meant: its size as given, wrapped into the file. */
static void fix_records(unsigned char *bytes, size_t size)
{
    uint64_t salt = file_salt(bytes + FILE_ID);

    for (size_t at = WAL_DATA; at + WAL_RECORD_HEADER <= size;) {
        unsigned char *header = bytes + at;
        size_t body = get_u32(header) % (size - at - WAL_RECORD_HEADER + 1);
        uint64_t first = get_u64(header + 16);
        struct wal_record record = {
            .first = first >> 8, .op_count = get_u32(header + 4), .time = get_u64(header + 24),
            .type = (enum wal_record_type)(first & 7), .synced = get_u64(header + 32),
            .branch = get_u32(header + 48), .flags = get_u32(header + 52) & 3,
        };

        wal_header_encode(header, &record, (uint32_t)(WAL_RECORD_HEADER + body),
                          hash_bytes(header + WAL_RECORD_HEADER, body), salt, at);
        at += wal_record_size(body);
    }
}

static void check(const struct wal_record *record, size_t size)
{
    uint64_t sum = 0;

    assert(record->at < record->end && wal_pos_offset(record->end) <= wal_round_up(size, 8));
    for (size_t i = 0; i < record->body.size; i++)
        sum += slice_bytes(record->body)[i];
    assert(record->body.size == 0 || sum <= 255 * record->body.size);
}

static void read_all(struct io_fs *fs, size_t size)
{
    struct wal_reader *reader;
    struct wal_record record;
    helios_status status;

    if (wal_reader_open(fs, PATH, &reader) != HELIOS_OK)
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
    struct wal_options options = {.directory = "/"};

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
