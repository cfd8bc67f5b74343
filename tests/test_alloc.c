/* test_alloc.c - allocation n fails, for every n over a set of scenarios: each call either succeeds or gives
 * HELIOS_NO_MEMORY and changes nothing; nothing leaks (ASan tells); afterwards the database goes on, verifies, and
 * shows the same when it is opened again.
 *
 *   test_alloc [--stride N] [SCENARIO] */
#undef NDEBUG
#include "base/mem.h"
#include "engine/feed.h"
#include "engine/identity.h"
#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEYS = 400, VALUE_BYTES = 100 };

/* What must be there: a counter per key, 0 for absent. */
struct model {
    uint64_t value[KEYS];
};

struct test {
    struct io_fs *fs;
    helios_options options;
    helios_db *db;
    struct model model;
    uint64_t counter;
    const char *scenario;
    uint64_t n;
    bool forever;
};

static void die(const struct test *t, int line, helios_status status)
{
    fprintf(stderr, "test_alloc.c:%d: scenario %s, allocation %" PRIu64 ": %s: %s\n", line, t->scenario, t->n,
            helios_status_name(status), helios_last_error());
    abort();
}

#define MUST(t, call)                                                                                          \
    do {                                                                                                       \
        helios_status must_status = (call);                                                                    \
        if (must_status != HELIOS_OK)                                                                          \
            die(t, __LINE__, must_status);                                                                     \
    } while (0)

/* True: it was done. Any failure but NO_MEMORY is a bug. */
static bool done_at(const struct test *t, int line, helios_status status)
{
    if (status == HELIOS_OK)
        return true;
    if (status != HELIOS_NO_MEMORY)
        die(t, line, status);
    return false;
}
#define DONE(t, call) done_at(t, __LINE__, call)

static helios_slice key_of(unsigned index, char out[32])
{
    return slice_make(out, (size_t)snprintf(out, 32, "key%05u", index));
}

static unsigned index_of(helios_slice key)
{
    unsigned index = 0;

    for (size_t i = 3; i < key.size; i++)
        index = index * 10 + (unsigned)(((const char *)key.data)[i] - '0');
    return index;
}

static helios_slice value_of(uint64_t counter, char out[VALUE_BYTES])
{
    memset(out, (int)(counter % 251), VALUE_BYTES);
    memcpy(out, &counter, sizeof(counter));
    return slice_make(out, VALUE_BYTES);
}

/* ---- steps that may fail ---- */

static void put(struct test *t, unsigned index)
{
    char key[32], value[VALUE_BYTES];

    if (DONE(t, helios_put(t->db, NULL, key_of(index, key), value_of(++t->counter, value))))
        t->model.value[index] = t->counter;
}

static void delete_some(struct test *t, unsigned from, unsigned to)
{
    char a[32], b[32];

    if (DONE(t, helios_delete_range(t->db, NULL, key_of(from, a), key_of(to, b))))
        memset(&t->model.value[from], 0, (to - from) * sizeof(t->model.value[0]));
    if (DONE(t, helios_delete(t->db, NULL, key_of(to, a))))
        t->model.value[to] = 0;
}

static void batch(struct test *t, unsigned count, size_t padding)
{
    helios_batch *b = helios_batch_new();
    struct model after = t->model;
    char key[32], value[VALUE_BYTES], end[32];
    char *large = calloc(1, padding + 1);

    for (unsigned i = 0; i < count; i++) {
        unsigned index = (unsigned)(t->counter * 7 % KEYS);

        helios_batch_put(b, key_of(index, key), value_of(++t->counter, value));
        after.value[index] = t->counter;
    }
    helios_batch_delete_range(b, key_of(3, key), key_of(9, end));
    memset(&after.value[3], 0, 6 * sizeof(after.value[0]));
    if (padding) {
        helios_batch_put(b, slice_make("padding", 7), slice_make(large, padding));
        helios_batch_put(b, slice_make("padding2", 8), slice_make(large, padding));
    }
    if (b && DONE(t, helios_batch_status(b)) && DONE(t, helios_write(t->db, NULL, b, NULL)))
        t->model = after;
    helios_batch_free(b);
    free(large);
}

