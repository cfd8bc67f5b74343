/* test_wal.c - the log: what is synced is recovered, what is recovered is a prefix, what is damaged is said.
 * Records carry bodies that follow from their number, so that any that comes back can be judged alone.
 * Usage: test_wal [seed] */
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

enum { SEEN_MAX = 20000, BODY_MAX = 1 << 20 };

static uint64_t seed = 1;

/* ---- a log and what it should hold ---- */

struct world {
    struct io_fs *fs;
    bool mapped, faulty;
    struct wal_options options;
    struct wal *wal;
    helios_seq next;   /* first number not handed out */
    helios_seq synced; /* acknowledged as durable, at the end of a record */
    wal_pos synced_pos;
    uint64_t floor;
    struct wal_recovery last; /* how the last recovery ended */
};

struct seen {
    struct {
        helios_seq first;
        uint32_t ops;
        enum wal_record_type type;
        uint64_t hash;
    } records[SEEN_MAX];
    size_t count;
};

static struct seen seen, seen_again;
static unsigned char body_bytes[BODY_MAX];

/* The body of the record that begins with first. */
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

static void check_record(const struct wal_record *record)
{
    assert(record->time == 1000 + record->first);
    assert(record->branch == (helios_branch_id)(record->first % 5));
    assert(record->synced <= record->at);
    if (record->type == WAL_VOID)
        assert(record->body.size == 0);
    else
        assert(slice_equal(record->body, body_of(record->first, record->body.size)));
}

static helios_status see(void *arg, const struct wal_record *record)
{
    struct seen *to = arg;

    check_record(record);
    assert(to->count < SEEN_MAX);
    if (to->count > 0)
        assert(record->first >= to->records[to->count - 1].first + to->records[to->count - 1].ops);
    to->records[to->count].first = record->first;
    to->records[to->count].ops = record->op_count;
    to->records[to->count].type = record->type;
    to->records[to->count].hash = hash_bytes(record->body.data, record->body.size);
    to->count++;
    return HELIOS_OK;
}

static void world_init(struct world *w, bool faulty, bool mapped)
{
    *w = (struct world){.mapped = mapped, .faulty = faulty, .next = 1};
    assert((faulty ? io_faulty_new(seed, &w->fs) : io_memory_new(&w->fs)) == HELIOS_OK);
    assert(io_make_directory(w->fs, "/wal") == HELIOS_OK);
    assert(io_sync_directory(w->fs, "/") == HELIOS_OK);
    w->options = (struct wal_options){.fs = w->fs,
                                      .directory = "/wal",
                                      .segment_bytes = 64 * 1024,
                                      .sync_interval = UINT64_MAX,
                                      .use_mapping = mapped,
                                      .recycle_max = 2,
                                      .keep = WAL_KEEP_NONE};
}

static helios_status world_recover(struct world *w, struct seen *to)
{
    w->last.floor = w->floor;
    to->count = 0;
    return wal_recover(&w->options, &w->last, see, to);
}

/* Recovers and opens; what the manifest knows is as w->last says, but for the floor. */
static helios_status world_open(struct world *w)
{
    helios_status status = world_recover(w, &seen);

    if (status != HELIOS_OK)
        return status;
    if (w->last.last >= w->next)
        w->next = w->last.last + 1;
    status = wal_open(&w->options, &w->last, w->next, &w->wal);
    if (status == HELIOS_OK) {
        w->synced = w->last.last;
        w->synced_pos = wal_durable(w->wal);
    }
    return status;
}

static void world_must_open(struct world *w)
{
    helios_status status = world_open(w);

    if (status != HELIOS_OK)
        printf("open: %s: %s\n", helios_status_name(status), helios_last_error());
    assert(status == HELIOS_OK);
}

static void world_close(struct world *w)
{
    wal_pos end;
    helios_status status = wal_close(w->wal, &end);

    assert(status == HELIOS_OK);
    w->wal = NULL;
    w->synced = w->next - 1;
    w->last = (struct wal_recovery){.clean = true, .clean_end = end};
}

/* The machine stops, or, with KEEP_ALL, only the process: then what was not synced is still there, and still not
 * durable. */
static void world_crash(struct world *w, enum io_damage damage, uint64_t damage_seed)
{
    io_faulty_stop_at(w->fs, 1);
    (void)!wal_close(w->wal, NULL);
    w->wal = NULL;
    if (damage == IO_DAMAGE_KEEP_ALL)
        io_faulty_stop_at(w->fs, 0);
    else
        io_faulty_power_cut(w->fs, damage, damage_seed);
    w->last = (struct wal_recovery){0};
}

static void world_free(struct world *w)
{
    if (w->wal)
        (void)!wal_close(w->wal, NULL);
    io_free(w->fs);
}

/* ---- writing ---- */

struct pending {
    struct wal_reservation at;
    struct wal_record record;
    size_t size;
};

static helios_status reserve(struct world *w, size_t size, uint32_t ops, struct pending *p)
{
    uint64_t bytes = wal_record_size(size);
    helios_status status = HELIOS_OK;

    p->size = size;
    p->record = (struct wal_record){.first = w->next,
                                    .op_count = ops,
                                    .type = WAL_COMMIT,
                                    .time = 1000 + w->next,
                                    .branch = (helios_branch_id)(w->next % 5)};
    while (!wal_reserve(w->wal, bytes, w->next, &p->at)) {
        status = wal_prepare(w->wal, bytes);
        if (status != HELIOS_OK)
            return status;
    }
    w->next += ops;
    return status;
}

static helios_status write_pending(struct world *w, struct pending *p)
{
    helios_slice body = body_of(p->record.first, p->size);
    size_t half = p->size / 2;
    helios_slice pieces[2] = {slice_make(body.data, half),
                              slice_make((const char *)body.data + half, p->size - half)};

    if (p->record.type == WAL_VOID)
        return wal_write(w->wal, &p->at, &p->record, 0, NULL, 0);
    return wal_write(w->wal, &p->at, &p->record, hash_bytes(body.data, body.size), pieces, 2);
}

static helios_status append(struct world *w, size_t size, uint32_t ops)
{
    struct pending p;
    helios_status status = reserve(w, size, ops, &p);

    if (status == HELIOS_OK)
        status = write_pending(w, &p);
    if (status == HELIOS_OK)
        wal_publish(w->wal, p.at.end, w->next - 1);
    return status;
}

static void must_append(struct world *w, size_t size)
{
    helios_status status = append(w, size, 1);

    if (status != HELIOS_OK)
        printf("append: %s\n", helios_last_error());
    assert(status == HELIOS_OK);
}

