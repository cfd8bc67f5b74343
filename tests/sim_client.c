/* sim_client.c - what one client of the simulation does: steps by chance, each noted for the judge. */
#undef NDEBUG
#include "tests/sim_world.h"
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

struct actor {
    struct sim_world *w;
    unsigned index, step; /* step: its number in the whole run */
    struct random rng;
    bool stopped;
    unsigned markers;
    helios_snapshot *snapshot;
    helios_seq snapshot_at;
    helios_iter *iter;
    size_t iter_look;
    helios_branch_id iter_branch;
    helios_buf got;
    unsigned char value[SIM_VALUE_MAX];
};

static uint64_t below(struct actor *a, uint64_t limit)
{
    return random_below(&a->rng, limit);
}

static bool chance(struct actor *a, unsigned one_in)
{
    return below(a, one_in) == 0;
}

/* ---- statuses ---- */

/* Whether the call did what it should. What else may come: what is allowed here, and failures while something fails; after
 * one of these that lasts the client has ended. */
static bool went_well(struct actor *a, helios_status status, uint32_t allowed, const char *what)
{
    const uint32_t failures = 1u << HELIOS_IO | 1u << HELIOS_NO_SPACE | 1u << HELIOS_NO_MEMORY |
                              1u << HELIOS_READ_ONLY | 1u << HELIOS_LIMIT;

    sim_note("%u %s: %s", a->step, what, helios_status_name(status));
    if (status == HELIOS_OK)
        return true;
    if (allowed & 1u << status)
        return false;
    SIM_CHECK(a->w->faulty && (failures & 1u << status), "step %u, %s: %s: %s", a->step, what,
              helios_status_name(status), helios_last_error());
    if (status == HELIOS_READ_ONLY || status == HELIOS_IO)
        a->stopped = a->stopped || !chance(a, 4); /* some go on asking */
    return false;
}

/* What a branch that somebody closes or drops may answer. */
static uint32_t of_branch(const struct sim_world *w, helios_branch_id branch)
{
    return w->branches[branch].closing ? 1u << HELIOS_NOT_FOUND | 1u << HELIOS_READ_ONLY | 1u << HELIOS_BUSY
                                       : 0;
}

/* ---- choices ---- */

static helios_branch_id any_branch(struct actor *a)
{
    helios_branch_id found = 0;
    uint64_t count = 1;

    if (chance(a, 2))
        return 0;
    for (helios_branch_id i = 1; i < MODEL_BRANCHES; i++)
        if (a->w->branches[i].known && below(a, ++count) == 0)
            found = i;
    return found;
}

static size_t any_key(struct actor *a)
{
    return chance(a, 3) ? below(a, a->w->key_count) : below(a, a->w->key_count / 4 + 1);
}

static helios_durability any_durability(struct actor *a)
{
    static const helios_durability some[] = {HELIOS_DURABILITY_DEFAULT, HELIOS_DURABILITY_ASYNC,
                                             HELIOS_DURABILITY_GROUP, HELIOS_DURABILITY_SYNC};

    return some[below(a, 4)];
}

/* ---- notes ---- */

static struct sim_event *event_new(struct actor *a, int kind, helios_branch_id branch)
{
    struct sim_world *w = a->w;
    struct sim_event *e = &w->events[w->event_count++];

    assert(w->event_count <= SIM_EVENTS);
    memset(e, 0, sizeof(*e));
    e->kind = kind;
    e->branch = branch;
    e->step = a->step;
    e->look = -1;
    e->in_doubt = true; /* until the call has returned */
    e->before = helios_latest(w->db);
    return e;
}

static void event_ends(struct actor *a, struct sim_event *e, bool committed, helios_seq seq, bool may_be_there)
{
    e->in_doubt = !committed && may_be_there;
    e->seq = committed ? seq : 0;
    if (!committed && !may_be_there)
        e->before = HELIOS_SEQ_NONE; /* it never was */
    a->w->counts.commits += committed;
    a->w->counts.in_doubt += e->in_doubt;
}

static size_t look_new(struct actor *a, helios_branch_id branch)
{
    struct sim_world *w = a->w;
    struct sim_look *look = &w->looks[w->look_count];

    assert(w->look_count < SIM_LOOKS);
    look->branch = branch;
    look->step = a->step;
    look->low = helios_latest(w->db);
    look->high = HELIOS_SEQ_NONE;
    for (size_t i = 0; i < SIM_CELLS; i++)
        look->seen[i] = -1;
    return w->look_count++;
}

