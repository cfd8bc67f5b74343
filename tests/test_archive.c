/* test_archive.c - archived segments of the log: a walk over archives, segments and the log's end gives what was appended,
 * with and without a filter, over reopening, crashes at each call, failures, damage in each byte, trims and checkpoints.
 * A list of all that was appended is the model. Usage: test_archive [seed] [threads] */
#undef NDEBUG
#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/thread.h"
#include "wal/wal_internal.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { COMMITS_MAX = 60000, BODY_MAX = 1 << 16, KEY_MAX = 40, TABLES = 1000 };

static uint64_t seed = 1;

/* A record's body here: u8 count, then keys, each u8 size and so many bytes; then a value to the end. */
struct commit {
    helios_seq first;
    uint32_t ops, size;
    bool is_void, always; /* always: of no key that would be told */
};

static struct world {
    struct io_fs *fs;
    struct wal_options options;
    struct wal *wal;
    uint64_t floor;
    struct wal_recovery last;
    helios_seq next, synced;
    struct commit commits[COMMITS_MAX];
    size_t count;
    unsigned said;
    char sentence[512];      /* the last one */
    unsigned tables, values; /* how many tables, how random values are: of 8 bytes so many are text */
} world;

/* ---- records ---- */

static unsigned char body_bytes[BODY_MAX];

static size_t make_key(struct random *rng, unsigned char *out)
{
    uint64_t table = random_below(rng, world.tables), dice = random_below(rng, 20);

    if (dice == 0)
        return (size_t)snprintf((char *)out, KEY_MAX, "t%03u", (unsigned)table);
    if (dice == 1)
        return random_below(rng, 3);
    return (size_t)snprintf((char *)out, KEY_MAX, "t%03u/%08u", (unsigned)table,
                            (unsigned)random_below(rng, 100000000));
}

static helios_slice body_of(const struct commit *commit)
{
    struct random rng;
    size_t at = 1;

    random_seed(&rng, commit->first);
    memset(body_bytes, 0, 128);
    body_bytes[0] = commit->always ? 0 : (unsigned char)commit->ops;
    for (unsigned i = 0; i < body_bytes[0]; i++) {
        size_t size = make_key(&rng, body_bytes + at + 1);

        body_bytes[at] = (unsigned char)size;
        at += 1 + size;
    }
    assert(at <= 128 && commit->size >= 128);
    for (at = 128; at < commit->size; at++)
        body_bytes[at] = at % 8 < world.values ? "a value "[at % 8] : (unsigned char)random_next(&rng);
    return slice_make(body_bytes, commit->size);
}

static void terms_of(const struct wal_record *record, struct wal_terms *terms)
{
    const unsigned char *at = record->body.data;
    unsigned count = *at++;

    if (count == 0)
        wal_terms_always(terms);
    for (unsigned i = 0; i < count; i++, at += 1 + at[0])
        wal_terms_add(terms, (uint8_t)(record->first % 3), slice_make(at + 1, at[0]));
}

static bool is_wanted(const struct commit *commit, const struct wal_filter *filter)
{
    const unsigned char *at = body_of(commit).data;
    unsigned count = *at++;

    if (!filter || count == 0)
        return true;
    for (unsigned i = 0; i < count && commit->first % 3 == filter->space; i++, at += 1 + at[0])
        if (slice_starts_with(slice_make(at + 1, at[0]), filter->prefix))
            return true;
    return false;
}

/* ---- the log and the list ---- */

static void say(void *arg, const char *sentence)
{
    struct world *w = arg;

    assert(strlen(sentence) > 20);
    snprintf(w->sentence, sizeof(w->sentence), "%s", sentence);
    w->said++;
}

static struct world *world_new(void)
{
    struct world *w = &world;

    memset(w, 0, sizeof(*w));
    w->next = 1;
    w->tables = TABLES;
    w->values = 6;
    assert(io_faulty_new(seed, &w->fs) == HELIOS_OK);
    assert(io_make_directory(w->fs, "/wal") == HELIOS_OK);
    assert(io_sync_directory(w->fs, "/") == HELIOS_OK);
    w->options = (struct wal_options){.fs = w->fs,
                                      .directory = "/wal",
                                      .segment_bytes = 256 * 1024,
                                      .sync_interval = UINT64_MAX,
                                      .use_mapping = true,
                                      .recycle_max = 2,
                                      .archive = true,
                                      .terms = terms_of,
                                      .say = say,
                                      .say_arg = w};
    return w;
}

