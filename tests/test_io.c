/* test_io.c - one suite over the posix, memory and faulty file systems; then what only some of them have:
 * idle descriptors, plans of failures, power cuts. */
#undef NDEBUG
#include "base/buf.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/thread.h"
#include "io/io.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct io_fs *fs;
static char root[256]; /* the directory in which the suite works */

/* A path below root; good until four more were made. */
static const char *at(const char *name)
{
    static __thread char paths[4][512];
    static __thread int next;

    next = (next + 1) % 4;
    snprintf(paths[next], sizeof(paths[next]), "%s/%s", root, name);
    return paths[next];
}

static struct io_file *open_file(const char *name, unsigned flags)
{
    struct io_file *file;

    assert(io_open(fs, at(name), flags, &file) == HELIOS_OK);
    return file;
}

static void put(const char *name, const char *text)
{
    struct io_file *file = open_file(name, IO_WRITE | IO_CREATE | IO_TRUNCATE);

    assert(io_write(file, 0, text, strlen(text)) == HELIOS_OK);
    assert(io_sync(file) == HELIOS_OK);
    io_close(file);
}

/* Whether the file is there and reads as text. */
static bool holds(const char *name, const char *text)
{
    struct io_file *file;
    char data[256];
    size_t got;

    if (io_open(fs, at(name), IO_READ, &file) != HELIOS_OK)
        return false;
    assert(io_read_some(file, 0, data, sizeof(data), &got) == HELIOS_OK);
    io_close(file);
    return got == strlen(text) && memcmp(data, text, got) == 0;
}

static bool absent(const char *name)
{
    struct io_stat stat;

    return io_stat(fs, at(name), &stat) == HELIOS_NOT_FOUND;
}

/* ---- the suite ---- */

static void opening(void)
{
    struct io_file *file, *other;
    struct io_stat stat;

    assert(io_open(fs, at("none"), IO_READ, &file) == HELIOS_NOT_FOUND);
    assert(strstr(helios_last_error(), "none"));
    assert(io_open(fs, at("none/below"), IO_WRITE | IO_CREATE, &file) == HELIOS_NOT_FOUND);
    file = open_file("new", IO_WRITE | IO_CREATE | IO_EXCLUSIVE);
    assert(strcmp(io_path(file), at("new")) == 0);
    assert(io_open(fs, at("new"), IO_WRITE | IO_CREATE | IO_EXCLUSIVE, &other) == HELIOS_EXISTS);
    io_close(file);
    assert(io_make_directory(fs, at("dir")) == HELIOS_OK);
    assert(io_open(fs, at("dir"), IO_READ, &file) == HELIOS_IO);
    assert(io_open(fs, at("new/below"), IO_READ, &file) == HELIOS_IO);
    assert(io_stat(fs, at("dir"), &stat) == HELIOS_OK && stat.is_directory && !stat.is_regular);
    put("new", "12345");
    assert(io_stat(fs, at("new"), &stat) == HELIOS_OK && !stat.is_directory && stat.is_regular &&
           stat.size == 5);
    file = open_file("new", IO_WRITE | IO_TRUNCATE);
    io_close(file);
    assert(holds("new", ""));
    io_close(NULL);
    io_unlock(NULL);
    assert(io_remove_directory(fs, at("dir")) == HELIOS_OK);
    assert(io_remove(fs, at("new")) == HELIOS_OK);
}

static void reading_and_writing(void)
{
    struct io_file *file = open_file("file", IO_WRITE | IO_CREATE), *reader;
    char data[16];
    size_t got;
    uint64_t size;

    assert(io_write(file, 10, "abcde", 5) == HELIOS_OK); /* a hole reads as zero */
    assert(io_size(file, &size) == HELIOS_OK && size == 15);
    assert(io_read(file, 0, data, 15) == HELIOS_OK);
    assert(memcmp(data, "\0\0\0\0\0\0\0\0\0\0abcde", 15) == 0);
    assert(io_read_some(file, 12, data, 16, &got) == HELIOS_OK && got == 3);
    assert(io_read_some(file, 100, data, 16, &got) == HELIOS_OK && got == 0);
    assert(io_read(file, 12, data, 4) == HELIOS_CORRUPT);
    assert(strstr(helios_last_error(), "ends at 15, 4 bytes wanted at 12"));
    assert(io_resize(file, 12) == HELIOS_OK);
    assert(io_resize(file, 14) == HELIOS_OK);
    assert(io_read(file, 10, data, 4) == HELIOS_OK && memcmp(data, "ab\0\0", 4) == 0);
    assert(io_write(file, 14, NULL, 0) == HELIOS_OK);
    io_prefetch(file, 0, 14);
    io_write_back(file, 0, 14);
    assert(io_sync(file) == HELIOS_OK);
    reader = open_file("file", IO_READ);
    assert(io_write(reader, 0, "x", 1) == HELIOS_IO);
    assert(io_remove(fs, at("file")) == HELIOS_OK); /* those who have it open still have it */
    assert(io_read(reader, 10, data, 2) == HELIOS_OK && memcmp(data, "ab", 2) == 0);
    io_close(reader);
    io_close(file);
    assert(absent("file"));
}

