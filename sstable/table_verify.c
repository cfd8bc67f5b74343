/* table_verify.c - reads all of a table: to check it (verify, before trust; scrub), and to show it (dump). */
#include "base/hash.h"
#include "base/mem.h"
#include "sstable/sstable_internal.h"
#include <stdlib.h>

enum { VERIFY_READ_AHEAD = 1 << 20 };

/* A walk over the blocks under an index, each checked against its index entry. */
struct walk {
    struct block_reader reader;
    struct table *table;
    struct table_part *part;
    uint32_t part_number, number; /* of the block to come */
    uint32_t at;                  /* entry in the block; its count: the next block is to come */
    bool open;                    /* reader.block is valid */
    uint64_t bytes;               /* of the blocks so far, as stored */
};

/* What the entries add up to, and the key they have come to. */
struct verify {
    struct table *table;
    struct walk data, history;
    struct table_properties sum;
    helios_buf key;   /* of the data entry */
    helios_buf value; /* large ones */
};

static uint64_t walk_offset(const struct walk *w)
{
    return index_handle(&w->part->index, w->number - 1).offset;
}

static helios_status fail_at(const struct walk *w, const char *what)
{
    return fail_corrupt("%s: block at %" PRIu64 ": %s", io_path(w->table->file), walk_offset(w), what);
}

/* The whole key of entry i. */
static helios_status whole_key(const struct block *b, uint32_t i, helios_buf *key)
{
    helios_slice suffix = block_suffix(b, i);
    helios_status status = buf_set(key, b->shared, b->shared_size);

    return status == HELIOS_OK ? buf_append(key, suffix.data, suffix.size) : status;
}

static helios_status check_counts(const struct walk *w)
{
    const struct index *index = &w->part->index;
    const struct block *b = &w->reader.block;
    uint32_t tombstones = 0;
    helios_seq seq_max = 0;

    for (uint32_t i = 0; i < b->count; i++) {
        tombstones += (block_kind_bits(b, i) & BLOCK_KIND_MASK) == KIND_TOMBSTONE;
        seq_max = block_seq(b, i) > seq_max ? block_seq(b, i) : seq_max;
    }
    if (b->count != index_entries(index, w->number - 1) || tombstones != index_tombstones(index, w->number - 1))
        return fail_at(w, "its index entry counts otherwise");
    if (seq_max != index_seq_max(index, w->number - 1) ||
        block_tag(b, b->count - 1) != index_last_tag(index, w->number - 1))
        return fail_at(w, "its index entry names other versions");
    return HELIOS_OK;
}

/* Its entries lie behind the separator of the block before and at or before its own: with it, the order
 * within blocks is the order of all. */
static helios_status check_separators(const struct walk *w, const struct index *before, uint32_t before_at,
                                      helios_buf *scratch)
{
    const struct index *index = &w->part->index;
    const struct block *b = &w->reader.block;
    bool history = w->part->type == BLOCK_HISTORY;
    helios_status status = whole_key(b, 0, scratch);
    int order;

    if (status != HELIOS_OK)
        return status;
    if (before) {
        order = slice_compare(index_key(before, before_at), buf_slice(scratch));
        if (order > 0 || (order == 0 && (!history || index_last_tag(before, before_at) <= block_tag(b, 0))))
            return fail_at(w, "begins before the separator in front of it");
    }
    status = whole_key(b, b->count - 1, scratch);
    if (status == HELIOS_OK && slice_compare(buf_slice(scratch), index_key(index, w->number - 1)) > 0)
        status = fail_at(w, "ends behind its separator");
    return status;
}

/* The next block; w->open is false at the end. */
static helios_status walk_block(struct walk *w, helios_buf *scratch)
{
    const struct index *before = w->part && w->number > 0 ? &w->part->index : NULL;
    uint32_t before_at = w->number - 1;
    struct block_handle handle;
    helios_status status;

    w->open = false;
    if (w->part->type == BLOCK_DATA && w->number == w->part->index.count &&
        w->part_number + 1 < w->table->top.count) {
        w->number = 0;
        status = table_part_get(w->table, ++w->part_number, &w->part);
        if (status != HELIOS_OK)
            return status;
    }
    if (w->number == w->part->index.count)
        return HELIOS_OK;
    status = block_reader_get(&w->reader, w->part, w->number);
    if (status != HELIOS_OK)
        return status;
    handle = index_handle(&w->part->index, w->number++);
    w->bytes += handle_bytes(&handle);
    w->at = 0;
    w->open = true;
    status = check_counts(w);
    return status == HELIOS_OK ? check_separators(w, before, before_at, scratch) : status;
}

