/* txn.c - transactions, the public side: begin, read, write, savepoints, commit, rollback. How a conflict is found is
 * txn_validate.c's.
 *
 * What is written goes into a batch, operation by operation, as it will stand in the log, and into an index by key, by
 * which reads see it. Only commit touches anything that others see. */
#include "engine/txn.h"
#include <assert.h>
#include <inttypes.h>

enum { ENTRY_OVERHEAD = 96 /* of a write or read in the index, about */ };

static const helios_txn_options default_txn = HELIOS_TXN_OPTIONS_INIT;
static const helios_read_options default_read = HELIOS_READ_OPTIONS_INIT;

/* ---- beginning ---- */

static helios_status txn_options(struct helios_db *db, const helios_txn_options *given, helios_txn_options *out)
{
    helios_status status =
        options_copy(given, given ? given->size : 0, &default_txn, sizeof(*out), out, "helios_txn_options");

    if (status != HELIOS_OK)
        return status;
    if ((unsigned)out->isolation > HELIOS_ISOLATION_SERIALIZABLE)
        return fail(HELIOS_INVALID, "isolation %d is none of helios_isolation", (int)out->isolation);
    if (out->at && !out->read_only)
        return fail(HELIOS_INVALID, "only a read-only transaction can begin in the past, at %" PRIu64, out->at);
    return write_durability(db, &out->durability);
}

/* The order: commits leave footprints from here on; of tickets below, all is visible; only then the point. So a commit above
 * the point has a ticket at or above. */
static helios_status take_floor(struct helios_txn *txn)
{
    struct helios_db *db = txn->db;
    helios_status status;

    atomic_fetch_add(&db->validating, 1);
    txn->ticket = atomic_load_explicit(&db->published, memory_order_acquire);
    status = floor_acquire_latest(db, HELIOS_PIN_TRANSACTION, &txn->pin, &txn->point);
    txn->checked = txn->point;
    if (status != HELIOS_OK)
        atomic_fetch_sub(&db->validating, 1);
    return status;
}

static helios_status take_point(struct helios_txn *txn, helios_seq at)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;

    options.branch = txn->branch;
    options.at = at;
    return read_point_pin(txn->db, &options, HELIOS_PIN_TRANSACTION, &txn->pin, &txn->point);
}

helios_status helios_txn_begin(helios_db *db, const helios_txn_options *given, helios_txn **out)
{
    helios_txn_options options;
    struct helios_txn *txn;
    helios_status status;

    if (!db || !out)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the transaction" : "database");
    status = txn_options(db, given, &options);
    if (status != HELIOS_OK)
        return status;
    txn = mem_alloc(sizeof(*txn)); /* not zeroed: most of it is memory for later */
    if (!txn)
        return fail_no_memory(sizeof(*txn));
    memset(txn, 0, offsetof(struct helios_txn, writes));
    txn->db = db;
    txn->state = TXN_OPEN;
    txn->read_only = options.read_only;
    txn->serializable = !options.read_only && options.isolation == HELIOS_ISOLATION_SERIALIZABLE;
    txn->branch = options.branch;
    txn->durability = options.durability;
    status = branch_hold(db, txn->branch);
    if (status == HELIOS_OK) {
        status = txn->read_only ? take_point(txn, options.at) : take_floor(txn);
        if (status != HELIOS_OK)
            branch_release(db, txn->branch);
    }
    if (status != HELIOS_OK) {
        mem_free(txn);
        return status;
    }
    write_index_init(&txn->writes, txn->write_memory, sizeof(txn->write_memory));
    read_set_init(&txn->reads, txn->read_memory, sizeof(txn->read_memory));
    batch_init(&txn->batch);
    txn->ranges = NULL;
    txn->reads_lost = false;
    txn->savepoints = NULL;
    txn->savepoint_count = txn->savepoint_capacity = 0;
    txn->scans = NULL;
    atomic_fetch_add_explicit(&db->transactions, 1, memory_order_relaxed);
    *out = txn;
    return HELIOS_OK;
}

/* ---- ending ---- */