/* The same operations on a file and on an array. */
static void random_content(uint64_t seed)
{
    enum { SPACE = 200000 };
    struct io_file *file = open_file("random", IO_WRITE | IO_CREATE | IO_TRUNCATE);
    unsigned char *model = calloc(1, SPACE), *data = malloc(SPACE);
    uint64_t size = 0, found;
    struct random rng;

    random_seed(&rng, seed);
    for (int step = 0; step < 400; step++) {
        uint64_t offset = random_below(&rng, SPACE), length = random_below(&rng, SPACE - offset);
        size_t got;

        if (random_below(&rng, 3) == 0)
            length = length % 100;
        switch (random_below(&rng, 4)) {
        case 0:
            memset(model + offset, step, length);
            memset(data, step, length);
            assert(io_write(file, offset, data, length) == HELIOS_OK);
            if (length && offset + length > size)
                size = offset + length;
            break;
        case 1:
            if (random_below(&rng, 4))
                break;
            assert(io_resize(file, offset) == HELIOS_OK);
            memset(model + offset, 0, SPACE - offset);
            size = offset;
            break;
        default:
            assert(io_read_some(file, offset, data, length, &got) == HELIOS_OK);
            assert(got == (offset >= size ? 0 : size - offset < length ? size - offset : length));
            assert(memcmp(data, model + offset, got) == 0);
        }
        assert(io_size(file, &found) == HELIOS_OK && found == size);
    }
    io_close(file);
    assert(io_remove(fs, at("random")) == HELIOS_OK);
    free(model);
    free(data);
}

static helios_status collect_name(void *arg, const char *name)
{
    helios_buf *names = arg;

    return buf_printf(names, "%s;", name);
}

static helios_status stop_at_first(void *arg, const char *name)
{
    ++*(int *)arg;
    return fail(HELIOS_LIMIT, "enough");
}

static helios_status remove_each(void *arg, const char *name)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", (const char *)arg, name);
    return io_remove(fs, path);
}

static void naming(void)
{
    helios_buf names = {0};
    struct io_file *file;
    int calls = 0;

    assert(io_make_directory(fs, at("d")) == HELIOS_OK);
    assert(io_make_directory(fs, at("d")) == HELIOS_EXISTS);
    put("d/one", "1");
    assert(io_link(fs, at("d/one"), at("d/two")) == HELIOS_OK);
    assert(io_link(fs, at("d/one"), at("d/two")) == HELIOS_EXISTS);
    assert(io_link(fs, at("d/none"), at("d/three")) == HELIOS_NOT_FOUND);
    file = open_file("d/one", IO_WRITE); /* one file, two names */
    assert(io_write(file, 1, "!", 1) == HELIOS_OK);
    io_close(file);
    assert(holds("d/two", "1!"));
    assert(io_rename(fs, at("d/one"), at("d/two")) == HELIOS_OK); /* one file already: both stay */
    assert(holds("d/one", "1!"));
    put("d/three", "3");
    assert(io_rename(fs, at("d/three"), at("d/two")) == HELIOS_OK);
    assert(holds("d/two", "3") && holds("d/one", "1!") && absent("d/three"));
    assert(io_rename(fs, at("d/none"), at("d/two")) == HELIOS_NOT_FOUND);
    assert(io_rename(fs, at("d/one"), at("one")) == HELIOS_OK);
    assert(io_rename(fs, at("one"), at("d")) == HELIOS_IO);
    assert(io_rename(fs, at("one"), at("d/one")) == HELIOS_OK);
    assert(io_list(fs, at("d"), collect_name, &names) == HELIOS_OK);
    assert(names.size == 8 && strstr(names.data, "one;") && strstr(names.data, "two;"));
    assert(io_list(fs, at("d"), stop_at_first, &calls) == HELIOS_LIMIT && calls == 1);
    assert(io_list(fs, at("none"), collect_name, &names) == HELIOS_NOT_FOUND);
    assert(io_sync_directory(fs, at("d")) == HELIOS_OK);
    assert(io_sync_directory(fs, at("none")) == HELIOS_NOT_FOUND);
    assert(io_remove_directory(fs, at("d")) == HELIOS_IO); /* not empty */
    assert(io_remove(fs, at("d")) == HELIOS_IO);
    assert(io_remove_directory(fs, at("d/one")) == HELIOS_IO);
    assert(io_list(fs, at("d"), remove_each, (void *)(uintptr_t)at("d")) == HELIOS_OK);
    assert(io_remove_directory(fs, at("d")) == HELIOS_OK);
    assert(io_remove(fs, at("d/one")) == HELIOS_NOT_FOUND);
    helios_buf_free(&names);
}

