/* test_changes.c - the change feed through the public API.
 *
 * First the cases of an older change log, by their names; then random batches, deletes, range deletes, commits through tables,
 * transactions, branches, merges, drops, flushes, compactions and reopening: the feed from its beginning is replayed,
 * and must give at each commit what reads at that commit give, say before each operation what the replay had, and be
 * the operations that were written. Every filter is compared with a filter over that replay. Last, threads that follow
 * while others write.
 * Usage: test_changes [--seed S] [--steps N] */
#undef NDEBUG
#include "base/mem.h"
#include "base/random.h"
#include "base/slice.h"
#include "base/thread.h"
#include "engine/engine_internal.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEYS = 120, BRANCHES_MAX = 8, LARGE = 300000, OPS_MAX = 12 };

static helios_db *db;
static struct io_fs *fs;
static helios_options options;
static struct random rng;
static uint64_t seed = 1, step;
static const char *path = "/changes";

#define MUST(call) must((call), #call, __LINE__)
static void must(helios_status status, const char *what, int line)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "line %d, seed %" PRIu64 ", step %" PRIu64 ": %s: %s %s\n", line, seed, step, what,
            helios_status_name(status), helios_last_error());
    abort();
}
#define CHECK(x)                                                                                               \
    do {                                                                                                       \
        if (!(x)) {                                                                                            \
            fprintf(stderr, "line %d, seed %" PRIu64 ", step %" PRIu64 ": not so: %s (%s)\n", __LINE__, seed,  \
                    step, #x, helios_last_error());                                                            \
            abort();                                                                                           \
        }                                                                                                      \
    } while (0)

static uint32_t below(uint32_t limit)
{
    return (uint32_t)random_below(&rng, limit);
}

static void open_db(void)
{
    MUST(engine_open(fs, path, &options, &db));
}

static void begin_db(void)
{
    MUST(io_memory_new(&fs));
    options = (helios_options)HELIOS_OPTIONS_INIT;
    options.memtable_bytes = 128 * 1024;
    options.history_retention = HELIOS_FOREVER;
    options.feed_retention = HELIOS_FOREVER;
    open_db();
}

static void end_db(void)
{
    MUST(helios_close(db));
    io_free(fs);
}

static helios_changes *changes_from(helios_seq from)
{
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *c;

    o.from = from;
    o.unsynced = true;
    MUST(helios_changes_new(db, &o, &c));
    return c;
}

/* ---- an older change log's cases, with lsns from 1 ---- */

static helios_seq append(const char *table, unsigned row, const char *value)
{
    helios_batch *batch = helios_batch_new();
    char key[64];
    helios_seq commit;

    snprintf(key, sizeof(key), "%s:%u", table, row);
    helios_batch_put(batch, slice_text(key), slice_text(value));
    MUST(helios_write(db, NULL, batch, &commit));
    helios_batch_free(batch);
    return commit;
}

static unsigned count_from(helios_seq from, const char *prefix, helios_seq *first)
{
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *c;
    helios_change change;
    helios_status status;
    unsigned count = 0;

    o.from = from;
    o.unsynced = true;
    if (prefix)
        o.prefix = slice_text(prefix);
    MUST(helios_changes_new(db, &o, &c));
    while ((status = helios_changes_next(c, 0, &change)) == HELIOS_OK)
        if (count++ == 0 && first)
            *first = change.lsn;
    CHECK(status == HELIOS_TIMEOUT);
    helios_changes_free(c);
    return count;
}

static void case_c1_new_log_is_empty(void)
{
    helios_seq oldest = 9, newest = 9;

    MUST(helios_feed_bounds(db, &oldest, &newest));
    CHECK(helios_latest(db) == 0 && newest == 0 && count_from(0, NULL, NULL) == 0);
}

static void case_c2_first_append(void)
{
    helios_changes *c;
    helios_change change;

    CHECK(append("users", 42, "Ann") == 1 && helios_latest(db) == 1);
    c = changes_from(1);
    MUST(helios_changes_next(c, 0, &change));
    CHECK(change.lsn == 1 && change.commit == 1 && change.commit_end && change.origin_lsn == 1);
    CHECK(slice_equal(change.key, slice_text("users:42")) && slice_equal(change.value, slice_text("Ann")));
    CHECK(helios_changes_next(c, 0, &change) == HELIOS_TIMEOUT);
    helios_changes_free(c);
}

static void case_c3_ten_appends(void)
{
    static const char *const tables[] = {"users", "orders", "products"};

    for (unsigned i = 0; i < 10; i++)
        CHECK(append(tables[i % 3], i, "x") == i + 1);
    CHECK(helios_latest(db) == 10 && count_from(1, NULL, NULL) == 10);
}

static void case_c4_two_tables(void)
{
    for (unsigned i = 0; i < 10; i++)
        append(i % 2 ? "odd" : "even", i, "x");
    CHECK(count_from(1, "even:", NULL) == 5 && count_from(1, "odd:", NULL) == 5);
}

static void case_c5_compaction(void)
{
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *c = NULL;
    helios_seq first = 0, oldest, newest;
    uint64_t removed = 0;

    for (unsigned i = 0; i < 100; i++)
        append("users", i, "x");
    MUST(helios_feed_trim(db, 51, &removed));
    CHECK(removed == 50);
    MUST(helios_feed_bounds(db, &oldest, &newest));
    CHECK(oldest == 51 && newest == 100);
    CHECK(count_from(0, NULL, &first) == 50 && first == 51);
    o.from = 1;
    CHECK(helios_changes_new(db, &o, &c) == HELIOS_FEED_TRIMMED && !c);
    MUST(helios_feed_trim(db, 51, &removed)); /* again */
    CHECK(removed == 0);
}

static void case_c6_limit(void)
{
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *c;
    helios_change change;
    unsigned count = 0;

    for (unsigned i = 0; i < 50; i++)
        append("users", i, "x");
    o.unsynced = true;
    for (unsigned by_count = 0; by_count < 2; by_count++, count = 0) {
        o.to = by_count ? 0 : 10;
        o.limit = by_count ? 10 : 0;
        MUST(helios_changes_new(db, &o, &c));
        while (helios_changes_next(c, UINT64_MAX, &change) == HELIOS_OK)
            count++;
        CHECK(count == 10 && change.lsn == 10 && change.commit_end);
        CHECK(helios_changes_next(c, UINT64_MAX, &change) == HELIOS_NOT_FOUND);
        helios_changes_free(c);
    }
}

static void case_c7_update(void)
{
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *c;
    helios_change change;

    append("users", 1, "old");
    append("users", 1, "new");
    o.from = 2;
    o.before_images = o.unsynced = true;
    MUST(helios_changes_new(db, &o, &c));
    MUST(helios_changes_next(c, 0, &change));
    CHECK(change.lsn == 2 && slice_equal(change.value, slice_text("new")));
    CHECK(change.has_before && slice_equal(change.before, slice_text("old")));
    helios_changes_free(c);
}

static void case_c8_figures(void)
{
    char value[100];
    helios_seq oldest, newest;
    uint64_t bytes;

    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = 0;
    for (unsigned i = 0; i < 50; i++)
        append("users", i, value);
    MUST(helios_sync(db));
    MUST(helios_feed_bounds(db, &oldest, &newest));
    MUST(helios_stat(db, "log.bytes", &bytes));
    CHECK(oldest == 1 && newest == 50 && bytes > 0 && count_from(1, NULL, NULL) == 50);
}

static void case_c9_kinds(void)
{
    helios_batch *batch = helios_batch_new();
    helios_changes *c;
    helios_change change;

    helios_batch_put(batch, slice_text("a"), slice_text("1"));
    helios_batch_delete(batch, slice_text("b"));
    helios_batch_delete_range(batch, slice_text("c"), slice_text("d"));
    MUST(helios_write(db, NULL, batch, NULL));
    helios_batch_free(batch);
    c = changes_from(1);
    MUST(helios_changes_next(c, 0, &change));
    CHECK(change.kind == HELIOS_CHANGE_PUT && !change.commit_end && change.commit == 3 && change.lsn == 1);
    MUST(helios_changes_next(c, 0, &change));
    CHECK(change.kind == HELIOS_CHANGE_DELETE && !change.value.data && change.lsn == 2);
    MUST(helios_changes_next(c, 0, &change));
    CHECK(change.kind == HELIOS_CHANGE_DELETE_RANGE && change.commit_end && change.lsn == 3);
    CHECK(slice_equal(change.key, slice_text("c")) && slice_equal(change.value, slice_text("d")));
    helios_changes_free(c);
}

static void case_c10_reopen(void)
{
    for (unsigned i = 0; i < 10; i++)
        append("users", i, "x");
    MUST(helios_close(db));
    open_db();
    CHECK(helios_latest(db) == 10 && count_from(1, NULL, NULL) == 10);
    CHECK(append("users", 10, "x") == 11);
}

static void *append_25(void *arg)
{
    for (unsigned i = 0; i < 25; i++)
        append(arg, i, "x");
    return NULL;
}

static void case_c11_threads(void)
{
    static char names[4][8] = {"a", "b", "c", "d"};
    pthread_t threads[4];

    for (unsigned i = 0; i < 4; i++)
        MUST(thread_start(&threads[i], "append", append_25, names[i]));
    for (unsigned i = 0; i < 4; i++)
        thread_join(threads[i]);
    CHECK(helios_latest(db) == 100 && count_from(1, NULL, NULL) == 100);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"T-C1", case_c1_new_log_is_empty}, {"T-C2", case_c2_first_append}, {"T-C3", case_c3_ten_appends},
    {"T-C4", case_c4_two_tables},       {"T-C5", case_c5_compaction},   {"T-C6", case_c6_limit},
    {"T-C7", case_c7_update},           {"T-C8", case_c8_figures},      {"T-C9", case_c9_kinds},
    {"T-C10", case_c10_reopen},         {"T-C11", case_c11_threads},
};

