/* garbage.c - which versions a flush or compaction leaves out. Called by the merge in job.c.
 * Pure: one key's versions, newest first, the horizon and the branch's pins come as arrays.
 * Rule: o, shadowed by the next newer n, goes if n <= horizon and no pin lies in [o, n).
 *
 *   seq      1     3     5     7     9        horizon 9, one pin at 5
 *   key a    put   put   del   put   put
 *   kept                 del         put      and the del goes too where nothing older can be */
#include "compaction/garbage.h"
#include <assert.h>

/* The first index whose number is at or above `at`. */
static size_t seqs_find(const helios_seq *seqs, size_t count, helios_seq at)
{
    size_t from = 0;

    while (from < count) {
        size_t middle = from + (count - from) / 2;

        if (seqs[middle] < at)
            from = middle + 1;
        else
            count = middle;
    }
    return from;
}

const struct garbage_branch *garbage_branch_of(const struct garbage_rules *rules, helios_branch_id id)
{
    size_t from = 0, to = rules->count;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (rules->branches[middle].branch < id)
            from = middle + 1;
        else
            to = middle;
    }
    return from < rules->count && rules->branches[from].branch == id ? &rules->branches[from] : &rules->others;
}

static bool may_hold_older(const struct garbage *g, helios_slice from, helios_slice to, bool inclusive)
{
    const struct garbage_rules *rules = g->rules;

    if (g->certain_inside)
        return false;
    return !rules->may_hold_older || rules->may_hold_older(rules->may_hold_older_arg, from, to, inclusive);
}

static bool may_show_through(const struct garbage *g, helios_slice key)
{
    const struct garbage_rules *rules = g->rules;

    if (g->branch->is_root)
        return false;
    return !rules->may_show_through || rules->may_show_through(rules->may_show_through_arg, key);
}

static void enter_branch(struct garbage *g, helios_branch_id id)
{
    g->branch = garbage_branch_of(g->rules, id);
    g->branch_id = id;
    g->pin_count = seqs_find(g->branch->pins, g->branch->count, g->rules->horizon);
    g->own_count = seqs_find(g->branch->own, g->branch->own_count, g->rules->horizon);
}

void garbage_init(struct garbage *g, const struct garbage_rules *rules, helios_slice lower, helios_slice upper)
{
    *g = (struct garbage){.rules = rules, .kept_min = UINT64_MAX, .shadow = UINT64_MAX};
    enter_branch(g, 0);
    g->certain_inside = rules->collect && !may_hold_older(g, lower, upper, false);
}

/* Does a pin lie in [older, newer)? */
static inline bool is_pinned(const helios_seq *pins, size_t count, helios_seq older, helios_seq newer)
{
    size_t at;

    if (count == 0)
        return false;
    at = seqs_find(pins, count, older);
    return at < count && pins[at] < newer;
}

/* Is `older` unreadable, given that `newer` hides it from there on? */
static inline bool is_shadowed(const struct garbage *g, helios_seq older, helios_seq newer)
{
    return newer <= g->rules->horizon && !is_pinned(g->branch->pins, g->pin_count, older, newer) &&
           !is_pinned(g->branch->own, g->own_count, older, newer);
}

static bool is_aging(const struct garbage_aged *aged, helios_slice key)
{
    return slice_compare(key, aged->from) >= 0 && slice_compare(key, aged->to) < 0;
}

void garbage_key_begin(struct garbage *g, helios_slice key, const helios_seq *deletes, size_t delete_count)
{
    helios_branch_id id = key_branch(key);

    if (id != g->branch_id)
        enter_branch(g, id);
    g->deletes = deletes;
    g->delete_count = delete_count;
    g->shadow = UINT64_MAX;
    g->pending = 0;
    g->aged = g->rules->aged.below && is_aging(&g->rules->aged, key) ? g->rules->aged.below : 0;
}

static inline void kept(struct garbage *g, helios_seq seq)
{
    if (seq < g->kept_min)
        g->kept_min = seq;
}

enum garbage_verdict garbage_version(struct garbage *g, uint64_t tag, uint64_t *before)
{
    helios_seq seq = tag_seq(tag), shadow = g->shadow;
    uint64_t pending = g->pending;

    if (!g->rules->collect) {
        kept(g, seq);
        return GARBAGE_KEEP;
    }
    /* Range deletes newer than this version: the oldest of them is the nearest. One with the same
     * number does not cover it. */
    while (g->delete_count > 0 && g->deletes[0] > seq) {
        if (g->deletes[0] < shadow)
            shadow = g->deletes[0];
        g->deletes++;
        g->delete_count--;
    }
    g->shadow = seq;
    if (g->branch->dropped || seq < g->aged || is_shadowed(g, seq, shadow))
        return GARBAGE_DROP;
    if (tag_kind(tag) == KIND_TOMBSTONE && seq <= g->rules->horizon) {
        g->pending = tag; /* a newer one held before is needless: this one says the same from earlier on */
        return GARBAGE_HOLD;
    }
    kept(g, seq);
    if (pending == 0)
        return GARBAGE_KEEP;
    g->pending = 0;
    *before = pending;
    return GARBAGE_KEEP_BOTH;
}

uint64_t garbage_key_end(struct garbage *g, helios_slice key)
{
    uint64_t tag = g->pending;

    if (tag == 0)
        return 0;
    g->pending = 0;
    if (!may_hold_older(g, key, key, true) && !may_show_through(g, key))
        return 0;
    kept(g, tag_seq(tag));
    return tag;
}

size_t garbage_fragment(struct garbage *g, const struct rangedel_fragment *piece, helios_seq kept_min,
                        helios_seq *kept_seqs)
{
    helios_seq newer = UINT64_MAX;
    size_t count = 0;
    int inside = -1; /* asked once, and only if it matters */

    if (!g->rules->collect) {
        memcpy(kept_seqs, piece->seqs, piece->count * sizeof(*kept_seqs));
        return piece->count;
    }
    if (key_branch(piece->from) != g->branch_id)
        enter_branch(g, key_branch(piece->from));
    if (g->branch->dropped)
        return 0;
    for (size_t i = 0; i < piece->count; newer = piece->seqs[i], i++) {
        helios_seq seq = piece->seqs[i];

        if (is_shadowed(g, seq, newer))
            continue;
        if (seq <= g->rules->horizon && g->branch->is_root && kept_min >= seq) {
            if (inside < 0)
                inside = !may_hold_older(g, piece->from, piece->to, false);
            if (inside)
                continue;
        }
        kept_seqs[count++] = seq;
    }
    return count;
}
