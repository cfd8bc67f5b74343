/* test_cache.c - the block cache: what comes out is what is on disk, from many threads, within the
 * budget; a failed load leaves nothing behind and is told to all who waited for it. */
#undef NDEBUG
#include "base/buf.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/thread.h"
#include "sstable/cache.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCKS = 200, ENTRIES = 20, VALUE_BYTES = 100, THREADS = 4, SALT = 77 };

struct fixture {
    struct io_fs *fs;
    struct io_file *file;
    uint64_t size;
    struct block_handle handles[BLOCKS];
    cache_slot slots[BLOCKS];
    struct cache *cache;
};

static void must(helios_status status)
{
    if (status != HELIOS_OK) {
        fprintf(stderr, "%s: %s\n", helios_status_name(status), helios_last_error());
        abort();
    }
}

/* Block i: keys number 0 to ENTRIES - 1, values of the byte i. */
static void fill_block(struct block_builder *builder, int i)
{
    char key[9] = "\0\0\0\0\0", value[VALUE_BYTES];

    memset(value, i, sizeof(value));
    block_builder_reset(builder);
    for (uint32_t k = 0; k < ENTRIES; k++) {
        put_u32_be(key + 5, k);
        must(
            block_builder_add(builder, slice_make(key, 9), 5, KIND_VALUE, slice_make(value, sizeof(value)), k));
    }
}

static void fixture_make(struct fixture *f, struct io_fs *fs, uint64_t budget)
{
    struct block_builder *builder;
    helios_buf sealed = {0};
    uint64_t offset = 64;

    *f = (struct fixture){.fs = fs};
    must(block_builder_new(&builder));
    must(io_open(fs, "blocks", IO_WRITE | IO_CREATE, &f->file));
    for (int i = 0; i < BLOCKS; i++) {
        helios_slice image;

        fill_block(builder, i);
        must(block_builder_finish(builder, &image));
        must(block_seal(image, BLOCK_DATA, HELIOS_COMPRESSION_NONE, 0, SALT, offset, &sealed));
        must(io_write(f->file, offset, sealed.data, sealed.size));
        f->handles[i] =
            (struct block_handle){offset, (uint32_t)(sealed.size - BLOCK_TRAILER_SIZE), (uint32_t)image.size};
        offset += sealed.size;
    }
    f->size = offset;
    must(cache_new(budget, &f->cache));
    block_builder_free(builder);
    helios_buf_free(&sealed);
}

static void fixture_release(struct fixture *f)
{
    struct cache_stats stats;

    for (int i = 0; i < BLOCKS; i++)
        cache_drop(f->cache, &f->slots[i]);
    epoch_drain();
    cache_get_stats(f->cache, &stats);
    assert(stats.frames == 0 && stats.bytes == 0 && stats.charged == 0);
    cache_free(f->cache);
    io_close(f->file);
    io_free(f->fs);
}

static helios_status get(struct fixture *f, int i, bool fill, struct frame **frame)
{
    struct cache_load load = {
        .file = f->file, .file_size = f->size, .salt = SALT, .handle = f->handles[i], .type = BLOCK_DATA};

    return cache_get(f->cache, &f->slots[i], &load, fill, frame);
}

static void check_frame(const struct frame *frame, int i)
{
    helios_slice value = block_value(&frame->block, (uint32_t)i % ENTRIES);

    assert(frame->block.count == ENTRIES);
    assert(value.size == VALUE_BYTES && slice_bytes(value)[i % VALUE_BYTES] == (unsigned char)i);
}

/* ---- one thread ---- */

static struct io_fs *memory(void)
{
    struct io_fs *fs;

    must(io_memory_new(&fs));
    return fs;
}

static void test_hits(void)
{
    struct fixture f;
    struct frame *a, *b;
    struct cache_stats stats;

    fixture_make(&f, memory(), 1 << 20);
    must(get(&f, 3, false, &a));
    assert(!f.slots[3]);
    check_frame(a, 3);
    frame_unref(a);
    must(get(&f, 3, true, &a));
    must(get(&f, 3, true, &b));
    assert(a == b && f.slots[3] == a);
    must(get(&f, 3, false, &b)); /* what is there is used */
    assert(a == b);
    epoch_enter();
    assert(cache_peek(&f.slots[3]) == a && !cache_peek(&f.slots[4]));
    epoch_leave();
    frame_unref(a);
    frame_unref(b);
    frame_unref(b);
    cache_get_stats(f.cache, &stats);
    assert(stats.frames == 1 && stats.misses == 2 && stats.hits == 2 && stats.evictions == 0);
    assert(stats.bytes == a->charge);
    fixture_release(&f);
}

