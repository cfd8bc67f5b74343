/* merge.c - merges and reverts: who takes part, from which base, in how many rounds. merge_walk.c compares, merge_commit.c
 * commits.
 *
 * One merge at a time goes into a target, so that its vector is what it was when the record was made; merges into others
 * go beside it. A round walks at the last commit; if a key that the source has changed is written on the target before it could
 * commit, the next one begins anew; the last keeps the target's writers waiting while it walks.
 *
 * Locks: db->merge_mu, for a moment; registry_mu, for a moment and never with a gate closed: who holds registry_mu
 * commits on main. */
#include "engine/gate.h"
#include "engine/merge.h"
#include "engine/read.h"
#include <inttypes.h>

enum { FREE_ROUNDS = 3, BASES_MAX = 200 /* more are as good as none */ };

static const helios_merge_options default_merge = HELIOS_MERGE_OPTIONS_INIT;

struct merging {
    struct helios_db *db;
    helios_branch_id source, target; /* a revert has one branch alone: both */
    helios_merge_options options;
    const struct merge_rows_ops *rows;
    bool gated;
    struct gate gate;
    struct merge_states states;
    struct state_point seen;
    bool committing;      /* merge_commit_begin() was called */
    pin_id pin, seen_pin; /* of this round's point, and of the one before */
    /* Of this round; a revert's are of all of its rounds. */
    struct bases bases;
    struct vector missing; /* what the source contains and the target does not */
    pin_id *base_pins;
    struct merge *record;
    helios_buf record_entry, closed_entry;
    helios_seq commit;
    uint64_t merged, deleted, conflicts;
};

/* ---- who takes part ---- */

static helios_status merge_options(const helios_merge_options *given, helios_merge_options *out)
{
    helios_status status =
        options_copy(given, given ? given->size : 0, &default_merge, sizeof(*out), out, "helios_merge_options");

    if (status != HELIOS_OK)
        return status;
    if ((unsigned)out->strategy > HELIOS_MERGE_RESOLVE)
        return fail(HELIOS_INVALID, "there is no merge strategy %d", (int)out->strategy);
    if (out->strategy == HELIOS_MERGE_RESOLVE && !out->resolve)
        return fail(HELIOS_INVALID, "HELIOS_MERGE_RESOLVE needs resolve()");
    return HELIOS_OK;
}

static helios_status may_write(struct merging *m)
{
    helios_status status;

    if (m->options.dry_run)
        return branch_readable(m->db, m->target);
    status = db_writable(m->db);
    return status == HELIOS_OK ? branch_writable(m->db, m->target) : status;
}

/* Both stay, and no other merge goes into the target, until leave(). */
static helios_status enter(struct merging *m)
{
    struct helios_db *db = m->db;
    struct branch *target = (struct branch *)branch_at(db, m->target);
    helios_status status = branch_hold(db, m->source);

    if (status != HELIOS_OK)
        return status;
    status = branch_hold(db, m->target);
    if (status != HELIOS_OK) {
        branch_release(db, m->source);
        return status;
    }
    atomic_fetch_add_explicit(&db->iterators, 1, memory_order_relaxed);
    mutex_lock(&db->merge_mu);
    while (target->merging && !m->options.dry_run)
        condition_wait(&db->merge_over, &db->merge_mu);
    target->merging |= !m->options.dry_run;
    mutex_unlock(&db->merge_mu);
    return HELIOS_OK;
}

static void leave(struct merging *m)
{
    struct helios_db *db = m->db;

    if (!m->options.dry_run) {
        mutex_lock(&db->merge_mu);
        ((struct branch *)branch_at(db, m->target))->merging = false;
        condition_broadcast(&db->merge_over);
        mutex_unlock(&db->merge_mu);
    }
    atomic_fetch_sub_explicit(&db->iterators, 1, memory_order_release);
    branch_release(db, m->target);
    branch_release(db, m->source);
}

/* ---- a round's points ---- */

static void round_release(struct merging *m)
{
    for (size_t i = 0; m->base_pins && i < m->bases.points.count; i++)
        pins_release(m->db->pins, m->base_pins[i]);
    mem_free(m->base_pins);
    m->base_pins = NULL;
    bases_release(&m->bases);
    vector_release(&m->missing);
    merge_free(m->record);
    m->record = NULL;
}

/* What this round has seen is what the next one has told about. */
static void round_over(struct merging *m, bool again)
{
    if (m->gated)
        gate_open(m->db, &m->gate);
    m->gated = false;
    pins_release(m->db->pins, m->seen_pin);
    m->seen_pin = 0;
    if (again) {
        m->seen = m->states.ours;
        m->states.seen = &m->seen;
        m->seen_pin = m->pin;
    } else {
        pins_release(m->db->pins, m->pin);
    }
    m->pin = 0;
}

