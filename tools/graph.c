/* graph.c - branches, forks, merges and tags drawn, newest first: a column for each branch, a line for each event.
 *
 *   UTF-8                              else
 *   ○    (main)                        o    (main)
 *   │ ○  (fix)                         | o  (fix)
 *   ●─┤  4712  merge fix@4710          *-+  4712  merge fix@4710
 *   │ │    12 commits                  | |    12 commits
 *   ●─╯  4690  fork fix                *-'  4690  fork fix
 *
 * A commit does not say which branch it is on, so those between two events are counted together. */
#include "tools/graph.h"
#include "tools/at.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

enum { UP = 1, DOWN = 2, LEFT = 4, RIGHT = 8, SIDES = 16 };

struct marks {
    const char *lines[SIDES]; /* by the sides that a line goes to */
    const char *link, *head, *end, *event;
};
static const struct marks marks_utf8 = {
    {" ", "│", "│", "│", "─", "╯", "╮", "┤", "─", "╰", "╭", "├", "─", "┴", "┬", "┼"}, "─", "○", "×", "●"};
static const struct marks marks_ascii = {
    {" ", "|", "|", "|", "-", "'", ".", "+", "-", "`", ",", "+", "-", "+", "+", "+"}, "-", "o", "x", "*"};

/* One line of the picture: what each column shows, and which are joined with the column behind them. */
struct line {
    unsigned char *sides;
    bool *links, *joined;
    size_t node; /* its column */
};

struct picture {
    struct graph *graph;
    const struct marks *marks;
    bool colours, dry; /* dry: only lay out, for the width */
    size_t *owners;    /* of each column, the branch drawn there; SIZE_MAX: free */
    size_t *columns;   /* of each branch, likewise */
    size_t capacity, width;
    int seq_columns; /* what the numbers of commits take */
    struct line line;
    helios_commits *commits;
    helios_commit_info commit; /* the next to be counted */
    bool has_commit;
};

/* ---- columns ---- */

/* The branch's column; one that was not drawn yet begins here. */
static size_t column_of(struct picture *p, size_t branch)
{
    size_t column = p->columns[branch];

    if (column != SIZE_MAX)
        return column;
    for (column = branch == 0 ? 0 : 1; p->owners[column] != SIZE_MAX;)
        column++;
    p->owners[column] = branch;
    p->columns[branch] = column;
    p->line.sides[column] = DOWN;
    if (column + 1 > p->width)
        p->width = column + 1;
    return column;
}

static void line_begin(struct picture *p)
{
    for (size_t i = 0; i < p->capacity; i++) {
        p->line.sides[i] = p->owners[i] == SIZE_MAX ? 0 : UP | DOWN;
        p->line.links[i] = p->line.joined[i] = false;
    }
    p->line.node = SIZE_MAX;
}

/* From the line's node to another column, when all columns are known that take part. Other branches' lines stay
 * whole: the link passes behind them. */
static void line_link(struct line *line, size_t column)
{
    size_t low = column < line->node ? column : line->node, high = column < line->node ? line->node : column;

    line->sides[low] |= RIGHT;
    line->sides[high] |= LEFT;
    for (size_t i = low; i < high; i++)
        line->links[i] = true;
    for (size_t i = low + 1; i < high; i++)
        if (line->joined[i] || !line->sides[i])
            line->sides[i] |= LEFT | RIGHT;
}

static void print_cell(const struct picture *p, size_t column, const char *mark)
{
    size_t owner = p->owners[column];

    if (p->colours && owner != SIZE_MAX)
        printf("\033[%dm%s\033[0m", 31 + (int)((owner + 1) % 6), mark);
    else
        fputs(mark, stdout);
}

/* mark: the node's. */
static void line_print(const struct picture *p, const char *mark)
{
    for (size_t i = 0; i < p->width; i++) {
        print_cell(p, i, i == p->line.node ? mark : p->marks->lines[p->line.sides[i]]);
        fputs(p->line.links[i] ? p->marks->link : " ", stdout);
    }
    putchar(' ');
}

/* ---- commits between ---- */

