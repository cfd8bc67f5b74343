/* merge.c - several cursors as one: a loser tree. Leaf i plays first at node (i + count) / 2; each node
 * holds who lost there, the winner stands apart. A step replays one path.
 *
 * What a match compares, in this order: a rank, eight bytes of the key after the first `skip` bytes,
 * which all current keys share (inverted when walking backward, so that smaller always comes first);
 * the key; the tag, newest first; the number of the source.
 *
 * Every loser was compared with the winner of its node's subtree as that stands now. So when several
 * sources have the key of the overall winner, each of them has lost a match between equal keys, and
 * such a loser is marked `shadowed`: when it gets to the top it is stepped over unseen, and no key
 * need be remembered or compared for that.
 *
 * A source that wins twice running leads: it is known then who comes second, and while the leader's rank is below
 * that one's no match is played.
 *
 * Over layers, all keys of a source begin with its branch; what is compared and shown is what follows. A source that
 * has left its branch is at its end, wherever its cursor stands. */
#include "base/merge.h"
#include "base/buf.h"
#include "base/mem.h"
#include <assert.h>

enum { RANK_BYTES = 8, SKIP_MAX = 64, SKIP_MIN = 4, TIES_BEFORE_CHOICE = 64 };
#define NO_RANK UINT64_MAX

struct source {
    uint64_t rank;
    struct cursor *cursor;
    unsigned char branch[BRANCH_BYTES]; /* over layers */
    bool live;                          /* it stands on something: mirrors cursor->valid */
    bool shadowed;                      /* an equal, better entry was met: not to be shown */
};

struct merge {
    struct cursor cursor; /* first: what callers hold is a pointer to it */
    struct source *sources;
    uint32_t *losers; /* [1, count) */
    uint32_t count, live, winner;
    bool backward, all_versions;
    bool skip_broken;        /* a key was met that does not share `shared` */
    size_t front;            /* bytes of a key that are not shown: 0 or BRANCH_BYTES */
    size_t skip;             /* 0, or from SKIP_MIN to SKIP_MAX, of what is shown */
    uint64_t lead;           /* the winner, if it leads, goes on winning while its rank is below; else 0 */
    uint32_t ties, ties_max; /* matches that the rank left open since skip was chosen; when to choose again */
    unsigned char head[BRANCH_BYTES + SKIP_MAX]; /* the front of the winner, if it leads, and what is shared */
    helios_buf place;                            /* a key with its branch, to be sought */
    struct error_note note;
};

static struct merge *merge_of(struct cursor *c)
{
    return (struct merge *)c;
}

/* ---- ranks ---- */

static inline bool words_equal(const unsigned char *a, const unsigned char *b)
{
    return memcmp(a, b, 8) == 0;
}

/* size is 0 or at least SKIP_MIN; the last word may overlap the one before. */
static inline bool bytes_equal(const unsigned char *a, const unsigned char *b, size_t size)
{
    if (size < 8)
        return size == 0 || (memcmp(a, b, 4) == 0 && memcmp(a + size - 4, b + size - 4, 4) == 0);
    for (size_t at = 0; at + 8 < size; at += 8) {
        if (!words_equal(a + at, b + at))
            return false;
    }
    return words_equal(a + size - 8, b + size - 8);
}

static inline helios_slice shown_key(const struct merge *m, const struct cursor *c)
{
    return slice_make(slice_bytes(c->key) + m->front, c->key.size - m->front);
}

static inline uint64_t rank_of(const struct merge *m, helios_slice key)
{
    uint64_t prefix = key_prefix(key, m->front + m->skip);

    return m->backward ? ~prefix : prefix;
}

/* Chooses skip anew, from the current keys, and with it all ranks. The order of the sources is as it
 * was, so the tree stays right. */
