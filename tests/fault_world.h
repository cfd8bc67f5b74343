/* fault_world.h - what the fault tests share: a database on a file system in memory, the list of all commits
 * that were tried on it, and the judge of what an open finds.
 *
 * A commit writes a marker key of its own, never deleted, and some operations on a few shared keys. After
 * an open the markers say which commits are there; the rest must be exactly what those make of the
 * shared keys. Which ones may be missing:
 *  - one known as durable: never;
 *  - of the logged ones: only a tail;
 *  - unlogged ones: any tail of them, but one that is there has everything before it;
 *  - one that an earlier open did not find: it must never come back. */
#ifndef HELIOS_TESTS_FAULT_WORLD_H
#define HELIOS_TESTS_FAULT_WORLD_H
#include "base/random.h"
#include "engine/engine_internal.h"

enum { WORLD_KEYS = 96, WORLD_COMMITS = 3000, WORLD_OPS = 12000 };

enum op_kind { OP_PUT, OP_DELETE, OP_RANGE };
struct world_op {
    unsigned char kind, key, to;
    uint32_t size;
};

struct world_commit {
    helios_seq seq; /* 0: not known */
    uint32_t op_first, op_count;
    bool logged;
    bool acknowledged; /* the call returned HELIOS_OK */
    bool durable;      /* and it must be there whatever happens */
    bool lost;         /* an open did not find it */
    bool present;      /* at the last check */
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
    helios_seq seq_max; /* largest number ever handed out */
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

enum judgement { JUDGED_RIGHT, JUDGED_DETECTED };
/* Reads everything in every way and judges it; what is wrong ends the test. detected_is_fine: HELIOS_CORRUPT
 * may come instead of an answer. Notes what is lost for good and, from now on, durable. */
enum judgement world_check(struct world *, bool detected_is_fine);
/* Whether the markers of a copy of the database are those of the first `commits` at least. */
void world_check_copy(struct world *, const char *path, uint32_t commits);

/* A file system in memory with the same files; all of `from` durable, no handle open. */
struct io_fs *world_clone(struct io_fs *from, uint64_t seed);
/* The machine stops now, whatever it was doing, and starts again. */
void world_cut(struct world *, enum io_damage, uint64_t seed);
extern const char *const damage_names[IO_DAMAGE_COUNT];

/* Scenarios: `before` is run once to make the files that all runs begin with; `run` is what fails. */
struct scenario {
    const char *name;
    uint64_t memtable_bytes;
    void (*before)(struct world *);
    void (*run)(struct world *);
};
extern const struct scenario scenarios[];
extern const size_t scenario_count;

#endif
