/* later.c - names of the public header whose rooms are not built yet. Each refuses clearly and changes
 * nothing, so that programs link against one header; a name leaves this file when its room arrives. */
#include "engine/engine_internal.h"

static helios_status not_yet(const char *what)
{
    return fail(HELIOS_UNSUPPORTED, "%s: not in version %s", what, helios_version_string());
}

#define REFUSE(name, arguments)                                                                                \
    helios_status name arguments                                                                               \
    {                                                                                                          \
        return not_yet(#name);                                                                                 \
    }

REFUSE(helios_changes_new, (helios_db * db, const helios_changes_options *options, helios_changes **changes))
REFUSE(helios_changes_next, (helios_changes * changes, uint64_t timeout, helios_change *change))
REFUSE(helios_changes_ack, (helios_changes * changes, helios_seq lsn))
#undef REFUSE

/* None of these handles can exist yet. */
void helios_changes_free(helios_changes *changes) {}
