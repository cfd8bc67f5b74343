/* table_cursor.c - a walk over one table. Called by the engine's iterators, by compaction and by the
 * level cursor, which moves one from table to table.
 *
 * The cursor stands on a data entry; what it shows is that entry or, where the read point or the wish
 * for every version asks for it, one of its older versions in the history blocks. The shared bytes of
 * a block's keys are copied into the cursor's buffer once, each step adds the suffix behind them. */
#include "base/mem.h"
#include "sstable/sstable_internal.h"
#include <assert.h>

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

enum {
    KEY_SLACK = 16, /* suffixes are copied 16 bytes at a time where that is safe */
    PREFETCH_MIN = 256 * 1024,
    PREFETCH_MAX = 2 * 1024 * 1024,
    PREFETCH_AFTER = 2, /* blocks in sequence that were not in the cache */
    READER_MIN = 64 * 1024,
};

static const char *cursor_path(const struct table_cursor *c)
{
    return io_path(c->table->file);
}

void table_cursor_fail(struct table_cursor *c, helios_status status)
{
    c->base.valid = false;
    c->base.status = status;
    error_keep(&c->error, status);
}

/* Before each move that starts afresh. */
static void forget_error(struct table_cursor *c)
{
    c->base.valid = false;
    c->base.status = HELIOS_OK;
    c->error.status = HELIOS_OK;
    c->in_history = false;
    c->history_placed = false;
}

/* ---- blocks ---- */

static void side_leave(struct cursor_side *side)
{
    frame_unref(side->frame);
    side->frame = NULL;
    side->block = NULL;
}

/* After some blocks in sequence that were not in the cache, asks for what comes next in large pieces,
 * in the direction of the walk. Blocks of the other kind may stand between. */
static void prefetch(struct table_cursor *c, struct cursor_side *side, const struct block_handle *handle)
{
    uint64_t from = handle->offset, to = from + handle_bytes(handle);
    bool forward = from >= side->miss_to && from - side->miss_to <= PREFETCH_MIN;
    bool backward = to <= side->miss_from && side->miss_from - to <= PREFETCH_MIN;

    side->miss_from = from;
    side->miss_to = to;
    if (!forward && !backward) {
        side->misses = 0;
        side->window = PREFETCH_MIN;
        side->fetch_from = from;
        side->fetch_to = to;
        return;
    }
    if (++side->misses < PREFETCH_AFTER)
        return;
    if (forward && to + side->window / 2 > side->fetch_to) {
        side->fetch_from = from > side->fetch_to ? from : side->fetch_to;
        side->fetch_to = side->fetch_from + side->window;
    } else if (backward && from < side->fetch_from + side->window / 2) {
        side->fetch_to = to < side->fetch_from ? to : side->fetch_from;
        side->fetch_from = side->fetch_to > side->window ? side->fetch_to - side->window : 0;
    } else {
        return;
    }
    io_prefetch(c->table->file, side->fetch_from, (size_t)(side->fetch_to - side->fetch_from));
    side->window = side->window < PREFETCH_MAX ? side->window * 2 : PREFETCH_MAX;
}

static helios_status side_fetch(struct table_cursor *c, struct cursor_side *side)
{
    struct block_handle handle = index_handle(&side->part->index, side->number);
    helios_status status;

    if (c->options.read_ahead > 0) {
        status = block_reader_get(&side->reader, side->part, side->number);
        if (status == HELIOS_OK)
            side->block = &side->reader.block;
        return status;
    }
    if (!atomic_load_explicit(&side->part->slots[side->number], memory_order_relaxed))
        prefetch(c, side, &handle);
    status = table_block_get(c->table, side->part, side->number, c->options.fill_cache, &side->frame);
    if (status == HELIOS_OK)
        side->block = &side->frame->block;
    return status;
}

/* Stands on the block, or nowhere with the cursor's error set. */
static bool side_load(struct table_cursor *c, struct cursor_side *side, struct table_part *part,
                      uint32_t number)
{
    helios_status status;

    if (side->block && side->part == part && side->number == number)
        return true;
    side_leave(side);
    side->part = part;
    side->number = number;
    status = side_fetch(c, side);
    if (status != HELIOS_OK)
        table_cursor_fail(c, status);
    return status == HELIOS_OK;
}

