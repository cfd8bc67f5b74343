/* background.c - two threads of an open log. The keeper owns the files: it prepares the next segment one
 * ahead, seals and unmaps those that are durable, recycles or removes those that were released. The syncer
 * bounds how long a commit stays unsynced. They are two, so that writing zeros never delays a sync. */
#include "wal/wal_internal.h"
#include "base/mem.h"
#include <assert.h>
#include <limits.h>

enum { REST_TIME = 100000 }; /* us without a commit; a segment is made ready in a tenth of that */

static bool stopping(const struct wal *wal)
{
    return atomic_load_explicit(&wal->stop, memory_order_acquire);
}

static bool has_failed(const struct wal *wal)
{
    return atomic_load_explicit(&wal->failed, memory_order_acquire);
}

static void word_wake(_Atomic uint32_t *word)
{
    atomic_fetch_add_explicit(word, 1, memory_order_release);
    futex_wake(word, INT_MAX);
}

void wal_keeper_wake(struct wal *wal)
{
    word_wake(&wal->keeper_word);
}

/* ---- keeper: the next segment ---- */

static void list_add(struct wal *wal, struct wal_segment *segment)
{
    mutex_lock(&wal->mu);
    segment->next = NULL;
    if (wal->last)
        wal->last->next = segment;
    else
        wal->first = segment;
    wal->last = segment;
    mutex_unlock(&wal->mu);
    atomic_fetch_add_explicit(&wal->bytes, segment->bytes, memory_order_relaxed);
}

static void list_remove_last(struct wal *wal, struct wal_segment *segment)
{
    struct wal_segment *before = NULL;

    mutex_lock(&wal->mu);
    assert(wal->last == segment);
    for (struct wal_segment *at = wal->first; at != segment; at = at->next)
        before = at;
    wal->last = before;
    if (before)
        before->next = NULL;
    else
        wal->first = NULL;
    mutex_unlock(&wal->mu);
    atomic_fetch_sub_explicit(&wal->bytes, segment->size, memory_order_relaxed);
}

/* A file that nothing refers to. That it cannot be removed is no error of the log: the next open tries. */
static void remove_file(struct wal *wal, uint64_t number)
{
    char path[WAL_PATH_MAX];

    wal_segment_path(wal->options.directory, number, path, sizeof(path));
    if (io_remove(wal->options.fs, path) != HELIOS_OK)
        return;
}

static struct wal_segment *spare_take(struct wal *wal, uint64_t size)
{
    struct wal_segment *spare = NULL;

    mutex_lock(&wal->mu);
    if (wal->spare && wal->spare->size == size) { /* spares have their full size: see spare_keep */
        spare = wal->spare;
        wal->spare = spare->next;
        wal->spare_count--;
    }
    mutex_unlock(&wal->mu);
    if (spare)
        atomic_fetch_sub_explicit(&wal->bytes, spare->bytes, memory_order_relaxed);
    return spare;
}

/* What will be made writable through its mapping at once needs no zeros: those would be on their way to the disk by
 * the sync of the first page, and their pages go there again with the records. Measured: half of what the log wrote.
 * Without a mapping, or where each commit is synced, zeros that are written before make that sync cheaper. */
static helios_status fill(const struct wal *wal, struct io_file *file, uint64_t size, bool populate)
{
    bool reserved = false;
    helios_status status = HELIOS_OK;

    if (populate && wal->options.use_mapping && io_map_supported(file))
        status = io_reserve(file, size, &reserved);
    return status != HELIOS_OK || reserved ? status : wal_write_zeros(file, 0, size);
}

/* A temporary file of the full size. A recycled one keeps its old records, which do not verify under the new
 * file id. It is below the floor under its old name, whatever of the renames a power cut leaves. */
static helios_status draft_open(struct wal *wal, uint64_t number, uint64_t size, bool populate,
                                struct io_file **out)
{
    struct io_fs *fs = wal->options.fs;
    char path[WAL_PATH_MAX], old[WAL_PATH_MAX];
    struct wal_segment *spare = spare_take(wal, size);
    struct io_file *file = NULL;
    helios_status status;

    wal_temporary_path(wal->options.directory, number, path, sizeof(path));
    if (spare) {
        wal_segment_path(wal->options.directory, spare->number, old, sizeof(old));
        wal_segment_free(spare);
        status = io_rename(fs, old, path);
        if (status == HELIOS_OK)
            status = io_open(fs, path, IO_WRITE, out);
        return status;
    }
    status = io_open(fs, path, IO_WRITE | IO_CREATE | IO_TRUNCATE, &file);
    if (status == HELIOS_OK)
        status = fill(wal, file, size, populate);
    if (status == HELIOS_OK) {
        *out = file;
        return HELIOS_OK;
    }
    io_close(file);
    if (io_remove(fs, path) != HELIOS_OK)
        return status;
    return status;
}

