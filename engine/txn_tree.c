/* txn_tree.c - whether anything that a transaction wrote or read has changed in (checked, upto], by looking in the tree:
 * memtables first, then those tables alone that hold numbers above. For commits whose footprint is unknown.
 *
 * The transaction's floor keeps every version above its point, so what is not found was not written. */
#include "engine/txn.h"

/* What is asked, of one key or range. */
struct tree_question {
    struct view *view;
    helios_seq above, upto;
    helios_slice key, to; /* to: of a range; no data: a key */
    uint64_t hash;
    helios_slice where; /* found: a key that changed, in the buffer or the question's own */
    helios_buf found;
    helios_seq seq; /* found: the change; 0: none */
};

static bool table_is_newer(const struct tree_question *q, const struct table_file *file)
{
    return file->properties.seq_max > q->above;
}

static void note(struct tree_question *q, helios_seq seq)
{
    if (seq > q->above && seq <= q->upto && seq > q->seq)
        q->seq = seq;
}

/* ---- one key ---- */

static void key_in_memtable(struct tree_question *q, struct memtable *memtable)
{
    uint64_t tag;
    helios_slice value;

    epoch_enter(); /* the set may be replaced at any moment */
    note(q, rangedel_newest(memtable_rangedels(memtable), q->key, q->upto));
    epoch_leave();
    if (q->seq == 0 && memtable_get(memtable, q->key, q->hash, q->upto, &tag, &value))
        note(q, tag_seq(tag));
}

static helios_status key_in_table(struct tree_question *q, struct table *table)
{
    struct table_hit hit = {0};

    note(q, rangedel_newest(table_rangedels(table), q->key, q->upto));
    if (q->seq)
        return HELIOS_OK;
    switch (table_get(table, q->key, q->hash, q->upto, true, true, &hit)) {
    case TABLE_FOUND:
        note(q, tag_seq(hit.tag));
        frame_unref(hit.frame);
        return HELIOS_OK;
    case TABLE_ERROR: return hit.status;
    default: return HELIOS_OK;
    }
}

static helios_status key_in_file(struct tree_question *q, struct table_file *file)
{
    struct table *table;
    helios_status status = table_file_open(file, &table);

    if (status != HELIOS_OK)
        return status;
    status = key_in_table(q, table);
    table_unref(table);
    return status;
}

/* ---- a range ---- */

static void ranges_meet(struct tree_question *q, const struct rangedel_set *set)
{
    for (size_t i = set ? rangedel_find(set, q->key) : 0; set && i < set->count && q->seq == 0; i++) {
        const struct rangedel_fragment *f = &set->fragments[i];

        if (slice_compare(f->from, q->to) >= 0)
            return;
        note(q, rangedel_newest(set, f->from, q->upto));
    }
}

/* The newest versions up to upto of the keys in the range, till one is above. Takes the cursor. */
static helios_status walk(struct tree_question *q, struct cursor *c)
{
    helios_status status = HELIOS_OK;

    for (cursor_seek(c, q->key, TAG_MAX); c->valid && slice_compare(c->key, q->to) < 0; cursor_next(c)) {
        note(q, tag_seq(c->tag));
        if (q->seq) {
            status = buf_set(&q->found, c->key.data, c->key.size);
            q->where = buf_slice(&q->found);
            break;
        }
    }
    if (!c->valid && c->status != HELIOS_OK)
        status = c->error ? error_tell(c->error) : c->status;
    cursor_free(c);
    return status;
}

static helios_status range_in_memtable(struct tree_question *q, struct memtable *memtable)
{
    struct cursor *c = NULL;
    helios_status status;

    epoch_enter();
    ranges_meet(q, memtable_rangedels(memtable));
    epoch_leave();
    if (q->seq || memtable_count(memtable) == 0)
        return HELIOS_OK;
    status = memtable_cursor_new(memtable, q->upto, &c);
    return status == HELIOS_OK ? walk(q, c) : status;
}

