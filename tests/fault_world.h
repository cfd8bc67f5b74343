/* fault_world.h - what the fault tests share: a database on a file system in memory, the list of all commits
 * that were tried on it, and the judge of what an open finds.
 *
 * A commit writes a marker key of its own, never deleted, and some operations on a few shared keys. After
 * an open the markers say which commits are there; the rest must be exactly what those make of the
 * shared keys. Which ones may be missing:
 *  - one known as durable: never;
 *  - of the logged ones: only a tail;
 *  - unlogged ones: any tail of them, but one that is there has everything before it;
 *  - one that an earlier open did not find, that was rolled back or that lost a conflict: it must never come back.
 * A commit that is there has the time that it had; a tag is there once its making was acknowledged, and shows what
 * was there at its point. */
#ifndef HELIOS_TESTS_FAULT_WORLD_H
#define HELIOS_TESTS_FAULT_WORLD_H
#include "base/random.h"
#include "engine/engine_internal.h"

enum {
    WORLD_KEYS = 96,
    WORLD_COMMITS = 3000,
    WORLD_OPS = 12000,
    WORLD_TAGS = 40,
    WORLD_BRANCHES = 8,
    WORLD_FACTS = 24
};

enum op_kind { OP_PUT, OP_DELETE, OP_RANGE };
struct world_op {
    unsigned char kind, key, to;
    uint32_t size;
};

struct world_commit {
    helios_seq seq; /* 0: not known */
    uint32_t op_first, op_count;
    uint64_t time; /* 0: not known */
    bool logged;
    bool in_txn;       /* owns a number for each key at most */
    bool acknowledged; /* the call returned HELIOS_OK */
    bool durable;      /* and it must be there whatever happens */
    bool lost;         /* an open did not find it */
    bool present;      /* at the last check */
};

/* A tag in doubt may be there after the next open, or not. */
enum tag_state { TAG_GONE, TAG_IN_DOUBT, TAG_THERE };
struct world_tag {
    enum tag_state state;
    helios_seq at;    /* 0: latest at its making, number not known */
    uint32_t commits; /* how many were before it */
};

/* A branch of main, and what is done to it; likewise. */
struct world_branch {
    enum tag_state state, own, renamed; /* own: the batch that is written on it */
    helios_branch_id id;
    uint32_t commits; /* how many were before it */
};

struct world {
    struct io_fs *fs;
    const char *path;
    helios_options options;
    helios_db *db;
    struct random rng;
    bool stop_on_error; /* a failed call ends the scenario */
    bool failed;        /* a call did not return HELIOS_OK */
    bool restarted;     /* opened since: what is missing now was missing then */
    bool copied;        /* a checkpoint was made */
    uint32_t copied_commits;
    helios_txn *txn;           /* left open */
    uint64_t added, added_max; /* what the adders' counter must and may say */
    enum tag_state consumer;   /* of the feed, and what it and the feed must and may have done with */
    helios_seq acked, acked_tried, trimmed;
    uint32_t tag_count;
    struct world_tag tags[WORLD_TAGS];
    uint32_t branch_count;
    struct world_branch branches[WORLD_BRANCHES];
    uint32_t fact_count;
    enum tag_state facts[WORLD_FACTS]; /* what merges and the like brought to main */
    helios_seq seq_max;                /* largest number ever handed out */
    uint32_t commit_count, op_count;
    struct world_commit commits[WORLD_COMMITS];
    struct world_op ops[WORLD_OPS];
};

/* What a failing check prints: enough to run it again. */
extern char fault_where[512];
void fault_failed(const char *file, int line, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));
#define CHECK(condition, ...)                                                                                  \
    do {                                                                                                       \
        if (!(condition))                                                                                      \
            fault_failed(__FILE__, __LINE__, __VA_ARGS__);                                                     \
    } while (0)
#define MUST(call) CHECK((call) == HELIOS_OK, "%s: %s", #call, helios_last_error())

void world_init(struct world *, struct io_fs *, const char *path, uint64_t seed);
/* False: it failed, which is for the caller to judge. What an open finds of the commits that are not known as
 * durable is not known until the next check. */
bool world_open(struct world *);
/* After a crash: opens, which must not fail, and judges what is there. */
void world_reopen(struct world *);
void world_close(struct world *);       /* a failure is kept in `failed` */
bool world_going(const struct world *); /* open, and no reason to stop */

enum { SIZE_SMALL = 100, SIZE_PAGE = 4000, SIZE_INGEST = 100000, SIZE_LARGE = 300000 };
/* One commit of `count` random operations with values of up to `size` bytes. */
void world_commit(struct world *, helios_durability, unsigned count, uint32_t size);
void world_commit_range(struct world *, helios_durability, unsigned from, unsigned to);
/* Notes that everything before is durable, or that a call failed. */
void world_sync(struct world *);
void world_note(struct world *, helios_status, bool makes_durable);

/* fault_history.c: a transaction of `count` random operations, and what becomes of it. One that is left is open
 * until the database is closed or the next one is left; CONFLICT: another commit writes a key of it first. */
