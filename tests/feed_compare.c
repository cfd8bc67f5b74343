/* feed_compare.c - compares what a replay of the feed made with what the database says otherwise: scans, reads, lists, and
 * the feed itself through filters; see feed_replay.h. */
#undef NDEBUG
#include "base/coding.h"
#include "tests/feed_judge.h"
#include <inttypes.h>
#include <stdio.h>

enum { WINDOW = 1200 };

static uint64_t below(struct feed_replay *r, uint64_t limit)
{
    return random_below(&r->rng, limit);
}

/* ---- what may be gone ---- */

static bool is_dropped(helios_db *db, helios_branch_id id)
{
    helios_branch_info *info;
    bool dropped = true;

    if (helios_branch_get(db, id, &info) == HELIOS_OK) {
        dropped = info->state == HELIOS_BRANCH_DROPPED;
        helios_free(info);
    }
    return dropped;
}

bool judge_any_dropped(const struct feed_replay *r, helios_db *db)
{
    for (helios_branch_id id = 1; id < r->states.branch_count; id++)
        if (is_dropped(db, id))
            return true;
    return false;
}

/* A read that was refused: the branch goes or has gone, or the history has. */
static void check_refused(struct feed_replay *r, helios_db *db, helios_status status, helios_branch_id branch,
                          helios_seq at)
{
    if (status == HELIOS_NOT_FOUND)
        JUDGE(r, is_dropped(db, branch), "branch %u is not there", branch);
    else if (status != HELIOS_BUSY || !r->options.others_write)
        JUDGE(r, status == HELIOS_HISTORY_GONE && at < helios_horizon(db),
              "reading branch %u at %" PRIu64 ": %s", branch, at, helios_status_name(status));
}

/* ---- states ---- */

static void tell_difference(struct feed_replay *r, helios_branch_id branch, helios_seq at,
                            const struct feed_key *key, helios_slice found)
{
    helios_slice wanted = key ? feed_key_slice(key) : slice_text("(the end)");

    judge_failed(r, __LINE__, __FILE__,
                 "branch %u at %" PRIu64 ": the replay has key %.*s, a scan %.*s, or another value of it",
                 branch, at, (int)(wanted.size < 60 ? wanted.size : 60), (const char *)wanted.data,
                 (int)(found.size < 60 ? found.size : 60), found.data ? (const char *)found.data : "(the end)");
}

static void compare_state(struct feed_replay *r, helios_db *db, helios_branch_id branch, helios_seq at)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    const struct feed_branch *b = states_branch(&r->states, branch);
    const struct feed_key *key;
    struct feed_value value;
    helios_iter *it;
    helios_status status;
    size_t cell = 0;

    if (at < b->since)
        return;
    options.branch = branch;
    options.at = judge_point(at);
    status = helios_iter_new(db, &options, &it);
    if (status != HELIOS_OK) {
        check_refused(r, db, status, branch, at);
        return;
    }
    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it)) {
        key = states_next(&r->states, branch, 0, at, &cell, &value);
        if (!key || !slice_equal(helios_iter_key(it), feed_key_slice(key)) ||
            !feed_value_is(value, true, helios_iter_value(it)))
            tell_difference(r, branch, at, key, helios_iter_key(it));
    }
    JUDGE_MUST(r, helios_iter_status(it));
    helios_iter_free(it);
    key = states_next(&r->states, branch, 0, at, &cell, &value);
    if (key)
        tell_difference(r, branch, at, key, (helios_slice){0});
    r->counts.scans++;
}

void judge_commit(struct feed_replay *r, helios_db *db, const helios_change *last)
{
    helios_branch_id other = (helios_branch_id)below(r, r->states.branch_count);

    compare_state(r, db, last->branch, last->commit);
    if (other != last->branch && states_branch(&r->states, other) && !states_branch(&r->states, other)->dropped)
        compare_state(r, db, other, last->commit);
}

void judge_read_before(struct feed_replay *r, helios_db *db, const struct feed_record *entry)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_buf value = {0};
    helios_status status;

    if (entry->space != 0 || states_written(&r->states, entry->branch, entry->key) == entry->commit)
        return;
    options.branch = entry->branch;
    options.at = judge_point(entry->lsn - 1);
    status = helios_get(db, &options, feed_key_slice(entry->key), &value);
    if (status == HELIOS_HISTORY_GONE || (status == HELIOS_NOT_FOUND && entry->before.there))
        check_refused(r, db, status, entry->branch, entry->lsn - 1);
    else
        JUDGE(r, feed_value_is(entry->before, status == HELIOS_OK, slice_make(value.data, value.size)),
              "a read before entry %" PRIu64 " finds another value", entry->lsn);
    helios_buf_free(&value);
    r->counts.reads++;
}

