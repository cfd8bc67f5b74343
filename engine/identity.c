/* identity.c - see identity.h. */
#include "engine/identity.h"
#include "base/coding.h"
#include "base/hash.h"
#include "engine/feed.h"
#include <stdio.h>
#include <stdlib.h>

enum { UUID_AT = 64, NODE_AT = 80, CREATED_AT = 96, ZERO_AT = 104, CHECK_AT = 120, PATH_BYTES = 4096 };
_Static_assert((int)UUID_AT == (int)FILE_HEADER_SIZE && UUID_AT + 16 == NODE_AT,
               "the header is followed by the uuid");
_Static_assert(NODE_AT + 16 == CREATED_AT && CREATED_AT + 8 == ZERO_AT, "node id and time follow");
_Static_assert(ZERO_AT + 16 == CHECK_AT && (int)CHECK_AT + 8 == (int)IDENTITY_SIZE,
               "the checksum ends the file");

bool numbered_name(const char *name, const char *ending, uint64_t *number)
{
    size_t digits = strspn(name, "0123456789");

    if (digits < 8 || digits > 19 || strcmp(name + digits, ending) != 0)
        return false;
    *number = strtoull(name, NULL, 10);
    return true;
}

bool name_is_ours(const char *name)
{
    static const char *const names[] = {"HELIOS", "CURRENT", "CURRENT.tmp", "wal",     "sst",
                                        "LOG",    "LOG.old", "KEYS",        "KEYS.tmp"};
    uint64_t number;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return strncmp(name, "MANIFEST-", 9) == 0 && numbered_name(name + 9, "", &number);
}

/* ---- looking ---- */

struct look {
    bool ours, helios, current;
};

static helios_status look_entry(void *arg, const char *name)
{
    struct look *look = arg;

    look->ours |= name_is_ours(name) && strncmp(name, "LOG", 3) != 0;
    look->helios |= strcmp(name, "HELIOS") == 0;
    look->current |= strcmp(name, "CURRENT") == 0;
    return HELIOS_OK;
}

static helios_status count_entry(void *arg, const char *name)
{
    (void)name;
    ++*(size_t *)arg;
    return HELIOS_OK;
}

static helios_status count_files(struct io_fs *fs, const char *path, const char *folder, size_t *count)
{
    char inner[PATH_BYTES];
    helios_status status;

    snprintf(inner, sizeof(inner), "%s/%s", path, folder);
    status = io_list(fs, inner, count_entry, count);
    return status == HELIOS_NOT_FOUND ? HELIOS_OK : status;
}

helios_status directory_look(struct io_fs *fs, const char *path, enum directory_kind *kind)
{
    struct look look = {0};
    struct io_stat stat;
    size_t files = 0;
    helios_status status = io_stat(fs, path, &stat);

    if (status == HELIOS_NOT_FOUND) {
        *kind = DIRECTORY_NONE;
        return HELIOS_OK;
    }
    if (status != HELIOS_OK)
        return status;
    if (!stat.is_directory)
        return fail(HELIOS_INVALID, "%s: not a directory; name the directory of a database", path);
    status = io_list(fs, path, look_entry, &look);
    if (status == HELIOS_OK && !look.ours)
        *kind = DIRECTORY_FREE;
    if (status != HELIOS_OK || !look.ours)
        return status;
    if (look.helios && look.current) {
        *kind = DIRECTORY_DATABASE;
        return HELIOS_OK;
    }
    status = count_files(fs, path, "wal", &files);
    if (status == HELIOS_OK)
        status = count_files(fs, path, "sst", &files);
    if (status != HELIOS_OK)
        return status;
    if (files)
        return fail_corrupt("%s: %s is missing, but there are %zu data files; restore it from a backup, or "
                            "destroy what is left",
                            path, look.helios ? "CURRENT" : "HELIOS", files);
    if (!look.helios && look.current)
        return fail_corrupt("%s: HELIOS is missing, but CURRENT is there", path);
    *kind = DIRECTORY_UNFINISHED;
    return HELIOS_OK;
}

helios_status directory_sync_name(struct io_fs *fs, const char *path)
{
    char above[PATH_BYTES];
    size_t size = strlen(path);

    while (size > 1 && path[size - 1] == '/')
        size--;
    while (size > 0 && path[size - 1] != '/')
        size--;
    if (size >= sizeof(above))
        return fail(HELIOS_INVALID, "a path of %zu bytes is too long", size);
    memcpy(above, path, size);
    above[size] = 0;
    return io_sync_directory(fs, size ? above : ".");
}

/* ---- the file ---- */

helios_status identity_draw(struct io_fs *fs, const unsigned char node_id[16], struct identity *identity)
{
    static const unsigned char none[16];
    helios_status status = io_random(fs, identity->uuid, sizeof(identity->uuid));

    if (status == HELIOS_OK && memcmp(node_id, none, sizeof(none)) != 0)
        memcpy(identity->node_id, node_id, sizeof(identity->node_id));
    else if (status == HELIOS_OK)
        status = io_random(fs, identity->node_id, sizeof(identity->node_id));
    identity->created = io_time(fs);
    return status;
}

