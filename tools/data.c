/* data.c - create, put, get, delete. */
#include "tools/at.h"
#include "tools/branches.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int run_create(struct args *args)
{
    helios_db *db;
    int code = ctl_open(args, args->if_missing ? OPEN_CREATE : OPEN_NEW, &db);

    if (code)
        return code;
    code = ctl_close(args, db, EXIT_CODE_OK);
    if (code)
        return code;
    if (args->json) {
        struct json_object *object = json_object_new_object();

        json_add_bytes(object, "created", (helios_slice){args->words[0], strlen(args->words[0])});
        json_print(stdout, object);
        json_free(object);
    } else {
        printf("%s is ready\n", args->words[0]);
    }
    return EXIT_CODE_OK;
}

/* The value of `put`: the third word, or --file. */
static int take_value(const struct args *args, helios_slice *value)
{
    if (args->file) {
        if (args->word_count == 3)
            return report_usage(args, "give VALUE or --file, not both");
        return bytes_from_file(args, args->file, value);
    }
    if (args->word_count < 3)
        return report_usage(args, "VALUE is missing (or --file FILE, - for standard input)");
    return bytes_from_text(args, args->words[2], value) ? EXIT_CODE_OK : EXIT_CODE_USAGE;
}

static void print_done(const struct args *args, const char *verb, uint64_t count)
{
    struct json_object *object;

    if (!args->json)
        return;
    object = json_object_new_object();
    json_object_object_add(object, verb, json_object_new_uint64(count));
    json_print(stdout, object);
    json_free(object);
}

static int run_put(struct args *args)
{
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    helios_slice key = {0}, value = {0};
    helios_status status;
    helios_db *db;
    int code;

    if (!bytes_from_text(args, args->words[1], &key))
        return EXIT_CODE_USAGE;
    code = take_value(args, &value);
    if (code)
        goto out;
    code = ctl_open(args, OPEN_WRITE, &db);
    if (code)
        goto out;
    options.durability = args->durability;
    code = branch_resolve(args, db, args->branch, &options.branch);
    if (code == EXIT_CODE_OK) {
        status = helios_put(db, &options, key, value);
        if (status != HELIOS_OK)
            code = report_status(args, status, NULL);
    }
    code = ctl_close(args, db, code);
    if (code == EXIT_CODE_OK)
        print_done(args, "put", 1);
out:
    slice_free(&key);
    slice_free(&value);
    return code;
}

/* On a terminal nothing may drive it; elsewhere a value arrives as it is. */
static void print_value(const struct args *args, helios_slice value)
{
    helios_buf text = {0};

    if (args->raw) {
        fwrite(value.data, 1, value.size, stdout);
        return;
    }
    if (args->hex)
        hex_append(&text, value);
    else if (isatty(STDOUT_FILENO))
        display_append(&text, value);
    else
        buf_add(&text, value.data, value.size);
    buf_add(&text, "\n", 1);
    fwrite(text.data, 1, text.size, stdout);
    free(text.data);
}

static void print_pair(const struct args *args, helios_slice key, helios_slice value, bool alone)
{
    struct json_object *object;

    if (args->json) {
        object = json_object_new_object();
        json_add_bytes(object, "key", key);
        json_add_bytes(object, "value", value);
        json_print(stdout, object);
        json_free(object);
    } else if (alone) {
        print_value(args, value);
    } else {
        print_bytes(stdout, args, key);
        fputc('\t', stdout);
        print_bytes(stdout, args, value);
        fputc('\n', stdout);
    }
}

static void print_absent(const struct args *args, const char *key)
{
    const char *db = args->words[0], *option = args->branch ? " --branch " : "";
    const char *branch = args->branch ? args->branch : "";

    fprintf(stderr, "heliosctl get: no key \"%s\" in %s", key, db);
    if (args->branch)
        fprintf(stderr, " on branch \"%s\"", args->branch);
    if (args->at) {
        fprintf(stderr, " at \"%s\"\n", args->at);
        fprintf(stderr, "  next: `heliosctl history %s KEY%s%s` shows when it was there\n", db, option, branch);
    } else {
        fprintf(stderr, "\n  next: `heliosctl scan %s --from KEY --limit 10%s%s` shows what is near\n", db,
                option, branch);
    }
}

static int report_absent(const struct args *args, helios_slice key)
{
    helios_buf text = {0};

    text_append(&text, key);
    fflush(stdout);
    if (args->json) {
        struct json_object *object = json_object_new_object();

        json_add_bytes(object, "key", key);
        json_object_object_add(object, "found", json_object_new_boolean(0));
        json_print(stdout, object);
        json_free(object);
    } else {
        print_absent(args, text.data);
    }
    free(text.data);
    return EXIT_CODE_NOT_FOUND;
}

