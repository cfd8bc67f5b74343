/* commit.c - the path of every commit: prepare, reserve, copy, publish, acknowledge (docs/architecture.md,
 * "A commit"). Called by write.c; what is too large for a memtable goes to ingest.c.
 *
 * Everything that can fail or wait comes before the reservation; afterwards only the log's pwrite back
 * end can fail, which ends writing for good. */
#include "engine/gate.h"
#include "engine/txn.h"
#include <assert.h>
#include <inttypes.h>
#include <limits.h>

enum {
    SMALL_BODY_BYTES = 4096, /* gathered on the stack and hashed in one go */
    SMALL_KEY_BYTES = 1024,
    SMALL_NODES = 64,
    PUBLISH_SPINS = 30, /* about a microsecond: longer waits are for a writer that lost its processor */
    NODE_OVERHEAD = 80, /* of a memtable beside key and value, about */
};

struct op write_set_at(const struct write_set *set, size_t index)
{
    return set->batch ? batch_at(set->batch, index) : set->one;
}

bool write_set_superseded(const struct write_set *set, size_t index)
{
    return set->batch && set->batch->ops[index].superseded;
}

helios_status db_writable(struct helios_db *db)
{
    helios_status status = HELIOS_OK;

    if (db->options.read_only)
        return fail(HELIOS_READ_ONLY, "%s: opened read-only", db->path);
    if (atomic_load_explicit(&db->failed, memory_order_acquire)) {
        mutex_lock(&db->state_mu);
        status = error_tell(&db->failure);
        mutex_unlock(&db->state_mu);
        return fail_context(HELIOS_READ_ONLY, "%s: read-only until it is opened again after %s", db->path,
                            helios_status_name(status));
    }
    if (atomic_load_explicit(&db->no_space, memory_order_acquire)) {
        mutex_lock(&db->state_mu);
        status = error_tell(&db->space_failure);
        mutex_unlock(&db->state_mu);
    }
    return status;
}

void visible_wake(struct helios_db *db)
{
    atomic_fetch_add(&db->visible_word, 1);
    futex_wake(&db->visible_word, INT_MAX);
    followers_tell(&db->followers);
}

helios_status db_fail(struct helios_db *db, helios_status status)
{
    mutex_lock(&db->state_mu);
    db->log_failed = true;
    if (db->failure.status == HELIOS_OK) {
        error_keep(&db->failure, status);
        atomic_store_explicit(&db->failed, true, memory_order_release);
    }
    condition_broadcast(&db->state_changed);
    mutex_unlock(&db->state_mu);
    visible_wake(db);
    event_log_say(db->events, "failed, read-only from here on: %s", helios_last_error());
    return status;
}

/* ---- publication: completion marks in a ring; whoever completes the prefix advances it ---- */

/* Advances over all complete commits. One thread at a time does it; one that finds another at work may
 * leave, because that one looks again after it has put the flag down. */
static void publish_prefix(struct helios_db *db)
{
    uint64_t ticket;
    bool advanced = false;

    for (;;) {
        helios_seq last = 0, last_logged = 0, last_commit = 0;
        wal_pos end = 0;

        if (atomic_exchange(&db->publishing, true))
            break;
        ticket = atomic_load_explicit(&db->published, memory_order_relaxed);
        for (;;) {
            struct ring_slot *slot = &db->ring[ticket % RING_SLOTS];

            if (atomic_load_explicit(&slot->ready, memory_order_acquire) != ticket + 1)
                break;
            last = slot->last;
            if (slot->entry.count) {
                last_commit = last;
                stretch_append(&slot->slot->stretch, &slot->entry);
                if (!slot->end && db->wal)
                    stretch_mark_unlogged(&slot->slot->stretch);
            }
            if (slot->end) {
                end = slot->end;
                last_logged = last;
            }
            ticket++;
        }
        if (last) {
            if (end)
                wal_publish(db->wal, end, last_logged);
            if (last_commit)
                atomic_store_explicit(&db->latest, last_commit, memory_order_release);
            /* Who waits for it counts itself first and then looks; here the flag goes down before they are counted. */
            atomic_store_explicit(&db->visible, last, memory_order_release);
            /* Last: who sees a ticket published sees its commit in latest and visible. */
            atomic_store_explicit(&db->published, ticket, memory_order_release);
            advanced = true;
        }
        atomic_store(&db->publishing, false);
        if (atomic_load(&db->ring[ticket % RING_SLOTS].ready) != ticket + 1)
            break;
    }
    if (advanced && atomic_load(&db->visible_waiters)) {
        atomic_fetch_add(&db->visible_word, 1);
        futex_wake(&db->visible_word, INT_MAX);
    }
    if (advanced && atomic_load(&db->followers.waiting))
        followers_tell(&db->followers);
}