static void get(struct test *t, unsigned index)
{
    helios_buf value = {0};
    char key[32], wanted[VALUE_BYTES];
    helios_status status = helios_get(t->db, NULL, key_of(index, key), &value);

    if (status == HELIOS_NOT_FOUND) {
        assert(t->model.value[index] == 0);
    } else if (DONE(t, status)) {
        assert(value.size == VALUE_BYTES);
        assert(memcmp(value.data, value_of(t->model.value[index], wanted).data, VALUE_BYTES) == 0);
    }
    helios_buf_free(&value);
}

static void walk(struct test *t, bool backwards)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_iter *it = NULL;
    helios_snapshot *snapshot = NULL;
    unsigned next = backwards ? KEYS : 0;
    char key[32], value[VALUE_BYTES];
    bool failed;

    options.lower = slice_make("key", 3);
    options.upper = slice_make("kez", 3);
    if (!DONE(t, helios_snapshot_new(t->db, 0, &snapshot)))
        return;
    options.snapshot = snapshot;
    if (!DONE(t, helios_iter_new(t->db, &options, &it))) {
        helios_snapshot_free(t->db, snapshot);
        return;
    }
    for ((backwards ? helios_iter_last : helios_iter_first)(it); helios_iter_valid(it);
         (backwards ? helios_iter_prev : helios_iter_next)(it)) {
        unsigned index = index_of(helios_iter_key(it));

        while (backwards ? --next > index : next < index)
            assert(t->model.value[backwards ? next : next++] == 0);
        assert(slice_equal(helios_iter_key(it), key_of(index, key)));
        assert(slice_equal(helios_iter_value(it), value_of(t->model.value[index], value)));
        next = backwards ? index : index + 1;
    }
    failed = !DONE(t, helios_iter_status(it));
    for (; !failed && !backwards && next < KEYS; next++)
        assert(t->model.value[next] == 0);
    helios_iter_free(it);
    helios_snapshot_free(t->db, snapshot);
}

/* ---- scenarios ---- */

static void fill(struct test *t)
{
    for (unsigned i = 0; i < KEYS; i++)
        put(t, i);
}

static void run_puts(struct test *t)
{
    for (unsigned i = 0; i < 20; i++)
        put(t, i * 17 % KEYS);
    delete_some(t, 30, 40);
    get(t, 17);
    get(t, 35);
}

static void run_batches(struct test *t)
{
    batch(t, 5, 0);
    batch(t, 300, 0);
    batch(t, 10, 700 << 10); /* ingested */
    get(t, 5);
    walk(t, false);
}

static void run_flush(struct test *t)
{
    fill(t);
    delete_some(t, 100, 130);
    (void)!DONE(t, helios_flush(t->db));
    get(t, 7);
    get(t, 110);
}

static void run_compact(struct test *t)
{
    helios_slice none = {0};

    (void)!DONE(t, helios_flush(t->db));
    fill(t);
    (void)!DONE(t, helios_flush(t->db));
    delete_some(t, 200, 250);
    (void)!DONE(t, helios_compact(t->db, none, none));
    get(t, 210);
    get(t, 260);
}

static void run_iterators(struct test *t)
{
    walk(t, false);
    (void)!DONE(t, helios_flush(t->db));
    walk(t, true);
    put(t, 1);
    walk(t, false);
}

/* What is kept of the commits, in stretches and in tables. */
static void walk_commits(struct test *t)
{
    helios_commits *commits = NULL;
    helios_commit_info info;
    helios_seq seq, last = 0;
    uint64_t time;

    if (DONE(t, helios_seq_at_time(t->db, UINT64_MAX, &seq)))
        assert(seq == helios_latest(t->db));
    (void)!DONE(t, helios_time_of_seq(t->db, 0, &time));
    if (!DONE(t, helios_commits_new(t->db, NULL, &commits)))
        return;
    while (helios_commits_next(commits, &info)) {
        assert(last == 0 ? info.seq == helios_latest(t->db) : info.seq < last);
        last = info.seq;
    }
    (void)!DONE(t, helios_commits_status(commits));
    helios_commits_free(commits);
}

static void run_timeline(struct test *t)
{
    walk_commits(t);
    fill(t);
    (void)!DONE(t, helios_flush(t->db));
    walk_commits(t);
}

