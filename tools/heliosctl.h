/* heliosctl.h - what the files of the tool share: the table of commands, parsed arguments, opening,
 * text forms of bytes, the terminal.
 *
 * One command is one function int run(struct args *) that returns an exit code. The tool's own
 * memory comes from xalloc() and ends the program when there is none. */
#ifndef HELIOS_TOOLS_HELIOSCTL_H
#define HELIOS_TOOLS_HELIOSCTL_H
#include "helios/helios.h"
#include <argp.h>
#include <stdarg.h>
#include <stdio.h>

/* Documented in `heliosctl --help` and README.md. */
enum exit_code {
    EXIT_CODE_OK = 0,
    EXIT_CODE_NOT_FOUND = 1, /* a key that is absent, a database or file that does not exist */
    EXIT_CODE_USAGE = 2,     /* the command line, or a key or value that can never be right */
    EXIT_CODE_DATABASE = 3,  /* the operating system or the database failed; also a full disk */
    EXIT_CODE_CORRUPT = 4,   /* bytes on disk are not what was written */
    EXIT_CODE_BUSY = 5,      /* another process has the database open */
    EXIT_CODE_INPUT = 6,     /* bad lines in the file to load */
    EXIT_CODE_HISTORY = 7,   /* what is asked for is older than the history, or the feed, that is kept */
    EXIT_CODE_CONFLICT = 8,  /* a merge or revert met conflicts and changed nothing */
    EXIT_CODE_DIFFERENT = 9, /* diff: there are differences */
};

/* ---- arguments (args.c) ---- */

/* Options that have only a long form; those with a letter use the letter. */
enum option_key {
    OPTION_HEX = 1000,
    OPTION_JSON,
    OPTION_PREFIX,
    OPTION_FROM,
    OPTION_TO,
    OPTION_LIMIT,
    OPTION_REVERSE,
    OPTION_KEYS_ONLY,
    OPTION_KEY,
    OPTION_FORMAT,
    OPTION_ROW_NUMBER,
    OPTION_KEEP_GOING,
    OPTION_REPLACE,
    OPTION_BATCH,
    OPTION_ACKNOWLEDGE,
    OPTION_PAIRS,
    OPTION_ROWS,
    OPTION_DURABILITY,
    OPTION_CREATE,
    OPTION_RAW,
    OPTION_FILE,
    OPTION_YES,
    OPTION_ENTRIES,
    OPTION_SCAN,
    OPTION_COUNT,
    OPTION_VALUE_BYTES,
    OPTION_THREADS,
    OPTION_WORKLOADS,
    OPTION_OUTPUT,
    OPTION_ALL,
    OPTION_IF_MISSING,
    OPTION_SEPARATOR,
    OPTION_AT,
    OPTION_RETENTION,
    OPTION_OLDEST_FIRST,
    OPTION_BRANCH,
    OPTION_SET,
    OPTION_STAT,
    OPTION_KEYS,
    OPTION_FULL,
    OPTION_INTO,
    OPTION_DRY_RUN,
    OPTION_OURS,
    OPTION_THEIRS,
    OPTION_CLOSE,
    OPTION_GRAPH,
    OPTION_BEFORE,
    OPTION_EXPAND_RANGES,
    OPTION_ALL_SPACES,
    OPTION_UNSYNCED,
    OPTION_FOLLOW,
    OPTION_CONSUMER,
    OPTION_FEED,
    OPTION_BELOW,
    OPTION_KINDS,
    OPTION_ORIGIN,
    OPTION_DIR,
    OPTION_QUICK,
    OPTION_TABLE,
    OPTION_COLUMNS,
    OPTION_INDEX,
    OPTION_OFFSET,
    OPTION_NAME,
    OPTION_IDS,
    OPTION_UNIQUE,
    OPTION_PRIMARY_KEY,
    OPTION_UNIQUE_COLUMN,
    OPTION_SAMPLE,
    /* In the order of struct key_words; every command takes the first four. */
    OPTION_KEY_ENV,
    OPTION_KEY_FILE,
    OPTION_PASSWORD_ENV,
    OPTION_PASSWORD_FILE,
    OPTION_NEW_KEY_ENV,
    OPTION_NEW_KEY_FILE,
    OPTION_NEW_PASSWORD_ENV,
    OPTION_NEW_PASSWORD_FILE,
};

enum { WORDS_MAX = 4096, KEY_COLUMNS_MAX = 16 };

/* Columns that an option named, each time it was given. */
struct column_words {
    const char *names[KEY_COLUMNS_MAX];
    int count;
};

/* Where a key comes from; one of them. */
struct key_words {
    const char *key_env, *key_file, *password_env, *password_file;
};

