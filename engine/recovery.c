/* recovery.c - the log, replayed: what the tables do not have yet goes into memtables again, with the same
 * numbers. wal/ decides where the log ends and whether that is damage; here records become operations. */
#include "engine/origins.h"
#include <assert.h>
#include <inttypes.h>

struct replay {
    struct helios_db *db;
    const char *directory;
    struct helios_batch *batch; /* reduces a record's operations as its commit did */
    struct memtable_hint hint;
    helios_buf key;
    helios_seq flushed,
        timeline_flushed; /* of the manifest; flushes beside the replay only add what it has passed */
    uint64_t time;        /* of the last commit */
};

struct replay_commit {
    struct replay *replay;
    const struct wal_record *record;
};

static helios_status damaged(const struct replay *r, const struct wal_record *record, const char *what)
{
    char path[PATH_BYTES_MAX];

    wal_segment_path(r->directory, wal_pos_segment(record->at), path, sizeof(path));
    return fail_corrupt("%s: record at %" PRIu64 ": %s", path, wal_pos_offset(record->at), what);
}

/* Of what the record's own bytes were refused for, which names no place. */
static helios_status damage_context(const struct replay *r, const struct wal_record *record,
                                    helios_status status)
{
    char path[PATH_BYTES_MAX];

    if (status != HELIOS_CORRUPT)
        return status;
    wal_segment_path(r->directory, wal_pos_segment(record->at), path, sizeof(path));
    return fail_context(status, "%s: record at %" PRIu64, path, wal_pos_offset(record->at));
}

/* A full memtable is written out beside the replay and a fresh one begun, as in ordinary work; read-only,
 * it just stays. */
static helios_status make_room(struct replay *r, const struct wal_record *record)
{
    r->db->replay_segment = wal_pos_segment(record->at);
    return memtable_switch(r->db, NULL);
}

/* The record is the first of the active slot: the log is needed from here on. */
static void begin_slot(struct helios_db *db, const struct wal_record *record)
{
    if (!mem_slot_empty(db->active))
        return;
    mutex_lock(&db->state_mu); /* a flush may look at it to find the floor */
    db->active->log_segment = wal_pos_segment(record->at);
    mutex_unlock(&db->state_mu);
}

static helios_status replay_op(struct replay *r, const struct wal_record *record, helios_branch_id branch,
                               const struct op *op, helios_seq seq)
{
    struct memtable *memtable = r->db->active->memtable;
    unsigned char layer[KEY_LAYER_BYTES];
    struct memtable_node *node;
    helios_slice key;
    helios_status status;

    key_put_layer(layer, branch, op->space);
    status = buf_set(&r->key, layer, sizeof(layer));
    if (status == HELIOS_OK)
        status = buf_append(&r->key, op->key.data, op->key.size);
    if (status != HELIOS_OK)
        return status;
    key = buf_slice(&r->key);
    if (op->kind == KIND_RANGE_DELETE) {
        struct rangedel range = {.from = {NULL, key.size}, .seq = seq};

        status = buf_append(&r->key, layer, sizeof(layer));
        if (status == HELIOS_OK)
            status = buf_append(&r->key, op->value.data, op->value.size);
        if (status != HELIOS_OK)
            return status;
        range.from.data = r->key.data;
        range.to = slice_make(r->key.data + range.from.size, r->key.size - range.from.size);
        return memtable_add_rangedels(memtable, &range, 1);
    }
    node = memtable_prepare(memtable, key, op->value, op->kind);
    if (!node)
        return damaged(r, record, "its operations do not fit into a memtable");
    memtable_insert(memtable, node, seq, &r->hint);
    return HELIOS_OK;
}

static helios_status replay_each(void *arg, helios_branch_id branch, const struct op *op)
{
    struct replay_commit *c = arg;

    return replay_op(c->replay, c->record, branch, op, c->record->first + c->record->op_count - 1);
}