static void mapping(void)
{
    struct io_file *file = open_file("map", IO_WRITE | IO_CREATE);
    void *bytes;
    char data[4];

    assert(io_resize(file, 65536) == HELIOS_OK);
    if (io_map_supported(file)) {
        assert(io_map(file, 65536 + 4096, &bytes) == HELIOS_INVALID);
        assert(io_map(file, 100, &bytes) == HELIOS_INVALID);
        assert(io_map(file, 65536, &bytes) == HELIOS_OK);
        io_map_populate(file, bytes, 4096, 60000);
        memcpy((char *)bytes + 5000, "abcd", 4);
        assert(io_read(file, 5000, data, 4) == HELIOS_OK && memcmp(data, "abcd", 4) == 0);
        assert(io_write(file, 6000, "efgh", 4) == HELIOS_OK);
        assert(memcmp((char *)bytes + 6000, "efgh", 4) == 0);
        assert(io_sync(file) == HELIOS_OK);
        io_unmap(file, bytes, 65536);
        assert(io_read(file, 5000, data, 4) == HELIOS_OK && memcmp(data, "abcd", 4) == 0);
    }
    io_close(file);
    assert(io_remove(fs, at("map")) == HELIOS_OK);
}

/* Room reads as zeros and what was written before stays; pages that a mapping gave back come again as they were. */
static void reserving(void)
{
    static const char zeros[4096];
    struct io_file *file = open_file("room", IO_WRITE | IO_CREATE);
    bool reserved = false;
    uint64_t size;
    void *bytes;
    char data[4096];

    assert(io_write(file, 10, "abcd", 4) == HELIOS_OK);
    assert(io_reserve(file, 65536, &reserved) == HELIOS_OK);
    if (!reserved)
        assert(io_resize(file, 65536) == HELIOS_OK);
    assert(io_size(file, &size) == HELIOS_OK && size == 65536);
    assert(io_read(file, 0, data, 4096) == HELIOS_OK && memcmp(data + 10, "abcd", 4) == 0);
    assert(io_read(file, 61440, data, 4096) == HELIOS_OK && memcmp(data, zeros, 4096) == 0);
    if (io_map_supported(file)) {
        assert(io_map(file, 65536, &bytes) == HELIOS_OK);
        memcpy((char *)bytes + 5000, "efgh", 4);
        io_map_unload(file, bytes, 65536);
        assert(memcmp((char *)bytes + 5000, "efgh", 4) == 0);
        memcpy((char *)bytes + 5004, "ijkl", 4);
        io_unmap(file, bytes, 65536);
    }
    io_write_back(file, 0, 65536);
    assert(io_sync(file) == HELIOS_OK);
    assert(io_read(file, 5000, data, 8) == HELIOS_OK);
    assert(!io_map_supported(file) || memcmp(data, "efghijkl", 8) == 0);
    io_close(file);
    assert(io_remove(fs, at("room")) == HELIOS_OK);
}

static void locking(void)
{
    struct io_lock *one, *two;

    assert(io_lock(fs, at("lock"), true, &one) == HELIOS_NOT_FOUND);
    put("lock", "");
    assert(io_lock(fs, at("lock"), true, &one) == HELIOS_OK);
    assert(io_lock(fs, at("lock"), true, &two) == HELIOS_BUSY);
    assert(io_lock(fs, at("lock"), false, &two) == HELIOS_BUSY);
    assert(holds("lock", "")); /* closing another descriptor of the file must not let go */
    assert(io_lock(fs, at("lock"), true, &two) == HELIOS_BUSY);
    io_unlock(one);
    assert(io_lock(fs, at("lock"), false, &one) == HELIOS_OK);
    assert(io_lock(fs, at("lock"), false, &two) == HELIOS_OK);
    io_unlock(one);
    assert(io_lock(fs, at("lock"), true, &one) == HELIOS_BUSY);
    io_unlock(two);
    assert(io_lock(fs, at("lock"), true, &one) == HELIOS_OK);
    io_unlock(one);
    assert(io_remove(fs, at("lock")) == HELIOS_OK);
}

