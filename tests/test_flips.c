/* test_flips.c - damage on disk: bits flipped, files cut off, removed, exchanged, replaced by older ones. Every
 * answer of a database opened on that is right or HELIOS_CORRUPT, never wrong, never a crash; the sentence
 * names the file.
 *
 * Two databases are damaged: one closed cleanly and one whose process died. The second may lose what was never
 * acknowledged as durable, by the rules of fault_world.h.
 * Usage: test_flips [seed [flips]]; seed 0: the day's; flips: at most so many a file, 0: every byte. */
#undef NDEBUG
#include "tests/fault_world.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { FLIPS_DEFAULT = 700, SWAPS_ALL = 40000, FILES_MAX = 64, CHANGING_EVERY = 5 };

static uint64_t seed = 1, flips_max = FLIPS_DEFAULT;
static uint64_t detected, harmless, flips, surgeries, block_swaps;

struct image {
    const char *name;
    struct io_fs *fs, *older; /* older: some commits before */
    struct world *world;
    char paths[FILES_MAX][64];
    size_t path_count;
    char *tables; /* statistics that list the tables in use: a killed job may have left others */
};

/* ---- the databases ---- */

static void commits(struct world *w, unsigned count, helios_durability durability, uint32_t size)
{
    for (unsigned i = 0; i < count; i++)
        world_commit(w, durability, 6, size);
    CHECK(!w->failed, "%s", helios_last_error());
}

/* Several levels, history, range deletes, a large value, an ingested table, a sealed segment. */
static void make_tables(struct world *w)
{
    for (int i = 0; i < 3; i++) {
        commits(w, 5, HELIOS_DURABILITY_ASYNC, SIZE_SMALL * 3);
        MUST(helios_flush(w->db));
    }
    world_commit_range(w, HELIOS_DURABILITY_ASYNC, 20, 40);
    MUST(helios_compact(w->db, (helios_slice){0}, (helios_slice){0}));
    commits(w, 5, HELIOS_DURABILITY_NONE, SIZE_SMALL);
    world_commit(w, HELIOS_DURABILITY_ASYNC, 2, SIZE_LARGE);
    world_commit_range(w, HELIOS_DURABILITY_ASYNC, 60, 66);
    MUST(helios_flush(w->db));
    world_commit(w, HELIOS_DURABILITY_ASYNC, 24, SIZE_INGEST);
}

static helios_status remember_path(struct image *image, const char *folder, const char *name)
{
    CHECK(image->path_count < FILES_MAX, "too many files");
    snprintf(image->paths[image->path_count++], sizeof(image->paths[0]), "%s/%.40s", folder, name);
    return HELIOS_OK;
}

static helios_status top_file(void *arg, const char *name)
{
    return strcmp(name, "wal") == 0 || strcmp(name, "sst") == 0 ? HELIOS_OK : remember_path(arg, "/db", name);
}

static helios_status wal_file(void *arg, const char *name)
{
    return remember_path(arg, "/db/wal", name);
}
static helios_status sst_file(void *arg, const char *name)
{
    return remember_path(arg, "/db/sst", name);
}

static void list_files(struct image *image)
{
    MUST(io_list(image->fs, "/db", top_file, image));
    MUST(io_list(image->fs, "/db/wal", wal_file, image));
    MUST(io_list(image->fs, "/db/sst", sst_file, image));
}

static struct io_fs *copy_now(struct world *w)
{
    /* A copy of what is there while the database is open: the log is not closed, as after a kill. */
    return world_clone(w->fs, seed);
}

/* What an open finds in use. */
static void list_tables(struct image *image)
{
    helios_options options = image->world->options;
    struct io_fs *copy = world_clone(image->fs, seed);
    helios_db *db;

    options.read_only = true;
    MUST(engine_open(copy, "/db", &options, &db));
    MUST(helios_stats_json(db, &image->tables));
    MUST(helios_close(db));
    io_free(copy);
}

