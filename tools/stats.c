/* stats.c - the database's numbers as a table. */
#include "tools/stats.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

int stats_take(struct args *args, struct json_object **stats)
{
    char *text = NULL;
    helios_db *db;
    helios_status status;
    int code = ctl_open(args, OPEN_READ, &db);

    if (code)
        return code;
    status = helios_stats_json(db, &text);
    if (status != HELIOS_OK)
        code = report_status(args, status, NULL);
    code = ctl_close(args, db, code);
    if (code == EXIT_CODE_OK) {
        *stats = json_tokener_parse(text);
        if (!*stats)
            code = report_failure(args,
                                  "the library's statistics are not JSON: heliosctl and libhelios do not fit");
    }
    helios_free(text);
    return code;
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);

    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

static void print_number(const char *name, uint64_t number)
{
    char text[32];

    if (ends_with(name, "bytes")) {
        human_bytes(number, text);
        printf("%s\n", text);
    } else if (ends_with(name, "micros")) {
        printf("%.3f s\n", (double)number / 1e6);
    } else {
        human_count(number, text);
        printf("%s\n", text);
    }
}

/* "name  value" for every scalar, the names of outer objects in front with dots. A counter at 0 says little:
 * --all shows it. */
static void print_scalars(const struct args *args, const char *outer, struct json_object *object)
{
    json_object_object_foreach(object, name, member)
    {
        char path[128];

        snprintf(path, sizeof(path), "%s%s%s", outer, *outer ? "." : "", name);
        if (json_object_is_type(member, json_type_object)) {
            print_scalars(args, path, member);
        } else if (!json_object_is_type(member, json_type_array) &&
                   (args->all || !json_object_is_type(member, json_type_int) ||
                    json_object_get_uint64(member) != 0)) {
            printf("%-28s ", path);
            if (json_object_is_type(member, json_type_int))
                print_number(path, json_object_get_uint64(member));
            else
                printf("%s\n", member ? json_object_get_string(member) : "-");
        }
    }
}

uint64_t stats_number(struct json_object *object, const char *name)
{
    struct json_object *member;

    return json_object_object_get_ex(object, name, &member) ? json_object_get_uint64(member) : 0;
}

struct json_object *stats_array(struct json_object *object, const char *name)
{
    struct json_object *member;

    return json_object_object_get_ex(object, name, &member) && json_object_is_type(member, json_type_array)
               ? member
               : NULL;
}

void stats_level_sum(struct json_object *level, struct level_sum *sum)
{
    struct json_object *files = stats_array(level, "files");

    *sum = (struct level_sum){.level = (int)stats_number(level, "level")};
    sum->files = files ? json_object_array_length(files) : 0;
    for (size_t i = 0; i < sum->files; i++) {
        struct json_object *file = json_object_array_get_idx(files, i);

        sum->bytes += stats_number(file, "size");
        sum->entries += stats_number(file, "entries");
        sum->older += stats_number(file, "entries") - stats_number(file, "keys");
        sum->tombstones += stats_number(file, "tombstones");
    }
}

static void print_levels(struct json_object *stats)
{
    struct json_object *levels = stats_array(stats, "levels");
    size_t count = levels ? json_object_array_length(levels) : 0;

    printf("\n%5s  %7s  %12s  %16s  %14s  %12s\n", "level", "files", "size", "entries", "older versions",
           "tombstones");
    for (size_t i = 0; i < count; i++) {
        struct level_sum sum;
        char bytes[32], entries[32], older[32], tombstones[32];

        stats_level_sum(json_object_array_get_idx(levels, i), &sum);
        if (sum.files == 0)
            continue;
        human_bytes(sum.bytes, bytes);
        human_count(sum.entries, entries);
        human_count(sum.older, older);
        human_count(sum.tombstones, tombstones);
        printf("%5d  %7zu  %12s  %16s  %14s  %12s\n", sum.level, sum.files, bytes, entries, older, tombstones);
    }
}

static int run_stats(struct args *args)
{
    struct json_object *stats;
    int code = stats_take(args, &stats);

    if (code)
        return code;
    if (args->json) {
        json_print_pretty(stdout, stats);
    } else {
        print_scalars(args, "", stats);
        print_levels(stats);
    }
    json_free(stats);
    return EXIT_CODE_OK;
}

static const struct argp_option stats_options[] = {
    {"all", OPTION_ALL, NULL, 0, "Also the numbers that are 0", 0},
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};

const struct command stats_commands[] = {
    {"stats", "DB", "Sizes, counts and levels",
     "Counters such as cache hits begin at zero with each open; run the program's own helios_stats_json() for "
     "those of a program that is at work.",
     stats_options, 1, 1, run_stats},
    {0},
};
