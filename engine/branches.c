/* branches.c - branches: made, renamed, described, dropped, by the calls of helios.h. Each change is a commit of the
 * branch's entry first (branch_entries.c) and then of the registry in memory, branch/registry.c. registry_mu makes
 * changes one by one; it is taken before every other lock. */
#include "branch/vector.h"
#include "engine/branches.h"
#include "engine/gate.h"
#include "engine/read.h"
#include <inttypes.h>

/* ---- making ---- */

/* The parent's point, pinned until the branch itself holds it. */
static helios_status pin_fork(struct helios_db *db, helios_branch_id parent, helios_seq at, pin_id *pin,
                              helios_seq *seq)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT, checked;
    helios_status status;

    options.branch = parent;
    options.at = at;
    status = read_options(db, &options, &checked);
    return status == HELIOS_OK ? read_point_pin(db, &checked, HELIOS_PIN_ITERATOR, pin, seq) : status;
}

/* The fork is held before the commit. One whose fate is not known keeps its hold: the next open may find it. */
static helios_status commit_new(struct helios_db *db, const struct branch_record *record, struct branch *fresh)
{
    helios_status status = holds_add(&db->holds, record->parent, record->fork_seq);

    if (status != HELIOS_OK)
        return status;
    status = branch_entry_commit(db, record, false, &fresh->created_seq);
    if (status != HELIOS_OK && !atomic_load(&db->failed))
        holds_remove(&db->holds, record->parent, record->fork_seq);
    return status;
}

static helios_status create_locked(struct helios_db *db, struct branch_record *record, helios_branch_id *id)
{
    struct branch *fresh = NULL;
    helios_status status;

    if (registry_by_name(db->registry, (const char *)record->name.data))
        return fail(HELIOS_EXISTS, "a branch named %s is there already", (const char *)record->name.data);
    record->id = registry_next_id(db->registry);
    status = registry_prepare(db->registry, record, &fresh);
    if (status == HELIOS_OK)
        status = commit_new(db, record, fresh);
    if (status != HELIOS_OK) {
        registry_discard(fresh);
        return status;
    }
    registry_add(db->registry, fresh);
    *id = fresh->id;
    return HELIOS_OK;
}

helios_status helios_branch_create(helios_db *db, const char *name, helios_branch_id parent, helios_seq at,
                                   helios_branch_id *id)
{
    struct branch_record record = {.parent = parent, .metadata = {"", 0}};
    pin_id pin = 0;
    helios_status status;

    if (!db || !id)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the id" : "database");
    status = branch_name_check(name);
    if (status == HELIOS_OK)
        status = db_writable(db);
    if (status != HELIOS_OK)
        return status;
    mutex_lock(&db->registry_mu);
    status = pin_fork(db, parent, at, &pin, &record.fork_seq);
    if (status == HELIOS_OK) {
        record.name = slice_make(name, strlen(name));
        record.created_time = io_time(db->fs);
        status = create_locked(db, &record, id);
        pins_release(db->pins, pin);
    }
    mutex_unlock(&db->registry_mu);
    return status;
}

/* ---- changing ---- */

static helios_status changeable_locked(struct helios_db *db, helios_branch_id id, const char *what,
                                       struct branch **branch)
{
    helios_status status = db_writable(db);

    if (status == HELIOS_OK && id == 0)
        status = fail(HELIOS_INVALID, "main cannot be %s", what);
    if (status == HELIOS_OK)
        status = branch_readable(db, id);
    if (status == HELIOS_OK && branch_is_sealed(db, id))
        status = fail(HELIOS_BUSY, "branch %u is being closed by a merge", id);
    if (status == HELIOS_OK)
        *branch = (struct branch *)branch_at(db, id);
    return status;
}

static helios_status rename_locked(struct helios_db *db, struct branch *branch, const char *name)
{
    struct branch *holder = registry_by_name(db->registry, name);
    struct branch_record record;
    helios_buf value = {0};
    char *copy;
    helios_status status;

    if (holder)
        return holder == branch ? HELIOS_OK : fail(HELIOS_EXISTS, "a branch named %s is there already", name);
    copy = mem_text(name);
    if (!copy)
        return fail_no_memory(strlen(name) + 1);
    status = branch_entry_read(db, branch, &value, &record);
    if (status == HELIOS_OK) {
        record.name = slice_make(name, strlen(name));
        status = branch_entry_commit(db, &record, false, NULL);
    }
    if (status == HELIOS_OK)
        registry_rename(db->registry, branch, copy);
    else
        mem_free(copy);
    helios_buf_free(&value);
    return status;
}

helios_status helios_branch_rename(helios_db *db, helios_branch_id id, const char *name)
{
    struct branch *branch;
    helios_status status = db ? branch_name_check(name) : fail(HELIOS_INVALID, "no database was given");

    if (status != HELIOS_OK)
        return status;
    mutex_lock(&db->registry_mu);
    status = changeable_locked(db, id, "renamed", &branch);
    if (status == HELIOS_OK)
        status = rename_locked(db, branch, name);
    mutex_unlock(&db->registry_mu);
    return status;
}

