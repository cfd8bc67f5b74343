/* branch.c - branches listed, made, renamed, dropped, looked at. */
#include "tools/at.h"
#include "tools/branches.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

static const char *state_name(helios_branch_state state)
{
    static const char *const names[] = {
        [HELIOS_BRANCH_ACTIVE] = "active",
        [HELIOS_BRANCH_MERGED] = "merged",
        [HELIOS_BRANCH_DROPPED] = "dropped",
    };

    return (size_t)state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

static void fork_text(const helios_branch_info *branch, char out[32])
{
    if (branch->id == 0)
        snprintf(out, 32, "%s", "");
    else if (branch->fork_seq == HELIOS_SEQ_NONE)
        snprintf(out, 32, "start");
    else
        snprintf(out, 32, "%llu", (unsigned long long)branch->fork_seq);
}

static struct json_object *branch_json(helios_db *db, const helios_branch_info *branch)
{
    struct json_object *object = json_object_new_object();

    json_add_bytes(object, "name", (helios_slice){branch->name, strlen(branch->name)});
    json_object_object_add(object, "id", json_object_new_uint64(branch->id));
    json_object_object_add(object, "state", json_object_new_string(state_name(branch->state)));
    if (branch->id == 0)
        return object;
    branch_add_json(object, db, "parent", branch->parent);
    at_add_json(object, db, "fork", branch->fork_seq);
    json_object_object_add(object, "created_seq", json_object_new_uint64(branch->created_seq));
    time_add_json(object, "created", branch->created_time);
    if (branch->closed_seq)
        at_add_json(object, db, "closed", branch->closed_seq);
    return object;
}

static void usage_add_json(struct json_object *object, const helios_branch_usage *usage)
{
    struct json_object *estimate = json_object_new_object();

    json_object_object_add(estimate, "bytes", json_object_new_uint64(usage->bytes));
    json_object_object_add(estimate, "entries", json_object_new_uint64(usage->entries));
    json_object_object_add(object, "estimate", estimate);
}

/* ---- list ---- */

struct listing {
    const struct args *args;
    helios_db *db;
    struct branch_rows branches;
    bool of_now;      /* what they take is known of now alone */
    int name_columns; /* what the tree and the names take */
};

static int take_branches(struct listing *l, const struct point *point)
{
    helios_branch_id branch;
    helios_seq at;
    helios_status status;
    int code = at_resolve(l->args, l->db, point, &branch, &at);

    if (code)
        return code;
    l->of_now = at == 0;
    status = l->of_now ? branch_rows_take(l->db, l->args->all, &l->branches)
                       : branch_rows_take_at(l->db, at, &l->branches);
    return status == HELIOS_OK ? EXIT_CODE_OK : report_read(l->args, l->db, status, NULL);
}

struct marks {
    const char *branch, *last, *line;
};
static const struct marks marks_utf8 = {"├─ ", "└─ ", "│  "};
static const struct marks marks_ascii = {"|- ", "`- ", "|  "};
enum { MARK_COLUMNS = 3, DEPTH_MAX = 64 };

static bool is_child(const helios_branch_info *row, const helios_branch_info *parent)
{
    return row->id != 0 && row->parent == parent->id;
}

static bool has_parent_shown(const struct listing *l, const helios_branch_info *row)
{
    for (size_t i = 0; row->id != 0 && i < l->branches.count; i++)
        if (is_child(row, l->branches.rows[i]))
            return true;
    return false;
}

static void print_row(const struct listing *l, const helios_branch_info *row, const char *stem,
                      const char *mark)
{
    char fork[32], time[TIME_TEXT_SIZE] = "", bytes[32] = "";
    helios_branch_usage usage;
    int columns = (int)(utf8_columns(stem) + utf8_columns(mark) + utf8_columns(row->name));

    fork_text(row, fork);
    if (row->id)
        time_text(row->created_time, false, time);
    if (l->of_now && helios_branch_usage_get(l->db, row->id, &usage) == HELIOS_OK)
        human_bytes(usage.bytes, bytes);
    printf("%s%s%s%*s  %6u  %12s  %-26s  %-7s  %10s%s\n", stem, mark, row->name, l->name_columns - columns, "",
           (unsigned)row->id, fork, time, state_name(row->state), bytes,
           row->state == HELIOS_BRANCH_DROPPED && *bytes && strcmp(bytes, "0 B") != 0 ? " to be freed" : "");
}

/* A branch and, behind it, what was forked from it; or, with print false, the columns that their names take. */
static void walk_tree(struct listing *l, const helios_branch_info *row, const char *stem, const char *mark,
                      const char *stem_below, bool print)
{
    const struct marks *marks = term_utf8() ? &marks_utf8 : &marks_ascii;
    const helios_branch_info *last = NULL;
    size_t size = strlen(stem_below) + 8;
    int columns = (int)(utf8_columns(stem) + utf8_columns(mark) + utf8_columns(row->name));
    char *below = xalloc(size);

    if (print)
        print_row(l, row, stem, mark);
    else if (columns > l->name_columns)
        l->name_columns = columns;
    for (size_t i = 0; i < l->branches.count; i++)
        if (is_child(l->branches.rows[i], row))
            last = l->branches.rows[i];
    for (size_t i = 0; i < l->branches.count && utf8_columns(stem) < DEPTH_MAX * MARK_COLUMNS; i++) {
        if (!is_child(l->branches.rows[i], row))
            continue;
        snprintf(below, size, "%s%s", stem_below, l->branches.rows[i] == last ? "   " : marks->line);
        walk_tree(l, l->branches.rows[i], stem_below, l->branches.rows[i] == last ? marks->last : marks->branch,
                  below, print);
    }
    free(below);
}

static void print_tree(struct listing *l)
{
    l->name_columns = 6;
    for (int print = 0; print < 2; print++) {
        if (print)
            printf("%-*s  %6s  %12s  %-26s  %-7s  %10s\n", l->name_columns, "branch", "id", "forked at",
                   "made (UTC)", "state", l->of_now ? "own bytes" : "");
        for (size_t i = 0; i < l->branches.count; i++)
            if (!has_parent_shown(l, l->branches.rows[i]))
                walk_tree(l, l->branches.rows[i], "", "", "", print);
    }
    if (l->of_now)
        puts("Own bytes: an estimate of what lies on the branch itself.");
}

static void print_rows_json(const struct listing *l)
{
    for (size_t i = 0; i < l->branches.count; i++) {
        struct json_object *object = branch_json(l->db, l->branches.rows[i]);
        helios_branch_usage usage;

        if (l->of_now && helios_branch_usage_get(l->db, l->branches.rows[i]->id, &usage) == HELIOS_OK)
            usage_add_json(object, &usage);
        json_print(stdout, object);
        json_free(object);
    }
}

static int run_list(struct args *args)
{
    struct listing l = {.args = args};
    struct point point;
    int code = at_parse(args, "--at", args->at, &point);

    if (code == EXIT_CODE_OK && args->all && args->at)
        code = report_usage(args, "--at shows what there was then, dropped since or not: leave out --all");
    if (code == EXIT_CODE_OK)
        code = ctl_open(args, OPEN_READ, &l.db);
    if (code)
        return code;
    code = take_branches(&l, &point);
    if (code == EXIT_CODE_OK && args->json)
        print_rows_json(&l);
    else if (code == EXIT_CODE_OK)
        print_tree(&l);
    branch_rows_release(&l.branches);
    return ctl_close(args, l.db, code);
}

/* ---- create, drop, rename ---- */

/* The branch as it is after a change, in one line. */
static int print_changed(const struct args *args, helios_db *db, helios_branch_id id, const char *verb)
{
    helios_branch_info *info;
    char point[BRANCH_POINT_TEXT_SIZE];
    helios_status status = helios_branch_get(db, id, &info);

    if (status != HELIOS_OK)
        return report_status(args, status, NULL);
    if (args->json) {
        struct json_object *object = branch_json(db, info);

        json_print(stdout, object);
        json_free(object);
    } else {
        branch_point_text(db, (helios_point){info->parent, info->fork_seq}, point);
        printf("%s %s, branch %u: %s and what is written on it\n", verb, info->name, (unsigned)id, point);
    }
    helios_free(info);
    return EXIT_CODE_OK;
}

static int create_branch(const struct args *args, helios_db *db, const struct point *point)
{
    const char *name = args->words[1];
    helios_branch_id parent, id;
    helios_seq at;
    helios_status status;
    int code = at_resolve_on(args, db, args->from, point, &parent, &at);

    if (code)
        return code;
    status = helios_branch_create(db, name, parent, at, &id);
    if (status == HELIOS_EXISTS)
        return report_advice(args, helios_status_name(status), exit_code_of(status),
                             "choose another name, or let the old one go with `heliosctl branch drop DB NAME`",
                             "there is a branch \"%s\" already", name);
    if (status != HELIOS_OK)
        return report_read(args, db, status, NULL);
    return print_changed(args, db, id, "made");
}

static int run_create(struct args *args)
{
    struct point point;
    helios_db *db;
    int code = at_parse(args, "--at", args->at, &point);

    if (code == EXIT_CODE_OK)
        code = ctl_open(args, OPEN_WRITE, &db);
    return code ? code : ctl_close(args, db, create_branch(args, db, &point));
}

static int report_not_dropped(const struct args *args, helios_status status)
{
    static const char in_use[] = "drop the tag that holds it first (`heliosctl tag drop DB NAME`)";

    if (status == HELIOS_BUSY)
        return report_advice(args, helios_status_name(status), exit_code_of(status), in_use, "%s",
                             helios_last_error());
    return report_status(args, status, NULL);
}

static int drop_branch(const struct args *args, helios_db *db)
{
    helios_branch_id id;
    helios_status status;
    int code = branch_resolve(args, db, args->words[1], &id);

    if (code)
        return code;
    status = helios_branch_drop(db, id);
    if (status != HELIOS_OK)
        return report_not_dropped(args, status);
    if (args->json)
        printf("{\"dropped\":%u}\n", (unsigned)id);
    else
        printf("dropped %s; its space comes back in the background\n", args->words[1]);
    return EXIT_CODE_OK;
}

static int run_drop(struct args *args)
{
    helios_db *db;
    int code = ctl_open(args, OPEN_WRITE, &db);

    return code ? code : ctl_close(args, db, drop_branch(args, db));
}

static int rename_branch(const struct args *args, helios_db *db)
{
    helios_branch_id id;
    helios_status status;
    int code = branch_resolve(args, db, args->words[1], &id);

    if (code)
        return code;
    status = helios_branch_rename(db, id, args->words[2]);
    if (status == HELIOS_EXISTS)
        return report_advice(args, helios_status_name(status), exit_code_of(status), "choose another name",
                             "there is a branch \"%s\" already", args->words[2]);
    return status == HELIOS_OK ? print_changed(args, db, id, "now") : report_status(args, status, NULL);
}

static int run_rename(struct args *args)
{
    helios_db *db;
    int code = ctl_open(args, OPEN_WRITE, &db);

    return code ? code : ctl_close(args, db, rename_branch(args, db));
}

/* ---- info ---- */

/* "4711, 2026-11-21 10:00:00.000000 UTC", "the start". */
static void print_point_of(helios_db *db, helios_seq seq)
{
    char time[TIME_TEXT_SIZE];

    if (seq == HELIOS_SEQ_NONE) {
        fputs("the start", stdout);
        return;
    }
    at_time_text(db, seq, time);
    printf("%llu%s%s%s", (unsigned long long)seq, *time ? ", " : "", time, *time ? " UTC" : "");
}

/* A line each: the branch that it came from, and where; up to main. */
static helios_status print_ancestors(helios_db *db, const helios_branch_info *branch, struct json_object *chain)
{
    helios_branch_id parent = branch->parent;
    helios_seq fork = branch->fork_seq;

    for (bool is_main = branch->id == 0; !is_main;) {
        helios_branch_info *info;
        helios_status status = helios_branch_get(db, parent, &info);

        if (status != HELIOS_OK)
            return status;
        if (chain) {
            struct json_object *object = json_object_new_object();

            branch_add_json(object, db, "branch", info->id);
            at_add_json(object, db, "at", fork);
            json_object_array_add(chain, object);
        } else {
            printf("%-14s %s at ", "forked from", info->name);
            print_point_of(db, fork);
            putchar('\n');
        }
        is_main = info->id == 0;
        parent = info->parent;
        fork = info->fork_seq;
        helios_free(info);
    }
    return HELIOS_OK;
}

static void print_usage(const helios_branch_usage *usage)
{
    char bytes[32], entries[32];

    human_bytes(usage->bytes, bytes);
    human_count(usage->entries, entries);
    printf("%-14s %s in %s entries (estimates; without its ancestors)\n", "own data", bytes, entries);
    printf("%-14s %u live, %u open handles\n", "children", usage->children, usage->handles);
}

static void print_metadata_line(const struct args *args, const helios_buf *metadata)
{
    int width = term_width() - 16;

    if (!metadata->size)
        return;
    printf("%-14s ", "metadata");
    print_shortened(args, (helios_slice){metadata->data, metadata->size}, 0, width < 24 ? 24 : (size_t)width);
    putchar('\n');
}

static helios_status print_info(const struct args *args, helios_db *db, const helios_branch_info *info,
                                const helios_branch_usage *usage, const helios_buf *metadata)
{
    char made[TIME_TEXT_SIZE];
    helios_status status;

    printf("%-14s %s, branch %u, %s\n", "name", info->name, (unsigned)info->id, state_name(info->state));
    status = print_ancestors(db, info, NULL);
    if (info->id) {
        time_text(info->created_time, false, made);
        printf("%-14s %s UTC, commit %llu\n", "made", made, (unsigned long long)info->created_seq);
    }
    if (info->closed_seq) {
        printf("%-14s ", "closed");
        print_point_of(db, info->closed_seq);
        putchar('\n');
    }
    print_usage(usage);
    print_metadata_line(args, metadata);
    return status;
}

static helios_status print_info_json(helios_db *db, const helios_branch_info *info,
                                     const helios_branch_usage *usage, const helios_buf *metadata)
{
    struct json_object *object = branch_json(db, info), *chain = json_object_new_array();
    helios_status status = print_ancestors(db, info, chain);

    json_object_object_add(object, "ancestors", chain);
    usage_add_json(object, usage);
    json_object_object_add(object, "children", json_object_new_uint64(usage->children));
    json_object_object_add(object, "handles", json_object_new_uint64(usage->handles));
    if (metadata->size)
        json_add_bytes(object, "metadata", (helios_slice){metadata->data, metadata->size});
    if (status == HELIOS_OK)
        json_print(stdout, object);
    json_free(object);
    return status;
}

static int show_branch(const struct args *args, helios_db *db)
{
    helios_branch_info *info = NULL;
    helios_branch_usage usage = {0};
    helios_buf metadata = {0};
    helios_branch_id id;
    helios_status status;
    int code = branch_resolve(args, db, args->words[1], &id);

    if (code)
        return code;
    status = helios_branch_get(db, id, &info);
    if (status == HELIOS_OK)
        status = helios_branch_usage_get(db, id, &usage);
    if (status == HELIOS_OK && id)
        status = helios_branch_metadata(db, id, &metadata);
    if (status == HELIOS_OK)
        status = args->json ? print_info_json(db, info, &usage, &metadata)
                            : print_info(args, db, info, &usage, &metadata);
    if (status != HELIOS_OK)
        code = report_status(args, status, NULL);
    helios_free(info);
    helios_buf_free(&metadata);
    return code;
}

static int run_info(struct args *args)
{
    helios_db *db;
    int code = ctl_open(args, OPEN_READ, &db);

    return code ? code : ctl_close(args, db, show_branch(args, db));
}

/* ---- metadata ---- */

static int set_metadata(const struct args *args, helios_db *db, helios_branch_id id)
{
    helios_slice metadata;
    helios_status status;
    int code = EXIT_CODE_OK;

    if (args->file)
        code = bytes_from_file(args, args->file, &metadata);
    else if (!bytes_from_text(args, args->set, &metadata))
        code = EXIT_CODE_USAGE;
    if (code)
        return code;
    status = helios_branch_set_metadata(db, id, metadata);
    if (status != HELIOS_OK)
        code = report_status(args, status, NULL);
    slice_free(&metadata);
    return code;
}

static int print_metadata(const struct args *args, helios_db *db, helios_branch_id id)
{
    helios_buf metadata = {0};
    helios_slice text;
    helios_status status = helios_branch_metadata(db, id, &metadata);

    if (status != HELIOS_OK)
        return report_status(args, status, NULL);
    text = (helios_slice){metadata.data ? metadata.data : "", metadata.size};
    if (args->json) {
        struct json_object *object = json_object_new_object();

        branch_add_json(object, db, "branch", id);
        json_add_bytes(object, "metadata", text);
        json_print(stdout, object);
        json_free(object);
    } else if (args->raw) {
        fwrite(text.data, 1, text.size, stdout);
    } else {
        print_bytes(stdout, args, text);
        putchar('\n');
    }
    helios_buf_free(&metadata);
    return EXIT_CODE_OK;
}

static int run_metadata(struct args *args)
{
    bool sets = args->set || args->file;
    helios_branch_id id;
    helios_db *db;
    int code;

    if (args->set && args->file)
        return report_usage(args, "give --set or --file, not both");
    code = ctl_open(args, sets ? OPEN_WRITE : OPEN_READ, &db);
    if (code)
        return code;
    code = branch_resolve(args, db, args->words[1], &id);
    if (code == EXIT_CODE_OK)
        code = sets ? set_metadata(args, db, id) : print_metadata(args, db, id);
    return ctl_close(args, db, code);
}

static const struct argp_option list_options[] = {
    {"at", OPTION_AT, "POINT", 0, "The branches that there were at POINT, with their names of then", 0},
    {"all", OPTION_ALL, NULL, 0, "Dropped ones too, and what of them is still to be freed", 0},
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};
static const struct argp_option create_options[] = {
    {"from", OPTION_FROM, "PARENT", 0,
     "The branch that it comes from (default: main, or that of the tag in --at)", 0},
    {"at", OPTION_AT, "POINT", 0, "PARENT as it was at POINT (default: now)", 0},
    OPTION_ROW_RETENTION,
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};
static const struct argp_option change_options[] = {OPTION_ROW_RETENTION, OPTION_ROW_JSON, OPTION_ROW_END};
static const struct argp_option info_options[] = {OPTION_ROW_JSON, OPTION_ROW_END};
static const struct argp_option metadata_options[] = {
    {"set", OPTION_SET, "TEXT", 0, "Replace it by TEXT (in the text form; or hexadecimal)", 0},
    {"file", OPTION_FILE, "FILE", 0, "Replace it by FILE's content, byte for byte; - is standard input", 0},
    {"raw", OPTION_RAW, NULL, 0, "Print its bytes and nothing else: no line end, no escapes", 0},
    OPTION_ROW_HEX,
    OPTION_ROW_RETENTION,
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};

const struct command branch_commands[] = {
    {"branch list", "DB", "Print the branches, as a tree",
     "Name, id, the point of the parent that it was forked at, when it was made, its state, and an estimate of "
     "what "
     "lies on it. Where a branch is asked for, #ID does as well as its name.\n\n" POINT_DOC,
     list_options, 1, 1, run_list},
    {"branch create", "DB NAME", "Fork a branch",
     "It shows PARENT as it was at the point, frozen, and over that what is written on it. It costs one small "
     "record, whatever PARENT holds. Exit code 2 if the name is taken.\n\n" POINT_DOC,
     create_options, 2, 2, run_create},
    {"branch info", "DB NAME", "Print one branch, and what it came from", NULL, info_options, 2, 2, run_info},
    {"branch rename", "DB OLD NEW", "Give a branch another name", NULL, change_options, 3, 3, run_rename},
    {"branch metadata", "DB NAME", "Print or set what your programs keep about a branch",
     "Up to 64 KiB of any bytes.", metadata_options, 2, 2, run_metadata},
    {"branch drop", "DB NAME", "Drop a branch and what was written on it",
     "Not main, and not one with live children or tags. Exit code 5 while a tag holds it.", change_options, 2,
     2, run_drop},
    {0},
};