static helios_status key_room(struct table_cursor *c, size_t size)
{
    unsigned char *larger;

    if (size <= c->key_capacity)
        return HELIOS_OK;
    larger = mem_realloc(c->key, size);
    if (!larger)
        return fail_no_memory(size);
    c->key = larger;
    c->key_capacity = size;
    return HELIOS_OK;
}

/* What is found once for each data block: the key buffer, how versions are read. */
static helios_status prepare_block(struct table_cursor *c)
{
    const struct block *b = c->data.block;
    size_t keys = (size_t)(b->values - b->keys);
    const unsigned char *end = b->image + b->size,
                        *last_seq = b->versions + (size_t)(b->count - 1) * b->seq_width;
    helios_status status = key_room(c, b->shared_size + keys + KEY_SLACK);

    if (status != HELIOS_OK)
        return status;
    if (b->shared_size)
        memcpy(c->key, b->shared, b->shared_size);
    c->base.key.data = c->key;
    c->wide_keys = end - b->values >= KEY_SLACK;
    c->wide_seqs = end - last_seq >= 8;
    c->seq_base = c->table->override_seq ? c->table->override_seq : b->seq_base;
    c->seq_mask = c->table->override_seq || b->seq_width == 0 ? 0 : UINT64_MAX >> (64 - 8 * b->seq_width);
    return HELIOS_OK;
}

static bool data_load(struct table_cursor *c, uint32_t part_number, uint32_t number)
{
    struct table_part *part;
    helios_status status = table_part_get(c->table, part_number, &part);

    if (status == HELIOS_OK && side_load(c, &c->data, part, number)) {
        c->data.part_number = part_number;
        status = prepare_block(c);
        if (status == HELIOS_OK)
            return true;
        side_leave(&c->data);
    }
    if (status != HELIOS_OK)
        table_cursor_fail(c, status);
    return false;
}

/* ---- showing an entry ---- */

static uint64_t data_seq_slow(const struct table_cursor *c)
{
    return c->table->override_seq ? c->table->override_seq : block_seq(c->data.block, c->data.at);
}

static inline helios_seq data_seq(const struct table_cursor *c)
{
    const struct block *b = c->data.block;

    if (unlikely(!c->wide_seqs))
        return data_seq_slow(c);
    return c->seq_base + (get_u64(b->versions + (size_t)c->data.at * b->seq_width) & c->seq_mask);
}

static inline uint8_t data_bits(const struct table_cursor *c)
{
    return c->data.block->kinds[c->data.at];
}

/* The value is left where it is. The handle is checked when it is loaded. */
static void show_large(struct table_cursor *c)
{
    c->base.value_large = true;
    c->base.value = slice_make(NULL, handle_get(c->base.value.data).size);
}

static inline void show_value(struct table_cursor *c, const struct block *b, uint32_t at)
{
    c->base.value = block_value(b, at);
    c->base.value_large = false;
    if (unlikely(b->kinds[at] & BLOCK_LARGE))
        show_large(c);
}

static inline void show_key(struct table_cursor *c)
{
    const struct block *b = c->data.block;
    helios_slice suffix = block_suffix(b, c->data.at);

    if (likely(c->wide_keys && suffix.size <= KEY_SLACK))
        memcpy(c->key + b->shared_size, suffix.data, KEY_SLACK);
    else
        memcpy(c->key + b->shared_size, suffix.data, suffix.size);
    c->base.key.size = b->shared_size + suffix.size;
}

/* The data entry itself. */
static inline void show_data(struct table_cursor *c)
{
    show_key(c);
    c->base.tag = data_seq(c) << 8 | (data_bits(c) & BLOCK_KIND_MASK);
    show_value(c, c->data.block, c->data.at);
    c->in_history = false;
    c->base.valid = true;
}

/* A version of the key shown last. */
static void show_history(struct table_cursor *c)
{
    c->base.tag = block_tag(c->history.block, c->history.at);
    show_value(c, c->history.block, c->history.at);
    c->in_history = true;
    c->base.valid = true;
}

helios_status table_cursor_load(struct table_cursor *c)
{
    const struct cursor_side *side = c->in_history ? &c->history : &c->data;
    struct block_handle handle;
    helios_status status = table_large_handle(c->table, block_value(side->block, side->at), &handle);

    if (status == HELIOS_OK)
        status = table_read_large(c->table, &handle, &c->large);
    if (status != HELIOS_OK) {
        table_cursor_fail(c, status);
        return status;
    }
    c->base.value = buf_slice(&c->large);
    return HELIOS_OK;
}

