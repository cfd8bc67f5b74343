/* main.c - heliosctl: looks inside Helios databases and changes them. Finds the command and runs it. */
#include "tools/heliosctl.h"
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *title;
    const struct command *commands;
} groups[] = {
    {"Keys and values", data_commands},
    {NULL, scan_commands},
    {"Tables", table_commands},
    {NULL, index_commands},
    {NULL, rows_commands},
    {NULL, row_commands},
    {"History", history_commands},
    {NULL, pins_commands},
    {"Branches", branch_commands},
    {NULL, diff_commands},
    {NULL, merge_commands},
    {"Change feed", changes_commands},
    {NULL, deltas_commands},
    {NULL, feed_commands},
    {"Files in and out", load_commands},
    {NULL, export_commands},
    {"Looking inside", stats_commands},
    {NULL, tree_commands},
    {NULL, dump_commands},
    {"Upkeep", upkeep_commands},
    {NULL, key_commands},
    {NULL, salvage_commands},
    {"Trying out", bench_commands},
    {NULL, shell_commands},
};
enum { GROUP_COUNT = sizeof(groups) / sizeof(groups[0]) };

static const char exit_codes_text[] =
    "Exit codes:\n"
    "  0  done\n"
    "  1  not found: the key, the table, the row, the tag, the branch, the database or the file\n"
    "  2  the command line, a key or a value is not right\n"
    "  3  the database or the operating system failed (a full disk too)\n"
    "  4  corruption: bytes on disk are not what was written\n"
    "  5  busy: another process has the database open\n"
    "  6  bad lines in the file to load, or values that export --rows cannot write\n"
    "  7  what is asked for is older than the history, or the change feed, that is kept\n"
    "  8  a merge or revert met conflicts: nothing was changed\n"
    "  9  diff found differences (0: none)\n";

void *xalloc(size_t size)
{
    return xrealloc(NULL, size);
}

void *xrealloc(void *old, size_t size)
{
    void *memory = realloc(old, size ? size : 1);

    if (!memory) {
        fprintf(stderr, "heliosctl: no memory for %zu bytes\n", size);
        exit(EXIT_CODE_DATABASE);
    }
    return memory;
}

char *xtext(const char *text)
{
    size_t size = strlen(text) + 1;

    return memcpy(xalloc(size), text, size);
}

static const struct command *find_named(const char *name)
{
    for (size_t group = 0; group < GROUP_COUNT; group++)
        for (const struct command *c = groups[group].commands; c->name; c++)
            if (strcmp(c->name, name) == 0)
                return c;
    return NULL;
}

const struct command *command_find(int count, char **words, int *used)
{
    const struct command *command = count > 0 ? find_named(words[0]) : NULL;
    char name[64];

    *used = 1;
    if (command || count < 2)
        return command;
    *used = 2;
    return snprintf(name, sizeof(name), "%s %s", words[0], words[1]) < (int)sizeof(name) ? find_named(name)
                                                                                         : NULL;
}

/* The commands of two words that begin with this one. */
static bool print_family(FILE *out, const char *word)
{
    size_t size = strlen(word);
    bool any = false;

    for (size_t group = 0; group < GROUP_COUNT; group++)
        for (const struct command *c = groups[group].commands; c->name; c++)
            if (strncmp(c->name, word, size) == 0 && c->name[size] == ' ') {
                fprintf(out, "  heliosctl %-15s %-12s  %s\n", c->name, c->words, c->summary);
                any = true;
            }
    return any;
}

static void print_help(FILE *out)
{
    fputs("Usage: heliosctl COMMAND DB [ARGUMENT...] [OPTION...]\n"
          "Looks inside Helios databases and changes them. DB is a database's directory.\n",
          out);
    for (size_t group = 0; group < GROUP_COUNT; group++) {
        if (groups[group].title)
            fprintf(out, "\n%s:\n", groups[group].title);
        for (const struct command *c = groups[group].commands; c->name; c++)
            fprintf(out, "  %-15s %s\n", c->name, c->summary);
    }
    fputs("\n`heliosctl COMMAND --help` says more. Every command takes --json, and where the key of an "
          "encrypted database\n"
          "is: --key-env NAME, --key-file FILE, --password-env NAME, --password-file FILE.\n"
          "Keys and values are given and shown as text: \\xNN is a byte, \\\\ a backslash; or use --hex.\n\n",
          out);
    fputs(exit_codes_text, out);
}

/* Output that did not arrive is a failure; a reader that had enough (`| head`) is none. */
static int finish(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    if (errno == EPIPE)
        return code;
    fprintf(stderr, "heliosctl: cannot write the output: %s\n", strerror(errno));
    return code ? code : EXIT_CODE_DATABASE;
}

int main(int argc, char **argv)
{
    static struct args args; /* too big for some stacks */
    const struct command *command;
    char help[] = "--help";
    int code, used;

    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN); /* databases are closed as they should be, also under `| head` */
    argp_err_exit_status = EXIT_CODE_USAGE;
    if (argc < 2) {
        print_help(stderr);
        return EXIT_CODE_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0 ||
        (strcmp(argv[1], "help") == 0 && argc == 2)) {
        print_help(stdout);
        return finish(EXIT_CODE_OK);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("heliosctl %s\n", helios_version_string());
        return finish(EXIT_CODE_OK);
    }
    if (strcmp(argv[1], "help") == 0) { /* help COMMAND: COMMAND --help */
        memmove(argv + 1, argv + 2, (size_t)(argc - 2) * sizeof(*argv));
        argv[argc - 1] = help;
    }
    command = command_find(argc - 1, argv + 1, &used);
    if (!command && print_family(argc > 2 && strcmp(argv[2], help) == 0 ? stdout : stderr, argv[1]))
        return finish(argc > 2 && strcmp(argv[2], help) == 0 ? EXIT_CODE_OK : EXIT_CODE_USAGE);
    if (!command) {
        fprintf(stderr, "heliosctl: there is no command \"%s\"; `heliosctl --help` lists them\n", argv[1]);
        return EXIT_CODE_USAGE;
    }
    code = args_parse(command, argc - used, argv + used, true, &args);
    if (code < 0)
        code = command->run(&args);
    return finish(code);
}
