/* fault_reads.c - calls that change nothing, while calls below them fail: what they give is right, or they say that they failed;
 * see fault_world.h. Each does nothing once something failed: what a failed commit has left is for the judge after the next
 * open. */
#include "tests/fault_world.h"
#include <inttypes.h>
#include <stdio.h>

/* True: it was done. */
static bool done(struct world *w, helios_status status)
{
    if (status == HELIOS_OK)
        return true;
    w->failed |= status != HELIOS_NOT_FOUND && status != HELIOS_TIMEOUT && status != HELIOS_HISTORY_GONE;
    return false;
}

static bool reading(const struct world *w)
{
    return w->db && !w->failed;
}

void world_read(struct world *w)
{
    struct check c = {.w = w, .may_fail = true};
    helios_iter *it = NULL;

    if (!reading(w))
        return;
    if (check_judge(&c, helios_iter_new(w->db, NULL, &it), "iterator"))
        check_all(&c, it);
    helios_iter_free(it);
    helios_buf_free(&c.value);
}

/* What is there now by the calls that were made, as nothing failed. */
static void expect_now(struct check *c)
{
    for (uint32_t i = 0; i < c->w->commit_count; i++)
        c->w->commits[i].present = c->w->commits[i].acknowledged;
    check_expect(c, c->w->commit_count);
}

static void expect_value(const struct check *c, unsigned key, helios_status status, helios_slice found)
{
    int op = c->by_op[key];
    helios_slice wanted;

    CHECK((status == HELIOS_OK) == (op >= 0), "key k%03u: %s", key, helios_status_name(status));
    if (op < 0)
        return;
    wanted = world_value((unsigned)c->by_commit[key], (unsigned)op, c->w->ops[op].size);
    CHECK(slice_equal(found, wanted), "key k%03u: a wrong value of %zu bytes", key, found.size);
}

void world_read_ends(struct world *w)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_iter *it = NULL;
    helios_seq first = 0, last = 0;

    options.keys_only = options.no_cache_fill = true;
    if (!reading(w) || !done(w, helios_iter_new(w->db, &options, &it)))
        return;
    helios_iter_first(it);
    first = helios_iter_seq(it);
    helios_iter_last(it);
    last = helios_iter_seq(it);
    if (done(w, helios_iter_status(it)) && first && last)
        CHECK(slice_bytes(helios_iter_key(it))[0] >= 'm', "the markers come last");
    helios_iter_free(it);
}

/* Many keys at once, at a snapshot of now. */
void world_read_points(struct world *w)
{
    enum { MANY = 24 };
    struct check c = {.w = w};
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    char names[MANY][16];
    helios_slice keys[MANY];
    helios_buf values[MANY] = {{0}};
    helios_status each[MANY];

    if (!reading(w) || !done(w, helios_snapshot_new(w->db, 0, (helios_snapshot **)&options.snapshot)))
        return;
    expect_now(&c);
    CHECK(helios_snapshot_seq(options.snapshot) == helios_latest(w->db), "a snapshot of another point");
    for (unsigned from = 0; from < WORLD_KEYS; from += MANY) {
        for (unsigned i = 0; i < MANY; i++)
            keys[i] = world_key(from + i, names[i]);
        if (!done(w, helios_multi_get(w->db, &options, MANY, keys, values, each)))
            break;
        for (unsigned i = 0; i < MANY; i++)
            if (each[i] == HELIOS_OK || each[i] == HELIOS_NOT_FOUND)
                expect_value(&c, from + i, each[i], buf_slice(&values[i]));
            else
                (void)done(w, each[i]);
    }
    for (unsigned i = 0; i < MANY; i++)
        helios_buf_free(&values[i]);
    helios_snapshot_free(w->db, (helios_snapshot *)(uintptr_t)options.snapshot);
}

/* The newest version of each key is what is seen, older ones have older numbers. */
void world_read_history(struct world *w)
{
    struct check c = {.w = w};

    if (!reading(w))
        return;
    expect_now(&c);
    for (unsigned key = 0; key < WORLD_KEYS && !w->failed; key += 5) {
        helios_history *history = NULL;
        helios_version version;
        helios_seq last = UINT64_MAX;
        char name[16];

        if (!done(w, helios_history_new(w->db, NULL, world_key(key, name), &history)))
            break;
        while (helios_history_next(history, &version)) {
            CHECK(version.seq < last, "versions of k%03u out of order", key);
            if (last == UINT64_MAX)
                expect_value(&c, key, version.deleted ? HELIOS_NOT_FOUND : HELIOS_OK, version.value);
            last = version.seq;
        }
        if (done(w, helios_history_status(history)) && last == UINT64_MAX)
            CHECK(c.by_op[key] < 0, "k%03u is there and has no versions", key);
        helios_history_free(history);
    }
}

