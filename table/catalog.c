/* catalog.c - names, entries and layouts of tables in space 3, read through a view and written in a transaction. */
#include "base/utf8.h"
#include "engine/row_ids.h"
#include "table/table_internal.h"
#include <inttypes.h>

enum { NAME_VERSION = 0, NAME_ID = 1, NAME_SIZE = 5 };

helios_status catalog_find(const struct table_view *view, const char *name, uint32_t *table)
{
    struct catalog_key key;
    helios_buf value = {0};
    helios_status status = name_check("a table", name);

    if (status != HELIOS_OK)
        return status;
    key = catalog_name_key(name);
    status = view_get(view, SPACE_META, catalog_key_slice(&key), &value);
    if (status == HELIOS_NOT_FOUND) {
        status = fail(HELIOS_NOT_FOUND, "there is no table \"%s\"", name);
    } else if (status == HELIOS_OK) {
        if (value.size == NAME_SIZE && value.data[NAME_VERSION] == CATALOG_VERSION)
            *table = get_u32(value.data + NAME_ID);
        else
            status = fail_corrupt("the catalog's entry of the name \"%s\" is damaged", name);
    }
    helios_buf_free(&value);
    return status;
}

helios_status catalog_load(const struct table_view *view, uint32_t table, struct table_schema **out)
{
    struct catalog_key key = catalog_table_key(table);
    helios_buf value = {0};
    helios_status status = view_get(view, SPACE_META, catalog_key_slice(&key), &value);

    if (status == HELIOS_OK)
        status = schema_decode(buf_slice(&value), table, out);
    else if (status == HELIOS_NOT_FOUND)
        status = fail(HELIOS_NOT_FOUND, "table %u was dropped", table);
    helios_buf_free(&value);
    return status;
}

helios_status catalog_named(const struct table_view *view, const char *name, struct table_schema **out)
{
    uint32_t table;
    helios_status status = catalog_find(view, name, &table);

    return status == HELIOS_OK ? catalog_load(view, table, out) : status;
}

helios_status catalog_layout(const struct table_view *view, uint32_t table, uint32_t layout,
                             struct layout **out)
{
    struct catalog_key key = catalog_layout_key(table, layout);
    helios_buf value = {0};
    helios_status status = view_get(view, SPACE_META, catalog_key_slice(&key), &value);

    if (status == HELIOS_OK)
        status = layout_decode(buf_slice(&value), layout, out);
    else if (status == HELIOS_NOT_FOUND)
        status = fail_corrupt("table %u: a row has layout %u, which the catalog lacks", table, layout);
    helios_buf_free(&value);
    return status;
}

helios_status catalog_ids(helios_db *db, size_t count, uint32_t *first)
{
    uint64_t id;
    helios_status status = row_ids_take(db, ROW_IDS_CATALOG, count, &id);

    if (status == HELIOS_OK && id + count > UINT32_MAX)
        status = fail(HELIOS_LIMIT, "the database has used up its ids of tables and columns");
    if (status == HELIOS_OK)
        *first = (uint32_t)id;
    return status;
}

helios_status catalog_put(helios_txn *txn, struct draft *draft, bool new_layout)
{
    struct catalog_key key = catalog_table_key(draft->id);
    helios_buf value = {0};
    helios_status status = draft_check(draft);

    if (status == HELIOS_OK)
        status = schema_encode(&value, draft);
    if (status == HELIOS_OK)
        status = txn_put(txn, SPACE_META, catalog_key_slice(&key), buf_slice(&value));
    if (status == HELIOS_OK && new_layout) {
        key = catalog_layout_key(draft->id, draft->layout);
        status = layout_encode(&value, draft);
        if (status == HELIOS_OK)
            status = txn_put(txn, SPACE_META, catalog_key_slice(&key), buf_slice(&value));
    }
    helios_buf_free(&value);
    return status;
}

/* ---- looking ---- */

helios_status helios_table_describe(helios_db *db, const helios_table_options *given, const char *name,
                                    helios_schema **out)
{
    helios_table_options options;
    struct table_schema *schema;
    struct table_view view;
    helios_status status;

    if (!db || !out)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the schema" : "database");
    status = table_options(given, &options);
    if (status == HELIOS_OK)
        status = view_begin(&view, db, &options);
    if (status != HELIOS_OK)
        return status;
    status = catalog_named(&view, name, &schema);
    view_end(&view);
    if (status == HELIOS_OK)
        *out = &schema->pub;
    return status;
}

/* All names, each ended by a zero byte. */
static helios_status gather_names(const struct table_view *view, helios_buf *names, size_t *count)
{
    static const char from = CATALOG_NAME, to = CATALOG_NAME + 1;
    const struct view_bounds bounds = {slice_make(&from, 1), slice_make(&to, 1), .keys_only = true};
    helios_iter *it;
    helios_status status = view_iter(view, SPACE_META, &bounds, &it);

    if (status != HELIOS_OK)
        return status;
    for (helios_iter_first(it); helios_iter_valid(it) && status == HELIOS_OK; helios_iter_next(it)) {
        helios_slice key = helios_iter_key(it);

        status = buf_append(names, slice_bytes(key) + 1, key.size - 1);
        if (status == HELIOS_OK)
            status = buf_append(names, "", 1);
        ++*count;
    }
    if (status == HELIOS_OK)
        status = helios_iter_status(it);
    helios_iter_free(it);
    return status;
}

static helios_status list_of(const helios_buf *names, size_t count, char ***out)
{
    char **list = mem_alloc(count * sizeof(*list) + names->size + 1), *text;

    if (!list)
        return fail_no_memory(count * sizeof(*list) + names->size + 1);
    text = (char *)(list + count);
    if (names->size)
        memcpy(text, names->data, names->size);
    for (size_t i = 0; i < count; i++, text += strlen(text) + 1)
        list[i] = text;
    *out = list;
    return HELIOS_OK;
}

helios_status helios_table_list(helios_db *db, const helios_table_options *given, char ***names, size_t *n)
{
    helios_table_options options;
    struct table_view view;
    helios_buf found = {0};
    size_t count = 0;
    helios_status status;

    if (!db || !names || !n)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the names" : "database");
    status = table_options(given, &options);
    if (status == HELIOS_OK)
        status = view_begin(&view, db, &options);
    if (status != HELIOS_OK)
        return status;
    status = gather_names(&view, &found, &count);
    view_end(&view);
    if (status == HELIOS_OK)
        status = list_of(&found, count, names);
    if (status == HELIOS_OK)
        *n = count;
    helios_buf_free(&found);
    return status;
}
