/* open.c - opening the log on what recovery found, and closing it. Old segments are never written again: the
 * end of the log is made durable by a new segment that names it and holds a copy of what was replayed but not
 * known to be durable, before anything is removed. So whatever is left by a crash in here recovers to the
 * same. */
#include "wal/wal_internal.h"
#include "base/hash.h"
#include "base/mem.h"
#include <inttypes.h>

/* ---- the first segment ---- */

/* What recovery replayed beyond `durable`, copied behind each other into the first segment. */
struct tail {
    const struct wal_options *options;
    struct io_file *file;
    uint64_t number, salt;
    struct crypt_file crypt;
    uint64_t offset;       /* of the next record */
    helios_seq first;      /* of the first record copied; 0: none */
    unsigned char *buffer; /* [written, offset) */
    size_t capacity;
    uint64_t written;
    struct wal_index index; /* for the feed */
};

static helios_status tail_flush(struct tail *tail)
{
    uint64_t size = tail->offset - tail->written;
    helios_status status = HELIOS_OK;

    if (size > 0)
        status = io_write(tail->file, tail->written, tail->buffer, (size_t)size);
    tail->written = tail->offset;
    return status;
}

/* Room for size more bytes in the buffer. */
static helios_status tail_room(struct tail *tail, uint64_t size)
{
    helios_status status = HELIOS_OK;

    if (tail->offset - tail->written + size > WAL_CHUNK)
        status = tail_flush(tail);
    if (status == HELIOS_OK && size > tail->capacity) {
        unsigned char *buffer = mem_realloc(tail->buffer, (size_t)(size > WAL_CHUNK ? size : WAL_CHUNK));

        if (!buffer)
            return fail_no_memory((size_t)size);
        tail->buffer = buffer;
        tail->capacity = (size_t)(size > WAL_CHUNK ? size : WAL_CHUNK);
    }
    return status;
}

/* header and body at their place in the buffer; what encryption adds to the body is `sealing`. */
static helios_status tail_put(const struct tail *tail, const struct wal_record *record, size_t sealing,
                              unsigned char *at)
{
    uint32_t size = (uint32_t)(WAL_RECORD_HEADER + record->body.size + sealing);
    unsigned char bound[WAL_RECORD_HEADER], *body = at + WAL_RECORD_HEADER;
    helios_status status;

    if (sealing == 0) {
        if (record->body.size > 0)
            memcpy(body, record->body.data, record->body.size);
        wal_header_encode(at, record, size, hash_bytes(record->body.data, record->body.size), tail->salt,
                          tail->offset);
        return HELIOS_OK;
    }
    wal_header_encode(at, record, size, 0, tail->salt, tail->offset);
    wal_header_bound(at, bound);
    status = crypt_seal(&tail->crypt, tail->offset, slice_make(bound, sizeof(bound)), &record->body, 1, body);
    if (status == HELIOS_OK)
        wal_header_sum(at, hash_bytes(body + record->body.size, sealing), tail->salt, tail->offset);
    return status;
}

/* The same record at another place; a VOID shrinks to its header. */
static helios_status tail_add(struct tail *tail, const struct wal_record *record)
{
    size_t sealing = record->type == WAL_VOID ? 0 : crypt_overhead(&tail->crypt);
    uint64_t size = wal_record_size(record->body.size + sealing);
    struct wal_record moved = *record;
    unsigned char *at;
    helios_status status;

    if (tail->offset + size > WAL_SEGMENT_MAX - WAL_PAGE)
        return fail(HELIOS_LIMIT, "%s: more than 4 GiB of the log have to be written anew",
                    tail->options->directory);
    status = tail_room(tail, size);
    if (status != HELIOS_OK)
        return status;
    at = tail->buffer + (tail->offset - tail->written);
    memset(at + size - WAL_ALIGN, 0, WAL_ALIGN);
    moved.synced = wal_pos_make(tail->number, WAL_DATA);
    status = tail_put(tail, &moved, sealing, at);
    if (status != HELIOS_OK)
        return status;
    if (tail->first == 0)
        tail->first = record->first;
    if (tail->options->keep != WAL_KEEP_NONE)
        status = wal_index_note(&tail->index, tail->offset, record->first);
    tail->offset += size;
    return status;
}

/* The next record to copy; *more is false at the end that recovery found. */
static helios_status tail_next(struct wal_walk *walk, const struct wal_recovery *recovery,
                               struct wal_record *record, bool *more)
{
    char path[WAL_PATH_MAX];
    enum walk_found found;
    helios_status status;

