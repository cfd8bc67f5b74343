/* test_feed_read_only.c - the change feed of a read-only open, and with archives behind it: every filter, image and range
 * gives what it gave where the feed was written, after a clean close and a killed process; no file is changed; consumers hold
 * nothing. Then random mixes of many tables: with a prefix and without agree. Usage: test_feed_read_only [seed] */
#undef NDEBUG
#include "base/hash.h"
#include "base/random.h"
#include "base/slice.h"
#include "base/thread.h"
#include "engine/engine_internal.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static helios_db *db;
static struct io_fs *fs;
static helios_options options;
static struct random rng;
static uint64_t seed = 1;

#define MUST(call) must((call), #call, __LINE__)
static void must(helios_status status, const char *what, int line)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "line %d, seed %" PRIu64 ": %s: %s %s\n", line, seed, what, helios_status_name(status),
            helios_last_error());
    abort();
}

static uint32_t below(uint32_t limit)
{
    return (uint32_t)random_below(&rng, limit);
}

static void open_db(bool read_only)
{
    options.read_only = read_only;
    MUST(engine_open(fs, "/db", &options, &db));
}

static void begin(void)
{
    MUST(io_faulty_new(seed, &fs));
    options = (helios_options)HELIOS_OPTIONS_INIT;
    options.memtable_bytes = 256 * 1024;
    options.history_retention = HELIOS_FOREVER;
    options.feed_retention = HELIOS_FOREVER;
    open_db(false);
}

static void end(void)
{
    MUST(helios_close(db));
    io_free(fs);
}

/* ---- what is written ---- */

static helios_slice key_of(char *out, unsigned tables, unsigned rows)
{
    snprintf(out, 40, "table%03u/%06u", below(tables), below(rows));
    return slice_text(out);
}

static helios_slice value_of(unsigned char *out, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = i % 4 ? (unsigned char)('a' + i % 16) : (unsigned char)random_next(&rng);
    return slice_make(out, size);
}

static void write_some(unsigned commits, unsigned tables, unsigned rows, const helios_branch_id *branch)
{
    static unsigned char bytes[300000];
    helios_write_options o = HELIOS_WRITE_OPTIONS_INIT;
    char key[40], to[40];

    o.durability = HELIOS_DURABILITY_ASYNC;
    o.branch = branch ? *branch : 0;
    for (unsigned i = 0; i < commits; i++) {
        helios_batch *batch = helios_batch_new();
        unsigned ops = below(8) ? 1 : 1 + below(4);

        for (unsigned k = 0; k < ops; k++) {
            unsigned dice = below(400);

            if (dice < 330)
                helios_batch_put(batch, key_of(key, tables, rows), value_of(bytes, below(100)));
            else if (dice < 398)
                helios_batch_delete(batch, key_of(key, tables, rows));
            else if (dice == 398 && slice_compare(key_of(key, tables, rows), key_of(to, tables, rows)) < 0)
                helios_batch_delete_range(batch, slice_text(key), slice_text(to));
            else
                helios_batch_put(batch, key_of(key, tables, rows), value_of(bytes, below(200) ? 1000 : 200000));
        }
        MUST(helios_write(db, &o, batch, NULL));
        helios_batch_free(batch);
    }
}

/* ---- what the feed says ---- */

struct told {
    uint64_t hash, count;
};

static void add(struct told *told, helios_slice s)
{
    told->hash = hash_seeded(s.data ? s.data : "", s.size, told->hash + s.size);
}

static struct told tell(const helios_changes_options *o, helios_status *last)
{
    struct told told = {0};
    helios_change change;
    helios_changes *c;
    helios_status status;

    MUST(helios_changes_new(db, o, &c));
    while ((status = helios_changes_next(c, 0, &change)) == HELIOS_OK) {
        uint64_t numbers[] = {change.lsn,        change.commit,         change.time,
                              change.branch,     (uint64_t)change.kind, change.space,
                              change.commit_end, change.has_before};

        add(&told, slice_make(numbers, sizeof(numbers)));
        add(&told, change.key);
        add(&told, change.value);
        add(&told, change.before);
        told.count++;
    }
    if (last)
        *last = status;
    else if (status != HELIOS_TIMEOUT)
        must(status, "helios_changes_next", __LINE__);
    helios_changes_free(c);
    return told;
}

