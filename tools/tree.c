/* tree.c - levels and files drawn: each file as a span over the keys of the whole database.
 *
 * The scale is by rank, not by value: the bounds of all files, sorted, stand at equal distances. So
 * two files overlap in the picture exactly where their key ranges do. */
#include "tools/stats.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

enum { FILES_SHOWN = 8 };

struct marks {
    const char *branch, *last, *left, *fill, *right, *single, *empty, *cut;
};
static const struct marks marks_utf8 = {"├─", "└─", "├", "─", "┤", "┼", "·", "…"};
static const struct marks marks_ascii = {"|-", "`-", "[", "=", "]", "#", ".", "~"};

struct picture {
    const struct args *args;
    const struct marks *marks;
    struct json_object *levels;
    const char **bounds; /* sorted, distinct; borrowed from the JSON */
    size_t bound_count;
    int span, key; /* columns of a file's span, of a key */
    bool colours;
};

static const char *bound(struct json_object *file, const char *name)
{
    struct json_object *member;

    return json_object_object_get_ex(file, name, &member) ? json_object_get_string(member) : "";
}

static int compare_bounds(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static size_t count_files(struct json_object *levels)
{
    size_t count = 0;

    for (size_t i = 0; levels && i < json_object_array_length(levels); i++) {
        struct json_object *files = stats_array(json_object_array_get_idx(levels, i), "files");

        count += files ? json_object_array_length(files) : 0;
    }
    return count;
}

static void collect_bounds(struct picture *picture, size_t file_count)
{
    size_t kept = 0;

    picture->bounds = xalloc((file_count * 2 + 1) * sizeof(*picture->bounds));
    for (size_t i = 0; i < json_object_array_length(picture->levels); i++) {
        struct json_object *files = stats_array(json_object_array_get_idx(picture->levels, i), "files");

        for (size_t k = 0; files && k < json_object_array_length(files); k++) {
            struct json_object *file = json_object_array_get_idx(files, k);

            picture->bounds[picture->bound_count++] = bound(file, "smallest");
            picture->bounds[picture->bound_count++] = bound(file, "largest");
        }
    }
    qsort(picture->bounds, picture->bound_count, sizeof(*picture->bounds), compare_bounds);
    for (size_t i = 0; i < picture->bound_count; i++)
        if (kept == 0 || strcmp(picture->bounds[kept - 1], picture->bounds[i]) != 0)
            picture->bounds[kept++] = picture->bounds[i];
    picture->bound_count = kept;
}

static int column_of(const struct picture *picture, const char *key)
{
    const char **found =
        bsearch(&key, picture->bounds, picture->bound_count, sizeof(*picture->bounds), compare_bounds);
    size_t rank = found ? (size_t)(found - picture->bounds) : 0;

    if (picture->bound_count < 2)
        return 0;
    return (int)(rank * (size_t)(picture->span - 1) / (picture->bound_count - 1));
}

static const char *cell(const struct picture *picture, int column, int from, int to)
{
    if (column < from || column > to)
        return picture->marks->empty;
    if (from == to)
        return picture->marks->single;
    return column == from ? picture->marks->left : column == to ? picture->marks->right : picture->marks->fill;
}

static void print_span(const struct picture *picture, int from, int to)
{
    for (int column = 0; column < picture->span; column++) {
        if (picture->colours && column == from)
            fputs("\033[36m", stdout);
        fputs(cell(picture, column, from, to), stdout);
        if (picture->colours && column == to)
            fputs("\033[0m", stdout);
    }
}

/* A key in at most picture->key columns, with a mark where its middle was cut: where keys differ is often their
 * end. Returns how many columns it took. */
static int print_key(const struct picture *picture, const char *key)
{
    size_t width = (size_t)picture->key, columns = utf8_columns(key), head = (width - 1) / 2, at = 0;

    if (columns <= width) {
        fputs(key, stdout);
        return (int)columns;
    }
    for (; *key; key++) {
        bool begins = ((unsigned char)*key & 0xc0) != 0x80;

        if (begins && at == head)
            fputs(picture->marks->cut, stdout);
        at += begins;
        if (at <= head || at > columns - (width - 1 - head))
            fputc(*key, stdout);
    }
    return picture->key;
}

static void print_file(const struct picture *picture, struct json_object *file, bool last)
{
    const char *smallest = bound(file, "smallest"), *largest = bound(file, "largest");
    char bytes[32], entries[32];

    human_bytes(stats_number(file, "size"), bytes);
    human_count(stats_number(file, "entries"), entries);
    printf(" %s %08llu %10s %12s  ", last ? picture->marks->last : picture->marks->branch,
           (unsigned long long)stats_number(file, "number"), bytes, entries);
    print_span(picture, column_of(picture, smallest), column_of(picture, largest));
    fputs("  ", stdout);
    printf("%*s  ", picture->key - print_key(picture, smallest), "");
    print_key(picture, largest);
    fputc('\n', stdout);
}

static void print_level(const struct picture *picture, struct json_object *level)
{
    struct json_object *files = stats_array(level, "files");
    size_t shown;
    struct level_sum sum;
    char bytes[32], entries[32], older[32];

    stats_level_sum(level, &sum);
    if (sum.files == 0)
        return;
    human_bytes(sum.bytes, bytes);
    human_count(sum.entries, entries);
    human_count(sum.older, older);
    printf("%sL%d%s  %zu file%s, %s, %s entries", picture->colours ? "\033[1m" : "", sum.level,
           picture->colours ? "\033[0m" : "", sum.files, sum.files == 1 ? "" : "s", bytes, entries);
    if (sum.older)
        printf(", %s of them older versions", older);
    fputc('\n', stdout);
    shown = picture->args->all || sum.files <= FILES_SHOWN ? sum.files : FILES_SHOWN;
    for (size_t i = 0; i < shown; i++)
        print_file(picture, json_object_array_get_idx(files, i), i + 1 == sum.files);
    if (shown < sum.files)
        printf(" %s %zu more (--all shows them)\n", picture->marks->last, sum.files - shown);
}

/* What the numbers leave of a line goes to the span and the two keys. */
static void share_width(struct picture *picture, int width)
{
    int room = width - 42;

    picture->key = room / 4 < 12 ? 12 : room / 4 > 24 ? 24 : room / 4;
    picture->span = room - 2 * picture->key;
    picture->span = picture->span < 12 ? 12 : picture->span > 60 ? 60 : picture->span;
}

static void draw(const struct args *args, struct json_object *levels, size_t file_count)
{
    struct picture picture = {
        .args = args,
        .marks = term_utf8() ? &marks_utf8 : &marks_ascii,
        .levels = levels,
        .colours = term_colours(stdout),
    };

    share_width(&picture, term_width() - 1);
    collect_bounds(&picture, file_count);
    printf("    %8s %10s %12s  %-*s  %-*s  %s\n", "file", "size", "entries", picture.span, "span of keys",
           picture.key, "smallest key", "largest key");
    for (size_t i = 0; i < json_object_array_length(levels); i++)
        print_level(&picture, json_object_array_get_idx(levels, i));
    free(picture.bounds);
}

static int run_tree(struct args *args)
{
    struct json_object *stats, *levels;
    size_t file_count;
    int code = stats_take(args, &stats);

    if (code)
        return code;
    levels = stats_array(stats, "levels");
    file_count = count_files(levels);
    if (args->json) {
        struct json_object *object = json_object_new_object();

        json_object_object_add(object, "levels", levels ? json_object_get(levels) : json_object_new_array());
        json_print_pretty(stdout, object);
        json_free(object);
    } else if (file_count == 0) {
        printf("%s: no tables yet; what was written is in the log (`heliosctl flush %s` makes tables of it)\n",
               args->words[0], args->words[0]);
    } else {
        draw(args, levels, file_count);
    }
    json_free(stats);
    return EXIT_CODE_OK;
}

static const struct argp_option tree_options[] = {
    {"all", OPTION_ALL, NULL, 0, "Every file of every level", 0},
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};

const struct command tree_commands[] = {
    {"tree", "DB", "Draw the levels and their files",
     "One line a file: number, size, entries, the part of the keys that it spans (of all keys in files, left "
     "to "
     "right), smallest and largest key.",
     tree_options, 1, 1, run_tree},
    {0},
};
