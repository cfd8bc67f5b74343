/* test_salvage.c - what salvage makes of a database, whole or damaged: of a whole one the same states at every point; of
 * a damaged one the same but in what the report names as lost, and never a value that was not written. The source is
 * only read. Usage: test_salvage [seed [damages]]; damages: how many of each kind a file. */
#undef NDEBUG
#include "engine/identity.h"
#include "tests/fault_world.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { DAMAGES_DEFAULT = 6, FILES_MAX = 64, LOSSES_MAX = 4000, KEY_ROOM = 300 };

static uint64_t seed = 1, damages = DAMAGES_DEFAULT, runs, with_loss;

struct image {
    const char *name;
    struct io_fs *fs;
    struct world *world;
    char paths[FILES_MAX][64];
    size_t path_count;
};

/* ---- the database ---- */

static void commits(struct world *w, unsigned count, helios_durability durability, uint32_t size)
{
    for (unsigned i = 0; i < count; i++)
        world_commit(w, durability, 6, size);
    CHECK(!w->failed, "%s", helios_last_error());
}

static void make_content(struct world *w)
{
    for (int i = 0; i < 3; i++) {
        commits(w, 6, HELIOS_DURABILITY_ASYNC, SIZE_SMALL * 3);
        world_tag(w);
        MUST(helios_flush(w->db));
    }
    world_branch(w);
    world_branch_write(w);
    world_commit_range(w, HELIOS_DURABILITY_ASYNC, 20, 40);
    MUST(helios_compact(w->db, (helios_slice){0}, (helios_slice){0}));
    commits(w, 5, HELIOS_DURABILITY_ASYNC, SIZE_SMALL);
    world_commit(w, HELIOS_DURABILITY_ASYNC, 2, SIZE_LARGE);
    world_commit_range(w, HELIOS_DURABILITY_ASYNC, 60, 66);
    MUST(helios_flush(w->db));
    world_branch(w);
    world_branch_write(w);
    world_branch_rename(w);
    world_commit(w, HELIOS_DURABILITY_ASYNC, 24, SIZE_INGEST);
    commits(w, 8, HELIOS_DURABILITY_SYNC, SIZE_SMALL * 8);
    world_commit(w, HELIOS_DURABILITY_ASYNC, 24, SIZE_INGEST);
    commits(w, 4, HELIOS_DURABILITY_SYNC, SIZE_SMALL * 8);
    world_tag(w);
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
    image->path_count = 0;
    MUST(io_list(image->fs, "/db", top_file, image));
    MUST(io_list(image->fs, "/db/wal", wal_file, image));
    MUST(io_list(image->fs, "/db/sst", sst_file, image));
}

enum kind { CLOSED, KILLED, ALL_IN_LOG };
static const char *const kind_names[] = {"closed", "killed", "log"};

static void image_make(struct image *image, enum kind kind, bool feed)
{
    struct world *w = malloc(sizeof(*w));

    image->name = kind_names[kind];
    snprintf(fault_where, sizeof(fault_where), "seed %" PRIu64 ", making the %s database", seed, image->name);
    MUST(io_faulty_new(seed, &image->fs));
    world_init(w, image->fs, "/db", seed);
    image->world = w;
    w->options.memtable_bytes = kind == ALL_IN_LOG ? 16 << 20 : 512 << 10;
    w->options.history_retention = UINT64_MAX;
    w->options.durability = HELIOS_DURABILITY_SYNC;
    if (feed)
        w->options.feed_retention = UINT64_MAX;
    CHECK(world_open(w), "%s", helios_last_error());
    if (kind == ALL_IN_LOG)
        commits(w, 30, HELIOS_DURABILITY_SYNC, SIZE_SMALL * 8);
    else
        make_content(w);
    CHECK(!w->failed, "%s", helios_last_error());
    if (kind == CLOSED)
        world_close(w);
    else
        world_cut(w, IO_DAMAGE_KEEP_ALL, seed);
    io_faulty_power_cut(image->fs, IO_DAMAGE_KEEP_ALL, seed);
    list_files(image);
}

