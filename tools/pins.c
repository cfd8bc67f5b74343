/* pins.c - what holds history: tags, pins, retention. */
#include "tools/at.h"
#include "tools/branches.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

/* The commit's number, or a word for the point before all. */
static void print_seq(helios_seq seq)
{
    if (seq == HELIOS_SEQ_NONE)
        printf("%12s", "start");
    else
        printf("%12llu", (unsigned long long)seq);
}

/* ---- tags ---- */

static void print_tag_json(helios_db *db, const helios_tag_info *tag)
{
    struct json_object *object = json_object_new_object();

    json_add_bytes(object, "name", (helios_slice){tag->name, strlen(tag->name)});
    branch_add_json(object, db, "branch", tag->branch);
    at_add_json(object, db, "", tag->at);
    time_add_json(object, "made", tag->time);
    json_print(stdout, object);
    json_free(object);
}

static void print_tag(const struct args *args, helios_db *db, const helios_tag_info *tag)
{
    char at[TIME_TEXT_SIZE], made[TIME_TEXT_SIZE], branch[BRANCH_TEXT_SIZE];

    if (args->json) {
        print_tag_json(db, tag);
        return;
    }
    at_time_text(db, tag->at, at);
    time_text(tag->time, false, made);
    branch_text(db, tag->branch, branch);
    print_seq(tag->at);
    printf("  %-26s  %s  %-12s  %s\n", at, made, branch, tag->name);
}

/* Those called `name`, or all for NULL. */
static int print_tags(const struct args *args, helios_db *db, const char *name)
{
    helios_tag_info *tags;
    size_t count, shown = 0;
    helios_status status = helios_tag_list(db, &tags, &count);

    if (status != HELIOS_OK)
        return report_status(args, status, NULL);
    for (size_t i = 0; i < count; i++) {
        if (name && strcmp(tags[i].name, name) != 0)
            continue;
        if (!args->json && shown == 0)
            printf("%12s  %-26s  %-26s  %-12s  %s\n", "commit", "of (UTC)", "tag made", "branch", "name");
        print_tag(args, db, &tags[i]);
        shown++;
    }
    helios_free(tags);
    if (name && !shown)
        return report_advice(args, "HELIOS_NOT_FOUND", EXIT_CODE_NOT_FOUND,
                             "`heliosctl tag list DB` shows those there are", "there is no tag \"%s\"", name);
    return EXIT_CODE_OK;
}

static int create_tag(const struct args *args, helios_db *db, const struct point *point)
{
    const char *name = args->words[1];
    helios_branch_id branch;
    helios_seq at;
    helios_status status;
    int code = at_resolve(args, db, point, &branch, &at);

    if (code)
        return code;
    status = helios_tag_create(db, name, branch, at);
    if (status == HELIOS_EXISTS)
        return report_advice(args, helios_status_name(status), exit_code_of(status),
                             "choose another name, or let the old one go with `heliosctl tag drop DB NAME`",
                             "there is a tag \"%s\" already", name);
    if (status != HELIOS_OK)
        return report_read(args, db, status, NULL);
    return print_tags(args, db, name);
}

static int run_tag_create(struct args *args)
{
    struct point point;
    helios_db *db;
    int code = at_parse(args, "--at", args->at, &point);

    if (code == EXIT_CODE_OK)
        code = ctl_open(args, OPEN_WRITE, &db);
    return code ? code : ctl_close(args, db, create_tag(args, db, &point));
}

static int run_tag_list(struct args *args)
{
    helios_db *db;
    int code = ctl_open(args, OPEN_READ, &db);

    return code ? code : ctl_close(args, db, print_tags(args, db, NULL));
}

static int run_tag_show(struct args *args)
{
    helios_db *db;
    int code = ctl_open(args, OPEN_READ, &db);

    return code ? code : ctl_close(args, db, print_tags(args, db, args->words[1]));
}

static int run_tag_drop(struct args *args)
{
    helios_status status;
    helios_db *db;
    int code = ctl_open(args, OPEN_WRITE, &db);

    if (code)
        return code;
    status = helios_tag_drop(db, args->words[1]);
    if (status == HELIOS_NOT_FOUND)
        code = report_advice(args, helios_status_name(status), EXIT_CODE_NOT_FOUND,
                             "`heliosctl tag list DB` shows those there are", "there is no tag \"%s\"",
                             args->words[1]);
    else if (status != HELIOS_OK)
        code = report_status(args, status, NULL);
    code = ctl_close(args, db, code);
    if (code == EXIT_CODE_OK && args->json)
        puts("{\"dropped\":1}");
    return code;
}

/* ---- pins ---- */

