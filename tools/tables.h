/* tables.h - a database and a table of it, opened for a command. */
#ifndef HELIOS_TOOLS_TABLES_H
#define HELIOS_TOOLS_TABLES_H
#include "tools/heliosctl.h"

struct json_object;

struct table_work {
    helios_db *db;
    helios_table_options options; /* by --branch, --at and --durability */
    helios_branch_id branch;
    helios_txn *txn;     /* NULL: none was begun */
    helios_table *table; /* NULL: none was opened */
};

/* The database alone; with OPEN_READ at --at. 0, or an exit code, reported, and nothing is open. */
int table_work_begin(const struct args *, enum open_mode, struct table_work *);
/* Begins a transaction that the calls after it are part of; one before, and its table, are done with. 0, or an exit code, reported. */
int table_work_transact(const struct args *, struct table_work *);
/* Commits it, if code is 0. */
int table_work_commit(const struct args *, struct table_work *, int code);
/* The table. 0, or an exit code, reported. */
int table_work_open(const struct args *, struct table_work *, const char *name);
int table_work_end(const struct args *, struct table_work *, int code);
/* code, or what the failed call makes of it, reported. */
int table_work_check(const struct args *, const struct table_work *, helios_status);

/* The columns of an index, HELIOS_PRIMARY too. 0, or an exit code, reported. */
struct key_columns {
    const char *const *names;
    size_t count;
};
int table_key_find(const struct args *, const helios_schema *, const char *index, struct key_columns *);
/* The same, reported: 0 or an exit code. */
int table_column_find(const struct args *, const helios_schema *, const char *name, size_t *place);

/* The primary key's and the others (indexes.c). */
struct json_object *indexes_json(const helios_schema *);
void indexes_print(const helios_schema *);

/* "decimal(2)" */
enum { TYPE_TEXT_SIZE = 32 };
void type_text(const helios_column *, char out[TYPE_TEXT_SIZE]);

#endif