static helios_status sync_now(struct world *w)
{
    wal_pos pos = wal_published(w->wal);
    helios_seq last = w->next - 1;
    helios_status status = wal_sync(w->wal, pos, UINT64_MAX);

    if (status == HELIOS_OK) {
        assert(wal_durable(w->wal) >= pos);
        assert(wal_durable_seq(w->wal) >= last);
        w->synced = last;
        w->synced_pos = pos;
    }
    return status;
}

/* Every number from 1 on, up to last. */
static void expect_all(const struct seen *s, helios_seq first, helios_seq last)
{
    helios_seq expected = first;

    for (size_t i = 0; i < s->count; i++) {
        assert(s->records[i].first == expected);
        expected += s->records[i].ops;
    }
    assert(expected == last + 1);
}

static void expect_same(const struct seen *a, const struct seen *b)
{
    assert(a->count == b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert(a->records[i].first == b->records[i].first);
        assert(a->records[i].hash == b->records[i].hash);
    }
}

/* ---- round trips ---- */

static void round_trip(bool mapped)
{
    struct world w;
    struct random rng;

    random_seed(&rng, seed);
    world_init(&w, false, mapped);
    for (int round = 0; round < 4; round++) {
        world_must_open(&w);
        expect_all(&seen, 1, w.next - 1);
        for (int i = 0; i < 500; i++)
            assert(append(&w, random_below(&rng, 600), 1 + (uint32_t)random_below(&rng, 3)) == HELIOS_OK);
        assert(wal_written(w.wal) > 0 && wal_bytes(w.wal) >= wal_written(w.wal));
        assert(wal_durable(w.wal) <= wal_published(w.wal));
        world_close(&w);
    }
    assert(world_recover(&w, &seen) == HELIOS_OK);
    expect_all(&seen, 1, w.next - 1);
    assert(w.last.last == w.next - 1 && w.last.last_time == 1000 + seen.records[seen.count - 1].first);
    assert(w.last.cut_records == 0 && w.last.end == w.last.durable);
    world_free(&w);
}

static void big_records(bool mapped)
{
    struct world w;

    world_init(&w, false, mapped);
    world_must_open(&w);
    assert(wal_prepare(w.wal, UINT64_C(3) << 30) == HELIOS_LIMIT);
    for (int i = 0; i < 5; i++) {
        must_append(&w, 100);
        must_append(&w, 200000);
        must_append(&w, 0);
        must_append(&w, BODY_MAX);
    }
    assert(sync_now(&w) == HELIOS_OK);
    world_close(&w);
    world_must_open(&w);
    expect_all(&seen, 1, w.next - 1);
    world_close(&w);
    world_free(&w);
}

/* Fills a segment to within every number of bytes of its end. */
static void segment_ends(bool mapped)
{
    struct world w;

    world_init(&w, true, mapped);
    world_must_open(&w);
    for (uint64_t left = 0; left <= 200; left += 8) {
        uint64_t segment = wal_segment_now(w.wal);
        uint64_t room;

        must_append(&w, 8);
        room = w.wal->active->size - wal_pos_offset(wal_published(w.wal));
        assert(wal_segment_now(w.wal) == segment);
        must_append(&w, (size_t)(room - left - WAL_RECORD_HEADER));
        assert(wal_segment_now(w.wal) == segment);
        must_append(&w, 200);
        assert(wal_segment_now(w.wal) > segment);
    }
    world_crash(&w, IO_DAMAGE_KEEP_ALL, 1);
    world_must_open(&w);
    expect_all(&seen, 1, w.next - 1);
    world_close(&w);
    world_free(&w);
}

static void wait_prepared(struct world *w)
{
    while (atomic_load(&w->wal->prepared_room) == 0)
        thread_sleep(100);
}

/* The keeper prepares a segment while a writer, held up, has taken the one before and not entered it yet. It named
 * the active one as its predecessor, and the next recovery passed over all that was in the one between. */
static void held_up_while_leaving(bool mapped)
{
    struct wal_segment *taken;
    struct wal_reservation left;
    struct pending p;
    struct world w;

    world_init(&w, true, mapped);
    world_must_open(&w);
    must_append(&w, 100);
    wait_prepared(&w);
    taken = wal_next_take(w.wal, wal_record_size(100));
    assert(taken);
    wal_keeper_wake(w.wal);
    wait_prepared(&w);
    wal_next_enter(w.wal, taken, w.next, &left);
    assert(reserve(&w, 100, 1, &p) == HELIOS_OK);
    assert(wal_pos_segment(p.at.at) == taken->number);
    p.at.old_segment = left.old_segment;
    p.at.old_end = left.old_end;
    assert(write_pending(&w, &p) == HELIOS_OK);
    wal_publish(w.wal, p.at.end, w.next - 1);
    while (wal_segment_now(w.wal) == taken->number)
        must_append(&w, 3000);
    assert(sync_now(&w) == HELIOS_OK);
    world_crash(&w, IO_DAMAGE_DROP_ALL, 1);
    world_must_open(&w);
    expect_all(&seen, 1, w.next - 1);
    world_close(&w);
    world_free(&w);
}

static void void_records(bool mapped)
{
    struct world w;
    struct pending p;

    world_init(&w, true, mapped);
    world_must_open(&w);
    must_append(&w, 50);
    assert(reserve(&w, 1000, 3, &p) == HELIOS_OK);
    p.record.type = WAL_VOID;
    assert(write_pending(&w, &p) == HELIOS_OK);
    wal_publish(w.wal, p.at.end, w.next - 1);
    must_append(&w, 60);
    for (int i = 0; i < 2; i++) { /* the second time from what the first copied */
        world_crash(&w, IO_DAMAGE_KEEP_ALL, 1);
        world_must_open(&w);
        expect_all(&seen, 1, 5);
        assert(seen.count == 3 && seen.records[1].type == WAL_VOID);
    }
    world_close(&w);
    world_free(&w);
}

/* Old segments come back with other records in them; what is stale never shows. */
static void recycling(bool mapped)
{
    struct world w;
    helios_seq first = 1;

    world_init(&w, true, mapped);
    w.options.segment_bytes = 256 * 1024;
    for (int round = 0; round < 6; round++) {
        world_must_open(&w);
        if (seen.count > 0)
            expect_all(&seen, first, w.next - 1);
        for (int i = 0; i < 4000; i++) {
            must_append(&w, 300);
            if (i % 500 == 499) {
                assert(sync_now(&w) == HELIOS_OK);
                first = w.next;
                must_append(&w, WAL_DATA);
                while (wal_segment_now(w.wal) == wal_pos_segment(w.synced_pos)) {
                    first = w.next;
                    must_append(&w, 2000);
                }
                assert(sync_now(&w) == HELIOS_OK);
                w.floor = wal_segment_now(w.wal);
                wal_release(w.wal, w.floor);
            }
        }
        /* Numbers in the floor's segment begin with the record that opened it. */
        world_crash(&w, (enum io_damage)(round % IO_DAMAGE_COUNT), seed + (uint64_t)round);
        w.last.synced = w.synced_pos;
        assert(world_recover(&w, &seen) == HELIOS_OK);
        assert(w.last.last >= w.synced);
        first = seen.records[0].first;
        w.next = w.last.last + 1;
    }
    world_free(&w);
}

