/* level_cursor.c - one walk over the files of a level, which are disjoint in internal order: a table
 * cursor that is moved from file to file. Called by the engine's iterators and by compaction.
 *
 * A user key may be split between neighbours, newer versions in the former. At a read point it comes
 * once: the former file's visible version wins, and what the latter has of it is passed over. */
#include "base/mem.h"
#include "sstable/file.h"
#include "sstable/sstable_internal.h"

struct level_cursor {
    struct table_cursor inner; /* first: its base is this cursor's */
    bool all;                  /* every version: nothing is passed over */
    size_t at;                 /* the file it is attached to; count: none */
    helios_buf split;          /* a key looked for in two files */
    size_t count;
    struct table_file *files[];
};

static struct level_cursor *of(struct cursor *base)
{
    return (struct level_cursor *)base;
}

/* Nothing more in this direction; or what a move afresh begins with. */
static void leave(struct level_cursor *l)
{
    table_cursor_attach(&l->inner, NULL);
    l->at = l->count;
}

/* Attaches to file i; false with the error set. A forward move within the same file keeps its blocks. */
static bool enter(struct level_cursor *l, size_t i)
{
    struct table *table;
    helios_status status;

    if (l->at == i)
        return true;
    status = table_file_open(l->files[i], &table);
    if (status != HELIOS_OK) {
        table_cursor_fail(&l->inner, status);
        return false;
    }
    table_cursor_attach(&l->inner, table);
    table_unref(table); /* the cursor has counted it */
    l->at = i;
    return true;
}

/* Does the walk end here: with an entry, or with an error? */
static bool settled(const struct level_cursor *l)
{
    return l->inner.base.valid || l->inner.base.status != HELIOS_OK;
}

/* The first entry of the files from i on. */
static void first_from(struct level_cursor *l, size_t i)
{
    for (; i < l->count; i++) {
        if (!enter(l, i))
            return;
        table_cursor_first(&l->inner);
        if (settled(l))
            return;
    }
    leave(l);
}

/* May a key be split between file i and the next? Bounds are widened by range deletes, so that they may
 * touch without. */
static bool may_be_split(const struct level_cursor *l, size_t i)
{
    return !l->all && i + 1 < l->count && slice_compare(l->files[i + 1]->smallest, l->files[i]->largest) <= 0;
}

/* Keeps the key that is shown beyond the cursor's next move. */
static bool keep_key(struct level_cursor *l)
{
    helios_status status = buf_set(&l->split, l->inner.base.key.data, l->inner.base.key.size);

    if (status != HELIOS_OK)
        table_cursor_fail(&l->inner, status);
    return status == HELIOS_OK;
}

static bool shows_kept_key(const struct level_cursor *l)
{
    return l->inner.base.valid && slice_equal(l->inner.base.key, buf_slice(&l->split));
}

/* After a move backward, or from behind: if the cursor came to a key that the former files have newer
 * versions of, and one of them shows it, the cursor goes there. All in the files before that one are
 * newer still, so the first that does not show it ends the search. */
static void settle_split(struct level_cursor *l)
{
    while (l->inner.base.valid && l->inner.data.at == 0 && l->at > 0 && may_be_split(l, l->at - 1)) {
        size_t here = l->at;

        if (!keep_key(l) || !enter(l, here - 1))
            return;
        table_cursor_seek(&l->inner, buf_slice(&l->split), TAG_MAX);
        if (shows_kept_key(l))
            continue;
        if (l->inner.base.status == HELIOS_OK && enter(l, here))
            table_cursor_seek(&l->inner, buf_slice(&l->split), TAG_MAX);
        return;
    }
}

/* The last entry of the files up to i. */
static void last_from(struct level_cursor *l, size_t i)
{
    do {
        if (!enter(l, i))
            return;
        table_cursor_last(&l->inner);
    } while (!settled(l) && i-- > 0);
    if (!settled(l))
        leave(l);
    settle_split(l);
}

/* ---- the operations ---- */

/* A move afresh forgets the error of the one before. */
static void begin(struct level_cursor *l)
{
    l->inner.base.valid = false;
    l->inner.base.status = HELIOS_OK;
    l->inner.error.status = HELIOS_OK;
}

static void level_first(struct cursor *base)
{
    begin(of(base));
    first_from(of(base), 0);
}

static void level_last(struct cursor *base)
{
    struct level_cursor *l = of(base);

    begin(l);
    if (l->count > 0)
        last_from(l, l->count - 1);
}

