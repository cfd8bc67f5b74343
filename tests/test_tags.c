/* test_tags.c - tags and the list of pins: what the calls answer, what a tag keeps readable through compactions,
 * closes and crashes, and what goes once it is dropped. On a file system in memory whose clock is the test's. */
#undef NDEBUG
#include "engine/engine_internal.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PATH "/tags"
enum { KEYS = 200, START = 1700000000 };

static struct io_fs *fs;
static helios_options options = HELIOS_OPTIONS_INIT;

#define MUST(call)                                                                                             \
    do {                                                                                                       \
        helios_status status_ = (call);                                                                        \
        if (status_ != HELIOS_OK) {                                                                            \
            fprintf(stderr, "%s:%d: %s: %s: %s\n", __FILE__, __LINE__, #call, helios_status_name(status_),     \
                    helios_last_error());                                                                      \
            abort();                                                                                           \
        }                                                                                                      \
    } while (0)

static helios_slice text(const char *s)
{
    return (helios_slice){s, strlen(s)};
}

static void put(helios_db *db, unsigned key, unsigned round)
{
    char k[32], v[128];

    snprintf(k, sizeof(k), "key %05u", key);
    memset(v, 'a' + (int)(key % 26), sizeof(v));
    snprintf(v, sizeof(v), "round %u of %u", round, key);
    MUST(helios_put(db, NULL, text(k), (helios_slice){v, sizeof(v)}));
}

static void put_round(helios_db *db, unsigned round)
{
    for (unsigned key = 0; key < KEYS; key++)
        put(db, key, round);
}

/* Everything as it was after the round, by get and by walk; HELIOS_OK, or the refusal of every call. */
static helios_status read_round(helios_db *db, const helios_read_options *at, unsigned round)
{
    helios_buf value = {0};
    helios_iter *it = NULL;
    helios_status status = HELIOS_OK, walked;
    unsigned key = 0;
    char k[32], v[64];

    for (; key < KEYS; key++) {
        helios_status got;

        snprintf(k, sizeof(k), "key %05u", key);
        snprintf(v, sizeof(v), "round %u of %u", round, key);
        got = helios_get(db, at, text(k), &value);
        assert(key == 0 || got == status);
        status = got;
        if (status == HELIOS_OK)
            assert(strcmp(value.data, v) == 0);
    }
    helios_buf_free(&value);
    walked = helios_iter_new(db, at, &it);
    assert(walked == status);
    if (walked != HELIOS_OK)
        return status;
    key = 0;
    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it), key++) {
        snprintf(v, sizeof(v), "round %u of %u", round, key);
        assert(strcmp(helios_iter_value(it).data, v) == 0);
    }
    MUST(helios_iter_status(it));
    assert(key == KEYS);
    helios_iter_free(it);
    return HELIOS_OK;
}

static helios_status read_at(helios_db *db, helios_seq at, unsigned round)
{
    helios_read_options o = HELIOS_READ_OPTIONS_INIT;

    o.at = at;
    return read_round(db, &o, round);
}

static helios_status read_tag(helios_db *db, const char *name, unsigned round)
{
    helios_branch_id branch = 99;
    helios_seq seq = 99;
    helios_status status = helios_tag_get(db, name, &branch, &seq);

    if (status != HELIOS_OK)
        return status;
    assert(branch == 0);
    return read_at(db, seq, round);
}

static helios_db *open_db(void)
{
    helios_db *db = NULL;

    MUST(engine_open(fs, PATH, &options, &db));
    return db;
}

static void compact_all(helios_db *db)
{
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
}

/* As after a killed process: nothing more reaches the disk, what was written is there. */
static helios_db *kill_and_reopen(helios_db *db, enum io_damage damage)
{
    io_faulty_stop_at(fs, 1);
    (void)!helios_close(db);
    io_faulty_power_cut(fs, damage, 7);
    return open_db();
}

static void fresh(uint64_t retention)
{
    io_free(fs);
    MUST(io_faulty_new(1, &fs));
    io_faulty_set_time(fs, (uint64_t)START * 1000000, 1000000);
    options.memtable_bytes = 64 << 10;
    options.history_retention = retention;
    options.read_only = false;
}

/* ---- the calls ---- */

