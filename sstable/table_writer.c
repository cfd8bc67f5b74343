/* table_writer.c - writes a sorted table in one pass: entries are routed to the open data block or the
 * open history block, full blocks are sealed into one big buffer, and that goes to the file in pieces.
 * What must come last (index, filter, range deletes, properties) is held in memory until then. Called
 * by flush, compaction and ingest. One thread; after a failure every call repeats it.
 *
 * A block's separator needs the first key of the next one, so a written block stays pending in its
 * stream until that key, or the end, comes. */
#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "sstable/filter.h"
#include "sstable/index.h"
#include <assert.h>

enum {
    PIECE_BYTES = 1 << 20, /* what is written at once */
    OUT_BYTES = PIECE_BYTES + PIECE_BYTES / 4,
    OUT_BYTES_KEPT = 4 << 20, /* a buffer that a large value has grown further is given back */
    BLOCK_BYTES_MIN = 512,
    BLOCK_BYTES_MAX = 64 * 1024, /* so that offsets have 16 bits but for big entries */
    TAIL_BYTES = 1024,           /* properties and footer, for the estimate */
};

/* The blocks of one kind: the open one, the last one written, the index of all before. */
struct block_stream {
    enum block_type type;
    struct block_builder *builder;
    uint32_t tombstones;        /* in the open block */
    bool pending;               /* the last written block is not in the index yet */
    struct index_entry written; /* that block */
    helios_buf last_key;        /* its last key */
    struct index_builder index;
    uint64_t bytes; /* as stored */
};

struct table_writer {
    struct table_writer_options options; /* path is our copy */
    struct error_note error;             /* the first failure */
    struct io_file *file;
    char *path;
    bool finished;
    uint64_t salt;
    struct crypt_file crypt;
    helios_buf out; /* not yet written, stands at `offset` of the file */
    uint64_t offset;
    struct block_compressor compressor;
    struct block_stream data, history;
    struct filter_builder *filter; /* NULL: none */
    uint64_t key_hash, last_tag;   /* of the last entry; its key is the last of data.builder */
    helios_buf first_key;
    helios_buf rangedels;              /* the image */
    struct rangedel_set *rangedel_set; /* of the first rangedel_set_count of them; made when needed */
    uint64_t rangedel_set_count;
    helios_buf rangedel_from, rangedel_to; /* the outermost */
    unsigned char layers[TABLE_LAYERS_MAX * KEY_LAYER_BYTES];
    uint32_t layer_count;
    bool layers_many;
    struct table_properties properties;
};

/* ---- output ---- */

static uint64_t position(const struct table_writer *writer)
{
    return writer->offset + writer->out.size;
}

static helios_status write_piece(struct table_writer *writer, const char *data, size_t size)
{
    helios_status status;

    if (writer->options.pace)
        writer->options.pace(writer->options.pace_arg, size);
    status = io_write(writer->file, writer->offset, data, size);
    if (status != HELIOS_OK)
        return status;
    io_write_back(writer->file, writer->offset, size);
    writer->offset += size;
    return HELIOS_OK;
}

static helios_status write_out(struct table_writer *writer)
{
    size_t done = 0, size = writer->out.size;

    while (done < size) {
        size_t piece = size - done < PIECE_BYTES ? size - done : PIECE_BYTES;
        helios_status status = write_piece(writer, writer->out.data + done, piece);

        if (status != HELIOS_OK)
            return status;
        done += piece;
    }
    writer->out.size = 0;
    if (writer->out.capacity > OUT_BYTES_KEPT)
        helios_buf_free(&writer->out);
    return buf_reserve(&writer->out, OUT_BYTES);
}

static helios_status emit_with(struct table_writer *writer, struct block_compressor *compressor,
                               helios_slice image, enum block_type type, struct block_handle *handle)
{
    helios_status status = block_seal_append(compressor, image, type, writer->salt, &writer->crypt,
                                             position(writer), &writer->out, handle);

    if (status == HELIOS_OK && writer->out.size >= PIECE_BYTES)
        status = write_out(writer);
    return status;
}

