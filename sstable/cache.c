/* cache.c - the block cache: frames in the slots of open tables, one clock over all of them. Called by
 * the table's reads and its cursor. The mutex is taken to put a frame in or take one out; a hit sees
 * nothing but its slot. */
#include "base/heap.h"
#include "base/mem.h"
#include "base/thread.h"
#include "sstable/sstable_internal.h"
#include <assert.h>

enum {
    LOAD_STRIPES = 64,     /* loads of different blocks rarely meet on one lock */
    LIMBO_BYTES = 1 << 20, /* evicted and not yet released: above, collect */
    EVICT_BATCH = 64,      /* frames taken out under one hold of the lock */
    HITS_BATCH = 256,      /* hits of one thread told at once */
};
/* A smaller cache lives in ordinary memory: chunks of which a part is free would be too much of it. */
#define HEAP_LEAST ((uint64_t)128 << 20)

/* Somebody who wants a block that another thread is loading; on its own stack. */
struct load_waiter {
    struct load_waiter *next;
    bool done;
    struct frame *frame; /* counted for the waiter; NULL: failed with note */
    struct error_note note;
};

/* A load under way; on the loader's stack. */
struct load {
    struct load *next;
    const cache_slot *slot;
    struct load_waiter *waiters;
};

struct load_stripe {
    struct mutex mu;
    struct condition done;
    struct load *loads; /* guarded by mu */
} __attribute__((aligned(64)));

/* Lock order: a stripe's mu, then clock_mu. Nothing is read, freed or retired under either. */
struct cache {
    /* Atomic. */
    _Atomic uint64_t budget;
    _Atomic int64_t charged; /* by cache_charge and for frames outside slots */
    _Atomic uint64_t limbo;  /* bytes of frames that left their slot and wait to be released */
    _Atomic uint64_t hits, misses, evictions;
    _Atomic int64_t file_bytes; /* of open tables */
    uint64_t file_bytes_fit;    /* constant: so much the page cache may hold */
    /* Guarded by clock_mu; `bytes` is also read without it. */
    struct mutex clock_mu;
    struct frame *hand; /* circular; NULL: no frames */
    _Atomic uint64_t bytes;
    uint64_t frames;

    struct heap *heap; /* of frames; NULL: ordinary memory */
    struct load_stripe stripes[LOAD_STRIPES];
};

helios_status cache_new(uint64_t budget, struct cache **out)
{
    struct cache *cache = mem_aligned(64, sizeof(*cache));

    if (!cache)
        return fail_no_memory(sizeof(*cache));
    memset(cache, 0, sizeof(*cache));
    cache->budget = budget;
    cache->heap = budget >= HEAP_LEAST ? heap_new() : NULL;
    if (!cache->heap && budget >= HEAP_LEAST) {
        mem_free(cache);
        return fail_no_memory(sizeof(*cache));
    }
    cache->file_bytes_fit = io_physical_memory() / 2;
    mutex_init(&cache->clock_mu);
    for (size_t i = 0; i < LOAD_STRIPES; i++) {
        mutex_init(&cache->stripes[i].mu);
        condition_init(&cache->stripes[i].done);
    }
    *out = cache;
    return HELIOS_OK;
}

void cache_free(struct cache *cache)
{
    if (!cache)
        return;
    assert(!cache->hand);
    heap_free(cache->heap);
    for (size_t i = 0; i < LOAD_STRIPES; i++) {
        condition_release(&cache->stripes[i].done);
        mutex_release(&cache->stripes[i].mu);
    }
    mutex_release(&cache->clock_mu);
    mem_free(cache);
}

/* ---- frames ---- */

static struct frame *frame_alloc(struct cache *cache, size_t bytes)
{
    return cache->heap ? heap_alloc(cache->heap, bytes) : mem_aligned(64, bytes);
}

static void frame_release_memory(struct cache *cache, struct frame *frame, size_t bytes)
{
    if (cache->heap)
        heap_release(cache->heap, frame, bytes);
    else
        mem_free(frame);
}

/* Reads the block behind the frame, and checks it. */
static helios_status frame_read(const struct cache_load *load, struct frame *frame)
{
    void *image = (char *)frame + FRAME_BYTES;
    const char *path = io_path(load->file);
    helios_status status =
        block_read_into(load->file, load->file_size, load->salt, load->crypt, &load->handle, load->type, image);

    if (status == HELIOS_OK)
        status = block_open(image, load->handle.size, load->type == BLOCK_HISTORY, path, load->handle.offset,
                            &frame->block);
    if (status == HELIOS_OK)
        status = block_check_layers(&frame->block, path, load->handle.offset);
    return status;
}

