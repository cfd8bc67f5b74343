/* fuzz_api.c - the input is a program: calls of the public API on one database, right ones and wrong ones: handles that are
 * not there (NULL), closes with live handles, points and branches that do not exist, calls in any order. No call may crash,
 * hang or leak; what a scan shows before a close it shows after the next open; and helios_verify finds nothing.
 *
 * First byte: options. Then a byte for the call, its operands a byte each; at the end of the input all operands are 0. */
#undef NDEBUG
#include "base/coding.h"
#include "base/hash.h"
#include "engine/engine_internal.h"
#include "fuzz/api_misuse.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SLOTS = 3, KEYS = 24, CALLS_MAX = 400, LARGE = 20000, BRANCHES = 6 };

struct world {
    const uint8_t *at, *end;
    struct io_fs *fs;
    helios_options options;
    helios_db *db;
    helios_batch *batch[SLOTS];
    helios_iter *iter[SLOTS]; /* also of transactions */
    helios_txn *txn[SLOTS];
    helios_snapshot *snapshot[SLOTS];
    helios_history *history[SLOTS];
    helios_commits *commits[SLOTS];
    helios_diff *diff[SLOTS];
    helios_changes *changes[SLOTS];
    helios_buf buf;
};

/* ---- operands ---- */

static uint8_t byte(struct world *w)
{
    return w->at < w->end ? *w->at++ : 0;
}

/* Of a small set that has neighbours, prefixes of each other, and sometimes none or one that is no key. */
static helios_slice key(struct world *w)
{
    static const char bytes[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    static char keys[KEYS][4];
    uint8_t b = byte(w);

    if (b >= 250)
        return b == 250 ? (helios_slice){0} : slice_make(bytes, b - 250);
    b %= KEYS;
    memcpy(keys[b], "k", 1);
    keys[b][1] = (char)('a' + b / 4);
    keys[b][2] = (char)('a' + b % 4);
    return slice_make(keys[b], b % 5 == 0 ? 2 : 3);
}

static helios_slice value(struct world *w)
{
    static char large[LARGE];
    uint8_t b = byte(w);

    memset(large, b, sizeof(large));
    return slice_make(large, b >= 240 ? sizeof(large) : b % 64);
}

static helios_branch_id branch(struct world *w)
{
    uint8_t b = byte(w);

    return b < 128 ? 0 : b % BRANCHES;
}

static helios_seq seq(struct world *w)
{
    uint8_t b = byte(w);
    helios_seq latest = helios_latest(w->db);

    if (b < 96)
        return 0;
    return b == 255 ? HELIOS_SEQ_NONE : b == 254 ? latest + 1 : latest - (latest < b - 96u ? latest : b - 96u);
}

static size_t slot(struct world *w)
{
    return byte(w) % SLOTS;
}

static const char *name(struct world *w)
{
    static const char *const names[] = {"one", "two", "three", "", "-four", "\xff", "a name with spaces"};

    return names[byte(w) % (sizeof(names) / sizeof(names[0]))];
}

static helios_read_options read_options_of(struct world *w)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    uint8_t b = byte(w);

    options.branch = branch(w);
    options.at = seq(w);
    if (b & 1)
        options.snapshot = w->snapshot[slot(w)];
    if (b & 2)
        options.lower = key(w);
    if (b & 4)
        options.upper = key(w);
    options.keys_only = b & 8;
    options.no_cache_fill = b & 16;
    return options;
}

static helios_write_options write_options_of(struct world *w)
{
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;

    options.branch = branch(w);
    options.durability = (helios_durability)(byte(w) % 7); /* one or two of them are none */
    return options;
}

/* ---- handles ---- */

#define FREE_ALL(handles, release)                                                                             \
    for (size_t i = 0; i < SLOTS; i++) {                                                                       \
        release(w->handles[i]);                                                                                \
        w->handles[i] = NULL;                                                                                  \
    }

static void free_snapshot(helios_snapshot *snapshot)
{
    helios_snapshot_free(NULL, snapshot);
}

static void free_handles(struct world *w)
{
    FREE_ALL(iter, helios_iter_free)
    FREE_ALL(txn, helios_txn_free)
    FREE_ALL(snapshot, free_snapshot)
    FREE_ALL(history, helios_history_free)
    FREE_ALL(commits, helios_commits_free)
    FREE_ALL(diff, helios_diff_free)
    FREE_ALL(changes, helios_changes_free)
}

/* That keeps a close off; a transaction does until it ends. */
static bool any_handle(const struct world *w)
{
    bool any = false;

    for (size_t i = 0; i < SLOTS; i++)
        any |= w->iter[i] || w->snapshot[i] || w->history[i] || w->commits[i] || w->diff[i] || w->changes[i];
    return any;
}

