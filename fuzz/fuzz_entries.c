/* fuzz_entries.c - the engine's own small values: entries of branches, merges, consumers, origins, the operations in a
 * log record's body, the tables it names, vector clocks. The first byte chooses. What a decoder lets through is read to
 * its end and, where there is an encoder, written and read again to the same. */
#undef NDEBUG
#include "branch/vector.h"
#include "engine/batch.h"
#include "engine/consumer_entries.h"
#include "engine/manifest.h"
#include "engine/origins.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_branch(helios_slice value)
{
    struct branch_record record = {.id = 1}, again = {.id = 1};
    helios_buf bytes = {0};

    if (!branch_record_decode(value, &record))
        return;
    assert(branch_record_encode(&bytes, &record) == HELIOS_OK);
    assert(branch_record_decode(buf_slice(&bytes), &again));
    assert(again.parent == record.parent && again.fork_seq == record.fork_seq && again.state == record.state);
    assert(slice_equal(again.name, record.name) && slice_equal(again.metadata, record.metadata));
    helios_buf_free(&bytes);
}

static void as_merge(helios_slice value)
{
    struct merge *merge = NULL, *again = NULL;
    helios_buf bytes = {0};

    if (merge_decode(value, &merge) != HELIOS_OK)
        return;
    assert(merge_encode(&bytes, merge) == HELIOS_OK);
    assert(merge_decode(buf_slice(&bytes), &again) == HELIOS_OK);
    assert(again->count == merge->count && again->source.seq == merge->source.seq &&
           again->has_base == merge->has_base);
    for (size_t i = 0; i < merge->count; i++)
        assert(again->raised[i].at.branch == merge->raised[i].at.branch &&
               again->raised[i].at.seq == merge->raised[i].at.seq);
    merge_free(merge);
    merge_free(again);
    helios_buf_free(&bytes);
}

static void as_consumer(helios_slice value)
{
    const helios_slice name = {"Creader", 7};
    struct consumer_record record, again;
    struct position_record position, same;
    unsigned char bytes[POSITION_SIZE];

    if (consumer_decode("fuzz", name, value, &record) == HELIOS_OK) {
        assert(consumer_decode("fuzz", name, consumer_encode(bytes, &record), &again) == HELIOS_OK);
        assert(again.created == record.created && again.before_images == record.before_images);
    }
    if (position_decode("fuzz", name, value, &position) == HELIOS_OK) {
        assert(position_decode("fuzz", name, position_encode(bytes, &position), &same) == HELIOS_OK);
        assert(same.acked == position.acked && same.active == position.active);
    }
}

static void check_origin(const struct origin *origin)
{
    struct reader own = reader_make(origin->own.data, origin->own.size);
    uint32_t count = 0;
    uint8_t space;
    helios_slice key;

    while (origin_next_own(&own, &space, &key))
        count++;
    assert(count == origin->own_count && clock_valid(origin->came) && clock_valid(origin->after));
}

static void as_origin(helios_slice value)
{
    struct reader r = reader_make(value.data, value.size), s;
    struct origin origin, again;
    helios_buf bytes = {0};

    if (!origin_read(&r, &origin))
        return;
    check_origin(&origin);
    assert(origin_encode(&bytes, &origin) == HELIOS_OK);
    s = reader_make(bytes.data, bytes.size);
    assert(origin_read(&s, &again) && reader_done(&s));
    assert(again.commit == origin.commit && again.branch == origin.branch && again.op_count == origin.op_count);
    assert(slice_equal(again.came, origin.came) && slice_equal(again.own, origin.own));
    helios_buf_free(&bytes);
}

static void as_body(helios_slice body, bool several)
{
    struct reader r = reader_make(body.data, body.size);
    struct op op;

    while (reader_left(&r) > 0 && op_read(&r, several, &op)) {
        unsigned char header[OP_HEADER_MAX];

        assert(op.key.size <= KEY_USER_MAX && op.kind != 0);
        assert(op_header(header, op.kind, op.space, op.key, op.value) <= sizeof(header));
    }
}

static void as_prefix(helios_slice body)
{
    const size_t whole = body.size;
    struct record_origin record;
    helios_seq lsn = 0;

    if (!origin_prefix_read(&body, &record))
        return;
    assert(body.size < whole);
    check_origin(&record.origin);
    for (uint32_t i = 0; record.has_lsns && i < record.origin.op_count; i++)
        lsn = origin_next_lsn(&record, lsn);
    as_body(body, false);
}

static void as_file(helios_slice value)
{
    struct reader r = reader_make(value.data, value.size);
    struct file_record record, again;
    helios_buf bytes = {0};

    if (!file_record_read(&r, &record))
        return;
    assert(file_record_encode(&bytes, &record) == HELIOS_OK);
    r = reader_make(bytes.data, bytes.size);
    assert(file_record_read(&r, &again) && reader_done(&r));
    assert(again.number == record.number && again.size == record.size &&
           slice_equal(again.smallest, record.smallest) && slice_equal(again.largest, record.largest));
    assert(memcmp(&again.properties, &record.properties, sizeof(again.properties)) == 0);
    helios_buf_free(&bytes);
}

static void as_clocks(helios_slice value)
{
    static const uint8_t node[16] = {1};
    const size_t half = value.size / 48 * 24;
    const helios_slice a = slice_make(value.data, half),
                       b = slice_make(slice_bytes(value) + half, value.size - half);
    helios_clock_order order, back;
    helios_buf both = {0};
    helios_seq number, x = 0, y = 0;

    if (helios_clock_compare(a, b, &order) != HELIOS_OK)
        return;
    assert(helios_clock_compare(b, a, &back) == HELIOS_OK);
    assert((order == HELIOS_CLOCK_BEFORE) == (back == HELIOS_CLOCK_AFTER));
    assert((order == HELIOS_CLOCK_EQUAL) == (back == HELIOS_CLOCK_EQUAL));
    assert(helios_clock_merge(a, b, &both) == HELIOS_OK);
    assert(helios_clock_get(buf_slice(&both), node, &number) == HELIOS_OK);
    assert(helios_clock_get(a, node, &x) == HELIOS_OK && helios_clock_get(b, node, &y) == HELIOS_OK);
    assert(number == (x > y ? x : y));
    assert(helios_clock_compare(a, buf_slice(&both), &order) == HELIOS_OK);
    assert(order == HELIOS_CLOCK_BEFORE || order == HELIOS_CLOCK_EQUAL);
    helios_buf_free(&both);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    helios_slice value;

    if (size == 0)
        return 0;
    value = slice_make(data + 1, size - 1);
    switch (data[0] % 9) {
    case 0: as_branch(value); break;
    case 1: as_merge(value); break;
    case 2: as_consumer(value); break;
    case 3: as_origin(value); break;
    case 4: as_prefix(value); break;
    case 5: as_body(value, false); break;
    case 6: as_body(value, true); break;
    case 7: as_file(value); break;
    default: as_clocks(value);
    }
    return 0;
}
