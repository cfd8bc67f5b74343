/* at.h - the read point that a command was asked for: --at, and others of its kind. */
#ifndef HELIOS_TOOLS_AT_H
#define HELIOS_TOOLS_AT_H
#include "tools/heliosctl.h"
#include "tools/point.h"

/* The text behind an option (NULL: the latest) as a point. 0, or an exit code, reported. */
int at_parse(const struct args *, const char *option, const char *text, struct point *);
/* What it is in a database, as a branch and a number: 0 for the latest, HELIOS_SEQ_NONE for the point before the
 * first commit. The branch is that of --branch; else a tag's own; else main. 0, or an exit code, reported. */
int at_resolve(const struct args *, helios_db *, const struct point *, helios_branch_id *, helios_seq *);

/* The same on a branch by name (NULL: a tag's own, or main). */
int at_resolve_on(const struct args *, helios_db *, const char *name, const struct point *, helios_branch_id *,
                  helios_seq *);

/* report_status(), but HELIOS_HISTORY_GONE says how far back history reaches and what can be done. */
int report_read(const struct args *, helios_db *, helios_status, const char *what);

/* The time of a point: "" where it is not known, the words for a point without a commit. */
void at_time_text(helios_db *, helios_seq, char out[TIME_TEXT_SIZE]);
/* A line for people behind a list: what is older is not all there. */
void at_print_reach(helios_db *, const char *what);
/* Into a JSON object: name: number (null before the first commit), name_time, name_time_micros where known.
 * name "": seq, time, time_micros. */
void at_add_json(struct json_object *, helios_db *, const char *name, helios_seq);
/* name: text, name_micros: number. */
void time_add_json(struct json_object *, const char *name, uint64_t time);

#endif