/* ---- lists ---- */

static void compare_branches(struct feed_replay *r, helios_db *db)
{
    helios_branch_info *list;
    size_t count, live = 0;

    JUDGE_MUST(r, helios_branch_list(db, &list, &count));
    for (helios_branch_id id = 0; id < r->states.branch_count; id++) {
        const struct feed_branch *b = states_branch(&r->states, id);

        live += b && !b->dropped;
    }
    JUDGE(r, count == live, "%zu branches live, by the feed %zu", count, live);
    for (size_t i = 0; i < count; i++) {
        const struct feed_branch *b = states_branch(&r->states, list[i].id);

        JUDGE(r, b && !b->dropped, "the feed does not know branch %u", list[i].id);
        JUDGE(r,
              list[i].id == 0 || (b->parent == list[i].parent && b->fork == judge_plain(list[i].fork_seq) &&
                                  b->created == list[i].created_seq),
              "branch %u was made otherwise", list[i].id);
    }
    helios_free(list);
}

/* The entry of the system space under this letter and name; there: false. */
static struct feed_value system_value(struct feed_replay *r, char letter, const char *name)
{
    char key[300];
    int size = snprintf(key, sizeof(key), "%c%s", letter, name);

    return states_now(&r->states, 0, states_key(&r->states, STATES_SYSTEM, slice_make(key, (size_t)size)));
}

static size_t count_system(struct feed_replay *r, char letter)
{
    const struct feed_key *key;
    struct feed_value value;
    size_t at = 0, count = 0;

    while ((key = states_next(&r->states, 0, STATES_SYSTEM, UINT64_MAX, &at, &value)))
        count += key->size && key->bytes[0] == letter;
    return count;
}

static void compare_tags(struct feed_replay *r, helios_db *db)
{
    helios_tag_info *list;
    size_t count;

    JUDGE_MUST(r, helios_tag_list(db, &list, &count));
    JUDGE(r, count == count_system(r, 'T'), "%zu tags, by the feed %zu", count, count_system(r, 'T'));
    for (size_t i = 0; i < count; i++) {
        struct feed_value value = system_value(r, 'T', list[i].name);
        struct reader reader = reader_make(value.bytes, value.size);

        JUDGE(r,
              value.there && read_u8(&reader) == 1 && read_u32(&reader) == list[i].branch &&
                  read_u64(&reader) == judge_plain(list[i].at),
              "tag %s is another one in the feed", list[i].name);
    }
    helios_free(list);
}

static void compare_consumers(struct feed_replay *r, helios_db *db)
{
    helios_consumer_info *list;
    size_t count;

    JUDGE_MUST(r, helios_consumer_list(db, &list, &count));
    for (size_t i = 0; i < count; i++) {
        struct feed_value value = system_value(r, 'c', list[i].name);
        struct reader reader = reader_make(value.bytes, value.size);

        JUDGE(r, value.there && read_u8(&reader) == 1 && read_u64(&reader) == list[i].acked,
              "consumer %s stands at %" PRIu64 ", not so in the feed", list[i].name, list[i].acked);
    }
    JUDGE(r, count == count_system(r, 'C'), "%zu consumers, by the feed %zu", count, count_system(r, 'C'));
    helios_free(list);
}

/* ---- the end ---- */

/* Whether an entry of the feed may be the first there is: the first of a commit. */
static bool begins_commit(const struct feed_replay *r, helios_seq lsn)
{
    size_t low = 0, high = r->commit_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (r->commits[middle].first < lsn)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 && r->adopted) /* before all that is known */
        return true;
    return low == r->commit_count ? lsn >= r->next : r->commits[low].first == lsn;
}

static void check_bounds(struct feed_replay *r, helios_db *db, helios_seq latest)
{
    helios_seq oldest, newest;

    JUDGE_MUST(r, helios_feed_bounds(db, &oldest, &newest));
    /* What the judge's own consumer writes comes behind what it has looked at. */
    JUDGE(r, oldest <= newest && (r->options.others_write || r->options.consumer || newest <= latest),
          "bounds %" PRIu64 " to %" PRIu64, oldest, newest);
    JUDGE(r, !newest || begins_commit(r, oldest), "the feed begins at %" PRIu64 ", where no commit does",
          oldest);
}

