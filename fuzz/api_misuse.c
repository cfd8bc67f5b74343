/* api_misuse.c - wrong calls of the public API: see api_misuse.h. Called by fuzz_api.c. */
#undef NDEBUG
#include "fuzz/api_misuse.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* One call in the making. */
struct attempt {
    const struct misuse *m;
    uint8_t holes;  /* bits: which of the next arguments are left out */
    bool forbidden; /* one that must be given was not */
};

static void *given(struct attempt *a, const void *argument, bool needed)
{
    bool hole = a->holes & 1;

    a->holes >>= 1;
    a->forbidden |= needed && (hole || !argument);
    return hole ? NULL : (void *)(uintptr_t)argument;
}
/* An argument that must be there, and one that need not. */
#define NEED(argument) given(&a, (argument), true)
#define MAY(argument)  given(&a, (argument), false)

static const helios_slice key = {"kab", 3}, upper = {"kzz", 3};

static helios_slice slice_or_none(struct attempt *a, helios_slice slice)
{
    return given(a, slice.data, true) ? slice : (helios_slice){0};
}
#define SLICE(slice) slice_or_none(&a, slice)

static helios_status nothing_in_it(void *arg, helios_txn *txn)
{
    (void)arg;
    (void)txn;
    return HELIOS_OK;
}

/* ---- by what they are about; HELIOS_OK for a call without a status ---- */

static helios_status misuse_writes(struct attempt a, uint8_t which, bool *forbidden)
{
    const helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    helios_db *db = a.m->db;
    helios_seq commit;
    helios_status status = HELIOS_OK;

    switch (which % 9) {
    case 0: status = helios_put(NEED(db), MAY(&options), SLICE(key), SLICE(key)); break;
    case 1: status = helios_delete(NEED(db), MAY(&options), SLICE(key)); break;
    case 2: status = helios_delete_range(NEED(db), MAY(&options), SLICE(key), SLICE(upper)); break;
    case 3: status = helios_write(NEED(db), MAY(&options), NEED(a.m->batch), MAY(&commit)); break;
    case 4: status = helios_sync(NEED(db)); break;
    case 5: status = helios_flush(NEED(db)); break;
    case 6: status = helios_resume(NEED(db)); break;
    case 7: status = helios_wait_durable(NEED(db), 0, 0); break;
    default: status = helios_set_history_retention(NEED(db), HELIOS_FOREVER);
    }
    *forbidden = a.forbidden;
    return status;
}

static helios_status misuse_reads(struct attempt a, uint8_t which, bool *forbidden)
{
    const helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_db *db = a.m->db;
    helios_buf value = {0};
    helios_iter *iter = NULL;
    helios_history *history = NULL;
    helios_snapshot *snapshot = NULL;
    helios_commits *commits = NULL;
    helios_status status = HELIOS_OK, each;
    helios_seq seq;
    uint64_t number;

    switch (which % 9) {
    case 0: status = helios_get(NEED(db), MAY(&options), SLICE(key), NEED(&value)); break;
    case 1: status = helios_multi_get(NEED(db), MAY(&options), 1, NEED(&key), NEED(&value), NEED(&each)); break;
    case 2: status = helios_iter_new(NEED(db), MAY(&options), NEED(&iter)); break;
    case 3: status = helios_history_new(NEED(db), MAY(&options), SLICE(key), NEED(&history)); break;
    case 4: status = helios_snapshot_new(NEED(db), 0, NEED(&snapshot)); break;
    case 5: status = helios_commits_new(NEED(db), NULL, NEED(&commits)); break;
    case 6: status = helios_seq_at_time(NEED(db), 1, NEED(&seq)); break;
    case 7: status = helios_time_of_seq(NEED(db), 0, NEED(&number)); break;
    default: status = helios_approximate_size(NEED(db), 0, key, upper, NEED(&number));
    }
    helios_buf_free(&value);
    helios_iter_free(iter);
    helios_history_free(history);
    helios_snapshot_free(NULL, snapshot);
    helios_commits_free(commits);
    *forbidden = a.forbidden;
    return status;
}