static void saw(struct actor *a, size_t at, size_t key, int32_t value)
{
    struct sim_look *look = &a->w->looks[at];

    SIM_CHECK(look->seen[key] < 0 || look->seen[key] == value,
              "step %u: key %zu of branch %" PRIu32 " was %" PRId32 " and is %" PRId32 " at one point", a->step,
              key, look->branch, look->seen[key], value);
    look->seen[key] = value;
}

/* ---- writes ---- */

static struct sim_op any_op(struct actor *a)
{
    struct sim_op op = {.kind = SIM_PUT, .key = (uint16_t)any_key(a)};
    uint64_t dice = below(a, 100);

    if (dice < 25) {
        op.kind = SIM_DELETE;
    } else if (dice < 32) {
        op.kind = SIM_RANGE;
        op.to = (uint16_t)(op.key + below(a, 1 + (a->w->key_count - op.key) / 2));
    } else {
        op.value = ++a->w->values;
    }
    return op;
}

/* The own marker comes last. */
static void add_marker(struct actor *a, struct sim_event *e)
{
    struct sim_world *w = a->w;
    size_t key = w->key_count + a->index * SIM_MARKERS + a->markers++ % SIM_MARKERS;

    e->marker = ++w->values;
    e->ops[e->op_count++] = (struct sim_op){SIM_PUT, (uint16_t)key, 0, e->marker};
}

static void draw_ops(struct actor *a, struct sim_event *e)
{
    unsigned count = chance(a, 3) ? 1 + (unsigned)below(a, SIM_OPS - 1) : 1 + (unsigned)below(a, 3);

    for (unsigned i = 0; i < count; i++)
        e->ops[e->op_count++] = any_op(a);
    add_marker(a, e);
}

/* In doubt is what failed in any way while something fails: that nothing changed is the judge's to find. */
static void write_ends(struct actor *a, struct sim_event *e, helios_status status, uint32_t allowed,
                       helios_seq seq, helios_durability durability, const char *what)
{
    bool well = went_well(a, status, allowed | of_branch(a->w, e->branch), what);
    bool refused = !well && !a->w->faulty;

    if (durability == HELIOS_DURABILITY_DEFAULT)
        durability = a->w->open_options.durability;
    event_ends(a, e, well, seq, !refused && !(allowed & 1u << status));
    if (well && durability == HELIOS_DURABILITY_SYNC && seq > a->w->durable)
        a->w->durable = seq;
}

static void write_batch(struct actor *a)
{
    struct sim_world *w = a->w;
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    struct sim_event *e = event_new(a, EVENT_WRITE, any_branch(a));
    helios_batch *batch = helios_batch_new();
    helios_status status = batch ? HELIOS_OK : HELIOS_NO_MEMORY;
    helios_seq seq = 0;

    draw_ops(a, e);
    options.branch = e->branch;
    options.durability = any_durability(a);
    for (unsigned i = 0; batch && i < e->op_count; i++) {
        const struct sim_op *op = &e->ops[i];

        switch (op->kind) {
        case SIM_PUT: helios_batch_put(batch, sim_key(w, op->key), sim_value(op->value, a->value)); break;
        case SIM_DELETE: helios_batch_delete(batch, sim_key(w, op->key)); break;
        default: helios_batch_delete_range(batch, sim_key(w, op->key), sim_key(w, op->to));
        }
    }
    if (status == HELIOS_OK)
        status = helios_write(w->db, &options, batch, &seq);
    write_ends(a, e, status, 0, seq, options.durability, "write");
    helios_batch_free(batch);
}

