/* table.c - an open table: what is read and checked when it opens, and point look-ups. Called by the
 * engine's read path, by cursors and by jobs. The path of a get: filter, top index, partition,
 * block, and the history's index and block if the newest version is too new. */
#include "base/hash.h"
#include "base/mem.h"
#include "sstable/sstable_internal.h"
#include <assert.h>

/* ---- opening ---- */

static const char *table_path(const struct table *t)
{
    return io_path(t->file);
}

static helios_status read_header(struct table *t, struct crypt *crypt)
{
    unsigned char bytes[FILE_HEADER_SIZE];
    struct file_header header;
    helios_status status = io_read(t->file, 0, bytes, sizeof(bytes));

    if (status == HELIOS_OK)
        status = file_header_decode(bytes, MAGIC_TABLE, table_path(t), &header);
    if (status != HELIOS_OK)
        return status;
    if (header.number != t->number)
        return fail_corrupt("%s: at 0: is table %" PRIu64 ", not %" PRIu64, table_path(t), header.number,
                            t->number);
    t->salt = header.salt;
    return crypt_file_open(crypt, &header, MAGIC_TABLE, table_path(t), &t->crypt);
}

static helios_status read_footer(struct table *t, struct table_footer *footer)
{
    unsigned char bytes[TABLE_FOOTER_SIZE];
    uint64_t offset = t->size - TABLE_FOOTER_SIZE;
    helios_status status = io_read(t->file, offset, bytes, sizeof(bytes));

    if (status == HELIOS_OK)
        status = footer_decode(bytes, t->salt, &t->crypt, offset, table_path(t), footer);
    return status;
}

static helios_status read_block(struct table *t, const struct block_handle *handle, enum block_type type,
                                void **image)
{
    return block_read(t->file, t->size, t->salt, &t->crypt, handle, type, image);
}

static helios_status read_properties(struct table *t, const struct block_handle *handle)
{
    helios_status status = read_block(t, handle, BLOCK_PROPERTIES, &t->properties_image);

    if (status == HELIOS_OK)
        status =
            properties_decode(t->properties_image, handle->size, table_path(t), handle->offset, &t->summary);
    if (status != HELIOS_OK)
        return status;
    t->properties = t->summary.properties;
    t->seq_min = t->override_seq ? t->override_seq : t->properties.seq_min;
    t->seq_max = t->override_seq ? t->override_seq : t->properties.seq_max;
    return HELIOS_OK;
}

static helios_status read_filter(struct table *t, const struct block_handle *handle)
{
    helios_status status;

    if (handle_is_none(handle))
        return HELIOS_OK;
    status = read_block(t, handle, BLOCK_FILTER, &t->filter_image);
    if (status == HELIOS_OK)
        status = filter_open(t->filter_image, handle->size, table_path(t), handle->offset, &t->filter);
    return status;
}

/* Fragmenting may change how many there are, so the image is asked. */
static helios_status read_rangedels(struct table *t, const struct block_handle *handle)
{
    void *image = NULL;
    helios_status status;

    if (handle_is_none(handle))
        return HELIOS_OK;
    status = read_block(t, handle, BLOCK_RANGE_DELETES, &image);
    if (status == HELIOS_OK)
        status = rangedels_decode(image, handle->size, table_path(t), handle->offset, &t->rangedels);
    if (status == HELIOS_OK && get_u32(image) != t->properties.range_deletes)
        status = fail_corrupt("%s: block at %" PRIu64 ": %u range deletes where the properties say %" PRIu64,
                              table_path(t), handle->offset, get_u32(image), t->properties.range_deletes);
    mem_free(image);
    return status;
}

/* An ingested table's range deletes read as its one number too. */
static helios_status override_rangedels(struct table *t)
{
    const struct rangedel_set *stored = t->rangedels;
    struct rangedel *items = mem_array(stored->count, sizeof(*items));
    struct rangedel_set *set = NULL;
    helios_status status;

    if (!items)
        return fail_no_memory(stored->count * sizeof(*items));
    for (size_t i = 0; i < stored->count; i++)
        items[i] = (struct rangedel){stored->fragments[i].from, stored->fragments[i].to, t->override_seq};
    status = rangedel_build(items, stored->count, &set);
    mem_free(items);
    if (status != HELIOS_OK)
        return status;
    rangedel_unref(t->rangedels);
    t->rangedels = set;
    return HELIOS_OK;
}

