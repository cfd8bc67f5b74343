/* rotate.c - another data key, and what becomes of the one before: new files have the new one, a compaction rewrites the
 * tables, and when no file uses the old one any more it goes from KEYS.
 *
 * Every step is whole by itself, so that it may end anywhere: KEYS has the new key before any file uses it, and an old one
 * until it was seen that none does. */
#include "engine/engine_internal.h"
#include "engine/identity.h"
#include "engine/keys.h"
#include <inttypes.h>
#include <stdio.h>

/* ---- which keys files use ---- */

struct census {
    struct helios_db *db;
    const char *directory;
    uint32_t ids[CRYPT_KEYS_MAX];
    size_t count;
    bool whole; /* false: there is a file of which it is not known */
};

static void count_key(struct census *census, uint32_t id)
{
    for (size_t i = 0; i < census->count; i++)
        if (census->ids[i] == id)
            return;
    if (census->count < CRYPT_KEYS_MAX)
        census->ids[census->count++] = id;
    else
        census->whole = false;
}

static const char *magic_of(const char *name)
{
    uint64_t number;

    if (strncmp(name, "MANIFEST-", 9) == 0)
        return MAGIC_MANIFEST;
    if (numbered_name(name, ".wal", &number))
        return MAGIC_LOG;
    return strlen(name) > 4 && strcmp(name + strlen(name) - 4, ".sst") == 0 ? MAGIC_TABLE : NULL;
}

/* A file that is still being written may have no header yet: its writer holds the key. One that has gone meanwhile has
 * none either. */
static helios_status count_file(void *arg, const char *name)
{
    struct census *census = arg;
    const char *magic = magic_of(name);
    unsigned char bytes[FILE_HEADER_SIZE];
    char path[PATH_BYTES_MAX];
    struct file_header header;
    struct io_file *file = NULL;
    helios_status status;

    if (!magic)
        return HELIOS_OK;
    snprintf(path, sizeof(path), "%s/%s", census->directory, name);
    status = io_open(census->db->fs, path, IO_READ, &file);
    if (status == HELIOS_NOT_FOUND)
        return HELIOS_OK;
    if (status == HELIOS_OK)
        status = io_read(file, 0, bytes, sizeof(bytes));
    if (status == HELIOS_OK)
        status = file_header_decode(bytes, magic, path, &header);
    io_close(file);
    if (status == HELIOS_OK)
        count_key(census, header.key_id);
    return status == HELIOS_CORRUPT ? HELIOS_OK : status;
}

static helios_status count_directory(struct census *census, const char *directory)
{
    census->directory = directory;
    return io_list(census->db->fs, directory, count_file, census);
}

static helios_status settle_locked(struct helios_db *db)
{
    struct census census = {.db = db, .whole = true};
    struct keys_info info;
    size_t gone = 0;
    helios_status status;

    keys_get_info(db->keys, &info);
    if (info.count == 1)
        return HELIOS_OK;
    status = count_directory(&census, db->sst_directory);
    if (status == HELIOS_OK)
        status = count_directory(&census, db->wal_directory);
    if (status == HELIOS_OK)
        status = count_directory(&census, db->path);
    if (status == HELIOS_OK && census.whole)
        status = keys_retire(db->keys, census.ids, census.count, &gone);
    if (gone > 0)
        event_log_say(db->events, "%zu data keys have gone, no file uses them any more", gone);
    return status;
}

helios_status keys_settle(struct helios_db *db)
{
    helios_status status;

    mutex_lock(&db->keys_mu);
    status = settle_locked(db);
    mutex_unlock(&db->keys_mu);
    return status;
}

/* ---- rotation ---- */

/* Its bounds are keys. */
static helios_status renew_manifest(struct helios_db *db)
{
    mutex_lock(&db->manifest_mu);
    manifest_renew(db->manifest);
    mutex_unlock(&db->manifest_mu);
    return tree_install(db, NULL, 0, NULL);
}

static const helios_rotate_options default_rotate = HELIOS_ROTATE_OPTIONS_INIT;

helios_status helios_key_rotate(helios_db *db, const helios_rotate_options *given)
{
    helios_compact_options compact = HELIOS_COMPACT_OPTIONS_INIT;
    helios_rotate_options options;
    helios_status status = options_copy(given, given ? given->size : 0, &default_rotate, sizeof(options),
                                        &options, "helios_rotate_options");

    if (status == HELIOS_OK && !db)
        status = fail(HELIOS_INVALID, "no database was given");
    if (status == HELIOS_OK && !db->keys)
        status = fail(HELIOS_INVALID, "%s: is not encrypted", db->path);
    if (status == HELIOS_OK)
        status = db_writable(db);
    if (status != HELIOS_OK)
        return status;
    mutex_lock(&db->keys_mu);
    status = keys_add(db->keys, options.source);
    mutex_unlock(&db->keys_mu);
    if (status != HELIOS_OK)
        return status;
    event_log_say(db->events, "a new data key is in use");
    compact.progress = options.progress;
    compact.arg = options.arg;
    status = compact_rewriting(db, &compact);
    if (status == HELIOS_OK)
        status = renew_manifest(db);
    return status == HELIOS_OK ? keys_settle(db) : status;
}

helios_status helios_key_info_get(helios_db *db, helios_key_info *out)
{
    struct keys_info found;

    if (!db || !out)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the answer" : "database");
    *out = (helios_key_info){0};
    if (!db->keys)
        return HELIOS_OK;
    keys_get_info(db->keys, &found);
    out->encrypted = true;
    out->source = found.source;
    out->wrapping_id = found.wrapping;
    out->key_id = found.current;
    out->key_count = found.count;
    out->created = found.created;
    return HELIOS_OK;
}