/* Sizes grow from the small first one to the usual. */
static uint64_t size_choose(struct wal *wal, uint64_t want)
{
    uint64_t size = wal->next_size;

    if (want != 0 && want > size - WAL_DATA) {
        size = wal_round_up(WAL_DATA + want + WAL_RECORD_HEADER, WAL_PAGE);
        /* So that small commits which come first do not push the big one out again. */
        size += wal->options.segment_bytes / 4 / WAL_PAGE * WAL_PAGE;
    }
    return size > WAL_SEGMENT_MAX ? WAL_SEGMENT_MAX : size;
}

/* What the next segment follows, while none is prepared: the last one made, as one that was taken back has left the
 * list. Not the active one: a writer that has taken the prepared segment enters it only a moment later, and a link
 * past that segment would lose all its commits at the next recovery. */
static uint64_t last_number(struct wal *wal)
{
    uint64_t number;

    mutex_lock(&wal->mu);
    number = wal->last->number;
    mutex_unlock(&wal->mu);
    return number;
}

static helios_status segment_prepare(struct wal *wal, uint64_t want, struct wal_segment **out)
{
    struct wal_segment_info info = {0};
    /* Dirty pages would all be written by the next fsync, for which commits wait now. */
    bool populate = !atomic_load_explicit(&wal->sync_small, memory_order_relaxed);
    struct crypt_file crypt = {0};
    struct io_file *file;
    helios_status status;

    if (wal->next_number > WAL_NUMBER_MAX)
        return fail(HELIOS_LIMIT, "%s: no segment number is left", wal->options.directory);
    info.predecessor = last_number(wal);
    info.header.number = wal->next_number++;
    info.size = size_choose(wal, want);
    status = wal_info_new(&wal->options, &info, &crypt);
    if (status == HELIOS_OK)
        status = draft_open(wal, info.header.number, info.size, populate, &file);
    if (status == HELIOS_OK)
        return wal_segment_finish(&wal->options, &info, &crypt, populate, file, out);
    crypt_file_release(&crypt);
    return status;
}

/* A directory's sync, unlike that of a file which is then thrown away, could only be tried again on the same
 * directory: its failure is final. */
helios_status wal_directory_sync(struct wal *wal)
{
    helios_status status = io_sync_directory(wal->options.fs, wal->options.directory);

    if (status != HELIOS_OK)
        wal_fail(wal, status);
    return status;
}

/* Takes back a prepared segment in which a record that is wanted has no room. */
static void prepared_discard(struct wal *wal)
{
    struct wal_segment *segment;

    atomic_store_explicit(&wal->prepared_room, 0, memory_order_relaxed);
    segment = atomic_exchange_explicit(&wal->prepared, NULL, memory_order_acq_rel);
    if (!segment)
        return;
    list_remove_last(wal, segment);
    remove_file(wal, segment->number);
    wal_segment_free(segment);
}

static void attempt_end(struct wal *wal, helios_status status, uint64_t room)
{
    mutex_lock(&wal->mu);
    wal->attempting = false;
    wal->attempts++;
    wal->attempt.status = HELIOS_OK;
    if (status != HELIOS_OK)
        error_keep(&wal->attempt, status);
    else if (wal->want <= room)
        wal->want = 0;
    condition_broadcast(&wal->prepared_changed);
    mutex_unlock(&wal->mu);
}

/* Without the memory for it a segment is written without an index, which is then made when it is first wanted. */
static void index_prepare(struct wal *wal, struct wal_segment *segment)
{
    if (wal_keeping(wal) && wal_index_reserve(&segment->index, wal_index_room(segment->size)) != HELIOS_OK)
        return;
}

static void prepare_once(struct wal *wal, uint64_t want)
{
    struct wal_segment *segment = NULL;
    uint64_t room = 0;
    helios_status status = segment_prepare(wal, want, &segment);

    if (status == HELIOS_OK)
        status = wal_directory_sync(wal);
    if (status == HELIOS_OK)
        index_prepare(wal, segment);
    if (status != HELIOS_OK) {
        wal_segment_free(segment);
    } else {
        room = segment->size - WAL_DATA;
        if (wal->next_size < wal->options.segment_bytes)
            wal->next_size = 4 * wal->next_size < wal->options.segment_bytes ? 4 * wal->next_size
                                                                             : wal->options.segment_bytes;
        list_add(wal, segment);
        atomic_store_explicit(&wal->prepared, segment, memory_order_release);
        atomic_store_explicit(&wal->prepared_room, room, memory_order_release);
    }
    attempt_end(wal, status, room);
}

