/* row_ids.h - counters from which tables take their rows' ids, and the catalog its own: one for each table, of the whole
 * database, so that no id is given on two branches.
 *
 * A counter's entry in the system space says below which number ids may have been handed out; it is raised by a block ahead,
 * by a commit of its own, before the first id of the block is given. The log is kept from its beginning up to where a crash
 * cuts it: whoever finds a row finds what its id was reserved by, and no id is given twice. Blocks begin with one id and
 * double, so that a program that inserts one row an open leaves no gaps. */
#ifndef HELIOS_ENGINE_ROW_IDS_H
#define HELIOS_ENGINE_ROW_IDS_H
#include "base/status.h"
#include "base/thread.h"

enum { ROW_IDS_KEY = 'R' /* begins the entries' keys */ };
enum { ROW_IDS_CATALOG = 0 /* no table has this id: the counter of tables, columns, indexes and layouts */ };
#define ROW_ID_MAX (UINT64_MAX - 1)

struct row_counter {
    uint32_t table;
    uint64_t next, limit; /* ids in [next, limit) are reserved and not yet given */
    uint64_t block;
};

struct row_ids {
    /* Before every other lock of the engine: held across the commit that reserves. */
    struct mutex mu;
    struct row_counter *counters; /* by table */
    size_t count, capacity;
};

void row_ids_init(struct row_ids *);
void row_ids_release(struct row_ids *);

/* `count` ids in a row, the first at *first. HELIOS_LIMIT when there are no more; as a write. */
helios_status row_ids_take(struct helios_db *, uint32_t table, uint64_t count, uint64_t *first) CHECKED;
/* No id up to this one will be taken any more. */
helios_status row_ids_raise(struct helios_db *, uint32_t table, uint64_t id) CHECKED;

#endif
