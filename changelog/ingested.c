/* ingested.c - operations of an ingested commit, from its tables; see ingested.h. Called by entries.c.
 *
 * A table's range deletes are in memory as long as it is open; here they are copied, as all of the commit's are wanted in
 * one order, joined where the ends of tables or of one another have cut them. So they are at most as many as the
 * operations that made them. */
#include "changelog/ingested.h"
#include "base/mem.h"
#include "engine/feed.h"
#include <inttypes.h>

enum { INGESTED_READ_AHEAD = 256 * 1024, INGESTED_TABLES_MAX = 1 << 20 };

/* Keys with layer, as places in `bytes`. */
struct ingested_range {
    size_t from, from_size, to, to_size;
};

struct ingested {
    struct table_file **files;
    size_t count;
    struct cursor *walk, *fetch; /* the second is for large values, made when there is one */
    bool begun, on_key;
    struct ingested_range *ranges; /* by their first key, disjoint */
    size_t range_count, range_capacity, range_at;
    helios_buf bytes, key; /* of the ranges; one that is looked for */
};

static helios_slice range_from(const struct ingested *g, size_t i)
{
    return slice_make(g->bytes.data + g->ranges[i].from, g->ranges[i].from_size);
}

static helios_slice range_to(const struct ingested *g, size_t i)
{
    return slice_make(g->bytes.data + g->ranges[i].to, g->ranges[i].to_size);
}

/* ---- opening ---- */

static helios_status damaged(struct helios_db *db, const struct wal_record *record)
{
    char path[PATH_BYTES_MAX];

    wal_segment_path(db->wal_directory, wal_pos_segment(record->at), path, sizeof(path));
    return fail_corrupt("%s: ingested commit at %" PRIu64 ": its tables cannot be read", path,
                        wal_pos_offset(record->at));
}

static helios_status put_key(struct ingested *g, helios_slice key, size_t *at)
{
    *at = g->bytes.size;
    return buf_append(&g->bytes, key.data, key.size);
}

/* A piece that begins where the last one ends makes that one longer: both are of one commit. */
static helios_status add_range(struct ingested *g, helios_slice from, helios_slice to)
{
    bool joins = g->range_count && slice_compare(range_to(g, g->range_count - 1), from) >= 0 &&
                 memcmp(range_to(g, g->range_count - 1).data, from.data, KEY_LAYER_BYTES) == 0;
    struct ingested_range *range;
    helios_status status = HELIOS_OK;

    if (joins) {
        range = &g->ranges[g->range_count - 1];
    } else {
        if (g->range_count == g->range_capacity) {
            size_t capacity = g->range_capacity ? 2 * g->range_capacity : 16;
            struct ingested_range *more = mem_realloc(g->ranges, capacity * sizeof(*more));

            if (!more)
                return fail_no_memory(capacity * sizeof(*more));
            g->ranges = more;
            g->range_capacity = capacity;
        }
        range = &g->ranges[g->range_count];
        range->from_size = from.size;
        status = put_key(g, from, &range->from);
    }
    if (status == HELIOS_OK) {
        range->to_size = to.size;
        status = put_key(g, to, &range->to);
    }
    if (status == HELIOS_OK && !joins)
        g->range_count++;
    return status;
}

static helios_status add_ranges(struct ingested *g, struct table_file *file)
{
    const struct rangedel_set *set;
    struct table *table;
    helios_status status;

    if (file->properties.range_deletes == 0)
        return HELIOS_OK;
    status = table_file_open(file, &table);
    if (status != HELIOS_OK)
        return status;
    set = table_rangedels(table);
    for (size_t i = 0; set && i < set->count && status == HELIOS_OK; i++)
        status = add_range(g, set->fragments[i].from, set->fragments[i].to);
    table_unref(table);
    return status;
}

static helios_status open_files(struct helios_db *db, const struct wal_record *record, struct ingested *g)
{
    struct reader reader = reader_make(record->body.data, record->body.size);
    uint64_t count = read_varint(&reader);
    helios_status status = HELIOS_OK;

    if (reader.bad || count == 0 || count > record->body.size || count > INGESTED_TABLES_MAX)
        return damaged(db, record);
    g->files = mem_array((size_t)count, sizeof(struct table_file *));
    if (!g->files)
        return fail_no_memory((size_t)count * sizeof(struct table_file *));
    for (uint64_t i = 0; i < count && status == HELIOS_OK; i++) {
        struct file_record file;

        if (!file_record_read(&reader, &file))
            return damaged(db, record);
        status = feed_table_open(db, &file, record->first + record->op_count - 1, &g->files[g->count]);
        if (status != HELIOS_OK)
            break;
        g->count++;
        status = add_ranges(g, g->files[g->count - 1]);
    }
    return status;
}

