/* changes.c - the change feed, printed; and followed.
 *
 * One process has a database at a time, and a feed is read where it is written: so whoever follows from outside sees
 * nothing while a program has the database open. --follow therefore opens it, prints what is new, closes it, and opens it
 * again only when somebody else has had it: an open for writing makes and removes segments, which changes the directory
 * of the log. */
#include "tools/change_out.h"
#include "tools/feed.h"
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FOLLOW_PAUSE = 200,  /* ms between two looks */
    QUIET_LOOKS = 5,     /* and so many without a change before it is opened again */
    TAKEN_PAUSE = 2,     /* ms between two looks whether a pipe is empty */
    STOPPED_LOOKS = 500, /* and so many once interrupted */
    SETTLE_COUNT = 4096, /* entries between two acknowledgements, each of which is a sync */
};

/* Over all passes; the second part is of one. */
struct following {
    const struct args *args;
    struct point from, to;
    helios_slice prefix;
    uint32_t kinds; /* 0: all */
    uint8_t origin[16];
    helios_seq next; /* where the next pass begins; 0: where --from says */
    uint64_t printed;
    struct change_out out;

    helios_db *db;
    helios_changes *changes;
    helios_seq end;   /* the last number that is wanted */
    helios_seq done;  /* everything up to here was written out, or is not wanted */
    helios_seq acked; /* what the consumer has acknowledged */
    uint64_t unsettled;
};

static volatile sig_atomic_t stopped;

static void stop(int number)
{
    (void)number;
    stopped = 1;
}

/* Interrupted, or nobody reads the output any more. */
static bool is_over(void)
{
    return stopped || ferror(stdout);
}

/* ---- one pass ---- */

/* Waits until what was written has been read, where that can be seen: in a pipe. False: its reader has gone without, or
 * is slow and this was interrupted. */
static bool is_taken(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    struct stat file;
    int left;

    if (fstat(STDOUT_FILENO, &file) != 0 || !S_ISFIFO(file.st_mode))
        return true;
    for (int looks = STOPPED_LOOKS; looks > 0 && ioctl(STDOUT_FILENO, FIONREAD, &left) == 0; looks -= stopped) {
        if (left == 0)
            return true;
        if (poll(&out, 1, TAKEN_PAUSE) > 0 && (out.revents & POLLERR))
            break;
    }
    return false;
}

/* What was written out has left this process, and its pipe, before it is acknowledged. */
static int settle(struct following *f)
{
    helios_status status = HELIOS_OK;

    f->unsettled = 0;
    if (fflush(stdout) != 0 || ferror(stdout) || !f->args->consumer || f->done <= f->acked || !is_taken())
        return EXIT_CODE_OK;
    status = helios_changes_ack(f->changes, f->done);
    if (status != HELIOS_OK)
        return report_status(f->args, status, "acknowledging");
    f->acked = f->done;
    return EXIT_CODE_OK;
}

static bool limit_reached(const struct following *f)
{
    return f->printed >= f->args->limit;
}

/* Everything below an entry that is there has been dealt with: of a commit, or of a range's keys, the rest may still
 * come. */
static int print_changes(struct following *f)
{
    helios_change change;
    helios_status status = HELIOS_OK;
    int code = EXIT_CODE_OK;

    while (code == EXIT_CODE_OK && !is_over()) {
        status = helios_changes_next(f->changes, UINT64_MAX, &change);
        if (status != HELIOS_OK)
            break;
        f->done = change.lsn - 1;
        if (limit_reached(f))
            break;
        change_print(&f->out, &change);
        f->printed++;
        if (change.commit_end)
            f->done = change.commit;
        if (++f->unsettled >= SETTLE_COUNT)
            code = settle(f);
    }
    if (status == HELIOS_NOT_FOUND)
        f->done = f->end;
    else if (status != HELIOS_OK)
        code = report_feed(f->args, f->db, status);
    return code;
}