static helios_status emit(struct table_writer *writer, helios_slice image, enum block_type type,
                          struct block_handle *handle)
{
    return emit_with(writer, &writer->compressor, image, type, handle);
}

static helios_status emit_header(struct table_writer *writer)
{
    struct file_header header = {.number = writer->options.number};
    unsigned char bytes[FILE_HEADER_SIZE];
    helios_status status = io_random(writer->options.fs, header.id, sizeof(header.id));

    if (status != HELIOS_OK)
        return status;
    status = crypt_file_begin(writer->options.crypt, &header, MAGIC_TABLE, &writer->crypt);
    if (status != HELIOS_OK)
        return status;
    writer->salt = file_salt(header.id);
    file_header_encode(&header, MAGIC_TABLE, bytes);
    return buf_append(&writer->out, bytes, sizeof(bytes));
}

/* ---- making and freeing ---- */

static helios_status stream_init(struct block_stream *stream, enum block_type type)
{
    stream->type = type;
    return block_builder_new(&stream->builder);
}

static void stream_release(struct block_stream *stream)
{
    block_builder_free(stream->builder);
    helios_buf_free(&stream->last_key);
    index_builder_release(&stream->index);
}

static uint32_t clamp_block_bytes(uint32_t bytes)
{
    return bytes < BLOCK_BYTES_MIN ? BLOCK_BYTES_MIN : bytes > BLOCK_BYTES_MAX ? BLOCK_BYTES_MAX : bytes;
}

static helios_status writer_init(struct table_writer *writer, const struct table_writer_options *options)
{
    helios_status status;

    writer->options = *options;
    writer->options.block_bytes = clamp_block_bytes(options->block_bytes);
    writer->compressor = (struct block_compressor){options->compression, options->zstd_level, NULL};
    writer->properties.time_min = options->time_min;
    writer->properties.time_max = options->time_max;
    writer->path = mem_text(options->path);
    if (!writer->path)
        return fail_no_memory(strlen(options->path) + 1);
    writer->options.path = writer->path;
    status = stream_init(&writer->data, BLOCK_DATA);
    if (status == HELIOS_OK)
        status = stream_init(&writer->history, BLOCK_HISTORY);
    if (status == HELIOS_OK && options->filter_bits_per_key > 0)
        status = filter_builder_new(options->filter_bits_per_key, &writer->filter);
    if (status == HELIOS_OK)
        status = buf_reserve(&writer->out, OUT_BYTES);
    return status;
}

helios_status table_writer_new(const struct table_writer_options *options, struct table_writer **writer_out)
{
    struct table_writer *writer = mem_zalloc(sizeof(*writer));
    helios_status status;

    if (!writer)
        return fail_no_memory(sizeof(*writer));
    status = writer_init(writer, options);
    if (status != HELIOS_OK)
        goto out;
    /* Numbers are never reused: a file that is there already is somebody's. */
    status = io_open(options->fs, writer->path, IO_WRITE | IO_CREATE | IO_EXCLUSIVE, &writer->file);
    if (status != HELIOS_OK)
        goto out;
    status = emit_header(writer);
    if (status != HELIOS_OK)
        goto out;
    *writer_out = writer;
    writer = NULL;
out:
    table_writer_free(writer);
    return status;
}

/* The sentence of what went wrong before outlives a failure to tidy up. */
static void remove_unfinished(struct table_writer *writer)
{
    struct error_note before = {0};

    error_keep(&before, HELIOS_IO);
    if (io_remove(writer->options.fs, writer->path) != HELIOS_OK)
        error_tell(&before);
}

void table_writer_free(struct table_writer *writer)
{
    if (!writer)
        return;
    if (writer->file) {
        io_close(writer->file);
        if (!writer->finished)
            remove_unfinished(writer);
    }
    stream_release(&writer->data);
    stream_release(&writer->history);
    filter_builder_free(writer->filter);
    rangedel_unref(writer->rangedel_set);
    block_compressor_release(&writer->compressor);
    helios_buf_free(&writer->out);
    helios_buf_free(&writer->first_key);
    helios_buf_free(&writer->rangedels);
    helios_buf_free(&writer->rangedel_from);
    helios_buf_free(&writer->rangedel_to);
    crypt_file_release(&writer->crypt);
    mem_free(writer->path);
    mem_free(writer);
}