    *more = false;
    if (wal_walk_at(walk) >= recovery->end)
        return HELIOS_OK;
    status = wal_walk_next(walk, record, &found);
    if (status == HELIOS_OK && found != WALK_RECORD && recovery->salvage)
        status = wal_walk_skip(walk, record, &found);
    if (status != HELIOS_OK)
        return status;
    *more = found == WALK_RECORD && record->end <= recovery->end;
    if (*more || recovery->salvage || wal_walk_at(walk) >= recovery->end)
        return HELIOS_OK;
    wal_segment_path(walk->options->directory, wal_pos_segment(wal_walk_at(walk)), path, sizeof(path));
    return fail_corrupt("%s: no record at %" PRIu64 ", where recovery saw one", path,
                        wal_pos_offset(wal_walk_at(walk)));
}

static helios_status tail_copy(struct tail *tail, const struct wal_chain *chain,
                               const struct wal_recovery *recovery)
{
    struct wal_walk walk = {0};
    struct wal_record record;
    bool more = true;
    helios_status status;

    if (recovery->durable >= recovery->end)
        return HELIOS_OK;
    status = wal_walk_open(&walk, tail->options, chain, recovery->durable, 0);
    while (status == HELIOS_OK && more) {
        status = tail_next(&walk, recovery, &record, &more);
        if (status == HELIOS_OK && more && record.type != WAL_END)
            status = tail_add(tail, &record);
    }
    wal_walk_close(&walk);
    return status == HELIOS_OK ? tail_flush(tail) : status;
}

static uint64_t first_bytes(const struct wal_options *options)
{
    uint64_t size = options->segment_bytes / 16 / WAL_PAGE * WAL_PAGE;

    if (size > WAL_FIRST_MAX)
        size = WAL_FIRST_MAX;
    return size < WAL_FIRST_MIN ? WAL_FIRST_MIN : size;
}

/* An empty segment that recovery made, and that the floor is not in, is left out of the chain: opening again
 * and again does not pile them up. */
static void predecessor_choose(const struct wal_chain *chain, const struct wal_recovery *recovery,
                               struct wal_segment_info *info)
{
    size_t i = chain->count;

    info->predecessor = wal_pos_segment(recovery->durable);
    info->predecessor_end = wal_pos_offset(recovery->durable);
    while (i-- > 0) {
        const struct wal_segment_info *link = &chain->links[i].info;

        if (link->header.number != info->predecessor)
            continue;
        /* i == 0: the floor is in it. */
        if (info->predecessor_end != WAL_DATA || link->predecessor_end == 0 || i == 0 || chain->links[i].gap)
            return;
        info->predecessor = link->predecessor;
        info->predecessor_end = link->predecessor_end;
    }
}

static helios_status first_write(struct tail *tail, const struct wal_chain *chain,
                                 const struct wal_recovery *recovery, helios_seq next,
                                 struct wal_segment_info *info)
{
    helios_status status = tail_copy(tail, chain, recovery);

    if (status != HELIOS_OK)
        return status;
    info->first = tail->first != 0 ? tail->first : next;
    info->predecessor_last = tail->first != 0 ? tail->first - 1 : recovery->last;
    info->copied_end = tail->offset;
    info->size = wal_round_up(tail->offset, WAL_PAGE) + first_bytes(tail->options);
    if (info->size > WAL_SEGMENT_MAX)
        info->size = WAL_SEGMENT_MAX;
    status = wal_write_zeros(tail->file, 0, WAL_DATA);
    return status == HELIOS_OK ? wal_write_zeros(tail->file, tail->offset, info->size) : status;
}

/* Makes the end of the log durable: a new segment that names it. */
static helios_status first_create(const struct wal_options *options, const struct wal_chain *chain,
                                  const struct wal_recovery *recovery, helios_seq next,
                                  struct wal_segment_info *info_out, struct wal_segment **out, uint64_t *start)
{
    char path[WAL_PATH_MAX];
    struct wal_segment_info info = {0};
    struct tail tail = {.options = options, .offset = WAL_DATA, .written = WAL_DATA};
    helios_status status;

