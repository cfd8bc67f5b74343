/* api_misuse.h - one wrong call of the public API, for fuzz_api.c. */
#ifndef HELIOS_FUZZ_API_MISUSE_H
#define HELIOS_FUZZ_API_MISUSE_H
#include "helios/helios.h"

/* What the calls are made with; each argument may be left out by the input. A handle that is not there is NULL. */
struct misuse {
    uint8_t (*byte)(void *arg); /* of the input */
    void *arg;
    helios_db *db;
    helios_batch *batch;
    helios_iter *iter;
    helios_txn *txn;
    helios_history *history;
    helios_commits *commits;
    helios_diff *diff;
    helios_changes *changes;
};

/* Calls one function, with NULL in places that the input says, or an option struct of a size and with bytes that it says.
 * Asserts that NULL where none is allowed is refused, and an option that is not known HELIOS_UNSUPPORTED. */
void api_misuse(const struct misuse *);

#endif
