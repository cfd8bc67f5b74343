/* fault_merges.c - what comes to main by merges, reverts, applied commits and batches that acknowledge, and its judge; see
 * fault_world.h. Fact i is a pair of keys, x<i>/a and x<i>/b: both there or neither. */
#include "base/thread.h"
#include "tests/fault_world.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static helios_slice fact_key(uint32_t fact, char part, char out[16])
{
    return slice_make(out, (size_t)snprintf(out, 16, "x%u/%c", fact, part));
}

static enum tag_state *fact_new(struct world *w)
{
    CHECK(w->fact_count < WORLD_FACTS, "too many facts");
    w->facts[w->fact_count] = TAG_GONE;
    return &w->facts[w->fact_count++];
}

/* After a call that is SYNC where it succeeds. */
static void note(struct world *w, enum tag_state *state, enum tag_state made, helios_status status)
{
    w->failed |= status != HELIOS_OK;
    if (status == HELIOS_OK)
        *state = made;
}

static helios_status put_pair(helios_db *db, helios_branch_id branch, uint32_t fact, uint32_t size)
{
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    helios_batch *batch = helios_batch_new();
    char key[16];
    helios_status status;

    write.branch = branch;
    write.durability = HELIOS_DURABILITY_SYNC;
    helios_batch_put(batch, fact_key(fact, 'a', key), world_value(fact, 'a', size));
    helios_batch_put(batch, fact_key(fact, 'b', key), world_value(fact, 'b', size));
    status = helios_write(db, &write, batch, NULL);
    helios_batch_free(batch);
    return status;
}

/* ---- merges ---- */

static helios_resolution take_theirs(void *arg, const helios_merge_conflict *conflict, helios_buf *value)
{
    (void)arg;
    return helios_buf_set(value, conflict->theirs) == HELIOS_OK ? HELIOS_TAKE_VALUE : HELIOS_TAKE_ABORT;
}

static bool side_branch(struct world *w, helios_branch_id parent, char letter, helios_branch_id *id)
{
    char name[16];
    helios_status status;

    snprintf(name, sizeof(name), "s%u%c", w->fact_count, letter);
    status = helios_branch_create(w->db, name, parent, 0, id);
    w->failed |= status != HELIOS_OK;
    return status == HELIOS_OK;
}

/* The pair is written on a branch, or on a branch of that, merged there first. */
static bool write_side(struct world *w, enum merge_how how, uint32_t size, helios_branch_id *side)
{
    helios_branch_id inner = 0;
    helios_status status = HELIOS_OK;

    if (!side_branch(w, 0, 'a', side))
        return false;
    inner = *side;
    if (how == MERGE_NESTED && !side_branch(w, *side, 'b', &inner))
        return false;
    status = put_pair(w->db, inner, w->fact_count - 1, size);
    if (status == HELIOS_OK && inner != *side)
        status = helios_branch_merge(w->db, inner, *side, NULL, NULL);
    if (status == HELIOS_OK && how == MERGE_CLOSE)
        status = helios_branch_set_metadata(w->db, *side, slice_make("about it", 8));
    w->failed |= status != HELIOS_OK;
    return status == HELIOS_OK;
}

void world_merge(struct world *w, enum merge_how how, uint32_t size)
{
    helios_merge_options options = HELIOS_MERGE_OPTIONS_INIT;
    helios_merge_result result;
    helios_branch_id side = 0;
    enum tag_state *state;

    if (!world_going(w))
        return;
    state = fact_new(w);
    if (!write_side(w, how, size, &side))
        return;
    options.close_source = how == MERGE_CLOSE;
    if (how == MERGE_RESOLVE) { /* main has one of the keys too, until the branch's comes */
        helios_status status = helios_branch_rename(w->db, side, "s renamed");

        w->failed |= status != HELIOS_OK;
        options.strategy = HELIOS_MERGE_RESOLVE;
        options.resolve = take_theirs;
        if (!world_going(w))
            return;
    }
    *state = TAG_IN_DOUBT;
    note(w, state, TAG_THERE, helios_branch_merge(w->db, side, 0, &options, &result));
    if (how == MERGE_AGAIN && world_going(w)) {
        helios_status status = helios_branch_merge(w->db, 0, side, NULL, NULL);

        if (status == HELIOS_OK)
            status = helios_branch_merge(w->db, side, 0, NULL, &result);
        w->failed |= status != HELIOS_OK;
    }
    if (how == MERGE_DROP && world_going(w))
        world_note(w, helios_branch_drop(w->db, side), false);
}

