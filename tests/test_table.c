/* test_table.c - tables written and read against a model: every read point, both directions, all options;
 * then damage: every byte of a small table flipped, every length cut. */
#undef NDEBUG
#include "tests/table_model.h"
#include "base/epoch.h"
#include "base/thread.h"

enum { MANY_KEYS = 14000 }; /* several partitions */

static const struct {
    const char *name;
    uint32_t block_bytes;
    double bits;
    helios_compression compression;
} layouts[] = {
    {"small blocks", 512, 14, HELIOS_COMPRESSION_NONE},
    {"lz4", 4096, 14, HELIOS_COMPRESSION_LZ4},
    {"zstd, no filter", 2048, 0, HELIOS_COMPRESSION_ZSTD},
    {"one block", 64 * 1024, 10, HELIOS_COMPRESSION_LZ4},
};

static struct table_writer_options options_for(struct io_fs *fs, size_t layout, const char *path)
{
    return (struct table_writer_options){.fs = fs,
                                         .path = path,
                                         .number = 7,
                                         .block_bytes = layouts[layout].block_bytes,
                                         .filter_bits_per_key = layouts[layout].bits,
                                         .compression = layouts[layout].compression,
                                         .zstd_level = 1};
}

static void check_hit(struct table *t, const struct model_entry *e, enum table_found found,
                      const struct table_hit *hit)
{
    helios_buf large = {0};

    assert(found == (e ? TABLE_FOUND : TABLE_ABSENT));
    if (!e)
        return;
    assert(hit->tag == e->tag);
    assert(hit->value.size == e->value_size);
    assert(hit->large == (e->value_size > LARGE_VALUE_BYTES));
    if (hit->large) {
        assert(!hit->value.data);
        must(table_read_large(t, &hit->large_at, &large));
        assert(value_is(e, buf_slice(&large)));
        helios_buf_free(&large);
    } else {
        assert(value_is(e, hit->value));
    }
}

/* Once without I/O, inside an epoch, and once with. */
static void check_get(struct table *t, const struct model_entry *e, helios_slice key, helios_seq seq, bool fill)
{
    uint64_t hash = hash_key(key);
    struct table_hit hit;
    enum table_found found;

    epoch_enter();
    found = table_get(t, key, hash, seq, false, fill, &hit);
    if (found != TABLE_WOULD_READ) {
        assert(found == TABLE_ABSENT || !hit.frame);
        if (found == TABLE_ABSENT || !hit.large)
            check_hit(t, e, found, &hit);
    }
    epoch_leave();
    found = table_get(t, key, hash, seq, true, fill, &hit);
    check_hit(t, e, found, &hit);
    if (found == TABLE_FOUND)
        frame_unref(hit.frame);
}

static void check_gets(struct table *t, const struct model *m, struct random *rng, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        struct model_entry probe = m->entries[random_below(rng, m->count)];
        helios_seq seq = random_below(rng, 2) ? tag_seq(probe.tag) - random_below(rng, 2)
                                              : random_below(rng, MODEL_SEQ_MAX + 2);

        if (random_below(rng, 4) == 0)
            draw_key(rng, &probe);
        check_get(t, model_get(m, model_key(&probe), seq), model_key(&probe), seq, random_below(rng, 4));
    }
}

static void check_cursors(struct table *t, const struct model *m, struct random *rng, int steps)
{
    int points = m->count < MANY_KEYS ? 12 : 4;

    for (int i = 0; i < points; i++) {
        helios_seq point = i == 0   ? CURSOR_ALL
                           : i == 1 ? MODEL_SEQ_MAX
                           : i == 2 ? 0
                                    : random_below(rng, MODEL_SEQ_MAX + 1);
        struct table_cursor_options options = {.read_point = point, .fill_cache = i & 1};
        struct table_cursor_options ahead = {.read_point = point, .read_ahead = i & 2 ? 1 : 200000};
        struct cursor *c;

        must(table_cursor_new(t, &options, &c));
        check_forward(c, m, point);
        check_backward(c, m, point);
        check_random_walk(c, m, point, rng, steps);
        cursor_free(c);
        must(table_cursor_new(t, &ahead, &c));
        check_forward(c, m, point);
        cursor_free(c);
    }
}