static helios_seq last_number(const struct world *w)
{
    return w->count == 0 ? 0 : w->commits[w->count - 1].first + w->commits[w->count - 1].ops - 1;
}

static helios_status open_log(struct world *w)
{
    helios_seq last;
    helios_status status;

    w->last.floor = w->floor;
    status = wal_recover(&w->options, &w->last, NULL, NULL);
    if (status == HELIOS_OK)
        status = wal_open(&w->options, &w->last, w->next, &w->wal);
    if (status != HELIOS_OK)
        return status;
    last = w->last.last != 0 ? w->last.last : w->synced;
    assert(last >= w->synced);
    while (last_number(w) > last)
        w->count--;
    w->synced = last_number(w);
    w->floor = wal_segment_moved(w->wal, w->floor);
    return HELIOS_OK;
}

static void must_open(struct world *w)
{
    helios_status status = open_log(w);

    if (status != HELIOS_OK)
        printf("open: %s\n", helios_last_error());
    assert(status == HELIOS_OK);
}

static void close_log(struct world *w)
{
    wal_pos end;

    assert(wal_close(w->wal, &end) == HELIOS_OK);
    w->wal = NULL;
    w->last = (struct wal_recovery){.clean = true, .clean_end = end};
    w->synced = last_number(w);
}

static void crash(struct world *w, enum io_damage damage, uint64_t damage_seed)
{
    io_faulty_stop_at(w->fs, 1);
    (void)!wal_close(w->wal, NULL);
    w->wal = NULL;
    if (damage == IO_DAMAGE_KEEP_ALL)
        io_faulty_stop_at(w->fs, 0);
    else
        io_faulty_power_cut(w->fs, damage, damage_seed);
    w->last = (struct wal_recovery){0};
    w->next += 1000;
}

static void world_end(struct world *w)
{
    if (w->wal)
        close_log(w);
    io_free(w->fs);
}

static void append(struct world *w, const struct commit *commit)
{
    uint64_t bytes = wal_record_size(commit->size);
    struct wal_record record = {.first = commit->first,
                                .op_count = commit->ops,
                                .type = commit->is_void ? WAL_VOID : WAL_COMMIT,
                                .time = 1000 + commit->first};
    struct wal_reservation at;
    helios_slice body = body_of(commit);

    while (!wal_reserve(w->wal, bytes, w->next, &at))
        assert(wal_prepare(w->wal, bytes) == HELIOS_OK);
    assert(wal_write(w->wal, &at, &record, hash_bytes(body.data, body.size), &body, commit->is_void ? 0 : 1) ==
           HELIOS_OK);
    assert(w->count < COMMITS_MAX);
    w->commits[w->count++] = *commit;
    w->next += commit->ops;
    wal_publish(w->wal, at.end, w->next - 1);
}

static void append_drawn(struct world *w, struct random *rng, int count)
{
    for (int i = 0; i < count; i++) {
        struct commit commit = {.first = w->next, .ops = 1, .size = 128 + (uint32_t)random_below(rng, 100)};

        if (random_below(rng, 10) == 0)
            commit.ops += (uint32_t)random_below(rng, 3);
        if (random_below(rng, 60) == 0)
            commit.size += (uint32_t)random_below(rng, BODY_MAX - 1000);
        commit.is_void = random_below(rng, 40) == 0;
        commit.always = random_below(rng, 300) == 0;
        append(w, &commit);
    }
}

static void append_small(struct world *w, int count)
{
    for (int i = 0; i < count; i++)
        append(w, &(struct commit){.first = w->next, .ops = 1, .size = 136});
}

/* All that may be archived is; or the archiver has nothing it would do now. */
static bool all_archived(struct world *w)
{
    uint64_t keep = atomic_load(&w->wal->keep);
    bool all;

    mutex_lock(&w->wal->mu);
    all = w->wal->first->number >= atomic_load(&w->wal->floor);
    for (size_t i = 0; i < w->wal->kept_count; i++)
        all &= w->wal->kept[i].archived && w->wal->kept[i].number >= keep;
    mutex_unlock(&w->wal->mu);
    return all;
}

static struct wal_kept kept_at(struct world *w, size_t index)
{
    struct wal_kept kept;

