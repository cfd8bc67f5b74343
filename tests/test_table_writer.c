/* test_table_writer.c - tables as written: every byte is accounted for by blocks, indexes and footer, and
 * every entry stands where a reader will look for it. Failures leave no file behind. */
#undef NDEBUG
#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"
#include "sstable/filter.h"
#include "sstable/index.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { ENTRIES_MAX = 30000, RANGEDELS_MAX = 20 };

struct entry {
    char key[40];
    uint32_t key_size;
    uint32_t value_size;
    uint64_t tag;
};
static struct entry *entries;
static uint32_t entry_count;
static struct rangedel rangedels[RANGEDELS_MAX];
static char rangedel_keys[RANGEDELS_MAX][2][40];
static uint32_t rangedel_count;

static helios_slice key_of(uint32_t i)
{
    return slice_make(entries[i].key, entries[i].key_size);
}
static bool newest(uint32_t i)
{
    return i == 0 || !slice_equal(key_of(i - 1), key_of(i));
}
static bool has_older(uint32_t i)
{
    return i + 1 < entry_count && slice_equal(key_of(i + 1), key_of(i));
}

/* The value is told by key and tag. */
static helios_slice value_of(uint32_t i, char *out)
{
    uint64_t seed = entries[i].tag ^ hash_key(key_of(i));

    for (uint32_t k = 0; k < entries[i].value_size; k++)
        out[k] = (char)(seed >> (k / 4 % 8 * 8));
    return slice_make(out, entries[i].value_size);
}
static char *value_room;

static int compare(const void *a, const void *b)
{
    const struct entry *one = a, *two = b;

    return key_compare(slice_make(one->key, one->key_size), one->tag, slice_make(two->key, two->key_size),
                       two->tag);
}

/* ---- what is written ---- */

struct plan {
    const char *name;
    uint32_t entries, keys, branches;
    uint32_t value_size; /* up to */
    uint32_t large_of;   /* one in so many is large; 0: none */
    uint32_t rangedels;
    uint32_t block_bytes;
    helios_compression compression;
    double filter_bits;
};

static uint32_t make_key(struct random *r, const struct plan *plan, char *out)
{
    uint64_t number = random_below(r, plan->keys);

    key_put_layer(out, (helios_branch_id)(hash_bytes(&number, 8) % plan->branches), 0);
    return 5 + (uint32_t)sprintf(out + 5, "user:%llu", (unsigned long long)(number * 7919));
}

static void make_entries(struct random *r, const struct plan *plan)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < plan->entries; i++) {
        struct entry *e = &entries[i];
        bool tombstone = random_below(r, 10) == 0;

        e->key_size = make_key(r, plan, e->key);
        e->tag = tag_make(1 + random_below(r, 1u << 20), tombstone ? KIND_TOMBSTONE : KIND_VALUE);
        e->value_size = tombstone ? 0 : (uint32_t)random_below(r, plan->value_size + 1);
        if (plan->large_of && !tombstone && random_below(r, plan->large_of) == 0)
            e->value_size = LARGE_VALUE_BYTES + 1 + (uint32_t)random_below(r, 200000);
    }
    qsort(entries, plan->entries, sizeof(entries[0]), compare);
    for (uint32_t i = 0; i < plan->entries; i++)
        if (kept == 0 || compare(&entries[kept - 1], &entries[i]) != 0)
            if (kept == 0 || tag_seq(entries[kept - 1].tag) != tag_seq(entries[i].tag) ||
                !slice_equal(key_of(kept - 1), key_of(i)))
                entries[kept++] = entries[i];
    entry_count = kept;
}

static void make_rangedels(struct random *r, const struct plan *plan)
{
    rangedel_count = 0;
    while (rangedel_count < plan->rangedels) {
        struct rangedel *item = &rangedels[rangedel_count];
        char *from = rangedel_keys[rangedel_count][0], *to = rangedel_keys[rangedel_count][1];

        item->from = slice_make(from, make_key(r, plan, from));
        item->to = slice_make(to, make_key(r, plan, to));
        memcpy(to, from, KEY_LAYER_BYTES);
        item->seq = 1 + random_below(r, 1u << 20);
        if (slice_compare(item->from, item->to) < 0)
            rangedel_count++;
    }
}