/* Without a number given back: only where nobody else commits. */
static void write_one(struct actor *a)
{
    struct sim_world *w = a->w;
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    struct sim_event *e;
    struct sim_op op = any_op(a);
    helios_status status;

    if (w->clients > 1) {
        write_batch(a);
        return;
    }
    e = event_new(a, EVENT_WRITE, any_branch(a));
    options.branch = e->branch;
    options.durability = any_durability(a);
    e->ops[e->op_count++] = op;
    if (op.kind == SIM_PUT)
        status = helios_put(w->db, &options, sim_key(w, op.key), sim_value(op.value, a->value));
    else if (op.kind == SIM_DELETE)
        status = helios_delete(w->db, &options, sim_key(w, op.key));
    else
        status = helios_delete_range(w->db, &options, sim_key(w, op.key), sim_key(w, op.to));
    if (status == HELIOS_OK && op.kind == SIM_RANGE && op.key >= op.to) {
        event_ends(a, e, false, 0, false);
        return;
    }
    write_ends(a, e, status, 0, helios_latest(w->db), options.durability, "one");
    if (e->in_doubt)
        a->stopped = true; /* it has no marker: what comes after it would make it undecidable */
}

/* ---- reads ---- */

static void read_ends(struct actor *a, size_t look)
{
    a->w->looks[look].high = helios_latest(a->w->db);
    a->w->counts.looks++;
}

static helios_read_options read_of(helios_branch_id branch, helios_seq at)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;

    read.branch = branch;
    read.at = at;
    return read;
}

static bool note_get(struct actor *a, size_t look, size_t key, helios_status status, uint32_t allowed)
{
    if (status == HELIOS_NOT_FOUND && !(allowed & 1u << HELIOS_NOT_FOUND)) {
        sim_note("%u get: none", a->step);
        saw(a, look, key, 0);
        return true;
    }
    if (!went_well(a, status, allowed, "get"))
        return false;
    saw(a, look, key, (int32_t)sim_value_number(slice_make(a->got.data, a->got.size)));
    return true;
}

static void get(struct actor *a)
{
    helios_branch_id branch = any_branch(a);
    helios_read_options read = read_of(branch, 0);
    size_t key = chance(a, 10) ? a->w->key_count + below(a, a->w->cell_count - a->w->key_count) : any_key(a);
    size_t look = look_new(a, branch);
    helios_status status;

    if (a->snapshot && chance(a, 3)) {
        read.snapshot = a->snapshot;
        a->w->looks[look].low = a->snapshot_at;
    }
    status = helios_get(a->w->db, &read, sim_key(a->w, key), &a->got);
    (void)!note_get(a, look, key, status, of_branch(a->w, branch));
    read_ends(a, look);
    if (read.snapshot)
        a->w->looks[look].high = a->snapshot_at;
}

/* From where it stands to the end of the keys, or a few steps. */
static void walk_on(struct actor *a, size_t look, helios_iter *it, size_t from, size_t steps, uint32_t allowed)
{
    size_t key = from;

    for (size_t i = 0; helios_iter_valid(it) && i < steps; i++) {
        size_t found = sim_key_index(a->w, helios_iter_key(it));

        SIM_CHECK(found >= key, "step %u: a walk goes back from key %zu to %zu", a->step, key, found);
        while (key < found)
            saw(a, look, key++, 0);
        saw(a, look, key++, (int32_t)sim_value_number(helios_iter_value(it)));
        helios_iter_next(it);
    }
    if (!went_well(a, helios_iter_status(it), allowed, "walk") || helios_iter_valid(it))
        return;
    while (key < a->w->cell_count)
        saw(a, look, key++, 0);
}

static void walk_back(struct actor *a, size_t look, helios_iter *it, uint32_t allowed)
{
    size_t key = a->w->cell_count;

    for (helios_iter_last(it); helios_iter_valid(it); helios_iter_prev(it)) {
        size_t found = sim_key_index(a->w, helios_iter_key(it));

        SIM_CHECK(found < key, "step %u: a walk back goes on from key %zu to %zu", a->step, key, found);
        while (--key > found)
            saw(a, look, key, 0);
        saw(a, look, key, (int32_t)sim_value_number(helios_iter_value(it)));
    }
    if (went_well(a, helios_iter_status(it), allowed, "walk back"))
        while (key-- > 0)
            saw(a, look, key, 0);
}

