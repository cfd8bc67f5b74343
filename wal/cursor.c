/* cursor.c - a walk over the commits of the log, for the feed: from any number, through kept segments into the one that is
 * being written, beside its writers. It reads files, never the mapping of another; what is published is there to be read
 * (one page cache), and nothing behind it is looked at.
 *
 * A segment may be let go of while it is read: the open file stays. Nothing is recycled while there is a cursor. */
#include "wal/wal_internal.h"
#include "base/buf.h"
#include "base/mem.h"
#include <assert.h>
#include <inttypes.h>

struct wal_cursor {
    struct wal *wal;
    struct wal_reader *reader;
    uint64_t number;     /* of the segment that is read */
    uint64_t end;        /* of its records; 0: as far as we know it is still written */
    helios_seq from;     /* what ends below is passed over */
    helios_seq expected; /* no record that comes is numbered below */
    struct wal_filter filter;
    helios_buf prefix; /* the filter's bytes */
    bool filtered;
};

static helios_status segment_open(const struct wal *wal, const struct wal_place *place,
                                  struct wal_reader **reader)
{
    char path[WAL_PATH_MAX];

    wal_place_path(wal->options.directory, place->number, place->archived, path, sizeof(path));
    return wal_reader_open(wal->options.fs, wal->options.crypt, path, reader);
}

static helios_status fail_missing(const struct wal *wal, const struct wal_place *place)
{
    char path[WAL_PATH_MAX];

    wal_place_path(wal->options.directory, place->number, place->archived, path, sizeof(path));
    return fail_corrupt("%s: the feed needs this segment and it is missing", path);
}

static helios_status fail_no_record(const struct wal_cursor *cursor)
{
    return fail_corrupt("%s: no record at %" PRIu64, wal_reader_path(cursor->reader),
                        wal_reader_offset(cursor->reader));
}

/* Opens what a place names; between the look and the open its archive may have taken a segment's place. HELIOS_NOT_FOUND: it
 * was let go of. */
static helios_status place_open(const struct wal_cursor *cursor, struct wal_place *place,
                                struct wal_reader **reader)
{
    struct wal *wal = cursor->wal;
    struct wal_place again;
    helios_status status = segment_open(wal, place, reader);

    if (status == HELIOS_NOT_FOUND && wal_place_at(wal, place->number, &again)) {
        if (again.archived == place->archived)
            return fail_missing(wal, place);
        place->archived = again.archived;
        place->end = again.end;
        place->sought = false;
        status = segment_open(wal, place, reader);
    }
    return status == HELIOS_OK && cursor->filtered ? wal_reader_select(*reader, &cursor->filter) : status;
}

static helios_status begin(struct wal_cursor *cursor)
{
    struct wal *wal = cursor->wal;
    struct wal_place place;
    helios_status status;

    do {
        status = wal_place_of(wal, cursor->from, &place);
        if (status == HELIOS_OK)
            status = place_open(cursor, &place, &cursor->reader);
    } while (status == HELIOS_NOT_FOUND);
    if (status == HELIOS_OK && !place.sought)
        status = wal_index_seek(&wal->options, cursor->reader, place.end, cursor->from, &place.offset);
    if (status != HELIOS_OK)
        return status;
    cursor->number = place.number;
    cursor->end = place.end;
    wal_reader_bound(cursor->reader, place.offset);
    wal_reader_seek(cursor->reader, place.offset);
    return HELIOS_OK;
}

static void count_cursor(struct wal *wal, uint32_t by)
{
    mutex_lock(&wal->mu);
    wal->cursors += by;
    mutex_unlock(&wal->mu);
}

static helios_status set_filter(struct wal_cursor *cursor, const struct wal_filter *filter)
{
    helios_status status;

    if (!filter)
        return HELIOS_OK;
    status = buf_set(&cursor->prefix, filter->prefix.data, filter->prefix.size);
    cursor->filtered = true;
    cursor->filter = (struct wal_filter){filter->space, buf_slice(&cursor->prefix)};
    return status;
}

helios_status wal_cursor_new(struct wal *wal, helios_seq from, const struct wal_filter *filter,
                             struct wal_cursor **out)
{
    struct wal_cursor *cursor = mem_zalloc(sizeof(*cursor));
    helios_status status;

    if (!cursor)
        return fail_no_memory(sizeof(*cursor));
    cursor->wal = wal;
    cursor->from = from;
    count_cursor(wal, 1);
    status = set_filter(cursor, filter);
    if (status == HELIOS_OK)
        status = begin(cursor);
    if (status != HELIOS_OK) {
        wal_cursor_free(cursor);
        return status;
    }
    *out = cursor;
    return HELIOS_OK;
}

void wal_cursor_free(struct wal_cursor *cursor)
{
    if (!cursor)
        return;
    count_cursor(cursor->wal, UINT32_MAX);
    wal_reader_close(cursor->reader);
    helios_buf_free(&cursor->prefix);
    mem_free(cursor);
}

