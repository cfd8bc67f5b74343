/* iterator.c - ordered walks at one read point: a merge of all sources of a view, without what is deleted.
 *
 * The read point is pinned for the iterator's life, the view is not: once it is stale the iterator moves
 * to the current one by seeking again, so that it holds neither old memtables nor deleted files for
 * longer than to its next move. One of a transaction has its writes as one more source (txn_scan.c), and goes back to
 * its sources likewise when the transaction wrote where it is going. */
#include "engine/branches.h"
#include "engine/sources.h"
#include "engine/txn.h"
#include <assert.h>

struct helios_iter {
    struct helios_db *db;
    struct sources sources;
    struct cursor *cursor; /* the sources' */
    pin_id pin;
    helios_seq seq;
    helios_branch_id branch;      /* the caller's, held */
    helios_branch_id layer;       /* the one whose layer it walks, alone or first */
    const struct branch *overlay; /* that one with its ancestors; NULL: alone */
    uint8_t space;
    bool fill_cache, keys_only, valid, forward;
    bool counted;            /* a user's: the database is not closed while it lives */
    helios_buf lower, upper; /* with layer; always both: at least the layer's own bounds */
    helios_buf whole;        /* a key with its branch, where the sources' keys have none */
    helios_buf place;        /* the key to come back to when the view changes */
    helios_slice value;
    bool value_loaded;
    struct txn_scan *scan; /* of a transaction's; NULL: an ordinary one */
    struct error_note error;
};

/* ---- sources ---- */

/* Opens cursors over everything the current view holds in the bounds. */
static helios_status gather(struct helios_iter *it)
{
    struct sources_options options = {
        .lower = buf_slice(&it->lower),
        .upper = buf_slice(&it->upper),
        .read_point = it->seq,
        .branch = it->overlay,
        .fill_cache = it->fill_cache,
    };
    helios_status status = HELIOS_OK;

    if (it->scan) {
        options.own_ranges = it->scan->txn->ranges;
        status = txn_scan_cursor(it->scan, &options.own);
    }
    if (status == HELIOS_OK)
        status = sources_open(it->db, &options, &it->sources);
    it->cursor = it->sources.cursor;
    return status;
}

/* A key with layer as the sources know it. */
static helios_slice seen(const struct helios_iter *it, const helios_buf *key)
{
    size_t skip = it->overlay ? BRANCH_BYTES : 0;

    return slice_make(key->data + skip, key->size - skip);
}

static void reach_bound(struct helios_iter *it)
{
    txn_scan_reached(it->scan, buf_slice(it->forward ? &it->upper : &it->lower), it->forward);
}

/* Where it stood is lost with the sources: for a transaction it has read as far as its bound. */
static void give_up(struct helios_iter *it, helios_status status)
{
    it->valid = false;
    error_keep(&it->error, status);
    if (it->scan)
        reach_bound(it);
}

/* What it stands on is not what a step starts from any more. */
static bool stale(const struct helios_iter *it)
{
    return sources_stale(&it->sources, it->db) || (it->scan && (it->scan->regather || it->scan->reseek));
}

/* Makes sure that the sources are those of the current view. False: an error. */
static bool refresh(struct helios_iter *it)
{
    helios_status status;

    if (it->scan)
        it->scan->reseek = false; /* whoever asks seeks now */
    if (!sources_stale(&it->sources, it->db) && !(it->scan && it->scan->regather))
        return true;
    sources_close(&it->sources);
    status = gather(it);
    if (status == HELIOS_OK && it->scan)
        it->scan->regather = false;
    if (status != HELIOS_OK)
        give_up(it, status);
    return status == HELIOS_OK;
}

/* ---- moving ---- */

/* Where the cursor stands: something to show, nothing to show but look on (COVERED: by a range delete), or the end. */
enum standing { STANDS, HIDDEN, COVERED, ENDED };
enum { COVERED_IN_SEQUENCE = 8 }; /* then it pays to look how far it goes */