helios_status ingested_open(struct helios_db *db, const struct wal_record *record, struct ingested **out)
{
    const struct table_cursor_options options = {.read_point = CURSOR_ALL, .read_ahead = INGESTED_READ_AHEAD};
    struct ingested *g = mem_zalloc(sizeof(*g));
    helios_status status;

    if (!g)
        return fail_no_memory(sizeof(*g));
    status = open_files(db, record, g);
    if (status == HELIOS_OK)
        status = level_cursor_new(g->files, g->count, &options, &g->walk);
    if (status != HELIOS_OK) {
        ingested_close(g);
        return status;
    }
    *out = g;
    return HELIOS_OK;
}

void ingested_close(struct ingested *g)
{
    if (!g)
        return;
    cursor_free(g->walk);
    cursor_free(g->fetch);
    for (size_t i = 0; i < g->count; i++)
        table_file_unref(g->files[i]);
    mem_free(g->files);
    mem_free(g->ranges);
    helios_buf_free(&g->bytes);
    helios_buf_free(&g->key);
    mem_free(g);
}

/* ---- walking ---- */

static void show(struct op *op, enum key_kind kind, helios_slice key, helios_slice value)
{
    *op = (struct op){kind, key_space_of(key), key_branch(key), key_user(key), value};
}

static helios_status walk_status(const struct cursor *c)
{
    return c->status == HELIOS_OK || !c->error ? c->status : error_tell(c->error);
}

helios_status ingested_next(struct ingested *g, struct op *op, bool *there)
{
    struct cursor *c = g->walk;

    if (!g->begun)
        cursor_first(c);
    else if (g->on_key)
        cursor_next(c);
    g->begun = true;
    g->on_key = false;
    if (!c->valid && c->status != HELIOS_OK)
        return walk_status(c);
    *there = c->valid || g->range_at < g->range_count;
    if (g->range_at < g->range_count && (!c->valid || slice_compare(range_from(g, g->range_at), c->key) <= 0)) {
        show(op, KIND_RANGE_DELETE, range_from(g, g->range_at), key_user(range_to(g, g->range_at)));
        g->range_at++;
    } else if (c->valid) {
        show(op, tag_kind(c->tag), c->key, c->value);
        g->on_key = true;
    }
    return HELIOS_OK;
}

static helios_status place_key(struct ingested *g, const struct op *op)
{
    unsigned char layer[KEY_LAYER_BYTES];
    helios_status status;

    key_put_layer(layer, op->branch, op->space);
    status = buf_set(&g->key, layer, sizeof(layer));
    return status == HELIOS_OK ? buf_append(&g->key, op->key.data, op->key.size) : status;
}

helios_status ingested_fetch(struct ingested *g, const struct op *op, helios_slice *value)
{
    const struct table_cursor_options options = {.read_point = CURSOR_ALL};
    helios_status status = place_key(g, op);

    if (status == HELIOS_OK && !g->fetch)
        status = level_cursor_new(g->files, g->count, &options, &g->fetch);
    if (status != HELIOS_OK)
        return status;
    cursor_seek(g->fetch, buf_slice(&g->key), TAG_MAX);
    if (!g->fetch->valid && g->fetch->status != HELIOS_OK)
        return walk_status(g->fetch);
    if (!g->fetch->valid || !slice_equal(g->fetch->key, buf_slice(&g->key)))
        return fail_corrupt("%s: a key of an ingested commit is not found in its tables again",
                            g->files[0]->home->directory);
    status = cursor_value(g->fetch, value);
    return status == HELIOS_OK || !g->fetch->error ? status : error_tell(g->fetch->error);
}

helios_status ingested_covers(struct ingested *g, const struct op *op, bool *covered)
{
    size_t low = 0, high = g->range_count;
    helios_status status = HELIOS_OK;

    *covered = false;
    if (g->range_count)
        status = place_key(g, op);
    while (low < high && status == HELIOS_OK) {
        size_t middle = (low + high) / 2;

        if (slice_compare(range_from(g, middle), buf_slice(&g->key)) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low)
        *covered = slice_compare(buf_slice(&g->key), range_to(g, low - 1)) < 0;
    return status;
}
