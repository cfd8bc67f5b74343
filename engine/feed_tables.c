/* feed_tables.c - tables of ingested commits, kept for the feed: it reads such a commit through the tables that its record
 * names, and compactions take these out of the tree. So each has a second name, wal/<commit>-<number>.sst, a hard link made
 * and synced between the commit's reservation and its record: whoever finds the record finds the table. The name tells all
 * that is to be known after a crash: one of a commit that is not there belongs to a record that was never written, one below
 * the watermark was about to go. */
#include "engine/feed.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void table_path(const struct helios_db *db, helios_seq commit, uint64_t number, char out[PATH_BYTES_MAX])
{
    snprintf(out, PATH_BYTES_MAX, "%s/%08" PRIu64 "-%08" PRIu64 ".sst", db->wal_directory, commit, number);
}

bool feed_table_name(const char *name, helios_seq *commit, uint64_t *number)
{
    size_t first = strspn(name, "0123456789"), second;

    if (first < 8 || first > 19 || name[first] != '-')
        return false;
    second = strspn(name + first + 1, "0123456789");
    if (second < 8 || second > 19 || strcmp(name + first + 1 + second, ".sst") != 0)
        return false;
    *commit = strtoull(name, NULL, 10);
    *number = strtoull(name + first + 1, NULL, 10);
    return true;
}

/* What is removed is needed by nobody: a name that stays goes at the next open. */
static void remove_table(struct helios_db *db, helios_seq commit, uint64_t number)
{
    struct error_note note = {0};
    char path[PATH_BYTES_MAX];

    table_path(db, commit, number, path);
    error_keep(&note, HELIOS_IO); /* clean-up does not disturb the caller's sentence */
    (void)!io_remove(db->fs, path);
    (void)!error_tell(&note);
}

/* ---- the list ---- */

static helios_status list_room_locked(struct feed *feed, size_t more)
{
    size_t capacity = feed->table_capacity ? feed->table_capacity : 16;
    struct feed_table *grown;

    while (capacity < feed->table_count + more)
        capacity *= 2;
    if (capacity == feed->table_capacity)
        return HELIOS_OK;
    grown = mem_realloc(feed->tables, capacity * sizeof(*grown));
    if (!grown)
        return fail_no_memory(capacity * sizeof(*grown));
    feed->tables = grown;
    feed->table_capacity = capacity;
    return HELIOS_OK;
}

uint64_t feed_tables_bytes(struct helios_db *db, helios_seq from)
{
    struct feed *feed = &db->feed;
    uint64_t bytes = 0;

    mutex_lock(&feed->mu);
    for (size_t i = 0; i < feed->table_count; i++)
        bytes += feed->tables[i].commit >= from ? feed->tables[i].bytes : 0;
    mutex_unlock(&feed->mu);
    return bytes;
}

/* ---- coming ---- */

static helios_status link_tables(struct helios_db *db, const struct compact_result *result, helios_seq commit,
                                 size_t *linked)
{
    helios_status status = HELIOS_OK;

    while (*linked < result->count && status == HELIOS_OK) {
        uint64_t number = result->tables[*linked].number;
        char from[PATH_BYTES_MAX], to[PATH_BYTES_MAX];

        table_file_path(&db->home, number, from, sizeof(from));
        table_path(db, commit, number, to);
        status = io_link(db->fs, from, to);
        *linked += status == HELIOS_OK;
    }
    return status == HELIOS_OK ? io_sync_directory(db->fs, db->wal_directory) : status;
}

helios_status feed_tables_keep(struct helios_db *db, const struct compact_result *result, helios_seq commit)
{
    struct feed *feed = &db->feed;
    size_t linked = 0;
    helios_status status = HELIOS_OK;

    if (!atomic_load(&feed->first))
        return HELIOS_OK;
    status = link_tables(db, result, commit, &linked);
    mutex_lock(&feed->mu);
    if (status == HELIOS_OK)
        status = list_room_locked(feed, result->count);
    for (size_t i = 0; i < result->count && status == HELIOS_OK; i++)
        feed->tables[feed->table_count++] =
            (struct feed_table){commit, result->tables[i].number, result->tables[i].size};
    mutex_unlock(&feed->mu);
    while (status != HELIOS_OK && linked > 0)
        remove_table(db, commit, result->tables[--linked].number);
    return status;
}

struct loading {
    struct helios_db *db;
    helios_seq first;
};

