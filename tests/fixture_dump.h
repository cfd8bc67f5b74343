/* fixture_dump.h - all that a database shows, as text: for the databases in tests/fixtures, their maker and their test. */
#ifndef HELIOS_TESTS_FIXTURE_DUMP_H
#define HELIOS_TESTS_FIXTURE_DUMP_H
#include "helios/helios.h"
#include <stdio.h>

/* As they are opened by both, so that an open lets nothing go. */
helios_options fixture_options(void);
/* States of all branches, tags, versions, commits, merges, the feed and its consumers. Aborts on a failure. */
void fixture_dump(helios_db *, FILE *);
/* A copy of a directory with all that is in it; `to` is made anew. */
void fixture_copy(const char *from, const char *to);

#endif
