/* fuzz_table.c - bytes as a table file. The first byte says whether the checksums are made right before,
 * so that what lies behind them is reached. Whatever opens is read in every way: no read may go astray,
 * and what verify calls good must be in order and found. */
#undef NDEBUG
#include "base/buf.h"
#include "base/epoch.h"
#include "base/hash.h"
#include "sstable/index.h"
#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS_MAX = 20000, CACHE_BYTES = 64 * 1024 };

static volatile unsigned sink;

static void touch(helios_slice bytes)
{
    for (size_t i = 0; i < bytes.size; i++)
        sink += slice_bytes(bytes)[i];
}

/* ---- right checksums for wrong bytes ---- */

struct file_image {
    unsigned char *bytes;
    size_t size;
    uint64_t salt;
};

static void reseal(const struct file_image *f, struct block_handle handle)
{
    unsigned char *trailer;

    if (handle.offset > f->size || handle_bytes(&handle) > f->size - handle.offset)
        return;
    trailer = f->bytes + handle.offset + handle.stored;
    put_u32(trailer + 4, handle.size);
    put_u64(trailer + 8, checksum(f->bytes + handle.offset, (size_t)handle.stored + 8, f->salt, handle.offset));
}

/* The blocks under an uncompressed index, and that index; depth: levels below it. */
static void reseal_index(const struct file_image *f, struct block_handle handle, int depth)
{
    const unsigned char *image;
    uint32_t count;

    reseal(f, handle);
    if (depth == 0 || handle.offset > f->size || handle_bytes(&handle) > f->size - handle.offset ||
        handle.stored < INDEX_HEADER_SIZE)
        return;
    image = f->bytes + handle.offset;
    if (image[handle.stored] != HELIOS_COMPRESSION_NONE)
        return;
    count = get_u32(image + INDEX_COUNT);
    for (uint32_t i = 0; i < count && INDEX_HEADER_SIZE + (size_t)(i + 1) * INDEX_ENTRY_SIZE <= handle.stored;
         i++)
        reseal_index(f, handle_get(image + INDEX_HEADER_SIZE + (size_t)i * INDEX_ENTRY_SIZE), depth - 1);
}

static void reseal_file(struct file_image *f)
{
    size_t at;
    unsigned char *footer;

    if (f->size < FILE_HEADER_SIZE + TABLE_FOOTER_SIZE)
        return;
    at = f->size - TABLE_FOOTER_SIZE;
    footer = f->bytes + at;
    put_u64(f->bytes + FILE_XXH3, hash_bytes(f->bytes, FILE_XXH3));
    f->salt = file_salt(f->bytes + FILE_ID);
    reseal(f, handle_get(footer + FOOTER_FILTER));
    reseal(f, handle_get(footer + FOOTER_RANGE_DELETES));
    reseal(f, handle_get(footer + FOOTER_PROPERTIES));
    reseal_index(f, handle_get(footer + FOOTER_HISTORY_INDEX), 1);
    reseal_index(f, handle_get(footer + FOOTER_TOP_INDEX), 2);
    put_u64(footer + FOOTER_XXH3, checksum(footer, FOOTER_XXH3, f->salt, at));
}

/* ---- reading ---- */

static void get(struct table *t, helios_slice key, helios_seq seq, uint64_t expected_tag)
{
    struct table_hit hit;
    enum table_found found = table_get(t, key, hash_key(key), seq, true, true, &hit);

    assert(!expected_tag || (found == TABLE_FOUND && hit.tag == expected_tag));
    if (found != TABLE_FOUND)
        return;
    if (!hit.large)
        touch(hit.value);
    frame_unref(hit.frame);
}

static void show(struct cursor *c)
{
    helios_slice value;

    touch(c->key);
    if (cursor_value(c, &value) == HELIOS_OK)
        touch(value);
}

static void walk(struct table *t, helios_seq read_point, size_t read_ahead)
{
    struct table_cursor_options options = {
        .read_point = read_point, .fill_cache = true, .read_ahead = read_ahead};
    struct cursor *c;
    int steps = 0;

    if (table_cursor_new(t, &options, &c) != HELIOS_OK)
        return;
    for (cursor_first(c); c->valid && steps++ < STEPS_MAX; cursor_next(c))
        show(c);
    if (!read_ahead) {
        for (cursor_last(c); c->valid && steps++ < STEPS_MAX; cursor_prev(c))
            show(c);
        for (int i = 0; i < 256; i += 5) {
            unsigned char key[8] = {0, 0, 0, 0, 0, (unsigned char)i, (unsigned char)(i * 7)};
            helios_slice slice = slice_make(key, KEY_LAYER_BYTES + (size_t)i % 3);

            get(t, slice, (helios_seq)i, 0);
            cursor_seek(c, slice, tag_at((helios_seq)i));
            if (c->valid)
                cursor_prev(c);
            cursor_seek_for_prev(c, slice);
            if (c->valid)
                cursor_next(c);
        }
    }
    cursor_free(c);
}

/* Verified: the walk over all versions is in order, and each version is found at its own number. */
static void trust(struct table *t)
{
    struct table_cursor_options options = {.read_point = CURSOR_ALL, .fill_cache = true};
    helios_buf before = {0};
    uint64_t tag = 0, count = 0;
    struct cursor *c;

    assert(table_cursor_new(t, &options, &c) == HELIOS_OK);
    for (cursor_first(c); c->valid; cursor_next(c)) {
        assert(count++ == 0 || key_compare(buf_slice(&before), tag, c->key, c->tag) < 0);
        get(t, c->key, tag_seq(c->tag), c->tag);
        tag = c->tag;
        assert(buf_set(&before, c->key.data, c->key.size) == HELIOS_OK);
    }
    assert(c->status == HELIOS_OK && count == table_properties(t)->entries);
    cursor_free(c);
    helios_buf_free(&before);
}

static void read_table(struct io_fs *fs, uint64_t number, size_t size)
{
    struct cache *cache;
    struct table *t = NULL;

    assert(cache_new(CACHE_BYTES, &cache) == HELIOS_OK);
    if (table_open(fs, NULL, "t", number, size, 0, cache, &t) == HELIOS_OK) {
        walk(t, CURSOR_ALL, 0);
        walk(t, CURSOR_ALL, 1 << 16);
        walk(t, SEQ_MAX, 0);
        walk(t, 60, 0);
        if (table_verify(t) == HELIOS_OK)
            trust(t);
    }
    table_unref(t);
    epoch_drain();
    cache_free(cache);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct file_image image;
    struct io_file *file;
    struct io_fs *fs;

    if (size < 1 + FILE_HEADER_SIZE)
        return 0;
    image = (struct file_image){malloc(size - 1), size - 1, 0};
    assert(image.bytes);
    memcpy(image.bytes, data + 1, image.size);
    if (data[0] & 1)
        reseal_file(&image);
    assert(io_memory_new(&fs) == HELIOS_OK);
    assert(io_open(fs, "t", IO_WRITE | IO_CREATE, &file) == HELIOS_OK);
    assert(io_write(file, 0, image.bytes, image.size) == HELIOS_OK);
    io_close(file);
    read_table(fs, get_u64(image.bytes + FILE_NUMBER), image.size);
    io_free(fs);
    free(image.bytes);
    return 0;
}
