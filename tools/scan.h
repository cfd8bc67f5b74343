/* scan.h - a bounded walk over a database, for commands that read many keys. */
#ifndef HELIOS_TOOLS_SCAN_H
#define HELIOS_TOOLS_SCAN_H
#include "tools/heliosctl.h"

struct bounds {
    helios_slice lower, upper; /* owned; data NULL: open */
};
/* From --prefix, or --from and --to. 0 or an exit code, reported. */
int bounds_take(const struct args *, struct bounds *);
void bounds_release(struct bounds *);

struct walk {
    struct bounds bounds;
    helios_db *db;
    helios_iter *iter;
};
/* Opens the database for reading and an iterator on it. 0 or an exit code, reported; then nothing is open. */
int walk_begin(struct args *, struct walk *, bool keys_only);
/* Closes both; a failed walk is reported and becomes the code. */
int walk_end(struct args *, struct walk *, int code);

/* {"key":...,"value":...,"seq":...}; a NULL value and a seq of 0 are left out. */
void pair_print_json(FILE *, helios_slice key, const helios_slice *value, helios_seq seq);

#endif
