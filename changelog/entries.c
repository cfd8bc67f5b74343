/* entries.c - the operations of one commit as entries of the feed: which are wanted, and what each says. Called by
 * feed_cursor.c, always one entry ahead of what was handed out, as an entry says whether it is its commit's last.
 *
 * An operation's lsn is its commit's first number and its place. In an ingested commit that is the place among what its
 * tables still have: what the commit itself superseded is in none of them. */
#include "base/mem.h"
#include "changelog/changes_internal.h"
#include <inttypes.h>

helios_status commit_damaged(const helios_changes *c)
{
    const struct wal_record *record = &c->commit.record;
    char path[PATH_BYTES_MAX];

    wal_segment_path(c->db->wal_directory, wal_pos_segment(record->at), path, sizeof(path));
    return fail_corrupt("%s: commit at %" PRIu64 ": its operations cannot be read", path,
                        wal_pos_offset(record->at));
}

/* ---- filters ---- */

static bool space_wanted(const helios_changes *c, uint8_t space)
{
    switch (space) {
    case SPACE_USER: return true;
    case SPACE_DATA:
    case SPACE_META:
    case SPACE_SYSTEM: return c->all_spaces;
    default: return false; /* indexes are derived */
    }
}

/* Which kind an operation is, as entries have it. */
static const helios_change_kind kinds[] = {
    [KIND_VALUE] = HELIOS_CHANGE_PUT,
    [KIND_TOMBSTONE] = HELIOS_CHANGE_DELETE,
    [KIND_RANGE_DELETE] = HELIOS_CHANGE_DELETE_RANGE,
};

static bool kind_wanted(const helios_changes *c, const struct op *op)
{
    bool expanded = op->kind == KIND_RANGE_DELETE && c->expand;

    return c->kinds >> (expanded ? HELIOS_CHANGE_DELETE : kinds[op->kind]) & 1;
}

/* The rows of applied commits, as entries tell what they say; and row ids reserved, which is nobody's event. */
static bool is_upkeep(const struct op *op)
{
    return op->space == SPACE_SYSTEM && op->key.size &&
           (slice_bytes(op->key)[0] == ORIGIN_KEY || slice_bytes(op->key)[0] == ROW_IDS_KEY);
}

/* A range that meets the keys with the prefix is one of them. */
static bool prefix_wanted(const helios_changes *c, const struct op *op)
{
    if (!c->has_prefix)
        return true;
    if (op->kind != KIND_RANGE_DELETE)
        return slice_starts_with(op->key, buf_slice(&c->prefix));
    return slice_compare(op->value, buf_slice(&c->prefix)) > 0 &&
           (!c->has_prefix_end || slice_compare(op->key, buf_slice(&c->prefix_end)) < 0);
}

static bool table_wanted(const helios_changes *c, const struct op *op)
{
    uint32_t at = 0;

    if (!c->tables)
        return true;
    if (op->kind != KIND_RANGE_DELETE)
        return delta_tables_find(c->tables, op->space, op->key) != NULL;
    return delta_tables_meet(c->tables, &at, op->space, op->key, op->value) != NULL;
}

static bool wanted(const helios_changes *c, const struct op *op)
{
    return space_wanted(c, op->space) && (!c->one_branch || op->branch == c->branch) && prefix_wanted(c, op) &&
           kind_wanted(c, op) && change_origin_wanted(c) && !is_upkeep(op) && table_wanted(c, op);
}

/* ---- beginning ---- */

/* Of the whole commit. */
static bool nothing_wanted(const helios_changes *c)
{
    const struct change_commit *k = &c->commit;

    if (k->origin.applied)
        return !c->own_wanted && !k->origin.foreign_wanted;
    return !c->own_wanted ||
           (c->one_branch && k->record.branch != WAL_BRANCH_MANY && k->record.branch != c->branch);
}

/* What the commit does itself; for the keys of ranges alone not before it has one. */
static helios_status know_own(helios_changes *c)
{
    struct change_commit *k = &c->commit;
    bool good = true;
    helios_status status = HELIOS_OK;

    if (!k->tables && !k->own.built && k->record.op_count > 1)
        status = own_build(&k->own, &k->record, &good);
    return status == HELIOS_OK && !good ? commit_damaged(c) : status;
}

helios_status commit_begin(helios_changes *c, const struct wal_record *record)
{
    struct change_commit *k = &c->commit;
    bool good = true;
    helios_status status;

    k->record = *record;
    k->last = record->first + record->op_count - 1;
    k->at = 0;
    k->begun = k->cut = false;
    record = &k->record;
    status = change_origin_begin(c, &k->record, &good);
    if (status == HELIOS_OK && !good)
        status = commit_damaged(c);
    if (status != HELIOS_OK || nothing_wanted(c))
        return status;
    k->reader = reader_make(record->body.data, record->body.size);
    if (record->type == WAL_INGEST)
        status = ingested_open(c->db, record, &k->tables);
    else if (c->images)
        status = know_own(c);
    k->open = status == HELIOS_OK;
    return status;
}