static helios_status range_in_file(struct tree_question *q, struct table_file *file)
{
    const struct table_cursor_options options = {.read_point = q->upto};
    struct table *table;
    struct cursor *c = NULL;
    helios_status status = table_file_open(file, &table);

    if (status != HELIOS_OK)
        return status;
    ranges_meet(q, table_rangedels(table));
    if (q->seq == 0)
        status = table_cursor_new(table, &options, &c);
    table_unref(table); /* the cursor has counted it */
    return c ? walk(q, c) : status;
}

/* ---- all sources ---- */

static bool file_concerns(const struct tree_question *q, const struct table_file *file)
{
    if (!table_is_newer(q, file))
        return false;
    if (!q->to.data)
        return file_holds(file, q->key);
    return slice_compare(file->largest, q->key) >= 0 && slice_compare(file->smallest, q->to) < 0;
}

static helios_status ask_memtable(struct tree_question *q, const struct mem_slot *slot, bool closed)
{
    if (closed && slot->last <= q->above)
        return HELIOS_OK;
    if (q->to.data)
        return range_in_memtable(q, slot->memtable);
    key_in_memtable(q, slot->memtable);
    return HELIOS_OK;
}

static helios_status ask(struct tree_question *q)
{
    const struct version *version = q->view->version;
    helios_status status;

    q->seq = 0;
    q->where = q->key;
    status = ask_memtable(q, q->view->active, false);
    for (size_t i = 0; i < q->view->closed_count && status == HELIOS_OK && q->seq == 0; i++)
        status = ask_memtable(q, q->view->closed[i], true);
    if (version->seq_max <= q->above)
        return status;
    for (size_t l = 0; l < LEVEL_COUNT; l++)
        for (size_t i = 0; i < version->levels[l].count && status == HELIOS_OK && q->seq == 0; i++) {
            struct table_file *file = version->levels[l].files[i];

            if (file_concerns(q, file))
                status = q->to.data ? range_in_file(q, file) : key_in_file(q, file);
        }
    return status;
}

static helios_status ask_key(const struct helios_txn *txn, struct tree_question *q, helios_slice key,
                             uint64_t hash)
{
    helios_status status;

    q->key = key;
    q->to = (helios_slice){0};
    q->hash = hash;
    status = ask(q);
    return status == HELIOS_OK && q->seq ? txn_conflict(txn, q->where, q->seq) : status;
}

static helios_status ask_range(const struct helios_txn *txn, struct tree_question *q, helios_slice from,
                               helios_slice to)
{
    helios_status status;

    q->key = from;
    q->to = to;
    status = ask(q);
    return status == HELIOS_OK && q->seq ? txn_conflict(txn, q->where, q->seq) : status;
}

helios_status txn_check_tree(struct helios_txn *txn, helios_seq upto)
{
    const struct conflict_sets sets = txn_conflict_sets(txn);
    struct tree_question q = {.above = txn->checked, .upto = upto};
    helios_status status = HELIOS_OK;

    if (upto <= txn->checked)
        return HELIOS_OK;
    q.view = view_acquire(txn->db);
    for (const struct write_node *n = write_index_first(sets.writes); n && status == HELIOS_OK;
         n = write_index_next(n))
        if (n->top.kind != KIND_RANGE_DELETE)
            status = ask_key(txn, &q, n->key, n->hash);
    for (size_t i = 0; sets.ranges && i < sets.ranges->count && status == HELIOS_OK; i++)
        status = ask_range(txn, &q, sets.ranges->fragments[i].from, sets.ranges->fragments[i].to);
    for (size_t i = 0; sets.reads && i < sets.reads->key_count && status == HELIOS_OK; i++)
        status = ask_key(txn, &q, sets.reads->keys[i].key, sets.reads->keys[i].hash);
    for (size_t i = 0; sets.reads && i < sets.reads->range_count && status == HELIOS_OK; i++)
        status = ask_range(txn, &q, sets.reads->ranges[i].from, sets.reads->ranges[i].to);
    view_unref(q.view);
    helios_buf_free(&q.found);
    if (status == HELIOS_OK)
        txn->checked = upto;
    return status;
}
