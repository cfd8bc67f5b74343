/* tags.c - durable names of read points: the public calls, their entries on disk, the registry in memory.
 *
 * No job may collect what a tag needs, whatever happens when. Creating: the point is pinned, the tag goes into the
 * registry, the commit is made, the pin is released; so at each moment the pin or the registry holds the point. A
 * job looks at the pins first, then at the registry. Dropping: the commit, then out of the registry. A commit whose
 * fate is not known leaves the tag in the registry: the next open may find it. */
#include "engine/tags.h"
#include "base/coding.h"
#include "engine/branches.h"
#include "engine/read.h"
#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* The value, little-endian:
 *   0         1        5       13     21
 *   | version | branch | point | time |
 * The key is 'T' | name. */
enum {
    TAG_VERSION = 0,
    TAG_BRANCH = 1,
    TAG_POINT = 5,
    TAG_TIME = 13,
    TAG_SIZE = 21,
    TAG_VERSION_NOW = 1,
    TAG_KEY = 'T',
};

/* ---- names ---- */

/* ---- the registry ---- */

void tags_init(struct tags *tags)
{
    mutex_init(&tags->change_mu);
    mutex_init(&tags->mu);
}

void tags_release(struct tags *tags)
{
    for (size_t i = 0; i < tags->count; i++)
        mem_free(tags->items[i]);
    mem_free(tags->items);
    mutex_release(&tags->mu);
    mutex_release(&tags->change_mu);
}

