/* manifest.c - the manifest as a file: begun, appended to, read back, dumped. manifest_format.c knows its bytes.
 *
 * A torn edit at the end is one that never took effect, as nothing acts on an edit before its sync: it is
 * dropped, and the next edit begins a new manifest. What a dropped edit had named is still there: files
 * and segments go only after the sync of the edit that lets them go. */
#include "engine/manifest_format.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

enum {
    MANIFEST_ROLL_BYTES = 4 << 20, /* beyond this and four times its snapshot a new one is begun */
    PATH_BYTES = 4096,
};
struct manifest {
    struct io_fs *fs;
    struct io_file *file;
    struct crypt *keys;
    struct crypt_file crypt; /* of the file */
    char *directory;
    char name[24];
    uint64_t number, salt, end, snapshot_bytes;
    bool broken; /* the next edit begins a new file */
    bool doubt;  /* an edit that failed may be found: its sync failed, or CURRENT may name its file */
};

/* ---- writing ----
 *
 * An encrypted manifest is written by one open alone, and by that not again where a write has failed: each offset is
 * sealed at once. The next open begins a new file, as the end of this one may be torn, or live on in a copy. */

/* The first words of the header, and the body, encrypted if the file is. */
static helios_status edit_seal(const struct manifest *manifest, helios_buf *edit)
{
    size_t body_size = edit->size - EDIT_HEADER;
    helios_status status = buf_reserve(edit, edit->size + crypt_overhead(&manifest->crypt));
    unsigned char *bytes = (unsigned char *)edit->data, *body;
    helios_slice plain;

    if (status != HELIOS_OK)
        return status;
    body = bytes + EDIT_HEADER;
    plain = slice_make(body, body_size);
    put_u32(bytes + EDIT_SIZE, (uint32_t)(body_size + crypt_overhead(&manifest->crypt)));
    put_u32(bytes + 4, 0);
    if (!crypt_is_on(&manifest->crypt))
        return HELIOS_OK;
    edit->size += CRYPT_TAG_SIZE;
    return crypt_seal(&manifest->crypt, manifest->end, slice_make(bytes, EDIT_XXH3), &plain, 1, body);
}

static helios_status write_edit(struct manifest *manifest, helios_buf *edit)
{
    static const unsigned char zeros[8];
    uint64_t body_size = edit->size - EDIT_HEADER;
    unsigned char *bytes;
    helios_status status;

    if (body_size > EDIT_BODY_MAX - CRYPT_TAG_SIZE)
        return fail(HELIOS_LIMIT, "%s: an edit of %" PRIu64 " bytes is too large", manifest->name, body_size);
    status = edit_seal(manifest, edit);
    if (status != HELIOS_OK)
        return status;
    bytes = (unsigned char *)edit->data;
    body_size = edit->size - EDIT_HEADER;
    put_u64(bytes + EDIT_XXH3, manifest_edit_checksum(bytes, body_size, manifest->salt, manifest->end));
    status = buf_append(edit, zeros, (8 - edit->size % 8) % 8);
    if (status != HELIOS_OK)
        return status;
    manifest->broken = true;
    status = io_write(manifest->file, manifest->end, edit->data, edit->size);
    if (status != HELIOS_OK)
        return status;
    manifest->doubt = true;
    status = io_sync(manifest->file);
    if (status != HELIOS_OK)
        return status;
    manifest->broken = manifest->doubt = false;
    manifest->end += edit->size;
    return HELIOS_OK;
}

static helios_status begin_edit(helios_buf *edit)
{
    static const unsigned char header[EDIT_HEADER];

    return buf_append(edit, header, sizeof(header));
}

static void manifest_name(uint64_t number, char out[24])
{
    snprintf(out, 24, "MANIFEST-%08" PRIu64, number);
}

static void path_of(const char *directory, const char *name, char out[PATH_BYTES])
{
    snprintf(out, PATH_BYTES, "%s/%s", directory, name);
}

