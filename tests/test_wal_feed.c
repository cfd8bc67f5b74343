/* test_wal_feed.c - the log as a feed: what is kept is there, walks over it begin anywhere and see every commit once, also
 * beside writers, over reopening and crashes; what was let go of is said to be. A list of all that was appended is the
 * model. Usage: test_wal_feed [seed] [threads] */
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

enum { COMMITS_MAX = 60000, BODY_MAX = 1 << 18, CURSORS = 4 };

static uint64_t seed = 1;
static unsigned char body_bytes[BODY_MAX];

struct commit {
    helios_seq first;
    uint32_t ops, size;
    bool is_void;
};

struct walker {
    struct wal_cursor *cursor;
    helios_seq from;
    size_t next; /* index of the next commit */
};

struct world {
    struct io_fs *fs;
    struct wal_options options; /* keep is what would be durable */
    struct wal *wal;
    uint64_t floor;
    struct wal_recovery last;
    helios_seq next, synced;
    struct commit commits[COMMITS_MAX];
    size_t count;
    struct walker walkers[CURSORS];
};

static struct world world;

/* ---- the log and the list ---- */

static helios_slice body_of(helios_seq first, size_t size)
{
    struct random rng;

    assert(size <= BODY_MAX);
    random_seed(&rng, first);
    for (size_t at = 0; at < size; at += 8) {
        uint64_t drawn = random_next(&rng);

        memcpy(body_bytes + at, &drawn, size - at < 8 ? size - at : 8);
    }
    return slice_make(body_bytes, size);
}

static struct world *world_new(bool mapped)
{
    struct world *w = &world;

    memset(w, 0, sizeof(*w));
    w->next = 1;
    assert(io_faulty_new(seed, &w->fs) == HELIOS_OK);
    assert(io_make_directory(w->fs, "/wal") == HELIOS_OK);
    assert(io_sync_directory(w->fs, "/") == HELIOS_OK);
    w->options = (struct wal_options){.fs = w->fs,
                                      .directory = "/wal",
                                      .segment_bytes = 256 * 1024,
                                      .sync_interval = UINT64_MAX,
                                      .use_mapping = mapped,
                                      .recycle_max = 2};
    return w;
}

static helios_seq last_number(const struct world *w)
{
    return w->count == 0 ? 0 : w->commits[w->count - 1].first + w->commits[w->count - 1].ops - 1;
}

/* Replay passes over what is below the floor; the rest is the end of the list. */
struct replayed {
    struct world *w;
    size_t next;
};

static helios_status replay(void *arg, const struct wal_record *record)
{
    struct replayed *r = arg;

    if (r->next == SIZE_MAX)
        for (r->next = 0; r->w->commits[r->next].first != record->first;)
            r->next++;
    assert(r->next < r->w->count && r->w->commits[r->next].first == record->first);
    r->next++;
    return HELIOS_OK;
}

static helios_status open_log(struct world *w)
{
    struct replayed r = {w, SIZE_MAX};
    helios_seq last;
    helios_status status;

    w->last.floor = w->floor;
    status = wal_recover(&w->options, &w->last, replay, &r);
    if (status == HELIOS_OK)
        status = wal_open(&w->options, &w->last, w->next, &w->wal);
    if (status != HELIOS_OK)
        return status;
    last =
        w->last.last != 0 ? w->last.last : w->synced; /* nothing from the floor on: what was synced is below */
    assert(last >= w->synced);
    while (last_number(w) > last)
        w->count--;
    assert(r.next == SIZE_MAX || r.next == w->count);
    w->synced = last_number(w);
    return HELIOS_OK;
}

static void must_open(struct world *w)
{
    helios_status status = open_log(w);

    if (status != HELIOS_OK)
        printf("open: %s\n", helios_last_error());
    assert(status == HELIOS_OK);
}

static void walkers_close(struct world *w)
{
    for (int i = 0; i < CURSORS; i++) {
        wal_cursor_free(w->walkers[i].cursor);
        w->walkers[i].cursor = NULL;
    }
}

static void close_log(struct world *w)
{
    wal_pos end;

    walkers_close(w);
    assert(wal_close(w->wal, &end) == HELIOS_OK);
    w->wal = NULL;
    w->last = (struct wal_recovery){.clean = true, .clean_end = end};
    w->synced = last_number(w);
}

