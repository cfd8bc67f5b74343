/* ingest_tables.c - the tables of a large commit: its operations in order, as cursors, through ordinary jobs.
 * Called by ingest.c and by merges of branches, which have a cursor of their own.
 *
 * No key comes twice, so that the order can be cut anywhere: a large commit is written in pieces, the first by the
 * caller, each other by whichever comes first, a thread of the pool or the caller behind its own. So no commit waits
 * for flushes and compactions that have all threads. */
#include "engine/ingest.h"
#include "compaction/pool.h"
#include <assert.h>
#include <stdlib.h>

enum {
    PIECE_BYTES_MIN =
        8 << 20, /* of operations: a few hundred times what handing over and a sync of a file more cost */
    PIECES_MAX = 8,
};

/* ---- the operations, in order, as a cursor ---- */

struct batch_cursor {
    struct cursor cursor;
    const struct write_set *set;
    helios_branch_id branch;
    const uint32_t *order; /* indices of the operations that count; NULL: all in the set, as they stand there */
    size_t from, to, at;   /* in order, or in the set */
    unsigned char *key;    /* KEY_BYTES_MAX */
};

/* Another operation decides about its key, or it has none. */
static bool does_not_count(const struct write_set *set, size_t index, enum key_kind kind)
{
    return kind == KIND_RANGE_DELETE || write_set_superseded(set, index);
}

static void batch_cursor_show(struct batch_cursor *b)
{
    struct op op = {0};

    while (b->at < b->to) {
        size_t index = b->order ? b->order[b->at] : b->at;

        op = write_set_at(b->set, index);
        if (b->order || !does_not_count(b->set, index, op.kind))
            break;
        b->at++;
    }
    b->cursor.valid = b->at < b->to;
    if (!b->cursor.valid)
        return;
    key_put_layer(b->key, op_branch(b->branch, &op), op.space);
    memcpy(b->key + KEY_LAYER_BYTES, op.key.data, op.key.size);
    b->cursor.key = slice_make(b->key, KEY_LAYER_BYTES + op.key.size);
    b->cursor.tag = tag_make(1, op.kind);
    b->cursor.value = op.value;
}

static void batch_cursor_first(struct cursor *c)
{
    struct batch_cursor *b = (struct batch_cursor *)c;

    b->at = b->from;
    batch_cursor_show(b);
}

static void batch_cursor_next(struct cursor *c)
{
    struct batch_cursor *b = (struct batch_cursor *)c;

    b->at++;
    batch_cursor_show(b);
}

static void batch_cursor_seek(struct cursor *c, helios_slice key, uint64_t tag)
{
    (void)tag; /* one version a key */
    for (batch_cursor_first(c); c->valid && slice_compare(c->key, key) < 0;)
        batch_cursor_next(c);
}

/* Only walked forwards, by one job. */
static const struct cursor_ops batch_cursor_ops = {
    .first = batch_cursor_first, .seek = batch_cursor_seek, .next = batch_cursor_next};

static helios_status batch_cursor_init(struct batch_cursor *b, helios_branch_id branch,
                                       const struct write_set *set, const uint32_t *order, size_t from,
                                       size_t to)
{
    *b = (struct batch_cursor){.cursor = {.ops = &batch_cursor_ops},
                               .set = set,
                               .branch = branch,
                               .order = order,
                               .from = from,
                               .to = to,
                               .key = mem_alloc(KEY_BYTES_MAX)};
    return b->key ? HELIOS_OK : fail_no_memory(KEY_BYTES_MAX);
}

/* ---- order ---- */

static int compare_ops(const void *a, const void *b, void *arg)
{
    const struct write_set *set = arg;
    struct op x = write_set_at(set, *(const uint32_t *)a), y = write_set_at(set, *(const uint32_t *)b);

    if (x.branch != y.branch) /* 0 in all, where the commit is on one */
        return x.branch < y.branch ? -1 : 1;
    return x.space != y.space ? (x.space < y.space ? -1 : 1) : slice_compare(x.key, y.key);
}

/* The indices of the operations that count, by branch, space and key; NULL where they stand in that order. */
static helios_status order_of(const struct write_set *set, uint32_t **order_out, size_t *count_out)
{
    uint32_t *order;
    size_t count = 0;

    *order_out = NULL;
    *count_out = set->count;
    if (set->batch && batch_ascends(set->batch))
        return HELIOS_OK;
    order = mem_array(set->count, sizeof(*order));
    if (!order)
        return fail_no_memory(set->count * sizeof(*order));
    for (size_t i = 0; i < set->count; i++)
        if (!does_not_count(set, i, write_set_at(set, i).kind))
            order[count++] = (uint32_t)i;
    qsort_r(order, count, sizeof(*order), compare_ops, (void *)set);
    *order_out = order;
    *count_out = count;
    return HELIOS_OK;
}