/* ---- moving over data entries ---- */

/* All of these give false at the end, and on errors with the status set; the cursor is invalid then. */

static bool data_end(struct table_cursor *c)
{
    c->base.valid = false;
    return false;
}

/* Whether a block, or all blocks of a partition, have nothing above `since`. An ingested table's index knows other
 * versions than its readers; it is wholly above `since` or not looked at (MODE_NONE). */
static inline bool passed_over(const struct table_cursor *c, const struct index *index, uint32_t number)
{
    return c->options.since && index_seq_max(index, number) <= c->options.since && !c->table->override_seq;
}

/* Whether all from entry `number` of an index on is at or above `upper`: the separator before it is. */
static inline bool is_beyond(const struct table_cursor *c, const struct index *index, uint32_t number)
{
    return number > 0 && c->options.upper.data &&
           slice_compare(index_key(index, number - 1), c->options.upper) >= 0;
}

/* To the first entry of the block (part, number), or of the next one that is not passed over; a block has at least
 * one entry. */
static bool data_block_from(struct table_cursor *c, uint32_t part, uint32_t number)
{
    for (; part < c->table->top.count; part++, number = 0) {
        struct table_part *current;
        helios_status status;

        if (is_beyond(c, &c->table->top, part))
            break;
        if (passed_over(c, &c->table->top, part))
            continue;
        status = table_part_get(c->table, part, &current);
        if (status != HELIOS_OK) {
            table_cursor_fail(c, status);
            return false;
        }
        while (number < current->index.count && passed_over(c, &current->index, number))
            number++;
        if (number == current->index.count)
            continue;
        if (is_beyond(c, &current->index, number))
            break;
        c->data.at = 0;
        return data_load(c, part, number);
    }
    return data_end(c);
}

static bool part_last_block(struct table_cursor *c, uint32_t part, uint32_t *number)
{
    struct table_part *loaded;
    helios_status status = table_part_get(c->table, part, &loaded);

    if (status != HELIOS_OK) {
        table_cursor_fail(c, status);
        return false;
    }
    *number = loaded->index.count - 1;
    return true;
}

/* To the last entry of the block before (part, number). */
static bool data_block_before(struct table_cursor *c, uint32_t part, uint32_t number)
{
    if (number > 0) {
        number--;
    } else {
        if (part == 0)
            return data_end(c);
        part--;
        if (!part_last_block(c, part, &number))
            return false;
    }
    if (!data_load(c, part, number))
        return false;
    c->data.at = c->data.block->count - 1;
    return true;
}

static inline bool data_forward(struct table_cursor *c)
{
    if (likely(c->data.at + 1 < c->data.block->count)) {
        c->data.at++;
        return true;
    }
    return data_block_from(c, c->data.part_number, c->data.number + 1);
}

static inline bool data_backward(struct table_cursor *c)
{
    if (likely(c->data.at > 0)) {
        c->data.at--;
        return true;
    }
    return data_block_before(c, c->data.part_number, c->data.number);
}

static bool data_first(struct table_cursor *c)
{
    return data_block_from(c, 0, 0);
}

static bool data_last(struct table_cursor *c)
{
    uint32_t parts = c->table->top.count, number;

    if (parts == 0)
        return data_end(c);
    if (!part_last_block(c, parts - 1, &number) || !data_load(c, parts - 1, number))
        return false;
    c->data.at = c->data.block->count - 1;
    return true;
}

static bool data_key_is(const struct table_cursor *c, helios_slice key)
{
    const struct block *b = c->data.block;
    helios_slice suffix = block_suffix(b, c->data.at);

    return key.size == b->shared_size + suffix.size && memcmp(key.data, b->shared, b->shared_size) == 0 &&
           memcmp(slice_bytes(key) + b->shared_size, suffix.data, suffix.size) == 0;
}

/* The partition in which the first entry >= key is. False at the end. */
static bool find_part(struct table_cursor *c, helios_slice key, uint32_t *n)
{
    *n = c->table->top.count > 1 ? index_find(&c->table->top, key) : 0;
    return *n < c->table->top.count || data_end(c);
}

