/* apply.c - helios_apply: commits of other nodes, made here too. Checks what came, decides (apply_decide.c), and
 * writes it with a row and a record that say where it came from (engine/origins.h).
 *
 * One apply at a time, so that rows are in the order of their commits; while it looks and commits, the gate of its branch
 * is closed: what it was held against is what it is written over. */
#include "changelog/apply.h"
#include "base/mem.h"
#include "engine/branches.h"
#include <inttypes.h>
#include <stdlib.h>

static const helios_apply_options default_options = HELIOS_APPLY_OPTIONS_INIT;
static const helios_apply_result no_result;

/* ---- what came ---- */

static helios_status check_change(const helios_change *c)
{
    helios_seq commit;
    helios_status status = clock_check(c->vector_clock);

    if (status != HELIOS_OK)
        return status;
    commit = clock_of(c->vector_clock, c->origin);
    if (commit == 0 || c->origin_previous > commit || c->origin_lsn > commit)
        return fail(HELIOS_INVALID,
                    "a change of node %s, its number %" PRIu64 ", after %" PRIu64
                    ": its clock does not fit, which has %" PRIu64,
                    node_text(c->origin).text, c->origin_lsn, c->origin_previous, commit);
    if (c->kind == HELIOS_CHANGE_NONE)
        return HELIOS_OK;
    if ((unsigned)c->kind > HELIOS_CHANGE_NONE)
        return fail(HELIOS_INVALID, "a change of kind %d, which is none", (int)c->kind);
    status = check_key(c->key);
    if (status == HELIOS_OK && c->kind == HELIOS_CHANGE_PUT)
        status = check_value(c->value);
    if (status == HELIOS_OK && c->kind == HELIOS_CHANGE_DELETE_RANGE)
        status = check_key(c->value);
    return status;
}

static bool same_origin(const helios_change *a, const helios_change *b)
{
    return memcmp(a->origin, b->origin, NODE_BYTES) == 0;
}

/* The commit of one node among the entries of a commit. */
struct part {
    const helios_change *first;
    helios_seq commit; /* there */
    bool due;          /* not here yet */
};
enum { PARTS_MAX = 2 }; /* what was applied there, and what was decided about it */

static struct part *part_of(struct part *parts, size_t count, const helios_change *c)
{
    for (size_t i = 0; i < count; i++)
        if (same_origin(parts[i].first, c))
            return &parts[i];
    return NULL;
}

static helios_status add_to_parts(struct part *parts, size_t *count, const helios_change *c)
{
    struct part *part = part_of(parts, *count, c);

    if (!part && *count < PARTS_MAX) {
        parts[(*count)++] = (struct part){c, clock_of(c->vector_clock, c->origin), false};
        return HELIOS_OK;
    }
    if (part && slice_equal(part->first->vector_clock, c->vector_clock) &&
        part->first->origin_previous == c->origin_previous)
        return HELIOS_OK;
    return fail(HELIOS_INVALID, "changes of one commit disagree about where they came from");
}

/* Two at most, that which the other came after first. */
static helios_status split(const helios_change *changes, size_t n, struct part *parts, size_t *count)
{
    helios_status status = HELIOS_OK;

    *count = 0;
    if (n == 0 || !changes[0].commit_begin || !changes[n - 1].commit_end)
        return fail(HELIOS_INVALID,
                    "%zu changes that are not all of a commit: the first has to be its begin, the"
                    " last its end",
                    n);
    for (size_t i = 0; i < n && status == HELIOS_OK; i++) {
        if (changes[i].commit != changes[0].commit || (i > 0 && changes[i].commit_begin) ||
            (i < n - 1 && changes[i].commit_end))
            return fail(HELIOS_INVALID, "changes of several commits: one at a time is applied");
        status = check_change(&changes[i]);
        if (status == HELIOS_OK)
            status = add_to_parts(parts, count, &changes[i]);
    }
    if (status == HELIOS_OK && *count == 2 &&
        clock_of(parts[0].first->vector_clock, parts[1].first->origin) >= parts[1].commit) {
        struct part first = parts[0];

        parts[0] = parts[1];
        parts[1] = first;
    }
    return status;
}