helios_status publish_wait(struct helios_db *db, helios_seq seq)
{
    helios_status status = HELIOS_OK;

    /* The numbers that an open skips become nobody's commit, so the visible number may never get there. */
    if (seq < db->first_number)
        return HELIOS_OK;
    for (int spin = 0; spin < PUBLISH_SPINS; spin++) {
        if (atomic_load_explicit(&db->visible, memory_order_acquire) >= seq)
            return HELIOS_OK;
        cpu_relax();
    }
    atomic_fetch_add(&db->visible_waiters, 1);
    for (;;) {
        uint32_t word = atomic_load(&db->visible_word);

        if (atomic_load(&db->visible) >= seq)
            break;
        if (atomic_load(&db->failed)) {
            mutex_lock(&db->state_mu);
            status = error_tell(&db->failure);
            mutex_unlock(&db->state_mu);
            break;
        }
        futex_wait(&db->visible_word, word, 100000);
    }
    atomic_fetch_sub(&db->visible_waiters, 1);
    return status;
}

static helios_status publish_entry(struct helios_db *db, const struct reserved *reserved, uint32_t count,
                                   uint64_t bytes)
{
    struct ring_slot *slot = &db->ring[reserved->ticket % RING_SLOTS];

    slot->last = reserved->last;
    slot->end = reserved->logged ? reserved->log.end : 0;
    slot->entry = (struct timeline_entry){reserved->time, reserved->last, count,
                                          bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX};
    slot->slot = reserved->slot;
    if (reserved->footprint)
        atomic_store_explicit(&reserved->footprint->outcome, count ? FOOTPRINT_COMMITTED : FOOTPRINT_VOID,
                              memory_order_release);
    else if (atomic_load_explicit(&slot->footprint, memory_order_relaxed))
        footprint_retire(
            atomic_exchange(&slot->footprint, NULL)); /* an old one; the slot is ours until it is ready */
    /* Ordered before the look at the flag by the exchange that this is. */
    atomic_store_explicit(&slot->ready, reserved->ticket + 1, memory_order_release);
    publish_prefix(db);
    return publish_wait(db, reserved->last);
}

helios_status publish(struct helios_db *db, const struct reserved *reserved, uint64_t user_bytes)
{
    return publish_entry(db, reserved, (uint32_t)(reserved->last - reserved->first + 1), user_bytes);
}

helios_status publish_void(struct helios_db *db, const struct reserved *reserved)
{
    return publish_entry(db, reserved, 0, 0);
}

/* ---- reservation ---- */

/* Raises the ceiling durably; rare, as every edit of the manifest raises it on the way. */
static helios_status raise_ceiling(struct helios_db *db)
{
    return tree_install(db, NULL, 0, NULL);
}

static helios_status wait_for_ring(struct helios_db *db)
{
    futex_wait(&db->visible_word, atomic_load(&db->visible_word), 100);
    return atomic_load(&db->failed) ? db_writable(db) : HELIOS_OK;
}

/* The critical section: numbers, log bytes, time and memtable together. */
enum reserve_result reserve_locked(struct helios_db *db, helios_branch_id branch, struct mem_slot *slot,
                                   size_t count, uint64_t record_size, uint64_t now,
                                   struct footprint *footprint, struct reserved *out)
{
    helios_seq first = db->next, last = first + count - 1;

