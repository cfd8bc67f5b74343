/* test_branch_defects.c - what other implementations of branches got wrong, each defect by its number and name: here it
 * must not happen. Then what those implementations' own tests ask for, and what a merge has to be.
 * Those about rows, unique indexes, views and dictionaries are to come with tables: B06 (unique checks and primary keys
 * on branches), B18 (tables that were dropped on main), B28 (views of main changed by branches), B30 (dictionaries and
 * columns on branches). */
#undef NDEBUG
#include "engine/engine_internal.h"
#include "engine/identity.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define HOUR  ((uint64_t)3600 * 1000000)
#define START ((uint64_t)1700000000 * 1000000)

static struct io_fs *fs;
static helios_db *db;
static helios_options options;

/* ---- a few words for many tests ---- */

static void must_at(int line, helios_status got, helios_status wanted, const char *what)
{
    if (got == wanted)
        return;
    fprintf(stderr, "line %d: %s: %s, not %s: %s\n", line, what, helios_status_name(got),
            helios_status_name(wanted), helios_last_error());
    abort();
}
#define MUST(call)            must_at(__LINE__, (call), HELIOS_OK, #call)
#define ANSWERS(call, status) must_at(__LINE__, (call), status, #call)

static helios_slice text(const char *s)
{
    return slice_make(s, strlen(s));
}

static void open_again(void)
{
    MUST(engine_open(fs, "/db", &options, &db));
}

static void begin(void)
{
    options = (helios_options)HELIOS_OPTIONS_INIT;
    options.memtable_bytes = 64 << 10;
    options.history_retention = HELIOS_FOREVER;
    MUST(io_faulty_new(1, &fs));
    io_faulty_set_time(fs, START, 1000000);
    open_again();
}

static void end(void)
{
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_close(db));
    io_free(fs);
}

static void reopen(void)
{
    MUST(helios_close(db));
    open_again();
}

static helios_branch_id fork_at(const char *name, helios_branch_id parent, helios_seq at)
{
    helios_branch_id id = 0;

    MUST(helios_branch_create(db, name, parent, at, &id));
    return id;
}

static helios_branch_id fork_now(const char *name, helios_branch_id parent)
{
    return fork_at(name, parent, 0);
}

static helios_status try_put(helios_branch_id branch, const char *key, const char *value)
{
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;

    write.branch = branch;
    return value ? helios_put(db, &write, text(key), text(value)) : helios_delete(db, &write, text(key));
}

/* value NULL: deletes. The commit. */
static helios_seq put(helios_branch_id branch, const char *key, const char *value)
{
    MUST(try_put(branch, key, value));
    return helios_latest(db);
}

static void put_range_away(helios_branch_id branch, const char *from, const char *to)
{
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;

    write.branch = branch;
    MUST(helios_delete_range(db, &write, text(from), text(to)));
}

static helios_status get_status(helios_branch_id branch, helios_seq at, const char *key)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_buf value = {0};
    helios_status status;

    read.branch = branch;
    read.at = at;
    status = helios_get(db, &read, text(key), &value);
    helios_buf_free(&value);
    return status;
}

static void shows_at_line(int line, helios_branch_id branch, helios_seq at, const char *key, const char *value)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_buf got = {0};
    helios_status status;

    read.branch = branch;
    read.at = at;
    status = helios_get(db, &read, text(key), &got);
    if (status != (value ? HELIOS_OK : HELIOS_NOT_FOUND) ||
        (value && !slice_equal(buf_slice(&got), text(value)))) {
        fprintf(stderr, "line %d: %s on branch %u at %" PRIu64 " is %s \"%.*s\", not %s\n", line, key, branch,
                at, helios_status_name(status), (int)got.size, got.size ? got.data : "",
                value ? value : "absent");
        abort();
    }
    helios_buf_free(&got);
}
/* value NULL: absent. */
#define SHOWS(branch, key, value)      shows_at_line(__LINE__, branch, 0, key, value)
#define SHOWED(branch, at, key, value) shows_at_line(__LINE__, branch, at, key, value)

/* All that a walk shows, as "key=value " in order. */
static const char *walk(helios_branch_id branch, bool backward)
{
    static char out[4096];
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    size_t used = 0;
    helios_iter *it;

    read.branch = branch;
    MUST(helios_iter_new(db, &read, &it));
    out[0] = 0;
    for (backward ? helios_iter_last(it) : helios_iter_first(it); helios_iter_valid(it);
         backward ? helios_iter_prev(it) : helios_iter_next(it)) {
        helios_slice key = helios_iter_key(it), value = helios_iter_value(it);

        used += (size_t)snprintf(out + used, sizeof(out) - used, "%.*s=%.*s ", (int)key.size,
                                 (const char *)key.data, (int)value.size, (const char *)value.data);
        assert(used < sizeof(out));
    }
    MUST(helios_iter_status(it));
    helios_iter_free(it);
    return out;
}

static helios_merge_result merged(helios_branch_id source, helios_branch_id target,
                                  helios_merge_strategy strategy)
{
    helios_merge_options merge = HELIOS_MERGE_OPTIONS_INIT;
    helios_merge_result result;

    merge.strategy = strategy;
    MUST(helios_branch_merge(db, source, target, &merge, &result));
    return result;
}

