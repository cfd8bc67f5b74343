/* fixture_maker.c - makes the databases in tests/fixtures, which every later version has to read: run once for a version of
 * the format, its files kept for ever. Each is small and has all that the format knows; beside it stands what it
 * shows, as text, written by the version that made it.
 * Usage: fixture_maker DIRECTORY (tests/fixtures/v1), which gets NAME/ and NAME.txt for each */
#undef NDEBUG
#include "tests/fixture_dump.h"
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void must(helios_status status, int line)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "fixture_maker.c:%d: %s: %s\n", line, helios_status_name(status), helios_last_error());
    abort();
}
#define MUST(call) must(call, __LINE__)

static unsigned counter;

static helios_slice key_of(unsigned index, char out[8])
{
    return (helios_slice){out, (size_t)snprintf(out, 8, "k%03u", index % 40)};
}

static void put(helios_db *db, helios_branch_id branch, unsigned index, size_t size)
{
    static char value[400000];
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    char key[8];

    options.branch = branch;
    counter++;
    for (size_t i = 0; i < size; i++)
        value[i] = (char)('a' + (i / 7 * counter + i) % 26);
    MUST(helios_put(db, &options, key_of(index, key), (helios_slice){value, size}));
}

static void some(helios_db *db, helios_branch_id branch, unsigned from, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        put(db, branch, from + i * 7, 20 + i * 11 % 90);
}

static void delete_some(helios_db *db, helios_branch_id branch, unsigned from, unsigned to)
{
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    char a[8], b[8];

    options.branch = branch;
    MUST(helios_delete_range(db, &options, key_of(from, a), key_of(to, b)));
    MUST(helios_delete(db, &options, key_of(to + 1, a)));
}

static void ingest(helios_db *db)
{
    static char value[700000];
    helios_batch *batch = helios_batch_new();
    char key[8];

    memset(value, 'i', sizeof(value));
    for (unsigned i = 0; i < 12; i++)
        helios_batch_put(batch, key_of(i * 3, key), (helios_slice){value, 100});
    helios_batch_put(batch, (helios_slice){"large 1", 7}, (helios_slice){value, sizeof(value)});
    helios_batch_put(batch, (helios_slice){"large 2", 7}, (helios_slice){value, sizeof(value)});
    MUST(helios_write(db, NULL, batch, NULL));
    helios_batch_free(batch);
}

/* Levels, versions, range deletes, values of their own block, tables of a large commit. */
static void make_data(helios_db *db)
{
    some(db, 0, 0, 60);
    MUST(helios_flush(db));
    delete_some(db, 0, 10, 14);
    some(db, 0, 3, 30);
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    put(db, 0, 39, 300000);
    ingest(db);
    delete_some(db, 0, 20, 23);
    some(db, 0, 5, 20);
    MUST(helios_flush(db));
    some(db, 0, 1, 10);
}

static void make_branches(helios_db *db)
{
    helios_branch_id work, nested, gone;
    helios_merge_options close = HELIOS_MERGE_OPTIONS_INIT;

    MUST(helios_tag_create(db, "before branches", 0, 0));
    MUST(helios_branch_create(db, "work", 0, 0, &work));
    MUST(helios_branch_set_metadata(db, work, (helios_slice){"what it is for", 14}));
    some(db, work, 2, 15);
    delete_some(db, work, 30, 33);
    MUST(helios_branch_create(db, "nested", work, 0, &nested));
    some(db, nested, 4, 5);
    MUST(helios_flush(db));
    MUST(helios_branch_merge(db, nested, work, NULL, NULL));
    MUST(helios_branch_create(db, "gone", 0, 0, &gone));
    some(db, gone, 9, 3);
    MUST(helios_branch_drop(db, gone));
    MUST(helios_branch_merge(db, work, 0, NULL, NULL));
    close.close_source = true;
    some(db, nested, 6, 2);
    MUST(helios_branch_merge(db, nested, work, &close, NULL));
    MUST(helios_branch_rename(db, work, "renamed"));
    MUST(helios_tag_create(db, "on a branch", work, 0));
}

static void make_feed(helios_db *db)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *changes = NULL;
    helios_change change;

    options.consumer = "reader";
    options.before_images = true;
    MUST(helios_changes_new(db, &options, &changes));
    make_data(db);
    for (int i = 0; i < 9; i++)
        MUST(helios_changes_next(changes, UINT64_MAX, &change));
    MUST(helios_changes_ack(changes, change.lsn));
    helios_changes_free(changes);
}

static const struct fixture {
    const char *name;
    helios_compression compression;
    bool feed, branches, killed;
    double filter_bits;
} fixtures[] = {
    {"closed", HELIOS_COMPRESSION_LZ4, false, true, false, 14},
    {"killed", HELIOS_COMPRESSION_LZ4, false, true, true, 14},
    {"feed", HELIOS_COMPRESSION_ZSTD, true, true, false, 10},
    {"feed_killed", HELIOS_COMPRESSION_NONE, true, false, true, 0},
};

static void expect(const char *path, const char *scratch, const char *text)
{
    helios_options options = fixture_options();
    helios_db *db = NULL;
    FILE *out = fopen(text, "w");

    assert(out);
    fixture_copy(path, scratch);
    MUST(helios_open(scratch, &options, &db));
    fixture_dump(db, out);
    MUST(helios_close(db));
    MUST(helios_destroy(scratch));
    fclose(out);
}

/* A killed one is what lies there while it is open, after a sync: nothing moves in between. */
static void make(const struct fixture *f, const char *directory)
{
    char kept[512], work[520], text[520];
    helios_options options = fixture_options();
    helios_db *db = NULL;

    snprintf(kept, sizeof(kept), "%s/%s", directory, f->name);
    snprintf(work, sizeof(work), "%s.work", kept);
    snprintf(text, sizeof(text), "%s.txt", kept);
    options.create_if_missing = options.error_if_exists = true;
    options.compression = options.bottom_compression = f->compression;
    options.filter_bits_per_key = f->filter_bits;
    options.feed_retention = f->feed ? HELIOS_FOREVER : 0;
    MUST(helios_open(work, &options, &db));
    counter = 0;
    if (f->feed)
        make_feed(db);
    else
        make_data(db);
    if (f->branches)
        make_branches(db);
    some(db, 0, 11, 4);
    MUST(helios_sync(db));
    sleep(3); /* what goes on beside is over: archives, merges at rest */
    if (f->killed)
        fixture_copy(work, kept);
    MUST(helios_close(db));
    if (!f->killed)
        fixture_copy(work, kept);
    MUST(helios_destroy(work));
    expect(kept, work, text);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: fixture_maker DIRECTORY\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof(fixtures) / sizeof(fixtures[0]); i++)
        make(&fixtures[i], argv[1]);
    return 0;
}
