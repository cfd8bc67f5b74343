/* rows.c - rows inserted, changed, deleted, and read one by one. A change is a body run in a transaction, from the schema
 * on, as often as it loses. */
#include "engine/row_ids.h"
#include "table/table_internal.h"
#include <inttypes.h>

enum change_kind { CHANGE_INSERT, CHANGE_UPDATE, CHANGE_UPSERT, CHANGE_DELETE };

struct change {
    helios_table *table;
    enum change_kind kind;
    const helios_value *given;
    size_t count;
    uint64_t id;    /* 0: to be found, or taken */
    uint64_t taken; /* from the counter by an earlier attempt; 0: none */
    uint64_t done;  /* the id of the row that the last attempt wrote */
    helios_value *values;
};

/* ---- values ---- */

static bool in_primary(const struct table_schema *schema, size_t column)
{
    for (uint32_t i = 0; schema->primary && i < schema->primary->count; i++)
        if (schema->primary->columns[i] == column)
            return true;
    return false;
}

/* The column that a missing key is filled in: the one of the primary key, if that is one of integers. */
static size_t key_column(const struct table_schema *schema)
{
    const struct table_index *primary = schema->primary;

    return primary && primary->count == 1 && type_is_integer(schema->pub.columns[primary->columns[0]].type)
               ? primary->columns[0]
               : SIZE_MAX;
}

static helios_status refuse_value(const struct table_schema *schema, const helios_column *c,
                                  const helios_value *v)
{
    helios_buf text = {0};

    if (helios_value_print(v, &text) != HELIOS_OK)
        text.size = 0;
    (void)fail(HELIOS_INVALID, "table \"%s\": column \"%s\" is of type %s and cannot hold the %s \"%.*s\"",
               schema->pub.name, c->name, helios_type_name(c->type), helios_type_name(v->type),
               (int)(text.size < 100 ? text.size : 100), text.data ? text.data : "");
    helios_buf_free(&text);
    return HELIOS_INVALID;
}

/* What the change gives for a column; before: what the row has, NULL if it is new. */
static helios_status take_value(struct change *c, size_t i, const helios_value *before)
{
    const struct table_schema *schema = c->table->schema;
    const helios_column *column = &schema->pub.columns[i];
    helios_value *out = &c->values[i];

    *out = (helios_value){.type = HELIOS_TYPE_NONE};
    if (i < c->count && !value_coerce(&c->given[i], column->type, column->scale, out))
        return refuse_value(schema, column, &c->given[i]);
    if (out->type == HELIOS_TYPE_NONE)
        *out = before ? *before : column->default_value;
    if (out->type == HELIOS_TYPE_NONE)
        out->type = HELIOS_TYPE_NULL;
    return HELIOS_OK;
}

static helios_status take_values(struct change *c, const helios_value *before)
{
    const struct table_schema *schema = c->table->schema;
    size_t count = schema->pub.column_count;
    helios_status status;

    if (c->count > count)
        return fail(HELIOS_INVALID, "table \"%s\" has %zu columns, not %zu", schema->pub.name, count, c->count);
    status = buf_reserve(&c->table->cells, count * sizeof(*c->values));
    c->values = (helios_value *)(void *)c->table->cells.data;
    for (size_t i = 0; i < count && status == HELIOS_OK; i++)
        status = take_value(c, i, before ? &before[i] : NULL);
    return status;
}

static helios_status check_null(const struct table_schema *schema, const helios_value *values)
{
    for (size_t i = 0; i < schema->pub.column_count; i++)
        if (values[i].type == HELIOS_TYPE_NULL && (schema->pub.columns[i].not_null || in_primary(schema, i)))
            return fail(HELIOS_INVALID, "table \"%s\": column \"%s\" may not be NULL", schema->pub.name,
                        schema->pub.columns[i].name);
    return HELIOS_OK;
}

/* ---- ids ---- */

static helios_status row_is_there(struct change *c, helios_txn *txn, uint64_t id, bool *there)
{
    const struct table_view view = view_of_txn(c->table->db, txn);
    unsigned char key[ROW_KEY_SIZE];
    helios_status status;

    row_key_put(key, c->table->id, id);
    status = view_get(&view, SPACE_DATA, slice_make(key, sizeof(key)), &c->table->row_bytes);
    *there = status == HELIOS_OK;
    return status == HELIOS_NOT_FOUND ? HELIOS_OK : status;
}