/* The block of it in which that entry is. False at the end. */
static bool find_block(struct table_cursor *c, helios_slice key, uint32_t n, struct table_part **part,
                       uint32_t *number)
{
    helios_status status = table_part_get(c->table, n, part);

    if (status != HELIOS_OK) {
        table_cursor_fail(c, status);
        return false;
    }
    *number = index_find(&(*part)->index, key);
    /* Else the last partition: the others end with their entry in the top index. */
    return *number < (*part)->index.count || data_end(c);
}

/* Where data_seek will look, in the steps of cursor_approach(). What is not in memory is left to the seek. */

/* The block's place; its slot is asked for. */
static void approach_slot(struct table_cursor *c, helios_slice key)
{
    struct cursor_side *side = &c->data;
    const struct table *t = c->table;
    struct table_part *part;
    uint32_t n, number;

    n = t->top.count > 1 ? index_find(&t->top, key) : 0;
    if (n == t->top.count)
        return;
    part = atomic_load_explicit(&t->parts[n], memory_order_acquire);
    if (!part)
        return;
    number = index_find(&part->index, key);
    if (number == part->index.count)
        return;
    __builtin_prefetch(&part->slots[number]);
    if (side->part != part || side->number != number)
        side_leave(side);
    side->part = part;
    side->part_number = n;
    side->number = number;
    c->approached = true;
}

/* The block is counted, what a search looks at is asked for. */
static void approach_block(struct table_cursor *c)
{
    struct cursor_side *side = &c->data;

    if (atomic_load_explicit(&side->part->slots[side->number], memory_order_relaxed) &&
        side_load(c, side, side->part, side->number))
        prefetch_columns(side->block);
}

void table_cursor_approach(struct table_cursor *c, helios_slice key, unsigned stage)
{
    if (stage == 0) {
        c->approached = false;
        if (c->table && (c->mode == MODE_PLAIN || c->mode == MODE_POINT) && c->options.since == 0 &&
            c->options.read_ahead == 0)
            approach_slot(c, key);
    } else if (c->approached && !c->data.block) {
        if (stage == 1)
            prefetch_frame(&c->data.part->slots[c->data.number]);
        else
            approach_block(c);
    }
}

/* Stands on the first entry >= key, unless all of the block are below (a separator may be above its block's
 * last key): then `at` is its count. */
static bool search_block(struct table_cursor *c, helios_slice key, uint32_t n, uint32_t number)
{
    if (!data_load(c, n, number))
        return false;
    prefetch_columns(c->data.block);
    c->data.at = block_lower_bound(c->data.block, key, TAG_MAX);
    return true;
}

/* The first entry >= key, but for blocks that are passed over. */
static bool data_seek(struct table_cursor *c, helios_slice key)
{
    struct table_part *part;
    uint32_t n, number;

    if (c->approached) {
        n = c->data.part_number;
        number = c->data.number;
        return search_block(c, key, n, number) &&
               (c->data.at < c->data.block->count || data_block_from(c, n, number + 1));
    }
    if (!find_part(c, key, &n))
        return false;
    if (passed_over(c, &c->table->top, n))
        return data_block_from(c, n + 1, 0);
    if (!find_block(c, key, n, &part, &number))
        return false;
    if (passed_over(c, &part->index, number))
        return data_block_from(c, n, number + 1);
    if (!search_block(c, key, n, number))
        return false;
    return c->data.at < c->data.block->count || data_block_from(c, n, number + 1);
}

/* The last entry <= key. */
static bool data_seek_back(struct table_cursor *c, helios_slice key)
{
    struct table_part *part;
    uint32_t n, number;

    if (!find_part(c, key, &n) || !find_block(c, key, n, &part, &number) || !search_block(c, key, n, number))
        return c->base.status == HELIOS_OK && data_last(c);
    if (c->data.at < c->data.block->count && data_key_is(c, key))
        return true;
    return data_backward(c);
}

/* ---- moving over history ---- */

static bool history_key_is(const struct table_cursor *c, helios_slice key)
{
    const struct block *b = c->history.block;
    helios_slice suffix = block_suffix(b, c->history.at);

    return key.size == b->shared_size + suffix.size && memcmp(key.data, b->shared, b->shared_size) == 0 &&
           memcmp(slice_bytes(key) + b->shared_size, suffix.data, suffix.size) == 0;
}

/* Where (key, tag) stands, seen from where the history stands: a walk asks for one key after the other, whose
 * versions lie in the same order. False: too far away, or at the block's edge backward, or an error. */