/* ---- the database ---- */

static void open_db(struct world *w)
{
    helios_status status = engine_open(w->fs, "/db", &w->options, &w->db);

    assert(status == HELIOS_OK);
}

/* Of all that live, all that they show. */
static uint64_t fingerprint(struct world *w)
{
    helios_branch_info *list = NULL;
    uint64_t sum = 0;
    size_t n = 0;

    assert(helios_branch_list(w->db, &list, &n) == HELIOS_OK);
    for (size_t i = 0; i < n; i++) {
        helios_read_options options = HELIOS_READ_OPTIONS_INIT;
        helios_iter *iter = NULL;

        options.branch = list[i].id;
        assert(helios_iter_new(w->db, &options, &iter) == HELIOS_OK);
        for (helios_iter_first(iter); helios_iter_valid(iter); helios_iter_next(iter)) {
            helios_slice k = helios_iter_key(iter), v = helios_iter_value(iter);

            sum = sum * 31 + hash_bytes(k.data, k.size) + helios_iter_seq(iter);
            sum = sum * 31 + hash_bytes(v.data, v.size) + list[i].id;
        }
        assert(helios_iter_status(iter) == HELIOS_OK);
        helios_iter_free(iter);
    }
    helios_free(list);
    return sum;
}

/* With the handles that are open: refused, and then without them. */
static void close_db(struct world *w)
{
    helios_status status;

    assert(helios_verify(w->db, NULL, NULL) == HELIOS_OK);
    status = helios_close(w->db);
    assert(status == HELIOS_BUSY || (status == HELIOS_OK && !any_handle(w)));
    free_handles(w);
    if (status == HELIOS_BUSY)
        assert(helios_close(w->db) == HELIOS_OK);
    w->db = NULL;
}

static void reopen(struct world *w)
{
    uint64_t before = fingerprint(w);

    close_db(w);
    open_db(w);
    assert(fingerprint(w) == before);
}

/* ---- calls, by what they are about ---- */

static void write_something(struct world *w)
{
    helios_write_options options = write_options_of(w);
    helios_batch **batch = &w->batch[slot(w)];
    helios_slice k = key(w);
    helios_seq commit = 0;
    uint8_t what = byte(w) % 11;

    switch (what) {
    case 0:
    case 1: (void)helios_put(w->db, &options, k, value(w)); break;
    case 2: (void)helios_delete(w->db, &options, k); break;
    case 3: (void)helios_delete_range(w->db, &options, k, key(w)); break;
    case 4:
        helios_batch_free(*batch);
        *batch = helios_batch_new();
        break;
    case 5: helios_batch_put(*batch, k, value(w)); break;
    case 6: helios_batch_delete(*batch, k); break;
    case 7: helios_batch_delete_range(*batch, k, key(w)); break;
    case 8: helios_batch_ack(*batch, name(w), seq(w)); break;
    case 9: helios_batch_clear(*batch); break;
    default:
        if (helios_write(w->db, &options, *batch, &commit) == HELIOS_OK)
            (void)helios_wait_durable(w->db, commit, 0);
    }
    (void)helios_batch_status(*batch);
    (void)helios_batch_count(*batch);
}

static void read_something(struct world *w)
{
    helios_read_options options = read_options_of(w);
    helios_slice keys[2] = {key(w), key(w)};
    helios_buf values[2] = {{0}, {0}};
    helios_status each[2];
    uint64_t time = 0;

    (void)helios_get(w->db, &options, keys[0], &w->buf);
    (void)helios_multi_get(w->db, &options, 2, keys, values, each);
    helios_buf_free(&values[0]);
    helios_buf_free(&values[1]);
    if (helios_time_of_seq(w->db, seq(w), &time) == HELIOS_OK)
        (void)helios_seq_at_time(w->db, time, &(helios_seq){0});
    (void)helios_commit_state(w->db, seq(w));
}

static void move(struct world *w, helios_iter *iter)
{
    switch (byte(w) % 6) {
    case 0: helios_iter_first(iter); break;
    case 1: helios_iter_last(iter); break;
    case 2: helios_iter_seek(iter, key(w)); break;
    case 3: helios_iter_seek_for_prev(iter, key(w)); break;
    case 4: helios_iter_next(iter); break;
    default: helios_iter_prev(iter);
    }
    assert(helios_iter_valid(iter) == (helios_iter_key(iter).data != NULL));
    (void)helios_iter_value(iter);
    (void)helios_iter_seq(iter);
    (void)helios_iter_status(iter);
}