static enum standing look_for_cover(struct helios_iter *it)
{
    helios_seq cover;
    helios_status status = sources_cover(&it->sources, it->cursor->key, &cover);

    if (status != HELIOS_OK) {
        give_up(it, status);
        return ENDED;
    }
    return cover > tag_seq(it->cursor->tag) ? COVERED : STANDS;
}

static enum standing look(struct helios_iter *it)
{
    const struct cursor *c = it->cursor;

    if (!c->valid) {
        if (c->status != HELIOS_OK)
            give_up(it, c->error ? error_tell(c->error) : c->status);
        return ENDED;
    }
    if (it->forward ? slice_compare(c->key, seen(it, &it->upper)) >= 0
                    : slice_compare(c->key, seen(it, &it->lower)) < 0)
        return ENDED;
    if (tag_kind(c->tag) == KIND_TOMBSTONE)
        return HIDDEN;
    return it->sources.cover_count ? look_for_cover(it) : STANDS;
}

static bool stands_on_own(const struct helios_iter *it)
{
    return it->scan && it->valid && tag_seq(it->cursor->tag) == SEQ_OWN;
}

/* For an iterator of a transaction: an own value is copied, as the batch may move before it is asked for. */
static void settle_scan(struct helios_iter *it)
{
    helios_slice value;
    helios_status status;

    if (!it->valid)
        reach_bound(it);
    if (!stands_on_own(it))
        return;
    status = cursor_value(it->cursor, &value);
    if (status == HELIOS_OK)
        status = buf_set(&it->scan->value, value.data, value.size);
    if (status != HELIOS_OK)
        give_up(it, status);
}

/* Over what is deleted with what it stands on, or a step. False: an error. */
static bool pass_deleted(struct helios_iter *it)
{
    bool far;
    helios_status status = sources_pass_deleted(&it->sources, seen(it, &it->upper), &far);

    if (status != HELIOS_OK) {
        give_up(it, status);
        return false;
    }
    if (!far)
        cursor_next(it->cursor);
    return true;
}

static void settle_forward(struct helios_iter *it)
{
    enum standing standing;
    unsigned covered = 0;

    it->forward = true;
    it->value_loaded = false;
    while ((standing = look(it)) == HIDDEN || standing == COVERED) {
        covered = standing == COVERED ? covered + 1 : 0;
        if (covered % COVERED_IN_SEQUENCE != COVERED_IN_SEQUENCE - 1)
            cursor_next(it->cursor);
        else if (!pass_deleted(it))
            return;
    }
    it->valid = standing == STANDS;
    if (it->scan)
        settle_scan(it);
}

static void settle_backward(struct helios_iter *it)
{
    enum standing standing;

    it->forward = false;
    it->value_loaded = false;
    while ((standing = look(it)) == HIDDEN || standing == COVERED)
        cursor_prev(it->cursor);
    it->valid = standing == STANDS;
    if (it->scan)
        settle_scan(it);
}

/* What was walked up to here becomes the transaction's. False: it has ended, or has no room. */
static bool end_walk(struct helios_iter *it)
{
    helios_status status;

    if (!it->scan->txn)
        return false; /* the error says so */
    iter_note_walk(it);
    status = txn_scan_hand_over(it->scan);
    it->error.status = HELIOS_OK;
    if (status != HELIOS_OK) {
        it->valid = false;
        error_keep(&it->error, status);
    }
    return status == HELIOS_OK;
}

/* A new position: earlier errors are over. */
static bool begin_move(struct helios_iter *it)
{
    if (it->scan && !end_walk(it))
        return false;
    it->error.status = HELIOS_OK;
    it->valid = false;
    return refresh(it);
}

/* Where it stands is stale: seeks the same key on the current sources. *on it, unless it is gone with what a transaction
 * took back: then where a step would lead. False: an error. */
