/* origins.c - rows of applied commits, the prefix of their log records, whose a version is; see origins.h. */
#include "engine/origins.h"
#include <inttypes.h>

/* The value of a row, little-endian:
 *   0         1          5        9      25       33     37      41    45
 *   | version | op count | branch | node | commit | came | after | own | came's entries | after's entries | own keys |
 * where came, after and own say how many there are of each. */
enum {
    ROW_VERSION = 0,
    ROW_OP_COUNT = 1,
    ROW_BRANCH = 5,
    ROW_NODE = 9,
    ROW_COMMIT = 25,
    ROW_CAME = 33,
    ROW_AFTER = 37,
    ROW_OWN = 41,
    ROW_SIZE = 45,
    VERSION_NOW = 1,
};
_Static_assert(ROW_COMMIT == ROW_NODE + NODE_BYTES, "the commit's number follows the node");
_Static_assert(ROW_OWN + 4 == ROW_SIZE, "the lists follow the counts");

/* ---- bytes ---- */

helios_status origin_encode(helios_buf *out, const struct origin *o)
{
    unsigned char fixed[ROW_SIZE];
    helios_status status;

    fixed[ROW_VERSION] = VERSION_NOW;
    put_u32(fixed + ROW_OP_COUNT, o->op_count);
    put_u32(fixed + ROW_BRANCH, o->branch);
    memcpy(fixed + ROW_NODE, o->node, NODE_BYTES);
    put_u64(fixed + ROW_COMMIT, o->commit);
    put_u32(fixed + ROW_CAME, (uint32_t)clock_count(o->came));
    put_u32(fixed + ROW_AFTER, (uint32_t)clock_count(o->after));
    put_u32(fixed + ROW_OWN, o->own_count);
    status = buf_append(out, fixed, sizeof(fixed));
    if (status == HELIOS_OK)
        status = buf_append(out, o->came.data, o->came.size);
    if (status == HELIOS_OK)
        status = buf_append(out, o->after.data, o->after.size);
    return status == HELIOS_OK ? buf_append(out, o->own.data, o->own.size) : status;
}

static helios_slice read_clock(struct reader *r, uint32_t count)
{
    size_t size = (size_t)count * CLOCK_ENTRY;
    const unsigned char *at = count <= CLOCK_ENTRIES_MAX ? read_raw(r, size) : NULL;

    if (!at || !clock_valid(slice_make(at, size)))
        r->bad = true;
    return slice_make(at, at ? size : 0);
}

bool origin_next_own(struct reader *r, uint8_t *space, helios_slice *key)
{
    if (reader_left(r) == 0)
        return false;
    *space = read_u8(r);
    *key = read_slice(r);
    return !r->bad;
}

static bool own_in_order(struct reader *r, uint32_t count)
{
    uint8_t space = 0, last_space = 0;
    helios_slice key, last = {0};

    for (uint32_t i = 0; i < count; i++, last_space = space, last = key) {
        if (!origin_next_own(r, &space, &key) || key.size > KEY_USER_MAX)
            return false;
        if (i && (space < last_space || (space == last_space && slice_compare(last, key) >= 0)))
            return false;
    }
    return true;
}

bool origin_read(struct reader *r, struct origin *o)
{
    const unsigned char *in = read_raw(r, ROW_SIZE), *own;

    if (!in || in[ROW_VERSION] != VERSION_NOW)
        return false;
    o->op_count = get_u32(in + ROW_OP_COUNT);
    o->branch = get_u32(in + ROW_BRANCH);
    o->node = in + ROW_NODE;
    o->commit = get_u64(in + ROW_COMMIT);
    o->own_count = get_u32(in + ROW_OWN);
    o->came = read_clock(r, get_u32(in + ROW_CAME));
    o->after = read_clock(r, get_u32(in + ROW_AFTER));
    own = r->at;
    if (r->bad || o->op_count == 0 || o->own_count >= o->op_count || !own_in_order(r, o->own_count))
        return false;
    o->own = slice_make(own, (size_t)(r->at - own));
    return o->commit && clock_of(o->came, o->node) == o->commit && clock_of(o->after, o->node) == o->commit;
}

/* ---- the prefix ---- */

