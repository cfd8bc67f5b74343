/* wal.c - the open log: the path of a commit (reserve, write, publish), and what checkpoints see. With the
 * mapped back end that path takes no lock of its own, allocates nothing and makes no system call. */
#include "wal/wal_internal.h"
#include "base/hash.h"
#include "base/mem.h"
#include <assert.h>
#include <inttypes.h>

/* ---- reserve, write, publish ---- */

void wal_point_set(struct wal *wal, wal_pos pos, helios_seq last)
{
    uint64_t turn = atomic_load_explicit(&wal->turn, memory_order_relaxed) + 1;
    struct wal_point *point = &wal->point[turn & 1];

    atomic_store_explicit(&point->pos, pos, memory_order_relaxed);
    atomic_store_explicit(&point->last, last, memory_order_relaxed);
    atomic_store_explicit(&wal->turn, turn, memory_order_release);
}

/* Both of one publication: retried only if a later one came meanwhile, so never held up by a writer. */
struct wal_reading wal_point_read(const struct wal *wal)
{
    for (;;) {
        uint64_t turn = atomic_load_explicit(&wal->turn, memory_order_acquire);
        const struct wal_point *point = &wal->point[turn & 1];
        struct wal_reading reading = {atomic_load_explicit(&point->pos, memory_order_acquire),
                                      atomic_load_explicit(&point->last, memory_order_acquire)};

        if (atomic_load_explicit(&wal->turn, memory_order_relaxed) == turn)
            return reading;
    }
}

wal_pos wal_published(const struct wal *wal)
{
    return wal_point_read(wal).pos;
}

/* The first in a segment wakes the keeper, to prepare the next and to let go of the one before. */
void wal_publish(struct wal *wal, wal_pos end, helios_seq last)
{
    bool entered = wal_pos_segment(end) != wal_pos_segment(wal_published(wal));

    wal_point_set(wal, end, last);
    if (entered)
        wal_keeper_wake(wal);
}

static wal_pos at_now(const struct wal *wal)
{
    return atomic_load_explicit(&wal->at, memory_order_relaxed);
}

static wal_pos limit_now(const struct wal *wal)
{
    return atomic_load_explicit(&wal->limit, memory_order_relaxed);
}

/* Where the index of the active segment wants its next entry. */
static void note_next(struct wal *wal)
{
    const struct wal_segment *segment = wal->active;
    uint64_t due = wal_index_due(&segment->index);

    wal->note_at =
        segment->index.capacity > 0 && due < segment->size ? wal_pos_make(segment->number, due) : UINT64_MAX;
}

void wal_active_set(struct wal *wal, struct wal_segment *segment, uint64_t offset)
{
    wal->active = segment;
    note_next(wal);
    atomic_store_explicit(&wal->at, wal_pos_make(segment->number, offset), memory_order_relaxed);
    atomic_store_explicit(&wal->limit, wal_pos_make(segment->number, segment->size), memory_order_relaxed);
}

struct wal_segment *wal_next_take(struct wal *wal, uint64_t size)
{
    struct wal_segment *next;

    if (atomic_load_explicit(&wal->prepared_room, memory_order_acquire) < size)
        return NULL;
    atomic_store_explicit(&wal->prepared_room, 0, memory_order_relaxed);
    next = atomic_exchange_explicit(&wal->prepared, NULL, memory_order_acq_rel);
    assert(!next || next->size - WAL_DATA >= size);
    return next; /* NULL: the hint was stale; wal_prepare now sees that */
}

void wal_next_enter(struct wal *wal, struct wal_segment *next, helios_seq first,
                    struct wal_reservation *reservation)
{
    struct wal_segment *old = wal->active;
    uint64_t old_end = wal_pos_offset(at_now(wal));

    assert(next->predecessor == old->number);
    atomic_store_explicit(&next->first, first, memory_order_release);
    reservation->old_segment = old;
    reservation->old_end = wal_pos_make(old->number, old_end);
    old->last = first - 1;
    atomic_store_explicit(&old->end, old_end, memory_order_release);
    atomic_store_explicit(&wal->passed,
                          atomic_load_explicit(&wal->passed, memory_order_relaxed) + old_end - WAL_DATA,
                          memory_order_relaxed);
    wal_active_set(wal, next, WAL_DATA);
}