static helios_status take_id(struct change *c)
{
    helios_status status = HELIOS_OK;

    if (c->taken == 0)
        status = row_ids_take(c->table->db, c->table->id, 1, &c->taken);
    c->id = c->taken;
    return status;
}

/* A row that has a key of one integer is stored under that, if it is free and could be an id. */
static helios_status id_of_key(struct change *c, helios_txn *txn, int64_t key)
{
    bool there = false;
    helios_status status = row_ids_raise(c->table->db, c->table->id, (uint64_t)key);

    if (status == HELIOS_OK)
        status = row_is_there(c, txn, (uint64_t)key, &there);
    if (status == HELIOS_OK && !there)
        c->id = (uint64_t)key;
    return status;
}

static helios_status given_id(struct change *c, helios_txn *txn)
{
    bool there = false;
    helios_status status;

    if (c->id > ROW_ID_MAX)
        return fail(HELIOS_INVALID, "%" PRIu64 " is above all row ids", c->id);
    status = row_ids_raise(c->table->db, c->table->id, c->id);
    if (status == HELIOS_OK)
        status = row_is_there(c, txn, c->id, &there);
    if (status == HELIOS_OK && there)
        return fail(HELIOS_EXISTS, "table \"%s\" has a row %" PRIu64 " already", c->table->schema->pub.name,
                    c->id);
    return status;
}

/* The new row's id, and its key if that follows from it. */
static helios_status settle_id(struct change *c, helios_txn *txn)
{
    const struct table_schema *schema = c->table->schema;
    size_t at = key_column(schema);
    bool missing = at != SIZE_MAX && c->values[at].type == HELIOS_TYPE_NULL;
    helios_value id = {.type = HELIOS_TYPE_INT64};
    helios_status status = HELIOS_OK;

    if (c->id)
        status = given_id(c, txn);
    else if (at != SIZE_MAX && !missing && c->values[at].as.integer > 0)
        status = id_of_key(c, txn, c->values[at].as.integer);
    if (status == HELIOS_OK && c->id == 0)
        status = take_id(c);
    if (status != HELIOS_OK || !missing)
        return status;
    id.as.integer = (int64_t)c->id;
    if (c->id > INT64_MAX || !value_coerce(&id, schema->pub.columns[at].type, 0, &c->values[at]))
        return fail(HELIOS_LIMIT, "table \"%s\": the id %" PRIu64 " does not fit into column \"%s\"",
                    schema->pub.name, c->id, schema->pub.columns[at].name);
    return HELIOS_OK;
}

/* ---- the bodies ---- */

static helios_status store(struct change *c, helios_txn *txn, const helios_value *before)
{
    helios_table *table = c->table;
    unsigned char key[ROW_KEY_SIZE];
    helios_status status = check_null(table->schema, c->values);

    if (status == HELIOS_OK)
        status = index_change(table, txn, before, c->values, c->id);
    if (status == HELIOS_OK)
        status = row_encode(&table->row_bytes, table->schema->pub.layout, c->values,
                            table->schema->pub.column_count);
    row_key_put(key, table->id, c->id);
    return status == HELIOS_OK
               ? txn_put(txn, SPACE_DATA, slice_make(key, sizeof(key)), buf_slice(&table->row_bytes))
               : status;
}

static helios_status insert(struct change *c, helios_txn *txn)
{
    helios_status status = take_values(c, NULL);

    if (status == HELIOS_OK)
        status = settle_id(c, txn);
    return status == HELIOS_OK ? store(c, txn, NULL) : status;
}

static helios_status read_old(struct change *c, helios_txn *txn)
{
    const struct table_view view = view_of_txn(c->table->db, txn);

    return row_read(c->table, &view, c->table->schema, c->id, &c->table->old);
}

static helios_status update(struct change *c, helios_txn *txn, bool replace)
{
    helios_table *table = c->table;
    helios_status status = read_old(c, txn);

    if (status == HELIOS_OK)
        status = take_values(c, replace ? NULL : table->old.values);
    return status == HELIOS_OK ? store(c, txn, table->old.values) : status;
}

static helios_status delete_row(struct change *c, helios_txn *txn)
{
    unsigned char key[ROW_KEY_SIZE];
    helios_status status = read_old(c, txn);

    if (status == HELIOS_OK)
        status = index_change(c->table, txn, c->table->old.values, NULL, c->id);
    row_key_put(key, c->table->id, c->id);
    return status == HELIOS_OK ? txn_delete(txn, SPACE_DATA, slice_make(key, sizeof(key))) : status;
}

