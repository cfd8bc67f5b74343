/* merge.c - merge and revert, and the report of their conflicts. */
#include "tools/at.h"
#include "tools/branches.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

enum { CONFLICTS_SHOWN = 20 };

/* A merge or revert under way; the library's call-back gets it. */
struct merge {
    const struct args *args;
    helios_db *db;
    char ours[BRANCH_POINT_TEXT_SIZE], theirs[BRANCH_POINT_TEXT_SIZE]; /* what the two sides are called */
    uint64_t told;
};

/* ---- conflicts ---- */

/* How much of long values is left out in front: what all that are there have in common, but for a little. */
static size_t shared_beginning(const helios_merge_conflict *c, size_t width)
{
    enum { CONTEXT = 12 };
    const helios_slice *values[3];
    size_t count = 0, skip = SIZE_MAX, longest = 0;

    if (c->has_base)
        values[count++] = &c->base;
    if (c->has_ours)
        values[count++] = &c->ours;
    if (c->has_theirs)
        values[count++] = &c->theirs;
    for (size_t i = 0; i < count; i++) {
        size_t common = bytes_common(*values[0], *values[i]);

        skip = common < skip ? common : skip;
        longest = values[i]->size > longest ? values[i]->size : longest;
    }
    return count > 1 && longest > width && skip > CONTEXT ? skip - CONTEXT : 0;
}

/* "    ours    4711  2026-11-21 10:00:00.000000  the value" */
static void print_side(const struct merge *m, const char *name, helios_slice value, helios_seq seq, size_t skip,
                       size_t width)
{
    char time[TIME_TEXT_SIZE];

    at_time_text(m->db, seq, time);
    printf("  %-6s  %12llu  %-26s  ", name, (unsigned long long)seq, time);
    print_shortened(m->args, value, skip, width);
    putchar('\n');
}

static void print_deleted(const struct merge *m, const char *name, helios_seq seq)
{
    char time[TIME_TEXT_SIZE];

    if (seq == 0) {
        printf("  %-6s  %12s\n", name, "deleted");
        return;
    }
    at_time_text(m->db, seq, time);
    printf("  %-6s  %12llu  %-26s  deleted\n", name, (unsigned long long)seq, time);
}

static void print_conflict(const struct merge *m, const helios_merge_conflict *c)
{
    enum { COLUMNS_BEFORE = 52, WIDTH_MIN = 40 };
    int room = term_width() - 1 - COLUMNS_BEFORE;
    size_t width = room < WIDTH_MIN ? WIDTH_MIN : (size_t)room, skip = shared_beginning(c, width);
    bool colours = term_colours(stdout);

    if (m->told == 1) {
        printf("ours: %s, theirs: %s\n", m->ours, m->theirs);
        printf("  %-6s  %12s  %-26s  %s\n", "", "commit", "time (UTC)", "value");
    }
    fputs(colours ? "\033[31mconflict\033[0m " : "conflict ", stdout);
    print_bytes(stdout, m->args, c->key);
    putchar('\n');
    if (c->has_base)
        print_side(m, "base", c->base, c->base_seq, skip, width);
    if (c->has_ours)
        print_side(m, "ours", c->ours, c->ours_seq, skip, width);
    else
        print_deleted(m, "ours", c->ours_seq);
    if (c->has_theirs)
        print_side(m, "theirs", c->theirs, c->theirs_seq, skip, width);
    else
        print_deleted(m, "theirs", c->theirs_seq);
}

static void add_side(const struct merge *m, struct json_object *object, const char *name, bool has,
                     helios_slice value, helios_seq seq)
{
    struct json_object *side = has || seq ? json_object_new_object() : NULL;

    if (has)
        json_add_bytes(side, "value", value);
    else if (side)
        json_object_object_add(side, "deleted", json_object_new_boolean(true));
    if (side)
        at_add_json(side, m->db, "", seq);
    json_object_object_add(object, name, side);
}

