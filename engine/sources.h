/* sources.h - all that the current view holds of a range of keys: one cursor over its memtables and tables,
 * and the range deletes that lie beside. What iterators and histories read. One thread at a time.
 *
 * Of a branch, on request, with what shows through from its ancestors: then keys come, and are asked for,
 * without their branch (branch/layer_cursor.h). */
#ifndef HELIOS_ENGINE_SOURCES_H
#define HELIOS_ENGINE_SOURCES_H
#include "branch/registry.h"
#include "engine/engine_internal.h"

struct sources_options {
    helios_slice lower, upper;   /* keys with their layer: [lower, upper) */
    helios_seq read_point;       /* CURSOR_ALL: every version */
    const struct branch *branch; /* with its ancestors, at a read point; NULL: the layer of the bounds alone */
    bool fill_cache;
    /* A transaction's own writes, above all numbers: one more cursor, taken over also on failure, and its range deletes,
     * which hide what is below `own_ranges`' numbers; NULL: none. */
    struct cursor *own;
    struct rangedel_set *own_ranges;
};

struct sources {
    struct view *view; /* counted; NULL: nothing is open */
    struct cursor *cursor;
    struct cover *covers;
    size_t cover_count;
    helios_buf place; /* a key with its branch */
};

/* *sources is closed or {0}; stays so on failure. */
helios_status sources_open(struct helios_db *, const struct sources_options *, struct sources *) CHECKED;
void sources_close(struct sources *);

/* Whether there is a newer view: who is about to move then opens anew, so that nothing old is held. */
static inline bool sources_stale(const struct sources *sources, const struct helios_db *db)
{
    return !sources->view ||
           sources->view->generation != atomic_load_explicit(&db->generation, memory_order_acquire);
}

/* The newest range delete at or below the read point over the key; 0: none. Remembers what is around the key,
 * for walks. Fails only with HELIOS_NO_MEMORY. */
helios_status sources_cover(struct sources *, helios_slice key, helios_seq *seq) CHECKED;
/* Whether any range delete lies on the branch. */
bool sources_deletes_on(const struct sources *, helios_branch_id);
/* The same at or below any limit; not over ancestors. */
helios_seq sources_newest_delete(const struct sources *, helios_slice key, helios_seq limit);

#endif
