/* engine_helios.c - Helios behind the driver's table: defaults, but for history, which is kept only where a run asks
 * for it: nobody asks it of the peers. */
#include "bench/engine.h"
#include <stdio.h>
#include <stdlib.h>

static const size_t bulk_bytes = (size_t)32 << 20;

struct session {
    helios_db *db;
    helios_batch *batch;
    helios_buf value;
    helios_read_options read; /* `at` is set where the past is read */
    helios_txn *txn;
};

static void must(helios_status status, const char *what)
{
    if (status != HELIOS_OK)
        bench_die("%s: %s: %s", what, helios_status_name(status), helios_last_error());
}

static void h_describe(const struct settings *settings, char *text, size_t size)
{
    helios_options defaults = HELIOS_OPTIONS_INIT;
    char history[32] = "all";

    if (settings->retention != HELIOS_FOREVER)
        snprintf(history, sizeof(history), "%zu h of", (size_t)(settings->retention / 3600 / 1000000));
    snprintf(text, size,
             "Helios %s: memtable %zu MiB, cache %zu MiB, blocks %u B, filter %.0f bits, lz4, %s history, no "
             "feed, "
             "durability ASYNC, in fillsync SYNC, get into a reused buffer%s",
             helios_version_string(), (size_t)(settings->memtable_bytes >> 20),
             (size_t)(settings->cache_bytes >> 20), (unsigned)defaults.block_bytes,
             defaults.filter_bits_per_key, settings->retention ? history : "no",
             settings->encrypted ? ", encrypted" : "");
}

static void *h_open(const struct settings *settings)
{
    helios_encryption encryption = HELIOS_ENCRYPTION_INIT;
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_db *db = NULL;

    options.memtable_bytes = settings->memtable_bytes;
    options.block_cache_bytes = settings->cache_bytes;
    options.history_retention = settings->retention;
    encryption.source = HELIOS_KEY_RAW;
    encryption.key = slice_make("thirty-two bytes that are a key.", 32);
    options.encryption = settings->encrypted ? &encryption : NULL;
    options.durability = settings->sync ? HELIOS_DURABILITY_SYNC : HELIOS_DURABILITY_ASYNC;
    must(helios_open(settings->path, &options, &db), "open");
    return db;
}

static void h_close(void *db)
{
    must(helios_close(db), "close");
}
static void h_flush(void *db)
{
    must(helios_flush(db), "flush");
}

static void *h_session_open(void *db)
{
    struct session *session = calloc(1, sizeof(*session));
    helios_batch *batch = helios_batch_new();

    if (!session || !batch)
        bench_die("no memory");
    session->db = db;
    session->batch = batch;
    session->read = (helios_read_options)HELIOS_READ_OPTIONS_INIT;
    return session;
}

static void h_session_close(void *handle)
{
    struct session *session = handle;

    helios_batch_free(session->batch);
    helios_buf_free(&session->value);
    free(session);
}

static void h_put(void *handle, helios_slice key, helios_slice value)
{
    struct session *session = handle;

    must(helios_put(session->db, NULL, key, value), "put");
}

static void h_put_batch(void *handle, const struct record *records, size_t count)
{
    struct session *session = handle;

    helios_batch_clear(session->batch);
    for (size_t i = 0; i < count; i++)
        helios_batch_put(session->batch, records[i].key, records[i].value);
    must(helios_write(session->db, NULL, session->batch, NULL), "write");
}

/* A commit of this size is written as a table of its own, not to the log and a memtable; peak memory is a few of it. */
static void h_bulk_load(void *handle, const struct source *source)
{
    struct session *session = handle;
    struct record record;
    size_t bytes = 0;

    helios_batch_clear(session->batch);
    while (source->next(source->arg, &record)) {
        helios_batch_put(session->batch, record.key, record.value);
        bytes += record.key.size + record.value.size;
        if (bytes < bulk_bytes)
            continue;
        must(helios_write(session->db, NULL, session->batch, NULL), "write");
        helios_batch_clear(session->batch);
        bytes = 0;
    }
    must(helios_write(session->db, NULL, session->batch, NULL), "write");
}

static void h_del(void *handle, helios_slice key)
{
    struct session *session = handle;

    must(helios_delete(session->db, NULL, key), "delete");
}

static inline bool found(struct session *session, helios_status status, helios_slice *value)
{
    if (status == HELIOS_NOT_FOUND)
        return false;
    must(status, "get");
    *value = slice_make(session->value.data, session->value.size);
    return true;
}