static void part_free(struct table_part *part)
{
    if (!part)
        return;
    index_release(&part->index);
    mem_free(part->image);
    mem_free(part);
}

/* An index image with a slot for each of its blocks, which are of `blocks`' type. */
static helios_status part_read(struct table *t, const struct block_handle *handle, enum block_type blocks,
                               struct table_part **out)
{
    struct table_part *part = NULL;
    struct index index = {0};
    void *image = NULL;
    helios_status status = read_block(t, handle, BLOCK_INDEX, &image);

    if (status != HELIOS_OK)
        return status;
    status = index_open(image, handle->size, table_path(t), handle->offset, &index);
    if (status != HELIOS_OK)
        goto out;
    part = mem_zalloc(sizeof(*part) + index.count * sizeof(part->slots[0]));
    if (!part) {
        status = fail_no_memory(sizeof(*part) + index.count * sizeof(part->slots[0]));
        goto out;
    }
    part->index = index;
    part->image = image;
    part->type = blocks;
    *out = part;
    return HELIOS_OK;
out:
    index_release(&index);
    mem_free(image);
    return status;
}

static size_t part_memory(const struct table_part *part)
{
    return mem_usable(part) + mem_usable(part->image) + index_memory(&part->index);
}

static void charge(struct table *t, size_t bytes)
{
    atomic_fetch_add_explicit(&t->memory, bytes, memory_order_relaxed);
    cache_charge(t->cache, (int64_t)bytes);
}

/* The sums over an index's entries, to be held against what is said elsewhere. */
struct index_sum {
    uint64_t entries, tombstones;
    helios_seq seq_max;
};

static struct index_sum sum_index(const struct index *index)
{
    struct index_sum sum = {0};

    for (uint32_t i = 0; i < index->count; i++) {
        helios_seq seq_max = index_seq_max(index, i);

        sum.seq_max = seq_max > sum.seq_max ? seq_max : sum.seq_max;
        sum.entries += index_entries(index, i);
        sum.tombstones += index_tombstones(index, i);
    }
    return sum;
}

static helios_status check_part(const struct table *t, uint32_t n, const struct table_part *part)
{
    struct index_sum sum = sum_index(&part->index);
    const struct index *index = &part->index;

    if (sum.seq_max != index_seq_max(&t->top, n) || sum.entries != index_entries(&t->top, n) ||
        sum.tombstones != index_tombstones(&t->top, n) ||
        !slice_equal(index_key(index, index->count - 1), index_key(&t->top, n)))
        return fail_corrupt("%s: index at %" PRIu64 ": does not agree with the index above it", table_path(t),
                            index_handle(&t->top, n).offset);
    return HELIOS_OK;
}

helios_status table_part_get(struct table *t, uint32_t n, struct table_part **out)
{
    struct table_part *part = atomic_load_explicit(&t->parts[n], memory_order_acquire), *other = NULL;
    struct block_handle handle = index_handle(&t->top, n);
    helios_status status;

    if (part) {
        *out = part;
        return HELIOS_OK;
    }
    status = part_read(t, &handle, BLOCK_DATA, &part);
    if (status == HELIOS_OK)
        status = check_part(t, n, part);
    if (status != HELIOS_OK) {
        part_free(part);
        return status;
    }
    /* Two threads may have read it: the second one's goes. */
    if (atomic_compare_exchange_strong(&t->parts[n], &other, part)) {
        charge(t, part_memory(part));
    } else {
        part_free(part);
        part = other;
    }
    *out = part;
    return HELIOS_OK;
}