/* Leaves the active segment for the prepared one. */
static __attribute__((noinline)) bool reserve_next(struct wal *wal, uint64_t size, helios_seq first,
                                                   struct wal_reservation *reservation)
{
    struct wal_segment *next = wal_next_take(wal, size);

    if (next)
        wal_next_enter(wal, next, first, reservation);
    return next != NULL;
}

static __attribute__((noinline)) void reserve_note(struct wal *wal, wal_pos at, helios_seq first)
{
    wal_index_put(&wal->active->index, wal_pos_offset(at), first);
    note_next(wal);
}

bool wal_reserve(struct wal *wal, uint64_t size, helios_seq first, struct wal_reservation *reservation)
{
    wal_pos at = at_now(wal);

    assert(size >= WAL_RECORD_HEADER && size % WAL_ALIGN == 0);
    reservation->old_segment = NULL;
    if (limit_now(wal) - at < size) {
        if (!reserve_next(wal, size, first, reservation))
            return false;
        at = at_now(wal);
    }
    if (at >= wal->note_at)
        reserve_note(wal, at, first);
    atomic_store_explicit(&wal->at, at + size, memory_order_relaxed);
    reservation->at = at;
    reservation->end = at + size;
    reservation->synced = atomic_load_explicit(&wal->durable, memory_order_relaxed);
    reservation->segment = wal->active;
    return true;
}

static uint64_t pieces_size(const helios_slice *pieces, size_t count)
{
    uint64_t size = 0;

    for (size_t i = 0; i < count; i++)
        size += pieces[i].size;
    return size;
}

bool wal_is_encrypted(const struct wal *wal)
{
    return wal->options.crypt != NULL;
}

uint64_t wal_record_room(const struct wal *wal, uint64_t body_size)
{
    return wal_record_size(body_size + (wal_is_encrypted(wal) ? CRYPT_TAG_SIZE : 0));
}

/* The record as it will stand at offset. A VOID covers all that was reserved. */
static uint32_t header_make(const struct wal_reservation *reservation, const struct wal_record *record,
                            uint64_t body_xxh3, uint64_t body_size, unsigned char header[WAL_RECORD_HEADER])
{
    const struct wal_segment *segment = reservation->segment;
    uint64_t room = reservation->end - reservation->at;
    uint64_t size = record->type == WAL_VOID ? room : WAL_RECORD_HEADER + body_size;
    struct wal_record bound = *record;

    assert(record->op_count > 0);
    assert(wal_round_up(size, WAL_ALIGN) == room);
    bound.synced = reservation->synced;
    wal_header_encode(header, &bound, (uint32_t)size, body_xxh3, segment->salt,
                      wal_pos_offset(reservation->at));
    return (uint32_t)size;
}

static void copy_pieces(unsigned char *to, const helios_slice *pieces, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].size > 0)
            memcpy(to, pieces[i].data, pieces[i].size);
        to += pieces[i].size;
    }
}

/* pwrite: small records in one call, big ones piece by piece with the header last. */
static helios_status write_file(struct io_file *file, uint64_t offset, const unsigned char *header,
                                const helios_slice *pieces, size_t count, uint64_t body_size)
{
    unsigned char small[WAL_PAGE];
    uint64_t at = offset + WAL_RECORD_HEADER;
    helios_status status = HELIOS_OK;

    if (WAL_RECORD_HEADER + body_size <= sizeof(small)) {
        memcpy(small, header, WAL_RECORD_HEADER);
        copy_pieces(small + WAL_RECORD_HEADER, pieces, count);
        return io_write(file, offset, small, (size_t)(WAL_RECORD_HEADER + body_size));
    }
    for (size_t i = 0; i < count && status == HELIOS_OK; i++) {
        status = io_write(file, at, pieces[i].data, pieces[i].size);
        at += pieces[i].size;
    }
    return status == HELIOS_OK ? io_write(file, offset, header, WAL_RECORD_HEADER) : status;
}

/* The rest of the segment that this reservation left is unused; without room for a header that is clear. */
static helios_status end_write(const struct wal_reservation *reservation, helios_seq first)
{
    struct wal_segment *segment = reservation->old_segment;
    uint64_t offset = wal_pos_offset(reservation->old_end);
    struct wal_record record = {
        .first = first, .type = WAL_END, .synced = reservation->synced, .branch = WAL_BRANCH_MANY};
    unsigned char header[WAL_RECORD_HEADER];

    if (segment->size - offset < WAL_RECORD_HEADER)
        return HELIOS_OK;
    wal_header_encode(header, &record, WAL_RECORD_HEADER, hash_bytes("", 0), segment->salt, offset);
    if (!segment->map)
        return io_write(segment->file, offset, header, sizeof(header));
    memcpy(segment->map + offset, header, sizeof(header));
    return HELIOS_OK;
}