/* ---- range deletes ---- */

static helios_status build_ranges(helios_branch_id branch, const struct write_set *set,
                                  struct rangedel_set **out)
{
    struct rangedel_set *all = NULL;
    helios_buf from = {0}, to = {0};
    unsigned char layer[KEY_LAYER_BYTES];
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < set->count && status == HELIOS_OK && set->range_deletes; i++) {
        struct op op = write_set_at(set, i);
        struct rangedel_set *more = NULL;
        struct rangedel item;

        if (op.kind != KIND_RANGE_DELETE)
            continue;
        key_put_layer(layer, op_branch(branch, &op), op.space);
        status = buf_set(&from, layer, sizeof(layer));
        if (status == HELIOS_OK)
            status = buf_append(&from, op.key.data, op.key.size);
        if (status == HELIOS_OK)
            status = buf_set(&to, layer, sizeof(layer));
        if (status == HELIOS_OK)
            status = buf_append(&to, op.value.data, op.value.size);
        item = (struct rangedel){buf_slice(&from), buf_slice(&to), 1};
        if (status == HELIOS_OK)
            status = rangedel_add(all, &item, &more);
        if (status == HELIOS_OK) {
            rangedel_unref(all);
            all = more;
        }
    }
    helios_buf_free(&from);
    helios_buf_free(&to);
    if (status != HELIOS_OK) {
        rangedel_unref(all);
        return status;
    }
    *out = all;
    return HELIOS_OK;
}

/* ---- a job ---- */

static helios_status run_job(struct helios_db *db, struct cursor *input, const struct rangedel_set *ranges,
                             struct compact_result *result)
{
    const struct garbage_rules keep_all = {.collect = false};
    uint64_t now = io_time(db->fs);
    const struct table_writer_options writer = {
        .block_bytes = db->options.block_bytes,
        .filter_bits_per_key = db->options.filter_bits_per_key,
        .compression = db->options.compression,
        .time_min = now,
        .time_max = now,
    };
    const struct compact_job job = {.input = input,
                                    .rangedels = ranges,
                                    .rules = &keep_all,
                                    .home = &db->home,
                                    .next_number = file_number_take,
                                    .next_number_arg = db,
                                    .writer = &writer,
                                    .target_bytes = db->target_bytes};

    return compact_run(&job, result);
}

static helios_status sync_built(struct helios_db *db, struct ingest *ingest)
{
    helios_status status = io_sync_directory(db->fs, db->sst_directory);

    if (status != HELIOS_OK)
        ingest_discard(db, ingest);
    return status;
}

helios_status ingest_build(struct helios_db *db, struct cursor *input, const struct rangedel_set *ranges,
                           struct ingest *ingest)
{
    helios_status status;

    ingest->result = (struct compact_result){0};
    status = run_job(db, input, ranges, &ingest->result);
    return status == HELIOS_OK ? sync_built(db, ingest) : status;
}

void ingest_discard(struct helios_db *db, struct ingest *ingest)
{
    compact_result_discard(&ingest->result, &db->home);
}

/* ---- pieces ---- */

struct piece {
    struct pool_job job;
    struct pieces *whole;
    struct batch_cursor cursor;
    struct compact_result result;
    struct error_note note;
    bool done; /* guarded by whole->mu */
};

struct pieces {
    struct helios_db *db;
    const struct rangedel_set *ranges; /* NULL, where there are several */
    struct mutex mu;
    struct condition one_done;
    size_t count;
    struct piece all[PIECES_MAX];
};

static void piece_write(struct piece *piece)
{
    const struct pieces *p = piece->whole;
    helios_status status = run_job(p->db, &piece->cursor.cursor, p->ranges, &piece->result);

    if (status != HELIOS_OK)
        error_keep(&piece->note, status);
}

/* On a thread of the pool. Once the lock is left the piece may be gone. */
static void piece_run(struct pool_job *job)
{
    struct piece *piece = (struct piece *)((char *)job - offsetof(struct piece, job));
    struct pieces *p = piece->whole;

    piece_write(piece);
    mutex_lock(&p->mu);
    piece->done = true;
    condition_signal(&p->one_done);
    mutex_unlock(&p->mu);
}

/* Writes what no thread has begun, and waits for the others. */
static void piece_finish(struct pieces *p, struct piece *piece)
{
    if (pool_cancel(p->db->pool, &piece->job)) {
        piece_write(piece);
        return;
    }
    mutex_lock(&p->mu);
    while (!piece->done)
        condition_wait(&p->one_done, &p->mu);
    mutex_unlock(&p->mu);
}