static void image_make(struct image *image, bool clean)
{
    struct world *w = malloc(sizeof(*w));

    image->name = clean ? "closed" : "killed";
    snprintf(fault_where, sizeof(fault_where), "seed %" PRIu64 ", making the %s database", seed, image->name);
    MUST(io_faulty_new(seed, &image->fs));
    world_init(w, image->fs, "/db", seed);
    image->world = w;
    w->options.memtable_bytes = 512 << 10;
    CHECK(world_open(w), "%s", helios_last_error());
    make_tables(w);
    world_close(w); /* leaves no file that nobody needs any more */
    CHECK(world_open(w), "%s", helios_last_error());
    /* Its edit of the manifest is the last one: without it the log tells of the table. */
    world_commit(w, HELIOS_DURABILITY_ASYNC, 24, SIZE_INGEST);
    for (int i = 0; i < 8; i++) {
        if (i == 5)
            image->older = copy_now(w);
        commits(w, 5, HELIOS_DURABILITY_ASYNC, SIZE_SMALL * 16);
        commits(w, 1, HELIOS_DURABILITY_SYNC, SIZE_SMALL);
    }
    /* Records behind the last synced one prove that it was. */
    commits(w, 3, HELIOS_DURABILITY_ASYNC, SIZE_SMALL);
    if (clean)
        world_close(w);
    else
        world_cut(w, IO_DAMAGE_KEEP_ALL, seed);
    CHECK(!w->failed, "%s", helios_last_error());
    io_faulty_power_cut(image->fs, IO_DAMAGE_KEEP_ALL, seed);
    list_files(image);
    list_tables(image);
}

static bool is_used_table(const struct image *image, const char *path)
{
    const char *name = strstr(path, "/sst/");
    char listed[64];

    if (!name)
        return false;
    snprintf(listed, sizeof(listed), "\"number\":%" PRIu64 ",", (uint64_t)strtoull(name + 5, NULL, 10));
    return strstr(image->tables, listed) != NULL;
}

static void image_release(struct image *image)
{
    helios_free(image->tables);
    io_free(image->fs);
    io_free(image->older);
    free(image->world);
}

/* ---- a look at a damaged one ---- */

enum loss { LOSES_NOTHING, LOSES_DURABLE };

static enum judgement look(const struct image *image, struct io_fs *fs, bool read_only, enum loss loss)
{
    struct world *w = malloc(sizeof(*w));
    enum judgement judgement = JUDGED_DETECTED;
    helios_status status;

    memcpy(w, image->world, sizeof(*w));
    w->fs = fs;
    w->options.read_only = read_only;
    w->options.create_if_missing = false;
    for (uint32_t i = 0; i < w->commit_count && loss == LOSES_DURABLE; i++)
        w->commits[i].durable = false;
    status = engine_open(fs, "/db", &w->options, &w->db);
    if (status == HELIOS_OK) {
        judgement = world_check(w, true);
        status = helios_close(w->db);
        CHECK(status == HELIOS_OK || status == HELIOS_CORRUPT || status == HELIOS_READ_ONLY, "close: %s",
              helios_last_error());
    } else {
        CHECK(status == HELIOS_CORRUPT || status == HELIOS_UNSUPPORTED, "open: %s: %s",
              helios_status_name(status), helios_last_error());
        CHECK(strstr(helios_last_error(), "/db"), "no file is named: %s", helios_last_error());
    }
    free(w);
    *(judgement == JUDGED_DETECTED ? &detected : &harmless) += 1;
    return judgement;
}

static void flip_apply(struct io_fs *fs, const void *arg);

/* The same in a copy that the open may change. */
static enum judgement look_changing(const struct image *image, void (*damage)(struct io_fs *, const void *),
                                    const void *arg, enum loss loss)
{
    struct io_fs *fs = world_clone(image->fs, seed);
    enum judgement judgement;

    damage(fs, arg);
    surgeries += damage != flip_apply;
    judgement = look(image, fs, false, loss);
    io_free(fs);
    return judgement;
}

/* ---- flips ---- */

struct flip {
    const char *path;
    uint64_t offset;
    unsigned char bit;
};

static void flip_apply(struct io_fs *fs, const void *arg)
{
    const struct flip *flip = arg;
    uint64_t size;
    unsigned char *bytes = io_memory_bytes(fs, flip->path, &size);

    CHECK(bytes && flip->offset < size, "%s has no byte %" PRIu64 " any more", flip->path, flip->offset);
    bytes[flip->offset] ^= flip->bit;
}

static void flip_file(const struct image *image, const char *path)
{
    uint64_t size, step = 1, before = detected, all = detected + harmless;

    assert(io_memory_bytes(image->fs, path, &size));
    if (flips_max && size > flips_max)
        step = (size + flips_max - 1) / flips_max;
    for (uint64_t i = 0, offset = seed % step; offset < size; i++, offset += step) {
        struct flip flip = {path, offset, (unsigned char)(1u << ((i + seed) % 8))};

        snprintf(fault_where, sizeof(fault_where),
                 "seed %" PRIu64 ", %s database, flip of bit mask %#x at %s:%" PRIu64, seed, image->name,
                 flip.bit, path, offset);
        flip_apply(image->fs, &flip);
        flips++;
        look(image, image->fs, true, LOSES_NOTHING);
        flip_apply(image->fs, &flip);
        if (i % CHANGING_EVERY == 0)
            look_changing(image, flip_apply, &flip, LOSES_NOTHING);
    }
    printf("%s %-24s %8" PRIu64 " bytes, every %" PRIu64 ". flipped: %" PRIu64 " of %" PRIu64 " looks saw it\n",
           image->name, path, size, step, detected - before, detected + harmless - all);
    fflush(stdout);
}

