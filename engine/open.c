/* open.c - from a path to a running database, and back. The order: look at the directory, lock it, read
 * identity and manifest, check that the files are there, replay the log, start a new segment and the
 * background. A failed open undoes what it made. */
#include "engine/branches.h"
#include "engine/feed.h"
#include "engine/identity.h"
#include "engine/keys.h"
#include "engine/merge.h"
#include "engine/origins.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    MEMTABLE_MIN = 64 << 10,
    SEGMENT_MIN = 64 << 10,
    SEGMENT_MAX = 16 << 20,
    ASYNC_INTERVAL = 1000000, /* us */
    CLOCK_AHEAD = 60000000,   /* us */
    RECYCLE_MAX = 8,
    WRITE_BURST = 1000, /* us: what writers may catch up with after they were slower than their rate */
};

/* ---- options ---- */

static const helios_options default_options = HELIOS_OPTIONS_INIT;

static helios_status check_options(const helios_options *o)
{
    if (o->memtable_bytes < MEMTABLE_MIN || o->memtable_bytes > ((uint64_t)4 << 30))
        return fail(HELIOS_INVALID, "memtable_bytes is %" PRIu64 "; 64 KiB to 4 GiB", o->memtable_bytes);
    if (o->block_bytes < 1024 || o->block_bytes > (1 << 20))
        return fail(HELIOS_INVALID, "block_bytes is %u; 1 KiB to 1 MiB", o->block_bytes);
    if (!(o->filter_bits_per_key >= 0 && o->filter_bits_per_key <= 64))
        return fail(HELIOS_INVALID, "filter_bits_per_key is %g; 0 to 64", o->filter_bits_per_key);
    if ((unsigned)o->compression > HELIOS_COMPRESSION_ZSTD ||
        (unsigned)o->bottom_compression > HELIOS_COMPRESSION_ZSTD)
        return fail(HELIOS_INVALID, "compression is none of helios_compression");
    if ((unsigned)o->durability > HELIOS_DURABILITY_SYNC)
        return fail(HELIOS_INVALID, "durability is none of helios_durability");
    if (o->read_only && o->in_memory)
        return fail(HELIOS_INVALID, "an in-memory database cannot be opened read-only: it is always new");
    return HELIOS_OK;
}

/* One budget for everything. Three memtables take at most a quarter of it: the active one, one being flushed, and one
 * more that an iterator still stands on or that waits to be used again. The cache, with the filters and indexes that are
 * charged to it, takes three eighths. The rest is for what has no account: segments of the log that are mapped, buffers of
 * jobs and iterators, and what the allocator cannot use of what it has. */
static void fit_budget(helios_options *o)
{
    if (o->memtable_bytes > o->memory_budget / 12)
        o->memtable_bytes = o->memory_budget / 12;
    if (o->memtable_bytes < MEMTABLE_MIN)
        o->memtable_bytes = MEMTABLE_MIN;
    if (o->block_cache_bytes > o->memory_budget / 8 * 3)
        o->block_cache_bytes = o->memory_budget / 8 * 3;
}

/* What open tables may take of a budget: half of the cache, but also where that is small, for blocks that are not worth
 * keeping, enough that not every read opens its tables anew. */
static uint64_t open_tables_share(const helios_options *o)
{
    uint64_t least = o->memory_budget / 16;

    if (o->memory_budget == 0)
        return 0;
    return o->block_cache_bytes / 2 > least ? o->block_cache_bytes / 2 : least;
}

static helios_status check_encryption(const helios_options *o)
{
    const helios_encryption defaults = HELIOS_ENCRYPTION_INIT;
    helios_encryption known;

    if (o->in_memory)
        return fail(HELIOS_UNSUPPORTED, "an in-memory database has no files to encrypt");
    return options_copy(o->encryption, o->encryption->size, &defaults, sizeof(known), &known,
                        "helios_encryption");
}

static helios_status fill_options(const helios_options *given, helios_options *out)
{
    helios_status status =
        options_copy(given, given ? given->size : 0, &default_options, sizeof(*out), out, "helios_options");

    if (status == HELIOS_OK && out->durability == HELIOS_DURABILITY_DEFAULT)
        out->durability = HELIOS_DURABILITY_ASYNC;
    if (status == HELIOS_OK)
        status = check_options(out);
    if (status == HELIOS_OK && out->encryption)
        status = check_encryption(out);
    if (status == HELIOS_OK && out->memory_budget)
        fit_budget(out);
    return status;
}