/* ---- holes and damage ---- */

static void flip(struct world *w, wal_pos at, uint64_t offset)
{
    char path[64];
    uint64_t size;
    unsigned char *bytes;

    wal_segment_path("/wal", wal_pos_segment(at), path, sizeof(path));
    bytes = io_memory_bytes(w->fs, path, &size);
    assert(bytes && wal_pos_offset(at) + offset < size);
    bytes[wal_pos_offset(at) + offset] ^= 0x10;
}

/* Records 1..count, synced after some of them; then the process is killed and one is spoilt. */
static const struct {
    const char *name;
    int count;
    int sync_after; /* record; 0: never */
    int roll_after; /* record after which the segment is left; 0: never */
    int spoil;      /* record */
    bool manifest;  /* its `synced` is as far as the sync */
    bool last_synced;
    bool clean;  /* closed instead of killed, and the manifest says so */
    bool sealed; /* closed, and the manifest has not heard of it */
    helios_status status;
    int kept; /* records recovered */
    int cut;
} matrix[] = {
    {"a hole with nothing behind", 5, 0, 0, 5, false, false, false, false, HELIOS_OK, 4, 0},
    {"a hole with valid records behind", 5, 0, 0, 2, false, false, false, false, HELIOS_OK, 1, 3},
    {"the first record is the hole", 5, 0, 0, 1, false, false, false, false, HELIOS_OK, 0, 4},
    {"a hole behind what was synced", 6, 3, 0, 4, false, false, false, false, HELIOS_OK, 3, 2},
    {"a later record knows that it was synced", 6, 3, 0, 3, false, false, false, false, HELIOS_CORRUPT, 0, 0},
    {"a later record knows, far before", 6, 3, 0, 1, false, false, false, false, HELIOS_CORRUPT, 0, 0},
    {"synced, but no later record: nobody knows", 3, 3, 0, 3, false, false, false, false, HELIOS_OK, 2, 0},
    {"only the manifest's position knows", 3, 3, 0, 3, true, false, false, false, HELIOS_CORRUPT, 0, 0},
    {"only the manifest's number knows", 3, 3, 0, 3, false, true, false, false, HELIOS_CORRUPT, 0, 0},
    {"the manifest knows less", 5, 3, 0, 5, true, true, false, false, HELIOS_OK, 4, 0},
    {"a hole before another segment", 6, 0, 4, 3, false, false, false, false, HELIOS_OK, 2, 3},
    {"a hole, then a segment that knows", 6, 4, 4, 3, false, false, false, false, HELIOS_CORRUPT, 0, 0},
    {"a hole in the second segment", 6, 4, 4, 5, false, false, false, false, HELIOS_OK, 4, 1},
    {"closed cleanly, last record", 3, 0, 0, 3, false, false, true, false, HELIOS_CORRUPT, 0, 0},
    {"closed cleanly, in the first of two", 6, 0, 4, 2, false, false, true, false, HELIOS_CORRUPT, 0, 0},
    {"sealed, and only the seal knows", 3, 0, 0, 3, false, false, false, true, HELIOS_CORRUPT, 0, 0},
    {"sealed later, in the first of two", 6, 0, 4, 4, false, false, false, true, HELIOS_CORRUPT, 0, 0},
};

static void matrix_case(size_t i, bool mapped, bool in_body)
{
    struct world w;
    wal_pos spoil = 0;
    struct pending p;

    world_init(&w, true, mapped);
    world_must_open(&w);
    for (int n = 1; n <= matrix[i].count; n++) {
        assert(reserve(&w, 100, 1, &p) == HELIOS_OK);
        assert(write_pending(&w, &p) == HELIOS_OK);
        wal_publish(w.wal, p.at.end, w.next - 1);
        if (n == matrix[i].spoil)
            spoil = p.at.at;
        if (n == matrix[i].sync_after)
            assert(sync_now(&w) == HELIOS_OK);
        if (n == matrix[i].roll_after) {
            uint64_t room = w.wal->active->size - wal_pos_offset(wal_published(w.wal));

            must_append(&w, (size_t)(room - WAL_RECORD_HEADER - 80));
        }
    }
    if (matrix[i].clean || matrix[i].sealed)
        world_close(&w);
    else
        world_crash(&w, IO_DAMAGE_KEEP_ALL, 1);
    if (matrix[i].sealed)
        w.last = (struct wal_recovery){0};
    if (matrix[i].manifest)
        w.last.synced = w.synced_pos;
    if (matrix[i].last_synced)
        w.last.last_synced = w.synced;
    flip(&w, spoil, in_body ? WAL_RECORD_HEADER + 7 : 4);
    {
        bool rolled = matrix[i].roll_after != 0;
        helios_status status = world_recover(&w, &seen);
        int filler = rolled && matrix[i].kept >= matrix[i].roll_after;
        int filler_cut = rolled && matrix[i].kept < matrix[i].roll_after;

        if (status != matrix[i].status)
            printf("%s: %s\n", matrix[i].name, helios_status_name(status));
        assert(status == matrix[i].status);
        if (status == HELIOS_OK) {
            assert((int)seen.count == matrix[i].kept + filler);
            if ((int)w.last.cut_records != matrix[i].cut + filler_cut)
                printf("%s: cut %" PRIu64 "\n", matrix[i].name, w.last.cut_records);
            assert((int)w.last.cut_records == matrix[i].cut + filler_cut);
            world_must_open(&w);
            assert((int)seen.count == matrix[i].kept + filler);
        } else {
            assert(strstr(helios_last_error(), ".wal"));
            w.last.salvage = true;
            world_must_open(&w);
            assert((int)seen.count == matrix[i].count - 1 + rolled);
            w.last = (struct wal_recovery){0};
            world_crash(&w, IO_DAMAGE_DROP_ALL, 1);
            world_must_open(&w); /* whole again, and durable */
            assert((int)seen.count == matrix[i].count - 1 + rolled);
        }
    }
    world_close(&w);
    world_free(&w);
}

