/* sim_world.h - what the simulation's files share: a database on the faulty file system, the naive model of what it must
 * hold (branch_model.h), and what the clients did since the last time that both were compared.
 *
 * A round: an open, clients that all do their steps at once while something fails, a close or a crash. What clients commit
 * and see is only noted. When all have ended, the commits are put into the model in the order of the numbers that they
 * were given, and what was seen is held against the states between the newest commit before the call and the newest after
 * it. A commit whose call failed is in doubt: it is looked for by its marker, a key of its client's with a value of its own.
 *
 * A step's choices follow from the seed and the step's number, so that steps can be left out. */
#ifndef HELIOS_TESTS_SIM_WORLD_H
#define HELIOS_TESTS_SIM_WORLD_H
#include "engine/engine_internal.h"
#include "tests/branch_model.h"
#include "tests/feed_replay.h"
#include "tests/history_model.h"
#include "tests/sim_sched.h"

enum {
    SIM_KEYS = 96,
    SIM_CLIENTS = 4,
    SIM_MARKERS = 8, /* of each client */
    SIM_CELLS = SIM_KEYS + SIM_CLIENTS * SIM_MARKERS,
    SIM_OPS = 24,
    SIM_EVENTS = 4000,
    SIM_LOOKS = 4000,
    SIM_ROUNDS = 24,
    SIM_STEPS = 1000, /* of a client in a round, at most: numbers of steps are ROUND, CLIENT, STEP */
};

/* ---- what the clients note ---- */

struct sim_op {
    enum { SIM_PUT, SIM_DELETE, SIM_RANGE } kind;
    uint16_t key, to;
    uint32_t value;
};

/* Something that gets a commit. */
struct sim_event {
    enum { EVENT_WRITE, EVENT_FORK, EVENT_MERGE, EVENT_DROP } kind;
    helios_seq seq;    /* 0: not known */
    helios_seq before; /* the last commit when the call began */
    bool in_doubt;     /* the call failed; it may be there, or come to be */
    unsigned step;
    helios_branch_id branch; /* written, forked from, merged into, dropped */
    struct sim_op ops[SIM_OPS];
    unsigned op_count;
    uint32_t marker; /* the last put's value, of the client's own key */
    int look;        /* of a transaction: what it read; -1: it is none */
    bool serializable;
    helios_branch_id other; /* the new branch, the merge's source */
    helios_seq at;          /* the fork's point, plain; the source's */
    char name[24];          /* of the new branch */
    bool theirs, closes;
};

/* Keys that were seen at one point; the point is between two commits, or known. */
struct sim_look {
    helios_branch_id branch;
    helios_seq low, high;
    unsigned step;
    int32_t seen[SIM_CELLS]; /* by key: its value, 0: absent; -1: not looked at */
};

struct sim_branch {
    bool known, closing; /* closing: somebody merges or drops it away: any refusal is right */
};

struct sim_options {
    uint64_t seed;
    bool verbose;
    unsigned steps_percent; /* 0: 100 */
    const char *only;       /* numbers of steps, "a-b,c"; NULL: all */
    const char *without;    /* of rounds whose faults are left out */
};

struct sim_counts {
    uint64_t steps, commits, in_doubt, looks, cuts, lost, faults, opens, refused_opens, conflicts, merges,
        forks, entries;
};

struct sim_world {
    const struct sim_options *options;
    uint64_t seed;
    struct random rng; /* of the round; clients have their own */
    struct io_fs *fs;
    helios_db *db;
    helios_options open_options;
    struct model *model;
    struct feed_replay *replay;
    struct history_key keys[SIM_CELLS];
    size_t key_count, cell_count; /* keys, then the clients' markers */
    unsigned clients, rounds, round, steps;
    bool faulty;     /* in this round something may fail */
    bool pages_lost; /* that is a sync, which leaves less than was written */
    bool feed, jumps;
    uint32_t values, names, checkpoints;
    helios_seq durable; /* commits up to here must never be lost */
    helios_seq kept;    /* nor up to here, as long as the power stays */
    struct sim_branch branches[MODEL_BRANCHES];
    struct sim_event *events;
    size_t event_count;
    struct sim_look *looks;
    size_t look_count;
    struct sim_counts counts;
};

extern struct sim_world *sim_world; /* the one that runs, for the report of a failure */

_Noreturn void sim_failed(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define SIM_CHECK(condition, ...)                                                                              \
    do {                                                                                                       \
        if (!(condition))                                                                                      \
            sim_failed(__FILE__, __LINE__, __VA_ARGS__);                                                       \
    } while (0)
#define SIM_MUST(call) SIM_CHECK((call) == HELIOS_OK, "%s: %s", #call, helios_last_error())

/* ---- sim_world.c ---- */
void sim_run(const struct sim_options *, struct sim_counts *);
uint64_t sim_hash_of(uint64_t seed, uint64_t a, uint64_t b, uint64_t c);
/* The bytes of a value: the number, then what follows from it. */
helios_slice sim_value(uint32_t value, unsigned char *out);
enum { SIM_VALUE_MAX = 40000 };
/* The number of a value; ends the simulation if its bytes are not what was written. */
uint32_t sim_value_number(helios_slice);
static inline helios_slice sim_key(const struct sim_world *w, size_t key)
{
    return history_slice(&w->keys[key]);
}
size_t sim_key_index(const struct sim_world *, helios_slice);
/* Whether the step is to be run at all: see sim_options.only. */
bool sim_step_wanted(const struct sim_world *, unsigned step);

/* ---- sim_client.c ---- */
void *sim_client_run(void *client);
struct sim_client {
    struct sim_world *w;
    unsigned index;
    struct sim_thread *thread;
};

/* ---- sim_judge.c ---- */
/* While the database is open still: what is known to be there goes into the model, what was seen is checked. */
void sim_judge_round(struct sim_world *);
/* After an open: what was lost is forgotten, what was in doubt is found or not, all branches are read. */
void sim_judge_open(struct sim_world *);

/* ---- sim_faults.c ---- */
enum sim_end { END_CLOSE, END_KILL, END_CUT };
/* Draws what fails in this round, and arms it. */
enum sim_end sim_faults_arm(struct sim_world *);
void sim_faults_disarm(struct sim_world *);
void sim_faults_cut(struct sim_world *);

#endif