/* The worst of what happens decides: a failure over an absent key. */
static int get_one(const struct args *args, helios_db *db, const helios_read_options *options, const char *word,
                   helios_buf *value)
{
    helios_slice key = {0};
    helios_status status;
    int code = EXIT_CODE_OK;

    if (!bytes_from_text(args, word, &key))
        return EXIT_CODE_USAGE;
    status = helios_get(db, options, key, value);
    if (status == HELIOS_OK)
        print_pair(args, key, (helios_slice){value->data ? value->data : "", value->size},
                   args->word_count == 2);
    else if (status == HELIOS_NOT_FOUND)
        code = report_absent(args, key);
    else
        code = report_read(args, db, status, word);
    slice_free(&key);
    return code;
}

static int run_get(struct args *args)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_buf value = {0};
    struct point point;
    helios_db *db;
    int code = at_parse(args, "--at", args->at, &point);

    if (code == EXIT_CODE_OK)
        code = ctl_open(args, OPEN_READ, &db);
    if (code)
        return code;
    code = at_resolve(args, db, &point, &options.branch, &options.at);
    if (code)
        return ctl_close(args, db, code);
    for (int i = 1; i < args->word_count; i++) {
        int one = get_one(args, db, &options, args->words[i], &value);

        if (one > code)
            code = one;
    }
    helios_buf_free(&value);
    return ctl_close(args, db, code);
}

/* All words, or the range: one batch, so all or nothing. */
static int fill_deletes(const struct args *args, helios_batch *batch)
{
    helios_slice from = {0}, to = {0};

    if (args->from || args->to) {
        if (!args->from || !args->to)
            return report_usage(args, "a range needs both --from and --to");
        if (!bytes_from_text(args, args->from, &from))
            return EXIT_CODE_USAGE;
        if (bytes_from_text(args, args->to, &to))
            helios_batch_delete_range(batch, from, to);
        slice_free(&from);
        if (!to.data)
            return EXIT_CODE_USAGE;
        slice_free(&to);
    }
    for (int i = 1; i < args->word_count; i++) {
        if (!bytes_from_text(args, args->words[i], &from))
            return EXIT_CODE_USAGE;
        helios_batch_delete(batch, from);
        slice_free(&from);
    }
    return EXIT_CODE_OK;
}

static int run_delete(struct args *args)
{
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    helios_batch *batch;
    helios_status status;
    helios_db *db;
    int code;

    if (args->word_count < 2 && !args->from)
        return report_usage(args, "give keys, or a range with --from and --to");
    batch = helios_batch_new();
    if (!batch)
        return report_status(args, HELIOS_NO_MEMORY, NULL);
    code = fill_deletes(args, batch);
    if (code == EXIT_CODE_OK)
        code = ctl_open(args, OPEN_WRITE, &db);
    if (code)
        goto out;
    options.durability = args->durability;
    code = branch_resolve(args, db, args->branch, &options.branch);
    if (code == EXIT_CODE_OK) {
        status = helios_batch_status(batch);
        if (status == HELIOS_OK)
            status = helios_write(db, &options, batch, NULL);
        if (status != HELIOS_OK)
            code = report_status(args, status, NULL);
    }
    code = ctl_close(args, db, code);
    if (code == EXIT_CODE_OK)
        print_done(args, "delete_operations", helios_batch_count(batch));
out:
    helios_batch_free(batch);
    return code;
}

static const struct argp_option create_options[] = {
    {"feed", OPTION_FEED, NULL, 0, "Keep a change feed from the first commit on", 0},
    {"if-missing", OPTION_IF_MISSING, NULL, 0, "A database that is there already is fine", 0},
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};
static const struct argp_option put_options[] = {
    {"file", OPTION_FILE, "FILE", 0, "The value is FILE's content, byte for byte; - is standard input", 0},
    OPTION_ROW_BRANCH,
    OPTION_ROW_HEX,
    OPTION_ROW_DURABILITY,
    OPTION_ROW_RETENTION,
    OPTION_ROW_CREATE,
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};
static const struct argp_option get_options[] = {
    {"raw", OPTION_RAW, NULL, 0, "The value's bytes and nothing else: no line end, no escapes", 0},
    OPTION_ROW_AT,
    OPTION_ROW_BRANCH,
    OPTION_ROW_HEX,
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};
static const struct argp_option delete_options[] = {
    OPTION_ROW_FROM,       OPTION_ROW_TO,        OPTION_ROW_BRANCH, OPTION_ROW_HEX,
    OPTION_ROW_DURABILITY, OPTION_ROW_RETENTION, OPTION_ROW_JSON,   OPTION_ROW_END,
};

const struct command data_commands[] = {
    {"create", "DB", "Make an empty database", NULL, create_options, 1, 1, run_create},
    {"put", "DB KEY [VALUE]", "Store a value under a key",
     "It has reached the disk when the command returns, unless --durability says otherwise.", put_options, 2, 3,
     run_put},
    {"get", "DB KEY...", "Print the value of a key",
     "Of one key the value, of several one line each: KEY, a tab, VALUE. Exit code 1 if any is absent. "
     "With --at, as they were then.\n\n" POINT_DOC,
     get_options, 2, WORDS_MAX, run_get},
    {"delete", "DB [KEY...]", "Delete keys, or all keys of a range",
     "All in one commit. Deleting what is not there is fine.", delete_options, 1, WORDS_MAX, run_delete},
    {0},
};
