/* branch_list.c - branches found and listed, as they are and as they were at a point. Called through helios.h. */
#include "engine/branches.h"
#include "engine/read.h"
#include <stdlib.h>

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

/* As the registry has it; the name is the branch's own. */
static helios_branch_info info_of(const struct branch *b)
{
    return (helios_branch_info){.id = b->id,
                                .parent = b->parent,
                                .name = b->name,
                                .fork_seq = b->fork_seq ? b->fork_seq : HELIOS_SEQ_NONE,
                                .created_seq = b->created_seq,
                                .created_time = b->created_time,
                                .state = (helios_branch_state)atomic_load(&b->state),
                                .closed_seq = b->closed_seq};
}

/* A copy in one allocation, the names behind the infos. */
static helios_status infos_copy(const helios_branch_info *from, size_t count, helios_branch_info **out)
{
    size_t bytes = count * sizeof(**out);
    helios_branch_info *infos;
    char *names;

    for (size_t i = 0; i < count; i++)
        bytes += strlen(from[i].name) + 1;
    infos = mem_alloc(bytes);
    if (!infos)
        return fail_no_memory(bytes);
    names = (char *)(infos + count);
    for (size_t i = 0; i < count; i++) {
        infos[i] = from[i];
        infos[i].name = names;
        names = stpcpy(names, from[i].name) + 1;
    }
    *out = infos;
    return HELIOS_OK;
}

helios_status helios_branch_get(helios_db *db, helios_branch_id id, helios_branch_info **info)
{
    const struct branch *branch;
    helios_branch_info now;
    helios_status status;

    if (!db || !info)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the branch" : "database");
    mutex_lock(&db->registry_mu);
    branch = branch_at(db, id);
    if (branch) {
        now = info_of(branch);
        status = infos_copy(&now, 1, info);
    } else {
        status = fail(HELIOS_NOT_FOUND, "no branch %u", id);
    }
    mutex_unlock(&db->registry_mu);
    return status;
}

static helios_status list_locked(struct helios_db *db, helios_branch_info **list, size_t *n)
{
    struct branch **branches = NULL;
    helios_branch_info *infos;
    size_t count = 0;
    helios_status status = registry_list(db->registry, false, &branches, &count);

    if (status != HELIOS_OK)
        return status;
    infos = mem_array(count, sizeof(*infos));
    for (size_t i = 0; i < count && infos; i++)
        infos[i] = info_of(branches[i]);
    status = infos ? infos_copy(infos, count, list) : fail_no_memory(count * sizeof(*infos));
    if (status == HELIOS_OK)
        *n = count;
    mem_free(infos);
    mem_free(branches);
    return status;
}

helios_status helios_branch_list(helios_db *db, helios_branch_info **list, size_t *n)
{
    helios_status status;

    if (!db || !list || !n)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the list" : "database");
    mutex_lock(&db->registry_mu);
    status = list_locked(db, list, n);
    mutex_unlock(&db->registry_mu);
    return status;
}

/* ---- as it was ---- */

/* Live branches of a point; until all are there a name is its offset in `names`. */
struct listing {
    helios_branch_info *infos;
    size_t count, capacity;
    helios_buf names;
};

static helios_status listing_add(struct listing *l, const helios_branch_info *info, helios_slice name)
{
    size_t place = l->names.size;
    helios_status status;

    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 64;
        helios_branch_info *infos = mem_realloc(l->infos, capacity * sizeof(*infos));

        if (!infos)
            return fail_no_memory(capacity * sizeof(*infos));
        l->infos = infos;
        l->capacity = capacity;
    }
    status = buf_append(&l->names, name.data, name.size);
    if (status == HELIOS_OK)
        status = buf_append(&l->names, "", 1);
    if (status != HELIOS_OK)
        return status;
    l->infos[l->count] = *info;
    l->infos[l->count++].name = (const char *)place;
    return HELIOS_OK;
}

static helios_status list_record(void *arg, const struct branch_record *r)
{
    const helios_branch_info info = {.id = r->id,
                                     .parent = r->parent,
                                     .fork_seq = r->fork_seq ? r->fork_seq : HELIOS_SEQ_NONE,
                                     .created_seq = r->created_seq,
                                     .created_time = r->created_time,
                                     .state = r->state,
                                     .closed_seq = r->closed_seq};

    return r->state == HELIOS_BRANCH_DROPPED ? HELIOS_OK : listing_add(arg, &info, r->name);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const helios_branch_info *)a)->name, ((const helios_branch_info *)b)->name);
}

static helios_status list_at(struct helios_db *db, helios_seq seq, helios_branch_info **list, size_t *n)
{
    const struct branch *root = branch_at(db, 0);
    const helios_branch_info main_info = info_of(root);
    struct listing l = {0};
    helios_status status = listing_add(&l, &main_info, slice_make(root->name, strlen(root->name)));

    if (status == HELIOS_OK)
        status = branch_entries_walk(db, seq, list_record, &l);
    if (status == HELIOS_OK) {
        for (size_t i = 0; i < l.count; i++)
            l.infos[i].name = l.names.data + (size_t)l.infos[i].name;
        qsort(l.infos, l.count, sizeof(*l.infos), compare_names);
        status = infos_copy(l.infos, l.count, list);
    }
    if (status == HELIOS_OK)
        *n = l.count;
    mem_free(l.infos);
    helios_buf_free(&l.names);
    return status;
}

helios_status helios_branch_list_at(helios_db *db, helios_seq at, helios_branch_info **list, size_t *n)
{
    helios_read_options given = HELIOS_READ_OPTIONS_INIT, checked;
    helios_seq seq = 0;
    pin_id pin = 0;
    helios_status status;

    if (!db || !list || !n)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the list" : "database");
    given.at = at;
    status = read_options(db, &given, &checked);
    if (status == HELIOS_OK)
        status = read_point_pin(db, &checked, HELIOS_PIN_ITERATOR, &pin, &seq);
    if (status != HELIOS_OK)
        return status;
    status = list_at(db, seq, list, n);
    pins_release(db->pins, pin);
    return status;
}
