/* test_api.c - what bad input gets, through the public API: each its own status and a sentence that names the path;
 * data that is fine stays readable; a failed open leaves nothing behind. */
#undef NDEBUG
#include "engine/engine_internal.h"
#include "engine/identity.h"
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char scratch[200];

static void expect_at(int line, helios_status got, helios_status wanted, const char *text)
{
    if (got == wanted && (got == HELIOS_OK || !text || strstr(helios_last_error(), text)))
        return;
    fprintf(stderr, "test_api.c:%d: got %s, wanted %s%s%s; the sentence: %s\n", line, helios_status_name(got),
            helios_status_name(wanted), text ? " with " : "", text ? text : "", helios_last_error());
    abort();
}

/* The status, and for a failure a part of its sentence (NULL: any). */
#define EXPECT(call, wanted, text) expect_at(__LINE__, call, wanted, text)
#define MUST(call)                 expect_at(__LINE__, call, HELIOS_OK, NULL)

static helios_slice str(const char *text)
{
    return slice_make(text, strlen(text));
}

static const char *place(const char *name)
{
    static char paths[4][300];
    static unsigned turn;
    char *path = paths[turn++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", scratch, name);
    return path;
}

static helios_options small_options(void)
{
    helios_options options = HELIOS_OPTIONS_INIT;

    options.memtable_bytes = 64 << 10;
    options.block_cache_bytes = 1 << 20;
    return options;
}

static helios_db *open_at(const char *path)
{
    helios_options options = small_options();
    helios_db *db = NULL;

    MUST(helios_open(path, &options, &db));
    return db;
}

static void shell(const char *format, const char *path)
{
    char command[1000];

    snprintf(command, sizeof(command), format, path, path, path);
    assert(system(command) == 0);
}

static size_t entries_of(const char *path)
{
    DIR *directory = opendir(path);
    size_t count = 0;

    assert(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count - 2;
}

static void fill(helios_db *db, unsigned from, unsigned to, size_t value_size)
{
    char key[32], *value = malloc(value_size + 1);

    memset(value, 'v', value_size);
    for (unsigned i = from; i < to; i++) {
        snprintf(key, sizeof(key), "key%08u", i);
        MUST(helios_put(db, NULL, str(key), slice_make(value, value_size)));
    }
    free(value);
}

static void check_filled(helios_db *db, unsigned from, unsigned to, size_t value_size)
{
    helios_buf value = {0};
    char key[32];

    for (unsigned i = from; i < to; i++) {
        snprintf(key, sizeof(key), "key%08u", i);
        MUST(helios_get(db, NULL, str(key), &value));
        assert(value.size == value_size);
    }
    helios_buf_free(&value);
}

/* ---- opening ---- */

static void missing_directory(void)
{
    helios_options options = small_options();
    helios_db *db = (helios_db *)1;
    const char *path = place("missing");

    options.create_if_missing = false;
    EXPECT(helios_open(path, &options, &db), HELIOS_NOT_FOUND, path);
    options.create_if_missing = true;
    options.read_only = true;
    EXPECT(helios_open(path, &options, &db), HELIOS_NOT_FOUND, path);
    EXPECT(helios_open(place("missing/below"), NULL, &db), HELIOS_NOT_FOUND, "missing");
    EXPECT(helios_open("", NULL, &db), HELIOS_NOT_FOUND, NULL);
    EXPECT(helios_destroy(path), HELIOS_NOT_FOUND, path);
    assert(db == (helios_db *)1);
    assert(access(path, F_OK) != 0);
}

static void path_is_a_file(void)
{
    const char *path = place("file");
    helios_db *db = NULL;

    shell("echo precious >%s", path);
    EXPECT(helios_open(path, NULL, &db), HELIOS_INVALID, path);
    EXPECT(helios_destroy(path), HELIOS_INVALID, path);
    shell("grep -q precious %s", path);
}

/* Made where other files lie; they stay, and so does the directory. */
static void directory_with_other_files(void)
{
    const char *path = place("shared");
    helios_options options = small_options();
    helios_db *db = NULL;

    shell("mkdir -p %s/mine && echo x >%s/letter.txt && echo y >%s/LOG.txt", path);
    options.create_if_missing = false;
    EXPECT(helios_open(path, &options, &db), HELIOS_NOT_FOUND, path);
    EXPECT(helios_destroy(path), HELIOS_NOT_FOUND, path);
    assert(entries_of(path) == 3);
    db = open_at(path);
    fill(db, 0, 3000, 100);
    MUST(helios_close(db));
    shell("echo z >%s/sst/notes.txt", path);
    MUST(helios_destroy(path));
    shell("test -f %s/letter.txt && test -f %s/LOG.txt && test -f %s/sst/notes.txt", path);
    assert(entries_of(path) == 4); /* sst stays for the note in it */
}

static void no_permission(void)
{
    const char *path = place("closed");
    helios_db *db = NULL;
    int status;
    pid_t child = fork();

    if (child != 0) {
        assert(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
        return;
    }
    /* As root another user is needed, who may enter the scratch directory but not write there. */
    assert(mkdir(path, 0700) == 0 && chmod(scratch, 0755) == 0 && chmod(path, 0500) == 0);
    if (geteuid() == 0 && setuid(65534) != 0)
        _exit(0);
    EXPECT(helios_open(path, NULL, &db), HELIOS_IO, path);
    _exit(0);
}

static void exists_already(void)
{
    const char *path = place("exists");
    helios_options options = small_options();
    helios_db *db = open_at(path);

    MUST(helios_close(db));
    db = NULL;
    options.error_if_exists = true;
    EXPECT(helios_open(path, &options, &db), HELIOS_EXISTS, path);
    assert(!db);
    MUST(helios_destroy(path));
    assert(access(path, F_OK) != 0);
    MUST(helios_open(path, &options, &db));
    MUST(helios_close(db));
}

/* The version of the format is the u32 behind the magic in every file. */
static void newer_format(void)
{
    static const char *const files[] = {"HELIOS", "MANIFEST-*", "wal/*.wal", "sst/*.sst"};
    const char *path = place("newer");
    helios_db *db = open_at(path);

    fill(db, 0, 2000, 100);
    MUST(helios_flush(db));
    fill(db, 0, 10, 100);
    MUST(helios_close(db));
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char copy[300], command[900];

        snprintf(copy, sizeof(copy), "%s-%zu", path, i);
        snprintf(command, sizeof(command),
                 "cp -r %s %s && for f in %s/%s; do printf '\\377' | dd of=$f bs=1 seek=8 conv=notrunc "
                 "2>/dev/null; done",
                 path, copy, copy, files[i]);
        assert(system(command) == 0);
        db = NULL;
        if (i < 3) {
            helios_status status = helios_open(copy, NULL, &db);

            /* A newer version, or a header whose checksum is wrong by that. */
            if (status != HELIOS_UNSUPPORTED)
                EXPECT(status, HELIOS_CORRUPT, copy);
            assert(!db);
            continue;
        }
        db = open_at(copy); /* tables are opened when they are needed */
        assert(helios_verify(db, NULL, NULL) != HELIOS_OK && strstr(helios_last_error(), ".sst"));
        MUST(helios_close(db));
    }
}

/* ---- locks ---- */

static helios_status open_in_child(const char *path, bool read_only)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        helios_options options = small_options();
        helios_db *db = NULL;

        options.read_only = read_only;
        options.create_if_missing = false;
        _exit((int)helios_open(path, &options, &db));
    }
    assert(waitpid(child, &status, 0) == child && WIFEXITED(status));
    return (helios_status)WEXITSTATUS(status);
}