/* ---- streams ---- */

/* A key s with last <= s < next, short: separators are what an index's memory goes into. Built in the
 * last key's own buffer, which is not needed any more. */
static helios_status shorten(helios_buf *last, helios_slice next)
{
    size_t common = slice_common(buf_slice(last), next);

    if (common == last->size)
        return HELIOS_OK; /* last begins next, or is equal to it: nothing shorter is as large */
    assert(common < next.size);
    if (next.size > common + 1)
        return buf_set(last, next.data, common + 1);
    if ((unsigned char)last->data[common] + 1 < slice_bytes(next)[common]) {
        last->data[common]++;
        last->size = common + 1;
    }
    return HELIOS_OK;
}

/* The written block gets its index entry. next: the first key behind it; NULL data: there is none. */
static helios_status stream_settle(struct block_stream *stream, helios_slice next)
{
    helios_status status = HELIOS_OK;

    if (!stream->pending)
        return HELIOS_OK;
    if (next.data)
        status = shorten(&stream->last_key, next);
    if (status == HELIOS_OK)
        status = index_builder_add(&stream->index, buf_slice(&stream->last_key), &stream->written);
    if (status == HELIOS_OK)
        stream->pending = false;
    return status;
}

/* Seals the open block. last_tag: of its last entry. */
static helios_status stream_cut(struct table_writer *writer, struct block_stream *stream)
{
    struct block_builder *builder = stream->builder;
    helios_slice image, last_key = block_builder_last_key(builder);
    helios_status status = block_builder_finish(builder, &image);

    assert(!stream->pending);
    if (status == HELIOS_OK)
        status = emit(writer, image, stream->type, &stream->written.handle);
    if (status == HELIOS_OK)
        status = buf_set(&stream->last_key, last_key.data, last_key.size);
    if (status != HELIOS_OK)
        return status;
    stream->written.seq_max = block_builder_max_seq(builder);
    stream->written.last_tag = block_builder_last_tag(builder);
    stream->written.entries = block_builder_count(builder);
    stream->written.tombstones = stream->tombstones;
    stream->pending = true;
    stream->bytes += handle_bytes(&stream->written.handle);
    stream->tombstones = 0;
    block_builder_reset(builder);
    return HELIOS_OK;
}

/* A block is as large as two of its keys at least: each block costs a key in the index, and the versions of one
 * long key, a block each, would make an index as large as the table. */
static bool stream_full(const struct table_writer *writer, const struct block_stream *stream, helios_slice key,
                        size_t value_size)
{
    size_t limit = writer->options.block_bytes > 2 * key.size ? writer->options.block_bytes : 2 * key.size;

    return block_builder_count(stream->builder) > 0 &&
           block_builder_estimate(stream->builder) + block_builder_cost(stream->builder, key, value_size) >
               limit;
}

static helios_status stream_add(struct table_writer *writer, struct block_stream *stream, helios_slice key,
                                uint64_t tag, uint8_t flags, helios_slice value)
{
    helios_status status = HELIOS_OK;

    if (stream_full(writer, stream, key, value.size))
        status = stream_cut(writer, stream);
    if (status == HELIOS_OK && stream->pending)
        status = stream_settle(stream, key);
    if (status != HELIOS_OK)
        return status;
    stream->tombstones += tag_kind(tag) == KIND_TOMBSTONE;
    return block_builder_add(stream->builder, key, tag_seq(tag), (uint8_t)(tag_kind(tag) | flags), value,
                             writer->key_hash);
}

/* ---- what the table says of itself ---- */