/* ---- the handle ---- */

static char *join(const char *path, const char *name)
{
    char joined[PATH_BYTES_MAX];

    if (snprintf(joined, sizeof(joined), "%s/%s", path, name) >= (int)sizeof(joined))
        return NULL;
    return mem_text(joined);
}

static void table_removed(void *arg, uint64_t number)
{
    (void)arg;
    (void)number;
}

/* A commit that takes more of a memtable than this is ingested: an eighth of it or 1 MiB, but always well
 * within a small one. */
static uint64_t ingest_limit(uint64_t memtable_bytes)
{
    uint64_t least = memtable_bytes / 2 < (1 << 20) ? memtable_bytes / 2 : 1 << 20;

    return memtable_bytes / 8 > least ? memtable_bytes / 8 : least;
}

static helios_status db_new(struct io_fs *fs, const char *path, const helios_options *options,
                            struct helios_db **out)
{
    struct helios_db *db;
    helios_status status;

    if (strlen(path) + 64 > PATH_BYTES_MAX)
        return fail(HELIOS_INVALID, "a path of %zu bytes is too long", strlen(path));
    db = mem_aligned(64, sizeof(*db));
    if (!db)
        return fail_no_memory(sizeof(*db));
    memset(db, 0, sizeof(*db));
    db->options = *options;
    db->fs = fs;
    mutex_init(&db->commit_mu);
    mutex_init(&db->state_mu);
    mutex_init(&db->manifest_mu);
    mutex_init(&db->keys_mu);
    mutex_init(&db->home.open_mu);
    mutex_init(&db->home.ring_mu);
    mutex_init(&db->queue.mu);
    condition_init(&db->state_changed);
    tags_init(&db->tags);
    row_ids_init(&db->row_ids);
    feed_init(db);
    origins_init(&db->origins);
    mutex_init(&db->registry_mu);
    holds_init(&db->holds, NULL);
    mutex_init(&db->merge_mu);
    condition_init(&db->merge_over);
    pace_bucket_init(&db->write_pace, 0, WRITE_BURST);
    pace_bucket_init(&db->background_pace, options->write_rate_limit, 100000);
    db->path = mem_text(path);
    db->wal_directory = join(path, "wal");
    db->sst_directory = join(path, "sst");
    db->ring = mem_array(RING_SLOTS, sizeof(*db->ring));
    db->flush_job = mem_zalloc(sizeof(*db->flush_job));
    *out = db;
    if (!db->path || !db->wal_directory || !db->sst_directory || !db->ring || !db->flush_job)
        return fail_no_memory(sizeof(*db));
    db->flush_job->db = db;
    db->flush_job->job.run = flush_run;
    db->ingest_bytes = ingest_limit(options->memtable_bytes);
    db->target_bytes = options->memtable_bytes;
    status = cache_new(options->block_cache_bytes, &db->cache);
    if (status == HELIOS_OK)
        status = pins_new(&db->pins);
    if (status == HELIOS_OK)
        status = pins_new(&db->floors);
    if (status == HELIOS_OK)
        status = registry_new(&db->registry);
    db->holds.registry = db->registry;
    db->home.fs = fs;
    db->home.directory = db->sst_directory;
    db->home.cache = db->cache;
    db->home.open_bytes_max = open_tables_share(options);
    db->home.removed = table_removed;
    db->recovering = true;
    return status;
}

static void free_ring(struct helios_db *db)
{
    for (size_t i = 0; db->ring && i < RING_SLOTS; i++)
        footprint_unref(atomic_load(&db->ring[i].footprint));
    mem_free(db->ring);
}

/* Frees whatever there is; nothing may run any more. */
static void db_free(struct helios_db *db)
{
    struct view *view = atomic_load(&db->view);

    atomic_store(&db->view, NULL);
    view_retire(view);
    version_unref(db->version);
    manifest_close(db->manifest);
    event_log_close(db->events);
    epoch_drain(); /* nobody reads, */
    view_bury(db); /* views let go of their tables, */
    epoch_drain(); /* and these of their blocks, which are charged to the cache */
    memtable_pool_release();
    feed_release(db); /* consumers let go of their floors */
    pins_free(db->pins);
    pins_free(db->floors);
    tags_release(&db->tags);
    row_ids_release(&db->row_ids);
    origins_release(&db->origins);
    holds_release(&db->holds);
    registry_free(db->registry);
    mutex_release(&db->registry_mu);
    mutex_release(&db->merge_mu);
    condition_release(&db->merge_over);
    cache_free(db->cache);
    keys_free(db->keys);
    io_unlock(db->lock);
    mutex_release(&db->queue.mu);
    mutex_release(&db->home.ring_mu);
    mutex_release(&db->home.open_mu);
    mutex_release(&db->keys_mu);
    mutex_release(&db->manifest_mu);
    mutex_release(&db->state_mu);
    mutex_release(&db->commit_mu);
    condition_release(&db->state_changed);
    if (db->owns_fs)
        io_free(db->fs);
    mem_free(db->flush_job);
    free_ring(db);
    mem_free(db->sst_directory);
    mem_free(db->wal_directory);
    mem_free(db->path);
    mem_free(db);
}