static void lock_is_held(void)
{
    const char *path = place("locked");
    helios_options options = small_options();
    helios_db *db = open_at(path), *second = NULL, *third = NULL;
    helios_buf value = {0};

    EXPECT(helios_open(path, NULL, &second), HELIOS_BUSY, path);
    options.read_only = true;
    EXPECT(helios_open(path, &options, &second), HELIOS_BUSY, path);
    EXPECT(helios_destroy(path), HELIOS_BUSY, path);
    assert(!second);
    assert(open_in_child(path, false) == HELIOS_BUSY && open_in_child(path, true) == HELIOS_BUSY);
    fill(db, 0, 10, 10);
    MUST(helios_close(db));

    MUST(helios_open(path, &options, &second));
    MUST(helios_open(path, &options, &third));
    assert(open_in_child(path, true) == HELIOS_OK && open_in_child(path, false) == HELIOS_BUSY);
    EXPECT(helios_open(path, NULL, &db), HELIOS_BUSY, path);
    EXPECT(helios_destroy(path), HELIOS_BUSY, path);
    MUST(helios_get(second, NULL, str("key00000003"), &value));
    MUST(helios_get(third, NULL, str("key00000009"), &value));
    MUST(helios_close(second));
    MUST(helios_close(third));
    helios_buf_free(&value);
    assert(open_in_child(path, false) == HELIOS_OK); /* ends without closing */
    db = open_at(path);
    check_filled(db, 0, 10, 10);
    MUST(helios_close(db));
}

static void read_only(void)
{
    const char *path = place("read_only");
    helios_options options = small_options();
    helios_db *db = open_at(path);
    helios_batch *batch = helios_batch_new();
    helios_snapshot *snapshot = NULL;
    helios_iter *it = NULL;
    helios_seq commit = 5, latest;
    size_t files;

    fill(db, 0, 2000, 100);
    latest = helios_latest(db);
    MUST(helios_close(db));
    files = entries_of(path);
    shell("ls -lR --time-style=full-iso %s >%s.before", path);
    options.read_only = true;
    MUST(helios_open(path, &options, &db));
    assert(helios_latest(db) == latest);
    check_filled(db, 0, 2000, 100);
    EXPECT(helios_put(db, NULL, str("a"), str("b")), HELIOS_READ_ONLY, path);
    EXPECT(helios_delete(db, NULL, str("a")), HELIOS_READ_ONLY, path);
    EXPECT(helios_delete_range(db, NULL, str("a"), str("b")), HELIOS_READ_ONLY, path);
    helios_batch_put(batch, str("a"), str("b"));
    EXPECT(helios_write(db, NULL, batch, &commit), HELIOS_READ_ONLY, path);
    assert(commit == 5);
    EXPECT(helios_flush(db), HELIOS_READ_ONLY, path);
    EXPECT(helios_compact(db, (helios_slice){0}, (helios_slice){0}), HELIOS_READ_ONLY, path);
    EXPECT(helios_checkpoint(db, place("read_only-copy")), HELIOS_READ_ONLY, path);
    MUST(helios_sync(db));
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_snapshot_new(db, 0, &snapshot));
    MUST(helios_iter_new(db, NULL, &it));
    helios_iter_last(it);
    assert(helios_iter_valid(it));
    EXPECT(helios_close(db), HELIOS_BUSY, path);
    helios_iter_free(it);
    helios_snapshot_free(db, snapshot);
    helios_batch_free(batch);
    MUST(helios_close(db));
    assert(entries_of(path) == files);
    shell("ls -lR --time-style=full-iso %s | cmp - %s.before", path);
}