/* Measured: between fsyncs that follow each other closely, a store into the mapping faults, as each fsync makes
 * its pages read-only again (5 to 11 us, pwrite 3 us), and the fsync itself has mapped pages to look after (80
 * to 150 us instead of 55). In a row of many records it is the other way round: 5 ns instead of 870. */
static bool better_pwrite(const struct wal *wal, const struct wal_reservation *reservation)
{
    return atomic_load_explicit(&wal->sync_small, memory_order_relaxed) &&
           reservation->end - reservation->synced < WAL_SMALL;
}

/* ---- sealed bodies ----
 *
 * Each place of a segment is reserved once, and what is written there a second time (where pwrite failed and the mapping
 * takes it) is the same: so a nonce, which is the place, is never used for two texts. */

/* Where there is no mapping, and more than the stack takes: piece by piece, the header last. */
static helios_status stream_pieces(struct crypt_stream *stream, struct io_file *file, uint64_t at,
                                   const helios_slice *pieces, size_t count)
{
    unsigned char sealed[WAL_PAGE];
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < count; i++) {
        for (size_t done = 0, step; done < pieces[i].size && status == HELIOS_OK; done += step) {
            step = pieces[i].size - done < sizeof(sealed) ? pieces[i].size - done : sizeof(sealed);
            status = crypt_stream_put(stream, slice_make((const unsigned char *)pieces[i].data + done, step),
                                      sealed);
            if (status == HELIOS_OK)
                status = io_write(file, at, sealed, step);
            at += step;
        }
    }
    return status;
}

static helios_status write_stream(const struct wal_segment *segment, uint64_t offset, helios_slice bound,
                                  unsigned char *header, const helios_slice *pieces, size_t count,
                                  uint64_t body_size)
{
    uint64_t at = offset + WAL_RECORD_HEADER;
    unsigned char tag[CRYPT_TAG_SIZE];
    struct crypt_stream stream;
    helios_status status = crypt_stream_begin(&stream, &segment->crypt, offset, bound), ended;

    if (status == HELIOS_OK)
        status = stream_pieces(&stream, segment->file, at, pieces, count);
    ended = crypt_stream_end(&stream, tag);
    if (status == HELIOS_OK)
        status = ended;
    if (status == HELIOS_OK)
        status = io_write(segment->file, at + body_size, tag, sizeof(tag));
    if (status != HELIOS_OK)
        return status;
    wal_header_sum(header, hash_bytes(tag, sizeof(tag)), segment->salt, offset);
    return io_write(segment->file, offset, header, WAL_RECORD_HEADER);
}

/* The body, sealed, and then the header, to `at`, which stands for offset. */
static helios_status seal_at(const struct wal_segment *segment, uint64_t offset, helios_slice bound,
                             unsigned char *header, const helios_slice *pieces, size_t count,
                             uint64_t body_size, unsigned char *at)
{
    unsigned char *body = at + WAL_RECORD_HEADER;
    helios_status status = crypt_seal(&segment->crypt, offset, bound, pieces, count, body);

    if (status != HELIOS_OK)
        return status;
    wal_header_sum(header, hash_bytes(body + body_size, CRYPT_TAG_SIZE), segment->salt, offset);
    memcpy(at, header, WAL_RECORD_HEADER);
    return HELIOS_OK;
}

