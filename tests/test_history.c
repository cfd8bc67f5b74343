/* test_history.c - history against a model that keeps every version and every commit ever made: reads, walks and
 * versions of keys at any point; times, commits, tags and snapshots; while the retention changes, the clock jumps,
 * tables are flushed and compacted, and the database is closed, killed or loses its power.
 *
 *   test_history [--set NAME] [--seed N] [--steps N] [--verbose]
 *
 * What is above the horizon, or named by a tag or a snapshot, must read exactly; what is neither must say
 * HELIOS_HISTORY_GONE. A failure prints the set, the seed and the step; the same set and seed make the same steps (the
 * background keeps its own time; the clock is the test's). */
#undef NDEBUG
#include "tests/history_test.h"
#include <assert.h>
#include <inttypes.h>

static const struct option_set sets[] = {
#define CHANGING 12345
    {"forever", 300, 64 << 10, 4096, 14, HELIOS_COMPRESSION_LZ4, HELIOS_FOREVER, 4, 4, true},
    {"none", 800, 64 << 10, 4096, 14, HELIOS_COMPRESSION_LZ4, 0, 4, 10, false},
    {"changing", 400, 128 << 10, 4096, 10, HELIOS_COMPRESSION_NONE, CHANGING, 4, 10, true},
    {"small_blocks", 300, 64 << 10, 1024, 0, HELIOS_COMPRESSION_NONE, CHANGING, 4, 5, true},
    {"large_blocks", 600, 256 << 10, 65536, 14, HELIOS_COMPRESSION_ZSTD, CHANGING, 4, 10, false},
    {"many_keys", 4000, 64 << 10, 1024, 5, HELIOS_COMPRESSION_LZ4, CHANGING, 3, 20, true},
    {"power", 300, 64 << 10, 4096, 14, HELIOS_COMPRESSION_LZ4, CHANGING, 30, 20, true},
};

static uint32_t any_size(struct test *t)
{
    uint64_t dice = below(t, 1000);

    return dice < 10 ? (uint32_t)below(t, 9000) : dice < 50 ? 0 : (uint32_t)below(t, 120);
}

/* ---- the clock, which is the test's ---- */

static void set_clock(struct test *t)
{
    io_faulty_set_time(t->fs, t->wall, t->monotonic);
}

/* Mostly a little; now and then the wall clock is set back or far on, which the monotonic one does not see. */
static void pass_time(struct test *t)
{
    uint64_t by = chance(t, 300) ? below(t, 3 * SECOND) : below(t, 40);

    t->wall += by;
    t->monotonic += by;
    if (chance(t, 3000))
        t->wall -= below(t, SECOND);
    set_clock(t);
}

/* ---- writing ---- */

static void committed(struct test *t, helios_seq seq, uint64_t operations, uint64_t bytes)
{
    const struct commit *last = t->commit_count ? &t->commits[t->commit_count - 1] : NULL;
    uint64_t floor = last && last->time > t->asked ? last->time : t->asked, time = 0;

    CHECK(t, helios_latest(t->db) == seq);
    if (operations)
        CHECK(t, t->jumped ? seq >= t->history.latest + operations : seq == t->history.latest + operations);
    MUST(t, helios_time_of_seq(t->db, seq, &time));
    CHECK(t, time >= floor);
    if (time > (t->wall > t->time_max ? t->wall : t->time_max) + 1)
        fprintf(stderr,
                "commit %" PRIu64 ": time %" PRIu64 ", the clock is %" PRIu64 ", was at most %" PRIu64 "\n",
                seq, time, t->wall, t->time_max);
    CHECK(t, time <= (t->wall > t->time_max ? t->wall : t->time_max) + 1);
    t->time_max = time > t->time_max ? time : t->time_max;
    t->jumped = false;
    t->history.latest = seq;
    if (t->commit_count == t->commit_room) {
        t->commit_room = t->commit_room ? t->commit_room * 2 : 1024;
        t->commits = realloc(t->commits, t->commit_room * sizeof(*t->commits));
        assert(t->commits);
    }
    t->commits[t->commit_count++] = (struct commit){seq, time, operations, bytes};
    t->checks++;
}