static void image_release(struct image *image)
{
    io_free(image->fs);
    free(image->world);
}

/* ---- the report ---- */

struct loss {
    helios_lost_kind kind;
    unsigned char from[KEY_ROOM], to[KEY_ROOM];
    size_t from_size, to_size; /* 0: open */
    helios_seq first, last;
};

struct losses {
    struct loss items[LOSSES_MAX];
    size_t count;
};
static struct losses losses;

static size_t inner_key(const helios_lost_key *key, unsigned char out[KEY_ROOM])
{
    size_t size = key->key.size < KEY_ROOM - 5 ? key->key.size : KEY_ROOM - 5;

    key_put_layer(out, key->branch, key->space);
    if (size)
        memcpy(out + 5, key->key.data, size);
    return 5 + size;
}

static void note_lost(void *arg, const helios_lost *lost)
{
    struct losses *l = arg;
    struct loss *loss = &l->items[l->count];

    CHECK(lost->reason && lost->reason[0] && lost->file, "a loss without a reason");
    if (l->count == LOSSES_MAX)
        return;
    l->count++;
    *loss = (struct loss){.kind = lost->kind, .first = lost->first, .last = lost->last};
    if (!lost->all_below)
        loss->from_size = inner_key(&lost->from, loss->from);
    if (!lost->all_above)
        loss->to_size = inner_key(&lost->to, loss->to);
    if (getenv("SALVAGE_TRACE"))
        printf("  lost %d in %s: %.*s .. %.*s, %" PRIu64 "-%" PRIu64 ": %s\n", (int)lost->kind, lost->file,
               (int)lost->from.key.size, (const char *)lost->from.key.data, (int)lost->to.key.size,
               (const char *)lost->to.key.data, lost->first, lost->last, lost->reason);
}

/* Whether the report says that what is seen of the key at the point may be another thing than was written. */
static bool is_named(helios_branch_id branch, helios_slice user, helios_seq at)
{
    helios_lost_key lost = {branch, 0, user};
    unsigned char bytes[KEY_ROOM];
    helios_slice key = slice_make(bytes, inner_key(&lost, bytes));

    for (size_t i = 0; i < losses.count; i++) {
        const struct loss *l = &losses.items[i];

        if (l->kind == HELIOS_LOST_COMMITS && l->first <= at)
            return true;
        if (l->kind != HELIOS_LOST_KEYS && l->kind != HELIOS_LOST_RANGE_DELETES)
            continue;
        if ((!l->from_size || slice_compare(slice_make(l->from, l->from_size), key) <= 0) &&
            (!l->to_size || slice_compare(key, slice_make(l->to, l->to_size)) <= 0))
            return true;
    }
    return false;
}

/* ---- judging ---- */

static bool was_written(const struct world *w, unsigned key, helios_slice value, helios_seq at)
{
    for (uint32_t i = 0; i < w->commit_count && w->commits[i].seq <= at; i++)
        for (uint32_t o = w->commits[i].op_first; o < w->commits[i].op_first + w->commits[i].op_count; o++)
            if (w->ops[o].kind == OP_PUT && w->ops[o].key == key && w->ops[o].size == value.size) {
                helios_slice wanted = world_value(i, o, w->ops[o].size);

                if (memcmp(wanted.data, value.data, value.size) == 0)
                    return true;
            }
    return false;
}

