/* salvage.c - a new database from what is sound in a damaged one, and what was lost, for people and as JSON. */
#include "tools/heliosctl.h"
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>

struct salvaging {
    const struct args *args;
    struct progress progress;
    struct json_object *losses; /* with --json */
};

static const char *kind_name(helios_lost_kind kind)
{
    switch (kind) {
    case HELIOS_LOST_KEYS: return "keys";
    case HELIOS_LOST_RANGE_DELETES: return "range deletes";
    case HELIOS_LOST_COMMITS: return "commits";
    case HELIOS_LOST_ENTRY: return "entry";
    }
    return "?";
}

static void print_end(const struct args *args, const helios_lost_key *key, bool open, const char *open_word)
{
    if (open) {
        fputs(open_word, stdout);
        return;
    }
    if (key->branch)
        printf("branch #%u ", (unsigned)key->branch);
    if (key->space)
        fputs("engine's own ", stdout);
    print_bytes(stdout, args, key->key);
}

static void print_loss(const struct args *args, const helios_lost *lost)
{
    printf("lost %s", kind_name(lost->kind));
    if (lost->kind == HELIOS_LOST_KEYS || lost->kind == HELIOS_LOST_RANGE_DELETES) {
        fputs(": ", stdout);
        print_end(args, &lost->from, lost->all_below, "the first key");
        fputs(" .. ", stdout);
        print_end(args, &lost->to, lost->all_above, "the last key");
    }
    if (lost->first && lost->last)
        printf(", numbers %" PRIu64 " to %" PRIu64, lost->first, lost->last);
    else if (lost->first)
        printf(", numbers from %" PRIu64 " on", lost->first);
    printf("\n  %s%s%s\n", lost->file, lost->file[0] ? ": " : "", lost->reason);
}

static struct json_object *end_object(const helios_lost_key *key)
{
    struct json_object *object = json_object_new_object();

    json_object_object_add(object, "branch", json_object_new_uint64(key->branch));
    json_object_object_add(object, "space", json_object_new_uint64(key->space));
    json_add_bytes(object, "key", key->key);
    return object;
}

static void add_loss(struct json_object *losses, const helios_lost *lost)
{
    struct json_object *object = json_object_new_object();

    json_object_object_add(object, "lost", json_object_new_string(kind_name(lost->kind)));
    json_object_object_add(object, "file", json_object_new_string(lost->file));
    json_object_object_add(object, "reason", json_object_new_string(lost->reason));
    if (!lost->all_below)
        json_object_object_add(object, "from", end_object(&lost->from));
    if (!lost->all_above)
        json_object_object_add(object, "to", end_object(&lost->to));
    if (lost->first)
        json_object_object_add(object, "first", json_object_new_uint64(lost->first));
    if (lost->last)
        json_object_object_add(object, "last", json_object_new_uint64(lost->last));
    json_object_array_add(losses, object);
}

static void show_loss(void *arg, const helios_lost *lost)
{
    struct salvaging *s = arg;

    progress_clear(&s->progress);
    if (s->losses)
        add_loss(s->losses, lost);
    else
        print_loss(s->args, lost);
}

static void show_progress(void *arg, uint64_t done, uint64_t total)
{
    struct salvaging *s = arg;

    s->progress.total = total;
    progress_update(&s->progress, done, done);
}

static void print_report(const struct args *args, const helios_salvage_report *r)
{
    char bytes[32];

    human_bytes(r->bytes, bytes);
    printf("%s: %" PRIu64 " versions, %s, up to commit %" PRIu64 "; of %" PRIu64 " tables and %" PRIu64
           " log segments (%" PRIu64 " commits)\n",
           args->words[1], r->versions, bytes, r->last, r->tables, r->segments, r->records);
    if (r->manifest)
        printf("Its history is readable from %" PRIu64 " on.\n", r->horizon);
    else
        puts(
            "There was no sound manifest: everything that was found is put together, deleted keys may be there "
            "again, and history begins at the last commit.");
    if (r->lost)
        printf("%" PRIu64 " thing%s could not be read; keys outside of what is named above are as they were.\n",
               r->lost, r->lost == 1 ? "" : "s");
    else
        puts("Nothing was lost.");
    puts("The change feed and its consumers were not taken over.");
}

static void print_report_json(struct salvaging *s, const helios_salvage_report *r)
{
    struct json_object *object = json_object_new_object();
    const struct {
        const char *name;
        uint64_t number;
    } numbers[] = {
        {"tables", r->tables},     {"tables_lost", r->tables_lost}, {"segments", r->segments},
        {"commits", r->records},   {"versions", r->versions},       {"bytes", r->bytes},
        {"branches", r->branches}, {"horizon", r->horizon},         {"last", r->last},
    };

    json_object_object_add(object, "salvaged", json_object_new_boolean(1));
    json_object_object_add(object, "manifest", json_object_new_boolean(r->manifest));
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        json_object_object_add(object, numbers[i].name, json_object_new_uint64(numbers[i].number));
    json_object_object_add(object, "losses", json_object_get(s->losses));
    json_print(stdout, object);
    json_free(object);
}

static int run_salvage(struct args *args)
{
    helios_salvage_options options = HELIOS_SALVAGE_OPTIONS_INIT;
    helios_salvage_report report = {.size = sizeof(report)};
    struct salvaging s = {.args = args, .losses = args->json ? json_object_new_array() : NULL};
    helios_status status;

    options.lost = show_loss;
    options.progress = show_progress;
    options.arg = &s;
    progress_begin(&s.progress, args, "salvaging", "tables", 0);
    status = helios_salvage(args->words[0], args->words[1], &options, &report);
    progress_end(&s.progress);
    if (status == HELIOS_OK && args->json)
        print_report_json(&s, &report);
    else if (status == HELIOS_OK)
        print_report(args, &report);
    if (s.losses)
        json_free(s.losses);
    return status == HELIOS_OK ? EXIT_CODE_OK : report_status(args, status, NULL);
}

static const struct argp_option salvage_options[] = {OPTION_ROW_HEX, OPTION_ROW_JSON, OPTION_ROW_END};

const struct command salvage_commands[] = {
    {"salvage", "DB NEW", "Make a new database of what is sound in a damaged one",
     "Reads whatever can be read of DB, which need not open, and changes nothing there. The new database has "
     "all "
     "versions, branches, merges and tags that were found; what was lost is printed by keys and commits. The "
     "change "
     "feed and its consumers are not taken over.",
     salvage_options, 2, 2, run_salvage},
    {0},
};