/* To the next entry. */
static helios_status walk_next(struct walk *w, helios_buf *scratch)
{
    if (++w->at < w->reader.block.count)
        return HELIOS_OK;
    return walk_block(w, scratch);
}

static helios_status walk_begin(struct walk *w, struct table *t, struct table_part *part, helios_buf *scratch)
{
    *w = (struct walk){.table = t, .part = part};
    block_reader_init(&w->reader, t, VERIFY_READ_AHEAD);
    return part ? walk_block(w, scratch) : HELIOS_OK;
}

/* ---- entries ---- */

static helios_status check_value(struct verify *v, const struct walk *w, size_t *size)
{
    const struct block *b = &w->reader.block;
    struct block_handle handle;
    helios_status status;

    *size = block_value(b, w->at).size;
    if (!(block_kind_bits(b, w->at) & BLOCK_LARGE))
        return HELIOS_OK;
    status = table_large_handle(v->table, block_value(b, w->at), &handle);
    if (status == HELIOS_OK)
        status = table_read_large(v->table, &handle, &v->value);
    if (status != HELIOS_OK)
        return status;
    *size = handle.size;
    v->sum.value_block_bytes += handle_bytes(&handle);
    return HELIOS_OK;
}

/* Counts the entry that w stands on. */
static helios_status check_entry(struct verify *v, const struct walk *w)
{
    uint64_t tag = block_tag(&w->reader.block, w->at);
    size_t value_size;
    helios_status status = check_value(v, w, &value_size);

    v->sum.entries++;
    v->sum.tombstones += tag_kind(tag) == KIND_TOMBSTONE;
    v->sum.key_bytes += v->key.size;
    v->sum.value_bytes += value_size;
    if (v->sum.seq_min == 0 || tag_seq(tag) < v->sum.seq_min)
        v->sum.seq_min = tag_seq(tag);
    if (tag_seq(tag) > v->sum.seq_max)
        v->sum.seq_max = tag_seq(tag);
    return status;
}

/* Both ways to find a key must lead to it. */
static helios_status check_hash(const struct verify *v)
{
    const struct walk *w = &v->data;
    uint64_t hash = hash_key(buf_slice(&v->key));

    if (w->reader.block.hashes[w->at] != (uint8_t)(hash >> 56))
        return fail_at(w, "a key with another key's hash");
    if (!filter_may_hold(&v->table->filter, hash))
        return fail_at(w, "a key that the filter denies");
    return HELIOS_OK;
}

static bool history_has_key(const struct verify *v)
{
    const struct block *b = &v->history.reader.block;
    helios_slice suffix;

    if (!v->history.open)
        return false;
    suffix = block_suffix(b, v->history.at);
    return v->key.size == b->shared_size + suffix.size && memcmp(v->key.data, b->shared, b->shared_size) == 0 &&
           memcmp(v->key.data + b->shared_size, suffix.data, suffix.size) == 0;
}

/* The older versions of the data entry's key: there if and only if it says so, and older. The history
 * is in the keys' order, so what belongs to no key stops the walk and is found at the end. */
static helios_status check_versions(struct verify *v, helios_buf *scratch)
{
    bool promised = block_kind_bits(&v->data.reader.block, v->data.at) & BLOCK_HAS_HISTORY;
    helios_seq newer = block_seq(&v->data.reader.block, v->data.at);
    helios_status status;

    if (history_has_key(v) != promised)
        return fail_at(&v->data, promised ? "an entry's older versions are not in the history"
                                          : "an entry does not say that it has history");
    while (history_has_key(v)) {
        helios_seq seq = block_seq(&v->history.reader.block, v->history.at);

        if (seq >= newer)
            return fail_at(&v->history, "a version that is not older than the one before");
        newer = seq;
        if (seq > v->sum.history_seq_max)
            v->sum.history_seq_max = seq;
        status = check_entry(v, &v->history);
        if (status == HELIOS_OK)
            status = walk_next(&v->history, scratch);
        if (status != HELIOS_OK)
            return status;
    }
    return HELIOS_OK;
}

