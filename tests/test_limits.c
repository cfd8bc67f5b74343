/* test_limits.c - a real file system that is filled and freed in turn, and a process with few descriptors. What was acknowledged is
 * there throughout, reads go on, writes go on again by themselves once there is room.
 *
 * The file system is a small tmpfs in a mount namespace of its own; where that may not be made (no root), the test says so and
 * leaves it out.
 * Usage: test_limits [cycles] */
#undef NDEBUG
#include "helios/helios.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KEYS = 300, VALUE = 3000, CYCLES_DEFAULT = 12, TMPFS_MIB = 12, DESCRIPTORS = 20 };

static void must(helios_status status, int line)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "test_limits.c:%d: %s: %s\n", line, helios_status_name(status), helios_last_error());
    abort();
}
#define MUST(call) must(call, __LINE__)

static uint64_t counters[KEYS]; /* acknowledged; 0: absent */
static uint64_t counter;

static helios_slice key_of(unsigned index, char out[16])
{
    return (helios_slice){out, (size_t)snprintf(out, 16, "key%05u", index)};
}

static helios_status put(helios_db *db, unsigned index)
{
    static char value[VALUE];
    char key[16];
    uint64_t number = ++counter, word = number;
    helios_status status;

    for (size_t at = 8; at + 8 <= VALUE; at += 8) { /* nothing that compresses */
        word = word * UINT64_C(6364136223846793005) + 1442695040888963407;
        memcpy(value + at, &word, 8);
    }
    memcpy(value, &number, 8);
    status = helios_put(db, NULL, key_of(index, key), (helios_slice){value, VALUE});
    if (status == HELIOS_OK)
        counters[index] = number;
    return status;
}

static void check_all(helios_db *db)
{
    helios_buf value = {0};
    char key[16];

    for (unsigned i = 0; i < KEYS; i++) {
        helios_status status = helios_get(db, NULL, key_of(i, key), &value);

        if (counters[i] == 0) {
            assert(status == HELIOS_NOT_FOUND);
            continue;
        }
        MUST(status);
        assert(value.size == VALUE && memcmp(value.data, &counters[i], 8) == 0);
    }
    helios_buf_free(&value);
}

static helios_options options_of(void)
{
    helios_options options = HELIOS_OPTIONS_INIT;

    options.memtable_bytes = 256 << 10;
    options.block_cache_bytes = 256 << 10;
    options.history_retention = 0;
    options.background_threads = 2;
    return options;
}

/* ---- a full disk ---- */

/* Takes all room but about `left` bytes. */
static void ballast_make(const char *path, size_t left)
{
    static char bytes[64 << 10];
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    off_t size = 0;
    ssize_t written;

    assert(fd >= 0);
    memset(bytes, 'b', sizeof(bytes));
    while ((written = write(fd, bytes, sizeof(bytes))) > 0)
        size += written;
    assert(errno == ENOSPC);
    if (size > (off_t)left)
        assert(ftruncate(fd, size - (off_t)left) == 0);
    close(fd);
}

static void sleep_ms(long ms)
{
    struct timespec time = {0, ms * 1000000};

    nanosleep(&time, NULL);
}

static void fill_and_free(helios_db *db, const char *ballast, int cycle)
{
    unsigned refused = 0, tries = 0;
    helios_status status;

    ballast_make(ballast, (size_t)(cycle % 4) * (256 << 10));
    for (unsigned i = 0; i < 20000 && refused < 10; i++) {
        status = put(db, i % KEYS);
        assert(status == HELIOS_OK || status == HELIOS_NO_SPACE);
        refused += status != HELIOS_OK;
    }
    assert(refused > 0);
    check_all(db);
    assert(unlink(ballast) == 0);
    while ((status = put(db, tries % KEYS)) != HELIOS_OK) {
        assert(status == HELIOS_NO_SPACE && ++tries < 1000);
        sleep_ms(10);
    }
    check_all(db);
}

static void fill_in_cycles(const char *directory, int cycles)
{
    helios_options options = options_of();
    helios_db *db = NULL;
    char path[128], ballast[128];

    snprintf(path, sizeof(path), "%s/db", directory);
    snprintf(ballast, sizeof(ballast), "%s/ballast", directory);
    MUST(helios_open(path, &options, &db));
    for (unsigned i = 0; i < KEYS; i++)
        MUST(put(db, i));
    for (int cycle = 0; cycle < cycles; cycle++) {
        fill_and_free(db, ballast, cycle);
        if (cycle % 3 == 2) {
            MUST(helios_verify(db, NULL, NULL));
            MUST(helios_close(db));
            MUST(helios_open(path, &options, &db));
            check_all(db);
        }
    }
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_close(db));
}

/* In a process of its own, whose mounts go with it. False: it may not. */
static bool mount_small(const char *directory)
{
    char size[32];

    snprintf(size, sizeof(size), "size=%dm", TMPFS_MIB);
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", directory, "tmpfs", 0, size) == 0;
}

/* ---- few descriptors ---- */

/* More tables than descriptors: those in use are closed and opened again. */
static void few_descriptors(const char *directory)
{
    const struct rlimit few = {DESCRIPTORS, DESCRIPTORS};
    helios_options options = options_of();
    helios_db *db = NULL;
    char path[128];

    options.memtable_bytes = 64 << 10; /* small tables, many of them */
    snprintf(path, sizeof(path), "%s/few", directory);
    MUST(helios_open(path, &options, &db));
    memset(counters, 0, sizeof(counters));
    for (unsigned i = 0; i < 20 * KEYS; i++)
        MUST(put(db, i * 7 % KEYS));
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    MUST(helios_close(db));
    assert(setrlimit(RLIMIT_NOFILE, &few) == 0);
    MUST(helios_open(path, &options, &db));
    check_all(db);
    for (unsigned i = 0; i < 5 * KEYS; i++)
        MUST(put(db, i * 11 % KEYS));
    check_all(db);
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_close(db));
    MUST(helios_destroy(path));
}

/* ---- both ---- */

static void run_in_child(void (*body)(const char *, int), const char *directory, int argument)
{
    int status;
    pid_t child;

    fflush(NULL);
    child = fork();
    assert(child >= 0);
    if (child == 0) {
        body(directory, argument);
        fflush(NULL);
        _exit(0);
    }
    assert(waitpid(child, &status, 0) == child);
    assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void full_child(const char *directory, int cycles)
{
    if (!mount_small(directory)) {
        printf("a file system cannot be mounted here: not tried\n");
        return;
    }
    fill_in_cycles(directory, cycles);
    printf("tried: %d times a full disk\n", cycles);
}

static void few_child(const char *directory, int unused)
{
    (void)unused;
    few_descriptors(directory);
    printf("tried: 1 processes with few descriptors\n");
}

int main(int argc, char **argv)
{
    char directory[] = "/tmp/helios-limits-XXXXXX";

    assert(mkdtemp(directory));
    run_in_child(full_child, directory, argc > 1 ? atoi(argv[1]) : CYCLES_DEFAULT);
    run_in_child(few_child, directory, 0);
    assert(rmdir(directory) == 0);
    return 0;
}
