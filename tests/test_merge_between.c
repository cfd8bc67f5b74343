/* test_merge_between.c - what is written to the target while it is merged into: the merge has to be what it would have been
 * on what the target shows just before its commit.
 *
 * A merge asks for the time, for its record, between the choice of its point, which it pins, and its walk: there the test
 * writes. */
#undef NDEBUG
#include "engine/engine_internal.h"
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t __real_io_time(struct io_fs *);
uint64_t __wrap_io_time(struct io_fs *);

static helios_db *db;
static _Thread_local void (*when_pinned)(void); /* what happens then; once */

static bool merge_has_point(void)
{
    helios_pin_info *list = NULL;
    size_t n = 0;
    bool has = false;

    if (helios_pin_list(db, &list, &n) != HELIOS_OK)
        abort();
    for (size_t i = 0; i < n; i++)
        has |= list[i].kind == HELIOS_PIN_ITERATOR;
    helios_free(list);
    return has;
}

uint64_t __wrap_io_time(struct io_fs *fs)
{
    void (*happens)(void) = when_pinned;

    when_pinned = NULL;
    if (happens && merge_has_point())
        happens();
    else
        when_pinned = happens;
    return __real_io_time(fs);
}

#define MUST(call) must_at(__LINE__, (call), #call)

static void must_at(int line, helios_status status, const char *what)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "line %d: %s: %s: %s\n", line, what, helios_status_name(status), helios_last_error());
    abort();
}

static helios_slice text(const char *s)
{
    return slice_make(s, strlen(s));
}

/* value "": deletes. */
static void put(helios_branch_id branch, const char *key, const char *value)
{
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;

    write.branch = branch;
    MUST(*value ? helios_put(db, &write, text(key), text(value)) : helios_delete(db, &write, text(key)));
}

static bool shows(helios_branch_id branch, const char *key, const char *value)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_buf got = {0};
    helios_status status;
    bool is;

    read.branch = branch;
    status = helios_get(db, &read, text(key), &got);
    is = *value ? status == HELIOS_OK && slice_equal(buf_slice(&got), text(value)) : status == HELIOS_NOT_FOUND;
    helios_buf_free(&got);
    return is;
}

static helios_branch_id fork_of_main(const char *what, unsigned number)
{
    helios_branch_id id = 0;
    char name[32];

    snprintf(name, sizeof(name), "%s %u", what, number);
    MUST(helios_branch_create(db, name, 0, 0, &id));
    return id;
}

/* More than goes through the log: then the merge is made of tables. */
static void put_much(helios_branch_id branch)
{
    enum { BYTES = 200 << 10, COUNT = 8 };
    char *value = malloc(BYTES + 1);

    memset(value, 'm', BYTES);
    value[BYTES] = 0;
    for (int i = 0; i < COUNT; i++)
        put(branch, (char[]){'m', (char)('0' + i), 0}, value);
    free(value);
}

/* ---- one key ---- */

static const struct {
    const char *name, *base, *theirs, *ours, *meanwhile; /* "": absent */
    const char *as_ours, *as_theirs;                     /* the target afterwards */
    bool conflict;                                       /* with what came meanwhile */
} cases[] = {
    {"both deleted, ours put again", "45", "", "", "81", "81", "", true},
    {"both alike, ours changed again", "b", "x", "x", "o", "o", "x", true},
    {"both alike, ours deleted", "b", "x", "x", "", "", "x", true},
    {"both made alike, ours changed", "", "x", "x", "o", "o", "x", true},
    {"both alike, ours as it was", "b", "x", "x", "b", "x", "x", false},
    {"both deleted, ours as it was", "b", "", "", "b", "", "", false},
    {"both made alike, ours as it was", "", "x", "x", "", "x", "x", false},
    {"a conflict, ours as it was", "b", "t", "o", "b", "t", "t", false},
    {"a conflict, ours like theirs", "b", "t", "o", "t", "t", "t", false},
    {"a conflict, another one", "b", "t", "o", "p", "p", "t", true},
    {"a conflict, ours deleted", "b", "t", "o", "", "", "t", true},
    {"a conflict, theirs deleted", "b", "", "o", "p", "p", "", true},
    {"theirs alone, ours too", "b", "t", "b", "o", "o", "t", true},
    {"theirs alone, ours alike", "b", "t", "b", "t", "t", "t", false},
    {"ours alone, ours again", "b", "b", "o", "p", "p", "p", false},
    {"neither, then ours", "b", "b", "b", "o", "o", "o", false},
    {"written alike again", "b", "x", "x", "x", "x", "x", false},
};

