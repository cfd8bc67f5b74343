/* branch_test.h - what the files of test_branch_model share: the state of the test beside the database, its choices, and
 * the names of its actions. branch_checks.c reads, branch_changes.c writes keys and makes branches, branch_merges.c
 * merges, reverts and compares; each does the same to the model (branch_model.h) and compares all that is answered. */
#ifndef HELIOS_TESTS_BRANCH_TEST_H
#define HELIOS_TESTS_BRANCH_TEST_H
#include "engine/engine_internal.h"
#include "tests/branch_model.h"
#include "tests/feed_replay.h"
#include "tests/history_model.h"

enum {
    KEYS_MAX = 256,
    SNAPSHOTS_MAX = 4,
    ITERATORS_MAX = 4,
    TXNS_MAX = 4,
    TAGS_MAX = 300,
    TAGS_LIVE = 5,
    BRANCHES_LIVE = 14,
    VALUE_MAX = 300000,
    SECOND = 1000000,
};
#define CHANGING 12345 /* a retention: another one now and then, and at each open */

struct option_set {
    const char *name;
    enum { ON_FAULTY, ON_DISK, IN_MEMORY } place;
    size_t keys;
    uint32_t value_bytes; /* at most, but for a few */
    uint32_t large_bytes; /* of these */
    uint64_t memtable_bytes, retention;
    uint64_t world; /* steps, after which everything begins anew */
    bool kills;
    bool consumer; /* the feed is followed under a name, by a cursor that stays open; else one for each look */
};

struct held_snapshot {
    helios_snapshot *handle;
    helios_seq at;
};
struct held_iterator {
    helios_iter *handle;
    helios_branch_id branch;
    helios_seq at;
    size_t lower, upper;
};
struct held_txn {
    helios_txn *handle;
    helios_branch_id branch;
    helios_seq begin;
    bool serializable, read_only;
    uint32_t value[KEYS_MAX]; /* of own writes; 0: deleted */
    bool written[KEYS_MAX], read[KEYS_MAX];
};
struct tag {
    char name[24];
    helios_branch_id branch;
    helios_seq at, made, dropped; /* commits; dropped 0: it is there */
};

struct test {
    const struct option_set *set;
    uint64_t seed, steps, step, world_step, worlds, checks; /* checks: answers that were compared */
    bool left_out[64];                                      /* of the actions */
    struct random rng;
    struct model *model;
    struct history_key keys[KEYS_MAX];
    size_t key_count;
    struct io_fs *fs;
    char path[128];
    helios_db *db;
    helios_options options;
    uint64_t wall, monotonic;
    uint32_t values; /* numbers handed out */
    struct held_snapshot snapshots[SNAPSHOTS_MAX];
    struct held_iterator iterators[ITERATORS_MAX];
    struct held_txn txns[TXNS_MAX];
    struct tag tags[TAGS_MAX];
    size_t tag_count, tag_names;
    unsigned char value[VALUE_MAX + 64], other[VALUE_MAX + 64], metadata[70000];
    helios_buf got;
    struct feed_replay *replay;
    struct {
        uint64_t gone, merges, empty, conflicts, several, orphaned, contained, reverts, diffs, forks, drops,
            lost, ingested, refused;
    } counts;
};

_Noreturn void branch_die(const struct test *, const char *file, int line, const char *what);
#define CHECK(t, condition)                                                                                    \
    do {                                                                                                       \
        if (!(condition))                                                                                      \
            branch_die(t, __FILE__, __LINE__, #condition);                                                     \
    } while (0)
#define MUST(t, call) CHECK(t, (call) == HELIOS_OK)

/* ---- choices ---- */

static inline uint64_t below(struct test *t, uint64_t limit)
{
    return random_below(&t->rng, limit);
}
static inline bool chance(struct test *t, uint64_t of)
{
    return below(t, of) == 0;
}
static inline helios_slice key_slice(const struct test *t, size_t key)
{
    return history_slice(&t->keys[key]);
}
/* One of a value's bytes, which are the same whenever it is asked for; different values never have the same ones. */
helios_slice value_slice(const struct test *, uint32_t value, unsigned char *out);
uint32_t any_value(struct test *); /* often one that others have, too */
uint32_t fresh_value(struct test *);
helios_branch_id any_branch(struct test *);  /* a live one */
helios_branch_id any_dropped(struct test *); /* 0: none was */
size_t live_branches(const struct test *);
static inline helios_seq branch_fork(const struct test *t, helios_branch_id branch)
{
    return t->model->branches[branch].fork;
}
/* A number as the library takes it for a point, 0 being the one before the first commit. */
static inline helios_seq as_point(helios_seq at)
{
    return at ? at : HELIOS_SEQ_NONE;
}
static inline helios_seq of_point(helios_seq at)
{
    return at == HELIOS_SEQ_NONE ? 0 : at;
}

/* A read point of a live branch: as a call is to be told, and what it means. */
struct ask {
    helios_read_options read;
    helios_branch_id branch;
    helios_seq at;
    helios_seq horizon; /* before the call */
};
struct ask any_ask(struct test *);
struct ask ask_at(struct test *, helios_branch_id, helios_seq at);
/* Whether what is at the point must be there to read whatever happens, and whether it may be there at all. */
bool must_be_readable(struct test *, const struct ask *);
bool may_be_readable(struct test *, const struct ask *);
/* Whether the status is right for a call that reads there: true for HELIOS_OK, false for HELIOS_HISTORY_GONE. */
bool judge(struct test *, const struct ask *, helios_status);
static inline const struct model_cell *state_of(const struct test *t, const struct ask *ask)
{
    return model_state(t->model, ask->branch, ask->at);
}
bool value_is(struct test *, helios_slice, uint32_t value);

/* The last commit is the library's last: it was just made, on no branch. */
void note_commit(struct test *);
void committed(struct test *, helios_branch_id); /* the model's draft, likewise */

/* What is open on a branch. */
uint32_t handles_on(const struct test *, helios_branch_id);
bool tagged(const struct test *, helios_branch_id);

/* ---- actions ---- */

void get(struct test *);
void multi_get(struct test *);
void walk(struct test *);
void seek(struct test *);
void hold_iterator(struct test *);
void history_of_key(struct test *);
void list_branches(struct test *);
void list_branches_at(struct test *);
void check_branch(struct test *);
void ask_wrongly(struct test *);
void check_all(struct test *); /* every live branch, whole */

void put(struct test *);
void delete_key(struct test *);
void delete_range(struct test *);
void write_batch(struct test *);
void write_much(struct test *);
void use_transaction(struct test *);
void toggle_snapshot(struct test *);
void toggle_tag(struct test *);
void fork_branch(struct test *);
void drop_branch(struct test *);
void rename_branch(struct test *);
void set_metadata(struct test *);

void diff(struct test *);
void merge(struct test *);
void revert(struct test *);
void list_merges(struct test *);

#endif