static bool come_back(struct helios_iter *it, bool *on)
{
    helios_status status = buf_set(&it->place, it->cursor->key.data, it->cursor->key.size);

    if (status != HELIOS_OK)
        give_up(it, status);
    if (status != HELIOS_OK || !refresh(it))
        return false;
    if (it->forward)
        cursor_seek(it->cursor, buf_slice(&it->place), TAG_MAX);
    else
        cursor_seek_for_prev(it->cursor, buf_slice(&it->place));
    *on = it->cursor->valid && slice_equal(it->cursor->key, buf_slice(&it->place));
    return true;
}

static void step_forward(struct helios_iter *it)
{
    bool on = true;

    if (it->scan && !it->forward)
        iter_note_walk(it); /* as far as it came backward */
    it->forward = true;
    if (stale(it) && !come_back(it, &on))
        return;
    if (on)
        cursor_next(it->cursor);
    settle_forward(it);
}

static void step_backward(struct helios_iter *it)
{
    bool on = true;

    if (it->scan && it->forward)
        iter_note_walk(it);
    it->forward = false;
    if (stale(it) && !come_back(it, &on))
        return;
    if (on)
        cursor_prev(it->cursor);
    settle_backward(it);
}

/* ---- making ---- */

static helios_status set_bound(struct helios_iter *it, helios_buf *buf, helios_slice given, bool upper)
{
    unsigned char layer[KEY_LAYER_BYTES];
    helios_status status;

    key_put_layer(layer, it->layer, it->space);
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
    it->layer = branch;
    it->space = space;
    *out = it;
    return HELIOS_OK;
}

/* Where the walk of a branch begins, and whether ancestors can show through. own: a transaction writes there. */
static void enter_branch(struct helios_iter *it, helios_branch_id id, bool own)
{
    const struct branch *branch;

    if (id == 0)
        return;
    branch = own ? branch_at(it->db, id) : branch_overlay(it->db, id, &it->seq);
    it->layer = branch->id;
    it->overlay = branch->up ? branch : NULL;
}

static helios_status set_bounds(struct helios_iter *it, helios_slice lower, helios_slice upper)
{
    helios_status status = set_bound(it, &it->lower, lower, false);

    return status == HELIOS_OK ? set_bound(it, &it->upper, upper, true) : status;
}

helios_status iter_new_in(helios_db *db, uint8_t space, const helios_read_options *given, helios_iter **out)
{
    helios_read_options options;
    struct helios_iter *it = NULL;
    helios_status status = read_options(db, given, &options);

    if (status == HELIOS_OK)
        status = iter_new(db, options.branch, space, &it);
    if (status != HELIOS_OK)
        return status;
    it->fill_cache = !options.no_cache_fill;
    it->keys_only = options.keys_only;
    it->counted = true;
    atomic_fetch_add_explicit(&db->iterators, 1, memory_order_relaxed);
    status = branch_hold(db, options.branch);
    if (status == HELIOS_OK) {
        it->branch = options.branch;
        status = read_point_pin(db, &options, HELIOS_PIN_ITERATOR, &it->pin, &it->seq);
    }
    if (status == HELIOS_OK) {
        enter_branch(it, it->branch, false);
        status = set_bounds(it, options.lower, options.upper);
    }
    if (status == HELIOS_OK)
        status = gather(it);
    if (status != HELIOS_OK) {
        helios_iter_free(it);
        return status;
    }
    *out = it;
    return HELIOS_OK;
}

helios_status helios_iter_new(helios_db *db, const helios_read_options *options, helios_iter **out)
{
    if (!db || !out)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the iterator" : "database");
    return iter_new_in(db, SPACE_USER, options, out);
}

