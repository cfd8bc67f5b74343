/* ingest.c - a commit too large for a memtable goes into tables of its own: written and synced first, then
 * reserved like any commit, with a log record that names them. Its numbers lie between two memtables'.
 *
 * The tables' keys carry version 1 in the file; the manifest holds the one true version of all of them
 * (table_file.override_seq), as it is not known before the reservation. */
#include "engine/feed.h"
#include "engine/ingest.h"
#include "engine/txn.h"
#include <assert.h>

enum { MEMORY_TRIES = 1000, MEMORY_PAUSE = 10000 /* us */ };

/* ---- the record ---- */

/* The body of the log record: the origin, if there is one; how many tables, then each; then the bytes of all
 * operations. */
static helios_status encode_body(const struct ingest *ingest, helios_buf *body)
{
    const struct compact_result *result = &ingest->result;
    unsigned char number[VARINT_MAX];
    helios_status status = buf_append(body, ingest->origin.data, ingest->origin.size);

    if (status == HELIOS_OK)
        status = buf_append(body, number, put_varint(number, result->count));
    for (size_t i = 0; i < result->count && status == HELIOS_OK; i++) {
        const struct table_result *t = &result->tables[i];
        const struct file_record file = {t->number,    t->size, t->smallest, t->largest, t->largest_exclusive,
                                         t->properties};

        status = file_record_encode(body, &file);
    }
    return status == HELIOS_OK ? buf_append(body, number, put_varint(number, ingest->user_bytes)) : status;
}

/* ---- reserving ---- */

/* Nothing is in the active memtable, and nothing that was reserved is on its way into it. */
static bool nothing_pending_locked(const struct helios_db *db)
{
    return memtable_empty(db->active->memtable) && db->ticket == atomic_load(&db->published);
}

/* Takes the numbers and, unless the active memtable is empty, closes it below them. Under state_mu. */
static enum reserve_result reserve_and_switch_locked(struct helios_db *db, helios_branch_id branch,
                                                     struct view *view, struct mem_slot *fresh, size_t count,
                                                     uint64_t record_size, struct footprint *footprint,
                                                     struct reserved *out, struct view **old)
{
    struct view *now = atomic_load(&db->view);
    struct mem_slot *closed[VIEW_MEMTABLES_MAX], *active = db->active;
    enum reserve_result result;

    closed[0] = active;
    for (size_t i = 0; i < now->closed_count; i++)
        closed[i + 1] = now->closed[i];
    mutex_lock(&db->commit_mu);
    result = reserve_locked(db, branch, active, count, record_size, io_time(db->fs), footprint, out);
    if (result == RESERVE_DONE) {
        db->ticket--;
        if (nothing_pending_locked(db)) {
            active->first = db->next;
        } else {
            active->last = out->first - 1;
            fresh->first = db->next;
            fresh->log_segment = db->wal ? wal_segment_now(db->wal) : 0;
            db->active = fresh;
            view_fill(view, fresh, closed, now->closed_count + 1, now->version);
            view_install_locked(db, view);
            *old = now;
        }
        out->slot = db->active; /* not flushed before this commit is published */
        db->ticket++;
    }
    mutex_unlock(&db->commit_mu);
    return result;
}