static helios_status write_sealed(struct wal *wal, const struct wal_reservation *reservation,
                                  const struct wal_record *record, const helios_slice *pieces, size_t count)
{
    struct wal_segment *segment = reservation->segment;
    uint64_t offset = wal_pos_offset(reservation->at), body_size = pieces_size(pieces, count);
    unsigned char header[WAL_RECORD_HEADER], bound[WAL_RECORD_HEADER], small[WAL_PAGE];
    const helios_slice bound_slice = slice_make(bound, sizeof(bound));
    size_t size = header_make(reservation, record, 0, body_size + CRYPT_TAG_SIZE, header);
    helios_status status = HELIOS_OK;

    wal_header_bound(header, bound);
    if (reservation->old_segment)
        status = end_write(reservation, record->first);
    if (status == HELIOS_OK && size <= sizeof(small) && (!segment->map || better_pwrite(wal, reservation))) {
        status = seal_at(segment, offset, bound_slice, header, pieces, count, body_size, small);
        if (status == HELIOS_OK)
            status = io_write(segment->file, offset, small, size);
        if (status == HELIOS_OK)
            return status;
    } else if (status == HELIOS_OK && !segment->map) {
        status = write_stream(segment, offset, bound_slice, header, pieces, count, body_size);
        if (status == HELIOS_OK)
            return status;
    }
    if (segment->map) /* as in wal_write */
        status = seal_at(segment, offset, bound_slice, header, pieces, count, body_size, segment->map + offset);
    if (status != HELIOS_OK)
        wal_fail(wal, status);
    return status;
}

helios_status wal_write(struct wal *wal, const struct wal_reservation *reservation,
                        const struct wal_record *record, uint64_t body_xxh3, const helios_slice *pieces,
                        size_t count)
{
    struct wal_segment *segment = reservation->segment;
    uint64_t offset = wal_pos_offset(reservation->at), body_size = pieces_size(pieces, count);
    unsigned char header[WAL_RECORD_HEADER];
    helios_status status = HELIOS_OK;

    if (crypt_is_on(&segment->crypt) && record->type != WAL_VOID)
        return write_sealed(wal, reservation, record, pieces, count);
    header_make(reservation, record, body_xxh3, body_size, header);
    if (reservation->old_segment)
        status = end_write(reservation, record->first);
    if (status == HELIOS_OK && (!segment->map || better_pwrite(wal, reservation))) {
        status = write_file(segment->file, offset, header, pieces, count, body_size);
        if (status == HELIOS_OK)
            return status;
    }
    if (segment->map) { /* what pwrite refused, the mapping takes: then only the fsync can fail */
        copy_pieces(segment->map + offset + WAL_RECORD_HEADER, pieces, count);
        memcpy(segment->map + offset, header, sizeof(header));
        return HELIOS_OK;
    }
    wal_fail(wal, status);
    return status;
}

/* ---- room ---- */

static bool has_room(const struct wal *wal, uint64_t size)
{
    return limit_now(wal) - at_now(wal) >= size ||
           atomic_load_explicit(&wal->prepared_room, memory_order_relaxed) >= size;
}

/* Waits for an attempt that began after this call, or for room. */
static helios_status prepare_wait(struct wal *wal, uint64_t size)
{
    helios_status status = HELIOS_OK;
    uint64_t enough;

    mutex_lock(&wal->mu);
    enough = wal->attempts + (wal->attempting ? 2 : 1);
    if (wal->want < size)
        wal->want = size;
    mutex_unlock(&wal->mu);
    wal_keeper_wake(wal);
    mutex_lock(&wal->mu);
    while (!has_room(wal, size) && wal->attempts < enough &&
           !atomic_load_explicit(&wal->failed, memory_order_acquire))
        condition_wait(&wal->prepared_changed, &wal->mu);
    if (!has_room(wal, size) && wal->attempts >= enough)
        status = error_tell(&wal->attempt);
    mutex_unlock(&wal->mu);
    return status;
}

helios_status wal_prepare(struct wal *wal, uint64_t size)
{
    helios_status status = HELIOS_OK;

    if (size > WAL_RECORD_MAX)
        return fail(HELIOS_LIMIT, "a commit of %" PRIu64 " bytes is too big for the log (at most %" PRIu64 ")",
                    size, WAL_RECORD_MAX);
    while (status == HELIOS_OK && !has_room(wal, size)) {
        status = wal_error(wal);
        if (status == HELIOS_OK)
            status = prepare_wait(wal, size);
    }
    return status;
}

/* ---- upkeep ---- */

uint64_t wal_segment_now(const struct wal *wal)
{
    return wal_pos_segment(at_now(wal));
}

uint64_t wal_segment_moved(struct wal *wal, uint64_t number)
{
    uint64_t found = wal_segment_now(wal);

    mutex_lock(&wal->mu);
    for (const struct wal_segment *segment = wal->first; segment && segment->number < found;
         segment = segment->next)
        if (segment->number >= number)
            found = segment->number;
    mutex_unlock(&wal->mu);
    return found;
}

