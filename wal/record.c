/* record.c - the header of a log record, to bytes and back; the drawing is in wal.h. */
#include "wal/wal_internal.h"
#include "base/hash.h"

enum {
    RECORD_SIZE = 0,
    RECORD_OP_COUNT = 4,
    RECORD_CHECKSUM = 8,
    RECORD_FIRST = 16,
    RECORD_TIME = 24,
    RECORD_SYNCED = 32,
    RECORD_BODY_XXH3 = 40,
    RECORD_BRANCH = 48,
    RECORD_FLAGS = 52,
    RECORD_SIZE_CHECK = 56,
};
_Static_assert(RECORD_OP_COUNT == RECORD_SIZE + 4 && RECORD_CHECKSUM == RECORD_OP_COUNT + 4,
               "size and op count are one word");
_Static_assert(RECORD_FIRST == RECORD_CHECKSUM + 8, "the checksum covers all fields behind it");
_Static_assert(RECORD_TIME == RECORD_FIRST + 8 && RECORD_SYNCED == RECORD_TIME + 8 &&
                   RECORD_BODY_XXH3 == RECORD_SYNCED + 8 && RECORD_BRANCH == RECORD_BODY_XXH3 + 8 &&
                   RECORD_FLAGS == RECORD_BRANCH + 4 && RECORD_SIZE_CHECK == RECORD_FLAGS + 4,
               "they follow each other without a gap");
_Static_assert(WAL_RECORD_HEADER == RECORD_SIZE_CHECK + 8, "and the last of them covers those before it");

#define SIZE_CHECK_MASK UINT64_C(0x5d8a1f3b96c2e047)

uint64_t wal_record_size(uint64_t body_size)
{
    return wal_round_up(WAL_RECORD_HEADER + body_size, WAL_ALIGN);
}

void wal_header_encode(unsigned char out[WAL_RECORD_HEADER], const struct wal_record *record, uint32_t size,
                       uint64_t body_xxh3, uint64_t salt, uint64_t offset)
{
    put_u32(out + RECORD_SIZE, size);
    put_u32(out + RECORD_OP_COUNT, record->op_count);
    put_u64(out + RECORD_FIRST, record->first << 8 | (uint64_t)record->type);
    put_u64(out + RECORD_TIME, record->time);
    put_u64(out + RECORD_SYNCED, record->synced);
    put_u32(out + RECORD_BRANCH, record->branch);
    put_u32(out + RECORD_FLAGS, record->flags);
    put_u64(out + RECORD_SIZE_CHECK, get_u64(out) ^ SIZE_CHECK_MASK);
    wal_header_sum(out, body_xxh3, salt, offset);
}

void wal_header_sum(unsigned char header[WAL_RECORD_HEADER], uint64_t body_xxh3, uint64_t salt, uint64_t offset)
{
    put_u64(header + RECORD_BODY_XXH3, body_xxh3);
    put_u64(header + RECORD_CHECKSUM,
            checksum(header + RECORD_FIRST, WAL_RECORD_HEADER - RECORD_FIRST, salt, offset));
}

void wal_header_bound(const unsigned char header[WAL_RECORD_HEADER], unsigned char bound[WAL_RECORD_HEADER])
{
    memcpy(bound, header, WAL_RECORD_HEADER);
    put_u64(bound + RECORD_CHECKSUM, 0);
    put_u64(bound + RECORD_BODY_XXH3, 0);
}

bool wal_header_plausible(const unsigned char in[WAL_RECORD_HEADER])
{
    return (get_u64(in) ^ SIZE_CHECK_MASK) == get_u64(in + RECORD_SIZE_CHECK);
}

/* Fields of one that verifies: does it make sense, and do we know it? */
static enum wal_verdict header_judge(const struct wal_record *record, uint32_t size, unsigned type)
{
    if (type < WAL_COMMIT || type > WAL_END || (record->flags & ~(uint32_t)WAL_RECORD_ORIGIN))
        return WAL_UNKNOWN;
    if (type == WAL_END)
        return record->op_count == 0 && size == WAL_RECORD_HEADER ? WAL_VALID : WAL_NO_RECORD;
    if (record->op_count == 0 || record->first == 0 || record->first + record->op_count - 1 > SEQ_MAX)
        return WAL_NO_RECORD;
    return WAL_VALID;
}

enum wal_verdict wal_header_decode(const unsigned char in[WAL_RECORD_HEADER], uint64_t salt, uint64_t offset,
                                   uint64_t room, struct wal_record *record, uint64_t *body_xxh3)
{
    uint32_t size = get_u32(in + RECORD_SIZE);
    unsigned type = in[RECORD_FIRST]; /* the low byte */

    if (!wal_header_plausible(in) || size < WAL_RECORD_HEADER || wal_round_up(size, WAL_ALIGN) > room)
        return WAL_NO_RECORD;
    if (get_u64(in + RECORD_CHECKSUM) !=
        checksum(in + RECORD_FIRST, WAL_RECORD_HEADER - RECORD_FIRST, salt, offset))
        return WAL_NO_RECORD;
    *record = (struct wal_record){
        .first = get_u64(in + RECORD_FIRST) >> 8,
        .op_count = get_u32(in + RECORD_OP_COUNT),
        .type = (enum wal_record_type)type,
        .time = get_u64(in + RECORD_TIME),
        .synced = get_u64(in + RECORD_SYNCED),
        .branch = get_u32(in + RECORD_BRANCH),
        .flags = get_u32(in + RECORD_FLAGS),
        .body = {NULL, size - WAL_RECORD_HEADER},
    };
    *body_xxh3 = get_u64(in + RECORD_BODY_XXH3);
    return header_judge(record, size, type);
}