/* ---- damage ---- */

static void file_is_cut(void)
{
    static const char *const files[] = {"sst/*.sst", "HELIOS", "CURRENT", "MANIFEST-*"};
    enum { MANIFEST = 3 };
    const char *path = place("cut");
    helios_db *db = open_at(path);

    fill(db, 0, 2000, 100);
    MUST(helios_flush(db));
    MUST(helios_close(db));
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        for (int missing = 0; missing < 2; missing++) {
            char copy[300], command[900];

            snprintf(copy, sizeof(copy), "%s-%zu%d", path, i, missing);
            snprintf(command, sizeof(command), "cp -r %s %s && for f in %s/%s; do %s; done", path, copy, copy,
                     files[i], missing ? "rm $f" : "truncate -s -3 $f");
            assert(system(command) == 0);
            db = NULL;
            if (i == MANIFEST && !missing) { /* a torn last edit is what a killed process leaves */
                db = open_at(copy);
                check_filled(db, 0, 2000, 100);
                MUST(helios_close(db));
            } else {
                EXPECT(helios_open(copy, NULL, &db), HELIOS_CORRUPT, copy);
            }
            /* What is broken can be destroyed all the same. */
            MUST(helios_destroy(copy));
            assert(access(copy, F_OK) != 0);
        }
    db = open_at(path);
    check_filled(db, 0, 2000, 100);
    MUST(helios_close(db));
}

/* A byte flipped in one table: its blocks answer HELIOS_CORRUPT, all others are readable. */
static void byte_is_flipped(void)
{
    const char *path = "/flipped";
    helios_options options = small_options();
    struct io_fs *fs;
    helios_db *db = NULL;
    unsigned good = 0, bad = 0;
    helios_buf value = {0};
    char name[100], key[32];

    MUST(io_memory_new(&fs));
    options.block_cache_bytes = 0;
    MUST(engine_open(fs, path, &options, &db));
    fill(db, 0, 3000, 200);
    MUST(helios_flush(db));
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    MUST(helios_close(db));
    for (unsigned n = 1; n < 1000; n++) {
        uint64_t size;
        unsigned char *bytes;

        snprintf(name, sizeof(name), "%s/sst/%08u.sst", path, n);
        bytes = io_memory_bytes(fs, name, &size);
        if (!bytes)
            continue;
        bytes[size / 3] ^= 1;
        break;
    }
    MUST(engine_open(fs, path, &options, &db));
    for (unsigned i = 0; i < 3000; i++) {
        helios_status status;

        snprintf(key, sizeof(key), "key%08u", i);
        status = helios_get(db, NULL, str(key), &value);
        if (status == HELIOS_OK) {
            good++;
            continue;
        }
        EXPECT(status, HELIOS_CORRUPT, name);
        bad++;
    }
    assert(bad > 0 && bad < 500 && good == 3000 - bad);
    EXPECT(helios_verify(db, NULL, NULL), HELIOS_CORRUPT, name);
    fill(db, 5000, 5010, 10);
    check_filled(db, 5000, 5010, 10);
    MUST(helios_close(db));
    helios_buf_free(&value);
    io_free(fs);
}

/* Whatever an open failed at, what it had made is gone again; and the next one succeeds. */
static void failed_open_leaves_nothing(void)
{
    helios_options options = small_options();

    for (uint64_t n = 1;; n++) {
        struct io_fault fault = {.fail_at = n, .error_number = EIO};
        struct io_fs *fs;
        struct io_stat stat;
        helios_db *db = NULL;
        helios_status status;

        MUST(io_faulty_new(n, &fs));
        io_faulty_plan(fs, &fault);
        status = engine_open(fs, "/fails", &options, &db);
        io_faulty_plan(fs, NULL);
        if (status == HELIOS_OK) {
            bool whole = io_faulty_calls(fs, 0) < n;

            /* Nothing failed, or a hint, or the background, which prepares the next segment. */
            status = helios_close(db);
            if (status != HELIOS_OK)
                EXPECT(status, HELIOS_IO, "/fails/wal");
            io_free(fs);
            if (whole)
                return;
            continue;
        }
        assert(!db && helios_last_error()[0]);
        EXPECT(status, HELIOS_IO, NULL);
        EXPECT(io_stat(fs, "/fails", &stat), HELIOS_NOT_FOUND, NULL);
        MUST(engine_open(fs, "/fails", &options, &db));
        MUST(helios_close(db));
        io_free(fs);
    }
}