/* A frame with one count, in no slot. */
static helios_status frame_load(struct cache *cache, const struct cache_load *load, struct frame **out)
{
    size_t bytes = heap_round(FRAME_BYTES + (size_t)load->handle.size + BLOCK_TRAILER_SIZE);
    helios_status status = block_check_handle(&load->handle, load->type, load->file_size, io_path(load->file));
    struct frame *frame;

    if (status != HELIOS_OK)
        return status;
    frame = frame_alloc(cache, bytes);
    if (!frame)
        return fail_no_memory(bytes);
    *frame = (struct frame){.cache = cache, .type = (uint8_t)load->type, .charge = (uint32_t)bytes, .refs = 1};
    status = frame_read(load, frame);
    if (status != HELIOS_OK) {
        frame_release_memory(cache, frame, bytes);
        return status;
    }
    *out = frame;
    return HELIOS_OK;
}

void frame_ref(struct frame *frame)
{
    atomic_fetch_add_explicit(&frame->refs, 1, memory_order_relaxed);
}

/* Without a slot it was charged by itself; with one, it has left the slot and been in limbo. */
static void frame_free(struct frame *frame)
{
    struct cache *cache = frame->cache;

    if (frame->slot)
        atomic_fetch_sub_explicit(&cache->limbo, frame->charge, memory_order_relaxed);
    else
        atomic_fetch_sub_explicit(&cache->charged, frame->charge, memory_order_relaxed);
    frame_release_memory(cache, frame, frame->charge);
}

void frame_unref(struct frame *frame)
{
    uint32_t old;

    if (!frame)
        return;
    old = atomic_fetch_sub_explicit(&frame->refs, 1, memory_order_acq_rel);
    assert(old > 0);
    if (old == 1)
        frame_free(frame);
}

static void frame_release(struct epoch_item *item)
{
    frame_unref((struct frame *)((char *)item - offsetof(struct frame, item)));
}

/* ---- the clock ---- */

/* Behind the hand: the last to be looked at. */
static void clock_insert_locked(struct cache *cache, struct frame *frame)
{
    struct frame *hand = cache->hand;

    if (!hand) {
        cache->hand = frame->clock_next = frame->clock_previous = frame;
    } else {
        frame->clock_next = hand;
        frame->clock_previous = hand->clock_previous;
        hand->clock_previous->clock_next = frame;
        hand->clock_previous = frame;
    }
    atomic_fetch_add_explicit(&cache->bytes, frame->charge, memory_order_relaxed);
    cache->frames++;
}

/* Takes the frame out of its slot and of the clock; the caller retires it. From here on no new reader
 * finds it. */
static void clock_remove_locked(struct cache *cache, struct frame *frame)
{
    if (cache->hand == frame)
        cache->hand = frame->clock_next == frame ? NULL : frame->clock_next;
    frame->clock_next->clock_previous = frame->clock_previous;
    frame->clock_previous->clock_next = frame->clock_next;
    atomic_store_explicit(frame->slot, NULL, memory_order_release);
    atomic_fetch_sub_explicit(&cache->bytes, frame->charge, memory_order_relaxed);
    atomic_fetch_add_explicit(&cache->limbo, frame->charge, memory_order_relaxed);
    cache->frames--;
}

static bool over_budget(struct cache *cache)
{
    int64_t charged = atomic_load_explicit(&cache->charged, memory_order_relaxed);
    uint64_t bytes = atomic_load_explicit(&cache->bytes, memory_order_relaxed);

    return bytes + (charged > 0 ? (uint64_t)charged : 0) >
           atomic_load_explicit(&cache->budget, memory_order_relaxed);
}

/* Moves the hand until the budget is met, `victims` is full or two rounds are over: after those, all
 * frames that are left were counted by somebody or used meanwhile. Frames used since the hand's last
 * visit stay, and those that a cursor counts: evicting them would free nothing. */
