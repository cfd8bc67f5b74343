/* test_transfers.c - a system that transfers less than was asked for, or is interrupted, at any call: nothing but the time that
 * things take may change. The calls of io/posix.c are wrapped by the linker (--wrap, see meson.build).
 * Usage: test_transfers [seed] */
#undef NDEBUG
#include "base/random.h"
#include "helios/helios.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

enum { KEYS = 200, ROUNDS = 6, VALUE_MAX = 3000 };

static _Atomic uint64_t calls, shortened, interrupted;
static uint64_t seed;

/* What becomes of a call follows from the seed and how many came before; threads may come in any order. */
static uint64_t draw(void)
{
    struct random rng;

    random_seed(&rng, seed + atomic_fetch_add(&calls, 1));
    return random_next(&rng);
}

static bool interrupt(uint64_t drawn)
{
    if (drawn % 4 != 0)
        return false;
    atomic_fetch_add(&interrupted, 1);
    errno = EINTR;
    return true;
}

static size_t shorten(uint64_t drawn, size_t size)
{
    if (drawn % 3 != 0 || size < 2)
        return size;
    atomic_fetch_add(&shortened, 1);
    return 1 + (size_t)(drawn >> 8) % (size - 1);
}

ssize_t __real_pread64(int fd, void *data, size_t size, off_t offset);
ssize_t __real_pwrite64(int fd, const void *data, size_t size, off_t offset);
int __real_fdatasync(int fd);
int __real_fsync(int fd);
ssize_t __wrap_pread64(int fd, void *data, size_t size, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t offset);
int __wrap_fdatasync(int fd);
int __wrap_fsync(int fd);

ssize_t __wrap_pread64(int fd, void *data, size_t size, off_t offset)
{
    uint64_t drawn = draw();

    return interrupt(drawn) ? -1 : __real_pread64(fd, data, shorten(drawn, size), offset);
}
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t offset)
{
    uint64_t drawn = draw();

    return interrupt(drawn) ? -1 : __real_pwrite64(fd, data, shorten(drawn, size), offset);
}
int __wrap_fdatasync(int fd)
{
    return interrupt(draw()) ? -1 : __real_fdatasync(fd);
}
int __wrap_fsync(int fd)
{
    return interrupt(draw()) ? -1 : __real_fsync(fd);
}

static void must(helios_status status, int line)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "test_transfers.c:%d: seed %" PRIu64 ": %s: %s\n", line, seed, helios_status_name(status),
            helios_last_error());
    abort();
}
#define MUST(call) must(call, __LINE__)

static helios_slice value_of(uint64_t number, char out[VALUE_MAX])
{
    for (size_t at = 0; at < VALUE_MAX; at += 8)
        memcpy(out + at, &number, 8);
    return (helios_slice){out, (size_t)(8 + number * 37 % (VALUE_MAX - 8))};
}

int main(int argc, char **argv)
{
    char path[] = "/tmp/helios-transfers-XXXXXX", key[16], wanted[VALUE_MAX];
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_buf found = {0};
    helios_db *db = NULL;

    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    printf("seed %" PRIu64 "\n", seed);
    assert(mkdtemp(path));
    options.memtable_bytes = 128 << 10;
    options.block_cache_bytes = 64 << 10; /* so that reads come from the files */
    options.feed_retention = HELIOS_FOREVER;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        MUST(helios_open(path, &options, &db));
        for (uint64_t i = 0; i < KEYS; i++) {
            helios_slice k = {key, (size_t)snprintf(key, sizeof(key), "key%03" PRIu64, i)};

            if (round > 0) {
                helios_slice value = value_of((round - 1) * KEYS + i, wanted);

                MUST(helios_get(db, NULL, k, &found));
                assert(found.size == value.size && memcmp(found.data, value.data, value.size) == 0);
            }
            MUST(helios_put(db, NULL, k, value_of(round * KEYS + i, wanted)));
        }
        MUST(helios_sync(db));
        if (round % 2)
            MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
        MUST(helios_verify(db, NULL, NULL));
        MUST(helios_close(db));
    }
    helios_buf_free(&found);
    MUST(helios_destroy(path));
    assert(shortened > 0 && interrupted > 0);
    printf("tried: %" PRIu64 " short transfers\n", (uint64_t)shortened);
    printf("tried: %" PRIu64 " interrupted calls\n", (uint64_t)interrupted);
    return 0;
}