static void scan(struct actor *a)
{
    helios_branch_id branch = any_branch(a);
    helios_read_options read = read_of(branch, 0);
    size_t look = look_new(a, branch), from = chance(a, 2) ? 0 : any_key(a);
    uint32_t allowed;
    helios_iter *it = NULL;
    helios_status status = helios_iter_new(a->w->db, &read, &it);

    read_ends(a, look);
    allowed = of_branch(a->w, branch);
    if (!went_well(a, status, allowed, "iterator"))
        return;
    if (chance(a, 3)) {
        walk_back(a, look, it, allowed);
    } else {
        helios_iter_seek(it, sim_key(a->w, from));
        walk_on(a, look, it, from, SIM_CELLS, allowed);
    }
    helios_iter_free(it);
}

/* One that stays open over many steps. */
static void hold_iterator(struct actor *a)
{
    helios_read_options read;
    size_t from = any_key(a);

    if (a->iter && chance(a, 4)) {
        helios_iter_free(a->iter);
        a->iter = NULL;
        return;
    }
    if (!a->iter) {
        a->iter_branch = any_branch(a);
        read = read_of(a->iter_branch, 0);
        a->iter_look = look_new(a, a->iter_branch);
        if (!went_well(a, helios_iter_new(a->w->db, &read, &a->iter), of_branch(a->w, a->iter_branch),
                       "iterator"))
            a->iter = NULL;
        read_ends(a, a->iter_look);
        return;
    }
    helios_iter_seek(a->iter, sim_key(a->w, from));
    walk_on(a, a->iter_look, a->iter, from, 1 + below(a, 20), of_branch(a->w, a->iter_branch));
    if (helios_iter_status(a->iter) != HELIOS_OK) {
        helios_iter_free(a->iter);
        a->iter = NULL;
    }
}

static void hold_snapshot(struct actor *a)
{
    if (a->snapshot) {
        helios_snapshot_free(a->w->db, a->snapshot);
        a->snapshot = NULL;
        return;
    }
    if (went_well(a, helios_snapshot_new(a->w->db, 0, &a->snapshot), 0, "snapshot"))
        a->snapshot_at =
            helios_snapshot_seq(a->snapshot) == HELIOS_SEQ_NONE ? 0 : helios_snapshot_seq(a->snapshot);
    else
        a->snapshot = NULL;
}

/* ---- transactions ---- */

static helios_status txn_read(struct actor *a, helios_txn *txn, const struct sim_event *e)
{
    size_t key = any_key(a);
    helios_status status;

    for (unsigned i = 0; i < e->op_count; i++) /* own writes are another test's */
        if (e->ops[i].kind == SIM_RANGE ? key >= e->ops[i].key && key < e->ops[i].to : e->ops[i].key == key)
            return HELIOS_OK;
    status = helios_txn_get(txn, sim_key(a->w, key), &a->got);
    return note_get(a, (size_t)e->look, key, status, of_branch(a->w, e->branch)) ? HELIOS_OK : status;
}

static helios_status txn_write(struct actor *a, helios_txn *txn, const struct sim_op *op)
{
    switch (op->kind) {
    case SIM_PUT: return helios_txn_put(txn, sim_key(a->w, op->key), sim_value(op->value, a->value));
    case SIM_DELETE: return helios_txn_delete(txn, sim_key(a->w, op->key));
    default: return helios_txn_delete_range(txn, sim_key(a->w, op->key), sim_key(a->w, op->to));
    }
}

static helios_status txn_body(struct actor *a, helios_txn *txn, struct sim_event *e)
{
    unsigned count = 1 + (unsigned)below(a, 6);
    helios_status status = HELIOS_OK;

    for (unsigned i = 0; i < count && status == HELIOS_OK; i++) {
        status = txn_read(a, txn, e);
        if (status == HELIOS_OK && chance(a, 2)) {
            e->ops[e->op_count] = any_op(a);
            status = txn_write(a, txn, &e->ops[e->op_count++]);
        }
        if (chance(a, 4))
            sim_sleep(below(a, 3000));
    }
    add_marker(a, e);
    return status == HELIOS_OK ? txn_write(a, txn, &e->ops[e->op_count - 1]) : status;
}

