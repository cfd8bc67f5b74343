/* test_encryption.c - encryption at rest: what was written comes back, no file shows any of it, and a database opens
 * with its key alone. That every answer is right is the business of the other random tests, which run encrypted too
 * (`model encrypted`, `flips encrypted`, `powercut encrypted`, `crash encrypted`).
 * Usage: test_encryption [seed] */
#undef NDEBUG
#include "base/coding.h"
#include "base/file_header.h"
#include "base/hash.h"
#include "engine/engine_internal.h"
#include "io/io.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ROWS = 400, PATHS_MAX = 256 };

static uint64_t seed = 1;
static unsigned char key_bytes[32], other_bytes[32];

#define MUST(call)                                                                                             \
    do {                                                                                                       \
        helios_status must_status = (call);                                                                    \
        if (must_status != HELIOS_OK) {                                                                        \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, helios_status_name(must_status),            \
                    helios_last_error());                                                                      \
            abort();                                                                                           \
        }                                                                                                      \
    } while (0)

static helios_slice text(const char *string)
{
    return (helios_slice){string, strlen(string)};
}

static helios_encryption raw(const unsigned char key[32])
{
    helios_encryption e = HELIOS_ENCRYPTION_INIT;

    e.source = HELIOS_KEY_RAW;
    e.key = (helios_slice){key, 32};
    return e;
}

static helios_options options_with(const helios_encryption *encryption)
{
    helios_options options = HELIOS_OPTIONS_INIT;

    options.memtable_bytes = 256 << 10;
    options.block_cache_bytes = 1 << 20;
    options.feed_retention = HELIOS_FOREVER;
    options.history_retention = HELIOS_FOREVER;
    options.encryption = encryption;
    return options;
}

static helios_status open_with(struct io_fs *fs, const char *path, const helios_encryption *encryption,
                               helios_db **db)
{
    const helios_options options = options_with(encryption);

    return engine_open(fs, path, &options, db);
}

/* ---- all files ---- */

struct files {
    struct io_fs *fs;
    char folder[64];
    char paths[PATHS_MAX][128];
    size_t count;
};

static helios_status add_file(void *arg, const char *name)
{
    struct files *files = arg;
    uint64_t size;

    assert(files->count < PATHS_MAX);
    snprintf(files->paths[files->count], sizeof(files->paths[0]), "%s/%.60s", files->folder, name);
    if (io_memory_bytes(files->fs, files->paths[files->count], &size))
        files->count++;
    return HELIOS_OK;
}

static void list_files(struct io_fs *fs, const char *path, struct files *files)
{
    static const char *const folders[] = {"", "/wal", "/sst"};

    *files = (struct files){.fs = fs};
    for (size_t i = 0; i < 3; i++) {
        snprintf(files->folder, sizeof(files->folder), "%s%s", path, folders[i]);
        MUST(io_list(fs, files->folder, add_file, files));
    }
}

/* The beginnings of keys, values and names as they were written. */
static const char *const markers[] = {"PLAINKEY", "PLAINVALUE",    "PLAINBRANCH",
                                      "PLAINTAG", "PLAINCONSUMER", "PLAINMETA"};

/* Of a database that is closed: an open one removes files meanwhile. */
static size_t count_markers(struct io_fs *fs, const char *path)
{
    struct files files;
    size_t found = 0;

    list_files(fs, path, &files);
    assert(files.count >= 5);
    for (size_t i = 0; i < files.count; i++) {
        uint64_t size;
        const unsigned char *bytes = io_memory_bytes(fs, files.paths[i], &size);

        for (size_t m = 0; m < sizeof(markers) / sizeof(markers[0]); m++)
            if (memmem(bytes, size, markers[m], strlen(markers[m]))) {
                printf("%s has %s\n", files.paths[i], markers[m]);
                found++;
            }
    }
    return found;
}

/* ---- content ---- */

static void row_key(unsigned row, char out[32])
{
    snprintf(out, 32, "PLAINKEY%06u", row);
}

static void row_value(unsigned row, unsigned round, char out[64])
{
    snprintf(out, 64, "PLAINVALUE row %u of round %u", row, round);
}

static void put_rows(helios_db *db, unsigned round)
{
    char key[32], value[64];

    for (unsigned row = 0; row < ROWS; row++) {
        row_key(row, key);
        row_value(row, round, value);
        MUST(helios_put(db, NULL, text(key), text(value)));
    }
}