static helios_status replay_commit(struct replay *r, const struct wal_record *record)
{
    struct replay_commit commit = {r, record};
    uint64_t needed = record->body.size + (uint64_t)record->op_count * 128;
    helios_status status = HELIOS_OK;

    if (record->op_count > record->body.size / OP_BYTES_MIN)
        return damaged(r, record, "it has fewer bytes than operations");
    /* Room for all of it beforehand: a commit never spans memtables. Nodes take some bytes each. The
     * record may come from a time of larger memtables. */
    if (needed > r->db->options.memtable_bytes)
        r->db->memtable_least = needed;
    if (needed > r->db->options.memtable_bytes ||
        (!memtable_empty(r->db->active->memtable) &&
         memtable_used(r->db->active->memtable) + needed > r->db->options.memtable_bytes))
        status = make_room(r, record);
    r->db->memtable_least = 0;
    if (status != HELIOS_OK)
        return status;
    begin_slot(r->db, record);
    status = record_operations(record, r->batch, replay_each, &commit);
    return status == HELIOS_OK ? status : damage_context(r, record, status);
}

/* ---- ingested tables ---- */

/* A flush beside the replay may put another version in this one's place. */
static bool tree_has(struct helios_db *db, uint64_t number)
{
    const struct version *version;
    bool has = false;

    mutex_lock(&db->state_mu);
    version = db->version;
    for (size_t l = 0; l < LEVEL_COUNT; l++)
        for (size_t i = 0; i < version->levels[l].count; i++)
            has |= version->levels[l].files[i]->number == number;
    mutex_unlock(&db->state_mu);
    return has;
}

static helios_status check_exists(struct helios_db *db, const struct file_record *file)
{
    char path[PATH_BYTES_MAX];
    struct io_stat stat;
    helios_status status;

    table_file_path(&db->home, file->number, path, sizeof(path));
    status = io_stat(db->fs, path, &stat);
    if (status == HELIOS_NOT_FOUND)
        return fail_corrupt("%s: missing, but the log names it", path);
    if (status == HELIOS_OK && stat.size != file->size)
        return fail_corrupt("%s: has %" PRIu64 " bytes, the log says %" PRIu64, path, stat.size, file->size);
    return status;
}

/* Tables that the manifest does not know yet join the tree. That it no longer knows one cannot be: the
 * record would lie below its flushed number, and would not be asked. */
static helios_status replay_tables(struct replay *r, const struct wal_record *record,
                                   struct version_change *changes, uint64_t count, struct reader *reader)
{
    struct helios_db *db = r->db;
    helios_seq seq = record->first + record->op_count - 1;
    helios_status status = HELIOS_OK;
    size_t made = 0;

    for (uint64_t i = 0; i < count && status == HELIOS_OK; i++) {
        struct file_record file;

        if (!file_record_read(reader, &file)) {
            status = damaged(r, record, "its tables cannot be read");
            break;
        }
        if (tree_has(db, file.number))
            continue;
        status = check_exists(db, &file);
        file.properties.seq_min = file.properties.seq_max = seq;
        if (status == HELIOS_OK)
            status = table_file_new(&db->home, file.number, file.size, seq, file.smallest, file.largest,
                                    file.largest_exclusive, &file.properties, &changes[made].file);
        made += status == HELIOS_OK;
        mutex_lock(&db->state_mu);
        if (file.number >= db->next_file)
            db->next_file = file.number + 1;
        mutex_unlock(&db->state_mu);
    }
    if (status == HELIOS_OK && made)
        status = tree_install(db, changes, made, NULL);
    for (size_t i = 0; i < made; i++)
        table_file_unref(changes[i].file);
    return status;
}

static helios_status replay_ingest(struct replay *r, const struct wal_record *record)
{
    struct reader reader = reader_make(record->body.data, record->body.size);
    uint64_t count = read_varint(&reader);
    struct version_change *changes;
    helios_status status = HELIOS_OK;

    if (reader.bad || count == 0 || count > record->body.size)
        return damaged(r, record, "its tables cannot be read");
    changes = mem_array((size_t)count, sizeof(*changes));
    if (!changes)
        return fail_no_memory((size_t)count * sizeof(*changes));
    if (!memtable_empty(r->db->active->memtable))
        status = make_room(r, record);
    if (status == HELIOS_OK)
        status = replay_tables(r, record, changes, count, &reader);
    mutex_lock(&r->db->state_mu);
    r->db->active->first = record->first + record->op_count;
    mutex_unlock(&r->db->state_mu);
    mem_free(changes);
    return status;
}

