/* test_level.c - a level's cursor against the model: cuts anywhere, also inside a key's versions; files
 * opened as they are reached, removed when the last holder of a dropped one goes. */
#undef NDEBUG
#include "tests/table_model.h"
#include "base/epoch.h"
#include "sstable/file.h"

enum { FILES_MAX = 40 };

struct level {
    struct table_home home;
    struct table_file *files[FILES_MAX];
    size_t count;
    int removed;
};

static void note_removed(void *arg, uint64_t number)
{
    ((struct level *)arg)->removed++;
}

/* Cut after each entry with the chance 1 in `cut`; wide: bounds are widened by a range delete over all. */
static void level_write(struct level *l, const struct model *m, struct random *rng, size_t cut, bool wide)
{
    char path[64];
    struct table_writer_options options = {
        .fs = l->home.fs, .path = path, .block_bytes = 512, .filter_bits_per_key = 14};
    struct table_result result;

    for (size_t from = 0, to; from < m->count; from = to) {
        struct rangedel over = {model_key(&m->entries[from]), slice_make("\xff", 1), 1};

        for (to = from + 1; to < m->count && (l->count == FILES_MAX - 1 || random_below(rng, cut)); to++)
            ;
        options.number = l->count + 1;
        table_file_path(&l->home, options.number, path, sizeof(path));
        model_write(m, from, to, &options, &over, wide, &result);
        must(table_file_new(&l->home, result.number, result.size, 0, result.smallest, result.largest, wide,
                            &result.properties, &l->files[l->count++]));
        table_result_release(&result);
    }
}

static void check_level(const struct level *l, const struct model *m, struct random *rng)
{
    for (int i = 0; i < 12; i++) {
        helios_seq point = i == 0 ? CURSOR_ALL : i == 1 ? MODEL_SEQ_MAX : random_below(rng, MODEL_SEQ_MAX + 1);
        struct table_cursor_options options = {.read_point = point, .fill_cache = true};
        struct table_cursor_options ahead = {.read_point = point, .read_ahead = 1 << 20};
        struct cursor *c;

        must(level_cursor_new(l->files, l->count, &options, &c));
        check_forward(c, m, point);
        check_backward(c, m, point);
        check_random_walk(c, m, point, rng, 1500);
        cursor_free(c);
        must(level_cursor_new(l->files, l->count, &ahead, &c));
        check_forward(c, m, point);
        cursor_free(c);
    }
}

/* What was written between two numbers, and below a key. */
static void check_spans(const struct level *l, const struct model *m, struct random *rng)
{
    for (int i = 0; i < 8; i++) {
        helios_seq since = random_below(rng, MODEL_SEQ_MAX),
                   point = since + random_below(rng, MODEL_SEQ_MAX + 1 - since);
        helios_slice upper = model_key(&m->entries[random_below(rng, m->count)]);
        struct table_cursor_options options = {.read_point = point, .since = since, .fill_cache = true},
                                    below = {.read_point = point, .since = since, .upper = upper};
        struct model above = *m;
        struct cursor *c;

        above.since = since;
        must(level_cursor_new(l->files, l->count, &options, &c));
        check_forward(c, &above, point);
        check_backward(c, &above, point);
        check_random_walk(c, &above, point, rng, 500);
        cursor_free(c);
        must(level_cursor_new(l->files, l->count, &below, &c));
        check_forward_below(c, &above, point, upper);
        cursor_free(c);
    }
}

/* Seeking opens what it needs, not all. */
static void check_lazy(struct level *l, const struct model *m)
{
    struct table_cursor_options options = {.read_point = CURSOR_ALL};
    struct cursor *c;
    size_t open = 0;

    must(level_cursor_new(l->files, l->count, &options, &c));
    cursor_seek(c, model_key(&m->entries[m->count / 2]), m->entries[m->count / 2].tag);
    check_shows(c, &m->entries[m->count / 2]);
    for (size_t i = 0; i < l->count; i++)
        open += table_file_peek(l->files[i]) != NULL;
    assert(open <= 3); /* one, or those that the key is split between */
    cursor_free(c);
}