static helios_merge_result merged_and_closed(helios_branch_id source, helios_branch_id target)
{
    helios_merge_options merge = HELIOS_MERGE_OPTIONS_INIT;
    helios_merge_result result;

    merge.close_source = true;
    MUST(helios_branch_merge(db, source, target, &merge, &result));
    return result;
}

static helios_branch_state state(helios_branch_id branch)
{
    helios_branch_info *info;
    helios_branch_state state;

    MUST(helios_branch_get(db, branch, &info));
    state = info->state;
    helios_free(info);
    return state;
}

static size_t branches_listed(void)
{
    helios_branch_info *list;
    size_t n;

    MUST(helios_branch_list(db, &list, &n));
    helios_free(list);
    return n;
}

static uint64_t stat(const char *name)
{
    uint64_t value = 0;

    MUST(helios_stat(db, name, &value));
    return value;
}

static void compact(void)
{
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
}

/* ---- forks and reads ---- */

/* Reads used the latest main and ancestors: later writes to the parent leaked into children. */
static void b01_frozen_fork(void)
{
    helios_branch_id dev, past;
    helios_seq first;

    first = put(0, "a", "1");
    put(0, "b", "1");
    dev = fork_now("dev", 0);
    put(0, "a", "2");
    put(0, "b", NULL);
    put(0, "c", "2");
    past = fork_at("past", 0, first);
    for (int round = 0; round < 2; round++) {
        SHOWS(dev, "a", "1");
        SHOWS(dev, "b", "1");
        SHOWS(dev, "c", NULL);
        SHOWS(past, "a", "1");
        SHOWS(past, "b", NULL);
        put_range_away(0, "a", "z"); /* hides nothing of theirs either */
        compact();
        reopen();
    }
    assert(strcmp(walk(dev, false), "a=1 b=1 ") == 0);
    assert(strcmp(walk(past, false), "a=1 ") == 0);
}

/* Deletion marks of the whole chain were applied after all data: what was deleted once stayed hidden. */
static void b02_newest_wins(void)
{
    helios_branch_id dev, feature;

    put(0, "a", "main");
    put(0, "b", "main");
    dev = fork_now("dev", 0);
    put(dev, "a", NULL);
    put(dev, "b", NULL);
    feature = fork_now("feature", dev);
    put(dev, "a", "again");
    put(feature, "b", "child");
    SHOWS(dev, "a", "again");
    SHOWS(dev, "b", NULL);
    SHOWS(feature, "a", NULL);
    SHOWS(feature, "b", "child");
    put_range_away(feature, "a", "z");
    put(feature, "a", "third");
    MUST(helios_flush(db));
    SHOWS(feature, "a", "third");
    SHOWS(feature, "b", NULL);
    assert(strcmp(walk(feature, true), "a=third ") == 0);
    assert(strcmp(walk(0, true), "b=main a=main ") == 0);
}

/* Point reads on a branch looked only at the branch's own keys. */
static void b03_inherited_by_key(void)
{
    char name[16];
    helios_branch_id branch = 0;

    put(0, "root", "0");
    for (int depth = 1; depth <= 12; depth++) {
        sprintf(name, "depth %d", depth);
        branch = fork_now(name, branch);
        put(branch, name, "own");
        if (depth % 4 == 0)
            MUST(helios_flush(db));
    }
    SHOWS(branch, "root", "0");
    SHOWS(branch, "depth 1", "own");
    SHOWS(branch, "depth 7", "own");
    SHOWS(branch, "depth 12", "own");
    SHOWS(1, "depth 2", NULL);
}

/* The row cache's key had no branch: main's row was served on a branch and the other way round. */
static void b04_cache_knows_branches(void)
{
    helios_branch_id dev;

    put(0, "a", "main");
    dev = fork_now("dev", 0);
    put(dev, "a", "dev");
    MUST(helios_flush(db));
    for (int round = 0; round < 3; round++) { /* cold, then out of the cache, after a write and a flush again */
        SHOWS(0, "a", "main");
        SHOWS(dev, "a", "dev");
        SHOWS(0, "a", "main");
        if (round == 1) {
            put(dev, "b", "dev");
            compact();
        }
    }
    put(dev, "a", "newer");
    SHOWS(0, "a", "main");
    SHOWS(dev, "a", "newer");
}

static void txn_sees(helios_branch_id branch, const char *key, const char *value, size_t keys)
{
    helios_txn_options begin = HELIOS_TXN_OPTIONS_INIT;
    helios_buf got = {0};
    helios_txn *txn;
    helios_iter *it;

    begin.branch = branch;
    MUST(helios_txn_begin(db, &begin, &txn));
    MUST(helios_txn_get(txn, text(key), &got));
    assert(slice_equal(buf_slice(&got), text(value)));
    MUST(helios_txn_iter(txn, NULL, &it));
    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it))
        keys--;
    assert(keys == 0);
    helios_iter_free(it);
    helios_txn_free(txn);
    helios_buf_free(&got);
}