/* Used frames survive those that were read once; what is held is never evicted. */
static void test_eviction(void)
{
    struct fixture f;
    struct frame *frame, *held;
    struct cache_stats stats;
    int warm = 0;

    fixture_make(&f, memory(), 20 * 3000);
    must(get(&f, 0, true, &held));
    for (int i = 1; i < BLOCKS; i++) {
        must(get(&f, i, true, &frame));
        check_frame(frame, i);
        frame_unref(frame);
        for (int k = 1; k <= 5; k++)
            warm += cache_peek(&f.slots[k]) != NULL;
        cache_get_stats(f.cache, &stats);
        assert(stats.bytes <= stats.budget);
    }
    assert(warm > BLOCKS * 4); /* all five stay once they are there */
    assert(f.slots[0] == held && stats.evictions > BLOCKS / 2);
    check_frame(held, 0);

    cache_charge(f.cache, 20 * 3000); /* frames give way to what is charged */
    cache_get_stats(f.cache, &stats);
    assert(stats.frames == 1 && f.slots[0] == held);
    frame_unref(held);
    cache_charge(f.cache, -20 * 3000);
    cache_set_budget(f.cache, 0);
    cache_get_stats(f.cache, &stats);
    assert(stats.frames == 0);
    must(get(&f, 9, true, &frame)); /* with no budget at all, what is read is still good while it is held */
    check_frame(frame, 9);
    frame_unref(frame);
    fixture_release(&f);
}

static void test_failures(void)
{
    struct fixture f;
    struct frame *frame = NULL;
    struct io_fs *fs;
    struct io_fault fault = {.fail_at = 1, .mask = 1u << IO_CALL_READ, .error_number = EIO};
    helios_status status = HELIOS_NO_MEMORY;

    must(io_faulty_new(1, &fs));
    fixture_make(&f, fs, 1 << 20);
    io_faulty_plan(fs, &fault);
    assert(get(&f, 1, true, &frame) == HELIOS_IO && !f.slots[1] && !frame);
    must(get(&f, 1, true, &frame));
    frame_unref(frame);
    for (uint64_t n = 1; status != HELIOS_OK; n++) {
        mem_fail_at(n, false);
        status = get(&f, 2, true, &frame);
        mem_fail_at(0, false);
        assert(status == HELIOS_OK || (status == HELIOS_NO_MEMORY && !f.slots[2]));
    }
    frame_unref(frame);
    f.handles[5] = f.handles[6]; /* good, but not what the index says of it */
    f.handles[5].size++;
    assert(get(&f, 5, true, &frame) == HELIOS_CORRUPT && !f.slots[5]);
    f.handles[5].offset = f.size;
    assert(get(&f, 5, true, &frame) == HELIOS_CORRUPT && strstr(helios_last_error(), "blocks"));
    fixture_release(&f);
}

/* ---- many threads ---- */

struct worker {
    struct fixture *f;
    uint64_t seed;
    int rounds, failures;
};

static void look(struct fixture *f, int i, bool fill, struct worker *w)
{
    struct frame *frame;
    helios_status status;

    epoch_enter();
    frame = cache_peek(&f->slots[i]);
    if (frame)
        check_frame(frame, i);
    epoch_leave();
    status = get(f, i, fill, &frame);
    if (status == HELIOS_OK) {
        check_frame(frame, i);
        frame_unref(frame);
    } else {
        assert(status == HELIOS_IO && strstr(helios_last_error(), "blocks"));
        w->failures++;
    }
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct random rng;

    random_seed(&rng, w->seed);
    for (int r = 0; r < w->rounds; r++) {
        if (random_below(&rng, 500) == 0)
            cache_set_budget(w->f->cache, random_below(&rng, 100000));
        look(w->f, (int)random_below(&rng, random_below(&rng, 2) ? BLOCKS : 4), random_below(&rng, 10) > 0, w);
    }
    return NULL;
}

static int run_workers(struct fixture *f, uint64_t seed, int rounds)
{
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    int failures = 0;

    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){f, seed + (uint64_t)i, rounds, 0};
        must(thread_start(&threads[i], "worker", work, &workers[i]));
    }
    for (int i = 0; i < THREADS; i++) {
        thread_join(threads[i]);
        failures += workers[i].failures;
    }
    return failures;
}

static void test_threads(uint64_t seed)
{
    struct fixture f;
    struct cache_stats stats;

    fixture_make(&f, memory(), 50000);
    assert(run_workers(&f, seed, 20000) == 0);
    cache_set_budget(f.cache, 50000);
    cache_get_stats(f.cache, &stats);
    assert(stats.bytes <= 50000 && stats.evictions > 0);
    fixture_release(&f);
}

/* Loads fail now and then: each caller gets the block or the error, and the next one tries again. */
static void test_failing_threads(uint64_t seed)
{
    struct fixture f;
    struct io_fs *fs;
    struct io_fault fault = {.fail_at = 20, .forever = true, .mask = 1u << IO_CALL_READ, .error_number = EIO};

    must(io_faulty_new(seed, &fs));
    fixture_make(&f, fs, 20000);
    io_faulty_plan(fs, &fault);
    assert(run_workers(&f, seed, 2000) > 0);
    io_faulty_plan(fs, NULL);
    assert(run_workers(&f, seed, 2000) == 0);
    fixture_release(&f);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 20240609;

    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    test_hits();
    test_eviction();
    test_failures();
    test_threads(seed);
    test_failing_threads(seed);
    return 0;
}