static void pieces_write(struct pieces *p)
{
    for (size_t i = 1; i < p->count; i++)
        pool_submit(p->db->pool, POOL_COMPACTION, &p->all[i].job); /* a flush waits for none */
    piece_write(&p->all[0]);
    for (size_t i = p->count - 1; i > 0; i--) /* the last first: threads take the first first */
        piece_finish(p, &p->all[i]);
}

/* The tables of all, in order; or the first failure, and no table is left. */
static helios_status pieces_collect(struct pieces *p, struct compact_result *result)
{
    struct compact_result all = {0};
    const struct error_note *failure = NULL;
    size_t tables = 0;

    for (size_t i = 0; i < p->count; i++) {
        tables += p->all[i].result.count;
        if (!failure && p->all[i].note.status != HELIOS_OK)
            failure = &p->all[i].note;
    }
    if (failure)
        return error_tell(failure);
    all.tables = mem_array(tables, sizeof(*all.tables));
    if (!all.tables)
        return fail_no_memory(tables * sizeof(*all.tables));
    for (size_t i = 0; i < p->count; i++) {
        struct compact_result *one = &p->all[i].result;

        if (one->count)
            memcpy(all.tables + all.count, one->tables, one->count * sizeof(*all.tables));
        all.count += one->count;
        all.entries_read += one->entries_read;
        all.entries_written += one->entries_written;
        all.dropped += one->dropped;
        mem_free(one->tables);
        *one = (struct compact_result){0};
    }
    *result = all;
    return HELIOS_OK;
}

/* A range delete may cover keys of several pieces: then there is one. */
static size_t piece_count(const struct helios_db *db, const struct write_set *set)
{
    size_t count = db->pool && set->range_deletes == 0 ? pool_threads(db->pool) : 1;

    if (count > PIECES_MAX)
        count = PIECES_MAX;
    if (count > set->body_size / PIECE_BYTES_MIN)
        count = (size_t)(set->body_size / PIECE_BYTES_MIN);
    return count ? count : 1;
}

static helios_status pieces_init(struct pieces *p, helios_branch_id branch, const struct write_set *set,
                                 const uint32_t *order, size_t ops)
{
    size_t count = piece_count(p->db, set);

    mutex_init(&p->mu);
    condition_init(&p->one_done);
    for (p->count = 0; p->count < count; p->count++) {
        struct piece *piece = &p->all[p->count];
        helios_status status = batch_cursor_init(&piece->cursor, branch, set, order, ops * p->count / count,
                                                 ops * (p->count + 1) / count);

        if (status != HELIOS_OK)
            return status;
        piece->job.run = piece_run;
        piece->whole = p;
    }
    return HELIOS_OK;
}

static void pieces_release(struct pieces *p)
{
    struct error_note note = {0};

    error_keep(&note, HELIOS_IO); /* the sentence outlives the tidying */
    for (size_t i = 0; i < p->count; i++) {
        compact_result_discard(&p->all[i].result, &p->db->home);
        mem_free(p->all[i].cursor.key);
    }
    error_tell(&note);
    condition_release(&p->one_done);
    mutex_release(&p->mu);
    mem_free(p);
}

static helios_status write_pieces(struct helios_db *db, helios_branch_id branch, const struct write_set *set,
                                  const uint32_t *order, size_t ops, struct compact_result *result)
{
    struct rangedel_set *ranges = NULL;
    struct pieces *p = mem_zalloc(sizeof(*p));
    helios_status status;

    if (!p)
        return fail_no_memory(sizeof(*p));
    p->db = db;
    status = pieces_init(p, branch, set, order, ops);
    if (status == HELIOS_OK)
        status = build_ranges(branch, set, &ranges);
    if (status == HELIOS_OK) {
        p->ranges = ranges;
        pieces_write(p);
        status = pieces_collect(p, result);
    }
    pieces_release(p);
    rangedel_unref(ranges);
    return status;
}

helios_status ingest_build_set(struct helios_db *db, helios_branch_id branch, const struct write_set *set,
                               struct ingest *ingest)
{
    uint32_t *order = NULL;
    size_t ops = 0;
    helios_status status = order_of(set, &order, &ops);

    ingest->result = (struct compact_result){0};
    if (status == HELIOS_OK)
        status = write_pieces(db, branch, set, order, ops, &ingest->result);
    mem_free(order);
    return status == HELIOS_OK ? sync_built(db, ingest) : status;
}
