/* branches.c - branches: made, found, renamed, dropped; and what a call on one must know. A branch is an entry of
 * the system space, user key 'B' | id u32 BE, written by an ordinary commit; branch/registry.c holds them all in
 * memory. registry_mu makes changes one by one; it is taken before every other lock. Readers take none. */
#include "branch/layer_cursor.h"
#include "engine/branches.h"
#include "engine/read.h"
#include "engine/sources.h"
#include <inttypes.h>
#include <stdlib.h>

enum { BRANCH_KEY_BYTES = 5 };

static helios_slice branch_key(unsigned char out[BRANCH_KEY_BYTES], helios_branch_id id)
{
    out[0] = 'B';
    put_u32_be(out + 1, id);
    return slice_make(out, BRANCH_KEY_BYTES);
}

/* ---- for calls on a branch ---- */

const struct branch *branch_at(struct helios_db *db, helios_branch_id id)
{
    const struct branch *branch;

    epoch_enter(); /* the branch itself stays until the database is closed */
    branch = registry_at(db->registry, id);
    epoch_leave();
    return branch;
}

static helios_status fail_dropped(const struct branch *branch)
{
    return fail(HELIOS_NOT_FOUND, "branch %u was dropped by commit %" PRIu64, branch->id, branch->closed_seq);
}

helios_status branch_readable(struct helios_db *db, helios_branch_id id)
{
    const struct branch *branch = branch_at(db, id);

    if (!branch)
        return fail(HELIOS_NOT_FOUND, "no branch %u", id);
    return atomic_load(&branch->state) == HELIOS_BRANCH_DROPPED ? fail_dropped(branch) : HELIOS_OK;
}

helios_status branch_writable(struct helios_db *db, helios_branch_id id)
{
    struct branch *branch = (struct branch *)branch_at(db, id);
    helios_seq none = 0;

    if (!branch)
        return fail(HELIOS_NOT_FOUND, "no branch %u", id);
    switch (atomic_load(&branch->state)) {
    case HELIOS_BRANCH_DROPPED: return fail_dropped(branch);
    case HELIOS_BRANCH_MERGED:
        return fail(HELIOS_READ_ONLY, "branch %u was merged and closed by commit %" PRIu64, id,
                    branch->closed_seq);
    default: break;
    }
    /* Before the number of the write is taken. */
    if (atomic_load_explicit(&branch->first_write, memory_order_relaxed) == 0)
        atomic_compare_exchange_strong(&branch->first_write, &none, atomic_load(&db->visible) + 1);
    return HELIOS_OK;
}

const struct branch *branch_overlay(struct helios_db *db, helios_branch_id id, helios_seq *seq)
{
    const struct branch *branch = branch_at(db, id);

    /* What is written from now on is numbered above *seq. */
    while (branch->id != 0 && atomic_load_explicit(&branch->first_write, memory_order_acquire) == 0) {
        if (branch->up_seq < *seq)
            *seq = branch->up_seq;
        branch = branch->up ? branch->up : branch_at(db, 0);
    }
    return branch;
}

/* ---- the entry ---- */

static helios_status commit_entry(struct helios_db *db, const struct branch_record *record, helios_seq *commit)
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

static struct branch_record record_of(const struct branch *branch)
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
        status = commit_entry(db, record, &commit);
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
    if (status == HELIOS_OK)
        *branch = (struct branch *)branch_at(db, id);
    return status;
}