/* at: the commit that is read; the last one by no number, as that may be below the horizon. */
static void check_value_at(struct check *c, unsigned key, helios_seq at, bool is_last)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    char text[16];
    helios_slice user = world_key(key, text), wanted;
    helios_status status;

    options.at = is_last ? 0 : at;
    status = helios_get(c->w->db, &options, user, &c->value);
    CHECK(status == HELIOS_OK || status == HELIOS_NOT_FOUND, "k%03u at %" PRIu64 ": %s", key, at,
          helios_last_error());
    if (is_named(0, user, at)) {
        CHECK(status != HELIOS_OK || was_written(c->w, key, buf_slice(&c->value), at),
              "k%03u has a value at %" PRIu64 " that was never written", key, at);
        return;
    }
    CHECK((status == HELIOS_OK) == (c->by_op[key] >= 0), "k%03u at %" PRIu64 " is %s, and not named as lost",
          key, at, status == HELIOS_OK ? "there" : "missing");
    if (status != HELIOS_OK)
        return;
    wanted = world_value((unsigned)c->by_commit[key], (unsigned)c->by_op[key], c->w->ops[c->by_op[key]].size);
    CHECK(slice_equal(wanted, buf_slice(&c->value)),
          "k%03u at %" PRIu64 " is another value, and not named as lost", key, at);
}

static void scan_branch(helios_db *db, helios_branch_id branch)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_iter *it = NULL;

    options.branch = branch;
    MUST(helios_iter_new(db, &options, &it));
    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it))
        (void)helios_iter_value(it);
    MUST(helios_iter_status(it));
    helios_iter_free(it);
}

static void check_rest(helios_db *db)
{
    helios_branch_info *branches = NULL;
    helios_tag_info *tags = NULL;
    size_t count;

    MUST(helios_branch_list(db, &branches, &count));
    for (size_t i = 0; i < count; i++)
        scan_branch(db, branches[i].id);
    helios_free(branches);
    MUST(helios_tag_list(db, &tags, &count));
    helios_free(tags);
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_put(db, NULL, slice_make("new", 3), slice_make("new", 3)));
}

static void judge(struct world *w, const helios_salvage_report *report, bool closed)
{
    struct check c = {.w = w};

    uint32_t count = w->commit_count;

    /* Of the end of a log that was not closed nothing tells but the report's last commit. */
    while (count > 0 && !closed && w->commits[count - 1].seq > report->last)
        count--;
    for (uint32_t i = 0; i < w->commit_count; i++)
        w->commits[i].present = i < count;
    for (uint32_t i = 0; i < count; i++) {
        helios_seq at = w->commits[i].seq;
        bool is_last = i + 1 == count;

        if (!is_last && (at < report->horizon || at > report->last))
            continue;
        check_expect(&c, i + 1);
        for (unsigned key = 0; key < WORLD_KEYS; key++)
            check_value_at(&c, key, at, is_last);
    }
    helios_buf_free(&c.value);
}

/* Of names, sizes and bytes. */
static uint64_t fingerprint(struct image *image)
{
    uint64_t sum = 0;

    list_files(image);
    for (size_t i = 0; i < image->path_count; i++) {
        uint64_t size = 0;
        unsigned char *bytes = io_memory_bytes(image->fs, image->paths[i], &size);

        sum = sum * 31 + hash_bytes(image->paths[i], strlen(image->paths[i]));
        sum = sum * 31 + hash_bytes(bytes, (size_t)size);
    }
    return sum;
}

/* Whether anything was lost. */
static bool salvage(struct image *image, bool whole)
{
    helios_salvage_options options = HELIOS_SALVAGE_OPTIONS_INIT;
    helios_salvage_report report = {.size = sizeof(report)};
    struct world *w = malloc(sizeof(*w));
    uint64_t before = fingerprint(image);
    helios_status status;

    losses.count = 0;
    options.lost = note_lost;
    options.arg = &losses;
    status = engine_salvage(image->fs, "/db", "/out", &options, &report);
    CHECK(status == HELIOS_OK, "salvage: %s", helios_last_error());
    CHECK(fingerprint(image) == before, "the source was changed");
    CHECK(report.lost == losses.count, "%" PRIu64 " losses counted, %zu told", report.lost, losses.count);
    memcpy(w, image->world, sizeof(*w));
    w->path = "/out";
    w->options.create_if_missing = false;
    status = engine_open(w->fs, w->path, &w->options, &w->db);
    CHECK(status == HELIOS_OK, "what was made cannot be opened: %s", helios_last_error());
    judge(w, &report, strcmp(image->name, "closed") == 0);
    if (whole) {
        CHECK(losses.count == 0, "something is lost of a whole database");
        CHECK(world_check(w, false) == JUDGED_RIGHT, "%s", helios_last_error());
    }
    check_rest(w->db);
    MUST(helios_close(w->db));
    free(w);
    MUST(directory_remove_ours(image->fs, "/out", true));
    runs++;
    with_loss += losses.count > 0;
    return losses.count > 0;
}

