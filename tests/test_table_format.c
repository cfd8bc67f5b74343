/* test_table_format.c - footer, properties and range deletes of a table: round trips and damage. */
#undef NDEBUG
#include "base/buf.h"
#include "base/file_header.h"
#include "base/hash.h"
#include "base/mem.h"
#include "sstable/format.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { SALT = 99, OFFSET = 5000 };

/* ---- footer ---- */

static const struct table_footer footer = {
    {1000, 80, 80}, {1100, 10, 10}, {0, 0, 0}, {1200, 100, 200}, {1400, 50, 50},
};

static void test_footer(void)
{
    unsigned char bytes[TABLE_FOOTER_SIZE];
    struct table_footer back;

    assert(footer_encode(&footer, SALT, NULL, OFFSET, bytes) == HELIOS_OK);
    assert(footer_decode(bytes, SALT, NULL, OFFSET, "t", &back) == HELIOS_OK);
    assert(memcmp(&back, &footer, sizeof(back)) == 0);
    assert(handle_is_none(&back.history_index) && !handle_is_none(&back.filter));
    assert(footer_decode(bytes, SALT + 1, NULL, OFFSET, "t", &back) == HELIOS_CORRUPT);
    assert(footer_decode(bytes, SALT, NULL, OFFSET + 1, "t", &back) == HELIOS_CORRUPT);
    for (int at = 0; at < TABLE_FOOTER_SIZE; at++)
        for (int flip = 1; flip < 256; flip++) {
            bytes[at] ^= (unsigned char)flip;
            assert(footer_decode(bytes, SALT, NULL, OFFSET, "t", &back) == HELIOS_CORRUPT);
            bytes[at] ^= (unsigned char)flip;
        }
}

/* Changes below a right checksum. */
static void test_footer_refusals(void)
{
    static const struct {
        const char *name;
        int at;
        uint32_t value;
        helios_status status;
    } cases[] = {
        {"newer", FOOTER_VERSION, 2, HELIOS_UNSUPPORTED},
        {"zeros set", FOOTER_ZERO, 1, HELIOS_CORRUPT},
        {"zeros set at the end", FOOTER_XXH3 - 4, 1, HELIOS_CORRUPT},
        {"a block beyond the footer", FOOTER_TOP_INDEX, OFFSET - 100, HELIOS_CORRUPT},
        {"a block in the header", FOOTER_FILTER, 10, HELIOS_CORRUPT},
        {"no properties", FOOTER_PROPERTIES, 0, HELIOS_CORRUPT},
        {"half a handle", FOOTER_HISTORY_INDEX, 200, HELIOS_CORRUPT},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned char bytes[TABLE_FOOTER_SIZE];
        struct table_footer back;

        assert(footer_encode(&footer, SALT, NULL, OFFSET, bytes) == HELIOS_OK);
        put_u32(bytes + cases[i].at, cases[i].value);
        put_u64(bytes + FOOTER_XXH3, checksum(bytes, FOOTER_XXH3, SALT, OFFSET));
        if (footer_decode(bytes, SALT, NULL, OFFSET, "t", &back) != cases[i].status) {
            printf("%s\n", cases[i].name);
            assert(!"as expected");
        }
    }
}

/* ---- properties ---- */

static const unsigned char layers[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0};

static struct table_summary example(void)
{
    struct table_summary summary = {
        .properties = {.entries = 100,
                       .keys = 90,
                       .tombstones = 3,
                       .range_deletes = 1,
                       .key_bytes = 2000,
                       .value_bytes = 9000,
                       .data_bytes = 4000,
                       .seq_min = 5,
                       .seq_max = 900,
                       .time_min = 1700000000000000,
                       .time_max = 1700000001000000,
                       .history_seq_max = 800,
                       .shadow_min = 7},
        .smallest = slice_text("00000aaa"),
        .largest = slice_text("00000zzz"),
        .largest_exclusive = true,
        .layer_count = 3,
        .layers = layers,
    };

    return summary;
}