static helios_write_options any_write(struct test *t)
{
    static const helios_durability all[] = {HELIOS_DURABILITY_DEFAULT, HELIOS_DURABILITY_ASYNC,
                                            HELIOS_DURABILITY_GROUP};
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;

    options.durability = chance(t, 200) ? HELIOS_DURABILITY_SYNC : all[below(t, 3)];
    return options;
}

static void put(struct test *t)
{
    helios_write_options options = any_write(t);
    size_t key = any_key(t);
    uint32_t size = any_size(t);
    uint64_t value = ++t->history.values;

    value_fill(value, t->value, size);
    MUST(t, helios_put(t->db, &options, key_slice(t, key), slice_make(t->value, size)));
    history_put(&t->history, key, helios_latest(t->db), value, size);
    committed(t, helios_latest(t->db), 1, key_slice(t, key).size + size);
}

static void delete_key(struct test *t)
{
    helios_write_options options = any_write(t);
    size_t key = any_key(t);

    MUST(t, helios_delete(t->db, &options, key_slice(t, key)));
    history_delete(&t->history, key, helios_latest(t->db));
    committed(t, helios_latest(t->db), 1, 0);
}

/* Mostly a few keys, now and then a third of everything; never empty. */
static void any_range(struct test *t, size_t *from, size_t *to)
{
    *from = below(t, t->history.count - 1);
    *to = *from + 1 + below(t, chance(t, 100) ? t->history.count / 3 : 10);
    if (*to >= t->history.count)
        *to = t->history.count - 1;
}

static void delete_range(struct test *t)
{
    helios_write_options options = any_write(t);
    size_t from, to;

    any_range(t, &from, &to);
    MUST(t, helios_delete_range(t->db, &options, key_slice(t, from), key_slice(t, to)));
    history_delete_range(&t->history, from, to, helios_latest(t->db));
    committed(t, helios_latest(t->db), 1, 0);
}

/* Several operations of one commit, into a batch or a transaction. The model takes a stand-in for their number. */
#define STAND_IN (UINT64_MAX - 1)

static void add_operation(struct test *t, helios_batch *batch, helios_txn *txn, uint32_t size)
{
    uint64_t dice = below(t, 100), value = ++t->history.values;
    size_t key = any_key(t), from, to;

    any_range(t, &from, &to);
    if (dice < 80) {
        value_fill(value, t->value, size);
        if (txn)
            MUST(t, helios_txn_put(txn, key_slice(t, key), slice_make(t->value, size)));
        else
            helios_batch_put(batch, key_slice(t, key), slice_make(t->value, size));
        history_put(&t->history, key, STAND_IN, value, size);
    } else if (dice < 95) {
        if (txn)
            MUST(t, helios_txn_delete(txn, key_slice(t, key)));
        else
            helios_batch_delete(batch, key_slice(t, key));
        history_delete(&t->history, key, STAND_IN);
    } else {
        if (txn)
            MUST(t, helios_txn_delete_range(txn, key_slice(t, from), key_slice(t, to)));
        else
            helios_batch_delete_range(batch, key_slice(t, from), key_slice(t, to));
        history_delete_range(&t->history, from, to, STAND_IN);
    }
}

/* Gives what the stand-in wrote its number; 0: it never was. */
static void settle(struct test *t, helios_seq seq)
{
    for (size_t i = 0; i < t->history.count; i++) {
        struct history_key *key = &t->history.keys[i];

        if (!key->count || key->versions[key->count - 1].seq != STAND_IN)
            continue;
        if (seq)
            key->versions[key->count - 1].seq = seq;
        else
            key->count--;
    }
}

static void write_batch(struct test *t, size_t operations, uint32_t size)
{
    helios_write_options options = any_write(t);
    helios_batch *batch = helios_batch_new();
    helios_seq commit = 0;

    for (size_t i = 0; i < operations; i++)
        add_operation(t, batch, NULL, size ? size : any_size(t) % 1000);
    MUST(t, helios_write(t->db, &options, batch, &commit));
    settle(t, commit);
    committed(t, commit, operations, 0);
    helios_batch_free(batch);
}

