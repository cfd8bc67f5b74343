/* deltas.c - the net changes of tables since a point, printed as entries of the feed, or counted. */
#include "tools/change_out.h"
#include "tools/feed.h"
#include <json-c/json.h>
#include <stdlib.h>

/* A row that is changed again in a later window would come once more. */
#define WINDOW_BYTES ((size_t)1 << 30)

struct listing {
    const struct args *args;
    helios_db *db;
    helios_deltas *deltas;
    helios_delta_table *tables;
    size_t table_count;
    uint64_t *counts, printed;
    struct change_out out;
};

/* ---- one window ---- */

static void add_side(struct json_object *object, const char *name, helios_slice value)
{
    if (value.data)
        json_add_bytes(object, name, value);
    else
        json_object_object_add(object, name, NULL);
}

/* Debezium's envelope, as of `changes`; a delta may stand for several operations, by several nodes. */
static void print_json(const struct listing *l, const helios_delta *delta)
{
    static const char *const operations[] = {
        [HELIOS_DELTA_INSERT] = "c", [HELIOS_DELTA_UPDATE] = "u", [HELIOS_DELTA_DELETE] = "d"};
    struct json_object *object = json_object_new_object(), *source = json_object_new_object();

    json_add_bytes(source, "table", l->tables[delta->table].prefix);
    json_object_object_add(source, "first_lsn", json_object_new_uint64(delta->first_lsn));
    json_object_object_add(source, "lsn", json_object_new_uint64(delta->lsn));
    json_object_object_add(source, "commit", json_object_new_uint64(delta->commit));
    json_add_bytes(object, "key", delta->key);
    add_side(object, "before", delta->before);
    add_side(object, "after", delta->after);
    json_object_object_add(object, "source", source);
    json_object_object_add(object, "op", json_object_new_string(operations[delta->kind]));
    json_object_object_add(object, "ts_us", json_object_new_uint64(delta->time));
    json_print(stdout, object);
    json_free(object);
}

static void print_text(struct listing *l, const helios_delta *delta)
{
    helios_change change = {
        .lsn = delta->lsn,
        .time = delta->time,
        .branch = l->out.branch,
        .kind = delta->kind == HELIOS_DELTA_DELETE ? HELIOS_CHANGE_DELETE : HELIOS_CHANGE_PUT,
        .commit_end = true,
        .key = delta->key,
        .value = delta->after,
        .has_before = delta->kind != HELIOS_DELTA_INSERT,
        .before = delta->before,
    };

    helios_node_id(l->db, change.origin); /* a delta is the state's, whoever made the changes */
    change_print(&l->out, &change);
}

static void print_delta(struct listing *l, const helios_delta *delta)
{
    if (l->args->json)
        print_json(l, delta);
    else
        print_text(l, delta);
    l->printed++;
}

static int report_refresh(const struct listing *l, const helios_delta_window *window)
{
    return report_advice(
        l->args, helios_status_name(HELIOS_FEED_TRIMMED), exit_code_of(HELIOS_FEED_TRIMMED),
        "`heliosctl diff` compares two states without the feed",
        "not all that has changed since then is in the feed: what was made of it is to be made "
        "anew, as of %llu",
        (unsigned long long)window->upto);
}

static int take_window(struct listing *l, const helios_delta_window *window)
{
    helios_delta delta;
    helios_status status = HELIOS_OK;

    if (window->refresh)
        return report_refresh(l, window);
    for (size_t i = 0; i < l->table_count && l->args->stat && status == HELIOS_OK; i++) {
        uint64_t count = 0;

        status = helios_deltas_count(l->deltas, i, &count);
        l->counts[i] += count;
    }
    while (!l->args->stat && !ferror(stdout) && l->printed < l->args->limit &&
           helios_deltas_next(l->deltas, &delta))
        print_delta(l, &delta);
    if (status == HELIOS_OK)
        status = helios_deltas_status(l->deltas);
    return status == HELIOS_OK ? EXIT_CODE_OK : report_feed(l->args, l->db, status);
}

/* ---- counts ---- */

static void print_counts(const struct listing *l)
{
    for (size_t i = 0; i < l->table_count; i++) {
        char number[32];

        if (!l->counts[i])
            continue;
        if (l->args->json) {
            struct json_object *object = json_object_new_object();

            json_add_bytes(object, "table", l->tables[i].prefix);
            json_object_object_add(object, "count", json_object_new_uint64(l->counts[i]));
            json_print(stdout, object);
            json_free(object);
            continue;
        }
        human_count(l->counts[i], number);
        printf("%12s  ", number);
        print_bytes(stdout, l->args, l->tables[i].prefix);
        putchar('\n');
    }
}

