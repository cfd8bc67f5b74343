/* crash_branches.c - see crash_branches.h. Merge n brings side/<n>/a and side/<n>/b to main, and its number under
 * side/counter; what is older than KEPT is deleted on main by a range. */
#undef NDEBUG
#include "tests/crash_branches.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEPT = 24, SWEEP_EVERY = 8, VALUE = 300 };

static void must(helios_status status, int line)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "crash_branches.c:%d: %s: %s\n", line, helios_status_name(status), helios_last_error());
    abort();
}
#define MUST(call) must(call, __LINE__)

static const helios_slice counter_key = {"side/counter", 12};

static helios_slice part_key(uint64_t number, char part, char out[40])
{
    return (helios_slice){out, (size_t)snprintf(out, 40, "side/%012" PRIu64 "/%c", number, part)};
}

static helios_slice part_value(uint64_t number, char part, char out[VALUE])
{
    memset(out, (int)('a' + (number + (uint64_t)part) % 26), VALUE);
    return (helios_slice){out, (size_t)(20 + number * 7 % (VALUE - 20))};
}

static void write_pair(helios_db *db, helios_branch_id branch, uint64_t number)
{
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    helios_batch *batch = helios_batch_new();
    char key[40], value[VALUE];

    options.branch = branch;
    helios_batch_put(batch, counter_key, (helios_slice){&number, sizeof(number)});
    for (char part = 'a'; part <= 'b'; part++)
        helios_batch_put(batch, part_key(number, part, key), part_value(number, part, value));
    MUST(helios_write(db, &options, batch, NULL));
    helios_batch_free(batch);
}

static void merge_one(helios_db *db, uint64_t number)
{
    helios_merge_options options = HELIOS_MERGE_OPTIONS_INIT;
    helios_branch_id side;
    char name[40];

    snprintf(name, sizeof(name), "side %" PRIu64, number);
    MUST(helios_branch_create(db, name, 0, 0, &side));
    write_pair(db, side, number);
    options.close_source = number % 2;
    MUST(helios_branch_merge(db, side, 0, &options, NULL));
    MUST(helios_branch_drop(db, side));
}

static void sweep(helios_db *db, uint64_t number)
{
    char from[40], to[40];

    MUST(helios_delete_range(db, NULL, part_key(0, 'a', from), part_key(number - KEPT, 'a', to)));
}

void crash_branches_run(helios_db *db, struct crash_branches *shared)
{
    for (uint64_t number = atomic_load(&shared->acknowledged) + 1;; number++) {
        atomic_store(&shared->begun, number);
        merge_one(db, number);
        atomic_store(&shared->acknowledged, number);
        if (number > KEPT && number % SWEEP_EVERY == 0)
            sweep(db, number);
    }
}

static bool is_there(helios_db *db, uint64_t number, char part)
{
    char key[40], value[VALUE];
    helios_slice wanted = part_value(number, part, value);
    helios_buf found = {0};
    helios_status status = helios_get(db, NULL, part_key(number, part, key), &found);

    if (status != HELIOS_NOT_FOUND)
        MUST(status);
    assert(status == HELIOS_NOT_FOUND ||
           (found.size == wanted.size && memcmp(found.data, wanted.data, wanted.size) == 0));
    helios_buf_free(&found);
    return status == HELIOS_OK;
}

/* The branch of a merge that was not finished, or not dropped yet. */
static void drop_left(helios_db *db)
{
    helios_branch_info *list = NULL;
    size_t count = 0, left = 0;

    MUST(helios_branch_list(db, &list, &count));
    for (size_t i = 0; i < count; i++)
        if (list[i].id) {
            MUST(helios_branch_drop(db, list[i].id));
            left++;
        }
    assert(left <= 1);
    helios_free(list);
}

void crash_branches_judge(helios_db *db, struct crash_branches *shared)
{
    helios_buf buf = {0};
    uint64_t done = 0;
    helios_status status = helios_get(db, NULL, counter_key, &buf);

    if (status != HELIOS_NOT_FOUND) {
        MUST(status);
        memcpy(&done, buf.data, sizeof(done));
    }
    helios_buf_free(&buf);
    assert(done >= atomic_load(&shared->acknowledged) && done <= atomic_load(&shared->begun));
    for (uint64_t number = done > KEPT - SWEEP_EVERY ? done - (KEPT - SWEEP_EVERY) : 1; number <= done;
         number++)
        assert(is_there(db, number, 'a') && is_there(db, number, 'b'));
    assert(!is_there(db, done + 1, 'a') && !is_there(db, done + 1, 'b'));
    drop_left(db);
    atomic_store(&shared->begun, done);
    atomic_store(&shared->acknowledged, done);
}