/* A record that was reserved and never written, with later ones complete: what a killed writer leaves. */
static void killed_writer(bool mapped)
{
    struct world w;
    struct pending a, b, c;

    world_init(&w, true, mapped);
    world_must_open(&w);
    must_append(&w, 10);
    assert(reserve(&w, 70, 2, &a) == HELIOS_OK);
    assert(reserve(&w, 80, 1, &b) == HELIOS_OK);
    assert(reserve(&w, 60000, 1, &c) == HELIOS_OK); /* in the next segment */
    assert(write_pending(&w, &c) == HELIOS_OK);
    assert(write_pending(&w, &b) == HELIOS_OK);
    assert(wal_sync(w.wal, c.at.end, UINT64_MAX) == HELIOS_OK); /* of what is published */
    assert(wal_durable(w.wal) < a.at.end);
    world_crash(&w, IO_DAMAGE_KEEP_ALL, 1);
    world_must_open(&w);
    assert(seen.count == 1 && w.last.cut_records == 2 && w.last.cut_bytes > 60000);
    w.next = 10;
    must_append(&w, 5);
    world_crash(&w, IO_DAMAGE_KEEP_ALL, 1);
    world_must_open(&w); /* what was cut does not come back */
    assert(seen.count == 2 && seen.records[1].first == 10);
    world_close(&w);
    world_free(&w);
}

/* What recovery copied was synced before the open returned: its loss is damage, although no record says so. */
static void spoilt_copy(bool mapped)
{
    struct world w;
    wal_pos last;

    world_init(&w, true, mapped);
    world_must_open(&w);
    must_append(&w, 10);
    must_append(&w, 10);
    world_crash(&w, IO_DAMAGE_KEEP_ALL, 1);
    world_must_open(&w);
    last = wal_durable(w.wal) - wal_record_size(10);
    assert(wal_pos_offset(last) == WAL_DATA + wal_record_size(10));
    world_crash(&w, IO_DAMAGE_KEEP_ALL, 1);
    flip(&w, last, 70);
    assert(world_recover(&w, &seen) == HELIOS_CORRUPT);
    world_free(&w);
}

/* Numbers never fall: a record that is valid by itself but numbered below its predecessor is none. */
static void falling_numbers(bool mapped)
{
    struct world w;

    world_init(&w, true, mapped);
    world_must_open(&w);
    for (int i = 0; i < 5; i++)
        must_append(&w, 10);
    w.next = 3;
    must_append(&w, 10);
    world_crash(&w, IO_DAMAGE_KEEP_ALL, 1);
    assert(world_recover(&w, &seen) == HELIOS_OK);
    expect_all(&seen, 1, 5);
    assert(w.last.cut_records == 0);
    world_free(&w);
}

/* The floor may be in a segment that recovery made and nothing was written to. */
static void floor_in_empty(bool mapped)
{
    struct world w;

    world_init(&w, true, mapped);
    world_must_open(&w);
    must_append(&w, 10);
    world_close(&w);
    world_must_open(&w);
    w.floor = wal_segment_now(w.wal);
    wal_release(w.wal, w.floor);
    for (int i = 0; i < 3; i++) {
        world_crash(&w, IO_DAMAGE_KEEP_ALL, 1);
        w.last.last_synced = 1; /* it was, in a segment that is gone */
        world_must_open(&w);
        assert(seen.count == 0);
    }
    world_free(&w);
}

/* A flush during the replay may put the floor into a segment that the opening then moves into its own. */
static void floor_in_moved(bool mapped)
{
    struct world w;
    uint64_t moved;

    world_init(&w, true, mapped);
    world_must_open(&w);
    must_append(&w, 10);
    while (wal_segment_now(w.wal) == 1)
        must_append(&w, 3000);
    moved = wal_segment_now(w.wal);
    world_crash(&w, IO_DAMAGE_KEEP_ALL, 1);
    world_must_open(&w);
    assert(wal_segment_moved(w.wal, moved) == wal_segment_now(w.wal));
    world_crash(&w, IO_DAMAGE_KEEP_ALL, 1);
    w.floor = moved;
    world_must_open(&w);
    assert(seen.count > 0 && w.last.last == w.next - 1);
    world_close(&w);
    world_free(&w);
}

/* A segment has its full size before it has its name, so a shorter one was cut, wherever that is. */
static void cut_at_a_record(bool mapped)
{
    struct world w;
    struct io_file *file;

    world_init(&w, true, mapped);
    world_must_open(&w);
    for (int i = 0; i < 5; i++)
        must_append(&w, 100);
    world_crash(&w, IO_DAMAGE_KEEP_ALL, 1);
    assert(io_open(w.fs, "/wal/00000001.wal", IO_WRITE, &file) == HELIOS_OK);
    assert(io_resize(file, WAL_DATA + 3 * wal_record_size(100)) == HELIOS_OK);
    io_close(file);
    assert(world_recover(&w, &seen) == HELIOS_CORRUPT);
    w.last.salvage = true;
    world_must_open(&w);
    expect_all(&seen, 1, 3);
    w.last = (struct wal_recovery){0};
    world_crash(&w, IO_DAMAGE_DROP_ALL, 1);
    world_must_open(&w); /* whole again */
    expect_all(&seen, 1, 3);
    world_free(&w);
}

static void lost_successor(bool mapped)
{
    struct world w;
    char path[64];

    world_init(&w, true, mapped);
    world_must_open(&w);
    while (wal_segment_now(w.wal) == 1)
        must_append(&w, 3000);
    world_crash(&w, IO_DAMAGE_KEEP_ALL, 1);
    for (uint64_t n = 2; n < 5; n++) {
        wal_segment_path("/wal", n, path, sizeof(path));
        (void)!io_remove(w.fs, path);
    }
    assert(world_recover(&w, &seen) == HELIOS_CORRUPT); /* the END says that there was one */
    world_free(&w);
}

static void missing_segments(bool mapped)
{
    struct world w;
    char path[64];
    uint64_t first, last;

    for (int what = 0; what < 4; what++) {
        world_init(&w, true, mapped);
        world_must_open(&w);
        first = wal_segment_now(w.wal);
        while (wal_segment_now(w.wal) < first + 3)
            must_append(&w, 3000);
        last = wal_segment_now(w.wal);
        assert(sync_now(&w) == HELIOS_OK);
        world_crash(&w, IO_DAMAGE_KEEP_ALL, 1);
        w.last.synced = w.synced_pos;
        if (what == 0)
            w.floor = first;
        for (uint64_t n = what == 3 ? last : first + (uint64_t)what;
             n <= (what == 3 ? last + 2 : first + (uint64_t)what); n++) {
            wal_segment_path("/wal", n, path, sizeof(path));
            (void)!io_remove(w.fs, path);
        }
        assert(world_recover(&w, &seen) == HELIOS_CORRUPT);
        assert(strstr(helios_last_error(), ".wal"));
        w.last.salvage = true;
        assert(world_recover(&w, &seen) == HELIOS_OK);
        assert(seen.count > 0);
        world_free(&w);
    }
}

