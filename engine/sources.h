/* sources.h - all that the current view holds of a range of keys: one cursor over its memtables and tables,
 * and the range deletes that lie beside. What iterators, histories and comparisons read. One thread at a time.
 *
 * Of a branch, on request, with what shows through from its ancestors; or of spans, what was written into some
 * layers between two numbers: then keys come, and are asked for, without their branch (base/merge.h). */
#ifndef HELIOS_ENGINE_SOURCES_H
#define HELIOS_ENGINE_SOURCES_H
#include "branch/registry.h"
#include "engine/engine_internal.h"

/* What was written into a branch's layer in (since, at]: of each such key the newest of these versions, files, blocks and
 * memtables that have none are not touched; of the range deletes, those numbered so. */
struct span {
    helios_branch_id branch;
    helios_seq since, at;
};

struct sources_options {
    helios_slice lower,
        upper;             /* keys with their layer: [lower, upper); their branch is not looked at with spans */
    helios_seq read_point; /* CURSOR_ALL: every version; not looked at with spans */
    const struct branch *branch; /* with its ancestors, at a read point; NULL: the layer of the bounds alone */
    const struct span *spans;    /* instead of all of these; NULL: none */
    size_t span_count;
    bool fill_cache;
    /* A transaction's own writes, above all numbers: one more cursor, taken over also on failure, and its range deletes,
     * which hide what is below `own_ranges`' numbers; NULL: none. */
    struct cursor *own;
    struct rangedel_set *own_ranges;
};

struct sources {
    struct view *view; /* counted; NULL: nothing is open */
    struct cursor *cursor;
    bool merged;         /* it is one of several, or of layers */
    helios_seq *newests; /* of each cursor in it: nothing that it yields is numbered above */
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
/* While the cursor walks forward: the key that it stands on is hidden by the newest range delete over it. Passes over what
 * else that one hides, as far as it is known without a look at each: sources that are older as a whole. *far false: there
 * was nothing to pass over, and a step is what is left. `end`: where the walk ends at the latest. */
helios_status sources_pass_deleted(struct sources *, helios_slice end, bool *far) CHECKED;
/* The same, with how far it holds at least: *to, in the form of keys here; no data: to the end of the layer. The number
 * is the same for all keys in [key, *to). */
helios_status sources_cover_piece(struct sources *, helios_slice key, helios_seq *seq,
                                  helios_slice *to) CHECKED;
/* Of spans: the first piece that a range delete covers and that ends above the key, which must not fall from call to
 * call. A piece may begin below the key; no data: it begins or ends outside the layer. *there false: there is none.
 * Fails only with HELIOS_NO_MEMORY. */
struct deleted_piece {
    helios_slice from, to;
};
helios_status sources_deleted_piece(struct sources *, helios_slice key, struct deleted_piece *,
                                    bool *there) CHECKED;
/* Whether any range delete lies on the branch. */
bool sources_deletes_on(const struct sources *, helios_branch_id);
/* The same at or below any limit; not over ancestors. */
helios_seq sources_newest_delete(const struct sources *, helios_slice key, helios_seq limit);

#endif
