/* test_branch_garbage.c - what jobs collect of branches: with no retention, against a naive model that keeps every write.
 * After each flush, compaction and open every live branch reads what the model says at its end, and wherever a fork, a
 * tag or a snapshot holds a point. Then the room that dropped branches took: it comes back by itself, without
 * writes and over an open, and a full compaction leaves what a database without branches has.
 * Usage: test_branch_garbage [--seed S] [--steps N] */
#undef NDEBUG
#include "base/mem.h"
#include "base/random.h"
#include "engine/engine_internal.h"
#include "io/io.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { KEYS = 40, BRANCHES_MAX = 60, VERSIONS_MAX = 100000, HELD_MAX = 12, VALUE_MAX = 300 };

struct written {
    uint32_t branch, key;
    uint64_t value; /* 0: deleted */
    helios_seq seq;
};
struct model_branch {
    bool dropped;
    uint32_t parent;
    helios_seq fork;
};
/* A tag (snapshot NULL) or a snapshot. */
struct held {
    uint32_t branch;
    helios_seq seq;
    helios_snapshot *snapshot;
    char name[16];
};

static struct written *log_;
static size_t log_count;
static struct model_branch branches[BRANCHES_MAX];
static uint32_t branch_count;
static struct held helds[HELD_MAX];
static size_t held_count;
static helios_db *db;
static struct io_fs *fs;
static helios_options options = HELIOS_OPTIONS_INIT;
static struct random rng;
static uint64_t seed = 1, next_value, step, checked, gone, before_parent;

