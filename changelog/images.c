/* images.c - the state before a change: images, and the keys that a range delete hit. Called by entries.c.
 *
 * It is the branch's state at the number before the commit, kept readable by a floor that follows the cursor, with what
 * the commit itself did before. A branch may have been dropped since: its drop is above the floor, so that what it
 * had is still there. */
#include "changelog/changes_internal.h"
#include "engine/branches.h"
#include "engine/read.h"
#include <inttypes.h>

enum { FLOOR_STEP = 256 }; /* numbers; a floor that follows each entry would cost more than the entry */

helios_status floor_follow(helios_changes *c, bool now)
{
    pin_id old = c->floor, floor;
    helios_status status;

    if (!changes_look_back(c) ||
        (old && (c->next == c->floor_at || (!now && c->next < c->floor_at + FLOOR_STEP))))
        return HELIOS_OK;
    status = feed_floor_acquire(c->db, c->next, &floor);
    if (status != HELIOS_OK)
        return old ? HELIOS_OK : status; /* the old one holds what is needed, and more */
    c->floor = floor;
    c->floor_at = c->next;
    feed_floor_release(c->db, old);
    return HELIOS_OK;
}

/* ---- one key ---- */

/* After the read: what is collected of a dropped branch is collected after it is known as garbage. */
static helios_status check_branch(const helios_changes *c, helios_branch_id branch)
{
    if (branch == 0 || (branch_at(c->db, branch) && !branch_is_garbage(c->db, branch)))
        return HELIOS_OK;
    return fail(HELIOS_HISTORY_GONE,
                "commit %" PRIu64 " wrote on branch %u, which was dropped before this cursor was made: what"
                " was there before is not kept",
                c->commit.last, branch);
}

static helios_status read_before(helios_changes *c, const struct op *op, struct change_entry *e)
{
    const struct read_point point = {.seq = c->commit.record.first - 1, .pinned = true, .dropped = true};
    struct layered key;
    helios_status status = layered_init(&key, op->branch, op->space, op->key), found;

    if (status != HELIOS_OK)
        return status;
    found = read_at(c->db, &point, true, key.key, &e->before);
    layered_release(&key);
    if (found != HELIOS_OK && found != HELIOS_NOT_FOUND)
        return found;
    e->change.has_before = found == HELIOS_OK;
    e->change.before = buf_slice(&e->before);
    return check_branch(c, op->branch);
}

helios_status image_before(helios_changes *c, const struct op *op, uint32_t index, struct change_entry *e)
{
    helios_slice value;
    bool covered = false;
    helios_status status = HELIOS_OK;

    if (c->commit.tables)
        status = ingested_covers(c->commit.tables, op, &covered);
    if (status != HELIOS_OK || covered)
        return status;
    switch (own_look(&c->commit.own, op, index, &value)) {
    case OWN_DELETED: return HELIOS_OK;
    case OWN_PUT:
        e->change.has_before = true;
        e->change.before = value;
        return HELIOS_OK;
    default: return read_before(c, op, e);
    }
}

/* ---- the keys of a range ---- */

static helios_slice later(helios_slice a, helios_slice b)
{
    return slice_compare(a, b) > 0 ? a : b;
}

static helios_slice earlier(helios_slice a, helios_slice b)
{
    return slice_compare(a, b) < 0 ? a : b;
}

/* The next piece of the range that is wanted; false: there is none. */
static bool next_piece(helios_changes *c)
{
    struct expansion *x = &c->commit.expansion;
    const struct delta_table *table;

    x->lower = x->range.key;
    x->upper = x->range.value;
    if (c->has_prefix)
        x->lower = later(x->lower, buf_slice(&c->prefix));
    if (c->has_prefix_end)
        x->upper = earlier(x->upper, buf_slice(&c->prefix_end));
    if (!c->tables)
        return x->table++ == 0;
    table = delta_tables_meet(c->tables, &x->table, x->range.space, x->lower, x->upper);
    if (!table)
        return false;
    x->lower = later(x->lower, buf_slice(&table->prefix));
    if (table->has_end)
        x->upper = earlier(x->upper, buf_slice(&table->end));
    return true;
}