/* The index images agree with the properties. */
static helios_status check_table(const struct table *t)
{
    const struct table_properties *p = &t->properties;
    struct index_sum data = sum_index(&t->top), history = {0};
    const char *wrong = NULL;

    if (t->history)
        history = sum_index(&t->history->index);
    if (p->keys > p->entries || p->seq_min > p->seq_max || p->seq_max > SEQ_MAX)
        wrong = "properties that cannot be";
    else if (data.entries != p->keys || history.entries != p->entries - p->keys)
        wrong = "index and properties count different entries";
    else if (data.tombstones + history.tombstones != p->tombstones)
        wrong = "index and properties count different tombstones";
    else if (data.seq_max > p->seq_max || history.seq_max != p->history_seq_max || history.seq_max > p->seq_max)
        wrong = "index and properties have different versions";
    else if (t->rangedels && (t->rangedels->seq_max > p->seq_max || t->rangedels->seq_min < p->seq_min))
        wrong = "range deletes and properties have different versions";
    else if (!t->rangedels != (p->range_deletes == 0))
        wrong = "properties count range deletes that are not there";
    else if (t->override_seq && t->history)
        wrong = "history in an ingested table";
    if (wrong)
        return fail_corrupt("%s: at %" PRIu64 ": %s", table_path(t), t->footer.properties.offset, wrong);
    return HELIOS_OK;
}

/* Header, footer, properties: after them it is known how many partitions there are. */
static helios_status open_file(struct io_fs *fs, struct crypt *crypt, const char *path, struct table *t)
{
    uint64_t size;
    helios_status status = io_open(fs, path, IO_READ | IO_RANDOM, &t->file);

    if (status == HELIOS_OK)
        status = io_size(t->file, &size);
    if (status != HELIOS_OK)
        return status;
    if (size != t->size || size < FILE_HEADER_SIZE + TABLE_FOOTER_SIZE)
        return fail_corrupt("%s: at %" PRIu64 ": ends there, %" PRIu64 " bytes were recorded", path, size,
                            t->size);
    status = read_header(t, crypt);
    if (status == HELIOS_OK)
        status = read_footer(t, &t->footer);
    if (status == HELIOS_OK)
        status = read_properties(t, &t->footer.properties);
    if (status == HELIOS_OK && !handle_is_none(&t->footer.top_index))
        status = read_block(t, &t->footer.top_index, BLOCK_INDEX_TOP, &t->top_image);
    if (status == HELIOS_OK && t->top_image)
        status = index_open(t->top_image, t->footer.top_index.size, path, t->footer.top_index.offset, &t->top);
    return status;
}

/* ---- regions ----
 *
 * A read of one block from the disk waits about as long as one of a whole region, so a read that goes there may take
 * its neighbours along at twice the cost at most, and it pays as soon as one of them is wanted too. Each region is asked
 * for once, whether or not it is in the page cache (nobody can tell cheaply), and only while there is memory for all
 * files: so what is read in vain is never more than the files' size. */

static uint64_t region_words(const struct table *t)
{
    return t->size / TABLE_REGION_BYTES / 64 + 1;
}

static helios_status regions_new(struct table *t)
{
    t->regions = mem_array(region_words(t), sizeof(t->regions[0]));
    if (!t->regions)
        return fail_no_memory(region_words(t) * sizeof(t->regions[0]));
    cache_count_file(t->cache, (int64_t)t->size);
    return HELIOS_OK;
}

void table_read_region(struct table *t, uint64_t offset)
{
    uint64_t region = offset / TABLE_REGION_BYTES, bit = UINT64_C(1) << region % 64;
    _Atomic uint64_t *word;

    if (offset >= t->size) /* damage, told by the read itself */
        return;
    word = &t->regions[region / 64];
    if (atomic_load_explicit(word, memory_order_relaxed) & bit || !cache_files_fit(t->cache))
        return;
    if (!(atomic_fetch_or_explicit(word, bit, memory_order_relaxed) & bit))
        io_prefetch(t->file, region * TABLE_REGION_BYTES, TABLE_REGION_BYTES);
}

static helios_status open_rest(struct table *t)
{
    struct table_part *only;
    helios_status status = regions_new(t);

    if (status == HELIOS_OK)
        status = read_filter(t, &t->footer.filter);

    if (status == HELIOS_OK)
        status = read_rangedels(t, &t->footer.range_deletes);
    if (status == HELIOS_OK && !handle_is_none(&t->footer.history_index))
        status = part_read(t, &t->footer.history_index, BLOCK_HISTORY, &t->history);
    if (status == HELIOS_OK)
        status = check_table(t);
    if (status == HELIOS_OK && t->rangedels && t->override_seq)
        status = override_rangedels(t);
    if (status != HELIOS_OK)
        return status;
    charge(t, mem_usable(t) + mem_usable(t->properties_image) +
                  (t->filter_image ? mem_usable(t->filter_image) : 0) +
                  (t->top_image ? mem_usable(t->top_image) + index_memory(&t->top) : 0) +
                  (t->history ? part_memory(t->history) : 0) + (t->rangedels ? t->rangedels->bytes : 0));
    return t->top.count == 1 ? table_part_get(t, 0, &only) : HELIOS_OK;
}