void commit_end(helios_changes *c)
{
    struct change_commit *k = &c->commit;

    expansion_close(c);
    ingested_close(k->tables);
    k->tables = NULL;
    own_clear(&k->own);
    k->open = false;
}

/* ---- making entries ---- */

static helios_status read_op(helios_changes *c, struct op *op, bool *there)
{
    struct change_commit *k = &c->commit;
    const struct wal_record *record = &k->record;
    bool many = record->branch == WAL_BRANCH_MANY;
    helios_status status;

    if (k->tables) {
        status = ingested_next(k->tables, op, there);
        if (status != HELIOS_OK || !*there)
            return status;
        if (k->at == record->op_count ||
            (op->kind != KIND_VALUE && op->kind != KIND_TOMBSTONE && op->kind != KIND_RANGE_DELETE))
            return commit_damaged(c);
    } else {
        *there = k->at < record->op_count;
        if (!*there)
            return reader_done(&k->reader) ? HELIOS_OK : commit_damaged(c);
        if (!op_read(&k->reader, many, op))
            return commit_damaged(c);
        if (!many)
            op->branch = record->branch;
    }
    k->at++;
    change_origin_read(c, op);
    return HELIOS_OK;
}

/* Operations of tables are gone with the next step: small ones are copied, a large value is read when it is handed out. */
static helios_status keep_bytes(const helios_changes *c, struct change_entry *e)
{
    helios_slice *key = &e->change.key, *value = &e->change.value;
    helios_status status;

    e->large = false;
    if (!c->commit.tables)
        return HELIOS_OK;
    status = buf_set(&e->key, key->data, key->size);
    *key = buf_slice(&e->key);
    e->large = !value->data && value->size;
    if (status != HELIOS_OK || !value->data || e->large)
        return status;
    status = buf_set(&e->value, value->data, value->size);
    *value = buf_slice(&e->value);
    return status;
}

static helios_status show(helios_changes *c, const struct op *op, uint32_t index)
{
    const struct change_commit *k = &c->commit;
    struct change_entry *e = &c->entries[c->ahead];
    helios_status status;

    e->change = (helios_change){
        .lsn = k->record.first + index,
        .commit = k->last,
        .time = k->record.time,
        .branch = op->branch,
        .kind = kinds[op->kind],
        .space = op->space,
        .key = op->key,
    };
    if (op->kind != KIND_TOMBSTONE)
        e->change.value = op->value;
    status = change_origin_tell(c, &e->change);
    if (status == HELIOS_OK)
        status = keep_bytes(c, e);
    if (status == HELIOS_OK && c->images && op->kind != KIND_RANGE_DELETE)
        status = image_before(c, op, index, e);
    c->has_ahead = status == HELIOS_OK;
    return status;
}

/* A commit was applied here, and nothing of it is there to be given. */
static helios_status show_none(helios_changes *c)
{
    struct change_commit *k = &c->commit;
    struct change_entry *e = &c->entries[c->ahead];
    helios_status status;

    k->origin.is_own = false;
    k->origin.lsn = k->origin.record.origin.commit;
    e->large = false;
    e->change = (helios_change){
        .lsn = k->last,
        .commit = k->last,
        .time = k->record.time,
        .branch = k->origin.record.origin.branch,
        .kind = HELIOS_CHANGE_NONE,
        .key = slice_make("", 0),
    };
    status = change_origin_tell(c, &e->change);
    c->has_ahead = status == HELIOS_OK;
    return status;
}

static helios_status consider(helios_changes *c, const struct op *op, uint32_t index)
{
    bool range = op->kind == KIND_RANGE_DELETE;
    helios_status status = range && c->expand ? know_own(c) : HELIOS_OK;

    if (status != HELIOS_OK)
        return status;
    if (c->commit.record.first + index >= c->from && wanted(c, op)) {
        if (range && c->expand)
            return expansion_open(c, op, index);
        status = show(c, op, index);
    }
    if (range)
        own_pass_range(&c->commit.own, index, op);
    return status;
}

/* *there false: none is left of the range. The entry is one of the range's own operation, but for its key. */
static helios_status expand(helios_changes *c)
{
    const struct op *range = &c->commit.expansion.range;
    helios_status status = expansion_next(c, &c->entries[c->ahead], &c->has_ahead);

    if (status == HELIOS_OK && !c->has_ahead) {
        own_pass_range(&c->commit.own, c->commit.expansion.index, range);
        expansion_close(c);
    }
    return status;
}

helios_status commit_next(helios_changes *c)
{
    struct change_commit *k = &c->commit;
    helios_status status = HELIOS_OK;
    struct op op;
    bool there = true;

    c->has_ahead = false;
    while (status == HELIOS_OK && !c->has_ahead && k->open) {
        if (k->expansion.tree) {
            status = expand(c);
            continue;
        }
        status = read_op(c, &op, &there);
        if (status == HELIOS_OK && !there && change_origin_wants_none(c))
            return show_none(c);
        k->cut = status == HELIOS_OK && there && c->to && k->record.first + k->at - 1 > c->to;
        if (status != HELIOS_OK || !there || k->cut)
            break;
        status = consider(c, &op, k->at - 1);
    }
    return status;
}