/* CURRENT is written aside, synced and renamed, so that it is always whole. *doubt: it may have moved. */
static helios_status point_current(struct io_fs *fs, const char *directory, const char *name, bool *doubt)
{
    char path[PATH_BYTES], aside[PATH_BYTES], text[64];
    struct io_file *file = NULL;
    helios_status status;
    int size = snprintf(text, sizeof(text), "%s %016" PRIx64 "\n", name, hash_bytes(name, strlen(name)));

    path_of(directory, "CURRENT", path);
    path_of(directory, "CURRENT.tmp", aside);
    status = io_open(fs, aside, IO_WRITE | IO_CREATE | IO_TRUNCATE, &file);
    if (status == HELIOS_OK)
        status = io_write(file, 0, text, (size_t)size);
    if (status == HELIOS_OK)
        status = io_sync(file);
    io_close(file);
    if (status != HELIOS_OK)
        return status;
    *doubt = true;
    status = io_rename(fs, aside, path);
    return status == HELIOS_OK ? io_sync_directory(fs, directory) : status;
}

static helios_status create_file(struct manifest *manifest, uint64_t number)
{
    struct file_header header = {.number = number};
    unsigned char bytes[FILE_HEADER_SIZE];
    char path[PATH_BYTES];
    helios_status status = io_random(manifest->fs, header.id, sizeof(header.id));

    if (status == HELIOS_OK)
        status = crypt_file_begin(manifest->keys, &header, MAGIC_MANIFEST, &manifest->crypt);
    if (status != HELIOS_OK)
        return status;
    manifest_name(number, manifest->name);
    path_of(manifest->directory, manifest->name, path);
    status = io_open(manifest->fs, path, IO_WRITE | IO_CREATE | IO_TRUNCATE, &manifest->file);
    if (status != HELIOS_OK)
        return status;
    manifest->number = number;
    manifest->salt = file_salt(header.id);
    manifest->end = FILE_HEADER_SIZE;
    file_header_encode(&header, MAGIC_MANIFEST, bytes);
    return io_write(manifest->file, 0, bytes, sizeof(bytes));
}

/* A new file that begins with all of the state; CURRENT points to it at the end. On failure the
 * manifest is as broken as before and its old file stays the live one. */
static helios_status begin_file(struct manifest *manifest, struct manifest_state *state,
                                const struct version *version)
{
    struct manifest fresh = {.fs = manifest->fs, .keys = manifest->keys, .directory = manifest->directory};
    char old[PATH_BYTES], path[PATH_BYTES];
    helios_buf edit = {0};
    uint64_t number = state->next_file++;
    helios_status status = begin_edit(&edit);

    if (status == HELIOS_OK)
        status = manifest_put_snapshot(&edit, state, version);
    if (status == HELIOS_OK)
        status = create_file(&fresh, number);
    if (status == HELIOS_OK)
        status = write_edit(&fresh, &edit);
    if (status == HELIOS_OK) /* its name before the one of CURRENT: the two changes may survive in any order */
        status = io_sync_directory(manifest->fs, manifest->directory);
    if (status == HELIOS_OK)
        status = point_current(manifest->fs, manifest->directory, fresh.name, &manifest->doubt);
    helios_buf_free(&edit);
    if (status != HELIOS_OK) {
        /* CURRENT may or may not have moved: only files that it surely does not name may go, and a
         * leftover costs nothing. The next edit tries again with a new number. */
        io_close(fresh.file);
        crypt_file_release(&fresh.crypt);
        manifest->broken = true;
        return status;
    }
    path_of(manifest->directory, manifest->name, old);
    path_of(manifest->directory, fresh.name, path);
    if (manifest->file) {
        io_close(manifest->file);
        if (io_remove(manifest->fs, old) != HELIOS_OK) {
            /* Left for the next open to remove. */
        }
    }
    fresh.snapshot_bytes = fresh.end;
    crypt_file_release(&manifest->crypt);
    *manifest = fresh;
    return HELIOS_OK;
}

