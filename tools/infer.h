/* infer.h - the columns of a table, and their types, out of rows of a file. */
#ifndef HELIOS_TOOLS_INFER_H
#define HELIOS_TOOLS_INFER_H
#include "tools/cells.h"

struct infer;
struct infer *infer_new(void);
void infer_free(struct infer *);
void infer_row(struct infer *, const struct cells *);
/* In the order in which they were first met. Allocates; the names are borrowed from infer. */
helios_column *infer_columns(const struct infer *, size_t *count);

#endif
