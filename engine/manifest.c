/* manifest.c - the manifest as bytes: encode, append, read back, dump. See manifest.h for the format.
 *
 * A torn edit at the end is one that never took effect, as nothing acts on an edit before its sync: it is
 * dropped, and the next edit begins a new manifest. What a dropped edit had named is still there: files
 * and segments go only after the sync of the edit that lets them go. */
#include "engine/manifest.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

enum {
    EDIT_SIZE = 0,
    EDIT_XXH3 = 8,
    EDIT_HEADER = 16,
    EDIT_BODY_MAX = 1 << 30,
    MANIFEST_ROLL_BYTES = 4 << 20, /* beyond this and four times its snapshot a new one is begun */
    PATH_BYTES = 4096,
};
_Static_assert(EDIT_SIZE + 4 + 4 == EDIT_XXH3, "the size is followed by four zeros, then the checksum");
_Static_assert(EDIT_XXH3 + 8 == EDIT_HEADER, "and that by the body");
_Static_assert(FILE_HEADER_SIZE % 8 == 0, "the first edit stands at a multiple of 8, as all do");

/* Fields of a body. Zero is none. */
enum {
    FIELD_SNAPSHOT = 1,
    FIELD_STATE = 2,
    FIELD_ADD = 3,
    FIELD_REMOVE = 4,
    FIELD_LOST = 5,
    FIELD_TIMELINE = 6
};

enum { STATE_FIELDS = 13, PROPERTY_FIELDS = 17, ADD_FIELDS = 6 };
_Static_assert(PROPERTY_FIELDS * sizeof(uint64_t) == sizeof(struct table_properties),
               "an edit has every property");

struct manifest {
    struct io_fs *fs;
    struct io_file *file;
    char *directory;
    char name[24];
    uint64_t number, salt, end, snapshot_bytes;
    bool broken; /* the next edit begins a new file */
    bool doubt;  /* an edit that failed may be found: its sync failed, or CURRENT may name its file */
};

/* ---- encoding ---- */

static helios_status put_number(helios_buf *buf, uint64_t value)
{
    unsigned char bytes[VARINT_MAX];

    return buf_append(buf, bytes, put_varint(bytes, value));
}

static helios_status put_slice(helios_buf *buf, helios_slice slice)
{
    helios_status status = put_number(buf, slice.size);

    return status == HELIOS_OK ? buf_append(buf, slice.data, slice.size) : status;
}

static void state_to_numbers(const struct manifest_state *s, uint64_t n[STATE_FIELDS])
{
    const uint64_t all[STATE_FIELDS] = {
        s->next_file, s->log_floor, s->log_synced, s->last_synced, s->flushed,    s->ceiling, s->horizon,
        s->time,      s->last,      s->clean,      s->clean_end,   s->user_bytes, 0};

    memcpy(n, all, sizeof(all));
}

static void state_from_numbers(const uint64_t n[STATE_FIELDS], struct manifest_state *s)
{
    s->next_file = n[0];
    s->log_floor = n[1];
    s->log_synced = n[2];
    s->last_synced = n[3];
    s->flushed = n[4];
    s->ceiling = n[5];
    s->horizon = n[6];
    s->time = n[7];
    s->last = n[8];
    s->clean = n[9] != 0;
    s->clean_end = n[10];
    s->user_bytes = n[11];
    s->timeline_flushed = s->flushed; /* unless the edit says more: there was no timeline once */
    s->clock = 0;
}

static void properties_to_numbers(const struct table_properties *p, uint64_t n[PROPERTY_FIELDS])
{
    const uint64_t all[PROPERTY_FIELDS] = {
        p->entries,           p->keys,       p->tombstones,    p->range_deletes, p->key_bytes,
        p->value_bytes,       p->data_bytes, p->history_bytes, p->index_bytes,   p->filter_bytes,
        p->value_block_bytes, p->seq_min,    p->seq_max,       p->time_min,      p->time_max,
        p->history_seq_max,   p->shadow_min};

    memcpy(n, all, sizeof(all));
}

static void properties_from_numbers(const uint64_t n[PROPERTY_FIELDS], struct table_properties *p)
{
    *p = (struct table_properties){.entries = n[0],
                                   .keys = n[1],
                                   .tombstones = n[2],
                                   .range_deletes = n[3],
                                   .key_bytes = n[4],
                                   .value_bytes = n[5],
                                   .data_bytes = n[6],
                                   .history_bytes = n[7],
                                   .index_bytes = n[8],
                                   .filter_bytes = n[9],
                                   .value_block_bytes = n[10],
                                   .seq_min = n[11],
                                   .seq_max = n[12],
                                   .time_min = n[13],
                                   .time_max = n[14],
                                   .history_seq_max = n[15],
                                   .shadow_min = n[16]};
}

