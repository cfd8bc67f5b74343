/* engine_rocksdb.c - RocksDB through its C interface, with the settings that were its best here. */
#include "bench/engine.h"
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>

enum { MEMTABLES_IN_L1 = 4, DATA_BLOCK_BINARY_AND_HASH = 1, LOGS_RECYCLED = 4, PATH_BYTES = 4200 };

struct db {
    rocksdb_t *rocks;
    rocksdb_optimistictransactiondb_t *transactions; /* around rocks, where there will be some; or NULL */
    rocksdb_options_t *options;
    rocksdb_cache_t *cache;
    const char *path;
    uint64_t bulk_bytes; /* of records in a table that is loaded as one */
    bool sync;
};

struct session {
    struct db *db;
    rocksdb_t *rocks;
    rocksdb_writeoptions_t *write;
    rocksdb_readoptions_t *read;
    rocksdb_writebatch_t *batch;
    rocksdb_pinnableslice_t *value; /* of the last get */
    rocksdb_optimistictransactiondb_t *transactions;
    rocksdb_optimistictransaction_options_t *txn_options;
    rocksdb_transaction_t *txn; /* used again by each that begins */
};

static void must(char *error, const char *what)
{
    if (error)
        bench_die("%s: %s", what, error);
}

static void r_describe(const struct settings *settings, char *text, size_t size)
{
    snprintf(
        text, size,
        "RocksDB " ROCKSDB_VERSION ": leveled, dynamic level bytes, write buffer %zu MiB x 2, cache %zu MiB, "
        "files %zu MiB, L1 %zu MiB, 4 KiB blocks, format 5, hash index in data blocks, full bloom 10 bits, "
        "index "
        "and filters outside the cache, lz4, 2 background jobs, 2 sub-compactions, bytes_per_sync 1 MiB, "
        "max_open_files -1, no random-access advice, filters of memtables where reads and writes mix, "
        "pipelined writes with several writers, log recycling 4 in fillsync (with "
        "recovery "
        "that skips damage, or it is off), pinned gets",
        (size_t)(settings->memtable_bytes >> 20), (size_t)(settings->cache_bytes >> 20),
        (size_t)(settings->file_bytes >> 20), (size_t)(settings->memtable_bytes * MEMTABLES_IN_L1 >> 20));
}

static rocksdb_block_based_table_options_t *table_options(rocksdb_cache_t *cache)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();

    rocksdb_block_based_options_set_block_cache(table, cache);
    rocksdb_block_based_options_set_block_size(table, 4096);
    rocksdb_block_based_options_set_format_version(table, 5);
    rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_data_block_index_type(table, DATA_BLOCK_BINARY_AND_HASH);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 0);
    return table;
}

/* 7.8 turns recycling off, without a word, in every other mode of recovery; and in this one it may loop for
 * ever when it opens a database that has recycled logs. So only where it matters: where writes are synced. */
static void recycle_logs(rocksdb_options_t *options)
{
    rocksdb_options_set_recycle_log_file_num(options, LOGS_RECYCLED);
    rocksdb_options_set_wal_recovery_mode(options, rocksdb_skip_any_corrupted_records_recovery);
}

/* A get of a key that is not in the memtable does not search it: 1.6x for reads beside a writer. A put has to
 * add to the filter: 6 % of a fill. */
static void filter_memtables(rocksdb_options_t *options)
{
    rocksdb_options_set_memtable_prefix_bloom_size_ratio(options, 0.1);
    rocksdb_options_set_memtable_whole_key_filtering(options, 1);
}

static rocksdb_options_t *options_make(const struct settings *settings, rocksdb_cache_t *cache)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_block_based_table_options_t *table = table_options(cache);

    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_write_buffer_size(options, settings->memtable_bytes);
    rocksdb_options_set_max_write_buffer_number(options, 2);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(options, 1);
    rocksdb_options_set_target_file_size_base(options, settings->file_bytes);
    rocksdb_options_set_max_bytes_for_level_base(options, settings->memtable_bytes * MEMTABLES_IN_L1);
    rocksdb_options_set_max_background_jobs(options, 2);
    rocksdb_options_set_max_subcompactions(options, 2);
    rocksdb_options_set_bytes_per_sync(options, 1 << 20);
    rocksdb_options_set_max_open_files(options, -1);
    rocksdb_options_set_advise_random_on_open(options, 0); /* cold reads: 2.5x */
    rocksdb_options_set_compression(options, rocksdb_lz4_compression);
    if (settings->sync)
        recycle_logs(options);
    if (settings->mixed)
        filter_memtables(options);
    rocksdb_options_set_enable_pipelined_write(options, settings->writers > 1);
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
    return options;
}

