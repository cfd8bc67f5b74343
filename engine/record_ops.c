/* record_ops.c - what the operations of a log record come to in the tree, for whoever replays it: recovery, salvage. */
#include "engine/engine_internal.h"

/* A record of one operation needs no reduction. */
static helios_status single(const struct wal_record *record, record_visit visit, void *arg)
{
    struct reader reader = reader_make(record->body.data, record->body.size);
    struct op op;

    if (!op_read(&reader, false, &op) || !reader_done(&reader))
        return fail_corrupt("its operation cannot be read");
    return visit(arg, record->branch, &op);
}

static helios_status batch(const struct wal_record *record, struct helios_batch *batch, record_visit visit,
                           void *arg)
{
    struct reader reader = reader_make(record->body.data, record->body.size);
    helios_status status;
    struct op op;

    helios_batch_clear(batch);
    for (uint32_t i = 0; i < record->op_count; i++) {
        if (!op_read(&reader, false, &op))
            return fail_corrupt("its operations cannot be read");
        batch_add(batch, op.kind, op.space, op.key, op.value);
    }
    if (!reader_done(&reader))
        return fail_corrupt("it has more bytes than operations");
    status = error_tell(&batch->error);
    if (status == HELIOS_OK)
        status = batch_settle(batch);
    for (size_t i = 0; i < batch->count && status == HELIOS_OK; i++) {
        if (batch->ops[i].superseded)
            continue;
        op = batch_at(batch, i);
        status = visit(arg, record->branch, &op);
    }
    return status;
}

/* Of each key of a branch there is one operation, and range deletes come first: nothing to reduce. */
static helios_status several(const struct wal_record *record, record_visit visit, void *arg)
{
    struct reader reader = reader_make(record->body.data, record->body.size);
    bool keys = false;

    for (uint32_t i = 0; i < record->op_count; i++) {
        struct op op;
        helios_status status;

        if (!op_read(&reader, true, &op) || (keys && op.kind == KIND_RANGE_DELETE))
            return fail_corrupt("its operations cannot be read");
        keys |= op.kind != KIND_RANGE_DELETE;
        status = visit(arg, op.branch, &op);
        if (status != HELIOS_OK)
            return status;
    }
    return reader_done(&reader) ? HELIOS_OK : fail_corrupt("it has more bytes than operations");
}

helios_status record_operations(const struct wal_record *record, struct helios_batch *scratch,
                                record_visit visit, void *arg)
{
    if (record->branch == WAL_BRANCH_MANY)
        return several(record, visit, arg);
    return record->op_count == 1 ? single(record, visit, arg) : batch(record, scratch, visit, arg);
}

/* ---- how much it was ---- */

/* As its commit counted them: of all operations, whatever they came to. */
static helios_status commit_bytes(const struct wal_record *record, uint64_t *bytes)
{
    struct reader reader = reader_make(record->body.data, record->body.size);
    struct op op;

    for (uint32_t i = 0; i < record->op_count; i++) {
        if (!op_read(&reader, record->branch == WAL_BRANCH_MANY, &op))
            return fail_corrupt("its operations cannot be read");
        *bytes += op.key.size + op.value.size;
    }
    return HELIOS_OK;
}

/* The number stands behind the tables; records of a time without it end there, and the tables tell about how many. */
static helios_status ingest_bytes(const struct wal_record *record, uint64_t *bytes)
{
    struct reader reader = reader_make(record->body.data, record->body.size);
    uint64_t count = read_varint(&reader);
    struct file_record file;

    for (uint64_t i = 0; i < count; i++) {
        if (!file_record_read(&reader, &file))
            return fail_corrupt("its tables cannot be read");
        *bytes += file.properties.key_bytes + file.properties.value_bytes;
    }
    if (reader_left(&reader))
        *bytes = read_varint(&reader);
    return reader_done(&reader) ? HELIOS_OK : fail_corrupt("it has more bytes than tables");
}

helios_status record_user_bytes(const struct wal_record *record, uint64_t *bytes)
{
    *bytes = 0;
    return record->type == WAL_COMMIT ? commit_bytes(record, bytes) : ingest_bytes(record, bytes);
}
