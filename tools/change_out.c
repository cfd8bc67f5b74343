/* change_out.c - one entry of the change feed as a line of text or JSON.
 *
 * The JSON is the envelope of Debezium: before, after, source, op, ts_ms, ts_us. What it has no word for is added beside: the
 * key, and the end of a range. */
#include "tools/change_out.h"
#include "tools/point.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

void change_out_begin(struct change_out *out, helios_db *db)
{
    out->db = db;
    out->colours = term_colours(stdout);
    out->branch = 0;
    snprintf(out->branch_name, sizeof(out->branch_name), "main");
}

static const char *name_of_branch(struct change_out *out, helios_branch_id branch)
{
    if (out->branch != branch) {
        branch_text(out->db, branch, out->branch_name);
        out->branch = branch;
    }
    return out->branch_name;
}

/* ---- text ---- */

static char mark_of(const helios_change *change)
{
    if (change->kind != HELIOS_CHANGE_PUT)
        return '-';
    return change->has_before ? '~' : '+';
}

/* Appends what stands for bytes; how many columns it takes. */
static int print_whole(const struct args *args, helios_slice bytes)
{
    helios_buf text = {0};
    int columns;

    (args->hex ? hex_append : text_append)(&text, bytes);
    fwrite(text.data, 1, text.size, stdout);
    columns = (int)utf8_columns(text.data);
    free(text.data);
    return columns;
}

/* Both values, or the one that there is, in what is left of the line. */
static void print_values(const struct args *args, const helios_change *change, int width)
{
    bool put = change->kind == HELIOS_CHANGE_PUT, both = put && change->has_before;
    helios_slice value = put ? change->value : change->before;

    if (!put && !change->has_before)
        return;
    putchar('\t');
    if (both && !args->full) {
        print_both(args, change->before, change->value, width);
        return;
    }
    if (both) {
        print_whole(args, change->before);
        fputs(" -> ", stdout);
    }
    if (args->full)
        print_whole(args, value);
    else
        print_shortened(args, value, 0, width < 24 ? 24 : (size_t)width);
}

/* What stands before the change itself; its columns. */
static int print_place(struct change_out *out, const helios_change *change)
{
    char time[TIME_TEXT_SIZE];
    int columns;

    time_text(change->time, false, time);
    columns = printf("%12llu  %s  %c ", (unsigned long long)change->lsn, time, change->commit_end ? '*' : '|');
    if (change->branch)
        columns += printf("[%s] ", name_of_branch(out, change->branch));
    if (change->space)
        columns += printf("(space %u) ", change->space);
    return columns;
}

/* Made by another node, and applied here. A delta, which sums up many changes, is nobody's: it has no lsn. */
static bool is_foreign(const struct change_out *out, const helios_change *change)
{
    uint8_t own[16];

    helios_node_id(out->db, own);
    return change->origin_lsn != 0 && memcmp(own, change->origin, sizeof(own)) != 0;
}

/* The beginning of the node's id tells it from others. */
static void print_origin(const helios_change *change)
{
    fputs("  from ", stdout);
    for (size_t i = 0; i < 4; i++)
        printf("%02x", change->origin[i]);
    printf(":%" PRIu64, change->origin_lsn);
}

static void print_text(struct change_out *out, const helios_change *change)
{
    const struct args *args = out->args;
    char mark = mark_of(change);
    int columns;

    if (!out->header_done)
        printf("%12s  %-26s    %s\n", "lsn", "time (UTC)", "change");
    out->header_done = true;
    columns = print_place(out, change) + 2;
    if (out->colours)
        fputs(mark == '+' ? "\033[32m" : mark == '-' ? "\033[31m" : "\033[33m", stdout);
    if (change->kind == HELIOS_CHANGE_DELETE_RANGE) {
        fputs("-[", stdout);
        print_whole(args, change->key);
        fputs(", ", stdout);
        print_whole(args, change->value);
        putchar(')');
    } else {
        printf("%c ", mark);
        columns += print_whole(args, change->key);
        columns += 8 - columns % 8; /* the tab */
        print_values(args, change, term_width() - 1 - columns);
    }
    if (is_foreign(out, change))
        print_origin(change);
    puts(out->colours ? "\033[0m" : "");
}