/* ---- whether its turn has come ---- */

static helios_status fail_gap(const struct part *part, const unsigned char *node, helios_seq needed,
                              helios_seq applied)
{
    return fail(HELIOS_GAP,
                "commit %" PRIu64 " of node %s comes after %" PRIu64 " of node %s, of which %" PRIu64
                " is the last that was applied",
                part->commit, node_text(part->first->origin).text, needed, node_text(node).text, applied);
}

/* Nobody brings it back, as own changes are skipped: what came after it would stand here without it. */
static helios_status fail_lost(const struct part *part, helios_seq own)
{
    return fail(HELIOS_GAP,
                "commit %" PRIu64 " of node %s comes after %" PRIu64
                " of this database, which has no such commit: it was lost, or this is an older copy",
                part->commit, node_text(part->first->origin).text, own);
}

/* The last of a node's commits that is here, with the part that goes before. */
static helios_seq applied_of(struct helios_db *db, const struct part *before, const unsigned char *node)
{
    helios_seq here = clock_of(buf_slice(&db->origins.clock), node);

    if (before && before->commit > here && memcmp(before->first->origin, node, NODE_BYTES) == 0)
        return before->commit;
    return here;
}

/* Under origins.mu. *due false: it is here already. before: NULL, or the other part, which is due or here. */
static helios_status look_at_turn(struct helios_db *db, const struct part *part, const struct part *before,
                                  bool *due)
{
    helios_slice clock = part->first->vector_clock;
    helios_seq here = applied_of(db, NULL, part->first->origin), own = clock_of(clock, db->node_id);

    *due = memcmp(part->first->origin, db->node_id, NODE_BYTES) != 0 && part->commit > here;
    if (!*due)
        return HELIOS_OK;
    if (own && fate_is_lost(db, own))
        return fail_lost(part, own);
    if (part->first->origin_previous > here)
        return fail_gap(part, part->first->origin, part->first->origin_previous, here);
    for (size_t i = 0; i < clock_count(clock); i++) {
        const unsigned char *node = clock_node(clock, i);

        if (memcmp(node, part->first->origin, NODE_BYTES) == 0 || memcmp(node, db->node_id, NODE_BYTES) == 0)
            continue;
        if (clock_number(clock, i) > applied_of(db, before, node))
            return fail_gap(part, node, clock_number(clock, i), applied_of(db, before, node));
    }
    return HELIOS_OK;
}

/* ---- gathering ---- */

static bool is_data(const helios_change *c)
{
    return c->kind != HELIOS_CHANGE_NONE && (c->space == SPACE_USER || c->space == SPACE_DATA);
}

static void add_change(struct applying *a, const helios_change *c)
{
    static const enum key_kind kinds[] = {[HELIOS_CHANGE_PUT] = KIND_VALUE,
                                          [HELIOS_CHANGE_DELETE] = KIND_TOMBSTONE,
                                          [HELIOS_CHANGE_DELETE_RANGE] = KIND_RANGE_DELETE};
    size_t count = a->came.count;

    batch_add(&a->came, kinds[c->kind], c->space, c->key,
              c->kind == HELIOS_CHANGE_DELETE ? slice_make("", 0) : c->value);
    if (a->came.count > count)
        a->from[count] = c;
}

static int compare_points(const void *x, const void *y, void *arg)
{
    const struct helios_batch *came = arg;
    struct op a = batch_at(came, ((const struct apply_point *)x)->op),
              b = batch_at(came, ((const struct apply_point *)y)->op);

    return a.space != b.space ? (a.space < b.space ? -1 : 1) : slice_compare(a.key, b.key);
}

