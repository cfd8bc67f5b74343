/* test_merge.c - merges against a sorted array: random sources, also over layers, both directions, turns, errors. */
#undef NDEBUG
#include "base/mem.h"
#include "base/merge.h"
#include "base/random.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEY_MAX = 40, ENTRIES_MAX = 400, SOURCES_MAX = 9 };

struct entry {
    unsigned char key[KEY_MAX];
    size_t size;
    uint64_t tag;
    uint64_t value; /* which source it came from, and where */
};

static helios_slice entry_key(const struct entry *e)
{
    return slice_make(e->key, e->size);
}

static int entry_order(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = key_compare(entry_key(x), x->tag, entry_key(y), y->tag);

    return order ? order : (x->value > y->value) - (x->value < y->value);
}

/* ---- a source: keys are copied on each move and freed on the next, so that a key used for too long
 * is found out ---- */

struct array_cursor {
    struct cursor cursor;
    struct entry *entries;
    int count, at;
    int fail_at; /* standing there is an error; -1: never */
    struct error_note note;
    unsigned char *copy;
    bool all_versions;
};

static void settle(struct cursor *c)
{
    struct array_cursor *a = (struct array_cursor *)c;
    const struct entry *e;

    free(a->copy);
    a->copy = NULL;
    c->status = HELIOS_OK;
    c->valid = a->at >= 0 && a->at < a->count;
    if (c->valid && a->at == a->fail_at) {
        c->valid = false;
        c->status = HELIOS_CORRUPT;
    }
    if (!c->valid)
        return;
    e = &a->entries[a->at];
    a->copy = malloc(e->size + 1);
    memcpy(a->copy, e->key, e->size);
    c->key = slice_make(a->copy, e->size);
    c->tag = e->tag;
    c->value = slice_make(&e->value, sizeof(e->value));
}

static void array_go(struct cursor *c, int at)
{
    ((struct array_cursor *)c)->at = at;
    settle(c);
}

static void array_first(struct cursor *c)
{
    array_go(c, 0);
}

static void array_last(struct cursor *c)
{
    array_go(c, ((struct array_cursor *)c)->count - 1);
}

static void array_seek(struct cursor *c, helios_slice key, uint64_t tag)
{
    struct array_cursor *a = (struct array_cursor *)c;
    int at = 0;

    while (at < a->count && key_compare(entry_key(&a->entries[at]), a->entries[at].tag, key,
                                        a->all_versions ? tag : TAG_MAX) < 0)
        at++;
    array_go(c, at);
}

static void array_seek_for_prev(struct cursor *c, helios_slice key)
{
    struct array_cursor *a = (struct array_cursor *)c;
    int at = a->count - 1;

    while (at >= 0 && slice_compare(entry_key(&a->entries[at]), key) > 0)
        at--;
    array_go(c, at);
}

static void array_next(struct cursor *c)
{
    assert(c->valid);
    array_go(c, ((struct array_cursor *)c)->at + 1);
}

static void array_prev(struct cursor *c)
{
    assert(c->valid);
    array_go(c, ((struct array_cursor *)c)->at - 1);
}

static helios_status array_load(struct cursor *c)
{
    abort();
}

static void array_free(struct cursor *c)
{
    free(((struct array_cursor *)c)->copy);
    free(((struct array_cursor *)c)->entries);
    free(c);
}

static const struct cursor_ops array_ops = {array_first, array_last, array_seek, array_seek_for_prev,
                                            array_next,  array_prev, array_load, array_free};

/* ---- the model ---- */

struct world {
    struct random rng;
    helios_seq point;
    struct cursor *sources[SOURCES_MAX];
    helios_branch_id branches[SOURCES_MAX]; /* over layers */
    bool layered;
    int source_count;
    struct entry model[ENTRIES_MAX * SOURCES_MAX];
    int count;
    struct cursor *merged;
};

