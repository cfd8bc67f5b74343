/* history_test.h - what the files of test_history share: the state of the test beside the database, its choices, and
 * the reads that are compared with the model (history_reads.c). */
#ifndef HELIOS_TESTS_HISTORY_TEST_H
#define HELIOS_TESTS_HISTORY_TEST_H
#include "engine/engine_internal.h"
#include "tests/feed_replay.h"
#include "tests/history_model.h"

enum {
    SNAPSHOTS_MAX = 12,
    TAGS_MAX = 400,
    TAGS_LIVE = 12,
    ITERATORS_MAX = 6,
    MULTI_MAX = 16,
    VALUE_MAX = 10000
};
enum { SECOND = 1000000 };

struct option_set {
    const char *name;
    size_t pool; /* keys */
    uint64_t memtable_bytes;
    uint32_t block_bytes;
    double filter_bits;
    helios_compression compression;
    uint64_t retention; /* CHANGING: another one now and then, and at each open */
    unsigned kills;     /* of 10000 steps */
    unsigned heavy;     /* of 10000 steps so many write a batch that is ingested */
    bool feed;          /* kept, and followed */
};

struct commit {
    helios_seq seq;
    uint64_t time, operations, bytes; /* 0: not known */
};

struct held_snapshot {
    helios_snapshot *handle;
    helios_seq seq;
};

struct tag {
    char name[24];
    helios_seq at, made, dropped; /* the commits that did it; dropped 0: it is there */
    uint64_t time;
};

/* An iterator and where the model says it stands. */
struct held_iterator {
    helios_iter *handle;
    helios_seq seq;
    size_t from, to, at;
    bool valid;
};

struct test {
    const struct option_set *set;
    uint64_t seed, steps, step, checks;
    bool verbose;
    struct random rng;
    struct history history;
    struct io_fs *fs;
    helios_db *db;
    helios_options options;
    uint64_t wall, monotonic, retention;
    uint64_t asked; /* times up to here were asked for: no later commit has one of them */
    uint64_t
        time_max; /* that any commit ever had or anybody asked for: the clock may stand there after a crash */
    struct commit *commits;
    size_t commit_count, commit_room;
    bool jumped; /* an open skipped numbers */
    struct held_snapshot snapshots[SNAPSHOTS_MAX];
    struct held_iterator iterators[ITERATORS_MAX];
    struct tag tags[TAGS_MAX];
    size_t tag_count, tags_made;
    unsigned char value[VALUE_MAX];
    helios_buf got;
    struct feed_replay *replay;
    uint64_t gone, reopened, killed, lost, walked, listed, timed, tagged;
};

struct point {
    helios_read_options options;
    helios_seq seq;     /* what the model shows; 0: nothing */
    helios_seq horizon; /* before the call */
    bool is_above;      /* of the last commit */
    bool on_all;        /* a new snapshot is of all branches, for which a tag of one does not speak */
};

_Noreturn void history_die(const struct test *, const char *file, int line, const char *what);
#define CHECK(t, condition)                                                                                    \
    do {                                                                                                       \
        if (!(condition))                                                                                      \
            history_die(t, __FILE__, __LINE__, #condition);                                                    \
    } while (0)
#define MUST(t, call) CHECK(t, (call) == HELIOS_OK)

/* ---- choices, and the model's commits ---- */

static inline uint64_t below(struct test *t, uint64_t limit)
{
    return random_below(&t->rng, limit);
}
static inline bool chance(struct test *t, uint64_t of)
{
    return below(t, of) == 0;
}

/* Half of the time one of a few neighbours, so that keys have many versions. */
static inline size_t any_key(struct test *t)
{
    if (chance(t, 2))
        return (t->seed * 7 + t->step / 4000 + below(t, 20)) % t->history.count;
    return below(t, t->history.count);
}

static inline helios_slice key_slice(const struct test *t, size_t key)
{
    return history_slice(&t->history.keys[key]);
}

/* How many commits are numbered at or below. */
static inline size_t commits_to(const struct test *t, helios_seq seq)
{
    size_t low = 0, high = t->commit_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (t->commits[middle].seq <= seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The commit that a point reads as; 0: the one before the first. */
static inline helios_seq commit_at(const struct test *t, helios_seq seq)
{
    size_t count = commits_to(t, seq);

    return count ? t->commits[count - 1].seq : 0;
}

/* ---- reads, in history_reads.c ---- */

/* A tag that is there; NULL if there are few or none. */
const struct tag *any_tag(struct test *);
/* A point to read at: now, in the past, of a snapshot, of a tag, or one that is gone or never was. */
struct point any_point(struct test *);
/* Whether the call answered as it must for the point; true if there is something to compare. */
bool judge(struct test *, const struct point *, helios_status);

void get(struct test *);
void multi_get(struct test *);
void get_in_transaction(struct test *);
void use_iterator(struct test *);
void scan_all(struct test *);
void history_of_key(struct test *);

#endif
