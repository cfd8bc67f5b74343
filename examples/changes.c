/* Follows what is written: a worker with a durable name prints each change with what was there before, acknowledges
 * whole commits, and goes on after them the next time. */
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

static void print_change(const helios_change *change)
{
    printf("%-14.*s", (int)change->key.size, (const char *)change->key.data);
    if (change->has_before)
        printf("%.*s", (int)change->before.size, (const char *)change->before.data);
    if (change->kind == HELIOS_CHANGE_PUT)
        printf(" -> %.*s", (int)change->value.size, (const char *)change->value.data);
    puts(change->commit_end ? "." : ",");
}

/* Reads what there is for the worker; a service would wait with UINT64_MAX, for ever. */
static void work(helios_db *db)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *changes;
    helios_change change;
    helios_status status;

    options.consumer = "printer";
    options.before_images = true;
    check(helios_changes_new(db, &options, &changes));
    while ((status = helios_changes_next(changes, 50000, &change)) == HELIOS_OK) {
        print_change(&change);
        if (change.commit_end)
            check(helios_changes_ack(changes, change.commit));
    }
    if (status != HELIOS_TIMEOUT)
        check(status);
    helios_changes_free(changes);
}

int main(void)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_batch *batch = helios_batch_new();
    helios_db *db;

    helios_destroy("changes.db"); /* of an earlier run */
    options.feed_retention = HELIOS_FOREVER;
    check(helios_open("changes.db", &options, &db));
    check(helios_put(db, NULL, TEXT("stock:apples"), TEXT("10")));
    check(helios_put(db, NULL, TEXT("stock:pears"), TEXT("4")));
    puts("first:");
    work(db);

    helios_batch_put(batch, TEXT("stock:apples"), TEXT("7"));
    helios_batch_put(batch, TEXT("sold:apples"), TEXT("3"));
    check(helios_write(db, NULL, batch, NULL));
    helios_batch_free(batch);
    check(helios_delete(db, NULL, TEXT("stock:pears")));
    check(helios_close(db)); /* the worker's position is kept */
    check(helios_open("changes.db", &options, &db));
    puts("then:");
    work(db);
    check(helios_close(db));
    return 0;
}