/* ---- power cuts ---- */

enum { CUT_RECORDS = 40 };

/* Appends, sometimes syncs, until the machine stops or all is done. */
static void scenario(struct world *w, struct random *rng)
{
    for (int i = 0; i < CUT_RECORDS && !io_faulty_stopped(w->fs); i++) {
        size_t size = random_below(rng, 8) == 0 ? 40000 : random_below(rng, 3000);

        if (append(w, size, 1) != HELIOS_OK)
            return;
        if (random_below(rng, 3) == 0 && sync_now(w) != HELIOS_OK)
            return;
        if (random_below(rng, 10) == 0 && wal_pos_segment(w->synced_pos) > w->floor) {
            w->floor = wal_pos_segment(w->synced_pos);
            wal_release(w->wal, w->floor);
        }
    }
}

static void check_recovered(struct world *w, helios_seq synced, helios_seq written)
{
    helios_status status = world_recover(w, &seen);

    if (status != HELIOS_OK)
        printf("%s\n", helios_last_error());
    assert(status == HELIOS_OK);
    for (size_t i = 1; i < seen.count; i++)
        assert(seen.records[i].first == seen.records[i - 1].first + 1);
    assert(w->last.last <= written);
    assert(w->last.last >= synced || (w->floor > 0 && w->last.last == 0 && synced == 0));
}

/* Cut, recover; cut again somewhere in the opening, recover to the same; then go on. */
static void cut_case(bool mapped, uint64_t stop, enum io_damage damage, uint64_t second)
{
    struct world w;
    struct random rng;
    helios_seq synced, written;

    random_seed(&rng, seed + stop % 7);
    world_init(&w, true, mapped);
    w.options.segment_bytes = 32 * 1024;
    world_must_open(&w);
    io_faulty_stop_at(w.fs, stop);
    scenario(&w, &rng);
    synced = w.synced;
    written = w.next - 1;
    world_crash(&w, damage, stop);
    check_recovered(&w, synced, written);
    seen_again = seen;
    w.last = (struct wal_recovery){.synced = stop % 2 ? w.synced_pos : 0};
    assert(world_recover(&w, &seen) == HELIOS_OK);
    expect_same(&seen, &seen_again);

    io_faulty_stop_at(w.fs, second);
    if (world_open(&w) == HELIOS_OK) {
        world_crash(&w, damage, stop + second);
    } else {
        w.wal = NULL;
        io_faulty_power_cut(w.fs, damage, stop + second);
        w.last = (struct wal_recovery){0};
    }
    assert(world_recover(&w, &seen) == HELIOS_OK);
    /* What was not known to be durable may be lost by the second cut only if no open had returned. */
    assert(seen.count <= seen_again.count && w.last.last >= synced);
    w.last = (struct wal_recovery){0};
    world_must_open(&w);
    seen_again = seen;
    w.next = written + 100;
    world_crash(&w, IO_DAMAGE_DROP_ALL, 1);
    world_must_open(&w); /* everything read after an open is durable */
    expect_same(&seen, &seen_again);
    must_append(&w, 10);
    world_close(&w);
    world_must_open(&w);
    assert(seen.count == seen_again.count + 1);
    world_close(&w);
    world_free(&w);
}

static void power_cuts(bool mapped, int stride)
{
    for (uint64_t stop = 1; stop <= 110; stop += (uint64_t)stride) {
        for (int damage = 0; damage < IO_DAMAGE_COUNT; damage++)
            cut_case(mapped, stop, (enum io_damage)damage, 1 + (stop * 8 + (uint64_t)damage) % 14);
    }
}

/* ---- errors ---- */

/* Behind the failed sync: what the one before it covered is all that is left. */
static void lose_all_but_first(struct world *w)
{
    assert(wal_durable_seq(w->wal) == 1);
    assert(wal_close(w->wal, NULL) == HELIOS_IO);
    w->wal = NULL;
    w->last = (struct wal_recovery){0};
    io_faulty_power_cut(w->fs, IO_DAMAGE_DROP_ALL, 1);
    world_must_open(w);
    assert(seen.count == 1);
    world_close(w);
    world_free(w);
}

static void failed_sync(bool mapped)
{
    struct world w;
    struct io_fault fault = {.fail_at = 1,
                             .mask = 1u << IO_CALL_SYNC,
                             .error_number = EIO,
                             .path_contains = "00000001.wal",
                             .sync_drops_pages = true};

    world_init(&w, true, mapped);
    world_must_open(&w);
    must_append(&w, 100);
    assert(sync_now(&w) == HELIOS_OK);
    assert(wal_error(w.wal) == HELIOS_OK);
    must_append(&w, 100);
    io_faulty_plan(w.fs, &fault);
    assert(sync_now(&w) == HELIOS_IO);
    io_faulty_plan(w.fs, NULL);
    must_append(&w, 100);
    assert(sync_now(&w) == HELIOS_IO); /* not tried again */
    assert(strstr(helios_last_error(), "00000001.wal"));
    assert(wal_error(w.wal) == HELIOS_IO);
    assert(wal_prepare(w.wal, 1 << 20) == HELIOS_IO);
    lose_all_but_first(&w);
}

/* The keeper has unmapped it, and its pages are on their way. */
static void wait_left(struct world *w, uint64_t number)
{
    bool mapped = true;

    while (mapped) {
        mapped = false;
        mutex_lock(&w->wal->mu);
        for (const struct wal_segment *segment = w->wal->first; segment; segment = segment->next)
            mapped |= segment->number <= number && segment->map;
        mutex_unlock(&w->wal->mu);
    }
}

/* What write-back could not write of a segment that commits have left is told by the sync behind it, once and for all. */
static void failed_sync_of_left(void)
{
    struct world w;
    struct io_fault fault = {.fail_at = 1,
                             .mask = 1u << IO_CALL_SYNC,
                             .error_number = EIO,
                             .path_contains = "00000001.wal",
                             .sync_drops_pages = true};
    uint64_t left;

    world_init(&w, true, true);
    world_must_open(&w);
    left = wal_segment_now(w.wal);
    assert(left == 1);
    must_append(&w, 100);
    assert(sync_now(&w) == HELIOS_OK);
    while (wal_segment_now(w.wal) == left)
        must_append(&w, 2000);
    wait_left(&w, left);
    wal_unload(w.wal);
    must_append(&w, 100);
    io_faulty_plan(w.fs, &fault);
    assert(sync_now(&w) == HELIOS_IO);
    io_faulty_plan(w.fs, NULL);
    assert(sync_now(&w) == HELIOS_IO);
    lose_all_but_first(&w);
}