static void choose_skip(struct merge *m)
{
    helios_slice first = {NULL, 0};
    size_t skip = SKIP_MAX, before = m->skip;
    bool of_one_size = true;

    for (uint32_t i = 0; i < m->count; i++) {
        helios_slice key;

        if (!m->sources[i].live)
            continue;
        key = shown_key(m, m->sources[i].cursor);
        if (!first.data)
            first = key;
        of_one_size &= key.size == first.size;
        skip = slice_common(slice_make(first.data, first.size < skip ? first.size : skip), key);
    }
    if (of_one_size && first.size >= RANK_BYTES && skip > first.size - RANK_BYTES)
        skip = first.size - RANK_BYTES; /* a rank up to the end decides as much, and is one load */
    m->skip = first.data && skip >= SKIP_MIN ? skip : 0;
    if (m->skip)
        memcpy(m->head + m->front, first.data, m->skip);
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->sources[i].live)
            m->sources[i].rank = rank_of(m, m->sources[i].cursor->key);
    }
    m->skip_broken = false;
    m->ties = 0;
    if (m->skip == before && m->ties_max < UINT32_MAX / 2)
        m->ties_max *= 2; /* choosing did not help: ask less often */
}

static void merge_fail(struct merge *m, struct cursor *source)
{
    m->cursor.valid = false;
    m->cursor.status = source->status;
    m->cursor.error = source->error;
}

/* Whether the source stands on something of its own. */
static inline bool stands(const struct merge *m, const struct source *s)
{
    return s->cursor->valid && (m->front == 0 || memcmp(s->cursor->key.data, s->branch, BRANCH_BYTES) == 0);
}

/* Takes over what the source's cursor stands on now. False when it failed: so has the merge. */
static inline bool source_load(struct merge *m, struct source *s)
{
    struct cursor *c = s->cursor;
    helios_slice key;

    s->shadowed = false;
    if (__builtin_expect(!stands(m, s), 0)) {
        m->live -= s->live;
        s->live = false;
        s->rank = NO_RANK;
        if (!c->valid && c->status != HELIOS_OK)
            merge_fail(m, c);
        return c->valid || c->status == HELIOS_OK;
    }
    m->live += !s->live;
    s->live = true;
    key = shown_key(m, c);
    if (__builtin_expect(key.size >= m->skip && bytes_equal(key.data, m->head + m->front, m->skip), 1))
        s->rank = rank_of(m, c->key);
    else
        m->skip_broken = true;
    return true;
}

/* ---- the tree ---- */

/* The entries are equal as far as callers can see: the loser must not be shown. */
static inline bool same_entry(const struct merge *m, const struct cursor *a, const struct cursor *b)
{
    return !m->all_versions || a->tag == b->tag;
}

/* Whether a comes before b, ranks being equal; marks the loser when it is shadowed. */
static __attribute__((noinline)) bool wins_tie(struct merge *m, uint32_t a, uint32_t b)
{
    struct source *x = &m->sources[a], *y = &m->sources[b];
    size_t hidden = m->front + m->skip;
    int order;
    bool first;

    if (!x->live || !y->live)
        return x->live;
    m->ties++;
    order = slice_compare(slice_make(slice_bytes(x->cursor->key) + hidden, x->cursor->key.size - hidden),
                          slice_make(slice_bytes(y->cursor->key) + hidden, y->cursor->key.size - hidden));
    if (order != 0)
        return m->backward ? order > 0 : order < 0;
    first = x->cursor->tag != y->cursor->tag ? x->cursor->tag > y->cursor->tag : a < b;
    if (same_entry(m, x->cursor, y->cursor))
        (first ? y : x)->shadowed = true;
    return first;
}

static inline bool wins(struct merge *m, uint32_t a, uint32_t b)
{
    uint64_t x = m->sources[a].rank, y = m->sources[b].rank;

    if (__builtin_expect(x != y, 1))
        return x < y;
    return wins_tie(m, a, b);
}