static void *r_open(const struct settings *settings)
{
    struct db *db = calloc(1, sizeof(*db));
    char *error = NULL;

    if (!db)
        bench_die("no memory");
    db->cache = rocksdb_cache_create_lru(settings->cache_bytes);
    db->options = options_make(settings, db->cache);
    db->sync = settings->sync;
    db->path = settings->path;
    db->bulk_bytes = settings->file_bytes * 2; /* compressed to half */
    if (settings->transactions)
        db->transactions = rocksdb_optimistictransactiondb_open(db->options, settings->path, &error);
    else
        db->rocks = rocksdb_open(db->options, settings->path, &error);
    must(error, "open");
    if (db->transactions)
        db->rocks = rocksdb_optimistictransactiondb_get_base_db(db->transactions);
    return db;
}

static void r_close(void *handle)
{
    struct db *db = handle;

    if (db->transactions) {
        rocksdb_optimistictransactiondb_close_base_db(db->rocks);
        rocksdb_optimistictransactiondb_close(db->transactions);
    } else {
        rocksdb_close(db->rocks);
    }
    rocksdb_options_destroy(db->options);
    rocksdb_cache_destroy(db->cache);
    free(db);
}

static void r_flush(void *handle)
{
    struct db *db = handle;
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    char *error = NULL;

    rocksdb_flushoptions_set_wait(options, 1);
    rocksdb_flush(db->rocks, options, &error);
    must(error, "flush");
    rocksdb_flushoptions_destroy(options);
}

static void *r_session_open(void *handle)
{
    struct db *db = handle;
    struct session *session = calloc(1, sizeof(*session));

    if (!session)
        bench_die("no memory");
    session->db = db;
    session->rocks = db->rocks;
    session->write = rocksdb_writeoptions_create();
    session->read = rocksdb_readoptions_create();
    session->batch = rocksdb_writebatch_create();
    rocksdb_writeoptions_set_sync(session->write, db->sync);
    session->transactions = db->transactions;
    session->txn_options = rocksdb_optimistictransaction_options_create();
    return session;
}

static void value_drop(struct session *session)
{
    if (session->value)
        rocksdb_pinnableslice_destroy(session->value);
    session->value = NULL;
}

static void r_session_close(void *handle)
{
    struct session *session = handle;

    value_drop(session);
    if (session->txn)
        rocksdb_transaction_destroy(session->txn);
    rocksdb_optimistictransaction_options_destroy(session->txn_options);
    rocksdb_writebatch_destroy(session->batch);
    rocksdb_readoptions_destroy(session->read);
    rocksdb_writeoptions_destroy(session->write);
    free(session);
}

static void r_put(void *handle, helios_slice key, helios_slice value)
{
    struct session *session = handle;
    char *error = NULL;

    rocksdb_put(session->rocks, session->write, key.data, key.size, value.data, value.size, &error);
    must(error, "put");
}

static void r_put_batch(void *handle, const struct record *records, size_t count)
{
    struct session *session = handle;
    char *error = NULL;

    rocksdb_writebatch_clear(session->batch);
    for (size_t i = 0; i < count; i++)
        rocksdb_writebatch_put(session->batch, records[i].key.data, records[i].key.size, records[i].value.data,
                               records[i].value.size);
    rocksdb_write(session->rocks, session->write, session->batch, &error);
    must(error, "write");
}

/* A table as the options say, beside the database and on the same disk, so that it can be moved in. */
static rocksdb_sstfilewriter_t *bulk_begin(struct db *db, char path[PATH_BYTES], unsigned number)
{
    rocksdb_envoptions_t *env = rocksdb_envoptions_create();
    rocksdb_sstfilewriter_t *writer = rocksdb_sstfilewriter_create(env, db->options);
    char *error = NULL;

    rocksdb_envoptions_destroy(env);
    snprintf(path, PATH_BYTES, "%s/load-%06u.sst", db->path, number);
    rocksdb_sstfilewriter_open(writer, path, &error);
    must(error, "table writer");
    return writer;
}

static void bulk_end(struct db *db, rocksdb_sstfilewriter_t *writer, const char *path)
{
    rocksdb_ingestexternalfileoptions_t *options = rocksdb_ingestexternalfileoptions_create();
    char *error = NULL;

    rocksdb_sstfilewriter_finish(writer, &error);
    must(error, "table writer");
    rocksdb_ingestexternalfileoptions_set_move_files(options, 1);
    rocksdb_ingest_external_file(db->rocks, &path, 1, options, &error);
    must(error, "ingest");
    rocksdb_ingestexternalfileoptions_destroy(options);
    rocksdb_sstfilewriter_destroy(writer);
}

static void r_bulk_load(void *handle, const struct source *source)
{
    struct session *session = handle;
    rocksdb_sstfilewriter_t *writer = NULL;
    struct record record;
    char path[PATH_BYTES], *error = NULL;
    uint64_t bytes = 0;

    for (unsigned number = 0; source->next(source->arg, &record);) {
        if (!writer)
            writer = bulk_begin(session->db, path, ++number);
        rocksdb_sstfilewriter_put(writer, record.key.data, record.key.size, record.value.data,
                                  record.value.size, &error);
        must(error, "table writer");
        bytes += record.key.size + record.value.size;
        if (bytes < session->db->bulk_bytes)
            continue;
        bulk_end(session->db, writer, path);
        writer = NULL;
        bytes = 0;
    }
    if (writer)
        bulk_end(session->db, writer, path);
}

