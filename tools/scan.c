/* scan.c - scan and count, and the bounds that other commands share with them. */
#include "tools/scan.h"
#include "tools/at.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

static int bounds_of_prefix(const struct args *args, struct bounds *bounds)
{
    if (args->from || args->to)
        return report_usage(args, "give --prefix, or --from and --to, not both");
    if (!bytes_from_text(args, args->prefix, &bounds->lower))
        return EXIT_CODE_USAGE;
    bounds->upper = prefix_end(bounds->lower);
    return EXIT_CODE_OK;
}

int bounds_take(const struct args *args, struct bounds *bounds)
{
    memset(bounds, 0, sizeof(*bounds));
    if (args->prefix)
        return bounds_of_prefix(args, bounds);
    if (args->from && !bytes_from_text(args, args->from, &bounds->lower))
        return EXIT_CODE_USAGE;
    if (args->to && !bytes_from_text(args, args->to, &bounds->upper)) {
        bounds_release(bounds);
        return EXIT_CODE_USAGE;
    }
    return EXIT_CODE_OK;
}

void bounds_release(struct bounds *bounds)
{
    slice_free(&bounds->lower);
    slice_free(&bounds->upper);
}

int walk_begin(struct args *args, struct walk *walk, bool keys_only)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_status status;
    struct point point;
    int code = at_parse(args, "--at", args->at, &point);

    if (code == EXIT_CODE_OK)
        code = bounds_take(args, &walk->bounds);
    if (code)
        return code;
    code = ctl_open(args, OPEN_READ, &walk->db);
    if (code)
        goto out;
    code = at_resolve(args, walk->db, &point, &options.branch, &options.at);
    if (code) {
        ctl_close(args, walk->db, code);
        goto out;
    }
    options.lower = walk->bounds.lower;
    options.upper = walk->bounds.upper;
    options.keys_only = keys_only;
    options.no_cache_fill = true;
    status = helios_iter_new(walk->db, &options, &walk->iter);
    if (status == HELIOS_OK)
        return EXIT_CODE_OK;
    code = ctl_close(args, walk->db, report_read(args, walk->db, status, NULL));
out:
    bounds_release(&walk->bounds);
    return code;
}

int walk_end(struct args *args, struct walk *walk, int code)
{
    helios_status status = helios_iter_status(walk->iter);

    if (status != HELIOS_OK)
        code = report_status(args, status, "the walk stopped");
    helios_iter_free(walk->iter);
    bounds_release(&walk->bounds);
    return ctl_close(args, walk->db, code);
}

void pair_print_json(FILE *file, helios_slice key, const helios_slice *value, helios_seq seq)
{
    struct json_object *object = json_object_new_object();

    json_add_bytes(object, "key", key);
    if (value)
        json_add_bytes(object, "value", *value);
    if (seq)
        json_object_object_add(object, "seq", json_object_new_uint64(seq));
    json_print(file, object);
    json_free(object);
}

static void print_entry(const struct args *args, const helios_iter *iter)
{
    helios_slice key = helios_iter_key(iter), value = {0};

    if (!args->keys_only)
        value = helios_iter_value(iter);
    if (args->json) {
        pair_print_json(stdout, key, args->keys_only ? NULL : &value, helios_iter_seq(iter));
        return;
    }
    print_bytes(stdout, args, key);
    if (!args->keys_only) {
        fputc('\t', stdout);
        print_bytes(stdout, args, value);
    }
    fputc('\n', stdout);
}

static int run_scan(struct args *args)
{
    struct walk walk;
    int code = walk_begin(args, &walk, args->keys_only);
    uint64_t left = args->limit;

    if (code)
        return code;
    if (args->reverse)
        helios_iter_last(walk.iter);
    else
        helios_iter_first(walk.iter);
    for (; left && helios_iter_valid(walk.iter); left--) {
        print_entry(args, walk.iter);
        if (ferror(stdout))
            break; /* nobody reads on */
        if (args->reverse)
            helios_iter_prev(walk.iter);
        else
            helios_iter_next(walk.iter);
    }
    return walk_end(args, &walk, code);
}

static int run_count(struct args *args)
{
    struct progress progress;
    struct walk walk;
    uint64_t count = 0;
    int code = walk_begin(args, &walk, true);

    if (code)
        return code;
    progress_begin(&progress, args, "counting", "keys", 0);
    for (helios_iter_first(walk.iter); helios_iter_valid(walk.iter); helios_iter_next(walk.iter)) {
        count++;
        if (count % 4096 == 0)
            progress_update(&progress, 0, count);
    }
    progress_end(&progress);
    code = walk_end(args, &walk, code);
    if (code)
        return code;
    if (args->json)
        printf("{\"count\":%llu}\n", (unsigned long long)count);
    else
        printf("%llu\n", (unsigned long long)count);
    return EXIT_CODE_OK;
}

static const struct argp_option scan_options[] = {
    OPTION_ROW_PREFIX,
    OPTION_ROW_FROM,
    OPTION_ROW_TO,
    {"limit", OPTION_LIMIT, "N", 0, "At most N keys", 0},
    {"reverse", OPTION_REVERSE, NULL, 0, "Largest key first", 0},
    {"keys-only", OPTION_KEYS_ONLY, NULL, 0, "Leave the values out", 0},
    OPTION_ROW_AT,
    OPTION_ROW_BRANCH,
    OPTION_ROW_HEX,
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};
static const struct argp_option count_options[] = {
    OPTION_ROW_PREFIX, OPTION_ROW_FROM, OPTION_ROW_TO,   OPTION_ROW_AT,
    OPTION_ROW_BRANCH, OPTION_ROW_HEX,  OPTION_ROW_JSON, OPTION_ROW_END,
};

const struct command scan_commands[] = {
    {"scan", "DB", "Print keys and values in order",
     "One line each: KEY, a tab, VALUE. With --json one object each, with the number of the commit that "
     "wrote it; bytes that are no UTF-8 come as key_hex and value_hex. "
     "With --at, as they were then.\n\n" POINT_DOC,
     scan_options, 1, 1, run_scan},
    {"count", "DB", "Count keys", POINT_DOC, count_options, 1, 1, run_count},
    {0},
};