/* Layers come ascending with the keys, in any order with range deletes. */
static void note_layer(struct table_writer *writer, const void *layer)
{
    unsigned char *layers = writer->layers;
    uint32_t i = writer->layer_count;

    while (i > 0 && memcmp(layers + (i - 1) * KEY_LAYER_BYTES, layer, KEY_LAYER_BYTES) > 0)
        i--;
    if (i > 0 && memcmp(layers + (i - 1) * KEY_LAYER_BYTES, layer, KEY_LAYER_BYTES) == 0)
        return;
    if (writer->layer_count == TABLE_LAYERS_MAX) {
        writer->layers_many = true;
        return;
    }
    memmove(layers + (i + 1) * KEY_LAYER_BYTES, layers + i * KEY_LAYER_BYTES,
            (writer->layer_count - i) * KEY_LAYER_BYTES);
    memcpy(layers + i * KEY_LAYER_BYTES, layer, KEY_LAYER_BYTES);
    writer->layer_count++;
}

/* Does [from, to) lie in the layer of from? `to` may be the very next layer with nothing behind it. */
static bool within_one_layer(const struct rangedel *item)
{
    const unsigned char *from = item->from.data, *to = item->to.data;
    uint64_t from_layer, to_layer;

    if (item->from.size < KEY_LAYER_BYTES || item->to.size < KEY_LAYER_BYTES)
        return false;
    from_layer = (uint64_t)get_u32_be(from) << 8 | from[4];
    to_layer = (uint64_t)get_u32_be(to) << 8 | to[4];
    return from_layer == to_layer || (from_layer + 1 == to_layer && item->to.size == KEY_LAYER_BYTES);
}

static void note_seq(struct table_properties *properties, helios_seq seq)
{
    if (properties->seq_min == 0 || seq < properties->seq_min)
        properties->seq_min = seq;
    if (seq > properties->seq_max)
        properties->seq_max = seq;
}

/* newer shadows something in this table; 0: nothing does. */
static void note_shadow(struct table_properties *properties, helios_seq newer)
{
    if (newer > 0 && (properties->shadow_min == 0 || newer < properties->shadow_min))
        properties->shadow_min = newer;
}

/* Range deletes that were added before this entry, as a set. */
static helios_status fresh_rangedel_set(struct table_writer *writer)
{
    struct rangedel_set *set;
    helios_status status;

    if (writer->rangedel_set_count == writer->properties.range_deletes)
        return HELIOS_OK;
    status = rangedels_decode(writer->rangedels.data, writer->rangedels.size, writer->path, 0, &set);
    if (status != HELIOS_OK)
        return status;
    rangedel_unref(writer->rangedel_set);
    writer->rangedel_set = set;
    writer->rangedel_set_count = writer->properties.range_deletes;
    return HELIOS_OK;
}

static helios_status note_first_key(struct table_writer *writer, helios_slice key)
{
    if (writer->properties.entries > 0)
        return HELIOS_OK;
    return buf_set(&writer->first_key, key.data, key.size);
}

static helios_status note_new_key(struct table_writer *writer, helios_slice key)
{
    helios_status status = note_first_key(writer, key);

    if (status != HELIOS_OK)
        return status;
    note_layer(writer, key.data);
    writer->properties.keys++;
    writer->key_hash = hash_key(key);
    return writer->filter ? filter_builder_add(writer->filter, writer->key_hash) : HELIOS_OK;
}

/* An older version of the key before. */
static void note_old_version(struct table_writer *writer, helios_seq seq)
{
    struct table_properties *properties = &writer->properties;

    if (seq > properties->history_seq_max)
        properties->history_seq_max = seq;
    note_shadow(properties, tag_seq(writer->last_tag));
    block_builder_mark_last(writer->data.builder, BLOCK_HAS_HISTORY);
}

static void note_entry(struct table_writer *writer, helios_slice key, uint64_t tag, size_t value_size)
{
    struct table_properties *properties = &writer->properties;

    properties->entries++;
    properties->tombstones += tag_kind(tag) == KIND_TOMBSTONE;
    properties->key_bytes += key.size;
    properties->value_bytes += value_size;
    note_seq(properties, tag_seq(tag));
    writer->last_tag = tag;
}

/* ---- adding ---- */

static helios_status add_large(struct table_writer *writer, helios_slice value,
                               unsigned char encoded[HANDLE_SIZE])
{
    struct block_handle handle;
    helios_status status = emit(writer, value, BLOCK_VALUE, &handle);

    if (status != HELIOS_OK)
        return status;
    writer->properties.value_block_bytes += handle_bytes(&handle);
    handle_put(encoded, &handle);
    return HELIOS_OK;
}

