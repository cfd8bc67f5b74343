/* test_isolation.c - many threads run transactions through the public API; every one is recorded, with what it read of
 * whom, and the judge of isolation.h looks for what its level forbids. Beside it each workload has an invariant of its
 * own: sums of a bank, chains of counters, doctors on call, rooms of limited size.
 *
 *   test_isolation [--seed N] [--transactions N]
 *
 * A value carries the number of the transaction that wrote it and of the operation within, so a read says which version
 * it saw. What a transaction must see of its own writes is kept beside it and compared at once. */
#undef NDEBUG
#include "tests/isolation_client.h"
#include "tests/feed_replay.h"
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- bank: what is there in all stays the same, at every point and level ---- */

enum { BANK_KEYS = 24, BANK_EACH = 4 };

static void bank_fill(struct client *c)
{
    for (uint32_t key = 0; key < BANK_KEYS; key++)
        put(c, key, BANK_EACH, 0);
}

static void bank_look(struct client *c, const struct cell *cells)
{
    int64_t sum = 0;

    for (uint32_t key = 0; key < BANK_KEYS; key++)
        sum += cells[key].number;
    CHECK(c->run, c->lost || c->in_past || sum == BANK_KEYS * BANK_EACH);
    CHECK(c->run, c->lost || sum == BANK_KEYS * BANK_EACH || sum == 0); /* before it was filled */
}

/* An empty account is closed. */
static void bank_store(struct client *c, uint32_t key, int64_t amount)
{
    if (amount)
        put(c, key, amount, 0);
    else
        delete_key(c, key);
}

static void bank_body(struct client *c)
{
    uint32_t from = (uint32_t)below(c, BANK_KEYS),
             to = (from + 1 + (uint32_t)below(c, BANK_KEYS - 1)) % BANK_KEYS;
    int64_t have = get(c, from).number, there = get(c, to).number, amount;

    if (have == 0)
        return;
    amount = 1 + (int64_t)below(c, (uint64_t)have);
    if (chance(c, 4)) { /* thinks again */
        savepoint(c);
        put(c, from, 1000000, 0);
        delete_range(c, 0, BANK_KEYS);
        rollback_to_savepoint(c);
    }
    bank_store(c, from, have - amount);
    bank_store(c, to, there + amount);
    if (chance(c, 10))
        look_at_all(c);
}

/* ---- counters: each increment knows the one before ---- */

static uint64_t link_chain(uint64_t chain, uint32_t id)
{
    return (chain ^ id) * 0x9e3779b97f4a7c15u + 1;
}

enum { COUNTERS = 8 };

static void counter_body(struct client *c)
{
    for (uint64_t i = 1 + below(c, 2); i > 0; i--) {
        uint32_t key = (uint32_t)below(c, COUNTERS);
        struct cell old = get(c, key);

        put(c, key, old.number + 1, link_chain(old.chain, c->id));
    }
}

/* ---- doctors: of each two, one is on call ---- */

enum { DOCTORS = 16 };

static void doctors_fill(struct client *c)
{
    for (uint32_t key = 0; key < DOCTORS; key++)
        put(c, key, 1, 0);
}

static void doctors_look(struct client *c, const struct cell *cells)
{
    for (uint32_t key = 0; key < DOCTORS && cells[key].present; key += 2)
        CHECK(c->run,
              c->run->mode != ALL_SERIALIZABLE || c->lost || cells[key].number + cells[key + 1].number > 0);
}

static void doctors_body(struct client *c)
{
    uint32_t key = (uint32_t)below(c, DOCTORS), other = key ^ 1;
    int64_t mine = get(c, key).number, others = get(c, other).number;

    if (mine && others)
        put(c, key, 0, 0);
    else if (!mine)
        put(c, key, 1, 0);
}

/* ---- rooms: no more than so many guests in each, counted by a walk ---- */

enum { ROOM_KEYS = 16, ROOM_GUESTS = 5, ROOMS = 4 };