static void iterate(struct world *w)
{
    helios_iter **iter = &w->iter[slot(w)];
    helios_read_options options;

    switch (byte(w) % 4) {
    case 0:
        options = read_options_of(w);
        helios_iter_free(*iter);
        *iter = NULL;
        (void)helios_iter_new(w->db, &options, iter);
        break;
    case 1:
        helios_iter_free(*iter);
        *iter = NULL;
        break;
    default: move(w, *iter);
    }
}

static void transact(struct world *w)
{
    helios_txn **txn = &w->txn[slot(w)];
    helios_iter **iter = &w->iter[slot(w)];
    helios_txn_options options = HELIOS_TXN_OPTIONS_INIT;

    switch (byte(w) % 12) {
    case 0:
        options.branch = branch(w);
        options.isolation = (helios_isolation)(byte(w) % 4);
        options.read_only = byte(w) & 1;
        options.at = seq(w);
        helios_txn_free(*txn);
        *txn = NULL;
        (void)helios_txn_begin(w->db, &options, txn);
        break;
    case 1: (void)helios_txn_get(*txn, key(w), &w->buf); break;
    case 2:
    case 3: (void)helios_txn_put(*txn, key(w), value(w)); break;
    case 4: (void)helios_txn_delete(*txn, key(w)); break;
    case 5: (void)helios_txn_delete_range(*txn, key(w), key(w)); break;
    case 6: (void)helios_txn_savepoint(*txn); break;
    case 7: (void)helios_txn_rollback_to_savepoint(*txn); break;
    case 8: (void)helios_txn_commit(*txn, NULL); break;
    case 9: (void)helios_txn_rollback(*txn); break;
    case 10:
        helios_iter_free(*iter);
        *iter = NULL;
        (void)helios_txn_iter(*txn, NULL, iter);
        break;
    default: helios_txn_free(*txn); *txn = NULL;
    }
}

static helios_resolution answer(void *arg, const helios_merge_conflict *conflict, helios_buf *value)
{
    struct world *w = arg;

    (void)conflict;
    (void)helios_buf_set(value, slice_make("resolved", 8));
    return (helios_resolution)(byte(w) % 6);
}

static void merge(struct world *w)
{
    helios_merge_options options = HELIOS_MERGE_OPTIONS_INIT;
    helios_merge_result result;
    uint8_t b = byte(w);

    options.strategy = (helios_merge_strategy)(b % 5);
    options.resolve = b & 64 ? NULL : answer;
    options.arg = w;
    options.close_source = b & 8;
    options.dry_run = b & 16;
    if (b & 32)
        (void)helios_branch_merge(w->db, branch(w), branch(w), &options, &result);
    else
        (void)helios_branch_revert(w->db, branch(w), seq(w), seq(w), &options, &result);
}

static void use_branches(struct world *w)
{
    helios_branch_id id = branch(w);
    helios_branch_info *info = NULL;
    helios_branch_usage usage;
    size_t n = 0;

    switch (byte(w) % 8) {
    case 0:
    case 1: (void)helios_branch_create(w->db, name(w), id, seq(w), &id); break;
    case 2: (void)helios_branch_rename(w->db, id, name(w)); break;
    case 3: (void)helios_branch_drop(w->db, id); break;
    case 4: (void)helios_branch_set_metadata(w->db, id, value(w)); break;
    case 5:
        (void)helios_branch_metadata(w->db, id, &w->buf);
        (void)helios_branch_usage_get(w->db, id, &usage);
        if (helios_branch_get(w->db, id, &info) == HELIOS_OK)
            helios_free(info);
        break;
    case 6:
        if (helios_branch_list_at(w->db, seq(w), &info, &n) == HELIOS_OK)
            helios_free(info);
        break;
    default: merge(w);
    }
}

static void walk_history(struct world *w)
{
    size_t s = slot(w);
    helios_read_options options;
    helios_commits_options commits = HELIOS_COMMITS_OPTIONS_INIT;
    helios_version version;
    helios_commit_info info;
    helios_difference difference;

    switch (byte(w) % 7) {
    case 0:
        options = read_options_of(w);
        helios_history_free(w->history[s]);
        w->history[s] = NULL;
        (void)helios_history_new(w->db, &options, key(w), &w->history[s]);
        break;
    case 1:
        commits.from = seq(w);
        commits.to = seq(w);
        commits.oldest_first = byte(w) & 1;
        helios_commits_free(w->commits[s]);
        w->commits[s] = NULL;
        (void)helios_commits_new(w->db, &commits, &w->commits[s]);
        break;
    case 2:
        helios_diff_free(w->diff[s]);
        w->diff[s] = NULL;
        (void)helios_diff_new(w->db, (helios_point){branch(w), seq(w)}, (helios_point){branch(w), seq(w)},
                              &w->diff[s]);
        break;
    case 3:
        helios_snapshot_free(w->db, w->snapshot[s]);
        w->snapshot[s] = NULL;
        if (byte(w) & 1)
            (void)helios_snapshot_new(w->db, seq(w), &w->snapshot[s]);
        break;
    default:
        (void)helios_history_next(w->history[s], &version);
        (void)helios_history_status(w->history[s]);
        (void)helios_commits_next(w->commits[s], &info);
        (void)helios_commits_status(w->commits[s]);
        (void)helios_diff_next(w->diff[s], &difference);
        (void)helios_diff_status(w->diff[s]);
    }
}