/* Lets go of everything but the handle. */
static void end(struct helios_txn *txn, enum txn_state state)
{
    struct helios_db *db = txn->db;

    while (txn->scans) {
        struct txn_scan *scan = txn->scans;

        txn->scans = scan->next;
        iter_txn_ended(scan->iter);
        scan->txn = NULL;
    }
    write_index_release(&txn->writes);
    read_set_release(&txn->reads);
    batch_release(&txn->batch);
    rangedel_unref(txn->ranges);
    while (txn->savepoint_count)
        rangedel_unref(txn->savepoints[--txn->savepoint_count].ranges);
    mem_free(txn->savepoints);
    pins_release(txn->read_only ? db->pins : db->floors, txn->pin);
    if (!txn->read_only)
        atomic_fetch_sub(&db->validating, 1);
    branch_release(db, txn->branch);
    txn->state = state;
    atomic_fetch_sub_explicit(&db->transactions, 1, memory_order_release);
}

static helios_status check_open(const struct helios_txn *txn)
{
    if (!txn)
        return fail(HELIOS_INVALID, "no transaction was given");
    if (txn->state == TXN_LOST)
        return fail(HELIOS_INVALID, "the transaction has lost against another commit: only rollback is left");
    if (txn->state == TXN_ENDED)
        return fail(HELIOS_INVALID, "the transaction has ended");
    return HELIOS_OK;
}

helios_status helios_txn_rollback(helios_txn *txn)
{
    if (!txn || txn->state == TXN_ENDED)
        return check_open(txn);
    if (txn->state == TXN_OPEN)
        end(txn, TXN_ENDED);
    txn->state = TXN_ENDED;
    return HELIOS_OK;
}

void helios_txn_free(helios_txn *txn)
{
    if (txn && txn->state == TXN_OPEN)
        end(txn, TXN_ENDED);
    mem_free(txn);
}

/* ---- reading ---- */

helios_status txn_room(const struct helios_txn *txn, size_t bytes)
{
    uint64_t limit = txn->db->options.transaction_bytes;
    uint64_t used = limit ? txn->writes.arena.bytes + txn->batch.body.size +
                                txn->batch.count * sizeof(*txn->batch.ops) + read_set_bytes(&txn->reads)
                          : 0;

    if (limit && (used >= limit || bytes > limit - used))
        return fail(HELIOS_LIMIT,
                    "a transaction may hold %" PRIu64 " bytes (transaction_bytes): %" PRIu64
                    " are used, %zu more wanted",
                    limit, used, bytes);
    return HELIOS_OK;
}

static helios_status read_own(const struct helios_txn *txn, const struct write_node *node, helios_buf *value)
{
    helios_slice own;

    if (node->top.kind != KIND_VALUE)
        return fail_fixed(HELIOS_NOT_FOUND, "no such key");
    own = batch_at(&txn->batch, node->top.op).value;
    return buf_set(value, own.data, own.size);
}

static helios_status get(struct helios_txn *txn, helios_slice key, helios_buf *value)
{
    const struct read_point point = {.seq = txn->point, .pinned = true};
    uint64_t hash = txn->writes.count || txn->serializable ? hash_key(key) : 0;
    const struct write_node *own = write_index_find(&txn->writes, key, hash);
    helios_status status;

    if (own)
        return read_own(txn, own, value);
    if (txn->ranges && rangedel_newest(txn->ranges, key, SEQ_MAX))
        return fail_fixed(HELIOS_NOT_FOUND, "no such key");
    if (txn->serializable) {
        status = txn_room(txn, key.size + ENTRY_OVERHEAD);
        if (status == HELIOS_OK)
            status = read_set_add_key(&txn->reads, key, hash);
        if (status != HELIOS_OK)
            return status;
    }
    return read_at(txn->db, &point, true, key, value);
}

helios_status txn_get(struct helios_txn *txn, uint8_t space, helios_slice key, helios_buf *value)
{
    struct layered layered;
    helios_status status = check_open(txn);

    if (status == HELIOS_OK)
        status = check_key(key);
    if (status == HELIOS_OK)
        status = layered_init(&layered, txn->branch, space, key);
    if (status != HELIOS_OK)
        return status;
    status = get(txn, layered.key, value);
    layered_release(&layered);
    return status;
}

helios_status helios_txn_get(helios_txn *txn, helios_slice key, helios_buf *value)
{
    if (txn && !value)
        return fail(HELIOS_INVALID, "no place for the value was given");
    return txn_get(txn, SPACE_USER, key, value);
}

