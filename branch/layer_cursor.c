/* layer_cursor.c - one branch's part of a cursor. A step costs the inner one's and a comparison of four bytes;
 * only seeks copy a key. */
#include "branch/layer_cursor.h"
#include "base/buf.h"
#include "base/mem.h"

struct layer_cursor {
    struct cursor cursor;
    struct cursor *inner;
    unsigned char branch[BRANCH_BYTES];
    helios_buf place; /* the key of a seek with the branch before it */
    struct error_note note;
};

static struct layer_cursor *layer_of(struct cursor *c)
{
    return (struct layer_cursor *)c;
}

static inline void show(struct layer_cursor *l)
{
    struct cursor *inner = l->inner, *c = &l->cursor;

    c->valid = inner->valid && memcmp(inner->key.data, l->branch, BRANCH_BYTES) == 0;
    if (!c->valid) {
        c->status = inner->valid ? HELIOS_OK : inner->status;
        c->error = inner->error;
        return;
    }
    c->status = HELIOS_OK;
    c->key = slice_make(slice_bytes(inner->key) + BRANCH_BYTES, inner->key.size - BRANCH_BYTES);
    c->tag = inner->tag;
    c->value = inner->value;
    c->value_large = inner->value_large;
}

/* The key on this branch; false: no memory, and the cursor says so. */
static bool place(struct layer_cursor *l, helios_slice key)
{
    helios_status status = buf_set(&l->place, l->branch, BRANCH_BYTES);

    if (status == HELIOS_OK)
        status = buf_append(&l->place, key.data, key.size);
    if (status == HELIOS_OK)
        return true;
    error_keep(&l->note, status);
    l->cursor.valid = false;
    l->cursor.status = status;
    l->cursor.error = &l->note;
    return false;
}

static void layer_first(struct cursor *c)
{
    struct layer_cursor *l = layer_of(c);

    if (!place(l, slice_make("", 0)))
        return;
    cursor_seek(l->inner, buf_slice(&l->place), TAG_MAX);
    show(l);
}

/* The last key before the next branch. No key has all 64 KiB of 0xff and more behind its layer. */
static void layer_last(struct cursor *c)
{
    struct layer_cursor *l = layer_of(c);
    unsigned char next[BRANCH_BYTES];
    helios_branch_id branch = get_u32_be(l->branch);

    if (branch == UINT32_MAX) {
        cursor_last(l->inner);
        show(l);
        return;
    }
    put_u32_be(next, branch + 1); /* no key is that short */
    cursor_seek_for_prev(l->inner, slice_make(next, BRANCH_BYTES));
    show(l);
}

static void layer_seek(struct cursor *c, helios_slice key, uint64_t tag)
{
    struct layer_cursor *l = layer_of(c);

    if (!place(l, key))
        return;
    cursor_seek(l->inner, buf_slice(&l->place), tag);
    show(l);
}

static void layer_seek_for_prev(struct cursor *c, helios_slice key)
{
    struct layer_cursor *l = layer_of(c);

    if (!place(l, key))
        return;
    cursor_seek_for_prev(l->inner, buf_slice(&l->place));
    show(l);
}

static void layer_next(struct cursor *c)
{
    cursor_next(layer_of(c)->inner);
    show(layer_of(c));
}

static void layer_prev(struct cursor *c)
{
    cursor_prev(layer_of(c)->inner);
    show(layer_of(c));
}

static helios_status layer_load(struct cursor *c)
{
    struct layer_cursor *l = layer_of(c);
    helios_status status = cursor_value(l->inner, &c->value);

    if (status != HELIOS_OK) {
        c->valid = false;
        c->status = status;
        c->error = l->inner->error;
    }
    return status;
}

static void layer_free(struct cursor *c)
{
    struct layer_cursor *l = layer_of(c);

    cursor_free(l->inner);
    helios_buf_free(&l->place);
    mem_free(l);
}

static const struct cursor_ops layer_ops = {
    .first = layer_first,
    .last = layer_last,
    .seek = layer_seek,
    .seek_for_prev = layer_seek_for_prev,
    .next = layer_next,
    .prev = layer_prev,
    .load = layer_load,
    .free = layer_free,
};

helios_status layer_cursor_new(struct cursor *inner, helios_branch_id branch, struct cursor **out)
{
    struct layer_cursor *l = mem_zalloc(sizeof(*l));

    if (!l)
        return fail_no_memory(sizeof(*l));
    l->cursor.ops = &layer_ops;
    l->inner = inner;
    put_u32_be(l->branch, branch);
    *out = &l->cursor;
    return HELIOS_OK;
}