/* ---- the random part: what was written ---- */

/* A value by the number it is made from. */
struct value {
    uint32_t number, size; /* number 0: absent */
};

struct written_op {
    helios_change_kind kind;
    uint32_t key, end;
    struct value value;
};

/* What a commit is known to have written; count 0: known by its states alone. */
struct written {
    helios_seq commit;
    helios_branch_id branch;
    uint32_t count;
    struct written_op ops[OPS_MAX];
};

struct fork {
    helios_branch_id branch, parent;
    helios_seq seq;
    bool dropped;
};

static struct written *written;
static size_t written_count, written_capacity;
static struct fork forks[BRANCHES_MAX];
static uint32_t fork_count, value_number;
static unsigned ingests, merges, drops;
static char bytes[LARGE + 16];

static helios_slice key_of(uint32_t key, char out[32])
{
    return slice_make(
        out,
        key ? (size_t)sprintf(out, "%c/%02u%s", 'a' + (int)(key / 40), key % 40, key % 7 ? "" : "-long") : 0);
}

static uint32_t number_of(helios_slice key)
{
    const char *k = key.data;

    return key.size ? (uint32_t)((k[0] - 'a') * 40 + (k[2] - '0') * 10 + (k[3] - '0')) : 0;
}

static helios_slice bytes_of(struct value value, char *out)
{
    memset(out, 'a' + (int)(value.number % 26), value.size);
    sprintf(out, "v%08" PRIu32, value.number);
    if (value.size > 9)
        out[9] = '.';
    return slice_make(out, value.size);
}