/* Fast paths, scans, counts and filters read and wrote main whatever branch was in use. */
static void b05_every_call_honours_the_branch(void)
{
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_batch *batch = helios_batch_new();
    helios_slice keys[2] = {text("a"), text("b")};
    helios_buf values[2] = {0};
    helios_status each[2];
    helios_branch_id dev;

    put(0, "a", "main");
    put(0, "b", "main");
    put(0, "c", "main");
    dev = fork_now("dev", 0);
    put(dev, "a", "dev");
    helios_batch_put(batch, text("d"), text("dev"));
    helios_batch_delete(batch, text("b"));
    write.branch = read.branch = dev;
    MUST(helios_write(db, &write, batch, NULL));
    helios_batch_free(batch);
    put_range_away(dev, "c", "cc");
    assert(strcmp(walk(dev, false), "a=dev d=dev ") == 0);
    assert(strcmp(walk(dev, true), "d=dev a=dev ") == 0);
    assert(strcmp(walk(0, false), "a=main b=main c=main ") == 0);
    MUST(helios_multi_get(db, &read, 2, keys, values, each));
    assert(each[0] == HELIOS_OK && slice_equal(buf_slice(&values[0]), text("dev")));
    assert(each[1] == HELIOS_NOT_FOUND);
    txn_sees(dev, "a", "dev", 2);
    txn_sees(0, "a", "main", 3);
    helios_buf_free(&values[0]);
    helios_buf_free(&values[1]);
}

static void differs(helios_point from, helios_point to, const char *key, const char *was, const char *is)
{
    helios_difference d;
    helios_diff *diff;

    MUST(helios_diff_new(db, from, to, &diff));
    assert(helios_diff_next(diff, &d));
    assert(slice_equal(d.key, text(key)));
    assert(d.in_from == (was != NULL) && d.in_to == (is != NULL));
    if (was)
        assert(slice_equal(d.from, text(was)));
    if (is)
        assert(slice_equal(d.to, text(is)));
    assert(!helios_diff_next(diff, &d));
    MUST(helios_diff_status(diff));
    helios_diff_free(diff);
}

/* What was there before a change came only from the branch's own layer, or skipped ancestors in between. */
static void b07_before_is_what_was_seen(void)
{
    helios_branch_id dev, feature;
    helios_seq before, update;

    put(0, "a", "main");
    dev = fork_now("dev", 0);
    put(dev, "a", "dev");
    feature = fork_now("feature", dev);
    before = helios_latest(db);
    update = put(feature, "a", "feature");
    differs((helios_point){feature, before}, (helios_point){feature, update}, "a", "dev", "feature");
    put(feature, "a", NULL);
    differs((helios_point){feature, update}, (helios_point){feature, 0}, "a", "feature", NULL);
    differs((helios_point){feature, before}, (helios_point){feature, 0}, "a", "dev", NULL);
    differs((helios_point){0, 0}, (helios_point){dev, 0}, "a", "main", "dev");
}

/* Deletes counted and marked rows that do not exist. */
static void b08_deleting_nothing_is_nothing(void)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_branch_id dev;
    helios_diff_counts counts;
    helios_history *history;
    helios_version version;
    helios_merge_result result;

    put(0, "a", "main");
    dev = fork_now("dev", 0);
    put(dev, "nothing", NULL);
    put_range_away(dev, "b", "z");
    MUST(helios_diff_count(db, (helios_point){0, 0}, (helios_point){dev, 0}, NULL, &counts));
    assert(counts.added + counts.removed + counts.changed == 0);
    read.branch = dev;
    MUST(helios_history_new(db, &read, text("nothing"), &history));
    assert(!helios_history_next(history, &version));
    helios_history_free(history);
    result = merged(dev, 0, HELIOS_MERGE_FAIL);
    assert(result.merged == 0 && result.deleted == 0 && result.conflicts == 0);
}

/* Dropped and merged branches could be used: writes vanished. */
static void b09_closed_is_closed(void)
{
    helios_branch_id dropped = fork_now("dropped", 0), closed = fork_now("closed", 0), id;
    helios_txn_options begin = HELIOS_TXN_OPTIONS_INIT;
    helios_txn *txn;

    put(dropped, "a", "1");
    put(closed, "b", "1");
    MUST(helios_branch_drop(db, dropped));
    (void)merged_and_closed(closed, 0);
    for (int round = 0; round < 2; round++) {
        ANSWERS(try_put(dropped, "a", "2"), HELIOS_NOT_FOUND);
        ANSWERS(get_status(dropped, 0, "a"), HELIOS_NOT_FOUND);
        ANSWERS(helios_branch_find(db, "dropped", &id), HELIOS_NOT_FOUND);
        ANSWERS(try_put(closed, "b", "2"), HELIOS_READ_ONLY);
        ANSWERS(helios_branch_merge(db, 0, closed, NULL, NULL), HELIOS_READ_ONLY);
        SHOWS(closed, "b", "1"); /* it can be read */
        begin.branch = dropped;
        ANSWERS(helios_txn_begin(db, &begin, &txn), HELIOS_NOT_FOUND);
        reopen();
    }
    SHOWS(0, "b", "1");
}

/* Main was 0 here and 1 there. */
static void b10_main_is_zero(void)
{
    helios_branch_info *info;
    helios_branch_id id = 7, dev = fork_now("dev", 0);

    MUST(helios_branch_find(db, "main", &id));
    assert(id == 0);
    assert(dev == 1);
    MUST(helios_branch_get(db, dev, &info));
    assert(info->parent == 0);
    helios_free(info);
    put(0, "a", "main");
    SHOWS(dev, "a", NULL);
}

/* ---- merges ---- */

static helios_resolution take_value(void *arg, const helios_merge_conflict *conflict, helios_buf *value)
{
    (void)conflict;
    MUST(buf_set(value, arg, strlen(arg)));
    return HELIOS_TAKE_VALUE;
}