static void check_names(helios_db *db)
{
    static const char *const good[] = {"a", " ", "v1.0/rc-2", "\u00fcber", "\xf0\x9f\x8c\xb3"};
    static const char *const bad[] = {"",
                                      "a\nb",
                                      "\x7f",
                                      "\x80",
                                      "\xc0\x80",
                                      "\xc3",
                                      "a\xc2\x85",
                                      "\xed\xa0\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xe0\x80\x80",
                                      "\xff\xfe"};
    char longest[257];
    helios_branch_id branch;
    helios_seq seq;

    memset(longest, 'n', sizeof(longest));
    longest[256] = 0;
    assert(helios_tag_create(db, longest, 0, 0) == HELIOS_INVALID);
    longest[255] = 0;
    MUST(helios_tag_create(db, longest, 0, 0));
    MUST(helios_tag_drop(db, longest));
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        MUST(helios_tag_create(db, good[i], 0, 0));
        MUST(helios_tag_get(db, good[i], &branch, &seq));
        MUST(helios_tag_drop(db, good[i]));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert(helios_tag_create(db, bad[i], 0, 0) == HELIOS_INVALID);
        assert(helios_tag_get(db, bad[i], &branch, &seq) == HELIOS_INVALID);
        assert(helios_tag_drop(db, bad[i]) == HELIOS_INVALID);
    }
    assert(helios_tag_create(NULL, "a", 0, 0) == HELIOS_INVALID);
    assert(helios_tag_create(db, NULL, 0, 0) == HELIOS_INVALID);
    assert(helios_tag_get(db, "a", NULL, &seq) == HELIOS_INVALID);
    assert(helios_tag_drop(NULL, "a") == HELIOS_INVALID);
}

static void check_list(helios_db *db, const char *const *names, size_t count)
{
    helios_tag_info *list = NULL;
    size_t n = 77;

    MUST(helios_tag_list(db, &list, &n));
    assert(n == count);
    for (size_t i = 0; i < n; i++)
        assert(strcmp(list[i].name, names[i]) == 0 && list[i].branch == 0);
    helios_free(list);
}

static void test_calls(void)
{
    static const char *const names[] = {"b", "c", "d"};
    helios_branch_id branch = 9;
    helios_seq seq = 9, first;
    helios_tag_info *list;
    helios_db *db;
    size_t n;

    fresh(HELIOS_FOREVER);
    db = open_db();
    check_list(db, NULL, 0);
    check_names(db);
    check_list(db, NULL, 0);
    put_round(db, 1);
    first = helios_latest(db);
    io_faulty_advance(fs, 5000000);
    MUST(helios_tag_create(db, "c", 0, 0));
    assert(helios_latest(db) == first + 1); /* a commit like any other */
    assert(helios_tag_create(db, "c", 0, 0) == HELIOS_EXISTS);
    assert(helios_latest(db) == first + 1);
    MUST(helios_tag_create(db, "d", 0, HELIOS_SEQ_NONE));
    MUST(helios_tag_create(db, "b", 0, 7));
    assert(helios_tag_create(db, "e", 0, helios_latest(db) + 1) == HELIOS_INVALID);
    assert(helios_tag_create(db, "e", 1, 0) == HELIOS_NOT_FOUND);
    assert(helios_tag_get(db, "e", &branch, &seq) == HELIOS_NOT_FOUND && branch == 9 && seq == 9);
    assert(helios_tag_drop(db, "e") == HELIOS_NOT_FOUND);
    check_list(db, names, 3);
    MUST(helios_tag_get(db, "b", &branch, &seq));
    assert(branch == 0 && seq == 7);
    MUST(helios_tag_get(db, "c", &branch, &seq));
    assert(seq == first);
    MUST(helios_tag_get(db, "d", &branch, &seq));
    assert(seq == HELIOS_SEQ_NONE);
    MUST(helios_tag_list(db, &list, &n));
    assert(list[1].time == (uint64_t)(START + 5) * 1000000 && list[2].at == HELIOS_SEQ_NONE);
    helios_free(list);
    put_round(db, 2);
    assert(read_tag(db, "c", 1) == HELIOS_OK);
    /* Durable: by a close, by a crash that drops what was not synced, through tables. */
    MUST(helios_close(db));
    db = open_db();
    check_list(db, names, 3);
    MUST(helios_tag_drop(db, "b"));
    db = kill_and_reopen(db, IO_DAMAGE_DROP_ALL);
    check_list(db, names + 1, 2);
    compact_all(db);
    MUST(helios_tag_create(db, "b", 0, 0));
    db = kill_and_reopen(db, IO_DAMAGE_DROP_ALL);
    check_list(db, names, 3);
    MUST(helios_tag_list(db, &list, &n));
    assert(list[1].time == (uint64_t)(START + 5) * 1000000);
    helios_free(list);
    MUST(helios_close(db));
    /* Read-only: they are there, and stay as they are. */
    options.read_only = true;
    db = open_db();
    check_list(db, names, 3);
    assert(helios_tag_create(db, "x", 0, 0) == HELIOS_READ_ONLY);
    assert(helios_tag_drop(db, "b") == HELIOS_READ_ONLY);
    assert(helios_set_history_retention(db, 0) == HELIOS_READ_ONLY);
    assert(read_tag(db, "c", 1) == HELIOS_OK);
    MUST(helios_close(db));
    options.read_only = false;
}