static bool history_is_near(struct table_cursor *c, helios_slice key, uint64_t tag)
{
    struct cursor_side *side = &c->history;
    const struct index *index = &c->table->history->index;

    if (!side->block)
        return false;
    side->at = block_lower_bound_near(side->block, key, tag, side->at);
    if (side->at == 0) /* it may be in the block before, unless that ends before it */
        return side->number == 0 || !index_reaches(index, side->number - 1, key, tag);
    if (side->at < side->block->count || index_reaches(index, side->number, key, tag))
        return true;
    if (side->number + 1 == index->count || !index_reaches(index, side->number + 1, key, tag) ||
        !side_load(c, side, c->table->history, side->number + 1))
        return false;
    side->at = block_lower_bound_near(side->block, key, tag, 0);
    return true;
}

/* To the first version at or after (key, tag); false when that is not one of key's, or on error. */
static bool history_seek(struct table_cursor *c, helios_slice key, uint64_t tag)
{
    struct table_part *history = c->table->history;

    if (!history_is_near(c, key, tag)) {
        uint32_t number;

        if (c->base.status != HELIOS_OK)
            return false;
        number = index_find_tag(&history->index, key, tag);
        if (number == history->index.count) {
            side_leave(&c->history);
            return false;
        }
        if (passed_over(c, &history->index, number))
            return false;
        if (!side_load(c, &c->history, history, number))
            return false;
        c->history.at = block_lower_bound(c->history.block, key, tag);
    }
    return c->history.at < c->history.block->count && history_key_is(c, key);
}

/* One step; false at the end of all history, or on error. */
static bool history_forward(struct table_cursor *c)
{
    struct cursor_side *side = &c->history;

    if (++side->at < side->block->count)
        return true;
    if (side->number + 1 == side->part->index.count)
        return false;
    if (!side_load(c, side, side->part, side->number + 1))
        return false;
    side->at = 0;
    return true;
}

static bool history_backward(struct table_cursor *c)
{
    struct cursor_side *side = &c->history;

    if (side->at > 0) {
        side->at--;
        return true;
    }
    if (side->number == 0 || !side_load(c, side, side->part, side->number - 1))
        return false;
    side->at = side->block->count - 1;
    return true;
}

static void fail_history(struct table_cursor *c)
{
    table_cursor_fail(c,
                      fail_corrupt("%s: block at %" PRIu64 ": an entry's older versions are not in the history",
                                   cursor_path(c), index_handle(&c->data.part->index, c->data.number).offset));
}

/* Does the data entry promise history? In a table without, that is damage, found here. */
static bool promises_history(struct table_cursor *c)
{
    if (!(data_bits(c) & BLOCK_HAS_HISTORY))
        return false;
    if (c->table->history)
        return true;
    fail_history(c);
    return false;
}

/* ---- at a read point ---- */

/* Shows the newest version of the data entry's key at the read point; false when there is none, or on
 * error. */
static bool show_at_point(struct table_cursor *c)
{
    if (c->mode == MODE_PLAIN || data_seq(c) <= c->options.read_point) {
        if (c->mode != MODE_PLAIN && data_seq(c) <= c->options.since)
            return false;
        show_data(c);
        return true;
    }
    if (!promises_history(c) || c->table->properties.history_seq_max <= c->options.since)
        return false;
    show_key(c);
    if (!history_seek(c, c->base.key, tag_at(c->options.read_point)) ||
        tag_seq(block_tag(c->history.block, c->history.at)) <= c->options.since)
        return false;
    show_history(c);
    return true;
}

/* From the data entry on, which counts if `here`, to one that has something to show. */
static void settle_forward(struct table_cursor *c, bool here)
{
    while (here && !show_at_point(c))
        here = c->base.status == HELIOS_OK && data_forward(c);
    if (!here)
        c->base.valid = false;
}

static void settle_backward(struct table_cursor *c, bool here)
{
    while (here && !show_at_point(c))
        here = c->base.status == HELIOS_OK && data_backward(c);
    if (!here)
        c->base.valid = false;
}

/* ---- over all versions ---- */

/* From the data entry to its newest older version; false on error, as there must be one. In a walk
 * forward the history stands there already: both are in the same order. */
static bool enter_history(struct table_cursor *c)
{
    uint64_t newest = c->base.tag;
    bool there;

    if (c->history_placed)
        there = c->history.block && history_key_is(c, c->base.key);
    else
        there = history_seek(c, c->base.key, TAG_MAX);
    c->history_placed = true;
    if (there && tag_seq(block_tag(c->history.block, c->history.at)) < tag_seq(newest)) {
        show_history(c);
        return true;
    }
    if (c->base.status == HELIOS_OK)
        fail_history(c);
    return false;
}