static helios_status gather(struct applying *a, const helios_change *changes, size_t n)
{
    const helios_change *data = NULL;
    helios_status status;

    a->from = mem_array(n, sizeof(*a->from));
    a->points = mem_array(n, sizeof(*a->points));
    if (!a->from || !a->points)
        return fail_no_memory(n * sizeof(*a->points));
    for (size_t i = 0; i < n; i++) {
        if (!same_origin(&changes[i], a->first) || !is_data(&changes[i]))
            continue;
        if (data && data->branch != changes[i].branch)
            return fail(HELIOS_INVALID, "changes of one commit on branches %u and %u", data->branch,
                        changes[i].branch);
        data = &changes[i];
        add_change(a, data);
    }
    status = error_tell(&a->came.error);
    if (status == HELIOS_OK)
        status = batch_settle(&a->came);
    for (size_t i = 0; i < a->came.count && status == HELIOS_OK; i++)
        if (!a->came.ops[i].superseded && batch_at(&a->came, i).kind != KIND_RANGE_DELETE)
            a->points[a->point_count++].op = i;
    if (a->point_count)
        qsort_r(a->points, a->point_count, sizeof(*a->points), compare_points, &a->came);
    a->branch = data ? data->branch : 0;
    if (status == HELIOS_OK && data && a->options->branch_of)
        status = a->options->branch_of(a->options->arg, data, &a->branch);
    return status;
}

/* ---- committing ---- */

/* What is written, in the order of the record: range deletes, then keys as they came, own decisions, the row. */
struct writing {
    struct helios_batch batch;
    helios_branch_id branch;
    helios_seq *lsns; /* there, of each operation */
    helios_buf own, after, row, prefix;
    unsigned char key[ORIGIN_KEY_SIZE];
};

static helios_status add_on(struct writing *w, helios_branch_id branch, enum key_kind kind, uint8_t space,
                            helios_slice key, helios_slice value, helios_seq lsn)
{
    w->lsns[w->batch.count] = lsn;
    if (w->batch.several_branches)
        return batch_append_on(&w->batch, branch, kind, space, key, value);
    return batch_append(&w->batch, kind, space, key, value);
}

static helios_status add_op(struct writing *w, const struct op *op, helios_seq lsn)
{
    return add_on(w, w->branch, op->kind, op->space, op->key, op->value, lsn);
}

static helios_status add_pieces(struct writing *w, const struct applying *a)
{
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < a->pieces.count && status == HELIOS_OK; i++) {
        struct op op = batch_at(&a->pieces, i);

        status = add_op(w, &op, get_u64(a->piece_lsns.data + 8 * i));
    }
    return status;
}

static helios_status add_points(struct writing *w, const struct applying *a)
{
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < a->point_count && status == HELIOS_OK; i++) {
        struct op op = batch_at(&a->came, a->points[i].op);

        if (a->points[i].outcome == POINT_TAKEN)
            status = add_op(w, &op, a->from[a->points[i].op]->origin_lsn);
    }
    return status;
}

static int compare_own(const void *x, const void *y, void *arg)
{
    const struct helios_batch *own = arg;
    struct op a = batch_at(own, *(const size_t *)x), b = batch_at(own, *(const size_t *)y);

    return a.space != b.space ? (a.space < b.space ? -1 : 1) : slice_compare(a.key, b.key);
}

static helios_status name_own(struct writing *w, const struct op *op)
{
    unsigned char bytes[1 + VARINT_MAX] = {op->space};
    helios_status status = buf_append(&w->own, bytes, 1 + put_varint(bytes + 1, op->key.size));

    return status == HELIOS_OK ? buf_append(&w->own, op->key.data, op->key.size) : status;
}

static helios_status add_own(struct writing *w, const struct applying *a)
{
    size_t *order = mem_array(a->own.count + 1, sizeof(*order));
    helios_status status = order ? HELIOS_OK : fail_no_memory(a->own.count * sizeof(*order));

    for (size_t i = 0; order && i < a->own.count; i++)
        order[i] = i;
    if (order)
        qsort_r(order, a->own.count, sizeof(*order), compare_own, (void *)&a->own);
    for (size_t i = 0; i < a->own.count && status == HELIOS_OK; i++) {
        struct op op = batch_at(&a->own, order[i]);

        status = add_op(w, &op, a->commit);
        if (status == HELIOS_OK)
            status = name_own(w, &op);
    }
    mem_free(order);
    return status;
}