static void run_multi_get(struct test *t)
{
    char names[20][32];
    helios_slice keys[20];
    helios_buf values[20] = {{0}};
    helios_status each[20];

    for (unsigned i = 0; i < 20; i++)
        keys[i] = key_of(i * 13 % KEYS, names[i]);
    if (DONE(t, helios_multi_get(t->db, NULL, 20, keys, values, each)))
        for (unsigned i = 0; i < 20; i++)
            if (each[i] != HELIOS_NOT_FOUND)
                (void)!DONE(t, each[i]);
    for (unsigned i = 0; i < 20; i++)
        helios_buf_free(&values[i]);
}

static void run_reopen(struct test *t)
{
    helios_db *db = NULL;

    (void)!DONE(t, helios_close(t->db)); /* closed all the same */
    t->db = NULL;
    if (DONE(t, engine_open(t->fs, "/alloc", &t->options, &db)))
        t->db = db;
    else
        assert(!db);
    if (t->db)
        get(t, 3);
}

static void run_checkpoint(struct test *t)
{
    helios_db *copy = NULL;
    struct io_stat stat;

    if (!DONE(t, helios_checkpoint(t->db, "/copy"))) { /* removing what was made takes memory, too */
        assert(t->forever || io_stat(t->fs, "/copy", &stat) == HELIOS_NOT_FOUND);
        return;
    }
    if (DONE(t, engine_open(t->fs, "/copy", &t->options, &copy)))
        (void)!DONE(t, helios_close(copy));
}

static void run_upkeep(struct test *t)
{
    uint64_t number;
    char *json = NULL;

    (void)!DONE(t, helios_verify(t->db, NULL, NULL));
    (void)!DONE(t, helios_stats_json(t->db, &json));
    helios_free(json);
    (void)!DONE(t, helios_stat(t->db, "disk.bytes", &number));
    (void)!DONE(t, helios_approximate_size(t->db, 0, slice_make("k", 1), slice_make("l", 1), &number));
    (void)!DONE(t, helios_sync(t->db));
}

/* One transaction; a part of it is taken back, and all of it unless it is to be committed. */
static void transact(struct test *t, unsigned count, bool commit)
{
    struct model after = t->model;
    char key[32], value[VALUE_BYTES], end[32];
    helios_txn *txn = NULL;
    helios_buf seen = {0};
    bool going = DONE(t, helios_txn_begin(t->db, NULL, &txn));

    for (unsigned i = 0; i < count && going; i++) {
        unsigned index = (unsigned)(t->counter * 11 % KEYS);

        after.value[index] = ++t->counter;
        going = DONE(t, helios_txn_put(txn, key_of(index, key), value_of(t->counter, value)));
    }
    going = going && DONE(t, helios_txn_delete_range(txn, key_of(50, key), key_of(60, end)));
    memset(&after.value[50], 0, 10 * sizeof(after.value[0]));
    going = going && DONE(t, helios_txn_savepoint(txn));
    going = going && DONE(t, helios_txn_put(txn, key_of(2, key), value_of(1, value)));
    going = going && DONE(t, helios_txn_rollback_to_savepoint(txn));
    if (going) {
        helios_status status = helios_txn_get(txn, key_of(55, key), &seen);

        going = status == HELIOS_NOT_FOUND || DONE(t, status);
    }
    if (going && commit && DONE(t, helios_txn_commit(txn, NULL)))
        t->model = after;
    helios_buf_free(&seen);
    helios_txn_free(txn);
}

static void txn_walk(struct test *t)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_txn *txn = NULL;
    helios_iter *it = NULL;
    char key[32], value[VALUE_BYTES];

    options.lower = slice_make("key", 3);
    if (!DONE(t, helios_txn_begin(t->db, NULL, &txn)))
        return;
    if (DONE(t, helios_txn_put(txn, key_of(7, key), value_of(7, value))) &&
        DONE(t, helios_txn_iter(txn, &options, &it))) {
        for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it))
            continue;
        (void)!DONE(t, helios_iter_status(it));
    }
    helios_iter_free(it);
    helios_txn_free(txn);
}

static helios_status put_one(void *arg, helios_txn *txn)
{
    struct test *t = arg;
    char key[32], value[VALUE_BYTES];

    return helios_txn_put(txn, key_of(9, key), value_of(t->counter + 1, value));
}

static void run_transactions(struct test *t)
{
    transact(t, 5, true);
    transact(t, 40, false);
    (void)!DONE(t, helios_flush(t->db));
    transact(t, 200, true);
    txn_walk(t);
    if (DONE(t, helios_txn_run(t->db, NULL, put_one, t, NULL)))
        t->model.value[9] = ++t->counter;
    get(t, 9);
    get(t, 55);
}

