/* footprint.h - which keys and ranges one commit writes: small, immutable once it is shared, so that transactions can
 * hold theirs against those of all commits since they began without reading anything else.
 *
 * Counted. Holders: the ring of commits, which drops its count through the epoch, and whoever waits for the outcome.
 * Found inside an epoch. Without one, what a commit wrote is *unknown*. */
#ifndef HELIOS_MVCC_FOOTPRINT_H
#define HELIOS_MVCC_FOOTPRINT_H
#include "base/epoch.h"
#include "base/rangedel.h"
#include "mvcc/read_set.h"
#include "mvcc/write_index.h"
#include <stdatomic.h>

enum { FOOTPRINT_BYTES_MAX = 4096 }; /* of keys and their bookkeeping */

enum footprint_outcome { FOOTPRINT_IN_FLIGHT, FOOTPRINT_COMMITTED, FOOTPRINT_VOID };

struct footprint {
    struct epoch_item item;
    _Atomic uint32_t refs;
    _Atomic uint32_t outcome; /* release: the commit's writer; acquire: whoever decides by it */
    uint64_t ticket;          /* set before it is shared */
    helios_seq last;          /* the commit's number, likewise */
    bool too_big;             /* the keys are not here: as good as unknown */
    uint32_t piece_count, piece_capacity, bytes_used, bytes_capacity;
    struct footprint_piece {
        uint64_t hash; /* of a key; a range has none */
        uint32_t from, from_size, to_size;
        bool range;
    } pieces[]; /* behind them the bytes of the keys, with layer */
};

/* For so many keys and ranges (2 pieces' bytes in one), with key_bytes in all, layers included; above the limit one that
 * is too_big. NULL: no memory, no sentence: the commit is unknown then. */
struct footprint *footprint_new(size_t pieces, size_t key_bytes);
/* Keys without their layer. */
void footprint_add_key(struct footprint *, const unsigned char layer[KEY_LAYER_BYTES], helios_slice key);
void footprint_add_range(struct footprint *, const unsigned char layer[KEY_LAYER_BYTES], helios_slice from,
                         helios_slice to);
struct footprint *footprint_ref(struct footprint *);
void footprint_unref(struct footprint *);  /* NULL is fine */
void footprint_retire(struct footprint *); /* the ring's count, through the epoch; NULL is fine */

/* What a transaction must find unchanged. */
struct conflict_sets {
    const struct write_index *writes;  /* of which those count that no range delete of its own decides about */
    const struct rangedel_set *ranges; /* deleted; NULL: none */
    const struct read_set *reads;      /* settled; NULL: reads do not count */
};
/* Whether the commit wrote any of it; *where gets a key that shows it, borrowed from the footprint or the sets. */
bool footprint_meets(const struct footprint *, const struct conflict_sets *, helios_slice *where);

#endif
