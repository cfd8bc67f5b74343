/* kept.c - segments that stay for the feed when recovery needs them no more, and where in all of the log a number is.
 * The kept ones are an array of their own, older than the list of the others: whoever walks the list (the sync leader,
 * before each fsync) does not pass over them. A segment moves from the list into it under mu, in one step. */
#include "wal/wal_internal.h"
#include "base/mem.h"
#include <assert.h>
#include <inttypes.h>

static uint64_t keep_now(const struct wal *wal)
{
    return atomic_load_explicit(&wal->keep, memory_order_acquire);
}

bool wal_keeping(const struct wal *wal)
{
    return keep_now(wal) != WAL_KEEP_NONE;
}

bool wal_is_kept(const struct wal *wal, uint64_t number)
{
    return number >= keep_now(wal);
}

/* What is below may be on its way out. */
static uint64_t oldest_number(const struct wal *wal)
{
    uint64_t keep = keep_now(wal);

    return keep == WAL_KEEP_NONE ? 0 : keep;
}

/* ---- the array ---- */

helios_status wal_kept_add_locked(struct wal *wal, const struct wal_kept *kept)
{
    assert(wal->kept_count == 0 || wal->kept[wal->kept_count - 1].number < kept->number);
    if (wal->kept_count == wal->kept_capacity) {
        size_t capacity = wal->kept_capacity ? 2 * wal->kept_capacity : 16;
        struct wal_kept *grown = mem_realloc(wal->kept, capacity * sizeof(*grown));

        if (!grown)
            return fail_no_memory(capacity * sizeof(*grown));
        wal->kept = grown;
        wal->kept_capacity = capacity;
    }
    wal->kept[wal->kept_count++] = *kept;
    wal->kept_bytes += kept->bytes;
    return HELIOS_OK;
}

size_t wal_kept_drop(struct wal *wal, struct wal_kept *dropped, size_t max)
{
    size_t count = 0;

    mutex_lock(&wal->mu);
    while (wal->holds == 0 && count < max && count < wal->kept_count &&
           !wal_is_kept(wal, wal->kept[count].number)) {
        dropped[count] = wal->kept[count];
        wal->kept_bytes -= dropped[count++].bytes;
    }
    wal->kept_count -= count;
    if (count > 0)
        memmove(wal->kept, wal->kept + count, wal->kept_count * sizeof(*wal->kept));
    mutex_unlock(&wal->mu);
    return count;
}

