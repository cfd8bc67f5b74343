/* test_ingest.c - commits so large that their tables are written in pieces, by several threads: what is read then is what
 * the batch said, in whatever order it said it, and nothing is left of one that fails. */
#undef NDEBUG
#include "engine/engine_internal.h"
#include "compaction/pool.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#ifndef TEST_KEYS /* fewer in sanitized builds: two pieces instead of four */
#define TEST_KEYS 10000
#endif

enum { KEYS = TEST_KEYS, VALUE_SIZE = 3600 /* 36 MB in all */ };

#define MUST(call)                                                                                             \
    do {                                                                                                       \
        if ((call) != HELIOS_OK) {                                                                             \
            fprintf(stderr, "test_ingest.c:%d: %s: %s\n", __LINE__, #call, helios_last_error());               \
            abort();                                                                                           \
        }                                                                                                      \
    } while (0)

static struct io_fs *fs;

static helios_db *open_db(void)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_db *db = NULL;

    options.memtable_bytes = 4 << 20;
    options.background_threads = 4;
    MUST(engine_open(fs, "/db", &options, &db));
    return db;
}

static helios_slice key_of(char out[16], unsigned i)
{
    return slice_make(out, (size_t)snprintf(out, 16, "key%08u", i));
}

/* A quarter of the bytes compresses. */
static helios_slice value_of(char out[VALUE_SIZE], unsigned i, unsigned turn)
{
    enum { RANDOM = VALUE_SIZE * 3 / 4, WORDS = 1 << 14 };
    static uint32_t random[WORDS];

    if (random[0] == 0)
        for (uint32_t x = 1, n = 0; n < WORDS; n++)
            random[n] = x = x * 1664525u + 1013904223u;
    memcpy(out, random + (i * 2654435761u + turn) % (WORDS - RANDOM / 4), RANDOM);
    memset(out + RANDOM, 'v', VALUE_SIZE - RANDOM);
    put_u32(out, i);
    put_u32(out + 4, turn);
    return slice_make(out, VALUE_SIZE);
}

static void add_put(helios_batch *batch, unsigned i, unsigned turn)
{
    char key[16], value[VALUE_SIZE];

    helios_batch_put(batch, key_of(key, i), value_of(value, i, turn));
}

static void add_delete(helios_batch *batch, unsigned i)
{
    char key[16];

    helios_batch_delete(batch, key_of(key, i));
}

/* Turn of each key, 0: deleted or never there. */
static void check(helios_db *db, const unsigned turns[KEYS])
{
    helios_iter *it = NULL;
    char key[16], expected[VALUE_SIZE];
    unsigned i = 0;

    MUST(helios_iter_new(db, NULL, &it));
    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it), i++) {
        while (i < KEYS && turns[i] == 0)
            i++;
        assert(i < KEYS);
        assert(slice_equal(helios_iter_key(it), key_of(key, i)));
        assert(slice_equal(helios_iter_value(it), value_of(expected, i, turns[i])));
    }
    while (i < KEYS && turns[i] == 0)
        i++;
    assert(i == KEYS);
    MUST(helios_iter_status(it));
    helios_iter_free(it);
    MUST(helios_verify(db, NULL, NULL));
}

/* ---- orders ---- */

enum order { ASCENDING, DESCENDING, SCATTERED, ASCENDING_BUT_ONE, WITH_RANGES, ORDERS };