static struct value new_value(bool large)
{
    return (struct value){++value_number, large ? LARGE - below(1000) : 9 + below(60)};
}

static bool is_value(helios_slice slice, struct value value)
{
    static char expected[LARGE + 16];

    return slice.size == value.size && memcmp(slice.data, bytes_of(value, expected).data, value.size) == 0;
}

static struct value value_of(helios_slice slice)
{
    struct value value = {(uint32_t)strtoul((const char *)slice.data + 1, NULL, 10), (uint32_t)slice.size};
    char digits[10] = {0};

    memcpy(digits, (const char *)slice.data + 1, 8);
    value.number = (uint32_t)strtoul(digits, NULL, 10);
    CHECK(is_value(slice, value));
    return value;
}

static helios_branch_id some_branch(void)
{
    uint32_t i = below(fork_count + 1);

    return i == 0 || forks[i - 1].dropped ? 0 : forks[i - 1].branch;
}

static struct written *note(helios_seq commit, helios_branch_id branch)
{
    if (written_count == written_capacity) {
        written_capacity = written_capacity ? 2 * written_capacity : 256;
        written = realloc(written, written_capacity * sizeof(*written));
    }
    written[written_count] = (struct written){.commit = commit, .branch = branch};
    return &written[written_count++];
}

static struct written_op some_op(void)
{
    struct written_op op = {.key = below(KEYS)};
    uint32_t dice = below(100);

    if (dice < 12) {
        op.kind = HELIOS_CHANGE_DELETE_RANGE;
        op.end = op.key + 1 + below(20);
        if (op.end >= KEYS)
            op.end = KEYS - 1;
        if (op.end <= op.key)
            op.key = op.end - 1;
    } else if (dice < 30) {
        op.kind = HELIOS_CHANGE_DELETE;
    } else {
        op.kind = HELIOS_CHANGE_PUT;
        op.value = new_value(below(300) == 0);
    }
    return op;
}

static void add_op(helios_batch *batch, const struct written_op *op)
{
    char key[32], end[32];

    if (op->kind == HELIOS_CHANGE_PUT)
        helios_batch_put(batch, key_of(op->key, key), bytes_of(op->value, bytes));
    else if (op->kind == HELIOS_CHANGE_DELETE)
        helios_batch_delete(batch, key_of(op->key, key));
    else
        helios_batch_delete_range(batch, key_of(op->key, key), key_of(op->end, end));
}

static void write_batch(void)
{
    helios_write_options o = HELIOS_WRITE_OPTIONS_INIT;
    helios_batch *batch = helios_batch_new();
    uint32_t count = below(2) ? 1 : 1 + below(OPS_MAX);
    struct written_op ops[OPS_MAX];
    bool large = false;
    helios_seq commit;
    struct written *w;

    o.branch = some_branch();
    for (uint32_t i = 0; i < count; i++) {
        ops[i] = some_op();
        if (i && below(3) == 0)
            ops[i].key = ops[below(i)].key; /* one key again */
        if (ops[i].kind == HELIOS_CHANGE_DELETE_RANGE && ops[i].end <= ops[i].key)
            ops[i] = (struct written_op){.kind = HELIOS_CHANGE_DELETE, .key = ops[i].key};
        large |= ops[i].value.size > 1000;
        add_op(batch, &ops[i]);
    }
    MUST(helios_write(db, &o, batch, &commit));
    w = note(commit, o.branch);
    w->count = large ? 0 : count; /* a large value takes the commit into tables */
    memcpy(w->ops, ops, count * sizeof(*ops));
    helios_batch_free(batch);
}