    mutex_lock(&w->wal->mu);
    assert(index < w->wal->kept_count);
    kept = w->wal->kept[index];
    mutex_unlock(&w->wal->mu);
    return kept;
}

static size_t kept_count(struct world *w)
{
    size_t count;

    mutex_lock(&w->wal->mu);
    count = w->wal->kept_count;
    mutex_unlock(&w->wal->mu);
    return count;
}

static void wait_archived(struct world *w)
{
    while (!all_archived(w)) {
        wal_keeper_wake(w->wal);
        thread_sleep(200);
    }
}

static void release(struct world *w)
{
    assert(wal_sync(w->wal, UINT64_MAX, UINT64_MAX) == HELIOS_OK);
    w->synced = last_number(w);
    w->floor = wal_pos_segment(wal_durable(w->wal));
    wal_release(w->wal, w->floor);
}

/* ---- walks ---- */

/* What a walk gives from `from` on: all that is wanted, in order, each once; others only where there is a filter. */
static helios_status walk(struct world *w, helios_seq from, const struct wal_filter *filter, size_t *given)
{
    struct wal_cursor *cursor = NULL;
    wal_pos upto = wal_published(w->wal);
    helios_status status = wal_cursor_new(w->wal, from, filter, &cursor);
    size_t i = 0;

    *given = 0;
    while (i < w->count && w->commits[i].first + w->commits[i].ops <= from)
        i++;
    while (status == HELIOS_OK) {
        struct wal_record record;
        const struct commit *commit;

        status = wal_cursor_next(cursor, upto, &record);
        if (status != HELIOS_OK)
            break;
        for (; i < w->count && w->commits[i].first < record.first; i++)
            assert(w->commits[i].is_void || (filter && !is_wanted(&w->commits[i], filter)));
        assert(i < w->count);
        commit = &w->commits[i++];
        assert(record.first == commit->first && record.op_count == commit->ops);
        assert(record.type == WAL_COMMIT && record.time == 1000 + commit->first);
        assert(slice_equal(record.body, body_of(commit)));
        ++*given;
    }
    wal_cursor_free(cursor);
    if (status != HELIOS_NOT_FOUND)
        return status;
    for (; i < w->count; i++)
        assert(w->commits[i].is_void || (filter && !is_wanted(&w->commits[i], filter)));
    return HELIOS_OK;
}

static void check_walk(struct world *w, helios_seq from, const struct wal_filter *filter)
{
    size_t given;
    helios_status status = walk(w, from, filter, &given);

    if (status != HELIOS_OK)
        printf("from %" PRIu64 ": %s %s\n", from, helios_status_name(status), helios_last_error());
    assert(status == HELIOS_OK);
}

static void check_filters(struct world *w, struct random *rng, int count)
{
    for (int i = 0; i < count; i++) {
        char prefix[KEY_MAX];
        struct wal_filter filter = {.space = (uint8_t)random_below(rng, 4), .prefix = {prefix, 0}};
        helios_seq first = wal_kept_first(w->wal);

        filter.prefix.size =
            (size_t)snprintf(prefix, sizeof(prefix), "t%03u/%08u", (unsigned)random_below(rng, w->tables),
                             (unsigned)random_below(rng, 100000000));
        filter.prefix.size = random_below(rng, random_below(rng, 2) ? filter.prefix.size + 1 : 7);
        check_walk(w, i % 2 ? first : first + random_below(rng, w->next - first), &filter);
    }
}

/* ---- cases ---- */

static uint64_t file_size(struct world *w, const char *path)
{
    struct io_stat stat = {0};

    return io_stat(w->fs, path, &stat) == HELIOS_OK ? stat.size : 0;
}

static void path_of(uint64_t number, bool archived, char *path)
{
    wal_place_path("/wal", number, archived, path, 64);
}

static bool add_bytes(void *arg, uint64_t number, helios_seq first, uint64_t bytes)
{
    uint64_t *sum = arg;
    char path[64];

    (void)first;
    path_of(number, true, path);
    assert(file_size(&world, path) == bytes);
    *sum += bytes;
    return true;
}