static const char *kind_name(helios_pin_kind kind)
{
    static const char *const names[] = {
        [HELIOS_PIN_SNAPSHOT] = "snapshot",
        [HELIOS_PIN_ITERATOR] = "iterator",
        [HELIOS_PIN_TRANSACTION] = "transaction",
        [HELIOS_PIN_HISTORY] = "history",
        [HELIOS_PIN_TAG] = "tag",
        [HELIOS_PIN_BRANCH] = "branch",
        [HELIOS_PIN_CONSUMER] = "consumer",
    };

    return (size_t)kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "?";
}

static const char *pin_owner(const helios_pin_info *pin)
{
    return pin->owner ? pin->owner : "";
}

/* In the largest unit that it fills. */
static void age_text(uint64_t since, char out[TIME_TEXT_SIZE])
{
    static const struct {
        const char *unit;
        uint64_t micros;
    } units[] = {{"d", 86400000000}, {"h", 3600000000}, {"min", 60000000}, {"s", 1000000}, {"ms", 1000}};
    uint64_t now = wall_micros(), age = now > since ? now - since : 0;
    size_t i = 0;

    while (i + 1 < sizeof(units) / sizeof(units[0]) && age < units[i].micros)
        i++;
    snprintf(out, TIME_TEXT_SIZE, "%llu %s", (unsigned long long)(age / units[i].micros), units[i].unit);
}

/* Those of open handles hold their point on every branch. */
static bool pin_has_branch(const helios_pin_info *pin)
{
    return pin->kind == HELIOS_PIN_TAG || pin->kind == HELIOS_PIN_BRANCH || pin->kind == HELIOS_PIN_CONSUMER;
}

static struct json_object *pin_json(helios_db *db, const helios_pin_info *pin)
{
    struct json_object *object = json_object_new_object();

    json_object_object_add(object, "kind", json_object_new_string(kind_name(pin->kind)));
    json_add_bytes(object, "owner", (helios_slice){pin_owner(pin), strlen(pin_owner(pin))});
    at_add_json(object, db, "", pin->at);
    time_add_json(object, "since", pin->since);
    json_object_object_add(object, "from_on", json_object_new_boolean(pin->from_on));
    if (pin_has_branch(pin))
        branch_add_json(object, db, "branch", pin->branch);
    return object;
}

static void print_pin(const struct args *args, helios_db *db, const helios_pin_info *pin)
{
    char at[TIME_TEXT_SIZE], age[TIME_TEXT_SIZE], branch[BRANCH_TEXT_SIZE] = "all";

    if (args->json) {
        struct json_object *object = pin_json(db, pin);

        json_print(stdout, object);
        json_free(object);
        return;
    }
    at_time_text(db, pin->at, at);
    age_text(pin->since, age);
    if (pin_has_branch(pin))
        branch_text(db, pin->branch, branch);
    print_seq(pin->at);
    printf("  %-26s  %-11s  %-12s  %8s  %-16s  %s\n", at, kind_name(pin->kind), branch, age,
           pin->from_on ? "all from it on" : "this point alone", pin_owner(pin));
}

static int run_pins(struct args *args)
{
    helios_pin_info *pins;
    size_t count;
    helios_status status;
    helios_db *db;
    int code = ctl_open(args, OPEN_READ, &db);

    if (code)
        return code;
    status = helios_pin_list(db, &pins, &count);
    if (status != HELIOS_OK)
        return ctl_close(args, db, report_status(args, status, NULL));
    if (!args->json && count)
        printf("%12s  %-26s  %-11s  %-12s  %8s  %-16s  %s\n", "commit", "of (UTC)", "kind", "branch", "age",
               "holds", "owner");
    for (size_t i = 0; i < count; i++)
        print_pin(args, db, &pins[i]);
    if (!args->json && count == 0)
        puts("Nothing holds history but the retention (`heliosctl retention DB`).");
    helios_free(pins);
    return ctl_close(args, db, code);
}

/* ---- retention ---- */

/* Lets go of what is older, now: a compaction of everything, as the horizon is durable with what was collected. */
static int apply_retention(const struct args *args, helios_db *db)
{
    helios_status status = HELIOS_OK;

    if (ctl_is_shared())
        status = helios_set_history_retention(db, args->retention);
    if (status == HELIOS_OK && args->retention != HELIOS_FOREVER)
        status = helios_compact(db, (helios_slice){0}, (helios_slice){0});
    return status == HELIOS_OK ? EXIT_CODE_OK : report_status(args, status, NULL);
}

static void print_point_line(helios_db *db, const char *name, helios_seq seq, const char *none)
{
    char time[TIME_TEXT_SIZE];

    at_time_text(db, seq, time);
    if (seq == 0)
        printf("%-14s %s\n", name, none);
    else
        printf("%-14s %llu%s%s%s\n", name, (unsigned long long)seq, *time ? ", " : "", time,
               *time ? " UTC" : "");
}