/* ---- whole files ---- */

struct surgery {
    const char *path, *other;
    uint64_t size;
    struct io_fs *from;
};

static void cut_apply(struct io_fs *fs, const void *arg)
{
    const struct surgery *s = arg;
    struct io_file *file = NULL;

    MUST(io_open(fs, s->path, IO_WRITE, &file));
    MUST(io_resize(file, s->size));
    io_close(file);
}

static void remove_apply(struct io_fs *fs, const void *arg)
{
    MUST(io_remove(fs, ((const struct surgery *)arg)->path));
}

static void put_bytes(struct io_fs *fs, const char *path, const void *bytes, uint64_t size)
{
    struct io_file *file = NULL;

    MUST(io_open(fs, path, IO_WRITE | IO_CREATE | IO_TRUNCATE, &file));
    if (size)
        MUST(io_write(file, 0, bytes, (size_t)size));
    io_close(file);
}

static void *get_bytes(struct io_fs *fs, const char *path, uint64_t *size)
{
    unsigned char *bytes = io_memory_bytes(fs, path, size), *copy;

    if (!bytes)
        return NULL;
    copy = malloc((size_t)*size + 1);
    memcpy(copy, bytes, (size_t)*size);
    return copy;
}

static void swap_apply(struct io_fs *fs, const void *arg)
{
    const struct surgery *s = arg;
    uint64_t a_size, b_size;
    void *a = get_bytes(fs, s->path, &a_size), *b = get_bytes(fs, s->other, &b_size);

    put_bytes(fs, s->path, b, b_size);
    put_bytes(fs, s->other, a, a_size);
    free(a);
    free(b);
}

static void older_apply(struct io_fs *fs, const void *arg)
{
    const struct surgery *s = arg;
    uint64_t size;
    void *bytes = get_bytes(s->from, s->path, &size);

    put_bytes(fs, s->path, bytes, size);
    free(bytes);
}

static void whole_file(const struct image *image, const char *path)
{
    struct surgery s = {.path = path};
    bool is_table = is_used_table(image, path), is_log = strstr(path, ".wal"),
         is_event_log = strstr(path, "/LOG"), is_unused_table = strstr(path, ".sst") && !is_table;
    enum judgement judgement;
    uint64_t size, other;

    assert(io_memory_bytes(image->fs, path, &size));
    for (int part = 0; part < 16; part++) {
        s.size = size * (uint64_t)part / 16;
        snprintf(fault_where, sizeof(fault_where), "seed %" PRIu64 ", %s database, %s cut to %" PRIu64, seed,
                 image->name, path, s.size);
        judgement = look_changing(image, cut_apply, &s, LOSES_NOTHING);
        CHECK(judgement == JUDGED_DETECTED || !is_table, "a shorter table went unseen");
    }
    snprintf(fault_where, sizeof(fault_where), "seed %" PRIu64 ", %s database, %s removed", seed, image->name,
             path);
    judgement = look_changing(image, remove_apply, &s, LOSES_NOTHING);
    CHECK(judgement == JUDGED_DETECTED || is_log || is_event_log || is_unused_table,
          "a missing file went unseen");
    for (size_t i = 0; i < image->path_count; i++) {
        s.other = image->paths[i];
        if (s.other == path || strncmp(s.other, path, 8) != 0 || is_event_log || strstr(s.other, "/LOG"))
            continue;
        snprintf(fault_where, sizeof(fault_where), "seed %" PRIu64 ", %s database, %s and %s exchanged", seed,
                 image->name, path, s.other);
        judgement = look_changing(image, swap_apply, &s, LOSES_NOTHING);
        CHECK(judgement == JUDGED_DETECTED || (is_unused_table && !is_used_table(image, s.other)),
              "exchanged files went unseen");
    }
    s.from = image->older;
    if (!io_memory_bytes(image->older, path, &other))
        return;
    snprintf(fault_where, sizeof(fault_where), "seed %" PRIu64 ", %s database, %s as it was before", seed,
             image->name, path);
    /* An older state of the log of a process that died cannot be told from one that died earlier. */
    look_changing(image, older_apply, &s,
                  is_log && strcmp(image->name, "killed") == 0 ? LOSES_DURABLE : LOSES_NOTHING);
}

