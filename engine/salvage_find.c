/* salvage_find.c - what there is of a damaged database: tables, log segments, manifests. A manifest is read edit by edit,
 * over damage; one without any, all of whose tables are there, says what counts. */
#include "engine/feed.h"
#include "engine/identity.h"
#include "engine/manifest_format.h"
#include "engine/salvage_internal.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

helios_status salvage_room(void *items, size_t count, size_t *capacity, size_t size)
{
    void **array = items, *grown;
    size_t wanted = *capacity ? *capacity * 2 : 16;

    if (count < *capacity)
        return HELIOS_OK;
    grown = wanted < SIZE_MAX / size ? mem_realloc(*array, wanted * size) : NULL;
    if (!grown)
        return fail_no_memory(wanted * size);
    *array = grown;
    *capacity = wanted;
    return HELIOS_OK;
}

/* ---- tables ---- */

helios_status salvage_table_of(struct salvage *s, uint64_t number, struct salvage_table **out)
{
    struct salvage_tables *tables = &s->tables;
    helios_status status;

    for (size_t i = 0; i < tables->count; i++)
        if (tables->items[i].number == number) {
            *out = &tables->items[i];
            return HELIOS_OK;
        }
    status = salvage_room(&tables->items, tables->count, &tables->capacity, sizeof(*tables->items));
    if (status != HELIOS_OK)
        return status;
    *out = &tables->items[tables->count++];
    **out = (struct salvage_table){.number = number};
    return HELIOS_OK;
}

helios_status salvage_describe(struct salvage_table *table, helios_slice smallest, helios_slice largest,
                               const struct table_properties *properties, helios_seq override_seq)
{
    char *bytes = mem_alloc(smallest.size + largest.size + 1);

    if (!bytes)
        return fail_no_memory(smallest.size + largest.size + 1);
    mem_free((void *)table->smallest.data);
    memcpy(bytes, smallest.data, smallest.size);
    memcpy(bytes + smallest.size, largest.data, largest.size);
    table->smallest = slice_make(bytes, smallest.size);
    table->largest = slice_make(bytes + smallest.size, largest.size);
    table->properties = *properties;
    table->override_seq = override_seq;
    table->described = true;
    return HELIOS_OK;
}

static helios_status note_table(struct salvage *s, uint64_t number, const char *folder, const char *name,
                                helios_seq commit)
{
    struct salvage_table *table = NULL;
    char below[64];
    helios_status status;

    if (snprintf(below, sizeof(below), "%s/%s", folder, name) >= (int)sizeof(below))
        return HELIOS_OK;
    status = salvage_table_of(s, number, &table);
    if (status != HELIOS_OK)
        return status;
    if (!table->name[0])
        memcpy(table->name, below, sizeof(below));
    if (commit)
        table->override_seq = commit;
    return HELIOS_OK;
}

static helios_status see_table(void *arg, const char *name)
{
    uint64_t number;

    return numbered_name(name, ".sst", &number) ? note_table(arg, number, "sst", name, 0) : HELIOS_OK;
}

/* ---- the log ---- */

static helios_status note_segment(struct salvage *s, uint64_t number)
{
    helios_status status;

    for (size_t i = 0; i < s->segment_count; i++)
        if (s->segments[i] == number)
            return HELIOS_OK; /* a segment and its archive */
    status = salvage_room(&s->segments, s->segment_count, &s->segment_capacity, sizeof(*s->segments));
    if (status == HELIOS_OK)
        s->segments[s->segment_count++] = number;
    return status;
}

