/* at.c - read points that commands were asked for, found in a database; and what is said when one is gone. */
#include "tools/at.h"
#include "tools/branches.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

int at_parse(const struct args *args, const char *option, const char *text, struct point *point)
{
    const char *problem;

    if (!text) {
        *point = (struct point){.kind = POINT_LATEST};
        return EXIT_CODE_OK;
    }
    if (point_parse(text, wall_micros(), point, &problem))
        return EXIT_CODE_OK;
    return report_advice(args, "USAGE", EXIT_CODE_USAGE, "a point is " POINT_EXAMPLES, "%s \"%s\": %s", option,
                         text, problem);
}

int at_resolve(const struct args *args, helios_db *db, const struct point *point, helios_branch_id *branch,
               helios_seq *seq)
{
    return at_resolve_on(args, db, args->branch, point, branch, seq);
}

int at_resolve_on(const struct args *args, helios_db *db, const char *name, const struct point *point,
                  helios_branch_id *branch, helios_seq *seq)
{
    helios_status status = HELIOS_OK;
    helios_branch_id of_tag = 0;
    int code = branch_resolve(args, db, name, branch);

    if (code)
        return code;
    *seq = 0;
    switch (point->kind) {
    case POINT_LATEST: break;
    case POINT_START: *seq = HELIOS_SEQ_NONE; break;
    case POINT_SEQ: *seq = point->seq; break;
    case POINT_TIME: status = helios_seq_at_time(db, point->time, seq); break;
    case POINT_TAG: status = helios_tag_get(db, point->tag, &of_tag, seq); break;
    }
    if (!name)
        *branch = of_tag;
    if (status != HELIOS_NOT_FOUND)
        return status == HELIOS_OK ? EXIT_CODE_OK : report_read(args, db, status, NULL);
    return report_advice(args, helios_status_name(status), EXIT_CODE_NOT_FOUND,
                         "`heliosctl tag list DB` shows those there are", "there is no tag \"%s\"", point->tag);
}

int report_read(const struct args *args, helios_db *db, helios_status status, const char *what)
{
    char time[TIME_TEXT_SIZE];
    helios_seq horizon;

    if (status != HELIOS_HISTORY_GONE)
        return report_status(args, status, what);
    horizon = helios_horizon(db);
    at_time_text(db, horizon, time);
    return report_advice(
        args, helios_status_name(status), EXIT_CODE_HISTORY,
        "read at that commit or later, or at a tag (`heliosctl tag list DB`); to keep more from "
        "now on, open the database in your program with a longer history_retention, or tag what "
        "must stay readable",
        "what is asked for is older than the history that is kept: it reaches back to commit %llu%s%s%s",
        (unsigned long long)horizon, *time ? ", " : "", time, *time ? " UTC" : "");
}

/* False: there is none, or it is not known any more. */
static bool time_of(helios_db *db, helios_seq seq, uint64_t *time)
{
    return seq != 0 && seq != HELIOS_SEQ_NONE && helios_time_of_seq(db, seq, time) == HELIOS_OK;
}

void at_time_text(helios_db *db, helios_seq seq, char out[TIME_TEXT_SIZE])
{
    uint64_t time;

    if (seq == 0 || seq == HELIOS_SEQ_NONE)
        snprintf(out, TIME_TEXT_SIZE, "before the first commit");
    else if (time_of(db, seq, &time))
        time_text(time, false, out);
    else
        *out = '\0';
}

void at_print_reach(helios_db *db, const char *what)
{
    helios_seq horizon = helios_horizon(db);
    char time[TIME_TEXT_SIZE];

    if (horizon == 0)
        return;
    at_time_text(db, horizon, time);
    printf("History reaches back to commit %llu%s%s: older %s may be gone.\n", (unsigned long long)horizon,
           *time ? ", " : "", time, what);
}

void time_add_json(struct json_object *object, const char *name, uint64_t time)
{
    char text[TIME_TEXT_SIZE], member[80]; /* room for what at_add_json makes */

    time_text(time, true, text);
    json_object_object_add(object, name, json_object_new_string(text));
    snprintf(member, sizeof(member), "%s_micros", name);
    json_object_object_add(object, member, json_object_new_uint64(time));
}

void at_add_json(struct json_object *object, helios_db *db, const char *name, helios_seq seq)
{
    uint64_t time;
    char member[64];

    json_object_object_add(object, *name ? name : "seq",
                           seq == HELIOS_SEQ_NONE ? NULL : json_object_new_uint64(seq));
    snprintf(member, sizeof(member), "%s%stime", name, *name ? "_" : "");
    if (time_of(db, seq, &time))
        time_add_json(object, member, time);
}