/* Acquire: a slot found empty was emptied by an eviction, whose store must be over before the slots go. */
static void drop_blocks(struct table *t, struct table_part *part)
{
    for (uint32_t i = 0; part && i < part->index.count; i++)
        if (atomic_load_explicit(&part->slots[i], memory_order_acquire))
            cache_drop(t->cache, &part->slots[i]);
    part_free(part);
}

static void table_close(struct table *t)
{
    if (!t)
        return;
    for (uint32_t n = 0; n < t->top.count; n++)
        drop_blocks(t, t->parts[n]);
    drop_blocks(t, t->history);
    cache_charge(t->cache, -(int64_t)t->memory);
    if (t->regions)
        cache_count_file(t->cache, -(int64_t)t->size);
    mem_free(t->regions);
    rangedel_unref(t->rangedels);
    index_release(&t->top);
    mem_free(t->top_image);
    mem_free(t->filter_image);
    mem_free(t->properties_image);
    io_close(t->file);
    crypt_file_release(&t->crypt);
    mem_free(t);
}

static void release_retired(struct epoch_item *item)
{
    table_unref((struct table *)((char *)item - offsetof(struct table, retired)));
}

void table_retire(struct table *t)
{
    cache_charge(t->cache, -(int64_t)atomic_exchange_explicit(&t->memory, 0, memory_order_relaxed));
    epoch_retire(&t->retired, release_retired);
}

helios_status table_open(struct io_fs *fs, struct crypt *crypt, const char *path, uint64_t number,
                         uint64_t size, helios_seq override_seq, struct cache *cache, struct table **out)
{
    struct table head = {.cache = cache, .number = number, .size = size, .override_seq = override_seq};
    struct table *t = NULL;
    helios_status status = open_file(fs, crypt, path, &head);
    size_t bytes = sizeof(*t) + head.top.count * sizeof(t->parts[0]);

    atomic_init(&head.refs, 1);
    t = mem_zalloc(bytes);
    if (!t) {
        if (status == HELIOS_OK)
            status = fail_no_memory(bytes);
        index_release(&head.top);
        mem_free(head.top_image);
        mem_free(head.properties_image);
        io_close(head.file);
        crypt_file_release(&head.crypt);
        return status;
    }
    memcpy(t, &head, sizeof(head));
    crypt_wipe(&head.crypt, sizeof(head.crypt));
    if (status == HELIOS_OK)
        status = open_rest(t);
    if (status != HELIOS_OK)
        goto out;
    *out = t;
    t = NULL;
out:
    table_close(t);
    return status;
}

struct table *table_ref(struct table *t)
{
    uint32_t old = atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);

    assert(old > 0);
    (void)old;
    return t;
}

void table_unref(struct table *t)
{
    uint32_t old;

    if (!t)
        return;
    old = atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel);
    assert(old > 0);
    if (old == 1)
        table_close(t);
}

/* ---- what it says of itself ---- */

const struct table_properties *table_properties(const struct table *t)
{
    return &t->properties;
}

struct rangedel_set *table_rangedels(const struct table *t)
{
    return t->rangedels;
}

size_t table_memory(const struct table *t)
{
    return atomic_load_explicit(&t->memory, memory_order_relaxed);
}

bool table_has_layer(const struct table *t, helios_slice key)
{
    return table_summary_has_layer(&t->summary, key);
}

void table_prefetch(const struct table *t, uint64_t hash)
{
    filter_prefetch(&t->filter, hash);
}

bool table_may_hold(const struct table *t, uint64_t hash)
{
    return filter_may_hold(&t->filter, hash);
}

/* ---- point look-ups ---- */

static struct cache_load load_of(const struct table *t, const struct table_part *part, uint32_t block)
{
    return (struct cache_load){.file = t->file,
                               .file_size = t->size,
                               .salt = t->salt,
                               .crypt = &t->crypt,
                               .handle = index_handle(&part->index, block),
                               .type = part->type};
}

