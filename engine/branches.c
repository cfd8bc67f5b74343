/* branches.c - branches: made, found, renamed, dropped, by the calls of helios.h. Each change is a commit of the
 * branch's entry first (branch_entries.c) and then of the registry in memory, branch/registry.c. registry_mu makes
 * changes one by one; it is taken before every other lock. */
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

static helios_status create_locked(struct helios_db *db, struct branch_record *record, helios_branch_id *id)
{
    struct branch *fresh = NULL;
    helios_seq commit = 0;
    helios_status status;

    if (registry_by_name(db->registry, (const char *)record->name.data))
        return fail(HELIOS_EXISTS, "a branch named %s is there already", (const char *)record->name.data);
    record->id = registry_next_id(db->registry);
    status = registry_prepare(db->registry, record, &fresh);
    if (status == HELIOS_OK)
        status = branch_entry_commit(db, record, &commit);
    if (status != HELIOS_OK) {
        registry_discard(fresh);
        return status;
    }
    fresh->created_seq = commit;
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

/* ---- finding ---- */

helios_status helios_branch_find(helios_db *db, const char *name, helios_branch_id *id)
{
    const struct branch *branch;
    helios_status status = HELIOS_OK;

    if (!db || !name || !id)
        return fail(HELIOS_INVALID, "no %s was given", !db ? "database" : !name ? "name" : "place for the id");
    mutex_lock(&db->registry_mu);
    branch = registry_by_name(db->registry, name);
    if (branch)
        *id = branch->id;
    else
        status = fail(HELIOS_NOT_FOUND, "no branch named %s", name);
    mutex_unlock(&db->registry_mu);
    return status;
}

/* The infos and, behind them, the names. */
static helios_status infos_new(struct branch *const *branches, size_t count, helios_branch_info **out)
{
    size_t bytes = count * sizeof(**out);
    helios_branch_info *infos;
    char *names;

    for (size_t i = 0; i < count; i++)
        bytes += strlen(branches[i]->name) + 1;
    infos = mem_zalloc(bytes);
    if (!infos)
        return fail_no_memory(bytes);
    names = (char *)(infos + count);
    for (size_t i = 0; i < count; i++) {
        const struct branch *b = branches[i];

        infos[i] = (helios_branch_info){.id = b->id,
                                        .parent = b->parent,
                                        .name = names,
                                        .fork_seq = b->fork_seq ? b->fork_seq : HELIOS_SEQ_NONE,
                                        .created_seq = b->created_seq,
                                        .created_time = b->created_time,
                                        .state = (helios_branch_state)atomic_load(&b->state)};
        names = stpcpy(names, b->name) + 1;
    }
    *out = infos;
    return HELIOS_OK;
}

helios_status helios_branch_get(helios_db *db, helios_branch_id id, helios_branch_info **info)
{
    struct branch *branch;
    helios_status status;

    if (!db || !info)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the branch" : "database");
    mutex_lock(&db->registry_mu);
    branch = (struct branch *)branch_at(db, id);
    status = branch ? infos_new(&branch, 1, info) : fail(HELIOS_NOT_FOUND, "no branch %u", id);
    mutex_unlock(&db->registry_mu);
    return status;
}

helios_status helios_branch_list(helios_db *db, helios_branch_info **list, size_t *n)
{
    struct branch **branches = NULL;
    size_t count = 0;
    helios_status status;

    if (!db || !list || !n)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the list" : "database");
    mutex_lock(&db->registry_mu);
    status = registry_list(db->registry, false, &branches, &count);
    if (status == HELIOS_OK)
        status = infos_new(branches, count, list);
    if (status == HELIOS_OK)
        *n = count;
    mem_free(branches);
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
    struct branch_record record = branch_entry_of(branch);
    struct branch *holder = registry_by_name(db->registry, name);
    size_t size = strlen(name);
    char *copy;
    helios_status status;

    if (holder)
        return holder == branch ? HELIOS_OK : fail(HELIOS_EXISTS, "a branch named %s is there already", name);
    copy = mem_alloc(size + 1);
    if (!copy)
        return fail_no_memory(size + 1);
    memcpy(copy, name, size + 1);
    record.name = slice_make(name, size);
    status = branch_entry_commit(db, &record, NULL);
    if (status == HELIOS_OK)
        registry_rename(db->registry, branch, copy);
    else
        mem_free(copy);
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

/* Nobody uses it and, once it is closing, nobody begins to. */
static helios_status close_branch(struct helios_db *db, struct branch *branch)
{
    uint32_t handles;
    char tag[TAG_NAME_MAX + 1];

    atomic_store(&branch->closing, true);
    handles = atomic_load(&branch->handles);
    if (handles) {
        atomic_store(&branch->closing, false);
        return fail(HELIOS_BUSY, "branch %s is in use by %u iterators or transactions", branch->name, handles);
    }
    if (tags_on_branch(&db->tags, branch->id, tag)) {
        atomic_store(&branch->closing, false);
        return fail(HELIOS_BUSY, "branch %s is held by the tag %s", branch->name, tag);
    }
    return HELIOS_OK;
}

static helios_status drop_locked(struct helios_db *db, struct branch *branch)
{
    struct branch_record record = branch_entry_of(branch);
    helios_seq commit = 0;
    helios_status status;

    if (branch->live_children)
        return fail_has_children(db, branch);
    status = close_branch(db, branch);
    if (status != HELIOS_OK)
        return status;
    record.state = HELIOS_BRANCH_DROPPED;
    record.closed_seq = 0;
    status = branch_entry_commit(db, &record, &commit);
    if (status == HELIOS_OK)
        registry_close(db->registry, branch, HELIOS_BRANCH_DROPPED, commit);
    else
        atomic_store(&branch->closing, false);
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
        background_schedule_locked(db);
        mutex_unlock(&db->state_mu);
    }
    return status;
}