/* From the beginning of what is kept to now, with values and as counts. */
void world_read_diff(struct world *w)
{
    helios_diff_options options = HELIOS_DIFF_OPTIONS_INIT;
    helios_point from = {0, 0}, to = {0, 0};
    helios_diff_counts counts = {0};
    helios_diff *diff = NULL;
    helios_difference difference;
    uint64_t found = 0;

    if (!reading(w))
        return;
    from.at = helios_horizon(w->db) ? helios_horizon(w->db) : HELIOS_SEQ_NONE;
    if (done(w, helios_diff_new(w->db, from, to, &diff))) {
        while (helios_diff_next(diff, &difference))
            found++;
        (void)done(w, helios_diff_status(diff));
        helios_diff_free(diff);
    }
    diff = NULL;
    options.keys_only = true;
    if (reading(w) && done(w, helios_diff_new_with(w->db, from, to, &options, &diff)))
        while (helios_diff_next(diff, &difference))
            CHECK(difference.in_from || difference.in_to, "a difference of nothing");
    helios_diff_free(diff);
    if (reading(w) && done(w, helios_diff_count(w->db, from, to, NULL, &counts)) && reading(w))
        CHECK(counts.added + counts.removed + counts.changed == found,
              "%" PRIu64 " differences, counted %" PRIu64, found,
              counts.added + counts.removed + counts.changed);
}

void world_read_commits(struct world *w)
{
    helios_commits *walk = NULL;
    helios_commit_info info;
    helios_seq seq, last = UINT64_MAX;
    uint64_t time;

    if (!reading(w) || !done(w, helios_commits_new(w->db, NULL, &walk)))
        return;
    for (; helios_commits_next(walk, &info); last = info.seq) {
        CHECK(info.seq < last, "commits out of order");
        if (done(w, helios_time_of_seq(w->db, info.seq, &time)))
            CHECK(time == info.time, "two times of commit %" PRIu64, info.seq);
        if (done(w, helios_seq_at_time(w->db, info.time, &seq)))
            CHECK(seq >= info.seq, "commit %" PRIu64 " comes after its time", info.seq);
        (void)helios_commit_state(w->db, info.seq);
    }
    (void)done(w, helios_commits_status(walk));
    helios_commits_free(walk);
}

void world_read_upkeep(struct world *w)
{
    helios_pin_info *pins = NULL;
    helios_tag_info *tags = NULL;
    helios_branch_id branch;
    helios_seq at;
    uint64_t number;
    size_t count;
    char *json = NULL;

    if (!reading(w))
        return;
    if (done(w, helios_stats_json(w->db, &json)))
        CHECK(json[0] == '{', "statistics that are no object");
    helios_free(json);
    (void)done(w, helios_stat(w->db, "disk.bytes", &number));
    (void)done(w, helios_stat(w->db, "branches.dropped.bytes", &number));
    (void)done(w, helios_approximate_size(w->db, 0, (helios_slice){0}, (helios_slice){0}, &number));
    if (done(w, helios_pin_list(w->db, &pins, &count)))
        helios_free(pins);
    if (done(w, helios_tag_list(w->db, &tags, &count))) {
        if (count && done(w, helios_tag_get(w->db, tags[0].name, &branch, &at)))
            CHECK(at == tags[0].at, "a tag of two points");
        helios_free(tags);
    }
    (void)helios_node_id(w->db, (uint8_t[16]){0});
}

/* A transaction that only reads, and one that reads what it wrote. */
void world_read_txn(struct world *w)
{
    helios_txn_options options = HELIOS_TXN_OPTIONS_INIT;
    struct check c = {.w = w, .may_fail = true};
    helios_txn *txn = NULL;
    helios_iter *it = NULL;
    char key[16];

    if (!reading(w))
        return;
    expect_now(&c);
    options.read_only = true;
    if (done(w, helios_txn_begin(w->db, &options, &txn)) && done(w, helios_txn_iter(txn, NULL, &it)))
        (void)check_scan(&c, it);
    helios_iter_free(it);
    helios_txn_free(txn);
    txn = NULL;
    it = NULL;
    options.read_only = false;
    options.isolation = HELIOS_ISOLATION_SERIALIZABLE;
    if (!reading(w) || !done(w, helios_txn_begin(w->db, &options, &txn)))
        return;
    if (done(w, helios_txn_savepoint(txn)) &&
        done(w, helios_txn_delete_range(txn, world_key(0, key), slice_make("l", 1))) &&
        done(w, helios_txn_put(txn, world_key(1, key), slice_make("own", 3))) &&
        done(w, helios_txn_delete(txn, world_key(1, key))) && done(w, helios_txn_iter(txn, NULL, &it))) {
        helios_iter_seek(it, slice_make("k", 1));
        if (done(w, helios_iter_status(it)))
            CHECK(!helios_iter_valid(it) || slice_bytes(helios_iter_key(it))[0] != 'k',
                  "a transaction sees what it deleted");
        if (done(w, helios_txn_rollback_to_savepoint(txn)))
            (void)check_scan(&c, it);
    }
    helios_iter_free(it);
    (void)done(w, helios_txn_rollback(txn));
    helios_txn_free(txn);
}