static helios_status see_log(void *arg, const char *name)
{
    uint64_t number;
    helios_seq commit;

    if (feed_table_name(name, &commit, &number))
        return note_table(arg, number, "wal", name, commit <= SEQ_MAX ? commit : 0);
    if (numbered_name(name, ".wal", &number) || numbered_name(name, ".arc", &number))
        return number > UINT32_MAX ? HELIOS_OK : note_segment(arg, number);
    return HELIOS_OK;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* ---- manifests ---- */

struct reading {
    struct salvage *s;
    struct manifest_state state;
    bool sound;
};

static helios_status take_field(struct reading *r, const struct manifest_field *f)
{
    struct salvage_table *table = NULL;
    helios_status status = HELIOS_OK;

    switch (f->tag) {
    case FIELD_SNAPSHOT:
        for (size_t i = 0; i < r->s->tables.count; i++)
            r->s->tables.items[i].listed = false;
        return HELIOS_OK;
    case FIELD_STATE: manifest_state_of(f->numbers, &r->state); return HELIOS_OK;
    case FIELD_TIMELINE:
        r->state.timeline_flushed = f->numbers[0];
        r->state.clock = f->numbers[1];
        return HELIOS_OK;
    case FIELD_DROPS: r->state.drops_settled = f->numbers[0]; return HELIOS_OK;
    case FIELD_REMOVE:
    case FIELD_ADD:
        status = salvage_table_of(r->s, f->numbers[1], &table);
        if (status != HELIOS_OK)
            return status;
        table->listed = f->tag == FIELD_ADD;
        if (f->tag == FIELD_REMOVE || f->numbers[3] > SEQ_MAX || f->smallest.size < KEY_LAYER_BYTES ||
            f->largest.size < KEY_LAYER_BYTES)
            return HELIOS_OK;
        table->size = f->numbers[2];
        return salvage_describe(table, f->smallest, f->largest, &f->properties, f->numbers[3]);
    default: return HELIOS_OK;
    }
}

static helios_status take_edit(struct reading *r, helios_slice body)
{
    struct reader fields = reader_make(body.data, body.size);
    struct manifest_field field;
    helios_status status = HELIOS_OK;

    while (reader_left(&fields) > 0 && status == HELIOS_OK) {
        if (!manifest_read_field(&fields, &field)) {
            r->sound = false;
            return HELIOS_OK;
        }
        status = take_field(r, &field);
    }
    return status;
}

/* Edit by edit; one that does not verify is damage only if a whole one is behind it. */
static helios_status take_edits(struct reading *r, unsigned char *bytes, uint64_t size, uint64_t salt)
{
    struct manifest_reader edits = {.bytes = bytes, .size = size, .at = FILE_HEADER_SIZE, .salt = salt};
    helios_status status = HELIOS_OK;
    helios_slice body;
    size_t count = 0;
    bool torn = false;

    while (edits.at < size && status == HELIOS_OK) {
        if (manifest_next_edit(&edits, &body)) {
            r->sound &= !torn;
            status = take_edit(r, body);
            count++;
        } else {
            torn = true;
            edits.at += WAL_ALIGN;
        }
    }
    r->sound &= count > 0;
    return status;
}

/* *sound: all of it can be believed. What a damaged one says of tables is noted all the same. */
static helios_status salvage_manifest(struct salvage *s, const char *name, bool *sound)
{
    struct reading r = {.s = s, .sound = true};
    struct file_header header;
    struct io_file *file = NULL;
    unsigned char *bytes = NULL;
    char path[PATH_BYTES_MAX];
    uint64_t size = 0;
    helios_status status;

    snprintf(path, sizeof(path), "%s/%s", s->from, name);
    status = io_open(s->fs, path, IO_READ, &file);
    if (status == HELIOS_OK)
        status = io_size(file, &size);
    if (status == HELIOS_OK && (size < FILE_HEADER_SIZE || size > (uint64_t)EDIT_BODY_MAX * 4))
        status = fail_corrupt("%s: no manifest has %" PRIu64 " bytes", path, size);
    if (status == HELIOS_OK) {
        bytes = mem_alloc((size_t)size);
        status = bytes ? io_read(file, 0, bytes, (size_t)size) : fail_no_memory((size_t)size);
    }
    io_close(file);
    if (status == HELIOS_OK && file_header_decode(bytes, MAGIC_MANIFEST, path, &header) != HELIOS_OK) {
        r.sound = false;
        header.salt = file_salt(bytes + FILE_ID);
    }
    if (status == HELIOS_OK)
        status = take_edits(&r, bytes, size, header.salt);
    mem_free(bytes);
    *sound = status == HELIOS_OK && r.sound;
    if (*sound || (status == HELIOS_OK && s->state.next_file == 0))
        s->state = r.state;
    return status == HELIOS_NO_MEMORY ? status : HELIOS_OK;
}

struct manifests {
    uint64_t *numbers;
    size_t count, capacity;
};

static helios_status see_manifest(void *arg, const char *name)
{
    struct manifests *found = arg;
    uint64_t number;
    helios_status status;

    if (strncmp(name, "MANIFEST-", 9) != 0 || !numbered_name(name + 9, "", &number))
        return HELIOS_OK;
    status = salvage_room(&found->numbers, found->count, &found->capacity, sizeof(*found->numbers));
    if (status == HELIOS_OK)
        found->numbers[found->count++] = number;
    return status;
}

/* The newest that is sound; a newer one than CURRENT names differs from it in nothing that was ever acted on. */
static helios_status read_manifests(struct salvage *s)
{
    struct manifests found = {0};
    helios_status status = io_list(s->fs, s->from, see_manifest, &found);

    if (found.count)
        qsort(found.numbers, found.count, sizeof(*found.numbers), by_number);
    for (size_t i = found.count; i-- > 0 && status == HELIOS_OK && !s->trusted;) {
        char name[32];

        snprintf(name, sizeof(name), "MANIFEST-%08" PRIu64, found.numbers[i]);
        status = salvage_manifest(s, name, &s->trusted);
        if (status == HELIOS_OK && !s->trusted) {
            const struct salvage_loss loss = {.kind = HELIOS_LOST_ENTRY, .file = name, .reason = "damaged"};

            salvage_lose(s, &loss);
        }
    }
    if (!s->trusted)
        s->state.drops_settled = SEQ_MAX;
    mem_free(found.numbers);
    return status;
}

/* ---- all of it ---- */

/* A folder that is not there has nothing. */
static helios_status list(struct salvage *s, const char *folder,
                          helios_status (*see)(void *arg, const char *name))
{
    char path[PATH_BYTES_MAX];
    helios_status status;

    snprintf(path, sizeof(path), "%s/%s", s->from, folder);
    status = io_list(s->fs, path, see, s);
    return status == HELIOS_NOT_FOUND ? HELIOS_OK : status;
}

helios_status salvage_find(struct salvage *s)
{
    helios_status status = list(s, "sst", see_table);

    if (status == HELIOS_OK)
        status = list(s, "wal", see_log);
    if (status == HELIOS_OK)
        status = read_manifests(s);
    if (status != HELIOS_OK)
        return status;
    if (s->tables.count == 0 && s->segment_count == 0 && !s->trusted)
        return fail(HELIOS_NOT_FOUND, "%s: no table, log segment or manifest is there", s->from);
    if (s->segment_count)
        qsort(s->segments, s->segment_count, sizeof(*s->segments), by_number);
    salvage_judge(s);
    return HELIOS_OK;
}

/* A table that is named and missing, while there are others that are not named: then the manifest is an older state of
 * the files, cut off or put back, and not what was let go of since. */
void salvage_judge(struct salvage *s)
{
    bool missing = false, unnamed = false;

    for (size_t i = 0; i < s->tables.count; i++) {
        const struct salvage_table *table = &s->tables.items[i];

        missing |= table->listed && !table->name[0];
        unnamed |= !table->listed && table->name[0] && strncmp(table->name, "sst/", 4) == 0;
    }
    if (missing && unnamed)
        s->trusted = false;
}

void salvage_release_found(struct salvage *s)
{
    for (size_t i = 0; i < s->tables.count; i++)
        mem_free((void *)s->tables.items[i].smallest.data);
    mem_free(s->tables.items);
    mem_free(s->segments);
}
