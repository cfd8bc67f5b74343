/* fuzz_timeline.c - packed runs of commit times, as if their checksum had been right. Bit 0 of the first byte: the
 * key says of the run's end what the bytes say; else the next 16 bytes are the key's time and number. */
#undef NDEBUG
#include "base/key.h"
#include "mvcc/timeline.h"
#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { KEY_BYTES = 16 };

/* Where the run would end, so that mutations of the bytes are not all refused for the key's sake. */
static void find_end(helios_slice packed, uint64_t *time, helios_seq *last)
{
    struct reader r = reader_make(packed.data, packed.size);
    uint64_t count;

    read_u8(&r);
    count = read_varint(&r);
    *time = 0;
    *last = read_varint(&r);
    for (; count && !r.bad; count--) {
        *time += read_varint(&r);
        *last += read_varint(&r);
        read_varint(&r);
        read_varint(&r);
    }
}

/* What a decoder has let through is a run: in order, no number in two commits. */
static void check_order(const struct timeline_run *run)
{
    struct timeline_entry before = {.last = run->before};

    assert(run->count > 0 && run->count <= TIMELINE_RUN_MAX && run->before <= SEQ_MAX);
    for (uint32_t i = 0; i < run->count; i++) {
        const struct timeline_entry *entry = &run->entries[i];

        assert(entry->time >= before.time && entry->last > before.last && entry->last <= SEQ_MAX);
        assert(entry->count > 0 && entry->count <= entry->last - before.last);
        before = *entry;
    }
}

static void check_searches(const struct timeline_run *run)
{
    assert(timeline_count_time(run, UINT64_MAX) == run->count &&
           timeline_count_seq(run, SEQ_MAX) == run->count);
    assert(timeline_count_seq(run, run->before) == 0);
    for (uint32_t i = 0; i < run->count; i++) {
        const struct timeline_entry *entry = &run->entries[i];
        uint32_t until = timeline_count_time(run, entry->time);

        assert(timeline_count_seq(run, entry->last) == i + 1 && timeline_count_seq(run, entry->last - 1) == i);
        assert(until > i && run->entries[until - 1].time == entry->time);
        assert(until == run->count || run->entries[until].time > entry->time);
    }
}

static bool same(const struct timeline_run *a, const struct timeline_run *b)
{
    bool all = a->before == b->before && a->count == b->count;

    for (uint32_t i = 0; i < a->count && all; i++)
        all = a->entries[i].time == b->entries[i].time && a->entries[i].last == b->entries[i].last &&
              a->entries[i].count == b->entries[i].count && a->entries[i].bytes == b->entries[i].bytes;
    return all;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct timeline_run run, again;
    static unsigned char packed[TIMELINE_PACKED_MAX];
    uint64_t time;
    helios_seq last;
    helios_slice bytes;
    size_t packed_size;

    if (size < 1 + KEY_BYTES)
        return 0;
    bytes = slice_make(data + 1 + KEY_BYTES, size - 1 - KEY_BYTES);
    time = get_u64(data + 1);
    last = get_u64(data + 9);
    if (data[0] & 1)
        find_end(bytes, &time, &last);
    if (!timeline_unpack(bytes, time, last, &run))
        return 0;
    check_order(&run);
    assert(run.entries[run.count - 1].time == time && run.entries[run.count - 1].last == last);
    check_searches(&run);
    packed_size = timeline_pack(&run, packed);
    assert(packed_size <= sizeof(packed) && packed_size <= bytes.size);
    assert(timeline_unpack(slice_make(packed, packed_size), time, last, &again) && same(&run, &again));
    return 0;
}