static void fill(helios_batch *batch, enum order order, unsigned turn, unsigned turns[KEYS])
{
    char from[16], to[16];

    for (unsigned n = 0; n < KEYS; n++) {
        unsigned i = order == DESCENDING ? KEYS - 1 - n : order == SCATTERED ? n * 7919u % KEYS : n;

        if (i % 5 == turn % 5) {
            add_delete(batch, i);
            turns[i] = 0;
        } else {
            add_put(batch, i, turn);
            turns[i] = turn;
        }
    }
    if (order == SCATTERED) /* again: the last one counts */
        for (unsigned i = 0; i < KEYS; i += 100) {
            add_put(batch, i, turn + 1000);
            turns[i] = turn + 1000;
        }
    if (order == ASCENDING_BUT_ONE) {
        add_delete(batch, KEYS / 2);
        turns[KEYS / 2] = 0;
    }
    if (order == WITH_RANGES) {
        helios_batch_delete_range(batch, key_of(from, 100), key_of(to, KEYS - 100));
        memset(turns + 100, 0, (KEYS - 200) * sizeof(*turns));
        add_put(batch, KEYS - 50, turn + 1);
        turns[KEYS - 50] = turn + 1;
    }
}

/* One batch, cleared between: its table of keys is there at times when nothing is hashed. */
static void orders(void)
{
    static unsigned turns[KEYS];
    helios_batch *batch = helios_batch_new();
    helios_db *db = open_db();

    for (unsigned turn = 1; turn <= (KEYS < 10000 ? 1 : 2) * ORDERS; turn++) {
        helios_batch_clear(batch);
        fill(batch, (enum order)(turn % ORDERS), turn, turns);
        MUST(helios_write(db, NULL, batch, NULL));
        check(db, turns);
    }
    MUST(helios_close(db));
    db = open_db();
    check(db, turns);
    MUST(helios_close(db));
    helios_batch_free(batch);
}

/* The pool is busy all the while: the caller writes every piece. */
struct blocked {
    struct pool_job job; /* first */
    _Atomic uint32_t begun, let_go;
};

static void wait_to_go(struct pool_job *job)
{
    struct blocked *b = (struct blocked *)job;

    atomic_store(&b->begun, 1);
    while (!atomic_load(&b->let_go))
        futex_wait(&b->let_go, 0, UINT64_MAX);
}

static void pool_is_busy(void)
{
    static unsigned turns[KEYS];
    struct blocked blocked[4] = {0};
    helios_batch *batch = helios_batch_new();
    helios_db *db = open_db();

    for (int i = 0; i < 4; i++) {
        blocked[i].job.run = wait_to_go;
        pool_submit(db->pool, POOL_FLUSH, &blocked[i].job);
    }
    for (int i = 0; i < 4; i++)
        while (!atomic_load(&blocked[i].begun))
            thread_sleep(1000);
    fill(batch, ASCENDING, 100, turns);
    MUST(helios_write(db, NULL, batch, NULL));
    for (int i = 0; i < 4; i++) {
        atomic_store(&blocked[i].let_go, 1);
        futex_wake(&blocked[i].let_go, 1);
    }
    check(db, turns);
    pool_drain(db->pool);
    MUST(helios_close(db));
    helios_batch_free(batch);
}

/* ---- failures ---- */

enum { FILES_MAX = 200, NAME_BYTES = 32 };

struct names {
    size_t count;
    char names[FILES_MAX][NAME_BYTES];
};

static bool has(const struct names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->names[i], name) == 0)
            return true;
    return false;
}

static helios_status add_name(void *arg, const char *name)
{
    struct names *names = arg;

    assert(names->count < FILES_MAX);
    assert((size_t)snprintf(names->names[names->count++], NAME_BYTES, "%s", name) < NAME_BYTES);
    return HELIOS_OK;
}

static helios_status is_known(void *arg, const char *name)
{
    if (!has(arg, name))
        fprintf(stderr, "%s was left behind\n", name);
    assert(has(arg, name));
    return HELIOS_OK;
}

