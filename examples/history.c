/* Corrects a value, and reads it as it was: by tag, by time, by number; then prints all its versions. */
#include <helios/helios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(s) ((helios_slice){(s), strlen(s)})

static void check(helios_status status)
{
    if (status != HELIOS_OK) {
        fprintf(stderr, "%s: %s\n", helios_status_name(status), helios_last_error());
        exit(1);
    }
}

static void print_as_of(helios_db *db, const char *point, helios_seq at)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_buf value = {0};

    options.at = at;
    check(helios_get(db, &options, TEXT("elevation:lima"), &value));
    printf("%-14s %.*s\n", point, (int)value.size, value.data);
    helios_buf_free(&value);
}

int main(void)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_history *history;
    helios_version version;
    helios_branch_id branch;
    helios_seq at;
    uint64_t time;
    helios_db *db;

    helios_destroy("history.db"); /* of an earlier run */
    options.history_retention = HELIOS_FOREVER;
    check(helios_open("history.db", &options, &db));
    check(helios_put(db, NULL, TEXT("elevation:lima"), TEXT("34 ft")));
    check(helios_time_of_seq(db, helios_latest(db), &time)); /* when that was */
    check(helios_tag_create(db, "survey-1", 0, 0));          /* 0: main, 0: latest */
    check(helios_put(db, NULL, TEXT("elevation:lima"), TEXT("113 ft")));
    print_as_of(db, "now", 0);
    check(helios_tag_get(db, "survey-1", &branch, &at));
    print_as_of(db, "by tag", at);
    check(helios_seq_at_time(db, time, &at));
    print_as_of(db, "by time", at);
    print_as_of(db, "by number", 1);

    check(helios_history_new(db, NULL, TEXT("elevation:lima"), &history));
    while (helios_history_next(history, &version))
        printf("commit %-7llu %.*s\n", (unsigned long long)version.seq, (int)version.value.size,
               (const char *)version.value.data);
    check(helios_history_status(history));
    helios_history_free(history);
    check(helios_close(db));
    return 0;
}