static helios_status rename_locked(struct helios_db *db, struct branch *branch, const char *name)
{
    struct branch_record record = record_of(branch);
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
    status = commit_entry(db, &record, NULL);
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

helios_status branch_hold(struct helios_db *db, helios_branch_id id)
{
    struct branch *branch;

    if (id == 0)
        return HELIOS_OK;
    branch = (struct branch *)branch_at(db, id);
    if (!branch)
        return fail(HELIOS_NOT_FOUND, "no branch %u", id);
    atomic_fetch_add(&branch->handles, 1);
    if (!atomic_load(&branch->closing)) /* after the count: one of the two sees the other */
        return HELIOS_OK;
    atomic_fetch_sub(&branch->handles, 1);
    return atomic_load(&branch->state) == HELIOS_BRANCH_DROPPED
               ? fail_dropped(branch)
               : fail(HELIOS_BUSY, "branch %u is being dropped", id);
}

void branch_release(struct helios_db *db, helios_branch_id id)
{
    if (id)
        atomic_fetch_sub(&((struct branch *)branch_at(db, id))->handles, 1);
}

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
    struct branch_record record = record_of(branch);
    helios_seq commit = 0;
    helios_status status;

    if (branch->live_children)
        return fail_has_children(db, branch);
    status = close_branch(db, branch);
    if (status != HELIOS_OK)
        return status;
    record.state = HELIOS_BRANCH_DROPPED;
    record.closed_seq = 0;
    status = commit_entry(db, &record, &commit);
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

/* ---- what jobs may collect ---- */

bool branch_is_garbage(void *arg, helios_branch_id id)
{
    const struct branch *branch = branch_at(arg, id);

    return branch && atomic_load(&branch->state) == HELIOS_BRANCH_DROPPED;
}

bool branch_forked_at(struct helios_db *db, helios_branch_id id, helios_seq seq)
{
    helios_branch_id count = registry_next_id(db->registry);
    bool found = false;

    for (helios_branch_id child = id + 1; child < count && !found; child++) {
        const struct branch *branch = branch_at(db, child);
        helios_seq point;

        if (!branch || atomic_load(&branch->state) == HELIOS_BRANCH_DROPPED)
            continue;
        epoch_enter();
        found = branch_point_on(db->registry, child, branch->fork_seq, id, &point) && point == seq;
        epoch_leave();
    }
    return found;
}

/* A branch's own point and, where it shows through, its ancestors'. */
struct fork_point {
    helios_branch_id branch;
    helios_seq seq;
};

static int compare_points(const void *a, const void *b)
{
    const struct fork_point *x = a, *y = b;

    if (x->branch != y->branch)
        return x->branch < y->branch ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

struct fork_points {
    struct fork_point *at;
    size_t count, capacity;
};

static helios_status add_fork(struct fork_points *points, helios_branch_id branch, helios_seq seq)
{
    if (points->count == points->capacity) {
        size_t capacity = points->capacity ? points->capacity * 2 : 64;
        struct fork_point *at = mem_realloc(points->at, capacity * sizeof(*at));

        if (!at)
            return fail_no_memory(capacity * sizeof(*at));
        points->at = at;
        points->capacity = capacity;
    }
    points->at[points->count++] = (struct fork_point){branch, seq};
    return HELIOS_OK;
}

/* Every point at which a live branch sees an ancestor, below the horizon: above, all is kept anyway. */
static helios_status collect_forks(struct helios_db *db, helios_seq horizon, struct fork_points *points)
{
    helios_branch_id count = registry_next_id(db->registry);
    helios_status status = HELIOS_OK;
    size_t distinct = 0;

    for (helios_branch_id id = 1; id < count && status == HELIOS_OK; id++) {
        const struct branch *branch = branch_at(db, id);
        helios_seq seq = SEQ_MAX;

        if (!branch || atomic_load(&branch->state) == HELIOS_BRANCH_DROPPED)
            continue;
        while (branch->id != 0 && status == HELIOS_OK) {
            if (branch->fork_seq < seq)
                seq = branch->fork_seq;
            branch = branch_at(db, branch->parent);
            if (seq < horizon)
                status = add_fork(points, branch->id, seq);
        }
    }
    if (points->count)
        qsort(points->at, points->count, sizeof(*points->at), compare_points);
    for (size_t i = 0; i < points->count; i++)
        if (i == 0 || compare_points(&points->at[distinct - 1], &points->at[i]) != 0)
            points->at[distinct++] = points->at[i];
    points->count = distinct;
    return status;
}

/* Two ascending lists as one. */
static size_t merge_points(const helios_seq *pins, size_t pin_count, const struct fork_point *forks,
                           size_t fork_count, helios_seq *out)
{
    size_t n = 0, i = 0, j = 0;

    while (i < pin_count || j < fork_count) {
        helios_seq next =
            j == fork_count || (i < pin_count && pins[i] <= forks[j].seq) ? pins[i] : forks[j].seq;

        out[n++] = next;
        while (i < pin_count && pins[i] == next)
            i++;
        while (j < fork_count && forks[j].seq == next)
            j++;
    }
    return n;
}

static helios_status fill_rules(struct helios_db *db, struct job_rules *rules, const struct fork_points *forks,
                                const helios_seq *pins, size_t count)
{
    helios_branch_id ids = registry_next_id(db->registry);
    size_t listed = 0, at = 0;

    for (helios_branch_id id = 0; id < ids; id++) {
        struct garbage_branch branch = {.branch = id, .pins = pins, .count = count, .is_root = id == 0};
        size_t first = at;

        while (at < forks->count && forks->at[at].branch == id)
            at++;
        branch.dropped = branch_is_garbage(db, id);
        if (at > first) {
            helios_seq *own = mem_array(count + (at - first), sizeof(*own));

            if (!own)
                return fail_no_memory((count + (at - first)) * sizeof(*own));
            branch.count = merge_points(pins, count, forks->at + first, at - first, own);
            branch.pins = own;
        }
        if (id == 0 || branch.dropped || at > first)
            rules->branches[listed++] = branch;
        rules->rules.count = listed;
    }
    return HELIOS_OK;
}

helios_status branch_rules_init(struct helios_db *db, struct job_rules *rules, const helios_seq *pins,
                                size_t count)
{
    helios_branch_id ids = registry_next_id(db->registry);
    struct fork_points forks = {0};
    helios_status status;

    rules->branches = mem_array(ids, sizeof(*rules->branches));
    if (!rules->branches)
        return fail_no_memory(ids * sizeof(*rules->branches));
    rules->rules.branches = rules->branches;
    rules->rules.count = 0;
    rules->rules.others = (struct garbage_branch){.pins = pins, .count = count, .is_root = false};
    status = collect_forks(db, rules->rules.horizon, &forks);
    if (status == HELIOS_OK)
        status = fill_rules(db, rules, &forks, pins, count);
    mem_free(forks.at);
    return status;
}

void branch_rules_release(struct job_rules *rules)
{
    for (size_t i = 0; i < rules->rules.count && rules->branches; i++)
        if (rules->branches[i].pins != rules->rules.others.pins)
            mem_free((void *)rules->branches[i].pins);
    mem_free(rules->branches);
    rules->branches = NULL;
    rules->rules.count = 0;
}
