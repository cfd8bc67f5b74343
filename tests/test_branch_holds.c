/* test_branch_holds.c - branches made, written, read and dropped by several threads at once, below the horizon too,
 * with no retention and jobs that run all the time. Each branch shows main as it was at its fork: a pair of keys that are
 * always written together, so that a state that nobody ever saw shows at once.
 * Usage: test_branch_holds [milliseconds] */
#undef NDEBUG
#include "base/random.h"
#include "base/thread.h"
#include "engine/engine_internal.h"
#include "io/io.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORKERS = 4, PAIRS = 64, VALUE_MAX = 200 };

static helios_db *db;
static _Atomic bool over;
static _Atomic uint64_t made, dropped, reads, counter;

static void must(helios_status status, int line)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "line %d: %s: %s\n", line, helios_status_name(status), helios_last_error());
    abort();
}
#define MUST(call) must((call), __LINE__)

static helios_slice key_of(char letter, uint64_t pair, char out[16])
{
    return slice_make(out, (size_t)sprintf(out, "%c%04" PRIu64, letter, pair));
}

/* Both keys of a pair, with the same value. */
static helios_status write_pair(helios_branch_id branch, uint64_t pair)
{
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    helios_batch *batch = helios_batch_new();
    char a[16], b[16], value[VALUE_MAX];
    helios_status status;

    memset(value, 'v', sizeof(value));
    sprintf(value, "%" PRIu64, atomic_fetch_add(&counter, 1));
    write.branch = branch;
    helios_batch_put(batch, key_of('a', pair, a), slice_make(value, sizeof(value)));
    helios_batch_put(batch, key_of('b', pair, b), slice_make(value, sizeof(value)));
    status = helios_write(db, &write, batch, NULL);
    helios_batch_free(batch);
    return status;
}

/* At one point both are the same. A branch that is being dropped, or a point that nothing holds any more, is refused. */
static void read_pair(helios_branch_id branch, helios_seq at, uint64_t pair)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_slice keys[2];
    helios_buf values[2] = {{0}};
    helios_status each[2], status;
    char a[16], b[16];

    read.branch = branch;
    read.at = at;
    keys[0] = key_of('a', pair, a);
    keys[1] = key_of('b', pair, b);
    status = helios_multi_get(db, &read, 2, keys, values, each);
    if (status == HELIOS_OK && each[0] == HELIOS_OK && each[1] == HELIOS_OK)
        assert(slice_equal(buf_slice(&values[0]), buf_slice(&values[1])));
    else
        assert(status == HELIOS_NOT_FOUND || status == HELIOS_HISTORY_GONE || each[0] == HELIOS_NOT_FOUND ||
               each[1] == HELIOS_NOT_FOUND);
    helios_buf_free(&values[0]);
    helios_buf_free(&values[1]);
    atomic_fetch_add(&reads, 1);
}

/* The whole of a live branch: each pair is there and whole. */
static void walk(helios_branch_id branch)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_snapshot *snapshot; /* others write on it, too */
    helios_iter *a, *b;
    size_t count = 0;

    MUST(helios_snapshot_new(db, 0, &snapshot));
    read.branch = branch;
    read.snapshot = snapshot;
    read.lower = slice_make("a", 1);
    read.upper = slice_make("b", 1);
    MUST(helios_iter_new(db, &read, &a));
    read.lower = slice_make("b", 1);
    read.upper = slice_make("c", 1);
    MUST(helios_iter_new(db, &read, &b));
    helios_iter_first(b);
    for (helios_iter_first(a); helios_iter_valid(a); helios_iter_next(a), helios_iter_next(b), count++)
        assert(helios_iter_valid(b) && slice_equal(helios_iter_value(a), helios_iter_value(b)));
    assert(count == PAIRS);
    helios_iter_free(a);
    helios_iter_free(b);
    helios_snapshot_free(db, snapshot);
}

/* Nobody else drops this worker's branches; everybody reads them. */
static void one_branch(struct random *rng, unsigned worker)
{
    helios_branch_info *info;
    helios_branch_id id, child;
    char name[32];

    sprintf(name, "w%u", worker);
    MUST(helios_branch_create(db, name, 0, 0, &id));
    atomic_fetch_add(&made, 1);
    MUST(helios_branch_get(db, id, &info));
    for (int i = 0; i < 30; i++)
        MUST(write_pair(random_below(rng, 3) ? 0 : id, random_below(rng, PAIRS)));
    walk(id);
    sprintf(name, "c%u", worker);
    MUST(helios_branch_create(db, name, id, 0, &child));
    read_pair(0, info->fork_seq, random_below(rng, PAIRS)); /* held by the fork */
    for (int i = 0; i < 10; i++) {
        helios_branch_id any = 1 + (helios_branch_id)random_below(rng, child);

        read_pair(any, 0, random_below(rng, PAIRS));
        read_pair(0, info->fork_seq, random_below(rng, PAIRS));
        (void)!write_pair(any, random_below(rng, PAIRS)); /* somebody else's, or dropped */
    }
    walk(child);
    helios_free(info);
    while (helios_branch_drop(db, child) == HELIOS_BUSY) /* a read of another worker */
        ;
    while (helios_branch_drop(db, id) == HELIOS_BUSY)
        ;
    atomic_fetch_add(&dropped, 1);
}

static void *work(void *arg)
{
    unsigned worker = (unsigned)(uintptr_t)arg;
    struct random rng;

    random_seed(&rng, worker + 1);
    while (!atomic_load(&over))
        one_branch(&rng, worker);
    return NULL;
}

static void *compact(void *arg)
{
    while (!atomic_load(&over)) {
        uint64_t value;

        MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
        MUST(helios_stat(db, "branches.dropped.bytes", &value));
    }
    return arg;
}

int main(int argc, char **argv)
{
    uint64_t milliseconds = argc > 1 ? strtoull(argv[1], NULL, 10) : 3000;
    helios_options options = HELIOS_OPTIONS_INIT;
    pthread_t threads[WORKERS + 1];
    struct io_fs *fs;

    options.memtable_bytes = 64 << 10;
    options.block_bytes = 1024;
    options.history_retention = 0;
    MUST(io_memory_new(&fs));
    MUST(engine_open(fs, "/db", &options, &db));
    for (uint64_t pair = 0; pair < PAIRS; pair++)
        MUST(write_pair(0, pair));
    for (unsigned i = 0; i < WORKERS; i++)
        MUST(thread_start(&threads[i], "worker", work, (void *)(uintptr_t)i));
    MUST(thread_start(&threads[WORKERS], "compact", compact, NULL));
    thread_sleep(milliseconds * 1000);
    atomic_store(&over, true);
    for (unsigned i = 0; i <= WORKERS; i++)
        thread_join(threads[i]);
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_close(db));
    io_free(fs);
    printf("%" PRIu64 " branches made, %" PRIu64 " pairs dropped, %" PRIu64 " reads\n", atomic_load(&made),
           atomic_load(&dropped), atomic_load(&reads));
    return 0;
}