/* The strategy was ignored, conflicts were always empty. */
static void b11_strategies(void)
{
    static const struct {
        const char *name, *base, *ours, *theirs;
        bool conflict;
        const char *fail, *as_ours, *as_theirs, *as_value; /* the target afterwards; "" here: absent */
    } cases[] = {
        {"both changed", "b", "o", "t", true, "o", "o", "t", "v"},
        {"ours changed, theirs deleted", "b", "o", "", true, "o", "o", "", "v"},
        {"ours deleted, theirs changed", "b", "", "t", true, "", "", "t", "v"},
        {"both to the same", "b", "x", "x", false, "x", "x", "x", "x"},
        {"both deleted", "b", "", "", false, "", "", "", ""},
        {"both made, different", "", "o", "t", true, "o", "o", "t", "v"},
        {"both made, the same", "", "x", "x", false, "x", "x", "x", "x"},
        {"theirs alone", "b", "b", "t", false, "t", "t", "t", "t"},
        {"ours alone", "b", "o", "b", false, "o", "o", "o", "o"},
        {"theirs deleted alone", "b", "b", "", false, "", "", "", ""},
        {"theirs made alone", "", "", "t", false, "t", "t", "t", "t"},
    };
    char name[32];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (helios_merge_strategy s = HELIOS_MERGE_FAIL; s <= HELIOS_MERGE_RESOLVE; s++) {
            const char *after[] = {cases[i].fail, cases[i].as_ours, cases[i].as_theirs, cases[i].as_value};
            helios_merge_options merge = HELIOS_MERGE_OPTIONS_INIT;
            helios_merge_result result = {0};
            helios_branch_id target, source;
            helios_status status;

            put(0, "k", *cases[i].base ? cases[i].base : NULL);
            sprintf(name, "target %zu %d", i, (int)s);
            target = fork_now(name, 0);
            sprintf(name, "source %zu %d", i, (int)s);
            source = fork_now(name, 0);
            put(target, "k", *cases[i].ours ? cases[i].ours : NULL);
            put(source, "k", *cases[i].theirs ? cases[i].theirs : NULL);
            merge.strategy = s;
            merge.resolve = take_value;
            merge.arg = "v";
            status = helios_branch_merge(db, source, target, &merge, &result);
            must_at(__LINE__, status, s == HELIOS_MERGE_FAIL && cases[i].conflict ? HELIOS_CONFLICT : HELIOS_OK,
                    cases[i].name);
            assert(result.conflicts == cases[i].conflict);
            SHOWS(target, "k", *after[s] ? after[s] : NULL);
            SHOWS(source, "k", *cases[i].theirs ? cases[i].theirs : NULL);
            SHOWS(0, "k", *cases[i].base ? cases[i].base : NULL);
        }
}

enum { MANY = 300 };

static void put_many(helios_branch_id branch, char value)
{
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    char key[16], bytes[300];

    write.branch = branch;
    memset(bytes, value, sizeof(bytes));
    for (int i = 0; i < MANY; i++) {
        sprintf(key, "many %03d", i);
        MUST(helios_put(db, &write, text(key), slice_make(bytes, sizeof(bytes))));
    }
}

/* How many there are that begin with the value; all by one commit, if so. */
static int count_many(helios_branch_id branch, char value, bool one_commit)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_seq seq = 0;
    helios_iter *it;
    int count = 0;

    read.branch = branch;
    MUST(helios_iter_new(db, &read, &it));
    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it))
        if (((const char *)helios_iter_value(it).data)[0] == value) {
            assert(!one_commit || seq == 0 || helios_iter_seq(it) == seq);
            seq = helios_iter_seq(it);
            count++;
        }
    MUST(helios_iter_status(it));
    helios_iter_free(it);
    return count;
}

/* A merge was many single writes: a crash left half of one. */
static void b12_a_merge_is_one_commit(void)
{
    helios_branch_id dev;
    bool whole = false;

    put_many(0, 'm');
    dev = fork_now("dev", 0);
    put_many(dev, 'd');
    MUST(helios_sync(db));
    for (uint64_t call = 1; !whole;
         call++) { /* at each call that changes the disk, until one merge is through */
        static const enum io_damage damages[] = {IO_DAMAGE_DROP_ALL, IO_DAMAGE_SECTORS, IO_DAMAGE_KEEP_ALL};
        int count;

        io_faulty_stop_at(fs, call);
        (void)!helios_branch_merge(db, dev, 0, NULL, NULL);
        (void)!helios_close(db);
        io_faulty_power_cut(fs, damages[call % 3], call);
        open_again();
        count = count_many(0, 'd', true);
        assert(count == 0 || count == MANY);
        whole = count == MANY;
        if (whole)
            assert(merged(dev, 0, HELIOS_MERGE_FAIL).commit == 0); /* and it is known to be merged */
    }
}

/* All deletes came after all data: what was deleted and put again was deleted in the target. */
static void b13_deleted_and_put_again(void)
{
    helios_branch_id dev;

    put(0, "a", "1");
    dev = fork_now("dev", 0);
    put(dev, "a", NULL);
    put(dev, "a", "2");
    put(dev, "new", "1");
    put(dev, "new", NULL);
    put(dev, "new", "2");
    (void)merged(dev, 0, HELIOS_MERGE_FAIL);
    SHOWS(0, "a", "2");
    SHOWS(0, "new", "2");
}

