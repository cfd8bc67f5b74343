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

struct verify {
    struct progress progress;
    uint64_t total;
};

static void show_verify(void *arg, uint64_t done, uint64_t total)
{
    struct verify *verify = arg;

    verify->total = total;
    verify->progress.total = total;
    progress_update(&verify->progress, done, done);
}

static int run_verify(struct args *args)
{
    struct verify verify = {0};
    helios_status status;
    helios_db *db;
    char bytes[32];
    int code = ctl_open(args, OPEN_READ, &db);

    if (code)
        return code;
    progress_begin(&verify.progress, args, "verifying", "bytes", 0);
    status = helios_verify(db, show_verify, &verify);
    progress_end(&verify.progress);
    if (status != HELIOS_OK)
        code = report_status(args, status, NULL);
    code = ctl_close(args, db, code);
    if (code)
        return code;
    human_bytes(verify.total, bytes);
    if (args->json)
        print_numbers(args, "good", "bytes", verify.total, NULL, 0);
    else
        printf("%s: good, %s checked\n", args->words[0], bytes);
    return code;
}

static uint64_t disk_bytes(helios_db *db)
{
    uint64_t bytes = 0;

    return helios_stat(db, "disk.bytes", &bytes) == HELIOS_OK ? bytes : 0;
}

static int run_compact(struct args *args)
{
    struct bounds bounds;
    uint64_t before, after;
    char before_text[32], after_text[32];
    helios_status status;
    helios_db *db;
    int code = bounds_take(args, &bounds);

    if (code)
        return code;
    code = ctl_open(args, OPEN_WRITE, &db);
    if (code)
        goto out;
    before = disk_bytes(db);
    status = helios_compact(db, bounds.lower, bounds.upper);
    if (status != HELIOS_OK)
        code = report_status(args, status, NULL);
    after = disk_bytes(db);
    code = ctl_close(args, db, code);
    if (code)
        goto out;
    human_bytes(before, before_text);
    human_bytes(after, after_text);
    if (args->json)
        print_numbers(args, "compacted", "bytes_before", before, "bytes_after", after);
    else
        printf("%s: %s before, %s after\n", args->words[0], before_text, after_text);
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
    return code;
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
    return code;
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
static const struct argp_option compact_options[] = {
    OPTION_ROW_PREFIX, OPTION_ROW_FROM, OPTION_ROW_TO, OPTION_ROW_HEX, OPTION_ROW_JSON, OPTION_ROW_END,
};
static const struct argp_option destroy_options[] = {
    {"yes", OPTION_YES, NULL, 0, "Yes, delete it", 0},
    OPTION_ROW_JSON, OPTION_ROW_END,
};

const struct command upkeep_commands[] = {
    {"verify", "DB", "Read every byte and check it", "Exit code 4 if anything is damaged.", plain_options, 1, 1,
     run_verify},
    {"flush", "DB", "Write what is in the log into tables", NULL, plain_options, 1, 1, run_flush},
    {"compact", "DB", "Merge all levels, or a range of keys, into the last", NULL, compact_options, 1, 1, run_compact},
    {"checkpoint", "DB PATH", "Make a consistent copy by hard links",
     "PATH must not exist and must be on the same file system. The copy shares the tables' disk space.",
     plain_options, 2, 2, run_checkpoint},
    {"destroy", "DB", "Delete a database", "Removes what Helios made in the directory and nothing else.",
     destroy_options, 1, 1, run_destroy},
    {0},
};