/* The winner has won again: it leads those that lost to it, one of whom comes second. */
static void lead(struct merge *m)
{
    uint64_t least = NO_RANK;

    for (uint32_t node = (m->winner + m->count) / 2; node > 0; node /= 2) {
        uint64_t rank = m->sources[m->losers[node]].rank;

        if (rank < least)
            least = rank;
    }
    m->lead = least;
    if (m->front)
        memcpy(m->head, m->sources[m->winner].branch, BRANCH_BYTES);
}

static inline void replay(struct merge *m)
{
    uint32_t winner = m->winner;

    for (uint32_t node = (winner + m->count) / 2; node > 0; node /= 2) {
        uint32_t other = m->losers[node];

        if (wins(m, other, winner)) {
            m->losers[node] = winner;
            winner = other;
        }
    }
    m->lead = 0;
    if (winner == m->winner)
        lead(m);
    m->winner = winner;
}

/* Plays all matches below node; a node from count on is a leaf. As deep as the tree is high. */
static uint32_t play(struct merge *m, uint32_t node)
{
    uint32_t left, right;
    bool left_wins;

    if (node >= m->count)
        return node - m->count;
    left = play(m, 2 * node);
    right = play(m, 2 * node + 1);
    left_wins = wins(m, left, right);
    m->losers[node] = left_wins ? right : left;
    return left_wins ? left : right;
}

/* ---- moving ---- */

static inline void move(const struct merge *m, struct cursor *c)
{
    if (m->backward)
        cursor_prev(c);
    else
        cursor_next(c);
}

/* The winner has moved on: finds the next one. False when a source failed. */
static inline bool settle(struct merge *m)
{
    struct source *s = &m->sources[m->winner];

    if (m->live == 1 && stands(m, s)) {
        s->shadowed = false;
        return true; /* the only one left: no rank, no match */
    }
    if (!source_load(m, s))
        return false;
    if (__builtin_expect(m->skip_broken || m->ties >= m->ties_max, 0))
        choose_skip(m);
    replay(m);
    return true;
}

static inline void show_source(struct merge *m, const struct cursor *c)
{
    m->cursor.key = shown_key(m, c);
    m->cursor.tag = c->tag;
    m->cursor.value = c->value;
    m->cursor.value_large = c->value_large;
}

/* The winner is what the merge shows, unless it is shadowed or at its end. */
static inline void show(struct merge *m)
{
    const struct source *s = &m->sources[m->winner];

    while (__builtin_expect(s->shadowed && s->live, 0)) {
        move(m, s->cursor);
        if (!settle(m))
            return;
        s = &m->sources[m->winner];
    }
    m->cursor.valid = s->live;
    if (s->live)
        show_source(m, s->cursor);
}

/* All sources stand where they should: builds the tree. */
static void rebuild(struct merge *m)
{
    m->live = 0;
    m->skip = 0;
    m->lead = 0;
    m->ties_max = TIES_BEFORE_CHOICE;
    for (uint32_t i = 0; i < m->count; i++) {
        m->sources[i].live = false;
        if (!source_load(m, &m->sources[i]))
            return;
    }
    choose_skip(m);
    m->ties_max = TIES_BEFORE_CHOICE;
    if (m->count == 0)
        return;
    m->winner = m->count == 1 ? 0 : play(m, 1);
    show(m);
}

static struct merge *restart(struct cursor *c, bool backward)
{
    struct merge *m = merge_of(c);

    assert(!backward || !m->all_versions);
    m->backward = backward;
    c->valid = false;
    c->status = HELIOS_OK;
    c->error = NULL;
    return m;
}

/* The key as the source has it. False: no memory, and the merge says so. */
static bool whole_key(struct merge *m, const struct source *s, helios_slice *key)
{
    helios_status status;

    if (m->front == 0)
        return true;
    status = buf_set(&m->place, s->branch, BRANCH_BYTES);
    if (status == HELIOS_OK)
        status = buf_append(&m->place, key->data, key->size);
    if (status == HELIOS_OK) {
        *key = buf_slice(&m->place);
        return true;
    }
    error_keep(&m->note, status);
    m->cursor.status = status;
    m->cursor.error = &m->note;
    return false;
}