/* What a call that failed may have left is there whole: the tag can be dropped, or is not there. */
static void run_tags(struct test *t)
{
    helios_tag_info *list = NULL;
    helios_pin_info *pins = NULL;
    helios_branch_id branch;
    helios_seq at;
    size_t count;
    bool made = DONE(t, helios_tag_create(t->db, "one", 0, 0));

    put(t, 1);
    (void)!DONE(t, helios_tag_create(t->db, "two", 0, 0));
    (void)!DONE(t, helios_flush(t->db));
    if (made)
        (void)!DONE(t, helios_tag_get(t->db, "one", &branch, &at));
    if (DONE(t, helios_tag_list(t->db, &list, &count)))
        assert(count >= made);
    helios_free(list);
    (void)!DONE(t, helios_pin_list(t->db, &pins, &count));
    helios_free(pins);
    if (made)
        (void)!DONE(t, helios_tag_drop(t->db, "one"));
    (void)!DONE(t, helios_set_history_retention(t->db, 1000));
    get(t, 1);
}

/* A call that failed has changed nothing: the branch is there with its old name, or is not there. */
static void run_branches(struct test *t)
{
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    helios_branch_usage usage;
    helios_branch_info *list = NULL;
    helios_buf metadata = {0};
    helios_branch_id one = 0, two = 0;
    size_t count;
    char key[32];
    bool renamed;

    if (!DONE(t, helios_branch_create(t->db, "one", 0, 0, &one))) {
        assert(helios_branch_find(t->db, "one", &one) == HELIOS_NOT_FOUND);
        return;
    }
    write.branch = one;
    (void)!DONE(t, helios_put(t->db, &write, key_of(0, key), slice_make("one", 3)));
    (void)!DONE(t, helios_flush(t->db));
    (void)!DONE(t, helios_branch_create(t->db, "two", one, 0, &two));
    renamed = DONE(t, helios_branch_rename(t->db, one, "uno"));
    assert(helios_branch_find(t->db, renamed ? "uno" : "one", &one) == HELIOS_OK);
    if (DONE(t, helios_branch_set_metadata(t->db, one, slice_make("what", 4))) &&
        DONE(t, helios_branch_metadata(t->db, one, &metadata)))
        assert(slice_equal(buf_slice(&metadata), slice_make("what", 4)));
    helios_buf_free(&metadata);
    if (DONE(t, helios_branch_usage_get(t->db, one, &usage)))
        assert(usage.children == (two != 0));
    if (DONE(t, helios_branch_list(t->db, &list, &count)))
        assert(count == 2u + (two != 0));
    helios_free(list);
    list = NULL;
    if (DONE(t, helios_branch_list_at(t->db, 0, &list, &count)))
        assert(count == 2u + (two != 0));
    helios_free(list);
    if ((!two || DONE(t, helios_branch_drop(t->db, two))) && DONE(t, helios_branch_drop(t->db, one)))
        (void)!DONE(t, helios_compact(t->db, (helios_slice){0}, (helios_slice){0}));
}

/* The versions of one key, and what became of their commits. */
static void run_history(struct test *t)
{
    helios_history *history = NULL;
    helios_version version = {0};
    helios_seq last = UINT64_MAX;
    char key[32];

    put(t, 0);
    (void)!DONE(t, helios_flush(t->db));
    put(t, 0);
    if (!DONE(t, helios_history_new(t->db, NULL, key_of(0, key), &history)))
        return;
    for (; helios_history_next(history, &version); last = version.seq)
        assert(version.seq < last && helios_commit_state(t->db, version.seq) != HELIOS_COMMIT_LOST);
    (void)!DONE(t, helios_history_status(history));
    helios_history_free(history);
}

/* What a put says of the value before must be right as far as it is read: counters of one key only grow. */
static void check_change(const helios_change *change)
{
    uint64_t value = 0, before = 0;

    if (!slice_starts_with(change->key, slice_make("key", 3)) || change->kind != HELIOS_CHANGE_PUT)
        return;
    assert(change->value.size == VALUE_BYTES);
    memcpy(&value, change->value.data, sizeof(value));
    if (change->has_before)
        memcpy(&before, change->before.data, sizeof(before));
    assert(value > before);
}

