/* feed.c - the change feed as a whole: begun, shown, trimmed, ended; its consumers. */
#include "tools/feed.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

static uint64_t stat_of(helios_db *db, const char *name)
{
    uint64_t value;

    return helios_stat(db, name, &value) == HELIOS_OK ? value : 0;
}

int feed_wanted(const struct args *args, helios_db *db)
{
    if (stat_of(db, "feed.first"))
        return EXIT_CODE_OK;
    return report_advice(
        args, "HELIOS_UNSUPPORTED", EXIT_CODE_NOT_FOUND,
        "`heliosctl feed start DB` begins one with the next commit; a program keeps it only if it opens "
        "with feed_retention",
        "no change feed is kept in %s", args->words[0]);
}

int report_feed(const struct args *args, helios_db *db, helios_status status)
{
    helios_buf message = {0};
    int code;

    if (status != HELIOS_FEED_TRIMMED)
        return report_read(args, db, status, NULL);
    buf_add_text(&message, helios_last_error());
    code = report_advice(
        args, helios_status_name(status), exit_code_of(status),
        "`heliosctl feed stats DB` shows where it begins; a consumer that was passed over is let go "
        "with `heliosctl consumer drop DB NAME`, and what it copied made anew",
        "%s", message.data);
    free(message.data);
    return code;
}

int feed_begin_of(const struct args *args, helios_db *db, const struct point *point, helios_seq *begin)
{
    helios_branch_id branch;
    int code;

    *begin = point->kind == POINT_SEQ ? point->seq : 0;
    if (point->kind == POINT_SEQ || point->kind == POINT_START)
        return EXIT_CODE_OK;
    code = at_resolve_on(args, db, "main", point, &branch, begin);
    if (code)
        return code;
    if (*begin == 0)
        *begin = helios_latest(db);
    *begin = *begin == HELIOS_SEQ_NONE ? 0 : *begin + 1;
    return EXIT_CODE_OK;
}

/* ---- begin and end ---- */

static int end_of_shell(const struct args *args)
{
    return report_usage(args, "the shell's database is open already: do it outside of the shell");
}

static int run_start(struct args *args)
{
    helios_db *db;
    int code;

    if (ctl_is_shared())
        return end_of_shell(args);
    code = ctl_open(args, OPEN_FEED, &db);
    if (code)
        return code;
    if (args->json)
        printf("{\"first\":%llu}\n", (unsigned long long)stat_of(db, "feed.first"));
    else
        printf("The change feed begins with %llu\n", (unsigned long long)stat_of(db, "feed.first"));
    return ctl_close(args, db, code);
}

static int run_stop(struct args *args)
{
    helios_db *db;
    int code;

    if (ctl_is_shared())
        return end_of_shell(args);
    if (!args->yes)
        return report_usage(args, "the feed cannot be brought back: say --yes");
    code = ctl_open(args, OPEN_NO_FEED, &db);
    if (code)
        return code;
    if (args->json)
        puts("{\"first\":0}");
    else
        puts("No change feed is kept any more");
    return ctl_close(args, db, code);
}

/* ---- stats ---- */

struct feed_numbers {
    helios_seq watermark, first, last;
    uint64_t first_time, last_time, bytes, consumers, trimmed;
};

/* The first entry is within a commit, so its time is asked of the feed itself. */
static helios_status first_time(helios_db *db, helios_seq first, uint64_t *time)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_change change;
    helios_changes *changes;
    helios_status status;

    options.from = first;
    options.all_spaces = true;
    status = helios_changes_new(db, &options, &changes);
    if (status != HELIOS_OK)
        return status;
    status = helios_changes_next(changes, 0, &change);
    if (status == HELIOS_OK)
        *time = change.time;
    helios_changes_free(changes);
    return status;
}

static helios_status take_numbers(helios_db *db, struct feed_numbers *n)
{
    helios_status status = helios_feed_bounds(db, &n->first, &n->last);

    if (status == HELIOS_OK && n->first)
        status = first_time(db, n->first, &n->first_time);
    if (status == HELIOS_OK && n->first)
        status = helios_time_of_seq(db, n->last, &n->last_time);
    n->watermark = stat_of(db, "feed.first");
    n->bytes = stat_of(db, "feed.bytes");
    n->consumers = stat_of(db, "feed.consumers");
    n->trimmed = stat_of(db, "feed.consumers.trimmed");
    return status;
}

static void print_end(const char *name, helios_seq seq, uint64_t time)
{
    char text[TIME_TEXT_SIZE];

    time_text(time, false, text);
    if (seq)
        printf("%-15s %llu, %s UTC\n", name, (unsigned long long)seq, text);
    else
        printf("%-15s none\n", name);
}

static const char *retention_of_this_open(void)
{
    return ctl_is_shared() ? "the shell's: forever" : "forever";
}

