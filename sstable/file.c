/* file.c - table files as versions of the tree hold them: counted, opened when they are used and closed when memory
 * is short, unlinked by the last holder once no version lists them. Called by engine/ and compaction/. */
#include "sstable/file.h"
#include "base/mem.h"
#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

static helios_slice place_key(char **at, helios_slice key)
{
    helios_slice placed = slice_make(*at, key.size);

    if (key.size)
        memcpy(*at, key.data, key.size);
    *at += key.size;
    return placed;
}

helios_status table_file_new_at(struct table_home *home, const char *path, uint64_t number, uint64_t size,
                                helios_seq override_seq, helios_slice smallest, helios_slice largest,
                                bool largest_exclusive, const struct table_properties *properties,
                                struct table_file **out)
{
    size_t path_size = path ? strlen(path) + 1 : 0, bytes = smallest.size + largest.size + path_size;
    struct table_file *f = mem_zalloc(sizeof(*f) + bytes);
    char *at = (char *)(f + 1);

    if (!f)
        return fail_no_memory(sizeof(*f) + bytes);
    atomic_init(&f->refs, 1);
    f->home = home;
    f->number = number;
    f->size = size;
    f->override_seq = override_seq;
    f->smallest = place_key(&at, smallest);
    f->largest = place_key(&at, largest);
    if (path)
        f->path = memcpy(at, path, path_size);
    f->largest_exclusive = largest_exclusive;
    f->properties = *properties;
    *out = f;
    return HELIOS_OK;
}

helios_status table_file_new(struct table_home *home, uint64_t number, uint64_t size, helios_seq override_seq,
                             helios_slice smallest, helios_slice largest, bool largest_exclusive,
                             const struct table_properties *properties, struct table_file **out)
{
    return table_file_new_at(home, NULL, number, size, override_seq, smallest, largest, largest_exclusive,
                             properties, out);
}

struct table_file *table_file_ref(struct table_file *f)
{
    uint32_t old = atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);

    assert(old > 0);
    (void)old;
    return f;
}

void table_file_path(const struct table_home *home, uint64_t number, char *out, size_t size)
{
    snprintf(out, size, "%s/%08" PRIu64 ".sst", home->directory, number);
}

/* Only files of the tree are dropped, and those lie under their number. A file that cannot be removed stays behind as one that no version lists; the next open of the
 * database sweeps those. */
static void remove_file(struct table_file *f)
{
    char path[PATH_MAX];
    struct error_note before = {0};
    helios_status status;

    table_file_path(f->home, f->number, path, sizeof(path));
    snprintf(before.text, sizeof(before.text), "%s", helios_last_error());
    status = io_remove(f->home->fs, path);
    before.status = HELIOS_IO;
    if (status != HELIOS_OK)
        error_tell(&before); /* clean-up does not disturb the caller's sentence */
    if (f->home->removed)
        f->home->removed(f->home->removed_arg, f->number);
}

/* ---- the ring of open files ---- */

static void ring_add_locked(struct table_file *f)
{
    struct table_file *hand = f->home->hand;

    if (!hand) {
        f->home->hand = f->ring_next = f->ring_previous = f;
        return;
    }
    f->ring_next = hand;
    f->ring_previous = hand->ring_previous;
    hand->ring_previous->ring_next = f;
    hand->ring_previous = f;
}

static void ring_remove_locked(struct table_file *f)
{
    if (f->home->hand == f)
        f->home->hand = f->ring_next == f ? NULL : f->ring_next;
    f->ring_next->ring_previous = f->ring_previous;
    f->ring_previous->ring_next = f->ring_next;
}

/* Whoever peeks at it in an epoch keeps it; the others have counted it. */
static void close_locked(struct table_file *f)
{
    struct table *table = atomic_exchange_explicit(&f->table, NULL, memory_order_acq_rel);

    ring_remove_locked(f);
    table_retire(table);
}

static bool too_much_open(const struct table_home *home)
{
    return home->open_bytes_max && cache_charged_above(home->cache, home->open_bytes_max);
}

/* Two rounds at most: after the first, all that are left were used meanwhile. `keep` is about to be used. Whether any was
 * closed. */
static bool trim_locked(struct table_home *home, const struct table_file *keep)
{
    const struct table_file *first = NULL;
    int rounds = 0;
    bool any = false;

    while (home->hand && too_much_open(home)) {
        struct table_file *f = home->hand;

        if (f == first && ++rounds == 2)
            break;
        if (!first)
            first = f;
        home->hand = f->ring_next;
        if (f == keep || f->path || atomic_exchange_explicit(&f->touched, false, memory_order_relaxed))
            continue;
        if (f == first)
            first = NULL;
        close_locked(f);
        any = true;
    }
    return any;
}

/* What is retired inside an epoch is released later, not under the lock; and then at once, as nobody else may come to do
 * it: a read-only database has no background. */
static void trim(struct table_home *home, const struct table_file *keep)
{
    bool any;

    if (!too_much_open(home))
        return;
    epoch_enter();
    mutex_lock(&home->ring_mu);
    any = trim_locked(home, keep);
    mutex_unlock(&home->ring_mu);
    epoch_leave();
    if (any)
        epoch_collect();
}

void table_home_trim(struct table_home *home)
{
    trim(home, NULL);
    epoch_collect();
}

void table_file_unref(struct table_file *f)
{
    struct table *table;
    uint32_t old;

    if (!f)
        return;
    old = atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel);
    assert(old > 0);
    if (old > 1)
        return;
    mutex_lock(&f->home->ring_mu); /* the hand may be about to close it */
    table = atomic_load_explicit(&f->table, memory_order_relaxed);
    if (table)
        ring_remove_locked(f);
    mutex_unlock(&f->home->ring_mu);
    table_unref(table);
    if (atomic_load_explicit(&f->dropped, memory_order_acquire))
        remove_file(f);
    mem_free(f);
}

/* Counted; NULL: not open. The file's own count lasts as long as the epoch. */
static struct table *open_table_ref(struct table_file *f)
{
    struct table *table;

    epoch_enter();
    table = table_file_peek(f);
    if (table)
        table_ref(table);
    epoch_leave();
    return table;
}

/* One count is the file's, one the caller's. */
static void hang_up(struct table_file *f, struct table *table)
{
    table_ref(table);
    mutex_lock(&f->home->ring_mu);
    atomic_store_explicit(&f->table, table, memory_order_release);
    ring_add_locked(f);
    mutex_unlock(&f->home->ring_mu);
}

/* Under open_mu: whoever waited for it may find the work done. */
static helios_status open_locked(struct table_file *f, struct table **out)
{
    struct table *table = open_table_ref(f);
    char path[PATH_MAX];
    helios_status status;

    if (!table) {
        table_file_path(f->home, f->number, path, sizeof(path));
        status = table_open(f->home->fs, f->home->crypt, f->path ? f->path : path, f->number, f->size,
                            f->override_seq, f->home->cache, &table);
        if (status != HELIOS_OK)
            return status;
        hang_up(f, table);
    }
    *out = table;
    return HELIOS_OK;
}

helios_status table_file_open(struct table_file *f, struct table **out)
{
    struct table *table = open_table_ref(f);
    helios_status status = HELIOS_OK;

    if (table) {
        *out = table;
    } else {
        mutex_lock(&f->home->open_mu);
        status = open_locked(f, out);
        mutex_unlock(&f->home->open_mu);
    }
    trim(f->home, f); /* also where it was open: those that are grow as they are used */
    return status;
}
