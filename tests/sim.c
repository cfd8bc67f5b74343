/* sim.c - the whole engine in simulation: seeds one after the other, each in a process of its own.
 *
 *   sim [--seed FIRST] [--count N] [--seconds S] [--twice] [--only STEPS] [--without ROUNDS] [--trace FILE]
 *
 * From FIRST on, N seeds, or as many as begin within S seconds. A seed that fails is told with the command that replays
 * it, and ends the program. --twice runs each seed twice: traces and files must be equal to the byte. --trace writes what happens as text.
 */
#undef NDEBUG
#include "tests/sim_world.h"
#include <assert.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/personality.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What a run of one seed reports through a pipe. */
struct outcome {
    struct sim_counts counts;
    uint64_t trace, switches, time;
};

static void run_here(const struct sim_options *options, const char *trace, int report)
{
    struct outcome outcome = {0};
    FILE *file = trace ? fopen(trace, "w") : NULL;

    if (file)
        setvbuf(file, NULL, _IOLBF, 0);
    sim_trace_to(file);
    sim_run(options, &outcome.counts);
    outcome.trace = sim_trace_hash();
    outcome.switches = sim_switches();
    outcome.time = sim_now();
    if (file)
        fclose(file);
    (void)!write(report, &outcome, sizeof(outcome));
    exit(0);
}

/* False: it failed. */
static bool run_seed(const struct sim_options *options, const char *trace, bool quiet, struct outcome *outcome)
{
    int ends[2], status;
    pid_t child;
    ssize_t got;

    fflush(NULL);
    assert(pipe(ends) == 0);
    child = fork();
    assert(child >= 0);
    if (child == 0) {
        close(ends[0]);
        if (quiet)
            (void)!freopen("/dev/null", "w", stderr);
        run_here(options, trace, ends[1]);
    }
    close(ends[1]);
    got = read(ends[0], outcome, sizeof(*outcome));
    close(ends[0]);
    assert(waitpid(child, &status, 0) == child);
    if (status != 0 && !quiet)
        fprintf(stderr, "sim --seed %" PRIu64 " failed: status %d\n", options->seed, status);
    return status == 0 && got == (ssize_t)sizeof(*outcome);
}

/* The same addresses in every run, and one heap: some of what the engine does depends on both, if ever so little. Where it is
 * not allowed a seed still does the same each time that one process runs it. */
static void fix_addresses(char **argv)
{
    int now = personality(UINT32_MAX);

    mallopt(M_ARENA_MAX, 1);
    if (now < 0 || now & ADDR_NO_RANDOMIZE || personality((unsigned long)now | ADDR_NO_RANDOMIZE) < 0)
        return;
    if (personality(UINT32_MAX) & ADDR_NO_RANDOMIZE)
        execv("/proc/self/exe", argv);
}

static void add(struct sim_counts *sum, const struct sim_counts *one)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)one;

    for (size_t i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++)
        to[i] += from[i];
}

int main(int argc, char **argv)
{
    struct sim_options options = {.seed = 1};
    struct sim_counts sum = {0};
    struct outcome outcome, again;
    const char *trace = NULL;
    uint64_t count = UINT64_MAX, done = 0, switches = 0, simulated = 0;
    double seconds = 0;
    bool twice = false;
    time_t began = time(NULL);

    fix_addresses(argv);
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(argv[i], "--seed") == 0)
            options.seed = strtoull(value, NULL, 10), i++;
        else if (strcmp(argv[i], "--count") == 0)
            count = strtoull(value, NULL, 10), i++;
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = strtod(value, NULL), i++;
        else if (strcmp(argv[i], "--only") == 0)
            options.only = value, i++;
        else if (strcmp(argv[i], "--without") == 0)
            options.without = value, i++;
        else if (strcmp(argv[i], "--trace") == 0)
            trace = value, i++;
        else if (strcmp(argv[i], "--twice") == 0)
            twice = true;
    }
    if (count == UINT64_MAX && seconds == 0)
        count = 1;
    printf("sim: seeds from %" PRIu64 " on\n", options.seed);
    for (; done < count && (seconds == 0 || difftime(time(NULL), began) < seconds); done++, options.seed++) {
        if (!run_seed(&options, trace, false, &outcome))
            return 1;
        if (twice && (!run_seed(&options, trace, false, &again) || again.trace != outcome.trace)) {
            fprintf(stderr, "sim --seed %" PRIu64 ": two runs differ\n", options.seed);
            return 1;
        }
        add(&sum, &outcome.counts);
        switches += outcome.switches;
        simulated += outcome.time;
    }
    printf("sim: %" PRIu64 " seeds, %" PRIu64 " steps, %" PRIu64 " commits, %" PRIu64 " looks, %" PRIu64
           " merges, %" PRIu64 " forks, %" PRIu64 " conflicts\n  %" PRIu64 " rounds with faults, %" PRIu64
           " power cuts (%" PRIu64 " with loss), %" PRIu64 " opens, %" PRIu64 " refused, %" PRIu64
           " commits in doubt\n  %" PRIu64 " switches, %" PRIu64 " s simulated in %.0f s\n",
           done, sum.steps, sum.commits, sum.looks, sum.merges, sum.forks, sum.conflicts, sum.faults, sum.cuts,
           sum.lost, sum.opens, sum.refused_opens, sum.in_doubt, switches, simulated / 1000000,
           difftime(time(NULL), began));
    return 0;
}