static void draw_key(struct world *w, struct entry *e, int shape)
{
    e->size = 0;
    if (shape == 0) { /* very short ones, the empty key too */
        e->size = random_below(&w->rng, 4);
        for (size_t i = 0; i < e->size; i++)
            e->key[i] = (unsigned char)random_below(&w->rng, 3);
        return;
    }
    if (shape == 3) { /* all of one size */
        e->size = 17;
        memset(e->key, '0', e->size);
        sprintf((char *)e->key + 11, "%06u", (unsigned)random_below(&w->rng, 2000));
        return;
    }
    memset(e->key, 7, sizeof(e->key)); /* a long shared start, which one key in some does not share */
    e->size = 20 + random_below(&w->rng, 12);
    put_u64_be(e->key + (shape == 1 ? 4 : 15), random_below(&w->rng, 300));
    if (random_below(&w->rng, 40) == 0)
        e->key[random_below(&w->rng, 4)] = (unsigned char)random_below(&w->rng, 15);
}

/* Keeps what a cursor at the read point yields; entries are sorted. */
static int reduce(struct entry *entries, int count, helios_seq point)
{
    int kept = 0;

    for (int i = 0; i < count; i++) {
        if (point != CURSOR_ALL && tag_seq(entries[i].tag) > point)
            continue;
        if (kept > 0 && slice_equal(entry_key(&entries[kept - 1]), entry_key(&entries[i])) &&
            (point != CURSOR_ALL || entries[kept - 1].tag == entries[i].tag))
            continue;
        entries[kept++] = entries[i];
    }
    return kept;
}

/* On the branch, or on one near it. No key is empty behind its branch: there is a space. */
static void put_on_branch(struct world *w, struct entry *e, helios_branch_id branch)
{
    if (e->size == 0)
        e->key[e->size++] = 0;
    memmove(e->key + BRANCH_BYTES, e->key, e->size);
    e->size += BRANCH_BYTES;
    put_u32_be(e->key, random_below(&w->rng, 4) ? branch : branch + (uint32_t)random_below(&w->rng, 3) - 1);
}

/* To the model goes what the merge is to show of a source. */
static void add_to_model(struct world *w, const struct array_cursor *a, helios_branch_id branch)
{
    for (int i = 0; i < a->count; i++) {
        struct entry e = a->entries[i];

        if (w->layered && key_branch(entry_key(&e)) != branch)
            continue;
        if (w->layered) {
            e.size -= BRANCH_BYTES;
            memmove(e.key, e.key + BRANCH_BYTES, e.size);
        }
        w->model[w->count++] = e;
    }
}

static void add_source(struct world *w, int index, int shape)
{
    struct array_cursor *a = calloc(1, sizeof(*a));
    int count = random_below(&w->rng, 5) == 0 ? 0 : (int)random_below(&w->rng, ENTRIES_MAX);
    helios_branch_id branch = (helios_branch_id)random_below(&w->rng, 4) - 1; /* the last one, too */

    a->entries = calloc((size_t)count + 1, sizeof(*a->entries));
    for (int i = 0; i < count; i++) {
        draw_key(w, &a->entries[i], shape);
        if (w->layered)
            put_on_branch(w, &a->entries[i], branch);
        a->entries[i].tag = tag_make(1 + random_below(&w->rng, 12), KIND_VALUE);
        a->entries[i].value = (uint64_t)index << 32 | (uint64_t)i;
    }
    qsort(a->entries, (size_t)count, sizeof(*a->entries), entry_order);
    a->count = reduce(a->entries, count, w->point);
    a->at = -1;
    a->fail_at = -1;
    a->cursor.ops = &array_ops;
    a->cursor.error = &a->note;
    a->all_versions = w->point == CURSOR_ALL;
    add_to_model(w, a, branch);
    w->branches[w->source_count] = branch;
    w->sources[w->source_count++] = &a->cursor;
}

static void build(struct world *w, uint64_t seed)
{
    int shape, sources;

    memset(w, 0, sizeof(*w));
    random_seed(&w->rng, seed);
    w->point = random_below(&w->rng, 3) == 0 ? CURSOR_ALL : 1 + random_below(&w->rng, 13);
    w->layered = w->point != CURSOR_ALL && random_below(&w->rng, 2);
    shape = (int)random_below(&w->rng, 4);
    sources = (int)random_below(&w->rng, SOURCES_MAX + 1);
    for (int i = 0; i < sources; i++)
        add_source(w, i, shape);
    qsort(w->model, (size_t)w->count, sizeof(*w->model), entry_order);
    w->count = reduce(w->model, w->count, w->point);
    if (w->layered)
        assert(merge_layers_new(w->sources, w->branches, (size_t)w->source_count, &w->merged) == HELIOS_OK);
    else
        assert(merge_cursor_new(w->sources, (size_t)w->source_count, w->point, &w->merged) == HELIOS_OK);
}