/* Left, unmapped and never synced: lost with the power like anything else, and never half of it. */
static void cut_of_left(enum io_damage damage)
{
    struct world w;
    uint64_t left;

    world_init(&w, true, true);
    world_must_open(&w);
    left = wal_segment_now(w.wal);
    must_append(&w, 100);
    assert(sync_now(&w) == HELIOS_OK);
    while (wal_segment_now(w.wal) < left + 2)
        must_append(&w, 2000);
    wait_left(&w, left + 1);
    world_crash(&w, damage, 7);
    world_must_open(&w);
    assert(seen.count >= 1);
    expect_all(&seen, 1, w.last.last);
    w.next = w.last.last + 1;
    must_append(&w, 100);
    world_close(&w);
    world_free(&w);
}

/* A file system on which no room can be reserved gets zeros instead. */
static void unreserved(void)
{
    struct world w;
    struct io_fault fault = {
        .fail_at = 1, .forever = true, .mask = 1u << IO_CALL_RESIZE, .error_number = EOPNOTSUPP};

    world_init(&w, true, true);
    io_faulty_plan(w.fs, &fault);
    world_must_open(&w);
    for (int i = 0; i < 200; i++)
        must_append(&w, 2000);
    world_close(&w);
    world_must_open(&w);
    expect_all(&seen, 1, w.next - 1);
    world_close(&w);
    world_free(&w);
}

static void failed_write(void)
{
    struct world w;
    struct io_fault fault = {
        .fail_at = 1, .mask = 1u << IO_CALL_WRITE, .error_number = EIO, .path_contains = "00000001.wal"};
    struct pending p;

    world_init(&w, true, false);
    world_must_open(&w);
    must_append(&w, 100);
    assert(reserve(&w, 100, 1, &p) == HELIOS_OK);
    io_faulty_plan(w.fs, &fault);
    assert(write_pending(&w, &p) == HELIOS_IO);
    io_faulty_plan(w.fs, NULL);
    assert(wal_error(w.wal) == HELIOS_IO);
    assert(wal_sync(w.wal, UINT64_MAX, UINT64_MAX) == HELIOS_IO);
    assert(wal_close(w.wal, NULL) == HELIOS_IO);
    w.wal = NULL;
    w.last = (struct wal_recovery){0};
    world_must_open(&w);
    assert(seen.count == 1);
    world_close(&w);
    world_free(&w);
}

/* A full disk stops only what needs a new segment, and that until there is room. */
static void no_space(bool mapped)
{
    struct world w;
    helios_status status = HELIOS_OK;
    int count = 0;

    world_init(&w, true, mapped);
    world_must_open(&w);
    io_faulty_set_space(w.fs, 300 * 1024);
    while (status == HELIOS_OK && count++ < 1000)
        status = append(&w, 2000, 1);
    assert(status == HELIOS_NO_SPACE && count > 50);
    assert(sync_now(&w) == HELIOS_OK);
    io_faulty_set_space(w.fs, 0);
    for (int i = 0; i < 100; i++)
        must_append(&w, 2000);
    world_close(&w);
    world_must_open(&w);
    expect_all(&seen, 1, w.next - 1);
    world_close(&w);
    world_free(&w);
}

/* Each call of an open and of a recovery fails once; the next one works and sees the same. */
static void failing_opens(bool mapped)
{
    struct world w;

    world_init(&w, true, mapped);
    world_must_open(&w);
    for (int i = 0; i < 100; i++)
        must_append(&w, 2000);
    world_crash(&w, IO_DAMAGE_KEEP_ALL, 1);
    for (uint64_t n = 1; n < 80; n++) {
        struct io_fault fault = {.fail_at = n, .error_number = n % 2 ? EIO : ENOSPC};
        helios_status status;

        io_faulty_plan(w.fs, &fault);
        status = world_open(&w);
        io_faulty_plan(w.fs, NULL);
        assert(status == HELIOS_OK || strlen(helios_last_error()) > 0);
        if (status == HELIOS_OK) {
            assert(seen.count == 100);
            world_crash(&w, IO_DAMAGE_KEEP_ALL, 1);
        }
        w.last = (struct wal_recovery){0};
    }
    for (uint64_t n = 1; n < 60; n++) {
        helios_status status;

        mem_fail_thread_only(true);
        mem_fail_at(n, false);
        status = world_open(&w);
        mem_fail_at(0, false);
        mem_fail_thread_only(false);
        assert(status == HELIOS_OK || status == HELIOS_NO_MEMORY);
        if (status == HELIOS_OK)
            world_crash(&w, IO_DAMAGE_KEEP_ALL, 1);
        w.last = (struct wal_recovery){0};
    }
    world_must_open(&w);
    expect_all(&seen, 1, 100);
    world_close(&w);
    world_free(&w);
}

/* ---- spoilt files ---- */

static size_t list_segments(struct world *w, uint64_t *numbers, size_t max)
{
    size_t count = 0;
    char path[64];
    struct io_stat stat;

    for (uint64_t n = 1; n < 100 && count < max; n++) {
        wal_segment_path("/wal", n, path, sizeof(path));
        if (io_stat(w->fs, path, &stat) == HELIOS_OK)
            numbers[count++] = n;
    }
    return count;
}

/* Any one bit: everything is recovered, or damage is told; if the log was not closed, the last record, of
 * which nothing knows that it was synced, may be lost. */
static void flips(bool mapped, bool clean)
{
    struct world w;
    struct random rng;
    uint64_t numbers[32];
    size_t segments;
    helios_seq last;
    int detected = 0;

    random_seed(&rng, seed + 5);
    world_init(&w, true, mapped);
    w.options.segment_bytes = 16 * 1024;
    world_must_open(&w);
    for (int i = 0; i < 200; i++) {
        must_append(&w, random_below(&rng, 500));
        assert(sync_now(&w) == HELIOS_OK);
    }
    last = w.next - 1;
    if (clean)
        world_close(&w);
    else
        world_crash(&w, IO_DAMAGE_KEEP_ALL, 1);
    segments = list_segments(&w, numbers, 32);
    for (int i = 0; i < 4000; i++) {
        char path[64];
        uint64_t size, at;
        unsigned char *bytes, bit = (unsigned char)(1u << random_below(&rng, 8));
        struct wal_recovery before = w.last;
        helios_status status;

        wal_segment_path("/wal", numbers[random_below(&rng, segments)], path, sizeof(path));
        bytes = io_memory_bytes(w.fs, path, &size);
        at = random_below(&rng, 4) == 0 ? random_below(&rng, WAL_SEAL + 64) : random_below(&rng, size);
        bytes[at] ^= bit;
        status = world_recover(&w, &seen);
        bytes[at] ^= bit;
        assert(status == HELIOS_OK || status == HELIOS_CORRUPT || status == HELIOS_UNSUPPORTED);
        detected += status != HELIOS_OK;
        if (status == HELIOS_OK) {
            expect_all(&seen, 1, w.last.last);
            assert(w.last.last >= last - !clean);
        }
        w.last = before;
    }
    assert(detected > 100);
    world_free(&w);
}