void merge_commit_begin(struct helios_db *db)
{
    mutex_lock(&db->merge_mu);
    db->merges_committing++;
    mutex_unlock(&db->merge_mu);
}

void merge_commit_end(struct helios_db *db)
{
    mutex_lock(&db->merge_mu);
    db->merges_committing--;
    condition_broadcast(&db->merge_over);
    mutex_unlock(&db->merge_mu);
}

static helios_status take_point(struct merging *m)
{
    const struct pin_owner owner = pin_owner_now(m->db, HELIOS_PIN_ITERATOR);
    helios_seq now;
    helios_status status;

    mutex_lock(&m->db->merge_mu);
    while (m->db->merges_committing)
        condition_wait(&m->db->merge_over, &m->db->merge_mu);
    status = pins_acquire_latest(m->db->pins, &owner, &m->db->latest, &m->db->horizon, &m->pin, &now);
    mutex_unlock(&m->db->merge_mu);
    if (status == HELIOS_OK)
        m->states.ours = (struct state_point){m->target, now};
    return status;
}

static helios_status find_common(struct merging *m)
{
    struct vector theirs = {0}, ours = {0};
    struct registry *registry = m->db->registry;
    helios_seq now = m->states.ours.seq;
    helios_status status;

    epoch_enter(); /* for the registry; nothing here waits */
    status = vector_of(registry, m->source, now, &theirs);
    if (status == HELIOS_OK)
        status = vector_of(registry, m->target, now, &ours);
    if (status == HELIOS_OK)
        status = bases_find(registry, &theirs, &ours, &m->bases);
    if (status == HELIOS_OK)
        status = vector_missing(&theirs, &ours, &m->missing);
    epoch_leave();
    vector_release(&theirs);
    vector_release(&ours);
    return status;
}

struct named_base {
    struct helios_db *db;
    helios_branch_id branch;
};

static bool is_named(void *arg, helios_seq seq)
{
    const struct named_base *base = arg;

    return branch_holds_point(base->db, base->branch, seq);
}

/* Forks and merges hold the bases; from here on so do we, whatever comes. */
static helios_status pin_bases(struct merging *m)
{
    const struct pin_owner owner = pin_owner_now(m->db, HELIOS_PIN_ITERATOR);
    const struct vector *points = &m->bases.points;
    helios_status status = HELIOS_OK;

    m->base_pins = mem_zalloc((points->count + 1) * sizeof(*m->base_pins));
    if (!m->base_pins)
        return fail_no_memory((points->count + 1) * sizeof(*m->base_pins));
    for (size_t i = 0; i < points->count && status == HELIOS_OK; i++) {
        struct named_base named = {m->db, points->at[i].branch};

        if (points->at[i].seq)
            status = pins_acquire_at(m->db->pins, &owner, points->at[i].seq, &m->db->horizon, is_named, &named,
                                     &m->base_pins[i]);
        if (status == HELIOS_HISTORY_GONE)
            status = fail_history_gone(m->db, points->at[i].seq);
    }
    m->states.bases = points->at;
    m->states.base_count = m->bases.lost || points->count > BASES_MAX ? 0 : points->count;
    return status;
}

/* ---- is there anything to merge? ---- */

static bool merged_between(struct helios_db *db, helios_branch_id id, helios_seq low, helios_seq high)
{
    for (const struct merge *merge = branch_merges(branch_at(db, id)); merge; merge = merge->older)
        if (merge->commit > low && merge->commit <= high)
            return true;
    return false;
}

/* Whether anything was written on the branch itself in (low, high]. */
static helios_status written_between(struct helios_db *db, helios_branch_id id, helios_seq low, helios_seq high,
                                     bool *written)
{
    static const uint8_t spaces[] = {SPACE_USER, SPACE_DATA, SPACE_INDEX, SPACE_META};
    static const uint8_t pair[1][2] = {{0, 1}};
    const struct state_point states[2] = {{id, low}, {id, high}};
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < sizeof(spaces) && status == HELIOS_OK && !*written; i++) {
        const struct compare_options options = {
            .space = spaces[i], .states = states, .state_count = 2, .pairs = pair, .pair_count = 1};
        struct compare *compare = NULL;

        status = compare_new(db, &options, &compare);
        if (status != HELIOS_OK)
            break;
        *written = compare_next(compare);
        status = compare_status(compare);
        compare_free(compare);
    }
    return status;
}

/* Whether the target has all of the source: then the source, or the ancestor that it still equals, is in the target's
 * vector. */
