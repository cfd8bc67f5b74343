/* merges.c - merges and reverts where there are tables; merges.h has the parts. Called by engine/merge_rows.c.
 *
 * A row is read by the table as it will be, before as after: what the target's entries are made of is the same by its own
 * schema, as a column keeps its type and default for life. */
#include "table/merges.h"
#include <inttypes.h>

/* A layout that only one side has comes with the merge. */
static const struct table_view *view_of_layout(const struct merge_rows *m, uint32_t table, helios_slice row)
{
    const struct catalog_key key = catalog_layout_key(table, row_layout(row));
    struct op line;

    return merged_line(m, &key, &line) && line.kind == KIND_VALUE ? &m->theirs : &m->ours;
}

static bool may_be_null(const struct table_schema *s, size_t column)
{
    for (uint32_t i = 0; s->primary && i < s->primary->count; i++)
        if (s->primary->columns[i] == column)
            return false;
    return !s->pub.columns[column].not_null;
}

helios_status merged_row(struct merge_rows *m, struct merged_table *t, uint64_t id, helios_slice bytes,
                         helios_row *row)
{
    const struct table_schema *s = t->handle->schema;
    helios_status status;

    row->id = id;
    status = row_fill(t->handle, view_of_layout(m, t->id, bytes), s, bytes, row);
    for (size_t i = 0; i < s->pub.column_count && status == HELIOS_OK; i++)
        if (row->values[i].type == HELIOS_TYPE_NULL && !may_be_null(s, i))
            status =
                fail(HELIOS_CONFLICT,
                     "table \"%s\": row %" PRIu64 " would have no value in column \"%s\", which must have one",
                     s->pub.name, id, s->pub.columns[i].name);
    return status;
}

/* ---- one row ---- */

static helios_status entry_changes(struct merge_rows *m, const struct merged_table *t,
                                   const struct table_index *index, const helios_value *before,
                                   const helios_value *after, uint64_t row)
{
    bool old_single = false, single = false;
    helios_status status = HELIOS_OK;

    if (before)
        status = index_key(&m->old_key, t->id, index, before, row, &old_single);
    if (status == HELIOS_OK && after)
        status = index_key(&m->key, t->id, index, after, row, &single);
    if (status != HELIOS_OK || (before && after && slice_equal(buf_slice(&m->key), buf_slice(&m->old_key))))
        return status;
    if (before)
        status = merge_entry_add(m, buf_slice(&m->old_key), row, old_single, false);
    if (status == HELIOS_OK && after)
        status = merge_entry_add(m, buf_slice(&m->key), row, single, true);
    return status;
}

static helios_status row_changes(struct merge_rows *m, struct merged_table *t, uint64_t id,
                                 const helios_slice *before, const helios_slice *after)
{
    const struct table_schema *s = t->handle->schema;
    helios_status status = HELIOS_OK;

    if (before)
        status = merged_row(m, t, id, *before, &m->before);
    if (status == HELIOS_OK && after)
        status = merged_row(m, t, id, *after, &m->after);
    for (size_t i = 0; i < s->index_count && status == HELIOS_OK; i++)
        status = entry_changes(m, t, &s->indexes[i], before ? m->before.values : NULL,
                               after ? m->after.values : NULL, id);
    return status;
}

/* The table will not be there. */
static helios_status row_without_table(struct merge_rows *m, struct merged_table *t, const struct merge_op *op,
                                       bool *keep)
{
    t->deleted += op->kind == KIND_TOMBSTONE;
    *keep = op->kind == KIND_TOMBSTONE;
    if (*keep || m->strategy == HELIOS_MERGE_OURS)
        return HELIOS_OK;
    return fail(HELIOS_CONFLICT, "table %" PRIu32 " was dropped on one side and its rows changed in the source",
                t->id);
}

/* ---- the calls ---- */

static bool is_fixed(helios_slice key)
{
    return key.size && slice_bytes(key)[0] == CATALOG_LAYOUT;
}

static void rows_end(struct merge_rows *m)
{
    if (!m)
        return;
    merged_tables_release(m);
    arena_release(&m->entries.keys);
    mem_free(m->entries.at);
    helios_row_release(&m->before);
    helios_row_release(&m->after);
    helios_buf_free(&m->key);
    helios_buf_free(&m->old_key);
    mem_free(m);
}

static helios_status rows_begin(struct helios_db *db, const struct merge_states *states,
                                helios_merge_strategy strategy, const struct helios_batch *catalog,
                                struct merge_rows **out)
{
    struct merge_rows *m = mem_zalloc(sizeof(*m));
    helios_status status;

    if (!m)
        return fail_no_memory(sizeof(*m));
    m->db = db;
    m->ours = (struct table_view){.db = db, .branch = states->ours.branch, .seq = states->ours.seq};
    m->theirs = (struct table_view){.db = db, .branch = states->theirs.branch, .seq = states->theirs.seq};
    m->strategy = strategy;
    m->catalog = catalog;
    arena_init(&m->entries.keys, NULL, 0);
    status = merged_catalog_check(m);
    if (status != HELIOS_OK) {
        rows_end(m);
        return status;
    }
    *out = m;
    return HELIOS_OK;
}

static helios_status row_given(struct merge_rows *m, const struct merge_op *op, const helios_slice *before,
                               bool *keep)
{
    struct merged_table *t;
    helios_status status;

    *keep = true;
    if (op->key.size != ROW_KEY_SIZE)
        return fail_corrupt("a row has a key of %zu bytes", op->key.size);
    status = merged_table_find(m, get_u32_be(slice_bytes(op->key)), &t);
    if (status != HELIOS_OK)
        return status;
    if (!t->handle)
        return row_without_table(m, t, op, keep);
    return row_changes(m, t, get_u64_be(slice_bytes(op->key) + 4), before,
                       op->kind == KIND_VALUE ? &op->value : NULL);
}

static helios_status rows_settle(struct merge_rows *m)
{
    helios_status status = merged_rows_left(m);

    return status == HELIOS_OK ? merge_entries_settle(m) : status;
}

/* Rows written since may have a layout that one side does not know: it goes with the table alone, and comes with it. */
static bool keeps_line(struct merge_rows *m, const struct merge_op *op)
{
    for (size_t i = 0; is_fixed(op->key) && op->key.size >= 5 && i < m->table_count; i++)
        if (m->tables[i].id == get_u32_be(slice_bytes(op->key) + 1))
            return (op->kind == KIND_VALUE) == (m->tables[i].handle != NULL);
    return true;
}

static const struct merge_rows_ops rows_ops = {.is_fixed = is_fixed,
                                               .begin = rows_begin,
                                               .row = row_given,
                                               .settle = rows_settle,
                                               .next = merge_entries_next,
                                               .keeps = keeps_line,
                                               .end = rows_end};

helios_status helios_branch_merge(helios_db *db, helios_branch_id source, helios_branch_id target,
                                  const helios_merge_options *options, helios_merge_result *result)
{
    return merge_branches(db, source, target, options, &rows_ops, result);
}

helios_status helios_branch_revert(helios_db *db, helios_branch_id branch, helios_seq first, helios_seq last,
                                   const helios_merge_options *options, helios_merge_result *result)
{
    return merge_revert(db, branch, first, last, options, &rows_ops, result);
}