#define MUST(call) must((call), #call, __LINE__)
static void must(helios_status status, const char *what, int line)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "line %d, seed %" PRIu64 ", step %" PRIu64 ": %s: %s %s\n", line, seed, step, what,
            helios_status_name(status), helios_last_error());
    abort();
}
#define CHECK(x)                                                                                               \
    do {                                                                                                       \
        if (!(x)) {                                                                                            \
            fprintf(stderr, "line %d, seed %" PRIu64 ", step %" PRIu64 ": not so: %s\n", __LINE__, seed, step, \
                    #x);                                                                                       \
            abort();                                                                                           \
        }                                                                                                      \
    } while (0)

static uint64_t stat_of(const char *name)
{
    uint64_t value;

    MUST(helios_stat(db, name, &value));
    return value;
}

/* ---- the model ---- */

static uint64_t visible(uint32_t branch, uint32_t key, helios_seq at)
{
    for (;;) {
        for (size_t i = log_count; i-- > 0;)
            if (log_[i].branch == branch && log_[i].key == key && log_[i].seq <= at)
                return log_[i].value;
        if (branch == 0)
            return 0;
        if (branches[branch].fork < at)
            at = branches[branch].fork;
        branch = branches[branch].parent;
    }
}

static helios_slice key_of(uint32_t key, char out[16])
{
    return slice_make(out, (size_t)sprintf(out, "key%04u", key));
}

static helios_slice value_of(uint64_t value, char out[VALUE_MAX])
{
    struct random bytes;
    size_t size = (size_t)sprintf(out, "%" PRIu64 " ", value);

    random_seed(&bytes, value);
    while (size < VALUE_MAX - 8 - value % 64)
        out[size++] = (char)random_below(&bytes, 256);
    return slice_make(out, size);
}

static uint32_t some_branch(void)
{
    uint32_t branch;

    do
        branch = (uint32_t)random_below(&rng, branch_count);
    while (branches[branch].dropped);
    return branch;
}

/* ---- changes ---- */

static void write_some(void)
{
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    uint32_t branch = some_branch(), from = (uint32_t)random_below(&rng, KEYS),
             to = from + 1 + (uint32_t)random_below(&rng, 6);
    uint64_t value = 0;
    char k[16], t[16], v[VALUE_MAX];

    write.branch = branch;
    switch (random_below(&rng, 6)) {
    case 0: MUST(helios_delete_range(db, &write, key_of(from, k), key_of(to, t))); break;
    case 1:
        MUST(helios_delete(db, &write, key_of(from, k)));
        to = from + 1;
        break;
    default:
        value = ++next_value;
        MUST(helios_put(db, &write, key_of(from, k), value_of(value, v)));
        to = from + 1;
    }
    for (; from < to && from < KEYS; from++) {
        CHECK(log_count < VERSIONS_MAX);
        log_[log_count++] = (struct written){branch, from, value, helios_latest(db)};
    }
}

/* Now, or a point of that branch that something holds; a snapshot does on all, also from before the branch was made. */
static helios_seq some_point(uint32_t *branch)
{
    size_t pick = random_below(&rng, (random_below(&rng, 2) && held_count ? 0 : branch_count + 1) + held_count);

    *branch = some_branch();
    if (pick < held_count) {
        *branch = helds[pick].snapshot ? *branch : helds[pick].branch;
        return helds[pick].seq;
    }
    pick -= held_count;
    if (pick > 0 && pick < branch_count && !branches[pick].dropped) {
        *branch = branches[pick].parent;
        return branches[pick].fork;
    }
    return 0;
}

static void fork_at(uint32_t parent, helios_seq at)
{
    helios_seq latest = helios_latest(db);
    helios_branch_id id;
    char name[32];

    if (branch_count == BRANCHES_MAX)
        return;
    sprintf(name, "b%u", branch_count);
    MUST(helios_branch_create(db, name, parent, at, &id));
    CHECK(id == branch_count);
    before_parent += at && parent && at < branches[parent].fork;
    branches[branch_count++] = (struct model_branch){.parent = parent, .fork = at ? at : latest};
}

static void fork_some(void)
{
    uint32_t parent;
    helios_seq at = some_point(&parent);

    fork_at(parent, at);
}

/* A fork of a branch from before that one was made: what shows through is the grandparent's, at a point that nothing else
 * holds. */
static void fork_early(void)
{
    uint32_t parent = some_branch();
    helios_snapshot *snapshot;

    if (branch_count + 2 > BRANCHES_MAX || helios_latest(db) == 0)
        return;
    MUST(helios_snapshot_new(db, 0, &snapshot));
    for (int i = 0; i < 5; i++)
        write_some();
    fork_at(parent, 0);
    fork_at(branch_count - 1, helios_snapshot_seq(snapshot));
    helios_snapshot_free(db, snapshot);
}

static bool may_drop(uint32_t branch)
{
    bool may = branch != 0;

    for (uint32_t i = 1; i < branch_count; i++)
        may &= branches[i].dropped || branches[i].parent != branch;
    for (size_t i = 0; i < held_count; i++)
        may &= helds[i].snapshot || helds[i].branch != branch;
    return may;
}

static void drop_some(void)
{
    uint32_t branch = some_branch();
    helios_status status = helios_branch_drop(db, branch);

    CHECK((status == HELIOS_OK) == may_drop(branch));
    branches[branch].dropped = status == HELIOS_OK;
}

static void hold_some(void)
{
    struct held *h = &helds[held_count];
    uint32_t branch;
    helios_seq at = some_point(&branch);

    if (held_count == HELD_MAX)
        return;
    *h = (struct held){.branch = branch, .seq = at ? at : helios_latest(db)};
    if (h->seq == 0)
        return;
    if (random_below(&rng, 2)) {
        sprintf(h->name, "t%" PRIu64, step);
        MUST(helios_tag_create(db, h->name, branch, at));
    } else {
        h->seq = helios_latest(db);
        MUST(helios_snapshot_new(db, 0, &h->snapshot));
    }
    held_count++;
}

static void let_go(size_t i)
{
    if (helds[i].snapshot)
        helios_snapshot_free(db, helds[i].snapshot);
    else
        MUST(helios_tag_drop(db, helds[i].name));
    helds[i] = helds[--held_count];
}

/* ---- checks ---- */

static void check_point(uint32_t branch, helios_seq at, const helios_snapshot *snapshot)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_seq point = at ? at : SEQ_MAX;
    char k[16], v[VALUE_MAX];
    helios_iter *it;

    read.branch = branch;
    read.at = snapshot ? 0 : at;
    read.snapshot = snapshot;
    MUST(helios_iter_new(db, &read, &it));
    helios_iter_first(it);
    for (uint32_t key = 0; key < KEYS; key++) {
        uint64_t wanted = visible(branch, key, point);

        if (!wanted)
            continue;
        CHECK(helios_iter_valid(it));
        CHECK(slice_equal(helios_iter_key(it), key_of(key, k)));
        CHECK(slice_equal(helios_iter_value(it), value_of(wanted, v)));
        helios_iter_next(it);
        checked++;
    }
    CHECK(!helios_iter_valid(it));
    MUST(helios_iter_status(it));
    helios_iter_free(it);
}

/* A point that nothing holds: gone, or right. */
static void check_any_point(void)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    uint32_t key = (uint32_t)random_below(&rng, KEYS);
    helios_buf value = {0};
    char k[16], v[VALUE_MAX];
    helios_status status;
    uint64_t wanted;

    if (helios_latest(db) == 0)
        return;
    read.branch = some_branch();
    read.at = 1 + random_below(&rng, helios_latest(db));
    status = helios_get(db, &read, key_of(key, k), &value);
    wanted = visible(read.branch, key, read.at);
    gone += status == HELIOS_HISTORY_GONE;
    if (status != HELIOS_HISTORY_GONE)
        CHECK(status == (wanted ? HELIOS_OK : HELIOS_NOT_FOUND));
    if (status == HELIOS_OK)
        CHECK(slice_equal(buf_slice(&value), value_of(wanted, v)));
    helios_buf_free(&value);
}