static helios_status contained(struct merging *m, bool *out)
{
    struct vector ours = {0};
    const struct branch *branch = branch_at(m->db, m->source);
    helios_seq seq = m->states.ours.seq;
    helios_status status;

    epoch_enter();
    status = vector_of(m->db->registry, m->target, seq, &ours);
    epoch_leave();
    *out = false;
    while (status == HELIOS_OK) {
        helios_seq known = 0, low;
        bool has = vector_find(&ours, branch->id, &known), written = false;

        *out = has && known >= seq;
        low = branch->id && (!has || known < branch->fork_seq) ? branch->fork_seq : known;
        if (*out || merged_between(m->db, branch->id, low, seq))
            break;
        if (low < seq)
            status = written_between(m->db, branch->id, low, seq, &written);
        *out = status == HELIOS_OK && !written && has && known >= low;
        if (*out || written || branch->id == 0)
            break;
        seq = low;
        branch = branch_at(m->db, branch->parent);
    }
    vector_release(&ours);
    return status;
}

/* ---- what is written beside the keys ---- */

static helios_status make_record(struct merging *m)
{
    const struct merge *last = branch_merges(branch_at(m->db, m->target));
    struct merge *record = merge_alloc(m->missing.count);
    const struct vector *bases = &m->bases.points;

    if (!record)
        return HELIOS_NO_MEMORY;
    m->record = record;
    record->ordinal = last ? last->ordinal + 1 : 0;
    record->time = io_time(m->db->fs);
    record->source = (struct vector_entry){m->source, m->states.ours.seq};
    record->has_base = m->states.base_count != 0;
    if (record->has_base)
        record->base = bases->at[0];
    record->closed_source = m->options.close_source;
    for (size_t i = 0; i < m->missing.count; i++)
        record->raised[i].at = m->missing.at[i];
    return merge_encode(&m->record_entry, record);
}

/* The source is sealed: nothing changes its entry until it is closed. */
static helios_status make_closed_entry(struct merging *m)
{
    struct branch_record entry;
    helios_buf value = {0};
    helios_status status;

    mutex_lock(&m->db->registry_mu);
    status = branch_entry_read(m->db, branch_at(m->db, m->source), &value, &entry);
    if (status == HELIOS_OK) {
        entry.state = HELIOS_BRANCH_MERGED;
        entry.closed_seq = 0;
        status = branch_record_encode(&m->closed_entry, &entry);
    }
    mutex_unlock(&m->db->registry_mu);
    helios_buf_free(&value);
    return status;
}

/* ---- rounds ---- */

static helios_status walk_and_commit(struct merging *m, const struct merge_entry *entries, size_t count,
                                     bool *again)
{
    const struct merge_plan plan = {.db = m->db,
                                    .target = m->target,
                                    .entries = entries,
                                    .entry_count = count,
                                    .gated = m->gated,
                                    .dry_run = m->options.dry_run,
                                    .begun = &m->committing};
    struct merge_walk walk;
    helios_status status;

    merge_walk_begin(&walk, m->db, &m->states, &m->options, m->rows);
    status = merge_commit(&plan, &walk, again, &m->commit);
    m->merged = walk.merged;
    m->deleted = walk.deleted;
    m->conflicts = walk.conflicts;
    merge_walk_end(&walk);
    return status;
}

/* Nothing new in the source: at most its closing is to be written. */
static helios_status only_close(struct merging *m)
{
    unsigned char key[BRANCH_KEY_BYTES];
    helios_seq ignored;

    if (!m->options.close_source || m->options.dry_run)
        return HELIOS_OK;
    return write_system(m->db, branch_entry_durability(m->db), KIND_VALUE, branch_key(key, m->source),
                        buf_slice(&m->closed_entry), &ignored);
}

static helios_status merge_from_bases(struct merging *m, bool *again)
{
    unsigned char closed_key[BRANCH_KEY_BYTES], record_key[MERGE_KEY_BYTES];
    struct merge_entry entries[2];
    size_t count = 0;
    helios_status status = pin_bases(m);

    if (status == HELIOS_OK)
        status = make_record(m);
    if (status == HELIOS_OK)
        status = merge_hold(m->db, m->record);
    if (status != HELIOS_OK)
        return status;
    if (m->options.close_source)
        entries[count++] = (struct merge_entry){branch_key(closed_key, m->source), buf_slice(&m->closed_entry)};
    entries[count++] =
        (struct merge_entry){merge_key(record_key, m->target, m->record->ordinal), buf_slice(&m->record_entry)};
    status = walk_and_commit(m, entries, count, again);
    if (status == HELIOS_OK && !*again && m->commit) {
        m->record->commit = m->commit;
        branch_add_merge((struct branch *)branch_at(m->db, m->target), m->record);
        for (size_t i = 0; i < m->record->count; i++)
            merge_replaces(m->db, branch_at(m->db, m->target), m->record->raised[i].at.branch);
        m->record = NULL;
    } else if (!atomic_load(&m->db->failed)) { /* else its fate is not known */
        merge_let_go(m->db, m->record);
    }
    return status;
}

