/* fixture_dump.c - see fixture_dump.h. */
#undef NDEBUG
#include "tests/fixture_dump.h"
#include <inttypes.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(helios_status status, const char *what)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "%s: %s: %s\n", what, helios_status_name(status), helios_last_error());
    abort();
}
#define MUST(call) must(call, #call)

helios_options fixture_options(void)
{
    helios_options options = HELIOS_OPTIONS_INIT;

    options.create_if_missing = false;
    options.memtable_bytes = 64 << 10;
    options.block_cache_bytes = 1 << 20;
    options.history_retention = HELIOS_FOREVER;
    options.feed_retention = HELIOS_IF_KEPT;
    return options;
}

/* FNV-1a: on paper, so that the expected text depends on no library. */
static uint64_t sum_of(helios_slice bytes)
{
    uint64_t sum = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < bytes.size; i++)
        sum = (sum ^ ((const unsigned char *)bytes.data)[i]) * UINT64_C(0x100000001b3);
    return sum;
}

static void print_bytes(FILE *out, helios_slice bytes)
{
    for (size_t i = 0; i < bytes.size && i < 32; i++) {
        unsigned char c = ((const unsigned char *)bytes.data)[i];

        fprintf(out, c > 32 && c < 127 && c != '\\' ? "%c" : "\\x%02x", c);
    }
    fprintf(out, " %zu:%016" PRIx64, bytes.size, sum_of(bytes));
}

static void dump_state(helios_db *db, FILE *out, helios_branch_id branch, helios_seq at)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_iter *it = NULL;

    options.branch = branch;
    options.at = at;
    MUST(helios_iter_new(db, &options, &it));
    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it)) {
        fprintf(out, "  %" PRIu64 " ", helios_iter_seq(it));
        print_bytes(out, helios_iter_key(it));
        fputs(" = ", out);
        print_bytes(out, helios_iter_value(it));
        fputs("\n", out);
    }
    MUST(helios_iter_status(it));
    helios_iter_free(it);
}

static void dump_merges(helios_db *db, FILE *out, helios_branch_id branch)
{
    helios_merge_info *list = NULL;
    size_t count = 0;

    MUST(helios_branch_merges(db, branch, &list, &count));
    for (size_t i = 0; i < count; i++)
        fprintf(out, "  merge %" PRIu64 " of %u at %" PRIu64 " base %u at %" PRIu64 "%s\n", list[i].commit,
                list[i].source.branch, list[i].source.at, list[i].base.branch, list[i].base.at,
                list[i].closed_source ? ", closed" : "");
    helios_free(list);
}

static void dump_branches(helios_db *db, FILE *out)
{
    helios_branch_info *list = NULL;
    helios_buf metadata = {0};
    size_t count = 0;

    MUST(helios_branch_list(db, &list, &count));
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "branch %u %s of %u at %" PRIu64 " state %d\n", list[i].id, list[i].name, list[i].parent,
                list[i].fork_seq, (int)list[i].state);
        if (list[i].id) {
            MUST(helios_branch_metadata(db, list[i].id, &metadata));
            fputs("  about ", out);
            print_bytes(out, (helios_slice){metadata.data, metadata.size});
            fputs("\n", out);
        }
        dump_state(db, out, list[i].id, 0);
        dump_merges(db, out, list[i].id);
    }
    helios_buf_free(&metadata);
    helios_free(list);
}

static void dump_tags(helios_db *db, FILE *out)
{
    helios_tag_info *list = NULL;
    size_t count = 0;

    MUST(helios_tag_list(db, &list, &count));
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "tag %s branch %u at %" PRIu64 "\n", list[i].name, list[i].branch, list[i].at);
        dump_state(db, out, list[i].branch, list[i].at);
    }
    helios_free(list);
}

static void dump_commits(helios_db *db, FILE *out)
{
    helios_commits *commits = NULL;
    helios_commit_info info;

    MUST(helios_commits_new(db, NULL, &commits));
    while (helios_commits_next(commits, &info))
        fprintf(out, "commit %" PRIu64 " at %" PRIu64 ": %" PRIu64 " operations, %" PRIu64 " bytes\n", info.seq,
                info.time, info.operations, info.bytes);
    MUST(helios_commits_status(commits));
    helios_commits_free(commits);
}

static void dump_history(helios_db *db, FILE *out, helios_slice key)
{
    helios_history *history = NULL;
    helios_version version;

    MUST(helios_history_new(db, NULL, key, &history));
    while (helios_history_next(history, &version)) {
        fputs("version ", out);
        print_bytes(out, key);
        fprintf(out, " %" PRIu64 "%s ", version.seq, version.deleted ? " deleted" : "");
        print_bytes(out, version.value);
        fputs("\n", out);
    }
    MUST(helios_history_status(history));
    helios_history_free(history);
}

static void dump_feed(helios_db *db, FILE *out)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_consumer_info *list = NULL;
    helios_changes *changes = NULL;
    helios_change change;
    helios_status status;
    size_t count = 0;

    options.before_images = options.all_spaces = true;
    status = helios_changes_new(db, &options, &changes);
    if (status == HELIOS_UNSUPPORTED)
        return;
    MUST(status);
    while ((status = helios_changes_next(changes, 0, &change)) == HELIOS_OK) {
        fprintf(out, "change %" PRIu64 " of %" PRIu64 " branch %u space %u kind %d ", change.lsn, change.commit,
                change.branch, change.space, (int)change.kind);
        print_bytes(out, change.key);
        if (change.space == 0) {
            fputs(" = ", out);
            print_bytes(out, change.value);
        }
        fputs("\n", out);
    }
    if (status != HELIOS_TIMEOUT)
        MUST(status);
    helios_changes_free(changes);
    MUST(helios_consumer_list(db, &list, &count));
    for (size_t i = 0; i < count; i++)
        fprintf(out, "consumer %s at %" PRIu64 "%s\n", list[i].name, list[i].acked,
                list[i].before_images ? " with images" : "");
    helios_free(list);
}

void fixture_dump(helios_db *db, FILE *out)
{
    char key[8];

    fprintf(out, "latest %" PRIu64 "\n", helios_latest(db));
    dump_branches(db, out);
    dump_tags(db, out);
    dump_commits(db, out);
    for (int i = 0; i < 40; i += 3)
        dump_history(db, out, (helios_slice){key, (size_t)snprintf(key, sizeof(key), "k%03d", i)});
    dump_feed(db, out);
}

void fixture_copy(const char *from, const char *to)
{
    const char *const commands[2][5] = {{"rm", "-rf", to, NULL, NULL}, {"cp", "-r", from, to, NULL}};

    for (int i = 0; i < 2; i++) {
        int status = 0;
        pid_t child = fork();

        if (child == 0) {
            execvp(commands[i][0], (char *const *)(uintptr_t)commands[i]);
            _exit(127);
        }
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
            fprintf(stderr, "%s %s %s failed\n", commands[i][0], from, to);
            abort();
        }
    }
}
