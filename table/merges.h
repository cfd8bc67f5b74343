/* merges.h - rows, entries and the catalog in a merge, as the files of this room share them; engine/merge.h has the calls.
 *
 *   merges.c         the calls: each row that the merge writes, as entries that go and come
 *   merge_catalog.c  tables as they will be; whether that is a catalog; what changed indexes need
 *   merge_entries.c  entries that go and come, in order, and which of two rows may have one
 *
 * All is kept in memory: about the keys of the entries that change, and of all entries of an index that comes anew. */
#ifndef HELIOS_TABLE_MERGES_H
#define HELIOS_TABLE_MERGES_H
#include "base/arena.h"
#include "engine/merge.h"
#include "table/table_internal.h"

/* What becomes of an entry: a later word about the same key and row is the last one. */
struct merge_entry_change {
    const unsigned char *key;
    uint32_t size;
    bool put;
    bool single; /* one row can have the key */
    uint64_t row;
    size_t order;
};

struct merge_entry_list {
    struct arena keys;
    struct merge_entry_change *at;
    size_t count, capacity;
    size_t next;
};

struct merged_table {
    uint32_t id;
    struct table_schema *ours; /* as the target has it; NULL: it does not */
    helios_table *handle;      /* as it will be; NULL: there will be none */
    uint64_t deleted;          /* rows, by the merge */
};

struct merge_rows {
    struct helios_db *db;
    struct table_view ours, theirs;
    helios_merge_strategy strategy;
    const struct helios_batch *catalog;
    struct merged_table *tables;
    size_t table_count, table_capacity;
    struct merge_entry_list entries;
    unsigned char value[ROW_ID_SIZE]; /* of the operation given last */
    helios_row before, after;
    helios_buf key, old_key;
};

/* ---- merges.c ---- */
/* A row as the table will read it. HELIOS_CONFLICT: it lacks what it must have. */
helios_status merged_row(struct merge_rows *, struct merged_table *, uint64_t id, helios_slice bytes,
                         helios_row *) CHECKED;

/* ---- merge_catalog.c ---- */
/* The table, which is looked up when it is first asked for; its entries that follow from another schema are added then. */
helios_status merged_table_find(struct merge_rows *, uint32_t id, struct merged_table **) CHECKED;
/* The operation on a line; false: there is none. */
bool merged_line(const struct merge_rows *, const struct catalog_key *, struct op *);
/* All tables of which a line changes. HELIOS_CONFLICT if names and tables would not belong together. */
helios_status merged_catalog_check(struct merge_rows *) CHECKED;
/* All rows were given. HELIOS_CONFLICT: a table goes, and rows of it would stay. */
helios_status merged_rows_left(struct merge_rows *) CHECKED;
void merged_tables_release(struct merge_rows *);

/* ---- merge_entries.c ---- */
helios_status merge_entry_add(struct merge_rows *, helios_slice key, uint64_t row, bool single,
                              bool put) CHECKED;
/* Sorts them and leaves one a key: what is to be written. HELIOS_CONFLICT: two rows would have one. */
helios_status merge_entries_settle(struct merge_rows *) CHECKED;
bool merge_entries_next(struct merge_rows *, struct merge_op *);

#endif