static void direct(void)
{
    struct io_file *file = open_file("direct", IO_WRITE | IO_CREATE | IO_EXCLUSIVE | IO_DIRECT);
    unsigned char *data = mem_aligned(IO_DIRECT_ALIGN, 3 * IO_DIRECT_ALIGN);
    size_t got;

    memset(data, 7, 2 * IO_DIRECT_ALIGN);
    assert(io_write(file, 0, data, 2 * IO_DIRECT_ALIGN) == HELIOS_OK);
    assert(io_resize(file, IO_DIRECT_ALIGN + 100) == HELIOS_OK);
    assert(io_read_some(file, 0, data, 3 * IO_DIRECT_ALIGN, &got) == HELIOS_OK);
    assert(got == IO_DIRECT_ALIGN + 100 && data[got - 1] == 7);
    io_close(file);
    assert(io_remove(fs, at("direct")) == HELIOS_OK);
    mem_free(data);
}

static void clocks_and_counts(void)
{
    struct io_counts before, after;
    unsigned char one[20] = {0}, two[20] = {0};
    uint64_t bytes;

    assert(io_time(fs) > 1000000);
    bytes = io_monotonic(fs);
    assert(io_monotonic(fs) >= bytes);
    assert(io_random(fs, one, 20) == HELIOS_OK && io_random(fs, two, 20) == HELIOS_OK);
    assert(memcmp(one, two, 20) != 0);
    assert(io_free_space(fs, root, &bytes) == HELIOS_OK && bytes > 0);
    io_get_counts(fs, &before);
    put("counts", "abc");
    assert(holds("counts", "abc"));
    io_get_counts(fs, &after);
    assert(after.read_bytes == before.read_bytes + 3);
    assert(after.written_bytes == before.written_bytes + 3);
    assert(after.syncs == before.syncs + 1);
    assert(io_remove(fs, at("counts")) == HELIOS_OK);
}

enum { THREADS = 4, SLICE_BYTES = 1000, ROUNDS = 50 };

struct sharing {
    struct io_file *file;
    int number;
};

/* Each thread has its own range of one file, which grows meanwhile, and tables of its own. */
static void *share(void *arg)
{
    struct sharing *s = arg;
    unsigned char data[SLICE_BYTES], back[SLICE_BYTES];
    char name[32];

    snprintf(name, sizeof(name), "own%d", s->number);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t offset = (uint64_t)(round * THREADS + s->number) * SLICE_BYTES;

        memset(data, round * THREADS + s->number, sizeof(data));
        assert(io_write(s->file, offset, data, sizeof(data)) == HELIOS_OK);
        assert(io_read(s->file, offset, back, sizeof(back)) == HELIOS_OK);
        assert(memcmp(data, back, sizeof(data)) == 0);
        put(name, "mine");
        assert(holds(name, "mine"));
        assert(io_remove(fs, at(name)) == HELIOS_OK);
    }
    return NULL;
}

static void sharing(void)
{
    struct io_file *file = open_file("shared", IO_WRITE | IO_CREATE);
    struct sharing each[THREADS];
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++) {
        each[i] = (struct sharing){file, i};
        assert(thread_start(&threads[i], "share", share, &each[i]) == HELIOS_OK);
    }
    for (int i = 0; i < THREADS; i++)
        thread_join(threads[i]);
    io_close(file);
    assert(io_remove(fs, at("shared")) == HELIOS_OK);
}

static void suite(const char *name)
{
    printf("suite over %s\n", name);
    opening();
    reading_and_writing();
    for (uint64_t seed = 1; seed <= 3; seed++)
        random_content(seed);
    naming();
    mapping();
    reserving();
    locking();
    direct();
    clocks_and_counts();
    sharing();
}

/* ---- posix: more tables than descriptors ---- */

enum { TABLES = 200 };
static struct io_file *tables[TABLES];

static void *read_tables(void *arg)
{
    struct random rng;
    uint32_t number;

    random_seed(&rng, (uint64_t)(uintptr_t)arg);
    for (int i = 0; i < 3000; i++) {
        uint64_t which = random_below(&rng, TABLES);

        assert(io_read(tables[which], 0, &number, sizeof(number)) == HELIOS_OK);
        assert(number == which);
    }
    return NULL;
}