void judge_end(struct feed_replay *r, helios_db *db, helios_seq latest)
{
    unsigned live = 0;

    for (helios_branch_id id = 0; id < r->states.branch_count; id++)
        live += states_branch(&r->states, id) && !states_branch(&r->states, id)->dropped;
    for (helios_branch_id id = 0; id < r->states.branch_count; id++) {
        const struct feed_branch *b = states_branch(&r->states, id);

        if (b && !b->dropped && (id == 0 || below(r, live) < r->options.scans))
            compare_state(r, db, id, latest);
    }
    check_bounds(r, db, latest);
    if (r->options.others_write)
        return;
    compare_branches(r, db);
    if (r->adopted)
        return;
    compare_tags(r, db);
    compare_consumers(r, db);
}

/* The commits that are listed are those of the feed, with the same times, and no entry more than operations. */
void judge_commits(struct feed_replay *r, helios_db *db, size_t from, helios_seq latest)
{
    helios_commits_options options = HELIOS_COMMITS_OPTIONS_INIT;
    helios_commits *walk;
    helios_commit_info info;
    helios_seq horizon;

    if (from >= r->commit_count)
        return;
    options.oldest_first = true;
    options.from = r->commits[from].seq;
    options.to = latest;
    JUDGE_MUST(r, helios_commits_new(db, &options, &walk));
    horizon = helios_horizon(db); /* which stands still now */
    while (from < r->commit_count && r->commits[from].seq < horizon)
        from++;
    for (; helios_commits_next(walk, &info); from++) {
        const struct feed_commit *c = &r->commits[from];

        while (from < r->commit_count && r->commits[from].seq < info.seq && info.seq <= horizon)
            c = &r->commits[++from];
        JUDGE(r, from < r->commit_count && c->seq == info.seq, "commit %" PRIu64 " is not in the feed",
              info.seq);
        JUDGE(r, c->time == info.time, "commit %" PRIu64 " of another time", info.seq);
        JUDGE(r, c->entries <= info.operations && c->first > info.seq - info.operations,
              "commit %" PRIu64 " has %" PRIu64 " entries of %" PRIu64 " operations", info.seq, c->entries,
              info.operations);
    }
    JUDGE_MUST(r, helios_commits_status(walk));
    JUDGE(r, from == r->commit_count, "commit %" PRIu64 " is not listed", r->commits[from].seq);
    helios_commits_free(walk);
}

/* ---- filters ---- */

struct filter {
    helios_changes_options options;
    helios_branch_id branch;
    uint8_t node[16];
    bool foreign;       /* the node, which made nothing */
    size_t first, last; /* of the records */
    helios_seq from, to;
    uint64_t from_time, to_time;
};

static bool passes(const struct filter *f, const struct feed_record *e)
{
    const helios_changes_options *o = &f->options;
    helios_slice key = feed_key_slice(e->key);

    if (e->lsn < f->from || e->lsn > f->to || e->time < f->from_time || e->time > f->to_time)
        return false;
    if (e->space != 0 && !o->all_spaces)
        return false;
    if ((o->branch && e->branch != f->branch) || (o->origin && f->foreign))
        return false;
    if (o->kinds && !(o->kinds & (1u << e->kind)))
        return false;
    if (o->expand_ranges ? e->kind == HELIOS_CHANGE_DELETE_RANGE : e->expansion)
        return false;
    if (!o->prefix.data || !e->end)
        return !o->prefix.data || slice_starts_with(key, o->prefix);
    return (slice_compare(key, o->prefix) <= 0 || slice_starts_with(key, o->prefix)) &&
           slice_compare(feed_key_slice(e->end), o->prefix) > 0;
}

static bool same_entry(const struct filter *f, const struct feed_record *e, const helios_change *change)
{
    bool image = f->options.before_images && e->kind != HELIOS_CHANGE_DELETE_RANGE && e->before.there;

    if (change->has_before != image || (image && !feed_value_is(e->before, true, change->before)))
        return false;
    if (e->kind == HELIOS_CHANGE_PUT && !feed_value_is(e->value, true, change->value))
        return false;
    if (e->end && !slice_equal(feed_key_slice(e->end), change->value))
        return false;
    return e->lsn == change->lsn && e->commit == change->commit && e->time == change->time &&
           e->branch == change->branch && e->kind == change->kind && e->space == change->space &&
           slice_equal(feed_key_slice(e->key), change->key);
}

/* From one record to another; mostly by numbers, else by times where all that has them is known. */
static void choose_span(struct feed_replay *r, struct filter *f)
{
    const struct feed_record *list = r->records, *first, *last;

    f->first = below(r, r->record_count);
    f->last = f->first + below(r, WINDOW);
    if (f->last >= r->record_count || below(r, 8) == 0)
        f->last = r->record_count - 1;
    first = &list[f->first];
    last = &list[f->last];
    f->to = r->next - 1;
    f->to_time = UINT64_MAX;
    if (below(r, 3) || first->time == list[0].time)
        f->options.from = f->from = first->lsn;
    else
        f->options.from_time = f->from_time = first->time;
    if (below(r, 3) || r->options.others_write || !last->time)
        f->options.to = f->to = below(r, 4) || last->lsn < first->lsn ? last->lsn : r->next - 1;
    else
        f->options.to_time = f->to_time = last->time;
}