static void transaction(struct actor *a)
{
    helios_txn_options options = HELIOS_TXN_OPTIONS_INIT;
    struct sim_event *e = event_new(a, EVENT_WRITE, any_branch(a));
    helios_txn *txn = NULL;
    helios_seq seq = 0;
    helios_status status;
    bool gives_up = chance(a, 8);

    e->serializable = chance(a, 2);
    options.branch = e->branch;
    options.isolation = e->serializable ? HELIOS_ISOLATION_SERIALIZABLE : HELIOS_ISOLATION_SNAPSHOT;
    options.durability = any_durability(a);
    e->look = (int)look_new(a, e->branch);
    status = helios_txn_begin(a->w->db, &options, &txn);
    read_ends(a, (size_t)e->look);
    if (status == HELIOS_OK)
        status = txn_body(a, txn, e);
    if (status != HELIOS_OK || gives_up) {
        (void)!went_well(a, status, of_branch(a->w, e->branch), "transaction");
        event_ends(a, e, false, 0, false);
        helios_txn_free(txn);
        return;
    }
    status = helios_txn_commit(txn, &seq);
    a->w->counts.conflicts += status == HELIOS_CONFLICT;
    write_ends(a, e, status, 1u << HELIOS_CONFLICT, seq, options.durability, "commit");
    helios_txn_free(txn);
}

/* ---- branches ---- */

static helios_seq plain(helios_seq point)
{
    return point == HELIOS_SEQ_NONE ? 0 : point;
}

static void branch_known(struct actor *a, struct sim_event *e, helios_branch_id id)
{
    helios_branch_info *info = NULL;
    helios_status status = helios_branch_get(a->w->db, id, &info);

    if (status != HELIOS_OK) { /* out of memory: the name will tell */
        SIM_CHECK(a->w->faulty, "a branch that was made: %s", helios_last_error());
        return;
    }
    e->other = id;
    e->at = plain(info->fork_seq);
    event_ends(a, e, true, info->created_seq, false);
    assert(id < MODEL_BRANCHES);
    a->w->branches[id].known = true;
    helios_free(info);
}

static void fork_branch(struct actor *a)
{
    struct sim_world *w = a->w;
    struct sim_event *e;
    helios_branch_id parent = any_branch(a), id = 0;
    helios_status status;

    if (w->names >= 40)
        return;
    e = event_new(a, EVENT_FORK, parent);
    snprintf(e->name, sizeof(e->name), "b%" PRIu32, w->names++);
    status = helios_branch_create(w->db, e->name, parent, 0, &id);
    w->counts.forks += status == HELIOS_OK;
    if (went_well(a, status, of_branch(w, parent), "fork"))
        branch_known(a, e, id);
    else
        event_ends(a, e, false, 0, w->faulty);
}

/* The last merge's record says which point of the source it took. */
static void merge_known(struct actor *a, struct sim_event *e, helios_seq commit)
{
    helios_merge_info *list = NULL;
    size_t n = 0;
    helios_status status = helios_branch_merges(a->w->db, e->branch, &list, &n);

    if (status != HELIOS_OK)
        return;
    for (size_t i = 0; i < n; i++)
        if (list[i].commit == commit) {
            e->at = plain(list[i].source.at);
            event_ends(a, e, true, commit, false);
        }
    helios_free(list);
}

static void merge(struct actor *a)
{
    struct sim_world *w = a->w;
    helios_merge_options options = HELIOS_MERGE_OPTIONS_INIT;
    helios_merge_result result = {0};
    helios_branch_id source = any_branch(a), target = any_branch(a);
    struct sim_event *e;
    helios_status status;

    if (source == target)
        return;
    e = event_new(a, EVENT_MERGE, target);
    e->other = source;
    e->theirs = chance(a, 2);
    options.strategy = e->theirs ? HELIOS_MERGE_THEIRS : HELIOS_MERGE_OURS;
    status = helios_branch_merge(w->db, source, target, &options, &result);
    if (!went_well(a, status, of_branch(w, source) | of_branch(w, target), "merge")) {
        event_ends(a, e, false, 0, w->faulty);
        return;
    }
    w->counts.merges++;
    if (result.commit == 0)
        event_ends(a, e, false, 0, false);
    else
        merge_known(a, e, result.commit);
}

