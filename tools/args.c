/* args.c - the command line of one command, by argp: one parser for all, the table of options is the
 * command's own. */
#include "tools/heliosctl.h"
#include "tools/point.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* 1000, 64k, 16M, 1G; powers of 1024. */
static bool parse_number(const char *text, uint64_t *number)
{
    static const char suffixes[] = "kmgt";
    char *end;
    const char *suffix;
    unsigned long long value;

    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno)
        return false;
    if (*end) {
        suffix = strchr(suffixes, tolower((unsigned char)*end));
        if (!suffix || end[1])
            return false;
        for (int i = 0; i <= suffix - suffixes; i++)
            if (__builtin_mul_overflow(value, 1024ull, &value))
                return false;
    }
    *number = value;
    return true;
}

static bool parse_durability(const char *text, helios_durability *durability)
{
    static const struct {
        const char *name;
        helios_durability durability;
    } rows[] = {
        {"none", HELIOS_DURABILITY_NONE},
        {"async", HELIOS_DURABILITY_ASYNC},
        {"group", HELIOS_DURABILITY_GROUP},
        {"sync", HELIOS_DURABILITY_SYNC},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(text, rows[i].name) == 0) {
            *durability = rows[i].durability;
            return true;
        }
    }
    return false;
}

static error_t take_number(const char *name, const char *text, uint64_t *number, struct argp_state *state)
{
    if (parse_number(text, number))
        return 0;
    argp_error(state, "--%s wants a number such as 1000 or 64k, not \"%s\"", name, text);
    return EINVAL;
}

/* Options without a value. */
static bool *flag_of(struct args *args, int key)
{
    switch (key) {
    case OPTION_HEX: return &args->hex;
    case OPTION_JSON: return &args->json;
    case OPTION_REVERSE: return &args->reverse;
    case OPTION_KEYS_ONLY: return &args->keys_only;
    case OPTION_ROW_NUMBER: return &args->row_number;
    case OPTION_KEEP_GOING: return &args->keep_going;
    case OPTION_REPLACE: return &args->replace;
    case OPTION_ACKNOWLEDGE: return &args->acknowledge;
    case OPTION_PAIRS: return &args->pairs;
    case OPTION_ROWS: return &args->rows;
    case OPTION_CREATE: return &args->create;
    case OPTION_RAW: return &args->raw;
    case OPTION_YES: return &args->yes;
    case OPTION_ENTRIES: return &args->entries;
    case OPTION_SCAN: return &args->scan;
    case OPTION_ALL: return &args->all;
    case OPTION_IF_MISSING: return &args->if_missing;
    case OPTION_OLDEST_FIRST: return &args->oldest_first;
    case OPTION_STAT: return &args->stat;
    case OPTION_KEYS: return &args->keys_only;
    case OPTION_FULL: return &args->full;
    case OPTION_DRY_RUN: return &args->dry_run;
    case OPTION_OURS: return &args->ours;
    case OPTION_THEIRS: return &args->theirs;
    case OPTION_CLOSE: return &args->close;
    case OPTION_GRAPH: return &args->graph;
    case OPTION_BEFORE: return &args->before;
    case OPTION_EXPAND_RANGES: return &args->expand_ranges;
    case OPTION_ALL_SPACES: return &args->all_spaces;
    case OPTION_UNSYNCED: return &args->unsynced;
    case OPTION_FOLLOW: return &args->follow;
    case OPTION_FEED: return &args->feed;
    case OPTION_QUICK: return &args->quick;
    case OPTION_IDS: return &args->ids;
    case OPTION_UNIQUE: return &args->unique;
    default: return NULL;
    }
}

static const char **text_of(struct args *args, int key)
{
    switch (key) {
    case OPTION_PREFIX: return &args->prefix;
    case OPTION_FROM: return &args->from;
    case OPTION_TO: return &args->to;
    case OPTION_FORMAT: return &args->format;
    case OPTION_FILE: return &args->file;
    case OPTION_OUTPUT: return &args->output;
    case OPTION_WORKLOADS: return &args->workloads;
    case OPTION_SEPARATOR: return &args->separator;
    case OPTION_AT: return &args->at;
    case OPTION_BRANCH: return &args->branch;
    case OPTION_SET: return &args->set;
    case OPTION_INTO: return &args->into;
    case OPTION_CONSUMER: return &args->consumer;
    case OPTION_BELOW: return &args->below;
    case OPTION_KINDS: return &args->kinds;
    case OPTION_ORIGIN: return &args->origin;
    case OPTION_DIR: return &args->dir;
    case OPTION_TABLE: return &args->table;
    case OPTION_COLUMNS: return &args->columns;
    case OPTION_INDEX: return &args->index;
    case OPTION_NAME: return &args->name;
    case OPTION_KEY_ENV: return &args->key.key_env;
    case OPTION_KEY_FILE: return &args->key.key_file;
    case OPTION_PASSWORD_ENV: return &args->key.password_env;
    case OPTION_PASSWORD_FILE: return &args->key.password_file;
    case OPTION_NEW_KEY_ENV: return &args->new_key.key_env;
    case OPTION_NEW_KEY_FILE: return &args->new_key.key_file;
    case OPTION_NEW_PASSWORD_ENV: return &args->new_key.password_env;
    case OPTION_NEW_PASSWORD_FILE: return &args->new_key.password_file;
    default: return NULL;
    }
}

static error_t take_key_column(struct args *args, const char *name, struct argp_state *state)
{
    if (args->key_column_count == KEY_COLUMNS_MAX) {
        argp_error(state, "at most %d --key columns", KEY_COLUMNS_MAX);
        return EINVAL;
    }
    args->key_columns[args->key_column_count++] = name;
    return 0;
}