/* The target's deletion marks hid what was merged, and the source's were copied over what the target had put again. */
static void b14_marks_do_not_outlive_what_follows(void)
{
    helios_branch_id ours, theirs;

    put(0, "hidden", "1");
    put(0, "again", "1");
    ours = fork_now("ours", 0);
    theirs = fork_now("theirs", 0);
    put_range_away(ours, "a", "z");
    put(ours, "again", "2");
    put(theirs, "hidden", "3");
    put(theirs, "again", NULL);
    assert(merged(theirs, ours, HELIOS_MERGE_OURS).conflicts == 2);
    SHOWS(ours, "hidden", NULL);
    SHOWS(ours, "again", "2");
    put(theirs, "hidden", "4");
    put(theirs, "new", "4");
    (void)merged(theirs, ours, HELIOS_MERGE_THEIRS);
    SHOWS(ours, "hidden", "4"); /* under the range delete, and not hidden */
    SHOWS(ours, "new", "4");
    SHOWS(ours, "again", "2"); /* decided before */
}

/* Main into a branch copied nothing and then closed main. */
static void b15_main_into_a_branch(void)
{
    helios_merge_options close = HELIOS_MERGE_OPTIONS_INIT;
    helios_branch_id dev;

    put(0, "a", "1");
    dev = fork_now("dev", 0);
    put(dev, "own", "1");
    put(0, "a", "2");
    put(0, "b", "2");
    (void)merged(0, dev, HELIOS_MERGE_FAIL);
    SHOWS(dev, "a", "2");
    SHOWS(dev, "b", "2");
    SHOWS(dev, "own", "1");
    SHOWS(0, "own", NULL);
    assert(state(0) == HELIOS_BRANCH_ACTIVE);
    close.close_source = true;
    ANSWERS(helios_branch_merge(db, 0, dev, &close, NULL), HELIOS_INVALID);
    put(0, "c", "3");
    (void)merged(dev, 0, HELIOS_MERGE_FAIL);
    SHOWS(0, "own", "1");
    SHOWS(0, "c", "3");
}

/* Merging a branch into itself was accepted and closed it. */
static void b16_not_into_itself(void)
{
    helios_branch_id dev = fork_now("dev", 0);

    put(dev, "a", "1");
    ANSWERS(helios_branch_merge(db, dev, dev, NULL, NULL), HELIOS_INVALID);
    ANSWERS(helios_branch_merge(db, 0, 0, NULL, NULL), HELIOS_INVALID);
    assert(state(dev) == HELIOS_BRANCH_ACTIVE);
    put(dev, "a", "2");
}

/* Only the source's own layer was merged. */
static void b17_what_ancestors_changed_comes_too(void)
{
    helios_branch_id dev, feature, release;

    put(0, "gone", "1");
    release = fork_now("release", 0);
    dev = fork_now("dev", 0);
    put(dev, "by dev", "1");
    put(dev, "gone", NULL);
    feature = fork_now("feature", dev);
    put(feature, "by feature", "1");
    put(dev, "later", "1");
    (void)merged(feature, release, HELIOS_MERGE_FAIL);
    SHOWS(release, "by dev", "1");
    SHOWS(release, "by feature", "1");
    SHOWS(release, "gone", NULL);
    SHOWS(release, "later", NULL); /* after the fork: not the source's */
}

/* The state was written past a cache: asking by id still said active. */
static void b19_one_owner_of_the_state(void)
{
    helios_branch_id dev = fork_now("dev", 0);
    helios_branch_info *info;
    helios_merge_result result;

    put(dev, "a", "1");
    result = merged_and_closed(dev, 0);
    for (int round = 0; round < 2; round++) {
        MUST(helios_branch_get(db, dev, &info));
        assert(info->state == HELIOS_BRANCH_MERGED);
        assert(info->closed_seq == result.commit);
        helios_free(info);
        reopen();
    }
    MUST(helios_branch_drop(db, dev));
    assert(state(dev) == HELIOS_BRANCH_DROPPED);
}

/* ---- what is dropped ---- */

/* Collecting a branch went on past its prefix: other branches lost their data, or all to the end of the database. */
static void b20_a_drop_takes_its_own_alone(void)
{
    enum { BRANCHES = 300 }; /* beyond 9, 10, 100, 255, 256 */
    char name[16];

    options.history_retention = 0;
    reopen();
    put(0, "k", "main");
    for (unsigned i = 1; i <= BRANCHES; i++) {
        sprintf(name, "b%u", i);
        assert(fork_now(name, 0) == i);
        put(i, "k", name);
        put(i, name, "own");
    }
    for (unsigned i = 1; i <= BRANCHES; i += 3)
        MUST(helios_branch_drop(db, i));
    for (int round = 0; round < 2; round++) {
        compact();
        SHOWS(0, "k", "main");
        for (unsigned i = 1; i <= BRANCHES; i++) {
            sprintf(name, "b%u", i);
            if (i % 3 == 1) {
                ANSWERS(get_status(i, 0, "k"), HELIOS_NOT_FOUND);
                continue;
            }
            SHOWS(i, "k", name);
            SHOWS(i, name, "own");
        }
        reopen();
    }
}

