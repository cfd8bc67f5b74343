/* engine_leveldb.c - LevelDB through its C interface. It has no call to flush: what is in its write
 * buffer stays there until the buffer is full. */
#include "bench/engine.h"
#include <leveldb/c.h>
#include <stdio.h>
#include <stdlib.h>

enum { BULK_RECORDS = 1000 };

struct db {
    leveldb_t *level;
    leveldb_options_t *options;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
    bool sync;
};

struct session {
    leveldb_t *level;
    leveldb_writeoptions_t *write;
    leveldb_readoptions_t *read;
    leveldb_writebatch_t *batch;
    char *value; /* of the last get */
};

static void must(char *error, const char *what)
{
    if (error)
        bench_die("%s: %s", what, error);
}

static void l_describe(const struct settings *settings, char *text, size_t size)
{
    snprintf(text, size,
             "LevelDB %d.%d: write buffer %zu MiB, cache %zu MiB, files %zu MiB, 4 KiB blocks, bloom 10 bits, "
             "snappy, checksums verified",
             leveldb_major_version(), leveldb_minor_version(), (size_t)(settings->memtable_bytes >> 20),
             (size_t)(settings->cache_bytes >> 20), (size_t)(settings->file_bytes >> 20));
}

static void *l_open(const struct settings *settings)
{
    struct db *db = calloc(1, sizeof(*db));
    char *error = NULL;

    if (!db)
        bench_die("no memory");
    db->sync = settings->sync;
    db->cache = leveldb_cache_create_lru(settings->cache_bytes);
    db->filter = leveldb_filterpolicy_create_bloom(10);
    db->options = leveldb_options_create();
    leveldb_options_set_create_if_missing(db->options, 1);
    leveldb_options_set_write_buffer_size(db->options, settings->memtable_bytes);
    leveldb_options_set_max_file_size(db->options, settings->file_bytes);
    leveldb_options_set_max_open_files(db->options, 50000);
    leveldb_options_set_block_size(db->options, 4096);
    leveldb_options_set_compression(db->options, leveldb_snappy_compression);
    leveldb_options_set_cache(db->options, db->cache);
    leveldb_options_set_filter_policy(db->options, db->filter);
    db->level = leveldb_open(db->options, settings->path, &error);
    must(error, "open");
    return db;
}

static void l_close(void *handle)
{
    struct db *db = handle;

    leveldb_close(db->level);
    leveldb_options_destroy(db->options);
    leveldb_filterpolicy_destroy(db->filter);
    leveldb_cache_destroy(db->cache);
    free(db);
}

static void l_flush(void *handle) {}

static void *l_session_open(void *handle)
{
    struct db *db = handle;
    struct session *session = calloc(1, sizeof(*session));

    if (!session)
        bench_die("no memory");
    session->level = db->level;
    session->write = leveldb_writeoptions_create();
    session->read = leveldb_readoptions_create();
    session->batch = leveldb_writebatch_create();
    leveldb_writeoptions_set_sync(session->write, db->sync);
    leveldb_readoptions_set_verify_checksums(session->read, 1);
    return session;
}

static void l_session_close(void *handle)
{
    struct session *session = handle;

    leveldb_free(session->value);
    leveldb_writebatch_destroy(session->batch);
    leveldb_readoptions_destroy(session->read);
    leveldb_writeoptions_destroy(session->write);
    free(session);
}

static void l_put(void *handle, helios_slice key, helios_slice value)
{
    struct session *session = handle;
    char *error = NULL;

    leveldb_put(session->level, session->write, key.data, key.size, value.data, value.size, &error);
    must(error, "put");
}

static void l_put_batch(void *handle, const struct record *records, size_t count)
{
    struct session *session = handle;
    char *error = NULL;

    leveldb_writebatch_clear(session->batch);
    for (size_t i = 0; i < count; i++)
        leveldb_writebatch_put(session->batch, records[i].key.data, records[i].key.size, records[i].value.data,
                               records[i].value.size);
    leveldb_write(session->level, session->write, session->batch, &error);
    must(error, "write");
}

/* It has nothing for sorted input; batches save calls, and files that do not overlap are moved, not merged. */
static void l_bulk_load(void *handle, const struct source *source)
{
    struct session *session = handle;
    struct record record;
    char *error = NULL;
    unsigned count = 0;

    leveldb_writebatch_clear(session->batch);
    for (bool more = true; more;) {
        more = source->next(source->arg, &record);
        if (more)
            leveldb_writebatch_put(session->batch, record.key.data, record.key.size, record.value.data,
                                   record.value.size);
        if (more && ++count < BULK_RECORDS)
            continue;
        leveldb_write(session->level, session->write, session->batch, &error);
        must(error, "write");
        leveldb_writebatch_clear(session->batch);
        count = 0;
    }
}

static void l_del(void *handle, helios_slice key)
{
    struct session *session = handle;
    char *error = NULL;

    leveldb_delete(session->level, session->write, key.data, key.size, &error);
    must(error, "delete");
}

static bool l_get(void *handle, helios_slice key, helios_slice *value)
{
    struct session *session = handle;
    char *error = NULL;

    leveldb_free(session->value);
    session->value = leveldb_get(session->level, session->read, key.data, key.size, &value->size, &error);
    must(error, "get");
    value->data = session->value;
    return session->value != NULL;
}

static void *l_cursor_open(void *handle)
{
    struct session *session = handle;

    return leveldb_create_iterator(session->level, session->read);
}

static void l_cursor_close(void *cursor)
{
    leveldb_iter_destroy(cursor);
}

static inline bool here(leveldb_iterator_t *iter, struct record *record)
{
    char *error = NULL;

    if (!leveldb_iter_valid(iter)) {
        leveldb_iter_get_error(iter, &error);
        must(error, "iterator");
        return false;
    }
    record->key.data = leveldb_iter_key(iter, &record->key.size);
    record->value.data = leveldb_iter_value(iter, &record->value.size);
    return true;
}

static bool l_first(void *cursor, struct record *record)
{
    leveldb_iter_seek_to_first(cursor);
    return here(cursor, record);
}

static bool l_last(void *cursor, struct record *record)
{
    leveldb_iter_seek_to_last(cursor);
    return here(cursor, record);
}

static bool l_seek(void *cursor, helios_slice key, struct record *record)
{
    leveldb_iter_seek(cursor, key.data, key.size);
    return here(cursor, record);
}

static bool l_next(void *cursor, struct record *record)
{
    leveldb_iter_next(cursor);
    return here(cursor, record);
}

static bool l_prev(void *cursor, struct record *record)
{
    leveldb_iter_prev(cursor);
    return here(cursor, record);
}

const struct engine bench_engine = {
    .name = "leveldb",
    .stores = true,
    .describe = l_describe,
    .open = l_open,
    .close = l_close,
    .flush = l_flush,
    .session_open = l_session_open,
    .session_close = l_session_close,
    .put = l_put,
    .put_batch = l_put_batch,
    .del = l_del,
    .bulk_load = l_bulk_load,
    .get = l_get,
    .cursor_open = l_cursor_open,
    .cursor_close = l_cursor_close,
    .first = l_first,
    .last = l_last,
    .seek = l_seek,
    .next = l_next,
    .prev = l_prev,
};