static void check_all(void)
{
    for (uint32_t b = 0; b < branch_count; b++) {
        if (branches[b].dropped)
            continue;
        check_point(b, 0, NULL);
        if (b > 0 && branches[b].fork)
            check_point(branches[b].parent, branches[b].fork, NULL);
        for (size_t i = 0; i < held_count; i++)
            if (helds[i].snapshot)
                check_point(b, helds[i].seq, helds[i].snapshot);
    }
    for (size_t i = 0; i < held_count; i++)
        if (!helds[i].snapshot)
            check_point(helds[i].branch, helds[i].seq, NULL);
    for (int i = 0; i < 20; i++)
        check_any_point();
}

static void reopen(void)
{
    for (size_t i = held_count; i-- > 0;)
        if (helds[i].snapshot)
            let_go(i);
    MUST(helios_close(db));
    MUST(engine_open(fs, "/db", &options, &db));
}

static void one_step(void)
{
    switch (random_below(&rng, 120)) {
    case 0:
    case 1: MUST(helios_flush(db)); break;
    case 2: MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0})); break;
    case 3: reopen(); break;
    case 4:
    case 5: drop_some(); return;
    case 6:
    case 7:
    case 8: fork_some(); return;
    case 9:
    case 10: hold_some(); return;
    case 11: fork_early(); return;
    case 12:
        if (held_count)
            let_go(random_below(&rng, held_count));
        return;
    default: write_some(); return;
    }
    check_all();
}

static void open_fresh(void)
{
    log_count = 0;
    branch_count = 1;
    branches[0] = (struct model_branch){0};
    MUST(io_memory_new(&fs));
    MUST(engine_open(fs, "/db", &options, &db));
}

static void close_all(void)
{
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_close(db));
    io_free(fs);
}

static void drop_everything(void)
{
    while (held_count)
        let_go(0);
    for (uint32_t b = branch_count; b-- > 1;)
        if (!branches[b].dropped) {
            CHECK(may_drop(b));
            MUST(helios_branch_drop(db, b));
            branches[b].dropped = true;
        }
}

/* Only what main has is left, to the byte almost. */
static void model(uint64_t steps)
{
    uint64_t with, without;
    char k[16], v[VALUE_MAX];

    open_fresh();
    for (step = 0; step < steps; step++)
        one_step();
    drop_everything();
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    check_all();
    with = stat_of("keys.estimate");
    CHECK(stat_of("branches") == 1);
    CHECK(stat_of("branches.dropped.bytes") == 0 && stat_of("branches.dropped") == 0);
    close_all();
    MUST(io_memory_new(&fs));
    MUST(engine_open(fs, "/db", &options, &db));
    for (uint32_t key = 0; key < KEYS; key++) {
        uint64_t value = visible(0, key, SEQ_MAX);

        if (value)
            MUST(helios_put(db, NULL, key_of(key, k), value_of(value, v)));
    }
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    without = stat_of("keys.estimate");
    CHECK(with <= without + branch_count + 2); /* entries of the branches, the timeline */
    close_all();
}

/* ---- the room that they took ---- */

static void fill(helios_branch_id branch, uint32_t count, uint32_t first)
{
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    char k[16], v[VALUE_MAX];

    write.branch = branch;
    for (uint32_t i = 0; i < count; i++)
        MUST(helios_put(db, &write, key_of((first + i * 7) % 10000, k), value_of(++next_value, v)));
}

/* Until the background has nothing left to give back; without a write. */
static void await_space(uint64_t table_bytes, const char *what)
{
    for (int i = 0; i < 300; i++) {
        if (stat_of("branches.dropped") == 0 && stat_of("table.bytes") <= table_bytes)
            return;
        usleep(100000);
    }
    fprintf(stderr, "%s: %" PRIu64 " dropped branches, %" PRIu64 " bytes of them, %" PRIu64 " in tables\n",
            what, stat_of("branches.dropped"), stat_of("branches.dropped.bytes"), stat_of("table.bytes"));
    abort();
}

/* A few large branches, and some small ones in between that stay; in tables of their own, in shared ones, in memory. */
static void space(bool flushed, bool reopened)
{
    helios_branch_id ids[12];
    uint64_t before, with;
    char name[32];

    open_fresh();
    fill(0, 3000, 0);
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    for (size_t i = 0; i < 12; i++) {
        sprintf(name, "b%zu", i);
        MUST(helios_branch_create(db, name, 0, 0, &ids[i]));
        fill(ids[i], i % 4 == 3 ? 20 : 200 * (uint32_t)(i + 1), (uint32_t)i);
    }
    before = stat_of("table.bytes");
    if (flushed)
        MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    with = stat_of("table.bytes");
    if (flushed)
        CHECK(with > before);
    for (size_t i = 0; i < 12; i++)
        if (i % 4 != 3)
            MUST(helios_branch_drop(db, ids[i]));
    CHECK(stat_of("branches") == 4);
    if (reopened)
        reopen();
    await_space(3000u * VALUE_MAX + 60u * VALUE_MAX + 100000, flushed ? "tables" : "memory");
    close_all();
}

