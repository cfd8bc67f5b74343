/* origin.c - where the entries of a cursor came from: their origin, vector clocks, what was given of a node before. Called by
 * entries.c and images.c.
 *
 * The cursor's clock is that of own commits where it stands. Found once, by a look at the rows, it is moved by each applied
 * commit that the cursor passes, so that an own one costs a store. */
#include "changelog/changes_internal.h"

enum { OWN_WINDOW = 1024 }; /* numbers looked at first, for the last own commit before the beginning */

/* What was applied at or below a number. */
static helios_status applied_at(struct origin_rows *rows, helios_seq seq, helios_buf *clock)
{
    struct origin origin;
    helios_seq last = 0;
    helios_status status = origin_rows_at(rows, seq, &origin, &last);

    clock->size = 0;
    return status == HELIOS_OK && last ? buf_set(clock, origin.after.data, origin.after.size) : status;
}

/* All commits below the record are visible. */
static helios_status find_clock(helios_changes *c, const struct wal_record *record)
{
    struct origin_rows rows = {.db = c->db};
    helios_status status = applied_at(&rows, record->first - 1, &c->clock);

    if (status == HELIOS_OK)
        status = applied_at(&rows, c->from - 1, &c->given);
    if (status == HELIOS_OK)
        status = clock_set(&c->clock, c->db->node_id, record->first, &c->own_at);
    origin_rows_release(&rows);
    c->own_given = c->from - 1;
    c->own_given_known = !c->for_apply;
    c->clock_known = status == HELIOS_OK;
    return status;
}

/* The last own commit in [from, to] of which the cursor would give anything; 0: there is none. */
static helios_status last_given(const helios_changes *c, helios_seq from, helios_seq to, helios_seq *given)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *probe = NULL;
    helios_change change;
    helios_status status;

    options.from = from;
    options.to = to;
    options.unsynced = true;
    options.prefix = c->has_prefix ? buf_slice(&c->prefix) : (helios_slice){0};
    options.branch = c->one_branch ? &c->branch : NULL;
    options.all_spaces = c->all_spaces;
    options.kinds = c->kinds;
    options.origin = c->db->node_id;
    status = helios_changes_new(c->db, &options, &probe);
    while (status == HELIOS_OK && (status = helios_changes_next(probe, 0, &change)) == HELIOS_OK)
        *given = change.commit;
    helios_changes_free(probe);
    return status == HELIOS_NOT_FOUND || status == HELIOS_TIMEOUT ? HELIOS_OK : status;
}

/* What was given of this database before `from`, to a receiver that has all before: not simply from - 1, as others'
 * commits and those without data have numbers too. Where nothing of the like is left, who reads on where it stopped is
 * taken at its word, but who begins with the oldest entry lacks what was before that, also as a new consumer. */
static helios_status find_own_given(helios_changes *c)
{
    helios_seq first = feed_first(c->db), from = c->from, window = OWN_WINDOW;
    helios_status status = HELIOS_OK;

    c->own_given_known = true;
    c->own_given = !c->goes_on && from <= first ? from - 1 : 0;
    while (status == HELIOS_OK && from > first) {
        helios_seq to = from - 1, given = 0;

        from = from > first + window ? from - window : first;
        window *= 16;
        status = last_given(c, from, to, &given);
        if (given) {
            c->own_given = given;
            break;
        }
    }
    return status == HELIOS_FEED_TRIMMED ? HELIOS_OK : status;
}

static void next_own(struct change_origin *o)
{
    o->has_own = origin_next_own(&o->own, &o->own_space, &o->own_key);
}

/* Of a commit of which the cursor gives the end alone, nobody has what comes before. */
static helios_seq previous_of(const helios_changes *c, const struct wal_record *record,
                              const struct origin *origin)
{
    return record->first < c->from ? origin->commit : clock_of(buf_slice(&c->given), origin->node);
}

static helios_status begin_applied(helios_changes *c, struct wal_record *record, bool *good)
{
    struct change_origin *o = &c->commit.origin;
    const struct origin *origin = &o->record.origin;
    helios_status status;

    *good = origin_prefix_read(&record->body, &o->record) && origin->op_count == record->op_count;
    if (!*good)
        return HELIOS_OK;
    o->applied = true;
    o->own = reader_make(origin->own.data, origin->own.size);
    next_own(o);
    o->lsn = origin->commit;
    o->previous = previous_of(c, record, origin);
    o->foreign_wanted = !c->one_origin || memcmp(c->origin, origin->node, NODE_BYTES) == 0;
    status = buf_set(&c->clock, origin->after.data, origin->after.size);
    return status == HELIOS_OK ? clock_set(&c->clock, c->db->node_id, c->commit.last, &c->own_at) : status;
}

helios_status change_origin_begin(helios_changes *c, struct wal_record *record, bool *good)
{
    struct change_origin *o = &c->commit.origin;
    helios_status status = c->clock_known ? HELIOS_OK : find_clock(c, record);

    *good = true;
    o->applied = o->has_own = o->foreign_given = false;
    o->is_own = true;
    o->own_previous = c->own_given;
    if (status != HELIOS_OK)
        return status;
    if (record->flags & WAL_RECORD_ORIGIN)
        return begin_applied(c, record, good);
    put_u64(c->clock.data + c->own_at, c->commit.last);
    return HELIOS_OK;
}

void change_origin_read(helios_changes *c, const struct op *op)
{
    struct change_origin *o = &c->commit.origin;

    if (!o->applied)
        return;
    o->is_own = op->kind != KIND_RANGE_DELETE && o->has_own && op->space == o->own_space &&
                slice_equal(op->key, o->own_key);
    if (o->is_own)
        next_own(o);
    if (o->record.has_lsns && !c->commit.tables)
        o->lsn = origin_next_lsn(&o->record, o->lsn);
}

helios_status change_origin_tell(helios_changes *c, helios_change *change)
{
    struct change_origin *o = &c->commit.origin;
    const struct origin *origin = &o->record.origin;
    helios_status status = HELIOS_OK;

    change->commit_begin = !c->commit.begun;
    c->commit.begun = true;
    if (o->is_own && !c->own_given_known) {
        status = find_own_given(c);
        o->own_previous = c->own_given;
    }
    if (status != HELIOS_OK)
        return status;
    if (o->is_own) {
        memcpy(change->origin, c->db->node_id, NODE_BYTES);
        change->origin_lsn = change->lsn;
        change->origin_previous = o->own_previous;
        change->vector_clock = buf_slice(&c->clock);
        c->own_given = c->commit.last;
        return HELIOS_OK;
    }
    memcpy(change->origin, origin->node, NODE_BYTES);
    change->origin_lsn = o->lsn;
    change->origin_previous = o->previous;
    change->vector_clock = origin->came;
    if (o->foreign_given)
        return HELIOS_OK;
    o->foreign_given = true;
    return clock_set(&c->given, origin->node, origin->commit, NULL);
}

bool change_origin_wants_none(const helios_changes *c)
{
    const struct change_origin *o = &c->commit.origin;

    return c->for_apply && o->applied && !o->foreign_given && o->foreign_wanted && c->commit.last >= c->from;
}