/* The row, and the same in front of the record. */
static helios_status add_row(struct writing *w, const struct applying *a)
{
    struct helios_db *db = a->db;
    struct origin origin = {
        .op_count = (uint32_t)w->batch.count + 1,
        .branch = a->branch,
        .node = a->first->origin,
        .commit = a->commit,
        .came = a->first->vector_clock,
        .own_count = (uint32_t)a->own.count,
        .own = buf_slice(&w->own),
    };
    helios_status status = buf_set(&w->after, db->origins.clock.data, db->origins.clock.size);

    if (status == HELIOS_OK)
        status = clock_set(&w->after, origin.node, origin.commit, NULL);
    if (status == HELIOS_OK && clock_count(buf_slice(&w->after)) >= CLOCK_ENTRIES_MAX)
        status = fail(HELIOS_LIMIT, "changes of at most %d other nodes are applied", CLOCK_ENTRIES_MAX - 1);
    origin.after = buf_slice(&w->after);
    if (status == HELIOS_OK)
        status = origin_encode(&w->row, &origin);
    mutex_lock(&db->commit_mu);
    w->key[0] = ORIGIN_KEY;
    put_u64_be(w->key + 1, db->next);
    mutex_unlock(&db->commit_mu);
    if (status == HELIOS_OK)
        status = add_on(w, 0, KIND_VALUE, SPACE_SYSTEM, slice_make(w->key, sizeof(w->key)), buf_slice(&w->row),
                        a->commit);
    return status == HELIOS_OK ? origin_prefix(&origin, w->lsns, w->batch.count, &w->prefix) : status;
}

static helios_status fill(struct writing *w, const struct applying *a)
{
    size_t most = a->pieces.count + a->point_count + a->own.count + 1;
    helios_status status;

    w->branch = a->branch;
    w->batch.several_branches = a->branch != 0;
    w->lsns = mem_array(most, sizeof(*w->lsns));
    if (!w->lsns)
        return fail_no_memory(most * sizeof(*w->lsns));
    status = add_pieces(w, a);
    if (status == HELIOS_OK)
        status = add_points(w, a);
    if (status == HELIOS_OK)
        status = add_own(w, a);
    return status == HELIOS_OK ? add_row(w, a) : status;
}

static helios_status write_out(const struct applying *a, helios_durability durability, struct writing *w,
                               bool holds_gate, helios_seq *commit)
{
    struct write_set set = write_set_of(&w->batch);
    helios_status status;

    set.origin = buf_slice(&w->prefix);
    set.pieces[1] = set.pieces[0];
    set.pieces[0] = set.origin;
    set.piece_count = 2;
    set.body_size += set.origin.size;
    set.holds_gate = holds_gate;
    origins_begin(a->db, get_u64_be(w->key + 1));
    status = commit_write(a->db, a->branch ? WAL_BRANCH_MANY : 0, durability, &set, commit);
    if (status == HELIOS_OK)
        origins_advance(a->db, &w->after);
    return status;
}

static helios_status commit(const struct applying *a, helios_durability durability, bool holds_gate,
                            helios_seq *number)
{
    struct writing w = {0};
    helios_status status;

    batch_init(&w.batch);
    status = fill(&w, a);
    if (status == HELIOS_OK)
        status = write_out(a, durability, &w, holds_gate, number);
    batch_release(&w.batch);
    mem_free(w.lsns);
    helios_buf_free(&w.own);
    helios_buf_free(&w.after);
    helios_buf_free(&w.row);
    helios_buf_free(&w.prefix);
    return status;
}

static helios_status decide_and_commit(struct applying *a, helios_durability durability, helios_seq *number)
{
    struct gate gate;
    helios_status status;

    if (a->came.count == 0) { /* nothing but that it was there */
        a->branch = 0;
        return commit(a, durability, false, number);
    }
    status = branch_hold(a->db, a->branch);
    if (status != HELIOS_OK)
        return fail_context(status, "a change of branch %u of node %s", a->from[0]->branch,
                            node_text(a->first->origin).text);
    status = a->branch ? branch_writable(a->db, a->branch) : HELIOS_OK;
    /* After the hold, as the reservation lets who holds the gate pass: who seals later sees the hold and gives up. */
    if (status == HELIOS_OK && a->branch && branch_is_sealed(a->db, a->branch))
        status = gate_refuse(a->db, a->branch);
    if (status == HELIOS_OK)
        status = gate_close(a->db, &gate, a->branch);
    if (status == HELIOS_OK) {
        status = apply_decide(a);
        if (status == HELIOS_OK)
            status = commit(a, durability, true, number);
        gate_open(a->db, &gate);
    }
    branch_release(a->db, a->branch);
    return status;
}

