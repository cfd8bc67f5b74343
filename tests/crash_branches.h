/* crash_branches.h - of test_crash.c: a thread that makes branches, writes on them and merges them into main while others
 * write there, and the judge of what a kill has left of that. */
#ifndef HELIOS_TESTS_CRASH_BRANCHES_H
#define HELIOS_TESTS_CRASH_BRANCHES_H
#include "helios/helios.h"
#include <stdatomic.h>

/* Seen by both processes: the merge that was begun last, and the last that was acknowledged. */
struct crash_branches {
    _Atomic uint64_t begun, acknowledged;
};

/* From the merge after the last acknowledged one on, until it is killed. Aborts where a call fails. */
void crash_branches_run(helios_db *, struct crash_branches *);
/* Every acknowledged merge is there, each as a whole, at most the one that was begun beyond. Takes away what is half made. */
void crash_branches_judge(helios_db *, struct crash_branches *);

#endif