static void new_changes(struct world *w, size_t s)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_branch_id only = branch(w);
    uint8_t b = byte(w);

    options.from = seq(w);
    options.to = seq(w);
    if (b & 1)
        options.prefix = key(w);
    if (b & 2)
        options.branch = &only;
    options.before_images = b & 4;
    options.unsynced = b & 8;
    options.all_spaces = b & 16;
    options.expand_ranges = b & 32;
    if (b & 64)
        options.consumer = name(w);
    helios_changes_free(w->changes[s]);
    w->changes[s] = NULL;
    (void)helios_changes_new(w->db, &options, &w->changes[s]);
}

static void feed(struct world *w)
{
    size_t s = slot(w);
    helios_change change = {0};
    helios_consumer_info *list = NULL;
    helios_seq first, last;
    size_t n;

    switch (byte(w) % 7) {
    case 0: new_changes(w, s); break;
    case 1:
        if (helios_changes_next(w->changes[s], 0, &change) == HELIOS_OK && byte(w) & 1)
            (void)helios_changes_ack(w->changes[s], change.lsn);
        break;
    case 2: (void)helios_changes_ack(w->changes[s], seq(w)); break;
    case 3: (void)helios_feed_trim(w->db, seq(w), NULL); break;
    case 4: (void)helios_consumer_drop(w->db, name(w)); break;
    case 5:
        (void)helios_feed_bounds(w->db, &first, &last);
        if (helios_consumer_list(w->db, &list, &n) == HELIOS_OK)
            helios_free(list);
        break;
    default: helios_changes_free(w->changes[s]); w->changes[s] = NULL;
    }
}

static void upkeep(struct world *w)
{
    helios_tag_info *tags = NULL;
    helios_pin_info *pins = NULL;
    helios_branch_id id;
    uint64_t number;
    size_t n;

    switch (byte(w) % 10) {
    case 0: (void)helios_flush(w->db); break;
    case 1: (void)helios_compact(w->db, key(w), key(w)); break;
    case 2: (void)helios_sync(w->db); break;
    case 3: (void)helios_tag_create(w->db, name(w), branch(w), seq(w)); break;
    case 4: (void)helios_tag_drop(w->db, name(w)); break;
    case 5: (void)helios_tag_get(w->db, name(w), &id, &(helios_seq){0}); break;
    case 6:
        if (helios_tag_list(w->db, &tags, &n) == HELIOS_OK)
            helios_free(tags);
        if (helios_pin_list(w->db, &pins, &n) == HELIOS_OK)
            helios_free(pins);
        break;
    case 7: (void)helios_set_history_retention(w->db, byte(w) & 1 ? 0 : HELIOS_FOREVER); break;
    case 8: (void)helios_stat(w->db, "memory.bytes", &number); break;
    default: reopen(w);
    }
}

/* Net changes of tables, in windows. */
static void read_deltas(struct world *w)
{
    helios_deltas_options options = HELIOS_DELTAS_OPTIONS_INIT;
    helios_deltas *deltas = NULL;
    helios_delta_window window;
    helios_delta delta;
    uint8_t b = byte(w);

    options.branch = branch(w);
    options.since = seq(w);
    options.memory = b & 1 ? 500 : 0;
    options.unsynced = true;
    if (b & 2)
        options.consumer = name(w);
    if (helios_deltas_new(w->db, &options, &deltas) == HELIOS_OK)
        for (int i = 0; i < 4 && helios_deltas_window(deltas, 0, &window) == HELIOS_OK; i++)
            while (helios_deltas_next(deltas, &delta))
                assert(delta.commit <= window.upto || window.upto == HELIOS_SEQ_NONE);
    (void)helios_deltas_status(deltas);
    (void)helios_deltas_upto(deltas);
    helios_deltas_free(deltas);
}

