/* fault_history.c - transactions, tags, times of the fault tests and their judge; see fault_world.h. */
#include "tests/fault_world.h"
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

enum { ADDERS = 2, ADDED_MAX = 19 };

/* ---- transactions ---- */

static const helios_slice disputed_key = {"z/disputed", 10}; /* of none of the judge's kinds */

void world_txn_drop(struct world *w)
{
    helios_txn_free(w->txn);
    w->txn = NULL;
}

static helios_status txn_add(struct world *w, helios_txn *txn, struct world_commit *commit, struct world_op op)
{
    char from[16], to[16];
    helios_slice key = world_key(op.key, from);
    unsigned number = w->op_count;

    CHECK(w->op_count < WORLD_OPS, "too many operations");
    w->ops[w->op_count++] = op;
    commit->op_count++;
    if (op.kind == OP_PUT)
        return helios_txn_put(txn, key, world_value(w->commit_count - 1, number, op.size));
    if (op.kind == OP_DELETE)
        return helios_txn_delete(txn, key);
    return helios_txn_delete_range(txn, key, world_key(op.to, to));
}

/* Writes that a savepoint takes back. */
static helios_status txn_detour(struct world *w, helios_txn *txn)
{
    char key[16];
    helios_status status = helios_txn_savepoint(txn);

    for (int i = 0; i < 3 && status == HELIOS_OK; i++)
        status = helios_txn_put(txn, world_key((unsigned)random_below(&w->rng, WORLD_KEYS), key),
                                slice_make("not this", 8));
    return status == HELIOS_OK ? helios_txn_rollback_to_savepoint(txn) : status;
}

/* It sees its own marker and, of what it reads, the newest. */
static helios_status txn_look(struct world *w, helios_txn *txn)
{
    helios_buf value = {0};
    char key[16];
    helios_status status = helios_txn_get(txn, world_marker(w->commit_count - 1, key), &value);

    CHECK(status != HELIOS_NOT_FOUND, "a transaction does not see what it wrote");
    if (status == HELIOS_OK)
        status = helios_txn_get(txn, world_key((unsigned)random_below(&w->rng, WORLD_KEYS), key), &value);
    helios_buf_free(&value);
    return status == HELIOS_NOT_FOUND ? HELIOS_OK : status;
}

static helios_status txn_write(struct world *w, helios_txn *txn, struct world_commit *commit, unsigned count,
                               uint32_t size)
{
    char key[16];
    helios_status status = helios_txn_put(txn, world_marker(w->commit_count - 1, key), slice_make("here", 4));

    for (unsigned i = 0; i < count && status == HELIOS_OK; i++) {
        if (i == count / 2)
            status = txn_detour(w, txn);
        if (status == HELIOS_OK)
            status = txn_add(w, txn, commit, world_draw(w, size));
    }
    return status == HELIOS_OK ? txn_look(w, txn) : status;
}

static void txn_finish(struct world *w, helios_txn *txn, struct world_commit *commit,
                       helios_durability durability, enum txn_end end)
{
    helios_status status, first = HELIOS_NOT_FOUND;

    if (end == TXN_CONFLICT) {
        first = helios_put(w->db, NULL, disputed_key, slice_make("first", 5));
        world_note(w, first, false);
    }
    if (end == TXN_ROLLBACK)
        world_note(w, helios_txn_rollback(txn), false);
    if (end == TXN_ROLLBACK || !world_going(w)) {
        commit->lost = true;
        return;
    }
    status = helios_txn_commit(txn, &commit->seq);
    if (status == HELIOS_CONFLICT)
        commit->lost = true;
    CHECK(first != HELIOS_OK || status != HELIOS_OK, "a transaction overwrote what it never saw");
    if (end == TXN_CONFLICT && status == HELIOS_CONFLICT)
        return;
    world_note_commit(w, commit, durability, status);
}

void world_txn(struct world *w, helios_durability durability, unsigned count, uint32_t size, enum txn_end end)
{
    helios_txn_options options = HELIOS_TXN_OPTIONS_INIT;
    struct world_commit *commit;
    helios_txn *txn = NULL;
    helios_status status;

    if (!world_going(w))
        return;
    options.durability = durability;
    options.isolation = w->commit_count % 2 ? HELIOS_ISOLATION_SERIALIZABLE : HELIOS_ISOLATION_SNAPSHOT;
    status = helios_txn_begin(w->db, &options, &txn);
    if (status != HELIOS_OK) {
        world_note(w, status, false);
        return;
    }
    commit = world_commit_new(w, durability);
    commit->in_txn = true;
    status = txn_write(w, txn, commit, count, size);
    if (status == HELIOS_OK && end == TXN_CONFLICT)
        status = helios_txn_put(txn, disputed_key, slice_make("second", 6));
    world_note(w, status, false);
    if (status != HELIOS_OK || end == TXN_LEAVE) {
        commit->lost = true;
        world_txn_drop(w);
        w->txn = txn;
        return;
    }
    txn_finish(w, txn, commit, durability, end);
    helios_txn_free(txn);
}