static void truncations(bool mapped)
{
    struct world w;
    uint64_t numbers[32];
    size_t segments;
    struct random rng;

    random_seed(&rng, seed + 6);
    world_init(&w, true, mapped);
    w.options.segment_bytes = 16 * 1024;
    world_must_open(&w);
    for (int i = 0; i < 60; i++)
        must_append(&w, 1000);
    world_close(&w);
    segments = list_segments(&w, numbers, 32);
    for (size_t i = 0; i < segments; i++) {
        for (int n = 0; n < 20; n++) {
            char path[64];
            struct io_file *file;
            uint64_t size, cut;
            unsigned char *copy;
            struct wal_recovery before = w.last;
            helios_status status;

            wal_segment_path("/wal", numbers[i], path, sizeof(path));
            assert(io_open(w.fs, path, IO_WRITE, &file) == HELIOS_OK);
            assert(io_size(file, &size) == HELIOS_OK);
            copy = mem_alloc(size);
            assert(copy && io_read(file, 0, copy, size) == HELIOS_OK);
            cut = n == 0 ? 0 : random_below(&rng, size);
            assert(io_resize(file, cut) == HELIOS_OK);
            status = world_recover(&w, &seen);
            assert(status == HELIOS_CORRUPT || (status == HELIOS_OK && w.last.last == w.next - 1));
            w.last = before;
            w.last.salvage = true;
            assert(world_recover(&w, &seen) == HELIOS_OK);
            w.last = before;
            assert(io_write(file, 0, copy, size) == HELIOS_OK);
            mem_free(copy);
            io_close(file);
        }
    }
    assert(world_recover(&w, &seen) == HELIOS_OK);
    expect_all(&seen, 1, w.next - 1);
    world_free(&w);
}

/* ---- upkeep ---- */

static helios_status checkpoint_one(void *arg, uint64_t number, const char *path, uint64_t end, helios_seq last,
                                    bool sealed)
{
    struct world *w = arg;
    char to[64];

    wal_segment_path("/copy", number, to, sizeof(to));
    if (sealed)
        return io_link(w->fs, path, to);
    return wal_segment_copy(w->fs, path, to, end, last < w->next ? last : w->next - 1);
}

static void checkpoints(bool mapped)
{
    for (int extra = 0; extra < 30; extra++) {
        struct world w;
        wal_pos upto;
        helios_seq last;

        world_init(&w, true, mapped);
        world_must_open(&w);
        for (int i = 0; i < 50 + extra; i++)
            must_append(&w, 3000);
        if (extra % 3 == 0)
            assert(sync_now(&w) == HELIOS_OK);
        upto = wal_published(w.wal);
        last = w.next - 1;
        for (int i = 0; i < extra * 2; i++)
            must_append(&w, 2500);
        if (extra % 5 == 0)
            assert(sync_now(&w) == HELIOS_OK);
        assert(io_make_directory(w.fs, "/copy") == HELIOS_OK);
        assert(wal_each_segment(w.wal, upto, checkpoint_one, &w) == HELIOS_OK);
        for (int i = 0; i < 50; i++)
            must_append(&w, 3000);
        assert(sync_now(&w) == HELIOS_OK);
        w.floor = wal_segment_now(w.wal);
        wal_release(w.wal, w.floor);
        for (int i = 0; i < 50; i++)
            must_append(&w, 3000);
        world_close(&w);
        w.options.directory = "/copy";
        w.floor = 0;
        w.last = (struct wal_recovery){.synced = upto, .last_synced = last};
        world_must_open(&w);
        expect_all(&seen, 1, last);
        world_close(&w);
        world_free(&w);
    }
}

/* Opening again and again leaves no pile of empty segments. */
static void reopening(bool mapped)
{
    struct world w;
    uint64_t numbers[99];

    world_init(&w, true, mapped);
    world_must_open(&w);
    must_append(&w, 10);
    for (int i = 0; i < 20; i++) {
        world_crash(&w, IO_DAMAGE_SECTORS, (uint64_t)i);
        world_must_open(&w);
    }
    assert(seen.count <= 1);
    world_close(&w);
    assert(list_segments(&w, numbers, 99) <= 3);
    world_free(&w);
}

static void reader_api(void)
{
    struct world w;
    struct wal_reader *reader;
    struct wal_record record;
    char path[64];
    uint64_t second;

    world_init(&w, true, true);
    world_must_open(&w);
    must_append(&w, 10);
    must_append(&w, 20);
    second = wal_pos_offset(wal_published(w.wal)) - wal_record_size(20);
    must_append(&w, 30);
    world_close(&w);
    wal_segment_path("/wal", 1, path, sizeof(path));
    assert(wal_reader_open(w.fs, NULL, "/wal/none", &reader) == HELIOS_NOT_FOUND);
    flip(&w, wal_pos_make(1, second), 3);
    assert(wal_reader_open(w.fs, NULL, path, &reader) == HELIOS_OK);
    assert(wal_reader_info(reader)->sealed && wal_reader_info(reader)->sealed_last == 3);
    assert(wal_reader_next(reader, &record) == HELIOS_OK && record.first == 1);
    assert(wal_reader_next(reader, &record) == HELIOS_CORRUPT);
    assert(wal_reader_offset(reader) == second && strstr(helios_last_error(), path));
    assert(wal_reader_scan(reader, &record) == HELIOS_OK && record.first == 3 && record.body.size == 30);
    assert(wal_reader_next(reader, &record) == HELIOS_NOT_FOUND);
    assert(wal_reader_scan(reader, &record) == HELIOS_NOT_FOUND);
    wal_reader_seek(reader, 0);
    assert(wal_reader_offset(reader) == WAL_DATA);
    wal_reader_seek(reader, UINT64_MAX);
    assert(wal_reader_next(reader, &record) == HELIOS_NOT_FOUND);
    wal_reader_close(reader);
    wal_reader_close(NULL);
    assert(wal_close(NULL, NULL) == HELIOS_OK);
    world_free(&w);
}

/* ---- threads ---- */

enum { WRITERS = 8, COMMITS = 400, RING = WRITERS * COMMITS }; /* a slow one is never lapped */

