/* salvage_registry.c - branches, merges and tags of what was salvaged, brought into agreement: an open refuses entries
 * that contradict each other, and a branch without an entry would hide what is on it and could be given its number
 * again. What has to change is one commit; each change is told. */
#include "branch/vector.h"
#include "engine/salvage_internal.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    IDS_MAX = 1 << 20, /* of branches without an entry that are found again: memory is taken by the highest */
    TAG_VALUE_BYTES = 21,
    NAME_MAX_BYTES = 255,
};

struct mended_branch {
    bool exists, dropped;
};

struct mending {
    struct salvage *s;
    struct memtable *memtable; /* NULL: counts what is to be done */
    struct memtable_hint hint;
    helios_seq seq;
    uint32_t count;
    uint64_t bytes;
    struct mended_branch *branches; /* by id */
    size_t branch_count;
    helios_slice *names; /* of live ones; borrowed */
    size_t name_count;
    helios_branch_id target; /* of the merge before */
    helios_seq merged;
};

static helios_status change(struct mending *m, enum key_kind kind, helios_slice user, helios_slice value,
                            const char *reason)
{
    unsigned char key[KEY_LAYER_BYTES + 1 + NAME_MAX_BYTES];
    const struct salvage_loss loss = {.kind = HELIOS_LOST_ENTRY, .reason = reason};
    struct memtable_node *node;

    m->count++;
    m->bytes += user.size + value.size;
    if (!m->memtable)
        return HELIOS_OK;
    if (user.size > 1 + NAME_MAX_BYTES)
        return HELIOS_OK; /* no entry has such a key, so none is looked for */
    salvage_lose(m->s, &loss);
    key_put_layer(key, 0, SPACE_SYSTEM);
    memcpy(key + KEY_LAYER_BYTES, user.data, user.size);
    node = memtable_prepare(m->memtable, slice_make(key, KEY_LAYER_BYTES + user.size), value, kind);
    if (!node)
        return fail(HELIOS_NO_MEMORY, "too much of the registry is damaged");
    memtable_insert(m->memtable, node, m->seq, &m->hint);
    return HELIOS_OK;
}

static helios_status forget(struct mending *m, const struct salvage_entry *entry, const char *reason)
{
    return change(m, KIND_TOMBSTONE, entry->key, (helios_slice){"", 0}, reason);
}

/* ---- branches ---- */

static bool name_is_taken(const struct mending *m, helios_slice name)
{
    for (size_t i = 0; i < m->name_count; i++)
        if (slice_equal(m->names[i], name))
            return true;
    return false;
}

/* An entry that stands by itself: nothing shows through from elsewhere, so nothing is shown that was not written. */
static helios_status stand_alone(struct mending *m, helios_branch_id id, const char *reason)
{
    unsigned char key[BRANCH_KEY_BYTES];
    char name[32];
    struct branch_record record = {
        .id = id, .created_seq = 1, .created_time = m->s->clock, .state = HELIOS_BRANCH_ACTIVE};
    helios_buf value = {0};
    helios_status status;

    snprintf(name, sizeof(name), "salvaged-%u", (unsigned)id);
    for (int i = 0; name_is_taken(m, slice_make(name, strlen(name))) && i < 3; i++)
        snprintf(name, sizeof(name), "salvaged-%u-%d", (unsigned)id, i);
    record.name = slice_make(name, strlen(name));
    status = branch_record_encode(&value, &record);
    if (status == HELIOS_OK)
        status = change(m, KIND_VALUE, branch_key(key, id), buf_slice(&value), reason);
    helios_buf_free(&value);
    m->s->report.branches += m->memtable != NULL;
    m->branches[id].exists = true;
    return status;
}

static const struct salvage_entry *find_branch(const struct salvage *s, helios_branch_id id)
{
    unsigned char bytes[BRANCH_KEY_BYTES];
    helios_slice key = branch_key(bytes, id);

    for (size_t i = 0; i < s->entry_count; i++)
        if (slice_equal(s->entries[i].key, key))
            return &s->entries[i];
    return NULL;
}

static bool branch_is_sound(const struct mending *m, const struct salvage_entry *entry, struct branch_record *r)
{
    return branch_record_decode(entry->value, r) && r->parent < r->id && m->branches[r->parent].exists &&
           r->fork_seq <= m->s->last_seen &&
           (r->state == HELIOS_BRANCH_DROPPED || !m->branches[r->parent].dropped) &&
           (r->state == HELIOS_BRANCH_DROPPED || !name_is_taken(m, r->name));
}

static bool holds_anything(const struct salvage *s, helios_branch_id id)
{
    for (size_t i = 0; i < s->branch_count; i++)
        if (s->branches[i] == id)
            return true;
    return false;
}

/* Whether an entry names it as the parent. */
static bool is_wanted(const struct salvage *s, helios_branch_id id)
{
    for (size_t i = 0; i < s->entry_count; i++) {
        struct branch_record r = {.id = 0};

        if (s->entries[i].key.size == BRANCH_KEY_BYTES && slice_bytes(s->entries[i].key)[0] == 'B' &&
            branch_record_decode(s->entries[i].value, &r) && r.parent == id)
            return true;
    }
    return false;
}