static void r_del(void *handle, helios_slice key)
{
    struct session *session = handle;
    char *error = NULL;

    rocksdb_delete(session->rocks, session->write, key.data, key.size, &error);
    must(error, "delete");
}

static bool value_keep(struct session *session, rocksdb_pinnableslice_t *found, helios_slice *value)
{
    session->value = found;
    if (!found)
        return false;
    value->data = rocksdb_pinnableslice_value(found, &value->size);
    return value->data != NULL;
}

static bool r_get(void *handle, helios_slice key, helios_slice *value)
{
    struct session *session = handle;
    rocksdb_pinnableslice_t *found;
    char *error = NULL;

    value_drop(session);
    found = rocksdb_get_pinned(session->rocks, session->read, key.data, key.size, &error);
    must(error, "get");
    return value_keep(session, found, value);
}

static void *r_cursor_open(void *handle)
{
    struct session *session = handle;

    return rocksdb_create_iterator(session->rocks, session->read);
}

static void r_cursor_close(void *cursor)
{
    rocksdb_iter_destroy(cursor);
}

static inline bool here(rocksdb_iterator_t *iter, struct record *record)
{
    char *error = NULL;

    if (!rocksdb_iter_valid(iter)) {
        rocksdb_iter_get_error(iter, &error);
        must(error, "iterator");
        return false;
    }
    record->key.data = rocksdb_iter_key(iter, &record->key.size);
    record->value.data = rocksdb_iter_value(iter, &record->value.size);
    return true;
}

static bool r_first(void *cursor, struct record *record)
{
    rocksdb_iter_seek_to_first(cursor);
    return here(cursor, record);
}

static bool r_last(void *cursor, struct record *record)
{
    rocksdb_iter_seek_to_last(cursor);
    return here(cursor, record);
}

static bool r_seek(void *cursor, helios_slice key, struct record *record)
{
    rocksdb_iter_seek(cursor, key.data, key.size);
    return here(cursor, record);
}

static bool r_next(void *cursor, struct record *record)
{
    rocksdb_iter_next(cursor);
    return here(cursor, record);
}

static bool r_prev(void *cursor, struct record *record)
{
    rocksdb_iter_prev(cursor);
    return here(cursor, record);
}

static void *r_snapshot_new(void *handle)
{
    struct session *session = handle;

    return (void *)rocksdb_create_snapshot(session->rocks);
}

static void r_snapshot_free(void *handle, void *snapshot)
{
    struct session *session = handle;

    rocksdb_release_snapshot(session->rocks, snapshot);
}

static void r_txn_begin(void *handle)
{
    struct session *session = handle;

    session->txn = rocksdb_optimistictransaction_begin(session->transactions, session->write,
                                                       session->txn_options, session->txn);
}

/* Noted for validation as of now, which is what makes a read and a write of one key safe. */
static bool r_txn_get(void *handle, helios_slice key, helios_slice *value)
{
    struct session *session = handle;
    rocksdb_pinnableslice_t *found;
    char *error = NULL;

    value_drop(session);
    found =
        rocksdb_transaction_get_pinned_for_update(session->txn, session->read, key.data, key.size, 1, &error);
    must(error, "get in a transaction");
    return value_keep(session, found, value);
}

static void r_txn_put(void *handle, helios_slice key, helios_slice value)
{
    struct session *session = handle;
    char *error = NULL;

    rocksdb_transaction_put(session->txn, key.data, key.size, value.data, value.size, &error);
    must(error, "put in a transaction");
}

static bool r_txn_commit(void *handle)
{
    struct session *session = handle;
    char *error = NULL;
    bool lost;

    rocksdb_transaction_commit(session->txn, &error);
    lost = error && strncmp(error, "Resource busy", 13) == 0;
    if (!lost)
        must(error, "commit");
    rocksdb_free(error);
    return !lost;
}

static void r_txn_run(void *session, void (*body)(void *arg), void *arg)
{
    do {
        r_txn_begin(session);
        body(arg);
    } while (!r_txn_commit(session));
}

const struct engine bench_engine = {
    .name = "rocksdb",
    .stores = true,
    .describe = r_describe,
    .open = r_open,
    .close = r_close,
    .flush = r_flush,
    .session_open = r_session_open,
    .session_close = r_session_close,
    .put = r_put,
    .put_batch = r_put_batch,
    .del = r_del,
    .bulk_load = r_bulk_load,
    .get = r_get,
    .cursor_open = r_cursor_open,
    .cursor_close = r_cursor_close,
    .first = r_first,
    .last = r_last,
    .seek = r_seek,
    .next = r_next,
    .prev = r_prev,
    .snapshot_new = r_snapshot_new,
    .snapshot_free = r_snapshot_free,
    .txn_begin = r_txn_begin,
    .txn_get = r_txn_get,
    .txn_put = r_txn_put,
    .txn_commit = r_txn_commit,
    .txn_run = r_txn_run,
};
