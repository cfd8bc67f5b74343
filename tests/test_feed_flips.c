/* test_feed_flips.c - damage under a cursor of the change feed: bytes of what is kept of the log, segments, their indexes,
 * archives, tables of ingested commits, flipped one by one. Whatever is read, from the beginning, from the middle, by
 * time, with images: every entry that is handed out is right, in its place, and where they end too early it is
 * HELIOS_CORRUPT, naming a file.
 *
 * Some of the flips are also there when the database is opened.
 * Usage: test_feed_flips [seed [flips]]; flips: at most so many a file, 0: every byte. */
#undef NDEBUG
#include "base/hash.h"
#include "tests/fault_world.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { FLIPS_DEFAULT = 150, FILES_MAX = 64, ENTRIES_MAX = 4000, KEYS = 50, REOPEN_EVERY = 40 };

static uint64_t seed = 1, flips_max = FLIPS_DEFAULT;
static uint64_t seen, unseen;

/* What a reading must give, in order. */
struct expected {
    helios_changes_options options;
    uint64_t entries[ENTRIES_MAX]; /* hashes of all there is to them */
    unsigned count;
};
enum { READINGS = 4 };
static struct expected expected[READINGS];

struct files {
    char paths[FILES_MAX][80];
    size_t count;
};

/* ---- the database ---- */

static void write_some(helios_db *db, struct random *rng, unsigned count, size_t size)
{
    static char bytes[70000];
    helios_batch *batch = helios_batch_new();
    char key[32], end[32];

    for (unsigned i = 0; i < count; i++) {
        unsigned number = (unsigned)random_below(rng, KEYS);
        helios_slice k = slice_make(key, (size_t)sprintf(key, "key%03u", number));

        for (size_t j = 0; j < size; j += 7)
            bytes[j] = (char)random_next(rng);
        if (i % 9 == 8)
            helios_batch_delete(batch, k);
        else if (i % 9 == 7)
            helios_batch_delete_range(batch, k, slice_make(end, (size_t)sprintf(end, "key%03u", number + 5)));
        else
            helios_batch_put(batch, k, slice_make(bytes, 1 + random_below(rng, size)));
    }
    MUST(helios_write(db, NULL, batch, NULL));
    helios_batch_free(batch);
}

/* Several sealed segments, two ingested commits of which the tree has no table any more. */
static void make(helios_db *db)
{
    struct random rng;
    helios_branch_id branch;

    random_seed(&rng, seed);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 40; i++)
            write_some(db, &rng, 1 + i % 12, 200);
        if (round < 2)
            write_some(db, &rng, 30, 60000);
        MUST(helios_flush(db));
        MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    }
    MUST(helios_branch_create(db, "branch", 0, 0, &branch));
    MUST(helios_sync(db));
}

static uint64_t hash_of(const helios_change *change)
{
    uint64_t numbers[10] = {change->lsn,
                            change->commit,
                            change->time,
                            change->branch,
                            change->kind,
                            change->space,
                            change->commit_end,
                            hash_bytes(change->key.data, change->key.size),
                            change->value.data ? hash_bytes(change->value.data, change->value.size) : 0,
                            change->has_before ? hash_bytes(change->before.data, change->before.size) : 1};

    return hash_bytes(numbers, sizeof(numbers));
}

static void expect(helios_db *db, struct expected *e)
{
    helios_changes *changes;
    helios_change change;
    helios_status status;

    MUST(helios_changes_new(db, &e->options, &changes));
    while ((status = helios_changes_next(changes, 0, &change)) == HELIOS_OK) {
        CHECK(e->count < ENTRIES_MAX, "too many entries");
        e->entries[e->count++] = hash_of(&change);
    }
    CHECK(status == HELIOS_NOT_FOUND, "%s", helios_last_error());
    helios_changes_free(changes);
}

static void expect_all(helios_db *db)
{
    helios_seq last = helios_latest(db);
    uint64_t time;

    for (int i = 0; i < READINGS; i++) {
        expected[i].options = (helios_changes_options)HELIOS_CHANGES_OPTIONS_INIT;
        expected[i].options.to = last;
        expected[i].options.unsynced = true;
    }
    expected[0].options.all_spaces = true;
    expected[1].options.from = last / 2;
    expected[1].options.before_images = expected[1].options.expand_ranges = true;
    MUST(helios_time_of_seq(db, last / 3, &time));
    expected[2].options.from_time = time;
    expected[3].options.prefix = slice_text("key03");
    for (int i = 0; i < READINGS; i++)
        expect(db, &expected[i]);
}

/* ---- a look ---- */

static void check_refusal(helios_status status)
{
    CHECK(status == HELIOS_CORRUPT || status == HELIOS_UNSUPPORTED, "%s: %s", helios_status_name(status),
          helios_last_error());
    CHECK(strstr(helios_last_error(), "/db/"), "no file is named: %s", helios_last_error());
}