/* The next older version of the key, or false with the history standing behind the key. */
static bool next_version(struct table_cursor *c)
{
    uint64_t newer = c->base.tag;

    if (!history_forward(c)) {
        if (c->base.status == HELIOS_OK)
            side_leave(&c->history);
        return false;
    }
    if (!history_key_is(c, c->base.key))
        return false;
    if (tag_seq(block_tag(c->history.block, c->history.at)) >= tag_seq(newer)) {
        fail_history(c);
        return false;
    }
    show_history(c);
    return true;
}

static void all_next(struct table_cursor *c)
{
    if (c->in_history) {
        if (next_version(c))
            return;
    } else if (promises_history(c)) {
        enter_history(c); /* shows it or fails */
        return;
    }
    if (c->base.status != HELIOS_OK || !data_forward(c))
        c->base.valid = false;
    else
        show_data(c);
}

/* The oldest version of the data entry's key. */
static void show_oldest(struct table_cursor *c)
{
    show_data(c);
    c->history_placed = false;
    if (!promises_history(c))
        return;
    /* No version has tag 0, so this is the entry behind the oldest one. */
    history_seek(c, c->base.key, 0);
    if (c->base.status != HELIOS_OK)
        return;
    if (!c->history.block) { /* behind all history */
        if (!side_load(c, &c->history, c->table->history, c->table->history->index.count - 1))
            return;
        c->history.at = c->history.block->count;
    }
    if (history_backward(c) && history_key_is(c, c->base.key))
        show_history(c);
    else if (c->base.status == HELIOS_OK)
        fail_history(c);
}

/* Backward within a key; the data entry is its newest version. */
static void all_prev(struct table_cursor *c)
{
    bool was_history = c->in_history;

    c->history_placed = false;
    if (was_history) {
        if (history_backward(c) && history_key_is(c, c->base.key))
            show_history(c);
        else if (c->base.status == HELIOS_OK)
            show_data(c);
        return;
    }
    if (data_backward(c))
        show_oldest(c);
}

static void all_seek(struct table_cursor *c, helios_slice key, uint64_t tag)
{
    if (!data_seek(c, key))
        return;
    show_data(c);
    if (c->base.tag <= tag || !slice_equal(c->base.key, key))
        return;
    /* All that is left of this key is older than its data entry. */
    if (promises_history(c) && history_seek(c, c->base.key, tag)) {
        show_history(c);
        c->history_placed = true;
        return;
    }
    if (c->base.status != HELIOS_OK)
        return;
    if (data_forward(c))
        show_data(c);
}

/* ---- the cursor's moves ---- */

static bool sees_nothing(struct table_cursor *c)
{
    forget_error(c);
    return !c->table || c->mode == MODE_NONE;
}

void table_cursor_first(struct table_cursor *c)
{
    if (sees_nothing(c))
        return;
    if (c->mode != MODE_ALL)
        settle_forward(c, data_first(c));
    else if (data_first(c))
        show_data(c);
}

void table_cursor_last(struct table_cursor *c)
{
    if (sees_nothing(c))
        return;
    if (c->mode != MODE_ALL)
        settle_backward(c, data_last(c));
    else if (data_last(c))
        show_oldest(c);
}

void table_cursor_seek(struct table_cursor *c, helios_slice key, uint64_t tag)
{
    if (sees_nothing(c))
        return;
    if (c->mode != MODE_ALL)
        settle_forward(c, data_seek(c, key));
    else
        all_seek(c, key, tag);
    c->approached = false;
}

void table_cursor_seek_for_prev(struct table_cursor *c, helios_slice key)
{
    if (sees_nothing(c))
        return;
    if (c->mode != MODE_ALL)
        settle_backward(c, data_seek_back(c, key));
    else if (data_seek_back(c, key))
        show_oldest(c);
}

void table_cursor_next(struct table_cursor *c)
{
    if (likely(c->mode == MODE_PLAIN && c->data.at + 1 < c->data.block->count)) {
        c->data.at++;
        show_data(c);
    } else if (c->mode == MODE_ALL) {
        all_next(c);
    } else {
        settle_forward(c, data_forward(c));
    }
}

