/* branch_tools.c - databases and their rows, for the parts of bench-branches. */
#include "bench/branches.h"

enum {
    BATCH = 100,
    ENTRY_BYTES = 256, /* of a memtable that is to hold everything, a record */
};

const char *const state_names[] = {"memtable", "compacted"};

helios_db *db_open(const char *name, enum state state)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    uint64_t bytes = settings.count * (settings.value_bytes + ENTRY_BYTES) + (UINT64_C(64) << 20);
    helios_db *db = NULL;
    char path[PATH_BYTES];

    path_of(name, path);
    if (state == STATE_MEMTABLE)
        options.memtable_bytes = bytes;
    options.block_cache_bytes = bytes * 2;
    must(helios_open(path, &options, &db), "open");
    return db;
}

helios_db *db_open_within(const char *name, uint64_t memory_budget)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_db *db = NULL;
    char path[PATH_BYTES];

    options.memory_budget = memory_budget;
    path_of(name, path);
    must(helios_open(path, &options, &db), "open");
    return db;
}

helios_db *db_compacted(helios_db *db, const char *name)
{
    must(helios_close(db), "close");
    db = db_open(name, STATE_COMPACTED);
    must(helios_compact(db, (helios_slice){0}, (helios_slice){0}), "compact");
    return db;
}

helios_branch_id branch_make(helios_db *db, helios_branch_id parent, const char *prefix, uint64_t number)
{
    helios_branch_id id = 0;
    char name[NAME_BYTES];

    snprintf(name, sizeof(name), "%s-%05" PRIu64, prefix, number);
    must(helios_branch_create(db, name, parent, 0, &id), "branch");
    return id;
}

void fill(helios_db *db, helios_branch_id branch, uint64_t from, uint64_t count, unsigned generation)
{
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    helios_batch *batch = helios_batch_new();

    options.branch = branch;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t index = data_scatter(&data, (from + i) % data.count);
        char key[KEY_BYTES];

        data_key(&data, index * 2, key);
        helios_batch_put(batch, slice_make(key, sizeof(key)), data_value(&data, index, generation));
        if ((i + 1) % BATCH == 0 || i + 1 == count) {
            must(helios_write(db, &options, batch, NULL), "write");
            helios_batch_clear(batch);
        }
    }
    helios_batch_free(batch);
}

uint64_t own_rows(void)
{
    return data.count / OWN_SHARE ? data.count / OWN_SHARE : 1;
}

uint64_t rows_of(helios_db *db, helios_branch_id branch)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_iter *iter = NULL;
    uint64_t rows = 0, touched = 0;

    options.branch = branch;
    must(helios_iter_new(db, &options, &iter), "iterator");
    for (helios_iter_first(iter); helios_iter_valid(iter); helios_iter_next(iter)) {
        helios_slice value = helios_iter_value(iter);

        touched += *(const unsigned char *)value.data;
        rows++;
    }
    must(helios_iter_status(iter), "iterator");
    helios_iter_free(iter);
    if (touched == 0)
        bench_die("all values are empty");
    return rows;
}

void check(helios_db *db, helios_branch_id branch, unsigned levels, bool all, unsigned of_main)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_buf value = {0};

    options.branch = branch;
    for (uint64_t i = 0; i < data.count; i++) {
        uint64_t index = data_scatter(&data, i), level = i / own_rows() + 1;
        unsigned generation = level <= levels && (all || level == levels) ? (unsigned)level : of_main;
        helios_slice wanted = data_value(&data, index, generation);
        char key[KEY_BYTES];

        data_key(&data, index * 2, key);
        must(helios_get(db, &options, slice_make(key, sizeof(key)), &value), "get");
        if (value.size != wanted.size || memcmp(value.data, wanted.data, wanted.size) != 0)
            bench_die("branch %u: the value at index %" PRIu64 " is not what was written", branch, index);
    }
    helios_buf_free(&value);
    if (rows_of(db, branch) != data.count)
        bench_die("branch %u: a scan gives other rows than there are", branch);
}