enum txn_end { TXN_COMMIT, TXN_ROLLBACK, TXN_LEAVE, TXN_CONFLICT };
void world_txn(struct world *, helios_durability, unsigned count, uint32_t size, enum txn_end);
void world_txn_drop(struct world *);
/* In each round several threads try to add to one counter, in transactions that collide; commits go on beside. */
void world_add(struct world *, unsigned rounds);
void world_tag(struct world *);      /* of the newest point; durable when it is acknowledged */
void world_tag_past(struct world *); /* of the commit before the last */
void world_tag_drop(struct world *); /* the oldest there is */

/* fault_feed.c: from the next open on a feed is kept; a consumer is made, acknowledges everything; a trim up to there. */
void world_feed(struct world *);
void world_consume(struct world *);
void world_ack(struct world *);
void world_trim(struct world *);
/* fault_branches.c: all durable when acknowledged, if the database's own durability is SYNC. */
void world_branch(struct world *);        /* of main as it is */
void world_branch_write(struct world *);  /* on the newest, once */
void world_branch_rename(struct world *); /* the newest, once */
void world_branch_drop(struct world *);   /* the oldest */

/* fault_merges.c: pairs of keys of their own, there or not as one, that come to main in other ways than by a write there; all
 * durable when acknowledged. size: of each value. */
enum merge_how { MERGE_PLAIN, MERGE_CLOSE, MERGE_RESOLVE, MERGE_NESTED, MERGE_AGAIN, MERGE_DROP };
void world_merge(struct world *, enum merge_how, uint32_t size); /* from a branch made for it */
void world_revert(struct world *);                               /* of the last merge */
void world_apply(struct world *, uint32_t size);                 /* of another database's commit */
void world_batch_ack(struct world *);                            /* with the consumer's position */
void world_txn_run(struct world *);
void world_forget(struct world *);      /* the last pair is deleted, as one */
void world_changes_ack(struct world *); /* by a cursor that has read all there is */

/* fault_reads.c: calls that change nothing. What they give is right, or they fail. */
void world_read(struct world *);      /* all that the judge reads */
void world_read_ends(struct world *); /* first and last of all keys */
void world_read_points(struct world *);
void world_read_history(struct world *);
void world_read_diff(struct world *);
void world_read_commits(struct world *);
void world_read_upkeep(struct world *);
void world_read_txn(struct world *);
void world_read_branches(struct world *);
void world_read_changes(struct world *);
void world_read_deltas(struct world *);
void world_verify(struct world *);

enum judgement { JUDGED_RIGHT, JUDGED_DETECTED };
/* Reads everything in every way and judges it; what is wrong ends the test. detected_is_fine: HELIOS_CORRUPT
 * may come instead of an answer. Notes what is lost for good and, from now on, durable. */
enum judgement world_check(struct world *, bool detected_is_fine);
/* Whether the markers of a copy of the database are those of the first `commits` at least. */
void world_check_copy(struct world *, const char *path, uint32_t commits);

/* Of the judge, shared by its files. */
struct check {
    struct world *w;
    bool detected_is_fine, detected;
    bool may_fail; /* calls fail here: such a one is noted in the world, as if damage was seen */
    helios_buf value;
    int by_op[WORLD_KEYS], by_commit[WORLD_KEYS]; /* what each shared key should hold; -1: nothing */
};
/* False: the call was refused as damage was seen, which is fine here. */
bool check_judge(struct check *, helios_status, const char *what);
/* The shared keys after the first `count` commits that are present. */
void check_expect(struct check *, uint32_t count);
bool check_scan(struct check *, helios_iter *);
/* kept: HELIOS_HISTORY_GONE is wrong. */
void check_get(struct check *, unsigned key, helios_seq at, bool kept);
void check_history(struct check *); /* tags, times, the list of commits */
void check_feed(struct check *);
void check_branches(struct check *);
void check_facts(struct check *);
void check_all(struct check *, helios_iter *);

/* For those who make commits. */
helios_slice world_marker(unsigned index, char out[16]);
helios_slice world_key(unsigned key, char out[16]);
helios_slice world_value(unsigned commit, unsigned op, uint32_t size);
struct world_op world_draw(struct world *, uint32_t size);
struct world_commit *world_commit_new(struct world *, helios_durability);
void world_note_commit(struct world *, struct world_commit *, helios_durability, helios_status);

/* A file system in memory with the same files; all of `from` durable, no handle open. */
struct io_fs *world_clone(struct io_fs *from, uint64_t seed);
/* The machine stops now, whatever it was doing, and starts again. */
void world_cut(struct world *, enum io_damage, uint64_t seed);
extern const char *const damage_names[IO_DAMAGE_COUNT];

/* Scenarios, in fault_scenarios.c and fault_calls.c: `before` is run once to make the files that all runs begin with; `run` is what fails. */
struct scenario {
    const char *name;
    uint64_t memtable_bytes;
    void (*before)(struct world *);
    void (*run)(struct world *);
};
extern const struct scenario durability_scenarios[], call_scenarios[];
extern const size_t durability_scenario_count, call_scenario_count;
size_t scenario_count(void);
const struct scenario *scenario_at(size_t index);
const struct scenario *scenario_named(const char *name); /* or the end of the program */

/* The seed of a run: what was asked for, or, for 0 and nothing, the day, so that samples rotate. Printed. */
uint64_t fault_seed(const char *text);
/* "tried: 123 power cuts", which scripts/tried.py adds up. */
void fault_tried(uint64_t count, const char *what);

#endif