/* The last key stands in the data builder: its block is cut only when the next key comes. */
static bool is_new_key(const struct table_writer *writer, helios_slice key)
{
    return writer->properties.entries == 0 || !slice_equal(block_builder_last_key(writer->data.builder), key);
}

static helios_status add_entry(struct table_writer *writer, helios_slice key, uint64_t tag, helios_slice value)
{
    unsigned char handle[HANDLE_SIZE];
    size_t value_size = value.size;
    bool new_key = is_new_key(writer, key);
    uint8_t flags = 0;
    helios_status status = HELIOS_OK;

    if (new_key)
        status = note_new_key(writer, key);
    else
        note_old_version(writer, tag_seq(tag));
    if (status == HELIOS_OK && writer->properties.range_deletes > 0) {
        status = fresh_rangedel_set(writer);
        if (status == HELIOS_OK)
            note_shadow(&writer->properties, rangedel_next_above(writer->rangedel_set, key, tag_seq(tag)));
    }
    if (status == HELIOS_OK && value.size > LARGE_VALUE_BYTES) {
        status = add_large(writer, value, handle);
        value = slice_make(handle, HANDLE_SIZE);
        flags = BLOCK_LARGE;
    }
    if (status == HELIOS_OK)
        status = stream_add(writer, new_key ? &writer->data : &writer->history, key, tag, flags, value);
    if (status == HELIOS_OK)
        note_entry(writer, key, tag, value_size);
    return status;
}

static helios_status keep(struct table_writer *writer, helios_status status)
{
    if (status != HELIOS_OK)
        error_keep(&writer->error, status);
    return status;
}

helios_status table_writer_add(struct table_writer *writer, helios_slice key, uint64_t tag, helios_slice value)
{
    assert(!writer->finished);
    assert(key.size >= KEY_LAYER_BYTES);
    assert(key.size <= KEY_BYTES_MAX);
    assert(value.size <= VALUE_BYTES_MAX);
    assert(tag_kind(tag) == KIND_VALUE || tag_kind(tag) == KIND_TOMBSTONE);
    assert(writer->error.status != HELIOS_OK || writer->properties.entries == 0 ||
           key_compare(block_builder_last_key(writer->data.builder), writer->last_tag, key, tag) < 0);
    if (writer->error.status != HELIOS_OK)
        return error_tell(&writer->error);
    return keep(writer, add_entry(writer, key, tag, value));
}

static helios_status widen(struct table_writer *writer, const struct rangedel *item)
{
    bool first = writer->properties.range_deletes == 0;
    helios_status status = HELIOS_OK;

    if (first || slice_compare(item->from, buf_slice(&writer->rangedel_from)) < 0)
        status = buf_set(&writer->rangedel_from, item->from.data, item->from.size);
    if (status == HELIOS_OK && (first || slice_compare(item->to, buf_slice(&writer->rangedel_to)) > 0))
        status = buf_set(&writer->rangedel_to, item->to.data, item->to.size);
    return status;
}

helios_status table_writer_add_rangedel(struct table_writer *writer, const struct rangedel *item)
{
    helios_status status;

    assert(!writer->finished);
    assert(slice_compare(item->from, item->to) < 0);
    assert(item->seq > 0);
    assert(item->seq <= SEQ_MAX);
    if (writer->error.status != HELIOS_OK)
        return error_tell(&writer->error);
    status = rangedels_append(&writer->rangedels, item);
    if (status == HELIOS_OK)
        status = widen(writer, item);
    if (status != HELIOS_OK)
        return keep(writer, status);
    if (within_one_layer(item))
        note_layer(writer, item->from.data);
    else
        writer->layers_many = true;
    note_seq(&writer->properties, item->seq);
    writer->properties.range_deletes++;
    return HELIOS_OK;
}

uint64_t table_writer_size(const struct table_writer *writer)
{
    return position(writer) + block_builder_estimate(writer->data.builder) +
           block_builder_estimate(writer->history.builder) + index_builder_bytes(&writer->data.index) +
           index_builder_bytes(&writer->history.index) +
           (writer->filter ? filter_builder_estimate(writer->filter) : 0) + writer->rangedels.size + TAIL_BYTES;
}