static helios_status check_key(struct verify *v, helios_buf *scratch)
{
    helios_status status = whole_key(&v->data.reader.block, v->data.at, &v->key);

    if (status == HELIOS_OK && !table_has_layer(v->table, buf_slice(&v->key)))
        status = fail_at(&v->data, "a key of a layer that the properties do not list");
    if (status == HELIOS_OK && (slice_compare(buf_slice(&v->key), v->table->summary.smallest) < 0 ||
                                slice_compare(buf_slice(&v->key), v->table->summary.largest) > 0))
        status = fail_at(&v->data, "a key outside the bounds in the properties");
    if (status == HELIOS_OK)
        status = check_hash(v);
    if (status == HELIOS_OK)
        status = check_entry(v, &v->data);
    v->sum.keys++;
    return status == HELIOS_OK ? check_versions(v, scratch) : status;
}

static helios_status check_entries(struct verify *v)
{
    struct table *t = v->table;
    struct table_part *part = NULL;
    helios_buf scratch = {0};
    helios_status status = t->top.count > 0 ? table_part_get(t, 0, &part) : HELIOS_OK;

    if (status == HELIOS_OK)
        status = walk_begin(&v->data, t, part, &scratch);
    if (status == HELIOS_OK)
        status = walk_begin(&v->history, t, t->history, &scratch);
    while (status == HELIOS_OK && v->data.open) {
        status = check_key(v, &scratch);
        if (status == HELIOS_OK)
            status = walk_next(&v->data, &scratch);
    }
    if (status == HELIOS_OK && v->history.open)
        status = fail_at(&v->history, "a version of no key");
    helios_buf_free(&scratch);
    return status;
}

/* ---- the whole ---- */

static void count_rangedels(struct verify *v)
{
    const struct rangedel_set *set = v->table->rangedels;

    if (!set)
        return;
    if (v->sum.seq_min == 0 || set->seq_min < v->sum.seq_min)
        v->sum.seq_min = set->seq_min;
    if (set->seq_max > v->sum.seq_max)
        v->sum.seq_max = set->seq_max;
}

/* The properties say what was counted. How many range deletes there are was checked by open; times and
 * shadows are the writer's word. An ingested table's range deletes are loaded with its one version. */
static helios_status check_properties(struct verify *v)
{
    const struct table_properties *p = &v->table->properties, *s = &v->sum;
    const struct {
        const char *name;
        uint64_t said, counted;
    } figures[] = {
        {"entries", p->entries, s->entries},
        {"keys", p->keys, s->keys},
        {"tombstones", p->tombstones, s->tombstones},
        {"key bytes", p->key_bytes, s->key_bytes},
        {"value bytes", p->value_bytes, s->value_bytes},
        {"data bytes", p->data_bytes, v->data.bytes},
        {"history bytes", p->history_bytes, v->history.bytes},
        {"value block bytes", p->value_block_bytes, s->value_block_bytes},
        {"newest history", p->history_seq_max, s->history_seq_max},
        {"oldest version", p->seq_min, s->seq_min},
        {"newest version", p->seq_max, s->seq_max},
    };
    size_t count = sizeof(figures) / sizeof(figures[0]);

    if (v->table->override_seq && v->table->rangedels)
        count -= 2;
    for (size_t i = 0; i < count; i++)
        if (figures[i].said != figures[i].counted)
            return fail_corrupt("%s: properties at %" PRIu64 ": %s: %" PRIu64 ", but there are %" PRIu64,
                                io_path(v->table->file), v->table->footer.properties.offset, figures[i].name,
                                figures[i].said, figures[i].counted);
    return HELIOS_OK;
}

/* What was checked when the table was opened may have gone bad since: filter, range deletes, indexes are
 * read again. */