/* ---- making a database ---- */

static helios_status make_directory(struct helios_db *db, const char *path)
{
    helios_status status = io_make_directory(db->fs, path);

    return status == HELIOS_EXISTS ? HELIOS_OK : status;
}

/* The file to lock: made empty first, filled under the lock. */
static helios_status touch_identity(struct helios_db *db)
{
    char path[PATH_BYTES_MAX];
    struct io_file *file = NULL;
    helios_status status;

    snprintf(path, sizeof(path), "%s/HELIOS", db->path);
    status = io_open(db->fs, path, IO_WRITE | IO_CREATE, &file);
    io_close(file);
    return status;
}

static helios_status lock_directory(struct helios_db *db)
{
    char path[PATH_BYTES_MAX];
    helios_status status;

    snprintf(path, sizeof(path), "%s/HELIOS", db->path);
    status = io_lock(db->fs, path, !db->options.read_only, &db->lock);
    if (status == HELIOS_BUSY)
        return fail(HELIOS_BUSY,
                    "%s: in use by another opener; close it there, or open read-only beside readers", db->path);
    return status;
}

static helios_status create_database(struct helios_db *db)
{
    struct identity identity = {.encrypted = db->options.encryption != NULL};
    struct manifest_state state = {.next_file = 1, .time = io_time(db->fs)};
    struct version *empty = NULL;
    struct manifest *manifest = NULL;
    helios_status status = identity_draw(db->fs, db->options.node_id, &identity);

    if (status == HELIOS_OK && identity.encrypted)
        status = keys_create(db->fs, db->path, db->options.encryption, &db->keys);
    if (status == HELIOS_OK)
        status = identity_write(db->fs, db->path, &identity);
    if (status == HELIOS_OK)
        status = make_directory(db, db->wal_directory);
    if (status == HELIOS_OK)
        status = make_directory(db, db->sst_directory);
    if (status == HELIOS_OK)
        status = io_sync_directory(db->fs, db->path);
    if (status == HELIOS_OK)
        status = directory_sync_name(db->fs, db->path);
    if (status == HELIOS_OK)
        status = version_new_empty(&empty);
    if (status == HELIOS_OK)
        status = manifest_create(db->fs, keys_crypt(db->keys), db->path, &state, empty, &manifest);
    manifest_close(status == HELIOS_OK ? manifest : NULL);
    version_unref(empty);
    return status;
}

struct making {
    bool directory, files;
};

/* Decides what is at the path and brings it to an existing, locked database. */
static helios_status find_or_create(struct helios_db *db, struct making *made)
{
    const helios_options *o = &db->options;
    enum directory_kind kind;
    helios_status status = directory_look(db->fs, db->path, &kind);

    if (status != HELIOS_OK)
        return status;
    if (kind == DIRECTORY_DATABASE) {
        if (o->error_if_exists)
            return fail(HELIOS_EXISTS, "%s: there is a database already", db->path);
        return lock_directory(db);
    }
    if (!o->create_if_missing || o->read_only)
        return fail(HELIOS_NOT_FOUND, "%s: %s; create it first (create_if_missing)", db->path,
                    kind == DIRECTORY_NONE ? "no such directory" : "holds no database");
    if (kind == DIRECTORY_NONE) {
        status = io_make_directory(db->fs, db->path);
        if (status == HELIOS_EXISTS)
            status = HELIOS_OK; /* somebody else creates it at this moment: the lock decides */
        else
            made->directory = status == HELIOS_OK;
    }
    if (status == HELIOS_OK)
        status = touch_identity(db);
    if (status == HELIOS_OK)
        status = lock_directory(db);
    if (status != HELIOS_OK)
        return status;
    status = directory_look(db->fs, db->path, &kind); /* now under the lock */
    if (status != HELIOS_OK || kind == DIRECTORY_DATABASE)
        return status;
    made->files = true;
    return create_database(db);
}