/* Too large for a memtable: into tables, where it is reduced and in the order of keys. */
static void write_ingest(void)
{
    helios_write_options o = HELIOS_WRITE_OPTIONS_INIT;
    helios_batch *batch = helios_batch_new();
    helios_seq commit;

    o.branch = some_branch();
    for (uint32_t i = 0; i < 30; i++) {
        struct written_op op = some_op();

        add_op(batch, &op);
    }
    for (uint32_t i = 0; i < 4; i++) {
        struct written_op op = {.kind = HELIOS_CHANGE_PUT, .key = below(KEYS), .value = new_value(true)};

        add_op(batch, &op);
    }
    MUST(helios_write(db, &o, batch, &commit));
    helios_batch_free(batch);
    ingests++;
}

static void write_txn(void)
{
    helios_txn_options o = HELIOS_TXN_OPTIONS_INIT;
    uint32_t count = 1 + below(4);
    struct written_op ops[4];
    helios_seq commit;
    helios_txn *txn;
    char key[32];
    struct written *w;

    o.branch = some_branch();
    MUST(helios_txn_begin(db, &o, &txn));
    for (uint32_t i = 0; i < count; i++) {
        ops[i] = (struct written_op){
            .kind = HELIOS_CHANGE_PUT, .key = i * 20 + below(20), .value = new_value(false)};
        MUST(helios_txn_put(txn, key_of(ops[i].key, key), bytes_of(ops[i].value, bytes)));
    }
    MUST(helios_txn_commit(txn, &commit));
    helios_txn_free(txn);
    w = note(commit, o.branch);
    w->count = count;
    memcpy(w->ops, ops, count * sizeof(*ops));
}

static void make_branch(void)
{
    struct fork *f = &forks[fork_count];
    char name[16];

    if (fork_count == BRANCHES_MAX)
        return;
    snprintf(name, sizeof(name), "b%u", fork_count);
    f->parent = some_branch();
    f->seq = helios_latest(db);
    if (f->seq == 0)
        return;
    MUST(helios_branch_create(db, name, f->parent, f->seq, &f->branch));
    fork_count++;
}

static void drop_branch(void)
{
    helios_branch_id branch = some_branch();

    for (uint32_t i = 0; i < fork_count; i++)
        if (branch && forks[i].branch == branch && drops < BRANCHES_MAX / 2 &&
            helios_branch_drop(db, branch) == HELIOS_OK) {
            forks[i].dropped = true;
            drops++;
        }
}

static void merge(void)
{
    helios_merge_options o = HELIOS_MERGE_OPTIONS_INIT;
    helios_branch_id source = some_branch(), target = some_branch();

    if (source == target)
        return;
    o.strategy = HELIOS_MERGE_THEIRS;
    MUST(helios_branch_merge(db, source, target, &o, NULL));
    merges++;
}

/* A consumer that wants images and acknowledges nothing: what its floor holds stays, also of branches that are dropped. */
static helios_changes *hold_everything(void)
{
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *c;

    o.from = 1;
    o.before_images = true;
    o.consumer = "keeper";
    MUST(helios_changes_new(db, &o, &c));
    return c;
}

static void one_step(helios_changes **keeper)
{
    uint32_t dice = below(1000);

    if (dice < 850)
        write_batch();
    else if (dice < 930)
        write_txn();
    else if (dice < 936)
        write_ingest();
    else if (dice < 950)
        make_branch();
    else if (dice < 953)
        drop_branch();
    else if (dice < 970)
        merge();
    else if (dice < 985)
        MUST(helios_flush(db));
    else if (dice < 988)
        MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    else if (dice < 991 && drops == 0) { /* an open is done with the drops that it finds */
        helios_changes_free(*keeper);
        MUST(helios_close(db));
        open_db();
        *keeper = hold_everything();
    }
}

/* ---- the replay ---- */

/* An entry as it must come. */
struct entry {
    helios_seq lsn, commit;
    uint64_t time;
    helios_branch_id branch;
    helios_change_kind kind;
    uint32_t key, end;
    struct value value, before;
};

struct entries {
    struct entry *list;
    size_t count, capacity;
};

struct state {
    struct value values[KEYS];
};

static struct entries feed, expanded; /* all entries; the same with ranges expanded */
static struct state states[BRANCHES_MAX + 1];
static uint32_t forks_done;

static void push(struct entries *e, const struct entry *entry)
{
    if (e->count == e->capacity) {
        e->capacity = e->capacity ? 2 * e->capacity : 1024;
        e->list = realloc(e->list, e->capacity * sizeof(*e->list));
    }
    e->list[e->count++] = *entry;
}

static struct state *state_of(helios_branch_id branch)
{
    CHECK(branch <= BRANCHES_MAX);
    return &states[branch];
}

static bool was_dropped(helios_branch_id branch)
{
    for (uint32_t i = 0; i < fork_count; i++)
        if (forks[i].branch == branch)
            return forks[i].dropped;
    return false;
}

/* Branches made up to here begin as their parent is. */
static void fork_up_to(helios_seq below_seq)
{
    for (; forks_done < fork_count && forks[forks_done].seq < below_seq; forks_done++)
        *state_of(forks[forks_done].branch) = *state_of(forks[forks_done].parent);
}