/* The first file whose largest key is not below key: often the one where the cursor stands. */
static size_t find_forward(const struct level_cursor *l, helios_slice key)
{
    size_t low = 0, count = l->count;

    if (l->at < l->count && slice_compare(l->files[l->at]->largest, key) >= 0 &&
        (l->at == 0 || slice_compare(l->files[l->at - 1]->largest, key) < 0))
        return l->at;
    while (count > 0) {
        size_t half = count / 2;

        if (slice_compare(l->files[low + half]->largest, key) < 0) {
            low += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return low;
}

static void level_approach(struct cursor *base, helios_slice key, unsigned stage)
{
    struct level_cursor *l = of(base);

    if (stage == 0) {
        size_t i = find_forward(l, key);

        begin(l);
        if (i == l->count || !enter(l, i)) {
            leave(l);
            return;
        }
    }
    table_cursor_approach(&l->inner, key, stage);
}

/* How many files have a smallest key that is not above key. */
static size_t find_backward(const struct level_cursor *l, helios_slice key)
{
    size_t low = 0, count = l->count;

    while (count > 0) {
        size_t half = count / 2;

        if (slice_compare(l->files[low + half]->smallest, key) <= 0) {
            low += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return low;
}

/* In each file anew: a key's versions may go on in the next one, and all of them be too new. */
static void level_seek(struct cursor *base, helios_slice key, uint64_t tag)
{
    struct level_cursor *l = of(base);

    begin(l);
    for (size_t i = find_forward(l, key); i < l->count; i++) {
        if (!enter(l, i))
            return;
        table_cursor_seek(&l->inner, key, tag);
        if (settled(l))
            return;
    }
    leave(l);
}

static void level_seek_for_prev(struct cursor *base, helios_slice key)
{
    struct level_cursor *l = of(base);

    begin(l);
    for (size_t i = find_backward(l, key); i-- > 0;) {
        if (!enter(l, i))
            return;
        table_cursor_seek_for_prev(&l->inner, key);
        if (settled(l)) {
            settle_split(l);
            return;
        }
    }
    leave(l);
}

/* The file has no more. If the next one goes on with the last key that this one showed, that key is
 * passed over there. */
static void next_file(struct level_cursor *l)
{
    size_t i = l->at;

    if (may_be_split(l, i)) {
        table_cursor_last(&l->inner);
        if (l->inner.base.valid && !keep_key(l))
            return;
        if (l->inner.base.status != HELIOS_OK)
            return;
        if (l->inner.base.valid) {
            if (!enter(l, i + 1))
                return;
            table_cursor_first(&l->inner);
            if (shows_kept_key(l))
                table_cursor_next(&l->inner);
            return;
        }
    }
    first_from(l, i + 1);
}

static void level_next(struct cursor *base)
{
    struct level_cursor *l = of(base);

    table_cursor_next(&l->inner);
    while (__builtin_expect(!settled(l), 0) && l->at < l->count)
        next_file(l);
}

static void level_prev(struct cursor *base)
{
    struct level_cursor *l = of(base);

    table_cursor_prev(&l->inner);
    if (__builtin_expect(!settled(l), 0)) {
        if (l->at > 0)
            last_from(l, l->at - 1);
        else
            leave(l);
    } else {
        settle_split(l);
    }
}

static helios_status level_load(struct cursor *base)
{
    return table_cursor_load(&of(base)->inner);
}

static void level_free(struct cursor *base)
{
    struct level_cursor *l = of(base);

    table_cursor_release(&l->inner);
    helios_buf_free(&l->split);
    for (size_t i = 0; i < l->count; i++)
        table_file_unref(l->files[i]);
    mem_free(l);
}

helios_status level_cursor_new(struct table_file *const *files, size_t count,
                               const struct table_cursor_options *options, struct cursor **out)
{
    static const struct cursor_ops ops = {
        .first = level_first,
        .last = level_last,
        .seek = level_seek,
        .approach = level_approach,
        .seek_for_prev = level_seek_for_prev,
        .next = level_next,
        .prev = level_prev,
        .load = level_load,
        .free = level_free,
    };
    size_t bytes = sizeof(struct level_cursor) + count * sizeof(struct table_file *) + options->upper.size;
    struct level_cursor *l = mem_zalloc(bytes);

    if (!l)
        return fail_no_memory(bytes);
    table_cursor_init(&l->inner, options);
    if (options->upper.data) {
        memcpy(l->files + count, options->upper.data, options->upper.size);
        l->inner.options.upper.data = l->files + count;
    }
    l->inner.base.ops = &ops;
    l->all = options->read_point == CURSOR_ALL;
    l->count = l->at = count;
    for (size_t i = 0; i < count; i++)
        l->files[i] = table_file_ref(files[i]);
    *out = &l->inner.base;
    return HELIOS_OK;
}