/* Half of the code wrote keys that the other half did not find, or never collected. */
static void b21_all_ways_of_writing_are_one(void)
{
    helios_txn_options begin = HELIOS_TXN_OPTIONS_INIT;
    helios_branch_id dev;
    helios_txn *txn;

    put(0, "a", "main");
    dev = fork_now("dev", 0);
    begin.branch = dev;
    MUST(helios_txn_begin(db, &begin, &txn));
    MUST(helios_txn_put(txn, text("by txn"), text("1")));
    MUST(helios_txn_delete(txn, text("a")));
    MUST(helios_txn_commit(txn, NULL));
    helios_txn_free(txn);
    SHOWS(dev, "by txn", "1");
    SHOWS(dev, "a", NULL);
    put(dev, "by put", "1");
    txn_sees(dev, "by put", "1", 2);
    (void)merged(dev, 0, HELIOS_MERGE_FAIL);
    assert(strcmp(walk(0, false), "by put=1 by txn=1 ") == 0);
}

/* Nothing of a dropped branch stays on disk: 100 keys, then five branches of them. */
static void b21_all_of_a_branch_is_collected(void)
{
    helios_branch_id ids[5];
    uint64_t before;
    char name[16];

    options.history_retention = 0;
    reopen();
    put(0, "a", "main");
    compact();
    before = stat("table.bytes");
    for (int i = 0; i < 5; i++) {
        sprintf(name, "b%d", i);
        ids[i] = fork_now(name, 0);
        put_many(ids[i], 'x');
        put_range_away(ids[i], "many 1", "many 2");
        put(ids[i], "a", NULL);
    }
    compact();
    assert(stat("table.bytes") > before + 5000);
    for (int i = 0; i < 5; i++)
        MUST(helios_branch_drop(db, ids[i]));
    reopen(); /* what is still to be collected survives that */
    compact();
    assert(stat("table.bytes") < before + 5000);
    SHOWS(0, "a", "main");
}

/* Ages were counted in writes: 300 of them were 300 seconds. */
static void b22_ages_are_times(void)
{
    helios_branch_id dev;
    helios_seq first;
    char value[16];

    options.history_retention = HOUR;
    reopen();
    dev = fork_now("dev", 0);
    first = put(dev, "a", "0");
    for (int i = 1; i <= 5000; i++) {
        sprintf(value, "%d", i);
        put(dev, "a", value);
    }
    compact();
    reopen();
    compact();
    SHOWED(dev, first, "a", "0");
    SHOWED(dev, first + 17, "a", "17");
    io_faulty_advance(fs, 2 * HOUR);
    put(dev, "a", "last");
    compact();
    ANSWERS(get_status(dev, first, "a"), HELIOS_HISTORY_GONE);
    SHOWS(dev, "a", "last");
}

/* A dropped child stayed in its parent's list, which then could never be dropped. */
static void b23_a_dropped_child_lets_go(void)
{
    helios_branch_id dev = fork_now("dev", 0), feature = fork_now("feature", dev),
                     other = fork_now("other", dev);

    ANSWERS(helios_branch_drop(db, dev), HELIOS_INVALID);
    MUST(helios_branch_drop(db, feature));
    ANSWERS(helios_branch_drop(db, dev), HELIOS_INVALID);
    reopen();
    MUST(helios_branch_drop(db, other));
    MUST(helios_branch_drop(db, dev));
}

/* Names of dropped branches could not be used again. */
static void b24_names_can_be_given_again(void)
{
    helios_branch_id first = fork_now("dev", 0), second, found;

    put(first, "a", "1");
    MUST(helios_branch_drop(db, first));
    second = fork_now("dev", 0);
    assert(second != first);
    SHOWS(second, "a", NULL);
    reopen();
    MUST(helios_branch_find(db, "dev", &found));
    assert(found == second);
    ANSWERS(helios_branch_create(db, "dev", 0, 0, &found), HELIOS_EXISTS);
}

/* The id was persisted after the branch: a crash in between gave it to another one, with the first one's data. */
static void b25_an_id_is_one_branch(void)
{
    for (uint64_t call = 1; call < 40; call++) {
        helios_branch_id first = 0, second, found = 0;
        char name[32];

        sprintf(name, "first %" PRIu64, call);
        io_faulty_stop_at(fs, call);
        if (helios_branch_create(db, name, 0, 0, &first) == HELIOS_OK)
            (void)!try_put(first, "a", "first");
        (void)!helios_sync(db);
        (void)!helios_close(db);
        io_faulty_power_cut(fs, call % 2 ? IO_DAMAGE_SECTORS : IO_DAMAGE_KEEP_ALL, call);
        open_again();
        sprintf(name, "second %" PRIu64, call);
        second = fork_now(name, 0);
        SHOWS(second, "a", NULL);
        sprintf(name, "first %" PRIu64, call);
        if (helios_branch_find(db, name, &found) == HELIOS_OK) {
            assert(found == first && found != second);
            MUST(helios_branch_drop(db, found));
        }
        MUST(helios_branch_drop(db, second));
        MUST(helios_sync(db));
    }
}

