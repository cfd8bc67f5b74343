/* batch.h - operations that will be one commit, kept as they will stand in the body of a log record:
 *
 *   op: kind u8 | space u8 | [branch u32, only in records of several branches] | key size varint |
 *       [value size varint] | key | [value]
 *
 * kind is enum key_kind: VALUE and RANGE_DELETE have a value (the latter's is the exclusive end). Keys
 * are user keys without their layer.
 *
 * A record of several branches (a merge's, or an applied commit's that is not main's) has of each key of a branch one
 * operation; its range deletes, which only the latter has, come before all others and delete nothing of the same record. */
#ifndef HELIOS_ENGINE_BATCH_H
#define HELIOS_ENGINE_BATCH_H
#include "base/buf.h"
#include "base/key.h"

struct batch_op {
    uint64_t offset; /* in the body */
    uint64_t hash;   /* of space and key, once keys are hashed */
    bool superseded; /* a later operation of the same batch decides about this key */
};

struct helios_batch {
    helios_buf body;
    struct batch_op *ops;
    size_t count, capacity;
    size_t range_deletes;
    size_t acks; /* operations that acknowledge for a consumer; see feed_acks.c */
    uint64_t user_bytes;
    bool several_branches; /* every op names its own: batch_append_on() alone adds */
    /* The count, as long as all were added by batch_add() and keys ascend, range deletes aside: until then nothing is
     * hashed and the table is empty. */
    size_t ascending;
    size_t last_key, last_key_size; /* the key before, in the body; 0: there is none */
    uint8_t last_space;
    uint32_t *table;   /* open addressing over ops that put or delete a key: index + 1 */
    size_t table_size; /* a power of two; 0: not built */
    struct error_note error;
};

struct op {
    enum key_kind kind;
    uint8_t space;
    helios_branch_id branch; /* only where the record has several */
    helios_slice key, value;
};

enum { OP_HEADER_MAX = 2 + 4 + 2 * VARINT_MAX };

/* The header of an op without key and value into out; its size. */
size_t op_header(unsigned char out[OP_HEADER_MAX], enum key_kind kind, uint8_t space, helios_slice key,
                 helios_slice value);
/* The next op of a body; false: damaged (or at its end, which the caller counts). */
bool op_read(struct reader *, bool several_branches, struct op *);
struct op batch_at(const struct helios_batch *, size_t index);
/* The operations that put or delete a key are known to be in order by space and key, each key once. */
static inline bool batch_ascends(const struct helios_batch *batch)
{
    return batch->ascending == batch->count;
}
void batch_add(struct helios_batch *, enum key_kind, uint8_t space, helios_slice key, helios_slice value);
/* For transactions, which keep their own index of keys: an operation more, its arguments checked by the caller, and
 * back to the first `count` ones. Nothing is superseded by it; init and release are for a batch inside
 * another struct. */
void batch_init(struct helios_batch *);
void batch_release(struct helios_batch *);
helios_status batch_append(struct helios_batch *, enum key_kind, uint8_t space, helios_slice key,
                           helios_slice value) CHECKED;
void batch_truncate(struct helios_batch *, size_t count);
/* For a batch of several branches: a put or delete of a key that none before has, or, before those, a range delete. */
helios_status batch_append_on(struct helios_batch *, helios_branch_id, enum key_kind, uint8_t space,
                              helios_slice key, helios_slice value) CHECKED;
/* Of an operation that puts another value of the same size. */
void batch_set_value(struct helios_batch *, size_t index, helios_slice value);
/* Marks what range deletes of the same batch, coming later, delete. */
helios_status batch_settle(struct helios_batch *) CHECKED;
/* HELIOS_INVALID for a key or value that can never be stored. */
helios_status check_key(helios_slice key) CHECKED;
helios_status check_value(helios_slice value) CHECKED;

#endif