/* Nobody else is there, so it cannot lose. */
static void transact(struct test *t)
{
    helios_txn_options options = HELIOS_TXN_OPTIONS_INIT;
    helios_txn *txn = NULL;
    helios_seq commit = 0;
    size_t operations = 1 + below(t, 8);

    options.isolation = chance(t, 2) ? HELIOS_ISOLATION_SERIALIZABLE : HELIOS_ISOLATION_SNAPSHOT;
    MUST(t, helios_txn_begin(t->db, &options, &txn));
    if (chance(t, 4))
        (void)!helios_txn_get(txn, key_slice(t, any_key(t)), &t->got);
    for (size_t i = 0; i < operations; i++)
        add_operation(t, NULL, txn, any_size(t) % 1000);
    if (chance(t, 5)) {
        MUST(t, helios_txn_rollback(txn));
        settle(t, 0);
        CHECK(t, helios_latest(t->db) == t->history.latest);
    } else {
        MUST(t, helios_txn_commit(txn, &commit));
        settle(t, commit);
        committed(t, commit, 0, 0);
    }
    helios_txn_free(txn);
}

/* ---- times ---- */

static void seq_at_time(struct test *t)
{
    uint64_t time = t->wall - below(t, 10 * SECOND), clock;
    helios_seq got = 0, want = 0, horizon = helios_horizon(t->db);
    helios_status status;
    size_t i = t->commit_count;

    if (t->commit_count && !chance(t, 4))
        time = t->commits[below(t, t->commit_count)].time + below(t, 3) - 1;
    else if (chance(t, 10))
        time = t->wall + below(t, 100 * SECOND);
    status = helios_seq_at_time(t->db, time, &got);
    clock = t->time_max > t->wall ? t->time_max : t->wall; /* at most */
    if (clock > time)
        clock = time;
    t->time_max = clock + 1 > t->time_max ? clock + 1 : t->time_max;
    while (i > 0 && t->commits[i - 1].time > time)
        i--;
    want = i ? t->commits[i - 1].seq : 0;
    if (status == HELIOS_HISTORY_GONE) {
        if (want >= horizon && want >= helios_horizon(t->db))
            fprintf(stderr, "time %" PRIu64 " is commit %" PRIu64 "\n", time, want);
        CHECK(t, want < helios_horizon(t->db));
        return;
    }
    MUST(t, status);
    if (got != (want ? want : HELIOS_SEQ_NONE))
        fprintf(stderr, "time %" PRIu64 ": commit %" PRIu64 ", not %" PRIu64 "\n", time, got, want);
    CHECK(t, got == (want ? want : HELIOS_SEQ_NONE));
    clock = time < t->wall ? time : t->wall; /* at least */
    t->asked = clock + 1 > t->asked ? clock + 1 : t->asked;
    t->timed++;
    t->checks++;
}

static void time_of_seq(struct test *t)
{
    helios_seq seq = chance(t, 20) ? t->history.latest + 1 + below(t, 10) : 1 + below(t, t->history.latest + 1);
    size_t count = commits_to(t, seq);
    uint64_t time = 0;
    helios_status status;

    if (count == 0)
        return;
    status = helios_time_of_seq(t->db, seq, &time);
    t->checks++;
    if (seq > t->history.latest)
        CHECK(t, status == HELIOS_INVALID);
    else if (status == HELIOS_HISTORY_GONE)
        CHECK(t, seq < helios_horizon(t->db));
    else
        CHECK(t, status == HELIOS_OK && time == t->commits[count - 1].time);
}

/* ---- the list of commits ---- */

static void check_commit(struct test *t, const struct commit *want, const helios_commit_info *got)
{
    if (got->seq != want->seq || got->time != want->time)
        fprintf(stderr, "commit %" PRIu64 " at %" PRIu64 ", not %" PRIu64 " at %" PRIu64 "\n", got->seq,
                got->time, want->seq, want->time);
    CHECK(t, got->seq == want->seq);
    CHECK(t, got->time == want->time);
    CHECK(t, want->operations == 0 || got->operations == want->operations);
    CHECK(t, want->bytes == 0 || got->bytes == want->bytes);
    t->checks++;
}