static helios_status reserve_between(struct helios_db *db, helios_branch_id branch, size_t count,
                                     uint64_t record_size, struct footprint *footprint, struct reserved *out)
{
    for (;;) {
        enum reserve_result result = RESERVE_OTHER_MEMTABLE;
        struct mem_slot *fresh = NULL;
        struct view *view = view_alloc(db), *old = NULL;
        helios_status status = view ? HELIOS_OK : HELIOS_NO_MEMORY;

        if (status == HELIOS_OK)
            status = mem_slot_new(db, slice_make("", 0), &fresh);
        if (status == HELIOS_OK)
            status = stretch_prepare(&fresh->stretch);
        mutex_lock(&db->state_mu);
        if (status == HELIOS_OK)
            status = view_wait_for_room(db, db->active);
        if (status == HELIOS_OK)
            status = stretch_prepare(&db->active->stretch);
        if (status == HELIOS_OK && atomic_load(&db->view)->closed_count < VIEW_MEMTABLES_MAX)
            result =
                reserve_and_switch_locked(db, branch, view, fresh, count, record_size, footprint, out, &old);
        if (old) {
            view = NULL;
            background_schedule_locked(db);
        }
        mutex_unlock(&db->state_mu);
        view_retire(old);
        mem_slot_unref(fresh);
        mem_free(view);
        if (result == RESERVE_DONE)
            footprint_retire(out->replaced);
        else if (status == HELIOS_OK)
            status = reserve_wait(db, branch, result, record_size);
        if (status != HELIOS_OK)
            footprint_unref(footprint);
        if (status != HELIOS_OK || result == RESERVE_DONE)
            return status;
    }
}

/* ---- committing ---- */

/* All earlier commits are complete: this one's record may count as published in the log, though nobody
 * sees it yet, and be synced, so that the manifest never knows of tables that the log does not. */
static helios_status make_record_durable(struct helios_db *db, const struct reserved *reserved)
{
    helios_status status = publish_wait(db, reserved->first - 1);

    if (status != HELIOS_OK || !reserved->logged)
        return status;
    wal_publish(db->wal, reserved->log.end, reserved->last);
    return wal_sync(db->wal, reserved->log.end, UINT64_MAX);
}

/* The commit stands in the log and later ones wait for it: without memory there is nothing else to do than to try
 * again, for a while. */
static helios_status show_tables(struct helios_db *db, const struct version_change *changes, size_t count)
{
    helios_status status = tree_install_logged(db, changes, count);

    for (int i = 0; i < MEMORY_TRIES && status == HELIOS_NO_MEMORY; i++) {
        thread_sleep(MEMORY_PAUSE);
        status = tree_install_logged(db, changes, count);
    }
    return status;
}

/* The reserved numbers are given up: the log says VOID in place of the tables. */
static helios_status give_up(struct helios_db *db, helios_branch_id branch, const struct reserved *reserved)
{
    const struct wal_record record = {
        .first = reserved->first,
        .op_count = (uint32_t)(reserved->last - reserved->first + 1),
        .type = WAL_VOID,
        .time = reserved->time,
        .synced = reserved->log.synced,
        .branch = branch,
    };
    helios_status status = HELIOS_OK;

    if (reserved->logged)
        status = record_write(db, reserved, &record, hash_bytes("", 0), NULL, 0);
    return status == HELIOS_OK ? publish_void(db, reserved) : db_fail(db, status);
}

/* A transaction may still lose, and the feed's names of the tables fail to be made; then nothing of it stands in the
 * log. */
static helios_status validate(struct helios_db *db, helios_branch_id branch, struct helios_txn *txn,
                              const struct reserved *reserved, const struct compact_result *result)
{
    struct error_note note = {0};
    helios_status status = txn ? txn_validate_reserved(txn, reserved) : HELIOS_OK;

    if (status == HELIOS_OK)
        status = feed_tables_keep(db, result, reserved->last);
    if (status == HELIOS_OK)
        return HELIOS_OK;
    error_keep(&note, status);
    status = give_up(db, branch, reserved);
    return status == HELIOS_OK ? error_tell(&note) : status;
}

