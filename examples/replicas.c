/* Three databases that are written side by side, even on the same key, and come to the same by exchanging their feeds. */
#include <helios/helios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(s) ((helios_slice){(s), strlen(s)})
enum { NODES = 3 };

static void check(helios_status status)
{
    if (status != HELIOS_OK) {
        fprintf(stderr, "%s: %s\n", helios_status_name(status), helios_last_error());
        exit(1);
    }
}

static long amount(helios_slice text)
{
    long sum = 0;

    for (size_t i = 0; i < text.size; i++)
        sum = 10 * sum + ((const char *)text.data)[i] - '0';
    return sum;
}

/* The greater amount counts. Whoever asks, whichever side it has, in whatever order: the outcome is the same. */
static helios_resolution greater(void *arg, const helios_apply_conflict *c, helios_buf *value)
{
    (void)arg;
    (void)value;
    if (!c->has_ours || !c->has_theirs)
        return c->has_ours ? HELIOS_TAKE_OURS : HELIOS_TAKE_THEIRS;
    return amount(c->ours) >= amount(c->theirs) ? HELIOS_TAKE_OURS : HELIOS_TAKE_THEIRS;
}

/* All that `from` has and `to` lacks, commit by commit; how many those were. */
static uint64_t bring(helios_db *from, helios_db *to, helios_seq *next)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_apply_options rules = HELIOS_APPLY_OPTIONS_INIT;
    const helios_change *entries;
    helios_apply_result result;
    helios_changes *changes;
    helios_status status;
    uint64_t applied = 0;
    size_t n;

    options.from = *next;
    options.for_apply = true;
    rules.resolve = greater;
    check(helios_sync(from)); /* what the power can take back is not given away */
    check(helios_changes_new(from, &options, &changes));
    while ((status = helios_changes_next_commit(changes, 0, &entries, &n)) == HELIOS_OK) {
        check(helios_apply(to, &rules, entries, n, &result));
        applied += result.applied;
        *next = entries[0].commit + 1;
    }
    if (status != HELIOS_TIMEOUT)
        check(status);
    helios_changes_free(changes);
    return applied;
}

static void write_text(helios_db *db, const char *key, const char *value)
{
    check(helios_put(db, NULL, TEXT(key), TEXT(value)));
}

int main(void)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_db *db[NODES];
    helios_seq next[NODES][NODES];
    helios_buf value = {0};
    uint64_t brought;

    options.in_memory = true;
    options.feed_retention = HELIOS_FOREVER;
    for (int i = 0; i < NODES; i++) {
        check(helios_open("replica", &options, &db[i]));
        for (int j = 0; j < NODES; j++)
            next[i][j] = 1;
    }
    write_text(db[0], "highest bid", "120");
    write_text(db[1], "highest bid", "150");
    write_text(db[2], "address", "by the sea");
    do { /* in a line: the last gets the first one's through the middle */
        brought = bring(db[0], db[1], &next[0][1]) + bring(db[1], db[0], &next[1][0]);
        brought += bring(db[1], db[2], &next[1][2]) + bring(db[2], db[1], &next[2][1]);
    } while (brought);
    for (int i = 0; i < NODES; i++) {
        check(helios_get(db[i], NULL, TEXT("highest bid"), &value));
        printf("%d: %.*s, ", i, (int)value.size, value.data);
        check(helios_get(db[i], NULL, TEXT("address"), &value));
        printf("%.*s\n", (int)value.size, value.data);
        check(helios_close(db[i]));
    }
    helios_buf_free(&value);
    return 0;
}