static void rooms_look(struct client *c, const struct cell *cells)
{
    for (uint32_t room = 0; room < ROOMS; room++) {
        unsigned guests = 0;

        for (uint32_t i = 0; i < ROOM_KEYS; i++)
            guests += cells[room * ROOM_KEYS + i].present;
        CHECK(c->run, c->run->mode != ALL_SERIALIZABLE || c->lost || guests <= ROOM_GUESTS);
    }
}

static void rooms_body(struct client *c)
{
    uint32_t first = (uint32_t)below(c, ROOMS) * ROOM_KEYS, guests = 0,
             key = first + (uint32_t)below(c, ROOM_KEYS);
    struct cell cells[KEYS_MAX];

    scan(c, first, first + ROOM_KEYS, cells, false);
    for (uint32_t i = first; i < first + ROOM_KEYS; i++)
        guests += cells[i].present;
    if (cells[key].present)
        delete_key(c, key);
    else if (guests < ROOM_GUESTS)
        put(c, key, 1, 0);
    else if (chance(c, 3))
        delete_range(c, first + (uint32_t)below(c, ROOM_KEYS), first + ROOM_KEYS);
}

/* ---- accounts of two parts (Fekete, O'Neil, O'Neil 2004): deposits to one, withdrawals judged by both ---- */

enum { PAIRS = 6 };

static void pairs_body(struct client *c)
{
    uint32_t saving = (uint32_t)below(c, PAIRS) * 2, checking = saving + 1;
    uint64_t dice = below(c, 3);
    int64_t a, b;

    if (dice == 0) {
        put(c, saving, get(c, saving).number + 20, 0);
    } else if (dice == 1) {
        a = get(c, saving).number;
        b = get(c, checking).number;
        put(c, checking, b - (a + b < 10 ? 11 : 10), 0);
    } else {
        get(c, checking);
        get(c, saving);
    }
}

/* ---- forks: single writes, and readers of many keys in any order ---- */

enum { FORK_KEYS = 10 };

static void forks_body(struct client *c)
{
    if (chance(c, 2)) {
        put(c, (uint32_t)below(c, FORK_KEYS), 1, 0);
        return;
    }
    for (uint32_t i = 0, at = (uint32_t)below(c, FORK_KEYS); i < FORK_KEYS; i++, at = (at + 3) % FORK_KEYS)
        get(c, at);
}

/* ---- a mix of everything ---- */

enum { MIX_KEYS = 48 };

static void mix_body(struct client *c)
{
    struct cell cells[KEYS_MAX];

    for (uint64_t i = 1 + below(c, 8); i > 0; i--) {
        uint64_t dice = below(c, 100);
        uint32_t from = (uint32_t)below(c, MIX_KEYS);

        if (dice < 45)
            get(c, from);
        else if (dice < 60)
            scan(c, from, from + 1 + (uint32_t)below(c, chance(c, 4) ? MIX_KEYS - from : 1), cells, true);
        else if (dice < 88)
            any_write(c, 0, MIX_KEYS);
        else if (dice < 95)
            savepoint(c);
        else
            rollback_to_savepoint(c);
    }
}

static const struct workload workloads[] = {
    {"bank", BANK_KEYS, bank_fill, bank_body, bank_look, 0},
    {"counters", COUNTERS, NULL, counter_body, NULL, 0},
    {"doctors", DOCTORS, doctors_fill, doctors_body, doctors_look, 0},
    {"rooms", ROOMS *ROOM_KEYS, NULL, rooms_body, rooms_look, 0},
    {"pairs", PAIRS * 2, NULL, pairs_body, NULL, 0},
    {"forks", FORK_KEYS, NULL, forks_body, NULL, 15},
    {"mix", MIX_KEYS, NULL, mix_body, NULL, 20},
};

/* ---- threads ---- */

