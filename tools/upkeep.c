/* upkeep.c - verify, compact, flush, checkpoint, destroy. */
#include "tools/scan.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

/* {"verb":true, "name":number...} or the sentence. */
static void print_numbers(const struct args *args, const char *verb, const char *name, uint64_t number,
                          const char *name2, uint64_t number2)
{
    struct json_object *object = json_object_new_object();

    json_object_object_add(object, verb, json_object_new_boolean(1));
    if (name)
        json_object_object_add(object, name, json_object_new_uint64(number));
    if (name2)
        json_object_object_add(object, name2, json_object_new_uint64(number2));
    json_print(stdout, object);
    json_free(object);
}

/* Totals are told with each step: an estimate may change. */
static void show_verify(void *arg, uint64_t done, uint64_t total)
{
    struct progress *progress = arg;

    progress->total = total;
    progress_update(progress, done, done);
}

static bool show_compact(void *arg, uint64_t done, uint64_t total)
{
    show_verify(arg, done, total);
    return true;
}

static int run_verify(struct args *args)
{
    struct progress progress;
    helios_status status;
    helios_db *db;
    char bytes[32];
    int code = ctl_open(args, OPEN_READ, &db);

    if (code)
        return code;
    progress_begin(&progress, args, "verifying", NULL, 0);
    status = helios_verify(db, show_verify, &progress);
    progress_end(&progress);
    if (status != HELIOS_OK)
        code = report_status(args, status, NULL);
    code = ctl_close(args, db, code);
    if (code)
        return code;
    human_bytes(progress.total, bytes);
    if (args->json)
        print_numbers(args, "good", "bytes", progress.total, NULL, 0);
    else
        printf("%s: good, %s checked\n", args->words[0], bytes);
    return EXIT_CODE_OK;
}

struct table_sum {
    uint64_t bytes, files;
};

/* The log is left out: a segment is as long when it is empty. */
static struct table_sum table_sum(helios_db *db)
{
    struct table_sum sum = {0};

    if (helios_stat(db, "table.bytes", &sum.bytes) != HELIOS_OK ||
        helios_stat(db, "files", &sum.files) != HELIOS_OK)
        return (struct table_sum){0};
    return sum;
}

static helios_status compact(const struct args *args, helios_db *db, const struct bounds *bounds)
{
    helios_compact_options options = HELIOS_COMPACT_OPTIONS_INIT;
    struct progress progress;
    helios_status status;

    options.from = bounds->lower;
    options.to = bounds->upper;
    options.progress = show_compact;
    options.arg = &progress;
    progress_begin(&progress, args, "compacting", NULL, 0);
    status = helios_compact_range(db, &options);
    progress_end(&progress);
    return status;
}

static void print_compacted(const struct args *args, struct table_sum before, struct table_sum after)
{
    char before_text[32], after_text[32];

    human_bytes(before.bytes, before_text);
    human_bytes(after.bytes, after_text);
    if (args->json)
        print_numbers(args, "compacted", "bytes_before", before.bytes, "bytes_after", after.bytes);
    else
        printf("%s: %s in %llu table%s before, %s in %llu after\n", args->words[0], before_text,
               (unsigned long long)before.files, before.files == 1 ? "" : "s", after_text,
               (unsigned long long)after.files);
}

static int run_compact(struct args *args)
{
    struct bounds bounds;
    struct table_sum before, after;
    helios_status status;
    helios_db *db;
    int code = bounds_take(args, &bounds);

    if (code)
        return code;
    code = ctl_open(args, OPEN_WRITE, &db);
    if (code)
        goto out;
    before = table_sum(db);
    status = compact(args, db, &bounds);
    if (status != HELIOS_OK)
        code = report_status(args, status, NULL);
    after = table_sum(db);
    code = ctl_close(args, db, code);
    if (code == EXIT_CODE_OK)
        print_compacted(args, before, after);
out:
    bounds_release(&bounds);
    return code;
}

static int run_flush(struct args *args)
{
    helios_status status;
    helios_db *db;
    int code = ctl_open(args, OPEN_WRITE, &db);

    if (code)
        return code;
    status = helios_flush(db);
    if (status != HELIOS_OK)
        code = report_status(args, status, NULL);
    code = ctl_close(args, db, code);
    if (code)
        return code;
    if (args->json)
        print_numbers(args, "flushed", NULL, 0, NULL, 0);
    else
        printf("%s: everything is in tables\n", args->words[0]);
    return EXIT_CODE_OK;
}

static int run_checkpoint(struct args *args)
{
    helios_status status;
    helios_db *db;
    int code = ctl_open(args, OPEN_WRITE, &db);

    if (code)
        return code;
    status = helios_checkpoint(db, args->words[1]);
    if (status != HELIOS_OK)
        code = report_status(args, status, NULL);
    code = ctl_close(args, db, code);
    if (code)
        return code;
    if (args->json)
        print_numbers(args, "checkpointed", NULL, 0, NULL, 0);
    else
        printf("%s is a database of its own now, as %s was a moment ago\n", args->words[1], args->words[0]);
    return EXIT_CODE_OK;
}

static int run_destroy(struct args *args)
{
    helios_status status;

    if (ctl_is_shared())
        return report_usage(args, "not while the database is open in this shell");
    if (!args->yes)
        return report_usage(args, "this deletes every key in %s; say --yes if that is meant", args->words[0]);
    status = helios_destroy(args->words[0]);
    if (status != HELIOS_OK)
        return report_status(args, status, NULL);
    if (args->json)
        print_numbers(args, "destroyed", NULL, 0, NULL, 0);
    else
        printf("%s is gone\n", args->words[0]);
    return EXIT_CODE_OK;
}

static const struct argp_option plain_options[] = {OPTION_ROW_JSON, OPTION_ROW_END};
static const struct argp_option write_options[] = {OPTION_ROW_RETENTION, OPTION_ROW_JSON, OPTION_ROW_END};
static const struct argp_option compact_options[] = {
    OPTION_ROW_PREFIX,    OPTION_ROW_FROM, OPTION_ROW_TO,  OPTION_ROW_HEX,
    OPTION_ROW_RETENTION, OPTION_ROW_JSON, OPTION_ROW_END,
};
static const struct argp_option destroy_options[] = {
    {"yes", OPTION_YES, NULL, 0, "Yes, delete it", 0},
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};

const struct command upkeep_commands[] = {
    {"verify", "DB", "Read every byte and check it", "Exit code 4 if anything is damaged.", plain_options, 1, 1,
     run_verify},
    {"flush", "DB", "Write what is in the log into tables", NULL, write_options, 1, 1, run_flush},
    {"compact", "DB", "Merge all levels, or a range of keys, into the last",
     "Old versions stay, unless --retention says how old they may get: none keeps the latest state, and what "
     "tags "
     "hold.",
     compact_options, 1, 1, run_compact},
    {"checkpoint", "DB PATH", "Make a consistent copy by hard links",
     "PATH must not exist and must be on the same file system. The copy shares the tables' disk space.",
     write_options, 2, 2, run_checkpoint},
    {"destroy", "DB", "Delete a database", "Removes what Helios made in the directory and nothing else.",
     destroy_options, 1, 1, run_destroy},
    {0},
};