static size_t at;
static helios_branch_id source, target;
static unsigned told, asked;
static char last_told[8];

static void write_meanwhile(void)
{
    put(target, "k", cases[at].meanwhile);
}

static void tell(void *arg, const helios_merge_conflict *c)
{
    (void)arg;
    assert(slice_equal(c->key, text("k")));
    told++;
    snprintf(last_told, sizeof(last_told), "%.*s", (int)c->ours.size,
             c->has_ours ? (const char *)c->ours.data : "");
}

static helios_resolution take_ours(void *arg, const helios_merge_conflict *c, helios_buf *value)
{
    (void)value;
    tell(arg, c);
    asked++;
    return HELIOS_TAKE_OURS;
}

static void set_up(bool large)
{
    static unsigned number;

    put(0, "k", cases[at].base);
    number++;
    source = fork_of_main("source", number);
    target = fork_of_main("target", number);
    put(source, "k", cases[at].theirs);
    put(source, "other", "theirs"); /* so that there is something to merge in any case */
    put(target, "k", cases[at].ours);
    if (large)
        put_much(source);
}

static helios_status merge(helios_merge_strategy strategy, helios_merge_result *result)
{
    helios_merge_options options = HELIOS_MERGE_OPTIONS_INIT;
    helios_status status;

    options.strategy = strategy;
    options.resolve = take_ours;
    options.on_conflict = strategy == HELIOS_MERGE_RESOLVE ? NULL : tell;
    told = asked = 0;
    when_pinned = write_meanwhile;
    status = helios_branch_merge(db, source, target, &options, result);
    assert(!when_pinned);
    return status;
}

static bool is_right(helios_merge_strategy strategy, helios_status status, const helios_merge_result *result)
{
    const char *after = strategy == HELIOS_MERGE_THEIRS ? cases[at].as_theirs : cases[at].as_ours;
    bool fails = strategy == HELIOS_MERGE_FAIL && cases[at].conflict;

    if (status != (fails ? HELIOS_CONFLICT : HELIOS_OK) || result->conflicts != cases[at].conflict)
        return false;
    if (cases[at].conflict && (!told || strcmp(last_told, cases[at].meanwhile) != 0))
        return false;
    if (strategy == HELIOS_MERGE_RESOLVE && !asked != !cases[at].conflict && !told)
        return false;
    return shows(target, "k", fails ? cases[at].meanwhile : after) &&
           shows(target, "other", fails ? "" : "theirs");
}

/* The target changes. A conflict of the first round that is none any more makes FAIL fail all the same: it was one. */
static void check_target_written(bool large)
{
    bool right = true;

    for (at = 0; at < sizeof(cases) / sizeof(cases[0]); at++)
        for (helios_merge_strategy s = HELIOS_MERGE_FAIL; s <= HELIOS_MERGE_RESOLVE; s++) {
            helios_merge_result result = {0};
            helios_status status;

            if (s == HELIOS_MERGE_FAIL && strncmp(cases[at].name, "a conflict", 10) == 0)
                continue;
            set_up(large);
            status = merge(s, &result);
            if (!is_right(s, status, &result)) {
                fprintf(stderr, "%s, strategy %d%s: %s, %" PRIu64 " conflicts, told %u, last \"%s\"\n",
                        cases[at].name, (int)s, large ? ", large" : "", helios_status_name(status),
                        result.conflicts, told, last_told);
                right = false;
            }
        }
    assert(right);
}

/* ---- what else may come ---- */

static void fork_both(void)
{
    static unsigned number = 1000;

    number++;
    source = fork_of_main("source", number);
    target = fork_of_main("target", number);
}

static helios_merge_result merge_while(void (*happens)(void), helios_merge_strategy strategy,
                                       helios_status wanted)
{
    helios_merge_options options = HELIOS_MERGE_OPTIONS_INIT;
    helios_merge_result result = {0};

    options.strategy = strategy;
    when_pinned = happens;
    assert(helios_branch_merge(db, source, target, &options, &result) == wanted);
    assert(!when_pinned);
    return result;
}

static void delete_all_of_target(void)
{
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;

    write.branch = target;
    MUST(helios_delete_range(db, &write, text("a"), text("z")));
}

