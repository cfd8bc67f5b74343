/* backfill.c - indexes made for rows that are there, beside their readers and writers.
 *
 * The first commit puts the index into the catalog as `building`. Whoever writes rows watches the catalog, so that from that
 * commit on all keep the index; what is missing are entries of rows older than it. Those are added piece by piece: each piece is
 * a transaction that watches the rows it reads, and is tried again if one changes. The last commit takes `building` away.
 * At every moment each entry that there is, is right. */
#include "base/utf8.h"
#include "table/table_internal.h"
#include <inttypes.h>

enum { ROWS_A_PIECE = 256 };

struct backfill {
    helios_db *db;
    helios_table_options options;
    const char *table_name, *name;
    const helios_index_schema *schema;
    helios_table *table;
    uint32_t index; /* its id */
    uint64_t from;  /* rows below have their entries */
    uint64_t reached;
    bool piecewise, done;
};

/* ---- the catalog ---- */

static bool same_index(const struct table_schema *s, const struct table_index *index,
                       const helios_index_schema *given)
{
    bool same = index->building && index->unique == given->unique && index->count == given->column_count;

    for (uint32_t i = 0; same && i < index->count; i++)
        same = given->columns[i] && strcmp(s->pub.columns[index->columns[i]].name, given->columns[i]) == 0;
    return same;
}

static helios_status add_to(struct backfill *b, helios_txn *txn, const struct table_schema *schema)
{
    struct draft_room room;
    helios_status status = draft_of(schema, &room);

    if (status == HELIOS_OK)
        status = catalog_ids(b->db, 1, &b->index);
    if (status == HELIOS_OK)
        status = draft_add_index(&room.draft, b->schema, b->index);
    if (status == HELIOS_OK) {
        room.draft.indexes[room.draft.index_count - 1].building = b->piecewise;
        status = catalog_put(txn, &room.draft, false);
    }
    draft_release(&room);
    return status;
}

static helios_status announce(void *arg, helios_txn *txn)
{
    struct backfill *b = arg;
    const struct table_view view = view_of_txn(b->db, txn);
    const struct table_index *there;
    struct table_schema *schema;
    helios_status status = catalog_named(&view, b->table_name, &schema);

    if (status != HELIOS_OK)
        return status;
    there = schema_index(schema, b->schema->name);
    if (!there)
        status = add_to(b, txn, schema);
    else if (b->piecewise && same_index(schema, there, b->schema))
        b->index = there->id;
    else
        status =
            fail(HELIOS_EXISTS, "table \"%s\" has an index \"%s\" already", b->table_name, b->schema->name);
    mem_free(schema);
    return status;
}

static size_t index_at(const struct draft *d, uint32_t id)
{
    for (size_t i = 0; i < d->index_count; i++)
        if (d->indexes[i].id == id)
            return i;
    return SIZE_MAX;
}

static helios_status gone(const struct backfill *b)
{
    return fail(HELIOS_NOT_FOUND, "index \"%s\" was dropped while it was being made", b->schema->name);
}

static helios_status complete(void *arg, helios_txn *txn)
{
    struct backfill *b = arg;
    const struct table_view view = view_of_txn(b->db, txn);
    struct draft_room room;
    size_t at;
    helios_status status = table_refresh(b->table, &view);

    if (status == HELIOS_OK)
        status = draft_of(b->table->schema, &room);
    if (status != HELIOS_OK)
        return status;
    at = index_at(&room.draft, b->index);
    if (at == SIZE_MAX) {
        status = gone(b);
    } else {
        room.draft.indexes[at].building = false;
        status = catalog_put(txn, &room.draft, false);
    }
    draft_release(&room);
    return status;
}

/* ---- entries ---- */

static helios_status add_entry(struct backfill *b, helios_txn *txn, const struct table_index *index,
                               const helios_row *row)
{
    unsigned char key[ROW_KEY_SIZE];
    helios_status status;

    row_key_put(key, b->table->id, row->id);
    status = txn_watch(txn, SPACE_DATA, slice_make(key, sizeof(key)));
    return status == HELIOS_OK ? index_put(txn, b->table->schema, index, row->values, row->id, &b->table->key)
                               : status;
}

static helios_status fill_rows(struct backfill *b, helios_txn *txn, const struct table_index *index,
                               helios_rows *rows)
{
    helios_status status = HELIOS_OK;
    const helios_row *row;

    b->done = true;
    for (uint64_t n = 0; status == HELIOS_OK && helios_rows_next(rows, &row); n++) {
        if (b->piecewise && n == ROWS_A_PIECE) {
            b->done = false;
            break;
        }
        status = add_entry(b, txn, index, row);
        b->reached = row->id + 1;
    }
    return status == HELIOS_OK ? helios_rows_status(rows) : status;
}