static void idle_descriptors(void)
{
    struct rlimit old, low;
    pthread_t threads[THREADS];
    int taken[64], count = 0, fd;
    char name[32];

    assert(getrlimit(RLIMIT_NOFILE, &old) == 0);
    low = old;
    low.rlim_cur = 64;
    assert(setrlimit(RLIMIT_NOFILE, &low) == 0);
    for (uint32_t i = 0; i < TABLES; i++) {
        struct io_file *file;

        snprintf(name, sizeof(name), "t%u", i);
        file = open_file(name, IO_WRITE | IO_CREATE);
        assert(io_write(file, 0, &i, sizeof(i)) == HELIOS_OK);
        io_close(file);
        tables[i] = open_file(name, IO_READ | IO_RANDOM);
    }
    for (int i = 0; i < THREADS; i++)
        assert(thread_start(&threads[i], "read", read_tables, (void *)(uintptr_t)(i + 1)) == HELIOS_OK);
    for (int i = 0; i < THREADS; i++)
        thread_join(threads[i]);
    while (count < 60 && (fd = dup(0)) >= 0) /* the host takes the rest */
        taken[count++] = fd;
    put("one", "more");
    while (count > 0)
        close(taken[--count]);
    assert(io_remove(fs, at("t0")) == HELIOS_OK);
    put("t0", "an impostor");
    for (uint32_t i = 1; i < TABLES; i++) { /* by now t0 is closed */
        uint32_t number;

        assert(io_read(tables[i], 0, &number, sizeof(number)) == HELIOS_OK);
    }
    assert(io_read(tables[0], 0, name, 4) == HELIOS_IO);
    assert(strstr(helios_last_error(), "another file"));
    assert(io_remove(fs, at("t0")) == HELIOS_OK);
    assert(io_read(tables[0], 0, name, 4) == HELIOS_IO);
    put("t0", "");
    for (uint32_t i = 0; i < TABLES; i++) {
        snprintf(name, sizeof(name), "t%u", i);
        io_close(tables[i]);
        assert(io_remove(fs, at(name)) == HELIOS_OK);
    }
    assert(io_remove(fs, at("one")) == HELIOS_OK);
    assert(setrlimit(RLIMIT_NOFILE, &old) == 0);
}

static void posix_refusals(void)
{
    struct io_file *file;

    assert(mkfifo(at("pipe"), 0600) == 0);
    assert(io_open(fs, at("pipe"), IO_READ, &file) == HELIOS_IO);
    assert(strstr(helios_last_error(), "not a regular file"));
    assert(io_remove(fs, at("pipe")) == HELIOS_OK);
    put("target", "x");
    assert(symlink(at("target"), at("symlink")) == 0);
    assert(io_open(fs, at("symlink"), IO_READ, &file) == HELIOS_IO);
    assert(io_remove(fs, at("symlink")) == HELIOS_OK);
    assert(io_remove(fs, at("target")) == HELIOS_OK);
}

static void on_posix(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(root, sizeof(root), "%s/helios-test-io-XXXXXX", base ? base : "/tmp");
    assert(mkdtemp(root));
    fs = io_posix();
    suite("posix");
    idle_descriptors();
    posix_refusals();
    assert(io_remove_directory(fs, root) == HELIOS_OK);
    io_free(fs);
}

/* ---- plans of failures ---- */

static void plans(void)
{
    struct io_fault fault = {.fail_at = 2, .mask = 1u << IO_CALL_WRITE, .error_number = ENOSPC};
    struct io_file *file = open_file("file", IO_WRITE | IO_CREATE), *other;
    uint64_t size;

    io_faulty_plan(fs, &fault);
    assert(io_write(file, 0, "a", 1) == HELIOS_OK);
    assert(io_write(file, 1, "b", 1) == HELIOS_NO_SPACE);
    assert(io_write(file, 1, "b", 1) == HELIOS_OK);
    fault = (struct io_fault){.fail_at = 1, .forever = true, .error_number = EIO, .path_contains = "other"};
    io_faulty_plan(fs, &fault);
    assert(io_size(file, &size) == HELIOS_OK && size == 2);
    assert(io_open(fs, at("other"), IO_WRITE | IO_CREATE, &other) == HELIOS_IO);
    assert(io_rename(fs, at("file"), at("other")) == HELIOS_IO);
    io_faulty_plan(fs, NULL);
    fault = (struct io_fault){
        .fail_at = 1, .mask = 1u << IO_CALL_SYNC, .error_number = EIO, .sync_drops_pages = true};
    assert(io_sync(file) == HELIOS_OK);
    assert(io_write(file, 0, "xyz", 3) == HELIOS_OK);
    io_faulty_plan(fs, &fault);
    assert(io_sync(file) == HELIOS_IO);
    io_faulty_plan(fs, NULL);
    assert(io_size(file, &size) == HELIOS_OK && size == 3);
    io_close(file);
    file = open_file("file", IO_READ);
    {
        char data[3];

        assert(io_read(file, 0, data, 3) == HELIOS_OK && memcmp(data, "ab\0", 3) == 0);
    }
    io_close(file);
    assert(io_remove(fs, at("file")) == HELIOS_OK);
}

