/* sim_faults.c - what goes wrong in a round of the simulation. */
#undef NDEBUG
#include "tests/sim_world.h"
#include "base/mem.h"
#include <errno.h>
#include <inttypes.h>

static uint64_t below(struct sim_world *w, uint64_t limit)
{
    return random_below(&w->rng, limit);
}

/* Any call, or one kind of call; once or from then on. */
static void plan_errors(struct sim_world *w)
{
    static const int errors[] = {EIO, ENOSPC, EMFILE, EIO};
    static const char *const paths[] = {NULL, NULL, "wal/", "sst/", "MANIFEST", "CURRENT"};
    struct io_fault plan = {.fail_at = 1 + below(w, below(w, 2) ? 400 : 30)};

    plan.forever = below(w, 2);
    plan.error_number = errors[below(w, 4)];
    plan.path_contains = paths[below(w, 6)];
    if (below(w, 2))
        plan.mask = 1u << below(w, IO_CALL_COUNT);
    io_faulty_plan(w->fs, &plan);
    sim_note("fails: call %" PRIu64 " of %x on %s, error %d%s", plan.fail_at, plan.mask,
             plan.path_contains ? plan.path_contains : "all", plan.error_number,
             plan.forever ? ", for ever" : "");
}

/* A failed fsync, after which the page cache says that all is clean. */
static void plan_lost_pages(struct sim_world *w)
{
    struct io_fault plan = {.fail_at = 1 + below(w, 40), .mask = 1u << IO_CALL_SYNC, .error_number = EIO};

    plan.forever = below(w, 2);
    plan.sync_drops_pages = true;
    io_faulty_plan(w->fs, &plan);
    sim_note("fails: sync %" PRIu64 " drops pages", plan.fail_at);
}

static void plan_memory(struct sim_world *w)
{
    uint64_t at = 1 + below(w, 3000);
    bool forever = below(w, 4) == 0;

    mem_fail_at(at, forever);
    sim_note("fails: allocation %" PRIu64 "%s", at, forever ? ", for ever" : "");
}

static void plan_space(struct sim_world *w)
{
    uint64_t bytes = 300000 + below(w, 3000000);

    io_faulty_set_space(w->fs, bytes);
    sim_note("fails: room for %" PRIu64 " bytes", bytes);
}

static void plan_stop(struct sim_world *w)
{
    uint64_t at = 1 + below(w, below(w, 2) ? 600 : 60);

    io_faulty_stop_at(w->fs, at);
    sim_note("stops at change %" PRIu64, at);
}

enum sim_end sim_faults_arm(struct sim_world *w)
{
    uint64_t dice = below(w, 100);

    w->faulty = dice >= 30;
    w->pages_lost = dice >= 78 && dice < 84;
    if (dice < 30)
        return below(w, 3) ? END_CLOSE : END_KILL;
    w->counts.faults++;
    if (dice < 60)
        plan_stop(w);
    else if (dice < 78)
        plan_errors(w);
    else if (dice < 84)
        plan_lost_pages(w);
    else if (dice < 94)
        plan_memory(w);
    else
        plan_space(w);
    if (dice < 60 || (dice >= 78 && dice < 84))
        return END_CUT;
    return (enum sim_end)below(w, 3);
}

void sim_faults_disarm(struct sim_world *w)
{
    if (!io_faulty_stopped(w->fs))
        io_faulty_stop_at(w->fs, 0);
    io_faulty_plan(w->fs, NULL);
    io_faulty_set_space(w->fs, 0);
    mem_fail_at(0, false);
}

void sim_faults_cut(struct sim_world *w)
{
    enum io_damage damage = (enum io_damage)below(w, IO_DAMAGE_COUNT);

    sim_note("power cut, damage %d", (int)damage);
    io_faulty_power_cut(w->fs, damage, random_next(&w->rng));
    w->counts.cuts++;
    w->kept = 0;
}
