/* columns.c - columns added, dropped, renamed: a new entry and, where the bytes of rows change, a new layout. No row is
 * touched. */
#include "base/utf8.h"
#include "table/table_internal.h"

struct column_change {
    helios_db *db;
    const char *table, *name, *to;
    const helios_column *column; /* to be added */
};

/* The edit of the draft; *new_layout: rows are written otherwise from now on. */
typedef helios_status draft_edit(const struct column_change *, struct draft *, bool *new_layout);

static helios_status edit_table(const struct column_change *c, helios_txn *txn, draft_edit *edit)
{
    const struct table_view view = view_of_txn(c->db, txn);
    struct table_schema *schema;
    struct draft_room room = {0};
    bool new_layout = false;
    helios_status status = catalog_named(&view, c->table, &schema);

    if (status != HELIOS_OK)
        return status;
    status = draft_of(schema, &room);
    if (status == HELIOS_OK)
        status = edit(c, &room.draft, &new_layout);
    if (status == HELIOS_OK && new_layout)
        status = catalog_ids(c->db, 1, &room.draft.layout);
    if (status == HELIOS_OK)
        status = catalog_put(txn, &room.draft, new_layout);
    draft_release(&room);
    mem_free(schema);
    return status;
}

static helios_status find_column(const struct draft *d, const char *name, size_t *at)
{
    *at = name ? draft_column(d, name) : SIZE_MAX;
    return *at == SIZE_MAX
               ? fail(HELIOS_NOT_FOUND, "table \"%s\" has no column \"%s\"", d->name, name ? name : "")
               : HELIOS_OK;
}

/* ---- adding ---- */

static helios_status edit_add(const struct column_change *c, struct draft *d, bool *new_layout)
{
    helios_column *column = &d->columns[d->column_count];
    bool has_default = c->column->default_value.type > HELIOS_TYPE_NULL;

    if (c->column->unique)
        return fail(HELIOS_INVALID, "column \"%s\": a unique index is made by itself", c->column->name);
    if (c->column->not_null && !has_default)
        return fail(HELIOS_INVALID,
                    "column \"%s\" may not be NULL and has no default: what should rows have that are there?",
                    c->column->name);
    if (d->column_count == COLUMNS_MAX)
        return fail(HELIOS_LIMIT, "table \"%s\" has %d columns, the most there can be", d->name, COLUMNS_MAX);
    *column = *c->column;
    d->column_count++;
    *new_layout = true;
    return catalog_ids(c->db, 1, &column->id);
}

static helios_status add(void *arg, helios_txn *txn)
{
    return edit_table(arg, txn, edit_add);
}

/* ---- dropping ---- */

static helios_status edit_drop(const struct column_change *c, struct draft *d, bool *new_layout)
{
    size_t at;
    helios_status status = find_column(d, c->name, &at);

    if (status != HELIOS_OK)
        return status;
    if (d->column_count == 1)
        return fail(HELIOS_INVALID, "\"%s\" is the last column of table \"%s\"", c->name, d->name);
    for (size_t i = 0; i < d->index_count; i++)
        for (uint32_t n = 0; n < d->indexes[i].count; n++) {
            if (d->indexes[i].columns[n] == at)
                return fail(HELIOS_INVALID, "index \"%s\" of table \"%s\" has column \"%s\"",
                            d->indexes[i].name, d->name, c->name);
            d->indexes[i].columns[n] = (uint16_t)(d->indexes[i].columns[n] - (d->indexes[i].columns[n] > at));
        }
    memmove(d->columns + at, d->columns + at + 1, (--d->column_count - at) * sizeof(*d->columns));
    *new_layout = true;
    return HELIOS_OK;
}

static helios_status drop(void *arg, helios_txn *txn)
{
    return edit_table(arg, txn, edit_drop);
}

/* ---- renaming ---- */

static helios_status edit_rename(const struct column_change *c, struct draft *d, bool *new_layout)
{
    size_t at;
    helios_status status = find_column(d, c->name, &at);

    *new_layout = false;
    if (status != HELIOS_OK)
        return status;
    if (draft_column(d, c->to) != SIZE_MAX)
        return fail(HELIOS_EXISTS, "table \"%s\" has a column \"%s\" already", d->name, c->to);
    d->columns[at].name = c->to;
    return HELIOS_OK;
}

static helios_status rename_column(void *arg, helios_txn *txn)
{
    return edit_table(arg, txn, edit_rename);
}

/* ---- the calls ---- */

static helios_status change_columns(struct column_change *c, const helios_table_options *given,
                                    helios_status (*body)(void *, helios_txn *))
{
    helios_table_options options;
    helios_status status =
        c->db ? table_options(given, &options) : fail(HELIOS_INVALID, "no database was given");

    return status == HELIOS_OK ? table_write(c->db, &options, body, c) : status;
}

helios_status helios_column_add(helios_db *db, const helios_table_options *options, const char *table,
                                const helios_column *column)
{
    struct column_change c = {.db = db, .table = table, .column = column};
    helios_status status =
        column ? name_check("a column", column->name) : fail(HELIOS_INVALID, "no column was given");

    return status == HELIOS_OK ? change_columns(&c, options, add) : status;
}

helios_status helios_column_drop(helios_db *db, const helios_table_options *options, const char *table,
                                 const char *column)
{
    struct column_change c = {.db = db, .table = table, .name = column};

    return change_columns(&c, options, drop);
}

helios_status helios_column_rename(helios_db *db, const helios_table_options *options, const char *table,
                                   const char *column, const char *to)
{
    struct column_change c = {.db = db, .table = table, .name = column, .to = to};
    helios_status status = name_check("a column", to);

    return status == HELIOS_OK ? change_columns(&c, options, rename_column) : status;
}