static helios_status manifest_new(struct io_fs *fs, struct crypt *keys, const char *directory,
                                  struct manifest **out)
{
    struct manifest *manifest = mem_zalloc(sizeof(*manifest));
    char *copy = mem_text(directory);

    if (!manifest || !copy) {
        mem_free(manifest);
        mem_free(copy);
        return fail_no_memory(sizeof(*manifest));
    }
    manifest->fs = fs;
    manifest->keys = keys;
    manifest->directory = copy;
    *out = manifest;
    return HELIOS_OK;
}

void manifest_close(struct manifest *manifest)
{
    if (!manifest)
        return;
    io_close(manifest->file);
    crypt_file_release(&manifest->crypt);
    mem_free(manifest->directory);
    mem_free(manifest);
}

helios_status manifest_create(struct io_fs *fs, struct crypt *keys, const char *directory,
                              struct manifest_state *state, const struct version *version,
                              struct manifest **out)
{
    struct manifest *manifest = NULL;
    helios_status status = manifest_new(fs, keys, directory, &manifest);

    if (status == HELIOS_OK)
        status = begin_file(manifest, state, version);
    if (status != HELIOS_OK) {
        manifest_close(manifest);
        return status;
    }
    *out = manifest;
    return HELIOS_OK;
}

helios_status manifest_write_copy(struct io_fs *fs, struct crypt *keys, const char *directory,
                                  const struct manifest_state *state, const struct version *version)
{
    struct manifest_state copy = *state;
    struct manifest *manifest = NULL;
    helios_status status = manifest_create(fs, keys, directory, &copy, version, &manifest);

    manifest_close(status == HELIOS_OK ? manifest : NULL);
    return status;
}

helios_status manifest_append(struct manifest *manifest, struct manifest_state *state,
                              const struct version_change *changes, size_t count, const struct version *after)
{
    helios_buf edit = {0};
    helios_status status;

    if (manifest->broken ||
        (manifest->end > MANIFEST_ROLL_BYTES && manifest->end > 4 * manifest->snapshot_bytes))
        return begin_file(manifest, state, after);
    status = begin_edit(&edit);
    if (status == HELIOS_OK)
        status = manifest_put_state(&edit, state);
    for (size_t i = 0; i < count && status == HELIOS_OK; i++)
        status = manifest_put_change(&edit, &changes[i]);
    if (status == HELIOS_OK)
        status = write_edit(manifest, &edit);
    helios_buf_free(&edit);
    /* Whatever failed, what this edit would have said must be in the next one: a snapshot. */
    manifest->broken |= status != HELIOS_OK;
    return status;
}

void manifest_renew(struct manifest *manifest)
{
    manifest->broken = true;
}

bool manifest_in_doubt(const struct manifest *manifest)
{
    return manifest->doubt;
}
uint64_t manifest_number(const struct manifest *manifest)
{
    return manifest->number;
}
const char *manifest_path(const struct manifest *manifest)
{
    return io_path(manifest->file);
}

/* ---- reading ---- */

/* What reading builds up: the changes of all edits, reduced at the end of each. */
struct loading {
    struct table_home *home;
    struct manifest_state *state;
    struct table_file **files[LEVEL_COUNT];
    size_t counts[LEVEL_COUNT], capacities[LEVEL_COUNT];
    const char *name;
    uint64_t at;
};

static helios_status loading_add(struct loading *l, const struct manifest_field *f)
{
    uint64_t level = f->numbers[0];
    struct table_file *file = NULL;
    helios_status status;

    if (level >= LEVEL_COUNT || f->numbers[4] > 1 || f->smallest.size < KEY_LAYER_BYTES ||
        f->largest.size < KEY_LAYER_BYTES)
        return fail_corrupt("%s: edit at %" PRIu64 ": a file with impossible bounds", l->name, l->at);
    if (l->counts[level] == l->capacities[level]) {
        size_t capacity = l->capacities[level] ? l->capacities[level] * 2 : 16;
        struct table_file **files = mem_realloc(l->files[level], capacity * sizeof(*files));

        if (!files)
            return fail_no_memory(capacity * sizeof(*files));
        l->files[level] = files;
        l->capacities[level] = capacity;
    }
    status = table_file_new(l->home, f->numbers[1], f->numbers[2], f->numbers[3], f->smallest, f->largest,
                            f->numbers[4] != 0, &f->properties, &file);
    if (status != HELIOS_OK)
        return status;
    file->collected = f->numbers[5];
    l->files[level][l->counts[level]++] = file;
    return HELIOS_OK;
}