/* Those above seq that were not counted yet; a line if there were any. One numbered seq is the event's own. */
static void print_commits_above(struct picture *p, helios_seq seq)
{
    uint64_t count = 0, operations = 0;
    char text[32], operations_text[32];

    for (; p->has_commit && p->commit.seq > seq; p->has_commit = helios_commits_next(p->commits, &p->commit)) {
        count++;
        operations += p->commit.operations;
    }
    if (p->has_commit && p->commit.seq == seq)
        p->has_commit = helios_commits_next(p->commits, &p->commit);
    if (!count)
        return;
    line_begin(p);
    line_print(p, "");
    human_count(count, text);
    human_count(operations, operations_text);
    printf("%s  %s commit%s, %s operation%s%s\n", p->colours ? "\033[2m" : "", text, count == 1 ? "" : "s",
           operations_text, operations == 1 ? "" : "s", p->colours ? "\033[0m" : "");
}

/* ---- events ---- */

static void print_name(const struct picture *p, size_t branch)
{
    const struct graph *g = p->graph;

    printf("%s%s%s", p->colours ? "\033[1m" : "",
           branch == SIZE_MAX ? "a branch" : g->branches[branch].info->name, p->colours ? "\033[0m" : "");
}

static void print_event(const struct picture *p, const struct event *e)
{
    switch (e->kind) {
    case EVENT_HEAD:
        putchar('(');
        print_name(p, e->branch);
        putchar(')');
        break;
    case EVENT_END:
        printf("%s ", p->graph->branches[e->branch].info->state == HELIOS_BRANCH_DROPPED ? "drop" : "close");
        print_name(p, e->branch);
        break;
    case EVENT_MERGE:
        fputs("merge ", stdout);
        print_name(p, e->other);
        if (e->source_seq && e->source_seq != HELIOS_SEQ_NONE)
            printf("@%llu", (unsigned long long)e->source_seq);
        break;
    case EVENT_FORK:
        fputs("fork ", stdout);
        print_name(p, e->other);
        break;
    case EVENT_TAG:
        printf("%s(tag: %s)%s", p->colours ? "\033[33m" : "", e->tag->name, p->colours ? "\033[0m" : "");
        break;
    }
}

/* "4711  2026-11-21 10:00:00  "; nothing for heads, which are as of now. */
static void print_when(const struct picture *p, const struct event *e)
{
    char time[TIME_TEXT_SIZE];

    if (e->kind == EVENT_HEAD)
        return;
    if (e->seq == 0) {
        printf("%-*s  %-19s  ", p->seq_columns, "start", "");
        return;
    }
    at_time_text(p->graph->db, e->seq, time);
    printf("%-*llu  %-19.19s  ", p->seq_columns, (unsigned long long)e->seq, time);
}

/* Events [first, end), all of one branch at one point, as one line. */
static void draw_row(struct picture *p, size_t first, size_t end)
{
    const struct event *events = p->graph->events, *e = &events[first];
    const char *mark = e->kind == EVENT_HEAD  ? p->marks->head
                       : e->kind == EVENT_END ? p->marks->end
                                              : p->marks->event;

    if (!p->dry)
        print_commits_above(p, e->seq);
    line_begin(p);
    p->line.node = column_of(p, e->branch);
    p->line.joined[p->line.node] = true;
    for (size_t i = first; i < end; i++) {
        if (events[i].kind == EVENT_FORK)
            p->line.sides[column_of(p, events[i].other)] = UP;
        if ((events[i].kind == EVENT_FORK || events[i].kind == EVENT_MERGE) && events[i].other != SIZE_MAX)
            p->line.joined[column_of(p, events[i].other)] = true;
    }
    for (size_t i = 0; i < p->capacity; i++)
        if (p->line.joined[i] && i != p->line.node)
            line_link(&p->line, i);
    if (!p->dry) {
        line_print(p, mark);
        print_when(p, e);
        for (size_t i = first; i < end; i++) {
            fputs(i > first ? ", " : "", stdout);
            print_event(p, &events[i]);
        }
        putchar('\n');
    }
    for (size_t i = first; i < end; i++)
        if (events[i].kind == EVENT_FORK) {
            p->owners[p->columns[events[i].other]] = SIZE_MAX;
            p->columns[events[i].other] = SIZE_MAX;
        }
}

static size_t row_end(const struct graph *g, size_t first)
{
    size_t end = first + 1;

    while (end < g->event_count && g->events[end].seq == g->events[first].seq &&
           g->events[end].branch == g->events[first].branch)
        end++;
    return end;
}

