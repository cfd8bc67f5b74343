/* micro.c - runs the mechanisms, in parts, and prints a table: nanoseconds of an operation, operations and bytes a second. */
#include "bench/micro.h"
#include "bench/engine.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REPEATS = 3, QUICK = 100 };

struct micro_settings micro = {.directory = ".", .entries = 500000};
static bool as_json;
static volatile uint64_t sink;

void micro_sink(uint64_t value)
{
    sink += value;
}

void bench_die(const char *format, ...)
{
    va_list args;

    fputs("micro: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

void micro_die(const char *what)
{
    bench_die("%s: %m", what);
}

void micro_must(helios_status status)
{
    if (status != HELIOS_OK)
        bench_die("%s", helios_last_error());
}

void *micro_alloc(size_t size)
{
    void *memory = aligned_alloc(4096, (size + 4095) / 4096 * 4096);

    if (!memory)
        micro_die("no memory");
    memset(memory, 0, size);
    return memory;
}

uint64_t micro_times(uint64_t count)
{
    return micro.quick && count > QUICK ? count / QUICK : count;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void print_line(const char *name, double nanos, uint64_t bytes)
{
    if (as_json) {
        printf("{\"limit\": \"%s\", \"nanos\": %.3f, \"ops_per_second\": %.0f", name, nanos, 1e9 / nanos);
        if (bytes)
            printf(", \"bytes_per_second\": %.0f", (double)bytes * 1e9 / nanos);
        puts("}");
    } else {
        printf("| %-52s | %10.1f | %10.3f |", name, nanos, 1e3 / nanos);
        printf(bytes ? " %8.2f |\n" : "          |\n", (double)bytes / nanos);
    }
    fflush(stdout);
}

void micro_measure(const char *name, uint64_t count, uint64_t bytes, double (*run)(void *arg), void *arg)
{
    double seconds[REPEATS];

    for (int i = 0; i < REPEATS; i++)
        seconds[i] = run(arg);
    qsort(seconds, REPEATS, sizeof(seconds[0]), compare_doubles);
    print_line(name, seconds[REPEATS / 2] * 1e9 / (double)count, bytes);
}

static const struct part {
    const char *name;
    void (*run)(void);
} parts[] = {
    {"memory", micro_memory},     {"log", micro_log},     {"blocks", micro_blocks},
    {"memtable", micro_memtable}, {"merge", micro_merge},
};

static _Noreturn void usage(void)
{
    fputs("micro [--dir=DIR] [--entries=N] [--quick] [--json] [memory|log|blocks|memtable|merge]...\n", stderr);
    exit(2);
}

/* The names that are left stand at the front of argv; returns how many. */
static int parse(int argc, char **argv)
{
    int names = 0;

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--dir=", 6) == 0)
            micro.directory = argv[i] + 6;
        else if (strncmp(argv[i], "--entries=", 10) == 0)
            micro.entries = strtoull(argv[i] + 10, NULL, 10);
        else if (strcmp(argv[i], "--quick") == 0)
            micro.quick = true, micro.entries = 5000;
        else if (strcmp(argv[i], "--json") == 0)
            as_json = true;
        else if (argv[i][0] == '-')
            usage();
        else
            argv[names++] = argv[i];
    }
    if (micro.entries < 1000)
        usage();
    return names;
}

static bool wanted(const char *name, int count, char **names)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return count == 0;
}

int main(int argc, char **argv)
{
    int names = parse(argc, argv);
    char scratch[4096];

    snprintf(scratch, sizeof(scratch), "%s/micro-XXXXXX", micro.directory);
    if (!mkdtemp(scratch))
        micro_die(scratch);
    micro.directory = scratch;
    if (!as_json)
        printf("| %-52s | %10s | %10s | %8s |\n|---|---:|---:|---:|\n", "mechanism", "ns", "M/s", "GB/s");
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (wanted(parts[i].name, names, argv))
            parts[i].run();
    directory_remove(scratch);
    rmdir(scratch);
    return 0;
}