static uint64_t paced, paced_max;
static void pace(void *arg, size_t bytes)
{
    paced += bytes;
    if (bytes > paced_max)
        paced_max = bytes;
}

static helios_status write_table(struct io_fs *fs, const struct plan *plan, struct table_result *result)
{
    struct table_writer_options options = {
        .fs = fs,
        .path = "t.sst",
        .number = 7,
        .block_bytes = plan->block_bytes,
        .filter_bits_per_key = plan->filter_bits,
        .compression = plan->compression,
        .time_min = 11,
        .time_max = 12,
        .pace = pace,
    };
    struct table_writer *writer = NULL;
    helios_status status = table_writer_new(&options, &writer);

    paced = paced_max = 0;
    for (uint32_t i = 0; i < rangedel_count && status == HELIOS_OK; i++)
        status = table_writer_add_rangedel(writer, &rangedels[i]);
    for (uint32_t i = 0; i < entry_count && status == HELIOS_OK; i++)
        status = table_writer_add(writer, key_of(i), entries[i].tag, value_of(i, value_room));
    if (status == HELIOS_OK) {
        uint64_t estimate = table_writer_size(writer);

        assert(table_writer_entries(writer) == entry_count);
        status = table_writer_finish(writer, result);
        if (status == HELIOS_OK)
            assert(estimate < result->size + result->size / 4 + 200000 &&
                   estimate + estimate / 4 + 200000 > result->size);
    }
    if (status != HELIOS_OK && writer) { /* and again, with the same sentence */
        char said[ERROR_TEXT_BYTES];

        snprintf(said, sizeof(said), "%s", helios_last_error());
        assert(table_writer_finish(writer, result) == status);
        assert(strcmp(said, helios_last_error()) == 0);
    }
    table_writer_free(writer);
    return status;
}

/* ---- what is read ---- */

struct reading {
    struct io_file *file;
    uint64_t size, salt;
    struct table_footer footer;
    struct table_summary summary;
    void *properties;
    struct filter filter;
    void *filter_image;
    uint64_t bytes[BLOCK_VALUE + 1]; /* seen by type, with trailers */
    uint32_t next_data;              /* entries seen so far */
    uint32_t next_history;
};

static void *read_block(struct reading *r, const struct block_handle *handle, enum block_type type)
{
    void *image = NULL;

    assert(block_read(r->file, r->size, r->salt, NULL, handle, type, &image) == HELIOS_OK);
    r->bytes[type] += handle_bytes(handle);
    return image;
}

static uint32_t advance(uint32_t i, bool data)
{
    while (i < entry_count && newest(i) != data)
        i++;
    return i;
}

static void check_large(struct reading *r, uint32_t i, helios_slice value)
{
    struct block_handle handle = handle_get(value.data);
    helios_buf large = {0};

    assert(value.size == HANDLE_SIZE);
    assert(block_read_buf(r->file, r->size, r->salt, NULL, &handle, BLOCK_VALUE, &large) == HELIOS_OK);
    assert(slice_equal(buf_slice(&large), value_of(i, value_room)));
    r->bytes[BLOCK_VALUE] += handle_bytes(&handle);
    helios_buf_free(&large);
}

static void check_block_entry(struct reading *r, const struct block *b, uint32_t at, uint32_t i, bool data)
{
    uint8_t kind = block_kind_bits(b, at);
    char key[64];

    assert(i < entry_count);
    memcpy(key, b->shared, b->shared_size);
    memcpy(key + b->shared_size, block_suffix(b, at).data, block_suffix(b, at).size);
    assert(slice_equal(slice_make(key, b->shared_size + block_suffix(b, at).size), key_of(i)));
    assert(block_tag(b, at) == entries[i].tag);
    assert(!!(kind & BLOCK_HAS_HISTORY) == (data && has_older(i)));
    assert(!!(kind & BLOCK_LARGE) == (entries[i].value_size > LARGE_VALUE_BYTES));
    if (kind & BLOCK_LARGE)
        check_large(r, i, block_value(b, at));
    else
        assert(slice_equal(block_value(b, at), value_of(i, value_room)));
    if (data) {
        assert(block_find(b, key_of(i), hash_key(key_of(i))) == at);
        assert(filter_may_hold(&r->filter, hash_key(key_of(i))));
    }
}