/* An acknowledgement is a commit of one operation: alone it is not worth another one, or there would be no end. */
static int settle_end(struct following *f, uint64_t printed_before)
{
    if (f->printed == printed_before && f->done <= f->acked + 1)
        return EXIT_CODE_OK;
    return settle(f);
}

static int take_acked(struct following *f)
{
    helios_consumer_info *list;
    size_t count;
    helios_status status = helios_consumer_list(f->db, &list, &count);

    if (status != HELIOS_OK)
        return report_status(f->args, status, NULL);
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].name, f->args->consumer) == 0)
            f->acked = list[i].acked;
    helios_free(list);
    return EXIT_CODE_OK;
}

static int walk(struct following *f, const helios_changes_options *options)
{
    uint64_t printed = f->printed;
    helios_status status = helios_changes_new(f->db, options, &f->changes);
    int code = EXIT_CODE_OK;

    if (status != HELIOS_OK)
        return report_feed(f->args, f->db, status);
    f->done = f->acked = 0;
    f->unsettled = 0;
    if (f->args->consumer)
        code = take_acked(f);
    if (code == EXIT_CODE_OK)
        code = print_changes(f);
    if (code == EXIT_CODE_OK)
        code = settle_end(f, printed);
    helios_changes_free(f->changes);
    f->changes = NULL;
    return code;
}

/* The ends as numbers or times. *any false: there is nothing between them. */
static int take_ends(struct following *f, helios_changes_options *options, bool *any)
{
    helios_branch_id branch;
    helios_seq latest = helios_latest(f->db), to = 0;
    int code = EXIT_CODE_OK;

    if (f->next)
        options->from = f->next;
    else if (f->from.kind == POINT_TIME)
        options->from_time = f->from.time ? f->from.time : 1;
    else
        code = feed_begin_of(f->args, f->db, &f->from, &options->from);
    if (code)
        return code;
    if (f->to.kind == POINT_TIME)
        options->to_time = f->to.time ? f->to.time : 1;
    else if (f->to.kind != POINT_SEQ)
        code = at_resolve_on(f->args, f->db, "main", &f->to, &branch, &to);
    else
        to = f->to.seq;
    f->end = options->to = to && to < latest ? to : latest;
    *any = to != HELIOS_SEQ_NONE && latest != 0;
    return code;
}

static int pass(struct following *f)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    const struct args *args = f->args;
    helios_branch_id branch;
    bool any;
    int code = feed_wanted(args, f->db);

    if (code == EXIT_CODE_OK)
        code = branch_resolve(args, f->db, args->branch, &branch);
    if (code == EXIT_CODE_OK)
        code = take_ends(f, &options, &any);
    if (code || !any)
        return code;
    change_out_begin(&f->out, f->db);
    options.prefix = f->prefix;
    options.branch = args->branch ? &branch : NULL;
    options.before_images = args->before;
    options.unsynced = args->unsynced;
    options.all_spaces = args->all_spaces;
    options.expand_ranges = args->expand_ranges;
    options.consumer = args->consumer;
    options.kinds = f->kinds;
    if (args->origin && strcmp(args->origin, "self") == 0)
        helios_node_id(f->db, f->origin);
    options.origin = args->origin ? f->origin : NULL;
    code = walk(f, &options);
    f->next = f->end + 1;
    return code;
}

/* ---- following ---- */

/* Changes whenever a database is opened for writing, and closed. */
static struct timespec log_touched(const struct args *args)
{
    helios_buf path = {0};
    struct stat found = {0};

    buf_add_text(&path, args->words[0]);
    buf_add_text(&path, "/wal");
    if (stat(path.data, &found) != 0)
        found.st_mtim = (struct timespec){0};
    free(path.data);
    return found.st_mtim;
}

/* A reader that went away is seen here: nothing may be written for long. */
static void pause_a_while(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};

    if (poll(&out, 1, FOLLOW_PAUSE) > 0 && (out.revents & POLLERR))
        stopped = 1;
}