static helios_status reread(struct table *t, const struct block_handle *handle, enum block_type type)
{
    void *image = NULL;
    helios_status status;

    if (handle_is_none(handle))
        return HELIOS_OK;
    status = block_read(t->file, t->size, t->salt, &t->crypt, handle, type, &image);
    mem_free(image);
    return status;
}

static helios_status reread_tail(struct table *t)
{
    unsigned char footer[TABLE_FOOTER_SIZE];
    struct table_footer decoded;
    helios_status status = reread(t, &t->footer.filter, BLOCK_FILTER);

    for (uint32_t n = 0; n < t->top.count && status == HELIOS_OK; n++) {
        struct block_handle handle = index_handle(&t->top, n);

        status = reread(t, &handle, BLOCK_INDEX);
    }
    if (status == HELIOS_OK)
        status = reread(t, &t->footer.range_deletes, BLOCK_RANGE_DELETES);
    if (status == HELIOS_OK)
        status = reread(t, &t->footer.history_index, BLOCK_INDEX);
    if (status == HELIOS_OK)
        status = reread(t, &t->footer.top_index, BLOCK_INDEX_TOP);
    if (status == HELIOS_OK)
        status = reread(t, &t->footer.properties, BLOCK_PROPERTIES);
    if (status == HELIOS_OK)
        status = io_read(t->file, t->size - sizeof(footer), footer, sizeof(footer));
    return status == HELIOS_OK
               ? footer_decode(footer, t->salt, &t->crypt, t->size - sizeof(footer), io_path(t->file), &decoded)
               : status;
}

helios_status table_verify(struct table *t)
{
    struct verify v = {.table = t};
    helios_status status = reread_tail(t);

    if (status == HELIOS_OK)
        status = check_entries(&v);
    count_rangedels(&v);
    if (status == HELIOS_OK)
        status = check_properties(&v);
    block_reader_release(&v.data.reader);
    block_reader_release(&v.history.reader);
    helios_buf_free(&v.key);
    helios_buf_free(&v.value);
    return status;
}

/* ---- each block, for who wants to see them ---- */

struct listed {
    struct block_handle handle;
    enum block_type type;
    uint32_t count;
};
struct listing {
    struct table *table;
    struct listed *blocks;
    size_t count, capacity;
};

static helios_status list_block(struct listing *list, const struct block_handle *handle, enum block_type type,
                                uint32_t count)
{
    size_t capacity = list->capacity ? list->capacity * 2 : 64;
    struct listed *larger;

    if (handle_is_none(handle))
        return HELIOS_OK;
    if (list->count == list->capacity) {
        larger = mem_realloc(list->blocks, capacity * sizeof(*larger));
        if (!larger)
            return fail_no_memory(capacity * sizeof(*larger));
        list->blocks = larger;
        list->capacity = capacity;
    }
    list->blocks[list->count++] = (struct listed){*handle, type, count};
    return HELIOS_OK;
}

/* The blocks of values that do not stand in their entry's block. */
static helios_status list_values(struct listing *list, const struct block *b)
{
    helios_status status = HELIOS_OK;
    struct block_handle handle;

    for (uint32_t i = 0; i < b->count && status == HELIOS_OK; i++) {
        if (!(block_kind_bits(b, i) & BLOCK_LARGE))
            continue;
        status = table_large_handle(list->table, block_value(b, i), &handle);
        if (status == HELIOS_OK)
            status = list_block(list, &handle, BLOCK_VALUE, 0);
    }
    return status;
}

static helios_status list_part(struct listing *list, const struct table_part *part)
{
    struct block_reader reader;
    helios_status status = HELIOS_OK;

    block_reader_init(&reader, list->table, VERIFY_READ_AHEAD);
    for (uint32_t i = 0; i < part->index.count && status == HELIOS_OK; i++) {
        struct block_handle handle = index_handle(&part->index, i);

        status = list_block(list, &handle, part->type, index_entries(&part->index, i));
        if (status == HELIOS_OK)
            status = block_reader_get(&reader, part, i);
        if (status == HELIOS_OK)
            status = list_values(list, &reader.block);
    }
    block_reader_release(&reader);
    return status;
}