static void compare_state(helios_branch_id branch, helios_seq at)
{
    helios_read_options o = HELIOS_READ_OPTIONS_INIT;
    const struct state *state = state_of(branch);
    uint32_t key = 0;
    helios_iter *it;

    o.branch = branch;
    o.at = at;
    MUST(helios_iter_new(db, &o, &it));
    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it), key++) {
        uint32_t found = number_of(helios_iter_key(it));

        for (; key < found; key++)
            CHECK(state->values[key].number == 0);
        CHECK(is_value(helios_iter_value(it), state->values[key]));
    }
    MUST(helios_iter_status(it));
    for (; key < KEYS; key++)
        CHECK(state->values[key].number == 0);
    helios_iter_free(it);
}

static void replay_range(const struct entry *e, struct state *state)
{
    for (uint32_t key = e->key; key < e->end; key++) {
        struct entry one = *e;

        if (state->values[key].number == 0)
            continue;
        one.kind = HELIOS_CHANGE_DELETE;
        one.key = key;
        one.before = state->values[key];
        one.value = (struct value){0};
        push(&expanded, &one);
        state->values[key] = (struct value){0};
    }
}

static struct entry read_entry(const helios_change *change)
{
    struct entry e = {change->lsn,    change->commit, change->time,
                      change->branch, change->kind,   number_of(change->key)};

    if (change->kind == HELIOS_CHANGE_PUT)
        e.value = value_of(change->value);
    if (change->kind == HELIOS_CHANGE_DELETE_RANGE)
        e.end = number_of(change->value);
    if (change->has_before)
        e.before = value_of(change->before);
    CHECK(change->origin_lsn == change->lsn && memcmp(change->origin, db->node_id, 16) == 0);
    CHECK(change->space == 0);
    return e;
}

static void replay(const helios_change *change, helios_seq lsn_before)
{
    struct entry e = read_entry(change);
    struct state *state;

    CHECK(e.lsn > lsn_before && e.lsn <= e.commit);
    fork_up_to(e.lsn);
    state = state_of(e.branch);
    push(&feed, &e);
    if (e.kind == HELIOS_CHANGE_DELETE_RANGE) {
        CHECK(!change->has_before);
        replay_range(&e, state);
    } else {
        CHECK(change->has_before == (state->values[e.key].number != 0));
        CHECK(!change->has_before ||
              (e.before.number == state->values[e.key].number && e.before.size == state->values[e.key].size));
        push(&expanded, &e);
        state->values[e.key] = e.value;
    }
    if (!change->commit_end)
        return;
    if (!was_dropped(e.branch))
        compare_state(e.branch, e.commit);
    if (below(10) == 0)
        for (uint32_t i = 0; i < forks_done; i++)
            if (!forks[i].dropped)
                compare_state(forks[i].branch, e.commit);
}

static void replay_all(void)
{
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    helios_seq lsn = 0, commit = 0;
    helios_changes *c;
    helios_change change;
    bool ended = true;

    feed.count = expanded.count = 0;
    forks_done = 0;
    memset(states, 0, sizeof(states));
    o.from = 1;
    o.to = helios_latest(db);
    o.before_images = true;
    MUST(helios_changes_new(db, &o, &c));
    for (helios_status status; (status = helios_changes_next(c, UINT64_MAX, &change)) != HELIOS_NOT_FOUND;) {
        MUST(status);
        CHECK(ended == (change.commit != commit));
        ended = change.commit_end;
        replay(&change, lsn);
        lsn = change.lsn;
        commit = change.commit;
    }
    CHECK(ended);
    helios_changes_free(c);
    fork_up_to(UINT64_MAX);
    for (uint32_t i = 0; i <= fork_count; i++)
        if (i == 0 || !forks[i - 1].dropped)
            compare_state(i ? forks[i - 1].branch : 0, 0);
}

/* The feed has each commit that was written as it was written. */
static void compare_written(void)
{
    size_t at = 0;

    for (size_t i = 0; i < written_count; i++) {
        const struct written *w = &written[i];
        uint64_t time;

        while (at < feed.count && feed.list[at].commit < w->commit)
            at++;
        MUST(helios_time_of_seq(db, w->commit, &time));
        for (uint32_t k = 0; k < w->count; k++, at++) {
            const struct entry *e = &feed.list[at];
            const struct written_op *op = &w->ops[k];

            CHECK(at < feed.count && e->commit == w->commit && e->lsn == w->commit - w->count + 1 + k);
            CHECK(e->branch == w->branch);
            CHECK(e->kind == op->kind);
            CHECK(e->key == op->key);
            CHECK(e->time == time);
            CHECK(e->end == op->end && e->value.number == op->value.number);
        }
    }
}

/* ---- filters, against filters over the replay ---- */

struct filter {
    helios_seq from, to;
    uint64_t from_time, to_time;
    char prefix[32];
    bool one_branch, images, expand, unsynced;
    helios_branch_id branch;
};

