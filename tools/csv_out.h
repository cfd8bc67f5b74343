/* csv_out.h - one line of CSV or TSV, field by field. */
#ifndef HELIOS_TOOLS_CSV_OUT_H
#define HELIOS_TOOLS_CSV_OUT_H
#include "tools/heliosctl.h"

struct csv_out {
    FILE *file;
    bool tabs;
    size_t fields; /* in the line so far */
};
void csv_out_field(struct csv_out *, const void *data, size_t size);
void csv_out_end(struct csv_out *);

#endif