static helios_status merge_round(struct merging *m, bool *again)
{
    bool has_all = false;
    helios_status status;

    round_release(m);
    status = find_common(m);
    m->states.theirs = (struct state_point){m->source, m->states.ours.seq};
    if (status == HELIOS_OK)
        status = contained(m, &has_all);
    if (status != HELIOS_OK)
        return status;
    return has_all ? only_close(m) : merge_from_bases(m, again);
}

static helios_status revert_round(struct merging *m, bool *again)
{
    return walk_and_commit(m, NULL, 0, again);
}

static helios_status rounds(struct merging *m, helios_status (*one)(struct merging *, bool *again))
{
    helios_status status = HELIOS_OK;
    bool again = true;

    for (int round = 0; again && status == HELIOS_OK; round++) {
        again = false;
        if (round == FREE_ROUNDS) {
            status = gate_close(m->db, &m->gate, m->target);
            m->gated = status == HELIOS_OK;
        }
        if (status == HELIOS_OK)
            status = take_point(m);
        if (status == HELIOS_OK)
            status = one(m, &again);
        if (m->committing)
            merge_commit_end(m->db);
        m->committing = false;
        round_over(m, again && status == HELIOS_OK);
    }
    return status;
}

/* ---- merge ---- */

static helios_point point_of(const struct bases *bases)
{
    if (bases->lost || bases->points.count == 0)
        return (helios_point){0, HELIOS_SEQ_NONE};
    return (helios_point){bases->points.at[0].branch,
                          bases->points.at[0].seq ? bases->points.at[0].seq : HELIOS_SEQ_NONE};
}

static void report(const struct merging *m, helios_merge_result *result)
{
    if (result)
        *result = (helios_merge_result){.commit = m->commit,
                                        .merged = m->merged,
                                        .deleted = m->deleted,
                                        .conflicts = m->conflicts,
                                        .base = point_of(&m->bases)};
}

static void close_source(struct merging *m)
{
    struct branch *source = (struct branch *)branch_at(m->db, m->source);

    mutex_lock(&m->db->registry_mu);
    registry_close(m->db->registry, source, HELIOS_BRANCH_MERGED,
                   m->commit ? m->commit : atomic_load(&m->db->latest));
    mutex_unlock(&m->db->registry_mu);
}

/* From here on nobody writes on the source, until branch_unseal(). The merge itself has a handle on it. */
static helios_status begin_closing(struct merging *m)
{
    helios_status status = branch_writable(m->db, m->source);

    if (status == HELIOS_OK)
        status = branch_seal(m->db, m->source);
    if (status != HELIOS_OK)
        return status;
    mutex_lock(&m->db->registry_mu);
    status = branch_unused(m->db, branch_at(m->db, m->source), 1);
    mutex_unlock(&m->db->registry_mu);
    if (status == HELIOS_OK)
        status = make_closed_entry(m);
    if (status != HELIOS_OK)
        branch_unseal(m->db, m->source);
    return status;
}

static helios_status merge_entered(struct merging *m)
{
    bool closes = m->options.close_source && !m->options.dry_run;
    helios_status status = closes ? begin_closing(m) : HELIOS_OK;

    if (status != HELIOS_OK)
        return status;
    status = rounds(m, merge_round);
    if (closes && status == HELIOS_OK)
        close_source(m);
    if (closes)
        branch_unseal(m->db, m->source);
    return status;
}

static helios_status merge_begin(struct merging *m, helios_db *db, const helios_merge_options *options,
                                 const struct merge_rows_ops *rows)
{
    *m = (struct merging){.db = db, .rows = rows};
    return db ? merge_options(options, &m->options) : fail(HELIOS_INVALID, "no database was given");
}

static helios_status merge_end(struct merging *m, helios_status status, helios_merge_result *result)
{
    struct error_note note = {0};

    if (status != HELIOS_OK)
        error_keep(&note, status);
    if (status == HELIOS_OK || status == HELIOS_CONFLICT)
        report(m, result);
    round_release(m);
    helios_buf_free(&m->record_entry);
    helios_buf_free(&m->closed_entry);
    leave(m);
    return error_tell(&note);
}