static void print_conflict_json(const struct merge *m, const helios_merge_conflict *c)
{
    struct json_object *object = json_object_new_object();

    json_add_bytes(object, "conflict", c->key);
    add_side(m, object, "base", c->has_base, c->base, c->base_seq);
    add_side(m, object, "ours", c->has_ours, c->ours, c->ours_seq);
    add_side(m, object, "theirs", c->has_theirs, c->theirs, c->theirs_seq);
    json_print(stdout, object);
    json_free(object);
}

static void tell_conflict(void *arg, const helios_merge_conflict *conflict)
{
    struct merge *m = arg;

    m->told++;
    if (m->args->json)
        print_conflict_json(m, conflict);
    else if (m->told <= CONFLICTS_SHOWN || m->args->all)
        print_conflict(m, conflict);
}

/* ---- results ---- */

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

static void print_result_json(const struct merge *m, const helios_merge_result *result, bool merges)
{
    struct json_object *object = json_object_new_object();

    json_object_object_add(object, "commit", result->commit ? json_object_new_uint64(result->commit) : NULL);
    json_object_object_add(object, "dry_run", json_object_new_boolean(m->args->dry_run));
    json_object_object_add(object, "set", json_object_new_uint64(result->merged));
    json_object_object_add(object, "deleted", json_object_new_uint64(result->deleted));
    json_object_object_add(object, "conflicts", json_object_new_uint64(result->conflicts));
    if (merges) {
        branch_add_json(object, m->db, "base_branch", result->base.branch);
        at_add_json(object, m->db, "base", result->base.at);
    }
    json_print(stdout, object);
    json_free(object);
}

/* "12 keys set, 1 deleted, 2 conflicts (theirs taken)" */
static void print_counts(const struct merge *m, const helios_merge_result *result)
{
    char set[32], deleted[32], conflicts[32];

    human_count(result->merged, set);
    human_count(result->deleted, deleted);
    human_count(result->conflicts, conflicts);
    printf("%s key%s set, %s deleted, %s conflict%s", set, plural(result->merged), deleted, conflicts,
           plural(result->conflicts));
    if (result->conflicts && (m->args->ours || m->args->theirs))
        printf(" (%s taken)", m->args->ours ? "ours" : "theirs");
}

static void print_more(const struct merge *m)
{
    if (!m->args->json && !m->args->all && m->told > CONFLICTS_SHOWN)
        printf("... and %llu more conflicts (--all shows them)\n",
               (unsigned long long)(m->told - CONFLICTS_SHOWN));
}

/* "merged fix into main", done or, dry, only counted. nothing: what is said if there was nothing to do. */
static void print_result(const struct merge *m, const helios_merge_result *result, const char *done,
                         const char *dry, const char *nothing)
{
    if (!m->args->dry_run && !result->commit) {
        puts(nothing);
        return;
    }
    printf("%s", m->args->dry_run ? dry : done);
    if (result->commit)
        printf(" by commit %llu", (unsigned long long)result->commit);
    fputs(": ", stdout);
    print_counts(m, result);
    putchar('\n');
}

/* --ours, --theirs, --dry-run as the library wants them. 0, or an exit code, reported. */
static int take_options(struct merge *m, helios_merge_options *options)
{
    if (m->args->ours && m->args->theirs)
        return report_usage(m->args, "give --ours or --theirs, not both");
    options->strategy = m->args->ours     ? HELIOS_MERGE_OURS
                        : m->args->theirs ? HELIOS_MERGE_THEIRS
                                          : HELIOS_MERGE_FAIL;
    options->dry_run = m->args->dry_run;
    options->close_source = m->args->close;
    options->on_conflict = tell_conflict;
    options->arg = m;
    return EXIT_CODE_OK;
}

/* A dry run that met conflicts and was not told what to do with them ends as the merge would. */
static bool conflicts_stop(const struct merge *m, const helios_merge_result *result, helios_status status)
{
    return status == HELIOS_CONFLICT ||
           (status == HELIOS_OK && result->conflicts && !m->args->ours && !m->args->theirs);
}