helios_status txn_watch(struct helios_txn *txn, uint8_t space, helios_slice key)
{
    struct layered layered;
    helios_status status = check_open(txn);

    if (status != HELIOS_OK || txn->serializable || txn->read_only)
        return status;
    status = txn_room(txn, key.size + ENTRY_OVERHEAD);
    if (status == HELIOS_OK)
        status = layered_init(&layered, txn->branch, space, key);
    if (status != HELIOS_OK)
        return status;
    status = read_set_add_key(&txn->reads, layered.key, hash_key(layered.key));
    txn->watches |= status == HELIOS_OK;
    layered_release(&layered);
    return status;
}

/* What an iterator may say of where it reads has to be where the transaction reads. */
static helios_status agree(const struct helios_txn *txn, const helios_read_options *options)
{
    helios_seq at = options->at == HELIOS_SEQ_NONE ? 0 : options->at;

    if (options->branch != 0 && options->branch != txn->branch)
        return fail(HELIOS_INVALID, "the transaction is on branch %u, not %u", txn->branch, options->branch);
    if (options->snapshot && (options->snapshot->db != txn->db || options->snapshot->seq != txn->point))
        return fail(HELIOS_INVALID, "the snapshot is of another point than the transaction's %" PRIu64,
                    txn->point);
    if (!options->snapshot && options->at && at != txn->point)
        return fail(HELIOS_INVALID, "the transaction reads at %" PRIu64 ", not at %" PRIu64, txn->point, at);
    return HELIOS_OK;
}

helios_status txn_iter(struct helios_txn *txn, uint8_t space, const helios_read_options *given,
                       struct helios_iter **out)
{
    helios_read_options options;
    helios_status status = check_open(txn);

    if (status == HELIOS_OK)
        status = options_copy(given, given ? given->size : 0, &default_read, sizeof(options), &options,
                              "helios_read_options");
    if (status == HELIOS_OK)
        status = agree(txn, &options);
    return status == HELIOS_OK ? iter_new_txn(txn, space, &options, out) : status;
}

helios_status helios_txn_iter(helios_txn *txn, const helios_read_options *given, helios_iter **out)
{
    if (txn && !out)
        return fail(HELIOS_INVALID, "no place for the iterator was given");
    return txn_iter(txn, SPACE_USER, given, out);
}

/* ---- writing ---- */

/* Operations from here on may be replaced in place: no savepoint needs them. */
static uint32_t base_of(const struct helios_txn *txn)
{
    return txn->savepoint_count ? (uint32_t)txn->savepoints[txn->savepoint_count - 1].base : 0;
}

static helios_status check_write(const struct helios_txn *txn)
{
    helios_status status = check_open(txn);

    if (status == HELIOS_OK && txn->read_only)
        return fail(HELIOS_READ_ONLY, "the transaction was begun read-only");
    if (status == HELIOS_OK && txn->db->options.read_only)
        return fail(HELIOS_READ_ONLY, "%s: opened read-only", txn->db->path);
    return status;
}

static helios_status write_key(struct helios_txn *txn, uint8_t space, enum key_kind kind, helios_slice key,
                               helios_slice value)
{
    size_t op = txn->batch.count;
    struct layered layered;
    helios_status status = txn_room(txn, 2 * key.size + value.size + ENTRY_OVERHEAD);

    if (status == HELIOS_OK)
        status = layered_init(&layered, txn->branch, space, key);
    if (status != HELIOS_OK)
        return status;
    status = batch_append(&txn->batch, kind, space, key, value);
    if (status == HELIOS_OK) {
        status =
            write_index_set(&txn->writes, layered.key, hash_key(layered.key), (uint32_t)op, kind, base_of(txn));
        if (status != HELIOS_OK)
            batch_truncate(&txn->batch, op);
    }
    for (struct txn_scan *scan = txn->scans; scan && status == HELIOS_OK; scan = scan->next)
        iter_txn_wrote(scan->iter, layered.key);
    layered_release(&layered);
    return status;
}

helios_status txn_put(struct helios_txn *txn, uint8_t space, helios_slice key, helios_slice value)
{
    helios_status status = check_write(txn);

    if (status == HELIOS_OK)
        status = check_key(key);
    if (status == HELIOS_OK)
        status = check_value(value);
    return status == HELIOS_OK ? write_key(txn, space, KIND_VALUE, key, value) : status;
}

helios_status helios_txn_put(helios_txn *txn, helios_slice key, helios_slice value)
{
    return txn_put(txn, SPACE_USER, key, value);
}