enum { VIEWS = 8 };

static void views(struct told out[VIEWS], helios_seq middle, helios_branch_id branch)
{
    for (int i = 0; i < VIEWS; i++) {
        helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;

        o.before_images = i == 1 || i == 3;
        o.expand_ranges = i == 2;
        o.all_spaces = i == 3;
        o.from = i == 4 ? middle : 0;
        if (i == 5 || i == 6)
            o.prefix = slice_text(i == 5 ? "table00" : "table003/0001");
        if (i == 7)
            o.branch = &branch;
        out[i] = tell(&o, NULL);
        assert(out[i].count > 0);
    }
}

static void check_consumer(helios_seq acked, uint64_t behind)
{
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    helios_consumer_info *list;
    helios_changes *c, *same;
    helios_change change;
    size_t n;

    o.consumer = "reader";
    MUST(helios_changes_new(db, &o, &c));
    MUST(helios_changes_new(db, &o, &same)); /* nothing is held */
    MUST(helios_changes_next(c, 0, &change));
    assert(change.lsn > acked);
    assert(helios_changes_ack(c, change.lsn) == HELIOS_READ_ONLY);
    helios_changes_free(c);
    helios_changes_free(same);
    assert(tell(&o, NULL).count == behind);
    o.consumer = "nobody";
    assert(helios_changes_new(db, &o, &c) == HELIOS_NOT_FOUND);
    MUST(helios_consumer_list(db, &list, &n));
    assert(n == 1 && list[0].acked == acked);
    helios_free(list);
    assert(helios_consumer_drop(db, "reader") == HELIOS_READ_ONLY);
    assert(helios_feed_trim(db, acked, NULL) == HELIOS_READ_ONLY);
}

static void check_ends(helios_seq last)
{
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    helios_seq oldest, newest;
    helios_status status;
    uint64_t time;

    MUST(helios_feed_bounds(db, &oldest, &newest));
    assert(oldest == 1 && newest == last && helios_latest(db) == last);
    o.to = last;
    (void)tell(&o, &status);
    assert(status == HELIOS_NOT_FOUND);
    o.to = last + 1;
    (void)tell(&o, &status);
    assert(status == HELIOS_TIMEOUT);
    MUST(helios_time_of_seq(db, last, &time));
    o.to = 0, o.to_time = time;
    (void)tell(&o, &status);
    assert(status == HELIOS_NOT_FOUND || time >= io_time(fs));
    o.to_time = 0, o.from_time = time;
    assert(tell(&o, &status).count > 0 && status == HELIOS_TIMEOUT);
}

static helios_status count_archive(void *arg, const char *name)
{
    unsigned *count = arg;
    size_t size = strlen(name);

    *count += size > 4 && strcmp(name + size - 4, ".arc") == 0;
    return HELIOS_OK;
}

static unsigned archives(void)
{
    unsigned count = 0;

    MUST(io_list(fs, "/db/wal", count_archive, &count));
    return count;
}

static void wait_archives(unsigned wanted)
{
    for (int i = 0; i < 20000 && archives() < wanted; i++)
        thread_sleep(500);
    assert(archives() >= wanted);
}

/* As the process would leave it: nothing more reaches the files. */
static void kill_db(void)
{
    io_faulty_stop_at(fs, 1);
    (void)!helios_close(db);
    io_faulty_stop_at(fs, 0);
}