uint64_t table_writer_entries(const struct table_writer *writer)
{
    return writer->properties.entries;
}

/* ---- finishing ---- */

static helios_status finish_stream(struct table_writer *writer, struct block_stream *stream)
{
    helios_status status = HELIOS_OK;

    if (block_builder_count(stream->builder) > 0)
        status = stream_cut(writer, stream);
    if (status == HELIOS_OK)
        status = stream_settle(stream, (helios_slice){0});
    return status;
}

static helios_status emit_index(struct table_writer *writer, helios_slice image, enum block_type type,
                                struct block_handle *handle)
{
    helios_status status = emit(writer, image, type, handle);

    if (status == HELIOS_OK)
        writer->properties.index_bytes += handle_bytes(handle);
    return status;
}

/* The partitions of the data index; their entries go into top. */
static helios_status emit_partitions(struct table_writer *writer, struct index_builder *top)
{
    const struct index_builder *index = &writer->data.index;
    helios_buf image = {0};
    helios_status status = HELIOS_OK;

    for (uint32_t from = 0, count; from < index->count && status == HELIOS_OK; from += count) {
        struct index_entry entry;
        helios_slice separator;

        count = index_builder_fit(index, from, INDEX_PARTITION_BYTES);
        status = index_builder_encode(index, from, count, &image, &entry, &separator);
        if (status == HELIOS_OK)
            status = emit_index(writer, buf_slice(&image), BLOCK_INDEX, &entry.handle);
        if (status == HELIOS_OK)
            status = index_builder_add(top, separator, &entry);
    }
    helios_buf_free(&image);
    return status;
}

static helios_status emit_whole_index(struct table_writer *writer, const struct index_builder *index,
                                      enum block_type type, struct block_handle *handle)
{
    helios_buf image = {0};
    helios_status status;

    if (index->count == 0)
        return HELIOS_OK;
    status = index_builder_encode(index, 0, index->count, &image, NULL, NULL);
    if (status == HELIOS_OK)
        status = emit_index(writer, buf_slice(&image), type, handle);
    helios_buf_free(&image);
    return status;
}

static helios_status emit_filter(struct table_writer *writer, struct block_handle *handle)
{
    struct block_compressor plain = {HELIOS_COMPRESSION_NONE, 0, NULL}; /* random bits */
    helios_buf image = {0};
    helios_status status;

    if (!writer->filter || writer->properties.keys == 0)
        return HELIOS_OK;
    status = filter_builder_finish(writer->filter, &image);
    if (status == HELIOS_OK)
        status = emit_with(writer, &plain, buf_slice(&image), BLOCK_FILTER, handle);
    if (status == HELIOS_OK)
        writer->properties.filter_bytes = handle_bytes(handle);
    helios_buf_free(&image);
    return status;
}

static helios_status emit_rangedels(struct table_writer *writer, struct block_handle *handle)
{
    if (writer->properties.range_deletes == 0)
        return HELIOS_OK;
    if (writer->rangedels.size > BLOCK_IMAGE_MAX)
        return fail(HELIOS_LIMIT, "%s: %zu bytes of range deletes, %u is the limit", writer->path,
                    writer->rangedels.size, (unsigned)BLOCK_IMAGE_MAX);
    return emit(writer, buf_slice(&writer->rangedels), BLOCK_RANGE_DELETES, handle);
}

/* Bounds of the entries, widened by the range deletes. */
static void summarize(struct table_writer *writer, struct table_summary *summary)
{
    bool entries = writer->properties.entries > 0, rangedels = writer->properties.range_deletes > 0;
    helios_slice from = buf_slice(&writer->rangedel_from), to = buf_slice(&writer->rangedel_to);

    writer->properties.data_bytes = writer->data.bytes;
    writer->properties.history_bytes = writer->history.bytes;
    *summary = (struct table_summary){.properties = writer->properties, .layers_many = writer->layers_many};
    if (!writer->layers_many) {
        summary->layers = writer->layers;
        summary->layer_count = writer->layer_count;
    }
    if (entries) {
        summary->smallest = buf_slice(&writer->first_key);
        summary->largest = buf_slice(&writer->data.last_key);
    }
    if (rangedels && (!entries || slice_compare(from, summary->smallest) < 0))
        summary->smallest = from;
    if (rangedels && (!entries || slice_compare(to, summary->largest) > 0)) {
        summary->largest = to;
        summary->largest_exclusive = true;
    }
}

