/* registry.c - branches in memory. Called by engine/branches.c for changes and by every read of a branch.
 *
 * By id: an array of pointers that readers load; when it is full, a larger copy takes its place and the old one
 * goes through the epoch. By name: a sorted array of the live ones, under the lock. */
#include "branch/vector.h"
#include "base/epoch.h"
#include "base/mem.h"
#include "base/utf8.h"
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    RECORD_VERSION = 1,
    FIRST_CAPACITY = 16,
    IDS_MAX = 1 << 26, /* ever: an id takes eight bytes for good, also one that damage made large */
};

struct by_id {
    struct epoch_item item;
    size_t capacity;
    _Atomic(struct branch *) at[];
};

struct registry {
    _Atomic(struct by_id *) by_id; /* release by the one who adds; acquire by readers */
    _Atomic uint32_t count;
    struct branch **by_name; /* live, sorted */
    size_t live, name_capacity;
};

/* ---- records ---- */

helios_status branch_record_encode(helios_buf *out, const struct branch_record *r)
{
    unsigned char bytes[3 + 7 * VARINT_MAX];
    size_t n = 0;
    helios_status status;

    bytes[n++] = RECORD_VERSION;
    bytes[n++] = (unsigned char)r->state;
    n += put_varint(bytes + n, r->parent);
    n += put_varint(bytes + n, r->fork_seq);
    n += put_varint(bytes + n, r->created_seq);
    n += put_varint(bytes + n, r->created_time);
    n += put_varint(bytes + n, r->closed_seq);
    n += put_varint(bytes + n, r->name.size);
    n += put_varint(bytes + n, r->metadata.size);
    status = buf_set(out, bytes, n);
    if (status == HELIOS_OK)
        status = buf_append(out, r->name.data, r->name.size);
    return status == HELIOS_OK ? buf_append(out, r->metadata.data, r->metadata.size) : status;
}

bool branch_record_decode(helios_slice value, struct branch_record *out)
{
    struct reader r = reader_make(value.data, value.size);
    const unsigned char *head = read_raw(&r, 2);
    uint64_t parent, name, metadata;
    helios_branch_id id = out->id;

    if (!head || head[0] != RECORD_VERSION || head[1] > HELIOS_BRANCH_DROPPED)
        return false;
    *out = (struct branch_record){.id = id, .state = (helios_branch_state)head[1]};
    parent = read_varint(&r);
    out->fork_seq = read_varint(&r);
    out->created_seq = read_varint(&r);
    out->created_time = read_varint(&r);
    out->closed_seq = read_varint(&r);
    name = read_varint(&r);
    metadata = read_varint(&r);
    if (r.bad || parent > UINT32_MAX || name == 0 || name > NAME_BYTES_MAX || metadata > BRANCH_METADATA_MAX ||
        out->fork_seq > SEQ_MAX || out->created_seq > SEQ_MAX || out->closed_seq > SEQ_MAX)
        return false;
    out->parent = (helios_branch_id)parent;
    out->name = slice_make(read_raw(&r, name), name);
    out->metadata = slice_make(read_raw(&r, metadata), metadata);
    return reader_done(&r);
}

helios_status branch_name_check(const char *name)
{
    helios_status status = name_check("a branch", name);

    if (status == HELIOS_OK && name[0] == '-')
        status = fail(HELIOS_INVALID, "the name of a branch does not begin with '-': %s", name);
    return status;
}

/* ---- making ---- */

static void release_by_id(struct epoch_item *item)
{
    mem_free((char *)item - offsetof(struct by_id, item));
}

static struct by_id *by_id_new(size_t capacity)
{
    struct by_id *table = mem_zalloc(sizeof(*table) + capacity * sizeof(table->at[0]));

    if (table)
        table->capacity = capacity;
    else
        (void)!fail_no_memory(capacity * sizeof(table->at[0]));
    return table;
}

void registry_discard(struct branch *branch)
{
    if (!branch)
        return;
    for (struct merge *merge = atomic_load(&branch->merges), *older; merge; merge = older) {
        older = merge->older;
        merge_free(merge);
    }
    mem_free(branch->name);
    mem_free(branch->held.at);
    mem_free(branch);
}

static helios_status branch_new(const struct branch_record *r, struct branch **out)
{
    struct branch *branch = mem_zalloc(sizeof(*branch));
    helios_status status = branch ? HELIOS_OK : fail_no_memory(sizeof(*branch));

    if (status == HELIOS_OK) {
        branch->name = mem_alloc(r->name.size + 1);
        status = branch->name ? HELIOS_OK : fail_no_memory(r->name.size + 1);
    }
    if (status != HELIOS_OK) {
        registry_discard(branch);
        return status;
    }
    memcpy(branch->name, r->name.data, r->name.size);
    branch->name[r->name.size] = 0;
    branch->id = r->id;
    branch->parent = r->parent;
    branch->fork_seq = r->fork_seq;
    branch->created_seq = r->created_seq;
    branch->created_time = r->created_time;
    branch->closed_seq = r->closed_seq;
    atomic_init(&branch->state, r->state);
    *out = branch;
    return HELIOS_OK;
}