/* Processors foresee a walk over values downward badly. */
static inline void prefetch_values_before(const struct table_cursor *c)
{
    enum { AHEAD = 512, LINE = 64 };
    uintptr_t value = (uintptr_t)c->base.value.data;

    __builtin_prefetch((const void *)(value - AHEAD));
    __builtin_prefetch((const void *)(value - AHEAD - LINE));
}

void table_cursor_prev(struct table_cursor *c)
{
    if (likely(c->mode == MODE_PLAIN && c->data.at > 0)) {
        c->data.at--;
        show_data(c);
        prefetch_values_before(c);
    } else if (c->mode == MODE_ALL) {
        all_prev(c);
    } else {
        settle_backward(c, data_backward(c));
    }
}

/* ---- making one ---- */

static enum cursor_mode mode_for(const struct table *t, const struct table_cursor_options *options)
{
    if (options->read_point == CURSOR_ALL)
        return MODE_ALL;
    if (options->read_point < t->seq_min || options->since >= t->seq_max)
        return MODE_NONE;
    return options->read_point >= t->seq_max && options->since < t->seq_min ? MODE_PLAIN : MODE_POINT;
}

/* A new side begins far from any block: the first miss continues nothing. */
static void side_init(struct table_cursor *c, struct cursor_side *side)
{
    *side = (struct cursor_side){.miss_from = 0, .miss_to = UINT64_MAX, .window = PREFETCH_MIN};
    if (c->options.read_ahead > 0)
        block_reader_init(&side->reader, c->table, c->options.read_ahead);
}

static void side_release(struct cursor_side *side)
{
    side_leave(side);
    block_reader_release(&side->reader);
}

void table_cursor_init(struct table_cursor *c, const struct table_cursor_options *options)
{
    assert(options->since == 0 || options->read_point != CURSOR_ALL);
    *c = (struct table_cursor){.options = *options};
    c->base.error = &c->error;
    if (options->read_ahead > 0 && options->read_ahead < READER_MIN)
        c->options.read_ahead = READER_MIN;
}

void table_cursor_attach(struct table_cursor *c, struct table *t)
{
    side_release(&c->data);
    side_release(&c->history);
    forget_error(c);
    c->approached = false;
    table_unref(c->table);
    c->table = t ? table_ref(t) : NULL;
    if (!t)
        return;
    side_init(c, &c->data);
    side_init(c, &c->history);
    c->mode = mode_for(t, &c->options);
}

void table_cursor_release(struct table_cursor *c)
{
    table_cursor_attach(c, NULL);
    mem_free(c->key);
    helios_buf_free(&c->large);
}

/* The operations as a cursor's: base is the first member. */
static struct table_cursor *of(struct cursor *base)
{
    return (struct table_cursor *)base;
}
static void op_first(struct cursor *base)
{
    table_cursor_first(of(base));
}
static void op_last(struct cursor *base)
{
    table_cursor_last(of(base));
}
static void op_seek(struct cursor *base, helios_slice key, uint64_t tag)
{
    table_cursor_seek(of(base), key, tag);
}
static void op_approach(struct cursor *base, helios_slice key, unsigned stage)
{
    table_cursor_approach(of(base), key, stage);
}
static void op_seek_for_prev(struct cursor *base, helios_slice key)
{
    table_cursor_seek_for_prev(of(base), key);
}
static void op_next(struct cursor *base)
{
    table_cursor_next(of(base));
}
static void op_prev(struct cursor *base)
{
    table_cursor_prev(of(base));
}
static helios_status op_load(struct cursor *base)
{
    return table_cursor_load(of(base));
}

static void op_free(struct cursor *base)
{
    table_cursor_release(of(base));
    mem_free(of(base));
}

helios_status table_cursor_new(struct table *t, const struct table_cursor_options *options, struct cursor **out)
{
    static const struct cursor_ops ops = {
        .first = op_first,
        .last = op_last,
        .seek = op_seek,
        .approach = op_approach,
        .seek_for_prev = op_seek_for_prev,
        .next = op_next,
        .prev = op_prev,
        .load = op_load,
        .free = op_free,
    };
    struct table_cursor *c = mem_alloc(sizeof(*c));

    if (!c)
        return fail_no_memory(sizeof(*c));
    table_cursor_init(c, options);
    c->base.ops = &ops;
    table_cursor_attach(c, t);
    *out = &c->base;
    return HELIOS_OK;
}