struct args {
    const struct command *command;
    const char *words[WORDS_MAX]; /* what is not an option, in order; the database first */
    int word_count;
    bool hex, json, reverse, keys_only, row_number, keep_going, replace, acknowledge, pairs, rows, create, raw,
        yes, entries, scan, all, if_missing, oldest_first, stat, full, dry_run, ours, theirs, close, graph,
        before, expand_ranges, all_spaces, unsynced, follow, feed, quick, ids, unique;
    const char *prefix, *from, *to, *format, *file, *output, *workloads, *separator, *at, *branch, *set, *into,
        *consumer, *below, *kinds, *origin, *dir, *table, *columns, *index, *name;
    struct key_words key, new_key;
    const char *key_columns[KEY_COLUMNS_MAX];
    int key_column_count;
    struct column_words primary_key, unique_columns;
    uint64_t limit, batch, count, value_bytes, threads, offset, sample; /* UINT64_MAX: not given */
    helios_durability durability;
    uint64_t retention; /* of history, for this open; HELIOS_FOREVER unless given */
    bool retention_given;
};

struct command {
    const char *name;    /* one word, or two: "tag create" */
    const char *words;   /* "DB KEY...": for the usage line */
    const char *summary; /* one line, for the list */
    const char *details; /* paragraphs, for its --help; may be NULL */
    const struct argp_option *options;
    int words_min, words_max;
    int (*run)(struct args *);
};

/* Each file of commands has a table that ends with a NULL name. */
extern const struct command data_commands[], scan_commands[], load_commands[], export_commands[],
    salvage_commands[], stats_commands[], tree_commands[], upkeep_commands[], dump_commands[], bench_commands[],
    shell_commands[], history_commands[], pins_commands[], branch_commands[], diff_commands[], merge_commands[],
    changes_commands[], deltas_commands[], feed_commands[], key_commands[], table_commands[], index_commands[],
    rows_commands[], row_commands[];

/* The command that the first word or two name; *used: how many they are. NULL: none. */
const struct command *command_find(int count, char **words, int *used);
/* argv[0] is the command's name. -1: go on and run it; else the exit code. Without may_exit (in the
 * shell) --help and bad usage return too, instead of ending the program. */
int args_parse(const struct command *, int argc, char **argv, bool may_exit, struct args *);

/* Shared rows of option tables. */
#define OPTION_ROW_HEX                                                                                         \
    {                                                                                                          \
        "hex", OPTION_HEX, NULL, 0, "Keys and values are hexadecimal, in arguments and output", 0              \
    }
#define OPTION_ROW_JSON                                                                                        \
    {                                                                                                          \
        "json", OPTION_JSON, NULL, 0, "Print JSON", 0                                                          \
    }
#define OPTION_ROW_PREFIX                                                                                      \
    {                                                                                                          \
        "prefix", OPTION_PREFIX, "KEY", 0, "Only keys that begin with KEY", 0                                  \
    }
#define OPTION_ROW_FROM                                                                                        \
    {                                                                                                          \
        "from", OPTION_FROM, "KEY", 0, "From KEY on, inclusive", 0                                             \
    }
#define OPTION_ROW_TO                                                                                          \
    {                                                                                                          \
        "to", OPTION_TO, "KEY", 0, "Up to KEY, exclusive", 0                                                   \
    }
#define OPTION_ROW_DURABILITY                                                                                  \
    {                                                                                                          \
        "durability", OPTION_DURABILITY, "MODE", 0, "none, async, group or sync (default: sync)", 0            \
    }
#define OPTION_ROW_CREATE                                                                                      \
    {                                                                                                          \
        "create", OPTION_CREATE, NULL, 0, "Create the database if it does not exist", 0                        \
    }
#define OPTION_ROW_AT                                                                                          \
    {                                                                                                          \
        "at", OPTION_AT, "POINT", 0, "As of POINT: a commit's number, a time, tag:NAME", 0                     \
    }
#define OPTION_ROW_BRANCH                                                                                      \
    {                                                                                                          \
        "branch", OPTION_BRANCH, "NAME", 0, "On the branch NAME (or #ID); default: main", 0                    \
    }
#define OPTION_ROW_RETENTION                                                                                   \
    {                                                                                                          \
        "retention", OPTION_RETENTION, "SPAN", 0,                                                              \
            "Let history go that is older than SPAN: 7d, 36h, none (default: forever)", 0                      \
    }
/* For the details of commands that take a point. On the one number line of a database a point means a state of
 * every branch; only a tag brings a branch along. */
#define POINT_DOC                                                                                              \
    "A POINT is a commit's number (4711), a time (\"2026-11-21 10:00:00.25\", also with T, without seconds "   \
    "or time "                                                                                                 \
    "of day, with a zone such as +01:00; without one it is UTC), a span (\"10 minutes ago\", 2h30m ago; "      \
    "units us, "                                                                                               \
    "ms, seconds, minutes, hours, days, weeks), tag:NAME, now, or start (before the first commit). A time "    \
    "stands for "                                                                                              \
    "the last commit at or before it. Exit code 7 if that is older than the history that is kept."
#define OPTION_ROW_END                                                                                         \
    {                                                                                                          \
        0                                                                                                      \
    }

/* ---- memory ---- */
void *xalloc(size_t size);
void *xrealloc(void *, size_t size);
char *xtext(const char *);