/* helios_txn_run: each attempt is a transaction of its own. One that is begun again saw at least what was there when
 * the one before began. */
struct attempts {
    struct client *client;
    uint64_t begin_min;
    bool any;
};

static helios_status attempt(void *arg, helios_txn *txn)
{
    struct attempts *a = arg;
    struct client *c = a->client;
    uint64_t latest = helios_latest(c->run->db);

    if (a->any)
        end_record(c, HELIOS_CONFLICT, 0);
    c->txn = txn;
    start_record(c, a->begin_min, latest);
    a->begin_min = latest;
    a->any = true;
    c->run->workload->body(c);
    return c->lost ? HELIOS_CONFLICT : HELIOS_OK;
}

static void run_turn(struct client *c)
{
    helios_txn_options options = txn_options(c);
    struct attempts a = {c, helios_latest(c->run->db), false};
    helios_seq commit = 0;
    helios_status status = helios_txn_run(c->run->db, &options, attempt, &a, &commit);

    end_record(c, status, commit);
    c->txn = NULL;
}

static void *client_main(void *arg)
{
    struct client *c = arg;

    for (unsigned turn = 0; turn < c->run->turns; turn++) {
        uint64_t dice = below(c, 100);

        if (dice < c->run->workload->plain) {
            plain_turn(c);
        } else if (dice >= 90) {
            read_turn(c);
        } else if (dice >= 80) {
            run_turn(c);
        } else {
            begin(c);
            c->run->workload->body(c);
            if (chance(c, 400))
                flood(c);
            end(c);
        }
    }
    helios_buf_free(&c->value);
    return NULL;
}

/* Flushes and compactions beside it. */
static void *upkeep_main(void *arg)
{
    struct run *r = arg;
    struct random rng;

    random_seed(&rng, r->draw + 999);
    while (!atomic_load(&r->stop)) {
        if (random_below(&rng, 4) == 0)
            MUST(r, helios_compact(r->db, (helios_slice){0}, (helios_slice){0}));
        else
            MUST(r, helios_flush(r->db));
        usleep((useconds_t)random_below(&rng, 8000));
    }
    return NULL;
}

static void client_init(struct client *c, struct run *r, unsigned index)
{
    *c = (struct client){.run = r, .log = &r->logs[index]};
    random_seed(&c->rng, r->draw * 1000 + index);
}

/* ---- afterwards ---- */

struct replay {
    const struct run *run;
    uint64_t chain;
    int64_t number;
};

static void replay_version(void *arg, uint32_t writer, uint16_t op, bool deleted)
{
    struct replay *replay = arg;

    CHECK(replay->run, !deleted);
    replay->chain = link_chain(replay->chain, writer);
    replay->number++;
}

/* Every increment that was committed is in the last value, in order. A transaction may have counted one key twice. */
static void check_counters(struct client *c)
{
    for (uint32_t key = 0; key < COUNTERS; key++) {
        struct replay replay = {.run = c->run};
        struct cell last;

        begin(c);
        last = get(c, key);
        end(c);
        iso_versions(c->run->logs, THREADS_MAX + 1, key, replay_version, &replay);
        CHECK(c->run, last.number >= replay.number);
        CHECK(c->run, last.number != replay.number || last.chain == replay.chain);
    }
}

static void open_database(struct run *r)
{
    static const uint64_t memtables[] = {64 << 10, 64 << 10, 256 << 10, 1 << 20};
    static const uint64_t retentions[] = {0, 3000, HELIOS_FOREVER};
    helios_options options = HELIOS_OPTIONS_INIT;
    struct random rng;

    random_seed(&rng, r->draw);
    options.memtable_bytes = memtables[random_below(&rng, 4)];
    options.history_retention = r->retention = retentions[random_below(&rng, 3)];
    options.background_threads = 2;
    options.feed_retention = r->draw % 2 ? HELIOS_FOREVER : 0;
    MUST(r, io_memory_new(&r->fs));
    MUST(r, engine_open(r->fs, "/isolation", &options, &r->db));
}

