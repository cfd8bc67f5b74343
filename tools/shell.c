/* shell.c - the same commands at a prompt, on a database that stays open. */
#include "tools/heliosctl.h"
#include <editline/readline.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SHELL_WORDS_MAX = 256 };

/* Splits a line in place at blanks; '...' and "..." keep blanks, nothing else is special. -1: a quote
 * is not closed, or there are too many words. */
static int split(char *line, char **words)
{
    int count = 0;
    char *in = line;

    for (;;) {
        char *out;

        while (*in == ' ' || *in == '\t')
            in++;
        if (!*in)
            return count;
        if (count == SHELL_WORDS_MAX)
            return -1;
        words[count++] = out = in;
        while (*in && *in != ' ' && *in != '\t') {
            if (*in == '\'' || *in == '"') {
                char *end = strchr(in + 1, *in);

                if (!end)
                    return -1;
                memmove(out, in + 1, (size_t)(end - in - 1));
                out += end - in - 1;
                in = end + 1;
            } else {
                *out++ = *in++;
            }
        }
        if (*in)
            in++;
        *out = '\0';
    }
}

static void print_commands(void)
{
    static const struct command *const tables[] = {
        data_commands, scan_commands,   load_commands,    export_commands, stats_commands,
        tree_commands, upkeep_commands, history_commands, pins_commands,   branch_commands,
        diff_commands, merge_commands,  changes_commands, deltas_commands, feed_commands};

    puts("As on the command line, without the database:");
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
        for (const struct command *c = tables[i]; c->name; c++)
            if (strcmp(c->name, "create") != 0 && strcmp(c->name, "destroy") != 0)
                printf("  %-15s %s\n", c->name, c->summary);
    puts("  COMMAND --help, help, quit");
}

/* The database's path is put in behind the command's name, as if it had been typed. */
static int run_words(const struct args *shell, int count, char **words)
{
    static struct args args; /* too big for some stacks */
    char *argv[SHELL_WORDS_MAX + 2];
    int argc = 0, code, used;
    const struct command *command = command_find(count, words, &used);

    if (!command || strcmp(command->name, "shell") == 0) {
        fprintf(stderr, "there is no command \"%s\" here; help lists them\n", words[0]);
        return EXIT_CODE_USAGE;
    }
    argv[argc++] = words[0];
    if (strcmp(command->name, "dump") != 0) /* which takes a file */
        argv[argc++] = (char *)(uintptr_t)shell->words[0];
    for (int i = used; i < count; i++)
        argv[argc++] = words[i];
    argv[argc] = NULL;
    code = args_parse(command, argc, argv, false, &args);
    args.json |= shell->json;
    if (code < 0 && args.retention_given && strcmp(command->name, "retention") != 0)
        code = report_usage(&args,
                            "the retention is the shell's: give --retention to it, or use `retention --set`");
    if (code < 0)
        code = command->run(&args);
    fflush(stdout);
    return code;
}

/* Line editing on a terminal, plain lines elsewhere. NULL at the end; free()d by the caller. */
static char *read_one(bool terminal)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size;

    if (terminal) {
        line = readline("helios> ");
        if (line && *line)
            add_history(line);
        return line;
    }
    size = getline(&line, &capacity, stdin);
    if (size < 0) {
        free(line);
        return NULL;
    }
    if (size && line[size - 1] == '\n')
        line[size - 1] = '\0';
    return line;
}

static int run_shell(struct args *args)
{
    bool terminal = isatty(STDIN_FILENO);
    helios_db *db;
    char *line, *words[SHELL_WORDS_MAX];
    int code = ctl_open(args, OPEN_WRITE, &db);

    if (code)
        return code;
    ctl_share(db);
    if (terminal)
        printf("%s is open. help lists the commands, quit ends.\n", args->words[0]);
    while ((line = read_one(terminal)) != NULL) {
        int count = split(line, words), one = EXIT_CODE_OK;

        if (count > 0 && (strcmp(words[0], "quit") == 0 || strcmp(words[0], "exit") == 0)) {
            free(line);
            break;
        }
        if (count < 0)
            one = report_usage(args, "a quote is not closed, or there are more than %d words", SHELL_WORDS_MAX);
        else if (count > 0 && strcmp(words[0], "help") == 0)
            print_commands();
        else if (count > 0)
            one = run_words(args, count, words);
        code = one ? one : code;
        free(line);
    }
    if (terminal)
        putchar('\n');
    ctl_share(NULL);
    return ctl_close(args, db, terminal ? EXIT_CODE_OK : code);
}

static const struct argp_option shell_options[] = {OPTION_ROW_CREATE, OPTION_ROW_RETENTION, OPTION_ROW_JSON,
                                                   OPTION_ROW_END};

const struct command shell_commands[] = {
    {"shell", "DB", "The same commands at a prompt, the database kept open",
     "From a file or pipe: one command a line; the exit code is the last one that was not 0.", shell_options, 1,
     1, run_shell},
    {0},
};