/* What a cursor gives is this database's own, so it is skipped, or refused. */
static void apply_own(struct world *w)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *changes = NULL;
    const helios_change *entries;
    helios_apply_result result;
    helios_seq before;
    size_t n;

    options.from = seq(w);
    options.for_apply = options.unsynced = true;
    if (helios_changes_new(w->db, &options, &changes) == HELIOS_OK &&
        helios_changes_next_commit(changes, 0, &entries, &n) == HELIOS_OK) {
        before = helios_latest(w->db);
        (void)helios_apply(w->db, NULL, entries, n - (n > 1 ? byte(w) & 1 : 0), &result);
        assert(helios_latest(w->db) == before);
    }
    helios_changes_free(changes);
}

static void deltas_and_rest(struct world *w)
{
    helios_diff_options diff = HELIOS_DIFF_OPTIONS_INIT;
    helios_diff_counts counts;
    helios_merge_info *merges = NULL;
    char *json = NULL;
    uint64_t bytes;
    size_t n;

    switch (byte(w) % 6) {
    case 0: read_deltas(w); break;
    case 1: apply_own(w); break;
    case 2:
        diff.lower = key(w);
        diff.keys_only = byte(w) & 1;
        (void)helios_diff_count(w->db, (helios_point){branch(w), seq(w)}, (helios_point){branch(w), seq(w)},
                                &diff, &counts);
        break;
    case 3:
        if (helios_branch_merges(w->db, branch(w), &merges, &n) == HELIOS_OK)
            helios_free(merges);
        break;
    case 4:
        if (helios_stats_json(w->db, &json) == HELIOS_OK)
            helios_free(json);
        (void)helios_approximate_size(w->db, branch(w), key(w), key(w), &bytes);
        break;
    default:
        (void)helios_applied(w->db, &w->buf);
        (void)helios_resume(w->db);
        (void)helios_checkpoint(w->db, "/copy"); /* one is there, or it is made */
    }
}

/* Each of them says that there is no database, and does nothing. */
static void call_without(void)
{
    const helios_slice k = {"k", 1};
    helios_buf buf = {0};
    helios_change change;

    assert(helios_put(NULL, NULL, k, k) == HELIOS_INVALID);
    assert(helios_delete(NULL, NULL, k) == HELIOS_INVALID);
    assert(helios_get(NULL, NULL, k, &buf) == HELIOS_INVALID);
    assert(helios_write(NULL, NULL, NULL, NULL) == HELIOS_INVALID);
    assert(helios_iter_new(NULL, NULL, NULL) == HELIOS_INVALID);
    assert(helios_changes_next(NULL, 0, &change) == HELIOS_INVALID);
    assert(helios_txn_commit(NULL, NULL) == HELIOS_INVALID);
    assert(helios_branch_drop(NULL, 1) == HELIOS_INVALID);
    assert(helios_flush(NULL) == HELIOS_INVALID);
    assert(helios_close(NULL) == HELIOS_OK);
}

static uint8_t any_byte(void *arg)
{
    return byte(arg);
}

static void misuse(struct world *w)
{
    const size_t s = slot(w);
    const struct misuse m = {.byte = any_byte,
                             .arg = w,
                             .db = w->db,
                             .batch = w->batch[s],
                             .iter = w->iter[s],
                             .txn = w->txn[s],
                             .history = w->history[s],
                             .commits = w->commits[s],
                             .diff = w->diff[s],
                             .changes = w->changes[s]};

    api_misuse(&m);
}

static void (*const calls[])(struct world *) = {
    write_something, write_something, write_something, read_something, iterate, iterate,
    transact,        transact,        use_branches,    walk_history,   feed,    upkeep,
    deltas_and_rest, misuse,          misuse,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world world = {.at = data, .end = data + size, .options = HELIOS_OPTIONS_INIT}, *w = &world;
    uint8_t b = byte(w);

    call_without();
    assert(io_memory_new(&w->fs) == HELIOS_OK);
    w->options.memtable_bytes = 64 << 10; /* flushes and large commits come early */
    w->options.block_cache_bytes = 1 << 20;
    w->options.history_retention = b & 1 ? HELIOS_FOREVER : 0;
    w->options.feed_retention = b & 2 ? HELIOS_FOREVER : 0;
    w->options.background_threads = 2;
    open_db(w);
    for (int i = 0; i < CALLS_MAX && w->at < w->end; i++)
        calls[byte(w) % (sizeof(calls) / sizeof(calls[0]))](w);
    reopen(w);
    close_db(w);
    for (size_t i = 0; i < SLOTS; i++)
        helios_batch_free(w->batch[i]);
    helios_buf_free(&w->buf);
    io_free(w->fs);
    return 0;
}