    if (db->gates || branch != 0) {
        enum reserve_result gate = gate_look_locked(db, branch);

        if (gate != RESERVE_DONE)
            return gate;
    }
    if (db->active != slot)
        return RESERVE_OTHER_MEMTABLE;
    if (last > db->ceiling)
        return RESERVE_CEILING;
    if (db->ticket - atomic_load_explicit(&db->published, memory_order_acquire) >= RING_SLOTS)
        return RESERVE_RING_FULL;
    if (record_size && !wal_reserve(db->wal, record_size, first, &out->log))
        return RESERVE_LOG_FULL;
    if (now < db->last_time)
        now = db->last_time;
    db->last_time = now;
    db->next = last + 1;
    out->slot = slot;
    out->first = first;
    out->last = last;
    out->time = now;
    out->logged = record_size != 0;
    out->ticket = db->ticket++;
    out->footprint = footprint;
    out->replaced = NULL;
    if (footprint) {
        footprint->ticket = out->ticket;
        footprint->last = last;
        out->replaced = atomic_exchange(&db->ring[out->ticket % RING_SLOTS].footprint, footprint);
    }
    if (!record_size && atomic_load_explicit(&slot->unlogged, memory_order_relaxed) == 0)
        atomic_store_explicit(&slot->unlogged, first, memory_order_relaxed);
    return RESERVE_DONE;
}

enum reserve_result reserve_try(struct helios_db *db, helios_branch_id branch, struct mem_slot *slot,
                                size_t count, uint64_t record_size, struct footprint *footprint,
                                struct reserved *out)
{
    uint64_t now = io_time(db->fs);
    enum reserve_result result;

    mutex_lock(&db->commit_mu);
    result = reserve_locked(db, branch, slot, count, record_size, now, footprint, out);
    mutex_unlock(&db->commit_mu);
    if (result == RESERVE_DONE)
        footprint_retire(out->replaced);
    return result;
}

helios_status reserve_wait(struct helios_db *db, helios_branch_id branch, enum reserve_result why,
                           uint64_t record_size)
{
    switch (why) {
    case RESERVE_LOG_FULL: return wal_prepare(db->wal, record_size);
    case RESERVE_RING_FULL: return wait_for_ring(db);
    case RESERVE_CEILING: return raise_ceiling(db);
    case RESERVE_HELD: return gate_wait(db);
    case RESERVE_CLOSED: return gate_refuse(db, branch);
    default: return HELIOS_OK; /* another memtable: prepare for that one */
    }
}

/* ---- footprints ---- */

enum { FOOTPRINT_OPS_MAX = 256 }; /* more are not even counted */

static void footprint_fill(struct footprint *f, helios_branch_id branch, const struct write_set *set)
{
    unsigned char layer[KEY_LAYER_BYTES];

    for (size_t i = 0; i < set->count; i++) {
        struct op op;

        if (write_set_superseded(set, i))
            continue;
        op = write_set_at(set, i);
        key_put_layer(layer, op_branch(branch, &op), op.space);
        if (op.kind == KIND_RANGE_DELETE)
            footprint_add_range(f, layer, op.key, op.value);
        else
            footprint_add_key(f, layer, op.key);
    }
}

struct footprint *footprint_of(struct helios_db *db, helios_branch_id branch, const struct write_set *set)
{
    size_t bytes = 0;
    struct footprint *f;

    if (atomic_load(&db->validating) == 0)
        return NULL;
    for (size_t i = 0; i < set->count && set->count <= FOOTPRINT_OPS_MAX; i++) {
        struct op op = write_set_at(set, i);

        bytes += op.key.size + KEY_LAYER_BYTES +
                 (op.kind == KIND_RANGE_DELETE ? op.value.size + KEY_LAYER_BYTES : 0);
    }
    f = footprint_new(set->count <= FOOTPRINT_OPS_MAX ? set->count : SIZE_MAX, bytes);
    if (f && !f->too_big)
        footprint_fill(f, branch, set);
    return f;
}

/* ---- preparing ---- */

/* What a commit holds while it is being prepared. */
struct preparation {
    struct mem_slot *slot;
    struct memtable_node **nodes, *few[SMALL_NODES];
    size_t node_count;
    struct rangedel *ranges; /* keys with layer, in range_keys; seq not yet known */
    size_t range_count;
    helios_buf range_keys;
    unsigned char small[SMALL_KEY_BYTES + KEY_LAYER_BYTES];
    helios_buf key;
};

