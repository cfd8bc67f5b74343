/* verify.c - reads everything there is and checks it: each table block by block, the tree's shape, the
 * log's records. Runs beside ordinary work, on what there is when it begins. */
#include "engine/feed.h"
#include <inttypes.h>

struct verification {
    struct helios_db *db;
    void (*progress)(void *arg, uint64_t done, uint64_t total);
    void *arg;
    uint64_t done, total;
};

static void tell(struct verification *v, uint64_t bytes)
{
    v->done += bytes;
    if (v->progress)
        v->progress(v->arg, v->done, v->total > v->done ? v->total : v->done);
}

static helios_status verify_file(struct verification *v, struct table_file *file)
{
    const struct table_properties *p;
    struct table *table;
    helios_status status = table_file_open(file, &table);

    if (status == HELIOS_OK)
        status = table_verify(table);
    if (status != HELIOS_OK)
        return status;
    p = table_properties(table);
    if (p->entries != file->properties.entries || p->range_deletes != file->properties.range_deletes)
        return fail_corrupt("%s/%08" PRIu64 ".sst: its counts are not those in the manifest",
                            v->db->sst_directory, file->number);
    tell(v, file->size);
    return HELIOS_OK;
}

static helios_status verify_segment(void *arg, uint64_t number, const char *path, uint64_t end, helios_seq last,
                                    bool sealed)
{
    struct verification *v = arg;
    struct wal_reader *reader = NULL;
    struct wal_record record;
    helios_status status = wal_reader_open(v->db->fs, path, &reader);

    (void)number;
    (void)last;
    (void)sealed;
    if (status == HELIOS_OK)
        wal_reader_limit(reader, end);
    while (status == HELIOS_OK && wal_reader_offset(reader) < end)
        status = wal_reader_next(reader, &record);
    if (status == HELIOS_NOT_FOUND)
        status = HELIOS_OK;
    if (status == HELIOS_OK)
        status = wal_reader_check(reader);
    wal_reader_close(reader);
    if (status == HELIOS_OK)
        tell(v, end);
    return status;
}

helios_status helios_verify(helios_db *db, void (*progress)(void *arg, uint64_t done, uint64_t total),
                            void *arg)
{
    struct verification v = {.db = db, .progress = progress, .arg = arg};
    struct wal *log;
    struct view *view;
    helios_status status;

    if (!db)
        return fail(HELIOS_INVALID, "no database was given");
    log = feed_log(db); /* read-only what is kept for the feed; the rest was read by the replay */
    view = view_acquire(db);
    status = version_validate(view->version);
    for (size_t l = 0; l < LEVEL_COUNT; l++)
        v.total += view->version->levels[l].bytes;
    if (log)
        v.total += wal_bytes(log);
    for (size_t l = 0; l < LEVEL_COUNT && status == HELIOS_OK; l++)
        for (size_t i = 0; i < view->version->levels[l].count && status == HELIOS_OK; i++)
            status = verify_file(&v, view->version->levels[l].files[i]);
    view_unref(view);
    if (status == HELIOS_OK && log)
        status = wal_each_segment(log, wal_published(log), verify_segment, &v);
    return status;
}
