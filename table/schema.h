/* schema.h - a table's entry in the catalog, in memory and as bytes; docs/format.md, "Catalog". Pure; any thread.
 *
 * Keys in space 3: 'N' name -> table id; 'T' table id -> the entry; 'L' table id, layout id -> a layout, never changed. Ids
 * are big-endian in keys and come from one counter of the database, so that what two branches make is never confused. */
#ifndef HELIOS_TABLE_SCHEMA_H
#define HELIOS_TABLE_SCHEMA_H
#include "table/codec.h"

enum { CATALOG_NAME = 'N', CATALOG_TABLE = 'T', CATALOG_LAYOUT = 'L', CATALOG_VERSION = 1, INDEXES_MAX = 250 };

struct table_index {
    uint32_t id;
    const char *name;
    bool unique, primary, building;
    uint32_t count;
    uint16_t columns[KEY_COLUMNS_MAX]; /* positions */
};

/* What of a schema changes; names and values are borrowed. */
struct draft {
    uint32_t id, layout;
    const char *name;
    helios_column *columns;
    size_t column_count;
    struct table_index *indexes;
    size_t index_count;
};

/* One allocation, the public form in front: helios_free() or mem_free(). */
struct table_schema {
    helios_schema pub;
    struct table_index *indexes; /* all, in the order of making */
    size_t index_count;
    const struct table_index *primary; /* NULL: none */
    uint32_t refs;                     /* of handles; those that the library gives away have none */
};

/* ---- keys ---- */
struct catalog_key {
    unsigned char bytes[1 + 255];
    size_t size;
};
struct catalog_key catalog_name_key(const char *name); /* a name that was checked */
struct catalog_key catalog_table_key(uint32_t table);
struct catalog_key catalog_layout_key(uint32_t table, uint32_t layout);
static inline helios_slice catalog_key_slice(const struct catalog_key *key)
{
    return slice_make(key->bytes, key->size);
}

/* ---- entries ---- */
helios_status schema_encode(helios_buf *out, const struct draft *) CHECKED;
/* HELIOS_CORRUPT for what schema_encode() would not have written. */
helios_status schema_decode(helios_slice entry, uint32_t table, struct table_schema **) CHECKED;
/* Borrows the schema's parts; room for one column and one index more. */
struct draft_room {
    struct draft draft;
    helios_column *columns;
    struct table_index *indexes;
};
helios_status draft_of(const struct table_schema *, struct draft_room *) CHECKED;
void draft_release(struct draft_room *);

helios_status layout_encode(helios_buf *out, const struct draft *) CHECKED;
helios_status layout_decode(helios_slice entry, uint32_t id, struct layout **) CHECKED; /* mem_free() */

/* HELIOS_INVALID, HELIOS_EXISTS for what a table cannot be; coerces defaults in place. */
helios_status draft_check(struct draft *) CHECKED;
/* One index more, by the names of its columns; there is room for it. */
helios_status draft_add_index(struct draft *, const helios_index_schema *, uint32_t id) CHECKED; /* ddl.c */
/* The position of a column, or SIZE_MAX. */
size_t draft_column(const struct draft *, const char *name);
const struct table_index *schema_index(const struct table_schema *, const char *name); /* NULL: none */

#endif
