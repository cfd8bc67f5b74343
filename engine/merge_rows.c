/* merge_rows.c - what a walk has beside its keys where there are tables. Called by merge_walk.c.
 *
 * The catalog is walked before the rows, as it says what they mean, and written behind them, as the order of keys has it. In
 * between come the entries of indexes, which follow from the rows: merge_rows_ops. */
#include "engine/merge.h"

helios_status merge_catalog_add(struct merge_walk *w, const struct merge_op *op)
{
    return batch_append(&w->catalog, op->kind, op->space, op->key, op->value);
}

static helios_status rows_begin(struct merge_walk *w)
{
    return w->rows ? HELIOS_OK : w->ops->begin(w->db, w->states, w->options->strategy, &w->catalog, &w->rows);
}

helios_status merge_row(struct merge_walk *w, const struct merge_op *op, const helios_slice *before, bool *keep)
{
    helios_status status = rows_begin(w);

    return status == HELIOS_OK ? w->ops->row(w->rows, op, before, keep) : status;
}

void merge_uncount(struct merge_walk *w, const struct merge_op *op)
{
    if (op->kind == KIND_VALUE)
        w->merged--;
    else
        w->deleted--;
}

static bool next_line(struct merge_walk *w, struct merge_op *op)
{
    while (w->catalog_at < w->catalog.count) {
        struct op line = batch_at(&w->catalog, w->catalog_at++);

        *op = (struct merge_op){line.space, line.kind, line.key, line.value};
        if (w->ops->keeps(w->rows, op))
            return true;
        merge_uncount(w, op);
    }
    return false;
}

bool merge_behind_rows(struct merge_walk *w, struct merge_op *op, helios_status *status)
{
    *status = HELIOS_OK;
    if (!w->settled && w->catalog.count)
        *status = rows_begin(w);
    if (!w->settled && w->rows && *status == HELIOS_OK)
        *status = w->ops->settle(w->rows);
    w->settled = true;
    return *status == HELIOS_OK && w->rows && (w->ops->next(w->rows, op) || next_line(w, op));
}