/* A full disk: writes are refused, nothing is lost, reads go on; with room again writes go on by themselves. */
static void disk_is_full(void)
{
    helios_options options = small_options();
    struct io_fs *fs;
    helios_db *db = NULL;
    helios_status status = HELIOS_OK;
    helios_buf value = {0};
    unsigned written = 0;
    char key[32], bytes[1000];

    memset(bytes, 'b', sizeof(bytes));
    MUST(io_faulty_new(1, &fs));
    io_faulty_set_space(fs, 12 << 20);
    MUST(engine_open(fs, "/full", &options, &db));
    for (; written < 40000; written++) {
        snprintf(key, sizeof(key), "key%08u", written);
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (char)(i * written * 2654435761u >> 13); /* does not compress */
        status = helios_put(db, NULL, str(key), slice_make(bytes, sizeof(bytes)));
        if (status != HELIOS_OK)
            break;
    }
    EXPECT(status, HELIOS_NO_SPACE, "/full");
    assert(written > 1000);
    check_filled(db, 0, written, sizeof(bytes));
    snprintf(key, sizeof(key), "key%08u", written);
    EXPECT(helios_get(db, NULL, str(key), &value), HELIOS_NOT_FOUND, NULL);
    io_faulty_set_space(fs, 0);
    for (int i = 0; i < 1000; i++) { /* within a few rounds of the background */
        status = helios_put(db, NULL, str(key), slice_make(bytes, sizeof(bytes)));
        if (status == HELIOS_OK)
            break;
        EXPECT(status, HELIOS_NO_SPACE, NULL);
        thread_sleep(10000);
    }
    MUST(status);
    MUST(helios_flush(db));
    check_filled(db, 0, written + 1, sizeof(bytes));
    MUST(helios_close(db));
    MUST(engine_open(fs, "/full", &options, &db));
    check_filled(db, 0, written + 1, sizeof(bytes));
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_close(db));
    helios_buf_free(&value);
    io_free(fs);
}

/* After a failed fsync the database is read-only with that error until it is opened again. */
static void sync_fails(void)
{
    helios_options options = small_options();
    helios_write_options synced = HELIOS_WRITE_OPTIONS_INIT;
    struct io_fault fault = {
        .fail_at = 1, .mask = 1u << IO_CALL_SYNC, .error_number = EIO, .path_contains = "wal"};
    struct io_fs *fs;
    helios_db *db = NULL;

    MUST(io_faulty_new(1, &fs));
    MUST(engine_open(fs, "/sync", &options, &db));
    fill(db, 0, 100, 10);
    synced.durability = HELIOS_DURABILITY_SYNC;
    io_faulty_plan(fs, &fault);
    EXPECT(helios_put(db, &synced, str("key"), str("v")), HELIOS_IO, "/sync/wal");
    EXPECT(helios_put(db, NULL, str("key"), str("v")), HELIOS_READ_ONLY, "/sync/wal");
    EXPECT(helios_resume(db), HELIOS_IO, "open it again");
    check_filled(db, 0, 100, 10);
    (void)!helios_close(db);
    io_faulty_plan(fs, NULL);
    MUST(engine_open(fs, "/sync", &options, &db));
    check_filled(db, 0, 100, 10);
    fill(db, 100, 200, 10);
    MUST(helios_close(db));
    io_free(fs);
}

/* ---- limits and arguments ---- */

static void sizes(void)
{
    helios_db *db = open_at(place("sizes"));
    char *bytes = calloc(1, 65537);
    helios_batch *batch = helios_batch_new();
    helios_buf value = {0};
    helios_seq latest;

    MUST(helios_put(db, NULL, slice_make(bytes, 65536), str("longest")));
    MUST(helios_put(db, NULL, str(""), str("")));
    MUST(helios_get(db, NULL, slice_make(bytes, 65536), &value));
    assert(value.size == 7);
    MUST(helios_get(db, NULL, str(""), &value));
    assert(value.size == 0);
    latest = helios_latest(db);
    EXPECT(helios_put(db, NULL, slice_make(bytes, 65537), str("")), HELIOS_INVALID, "65537");
    EXPECT(helios_delete(db, NULL, slice_make(bytes, 65537)), HELIOS_INVALID, "65537");
    EXPECT(helios_delete_range(db, NULL, str("a"), slice_make(bytes, 65537)), HELIOS_INVALID, "65537");
    EXPECT(helios_get(db, NULL, slice_make(bytes, 65537), &value), HELIOS_INVALID, "65537");
    /* Not read: the size alone is too much. */
    EXPECT(helios_put(db, NULL, str("k"), slice_make(bytes, ((size_t)1 << 30) + 1)), HELIOS_INVALID, "1 GiB");
    helios_batch_put(batch, str("fine"), str("fine"));
    helios_batch_put(batch, slice_make(bytes, 65537), str(""));
    helios_batch_put(batch, str("also fine"), str("fine"));
    EXPECT(helios_batch_status(batch), HELIOS_INVALID, "65537");
    EXPECT(helios_write(db, NULL, batch, NULL), HELIOS_INVALID, "65537");
    helios_batch_clear(batch);
    MUST(helios_batch_status(batch));
    assert(helios_batch_count(batch) == 0);
    helios_batch_put(batch, str("k"), slice_make(bytes, ((size_t)1 << 30) + 1));
    EXPECT(helios_write(db, NULL, batch, NULL), HELIOS_INVALID, "1 GiB");
    assert(helios_latest(db) == latest);
    helios_batch_free(batch);
    helios_buf_free(&value);
    free(bytes);
    MUST(helios_close(db));
}

