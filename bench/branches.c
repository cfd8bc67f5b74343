/* branches.c - bench-branches: what branches cost those who make them, those who read through them, and those who never
 * look at them; what differences and merges cost. Helios alone, through its public header.
 *
 * Each comparison takes turns, so that a busy machine slows both sides of a ratio. A line of JSON for each measurement
 * on stdout, the figures beside what is asked of them on stderr at the end. */
#include "bench/branches.h"
#include <errno.h>
#include <unistd.h>

struct branch_settings settings = {
    .directory = ".", .count = 1000000, .idle = 1000, .live = 10000, .rounds = 9, .value_bytes = 100};
struct data data;

static const struct part {
    const char *name;
    void (*run)(void);
} parts[] = {{"create", measure_creates},
             {"many", measure_many},
             {"reads", measure_reads},
             {"diff", measure_diffs},
             {"merge", measure_merges}};

/* What is measured in processes of their own. */
static const struct probe {
    const char *name;
    void (*run)(const char *database);
} probes[] = {{"--probe-open", probe_open}, {"--probe-merge", probe_merge}};

static _Noreturn void usage(void)
{
    fputs("bench-branches [--dir=DIR] [--num=KEYS] [--rounds=N] [--only=create|many|reads|diff|merge] "
          "[--quick]\n",
          stderr);
    exit(2);
}

static bool option(const char *argument, const char *name, const char **value)
{
    size_t size = strlen(name);

    if (strncmp(argument, name, size) != 0 || argument[size] != '=')
        return false;
    *value = argument + size + 1;
    return true;
}

struct arguments {
    const char *only;
    const struct probe *probe;
    const char *database;
};

static bool probe_option(const char *argument, struct arguments *arguments)
{
    for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++)
        if (option(argument, probes[i].name, &arguments->database)) {
            arguments->probe = &probes[i];
            return true;
        }
    return false;
}

static void parse(int argc, char **argv, struct arguments *arguments)
{
    const char *value;

    for (int i = 1; i < argc; i++) {
        if (option(argv[i], "--dir", &settings.directory) || option(argv[i], "--only", &arguments->only) ||
            probe_option(argv[i], arguments))
            continue;
        if (option(argv[i], "--num", &value))
            settings.count = strtoull(value, NULL, 10);
        else if (option(argv[i], "--rounds", &value))
            settings.rounds = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "--quick") == 0)
            settings.count = 5000, settings.idle = 50, settings.live = 200, settings.rounds = 1;
        else
            usage();
    }
    if (settings.count < 1000 || settings.rounds < 1 || settings.rounds > ROUNDS_MAX)
        usage();
}

/* A directory of our own in the one that was given. */
static void run_parts(const char *only)
{
    char scratch[4096];

    snprintf(scratch, sizeof(scratch), "%s/bench-branches-XXXXXX", settings.directory);
    if (!mkdtemp(scratch))
        bench_die("cannot make %s: %s", scratch, strerror(errno));
    settings.directory = scratch;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (!only || strcmp(only, parts[i].name) == 0)
            parts[i].run();
    directory_remove(scratch);
    rmdir(scratch);
    figures_print();
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};

    parse(argc, argv, &arguments);
    data_init(&data, settings.count, settings.value_bytes, false);
    if (arguments.probe)
        arguments.probe->run(arguments.database);
    else
        run_parts(arguments.only);
    data_release(&data);
    return 0;
}