/* A delete in a transaction on a branch took only the branch's own key away: the parent's showed again. */
static void b26_a_delete_hides_the_inherited(void)
{
    helios_txn_options begin = HELIOS_TXN_OPTIONS_INIT;
    helios_branch_id dev;
    helios_buf value = {0};
    helios_txn *txn;

    put(0, "a", "main");
    put(0, "b", "main");
    dev = fork_now("dev", 0);
    put(dev, "a", "dev");
    begin.branch = dev;
    MUST(helios_txn_begin(db, &begin, &txn));
    MUST(helios_txn_delete(txn, text("a")));
    MUST(helios_txn_delete_range(txn, text("b"), text("c")));
    ANSWERS(helios_txn_get(txn, text("a"), &value), HELIOS_NOT_FOUND);
    ANSWERS(helios_txn_get(txn, text("b"), &value), HELIOS_NOT_FOUND);
    MUST(helios_txn_commit(txn, NULL));
    helios_txn_free(txn);
    for (int round = 0; round < 2; round++) {
        SHOWS(dev, "a", NULL);
        SHOWS(dev, "b", NULL);
        SHOWS(0, "a", "main");
        compact();
    }
}

/* A merge took the next key's value for one it did not find, ignored the fork, and went past the branch. */
static void b27_each_key_its_own_value(void)
{
    helios_branch_id dev, next;
    helios_merge_result result;

    put(0, "a", "main");
    put(0, "ab", "main");
    put(0, "b", "main");
    dev = fork_now("dev", 0);
    next = fork_now("next", 0);
    put(dev, "a", NULL);
    put(dev, "aa", "dev");
    put(dev, "b", "dev");
    put(dev, "b", "main"); /* as it was: no change */
    put(next, "ab", "next");
    put(next, "zz", "next");
    put(0, "b", "newer");
    result = merged(dev, 0, HELIOS_MERGE_FAIL);
    assert(result.merged == 1 && result.deleted == 1 && result.conflicts == 0);
    assert(strcmp(walk(0, false), "aa=dev ab=main b=newer ") == 0);
    result = merged(next, 0, HELIOS_MERGE_FAIL);
    assert(result.merged == 2);
    assert(strcmp(walk(0, false), "aa=dev ab=next b=newer zz=next ") == 0);
}

/* Each key built on a branch read and decoded its record, and scans sorted whole tables. */
static void b29_a_branch_costs_its_record(void)
{
    enum { BRANCHES = 500 };
    char name[32];
    uint64_t before;

    put_many(0, 'm');
    compact();
    before = stat("log.written.bytes");
    for (unsigned i = 0; i < BRANCHES; i++) {
        sprintf(name, "branch %u", i);
        (void)fork_now(name, i % 100);
    }
    assert((stat("log.written.bytes") - before) / BRANCHES < 400);
    before = stat("cache.misses");
    assert(count_many(BRANCHES, 'm', false) == MANY);
    assert(stat("cache.misses") - before < 200); /* what main has, not that times the branches */
}

/* A fork point was taken unchecked. */
static void b31_fork_points_are_checked(void)
{
    helios_branch_id id;
    helios_seq early, latest;

    early = put(0, "a", "1");
    latest = put(0, "a", "2");
    ANSWERS(helios_branch_create(db, "future", 0, latest + 1, &id), HELIOS_INVALID);
    ANSWERS(helios_branch_create(db, "orphan", 77, 0, &id), HELIOS_NOT_FOUND);
    MUST(helios_set_history_retention(db, 0));
    put(0, "a", "3");
    compact();
    assert(helios_horizon(db) > early);
    ANSWERS(helios_branch_create(db, "past", 0, early, &id), HELIOS_HISTORY_GONE);
    assert(branches_listed() == 1);
    SHOWS(fork_at("empty", 0, HELIOS_SEQ_NONE), "a", NULL);
}

/* Figures of a branch and the base of a merge were never kept. */
static void b32_figures_are_kept(void)
{
    helios_branch_usage usage;
    helios_merge_info *list;
    helios_branch_id dev, feature;
    helios_seq fork, write;
    helios_merge_result result;
    size_t n;

    fork = put(0, "a", "main");
    dev = fork_now("dev", 0);
    feature = fork_now("feature", dev);
    MUST(helios_branch_usage_get(db, dev, &usage));
    assert(usage.entries == 0 && usage.last_write == 0 && usage.children == 1);
    put(dev, "a", "dev");
    write = put(dev, "b", "dev");
    MUST(helios_branch_usage_get(db, dev, &usage));
    assert(usage.entries > 0 && usage.bytes > 0 && usage.last_write == write);
    result = merged(dev, 0, HELIOS_MERGE_FAIL);
    for (int round = 0; round < 2; round++) {
        MUST(helios_branch_merges(db, 0, &list, &n));
        assert(n == 1 && list[0].commit == result.commit && list[0].source.branch == dev);
        assert(list[0].source.at >= write && list[0].source.at < result.commit);
        assert(list[0].base.branch == 0 && list[0].base.at == fork);
        helios_free(list);
        reopen();
    }
    MUST(helios_branch_drop(db, feature));
}

/* ---- what the other implementations' own tests ask for ---- */

static void acceptance_life_of_branches(void)
{
    helios_branch_id dev, staging, feature;
    helios_branch_info *info;

    dev = fork_now("dev", 0);
    assert(dev >= 1 && state(dev) == HELIOS_BRANCH_ACTIVE);
    staging = fork_now("staging", 0);
    assert(branches_listed() == 3);
    feature = fork_now("feature", dev);
    MUST(helios_branch_get(db, feature, &info)); /* the chain: dev, main */
    assert(info->parent == dev);
    helios_free(info);
    MUST(helios_branch_get(db, dev, &info));
    assert(info->parent == 0);
    helios_free(info);
    ANSWERS(helios_branch_drop(db, 0), HELIOS_INVALID);
    ANSWERS(helios_branch_drop(db, dev), HELIOS_INVALID);
    MUST(helios_branch_drop(db, staging));
    assert(state(staging) == HELIOS_BRANCH_DROPPED);
    ANSWERS(helios_branch_merge(db, staging, 0, NULL, NULL), HELIOS_NOT_FOUND);
    ANSWERS(helios_branch_merge(db, 0, staging, NULL, NULL), HELIOS_NOT_FOUND);
}