void world_read_branches(struct world *w)
{
    helios_branch_info *list = NULL, *one;
    helios_merge_info *merges;
    helios_branch_usage usage;
    helios_buf metadata = {0};
    helios_branch_id id;
    size_t count = 0, merge_count;

    if (!reading(w) || !done(w, helios_branch_list(w->db, &list, &count)))
        return;
    for (size_t i = 0; i < count && !w->failed; i++) {
        one = NULL;
        merges = NULL;
        if (done(w, helios_branch_find(w->db, list[i].name, &id)))
            CHECK(id == list[i].id, "%s is another branch", list[i].name);
        if (done(w, helios_branch_get(w->db, list[i].id, &one)))
            CHECK(one->fork_seq == list[i].fork_seq, "%s has two forks", list[i].name);
        (void)done(w, helios_branch_usage_get(w->db, list[i].id, &usage));
        if (list[i].id)
            (void)done(w, helios_branch_metadata(w->db, list[i].id, &metadata));
        (void)done(w, helios_branch_merges(w->db, list[i].id, &merges, &merge_count));
        helios_free(one);
        helios_free(merges);
    }
    helios_free(list);
    list = NULL;
    if (reading(w) && done(w, helios_branch_list_at(w->db, 0, &list, &merge_count)))
        CHECK(merge_count == count, "%zu branches, %zu of now", count, merge_count);
    helios_free(list);
    helios_buf_free(&metadata);
}

/* Cursors of every kind, one by one and by commits; each ends where the feed does. */
void world_read_changes(struct world *w)
{
    helios_seq oldest = 0, newest = 0;

    if (!reading(w) || !done(w, helios_feed_bounds(w->db, &oldest, &newest)))
        return;
    for (unsigned kind = 0; kind < 6 && !w->failed; kind++) {
        helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
        helios_changes *changes = NULL;
        const helios_change *all;
        helios_change change;
        helios_status status = HELIOS_OK;
        helios_seq last = 0;
        size_t n;
        int fd;

        options.unsynced = true;
        options.before_images = kind == 1;
        options.expand_ranges = kind == 2;
        options.all_spaces = kind == 3;
        options.for_apply = kind == 4;
        if (kind == 5)
            options.prefix = slice_make("k0", 2);
        if (!done(w, helios_changes_new(w->db, &options, &changes)))
            continue;
        if (kind == 0)
            (void)done(w, helios_changes_fd(changes, &fd));
        while (status == HELIOS_OK && kind != 4)
            if ((status = helios_changes_next(changes, 0, &change)) == HELIOS_OK) {
                CHECK(change.lsn > last || (kind == 2 && change.lsn == last), "the feed goes back");
                last = change.lsn;
            }
        while (status == HELIOS_OK)
            status = helios_changes_next_commit(changes, 0, &all, &n);
        (void)done(w, status);
        helios_changes_free(changes);
    }
}

/* Net changes since the beginning make what is there now. */
void world_read_deltas(struct world *w)
{
    static const helios_delta_table table = {.prefix = {"k", 1}};
    helios_deltas_options options = HELIOS_DELTAS_OPTIONS_INIT;
    struct check c = {.w = w};
    helios_deltas *deltas = NULL;
    helios_delta_window window = {0};
    helios_delta delta;
    uint64_t count;
    unsigned key;

    if (!reading(w))
        return;
    expect_now(&c);
    options.tables = &table;
    options.table_count = 1;
    options.unsynced = true;
    if (!done(w, helios_deltas_new(w->db, &options, &deltas)))
        return;
    while (done(w, helios_deltas_window(deltas, 0, &window)) && !window.refresh) {
        (void)done(w, helios_deltas_count(deltas, 0, &count));
        while (helios_deltas_next(deltas, &delta)) {
            key = (unsigned)(slice_bytes(delta.key)[1] - '0') * 100 +
                  (unsigned)(slice_bytes(delta.key)[2] - '0') * 10 +
                  (unsigned)(slice_bytes(delta.key)[3] - '0');
            if (window.upto == helios_latest(w->db) && delta.kind == HELIOS_DELTA_INSERT)
                expect_value(&c, key, HELIOS_OK, delta.after);
        }
        (void)done(w, helios_deltas_status(deltas));
        CHECK(helios_deltas_upto(deltas) >= window.upto, "a window that ends behind all");
    }
    helios_deltas_free(deltas);
}

void world_verify(struct world *w)
{
    if (reading(w))
        (void)done(w, helios_verify(w->db, NULL, NULL));
}