/* ---- blocks in the wrong place ---- */

/* `size` bytes of two places change places. */
static void swap_bytes(unsigned char *a, unsigned char *b, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = a[i];

        a[i] = b[i];
        b[i] = byte;
    }
}

/* Of a killed database's log the end may go: zeros where it was cannot be told from an end never written. */
static enum loss loss_at(const struct image *image, const char *path)
{
    return strstr(path, ".wal") && strcmp(image->name, "killed") == 0 ? LOSES_DURABLE : LOSES_NOTHING;
}

/* Two blocks of one file, or of two of one kind, as a disk that misplaces writes leaves them. */
static void swap_blocks(const struct image *image, struct random *rng)
{
    static const size_t sizes[] = {64, 512, 1024, 4096};
    const char *path = image->paths[random_below(rng, image->path_count)], *other = path;
    size_t block = sizes[random_below(rng, 4)];
    uint64_t size, other_size, at, to;
    unsigned char *bytes, *other_bytes;

    if (random_below(rng, 2))
        other = image->paths[random_below(rng, image->path_count)];
    bytes = io_memory_bytes(image->fs, path, &size);
    other_bytes = io_memory_bytes(image->fs, other, &other_size);
    if (strstr(path, "/LOG") || strstr(other, "/LOG") || strncmp(path, other, 7) != 0 || size < block ||
        other_size < block)
        return;
    at = random_below(rng, (size - block) / 64 + 1) * 64;
    to = random_below(rng, (other_size - block) / 64 + 1) * 64;
    if (memcmp(bytes + at, other_bytes + to, block) == 0 ||
        (bytes == other_bytes && at < to + block && to < at + block))
        return;
    snprintf(fault_where, sizeof(fault_where),
             "seed %" PRIu64 ", %s database, %zu bytes at %s:%" PRIu64 " and %s:%" PRIu64, seed, image->name,
             block, path, at, other, to);
    swap_bytes(bytes + at, other_bytes + to, block);
    look(image, image->fs, true, loss_at(image, path)); /* `other` is of the same directory */
    swap_bytes(bytes + at, other_bytes + to, block);
    block_swaps++;
}

/* One block is as it was some commits before: a write that was acknowledged and never made. */
static void stale_block(const struct image *image, struct random *rng)
{
    const char *path = image->paths[random_below(rng, image->path_count)];
    uint64_t size, older_size, at;
    unsigned char *bytes = io_memory_bytes(image->fs, path, &size);
    unsigned char *older = io_memory_bytes(image->older, path, &older_size);

    if (!older || strstr(path, "/LOG") || size < 512 || older_size < size)
        return;
    at = random_below(rng, size / 512) * 512;
    if (memcmp(bytes + at, older + at, 512) == 0)
        return;
    snprintf(fault_where, sizeof(fault_where), "seed %" PRIu64 ", %s database, %s:%" PRIu64 " as it was before",
             seed, image->name, path, at);
    swap_bytes(bytes + at, older + at, 512);
    look(image, image->fs, true, loss_at(image, path));
    swap_bytes(bytes + at, older + at, 512);
    block_swaps++;
}

static void misplace_blocks(const struct image *image)
{
    struct random rng;

    random_seed(&rng, seed);
    for (uint64_t i = 0; i < (flips_max ? flips_max * 2 : SWAPS_ALL); i++) {
        swap_blocks(image, &rng);
        if (i % 4 == 0)
            stale_block(image, &rng);
    }
}

static void test_image(bool clean)
{
    struct image image = {0};

    image_make(&image, clean);
    snprintf(fault_where, sizeof(fault_where), "seed %" PRIu64 ", %s database, not damaged", seed, image.name);
    CHECK(look(&image, image.fs, true, LOSES_NOTHING) == JUDGED_RIGHT, "%s", helios_last_error());
    for (size_t i = 0; i < image.path_count; i++) {
        flip_file(&image, image.paths[i]);
        whole_file(&image, image.paths[i]);
    }
    misplace_blocks(&image);
    image_release(&image);
}

int main(int argc, char **argv)
{
    seed = fault_seed(argc > 1 ? argv[1] : NULL);
    flips_max = argc > 2 ? strtoull(argv[2], NULL, 10) : FLIPS_DEFAULT;
    test_image(true);
    test_image(false);
    printf("%" PRIu64 " looks found the damage, %" PRIu64 " were right in spite of it\n", detected, harmless);
    fault_tried(flips, "flips");
    fault_tried(surgeries, "files cut, removed, exchanged or older");
    fault_tried(block_swaps, "blocks exchanged or stale");
    return 0;
}