/* ---- one commit of one node ---- */

static void applying_release(struct applying *a)
{
    origin_rows_release(&a->rows);
    batch_release(&a->came);
    batch_release(&a->pieces);
    batch_release(&a->own);
    mem_free(a->from);
    mem_free(a->points);
    helios_buf_free(&a->piece_lsns);
    helios_buf_free(&a->ours);
    helios_buf_free(&a->value);
    helios_buf_free(&a->clock);
}

static helios_status apply_part(struct helios_db *db, const helios_apply_options *options,
                                const struct part *part, const helios_change *changes, size_t n,
                                helios_apply_result *result)
{
    struct applying a = {
        .db = db,
        .options = options,
        .first = part->first,
        .commit = part->commit,
        .sum = clock_sum(part->first->vector_clock),
        .rows = {.db = db},
    };
    helios_seq number = 0;
    helios_status status;

    if (!part->due) {
        result->skipped++;
        return HELIOS_OK;
    }
    batch_init(&a.came);
    batch_init(&a.pieces);
    batch_init(&a.own);
    status = gather(&a, changes, n);
    if (status == HELIOS_OK)
        status = decide_and_commit(&a, options->durability, &number);
    if (status == HELIOS_OK) {
        result->applied++;
        result->conflicts += a.conflicts;
        result->commit = number;
    }
    applying_release(&a);
    return status;
}

/* ---- the public call ---- */

/* Outside the lock, so that syncs are shared. Also for what was skipped: it may have been applied a moment ago. */
static helios_status make_durable(struct helios_db *db, helios_durability durability)
{
    if (!db->wal)
        return HELIOS_OK;
    if (durability == HELIOS_DURABILITY_GROUP)
        wal_sync_soon(db->wal, db->options.group_commit_interval);
    if (durability != HELIOS_DURABILITY_SYNC)
        return HELIOS_OK;
    return helios_wait_durable(db, atomic_load(&db->latest), UINT64_MAX);
}

helios_status helios_apply(helios_db *db, const helios_apply_options *given, const helios_change *changes,
                           size_t n, helios_apply_result *result)
{
    helios_apply_options options;
    helios_apply_result counted = no_result;
    struct part parts[PARTS_MAX];
    helios_durability durability;
    size_t count = 0;
    helios_status status;

    if (!db || !changes)
        return fail(HELIOS_INVALID, "no %s given", db ? "changes were" : "database was");
    status = options_copy(given, given ? given->size : 0, &default_options, sizeof(options), &options,
                          "helios_apply_options");
    if (status == HELIOS_OK)
        status = write_durability(db, &options.durability);
    if (status == HELIOS_OK)
        status = db_writable(db);
    if (status == HELIOS_OK)
        status = split(changes, n, parts, &count);
    if (status != HELIOS_OK)
        return status;
    durability = options.durability;
    /* Never unlogged: a later commit that survives would say of a lost one that it was applied. */
    options.durability = HELIOS_DURABILITY_ASYNC;
    mutex_lock(&db->origins.mu);
    for (size_t i = 0; i < count && status == HELIOS_OK; i++) /* of all, before anything changes */
        status = look_at_turn(db, &parts[i], i ? &parts[0] : NULL, &parts[i].due);
    for (size_t i = 0; i < count && status == HELIOS_OK; i++)
        status = apply_part(db, &options, &parts[i], changes, n, &counted);
    mutex_unlock(&db->origins.mu);
    if (result)
        *result = counted;
    return status == HELIOS_OK ? make_durable(db, durability) : status;
}
