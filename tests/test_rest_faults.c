/* test_rest_faults.c - a merge that nobody asked for ends nothing when it fails: without space or memory it is left,
 * writers go on, and the next rest tries again. The clock is virtual: a database rests when the test says so. */
#undef NDEBUG
#include "base/thread.h"
#include "engine/engine_internal.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(call)                                                                                             \
    do {                                                                                                       \
        helios_status status_ = (call);                                                                        \
        if (status_ != HELIOS_OK) {                                                                            \
            fprintf(stderr, "%s:%d: %s: %s: %s\n", __FILE__, __LINE__, #call, helios_status_name(status_),     \
                    helios_last_error());                                                                      \
            abort();                                                                                           \
        }                                                                                                      \
    } while (0)

enum { KEYS = 2000, PATIENCE = 6000, SECOND = 1000000, LIST_CALLS = 1u << IO_CALL_OPEN | 1u << IO_CALL_WRITE };

static uint64_t stat_of(helios_db *db, const char *name)
{
    uint64_t value;

    MUST(helios_stat(db, name, &value));
    return value;
}

static void burst(helios_db *db, unsigned step, unsigned number)
{
    char key[32], value[101];

    memset(value, '.', sizeof(value));
    for (unsigned i = 0; i < KEYS; i += step) {
        int size = snprintf(key, sizeof(key), "key%08u", i);

        snprintf(value, sizeof(value), "%u of %u", number, i * 2654435761u);
        MUST(helios_put(db, NULL, (helios_slice){key, (size_t)size}, (helios_slice){value, 100}));
    }
    MUST(helios_flush(db));
}

/* Until the fault was met and nothing runs. */
static void wait_for_failure(struct io_fs *fs, helios_db *db, uint64_t calls)
{
    for (int i = 0; io_faulty_calls(fs, LIST_CALLS) == calls || stat_of(db, "background.jobs") > 0; i++) {
        assert(i < PATIENCE);
        thread_sleep(10000);
        io_faulty_advance(fs, SECOND / 10);
    }
}

static void wait_for_one_run(struct io_fs *fs, helios_db *db)
{
    for (int i = 0; stat_of(db, "files.l0") > 0; i++) {
        assert(i < PATIENCE);
        thread_sleep(10000);
        io_faulty_advance(fs, SECOND / 10);
    }
}

static void merge_without_space(int error_number)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    struct io_fault fault = {.fail_at = 1,
                             .forever = true,
                             .mask = LIST_CALLS,
                             .error_number = error_number,
                             .path_contains = ".sst"};
    struct io_fs *fs;
    helios_db *db;
    uint64_t calls, runs;

    MUST(io_faulty_new(1, &fs));
    io_faulty_set_time(fs, 1000 * (uint64_t)SECOND, SECOND);
    options.history_retention = 0;
    MUST(engine_open(fs, "/rest", &options, &db));
    burst(db, 1, 0);
    burst(db, 2, 1);
    runs = stat_of(db, "files.l0");
    assert(runs > 0);
    io_faulty_plan(fs, &fault);
    calls = io_faulty_calls(fs, LIST_CALLS);
    wait_for_failure(fs, db, calls);
    assert(stat_of(db, "files.l0") == runs);

    /* Nobody who writes has noticed. */
    MUST(helios_put(db, NULL, (helios_slice){"after", 5}, (helios_slice){"it", 2}));
    io_faulty_plan(fs, NULL);
    MUST(helios_flush(db));
    wait_for_one_run(fs, db);
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_close(db));
    io_free(fs);
}

int main(void)
{
    merge_without_space(ENOSPC);
    merge_without_space(ENOMEM);
    return 0;
}