static void check_rows(helios_db *db, unsigned round)
{
    helios_buf got = {0};
    char key[32], value[64];

    for (unsigned row = 0; row < ROWS; row++) {
        row_key(row, key);
        row_value(row, round, value);
        MUST(helios_get(db, NULL, text(key), &got));
        assert(got.size == strlen(value) && memcmp(got.data, value, got.size) == 0);
    }
    helios_buf_free(&got);
}

static void put_large(helios_db *db)
{
    size_t size = 600 << 10;
    char *value = malloc(size);
    helios_buf got = {0};

    for (size_t i = 0; i < size; i++)
        value[i] = "PLAINVALUE large "[i % 17];
    MUST(helios_put(db, NULL, text("PLAINKEY large"), (helios_slice){value, size}));
    MUST(helios_flush(db));
    MUST(helios_get(db, NULL, text("PLAINKEY large"), &got));
    assert(got.size == size && memcmp(got.data, value, size) == 0);
    helios_buf_free(&got);
    free(value);
}

static void put_names(helios_db *db)
{
    helios_write_options on = HELIOS_WRITE_OPTIONS_INIT;
    helios_branch_id id;

    MUST(helios_branch_create(db, "PLAINBRANCH", 0, 0, &id));
    MUST(helios_branch_set_metadata(db, id, text("PLAINMETA")));
    on.branch = id;
    MUST(helios_put(db, &on, text("PLAINKEY on a branch"), text("PLAINVALUE on a branch")));
    MUST(helios_tag_create(db, "PLAINTAG", 0, 0));
    MUST(helios_delete_range(db, NULL, text("PLAINKEYx"), text("PLAINKEYz")));
}

static uint64_t count_changes(helios_db *db)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *changes;
    helios_change change;
    uint64_t count = 0;
    helios_status status;

    options.unsynced = true;
    options.consumer = "PLAINCONSUMER";
    MUST(helios_changes_new(db, &options, &changes));
    while ((status = helios_changes_next(changes, 0, &change)) == HELIOS_OK)
        count++;
    assert(status == HELIOS_TIMEOUT);
    helios_changes_free(changes);
    return count;
}

/* ---- tests ---- */

static void test_round_trip(void)
{
    const helios_encryption e = raw(key_bytes);
    struct io_fs *fs;
    helios_db *db;
    uint64_t changes;

    MUST(io_memory_new(&fs));
    MUST(open_with(fs, "/db", &e, &db));
    for (unsigned round = 0; round < 3; round++) {
        put_rows(db, round);
        MUST(helios_flush(db));
        check_rows(db, round);
    }
    put_large(db);
    put_names(db);
    MUST(helios_close(db));
    assert(count_markers(fs, "/db") == 0);
    MUST(open_with(fs, "/db", &e, &db));
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    check_rows(db, 2);
    put_rows(db, 3);
    changes = count_changes(db);
    assert(changes >= 4 * ROWS);
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_checkpoint(db, "/copy"));
    MUST(helios_close(db));
    assert(count_markers(fs, "/db") == 0);
    assert(count_markers(fs, "/copy") == 0);
    for (int open = 0; open < 3; open++) { /* three opens: the second replays, the third reads what that made */
        MUST(open_with(fs, "/db", &e, &db));
        check_rows(db, 3);
        assert(count_changes(db) >= changes);
        MUST(helios_close(db));
    }
    MUST(open_with(fs, "/copy", &e, &db));
    check_rows(db, 3);
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_close(db));
    assert(count_markers(fs, "/db") == 0);
    io_free(fs);
}

/* Every byte of every file, as one number. */
static uint64_t sum_files(struct io_fs *fs, const char *path)
{
    struct files files;
    uint64_t sum = 0;

    list_files(fs, path, &files);
    for (size_t i = 0; i < files.count; i++) {
        uint64_t size;
        const unsigned char *bytes = io_memory_bytes(fs, files.paths[i], &size);

        for (uint64_t at = 0; at < size; at++)
            sum = sum * 31 + bytes[at];
        sum = sum * 31 + strlen(files.paths[i]);
    }
    return sum;
}

