/* salvage.c - see salvage.h. Blocks are listed once, at the open; the cursors read them one by one and pass over those
 * that do not verify. Offsets in a list only rise, so no block is read twice, whatever an index says. */
#include "sstable/salvage.h"
#include "base/hash.h"
#include "base/mem.h"
#include "sstable/sstable_internal.h"
#include <stdio.h>

/* A block, or with size 0 a stretch of the file in which some may have stood. */
struct block_list {
    struct block_handle *items;
    size_t count, capacity;
};

struct table_salvage {
    struct table_salvage_options options;
    struct io_file *file;
    uint64_t size, end, salt; /* end: of the blocks, where the footer begins or the file ends */
    struct block_list data, history;
    struct rangedel_set *rangedels;
    helios_buf properties_image;
    struct table_summary summary;
    bool has_summary, lost_range_deletes;
};

/* ---- what is lost ---- */

static bool is_loss(helios_status status)
{
    return status != HELIOS_OK && status != HELIOS_NO_MEMORY;
}

static helios_status tell_loss(const struct table_salvage *t, enum table_loss loss, helios_slice from,
                               helios_slice to, const char *reason)
{
    char copy[ERROR_TEXT_BYTES];

    snprintf(copy, sizeof(copy), "%s", reason); /* it may be this thread's sentence */
    if (!from.data && t->has_summary)
        from = t->summary.smallest;
    if (!to.data && t->has_summary)
        to = t->summary.largest;
    return t->options.lost(t->options.arg, loss, from, to, copy);
}

/* ---- lists ---- */

static helios_status list_add(struct block_list *list, const struct block_handle *handle)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        struct block_handle *items = mem_realloc(list->items, capacity * sizeof(*items));

        if (!items)
            return fail_no_memory(capacity * sizeof(*items));
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = *handle;
    return HELIOS_OK;
}

/* Blocks of an index, behind those that are listed. */
static helios_status list_index(const struct table_salvage *t, struct block_list *list, enum block_type type,
                                const struct index *index, uint32_t i)
{
    struct block_handle handle = index_handle(index, i);
    const struct block_handle *last = list->count ? &list->items[list->count - 1] : NULL;
    helios_status status = block_check_handle(&handle, type, t->size, t->options.path);

    if (status == HELIOS_OK && last && handle.offset < last->offset + handle_bytes(last))
        status = fail_corrupt("%s: its index goes back at block %" PRIu64, t->options.path, handle.offset);
    return status == HELIOS_OK ? list_add(list, &handle) : status;
}

static helios_status read_index(const struct table_salvage *t, const struct block_handle *handle,
                                enum block_type type, helios_buf *image, struct index *index)
{
    helios_status status = block_read_buf(t->file, t->size, t->salt, NULL, handle, type, image);

    return status == HELIOS_OK ? index_open(image->data, image->size, t->options.path, handle->offset, index)
                               : status;
}

static helios_status list_partition(struct table_salvage *t, const struct block_handle *handle)
{
    struct index index = {0};
    helios_buf image = {0};
    helios_status status = read_index(t, handle, BLOCK_INDEX, &image, &index);

    for (uint32_t i = 0; i < index.count && status == HELIOS_OK; i++)
        status = list_index(t, &t->data, BLOCK_DATA, &index, i);
    index_release(&index);
    helios_buf_free(&image);
    return status;
}

static helios_status list_by_indexes(struct table_salvage *t, const struct table_footer *footer)
{
    struct index index = {0};
    helios_buf image = {0};
    helios_status status = HELIOS_OK;
    uint64_t behind = 0;

    if (!handle_is_none(&footer->top_index))
        status = read_index(t, &footer->top_index, BLOCK_INDEX_TOP, &image, &index);
    for (uint32_t i = 0; i < index.count && status == HELIOS_OK; i++) {
        struct block_handle handle = index_handle(&index, i);

        if (handle.offset < behind)
            status = fail_corrupt("%s: its top index goes back", t->options.path);
        behind = handle.offset + handle_bytes(&handle);
        if (status == HELIOS_OK)
            status = list_partition(t, &handle);
    }
    index_release(&index);
    index = (struct index){0};
    if (status == HELIOS_OK && !handle_is_none(&footer->history_index))
        status = read_index(t, &footer->history_index, BLOCK_INDEX, &image, &index);
    for (uint32_t i = 0; i < index.count && status == HELIOS_OK; i++)
        status = list_index(t, &t->history, BLOCK_HISTORY, &index, i);
    index_release(&index);
    helios_buf_free(&image);
    return status;
}