/* The blocks of an index in order; the entries must be the next ones of their kind. */
static void check_blocks(struct reading *r, const struct index *index, bool data)
{
    for (uint32_t i = 0; i < index->count; i++) {
        struct block_handle handle = index_handle(index, i);
        void *image = read_block(r, &handle, data ? BLOCK_DATA : BLOCK_HISTORY);
        uint32_t *next = data ? &r->next_data : &r->next_history, last = 0;
        helios_seq seq_max = 0;
        uint32_t tombstones = 0;
        struct block b;

        assert(block_open(image, handle.size, !data, "t", handle.offset, &b) == HELIOS_OK);
        assert(b.count == index_entries(index, i));
        for (uint32_t k = 0; k < b.count; k++) {
            *next = advance(*next, data);
            last = *next;
            check_block_entry(r, &b, k, last, data);
            assert(data ? index_find(index, key_of(last)) == i
                        : index_find_tag(index, key_of(last), entries[last].tag) == i);
            seq_max = block_seq(&b, k) > seq_max ? block_seq(&b, k) : seq_max;
            tombstones += tag_kind(entries[last].tag) == KIND_TOMBSTONE;
            ++*next;
        }
        assert(seq_max == index_seq_max(index, i) && tombstones == index_tombstones(index, i));
        assert(index_last_tag(index, i) == entries[last].tag);
        assert(slice_compare(key_of(last), index_key(index, i)) <= 0);
        mem_free(image);
    }
}

static void check_data(struct reading *r, const struct plan *plan)
{
    struct index top;
    void *top_image;

    if (handle_is_none(&r->footer.top_index)) {
        assert(entry_count == 0);
        return;
    }
    top_image = read_block(r, &r->footer.top_index, BLOCK_INDEX_TOP);
    assert(index_open(top_image, r->footer.top_index.size, "t", 0, &top) == HELIOS_OK);
    for (uint32_t p = 0; p < top.count; p++) {
        struct block_handle handle = index_handle(&top, p);
        void *image = read_block(r, &handle, BLOCK_INDEX);
        uint32_t before = r->next_data;
        struct index partition;

        assert(index_open(image, handle.size, "t", 0, &partition) == HELIOS_OK);
        assert(handle.size <= INDEX_PARTITION_BYTES);
        assert(slice_equal(index_key(&top, p), index_key(&partition, partition.count - 1)));
        check_blocks(r, &partition, true);
        for (uint32_t i = advance(before, true); i < r->next_data; i = advance(i + 1, true))
            assert(index_find(&top, key_of(i)) == p);
        index_release(&partition);
        mem_free(image);
    }
    assert(advance(r->next_data, true) == entry_count);
    if (plan->block_bytes < 1024 && entry_count > 20000)
        assert(top.count > 1);
    index_release(&top);
    mem_free(top_image);
}

static void check_history(struct reading *r)
{
    struct index index;
    void *image;

    if (!handle_is_none(&r->footer.history_index)) {
        image = read_block(r, &r->footer.history_index, BLOCK_INDEX);
        assert(index_open(image, r->footer.history_index.size, "t", 0, &index) == HELIOS_OK);
        check_blocks(r, &index, false);
        index_release(&index);
        mem_free(image);
    }
    assert(advance(r->next_history, false) == entry_count);
}

static void check_rangedels(struct reading *r, struct rangedel_set **set)
{
    void *image;

    *set = NULL;
    assert(handle_is_none(&r->footer.range_deletes) == (rangedel_count == 0));
    if (rangedel_count == 0)
        return;
    image = read_block(r, &r->footer.range_deletes, BLOCK_RANGE_DELETES);
    assert(rangedels_decode(image, r->footer.range_deletes.size, "t", 0, set) == HELIOS_OK);
    for (uint32_t i = 0; i < rangedel_count; i++)
        assert(rangedel_newest(*set, rangedels[i].from, rangedels[i].seq) == rangedels[i].seq);
    mem_free(image);
}

/* The properties by their definitions, too simple to be wrong. */
static struct table_properties expected_properties(const struct reading *r, const struct rangedel_set *set)
{
    struct table_properties p = {
        .entries = entry_count,
        .range_deletes = rangedel_count,
        .time_min = 11,
        .time_max = 12,
        .data_bytes = r->bytes[BLOCK_DATA],
        .history_bytes = r->bytes[BLOCK_HISTORY],
        .index_bytes = r->bytes[BLOCK_INDEX] + r->bytes[BLOCK_INDEX_TOP],
        .filter_bytes = r->bytes[BLOCK_FILTER],
        .value_block_bytes = r->bytes[BLOCK_VALUE],
        .seq_min = UINT64_MAX,
        .shadow_min = UINT64_MAX,
    };