static helios_status load_table(void *arg, const char *name)
{
    const struct loading *loading = arg;
    struct helios_db *db = loading->db;
    struct feed *feed = &db->feed;
    helios_seq first = loading->first, commit;
    char path[PATH_BYTES_MAX];
    struct io_stat stat;
    uint64_t number;
    helios_status status;

    if (!feed_table_name(name, &commit, &number))
        return HELIOS_OK;
    if (!first || commit < first || commit > atomic_load(&db->latest)) {
        if (!db->options.read_only)
            remove_table(db, commit, number);
        return HELIOS_OK;
    }
    table_path(db, commit, number, path);
    status = io_stat(db->fs, path, &stat);
    if (status != HELIOS_OK)
        return status;
    mutex_lock(&feed->mu);
    status = list_room_locked(feed, 1);
    if (status == HELIOS_OK)
        feed->tables[feed->table_count++] = (struct feed_table){commit, number, stat.size};
    mutex_unlock(&feed->mu);
    return status;
}

helios_status feed_tables_load(struct helios_db *db, helios_seq first)
{
    struct loading loading = {db, first};

    return io_list(db->fs, db->wal_directory, load_table, &loading);
}

/* ---- going ---- */

/* Takes one of a commit below out of the list. */
static bool take_below(struct feed *feed, helios_seq first, struct feed_table *out)
{
    bool found = false;

    mutex_lock(&feed->mu);
    for (size_t i = 0; i < feed->table_count && !found; i++) {
        found = feed->tables[i].commit < first;
        if (found) {
            *out = feed->tables[i];
            feed->tables[i] = feed->tables[--feed->table_count];
        }
    }
    mutex_unlock(&feed->mu);
    return found;
}

void feed_tables_trim(struct helios_db *db, helios_seq first)
{
    struct feed_table table;

    while (take_below(&db->feed, first, &table))
        remove_table(db, table.commit, table.number);
}

/* ---- reading ---- */

/* The table while the tree has it; its blocks are then loaded once for both. */
static struct table_file *table_in_tree(struct helios_db *db, uint64_t number)
{
    struct view *view = view_acquire(db);
    struct table_file *found = NULL;

    for (size_t l = 0; l < LEVEL_COUNT && !found; l++)
        for (size_t i = 0; i < view->version->levels[l].count && !found; i++)
            if (view->version->levels[l].files[i]->number == number)
                found = table_file_ref(view->version->levels[l].files[i]);
    view_unref(view);
    return found;
}

helios_status feed_table_open(struct helios_db *db, const struct file_record *record, helios_seq commit,
                              struct table_file **out)
{
    struct table_file *file = table_in_tree(db, record->number);
    struct table_properties properties = record->properties;
    char path[PATH_BYTES_MAX];
    struct table *table;
    helios_status status = HELIOS_OK;

    properties.seq_min = properties.seq_max = commit;
    table_path(db, commit, record->number, path);
    if (!file)
        status = table_file_new_at(&db->home, path, record->number, record->size, commit, record->smallest,
                                   record->largest, record->largest_exclusive, &properties, &file);
    if (status == HELIOS_OK)
        status = table_file_open(file, &table);
    if (status == HELIOS_OK) {
        table_unref(table); /* the file keeps it open */
        *out = file;
        return HELIOS_OK;
    }
    table_file_unref(file);
    if (status != HELIOS_NOT_FOUND)
        return status;
    status = feed_check(db, commit); /* it was let go of while the caller came to it */
    return status == HELIOS_OK ? fail_corrupt("%s: missing, but the feed names it", path) : status;
}

/* ---- checkpoints ---- */

static helios_status copy_list(struct feed *feed, struct feed_table **out, size_t *count)
{
    helios_status status = HELIOS_OK;
    size_t bytes;

    mutex_lock(&feed->mu);
    bytes = feed->table_count * sizeof(**out);
    *count = feed->table_count;
    *out = mem_alloc(bytes + 1);
    if (!*out)
        status = fail_no_memory(bytes);
    else if (bytes)
        memcpy(*out, feed->tables, bytes);
    mutex_unlock(&feed->mu);
    return status;
}

/* Those at or above the watermark of the manifest stay while the caller holds it. */
helios_status feed_tables_link(struct helios_db *db, const char *path, helios_seq from)
{
    struct feed_table *tables = NULL;
    size_t count = 0;
    helios_status status = copy_list(&db->feed, &tables, &count);

    for (size_t i = 0; i < count && status == HELIOS_OK; i++) {
        char old[PATH_BYTES_MAX], fresh[PATH_BYTES_MAX];

        if (tables[i].commit < from)
            continue;
        table_path(db, tables[i].commit, tables[i].number, old);
        snprintf(fresh, sizeof(fresh), "%s/wal/%08" PRIu64 "-%08" PRIu64 ".sst", path, tables[i].commit,
                 tables[i].number);
        status = io_link(db->fs, old, fresh);
    }
    mem_free(tables);
    return status;
}
