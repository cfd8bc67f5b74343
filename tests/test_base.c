/* test_base.c - the small things: statuses, memory, buffers, numbers as bytes, checksums, file headers,
 * histograms, threads. */
#undef NDEBUG
#include "base/buf.h"
#include "base/coding.h"
#include "base/file_header.h"
#include "base/hash.h"
#include "base/histogram.h"
#include "base/key.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/thread.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void statuses(void)
{
    static const struct {
        int error_number;
        helios_status status;
    } errors[] = {{ENOSPC, HELIOS_NO_SPACE}, {EDQUOT, HELIOS_NO_SPACE},  {ENOENT, HELIOS_NOT_FOUND},
                  {EEXIST, HELIOS_EXISTS},   {ENOMEM, HELIOS_NO_MEMORY}, {EROFS, HELIOS_READ_ONLY},
                  {EIO, HELIOS_IO},          {EMFILE, HELIOS_IO}};
    struct error_note note = {0};
    char long_text[2 * ERROR_TEXT_BYTES];

    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        assert(fail_io(errors[i].error_number, "open", "x") == errors[i].status);
    assert(fail_io(ENOENT, "open", "/a/b") == HELIOS_NOT_FOUND);
    assert(strcmp(helios_last_error(), "cannot open /a/b: No such file or directory (errno 2)") == 0);
    error_keep(&note, HELIOS_OK);
    assert(note.status == HELIOS_OK && error_tell(&note) == HELIOS_OK);
    assert(fail_context(fail_corrupt("file at %d", 7), "reading %s", "x") == HELIOS_CORRUPT);
    assert(strcmp(helios_last_error(), "reading x: file at 7") == 0);
    error_keep(&note, HELIOS_CORRUPT);
    error_keep(&note, fail(HELIOS_IO, "a later one: %s", helios_last_error()));
    assert(strcmp(helios_last_error(), "a later one: reading x: file at 7") == 0);
    assert(fail_context(HELIOS_OK, "nothing") == HELIOS_OK);
    assert(error_tell(&note) == HELIOS_CORRUPT);
    assert(strcmp(helios_last_error(), "reading x: file at 7") == 0);
    memset(long_text, 'a', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    assert(fail(HELIOS_IO, "%s", long_text) == HELIOS_IO);
    assert(fail_context(HELIOS_IO, "%.*s", 300, long_text) == HELIOS_IO);
    assert(strlen(helios_last_error()) == ERROR_TEXT_BYTES - 1);
    assert(fail_context(HELIOS_IO, "%s", long_text) == HELIOS_IO);
    assert(strlen(helios_last_error()) == ERROR_TEXT_BYTES - 1);
    assert(strcmp(helios_status_name(HELIOS_FEED_TRIMMED), "HELIOS_FEED_TRIMMED") == 0);
    for (int status = HELIOS_OK; status <= HELIOS_GAP; status++)
        assert(strncmp(helios_status_name((helios_status)status), "HELIOS_", 7) == 0);
    assert(strcmp(helios_status_name((helios_status)99), "HELIOS_?") == 0);
}

static void *allocate_elsewhere(void *arg)
{
    void *block = mem_alloc(10);

    assert(block);
    mem_free(block);
    return NULL;
}

static void memory(void)
{
    uint64_t before = mem_count();
    unsigned char *block = mem_zalloc(100), *pages, *grown;
    pthread_t thread;

    for (int i = 0; i < 100; i++)
        assert(block[i] == 0);
    assert(mem_usable(block) >= 100);
    block = mem_realloc(block, 200);
    mem_free(block);
    assert(mem_count() == before + 2);
    assert(mem_array(SIZE_MAX / 2, 3) == NULL);
    mem_fail_at(2, false);
    block = mem_alloc(1);
    assert(block && !mem_alloc(1));
    mem_free(block);
    block = mem_alloc(1);
    assert(block);
    mem_free(block);
    mem_fail_at(1, true);
    assert(!mem_alloc(1) && !mem_zalloc(1) && !mem_text("x") && !pages_alloc(1) && !mem_aligned(64, 64));
    mem_fail_thread_only(true);
    pthread_create(&thread, NULL, allocate_elsewhere, NULL);
    thread_join(thread);
    assert(!mem_alloc(1));
    mem_fail_thread_only(false);
    mem_fail_at(0, false);
    for (size_t size = 1; size < 8 << 20; size = size * 3 + 1) {
        pages = pages_alloc(size);
        assert(pages && ((uintptr_t)pages & 4095) == 0);
        if (size >= 2 << 20)
            assert(((uintptr_t)pages & ((2 << 20) - 1)) == 0);
        assert(pages[0] == 0 && pages[size - 1] == 0);
        pages[0] = pages[size - 1] = 1;
        pages_reset(pages, size);
        assert(pages[0] == 0 && pages[size - 1] == 0);
        pages[size - 1] = 9;
        grown = pages_grow(pages, size, 4 * size + 5000);
        assert(grown && grown[size - 1] == 9 && grown[size] == 0 && grown[4 * size + 4999] == 0);
        pages_free(grown, 4 * size + 5000);
    }
    block = mem_aligned(256, 10);
    assert(((uintptr_t)block & 255) == 0);
    mem_free(block);
    helios_free(mem_text("text"));
}

static void buffers(void)
{
    helios_buf buf = {0};

    assert(buf_slice(&buf).data && buf_slice(&buf).size == 0);
    assert(buf_append(&buf, NULL, 0) == HELIOS_OK);
    assert(buf_append(&buf, "abc", 3) == HELIOS_OK);
    assert(buf_printf(&buf, "%d-%s", 12, "x") == HELIOS_OK);
    assert(slice_equal(buf_slice(&buf), slice_text("abc12-x")) && buf.data[buf.size] == '\0');
    assert(buf_set(&buf, "z", 1) == HELIOS_OK);
    mem_fail_at(1, false);
    assert(helios_buf_set(&buf, (helios_slice){0}) == HELIOS_INVALID);
    assert(helios_buf_set(NULL, slice_text("z")) == HELIOS_INVALID);
    assert(helios_buf_set(&buf, slice_text("abc")) == HELIOS_OK &&
           slice_equal(buf_slice(&buf), slice_text("abc")));
    assert(helios_buf_set(&buf, slice_text("")) == HELIOS_OK && buf.size == 0);
    assert(helios_buf_set(&buf, slice_text("z")) == HELIOS_OK);
    assert(buf_reserve(&buf, 1 << 20) == HELIOS_NO_MEMORY);
    mem_fail_at(0, false);
    assert(slice_equal(buf_slice(&buf), slice_text("z")));
    for (int i = 0; i < 10000; i++)
        assert(buf_append(&buf, &i, sizeof(i)) == HELIOS_OK);
    assert(buf.size == 40001);
    helios_buf_free(&buf);
    helios_buf_free(NULL);
    assert(!buf.data && buf.size == 0);
}

static void numbers(void)
{
    static const uint64_t values[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX / 2, UINT64_MAX};
    static const unsigned char too_long[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    static const unsigned char slice_past_end[] = {5, 'a', 'b'};
    unsigned char bytes[VARINT_MAX];
    struct reader r;

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        size_t size = put_varint(bytes, values[i]);

        assert(size == varint_size(values[i]));
        r = reader_make(bytes, size);
        assert(read_varint(&r) == values[i] && reader_done(&r));
        r = reader_make(bytes, size - 1);
        read_varint(&r);
        assert(r.bad);
    }
    r = reader_make(too_long, sizeof(too_long));
    assert(read_varint(&r) == 0 && r.bad);
    r = reader_make(slice_past_end, sizeof(slice_past_end));
    assert(read_slice(&r).size == 0 && r.bad);
    r = reader_make("\1\2\3\4\5\6\7", 7);
    assert(read_u16(&r) == 0x0201 && read_u32(&r) == 0x06050403 && read_u8(&r) == 7 && reader_done(&r));
    assert(read_u8(&r) == 0 && r.bad);
    assert(key_prefix(slice_text("abcdefghij"), 2) == UINT64_C(0x636465666768696a));
    assert(key_prefix(slice_text("abc"), 2) == UINT64_C(0x6300000000000000));
    assert(key_prefix(slice_text("abc"), 5) == 0);
    for (size_t size = 0; size <= 9; size++) {
        uint64_t expected = 0;

        for (size_t i = 0; i < 8; i++)
            expected = expected << 8 | (i < size ? 0xf1 + i : 0);
        assert(key_prefix(slice_make("\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9", size), 0) == expected);
    }
}

/* Of every size and on any branch, the same as of the whole key. */
static void hashes_by_branch(void)
{
    unsigned char key[300], whole[300];
    struct random rng;

    random_seed(&rng, 5);
    for (size_t size = 5; size <= sizeof(key); size++) {
        struct key_hasher hasher;

        for (size_t i = 0; i < size; i++)
            key[i] = (unsigned char)random_next(&rng);
        memcpy(whole, key, size);
        key_hasher_init(&hasher, slice_make(key, size));
        for (int i = 0; i < 20; i++) {
            uint32_t branch = i < 2 ? (uint32_t)i : (uint32_t)random_next(&rng);

            put_u32_be(whole, branch);
            assert(key_hasher_on(&hasher, branch) == hash_key(slice_make(whole, size)));
        }
    }
}

static void hashes(void)
{
    assert(hash_bytes("", 0) != hash_bytes("\0", 1));
    assert(hash_bytes("abc", 3) == hash_key(slice_text("abc")));
    assert(hash_seeded("abc", 3, 0) == hash_bytes("abc", 3));
    assert(checksum("abc", 3, 1, 0) != checksum("abc", 3, 2, 0));
    assert(checksum("abc", 3, 1, 0) != checksum("abc", 3, 1, 1));
}

static void reseal(unsigned char header[FILE_HEADER_SIZE])
{
    put_u64(header + FILE_XXH3, hash_bytes(header, FILE_XXH3));
}

static void headers(void)
{
    struct file_header in = {.id = {1, 2, 3}, .number = 77}, out;
    unsigned char bytes[FILE_HEADER_SIZE], zeros[FILE_HEADER_SIZE] = {0};

    file_header_encode(&in, MAGIC_TABLE, bytes);
    assert(file_header_decode(bytes, MAGIC_TABLE, "f", &out) == HELIOS_OK);
    assert(out.number == 77 && memcmp(in.id, out.id, FILE_ID_SIZE) == 0 && out.salt == file_salt(in.id));
    assert(file_header_decode(bytes, MAGIC_LOG, "f", &out) == HELIOS_CORRUPT);
    assert(file_header_decode(zeros, MAGIC_LOG, "f", &out) == HELIOS_CORRUPT);
    for (int bit = 0; bit < FILE_HEADER_SIZE * 8; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert(file_header_decode(bytes, MAGIC_TABLE, "some/path", &out) == HELIOS_CORRUPT);
        assert(strstr(helios_last_error(), "some/path"));
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    put_u32(bytes + FILE_VERSION, FORMAT_VERSION + 1);
    reseal(bytes);
    assert(file_header_decode(bytes, MAGIC_TABLE, "f", &out) == HELIOS_UNSUPPORTED);
    put_u32(bytes + FILE_VERSION, FORMAT_VERSION);
    put_u32(bytes + FILE_FLAGS, 4);
    reseal(bytes);
    assert(file_header_decode(bytes, MAGIC_TABLE, "f", &out) == HELIOS_UNSUPPORTED);
}

static void histograms(void)
{
    struct histogram *h = malloc(sizeof(*h)), *other = malloc(sizeof(*other));
    struct random rng;

    histogram_init(h);
    histogram_init(other);
    assert(histogram_percentile(h, 50) == 0);
    for (uint64_t i = 1; i <= 1000; i++)
        histogram_add(i % 2 ? h : other, i);
    histogram_merge(h, other);
    assert(h->count == 1000 && h->sum == 500500 && h->min == 1 && h->max == 1000);
    assert(histogram_percentile(h, 0) == 1 && histogram_percentile(h, 100) == 1000);
    assert(histogram_percentile(h, 50) >= 500 && histogram_percentile(h, 50) <= 508);
    random_seed(&rng, 1);
    for (int i = 0; i < 10000; i++) { /* no value is told more than 1.6 % too large, none too small */
        uint64_t value = random_next(&rng) >> random_below(&rng, 64), told;

        histogram_init(h);
        histogram_add(h, value);
        h->max = UINT64_MAX;
        told = histogram_percentile(h, 50);
        assert(told >= value && told - value <= value / 64);
    }
    histogram_add(h, UINT64_MAX);
    assert(histogram_percentile(h, 100) == UINT64_MAX);
    free(h);
    free(other);
}

struct meeting {
    struct mutex mu;
    struct condition changed;
    int turn;
    _Atomic uint32_t word;
};

static void *meet(void *arg)
{
    struct meeting *m = arg;

    mutex_lock(&m->mu);
    m->turn = 1;
    condition_signal(&m->changed);
    while (m->turn != 2)
        condition_wait(&m->changed, &m->mu);
    mutex_unlock(&m->mu);
    while (atomic_load(&m->word) == 0)
        futex_wait(&m->word, 0, UINT64_MAX);
    return NULL;
}

static void threads(void)
{
    struct meeting m = {.turn = 0};
    pthread_t thread;

    mutex_init(&m.mu);
    condition_init(&m.changed);
    mutex_lock(&m.mu);
    assert(!mutex_try(&m.mu));
    assert(!condition_wait_for(&m.changed, &m.mu, 1000));
    futex_wait(&m.word, 0, 1000);
    futex_wait(&m.word, 1, UINT64_MAX);
    assert(thread_start(&thread, "a name that is too long", meet, &m) == HELIOS_OK);
    while (m.turn != 1)
        condition_wait_for(&m.changed, &m.mu, UINT64_MAX);
    m.turn = 2;
    condition_broadcast(&m.changed);
    mutex_unlock(&m.mu);
    atomic_store(&m.word, 1);
    futex_wake(&m.word, INT32_MAX);
    thread_join(thread);
    condition_release(&m.changed);
    mutex_release(&m.mu);
    assert(cpu_count() >= 1);
    cpu_relax();
}

int main(void)
{
    statuses();
    memory();
    buffers();
    numbers();
    hashes();
    hashes_by_branch();
    headers();
    histograms();
    threads();
    return 0;
}
