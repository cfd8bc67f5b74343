/* manifest_format.c - an edit of the manifest as bytes: its header and checksum, its fields, and the tables that log
 * records name likewise. Called by manifest.c; see docs/format.md. */
#include "engine/manifest_format.h"
#include "base/hash.h"
#include <inttypes.h>
#include <stdio.h>

_Static_assert(EDIT_SIZE + 4 + 4 == EDIT_XXH3, "the size is followed by four zeros, then the checksum");
_Static_assert(EDIT_XXH3 + 8 == EDIT_HEADER, "and that by the body");
_Static_assert(FILE_HEADER_SIZE % 8 == 0, "the first edit stands at a multiple of 8, as all do");

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

void manifest_state_of(const uint64_t n[STATE_FIELDS], struct manifest_state *s)
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
    s->feed_first = s->feed_segment = 0; /* likewise */
    s->drops_settled = SEQ_MAX;
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

helios_status manifest_put_state(helios_buf *body, const struct manifest_state *state)
{
    const uint64_t timeline[2] = {state->timeline_flushed, state->clock};
    const uint64_t feed[2] = {state->feed_first, state->feed_segment};
    uint64_t numbers[STATE_FIELDS];
    helios_status status;

    state_to_numbers(state, numbers);
    status = put_numbers(body, FIELD_STATE, numbers, STATE_FIELDS);
    if (status == HELIOS_OK)
        status = put_numbers(body, FIELD_TIMELINE, timeline, 2);
    if (status == HELIOS_OK && state->feed_first)
        status = put_numbers(body, FIELD_FEED, feed, 2);
    if (status == HELIOS_OK && state->feed_first && state->drops_settled != SEQ_MAX)
        status = put_numbers(body, FIELD_DROPS, &state->drops_settled, 1);
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

helios_status manifest_put_change(helios_buf *body, const struct version_change *change)
{
    const uint64_t gone[2] = {change->level, change->file->number};

    if (!change->remove)
        return put_file(body, change->level, change->file);
    return put_numbers(body, FIELD_REMOVE, gone, 2);
}

helios_status manifest_put_snapshot(helios_buf *body, const struct manifest_state *state,
                                    const struct version *version)
{
    const unsigned char tag = FIELD_SNAPSHOT;
    helios_status status = buf_append(body, &tag, 1);

    if (status == HELIOS_OK)
        status = manifest_put_state(body, state);
    for (uint32_t l = 0; l < LEVEL_COUNT; l++)
        for (size_t i = 0; i < version->levels[l].count && status == HELIOS_OK; i++)
            status = put_file(body, l, version->levels[l].files[i]);
    return status;
}

uint64_t manifest_edit_checksum(const unsigned char *edit, size_t body_size, uint64_t salt, uint64_t offset)
{
    uint64_t body = hash_bytes(edit + EDIT_HEADER, body_size);
    unsigned char head[16];

    memcpy(head, edit, 8);
    put_u64(head + 8, body);
    return checksum(head, sizeof(head), salt, offset);
}

/* The edit with its header, padded to 8, written at the end and synced. */
/* ---- reading ---- */

bool manifest_next_edit(struct manifest_reader *r, helios_slice *body)
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
        get_u64(edit + EDIT_XXH3) != manifest_edit_checksum(edit, size, r->salt, r->at))
        return false;
    r->torn = false;
    *body = slice_make(edit + EDIT_HEADER, size);
    r->at += (EDIT_HEADER + (uint64_t)size + 7) & ~UINT64_C(7);
    if (r->at > r->size)
        r->at = r->size;
    return true;
}

helios_status manifest_edit_open(const struct manifest_reader *r, const struct crypt_file *crypt,
                                 const char *path, uint64_t at, helios_slice *body)
{
    unsigned char *edit = r->bytes + at;
    bool right;
    helios_status status;

    if (!crypt_is_on(crypt))
        return HELIOS_OK;
    status = crypt_open(crypt, at, slice_make(edit, EDIT_XXH3), edit + EDIT_HEADER, body->size,
                        edit + EDIT_HEADER, &right);
    if (status == HELIOS_OK && !right)
        return fail_corrupt("%s: edit at %" PRIu64 ": not what was encrypted there", path, at);
    *body = slice_make(edit + EDIT_HEADER, body->size - CRYPT_TAG_SIZE);
    return status;
}

static size_t field_numbers(unsigned char tag)
{
    switch (tag) {
    case FIELD_STATE: return STATE_FIELDS;
    case FIELD_ADD: return ADD_FIELDS;
    case FIELD_REMOVE:
    case FIELD_LOST:
    case FIELD_TIMELINE:
    case FIELD_FEED: return 2;
    case FIELD_DROPS: return 1;
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

bool manifest_read_field(struct reader *r, struct manifest_field *field)
{
    size_t count;

    memset(field, 0, sizeof(*field));
    field->tag = read_u8(r);
    if (r->bad || field->tag < FIELD_SNAPSHOT || field->tag > FIELD_DROPS)
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

/* ---- for people ---- */

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

void manifest_field_text(const struct manifest_field *f, char *text, size_t size)
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
    case FIELD_FEED:
        snprintf(text, size, "  feed first=%" PRIu64 " segment=%" PRIu64, f->numbers[0], f->numbers[1]);
        break;
    case FIELD_DROPS: snprintf(text, size, "  drops settled=%" PRIu64, f->numbers[0]); break;
    default: snprintf(text, size, "  lost numbers %" PRIu64 "..%" PRIu64, f->numbers[0], f->numbers[1]);
    }
}
