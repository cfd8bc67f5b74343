/* branch_changes.c - the writes of test_branch_model: keys, transactions, and what holds points and branches. */
#undef NDEBUG
#include "tests/branch_test.h"

/* ---- values and branches to choose from ---- */

/* Number 1 is the empty value; the others begin with their number. */
helios_slice value_slice(const struct test *t, uint32_t value, unsigned char *out)
{
    size_t size = value % 5 == 0 ? value % t->set->value_bytes : value % 40, head;

    if (value % 100 == 0)
        size = t->set->large_bytes;
    if (value == 1)
        return slice_make(out, 0);
    head = (size_t)sprintf((char *)out, "%u:", value);
    if (size <= head)
        return slice_make(out, head);
    value_fill(value, out + head, size - head);
    return slice_make(out, size);
}

uint32_t fresh_value(struct test *t)
{
    return 100 + ++t->values;
}

uint32_t any_value(struct test *t)
{
    return chance(t, 2) ? (uint32_t)(1 + below(t, 6)) : fresh_value(t);
}

size_t live_branches(const struct test *t)
{
    size_t live = 0;

    for (helios_branch_id i = 0; i < t->model->branch_count; i++)
        live += model_is_live(t->model, i);
    return live;
}

helios_branch_id any_branch(struct test *t)
{
    size_t n = below(t, live_branches(t));
    helios_branch_id i = 0;

    while (!model_is_live(t->model, i) || n-- > 0)
        i++;
    return i;
}

helios_branch_id any_dropped(struct test *t)
{
    size_t dropped = t->model->branch_count - live_branches(t), n = dropped ? below(t, dropped) : 0;
    helios_branch_id i = 0;

    while (dropped && (model_is_live(t->model, i) || n-- > 0))
        i++;
    return i;
}

uint32_t handles_on(const struct test *t, helios_branch_id branch)
{
    uint32_t count = 0;

    for (size_t i = 0; i < ITERATORS_MAX; i++)
        count += t->iterators[i].handle && t->iterators[i].branch == branch;
    for (size_t i = 0; i < TXNS_MAX; i++)
        count += t->txns[i].handle && t->txns[i].branch == branch;
    return count;
}

bool tagged(const struct test *t, helios_branch_id branch)
{
    for (size_t i = 0; i < t->tag_count; i++)
        if (!t->tags[i].dropped && t->tags[i].branch == branch)
            return true;
    return false;
}

void note_commit(struct test *t)
{
    CHECK(t, helios_latest(t->db) > model_latest(t->model));
    model_note_commit(t->model, helios_latest(t->db));
    t->checks++;
}

void committed(struct test *t, helios_branch_id branch)
{
    CHECK(t, helios_latest(t->db) > model_latest(t->model));
    model_commit(t->model, branch, helios_latest(t->db));
    t->checks++;
}

/* ---- keys ---- */

static helios_write_options any_write(struct test *t, helios_branch_id branch)
{
    static const helios_durability some[] = {HELIOS_DURABILITY_DEFAULT, HELIOS_DURABILITY_ASYNC,
                                             HELIOS_DURABILITY_NONE, HELIOS_DURABILITY_GROUP};
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;

    write.branch = branch;
    write.durability = chance(t, 60) ? HELIOS_DURABILITY_SYNC : some[below(t, 4)];
    if (t->set->kills && write.durability == HELIOS_DURABILITY_NONE)
        write.durability = HELIOS_DURABILITY_ASYNC; /* or commits could be lost in the middle */
    return write;
}

/* Whether the write was made, as it must be unless its branch was merged and closed. */
static bool written(struct test *t, helios_branch_id branch, helios_status status)
{
    if (!t->model->branches[branch].closed) {
        MUST(t, status);
        return true;
    }
    CHECK(t, status == HELIOS_READ_ONLY);
    CHECK(t, helios_latest(t->db) == model_latest(t->model));
    t->counts.refused++;
    t->checks++;
    return false;
}

void put(struct test *t)
{
    helios_branch_id branch = any_branch(t);
    helios_write_options write = any_write(t, branch);
    size_t key = below(t, t->key_count);
    uint32_t value = any_value(t);

    if (!written(t, branch, helios_put(t->db, &write, key_slice(t, key), value_slice(t, value, t->value))))
        return;
    model_begin(t->model, branch);
    model_put(t->model, key, value);
    committed(t, branch);
}

void delete_key(struct test *t)
{
    helios_branch_id branch = any_branch(t);
    helios_write_options write = any_write(t, branch);
    size_t key = below(t, t->key_count);

    if (!written(t, branch, helios_delete(t->db, &write, key_slice(t, key))))
        return;
    model_begin(t->model, branch);
    model_delete(t->model, key);
    committed(t, branch);
}

