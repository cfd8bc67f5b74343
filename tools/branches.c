/* branches.c - branches as the command line names them. */
#include "tools/branches.h"
#include "tools/at.h"
#include <ctype.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

/* "#7" of a branch that lives. */
static helios_status find_by_id(helios_db *db, const char *text, helios_branch_id *id)
{
    helios_branch_info *info;
    helios_status status;
    unsigned long value;
    char *end;

    if (text[0] != '#' || !isdigit((unsigned char)text[1]))
        return HELIOS_NOT_FOUND;
    errno = 0;
    value = strtoul(text + 1, &end, 10);
    if (errno || *end || value > UINT32_MAX)
        return HELIOS_NOT_FOUND;
    status = helios_branch_get(db, (helios_branch_id)value, &info);
    if (status != HELIOS_OK)
        return status;
    if (info->state == HELIOS_BRANCH_DROPPED)
        status = HELIOS_NOT_FOUND;
    else
        *id = info->id;
    helios_free(info);
    return status;
}

static helios_status find(helios_db *db, const char *name, helios_branch_id *id)
{
    helios_status status = helios_branch_find(db, name, id);

    return status == HELIOS_NOT_FOUND ? find_by_id(db, name, id) : status;
}

static int report_no_branch(const struct args *args, const char *name)
{
    return report_advice(args, "HELIOS_NOT_FOUND", EXIT_CODE_NOT_FOUND,
                         "`heliosctl branch list DB` shows those there are", "there is no branch \"%s\"", name);
}

int branch_resolve(const struct args *args, helios_db *db, const char *name, helios_branch_id *id)
{
    helios_status status;

    *id = 0;
    if (!name)
        return EXIT_CODE_OK;
    status = find(db, name, id);
    if (status == HELIOS_NOT_FOUND)
        return report_no_branch(args, name);
    return status == HELIOS_OK ? EXIT_CODE_OK : report_status(args, status, NULL);
}

/* ---- states ---- */

/* One side of a range, as far as its text and the names of branches go. */
struct side {
    char *text; /* a tag's name is the end of it */
    char *name; /* NULL: none was given */
    struct point point;
};

static void side_release(struct side *side)
{
    free(side->text);
    free(side->name);
    *side = (struct side){0};
}

static char *text_before(const char *text, const char *cut)
{
    char *copy = xtext(text);

    copy[cut - text] = '\0';
    return copy;
}

static bool is_branch(helios_db *db, const char *name)
{
    helios_branch_id id;

    return find(db, name, &id) == HELIOS_OK;
}

/* NAME@POINT, cut at the last @ that leaves both; false: it is none. */
static bool side_cut(helios_db *db, struct side *side)
{
    const char *problem;

    for (size_t at = strlen(side->text); at-- > 0;) {
        if (side->text[at] != '@' || !point_parse(side->text + at + 1, wall_micros(), &side->point, &problem))
            continue;
        side->name = at ? text_before(side->text, side->text + at) : xtext("main");
        if (is_branch(db, side->name))
            return true;
        free(side->name);
        side->name = NULL;
    }
    return false;
}

/* Takes the text over. False: no branch of that name, and no point either. To be released also then. */
static bool side_parse(helios_db *db, char *text, struct side *side)
{
    const char *problem;

    *side = (struct side){.text = text, .point = {.kind = POINT_LATEST}};
    if (!*text)
        return true;
    if (is_branch(db, text)) {
        side->name = xtext(text);
        return true;
    }
    return side_cut(db, side) || point_parse(text, wall_micros(), &side->point, &problem);
}

static int report_side(const struct args *args, helios_db *db, const char *text)
{
    const char *cut = strrchr(text, '@'), *problem;
    char *name = cut ? text_before(text, cut) : xtext(text);
    struct point point;
    int code;

    if (cut && (!*name || is_branch(db, name)) && !point_parse(cut + 1, wall_micros(), &point, &problem))
        code = report_advice(args, "USAGE", EXIT_CODE_USAGE, "a point is " POINT_EXAMPLES, "\"%s\": %s", text,
                             problem);
    else
        code = report_no_branch(args, name);
    free(name);
    return code;
}

/* The first cut tells what was meant where no cut fits. */
static int report_range(const struct args *args, helios_db *db, const char *text)
{
    const char *cut = strstr(text, "..");
    struct side left;
    int code;

    if (!cut)
        return report_usage(args, "\"%s\": two states are wanted, written A..B", text);
    code = side_parse(db, text_before(text, cut), &left) ? report_side(args, db, cut + 2)
                                                         : report_side(args, db, left.text);
    side_release(&left);
    return code;
}