void world_revert(struct world *w)
{
    enum tag_state *state = w->facts + w->fact_count - 1;
    helios_merge_info *merges = NULL;
    size_t count = 0;
    helios_status status;

    if (!world_going(w) || w->fact_count == 0 || *state != TAG_THERE)
        return;
    status = helios_branch_merges(w->db, 0, &merges, &count);
    w->failed |= status != HELIOS_OK;
    if (status == HELIOS_OK && count > 0) {
        helios_seq commit = merges[count - 1].commit;

        *state = TAG_IN_DOUBT;
        note(w, state, TAG_GONE, helios_branch_revert(w->db, 0, commit, commit, NULL, NULL));
    }
    helios_free(merges);
}

/* ---- from elsewhere, and with a position ---- */

/* A commit of a database in memory, as its feed gives it: the same one on every run. */
static helios_status apply_from(struct world *w, helios_db *other, uint32_t size)
{
    helios_changes_options reading = HELIOS_CHANGES_OPTIONS_INIT;
    helios_apply_options options = HELIOS_APPLY_OPTIONS_INIT;
    helios_changes *changes = NULL;
    const helios_change *entries;
    size_t count;
    helios_status status = put_pair(other, 0, w->fact_count - 1, size);

    reading.for_apply = reading.unsynced = true;
    options.durability = HELIOS_DURABILITY_SYNC;
    if (status == HELIOS_OK)
        status = helios_changes_new(other, &reading, &changes);
    if (status == HELIOS_OK)
        status = helios_changes_next_commit(changes, 0, &entries, &count);
    if (status == HELIOS_OK) {
        w->facts[w->fact_count - 1] = TAG_IN_DOUBT;
        status = helios_apply(w->db, &options, entries, count, NULL);
    }
    helios_changes_free(changes);
    return status;
}

void world_apply(struct world *w, uint32_t size)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_db *other = NULL;
    enum tag_state *state;
    helios_status status;
    helios_buf clock = {0};

    if (!world_going(w))
        return;
    state = fact_new(w);
    options.in_memory = true;
    options.memtable_bytes = 1 << 20;
    options.feed_retention = HELIOS_FOREVER;
    status = helios_open("other", &options, &other);
    if (status == HELIOS_OK)
        note(w, state, TAG_THERE, apply_from(w, other, size));
    w->failed |= status != HELIOS_OK;
    if (other && helios_close(other) != HELIOS_OK)
        w->failed = true;
    if (world_going(w))
        world_note(w, helios_applied(w->db, &clock), false);
    helios_buf_free(&clock);
}

/* The consumer's position and the pair are one commit. */
void world_batch_ack(struct world *w)
{
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    helios_batch *batch;
    enum tag_state *state;
    helios_seq last;
    char key[16];

    if (!world_going(w) || w->consumer != TAG_THERE)
        return;
    state = fact_new(w);
    last = helios_latest(w->db);
    batch = helios_batch_new();
    write.durability = HELIOS_DURABILITY_SYNC;
    helios_batch_put(batch, fact_key(w->fact_count - 1, 'a', key),
                     world_value(w->fact_count - 1, 'a', SIZE_SMALL));
    helios_batch_put(batch, fact_key(w->fact_count - 1, 'b', key),
                     world_value(w->fact_count - 1, 'b', SIZE_SMALL));
    helios_batch_ack(batch, "reader", last);
    *state = TAG_IN_DOUBT;
    w->acked_tried = last;
    note(w, state, TAG_THERE, helios_write(w->db, &write, batch, NULL));
    if (*state == TAG_THERE)
        w->acked = last;
    helios_batch_free(batch);
}