static helios_status fill_piece(void *arg, helios_txn *txn)
{
    struct backfill *b = arg;
    const struct table_view view = view_of_txn(b->db, txn);
    struct catalog_key key = catalog_table_key(b->table->id);
    helios_rows_options from = HELIOS_ROWS_OPTIONS_INIT;
    const struct table_index *index = NULL;
    helios_table_options before = b->table->options;
    helios_rows *rows;
    helios_status status = table_refresh(b->table, &view);

    if (status == HELIOS_OK)
        status = txn_watch(txn, SPACE_META, catalog_key_slice(&key));
    if (status != HELIOS_OK)
        return status;
    for (size_t i = 0; i < b->table->schema->index_count; i++)
        if (b->table->schema->indexes[i].id == b->index)
            index = &b->table->schema->indexes[i];
    if (!index)
        return gone(b);
    from.from_id = b->from;
    from.no_cache_fill = true;
    b->reached = b->from;
    b->table->options = (helios_table_options){.size = sizeof(before), .txn = txn}; /* the walk's */
    status = helios_rows_new(b->table, &from, &rows);
    if (status == HELIOS_OK) {
        status = fill_rows(b, txn, index, rows);
        helios_rows_free(rows);
    }
    b->table->options = before;
    return status;
}

/* ---- dropping ---- */

static helios_status remove_index(helios_txn *txn, struct draft *d, size_t at)
{
    helios_buf from = {0}, to = {0};
    helios_status status;

    status = index_prefix(&from, d->id, d->indexes[at].id);
    if (status == HELIOS_OK)
        status = index_prefix(&to, d->id, d->indexes[at].id + 1);
    if (status == HELIOS_OK)
        status = txn_delete_range(txn, SPACE_INDEX, buf_slice(&from), buf_slice(&to));
    memmove(d->indexes + at, d->indexes + at + 1, (--d->index_count - at) * sizeof(*d->indexes));
    if (status == HELIOS_OK)
        status = catalog_put(txn, d, false);
    helios_buf_free(&from);
    helios_buf_free(&to);
    return status;
}

static helios_status drop(void *arg, helios_txn *txn)
{
    struct backfill *b = arg;
    const struct table_view view = view_of_txn(b->db, txn);
    struct table_schema *schema;
    struct draft_room room = {0};
    const struct table_index *index;
    helios_status status = catalog_named(&view, b->table_name, &schema);

    if (status != HELIOS_OK)
        return status;
    index = schema_index(schema, b->name);
    if (!index || (b->index && index->id != b->index))
        status = fail(HELIOS_NOT_FOUND, "table \"%s\" has no index \"%s\"", b->table_name, b->name);
    else if (index->primary)
        status = fail(HELIOS_INVALID, "the primary key of table \"%s\" stays", b->table_name);
    if (status == HELIOS_OK)
        status = draft_of(schema, &room);
    if (status == HELIOS_OK)
        status = remove_index(txn, &room.draft, (size_t)(index - schema->indexes));
    draft_release(&room);
    mem_free(schema);
    return status;
}

/* ---- the calls ---- */

/* Two rows are equal: the index is none. The sentence that says which stays. */
static void take_back(struct backfill *b)
{
    struct error_note note = {0};

    error_keep(&note, HELIOS_EXISTS);
    b->name = b->schema->name;
    (void)!table_write(b->db, &b->options, drop, b);
    (void)!error_tell(&note);
}

static helios_status fill_all(struct backfill *b)
{
    helios_status status = helios_table_open(b->db, &b->options, b->table_name, &b->table);

    while (status == HELIOS_OK && !b->done) {
        status = table_write(b->db, &b->options, fill_piece, b);
        b->from = b->reached;
    }
    if (status == HELIOS_OK && b->piecewise)
        status = table_write(b->db, &b->options, complete, b);
    helios_table_close(b->table);
    b->table = NULL;
    if (status == HELIOS_EXISTS && b->piecewise)
        take_back(b);
    return status;
}

/* In the caller's transaction: all, or nothing. */
static helios_status make_whole(void *arg, helios_txn *txn)
{
    struct backfill *b = arg;
    helios_status status = announce(b, txn);

    return status == HELIOS_OK ? fill_all(b) : status;
}

helios_status helios_index_create(helios_db *db, const helios_table_options *given, const char *table,
                                  const helios_index_schema *schema)
{
    struct backfill b = {.db = db, .table_name = table, .schema = schema, .from = 1};
    helios_status status;

    if (!db || !schema)
        return fail(HELIOS_INVALID, "no %s was given", db ? "index" : "database");
    status = name_check("an index", schema->name);
    if (status == HELIOS_OK && schema->column_count && !schema->columns)
        status = fail(HELIOS_INVALID, "no columns were given for index \"%s\"", schema->name);
    if (status == HELIOS_OK)
        status = table_options(given, &b.options);
    if (status != HELIOS_OK)
        return status;
    if (b.options.txn)
        return table_write(db, &b.options, make_whole, &b);
    b.piecewise = true;
    status = table_write(db, &b.options, announce, &b);
    return status == HELIOS_OK ? fill_all(&b) : status;
}

helios_status helios_index_drop(helios_db *db, const helios_table_options *given, const char *table,
                                const char *index)
{
    struct backfill b = {.db = db, .table_name = table, .name = index};
    helios_status status = db ? name_check("an index", index) : fail(HELIOS_INVALID, "no database was given");

    if (status == HELIOS_OK)
        status = table_options(given, &b.options);
    return status == HELIOS_OK ? table_write(db, &b.options, drop, &b) : status;
}