/* ---- a counter that several threads add to ---- */

/* Each thread's share stands under a key of its own, so that it shows when something of a loser is there. */
static helios_slice counter_key(int adder, char out[16])
{
    return slice_make(out,
                      (size_t)(adder < 0 ? snprintf(out, 16, "z/sum") : snprintf(out, 16, "z/of%d", adder)));
}

struct adder {
    struct world *w;
    int index;
    _Atomic unsigned *arrived;
    unsigned rounds, added;
    bool failed; /* so that one more may be there */
    pthread_t thread;
};

static uint64_t number_in(helios_slice value)
{
    char digits[ADDED_MAX + 1] = {0};

    CHECK(value.size <= ADDED_MAX, "the counter is no number");
    memcpy(digits, value.data, value.size);
    return strtoull(digits, NULL, 10);
}

static helios_status add_to(helios_txn *txn, helios_slice key)
{
    helios_buf value = {0};
    char digits[ADDED_MAX + 1];
    helios_status status = helios_txn_get(txn, key, &value);
    uint64_t number = status == HELIOS_OK ? number_in(slice_make(value.data, value.size)) : 0;
    size_t size = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, number + 1);

    helios_buf_free(&value);
    if (status != HELIOS_OK && status != HELIOS_NOT_FOUND)
        return status;
    return helios_txn_put(txn, key, slice_make(digits, size));
}

static helios_status add_one(helios_txn *txn, int adder)
{
    char sum[16], own[16];
    helios_status status = add_to(txn, counter_key(-1, sum));

    return status == HELIOS_OK ? add_to(txn, counter_key(adder, own)) : status;
}

/* Awake, so that all go on in the same instant. */
static void meet(_Atomic unsigned *arrived, unsigned meeting)
{
    atomic_fetch_add(arrived, 1);
    while (atomic_load(arrived) < meeting * ADDERS)
        sched_yield();
}

/* All read the same in each round and then commit at once, so that losers find out as late as can be. */
static void *adder_main(void *arg)
{
    struct adder *adder = arg;
    helios_txn_options options = HELIOS_TXN_OPTIONS_INIT;

    options.durability = HELIOS_DURABILITY_SYNC;
    for (unsigned i = 0; i < adder->rounds; i++) {
        helios_txn *txn = NULL;
        helios_status status;

        meet(adder->arrived, 2 * i + 1);
        status = helios_txn_begin(adder->w->db, &options, &txn);
        if (status == HELIOS_OK)
            status = add_one(txn, adder->index);
        meet(adder->arrived, 2 * i + 2);
        if (status == HELIOS_OK && !adder->failed)
            status = helios_txn_commit(txn, NULL);
        adder->failed |= status != HELIOS_OK && status != HELIOS_CONFLICT;
        adder->added += status == HELIOS_OK && !adder->failed;
        helios_txn_free(txn);
    }
    return NULL;
}

void world_add(struct world *w, unsigned rounds)
{
    struct adder adders[ADDERS];
    _Atomic unsigned arrived = 0;
    uint64_t before = w->added;

    if (!world_going(w))
        return;
    for (int i = 0; i < ADDERS; i++) {
        adders[i] = (struct adder){.w = w, .index = i, .arrived = &arrived, .rounds = rounds};
        MUST(thread_start(&adders[i].thread, "adder", adder_main, &adders[i]));
    }
    for (unsigned i = 0; i < rounds / 2; i++)
        world_commit(w, HELIOS_DURABILITY_ASYNC, 2, SIZE_SMALL);
    for (int i = 0; i < ADDERS; i++) {
        thread_join(adders[i].thread);
        w->added += adders[i].added;
        w->added_max += adders[i].added + adders[i].failed;
        w->failed |= adders[i].failed;
    }
    CHECK(w->failed || w->added - before >= rounds, "in some round all lost");
}

