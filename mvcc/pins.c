/* pins.c - slots for read points. Called by engine/ on every iterator, snapshot and transaction.
 *
 * Slots come in groups of 64 with one word of marks. Taking one sets its mark, then stores the point; a
 * release clears in the opposite order. Groups come in chunks, each twice as large as the one before, so
 * that a number of at most 32 bits finds its slot by a bit scan, and no chunk ever moves.
 *
 * A word of 0 is no pin. Else it is (point + 1) << 1, and the lowest bit says that the pin covers every
 * branch: its point was at or above the horizon when it was taken, or it stands beside one that covers. */
#include "mvcc/pins.h"
#include "base/mem.h"
#include "base/thread.h"
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    GROUP_SLOTS = 64,
    CHUNK_GROUPS = 16, /* in the first chunk */
    CHUNKS_MAX = 22,
    SCAN_GROUPS = 64, /* looked at from the hint on before the slow path */
};

struct group {
    _Atomic uint64_t marks;
    _Atomic uint64_t slots[GROUP_SLOTS];
    _Atomic uint64_t owners[GROUP_SLOTS]; /* stored before the slot, relaxed: read for lists alone */
    uint64_t unused[7];                   /* a multiple of the cache line */
};
_Static_assert(sizeof(struct group) % 64 == 0, "threads on neighbouring groups share no line");

struct pins {
    /* Atomic: set once, under mu, released by group_count; acquired with it. */
    _Atomic(struct group *) chunks[CHUNKS_MAX];
    _Atomic uint32_t group_count;
    _Atomic bool frozen; /* a job looks; whoever inherits a point waits for freeze_mu */
    struct mutex freeze_mu;
    struct mutex mu; /* growth */
};

/* Where this thread looks first; only a hint, whatever the set. Threads begin apart from each other. */
static _Thread_local uint32_t hint_group;
static _Thread_local bool hint_known;
static _Atomic uint32_t hint_next;

static uint32_t hint(void)
{
    if (!hint_known) {
        hint_known = true;
        hint_group = atomic_fetch_add_explicit(&hint_next, 1, memory_order_relaxed);
    }
    return hint_group;
}

/* Chunk k begins at group CHUNK_GROUPS * (2^k - 1). */
static unsigned chunk_of(uint32_t group)
{
    return 31 - (unsigned)__builtin_clz(group / CHUNK_GROUPS + 1);
}

static uint32_t chunk_begin(unsigned chunk)
{
    return CHUNK_GROUPS * ((1u << chunk) - 1);
}

static struct group *group_at(const struct pins *pins, uint32_t group)
{
    unsigned chunk = chunk_of(group);

    return atomic_load_explicit(&pins->chunks[chunk], memory_order_acquire) + (group - chunk_begin(chunk));
}

static uint32_t group_count(const struct pins *pins)
{
    return atomic_load(&pins->group_count);
}

static _Atomic uint64_t *slot_at(const struct pins *pins, pin_id id)
{
    assert(id != 0);
    return &group_at(pins, (id - 1) / GROUP_SLOTS)->slots[(id - 1) % GROUP_SLOTS];
}

static _Atomic uint64_t *owner_at(const struct pins *pins, pin_id id)
{
    return &group_at(pins, (id - 1) / GROUP_SLOTS)->owners[(id - 1) % GROUP_SLOTS];
}

/* One word, so that it is never torn: kind (3 bits), thread (22), time (39, in 8192 us: until 2112). */
_Static_assert(HELIOS_PIN_SNAPSHOT == 0 && HELIOS_PIN_CONSUMER == 6, "the kinds of pins fit three bits");

static uint64_t owner_word(const struct pin_owner *owner)
{
    return (uint64_t)owner->kind << 61 | (uint64_t)(owner->thread & 0x3fffff) << 39 |
           (owner->since >> 13 & 0x7fffffffff);
}

static struct pin_owner owner_of(uint64_t word)
{
    return (struct pin_owner){
        .kind = (helios_pin_kind)(word >> 61),
        .thread = (uint32_t)(word >> 39 & 0x3fffff),
        .since = (word & 0x7fffffffff) << 13,
    };
}

static helios_seq point_of(uint64_t word)
{
    return (word >> 1) - 1;
}

static bool covers_all(uint64_t word)
{
    return word & 1;
}

/* ---- taking and giving back a slot ---- */

