/* dump_maker.c PATH COMPRESSION FILTER_BITS KEEP_HISTORY END - a small database of everything that the format
 * knows, for test_dump.py: versions, deletes, range deletes, large values, large commits, flushes and
 * compactions, a log that is not all in tables. END: "close", "unlogged" (some commits are, then close), "kill" (the
 * process ends without a close), "feed" (one is kept, and archives of it are waited for, then close). Prints what the API shows at some points:
 *   commit <seq> <time> <operations> <bytes>
 *   point <seq>
 *   <key in hex> <size of the value> <hash of the value in hex> */
#undef NDEBUG
#include "base/hash.h"
#include "base/random.h"
#include <assert.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    STEPS = 2400,
    KEYS = 600,
    POINT_EVERY = 200,
    POINTS_MAX = STEPS / POINT_EVERY,
    LARGE_BYTES = 300 * 1024,
    LARGE_COMMIT = 1500,
    LONG_KEY = 5000
};

static struct random rng;
static char key_bytes[LONG_KEY + 32];
static char value_bytes[LARGE_BYTES];

static helios_slice some_key(void)
{
    uint64_t n = random_below(&rng, KEYS);

    if (n == 0)
        return slice_make("", 0);
    if (n == 1)
        return slice_make("\0\xff\0", 3);
    memset(key_bytes, 'k', LONG_KEY);
    if (n < 4)
        return slice_make(key_bytes, (size_t)(LONG_KEY + snprintf(key_bytes + LONG_KEY, 32, "%d", (int)n)));
    return slice_make(key_bytes, (size_t)snprintf(key_bytes, 32, "key %05d", (int)n));
}

/* Half of it compresses. */
static helios_slice some_value(size_t size)
{
    for (size_t i = 0; i < size; i++)
        value_bytes[i] = i % 2 ? 'v' : (char)random_next(&rng);
    return slice_make(value_bytes, size);
}

static helios_slice small_value(void)
{
    return some_value((size_t)random_below(&rng, 120));
}

struct range {
    char from[16], to[16];
};

static struct range some_range(void)
{
    int first = (int)random_below(&rng, KEYS);
    struct range range;

    snprintf(range.from, sizeof(range.from), "key %05d", first);
    snprintf(range.to, sizeof(range.to), "key %05d", first + 1 + (int)random_below(&rng, 20));
    return range;
}

static void some_batch(helios_batch *batch, size_t count)
{
    helios_batch_clear(batch);
    for (size_t i = 0; i < count; i++) {
        uint64_t dice = random_below(&rng, 100);

        if (dice < 75) {
            helios_slice value = small_value();

            helios_batch_put(batch, some_key(), value);
        } else if (dice < 98) {
            helios_batch_delete(batch, some_key());
        } else {
            struct range range = some_range();

            helios_batch_delete_range(batch, slice_text(range.from), slice_text(range.to));
        }
    }
}

static void step(helios_db *db, helios_batch *batch, bool unlogged)
{
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    uint64_t dice = random_below(&rng, 1000);
    helios_slice value = small_value();
    struct range range = some_range();

    if (unlogged && random_below(&rng, 4) == 0)
        options.durability = HELIOS_DURABILITY_NONE;
    if (dice < 600)
        assert(helios_put(db, &options, some_key(), value) == HELIOS_OK);
    else if (dice < 750)
        assert(helios_delete(db, &options, some_key()) == HELIOS_OK);
    else if (dice < 765)
        assert(helios_delete_range(db, &options, slice_text(range.from), slice_text(range.to)) == HELIOS_OK);
    else if (dice < 768)
        assert(helios_put(db, &options, some_key(), some_value(LARGE_BYTES)) == HELIOS_OK);
    else if (dice < 771)
        assert(helios_flush(db) == HELIOS_OK);
    else {
        some_batch(batch, dice == 999 || dice == 998 ? LARGE_COMMIT : 1 + (size_t)random_below(&rng, 8));
        assert(helios_write(db, &options, batch, NULL) == HELIOS_OK);
    }
}

static void print_point(helios_db *db, helios_seq at)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_iter *iter;

    if (at < helios_horizon(db))
        return;
    options.at = at;
    assert(helios_iter_new(db, &options, &iter) == HELIOS_OK);
    printf("point %llu\n", (unsigned long long)at);
    for (helios_iter_first(iter); helios_iter_valid(iter); helios_iter_next(iter)) {
        helios_slice key = helios_iter_key(iter), value = helios_iter_value(iter);

        for (size_t i = 0; i < key.size; i++)
            printf("%02x", slice_bytes(key)[i]);
        printf(" %zu %016llx\n", value.size, (unsigned long long)hash_bytes(value.data, value.size));
    }
    assert(helios_iter_status(iter) == HELIOS_OK);
    helios_iter_free(iter);
}

static void print_commits(helios_db *db)
{
    helios_commits *commits;
    helios_commit_info info;

    assert(helios_commits_new(db, NULL, &commits) == HELIOS_OK);
    while (helios_commits_next(commits, &info))
        printf("commit %llu %llu %llu %llu\n", (unsigned long long)info.seq, (unsigned long long)info.time,
               (unsigned long long)info.operations, (unsigned long long)info.bytes);
    assert(helios_commits_status(commits) == HELIOS_OK);
    helios_commits_free(commits);
}

static void wait_for_archives(const char *path)
{
    char pattern[4096];

    snprintf(pattern, sizeof(pattern), "%s/wal/*.arc", path);
    for (int tries = 0; tries < 2000; tries++) {
        glob_t found = {0};
        bool enough = glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc >= 3;

        globfree(&found);
        if (enough)
            return;
        usleep(10000);
    }
    assert(!"archives");
}

int main(int argc, char **argv)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_seq points[POINTS_MAX];
    size_t point_count = 0;
    helios_batch *batch = helios_batch_new();
    helios_db *db;

    assert(argc == 6 && batch);
    options.compression = (helios_compression)atoi(argv[2]);
    options.bottom_compression = options.compression;
    options.filter_bits_per_key = atof(argv[3]);
    options.history_retention = atoi(argv[4]) ? HELIOS_FOREVER : 0;
    options.feed_retention = strcmp(argv[5], "feed") == 0 ? HELIOS_FOREVER : 0;
    options.memtable_bytes = 256 << 10;
    options.block_bytes = 1024;
    random_seed(&rng, (uint64_t)atoi(argv[2]) * 10 + (uint64_t)atoi(argv[4]));
    assert(helios_open(argv[1], &options, &db) == HELIOS_OK);
    for (int i = 1; i <= STEPS; i++) {
        step(db, batch, strcmp(argv[5], "unlogged") == 0);
        if (i % POINT_EVERY == 0)
            points[point_count++] = helios_latest(db);
        if (i == STEPS / 2)
            assert(helios_compact(db, (helios_slice){0}, (helios_slice){0}) == HELIOS_OK);
    }
    for (size_t i = 0; i < point_count; i++)
        print_point(db, points[i]);
    print_commits(db);
    helios_batch_free(batch);
    if (strcmp(argv[5], "kill") == 0) {
        fflush(stdout);
        _exit(0);
    }
    if (options.feed_retention)
        wait_for_archives(argv[1]);
    assert(helios_close(db) == HELIOS_OK);
    return 0;
}
