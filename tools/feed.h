/* feed.h - what the commands about the change feed share. */
#ifndef HELIOS_TOOLS_FEED_H
#define HELIOS_TOOLS_FEED_H
#include "tools/at.h"

/* 0; or an exit code, reported: the database keeps no feed. */
int feed_wanted(const struct args *, helios_db *);
/* report_read(), but HELIOS_FEED_TRIMMED says where the feed begins and what can be done. */
int report_feed(const struct args *, helios_db *, helios_status);
/* The first number that a point stands for as a beginning: an lsn itself; what comes behind a tag's point, behind the
 * latest commit. Not of times. 0: the oldest. 0 or an exit code, reported. */
int feed_begin_of(const struct args *, helios_db *, const struct point *, helios_seq *);

#endif
