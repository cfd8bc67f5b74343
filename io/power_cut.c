/* power_cut.c - what is durable of files in memory, and what a cut of the power leaves of the rest. */
#include "io/memory_internal.h"
#include "base/random.h"
#include <assert.h>
#include <string.h>

enum { COMPARE_BYTES = 4096 };

/* Makes the range of `to` as it is in `from`, writing only where they differ: most of a mapped file
 * does not change between two syncs. Both have capacity for it, and zeros behind their ends. */
static void copy_changed(unsigned char *to, const unsigned char *from, uint64_t at, uint64_t end)
{
    while (at < end) {
        uint64_t size = end - at < COMPARE_BYTES ? end - at : COMPARE_BYTES;

        if (memcmp(to + at, from + at, size) != 0)
            memcpy(to + at, from + at, size);
        at += size;
    }
}

/* Up to where the dirty range may hold anything but zeros. */
static uint64_t dirty_end(const struct inode *inode)
{
    return inode->dirty_to < inode->synced.capacity ? inode->dirty_to : inode->synced.capacity;
}

/* What mappings may still store is dirty from the start. */
static void reset_dirty(struct inode *inode)
{
    inode->dirty_from = 0;
    inode->dirty_to = inode->mapped_bytes;
}

void inode_sync(struct inode *inode)
{
    copy_changed(inode->synced.bytes, inode->now.bytes, inode->dirty_from, dirty_end(inode));
    inode->synced.size = inode->now.size;
    reset_dirty(inode);
}

void memory_revert(struct io_file *file)
{
    struct inode *inode = inode_of(file);
    uint64_t end;

    pthread_rwlock_wrlock(&inode->lock);
    end = dirty_end(inode);
    if (end > inode->now.size)
        end = inode->now.size;
    copy_changed(inode->now.bytes, inode->synced.bytes, inode->dirty_from, end);
    pthread_rwlock_unlock(&inode->lock);
}

/* ---- the cut ---- */

struct cut {
    struct memory_fs *fs;
    enum io_damage damage;
    struct random rng;
    size_t changes_kept; /* PREFIX: so many of the changes of names, from the oldest */
};

static bool toss(struct cut *cut)
{
    return random_next(&cut->rng) >> 63;
}

static bool change_survives(void *arg, size_t index, size_t count)
{
    struct cut *cut = arg;

    switch (cut->damage) {
    case IO_DAMAGE_DROP_ALL:
    case IO_DAMAGE_DATA_ONLY: return false;
    case IO_DAMAGE_KEEP_ALL:
    case IO_DAMAGE_NAMES_ONLY: return true;
    case IO_DAMAGE_PREFIX: /* as a journal has it */
        if (index == 0)
            cut->changes_kept = random_below(&cut->rng, count + 1);
        return index < cut->changes_kept;
    default: return toss(cut);
    }
}

/* A sector that a cut may lose: what was written there differs, or it lies in a part that is new. */
static bool sector_dirty(const struct inode *inode, uint64_t at)
{
    return at >= inode->synced.size ||
           memcmp(inode->now.bytes + at, inode->synced.bytes + at, SECTOR_BYTES) != 0;
}

static void sector_lose(struct cut *cut, struct inode *inode, uint64_t at)
{
    if (cut->damage != IO_DAMAGE_GARBAGE || at < inode->synced.size) {
        memcpy(inode->now.bytes + at, inode->synced.bytes + at, SECTOR_BYTES);
        return;
    }
    for (uint64_t i = 0; i < SECTOR_BYTES; i += 8) {
        uint64_t noise = random_next(&cut->rng);

        memcpy(inode->now.bytes + at + i, &noise, 8);
    }
}

static uint64_t count_dirty(const struct inode *inode, uint64_t from, uint64_t end)
{
    uint64_t count = 0;

    for (uint64_t at = from; at < end; at += SECTOR_BYTES)
        count += sector_dirty(inode, at);
    return count;
}

struct survivors {
    uint64_t from, to; /* of the dirty sectors, counted from 0, those that may survive */
    bool by_toss;
};

