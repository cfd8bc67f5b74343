/* ingest.h - a commit through tables of its own instead of the memtable: built and synced first, then reserved and named by
 * its log record. Any size, in the memory of one table writer. */
#ifndef HELIOS_ENGINE_INGEST_H
#define HELIOS_ENGINE_INGEST_H
#include "engine/engine_internal.h"

struct ingest {
    struct compact_result result;
    uint64_t ops, user_bytes; /* the caller's: set before ingest_commit(); one operation or more */
    helios_slice origin;      /* likewise: of an applied commit; no data: it is none */
    bool holds_gate;          /* likewise: of the commit's branch */
};

/* Writes the tables from a cursor over keys with layer in order, each once, with tags of version 1; and range deletes, likewise
 * of version 1 (NULL: none). On failure nothing is left. */
helios_status ingest_build(struct helios_db *, struct cursor *, const struct rangedel_set *,
                           struct ingest *) CHECKED;
/* The same of a settled write set on a branch, which stays as it is. A large one is written in several pieces at once: the
 * threads of the pool that have nothing else to do take part. */
helios_status ingest_build_set(struct helios_db *, helios_branch_id, const struct write_set *,
                               struct ingest *) CHECKED;
/* Commits them on a branch (WAL_BRANCH_MANY: on several). Takes over the footprint (NULL: unknown). txn: validates, may be
 * NULL. On failure nothing is visible and the tables are gone, but where the next open decides. Releases the ingest. */
helios_status ingest_commit(struct helios_db *, helios_branch_id, helios_durability, struct ingest *,
                            struct footprint *, struct helios_txn *, helios_seq *commit) CHECKED;
/* Instead of a commit. */
void ingest_discard(struct helios_db *, struct ingest *);

#endif