/* How many of the array are numbered below. */
static size_t kept_below_locked(const struct wal *wal, uint64_t number)
{
    size_t low = 0, high = wal->kept_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (wal->kept[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool wal_kept_plain(struct wal *wal, uint64_t number, struct wal_kept *out)
{
    uint64_t keep = oldest_number(wal);
    bool found = false;

    mutex_lock(&wal->mu);
    for (size_t i = kept_below_locked(wal, number > keep ? number : keep); i < wal->kept_count && !found; i++) {
        found = !wal->kept[i].archived;
        if (found)
            *out = wal->kept[i];
    }
    mutex_unlock(&wal->mu);
    return found && wal_keeping(wal);
}

enum wal_replaced wal_kept_replace(struct wal *wal, uint64_t number, uint64_t end, uint64_t bytes)
{
    enum wal_replaced result = WAL_NOT_THERE;
    uint64_t before = bytes;
    size_t i;

    mutex_lock(&wal->mu);
    i = kept_below_locked(wal, number);
    if (i < wal->kept_count && wal->kept[i].number == number)
        result = wal->holds == 0 ? WAL_REPLACED : WAL_HELD;
    if (result == WAL_REPLACED) {
        before = wal->kept[i].bytes;
        wal->kept[i].archived = true;
        wal->kept[i].end = end;
        wal->kept[i].bytes = bytes;
        wal->kept_bytes -= before - bytes;
    }
    mutex_unlock(&wal->mu);
    atomic_fetch_sub_explicit(&wal->bytes, before - bytes, memory_order_relaxed);
    return result;
}

/* How many begin at or below seq. */
static size_t kept_begun_locked(const struct wal *wal, helios_seq seq)
{
    size_t low = 0, high = wal->kept_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (wal->kept[middle].first <= seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- places ---- */

static struct wal_place place_kept(const struct wal_kept *kept)
{
    return (struct wal_place){kept->number, kept->end, WAL_DATA, false, kept->archived};
}

static struct wal_place place_listed(const struct wal_segment *segment)
{
    return (struct wal_place){segment->number, atomic_load_explicit(&segment->end, memory_order_acquire),
                              WAL_DATA, false, false};
}

/* 0: prepared, and not entered. */
static helios_seq first_of(const struct wal_segment *segment)
{
    return atomic_load_explicit(&segment->first, memory_order_acquire);
}

/* The last segment of the list that begins at or below seq. */
static struct wal_segment *listed_begun_locked(const struct wal *wal, helios_seq seq)
{
    struct wal_segment *found = NULL;

    for (struct wal_segment *segment = wal->first;
         segment && first_of(segment) != 0 && first_of(segment) <= seq; segment = segment->next)
        found = segment;
    return found;
}

/* The oldest that is not on its way out, and its first number; false: the log is not open yet. */
static bool oldest_locked(const struct wal *wal, uint64_t *number, helios_seq *first)
{
    uint64_t from = oldest_number(wal);
    size_t below = kept_below_locked(wal, from);

    if (below < wal->kept_count) {
        *number = wal->kept[below].number;
        *first = wal->kept[below].first;
        return true;
    }
    for (const struct wal_segment *segment = wal->first; segment && first_of(segment) != 0;
         segment = segment->next) {
        *number = segment->number;
        *first = first_of(segment);
        if (segment->number >= from)
            return true;
    }
    return wal->first != NULL; /* asked to keep from a segment that nobody has entered: the last one that was */
}

helios_status wal_place_of(struct wal *wal, helios_seq seq, struct wal_place *out)
{
    const struct wal_segment *listed;
    uint64_t number = 0;
    helios_seq first = 0;

    if (seq == 0)
        seq = 1; /* there is no number below */
    mutex_lock(&wal->mu);
    (void)!oldest_locked(wal, &number, &first);
    listed = listed_begun_locked(wal, seq);
    if (seq >= first && listed) {
        *out = place_listed(listed);
        out->offset = wal_index_find(&listed->index, seq);
        out->sought = listed->index.capacity > 0 || !listed->sealed;
    } else if (seq >= first) {
        *out = place_kept(&wal->kept[kept_begun_locked(wal, seq) - 1]);
    }
    mutex_unlock(&wal->mu);
    if (seq >= first)
        return HELIOS_OK;
    return fail(HELIOS_FEED_TRIMMED, "%" PRIu64 " is no longer in the log: it begins at %" PRIu64, seq, first);
}

/* The first place numbered at or above. */
static bool place_from_locked(const struct wal *wal, uint64_t number, struct wal_place *out)
{
    size_t below = kept_below_locked(wal, number);

    if (below < wal->kept_count) {
        *out = place_kept(&wal->kept[below]);
        return true;
    }
    for (const struct wal_segment *segment = wal->first; segment; segment = segment->next) {
        if (segment->number < number)
            continue;
        *out = place_listed(segment);
        return first_of(segment) != 0;
    }
    return false;
}

bool wal_place_at(struct wal *wal, uint64_t number, struct wal_place *out)
{
    struct wal_place place;
    bool found;

    mutex_lock(&wal->mu);
    found = place_from_locked(wal, number, &place) && place.number == number;
    mutex_unlock(&wal->mu);
    if (found)
        *out = place;
    return found;
}

bool wal_place_after(struct wal *wal, uint64_t number, struct wal_place *out)
{
    bool found;

    mutex_lock(&wal->mu);
    found = place_from_locked(wal, number + 1, out);
    mutex_unlock(&wal->mu);
    return found;
}

/* ---- for the engine ---- */

void wal_keep(struct wal *wal, uint64_t segment)
{
    uint64_t before = keep_now(wal);

    while (before == WAL_KEEP_NONE ? segment != WAL_KEEP_NONE : before < segment) {
        if (atomic_compare_exchange_weak_explicit(&wal->keep, &before, segment, memory_order_acq_rel,
                                                  memory_order_acquire)) {
            wal_keeper_wake(wal);
            return;
        }
    }
}

void wal_keep_begins(struct wal *wal, helios_seq seq)
{
    uint64_t from = oldest_number(wal);
    struct wal_segment *segment;
    size_t below;

    mutex_lock(&wal->mu);
    below = kept_below_locked(wal, from);
    if (below < wal->kept_count) {
        if (wal->kept[below].first > seq)
            wal->kept[below].first = seq;
    } else {
        for (segment = wal->first; segment && segment->number < from; segment = segment->next)
            continue;
        if (segment && first_of(segment) > seq)
            atomic_store_explicit(&segment->first, seq, memory_order_release);
    }
    mutex_unlock(&wal->mu);
}

uint64_t wal_segment_of(struct wal *wal, helios_seq seq)
{
    const struct wal_segment *listed;
    uint64_t number = 0;
    size_t begun;

    mutex_lock(&wal->mu);
    listed = listed_begun_locked(wal, seq);
    begun = kept_begun_locked(wal, seq);
    if (listed)
        number = listed->number;
    else if (wal->kept_count > 0)
        number = wal->kept[begun > 0 ? begun - 1 : 0].number;
    else
        number = wal->first->number;
    mutex_unlock(&wal->mu);
    return number;
}

helios_seq wal_kept_first(struct wal *wal)
{
    uint64_t number = 0;
    helios_seq first = 0;

    if (!wal_keeping(wal))
        return 0;
    mutex_lock(&wal->mu);
    (void)!oldest_locked(wal, &number, &first);
    mutex_unlock(&wal->mu);
    return first;
}

uint64_t wal_kept_bytes(struct wal *wal)
{
    uint64_t bytes;

    mutex_lock(&wal->mu);
    bytes = wal->kept_bytes;
    mutex_unlock(&wal->mu);
    return bytes;
}

void wal_each_kept(struct wal *wal,
                   bool (*segment)(void *arg, uint64_t number, helios_seq first, uint64_t bytes), void *arg)
{
    uint64_t from = oldest_number(wal);
    struct wal_kept some[32];
    size_t count;

    do { /* copied out, as the caller's function may ask us for something */
        size_t below;

        mutex_lock(&wal->mu);
        below = kept_below_locked(wal, from);
        count = wal->kept_count - below < 32 ? wal->kept_count - below : 32;
        if (count > 0)
            memcpy(some, wal->kept + below, count * sizeof(*some));
        mutex_unlock(&wal->mu);
        for (size_t i = 0; i < count; i++) {
            if (!segment(arg, some[i].number, some[i].first, some[i].bytes))
                return;
            from = some[i].number + 1;
        }
    } while (count > 0);
}
