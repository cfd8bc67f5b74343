/* table_model.h - for tests of tables and levels: entries in a sorted array, too simple to be wrong; what
 * a cursor over them must show at a read point; and a random walk that compares the two. */
#ifndef HELIOS_TESTS_TABLE_MODEL_H
#define HELIOS_TESTS_TABLE_MODEL_H
#include "base/buf.h"
#include "base/cursor.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"
#include "sstable/table.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { MODEL_KEY_MAX = 40, MODEL_SEQ_MAX = 1000, MODEL_LARGE = LARGE_VALUE_BYTES + 1 };

struct model_entry {
    unsigned char key[MODEL_KEY_MAX];
    size_t key_size;
    uint64_t tag;
    size_t value_size;
};

struct model {
    struct model_entry *entries; /* in internal order */
    size_t count;
    helios_seq since; /* of the cursors under test */
};

static inline void must(helios_status status)
{
    if (status != HELIOS_OK) {
        fprintf(stderr, "%s: %s\n", helios_status_name(status), helios_last_error());
        abort();
    }
}

static inline helios_slice model_key(const struct model_entry *e)
{
    return slice_make(e->key, e->key_size);
}

/* Values follow from key and tag, so that none need be kept. */
static inline unsigned char value_byte(const struct model_entry *e, size_t i)
{
    return (unsigned char)((e->tag >> 8) * 31 + e->key[e->key_size - 1] + (i % 7 == 0 ? i : i / 64));
}

static inline void make_value(const struct model_entry *e, helios_buf *value)
{
    must(buf_reserve(value, e->value_size));
    value->size = e->value_size;
    for (size_t i = 0; i < e->value_size; i++)
        value->data[i] = (char)value_byte(e, i);
}

static inline bool value_is(const struct model_entry *e, helios_slice value)
{
    if (value.size != e->value_size)
        return false;
    for (size_t i = 0; i < value.size; i++)
        if (slice_bytes(value)[i] != value_byte(e, i))
            return false;
    return true;
}

static inline int model_order(const void *a, const void *b)
{
    const struct model_entry *x = a, *y = b;

    return key_compare(model_key(x), x->tag, model_key(y), y->tag);
}

/* Few letters and little length, so that keys are near each other and begin each other. */
static inline void draw_key(struct random *rng, struct model_entry *e)
{
    size_t size = random_below(rng, 10) == 0 ? 30 : random_below(rng, 12);

    key_put_layer(e->key, (helios_branch_id)random_below(rng, 2), (uint8_t)random_below(rng, 2));
    e->key_size = KEY_LAYER_BYTES + size;
    for (size_t i = 0; i < size; i++)
        e->key[KEY_LAYER_BYTES + i] = (unsigned char)("abc\0\xff"[random_below(rng, 5)]);
}

/* keys keys (some drawn twice count once), each with up to `versions` versions; large: 1 value in so many
 * is large, 0: none. */
static inline void model_draw(struct model *m, struct random *rng, size_t keys, size_t versions, size_t large)
{
    size_t kept = 0;

    m->entries = calloc(keys * versions + 1, sizeof(*m->entries));
    m->count = 0;
    m->since = 0;
    for (size_t k = 0; k < keys; k++) {
        size_t n = random_below(rng, 3) == 0 ? 1 + random_below(rng, versions) : 1;
        struct model_entry e = {0};

        draw_key(rng, &e);
        for (size_t v = 0; v < n; v++) {
            bool tombstone = random_below(rng, 8) == 0;

            e.tag = tag_make(1 + random_below(rng, MODEL_SEQ_MAX), tombstone ? KIND_TOMBSTONE : KIND_VALUE);
            e.value_size = tombstone ? 0 : random_below(rng, 100);
            if (!tombstone && large && random_below(rng, large) == 0)
                e.value_size = MODEL_LARGE + random_below(rng, 1000);
            m->entries[m->count++] = e;
        }
    }
    qsort(m->entries, m->count, sizeof(*m->entries), model_order);
    for (size_t i = 0; i < m->count; i++) { /* one version of a key and number */
        const struct model_entry *e = &m->entries[i], *before = kept ? &m->entries[kept - 1] : NULL;

        if (before && slice_equal(model_key(before), model_key(e)) && tag_seq(before->tag) == tag_seq(e->tag))
            continue;
        m->entries[kept++] = *e;
    }
    m->count = kept;
}

static inline bool model_same_key(const struct model *m, size_t i, size_t j)
{
    return slice_equal(model_key(&m->entries[i]), model_key(&m->entries[j]));
}

static inline void model_newest_only(struct model *m)
{
    size_t kept = 0;

    for (size_t i = 0; i < m->count; i++)
        if (i == 0 || !model_same_key(m, kept - 1, i))
            m->entries[kept++] = m->entries[i];
    m->count = kept;
}

/* The newest version of key at or below seq, or NULL. */
static inline const struct model_entry *model_get(const struct model *m, helios_slice key, helios_seq seq)
{
    for (size_t i = 0; i < m->count; i++)
        if (tag_seq(m->entries[i].tag) <= seq && slice_equal(model_key(&m->entries[i]), key))
            return &m->entries[i];
    return NULL;
}

/* What a cursor at the read point shows, in order. */
struct model_view {
    const struct model_entry **entries;
    size_t count;
    bool all;
};

/* Of what is seen at a read point, that above `since`. */
static inline void view_keep_above(struct model_view *view, helios_seq since)
{
    size_t kept = 0;

    for (size_t i = 0; i < view->count; i++)
        if (tag_seq(view->entries[i]->tag) > since)
            view->entries[kept++] = view->entries[i];
    view->count = kept;
}

