/* test_branch_powercut.c - the power goes at any call that changes something while branches are made, merged, closed, reverted
 * and dropped: an open then finds what there was after some step, whole: the contents of every branch, its state, its merges.
 * With SYNC no step that was acknowledged is missing; with ASYNC the last ones may be, but only the last ones.
 * Usage: test_branch_powercut [seed [runs]]; runs: at most so many for each durability, 0: all. */
#undef NDEBUG
#include "base/random.h"
#include "engine/engine_internal.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { LARGE_ROWS = 300, VALUE_BYTES = 400, DUMPS_MAX = 64 };

static uint64_t seed = 1, runs_max = 300;
static helios_db *db;
static struct io_fs *fs;
static helios_options options = HELIOS_OPTIONS_INIT;
static char where[128];
static helios_buf dumps[DUMPS_MAX]; /* after each step, without a cut */
static size_t steps_done;

#define CHECK(x)                                                                                               \
    do {                                                                                                       \
        if (!(x)) {                                                                                            \
            fprintf(stderr, "%s: line %d: not so: %s (%s)\n", where, __LINE__, #x, helios_last_error());       \
            abort();                                                                                           \
        }                                                                                                      \
    } while (0)
#define MUST(call) CHECK((call) == HELIOS_OK)

/* ---- everything there is, as text ---- */

static void dump_branch(const helios_branch_info *info, helios_buf *out)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_merge_info *merges;
    helios_iter *it;
    size_t count;
    uint64_t rows = 0, sum = 0;

    MUST(buf_printf(out, "%u %s of %u, state %d\n", info->id, info->name, info->parent, (int)info->state));
    read.branch = info->id;
    MUST(helios_iter_new(db, &read, &it));
    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it), rows++) {
        helios_slice key = helios_iter_key(it), value = helios_iter_value(it);

        sum = sum * 31 + hash_bytes(key.data, key.size) + hash_bytes(value.data, value.size);
    }
    MUST(helios_iter_status(it));
    helios_iter_free(it);
    MUST(helios_branch_merges(db, info->id, &merges, &count));
    MUST(buf_printf(out, "  %" PRIu64 " rows, sum %" PRIx64 ", %zu merges\n", rows, sum, count));
    for (size_t i = 0; i < count; i++)
        MUST(buf_printf(out, "  merge of %u, closed %d\n", merges[i].source.branch, merges[i].closed_source));
    helios_free(merges);
}

static void dump(helios_buf *out)
{
    helios_branch_info *list;
    size_t count;

    out->size = 0;
    MUST(helios_branch_list(db, &list, &count));
    for (size_t i = 0; i < count; i++)
        dump_branch(&list[i], out);
    helios_free(list);
}

/* ---- the steps: each is one commit ---- */

static helios_branch_id made[4];

static helios_status write_rows(helios_branch_id branch, int from, int count, const char *text)
{
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    helios_batch *batch = helios_batch_new();
    char key[16], value[VALUE_BYTES];
    helios_status status;

    assert(batch);
    write.branch = branch;
    memset(value, 'v', sizeof(value));
    for (int i = from; i < from + count; i++) {
        memcpy(value, text, strlen(text));
        snprintf(key, sizeof(key), "row %05d", i);
        helios_batch_put(batch, slice_make(key, strlen(key)), slice_make(value, sizeof(value)));
    }
    status = helios_write(db, &write, batch, NULL);
    helios_batch_free(batch);
    return status;
}

static helios_status delete_rows(helios_branch_id branch, const char *from, const char *to)
{
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;

    write.branch = branch;
    return helios_delete_range(db, &write, slice_make(from, strlen(from)), slice_make(to, strlen(to)));
}

static helios_status merge(helios_branch_id source, helios_branch_id target, bool close)
{
    helios_merge_options merging = HELIOS_MERGE_OPTIONS_INIT;

    merging.strategy = HELIOS_MERGE_THEIRS;
    merging.close_source = close;
    return helios_branch_merge(db, source, target, &merging, NULL);
}

static helios_status revert_last(void)
{
    helios_seq last = helios_latest(db);

    return helios_branch_revert(db, 0, last, last, NULL, NULL);
}