helios_status merge_branches(helios_db *db, helios_branch_id source, helios_branch_id target,
                             const helios_merge_options *options, const struct merge_rows_ops *rows,
                             helios_merge_result *result)
{
    struct merging m;
    helios_status status = merge_begin(&m, db, options, rows);

    m.source = source;
    m.target = target;
    if (status == HELIOS_OK && source == target)
        status = fail(HELIOS_INVALID, "branch %u cannot be merged into itself", source);
    if (status == HELIOS_OK && source == 0 && m.options.close_source)
        status = fail(HELIOS_INVALID, "main cannot be closed");
    if (status == HELIOS_OK)
        status = branch_readable(db, source);
    if (status == HELIOS_OK)
        status = may_write(&m);
    if (status == HELIOS_OK)
        status = enter(&m);
    if (status != HELIOS_OK)
        return status;
    return merge_end(&m, merge_entered(&m), result);
}

/* ---- revert ---- */

/* A state of the past, pinned. */
static helios_status take_past(struct merging *m, helios_seq at, pin_id *pin, helios_seq *seq)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;

    options.branch = m->target;
    options.at = at ? at : HELIOS_SEQ_NONE;
    return read_point_pin(m->db, &options, HELIOS_PIN_ITERATOR, pin, seq);
}

static helios_status revert_entered(struct merging *m, helios_seq first, helios_seq last)
{
    struct vector_entry base = {m->target, 0};
    pin_id before = 0;
    helios_status status;

    m->states.theirs.branch = m->target;
    m->base_pins = mem_zalloc(sizeof(*m->base_pins));
    status = m->base_pins ? take_past(m, last, m->base_pins, &base.seq) : fail_no_memory(sizeof(*m->base_pins));
    if (status == HELIOS_OK)
        status = vector_raise(&m->bases.points, base.branch, base.seq);
    if (status == HELIOS_OK)
        status = take_past(m, first - 1, &before, &m->states.theirs.seq);
    if (status != HELIOS_OK)
        return status;
    m->states.bases = m->bases.points.at;
    m->states.base_count = 1;
    status = rounds(m, revert_round);
    pins_release(m->db->pins, before);
    return status;
}

helios_status merge_revert(helios_db *db, helios_branch_id branch, helios_seq first, helios_seq last,
                           const helios_merge_options *options, const struct merge_rows_ops *rows,
                           helios_merge_result *result)
{
    struct merging m;
    helios_status status = merge_begin(&m, db, options, rows);

    m.source = m.target = branch;
    if (status == HELIOS_OK && m.options.close_source)
        status = fail(HELIOS_INVALID, "a revert has no source to close");
    if (status == HELIOS_OK && (first == 0 || first > last || last > atomic_load(&db->latest)))
        status = fail(HELIOS_INVALID, "%" PRIu64 " to %" PRIu64 " are not commits; the last one is %" PRIu64,
                      first, last, (uint64_t)atomic_load(&db->latest));
    if (status == HELIOS_OK)
        status = branch_readable(db, branch);
    if (status == HELIOS_OK)
        status = may_write(&m);
    if (status == HELIOS_OK)
        status = enter(&m);
    if (status != HELIOS_OK)
        return status;
    return merge_end(&m, revert_entered(&m, first, last), result);
}

/* ---- which merges there were ---- */

static helios_point point_shown(struct vector_entry entry)
{
    return (helios_point){entry.branch, entry.seq ? entry.seq : HELIOS_SEQ_NONE};
}

helios_status helios_branch_merges(helios_db *db, helios_branch_id target, helios_merge_info **list, size_t *n)
{
    const struct merge *last;
    helios_merge_info *infos;
    size_t count = 0, at;
    helios_status status;

    if (!db || !list || !n)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the list" : "database");
    status = branch_readable(db, target);
    if (status != HELIOS_OK)
        return status;
    last = branch_merges(branch_at(db, target));
    for (const struct merge *merge = last; merge; merge = merge->older)
        count++;
    infos = mem_zalloc((count + 1) * sizeof(*infos));
    if (!infos)
        return fail_no_memory((count + 1) * sizeof(*infos));
    at = count;
    for (const struct merge *merge = last; merge; merge = merge->older)
        infos[--at] = (helios_merge_info){.commit = merge->commit,
                                          .time = merge->time,
                                          .target = target,
                                          .source = point_shown(merge->source),
                                          .base = merge->has_base ? point_shown(merge->base)
                                                                  : (helios_point){0, HELIOS_SEQ_NONE},
                                          .closed_source = merge->closed_source};
    *list = infos;
    *n = count;
    return HELIOS_OK;
}