static helios_status emit_properties(struct table_writer *writer, struct table_summary *summary,
                                     struct block_handle *handle)
{
    helios_buf image = {0};
    helios_status status;

    summarize(writer, summary);
    status = properties_encode(summary, &image);
    if (status == HELIOS_OK)
        status = emit(writer, buf_slice(&image), BLOCK_PROPERTIES, handle);
    helios_buf_free(&image);
    return status;
}

static helios_status emit_footer(struct table_writer *writer, const struct table_footer *footer)
{
    unsigned char bytes[TABLE_FOOTER_SIZE];

    helios_status status = footer_encode(footer, writer->salt, &writer->crypt, position(writer), bytes);

    if (status != HELIOS_OK)
        return status;
    return buf_append(&writer->out, bytes, sizeof(bytes));
}

static helios_status write_tail(struct table_writer *writer, struct index_builder *top,
                                struct table_summary *summary)
{
    struct table_footer footer = {0};
    helios_status status = finish_stream(writer, &writer->data);

    if (status == HELIOS_OK)
        status = finish_stream(writer, &writer->history);
    if (status == HELIOS_OK)
        status = emit_partitions(writer, top);
    if (status == HELIOS_OK)
        status = emit_filter(writer, &footer.filter);
    if (status == HELIOS_OK)
        status = emit_rangedels(writer, &footer.range_deletes);
    if (status == HELIOS_OK)
        status = emit_whole_index(writer, &writer->history.index, BLOCK_INDEX, &footer.history_index);
    if (status == HELIOS_OK)
        status = emit_whole_index(writer, top, BLOCK_INDEX_TOP, &footer.top_index);
    if (status == HELIOS_OK)
        status = emit_properties(writer, summary, &footer.properties);
    if (status == HELIOS_OK)
        status = emit_footer(writer, &footer);
    if (status == HELIOS_OK)
        status = write_out(writer);
    if (status == HELIOS_OK)
        status = io_sync(writer->file);
    return status;
}

static helios_status make_result(const struct table_writer *writer, const struct table_summary *summary,
                                 struct table_result *result)
{
    helios_slice smallest = summary->smallest, largest = summary->largest;
    char *memory = mem_alloc(smallest.size + largest.size);

    if (!memory)
        return fail_no_memory(smallest.size + largest.size);
    if (smallest.size)
        memcpy(memory, smallest.data, smallest.size);
    memcpy(memory + smallest.size, largest.data, largest.size);
    *result = (struct table_result){
        .number = writer->options.number,
        .size = writer->offset,
        .smallest = slice_make(memory, smallest.size),
        .largest = slice_make(memory + smallest.size, largest.size),
        .largest_exclusive = summary->largest_exclusive,
        .properties = summary->properties,
        .memory = memory,
    };
    return HELIOS_OK;
}

helios_status table_writer_finish(struct table_writer *writer, struct table_result *result)
{
    struct index_builder top = {0};
    struct table_summary summary;
    helios_status status;

    assert(!writer->finished);
    if (writer->error.status != HELIOS_OK)
        return error_tell(&writer->error);
    if (writer->properties.entries == 0 && writer->properties.range_deletes == 0)
        return keep(writer, fail(HELIOS_INVALID, "%s: a table with nothing in it", writer->path));
    status = write_tail(writer, &top, &summary);
    if (status == HELIOS_OK)
        status = make_result(writer, &summary, result);
    if (status == HELIOS_OK)
        writer->finished = true;
    index_builder_release(&top);
    return keep(writer, status);
}

void table_result_release(struct table_result *result)
{
    mem_free(result->memory);
    *result = (struct table_result){0};
}