static helios_status append_lsns(const struct origin *o, const helios_seq *lsns, size_t count, helios_buf *out)
{
    unsigned char bytes[VARINT_MAX];
    helios_seq before = o->commit;
    helios_status status = buf_append(out, bytes, put_varint(bytes, count));

    for (size_t i = 0; i < count && status == HELIOS_OK; i++) {
        uint64_t delta = lsns[i] - before;

        before = lsns[i];
        status = buf_append(out, bytes, put_varint(bytes, delta << 1 ^ (0 - (delta >> 63))));
    }
    return status;
}

helios_status origin_prefix(const struct origin *o, const helios_seq *lsns, size_t count, helios_buf *out)
{
    unsigned char size[4] = {0};
    helios_status status;

    out->size = 0;
    status = buf_append(out, size, sizeof(size));
    if (status == HELIOS_OK)
        status = origin_encode(out, o);
    if (status == HELIOS_OK)
        status = append_lsns(o, lsns, count, out);
    if (status != HELIOS_OK)
        return status;
    if (out->size > UINT32_MAX / 2)
        return fail(HELIOS_LIMIT, "own decisions on %" PRIu32 " keys, of %zu bytes, are too many for a commit",
                    o->own_count, out->size);
    put_u32(out->data, (uint32_t)(out->size - sizeof(size)));
    return HELIOS_OK;
}

static bool prefix_decode(struct reader *r, struct record_origin *o)
{
    uint64_t count;

    if (!origin_read(r, &o->origin))
        return false;
    count = read_varint(r);
    o->lsns = *r;
    o->has_lsns = count != 0;
    if (count != 0 && count != o->origin.op_count)
        return false;
    for (uint64_t i = 0; i < count; i++)
        (void)read_varint(r);
    return reader_done(r);
}

bool origin_prefix_read(helios_slice *body, struct record_origin *o)
{
    struct reader r = reader_make(body->data, body->size), inner;
    uint32_t size = read_u32(&r);
    const unsigned char *at = r.bad ? NULL : read_raw(&r, size);

    if (!at)
        return false;
    inner = reader_make(at, size);
    *body = slice_make(r.at, reader_left(&r));
    return !o || prefix_decode(&inner, o);
}

/* ---- in memory ---- */

void origins_init(struct origins *o)
{
    mutex_init(&o->mu);
    mutex_init(&o->clock_mu);
}

void origins_release(struct origins *o)
{
    helios_buf_free(&o->clock);
    mutex_release(&o->mu);
    mutex_release(&o->clock_mu);
}

void origins_begin(struct helios_db *db, helios_seq key)
{
    if (atomic_load(&db->origins.first) == 0)
        atomic_store(&db->origins.first, key);
}

void origins_advance(struct helios_db *db, helios_buf *after)
{
    struct origins *o = &db->origins;
    helios_buf old;

    mutex_lock(&o->clock_mu);
    old = o->clock;
    o->clock = *after;
    *after = old;
    mutex_unlock(&o->clock_mu);
}

/* ---- rows ---- */

static helios_status rows_open(struct origin_rows *rows)
{
    static const unsigned char from = ORIGIN_KEY, to = ORIGIN_KEY + 1;

    if (rows->it)
        return HELIOS_OK;
    /* Rows stay for ever: there is nothing to pin. */
    return iter_new_internal(rows->db, 0, SPACE_SYSTEM, slice_make(&from, 1), slice_make(&to, 1), SEQ_MAX,
                             &rows->it);
}

void origin_rows_release(struct origin_rows *rows)
{
    helios_iter_free(rows->it);
    rows->it = NULL;
}

/* Where the walk stands. */
static helios_status read_row(struct origin_rows *rows, struct origin *o, helios_seq *last)
{
    helios_slice key = helios_iter_key(rows->it), value = helios_iter_value(rows->it);
    struct reader r = reader_make(value.data, value.size);

    if (!value.data)
        return helios_iter_status(rows->it);
    *last = helios_iter_seq(rows->it);
    if (value.size && slice_bytes(value)[ROW_VERSION] != VERSION_NOW)
        return fail(HELIOS_UNSUPPORTED,
                    "%s: the row of an applied commit of version %u; this library knows version %u",
                    rows->db->path, slice_bytes(value)[ROW_VERSION], VERSION_NOW);
    if (key.size != ORIGIN_KEY_SIZE || !origin_read(&r, o) || !reader_done(&r) || o->op_count > *last)
        return fail_corrupt("%s: the row of an applied commit, of %zu and %zu bytes, that is none",
                            rows->db->path, key.size, value.size);
    return HELIOS_OK;
}