static void any_range(struct test *t, size_t *from, size_t *to)
{
    *from = below(t, t->key_count - 1);
    *to = *from + 1 + below(t, chance(t, 8) ? t->key_count - *from - 1 : 4);
    if (*to >= t->key_count)
        *to = t->key_count - 1;
}

void delete_range(struct test *t)
{
    helios_branch_id branch = any_branch(t);
    helios_write_options write = any_write(t, branch);
    size_t from, to;

    any_range(t, &from, &to);
    if (!written(t, branch, helios_delete_range(t->db, &write, key_slice(t, from), key_slice(t, to))) ||
        from >= to)
        return;
    model_begin(t->model, branch);
    for (; from < to; from++)
        model_delete(t->model, from);
    committed(t, branch);
}

static void add_to_batch(struct test *t, helios_batch *batch, uint32_t value)
{
    size_t key = below(t, t->key_count), from, to;

    switch (below(t, 8)) {
    case 0:
        any_range(t, &from, &to);
        helios_batch_delete_range(batch, key_slice(t, from), key_slice(t, to));
        for (; from < to; from++)
            model_delete(t->model, from);
        break;
    case 1:
    case 2:
        helios_batch_delete(batch, key_slice(t, key));
        model_delete(t->model, key);
        break;
    default:
        helios_batch_put(batch, key_slice(t, key), value_slice(t, value, t->value));
        model_put(t->model, key, value);
    }
}

static void write_batch_of(struct test *t, size_t count, bool large)
{
    helios_branch_id branch = any_branch(t);
    helios_write_options write = any_write(t, branch);
    helios_batch *batch = helios_batch_new();
    helios_seq commit = 0;

    model_begin(t->model, branch);
    for (size_t i = 0; i < count; i++)
        add_to_batch(t, batch, large ? fresh_value(t) / 5 * 5 : any_value(t));
    count = helios_batch_count(batch);
    if (written(t, branch, helios_write(t->db, &write, batch, &commit)) && count) {
        CHECK(t, commit == helios_latest(t->db));
        committed(t, branch);
    }
    helios_batch_free(batch);
}

void write_batch(struct test *t)
{
    write_batch_of(t, 1 + below(t, 6), false);
}

/* Enough to make a memtable full, or to be ingested. */
void write_much(struct test *t)
{
    write_batch_of(t, t->key_count, true);
}

/* ---- transactions ---- */

static void begin_txn(struct test *t, struct held_txn *held)
{
    helios_txn_options begin = HELIOS_TXN_OPTIONS_INIT;
    bool read_only = chance(t, 4);
    helios_branch_id branch = any_branch(t);
    struct ask ask = read_only ? any_ask(t) : ask_at(t, branch, model_latest(t->model));
    helios_txn *txn = NULL;

    if (ask.read.snapshot)
        return;
    begin.branch = ask.branch;
    begin.read_only = read_only;
    begin.at = read_only ? ask.read.at : 0;
    begin.isolation = chance(t, 2) ? HELIOS_ISOLATION_SERIALIZABLE : HELIOS_ISOLATION_SNAPSHOT;
    if (!judge(t, &ask, helios_txn_begin(t->db, &begin, &txn)))
        return;
    *held = (struct held_txn){.handle = txn,
                              .branch = ask.branch,
                              .begin = ask.at,
                              .serializable = begin.isolation == HELIOS_ISOLATION_SERIALIZABLE,
                              .read_only = read_only};
}

static uint32_t seen_by_txn(const struct test *t, const struct held_txn *held, size_t key)
{
    return held->written[key] ? held->value[key] : model_state(t->model, held->branch, held->begin)[key].value;
}

static void get_in_txn(struct test *t, struct held_txn *held)
{
    size_t key = below(t, t->key_count);
    uint32_t value = seen_by_txn(t, held, key);
    helios_status status = helios_txn_get(held->handle, key_slice(t, key), &t->got);

    CHECK(t, status == (value ? HELIOS_OK : HELIOS_NOT_FOUND));
    if (value)
        CHECK(t, value_is(t, buf_slice(&t->got), value));
    held->read[key] |= !held->written[key];
    t->checks++;
}

static void walk_txn(struct test *t, struct held_txn *held)
{
    helios_read_options bounds = HELIOS_READ_OPTIONS_INIT;
    helios_iter *it = NULL;
    size_t from, to;

    any_range(t, &from, &to);
    bounds.lower = key_slice(t, from);
    bounds.upper = key_slice(t, to);
    MUST(t, helios_txn_iter(held->handle, &bounds, &it));
    helios_iter_first(it);
    for (; from < to; from++) {
        uint32_t value = seen_by_txn(t, held, from);

        held->read[from] |= !held->written[from];
        if (!value)
            continue;
        CHECK(t, helios_iter_valid(it));
        CHECK(t, slice_equal(helios_iter_key(it), key_slice(t, from)));
        CHECK(t, value_is(t, helios_iter_value(it), value));
        helios_iter_next(it);
    }
    CHECK(t, !helios_iter_valid(it));
    MUST(t, helios_iter_status(it));
    helios_iter_free(it);
    t->checks++;
}

