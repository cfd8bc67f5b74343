/* test_last_reader.c - the last reader of tables that nobody else needs frees its iterator and goes: what it leaves, blocks
 * in the cache and files, is the background's. Readers used to do it, and waited for a third of a second. */
#undef NDEBUG
#include "base/thread.h"
#include "engine/engine_internal.h"
#include <assert.h>
#include <pthread.h>
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

enum { KEYS = 2000, READERS = 3, PATIENCE = 3000 };

static _Thread_local bool is_reader;
static _Atomic unsigned removed_by_reader, removed;

static struct table_home home;

static void note_removed(void *arg, uint64_t number)
{
    atomic_fetch_add(is_reader ? &removed_by_reader : &removed, 1);
    home.removed(arg, number);
}

static void fill(helios_db *db, unsigned pass)
{
    char key[32], value[32];

    for (unsigned i = 0; i < KEYS; i++) {
        int key_size = snprintf(key, sizeof(key), "key%08u", i);
        int value_size = snprintf(value, sizeof(value), "%u of %u", i, pass);

        MUST(helios_put(db, NULL, (helios_slice){key, (size_t)key_size},
                        (helios_slice){value, (size_t)value_size}));
    }
    MUST(helios_flush(db));
}

static void wait_for_jobs(helios_db *db)
{
    uint64_t jobs;

    do {
        thread_sleep(1000);
        MUST(helios_stat(db, "background.jobs", &jobs));
    } while (jobs > 0);
}

static void read_all(helios_iter *it)
{
    unsigned found = 0;

    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it))
        found++;
    MUST(helios_iter_status(it));
    assert(found == KEYS);
}

static void *free_iterator(void *arg)
{
    is_reader = true;
    helios_iter_free(arg);
    return NULL;
}

int main(void)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_iter *readers[READERS];
    pthread_t threads[READERS];
    struct io_fs *fs;
    helios_db *db;
    unsigned before;

    MUST(io_memory_new(&fs));
    options.history_retention = 0;
    MUST(engine_open(fs, "/db", &options, &db));
    home = db->home;
    db->home.removed = note_removed;
    fill(db, 1);
    for (int i = 0; i < READERS; i++) {
        MUST(helios_iter_new(db, NULL, &readers[i]));
        read_all(readers[i]);
    }
    fill(db, 2);
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    wait_for_jobs(db);
    before = atomic_load(&removed); /* tables that no reader holds */
    for (int i = 0; i < READERS; i++)
        MUST(thread_start(&threads[i], "reader", free_iterator, readers[i]));
    for (int i = 0; i < READERS; i++)
        thread_join(threads[i]);
    for (int i = 0; atomic_load(&removed) + atomic_load(&removed_by_reader) == before; i++) {
        assert(i < PATIENCE);
        thread_sleep(10000);
    }
    assert(atomic_load(&removed_by_reader) == 0);
    MUST(helios_close(db));
    io_free(fs);
    puts("what the last reader leaves is freed by others");
    return 0;
}
