/* ddl.c - tables made, dropped, renamed, emptied: each a transaction of a few keys and ranges. */
#include "base/utf8.h"
#include "table/table_internal.h"

enum { NAME_SIZE = 5 };

/* ---- names ---- */

static helios_status name_is_free(const struct table_view *view, const char *name)
{
    uint32_t other;
    helios_status status = catalog_find(view, name, &other);

    if (status == HELIOS_OK)
        return fail(HELIOS_EXISTS, "there is a table \"%s\" already", name);
    return status == HELIOS_NOT_FOUND ? HELIOS_OK : status;
}

static helios_status name_put(helios_txn *txn, const char *name, uint32_t table)
{
    struct catalog_key key = catalog_name_key(name);
    unsigned char value[NAME_SIZE] = {CATALOG_VERSION};

    put_u32(value + 1, table);
    return txn_put(txn, SPACE_META, catalog_key_slice(&key), slice_make(value, sizeof(value)));
}

static helios_status name_delete(helios_txn *txn, const char *name)
{
    struct catalog_key key = catalog_name_key(name);

    return txn_delete(txn, SPACE_META, catalog_key_slice(&key));
}

/* ---- making ---- */

struct making {
    helios_db *db;
    const helios_schema *schema;
    struct draft draft;
};

static size_t indexes_of(const helios_schema *s)
{
    size_t count = s->index_count + (s->primary_key_count != 0);

    for (size_t i = 0; i < s->column_count; i++)
        count += s->columns[i].unique;
    return count;
}

static helios_status index_columns(const struct draft *d, const char *index, const char *const *names,
                                   size_t count, struct table_index *out)
{
    if (count == 0 || count > KEY_COLUMNS_MAX || !names)
        return fail(HELIOS_INVALID, "index \"%s\" has %zu columns: 1 to %d are possible", index, count,
                    KEY_COLUMNS_MAX);
    out->count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        size_t at = names[i] ? draft_column(d, names[i]) : SIZE_MAX;

        if (at == SIZE_MAX)
            return fail(HELIOS_INVALID, "index \"%s\": table \"%s\" has no column \"%s\"", index, d->name,
                        names[i] ? names[i] : "");
        out->columns[i] = (uint16_t)at;
    }
    return HELIOS_OK;
}

helios_status draft_add_index(struct draft *d, const helios_index_schema *given, uint32_t id)
{
    struct table_index *index = &d->indexes[d->index_count];
    helios_status status = name_check("an index", given->name);

    if (status != HELIOS_OK)
        return status;
    *index = (struct table_index){.id = id, .name = given->name, .unique = given->unique};
    status = index_columns(d, given->name, given->columns, given->column_count, index);
    if (status == HELIOS_OK)
        d->index_count++;
    return status;
}

static helios_status add_primary(struct draft *d, const helios_schema *s, uint32_t id)
{
    const helios_index_schema primary = {.name = HELIOS_PRIMARY,
                                         .columns = s->primary_key,
                                         .column_count = s->primary_key_count,
                                         .unique = true};
    helios_status status = draft_add_index(d, &primary, id);

    if (status != HELIOS_OK)
        return status;
    d->indexes[d->index_count - 1].primary = true;
    return HELIOS_OK;
}

static helios_status draft_new(struct making *m)
{
    const helios_schema *s = m->schema;
    struct draft *d = &m->draft;
    size_t indexes = indexes_of(s);
    uint32_t id;
    helios_status status = catalog_ids(m->db, 2 + s->column_count + indexes, &id);

    if (status != HELIOS_OK)
        return status;
    *d = (struct draft){.id = id, .layout = id + 1, .name = s->name, .column_count = s->column_count};
    id += 2;
    d->columns = mem_array(s->column_count + 1, sizeof(*d->columns));
    d->indexes = mem_array(indexes + 1, sizeof(*d->indexes));
    if (!d->columns || !d->indexes)
        return fail_no_memory((s->column_count + 1) * sizeof(*d->columns));
    for (size_t i = 0; i < s->column_count; i++) {
        status = name_check("a column", s->columns[i].name);
        if (status != HELIOS_OK)
            return status;
        d->columns[i] = s->columns[i];
        d->columns[i].id = id++;
    }
    if (s->primary_key_count)
        status = add_primary(d, s, id++);
    for (size_t i = 0; i < s->column_count && status == HELIOS_OK; i++) {
        const helios_column *c = &s->columns[i];

        if (c->unique)
            status = draft_add_index(
                d,
                &(helios_index_schema){.name = c->name, .columns = &c->name, .column_count = 1, .unique = true},
                id++);
    }
    for (size_t i = 0; i < s->index_count && status == HELIOS_OK; i++)
        status = draft_add_index(d, &s->indexes[i], id++);
    return status == HELIOS_OK ? draft_check(d) : status;
}

static helios_status create(void *arg, helios_txn *txn)
{
    struct making *m = arg;
    const struct table_view view = view_of_txn(m->db, txn);
    helios_status status = name_is_free(&view, m->draft.name);

    if (status == HELIOS_OK)
        status = name_put(txn, m->draft.name, m->draft.id);
    return status == HELIOS_OK ? catalog_put(txn, &m->draft, true) : status;
}

