/* memory_names.c - the directories of the memory file system: live names, durable names, and in between
 * the changes that nobody has synced. */
#include "io/memory_internal.h"
#include "base/mem.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

/* ---- names ---- */

static struct name *name_new(const char *text)
{
    size_t size = strlen(text) + 1;
    struct name *name = mem_alloc(sizeof(*name) + size);

    if (!name)
        return NULL;
    name->holders = 1;
    memcpy(name->text, text, size);
    return name;
}

static struct name *name_ref(struct name *name)
{
    name->holders++;
    return name;
}

static void name_unref(struct name *name)
{
    if (name && --name->holders == 0)
        mem_free(name);
}

/* The index of text, or where it belongs. */
static size_t names_index(const struct names *names, const char *text, bool *found)
{
    size_t low = 0, high = names->count;

    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(names->entries[middle].name->text, text);

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

struct inode *names_find(const struct names *names, const char *text)
{
    bool found;
    size_t at = names_index(names, text, &found);

    return found ? names->entries[at].inode : NULL;
}

static helios_status names_reserve(struct names *names, size_t capacity)
{
    size_t wanted = 2 * names->capacity > capacity ? 2 * names->capacity : capacity;
    void *grown;

    if (capacity <= names->capacity)
        return HELIOS_OK;
    grown = mem_realloc(names->entries, wanted * sizeof(*names->entries));
    if (!grown)
        return fail_no_memory(wanted * sizeof(*names->entries));
    names->entries = grown;
    names->capacity = wanted;
    return HELIOS_OK;
}

/* ---- inodes ---- */

struct inode *inode_new(bool is_directory)
{
    struct inode *inode = mem_zalloc(sizeof(*inode));

    if (!inode)
        return NULL;
    inode->is_directory = is_directory;
    inode->holders = 1;
    pthread_rwlock_init(&inode->lock, NULL);
    return inode;
}

static void names_release(struct memory_fs *fs, struct names *names, bool live);

void inode_unref(struct memory_fs *fs, struct inode *inode)
{
    if (!inode)
        return;
    assert(inode->holders > 0);
    if (--inode->holders > 0)
        return;
    assert(inode->mappings == 0);
    names_release(fs, &inode->names, true);
    names_release(fs, &inode->synced_names, false);
    pages_free(inode->now.bytes, inode->now.capacity);
    pages_free(inode->synced.bytes, inode->synced.capacity);
    pthread_rwlock_destroy(&inode->lock);
    mem_free(inode);
}

static struct inode *inode_ref(struct inode *inode)
{
    if (inode)
        inode->holders++;
    return inode;
}

void inode_use(struct memory_fs *fs, struct inode *inode)
{
    inode_ref(inode);
    if (inode->users++ == 0)
        atomic_fetch_add(&fs->used, inode->now.size);
}

void inode_unuse(struct memory_fs *fs, struct inode *inode)
{
    assert(inode->users > 0);
    if (--inode->users == 0)
        atomic_fetch_sub(&fs->used, inode->now.size);
    inode_unref(fs, inode);
}

/* ---- setting names; live ones use their inodes, durable ones only hold them ---- */

static void entry_hold(struct memory_fs *fs, struct inode *inode, bool live)
{
    if (live)
        inode_use(fs, inode);
    else
        inode_ref(inode);
}

static void entry_let_go(struct memory_fs *fs, struct inode *inode, bool live)
{
    if (live)
        inode_unuse(fs, inode);
    else
        inode_unref(fs, inode);
}

static void names_release(struct memory_fs *fs, struct names *names, bool live)
{
    while (names->count > 0) {
        names->count--;
        name_unref(names->entries[names->count].name);
        entry_let_go(fs, names->entries[names->count].inode, live);
    }
    mem_free(names->entries);
    *names = (struct names){0};
}

/* NULL removes the name. There is room, and the caller holds both name and inode. */
static void names_set(struct memory_fs *fs, struct names *names, struct name *name, struct inode *inode,
                      bool live)
{
    bool found;
    size_t at = names_index(names, name->text, &found);
    struct inode *old = found ? names->entries[at].inode : NULL;
    struct name *old_name = found ? names->entries[at].name : NULL;

    if (inode)
        entry_hold(fs, inode, live);
    if (inode && !found) {
        assert(names->count < names->capacity);
        memmove(names->entries + at + 1, names->entries + at, (names->count - at) * sizeof(*names->entries));
        names->count++;
    }
    if (!inode && found) {
        names->count--;
        memmove(names->entries + at, names->entries + at + 1, (names->count - at) * sizeof(*names->entries));
    }
    if (inode) {
        names->entries[at].name = name_ref(name);
        names->entries[at].inode = inode;
    }
    name_unref(old_name);
    if (old)
        entry_let_go(fs, old, live);
}

/* ---- paths ---- */

/* The next component of *path into name; 0 at the end, an errno when it is too long. */
static int next_component(const char **path, char name[NAME_BYTES_MAX + 1])
{
    size_t size;

    do {
        *path += strspn(*path, "/");
        size = strcspn(*path, "/");
        if (size > NAME_BYTES_MAX)
            return ENAMETOOLONG;
        memcpy(name, *path, size);
        name[size] = '\0';
        *path += size;
    } while (strcmp(name, ".") == 0);
    return 0;
}

helios_status place_find(struct memory_fs *fs, const char *what, const char *path, struct place *place)
{
    const char *rest = path;
    char next[NAME_BYTES_MAX + 1];
    int error = next_component(&rest, place->name);

    place->directory = fs->root;
    place->inode = fs->root;
    while (!error && place->name[0]) {
        if (!place->directory->is_directory)
            error = ENOTDIR;
        if (!error)
            error = next_component(&rest, next);
        if (error)
            break;
        place->inode = names_find(&place->directory->names, place->name);
        if (!next[0])
            break;
        if (!place->inode)
            error = ENOENT;
        place->directory = place->inode;
        memcpy(place->name, next, sizeof(next));
    }
    return error ? fail_io(error, what, path) : HELIOS_OK;
}

/* ---- changes ---- */

static void change_release(struct memory_fs *fs, struct change *change)
{
    for (int i = 0; i < change->count; i++) {
        name_unref(change->edit[i].name);
        inode_unref(fs, change->edit[i].inode);
        inode_unref(fs, change->edit[i].directory);
    }
}

static helios_status change_reserve(struct memory_fs *fs)
{
    size_t wanted = fs->change_capacity ? 2 * fs->change_capacity : 16;
    void *grown;

    if (!fs->cuts || fs->change_count < fs->change_capacity)
        return HELIOS_OK;
    grown = mem_realloc(fs->changes, wanted * sizeof(*fs->changes));
    if (!grown)
        return fail_no_memory(wanted * sizeof(*fs->changes));
    fs->changes = grown;
    fs->change_capacity = wanted;
    return HELIOS_OK;
}

/* Room for this change now and durably, and for the live names to become the durable ones. */
static helios_status directory_reserve(struct memory_fs *fs, struct inode *directory)
{
    size_t most = directory->names.count + directory->synced_names.count + fs->change_count * 2 + 2;
    helios_status status;

    if (!fs->cuts)
        return names_reserve(&directory->names, directory->names.count + 2);
    status = names_reserve(&directory->names, most);
    if (status == HELIOS_OK)
        status = names_reserve(&directory->synced_names, most);
    return status;
}

static helios_status change_edit(struct memory_fs *fs, struct change *change, const struct place *place,
                                 struct inode *inode)
{
    struct name *name;
    helios_status status = directory_reserve(fs, place->directory);

    if (status != HELIOS_OK)
        return status;
    name = name_new(place->name);
    if (!name)
        return fail_no_memory(strlen(place->name));
    change->edit[change->count].directory = inode_ref(place->directory);
    change->edit[change->count].inode = inode_ref(inode);
    change->edit[change->count].name = name;
    change->count++;
    return HELIOS_OK;
}

helios_status names_change(struct memory_fs *fs, const struct place *from, struct inode *from_inode,
                           const struct place *to, struct inode *to_inode)
{
    struct change change = {.count = 0};
    helios_status status = change_reserve(fs);

    if (status == HELIOS_OK)
        status = change_edit(fs, &change, from, from_inode);
    if (status == HELIOS_OK && to)
        status = change_edit(fs, &change, to, to_inode);
    if (status != HELIOS_OK) {
        change_release(fs, &change);
        return status;
    }
    for (int i = 0; i < change.count; i++)
        names_set(fs, &change.edit[i].directory->names, change.edit[i].name, change.edit[i].inode, true);
    if (fs->cuts)
        fs->changes[fs->change_count++] = change;
    else
        change_release(fs, &change);
    return HELIOS_OK;
}

static bool edits_share_name(const struct change *a, const struct change *b)
{
    for (int i = 0; i < a->count; i++) {
        for (int j = 0; j < b->count; j++) {
            if (a->edit[i].directory == b->edit[j].directory &&
                strcmp(a->edit[i].name->text, b->edit[j].name->text) == 0)
                return true;
        }
    }
    return false;
}

static void change_apply(struct memory_fs *fs, const struct change *change)
{
    for (int i = 0; i < change->count; i++)
        names_set(fs, &change->edit[i].directory->synced_names, change->edit[i].name, change->edit[i].inode,
                  false);
}

/* The wanted ones become durable, in order; the others stay in the list. */
static void changes_apply(struct memory_fs *fs)
{
    size_t kept = 0;

    for (size_t i = 0; i < fs->change_count; i++) {
        struct change change = fs->changes[i];

        if (!change.wanted) {
            fs->changes[kept++] = change;
            continue;
        }
        change_apply(fs, &change);
        change_release(fs, &change);
    }
    fs->change_count = kept;
}

static bool touches(const struct change *change, const struct inode *directory)
{
    return change->edit[0].directory == directory ||
           (change->count == 2 && change->edit[1].directory == directory);
}

void changes_sync(struct memory_fs *fs, struct inode *directory)
{
    for (size_t i = fs->change_count; i-- > 0;) {
        struct change *change = &fs->changes[i];

        change->wanted = touches(change, directory);
        for (size_t later = i + 1; later < fs->change_count && !change->wanted; later++)
            change->wanted = fs->changes[later].wanted && edits_share_name(change, &fs->changes[later]);
    }
    changes_apply(fs);
}

void changes_settle(struct memory_fs *fs, bool (*keep)(void *arg, size_t index, size_t count), void *arg)
{
    for (size_t i = 0; i < fs->change_count; i++) {
        struct change *change = &fs->changes[i];

        change->wanted = keep(arg, i, fs->change_count);
        for (size_t earlier = 0; earlier < i && change->wanted; earlier++)
            change->wanted = fs->changes[earlier].wanted || !edits_share_name(change, &fs->changes[earlier]);
    }
    changes_apply(fs);
    while (fs->change_count > 0)
        change_release(fs, &fs->changes[--fs->change_count]);
}

/* ---- after a cut ---- */

/* There is room: directory_reserve saw to it with every change. */
static void names_copy(struct memory_fs *fs, struct names *to, const struct names *from)
{
    assert(to->capacity >= from->count);
    for (size_t i = 0; i < from->count; i++) {
        name_ref(from->entries[i].name);
        inode_use(fs, from->entries[i].inode);
    }
    for (size_t i = 0; i < to->count; i++) {
        name_unref(to->entries[i].name);
        inode_unuse(fs, to->entries[i].inode);
    }
    to->count = from->count;
    for (size_t i = 0; i < from->count; i++)
        to->entries[i] = from->entries[i];
}

void names_restore(struct memory_fs *fs, struct inode *directory, void (*visit)(void *arg, struct inode *),
                   void *arg)
{
    names_copy(fs, &directory->names, &directory->synced_names);
    for (size_t i = 0; i < directory->names.count; i++) {
        struct inode *inode = directory->names.entries[i].inode;

        if (inode->cut == fs->cut_count)
            continue; /* another link to a file that was visited */
        inode->cut = fs->cut_count;
        if (inode->is_directory)
            names_restore(fs, inode, visit, arg);
        else
            visit(arg, inode);
    }
}

void memory_names_release(struct memory_fs *fs)
{
    while (fs->change_count > 0)
        change_release(fs, &fs->changes[--fs->change_count]);
    mem_free(fs->changes);
    inode_unref(fs, fs->root);
}