/* ---- walking ---- */

enum {
    WALK_BUFFER = 1 << 20,
    WALK_WINDOW = 2 << 20, /* behind damage a block is looked for that ends within as much */
};

struct walk {
    struct table_salvage *t;
    unsigned char *buffer; /* WALK_BUFFER */
    uint64_t buffer_at;
    size_t buffer_size;
    uint64_t budget; /* bytes that may still be looked at: a hostile file must come to an end */
    struct hash_stream *hash;
};

/* The bytes [at, at + size) of the file, size far below the buffer's; NULL: they cannot be read. */
static const unsigned char *walk_bytes(struct walk *w, uint64_t at, size_t size)
{
    if (at < w->buffer_at || at + size > w->buffer_at + w->buffer_size) {
        size_t got = 0;

        w->buffer_at = at;
        w->buffer_size = 0;
        if (io_read_some(w->t->file, at, w->buffer, WALK_BUFFER, &got) == HELIOS_OK)
            w->buffer_size = got;
        if (got < size)
            return NULL;
    }
    return w->buffer + (at - w->buffer_at);
}

/* Whether these 16 bytes can be the trailer of a block that begins `stored` bytes before. */
static bool can_be_trailer(const unsigned char *p, uint64_t stored)
{
    uint32_t size = get_u32(p + 4);

    if (p[0] > HELIOS_COMPRESSION_ZSTD || p[1] == 0 || p[1] > BLOCK_VALUE || p[2] || p[3] || size == 0)
        return false;
    return p[0] == HELIOS_COMPRESSION_NONE ? stored == size : stored > 0 && stored < size;
}

/* The block that begins at `from` and ends before `limit`. The hash grows with the place that is looked at. */
static bool walk_find(struct walk *w, uint64_t from, uint64_t limit, struct block_handle *handle,
                      enum block_type *type)
{
    uint64_t hashed = from;

    hash_stream_begin(w->hash, w->t->salt ^ (from * UINT64_C(0x9E3779B97F4A7C15)));
    for (uint64_t at = from + 1; at + BLOCK_TRAILER_SIZE <= limit && w->budget > 0; at++) {
        const unsigned char *p = walk_bytes(w, at, BLOCK_TRAILER_SIZE);

        w->budget--;
        if (!p)
            return false;
        /* In steps that stay within the buffer. */
        if (at + 8 - hashed >= WALK_BUFFER / 2 || can_be_trailer(p, at - from)) {
            const unsigned char *more = walk_bytes(w, hashed, (size_t)(at + 8 - hashed));

            if (!more)
                return false;
            hash_stream_add(w->hash, more, (size_t)(at + 8 - hashed));
            hashed = at + 8;
            p = walk_bytes(w, at, BLOCK_TRAILER_SIZE);
            if (!p)
                return false;
            if (can_be_trailer(p, at - from) && hash_stream_end(w->hash) == get_u64(p + 8)) {
                *handle = (struct block_handle){from, (uint32_t)(at - from), get_u32(p + 4)};
                *type = (enum block_type)p[1];
                return true;
            }
        }
    }
    return false;
}

/* Behind damage: the next place at which a block begins, which is one where a trailer may have ended. */
static bool walk_resume(struct walk *w, uint64_t from, struct block_handle *handle, enum block_type *type)
{
    for (uint64_t at = from + 1; at + BLOCK_TRAILER_SIZE < w->t->end && w->budget > 0; at++) {
        const unsigned char *p = walk_bytes(w, at, BLOCK_TRAILER_SIZE);
        uint64_t begin = at + BLOCK_TRAILER_SIZE, limit = begin + WALK_WINDOW;

        w->budget--;
        if (!p)
            return false;
        if (p[0] > HELIOS_COMPRESSION_ZSTD || p[1] == 0 || p[1] > BLOCK_VALUE || p[2] || p[3] ||
            get_u32(p + 4) == 0)
            continue;
        if (walk_find(w, begin, limit < w->t->end ? limit : w->t->end, handle, type))
            return true;
    }
    return false;
}

static helios_status read_rangedels(struct table_salvage *, const struct block_handle *);

static helios_status walk_take(struct table_salvage *t, const struct block_handle *handle, enum block_type type)
{
    switch (type) {
    case BLOCK_DATA: return list_add(&t->data, handle);
    case BLOCK_HISTORY: return list_add(&t->history, handle);
    case BLOCK_RANGE_DELETES: return t->rangedels ? HELIOS_OK : read_rangedels(t, handle);
    default: return HELIOS_OK;
    }
}