static helios_status loading_remove(struct loading *l, const struct manifest_field *f)
{
    uint64_t level = f->numbers[0];

    for (size_t i = 0; level < LEVEL_COUNT && i < l->counts[level]; i++)
        if (l->files[level][i]->number == f->numbers[1]) {
            table_file_unref(l->files[level][i]);
            l->files[level][i] = l->files[level][--l->counts[level]];
            return HELIOS_OK;
        }
    return fail_corrupt("%s: edit at %" PRIu64 " removes table %" PRIu64 ", which is not there", l->name, l->at,
                        f->numbers[1]);
}

static void loading_clear(struct loading *l)
{
    for (size_t level = 0; level < LEVEL_COUNT; level++) {
        for (size_t i = 0; i < l->counts[level]; i++)
            table_file_unref(l->files[level][i]);
        l->counts[level] = 0;
    }
}

static helios_status load_field(struct loading *l, const struct manifest_field *field)
{
    struct manifest_state *state = l->state;

    switch (field->tag) {
    case FIELD_SNAPSHOT: loading_clear(l); return HELIOS_OK;
    case FIELD_STATE:
        manifest_state_of(field->numbers, state);
        state->lost_count = 0;
        return HELIOS_OK;
    case FIELD_ADD: return loading_add(l, field);
    case FIELD_REMOVE: return loading_remove(l, field);
    case FIELD_TIMELINE:
        state->timeline_flushed = field->numbers[0];
        state->clock = field->numbers[1];
        return HELIOS_OK;
    case FIELD_FEED:
        state->feed_first = field->numbers[0];
        state->feed_segment = field->numbers[1];
        return HELIOS_OK;
    case FIELD_DROPS: state->drops_settled = field->numbers[0]; return HELIOS_OK;
    default:
        if (state->lost_count == LOST_RANGES_MAX)
            return fail_corrupt("%s: edit at %" PRIu64 ": too many lost ranges", l->name, l->at);
        state->lost[state->lost_count++] = (struct lost_range){field->numbers[0], field->numbers[1]};
        return HELIOS_OK;
    }
}

static helios_status load_edit(struct loading *l, helios_slice body)
{
    struct reader r = reader_make(body.data, body.size);
    struct manifest_field field;
    helios_status status = HELIOS_OK;

    while (status == HELIOS_OK && reader_left(&r) > 0) {
        if (!manifest_read_field(&r, &field))
            return fail_corrupt("%s: edit at %" PRIu64 ": unknown or damaged field", l->name, l->at);
        status = load_field(l, &field);
    }
    return status;
}

static helios_status loading_version(struct loading *l, struct version **out)
{
    struct version *empty = NULL;
    struct version_change *changes = NULL;
    size_t total = 0, at = 0;
    helios_status status;

    for (size_t level = 0; level < LEVEL_COUNT; level++)
        total += l->counts[level];
    changes = mem_array(total + 1, sizeof(*changes));
    if (!changes)
        return fail_no_memory(total * sizeof(*changes));
    for (uint32_t level = 0; level < LEVEL_COUNT; level++)
        for (size_t i = 0; i < l->counts[level]; i++)
            changes[at++] = (struct version_change){.file = l->files[level][i], .level = level};
    status = version_new_empty(&empty);
    if (status == HELIOS_OK)
        status = version_apply(empty, changes, total, out);
    if (status == HELIOS_OK) {
        status = version_validate(*out);
        if (status != HELIOS_OK) {
            version_unref(*out);
            *out = NULL;
        }
    }
    version_unref(empty);
    mem_free(changes);
    return status == HELIOS_OK ? status : fail_context(status, "%s", l->name);
}

