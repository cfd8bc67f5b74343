/* layers.h - which of the layers that a branch is made of may hold a key, asked of all filters at once: a filter's line is
 * far away in memory, and ten that are fetched together cost little more than one. Used by read.c. */
#ifndef HELIOS_ENGINE_LAYERS_H
#define HELIOS_ENGINE_LAYERS_H
#include "engine/engine_internal.h"

enum { LAYERS_AT_ONCE = 16 };

struct layer {
    helios_branch_id branch;
    helios_seq seq; /* the read point there */
    uint64_t hash;  /* of the key on it */
    bool may_hold;  /* false is certain */
};

/* The caller fills in branch and seq, and may_hold where the layer is to be looked at in any case; layers_ask the rest.
 * key begins with a branch, any: these bytes are written to; the hasher is the key's. The view is counted, or the
 * caller inside an epoch. */
void layers_ask(const struct view *, helios_slice key, const struct key_hasher *, struct layer *layers,
                size_t count);

#endif