/* The row of the same primary key; 0: none. */
static helios_status find_same(struct change *c, helios_txn *txn, uint64_t *id)
{
    helios_table *table = c->table;
    const struct table_index *primary = table->schema->primary;
    bool single, missing = false;
    helios_status status = take_values(c, NULL);

    *id = 0;
    for (uint32_t i = 0; status == HELIOS_OK && i < primary->count; i++)
        missing |= c->values[primary->columns[i]].type == HELIOS_TYPE_NULL;
    if (status != HELIOS_OK || missing)
        return status; /* to be filled in, or refused, by inserting */
    status = index_key(&table->key, table->id, primary, c->values, 0, &single);
    if (status == HELIOS_OK)
        status = txn_get(txn, SPACE_INDEX, buf_slice(&table->key), &table->row_bytes);
    if (status == HELIOS_OK)
        return index_row(buf_slice(&table->key), buf_slice(&table->row_bytes), id);
    return status == HELIOS_NOT_FOUND ? HELIOS_OK : status;
}

static helios_status upsert(struct change *c, helios_txn *txn)
{
    uint64_t given = c->id, id = 0;
    bool there = false;
    helios_status status;

    if (c->table->schema->primary) {
        status = find_same(c, txn, &id);
    } else {
        id = given;
        status = id ? row_is_there(c, txn, id, &there) : HELIOS_OK;
        id = there ? id : 0;
    }
    if (status != HELIOS_OK || id == 0)
        return status == HELIOS_OK ? insert(c, txn) : status;
    c->id = id;
    return update(c, txn, true);
}

static helios_status run_change(void *arg, helios_txn *txn)
{
    struct change attempt = *(struct change *)arg, *c = arg;
    const struct table_view view = view_of_txn(c->table->db, txn);
    struct catalog_key key = catalog_table_key(c->table->id);
    helios_status status = table_refresh(c->table, &view);

    if (status == HELIOS_OK)
        status = txn_watch(txn, SPACE_META, catalog_key_slice(&key));
    if (status != HELIOS_OK)
        return status;
    switch (c->kind) {
    case CHANGE_INSERT: status = insert(&attempt, txn); break;
    case CHANGE_UPDATE: status = update(&attempt, txn, false); break;
    case CHANGE_UPSERT: status = upsert(&attempt, txn); break;
    case CHANGE_DELETE: status = delete_row(&attempt, txn); break;
    }
    c->taken = attempt.taken; /* also after a loss: the next attempt has it */
    c->done = attempt.id;
    return status;
}

static helios_status change(helios_table *table, enum change_kind kind, uint64_t *id,
                            const helios_value *values, size_t count)
{
    struct change c = {.table = table, .kind = kind, .given = values, .count = count, .id = id ? *id : 0};
    helios_status status;

    if (!table || (count && !values))
        return fail(HELIOS_INVALID, "no %s given", table ? "values were" : "table was");
    status = table_write(table->db, &table->options, run_change, &c);
    if (status == HELIOS_OK && id)
        *id = c.done;
    return status;
}

helios_status helios_row_insert(helios_table *table, const helios_value *values, size_t count, uint64_t *id)
{
    return change(table, CHANGE_INSERT, id, values, count);
}

helios_status helios_row_update(helios_table *table, uint64_t id, const helios_value *values, size_t count)
{
    return change(table, CHANGE_UPDATE, &id, values, count);
}

helios_status helios_row_upsert(helios_table *table, const helios_value *values, size_t count, uint64_t *id)
{
    return change(table, CHANGE_UPSERT, id, values, count);
}

helios_status helios_row_delete(helios_table *table, uint64_t id)
{
    return change(table, CHANGE_DELETE, &id, NULL, 0);
}

/* ---- reading ---- */

helios_status helios_row_get(helios_table *table, uint64_t id, helios_row *row)
{
    struct table_view view;
    helios_status status;

    if (!table || !row)
        return fail(HELIOS_INVALID, "no %s was given", table ? "place for the row" : "table");
    status = view_begin(&view, table->db, &table->options);
    if (status != HELIOS_OK)
        return status;
    status = table_refresh(table, &view);
    if (status == HELIOS_OK)
        status = row_read(table, &view, table->schema, id, row);
    view_end(&view);
    return status;
}
