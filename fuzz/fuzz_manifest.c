/* fuzz_manifest.c - arbitrary bytes as a manifest and as CURRENT. The low bits of the first byte choose: 0 a manifest as it is;
 * 1 one whose header and edits get the right checksums, so that mutations reach the fields; 2 CURRENT; 3 the body
 * of the only edit. What is accepted is a tree in order, and says the same when it is written again. */
#undef NDEBUG
#include "base/hash.h"
#include "base/mem.h"
#include "engine/manifest_format.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NAME "MANIFEST-00000001"

static void put_file(struct io_fs *fs, const char *path, const void *bytes, size_t size)
{
    struct io_file *file = NULL;

    assert(io_open(fs, path, IO_WRITE | IO_CREATE | IO_TRUNCATE, &file) == HELIOS_OK);
    assert(size == 0 || io_write(file, 0, bytes, size) == HELIOS_OK);
    io_close(file);
}

static void put_current(struct io_fs *fs)
{
    char text[64];

    snprintf(text, sizeof(text), "%s %016llx\n", NAME, (unsigned long long)hash_bytes(NAME, strlen(NAME)));
    put_file(fs, "/db/CURRENT", text, strlen(text));
}

/* The header made right, and every edit as long as it says, or to the end. */
static void seal(unsigned char *bytes, size_t size)
{
    struct file_header header = {.number = 1};

    memcpy(header.id, bytes + FILE_ID, FILE_ID_SIZE);
    header.salt = file_salt(header.id);
    file_header_encode(&header, MAGIC_MANIFEST, bytes);
    for (size_t at = FILE_HEADER_SIZE; at + EDIT_HEADER < size;) {
        size_t left = size - at - EDIT_HEADER, body = get_u32(bytes + at + EDIT_SIZE);

        if (body == 0 || body > left)
            body = left;
        put_u32(bytes + at + EDIT_SIZE, (uint32_t)body);
        put_u32(bytes + at + 4, 0);
        put_u64(bytes + at + EDIT_XXH3, manifest_edit_checksum(bytes + at, body, header.salt, at));
        at += (EDIT_HEADER + body + 7) & ~(size_t)7;
    }
}

static void count_line(void *arg, const char *text)
{
    *(size_t *)arg += strlen(text);
}

/* What was read is written to another place, read there, and one more edit goes on from it. */
static void write_again(struct io_fs *fs, struct table_home *home, const struct manifest_state *state,
                        const struct version *version)
{
    struct manifest_state copied, edited;
    struct version *same = NULL;
    struct manifest *manifest = NULL;

    assert(io_make_directory(fs, "/copy") == HELIOS_OK);
    copied = *state;
    copied.next_file &= 0xffffff; /* a name has eight digits */
    if (manifest_write_copy(fs, NULL, "/copy", &copied, version) != HELIOS_OK)
        return;
    assert(manifest_open(fs, NULL, "/copy", home, false, &edited, &same, &manifest) == HELIOS_OK);
    version_check(same);
    assert(same->file_count == version->file_count && same->seq_max == version->seq_max);
    assert(edited.ceiling == state->ceiling && edited.horizon == state->horizon &&
           edited.clock == state->clock);
    assert(edited.lost_count == state->lost_count && edited.feed_first == state->feed_first);
    edited.horizon++;
    assert(manifest_append(manifest, &edited, NULL, 0, same) == HELIOS_OK);
    manifest_close(manifest);
    version_unref(same);
    assert(manifest_open(fs, NULL, "/copy", home, true, &copied, &same, &manifest) == HELIOS_OK);
    assert(copied.horizon == edited.horizon && same->file_count == version->file_count);
    manifest_close(manifest);
    version_unref(same);
}

static void read_manifest(struct io_fs *fs)
{
    struct table_home home = {.fs = fs, .directory = (char *)(uintptr_t) "/db/sst"};
    struct manifest_state state;
    struct version *version = NULL;
    struct manifest *manifest = NULL;
    size_t text = 0;

    (void)!manifest_dump(fs, "/db/" NAME, count_line, &text);
    if (manifest_open(fs, NULL, "/db", &home, true, &state, &version, &manifest) != HELIOS_OK)
        return;
    version_check(version);
    assert(state.lost_count <= LOST_RANGES_MAX && text > 0);
    manifest_close(manifest);
    write_again(fs, &home, &state, version);
    version_unref(version);
}

static size_t one_edit(const uint8_t *data, size_t size, unsigned char *bytes)
{
    memset(bytes, 0, FILE_HEADER_SIZE + EDIT_HEADER);
    if (size)
        memcpy(bytes + FILE_HEADER_SIZE + EDIT_HEADER, data, size);
    put_u32(bytes + FILE_HEADER_SIZE + EDIT_SIZE, (uint32_t)size);
    return FILE_HEADER_SIZE + EDIT_HEADER + size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char *bytes;
    struct io_fs *fs = NULL;
    unsigned what = size ? data[0] & 3 : 0;
    size_t length;

    if (size < 1)
        return 0;
    data++;
    length = --size;
    bytes = mem_alloc(size + FILE_HEADER_SIZE + EDIT_HEADER);
    assert(bytes && io_memory_new(&fs) == HELIOS_OK && io_make_directory(fs, "/db") == HELIOS_OK);
    if (what >= 2)
        length = one_edit(data, what == 3 ? size : 0, bytes);
    else if (size)
        memcpy(bytes, data, size);
    if ((what & 1) && length > FILE_HEADER_SIZE)
        seal(bytes, length);
    put_file(fs, "/db/" NAME, bytes, length);
    if (what == 2)
        put_file(fs, "/db/CURRENT", data, size);
    else
        put_current(fs);
    read_manifest(fs);
    io_free(fs);
    mem_free(bytes);
    return 0;
}