static size_t clock_sweep_locked(struct cache *cache, struct frame **victims)
{
    uint64_t steps = cache->frames * 2;
    size_t count = 0;

    for (; steps > 0 && count < EVICT_BATCH && cache->hand && over_budget(cache); steps--) {
        struct frame *frame = cache->hand;

        cache->hand = frame->clock_next;
        if (atomic_load_explicit(&frame->refs, memory_order_relaxed) > 1)
            continue;
        if (atomic_load_explicit(&frame->touched, memory_order_relaxed)) {
            atomic_store_explicit(&frame->touched, 0, memory_order_relaxed);
            continue;
        }
        clock_remove_locked(cache, frame);
        victims[count++] = frame;
    }
    return count;
}

/* Evicts until the budget is met or nothing more can go. */
static void cache_evict(struct cache *cache)
{
    struct frame *victims[EVICT_BATCH];
    size_t count;

    do {
        if (!over_budget(cache))
            return;
        mutex_lock(&cache->clock_mu);
        count = clock_sweep_locked(cache, victims);
        mutex_unlock(&cache->clock_mu);
        for (size_t i = 0; i < count; i++)
            epoch_retire(&victims[i]->item, frame_release);
        atomic_fetch_add_explicit(&cache->evictions, count, memory_order_relaxed);
        if (atomic_load_explicit(&cache->limbo, memory_order_relaxed) > LIMBO_BYTES)
            epoch_collect();
    } while (count == EVICT_BATCH);
}

void cache_set_budget(struct cache *cache, uint64_t bytes)
{
    atomic_store_explicit(&cache->budget, bytes, memory_order_relaxed);
    cache_evict(cache);
}

void cache_charge(struct cache *cache, int64_t bytes)
{
    atomic_fetch_add_explicit(&cache->charged, bytes, memory_order_relaxed);
    if (bytes > 0)
        cache_evict(cache);
}

bool cache_charged_above(struct cache *cache, uint64_t bytes)
{
    int64_t charged = atomic_load_explicit(&cache->charged, memory_order_relaxed);

    return charged > 0 && (uint64_t)charged > bytes;
}

void cache_count_file(struct cache *cache, int64_t bytes)
{
    atomic_fetch_add_explicit(&cache->file_bytes, bytes, memory_order_relaxed);
}

bool cache_files_fit(struct cache *cache)
{
    return atomic_load_explicit(&cache->file_bytes, memory_order_relaxed) <= (int64_t)cache->file_bytes_fit;
}

void cache_drop(struct cache *cache, cache_slot *slot)
{
    struct frame *frame;

    mutex_lock(&cache->clock_mu); /* the hand may be about to evict it */
    frame = atomic_load_explicit(slot, memory_order_relaxed);
    if (frame)
        clock_remove_locked(cache, frame);
    mutex_unlock(&cache->clock_mu);
    if (frame)
        epoch_retire(&frame->item, frame_release);
}

/* ---- loading ---- */

static struct load_stripe *stripe_of(struct cache *cache, const cache_slot *slot)
{
    uint64_t mixed = ((uintptr_t)slot >> 3) * UINT64_C(0x9E3779B97F4A7C15);

    return &cache->stripes[mixed >> 58];
}
_Static_assert(LOAD_STRIPES == 64, "a stripe is chosen by six bits");

static struct load *find_load_locked(struct load_stripe *stripe, const cache_slot *slot)
{
    struct load *load = stripe->loads;

    while (load && load->slot != slot)
        load = load->next;
    return load;
}

/* Counts the frame in the slot, or gives NULL. */
static struct frame *slot_ref(cache_slot *slot)
{
    struct frame *frame;

    epoch_enter(); /* the slot's own count lasts as long: it cannot be the last one to go */
    frame = cache_peek(slot);
    if (frame)
        frame_ref(frame);
    epoch_leave();
    return frame;
}

/* The loader takes self out of its list when it sets `done`. */
static helios_status wait_for_load_locked(struct load_stripe *stripe, struct load *load,
                                          struct load_waiter *self, struct frame **out)
{
    self->next = load->waiters;
    load->waiters = self;
    while (!self->done)
        condition_wait(&stripe->done, &stripe->mu);
    *out = self->frame;
    return self->frame ? HELIOS_OK : error_tell(&self->note);
}

/* Puts the frame into the slot, which takes over the first count; the others are the loader's and one
 * for each waiter. */
static void publish_locked(struct cache *cache, struct load *load, cache_slot *slot, struct frame *frame)
{
    frame->slot = slot;
    frame_ref(frame);
    for (struct load_waiter *w = load->waiters; w; w = w->next) {
        frame_ref(frame);
        w->frame = frame;
    }
    mutex_lock(&cache->clock_mu);
    clock_insert_locked(cache, frame);
    atomic_store_explicit(slot, frame, memory_order_release);
    mutex_unlock(&cache->clock_mu);
}

