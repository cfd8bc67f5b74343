/* scaling_many.c - many branches in one database, many threads on it. */
#include "base/thread.h"
#include "bench/scaling.h"

enum {
    ROWS = 100000,
    VALUE = 100,
    GETS = 200000,
    SYNCS = 1500,
    BRANCHES = 10000,
    OWN_ROWS = 10, /* of each branch */
    DRAWS = 1000,  /* branches that are asked, in turn */
    THREADS = 16,
    THREAD_ROWS = 1000000,
};

/* ---- branches ---- */

static double branches_make(struct scaled *s, helios_branch_id *ids, uint64_t from, uint64_t to)
{
    double start = seconds_now();

    for (uint64_t i = from; i < to; i++) {
        char name[32];

        snprintf(name, sizeof(name), "branch-%05" PRIu64, i);
        must(helios_branch_create(s->db, name, 0, 0, &ids[i]), "branch");
    }
    return seconds_now() - start;
}

/* What one of them costs, over branches that are drawn; an operation each. */
static double on_branches(struct scaled *s, const helios_branch_id *ids, uint64_t branches, bool puts)
{
    struct random random;
    double seconds = 0;

    random_seed(&random, branches);
    for (uint64_t i = 0; i < at_most(DRAWS); i++) {
        s->branch = ids[random_below(&random, branches)];
        seconds +=
            puts ? put_drawn(s, OWN_ROWS, HELIOS_DURABILITY_DEFAULT, i) : get_drawn(s, OWN_ROWS, false, i);
    }
    s->branch = 0;
    return seconds;
}

static void branches_measure(struct scaled *s, const helios_branch_id *ids, uint64_t branches)
{
    const char *curve = "branches";
    uint64_t gets = at_most(GETS), draws = at_most(DRAWS) * OWN_ROWS;
    double start;

    get_drawn(s, gets, false, 2);
    point_add(curve, "get on main", "branches", branches, get_drawn(s, gets, false, 1), gets);
    on_branches(s, ids, branches, false);
    point_add(curve, "get on a branch", "branches", branches, on_branches(s, ids, branches, false), draws);
    point_add(curve, "put on a branch", "branches", branches, on_branches(s, ids, branches, true), draws);
    must(helios_close(s->db), "close");
    start = seconds_now();
    scaled_reopen(s);
    point_add(curve, "open", "branches", branches, seconds_now() - start, 1);
}

void scale_branches(void)
{
    uint64_t all = at_most(BRANCHES), made = 0;
    helios_branch_id *ids = calloc(all, sizeof(*ids));
    struct scaled s;

    if (!ids)
        bench_die("no memory");
    scaled_open(&s, "branches", at_most(ROWS), VALUE, 0);
    put_all(&s, 0);
    scaled_settle(&s);
    for (uint64_t branches = 10; branches <= all; branches *= 10) {
        point_add("branches", "create", "branches", branches, branches_make(&s, ids, made, branches),
                  branches - made);
        for (uint64_t i = made; i < branches; i++) {
            s.branch = ids[i];
            put_drawn(&s, OWN_ROWS, HELIOS_DURABILITY_DEFAULT, i);
        }
        s.branch = 0;
        made = branches;
        scaled_settle(&s);
        branches_measure(&s, ids, branches);
    }
    scaled_close(&s);
    free(ids);
}

/* ---- threads ---- */

struct worker {
    struct scaled *scaled;
    uint64_t count, seed;
    void (*run)(struct worker *);
};

static void worker_get(struct worker *w)
{
    get_drawn(w->scaled, w->count, false, w->seed);
}
static void worker_put(struct worker *w)
{
    put_drawn(w->scaled, w->count, HELIOS_DURABILITY_DEFAULT, w->seed);
}
static void worker_sync(struct worker *w)
{
    put_drawn(w->scaled, w->count, HELIOS_DURABILITY_SYNC, w->seed);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;

    w->run(w);
    return NULL;
}

/* So many operations of all threads together; the curve shows the time between two of them. */
static void threads_measure(struct scaled *s, unsigned threads, const char *operation,
                            void (*run)(struct worker *), uint64_t count)
{
    struct worker workers[THREADS];
    pthread_t started[THREADS];
    double start = seconds_now();

    for (unsigned i = 0; i < threads; i++) {
        workers[i] = (struct worker){s, count / threads, i + 1, run};
        must(thread_start(&started[i], "bench", worker_main, &workers[i]), "thread");
    }
    for (unsigned i = 0; i < threads; i++)
        thread_join(started[i]);
    point_add("threads", operation, "threads", threads, seconds_now() - start, count / threads * threads);
}

void scale_threads(void)
{
    struct scaled s;

    scaled_open(&s, "threads", at_most(THREAD_ROWS), VALUE, 0);
    put_all(&s, 0);
    scaled_settle(&s);
    get_drawn(&s, at_most(THREAD_ROWS), false, 99);
    for (unsigned threads = 1; threads <= THREADS; threads *= 2) {
        threads_measure(&s, threads, "get", worker_get, at_most(GETS) * 4);
        threads_measure(&s, threads, "put", worker_put, at_most(GETS) * 2);
        threads_measure(&s, threads, "put that waits for the disk", worker_sync, at_most(SYNCS) * threads);
    }
    scaled_close(&s);
}
