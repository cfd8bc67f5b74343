/* merge_commit.c - what a merge writes, as one commit: a batch in memory while it is small; from there on tables, written as
 * the walk goes on, so that memory does not grow with the merge.
 *
 * Nobody is kept from writing while the walk goes. Before the commit the target's gate is closed, and what was written there
 * since the walk's point is held against what the source has changed: if nothing is in both, the merge may stand behind it. */
#include "engine/gate.h"
#include "engine/ingest.h"
#include "engine/merge.h"
#include <inttypes.h>

enum { NODE_OVERHEAD = 80 /* as commit.c counts */ };

/* ---- what was walked so far ---- */

/* What the memtable takes for the batch and the entries that come to it. */
static uint64_t batch_weight(const struct merge_plan *plan, const struct helios_batch *batch)
{
    uint64_t weight = batch->user_bytes + (batch->count + plan->entry_count) * NODE_OVERHEAD;

    for (size_t i = 0; i < plan->entry_count; i++)
        weight += plan->entries[i].key.size + plan->entries[i].value.size;
    return weight;
}

static bool batch_has_room(const struct merge_plan *plan, const struct helios_batch *batch)
{
    return batch_weight(plan, batch) <= plan->db->ingest_bytes / 2;
}

/* The last value may have been a large one, and so may an entry be. */
static bool is_small(const struct merge_plan *plan, const struct merge_walk *walk,
                     const struct helios_batch *batch)
{
    return walk->over && batch_weight(plan, batch) <= plan->db->ingest_bytes;
}

static helios_status fill(const struct merge_plan *plan, struct merge_walk *walk, struct helios_batch *batch)
{
    helios_status status = HELIOS_OK;
    struct merge_op op;

    while (status == HELIOS_OK && batch_has_room(plan, batch) && merge_walk_next(walk, &op))
        status = batch_append_on(batch, plan->target, op.kind, op.space, op.key, op.value);
    return status == HELIOS_OK ? merge_walk_status(walk) : status;
}

/* ---- all of it in the order of keys, as tables take it ---- */

enum part { ENTRIES_BEFORE, BUFFERED, WALKED, ENTRIES_BEHIND, NOTHING };

struct merge_cursor {
    struct cursor cursor;
    const struct merge_plan *plan;
    struct merge_walk *walk;
    const struct helios_batch *batch;
    struct ingest *ingest; /* counts what comes */
    enum part part;
    size_t at; /* in the entries or the batch */
    helios_buf key;
    struct error_note error;
};

static void show(struct merge_cursor *m, helios_branch_id branch, uint8_t space, enum key_kind kind,
                 helios_slice key, helios_slice value)
{
    unsigned char layer[KEY_LAYER_BYTES];
    helios_status status;

    key_put_layer(layer, branch, space);
    status = buf_set(&m->key, layer, sizeof(layer));
    if (status == HELIOS_OK)
        status = buf_append(&m->key, key.data, key.size);
    m->cursor.valid = status == HELIOS_OK;
    if (status != HELIOS_OK) {
        error_keep(&m->error, status);
        m->cursor.status = status;
        return;
    }
    m->cursor.key = buf_slice(&m->key);
    m->cursor.tag = tag_make(1, kind);
    m->cursor.value = value;
    m->ingest->ops++;
    m->ingest->user_bytes += key.size + value.size;
}

static bool show_entry(struct merge_cursor *m)
{
    if (m->at == m->plan->entry_count)
        return false;
    show(m, 0, SPACE_SYSTEM, KIND_VALUE, m->plan->entries[m->at].key, m->plan->entries[m->at].value);
    m->at++;
    return true;
}

static bool show_buffered(struct merge_cursor *m)
{
    struct op op;

    if (m->at == m->batch->count)
        return false;
    op = batch_at(m->batch, m->at++);
    show(m, op.branch, op.space, op.kind, op.key, op.value);
    return true;
}

static bool show_walked(struct merge_cursor *m)
{
    struct merge_op op;
    helios_status status;

    if (merge_walk_next(m->walk, &op)) {
        show(m, m->plan->target, op.space, op.kind, op.key, op.value);
        return true;
    }
    status = merge_walk_status(m->walk);
    if (status == HELIOS_OK)
        return false;
    error_keep(&m->error, status);
    m->cursor.valid = false;
    m->cursor.status = status;
    return true;
}

static bool show_part(struct merge_cursor *m)
{
    switch (m->part) {
    case ENTRIES_BEFORE:
        return m->plan->target != 0 && show_entry(m); /* main's layers stand before all others */
    case BUFFERED: return show_buffered(m);
    case WALKED: return show_walked(m);
    default: return m->plan->target == 0 && show_entry(m);
    }
}

static void merge_cursor_next(struct cursor *c)
{
    struct merge_cursor *m = (struct merge_cursor *)c;

    for (; m->part != NOTHING; m->part++, m->at = 0)
        if (show_part(m))
            return;
    c->valid = false;
}