helios_status origin_rows_at(struct origin_rows *rows, helios_seq seq, struct origin *o, helios_seq *last)
{
    unsigned char key[ORIGIN_KEY_SIZE] = {ORIGIN_KEY};
    helios_seq first = atomic_load(&rows->db->origins.first);
    helios_status status;

    *last = 0;
    if (first == 0 || seq < first)
        return HELIOS_OK;
    status = rows_open(rows);
    if (status != HELIOS_OK)
        return status;
    put_u64_be(key + 1, seq);
    helios_iter_seek_for_prev(rows->it, slice_make(key, sizeof(key)));
    /* The row may be that of a commit that only ends above. */
    if (helios_iter_valid(rows->it) && helios_iter_seq(rows->it) > seq)
        helios_iter_prev(rows->it);
    if (!helios_iter_valid(rows->it))
        return helios_iter_status(rows->it);
    return read_row(rows, o, last);
}

helios_status origins_load(struct helios_db *db)
{
    struct origin_rows rows = {.db = db};
    struct origin origin;
    helios_seq last;
    helios_status status = rows_open(&rows);

    if (status != HELIOS_OK)
        return status;
    helios_iter_first(rows.it);
    if (helios_iter_valid(rows.it)) {
        status = read_row(&rows, &origin, &last);
        if (status == HELIOS_OK)
            atomic_store(&db->origins.first, get_u64_be(slice_bytes(helios_iter_key(rows.it)) + 1));
        if (status == HELIOS_OK)
            helios_iter_last(rows.it);
        if (status == HELIOS_OK && helios_iter_valid(rows.it))
            status = read_row(&rows, &origin, &last);
        if (status == HELIOS_OK && helios_iter_valid(rows.it))
            status = buf_set(&db->origins.clock, origin.after.data, origin.after.size);
    }
    if (status == HELIOS_OK)
        status = helios_iter_status(rows.it);
    origin_rows_release(&rows);
    return status;
}

/* ---- whose a version is ---- */

static bool owns(const struct origin *o, uint8_t space, helios_slice key)
{
    struct reader r = reader_make(o->own.data, o->own.size);
    uint8_t its_space;
    helios_slice its_key;

    while (origin_next_own(&r, &its_space, &its_key))
        if (its_space == space && slice_equal(its_key, key))
            return true;
    return false;
}

helios_status origin_of_version(struct origin_rows *rows, helios_seq seq, uint8_t space, helios_slice key,
                                struct version_origin *v)
{
    struct origin origin;
    helios_seq last = 0;
    helios_status status = origin_rows_at(rows, seq, &origin, &last);

    if (status != HELIOS_OK)
        return status;
    v->own = last != seq || owns(&origin, space, key);
    memcpy(v->node, v->own ? rows->db->node_id : origin.node, NODE_BYTES);
    v->commit = v->own ? seq : origin.commit;
    v->sum = !v->own ? clock_sum(origin.came) : (last ? clock_sum(origin.after) : 0) + seq;
    return HELIOS_OK;
}

helios_status origin_clock_of_version(struct origin_rows *rows, helios_seq seq, const struct version_origin *v,
                                      helios_buf *clock)
{
    struct origin origin;
    helios_seq last = 0;
    helios_status status = origin_rows_at(rows, seq, &origin, &last);

    clock->size = 0;
    if (status == HELIOS_OK && last)
        status = v->own ? buf_set(clock, origin.after.data, origin.after.size)
                        : buf_set(clock, origin.came.data, origin.came.size);
    return status == HELIOS_OK && v->own ? clock_set(clock, v->node, seq, NULL) : status;
}

/* ---- the public calls ---- */

void helios_node_id(const helios_db *db, uint8_t node[16])
{
    if (db && node)
        memcpy(node, db->node_id, NODE_BYTES);
}

helios_status helios_applied(helios_db *db, helios_buf *clock)
{
    helios_seq latest;
    helios_status status;

    if (!db || !clock)
        return fail(HELIOS_INVALID, "no %s was given", db ? "buffer" : "database");
    mutex_lock(&db->origins.clock_mu);
    status = buf_set(clock, db->origins.clock.data, db->origins.clock.size);
    mutex_unlock(&db->origins.clock_mu);
    latest = atomic_load(&db->latest);
    return status == HELIOS_OK && latest ? clock_set(clock, db->node_id, latest, NULL) : status;
}