static void nothing_given(void)
{
    helios_slice none = {0};
    helios_batch *batch = helios_batch_new();
    helios_iter *it = NULL;
    helios_snapshot *snapshot = NULL;
    helios_buf value = {0};
    helios_db *db = NULL;
    uint64_t number;
    char *text;

    EXPECT(helios_open(NULL, NULL, &db), HELIOS_INVALID, "path");
    EXPECT(helios_open(place("null"), NULL, NULL), HELIOS_INVALID, NULL);
    MUST(helios_close(NULL));
    EXPECT(helios_destroy(NULL), HELIOS_INVALID, NULL);
    EXPECT(helios_sync(NULL), HELIOS_INVALID, NULL);
    EXPECT(helios_wait_durable(NULL, 1, 0), HELIOS_INVALID, NULL);
    EXPECT(helios_put(NULL, NULL, str("k"), str("v")), HELIOS_INVALID, NULL);
    EXPECT(helios_delete(NULL, NULL, str("k")), HELIOS_INVALID, NULL);
    EXPECT(helios_delete_range(NULL, NULL, str("k"), str("l")), HELIOS_INVALID, NULL);
    EXPECT(helios_get(NULL, NULL, str("k"), &value), HELIOS_INVALID, NULL);
    EXPECT(helios_multi_get(NULL, NULL, 0, NULL, NULL, NULL), HELIOS_INVALID, NULL);
    EXPECT(helios_write(NULL, NULL, batch, NULL), HELIOS_INVALID, NULL);
    EXPECT(helios_iter_new(NULL, NULL, &it), HELIOS_INVALID, NULL);
    EXPECT(helios_snapshot_new(NULL, 0, &snapshot), HELIOS_INVALID, NULL);
    EXPECT(helios_flush(NULL), HELIOS_INVALID, NULL);
    EXPECT(helios_compact(NULL, none, none), HELIOS_INVALID, NULL);
    EXPECT(helios_checkpoint(NULL, "/x"), HELIOS_INVALID, NULL);
    EXPECT(helios_verify(NULL, NULL, NULL), HELIOS_INVALID, NULL);
    EXPECT(helios_resume(NULL), HELIOS_INVALID, NULL);
    EXPECT(helios_stat(NULL, "files", &number), HELIOS_INVALID, NULL);
    EXPECT(helios_approximate_size(NULL, 0, none, none, &number), HELIOS_INVALID, NULL);
    EXPECT(helios_stats_json(NULL, &text), HELIOS_INVALID, NULL);
    EXPECT(helios_batch_status(NULL), HELIOS_INVALID, NULL);
    EXPECT(helios_iter_status(NULL), HELIOS_INVALID, NULL);
    assert(helios_latest(NULL) == 0 && helios_horizon(NULL) == 0 && helios_batch_count(NULL) == 0);
    assert(!helios_iter_valid(NULL) && !helios_iter_key(NULL).data && !helios_iter_value(NULL).data);
    assert(helios_iter_seq(NULL) == 0);
    helios_batch_put(NULL, str("k"), str("v"));
    helios_batch_delete(NULL, str("k"));
    helios_batch_delete_range(NULL, str("k"), str("l"));
    helios_batch_clear(NULL);
    helios_batch_free(NULL);
    helios_iter_first(NULL);
    helios_iter_last(NULL);
    helios_iter_next(NULL);
    helios_iter_prev(NULL);
    helios_iter_seek(NULL, str("k"));
    helios_iter_seek_for_prev(NULL, str("k"));
    helios_iter_free(NULL);
    helios_snapshot_free(NULL, NULL);
    helios_free(NULL);
    helios_buf_free(NULL);

    db = open_at(place("null"));
    EXPECT(helios_put(db, NULL, none, str("v")), HELIOS_INVALID, "key");
    EXPECT(helios_put(db, NULL, str("k"), none), HELIOS_INVALID, "value");
    EXPECT(helios_delete(db, NULL, none), HELIOS_INVALID, "key");
    EXPECT(helios_delete_range(db, NULL, none, str("l")), HELIOS_INVALID, "key");
    EXPECT(helios_delete_range(db, NULL, str("k"), none), HELIOS_INVALID, "key");
    EXPECT(helios_get(db, NULL, none, &value), HELIOS_INVALID, "key");
    EXPECT(helios_get(db, NULL, str("k"), NULL), HELIOS_INVALID, NULL);
    EXPECT(helios_multi_get(db, NULL, 1, NULL, NULL, NULL), HELIOS_INVALID, NULL);
    MUST(helios_multi_get(db, NULL, 0, NULL, NULL, NULL));
    EXPECT(helios_write(db, NULL, NULL, NULL), HELIOS_INVALID, "batch");
    helios_batch_put(batch, none, str("v"));
    EXPECT(helios_write(db, NULL, batch, NULL), HELIOS_INVALID, "key");
    EXPECT(helios_iter_new(db, NULL, NULL), HELIOS_INVALID, NULL);
    EXPECT(helios_snapshot_new(db, 0, NULL), HELIOS_INVALID, NULL);
    EXPECT(helios_checkpoint(db, NULL), HELIOS_INVALID, NULL);
    EXPECT(helios_stat(db, NULL, &number), HELIOS_INVALID, NULL);
    EXPECT(helios_stat(db, "files", NULL), HELIOS_INVALID, NULL);
    EXPECT(helios_approximate_size(db, 0, none, none, NULL), HELIOS_INVALID, NULL);
    EXPECT(helios_stats_json(db, NULL), HELIOS_INVALID, NULL);
    MUST(helios_iter_new(db, NULL, &it));
    helios_iter_seek(it, none);
    EXPECT(helios_iter_status(it), HELIOS_INVALID, "key");
    helios_iter_seek_for_prev(it, none);
    EXPECT(helios_iter_status(it), HELIOS_INVALID, "key");
    helios_iter_first(it);
    MUST(helios_iter_status(it));
    helios_iter_free(it);
    assert(helios_latest(db) == 0);
    helios_batch_free(batch);
    MUST(helios_close(db));
}