    info.header.number = (chain->last > recovery->last_segment ? chain->last : recovery->last_segment) + 1;
    if (info.header.number > WAL_NUMBER_MAX)
        return fail(HELIOS_LIMIT, "%s: no segment number is left", options->directory);
    predecessor_choose(chain, recovery, &info);
    status = wal_info_new(options, &info, &tail.crypt);
    if (status != HELIOS_OK)
        return status;
    tail.number = info.header.number;
    tail.salt = info.header.salt;
    wal_temporary_path(options->directory, tail.number, path, sizeof(path));
    status = io_open(options->fs, path, IO_WRITE | IO_CREATE | IO_TRUNCATE, &tail.file);
    if (status == HELIOS_OK)
        status = first_write(&tail, chain, recovery, next, &info);
    mem_free(tail.buffer);
    if (status == HELIOS_OK && options->keep != WAL_KEEP_NONE)
        status = wal_index_reserve(&tail.index, wal_index_room(info.size));
    if (status != HELIOS_OK) {
        crypt_file_release(&tail.crypt);
        wal_index_release(&tail.index);
        io_close(tail.file); /* what is there of it, the next open removes */
        return status;
    }
    *start = tail.offset;
    *info_out = info;
    status = wal_segment_finish(options, &info, &tail.crypt, true, tail.file, out);
    if (status == HELIOS_OK)
        (*out)->index = tail.index;
    else
        wal_index_release(&tail.index);
    return status == HELIOS_OK ? io_sync_directory(options->fs, options->directory) : status;
}

/* ---- the log around it ---- */

static void wal_free(struct wal *wal)
{
    if (!wal)
        return;
    for (struct wal_segment *next, *segment = wal->first; segment; segment = next) {
        next = segment->next;
        wal_segment_free(segment);
    }
    for (struct wal_segment *next, *segment = wal->spare; segment; segment = next) {
        next = segment->next;
        wal_segment_free(segment);
    }
    mem_free(wal->kept);
    condition_release(&wal->prepared_changed);
    mutex_release(&wal->mu);
    mutex_release(&wal->sync_mu);
    mem_free((char *)wal->options.directory);
    mem_free(wal);
}

static helios_status wal_new(const struct wal_options *options, const struct wal_recovery *recovery,
                             struct wal **out)
{
    struct wal *wal;
    char *directory;

    if (options->segment_bytes % WAL_PAGE != 0 || options->segment_bytes < 2 * WAL_PAGE ||
        options->segment_bytes > WAL_SEGMENT_MAX || strlen(options->directory) + 32 > WAL_PATH_MAX)
        return fail(HELIOS_INVALID, "%s: a log with segments of %" PRIu64 " bytes", options->directory,
                    options->segment_bytes);
    wal = mem_aligned(64, sizeof(*wal));
    directory = mem_text(options->directory);
    if (!wal || !directory) {
        mem_free(wal);
        mem_free(directory);
        return fail_no_memory(sizeof(*wal));
    }
    memset(wal, 0, sizeof(*wal));
    wal->options = *options;
    wal->options.directory = directory;
    mutex_init(&wal->sync_mu);
    mutex_init(&wal->mu);
    condition_init(&wal->prepared_changed);
    atomic_init(&wal->floor, recovery->floor);
    atomic_init(&wal->keep, options->keep);
    *out = wal;
    return HELIOS_OK;
}

/* The new segment becomes the active one; everything in it is durable. */
static void begin_in(struct wal *wal, struct wal_segment *segment, uint64_t start, helios_seq last)
{
    wal_pos pos = wal_pos_make(segment->number, start);

    if (wal->last)
        wal->last->next = segment;
    else
        wal->first = segment;
    wal->last = segment;
    atomic_fetch_add(&wal->bytes, segment->bytes);
    wal_active_set(wal, segment, start);
    atomic_init(&wal->passed, (uint64_t)WAL_DATA - start); /* what was copied was not written by this open */
    wal_point_set(wal, pos, last);
    atomic_init(&wal->durable, pos);
    atomic_init(&wal->durable_seq, last);
    wal->next_number = segment->number + 1;
    wal->next_size = first_bytes(&wal->options) * 4;
    if (wal->next_size > wal->options.segment_bytes)
        wal->next_size = wal->options.segment_bytes;
}

helios_status wal_open(const struct wal_options *options, const struct wal_recovery *recovery, helios_seq next,
                       struct wal **out)
{
    struct wal *wal = NULL;
    struct wal_chain chain = {0};
    struct wal_segment *segment = NULL;
    struct wal_segment_info info;
    struct wal_link *kept = NULL;
    size_t kept_count = 0;
    uint64_t start;
    helios_status status = wal_new(options, recovery, &wal);

