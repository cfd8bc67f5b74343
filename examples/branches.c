/* A stock changes on a branch and, meanwhile, on main. Prints what differs, and merges: where both sides counted, the
 * changes of both are added up. */
#include <helios/helios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(s)     ((helios_slice){(s), strlen(s)})
#define SHOW(slice) (int)(slice).size, (const char *)(slice).data

static void check(helios_status status)
{
    if (status != HELIOS_OK) {
        fprintf(stderr, "%s: %s\n", helios_status_name(status), helios_last_error());
        exit(1);
    }
}

static void put(helios_db *db, helios_branch_id branch, const char *key, const char *value)
{
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;

    options.branch = branch;
    check(helios_put(db, &options, TEXT(key), TEXT(value)));
}

static void print_diff(helios_db *db, helios_branch_id from, helios_branch_id to)
{
    helios_difference d;
    helios_diff *diff;

    check(helios_diff_new(db, (helios_point){from, 0}, (helios_point){to, 0}, &diff)); /* 0: the latest */
    while (helios_diff_next(diff, &d)) /* a value that is not there is the empty slice */
        printf("%-10.*s %6.*s -> %.*s\n", SHOW(d.key), SHOW(d.from), SHOW(d.to));
    check(helios_diff_status(diff));
    helios_diff_free(diff);
}

static int number(helios_slice value)
{
    char text[12] = "";

    memcpy(text, value.data, value.size < sizeof(text) ? value.size : sizeof(text) - 1);
    return atoi(text);
}

static helios_resolution add_up(void *arg, const helios_merge_conflict *c, helios_buf *value)
{
    char text[12];

    (void)arg;
    if (!c->has_base || !c->has_ours || !c->has_theirs)
        return HELIOS_TAKE_ABORT; /* then nothing is merged */
    snprintf(text, sizeof(text), "%d", number(c->ours) + number(c->theirs) - number(c->base));
    return helios_buf_set(value, TEXT(text)) == HELIOS_OK ? HELIOS_TAKE_VALUE : HELIOS_TAKE_ABORT;
}

int main(void)
{
    helios_merge_options options = HELIOS_MERGE_OPTIONS_INIT;
    helios_merge_result result;
    helios_branch_id delivery;
    helios_buf apples = {0};
    helios_db *db;

    helios_destroy("branches.db"); /* of an earlier run */
    check(helios_open("branches.db", NULL, &db));
    put(db, 0, "apples", "10");
    put(db, 0, "pears", "4");
    check(helios_branch_create(db, "delivery", 0, 0, &delivery)); /* of main (0), as it is now (0) */
    put(db, delivery, "apples", "25");
    put(db, delivery, "cherries", "3");
    put(db, 0, "apples", "8"); /* two were sold; the branch does not see it */
    print_diff(db, 0, delivery);

    options.strategy = HELIOS_MERGE_RESOLVE;
    options.resolve = add_up;
    options.close_source = true;
    check(helios_branch_merge(db, delivery, 0, &options, &result));
    check(helios_get(db, NULL, TEXT("apples"), &apples));
    printf("merged %llu keys, %llu of them conflicts; apples: %.*s\n", (unsigned long long)result.merged,
           (unsigned long long)result.conflicts, SHOW(apples));
    helios_buf_free(&apples);
    check(helios_close(db));
    return 0;
}