helios_status txn_delete(struct helios_txn *txn, uint8_t space, helios_slice key)
{
    helios_status status = check_write(txn);

    if (status == HELIOS_OK)
        status = check_key(key);
    return status == HELIOS_OK ? write_key(txn, space, KIND_TOMBSTONE, key, slice_make("", 0)) : status;
}

helios_status helios_txn_delete(helios_txn *txn, helios_slice key)
{
    return txn_delete(txn, SPACE_USER, key);
}

static void regather_all(struct helios_txn *txn)
{
    for (struct txn_scan *scan = txn->scans; scan; scan = scan->next)
        scan->regather = true;
}

/* from and to with their layer; op stands in the batch already. */
static helios_status hide_range(struct helios_txn *txn, helios_slice from, helios_slice to, uint32_t op)
{
    const struct rangedel range = {from, to, SEQ_OWN_RANGE};
    struct rangedel_set *ranges;
    helios_status status = rangedel_add(txn->ranges, &range, &ranges);

    if (status != HELIOS_OK)
        return status;
    status = write_index_delete_range(&txn->writes, from, to, op, base_of(txn));
    if (status != HELIOS_OK) {
        rangedel_unref(ranges);
        return status;
    }
    rangedel_unref(txn->ranges);
    txn->ranges = ranges;
    regather_all(txn);
    return HELIOS_OK;
}

static helios_status delete_range(struct helios_txn *txn, uint8_t space, helios_slice from, helios_slice to)
{
    size_t op = txn->batch.count;
    struct layered low, high;
    helios_status status = txn_room(txn, 2 * (from.size + to.size) + ENTRY_OVERHEAD);

    if (status == HELIOS_OK)
        status = layered_init(&low, txn->branch, space, from);
    if (status != HELIOS_OK)
        return status;
    status = layered_init(&high, txn->branch, space, to);
    if (status == HELIOS_OK) {
        status = batch_append(&txn->batch, KIND_RANGE_DELETE, space, from, to);
        if (status == HELIOS_OK) {
            status = hide_range(txn, low.key, high.key, (uint32_t)op);
            if (status != HELIOS_OK)
                batch_truncate(&txn->batch, op);
        }
        layered_release(&high);
    }
    layered_release(&low);
    return status;
}

helios_status txn_delete_range(struct helios_txn *txn, uint8_t space, helios_slice from, helios_slice to)
{
    helios_status status = check_write(txn);

    if (status == HELIOS_OK)
        status = check_key(from);
    if (status == HELIOS_OK)
        status = check_key(to);
    if (status != HELIOS_OK || slice_compare(from, to) >= 0)
        return status;
    return delete_range(txn, space, from, to);
}

helios_status helios_txn_delete_range(helios_txn *txn, helios_slice from, helios_slice to)
{
    return txn_delete_range(txn, SPACE_USER, from, to);
}

/* ---- savepoints ---- */

helios_status helios_txn_savepoint(helios_txn *txn)
{
    size_t capacity;
    struct txn_savepoint *savepoints;
    helios_status status = check_open(txn);

    if (status == HELIOS_OK)
        status = txn_room(txn, sizeof(*savepoints));
    if (status != HELIOS_OK)
        return status;
    if (txn->savepoint_count == txn->savepoint_capacity) {
        capacity = txn->savepoint_capacity ? txn->savepoint_capacity * 2 : 4;
        savepoints = mem_realloc(txn->savepoints, capacity * sizeof(*savepoints));
        if (!savepoints)
            return fail_no_memory(capacity * sizeof(*savepoints));
        txn->savepoints = savepoints;
        txn->savepoint_capacity = capacity;
    }
    txn->savepoints[txn->savepoint_count++] =
        (struct txn_savepoint){txn->batch.count, rangedel_ref(txn->ranges), arena_mark(&txn->writes.arena)};
    return HELIOS_OK;
}

static helios_slice put_layered(char *at, helios_branch_id branch, const struct op *op, helios_slice key)
{
    key_put_layer(at, branch, op->space);
    if (key.size)
        memcpy(at + KEY_LAYER_BYTES, key.data, key.size);
    return slice_make(at, key.size + KEY_LAYER_BYTES);
}

/* The keys of one operation lose what was written from base on. room: for its keys with their layer. */
static void undo_op(struct helios_txn *txn, size_t index, uint32_t base, char *room)
{
    struct op op = batch_at(&txn->batch, index);
    helios_slice key = put_layered(room, txn->branch, &op, op.key);

    if (op.kind == KIND_RANGE_DELETE)
        write_index_undo_range(&txn->writes, key, put_layered(room + key.size, txn->branch, &op, op.value),
                               base);
    else
        write_index_undo(&txn->writes, key, base);
}