    if (status != HELIOS_OK)
        return status;
    status = wal_chain_load(&wal->options, recovery->floor, recovery->salvage, &chain);
    if (status != HELIOS_OK)
        goto out;
    status = wal_chain_load_kept(&wal->options, options->keep, recovery->salvage, &chain, &kept, &kept_count);
    if (status != HELIOS_OK)
        goto out;
    status = first_create(&wal->options, &chain, recovery, next, &info, &segment, &start);
    if (status != HELIOS_OK)
        goto out;
    status = wal_take_over(wal, &chain, kept, kept_count, &info);
    if (status != HELIOS_OK)
        goto out;
    begin_in(wal, segment, start, recovery->last);
    segment = NULL;
    status = wal_background_start(wal);
    if (status != HELIOS_OK)
        goto out;
    *out = wal;
    wal = NULL;
out:
    wal_segment_free(segment);
    mem_free(kept);
    wal_chain_release(&chain);
    wal_free(wal);
    return status;
}

/* As if a segment followed that recovery has made, which would be empty. */
static helios_status take_for_reading(struct wal *wal, const struct wal_recovery *recovery,
                                      helios_seq next_first)
{
    const struct wal_segment_info next = {.predecessor = wal_pos_segment(recovery->end),
                                          .predecessor_end = wal_pos_offset(recovery->end),
                                          .predecessor_last = recovery->last,
                                          .first = next_first};
    const struct wal_options *options = &wal->options;
    struct wal_chain chain = {0};
    struct wal_link *kept = NULL;
    size_t kept_count = 0;
    helios_status status = wal_chain_load(options, recovery->floor, recovery->salvage, &chain);

    if (status == HELIOS_OK)
        status = wal_chain_load_kept(options, options->keep, recovery->salvage, &chain, &kept, &kept_count);
    if (status == HELIOS_OK)
        status = wal_take_over(wal, &chain, kept, kept_count, &next);
    mem_free(kept);
    wal_chain_release(&chain);
    return status;
}

helios_status wal_open_reading(const struct wal_options *options, const struct wal_recovery *recovery,
                               helios_seq next, struct wal **out)
{
    struct wal *wal = NULL;
    helios_status status = wal_new(options, recovery, &wal);

    if (status != HELIOS_OK)
        return status;
    wal->options.read_only = true;
    status = take_for_reading(wal, recovery, next);
    if (status != HELIOS_OK || !wal->first) {
        wal_free(wal);
        wal = NULL;
    } else {
        wal_point_set(wal, recovery->end, recovery->last);
        atomic_init(&wal->durable, recovery->end);
        atomic_init(&wal->durable_seq, recovery->last);
    }
    if (status == HELIOS_OK)
        *out = wal;
    return status;
}

/* ---- closing ---- */

static helios_status close_seal(struct wal *wal)
{
    struct wal_reading published = wal_point_read(wal);
    struct wal_segment *segment = wal->active;

    wal_keeper_seal(wal);
    /* Something was reserved and never published: there is no end to seal. */
    if (published.pos != atomic_load_explicit(&wal->at, memory_order_relaxed) ||
        wal_pos_segment(published.pos) != segment->number)
        return HELIOS_OK;
    return wal_seal(wal, segment, wal_pos_offset(published.pos), published.last, true);
}

static void close_remove(struct wal *wal, const struct wal_segment *segment)
{
    char path[WAL_PATH_MAX];

    wal_segment_path(wal->options.directory, segment->number, path, sizeof(path));
    if (io_remove(wal->options.fs, path) != HELIOS_OK)
        return; /* the next open tries again */
}

helios_status wal_close(struct wal *wal, wal_pos *end)
{
    struct wal_segment *prepared;
    helios_status status;

    if (!wal)
        return HELIOS_OK;
    if (wal->options.read_only) {
        wal_free(wal);
        return HELIOS_OK;
    }
    wal_background_stop(wal);
    status = wal_sync(wal, UINT64_MAX, UINT64_MAX);
    if (status == HELIOS_OK)
        status = close_seal(wal);
    if (status == HELIOS_OK) {
        prepared = atomic_load_explicit(&wal->prepared, memory_order_acquire);
        if (prepared)
            close_remove(wal, prepared);
        for (const struct wal_segment *spare = wal->spare; spare; spare = spare->next)
            close_remove(wal, spare);
    }
    if (end)
        *end = wal_published(wal);
    wal_free(wal);
    return status;
}