/* ---- failures (open.c) ---- */
/* Print to stderr what went wrong and what to do next, as text or, with --json, as an object. */
int report_status(const struct args *, helios_status, const char *what); /* what may be NULL */
int report_usage(const struct args *, const char *format, ...) __attribute__((format(printf, 2, 3)));
int report_input(const struct args *, const char *format, ...) __attribute__((format(printf, 2, 3)));
int report_failure(const struct args *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* With what errno says behind it; EXIT_CODE_NOT_FOUND for a file that is not there. */
int report_system(const struct args *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* All in the caller's words; next may be NULL. Returns code. */
int report_advice(const struct args *, const char *status_name, int code, const char *next, const char *format,
                  ...) __attribute__((format(printf, 5, 6)));
int exit_code_of(helios_status);

/* The key that the words name; *given false: they name none. keys.c */
int key_take(const struct args *, const struct key_words *, helios_encryption *, bool *given);

/* ---- databases (open.c) ---- */
/* OPEN_FEED and OPEN_NO_FEED: for writing, and the change feed begins, or goes; the others leave it as it is. */
enum open_mode { OPEN_READ, OPEN_WRITE, OPEN_CREATE, OPEN_NEW, OPEN_FEED, OPEN_NO_FEED };
/* Opens words[0]. In the shell: what the shell has open. 0 or an exit code, reported. */
int ctl_open(const struct args *, enum open_mode, helios_db **);
/* The same in two steps: a failure is told by report_open(), as the next thing. */
helios_status ctl_try_open(const struct args *, enum open_mode, helios_db **);
int report_open(const struct args *, enum open_mode, helios_status);
/* Closes and turns `code` into a failure if closing fails while it is 0. */
int ctl_close(const struct args *, helios_db *, int code);
void ctl_share(helios_db *); /* the shell's; NULL ends it */
bool ctl_is_shared(void);

/* ---- bytes as text (text.c) ----
 * Text form: printable UTF-8 as it is, a backslash as \\, any other byte as \xNN. Reading also takes
 * \n, \t, \r and \0. It says every key exactly, in one line. */
/* Allocates. False, with a sentence reported, when the text is not a text form (or not hexadecimal). */
bool bytes_from_text(const struct args *, const char *text, helios_slice *);
bool bytes_decode(bool hex, const char *text, helios_slice *); /* the same, silent */
/* The whole of a file or of standard input ("-"). Allocates. 0 or an exit code, reported. */
int bytes_from_file(const struct args *, const char *path, helios_slice *);
void slice_free(helios_slice *);
size_t bytes_common(helios_slice, helios_slice); /* bytes that both begin with */
void text_append(helios_buf *, helios_slice);    /* the text form */
void hex_append(helios_buf *, helios_slice);
void display_append(helios_buf *, helios_slice);             /* as text form, but backslashes as they are */
void print_bytes(FILE *, const struct args *, helios_slice); /* text form or hexadecimal */
/* The same in at most `width` columns, with ... where the value's beginning (its first `skip` bytes) or its end
 * was left out; how many columns it took. */
size_t print_shortened(const struct args *, helios_slice, size_t skip, size_t width);
/* "from -> to" in at most `width` columns, 60 at least; where they are too long for that, from shortly before the place
 * where they part. */
void print_both(const struct args *, helios_slice from, helios_slice to, int width);
bool utf8_valid(helios_slice);
size_t utf8_columns(const char *text);                     /* code points */
void buf_add(helios_buf *, const void *data, size_t size); /* keeps a NUL behind */
void buf_add_text(helios_buf *, const char *);
/* The smallest key above all that begin with prefix; data NULL if there is none. Allocates. */
helios_slice prefix_end(helios_slice prefix);

/* ---- JSON (json.c) ---- */
struct json_object;
/* name: text, or name_hex: digits when the bytes are no UTF-8. */
void json_add_bytes(struct json_object *, const char *name, helios_slice);
void json_print(FILE *, struct json_object *); /* one line */
void json_print_pretty(FILE *, struct json_object *);
void json_free(struct json_object *);

/* ---- the terminal (term.c) ---- */
int term_width(void);
bool term_colours(FILE *); /* a terminal, NO_COLOR not set, TERM not dumb */
bool term_utf8(void);
void human_bytes(uint64_t bytes, char out[32]); /* 12.3 MiB */
void human_count(uint64_t count, char out[32]); /* 1,234,567 */
uint64_t clock_micros(void);                    /* monotonic */
uint64_t wall_micros(void);                     /* since 1970 */

/* A bar on stderr with rate and time left, where that is a terminal; nothing elsewhere, nor in the first
 * tenth of a second. */
struct progress {
    bool shown, drawn;
    const char *label, *unit; /* unit NULL: bytes */
    uint64_t start, last, total;
};
void progress_begin(struct progress *, const struct args *, const char *label, const char *unit,
                    uint64_t total);
void progress_update(struct progress *, uint64_t done, uint64_t units);
void progress_say(struct progress *, const char *text); /* in the bar's place */
void progress_clear(struct progress *);                 /* before other output */
void progress_end(struct progress *);

#endif
