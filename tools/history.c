/* history.c - history of a key, log of commits. */
#include "tools/at.h"
#include "tools/branches.h"
#include "tools/graph.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

/* ---- history ---- */

/* With --branch also whose layer it is in: the branch's own or an ancestor's. */
static void print_version(const struct args *args, helios_db *db, const helios_version *version)
{
    enum { COLUMNS_BEFORE = 61, COLUMNS_BRANCH = 14 };
    char time[TIME_TEXT_SIZE], size[32], branch[BRANCH_TEXT_SIZE];
    int width = term_width() - 1 - COLUMNS_BEFORE - (args->branch ? COLUMNS_BRANCH : 0);

    time_text(version->time, false, time);
    human_bytes(version->value.size, size);
    printf("%12llu  %s  ", (unsigned long long)version->seq, time);
    if (args->branch) {
        branch_text(db, version->branch, branch);
        printf("%-12s  ", branch);
    }
    printf("%-6s  %9s", version->deleted ? "delete" : "put", version->deleted ? "" : size);
    if (version->deleted) {
        putchar('\n');
        return;
    }
    fputs("  ", stdout);
    print_shortened(args, version->value, 0, width < 24 ? 24 : (size_t)width);
    putchar('\n');
}

static void print_version_json(helios_db *db, const helios_version *version)
{
    struct json_object *object = json_object_new_object();

    json_object_object_add(object, "seq", json_object_new_uint64(version->seq));
    time_add_json(object, "time", version->time);
    branch_add_json(object, db, "branch", version->branch);
    json_object_object_add(object, "change", json_object_new_string(version->deleted ? "delete" : "put"));
    if (!version->deleted) {
        json_object_object_add(object, "size", json_object_new_uint64(version->value.size));
        json_add_bytes(object, "value", version->value);
    }
    json_print(stdout, object);
    json_free(object);
}

/* Prints what there is, at most --limit; how many. */
static uint64_t print_versions(const struct args *args, helios_db *db, helios_history *history)
{
    helios_version version;
    uint64_t count = 0;

    while (count < args->limit && !ferror(stdout) && helios_history_next(history, &version)) {
        if (args->json)
            print_version_json(db, &version);
        else if (count == 0)
            printf("%12s  %-26s  %s%-6s  %9s  %s\n", "commit", "time (UTC)",
                   args->branch ? "branch        " : "", "change", "size", "value");
        if (!args->json)
            print_version(args, db, &version);
        count++;
    }
    return count;
}

static int walk_history(const struct args *args, helios_db *db, const struct point *point, helios_slice key)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_history *history;
    helios_status status;
    uint64_t count;
    int code = at_resolve(args, db, point, &options.branch, &options.at);

    if (code)
        return code;
    status = helios_history_new(db, &options, key, &history);
    if (status != HELIOS_OK)
        return report_read(args, db, status, NULL);
    count = print_versions(args, db, history);
    status = helios_history_status(history);
    if (status != HELIOS_OK)
        code = report_read(args, db, status, "the walk stopped");
    else if (count == 0 && args->limit)
        code = report_advice(args, "HELIOS_NOT_FOUND", EXIT_CODE_NOT_FOUND, NULL,
                             "no version of \"%s\" is kept at that point", args->words[1]);
    else if (!args->json)
        at_print_reach(db, "versions");
    helios_history_free(history);
    return code;
}

static int run_history(struct args *args)
{
    helios_slice key = {0};
    struct point point;
    helios_db *db;
    int code = at_parse(args, "--at", args->at, &point);

    if (code)
        return code;
    if (!bytes_from_text(args, args->words[1], &key))
        return EXIT_CODE_USAGE;
    code = ctl_open(args, OPEN_READ, &db);
    if (code == EXIT_CODE_OK)
        code = ctl_close(args, db, walk_history(args, db, &point, key));
    slice_free(&key);
    return code;
}

/* ---- log ---- */

static void print_commit(const struct args *args, const helios_commit_info *commit)
{
    char time[TIME_TEXT_SIZE], operations[32], bytes[32];

    if (args->json) {
        struct json_object *object = json_object_new_object();

        json_object_object_add(object, "seq", json_object_new_uint64(commit->seq));
        time_add_json(object, "time", commit->time);
        json_object_object_add(object, "operations", json_object_new_uint64(commit->operations));
        json_object_object_add(object, "bytes", json_object_new_uint64(commit->bytes));
        json_print(stdout, object);
        json_free(object);
        return;
    }
    time_text(commit->time, false, time);
    human_count(commit->operations, operations);
    human_bytes(commit->bytes, bytes);
    printf("%12llu  %s  %12s  %12s\n", (unsigned long long)commit->seq, time, operations, bytes);
}