/* What was written between two numbers, and below a key. */
static void check_spans(struct table *t, const struct model *m, struct random *rng, int steps)
{
    for (int i = 0; i < 8; i++) {
        helios_seq since = i == 0 ? MODEL_SEQ_MAX - 1 : random_below(rng, MODEL_SEQ_MAX),
                   point = i < 4 ? MODEL_SEQ_MAX : since + random_below(rng, MODEL_SEQ_MAX + 1 - since);
        helios_slice upper = model_key(&m->entries[random_below(rng, m->count)]);
        struct table_cursor_options options = {.read_point = point, .since = since},
                                    below = {.read_point = point, .since = since / 2, .upper = upper};
        struct model above = *m;
        struct cursor *c;

        above.since = since;
        must(table_cursor_new(t, &options, &c));
        check_forward(c, &above, point);
        check_backward(c, &above, point);
        check_random_walk(c, &above, point, rng, steps);
        cursor_free(c);
        above.since = since / 2;
        must(table_cursor_new(t, &below, &c));
        check_forward_below(c, &above, point, upper);
        cursor_free(c);
    }
}

static void check_properties(struct table *t, const struct model *m)
{
    const struct table_properties *p = table_properties(t);
    size_t keys = 0;

    for (size_t i = 0; i < m->count; i++)
        keys += i == 0 || !model_same_key(m, i - 1, i);
    assert(p->entries == m->count);
    assert(p->keys == keys);
    assert(keys < MANY_KEYS / 2 || p->index_bytes > 80000);
}

static void check_layout(size_t layout, uint64_t budget, size_t keys, size_t large, uint64_t seed)
{
    struct io_fs *fs;
    struct cache *cache;
    struct table *t;
    struct table_result result;
    struct table_writer_options options;
    struct cache_stats stats;
    struct random rng;
    struct model m;
    uint64_t before = 0;

    random_seed(&rng, seed);
    must(io_memory_new(&fs));
    must(cache_new(budget, &cache));
    options = options_for(fs, layout, "t.sst");
    model_draw(&m, &rng, keys, 12, large);
    model_write(&m, 0, m.count, &options, NULL, 0, &result);
    must(table_open(fs, NULL, "t.sst", 7, result.size, 0, cache, &t));
    check_properties(t, &m);
    must(table_verify(t));
    check_gets(t, &m, &rng, large ? 100 : keys == MANY_KEYS ? 500 : 3000);
    check_cursors(t, &m, &rng, large || keys == MANY_KEYS ? 50 : 400);
    check_spans(t, &m, &rng, large || keys == MANY_KEYS ? 50 : 400);
    must(table_verify(t));
    for (size_t i = 0; i < m.count; i += 1 + m.count / 50) {
        uint64_t offset = table_offset_of(t, model_key(&m.entries[i]));

        assert(offset >= before && offset <= result.size);
        before = offset;
    }
    cache_get_stats(cache, &stats);
    assert(stats.charged >= table_memory(t));
    table_unref(t);
    epoch_drain();
    cache_get_stats(cache, &stats);
    assert(stats.frames == 0 && stats.bytes == 0 && stats.charged == 0);
    cache_free(cache);
    table_result_release(&result);
    io_free(fs);
    free(m.entries);
}

/* ---- an ingested table ---- */

