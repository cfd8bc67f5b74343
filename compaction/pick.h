/* pick.h - what to compact next: pure functions over the shape of the tree.
 *
 * Leveled (O'Neil et al., 1996) with level sizes counted from the last level up, as RocksDB's dynamic
 * level bytes (Dong et al., CIDR 2017): L0 goes to the base level, the first whose target is not below
 * memtable_bytes x 4; the levels between L0 and the base are empty. */
#ifndef HELIOS_COMPACTION_PICK_H
#define HELIOS_COMPACTION_PICK_H
#include "compaction/garbage.h"
#include "sstable/file.h"

enum {
    COMPACT_LEVELS = 7,
    COMPACT_LAST_LEVEL = COMPACT_LEVELS - 1,
    COMPACT_L0_TRIGGER = 4, /* runs */
    COMPACT_MULTIPLIER = 10,
};

struct compact_pick;

struct compact_level {
    struct table_file *const *files;
    size_t count;
};

struct compact_tree {
    struct compact_level levels[COMPACT_LEVELS]; /* L0 newest first; the others by key, disjoint */
    uint64_t memtable_bytes, target_file_bytes;
    helios_seq horizon;       /* as it would be for a job that starts now */
    struct garbage_aged aged; /* likewise, or what it was for an earlier one */
    /* us: what was all committed by then may sink, see COMPACT_REASON_EXPIRED; 0: nothing */
    uint64_t sink_time;
    /* Of a database at rest, the most that a job may rewrite only to leave fewer runs to readers; 0: not at rest. */
    uint64_t rest_bytes;
    helios_seq limit_seq; /* L0 files with larger numbers stay (ingested, above an unflushed memtable);
                             UINT64_MAX: none */
    /* Jobs that run: their inputs are busy, and nothing else may be put where their outputs will be. */
    const struct compact_pick *const *running;
    size_t running_count;
    /* Is everything on this branch garbage? NULL: no. For how many it is: files that were written after as many
     * hold nothing of them. */
    bool (*branch_is_garbage)(void *arg, helios_branch_id);
    void *branch_is_garbage_arg;
    uint64_t drops;
};

enum compact_reason {
    COMPACT_REASON_NONE,
    COMPACT_REASON_DROP,       /* the inputs are garbage as a whole: remove them, read nothing */
    COMPACT_REASON_L0,         /* too many files in L0 */
    COMPACT_REASON_INTRA_L0,   /* L0 files into one, while the base level is busy */
    COMPACT_REASON_SIZE,       /* a level above its target */
    COMPACT_REASON_TOMBSTONES, /* a file with many tombstones */
    COMPACT_REASON_EXPIRED, /* a file (see table_file.collected) whose shadowed versions have left the retention, or
                               half of whose keys go by their age; or,
                               when nothing else is to be done, one that sinks: all of it has left the retention,
                               so that whatever it shadows further down is garbage once it gets there */
    COMPACT_REASON_BRANCHES, /* much of a file is of dropped branches */
    COMPACT_REASON_REST, /* nothing is written and nothing else is to be done: fewer runs for those who read */
    COMPACT_REASON_MANUAL,
};
const char *compact_reason_name(enum compact_reason);

/* Borrows files and arrays from the tree: hold the version while the pick lives. */
struct compact_pick {
    enum compact_reason reason;
    int input_level, output_level; /* equal: rewritten in place (intra-L0 too) */
    struct table_file **inputs;    /* of input_level; L0: newest first, else by key */
    size_t input_count;
    struct table_file *const *overlaps; /* of output_level, by key; none when rewritten in place */
    size_t overlap_count;
    struct table_file *const *grandparents; /* of output_level + 1 in the inputs' range */
    size_t grandparent_count;
    uint64_t grandparent_bytes_max; /* for struct compact_job */
    uint64_t bytes;                 /* of all inputs */
    bool trivial_move;              /* the only input changes its level, nothing is read */
    bool bottommost;                /* nothing older of these keys lies outside of the inputs */
    helios_slice from, to;          /* hull of the inputs */
    bool to_exclusive;
    /* What is older and outside: for compact_may_hold_older. */
    struct table_file *const *older_l0;
    size_t older_l0_count;
    struct compact_level deeper[COMPACT_LEVELS]; /* only those below the output level have files */
};

/* The most urgent job, or NULL: quiet, or all is busy. Fails only with HELIOS_NO_MEMORY. The caller sets
 * `busy` of the inputs and overlaps, and adds the pick to `running`, before it picks again. */
helios_status compact_pick(const struct compact_tree *, struct compact_pick **) CHECKED;

/* What a manual compaction is asked for, and where it ends although writing goes on. */
struct compact_range {
    helios_slice from, to; /* [from, to) of keys with layer; no data: open */
    helios_seq seq_limit;  /* the latest number when it began: files with only newer data are left alone */
    uint64_t number_limit; /* the next file number when it began: later files are not rewritten in place */
    bool rewrite;          /* every file before that is, whatever is in it */
};

/* A step of a manual compaction: from the shallowest level down to the deepest that holds the range, a
 * bounded piece at a time; last, files there with history, tombstones or range deletes are rewritten in
 * place. *done: nothing is left; neither done nor a pick: what is left is busy, come again after a job
 * ends. */
helios_status compact_pick_range(const struct compact_tree *, const struct compact_range *,
                                 struct compact_pick **, bool *done) CHECKED;
void compact_pick_free(struct compact_pick *); /* NULL is fine; busy marks are the caller's */

/* garbage_rules.may_hold_older with the pick as arg. */
bool compact_may_hold_older(void *pick, helios_slice from, helios_slice to, bool inclusive);

/* Keys that cut the pick's range into at most `parts` of about equal size: bounds[i] is the upper end of
 * part i and the lower of part i + 1. Returns how many bounds there are, at most parts - 1. Borrowed. */
size_t compact_split(const struct compact_pick *, size_t parts, helios_slice *bounds);

/* The first and the last branch of which the file's bounds have keys. */
void compact_branches_of(const struct table_file *, helios_branch_id *first, helios_branch_id *last);

/* Level targets in bytes; 0 for levels that should be empty. */
struct compact_targets {
    int base_level;
    uint64_t bytes[COMPACT_LEVELS];
};
void compact_get_targets(const struct compact_tree *, struct compact_targets *);
/* Sorted runs in L0: the tables of one flush, ingest or merge count once. For pacing. */
size_t compact_l0_runs(const struct compact_tree *);
/* Bytes that compactions still have to move until the tree is quiet: an estimate, for pacing. */
uint64_t compact_debt(const struct compact_tree *);

#endif