/* ---- the command ---- */

static int walk(struct listing *l, const helios_deltas_options *options)
{
    helios_delta_window window;
    helios_status status = helios_deltas_new(l->db, options, &l->deltas);
    int code = EXIT_CODE_OK;

    while (status == HELIOS_OK && code == EXIT_CODE_OK && l->printed < l->args->limit) {
        status = helios_deltas_window(l->deltas, 0, &window);
        if (status == HELIOS_OK)
            code = take_window(l, &window);
    }
    if (status != HELIOS_OK && status != HELIOS_TIMEOUT)
        code = report_feed(l->args, l->db, status);
    if (code == EXIT_CODE_OK && l->args->stat)
        print_counts(l);
    helios_deltas_free(l->deltas);
    return code;
}

static int list_deltas(struct listing *l, const struct point *since)
{
    helios_deltas_options options = HELIOS_DELTAS_OPTIONS_INIT;
    helios_branch_id branch;
    int code = feed_wanted(l->args, l->db);

    if (code == EXIT_CODE_OK)
        code = branch_resolve(l->args, l->db, l->args->branch, &options.branch);
    if (code == EXIT_CODE_OK)
        code = at_resolve_on(l->args, l->db, l->args->branch, since, &branch, &options.since);
    if (code)
        return code;
    if (options.since == 0)
        options.since = helios_latest(l->db);
    options.tables = l->tables;
    options.table_count = l->table_count;
    options.unsynced = true; /* nobody else writes */
    options.memory = WINDOW_BYTES;
    change_out_begin(&l->out, l->db);
    l->out.branch = options.branch;
    branch_text(l->db, options.branch, l->out.branch_name);
    return walk(l, &options);
}

static int take_tables(struct listing *l)
{
    const struct args *args = l->args;
    size_t given = (size_t)args->word_count - 1;

    l->table_count = given ? given : 1;
    l->tables = xalloc(l->table_count * sizeof(*l->tables));
    l->counts = xalloc(l->table_count * sizeof(*l->counts));
    for (size_t i = 0; i < l->table_count; i++) {
        l->tables[i] = (helios_delta_table){.prefix = {"", 0}};
        l->counts[i] = 0;
    }
    for (size_t i = 0; i < given; i++)
        if (!bytes_from_text(args, args->words[i + 1], &l->tables[i].prefix))
            return EXIT_CODE_USAGE;
    return EXIT_CODE_OK;
}

static void release_tables(struct listing *l)
{
    for (int i = 1; i < l->args->word_count; i++)
        if (l->tables[i - 1].prefix.size)
            slice_free(&l->tables[i - 1].prefix);
    free(l->tables);
    free(l->counts);
}

static int run_deltas(struct args *args)
{
    struct listing l = {.args = args, .out = {.args = args}};
    struct point since;
    int code = take_tables(&l);

    if (code == EXIT_CODE_OK)
        code = at_parse(args, "--since", args->from ? args->from : "start", &since);
    if (code == EXIT_CODE_OK)
        code = ctl_open(args, OPEN_READ, &l.db);
    if (code == EXIT_CODE_OK)
        code = ctl_close(args, l.db, list_deltas(&l, &since));
    release_tables(&l);
    return code;
}

static const struct argp_option deltas_options[] = {
    {"since", OPTION_FROM, "POINT", 0, "What came after POINT (default: start)", 0},
    {"count", OPTION_STAT, NULL, 0, "Only how many for each table", 0},
    {"limit", OPTION_LIMIT, "N", 0, "At most N changes", 0},
    {"full", OPTION_FULL, NULL, 0, "Whole values, however long", 0},
    OPTION_ROW_BRANCH,
    OPTION_ROW_HEX,
    OPTION_ROW_RETENTION,
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};

const struct command deltas_commands[] = {
    {"deltas", "DB [TABLE...]", "Print the net changes of tables since a point",
     "A TABLE is what its keys begin with; none: all keys are one. Of each row at most one line, however often "
     "it "
     "was written: + for one that is new, ~ with both values for one that is different, - for one that is "
     "gone; "
     "none for one that is as it was. Table by table, in the order of the rows' last changes. Lines and JSON "
     "as of "
     "`heliosctl changes --before`, from the change feed: exit code 7 if that does not reach back to the "
     "point.\n\n"
     "A row may come a second time where the changes take more than 1 GiB.\n\n" POINT_DOC,
     deltas_options, 1, WORDS_MAX, run_deltas},
    {0},
};
