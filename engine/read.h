/* read.h - the read point of a call, and the look-up that get, multi_get and later rooms share. */
#ifndef HELIOS_ENGINE_READ_H
#define HELIOS_ENGINE_READ_H
#include "engine/engine_internal.h"

struct helios_snapshot {
    struct helios_db *db;
    helios_seq seq; /* 0: before the first commit */
    pin_id pin;
};

/* Fills in what was not given and checks it; branch unknown or dropped: HELIOS_NOT_FOUND. */
helios_status read_options(struct helios_db *, const helios_read_options *given,
                           helios_read_options *out) CHECKED;

/* Where to read: a number, and whether it means "latest" (then seq is loaded after the view). */
struct read_point {
    helios_seq seq;
    bool latest;
    bool pinned;
    bool dropped; /* a dropped branch is read too: the caller's floor, below the drop, keeps what it had */
};
/* Resolves at and snapshot. A point above the visible number is HELIOS_INVALID. */
helios_status read_point_of(struct helios_db *, const helios_read_options *, struct read_point *) CHECKED;
/* A pin for it that lasts: iterators, snapshots. *seq gets the number. HELIOS_HISTORY_GONE. A snapshot is of all
 * branches, so that a tag, which pins its own, is no ground for it. */
helios_status read_point_pin(struct helios_db *, const helios_read_options *, helios_pin_kind, pin_id *,
                             helios_seq *seq) CHECKED;
/* The newest version of a key with its layer, at a point. */
helios_status read_at(struct helios_db *, const struct read_point *, bool fill_cache, helios_slice key,
                      helios_buf *value) CHECKED;
/* What decides about a key with its layer now, deletions included: the commit that made it (0: none ever did, that is
 * known), and whether that is a value; which goes into *value if that is not NULL. */
struct newest {
    helios_seq seq;
    bool present;
};
helios_status read_newest(struct helios_db *, helios_slice key, struct newest *, helios_buf *value) CHECKED;
/* helios_get and helios_iter_new in any space. */
helios_status get_in(struct helios_db *, uint8_t space, const helios_read_options *, helios_slice key,
                     helios_buf *value) CHECKED;
helios_status iter_new_in(struct helios_db *, uint8_t space, const helios_read_options *,
                          helios_iter **) CHECKED;
/* Whether the key lies within the file's bounds. */
bool file_holds(const struct table_file *, helios_slice key);
helios_status fail_history_gone(struct helios_db *, helios_seq seq);
/* A walk of the engine's own over [lower, upper) of any space (no data: as far as it goes), at seq, by the same
 * calls as a user's. The caller keeps the point readable (a pin, or SEQ_MAX where there is nothing to collect)
 * and frees it before the database is closed: close does not look for it. */
helios_status iter_new_internal(helios_db *, helios_branch_id, uint8_t space, helios_slice lower,
                                helios_slice upper, helios_seq seq, helios_iter **) CHECKED;

/* The same on a branch that the caller holds, and without filling the cache if asked. */
struct state_walk {
    helios_branch_id branch;
    uint8_t space;
    helios_slice lower, upper;
    helios_seq seq;
    bool fill_cache;
};
helios_status iter_new_state(helios_db *, const struct state_walk *, helios_iter **) CHECKED;
/* Bytes of the value that it stands on, without loading it. */
size_t iter_value_size(const helios_iter *);

/* The user key with its layer: on the caller's stack while it is small. */
struct layered {
    unsigned char small[256];
    void *large;
    helios_slice key;
};
helios_status layered_init(struct layered *, helios_branch_id, uint8_t space, helios_slice key) CHECKED;
static inline void layered_release(struct layered *l)
{
    if (l->large)
        mem_free(l->large);
}

#endif