static helios_status misuse_txn(struct attempt a, uint8_t which, bool *forbidden)
{
    helios_txn *txn = a.m->txn, *fresh = NULL;
    helios_buf value = {0};
    helios_iter *iter = NULL;
    helios_status status = HELIOS_OK;

    switch (which % 8) {
    case 0: status = helios_txn_begin(NEED(a.m->db), NULL, NEED(&fresh)); break;
    case 1: status = helios_txn_get(NEED(txn), SLICE(key), NEED(&value)); break;
    case 2: status = helios_txn_put(NEED(txn), SLICE(key), SLICE(key)); break;
    case 3: status = helios_txn_delete(NEED(txn), SLICE(key)); break;
    case 4: status = helios_txn_delete_range(NEED(txn), SLICE(key), SLICE(upper)); break;
    case 5: status = helios_txn_iter(NEED(txn), NULL, NEED(&iter)); break;
    case 6: status = helios_txn_savepoint(NEED(txn)); break;
    default:
        status = helios_txn_run(NEED(a.m->db), NULL,
                                given(&a, (void *)(uintptr_t)nothing_in_it, true) ? nothing_in_it : NULL, NULL,
                                NULL);
    }
    helios_buf_free(&value);
    helios_iter_free(iter);
    helios_txn_free(fresh);
    *forbidden = a.forbidden;
    return status;
}

static helios_status misuse_branches(struct attempt a, uint8_t which, bool *forbidden)
{
    const helios_point point = {0, 0};
    helios_db *db = a.m->db;
    helios_branch_id id;
    helios_branch_info *info = NULL;
    helios_merge_info *merges = NULL;
    helios_branch_usage usage;
    helios_diff *diff = NULL;
    helios_diff_counts counts;
    helios_buf value = {0};
    helios_status status = HELIOS_OK;
    size_t n;

    switch (which % 13) {
    case 0: status = helios_branch_create(NEED(db), NEED("one"), 0, 0, NEED(&id)); break;
    case 1: status = helios_branch_find(NEED(db), NEED("one"), NEED(&id)); break;
    case 2: status = helios_branch_get(NEED(db), 0, NEED(&info)); break;
    case 3: status = helios_branch_list(NEED(db), NEED(&info), NEED(&n)); break;
    case 4: status = helios_branch_list_at(NEED(db), 0, NEED(&info), NEED(&n)); break;
    case 5: status = helios_branch_rename(NEED(db), 1, NEED("two")); break;
    case 6: status = helios_branch_set_metadata(NEED(db), 1, (helios_slice){0}); break; /* none: empty */
    case 7: status = helios_branch_metadata(NEED(db), 0, NEED(&value)); break;
    case 8: status = helios_branch_usage_get(NEED(db), 0, NEED(&usage)); break;
    case 9: status = helios_branch_merges(NEED(db), 0, NEED(&merges), NEED(&n)); break;
    case 10: status = helios_diff_new(NEED(db), point, point, NEED(&diff)); break;
    case 11: status = helios_diff_count(NEED(db), point, point, NULL, NEED(&counts)); break;
    default: status = helios_branch_merge(NEED(db), 1, 0, NULL, NULL);
    }
    helios_free(info);
    helios_free(merges);
    helios_diff_free(diff);
    helios_buf_free(&value);
    *forbidden = a.forbidden;
    return status;
}

static helios_status misuse_feed(struct attempt a, uint8_t which, bool *forbidden)
{
    helios_db *db = a.m->db;
    helios_changes *changes = NULL;
    helios_deltas *deltas = NULL;
    helios_change change;
    const helios_change *all;
    helios_consumer_info *list = NULL;
    helios_delta_window window;
    helios_seq oldest, newest;
    helios_status status = HELIOS_OK;
    size_t n;
    int fd;

    switch (which % 11) {
    case 0: status = helios_changes_new(NEED(db), NULL, NEED(&changes)); break;
    case 1: status = helios_changes_next(NEED(a.m->changes), 0, NEED(&change)); break;
    case 2: status = helios_changes_next_commit(NEED(a.m->changes), 0, NEED(&all), NEED(&n)); break;
    case 3: status = helios_changes_fd(NEED(a.m->changes), NEED(&fd)); break;
    case 4: status = helios_changes_ack(NEED(a.m->changes), 1); break;
    case 5: status = helios_consumer_list(NEED(db), NEED(&list), NEED(&n)); break;
    case 6: status = helios_consumer_drop(NEED(db), NEED("none of that name")); break;
    case 7: status = helios_feed_trim(NEED(db), 1, NULL); break;
    case 8: status = helios_feed_bounds(NEED(db), NEED(&oldest), NEED(&newest)); break;
    case 9: status = helios_deltas_new(NEED(db), NULL, NEED(&deltas)); break;
    default: a.forbidden = true; status = helios_deltas_window(NULL, 0, &window);
    }
    helios_changes_free(changes);
    helios_deltas_free(deltas);
    helios_free(list);
    *forbidden = a.forbidden;
    return status;
}