static void acceptance_merges(void)
{
    helios_branch_id a, b;
    helios_merge_result result;
    helios_seq fork = put(0, "k", "1");

    a = fork_now("a", 0);
    b = fork_at("b", 0, fork);
    for (helios_merge_strategy s = HELIOS_MERGE_FAIL; s <= HELIOS_MERGE_THEIRS;
         s++) { /* nothing on either side */
        result = merged(a, b, s);
        assert(result.conflicts == 0 && result.merged == 0 && result.deleted == 0);
    }
    put(a, "by a", "1");
    result = merged(a, b, HELIOS_MERGE_FAIL); /* without conflicts it needs no strategy */
    assert(result.merged == 1);
    SHOWS(b, "by a", "1");
    assert(merged(a, b, HELIOS_MERGE_FAIL).commit == 0);
    result = merged_and_closed(b, 0);
    assert(result.merged == 1 && result.base.branch == 0);
    assert(state(b) == HELIOS_BRANCH_MERGED);
}

static void merged_value(size_t size, size_t metadata)
{
    static char bytes[300 << 10];
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    helios_buf got = {0};
    char name[32];

    memset(bytes, 'v', sizeof(bytes));
    sprintf(name, "%zu %zu target", size, metadata);
    read.branch = fork_now(name, 0);
    sprintf(name, "%zu %zu source", size, metadata);
    write.branch = fork_now(name, 0);
    MUST(helios_branch_set_metadata(db, write.branch, slice_make(bytes, metadata)));
    MUST(helios_put(db, &write, text("k"), slice_make(bytes, size)));
    assert(merged_and_closed(write.branch, read.branch).merged == 1);
    for (int round = 0; round < 2; round++) {
        MUST(helios_get(db, &read, text("k"), &got));
        assert(got.size == size);
        assert(state(write.branch) == HELIOS_BRANCH_MERGED);
        MUST(helios_branch_metadata(db, write.branch, &got));
        assert(got.size == metadata);
        reopen();
    }
    helios_buf_free(&got);
}

/* Few keys and much in them, in the values or in what a merge writes beside. */
static void merges_of_large_things(void)
{
    merged_value(1, 0);
    merged_value(20 << 10, 0);
    merged_value(40 << 10, 0); /* more than goes through the memtable */
    merged_value(300 << 10, 0);
    merged_value(1, 20 << 10);
    merged_value(1, 64 << 10);
    merged_value(20 << 10, 20 << 10);
}

/* Two of the same fork: the base is the fork. */
static void acceptance_base_of_siblings(void)
{
    helios_seq fork = put(0, "k", "1");
    helios_branch_id a = fork_at("a", 0, fork), b = fork_at("b", 0, fork);
    helios_merge_result result;

    put(a, "a", "1");
    put(b, "b", "1");
    put(0, "k", "2");
    result = merged(a, b, HELIOS_MERGE_FAIL);
    assert(result.base.branch == 0 && result.base.at == fork);
    SHOWS(b, "k", "1");
}

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {
#define TEST(name)                                                                                             \
    {                                                                                                          \
#name, name                                                                                            \
    }
    TEST(b01_frozen_fork),
    TEST(b02_newest_wins),
    TEST(b03_inherited_by_key),
    TEST(b04_cache_knows_branches),
    TEST(b05_every_call_honours_the_branch),
    TEST(b07_before_is_what_was_seen),
    TEST(b08_deleting_nothing_is_nothing),
    TEST(b09_closed_is_closed),
    TEST(b10_main_is_zero),
    TEST(b11_strategies),
    TEST(b12_a_merge_is_one_commit),
    TEST(b13_deleted_and_put_again),
    TEST(b14_marks_do_not_outlive_what_follows),
    TEST(b15_main_into_a_branch),
    TEST(b16_not_into_itself),
    TEST(b17_what_ancestors_changed_comes_too),
    TEST(b19_one_owner_of_the_state),
    TEST(b20_a_drop_takes_its_own_alone),
    TEST(b21_all_ways_of_writing_are_one),
    TEST(b21_all_of_a_branch_is_collected),
    TEST(b22_ages_are_times),
    TEST(b23_a_dropped_child_lets_go),
    TEST(b24_names_can_be_given_again),
    TEST(b25_an_id_is_one_branch),
    TEST(b26_a_delete_hides_the_inherited),
    TEST(b27_each_key_its_own_value),
    TEST(b29_a_branch_costs_its_record),
    TEST(b31_fork_points_are_checked),
    TEST(b32_figures_are_kept),
    TEST(acceptance_life_of_branches),
    TEST(acceptance_merges),
    TEST(merges_of_large_things),
    TEST(acceptance_base_of_siblings),
};

/* test_branch_defects [NAME]: all, or one. */
int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        if (argc > 1 && strcmp(argv[1], tests[i].name) != 0)
            continue;
        printf("%s\n", tests[i].name);
        fflush(stdout);
        begin();
        tests[i].run();
        end();
    }
    return 0;
}