static helios_status put_numbers(helios_buf *body, unsigned char tag, const uint64_t *numbers, size_t count)
{
    helios_status status = buf_append(body, &tag, 1);

    if (status == HELIOS_OK)
        status = put_number(body, count);
    for (size_t i = 0; i < count && status == HELIOS_OK; i++)
        status = put_number(body, numbers[i]);
    return status;
}

static helios_status put_state(helios_buf *body, const struct manifest_state *state)
{
    const uint64_t timeline[2] = {state->timeline_flushed, state->clock};
    uint64_t numbers[STATE_FIELDS];
    helios_status status;

    state_to_numbers(state, numbers);
    status = put_numbers(body, FIELD_STATE, numbers, STATE_FIELDS);
    if (status == HELIOS_OK)
        status = put_numbers(body, FIELD_TIMELINE, timeline, 2);
    for (uint32_t i = 0; i < state->lost_count && status == HELIOS_OK; i++) {
        const uint64_t range[2] = {state->lost[i].first, state->lost[i].last};

        status = put_numbers(body, FIELD_LOST, range, 2);
    }
    return status;
}

static helios_status put_file(helios_buf *body, uint32_t level, const struct table_file *file)
{
    uint64_t properties[PROPERTY_FIELDS];
    const uint64_t head[ADD_FIELDS] = {
        level, file->number, file->size, file->override_seq, file->largest_exclusive, file->collected};
    helios_status status = put_numbers(body, FIELD_ADD, head, ADD_FIELDS);

    properties_to_numbers(&file->properties, properties);
    if (status == HELIOS_OK)
        status = put_slice(body, file->smallest);
    if (status == HELIOS_OK)
        status = put_slice(body, file->largest);
    if (status == HELIOS_OK)
        status = put_number(body, PROPERTY_FIELDS);
    for (size_t i = 0; i < PROPERTY_FIELDS && status == HELIOS_OK; i++)
        status = put_number(body, properties[i]);
    return status;
}

static helios_status put_change(helios_buf *body, const struct version_change *change)
{
    const uint64_t gone[2] = {change->level, change->file->number};

    if (!change->remove)
        return put_file(body, change->level, change->file);
    return put_numbers(body, FIELD_REMOVE, gone, 2);
}

static helios_status put_snapshot(helios_buf *body, const struct manifest_state *state,
                                  const struct version *version)
{
    const unsigned char tag = FIELD_SNAPSHOT;
    helios_status status = buf_append(body, &tag, 1);

    if (status == HELIOS_OK)
        status = put_state(body, state);
    for (uint32_t l = 0; l < LEVEL_COUNT; l++)
        for (size_t i = 0; i < version->levels[l].count && status == HELIOS_OK; i++)
            status = put_file(body, l, version->levels[l].files[i]);
    return status;
}

/* ---- writing ---- */

static uint64_t edit_checksum(const unsigned char *edit, size_t body_size, uint64_t salt, uint64_t offset)
{
    uint64_t body = hash_bytes(edit + EDIT_HEADER, body_size);
    unsigned char head[16];

    memcpy(head, edit, 8);
    put_u64(head + 8, body);
    return checksum(head, sizeof(head), salt, offset);
}

/* The edit with its header, padded to 8, written at the end and synced. */
static helios_status write_edit(struct manifest *manifest, helios_buf *edit)
{
    static const unsigned char zeros[8];
    uint64_t body_size = edit->size - EDIT_HEADER;
    unsigned char *bytes = (unsigned char *)edit->data;
    helios_status status;

    if (body_size > EDIT_BODY_MAX)
        return fail(HELIOS_LIMIT, "%s: an edit of %" PRIu64 " bytes is too large", manifest->name, body_size);
    put_u32(bytes + EDIT_SIZE, (uint32_t)body_size);
    put_u32(bytes + 4, 0);
    put_u64(bytes + EDIT_XXH3, edit_checksum(bytes, body_size, manifest->salt, manifest->end));
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
    struct manifest fresh = {.fs = manifest->fs, .directory = manifest->directory};
    char old[PATH_BYTES], path[PATH_BYTES];
    helios_buf edit = {0};
    uint64_t number = state->next_file++;
    helios_status status = begin_edit(&edit);

    if (status == HELIOS_OK)
        status = put_snapshot(&edit, state, version);
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
    *manifest = fresh;
    return HELIOS_OK;
}