static helios_status put_pair_in(void *arg, helios_txn *txn)
{
    struct world *w = arg;
    uint32_t fact = w->fact_count - 1;
    char key[16];
    helios_status status = helios_txn_put(txn, fact_key(fact, 'a', key), world_value(fact, 'a', SIZE_SMALL));

    return status == HELIOS_OK
               ? helios_txn_put(txn, fact_key(fact, 'b', key), world_value(fact, 'b', SIZE_SMALL))
               : status;
}

void world_txn_run(struct world *w)
{
    helios_txn_options options = HELIOS_TXN_OPTIONS_INIT;
    enum tag_state *state;

    if (!world_going(w))
        return;
    state = fact_new(w);
    options.durability = HELIOS_DURABILITY_SYNC;
    *state = TAG_IN_DOUBT;
    note(w, state, TAG_THERE, helios_txn_run(w->db, &options, put_pair_in, w, NULL));
}

void world_forget(struct world *w)
{
    enum tag_state *state = w->facts + w->fact_count - 1;
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    char from[16], to[16];

    write.durability = HELIOS_DURABILITY_SYNC;
    if (!world_going(w) || w->fact_count == 0 || *state != TAG_THERE)
        return;
    *state = TAG_IN_DOUBT;
    note(w, state, TAG_GONE,
         helios_delete_range(w->db, &write, fact_key(w->fact_count - 1, 'a', from),
                             fact_key(w->fact_count - 1, 'c', to)));
    if (world_going(w))
        world_note(w, helios_delete(w->db, &write, fact_key(w->fact_count - 1, 'a', from)), false);
}

void world_changes_ack(struct world *w)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *changes = NULL;
    helios_change change;
    helios_seq last = 0;
    helios_status status;

    options.consumer = "reader";
    options.unsynced = true;
    if (!world_going(w) || w->consumer != TAG_THERE)
        return;
    status = helios_changes_new(w->db, &options, &changes);
    while (status == HELIOS_OK && (status = helios_changes_next(changes, 0, &change)) == HELIOS_OK)
        last = change.commit_end ? change.commit : last;
    if (status == HELIOS_TIMEOUT && last > w->acked) {
        w->acked_tried = last;
        status = helios_changes_ack(changes, last);
        if (status == HELIOS_OK)
            w->acked = last;
    }
    w->failed |= status != HELIOS_OK && status != HELIOS_TIMEOUT;
    helios_changes_free(changes);
}

/* ---- the judge ---- */

/* False: it met damage. */
static bool find_part(struct check *c, uint32_t fact, char part, bool *there)
{
    char key[16];
    helios_status status = helios_get(c->w->db, NULL, fact_key(fact, part, key), &c->value);
    helios_slice wanted;

    if (!check_judge(c, status, "get of a fact"))
        return false;
    *there = status == HELIOS_OK;
    wanted = world_value(fact, (unsigned char)part, (uint32_t)c->value.size);
    CHECK(!*there || (c->value.size > 0 && slice_equal(buf_slice(&c->value), wanted)),
          "fact %u: a value that nobody wrote", fact);
    return true;
}

void check_facts(struct check *c)
{
    struct world *w = c->w;

    for (uint32_t i = 0; i < w->fact_count; i++) {
        bool a, b;

        if (!find_part(c, i, 'a', &a) || !find_part(c, i, 'b', &b))
            return;
        CHECK(a == b, "half of fact %u is there", i);
        CHECK(a || w->facts[i] != TAG_THERE, "fact %u is lost", i);
        CHECK(!a || w->facts[i] != TAG_GONE, "fact %u is there, which never was or was taken back", i);
        if (!c->may_fail)
            w->facts[i] = a ? TAG_THERE : TAG_GONE;
    }
}