static void stopping(void)
{
    struct io_file *file = open_file("file", IO_WRITE | IO_CREATE);
    struct io_stat stat;
    uint64_t changes;
    void *bytes;

    assert(io_resize(file, 4096) == HELIOS_OK);
    assert(io_sync(file) == HELIOS_OK && io_sync_directory(fs, root) == HELIOS_OK);
    assert(io_map(file, 4096, &bytes) == HELIOS_OK);
    changes = io_faulty_changes(fs);
    io_faulty_stop_at(fs, 2);
    assert(io_write(file, 0, "one", 3) == HELIOS_OK);
    assert(!io_faulty_stopped(fs));
    assert(io_sync(file) == HELIOS_IO);
    assert(io_faulty_stopped(fs) && io_faulty_changes(fs) == changes + 2);
    assert(io_stat(fs, at("file"), &stat) == HELIOS_IO);
    memcpy(bytes, "two", 3);
    io_unmap(file, bytes, 4096);
    io_close(file);
    io_faulty_power_cut(fs, IO_DAMAGE_DROP_ALL, 1);
    assert(!io_faulty_stopped(fs));
    file = open_file("file", IO_READ);
    {
        char data[3];

        assert(io_read(file, 0, data, 3) == HELIOS_OK && memcmp(data, "\0\0\0", 3) == 0);
    }
    io_close(file);
    assert(io_remove(fs, at("file")) == HELIOS_OK);
    assert(io_sync_directory(fs, root) == HELIOS_OK);
}

static void space_and_time(void)
{
    struct io_file *file = open_file("file", IO_WRITE | IO_CREATE);
    uint64_t bytes;
    char data[600] = {1};

    io_faulty_set_space(fs, 1000);
    assert(io_write(file, 0, data, 600) == HELIOS_OK);
    assert(io_write(file, 600, data, 600) == HELIOS_NO_SPACE);
    assert(io_write(file, 300, data, 600) == HELIOS_OK);
    assert(io_free_space(fs, root, &bytes) == HELIOS_OK && bytes == 100);
    assert(io_remove(fs, at("file")) == HELIOS_OK);
    assert(io_free_space(fs, root, &bytes) == HELIOS_OK && bytes == 100); /* open still */
    io_close(file);
    assert(io_free_space(fs, root, &bytes) == HELIOS_OK && bytes == 1000);
    io_faulty_set_space(fs, 0);
    io_faulty_set_time(fs, 5000, 70);
    assert(io_time(fs) == 5000 && io_monotonic(fs) == 70);
    io_faulty_advance(fs, 30);
    assert(io_time(fs) == 5030 && io_monotonic(fs) == 100);
}

/* ---- power cuts: names ---- */

static void start_again(void)
{
    io_free(fs);
    snprintf(root, sizeof(root), "db");
    assert(io_faulty_new(1, &fs) == HELIOS_OK);
    assert(io_make_directory(fs, "db") == HELIOS_OK);
    assert(io_sync_directory(fs, "/") == HELIOS_OK);
}

static void cut_names(void)
{
    start_again();
    put("synced", "1");
    assert(io_sync_directory(fs, root) == HELIOS_OK);
    put("unsynced", "2"); /* its content is durable, its name is not */
    assert(io_link(fs, at("synced"), at("link")) == HELIOS_OK);
    io_faulty_power_cut(fs, IO_DAMAGE_DROP_ALL, 1);
    assert(holds("synced", "1") && absent("unsynced") && absent("link"));

    put("tmp", "new");
    assert(io_rename(fs, at("tmp"), at("synced")) == HELIOS_OK);
    io_faulty_power_cut(fs, IO_DAMAGE_DROP_ALL, 1);
    assert(holds("synced", "1") && absent("tmp"));

    put("tmp", "new");
    assert(io_rename(fs, at("tmp"), at("synced")) == HELIOS_OK);
    assert(io_sync_directory(fs, root) == HELIOS_OK);
    assert(io_remove(fs, at("synced")) == HELIOS_OK);
    io_faulty_power_cut(fs, IO_DAMAGE_DATA_ONLY, 1);
    assert(holds("synced", "new") && absent("tmp"));

    assert(io_remove(fs, at("synced")) == HELIOS_OK);
    io_faulty_power_cut(fs, IO_DAMAGE_NAMES_ONLY, 1);
    assert(absent("synced"));
}

/* A rename between directories is durable in both or in neither, whichever of them is synced. */
static void cut_rename_across(void)
{
    for (int which = 0; which < 3; which++) {
        start_again();
        assert(io_make_directory(fs, at("a")) == HELIOS_OK);
        assert(io_make_directory(fs, at("b")) == HELIOS_OK);
        assert(io_sync_directory(fs, root) == HELIOS_OK);
        put("a/x", "x"); /* whose name was never synced */
        assert(io_rename(fs, at("a/x"), at("b/y")) == HELIOS_OK);
        if (which)
            assert(io_sync_directory(fs, at(which == 1 ? "a" : "b")) == HELIOS_OK);
        io_faulty_power_cut(fs, IO_DAMAGE_DROP_ALL, 1);
        assert(absent("a/x"));
        assert(which ? holds("b/y", "x") : absent("b/y"));
    }
}