helios_status registry_new(struct registry **out)
{
    struct registry *registry = mem_zalloc(sizeof(*registry));
    const struct branch_record main_record = {.name = {"main", 4}, .metadata = {"", 0}};
    struct branch *branch;
    struct by_id *table;
    helios_status status;

    if (!registry)
        return fail_no_memory(sizeof(*registry));
    status = registry_prepare(registry, &main_record, &branch);
    if (status != HELIOS_OK) {
        registry_free(registry);
        return status;
    }
    atomic_store(&branch->first_write, 1); /* main: always asked */
    table = atomic_load(&registry->by_id);
    atomic_store(&table->at[0], branch);
    atomic_store(&registry->count, 1);
    registry->by_name[registry->live++] = branch;
    *out = registry;
    return HELIOS_OK;
}

void registry_free(struct registry *registry)
{
    struct by_id *table;

    if (!registry)
        return;
    table = atomic_load(&registry->by_id);
    for (size_t i = 0; table && i < table->capacity; i++)
        registry_discard(atomic_load(&table->at[i]));
    mem_free(table);
    mem_free(registry->by_name);
    mem_free(registry);
}

/* ---- finding ---- */

const struct branch *registry_at(const struct registry *registry, helios_branch_id id)
{
    struct by_id *table;

    if (id >= atomic_load_explicit(&registry->count, memory_order_acquire))
        return NULL;
    table = atomic_load_explicit(&registry->by_id, memory_order_acquire);
    return atomic_load_explicit(&table->at[id], memory_order_acquire);
}

/* Where the name is in by_name, or would be. */
static size_t name_place(const struct registry *registry, const char *name, bool *found)
{
    size_t low = 0, high = registry->live;

    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(registry->by_name[middle]->name, name);

        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct branch *registry_by_name(struct registry *registry, const char *name)
{
    bool found;
    size_t place = name_place(registry, name, &found);

    return found ? registry->by_name[place] : NULL;
}

helios_branch_id registry_next_id(const struct registry *registry)
{
    return atomic_load(&registry->count);
}

size_t registry_live(const struct registry *registry)
{
    return registry->live;
}

/* ---- changing ---- */

static helios_status grow_ids(struct registry *registry, size_t needed)
{
    struct by_id *old = atomic_load(&registry->by_id), *table;
    size_t capacity = old ? old->capacity : FIRST_CAPACITY;

    if (old && needed <= capacity)
        return HELIOS_OK;
    if (needed > IDS_MAX)
        return fail(HELIOS_LIMIT, "branch %zu: at most %d can be made in a database's life", needed - 1,
                    IDS_MAX);
    while (capacity < needed)
        capacity *= 2;
    table = by_id_new(capacity);
    if (!table)
        return HELIOS_NO_MEMORY;
    for (size_t i = 0; old && i < old->capacity; i++)
        atomic_store_explicit(&table->at[i], atomic_load(&old->at[i]), memory_order_relaxed);
    atomic_store_explicit(&registry->by_id, table, memory_order_release);
    if (old)
        epoch_retire(&old->item, release_by_id);
    return HELIOS_OK;
}

static helios_status grow_names(struct registry *registry)
{
    size_t capacity = registry->name_capacity ? registry->name_capacity * 2 : FIRST_CAPACITY;
    struct branch **names;

    if (registry->live < registry->name_capacity)
        return HELIOS_OK;
    names = mem_realloc(registry->by_name, capacity * sizeof(*names));
    if (!names)
        return fail_no_memory(capacity * sizeof(*names));
    registry->by_name = names;
    registry->name_capacity = capacity;
    return HELIOS_OK;
}

helios_status registry_prepare(struct registry *registry, const struct branch_record *record,
                               struct branch **fresh)
{
    helios_status status = grow_ids(registry, (size_t)record->id + 1);

    if (status == HELIOS_OK)
        status = grow_names(registry);
    return status == HELIOS_OK ? branch_new(record, fresh) : status;
}

static void insert_name(struct registry *registry, struct branch *branch)
{
    bool found;
    size_t place = name_place(registry, branch->name, &found);

    assert(!found && registry->live < registry->name_capacity);
    memmove(registry->by_name + place + 1, registry->by_name + place,
            (registry->live - place) * sizeof(*registry->by_name));
    registry->by_name[place] = branch;
    registry->live++;
}

static void remove_name(struct registry *registry, const struct branch *branch)
{
    bool found;
    size_t place = name_place(registry, branch->name, &found);

    assert(found && registry->by_name[place] == branch);
    memmove(registry->by_name + place, registry->by_name + place + 1,
            (registry->live - place - 1) * sizeof(*registry->by_name));
    registry->live--;
}

static bool is_live(const struct branch *branch)
{
    return atomic_load(&branch->state) != HELIOS_BRANCH_DROPPED;
}

/* The layers of the ancestors are complete up to the fork point: whether they hold anything there stays so. */
static void link_up(struct branch *branch, const struct branch *parent)
{
    const struct branch *up = parent;
    helios_seq point = branch->fork_seq;

    while (up) {
        helios_seq first = atomic_load(&up->first_write);

        if (first && first <= point)
            break;
        if (up->up_seq < point)
            point = up->up_seq;
        up = up->up;
    }
    branch->up = up;
    branch->up_seq = up ? point : 0;
}

static void make_findable(struct registry *registry, struct branch *fresh)
{
    struct by_id *table = atomic_load(&registry->by_id);
    struct branch *parent = atomic_load(&table->at[fresh->parent]);

    assert(fresh->id < table->capacity && parent && parent->id < fresh->id);
    link_up(fresh, parent);
    if (is_live(fresh))
        parent->live_children++;
    atomic_store_explicit(&table->at[fresh->id], fresh, memory_order_release);
    if (fresh->id >= atomic_load(&registry->count))
        atomic_store_explicit(&registry->count, fresh->id + 1, memory_order_release);
}

void registry_add(struct registry *registry, struct branch *fresh)
{
    if (is_live(fresh))
        insert_name(registry, fresh);
    make_findable(registry, fresh);
}

/* ---- at open ---- */

void registry_load(struct registry *registry, struct branch *fresh)
{
    if (is_live(fresh))
        registry->by_name[registry->live++] = fresh;
    make_findable(registry, fresh);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(struct branch *const *)a)->name, (*(struct branch *const *)b)->name);
}