/* ---- checks before the replay ---- */

static helios_status check_directory(struct helios_db *db, const char *path)
{
    struct io_stat stat;
    helios_status status = io_stat(db->fs, path, &stat);

    if (status == HELIOS_NOT_FOUND || (status == HELIOS_OK && !stat.is_directory))
        return fail_corrupt("%s: missing, or no directory; restore it from a backup", path);
    return status;
}

static helios_status check_files(struct helios_db *db)
{
    helios_status found = check_directory(db, db->wal_directory);

    if (found == HELIOS_OK)
        found = check_directory(db, db->sst_directory);
    if (found != HELIOS_OK)
        return found;
    for (size_t l = 0; l < LEVEL_COUNT; l++)
        for (size_t i = 0; i < db->version->levels[l].count; i++) {
            const struct table_file *file = db->version->levels[l].files[i];
            char path[PATH_BYTES_MAX];
            struct io_stat stat;
            helios_status status;

            table_file_path(&db->home, file->number, path, sizeof(path));
            status = io_stat(db->fs, path, &stat);
            if (status == HELIOS_NOT_FOUND)
                return fail_corrupt("%s: missing, but the manifest names it; restore it from a backup", path);
            if (status != HELIOS_OK)
                return status;
            if (!stat.is_regular)
                return fail_corrupt("%s: not a regular file", path);
            if (stat.size != file->size)
                return fail_corrupt("%s: has %" PRIu64 " bytes, the manifest says %" PRIu64, path, stat.size,
                                    file->size);
        }
    return HELIOS_OK;
}

static helios_status highest_number(void *arg, const char *name)
{
    uint64_t number, *highest = arg;

    if (numbered_name(name, ".sst", &number) && number > *highest)
        *highest = number;
    if (strncmp(name, "MANIFEST-", 9) == 0 && numbered_name(name + 9, "", &number) && number > *highest)
        *highest = number;
    return HELIOS_OK;
}

/* Files that a killed process left may have taken numbers that no edit tells of. */
static helios_status skip_used_numbers(struct helios_db *db)
{
    uint64_t highest = 0;
    helios_status status = io_list(db->fs, db->sst_directory, highest_number, &highest);

    if (status == HELIOS_OK)
        status = io_list(db->fs, db->path, highest_number, &highest);
    if (status == HELIOS_OK && highest >= db->next_file)
        db->next_file = highest + 1;
    return status;
}

/* ---- leftovers ---- */

struct sweep {
    struct helios_db *db;
    const char *directory;
    bool tables;
};

static bool is_live(struct helios_db *db, uint64_t number)
{
    for (size_t l = 0; l < LEVEL_COUNT; l++)
        for (size_t i = 0; i < db->version->levels[l].count; i++)
            if (db->version->levels[l].files[i]->number == number)
                return true;
    return false;
}

static helios_status sweep_entry(void *arg, const char *name)
{
    const struct sweep *sweep = arg;
    char path[PATH_BYTES_MAX];
    uint64_t number;
    bool leftover;

    if (sweep->tables)
        leftover = numbered_name(name, ".sst", &number) && !is_live(sweep->db, number);
    else
        leftover = strcmp(name, "CURRENT.tmp") == 0 ||
                   (strncmp(name, "MANIFEST-", 9) == 0 && numbered_name(name + 9, "", &number) &&
                    number != manifest_number(sweep->db->manifest));
    if (!leftover)
        return HELIOS_OK;
    snprintf(path, sizeof(path), "%s/%s", sweep->directory, name);
    if (io_remove(sweep->db->fs, path) == HELIOS_OK)
        event_log_say(sweep->db->events, "removed %s, left over by an earlier process", path);
    return HELIOS_OK; /* it can stay: the next open tries again */
}

static void sweep_leftovers(struct helios_db *db)
{
    struct sweep tables = {db, db->sst_directory, true}, manifests = {db, db->path, false};

    if (io_list(db->fs, db->sst_directory, sweep_entry, &tables) != HELIOS_OK ||
        io_list(db->fs, db->path, sweep_entry, &manifests) != HELIOS_OK)
        event_log_say(db->events, "could not look for leftovers: %s", helios_last_error());
}

/* ---- recovery ---- */

