/* iterator.c - ordered walks at one read point: a merge of all sources of a view, without what is deleted.
 *
 * The read point is pinned for the iterator's life, the view is not: once it is stale the iterator moves
 * to the current one by seeking again, so that it holds neither old memtables nor deleted files for
 * longer than to its next move. */
#include "engine/read.h"
#include "engine/sources.h"
#include <assert.h>

struct helios_iter {
    struct helios_db *db;
    struct sources sources;
    struct cursor *cursor; /* the sources' */
    pin_id pin;
    helios_seq seq;
    helios_branch_id branch;
    uint8_t space;
    bool fill_cache, keys_only, valid, forward;
    bool counted;            /* a user's: the database is not closed while it lives */
    helios_buf lower, upper; /* with layer; always both: at least the layer's own bounds */
    helios_buf place;        /* the key to come back to when the view changes */
    helios_slice value;
    bool value_loaded;
    struct error_note error;
};

/* ---- sources ---- */

/* Opens cursors over everything the current view holds in the bounds. */
static helios_status gather(struct helios_iter *it)
{
    const struct sources_options options = {
        .lower = buf_slice(&it->lower),
        .upper = buf_slice(&it->upper),
        .read_point = it->seq,
        .fill_cache = it->fill_cache,
    };
    helios_status status = sources_open(it->db, &options, &it->sources);

    it->cursor = it->sources.cursor;
    return status;
}

static void give_up(struct helios_iter *it, helios_status status)
{
    it->valid = false;
    error_keep(&it->error, status);
}

/* Makes sure that the sources are those of the current view. False: an error. */
static bool refresh(struct helios_iter *it)
{
    helios_status status;

    if (!sources_stale(&it->sources, it->db))
        return true;
    sources_close(&it->sources);
    status = gather(it);
    if (status != HELIOS_OK)
        give_up(it, status);
    return status == HELIOS_OK;
}

/* ---- moving ---- */

/* Where the cursor stands: something to show, nothing to show but look on, or the end. */
enum standing { STANDS, HIDDEN, ENDED };

static enum standing look(struct helios_iter *it)
{
    const struct cursor *c = it->cursor;

    if (!c->valid) {
        if (c->status != HELIOS_OK)
            give_up(it, c->error ? error_tell(c->error) : c->status);
        return ENDED;
    }
    if (it->forward ? slice_compare(c->key, buf_slice(&it->upper)) >= 0
                    : slice_compare(c->key, buf_slice(&it->lower)) < 0)
        return ENDED;
    if (tag_kind(c->tag) == KIND_TOMBSTONE)
        return HIDDEN;
    if (it->sources.cover_count && sources_cover(&it->sources, c->key, it->seq) > tag_seq(c->tag))
        return HIDDEN;
    return STANDS;
}

static void settle_forward(struct helios_iter *it)
{
    enum standing standing;

    it->forward = true;
    it->value_loaded = false;
    while ((standing = look(it)) == HIDDEN)
        cursor_next(it->cursor);
    it->valid = standing == STANDS;
}

static void settle_backward(struct helios_iter *it)
{
    enum standing standing;

    it->forward = false;
    it->value_loaded = false;
    while ((standing = look(it)) == HIDDEN)
        cursor_prev(it->cursor);
    it->valid = standing == STANDS;
}

/* A new position: earlier errors are over. */
static bool begin_move(struct helios_iter *it)
{
    it->error.status = HELIOS_OK;
    it->valid = false;
    return refresh(it);
}

/* For a step: if the view is stale, stands where it stood, on the current one. */
static bool begin_step(struct helios_iter *it)
{
    helios_status status;

    if (!sources_stale(&it->sources, it->db))
        return true;
    status = buf_set(&it->place, it->cursor->key.data, it->cursor->key.size);
    if (status != HELIOS_OK) {
        give_up(it, status);
        return false;
    }
    if (!refresh(it))
        return false;
    cursor_seek(it->cursor, buf_slice(&it->place), TAG_MAX);
    assert(!it->cursor->valid || slice_equal(it->cursor->key, buf_slice(&it->place)));
    if (it->cursor->valid)
        return true;
    give_up(it, it->cursor->error ? error_tell(it->cursor->error) : it->cursor->status);
    return false;
}

/* ---- making ---- */

static helios_status set_bound(struct helios_iter *it, helios_buf *buf, helios_slice given, bool upper)
{
    unsigned char layer[KEY_LAYER_BYTES];
    helios_status status;

    key_put_layer(layer, it->branch, it->space);
    if (!given.data && upper) { /* the layer after this one */
        for (size_t i = KEY_LAYER_BYTES; i-- > 0;)
            if (++layer[i] != 0)
                break;
    }
    status = buf_set(buf, layer, sizeof(layer));
    return status == HELIOS_OK && given.data ? buf_append(buf, given.data, given.size) : status;
}

static helios_status iter_new(helios_db *db, helios_branch_id branch, uint8_t space, struct helios_iter **out)
{
    struct helios_iter *it = mem_zalloc(sizeof(*it));

    if (!it)
        return fail_no_memory(sizeof(*it));
    it->db = db;
    it->branch = branch;
    it->space = space;
    *out = it;
    return HELIOS_OK;
}

static helios_status set_bounds(struct helios_iter *it, helios_slice lower, helios_slice upper)
{
    helios_status status = set_bound(it, &it->lower, lower, false);

    return status == HELIOS_OK ? set_bound(it, &it->upper, upper, true) : status;
}

