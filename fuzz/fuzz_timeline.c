/* fuzz_timeline.c - arbitrary bytes as a run of the timeline: 16 bytes of time and number that the key would say,
 * then the value. What is accepted is in order, and packed again and unpacked it is the same. */
#undef NDEBUG
#include "base/key.h"
#include "mvcc/timeline.h"
#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct timeline_run *run)
{
    struct timeline_entry before = {.last = run->before};

    assert(run->count > 0 && run->count <= TIMELINE_RUN_MAX);
    for (uint32_t i = 0; i < run->count; before = run->entries[i++]) {
        const struct timeline_entry *entry = &run->entries[i];

        assert(entry->time >= before.time);
        assert(entry->last > before.last && entry->last <= SEQ_MAX);
        assert(entry->count > 0 && entry->count <= entry->last - before.last);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct timeline_run run, back;
    static unsigned char packed[TIMELINE_PACKED_MAX];
    const struct timeline_entry *last;

    if (size < 16 || !timeline_unpack(slice_make(data + 16, size - 16), get_u64(data), get_u64(data + 8), &run))
        return 0;
    check(&run);
    last = &run.entries[run.count - 1];
    assert(timeline_unpack(slice_make(packed, timeline_pack(&run, packed)), last->time, last->last, &back));
    assert(back.before == run.before && back.count == run.count);
    assert(memcmp(back.entries, run.entries, run.count * sizeof(run.entries[0])) == 0);
    assert(timeline_count_seq(&run, last->last) == run.count &&
           timeline_count_time(&run, last->time) == run.count);
    return 0;
}
