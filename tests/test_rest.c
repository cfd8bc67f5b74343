/* test_rest.c - a database that nobody writes merges its runs for those who read: soon, for a bounded price, once. */
#undef NDEBUG
#include "helios/helios.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MUST(call)                                                                                             \
    do {                                                                                                       \
        helios_status status_ = (call);                                                                        \
        if (status_ != HELIOS_OK) {                                                                            \
            fprintf(stderr, "%s:%d: %s: %s: %s\n", __FILE__, __LINE__, #call, helios_status_name(status_),     \
                    helios_last_error());                                                                      \
            abort();                                                                                           \
        }                                                                                                      \
    } while (0)

enum {
    BASE_KEYS = 40000,
    PATIENCE = 600, /* tenths of a second: sanitizers are slow */
    PRICE = 5,      /* bytes rewritten for each that came */
};

static uint64_t stat_of(helios_db *db, const char *name)
{
    uint64_t value;

    MUST(helios_stat(db, name, &value));
    return value;
}

static void pause_tenths(int tenths)
{
    struct timespec time = {tenths / 10, tenths % 10 * 100000000L};

    nanosleep(&time, NULL);
}

static helios_slice key_of(char *text, size_t room, unsigned number)
{
    int size = snprintf(text, room, "key%08u", number);

    return (helios_slice){text, (size_t)size};
}

/* Every step-th key of the base, each with the burst as its value, and a flush. */
static void burst(helios_db *db, unsigned step, unsigned number)
{
    char key[32], value[101];

    memset(value, '.', sizeof(value));
    for (unsigned i = 0; i < BASE_KEYS; i += step) {
        snprintf(value, sizeof(value), "%u of %u", number, i * 2654435761u);
        MUST(helios_put(db, NULL, key_of(key, sizeof(key), i), (helios_slice){value, 100}));
    }
    MUST(helios_flush(db));
}

static void wait_for_one_run(helios_db *db)
{
    for (int tenths = 0; stat_of(db, "files.l0") > 0 || stat_of(db, "background.jobs") > 0; tenths++) {
        assert(tenths < PATIENCE);
        pause_tenths(1);
    }
}

static void check_value(helios_db *db, unsigned key, unsigned number)
{
    char text[32], expected[101] = "";
    helios_buf got = {0};

    snprintf(expected, sizeof(expected), "%u of %u", number, key * 2654435761u);
    MUST(helios_get(db, NULL, key_of(text, sizeof(text), key), &got));
    assert(got.size == 100 && memcmp(got.data, expected, strlen(expected) + 1) == 0);
    helios_buf_free(&got);
}

static void check_price(helios_db *db)
{
    assert(stat_of(db, "compaction.written.bytes") <= PRICE * stat_of(db, "flush.bytes"));
}

int main(void)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_db *db;
    uint64_t jobs, written;

    options.in_memory = true;
    options.history_retention = 0; /* what is overwritten goes, so that the base stays as large as it is */
    MUST(helios_open("rest", &options, &db));
    burst(db, 1, 0);
    burst(db, 3, 1);
    burst(db, 2, 2);
    wait_for_one_run(db);
    check_value(db, 1, 0);
    check_value(db, 3, 1);
    check_value(db, 6, 2);

    /* Nothing more to do: it stays still. */
    jobs = stat_of(db, "compactions");
    pause_tenths(15);
    assert(stat_of(db, "compactions") == jobs);

    /* Too little to rewrite everything for: two bursts of a fiftieth, with a rest behind each. */
    written = stat_of(db, "compaction.written.bytes");
    for (unsigned i = 0; i < 2; i++) {
        burst(db, 50, 3 + i);
        pause_tenths(8);
    }
    assert(stat_of(db, "files.l0") == 2);
    assert(stat_of(db, "compaction.written.bytes") - written < 10000); /* the timeline, but not the base */
    check_value(db, 50, 4);

    /* Together with more they are worth it. */
    burst(db, 2, 6);
    wait_for_one_run(db);
    assert(stat_of(db, "compactions") > jobs);
    check_value(db, 50, 6);
    check_value(db, 1, 0);
    check_price(db);

    for (unsigned i = 0; i < 5; i++) {
        burst(db, 2, 7 + i);
        wait_for_one_run(db);
        check_price(db);
    }
    check_value(db, 8, 11);
    MUST(helios_close(db));
    return 0;
}