static helios_status grow_locked(struct pins *pins)
{
    uint32_t groups = group_count(pins);
    unsigned chunk = groups ? chunk_of(groups) : 0;
    size_t bytes = ((size_t)CHUNK_GROUPS << chunk) * sizeof(struct group);
    struct group *memory;

    if (chunk == CHUNKS_MAX)
        return fail(HELIOS_LIMIT, "too many pins: %" PRIu64, pins_count(pins));
    memory = mem_aligned(64, bytes);
    if (!memory)
        return fail_no_memory(bytes);
    memset(memory, 0, bytes);
    atomic_store_explicit(&pins->chunks[chunk], memory, memory_order_release);
    atomic_store(&pins->group_count, groups + (CHUNK_GROUPS << chunk));
    return HELIOS_OK;
}

/* A free slot of the group, marked as taken, or 0. */
static pin_id take_in_group(struct pins *pins, uint32_t index)
{
    struct group *group = group_at(pins, index);
    uint64_t marks = atomic_load_explicit(&group->marks, memory_order_relaxed);

    while (marks != UINT64_MAX) {
        uint64_t bit = ~marks & (marks + 1);

        if (atomic_compare_exchange_weak_explicit(&group->marks, &marks, marks | bit, memory_order_seq_cst,
                                                  memory_order_relaxed))
            return index * GROUP_SLOTS + (uint32_t)__builtin_ctzll(bit) + 1;
    }
    return 0;
}

static pin_id take_near_hint(struct pins *pins)
{
    uint32_t count = group_count(pins), at = hint() % count;
    uint32_t scan = count < SCAN_GROUPS ? count : SCAN_GROUPS;

    for (uint32_t i = 0; i < scan; i++) {
        pin_id id = take_in_group(pins, at);

        if (id) {
            hint_group = at;
            return id;
        }
        at = at + 1 == count ? 0 : at + 1;
    }
    return 0;
}

static unsigned used_in_window(const struct pins *pins, uint32_t from, uint32_t count)
{
    unsigned used = 0;

    for (uint32_t i = from; i < from + SCAN_GROUPS && i < count; i++)
        used += (unsigned)__builtin_popcountll(
            atomic_load_explicit(&group_at(pins, i)->marks, memory_order_relaxed));
    return used;
}

/* All around the hint is taken: go to the emptiest window if that one is half empty, else grow. So the
 * search is paid for by the thousands of slots that it finds, and memory stays in proportion. */
static helios_status move_hint(struct pins *pins)
{
    unsigned least = UINT32_MAX;
    uint32_t best = 0, count;
    helios_status status = HELIOS_OK;

    mutex_lock(&pins->mu);
    count = group_count(pins);
    for (uint32_t from = 0; from < count; from += SCAN_GROUPS) {
        uint32_t width = count - from < SCAN_GROUPS ? count - from : SCAN_GROUPS;
        unsigned used = used_in_window(pins, from, count) * SCAN_GROUPS / width;

        if (used < least) {
            least = used;
            best = from;
        }
    }
    if (least > SCAN_GROUPS * GROUP_SLOTS / 2) {
        status = grow_locked(pins);
        best = count;
    }
    mutex_unlock(&pins->mu);
    if (status == HELIOS_OK)
        hint_group = best;
    return status;
}

static helios_status take(struct pins *pins, const struct pin_owner *owner, pin_id *id)
{
    while ((*id = take_near_hint(pins)) == 0) {
        helios_status status = move_hint(pins);

        if (status != HELIOS_OK)
            return status;
    }
    atomic_store_explicit(owner_at(pins, *id), owner_word(owner), memory_order_relaxed);
    return HELIOS_OK;
}

void pins_release(struct pins *pins, pin_id id)
{
    struct group *group;
    uint64_t bit, marks;

    if (id == 0)
        return;
    group = group_at(pins, (id - 1) / GROUP_SLOTS);
    bit = UINT64_C(1) << (id - 1) % GROUP_SLOTS;
    /* Release: what was read under the pin was read before a job can see that it is gone. */
    atomic_store_explicit(&group->slots[(id - 1) % GROUP_SLOTS], 0, memory_order_release);
    marks = atomic_fetch_and_explicit(&group->marks, ~bit, memory_order_release);
    assert(marks & bit);
    (void)marks;
    hint_group = (id - 1) / GROUP_SLOTS;
    hint_known = true;
}

/* ---- the protocol ---- */

/* Mark, point, group count and horizon are all stored and loaded seq_cst on both sides, so that of a reader
 * and a collector at least one sees the other (Dekker). */
static void publish(_Atomic uint64_t *slot, helios_seq seq, bool covers)
{
    atomic_store(slot, (seq + 1) << 1 | covers);
}