static void write_in_txn(struct test *t, struct held_txn *held)
{
    size_t key = below(t, t->key_count), from = key, to = key + 1;
    uint32_t value = chance(t, 3) ? 0 : any_value(t);
    helios_status status;

    if (value) {
        status = helios_txn_put(held->handle, key_slice(t, key), value_slice(t, value, t->value));
    } else if (chance(t, 3)) {
        any_range(t, &from, &to);
        status = helios_txn_delete_range(held->handle, key_slice(t, from), key_slice(t, to));
    } else {
        status = helios_txn_delete(held->handle, key_slice(t, key));
    }
    if (held->read_only) {
        CHECK(t, status == HELIOS_READ_ONLY);
        return;
    }
    MUST(t, status);
    for (; from < to; from++) {
        held->written[from] = true;
        held->value[from] = value;
    }
    t->checks++;
}

/* Whether somebody else wrote on the branch since the beginning what was written here, or read here if that counts;
 * a range counts for all keys in it. */
static bool has_conflict(const struct test *t, const struct held_txn *held)
{
    const struct model_cell *now = model_state(t->model, held->branch, UINT64_MAX);

    for (size_t i = 0; i < t->key_count; i++)
        if (now[i].touched > held->begin && (held->written[i] || (held->serializable && held->read[i])))
            return true;
    return false;
}

static void end_txn(struct test *t, struct held_txn *held)
{
    bool writes = false, conflict = has_conflict(t, held);
    helios_seq commit = 77;
    helios_status status;

    model_begin(t->model, held->branch);
    for (size_t i = 0; i < t->key_count; i++) {
        writes |= held->written[i];
        if (held->written[i])
            held->value[i] ? model_put(t->model, i, held->value[i]) : model_delete(t->model, i);
    }
    if (chance(t, 8)) {
        MUST(t, helios_txn_rollback(held->handle));
    } else {
        bool closed = t->model->branches[held->branch].closed != 0;

        status = helios_txn_commit(held->handle, &commit);
        CHECK(t, status == (writes && closed     ? HELIOS_READ_ONLY
                            : writes && conflict ? HELIOS_CONFLICT
                                                 : HELIOS_OK));
        if (status == HELIOS_OK) {
            CHECK(t, commit == (writes ? helios_latest(t->db) : 0));
            if (writes)
                committed(t, held->branch);
        }
    }
    helios_txn_free(held->handle);
    held->handle = NULL;
}

void use_transaction(struct test *t)
{
    struct held_txn *held = &t->txns[below(t, TXNS_MAX)];

    if (!held->handle) {
        begin_txn(t, held);
        return;
    }
    switch (below(t, 8)) {
    case 0: end_txn(t, held); break;
    case 1:
    case 2: get_in_txn(t, held); break;
    case 3: walk_txn(t, held); break;
    default: write_in_txn(t, held);
    }
}

/* ---- what holds points ---- */

void toggle_snapshot(struct test *t)
{
    struct held_snapshot *s = &t->snapshots[below(t, SNAPSHOTS_MAX)];
    struct ask ask = any_ask(t);
    helios_snapshot *handle = NULL;
    helios_status status;

    if (s->handle) {
        helios_snapshot_free(t->db, s->handle);
        *s = (struct held_snapshot){0};
        return;
    }
    if (ask.read.snapshot)
        return;
    status = helios_snapshot_new(t->db, ask.read.at, &handle);
    t->checks++;
    if (status == HELIOS_HISTORY_GONE) { /* it is of all branches: a tag of one does not speak for it */
        CHECK(t, ask.at < helios_horizon(t->db));
        for (size_t i = 0; i < SNAPSHOTS_MAX; i++)
            CHECK(t, !t->snapshots[i].handle || t->snapshots[i].at != ask.at);
        return;
    }
    MUST(t, status);
    CHECK(t, of_point(helios_snapshot_seq(handle)) == ask.at);
    *s = (struct held_snapshot){handle, ask.at};
}

static size_t live_tags(const struct test *t)
{
    size_t live = 0;

    for (size_t i = 0; i < t->tag_count; i++)
        live += t->tags[i].dropped == 0;
    return live;
}

static void drop_tag(struct test *t)
{
    struct tag *tag = &t->tags[below(t, t->tag_count)];
    helios_branch_id branch = 77;
    helios_seq at = 0;

    if (tag->dropped)
        return;
    MUST(t, helios_tag_get(t->db, tag->name, &branch, &at));
    CHECK(t, branch == tag->branch && of_point(at) == tag->at);
    MUST(t, helios_tag_drop(t->db, tag->name));
    note_commit(t);
    tag->dropped = model_latest(t->model);
}