static void test_properties(void)
{
    struct table_summary summary = example(), back;
    helios_buf image = {0};
    unsigned accepted = 0;

    assert(properties_encode(&summary, &image) == HELIOS_OK);
    assert(properties_decode(image.data, image.size, "t", 0, &back) == HELIOS_OK);
    assert(memcmp(&back.properties, &summary.properties, sizeof(back.properties)) == 0);
    assert(slice_equal(back.smallest, summary.smallest) && slice_equal(back.largest, summary.largest));
    assert(back.largest_exclusive && !back.layers_many && back.layer_count == 3);
    assert(memcmp(back.layers, layers, sizeof(layers)) == 0);
    assert(table_summary_has_layer(&back, slice_make("\0\0\0\0\1key", 8)));
    assert(table_summary_has_layer(&back, slice_make("\0\0\0\0\0", 5)));
    assert(table_summary_has_layer(&back, slice_make("\0\0\0\2\0", 5)));
    assert(!table_summary_has_layer(&back, slice_make("\0\0\0\1\0key", 8)));
    assert(!table_summary_has_layer(&back, slice_make("\0\0\0\2\1key", 8)));
    for (size_t size = 0; size < image.size; size++) {
        void *copy = mem_copy(image.data, size);

        assert(properties_decode(copy, size, "t", 0, &back) == HELIOS_CORRUPT);
        mem_free(copy);
    }
    for (size_t at = 0; at < image.size; at++)
        for (int flip = 1; flip < 256; flip++) {
            char *copy = mem_copy(image.data, image.size);

            copy[at] ^= (char)flip;
            accepted += properties_decode(copy, image.size, "t", 0, &back) == HELIOS_OK;
            mem_free(copy);
        }
    assert(accepted < image.size * 255 / 2);
    helios_buf_free(&image);
}

static void test_properties_of_later_writers(void)
{
    struct table_summary summary = example(), back;
    helios_buf image = {0}, longer = {0};
    unsigned char item[] = {100, 3, 'n', 'e', 'w'}, disorder[] = {36, 1, 0};

    assert(properties_encode(&summary, &image) == HELIOS_OK);
    assert(buf_append(&longer, image.data, image.size) == HELIOS_OK);
    assert(buf_append(&longer, item, sizeof(item)) == HELIOS_OK);
    assert(properties_decode(longer.data, longer.size, "t", 0, &back) == HELIOS_OK);
    assert(back.properties.entries == 100);
    assert(buf_append(&longer, disorder, sizeof(disorder)) == HELIOS_OK);
    assert(properties_decode(longer.data, longer.size, "t", 0, &back) == HELIOS_CORRUPT);
    helios_buf_free(&image);
    helios_buf_free(&longer);
}

static void test_impossible_properties(void)
{
    for (int c = 0; c < 9; c++) {
        struct table_summary summary = example(), back;
        helios_buf image = {0};

        switch (c) {
        case 0: summary.properties.entries = summary.properties.range_deletes = 0; break;
        case 1: summary.properties.keys = 101; break;
        case 2: summary.properties.seq_min = 0; break;
        case 3: summary.properties.seq_max = 4; break;
        case 4: summary.properties.seq_max = SEQ_MAX + 1; break;
        case 5: summary.properties.history_seq_max = 901; break;
        case 6: summary.largest = slice_text("00000aa"); break;
        case 7: summary.layer_count = 0; break;
        case 8: summary.properties.tombstones = 101; break;
        }
        assert(properties_encode(&summary, &image) == HELIOS_OK);
        assert(properties_decode(image.data, image.size, "t", 0, &back) == HELIOS_CORRUPT);
        helios_buf_free(&image);
    }
}

/* ---- range deletes ---- */

static void test_rangedels(void)
{
    static const struct rangedel items[] = {
        {{"b", 1}, {"d", 1}, 7},
        {{"a", 1}, {"c", 1}, 300},
        {{"", 0}, {"a", 1}, SEQ_MAX},
    };
    helios_buf image = {0};
    struct rangedel_set *set;

    for (int i = 0; i < 3; i++)
        assert(rangedels_append(&image, &items[i]) == HELIOS_OK);
    assert(rangedels_decode(image.data, image.size, "t", 0, &set) == HELIOS_OK);
    assert(rangedel_newest(set, slice_text("b"), SEQ_MAX) == 300);
    assert(rangedel_newest(set, slice_text("b"), 299) == 7);
    assert(rangedel_newest(set, slice_text("c"), SEQ_MAX) == 7);
    assert(rangedel_newest(set, slice_text("Z"), SEQ_MAX) == SEQ_MAX);
    assert(rangedel_newest(set, slice_text("d"), SEQ_MAX) == 0);
    rangedel_unref(set);
    for (size_t size = 0; size < image.size; size++) {
        void *copy = mem_copy(image.data, size);

        assert(rangedels_decode(copy, size, "t", 0, &set) == HELIOS_CORRUPT);
        mem_free(copy);
    }
    for (size_t at = 0; at < image.size; at++)
        for (int flip = 1; flip < 256; flip++) {
            char *copy = mem_copy(image.data, image.size);

            copy[at] ^= (char)flip;
            if (rangedels_decode(copy, image.size, "t", 0, &set) == HELIOS_OK)
                rangedel_unref(set);
            mem_free(copy);
        }
    helios_buf_free(&image);
}

int main(void)
{
    test_footer();
    test_footer_refusals();
    test_properties();
    test_properties_of_later_writers();
    test_impossible_properties();
    test_rangedels();
    return 0;
}