/* Entries up to the end; UINT_MAX: not so far. */
static unsigned read_changes(struct test *t, const helios_changes_options *options, helios_seq ack)
{
    helios_changes *changes = NULL;
    helios_change change;
    helios_status status = HELIOS_OK;
    helios_seq last = 0;
    unsigned count = 0;
    int fd;

    if (!DONE(t, helios_changes_new(t->db, options, &changes)))
        return UINT_MAX;
    (void)!DONE(t, helios_changes_fd(changes, &fd));
    while ((status = helios_changes_next(changes, 0, &change)) == HELIOS_OK) {
        assert(change.lsn > last || (options->expand_ranges && change.lsn == last));
        last = change.lsn;
        check_change(&change);
        count++;
    }
    if (status != HELIOS_TIMEOUT && status != HELIOS_NOT_FOUND && !DONE(t, status)) {
        assert(helios_changes_next(changes, 0, &change) == status); /* told again */
        count = UINT_MAX;
    }
    if (ack)
        (void)!DONE(t, helios_changes_ack(changes, ack));
    helios_changes_free(changes);
    return count;
}

/* Cursors with all that can be asked for, over batches, ranges and branches, from memory and from tables; a consumer. */
static void run_changes(struct test *t)
{
    static const helios_branch_id main_branch = 0;
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    const helios_seq from = helios_latest(t->db) + 1;
    unsigned counts[2] = {UINT_MAX, UINT_MAX}, count;
    helios_consumer_info *list = NULL;
    size_t consumers = 0;

    put(t, 1);
    delete_some(t, 10, 20);
    batch(t, 12, 0);
    for (unsigned i = 0; i < 16; i++) {
        options = (helios_changes_options)HELIOS_CHANGES_OPTIONS_INIT;
        options.from = from;
        options.to = i == 15 ? helios_latest(t->db) : 0;
        options.unsynced = true;
        options.before_images = i & 1;
        options.expand_ranges = i & 2;
        options.all_spaces = i & 4;
        if (i & 8) {
            options.prefix = slice_make("key", 3);
            options.branch = &main_branch;
        }
        if (t->options.history_retention == 0 && (i & 3)) /* what is looked back at has gone */
            options.from = helios_latest(t->db) + 1;
        count = read_changes(t, &options, 0);
        if (options.from == from && count != UINT_MAX) {
            assert(counts[i >> 1 & 1] == UINT_MAX || counts[i >> 1 & 1] == count);
            counts[i >> 1 & 1] = count;
        }
    }
    options = (helios_changes_options)HELIOS_CHANGES_OPTIONS_INIT;
    options.consumer = "reader";
    options.from = helios_latest(t->db) + 1;
    options.before_images = options.unsynced = true;
    put(t, 2);
    put(t, 3);
    (void)read_changes(t, &options, helios_latest(t->db));
    (void)read_changes(t, &options, 0);
    if (DONE(t, helios_consumer_list(t->db, &list, &consumers)) && consumers)
        (void)!DONE(t, helios_consumer_drop(t->db, "reader"));
    helios_free(list);
}

/* A consumer, acknowledgements alone and with a commit, a trim; tables that the feed keeps. */
static void run_feed(struct test *t)
{
    helios_changes_options reading = HELIOS_CHANGES_OPTIONS_INIT;
    struct feed_consumer *consumer = NULL;
    helios_consumer_info *list = NULL;
    helios_pin_info *pins = NULL;
    helios_batch *acking;
    helios_seq acked, oldest, newest;
    uint64_t removed;
    size_t count;

    reading.from = helios_latest(t->db) + 1;
    reading.before_images = reading.expand_ranges = t->options.history_retention != 0;
    reading.unsynced = true;
    batch(t, 5, 30000);
    (void)read_changes(t, &reading, 0);
    if (!DONE(t, feed_consumer_open(t->db, "reader", helios_latest(t->db) + 1, true, &consumer, &acked)))
        return;
    put(t, 1);
    (void)!DONE(t, feed_consumer_ack(t->db, consumer, acked + 1));
    feed_consumer_close(t->db, consumer);
    acking = helios_batch_new();
    helios_batch_ack(acking, "reader", helios_latest(t->db));
    if (acking && DONE(t, helios_batch_status(acking)))
        (void)!DONE(t, helios_write(t->db, NULL, acking, NULL));
    helios_batch_free(acking);
    (void)!DONE(t, helios_feed_trim(t->db, helios_latest(t->db), &removed));
    (void)!DONE(t, helios_feed_bounds(t->db, &oldest, &newest));
    if (DONE(t, helios_consumer_list(t->db, &list, &count)))
        assert(count == 1 && list[0].acked >= acked);
    helios_free(list);
    (void)!DONE(t, helios_pin_list(t->db, &pins, &count));
    helios_free(pins);
    run_reopen(t);
    if (t->db)
        (void)!DONE(t, helios_consumer_drop(t->db, "reader"));
}

