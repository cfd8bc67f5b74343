/* branches.h - branches as the command line names them: by name or #ID, and NAME@POINT for a state. */
#ifndef HELIOS_TOOLS_BRANCHES_H
#define HELIOS_TOOLS_BRANCHES_H
#include "tools/heliosctl.h"

/* The live branch of that name or, where there is none, of the id behind a #; NULL: main. 0, or an exit code,
 * reported. */
int branch_resolve(const struct args *, helios_db *, const char *name, helios_branch_id *);

/* "A..B" as two read points: each side NAME, NAME@POINT, @POINT (of main), a POINT (of main, or of its tag's branch),
 * or nothing (main). Names win: of several ways to cut the text the first is taken whose branches exist. */
int branch_range_resolve(const struct args *, helios_db *, const char *text, helios_point *from,
                         helios_point *to);

/* The branches that live, by name, then, if asked for, the dropped ones, by id. branch_rows_release() also after a
 * failure. */
struct branch_rows {
    const helios_branch_info **rows;
    size_t count;
    helios_branch_info *list, **dropped; /* what the rows point into */
    size_t dropped_count;
};
helios_status branch_rows_take(helios_db *, bool with_dropped, struct branch_rows *);
helios_status branch_rows_take_at(helios_db *, helios_seq at, struct branch_rows *);
void branch_rows_release(struct branch_rows *);

/* The name; "#7" where it is not known. */
enum { BRANCH_TEXT_SIZE = 264 };
void branch_text(helios_db *, helios_branch_id, char out[BRANCH_TEXT_SIZE]);
/* "NAME@4711", "NAME@start", "NAME" for the latest. */
enum { BRANCH_POINT_TEXT_SIZE = BRANCH_TEXT_SIZE + 24 };
void branch_point_text(helios_db *, helios_point, char out[BRANCH_POINT_TEXT_SIZE]);
struct json_object;
void branch_add_json(struct json_object *, helios_db *, const char *name, helios_branch_id);

/* For the details of commands that take one. */
#define BRANCH_POINT_DOC                                                                                       \
    "A state is written NAME (the latest of a branch), NAME@POINT, or POINT alone (of main; tag:NAME brings "  \
    "its branch along). "

#endif
