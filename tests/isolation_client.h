/* isolation_client.h - a thread of test_isolation: transactions through the public API, each recorded for the judge of
 * isolation.h, and beside it what it must see of its own writes, compared at once. */
#ifndef HELIOS_TESTS_ISOLATION_CLIENT_H
#define HELIOS_TESTS_ISOLATION_CLIENT_H
#include "base/random.h"
#include "base/slice.h"
#include "engine/engine_internal.h"
#include "tests/isolation.h"

enum {
    KEYS_MAX = 64,
    THREADS_MAX = 16,
    SAVEPOINTS_MAX = 4,
    KEY_BYTES = 8,
    PADDING_MAX = 200,
    FLOOD_COMMITS = 4500
};

enum mode { ALL_SNAPSHOT, ALL_SERIALIZABLE, MIXED, MODES };
extern const char *const mode_names[];

/* What a value says. */
struct cell {
    uint32_t writer;
    uint16_t op;
    bool present; /* false: absent, and all else 0 */
    int64_t number;
    uint64_t chain;
};

struct client;
struct workload {
    const char *name;
    uint32_t keys;
    void (*fill)(struct client *);                           /* the first transaction; may be NULL */
    void (*body)(struct client *);                           /* in a transaction */
    void (*look)(struct client *, const struct cell *cells); /* at a state of all keys; may be NULL */
    unsigned plain; /* of 100 turns so many are writes outside of transactions */
};

struct run {
    const struct workload *workload;
    enum mode mode;
    uint64_t seed, draw, retention; /* draw: what this run's choices follow from */
    unsigned threads, turns;
    struct io_fs *fs;
    helios_db *db;
    _Atomic uint32_t ids;
    _Atomic bool stop;
    _Atomic uint64_t committed, conflicts, past, gone, rolled_back;
    struct iso_log logs[THREADS_MAX + 1];
};

/* What the transaction wrote of a key. */
struct own {
    bool is_set;
    struct cell cell;
};

struct client {
    struct run *run;
    struct iso_log *log;
    struct random rng;
    helios_txn *txn;
    enum iso_level level;
    bool read_only, lost, in_past; /* lost: a call already said that it can only conflict */
    uint32_t id;
    uint16_t op;
    struct own own[KEYS_MAX];
    struct own saved[SAVEPOINTS_MAX][KEYS_MAX];
    unsigned saved_count;
    helios_buf value;
};

_Noreturn void isolation_die(const struct run *, const char *file, int line, const char *what, helios_status);
#define CHECK(r, condition)                                                                                    \
    do {                                                                                                       \
        if (!(condition))                                                                                      \
            isolation_die(r, __FILE__, __LINE__, #condition, HELIOS_OK);                                       \
    } while (0)
#define MUST(r, call)                                                                                          \
    do {                                                                                                       \
        helios_status must_status = (call);                                                                    \
        if (must_status != HELIOS_OK)                                                                          \
            isolation_die(r, __FILE__, __LINE__, #call, must_status);                                          \
    } while (0)

static inline uint64_t below(struct client *c, uint64_t limit)
{
    return random_below(&c->rng, limit);
}
static inline bool chance(struct client *c, uint64_t of)
{
    return below(c, of) == 0;
}

/* ---- transactions ---- */

/* Of the level that the run asks for. */
helios_txn_options txn_options(struct client *);
void begin(struct client *);
/* Read-only, at the end of the history or at some point of it; false: that point is gone. */
bool begin_reading(struct client *);
/* Commits; one in thirty changes its mind. */
void end(struct client *);
/* For helios_txn_run, which begins and ends by itself: the read point is in [begin_min, begin_max]. */
void start_record(struct client *, uint64_t begin_min, uint64_t begin_max);
void end_record(struct client *, helios_status, helios_seq commit);

struct cell get(struct client *, uint32_t key);
void put(struct client *, uint32_t key, int64_t number, uint64_t chain);
void delete_key(struct client *, uint32_t key);
void delete_range(struct client *, uint32_t from, uint32_t to);
void savepoint(struct client *);
void rollback_to_savepoint(struct client *);
/* One of these writes, to keys in [from, to). */
void any_write(struct client *, uint32_t from, uint32_t to);
/* Reads [from, to) into cells, in either direction; meddle: and now and then writes what lies ahead. */
void scan(struct client *, uint32_t from, uint32_t to, struct cell *cells, bool meddle);
/* All keys, by a walk or one by one in any order, shown to the workload. */
void look_at_all(struct client *);
/* A whole transaction that only does that. */
void read_turn(struct client *);

/* ---- outside of transactions ---- */

/* A put or a batch, recorded too. */
void plain_turn(struct client *);
/* More commits than the engine remembers one by one, on a key that is nobody's. */
void flood(struct client *);

#endif