/* All from the horizon on, which stands still meanwhile. */
static void list_commits(struct test *t)
{
    helios_commits_options options = HELIOS_COMMITS_OPTIONS_INIT;
    helios_commits *list = NULL;
    helios_commit_info got;
    helios_seq first;
    size_t at, low, high = t->commit_count;

    if (t->commit_count && !chance(t, 20)) { /* all of them takes long */
        at = below(t, t->commit_count);
        options.to = t->commits[at].seq + below(t, 2);
        options.from = t->commits[at - below(t, at < 300 ? at + 1 : 300)].seq + below(t, 2);
    }
    options.oldest_first = chance(t, 2);
    MUST(t, helios_commits_new(t->db, &options, &list));
    first = helios_horizon(t->db);
    first = options.from > first ? options.from : first;
    low = first ? commits_to(t, first - 1) : 0;
    if (options.to)
        high = commits_to(t, options.to);
    for (at = low; at < high; at++) {
        CHECK(t, helios_commits_next(list, &got));
        check_commit(t, &t->commits[options.oldest_first ? at : low + high - 1 - at], &got);
    }
    CHECK(t, !helios_commits_next(list, &got));
    MUST(t, helios_commits_status(list));
    helios_commits_free(list);
    t->listed++;
}

static void state_of_commit(struct test *t)
{
    helios_seq seq = chance(t, 10) ? t->history.latest + 1000000000 : 1 + below(t, t->history.latest + 1);
    helios_commit_fate fate = helios_commit_state(t->db, seq);
    size_t count = commits_to(t, seq - 1);

    t->checks++;
    if (seq > t->history.latest) {
        CHECK(t, seq == t->history.latest + 1 || fate == HELIOS_COMMIT_LOST);
        return;
    }
    /* The commit that owns the number is the next one, unless the number was lost in between. */
    if (t->commits[count].operations && seq > t->commits[count].seq - t->commits[count].operations)
        CHECK(t, fate != HELIOS_COMMIT_LOST);
}

/* ---- snapshots and tags ---- */

static void toggle_snapshot(struct test *t)
{
    struct held_snapshot *s = &t->snapshots[below(t, SNAPSHOTS_MAX)];
    struct point p = any_point(t);
    helios_snapshot *handle = NULL;

    if (s->handle) {
        helios_snapshot_free(t->db, s->handle);
        *s = (struct held_snapshot){0};
        return;
    }
    p.on_all = true;
    if (p.options.snapshot || !judge(t, &p, helios_snapshot_new(t->db, p.options.at, &handle)))
        return;
    CHECK(t, handle);
    *s = (struct held_snapshot){handle, p.seq};
}

static size_t tags_live(const struct test *t)
{
    size_t live = 0;

    for (size_t i = 0; i < t->tag_count; i++)
        live += t->tags[i].dropped == 0;
    return live;
}

static void make_tag(struct test *t)
{
    struct point p = any_point(t);
    struct tag *tag = &t->tags[t->tag_count];
    helios_status status;

    if (p.options.snapshot || t->tag_count == TAGS_MAX)
        return;
    *tag = (struct tag){.at = p.seq};
    snprintf(tag->name, sizeof(tag->name), "tag %u/%zu", (unsigned)below(t, 10), t->tags_made++);
    status = helios_tag_create(t->db, tag->name, 0, p.options.at);
    if (!judge(t, &p, status))
        return;
    MUST(t, status);
    committed(t, helios_latest(t->db), 1, 0);
    tag->made = t->history.latest;
    tag->time = t->commits[t->commit_count - 1].time;
    t->tag_count++;
    CHECK(t, helios_tag_create(t->db, tag->name, 0, 0) == HELIOS_EXISTS);
    t->tagged++;
}

static void drop_tag(struct test *t)
{
    struct tag *tag = (struct tag *)any_tag(t);

    if (!tag)
        return;
    MUST(t, helios_tag_drop(t->db, tag->name));
    committed(t, helios_latest(t->db), 1, 0);
    tag->dropped = t->history.latest;
    CHECK(t, helios_tag_drop(t->db, tag->name) == HELIOS_NOT_FOUND);
}