static void run_threads(struct run *r)
{
    static struct client clients[THREADS_MAX];
    pthread_t threads[THREADS_MAX], upkeep;

    assert(pthread_create(&upkeep, NULL, upkeep_main, r) == 0);
    for (unsigned i = 0; i < r->threads; i++) {
        client_init(&clients[i], r, i);
        assert(pthread_create(&threads[i], NULL, client_main, &clients[i]) == 0);
    }
    for (unsigned i = 0; i < r->threads; i++)
        assert(pthread_join(threads[i], NULL) == 0);
    atomic_store(&r->stop, true);
    assert(pthread_join(upkeep, NULL) == 0);
}

static void fill(struct client *c)
{
    helios_seq commit = 0;

    if (!c->run->workload->fill)
        return;
    begin(c);
    c->run->workload->fill(c);
    MUST(c->run, helios_txn_commit(c->txn, &commit));
    end_record(c, HELIOS_OK, commit);
    helios_txn_free(c->txn);
}

/* Of half of the runs: the feed has what was committed. */
static void check_feed(struct run *r)
{
    const struct feed_replay_options options = {.seed = r->draw, .no_trim = true};
    struct feed_replay *replay = feed_replay_new(&options);

    feed_replay_follow(replay, r->db);
    feed_replay_free(replay);
}

/* Returns how many transactions there were. */
static uint64_t run_one(const struct workload *workload, enum mode mode, unsigned threads,
                        uint64_t transactions, uint64_t seed, uint64_t draw)
{
    static struct run r;
    static struct client c;
    unsigned found;
    uint32_t ids;

    r = (struct run){.workload = workload, .mode = mode, .seed = seed, .draw = draw, .threads = threads};
    r.turns = (unsigned)(transactions / threads) + 1;
    open_database(&r);
    client_init(&c, &r, THREADS_MAX);
    fill(&c);
    run_threads(&r);
    if (workload->body == counter_body)
        check_counters(&c);
    read_turn(&c);
    check_feed(&r);
    helios_buf_free(&c.value);
    found = iso_check(r.logs, THREADS_MAX + 1, workload->keys, stdout);
    ids = atomic_load(&r.ids);
    printf("%s, %s, --seed %" PRIu64 ": %u threads, %" PRIu32 " transactions, %" PRIu64 " committed, %" PRIu64
           " conflicts, %" PRIu64 " rolled back, %" PRIu64 " in the past, %" PRIu64 " gone\n",
           workload->name, mode_names[mode], seed, threads, ids, atomic_load(&r.committed),
           atomic_load(&r.conflicts), atomic_load(&r.rolled_back), atomic_load(&r.past), atomic_load(&r.gone));
    CHECK(&r, found == 0);
    CHECK(&r, threads > 1 || atomic_load(&r.conflicts) == 0); /* who is alone never loses */
    CHECK(&r, atomic_load(&r.committed) * 20 > ids);
    MUST(&r, helios_close(r.db));
    io_free(r.fs);
    for (size_t i = 0; i <= THREADS_MAX; i++)
        iso_log_release(&r.logs[i]);
    return ids;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, transactions = 210000, total = 0, each;
    struct random rng;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--transactions") == 0)
            transactions = strtoull(argv[i + 1], NULL, 10);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    random_seed(&rng, seed);
    each = transactions / (sizeof(workloads) / sizeof(workloads[0]) * MODES);
    for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++) {
        total += run_one(&workloads[i], MIXED, 1, each / 20, seed, random_next(&rng));
        for (enum mode mode = 0; mode < MODES; mode++) {
            unsigned threads = 4 + (unsigned)random_below(&rng, THREADS_MAX - 3);

            total += run_one(&workloads[i], mode, threads, each, seed, random_next(&rng));
        }
    }
    printf("%" PRIu64 " transactions\n", total);
    return 0;
}