static helios_status walk_hole(struct table_salvage *t, uint64_t at)
{
    const struct block_handle hole = {.offset = at};
    helios_status status = list_add(&t->data, &hole);

    /* A range delete may have stood there too, unless they are known to be all there. */
    t->lost_range_deletes |= !t->rangedels && !(t->has_summary && t->summary.properties.range_deletes == 0);
    return status == HELIOS_OK ? list_add(&t->history, &hole) : status;
}

static helios_status walk_all(struct walk *w)
{
    struct table_salvage *t = w->t;
    helios_status status = HELIOS_OK;
    uint64_t at = FILE_HEADER_SIZE;

    while (at + BLOCK_TRAILER_SIZE < t->end && status == HELIOS_OK) {
        struct block_handle handle;
        enum block_type type;

        if (!walk_find(w, at, t->end, &handle, &type)) {
            status = walk_hole(t, at);
            if (!walk_resume(w, at, &handle, &type))
                return status;
        }
        if (status == HELIOS_OK)
            status = walk_take(t, &handle, type);
        at = handle.offset + handle_bytes(&handle);
    }
    if (status == HELIOS_OK && t->end == t->size) /* no footer: who knows what stood behind */
        status = walk_hole(t, t->end);
    return status;
}

static helios_status list_by_walking(struct table_salvage *t)
{
    struct walk w = {.t = t, .buffer = mem_alloc(WALK_BUFFER), .budget = t->size * 16 + WALK_WINDOW};
    helios_status status = HELIOS_NO_MEMORY;

    t->data.count = t->history.count = 0;
    w.hash = hash_stream_new();
    if (!w.buffer)
        status = fail_no_memory(WALK_BUFFER);
    else if (w.hash)
        status = walk_all(&w);
    hash_stream_free(w.hash);
    mem_free(w.buffer);
    return status;
}

/* ---- opening ---- */

static helios_status read_rangedels(struct table_salvage *t, const struct block_handle *handle)
{
    helios_buf image = {0};
    helios_status status = block_read_buf(t->file, t->size, t->salt, NULL, handle, BLOCK_RANGE_DELETES, &image);

    if (status == HELIOS_OK)
        status = rangedels_decode(image.data, image.size, t->options.path, handle->offset, &t->rangedels);
    helios_buf_free(&image);
    t->lost_range_deletes |= is_loss(status);
    return status == HELIOS_NO_MEMORY ? status : HELIOS_OK;
}

/* Without it bounds and counts are not known, and nothing else is lost. */
static helios_status read_summary(struct table_salvage *t, const struct block_handle *handle)
{
    helios_status status =
        block_read_buf(t->file, t->size, t->salt, NULL, handle, BLOCK_PROPERTIES, &t->properties_image);

    if (status == HELIOS_OK)
        status = properties_decode(t->properties_image.data, t->properties_image.size, t->options.path,
                                   handle->offset, &t->summary);
    t->has_summary = status == HELIOS_OK;
    return status == HELIOS_NO_MEMORY ? status : HELIOS_OK;
}

static helios_status read_footer(struct table_salvage *t, struct table_footer *footer)
{
    unsigned char bytes[TABLE_FOOTER_SIZE];
    helios_status status;

    t->end = t->size;
    if (t->size < FILE_HEADER_SIZE + TABLE_FOOTER_SIZE)
        return fail_corrupt("%s: ends at %" PRIu64 ", too early for a table", t->options.path, t->size);
    status = io_read(t->file, t->size - TABLE_FOOTER_SIZE, bytes, sizeof(bytes));
    if (status == HELIOS_OK)
        status = footer_decode(bytes, t->salt, NULL, t->size - TABLE_FOOTER_SIZE, t->options.path, footer);
    if (status == HELIOS_OK)
        t->end = t->size - TABLE_FOOTER_SIZE;
    return status;
}

/* Blocks say by their checksums whether the salt is right, so a damaged header may still have it. */
static helios_status read_salt(struct table_salvage *t)
{
    unsigned char header[FILE_HEADER_SIZE];
    helios_status status = io_open(t->options.fs, t->options.path, IO_READ, &t->file);

    if (status != HELIOS_OK)
        return status;
    t->options.path = io_path(t->file); /* the caller's is gone by the time that blocks are read */
    status = io_size(t->file, &t->size);
    if (status == HELIOS_OK)
        status = io_read(t->file, 0, header, sizeof(header));
    if (status == HELIOS_OK)
        t->salt = file_salt(header + FILE_ID);
    return status;
}

