/* test_branch_model.c - seeded operations on many branches through the public API, and on the naive states of
 * branch_model.h: forks of now and of the past, writes, transactions, differences, merges of every kind, reverts, drops,
 * under every retention, with flushes, compactions, reopenings and losses of power in between. All that is answered is
 * compared. Large commits and merges are ingested, as the memtables are small. After some steps the world begins
 * anew, under the next seed.
 *
 *   test_branch_model [--set NAME] [--seed N] [--steps N] [--without ACTION]...
 *
 * A failure prints the set, the seed and the step of the world it happened in; they replay it. */
#undef NDEBUG
#include "engine/identity.h"
#include "tests/branch_test.h"
#include <assert.h>
#include <inttypes.h>
#include <unistd.h>

static const struct option_set sets[] = {
    {"forever", ON_FAULTY, 150, 60, 60, 64 << 10, HELIOS_FOREVER, 9000, false, false},
    {"none", ON_FAULTY, 50, 60, 60, 64 << 10, 0, 12000, false, true},
    {"small", ON_FAULTY, 100, 400, 400, 64 << 10, 20000, 12000, false, false},
    {"changing", ON_FAULTY, 30, 200, 40000, 64 << 10, CHANGING, 12000, false, true},
    {"few_keys", ON_FAULTY, 6, 40, 40, 64 << 10, 0, 12000, false, true},
    {"ingest", ON_FAULTY, 120, 3000, 45000, 64 << 10, CHANGING, 5000, false, false},
    {"power", ON_FAULTY, 40, 300, 20000, 64 << 10, CHANGING, 9000, true, false},
    {"in_memory", IN_MEMORY, 80, 200, 40000, 128 << 10, 0, 9000, false, true},
    {"disk", ON_DISK, 60, 1000, 280000, 64 << 10, 20000, 9000, false, false},
};

void branch_die(const struct test *t, const char *file, int line, const char *what)
{
    fprintf(stderr,
            "%s:%d: %s\n  test_branch_model --set %s --seed %" PRIu64 " --steps %" PRIu64 "; last error: %s\n",
            file, line, what, t->set->name, t->seed + t->worlds, t->world_step, helios_last_error());
    abort();
}

/* ---- opening ---- */

static uint64_t any_retention(struct test *t)
{
    static const uint64_t some[] = {0, 1000, 20000, SECOND, HELIOS_FOREVER};

    return t->set->retention == CHANGING ? some[below(t, 5)] : t->set->retention;
}

static void open_database(struct test *t)
{
    static const uint32_t blocks[] = {1024, 4096, 16384};
    helios_options *o = &t->options;

    *o = (helios_options)HELIOS_OPTIONS_INIT;
    o->in_memory = t->set->place == IN_MEMORY;
    o->memtable_bytes = t->set->memtable_bytes;
    o->block_bytes = blocks[below(t, 3)];
    o->block_cache_bytes = chance(t, 2) ? 64 << 10 : 8 << 20;
    o->filter_bits_per_key = chance(t, 4) ? 0 : 14;
    o->history_retention = any_retention(t);
    o->feed_retention = HELIOS_FOREVER;
    MUST(t, engine_open(t->fs, t->path, o, &t->db));
    feed_replay_opened(t->replay, t->db);
}

static void release_handles(struct test *t)
{
    for (size_t i = 0; i < SNAPSHOTS_MAX; i++)
        helios_snapshot_free(t->db, t->snapshots[i].handle);
    for (size_t i = 0; i < ITERATORS_MAX; i++)
        helios_iter_free(t->iterators[i].handle);
    for (size_t i = 0; i < TXNS_MAX; i++)
        helios_txn_free(t->txns[i].handle);
    feed_replay_release(t->replay);
    memset(t->snapshots, 0, sizeof(t->snapshots));
    memset(t->iterators, 0, sizeof(t->iterators));
    memset(t->txns, 0, sizeof(t->txns));
}

static void reopen(struct test *t)
{
    if (t->set->place == IN_MEMORY || !chance(t, 4))
        return;
    release_handles(t);
    MUST(t, helios_close(t->db));
    open_database(t);
    CHECK(t, helios_latest(t->db) == model_latest(t->model));
    check_all(t);
}

static void forget_tags_after(struct test *t, helios_seq latest)
{
    while (t->tag_count && t->tags[t->tag_count - 1].made > latest)
        t->tag_count--;
    for (size_t i = 0; i < t->tag_count; i++)
        if (t->tags[i].dropped > latest)
            t->tags[i].dropped = 0;
}