/* Windows over what was written since a point, whose deltas make the model of it; false: not to the end. */
static bool follow_deltas(struct test *t, const helios_deltas_options *options, struct model *model)
{
    helios_deltas *deltas = NULL;
    helios_delta_window window;
    helios_delta delta;
    helios_status status;
    uint64_t count;
    bool good = DONE(t, helios_deltas_new(t->db, options, &deltas));

    while (good && (status = helios_deltas_window(deltas, 0, &window)) != HELIOS_TIMEOUT) {
        good = DONE(t, status) && !window.refresh && DONE(t, helios_deltas_count(deltas, 0, &count));
        while (good && helios_deltas_next(deltas, &delta)) {
            uint64_t value = 0;

            if (delta.after.data)
                memcpy(&value, delta.after.data, sizeof(value));
            model->value[index_of(delta.key)] = value;
            count--;
        }
        good = good && DONE(t, helios_deltas_status(deltas));
        assert(!good || count == 0);
    }
    helios_deltas_free(deltas);
    return good;
}

/* Collected, then commit by commit from the tree; a consumer, also one that begins with what has gone. */
static void run_deltas(struct test *t)
{
    const helios_delta_table table = {.prefix = {"key", 3}};
    helios_deltas_options options = HELIOS_DELTAS_OPTIONS_INIT;
    helios_consumer_info *list = NULL;
    size_t count = 0;
    const struct model before = t->model;
    struct model after;

    options.tables = &table;
    options.table_count = 1;
    options.unsynced = true;
    options.since = helios_latest(t->db);
    put(t, 1);
    delete_some(t, 10, 20);
    batch(t, 5, 100);
    for (int i = 0; i < 2; i++) {
        options.consumer = i ? NULL : "collected";
        options.memory = i ? 1000 : 0;
        after = before;
        if (follow_deltas(t, &options, &after))
            assert(memcmp(&after, &t->model, sizeof(after)) == 0);
    }
    if (DONE(t, helios_consumer_list(t->db, &list, &count)) && count)
        (void)!DONE(t, helios_consumer_drop(t->db, "collected"));
    helios_free(list);
    (void)!DONE(t, helios_feed_trim(t->db, helios_latest(t->db), NULL));
    options.consumer = "late";
    options.since = 0;
    after = before;
    (void)!follow_deltas(t, &options, &after); /* its first window is a refresh */
}

/* For ever: all later allocations fail, too; not where a commit waits for memory. */
static const struct {
    const char *name;
    void (*run)(struct test *);
    bool forever;
} scenarios[] = {
    {"puts", run_puts, true},
    {"batches", run_batches, false},
    {"flush", run_flush, true},
    {"compact", run_compact, true},
    {"iterators", run_iterators, true},
    {"multi_get", run_multi_get, true},
    {"reopen", run_reopen, true},
    {"checkpoint", run_checkpoint, true},
    {"upkeep", run_upkeep, true},
    {"timeline", run_timeline, true},
    {"transactions", run_transactions, false}, /* one is ingested, like batches */
    {"tags", run_tags, true},
    {"branches", run_branches, true},
    {"history", run_history, true},
    {"feed", run_feed, false}, /* one is ingested */
    {"deltas", run_deltas, true},
    {"changes", run_changes, true},
};

/* ---- around them ---- */

static uint64_t tried;

static void check(struct test *t)
{
    for (unsigned i = 0; i < KEYS; i++) {
        helios_buf value = {0};
        char key[32], wanted[VALUE_BYTES];
        helios_status status = helios_get(t->db, NULL, key_of(i, key), &value);

        if (t->model.value[i] == 0
                ? status != HELIOS_NOT_FOUND
                : status != HELIOS_OK || value.size != VALUE_BYTES ||
                      memcmp(value.data, value_of(t->model.value[i], wanted).data, VALUE_BYTES) != 0) {
            fprintf(stderr, "key %u\n", i);
            die(t, __LINE__, status);
        }
        helios_buf_free(&value);
    }
    walk(t, false);
    MUST(t, helios_verify(t->db, NULL, NULL));
}