static inline const helios_read_options *read_options(const struct session *session)
{
    return session->read.at ? &session->read : NULL;
}

static bool h_get(void *handle, helios_slice key, helios_slice *value)
{
    struct session *session = handle;

    return found(session, helios_get(session->db, read_options(session), key, &session->value), value);
}

static void *h_cursor_open(void *handle)
{
    struct session *session = handle;
    helios_iter *iter = NULL;

    must(helios_iter_new(session->db, read_options(session), &iter), "iterator");
    return iter;
}

static void h_cursor_close(void *cursor)
{
    helios_iter_free(cursor);
}

static inline bool here(helios_iter *iter, struct record *record)
{
    if (!helios_iter_valid(iter)) {
        must(helios_iter_status(iter), "iterator");
        return false;
    }
    record->key = helios_iter_key(iter);
    record->value = helios_iter_value(iter);
    return true;
}

static bool h_first(void *cursor, struct record *record)
{
    helios_iter_first(cursor);
    return here(cursor, record);
}

static bool h_last(void *cursor, struct record *record)
{
    helios_iter_last(cursor);
    return here(cursor, record);
}

static bool h_seek(void *cursor, helios_slice key, struct record *record)
{
    helios_iter_seek(cursor, key);
    return here(cursor, record);
}

static bool h_next(void *cursor, struct record *record)
{
    helios_iter_next(cursor);
    return here(cursor, record);
}

static bool h_prev(void *cursor, struct record *record)
{
    helios_iter_prev(cursor);
    return here(cursor, record);
}

static uint64_t h_point(void *handle)
{
    struct session *session = handle;

    return helios_latest(session->db);
}

static void h_read_at(void *handle, uint64_t point)
{
    struct session *session = handle;

    session->read.at = point;
}

static void *h_snapshot_new(void *handle)
{
    struct session *session = handle;
    helios_snapshot *snapshot = NULL;

    must(helios_snapshot_new(session->db, 0, &snapshot), "snapshot");
    return snapshot;
}

static void h_snapshot_free(void *handle, void *snapshot)
{
    struct session *session = handle;

    helios_snapshot_free(session->db, snapshot);
}

static void h_txn_begin(void *handle)
{
    struct session *session = handle;

    must(helios_txn_begin(session->db, NULL, &session->txn), "begin");
}

static bool h_txn_get(void *handle, helios_slice key, helios_slice *value)
{
    struct session *session = handle;

    return found(session, helios_txn_get(session->txn, key, &session->value), value);
}

static void h_txn_put(void *handle, helios_slice key, helios_slice value)
{
    struct session *session = handle;

    must(helios_txn_put(session->txn, key, value), "put in a transaction");
}

static bool h_txn_commit(void *handle)
{
    struct session *session = handle;
    helios_status status = helios_txn_commit(session->txn, NULL);

    if (status != HELIOS_CONFLICT)
        must(status, "commit");
    helios_txn_free(session->txn);
    session->txn = NULL;
    return status == HELIOS_OK;
}

struct body {
    struct session *session;
    void (*run)(void *arg);
    void *arg;
};

static helios_status run_body(void *arg, helios_txn *txn)
{
    struct body *body = arg;

    body->session->txn = txn;
    body->run(body->arg);
    body->session->txn = NULL;
    return HELIOS_OK;
}

static void h_txn_run(void *handle, void (*run)(void *arg), void *arg)
{
    struct body body = {handle, run, arg};

    must(helios_txn_run(body.session->db, NULL, run_body, &body, NULL), "transaction");
}

const struct engine bench_engine = {
    .name = "helios",
    .stores = true,
    .describe = h_describe,
    .open = h_open,
    .close = h_close,
    .flush = h_flush,
    .session_open = h_session_open,
    .session_close = h_session_close,
    .put = h_put,
    .put_batch = h_put_batch,
    .del = h_del,
    .bulk_load = h_bulk_load,
    .get = h_get,
    .cursor_open = h_cursor_open,
    .cursor_close = h_cursor_close,
    .first = h_first,
    .last = h_last,
    .seek = h_seek,
    .next = h_next,
    .prev = h_prev,
    .point = h_point,
    .read_at = h_read_at,
    .snapshot_new = h_snapshot_new,
    .snapshot_free = h_snapshot_free,
    .txn_begin = h_txn_begin,
    .txn_get = h_txn_get,
    .txn_put = h_txn_put,
    .txn_commit = h_txn_commit,
    .txn_run = h_txn_run,
};