static helios_status list_table(struct listing *list)
{
    struct table *t = list->table;
    struct table_part *part;
    helios_status status = HELIOS_OK;

    for (uint32_t n = 0; n < t->top.count && status == HELIOS_OK; n++) {
        struct block_handle handle = index_handle(&t->top, n);

        status = table_part_get(t, n, &part);
        if (status == HELIOS_OK)
            status = list_block(list, &handle, BLOCK_INDEX, part->index.count);
        if (status == HELIOS_OK)
            status = list_part(list, part);
    }
    if (status == HELIOS_OK && t->history)
        status = list_part(list, t->history);
    if (status == HELIOS_OK)
        status = list_block(list, &t->footer.filter, BLOCK_FILTER, 0);
    if (status == HELIOS_OK)
        status = list_block(list, &t->footer.range_deletes, BLOCK_RANGE_DELETES,
                            (uint32_t)t->properties.range_deletes);
    if (status == HELIOS_OK)
        status =
            list_block(list, &t->footer.history_index, BLOCK_INDEX, t->history ? t->history->index.count : 0);
    if (status == HELIOS_OK)
        status = list_block(list, &t->footer.top_index, BLOCK_INDEX_TOP, t->top.count);
    if (status == HELIOS_OK)
        status = list_block(list, &t->footer.properties, BLOCK_PROPERTIES, 0);
    return status;
}

static int by_offset(const void *a, const void *b)
{
    uint64_t x = ((const struct listed *)a)->handle.offset, y = ((const struct listed *)b)->handle.offset;

    return x < y ? -1 : x > y;
}

typedef helios_status (*block_visit)(void *arg, const struct table_block_info *, helios_slice image);

static helios_status show_block(struct table *t, const struct listed *listed, block_visit visit, void *arg)
{
    struct table_block_info info = {.type = listed->type, .handle = listed->handle, .count = listed->count};
    size_t bytes = (size_t)handle_bytes(&listed->handle);
    const char *path = io_path(t->file);
    helios_buf sealed = {0}, image = {0};
    helios_status status = block_check_handle(&listed->handle, listed->type, t->size, path);

    if (status == HELIOS_OK)
        status = buf_reserve(&sealed, bytes);
    if (status == HELIOS_OK)
        status = buf_reserve(&image, listed->handle.size);
    if (status == HELIOS_OK)
        status = io_read(t->file, listed->handle.offset, sealed.data, bytes);
    if (status == HELIOS_OK)
        status = block_unseal(sealed.data, &listed->handle, listed->type, t->salt, &t->crypt, path, sealed.data,
                              image.data, &info.compression);
    if (status == HELIOS_OK)
        status = visit(arg, &info, slice_make(image.data, listed->handle.size));
    helios_buf_free(&sealed);
    helios_buf_free(&image);
    return status;
}

/* Whoever dumps a file knows its path alone: number and size are its own word. */
static helios_status open_by_path(struct io_fs *fs, const char *path, struct cache *cache, struct table **out)
{
    unsigned char bytes[FILE_HEADER_SIZE];
    struct file_header header;
    struct io_file *file = NULL;
    uint64_t size;
    helios_status status = io_open(fs, path, IO_READ, &file);

    if (status == HELIOS_OK)
        status = io_size(file, &size);
    if (status == HELIOS_OK)
        status = io_read(file, 0, bytes, sizeof(bytes));
    if (status == HELIOS_OK)
        status = file_header_decode(bytes, MAGIC_TABLE, path, &header);
    io_close(file);
    return status == HELIOS_OK ? table_open(fs, NULL, path, header.number, size, 0, cache, out) : status;
}

helios_status table_each_block(struct io_fs *fs, const char *path, block_visit visit, void *arg)
{
    struct listing list = {0};
    struct cache *cache = NULL;
    helios_status status = cache_new(0, &cache);

    if (status == HELIOS_OK)
        status = open_by_path(fs, path, cache, &list.table);
    if (status == HELIOS_OK)
        status = list_table(&list);
    if (status == HELIOS_OK)
        qsort(list.blocks, list.count, sizeof(list.blocks[0]), by_offset);
    for (size_t i = 0; i < list.count && status == HELIOS_OK; i++)
        status = show_block(list.table, &list.blocks[i], visit, arg);
    mem_free(list.blocks);
    table_unref(list.table);
    cache_free(cache);
    return status;
}
