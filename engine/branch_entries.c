/* branch_entries.c - the registry on disk: an entry for each branch in the system space, user key 'B' | id u32 BE,
 * written by an ordinary commit and read at open. What is in it: docs/format.md. */
#include "engine/branches.h"
#include "engine/read.h"
#include "engine/sources.h"

helios_slice branch_key(unsigned char out[BRANCH_KEY_BYTES], helios_branch_id id)
{
    out[0] = 'B';
    put_u32_be(out + 1, id);
    return slice_make(out, BRANCH_KEY_BYTES);
}

helios_durability branch_entry_durability(const struct helios_db *db)
{
    helios_durability durability = db->options.durability;

    return durability == HELIOS_DURABILITY_NONE ? HELIOS_DURABILITY_ASYNC : durability;
}

/* The merges into a branch, 'M' | id u32 BE | ordinal u32 BE (merge_entries.c), go with it. */
static void add_merges_drop(struct helios_batch *batch, helios_branch_id id)
{
    unsigned char from[BRANCH_KEY_BYTES], to[BRANCH_KEY_BYTES];

    from[0] = to[0] = 'M';
    put_u32_be(from + 1, id);
    put_u32_be(to + 1, id + 1);
    batch_add(batch, KIND_RANGE_DELETE, SPACE_SYSTEM, slice_make(from, sizeof(from)),
              slice_make(to, sizeof(to)));
}

helios_status branch_entry_commit(struct helios_db *db, const struct branch_record *record, bool drop_merges,
                                  helios_seq *commit)
{
    unsigned char key[BRANCH_KEY_BYTES];
    helios_buf value = {0};
    struct helios_batch batch;
    struct write_set set;
    helios_status status = branch_record_encode(&value, record);

    batch_init(&batch);
    if (status == HELIOS_OK) {
        batch_add(&batch, KIND_VALUE, SPACE_SYSTEM, branch_key(key, record->id), buf_slice(&value));
        if (drop_merges)
            add_merges_drop(&batch, record->id);
        status = error_tell(&batch.error);
    }
    if (status == HELIOS_OK)
        status = batch_settle(&batch);
    if (status == HELIOS_OK) {
        set = write_set_of(&batch);
        status = commit_write(db, 0, branch_entry_durability(db), &set, commit);
    }
    batch_release(&batch);
    helios_buf_free(&value);
    return status;
}

/* What is in memory is ahead of the entry's own words: the first entry does not know its commit's number. */
static void complete(const struct branch *branch, struct branch_record *record)
{
    record->created_seq = branch->created_seq;
    record->closed_seq = branch->closed_seq;
}

helios_status branch_entry_read(struct helios_db *db, const struct branch *branch, helios_buf *value,
                                struct branch_record *record)
{
    const struct read_point latest = {.latest = true};
    unsigned char key[BRANCH_KEY_BYTES];
    struct layered layered;
    helios_status status = layered_init(&layered, 0, SPACE_SYSTEM, branch_key(key, branch->id));

    if (status != HELIOS_OK)
        return status;
    status = read_at(db, &latest, true, layered.key, value);
    layered_release(&layered);
    *record = (struct branch_record){.id = branch->id};
    if (status == HELIOS_NOT_FOUND || (status == HELIOS_OK && !branch_record_decode(buf_slice(value), record)))
        return fail_corrupt("%s: the registry entry of branch %u cannot be read", db->path, branch->id);
    complete(branch, record);
    return status;
}

/* ---- loading ---- */

/* An entry as a walk of the system space finds it, checked: it comes from disk. Slices are the iterator's. */
static helios_status entry_decode(struct helios_db *db, const helios_iter *it, struct branch_record *record)
{
    helios_slice key = helios_iter_key(it);

    if (key.size != BRANCH_KEY_BYTES)
        return fail_corrupt("%s: the branch registry has a key of %zu bytes", db->path, key.size);
    *record = (struct branch_record){.id = get_u32_be(slice_bytes(key) + 1)};
    if (!branch_record_decode(helios_iter_value(it), record) || record->parent >= record->id)
        return fail_corrupt("%s: the registry entry of branch %u cannot be read", db->path, record->id);
    if (record->created_seq == 0)
        record->created_seq = helios_iter_seq(it);
    if (record->state != HELIOS_BRANCH_ACTIVE && record->closed_seq == 0)
        record->closed_seq = helios_iter_seq(it);
    return HELIOS_OK;
}