/* Whatever survives, a rename happened or did not, and a name goes through its states in order. */
static void cut_renames_at_random(void)
{
    int old = 0, new = 0, both_files = 0;

    for (uint64_t seed = 1; seed <= 60; seed++) {
        bool has_a, has_b;

        start_again();
        put("current", "1");
        assert(io_sync_directory(fs, root) == HELIOS_OK);
        put("tmp", "2");
        assert(io_rename(fs, at("tmp"), at("current")) == HELIOS_OK);
        put("other", "3");
        io_faulty_power_cut(fs, seed % 2 ? IO_DAMAGE_SECTORS : IO_DAMAGE_PREFIX, seed);
        has_a = holds("current", "1");
        has_b = holds("current", "2");
        assert(has_a != has_b);
        if (has_b)
            assert(absent("tmp"));
        old += has_a;
        new += has_b;
        both_files += !absent("tmp") && has_a;
    }
    assert(old > 5 && new > 5 && both_files > 5);
}

/* ---- power cuts: content ---- */

enum { SECTOR = 512, SECTORS = 40 };

/* Sector s of generation g is filled with a byte of its own; generation 0 is zeros. */
static unsigned char fill(int generation, int sector)
{
    return (unsigned char)(generation ? generation * 50 + sector : 0);
}

static void write_sectors(struct io_file *file, int generation, int from, int to)
{
    for (int s = from; s < to; s++) {
        unsigned char data[SECTOR];

        memset(data, fill(generation, s), SECTOR);
        assert(io_write(file, (uint64_t)s * SECTOR, data, SECTOR) == HELIOS_OK);
    }
}

/* Which generation a sector of the file is of; -1: none, it is noise. */
static int generation_of(const unsigned char *data, int sector)
{
    for (int g = 0; g < 3; g++) {
        bool all = true;

        for (int i = 0; i < SECTOR && all; i++)
            all = data[i] == fill(g, sector);
        if (all)
            return g;
    }
    return -1;
}

/* 20 sectors of generation 1 are synced; then 10 to 40 are written by generation 2. */
static uint64_t cut_file(enum io_damage damage, uint64_t seed, bool mapped, int generations[SECTORS])
{
    struct io_file *file;
    unsigned char *bytes;
    void *mapping_at;
    uint64_t size;

    start_again();
    file = open_file("f", IO_WRITE | IO_CREATE);
    write_sectors(file, 1, 0, 20);
    assert(io_sync(file) == HELIOS_OK && io_sync_directory(fs, root) == HELIOS_OK);
    if (mapped) {
        assert(io_resize(file, SECTORS * SECTOR) == HELIOS_OK);
        assert(io_map(file, SECTORS * SECTOR, &mapping_at) == HELIOS_OK);
        for (int s = 10; s < SECTORS; s++)
            memset((char *)mapping_at + s * SECTOR, fill(2, s), SECTOR);
        io_unmap(file, mapping_at, SECTORS * SECTOR);
    } else {
        write_sectors(file, 2, 10, SECTORS);
    }
    io_close(file);
    io_faulty_power_cut(fs, damage, seed);
    bytes = io_memory_bytes(fs, at("f"), &size);
    assert(bytes && size <= SECTORS * SECTOR && size >= 20 * SECTOR && size % SECTOR == 0);
    for (int s = 0; s < (int)(size / SECTOR); s++)
        generations[s] = generation_of(bytes + s * SECTOR, s);
    for (int s = 0; s < 10; s++)
        assert(generations[s] == 1);
    return size;
}

static void cut_content(bool mapped)
{
    int g[SECTORS], again[SECTORS], mixed = 0, noise = 0;

    assert(cut_file(IO_DAMAGE_DROP_ALL, 1, mapped, g) == 20 * SECTOR && g[19] == 1);
    assert(cut_file(IO_DAMAGE_NAMES_ONLY, 1, mapped, g) == 20 * SECTOR && g[19] == 1);
    assert(cut_file(IO_DAMAGE_KEEP_ALL, 1, mapped, g) == SECTORS * SECTOR && g[10] == 2 && g[39] == 2);
    assert(cut_file(IO_DAMAGE_DATA_ONLY, 1, mapped, g) == SECTORS * SECTOR && g[10] == 2 && g[39] == 2);
    for (uint64_t seed = 1; seed <= 30; seed++) {
        uint64_t size = cut_file(IO_DAMAGE_SECTORS, seed, mapped, g);

        assert(size == cut_file(IO_DAMAGE_SECTORS, seed, mapped, again));
        assert(memcmp(g, again, size / SECTOR * sizeof(*g)) == 0);
        for (int s = 11; s < 20; s++)
            mixed += g[s] != g[s - 1];
        size = cut_file(IO_DAMAGE_PREFIX, seed, mapped, g);
        for (int s = 11; s < (int)(size / SECTOR); s++)
            assert(g[s - 1] == 2 || g[s] != 2);
        size = cut_file(IO_DAMAGE_SUFFIX, seed, mapped, g);
        for (int s = 11; s < (int)(size / SECTOR); s++)
            assert(g[s - 1] != 2 || g[s] == 2);
        size = cut_file(IO_DAMAGE_GARBAGE, seed, mapped, g);
        for (int s = 10; s < (int)(size / SECTOR); s++) {
            assert(g[s] != -1 || s >= 20);
            noise += g[s] == -1;
        }
    }
    assert(mixed > 30 && noise > 30);
}