/* ---- damage ---- */

struct saved {
    unsigned char *bytes;
    uint64_t size;
};

static struct saved save(struct image *image, const char *path)
{
    struct saved saved = {0};
    unsigned char *bytes = io_memory_bytes(image->fs, path, &saved.size);

    saved.bytes = malloc((size_t)saved.size + 1);
    memcpy(saved.bytes, bytes, (size_t)saved.size);
    return saved;
}

static void put_back(struct image *image, const char *path, const struct saved *saved)
{
    struct io_file *file = NULL;

    MUST(io_open(image->fs, path, IO_WRITE | IO_CREATE | IO_TRUNCATE, &file));
    if (saved->size)
        MUST(io_write(file, 0, saved->bytes, (size_t)saved->size));
    io_close(file);
}

static void cut(struct image *image, const char *path, uint64_t size)
{
    struct io_file *file = NULL;

    MUST(io_open(image->fs, path, IO_WRITE, &file));
    MUST(io_resize(file, size));
    io_close(file);
}

static void flip(struct image *image, const char *path, struct random *rng)
{
    uint64_t size = 0;
    unsigned char *bytes = io_memory_bytes(image->fs, path, &size);

    bytes[random_below(rng, size)] ^= (unsigned char)(1 + random_below(rng, 255));
}

static void swap(struct image *image, const char *path, struct random *rng)
{
    uint64_t size = 0, a, b;
    unsigned char *bytes = io_memory_bytes(image->fs, path, &size), piece[512];

    if (size < 2 * sizeof(piece))
        return;
    a = random_below(rng, size - sizeof(piece) + 1);
    b = random_below(rng, size - sizeof(piece) + 1);
    memcpy(piece, bytes + a, sizeof(piece));
    memmove(bytes + a, bytes + b, sizeof(piece));
    memcpy(bytes + b, piece, sizeof(piece));
}

enum damage { REMOVED, CUT, FLIPPED, FLIPPED_OFTEN, SWAPPED, DAMAGE_COUNT };
static const char *const damage_words[] = {"removed", "cut off", "flipped once", "flipped often", "swapped"};

static void damage_file(struct image *image, const char *path, enum damage damage, struct random *rng)
{
    struct saved saved = save(image, path);

    snprintf(fault_where, sizeof(fault_where), "seed %" PRIu64 ", %s database, %s %s", seed, image->name, path,
             damage_words[damage]);
    if (damage == REMOVED)
        MUST(io_remove(image->fs, path));
    else if (damage == CUT)
        cut(image, path, random_below(rng, saved.size + 1));
    else if (saved.size && damage == SWAPPED)
        swap(image, path, rng);
    else if (saved.size)
        for (uint64_t i = damage == FLIPPED ? 1 : 2 + random_below(rng, 8); i > 0; i--)
            flip(image, path, rng);
    salvage(image, false);
    put_back(image, path, &saved);
    free(saved.bytes);
}

static bool matters(const char *path)
{
    return !strstr(path, "/LOG") && !strstr(path, ".idx") && !strstr(path, ".tmp");
}