static void merge_first(struct cursor *c)
{
    struct merge *m = restart(c, false);

    for (uint32_t i = 0; i < m->count; i++) {
        struct source *s = &m->sources[i];

        if (m->front)
            cursor_seek(s->cursor, slice_make(s->branch, BRANCH_BYTES), TAG_MAX);
        else
            cursor_first(s->cursor);
    }
    rebuild(m);
}

/* The last key before the next branch, which no key is as short as. */
static void last_of_branch(const struct source *s)
{
    unsigned char next[BRANCH_BYTES];
    uint32_t branch = get_u32_be(s->branch);

    put_u32_be(next, branch + 1);
    if (branch == UINT32_MAX)
        cursor_last(s->cursor);
    else
        cursor_seek_for_prev(s->cursor, slice_make(next, BRANCH_BYTES));
}

static void merge_last(struct cursor *c)
{
    struct merge *m = restart(c, true);

    for (uint32_t i = 0; i < m->count; i++) {
        if (m->front)
            last_of_branch(&m->sources[i]);
        else
            cursor_last(m->sources[i].cursor);
    }
    rebuild(m);
}

/* What each source's seek touches lies where no other's does: all wait for memory together. */
static void approach_all(struct merge *m, helios_slice key)
{
    if (m->all_versions || m->front)
        return;
    for (unsigned stage = 0; stage < APPROACH_STAGES; stage++)
        for (uint32_t i = 0; i < m->count; i++)
            cursor_approach(m->sources[i].cursor, key, stage);
}

static void merge_seek(struct cursor *c, helios_slice key, uint64_t tag)
{
    struct merge *m = restart(c, false);

    approach_all(m, key);
    for (uint32_t i = 0; i < m->count; i++) {
        helios_slice whole = key;

        if (!whole_key(m, &m->sources[i], &whole))
            return;
        cursor_seek(m->sources[i].cursor, whole, tag);
    }
    rebuild(m);
}

bool merge_skip(struct cursor *c, const helios_seq *newests, helios_seq below, helios_slice to)
{
    struct merge *m = merge_of(c);
    bool moved = false;

    assert(!m->backward && !m->all_versions);
    for (uint32_t i = 0; i < m->count; i++) {
        struct source *s = &m->sources[i];
        helios_slice whole = to;

        if (newests[i] >= below || !stands(m, s) || slice_compare(shown_key(m, s->cursor), to) >= 0)
            continue;
        if (!moved)
            restart(c, false);
        moved = true;
        if (!whole_key(m, s, &whole))
            return true;
        cursor_seek(s->cursor, whole, TAG_MAX);
    }
    if (moved)
        rebuild(m);
    return moved;
}

static void merge_seek_for_prev(struct cursor *c, helios_slice key)
{
    struct merge *m = restart(c, true);

    for (uint32_t i = 0; i < m->count; i++) {
        helios_slice whole = key;

        if (!whole_key(m, &m->sources[i], &whole))
            return;
        cursor_seek_for_prev(m->sources[i].cursor, whole);
    }
    rebuild(m);
}

/* Sets the source to its nearest key beyond key, in the merge's direction. */
static void pass_over(const struct merge *m, struct cursor *c, helios_slice key)
{
    if (m->backward)
        cursor_seek_for_prev(c, key);
    else
        cursor_seek(c, key, TAG_MAX);
    if (c->valid && slice_equal(c->key, key))
        move(m, c);
}