static void print_numbers(const struct feed_numbers *n)
{
    char bytes[32];

    human_bytes(n->bytes, bytes);
    print_end("first entry", n->first, n->first_time);
    print_end("last entry", n->last, n->last_time);
    printf("%-15s %llu\n", "nothing below", (unsigned long long)n->watermark);
    printf("%-15s %s\n", "bytes", bytes);
    printf("%-15s %s\n", "of this open", retention_of_this_open());
    printf("%-15s %llu, %llu of them passed over\n", "consumers", (unsigned long long)n->consumers,
           (unsigned long long)n->trimmed);
}

static void add_end(struct json_object *object, const char *name, helios_seq seq, uint64_t time)
{
    char member[32];

    json_object_object_add(object, name, seq ? json_object_new_uint64(seq) : NULL);
    snprintf(member, sizeof(member), "%s_time", name);
    if (seq)
        time_add_json(object, member, time);
}

static void print_numbers_json(const struct feed_numbers *n)
{
    struct json_object *object = json_object_new_object();

    add_end(object, "first", n->first, n->first_time);
    add_end(object, "last", n->last, n->last_time);
    json_object_object_add(object, "watermark", json_object_new_uint64(n->watermark));
    json_object_object_add(object, "bytes", json_object_new_uint64(n->bytes));
    json_object_object_add(object, "of_this_open", json_object_new_string("forever"));
    json_object_object_add(object, "consumers", json_object_new_uint64(n->consumers));
    json_object_object_add(object, "consumers_trimmed", json_object_new_uint64(n->trimmed));
    json_print(stdout, object);
    json_free(object);
}

static int show_numbers(const struct args *args, helios_db *db)
{
    struct feed_numbers numbers = {0};
    helios_status status;
    int code = feed_wanted(args, db);

    if (code)
        return code;
    status = take_numbers(db, &numbers);
    if (status != HELIOS_OK)
        return report_feed(args, db, status);
    if (args->json)
        print_numbers_json(&numbers);
    else
        print_numbers(&numbers);
    return EXIT_CODE_OK;
}

static int run_stats(struct args *args)
{
    helios_db *db;
    int code = ctl_open(args, OPEN_WRITE, &db);

    return code ? code : ctl_close(args, db, show_numbers(args, db));
}

/* ---- trim ---- */

/* By time: what was committed before it goes. */
static int below_of(const struct args *args, helios_db *db, const struct point *point, helios_seq *below)
{
    helios_status status;

    if (point->kind != POINT_TIME)
        return feed_begin_of(args, db, point, below);
    *below = 0;
    if (point->time == 0)
        return EXIT_CODE_OK;
    status = helios_seq_at_time(db, point->time - 1, below);
    if (status == HELIOS_HISTORY_GONE || (status == HELIOS_OK && *below == HELIOS_SEQ_NONE)) {
        *below = 0; /* before all that is kept */
        return EXIT_CODE_OK;
    }
    *below += status == HELIOS_OK;
    return status == HELIOS_OK ? EXIT_CODE_OK : report_status(args, status, NULL);
}

static int trim(const struct args *args, helios_db *db, const struct point *point)
{
    uint64_t removed = 0;
    helios_seq below;
    helios_status status;
    char number[32];
    int code = feed_wanted(args, db);

    if (code == EXIT_CODE_OK)
        code = below_of(args, db, point, &below);
    if (code)
        return code;
    status = helios_feed_trim(db, below, &removed);
    if (status != HELIOS_OK)
        return report_feed(args, db, status);
    human_count(removed, number);
    if (args->json)
        printf("{\"removed\":%llu,\"watermark\":%llu}\n", (unsigned long long)removed,
               (unsigned long long)stat_of(db, "feed.first"));
    else
        printf("%s entries let go; nothing is kept below %llu\n", number,
               (unsigned long long)stat_of(db, "feed.first"));
    return EXIT_CODE_OK;
}

static int run_trim(struct args *args)
{
    struct point point;
    helios_db *db;
    int code;

    if (!args->below)
        return report_usage(args, "--below is missing");
    code = at_parse(args, "--below", args->below, &point);
    if (code == EXIT_CODE_OK)
        code = ctl_open(args, OPEN_WRITE, &db);
    return code ? code : ctl_close(args, db, trim(args, db, &point));
}

/* ---- consumers ---- */

static const char *state_of(const helios_consumer_info *c)
{
    return c->lost ? "passed over" : c->open ? "open" : "-";
}

