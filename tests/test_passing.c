/* test_passing.c - walks over what range deletes hide, passed over in one go where all of a source is older: the same
 * answers as a plain list, on a branch and its child, now and at a point kept from before, over memtables and tables. */
#undef NDEBUG
#include "base/random.h"
#include "helios/helios.h"
#include <assert.h>
#include <inttypes.h>
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

enum { KEYS = 3000, STEPS = 30000, CHECK_EVERY = 500, RANGE_MAX = 1500 };

struct state {
    uint32_t values[KEYS]; /* 0: absent */
};

static helios_slice key_of(char *text, size_t room, uint64_t number)
{
    return (helios_slice){text, (size_t)snprintf(text, room, "key%06" PRIu64, number)};
}

static void check(helios_db *db, const helios_read_options *given, const struct state *state, uint64_t from)
{
    helios_iter *it;
    char key[32];

    MUST(helios_iter_new(db, given, &it));
    helios_iter_seek(it, key_of(key, sizeof(key), from));
    for (uint64_t i = from; i < KEYS; i++) {
        helios_slice wanted, value;

        if (state->values[i] == 0)
            continue;
        wanted = key_of(key, sizeof(key), i);
        assert(helios_iter_valid(it));
        value = helios_iter_key(it);
        assert(value.size == wanted.size && memcmp(value.data, wanted.data, value.size) == 0);
        value = helios_iter_value(it);
        assert(value.size == 4 && memcmp(value.data, &state->values[i], 4) == 0);
        helios_iter_next(it);
    }
    assert(!helios_iter_valid(it));
    MUST(helios_iter_status(it));
    helios_iter_free(it);
}

static void change(helios_db *db, struct random *rng, helios_branch_id branch, struct state *state, uint32_t n)
{
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    char key[32], end[32];
    uint64_t number = random_below(rng, KEYS);

    options.branch = branch;
    if (random_below(rng, 200) > 0) {
        MUST(helios_put(db, &options, key_of(key, sizeof(key), number), (helios_slice){&n, 4}));
        state->values[number] = n;
    } else {
        uint64_t to = number + 1 + random_below(rng, RANGE_MAX);

        MUST(helios_delete_range(db, &options, key_of(key, sizeof(key), number), key_of(end, sizeof(end), to)));
        for (uint64_t i = number; i < to && i < KEYS; i++)
            state->values[i] = 0;
    }
}

int main(int argc, char **argv)
{
    static struct state states[2], kept[2];
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_branch_id branches[2] = {0};
    helios_snapshot *snapshot = NULL;
    struct random rng;
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    helios_db *db;

    printf("seed %" PRIu64 "\n", seed);
    random_seed(&rng, seed);
    options.in_memory = true;
    options.memtable_bytes = 256 << 10;
    MUST(helios_open("passing", &options, &db));
    for (uint32_t n = 1; n <= STEPS; n++) {
        int at = branches[1] ? (int)random_below(&rng, 2) : 0;

        change(db, &rng, branches[at], &states[at], n);
        if (random_below(&rng, 700) == 0)
            MUST(helios_flush(db));
        if (n == STEPS / 4) {
            MUST(helios_branch_create(db, "child", 0, 0, &branches[1]));
            states[1] = states[0];
        }
        if (n == STEPS / 2) {
            MUST(helios_snapshot_new(db, 0, &snapshot));
            memcpy(kept, states, sizeof(kept));
        }
        if (n % CHECK_EVERY)
            continue;
        for (int i = 0; i < (branches[1] ? 2 : 1); i++) {
            read.branch = branches[i];
            read.snapshot = NULL;
            check(db, &read, &states[i], random_below(&rng, KEYS));
            check(db, &read, &states[i], 0);
            read.snapshot = snapshot;
            if (snapshot)
                check(db, &read, &kept[i], 0);
        }
    }
    helios_snapshot_free(db, snapshot);
    MUST(helios_close(db));
    return 0;
}