    for (uint32_t i = 0; i < entry_count; i++) {
        helios_seq seq = tag_seq(entries[i].tag), above = rangedel_next_above(set, key_of(i), seq);

        p.keys += newest(i);
        p.tombstones += tag_kind(entries[i].tag) == KIND_TOMBSTONE;
        p.key_bytes += entries[i].key_size;
        p.value_bytes += entries[i].value_size;
        p.seq_min = seq < p.seq_min ? seq : p.seq_min;
        p.seq_max = seq > p.seq_max ? seq : p.seq_max;
        if (!newest(i) && seq > p.history_seq_max)
            p.history_seq_max = seq;
        if (!newest(i) && tag_seq(entries[i - 1].tag) < p.shadow_min)
            p.shadow_min = tag_seq(entries[i - 1].tag);
        if (above && above < p.shadow_min)
            p.shadow_min = above;
    }
    for (uint32_t i = 0; i < rangedel_count; i++) {
        p.seq_min = rangedels[i].seq < p.seq_min ? rangedels[i].seq : p.seq_min;
        p.seq_max = rangedels[i].seq > p.seq_max ? rangedels[i].seq : p.seq_max;
    }
    if (p.shadow_min == UINT64_MAX)
        p.shadow_min = 0;
    return p;
}

static void check_bounds(helios_slice smallest, helios_slice largest, bool exclusive)
{
    helios_slice low = entry_count ? key_of(0) : rangedels[0].from;
    helios_slice high = entry_count ? key_of(entry_count - 1) : rangedels[0].to;
    bool widened = entry_count == 0;

    for (uint32_t i = 0; i < rangedel_count; i++) {
        if (slice_compare(rangedels[i].from, low) < 0)
            low = rangedels[i].from;
        if (slice_compare(rangedels[i].to, high) > 0) {
            high = rangedels[i].to;
            widened = true;
        }
    }
    assert(slice_equal(smallest, low) && slice_equal(largest, high) && exclusive == widened);
}

static void check_layers(const struct table_summary *summary, const struct plan *plan)
{
    assert(summary->layers_many == (plan->branches > TABLE_LAYERS_MAX));
    for (uint32_t i = 0; i < entry_count; i++)
        assert(table_summary_has_layer(summary, key_of(i)));
    for (uint32_t i = 0; i < rangedel_count; i++)
        assert(table_summary_has_layer(summary, rangedels[i].from));
    if (!summary->layers_many)
        assert(summary->layer_count <= plan->branches &&
               !table_summary_has_layer(summary, slice_make("\0\0\0\0\7x", 6)));
}

static void open_reading(struct reading *r, struct io_fs *fs, uint64_t size)
{
    unsigned char head[FILE_HEADER_SIZE], foot[TABLE_FOOTER_SIZE];
    struct file_header header;

    *r = (struct reading){.size = size};
    assert(io_open(fs, "t.sst", IO_READ, &r->file) == HELIOS_OK);
    assert(io_size(r->file, &r->size) == HELIOS_OK && r->size == size);
    assert(io_read(r->file, 0, head, sizeof(head)) == HELIOS_OK);
    assert(file_header_decode(head, MAGIC_TABLE, "t", &header) == HELIOS_OK && header.number == 7);
    r->salt = header.salt;
    assert(io_read(r->file, size - TABLE_FOOTER_SIZE, foot, sizeof(foot)) == HELIOS_OK);
    assert(footer_decode(foot, r->salt, NULL, size - TABLE_FOOTER_SIZE, "t", &r->footer) == HELIOS_OK);
    r->properties = read_block(r, &r->footer.properties, BLOCK_PROPERTIES);
    assert(properties_decode(r->properties, r->footer.properties.size, "t", 0, &r->summary) == HELIOS_OK);
    if (!handle_is_none(&r->footer.filter)) {
        r->filter_image = read_block(r, &r->footer.filter, BLOCK_FILTER);
        assert((uintptr_t)r->filter_image % 64 == 0);
        assert(filter_open(r->filter_image, r->footer.filter.size, "t", 0, &r->filter) == HELIOS_OK);
    }
}

