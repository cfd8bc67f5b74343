/* memtable.h - recent writes in order: a concurrent skip list (Pugh, CACM 1990; lock-free insertion as
 * by Herlihy and Shavit, without removal) in one mapping of huge pages.
 *
 * A link is one 64-bit word: the 32-bit offset of the next node and 32 bits of that node's key, so that
 * most comparisons read no node at all. The 32 bits start after `shared`, a key prefix chosen when the
 * memtable is made (what the keys of the one before had in common): a key below all keys with that
 * prefix counts as 0, one above as the maximum, and equal words are decided by the whole key.
 *
 * Any number of writers and readers, no lock. A linked node never changes but for its links. Readers
 * hold a reference, or are inside an epoch in which the memtable was reachable. Adding is in two
 * steps: prepare can fail and may be thrown away; insert cannot fail. Used by engine/ and compaction/. */
#ifndef HELIOS_MEMTABLE_MEMTABLE_H
#define HELIOS_MEMTABLE_MEMTABLE_H
#include "base/cursor.h"
#include "base/epoch.h"
#include "base/rangedel.h"

struct memtable;
struct memtable_node;

/* `bytes` is what it holds before it counts as full; the mapping has as much again in reserve for
 * writers that were preparing (touched only when used). shared: see above, may be empty. Starts with
 * one reference. Mappings are recycled: a small process-wide pool keeps up to two. */
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
enum { MEMTABLE_HEIGHT_MAX = 20 };
struct memtable_hint {
    uint64_t at[MEMTABLE_HEIGHT_MAX]; /* a link to the node last passed on each level; 0 is the head */
    uint64_t memtable_id;
};
void memtable_insert(struct memtable *, struct memtable_node *, helios_seq seq, struct memtable_hint *hint);
helios_slice memtable_node_key(const struct memtable_node *);

/* Adds a range delete [from, to). Serialised inside. */
helios_status memtable_add_rangedel(struct memtable *, const struct rangedel *) CHECKED;
/* The set now; NULL when there is none. Valid inside the epoch or while the memtable is referenced and no
 * range delete is added; take a reference for longer. */
struct rangedel_set *memtable_rangedels(const struct memtable *);

/* The newest version of key numbered at or below seq. hash = hash_key(key) is asked of the filter
 * first. Range deletes are not looked at. The value is borrowed for as long as the memtable. */
bool memtable_get(const struct memtable *, helios_slice key, uint64_t hash, helios_seq seq, uint64_t *tag,
                  helios_slice *value);

/* A cursor (base/cursor.h); holds a reference. Concurrent inserts above the read point are not seen.
 * A step back costs a search. */
helios_status memtable_cursor_new(struct memtable *, helios_seq read_point, struct cursor **) CHECKED;

size_t memtable_used(const struct memtable *);      /* bytes of arena handed out */
size_t memtable_resident(const struct memtable *);  /* what it takes of the memory budget */
uint64_t memtable_count(const struct memtable *);   /* entries linked */
uint64_t memtable_user_bytes(const struct memtable *); /* key and value bytes linked */
bool memtable_full(const struct memtable *);
bool memtable_empty(const struct memtable *);       /* no entry and no range delete */
/* The longest common prefix of all keys linked so far: `shared` for the next one. Copied to out
 * (capacity bytes); returns its size. Approximate under concurrent inserts. */
size_t memtable_common_prefix(const struct memtable *, void *out, size_t capacity);
/* Whether any key of the layer (branch and space, the first 5 bytes) may be in it, range deletes
 * included. False is certain. */
bool memtable_may_hold_layer(const struct memtable *, const unsigned char layer[KEY_LAYER_BYTES]);

/* Walks everything and asserts order, links, prefixes, filter, counts; for tests. */
void memtable_check(const struct memtable *);

#endif
