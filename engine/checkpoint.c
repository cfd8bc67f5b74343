/* checkpoint.c - a consistent copy by hard links: tables and sealed log segments are linked, the live segment is
 * copied up to the visible edge (a link would share later writes). The copy has a new uuid. */
#include "engine/feed.h"
#include "engine/identity.h"
#include "engine/keys.h"
#include <inttypes.h>
#include <stdio.h>

struct copying {
    struct helios_db *db;
    const char *path;
    wal_pos upto;    /* what is copied of the log */
    helios_seq last; /* no number in it is above */
};

static helios_status link_table(const struct copying *c, uint64_t number)
{
    char from[PATH_BYTES_MAX], to[PATH_BYTES_MAX];

    table_file_path(&c->db->home, number, from, sizeof(from));
    snprintf(to, sizeof(to), "%s/sst/%08" PRIu64 ".sst", c->path, number);
    return io_link(c->db->fs, from, to);
}

static helios_status take_segment(void *arg, uint64_t number, const char *path, uint64_t end, helios_seq last,
                                  bool sealed)
{
    const struct copying *c = arg;
    char to[PATH_BYTES_MAX];

    (void)number;
    snprintf(to, sizeof(to), "%s/wal%s", c->path, strrchr(path, '/')); /* a segment, or its archive */
    return sealed ? io_link(c->db->fs, path, to)
                  : wal_segment_copy(c->db->fs, path, to, end, last < c->last ? last : c->last);
}

static helios_status make_folders(const struct copying *c)
{
    static const char *const folders[] = {"wal", "sst"};
    char path[PATH_BYTES_MAX];
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < 2 && status == HELIOS_OK; i++) {
        snprintf(path, sizeof(path), "%s/%s", c->path, folders[i]);
        status = io_make_directory(c->db->fs, path);
    }
    return status;
}

static helios_status sync_folders(const struct copying *c)
{
    char path[PATH_BYTES_MAX];
    helios_status status;

    snprintf(path, sizeof(path), "%s/wal", c->path);
    status = io_sync_directory(c->db->fs, path);
    snprintf(path, sizeof(path), "%s/sst", c->path);
    return status == HELIOS_OK ? io_sync_directory(c->db->fs, path) : status;
}

/* Under manifest_mu: neither the tree nor the log's floor changes meanwhile; under keys_mu, nor do the data keys, of which
 * the linked files have older ones and the new manifest has the current. Copied segments are sealed where they
 * end: the mark behind the last record of one that writers have left is not copied, and without a seal the log
 * would seem to end there. */
static helios_status copy_locked(const struct copying *c)
{
    struct helios_db *db = c->db;
    const struct version *version = db->version;
    struct manifest_state state = db->manifest_state;
    struct identity identity = {.encrypted = db->keys != NULL};
    helios_status status = HELIOS_OK;

    for (size_t l = 0; l < LEVEL_COUNT; l++)
        for (size_t i = 0; i < version->levels[l].count && status == HELIOS_OK; i++)
            status = link_table(c, version->levels[l].files[i]->number);
    if (status == HELIOS_OK && db->wal)
        status = wal_each_segment(db->wal, c->upto, take_segment, (void *)c);
    if (status == HELIOS_OK && state.feed_first)
        status = feed_tables_link(db, c->path, state.feed_first);
    if (status == HELIOS_OK)
        status = sync_folders(c);
    if (status == HELIOS_OK && db->keys)
        status = keys_copy(db->keys, c->path);
    if (status == HELIOS_OK)
        status = manifest_write_copy(db->fs, keys_crypt(db->keys), c->path, &state, version);
    if (status == HELIOS_OK)
        status = identity_draw(db->fs, db->node_id, &identity);
    if (status == HELIOS_OK)
        status = identity_write(db->fs, c->path, &identity);
    return status == HELIOS_OK ? directory_sync_name(db->fs, c->path) : status;
}

/* Where the copy of the log ends; returns with manifest_mu held, if HELIOS_OK. Tables that a record there names must
 * be in the tree: between the two, an ingest waits for manifest_mu. */
static helios_status choose_point(struct copying *c)
{
    struct helios_db *db = c->db;

    for (;;) {
        helios_status status;

        mutex_lock(&db->manifest_mu);
        c->upto = wal_published(db->wal);
        mutex_lock(&db->commit_mu);
        c->last = db->next - 1;
        mutex_unlock(&db->commit_mu);
        if (atomic_load(&db->ingests_logged) == 0) /* after the position was read: pairs with ingest.c */
            return HELIOS_OK;
        mutex_unlock(&db->manifest_mu);
        status = publish_wait(db, c->last);
        if (status != HELIOS_OK)
            return status;
    }
}

helios_status helios_checkpoint(helios_db *db, const char *path)
{
    struct copying c = {.db = db, .path = path};
    struct error_note note = {0};
    struct io_stat stat;
    helios_status status;

    if (!db || !path)
        return fail(HELIOS_INVALID, "no %s was given", db ? "path" : "database");
    if (db->options.in_memory)
        return fail(HELIOS_UNSUPPORTED, "an in-memory database has no files to link; export it instead");
    if (db->options.read_only)
        return fail(HELIOS_READ_ONLY, "%s: opened read-only; a checkpoint needs the log", db->path);
    status = io_stat(db->fs, path, &stat);
    if (status == HELIOS_OK)
        return fail(HELIOS_EXISTS, "%s: is there already; a checkpoint makes its own directory", path);
    if (status != HELIOS_NOT_FOUND)
        return status;
    status = helios_sync(db);
    if (status == HELIOS_OK)
        status = io_make_directory(db->fs, path);
    if (status != HELIOS_OK)
        return status;
    status = make_folders(&c);
    mutex_lock(&db->keys_mu);
    if (status == HELIOS_OK)
        status = choose_point(&c);
    if (status == HELIOS_OK) {
        status = copy_locked(&c);
        mutex_unlock(&db->manifest_mu);
    }
    mutex_unlock(&db->keys_mu);
    if (status == HELIOS_OK)
        return HELIOS_OK;
    error_keep(&note, status);
    (void)!directory_remove_ours(db->fs, path, true);
    return error_tell(&note);
}