static inline void view_make(const struct model *m, helios_seq read_point, struct model_view *view)
{
    view->entries = malloc((m->count + 1) * sizeof(*view->entries));
    view->count = 0;
    view->all = read_point == CURSOR_ALL;
    for (size_t i = 0; i < m->count; i++) {
        const struct model_entry *e = &m->entries[i];

        if (!view->all &&
            (tag_seq(e->tag) > read_point ||
             (view->count && slice_equal(model_key(view->entries[view->count - 1]), model_key(e)))))
            continue;
        view->entries[view->count++] = e;
    }
    if (!view->all)
        view_keep_above(view, m->since);
}

static inline size_t view_seek(const struct model_view *view, helios_slice key, uint64_t tag)
{
    size_t i = 0;

    while (i < view->count && key_compare(model_key(view->entries[i]), view->all ? view->entries[i]->tag : 0,
                                          key, view->all ? tag : 0) < 0)
        i++;
    return i;
}

/* One behind the last entry at or before key: 0 when there is none. */
static inline size_t view_seek_back(const struct model_view *view, helios_slice key)
{
    size_t i = 0;

    while (i < view->count && slice_compare(model_key(view->entries[i]), key) <= 0)
        i++;
    return i;
}

static inline void check_shows(struct cursor *c, const struct model_entry *e)
{
    helios_slice value;

    assert(c->status == HELIOS_OK);
    assert(c->valid == (e != NULL));
    if (!e)
        return;
    assert(slice_equal(c->key, model_key(e)));
    assert(c->tag == e->tag);
    assert(c->value.size == e->value_size);
    assert(c->value_large == (e->value_size > LARGE_VALUE_BYTES));
    if (c->value_large && e->tag % 3)
        return;
    must(cursor_value(c, &value));
    assert(value_is(e, value));
}

/* Steps of all kinds from everywhere. */
static inline void check_random_walk(struct cursor *c, const struct model *m, helios_seq read_point,
                                     struct random *rng, int steps)
{
    struct model_view view;
    size_t at = 0; /* count: invalid */

    view_make(m, read_point, &view);
    at = view.count;
    for (int step = 0; step < steps; step++) {
        struct model_entry probe = m->entries[random_below(rng, m->count)];
        uint64_t tag = random_below(rng, 3) ? probe.tag : tag_at(random_below(rng, MODEL_SEQ_MAX));
        int dice = (int)random_below(rng, 40);

        if (random_below(rng, 3) == 0)
            draw_key(rng, &probe);
        if (at == view.count && dice >= 4)
            dice %= 4;
        if (dice == 0) {
            cursor_first(c);
            at = 0;
        } else if (dice == 1) {
            cursor_last(c);
            at = view.count ? view.count - 1 : 0;
        } else if (dice == 2) {
            cursor_seek(c, model_key(&probe), tag);
            at = view_seek(&view, model_key(&probe), tag);
        } else if (dice == 3) {
            cursor_seek_for_prev(c, model_key(&probe));
            at = view_seek_back(&view, model_key(&probe));
            at = at ? at - 1 : view.count;
        } else if (dice < 24 ? step % 200 < 100 : step % 200 >= 100) {
            cursor_next(c);
            at++;
        } else {
            cursor_prev(c);
            at = at ? at - 1 : view.count;
        }
        check_shows(c, at < view.count ? view.entries[at] : NULL);
    }
    free(view.entries);
}

static inline void check_forward(struct cursor *c, const struct model *m, helios_seq read_point)
{
    struct model_view view;

    view_make(m, read_point, &view);
    cursor_first(c);
    for (size_t i = 0; i < view.count; i++, cursor_next(c))
        check_shows(c, view.entries[i]);
    check_shows(c, NULL);
    free(view.entries);
}

/* Up to `upper`; what the cursor shows from there on does not count. */
static inline void check_forward_below(struct cursor *c, const struct model *m, helios_seq read_point,
                                       helios_slice upper)
{
    struct model_view view;

    view_make(m, read_point, &view);
    cursor_first(c);
    for (size_t i = 0; i < view.count && slice_compare(model_key(view.entries[i]), upper) < 0; i++) {
        check_shows(c, view.entries[i]);
        cursor_next(c);
    }
    assert(!c->valid || slice_compare(c->key, upper) >= 0);
    free(view.entries);
}

static inline void check_backward(struct cursor *c, const struct model *m, helios_seq read_point)
{
    struct model_view view;

    view_make(m, read_point, &view);
    cursor_last(c);
    for (size_t i = view.count; i-- > 0; cursor_prev(c))
        check_shows(c, view.entries[i]);
    check_shows(c, NULL);
    free(view.entries);
}

/* Entries [from, to) as a table. */
static inline void model_write(const struct model *m, size_t from, size_t to,
                               const struct table_writer_options *options, const struct rangedel *rangedels,
                               size_t rangedel_count, struct table_result *result)
{
    struct table_writer *writer;
    helios_buf value = {0};

    must(table_writer_new(options, &writer));
    for (size_t i = 0; i < rangedel_count; i++)
        must(table_writer_add_rangedel(writer, &rangedels[i]));
    for (size_t i = from; i < to; i++) {
        make_value(&m->entries[i], &value);
        must(table_writer_add(writer, model_key(&m->entries[i]), m->entries[i].tag, buf_slice(&value)));
    }
    must(table_writer_finish(writer, result));
    table_writer_free(writer);
    helios_buf_free(&value);
}

#endif