/* One of several pieces fails, whichever it is: nothing of the commit is there, and the next one is made. */
static void a_piece_fails(void)
{
    static unsigned turns[KEYS];
    helios_batch *batch = helios_batch_new();
    helios_db *db = open_db();
    static struct names before;

    fill(batch, ASCENDING, 200, turns);
    MUST(helios_write(db, NULL, batch, NULL));
    MUST(helios_compact(db, slice_make(NULL, 0), slice_make(NULL, 0)));
    /* Tables that the compaction replaced may be among them: they go later. */
    MUST(io_list(fs, db->sst_directory, add_name, &before));
    for (uint64_t nth = 1; nth <= (KEYS < 10000 ? 2 : 4); nth++) {
        static unsigned not_made[KEYS];
        struct io_fault fault = {
            .fail_at = nth, .mask = 1u << IO_CALL_SYNC, .error_number = EIO, .path_contains = ".sst"};

        helios_batch_clear(batch);
        fill(batch, DESCENDING, 300, not_made);
        io_faulty_plan(fs, &fault);
        assert(helios_write(db, NULL, batch, NULL) == HELIOS_IO);
        assert(strstr(helios_last_error(), ".sst"));
        io_faulty_plan(fs, NULL);
        MUST(io_list(fs, db->sst_directory, is_known, &before));
        check(db, turns);
    }
    fill(batch, DESCENDING, 400, turns);
    MUST(helios_write(db, NULL, batch, NULL));
    check(db, turns);
    MUST(helios_close(db));
    helios_batch_free(batch);
}

static helios_status count_name(void *arg, const char *name)
{
    (void)name;
    ++*(size_t *)arg;
    return HELIOS_OK;
}

/* The tables in the directory are those of the tree. Nothing runs, as nothing is left to do. */
static void no_table_is_left(helios_db *db)
{
    size_t in_directory = 0, in_tree = 0;

    MUST(io_list(fs, db->sst_directory, count_name, &in_directory));
    for (int level = 0; level < LEVEL_COUNT; level++)
        in_tree += db->version->levels[level].count;
    assert(in_directory == in_tree);
}

/* The power goes at some call between the first piece's beginning and the commit's end: all of it is there, or nothing,
 * and all if it was acknowledged. */
static void the_power_goes(void)
{
    static unsigned turns[2][KEYS];
    const unsigned cuts = KEYS < 10000 ? 3 : 8;
    helios_batch *batch = helios_batch_new();
    helios_db *db = open_db();
    uint64_t calls;
    int now = 0; /* of turns: what is there */

    calls = io_faulty_changes(fs);
    fill(batch, ASCENDING, 500, turns[now]);
    MUST(helios_write(db, NULL, batch, NULL));
    calls = io_faulty_changes(fs) - calls;
    for (unsigned cut = 1; cut <= cuts; cut++) {
        helios_iter *it = NULL;
        helios_status status;

        helios_batch_clear(batch);
        memcpy(turns[!now], turns[now], sizeof(turns[now]));
        fill(batch, cut % 2 ? ASCENDING : SCATTERED, 500 + cut, turns[!now]);
        io_faulty_stop_at(fs, 1 + calls * cut / cuts);
        status = helios_write(db, NULL, batch, NULL);
        (void)!helios_close(db);
        io_faulty_power_cut(fs, (enum io_damage)(cut % IO_DAMAGE_COUNT), cut);
        db = open_db();
        MUST(helios_iter_new(db, NULL, &it));
        helios_iter_first(it);
        assert(helios_iter_valid(it));
        if (get_u32((const char *)helios_iter_value(it).data + 4) % 1000 == 500 + cut)
            now = !now;
        else
            assert(status != HELIOS_OK);
        helios_iter_free(it);
        check(db, turns[now]);
    }
    MUST(helios_compact(db, slice_make(NULL, 0), slice_make(NULL, 0)));
    MUST(helios_close(db));
    db = open_db();
    no_table_is_left(db);
    MUST(helios_close(db));
    helios_batch_free(batch);
}

int main(void)
{
    static void (*const cases[])(void) = {orders, pool_is_busy, a_piece_fails, the_power_goes};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        MUST(io_faulty_new(1, &fs));
        cases[i]();
        io_free(fs);
    }
    return 0;
}