static helios_status read_whole(struct io_file *file, unsigned char **out, uint64_t *size)
{
    unsigned char *bytes;
    helios_status status = io_size(file, size);

    if (status != HELIOS_OK)
        return status;
    if (*size > (uint64_t)EDIT_BODY_MAX * 4)
        return fail_corrupt("%s: a manifest of %" PRIu64 " bytes is not ours", io_path(file), *size);
    bytes = mem_alloc((size_t)*size + 1);
    if (!bytes)
        return fail_no_memory((size_t)*size);
    status = io_read(file, 0, bytes, (size_t)*size);
    if (status != HELIOS_OK) {
        mem_free(bytes);
        return status;
    }
    *out = bytes;
    return HELIOS_OK;
}

static helios_status open_whole(struct io_fs *fs, const char *path, struct io_file **file,
                                struct file_header *header, unsigned char **bytes, uint64_t *size)
{
    helios_status status = io_open(fs, path, IO_READ, file);

    if (status == HELIOS_OK)
        status = read_whole(*file, bytes, size);
    if (status != HELIOS_OK)
        return status;
    if (*size < FILE_HEADER_SIZE)
        return fail_corrupt("%s: ends at %" PRIu64 ", before its header does", path, *size);
    return file_header_decode(*bytes, MAGIC_MANIFEST, path, header);
}

static helios_status read_current(struct io_fs *fs, const char *directory, char name[24])
{
    char path[PATH_BYTES], text[64] = {0}, wanted[64];
    struct io_file *file = NULL;
    size_t got = 0;
    helios_status status;

    path_of(directory, "CURRENT", path);
    status = io_open(fs, path, IO_READ, &file);
    if (status == HELIOS_OK)
        status = io_read_some(file, 0, text, sizeof(text) - 1, &got);
    io_close(file);
    if (status != HELIOS_OK)
        return status;
    if (got < 18 || memcmp(text, "MANIFEST-", 9) != 0)
        return fail_corrupt("%s: does not name a manifest", path);
    memcpy(name, text, 17);
    name[17] = 0;
    snprintf(wanted, sizeof(wanted), "%s %016" PRIx64 "\n", name, hash_bytes(name, 17));
    if (strcmp(text, wanted) != 0 || strspn(name + 9, "0123456789") != 8)
        return fail_corrupt("%s: damaged at offset 0; it should read MANIFEST-<8 digits> <checksum>", path);
    return HELIOS_OK;
}

static helios_status load_all(struct manifest *manifest, struct loading *l, unsigned char *bytes, uint64_t size)
{
    struct manifest_reader r = {.bytes = bytes, .size = size, .at = FILE_HEADER_SIZE, .salt = manifest->salt};
    helios_slice body;
    helios_status status = HELIOS_OK;
    size_t edits = 0;

    for (l->at = r.at; status == HELIOS_OK && manifest_next_edit(&r, &body); l->at = r.at) {
        status = manifest_edit_open(&r, &manifest->crypt, l->name, l->at, &body);
        if (status == HELIOS_OK)
            status = load_edit(l, body);
        if (edits++ == 0)
            manifest->snapshot_bytes = r.at;
    }
    if (status != HELIOS_OK)
        return status;
    if (edits == 0)
        return fail_corrupt("%s: the edit at %d is damaged", l->name, FILE_HEADER_SIZE);
    manifest->end = r.at;
    manifest->broken = r.torn || crypt_is_on(&manifest->crypt);
    /* A whole edit behind a damaged one was written after the damaged one had been synced. */
    for (uint64_t at = r.at + 8; r.torn && at + EDIT_HEADER < size; at += 8) {
        struct manifest_reader later = {.bytes = bytes, .size = size, .at = at, .salt = manifest->salt};

        if (manifest_next_edit(&later, &body))
            return fail_corrupt("%s: the edit at %" PRIu64 " is damaged, one at %" PRIu64 " is whole", l->name,
                                r.at, at);
    }
    return HELIOS_OK;
}