static void print_retention(const struct args *args, helios_db *db, const helios_pin_info *oldest)
{
    char retention[TIME_TEXT_SIZE], time[TIME_TEXT_SIZE];

    duration_text(args->retention, retention);
    printf("%-14s %s\n", "of this open", ctl_is_shared() && !args->retention_given ? "the shell's" : retention);
    print_point_line(db, "latest", helios_latest(db), "no commit yet");
    print_point_line(db, "horizon", helios_horizon(db), "none: all of history is there");
    if (!oldest) {
        printf("%-14s none\n", "oldest pin");
        return;
    }
    at_time_text(db, oldest->at, time);
    printf("%-14s %s %s at ", "oldest pin", kind_name(oldest->kind), pin_owner(oldest));
    if (oldest->at == HELIOS_SEQ_NONE)
        puts("the start");
    else
        printf("%llu%s%s%s\n", (unsigned long long)oldest->at, *time ? ", " : "", time, *time ? " UTC" : "");
}

static void print_retention_json(const struct args *args, helios_db *db, const helios_pin_info *oldest)
{
    struct json_object *object = json_object_new_object();
    char retention[TIME_TEXT_SIZE];

    if (!ctl_is_shared() || args->retention_given) {
        duration_text(args->retention, retention);
        json_object_object_add(object, "of_this_open", json_object_new_string(retention));
    }
    at_add_json(object, db, "latest", helios_latest(db));
    at_add_json(object, db, "horizon", helios_horizon(db));
    json_object_object_add(object, "oldest_pin", oldest ? pin_json(db, oldest) : NULL);
    json_print(stdout, object);
    json_free(object);
}

static int run_retention(struct args *args)
{
    helios_pin_info *pins = NULL;
    size_t count = 0;
    helios_status status;
    helios_db *db;
    int code = ctl_open(args, args->retention_given ? OPEN_WRITE : OPEN_READ, &db);

    if (code)
        return code;
    if (args->retention_given)
        code = apply_retention(args, db);
    if (code == EXIT_CODE_OK) {
        status = helios_pin_list(db, &pins, &count);
        if (status != HELIOS_OK)
            code = report_status(args, status, NULL);
    }
    if (code == EXIT_CODE_OK && args->json)
        print_retention_json(args, db, count ? &pins[0] : NULL);
    else if (code == EXIT_CODE_OK)
        print_retention(args, db, count ? &pins[0] : NULL);
    helios_free(pins);
    return ctl_close(args, db, code);
}

static const struct argp_option tag_create_options[] = {OPTION_ROW_AT, OPTION_ROW_BRANCH, OPTION_ROW_RETENTION,
                                                        OPTION_ROW_JSON, OPTION_ROW_END};
static const struct argp_option tag_drop_options[] = {OPTION_ROW_RETENTION, OPTION_ROW_JSON, OPTION_ROW_END};
static const struct argp_option plain_options[] = {OPTION_ROW_JSON, OPTION_ROW_END};
static const struct argp_option retention_options[] = {
    {"set", OPTION_RETENTION, "SPAN", 0, "Let go of history older than SPAN, now", 0},
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};

const struct command pins_commands[] = {
    {"tag create", "DB NAME", "Give a read point a name that keeps it",
     "What is readable there stays so, whatever the retention, until the tag is dropped. Without --at: the "
     "latest "
     "commit. Exit code 2 if the name is taken.\n\n" POINT_DOC,
     tag_create_options, 2, 2, run_tag_create},
    {"tag list", "DB", "Print all tags", "The point, its time, when the tag was made, its branch, its name.",
     plain_options, 1, 1, run_tag_list},
    {"tag show", "DB NAME", "Print one tag", "Exit code 1 if there is none.", plain_options, 2, 2,
     run_tag_show},
    {"tag drop", "DB NAME", "Let go of a tag and of what it keeps", "Exit code 1 if there is none.",
     tag_drop_options, 2, 2, run_tag_drop},
    {"pins", "DB", "Print what holds history: tags, and open handles",
     "The point, its time, kind, branch, age, whether it holds that point alone or everything from it on, and "
     "whose it "
     "is. "
     "Snapshots, iterators and transactions are seen in their own process only: here in the shell; in a "
     "program by "
     "helios_pin_list().",
     plain_options, 1, 1, run_pins},
    {"retention", "DB", "Show how far back history reaches, or shorten it",
     "How much history is kept is said anew by each open (history_retention in helios_options, 24 hours if "
     "nothing is "
     "said); it is not stored. The horizon is the oldest point from which every state is readable; it never "
     "moves "
     "back. Tags and other pins keep their points below it.\n\n"
     "heliosctl opens with `forever`, so that no command lets go of history that your program would keep. "
     "`--set 7d` (or 36h, \"2 weeks\", none, forever) opens with that instead and compacts everything, which "
     "lets go "
     "of what is older; in the shell it stays until the end of the shell. Other commands that write take "
     "--retention SPAN for the same.",
     retention_options, 1, 1, run_retention},
    {0},
};