static const struct tag *tag_named(const struct test *t, const char *name)
{
    for (size_t i = 0; i < t->tag_count; i++)
        if (!t->tags[i].dropped && strcmp(t->tags[i].name, name) == 0)
            return &t->tags[i];
    return NULL;
}

static void check_tags(struct test *t)
{
    helios_tag_info *list = NULL;
    size_t n = 0;

    MUST(t, helios_tag_list(t->db, &list, &n));
    CHECK(t, n == tags_live(t));
    for (size_t i = 0; i < n; i++) {
        const struct tag *tag = tag_named(t, list[i].name);
        helios_branch_id branch = 77;
        helios_seq at = 0;

        CHECK(t, i == 0 || strcmp(list[i - 1].name, list[i].name) < 0);
        CHECK(t, tag);
        CHECK(t, list[i].branch == 0);
        CHECK(t, commit_at(t, list[i].at == HELIOS_SEQ_NONE ? 0 : list[i].at) == commit_at(t, tag->at));
        CHECK(t, list[i].time == tag->time);
        MUST(t, helios_tag_get(t->db, tag->name, &branch, &at));
        CHECK(t, branch == 0 && at == list[i].at);
        t->checks++;
    }
    helios_free(list);
    CHECK(t, helios_tag_get(t->db, "no tag", &(helios_branch_id){0}, &(helios_seq){0}) == HELIOS_NOT_FOUND);
}

/* What the test holds is in the list of pins. */
static void check_pins(struct test *t)
{
    helios_pin_info *list = NULL;
    size_t n = 0, snapshots = 0, tags = 0;

    MUST(t, helios_pin_list(t->db, &list, &n));
    for (size_t i = 0; i < n; i++) {
        snapshots += list[i].kind == HELIOS_PIN_SNAPSHOT && list[i].at != HELIOS_SEQ_NONE;
        tags += list[i].kind == HELIOS_PIN_TAG;
        if (list[i].kind == HELIOS_PIN_TAG)
            CHECK(t, tag_named(t, list[i].owner));
    }
    helios_free(list);
    for (size_t i = 0; i < SNAPSHOTS_MAX; i++)
        snapshots -=
            t->snapshots[i].handle && t->snapshots[i].seq; /* one before all commits need hold nothing */
    CHECK(t, snapshots == 0);
    CHECK(t, tags == tags_live(t));
    t->checks++;
}

/* ---- opening ---- */

static uint64_t any_retention(struct test *t)
{
    static const uint64_t some[] = {0, 1000, 20000, SECOND, 60 * (uint64_t)SECOND, HELIOS_FOREVER};

    return t->set->retention == CHANGING ? some[below(t, 6)] : t->set->retention;
}

static void open_database(struct test *t)
{
    static const uint64_t caches[] = {64 << 10, 1 << 20, 64 << 20};
    helios_options *o = &t->options;

    *o = (helios_options)HELIOS_OPTIONS_INIT;
    o->memtable_bytes = t->set->memtable_bytes;
    o->block_bytes = t->set->block_bytes;
    o->filter_bits_per_key = t->set->filter_bits;
    o->compression = o->bottom_compression = t->set->compression;
    o->block_cache_bytes = caches[below(t, 3)];
    o->history_retention = any_retention(t);
    if (t->verbose)
        printf("step %" PRIu64 ": open, retention %" PRIu64 "\n", t->step, o->history_retention);
    o->feed_retention = t->set->feed ? HELIOS_FOREVER : 0;
    MUST(t, engine_open(t->fs, "/history", o, &t->db));
    feed_replay_opened(t->replay, t->db);
}

static void release_handles(struct test *t)
{
    for (size_t i = 0; i < SNAPSHOTS_MAX; i++) {
        helios_snapshot_free(t->db, t->snapshots[i].handle);
        t->snapshots[i] = (struct held_snapshot){0};
    }
    for (size_t i = 0; i < ITERATORS_MAX; i++) {
        helios_iter_free(t->iterators[i].handle);
        t->iterators[i] = (struct held_iterator){0};
    }
}

