/* salvage_log.c - the log of a damaged database: every record that is whole, in the order of its segments. Behind a hole
 * it goes on; what an earlier recovery cut off stays cut off. */
#include "engine/origins.h"
#include "engine/salvage_internal.h"
#include <inttypes.h>
#include <stdio.h>

enum { MEMTABLE_BYTES = 32 << 20 };

struct log_walk {
    struct salvage *s;
    struct helios_batch *scratch;
    struct memtable_hint hint;
    helios_buf key;
    helios_seq last; /* of the last record */
    helios_seq commit;
    char name[64]; /* of the segment or archive, below the source */
    bool after_hole;
};

static void lose_commits(struct log_walk *w, helios_seq first, helios_seq last, const char *reason)
{
    const struct salvage_loss loss = {HELIOS_LOST_COMMITS, w->name, {0}, {0}, first, last, reason};

    salvage_lose(w->s, &loss);
}

/* ---- operations ---- */

static helios_status add_range(struct log_walk *w, helios_slice from, const unsigned char *layer,
                               helios_slice end)
{
    struct rangedel range = {.seq = w->commit};
    size_t size = from.size;
    helios_status status = buf_append(&w->key, layer, KEY_LAYER_BYTES);

    if (status == HELIOS_OK)
        status = buf_append(&w->key, end.data, end.size);
    if (status != HELIOS_OK)
        return status;
    range.from = slice_make(w->key.data, size);
    range.to = slice_make(w->key.data + size, w->key.size - size);
    if (slice_compare(range.from, range.to) >= 0)
        return fail_corrupt("a range delete whose end is not behind its beginning");
    return memtable_add_rangedels(w->s->memtable, &range, 1);
}

static helios_status add_op(void *arg, helios_branch_id branch, const struct op *op)
{
    struct log_walk *w = arg;
    unsigned char layer[KEY_LAYER_BYTES];
    struct memtable_node *node;
    helios_slice key, value;
    helios_status status;
    uint64_t tag;

    key_put_layer(layer, branch, op->space);
    status = buf_set(&w->key, layer, sizeof(layer));
    if (status == HELIOS_OK)
        status = buf_append(&w->key, op->key.data, op->key.size);
    if (status != HELIOS_OK)
        return status;
    key = buf_slice(&w->key);
    if (op->kind == KIND_RANGE_DELETE)
        return add_range(w, key, layer, op->value);
    if (memtable_get(w->s->memtable, key, hash_key(key), w->commit, &tag, &value) && tag_seq(tag) == w->commit)
        return fail_corrupt("one key twice");
    node = memtable_prepare(w->s->memtable, key, op->value, op->kind);
    if (!node)
        return fail_corrupt("more than a memtable can hold");
    memtable_insert(w->s->memtable, node, w->commit, &w->hint);
    return HELIOS_OK;
}

static helios_status make_room(struct log_walk *w, const struct wal_record *record)
{
    uint64_t needed = record->body.size + (uint64_t)record->op_count * 128;
    struct salvage *s = w->s;
    helios_status status;

    if (s->memtable && memtable_used(s->memtable) + needed <= MEMTABLE_BYTES)
        return HELIOS_OK;
    status = salvage_spill(s);
    w->hint = (struct memtable_hint){0};
    return status == HELIOS_OK ? memtable_new(needed > MEMTABLE_BYTES ? needed : MEMTABLE_BYTES,
                                              (helios_slice){"", 0}, &s->memtable)
                               : status;
}

static helios_status add_commit(struct log_walk *w, const struct wal_record *record)
{
    helios_status status;

    if (record->op_count > record->body.size / OP_BYTES_MIN)
        return fail_corrupt("more operations than bytes");
    status = make_room(w, record);
    return status == HELIOS_OK ? record_operations(record, w->scratch, add_op, w) : status;
}

