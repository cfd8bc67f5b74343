/* merge_commit.c - what a merge writes, as one commit: a batch in memory while it is small; from there on tables, written as
 * the walk goes on, so that memory does not grow with the merge.
 *
 * Nobody is kept from writing while the walk goes. Before the commit the target's gate is closed, and what was written there
 * since the walk's point is held against what the merge writes: if nothing is in both, the merge may stand behind it. */
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

/* The keys that the merge writes: in the batch, which is in order, or in the tables. */
struct written {
    const struct helios_batch *batch;
    struct cursor *tables; /* NULL: all are in the batch */
    helios_branch_id target;
    helios_buf key;
};

static int compare_with_op(const struct helios_batch *batch, size_t index, uint8_t space, helios_slice key)
{
    struct op op = batch_at(batch, index);

    return op.space != space ? (op.space < space ? -1 : 1) : slice_compare(op.key, key);
}

static bool in_batch(const struct helios_batch *batch, uint8_t space, helios_slice key)
{
    size_t low = 0, high = batch->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare_with_op(batch, middle, space, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < batch->count && compare_with_op(batch, low, space, key) == 0;
}

static helios_status in_tables(struct written *w, uint8_t space, helios_slice key, bool *found)
{
    unsigned char layer[KEY_LAYER_BYTES];
    struct cursor *c = w->tables;
    helios_status status;

    key_put_layer(layer, w->target, space);
    status = buf_set(&w->key, layer, sizeof(layer));
    if (status == HELIOS_OK)
        status = buf_append(&w->key, key.data, key.size);
    if (status != HELIOS_OK)
        return status;
    cursor_seek(c, buf_slice(&w->key), TAG_MAX);
    if (!c->valid && c->status != HELIOS_OK)
        return c->error ? error_tell(c->error) : c->status;
    *found = c->valid && slice_equal(c->key, buf_slice(&w->key));
    return HELIOS_OK;
}

/* Whether a key of the space that differs between the two states of the target is one that the merge writes. */
static helios_status changed_in_space(struct helios_db *db, const struct state_point states[2], uint8_t space,
                                      struct written *written, bool *again)
{
    static const uint8_t pair[1][2] = {{0, 1}};
    const struct compare_options options = {
        .space = space, .states = states, .state_count = 2, .pairs = pair, .pair_count = 1};
    struct compare *compare = NULL;
    helios_status status = compare_new(db, &options, &compare);

    while (status == HELIOS_OK && !*again && compare_next(compare)) {
        helios_slice key = compare_key(compare);
        bool equal = true, found = false;

        status = compare_equal(compare, 0, 1, &equal);
        if (status == HELIOS_OK && !equal && written->tables)
            status = in_tables(written, space, key, &found);
        else if (status == HELIOS_OK && !equal)
            found = in_batch(written->batch, space, key);
        *again = found;
    }
    if (status == HELIOS_OK)
        status = compare_status(compare);
    compare_free(compare);
    return status;
}

/* The gate is closed: the target is as it will be below the merge. */
static helios_status look_between(const struct merge_plan *plan, struct written *written, bool *again)
{
    static const uint8_t spaces[] = {SPACE_USER, SPACE_DATA, SPACE_INDEX, SPACE_META};
    const struct pin_owner owner = pin_owner_now(plan->db, HELIOS_PIN_ITERATOR);
    struct state_point states[2] = {plan->ours, plan->ours};
    pin_id pin;
    helios_status status = pins_acquire_latest(plan->db->pins, &owner, &plan->db->latest, &plan->db->horizon,
                                               &pin, &states[1].seq);

    if (status != HELIOS_OK)
        return status;
    for (size_t i = 0; i < sizeof(spaces) && status == HELIOS_OK && !*again; i++)
        status = changed_in_space(plan->db, states, spaces[i], written, again);
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

static helios_status commit_small(const struct merge_plan *plan, struct helios_batch *batch, bool *again,
                                  helios_seq *commit)
{
    struct written written = {.batch = batch, .target = plan->target};
    struct gate gate;
    helios_status status;

    begin(plan);
    if (plan->gated)
        return commit_batch(plan, batch, commit);
    status = gate_close(plan->db, &gate, plan->target);
    if (status != HELIOS_OK)
        return status;
    status = look_between(plan, &written, again);
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

/* The tables under handles of their own: those of the commit are not to be opened before their version is known. */
static helios_status tables_cursor(struct helios_db *db, const struct ingest *ingest, struct cursor **out)
{
    const struct table_cursor_options options = {.read_point = CURSOR_ALL};
    size_t count = ingest->result.count;
    struct version_change *changes = mem_array(count, sizeof(*changes));
    struct table_file **files = mem_array(count, sizeof(*files));
    helios_status status = changes && files ? HELIOS_OK : fail_no_memory(count * sizeof(*changes));

    if (status == HELIOS_OK)
        status = changes_add_results(db, &ingest->result, 0, (struct collected){0}, changes);
    if (status == HELIOS_OK) {
        for (size_t i = 0; i < count; i++)
            files[i] = changes[i].file;
        status = level_cursor_new(files, count, &options, out);
        for (size_t i = 0; i < count; i++)
            table_file_unref(files[i]);
    }
    mem_free(files);
    mem_free(changes);
    return status;
}

static helios_status look_between_tables(const struct merge_plan *plan, const struct ingest *ingest,
                                         bool *again)
{
    struct written written = {.target = plan->target};
    helios_status status = tables_cursor(plan->db, ingest, &written.tables);

    if (status == HELIOS_OK)
        status = look_between(plan, &written, again);
    cursor_free(written.tables);
    helios_buf_free(&written.key);
    return status;
}

static helios_status commit_tables(const struct merge_plan *plan, struct ingest *ingest, bool *again,
                                   helios_seq *commit)
{
    struct gate gate;
    helios_status status = HELIOS_OK;

    begin(plan);
    if (!plan->gated) {
        status = gate_close(plan->db, &gate, plan->target);
        if (status == HELIOS_OK)
            status = look_between_tables(plan, ingest, again);
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

    return status == HELIOS_OK ? commit_tables(plan, &ingest, again, commit) : status;
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
        status = is_small(plan, walk, &batch) ? commit_small(plan, &batch, again, commit)
                                              : commit_large(plan, walk, &batch, again, commit);
    batch_release(&batch);
    return status;
}