/* Takes the iterator; it->branch is held if it is not 0. */
static helios_status begin_state(struct helios_iter *it, const struct state_walk *walk, helios_iter **out)
{
    helios_status status;

    it->fill_cache = walk->fill_cache;
    it->seq = walk->seq;
    enter_branch(it, walk->branch, false);
    status = set_bounds(it, walk->lower, walk->upper);
    if (status == HELIOS_OK)
        status = gather(it);
    if (status != HELIOS_OK) {
        helios_iter_free(it);
        return status;
    }
    *out = it;
    return HELIOS_OK;
}

helios_status iter_new_state(helios_db *db, const struct state_walk *walk, helios_iter **out)
{
    struct helios_iter *it = NULL;
    helios_status status = iter_new(db, walk->branch, walk->space, &it);

    return status == HELIOS_OK ? begin_state(it, walk, out) : status;
}

helios_status iter_new_internal(helios_db *db, helios_branch_id branch, uint8_t space, helios_slice lower,
                                helios_slice upper, helios_seq seq, helios_iter **out)
{
    const struct state_walk walk = {
        .branch = branch, .space = space, .lower = lower, .upper = upper, .seq = seq, .fill_cache = true};
    struct helios_iter *it = NULL;
    helios_status status = iter_new(db, branch, space, &it);

    if (status != HELIOS_OK)
        return status;
    status = branch_hold(db, branch);
    if (status != HELIOS_OK) {
        helios_iter_free(it);
        return status;
    }
    it->branch = branch;
    return begin_state(it, &walk, out);
}

helios_status iter_new_txn(struct helios_txn *txn, uint8_t space, const helios_read_options *options,
                           helios_iter **out)
{
    struct helios_iter *it = NULL;
    helios_status status = iter_new(txn->db, txn->branch, space, &it);

    if (status != HELIOS_OK)
        return status;
    it->fill_cache = !options->no_cache_fill;
    it->keys_only = options->keys_only;
    it->seq = txn->point;
    it->counted = true;
    atomic_fetch_add_explicit(&txn->db->iterators, 1, memory_order_relaxed);
    status = branch_hold(txn->db, txn->branch);
    if (status == HELIOS_OK) {
        it->branch = txn->branch;
        enter_branch(it, it->branch, true);
        status = set_bounds(it, options->lower, options->upper);
    }
    if (status == HELIOS_OK)
        status = txn_scan_new(txn, it, &it->scan);
    if (status == HELIOS_OK)
        status = gather(it);
    if (status != HELIOS_OK) {
        helios_iter_free(it);
        return status;
    }
    *out = it;
    return HELIOS_OK;
}

/* ---- for the transaction ---- */

/* With its branch, as the read set has keys. Without memory, the whole range up to the bound. */
static helios_slice whole_key(struct helios_iter *it)
{
    helios_slice key = it->cursor->key;

    if (!it->overlay)
        return key;
    if (buf_set(&it->whole, it->lower.data, BRANCH_BYTES) != HELIOS_OK ||
        buf_append(&it->whole, key.data, key.size) != HELIOS_OK) {
        it->scan->txn->reads_lost = true;
        return buf_slice(it->forward ? &it->upper : &it->lower);
    }
    return buf_slice(&it->whole);
}

void iter_note_walk(struct helios_iter *it)
{
    if (it->valid && it->scan->walking)
        txn_scan_widen(it->scan, whole_key(it));
}

void iter_txn_wrote(struct helios_iter *it, helios_slice key)
{
    size_t skip = it->overlay ? BRANCH_BYTES : 0;
    int order =
        it->valid ? slice_compare(slice_make(slice_bytes(key) + skip, key.size - skip), it->cursor->key) : 0;

    if (it->forward ? order > 0 : order < 0)
        it->scan->reseek = true;
}

void iter_txn_ended(struct helios_iter *it)
{
    static const char text[] = "the iterator's transaction has ended";

    sources_close(&it->sources);
    it->cursor = NULL;
    it->valid = false;
    it->error.status = HELIOS_INVALID; /* this thread's sentence stays: it may be why the transaction ended */
    memcpy(it->error.text, text, sizeof(text));
}