static void draw_rows(struct picture *p)
{
    const struct graph *g = p->graph;
    uint64_t left = g->args->limit;

    for (size_t i = 0; i < p->capacity; i++)
        p->owners[i] = SIZE_MAX;
    for (size_t i = 0; i < g->branch_count; i++)
        p->columns[i] = SIZE_MAX;
    for (size_t first = 0, end; first < g->event_count && left && !ferror(stdout); first = end, left--) {
        end = row_end(g, first);
        draw_row(p, first, end);
    }
    if (!p->dry && left)
        print_commits_above(p, 0);
    else if (!p->dry)
        puts("...");
}

static int draw(struct graph *g, helios_commits *commits)
{
    struct picture p = {
        .graph = g, .marks = term_utf8() ? &marks_utf8 : &marks_ascii, .colours = term_colours(stdout)};
    helios_status status;

    p.capacity = g->branch_count + 2;
    p.seq_columns = snprintf(NULL, 0, "%llu", (unsigned long long)helios_latest(g->db));
    p.seq_columns = p.seq_columns < 5 ? 5 : p.seq_columns;
    p.owners = xalloc(p.capacity * sizeof(*p.owners));
    p.columns = xalloc(p.capacity * sizeof(*p.columns));
    p.line = (struct line){xalloc(p.capacity), xalloc(p.capacity * sizeof(bool)),
                           xalloc(p.capacity * sizeof(bool)), 0};
    p.commits = commits;
    p.has_commit = helios_commits_next(commits, &p.commit);
    p.dry = true;
    draw_rows(&p);
    p.dry = false;
    draw_rows(&p);
    free(p.owners);
    free(p.columns);
    free(p.line.sides);
    free(p.line.links);
    free(p.line.joined);
    status = helios_commits_status(commits);
    if (status != HELIOS_OK)
        return report_read(g->args, g->db, status, "the walk stopped");
    if (g->left_out)
        printf("%zu more branches (--branch NAME draws one)\n", g->left_out);
    puts("Commits are counted on all branches together; records of branches and tags are commits too.");
    at_print_reach(g->db, "commits");
    return EXIT_CODE_OK;
}

/* ---- JSON ---- */

static void print_events_json(const struct graph *g)
{
    static const char *const names[] = {"head", "end", "merge", "fork", "tag"};

    for (size_t i = 0; i < g->event_count && i < g->args->limit; i++) {
        const struct event *e = &g->events[i];
        struct json_object *object = json_object_new_object();

        json_object_object_add(object, "event", json_object_new_string(names[e->kind]));
        branch_add_json(object, g->db, "branch", g->branches[e->branch].info->id);
        if (e->kind != EVENT_HEAD)
            at_add_json(object, g->db, "", e->seq ? e->seq : HELIOS_SEQ_NONE);
        if (e->kind == EVENT_FORK && e->other != SIZE_MAX)
            branch_add_json(object, g->db, "child", g->branches[e->other].info->id);
        if (e->kind == EVENT_MERGE && e->other != SIZE_MAX)
            branch_add_json(object, g->db, "source", g->branches[e->other].info->id);
        if (e->kind == EVENT_MERGE)
            at_add_json(object, g->db, "source_seq", e->source_seq);
        if (e->kind == EVENT_TAG)
            json_add_bytes(object, "tag", (helios_slice){e->tag->name, strlen(e->tag->name)});
        json_print(stdout, object);
        json_free(object);
    }
}

static int run_on(const struct args *args, helios_db *db)
{
    helios_commits_options options = HELIOS_COMMITS_OPTIONS_INIT;
    int room = (term_width() - 60) / 2;
    helios_commits *commits = NULL;
    struct graph graph;
    helios_status status;
    int code = graph_take(&graph, args, db, room < 8 ? 8 : (size_t)room);

    if (code == EXIT_CODE_OK && args->json) {
        print_events_json(&graph);
    } else if (code == EXIT_CODE_OK) {
        status = helios_commits_new(db, &options, &commits);
        code = status == HELIOS_OK ? draw(&graph, commits) : report_read(args, db, status, NULL);
        helios_commits_free(commits);
    }
    graph_release(&graph);
    return code;
}

int graph_run(struct args *args)
{
    helios_db *db;
    int code;

    if (args->from || args->to || args->oldest_first)
        return report_usage(args,
                            "--graph draws all of it, newest first: leave out --from, --to and --oldest-first");
    code = ctl_open(args, OPEN_READ, &db);
    return code ? code : ctl_close(args, db, run_on(args, db));
}