/* Room for the keys of any operation from base on, so that undoing cannot fail. */
static size_t undo_room(const struct helios_txn *txn, size_t base)
{
    size_t room = 0;

    for (size_t i = base; i < txn->batch.count; i++) {
        struct op op = batch_at(&txn->batch, i);
        size_t size = op.key.size + KEY_LAYER_BYTES;

        if (op.kind == KIND_RANGE_DELETE)
            size += op.value.size + KEY_LAYER_BYTES;
        room = size > room ? size : room;
    }
    return room;
}

helios_status helios_txn_rollback_to_savepoint(helios_txn *txn)
{
    struct txn_savepoint *savepoint;
    char small[256], *room = small;
    size_t size;
    helios_status status = check_open(txn);

    if (status != HELIOS_OK)
        return status;
    if (txn->savepoint_count == 0)
        return fail(HELIOS_NOT_FOUND, "there is no savepoint to go back to");
    savepoint = &txn->savepoints[txn->savepoint_count - 1];
    size = undo_room(txn, savepoint->base);
    if (size > sizeof(small) && !(room = mem_alloc(size)))
        return fail_no_memory(size);
    for (size_t i = txn->batch.count; i-- > savepoint->base;)
        undo_op(txn, i, (uint32_t)savepoint->base, room);
    if (room != small)
        mem_free(room);
    batch_truncate(&txn->batch, savepoint->base);
    rangedel_unref(txn->ranges);
    txn->ranges = savepoint->ranges;
    if (!txn->scans) /* an open iterator may stand on a key in this memory */
        arena_rewind(&txn->writes.arena, &savepoint->mark);
    regather_all(txn);
    txn->savepoint_count--;
    return HELIOS_OK;
}

void txn_savepoint_release(struct helios_txn *txn)
{
    assert(txn->savepoint_count);
    rangedel_unref(txn->savepoints[--txn->savepoint_count].ranges);
}

/* ---- committing ---- */

/* Of each key the operation that decides stays, all others do not reach the memtable. */
static void mark_superseded(struct helios_txn *txn)
{
    for (size_t i = 0; i < txn->batch.count; i++)
        txn->batch.ops[i].superseded = batch_at(&txn->batch, i).kind != KIND_RANGE_DELETE;
    for (const struct write_node *n = write_index_first(&txn->writes); n; n = write_index_next(n))
        if (n->top.kind != KIND_RANGE_DELETE)
            txn->batch.ops[n->top.op].superseded = false;
}

static helios_status settle_reads(struct helios_txn *txn)
{
    for (struct txn_scan *scan = txn->scans; scan; scan = scan->next) {
        iter_note_walk(scan->iter);
        txn_scan_note(scan);
    }
    if (txn->reads_lost)
        return fail(HELIOS_NO_MEMORY,
                    "there was no memory to note what the transaction read: it cannot commit");
    read_set_settle(&txn->reads);
    return HELIOS_OK;
}

static helios_status commit_writes(struct helios_txn *txn, helios_seq *commit)
{
    struct write_set set;
    helios_status status = txn->branch ? branch_writable(txn->db, txn->branch) : HELIOS_OK;

    if (status == HELIOS_OK)
        status = db_writable(txn->db);
    if (status == HELIOS_OK && txn->serializable)
        status = settle_reads(txn);
    if (status != HELIOS_OK)
        return status;
    status = txn_validate(txn);
    if (status != HELIOS_OK)
        return status;
    mark_superseded(txn);
    set = write_set_of(&txn->batch);
    set.txn = txn;
    return commit_write(txn->db, txn->branch, txn->durability, &set, commit);
}

helios_status helios_txn_commit(helios_txn *txn, helios_seq *commit)
{
    helios_status status = check_open(txn);
    helios_seq seq = 0;

    if (status != HELIOS_OK)
        return status;
    if (txn->batch.count)
        status = commit_writes(txn, &seq);
    if (status == HELIOS_OK || status == HELIOS_CONFLICT)
        end(txn, status == HELIOS_OK ? TXN_ENDED : TXN_LOST);
    if (status == HELIOS_OK && commit)
        *commit = seq;
    return status;
}