/* from >= to and empty batches: no commit. Each reads a value out at most once. */
static void nothing_to_do(void)
{
    helios_db *db = open_at(place("nothing"));
    helios_batch *batch = helios_batch_new();
    helios_seq commit = 9;

    MUST(helios_delete_range(db, NULL, str("b"), str("a")));
    MUST(helios_delete_range(db, NULL, str("b"), str("b")));
    MUST(helios_write(db, NULL, batch, &commit));
    assert(commit == 0);
    commit = 9;
    helios_batch_delete_range(batch, str("b"), str("b"));
    assert(helios_batch_count(batch) == 0);
    MUST(helios_write(db, NULL, batch, &commit));
    assert(commit == 0 && helios_latest(db) == 0);
    MUST(helios_flush(db));
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    MUST(helios_delete(db, NULL, str("absent")));
    assert(helios_latest(db) == 1);
    helios_batch_put(batch, str("k"), str("1"));
    helios_batch_put(batch, str("k"), str("2"));
    MUST(helios_write(db, NULL, batch, &commit));
    assert(commit == 3 && helios_batch_count(batch) == 2);
    MUST(helios_write(db, NULL, batch, &commit)); /* the batch survives */
    assert(commit == 5);
    helios_batch_free(batch);
    MUST(helios_close(db));
}

static void option_structs(void)
{
    struct {
        helios_options known;
        char later[16];
    } larger;
    struct {
        helios_read_options known;
        char later[8];
    } read;
    struct {
        helios_write_options known;
        char later[8];
    } write;
    helios_options options = small_options();
    helios_buf value = {0};
    helios_db *db = NULL;
    const char *path = place("options");

    memset(&larger, 0, sizeof(larger));
    larger.known = small_options();
    larger.known.size = sizeof(larger);
    larger.later[7] = 1;
    EXPECT(helios_open(path, &larger.known, &db), HELIOS_UNSUPPORTED, "helios_options");
    assert(access(path, F_OK) != 0);
    larger.later[7] = 0;
    MUST(helios_open(path, &larger.known, &db));
    memset(&read, 0, sizeof(read));
    read.known.size = sizeof(read);
    MUST(helios_put(db, NULL, str("k"), str("v")));
    MUST(helios_get(db, &read.known, str("k"), &value));
    read.later[0] = 1;
    EXPECT(helios_get(db, &read.known, str("k"), &value), HELIOS_UNSUPPORTED, "helios_read_options");
    memset(&write, 0, sizeof(write));
    write.known.size = sizeof(write);
    write.later[3] = 1;
    EXPECT(helios_put(db, &write.known, str("k"), str("v")), HELIOS_UNSUPPORTED, "helios_write_options");
    write.known.size = 0;
    EXPECT(helios_put(db, &write.known, str("k"), str("v")), HELIOS_INVALID, "INIT");
    write.known.size = offsetof(helios_write_options, durability); /* a program of before */
    write.known.durability = (helios_durability)99;
    MUST(helios_put(db, &write.known, str("k"), str("v")));
    write.known.size = sizeof(write.known);
    EXPECT(helios_put(db, &write.known, str("k"), str("v")), HELIOS_INVALID, "durability");
    MUST(helios_close(db));
    db = NULL;

    options.memtable_bytes = 1;
    EXPECT(helios_open(path, &options, &db), HELIOS_INVALID, "memtable_bytes");
    options = small_options();
    options.block_bytes = 100;
    EXPECT(helios_open(path, &options, &db), HELIOS_INVALID, "block_bytes");
    options = small_options();
    options.filter_bits_per_key = -1;
    EXPECT(helios_open(path, &options, &db), HELIOS_INVALID, "filter_bits_per_key");
    options.filter_bits_per_key = 0.0 / 0.0;
    EXPECT(helios_open(path, &options, &db), HELIOS_INVALID, "filter_bits_per_key");
    options = small_options();
    options.compression = (helios_compression)9;
    EXPECT(helios_open(path, &options, &db), HELIOS_INVALID, "compression");
    options = small_options();
    options.read_only = options.in_memory = true;
    EXPECT(helios_open(path, &options, &db), HELIOS_INVALID, NULL);
    assert(!db);
    helios_buf_free(&value);
}