static helios_status list_blocks(struct table_salvage *t)
{
    struct table_footer footer;
    helios_status status = read_footer(t, &footer);

    if (status == HELIOS_OK)
        status = read_summary(t, &footer.properties);
    if (status == HELIOS_OK && !handle_is_none(&footer.range_deletes))
        status = read_rangedels(t, &footer.range_deletes);
    if (status == HELIOS_OK)
        status = list_by_indexes(t, &footer);
    return is_loss(status) ? list_by_walking(t) : status;
}

helios_status table_salvage_open(const struct table_salvage_options *options, struct table_salvage **out)
{
    struct table_salvage *t = mem_zalloc(sizeof(*t));
    helios_status status;

    if (!t)
        return fail_no_memory(sizeof(*t));
    t->options = *options;
    status = read_salt(t);
    if (is_loss(status)) {
        status = tell_loss(t, TABLE_LOSS_KEYS, (helios_slice){0}, (helios_slice){0}, helios_last_error());
        t->size = 0;
    } else if (status == HELIOS_OK) {
        status = list_blocks(t);
    }
    if (status == HELIOS_OK && t->lost_range_deletes)
        status = tell_loss(t, TABLE_LOSS_RANGE_DELETES, (helios_slice){0}, (helios_slice){0},
                           "its range deletes cannot be read");
    if (status != HELIOS_OK) {
        table_salvage_free(t);
        return status;
    }
    *out = t;
    return HELIOS_OK;
}

void table_salvage_free(struct table_salvage *t)
{
    if (!t)
        return;
    io_close(t->file);
    rangedel_unref(t->rangedels);
    helios_buf_free(&t->properties_image);
    mem_free(t->data.items);
    mem_free(t->history.items);
    mem_free(t);
}

struct rangedel_set *table_salvage_rangedels(const struct table_salvage *t)
{
    return t->rangedels;
}

const struct table_properties *table_salvage_properties(const struct table_salvage *t)
{
    return t->has_summary ? &t->summary.properties : NULL;
}

bool table_salvage_found(const struct table_salvage *t)
{
    for (size_t i = 0; i < t->data.count; i++)
        if (t->data.items[i].size)
            return true;
    return t->rangedels != NULL;
}

/* ---- cursors ---- */

struct salvage_cursor {
    struct cursor base;
    struct table_salvage *t;
    const struct block_list *list;
    bool history;
    size_t item; /* the next to load */
    uint32_t at;
    struct block block;
    helios_buf image, key, value;
    bool begun;      /* key and base.tag are of an entry that was shown */
    bool losing;     /* something between that and what comes next is lost */
    helios_buf last; /* the key behind which it is */
    struct error_note reason, error;
};

static void cursor_end(struct salvage_cursor *c, helios_status status)
{
    c->base.valid = false;
    c->base.status = status;
    error_keep(&c->error, status);
}

static helios_status begin_loss(struct salvage_cursor *c, helios_status why)
{
    if (c->losing)
        return HELIOS_OK;
    c->losing = true;
    c->reason = (struct error_note){0};
    error_keep(&c->reason, why);
    return c->begun ? buf_set(&c->last, c->key.data, c->key.size) : HELIOS_OK;
}

static helios_status end_loss(struct salvage_cursor *c, helios_slice to)
{
    if (!c->losing)
        return HELIOS_OK;
    c->losing = false;
    return tell_loss(c->t, TABLE_LOSS_KEYS, c->begun ? buf_slice(&c->last) : (helios_slice){0}, to,
                     c->reason.text);
}

/* Entry `at` is behind what was shown before, as all of the block then are. */
static helios_status check_order(const struct salvage_cursor *c, uint64_t offset)
{
    unsigned char first[KEY_BYTES_MAX];
    helios_slice suffix = block_suffix(&c->block, 0), key;

    memcpy(first, c->block.shared, c->block.shared_size);
    memcpy(first + c->block.shared_size, suffix.data, suffix.size);
    key = slice_make(first, c->block.shared_size + suffix.size);
    if (c->begun &&
        (c->history ? key_compare(buf_slice(&c->key), c->base.tag, key, block_tag(&c->block, 0)) >= 0
                    : slice_compare(buf_slice(&c->key), key) >= 0))
        return fail_corrupt("%s: block at %" PRIu64 " is not behind the one before it", c->t->options.path,
                            offset);
    return HELIOS_OK;
}