static void check_range_deleted(void)
{
    put(0, "k", "b");
    fork_both();
    put(source, "k", "x");
    put(target, "k", "x");
    assert(merge_while(delete_all_of_target, HELIOS_MERGE_FAIL, HELIOS_CONFLICT).conflicts == 1);
    assert(shows(target, "k", ""));
    put(target, "k", "x");
    assert(merge_while(delete_all_of_target, HELIOS_MERGE_THEIRS, HELIOS_OK).conflicts == 1);
    assert(shows(target, "k", "x"));
}

static void change_target(void)
{
    put(target, "k", "o");
}

/* What both had from a branch that is dropped has no base any more: any difference is a conflict. */
static void check_without_base(void)
{
    helios_branch_id both = fork_of_main("both", 0);

    put(0, "k", "b");
    fork_both();
    put(both, "k", "x");
    MUST(helios_branch_merge(db, both, source, NULL, NULL));
    MUST(helios_branch_merge(db, both, target, NULL, NULL));
    MUST(helios_branch_drop(db, both));
    put(source, "k2", "y");
    put(target, "k2", "y");
    assert(merge_while(change_target, HELIOS_MERGE_FAIL, HELIOS_CONFLICT).conflicts == 1);
    assert(shows(target, "k", "o"));
}

static void change_source(void)
{
    put(source, "k", "later");
    put(source, "new", "later");
}

static void change_both(void)
{
    change_source();
    change_target();
}

/* A merge takes the source as it is at one point; what comes later is the next merge's. */
static void check_source_written(void)
{
    helios_merge_result result;

    put(0, "k", "b");
    fork_both();
    put(source, "k", "t");
    result = merge_while(change_source, HELIOS_MERGE_FAIL, HELIOS_OK);
    assert(result.merged == 1 && shows(target, "k", "t") && shows(target, "new", ""));
    MUST(helios_branch_merge(db, source, target, NULL, &result));
    assert(result.merged == 2 && shows(target, "k", "later") && shows(target, "new", "later"));
    MUST(helios_branch_merge(db, source, target, NULL, &result));
    assert(result.commit == 0);
}

/* Begun again, it takes a later one; and says so. */
static void check_both_written(void)
{
    helios_merge_result result;

    put(0, "k", "b");
    fork_both();
    put(source, "k", "t");
    put(target, "k", "t");
    result = merge_while(change_both, HELIOS_MERGE_THEIRS, HELIOS_OK);
    assert(result.conflicts == 1 && shows(target, "k", "later") && shows(target, "new", "later"));
    MUST(helios_branch_merge(db, source, target, NULL, &result));
    assert(result.commit == 0);
}

static void *change_target_run(void *arg)
{
    change_target();
    return arg;
}

/* Whoever is told of a conflict must not write on the target; another thread may. */
static void change_beside(void *arg, const helios_merge_conflict *c)
{
    pthread_t thread;

    if (!slice_equal(c->key, text("a")))
        return;
    if ((*(unsigned *)arg)++)
        return;
    assert(pthread_create(&thread, NULL, change_target_run, NULL) == 0);
    assert(pthread_join(thread, NULL) == 0);
}

/* Taken back where it was taken back already, and then changed. A revert that began again had lost its base. */
static void check_revert(void)
{
    helios_merge_options options = HELIOS_MERGE_OPTIONS_INIT;
    helios_merge_result result;
    unsigned calls = 0;
    helios_seq first, last;

    put(0, "a", "b");
    put(0, "k", "b");
    fork_both();
    put(target, "a", "x");
    first = helios_latest(db);
    put(target, "k", "x");
    last = helios_latest(db);
    put(target, "a", "y"); /* a conflict */
    put(target, "k", "b");
    options.strategy = HELIOS_MERGE_THEIRS;
    options.on_conflict = change_beside;
    options.arg = &calls;
    MUST(helios_branch_revert(db, target, first, last, &options, &result));
    assert(calls == 1 && result.conflicts == 2);
    assert(shows(target, "a", "b") && shows(target, "k", "b"));
}

int main(void)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    struct io_fs *fs = NULL;

    options.memtable_bytes = 4 << 20;
    options.history_retention = HELIOS_FOREVER;
    MUST(io_memory_new(&fs));
    MUST(engine_open(fs, "/db", &options, &db));
    check_target_written(false);
    check_target_written(true);
    check_range_deleted();
    check_without_base();
    check_source_written();
    check_both_written();
    check_revert();
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_close(db));
    io_free(fs);
    return 0;
}