/* A few keys of a dropped branch beside many that stay are not worth a rewrite, unless somebody asks for one. */
static void few_among_many(void)
{
    helios_branch_id ids[3];
    uint64_t before;

    open_fresh();
    for (uint32_t i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + i), 0};

        MUST(helios_branch_create(db, name, 0, 0, &ids[i]));
        fill(ids[i], i == 1 ? 7 : 60, 0);
    }
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    before = stat_of("keys.estimate");
    MUST(helios_branch_drop(db, ids[1]));
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    CHECK(stat_of("keys.estimate") == before - 7);
    CHECK(stat_of("branches.dropped") == 0);
    close_all();
}

/* As with branches, so without: within a twentieth after all are dropped. */
static void same_size(void)
{
    uint64_t bytes[2];
    helios_branch_id id;

    for (int with = 0; with < 2; with++) {
        next_value = 1000000;
        open_fresh();
        for (uint32_t i = 0; i < 10; i++) {
            char name[16];

            fill(0, 600, i);
            sprintf(name, "b%u", i);
            if (!with)
                continue;
            next_value += 1u << 20;
            MUST(helios_branch_create(db, name, i % 3 ? id : 0, 0, &id));
            fill(id, 400, i);
            next_value -= (1u << 20) + 400;
        }
        for (uint32_t b = with ? 10 : 0; b > 0; b--)
            MUST(helios_branch_drop(db, b));
        MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
        bytes[with] = stat_of("table.bytes");
        close_all();
    }
    CHECK(bytes[1] <= bytes[0] + bytes[0] / 20);
}

/* A drop that is not durable yet takes nothing: if the power goes, the branch is there again, whole. */
static void unsynced_drop(void)
{
    struct io_fs *faulty;
    helios_branch_id id, found;
    size_t count = 0;
    helios_iter *it;
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;

    MUST(io_faulty_new(seed, &faulty));
    MUST(engine_open(faulty, "/db", &options, &db));
    fill(0, 500, 0);
    MUST(helios_branch_create(db, "b", 0, 0, &id));
    fill(id, 500, 3);
    fill(0, 500, 0); /* the fork's state is the fork's alone */
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    MUST(helios_branch_drop(db, id));
    usleep(200000); /* the background has seen it by now */
    io_faulty_stop_at(faulty, 1);
    CHECK(helios_put(db, NULL, slice_make("x", 1), slice_make("x", 1)) != HELIOS_OK ||
          helios_sync(db) != HELIOS_OK);
    (void)!helios_close(db);
    io_faulty_power_cut(faulty, IO_DAMAGE_DROP_ALL, seed);
    MUST(engine_open(faulty, "/db", &options, &db));
    if (helios_branch_find(db, "b", &found) == HELIOS_OK) {
        CHECK(found == id);
        read.branch = id;
        MUST(helios_iter_new(db, &read, &it));
        for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it))
            count++;
        MUST(helios_iter_status(it));
        helios_iter_free(it);
        CHECK(count == 1000);
        printf("the drop was lost, the branch is whole\n");
    }
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_close(db));
    io_free(faulty);
}

int main(int argc, char **argv)
{
    uint64_t steps = 3000;

    for (int i = 1; i + 1 < argc; i += 2)
        *(strcmp(argv[i], "--seed") == 0 ? &seed : &steps) = strtoull(argv[i + 1], NULL, 10);
    printf("seed %" PRIu64 ", %" PRIu64 " steps\n", seed, steps);
    log_ = malloc(VERSIONS_MAX * sizeof(*log_));
    assert(log_);
    options.memtable_bytes = 64 << 10;
    options.block_bytes = 1024;
    options.history_retention = 0;
    for (int i = 0; i < 3; i++) {
        random_seed(&rng, seed + (uint64_t)i);
        model(steps);
    }
    printf("%" PRIu64 " values checked, %" PRIu64 " reads were of a point that is gone, %" PRIu64
           " forks lie before their parent's\n",
           checked, gone, before_parent);
    same_size();
    few_among_many();
    options.memtable_bytes = 256 << 10;
    unsynced_drop();
    for (int i = 0; i < 4; i++)
        space(i & 1, i & 2);
    free(log_);
    return 0;
}
