/* test_branches.c - branches through the public API, against a naive model that keeps every operation of every branch:
 * forks at now and in the past, writes, range deletes, batches, transactions, reads both ways at random points,
 * histories, drops, flushes, compactions, reopening.
 * Usage: test_branches [--seed S] [--steps N] */
#undef NDEBUG
#include "base/mem.h"
#include "base/random.h"
#include "engine/engine_internal.h"
#include "io/io.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEYS = 60, BRANCHES_MAX = 40, VERSIONS_MAX = 200000, VALUE_MAX = 40 };

/* One write of a key on a branch. value 0: deleted. */
struct written {
    uint32_t branch, key;
    uint64_t value;
    helios_seq seq;
};

struct model_branch {
    bool made, dropped;
    uint32_t parent;
    helios_seq fork;
};

static struct written *log_;
static size_t log_count;
static struct model_branch branches[BRANCHES_MAX + 1];
static uint32_t branch_count = 1;
static helios_db *db;
static struct io_fs *fs;
static helios_options options = HELIOS_OPTIONS_INIT;
static struct random rng;
static uint64_t seed = 1, next_value = 1, step;

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

static helios_slice key_of(uint32_t key, char out[16])
{
    return slice_make(out, (size_t)sprintf(out, "key%04u", key));
}

static helios_slice value_of(uint64_t value, char out[VALUE_MAX])
{
    return slice_make(out, (size_t)sprintf(out, "value %" PRIu64, value));
}

/* By the definition: the newest on the branch, else what the parent shows at the fork. 0: absent. */
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

static void note(uint32_t branch, uint32_t key, uint64_t value, helios_seq seq)
{
    CHECK(log_count < VERSIONS_MAX);
    log_[log_count++] = (struct written){branch, key, value, seq};
}

static uint32_t some_branch(void)
{
    uint32_t branch;

    do
        branch = (uint32_t)random_below(&rng, branch_count);
    while (branches[branch].dropped);
    return branch;
}

static void write_some(void)
{
    uint32_t branch = some_branch(), count = 1 + (uint32_t)random_below(&rng, 4);
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    helios_batch *batch = helios_batch_new();
    struct written noted[400];
    size_t notes = 0;
    helios_seq seq;

    write.branch = branch;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t key = (uint32_t)random_below(&rng, KEYS), to = key + 1 + (uint32_t)random_below(&rng, 15);
        char k[16], t[16], v[VALUE_MAX];

        switch (random_below(&rng, 8)) {
        case 0:
            helios_batch_delete_range(batch, key_of(key, k), key_of(to, t));
            for (; key < to && key < KEYS; key++)
                noted[notes++] = (struct written){branch, key, 0, 0};
            break;
        case 1:
        case 2:
            helios_batch_delete(batch, key_of(key, k));
            noted[notes++] = (struct written){branch, key, 0, 0};
            break;
        default:
            helios_batch_put(batch, key_of(key, k), value_of(next_value, v));
            noted[notes++] = (struct written){branch, key, next_value++, 0};
        }
    }
    MUST(helios_write(db, &write, batch, &seq));
    for (size_t i = 0; i < notes; i++)
        note(branch, noted[i].key, noted[i].value, seq);
    helios_batch_free(batch);
}

static void transact(void)
{
    uint32_t branch = some_branch(), key = (uint32_t)random_below(&rng, KEYS);
    helios_txn_options begin = HELIOS_TXN_OPTIONS_INIT;
    char k[16], v[VALUE_MAX];
    helios_buf value = {0};
    helios_txn *txn;
    helios_iter *it;
    helios_seq seq, at = helios_latest(db);
    size_t seen = 0, wanted = 0;

    begin.branch = branch;
    begin.isolation = HELIOS_ISOLATION_SERIALIZABLE;
    MUST(helios_txn_begin(db, &begin, &txn));
    MUST(helios_txn_put(txn, key_of(key, k), value_of(next_value, v)));
    MUST(helios_txn_get(txn, key_of(key, k), &value));
    MUST(helios_txn_iter(txn, NULL, &it));
    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it))
        seen++;
    MUST(helios_iter_status(it));
    helios_iter_free(it);
    for (uint32_t i = 0; i < KEYS; i++)
        wanted += i == key || visible(branch, i, at) != 0;
    CHECK(seen == wanted);
    MUST(helios_txn_commit(txn, &seq));
    helios_txn_free(txn);
    note(branch, key, next_value++, seq);
    helios_buf_free(&value);
}

static void fork_some(void)
{
    uint32_t parent = some_branch();
    helios_seq latest = helios_latest(db),
               at = random_below(&rng, 3) && latest ? 1 + random_below(&rng, latest) : 0;
    helios_branch_id id;
    char name[32];

    if (branch_count > BRANCHES_MAX)
        return;
    sprintf(name, "branch %u", branch_count);
    MUST(helios_branch_create(db, name, parent, at, &id));
    CHECK(id == branch_count);
    branches[branch_count++] = (struct model_branch){.made = true, .parent = parent, .fork = at ? at : latest};
}

static void drop_some(void)
{
    uint32_t branch = some_branch();
    bool parent = branch == 0;

    for (uint32_t i = 1; i < branch_count; i++)
        parent |= !branches[i].dropped && branches[i].parent == branch;
    if (parent) {
        CHECK(helios_branch_drop(db, branch) == HELIOS_INVALID);
        return;
    }
    if (random_below(&rng, 3))
        return;
    MUST(helios_branch_drop(db, branch));
    branches[branch].dropped = true;
}

