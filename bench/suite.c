/* suite.c - the frame of bench-branches and bench-feed. A line of JSON for each measurement on stdout, the figures beside what
 * is asked of them on stderr at the end. */
#include "bench/suite.h"
#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

enum { FIGURES_MAX = 64 };

struct suite_settings settings = {.directory = ".", .count = 1000000, .rounds = 9, .value_bytes = 100};
struct data data;
static const struct suite *suite;

void bench_die(const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s: ", suite->name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

void must(helios_status status, const char *what)
{
    if (status != HELIOS_OK)
        bench_die("%s: %s: %s", what, helios_status_name(status), helios_last_error());
}

/* ---- figures ---- */

struct figure {
    char name[96];
    const char *unit;
    double value, target; /* target 0: nothing is asked */
    bool at_least;
};
static struct figure figures[FIGURES_MAX];
static size_t figure_count;

static bool reached(const struct figure *f)
{
    return f->at_least ? f->value >= f->target : f->value <= f->target;
}

void figure_add(const char *name, const char *state, double value, const char *unit, double target,
                bool at_least)
{
    struct figure *f = &figures[figure_count++];

    if (figure_count > FIGURES_MAX)
        bench_die("more than %d figures", FIGURES_MAX);
    *f = (struct figure){.unit = unit, .value = value, .target = target, .at_least = at_least};
    snprintf(f->name, sizeof(f->name), "%s%s%s", name, state ? ", " : "", state ? state : "");
    printf("{\"figure\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"", f->name, value, unit);
    if (target != 0)
        printf(", \"%s\": %.6g, \"reached\": %s", at_least ? "at_least" : "at_most", target,
               reached(f) ? "true" : "false");
    puts("}");
    fflush(stdout);
}

static void figures_print(void)
{
    fprintf(stderr, "\n%" PRIu64 " keys, medians of %u rounds\n", settings.count, settings.rounds);
    fprintf(stderr, "%-56s %14s %14s\n", "figure", "value", "asked");
    for (size_t i = 0; i < figure_count; i++) {
        const struct figure *f = &figures[i];

        fprintf(stderr, "%-56s %9.4g %-4s", f->name, f->value, f->unit);
        if (f->target != 0)
            fprintf(stderr, "    %s %.4g %-6s %s", f->at_least ? ">=" : "<=", f->target, f->unit,
                    reached(f) ? "reached" : "not reached");
        fputc('\n', stderr);
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

double median(const double *values, size_t count)
{
    double sorted[ROUNDS_MAX];

    memcpy(sorted, values, count * sizeof(*values));
    qsort(sorted, count, sizeof(*sorted), compare_doubles);
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

/* ---- databases and processes ---- */

void path_of(const char *name, char path[PATH_BYTES])
{
    if (snprintf(path, PATH_BYTES, "%s/%s", settings.directory, name) >= PATH_BYTES)
        bench_die("the path of the directory is too long");
}

void run_apart(const char *probe, const char *name, double *numbers, size_t count)
{
    char command[8192];
    FILE *output;

    snprintf(command, sizeof(command), "/proc/%d/exe '--dir=%s' --num=%" PRIu64 " --%s=%s", (int)getpid(),
             settings.directory, settings.count, probe, name);
    output = popen(command, "re");
    for (size_t i = 0; output && i < count; i++)
        if (fscanf(output, "%lf", &numbers[i]) != 1)
            bench_die("no numbers from %s", command);
    if (!output || pclose(output) != 0)
        bench_die("%s failed", command);
}

/* ---- arguments ---- */

struct arguments {
    const char *only;
    const struct probe *probe;
    const char *database;
};

static _Noreturn void print_usage(void)
{
    fprintf(stderr, "%s [--dir=DIR] [--num=KEYS] [--rounds=N] [--quick] [--only=", suite->name);
    for (size_t i = 0; i < suite->part_count; i++)
        fprintf(stderr, "%s%s", i ? "|" : "", suite->parts[i].name);
    fputs("]\n", stderr);
    exit(2);
}

static bool option(const char *argument, const char *name, const char **value)
{
    size_t size = strlen(name);

    if (strncmp(argument, "--", 2) != 0 || strncmp(argument + 2, name, size) != 0 || argument[2 + size] != '=')
        return false;
    *value = argument + 2 + size + 1;
    return true;
}

static bool probe_option(const char *argument, struct arguments *arguments)
{
    for (size_t i = 0; i < suite->probe_count; i++)
        if (option(argument, suite->probes[i].name, &arguments->database)) {
            arguments->probe = &suite->probes[i];
            return true;
        }
    return false;
}

static void parse(int argc, char **argv, struct arguments *arguments)
{
    const char *value;

    for (int i = 1; i < argc; i++) {
        if (option(argv[i], "dir", &settings.directory) || option(argv[i], "only", &arguments->only) ||
            probe_option(argv[i], arguments))
            continue;
        if (option(argv[i], "num", &value))
            settings.count = strtoull(value, NULL, 10);
        else if (option(argv[i], "rounds", &value))
            settings.rounds = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "--quick") == 0)
            settings.quick = true, settings.count = 5000, settings.rounds = 1;
        else
            print_usage();
    }
    if (settings.count < 1000 || settings.rounds < 1 || settings.rounds > ROUNDS_MAX)
        print_usage();
}

/* A directory of our own in the one that was given. */
static void run_parts(const char *only)
{
    char scratch[PATH_BYTES];

    snprintf(scratch, sizeof(scratch), "%s/%s-XXXXXX", settings.directory, suite->name);
    if (!mkdtemp(scratch))
        bench_die("cannot make %s: %s", scratch, strerror(errno));
    settings.directory = scratch;
    for (size_t i = 0; i < suite->part_count; i++)
        if (!only || strcmp(only, suite->parts[i].name) == 0)
            suite->parts[i].run();
    directory_remove(scratch);
    rmdir(scratch);
    figures_print();
}

int suite_main(const struct suite *given, int argc, char **argv)
{
    struct arguments arguments = {0};

    suite = given;
    parse(argc, argv, &arguments);
    data_init(&data, settings.count, settings.value_bytes, false);
    if (arguments.probe)
        arguments.probe->run(arguments.database);
    else
        run_parts(arguments.only);
    data_release(&data);
    return 0;
}