static void print_consumer(const struct args *args, const helios_consumer_info *c)
{
    char behind[32], active[TIME_TEXT_SIZE];

    if (args->json) {
        struct json_object *object = json_object_new_object();

        json_add_bytes(object, "name", (helios_slice){c->name, strlen(c->name)});
        json_object_object_add(object, "acked", json_object_new_uint64(c->acked));
        json_object_object_add(object, "behind", json_object_new_uint64(c->behind));
        json_object_object_add(object, "before_images", json_object_new_boolean(c->before_images));
        json_object_object_add(object, "open", json_object_new_boolean(c->open));
        json_object_object_add(object, "trimmed", json_object_new_boolean(c->lost));
        time_add_json(object, "active", c->active);
        json_print(stdout, object);
        json_free(object);
        return;
    }
    human_count(c->behind, behind);
    time_text(c->active, false, active);
    printf("%12llu  %12s  %-13s  %-11s  %-26s  %s\n", (unsigned long long)c->acked, behind,
           c->before_images ? "held" : "-", state_of(c), active, c->name);
}

static int list_consumers(const struct args *args, helios_db *db)
{
    helios_consumer_info *list;
    size_t count;
    helios_status status;
    int code = feed_wanted(args, db);

    if (code)
        return code;
    status = helios_consumer_list(db, &list, &count);
    if (status != HELIOS_OK)
        return report_status(args, status, NULL);
    if (!args->json && count)
        printf("%12s  %12s  %-13s  %-11s  %-26s  %s\n", "acknowledged", "behind", "before-images", "state",
               "last there (UTC)", "name");
    for (size_t i = 0; i < count; i++)
        print_consumer(args, &list[i]);
    helios_free(list);
    return EXIT_CODE_OK;
}

static int run_consumer_list(struct args *args)
{
    helios_db *db;
    int code = ctl_open(args, OPEN_WRITE, &db);

    return code ? code : ctl_close(args, db, list_consumers(args, db));
}

static int drop_consumer(const struct args *args, helios_db *db)
{
    helios_status status;
    int code = feed_wanted(args, db);

    if (code)
        return code;
    status = helios_consumer_drop(db, args->words[1]);
    if (status == HELIOS_NOT_FOUND)
        return report_advice(args, helios_status_name(status), EXIT_CODE_NOT_FOUND,
                             "`heliosctl consumer list DB` shows those there are",
                             "there is no consumer \"%s\"", args->words[1]);
    if (status != HELIOS_OK)
        return report_status(args, status, NULL);
    if (args->json)
        puts("{\"dropped\":1}");
    return EXIT_CODE_OK;
}

static int run_consumer_drop(struct args *args)
{
    helios_db *db;
    int code = ctl_open(args, OPEN_WRITE, &db);

    return code ? code : ctl_close(args, db, drop_consumer(args, db));
}

/* Of "consumer list" and, as people say it, "consumers". */
#define CONSUMERS_DOC                                                                                          \
    "What each has acknowledged, about how many entries it is behind, whether history is held for its "        \
    "before-images, whether what it needs next has gone (passed over: it cannot go on), and when it was last " \
    "there, to a minute: a program that opens with consumer_expiry lets go of what one holds that was not "    \
    "heard of for that long."

static const struct argp_option plain_options[] = {OPTION_ROW_RETENTION, OPTION_ROW_JSON, OPTION_ROW_END};
static const struct argp_option stop_options[] = {
    {"yes", OPTION_YES, NULL, 0, "Yes, let go of all of it", 0},
    OPTION_ROW_RETENTION,
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};
static const struct argp_option trim_options[] = {
    {"below", OPTION_BELOW, "POINT", 0, "An lsn; a time; tag:NAME or now: up to it", 0},
    OPTION_ROW_RETENTION,
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};

const struct command feed_commands[] = {
    {"feed start", "DB", "Keep a change feed from the next commit on",
     "Of a database that has one already nothing changes. Whether a feed is kept is said by each open "
     "(feed_retention in helios_options, none if nothing is said): a program that opens without it lets the "
     "feed go. "
     "heliosctl keeps what there is, without end, and begins none but by this command and `create --feed`.",
     plain_options, 1, 1, run_start},
    {"feed stop", "DB", "Let the change feed go", "Entries, for good; consumers are remembered. Needs --yes.",
     stop_options, 1, 1, run_stop},
    {"feed stats", "DB", "Show how far the change feed reaches and what it takes",
     "Its first and last durable entry, the lsn below which nothing is kept, the bytes of log and tables that "
     "it holds, "
     "how long this open keeps entries (a program's own feed_retention is not stored), and how many consumers "
     "there "
     "are. Exit code 1 if no feed is kept.",
     plain_options, 1, 1, run_stats},
    {"feed trim", "DB", "Let go of the oldest entries of the change feed",
     "Rounded down to a commit, and at most what every consumer has acknowledged.\n\n" POINT_DOC, trim_options,
     1, 1, run_trim},
    {"consumer list", "DB", "Print the durable readers of the change feed", CONSUMERS_DOC, plain_options, 1, 1,
     run_consumer_list},
    {"consumers", "DB", "The same as consumer list", CONSUMERS_DOC, plain_options, 1, 1, run_consumer_list},
    {"consumer drop", "DB NAME", "Let go of a consumer and of what it holds", "Exit code 1 if there is none.",
     plain_options, 2, 2, run_consumer_drop},
    {0},
};