/* ---- what a tag keeps ---- */

static void test_keeps(void)
{
    helios_read_options o = HELIOS_READ_OPTIONS_INIT;
    helios_snapshot *snapshot;
    helios_iter *it;
    helios_branch_id branch;
    helios_seq one, two;
    helios_db *db;

    fresh(0);
    db = open_db();
    put_round(db, 1);
    MUST(helios_tag_create(db, "one", 0, 0));
    put_round(db, 2);
    two = helios_latest(db);
    put_round(db, 3);
    compact_all(db);
    MUST(helios_tag_get(db, "one", &branch, &one));
    assert(helios_horizon(db) > two);
    assert(read_tag(db, "one", 1) == HELIOS_OK);
    assert(read_at(db, two, 2) == HELIOS_HISTORY_GONE);
    assert(read_at(db, one - 1, 1) == HELIOS_HISTORY_GONE);
    assert(read_at(db, 0, 3) == HELIOS_OK);
    /* Another tag beside it; a snapshot is of all branches, and stands only on another. */
    assert(helios_snapshot_new(db, one, &snapshot) == HELIOS_HISTORY_GONE);
    assert(helios_tag_create(db, "two", 0, two) == HELIOS_HISTORY_GONE);
    MUST(helios_tag_create(db, "again", 0, one));
    MUST(helios_tag_drop(db, "one"));
    put_round(db, 4);
    compact_all(db);
    assert(read_tag(db, "again", 1) == HELIOS_OK);
    for (int round = 0; round < 4; round++) {
        db = round % 2 ? kill_and_reopen(db, IO_DAMAGE_KEEP_ALL) : db;
        if (round % 2 == 0) {
            MUST(helios_close(db));
            db = open_db();
        }
        put_round(db, 5);
        compact_all(db);
        assert(read_tag(db, "again", 1) == HELIOS_OK && read_at(db, 0, 5) == HELIOS_OK);
    }
    /* What reads there goes on after the drop; then it is gone. */
    o.at = one;
    MUST(helios_iter_new(db, &o, &it));
    MUST(helios_tag_drop(db, "again"));
    put_round(db, 6);
    compact_all(db);
    helios_iter_first(it);
    for (unsigned key = 0; key < KEYS; key++, helios_iter_next(it))
        assert(helios_iter_valid(it) && strncmp(helios_iter_value(it).data, "round 1 ", 8) == 0);
    assert(!helios_iter_valid(it) && helios_iter_status(it) == HELIOS_OK);
    helios_iter_free(it);
    assert(read_at(db, one, 1) == HELIOS_HISTORY_GONE);
    assert(helios_tag_create(db, "late", 0, one) == HELIOS_HISTORY_GONE);
    compact_all(db);
    MUST(helios_close(db));
}

/* A tag goes along with a checkpoint. */
static void test_checkpoint(void)
{
    helios_db *db, *copy = NULL;

    fresh(0);
    db = open_db();
    put_round(db, 1);
    MUST(helios_tag_create(db, "one", 0, 0));
    put_round(db, 2);
    MUST(helios_checkpoint(db, "/copy"));
    MUST(helios_tag_drop(db, "one"));
    MUST(engine_open(fs, "/copy", &options, &copy));
    put_round(copy, 3);
    compact_all(copy);
    assert(read_tag(copy, "one", 1) == HELIOS_OK && read_tag(db, "one", 1) == HELIOS_NOT_FOUND);
    MUST(helios_close(copy));
    MUST(helios_close(db));
}