/* Where the name is or would be. */
static size_t find_locked(const struct tags *tags, const char *name, bool *found)
{
    size_t from = 0, to = tags->count;

    *found = false;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        int order = strcmp(tags->items[middle]->name, name);

        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static struct tag_point *tag_new(const char *name, size_t size)
{
    struct tag_point *tag = mem_zalloc(sizeof(*tag) + size + 1);

    if (tag)
        memcpy(tag->name, name, size);
    else
        (void)!fail_no_memory(sizeof(*tag) + size + 1);
    return tag;
}

/* Takes the tag, whose name is not there yet, unless it fails. */
static helios_status tags_add(struct tags *tags, struct tag_point *tag)
{
    helios_status status = HELIOS_OK;
    bool found;
    size_t at;

    mutex_lock(&tags->mu);
    if (tags->count == tags->capacity) {
        size_t capacity = tags->capacity ? tags->capacity * 2 : 16;
        struct tag_point **grown = mem_realloc(tags->items, capacity * sizeof(struct tag_point *));

        if (grown) {
            tags->items = grown;
            tags->capacity = capacity;
        } else {
            status = fail_no_memory(capacity * sizeof(struct tag_point *));
        }
    }
    if (status == HELIOS_OK) {
        at = find_locked(tags, tag->name, &found);
        assert(!found);
        memmove(tags->items + at + 1, tags->items + at, (tags->count++ - at) * sizeof(struct tag_point *));
        tags->items[at] = tag;
    }
    mutex_unlock(&tags->mu);
    return status;
}

static void tags_remove(struct tags *tags, const char *name)
{
    struct tag_point *tag;
    bool found;
    size_t at;

    mutex_lock(&tags->mu);
    at = find_locked(tags, name, &found);
    assert(found);
    tag = tags->items[at];
    memmove(tags->items + at, tags->items + at + 1, (--tags->count - at) * sizeof(struct tag_point *));
    mutex_unlock(&tags->mu);
    mem_free(tag);
}

static bool tags_have(struct tags *tags, const char *name)
{
    bool found;

    mutex_lock(&tags->mu);
    (void)find_locked(tags, name, &found);
    mutex_unlock(&tags->mu);
    return found;
}

bool tags_on_branch(struct tags *tags, helios_branch_id branch, char *name)
{
    bool found = false;

    mutex_lock(&tags->mu);
    for (size_t i = 0; i < tags->count && !found; i++) {
        found = tags->items[i]->branch == branch;
        if (found)
            strcpy(name, tags->items[i]->name);
    }
    mutex_unlock(&tags->mu);
    return found;
}

bool tags_hold(struct tags *tags, helios_branch_id branch, helios_seq seq)
{
    bool held = false;

    mutex_lock(&tags->mu);
    for (size_t i = 0; i < tags->count && !held; i++)
        held = tags->items[i]->branch == branch && tags->items[i]->seq == seq;
    mutex_unlock(&tags->mu);
    return held;
}

helios_status tags_add_points(struct tags *tags, helios_seq below, helios_seq **seqs, size_t *count)
{
    helios_status status = HELIOS_OK;
    size_t n = *count, room;

    mutex_lock(&tags->mu);
    if (tags->count) {
        helios_seq *grown;

        room = (n + tags->count) * sizeof(**seqs);
        grown = mem_realloc(*seqs, room);
        if (grown) {
            *seqs = grown;
            for (size_t i = 0; i < tags->count; i++)
                if (tags->items[i]->seq && tags->items[i]->seq < below)
                    grown[n++] = tags->items[i]->seq;
        } else {
            status = fail_no_memory(room);
        }
    }
    mutex_unlock(&tags->mu);
    if (n > *count)
        *count = pins_sort(*seqs, n);
    return status;
}

/* ---- on disk ---- */

static void encode(const struct tag_point *tag, unsigned char out[TAG_SIZE])
{
    out[TAG_VERSION] = TAG_VERSION_NOW;
    put_u32(out + TAG_BRANCH, tag->branch);
    put_u64(out + TAG_POINT, tag->seq);
    put_u64(out + TAG_TIME, tag->time);
}

/* What an entry says, checked: it comes from disk. */
static helios_status decode(struct helios_db *db, helios_slice key, helios_slice value, struct tag_point **out)
{
    const unsigned char *in = value.data;
    const char *name = (const char *)key.data + 1;
    size_t size = key.size - 1;
    struct tag_point *tag;

    if (value.size < 1 || (in[TAG_VERSION] == TAG_VERSION_NOW && value.size != TAG_SIZE))
        return fail_corrupt("%s: a tag's entry of %zu bytes", db->path, value.size);
    if (in[TAG_VERSION] != TAG_VERSION_NOW)
        return fail(HELIOS_UNSUPPORTED, "%s: a tag's entry of version %u; this library knows version %u",
                    db->path, in[TAG_VERSION], TAG_VERSION_NOW);
    if (!is_name(name, size))
        return fail_corrupt("%s: a tag whose name of %zu bytes is none", db->path, size);
    tag = tag_new(name, size);
    if (!tag)
        return HELIOS_NO_MEMORY;
    tag->branch = get_u32(in + TAG_BRANCH);
    tag->seq = get_u64(in + TAG_POINT);
    tag->time = get_u64(in + TAG_TIME);
    tag->made = true;
    if (branch_readable(db, tag->branch) == HELIOS_OK && tag->seq <= atomic_load(&db->visible)) {
        *out = tag;
        return HELIOS_OK;
    }
    mem_free(tag);
    return fail_corrupt("%s: a tag that names point %" PRIu64 " of branch %u, which does not exist", db->path,
                        get_u64(in + TAG_POINT), get_u32(in + TAG_BRANCH));
}

static helios_status load_one(struct helios_db *db, helios_slice key, helios_slice value)
{
    struct tag_point *tag = NULL;
    helios_status status = decode(db, key, value, &tag);

    if (status == HELIOS_OK)
        status = tags_add(&db->tags, tag);
    if (status != HELIOS_OK)
        mem_free(tag);
    return status;
}

helios_status tags_load(struct helios_db *db)
{
    const unsigned char from = TAG_KEY, to = TAG_KEY + 1;
    helios_iter *it = NULL;
    helios_status status =
        iter_new_internal(db, 0, SPACE_SYSTEM, slice_make(&from, 1), slice_make(&to, 1), SEQ_MAX, &it);

    if (status != HELIOS_OK)
        return status;
    for (helios_iter_first(it); helios_iter_valid(it) && status == HELIOS_OK; helios_iter_next(it))
        status = load_one(db, helios_iter_key(it), helios_iter_value(it));
    if (status == HELIOS_OK)
        status = helios_iter_status(it);
    helios_iter_free(it);
    return status;
}

/* The commit that makes or drops a tag. */
static helios_status commit_tag(struct helios_db *db, enum key_kind kind, const struct tag_point *tag)
{
    unsigned char key[1 + NAME_BYTES_MAX], value[TAG_SIZE];
    size_t size = strlen(tag->name);

    key[0] = TAG_KEY;
    memcpy(key + 1, tag->name, size);
    encode(tag, value);
    return write_system(db, HELIOS_DURABILITY_SYNC, kind, slice_make(key, size + 1),
                        slice_make(value, kind == KIND_VALUE ? sizeof(value) : 0), NULL);
}

/* ---- the public calls ---- */

/* As a commit would get it that is made now. */
static uint64_t time_of_commit(struct helios_db *db)
{
    uint64_t now = io_time(db->fs);

    mutex_lock(&db->commit_mu);
    if (now < db->last_time)
        now = db->last_time;
    mutex_unlock(&db->commit_mu);
    return now;
}

/* Under change_mu, the point pinned. */
static helios_status create_pinned(struct helios_db *db, const char *name, helios_branch_id branch,
                                   helios_seq seq)
{
    struct tag_point *tag = tag_new(name, strlen(name));
    helios_status status;

    if (!tag)
        return HELIOS_NO_MEMORY;
    tag->branch = branch;
    tag->seq = seq;
    tag->time = time_of_commit(db);
    status = tags_add(&db->tags, tag);
    if (status != HELIOS_OK) {
        mem_free(tag);
        return status;
    }
    status = commit_tag(db, KIND_VALUE, tag);
    if (status == HELIOS_OK) {
        mutex_lock(&db->tags.mu);
        tag->made = true;
        mutex_unlock(&db->tags.mu);
    } else if (!atomic_load(&db->failed)) {
        tags_remove(&db->tags, name);
    }
    return status;
}

static helios_status create(struct helios_db *db, const char *name, const helios_read_options *point)
{
    pin_id pin;
    helios_seq seq;
    helios_status status;

    if (tags_have(&db->tags, name))
        return fail(HELIOS_EXISTS, "there is a tag \"%s\" already", name);
    status = read_point_pin(db, point, HELIOS_PIN_ITERATOR, &pin, &seq);
    if (status != HELIOS_OK)
        return status;
    status = create_pinned(db, name, point->branch, seq);
    pins_release(db->pins, pin);
    return status;
}

helios_status helios_tag_create(helios_db *db, const char *name, helios_branch_id branch, helios_seq at)
{
    helios_read_options given = HELIOS_READ_OPTIONS_INIT, point;
    helios_status status;

    if (!db || !name)
        return fail(HELIOS_INVALID, "no %s was given", db ? "name" : "database");
    given.branch = branch;
    given.at = at;
    status = name_check("a tag", name);
    if (status == HELIOS_OK)
        status = db_writable(db);
    if (status == HELIOS_OK)
        status = read_options(db, &given, &point);
    if (status == HELIOS_OK)
        status = branch_hold(db, branch); /* it cannot be dropped meanwhile */
    if (status != HELIOS_OK)
        return status;
    mutex_lock(&db->tags.change_mu);
    status = create(db, name, &point);
    mutex_unlock(&db->tags.change_mu);
    branch_release(db, branch);
    return status;
}

static helios_status fail_no_tag(const char *name)
{
    return fail(HELIOS_NOT_FOUND, "no tag \"%s\"", name);
}

/* Only who holds change_mu changes or frees one. NULL: none. */
static struct tag_point *find_made(struct tags *tags, const char *name)
{
    struct tag_point *tag;
    bool found;
    size_t at;

    mutex_lock(&tags->mu);
    at = find_locked(tags, name, &found);
    tag = found && tags->items[at]->made ? tags->items[at] : NULL;
    mutex_unlock(&tags->mu);
    return tag;
}

helios_status helios_tag_drop(helios_db *db, const char *name)
{
    struct tag_point *tag;
    helios_status status;

    if (!db || !name)
        return fail(HELIOS_INVALID, "no %s was given", db ? "name" : "database");
    status = name_check("a tag", name);
    if (status == HELIOS_OK)
        status = db_writable(db);
    if (status != HELIOS_OK)
        return status;
    mutex_lock(&db->tags.change_mu);
    tag = find_made(&db->tags, name);
    status = tag ? commit_tag(db, KIND_TOMBSTONE, tag) : fail_no_tag(name);
    if (status == HELIOS_OK)
        tags_remove(&db->tags, name);
    mutex_unlock(&db->tags.change_mu);
    return status;
}

static helios_seq as_given(helios_seq seq)
{
    return seq ? seq : HELIOS_SEQ_NONE;
}

helios_status helios_tag_get(helios_db *db, const char *name, helios_branch_id *branch, helios_seq *seq)
{
    helios_status status;
    bool found;
    size_t at;

    if (!db || !name || !branch || !seq)
        return fail(HELIOS_INVALID, "no %s was given",
                    !db     ? "database"
                    : !name ? "name"
                            : "place for the point");
    status = name_check("a tag", name);
    if (status != HELIOS_OK)
        return status;
    mutex_lock(&db->tags.mu);
    at = find_locked(&db->tags, name, &found);
    found = found && db->tags.items[at]->made;
    if (found) {
        *branch = db->tags.items[at]->branch;
        *seq = as_given(db->tags.items[at]->seq);
    }
    mutex_unlock(&db->tags.mu);
    return found ? HELIOS_OK : fail_no_tag(name);
}

/* Entries first, the names behind them. */
static helios_status list_locked(const struct tags *tags, helios_tag_info **out, size_t *n)
{
    size_t bytes = 0, count = 0;
    helios_tag_info *list;
    char *names;

    for (size_t i = 0; i < tags->count; i++)
        bytes += sizeof(*list) + strlen(tags->items[i]->name) + 1;
    list = mem_zalloc(bytes + 1);
    if (!list)
        return fail_no_memory(bytes + 1);
    names = (char *)(list + tags->count);
    for (size_t i = 0; i < tags->count; i++) {
        const struct tag_point *tag = tags->items[i];
        size_t size = strlen(tag->name) + 1;

        if (!tag->made)
            continue;
        memcpy(names, tag->name, size);
        list[count++] = (helios_tag_info){
            .name = names, .branch = tag->branch, .at = as_given(tag->seq), .time = tag->time};
        names += size;
    }
    *out = list;
    *n = count;
    return HELIOS_OK;
}

helios_status helios_tag_list(helios_db *db, helios_tag_info **list, size_t *n)
{
    helios_status status;

    if (!db || !list || !n)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the list" : "database");
    mutex_lock(&db->tags.mu);
    status = list_locked(&db->tags, list, n);
    mutex_unlock(&db->tags.mu);
    return status;
}