helios_status table_block_get(struct table *t, struct table_part *part, uint32_t block, bool fill,
                              struct frame **out)
{
    struct cache_load load = load_of(t, part, block);

    if (!atomic_load_explicit(&part->slots[block], memory_order_relaxed))
        table_read_region(t, load.handle.offset);
    return cache_get(t->cache, &part->slots[block], &load, fill, out);
}

helios_status table_large_handle(const struct table *t, helios_slice value, struct block_handle *out)
{
    struct block_handle handle;
    helios_status status;

    if (value.size != BLOCK_LARGE_SIZE)
        return fail_corrupt("%s: a large value's handle of %zu bytes", table_path(t), value.size);
    handle = handle_get(value.data);
    status = block_check_handle(&handle, BLOCK_VALUE, t->size, table_path(t));
    if (status == HELIOS_OK)
        *out = handle;
    return status;
}

/* How a look-up may come by blocks. */
struct fetch {
    struct table *table;
    bool may_read, fill;
};

static enum table_found hit_error(struct table_hit *hit, helios_status status)
{
    hit->status = status;
    return TABLE_ERROR;
}

/* The block: held by the epoch, or counted if it may be read. */
static inline enum table_found fetch_block(const struct fetch *fetch, struct table_part *part, uint32_t block,
                                           struct table_hit *hit, struct frame **out)
{
    helios_status status;

    if (!fetch->may_read) {
        *out = cache_peek(&part->slots[block]);
        if (!*out)
            return TABLE_WOULD_READ;
        cache_hit(fetch->table->cache);
        return TABLE_FOUND;
    }
    status = table_block_get(fetch->table, part, block, fetch->fill, out);
    return status == HELIOS_OK ? TABLE_FOUND : hit_error(hit, status);
}

static inline enum table_found fetch_part(const struct fetch *fetch, uint32_t n, struct table_hit *hit,
                                          struct table_part **out)
{
    struct table_part *part = atomic_load_explicit(&fetch->table->parts[n], memory_order_acquire);
    helios_status status;

    *out = part;
    if (part)
        return TABLE_FOUND;
    if (!fetch->may_read)
        return TABLE_WOULD_READ;
    status = table_part_get(fetch->table, n, out);
    return status == HELIOS_OK ? TABLE_FOUND : hit_error(hit, status);
}

/* Entry `at` is the answer; takes over the count on the frame. */
static inline enum table_found take_entry(const struct fetch *fetch, struct frame *frame, uint32_t at,
                                          helios_seq seq, struct table_hit *hit)
{
    uint8_t bits = block_kind_bits(&frame->block, at);
    helios_status status;

    hit->tag = tag_make(seq, (enum key_kind)(bits & BLOCK_KIND_MASK));
    hit->value = block_value(&frame->block, at);
    hit->frame = fetch->may_read ? frame : NULL;
    hit->large = bits & BLOCK_LARGE;
    hit->status = HELIOS_OK;
    if (!hit->large)
        return TABLE_FOUND;
    status = table_large_handle(fetch->table, hit->value, &hit->large_at);
    if (status != HELIOS_OK) {
        frame_unref(hit->frame);
        hit->frame = NULL;
        return hit_error(hit, status);
    }
    hit->value = slice_make(NULL, hit->large_at.size);
    return TABLE_FOUND;
}

static bool entry_has_key(const struct block *b, uint32_t at, helios_slice key)
{
    helios_slice suffix = block_suffix(b, at);

    return key.size == b->shared_size + suffix.size && memcmp(key.data, b->shared, b->shared_size) == 0 &&
           memcmp(slice_bytes(key) + b->shared_size, suffix.data, suffix.size) == 0;
}

/* The history block where the newest version <= seq of the key is, if there is one; asked for before the data block
 * is searched, so that both wait for memory together. */
static uint32_t find_history(const struct fetch *fetch, helios_slice key, helios_seq seq)
{
    struct table_part *history = fetch->table->history;
    uint32_t i = index_find_tag(&history->index, key, tag_at(seq));
    struct frame *frame;

    if (fetch->may_read ||
        i == history->index.count) /* only inside an epoch a frame may be touched uncounted */
        return i;
    frame = cache_peek(&history->slots[i]);
    if (frame)
        prefetch_columns(&frame->block);
    return i;
}