static void refuse(struct io_fs *fs, const helios_encryption *encryption, const char *why)
{
    uint64_t before = sum_files(fs, "/db");
    helios_db *db = NULL;

    assert(open_with(fs, "/db", encryption, &db) == HELIOS_INVALID);
    assert(!db);
    if (!strstr(helios_last_error(), why)) {
        fprintf(stderr, "%s, where \"%s\" was expected\n", helios_last_error(), why);
        abort();
    }
    assert(sum_files(fs, "/db") == before);
}

static void test_wrong_keys(void)
{
    helios_encryption e = raw(key_bytes), wrong = raw(other_bytes), none = HELIOS_ENCRYPTION_INIT,
                      password = HELIOS_ENCRYPTION_INIT;
    struct io_fs *fs;
    helios_db *db;

    MUST(io_memory_new(&fs));
    MUST(open_with(fs, "/db", &e, &db));
    put_rows(db, 0);
    MUST(helios_close(db));
    refuse(fs, &wrong, "is not that of this database");
    refuse(fs, NULL, "is encrypted");
    refuse(fs, &none, "no source");
    password.source = HELIOS_KEY_PASSWORD;
    password.key = text("a password");
    refuse(fs, &password, "wrapped by a key");
    wrong.key.size = 31;
    refuse(fs, &wrong, "32 bytes");
    MUST(open_with(fs, "/db", &e, &db));
    check_rows(db, 0);
    MUST(helios_close(db));
    io_free(fs);
    MUST(io_memory_new(&fs));
    MUST(open_with(fs, "/db", NULL, &db));
    put_rows(db, 0);
    MUST(helios_close(db));
    refuse(fs, &e, "is not encrypted");
    io_free(fs);
}

static helios_status fetch_key(void *arg, uint32_t key_id, uint8_t key[32])
{
    *(uint32_t *)arg = key_id;
    memcpy(key, key_bytes, 32);
    return HELIOS_OK;
}

static void open_twice(const helios_encryption *e)
{
    struct io_fs *fs;
    helios_db *db;

    MUST(io_memory_new(&fs));
    for (int open = 0; open < 2; open++) {
        MUST(open_with(fs, "/db", e, &db));
        if (open == 0)
            put_rows(db, 7);
        check_rows(db, 7);
        MUST(helios_close(db));
    }
    io_free(fs);
}

static void write_key_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "w");

    assert(file);
    assert(fwrite(bytes, 1, size, file) == size);
    assert(fclose(file) == 0);
}

static void test_sources(void)
{
    helios_encryption e = HELIOS_ENCRYPTION_INIT;
    char path[] = "/tmp/helios-key-XXXXXX", hex[80];
    uint32_t asked = 0;
    int fd = mkstemp(path);

    assert(fd >= 0);
    close(fd);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, i % 2 ? "%02x" : "%02X", key_bytes[i]);
    e.source = HELIOS_KEY_FILE;
    e.name = path;
    write_key_file(path, key_bytes, 32);
    open_twice(&e);
    snprintf(hex + 64, 2, "\n");
    write_key_file(path, hex, 65);
    open_twice(&e);
    e.source = HELIOS_KEY_ENVIRONMENT;
    e.name = "HELIOS_TEST_KEY";
    hex[64] = 0;
    setenv(e.name, hex, 1);
    open_twice(&e);
    e.source = HELIOS_KEY_PASSWORD;
    e.key = text("correct horse battery staple");
    open_twice(&e);
    e.source = HELIOS_KEY_CALLBACK;
    e.fetch = fetch_key;
    e.fetch_arg = &asked;
    open_twice(&e);
    assert(asked == 1);
    unlink(path);
}

static void test_bad_sources(void)
{
    helios_encryption e = HELIOS_ENCRYPTION_INIT;
    struct io_fs *fs;
    helios_db *db;

    MUST(io_memory_new(&fs));
    e.source = HELIOS_KEY_ENVIRONMENT;
    e.name = "HELIOS_NO_SUCH_VARIABLE";
    assert(open_with(fs, "/db", &e, &db) == HELIOS_INVALID);
    setenv("HELIOS_TEST_KEY", "0123", 1);
    e.name = "HELIOS_TEST_KEY";
    assert(open_with(fs, "/db", &e, &db) == HELIOS_INVALID);
    assert(!strstr(helios_last_error(), "0123")); /* no part of a key in any message */
    e.source = HELIOS_KEY_FILE;
    e.name = "/no/such/file";
    assert(open_with(fs, "/db", &e, &db) == HELIOS_NOT_FOUND);
    e.source = HELIOS_KEY_PASSWORD;
    assert(open_with(fs, "/db", &e, &db) == HELIOS_INVALID);
    e.source = HELIOS_KEY_CALLBACK;
    assert(open_with(fs, "/db", &e, &db) == HELIOS_INVALID);
    assert(open_with(fs, "/db", NULL, &db) == HELIOS_OK); /* nothing was left */
    MUST(helios_close(db));
    io_free(fs);
}