static helios_status first_view(struct helios_db *db)
{
    struct view *view = view_alloc(db);
    struct mem_slot *slot = NULL;
    helios_status status = view ? mem_slot_new(db, slice_make("", 0), &slot) : HELIOS_NO_MEMORY;

    if (status != HELIOS_OK) {
        mem_free(view);
        return status;
    }
    slot->first = db->manifest_state.flushed + 1;
    slot->log_segment = db->manifest_state.log_floor;
    db->active = slot;
    view_fill(view, slot, NULL, 0, db->version);
    mutex_lock(&db->state_mu);
    view_install_locked(db, view);
    mutex_unlock(&db->state_mu);
    mem_slot_unref(slot);
    return HELIOS_OK;
}

static uint64_t segment_bytes(const struct helios_db *db)
{
    uint64_t bytes = db->options.memtable_bytes / 4, space = 0;

    if (bytes > SEGMENT_MAX)
        bytes = SEGMENT_MAX;
    /* Less on a nearly full disk: a segment takes its place before it is used. */
    if (io_free_space(db->fs, db->path, &space) == HELIOS_OK)
        while (bytes > SEGMENT_MIN && bytes * 16 > space)
            bytes /= 2;
    if (bytes < SEGMENT_MIN)
        bytes = SEGMENT_MIN;
    return bytes & ~(uint64_t)4095;
}

/* Numbers that nobody owns, for the next edit. */
static void note_lost(struct manifest_state *state, helios_seq first, helios_seq last)
{
    if (state->lost_count == LOST_RANGES_MAX)
        memmove(state->lost, state->lost + 1, --state->lost_count * sizeof(state->lost[0]));
    state->lost[state->lost_count++] = (struct lost_range){first, last};
}

/* A clean close leaves the ceiling at the last number handed out; after anything else those up to it may
 * have been handed out and are lost. found: the state as the manifest had it, before flushes of the replay wrote edits of
 * their own, which are never clean and raise the ceiling. */
static void continue_numbers(struct helios_db *db, const struct manifest_state *found)
{
    helios_seq last = atomic_load(&db->visible);

    if (found->flushed > last)
        last = found->flushed;
    if (db->version->seq_max > last)
        last = db->version->seq_max;
    if (found->clean && found->last > last)
        last = found->last;
    atomic_store(&db->visible, last); /* maybe of no commit: the latest one is known since the replay */
    if (db->next <= last)
        db->next = last + 1;
    if (!found->clean && found->ceiling >= db->next)
        note_lost(&db->manifest_state, db->next, found->ceiling);
    if (found->ceiling >= db->next)
        db->next = found->ceiling + 1;
    db->first_number = db->next;
    if (db->active->first <= last && memtable_empty(db->active->memtable))
        db->active->first = db->next;
}

