/* timeline.c - packs and unpacks runs of commits. Called by engine/timeline.c. */
#include "mvcc/timeline.h"
#include "base/key.h"
#include <assert.h>

enum { PACKED_VERSION = 1 };

void timeline_time_key(unsigned char out[TIMELINE_TIME_KEY_BYTES], uint64_t time, helios_seq seq)
{
    out[0] = TIMELINE_BY_TIME;
    put_u64_be(out + 1, time);
    put_u64_be(out + 9, seq);
}

void timeline_seq_key(unsigned char out[TIMELINE_SEQ_KEY_BYTES], helios_seq seq)
{
    out[0] = TIMELINE_BY_SEQ;
    put_u64_be(out + 1, seq);
}

size_t timeline_pack(const struct timeline_run *run, unsigned char *out)
{
    struct timeline_entry before = {.last = run->before};
    size_t size = 0;

    assert(run->count > 0 && run->count <= TIMELINE_RUN_MAX);
    out[size++] = PACKED_VERSION;
    size += put_varint(out + size, run->count);
    size += put_varint(out + size, run->before);
    for (uint32_t i = 0; i < run->count; i++) {
        const struct timeline_entry *entry = &run->entries[i];
        uint64_t step = entry->last - before.last;

        assert(entry->last > before.last && entry->time >= before.time);
        assert(entry->count > 0 && entry->count <= step);
        size += put_varint(out + size, entry->time - before.time);
        size += put_varint(out + size, step);
        size += put_varint(out + size, step - entry->count);
        size += put_varint(out + size, entry->bytes);
        before = *entry;
    }
    return size;
}

/* The commit after `before`. False: there can be none like that. */
static bool unpack_entry(struct reader *r, const struct timeline_entry *before, struct timeline_entry *entry)
{
    uint64_t wait = read_varint(r), step = read_varint(r), gap = read_varint(r), bytes = read_varint(r);

    if (r->bad || wait > UINT64_MAX - before->time || step > SEQ_MAX - before->last)
        return false;
    if (gap >= step || step - gap > UINT32_MAX || bytes > UINT32_MAX)
        return false;
    *entry = (struct timeline_entry){before->time + wait, before->last + step, (uint32_t)(step - gap),
                                     (uint32_t)bytes};
    return true;
}

bool timeline_unpack(helios_slice packed, uint64_t time, helios_seq last, struct timeline_run *run)
{
    struct reader r = reader_make(packed.data, packed.size);
    struct timeline_entry before = {0};
    uint64_t count;

    if (read_u8(&r) != PACKED_VERSION)
        return false;
    count = read_varint(&r);
    run->before = before.last = read_varint(&r);
    if (r.bad || count == 0 || count > TIMELINE_RUN_MAX || run->before > SEQ_MAX)
        return false;
    run->count = (uint32_t)count;
    for (uint32_t i = 0; i < run->count; i++) {
        if (!unpack_entry(&r, &before, &run->entries[i]))
            return false;
        before = run->entries[i];
    }
    return reader_done(&r) && before.time == time && before.last == last;
}

uint32_t timeline_count_time(const struct timeline_run *run, uint64_t time)
{
    uint32_t low = 0, high = run->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (run->entries[middle].time <= time)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint32_t timeline_count_seq(const struct timeline_run *run, helios_seq seq)
{
    uint32_t low = 0, high = run->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (run->entries[middle].last <= seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