/* True: the damage was seen. */
static bool look(helios_db *db, const struct expected *e)
{
    helios_changes *changes;
    helios_change change;
    helios_status status = helios_changes_new(db, &e->options, &changes);
    unsigned count = 0;

    if (status != HELIOS_OK) {
        check_refusal(status);
        return true;
    }
    while ((status = helios_changes_next(changes, 0, &change)) == HELIOS_OK) {
        CHECK(count < e->count && hash_of(&change) == e->entries[count], "entry %" PRIu64 " is wrong",
              change.lsn);
        count++;
    }
    if (status == HELIOS_NOT_FOUND)
        CHECK(count == e->count, "%u entries of %u, and no error", count, e->count);
    else
        check_refusal(status);
    helios_changes_free(changes);
    return status != HELIOS_NOT_FOUND;
}

/* With the database open already: what the tree needs is not damaged, so that every open must succeed. */
static void look_all(helios_db *db)
{
    for (int i = 0; i < READINGS; i++)
        *(look(db, &expected[i]) ? &seen : &unseen) += 1;
}

static void look_reopened(struct io_fs *fs, const helios_options *options)
{
    struct io_fs *copy = world_clone(fs, seed);
    helios_db *db;
    helios_status status = engine_open(copy, "/db", options, &db);

    if (status == HELIOS_OK) {
        look_all(db);
        status = helios_close(db);
        CHECK(status == HELIOS_OK || status == HELIOS_CORRUPT, "close: %s", helios_last_error());
    } else {
        check_refusal(status);
        seen++;
    }
    io_free(copy);
}

/* ---- flips ---- */

static helios_status note_file(void *arg, const char *name)
{
    struct files *files = arg;

    CHECK(files->count < FILES_MAX, "too many files");
    snprintf(files->paths[files->count++], sizeof(files->paths[0]), "/db/wal/%.60s", name);
    return HELIOS_OK;
}

/* The newest segment is being written. */
static bool is_live(const struct files *files, size_t at)
{
    if (!strstr(files->paths[at], ".wal"))
        return false;
    for (size_t i = 0; i < files->count; i++)
        if (strstr(files->paths[i], ".wal") && strcmp(files->paths[i], files->paths[at]) > 0)
            return false;
    return true;
}

static void flip_file(struct io_fs *fs, const helios_options *options, helios_db *db, const char *path)
{
    uint64_t size, step = 1, before = seen, all = seen + unseen;
    unsigned char *bytes = io_memory_bytes(fs, path, &size);

    CHECK(bytes, "%s is not there", path);
    if (flips_max && size > flips_max)
        step = (size + flips_max - 1) / flips_max;
    for (uint64_t i = 0, offset = seed % step; offset < size; i++, offset += step) {
        unsigned char bit = (unsigned char)(1u << ((i + seed) % 8));

        snprintf(fault_where, sizeof(fault_where), "seed %" PRIu64 ", bit mask %#x at %s:%" PRIu64 "%s", seed,
                 bit, path, offset, db ? "" : ", then opened");
        bytes[offset] ^= bit;
        if (db)
            look_all(db);
        else if (i % REOPEN_EVERY == 0)
            look_reopened(fs, options);
        bytes[offset] ^= bit;
    }
    printf("%-40s %8" PRIu64 " bytes, every %" PRIu64 ". flipped%s: %" PRIu64 " of %" PRIu64
           " readings saw it\n",
           path, size, step, db ? "" : " and opened", seen - before, seen + unseen - all);
}

/* Until the log has archived what it will. */
static void wait_at_rest(struct io_fs *fs)
{
    enum { LOOK_EVERY = 20000, QUIET_LOOKS = 25 };
    struct files files, before = {.count = 0};

    for (int quiet = 0; quiet < QUIET_LOOKS; quiet++) {
        thread_sleep(LOOK_EVERY);
        memset(&files, 0, sizeof(files));
        MUST(io_list(fs, "/db/wal", note_file, &files));
        if (memcmp(&files, &before, sizeof(files)) != 0)
            quiet = 0;
        before = files;
    }
}

static void flip_all(struct io_fs *fs, const helios_options *options, helios_db *db)
{
    struct files files = {.count = 0};

    MUST(io_list(fs, "/db/wal", note_file, &files));
    for (size_t i = 0; i < files.count; i++)
        if (!db || !is_live(&files, i))
            flip_file(fs, options, db, files.paths[i]);
}

int main(int argc, char **argv)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    struct io_fs *fs;
    helios_db *db;

    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    flips_max = argc > 2 ? strtoull(argv[2], NULL, 10) : FLIPS_DEFAULT;
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("seed %" PRIu64 "\n", seed);
    options.memtable_bytes = 64 << 10;
    options.history_retention = options.feed_retention = HELIOS_FOREVER;
    MUST(io_faulty_new(seed, &fs));
    MUST(engine_open(fs, "/db", &options, &db));
    make(db);
    MUST(helios_close(db)); /* seals the last segment */
    MUST(engine_open(fs, "/db", &options, &db));
    wait_at_rest(fs);
    expect_all(db);
    flip_all(fs, &options, db);
    MUST(helios_close(db));
    flip_all(fs, &options, NULL);
    io_free(fs);
    printf("tried: %" PRIu64 " readings of a damaged feed\n", seen + unseen);
    printf("%" PRIu64 " readings found the damage, %" PRIu64 " were right in spite of it\n", seen, unseen);
    return 0;
}
