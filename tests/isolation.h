/* isolation.h - a judge of recorded transactions that knows nothing of the engine. From who read which version, who
 * wrote what and the commit numbers it builds the serialization graph of Adya ("Weak Consistency", MIT 1999;
 * Adya, Liskov, O'Neil, "Generalized Isolation Level Definitions", ICDE 2000) and names what must not be in it.
 *
 * Keys are small numbers; a range read is one read for each key in the range, the absent ones included. A version
 * is named by its writer and the operation within it. Only what a transaction read of others is recorded; its own
 * writes are the recorder's to check. A deletion of a key that was absent changes nothing and is no version.
 *
 * What is looked for:
 *   everywhere     reads of what never was, of what was rolled back (G1a), of what was overwritten by its writer
 *                  (G1b); reads that no single commit number explains (ISO_NO_SNAPSHOT: read skew, long fork), or none
 *                  between begin_min and begin_max; a key written though another had committed it since the begin
 *                  (ISO_NOT_FIRST)
 *   in the graph   cycles of ww (G0), of ww and wr (G1c), with one rw (G-single: lost update, read skew), without two rw
 *                  in a row (ISO_FORK: long fork; Cerone, Gotsman, "Analysing Snapshot Isolation", JACM 2018)
 *   SERIALIZABLE   any cycle: of rw by keys (G2-item), by ranges too (G2). In a mixed history the rw edges that leave
 *                  a transaction of SNAPSHOT do not count (Adya's mixed serialization graph). */
#ifndef HELIOS_TESTS_ISOLATION_H
#define HELIOS_TESTS_ISOLATION_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum iso_level { ISO_SNAPSHOT, ISO_SERIALIZABLE };
enum iso_outcome { ISO_COMMITTED, ISO_ABORTED };

enum iso_anomaly {
    ISO_BROKEN = 1 << 0, /* the record contradicts itself: a number twice, a read of what never was */
    ISO_G0 = 1 << 1,
    ISO_G1A = 1 << 2,
    ISO_G1B = 1 << 3,
    ISO_G1C = 1 << 4,
    ISO_NO_SNAPSHOT = 1 << 5,
    ISO_NOT_FIRST = 1 << 6,
    ISO_G_SINGLE = 1 << 7,
    ISO_FORK = 1 << 8,
    ISO_G2_ITEM = 1 << 9,
    ISO_G2 = 1 << 10,
};

struct iso_read {
    uint32_t key, writer; /* writer 0: absent */
    uint16_t op;
    bool in_range;
};
struct iso_write { /* the last one of the transaction on that key */
    uint64_t seq;  /* number of the version where it was seen to be another one; 0: the commit's */
    uint32_t key;
    uint16_t op;
    bool deleted;
};
struct iso_txn {
    uint32_t id; /* from 1, unique in all logs */
    enum iso_level level;
    enum iso_outcome outcome;
    uint64_t commit;               /* its number; 0: it wrote nothing */
    uint64_t begin_min, begin_max; /* its read point lies in [min, max] */
    size_t read_first, read_count, write_first, write_count;
};

/* What one thread records. {0} to start. */
struct iso_log {
    struct iso_txn *txns;
    struct iso_read *reads;
    struct iso_write *writes;
    size_t txn_count, read_count, write_count, txn_room, read_room, write_room;
};

void iso_begin(struct iso_log *, uint32_t id, enum iso_level, uint64_t begin_min, uint64_t begin_max);
void iso_read(struct iso_log *, uint32_t key, uint32_t writer, uint16_t op, bool in_range);
void iso_write(struct iso_log *, uint32_t key, uint16_t op, bool deleted);
void iso_end(struct iso_log *, enum iso_outcome, uint64_t commit);
void iso_log_release(struct iso_log *);

/* The anomalies found, as a set of enum iso_anomaly; the first of each kind is told on `out` (NULL: silent). */
unsigned iso_check(const struct iso_log *logs, size_t count, uint32_t keys, FILE *out);
const char *iso_name(enum iso_anomaly);

/* The committed versions of a key in order, for tests that replay them: calls back for each. */
void iso_versions(const struct iso_log *logs, size_t count, uint32_t key,
                  void (*each)(void *arg, uint32_t writer, uint16_t op, bool deleted), void *arg);

#endif