static helios_status commit_tables(struct helios_db *db, helios_branch_id branch,
                                   const struct reserved *reserved, const helios_buf *body,
                                   const struct ingest *ingest, struct version_change *changes)
{
    const struct compact_result *result = &ingest->result;
    const struct wal_record record = {
        .first = reserved->first,
        .op_count = (uint32_t)(reserved->last - reserved->first + 1),
        .type = WAL_INGEST,
        .time = reserved->time,
        .synced = reserved->log.synced,
        .branch = branch,
        .flags = ingest->origin.data ? WAL_RECORD_ORIGIN : 0,
        .body = {NULL, body->size},
    };
    helios_slice piece = buf_slice(body);
    helios_status status = HELIOS_OK;

    atomic_fetch_add(&db->ingests_logged, 1); /* before the record counts as published: see checkpoint.c */
    if (reserved->logged)
        status = record_write(db, reserved, &record, hash_bytes(body->data, body->size), &piece, 1);
    if (status == HELIOS_OK)
        status = make_record_durable(db, reserved);
    for (size_t i = 0; i < result->count; i++)
        changes[i].file->override_seq = changes[i].file->properties.seq_min =
            changes[i].file->properties.seq_max = reserved->last;
    if (status == HELIOS_OK)
        status = show_tables(db, changes, result->count);
    atomic_fetch_sub(&db->ingests_logged, 1);
    if (status != HELIOS_OK)
        return db_fail(db, status); /* the record stands in the log: its fate is decided by the next open */
    return publish(db, reserved, ingest->user_bytes);
}

/* The commit was made: its tables count as written, and compactions may have work. */
static void account(struct helios_db *db, const struct ingest *ingest, const struct version_change *changes)
{
    for (size_t i = 0; i < ingest->result.count; i++)
        atomic_fetch_add(&db->ingest_written_bytes, changes[i].file->size);
    atomic_fetch_add_explicit(&db->user_bytes, ingest->user_bytes, memory_order_relaxed);
    mutex_lock(&db->state_mu);
    background_schedule_locked(db);
    mutex_unlock(&db->state_mu);
}

helios_status ingest_commit(struct helios_db *db, helios_branch_id branch, helios_durability durability,
                            struct ingest *ingest, struct footprint *footprint, struct helios_txn *txn,
                            helios_seq *commit)
{
    struct version_change *changes = mem_array(ingest->result.count + 1, sizeof(*changes));
    struct reserved reserved;
    helios_buf body = {0};
    bool named = false, handed = false; /* the log may name the tables; the footprint has another owner */
    size_t made = 0;
    helios_status status = changes ? HELIOS_OK : fail_no_memory((ingest->result.count + 1) * sizeof(*changes));

    if (status == HELIOS_OK)
        status = encode_body(ingest, &body);
    if (status == HELIOS_OK)
        status = changes_add_results(db, &ingest->result, 0, (struct collected){0}, changes);
    if (status == HELIOS_OK) {
        made = ingest->result.count;
        if (txn) /* writing the tables took a while: what came meanwhile is not left for the reservation */
            status = txn_validate(txn);
    }
    if (status == HELIOS_OK) {
        handed = true;
        status = reserve_between(db, ingest->holds_gate ? WAL_BRANCH_MANY : branch, ingest->ops,
                                 db->wal ? wal_record_room(db->wal, body.size) : 0, footprint, &reserved);
    }
    if (!handed)
        footprint_unref(footprint);
    if (status == HELIOS_OK)
        status = validate(db, branch, txn, &reserved, &ingest->result);
    named = status == HELIOS_OK;
    if (status == HELIOS_OK)
        status = commit_tables(db, branch, &reserved, &body, ingest, changes);
    if (status == HELIOS_OK)
        status = acknowledge(db, durability, &reserved);
    if (status == HELIOS_OK) {
        account(db, ingest, changes);
        if (commit)
            *commit = reserved.last;
    }
    for (size_t i = 0; i < made; i++)
        table_file_unref(changes[i].file);
    if (!named)
        ingest_discard(db, ingest);
    compact_result_release(&ingest->result);
    mem_free(changes);
    helios_buf_free(&body);
    return status;
}

helios_status ingest_write(struct helios_db *db, helios_branch_id branch, helios_durability durability,
                           struct write_set *set, helios_seq *commit)
{
    struct ingest ingest = {
        .ops = set->count, .user_bytes = set->user_bytes, .origin = set->origin, .holds_gate = set->holds_gate};
    helios_status status;

    status = ingest_build_set(db, branch, set, &ingest);
    if (status != HELIOS_OK)
        return status;
    return ingest_commit(db, branch, durability, &ingest, footprint_of(db, branch, set), set->txn, commit);
}