/* Once: the walk does not go back. */
static void merge_cursor_first(struct cursor *c)
{
    merge_cursor_next(c);
}

static const struct cursor_ops merge_cursor_ops = {.first = merge_cursor_first, .next = merge_cursor_next};

/* ---- what came between ---- */

/* The gate is closed: the target is as it will be below the merge. */
static helios_status look_between(const struct merge_plan *plan, const struct merge_walk *walk, bool *again)
{
    const struct pin_owner owner = pin_owner_now(plan->db, HELIOS_PIN_ITERATOR);
    helios_seq now;
    pin_id pin;
    helios_status status =
        pins_acquire_latest(plan->db->pins, &owner, &plan->db->latest, &plan->db->horizon, &pin, &now);

    if (status != HELIOS_OK)
        return status;
    status = merge_is_overtaken(walk, now, again);
    pins_release(plan->db->pins, pin);
    return status;
}

/* ---- small ---- */

static helios_status commit_batch(const struct merge_plan *plan, struct helios_batch *batch, helios_seq *commit)
{
    helios_status status = HELIOS_OK;
    struct write_set set;

    for (size_t i = 0; i < plan->entry_count && status == HELIOS_OK; i++)
        status =
            batch_append_on(batch, 0, KIND_VALUE, SPACE_SYSTEM, plan->entries[i].key, plan->entries[i].value);
    if (status != HELIOS_OK || batch->count == 0)
        return status;
    set = write_set_of(batch);
    return commit_write(plan->db, WAL_BRANCH_MANY, plan->db->options.durability, &set, commit);
}

static void begin(const struct merge_plan *plan)
{
    merge_commit_begin(plan->db);
    *plan->begun = true;
}

static helios_status commit_small(const struct merge_plan *plan, const struct merge_walk *walk,
                                  struct helios_batch *batch, bool *again, helios_seq *commit)
{
    struct gate gate;
    helios_status status;

    begin(plan);
    if (plan->gated)
        return commit_batch(plan, batch, commit);
    status = gate_close(plan->db, &gate, plan->target);
    if (status != HELIOS_OK)
        return status;
    status = look_between(plan, walk, again);
    if (status == HELIOS_OK && !*again)
        status = commit_batch(plan, batch, commit);
    gate_open(plan->db, &gate);
    return status;
}

/* ---- large ---- */

static helios_status build(const struct merge_plan *plan, struct merge_walk *walk,
                           const struct helios_batch *batch, struct ingest *ingest)
{
    struct merge_cursor m = {
        .cursor = {.ops = &merge_cursor_ops}, .plan = plan, .walk = walk, .batch = batch, .ingest = ingest};
    helios_status status;

    m.cursor.error = &m.error;
    status = ingest_build(plan->db, &m.cursor, NULL, ingest);
    helios_buf_free(&m.key);
    return status;
}

static helios_status commit_tables(const struct merge_plan *plan, const struct merge_walk *walk,
                                   struct ingest *ingest, bool *again, helios_seq *commit)
{
    struct gate gate;
    helios_status status = HELIOS_OK;

    begin(plan);
    if (!plan->gated) {
        status = gate_close(plan->db, &gate, plan->target);
        if (status == HELIOS_OK)
            status = look_between(plan, walk, again);
        else {
            ingest_discard(plan->db, ingest);
            return status;
        }
    }
    if (status == HELIOS_OK && !*again)
        status = ingest_commit(plan->db, WAL_BRANCH_MANY, plan->db->options.durability, ingest,
                               footprint_new(SIZE_MAX, 0), NULL, commit);
    else
        ingest_discard(plan->db, ingest);
    if (!plan->gated)
        gate_open(plan->db, &gate);
    return status;
}

static helios_status commit_large(const struct merge_plan *plan, struct merge_walk *walk,
                                  const struct helios_batch *batch, bool *again, helios_seq *commit)
{
    struct ingest ingest = {0};
    helios_status status = build(plan, walk, batch, &ingest);

    return status == HELIOS_OK ? commit_tables(plan, walk, &ingest, again, commit) : status;
}

/* ---- either ---- */

static helios_status walk_on(struct merge_walk *walk)
{
    struct merge_op op;

    while (merge_walk_next(walk, &op))
        ;
    return merge_walk_status(walk);
}

helios_status merge_commit(const struct merge_plan *plan, struct merge_walk *walk, bool *again,
                           helios_seq *commit)
{
    struct helios_batch batch;
    helios_status status;

    *again = false;
    *commit = 0;
    if (plan->dry_run)
        return walk_on(walk);
    batch_init(&batch);
    batch.several_branches = true;
    status = fill(plan, walk, &batch);
    if (status == HELIOS_OK)
        status = is_small(plan, walk, &batch) ? commit_small(plan, walk, &batch, again, commit)
                                              : commit_large(plan, walk, &batch, again, commit);
    batch_release(&batch);
    return status;
}