static helios_status mend_branch(struct mending *m, helios_branch_id id)
{
    const struct salvage_entry *entry = find_branch(m->s, id);
    struct branch_record record = {.id = id};
    char reason[128];

    if (entry && branch_is_sound(m, entry, &record)) {
        m->branches[id] = (struct mended_branch){true, record.state == HELIOS_BRANCH_DROPPED};
        if (!m->branches[id].dropped)
            m->names[m->name_count++] = record.name;
        return HELIOS_OK;
    }
    if (!entry && !holds_anything(m->s, id) && !is_wanted(m->s, id))
        return HELIOS_OK;
    snprintf(reason, sizeof(reason), "branch %u: its entry is %s; it is there as a branch without a parent",
             (unsigned)id, entry ? "in contradiction to others" : "lost");
    return stand_alone(m, id, reason);
}

static size_t ids_of(const struct salvage *s)
{
    size_t ids = 1;

    for (size_t i = 0; i < s->entry_count; i++)
        if (s->entries[i].key.size == BRANCH_KEY_BYTES && slice_bytes(s->entries[i].key)[0] == 'B' &&
            get_u32_be(slice_bytes(s->entries[i].key) + 1) < IDS_MAX &&
            get_u32_be(slice_bytes(s->entries[i].key) + 1) >= ids)
            ids = (size_t)get_u32_be(slice_bytes(s->entries[i].key) + 1) + 1;
    for (size_t i = 0; i < s->branch_count; i++)
        if (s->branches[i] < IDS_MAX && s->branches[i] >= ids)
            ids = (size_t)s->branches[i] + 1;
    return ids;
}

static helios_status mend_branches(struct mending *m)
{
    helios_status status = HELIOS_OK;

    m->branches[0].exists = true;
    m->names[m->name_count++] = slice_make("main", 4);
    for (size_t id = 1; id < m->branch_count && status == HELIOS_OK; id++)
        status = mend_branch(m, (helios_branch_id)id);
    return status;
}

static helios_status mend_odd_branch(struct mending *m, const struct salvage_entry *entry)
{
    if (entry->key.size == BRANCH_KEY_BYTES && get_u32_be(slice_bytes(entry->key) + 1) < m->branch_count &&
        get_u32_be(slice_bytes(entry->key) + 1) > 0)
        return HELIOS_OK;
    return forget(m, entry, "an entry of the registry is of no branch that can be; it is left out");
}

/* ---- merges ---- */

static bool branch_exists(const struct mending *m, helios_branch_id id)
{
    return id < m->branch_count && m->branches[id].exists;
}

static bool merge_is_sound(struct mending *m, const struct salvage_entry *entry, const struct merge *merge,
                           helios_branch_id target)
{
    bool sound = branch_exists(m, target) && branch_exists(m, merge->source.branch) &&
                 branch_exists(m, merge->base.branch) && (target != m->target || entry->seq > m->merged);

    for (size_t i = 0; i < merge->count; i++)
        sound &= branch_exists(m, merge->raised[i].at.branch);
    return sound;
}

static helios_status mend_merge(struct mending *m, const struct salvage_entry *entry)
{
    struct merge *merge = NULL;
    helios_branch_id target = 0;
    helios_status status = HELIOS_CORRUPT;
    bool sound;

    if (entry->key.size == 9) {
        target = get_u32_be(slice_bytes(entry->key) + 1);
        status = merge_decode(entry->value, &merge);
    }
    if (status == HELIOS_NO_MEMORY)
        return status;
    sound = status == HELIOS_OK && merge_is_sound(m, entry, merge, target);
    merge_free(merge);
    if (!sound)
        return forget(m, entry,
                      "a merge contradicts the branches that are there; that it was made is forgotten");
    m->target = target;
    m->merged = entry->seq;
    return HELIOS_OK;
}

/* ---- tags ---- */

static helios_status mend_tag(struct mending *m, const struct salvage_entry *entry)
{
    const unsigned char *in = slice_bytes(entry->value);
    char reason[64 + NAME_MAX_BYTES];

    if (entry->value.size == TAG_VALUE_BYTES && in[0] == 1 && branch_exists(m, get_u32(in + 1)) &&
        !m->branches[get_u32(in + 1)].dropped && get_u64(in + 5) <= m->s->last_seen)
        return HELIOS_OK;
    snprintf(reason, sizeof(reason), "the tag \"%.*s\" names a point that is not there; it is left out",
             (int)(entry->key.size - 1), (const char *)entry->key.data + 1);
    return forget(m, entry, reason);
}

/* ---- all ---- */

static helios_status mend_entry(struct mending *m, const struct salvage_entry *entry)
{
    switch (slice_bytes(entry->key)[0]) {
    case 'B': return mend_odd_branch(m, entry);
    case 'M': return mend_merge(m, entry);
    default: return mend_tag(m, entry);
    }
}

helios_status salvage_registry(struct salvage *s, struct memtable *memtable, helios_seq seq, uint32_t *count,
                               uint64_t *bytes)
{
    struct mending m = {.s = s, .memtable = memtable, .seq = seq, .branch_count = ids_of(s)};
    helios_status status;

    m.branches = mem_array(m.branch_count, sizeof(*m.branches));
    m.names = mem_array(m.branch_count + 1, sizeof(*m.names));
    status = m.branches && m.names ? mend_branches(&m) : fail_no_memory(m.branch_count * sizeof(*m.names));
    for (size_t i = 0; i < s->entry_count && status == HELIOS_OK; i++)
        status = mend_entry(&m, &s->entries[i]);
    *count = m.count;
    *bytes = m.bytes;
    mem_free(m.branches);
    mem_free(m.names);
    return status;
}