helios_status branch_entries_walk(struct helios_db *db, helios_seq at,
                                  helios_status (*each)(void *arg, const struct branch_record *), void *arg)
{
    helios_iter *it = NULL;
    helios_status status =
        iter_new_internal(db, 0, SPACE_SYSTEM, slice_make("B", 1), slice_make("C", 1), at, &it);

    if (status != HELIOS_OK)
        return status;
    for (helios_iter_first(it); helios_iter_valid(it) && status == HELIOS_OK; helios_iter_next(it)) {
        struct branch_record record;

        status = entry_decode(db, it, &record);
        if (status == HELIOS_OK)
            status = each(arg, &record);
    }
    if (status == HELIOS_OK)
        status = helios_iter_status(it);
    helios_iter_free(it);
    return status;
}

static helios_status load_one(void *arg, const struct branch_record *record)
{
    struct helios_db *db = arg;
    const struct branch *parent = registry_at(db->registry, record->parent);
    bool dropped = record->state == HELIOS_BRANCH_DROPPED;
    struct branch *branch = NULL;
    helios_status status;

    if (!parent || (!dropped && atomic_load(&parent->state) == HELIOS_BRANCH_DROPPED))
        return fail_corrupt("%s: branch %u is there, its parent %u is not", db->path, record->id,
                            record->parent);
    status = registry_prepare(db->registry, record, &branch);
    if (status == HELIOS_OK)
        status = holds_add(&db->holds, record->parent, record->fork_seq);
    if (status != HELIOS_OK) {
        registry_discard(branch);
        return status;
    }
    registry_load(db->registry, branch);
    if (dropped)
        holds_drop(&db->holds, branch);
    return HELIOS_OK;
}

/* Which branches have anything in their layers: one walk that jumps from each to the next. */
static helios_status find_written(struct helios_db *db, helios_branch_id count, bool *written)
{
    unsigned char lower[KEY_LAYER_BYTES], upper[KEY_LAYER_BYTES];
    struct sources_options options = {.read_point = CURSOR_ALL};
    struct sources sources = {0};
    helios_branch_id id = 1;
    helios_status status;

    key_put_layer(lower, 1, 0);
    key_put_layer(upper, count, 0);
    options.lower = slice_make(lower, sizeof(lower));
    options.upper = slice_make(upper, sizeof(upper));
    status = sources_open(db, &options, &sources);
    while (status == HELIOS_OK && id < count) {
        key_put_layer(lower, id, 0);
        cursor_seek(sources.cursor, options.lower, TAG_MAX);
        if (!sources.cursor->valid)
            break;
        id = key_branch(sources.cursor->key);
        if (id < count)
            written[id++] = true;
    }
    if (status == HELIOS_OK && !sources.cursor->valid && sources.cursor->status != HELIOS_OK)
        status = sources.cursor->error ? error_tell(sources.cursor->error) : sources.cursor->status;
    for (id = 1; id < count && status == HELIOS_OK && sources.cover_count; id++)
        written[id] |= sources_deletes_on(&sources, id);
    sources_close(&sources);
    return status;
}

/* What an open has found is durable, and nobody reads yet but consumers that look back: what was still whole stays for
 * them. */
static void settle_found(struct helios_db *db)
{
    helios_seq through = atomic_load(&db->holds.through), found = atomic_load(&db->visible);
    helios_seq floor = pins_oldest(db->floors), open = found < floor ? found : floor;

    if (through > found)
        through = found; /* by an open without a feed: all that it found */
    atomic_store(&db->holds.through, through);
    holds_settle(&db->holds, through > open ? through : open);
}

helios_status branches_load(struct helios_db *db)
{
    helios_status status = branch_entries_walk(db, atomic_load(&db->visible), load_one, db);
    helios_branch_id count = registry_next_id(db->registry);
    bool *written;

    if (status != HELIOS_OK)
        return status;
    settle_found(db);
    if (count == 1)
        return HELIOS_OK;
    written = mem_zalloc(count);
    if (!written)
        return fail_no_memory(count);
    status = find_written(db, count, written);
    if (status == HELIOS_OK && !registry_loaded(db->registry, written))
        status = fail_corrupt("%s: two branches have the same name", db->path);
    mem_free(written);
    return status;
}
