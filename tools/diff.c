/* diff.c - what differs between two states. */
#include "tools/at.h"
#include "tools/branches.h"
#include "tools/scan.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

struct sides {
    helios_point from, to;
};

/* ---- one difference ---- */

static const char *change_name(const helios_difference *d)
{
    return d->in_from && d->in_to ? "changed" : d->in_to ? "added" : "removed";
}

static char change_mark(const helios_difference *d)
{
    return d->in_from && d->in_to ? '~' : d->in_to ? '+' : '-';
}

static void print_json(const helios_difference *d, bool keys_only)
{
    struct json_object *object = json_object_new_object();

    json_object_object_add(object, "change", json_object_new_string(change_name(d)));
    json_add_bytes(object, "key", d->key);
    if (d->in_from && !keys_only)
        json_add_bytes(object, "from", d->from);
    if (d->in_to && !keys_only)
        json_add_bytes(object, "to", d->to);
    if (d->in_from)
        json_object_object_add(object, "from_seq", json_object_new_uint64(d->from_seq));
    if (d->in_to)
        json_object_object_add(object, "to_seq", json_object_new_uint64(d->to_seq));
    json_print(stdout, object);
    json_free(object);
}

static void print_values(const struct args *args, const helios_difference *d, int width)
{
    helios_slice value = d->in_to ? d->to : d->from;

    putchar('\t');
    if (args->full && d->in_from && d->in_to) {
        print_bytes(stdout, args, d->from);
        fputs(" -> ", stdout);
        print_bytes(stdout, args, d->to);
    } else if (args->full) {
        print_bytes(stdout, args, value);
    } else if (d->in_from && d->in_to) {
        print_both(args, d->from, d->to, width);
    } else {
        print_shortened(args, value, 0, width < 24 ? 24 : (size_t)width);
    }
}

/* The columns of the key's text. */
static int print_key(const struct args *args, helios_slice key)
{
    helios_buf text = {0};
    int columns;

    (args->hex ? hex_append : text_append)(&text, key);
    fwrite(text.data, 1, text.size, stdout);
    columns = (int)utf8_columns(text.data);
    free(text.data);
    return columns;
}

static void print_difference(const struct args *args, const helios_difference *d, bool colours)
{
    char mark = change_mark(d);
    int columns;

    if (args->json) {
        print_json(d, args->keys_only);
        return;
    }
    if (colours)
        fputs(mark == '+' ? "\033[32m" : mark == '-' ? "\033[31m" : "\033[33m", stdout);
    printf("%c ", mark);
    columns = 2 + print_key(args, d->key);
    columns += 8 - columns % 8; /* the tab */
    if (!args->keys_only)
        print_values(args, d, term_width() - 1 - columns);
    puts(colours ? "\033[0m" : "");
}

/* ---- the walk ---- */

static int walk_differences(const struct args *args, helios_db *db, const struct sides *sides,
                            const helios_diff_options *options)
{
    bool colours = term_colours(stdout), any = false;
    helios_difference difference;
    helios_diff *diff;
    helios_status status = helios_diff_new_with(db, sides->from, sides->to, options, &diff);

    if (status != HELIOS_OK)
        return report_read(args, db, status, NULL);
    for (uint64_t left = args->limit; !ferror(stdout) && helios_diff_next(diff, &difference); left--) {
        any = true;
        if (left == 0)
            break;
        print_difference(args, &difference, colours);
    }
    status = helios_diff_status(diff);
    helios_diff_free(diff);
    if (status != HELIOS_OK)
        return report_read(args, db, status, "the walk stopped");
    return any ? EXIT_CODE_DIFFERENT : EXIT_CODE_OK;
}

static int count_differences(const struct args *args, helios_db *db, const struct sides *sides,
                             const helios_diff_options *options)
{
    char added[32], removed[32], changed[32];
    helios_diff_counts counts;
    helios_status status = helios_diff_count(db, sides->from, sides->to, options, &counts);

    if (status != HELIOS_OK)
        return report_read(args, db, status, NULL);
    human_count(counts.added, added);
    human_count(counts.removed, removed);
    human_count(counts.changed, changed);
    if (args->json)
        printf("{\"added\":%llu,\"removed\":%llu,\"changed\":%llu}\n", (unsigned long long)counts.added,
               (unsigned long long)counts.removed, (unsigned long long)counts.changed);
    else
        printf("%s added, %s removed, %s changed\n", added, removed, changed);
    return counts.added || counts.removed || counts.changed ? EXIT_CODE_DIFFERENT : EXIT_CODE_OK;
}

static int diff(const struct args *args, helios_db *db, const struct bounds *bounds)
{
    helios_diff_options options = HELIOS_DIFF_OPTIONS_INIT;
    struct sides sides;
    int code = branch_range_resolve(args, db, args->words[1], &sides.from, &sides.to);

    if (code)
        return code;
    options.lower = bounds->lower;
    options.upper = bounds->upper;
    options.keys_only = args->keys_only;
    options.no_cache_fill = true;
    return args->stat ? count_differences(args, db, &sides, &options)
                      : walk_differences(args, db, &sides, &options);
}

static int run_diff(struct args *args)
{
    struct bounds bounds;
    helios_db *db;
    int code = bounds_take(args, &bounds);
    bool differs;

    if (code)
        return code;
    code = ctl_open(args, OPEN_READ, &db);
    if (code == EXIT_CODE_OK) {
        code = diff(args, db, &bounds);
        differs = code == EXIT_CODE_DIFFERENT; /* no failure that one of closing may hide behind */
        code = ctl_close(args, db, differs ? EXIT_CODE_OK : code);
        if (code == EXIT_CODE_OK && differs)
            code = EXIT_CODE_DIFFERENT;
    }
    bounds_release(&bounds);
    return code;
}

static const struct argp_option diff_options[] = {
    {"stat", OPTION_STAT, NULL, 0, "Count them only", 0},
    {"keys", OPTION_KEYS, NULL, 0, "Leave the values out", 0},
    {"full", OPTION_FULL, NULL, 0, "Whole values, however long", 0},
    {"limit", OPTION_LIMIT, "N", 0, "At most N keys", 0},
    OPTION_ROW_PREFIX,
    OPTION_ROW_FROM,
    OPTION_ROW_TO,
    OPTION_ROW_HEX,
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};

const struct command diff_commands[] = {
    {"diff", "DB A..B", "Print the keys whose values differ between two states",
     "One line each: + and a value that B has and A has not, - and one that only A has, ~ and both where they "
     "differ "
     "(long ones from where they part; --full for all). It takes as long as there was written between the two, "
     "whatever the database holds. Exit code 0: no difference; 9: there are some.\n\n" BRANCH_POINT_DOC
     "For example main..fix, fix@4711..fix, \"main@1 hour ago..main\", tag:before..now.\n\n" POINT_DOC,
     diff_options, 2, 2, run_diff},
    {0},
};