/* The segment was left: where does it end? One that was let go of meanwhile was sealed before, and says so itself. */
static helios_status end_find(struct wal_cursor *cursor)
{
    struct wal_place place;
    helios_status status = HELIOS_OK;

    if (cursor->end != 0)
        return HELIOS_OK;
    if (wal_place_at(cursor->wal, cursor->number, &place))
        cursor->end = place.end;
    else
        status = wal_reader_reload(cursor->reader, &cursor->end);
    assert(status != HELIOS_OK || cursor->end != 0);
    return status;
}

/* What came next is gone: is all that is still wanted there? What is gone may have been below `from`. */
static helios_status begin_again(struct wal_cursor *cursor)
{
    struct wal_reader *before = cursor->reader;
    helios_status status;

    if (cursor->from < cursor->expected)
        cursor->from = cursor->expected;
    cursor->reader = NULL;
    status = begin(cursor);
    if (status == HELIOS_OK) {
        wal_reader_close(before);
        return HELIOS_OK;
    }
    wal_reader_close(cursor->reader);
    cursor->reader = before;
    return status;
}

/* On to the segment that names this one. */
static helios_status advance(struct wal_cursor *cursor)
{
    struct wal_place place;
    struct wal_reader *reader = NULL;
    helios_status status = HELIOS_NOT_FOUND;

    if (wal_place_after(cursor->wal, cursor->number, &place))
        status = place_open(cursor, &place, &reader);
    if (status == HELIOS_NOT_FOUND ||
        (status == HELIOS_OK && wal_reader_info(reader)->predecessor != cursor->number)) {
        wal_reader_close(reader);
        return begin_again(cursor);
    }
    if (status != HELIOS_OK) {
        wal_reader_close(reader);
        return status;
    }
    wal_reader_close(cursor->reader);
    cursor->reader = reader;
    cursor->number = place.number;
    cursor->end = place.end;
    return HELIOS_OK;
}

/* At what is no record, and all of the segment may be read: an END where the end is not told otherwise, or the end. */
static bool is_end(const struct wal_cursor *cursor, enum wal_found found)
{
    if (wal_reader_offset(cursor->reader) == cursor->end)
        return true;
    return cursor->end == wal_reader_info(cursor->reader)->size && found != FOUND_HOLE;
}

/* Bounds the reader to what may be read. *left: that is all there will ever be of the segment. */
static helios_status bound(struct wal_cursor *cursor, wal_pos upto, bool *left)
{
    uint64_t limit = 0;
    helios_status status = HELIOS_OK;

    *left = wal_pos_segment(upto) > cursor->number;
    if (*left) {
        status = end_find(cursor);
        limit = cursor->end;
    } else if (wal_pos_segment(upto) == cursor->number) {
        limit = wal_pos_offset(upto);
    }
    if (status == HELIOS_OK)
        wal_reader_bound(cursor->reader, limit);
    return status;
}

/* Passes over what the filter does not want. What was passed over up to the end of a segment counts as read: nothing that
 * comes is numbered below. */
static void pass_over(struct wal_cursor *cursor)
{
    const struct wal_segment_info *info = wal_reader_info(cursor->reader);

    if (cursor->filtered && wal_reader_skip(cursor->reader) &&
        wal_reader_offset(cursor->reader) == info->sealed_end && info->sealed_last < SEQ_MAX &&
        cursor->expected <= info->sealed_last)
        cursor->expected = info->sealed_last + 1;
}

/* Is it a commit that was asked for? */
static bool is_wanted(const struct wal_cursor *cursor, const struct wal_record *record)
{
    return record->type != WAL_VOID && record->first + record->op_count > cursor->from;
}

helios_status wal_cursor_next(struct wal_cursor *cursor, wal_pos upto, struct wal_record *out)
{
    for (;;) {
        struct wal_record record;
        enum wal_found found;
        bool left;
        helios_status status = bound(cursor, upto, &left);

        if (status == HELIOS_OK) {
            pass_over(cursor);
            status = wal_reader_step(cursor->reader, &record, &found);
        }
        if (status != HELIOS_OK)
            return status;
        if (found == FOUND_RECORD) {
            if (record.first < cursor->expected)
                return fail_no_record(cursor);
            cursor->expected = record.first + record.op_count;
            if (!is_wanted(cursor, &record))
                continue;
            *out = record;
            return HELIOS_OK;
        }
        if (!left && found == FOUND_LIMIT && wal_reader_is_at_limit(cursor->reader))
            return HELIOS_NOT_FOUND;
        if (!left || !is_end(cursor, found))
            return fail_no_record(cursor);
        status = advance(cursor);
        if (status != HELIOS_OK)
            return status;
    }
}