static bool sort_names(struct registry *registry)
{
    qsort(registry->by_name, registry->live, sizeof(struct branch *), compare_names);
    for (size_t i = 1; i < registry->live; i++)
        if (strcmp(registry->by_name[i - 1]->name, registry->by_name[i]->name) == 0)
            return false;
    return true;
}

bool registry_loaded(struct registry *registry, const bool *written)
{
    struct by_id *table = atomic_load(&registry->by_id);

    for (helios_branch_id id = 1; id < atomic_load(&registry->count); id++) {
        struct branch *branch = atomic_load(&table->at[id]);

        if (!branch)
            continue;
        atomic_store(&branch->first_write, written[id]); /* parents come first; 1 is below every fork */
        link_up(branch, atomic_load(&table->at[branch->parent]));
    }
    return sort_names(registry);
}

/* ---- changes ---- */

void registry_rename(struct registry *registry, struct branch *branch, char *name)
{
    remove_name(registry, branch);
    mem_free(branch->name);
    branch->name = name;
    insert_name(registry, branch);
}

void registry_close(struct registry *registry, struct branch *branch, helios_branch_state state,
                    helios_seq closed_seq)
{
    struct by_id *table = atomic_load(&registry->by_id);

    if (is_live(branch) && state == HELIOS_BRANCH_DROPPED) {
        remove_name(registry, branch);
        atomic_load(&table->at[branch->parent])->live_children--;
    }
    branch->closed_seq = closed_seq;
    atomic_store_explicit(&branch->state, state, memory_order_release);
}

helios_status registry_list(const struct registry *registry, bool all, struct branch ***list, size_t *count)
{
    size_t ids = atomic_load(&registry->count), n = 0;
    struct branch **out = mem_array(ids, sizeof(*out));
    struct by_id *table = atomic_load(&registry->by_id);

    if (!out)
        return fail_no_memory(ids * sizeof(*out));
    for (; !all && n < registry->live; n++)
        out[n] = registry->by_name[n];
    for (size_t id = 0; all && id < ids; id++)
        if (atomic_load(&table->at[id]))
            out[n++] = atomic_load(&table->at[id]);
    *list = out;
    *count = n;
    return HELIOS_OK;
}

bool branch_point_on(const struct registry *registry, helios_branch_id id, helios_seq seq,
                     helios_branch_id ancestor, helios_seq *point)
{
    const struct branch *branch = registry_at(registry, id);

    while (branch && branch->id != ancestor) {
        if (branch->id == 0)
            return false;
        if (branch->fork_seq < seq)
            seq = branch->fork_seq;
        branch = registry_at(registry, branch->parent);
    }
    if (!branch)
        return false;
    *point = seq;
    return true;
}