static void check_override(uint64_t seed)
{
    static const struct rangedel rangedel = {{"\0\0\0\0\0a", 6}, {"\0\0\0\0\0b", 6}, 3};
    struct table_writer_options options;
    struct io_fs *fs;
    struct cache *cache;
    struct table *t;
    struct table_result result;
    struct table_cursor_options at = {.read_point = 500, .fill_cache = true};
    struct table_hit hit;
    struct cursor *c;
    struct random rng;
    struct model m;

    random_seed(&rng, seed);
    must(io_memory_new(&fs));
    must(cache_new(1 << 20, &cache));
    options = options_for(fs, 1, "t.sst");
    model_draw(&m, &rng, 500, 1, 0);
    model_newest_only(&m);
    model_write(&m, 0, m.count, &options, &rangedel, 1, &result);
    must(table_open(fs, NULL, "t.sst", 7, result.size, 600, cache, &t));
    must(table_verify(t));
    assert(rangedel_newest(table_rangedels(t), slice_make("\0\0\0\0\0aa", 7), 599) == 0);
    assert(rangedel_newest(table_rangedels(t), slice_make("\0\0\0\0\0aa", 7), 600) == 600);
    must(table_cursor_new(t, &at, &c));
    cursor_first(c);
    assert(!c->valid && c->status == HELIOS_OK);
    cursor_free(c);
    assert(table_get(t, model_key(&m.entries[0]), hash_key(model_key(&m.entries[0])), 599, true, true, &hit) ==
           TABLE_ABSENT);
    for (size_t i = 0; i < m.count; i++)
        m.entries[i].tag = 600 << 8 | (m.entries[i].tag & 0xff);
    at.read_point = 600;
    must(table_cursor_new(t, &at, &c));
    cursor_first(c);
    for (size_t i = 0; i < m.count; i++, cursor_next(c)) {
        assert(c->valid && c->tag == m.entries[i].tag);
        assert(slice_equal(c->key, model_key(&m.entries[i])));
        assert(table_get(t, c->key, hash_key(c->key), 600, true, true, &hit) == TABLE_FOUND);
        assert(hit.tag == c->tag);
        frame_unref(hit.frame);
    }
    cursor_free(c);
    table_unref(t);
    epoch_drain();
    cache_free(cache);
    table_result_release(&result);
    io_free(fs);
    free(m.entries);
}

/* ---- range deletes alone, and every block listed ---- */

struct seen {
    uint64_t end;
    int count[BLOCK_VALUE + 1];
};

static helios_status see_block(void *arg, const struct table_block_info *info, helios_slice image)
{
    struct seen *seen = arg;

    assert(info->handle.offset == seen->end);
    assert(image.size == info->handle.size);
    seen->end += info->handle.stored + BLOCK_TRAILER_SIZE;
    seen->count[info->type]++;
    return HELIOS_OK;
}

static void check_each_block(uint64_t seed)
{
    static const struct rangedel rangedels[] = {
        {{"\0\0\0\0\0a", 6}, {"\0\0\0\0\0c", 6}, 3},
        {{"\0\0\0\0\0b", 6}, {"\0\0\0\0\0d", 6}, 5},
    };
    struct seen seen = {.end = FILE_HEADER_SIZE};
    struct table_writer_options options;
    struct table_cursor_options latest = {.read_point = SEQ_MAX};
    struct io_fs *fs;
    struct cache *cache;
    struct table *t;
    struct table_result result;
    struct cursor *c;
    struct random rng;
    struct model m;

    random_seed(&rng, seed);
    must(io_memory_new(&fs));
    must(cache_new(0, &cache));
    model_draw(&m, &rng, 300, 12, 50);
    options = options_for(fs, 1, "t.sst");
    model_write(&m, 0, m.count, &options, rangedels, 2, &result);
    must(table_each_block(fs, "t.sst", see_block, &seen));
    assert(seen.end + TABLE_FOOTER_SIZE == result.size); /* every byte of the file was shown */
    assert(seen.count[BLOCK_DATA] > 1 && seen.count[BLOCK_HISTORY] > 1 && seen.count[BLOCK_VALUE] > 0);
    assert(seen.count[BLOCK_FILTER] == 1 && seen.count[BLOCK_RANGE_DELETES] == 1);
    table_result_release(&result);

    options.path = "r.sst";
    model_write(&m, 0, 0, &options, rangedels, 2, &result);
    must(table_open(fs, NULL, "r.sst", 7, result.size, 0, cache, &t));
    must(table_verify(t));
    assert(rangedel_newest(table_rangedels(t), slice_make("\0\0\0\0\0bb", 7), 9) == 5);
    must(table_cursor_new(t, &latest, &c));
    cursor_first(c);
    assert(!c->valid && c->status == HELIOS_OK);
    cursor_seek_for_prev(c, slice_make("\1\0\0\0\0", 5));
    assert(!c->valid && c->status == HELIOS_OK);
    cursor_free(c);
    table_unref(t);
    epoch_drain();
    cache_free(cache);
    table_result_release(&result);
    io_free(fs);
    free(m.entries);
}

