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

helios_status branch_entry_commit(struct helios_db *db, const struct branch_record *record, helios_seq *commit)
{
    unsigned char key[BRANCH_KEY_BYTES];
    helios_buf value = {0};
    helios_status status = branch_record_encode(&value, record);

    if (status == HELIOS_OK)
        status = write_system(db, db->options.durability, KIND_VALUE, branch_key(key, record->id),
                              buf_slice(&value), commit);
    helios_buf_free(&value);
    return status;
}

struct branch_record branch_entry_of(const struct branch *branch)
{
    return (struct branch_record){.id = branch->id,
                                  .parent = branch->parent,
                                  .fork_seq = branch->fork_seq,
                                  .created_seq = branch->created_seq,
                                  .created_time = branch->created_time,
                                  .state = (helios_branch_state)atomic_load(&branch->state),
                                  .closed_seq = branch->closed_seq,
                                  .name = slice_make(branch->name, strlen(branch->name)),
                                  .metadata = buf_slice(&branch->metadata)};
}

/* ---- loading ---- */

static helios_status load_one(struct helios_db *db, const helios_iter *it)
{
    helios_slice key = helios_iter_key(it);
    struct branch_record record = {0};
    struct branch *branch;
    helios_status status;

    if (key.size != BRANCH_KEY_BYTES)
        return fail_corrupt("%s: the branch registry has a key of %zu bytes", db->path, key.size);
    record.id = get_u32_be(slice_bytes(key) + 1);
    if (!branch_record_decode(helios_iter_value(it), &record) || record.parent >= record.id ||
        !registry_at(db->registry, record.parent))
        return fail_corrupt("%s: the registry entry of branch %u cannot be read", db->path, record.id);
    if (record.created_seq == 0)
        record.created_seq = helios_iter_seq(it);
    if (record.state != HELIOS_BRANCH_ACTIVE && record.closed_seq == 0)
        record.closed_seq = helios_iter_seq(it);
    status = registry_prepare(db->registry, &record, &branch);
    if (status == HELIOS_OK)
        registry_add(db->registry, branch);
    return status;
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

static helios_status load_entries(struct helios_db *db)
{
    helios_iter *it = NULL;
    helios_status status = iter_new_internal(db, 0, SPACE_SYSTEM, slice_make("B", 1), slice_make("C", 1),
                                             atomic_load(&db->visible), &it);

    if (status != HELIOS_OK)
        return status;
    for (helios_iter_first(it); helios_iter_valid(it) && status == HELIOS_OK; helios_iter_next(it))
        status = load_one(db, it);
    if (status == HELIOS_OK)
        status = helios_iter_status(it);
    helios_iter_free(it);
    return status;
}

helios_status branches_load(struct helios_db *db)
{
    helios_branch_id count;
    bool *written;
    helios_status status = load_entries(db);

    count = registry_next_id(db->registry);
    if (status != HELIOS_OK || count == 1)
        return status;
    written = mem_zalloc(count);
    if (!written)
        return fail_no_memory(count);
    status = find_written(db, count, written);
    if (status == HELIOS_OK)
        registry_link(db->registry, written);
    mem_free(written);
    return status;
}