static helios_key_info info_of(helios_db *db)
{
    helios_key_info info;

    MUST(helios_key_info_get(db, &info));
    return info;
}

static void test_rotation(void)
{
    helios_encryption e = raw(key_bytes), next = raw(other_bytes);
    helios_rotate_options rotate = HELIOS_ROTATE_OPTIONS_INIT;
    struct io_fs *fs;
    helios_db *db;

    MUST(io_memory_new(&fs));
    MUST(open_with(fs, "/db", &e, &db));
    put_rows(db, 0);
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    put_rows(db, 1);
    MUST(helios_key_rotate(db, NULL));
    check_rows(db, 1);
    assert(info_of(db).encrypted && info_of(db).key_id == 2 && info_of(db).source == HELIOS_KEY_RAW);
    assert(info_of(db).key_count == 2); /* the segments of the feed have the old one */
    rotate.source = &next;
    MUST(helios_key_rotate(db, &rotate));
    assert(info_of(db).key_id == 3 && info_of(db).wrapping_id == 2);
    put_rows(db, 2);
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_close(db));
    refuse(fs, &e, "is not that of this database");
    MUST(open_with(fs, "/db", &next, &db));
    check_rows(db, 2);
    MUST(helios_verify(db, NULL, NULL));
    assert(count_changes(db) >= 3 * ROWS);
    MUST(helios_close(db));
    io_free(fs);
}

/* Without a feed nothing keeps an old key for long. */
static void test_old_keys_go(void)
{
    const helios_encryption e = raw(key_bytes);
    helios_options options = options_with(&e);
    struct io_fs *fs;
    helios_db *db;

    options.feed_retention = 0;
    MUST(io_memory_new(&fs));
    for (unsigned round = 0; round < 4; round++) {
        MUST(engine_open(fs, "/db", &options, &db));
        put_rows(db, round);
        MUST(helios_key_rotate(db, NULL));
        assert(info_of(db).key_id == round + 2);
        assert(info_of(db).key_count <= 3);
        MUST(helios_close(db));
    }
    MUST(engine_open(fs, "/db", &options, &db));
    MUST(helios_flush(db));
    MUST(helios_close(db));
    MUST(engine_open(fs, "/db", &options, &db));
    assert(info_of(db).key_count == 1);
    check_rows(db, 3);
    MUST(helios_close(db));
    io_free(fs);
}

/* The machine stops at each call that changes something: what was there is there, with the key before or with the
 * key after. */
static bool rotation_stopped_at(uint64_t stop, enum io_damage damage)
{
    const helios_encryption e = raw(key_bytes), next = raw(other_bytes);
    helios_rotate_options rotate = HELIOS_ROTATE_OPTIONS_INIT;
    struct io_fs *fs;
    helios_db *db = NULL;
    helios_status status;
    bool stopped;

    rotate.source = &next;
    MUST(io_faulty_new(seed + stop, &fs));
    MUST(open_with(fs, "/db", &e, &db));
    put_rows(db, 5);
    MUST(helios_sync(db));
    io_faulty_stop_at(fs, stop);
    (void)!helios_key_rotate(db, &rotate);
    stopped = io_faulty_stopped(fs);
    (void)!helios_close(db);
    io_faulty_power_cut(fs, damage, seed * 1000 + stop);
    status = open_with(fs, "/db", &e, &db);
    if (status == HELIOS_INVALID)
        status = open_with(fs, "/db", &next, &db);
    MUST(status);
    check_rows(db, 5);
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_close(db));
    io_free(fs);
    return stopped;
}

static void test_rotation_stopped(void)
{
    uint64_t stop = 1;

    while (rotation_stopped_at(stop, (enum io_damage)(stop % IO_DAMAGE_COUNT)))
        stop++;
    assert(stop > 10);
    printf("stopped at each of %" PRIu64 " calls\n", stop - 1);
}