/* ---- damage ---- */

static bool is_damage(helios_status status)
{
    return status == HELIOS_CORRUPT || status == HELIOS_UNSUPPORTED;
}

/* Whatever a read says is right, or it says that the table is damaged. */
static void read_damaged(struct table *t, const struct model *m, struct cache *cache)
{
    static const helios_seq points[] = {CURSOR_ALL, MODEL_SEQ_MAX, MODEL_SEQ_MAX / 2};

    for (size_t i = 0; i < m->count; i++) {
        helios_slice key = model_key(&m->entries[i]);
        helios_seq seq = tag_seq(m->entries[i].tag);
        struct table_hit hit;
        enum table_found found = table_get(t, key, hash_key(key), seq, true, true, &hit);

        if (found == TABLE_ERROR) {
            assert(is_damage(hit.status));
            continue;
        }
        check_hit(t, &m->entries[i], found, &hit);
        frame_unref(hit.frame);
    }
    for (size_t p = 0; p < 3; p++) {
        struct table_cursor_options options = {
            .read_point = points[p], .fill_cache = true, .read_ahead = p ? 0 : 65536};
        struct model_view view;
        struct cursor *c;
        size_t i = 0;

        view_make(m, points[p], &view);
        must(table_cursor_new(t, &options, &c));
        for (cursor_first(c); c->valid; cursor_next(c))
            check_shows(c, view.entries[i++]);
        assert(c->status == HELIOS_OK ? i == view.count : is_damage(c->status));
        i = view.count;
        if (!options.read_ahead) {
            for (cursor_last(c); c->valid; cursor_prev(c))
                check_shows(c, view.entries[--i]);
            assert(c->status == HELIOS_OK ? i == 0 : is_damage(c->status));
        }
        cursor_free(c);
        free(view.entries);
    }
}

static void check_damage(size_t layout, uint64_t seed)
{
    static const struct rangedel rangedel = {{"\0\0\0\0\0a", 6}, {"\0\0\0\0\0b", 6}, 3};
    struct table_writer_options options;
    struct io_fs *fs;
    struct cache *cache;
    struct table *t;
    struct table_result result;
    struct random rng;
    struct model m;
    uint64_t size;
    int opened = 0;

    random_seed(&rng, seed);
    must(io_memory_new(&fs));
    must(cache_new(1 << 20, &cache));
    model_draw(&m, &rng, 30, 8, 0);
    options = options_for(fs, layout, "t.sst");
    model_write(&m, 0, m.count, &options, &rangedel, 1, &result);
    for (uint64_t at = 0; at < result.size; at++) {
        unsigned char flip = (unsigned char)(1 << random_below(&rng, 8));
        helios_status status;

        io_memory_bytes(fs, "t.sst", &size)[at] ^= flip;
        status = table_open(fs, NULL, "t.sst", 7, result.size, 0, cache, &t);
        if (status == HELIOS_OK) {
            opened++;
            read_damaged(t, &m, cache);
            assert(is_damage(table_verify(t)));
            table_unref(t);
        } else {
            assert(is_damage(status));
        }
        io_memory_bytes(fs, "t.sst", &size)[at] ^= flip;
    }
    assert(opened > 0);
    for (uint64_t length = result.size - 1; length > 0; length -= 1 + length / 400) {
        struct io_file *file;

        must(io_open(fs, "t.sst", IO_WRITE, &file));
        must(io_resize(file, length));
        io_close(file);
        assert(is_damage(table_open(fs, NULL, "t.sst", 7, result.size, 0, cache, &t)));
        assert(is_damage(table_open(fs, NULL, "t.sst", 7, length, 0, cache, &t)));
    }
    epoch_drain();
    cache_free(cache);
    table_result_release(&result);
    io_free(fs);
    free(m.entries);
}