/* Archives take their segments' place, are smaller, are the feed over opens, and go when they are let go of. */
static void life(void)
{
    struct world *w = world_new();
    struct random rng;
    uint64_t bytes = 0, first, keep;
    char path[64];

    random_seed(&rng, seed);
    must_open(w);
    append_drawn(w, &rng, 6000);
    release(w);
    wait_archived(w);
    first = kept_at(w, 0).number;
    path_of(first, false, path);
    assert(kept_count(w) > 3 && file_size(w, path) == 0);
    wal_index_path("/wal", first + 2, path, sizeof(path));
    assert(file_size(w, path) == 0);
    wal_each_kept(w->wal, add_bytes, &bytes);
    assert(bytes == wal_kept_bytes(w->wal) && bytes < kept_count(w) * 256 * 1024 / 2);
    for (int opened = 0; opened < 3; opened++) {
        check_walk(w, 1, NULL);
        for (int i = 0; i < 20; i++)
            check_walk(w, 1 + random_below(&rng, w->next), NULL);
        check_filters(w, &rng, 30);
        append_drawn(w, &rng, 500);
        check_filters(w, &rng, 5);
        if (opened == 0)
            close_log(w);
        else
            crash(w, IO_DAMAGE_KEEP_ALL, 1);
        must_open(w);
        assert(kept_count(w) > 3 && kept_at(w, 0).archived);
    }
    keep = kept_at(w, 2).number;
    wal_keep(w->wal, keep);
    path_of(first, true, path);
    while (file_size(w, path) > 0)
        thread_sleep(200);
    assert(wal_kept_first(w->wal) > 1);
    check_walk(w, wal_kept_first(w->wal), NULL);
    w->options.keep = keep;
    close_log(w);
    w->options.keep = WAL_KEEP_NONE; /* no feed any more: archives are nobody's */
    must_open(w);
    path_of(keep, true, path);
    assert(file_size(w, path) == 0 && wal_kept_bytes(w->wal) == 0);
    world_end(w);
}

/* What is not smaller by an eighth stays as it is. */
static void incompressible(void)
{
    struct world *w = world_new();
    struct random rng;
    char path[64];
    uint64_t number;

    random_seed(&rng, seed);
    must_open(w);
    w->values = 0;
    for (int i = 0; i < 60; i++)
        append(w, &(struct commit){.first = w->next, .ops = 1, .size = 30000});
    number = wal_segment_now(w->wal);
    release(w);
    while (kept_count(w) < 3)
        thread_sleep(200);
    thread_sleep(20000);
    for (uint64_t n = 1; n < number; n++) {
        path_of(n, true, path);
        assert(file_size(w, path) == 0);
    }
    check_walk(w, 1, NULL);
    assert(w->said == 0);
    world_end(w);
}

/* The machine stops at any call that changes something: what is kept is there afterwards, once. */
static void power_cuts(void)
{
    for (uint64_t n = 1; n < 100; n += 3) {
        struct world *w = world_new();
        struct random rng;

        random_seed(&rng, seed + n);
        must_open(w);
        append_drawn(w, &rng, 1500);
        io_faulty_stop_at(w->fs, n);
        if (wal_sync(w->wal, UINT64_MAX, UINT64_MAX) == HELIOS_OK)
            w->synced = last_number(w);
        wal_release(w->wal, wal_pos_segment(wal_durable(w->wal)));
        for (int i = 0; i < 40 && !io_faulty_stopped(w->fs); i++)
            thread_sleep(200);
        /* As far as the manifest may say it: an archive is made of what recovery does not need. */
        w->floor = wal_pos_segment(wal_durable(w->wal));
        crash(w, (enum io_damage)(n / 3 % IO_DAMAGE_COUNT), seed + n);
        must_open(w);
        check_walk(w, 1, NULL);
        release(w);
        wait_archived(w);
        check_walk(w, 1, NULL);
        check_filters(w, &rng, 3);
        crash(w, (enum io_damage)((n / 3 + 3) % IO_DAMAGE_COUNT), seed + n);
        must_open(w);
        check_walk(w, 1, NULL);
        world_end(w);
    }
}

static int count_names(struct world *w, uint64_t number)
{
    char path[64];
    int count = 0;

    for (int archived = 0; archived < 2; archived++) {
        path_of(number, archived, path);
        count += file_size(w, path) > 0;
    }
    return count;
}