static void finish_load(struct cache *cache, struct load_stripe *stripe, struct load *load, cache_slot *slot,
                        struct frame *frame, helios_status status)
{
    struct load **link = &stripe->loads;

    mutex_lock(&stripe->mu);
    while (*link != load)
        link = &(*link)->next;
    *link = load->next;
    if (frame)
        publish_locked(cache, load, slot, frame);
    for (struct load_waiter *w = load->waiters; w; w = w->next) {
        error_keep(&w->note, status);
        w->done = true;
    }
    if (load->waiters)
        condition_broadcast(&stripe->done);
    mutex_unlock(&stripe->mu);
}

/* Under the stripe's lock: the frame if it has come meanwhile, a wait for whoever is loading it, or
 * `self` is the load from now on and *mine is set. */
static helios_status join_load_locked(struct load_stripe *stripe, struct load *self, cache_slot *slot,
                                      bool *mine, struct frame **out)
{
    struct load_waiter waiter = {0};
    struct load *other;

    *out = slot_ref(slot);
    *mine = false;
    if (*out)
        return HELIOS_OK;
    other = find_load_locked(stripe, slot);
    if (other)
        return wait_for_load_locked(stripe, other, &waiter, out);
    self->next = stripe->loads;
    stripe->loads = self;
    *mine = true;
    return HELIOS_OK;
}

static helios_status load_into_slot(struct cache *cache, cache_slot *slot, const struct cache_load *what,
                                    struct frame **out)
{
    struct load_stripe *stripe = stripe_of(cache, slot);
    struct load self = {.slot = slot};
    struct frame *frame = NULL;
    helios_status status;
    bool mine;

    mutex_lock(&stripe->mu);
    status = join_load_locked(stripe, &self, slot, &mine, &frame);
    mutex_unlock(&stripe->mu);
    if (mine) {
        status = frame_load(cache, what, &frame);
        finish_load(cache, stripe, &self, slot, frame, status);
    }
    if (status != HELIOS_OK)
        return status;
    *out = frame;
    if (mine)
        cache_evict(cache);
    return HELIOS_OK;
}

helios_status cache_get(struct cache *cache, cache_slot *slot, const struct cache_load *load, bool fill,
                        struct frame **out)
{
    struct frame *frame = slot_ref(slot);
    helios_status status;

    if (frame) {
        cache_hit(cache);
        *out = frame;
        return HELIOS_OK;
    }
    atomic_fetch_add_explicit(&cache->misses, 1, memory_order_relaxed);
    if (fill)
        return load_into_slot(cache, slot, load, out);
    status = frame_load(cache, load, &frame);
    if (status != HELIOS_OK)
        return status;
    atomic_fetch_add_explicit(&cache->charged, frame->charge, memory_order_relaxed);
    *out = frame;
    return HELIOS_OK;
}

/* ---- statistics ---- */

/* Hits not yet told, of the cache this thread used last. The pointer is compared, never followed. */
static __thread struct {
    const struct cache *cache;
    uint64_t count;
} pending_hits;

void cache_hit(struct cache *cache)
{
    if (pending_hits.cache != cache) {
        pending_hits.cache = cache;
        pending_hits.count = 0;
    }
    if (++pending_hits.count < HITS_BATCH)
        return;
    pending_hits.count = 0;
    cache_count_hits(cache, HITS_BATCH);
}

void cache_count_hits(struct cache *cache, uint64_t hits)
{
    atomic_fetch_add_explicit(&cache->hits, hits, memory_order_relaxed);
}

void cache_get_stats(struct cache *cache, struct cache_stats *out)
{
    int64_t charged = atomic_load_explicit(&cache->charged, memory_order_relaxed);

    *out = (struct cache_stats){
        .budget = cache->budget,
        .charged = charged > 0 ? (uint64_t)charged : 0,
        .hits = cache->hits,
        .misses = cache->misses,
        .evictions = cache->evictions,
    };
    if (pending_hits.cache == cache)
        out->hits += pending_hits.count; /* this thread's own are exact */
    mutex_lock(&cache->clock_mu);
    out->bytes = cache->bytes;
    out->frames = cache->frames;
    mutex_unlock(&cache->clock_mu);
}