static void read_only(void)
{
    struct told written[VIEWS], read[VIEWS];
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    helios_branch_id branch;
    helios_changes *c;
    helios_seq middle, last;
    uint64_t behind;

    begin();
    write_some(2500, 10, 300, NULL);
    MUST(helios_branch_create(db, "side", 0, helios_latest(db), &branch));
    write_some(300, 10, 300, &branch);
    middle = helios_latest(db);
    o.consumer = "reader";
    o.from = 1;
    MUST(helios_changes_new(db, &o, &c));
    MUST(helios_changes_ack(c, middle));
    helios_changes_free(c);
    write_some(2500, 10, 300, NULL);
    MUST(helios_flush(db));
    wait_archives(3);
    write_some(100, 10, 300, &branch);
    MUST(helios_sync(db));
    last = helios_latest(db);
    views(written, middle, branch);
    for (int killed = 1; killed >= 0; killed--) {
        uint64_t changes;

        if (killed)
            kill_db();
        if (!killed) { /* nothing is left to be replayed */
            MUST(helios_flush(db));
            MUST(helios_close(db));
            open_db(false);
            MUST(helios_close(db));
        }
        changes = io_faulty_changes(fs);
        open_db(true);
        if (killed)
            check_ends(last);
        views(read, middle, branch);
        for (int i = 0; i < VIEWS; i++)
            if (read[i].hash != written[i].hash) {
                fprintf(stderr,
                        "seed %" PRIu64 ", killed %d, view %d: %" PRIu64 " entries, %" PRIu64 " read-only\n",
                        seed, killed, i, written[i].count, read[i].count);
                abort();
            }
        o = (helios_changes_options)HELIOS_CHANGES_OPTIONS_INIT;
        o.from = middle + 1;
        behind = tell(&o, NULL).count;
        check_consumer(middle, behind);
        MUST(helios_verify(db, NULL, NULL));
        MUST(helios_close(db));
        assert(io_faulty_changes(fs) == changes);
        open_db(false);
    }
    views(read, middle, branch);
    assert(memcmp(read, written, sizeof(read)) == 0);
    end();
}

static void no_feed(void)
{
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *c;

    begin();
    MUST(helios_close(db));
    options.feed_retention = 0;
    open_db(false);
    write_some(100, 10, 10, NULL);
    MUST(helios_close(db));
    options.feed_retention = HELIOS_FOREVER;
    open_db(true);
    assert(helios_changes_new(db, &o, &c) == HELIOS_UNSUPPORTED);
    end();
}

/* ---- prefixes ---- */

/* The entries with the prefix, from all of them. */
static struct told filtered(helios_slice prefix, helios_seq from)
{
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    struct told told = {0};
    helios_change change;
    helios_changes *c;
    helios_status status;

    o.from = from;
    MUST(helios_changes_new(db, &o, &c));
    while ((status = helios_changes_next(c, 0, &change)) == HELIOS_OK) {
        bool wanted = slice_starts_with(change.key, prefix);

        if (change.kind == HELIOS_CHANGE_DELETE_RANGE)
            wanted =
                wanted || (slice_compare(change.key, prefix) < 0 && slice_compare(change.value, prefix) > 0);
        if (!wanted)
            continue;
        add(&told, slice_make(&change.lsn, sizeof(change.lsn)));
        add(&told, change.key);
        add(&told, change.value);
        told.count++;
    }
    assert(status == HELIOS_TIMEOUT);
    helios_changes_free(c);
    return told;
}

static struct told with_prefix(helios_slice prefix, helios_seq from)
{
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    struct told told = {0};
    helios_change change;
    helios_changes *c;
    helios_status status;

    o.from = from;
    o.prefix = prefix;
    MUST(helios_changes_new(db, &o, &c));
    while ((status = helios_changes_next(c, 0, &change)) == HELIOS_OK) {
        add(&told, slice_make(&change.lsn, sizeof(change.lsn)));
        add(&told, change.key);
        add(&told, change.value);
        told.count++;
    }
    assert(status == HELIOS_TIMEOUT);
    helios_changes_free(c);
    return told;
}

