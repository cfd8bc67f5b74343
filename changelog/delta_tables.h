/* delta_tables.h - the tables that deltas are asked of: prefixes of keys in a space, none of which begins another's. */
#ifndef HELIOS_CHANGELOG_DELTA_TABLES_H
#define HELIOS_CHANGELOG_DELTA_TABLES_H
#include "base/buf.h"

struct delta_table {
    uint8_t space;
    helios_buf prefix, end; /* end: the first key behind them */
    bool has_end;
    uint32_t place; /* among all of them by space and prefix: that one's index */
};

struct delta_tables {
    struct delta_table *tables; /* as they were given */
    uint32_t count;
};

/* Given NULL: all of the program's keys. HELIOS_INVALID. */
helios_status delta_tables_init(struct delta_tables *, const helios_delta_table *given, size_t count) CHECKED;
void delta_tables_release(struct delta_tables *);
/* The table of a key, or NULL. */
const struct delta_table *delta_tables_find(const struct delta_tables *, uint8_t space, helios_slice key);
/* The next table, from place *at on (0 at first), that [from, to) meets, or NULL; *at is behind it then. */
const struct delta_table *delta_tables_meet(const struct delta_tables *, uint32_t *at, uint8_t space,
                                            helios_slice from, helios_slice to);
/* What the prefixes of all have in common, borrowed. */
helios_slice delta_tables_common(const struct delta_tables *);
/* Whether one is not of the program's keys. */
bool delta_tables_other_spaces(const struct delta_tables *);

#endif