static void damage_files(struct image *image)
{
    char paths[FILES_MAX][64];
    size_t count = image->path_count;
    struct random rng;

    random_seed(&rng, seed);
    memcpy(paths, image->paths, sizeof(paths));
    for (size_t i = 0; i < count; i++)
        for (enum damage damage = 0; damage < DAMAGE_COUNT && matters(paths[i]); damage++)
            for (uint64_t n = 0; n < (damage == REMOVED ? 1 : damages); n++)
                damage_file(image, paths[i], damage, &rng);
}

/* Several files of a kind are gone at once. */
static void remove_kinds(struct image *image)
{
    static const char *const kinds[] = {"/MANIFEST", "/CURRENT", "/HELIOS", "/db/C/H/M", "/wal/", "/sst/"};

    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        struct saved saved[FILES_MAX] = {{0}};
        char paths[FILES_MAX][64];
        size_t count = image->path_count;

        memcpy(paths, image->paths, sizeof(paths));
        snprintf(fault_where, sizeof(fault_where), "seed %" PRIu64 ", %s database, without %s", seed,
                 image->name, kinds[k]);
        for (size_t i = 0; i < count; i++) {
            bool is_top = !strstr(paths[i], "/wal/") && !strstr(paths[i], "/sst/");

            if (!strstr(paths[i], kinds[k]) && !(kinds[k][3] == '/' && is_top))
                continue;
            saved[i] = save(image, paths[i]);
            MUST(io_remove(image->fs, paths[i]));
        }
        salvage(image, false);
        for (size_t i = 0; i < count; i++)
            if (saved[i].bytes) {
                put_back(image, paths[i], &saved[i]);
                free(saved[i].bytes);
            }
        list_files(image);
    }
}

static void test_image(enum kind kind, bool feed)
{
    struct image image = {0};

    image_make(&image, kind, feed);
    snprintf(fault_where, sizeof(fault_where), "seed %" PRIu64 ", %s database, whole", seed, image.name);
    salvage(&image, true);
    remove_kinds(&image);
    damage_files(&image);
    image_release(&image);
}

static void test_refusals(void)
{
    helios_salvage_report report = {.size = sizeof(report)};
    helios_options options = HELIOS_OPTIONS_INIT;
    struct io_fs *fs;
    helios_db *db;

    snprintf(fault_where, sizeof(fault_where), "refusals");
    MUST(io_memory_new(&fs));
    assert(engine_salvage(fs, NULL, "/out", NULL, NULL) == HELIOS_INVALID);
    assert(engine_salvage(fs, "/db", NULL, NULL, NULL) == HELIOS_INVALID);
    assert(engine_salvage(fs, "/db", "/out", NULL, NULL) == HELIOS_NOT_FOUND);
    MUST(io_make_directory(fs, "/db"));
    assert(engine_salvage(fs, "/db", "/out", NULL, NULL) == HELIOS_NOT_FOUND);
    MUST(engine_open(fs, "/db", &options, &db));
    assert(engine_salvage(fs, "/db", "/out", NULL, NULL) == HELIOS_BUSY);
    MUST(helios_close(db));
    assert(engine_salvage(fs, "/db", "/db", NULL, NULL) == HELIOS_EXISTS);
    MUST(engine_salvage(fs, "/db", "/out", NULL, &report));
    assert(report.manifest && report.versions == 0 && report.lost == 0);
    MUST(engine_open(fs, "/out", &options, &db));
    MUST(helios_close(db));
    io_free(fs);
}

int main(int argc, char **argv)
{
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    damages = argc > 2 ? strtoull(argv[2], NULL, 10) : DAMAGES_DEFAULT;
    printf("seed %" PRIu64 "\n", seed);
    test_refusals();
    test_image(CLOSED, false);
    test_image(KILLED, true);
    test_image(ALL_IN_LOG, false);
    printf("%" PRIu64 " databases salvaged, of %" PRIu64 " something was lost\n", runs, with_loss);
    return 0;
}