void helios_iter_free(helios_iter *it)
{
    if (!it)
        return;
    if (it->scan && it->scan->txn) {
        iter_note_walk(it);
        txn_scan_note(it->scan);
    }
    txn_scan_free(it->scan);
    sources_close(&it->sources);
    pins_release(it->db->pins, it->pin);
    helios_buf_free(&it->lower);
    helios_buf_free(&it->upper);
    helios_buf_free(&it->place);
    helios_buf_free(&it->whole);
    branch_release(it->db, it->branch);
    if (it->counted)
        atomic_fetch_sub_explicit(&it->db->iterators, 1, memory_order_release);
    mem_free(it);
}

/* ---- the public moves ---- */

void helios_iter_first(helios_iter *it)
{
    if (!it || !begin_move(it))
        return;
    if (it->scan)
        txn_scan_begin(it->scan, buf_slice(&it->lower), buf_slice(&it->lower), false);
    cursor_seek(it->cursor, seen(it, &it->lower), TAG_MAX);
    settle_forward(it);
}

/* The last key below the upper bound. */
static void seek_below_upper(struct helios_iter *it)
{
    if (it->scan)
        txn_scan_begin(it->scan, buf_slice(&it->upper), buf_slice(&it->upper), false);
    cursor_seek_for_prev(it->cursor, seen(it, &it->upper));
    if (it->cursor->valid && slice_compare(it->cursor->key, seen(it, &it->upper)) >= 0)
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
    key_put_layer(layer, it->layer, it->space);
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
    const helios_buf *from;

    if (!it || !begin_move(it) || !place_key(it, key))
        return;
    from = slice_compare(buf_slice(&it->place), buf_slice(&it->lower)) < 0 ? &it->lower : &it->place;
    if (it->scan)
        txn_scan_begin(it->scan, buf_slice(from), buf_slice(from), false);
    cursor_seek(it->cursor, seen(it, from), TAG_MAX);
    settle_forward(it);
}

void helios_iter_seek_for_prev(helios_iter *it, helios_slice key)
{
    helios_slice from;

    if (!it || !begin_move(it) || !place_key(it, key))
        return;
    from = buf_slice(&it->place);
    if (slice_compare(from, buf_slice(&it->upper)) >= 0) {
        seek_below_upper(it);
        return;
    }
    if (it->scan) /* below the lower bound there is nothing to read */
        txn_scan_begin(it->scan, from, from, slice_compare(from, buf_slice(&it->lower)) >= 0);
    cursor_seek_for_prev(it->cursor, seen(it, &it->place));
    settle_backward(it);
}

void helios_iter_next(helios_iter *it)
{
    if (it && it->valid)
        step_forward(it);
}

void helios_iter_prev(helios_iter *it)
{
    if (it && it->valid)
        step_backward(it);
}

bool helios_iter_valid(const helios_iter *it)
{
    return it && it->valid;
}

helios_slice helios_iter_key(const helios_iter *it)
{
    size_t layer = it && it->overlay ? KEY_LAYER_BYTES - BRANCH_BYTES : KEY_LAYER_BYTES;

    if (!it || !it->valid)
        return (helios_slice){0};
    return slice_make(slice_bytes(it->cursor->key) + layer, it->cursor->key.size - layer);
}

helios_seq helios_iter_seq(const helios_iter *it)
{
    return it && it->valid && !stands_on_own(it) ? tag_seq(it->cursor->tag) : 0;
}

size_t iter_value_size(const helios_iter *it)
{
    return it->cursor->value.size;
}

helios_slice helios_iter_value(const helios_iter *given)
{
    helios_iter *it = (helios_iter *)given; /* a large value is loaded when it is asked for */
    helios_status status;

    if (!it || !it->valid)
        return (helios_slice){0};
    if (stands_on_own(it))
        return buf_slice(&it->scan->value);
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