static void keeper_prepare(struct wal *wal)
{
    uint64_t want, room;
    bool needed;

    mutex_lock(&wal->mu);
    want = wal->want;
    room = atomic_load_explicit(&wal->prepared, memory_order_acquire)
               ? atomic_load_explicit(&wal->prepared_room, memory_order_acquire)
               : 0;
    needed = room == 0 || room < want;
    wal->attempting = needed;
    if (!needed)
        wal->want = 0;
    mutex_unlock(&wal->mu);
    if (!needed)
        return;
    prepared_discard(wal);
    prepare_once(wal, want);
}

/* ---- keeper: old segments ---- */

static struct wal_segment *left_next(struct wal *wal)
{
    uint64_t below = wal_pos_segment(wal_published(wal));
    struct wal_segment *segment;

    mutex_lock(&wal->mu);
    for (segment = wal->first; segment && segment->number < below && !segment->map;)
        segment = segment->next;
    if (segment && segment->number >= below)
        segment = NULL;
    mutex_unlock(&wal->mu);
    return segment;
}

/* A segment that all commits have left is unmapped and on its way to the disk before a sync asks for it: of a mapped
 * file a sync makes each page read-only first, and interrupts the other processors for every one of them, and a flush
 * would wait at its end for all that was logged meanwhile. */
static void keeper_let_go(struct wal *wal)
{
    struct wal_segment *segment;

    while ((segment = left_next(wal)) != NULL) {
        unsigned char *map;

        mutex_lock(&wal->mu);
        map = segment->map;
        segment->map = NULL;
        mutex_unlock(&wal->mu);
        io_unmap(segment->file, map, (size_t)segment->size);
        io_write_back(segment->file, 0, (size_t)segment->size);
    }
}

/* Behind its end only zeros and an END mark are left. The seal, which says that the file may end there, is durable:
 * no crash leaves one without the other. That it cannot be cut is no harm. */
static void cut_to_end(struct wal *wal, struct wal_segment *segment, struct io_file *file, uint64_t end)
{
    if (io_resize(file, end) != HELIOS_OK)
        return;
    mutex_lock(&wal->mu);
    segment->bytes = end;
    mutex_unlock(&wal->mu);
    atomic_fetch_sub_explicit(&wal->bytes, segment->size - end, memory_order_relaxed);
}

helios_status wal_seal(struct wal *wal, struct wal_segment *segment, uint64_t end, helios_seq last, bool sync)
{
    bool kept = wal_is_kept(wal, segment->number);
    unsigned char seal[64];
    struct io_file *file;
    unsigned char *map;
    helios_status status;

    mutex_lock(&wal->mu);
    file = segment->file;
    map = segment->map;
    segment->map = NULL;
    mutex_unlock(&wal->mu);
    if (map)
        io_unmap(file, map, (size_t)segment->size);
    wal_seal_encode(seal, segment->salt, end, last, io_time(wal->options.fs));
    status = io_write(file, WAL_SEAL, seal, sizeof(seal));
    if (status == HELIOS_OK && (sync || kept))
        status = io_sync(file);
    if (status == HELIOS_OK && kept)
        cut_to_end(wal, segment, file, end);
    if (status == HELIOS_OK && kept && segment->index.capacity > 0 && end > WAL_INDEX_CHUNK)
        wal_index_write(&wal->options, &segment->header, end, &segment->index);
    mutex_lock(&wal->mu);
    segment->file = NULL;
    segment->sealed = true;
    mutex_unlock(&wal->mu);
    io_close(file);
    return status;
}

static struct wal_segment *seal_next(struct wal *wal)
{
    uint64_t below = wal_pos_segment(wal_durable(wal));
    struct wal_segment *segment;

    mutex_lock(&wal->mu);
    for (segment = wal->first; segment && segment->number < below && segment->sealed;)
        segment = segment->next;
    if (segment && segment->number >= below)
        segment = NULL;
    mutex_unlock(&wal->mu);
    return segment;
}