/* The key with its layer; valid until the next call. */
static helios_status layered_key(struct preparation *p, helios_branch_id branch, const struct op *op,
                                 helios_slice *out)
{
    unsigned char *at = p->small;
    size_t size = op->key.size + KEY_LAYER_BYTES;

    if (size > sizeof(p->small)) {
        helios_status status = buf_reserve(&p->key, size);

        if (status != HELIOS_OK)
            return status;
        at = (unsigned char *)p->key.data;
    }
    key_put_layer(at, branch, op->space);
    if (op->key.size)
        memcpy(at + KEY_LAYER_BYTES, op->key.data, op->key.size);
    *out = slice_make(at, size);
    return HELIOS_OK;
}

/* HELIOS_LIMIT without a sentence: the memtable is full. */
static helios_status prepare_nodes(struct preparation *p, helios_branch_id branch, const struct write_set *set)
{
    p->node_count = 0;
    for (size_t i = 0; i < set->count; i++) {
        struct op op;
        helios_slice key;
        helios_status status;

        if (write_set_superseded(set, i))
            continue;
        op = write_set_at(set, i);
        if (op.kind == KIND_RANGE_DELETE)
            continue;
        status = layered_key(p, op_branch(branch, &op), &op, &key);
        if (status != HELIOS_OK)
            return status;
        p->nodes[p->node_count] = memtable_prepare(p->slot->memtable, key, op.value, op.kind);
        if (!p->nodes[p->node_count])
            return HELIOS_LIMIT;
        p->node_count++;
    }
    return HELIOS_OK;
}

static helios_status append_layered(helios_buf *buf, helios_branch_id branch, uint8_t space, helios_slice key)
{
    unsigned char layer[KEY_LAYER_BYTES];
    helios_status status;

    key_put_layer(layer, branch, space);
    status = buf_append(buf, layer, sizeof(layer));
    return status == HELIOS_OK ? buf_append(buf, key.data, key.size) : status;
}

static helios_status prepare_ranges(struct preparation *p, helios_branch_id branch, const struct write_set *set)
{
    size_t at = 0;

    if (set->range_deletes == 0)
        return HELIOS_OK;
    p->ranges = mem_array(set->range_deletes, sizeof(*p->ranges));
    if (!p->ranges)
        return fail_no_memory(set->range_deletes * sizeof(*p->ranges));
    for (size_t i = 0; i < set->count; i++) {
        struct op op = write_set_at(set, i);
        helios_status status;

        if (op.kind != KIND_RANGE_DELETE)
            continue;
        status = append_layered(&p->range_keys, op_branch(branch, &op), op.space, op.key);
        if (status == HELIOS_OK)
            status = append_layered(&p->range_keys, op_branch(branch, &op), op.space, op.value);
        if (status != HELIOS_OK)
            return status;
        p->ranges[p->range_count].from.size = op.key.size + KEY_LAYER_BYTES;
        p->ranges[p->range_count++].to.size = op.value.size + KEY_LAYER_BYTES;
    }
    for (size_t i = 0; i < p->range_count; i++) {
        struct rangedel *range = &p->ranges[i];

        range->from.data = p->range_keys.data + at;
        range->to.data = p->range_keys.data + at + range->from.size;
        at += range->from.size + range->to.size;
    }
    return HELIOS_OK;
}

static helios_status preparation_init(struct preparation *p, helios_branch_id branch,
                                      const struct write_set *set)
{
    p->nodes = p->few;
    p->ranges = NULL;
    p->range_count = p->node_count = 0;
    p->range_keys = p->key = (helios_buf){0};
    if (set->count > SMALL_NODES) {
        p->nodes = mem_array(set->count, sizeof(*p->nodes));
        if (!p->nodes)
            return fail_no_memory(set->count * sizeof(*p->nodes));
    }
    return prepare_ranges(p, branch, set);
}