static bool passes(const struct filter *f, const struct entry *e)
{
    char text[32], end[32];
    helios_slice key = key_of(e->key, text), prefix = slice_text(f->prefix);
    helios_slice stop = e->kind == HELIOS_CHANGE_DELETE_RANGE ? key_of(e->end, end) : (helios_slice){0};

    if (e->lsn < f->from || (f->to && e->lsn > f->to) || e->time < f->from_time ||
        (f->to_time && e->time > f->to_time))
        return false;
    if (f->one_branch && e->branch != f->branch)
        return false;
    if (e->kind != HELIOS_CHANGE_DELETE_RANGE)
        return slice_starts_with(key, prefix);
    return prefix.size == 0 || ((slice_starts_with(key, prefix) || slice_compare(key, prefix) < 0) &&
                                slice_compare(stop, prefix) > 0);
}

static bool same_entry(const struct filter *f, const struct entry *a, const helios_change *change)
{
    struct entry b = read_entry(change);
    bool range = a->kind == HELIOS_CHANGE_DELETE_RANGE;

    if (change->has_before != (f->images && !range && a->before.number != 0) ||
        (change->has_before && b.before.number != a->before.number))
        return false;
    return a->lsn == b.lsn && a->commit == b.commit && a->time == b.time && a->branch == b.branch &&
           a->kind == b.kind && a->key == b.key && (!range || a->end == b.end) &&
           a->value.number == b.value.number;
}

static void compare_filter(const struct filter *f)
{
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    const struct entries *list = f->expand ? &expanded : &feed;
    helios_changes *c;
    helios_change change;
    bool bounded = f->to || f->to_time;
    size_t at = 0, next;

    o.from = f->from, o.to = f->to, o.from_time = f->from_time, o.to_time = f->to_time;
    o.prefix = slice_text(f->prefix);
    o.branch = f->one_branch ? &f->branch : NULL;
    o.before_images = f->images, o.expand_ranges = f->expand, o.unsynced = f->unsynced;
    MUST(helios_changes_new(db, &o, &c));
    while (at < list->count && !passes(f, &list->list[at]))
        at++;
    for (; at < list->count; at = next) {
        for (next = at + 1; next < list->count && !passes(f, &list->list[next]);)
            next++;
        MUST(helios_changes_next(c, 0, &change));
        CHECK(same_entry(f, &list->list[at], &change));
        CHECK(change.commit_end == (next == list->count || list->list[next].commit != change.commit));
    }
    CHECK(helios_changes_next(c, 0, &change) == (bounded ? HELIOS_NOT_FOUND : HELIOS_TIMEOUT));
    helios_changes_free(c);
}

static void compare_filters(void)
{
    MUST(helios_sync(db));
    for (int i = 0; i < 60 && feed.count; i++) {
        struct filter f = {.images = below(2), .expand = below(2), .unsynced = below(2)};
        const struct entry *some = &feed.list[below((uint32_t)feed.count)];
        const struct entry *other = &feed.list[below((uint32_t)feed.count)];

        if (below(2))
            f.from = some->lsn;
        else if (below(2))
            f.from_time = some->time;
        if (below(2))
            f.to = below(4) ? other->lsn : helios_latest(db);
        else if (below(2))
            f.to_time = other->time;
        if (below(2))
            snprintf(f.prefix, sizeof(f.prefix), below(2) ? "%c/" : "%c/1", 'a' + (int)below(3));
        f.one_branch = below(2);
        f.branch = some->branch;
        compare_filter(&f);
    }
}

static void random_part(uint64_t steps)
{
    helios_changes *keeper;

    begin_db();
    keeper = hold_everything();
    for (step = 0; step < steps; step++) {
        one_step(&keeper);
        if (step % (steps / 3 + 1) == steps / 3 || step == steps - 1) {
            replay_all();
            compare_written();
            compare_filters();
        }
    }
    printf("%zu entries, %zu with ranges expanded, %u ingests, %u merges, %u branches, %u dropped\n",
           feed.count, expanded.count, ingests, merges, fork_count, drops);
    helios_changes_free(keeper);
    end_db();
}

/* ---- the engine's own spaces ---- */

static void test_spaces(void)
{
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    helios_branch_id branch;
    helios_changes *c;
    helios_change change;

    begin_db();
    append("users", 1, "x");
    MUST(helios_branch_create(db, "b", 0, 0, &branch));
    MUST(helios_tag_create(db, "t", 0, 0));
    o.all_spaces = o.unsynced = true;
    MUST(helios_changes_new(db, &o, &c));
    MUST(helios_changes_next(c, 0, &change));
    CHECK(change.space == 0 && change.lsn == 1);
    for (int i = 0; i < 2; i++) {
        MUST(helios_changes_next(c, 0, &change));
        CHECK(change.space == 255 && change.kind == HELIOS_CHANGE_PUT && change.commit_end);
    }
    CHECK(helios_close(db) == HELIOS_BUSY); /* a cursor is a handle */
    helios_changes_free(c);
    CHECK(count_from(1, NULL, NULL) == 1);
    end_db();
}