/* Turns round and moves one key on. The winner moves last, as the key is its own. */
static void turn(struct cursor *c, bool backward)
{
    struct merge *m = restart(c, backward);
    uint32_t winner = m->winner;

    for (uint32_t i = 0; i < m->count; i++) {
        helios_slice whole = c->key;

        if (i == winner)
            continue;
        if (!whole_key(m, &m->sources[i], &whole))
            return;
        pass_over(m, m->sources[i].cursor, whole);
    }
    move(m, m->sources[winner].cursor);
    rebuild(m);
}

/* Whether the winner, moved on, is the next one by its rank alone. */
static inline bool leads_on(struct merge *m, const struct cursor *c)
{
    size_t size = m->front + m->skip;
    uint64_t rank;

    if (!c->valid || c->key.size < size || !bytes_equal(slice_bytes(c->key), m->head, size))
        return false;
    rank = rank_of(m, c->key);
    m->sources[m->winner].rank = rank;
    return rank < m->lead;
}

static __attribute__((noinline)) void advance_by_match(struct merge *m)
{
    if (settle(m))
        show(m);
}

static inline void advance(struct merge *m)
{
    struct cursor *c = m->sources[m->winner].cursor;

    move(m, c);
    if (__builtin_expect(leads_on(m, c), 1))
        show_source(m, c);
    else
        advance_by_match(m);
}

static void merge_next(struct cursor *c)
{
    struct merge *m = merge_of(c);

    assert(c->valid);
    if (__builtin_expect(m->backward, 0))
        turn(c, false);
    else
        advance(m);
}

static void merge_prev(struct cursor *c)
{
    struct merge *m = merge_of(c);

    assert(c->valid);
    assert(!m->all_versions);
    if (__builtin_expect(!m->backward, 0))
        turn(c, true);
    else
        advance(m);
}

static helios_status merge_load(struct cursor *c)
{
    struct merge *m = merge_of(c);
    struct cursor *source = m->sources[m->winner].cursor;
    helios_status status = cursor_value(source, &c->value);

    if (status != HELIOS_OK) {
        c->valid = false;
        c->status = status;
        c->error = source->error;
    }
    return status;
}

static void merge_free(struct cursor *c)
{
    struct merge *m = merge_of(c);

    for (uint32_t i = 0; i < m->count; i++)
        cursor_free(m->sources[i].cursor);
    helios_buf_free(&m->place);
    mem_free(m);
}

static const struct cursor_ops merge_ops = {
    .first = merge_first,
    .last = merge_last,
    .seek = merge_seek,
    .seek_for_prev = merge_seek_for_prev,
    .next = merge_next,
    .prev = merge_prev,
    .load = merge_load,
    .free = merge_free,
};

helios_status merge_cursor_new(struct cursor *const *sources, size_t count, helios_seq read_point,
                               struct cursor **result)
{
    size_t source_bytes = count * sizeof(struct source);
    size_t bytes = sizeof(struct merge) + source_bytes + count * sizeof(uint32_t);
    struct merge *m = mem_zalloc(bytes);

    if (!m)
        return fail_no_memory(bytes);
    m->cursor.ops = &merge_ops;
    m->sources = (struct source *)(m + 1);
    m->losers = (uint32_t *)(m->sources + count);
    m->count = (uint32_t)count;
    m->all_versions = read_point == CURSOR_ALL;
    m->ties_max = TIES_BEFORE_CHOICE;
    for (size_t i = 0; i < count; i++)
        m->sources[i].cursor = sources[i];
    *result = &m->cursor;
    return HELIOS_OK;
}

helios_status merge_layers_new(struct cursor *const *sources, const helios_branch_id *branches, size_t count,
                               struct cursor **result)
{
    helios_status status = merge_cursor_new(sources, count, 0, result);

    if (status != HELIOS_OK)
        return status;
    merge_of(*result)->front = BRANCH_BYTES;
    for (size_t i = 0; i < count; i++)
        put_u32_be(merge_of(*result)->sources[i].branch, branches[i]);
    return HELIOS_OK;
}