static struct crowd {
    struct world w;
    struct mutex lock, publish;
    uint64_t ticket, published;
    struct {
        wal_pos end;
        helios_seq last;
        _Atomic bool ready;
    } ring[RING];
    bool sync;
} crowd;

static void crowd_publish(void)
{
    mutex_lock(&crowd.publish);
    while (atomic_load_explicit(&crowd.ring[crowd.published % RING].ready, memory_order_acquire)) {
        size_t i = crowd.published++ % RING;

        atomic_store_explicit(&crowd.ring[i].ready, false, memory_order_relaxed);
        wal_publish(crowd.w.wal, crowd.ring[i].end, crowd.ring[i].last);
    }
    mutex_unlock(&crowd.publish);
}

static void crowd_commit(struct random *rng)
{
    static __thread unsigned char body[4096];
    size_t size = random_below(rng, 100) == 0 ? 4000 : random_below(rng, 300);
    helios_slice piece = slice_make(body, size);
    struct wal_record record = {.op_count = 1, .type = WAL_COMMIT};
    struct wal_reservation at;
    struct random content;
    uint64_t ticket;

    for (;;) {
        bool reserved;

        mutex_lock(&crowd.lock);
        reserved = wal_reserve(crowd.w.wal, wal_record_size(size), crowd.w.next, &at);
        if (reserved) {
            record.first = crowd.w.next++;
            ticket = crowd.ticket++;
        }
        mutex_unlock(&crowd.lock);
        if (reserved)
            break;
        assert(wal_prepare(crowd.w.wal, wal_record_size(size)) == HELIOS_OK);
    }
    random_seed(&content, record.first);
    for (size_t i = 0; i < size; i += 8) {
        uint64_t drawn = random_next(&content);

        memcpy(body + i, &drawn, 8);
    }
    record.time = 1000 + record.first;
    record.branch = (helios_branch_id)(record.first % 5);
    assert(wal_write(crowd.w.wal, &at, &record, hash_bytes(body, size), &piece, 1) == HELIOS_OK);
    crowd.ring[ticket % RING].end = at.end;
    crowd.ring[ticket % RING].last = record.first;
    atomic_store_explicit(&crowd.ring[ticket % RING].ready, true, memory_order_release);
    crowd_publish();
    if (!crowd.sync || random_below(rng, 4) == 0)
        return;
    while (wal_published(crowd.w.wal) < at.end)
        sched_yield();
    for (;;) {
        helios_status status = wal_sync(crowd.w.wal, at.end, random_below(rng, 3) ? UINT64_MAX : 20);

        assert(status == HELIOS_OK || status == HELIOS_TIMEOUT);
        if (status == HELIOS_OK)
            break;
    }
    assert(wal_durable(crowd.w.wal) >= at.end && wal_durable_seq(crowd.w.wal) >= record.first);
}

static void *crowd_run(void *arg)
{
    struct random rng;

    random_seed(&rng, seed + (uint64_t)(uintptr_t)arg);
    for (int i = 0; i < COMMITS; i++) {
        crowd_commit(&rng);
        if (i % 16 == 0)
            wal_sync_soon(crowd.w.wal, 300);
        if (i % 64 == 0)
            wal_release(crowd.w.wal, wal_pos_segment(wal_durable(crowd.w.wal)));
    }
    return NULL;
}

/* Not on the faulty file system: its sync looks at what is just being stored. */
static void writers(bool mapped, bool sync)
{
    pthread_t threads[WRITERS];
    uint64_t floor;

    memset(&crowd, 0, sizeof(crowd));
    world_init(&crowd.w, false, mapped);
    crowd.w.options.sync_interval = 5000;
    crowd.sync = sync;
    mutex_init(&crowd.lock);
    mutex_init(&crowd.publish);
    world_must_open(&crowd.w);
    for (uintptr_t i = 0; i < WRITERS; i++)
        assert(thread_start(&threads[i], "writer", crowd_run, (void *)i) == HELIOS_OK);
    for (int i = 0; i < WRITERS; i++)
        thread_join(threads[i]);
    floor = atomic_load(&crowd.w.wal->floor);
    world_close(&crowd.w);
    crowd.w.floor = floor;
    world_must_open(&crowd.w);
    assert(seen.count > 0);
    expect_all(&seen, seen.records[0].first, WRITERS * COMMITS);
    world_close(&crowd.w);
    world_free(&crowd.w);
}

/* A commit nobody waits for is synced all the same. */
static void background_sync(void)
{
    struct world w;

    world_init(&w, false, true);
    w.options.sync_interval = 2000;
    world_must_open(&w);
    must_append(&w, 10);
    while (wal_durable(w.wal) < wal_published(w.wal))
        sched_yield();
    world_close(&w);
    w.options.sync_interval = UINT64_MAX;
    world_must_open(&w);
    must_append(&w, 10);
    assert(wal_sync(w.wal, UINT64_MAX, 0) == HELIOS_TIMEOUT);
    wal_sync_soon(w.wal, 1000000);
    wal_sync_soon(w.wal, 500);
    while (wal_durable(w.wal) < wal_published(w.wal))
        sched_yield();
    assert(wal_sync(w.wal, UINT64_MAX, 0) == HELIOS_OK);
    world_close(&w);
    world_free(&w);
}

static void both(bool mapped)
{
    round_trip(mapped);
    big_records(mapped);
    segment_ends(mapped);
    held_up_while_leaving(mapped);
    void_records(mapped);
    recycling(mapped);
    for (size_t i = 0; i < sizeof(matrix) / sizeof(matrix[0]); i++) {
        matrix_case(i, mapped, false);
        matrix_case(i, mapped, true);
    }
    killed_writer(mapped);
    spoilt_copy(mapped);
    falling_numbers(mapped);
    floor_in_empty(mapped);
    floor_in_moved(mapped);
    cut_at_a_record(mapped);
    lost_successor(mapped);
    missing_segments(mapped);
    failed_sync(mapped);
    no_space(mapped);
    failing_opens(mapped);
    flips(mapped, true);
    flips(mapped, false);
    truncations(mapped);
    checkpoints(mapped);
    reopening(mapped);
    power_cuts(mapped, mapped ? 1 : 3);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("seed %" PRIu64 "\n", seed);
    for (int mapped = 0; mapped < 2; mapped++) {
        writers(mapped, false);
        writers(mapped, true);
    }
    background_sync();
    if (argc > 2 && strcmp(argv[2], "threads") == 0)
        return 0;
    failed_write();
    failed_sync_of_left();
    for (int damage = 0; damage < IO_DAMAGE_COUNT; damage++)
        cut_of_left((enum io_damage)damage);
    unreserved();
    reader_api();
    both(true);
    both(false);
    return 0;
}