static void reopen(struct test *t)
{
    release_handles(t);
    MUST(t, helios_close(t->db));
    open_database(t);
    CHECK(t, helios_latest(t->db) == t->history.latest);
    check_tags(t);
    t->reopened++;
}

/* The last commit that is there is `latest`: forgets what came after it. */
static void forget_after(struct test *t, helios_seq latest)
{
    while (t->commit_count && t->commits[t->commit_count - 1].seq > latest) {
        t->commit_count--;
        t->lost++;
    }
    for (size_t i = 0; i < t->history.count; i++) {
        struct history_key *k = &t->history.keys[i];

        while (k->count && k->versions[k->count - 1].seq > latest)
            k->count--;
    }
    for (size_t i = 0; i < t->tag_count; i++)
        if (t->tags[i].dropped > latest)
            t->tags[i].dropped = 0;
    while (t->tag_count && t->tags[t->tag_count - 1].made > latest)
        t->tag_count--;
    t->history.latest = latest;
}

/* The last commit that is said to survive whatever happens; 0: none of the newest. */
static helios_seq last_kept(struct test *t)
{
    for (size_t i = t->commit_count; i > 0 && t->commit_count - i < 2000; i--)
        if (helios_commit_state(t->db, t->commits[i - 1].seq) == HELIOS_COMMIT_KEPT)
            return t->commits[i - 1].seq;
    return 0;
}

/* A killed process loses nothing; a machine without power loses commits of the end that were not synced. */
static void crash(struct test *t)
{
    static const enum io_damage damages[] = {IO_DAMAGE_KEEP_ALL, IO_DAMAGE_DROP_ALL, IO_DAMAGE_SECTORS,
                                             IO_DAMAGE_PREFIX};
    enum io_damage damage = damages[below(t, 4)];
    helios_seq durable = 0, latest, kept, before = t->history.latest;

    if (chance(t, 2)) {
        MUST(t, helios_sync(t->db));
        durable = t->history.latest;
    }
    release_handles(t);
    kept = last_kept(t);
    CHECK(t, kept >= durable);
    io_faulty_stop_at(t->fs, 1);
    (void)!helios_close(t->db); /* fails, as the machine has stopped */
    t->db = NULL;
    io_faulty_power_cut(t->fs, damage, t->seed + t->step);
    open_database(t);
    latest = helios_latest(t->db);
    CHECK(t, latest <= t->history.latest);
    CHECK(t, latest >= durable);
    CHECK(t, latest >= kept);
    CHECK(t, damage != IO_DAMAGE_KEEP_ALL || latest == t->history.latest);
    CHECK(t, commit_at(t, latest) == latest);
    forget_after(t, latest);
    for (helios_seq seq = latest + 1; seq <= before; seq++)
        CHECK(t, helios_commit_state(t->db, seq) == HELIOS_COMMIT_LOST);
    CHECK(t, last_kept(t) == latest); /* what an open finds is durable */
    t->jumped = true;
    t->asked = 0; /* a clock that was only asked is not kept */
    check_tags(t);
    scan_all(t);
    t->killed++;
}

/* ---- the steps ---- */

static void change_retention(struct test *t)
{
    MUST(t, helios_set_history_retention(t->db, any_retention(t)));
}

static void compact(struct test *t)
{
    size_t from, to;

    any_range(t, &from, &to);
    if (chance(t, 2))
        MUST(t, helios_compact(t->db, key_slice(t, from), key_slice(t, to)));
    else
        MUST(t, helios_compact(t->db, (helios_slice){0}, (helios_slice){0}));
}

static void write_step(struct test *t)
{
    uint64_t dice = below(t, 10000);

    if (dice < 5500)
        put(t);
    else if (dice < 6800)
        delete_key(t);
    else if (dice < 7100)
        delete_range(t);
    else if (dice < 8600)
        write_batch(t, 1 + below(t, 20), 0);
    else if (dice < 9990)
        transact(t);
    else
        write_batch(t, 1 + below(t, 800), 20);
    if (below(t, 10000) < t->set->heavy)
        write_batch(t, 150 + below(t, 150), 9000); /* ingested */
}