/* With each allocation failing once the tag is there as a whole or not at all, and the next try makes it. */
static void test_no_memory(void)
{
    helios_db *db;
    helios_status status = HELIOS_NO_MEMORY;
    helios_branch_id branch;
    helios_seq seq;

    fresh(0);
    db = open_db();
    put_round(db, 1);
    mem_fail_thread_only(true);
    for (uint64_t n = 1; status != HELIOS_OK; n++) {
        assert(n < 1000);
        mem_fail_at(n, false);
        status = helios_tag_create(db, "one", 0, 0);
        mem_fail_at(0, false);
        assert(status == HELIOS_OK || status == HELIOS_NO_MEMORY);
        assert(helios_tag_get(db, "one", &branch, &seq) ==
               (status == HELIOS_OK ? HELIOS_OK : HELIOS_NOT_FOUND));
    }
    status = HELIOS_NO_MEMORY;
    for (uint64_t n = 1; status != HELIOS_OK; n++) {
        helios_pin_info *pins = NULL;
        size_t count;

        mem_fail_at(n, false);
        status = helios_pin_list(db, &pins, &count);
        mem_fail_at(0, false);
        assert(status == HELIOS_NO_MEMORY || (status == HELIOS_OK && count == 1));
        helios_free(pins);
    }
    mem_fail_thread_only(false);
    MUST(helios_close(db));
    db = open_db();
    assert(read_tag(db, "one", 1) == HELIOS_OK);
    MUST(helios_close(db));
}

/* The sync of its commit fails: the tag may be there or not at the next open, but if it is, so is what it names. */
static void test_failed_sync(void)
{
    for (int drop = 0; drop < 2; drop++) {
        const struct io_fault fault = {
            .fail_at = 1, .forever = true, .mask = 1u << IO_CALL_SYNC, .error_number = 5};
        helios_status status;
        helios_db *db;

        fresh(0);
        db = open_db();
        put_round(db, 1);
        if (drop)
            MUST(helios_tag_create(db, "one", 0, 0));
        io_faulty_plan(fs, &fault);
        status = drop ? helios_tag_drop(db, "one") : helios_tag_create(db, "one", 0, 0);
        assert(status == HELIOS_IO);
        assert(helios_tag_drop(db, "one") == HELIOS_READ_ONLY);
        io_faulty_plan(fs, NULL);
        db = kill_and_reopen(db, drop ? IO_DAMAGE_KEEP_ALL : IO_DAMAGE_DROP_ALL);
        assert(read_tag(db, "one", 1) == HELIOS_NOT_FOUND);
        MUST(helios_close(db));
    }
}

/* ---- the list of pins ---- */

static void test_pin_list(void)
{
    helios_snapshot *snapshots[2];
    helios_iter *it = NULL;
    helios_pin_info *pins = NULL;
    helios_seq first, seq;
    helios_db *db;
    char thread[32];
    pin_id floor;
    size_t n;

    snprintf(thread, sizeof(thread), "thread %u", thread_id());
    fresh(HELIOS_FOREVER);
    db = open_db();
    MUST(helios_pin_list(db, &pins, &n));
    assert(n == 0);
    helios_free(pins);
    put(db, 1, 1);
    first = helios_latest(db);
    MUST(helios_snapshot_new(db, HELIOS_SEQ_NONE, &snapshots[0])); /* nothing to pin */
    MUST(helios_iter_new(db, NULL, &it));
    io_faulty_advance(fs, 60000000);
    MUST(helios_snapshot_new(db, first, &snapshots[1]));
    io_faulty_advance(fs, 60000000);
    MUST(helios_tag_create(db, "a tag", 0, first));
    put(db, 2, 2);
    MUST(floor_acquire_latest(db, HELIOS_PIN_TRANSACTION, &floor, &seq));
    MUST(helios_pin_list(db, &pins, &n));
    assert(n == 4);
    for (size_t i = 0; i < n; i++) {
        static const helios_pin_kind kinds[] = {HELIOS_PIN_ITERATOR, HELIOS_PIN_SNAPSHOT, HELIOS_PIN_TAG,
                                                HELIOS_PIN_TRANSACTION};
        uint64_t since = (uint64_t)(START + 60 * (i < 2 ? i : 2)) * 1000000;

        assert(pins[i].kind == kinds[i] && pins[i].branch == 0);
        assert(pins[i].at == (i < 3 ? first : helios_latest(db)));
        assert(strcmp(pins[i].owner, i == 2 ? "a tag" : thread) == 0);
        assert(pins[i].since <= since && since - pins[i].since < 8192);
        assert(pins[i].from_on == (i == 3));
    }
    helios_free(pins);
    pins_release(db->floors, floor);
    helios_iter_free(it);
    helios_snapshot_free(db, snapshots[0]);
    helios_snapshot_free(db, snapshots[1]);
    MUST(helios_tag_drop(db, "a tag"));
    MUST(helios_pin_list(db, &pins, &n));
    assert(n == 0);
    helios_free(pins);
    MUST(helios_close(db));
}