void wal_keeper_seal(struct wal *wal)
{
    struct wal_segment *segment;

    while ((segment = seal_next(wal)) != NULL) {
        uint64_t end = atomic_load_explicit(&segment->end, memory_order_acquire);

        /* Not synced: a seal is a proof more, and the segment has its END. So a failure costs nothing. */
        if (wal_seal(wal, segment, end, segment->last, false) != HELIOS_OK)
            continue;
    }
}

/* Its place among those that are kept; not the memory for one: it stays in the list until there is. */
static bool keep_locked(struct wal *wal, const struct wal_segment *segment)
{
    const struct wal_kept kept = {
        .number = segment->number,
        .bytes = segment->bytes,
        .end = atomic_load_explicit(&segment->end, memory_order_acquire),
        .first = atomic_load_explicit(&segment->first, memory_order_relaxed),
    };

    return wal_kept_add_locked(wal, &kept) == HELIOS_OK;
}

/* The oldest segment, off the list, if it was released. *kept: it is among the kept ones now, so that whoever looks for
 * it always finds it in one of the two. */
static struct wal_segment *release_next(struct wal *wal, bool *kept)
{
    uint64_t floor = atomic_load_explicit(&wal->floor, memory_order_acquire);
    struct wal_segment *segment;

    mutex_lock(&wal->mu);
    segment = wal->first;
    if (!segment || segment->number >= floor || !segment->sealed || wal->holds > 0)
        segment = NULL;
    *kept = segment && wal_is_kept(wal, segment->number);
    if (*kept && !keep_locked(wal, segment))
        segment = NULL;
    if (segment)
        wal->first = segment->next;
    mutex_unlock(&wal->mu);
    return segment;
}

static bool spare_keep(struct wal *wal, struct wal_segment *segment)
{
    bool keep = !segment->old && !segment->linked && segment->bytes == wal->options.segment_bytes;

    mutex_lock(&wal->mu);
    keep = keep && wal->spare_count < wal->options.recycle_max && wal->cursors == 0;
    if (keep) {
        segment->next = wal->spare;
        wal->spare = segment;
        wal->spare_count++;
    }
    mutex_unlock(&wal->mu);
    return keep;
}

static void forget(struct wal *wal, uint64_t number, uint64_t bytes, bool indexed)
{
    remove_file(wal, number);
    if (indexed)
        wal_index_remove(&wal->options, number);
    atomic_fetch_sub_explicit(&wal->bytes, bytes, memory_order_relaxed);
}

/* An archive takes its segment's place in the list before the segment's file goes: the archiver sees to that. */
static void forget_kept(struct wal *wal, const struct wal_kept *kept)
{
    char path[WAL_PATH_MAX];

    if (!kept->archived) {
        forget(wal, kept->number, kept->bytes, true);
        return;
    }
    wal_archive_path(wal->options.directory, kept->number, false, path, sizeof(path));
    if (io_remove(wal->options.fs, path) == HELIOS_OK)
        atomic_fetch_sub_explicit(&wal->bytes, kept->bytes, memory_order_relaxed);
}

static bool has_kept(struct wal *wal)
{
    bool has;

    mutex_lock(&wal->mu);
    has = wal->kept_count > 0;
    mutex_unlock(&wal->mu);
    return has;
}

/* Without its thread nothing is archived, until it can be had. */
static void keeper_archive(struct wal *wal)
{
    if (!wal->options.archive || !has_kept(wal))
        return;
    if (!wal->archiver_runs)
        wal->archiver_runs = thread_start(&wal->archiver, "helios-archive", wal_archiver_run, wal) == HELIOS_OK;
    wal_archiver_wake(wal);
}

static void keeper_release(struct wal *wal)
{
    struct wal_segment *segment;
    struct wal_kept dropped[64];
    size_t count;
    bool kept;

    while ((segment = release_next(wal, &kept)) != NULL) {
        if (!kept && spare_keep(wal, segment))
            continue;
        if (!kept)
            forget(wal, segment->number, segment->bytes, wal_keeping(wal) || segment->index.capacity > 0);
        wal_segment_free(segment);
    }
    while ((count = wal_kept_drop(wal, dropped, 64)) > 0) {
        for (size_t i = 0; i < count; i++)
            forget_kept(wal, &dropped[i]);
    }
}

/* Spares are for a load. One that ends leaves a memtable's worth of them, which may be as much as the data. */
static void keeper_rest(struct wal *wal)
{
    struct wal_segment *spare;

    while ((spare = spare_take(wal, wal->options.segment_bytes)) != NULL) {
        remove_file(wal, spare->number);
        wal_segment_free(spare);
    }
}