static helios_status open_piece(helios_changes *c)
{
    struct expansion *x = &c->commit.expansion;
    const struct state_walk walk = {
        .branch = x->range.branch,
        .space = x->range.space,
        .lower = x->lower,
        .upper = x->upper,
        .seq = c->commit.record.first - 1,
    };
    helios_iter *tree = NULL;
    helios_status status = iter_new_state(c->db, &walk, &tree);

    if (status != HELIOS_OK)
        return status;
    helios_iter_free(x->tree);
    x->tree = tree;
    x->own = own_find(&c->commit.own, x->range.branch, x->range.space, x->lower);
    helios_iter_first(x->tree);
    return HELIOS_OK;
}

helios_status expansion_open(helios_changes *c, const struct op *op, uint32_t index)
{
    struct expansion *x = &c->commit.expansion;
    helios_status status = check_branch(c, op->branch);

    x->range = *op;
    x->index = index;
    x->table = 0;
    if (status == HELIOS_OK && next_piece(c)) /* there is one, or the range is not wanted */
        status = open_piece(c);
    return status;
}

void expansion_close(helios_changes *c)
{
    helios_iter_free(c->commit.expansion.tree);
    c->commit.expansion.tree = NULL;
}

/* value: given by an operation of the commit; NULL: the tree's. */
static helios_status show_key(helios_changes *c, struct change_entry *e, helios_slice key,
                              const helios_slice *value)
{
    const struct change_commit *k = &c->commit;
    const struct expansion *x = &k->expansion;
    helios_slice before = {0};
    helios_status status = buf_set(&e->key, key.data, key.size);

    e->large = false;
    e->change = (helios_change){
        .lsn = k->record.first + x->index,
        .commit = k->last,
        .time = k->record.time,
        .branch = x->range.branch,
        .kind = HELIOS_CHANGE_DELETE,
        .space = x->range.space,
        .key = buf_slice(&e->key),
    };
    if (status == HELIOS_OK)
        status = change_origin_tell(c, &e->change);
    if (status != HELIOS_OK || !c->images)
        return status;
    before = value ? *value : helios_iter_value(x->tree);
    if (!before.data)
        return helios_iter_status(x->tree);
    status = buf_set(&e->before, before.data, before.size);
    e->change.has_before = status == HELIOS_OK;
    e->change.before = buf_slice(&e->before);
    return status;
}

/* The next of the commit's own keys in the range, or NULL. */
static const struct own_op *own_here(const helios_changes *c)
{
    const struct expansion *x = &c->commit.expansion;
    const struct own *own = &c->commit.own;
    const struct own_op *op = x->own < own->count ? &own->ops[x->own] : NULL;

    return op && op->branch == x->range.branch && op->space == x->range.space &&
                   slice_compare(op->key, x->upper) < 0
               ? op
               : NULL;
}

/* Both walks are in order: the smaller key is next, and where they meet the commit's own operations say what it was. */
helios_status expansion_next(helios_changes *c, struct change_entry *e, bool *there)
{
    struct expansion *x = &c->commit.expansion;
    helios_status status = HELIOS_OK;

    for (*there = false; status == HELIOS_OK && !*there;) {
        const struct own_op *own = own_here(c);
        bool tree = helios_iter_valid(x->tree);
        struct op op = x->range;
        helios_slice value;
        enum own_state state;
        int order;

        if (!tree)
            status = helios_iter_status(x->tree);
        if (status != HELIOS_OK)
            return status;
        if (!own && !tree) {
            if (!next_piece(c))
                break;
            status = open_piece(c);
            continue;
        }
        order = !own ? 1 : !tree ? -1 : slice_compare(own->key, helios_iter_key(x->tree));
        op.key = order <= 0 ? own->key : helios_iter_key(x->tree);
        state = own_look(&c->commit.own, &op, x->index, &value);
        *there = state == OWN_PUT || (state == OWN_UNTOUCHED && order >= 0);
        if (*there)
            status = show_key(c, e, op.key, state == OWN_PUT ? &value : NULL);
        if (order >= 0)
            helios_iter_next(x->tree);
        if (order <= 0)
            x->own = own_key_end(&c->commit.own, x->own);
    }
    return status == HELIOS_OK ? check_branch(c, x->range.branch) : status;
}