/* What branches hold is listed under their names, and goes with them. */
static void test_pins_of_branches(void)
{
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    helios_merge_result merged;
    helios_pin_info *pins;
    helios_branch_id branch;
    helios_seq fork;
    helios_db *db;
    size_t n;

    fresh(HELIOS_FOREVER);
    db = open_db();
    put(db, 1, 1);
    fork = helios_latest(db);
    MUST(helios_branch_create(db, "a branch", 0, 0, &branch));
    write.branch = branch;
    MUST(helios_put(db, &write, slice_make("k", 1), slice_make("v", 1)));
    MUST(helios_branch_merge(db, branch, 0, NULL, &merged));
    MUST(helios_pin_list(db, &pins, &n));
    assert(n == 2); /* the fork on main, and the merge's base-to-be on the branch */
    assert(pins[0].kind == HELIOS_PIN_BRANCH && pins[0].branch == 0 && pins[0].at == fork);
    assert(strcmp(pins[0].owner, "a branch") == 0);
    assert(pins[1].kind == HELIOS_PIN_BRANCH && pins[1].branch == branch && pins[1].at < merged.commit);
    assert(strcmp(pins[1].owner, "main") == 0);
    helios_free(pins);
    MUST(helios_branch_drop(db, branch));
    MUST(helios_pin_list(db, &pins, &n));
    assert(n == 0);
    helios_free(pins);
    MUST(helios_close(db));
}

static double nanoseconds(struct timespec since, int count)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return ((double)(now.tv_sec - since.tv_sec) * 1e9 + (double)(now.tv_nsec - since.tv_nsec)) / count;
}

static void test_many_snapshots(void)
{
    enum { MANY = 1000000 };
    helios_options memory = HELIOS_OPTIONS_INIT;
    helios_snapshot **snapshots = calloc(MANY, sizeof(*snapshots));
    helios_pin_info *pins;
    struct timespec begin;
    helios_db *db;
    size_t n;

    assert(snapshots);
    memory.in_memory = true;
    MUST(helios_open("many", &memory, &db));
    put(db, 1, 1);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    for (int i = 0; i < MANY; i++) {
        MUST(helios_snapshot_new(db, 0, &snapshots[0]));
        helios_snapshot_free(db, snapshots[0]);
    }
    printf("a snapshot, made and freed: %.0f ns\n", nanoseconds(begin, MANY));
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    for (int i = 0; i < MANY; i++)
        MUST(helios_snapshot_new(db, 0, &snapshots[i]));
    printf("a snapshot, a million live: %.0f ns\n", nanoseconds(begin, MANY));
    MUST(helios_pin_list(db, &pins, &n));
    assert(n == MANY);
    helios_free(pins);
    put(db, 1, 2);
    compact_all(db);
    for (int i = 0; i < MANY; i++)
        helios_snapshot_free(db, snapshots[i]);
    MUST(helios_close(db));
    free(snapshots);
}

int main(void)
{
    test_calls();
    test_keeps();
    test_checkpoint();
    test_no_memory();
    test_failed_sync();
    test_pin_list();
    test_pins_of_branches();
    test_many_snapshots();
    io_free(fs);
    return 0;
}