/* What is said is why the archive could not be made, also where there is nothing of it to be removed. */
static void not_created(void)
{
    struct world *w = world_new();
    struct random rng;

    random_seed(&rng, seed);
    must_open(w);
    io_faulty_plan(w->fs, &(struct io_fault){.fail_at = 1,
                                             .forever = true,
                                             .mask = 1u << IO_CALL_OPEN,
                                             .error_number = ENOSPC,
                                             .path_contains = ".arc"});
    append_drawn(w, &rng, 1500);
    release(w);
    while (*(volatile unsigned *)&w->said == 0)
        thread_sleep(200);
    io_faulty_plan(w->fs, NULL);
    wait_archived(w);
    assert(w->said == 1 && strstr(w->sentence, strerror(ENOSPC)));
    world_end(w);
}

/* Calls and allocations fail: nothing is lost, it is said once, and tried again. */
static void failures(void)
{
    struct world *w = world_new();
    struct random rng;

    random_seed(&rng, seed);
    must_open(w);
    io_faulty_plan(w->fs, &(struct io_fault){.fail_at = 1,
                                             .forever = true,
                                             .mask = 1u << IO_CALL_WRITE,
                                             .error_number = ENOSPC,
                                             .path_contains = ".arc"});
    append_drawn(w, &rng, 1500);
    release(w);
    while (kept_count(w) < 2)
        thread_sleep(200);
    for (int i = 0; i < 20 || *(volatile unsigned *)&w->said == 0; i++) {
        wal_keeper_wake(w->wal);
        thread_sleep(2000);
    }
    assert(w->said == 1 && strstr(w->sentence, strerror(ENOSPC)));
    for (size_t i = 0; i < kept_count(w); i++)
        assert(count_names(w, kept_at(w, i).number) == 1);
    check_walk(w, 1, NULL);
    for (uint64_t n = 1; n < 30; n++) {
        io_faulty_plan(w->fs, &(struct io_fault){.fail_at = n,
                                                 .mask = ~(1u << IO_CALL_SYNC_DIRECTORY),
                                                 .error_number = EIO,
                                                 .path_contains = n % 2 ? ".arc" : ".wal"});
        wal_keeper_wake(w->wal);
        thread_sleep(25000); /* it waits until little is written */
        io_faulty_plan(w->fs, NULL);
        check_walk(w, 1, NULL);
    }
    wait_archived(w);
    check_walk(w, 1, NULL);
    world_end(w);
    /* Allocations of readers. */
    w = world_new();
    must_open(w);
    append_drawn(w, &rng, 1500);
    release(w);
    wait_archived(w);
    for (uint64_t n = 1; n < 40; n++) {
        struct wal_filter filter = {.space = 1, .prefix = slice_text("t1")};
        size_t given;
        helios_status status;

        mem_fail_thread_only(true);
        mem_fail_at(n, false);
        status = walk(w, 1 + n * 10, n % 2 ? &filter : NULL, &given);
        mem_fail_at(0, false);
        mem_fail_thread_only(false);
        assert(status == HELIOS_OK || status == HELIOS_NO_MEMORY);
    }
    world_end(w);
}

/* A byte of an archive is not what it was: a walk says so and where, or gives what it should all the same. */
static void damaged(void)
{
    struct world *w = world_new();
    struct random rng;
    struct wal_filter filter = {.space = 1, .prefix = slice_text("t001")};
    unsigned char *bytes;
    unsigned corrupt = 0, refused = 0;
    uint64_t size;
    char path[64];

    random_seed(&rng, seed);
    must_open(w);
    append_small(w, 700);
    release(w);
    wait_archived(w);
    close_log(w);
    path_of(1, true, path);
    bytes = io_memory_bytes(w->fs, path, &size);
    assert(bytes && size > 4000);
    for (uint64_t i = 0; i < size; i += i < 700 || i + 3000 > size ? 3 : 97) {
        unsigned char flip = (unsigned char)(1 << random_below(&rng, 8));
        struct wal_recovery last = w->last;
        helios_status status;
        size_t given;

        bytes = io_memory_bytes(w->fs, path, &size);
        bytes[i] ^= flip;
        w->last = last;
        status = open_log(w);
        if (status == HELIOS_OK) {
            status = walk(w, 1, NULL, &given);
            assert(status == HELIOS_OK || status == HELIOS_CORRUPT || status == HELIOS_UNSUPPORTED);
            if (status == HELIOS_CORRUPT)
                assert(strstr(helios_last_error(), path) && strstr(helios_last_error(), " at "));
            corrupt += status == HELIOS_CORRUPT;
            status = walk(w, 1, &filter, &given);
            assert(status == HELIOS_OK || status == HELIOS_CORRUPT);
            crash(w, IO_DAMAGE_KEEP_ALL, 1);
            w->next -= 1000;
        } else {
            assert((status == HELIOS_CORRUPT || status == HELIOS_UNSUPPORTED) &&
                   strstr(helios_last_error(), path));
            refused++;
            w->last = last;
        }
        bytes = io_memory_bytes(w->fs, path, &size);
        bytes[i] ^= flip;
    }
    assert(corrupt > 20 && refused > 20);
    must_open(w);
    check_walk(w, 1, NULL);
    check_walk(w, 1, &filter);
    world_end(w);
}