static void choose_rest(struct feed_replay *r, struct filter *f)
{
    const struct feed_record *some = &r->records[f->first + below(r, f->last - f->first + 1)];
    bool blind = false;

    for (size_t i = 0; i < r->record_count; i++)
        blind |= r->records[i].blind;
    f->options.unsynced = r->options.no_sync || below(r, 2);
    f->options.all_spaces = below(r, 2);
    f->options.before_images = !blind && below(r, 3) == 0;
    f->options.expand_ranges = !blind && below(r, 3) == 0;
    f->branch = some->branch;
    if (below(r, 3) == 0)
        f->options.branch = &f->branch;
    if (below(r, 4) == 0)
        f->options.kinds = 1u + (unsigned)below(r, 7);
    f->foreign = below(r, 4) == 0;
    memcpy(f->node, r->node, sizeof(f->node));
    f->node[5] ^= f->foreign;
    if (below(r, 6) == 0)
        f->options.origin = f->node;
    if (below(r, 3) == 0 && some->key->size)
        f->options.prefix = slice_make(some->key->bytes, 1 + below(r, some->key->size));
}

static size_t next_passing(const struct feed_replay *r, const struct filter *f, size_t at)
{
    while (at < r->record_count && !passes(f, &r->records[at]))
        at++;
    return at;
}

/* False: there is no feed or no history for it any more. */
static bool open_filter(struct feed_replay *r, helios_db *db, struct filter *f, helios_changes **c)
{
    helios_seq oldest, newest, before, ignored;
    helios_status status;

    JUDGE_MUST(r, helios_feed_bounds(db, &before, &ignored));
    status = helios_changes_new(db, &f->options, c);
    JUDGE_MUST(r, helios_feed_bounds(db, &oldest, &newest));
    if (status == HELIOS_OK) {
        JUDGE(r, !f->from || !before || f->from >= before, "what is below the feed's beginning can be read");
        return true;
    }
    if (status == HELIOS_FEED_TRIMMED)
        JUDGE(r, !oldest || f->from < oldest, "%" PRIu64 " was not trimmed", f->from);
    else
        JUDGE(r,
              status == HELIOS_HISTORY_GONE && (f->options.before_images || f->options.expand_ranges) &&
                  r->records[f->first].lsn - 1 < helios_horizon(db),
              "opening with a filter: %s", helios_status_name(status));
    return false;
}

/* What comes behind the last entry: until its clock has passed to_time another commit may. */
static helios_status look_behind(const struct filter *f, helios_changes *c)
{
    helios_change change;
    helios_status status = helios_changes_next(c, f->options.to_time ? 0 : UINT64_MAX, &change);

    return status == HELIOS_TIMEOUT && f->options.to_time ? HELIOS_NOT_FOUND : status;
}

void judge_filter(struct feed_replay *r, helios_db *db)
{
    struct filter f = {.options = HELIOS_CHANGES_OPTIONS_INIT};
    helios_changes *c;
    helios_change change;
    helios_status status = HELIOS_OK;

    if (!r->record_count)
        return;
    choose_span(r, &f);
    choose_rest(r, &f);
    if (!open_filter(r, db, &f, &c))
        return;
    for (size_t at = next_passing(r, &f, 0), next; at < r->record_count; at = next) {
        next = next_passing(r, &f, at + 1);
        status = helios_changes_next(c, UINT64_MAX, &change);
        if (status != HELIOS_OK)
            break;
        JUDGE(r, same_entry(&f, &r->records[at], &change), "through a filter entry %" PRIu64 " for %" PRIu64,
              change.lsn, r->records[at].lsn);
        JUDGE(r, change.commit_end == (next == r->record_count || r->records[next].commit != change.commit),
              "commit %" PRIu64 " ends elsewhere through a filter", change.commit);
    }
    if (status == HELIOS_OK)
        status = look_behind(&f, c);
    if (status == HELIOS_HISTORY_GONE)
        JUDGE(r, judge_any_dropped(r, db), "no image, and no branch was dropped");
    else if (status == HELIOS_FEED_TRIMMED)
        JUDGE(r, !r->options.no_trim, "trimmed under a filter");
    else
        JUDGE(r, status == HELIOS_NOT_FOUND, "through a filter: %s, more or less than there is",
              helios_status_name(status));
    helios_changes_free(c);
    r->counts.filters++;
}
