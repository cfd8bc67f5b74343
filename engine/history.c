/* history.c - the versions of one key, newest first, down to the horizon.
 *
 * What is listed is a function of the key's states at the read point and before, down to H, and of nothing else: a
 * version that is a value always; a deletion, of the key or of a range, where the key was present just before. So it
 * makes no difference whether a compaction has been there: it keeps every state from H on, and what it drops
 * above H changes none. At H itself only the value that is valid there counts, as its own predecessor may be
 * gone.
 *
 *   seq             1    3    5    7    9    11        H 4, read point 11
 *   key             put       put  del  del
 *   range delete              5              11
 *   listed          put(1)?   put  del                 1 is valid at 4; 9 and 11 deleted nothing
 *
 * A floor at H keeps all of it for the handle's life; for a read point below H there is the one version that
 * is visible at it, and a pin. The view is not held: a stale one is left at the next move, as iterators do. */
#include "engine/branches.h"
#include "engine/read.h"
#include "engine/sources.h"

struct helios_history {
    struct helios_db *db;
    struct sources sources;
    pin_id floor, pin;          /* one of them, unless the point is before the first commit */
    helios_branch_id branch;    /* held */
    const struct branch *layer; /* whose layer it is in; NULL: main's */
    helios_seq horizon;         /* the walk ends with what is valid here */
    helios_seq limit;           /* all above is done with */
    bool fill_cache, keys_only, over;
    helios_buf key, end; /* with layer; [key, end) is the key alone */
    struct error_note error;
};

/* What happened to the key at a number. */
struct event {
    helios_seq seq;
    helios_branch_id branch;
    bool deleted; /* else the cursor stands on the value */
};

/* ---- making ---- */

/* [key, key and a zero byte): no other key is in between. */
static helios_status set_key(struct helios_history *h, uint8_t space, helios_slice key)
{
    unsigned char layer[KEY_LAYER_BYTES];
    helios_status status;

    key_put_layer(layer, h->branch, space);
    status = buf_set(&h->key, layer, sizeof(layer));
    if (status == HELIOS_OK)
        status = buf_append(&h->key, key.data, key.size);
    if (status == HELIOS_OK)
        status = buf_set(&h->end, h->key.data, h->key.size);
    return status == HELIOS_OK ? buf_append(&h->end, "", 1) : status;
}

/* The floor first: whatever the point turns out to be, the states from H on are kept then. */
static helios_status hold(struct helios_history *h, const helios_read_options *options)
{
    struct read_point point;
    helios_status status = floor_acquire_horizon(h->db, HELIOS_PIN_HISTORY, &h->floor, &h->horizon);

    if (status == HELIOS_OK)
        status = read_point_of(h->db, options, &point);
    if (status != HELIOS_OK)
        return status;
    h->limit = point.latest ? atomic_load(&h->db->latest) : point.seq;
    if (h->limit >= h->horizon)
        return HELIOS_OK;
    pins_release(h->db->floors, h->floor);
    h->floor = 0;
    status = read_point_pin(h->db, options, HELIOS_PIN_HISTORY, &h->pin, &h->limit);
    h->horizon = h->limit;
    return status;
}

helios_status helios_history_new(helios_db *db, const helios_read_options *given, helios_slice key,
                                 helios_history **out)
{
    helios_read_options options;
    struct helios_history *h;
    helios_status status;

    if (!db || !out)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the history" : "database");
    status = check_key(key);
    if (status == HELIOS_OK)
        status = read_options(db, given, &options);
    if (status != HELIOS_OK)
        return status;
    h = mem_zalloc(sizeof(*h));
    if (!h)
        return fail_no_memory(sizeof(*h));
    h->db = db;
    h->fill_cache = !options.no_cache_fill;
    h->keys_only = options.keys_only;
    atomic_fetch_add_explicit(&db->iterators, 1, memory_order_relaxed);
    status = branch_hold(db, options.branch);
    if (status == HELIOS_OK) {
        h->branch = options.branch;
        h->layer = h->branch ? branch_at(db, h->branch) : NULL;
        status = set_key(h, SPACE_USER, key);
    }
    if (status == HELIOS_OK)
        status = hold(h, &options);
    if (status != HELIOS_OK) {
        helios_history_free(h);
        return status;
    }
    *out = h;
    return HELIOS_OK;
}

void helios_history_free(helios_history *h)
{
    if (!h)
        return;
    sources_close(&h->sources);
    pins_release(h->db->floors, h->floor);
    pins_release(h->db->pins, h->pin);
    helios_buf_free(&h->key);
    helios_buf_free(&h->end);
    branch_release(h->db, h->branch);
    atomic_fetch_sub_explicit(&h->db->iterators, 1, memory_order_release);
    mem_free(h);
}

