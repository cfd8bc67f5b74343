/* test_changes_fd.c - descriptors of cursors over the change feed: when they are readable, that no wake-up is lost under
 * many writers, and that commits pay nothing while nobody waits.
 * Usage: test_changes_fd [threads] */
#undef NDEBUG
#include "base/thread.h"
#include "engine/engine_internal.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { WRITERS = 4, READERS = 4, LOST_MS = 20000 };

static helios_db *db;
static struct io_fs *fs;
static unsigned commits_each = 1500;

#define MUST(call) must((call), #call, __LINE__)
static void must(helios_status status, const char *what, int line)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "line %d: %s: %s %s\n", line, what, helios_status_name(status), helios_last_error());
    abort();
}

static void begin_db(struct io_fs *on)
{
    helios_options options = HELIOS_OPTIONS_INIT;

    fs = on;
    options.feed_retention = HELIOS_FOREVER;
    MUST(engine_open(fs, "/changes-fd", &options, &db));
}

static void end_db(void)
{
    MUST(helios_close(db));
    io_free(fs);
}

static struct io_fs *memory_fs(void)
{
    struct io_fs *made;

    MUST(io_memory_new(&made));
    return made;
}

static helios_seq put(const char *key)
{
    helios_seq commit = 0;
    helios_batch *batch;

    batch = helios_batch_new();
    assert(batch);
    helios_batch_put(batch, slice_make(key, strlen(key)), slice_make("v", 1));
    MUST(helios_write(db, NULL, batch, &commit));
    helios_batch_free(batch);
    return commit;
}

static helios_changes *cursor_of(const helios_changes_options *options, int *fd)
{
    helios_changes *c;
    int again;

    MUST(helios_changes_new(db, options, &c));
    MUST(helios_changes_fd(c, fd));
    MUST(helios_changes_fd(c, &again));
    assert(again == *fd);
    return c;
}

static bool readable(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, ms) == 1 && (p.revents & POLLIN);
}

/* Everything there is; the last lsn, 0: there was nothing. */
static helios_seq drain(helios_changes *c)
{
    helios_status status;
    helios_change change;
    helios_seq last = 0;

    while ((status = helios_changes_next(c, 0, &change)) == HELIOS_OK)
        last = change.lsn;
    assert(status == HELIOS_TIMEOUT);
    return last;
}

static void test_readable(bool unsynced)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *c;
    helios_seq commit;
    int fd;

    begin_db(memory_fs());
    commit = put("a");
    options.unsynced = unsynced;
    c = cursor_of(&options, &fd);
    assert(readable(fd, 0));
    for (int i = 0; i < 20; i++) {
        for (helios_seq last = 0; last < commit;) { /* of commits that are not durable yet it is told later */
            assert(readable(fd, LOST_MS));
            last = drain(c);
        }
        assert(!readable(fd, i < 3 ? 20 : 0));
        commit = put("b");
        assert(readable(fd, LOST_MS));
        if (!unsynced)
            assert(helios_wait_durable(db, commit, 0) == HELIOS_OK);
        assert(readable(fd, 0)); /* until it has been read */
    }
    assert(helios_close(db) == HELIOS_BUSY);
    assert(db->feed.notifier);
    helios_changes_free(c);
    assert(!db->feed.notifier);
    end_db();
}

/* An end, by number and by time, is something to tell. */
static void test_ends(void)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_change change;
    helios_changes *c;
    int fd;

    begin_db(memory_fs());
    options.unsynced = true;
    options.to = put("a");
    c = cursor_of(&options, &fd);
    MUST(helios_changes_next(c, 0, &change));
    assert(helios_changes_next(c, 0, &change) == HELIOS_NOT_FOUND);
    assert(readable(fd, 0));
    helios_changes_free(c);

    options.to = 0;
    options.to_time = io_time(fs) + 50000;
    c = cursor_of(&options, &fd);
    (void)drain(c);
    assert(!readable(fd, 0));
    assert(readable(fd, LOST_MS));
    assert(helios_changes_next(c, 0, &change) == HELIOS_NOT_FOUND);
    assert(readable(fd, 0));
    helios_changes_free(c);
    end_db();
}

static void test_failure(bool unsynced)
{
    const struct io_fault fault = {
        .fail_at = 1, .forever = true, .mask = 1u << IO_CALL_SYNC, .error_number = EIO};
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    struct io_fs *faulty;
    helios_change change;
    helios_status status;
    helios_changes *c;
    int fd;

    MUST(io_faulty_new(1, &faulty));
    begin_db(faulty);
    options.unsynced = unsynced;
    c = cursor_of(&options, &fd);
    (void)drain(c);
    assert(!readable(fd, 0));
    io_faulty_plan(fs, &fault);
    put("a");
    assert(helios_sync(db) == HELIOS_IO);
    do {
        assert(readable(fd, LOST_MS));
        status = helios_changes_next(c, 0, &change);
    } while (status == HELIOS_OK || status == HELIOS_TIMEOUT);
    assert(status == HELIOS_IO);
    assert(readable(fd, 0));
    helios_changes_free(c);
    io_faulty_plan(fs, NULL);
    (void)!helios_close(db);
    io_free(fs);
}

