/* cursor.h - a walk over (key, tag, value) in internal order: what a memtable, a table, a level and a
 * merge of them look like to whoever reads them. The current entry stands in the fields, so that a
 * step costs one indirect call and looking costs none.
 *
 * A cursor at a read point yields, for each key, the newest version numbered at or below it and no
 * other; a cursor over all versions yields every one. Tombstones are yielded; range deletes are not
 * (they are asked for apart). An error makes the cursor invalid and stays in `status` until the next
 * first, last or seek. Key and value are borrowed until the next move. One thread at a time. */
#ifndef HELIOS_BASE_CURSOR_H
#define HELIOS_BASE_CURSOR_H
#include "base/key.h"
#include "base/status.h"

#define CURSOR_ALL UINT64_MAX /* the read point that means: every version */

struct cursor;

enum { APPROACH_STAGES = 3 };

struct cursor_ops {
    void (*first)(struct cursor *);
    void (*last)(struct cursor *); /* the last key; over all versions, its oldest one */
    /* The first entry at or after (key, tag) in internal order. At a read point the tag is ignored:
     * the first key >= key. */
    void (*seek)(struct cursor *, helios_slice key, uint64_t tag);
    /* The last entry at or before key: at a read point, the last key <= key; over all versions, the
     * oldest version of the last key <= key. */
    void (*seek_for_prev)(struct cursor *, helios_slice key);
    void (*next)(struct cursor *); /* only while valid */
    void (*prev)(struct cursor *); /* only while valid; over all versions: not supported by merges */
    /* Loads a value that was left on disk (value_large): sets value. Sets status on failure and
     * returns it. Called by cursor_value() only. */
    helios_status (*load)(struct cursor *);
    void (*free)(struct cursor *);
    /* Part of a seek at a read point, which must follow with the same key: whoever seeks with several cursors takes each
     * through stage 0, then each through stage 1 and so on. A stage asks for the memory that the next one looks at, so
     * that all cursors wait together. The cursor shows nothing from here to the seek. NULL: nothing can be asked for. */
    void (*approach)(struct cursor *, helios_slice key, unsigned stage);
};

struct cursor {
    const struct cursor_ops *ops;
    helios_slice key;
    uint64_t tag;
    helios_slice value;
    helios_status status; /* HELIOS_OK unless invalid by an error; the text is in `error` */
    bool valid;
    bool value_large;         /* value.size is right but value.data is NULL until cursor_value() */
    struct error_note *error; /* owner's; set together with status; may be NULL */
};

static inline void cursor_first(struct cursor *c)
{
    c->ops->first(c);
}
static inline void cursor_last(struct cursor *c)
{
    c->ops->last(c);
}
static inline void cursor_seek(struct cursor *c, helios_slice key, uint64_t tag)
{
    c->ops->seek(c, key, tag);
}
static inline void cursor_approach(struct cursor *c, helios_slice key, unsigned stage)
{
    if (c->ops->approach)
        c->ops->approach(c, key, stage);
}
static inline void cursor_seek_for_prev(struct cursor *c, helios_slice key)
{
    c->ops->seek_for_prev(c, key);
}
static inline void cursor_next(struct cursor *c)
{
    c->ops->next(c);
}
static inline void cursor_prev(struct cursor *c)
{
    c->ops->prev(c);
}
static inline void cursor_free(struct cursor *c)
{
    if (c)
        c->ops->free(c);
}

/* The value, loaded if it was left on disk. */
static inline helios_status cursor_value(struct cursor *c, helios_slice *value)
{
    if (c->value_large && !c->value.data) {
        helios_status status = c->ops->load(c);

        if (status != HELIOS_OK)
            return status;
    }
    *value = c->value;
    return HELIOS_OK;
}

#endif