static helios_status misuse_rest(struct attempt a, uint8_t which, bool *forbidden)
{
    helios_db *db = a.m->db;
    helios_tag_info *tags = NULL;
    helios_pin_info *pins = NULL;
    helios_branch_id id;
    helios_buf clock = {0};
    helios_clock_order order;
    helios_status status = HELIOS_OK;
    helios_seq seq;
    uint64_t number;
    size_t n;
    char *text = NULL;

    switch (which % 13) {
    case 0: status = helios_tag_create(NEED(db), NEED("one"), 0, 0); break;
    case 1: status = helios_tag_get(NEED(db), NEED("one"), NEED(&id), NEED(&seq)); break;
    case 2: status = helios_tag_drop(NEED(db), NEED("one")); break;
    case 3: status = helios_tag_list(NEED(db), NEED(&tags), NEED(&n)); break;
    case 4: status = helios_pin_list(NEED(db), NEED(&pins), NEED(&n)); break;
    case 5: status = helios_stat(NEED(db), NEED("latest"), NEED(&number)); break;
    case 6: status = helios_stats_json(NEED(db), NEED(&text)); break;
    case 7: status = helios_verify(NEED(db), NULL, NULL); break;
    case 8: status = helios_applied(NEED(db), NEED(&clock)); break;
    case 9: status = helios_clock_compare((helios_slice){0}, (helios_slice){0}, NEED(&order)); break;
    case 10: status = helios_clock_merge((helios_slice){0}, (helios_slice){0}, NEED(&clock)); break;
    case 11: status = helios_buf_set(NEED(&clock), SLICE(key)); break;
    default: status = helios_compact_range(NEED(db), NULL);
    }
    helios_free(tags);
    helios_free(pins);
    helios_free(text);
    helios_buf_free(&clock);
    *forbidden = a.forbidden;
    return status;
}

/* Nothing comes of them, whatever is NULL. */
static void misuse_handles(const struct misuse *m, uint8_t which)
{
    helios_commit_info commit;
    helios_version version;
    helios_difference difference;
    helios_delta delta;

    switch (which % 9) {
    case 0:
        assert(!helios_iter_valid(NULL) && !helios_iter_key(NULL).data && !helios_iter_value(NULL).data);
        break;
    case 1: assert(helios_iter_status(NULL) != HELIOS_OK && helios_iter_seq(NULL) == 0); break;
    case 2: assert(!helios_history_next(NULL, &version) && !helios_history_next(m->history, NULL)); break;
    case 3: assert(!helios_commits_next(NULL, &commit) && !helios_commits_next(m->commits, NULL)); break;
    case 4: assert(!helios_diff_next(NULL, &difference) && !helios_diff_next(m->diff, NULL)); break;
    case 5: assert(!helios_deltas_next(NULL, &delta) && helios_deltas_upto(NULL) == 0); break;
    case 6: assert(helios_latest(NULL) == 0 && helios_horizon(NULL) == 0); break;
    case 7:
        helios_iter_first(NULL);
        helios_iter_seek(m->iter, (helios_slice){0});
        helios_batch_put(NULL, key, key);
        helios_batch_clear(NULL);
        break;
    default:
        helios_iter_free(NULL);
        helios_batch_free(NULL);
        helios_txn_free(NULL);
        helios_free(NULL);
        helios_buf_free(NULL);
    }
}

/* An option struct of any size, with bytes behind what is known that are set or not. */
static void misuse_options(const struct misuse *m)
{
    union {
        size_t size;
        helios_read_options read;
        unsigned char bytes[sizeof(helios_read_options) + 32];
    } options = {.read = HELIOS_READ_OPTIONS_INIT};
    size_t size = m->byte(m->arg) % (sizeof(options) + 1), at = m->byte(m->arg) % 32;
    bool unknown = size > sizeof(options.read) + at;
    helios_iter *iter = NULL;
    helios_status status;

    options.size = size;
    options.bytes[sizeof(options.read) + at] = 1;
    status = helios_iter_new(m->db, &options.read, &iter);
    if (size < sizeof(size_t))
        assert(status == HELIOS_INVALID);
    else
        assert((status == HELIOS_UNSUPPORTED) == unknown);
    helios_iter_free(iter);
}

void api_misuse(const struct misuse *m)
{
    static helios_status (*const groups[])(struct attempt, uint8_t, bool *) = {
        misuse_writes, misuse_reads, misuse_txn, misuse_branches, misuse_feed, misuse_rest};
    uint8_t group = m->byte(m->arg) % 8, which = m->byte(m->arg);
    struct attempt attempt = {.m = m, .holes = m->byte(m->arg)};
    bool forbidden = false;
    helios_status status;

    if (group == 6) {
        misuse_handles(m, which);
    } else if (group == 7) {
        misuse_options(m);
    } else {
        status = groups[group](attempt, which, &forbidden);
        assert(!forbidden || status != HELIOS_OK); /* INVALID, or what was looked at before */
    }
}