void wal_release(struct wal *wal, uint64_t floor)
{
    uint64_t before = atomic_load_explicit(&wal->floor, memory_order_relaxed);

    while (before < floor) {
        if (atomic_compare_exchange_weak_explicit(&wal->floor, &before, floor, memory_order_release,
                                                  memory_order_relaxed)) {
            wal_keeper_wake(wal);
            return;
        }
    }
}

/* Under mu no segment is unmapped. */
void wal_unload(struct wal *wal)
{
    mutex_lock(&wal->mu);
    for (const struct wal_segment *segment = wal->first; segment; segment = segment->next)
        if (segment->map)
            io_map_unload(segment->file, segment->map, (size_t)segment->size);
    mutex_unlock(&wal->mu);
}

uint64_t wal_bytes(const struct wal *wal)
{
    return atomic_load_explicit(&wal->bytes, memory_order_relaxed);
}

uint64_t wal_written(const struct wal *wal)
{
    return atomic_load_explicit(&wal->passed, memory_order_relaxed) + wal_pos_offset(at_now(wal)) - WAL_DATA;
}

/* ---- checkpoints ---- */

struct shown {
    uint64_t number, end;
    helios_seq last;
    bool sealed, archived;
};

/* What a checkpoint up to `upto` sees of the segment. Whatever is shown as sealed may get a second name, so
 * its bytes are never written again. */
static struct shown show_locked(struct wal_segment *segment, wal_pos upto)
{
    uint64_t end = atomic_load_explicit(&segment->end, memory_order_acquire);
    struct shown shown = {segment->number, end, SEQ_MAX, segment->sealed, false};

    if (segment->number == wal_pos_segment(upto) && (end == 0 || end > wal_pos_offset(upto))) {
        shown.end = wal_pos_offset(upto);
        shown.sealed = false;
    } else if (!shown.sealed) {
        shown.last = segment->last;
    }
    if (shown.sealed)
        segment->linked = true;
    return shown;
}

/* The segments of the log up to `upto` at this moment; freed by the caller. */
static helios_status show_all(struct wal *wal, wal_pos upto, struct shown **out, size_t *count)
{
    uint64_t floor = atomic_load_explicit(&wal->floor, memory_order_acquire);
    uint64_t keep = atomic_load_explicit(&wal->keep, memory_order_acquire);
    struct shown *shown;
    size_t capacity, n = 0;

    if (keep < floor)
        floor = keep;
    mutex_lock(&wal->mu);
    capacity = wal->kept_count;
    for (struct wal_segment *segment = wal->first; segment; segment = segment->next)
        capacity++;
    shown = mem_array(capacity + 1, sizeof(*shown));
    for (size_t i = 0; shown && i < wal->kept_count; i++) {
        if (wal->kept[i].number >= floor)
            shown[n++] =
                (struct shown){wal->kept[i].number, wal->kept[i].end, SEQ_MAX, true, wal->kept[i].archived};
    }
    for (struct wal_segment *segment = wal->first; shown && segment; segment = segment->next) {
        if (segment->number >= floor && segment->number <= wal_pos_segment(upto))
            shown[n++] = show_locked(segment, upto);
    }
    wal->holds += shown != NULL;
    mutex_unlock(&wal->mu);
    if (!shown)
        return fail_no_memory((capacity + 1) * sizeof(*shown));
    *out = shown;
    *count = n;
    return HELIOS_OK;
}

helios_status wal_each_segment(struct wal *wal, wal_pos upto,
                               helios_status (*segment)(void *arg, uint64_t number, const char *path,
                                                        uint64_t end, helios_seq last, bool sealed),
                               void *arg)
{
    struct shown *shown = NULL;
    size_t count = 0;
    wal_pos published = wal_published(wal);
    helios_status status = show_all(wal, upto < published ? upto : published, &shown, &count);

    if (status != HELIOS_OK)
        return status;
    for (size_t i = 0; i < count && status == HELIOS_OK; i++) {
        char path[WAL_PATH_MAX];

        wal_place_path(wal->options.directory, shown[i].number, shown[i].archived, path, sizeof(path));
        status = segment(arg, shown[i].number, path, shown[i].end, shown[i].last, shown[i].sealed);
    }
    mem_free(shown);
    mutex_lock(&wal->mu);
    wal->holds--;
    mutex_unlock(&wal->mu);
    wal_keeper_wake(wal);
    wal_archiver_wake(wal);
    return status;
}