static void branches_and_points(void)
{
    helios_db *db = open_at(place("points")), *other = open_at(place("points2"));
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    helios_snapshot *snapshot = NULL;
    helios_iter *it = NULL;
    helios_buf value = {0};
    uint64_t bytes;

    fill(db, 0, 5, 5);
    read.branch = write.branch = 7;
    EXPECT(helios_get(db, &read, str("k"), &value), HELIOS_NOT_FOUND, "branch 7");
    EXPECT(helios_iter_new(db, &read, &it), HELIOS_NOT_FOUND, "branch 7");
    EXPECT(helios_put(db, &write, str("k"), str("v")), HELIOS_NOT_FOUND, "branch 7");
    EXPECT(helios_delete_range(db, &write, str("k"), str("l")), HELIOS_NOT_FOUND, "branch 7");
    EXPECT(helios_approximate_size(db, 7, (helios_slice){0}, (helios_slice){0}, &bytes), HELIOS_NOT_FOUND,
           "branch 7");
    read.branch = 0;
    read.at = 6;
    EXPECT(helios_get(db, &read, str("k"), &value), HELIOS_INVALID, "6");
    EXPECT(helios_iter_new(db, &read, &it), HELIOS_INVALID, "6");
    EXPECT(helios_snapshot_new(db, 6, &snapshot), HELIOS_INVALID, "6");
    EXPECT(helios_wait_durable(db, 6, 0), HELIOS_INVALID, NULL);
    MUST(helios_wait_durable(db, 5, UINT64_MAX));
    read.at = HELIOS_SEQ_NONE;
    EXPECT(helios_get(db, &read, str("key00000001"), &value), HELIOS_NOT_FOUND, NULL);
    MUST(helios_snapshot_new(db, HELIOS_SEQ_NONE, &snapshot));
    assert(helios_snapshot_seq(snapshot) == HELIOS_SEQ_NONE);
    read.snapshot = snapshot;
    EXPECT(helios_get(other, &read, str("k"), &value), HELIOS_INVALID, "another database");
    EXPECT(helios_close(db), HELIOS_BUSY, "1 snapshots");
    helios_snapshot_free(NULL, snapshot);
    helios_buf_free(&value);
    MUST(helios_close(db));
    MUST(helios_close(other));
}

static void close_with_handles(void)
{
    const char *path = place("handles");
    helios_db *db = open_at(path);
    helios_snapshot *snapshot = NULL;
    helios_iter *it = NULL;

    fill(db, 0, 100, 10);
    MUST(helios_iter_new(db, NULL, &it));
    helios_iter_first(it);
    EXPECT(helios_close(db), HELIOS_BUSY, "1 iterators");
    helios_iter_next(it);
    assert(helios_iter_valid(it));
    MUST(helios_snapshot_new(db, 0, &snapshot));
    helios_iter_free(it);
    EXPECT(helios_close(db), HELIOS_BUSY, path);
    fill(db, 100, 200, 10);
    helios_snapshot_free(db, snapshot);
    MUST(helios_close(db));
    db = open_at(path);
    check_filled(db, 0, 200, 10);
    MUST(helios_close(db));
}

/* ---- the rest ---- */

static void in_memory_touches_no_file(void)
{
    helios_options options = small_options();
    helios_db *db = NULL, *second = NULL;

    options.in_memory = true;
    MUST(helios_open(place("nowhere"), &options, &db));
    MUST(helios_open(place("nowhere"), &options, &second)); /* only a name */
    fill(db, 0, 5000, 200);
    MUST(helios_flush(db));
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    MUST(helios_sync(db));
    MUST(helios_wait_durable(db, helios_latest(db), UINT64_MAX));
    check_filled(db, 0, 5000, 200);
    assert(helios_latest(second) == 0);
    EXPECT(helios_checkpoint(db, place("nowhere-copy")), HELIOS_UNSUPPORTED, NULL);
    assert(access(place("nowhere"), F_OK) != 0);
    MUST(helios_close(db));
    MUST(helios_close(second));
}

static void statistics(void)
{
    static const char *const names[] = {"disk.bytes",
                                        "memory.bytes",
                                        "memtable.bytes",
                                        "cache.bytes",
                                        "cache.hits",
                                        "cache.misses",
                                        "files",
                                        "files.l0",
                                        "keys.estimate",
                                        "user.bytes",
                                        "log.bytes",
                                        "flush.bytes",
                                        "compaction.read.bytes",
                                        "compaction.written.bytes",
                                        "stall.micros",
                                        "snapshots",
                                        "iterators",
                                        "transactions",
                                        "pins",
                                        "feed.bytes"};
    helios_db *db = open_at(place("statistics"));
    uint64_t value = 42;
    char *json = NULL;

    fill(db, 0, 5000, 100);
    MUST(helios_flush(db));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        MUST(helios_stat(db, names[i], &value));
    value = 42;
    EXPECT(helios_stat(db, "no.such", &value), HELIOS_NOT_FOUND, "no.such");
    assert(value == 42);
    MUST(helios_stat(db, "files", &value));
    assert(value > 0);
    MUST(helios_stat(db, "user.bytes", &value));
    assert(value == 5000 * (11 + 100));
    MUST(helios_stats_json(db, &json));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert(strstr(json, names[i]));
    helios_free(json);
    for (int s = HELIOS_OK; s <= HELIOS_GAP; s++)
        assert(strncmp(helios_status_name((helios_status)s), "HELIOS_", 7) == 0);
    assert(helios_status_name((helios_status)99)[0] && helios_version_string()[0]);
    MUST(helios_close(db));
}