/* A replay that fills memtables flushes beside itself, and what that writes says no more that the close was clean. */
static void test_numbers_go_on(void)
{
    char *value;

    begin_db();
    options.memtable_bytes = 4 << 20;
    MUST(helios_close(db));
    open_db();
    value = calloc(1, 10001);
    memset(value, 'x', 10000);
    for (unsigned i = 0; i < 60; i++)
        append("users", i, value);
    MUST(helios_close(db));
    options.memtable_bytes = 64 << 10;
    open_db();
    CHECK(helios_latest(db) == 60);
    CHECK(append("users", 60, "x") == 61);
    free(value);
    end_db();
}

/* A consumer goes on behind what it has acknowledged, also within a commit and after reopening. */
static void test_consumer(void)
{
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    helios_batch *batch = helios_batch_new();
    helios_changes *c, *other = NULL;
    helios_change change;
    helios_seq commit;

    begin_db();
    for (int i = 0; i < 3; i++)
        helios_batch_put(batch, slice_make(&"abc"[i], 1), slice_text("x"));
    MUST(helios_write(db, NULL, batch, &commit));
    helios_batch_free(batch);
    o.consumer = "worker";
    for (helios_seq lsn = 1; lsn <= 3; lsn++) {
        o.from = lsn == 1 ? 1 : 3; /* its position wins */
        MUST(helios_changes_new(db, &o, &c));
        CHECK(helios_changes_new(db, &o, &other) == HELIOS_BUSY && !other);
        MUST(helios_changes_next(c, UINT64_MAX, &change));
        CHECK(change.lsn == lsn && change.commit == commit && change.commit_end == (lsn == 3));
        MUST(helios_changes_ack(c, lsn));
        CHECK(helios_changes_ack(c, helios_latest(db) + 1000) == HELIOS_INVALID);
        helios_changes_free(c);
        MUST(helios_close(db));
        open_db();
    }
    MUST(helios_changes_new(db, &o, &c));
    CHECK(helios_changes_next(c, 0, &change) == HELIOS_TIMEOUT);
    helios_changes_free(c);
    c = changes_from(1);
    CHECK(helios_changes_ack(c, 1) == HELIOS_INVALID);
    helios_changes_free(c);
    end_db();
}

/* An open cursor says when what comes next was trimmed, also while the file is still there; and from times. */
static void test_trimmed(void)
{
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *c, *none = NULL;
    helios_change change;
    uint64_t removed, time;

    begin_db();
    for (unsigned i = 0; i < 20; i++)
        append("users", i, "x");
    c = changes_from(1);
    MUST(helios_changes_next(c, 0, &change));
    MUST(helios_time_of_seq(db, 1, &time));
    MUST(helios_feed_trim(db, 11, &removed));
    CHECK(removed == 10);
    CHECK(helios_changes_next(c, 0, &change) == HELIOS_FEED_TRIMMED);
    CHECK(helios_changes_next(c, 0, &change) == HELIOS_FEED_TRIMMED);
    helios_changes_free(c);
    o.from_time = time;
    CHECK(helios_changes_new(db, &o, &none) == HELIOS_FEED_TRIMMED && !none);
    MUST(helios_time_of_seq(db, 10, &time));
    o.from_time = time + 1;
    MUST(helios_changes_new(db, &o, &c));
    helios_changes_free(c);
    end_db();
}

static helios_seq first_since(uint64_t from_time, uint64_t to_time, unsigned *count)
{
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    helios_change change;
    helios_changes *c;
    helios_seq first = 0;
    helios_status status;

    o.from_time = from_time;
    o.to_time = to_time;
    MUST(helios_changes_new(db, &o, &c));
    for (*count = 0; (status = helios_changes_next(c, 0, &change)) == HELIOS_OK; ++*count)
        first = first ? first : change.commit;
    CHECK(status == (to_time ? HELIOS_NOT_FOUND : HELIOS_TIMEOUT));
    helios_changes_free(c);
    return first;
}

/* The feed is found by time as far as it reaches back, however little history there is. */
static void test_times_below_history(void)
{
    enum { COMMITS = 300 };
    uint64_t times[COMMITS + 1] = {0};
    unsigned count;

    begin_db();
    end_db();
    MUST(io_memory_new(&fs));
    options.history_retention = 0;
    open_db();
    for (unsigned i = 1; i <= COMMITS; i++) {
        helios_seq commit = append("users", i, "x");

        CHECK(commit == i);
        MUST(helios_time_of_seq(db, commit, &times[i]));
        thread_sleep(1);
        if (i % 50 == 0)
            MUST(helios_flush(db));
    }
    MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
    for (int reopened = 0; reopened < 2; reopened++) {
        for (unsigned i = 2; i < COMMITS; i += 31) {
            CHECK(times[i - 1] < times[i]);
            CHECK(first_since(times[i], 0, &count) == i && count == COMMITS + 1 - i);
            CHECK(first_since(times[i - 1] + 1, times[i + 1], &count) == i && count == 2);
        }
        MUST(helios_close(db));
        open_db();
    }
    end_db();
}

/* ---- following ---- */

