/* memtable.h - recent writes in order, in one mapping of huge pages: leaves of links to the entries, under
 * a skip list (Pugh, CACM 1990) of the leaves; lock-free insertion, by slots that are written once and
 * splits that anybody can finish.
 *
 * A link is one 64-bit word: the 32-bit offset of what it leads to and 32 bits of its key, so that
 * most comparisons read no entry at all. The bits are taken after `shared`, a key prefix chosen when the
 * memtable is made (what the keys of the one before had in common): a key below all keys with that
 * prefix counts as 0, one above as the maximum, and equal bits are decided by the whole key.
 *
 * Any number of writers and readers, no lock. A linked entry never changes. Readers hold a
 * reference, or are inside an epoch in which the memtable was reachable. Adding is in two
 * steps: prepare can fail and may be thrown away; insert cannot fail. Used by engine/ and compaction/. */
#ifndef HELIOS_MEMTABLE_MEMTABLE_H
#define HELIOS_MEMTABLE_MEMTABLE_H
#include "base/cursor.h"
#include "base/epoch.h"
#include "base/rangedel.h"

struct memtable;
struct memtable_node;

/* `bytes` is what it holds before it counts as full; the mapping has as much again in reserve for
 * writers that were preparing (touched only when used). shared: see above; when empty, the first key makes
 * a guess. Starts with one reference. Mappings are recycled: a process-wide pool keeps one. */
helios_status memtable_new(uint64_t bytes, helios_slice shared, struct memtable **) CHECKED;
struct memtable *memtable_ref(struct memtable *);
void memtable_unref(struct memtable *); /* the last one retires it to the epoch; NULL is fine */
void memtable_pool_release(void);       /* gives the pool's mappings back to the system */

/* Room for one entry, key and value copied; not yet visible to anybody. NULL when the memtable is
 * full: switch and prepare again. Any thread. */
struct memtable_node *memtable_prepare(struct memtable *, helios_slice key, helios_slice value,
                                       enum key_kind kind);
/* Links the node under the number. (key, seq) must not be there yet. Any thread. hint: a thread's or
 * batch's own finger for ascending keys, {0} to start; in another memtable it starts afresh. */
struct memtable_hint {
    uint64_t stand, memtable_id;
}; /* where the last insert ended, in which memtable */
void memtable_insert(struct memtable *, struct memtable_node *, helios_seq seq, struct memtable_hint *hint);
helios_slice memtable_node_key(const struct memtable_node *);

/* Adds range deletes [from, to), at least one: all of them or, without memory, none. Serialised inside. */
helios_status memtable_add_rangedels(struct memtable *, const struct rangedel *, size_t count) CHECKED;
/* The set now; NULL when there is none. Valid inside the epoch or while the memtable is referenced and no
 * range delete is added; take a reference for longer. */
struct rangedel_set *memtable_rangedels(const struct memtable *);

/* The newest version of key numbered at or below seq. hash = hash_key(key) is asked of the filter
 * first. Range deletes are not looked at. The value is borrowed for as long as the memtable. */
bool memtable_get(const struct memtable *, helios_slice key, uint64_t hash, helios_seq seq, uint64_t *tag,
                  helios_slice *value);

/* The filter alone, for who asks many: false is certain. Range deletes are not looked at. */
void memtable_prefetch(const struct memtable *, uint64_t hash);
bool memtable_may_hold(const struct memtable *, uint64_t hash);

/* A cursor (base/cursor.h); holds a reference. Concurrent inserts above the read point are not seen; one
 * over all versions sees some of what is inserted while it walks. Both directions cost the same. */
helios_status memtable_cursor_new(struct memtable *, helios_seq read_point, struct cursor **) CHECKED;
/* The same at a read point, without what is not asked for: keys whose version there is at or below `since` are passed
 * over (0: none is), and forward it may end when all that is left is at or above `upper`, which is copied. */
helios_status memtable_cursor_new_within(struct memtable *, helios_seq read_point, helios_seq since,
                                         helios_slice upper, struct cursor **) CHECKED;

size_t memtable_used(const struct memtable *);         /* bytes of entries, leaves, stands */
size_t memtable_resident(const struct memtable *);     /* what it takes of the memory budget */
uint64_t memtable_count(const struct memtable *);      /* entries linked */
uint64_t memtable_user_bytes(const struct memtable *); /* key and value bytes linked */
bool memtable_full(const struct memtable *);
bool memtable_empty(const struct memtable *); /* no entry and no range delete */
/* `shared` for the next one: the longest prefix common to the keys linked so far, by a sample, and but for
 * an eighth of it at the ends (a few entries of other spaces would spoil it for all). Copied to out
 * (capacity bytes); returns its size. */
size_t memtable_common_prefix(const struct memtable *, void *out, size_t capacity);
/* Whether any key of the layer (branch and space, the first 5 bytes) may be in it, range deletes
 * included. False is certain. */
bool memtable_may_hold_layer(const struct memtable *, const unsigned char layer[KEY_LAYER_BYTES]);

/* Walks everything, at rest, and aborts unless order, links, bits, filter and counts are right; for tests. */
void memtable_check(const struct memtable *);

#endif