static void drop_branch(struct actor *a)
{
    struct sim_world *w = a->w;
    helios_branch_id branch = any_branch(a);
    helios_branch_info *info = NULL;
    struct sim_event *e;
    helios_status status;

    if (branch == 0 || w->branches[branch].closing)
        return;
    w->branches[branch].closing = true;
    e = event_new(a, EVENT_DROP, branch);
    status = helios_branch_drop(w->db, branch);
    if (!went_well(a, status, 1u << HELIOS_INVALID | 1u << HELIOS_BUSY | 1u << HELIOS_NOT_FOUND, "drop")) {
        event_ends(a, e, false, 0, w->faulty && status != HELIOS_INVALID && status != HELIOS_BUSY);
        return;
    }
    w->branches[branch].known = false;
    status = helios_branch_get(w->db, branch, &info);
    SIM_CHECK(status == HELIOS_OK || w->faulty, "a branch that was dropped: %s", helios_last_error());
    if (status == HELIOS_OK)
        event_ends(a, e, true, info->closed_seq, false);
    helios_free(info);
}

/* ---- upkeep ---- */

static void sync_log(struct actor *a)
{
    helios_seq latest = helios_latest(a->w->db);

    if (went_well(a, helios_sync(a->w->db), 0, "sync") && latest > a->w->durable)
        a->w->durable = latest;
}

static void flush(struct actor *a)
{
    (void)!went_well(a, helios_flush(a->w->db), 0, "flush");
}

static void compact(struct actor *a)
{
    size_t from = any_key(a);
    bool whole = chance(a, 2);

    (void)!went_well(
        a, helios_compact(a->w->db, whole ? (helios_slice){0} : sim_key(a->w, from), (helios_slice){0}), 0,
        "compact");
}

static void verify(struct actor *a)
{
    /* where a failed sync has dropped pages of the log, it says so */
    uint32_t allowed = a->w->pages_lost ? 1u << HELIOS_CORRUPT : 0;

    (void)!went_well(a, helios_verify(a->w->db, NULL, NULL), allowed, "verify");
}

static void checkpoint(struct actor *a)
{
    char path[32];

    snprintf(path, sizeof(path), "/copy%" PRIu32, a->w->checkpoints++);
    (void)!went_well(a, helios_checkpoint(a->w->db, path), 0, "checkpoint");
}

static void statistics(struct actor *a)
{
    char *text = NULL;

    if (went_well(a, helios_stats_json(a->w->db, &text), 0, "statistics"))
        helios_free(text);
}

static void pass_time(struct actor *a)
{
    sim_sleep(below(a, chance(a, 5) ? 3000000 : 20000));
}

static void jump(struct actor *a)
{
    static const int64_t by[] = {-3600, 3600, -1, 315360000, -315360000};

    if (!a->w->jumps)
        return;
    if (chance(a, 3))
        sim_clock_freeze(chance(a, 2));
    else
        sim_clock_jump(by[below(a, 5)] * 1000000);
}

/* ---- steps ---- */

static const struct {
    unsigned weight;
    void (*run)(struct actor *);
} actions[] = {
    {30, write_batch},  {12, write_one},    {20, transaction}, {20, get},   {12, scan},
    {8, hold_iterator}, {4, hold_snapshot}, {4, fork_branch},  {4, merge},  {2, drop_branch},
    {3, sync_log},      {2, flush},         {1, compact},      {1, verify}, {1, checkpoint},
    {1, statistics},    {6, pass_time},     {1, jump},
};

static void one_step(struct actor *a)
{
    unsigned sum = 0, i = 0;
    uint64_t dice;

    for (size_t k = 0; k < sizeof(actions) / sizeof(actions[0]); k++)
        sum += actions[k].weight;
    for (dice = below(a, sum); dice >= actions[i].weight; i++)
        dice -= actions[i].weight;
    actions[i].run(a);
    a->w->counts.steps++;
}

void *sim_client_run(void *arg)
{
    struct sim_client *client = arg;
    struct sim_world *w = client->w;
    struct actor *a = calloc(1, sizeof(*a));

    assert(a);
    a->w = w;
    a->index = client->index;
    for (unsigned step = 0; step < w->steps && !a->stopped; step++) {
        a->step = (w->round * SIM_CLIENTS + a->index) * SIM_STEPS + step;
        random_seed(&a->rng, sim_hash_of(w->seed, w->round, a->index, step));
        if (sim_step_wanted(w, a->step))
            one_step(a);
    }
    helios_iter_free(a->iter);
    helios_snapshot_free(w->db, a->snapshot);
    helios_buf_free(&a->got);
    free(a);
    return NULL;
}