static int report_conflicts(const struct merge *m, const helios_merge_result *result, const char *what)
{
    uint64_t count = result->conflicts ? result->conflicts : m->told;

    return report_advice(
        m->args, "HELIOS_CONFLICT", EXIT_CODE_CONFLICT,
        "--ours keeps what is there, --theirs takes what comes; or write the value that is right to "
        "both sides, and try again",
        "%llu conflict%s: %s", (unsigned long long)count, plural(count), what);
}

/* ---- merge ---- */

static int merge_branches(struct merge *m, helios_branch_id source, helios_branch_id target)
{
    helios_merge_options options = HELIOS_MERGE_OPTIONS_INIT;
    helios_merge_result result = {0};
    char done[3 * BRANCH_TEXT_SIZE], dry[3 * BRANCH_TEXT_SIZE], nothing[3 * BRANCH_TEXT_SIZE];
    helios_status status;
    int code = take_options(m, &options);

    if (code)
        return code;
    branch_text(m->db, source, m->theirs);
    branch_text(m->db, target, m->ours);
    status = helios_branch_merge(m->db, source, target, &options, &result);
    print_more(m);
    if (m->args->json && (status == HELIOS_OK || status == HELIOS_CONFLICT))
        print_result_json(m, &result, true);
    if (conflicts_stop(m, &result, status)) {
        if (m->args->dry_run && !m->args->json)
            print_result(m, &result, "", "a merge would mean", "");
        return report_conflicts(m, &result,
                                m->args->dry_run ? "a merge would stop here" : "nothing was merged");
    }
    if (status != HELIOS_OK)
        return report_read(m->args, m->db, status, NULL);
    snprintf(done, sizeof(done), "merged %s into %s%s", m->theirs, m->ours,
             m->args->close ? ", closed it," : "");
    snprintf(dry, sizeof(dry), "merging %s into %s would mean", m->theirs, m->ours);
    snprintf(nothing, sizeof(nothing), "nothing to do: %s contains %s already", m->ours, m->theirs);
    if (!m->args->json)
        print_result(m, &result, done, dry, nothing);
    return EXIT_CODE_OK;
}

static int run_merge(struct args *args)
{
    struct merge m = {.args = args};
    helios_branch_id source, target;
    int code = ctl_open(args, args->dry_run ? OPEN_READ : OPEN_WRITE, &m.db);

    if (code)
        return code;
    code = branch_resolve(args, m.db, args->words[1], &source);
    if (code == EXIT_CODE_OK)
        code = branch_resolve(args, m.db, args->into, &target);
    if (code == EXIT_CODE_OK)
        code = merge_branches(&m, source, target);
    return ctl_close(args, m.db, code);
}

/* ---- revert ---- */

/* A point as the number of a commit. */
static int commit_resolve(const struct args *args, helios_db *db, const char *text, helios_seq *seq)
{
    struct point point;
    helios_branch_id branch;
    int code = at_parse(args, "commit", text, &point);

    if (code == EXIT_CODE_OK)
        code = at_resolve(args, db, &point, &branch, seq);
    if (code)
        return code;
    if (*seq == HELIOS_SEQ_NONE)
        return report_usage(args, "\"%s\" is before the first commit", text);
    if (*seq == 0)
        *seq = helios_latest(db);
    return EXIT_CODE_OK;
}

/* FIRST, or FIRST..LAST. */
static int commits_resolve(const struct args *args, helios_db *db, const char *text, helios_seq *first,
                           helios_seq *last)
{
    const char *cut = strstr(text, "..");
    char *left = xtext(text);
    int code;

    if (cut)
        left[cut - text] = '\0';
    code = commit_resolve(args, db, left, first);
    *last = *first;
    if (code == EXIT_CODE_OK && cut)
        code = commit_resolve(args, db, cut + 2, last);
    free(left);
    return code;
}