/* After a cut everything that is there is durable: the next one takes nothing of it. */
static void cut_twice(void)
{
    int g[SECTORS];
    uint64_t size = cut_file(IO_DAMAGE_GARBAGE, 3, false, g), second;
    unsigned char *copy = mem_copy(io_memory_bytes(fs, at("f"), &second), size);

    assert(second == size);
    io_faulty_power_cut(fs, IO_DAMAGE_DROP_ALL, 9);
    assert(memcmp(io_memory_bytes(fs, at("f"), &second), copy, size) == 0 && second == size);
    mem_free(copy);
}

/* A shorter file, not synced, may come back longer. */
static void cut_shrunk(void)
{
    struct io_file *file;

    start_again();
    put("f", "0123456789");
    assert(io_sync_directory(fs, root) == HELIOS_OK);
    file = open_file("f", IO_WRITE);
    assert(io_resize(file, 4) == HELIOS_OK);
    io_close(file);
    io_faulty_power_cut(fs, IO_DAMAGE_DROP_ALL, 1);
    assert(holds("f", "0123456789"));
    file = open_file("f", IO_WRITE);
    assert(io_resize(file, 4) == HELIOS_OK && io_sync(file) == HELIOS_OK);
    io_close(file);
    io_faulty_power_cut(fs, IO_DAMAGE_DROP_ALL, 1);
    assert(holds("f", "0123"));
}

/* Random operations on names and contents with failing allocations: a failure changes nothing, and
 * cuts still work. Compared with nothing but the assertions inside. */
static void cut_under_memory_failures(uint64_t seed)
{
    struct random rng;
    char from[16], to[16];

    start_again();
    random_seed(&rng, seed);
    for (int step = 0; step < 1500; step++) {
        struct io_file *file;
        uint64_t dice = random_below(&rng, 8);

        snprintf(from, sizeof(from), "n%d", (int)random_below(&rng, 12));
        snprintf(to, sizeof(to), "n%d", (int)random_below(&rng, 12));
        mem_fail_at(random_below(&rng, 3) == 0 ? 1 + random_below(&rng, 4) : 0, false);
        if (dice == 0 && io_rename(fs, at(from), at(to)) == HELIOS_OK && strcmp(from, to) != 0)
            assert(!absent(to));
        if (dice == 1 && io_remove(fs, at(from)) == HELIOS_OK)
            assert(absent(from));
        if (dice == 2 && io_link(fs, at(from), at(to)) == HELIOS_OK)
            assert(!absent(to));
        if (dice >= 3 && dice < 6 && io_open(fs, at(from), IO_WRITE | IO_CREATE, &file) == HELIOS_OK) {
            helios_status status = io_write(file, random_below(&rng, 20000), "abc", 3);

            assert(status == HELIOS_OK || status == HELIOS_NO_MEMORY);
            if (random_below(&rng, 2))
                assert(io_sync(file) == HELIOS_OK);
            io_close(file);
        }
        if (dice == 6)
            assert(io_sync_directory(fs, root) == HELIOS_OK);
        mem_fail_at(0, false);
        if (random_below(&rng, 50) == 0)
            io_faulty_power_cut(fs, (enum io_damage)random_below(&rng, IO_DAMAGE_COUNT), random_next(&rng));
    }
}

int main(void)
{
    on_posix();
    snprintf(root, sizeof(root), "/");
    assert(io_memory_new(&fs) == HELIOS_OK);
    suite("memory");
    io_free(fs);
    assert(io_faulty_new(1, &fs) == HELIOS_OK);
    suite("faulty");
    plans();
    stopping();
    space_and_time();
    cut_names();
    cut_rename_across();
    cut_renames_at_random();
    cut_content(false);
    cut_content(true);
    cut_twice();
    cut_shrunk();
    for (uint64_t seed = 1; seed <= 5; seed++) {
        printf("memory failures, seed %llu\n", (unsigned long long)seed);
        cut_under_memory_failures(seed);
    }
    io_free(fs);
    return 0;
}
