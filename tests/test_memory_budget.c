/* test_memory_budget.c - a memory budget is kept by closing tables that nobody uses: many more tables than may be open
 * at once, read by gets, iterators and branches from several threads while others are written; what they keep in memory
 * stays within their share, and every answer is right. */
#undef NDEBUG
#include "base/random.h"
#include "helios/helios.h"
#include <assert.h>
#include <dirent.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(call)                                                                                             \
    do {                                                                                                       \
        helios_status status_ = (call);                                                                        \
        if (status_ != HELIOS_OK) {                                                                            \
            fprintf(stderr, "%s:%d: %s: %s: %s\n", __FILE__, __LINE__, #call, helios_status_name(status_),     \
                    helios_last_error());                                                                      \
            abort();                                                                                           \
        }                                                                                                      \
    } while (0)

enum {
    BUDGET = 1 << 20,
    CACHE = BUDGET / 8 * 3,
    SLACK = 160 << 10, /* tables in use stay open, and parts are charged before somebody looks */
    KEYS = 60000,
    READERS = 3,
    READS = 4000,
    VALUE_BYTES = 120,
    STEPS = 20,
    ABSENT = 3000,
};

static uint64_t seed = 1;
static helios_db *db;
static helios_branch_id child;
static _Atomic bool done;

static uint64_t stat_of(const char *name)
{
    uint64_t value;

    MUST(helios_stat(db, name, &value));
    return value;
}

static helios_slice key_of(char *text, size_t room, uint64_t number)
{
    return (helios_slice){text, (size_t)snprintf(text, room, "key%08" PRIu64, number)};
}

static helios_slice value_of(char *text, uint64_t number, int round)
{
    memset(text, '.', VALUE_BYTES);
    snprintf(text, VALUE_BYTES, "%" PRIu64 " in %d", number * 2654435761u, round);
    return (helios_slice){text, VALUE_BYTES};
}

/* The round is not known to who reads beside the writer: any is right. */
static void check_value(uint64_t number, helios_slice value)
{
    char start[64];
    int size = snprintf(start, sizeof(start), "%" PRIu64 " in ", number * 2654435761u);

    assert(value.size == VALUE_BYTES && memcmp(value.data, start, (size_t)size) == 0);
}

static void write_round(helios_branch_id branch, int round, uint64_t step)
{
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    char key[32], value[VALUE_BYTES];

    options.branch = branch;
    for (uint64_t i = 0; i < KEYS; i += step)
        MUST(helios_put(db, &options, key_of(key, sizeof(key), i), value_of(value, i, round)));
}

static void walk(const helios_read_options *options, uint64_t from)
{
    helios_iter *it;
    char key[32];

    MUST(helios_iter_new(db, options, &it));
    helios_iter_seek(it, key_of(key, sizeof(key), from));
    for (uint64_t i = from; i < KEYS && i < from + STEPS; i++, helios_iter_next(it)) {
        assert(helios_iter_valid(it));
        check_value(i, helios_iter_value(it));
    }
    MUST(helios_iter_status(it));
    helios_iter_free(it);
}

static void *read_run(void *arg)
{
    struct random rng;
    helios_buf value = {0};
    char key[32];

    random_seed(&rng, seed + (uintptr_t)arg);
    for (int i = 0; i < READS || !atomic_load(&done); i++) {
        helios_read_options options = HELIOS_READ_OPTIONS_INIT;
        uint64_t number = random_below(&rng, KEYS);

        options.branch = random_below(&rng, 2) ? child : 0;
        if (i % 8 == 0) {
            walk(&options, number);
            continue;
        }
        MUST(helios_get(db, &options, key_of(key, sizeof(key), number), &value));
        check_value(number, (helios_slice){value.data, value.size});
    }
    helios_buf_free(&value);
    return NULL;
}

static void readers_and_a_writer(void)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    pthread_t readers[READERS];
    uint64_t charged, most = 0;

    options.in_memory = true;
    options.memory_budget = BUDGET;
    options.history_retention = 0;
    MUST(helios_open("budget", &options, &db));
    write_round(0, 0, 1);
    MUST(helios_branch_create(db, "child", 0, 0, &child));
    write_round(child, 1, 3);
    for (uintptr_t i = 0; i < READERS; i++)
        assert(pthread_create(&readers[i], NULL, read_run, (void *)(i + 1)) == 0);
    for (int round = 2; round < 4; round++) {
        write_round(0, round, 2);
        charged = stat_of("cache.charged.bytes");
        most = charged > most ? charged : most;
    }
    atomic_store(&done, true);
    for (int i = 0; i < READERS; i++)
        assert(pthread_join(readers[i], NULL) == 0);
    charged = stat_of("cache.charged.bytes");
    most = charged > most ? charged : most;
    printf("%" PRIu64 " files, at most %" PRIu64 " bytes of open tables\n", stat_of("files"), most);
    assert(most <= CACHE / 2 + SLACK);
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_close(db));
}

/* ---- no background ---- */

static unsigned open_files(void)
{
    DIR *directory = opendir("/proc/self/fd");
    unsigned count = 0;

    assert(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

/* A read-only open has no thread that tidies up. The keys are in no table, so that no block is loaded, and evicted, either. */
static void read_only(void)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    char path[] = "/tmp/helios-budget-XXXXXX", key[32];
    helios_buf value = {0};
    unsigned before, most = 0;
    uint64_t charged;

    assert(mkdtemp(path));
    options.memory_budget = BUDGET;
    MUST(helios_open(path, &options, &db));
    write_round(0, 0, 1);
    MUST(helios_close(db));
    options.read_only = true;
    before = open_files();
    MUST(helios_open(path, &options, &db));
    for (uint64_t i = 0; i < ABSENT; i++) {
        int size = snprintf(key, sizeof(key), "key%08" PRIu64 "+", i * 7919 % KEYS);
        unsigned now;

        assert(helios_get(db, NULL, (helios_slice){key, (size_t)size}, &value) == HELIOS_NOT_FOUND);
        now = open_files();
        most = now > most ? now : most;
    }
    printf("read-only: at most %u files open\n", most - before);
    assert(most - before < 100);
    for (uint64_t i = 0; i < KEYS; i++)
        MUST(helios_get(db, NULL, key_of(key, sizeof(key), i), &value));
    charged = stat_of("cache.charged.bytes");
    printf("read-only: %" PRIu64 " bytes of open tables\n", charged);
    assert(charged <= CACHE / 2 + SLACK);
    MUST(helios_close(db));
    helios_buf_free(&value);
    MUST(helios_destroy(path));
}

/* ---- a small cache ---- */

/* Blocks are not kept, but tables stay open as far as the budget allows. */
static void no_blocks(void)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    char key[32];
    helios_buf value = {0};
    uint64_t charged;

    options.in_memory = true;
    options.memory_budget = 16 * BUDGET;
    options.memtable_bytes = BUDGET / 12;
    options.block_cache_bytes = 0;
    MUST(helios_open("no blocks", &options, &db));
    write_round(0, 0, 1);
    MUST(helios_flush(db));
    for (uint64_t i = 0; i < KEYS; i += 20)
        MUST(helios_get(db, NULL, key_of(key, sizeof(key), i), &value));
    charged = stat_of("cache.charged.bytes");
    printf("no blocks: %" PRIu64 " bytes of open tables\n", charged);
    assert(charged > CACHE / 2 && charged <= BUDGET + SLACK);
    MUST(helios_close(db));
    helios_buf_free(&value);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    printf("seed %" PRIu64 "\n", seed);
    readers_and_a_writer();
    no_blocks();
    read_only();
    return 0;
}
