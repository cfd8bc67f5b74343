/* clock.h - vector clocks as bytes: which commits of each node something came after.
 *
 *   entry, 24 bytes: node (16) | number of one of its commits (u64, little-endian, 1 .. 2^56 - 1)
 *
 * sorted by node, none twice; no bytes at all are the empty clock. Bytes from elsewhere are checked once, by clock_check();
 * the other functions want them so. */
#ifndef HELIOS_ENGINE_CLOCK_H
#define HELIOS_ENGINE_CLOCK_H
#include "base/buf.h"
#include "base/key.h"

enum { NODE_BYTES = 16, CLOCK_ENTRY = NODE_BYTES + 8, CLOCK_ENTRIES_MAX = 4096 };

static inline size_t clock_count(helios_slice clock)
{
    return clock.size / CLOCK_ENTRY;
}
static inline const unsigned char *clock_node(helios_slice clock, size_t index)
{
    return slice_bytes(clock) + index * CLOCK_ENTRY;
}
static inline helios_seq clock_number(helios_slice clock, size_t index)
{
    return get_u64(clock_node(clock, index) + NODE_BYTES);
}

bool clock_valid(helios_slice clock);
helios_status clock_check(helios_slice clock) CHECKED; /* HELIOS_INVALID, with a sentence */
helios_seq clock_of(helios_slice clock, const unsigned char node[NODE_BYTES]); /* 0: the node is not in it */
/* Sets the node's entry; a new one may make the buffer grow, one that is there cannot fail. *at, if not NULL, gets where
 * in the buffer its number stands. */
helios_status clock_set(helios_buf *clock, const unsigned char node[NODE_BYTES], helios_seq number,
                        size_t *at) CHECKED;
/* Without the node's entry, if there is one. */
void clock_drop(helios_buf *clock, const unsigned char node[NODE_BYTES]);
/* The sum of its numbers: greater for what came later. */
unsigned __int128 clock_sum(helios_slice clock);
/* A node's id as 32 hexadecimal digits, for sentences. */
struct node_text {
    char text[2 * NODE_BYTES + 1];
};
struct node_text node_text(const unsigned char node[NODE_BYTES]);

#endif