static helios_status load_block(struct salvage_cursor *c, const struct block_handle *handle)
{
    const struct table_salvage *t = c->t;
    enum block_type type = c->history ? BLOCK_HISTORY : BLOCK_DATA;
    helios_status status;

    if (handle->size == 0)
        return fail_corrupt("%s: no block can be read at %" PRIu64, t->options.path, handle->offset);
    status = block_read_buf(t->file, t->size, t->salt, NULL, handle, type, &c->image);
    if (status == HELIOS_OK)
        status =
            block_open(c->image.data, c->image.size, c->history, t->options.path, handle->offset, &c->block);
    if (status == HELIOS_OK)
        status = block_check_layers(&c->block, t->options.path, handle->offset);
    return status == HELIOS_OK ? check_order(c, handle->offset) : status;
}

/* The next block that can be read; HELIOS_NOT_FOUND: there is none. */
static helios_status next_block(struct salvage_cursor *c)
{
    while (c->item < c->list->count) {
        helios_status status = load_block(c, &c->list->items[c->item++]);

        c->at = 0;
        if (!is_loss(status))
            return status;
        status = begin_loss(c, status);
        if (status != HELIOS_OK)
            return status;
    }
    return HELIOS_NOT_FOUND;
}

static helios_status read_value(struct salvage_cursor *c, helios_slice stored)
{
    struct block_handle handle;
    helios_status status;

    c->base.value = stored;
    if (!(block_kind_bits(&c->block, c->at) & BLOCK_LARGE))
        return HELIOS_OK;
    handle = handle_get(stored.data);
    status = block_read_buf(c->t->file, c->t->size, c->t->salt, NULL, &handle, BLOCK_VALUE, &c->value);
    if (status == HELIOS_OK)
        c->base.value = buf_slice(&c->value);
    return status;
}

static helios_status show(struct salvage_cursor *c)
{
    helios_slice suffix = block_suffix(&c->block, c->at);
    uint64_t tag = block_tag(&c->block, c->at);
    helios_status status = buf_set(&c->key, c->block.shared, c->block.shared_size);

    if (status == HELIOS_OK)
        status = buf_append(&c->key, suffix.data, suffix.size);
    if (status == HELIOS_OK)
        status = end_loss(c, buf_slice(&c->key));
    if (status != HELIOS_OK)
        return status;
    c->begun = true;
    c->base.key = buf_slice(&c->key);
    c->base.tag = c->t->options.override_seq ? tag_make(c->t->options.override_seq, tag_kind(tag)) : tag;
    status = read_value(c, block_value(&c->block, c->at));
    if (!is_loss(status))
        return status;
    status = tell_loss(c->t, TABLE_LOSS_KEYS, c->base.key, c->base.key, helios_last_error());
    return status == HELIOS_OK ? HELIOS_CORRUPT : status; /* it is passed over */
}

static void step(struct salvage_cursor *c)
{
    helios_status status;

    do {
        status = c->at < c->block.count ? HELIOS_OK : next_block(c);
        if (status == HELIOS_OK)
            status = show(c);
        if (status == HELIOS_CORRUPT)
            c->at++;
    } while (status == HELIOS_CORRUPT);
    if (status == HELIOS_NOT_FOUND) {
        status = end_loss(c, (helios_slice){0});
        cursor_end(c, status);
        return;
    }
    if (status != HELIOS_OK)
        cursor_end(c, status);
    else
        c->base.valid = true;
}

static void salvage_first(struct cursor *base)
{
    struct salvage_cursor *c = (struct salvage_cursor *)base;

    c->item = 0;
    c->at = 0;
    c->block.count = 0;
    c->begun = c->losing = false;
    step(c);
}

static void salvage_next(struct cursor *base)
{
    struct salvage_cursor *c = (struct salvage_cursor *)base;

    c->at++;
    step(c);
}

static void salvage_free(struct cursor *base)
{
    struct salvage_cursor *c = (struct salvage_cursor *)base;

    helios_buf_free(&c->image);
    helios_buf_free(&c->key);
    helios_buf_free(&c->value);
    helios_buf_free(&c->last);
    mem_free(c);
}

static const struct cursor_ops salvage_ops = {
    .first = salvage_first, .next = salvage_next, .free = salvage_free};

helios_status table_salvage_cursor(struct table_salvage *t, bool history, struct cursor **out)
{
    struct salvage_cursor *c = mem_zalloc(sizeof(*c));

    if (!c)
        return fail_no_memory(sizeof(*c));
    c->base.ops = &salvage_ops;
    c->base.error = &c->error;
    c->t = t;
    c->list = history ? &t->history : &t->data;
    c->history = history;
    *out = &c->base;
    return HELIOS_OK;
}