static void preparation_release(struct preparation *p)
{
    if (p->nodes != p->few)
        mem_free(p->nodes);
    if (p->ranges)
        mem_free(p->ranges);
    if (p->range_keys.data)
        helios_buf_free(&p->range_keys);
    if (p->key.data)
        helios_buf_free(&p->key);
}

/* Prepares for the active memtable and reserves; again, while another memtable takes its place or there
 * is something to wait for. Until the reservation the epoch keeps the memtable; from then on the
 * reservation does: a memtable is not flushed before all its commits are published. */
static helios_status prepare_and_reserve(struct helios_db *db, struct preparation *p, helios_branch_id branch,
                                         const struct write_set *set, uint64_t record_size,
                                         struct reserved *reserved)
{
    struct footprint *footprint = footprint_of(db, branch, set);

    for (;;) {
        enum reserve_result result = RESERVE_OTHER_MEMTABLE;
        helios_status status;

        epoch_enter();
        p->slot = view_now(db)->active;
        status = memtable_full(p->slot->memtable) ? HELIOS_LIMIT : prepare_nodes(p, branch, set);
        if (status == HELIOS_OK)
            status = stretch_prepare(&p->slot->stretch);
        if (status == HELIOS_OK)
            result = reserve_try(db, write_set_gate(set, branch), p->slot, set->count, record_size, footprint,
                                 reserved);
        if (status == HELIOS_LIMIT)
            mem_slot_ref(p->slot);
        epoch_leave();
        if (result == RESERVE_DONE)
            return HELIOS_OK;
        if (status == HELIOS_LIMIT) {
            status = memtable_switch(db, p->slot);
            mem_slot_unref(p->slot);
        } else if (status == HELIOS_OK) {
            status = reserve_wait(db, branch, result, record_size);
        }
        if (status != HELIOS_OK) {
            footprint_unref(footprint);
            return status;
        }
    }
}

/* ---- copying ---- */

static __thread struct memtable_hint thread_hint;

static void insert_nodes(struct preparation *p, helios_seq seq)
{
    for (size_t i = 0; i < p->node_count; i++)
        memtable_insert(p->slot->memtable, p->nodes[i], seq, &thread_hint);
}

helios_status record_write(struct helios_db *db, const struct reserved *reserved,
                           const struct wal_record *record, uint64_t body_hash, const helios_slice *pieces,
                           size_t count)
{
    helios_status status = wal_write(db->wal, &reserved->log, record, body_hash, pieces, count);

    if (status != HELIOS_OK)
        fate_refused(db, reserved->first);
    return status;
}

static helios_status write_record(struct helios_db *db, const struct reserved *reserved,
                                  enum wal_record_type type, helios_branch_id branch,
                                  const struct write_set *set, uint64_t body_hash)
{
    const struct wal_record record = {
        .first = reserved->first,
        .op_count = (uint32_t)(reserved->last - reserved->first + 1),
        .type = type,
        .time = reserved->time,
        .synced = reserved->log.synced,
        .branch = branch,
        .flags = set->origin.data && type != WAL_VOID ? WAL_RECORD_ORIGIN : 0,
        .body = {NULL, set->body_size},
    };

    return record_write(db, reserved, &record, body_hash, set->pieces, type == WAL_VOID ? 0 : set->piece_count);
}

/* A reserved commit of which nothing becomes anything, for the reason that this thread has told: a VOID fills its
 * space. Returns `why`. */
static __attribute__((noinline)) helios_status apply_void(struct helios_db *db, const struct reserved *reserved,
                                                          helios_branch_id branch, const struct write_set *set,
                                                          uint64_t body_hash, helios_status why)
{
    struct error_note note = {0};
    helios_status status;

    error_keep(&note, why);
    if (reserved->logged) {
        status = write_record(db, reserved, WAL_VOID, branch, set, body_hash);
        if (status != HELIOS_OK)
            return db_fail(db, status);
    }
    status = publish_void(db, reserved);
    return status == HELIOS_OK ? error_tell(&note) : status;
}

/* Applies a reserved commit. A transaction can still lose here, a range delete fail for want of memory: then nothing
 * has changed. */