static void check_get(uint32_t branch, helios_seq at)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    uint32_t key = (uint32_t)random_below(&rng, KEYS);
    uint64_t wanted = visible(branch, key, at ? at : SEQ_MAX);
    helios_buf value = {0};
    char k[16], v[VALUE_MAX];
    helios_status status;

    read.branch = branch;
    read.at = at;
    status = helios_get(db, &read, key_of(key, k), &value);
    CHECK(status == (wanted ? HELIOS_OK : HELIOS_NOT_FOUND));
    if (wanted)
        CHECK(slice_equal(buf_slice(&value), value_of(wanted, v)));
    helios_buf_free(&value);
}

static void check_walk(uint32_t branch, helios_seq at)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    uint32_t low = (uint32_t)random_below(&rng, KEYS),
             high = low + 1 + (uint32_t)random_below(&rng, KEYS - low);
    bool backward = random_below(&rng, 2);
    uint32_t key = backward ? high : low;
    char k[16], l[16], v[VALUE_MAX];
    helios_iter *it;

    read.branch = branch;
    read.at = at;
    read.lower = key_of(low, l);
    read.upper = key_of(high, k);
    MUST(helios_iter_new(db, &read, &it));
    for (backward ? helios_iter_last(it) : helios_iter_first(it);;
         backward ? helios_iter_prev(it) : helios_iter_next(it)) {
        uint64_t wanted = 0;

        while (backward ? key > low : key < high) {
            uint32_t now = backward ? key - 1 : key;

            wanted = visible(branch, now, at ? at : SEQ_MAX);
            key = backward ? key - 1 : key + 1;
            if (wanted) {
                CHECK(helios_iter_valid(it));
                CHECK(slice_equal(helios_iter_key(it), key_of(now, k)));
                CHECK(slice_equal(helios_iter_value(it), value_of(wanted, v)));
                break;
            }
        }
        if (!wanted)
            break;
    }
    CHECK(!helios_iter_valid(it));
    MUST(helios_iter_status(it));
    helios_iter_free(it);
}

static void check_history(uint32_t branch)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    uint32_t key = (uint32_t)random_below(&rng, KEYS);
    helios_seq at = SEQ_MAX;
    helios_history *h;
    helios_version version;
    char k[16], v[VALUE_MAX];

    read.branch = branch;
    MUST(helios_history_new(db, &read, key_of(key, k), &h));
    while (helios_history_next(h, &version)) {
        uint64_t wanted = visible(branch, key, version.seq);

        CHECK(version.seq < at);
        CHECK(version.deleted == (wanted == 0));
        CHECK(visible(branch, key, at - 1) == wanted); /* nothing was passed over */
        if (wanted)
            CHECK(slice_equal(version.value, value_of(wanted, v)));
        at = version.seq;
    }
    MUST(helios_history_status(h));
    CHECK(visible(branch, key, at - 1) == 0);
    helios_history_free(h);
}

static void reopen(void)
{
    MUST(helios_close(db));
    MUST(engine_open(fs, "/db", &options, &db));
}

static void check_list(void)
{
    helios_branch_info *list;
    size_t count, live = 0;

    for (uint32_t i = 0; i < branch_count; i++)
        live += !branches[i].dropped;
    MUST(helios_branch_list(db, &list, &count));
    CHECK(count == live);
    helios_free(list);
}

static void one_step(void)
{
    uint32_t branch = some_branch();
    helios_seq latest = helios_latest(db),
               at = latest && random_below(&rng, 2) ? 1 + random_below(&rng, latest) : 0;

    switch (random_below(&rng, 100)) {
    case 0: MUST(helios_flush(db)); break;
    case 1: MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0})); break;
    case 2: reopen(); break;
    case 3: drop_some(); break;
    case 4:
    case 5: fork_some(); break;
    case 6: check_list(); break;
    case 7:
    case 8: transact(); break;
    default:
        if (random_below(&rng, 3) == 0)
            write_some();
        else if (random_below(&rng, 8) == 0)
            check_history(branch);
        else if (random_below(&rng, 4) == 0)
            check_walk(branch, at);
        else
            check_get(branch, at);
    }
}

int main(int argc, char **argv)
{
    uint64_t steps = 20000;

    for (int i = 1; i + 1 < argc; i += 2)
        *(strcmp(argv[i], "--seed") == 0 ? &seed : &steps) = strtoull(argv[i + 1], NULL, 10);
    printf("seed %" PRIu64 ", %" PRIu64 " steps\n", seed, steps);
    random_seed(&rng, seed);
    log_ = malloc(VERSIONS_MAX * sizeof(*log_));
    assert(log_);
    options.memtable_bytes = 64 << 10;
    options.block_bytes = 1024;
    options.history_retention = HELIOS_FOREVER;
    MUST(io_memory_new(&fs));
    MUST(engine_open(fs, "/db", &options, &db));
    for (step = 0; step < steps; step++)
        one_step();
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_close(db));
    io_free(fs);
    free(log_);
    printf("%zu versions on %u branches\n", log_count, branch_count);
    return 0;
}
