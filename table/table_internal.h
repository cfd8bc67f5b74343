/* table_internal.h - tables on the engine, as the files of this room share them.
 *
 *   value.c, value_text.c  typed values; conversion, text, JSON
 *   codec.c                their bytes in rows and keys
 *   schema.c               a table's entry in the catalog
 *   view.c                 where a call reads: a transaction, or a pinned point
 *   catalog.c              names, entries, layouts, read through a view
 *   ddl.c, columns.c       changes of the catalog
 *   indexes.c, backfill.c  entries of rows in indexes; making them
 *   merges.c               rows in merges; merge_catalog.c tables as they will be, merge_entries.c entries to be written
 *   handle.c               helios_table; rows.c changes and reads rows, scan.c walks them
 *
 * Every change of rows is one transaction that watches the table's entry in the catalog: it is lost, and tried again, if
 * the schema changes meanwhile. That no two rows are equal in a unique index follows from both writing the same key. */
#ifndef HELIOS_TABLE_TABLE_INTERNAL_H
#define HELIOS_TABLE_TABLE_INTERNAL_H
#include "base/mem.h"
#include "engine/txn.h"
#include "table/schema.h"

/* ---- view.c ---- */

/* One state to read: what a transaction sees, or a point that is pinned from begin to end. */
struct table_view {
    helios_db *db;
    helios_txn *txn; /* NULL: the point */
    helios_branch_id branch;
    helios_seq seq;
    pin_id pin;
};
helios_status table_options(const helios_table_options *given, helios_table_options *out) CHECKED;
helios_status view_begin(struct table_view *, helios_db *, const helios_table_options *) CHECKED;
struct table_view view_of_txn(helios_db *, helios_txn *);
void view_end(struct table_view *);
helios_status view_get(const struct table_view *, uint8_t space, helios_slice key, helios_buf *value) CHECKED;
struct view_bounds {
    helios_slice lower, upper;
    bool keys_only, no_cache_fill;
};
helios_status view_iter(const struct table_view *, uint8_t space, const struct view_bounds *,
                        helios_iter **) CHECKED;
/* Runs body in the options' transaction, all of it or nothing, or in one of its own, which is tried again when it loses. */
helios_status table_write(helios_db *, const helios_table_options *,
                          helios_status (*body)(void *arg, helios_txn *), void *arg) CHECKED;

/* ---- catalog.c ---- */
helios_status catalog_find(const struct table_view *, const char *name, uint32_t *table) CHECKED;
helios_status catalog_load(const struct table_view *, uint32_t table, struct table_schema **) CHECKED;
helios_status catalog_named(const struct table_view *, const char *name, struct table_schema **) CHECKED;
helios_status catalog_layout(const struct table_view *, uint32_t table, uint32_t layout,
                             struct layout **) CHECKED;
/* So many ids of the catalog's counter, in a row. */
helios_status catalog_ids(helios_db *, size_t count, uint32_t *first) CHECKED;
/* Checks and writes a table's entry; with a new layout also that. */
helios_status catalog_put(helios_txn *, struct draft *, bool new_layout) CHECKED;

/* ---- handle.c ---- */
struct helios_table {
    helios_db *db;
    helios_table_options options;
    uint32_t id;
    struct table_schema *schema;
    helios_buf entry;        /* what the schema was read from */
    struct layout **layouts; /* of rows met so far */
    size_t layout_count, layout_capacity;
    /* Reused from call to call. */
    helios_buf scratch, row_bytes, cells, key, old_key;
    helios_row old;
};
/* Sees to it that the schema is that of the view. HELIOS_NOT_FOUND: dropped. */
helios_status table_refresh(helios_table *, const struct table_view *) CHECKED;
void schema_unref(struct table_schema *);
/* Decodes a row's bytes by the schema: what its layout lacks has the column's default. row->id is the caller's. */
helios_status row_fill(helios_table *, const struct table_view *, const struct table_schema *,
                       helios_slice bytes, helios_row *row) CHECKED;
/* HELIOS_NOT_FOUND. */
helios_status row_read(helios_table *, const struct table_view *, const struct table_schema *, uint64_t id,
                       helios_row *row) CHECKED;

/* ---- indexes.c ---- */
/* The beginning of an index's keys: table id, index id. */
enum { INDEX_PREFIX_SIZE = 8 };
helios_status index_prefix(helios_buf *key, uint32_t table, uint32_t index) CHECKED;
/* The key of a row's entry; *single: the key alone says which row it is, as unique ones without NULL do; else the row's id is
 * at its end. */
helios_status index_key(helios_buf *key, uint32_t table, const struct table_index *, const helios_value *values,
                        uint64_t row, bool *single) CHECKED;
/* The row that an entry is of. */
helios_status index_row(helios_slice key, helios_slice value, uint64_t *row) CHECKED;
/* Appends values of an index's first columns, converted. *possible false: no row can have them. */
helios_status index_bound(helios_buf *key, const struct table_schema *, const struct table_index *,
                          const helios_value *values, size_t count, bool *possible) CHECKED;
/* Writes the entry of a row; HELIOS_EXISTS if another one has the key. */
helios_status index_put(helios_txn *, const struct table_schema *, const struct table_index *,
                        const helios_value *values, uint64_t row, helios_buf *key) CHECKED;
/* The entries of a row whose values change; NULL: it was not, or is no more. */
helios_status index_change(helios_table *, helios_txn *, const helios_value *before, const helios_value *after,
                           uint64_t row) CHECKED;
/* The smallest key above all with the prefix, in place; false: there is none. */
bool key_step_over(helios_buf *prefix);

#endif