/* To be released only where it was found. */
static bool range_parse(helios_db *db, const char *text, struct side *from, struct side *to)
{
    for (const char *cut = strstr(text, ".."); cut; cut = strstr(cut + 1, "..")) {
        bool good = side_parse(db, text_before(text, cut), from);

        if (good && side_parse(db, xtext(cut + 2), to))
            return true;
        if (good)
            side_release(to);
        side_release(from);
    }
    return false;
}

int branch_range_resolve(const struct args *args, helios_db *db, const char *text, helios_point *from,
                         helios_point *to)
{
    struct side left, right;
    int code;

    if (!range_parse(db, text, &left, &right))
        return report_range(args, db, text);
    code = at_resolve_on(args, db, left.name, &left.point, &from->branch, &from->at);
    if (code == EXIT_CODE_OK)
        code = at_resolve_on(args, db, right.name, &right.point, &to->branch, &to->at);
    side_release(&left);
    side_release(&right);
    return code;
}

/* ---- lists ---- */

static helios_status take_dropped(helios_db *db, helios_branch_id last_live, struct branch_rows *b)
{
    for (helios_branch_id id = 1;; id++) { /* ids are given one after the other */
        helios_branch_info *info;
        helios_status status = helios_branch_get(db, id, &info);

        if (status == HELIOS_NOT_FOUND && id < last_live)
            continue;
        if (status != HELIOS_OK)
            return status == HELIOS_NOT_FOUND ? HELIOS_OK : status;
        if (info->state != HELIOS_BRANCH_DROPPED) {
            helios_free(info);
            continue;
        }
        b->dropped = xrealloc(b->dropped, (b->dropped_count + 1) * sizeof(*b->dropped));
        b->dropped[b->dropped_count++] = info;
    }
}

static void fill_rows(struct branch_rows *b, size_t list_count)
{
    b->rows = xalloc((list_count + b->dropped_count) * sizeof(*b->rows));
    for (size_t i = 0; i < list_count; i++)
        b->rows[b->count++] = &b->list[i];
    for (size_t i = 0; i < b->dropped_count; i++)
        b->rows[b->count++] = b->dropped[i];
}

helios_status branch_rows_take(helios_db *db, bool with_dropped, struct branch_rows *b)
{
    helios_branch_id last = 0;
    size_t count;
    helios_status status;

    *b = (struct branch_rows){0};
    status = helios_branch_list(db, &b->list, &count);
    if (status != HELIOS_OK)
        return status;
    for (size_t i = 0; i < count; i++)
        last = b->list[i].id > last ? b->list[i].id : last;
    if (with_dropped)
        status = take_dropped(db, last, b);
    fill_rows(b, count);
    return status;
}

helios_status branch_rows_take_at(helios_db *db, helios_seq at, struct branch_rows *b)
{
    size_t count;
    helios_status status;

    *b = (struct branch_rows){0};
    status = helios_branch_list_at(db, at, &b->list, &count);
    if (status == HELIOS_OK)
        fill_rows(b, count);
    return status;
}

void branch_rows_release(struct branch_rows *b)
{
    helios_free(b->list);
    for (size_t i = 0; i < b->dropped_count; i++)
        helios_free(b->dropped[i]);
    free(b->dropped);
    free(b->rows);
    *b = (struct branch_rows){0};
}

/* ---- as text ---- */

void branch_text(helios_db *db, helios_branch_id id, char out[BRANCH_TEXT_SIZE])
{
    helios_branch_info *info;

    if (helios_branch_get(db, id, &info) != HELIOS_OK) {
        snprintf(out, BRANCH_TEXT_SIZE, "#%u", (unsigned)id);
        return;
    }
    snprintf(out, BRANCH_TEXT_SIZE, "%s", info->name);
    helios_free(info);
}

void branch_point_text(helios_db *db, helios_point point, char out[BRANCH_POINT_TEXT_SIZE])
{
    size_t size;

    branch_text(db, point.branch, out);
    size = strlen(out);
    if (point.at == HELIOS_SEQ_NONE)
        snprintf(out + size, BRANCH_POINT_TEXT_SIZE - size, "@start");
    else if (point.at)
        snprintf(out + size, BRANCH_POINT_TEXT_SIZE - size, "@%llu", (unsigned long long)point.at);
}

void branch_add_json(struct json_object *object, helios_db *db, const char *name, helios_branch_id id)
{
    char text[BRANCH_TEXT_SIZE], member[64];

    branch_text(db, id, text);
    json_add_bytes(object, name, (helios_slice){text, strlen(text)});
    snprintf(member, sizeof(member), "%s_id", name);
    json_object_object_add(object, member, json_object_new_uint64(id));
}