/* A dropped file is there as long as a cursor is on the level. */
static void check_drop(struct level *l, const struct model *m)
{
    struct table_cursor_options options = {.read_point = CURSOR_ALL};
    struct cursor *c;

    must(level_cursor_new(l->files, l->count, &options, &c));
    for (size_t i = 0; i < l->count; i++) {
        atomic_store(&l->files[i]->dropped, i % 2 == 0);
        table_file_unref(l->files[i]);
    }
    check_forward(c, m, CURSOR_ALL);
    assert(l->removed == 0);
    cursor_free(c);
    assert(l->removed == (int)(l->count + 1) / 2);
    for (size_t i = 0; i < l->count; i++) {
        char path[64];
        struct io_stat stat;

        table_file_path(&l->home, i + 1, path, sizeof(path));
        assert(io_stat(l->home.fs, path, &stat) == (i % 2 == 0 ? HELIOS_NOT_FOUND : HELIOS_OK));
    }
}

static void check_cut(size_t keys, size_t versions, size_t cut, bool wide, uint64_t seed)
{
    char directory[] = "sst";
    struct level l = {.home = {.directory = directory, .removed = note_removed}};
    struct random rng;
    struct model m;

    l.home.removed_arg = &l;
    mutex_init(&l.home.open_mu);
    mutex_init(&l.home.ring_mu);
    random_seed(&rng, seed);
    must(io_memory_new(&l.home.fs));
    must(io_make_directory(l.home.fs, directory));
    must(cache_new(1 << 20, &l.home.cache));
    model_draw(&m, &rng, keys, versions, 0);
    level_write(&l, &m, &rng, cut, wide);
    if (!wide && cut >= 20)
        check_lazy(&l, &m);
    check_level(&l, &m, &rng);
    check_spans(&l, &m, &rng);
    check_drop(&l, &m);
    epoch_drain();
    cache_free(l.home.cache);
    io_free(l.home.fs);
    mutex_release(&l.home.ring_mu);
    mutex_release(&l.home.open_mu);
    free(m.entries);
}

/* A file that is gone is an error, in the file's turn, and stays one until the cursor starts afresh. */
static void check_missing(uint64_t seed)
{
    char directory[] = "sst", path[64];
    struct level l = {.home = {.directory = directory}};
    struct table_cursor_options options = {.read_point = CURSOR_ALL};
    struct random rng;
    struct cursor *c;
    struct model m;

    mutex_init(&l.home.open_mu);
    mutex_init(&l.home.ring_mu);
    random_seed(&rng, seed);
    must(io_memory_new(&l.home.fs));
    must(io_make_directory(l.home.fs, directory));
    must(cache_new(1 << 20, &l.home.cache));
    model_draw(&m, &rng, 200, 3, 0);
    level_write(&l, &m, &rng, 50, false);
    assert(l.count >= 3);
    table_file_path(&l.home, 2, path, sizeof(path));
    must(io_remove(l.home.fs, path));
    must(level_cursor_new(l.files, l.count, &options, &c));
    for (cursor_first(c); c->valid; cursor_next(c))
        ;
    assert(c->status == HELIOS_NOT_FOUND && c->error->status == c->status && strstr(c->error->text, path));
    cursor_last(c);
    check_shows(c, &m.entries[m.count - 1]);
    for (; c->valid; cursor_prev(c))
        ;
    assert(c->status == HELIOS_NOT_FOUND);
    cursor_first(c);
    check_shows(c, &m.entries[0]);
    cursor_free(c);
    for (size_t i = 0; i < l.count; i++)
        table_file_unref(l.files[i]);
    epoch_drain();
    cache_free(l.home.cache);
    io_free(l.home.fs);
    mutex_release(&l.home.ring_mu);
    mutex_release(&l.home.open_mu);
    free(m.entries);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 20240608;

    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    for (int i = 0; i < 6; i++) {
        check_cut(200, 8, 20, i & 1, seed + i);
        check_cut(6, 30, 3, i & 1, seed + 10 + i); /* keys over several files */
        check_cut(2, 40, 2, i & 1, seed + 20 + i);
    }
    check_missing(seed + 30);
    return 0;
}