static int compare_samples(const void *a, const void *b)
{
    const struct horizon_sample *x = a, *y = b;

    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* What the files know of time: each holds nothing newer than its last commit. After the replay: the horizon may have
 * stood at commits that were lost with the end of the log. None of them was in a table, so nothing was collected
 * because of them, and the last commit that is left takes their place. */
static helios_status load_retention(struct helios_db *db)
{
    helios_seq visible = atomic_load(&db->visible), latest = atomic_load(&db->latest);
    helios_seq horizon = db->manifest_state.horizon < latest ? db->manifest_state.horizon : latest;
    size_t count = 0, room = db->version->file_count + 1;
    struct horizon_sample *samples = mem_array(room, sizeof(*samples));
    helios_status status;
    bool ahead;

    if (!samples)
        return fail_no_memory(room * sizeof(*samples));
    for (size_t l = 0; l < LEVEL_COUNT; l++)
        for (size_t i = 0; i < db->version->levels[l].count; i++) {
            const struct table_properties *p = &db->version->levels[l].files[i]->properties;

            if (p->time_max && p->seq_max <= visible)
                samples[count++] = (struct horizon_sample){(int64_t)p->time_max, p->seq_max};
        }
    if (db->manifest_state.last && db->manifest_state.last <= visible)
        samples[count++] = (struct horizon_sample){(int64_t)db->manifest_state.time, db->manifest_state.last};
    qsort(samples, count, sizeof(*samples), compare_samples);
    mutex_lock(&db->state_mu); /* the janitor looks at it */
    horizon_init(&db->retention, db->options.history_retention, horizon);
    ahead = horizon_load(&db->retention, io_monotonic(db->fs), io_time(db->fs), samples, count);
    mutex_unlock(&db->state_mu);
    status = feed_load_retention(db, samples, count);
    if (ahead)
        event_log_say(db->events,
                      "the clock of an earlier run was ahead of this one's: history is kept longer");
    mem_free(samples);
    atomic_store(&db->horizon, horizon);
    return status;
}

static void tell_recovery(struct helios_db *db, const struct wal_recovery *r)
{
    event_log_say(db->events,
                  "opened: %zu tables, %" PRIu64 " log records (%" PRIu64
                  " bytes) replayed, last commit %" PRIu64,
                  db->version->file_count, r->records, r->bytes, (uint64_t)atomic_load(&db->visible));
    if (r->cut_bytes)
        event_log_say(db->events,
                      "the log was cut at segment %" PRIu64 " offset %" PRIu64 ": %" PRIu64
                      " bytes and %" PRIu64 " commits behind it were never acknowledged as durable",
                      wal_pos_segment(r->end), wal_pos_offset(r->end), r->cut_bytes, r->cut_records);
}

/* The memtables of the replay know the segments as they were before the log's end was moved. */
static void move_log_segments(struct helios_db *db)
{
    struct view *view = atomic_load(&db->view);

    for (size_t i = 0; i < view->closed_count; i++)
        view->closed[i]->log_segment = wal_segment_moved(db->wal, view->closed[i]->log_segment);
    db->active->log_segment = mem_slot_empty(db->active) ? wal_segment_now(db->wal)
                                                         : wal_segment_moved(db->wal, db->active->log_segment);
}

static void say_of_log(void *arg, const char *sentence)
{
    const struct helios_db *db = arg;

    event_log_say(db->events, "%s", sentence);
}

static helios_status replay_and_start_log(struct helios_db *db)
{
    const struct manifest_state found = db->manifest_state;
    struct wal_options options = {
        .fs = db->fs,
        .crypt = keys_crypt(db->keys),
        .directory = db->wal_directory,
        .segment_bytes = segment_bytes(db),
        .sync_interval = ASYNC_INTERVAL,
        .use_mapping = true,
        .recycle_max = RECYCLE_MAX,
        /* Also if no feed is wanted any more: nothing goes before the manifest says so. */
        .keep = found.feed_first ? found.feed_segment : WAL_KEEP_NONE,
        .archive = !db->keys,
        .terms = feed_terms,
        .say = say_of_log,
        .say_arg = db,
    };
    struct wal_recovery recovery = {
        .floor = found.log_floor,
        .synced = found.log_synced,
        .last_synced = found.last_synced,
        .clean = found.clean,
        .clean_end = found.clean_end,
        .read_only = db->options.read_only,
    };
    helios_status status = recover_log(db, &options, &recovery);

    if (status != HELIOS_OK)
        return status;
    continue_numbers(db, &found);
    tell_recovery(db, &recovery);
    if (db->options.read_only)
        return found.feed_first ? wal_open_reading(&options, &recovery, db->next, &db->feed.found) : HELIOS_OK;
    status = wal_open(&options, &recovery, db->next, &db->wal);
    if (status == HELIOS_OK)
        move_log_segments(db);
    return status;
}

/* Times never decrease, also across opens: the replay raises it further. */
static void restore_clock(struct helios_db *db)
{
    db->last_time = db->manifest_state.clock;
    for (size_t l = 0; l < LEVEL_COUNT; l++)
        for (size_t i = 0; i < db->version->levels[l].count; i++)
            if (db->version->levels[l].files[i]->properties.time_max > db->last_time)
                db->last_time = db->version->levels[l].files[i]->properties.time_max;
}

static void tell_clock(struct helios_db *db)
{
    uint64_t now = io_time(db->fs);

    if (db->last_time > now && db->last_time - now > CLOCK_AHEAD)
        event_log_say(db->events,
                      "the clock of an earlier run was %" PRIu64
                      " s ahead of this one's: commits get its last time until then",
                      (db->last_time - now) / 1000000);
}

/* Before anything else is read, or any file is changed. */
static helios_status bring_keys(struct helios_db *db, bool encrypted)
{
    const helios_encryption *source = db->options.encryption;
    helios_status status = HELIOS_OK;

    if (encrypted && !source)
        return fail(HELIOS_INVALID, "%s: is encrypted; open it with its key (helios_options.encryption)",
                    db->path);
    if (!encrypted && source)
        return fail(HELIOS_INVALID,
                    "%s: is not encrypted, and a key was given; encryption is decided when a database is made",
                    db->path);
    if (encrypted && !db->keys) /* it was not made just now */
        status = keys_open(db->fs, db->path, source, &db->keys);
    db->home.crypt = keys_crypt(db->keys);
    db->options.encryption = NULL; /* the caller's */
    return status;
}

static helios_status bring_back(struct helios_db *db)
{
    struct identity identity;
    helios_status status = identity_read(db->fs, db->path, &identity);

    if (status == HELIOS_OK)
        status = bring_keys(db, identity.encrypted);
    if (status != HELIOS_OK)
        return status;
    memcpy(db->uuid, identity.uuid, 16);
    memcpy(db->node_id, identity.node_id, 16);
    db->created = identity.created;
    if (!db->options.read_only)
        db->events = event_log_open(db->fs, db->path);
    status = manifest_open(db->fs, keys_crypt(db->keys), db->path, &db->home, db->options.read_only,
                           &db->manifest_state, &db->version, &db->manifest);
    if (status == HELIOS_OK)
        status = check_files(db);
    if (status != HELIOS_OK)
        return status;
    db->next_file = db->manifest_state.next_file;
    db->next = db->manifest_state.flushed + 1;
    db->ceiling = db->manifest_state.ceiling;
    atomic_store(&db->visible, db->manifest_state.flushed);
    atomic_store(&db->latest, db->manifest_state.timeline_flushed);
    db->timeline_flushed = db->manifest_state.timeline_flushed;
    restore_clock(db);
    atomic_store(&db->user_bytes, db->manifest_state.user_bytes);
    atomic_store(&db->horizon, db->manifest_state.horizon); /* what edits repeat until the replay is over */
    atomic_store(&db->holds.through, db->manifest_state.drops_settled); /* likewise */
    status = feed_found(db, db->manifest_state.feed_first, db->manifest_state.feed_segment);
    if (status == HELIOS_OK)
        status = skip_used_numbers(db);
    return status == HELIOS_OK ? first_view(db) : status;
}

static helios_status start(struct helios_db *db)
{
    helios_status status = HELIOS_OK;

    if (!db->options.read_only) {
        /* The new ceiling is durable before a number above the old one is handed out. */
        status = tree_install(db, NULL, 0, NULL);
        if (status == HELIOS_OK) {
            sweep_leftovers(db);
            feed_settle(db);
            if (db->keys && keys_settle(db) != HELIOS_OK)
                event_log_say(db->events, "could not look for unused keys: %s", helios_last_error());
        }
    }
    if (status != HELIOS_OK)
        return status;
    mutex_lock(&db->state_mu);
    db->recovering = false;
    background_schedule_locked(db);
    mutex_unlock(&db->state_mu);
    return HELIOS_OK;
}

/* An in-memory database keeps no log, as nothing would survive to replay it, unless it is its change feed. */
static bool keeps_log(const struct helios_db *db)
{
    return !db->options.in_memory || db->options.feed_retention != 0;
}

static helios_status open_found(struct helios_db *db)
{
    helios_status status = bring_back(db);

    if (status == HELIOS_OK && !db->options.read_only)
        status = background_start(db); /* the replay flushes what fills up */
    if (status == HELIOS_OK && keeps_log(db))
        status = replay_and_start_log(db);
    if (status == HELIOS_OK)
        status = load_retention(db);
    if (status == HELIOS_OK)
        tell_clock(db);
    if (status == HELIOS_OK)
        status = feed_begin(db); /* before branches: consumers hold what was dropped */
    if (status == HELIOS_OK)
        status = branches_load(db);
    if (status == HELIOS_OK)
        status = merges_load(db);
    if (status == HELIOS_OK)
        status = tags_load(db);
    if (status == HELIOS_OK)
        status = merges_settle(db);
    if (status == HELIOS_OK)
        status = origins_load(db);
    if (status != HELIOS_OK)
        return status;
    fate_begin(db);
    return start(db);
}

helios_status engine_open(struct io_fs *fs, const char *path, const helios_options *given, helios_db **out)
{
    helios_options options;
    struct making made = {0};
    struct helios_db *db = NULL;
    struct error_note note = {0};
    helios_status status = fill_options(given, &options);

    if (status != HELIOS_OK)
        return status;
    status = db_new(fs, path, &options, &db);
    if (status == HELIOS_OK)
        status = find_or_create(db, &made);
    if (status == HELIOS_OK)
        status = open_found(db);
    if (status == HELIOS_OK) {
        *out = db;
        return HELIOS_OK;
    }
    error_keep(&note, status);
    if (db) {
        background_stop(db);
        (void)!wal_close(db->wal, NULL);
        if (made.files || made.directory)
            (void)!directory_remove_ours(fs, path, made.directory);
        db_free(db);
    }
    return error_tell(&note);
}

helios_status helios_open(const char *path, const helios_options *given, helios_db **out)
{
    helios_options options;
    struct io_fs *fs = io_posix();
    helios_status status;

    if (!path || !out)
        return fail(HELIOS_INVALID, "no %s was given", path ? "place for the database" : "path");
    status = fill_options(given, &options);
    if (status == HELIOS_OK && options.in_memory)
        status = io_memory_new(&fs);
    if (status != HELIOS_OK)
        return status;
    if (!options.in_memory)
        return engine_open(fs, path, &options, out);
    status = engine_open(fs, "/memory", &options, out);
    if (status == HELIOS_OK)
        (*out)->owns_fs = true;
    else
        io_free(fs);
    return status;
}

/* ---- closing ---- */

static helios_status check_handles(struct helios_db *db)
{
    uint32_t iterators = atomic_load(&db->iterators), snapshots = atomic_load(&db->snapshots);
    uint32_t transactions = atomic_load(&db->transactions);

    if (iterators || snapshots || transactions)
        return fail(HELIOS_BUSY,
                    "%s: %u iterators, %u snapshots and %u transactions are still open; nothing is closed",
                    db->path, iterators, snapshots, transactions);
    return HELIOS_OK;
}

/* Commits that are in no log go into tables. A database that failed cannot do that, and says what it loses. */
static helios_status flush_unlogged(struct helios_db *db)
{
    helios_status status;

    if (!unlogged_up_to(db, SEQ_MAX))
        return HELIOS_OK;
    if (!atomic_load(&db->failed))
        return background_flush_all(db);
    mutex_lock(&db->state_mu);
    status = error_tell(&db->failure);
    mutex_unlock(&db->state_mu);
    return fail_context(status, "%s: closed without the commits that were not logged", db->path);
}

static helios_status close_writable(struct helios_db *db)
{
    struct error_note note = {0};
    helios_status status = flush_unlogged(db), ended;
    wal_pos end = 0;

    error_keep(&note, status);
    background_stop(db);
    ended = wal_close(db->wal, &end);
    db->wal = NULL;
    status = status == HELIOS_OK ? ended : error_tell(&note);
    if (status == HELIOS_OK && !atomic_load(&db->failed))
        status = tree_mark_clean(db, end);
    return status;
}

helios_status helios_close(helios_db *db)
{
    struct error_note note = {0};
    helios_status status = HELIOS_OK;

    if (!db)
        return HELIOS_OK;
    status = check_handles(db);
    if (status != HELIOS_OK)
        return status;
    if (!db->options.read_only && !db->options.in_memory) {
        status = close_writable(db);
    } else {
        background_stop(db);
        status = wal_close(db->wal, NULL);
        db->wal = NULL;
    }
    if (status == HELIOS_OK)
        event_log_say(db->events, "closed");
    error_keep(&note, status);
    db_free(db);
    return note.status == HELIOS_OK ? HELIOS_OK : error_tell(&note);
}

helios_status helios_destroy(const char *path)
{
    struct io_fs *fs = io_posix();
    struct io_lock *lock = NULL;
    char identity[PATH_BYTES_MAX];
    enum directory_kind kind;
    helios_status status;

    if (!path)
        return fail(HELIOS_INVALID, "no path was given");
    status = directory_look(fs, path, &kind);
    if (status == HELIOS_CORRUPT)
        kind = DIRECTORY_DATABASE; /* parts of one: they are ours as well */
    else if (status != HELIOS_OK)
        return status;
    if (kind == DIRECTORY_NONE || kind == DIRECTORY_FREE)
        return fail(HELIOS_NOT_FOUND, "%s: holds no database", path);
    snprintf(identity, sizeof(identity), "%s/HELIOS", path);
    status = io_lock(fs, identity, true, &lock);
    if (status == HELIOS_BUSY)
        return fail(HELIOS_BUSY, "%s: in use; close it before it is destroyed", path);
    if (status != HELIOS_OK && status != HELIOS_NOT_FOUND)
        return status;
    status = directory_remove_ours(fs, path, true);
    io_unlock(lock);
    return status;
}