/* False: it met damage. */
static bool read_counter(struct check *c, int adder, uint64_t *number)
{
    char key[16];
    helios_status status = helios_get(c->w->db, NULL, counter_key(adder, key), &c->value);

    if (!check_judge(c, status, "counter"))
        return false;
    *number = status == HELIOS_OK ? number_in(slice_make(c->value.data, c->value.size)) : 0;
    return true;
}

static void check_counters(struct check *c)
{
    struct world *w = c->w;
    uint64_t sum, shares = 0, share = 0;

    if (!read_counter(c, -1, &sum))
        return;
    for (int i = 0; i < ADDERS; i++, shares += share)
        if (!read_counter(c, i, &share))
            return;
    CHECK(sum >= w->added && sum <= w->added_max,
          "the counter is %" PRIu64 ", %" PRIu64 " were acknowledged, %" PRIu64 " begun", sum, w->added,
          w->added_max);
    CHECK(sum == shares, "the counter is %" PRIu64 ", the shares are %" PRIu64, sum, shares);
    w->added = w->added_max = sum;
}

/* ---- tags ---- */

static const char *tag_name(uint32_t index, char out[16])
{
    snprintf(out, 16, "t%u", index);
    return out;
}

static void make_tag(struct world *w, helios_seq at, uint32_t commits)
{
    struct world_tag *tag = &w->tags[w->tag_count];
    char name[16];
    helios_status status;

    CHECK(w->tag_count < WORLD_TAGS, "too many tags");
    *tag = (struct world_tag){TAG_IN_DOUBT, at, commits};
    status = helios_tag_create(w->db, tag_name(w->tag_count++, name), 0, at);
    if (status == HELIOS_HISTORY_GONE && at && at < helios_horizon(w->db)) {
        tag->state = TAG_GONE;
        return;
    }
    w->failed |= status != HELIOS_OK;
    if (status != HELIOS_OK)
        return;
    tag->state = TAG_THERE;
    /* It is durable, and so is everything logged before it. */
    for (uint32_t i = 0; i < w->commit_count; i++)
        w->commits[i].durable |= w->commits[i].acknowledged && w->commits[i].logged;
}

void world_tag(struct world *w)
{
    if (world_going(w))
        make_tag(w, 0, w->commit_count);
}

void world_tag_past(struct world *w)
{
    uint32_t index = w->commit_count;

    while (index && !(w->commits[index - 1].acknowledged && w->commits[index - 1].seq))
        index--;
    if (world_going(w) && index > 1 && w->commits[index - 2].acknowledged && w->commits[index - 2].seq)
        make_tag(w, w->commits[index - 2].seq, index - 1);
}

void world_tag_drop(struct world *w)
{
    struct world_tag *tag = w->tags;
    char name[16];
    helios_status status;

    while (tag < w->tags + w->tag_count && tag->state != TAG_THERE)
        tag++;
    if (!world_going(w) || tag == w->tags + w->tag_count)
        return;
    tag->state = TAG_IN_DOUBT;
    status = helios_tag_drop(w->db, tag_name((uint32_t)(tag - w->tags), name));
    w->failed |= status != HELIOS_OK;
    if (status == HELIOS_OK)
        tag->state = TAG_GONE;
}

/* Everything is readable at its point, as it was then. */
static void check_tagged(struct check *c, const struct world_tag *tag, helios_seq at)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_iter *it = NULL;

    check_expect(c, tag->commits);
    options.at = at;
    if (check_judge(c, helios_iter_new(c->w->db, &options, &it), "iterator at a tag") && check_scan(c, it))
        for (unsigned key = 0; key < WORLD_KEYS; key += 7)
            check_get(c, key, at, true);
    helios_iter_free(it);
}

static void check_tags(struct check *c)
{
    struct world *w = c->w;
    helios_tag_info *list = NULL;
    bool listed[WORLD_TAGS] = {false};
    size_t count = 0;

    if (!check_judge(c, helios_tag_list(w->db, &list, &count), "list of tags"))
        return;
    for (size_t i = 0; i < count; i++) {
        unsigned long index = strtoul(list[i].name + 1, NULL, 10);

        CHECK(index < w->tag_count && w->tags[index].state != TAG_GONE, "the tag %s is there", list[i].name);
        CHECK(!w->tags[index].at || w->tags[index].at == list[i].at, "%s is at %" PRIu64, list[i].name,
              list[i].at);
        listed[index] = true;
        check_tagged(c, &w->tags[index], list[i].at);
    }
    for (uint32_t i = 0; i < w->tag_count && !c->detected; i++) {
        CHECK(listed[i] || w->tags[i].state != TAG_THERE, "the tag t%u is lost", i);
        w->tags[i].state = listed[i] ? TAG_THERE : TAG_GONE;
    }
    helios_free(list);
}

