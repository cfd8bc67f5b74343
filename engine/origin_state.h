/* origin_state.h - what an open database knows of the changes it has applied. Part of struct helios_db; origins.c. */
#ifndef HELIOS_ENGINE_ORIGIN_STATE_H
#define HELIOS_ENGINE_ORIGIN_STATE_H
#include "base/buf.h"
#include "base/thread.h"
#include <stdatomic.h>

struct origins {
    struct mutex mu; /* one apply at a time; above all other locks of the engine */
    _Atomic helios_seq
        first; /* at or below the key of the first row: what is numbered below is this database's; 0: there is none */

    struct mutex clock_mu; /* below all other locks; changes of the clock also under mu */
    helios_buf clock;      /* what was applied, without an entry for this database */
};

#endif