static int print_commits(const struct args *args, helios_db *db, const helios_commits_options *options)
{
    helios_commits *commits;
    helios_commit_info commit;
    helios_status status = helios_commits_new(db, options, &commits);

    if (status != HELIOS_OK)
        return report_read(args, db, status, NULL);
    for (uint64_t left = args->limit; left && !ferror(stdout) && helios_commits_next(commits, &commit);
         left--) {
        if (!args->json && left == args->limit)
            printf("%12s  %-26s  %12s  %12s\n", "commit", "time (UTC)", "operations", "bytes");
        print_commit(args, &commit);
    }
    status = helios_commits_status(commits);
    helios_commits_free(commits);
    if (status != HELIOS_OK)
        return report_read(args, db, status, "the walk stopped");
    if (!args->json)
        at_print_reach(db, "commits");
    return EXIT_CODE_OK;
}

/* The first number that --from wants: a time names the first commit at or after it. What is gone already does not
 * matter: the walk begins where commits are kept. */
static int resolve_from(const struct args *args, helios_db *db, const struct point *point, helios_seq *from)
{
    helios_branch_id branch;
    helios_status status;

    if (point->kind != POINT_TIME)
        return at_resolve(args, db, point, &branch, from);
    *from = 0;
    if (point->time == 0)
        return EXIT_CODE_OK;
    status = helios_seq_at_time(db, point->time - 1, from);
    if (status == HELIOS_HISTORY_GONE || (status == HELIOS_OK && *from == HELIOS_SEQ_NONE)) {
        *from = 0;
        return EXIT_CODE_OK;
    }
    *from += status == HELIOS_OK;
    return status == HELIOS_OK ? EXIT_CODE_OK : report_read(args, db, status, NULL);
}

static int walk_log(const struct args *args, helios_db *db, const struct point *from, const struct point *to)
{
    helios_commits_options options = HELIOS_COMMITS_OPTIONS_INIT;
    helios_branch_id branch;
    int code = resolve_from(args, db, from, &options.from);

    if (code == EXIT_CODE_OK)
        code = at_resolve(args, db, to, &branch, &options.to);
    if (code)
        return code;
    if (args->from && from->kind == POINT_LATEST)
        options.from = helios_latest(db);
    if (options.from == HELIOS_SEQ_NONE)
        options.from = 0;
    if (options.to == HELIOS_SEQ_NONE || options.from > helios_latest(db))
        return EXIT_CODE_OK; /* nothing there */
    options.oldest_first = args->oldest_first;
    return print_commits(args, db, &options);
}

static int run_log(struct args *args)
{
    struct point from, to;
    helios_db *db;
    int code;

    if (args->graph)
        return graph_run(args);
    if (args->branch || args->all)
        return report_usage(args, "commits do not say their branch: --branch and --all go with --graph");
    code = at_parse(args, "--from", args->from ? args->from : "start", &from);
    if (code == EXIT_CODE_OK)
        code = at_parse(args, "--to", args->to, &to);
    if (code == EXIT_CODE_OK)
        code = ctl_open(args, OPEN_READ, &db);
    return code ? code : ctl_close(args, db, walk_log(args, db, &from, &to));
}

static const struct argp_option history_options[] = {
    OPTION_ROW_AT,  OPTION_ROW_BRANCH, {"limit", OPTION_LIMIT, "N", 0, "At most N versions", 0},
    OPTION_ROW_HEX, OPTION_ROW_JSON,   OPTION_ROW_END,
};
static const struct argp_option log_options[] = {
    {"graph", OPTION_GRAPH, NULL, 0, "Draw branches, forks, merges and tags", 0},
    {"branch", OPTION_BRANCH, "NAME", 0, "--graph: that branch, what it came from and what was merged into it",
     0},
    {"all", OPTION_ALL, NULL, 0, "--graph: dropped branches too", 0},
    {"from", OPTION_FROM, "POINT", 0, "From POINT on, inclusive", 0},
    {"to", OPTION_TO, "POINT", 0, "Up to POINT, inclusive", 0},
    {"limit", OPTION_LIMIT, "N", 0, "At most N commits; of a graph, N lines of forks, merges and tags", 0},
    {"oldest-first", OPTION_OLDEST_FIRST, NULL, 0, "Oldest commit first", 0},
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};

const struct command history_commands[] = {
    {"history", "DB KEY", "Print the versions of a key, newest first",
     "One line each: the commit that wrote it, when, put or delete, the value's size and beginning (all of it "
     "with "
     "--json). With --at, from that point back. Exit code 1 if no version is kept.\n\n" POINT_DOC,
     history_options, 2, 2, run_history},
    {"log", "DB", "Print the commits, newest first",
     "One line each: its number, its time, how many operations it has, the bytes of their keys and values (4 "
     "GiB "
     "stands for that many or more). Commits below the horizon are left out: `heliosctl retention DB` shows "
     "it.\n\n"
     "With --graph, newest first, one column a branch. A commit does not say which branch it is on: so the "
     "forks, "
     "merges, tags and ends of branches are drawn, one line each, and between them how many other commits were "
     "made, on any branch.\n\n" POINT_DOC,
     log_options, 1, 1, run_log},
    {0},
};
