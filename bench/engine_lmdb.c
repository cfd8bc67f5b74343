/* engine_lmdb.c - LMDB. Asynchronous writes go to a shared writable map without any sync: they survive
 * the process, a power cut may destroy the database. No log, no checksums, no compression. */
#include "bench/engine.h"
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>

enum { BULK_RECORDS = 10000 };

/* Address space, not memory: the file is sparse. */
static const size_t map_bytes = (size_t)64 << 30;

struct db {
    MDB_env *env;
    MDB_dbi table;
};

struct session {
    struct db *db;
    MDB_txn *read;
    bool reading; /* else reset: it holds no read point */
};

static void must(int error, const char *what)
{
    if (error)
        bench_die("%s: %s", what, mdb_strerror(error));
}

static void m_describe(const struct settings *settings, char *text, size_t size)
{
    int major, minor, patch;

    mdb_version(&major, &minor, &patch);
    snprintf(
        text, size,
        "LMDB %d.%d.%d: NOTLS, WRITEMAP, without fsync also MAPASYNC and NOSYNC, read transactions reset and "
        "renewed; caches in the page cache, without limit",
        major, minor, patch);
}

static void *m_open(const struct settings *settings)
{
    struct db *db = calloc(1, sizeof(*db));
    unsigned flags = MDB_NOTLS | MDB_WRITEMAP | (settings->sync ? 0 : MDB_MAPASYNC | MDB_NOSYNC);
    MDB_txn *txn = NULL;

    if (!db)
        bench_die("no memory");
    must(mdb_env_create(&db->env), "create");
    must(mdb_env_set_mapsize(db->env, map_bytes), "map size");
    must(mdb_env_open(db->env, settings->path, flags, 0644), "open");
    must(mdb_txn_begin(db->env, NULL, 0, &txn), "begin");
    must(mdb_dbi_open(txn, NULL, 0, &db->table), "table");
    must(mdb_txn_commit(txn), "commit");
    return db;
}

static void m_close(void *handle)
{
    struct db *db = handle;

    mdb_env_close(db->env);
    free(db);
}

static void m_flush(void *handle)
{
    struct db *db = handle;

    must(mdb_env_sync(db->env, 1), "sync");
}

static void *m_session_open(void *handle)
{
    struct session *session = calloc(1, sizeof(*session));

    if (!session)
        bench_die("no memory");
    session->db = handle;
    must(mdb_txn_begin(session->db->env, NULL, MDB_RDONLY, &session->read), "begin");
    mdb_txn_reset(session->read);
    return session;
}

static void m_session_close(void *handle)
{
    struct session *session = handle;

    mdb_txn_abort(session->read);
    free(session);
}

static MDB_val value_of(helios_slice slice)
{
    return (MDB_val){slice.size, (void *)slice.data};
}

static void m_put_batch(void *handle, const struct record *records, size_t count)
{
    struct session *session = handle;
    MDB_txn *txn = NULL;

    must(mdb_txn_begin(session->db->env, NULL, 0, &txn), "begin");
    for (size_t i = 0; i < count; i++) {
        MDB_val key = value_of(records[i].key), value = value_of(records[i].value);

        must(mdb_put(txn, session->db->table, &key, &value, 0), "put");
    }
    must(mdb_txn_commit(txn), "commit");
}

static void m_put(void *handle, helios_slice key, helios_slice value)
{
    struct record record = {key, value};

    m_put_batch(handle, &record, 1);
}

/* MDB_APPEND: pages are filled to the end, nothing is searched. */
static void m_bulk_load(void *handle, const struct source *source)
{
    struct session *session = handle;
    struct record record;
    MDB_txn *txn = NULL;
    unsigned count = 0;

    while (source->next(source->arg, &record)) {
        MDB_val key = value_of(record.key), value = value_of(record.value);

        if (!txn)
            must(mdb_txn_begin(session->db->env, NULL, 0, &txn), "begin");
        must(mdb_put(txn, session->db->table, &key, &value, MDB_APPEND), "append");
        if (++count < BULK_RECORDS)
            continue;
        must(mdb_txn_commit(txn), "commit");
        txn = NULL;
        count = 0;
    }
    if (txn)
        must(mdb_txn_commit(txn), "commit");
}

static void m_del(void *handle, helios_slice slice)
{
    struct session *session = handle;
    MDB_val key = value_of(slice);
    MDB_txn *txn = NULL;
    int error;

    must(mdb_txn_begin(session->db->env, NULL, 0, &txn), "begin");
    error = mdb_del(txn, session->db->table, &key, NULL);
    if (error == MDB_NOTFOUND) {
        mdb_txn_abort(txn);
        return;
    }
    must(error, "delete");
    must(mdb_txn_commit(txn), "commit");
}

/* The read point is renewed for each look-up, and kept until the next so that the value stays. */
static bool m_get(void *handle, helios_slice slice, helios_slice *found)
{
    struct session *session = handle;
    MDB_val key = value_of(slice), value;
    int error;

    if (session->reading)
        mdb_txn_reset(session->read);
    must(mdb_txn_renew(session->read), "renew");
    session->reading = true;
    error = mdb_get(session->read, session->db->table, &key, &value);
    if (error == MDB_NOTFOUND)
        return false;
    must(error, "get");
    *found = slice_make(value.mv_data, value.mv_size);
    return true;
}

static void *m_cursor_open(void *handle)
{
    struct session *session = handle;
    MDB_cursor *cursor = NULL;
    MDB_txn *txn = NULL;

    must(mdb_txn_begin(session->db->env, NULL, MDB_RDONLY, &txn), "begin");
    must(mdb_cursor_open(txn, session->db->table, &cursor), "cursor");
    return cursor;
}

static void m_cursor_close(void *handle)
{
    MDB_txn *txn = mdb_cursor_txn(handle);

    mdb_cursor_close(handle);
    mdb_txn_abort(txn);
}

static inline bool move(void *cursor, MDB_val *key, MDB_cursor_op op, struct record *record)
{
    MDB_val value;
    int error = mdb_cursor_get(cursor, key, &value, op);

    if (error == MDB_NOTFOUND)
        return false;
    must(error, "cursor");
    record->key = slice_make(key->mv_data, key->mv_size);
    record->value = slice_make(value.mv_data, value.mv_size);
    return true;
}

static bool m_first(void *cursor, struct record *record)
{
    return move(cursor, &(MDB_val){0}, MDB_FIRST, record);
}
static bool m_last(void *cursor, struct record *record)
{
    return move(cursor, &(MDB_val){0}, MDB_LAST, record);
}
static bool m_next(void *cursor, struct record *record)
{
    return move(cursor, &(MDB_val){0}, MDB_NEXT, record);
}
static bool m_prev(void *cursor, struct record *record)
{
    return move(cursor, &(MDB_val){0}, MDB_PREV, record);
}

static bool m_seek(void *cursor, helios_slice key, struct record *record)
{
    MDB_val from = value_of(key);

    return move(cursor, &from, MDB_SET_RANGE, record);
}

const struct engine bench_engine = {
    .name = "lmdb",
    .stores = true,
    .describe = m_describe,
    .open = m_open,
    .close = m_close,
    .flush = m_flush,
    .session_open = m_session_open,
    .session_close = m_session_close,
    .put = m_put,
    .put_batch = m_put_batch,
    .del = m_del,
    .bulk_load = m_bulk_load,
    .get = m_get,
    .cursor_open = m_cursor_open,
    .cursor_close = m_cursor_close,
    .first = m_first,
    .last = m_last,
    .seek = m_seek,
    .next = m_next,
    .prev = m_prev,
};