static helios_status manifest_new(struct io_fs *fs, const char *directory, struct manifest **out)
{
    struct manifest *manifest = mem_zalloc(sizeof(*manifest));
    char *copy = mem_text(directory);

    if (!manifest || !copy) {
        mem_free(manifest);
        mem_free(copy);
        return fail_no_memory(sizeof(*manifest));
    }
    manifest->fs = fs;
    manifest->directory = copy;
    *out = manifest;
    return HELIOS_OK;
}

void manifest_close(struct manifest *manifest)
{
    if (!manifest)
        return;
    io_close(manifest->file);
    mem_free(manifest->directory);
    mem_free(manifest);
}

helios_status manifest_create(struct io_fs *fs, const char *directory, struct manifest_state *state,
                              const struct version *version, struct manifest **out)
{
    struct manifest *manifest = NULL;
    helios_status status = manifest_new(fs, directory, &manifest);

    if (status == HELIOS_OK)
        status = begin_file(manifest, state, version);
    if (status != HELIOS_OK) {
        manifest_close(manifest);
        return status;
    }
    *out = manifest;
    return HELIOS_OK;
}

helios_status manifest_write_copy(struct io_fs *fs, const char *directory, const struct manifest_state *state,
                                  const struct version *version)
{
    struct manifest_state copy = *state;
    struct manifest *manifest = NULL;
    helios_status status = manifest_create(fs, directory, &copy, version, &manifest);

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
        status = put_state(&edit, state);
    for (size_t i = 0; i < count && status == HELIOS_OK; i++)
        status = put_change(&edit, &changes[i]);
    if (status == HELIOS_OK)
        status = write_edit(manifest, &edit);
    helios_buf_free(&edit);
    /* Whatever failed, what this edit would have said must be in the next one: a snapshot. */
    manifest->broken |= status != HELIOS_OK;
    return status;
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

/* The next edit of a file in memory. False at the end; *torn when what is left is no edit. */
struct edit_reader {
    const unsigned char *bytes;
    uint64_t size, at, salt;
    bool torn;
};

static bool next_edit(struct edit_reader *r, helios_slice *body)
{
    const unsigned char *edit = r->bytes + r->at;
    uint64_t left = r->size - r->at;
    uint32_t size;

    if (left == 0)
        return false;
    r->torn = true;
    if (left < EDIT_HEADER)
        return false;
    size = get_u32(edit + EDIT_SIZE);
    if (size == 0 || size > left - EDIT_HEADER || get_u32(edit + 4) != 0 ||
        get_u64(edit + EDIT_XXH3) != edit_checksum(edit, size, r->salt, r->at))
        return false;
    r->torn = false;
    *body = slice_make(edit + EDIT_HEADER, size);
    r->at += (EDIT_HEADER + (uint64_t)size + 7) & ~UINT64_C(7);
    if (r->at > r->size)
        r->at = r->size;
    return true;
}

/* One field; numbers holds at most what the longest field has. */
struct field {
    unsigned char tag;
    uint64_t numbers[STATE_FIELDS];
    helios_slice smallest, largest;
    struct table_properties properties;
};

static size_t field_numbers(unsigned char tag)
{
    switch (tag) {
    case FIELD_STATE: return STATE_FIELDS;
    case FIELD_ADD: return ADD_FIELDS;
    case FIELD_REMOVE:
    case FIELD_LOST:
    case FIELD_TIMELINE: return 2;
    default: return 0;
    }
}

static void read_properties(struct reader *r, struct table_properties *properties)
{
    uint64_t numbers[PROPERTY_FIELDS] = {0}, count = read_varint(r);

    r->bad |= count != PROPERTY_FIELDS;
    for (size_t i = 0; i < PROPERTY_FIELDS && !r->bad; i++)
        numbers[i] = read_varint(r);
    properties_from_numbers(numbers, properties);
}

static bool read_field(struct reader *r, struct field *field)
{
    size_t count;

    memset(field, 0, sizeof(*field));
    field->tag = read_u8(r);
    if (r->bad || field->tag < FIELD_SNAPSHOT || field->tag > FIELD_TIMELINE)
        return false;
    if (field->tag == FIELD_SNAPSHOT)
        return true;
    count = field_numbers(field->tag);
    if (read_varint(r) != count)
        return false;
    for (size_t i = 0; i < count; i++)
        field->numbers[i] = read_varint(r);
    if (field->tag == FIELD_ADD) {
        field->smallest = read_slice(r);
        field->largest = read_slice(r);
        read_properties(r, &field->properties);
    }
    return !r->bad;
}

/* What reading builds up: the changes of all edits, reduced at the end of each. */
struct loading {
    struct table_home *home;
    struct manifest_state *state;
    struct table_file **files[LEVEL_COUNT];
    size_t counts[LEVEL_COUNT], capacities[LEVEL_COUNT];
    const char *name;
    uint64_t at;
};

static helios_status loading_add(struct loading *l, const struct field *f)
{
    uint64_t level = f->numbers[0];
    struct table_file *file = NULL;
    helios_status status;

    if (level >= LEVEL_COUNT || f->numbers[4] > 1 || f->largest.size < KEY_LAYER_BYTES)
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

static helios_status loading_remove(struct loading *l, const struct field *f)
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

static helios_status load_field(struct loading *l, const struct field *field)
{
    struct manifest_state *state = l->state;

    switch (field->tag) {
    case FIELD_SNAPSHOT: loading_clear(l); return HELIOS_OK;
    case FIELD_STATE:
        state_from_numbers(field->numbers, state);
        state->lost_count = 0;
        return HELIOS_OK;
    case FIELD_ADD: return loading_add(l, field);
    case FIELD_REMOVE: return loading_remove(l, field);
    case FIELD_TIMELINE:
        state->timeline_flushed = field->numbers[0];
        state->clock = field->numbers[1];
        return HELIOS_OK;
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
    struct field field;
    helios_status status = HELIOS_OK;

    while (status == HELIOS_OK && reader_left(&r) > 0) {
        if (!read_field(&r, &field))
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

static helios_status load_all(struct manifest *manifest, struct loading *l, const unsigned char *bytes,
                              uint64_t size)
{
    struct edit_reader r = {.bytes = bytes, .size = size, .at = FILE_HEADER_SIZE, .salt = manifest->salt};
    helios_slice body;
    helios_status status = HELIOS_OK;
    size_t edits = 0;

    for (l->at = r.at; status == HELIOS_OK && next_edit(&r, &body); l->at = r.at) {
        status = load_edit(l, body);
        if (edits++ == 0)
            manifest->snapshot_bytes = r.at;
    }
    if (status != HELIOS_OK)
        return status;
    if (edits == 0)
        return fail_corrupt("%s: the edit at %d is damaged", l->name, FILE_HEADER_SIZE);
    manifest->end = r.at;
    manifest->broken = r.torn;
    /* A whole edit behind a damaged one was written after the damaged one had been synced. */
    for (uint64_t at = r.at + 8; r.torn && at + EDIT_HEADER < size; at += 8) {
        struct edit_reader later = {.bytes = bytes, .size = size, .at = at, .salt = manifest->salt};

        if (next_edit(&later, &body))
            return fail_corrupt("%s: the edit at %" PRIu64 " is damaged, one at %" PRIu64 " is whole", l->name,
                                r.at, at);
    }
    return HELIOS_OK;
}

helios_status manifest_open(struct io_fs *fs, const char *directory, struct table_home *home, bool read_only,
                            struct manifest_state *state, struct version **version, struct manifest **out)
{
    struct manifest *manifest = NULL;
    struct loading l = {.home = home, .state = state};
    struct file_header header;
    unsigned char *bytes = NULL;
    uint64_t size = 0;
    char path[PATH_BYTES];
    helios_status status = manifest_new(fs, directory, &manifest);

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

/* ---- files in log records ---- */

helios_status file_record_encode(helios_buf *buf, const struct file_record *file)
{
    const uint64_t head[3] = {file->number, file->size, file->largest_exclusive};
    uint64_t properties[PROPERTY_FIELDS];
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < 3 && status == HELIOS_OK; i++)
        status = put_number(buf, head[i]);
    if (status == HELIOS_OK)
        status = put_slice(buf, file->smallest);
    if (status == HELIOS_OK)
        status = put_slice(buf, file->largest);
    if (status == HELIOS_OK)
        status = put_number(buf, PROPERTY_FIELDS);
    properties_to_numbers(&file->properties, properties);
    for (size_t i = 0; i < PROPERTY_FIELDS && status == HELIOS_OK; i++)
        status = put_number(buf, properties[i]);
    return status;
}

bool file_record_read(struct reader *r, struct file_record *file)
{
    uint64_t exclusive;

    memset(file, 0, sizeof(*file));
    file->number = read_varint(r);
    file->size = read_varint(r);
    exclusive = read_varint(r);
    file->largest_exclusive = exclusive != 0;
    file->smallest = read_slice(r);
    file->largest = read_slice(r);
    read_properties(r, &file->properties);
    return !r->bad && exclusive <= 1 && file->smallest.size >= KEY_LAYER_BYTES &&
           slice_compare(file->smallest, file->largest) <= 0;
}

/* ---- dump ---- */

static void escape_key(helios_slice key, char *out, size_t size)
{
    size_t at = 0;

    for (size_t i = 0; i < key.size && at + 5 < size; i++) {
        unsigned char byte = slice_bytes(key)[i];

        if (byte >= 0x20 && byte < 0x7f && byte != '\\')
            out[at++] = (char)byte;
        else
            at += (size_t)snprintf(out + at, size - at, "\\x%02x", byte);
    }
    out[at] = 0;
}

static void describe(const struct field *f, char *text, size_t size)
{
    char smallest[200], largest[200];

    switch (f->tag) {
    case FIELD_SNAPSHOT: snprintf(text, size, "  snapshot: what follows is everything"); break;
    case FIELD_STATE:
        snprintf(text, size,
                 "  state next_file=%" PRIu64 " log_floor=%" PRIu64 " log_synced=%" PRIu64 ":%" PRIu64
                 " last_synced=%" PRIu64 " flushed=%" PRIu64 " ceiling=%" PRIu64 " horizon=%" PRIu64
                 " time=%" PRIu64 " last=%" PRIu64 " clean=%" PRIu64 " user_bytes=%" PRIu64,
                 f->numbers[0], f->numbers[1], f->numbers[2] >> 32, f->numbers[2] & UINT32_MAX, f->numbers[3],
                 f->numbers[4], f->numbers[5], f->numbers[6], f->numbers[7], f->numbers[8], f->numbers[9],
                 f->numbers[11]);
        break;
    case FIELD_ADD:
        escape_key(f->smallest, smallest, sizeof(smallest));
        escape_key(f->largest, largest, sizeof(largest));
        snprintf(text, size,
                 "  add level=%" PRIu64 " table=%" PRIu64 " size=%" PRIu64 " entries=%" PRIu64 " seq=%" PRIu64
                 "..%" PRIu64 " keys=%s .. %s%s",
                 f->numbers[0], f->numbers[1], f->numbers[2], f->properties.entries, f->properties.seq_min,
                 f->properties.seq_max, smallest, largest, f->numbers[4] ? " (exclusive)" : "");
        break;
    case FIELD_REMOVE:
        snprintf(text, size, "  remove level=%" PRIu64 " table=%" PRIu64, f->numbers[0], f->numbers[1]);
        break;
    case FIELD_TIMELINE:
        snprintf(text, size, "  timeline flushed=%" PRIu64 " clock=%" PRIu64, f->numbers[0], f->numbers[1]);
        break;
    default: snprintf(text, size, "  lost numbers %" PRIu64 "..%" PRIu64, f->numbers[0], f->numbers[1]);
    }
}

helios_status manifest_dump(struct io_fs *fs, const char *path, void (*line)(void *arg, const char *text),
                            void *arg)
{
    struct edit_reader r = {0};
    struct file_header header;
    struct io_file *file = NULL;
    unsigned char *bytes = NULL;
    uint64_t size = 0;
    helios_slice body;
    char text[1024];
    helios_status status = open_whole(fs, path, &file, &header, &bytes, &size);

    if (status != HELIOS_OK)
        goto out;
    r = (struct edit_reader){.bytes = bytes, .size = size, .at = FILE_HEADER_SIZE, .salt = header.salt};
    for (uint64_t at = r.at; next_edit(&r, &body); at = r.at) {
        struct reader fields = reader_make(body.data, body.size);
        struct field field;

        snprintf(text, sizeof(text), "edit at %" PRIu64 ", %zu bytes", at, body.size);
        line(arg, text);
        while (reader_left(&fields) > 0) {
            if (!read_field(&fields, &field)) {
                status = fail_corrupt("%s: edit at %" PRIu64 ": unknown or damaged field", path, at);
                goto out;
            }
            describe(&field, text, sizeof(text));
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