/* Every allocation on the way fails once: nothing leaks (the sanitizer says), nothing lies. */
static void check_no_memory(uint64_t seed)
{
    struct table_writer_options options;
    struct io_fs *fs;
    struct cache *cache;
    struct table_result result;
    struct random rng;
    struct model m;
    bool failed = true;

    random_seed(&rng, seed);
    must(io_memory_new(&fs));
    must(cache_new(1 << 20, &cache));
    model_draw(&m, &rng, 200, 6, 0);
    options = options_for(fs, 1, "t.sst");
    model_write(&m, 0, m.count, &options, NULL, 0, &result);
    for (uint64_t n = 1; failed; n++) {
        struct table_cursor_options all = {.read_point = CURSOR_ALL, .fill_cache = true};
        struct table *t = NULL;
        struct cursor *c = NULL;
        helios_status status;
        size_t i = 0;

        mem_fail_at(n, false);
        status = table_open(fs, NULL, "t.sst", 7, result.size, 0, cache, &t);
        if (status == HELIOS_OK)
            status = table_cursor_new(t, &all, &c);
        if (status == HELIOS_OK) {
            for (cursor_first(c); c->valid; cursor_next(c))
                check_shows(c, &m.entries[i++]);
            status = c->status;
            assert(status != HELIOS_OK || i == m.count);
        }
        if (status == HELIOS_OK)
            status = table_verify(t);
        failed = status != HELIOS_OK;
        assert(!failed || status == HELIOS_NO_MEMORY);
        mem_fail_at(0, false);
        cursor_free(c);
        table_unref(t);
    }
    epoch_drain();
    cache_free(cache);
    table_result_release(&result);
    io_free(fs);
    free(m.entries);
}

/* ---- many threads on one table ---- */

enum { THREADS = 4 };
struct worker {
    struct table *table;
    const struct model *model;
    uint64_t seed;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    struct table_cursor_options options = {.read_point = CURSOR_ALL, .fill_cache = w->seed & 1};
    struct random rng;
    struct cursor *c;

    random_seed(&rng, w->seed);
    must(table_cursor_new(w->table, &options, &c));
    for (int i = 0; i < 2000; i++) {
        size_t at = random_below(&rng, w->model->count);
        const struct model_entry *e = &w->model->entries[at];

        check_get(w->table, e, model_key(e), tag_seq(e->tag), random_below(&rng, 4));
        if (i % 16)
            continue;
        cursor_seek(c, model_key(e), e->tag);
        for (size_t k = at; k < at + 20 && k < w->model->count; k++, cursor_next(c))
            check_shows(c, &w->model->entries[k]);
    }
    cursor_free(c);
    return NULL;
}

static void check_threads(uint64_t seed)
{
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    struct table_writer_options options;
    struct io_fs *fs;
    struct cache *cache;
    struct table *t;
    struct table_result result;
    struct random rng;
    struct model m;

    random_seed(&rng, seed);
    must(io_memory_new(&fs));
    must(cache_new(400000, &cache));
    options = options_for(fs, 0, "t.sst");
    model_draw(&m, &rng, MANY_KEYS, 3, 0);
    model_write(&m, 0, m.count, &options, NULL, 0, &result);
    must(table_open(fs, NULL, "t.sst", 7, result.size, 0, cache, &t));
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){t, &m, seed + (uint64_t)i};
        must(thread_start(&threads[i], "worker", work, &workers[i]));
    }
    for (int i = 0; i < THREADS; i++)
        thread_join(threads[i]);
    table_unref(t);
    epoch_drain();
    cache_free(cache);
    table_result_release(&result);
    io_free(fs);
    free(m.entries);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 20240607;

    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    for (size_t layout = 0; layout < sizeof(layouts) / sizeof(layouts[0]); layout++) {
        check_layout(layout, 16 << 20, 600, 0, seed + layout);
        check_layout(layout, 6000, 200, 0, seed + layout + 10);
        check_damage(layout, seed + layout + 20);
    }
    check_layout(0, 1 << 20, MANY_KEYS, 0, seed + 30);
    check_layout(1, 1 << 20, 60, 8, seed + 31);
    check_override(seed + 40);
    check_each_block(seed + 41);
    check_threads(seed + 43);
    check_no_memory(seed + 42); /* last: it leaves the counting of allocations on */
    return 0;
}
