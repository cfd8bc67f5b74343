/* A materialised view that is kept by increments: how many airports a country has. What a window of changes makes of it is
 * written in one batch with the position that it then shows: every change counts once, wherever the program ends. */
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

/* The counts that a window changes; there are fewer countries. */
static struct {
    char key[32]; /* "view:Norway" */
    int airports;
} counts[256];
static int n;

static void count(helios_db *db, helios_slice country, int by)
{
    helios_buf value = {0};
    char key[32];
    int i = 0;

    if (!country.data)
        return;
    snprintf(key, sizeof(key), "view:%.*s", (int)country.size, (const char *)country.data);
    while (i < n && strcmp(counts[i].key, key) != 0)
        i++;
    if (i == n) {
        strcpy(counts[n++].key, key);
        counts[i].airports = 0;
        if (helios_get(db, NULL, TEXT(key), &value) == HELIOS_OK)
            memcpy(&counts[i].airports, value.data, sizeof(int));
    }
    counts[i].airports += by;
    helios_buf_free(&value);
}

/* All that has changed since the last time; a service would wait for more with UINT64_MAX. */
static void refresh(helios_db *db)
{
    const helios_delta_table airports = {.prefix = TEXT("airport:")};
    helios_deltas_options options = HELIOS_DELTAS_OPTIONS_INIT;
    helios_batch *batch = helios_batch_new();
    helios_delta_window window;
    helios_deltas *deltas;
    helios_status status;
    helios_delta delta;

    options.tables = &airports;
    options.table_count = 1;
    options.consumer = "airports by country";
    options.unsynced = true; /* the view lies beside what it is made of */
    check(helios_deltas_new(db, &options, &deltas));
    while ((status = helios_deltas_window(deltas, 0, &window)) == HELIOS_OK) {
        /* window.refresh: count all anew at window.upto; this feed has everything from the first commit on */
        for (n = 0; helios_deltas_next(deltas, &delta);) {
            count(db, delta.before, -1); /* not given for an insert */
            count(db, delta.after, +1);  /* not given for a delete */
        }
        helios_batch_clear(batch);
        while (n-- > 0)
            helios_batch_put(batch, TEXT(counts[n].key), (helios_slice){&counts[n].airports, sizeof(int)});
        helios_batch_ack(batch, options.consumer, window.upto);
        check(helios_write(db, NULL, batch, NULL));
    }
    if (status != HELIOS_TIMEOUT)
        check(status);
    helios_deltas_free(deltas);
    helios_batch_free(batch);
}

static void print(helios_db *db)
{
    helios_read_options view = {.size = sizeof(view), .lower = TEXT("view:"), .upper = TEXT("view;")};
    helios_iter *it;
    int airports;

    check(helios_iter_new(db, &view, &it));
    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it)) {
        memcpy(&airports, helios_iter_value(it).data, sizeof(int));
        printf("%.*s %d\n", (int)helios_iter_key(it).size, (const char *)helios_iter_key(it).data, airports);
    }
    helios_iter_free(it);
}

int main(void)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_db *db;

    helios_destroy("view.db"); /* of an earlier run */
    options.feed_retention = HELIOS_FOREVER;
    check(helios_open("view.db", &options, &db));
    check(helios_put(db, NULL, TEXT("airport:OSL"), TEXT("Norway")));
    check(helios_put(db, NULL, TEXT("airport:BGO"), TEXT("Norway")));
    check(helios_put(db, NULL, TEXT("airport:SXF"), TEXT("Germany")));
    check(helios_put(db, NULL, TEXT("airport:MUC"), TEXT("Germany")));
    refresh(db);
    puts("first:");
    print(db);
    check(helios_close(db)); /* the view's position is kept */
    check(helios_open("view.db", &options, &db));
    check(helios_delete(db, NULL, TEXT("airport:SXF")));
    check(helios_put(db, NULL, TEXT("airport:BGO"), TEXT("Denmark")));
    check(helios_put(db, NULL, TEXT("airport:BGO"), TEXT("Norway")));
    check(helios_put(db, NULL, TEXT("airport:AAR"), TEXT("Denmark")));
    refresh(db);
    puts("then:");
    print(db);
    check(helios_close(db));
    return 0;
}