static void test_no_descriptor(void)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    struct rlimit before, none;
    helios_changes *c;
    int fd = -1;

    begin_db(memory_fs());
    options.unsynced = true;
    MUST(helios_changes_new(db, &options, &c));
    assert(getrlimit(RLIMIT_NOFILE, &before) == 0);
    none = before;
    none.rlim_cur = 0;
    assert(setrlimit(RLIMIT_NOFILE, &none) == 0);
    assert(helios_changes_fd(c, &fd) == HELIOS_IO);
    assert(strstr(helios_last_error(), "errno") && fd == -1 && !db->feed.notifier);
    assert(setrlimit(RLIMIT_NOFILE, &before) == 0);
    MUST(helios_changes_fd(c, &fd));
    put("a");
    assert(readable(fd, 0) && drain(c));
    helios_changes_free(c);
    end_db();
}

/* Cursors with something to read, or without a descriptor, cost a commit no call: nobody counts as waiting, and the
 * word, which changes before each wake-up, stays. */
static void test_idle_costs_nothing(void)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *told, *silent;
    uint32_t word;
    int fd;

    begin_db(memory_fs());
    options.unsynced = true;
    MUST(helios_changes_new(db, &options, &silent));
    told = cursor_of(&options, &fd);
    (void)drain(told);
    while (atomic_load(&db->followers.waiting) == 0) /* armed, so the thread goes to sleep on the word */
        thread_sleep(100);
    put("a");
    assert(readable(fd, LOST_MS));
    while (atomic_load(&db->followers.waiting) != 0)
        thread_sleep(100);
    word = atomic_load(&db->followers.word);
    for (int i = 0; i < 2000; i++) {
        assert(atomic_load(&db->followers.waiting) == 0);
        put("b");
    }
    assert(atomic_load(&db->followers.word) == word);
    helios_changes_free(told);
    helios_changes_free(silent);
    end_db();
}

/* ---- many writers, many poll loops ---- */

static void *write_many(void *arg)
{
    char key[32];

    for (unsigned i = 0; i < commits_each; i++) {
        snprintf(key, sizeof(key), "%u-%u", *(unsigned *)arg, i);
        put(key);
        if (i % 64 == 0)
            thread_sleep(200); /* so that readers come to the end, too */
    }
    return NULL;
}

/* Polls as its number says: durable or not, with cursors made anew now and then. */
static void *read_all(void *arg)
{
    unsigned me = *(unsigned *)arg, seen = 0;
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *c = NULL;
    helios_change change;
    helios_status status;
    int fd = -1;

    options.unsynced = me & 1;
    while (seen < WRITERS * commits_each) {
        if (!c)
            c = cursor_of(&options, &fd);
        if (!readable(fd, LOST_MS)) {
            fprintf(stderr, "reader %u was not woken after %u of %u\n", me, seen, WRITERS * commits_each);
            abort();
        }
        for (unsigned i = 0; (status = helios_changes_next(c, 0, &change)) == HELIOS_OK; i++) {
            assert(change.lsn >= options.from);
            options.from = change.lsn + 1;
            seen++;
            if (me & 2 && i == 7)
                break; /* a reader that takes a few at a time stays readable */
        }
        assert(status == HELIOS_OK || status == HELIOS_TIMEOUT);
        if (me & 2 && seen % 500 == 0) {
            helios_changes_free(c);
            c = NULL;
        }
    }
    helios_changes_free(c);
    return NULL;
}

static void test_threads(void)
{
    pthread_t writers[WRITERS], readers[READERS];
    unsigned numbers[WRITERS > READERS ? WRITERS : READERS];

    begin_db(memory_fs());
    for (unsigned i = 0; i < READERS; i++) {
        numbers[i] = i;
        MUST(thread_start(&readers[i], "reader", read_all, &numbers[i]));
    }
    for (unsigned i = 0; i < WRITERS; i++)
        MUST(thread_start(&writers[i], "writer", write_many, &numbers[i]));
    for (unsigned i = 0; i < WRITERS; i++)
        thread_join(writers[i]);
    for (unsigned i = 0; i < READERS; i++)
        thread_join(readers[i]);
    assert(atomic_load(&db->followers.waiting) == 0 && !db->feed.notifier);
    end_db();
}

int main(int argc, char **argv)
{
    if (argc > 1)
        commits_each = 300; /* under thread sanitizer */
    test_threads();
    if (argc > 1)
        return 0;
    test_readable(true);
    test_readable(false);
    test_ends();
    test_failure(true);
    test_failure(false);
    test_no_descriptor();
    test_idle_costs_nothing();
    return 0;
}