static void checkpoints(void)
{
    const char *path = place("origin"), *copy = place("checkpoint");
    helios_db *db = open_at(path), *other;

    fill(db, 0, 4000, 100);
    MUST(helios_flush(db));
    fill(db, 4000, 4100, 100);
    MUST(helios_checkpoint(db, copy));
    EXPECT(helios_checkpoint(db, copy), HELIOS_EXISTS, copy);
    EXPECT(helios_checkpoint(db, place("missing/deep")), HELIOS_NOT_FOUND, "missing/deep");
    other = open_at(copy);
    if (helios_latest(other) != helios_latest(db))
        fprintf(stderr, "the copy's last commit is %" PRIu64 ", the original's %" PRIu64 "\n",
                helios_latest(other), helios_latest(db));
    assert(helios_latest(other) == helios_latest(db));
    check_filled(other, 0, 4100, 100);
    MUST(helios_delete_range(other, NULL, str("key"), str("kez")));
    MUST(helios_compact(other, (helios_slice){0}, (helios_slice){0}));
    fill(db, 0, 4000, 50);
    check_filled(db, 0, 4000, 50);
    MUST(helios_close(other));
    MUST(helios_destroy(copy));
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_close(db));
}

static void sizes_of_ranges(void)
{
    helios_db *db = open_at(place("ranges"));
    helios_slice none = {0};
    uint64_t all = 0, half = 0, nothing = 1;

    fill(db, 0, 10000, 100);
    MUST(helios_compact(db, none, none));
    MUST(helios_approximate_size(db, 0, none, none, &all));
    MUST(helios_approximate_size(db, 0, none, str("key00005000"), &half));
    MUST(helios_approximate_size(db, 0, str("x"), none, &nothing));
    assert(all > 0 && half > all / 4 && half < all * 3 / 4 && nothing < all / 4);
    MUST(helios_approximate_size(db, 0, str("b"), str("a"), &nothing));
    assert(nothing == 0);
    MUST(helios_close(db));
}

/* More tables than the process may have descriptors. */
static void few_descriptors(void)
{
    const char *path = place("descriptors");
    struct rlimit old, small;
    helios_options options = small_options();
    helios_db *db = open_at(path);
    helios_iter *it = NULL;
    unsigned count = 0;
    uint64_t files = 0;

    assert(getrlimit(RLIMIT_NOFILE, &old) == 0);
    small = old;
    small.rlim_cur = 32;
    fill(db, 0, 30000, 300);
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    MUST(helios_close(db));
    assert(setrlimit(RLIMIT_NOFILE, &small) == 0);
    options.block_cache_bytes = 0;
    MUST(helios_open(path, &options, &db));
    MUST(helios_stat(db, "files", &files));
    assert(files > small.rlim_cur);
    check_filled(db, 0, 30000, 300);
    MUST(helios_iter_new(db, NULL, &it));
    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it))
        count++;
    MUST(helios_iter_status(it));
    assert(count == 30000);
    helios_iter_free(it);
    fill(db, 0, 10000, 200);
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    check_filled(db, 0, 10000, 200);
    MUST(helios_close(db));
    assert(setrlimit(RLIMIT_NOFILE, &old) == 0);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"missing directory", missing_directory},
    {"path is a file", path_is_a_file},
    {"directory with other files", directory_with_other_files},
    {"no permission", no_permission},
    {"exists already", exists_already},
    {"newer format", newer_format},
    {"lock is held", lock_is_held},
    {"read-only", read_only},
    {"file is cut", file_is_cut},
    {"byte is flipped", byte_is_flipped},
    {"failed open leaves nothing", failed_open_leaves_nothing},
    {"disk is full", disk_is_full},
    {"sync fails", sync_fails},
    {"sizes", sizes},
    {"nothing given", nothing_given},
    {"nothing to do", nothing_to_do},
    {"option structs", option_structs},
    {"branches and points", branches_and_points},
    {"close with handles", close_with_handles},
    {"in-memory touches no file", in_memory_touches_no_file},
    {"statistics", statistics},
    {"checkpoints", checkpoints},
    {"sizes of ranges", sizes_of_ranges},
    {"few descriptors", few_descriptors},
};

int main(int argc, char **argv)
{
    char command[300];

    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(scratch, sizeof(scratch), "%s/helios-api-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert(mkdtemp(scratch));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (argc > 1 && strcmp(argv[1], cases[i].name) != 0)
            continue;
        printf("%s\n", cases[i].name);
        cases[i].run();
    }
    snprintf(command, sizeof(command), "rm -rf %s", scratch);
    assert(system(command) == 0);
    return 0;
}