static helios_status schema_given(const helios_schema *given, helios_schema *out)
{
    static const helios_schema none = HELIOS_SCHEMA_INIT;
    helios_status status =
        options_copy(given, given ? given->size : 0, &none, sizeof(*out), out, "helios_schema");

    if (status != HELIOS_OK)
        return status;
    status = name_check("a table", out->name);
    if (status == HELIOS_OK && (out->column_count == 0 || out->column_count > COLUMNS_MAX || !out->columns))
        status = fail(HELIOS_INVALID, "table \"%s\" has %zu columns: 1 to %d are possible", out->name,
                      out->column_count, COLUMNS_MAX);
    if (status == HELIOS_OK && (out->index_count > INDEXES_MAX || (out->index_count && !out->indexes)))
        status = fail(HELIOS_INVALID, "table \"%s\" has %zu indexes", out->name, out->index_count);
    return status;
}

helios_status helios_table_create(helios_db *db, const helios_table_options *given, const helios_schema *schema,
                                  uint32_t *id)
{
    helios_table_options options;
    helios_schema checked;
    struct making m = {.db = db, .schema = &checked};
    helios_status status;

    if (!db || !schema)
        return fail(HELIOS_INVALID, "no %s was given", db ? "schema" : "database");
    status = table_options(given, &options);
    if (status == HELIOS_OK)
        status = schema_given(schema, &checked);
    if (status == HELIOS_OK)
        status = draft_new(&m);
    if (status == HELIOS_OK)
        status = table_write(db, &options, create, &m);
    if (status == HELIOS_OK && id)
        *id = m.draft.id;
    mem_free(m.draft.columns);
    mem_free(m.draft.indexes);
    return status;
}

/* ---- dropping, renaming, emptying ---- */

struct named {
    helios_db *db;
    const char *name, *to;
};

/* Rows and index entries: keys of both begin with the table's id. */
static helios_status delete_content(helios_txn *txn, uint32_t table)
{
    unsigned char from[4], to[4];
    helios_status status;

    put_u32_be(from, table);
    put_u32_be(to, table + 1);
    status = txn_delete_range(txn, SPACE_DATA, slice_make(from, 4), slice_make(to, 4));
    return status == HELIOS_OK ? txn_delete_range(txn, SPACE_INDEX, slice_make(from, 4), slice_make(to, 4))
                               : status;
}

static helios_status drop(void *arg, helios_txn *txn)
{
    const struct named *n = arg;
    const struct table_view view = view_of_txn(n->db, txn);
    struct catalog_key key, from, to;
    uint32_t table;
    helios_status status = catalog_find(&view, n->name, &table);

    if (status != HELIOS_OK)
        return status;
    key = catalog_table_key(table);
    from = catalog_layout_key(table, 0);
    to = catalog_layout_key(table + 1, 0);
    status = name_delete(txn, n->name);
    if (status == HELIOS_OK)
        status = txn_delete(txn, SPACE_META, catalog_key_slice(&key));
    if (status == HELIOS_OK)
        status = txn_delete_range(txn, SPACE_META, catalog_key_slice(&from), catalog_key_slice(&to));
    return status == HELIOS_OK ? delete_content(txn, table) : status;
}

static helios_status rename_to(void *arg, helios_txn *txn)
{
    const struct named *n = arg;
    const struct table_view view = view_of_txn(n->db, txn);
    struct table_schema *schema;
    struct draft_room room = {0};
    helios_status status = catalog_named(&view, n->name, &schema);

    if (status != HELIOS_OK)
        return status;
    status = name_is_free(&view, n->to);
    if (status == HELIOS_OK)
        status = draft_of(schema, &room);
    if (status == HELIOS_OK)
        status = name_delete(txn, n->name);
    if (status == HELIOS_OK)
        status = name_put(txn, n->to, schema->pub.id);
    if (status == HELIOS_OK) {
        room.draft.name = n->to;
        status = catalog_put(txn, &room.draft, false);
    }
    draft_release(&room);
    mem_free(schema);
    return status;
}

static helios_status truncate_rows(void *arg, helios_txn *txn)
{
    const struct named *n = arg;
    const struct table_view view = view_of_txn(n->db, txn);
    uint32_t table;
    helios_status status = catalog_find(&view, n->name, &table);

    return status == HELIOS_OK ? delete_content(txn, table) : status;
}

static helios_status change_named(helios_db *db, const helios_table_options *given, const char *name,
                                  const char *to, helios_status (*body)(void *, helios_txn *))
{
    struct named named = {db, name, to};
    helios_table_options options;
    helios_status status = db ? table_options(given, &options) : fail(HELIOS_INVALID, "no database was given");

    return status == HELIOS_OK ? table_write(db, &options, body, &named) : status;
}

helios_status helios_table_drop(helios_db *db, const helios_table_options *options, const char *name)
{
    return change_named(db, options, name, NULL, drop);
}

helios_status helios_table_rename(helios_db *db, const helios_table_options *options, const char *name,
                                  const char *to)
{
    return change_named(db, options, name, to, rename_to);
}

helios_status helios_table_truncate(helios_db *db, const helios_table_options *options, const char *name)
{
    return change_named(db, options, name, NULL, truncate_rows);
}