/* The tables of a large commit: they count, under its number. */
static helios_status add_ingest(struct log_walk *w, const struct wal_record *record)
{
    struct reader reader = reader_make(record->body.data, record->body.size);
    uint64_t count = read_varint(&reader);

    for (uint64_t i = 0; i < count; i++) {
        struct salvage_table *table = NULL;
        struct file_record file;
        helios_status status;

        if (!file_record_read(&reader, &file) || file.smallest.size < KEY_LAYER_BYTES ||
            file.largest.size < KEY_LAYER_BYTES)
            return fail_corrupt("its tables cannot be read");
        file.properties.seq_min = file.properties.seq_max = w->commit;
        status = salvage_table_of(w->s, file.number, &table);
        if (status == HELIOS_OK)
            status = salvage_describe(table, file.smallest, file.largest, &file.properties, w->commit);
        if (status != HELIOS_OK)
            return status;
        table->listed = true;
        table->size = file.size;
    }
    return HELIOS_OK;
}

static helios_status note_time(struct log_walk *w, const struct wal_record *record)
{
    struct salvage *s = w->s;
    struct timeline_entry entry = {.time = record->time, .last = w->commit, .count = record->op_count};
    uint64_t bytes;
    helios_status status = record_user_bytes(record, &bytes);

    if (status == HELIOS_OK)
        status = salvage_room(&s->times, s->time_count, &s->time_capacity, sizeof(*s->times));
    if (status != HELIOS_OK)
        return status;
    entry.bytes = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
    s->times[s->time_count++] = entry;
    return HELIOS_OK;
}

static helios_status take_operations(struct log_walk *w, struct wal_record *record)
{
    const struct salvage *s = w->s;
    helios_status status = HELIOS_OK;

    if (record->flags & WAL_RECORD_ORIGIN)
        status =
            origin_prefix_read(&record->body, NULL) ? HELIOS_OK : fail_corrupt("its origin cannot be read");
    if (status == HELIOS_OK && (!s->trusted || w->commit > s->state.flushed)) {
        status = record->type == WAL_COMMIT ? add_commit(w, record) : add_ingest(w, record);
        w->s->report.records += status == HELIOS_OK;
    }
    if (status == HELIOS_OK && (!s->trusted || w->commit > s->state.timeline_flushed))
        status = note_time(w, record);
    return status;
}

static helios_status take_record(struct log_walk *w, struct wal_record record)
{
    helios_status status = HELIOS_OK;

    if (w->after_hole && record.first > w->last + 1)
        lose_commits(w, w->last + 1, record.first - 1, helios_last_error());
    w->after_hole = false;
    w->commit = w->last = record.first + record.op_count - 1;
    if (record.type == WAL_COMMIT || record.type == WAL_INGEST)
        status = take_operations(w, &record);
    if (status == HELIOS_CORRUPT) {
        lose_commits(w, record.first, w->commit, helios_last_error());
        status = HELIOS_OK;
    }
    return status;
}

/* ---- segments ---- */

/* Records to the end, over holes. The numbers of those that count only rise. */
static helios_status walk_segment(struct log_walk *w, struct wal_reader *reader, uint64_t end)
{
    helios_status status;

    if (end)
        wal_reader_limit(reader, end);
    for (;;) {
        struct wal_record record;

        status = wal_reader_next(reader, &record);
        if (status == HELIOS_CORRUPT || status == HELIOS_IO) {
            w->after_hole = true;
            status = wal_reader_scan(reader, &record);
        }
        if (status != HELIOS_OK)
            break;
        if (record.type != WAL_END && record.op_count && record.first > w->last &&
            record.first + record.op_count - 1 <= SEQ_MAX)
            status = take_record(w, record);
        if (status != HELIOS_OK)
            return status;
    }
    return status == HELIOS_NO_MEMORY || status == HELIOS_NO_SPACE ? status : HELIOS_OK;
}

/* The segment, or in its place the archive. */
static helios_status open_segment(struct log_walk *w, uint64_t number, struct wal_reader **reader)
{
    static const char *const endings[] = {".wal", ".arc"};
    helios_status status = HELIOS_NOT_FOUND;

    for (size_t i = 0; i < 2 && status != HELIOS_OK && status != HELIOS_NO_MEMORY; i++) {
        char path[PATH_BYTES_MAX];

        snprintf(w->name, sizeof(w->name), "wal/%08" PRIu64 "%s", number, endings[i]);
        snprintf(path, sizeof(path), "%s/%s", w->s->from, w->name);
        status = wal_reader_open(w->s->fs, NULL, path, reader);
    }
    return status;
}