/* With KEEP_ALL only the process is gone. Numbering goes on higher up. */
static void crash(struct world *w, enum io_damage damage, uint64_t damage_seed)
{
    walkers_close(w);
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

static void append(struct world *w, size_t size, uint32_t ops, bool is_void)
{
    uint64_t bytes = wal_record_size(size);
    struct wal_record record = {
        .first = w->next, .op_count = ops, .type = is_void ? WAL_VOID : WAL_COMMIT, .time = 1000 + w->next};
    struct wal_reservation at;
    helios_slice body = body_of(w->next, size);

    while (!wal_reserve(w->wal, bytes, w->next, &at))
        assert(wal_prepare(w->wal, bytes) == HELIOS_OK);
    assert(wal_write(w->wal, &at, &record, hash_bytes(body.data, body.size), &body, is_void ? 0 : 1) ==
           HELIOS_OK);
    assert(w->count < COMMITS_MAX);
    w->commits[w->count++] = (struct commit){w->next, ops, (uint32_t)size, is_void};
    w->next += ops;
    wal_publish(w->wal, at.end, w->next - 1);
}

static void append_many(struct world *w, int count, size_t size)
{
    for (int i = 0; i < count; i++)
        append(w, size, 1, false);
}

static void sync_all(struct world *w)
{
    assert(wal_sync(w->wal, UINT64_MAX, UINT64_MAX) == HELIOS_OK);
    w->synced = last_number(w);
}

/* The keeper works beside; what it was asked for it has done when it looks at the log again. */
static void wait_released(struct world *w, uint64_t below)
{
    for (;;) {
        uint64_t keep = atomic_load(&w->wal->keep);
        bool waiting;

        mutex_lock(&w->wal->mu);
        waiting = w->wal->first->number < below || (w->wal->kept_count > 0 && w->wal->kept[0].number < keep);
        mutex_unlock(&w->wal->mu);
        if (!waiting)
            return;
        wal_keeper_wake(w->wal);
        sched_yield();
    }
}

static void release(struct world *w)
{
    sync_all(w);
    w->floor = wal_pos_segment(wal_durable(w->wal));
    wal_release(w->wal, w->floor);
    wait_released(w, w->floor);
}

/* ---- walks ---- */

/* The first commit that a walk from `from` sees. */
static size_t index_from(const struct world *w, helios_seq from)
{
    size_t low = 0, high = w->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (w->commits[middle].first + w->commits[middle].ops <= from)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void check_commit(const struct commit *commit, const struct wal_record *record)
{
    assert(record->first == commit->first && record->op_count == commit->ops);
    assert(record->type == WAL_COMMIT && record->time == 1000 + commit->first);
    assert(slice_equal(record->body, body_of(commit->first, commit->size)));
}

static void skip_voids(const struct world *w, size_t *index)
{
    while (*index < w->count && w->commits[*index].is_void)
        ++*index;
}

static struct wal_cursor *must_begin(struct world *w, helios_seq from)
{
    struct wal_cursor *cursor;
    helios_status status = wal_cursor_new(w->wal, from, NULL, &cursor);

    if (status != HELIOS_OK)
        printf("from %" PRIu64 ": %s\n", from, helios_last_error());
    assert(status == HELIOS_OK);
    return cursor;
}

/* From there to the end, or for so many. */
static void check_walk(struct world *w, helios_seq from, size_t most)
{
    struct wal_cursor *cursor = must_begin(w, from);
    wal_pos upto = wal_published(w->wal);
    size_t i = index_from(w, from);

    for (; most > 0; most--, i++) {
        struct wal_record record;
        helios_status status = wal_cursor_next(cursor, upto, &record);

        skip_voids(w, &i);
        if (status != HELIOS_OK && (status != HELIOS_NOT_FOUND || i != w->count))
            printf("from %" PRIu64 ", commit %zu of %zu: %s\n", from, i, w->count, helios_last_error());
        assert(status == (i < w->count ? HELIOS_OK : HELIOS_NOT_FOUND));
        if (i == w->count)
            break;
        check_commit(&w->commits[i], &record);
        assert(record.end <= upto);
    }
    wal_cursor_free(cursor);
}

static bool add_bytes(void *arg, uint64_t number, helios_seq first, uint64_t bytes)
{
    uint64_t *sum = arg; /* bytes, number, first */

    assert(number > sum[1] && first >= sum[2]);
    sum[0] += bytes;
    sum[1] = number;
    sum[2] = first;
    return true;
}

static void check_kept(struct world *w)
{
    uint64_t sum[3] = {0}, bytes;

    do { /* the keeper may move one between the two */
        memset(sum, 0, sizeof(sum));
        bytes = wal_kept_bytes(w->wal);
        wal_each_kept(w->wal, add_bytes, sum);
    } while (bytes != wal_kept_bytes(w->wal));
    assert(sum[0] <= bytes && bytes <= wal_bytes(w->wal)); /* what is on its way out is not shown */
}

/* ---- the drawn test ---- */

static helios_seq draw_from(struct world *w, struct random *rng)
{
    helios_seq first = wal_kept_first(w->wal);

    assert(first > 0);
    if (random_below(rng, 20) == 0)
        return w->next + random_below(rng, 5);
    return first < w->next ? first + random_below(rng, w->next - first) : first;
}

static void step_walker(struct world *w, struct walker *walker, struct random *rng)
{
    wal_pos upto = random_below(rng, 2) ? wal_published(w->wal) : wal_durable(w->wal);

    if (!walker->cursor) {
        helios_seq from = draw_from(w, rng);

        walker->cursor = must_begin(w, from);
        walker->from = from;
        walker->next = 0;
    }
    if (walker->next < index_from(w, walker->from)) /* it may begin at what is not yet written */
        walker->next = index_from(w, walker->from);
    for (uint64_t i = random_below(rng, 100); i > 0; i--) {
        struct wal_record record;
        helios_status status = wal_cursor_next(walker->cursor, upto, &record);
        size_t before = walker->next;

        skip_voids(w, &walker->next);
        if (status == HELIOS_FEED_TRIMMED) {
            assert(before < w->count && w->commits[before].first < wal_kept_first(w->wal));
            wal_cursor_free(walker->cursor);
            walker->cursor = NULL;
            return;
        }
        if (status == HELIOS_NOT_FOUND) {
            assert(walker->next == w->count || upto < wal_published(w->wal));
            return;
        }
        if (status != HELIOS_OK)
            printf("walker: %s\n", helios_last_error());
        assert(status == HELIOS_OK && walker->next < w->count && record.end <= upto);
        check_commit(&w->commits[walker->next++], &record);
    }
}

/* An index is lost, or not what it was. */
static void spoil_index(struct world *w, struct random *rng)
{
    char path[64];
    uint64_t size;
    unsigned char *bytes;

    wal_index_path("/wal", 1 + random_below(rng, wal_segment_now(w->wal) + 1), path, sizeof(path));
    bytes = io_memory_bytes(w->fs, path, &size);
    if (bytes && size > 0 && random_below(rng, 2))
        bytes[random_below(rng, size)] ^= 4;
    else if (bytes)
        assert(io_remove(w->fs, path) == HELIOS_OK);
}

static void raise_keep(struct world *w, struct random *rng)
{
    uint64_t keep = wal_segment_of(w->wal, draw_from(w, rng));

    if (keep > w->options.keep) {
        w->options.keep = keep;
        wal_keep(w->wal, keep);
    }
}

static void drawn(bool mapped, int steps)
{
    struct world *w = world_new(mapped);
    struct random rng;

    random_seed(&rng, seed + mapped);
    must_open(w);
    for (int step = 0; step < steps; step++) {
        uint64_t dice = random_below(&rng, 1000);

        if (dice < 600)
            for (uint64_t i = random_below(&rng, 40); i > 0; i--)
                append(w, random_below(&rng, 50) ? random_below(&rng, 900) : random_below(&rng, BODY_MAX),
                       1 + (uint32_t)random_below(&rng, 3), random_below(&rng, 30) == 0);
        else if (dice < 750)
            step_walker(w, &w->walkers[random_below(&rng, CURSORS)], &rng);
        else if (dice < 850)
            check_walk(w, draw_from(w, &rng), random_below(&rng, 300));
        else if (dice < 880)
            sync_all(w);
        else if (dice < 920) {
            w->floor = wal_pos_segment(wal_durable(w->wal));
            wal_release(w->wal, w->floor);
        } else if (dice < 935)
            raise_keep(w, &rng);
        else if (dice < 970)
            spoil_index(w, &rng);
        else if (dice < 975)
            check_walk(w, wal_kept_first(w->wal), SIZE_MAX);
        else if (dice < 980)
            w->next += random_below(&rng, 100); /* commits that were not logged */
        else if (dice < 990) {
            if (random_below(&rng, 2))
                close_log(w);
            else
                crash(w, (enum io_damage)random_below(&rng, IO_DAMAGE_COUNT), random_next(&rng));
            must_open(w);
            w->floor = wal_segment_moved(w->wal, w->floor);
            check_walk(w, wal_kept_first(w->wal), SIZE_MAX);
        }
        check_kept(w);
        if (w->count > COMMITS_MAX - 100)
            break;
    }
    check_walk(w, wal_kept_first(w->wal), SIZE_MAX);
    world_end(w);
}

/* The machine stops at any call that changes something: what is kept is there afterwards. */
static void power_cuts(bool mapped, int stride)
{
    for (uint64_t n = 1; n < 200; n += (uint64_t)stride) {
        struct world *w = world_new(mapped);
        size_t synced;

        must_open(w);
        append_many(w, 900, 1000);
        sync_all(w);
        synced = w->count;
        io_faulty_stop_at(w->fs, n);
        wal_release(w->wal, wal_segment_now(w->wal)); /* not yet the manifest's: the floor stays */
        for (int i = 0; i < 20; i++)
            sched_yield();
        crash(w, (enum io_damage)(n / (uint64_t)stride % IO_DAMAGE_COUNT), seed + n);
        must_open(w);
        assert(w->count >= synced);
        check_walk(w, 1, SIZE_MAX);
        release(w);
        append_many(w, 50, 100);
        crash(w, (enum io_damage)((n / (uint64_t)stride + 3) % IO_DAMAGE_COUNT), seed + n);
        must_open(w);
        check_walk(w, 1, SIZE_MAX);
        world_end(w);
    }
}

/* ---- by hand ---- */

static void path_of(uint64_t number, char *path)
{
    wal_segment_path("/wal", number, path, 64);
}

static uint64_t file_size(struct world *w, const char *path)
{
    struct io_stat stat = {0};

    assert(io_stat(w->fs, path, &stat) == HELIOS_OK);
    return stat.size;
}

/* A file goes a moment after the list has let it go. */
static void must_go(struct world *w, const char *path)
{
    struct io_stat stat;
    int looks = 0;

    while (io_stat(w->fs, path, &stat) != HELIOS_NOT_FOUND) {
        assert(looks++ < 10000);
        usleep(1000);
    }
}

/* Released ones stay, cut, with an index; they go when they are no longer kept, and their indexes too. */
static void kept_and_let_go(bool mapped)
{
    struct world *w = world_new(mapped);
    char path[64];
    uint64_t half;

    must_open(w);
    append_many(w, 3000, 1000);
    release(w);
    assert(wal_kept_first(w->wal) == 1 && wal_kept_bytes(w->wal) > 2000000);
    for (uint64_t n = 1; n < w->floor; n++) {
        struct wal_place place;

        path_of(n, path);
        if (!wal_place_at(w->wal, n, &place))
            continue;
        assert(file_size(w, path) == place.end);
        wal_index_path("/wal", n, path, 64);
        assert(place.end <= WAL_INDEX_CHUNK || file_size(w, path) > FILE_HEADER_SIZE);
    }
    assert(w->wal->spare_count == 0);
    check_walk(w, 1, SIZE_MAX);
    half = wal_segment_of(w->wal, 1500);
    wal_keep(w->wal, half);
    wait_released(w, w->floor);
    assert(wal_kept_first(w->wal) <= 1500 && wal_kept_first(w->wal) > 1000);
    path_of(1, path);
    must_go(w, path);
    wal_index_path("/wal", half - 1, path, 64);
    must_go(w, path);
    w->options.keep = half;
    close_log(w);
    must_open(w);
    check_walk(w, 1500, SIZE_MAX);
    assert(wal_cursor_new(w->wal, 1, NULL, &w->walkers[0].cursor) == HELIOS_FEED_TRIMMED);
    /* The feed is given up: nothing of it is left at the next open. */
    close_log(w);
    w->options.keep = WAL_KEEP_NONE;
    must_open(w);
    assert(wal_kept_first(w->wal) == 0 && wal_kept_bytes(w->wal) == 0);
    path_of(half, path);
    must_go(w, path);
    wal_index_path("/wal", half, path, 64);
    must_go(w, path);
    /* And begun anew. */
    wal_keep(w->wal, wal_segment_now(w->wal));
    append_many(w, 1000, 1000);
    release(w);
    check_walk(w, wal_kept_first(w->wal), SIZE_MAX);
    world_end(w);
}

/* A walk stands in a segment that goes: it reads that to its end, then says what happened. */
static void trimmed_under_the_cursor(bool mapped)
{
    for (int variant = 0; variant < 4; variant++) {
        struct world *w = world_new(mapped);
        struct wal_cursor *cursor;
        struct wal_record record;
        helios_status status;
        size_t i;

        must_open(w);
        append_many(w, 300, 1000);
        if (variant & 1) /* it does not know yet where its segment ends */
            append_many(w, 300, 1000);
        cursor = must_begin(w, 250);
        assert(wal_cursor_next(cursor, wal_published(w->wal), &record) == HELIOS_OK && record.first == 250);
        append_many(w, 2000, 1000);
        if (variant & 2)
            wal_keep(w->wal, UINT64_MAX - 1);
        else
            wal_keep(w->wal, wal_segment_of(w->wal, 2000));
        release(w);
        append_many(w, 500, 1000);
        for (i = 250;; i++) {
            status = wal_cursor_next(cursor, wal_published(w->wal), &record);
            if (status != HELIOS_OK)
                break;
            check_commit(&w->commits[i], &record);
        }
        assert(status == HELIOS_FEED_TRIMMED && i < 600);
        assert(wal_cursor_next(cursor, wal_published(w->wal), &record) == HELIOS_FEED_TRIMMED);
        wal_cursor_free(cursor);
        assert(wal_cursor_new(w->wal, i + 1, NULL, &cursor) == HELIOS_FEED_TRIMMED);
        world_end(w);
    }
}

/* Where it was cut and copied, every commit is seen once. */
static void copied_tails(bool mapped)
{
    struct world *w = world_new(mapped);

    must_open(w);
    for (int round = 0; round < 6; round++) {
        append_many(w, 100, 500);
        sync_all(w);
        append_many(w, round % 2 ? 700 : 3, 700); /* not synced: copied into the next first segment */
        crash(w, IO_DAMAGE_KEEP_ALL, 1);
        must_open(w);
        if (round == 3)
            release(w);
        check_walk(w, 1, SIZE_MAX);
        for (helios_seq from = 1; from < w->next; from += 37)
            check_walk(w, from, 3);
    }
    /* Nothing but empty segments between: they are left out, also when keep lies in one. */
    for (int i = 0; i < 5; i++) {
        release(w);
        w->options.keep = wal_segment_of(w->wal, w->next);
        wal_keep(w->wal, w->options.keep);
        crash(w, IO_DAMAGE_DROP_ALL, 1);
        must_open(w);
    }
    append_many(w, 10, 10);
    check_walk(w, wal_kept_first(w->wal), SIZE_MAX);
    world_end(w);
}

static void damaged(bool mapped)
{
    struct world *w = world_new(mapped);
    struct wal_cursor *cursor;
    struct wal_record record;
    struct wal_recovery before;
    struct wal_place place;
    unsigned char *bytes;
    char path[64];
    uint64_t size, victim;
    helios_status status;
    helios_seq first;

    must_open(w);
    append_many(w, 3000, 1000);
    release(w);
    victim = wal_segment_of(w->wal, 1500);
    assert(wal_place_at(w->wal, victim, &place));
    close_log(w);
    before = w->last;
    path_of(victim, path);
    /* Gone: told at once. */
    assert(io_rename(w->fs, path, "/aside") == HELIOS_OK);
    assert(open_log(w) == HELIOS_CORRUPT && strstr(helios_last_error(), path));
    assert(io_rename(w->fs, "/aside", path) == HELIOS_OK);
    /* Its first page. */
    bytes = io_memory_bytes(w->fs, path, &size);
    bytes[70] ^= 1;
    w->last = before;
    assert(open_log(w) == HELIOS_CORRUPT && strstr(helios_last_error(), path));
    bytes[70] ^= 1;
    /* A record in its middle: told to whoever comes there, with the offset; not by recovery. */
    bytes[size / 2] ^= 1;
    w->last = before;
    must_open(w);
    for (int again = 0; again < 2; again++) {
        cursor = must_begin(w, 1);
        do
            status = wal_cursor_next(cursor, wal_published(w->wal), &record);
        while (status == HELIOS_OK);
        assert(status == HELIOS_CORRUPT && strstr(helios_last_error(), path) &&
               strstr(helios_last_error(), " at "));
        first = record.first + 1;
        wal_cursor_free(cursor);
        wal_index_remove(&w->options, victim); /* the second time round it is made of what is whole */
    }
    cursor = must_begin(w, first);
    assert(wal_cursor_next(cursor, wal_published(w->wal), &record) == HELIOS_CORRUPT);
    wal_cursor_free(cursor);
    bytes = io_memory_bytes(w->fs, path, &size);
    bytes[size / 2] ^= 1;
    check_walk(w, 1, SIZE_MAX);
    world_end(w);
}

/* An index that is missing, of nothing, or another's costs a read and is there again. */
static void lost_indexes(bool mapped)
{
    struct world *w = world_new(mapped);
    uint64_t kept, size, other_size;
    char path[64], other[64];
    unsigned char before[8192];

    must_open(w);
    append_many(w, 3000, 1000);
    release(w);
    kept = wal_segment_of(w->wal, 1500);
    wal_index_path("/wal", kept, path, 64);
    wal_index_path("/wal", wal_segment_of(w->wal, 2000), other, 64);
    size = file_size(w, path);
    assert(strcmp(path, other) != 0 && size > 100 && size < sizeof(before));
    memcpy(before, io_memory_bytes(w->fs, path, &size), size);
    for (int way = 0; way < 5; way++) {
        struct io_file *file;

        if (way == 0)
            assert(io_remove(w->fs, path) == HELIOS_OK);
        if (way == 1)
            io_memory_bytes(w->fs, path, &size)[100] ^= 1;
        if (way > 1) {
            const unsigned char *bytes = io_memory_bytes(w->fs, other, &other_size);

            assert(io_open(w->fs, path, IO_WRITE | IO_TRUNCATE, &file) == HELIOS_OK);
            if (way == 3)
                assert(io_write(file, 0, before, size / 2) == HELIOS_OK);
            if (way == 4)
                assert(io_write(file, 0, bytes, other_size) == HELIOS_OK);
            io_close(file);
        }
        check_walk(w, 1500, 10);
        assert(file_size(w, path) == size); /* as the writer had made it */
        assert(memcmp(io_memory_bytes(w->fs, path, &size), before, size) == 0);
    }
    /* Without the file system's help: found all the same. */
    assert(io_remove(w->fs, path) == HELIOS_OK);
    io_faulty_plan(
        w->fs, &(struct io_fault){.fail_at = 1, .forever = true, .error_number = EIO, .path_contains = ".idx"});
    check_walk(w, 1500, 10);
    io_faulty_plan(w->fs, NULL);
    world_end(w);
}

/* A walk that begins in the middle of a large segment does not read it from its start. */
static void seeks(void)
{
    struct world *w = world_new(true);
    struct io_counts before, after;

    w->options.segment_bytes = 8 << 20;
    must_open(w);
    append_many(w, 20000, 1000);
    release(w);
    for (int live = 0; live < 2; live++) {
        helios_seq from = live ? w->next - 300 : 15000;

        io_get_counts(w->fs, &before);
        check_walk(w, from, 1);
        io_get_counts(w->fs, &after);
        assert(after.read_bytes - before.read_bytes < 512 * 1024);
    }
    world_end(w);
}

static helios_status copy_one(void *arg, uint64_t number, const char *path, uint64_t end, helios_seq last,
                              bool sealed)
{
    struct world *w = arg;
    char to[64];

    wal_segment_path("/copy", number, to, sizeof(to));
    return sealed ? io_link(w->fs, path, to)
                  : wal_segment_copy(w->fs, path, to, end, last < w->next ? last : w->next - 1);
}

/* A checkpoint has the feed too, and its files stay when the original goes on. */
static void checkpoints(bool mapped)
{
    struct world *w = world_new(mapped);

    must_open(w);
    append_many(w, 2000, 1000);
    release(w);
    append_many(w, 300, 1000);
    sync_all(w);
    assert(io_make_directory(w->fs, "/copy") == HELIOS_OK);
    assert(wal_each_segment(w->wal, wal_published(w->wal), copy_one, w) == HELIOS_OK);
    w->last = (struct wal_recovery){.synced = wal_published(w->wal), .last_synced = w->next - 1};
    wal_keep(w->wal, wal_segment_now(w->wal));
    assert(wal_close(w->wal, NULL) == HELIOS_OK);
    w->options.directory = "/copy";
    must_open(w);
    check_walk(w, 1, SIZE_MAX);
    world_end(w);
}

/* Each call and each allocation of an open with kept segments, and of a walk, fails once. */
static void failures(bool mapped)
{
    struct world *w = world_new(mapped);
    struct wal_recovery before;

    must_open(w);
    append_many(w, 2000, 1000);
    release(w);
    close_log(w);
    before = w->last;
    for (uint64_t n = 1; n < 120; n++) {
        bool memory = n % 2 == 0;
        helios_status status;

        w->last = before;
        if (memory) {
            mem_fail_thread_only(true);
            mem_fail_at(n / 2, false);
        } else {
            io_faulty_plan(w->fs, &(struct io_fault){.fail_at = n / 2 + 1, .error_number = EIO});
        }
        status = open_log(w);
        mem_fail_at(0, false);
        mem_fail_thread_only(false);
        io_faulty_plan(w->fs, NULL);
        if (status == HELIOS_OK) {
            check_walk(w, 1, SIZE_MAX);
            crash(w, IO_DAMAGE_KEEP_ALL, 1);
        } else {
            assert(status == (memory ? HELIOS_NO_MEMORY : HELIOS_IO));
        }
    }
    w->last = before;
    must_open(w);
    for (uint64_t n = 1; n < 12; n++) {
        struct wal_cursor *cursor = NULL;
        struct wal_record record;
        helios_status status;

        wal_index_remove(&w->options, wal_segment_of(w->wal, 1000));
        mem_fail_thread_only(true);
        mem_fail_at(n, false);
        status = wal_cursor_new(w->wal, 1000, NULL, &cursor);
        if (status == HELIOS_OK)
            status = wal_cursor_next(cursor, wal_published(w->wal), &record);
        mem_fail_at(0, false);
        mem_fail_thread_only(false);
        assert(status == HELIOS_OK || status == HELIOS_NO_MEMORY);
        wal_cursor_free(cursor);
    }
    check_walk(w, 1000, SIZE_MAX);
    world_end(w);
}

/* ---- threads ---- */

enum { WRITERS = 3, READERS = 3, EACH = 6000, ALL = WRITERS * EACH };

static struct crowd {
    struct wal *wal;
    struct mutex lock, publish;
    helios_seq next;
    uint64_t ticket, published;
    struct {
        wal_pos end;
        _Atomic bool ready;
    } ring[ALL];
    _Atomic bool done;
} crowd;

static void crowd_publish(void)
{
    mutex_lock(&crowd.publish);
    while (crowd.published < ALL &&
           atomic_load_explicit(&crowd.ring[crowd.published].ready, memory_order_acquire)) {
        crowd.published++;
        wal_publish(crowd.wal, crowd.ring[crowd.published - 1].end, crowd.published);
    }
    mutex_unlock(&crowd.publish);
}

static void crowd_commit(struct random *rng)
{
    size_t size = 8 + random_below(rng, 300) / 8 * 8;
    uint64_t body[40];
    helios_slice piece = slice_make(body, size);
    struct wal_record record = {.op_count = 1, .type = WAL_COMMIT};
    struct wal_reservation at;
    uint64_t ticket;

    for (;;) {
        bool reserved;

        mutex_lock(&crowd.lock);
        reserved = wal_reserve(crowd.wal, wal_record_size(size), crowd.next, &at);
        if (reserved) {
            record.first = crowd.next++;
            ticket = crowd.ticket++;
        }
        mutex_unlock(&crowd.lock);
        if (reserved)
            break;
        assert(wal_prepare(crowd.wal, wal_record_size(size)) == HELIOS_OK);
    }
    for (size_t i = 0; i < size / 8; i++)
        body[i] = record.first * 31 + i;
    record.time = record.first;
    assert(wal_write(crowd.wal, &at, &record, hash_bytes(body, size), &piece, 1) == HELIOS_OK);
    crowd.ring[ticket].end = at.end;
    atomic_store_explicit(&crowd.ring[ticket].ready, true, memory_order_release);
    crowd_publish();
}

static void *crowd_write(void *arg)
{
    struct random rng;

    random_seed(&rng, seed + (uint64_t)(uintptr_t)arg);
    for (int i = 0; i < EACH; i++) {
        crowd_commit(&rng);
        if (i % 64 == 0)
            wal_sync_soon(crowd.wal, 300);
        if (i % 128 == 0)
            wal_release(crowd.wal, wal_pos_segment(wal_durable(crowd.wal)));
        if (i % 512 == 0) { /* about the last half stays */
            helios_seq durable = wal_durable_seq(crowd.wal);

            wal_keep(crowd.wal, wal_segment_of(crowd.wal, durable / 2 + 1));
        }
    }
    return NULL;
}

static void crowd_check(const struct wal_record *record, helios_seq expected)
{
    assert(record->first == expected && record->time == expected);
    for (size_t i = 0; i < record->body.size / 8; i++)
        assert(get_u64((const unsigned char *)record->body.data + 8 * i) == expected * 31 + i);
}

/* Follows to the end, beginning again where it was overtaken; or tries out beginnings. */
static void *crowd_read(void *arg)
{
    uintptr_t id = (uintptr_t)arg;
    struct wal_cursor *cursor = NULL;
    struct random rng;
    helios_seq next = 1;
    uint64_t read = 0;

    random_seed(&rng, seed + 100 + id);
    while (next <= ALL && !(id > 1 && atomic_load(&crowd.done))) {
        wal_pos upto = id % 2 ? wal_published(crowd.wal) : wal_durable(crowd.wal);
        struct wal_record record;
        helios_status status = cursor ? HELIOS_OK : wal_cursor_new(crowd.wal, next, NULL, &cursor);

        if (status == HELIOS_OK)
            status = wal_cursor_next(cursor, upto, &record);
        if (status == HELIOS_OK) {
            crowd_check(&record, next++);
            read++;
        }
        if (status == HELIOS_NOT_FOUND) {
            if (atomic_load(&crowd.done) && upto == wal_published(crowd.wal))
                wal_sync_soon(crowd.wal, 0);
            sched_yield();
        }
        if (status == HELIOS_FEED_TRIMMED || (id > 1 && random_below(&rng, 50) == 0)) {
            helios_seq first = wal_kept_first(crowd.wal), last = wal_durable_seq(crowd.wal);

            wal_cursor_free(cursor);
            cursor = NULL;
            assert(status != HELIOS_FEED_TRIMMED || next < first);
            next = last > first ? first + random_below(&rng, last - first) : first;
            status = HELIOS_OK;
        }
        if (status != HELIOS_OK && status != HELIOS_NOT_FOUND)
            printf("reader: %s\n", helios_last_error());
        assert(status == HELIOS_OK || status == HELIOS_NOT_FOUND);
    }
    wal_cursor_free(cursor);
    assert(read > 0);
    return NULL;
}

/* Not on the faulty file system: its sync looks at what is just being stored. */
static void threads(bool mapped)
{
    pthread_t writers[WRITERS], readers[READERS];
    struct io_fs *fs;
    struct wal_recovery recovery = {0};
    struct wal_options options = {.directory = "/",
                                  .segment_bytes = 128 * 1024,
                                  .sync_interval = 5000,
                                  .use_mapping = mapped,
                                  .recycle_max = 2};

    memset(&crowd, 0, sizeof(crowd));
    crowd.next = 1;
    mutex_init(&crowd.lock);
    mutex_init(&crowd.publish);
    assert(io_memory_new(&fs) == HELIOS_OK);
    options.fs = fs;
    assert(wal_recover(&options, &recovery, NULL, NULL) == HELIOS_OK);
    assert(wal_open(&options, &recovery, 1, &crowd.wal) == HELIOS_OK);
    for (uintptr_t i = 0; i < WRITERS; i++)
        assert(thread_start(&writers[i], "writer", crowd_write, (void *)i) == HELIOS_OK);
    for (uintptr_t i = 0; i < READERS; i++)
        assert(thread_start(&readers[i], "reader", crowd_read, (void *)i) == HELIOS_OK);
    for (int i = 0; i < WRITERS; i++)
        thread_join(writers[i]);
    atomic_store(&crowd.done, true);
    for (int i = 0; i < READERS; i++)
        thread_join(readers[i]);
    assert(wal_close(crowd.wal, NULL) == HELIOS_OK);
    mutex_release(&crowd.lock);
    mutex_release(&crowd.publish);
    io_free(fs);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("seed %" PRIu64 "\n", seed);
    threads(true);
    threads(false);
    if (argc > 2 && strcmp(argv[2], "threads") == 0)
        return 0;
    seeks();
    for (int mapped = 1; mapped >= 0; mapped--) {
        kept_and_let_go(mapped);
        trimmed_under_the_cursor(mapped);
        copied_tails(mapped);
        damaged(mapped);
        lost_indexes(mapped);
        checkpoints(mapped);
        failures(mapped);
        power_cuts(mapped, mapped ? 3 : 11);
        drawn(mapped, 1500);
    }
    return 0;
}