static helios_status copy_one(void *arg, uint64_t number, const char *path, uint64_t end, helios_seq last,
                              bool sealed)
{
    struct world *w = arg;
    char to[64];

    (void)number;
    snprintf(to, sizeof(to), "/copy%s", strrchr(path, '/'));
    thread_sleep(300); /* the archiver works beside */
    return sealed ? io_link(w->fs, path, to)
                  : wal_segment_copy(w->fs, path, to, end, last < w->next ? last : w->next - 1);
}

static void checkpoints(void)
{
    struct world *w = world_new();
    struct random rng;

    random_seed(&rng, seed);
    must_open(w);
    append_drawn(w, &rng, 2000);
    release(w);
    assert(io_make_directory(w->fs, "/copy") == HELIOS_OK);
    assert(wal_each_segment(w->wal, wal_published(w->wal), copy_one, w) == HELIOS_OK);
    w->last = (struct wal_recovery){.synced = wal_published(w->wal), .last_synced = w->next - 1};
    wait_archived(w);
    check_walk(w, 1, NULL);
    assert(wal_close(w->wal, NULL) == HELIOS_OK);
    w->options.directory = "/copy";
    must_open(w);
    check_walk(w, 1, NULL);
    world_end(w);
}

/* A copy of segments that were left and not sealed yet: each is sealed with its own last number, so that who passes over the
 * archive of one expects no more of the next than it has. */
static void copies(void)
{
    struct world *w = world_new();
    struct random rng;

    random_seed(&rng, seed);
    must_open(w);
    append_drawn(w, &rng, 6000); /* without a sync nothing is sealed */
    assert(io_make_directory(w->fs, "/copy") == HELIOS_OK);
    assert(wal_each_segment(w->wal, wal_published(w->wal), copy_one, w) == HELIOS_OK);
    w->last = (struct wal_recovery){.synced = wal_published(w->wal), .last_synced = w->next - 1};
    assert(wal_close(w->wal, NULL) == HELIOS_OK);
    w->options.directory = "/copy";
    must_open(w);
    release(w);
    wait_archived(w);
    check_filters(w, &rng, 200);
    world_end(w);
}

/* The last process left its first segment empty, as the first record was too large for it, and was killed before the seal.
 * The archive of it tells no numbers; what is before it is still found. */
static void empty_segment(void)
{
    struct world *w = world_new();
    static const unsigned char zeros[64];
    struct io_file *file;
    uint64_t number;
    char path[64];

    w->options.keep = WAL_KEEP_NONE; /* a segment that is not kept is not cut when it is sealed */
    must_open(w);
    append_small(w, 1000);
    close_log(w);
    must_open(w);
    number = wal_segment_now(w->wal);
    append(w, &(struct commit){.first = w->next, .ops = 1, .size = BODY_MAX});
    assert(wal_segment_now(w->wal) == number + 1);
    append_small(w, 1000);
    close_log(w);
    path_of(number, false, path);
    assert(io_open(w->fs, path, IO_WRITE, &file) == HELIOS_OK);
    assert(io_write(file, WAL_SEAL, zeros, sizeof(zeros)) == HELIOS_OK && io_sync(file) == HELIOS_OK);
    io_close(file);
    w->options.keep = 1;
    for (int opened = 0; opened < 2; opened++) {
        must_open(w);
        release(w);
        wait_archived(w);
        path_of(number, true, path);
        assert(file_size(w, path) > 0);
        for (helios_seq from = 1; from < w->next; from += 100)
            check_walk(w, from, NULL);
        close_log(w);
    }
    world_end(w);
}

