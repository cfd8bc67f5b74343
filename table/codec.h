/* codec.h - bytes of values: in rows, where they are small, and in keys, where their order is that of the values.
 * docs/format.md, "Rows" and "Index entries", has every byte. Pure; any thread. */
#ifndef HELIOS_TABLE_CODEC_H
#define HELIOS_TABLE_CODEC_H
#include "base/coding.h"
#include "table/value.h"

enum {
    COLUMNS_MAX = 1000,
    KEY_COLUMNS_MAX = 16,
    INDEX_KEY_MAX = 60 * 1024,
    ROW_FORMAT = 1,
    ROW_ID_SIZE = 8,
    ROW_KEY_SIZE = 12,
};

/* ---- values ---- */

/* A value of the type, as value_coerce() gives it; not NULL. */
helios_status value_encode(helios_buf *out, const helios_value *) CHECKED;
/* Sets r->bad for what value_encode() would not have written. Bytes are borrowed from the reader's; a vector's numbers go to
 * *floats, which moves on. */
void value_decode(struct reader *r, helios_type type, uint32_t scale, float **floats, helios_value *out);

/* ---- rows ---- */

/* What a row was written by: enough to read it, whatever became of its columns. */
struct layout_column {
    uint32_t id, scale;
    helios_type type;
};
struct layout {
    uint32_t id, count;
    struct layout_column columns[];
};

/* values: one for each column, coerced, none of them NONE. */
helios_status row_encode(helios_buf *out, uint32_t layout, const helios_value *values, size_t count) CHECKED;
/* The layout of a row; 0: no row has that. */
uint32_t row_layout(helios_slice row);
/* The values in the order of the layout; what they point to is in the row and in floats, which has room for row.size / 4. False: damaged. */
bool row_decode(helios_slice row, const struct layout *, float *floats, helios_value *values);

/* ---- keys ---- */

/* Appends the value, coerced or NULL, so that bytes are in the order of values, NULL first, and equal only for equal ones. */
helios_status key_encode(helios_buf *out, const helios_value *) CHECKED;

void row_key_put(unsigned char out[ROW_KEY_SIZE], uint32_t table, uint64_t row);

#endif