/* Work that waited for memory goes on by itself. */
static void wait_writable(struct test *t)
{
    helios_status status = HELIOS_OK;

    for (int i = 0; i < 400; i++) {
        status = helios_flush(t->db);
        if (status != HELIOS_NO_MEMORY)
            break;
        thread_sleep(5000);
    }
    MUST(t, status);
}

/* Allocation n of the scenario fails. Returns how many there were. */
static uint64_t run_one(size_t scenario, uint64_t n, bool forever)
{
    struct test t = {.scenario = scenarios[scenario].name, .n = n, .forever = forever};
    uint64_t before;

    t.options = (helios_options)HELIOS_OPTIONS_INIT;
    t.options.memtable_bytes = 64 << 10;
    t.options.block_cache_bytes = 64 << 10;
    t.options.background_threads = 1;
    t.options.history_retention = n % 2 ? 0 : HELIOS_FOREVER;
    if (strcmp(t.scenario, "feed") == 0 || strcmp(t.scenario, "deltas") == 0 ||
        strcmp(t.scenario, "changes") == 0)
        t.options.feed_retention = HELIOS_FOREVER;
    MUST(&t, io_memory_new(&t.fs));
    MUST(&t, engine_open(t.fs, "/alloc", &t.options, &t.db));
    fill(&t);
    MUST(&t, helios_flush(t.db));
    for (unsigned i = 0; i < 100; i++)
        put(&t, i * 3);
    before = mem_count();
    if (n)
        mem_fail_at(n, forever);
    tried += n > 0;
    scenarios[scenario].run(&t);
    mem_fail_at(0, false);
    before = mem_count() - before;
    if (!t.db)
        MUST(&t, engine_open(t.fs, "/alloc", &t.options, &t.db));
    wait_writable(&t);
    check(&t);
    for (unsigned i = 0; i < 50; i++)
        put(&t, i * 5);
    MUST(&t, helios_close(t.db));
    MUST(&t, engine_open(t.fs, "/alloc", &t.options, &t.db));
    check(&t);
    MUST(&t, helios_close(t.db));
    io_free(t.fs);
    return before;
}

/* Creating: a failed one leaves nothing behind. */
static bool create_one(uint64_t n)
{
    struct test t = {.scenario = "create", .n = n, .options = HELIOS_OPTIONS_INIT};
    struct io_stat stat;
    bool done;

    t.options.memtable_bytes = 64 << 10;
    MUST(&t, io_memory_new(&t.fs));
    mem_fail_at(n, false);
    done = DONE(&t, engine_open(t.fs, "/alloc", &t.options, &t.db));
    mem_fail_at(0, false);
    if (!done) {
        assert(!t.db && io_stat(t.fs, "/alloc", &stat) == HELIOS_NOT_FOUND);
        MUST(&t, engine_open(t.fs, "/alloc", &t.options, &t.db));
    }
    put(&t, 1);
    get(&t, 1);
    MUST(&t, helios_close(t.db));
    io_free(t.fs);
    return done;
}

int main(int argc, char **argv)
{
    uint64_t stride = 1;
    const char *only = NULL;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--stride") == 0 && i + 1 < argc)
            stride = strtoull(argv[++i], NULL, 10);
        else
            only = argv[i];
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!only || strcmp(only, "create") == 0) {
        uint64_t n = 1, ok = 0;

        for (; ok < 20; n++) /* the background allocates too: some do not fail the open */
            ok = create_one(n) ? ok + 1 : 0;
        printf("create: %" PRIu64 " allocations\n", n - 1);
    }
    for (size_t s = 0; s < sizeof(scenarios) / sizeof(scenarios[0]); s++) {
        uint64_t count, n;

        if (only && strcmp(only, scenarios[s].name) != 0)
            continue;
        count = run_one(s, 0, false);
        for (n = 1; n <= count; n += stride)
            run_one(s, n, false);
        for (n = 1; n <= count && scenarios[s].forever; n += stride * 7)
            run_one(s, n, true);
        printf("%s: %" PRIu64 " allocations\n", scenarios[s].name, count);
    }
    printf("tried: %" PRIu64 " failing allocations\n", tried);
    return 0;
}