/* A machine without power loses commits of the end that were not synced, each as a whole. */
static void lose_power(struct test *t)
{
    static const enum io_damage damages[] = {IO_DAMAGE_KEEP_ALL, IO_DAMAGE_DROP_ALL, IO_DAMAGE_SECTORS,
                                             IO_DAMAGE_PREFIX};
    helios_seq durable = 0, latest;

    if (!t->set->kills || !chance(t, 4))
        return;
    if (chance(t, 2)) {
        MUST(t, helios_sync(t->db));
        durable = model_latest(t->model);
    }
    release_handles(t);
    io_faulty_stop_at(t->fs, 1 + (chance(t, 2) ? 0 : below(t, 30)));
    (void)!helios_close(t->db);
    io_faulty_power_cut(t->fs, damages[below(t, 4)], t->seed + t->step);
    open_database(t);
    latest = helios_latest(t->db);
    CHECK(t, latest >= durable && latest <= model_latest(t->model));
    CHECK(t, model_commit_at(t->model, latest) == latest);
    t->counts.lost += latest < model_latest(t->model);
    forget_tags_after(t, latest);
    model_forget_after(t->model, latest);
    check_all(t);
}

/* ---- steps ---- */

static void flush(struct test *t)
{
    MUST(t, helios_flush(t->db));
}

static void compact(struct test *t)
{
    size_t from = below(t, t->key_count), to = from + below(t, t->key_count - from);

    if (chance(t, 2))
        MUST(t, helios_compact(t->db, key_slice(t, from), key_slice(t, to)));
    else
        MUST(t, helios_compact(t->db, (helios_slice){0}, (helios_slice){0}));
}

static void follow_feed(struct test *t)
{
    feed_replay_follow(t->replay, t->db);
}

static void change_retention(struct test *t)
{
    MUST(t, helios_set_history_retention(t->db, any_retention(t)));
}

static const struct action {
    const char *name;
    unsigned weight;
    void (*run)(struct test *);
} actions[] = {
    {"put", 1900, put},
    {"delete", 500, delete_key},
    {"delete_range", 160, delete_range},
    {"batch", 500, write_batch},
    {"much", 12, write_much},
    {"transaction", 900, use_transaction},
    {"get", 2200, get},
    {"multi_get", 300, multi_get},
    {"walk", 500, walk},
    {"seek", 400, seek},
    {"iterator", 300, hold_iterator},
    {"history", 400, history_of_key},
    {"snapshot", 80, toggle_snapshot},
    {"tag", 50, toggle_tag},
    {"fork", 200, fork_branch},
    {"drop", 200, drop_branch},
    {"rename", 30, rename_branch},
    {"metadata", 30, set_metadata},
    {"list", 30, list_branches},
    {"list_at", 40, list_branches_at},
    {"branch", 60, check_branch},
    {"wrong", 12, ask_wrongly},
    {"diff", 500, diff},
    {"merge", 600, merge},
    {"merges", 60, list_merges},
    {"revert", 200, revert},
    {"flush", 30, flush},
    {"compact", 6, compact},
    {"retention", 15, change_retention},
    {"reopen", 10, reopen},
    {"power", 20, lose_power},
    {"feed", 10, follow_feed},
};
enum { ACTIONS = sizeof(actions) / sizeof(actions[0]) };

/* Mostly a little; now and then the wall clock is set back, which the monotonic one does not see. */
static void pass_time(struct test *t)
{
    uint64_t by = chance(t, 300) ? below(t, 3 * SECOND) : below(t, 40);

    t->wall += by;
    t->monotonic += by;
    if (chance(t, 3000))
        t->wall -= below(t, SECOND);
    if (t->set->place == ON_FAULTY)
        io_faulty_set_time(t->fs, t->wall, t->monotonic);
}

static void one_step(struct test *t)
{
    unsigned sum = 0;
    uint64_t dice;

    for (size_t i = 0; i < ACTIONS; i++)
        sum += actions[i].weight;
    dice = below(t, sum);
    for (size_t i = 0;; dice -= actions[i++].weight)
        if (dice < actions[i].weight) {
            if (!t->left_out[i])
                actions[i].run(t);
            break;
        }
    pass_time(t);
}

/* ---- worlds ---- */

static void make_keys(struct test *t)
{
    size_t kept = 1;

    for (size_t i = 0; i < t->set->keys; i++) /* without the huge ones */
        make_pool_key(&t->keys[i], i ? i + 2 : 0, &t->rng);
    qsort(t->keys, t->set->keys, sizeof(t->keys[0]), compare_pool_keys);
    for (size_t i = 1; i < t->set->keys; i++) {
        if (slice_equal(key_slice(t, i), key_slice(t, kept - 1)))
            free(t->keys[i].data);
        else
            t->keys[kept++] = t->keys[i];
    }
    t->key_count = kept;
}