static struct survivors choose_survivors(struct cut *cut, uint64_t count)
{
    switch (cut->damage) {
    case IO_DAMAGE_PREFIX: return (struct survivors){0, random_below(&cut->rng, count + 1), false};
    case IO_DAMAGE_SUFFIX: return (struct survivors){random_below(&cut->rng, count + 1), count, false};
    default: return (struct survivors){0, count, true};
    }
}

/* The size is one more thing that may be lost. It covers what survived of a file that grew, but for
 * a toss: then the data is there and the size does not say so. */
static uint64_t choose_size(struct cut *cut, const struct inode *inode, uint64_t kept_end, bool all_kept)
{
    uint64_t now = inode->now.size, synced = inode->synced.size;
    uint64_t covering = kept_end < now ? kept_end : now;

    if (now == synced || all_kept)
        return now;
    if (cut->damage == IO_DAMAGE_PREFIX)
        return now < synced ? synced : covering > synced ? covering : synced;
    if (cut->damage == IO_DAMAGE_SUFFIX)
        return kept_end > 0 ? now : synced;
    return toss(cut) ? now : synced;
}

/* Sector by sector. Both images have room up to the last sector's end, as capacities are in pages. */
static uint64_t tear(struct cut *cut, struct inode *inode, uint64_t from, uint64_t end)
{
    uint64_t count = count_dirty(inode, from, end), number = 0, kept_end = 0, kept = 0;
    struct survivors survivors = choose_survivors(cut, count);

    for (uint64_t at = from; at < end; at += SECTOR_BYTES) {
        if (!sector_dirty(inode, at))
            continue;
        if (number >= survivors.from && number < survivors.to && !(survivors.by_toss && toss(cut))) {
            kept_end = at + SECTOR_BYTES;
            kept++;
        } else {
            sector_lose(cut, inode, at);
        }
        number++;
    }
    return choose_size(cut, inode, kept_end, kept == count);
}

static void set_size(struct memory_fs *fs, struct inode *inode, uint64_t size)
{
    uint64_t old = inode->now.size, most = old > size ? old : size;
    uint64_t end = (most + SECTOR_BYTES - 1) & ~(uint64_t)(SECTOR_BYTES - 1);

    if (size < end)
        memset(inode->now.bytes + size, 0, end - size);
    atomic_fetch_add(&fs->used, size - old);
    inode->now.size = size;
}

static void damage_file(void *arg, struct inode *inode)
{
    struct cut *cut = arg;
    uint64_t most = inode->now.size > inode->synced.size ? inode->now.size : inode->synced.size;
    uint64_t end = (most + SECTOR_BYTES - 1) & ~(uint64_t)(SECTOR_BYTES - 1);
    uint64_t from = inode->dirty_from & ~(uint64_t)(SECTOR_BYTES - 1);

    assert(inode->mappings == 0);
    switch (cut->damage) {
    case IO_DAMAGE_KEEP_ALL:
    case IO_DAMAGE_DATA_ONLY: break;
    case IO_DAMAGE_DROP_ALL:
    case IO_DAMAGE_NAMES_ONLY:
        copy_changed(inode->now.bytes, inode->synced.bytes, from, end);
        set_size(cut->fs, inode, inode->synced.size);
        break;
    default:
        if (inode->dirty_from < inode->dirty_to)
            set_size(cut->fs, inode, tear(cut, inode, from, end));
    }
    inode->dirty_from = 0;
    inode->dirty_to = end; /* what was noise or was lost has to become durable too */
    inode_sync(inode);
}

void memory_power_cut(struct io_fs *fs, enum io_damage damage, uint64_t seed)
{
    struct memory_fs *m = memory_of(fs);
    struct cut cut = {.fs = m, .damage = damage};

    assert(m->cuts);
    assert(m->handles == 0);
    random_seed(&cut.rng, seed);
    pthread_mutex_lock(&m->lock);
    m->cut_count++;
    changes_settle(m, change_survives, &cut);
    names_restore(m, m->root, damage_file, &cut);
    pthread_mutex_unlock(&m->lock);
}
