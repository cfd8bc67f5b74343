/* fuzz_wal_archive.c - arbitrary bytes as an archive of a log segment. The low bits of the first byte choose: a file as it is;
 * a file whose checksums are made right first, so that mutations reach what they cover; a directory of terms; a list. The
 * second byte is the room of the directory's postings, in units of 16, or how many frames there are for the list. */
#undef NDEBUG
#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "wal/archive.h"
#include <assert.h>

#define PATH "/00000001.arc"
enum { HEAD = 64, FRAMES = 648, FOOTER = 64, LIMIT = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void seal(unsigned char *bytes, size_t from, size_t to, uint64_t salt, uint64_t offset)
{
    put_u64(bytes + to, checksum(bytes + from, to - from, salt, offset));
}

static void repair_frames(unsigned char *bytes, uint64_t index, uint64_t postings, uint64_t salt)
{
    struct reader r = reader_make(bytes + index, (size_t)(postings - index) - 8);
    uint64_t at = FRAMES;

    while (reader_left(&r) > 0) {
        uint64_t stored;

        (void)read_varint(&r);
        stored = read_varint(&r);
        (void)read_varint(&r);
        if (r.bad || stored > index - at || index - at - stored < 8)
            return;
        seal(bytes, (size_t)at, (size_t)(at + stored), salt, at);
        at += stored + 8;
    }
}

static void repair(unsigned char *bytes, size_t size)
{
    struct file_header header = {.number = 1};
    uint64_t salt, footer = size - FOOTER, index, postings, directory;
    unsigned char *head = bytes + HEAD;

    if (size < FRAMES + FOOTER + 16)
        return;
    memcpy(header.id, bytes + FILE_ID, FILE_ID_SIZE); /* of which the records' checksums are */
    salt = file_salt(header.id);
    file_header_encode(&header, "HELIOSAR", bytes);
    file_header_encode(&header, "HELIOSWL", head);
    seal(head, 64, 120, salt, 64);
    memcpy(head + 512, "SEALSEAL", 8);
    seal(head, 512, 568, salt, 512);
    seal(bytes, HEAD, FRAMES - 8, salt, HEAD);
    index = get_u64(bytes + footer + 8);
    postings = get_u64(bytes + footer + 16);
    directory = get_u64(bytes + footer + 24);
    put_u64(bytes + footer + 40, 0);
    memcpy(bytes + footer + 56, "ARCHIVED", 8);
    seal(bytes, (size_t)footer, (size_t)footer + 48, salt, footer);
    if (index >= FRAMES && postings >= index + 8 && postings <= footer && index <= footer) {
        seal(bytes, (size_t)index, (size_t)postings - 8, salt, index);
        repair_frames(bytes, index, postings, salt);
    }
    if (directory >= FRAMES && directory <= footer - 8)
        seal(bytes, (size_t)directory, (size_t)footer - 8, salt, directory);
}

/* Records lie within the segment and behind each other. */
static void walk(struct io_fs *fs)
{
    struct wal_reader *reader = NULL;
    struct wal_record record;
    wal_pos before = 0;

    if (wal_reader_open(fs, NULL, PATH, &reader) != HELIOS_OK)
        return;
    while (wal_reader_next(reader, &record) == HELIOS_OK) {
        assert(record.at >= before && record.end > record.at);
        assert(wal_pos_offset(record.end) <= wal_reader_info(reader)->sealed_end);
        before = record.end;
    }
    wal_reader_seek(reader, WAL_DATA);
    for (int i = 0; i < 16 && wal_reader_scan(reader, &record) == HELIOS_OK; i++)
        assert(record.end > record.at);
    if (wal_reader_check(reader) == HELIOS_OK)
        assert(wal_reader_info(reader)->sealed);
    wal_reader_close(reader);
}

/* Frames that are passed over, and those that are read, are all of the segment. */
static void skip(struct io_fs *fs, const struct wal_filter *filter)
{
    struct wal_archive *archive = NULL;
    struct wal_segment_info info;
    struct io_file *file;
    uint64_t at = WAL_DATA, found;

    assert(io_open(fs, PATH, IO_READ, &file) == HELIOS_OK);
    if (wal_archive_open(file, &info, &archive) == HELIOS_OK &&
        wal_archive_find(archive, 1000, &found) == HELIOS_OK) {
        assert(found >= WAL_DATA && found <= info.sealed_end);
        if (wal_archive_select(archive, filter) != HELIOS_OK)
            at = info.sealed_end;
    } else {
        info.sealed_end = at;
    }
    while (at < info.sealed_end) {
        uint64_t next = wal_archive_skip(archive, at);
        unsigned char *out;
        struct wal_run run;

        assert(next >= at && next <= info.sealed_end);
        if (next == info.sealed_end)
            break;
        assert(wal_archive_run(archive, next, 1, &run) == HELIOS_OK);
        assert(run.from == next && run.bytes > 0 && run.count > 0);
        if (run.bytes > LIMIT)
            break;
        out = mem_alloc((size_t)run.bytes);
        assert(out);
        (void)!wal_archive_read(archive, &run, out);
        mem_free(out);
        at = run.from + run.bytes;
    }
    wal_archive_close(archive);
    io_close(file);
}

static void as_file(const uint8_t *data, size_t size, bool right)
{
    struct wal_filter filter = {.space = 0, .prefix = slice_make("key00", size % 6)};
    unsigned char *bytes = mem_copy(data, size);
    struct io_file *file;
    struct io_fs *fs;

    assert(bytes || size == 0);
    if (right)
        repair(bytes, size);
    assert(io_memory_new(&fs) == HELIOS_OK);
    assert(io_open(fs, PATH, IO_WRITE | IO_CREATE, &file) == HELIOS_OK);
    if (size > 0)
        assert(io_write(file, 0, bytes, size) == HELIOS_OK);
    io_close(file);
    walk(fs);
    skip(fs, &filter);
    io_free(fs);
    mem_free(bytes);
}

static void as_directory(const uint8_t *data, size_t size, uint64_t room)
{
    struct wal_filter filter = {.space = 0, .prefix = slice_text("k")};
    struct wal_lists all = {0}, some = {0};
    bool good, same;

    assert(wal_lists_find(data, size, room, NULL, &all, &good) == HELIOS_OK);
    assert(wal_lists_find(data, size, room, &filter, &some, &same) == HELIOS_OK);
    assert(good == same && some.sizes.size <= all.sizes.size);
    for (uint64_t at = some.offset, i = 0; good && i < some.sizes.size / 8; i++) {
        at += get_u64(some.sizes.data + 8 * i) + 8;
        assert(at <= room);
    }
    helios_buf_free(&all.sizes);
    helios_buf_free(&some.sizes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t bits[4] = {0};

    if (size < 2)
        return 0;
    switch (data[0] & 3) {
    case 2: as_directory(data + 2, size - 2, (uint64_t)data[1] * 16); break;
    case 3:
        if (wal_list_mark(data + 2, size - 2, data[1], bits))
            for (unsigned frame = data[1]; frame < 256; frame++)
                assert(!(bits[frame / 64] >> frame % 64 & 1));
        break;
    default: as_file(data + 2, size - 2, data[0] & 1);
    }
    return 0;
}