static void read_step(struct test *t)
{
    uint64_t dice = below(t, 1000);

    if (dice < 300)
        get(t);
    else if (dice < 350)
        multi_get(t);
    else if (dice < 400)
        get_in_transaction(t);
    else if (dice < 600)
        use_iterator(t);
    else if (dice < 760)
        history_of_key(t);
    else if (dice < 840)
        seq_at_time(t);
    else if (dice < 900)
        time_of_seq(t);
    else if (dice < 904)
        list_commits(t);
    else if (dice < 930)
        state_of_commit(t);
    else if (dice < 980)
        toggle_snapshot(t);
    else if (dice < 982)
        scan_all(t);
    else if (dice < 984)
        check_pins(t);
    else if (dice < 990)
        check_tags(t);
    else if (dice < 995 && tags_live(t) < TAGS_LIVE)
        make_tag(t);
    else
        drop_tag(t);
}

static void one_step(struct test *t)
{
    uint64_t dice = below(t, 10000);

    pass_time(t);
    if (dice < 2)
        reopen(t);
    else if (dice < 2 + t->set->kills)
        crash(t);
    else if (dice < 60)
        MUST(t, helios_flush(t->db));
    else if (dice < 63)
        compact(t);
    else if (dice < 65)
        feed_replay_follow(t->replay, t->db);
    else if (dice < 80)
        change_retention(t);
    else if (dice < 5000)
        write_step(t);
    else
        read_step(t);
}

static void tell_where(const void *arg)
{
    const struct test *t = arg;

    fprintf(stderr, "  test_history --set %s --seed %" PRIu64 ", step %" PRIu64 "\n", t->set->name, t->seed,
            t->step);
}

static void run(struct test *t)
{
    const struct feed_replay_options replay = {
        .seed = t->seed, .where = tell_where, .arg = t, .no_sync = true, .no_trim = true};

    t->replay = feed_replay_new(&replay);
    random_seed(&t->rng, t->seed);
    history_init(&t->history, t->set->pool, &t->rng);
    MUST(t, io_faulty_new(t->seed, &t->fs));
    t->wall = (uint64_t)1700000000 * SECOND;
    t->monotonic = 5 * SECOND;
    set_clock(t);
    open_database(t);
    for (t->step = 1; t->step <= t->steps; t->step++)
        one_step(t);
    scan_all(t);
    feed_replay_follow(t->replay, t->db);
    MUST(t, helios_verify(t->db, NULL, NULL));
    release_handles(t);
    printf("test_history --set %s --seed %" PRIu64 ": %" PRIu64 " steps, %" PRIu64
           " checks, %zu commits; gone %" PRIu64 ", reopened %" PRIu64 ", killed %" PRIu64 " losing %" PRIu64
           ", keys walked %" PRIu64 ", lists %" PRIu64 ", times %" PRIu64 ", tags %" PRIu64 "\n",
           t->set->name, t->seed, t->steps, t->checks, t->commit_count, t->gone, t->reopened, t->killed,
           t->lost, t->walked, t->listed, t->timed, t->tagged);
    feed_replay_report(t->replay);
    feed_replay_free(t->replay);
    MUST(t, helios_close(t->db));
    io_free(t->fs);
    helios_buf_free(&t->got);
    history_release(&t->history);
    free(t->commits);
}

int main(int argc, char **argv)
{
    static struct test t = {.set = &sets[0], .seed = 1, .steps = 20000};

    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(argv[i], "--verbose") == 0) {
            t.verbose = true;
            continue;
        }
        if (strcmp(argv[i], "--seed") == 0)
            t.seed = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--steps") == 0)
            t.steps = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--set") == 0)
            for (size_t s = 0; s < sizeof(sets) / sizeof(sets[0]); s++)
                t.set = strcmp(sets[s].name, value) == 0 ? &sets[s] : t.set;
        i++;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    run(&t);
    return 0;
}