static void tell_where(const void *arg)
{
    const struct test *t = arg;

    fprintf(stderr, "  test_branch_model --set %s --seed %" PRIu64 " --steps %" PRIu64 "\n", t->set->name,
            t->seed + t->worlds, t->world_step);
}

static void note_feed_commit(void *arg, helios_seq seq)
{
    struct test *t = arg;

    model_note_commit(t->model, seq);
}

static void begin_world(struct test *t)
{
    const struct feed_replay_options replay = {.seed = t->seed + t->worlds,
                                               .where = tell_where,
                                               .arg = t,
                                               .consumer = t->set->consumer ? "replay" : NULL,
                                               .hold = t->set->consumer,
                                               .committed = note_feed_commit,
                                               .committed_arg = t,
                                               .no_sync =
                                                   t->set->place != ON_DISK, /* their clock stands still */
                                               .no_trim = true};

    t->replay = feed_replay_new(&replay);
    random_seed(&t->rng, t->seed + t->worlds);
    make_keys(t);
    model_init(t->model, t->key_count);
    t->tag_count = t->tag_names = t->values = 0;
    t->wall = (uint64_t)1700000000 * SECOND;
    t->monotonic = 5 * SECOND;
    strcpy(t->path, "/branches");
    if (t->set->place == ON_DISK) {
        snprintf(t->path, sizeof(t->path), "/tmp/helios-branches-%d", (int)getpid());
        (void)!helios_destroy(t->path);
        t->fs = io_posix();
    } else {
        MUST(t, io_faulty_new(t->seed, &t->fs));
        io_faulty_set_time(t->fs, t->wall, t->monotonic);
    }
    open_database(t);
    if (t->set->consumer) /* which holds history from the beginning on */
        feed_replay_follow(t->replay, t->db);
}

static void end_world(struct test *t)
{
    check_all(t);
    MUST(t, helios_compact(t->db, (helios_slice){0}, (helios_slice){0}));
    check_all(t);
    feed_replay_follow(t->replay, t->db);
    MUST(t, helios_verify(t->db, NULL, NULL));
    if (t->step >= t->steps)
        feed_replay_report(t->replay);
    release_handles(t);
    feed_replay_free(t->replay);
    MUST(t, helios_close(t->db));
    if (t->set->place == ON_DISK)
        MUST(t, helios_destroy(t->path));
    io_free(t->fs);
    for (size_t i = 0; i < t->key_count; i++)
        free(t->keys[i].data);
    model_release(t->model);
}

static void run(struct test *t)
{
    t->model = malloc(sizeof(*t->model));
    assert(t->model);
    for (size_t i = 0; i < sizeof(t->metadata); i++)
        t->metadata[i] = (unsigned char)(i % 251);
    for (; t->step < t->steps; t->worlds++) {
        begin_world(t);
        for (t->world_step = 1; t->world_step <= t->set->world && t->step < t->steps;
             t->world_step++, t->step++)
            one_step(t);
        end_world(t);
    }
    printf("test_branch_model --set %s --seed %" PRIu64 ": %" PRIu64 " steps in %" PRIu64 " worlds, %" PRIu64
           " answers checked\n  forks %" PRIu64 ", drops %" PRIu64 ", diffs %" PRIu64 ", merges %" PRIu64
           " (no change %" PRIu64 ", conflicts %" PRIu64 ", several bases %" PRIu64 ", a dropped base %" PRIu64
           ", nothing new %" PRIu64 "), reverts %" PRIu64 ", gone %" PRIu64 ", refused %" PRIu64
           ", power cuts with loss %" PRIu64 "\n",
           t->set->name, t->seed, t->step, t->worlds, t->checks, t->counts.forks, t->counts.drops,
           t->counts.diffs, t->counts.merges, t->counts.empty, t->counts.conflicts, t->counts.several,
           t->counts.orphaned, t->counts.contained, t->counts.reverts, t->counts.gone, t->counts.refused,
           t->counts.lost);
    helios_buf_free(&t->got);
    free(t->model);
}

static void leave_out(struct test *t, const char *name)
{
    for (size_t i = 0; i < ACTIONS; i++)
        t->left_out[i] |= strcmp(actions[i].name, name) == 0;
}

int main(int argc, char **argv)
{
    static struct test t = {.set = &sets[0], .seed = 1, .steps = 20000};

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0)
            t.seed = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--steps") == 0)
            t.steps = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--without") == 0)
            leave_out(&t, argv[i + 1]);
        else if (strcmp(argv[i], "--set") == 0)
            for (size_t s = 0; s < sizeof(sets) / sizeof(sets[0]); s++)
                t.set = strcmp(sets[s].name, argv[i + 1]) == 0 ? &sets[s] : t.set;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    run(&t);
    return 0;
}