enum { WRITERS = 2, WRITES = 400 };

struct follower {
    bool unsynced, images;
    unsigned seen[WRITERS];
    helios_seq last;
};

static void *write_many(void *arg)
{
    unsigned writer = (unsigned)(uintptr_t)arg;

    for (unsigned i = 0; i < WRITES; i++) {
        helios_write_options o = HELIOS_WRITE_OPTIONS_INIT;
        helios_batch *batch = helios_batch_new();
        char key[32], value[32];

        o.durability = i % 50 == 0 ? HELIOS_DURABILITY_SYNC : HELIOS_DURABILITY_ASYNC;
        snprintf(value, sizeof(value), "%u", i);
        for (unsigned k = 0; k < 1 + i % 3; k++) {
            snprintf(key, sizeof(key), "w%u/%u", writer, k);
            helios_batch_put(batch, slice_text(key), slice_text(value));
        }
        MUST(helios_write(db, &o, batch, NULL));
        helios_batch_free(batch);
        if (i % 100 == 99)
            MUST(helios_flush(db));
    }
    return NULL;
}

/* Each commit of a writer in order and whole; the image is the number before, for a key that each commit writes. */
static void follow_one(struct follower *f, const helios_change *change)
{
    const char *key = change->key.data;
    unsigned writer = (unsigned)(key[1] - '0'), place = (unsigned)(key[3] - '0');
    char value[16] = {0}, before[16] = {0};

    memcpy(value, change->value.data, change->value.size);
    CHECK(change->lsn > f->last && writer < WRITERS);
    f->last = change->lsn;
    CHECK((unsigned)atoi(value) == f->seen[writer]);
    if (f->images && place == 0) {
        CHECK(change->has_before == (f->seen[writer] > 0));
        memcpy(before, change->before.data ? change->before.data : "", change->before.size);
        CHECK(!change->has_before || (unsigned)atoi(before) == f->seen[writer] - 1);
    }
    CHECK(change->commit_end == (place == f->seen[writer] % 3));
    f->seen[writer] += change->commit_end;
}

static void *follow(void *arg)
{
    struct follower *f = arg;
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *c;
    helios_change change;

    o.unsynced = f->unsynced;
    o.before_images = f->images;
    MUST(helios_changes_new(db, &o, &c));
    while (f->seen[0] < WRITES || f->seen[1] < WRITES) {
        helios_status status = helios_changes_next(c, f->images ? 500 : UINT64_MAX, &change);

        if (status == HELIOS_TIMEOUT)
            continue;
        MUST(status);
        follow_one(f, &change);
    }
    CHECK(helios_changes_next(c, 1000, &change) == HELIOS_TIMEOUT);
    helios_changes_free(c);
    return NULL;
}

static void test_following(void)
{
    struct follower followers[] = {
        {.unsynced = true}, {0}, {.images = true}, {.images = true, .unsynced = true}};
    pthread_t readers[4], writers[WRITERS];

    begin_db();
    for (unsigned i = 0; i < 4; i++)
        MUST(thread_start(&readers[i], "follow", follow, &followers[i]));
    for (uintptr_t i = 0; i < WRITERS; i++)
        MUST(thread_start(&writers[i], "write", write_many, (void *)i));
    for (unsigned i = 0; i < WRITERS; i++)
        thread_join(writers[i]);
    for (unsigned i = 0; i < 4; i++)
        thread_join(readers[i]);
    end_db();
}

/* A commit that nobody syncs reaches who waits for durable ones by about the group interval. */
static void test_latency(void)
{
    helios_changes_options o = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *c;
    helios_change change;
    uint64_t begun, worst = 0;
    int slow =
        0; /* the background would sync by itself after a second: half of them would take longer than that */

    begin_db();
    MUST(helios_changes_new(db, &o, &c));
    CHECK(helios_changes_next(c, 2000, &change) == HELIOS_TIMEOUT);
    for (int i = 0; i < 20; i++) {
        append("users", 1, "x");
        begun = io_monotonic(fs);
        MUST(helios_changes_next(c, UINT64_MAX, &change));
        begun = io_monotonic(fs) - begun;
        if (begun > worst)
            worst = begun;
        slow += begun > 400000;
    }
    printf("a commit was seen as durable after at most %" PRIu64 " us\n", worst);
    CHECK(slow < 6);
    helios_changes_free(c);
    end_db();
}

int main(int argc, char **argv)
{
    uint64_t steps = 1500;

    for (int i = 1; i + 1 < argc; i += 2)
        *(strcmp(argv[i], "--seed") == 0 ? &seed : &steps) = strtoull(argv[i + 1], NULL, 10);
    printf("seed %" PRIu64 "\n", seed);
    random_seed(&rng, seed);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin_db();
        cases[i].run();
        end_db();
        printf("%s\n", cases[i].name);
    }
    test_spaces();
    test_numbers_go_on();
    test_consumer();
    test_trimmed();
    test_times_below_history();
    test_following();
    test_latency();
    random_part(steps);
    free(written);
    free(feed.list);
    free(expanded.list);
    return 0;
}