helios_status identity_write(struct io_fs *fs, const char *directory, const struct identity *identity)
{
    unsigned char bytes[IDENTITY_SIZE] = {0};
    struct file_header header = {.flags = identity->encrypted ? FILE_ENCRYPTED : 0};
    struct io_file *file = NULL;
    char path[PATH_BYTES];
    helios_status status = io_random(fs, header.id, sizeof(header.id));

    snprintf(path, sizeof(path), "%s/HELIOS", directory);
    file_header_encode(&header, MAGIC_IDENTITY, bytes);
    memcpy(bytes + UUID_AT, identity->uuid, 16);
    memcpy(bytes + NODE_AT, identity->node_id, 16);
    put_u64(bytes + CREATED_AT, identity->created);
    put_u64(bytes + CHECK_AT, checksum(bytes + UUID_AT, CHECK_AT - UUID_AT, file_salt(header.id), UUID_AT));
    /* Not replaced by a rename: whoever creates it holds a lock on this very file. */
    if (status == HELIOS_OK)
        status = io_open(fs, path, IO_WRITE | IO_CREATE, &file);
    if (status == HELIOS_OK)
        status = io_write(file, 0, bytes, sizeof(bytes));
    if (status == HELIOS_OK)
        status = io_sync(file);
    io_close(file);
    return status == HELIOS_OK ? io_sync_directory(fs, directory) : status;
}

helios_status identity_read(struct io_fs *fs, const char *directory, struct identity *identity)
{
    unsigned char bytes[IDENTITY_SIZE];
    struct file_header header;
    struct io_file *file = NULL;
    uint64_t size = 0;
    char path[PATH_BYTES];
    helios_status status;

    snprintf(path, sizeof(path), "%s/HELIOS", directory);
    status = io_open(fs, path, IO_READ, &file);
    if (status == HELIOS_OK)
        status = io_size(file, &size);
    if (status == HELIOS_OK && size != IDENTITY_SIZE)
        status = fail_corrupt("%s: has %llu bytes, not %d", path, (unsigned long long)size, IDENTITY_SIZE);
    if (status == HELIOS_OK)
        status = io_read(file, 0, bytes, sizeof(bytes));
    io_close(file);
    if (status == HELIOS_OK)
        status = file_header_decode(bytes, MAGIC_IDENTITY, path, &header);
    if (status != HELIOS_OK)
        return status;
    if (get_u64(bytes + CHECK_AT) != checksum(bytes + UUID_AT, CHECK_AT - UUID_AT, header.salt, UUID_AT))
        return fail_corrupt("%s: bad checksum at offset %d", path, UUID_AT);
    memcpy(identity->uuid, bytes + UUID_AT, 16);
    memcpy(identity->node_id, bytes + NODE_AT, 16);
    identity->created = get_u64(bytes + CREATED_AT);
    identity->encrypted = header.flags & FILE_ENCRYPTED;
    return HELIOS_OK;
}

/* ---- removing ---- */

struct removal {
    struct io_fs *fs;
    const char *path;
    const char *ending;
    helios_status first;
};

static void keep_first(struct removal *r, helios_status status)
{
    if (status != HELIOS_OK && status != HELIOS_NOT_FOUND && r->first == HELIOS_OK)
        r->first = status;
}

static helios_status remove_numbered(void *arg, const char *name)
{
    struct removal *r = arg;
    char path[PATH_BYTES], aside[16];
    uint64_t number;
    helios_seq commit;

    snprintf(aside, sizeof(aside), "%s.tmp", r->ending);
    if (!numbered_name(name, r->ending, &number) && !numbered_name(name, aside, &number) &&
        !numbered_name(name, ".idx", &number) && !numbered_name(name, ".arc", &number) &&
        !numbered_name(name, ".arc.tmp", &number) && !feed_table_name(name, &commit, &number))
        return HELIOS_OK;
    snprintf(path, sizeof(path), "%s/%s", r->path, name);
    keep_first(r, io_remove(r->fs, path));
    return HELIOS_OK;
}

static void remove_folder(struct removal *all, const char *folder, const char *ending)
{
    char path[PATH_BYTES];
    struct removal inner = {.fs = all->fs, .path = path, .ending = ending};
    helios_status status;

    snprintf(path, sizeof(path), "%s/%s", all->path, folder);
    status = io_list(all->fs, path, remove_numbered, &inner);
    keep_first(all, inner.first);
    keep_first(all, status);
    if (status == HELIOS_OK)
        status = io_remove_directory(all->fs, path);
    if (status != HELIOS_OK) {
        /* Somebody else's files are in it: they and the folder stay. */
    }
}

static helios_status remove_ours(void *arg, const char *name)
{
    struct removal *r = arg;
    char path[PATH_BYTES];

    if (!name_is_ours(name) || strcmp(name, "wal") == 0 || strcmp(name, "sst") == 0)
        return HELIOS_OK;
    snprintf(path, sizeof(path), "%s/%s", r->path, name);
    keep_first(r, io_remove(r->fs, path));
    return HELIOS_OK;
}

helios_status directory_remove_ours(struct io_fs *fs, const char *path, bool remove_directory)
{
    struct removal r = {.fs = fs, .path = path};
    char current[PATH_BYTES];

    snprintf(current, sizeof(current), "%s/CURRENT", path);
    keep_first(&r, io_remove(fs, current));
    /* First and durably: what a power cut leaves of the rest is then no database with files missing. */
    keep_first(&r, io_sync_directory(fs, path));
    remove_folder(&r, "wal", ".wal");
    remove_folder(&r, "sst", ".sst");
    keep_first(&r, io_list(fs, path, remove_ours, &r));
    if (remove_directory && io_remove_directory(fs, path) != HELIOS_OK) {
        /* It holds something that is not ours. */
    }
    return r.first;
}
