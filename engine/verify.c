/* verify.c - reads everything there is and checks it: each table block by block, also those that the feed alone has,
 * the tree's shape, the log's records. Runs beside ordinary work, on what there is when it begins. */
#include "engine/feed.h"
#include "engine/keys.h"
#include "engine/origins.h"
#include <inttypes.h>

struct verification {
    struct helios_db *db;
    const struct version *version; /* whose tables are checked */
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
    struct table_properties p;
    struct table *table;
    helios_status status = table_file_open(file, &table);

    if (status != HELIOS_OK)
        return status;
    status = table_verify(table);
    p = *table_properties(table);
    table_unref(table);
    if (status != HELIOS_OK)
        return status;
    if (p.entries == file->properties.entries && p.range_deletes == file->properties.range_deletes) {
        tell(v, file->size);
        return HELIOS_OK;
    }
    if (file->path)
        return fail_corrupt("%s: its counts are not those in the log", file->path);
    return fail_corrupt("%s/%08" PRIu64 ".sst: its counts are not those in the manifest", v->db->sst_directory,
                        file->number);
}

static bool in_tree(const struct verification *v, uint64_t number)
{
    for (size_t l = 0; l < LEVEL_COUNT; l++)
        for (size_t i = 0; i < v->version->levels[l].count; i++)
            if (v->version->levels[l].files[i]->number == number)
                return true;
    return false;
}

/* The tables that an ingested commit brought, where the tree does not have them. What is let go of meanwhile is no damage. */
static helios_status verify_ingested(struct verification *v, const struct wal_record *record)
{
    helios_seq first = feed_first(v->db), commit = record->first + record->op_count - 1;
    helios_slice body = record->body;
    struct reader reader;
    uint64_t count;
    helios_status status = HELIOS_OK;

    if (record->type != WAL_INGEST || first == 0 || commit < first)
        return HELIOS_OK;
    if ((record->flags & WAL_RECORD_ORIGIN) && !origin_prefix_read(&body, NULL))
        return fail_corrupt("ingested commit %" PRIu64 ": its origin cannot be read", commit);
    reader = reader_make(body.data, body.size);
    count = read_varint(&reader);
    for (uint64_t i = 0; i < count && status == HELIOS_OK; i++) {
        struct file_record named;
        struct table_file *file = NULL;

        if (!file_record_read(&reader, &named))
            return fail_corrupt("ingested commit %" PRIu64 ": its tables cannot be read", commit);
        if (in_tree(v, named.number))
            continue;
        status = feed_table_open(v->db, &named, commit, &file);
        if (status == HELIOS_FEED_TRIMMED)
            return HELIOS_OK;
        if (status == HELIOS_OK)
            status = verify_file(v, file);
        table_file_unref(file);
    }
    return status;
}

static helios_status verify_segment(void *arg, uint64_t number, const char *path, uint64_t end, helios_seq last,
                                    bool sealed)
{
    struct verification *v = arg;
    struct wal_reader *reader = NULL;
    struct wal_record record;
    helios_status status = wal_reader_open(v->db->fs, keys_crypt(v->db->keys), path, &reader);

    (void)number;
    (void)last;
    (void)sealed;
    if (status == HELIOS_OK)
        wal_reader_limit(reader, end);
    while (status == HELIOS_OK && wal_reader_offset(reader) < end) {
        status = wal_reader_next(reader, &record);
        if (status == HELIOS_OK)
            status = verify_ingested(v, &record);
    }
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
    v.version = view->version;
    status = version_validate(view->version);
    for (size_t l = 0; l < LEVEL_COUNT; l++)
        v.total += view->version->levels[l].bytes;
    if (log)
        v.total += wal_bytes(log) + feed_tables_bytes(db, 0);
    for (size_t l = 0; l < LEVEL_COUNT && status == HELIOS_OK; l++)
        for (size_t i = 0; i < view->version->levels[l].count && status == HELIOS_OK; i++)
            status = verify_file(&v, view->version->levels[l].files[i]);
    if (status == HELIOS_OK && log)
        status = wal_each_segment(log, wal_published(log), verify_segment, &v);
    view_unref(view);
    return status;
}