/* ---- when it was made ---- */

/* Into the stretch beside the memtable that has its operations, or the one after its tables. Times stand in order
 * in every log that we wrote. */
static helios_status replay_time(struct replay *r, const struct wal_record *record)
{
    struct helios_db *db = r->db;
    struct timeline_entry entry = {
        .time = record->time > r->time ? record->time : r->time,
        .last = record->first + record->op_count - 1,
        .count = record->op_count,
    };
    uint64_t bytes = 0;
    helios_status status;

    if (record->first <= r->timeline_flushed)
        return damaged(r, record, "its numbers are in part those of an earlier commit");
    status = record_user_bytes(record, &bytes);
    if (status != HELIOS_OK)
        return damage_context(r, record, status);
    status = stretch_prepare(&db->active->stretch);
    if (status != HELIOS_OK)
        return status;
    entry.bytes = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
    begin_slot(db, record);
    stretch_append(&db->active->stretch, &entry);
    r->time = entry.time;
    return HELIOS_OK;
}

/* Where a commit came from stands in its row too, which is one of its operations. */
static helios_status pass_origin(const struct replay *r, struct wal_record *record)
{
    if (record->type == WAL_VOID || !(record->flags & WAL_RECORD_ORIGIN))
        return HELIOS_OK;
    return origin_prefix_read(&record->body, NULL) ? HELIOS_OK
                                                   : damaged(r, record, "its origin cannot be read");
}

static helios_status replay_record(void *arg, const struct wal_record *whole)
{
    struct wal_record operations = *whole, *record = &operations;
    struct replay *r = arg;
    struct helios_db *db = r->db;
    helios_seq last = record->first + record->op_count - 1;
    bool is_commit = record->type == WAL_COMMIT || record->type == WAL_INGEST;
    helios_status status = HELIOS_OK;

    if (record->first == 0 || last > SEQ_MAX || record->op_count == 0)
        return damaged(r, record, "impossible numbers");
    status = pass_origin(r, record);
    if (status != HELIOS_OK)
        return status;
    if (last > r->flushed) {
        /* Before the operations: a switch in between must not count them to the memtable before. */
        if (record->type == WAL_COMMIT)
            status = replay_commit(r, record);
        else if (record->type == WAL_INGEST)
            status = replay_ingest(r, record);
    }
    if (status == HELIOS_OK && is_commit && last > r->timeline_flushed)
        status = replay_time(r, record);
    if (status != HELIOS_OK)
        return status;
    mutex_lock(&db->commit_mu); /* a flush beside the replay looks at it */
    if (last >= db->next)
        db->next = last + 1;
    if (record->time > db->last_time)
        db->last_time = record->time;
    mutex_unlock(&db->commit_mu);
    if (last > atomic_load(&db->visible))
        atomic_store(&db->visible, last);
    if (is_commit && last > atomic_load(&db->latest))
        atomic_store(&db->latest, last);
    return HELIOS_OK;
}

helios_status recover_log(struct helios_db *db, const struct wal_options *options,
                          struct wal_recovery *recovery)
{
    struct replay r = {
        .db = db,
        .directory = options->directory,
        .batch = helios_batch_new(),
        .flushed = db->manifest_state.flushed,
        .timeline_flushed = db->manifest_state.timeline_flushed,
    };
    helios_status status;

    if (!r.batch)
        return HELIOS_NO_MEMORY;
    status = wal_recover(options, recovery, replay_record, &r);
    if (status == HELIOS_OK)
        status = background_wait_flushed(db);
    helios_batch_free(r.batch);
    helios_buf_free(&r.key);
    return status;
}