/* ---- walking ---- */

/* Stands on the newest version at or below the limit, in the current view. */
static helios_status refresh(struct helios_history *h)
{
    const struct sources_options options = {
        .lower = buf_slice(&h->key),
        .upper = buf_slice(&h->end),
        .read_point = CURSOR_ALL,
        .fill_cache = h->fill_cache,
    };
    helios_status status;

    if (!sources_stale(&h->sources, h->db))
        return HELIOS_OK;
    sources_close(&h->sources);
    status = sources_open(h->db, &options, &h->sources);
    if (status == HELIOS_OK)
        cursor_seek(h->sources.cursor, buf_slice(&h->key), tag_at(h->limit));
    return status;
}

/* The newest event at or below the limit; seq 0 when there is none. The cursor passes over what is above. */
static helios_status find_in_layer(struct helios_history *h, struct event *event)
{
    struct cursor *c = h->sources.cursor;
    helios_slice key = buf_slice(&h->key);
    bool there;

    while (c->valid && slice_equal(c->key, key) && tag_seq(c->tag) > h->limit)
        cursor_next(c);
    if (!c->valid && c->status != HELIOS_OK)
        return c->error ? error_tell(c->error) : c->status;
    there = c->valid && slice_equal(c->key, key);
    *event = (struct event){sources_newest_delete(&h->sources, key, h->limit), key_branch(key), true};
    if (there && tag_seq(c->tag) >= event->seq)
        *event = (struct event){tag_seq(c->tag), key_branch(key), tag_kind(c->tag) == KIND_TOMBSTONE};
    return HELIOS_OK;
}

/* On to the nearest ancestor that shows through, as it was at the fork. */
static void enter_ancestor(struct helios_history *h)
{
    if (h->layer->up_seq < h->limit)
        h->limit = h->layer->up_seq;
    h->layer = h->layer->up;
    put_u32_be(h->key.data, h->layer->id);
    put_u32_be(h->end.data, h->layer->id);
    sources_close(&h->sources);
}

/* The newest event at or below the limit, in this layer or an ancestor's; seq 0 when there is none. */
static helios_status find_event(struct helios_history *h, struct event *event)
{
    for (;;) {
        helios_status status = refresh(h);

        if (status == HELIOS_OK)
            status = find_in_layer(h, event);
        if (status != HELIOS_OK || event->seq || !h->layer || !h->layer->up)
            return status;
        enter_ancestor(h);
    }
}

/* The next event to be listed; seq 0 at the end. */
static helios_status find_next(struct helios_history *h, struct event *event)
{
    helios_status status = HELIOS_OK;

    while (status == HELIOS_OK) {
        struct event older;

        status = find_event(h, event);
        if (status != HELIOS_OK || event->seq == 0)
            break;
        h->limit = event->seq - 1;
        if (event->seq <= h->horizon) {
            h->over = true;
            if (event->deleted)
                event->seq = 0;
            break;
        }
        if (!event->deleted)
            break;
        status = find_event(h, &older);
        if (status == HELIOS_OK && older.seq && !older.deleted)
            break;
    }
    return status;
}

static helios_status tell(struct helios_history *h, const struct event *event, helios_version *out)
{
    helios_version version = {.seq = event->seq, .branch = event->branch, .deleted = event->deleted};
    helios_status status = HELIOS_OK;

    if (!event->deleted && !h->keys_only)
        status = cursor_value(h->sources.cursor, &version.value);
    if (status == HELIOS_OK)
        status = helios_time_of_seq(h->db, event->seq, &version.time);
    if (status == HELIOS_HISTORY_GONE) /* only of one at or below the horizon */
        status = HELIOS_OK;
    if (status == HELIOS_OK)
        *out = version;
    return status;
}

bool helios_history_next(helios_history *h, helios_version *version)
{
    struct event event = {0};
    helios_status status = HELIOS_OK;

    if (!h || h->error.status != HELIOS_OK)
        return false;
    if (!version)
        status = fail(HELIOS_INVALID, "no place for the version was given");
    else if (!h->over)
        status = find_next(h, &event);
    if (status == HELIOS_OK && event.seq)
        status = tell(h, &event, version);
    if (status == HELIOS_OK && event.seq)
        return true;
    error_keep(&h->error, status);
    h->over = true;
    sources_close(&h->sources);
    return false;
}

helios_status helios_history_status(const helios_history *h)
{
    if (!h)
        return fail(HELIOS_INVALID, "no history was given");
    return error_tell(&h->error);
}