static int revert_commits(struct merge *m, helios_branch_id branch, helios_seq first, helios_seq last)
{
    helios_merge_options options = HELIOS_MERGE_OPTIONS_INIT;
    helios_merge_result result = {0};
    char done[2 * BRANCH_TEXT_SIZE];
    helios_status status;
    int code = take_options(m, &options);

    if (code)
        return code;
    branch_text(m->db, branch, m->ours);
    snprintf(m->theirs, sizeof(m->theirs), "%.255s before %llu", m->ours, (unsigned long long)first);
    status = helios_branch_revert(m->db, branch, first, last, &options, &result);
    print_more(m);
    if (m->args->json && (status == HELIOS_OK || status == HELIOS_CONFLICT))
        print_result_json(m, &result, false);
    if (conflicts_stop(m, &result, status)) {
        if (m->args->dry_run && !m->args->json)
            print_result(m, &result, "", "a revert would mean", "");
        return report_conflicts(m, &result,
                                m->args->dry_run ? "a revert would stop here" : "nothing was reverted");
    }
    if (status != HELIOS_OK)
        return report_read(m->args, m->db, status, NULL);
    snprintf(done, sizeof(done), "took back %llu to %llu on %s", (unsigned long long)first,
             (unsigned long long)last, m->ours);
    if (!m->args->json)
        print_result(m, &result, done, "a revert would mean",
                     "nothing to do: these commits changed nothing there");
    return EXIT_CODE_OK;
}

static int run_revert(struct args *args)
{
    struct merge m = {.args = args};
    helios_branch_id branch;
    helios_seq first, last;
    int code = ctl_open(args, args->dry_run ? OPEN_READ : OPEN_WRITE, &m.db);

    if (code)
        return code;
    code = branch_resolve(args, m.db, args->words[1], &branch);
    if (code == EXIT_CODE_OK)
        code = commits_resolve(args, m.db, args->words[2], &first, &last);
    if (code == EXIT_CODE_OK)
        code = revert_commits(&m, branch, first, last);
    return ctl_close(args, m.db, code);
}

#define CONFLICT_OPTION_ROWS                                                                                   \
    {"dry-run", OPTION_DRY_RUN, NULL, 0, "Change nothing, say what would change", 0},                          \
        {"ours", OPTION_OURS, NULL, 0, "Of a conflict, keep what the branch has now", 0},                      \
        {"theirs", OPTION_THEIRS, NULL, 0, "Of a conflict, take what comes", 0},                               \
    {                                                                                                          \
        "all", OPTION_ALL, NULL, 0, "Print every conflict, not the first 20 alone", 0                          \
    }

static const struct argp_option merge_options[] = {
    {"into", OPTION_INTO, "TARGET", 0, "The branch that is changed (default: main)", 0},
    CONFLICT_OPTION_ROWS,
    {"close", OPTION_CLOSE, NULL, 0, "SOURCE is read-only afterwards", 0},
    OPTION_ROW_HEX,
    OPTION_ROW_RETENTION,
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};
static const struct argp_option revert_options[] = {
    CONFLICT_OPTION_ROWS, OPTION_ROW_HEX, OPTION_ROW_RETENTION, OPTION_ROW_JSON, OPTION_ROW_END,
};

#define CONFLICT_DOC                                                                                           \
    "A conflict is a key that both sides changed, to different values. Each is printed with its three values " \
    "(base: what both began from) and the commits that made them; unless --ours or --theirs says what to do, " \
    "nothing is changed then, and the exit code is 8. "

const struct command merge_commands[] = {
    {"merge", "DB SOURCE", "Bring the changes of a branch into another",
     "What SOURCE changed since the two last had everything in common comes into TARGET, as one commit. Merge "
     "as "
     "often as you like, in either direction: what was merged before is not merged again. " CONFLICT_DOC
     "With --json one object for each conflict, then one with the counts.",
     merge_options, 2, 2, run_merge},
    {"revert", "DB BRANCH FIRST[..LAST]", "Take back what commits changed, as a new commit",
     "FIRST and LAST are numbers of commits, or points that stand for one; commits in between that are on "
     "other "
     "branches are left alone. " CONFLICT_DOC
     "Here ours is the branch now, theirs what it was before FIRST.\n\n" POINT_DOC,
     revert_options, 3, 3, run_revert},
    {0},
};