static void expect(const struct world *w, int at)
{
    const struct cursor *c = w->merged;
    const struct entry *e;

    assert(c->status == HELIOS_OK);
    assert(c->valid == (at >= 0 && at < w->count));
    if (!c->valid)
        return;
    e = &w->model[at];
    assert(slice_equal(c->key, entry_key(e)));
    assert(c->tag == e->tag);
    if (w->point == CURSOR_ALL)
        assert(get_u64(c->value.data) == e->value);
}

static int seek(struct world *w)
{
    struct entry e;
    uint64_t tag = tag_at(random_below(&w->rng, 13));
    int at = 0;

    if (w->count > 0 && random_below(&w->rng, 2))
        e = w->model[random_below(&w->rng, (uint64_t)w->count)];
    else
        draw_key(w, &e, (int)random_below(&w->rng, 4));
    if (w->point == CURSOR_ALL || random_below(&w->rng, 2)) {
        cursor_seek(w->merged, entry_key(&e), tag);
        while (at < w->count && key_compare(entry_key(&w->model[at]), w->model[at].tag, entry_key(&e),
                                            w->point == CURSOR_ALL ? tag : TAG_MAX) < 0)
            at++;
        return at;
    }
    cursor_seek_for_prev(w->merged, entry_key(&e));
    at = w->count - 1;
    while (at >= 0 && slice_compare(entry_key(&w->model[at]), entry_key(&e)) > 0)
        at--;
    return at;
}

static int restart(struct world *w)
{
    uint64_t dice = random_below(&w->rng, 6);

    if (dice == 0) {
        cursor_first(w->merged);
        return w->count > 0 ? 0 : w->count;
    }
    if (dice == 1 && w->point != CURSOR_ALL) {
        cursor_last(w->merged);
        return w->count - 1;
    }
    return seek(w);
}

static void walk(struct world *w)
{
    int at = restart(w);
    bool forward = true;

    expect(w, at);
    for (int step = 0; step < 300; step++) {
        if (!w->merged->valid || random_below(&w->rng, 100) == 0) {
            at = restart(w);
        } else {
            if (w->point != CURSOR_ALL && random_below(&w->rng, 12) == 0)
                forward = !forward;
            if (forward)
                cursor_next(w->merged);
            else
                cursor_prev(w->merged);
            at += forward ? 1 : -1;
        }
        expect(w, at);
    }
}

static void whole(struct world *w)
{
    int at = 0;

    for (cursor_first(w->merged); w->merged->valid; cursor_next(w->merged))
        expect(w, at++);
    assert(at == w->count);
    if (w->point == CURSOR_ALL)
        return;
    for (cursor_last(w->merged); w->merged->valid; cursor_prev(w->merged))
        expect(w, --at);
    assert(at == 0);
}

/* A source that fails ends the merge with its status; the next positioning starts anew. */
static void failing(struct world *w)
{
    struct array_cursor *a;
    int shown = 0, source, at;

    if (w->source_count == 0)
        return;
    source = (int)random_below(&w->rng, (uint64_t)w->source_count);
    a = (struct array_cursor *)w->sources[source];
    if (a->count == 0)
        return;
    at = (int)random_below(&w->rng, (uint64_t)a->count);
    if (w->layered && key_branch(entry_key(&a->entries[at])) != w->branches[source])
        return; /* not reached */
    a->fail_at = at;
    for (cursor_first(w->merged); w->merged->valid; cursor_next(w->merged))
        shown++;
    assert(shown <= w->count);
    assert(w->merged->status == HELIOS_CORRUPT);
    assert(w->merged->error == &a->note);
    a->fail_at = -1;
    whole(w);
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 0) : 1, last = argc > 1 ? first : 300;
    struct world *w = malloc(sizeof(*w));

    for (uint64_t seed = first; seed <= last; seed++) {
        printf("seed %llu\n", (unsigned long long)seed);
        fflush(stdout);
        build(w, seed);
        whole(w);
        walk(w);
        failing(w);
        cursor_free(w->merged);
    }
    free(w);
    return 0;
}