/* From here on the pin is ground for others. */
static void promote(_Atomic uint64_t *slot)
{
    atomic_store_explicit(slot, atomic_load_explicit(slot, memory_order_relaxed) | 1, memory_order_release);
}

/* For a pin that is published and rests on another holder of its point, who may let go of it as soon as ours is
 * granted. A job that began to look before it was published could miss both: it must have ended. One that begins
 * later sees ours. */
static void wait_for_thaw(struct pins *pins)
{
    if (!atomic_load(&pins->frozen))
        return;
    mutex_lock(&pins->freeze_mu);
    mutex_unlock(&pins->freeze_mu);
}

helios_status pins_acquire_latest(struct pins *pins, const struct pin_owner *owner,
                                  const _Atomic helios_seq *visible, const _Atomic helios_seq *horizon,
                                  pin_id *id_out, helios_seq *seq_out)
{
    pin_id id;
    helios_seq seq;
    _Atomic uint64_t *slot;
    helios_status status = take(pins, owner, &id);

    if (status != HELIOS_OK)
        return status;
    slot = slot_at(pins, id);
    do {
        seq = atomic_load_explicit(visible, memory_order_acquire);
        publish(slot, seq, false);
    } while (seq < atomic_load(horizon));
    promote(slot);
    *id_out = id;
    *seq_out = seq;
    return HELIOS_OK;
}

/* A pin that covers all branches holds the point now, and so held it when ours was published. */
static bool held_by_others(const struct pins *pins, helios_seq seq)
{
    uint32_t count = group_count(pins);

    for (uint32_t i = 0; i < count; i++) {
        struct group *group = group_at(pins, i);
        uint64_t marks = atomic_load(&group->marks);

        for (; marks; marks &= marks - 1) {
            uint64_t word = atomic_load(&group->slots[__builtin_ctzll(marks)]);

            if (word == ((seq + 1) << 1 | 1))
                return true;
        }
    }
    return false;
}

helios_status pins_acquire_at(struct pins *pins, const struct pin_owner *owner, helios_seq seq,
                              const _Atomic helios_seq *horizon, bool (*named)(void *arg, helios_seq),
                              void *arg, pin_id *id_out)
{
    pin_id id;
    _Atomic uint64_t *slot;
    helios_seq gone;
    helios_status status = take(pins, owner, &id);

    if (status != HELIOS_OK)
        return status;
    slot = slot_at(pins, id);
    publish(slot, seq, false);
    gone = atomic_load(horizon);
    if (seq < gone)
        wait_for_thaw(pins);
    if (seq >= gone || held_by_others(pins, seq)) {
        promote(slot);
    } else if (!named || !named(arg, seq)) {
        pins_release(pins, id);
        return fail(HELIOS_HISTORY_GONE, "history before %" PRIu64 " is gone: read point %" PRIu64, gone, seq);
    }
    *id_out = id;
    return HELIOS_OK;
}

helios_status pins_acquire_same(struct pins *pins, const struct pin_owner *owner, pin_id held, pin_id *id_out)
{
    uint64_t word = atomic_load_explicit(slot_at(pins, held), memory_order_relaxed);
    pin_id id;
    helios_status status = take(pins, owner, &id);

    if (status != HELIOS_OK)
        return status;
    publish(slot_at(pins, id), point_of(word), false);
    wait_for_thaw(pins);
    if (covers_all(word))
        promote(slot_at(pins, id));
    *id_out = id;
    return HELIOS_OK;
}

helios_seq pins_seq(const struct pins *pins, pin_id id)
{
    return point_of(atomic_load_explicit(slot_at(pins, id), memory_order_relaxed));
}

/* ---- looking at all ---- */

/* Calls each(arg, point, owner) for every published pin; false from it stops. A mark that is not seen yet belongs
 * to a reader that has not loaded the horizon yet, and will see it where this caller has moved it. */
static bool walk(const struct pins *pins, bool (*each)(void *arg, helios_seq, uint64_t owner), void *arg)
{
    uint32_t count = group_count(pins);

    for (uint32_t i = 0; i < count; i++) {
        struct group *group = group_at(pins, i);
        uint64_t marks = atomic_load(&group->marks);

        for (; marks; marks &= marks - 1) {
            int slot = __builtin_ctzll(marks);
            uint64_t word = atomic_load(&group->slots[slot]);
            uint64_t owner = atomic_load_explicit(&group->owners[slot], memory_order_relaxed);

            if (word && !each(arg, point_of(word), owner))
                return false;
        }
    }
    return true;
}

void pins_freeze(struct pins *pins)
{
    mutex_lock(&pins->freeze_mu);
    atomic_store(&pins->frozen, true);
}