static helios_status do_step(size_t step)
{
    switch (step) {
    case 0: return write_rows(0, 0, 20, "main");
    case 1: return helios_branch_create(db, "small", 0, 0, &made[0]);
    case 2: return helios_branch_create(db, "large", 0, 0, &made[1]);
    case 3: return write_rows(made[0], 3, 3, "small");
    case 4: return delete_rows(made[0], "row 00010", "row 00013");
    case 5: return merge(made[0], 0, false);
    case 6: return helios_branch_rename(db, made[0], "tiny");
    case 7: return write_rows(made[1], 5, LARGE_ROWS, "large");
    case 8: return merge(made[1], 0, false);
    case 9: return merge(0, made[0], false);
    case 10: return helios_branch_create(db, "grandchild", made[0], 0, &made[2]);
    case 11: return write_rows(made[2], 0, 4, "grand");
    case 12: return merge(made[2], 0, true);
    case 13: return helios_branch_drop(db, made[2]);
    case 14: return write_rows(0, 100, 3, "undone");
    case 15: return revert_last();
    case 16: return write_rows(made[1], 0, LARGE_ROWS, "again");
    case 17: return merge(made[1], made[0], true);
    case 18: return helios_branch_drop(db, made[1]);
    case 19: return helios_branch_drop(db, made[0]);
    default: return HELIOS_NOT_FOUND;
    }
}
enum { STEPS = 20 };

/* True: all were done. Every third step what is in memory goes to tables. */
static bool run_steps(bool note)
{
    steps_done = 0;
    if (engine_open(fs, "/db", &options, &db) != HELIOS_OK)
        return false;
    for (; steps_done < STEPS; steps_done++) {
        if (do_step(steps_done) != HELIOS_OK || (steps_done % 3 == 2 && helios_flush(db) != HELIOS_OK))
            return false;
        if (note)
            dump(&dumps[steps_done]);
    }
    return true;
}

static void let_go(void)
{
    if (db && helios_close(db) != HELIOS_OK) {
        /* the machine has stopped */
    }
    db = NULL;
}

/* ---- a cut ---- */

/* What an open finds is what there was after a step, the one in which the power went at the latest; 0: before the
 * first. */
static size_t judge(void)
{
    helios_buf found = {0};
    size_t at = steps_done < STEPS ? steps_done + 1 : STEPS;

    dump(&found);
    while (at-- > 0)
        if (slice_equal(buf_slice(&found), buf_slice(&dumps[at])))
            break;
    if (at == SIZE_MAX && found.size && !strstr(found.data, " 0 rows")) {
        fprintf(stderr, "%s: found what never was:\n%s", where, found.data);
        abort();
    }
    helios_buf_free(&found);
    return at + 1;
}

static void check_after(bool durable)
{
    size_t found, again;

    /* The call that was cut may have been done or not. */
    MUST(engine_open(fs, "/db", &options, &db));
    found = judge();
    if (durable)
        CHECK(found >= steps_done);
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_close(db));
    /* And it stays. */
    MUST(engine_open(fs, "/db", &options, &db));
    again = judge();
    CHECK(again == found);
    MUST(helios_close(db));
    db = NULL;
}

static bool cut_at(uint64_t k, bool durable)
{
    enum io_damage damage = (enum io_damage)(k % IO_DAMAGE_COUNT);
    bool stopped;

    snprintf(where, sizeof(where), "seed %" PRIu64 ", %s, call %" PRIu64 ", damage %d", seed,
             durable ? "SYNC" : "ASYNC", k, (int)damage);
    MUST(io_faulty_new(seed + k, &fs));
    io_faulty_stop_at(fs, k);
    run_steps(false);
    stopped = io_faulty_stopped(fs);
    let_go();
    io_faulty_stop_at(fs, UINT64_MAX);
    io_faulty_power_cut(fs, damage, seed + k);
    check_after(durable);
    io_free(fs);
    return stopped;
}

static uint64_t count_calls(void)
{
    uint64_t calls;

    snprintf(where, sizeof(where), "without a cut");
    MUST(io_faulty_new(seed, &fs));
    CHECK(run_steps(true));
    calls = io_faulty_changes(fs);
    MUST(helios_close(db));
    db = NULL;
    io_free(fs);
    return calls;
}

static void run(bool durable)
{
    uint64_t calls, stride = 1, cuts = 0;

    options.durability = durable ? HELIOS_DURABILITY_SYNC : HELIOS_DURABILITY_ASYNC;
    calls = count_calls();
    if (runs_max && calls > runs_max)
        stride = (calls + runs_max - 1) / runs_max;
    for (uint64_t k = 1 + seed % stride; k <= calls + 3; k += stride, cuts++)
        cut_at(k, durable);
    printf("%s: %" PRIu64 " changing calls\n", durable ? "SYNC" : "ASYNC", calls);
    printf("tried: %" PRIu64 " power cuts with branches\n", cuts);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        runs_max = strtoull(argv[2], NULL, 10);
    printf("seed %" PRIu64 "\n", seed);
    options.create_if_missing = true;
    options.memtable_bytes = 64 << 10; /* LARGE_ROWS are more than an eighth of it: ingested */
    run(true);
    run(false);
    for (size_t i = 0; i < DUMPS_MAX; i++)
        helios_buf_free(&dumps[i]);
    return 0;
}