static void check_table(struct io_fs *fs, const struct plan *plan, const struct table_result *result)
{
    struct reading r;
    struct rangedel_set *set;
    struct table_properties expected;
    uint64_t covered = FILE_HEADER_SIZE + TABLE_FOOTER_SIZE;

    open_reading(&r, fs, result->size);
    assert(handle_is_none(&r.footer.filter) == (plan->filter_bits == 0 || entry_count == 0));
    check_data(&r, plan);
    check_history(&r);
    check_rangedels(&r, &set);
    expected = expected_properties(&r, set);
    assert(memcmp(&r.summary.properties, &expected, sizeof(expected)) == 0);
    assert(memcmp(&result->properties, &expected, sizeof(expected)) == 0);
    check_bounds(r.summary.smallest, r.summary.largest, r.summary.largest_exclusive);
    check_bounds(result->smallest, result->largest, result->largest_exclusive);
    check_layers(&r.summary, plan);
    for (int type = 0; type <= BLOCK_VALUE; type++)
        covered += r.bytes[type];
    assert(covered == result->size); /* every byte belongs to something that is checked */
    assert(paced == result->size && paced_max <= 1 << 20);
    rangedel_unref(set);
    mem_free(r.properties);
    mem_free(r.filter_image);
    io_close(r.file);
}

static const struct plan plans[] = {
    {"one entry", 1, 1, 1, 100, 0, 0, 4096, HELIOS_COMPRESSION_NONE, 14},
    {"one key, many versions", 3000, 1, 1, 100, 0, 0, 4096, HELIOS_COMPRESSION_LZ4, 14},
    {"current only", 5000, 100000000, 2, 100, 0, 0, 4096, HELIOS_COMPRESSION_LZ4, 14},
    {"history", 20000, 3000, 3, 100, 0, 0, 4096, HELIOS_COMPRESSION_LZ4, 14},
    {"history, zstd", 5000, 700, 3, 100, 0, 0, 16384, HELIOS_COMPRESSION_ZSTD, 10},
    {"partitions", 30000, 100000000, 1, 100, 0, 0, 512, HELIOS_COMPRESSION_NONE, 0},
    {"large values", 300, 100, 1, 1000, 10, 0, 4096, HELIOS_COMPRESSION_LZ4, 14},
    {"large values, plain", 300, 100, 1, 1000, 10, 2, 4096, HELIOS_COMPRESSION_NONE, 14},
    {"big values", 300, 200, 1, 200000, 0, 0, 4096, HELIOS_COMPRESSION_NONE, 14},
    {"range deletes", 5000, 1000, 3, 50, 0, 20, 4096, HELIOS_COMPRESSION_LZ4, 14},
    {"range deletes alone", 0, 1000, 3, 0, 0, 20, 4096, HELIOS_COMPRESSION_LZ4, 14},
    {"many branches", 5000, 100000, 100, 50, 0, 0, 4096, HELIOS_COMPRESSION_LZ4, 14},
    {"empty values", 5000, 100000, 1, 0, 0, 0, 4096, HELIOS_COMPRESSION_LZ4, 14},
};

static void test_plans(struct random *r)
{
    for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
        struct table_result result;
        struct io_fs *fs;

        printf("%s\n", plans[i].name);
        make_entries(r, &plans[i]);
        make_rangedels(r, &plans[i]);
        assert(io_memory_new(&fs) == HELIOS_OK);
        assert(write_table(fs, &plans[i], &result) == HELIOS_OK);
        check_table(fs, &plans[i], &result);
        table_result_release(&result);
        io_free(fs);
    }
}

static bool file_is_there(struct io_fs *fs)
{
    struct io_stat stat;

    return io_stat(fs, "t.sst", &stat) == HELIOS_OK;
}

static void test_nothing(void)
{
    static const struct plan plan = {"nothing", 0, 1, 1, 0, 0, 0, 4096, HELIOS_COMPRESSION_NONE, 14};
    struct table_result result;
    struct io_fs *fs;

    entry_count = rangedel_count = 0;
    assert(io_memory_new(&fs) == HELIOS_OK);
    assert(write_table(fs, &plan, &result) == HELIOS_INVALID);
    assert(!file_is_there(fs));
    io_free(fs);
}