/* The newest version was too new: the newest one <= seq among the older ones, all in history block i or later. */
static enum table_found get_history(const struct fetch *fetch, uint32_t i, helios_slice key, helios_seq seq,
                                    struct table_hit *hit)
{
    struct table_part *history = fetch->table->history;
    enum table_found found;
    struct frame *frame;
    uint32_t at;

    if (i == history->index.count)
        return TABLE_ABSENT;
    found = fetch_block(fetch, history, i, hit, &frame);
    if (found != TABLE_FOUND)
        return found;
    at = block_lower_bound(&frame->block, key, tag_at(seq));
    if (at < frame->block.count && entry_has_key(&frame->block, at, key))
        return take_entry(fetch, frame, at, block_seq(&frame->block, at), hit);
    if (fetch->may_read)
        frame_unref(frame);
    return TABLE_ABSENT;
}

static inline enum table_found get_data(const struct fetch *fetch, struct table_part *part, uint32_t i,
                                        helios_slice key, uint64_t hash, helios_seq seq, struct table_hit *hit)
{
    const struct table *t = fetch->table;
    bool may_be_older = seq < t->seq_max && t->history && seq < index_seq_max(&part->index, i),
         is_older = false;
    uint32_t history_at = may_be_older ? find_history(fetch, key, seq) : 0, at;
    enum table_found found;
    struct frame *frame;
    helios_seq version;

    prefetch_frame(&part->slots[i]);
    found = fetch_block(fetch, part, i, hit, &frame);
    if (found != TABLE_FOUND)
        return found;
    prefetch_columns(&frame->block);
    at = block_find(&frame->block, key, hash);
    if (at < frame->block.count) {
        version = t->override_seq ? t->override_seq : block_seq(&frame->block, at);
        if (version <= seq)
            return take_entry(fetch, frame, at, version, hit);
        is_older = block_kind_bits(&frame->block, at) & BLOCK_HAS_HISTORY;
    }
    if (fetch->may_read)
        frame_unref(frame);
    if (!is_older)
        return TABLE_ABSENT;
    if (!may_be_older)
        return hit_error(hit, fail_corrupt("%s: at %" PRIu64 ": an entry with history in a table without",
                                           table_path(t), t->footer.properties.offset));
    return get_history(fetch, history_at, key, seq, hit);
}

enum table_found table_get(struct table *t, helios_slice key, uint64_t hash, helios_seq seq, bool may_read,
                           bool fill_cache, struct table_hit *hit)
{
    struct fetch fetch = {t, may_read, fill_cache};
    struct table_part *part;
    enum table_found found;
    uint32_t n = 0, i;

    if (seq < t->seq_min || t->top.count == 0 || !filter_may_hold(&t->filter, hash))
        return TABLE_ABSENT;
    if (t->top.count > 1) {
        n = index_find(&t->top, key);
        if (n == t->top.count)
            return TABLE_ABSENT;
    }
    found = fetch_part(&fetch, n, hit, &part);
    if (found != TABLE_FOUND)
        return found;
    i = index_find(&part->index, key);
    if (i == part->index.count)
        return TABLE_ABSENT;
    return get_data(&fetch, part, i, key, hash, seq, hit);
}

helios_status table_read_large(struct table *t, const struct block_handle *handle, helios_buf *value)
{
    return block_read_buf(t->file, t->size, t->salt, &t->crypt, handle, BLOCK_VALUE, value);
}

/* ---- sizes ---- */

/* Where the blocks end, if the n-th partition cannot be asked: as if all were of one size. */
static uint64_t offset_guess(const struct table *t, uint32_t n)
{
    return FILE_HEADER_SIZE + (t->size - FILE_HEADER_SIZE) / t->top.count * n;
}

uint64_t table_offset_of(struct table *t, helios_slice key)
{
    struct table_part *part;
    uint32_t n, i;

    if (t->top.count == 0)
        return FILE_HEADER_SIZE;
    n = index_find(&t->top, key);
    if (n == t->top.count)
        return index_handle(&t->top, 0).offset; /* behind the last block */
    if (table_part_get(t, n, &part) != HELIOS_OK)
        return offset_guess(t, n);
    i = index_find(&part->index, key);
    return i < part->index.count ? index_handle(&part->index, i).offset : offset_guess(t, n + 1);
}
