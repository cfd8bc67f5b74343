/* txn_scan.c - what an iterator of a transaction has beside an ordinary one: a cursor over the transaction's own writes
 * as one more source, and the range that it has walked, for the read set. Called by iterator.c and txn.c. */
#include "engine/txn.h"
#include <assert.h>

/* ---- own writes as a source ---- */

struct own_cursor {
    struct cursor cursor;
    struct helios_txn *txn;
    struct write_node *node;
};

static void show(struct cursor *c, struct write_node *node)
{
    struct own_cursor *own = (struct own_cursor *)c;
    bool value = node && node->top.kind == KIND_VALUE;

    own->node = node;
    c->valid = node != NULL;
    if (!node)
        return;
    c->key = node->key;
    c->tag = tag_make(SEQ_OWN, value ? KIND_VALUE : KIND_TOMBSTONE);
    c->value = (helios_slice){0};
    c->value_large = value;
}

static const struct write_index *index_of(const struct cursor *c)
{
    return &((const struct own_cursor *)c)->txn->writes;
}

static void own_first(struct cursor *c)
{
    show(c, write_index_first(index_of(c)));
}

static void own_last(struct cursor *c)
{
    show(c, write_index_last(index_of(c)));
}

static void own_seek(struct cursor *c, helios_slice key, uint64_t tag)
{
    (void)tag; /* a key stands here once */
    show(c, write_index_seek(index_of(c), key));
}

static void own_seek_for_prev(struct cursor *c, helios_slice key)
{
    struct write_node *node = write_index_seek(index_of(c), key);

    show(c, node && slice_equal(node->key, key) ? node : write_index_before(index_of(c), key));
}

static void own_next(struct cursor *c)
{
    show(c, write_index_next(((struct own_cursor *)c)->node));
}

static void own_prev(struct cursor *c)
{
    show(c, write_index_before(index_of(c), c->key));
}

static helios_status own_load(struct cursor *c)
{
    struct own_cursor *own = (struct own_cursor *)c;

    c->value = batch_at(&own->txn->batch, own->node->top.op).value;
    return HELIOS_OK;
}

static void own_free(struct cursor *c)
{
    mem_free(c);
}

static const struct cursor_ops own_ops = {
    .first = own_first,
    .last = own_last,
    .seek = own_seek,
    .seek_for_prev = own_seek_for_prev,
    .next = own_next,
    .prev = own_prev,
    .load = own_load,
    .free = own_free,
};

helios_status txn_scan_cursor(struct txn_scan *scan, struct cursor **out)
{
    struct own_cursor *own = mem_zalloc(sizeof(*own));

    if (!own)
        return fail_no_memory(sizeof(*own));
    own->cursor.ops = &own_ops;
    own->txn = scan->txn;
    *out = &own->cursor;
    return HELIOS_OK;
}

/* ---- life ---- */

helios_status txn_scan_new(struct helios_txn *txn, struct helios_iter *iter, struct txn_scan **out)
{
    struct txn_scan *scan = mem_zalloc(sizeof(*scan));

    if (!scan)
        return fail_no_memory(sizeof(*scan));
    scan->txn = txn;
    scan->iter = iter;
    scan->next = txn->scans;
    scan->link = &txn->scans;
    if (scan->next)
        scan->next->link = &scan->next;
    txn->scans = scan;
    *out = scan;
    return HELIOS_OK;
}

void txn_scan_free(struct txn_scan *scan)
{
    if (!scan)
        return;
    if (scan->txn) {
        *scan->link = scan->next;
        if (scan->next)
            scan->next->link = scan->link;
    }
    helios_buf_free(&scan->low);
    helios_buf_free(&scan->high);
    helios_buf_free(&scan->value);
    mem_free(scan);
}

/* ---- the walk ---- */

static bool noted(const struct txn_scan *scan)
{
    return scan->txn && scan->txn->serializable;
}

/* The first key behind `key` is `key` with a zero byte. */
static helios_status set_end(helios_buf *buf, helios_slice key, bool inclusive)
{
    helios_status status = buf_reserve(buf, key.size + 1);

    if (status != HELIOS_OK)
        return status;
    status = buf_set(buf, key.data, key.size);
    return status == HELIOS_OK && inclusive ? buf_append(buf, "", 1) : status;
}

static void keep_going(struct txn_scan *scan, helios_status status)
{
    if (status != HELIOS_OK)
        scan->txn->reads_lost = true;
}

void txn_scan_begin(struct txn_scan *scan, helios_slice low, helios_slice high, bool high_inclusive)
{
    if (!noted(scan))
        return;
    assert(!scan->walking);
    keep_going(scan, buf_set(&scan->low, low.data, low.size));
    keep_going(scan, set_end(&scan->high, high, high_inclusive));
    scan->walking = true;
}

void txn_scan_widen(struct txn_scan *scan, helios_slice key)
{
    if (!noted(scan) || !scan->walking)
        return;
    if (slice_compare(key, buf_slice(&scan->low)) < 0)
        keep_going(scan, buf_set(&scan->low, key.data, key.size));
    if (slice_compare(key, buf_slice(&scan->high)) >= 0)
        keep_going(scan, set_end(&scan->high, key, true));
}

void txn_scan_reached(struct txn_scan *scan, helios_slice bound, bool forward)
{
    if (!noted(scan) || !scan->walking)
        return;
    if (forward && slice_compare(bound, buf_slice(&scan->high)) > 0)
        keep_going(scan, set_end(&scan->high, bound, false));
    if (!forward && slice_compare(bound, buf_slice(&scan->low)) < 0)
        keep_going(scan, buf_set(&scan->low, bound.data, bound.size));
}

void txn_scan_note(struct txn_scan *scan)
{
    if (noted(scan) && scan->walking)
        keep_going(scan, read_set_add_range(&scan->txn->reads, buf_slice(&scan->low), buf_slice(&scan->high)));
}

helios_status txn_scan_hand_over(struct txn_scan *scan)
{
    helios_status status;

    if (!noted(scan) || !scan->walking)
        return HELIOS_OK;
    status = txn_room(scan->txn, scan->low.size + scan->high.size + sizeof(struct read_range));
    if (status != HELIOS_OK)
        return status;
    txn_scan_note(scan);
    scan->walking = false;
    return HELIOS_OK;
}