void pins_thaw(struct pins *pins)
{
    atomic_store(&pins->frozen, false);
    mutex_unlock(&pins->freeze_mu);
}

struct collection {
    helios_seq below, last;
    helios_seq *seqs;
    size_t count, capacity;
};

static bool collect_one(void *arg, helios_seq seq, uint64_t owner)
{
    struct collection *c = arg;

    (void)owner;

    if (seq >= c->below || seq == c->last) /* many neighbours hold the same point */
        return true;
    if (c->count == c->capacity) {
        size_t capacity = c->capacity ? c->capacity * 2 : 64;
        helios_seq *seqs = mem_realloc(c->seqs, capacity * sizeof(*seqs));

        if (!seqs)
            return false;
        c->seqs = seqs;
        c->capacity = capacity;
    }
    c->last = seq;
    c->seqs[c->count++] = seq;
    return true;
}

static int compare_seqs(const void *a, const void *b)
{
    helios_seq x = *(const helios_seq *)a, y = *(const helios_seq *)b;

    return x < y ? -1 : x > y;
}

size_t pins_sort(helios_seq *seqs, size_t count)
{
    size_t distinct = 0;

    if (count)
        qsort(seqs, count, sizeof(*seqs), compare_seqs);
    for (size_t i = 0; i < count; i++) {
        if (distinct == 0 || seqs[distinct - 1] != seqs[i])
            seqs[distinct++] = seqs[i];
    }
    return distinct;
}

helios_status pins_collect(struct pins *pins, helios_seq below, helios_seq **seqs, size_t *count)
{
    struct collection c = {.below = below, .last = UINT64_MAX};

    atomic_thread_fence(memory_order_seq_cst); /* should the horizon have been stored with less */
    if (!walk(pins, collect_one, &c)) {
        mem_free(c.seqs);
        return fail_no_memory(c.capacity * 2 * sizeof(*c.seqs));
    }
    *count = pins_sort(c.seqs, c.count);
    *seqs = c.seqs;
    return HELIOS_OK;
}

uint64_t pins_count(const struct pins *pins)
{
    uint32_t groups = group_count(pins);
    uint64_t count = 0;

    for (uint32_t i = 0; i < groups; i++)
        count += (uint64_t)__builtin_popcountll(
            atomic_load_explicit(&group_at(pins, i)->marks, memory_order_relaxed));
    return count;
}

static bool take_oldest(void *arg, helios_seq seq, uint64_t owner)
{
    helios_seq *oldest = arg;

    (void)owner;
    if (seq < *oldest)
        *oldest = seq;
    return true;
}

helios_seq pins_oldest(const struct pins *pins)
{
    helios_seq oldest = UINT64_MAX;

    walk(pins, take_oldest, &oldest);
    return oldest;
}

struct listing {
    struct pin_info *pins;
    size_t count, capacity;
};

static bool list_one(void *arg, helios_seq seq, uint64_t owner)
{
    struct listing *l = arg;

    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 64;
        struct pin_info *grown = mem_realloc(l->pins, capacity * sizeof(*grown));

        if (!grown)
            return false;
        l->pins = grown;
        l->capacity = capacity;
    }
    l->pins[l->count++] = (struct pin_info){seq, owner_of(owner)};
    return true;
}

helios_status pins_list(const struct pins *pins, struct pin_info **out, size_t *count)
{
    struct listing l = {0};

    if (!walk(pins, list_one, &l)) {
        mem_free(l.pins);
        return fail_no_memory(l.capacity * 2 * sizeof(*l.pins));
    }
    *out = l.pins;
    *count = l.count;
    return HELIOS_OK;
}

/* ---- life ---- */

helios_status pins_new(struct pins **pins_out)
{
    struct pins *pins = mem_zalloc(sizeof(*pins));
    helios_status status;

    if (!pins)
        return fail_no_memory(sizeof(*pins));
    mutex_init(&pins->mu);
    mutex_init(&pins->freeze_mu);
    status = grow_locked(pins);
    if (status != HELIOS_OK) {
        mutex_release(&pins->freeze_mu);
        mutex_release(&pins->mu);
        mem_free(pins);
        return status;
    }
    *pins_out = pins;
    return HELIOS_OK;
}

void pins_free(struct pins *pins)
{
    if (!pins)
        return;
    assert(pins_count(pins) == 0);
    for (unsigned i = 0; i < CHUNKS_MAX; i++)
        mem_free(atomic_load(&pins->chunks[i]));
    mutex_release(&pins->freeze_mu);
    mutex_release(&pins->mu);
    mem_free(pins);
}
