/* change_out.h - one entry of the change feed as a line: for people, or as the JSON object that change data capture tools
 * know. */
#ifndef HELIOS_TOOLS_CHANGE_OUT_H
#define HELIOS_TOOLS_CHANGE_OUT_H
#include "tools/branches.h"

/* {0} and args to start; change_out_begin() for each open of the database. */
struct change_out {
    const struct args *args;
    helios_db *db;
    bool json, colours, header_done;
    helios_branch_id branch; /* the name below is its; entries of one branch come together */
    char branch_name[BRANCH_TEXT_SIZE];
};
void change_out_begin(struct change_out *, helios_db *);
void change_print(struct change_out *, const helios_change *);

#endif