/* ---- JSON ---- */

/* c and u can be told apart only by what was there before. An r would be a row of a first copy, a d one key. */
static const char *operation_of(const struct args *args, const helios_change *change)
{
    switch (change->kind) {
    case HELIOS_CHANGE_PUT: return args->before && !change->has_before ? "c" : "u";
    case HELIOS_CHANGE_DELETE: return "d";
    default: return "delete_range";
    }
}

static void add_hex(struct json_object *object, const char *name, const uint8_t *bytes, size_t size)
{
    helios_buf digits = {0};

    hex_append(&digits, (helios_slice){bytes, size});
    json_object_object_add(object, name, json_object_new_string_len(digits.data, (int)digits.size));
    free(digits.data);
}

/* Which commit of each node the change came after: node id, number. */
static struct json_object *clock_json(helios_slice clock)
{
    struct json_object *object = json_object_new_object();
    const uint8_t *entry = clock.data;

    for (size_t i = 0; i + 24 <= clock.size; i += 24) {
        helios_buf digits = {0};
        helios_seq number = 0;
        char name[33];

        (void)!helios_clock_get(clock, entry + i, &number);
        hex_append(&digits, (helios_slice){entry + i, 16});
        snprintf(name, sizeof(name), "%.*s", (int)digits.size, digits.data);
        json_object_object_add(object, name, json_object_new_uint64(number));
        free(digits.data);
    }
    return object;
}

static struct json_object *source_json(struct change_out *out, const helios_change *change)
{
    struct json_object *source = json_object_new_object();
    const char *path = out->args->words[0], *branch = name_of_branch(out, change->branch);

    json_add_bytes(source, "db", (helios_slice){path, strlen(path)});
    json_object_object_add(source, "lsn", json_object_new_uint64(change->lsn));
    json_object_object_add(source, "commit", json_object_new_uint64(change->commit));
    json_object_object_add(source, "commit_end", json_object_new_boolean(change->commit_end));
    json_add_bytes(source, "branch", (helios_slice){branch, strlen(branch)});
    json_object_object_add(source, "branch_id", json_object_new_uint64(change->branch));
    json_object_object_add(source, "space", json_object_new_int(change->space));
    add_hex(source, "origin", change->origin, sizeof(change->origin));
    json_object_object_add(source, "origin_lsn", json_object_new_uint64(change->origin_lsn));
    if (is_foreign(out, change))
        json_object_object_add(source, "clock", clock_json(change->vector_clock));
    json_object_object_add(source, "ts_ms", json_object_new_uint64(change->time / 1000));
    return source;
}

static void print_json(struct change_out *out, const helios_change *change)
{
    struct json_object *object = json_object_new_object();

    json_add_bytes(object, "key", change->key);
    if (change->kind == HELIOS_CHANGE_DELETE_RANGE)
        json_add_bytes(object, "key_end", change->value);
    if (change->has_before)
        json_add_bytes(object, "before", change->before);
    else if (out->args->before)
        json_object_object_add(object, "before", NULL);
    if (change->kind == HELIOS_CHANGE_PUT)
        json_add_bytes(object, "after", change->value);
    else
        json_object_object_add(object, "after", NULL);
    json_object_object_add(object, "source", source_json(out, change));
    json_object_object_add(object, "op", json_object_new_string(operation_of(out->args, change)));
    json_object_object_add(object, "ts_ms", json_object_new_uint64(change->time / 1000));
    json_object_object_add(object, "ts_us", json_object_new_uint64(change->time));
    json_print(stdout, object);
    json_free(object);
}

void change_print(struct change_out *out, const helios_change *change)
{
    if (out->json)
        print_json(out, change);
    else
        print_text(out, change);
}