/* Whatever is flipped in a table or in KEYS is seen; and blocks do not change places, within a file or between files. */
static void test_moved(void)
{
    const helios_encryption e = raw(key_bytes);
    struct io_fs *fs;
    struct files files;
    helios_db *db;
    unsigned seen = 0;

    MUST(io_memory_new(&fs));
    MUST(open_with(fs, "/db", &e, &db));
    put_rows(db, 1);
    MUST(helios_flush(db));
    MUST(helios_close(db));
    list_files(fs, "/db", &files);
    for (size_t i = 0; i < files.count; i++) {
        bool is_table = strstr(files.paths[i], ".sst"), is_keys = strstr(files.paths[i], "KEYS");
        uint64_t size, step;
        unsigned char *bytes = io_memory_bytes(fs, files.paths[i], &size);

        step = is_keys ? 1 : size / 60 + 1;
        for (uint64_t at = 0; at < size && (is_table || is_keys); at += step) {
            helios_status status;

            bytes[at] ^= 0x10;
            status = open_with(fs, "/db", &e, &db);
            if (status == HELIOS_OK) {
                status = helios_verify(db, NULL, NULL);
                (void)!helios_close(db);
            }
            assert(status == HELIOS_CORRUPT || status == HELIOS_UNSUPPORTED);
            seen++;
            bytes = io_memory_bytes(fs, files.paths[i], &size);
            bytes[at] ^= 0x10;
        }
    }
    assert(seen > 200);
    io_free(fs);
}

/* The older of two tables in the place of the newer and under its number: a reader is told, and sees no older value. */
static void test_exchanged(void)
{
    const helios_encryption e = raw(key_bytes);
    helios_options options = options_with(&e);
    unsigned char *older = NULL, *newer = NULL;
    uint64_t size, size_older = 0;
    struct file_header header;
    struct io_fs *fs;
    struct files files;
    helios_buf got = {0};
    helios_db *db;

    options.compression = HELIOS_COMPRESSION_NONE; /* so that both are of one size */
    MUST(io_memory_new(&fs));
    MUST(engine_open(fs, "/db", &options, &db));
    for (unsigned round = 1; round <= 2; round++) {
        MUST(helios_put(db, NULL, text("PLAINKEY"), text(round == 1 ? "PLAINVALUE 1" : "PLAINVALUE 2")));
        MUST(helios_flush(db));
    }
    MUST(helios_close(db));
    list_files(fs, "/db", &files);
    for (size_t i = 0; i < files.count; i++) {
        unsigned char *bytes = io_memory_bytes(fs, files.paths[i], &size);

        if (!strstr(files.paths[i], ".sst"))
            continue;
        if (!older) {
            older = bytes;
            size_older = size;
        } else if (size == size_older) { /* others have the times of the commits */
            newer = bytes;
        }
    }
    assert(older && newer);
    MUST(file_header_decode(newer, MAGIC_TABLE, "the newer", &header));
    memcpy(newer, older, size_older);
    put_u64(newer + FILE_NUMBER, header.number);
    put_u64(newer + FILE_XXH3, hash_bytes(newer, FILE_XXH3));
    MUST(open_with(fs, "/db", &e, &db));
    assert(helios_get(db, NULL, text("PLAINKEY"), &got) == HELIOS_CORRUPT);
    MUST(helios_close(db));
    helios_buf_free(&got);
    io_free(fs);
}

int main(int argc, char **argv)
{
    const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
        {"round trip", test_round_trip},
        {"wrong keys", test_wrong_keys},
        {"sources", test_sources},
        {"bad sources", test_bad_sources},
        {"rotation", test_rotation},
        {"old keys go", test_old_keys_go},
        {"rotation stopped", test_rotation_stopped},
        {"moved", test_moved},
        {"exchanged", test_exchanged},
    };

    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    printf("seed %" PRIu64 "\n", seed);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 0; i < 32; i++) {
        key_bytes[i] = (unsigned char)(seed * 7 + (uint64_t)i * 13 + 1);
        other_bytes[i] = (unsigned char)(key_bytes[i] ^ (i == 31));
    }
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        tests[i].run();
        printf("%s: right\n", tests[i].name);
    }
    return 0;
}