/* Opens it once nobody else has it. */
static int open_when_free(struct following *f)
{
    bool told = false;
    helios_status status;

    while ((status = ctl_try_open(f->args, OPEN_WRITE, &f->db)) == HELIOS_BUSY && !stopped) {
        if (!told)
            fprintf(stderr, "heliosctl changes: %s is open in another program: waiting until it is closed\n",
                    f->args->words[0]);
        told = true;
        pause_a_while();
    }
    return status == HELIOS_OK || stopped ? EXIT_CODE_OK : report_open(f->args, OPEN_WRITE, status);
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Until somebody else has had it, and then a while more: who runs several commands in a row is not to meet this one
 * between two of them. */
static void wait_for_others(const struct args *args)
{
    struct timespec mine = log_touched(args), last = mine;
    int quiet = 0;

    while (!is_over() && (same_time(last, mine) || quiet < QUIET_LOOKS)) {
        struct timespec now;

        pause_a_while();
        now = log_touched(args);
        quiet = same_time(now, last) ? quiet + 1 : 0;
        last = now;
    }
}

static int follow(struct following *f)
{
    struct sigaction action = {.sa_handler = stop, .sa_flags = SA_RESTART | (int)SA_RESETHAND};
    int code = EXIT_CODE_OK;

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (code == EXIT_CODE_OK && !is_over() && !limit_reached(f)) {
        f->db = NULL;
        code = open_when_free(f);
        if (!f->db)
            break;
        code = ctl_close(f->args, f->db, pass(f));
        if (code == EXIT_CODE_OK && !limit_reached(f))
            wait_for_others(f->args);
    }
    return code;
}

/* ---- the command ---- */

static int take_format(struct following *f)
{
    const char *format = f->args->format ? f->args->format : f->args->json ? "json" : "text";

    f->out.args = f->args;
    f->out.json = strcmp(format, "json") == 0;
    if (!f->out.json && strcmp(format, "text") != 0)
        return report_usage(f->args, "--format is text or json, not \"%s\"", format);
    if (f->args->follow && f->args->to)
        return report_usage(f->args, "--follow has no end: leave out --to");
    if (f->args->follow && ctl_is_shared())
        return report_usage(f->args, "nobody else writes while the shell has the database: leave out --follow");
    return EXIT_CODE_OK;
}

/* "put,delete". */
static int take_kinds(struct following *f)
{
    static const char *const names[] = {
        [HELIOS_CHANGE_PUT] = "put",
        [HELIOS_CHANGE_DELETE] = "delete",
        [HELIOS_CHANGE_DELETE_RANGE] = "delete_range",
    };
    enum { KINDS = sizeof(names) / sizeof(names[0]) };
    const char *at = f->args->kinds;

    while (at) {
        size_t size = strcspn(at, ","), kind = 0;

        while (kind < KINDS && (strlen(names[kind]) != size || memcmp(names[kind], at, size) != 0))
            kind++;
        if (kind == KINDS)
            return report_usage(f->args,
                                "--kinds are put, delete and delete_range, with commas between, not \"%s\"",
                                f->args->kinds);
        f->kinds |= 1u << kind;
        at = at[size] ? at + size + 1 : NULL;
    }
    return EXIT_CODE_OK;
}

static int take_origin(struct following *f)
{
    const char *text = f->args->origin;
    helios_slice bytes = {0};
    bool good;

    if (!text || strcmp(text, "self") == 0)
        return EXIT_CODE_OK;
    good = bytes_decode(true, text, &bytes) && bytes.size == sizeof(f->origin);
    if (good)
        memcpy(f->origin, bytes.data, sizeof(f->origin));
    slice_free(&bytes);
    return good ? EXIT_CODE_OK
                : report_usage(f->args, "--origin is a node's id in 32 hexadecimal digits, or self, not \"%s\"",
                               text);
}

static int run_changes(struct args *args)
{
    struct following f = {.args = args};
    int code = take_format(&f);

    if (code == EXIT_CODE_OK)
        code = take_kinds(&f);
    if (code == EXIT_CODE_OK)
        code = take_origin(&f);
    if (code == EXIT_CODE_OK)
        code = at_parse(args, "--from", args->from ? args->from : "start", &f.from);
    if (code == EXIT_CODE_OK)
        code = at_parse(args, "--to", args->to, &f.to);
    if (code == EXIT_CODE_OK && args->prefix && !bytes_from_text(args, args->prefix, &f.prefix))
        code = EXIT_CODE_USAGE;
    if (code)
        return code;
    if (args->follow) {
        code = follow(&f);
    } else {
        code = ctl_open(args, args->consumer ? OPEN_WRITE : OPEN_READ, &f.db);
        if (code == EXIT_CODE_OK)
            code = ctl_close(args, f.db, pass(&f));
    }
    slice_free(&f.prefix);
    return code;
}

static const struct argp_option changes_options[] = {
    {"from", OPTION_FROM, "POINT", 0, "From POINT on: an lsn, inclusive; a time; tag:NAME: what came after it",
     0},
    {"to", OPTION_TO, "POINT", 0, "Up to POINT, inclusive", 0},
    {"branch", OPTION_BRANCH, "NAME", 0, "Only on the branch NAME (or #ID); default: all", 0},
    OPTION_ROW_PREFIX,
    {"kinds", OPTION_KINDS, "KIND,...", 0, "Only put, delete, delete_range", 0},
    {"origin", OPTION_ORIGIN, "NODE", 0, "Only what the node made: 32 hexadecimal digits, or self", 0},
    {"before", OPTION_BEFORE, NULL, 0, "Also the values that were there before", 0},
    {"expand-ranges", OPTION_EXPAND_RANGES, NULL, 0, "A range delete as one line for each key that was there",
     0},
    {"all-spaces", OPTION_ALL_SPACES, NULL, 0, "Also what is not the program's keys: branches, tags, consumers",
     0},
    {"unsynced", OPTION_UNSYNCED, NULL, 0, "In the shell: also what a power loss could still take back", 0},
    {"limit", OPTION_LIMIT, "N", 0, "At most N changes", 0},
    {"consumer", OPTION_CONSUMER, "NAME", 0, "Go on where NAME stopped; acknowledge what was written out", 0},
    {"follow", OPTION_FOLLOW, NULL, 0, "Wait for more, until interrupted", 0},
    {"format", OPTION_FORMAT, "FORMAT", 0, "text (default) or json", 0},
    {"full", OPTION_FULL, NULL, 0, "Whole values, however long", 0},
    OPTION_ROW_HEX,
    OPTION_ROW_RETENTION,
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};

const struct command changes_commands[] = {
    {"changes", "DB", "Print the change feed: every operation, oldest first",
     "One line each: its lsn, its time, | or, for the last one of a commit, *; then + and a key that was "
     "written, - "
     "and one that was deleted, -[a, b) for a range. With --before, ~ and both values where there was one. "
     "Needs a "
     "feed: `heliosctl feed start DB`.\n\n"
     "--format json (or --json) prints one object a line as Debezium does: before, after, source (db, lsn, "
     "commit, "
     "commit_end, branch, branch_id, space, origin, origin_lsn), op, ts_us, and the key. op is c, u or d; "
     "without "
     "--before nobody looks what was there: then every write is a u, and there is no member before. A range "
     "delete is "
     "delete_range with key and key_end. Bytes that are no UTF-8: key_hex, before_hex, after_hex.\n\n"
     "--consumer NAME remembers, in the database, what was written out and, in a pipe, read: a line may come "
     "twice, none is left out but what its reader had taken and not dealt with when it died. Who cannot have "
     "that keeps source.lsn beside what it did and begins with --from.\n\n"
     "Only one process has a database open. --follow opens it a second after others have closed it, for as "
     "long as it takes "
     "to print what is new; it sees nothing while a program has it open, and a program that opens it just then "
     "gets "
     "HELIOS_BUSY. Of a program that keeps it open, changes are read in the program: "
     "helios_changes_new().\n\n" POINT_DOC,
     changes_options, 1, 1, run_changes},
    {0},
};