static helios_status set_metadata_locked(struct helios_db *db, const struct branch *branch,
                                         helios_slice metadata)
{
    struct branch_record record;
    helios_buf value = {0};
    helios_status status = branch_entry_read(db, branch, &value, &record);

    if (status == HELIOS_OK) {
        record.metadata = metadata;
        status = branch_entry_commit(db, &record, false, NULL);
    }
    helios_buf_free(&value);
    return status;
}

helios_status helios_branch_set_metadata(helios_db *db, helios_branch_id id, helios_slice metadata)
{
    struct branch *branch;
    helios_status status;

    if (!db || (!metadata.data && metadata.size))
        return fail(HELIOS_INVALID, "no %s was given", db ? "metadata" : "database");
    if (metadata.size > BRANCH_METADATA_MAX)
        return fail(HELIOS_INVALID, "a branch's metadata has at most %d bytes, this %zu", BRANCH_METADATA_MAX,
                    metadata.size);
    mutex_lock(&db->registry_mu);
    status = changeable_locked(db, id, "given metadata", &branch);
    if (status == HELIOS_OK)
        status = set_metadata_locked(db, branch, metadata);
    mutex_unlock(&db->registry_mu);
    return status;
}

helios_status helios_branch_metadata(helios_db *db, helios_branch_id id, helios_buf *metadata)
{
    struct branch_record record;
    helios_buf value = {0};
    helios_status status;

    if (!db || !metadata)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the metadata" : "database");
    if (id == 0)
        return fail(HELIOS_INVALID, "main has no metadata");
    status = branch_readable(db, id);
    if (status == HELIOS_OK)
        status = branch_entry_read(db, branch_at(db, id), &value, &record);
    if (status == HELIOS_OK)
        status = buf_set(metadata, record.metadata.data, record.metadata.size);
    helios_buf_free(&value);
    return status;
}

/* ---- dropping ---- */

static helios_status fail_has_children(struct helios_db *db, const struct branch *branch)
{
    for (helios_branch_id id = branch->id + 1; id < registry_next_id(db->registry); id++) {
        const struct branch *child = branch_at(db, id);

        if (child && child->parent == branch->id && atomic_load(&child->state) != HELIOS_BRANCH_DROPPED)
            return fail(HELIOS_INVALID, "branch %s has live children, %s among them: drop those first",
                        branch->name, child->name);
    }
    return HELIOS_OK;
}

helios_status branch_unused(struct helios_db *db, const struct branch *branch, uint32_t own)
{
    uint32_t handles = atomic_load(&branch->handles);
    char tag[NAME_BYTES_MAX + 1];

    if (handles > own)
        return fail(HELIOS_BUSY, "branch %s is in use by %u iterators or transactions", branch->name,
                    handles - own);
    if (tags_on_branch(&db->tags, branch->id, tag))
        return fail(HELIOS_BUSY, "branch %s is held by the tag %s", branch->name, tag);
    return HELIOS_OK;
}

/* Nobody uses it and, once it is closing, nobody begins to; its writers are refused until branch_unseal(). */
static helios_status close_branch(struct helios_db *db, struct branch *branch)
{
    helios_status status;

    atomic_store(&branch->closing, true);
    status = branch_unused(db, branch, 0);
    if (status == HELIOS_OK)
        status = branch_seal(db, branch->id);
    if (status != HELIOS_OK)
        atomic_store(&branch->closing, false);
    return status;
}

/* What is left of it is its place in the tree of branches. */
static helios_status commit_drop(struct helios_db *db, const struct branch *branch, helios_seq *commit)
{
    struct branch_record record;
    helios_buf value = {0};
    helios_status status = branch_entry_read(db, branch, &value, &record);

    if (status == HELIOS_OK) {
        record.state = HELIOS_BRANCH_DROPPED;
        record.closed_seq = 0;
        record.metadata = slice_make("", 0);
        status = branch_entry_commit(db, &record, branch_merges(branch) != NULL, commit);
    }
    helios_buf_free(&value);
    return status;
}

static helios_status drop_locked(struct helios_db *db, struct branch *branch)
{
    helios_seq commit = 0;
    helios_status status;

    if (branch->live_children)
        return fail_has_children(db, branch);
    status = close_branch(db, branch);
    if (status != HELIOS_OK)
        return status;
    status = commit_drop(db, branch, &commit);
    if (status == HELIOS_OK) {
        registry_close(db->registry, branch, HELIOS_BRANCH_DROPPED, commit);
        holds_drop(&db->holds, branch);
    } else {
        atomic_store(&branch->closing, false);
    }
    branch_unseal(db, branch->id);
    return status;
}

helios_status helios_branch_drop(helios_db *db, helios_branch_id id)
{
    struct branch *branch;
    helios_status status;

    if (!db)
        return fail(HELIOS_INVALID, "no database was given");
    mutex_lock(&db->registry_mu);
    status = changeable_locked(db, id, "dropped", &branch);
    if (status == HELIOS_OK)
        status = drop_locked(db, branch);
    mutex_unlock(&db->registry_mu);
    if (status == HELIOS_OK) {
        mutex_lock(&db->state_mu);
        condition_broadcast(&db->state_changed); /* the janitor looks for what it took */
        mutex_unlock(&db->state_mu);
    }
    return status;
}