helios_status manifest_open(struct io_fs *fs, struct crypt *keys, const char *directory,
                            struct table_home *home, bool read_only, struct manifest_state *state,
                            struct version **version, struct manifest **out)
{
    struct manifest *manifest = NULL;
    struct loading l = {.home = home, .state = state};
    struct file_header header;
    unsigned char *bytes = NULL;
    uint64_t size = 0;
    char path[PATH_BYTES];
    helios_status status = manifest_new(fs, keys, directory, &manifest);

    if (status != HELIOS_OK)
        return status;
    memset(state, 0, sizeof(*state));
    status = read_current(fs, directory, manifest->name);
    if (status != HELIOS_OK)
        goto out;
    path_of(directory, manifest->name, path);
    l.name = path;
    status = open_whole(fs, path, &manifest->file, &header, &bytes, &size);
    if (status == HELIOS_NOT_FOUND)
        status = fail_corrupt("%s: missing, but CURRENT names it", path);
    if (status != HELIOS_OK)
        goto out;
    manifest->number = header.number;
    manifest->salt = header.salt;
    status = crypt_file_open(keys, &header, MAGIC_MANIFEST, path, &manifest->crypt);
    if (status == HELIOS_OK)
        status = load_all(manifest, &l, bytes, size);
    if (status == HELIOS_OK)
        status = loading_version(&l, version);
    if (status != HELIOS_OK || read_only)
        goto out;
    io_close(manifest->file);
    manifest->file = NULL;
    status = io_open(fs, path, IO_WRITE, &manifest->file);
    if (status != HELIOS_OK) {
        version_unref(*version);
        *version = NULL;
    }
out:
    loading_clear(&l);
    for (size_t level = 0; level < LEVEL_COUNT; level++)
        mem_free(l.files[level]);
    mem_free(bytes);
    if (status != HELIOS_OK) {
        manifest_close(manifest);
        return status;
    }
    *out = manifest;
    return HELIOS_OK;
}

/* ---- dump ---- */

helios_status manifest_dump(struct io_fs *fs, const char *path, void (*line)(void *arg, const char *text),
                            void *arg)
{
    struct manifest_reader r = {0};
    struct file_header header;
    struct io_file *file = NULL;
    unsigned char *bytes = NULL;
    uint64_t size = 0;
    helios_slice body;
    char text[1024];
    helios_status status = open_whole(fs, path, &file, &header, &bytes, &size);

    if (status != HELIOS_OK)
        goto out;
    if (header.flags & FILE_ENCRYPTED) {
        status = fail(HELIOS_UNSUPPORTED, "%s: is encrypted", path);
        goto out;
    }
    r = (struct manifest_reader){.bytes = bytes, .size = size, .at = FILE_HEADER_SIZE, .salt = header.salt};
    for (uint64_t at = r.at; manifest_next_edit(&r, &body); at = r.at) {
        struct reader fields = reader_make(body.data, body.size);
        struct manifest_field field;

        snprintf(text, sizeof(text), "edit at %" PRIu64 ", %zu bytes", at, body.size);
        line(arg, text);
        while (reader_left(&fields) > 0) {
            if (!manifest_read_field(&fields, &field)) {
                status = fail_corrupt("%s: edit at %" PRIu64 ": unknown or damaged field", path, at);
                goto out;
            }
            manifest_field_text(&field, text, sizeof(text));
            line(arg, text);
        }
    }
    if (r.torn)
        status = fail_corrupt("%s: no whole edit at %" PRIu64 ", %" PRIu64 " bytes before the end", path, r.at,
                              size - r.at);
out:
    io_close(file);
    mem_free(bytes);
    return status;
}
