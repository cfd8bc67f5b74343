/* derived.h - a consumer of the change feed that keeps a copy of what it reads, in the same database under other keys,
 * and commits its position with each piece of it: what it has done follows from the acknowledged part of the feed, exactly
 * once. And the judge that says whether it does; shared by tests that kill it.
 *
 * Below "in/" others write, any of a few keys; the copy of in/7 is out/NAME/in/7, the hash of the value. Under
 * state/NAME stands how many entries there were and a hash over all of them in their order. */
#ifndef HELIOS_TESTS_DERIVED_H
#define HELIOS_TESTS_DERIVED_H
#include "base/random.h"
#include "engine/engine_internal.h"

enum { DERIVED_KEYS = 60 };

/* Of the entries up to an lsn. */
struct derived_state {
    uint64_t count, chain;
    helios_seq last;
    uint64_t hash[DERIVED_KEYS]; /* of the values; 0: absent */
};

struct derived {
    const char *name;
    bool images, expand, unsynced;
    helios_changes *changes;
    helios_batch *batch;
    uint64_t count, chain;
    helios_seq read;             /* the last entry */
    unsigned ready;              /* entries in the batch */
    struct derived_state judged; /* as far as it was judged */
};

helios_slice derived_key(unsigned key, char out[32]); /* in/07 */

/* A commit below in/ of several operations; large: one that goes into tables. */
helios_status derived_write(helios_db *, struct random *, bool large);

/* From what the database has. Any failure is the caller's to judge. */
helios_status derived_begin(struct derived *, helios_db *);
/* Up to `most` entries, fewer where there are none: HELIOS_OK all the same. */
helios_status derived_read(struct derived *, uint64_t timeout, unsigned most);
/* What was read, with the position, as one commit. */
helios_status derived_commit(struct derived *, helios_db *, helios_durability);
void derived_end(struct derived *);

/* After an open, before anything else: what stands there is made of the feed up to what it has acknowledged. Ends the process, with
 * a sentence, if not. Gives the position. */
helios_seq derived_judge(struct derived *, helios_db *);

#endif