/* An end that was looked at long ago lies within what is an archive by now: a walk stops there, and goes on. */
static void old_ends(void)
{
    enum { ENDS = 40 };
    struct world *w = world_new();
    struct random rng;
    wal_pos ends[ENDS];
    helios_seq next[ENDS];

    random_seed(&rng, seed);
    must_open(w);
    for (int i = 0; i < ENDS; i++) {
        append_drawn(w, &rng, 100);
        ends[i] = wal_published(w->wal);
        next[i] = w->next;
    }
    append_drawn(w, &rng, 2000);
    release(w);
    wait_archived(w);
    for (int round = 0; round < 400; round++) {
        struct wal_filter filter = {.space = (uint8_t)(round % 3)};
        char prefix[KEY_MAX];
        struct wal_cursor *cursor;
        struct wal_record record;
        size_t i = 0;

        filter.prefix = slice_make(prefix, (size_t)snprintf(prefix, sizeof(prefix), "t%03u", round));
        assert(wal_cursor_new(w->wal, 1, &filter, &cursor) == HELIOS_OK);
        for (int end = 0; end <= ENDS; end++) {
            helios_status status;

            while ((status = wal_cursor_next(cursor, end < ENDS ? ends[end] : wal_published(w->wal),
                                             &record)) == HELIOS_OK) {
                assert(record.first < (end < ENDS ? next[end] : w->next));
                for (; w->commits[i].first < record.first; i++)
                    assert(w->commits[i].is_void || !is_wanted(&w->commits[i], &filter));
                i++;
            }
            if (status != HELIOS_NOT_FOUND)
                printf("%s: %s\n", helios_status_name(status), helios_last_error());
            assert(status == HELIOS_NOT_FOUND);
            for (; i < w->count && w->commits[i].first < (end < ENDS ? next[end] : w->next); i++)
                assert(w->commits[i].is_void || !is_wanted(&w->commits[i], &filter));
        }
        wal_cursor_free(cursor);
    }
    world_end(w);
}

/* A filter for one of many tables reads little. */
static void skips(void)
{
    struct world *w = world_new();
    struct wal_filter filter = {.space = 1, .prefix = slice_text("t123/")};
    struct io_counts before, after;
    uint64_t raw = 0, stored, all = 0, some = 0;
    size_t given;

    w->options.segment_bytes = 8 << 20;
    must_open(w);
    w->values = 4;
    for (int i = 0; i < 30000; i++)
        append(w, &(struct commit){.first = w->next, .ops = 1, .size = 128 + 100});
    release(w);
    wait_archived(w);
    stored = wal_kept_bytes(w->wal);
    w->count = 0; /* only bytes are counted below */
    for (int filtered = 0; filtered < 2; filtered++) {
        struct wal_cursor *cursor;
        struct wal_record record;

        io_get_counts(w->fs, &before);
        assert(wal_cursor_new(w->wal, 1, filtered ? &filter : NULL, &cursor) == HELIOS_OK);
        for (given = 0; wal_cursor_next(cursor, wal_pos_make(w->floor, WAL_DATA), &record) == HELIOS_OK;)
            given++;
        wal_cursor_free(cursor);
        io_get_counts(w->fs, &after);
        if (!filtered)
            raw = given * wal_record_size(128 + 100);
        *(filtered ? &some : &all) = after.read_bytes - before.read_bytes;
    }
    printf("%" PRIu64 " bytes of records, %" PRIu64 " archived; all read: %" PRIu64
           ", one of %d tables: %" PRIu64 "\n",
           raw, stored, all, TABLES, some);
    assert(some * 20 < raw && some * 8 < stored);
    w->synced = 0;
    assert(wal_close(w->wal, NULL) == HELIOS_OK);
    w->wal = NULL;
    world_end(w);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } cases[] = {{"life", life},
                 {"checkpoints", checkpoints},
                 {"skips", skips},
                 {"incompressible", incompressible},
                 {"old ends", old_ends},
                 {"copies", copies},
                 {"an empty segment", empty_segment},
                 {"power cuts", power_cuts},
                 {"not created", not_created},
                 {"failures", failures},
                 {"damaged", damaged}};
    size_t count = sizeof(cases) / sizeof(cases[0]);

    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("seed %" PRIu64 "\n", seed);
    if (argc > 2 && strcmp(argv[2], "threads") == 0)
        count = 3;
    for (size_t i = 0; i < count; i++) {
        printf("%s\n", cases[i].name);
        cases[i].run();
    }
    return 0;
}
