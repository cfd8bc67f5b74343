/* cells.h - a row as text: cells by the names of their columns, from a file or the command line; and as values of a table's
 * columns. */
#ifndef HELIOS_TOOLS_CELLS_H
#define HELIOS_TOOLS_CELLS_H
#include "tools/heliosctl.h"

struct json_object;

enum cell_kind {
    CELL_NULL,
    CELL_TEXT, /* of CSV, or the command line: what the column says; empty is CELL_NULL */
    /* Of JSON. */
    CELL_STRING,
    CELL_NUMBER,
    CELL_BOOL,
    CELL_NESTED, /* an array or an object */
};
struct cell {
    const char *name;
    enum cell_kind kind;
    helios_slice text; /* of a string its content, of all else that is JSON its JSON */
    helios_slice json; /* of what is JSON */
};

/* Names and texts stay who handed them in's. */
struct cells {
    struct cell *items;
    size_t count, capacity;
};
void cells_clear(struct cells *);
void cells_release(struct cells *);
void cells_add_text(struct cells *, const char *name, helios_slice text);
/* Each member. False: a number is beyond 64 bits, and not known exactly; NUMBER_PROBLEM says so. */
bool cells_add_object(struct cells *, struct json_object *);
#define NUMBER_PROBLEM "a number is too large to be taken exactly: put it in quotes"

/* A row's values in the order of a schema's columns. */
struct row_values {
    helios_value *items;
    helios_buf *memory; /* what they point to, where it is not the cells */
    size_t count;
};
void row_values_begin(struct row_values *, const helios_schema *);
void row_values_release(struct row_values *);
/* Columns without a cell are as HELIOS_TYPE_NONE. False: problem says which cell is wrong, and why. */
enum { PROBLEM_SIZE = 256 };
bool row_values_take(struct row_values *, const helios_schema *, const struct cells *,
                     char problem[PROBLEM_SIZE]);

/* A key's values out of a word: the whole of it, or, of several columns, its parts between commas. True: *count of them;
 * at most `columns`. */
bool key_values_take(struct row_values *, const helios_schema *, const char *const *columns,
                     size_t column_count, const char *word, size_t *count, char problem[PROBLEM_SIZE]);

/* The column's place; its count: there is none. */
size_t table_column_named(const helios_schema *, const char *name);

#endif
