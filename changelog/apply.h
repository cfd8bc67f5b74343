/* apply.h - one commit of another node on its way into this database. apply.c checks what came, and commits; apply_decide.c
 * holds it against what is here. */
#ifndef HELIOS_CHANGELOG_APPLY_H
#define HELIOS_CHANGELOG_APPLY_H
#include "engine/gate.h"
#include "engine/origins.h"

/* One operation on a key, of those that came. */
struct apply_point {
    size_t op;                                            /* in `came` */
    enum { POINT_TAKEN, POINT_KEPT, POINT_OURS } outcome; /* theirs; what is here; an own decision */
};

struct applying {
    struct helios_db *db;
    const helios_apply_options *options;
    const helios_change *first; /* of its entries: what is the same in all */
    helios_seq commit;          /* there */
    unsigned __int128 sum;      /* of its clock */
    helios_branch_id branch;    /* here */
    struct origin_rows rows;
    uint64_t conflicts;

    struct helios_batch came;   /* as they came, settled */
    const helios_change **from; /* of each its entry */
    struct apply_point *points; /* by space and key, of each key one */
    size_t point_count;

    /* Decided. */
    struct helios_batch pieces; /* range deletes, without the keys that stay */
    helios_buf piece_lsns;      /* u64 each */
    struct helios_batch own;    /* in any order, of each key one */

    helios_buf ours, value, clock; /* for the call-back */
};

/* Fills in outcomes, pieces and own. The gate of the branch is closed. */
helios_status apply_decide(struct applying *) CHECKED;
/* Where the key stands, or would, among the points. */
size_t apply_find_point(const struct applying *, uint8_t space, helios_slice key, bool *found);

#endif