static helios_status apply(struct helios_db *db, struct preparation *p, const struct reserved *reserved,
                           helios_branch_id branch, const struct write_set *set, uint64_t body_hash)
{
    helios_status status = set->txn ? txn_validate_reserved(set->txn, reserved) : HELIOS_OK;

    for (size_t i = 0; i < p->range_count; i++)
        p->ranges[i].seq = reserved->last;
    if (p->range_count && status == HELIOS_OK)
        status = memtable_add_rangedels(p->slot->memtable, p->ranges, p->range_count);
    if (status != HELIOS_OK)
        return apply_void(db, reserved, branch, set, body_hash, status);
    if (reserved->logged) {
        status = write_record(db, reserved, WAL_COMMIT, branch, set, body_hash);
        if (status != HELIOS_OK)
            return db_fail(db, status);
    }
    insert_nodes(p, reserved->last);
    return publish(db, reserved, set->user_bytes);
}

static void count_user_bytes(struct helios_db *db, uint64_t bytes)
{
    atomic_fetch_add_explicit(&db->user_bytes, bytes, memory_order_relaxed);
}

/* The hash of the whole body. Small pieces are gathered first: one short hash beats three. */
static uint64_t hash_body(const struct write_set *set)
{
    unsigned char bytes[SMALL_BODY_BYTES];
    size_t at = 0;

    if (set->piece_count == 1)
        return hash_bytes(set->pieces[0].data, set->pieces[0].size);
    if (set->body_size > sizeof(bytes))
        return hash_pieces(set->pieces, set->piece_count);
    for (size_t i = 0; i < set->piece_count; i++) {
        if (set->pieces[i].size)
            memcpy(bytes + at, set->pieces[i].data, set->pieces[i].size);
        at += set->pieces[i].size;
    }
    return hash_bytes(bytes, at);
}

helios_status acknowledge(struct helios_db *db, helios_durability durability, const struct reserved *reserved)
{
    if (!reserved->logged)
        return HELIOS_OK;
    if (durability == HELIOS_DURABILITY_GROUP)
        wal_sync_soon(db->wal, db->options.group_commit_interval);
    if (durability != HELIOS_DURABILITY_SYNC)
        return HELIOS_OK;
    if (wal_sync(db->wal, reserved->log.end, UINT64_MAX) == HELIOS_OK)
        return HELIOS_OK;
    return db_fail(db, wal_error(db->wal));
}

/* Sleeps as long as the rate that the background can keep up with asks for, and no longer when that rises. */
static void pace_writer(struct helios_db *db, uint64_t bytes)
{
    uint64_t slept = pace_wait(&db->write_pace, bytes);

    if (slept == 0)
        return;
    atomic_fetch_add_explicit(&db->stall_time, slept, memory_order_relaxed);
    atomic_fetch_add_explicit(&db->stall_count, 1, memory_order_relaxed);
}

helios_status commit_write(struct helios_db *db, helios_branch_id branch, helios_durability durability,
                           struct write_set *set, helios_seq *commit)
{
    struct preparation p;
    struct reserved reserved;
    uint64_t record_size = 0, body_hash = 0;
    helios_status status;

    if (set->user_bytes + set->count * NODE_OVERHEAD > db->ingest_bytes)
        return ingest_write(db, branch, durability, set, commit);
    pace_writer(db, set->user_bytes);
    if (db->wal && durability != HELIOS_DURABILITY_NONE) {
        record_size = wal_record_room(db->wal, set->body_size);
        body_hash = wal_is_encrypted(db->wal) ? 0 : hash_body(set);
    }
    status = preparation_init(&p, branch, set);
    if (status == HELIOS_OK)
        status = prepare_and_reserve(db, &p, branch, set, record_size, &reserved);
    if (status == HELIOS_OK) {
        status = apply(db, &p, &reserved, branch, set, body_hash);
        if (status == HELIOS_OK)
            status = acknowledge(db, durability, &reserved);
        if (status == HELIOS_OK)
            count_user_bytes(db, set->user_bytes);
        if (status == HELIOS_OK && commit)
            *commit = reserved.last;
    }
    preparation_release(&p);
    return status;
}