/* ---- times ---- */

/* `last` is the last commit of this time. */
static void check_time(struct check *c, helios_seq last, uint64_t time)
{
    struct world *w = c->w;
    helios_status status;
    helios_seq found = 0;
    uint64_t told = 0;

    status = helios_time_of_seq(w->db, last, &told);
    if (status == HELIOS_OK)
        status = helios_seq_at_time(w->db, time, &found);
    if (status == HELIOS_HISTORY_GONE && last < helios_horizon(w->db))
        return;
    if (!check_judge(c, status, "time"))
        return;
    CHECK(told == time, "commit %" PRIu64 " is of %" PRIu64 " and listed with %" PRIu64, last, told, time);
    CHECK(found == last, "at %" PRIu64 " the last commit was %" PRIu64 ", not %" PRIu64, time, last, found);
}

/* The commit of ours with that number, and none that should have come before it. */
static void check_listed(struct check *c, const helios_commit_info *info, uint32_t *next, helios_seq horizon)
{
    const struct world *w = c->w;

    for (; *next < w->commit_count && w->commits[*next].seq <= info->seq; (*next)++) {
        const struct world_commit *commit = &w->commits[*next];

        if (!commit->seq)
            continue;
        if (commit->seq < info->seq) {
            CHECK(!commit->present || commit->seq < horizon, "commit %u (number %" PRIu64 ") is not listed",
                  *next, commit->seq);
            continue;
        }
        CHECK(commit->present, "commit %u (number %" PRIu64 ") is listed and not there", *next, commit->seq);
        CHECK(!commit->time || commit->time == info->time, "commit %u was made at %" PRIu64 ", not %" PRIu64,
              *next, commit->time, info->time);
        CHECK(commit->in_txn || info->operations == commit->op_count + 1,
              "commit %u has %" PRIu64 " operations, not %u", *next, info->operations, commit->op_count + 1);
    }
}

static void check_commits(struct check *c)
{
    helios_commits_options options = HELIOS_COMMITS_OPTIONS_INIT;
    helios_commits *walk = NULL;
    helios_commit_info info;
    helios_seq horizon, last = 0;
    uint64_t time = 0;
    uint32_t next = 0;

    options.oldest_first = true;
    if (!check_judge(c, helios_commits_new(c->w->db, &options, &walk), "list of commits"))
        return;
    horizon = helios_horizon(c->w->db);
    while (helios_commits_next(walk, &info)) {
        CHECK(info.operations && info.seq - info.operations >= last && info.seq > last,
              "commit %" PRIu64 " of %" PRIu64 " operations after %" PRIu64, info.seq, info.operations, last);
        CHECK(info.time >= time, "commit %" PRIu64 " is older than the one before", info.seq);
        if (info.time > time && last % 4 == 1)
            check_time(c, last, time);
        check_listed(c, &info, &next, horizon);
        last = info.seq;
        time = info.time;
    }
    if (check_judge(c, helios_commits_status(walk), "list of commits") && last)
        check_time(c, last, time);
    helios_commits_free(walk);
    for (; next < c->w->commit_count && !c->detected; next++)
        CHECK(!c->w->commits[next].present || !c->w->commits[next].seq, "commit %u is not listed", next);
}

/* Of a number below the horizon less may be known. */
static void check_fates(struct check *c)
{
    for (uint32_t i = 0; i < c->w->commit_count; i++) {
        const struct world_commit *commit = &c->w->commits[i];
        helios_commit_fate wanted = commit->lost ? HELIOS_COMMIT_LOST : HELIOS_COMMIT_KEPT, fate;

        if (!commit->seq || commit->seq < helios_horizon(c->w->db) || !(commit->lost || commit->durable))
            continue;
        fate = helios_commit_state(c->w->db, commit->seq);
        if (c->w->options.read_only && fate == HELIOS_COMMIT_UNKNOWN)
            continue; /* not closed cleanly, as far as one can see: nothing was made durable by this open */
        CHECK(fate == wanted, "the fate of commit %u (number %" PRIu64 ") is %d", i, commit->seq, fate);
    }
}

void check_history(struct check *c)
{
    check_counters(c);
    check_tags(c);
    check_branches(c);
    check_commits(c);
    if (!c->detected && !c->may_fail) /* a fate is not known where its file cannot be read */
        check_fates(c);
    if (!c->detected)
        check_feed(c);
}