static void prefixes(void)
{
    struct io_counts before, after;
    uint64_t all, one;
    unsigned made;

    begin();
    MUST(helios_close(db));
    options.memtable_bytes = 4 << 20;
    open_db(false);
    write_some(25000, 1000, 1000000, NULL);
    MUST(helios_flush(db));
    wait_archives(2);
    MUST(helios_sync(db));
    for (int reopened = 0; reopened < 2; reopened++) {
        for (int i = 0; i < 25; i++) {
            char text[40];
            helios_slice prefix = key_of(text, 1000, 1000000);
            helios_seq from = i % 2 ? 1 + below(20000) : 1;
            struct told expected, got;

            prefix.size = below(4) ? 6 + below(7) : 1 + below((uint32_t)prefix.size);
            expected = filtered(prefix, from);
            got = with_prefix(prefix, from);
            if (expected.hash != got.hash) {
                fprintf(stderr,
                        "seed %" PRIu64 ", prefix %.*s from %" PRIu64 ": %" PRIu64 " entries, not %" PRIu64
                        "\n",
                        seed, (int)prefix.size, text, (uint64_t)from, got.count, expected.count);
                abort();
            }
        }
        MUST(helios_close(db));
        open_db(reopened == 0);
    }
    made = archives();
    io_get_counts(fs, &before);
    all = filtered(slice_text("table123/"), 1).count;
    io_get_counts(fs, &after);
    printf("%u archives; all: %" PRIu64 " bytes read", made, after.read_bytes - before.read_bytes);
    before = after;
    one = with_prefix(slice_text("table123/"), 1).count;
    io_get_counts(fs, &after);
    printf("; one table: %" PRIu64 "\n", after.read_bytes - before.read_bytes);
    assert(one == all && one > 0);
    end();
}

static helios_status find_archive(void *arg, const char *name)
{
    if (strstr(name, ".arc") && !strstr(name, ".tmp"))
        snprintf(arg, 64, "/db/wal/%s", name);
    return HELIOS_OK;
}

/* A byte of an archive flips: verify says in which file, and a walk does not give something else. */
static void damage(void)
{
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    struct told before, after;
    char path[64] = "";
    uint64_t size;

    begin();
    write_some(4000, 20, 300, NULL);
    MUST(helios_flush(db));
    wait_archives(2);
    MUST(helios_close(db));
    open_db(true);
    before = tell(&o, NULL);
    MUST(helios_verify(db, NULL, NULL));
    MUST(io_list(fs, "/db/wal", find_archive, path));
    for (int i = 0; i < 60; i++) {
        unsigned char *bytes = io_memory_bytes(fs, path, &size);
        uint64_t at = 700 + random_below(&rng, size - 700);
        helios_status status;

        bytes[at] ^= 16;
        status = helios_verify(db, NULL, NULL);
        if (status != HELIOS_CORRUPT || !strstr(helios_last_error(), path) ||
            !strstr(helios_last_error(), " at ")) {
            fprintf(stderr, "seed %" PRIu64 ", byte %" PRIu64 ": %s %s\n", seed, at, helios_status_name(status),
                    helios_last_error());
            abort();
        }
        after = tell(&o, &status);
        assert(status == HELIOS_CORRUPT || (status == HELIOS_TIMEOUT && after.hash == before.hash));
        io_memory_bytes(fs, path, &size)[at] ^= 16;
    }
    MUST(helios_verify(db, NULL, NULL));
    end();
}

/* An in-memory database keeps a log for its feed alone: it is archived too. */
static void in_memory(void)
{
    char text[40];

    options = (helios_options)HELIOS_OPTIONS_INIT;
    options.in_memory = true;
    options.memtable_bytes = 256 * 1024;
    options.history_retention = HELIOS_FOREVER;
    options.feed_retention = HELIOS_FOREVER;
    MUST(helios_open("nowhere", &options, &db));
    fs = db->fs;
    write_some(4000, 20, 300, NULL);
    MUST(helios_flush(db));
    for (int i = 0; i < 20000; i++) {
        unsigned count = 0;

        MUST(io_list(fs, db->wal_directory, count_archive, &count));
        if (count >= 2)
            break;
        assert(i + 1 < 20000);
        thread_sleep(500);
    }
    for (int i = 0; i < 20; i++) {
        helios_slice prefix = key_of(text, 20, 300);

        prefix.size = 6 + below(9);
        assert(filtered(prefix, 1).hash == with_prefix(prefix, 1).hash);
    }
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_close(db));
}

int main(int argc, char **argv)
{
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    random_seed(&rng, seed);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("seed %" PRIu64 "\n", seed);
    no_feed();
    read_only();
    prefixes();
    damage();
    in_memory();
    return 0;
}