helios_status helios_iter_new(helios_db *db, const helios_read_options *given, helios_iter **out)
{
    helios_read_options options;
    struct helios_iter *it = NULL;
    helios_status status;

    if (!db || !out)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the iterator" : "database");
    status = read_options(given, &options);
    if (status == HELIOS_OK)
        status = iter_new(db, options.branch, SPACE_USER, &it);
    if (status != HELIOS_OK)
        return status;
    it->fill_cache = !options.no_cache_fill;
    it->keys_only = options.keys_only;
    it->counted = true;
    atomic_fetch_add_explicit(&db->iterators, 1, memory_order_relaxed);
    status = set_bounds(it, options.lower, options.upper);
    if (status == HELIOS_OK)
        status = read_point_pin(db, &options, HELIOS_PIN_ITERATOR, &it->pin, &it->seq);
    if (status == HELIOS_OK)
        status = gather(it);
    if (status != HELIOS_OK) {
        helios_iter_free(it);
        return status;
    }
    *out = it;
    return HELIOS_OK;
}

helios_status iter_new_internal(helios_db *db, helios_branch_id branch, uint8_t space, helios_slice lower,
                                helios_slice upper, helios_seq seq, helios_iter **out)
{
    struct helios_iter *it = NULL;
    helios_status status = iter_new(db, branch, space, &it);

    if (status != HELIOS_OK)
        return status;
    it->fill_cache = true;
    it->seq = seq;
    status = set_bounds(it, lower, upper);
    if (status == HELIOS_OK)
        status = gather(it);
    if (status != HELIOS_OK) {
        helios_iter_free(it);
        return status;
    }
    *out = it;
    return HELIOS_OK;
}

void helios_iter_free(helios_iter *it)
{
    if (!it)
        return;
    sources_close(&it->sources);
    pins_release(it->db->pins, it->pin);
    helios_buf_free(&it->lower);
    helios_buf_free(&it->upper);
    helios_buf_free(&it->place);
    if (it->counted)
        atomic_fetch_sub_explicit(&it->db->iterators, 1, memory_order_release);
    mem_free(it);
}

/* ---- the public moves ---- */

void helios_iter_first(helios_iter *it)
{
    if (!it || !begin_move(it))
        return;
    cursor_seek(it->cursor, buf_slice(&it->lower), TAG_MAX);
    settle_forward(it);
}

/* The last key below the upper bound. */
static void seek_below_upper(struct helios_iter *it)
{
    cursor_seek_for_prev(it->cursor, buf_slice(&it->upper));
    if (it->cursor->valid && slice_compare(it->cursor->key, buf_slice(&it->upper)) >= 0)
        cursor_prev(it->cursor);
    settle_backward(it);
}

void helios_iter_last(helios_iter *it)
{
    if (it && begin_move(it))
        seek_below_upper(it);
}

/* The key with its layer in `place`; a bad one becomes the iterator's error. */
static bool place_key(struct helios_iter *it, helios_slice key)
{
    unsigned char layer[KEY_LAYER_BYTES];
    helios_status status = HELIOS_OK;

    if (!key.data)
        status = fail(HELIOS_INVALID, "no key was given to seek");
    key_put_layer(layer, it->branch, it->space);
    if (status == HELIOS_OK)
        status = buf_set(&it->place, layer, sizeof(layer));
    if (status == HELIOS_OK)
        status = buf_append(&it->place, key.data, key.size);
    if (status != HELIOS_OK)
        give_up(it, status);
    return status == HELIOS_OK;
}

void helios_iter_seek(helios_iter *it, helios_slice key)
{
    if (!it || !begin_move(it) || !place_key(it, key))
        return;
    if (slice_compare(buf_slice(&it->place), buf_slice(&it->lower)) < 0)
        cursor_seek(it->cursor, buf_slice(&it->lower), TAG_MAX);
    else
        cursor_seek(it->cursor, buf_slice(&it->place), TAG_MAX);
    settle_forward(it);
}

void helios_iter_seek_for_prev(helios_iter *it, helios_slice key)
{
    if (!it || !begin_move(it) || !place_key(it, key))
        return;
    if (slice_compare(buf_slice(&it->place), buf_slice(&it->upper)) >= 0) {
        seek_below_upper(it);
        return;
    }
    cursor_seek_for_prev(it->cursor, buf_slice(&it->place));
    settle_backward(it);
}

void helios_iter_next(helios_iter *it)
{
    if (!it || !it->valid || !begin_step(it))
        return;
    cursor_next(it->cursor);
    settle_forward(it);
}

void helios_iter_prev(helios_iter *it)
{
    if (!it || !it->valid || !begin_step(it))
        return;
    cursor_prev(it->cursor);
    settle_backward(it);
}

bool helios_iter_valid(const helios_iter *it)
{
    return it && it->valid;
}

helios_slice helios_iter_key(const helios_iter *it)
{
    return it && it->valid ? key_user(it->cursor->key) : (helios_slice){0};
}

helios_seq helios_iter_seq(const helios_iter *it)
{
    return it && it->valid ? tag_seq(it->cursor->tag) : 0;
}

helios_slice helios_iter_value(const helios_iter *given)
{
    helios_iter *it = (helios_iter *)given; /* a large value is loaded when it is asked for */
    helios_status status;

    if (!it || !it->valid)
        return (helios_slice){0};
    if (!it->cursor->value_large)
        return it->cursor->value;
    if (!it->value_loaded) {
        status = cursor_value(it->cursor, &it->value);
        if (status != HELIOS_OK) {
            give_up(it, status);
            return (helios_slice){0};
        }
        it->value_loaded = true;
    }
    return it->value;
}

helios_status helios_iter_status(const helios_iter *it)
{
    if (!it)
        return fail(HELIOS_INVALID, "no iterator was given");
    return error_tell(&it->error);
}