static bool has_spares(struct wal *wal)
{
    bool has;

    mutex_lock(&wal->mu);
    has = wal->spare != NULL;
    mutex_unlock(&wal->mu);
    return has;
}

static void keeper_wait(struct wal *wal, uint32_t word)
{
    wal_pos published = wal_published(wal);

    if (has_failed(wal) || !has_spares(wal)) {
        futex_wait(&wal->keeper_word, word, UINT64_MAX);
        return;
    }
    futex_wait(&wal->keeper_word, word, REST_TIME);
    if (atomic_load_explicit(&wal->keeper_word, memory_order_acquire) == word &&
        wal_published(wal) == published && !has_failed(wal))
        keeper_rest(wal);
}

static void *keeper_run(void *arg)
{
    struct wal *wal = arg;

    while (!stopping(wal)) {
        uint32_t word = atomic_load_explicit(&wal->keeper_word, memory_order_acquire);

        if (!has_failed(wal)) {
            keeper_release(wal);
            keeper_prepare(wal);
            keeper_let_go(wal);
            wal_keeper_seal(wal);
            keeper_release(wal);
            keeper_archive(wal);
        }
        if (!stopping(wal))
            keeper_wait(wal, word);
    }
    return NULL;
}

/* ---- syncer ---- */

static uint64_t add_time(uint64_t at, uint64_t by)
{
    return at > UINT64_MAX - by ? UINT64_MAX : at + by;
}

/* Asked for while a request stands, this one may ride along if it is not earlier: the syncer takes the
 * request away before it looks at what is published, so that what was published before this call is seen. */
void wal_sync_soon(struct wal *wal, uint64_t delay)
{
    uint64_t by = add_time(io_monotonic(wal->options.fs), delay);
    uint64_t before;

    if (by == 0)
        by = 1;
    /* An exchange of both sides: either the syncer's comes later and sees our publication, or ours sees 0. */
    before = atomic_fetch_add_explicit(&wal->soon, 0, memory_order_acq_rel);
    while (before == 0 || before > by) {
        if (atomic_compare_exchange_weak(&wal->soon, &before, by)) {
            word_wake(&wal->syncer_word);
            return;
        }
    }
}

static void sync_published(struct wal *wal)
{
    /* A failure is kept in the log, which tells it to whoever asks. */
    if (wal_sync(wal, UINT64_MAX, UINT64_MAX) != HELIOS_OK)
        return;
}

static void *syncer_run(void *arg)
{
    struct wal *wal = arg;
    uint64_t regular = add_time(io_monotonic(wal->options.fs), wal->options.sync_interval);

    while (!stopping(wal)) {
        uint32_t word = atomic_load_explicit(&wal->syncer_word, memory_order_acquire);
        uint64_t now = io_monotonic(wal->options.fs);
        uint64_t soon = atomic_load_explicit(&wal->soon, memory_order_acquire);
        uint64_t due = soon != 0 && soon < regular ? soon : regular;

        if (now >= due && due != UINT64_MAX) {
            atomic_exchange(&wal->soon, 0);
            sync_published(wal);
            regular = add_time(io_monotonic(wal->options.fs), wal->options.sync_interval);
        } else if (!stopping(wal)) {
            futex_wait(&wal->syncer_word, word, due == UINT64_MAX ? UINT64_MAX : due - now);
        }
    }
    return NULL;
}

/* ---- both ---- */

/* Behind the keeper's end, who may have started it at last. */
static void archiver_join(struct wal *wal)
{
    wal_archiver_wake(wal);
    if (wal->archiver_runs)
        thread_join(wal->archiver);
}

helios_status wal_background_start(struct wal *wal)
{
    helios_status status = thread_start(&wal->keeper, "helios-log", keeper_run, wal);

    if (status != HELIOS_OK)
        return status;
    status = thread_start(&wal->syncer, "helios-sync", syncer_run, wal);
    if (status == HELIOS_OK)
        return HELIOS_OK;
    atomic_store_explicit(&wal->stop, true, memory_order_release);
    word_wake(&wal->keeper_word);
    thread_join(wal->keeper);
    archiver_join(wal);
    return status;
}

void wal_background_stop(struct wal *wal)
{
    atomic_store_explicit(&wal->stop, true, memory_order_release);
    word_wake(&wal->keeper_word);
    word_wake(&wal->syncer_word);
    wal_archiver_wake(wal);
    thread_join(wal->keeper);
    thread_join(wal->syncer);
    archiver_join(wal);
}
