/* cache.h - blocks in memory, slot-addressed: whoever opens a table owns an array of slots, one per
 * block; a loaded block, a frame, hangs in its slot, so that a hit is an array load and no hash
 * look-up; one global clock (Corbato 1968) over all frames evicts within the budget.
 *
 * A frame has one count for its slot, dropped through the epoch when it is evicted: inside an epoch a
 * frame seen in a slot stays valid, and may be counted to stay valid longer. */
#ifndef HELIOS_SSTABLE_CACHE_H
#define HELIOS_SSTABLE_CACHE_H
#include "base/epoch.h"
#include "sstable/block.h"
#include <stdatomic.h>

struct cache;
/* A block with its image behind it, on cache lines: where what a search looks at first stands is known before the
 * frame has been read. */
struct frame {
    struct block block;
    /* private; what the clock's hand reads of a frame that stays lies together, beside what a hit reads */
    _Atomic uint32_t refs;
    _Atomic uint8_t touched; /* set by hits, cleared by the hand */
    uint8_t type;
    struct frame *clock_next;
    _Atomic(struct frame *) *slot; /* NULL: was never put into one */
    struct cache *cache;
    uint32_t charge;
    struct frame *clock_previous;
    struct epoch_item item;
};
enum { FRAME_BYTES = 192 }; /* the image is behind these */
_Static_assert(sizeof(struct frame) <= FRAME_BYTES && FRAME_BYTES % 64 == 0,
               "the image stands on a cache line");
_Static_assert(offsetof(struct frame, type) < 128, "a hit touches two lines of a frame");
typedef _Atomic(struct frame *) cache_slot;

helios_status cache_new(uint64_t budget, struct cache **) CHECKED;
void cache_free(struct cache *); /* all tables closed, epoch drained */
void cache_set_budget(struct cache *, uint64_t bytes);

/* The frame in the slot or NULL; inside an epoch; marks it as used. */
static inline struct frame *cache_peek(cache_slot *slot)
{
    struct frame *frame = atomic_load_explicit(slot, memory_order_acquire);

    if (!frame)
        return NULL;
    if (!atomic_load_explicit(&frame->touched, memory_order_relaxed))
        atomic_store_explicit(&frame->touched, 1, memory_order_relaxed);
    return frame;
}
struct cache_load {
    struct io_file *file;
    uint64_t file_size, salt;
    const struct crypt_file *crypt;
    struct block_handle handle;
    enum block_type type; /* DATA, HISTORY */
};
/* The slot's frame, counted; loads it if it is not there: one loader, others wait for its result or
 * error. fill false: a frame that is not put into the slot. Outside any epoch. */
helios_status cache_get(struct cache *, cache_slot *, const struct cache_load *, bool fill,
                        struct frame **) CHECKED;
void frame_ref(struct frame *);
void frame_unref(struct frame *); /* NULL is fine */
/* Empties the slot (a table is closing; nobody else uses it). */
void cache_drop(struct cache *, cache_slot *);

/* Memory held outside frames (filters, indexes, slots) is charged against the same budget: frames give
 * way to it. Never fails. */
void cache_charge(struct cache *, int64_t bytes);

/* Was more charged than that? */
bool cache_charged_above(struct cache *, uint64_t bytes);

/* A table's file was opened, or closed (negative). */
void cache_count_file(struct cache *, int64_t bytes);
/* Whether the files of all open tables together take at most half of the machine's memory: then the page cache may
 * hold them, and what is read of them beside what was asked for is not in vain. */
bool cache_files_fit(struct cache *);

struct cache_stats {
    uint64_t budget, bytes, charged, frames, hits, misses, evictions;
};
void cache_get_stats(struct cache *, struct cache_stats *); /* hits are sampled from per-thread counts */
void cache_count_hits(struct cache *, uint64_t hits);       /* batched by callers */
void cache_hit(struct cache *); /* one hit, told in batches of the calling thread's own */

#endif