/* Which segments are the log, from the newest down: between one and its predecessor all were discarded. ends: where
 * the records of each end, as its successor says; 0: by itself. */
struct chain_link {
    bool counts, readable;
    uint64_t end;
};

static helios_status follow_links(struct log_walk *w, struct chain_link *links)
{
    const struct salvage *s = w->s;
    uint64_t wanted = UINT64_MAX, end = 0; /* numbers in (wanted, the one above) do not count */

    for (size_t i = s->segment_count; i-- > 0;) {
        struct wal_reader *reader = NULL;
        const struct wal_segment_info *info;
        helios_status status;

        if (s->segments[i] > wanted)
            continue;
        links[i].counts = true;
        links[i].end = s->segments[i] == wanted ? end : 0;
        status = open_segment(w, s->segments[i], &reader);
        if (status == HELIOS_NO_MEMORY)
            return status;
        links[i].readable = status == HELIOS_OK;
        if (status != HELIOS_OK) {
            wanted = UINT64_MAX;
            continue;
        }
        info = wal_reader_info(reader);
        wanted = info->predecessor;
        end = info->predecessor_end;
        wal_reader_close(reader);
    }
    return HELIOS_OK;
}

/* Whether all is there that the segment says it has: its seal, or its size. */
static void judge_segment(struct log_walk *w, const struct wal_segment_info *info)
{
    char path[PATH_BYTES_MAX];
    struct io_stat stat;

    snprintf(path, sizeof(path), "%s/%s", w->s->from, w->name);
    if (info->sealed && info->sealed_last > w->last)
        lose_commits(w, w->last + 1, info->sealed_last, "the segment ends before its seal says so");
    else if (!info->sealed && io_stat(w->s->fs, path, &stat) == HELIOS_OK && stat.size < info->size)
        lose_commits(w, w->last + 1, 0, "the segment is cut off");
}

static helios_status read_segment(struct log_walk *w, uint64_t number, const struct chain_link *link)
{
    struct wal_reader *reader = NULL;
    helios_status status = open_segment(w, number, &reader);

    if (status == HELIOS_NO_MEMORY)
        return status;
    if (status != HELIOS_OK) {
        /* What it held is known by what comes behind it. */
        w->after_hole = true;
        lose_commits(w, w->last + 1, 0, helios_last_error());
        return HELIOS_OK;
    }
    w->s->report.segments++;
    status = walk_segment(w, reader, link->end);
    if (status == HELIOS_OK && link->end == 0)
        judge_segment(w, wal_reader_info(reader));
    wal_reader_close(reader);
    return status;
}

/* Of the end nothing tells but the manifest. */
static void judge_end(struct log_walk *w)
{
    const struct manifest_state *state = &w->s->state;
    helios_seq last = state->clean ? state->last : state->last_synced;

    if (w->s->trusted && last > w->last && last > state->flushed) {
        snprintf(w->name, sizeof(w->name), "wal");
        lose_commits(w, w->last > state->flushed ? w->last + 1 : state->flushed + 1, last,
                     "the log ends before what was durable in it");
    }
}

helios_status salvage_log(struct salvage *s)
{
    struct log_walk w = {.s = s, .scratch = helios_batch_new()};
    struct chain_link *links = mem_array(s->segment_count + 1, sizeof(*links));
    helios_status status = w.scratch && links ? follow_links(&w, links) : fail_no_memory(sizeof(w));

    for (size_t i = 0; i < s->segment_count && status == HELIOS_OK; i++)
        if (links[i].counts && !(s->trusted && s->segments[i] < s->state.log_floor))
            status = read_segment(&w, s->segments[i], &links[i]);
    if (status == HELIOS_OK)
        judge_end(&w);
    s->last_record = w.last;
    helios_batch_free(w.scratch);
    helios_buf_free(&w.key);
    mem_free(links);
    return status == HELIOS_OK ? salvage_spill(s) : status;
}