void toggle_tag(struct test *t)
{
    struct tag *tag = &t->tags[t->tag_count];
    struct ask ask = any_ask(t);

    if (t->tag_count && (chance(t, 2) || live_tags(t) >= TAGS_LIVE)) {
        drop_tag(t);
        return;
    }
    if (ask.read.snapshot || t->tag_count == TAGS_MAX)
        return;
    snprintf(tag->name, sizeof(tag->name), "tag %zu", t->tag_names++);
    if (!judge(t, &ask, helios_tag_create(t->db, tag->name, ask.branch, ask.read.at)))
        return;
    note_commit(t);
    tag->branch = ask.branch;
    tag->at = ask.at;
    tag->made = model_latest(t->model);
    tag->dropped = 0;
    t->tag_count++;
}

/* ---- branches ---- */

/* Names are given again after a while. */
static void any_name(struct test *t, char name[MODEL_NAME])
{
    snprintf(name, MODEL_NAME, "branch %u", (unsigned)below(t, 40));
}

static bool is_taken(const struct test *t, const char *name)
{
    for (helios_branch_id i = 0; i < t->model->branch_count; i++)
        if (model_is_live(t->model, i) && strcmp(model_event_at(t->model, i, UINT64_MAX)->name, name) == 0)
            return true;
    return false;
}

void fork_branch(struct test *t)
{
    struct ask ask = any_ask(t);
    char name[MODEL_NAME];
    helios_branch_id id = 77;
    helios_status status;

    if (ask.read.snapshot || live_branches(t) >= BRANCHES_LIVE || t->model->branch_count == MODEL_BRANCHES)
        return;
    any_name(t, name);
    status = helios_branch_create(t->db, name, ask.branch, ask.read.at, &id);
    if (is_taken(t, name)) {
        CHECK(t, status == HELIOS_EXISTS || (status == HELIOS_HISTORY_GONE && !must_be_readable(t, &ask)));
        return;
    }
    if (!judge(t, &ask, status))
        return;
    CHECK(t, helios_latest(t->db) > model_latest(t->model));
    CHECK(t, id == model_fork(t->model, ask.branch, ask.at, name, helios_latest(t->db)));
    t->counts.forks++;
}

void drop_branch(struct test *t)
{
    helios_branch_id branch = any_branch(t);
    bool children = model_children(t->model, branch) != 0, used = handles_on(t, branch) || tagged(t, branch);
    helios_status status;

    if (live_branches(t) < BRANCHES_LIVE / 2)
        return;
    status = helios_branch_drop(t->db, branch);
    t->checks++;
    if (branch == 0) {
        CHECK(t, status == HELIOS_INVALID);
    } else if (children || used) {
        CHECK(t, (children && status == HELIOS_INVALID) || (used && status == HELIOS_BUSY));
    } else {
        MUST(t, status);
        note_commit(t);
        t->model->branches[branch].dropped = model_latest(t->model);
        t->counts.drops++;
    }
}

void rename_branch(struct test *t)
{
    helios_branch_id branch = any_branch(t);
    const struct model_event *event = model_event_at(t->model, branch, UINT64_MAX);
    char name[MODEL_NAME];
    helios_status status;

    if (branch == 0 || t->model->event_count == MODEL_EVENTS)
        return;
    any_name(t, name);
    status = helios_branch_rename(t->db, branch, name);
    if (strcmp(event->name, name) == 0) {
        MUST(t, status); /* whether that is a commit is nobody's concern */
        if (helios_latest(t->db) > model_latest(t->model))
            note_commit(t);
    } else if (is_taken(t, name)) {
        CHECK(t, status == HELIOS_EXISTS);
    } else {
        MUST(t, status);
        CHECK(t, helios_latest(t->db) > model_latest(t->model));
        model_event(t->model, branch, name, event->metadata, helios_latest(t->db));
    }
    t->checks++;
}

void set_metadata(struct test *t)
{
    helios_branch_id branch = any_branch(t);
    const struct model_event *event = model_event_at(t->model, branch, UINT64_MAX);
    uint32_t size = (uint32_t)below(t, chance(t, 20) ? (64 << 10) + 1 : 60);

    if (branch == 0 || t->model->event_count == MODEL_EVENTS)
        return;
    MUST(t, helios_branch_set_metadata(t->db, branch, slice_make(t->metadata + size % 7, size)));
    if (size == event->metadata && helios_latest(t->db) == model_latest(t->model))
        return; /* as it was */
    CHECK(t, helios_latest(t->db) > model_latest(t->model));
    model_event(t->model, branch, event->name, size, helios_latest(t->db));
    t->checks++;
}