static error_t take_column(struct column_words *columns, const char *option, const char *name,
                           struct argp_state *state)
{
    if (columns->count == KEY_COLUMNS_MAX) {
        argp_error(state, "at most %d --%s columns", KEY_COLUMNS_MAX, option);
        return EINVAL;
    }
    columns->names[columns->count++] = name;
    return 0;
}

static error_t take_retention(struct args *args, const char *text, struct argp_state *state)
{
    const char *problem;

    args->retention_given = true;
    if (duration_parse(text, &args->retention, &problem))
        return 0;
    argp_error(state, "\"%s\" is no span of time such as 7d, 36h, none or forever: %s", text, problem);
    return EINVAL;
}

static error_t take_word(struct args *args, const char *word, struct argp_state *state)
{
    if (args->word_count == args->command->words_max) {
        argp_error(state, "\"%s\" is one argument too many", word);
        return EINVAL;
    }
    args->words[args->word_count++] = word;
    return 0;
}

static error_t parse_one(int key, char *text, struct argp_state *state)
{
    struct args *args = state->input;
    bool *flag = flag_of(args, key);
    const char **place = text_of(args, key);

    if (flag) {
        *flag = true;
        return 0;
    }
    if (place) {
        *place = text;
        return 0;
    }
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = args; return 0;
    case OPTION_LIMIT: return take_number("limit", text, &args->limit, state);
    case OPTION_BATCH: return take_number("batch", text, &args->batch, state);
    case OPTION_COUNT: return take_number("count", text, &args->count, state);
    case OPTION_VALUE_BYTES: return take_number("value-bytes", text, &args->value_bytes, state);
    case OPTION_THREADS: return take_number("threads", text, &args->threads, state);
    case OPTION_OFFSET: return take_number("offset", text, &args->offset, state);
    case OPTION_SAMPLE: return take_number("sample", text, &args->sample, state);
    case OPTION_PRIMARY_KEY: return take_column(&args->primary_key, "primary-key", text, state);
    case OPTION_UNIQUE_COLUMN: return take_column(&args->unique_columns, "unique", text, state);
    case OPTION_KEY: return take_key_column(args, text, state);
    case OPTION_RETENTION: return take_retention(args, text, state);
    case OPTION_DURABILITY:
        if (parse_durability(text, &args->durability))
            return 0;
        argp_error(state, "--durability is none, async, group or sync, not \"%s\"", text);
        return EINVAL;
    case ARGP_KEY_ARG: return take_word(args, text, state);
    case ARGP_KEY_END:
        if (args->word_count >= args->command->words_min)
            return 0;
        argp_error(state, "an argument is missing");
        return EINVAL;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_key(int key, char *text, struct argp_state *state)
{
    const char **place =
        key >= OPTION_KEY_ENV && key <= OPTION_PASSWORD_FILE ? text_of(state->input, key) : NULL;

    if (!place)
        return ARGP_ERR_UNKNOWN;
    *place = text;
    return 0;
}

/* What every command takes. */
static const struct argp_option key_options[] = {
    {"key-env", OPTION_KEY_ENV, "NAME", 0, "The key is in this environment variable, as 64 hex digits", 0},
    {"key-file", OPTION_KEY_FILE, "FILE", 0, "The key is in this file, as 32 bytes or 64 hex digits", 0},
    {"password-env", OPTION_PASSWORD_ENV, "NAME", 0, "The password is in this environment variable", 0},
    {"password-file", OPTION_PASSWORD_FILE, "FILE", 0, "The password is the first line of this file", 0},
    {0},
};
static const struct argp key_argp = {.options = key_options, .parser = parse_key};
static const struct argp_child key_child[] = {{&key_argp, 0, "Of an encrypted database:", 1}, {0}};

/* Where argp may not end the program, its own --help would go on to complain of missing arguments. */
static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-?") == 0)
            return true;
    return false;
}

static void reset(struct args *args, const struct command *command)
{
    memset(args, 0, sizeof(*args));
    args->command = command;
    args->limit = args->batch = args->count = args->value_bytes = args->threads = args->offset = args->sample =
        UINT64_MAX;
    args->durability = HELIOS_DURABILITY_SYNC;
    args->retention = HELIOS_FOREVER;
}

int args_parse(const struct command *command, int argc, char **argv, bool may_exit, struct args *args)
{
    struct argp argp = {
        .options = command->options, .parser = parse_one, .args_doc = command->words, .children = key_child};
    helios_buf doc = {0}, name = {0};
    helios_encryption key;
    bool given;
    int code = -1;

    reset(args, command);
    buf_add_text(&doc, command->summary);
    if (command->details) {
        buf_add_text(&doc, "\v");
        buf_add_text(&doc, command->details);
    }
    argp.doc = doc.data;
    buf_add_text(&name, "heliosctl ");
    buf_add_text(&name, command->name);
    argv[0] = name.data;
    if (!may_exit && wants_help(argc, argv)) {
        argp_help(&argp, stdout, ARGP_HELP_SHORT_USAGE | ARGP_HELP_DOC | ARGP_HELP_LONG, name.data);
        code = EXIT_CODE_OK;
    } else if (argp_parse(&argp, argc, argv, may_exit ? 0 : ARGP_NO_EXIT | ARGP_NO_HELP, NULL, args) != 0) {
        code = EXIT_CODE_USAGE;
    }
    argv[0] = (char *)(uintptr_t)command->name;
    if (code < 0 && key_take(args, &args->key, &key, &given) != EXIT_CODE_OK)
        code = EXIT_CODE_USAGE; /* said now, before anything is opened */
    free(doc.data);
    free(name.data);
    return code;
}