/* A file of this number is there: it is not touched. */
static void test_existing(struct random *r)
{
    struct table_result result;
    struct io_fs *fs;
    uint64_t size;

    make_entries(r, &plans[0]);
    rangedel_count = 0;
    assert(io_memory_new(&fs) == HELIOS_OK);
    assert(write_table(fs, &plans[0], &result) == HELIOS_OK);
    assert(write_table(fs, &plans[0], &result) == HELIOS_EXISTS);
    assert(io_memory_bytes(fs, "t.sst", &size) && size == result.size);
    table_result_release(&result);
    io_free(fs);
}

/* A range delete over several layers: nobody may conclude that a layer is not there. */
static void test_wide_rangedel(void)
{
    static const struct {
        helios_slice from, to;
        bool many;
    } cases[] = {
        {{"\0\0\0\1\0a", 6}, {"\0\0\0\1\0b", 6}, false},  {{"\0\0\0\1\0", 5}, {"\0\0\0\1\1", 5}, false},
        {{"\0\0\0\1\377a", 6}, {"\0\0\0\2\0", 5}, false}, {{"\0\0\0\1\0", 5}, {"\0\0\0\1\1a", 6}, true},
        {{"\0\0\0\1\0", 5}, {"\0\0\0\2\0", 5}, true},     {{"\0\0\0\1\0", 5}, {"\1", 1}, true},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct plan plan = {"wide", 0, 1, cases[i].many ? 100 : 1, 0, 0, 1, 4096, HELIOS_COMPRESSION_NONE, 14};
        struct table_result result;
        struct io_fs *fs;

        entry_count = 0;
        rangedel_count = 1;
        rangedels[0] = (struct rangedel){cases[i].from, cases[i].to, 5};
        assert(io_memory_new(&fs) == HELIOS_OK);
        assert(write_table(fs, &plan, &result) == HELIOS_OK);
        check_table(fs, &plan, &result);
        table_result_release(&result);
        io_free(fs);
    }
}

/* ---- failures ---- */

static const struct plan small_plan = {"failures", 400, 100, 2, 6000, 0, 5, 4096, HELIOS_COMPRESSION_LZ4, 14};

static void test_no_memory(struct random *r)
{
    make_entries(r, &small_plan);
    make_rangedels(r, &small_plan);
    for (uint64_t n = 1;; n++) {
        struct table_result result;
        struct io_fs *fs;
        helios_status status;

        assert(io_memory_new(&fs) == HELIOS_OK);
        mem_fail_at(n, false);
        status = write_table(fs, &small_plan, &result);
        mem_fail_at(0, false);
        if (status == HELIOS_OK) {
            table_result_release(&result);
            io_free(fs);
            assert(n > 20);
            return;
        }
        assert(status == HELIOS_NO_MEMORY);
        assert(!file_is_there(fs));
        io_free(fs);
    }
}

static void test_io_failures(struct random *r)
{
    static const enum io_call calls[] = {IO_CALL_OPEN, IO_CALL_WRITE, IO_CALL_SYNC, IO_CALL_RANDOM};

    make_entries(r, &small_plan);
    make_rangedels(r, &small_plan);
    for (size_t c = 0; c < sizeof(calls) / sizeof(calls[0]); c++)
        for (uint64_t n = 1;; n++) {
            struct io_fault fault = {.fail_at = n, .mask = 1u << calls[c], .error_number = ENOSPC};
            struct table_result result;
            struct io_fs *fs;
            helios_status status;

            assert(io_faulty_new(1, &fs) == HELIOS_OK);
            io_faulty_plan(fs, &fault);
            status = write_table(fs, &small_plan, &result);
            io_faulty_plan(fs, NULL);
            if (status == HELIOS_OK) {
                table_result_release(&result);
                io_free(fs);
                assert(n > 1);
                break;
            }
            assert(status == HELIOS_NO_SPACE);
            assert(!file_is_there(fs));
            io_free(fs);
        }
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 12;
    struct random r;

    printf("seed %llu\n", (unsigned long long)seed);
    random_seed(&r, seed);
    entries = malloc(ENTRIES_MAX * sizeof(*entries));
    value_room = malloc(1 << 20);
    assert(entries && value_room);
    test_plans(&r);
    test_nothing();
    test_existing(&r);
    test_wide_rangedel();
    test_no_memory(&r);
    test_io_failures(&r);
    free(entries);
    free(value_room);
    return 0;
}
