/* garbage.h - which versions and range deletes a flush or compaction leaves out. Pure: the horizon, the
 * pins and what lies outside of the inputs come as data. Used by job.c, and by tests against the definition.
 *
 * Rule, per branch and key, newest first: o, shadowed by the next newer version or covering range delete
 * n, goes if n <= horizon and no pin lies in [o, n). A tombstone at or below the horizon goes too when no
 * older version of its key is kept or can lie outside, and no ancestor can show through. Of two
 * neighbouring kept tombstones at or below the horizon the newer one goes.
 *
 * Points are plain numbers here: the point before the first commit is 0 and pins nothing. */
#ifndef HELIOS_COMPACTION_GARBAGE_H
#define HELIOS_COMPACTION_GARBAGE_H
#include "base/key.h"
#include "base/rangedel.h"

/* Points are ascending and distinct. */
struct garbage_branch {
    helios_branch_id branch;
    const helios_seq *pins; /* points that are pinned on all branches, as snapshots' */
    size_t count;
    bool is_root;          /* no parent: nothing can show through */
    bool dropped;          /* everything on it is garbage */
    const helios_seq *own; /* points pinned on this one, as its descendants' forks */
    size_t own_count;
};

/* Keys of which every version goes, shadowed or not, once it is numbered below a point. */
struct garbage_aged {
    helios_slice from, to; /* [from, to) of keys with layer */
    helios_seq below;      /* 0: there are none */
};

struct garbage_rules {
    bool collect; /* false: keep everything (recovery) */
    helios_seq horizon;
    const struct garbage_branch *branches; /* ascending by id */
    size_t count;
    struct garbage_branch others; /* for branches that are not listed; its id is not looked at */
    struct garbage_aged aged;

    /* Could an older version of a key in [from, to), or [from, to] if inclusive, lie outside of the
     * inputs: deeper, or in an older file of L0? A slice without data: open. NULL: always yes. */
    bool (*may_hold_older)(void *arg, helios_slice from, helios_slice to, bool inclusive);
    void *may_hold_older_arg;
    /* Could an ancestor of the key's branch show a value through (by filters; false is certain)? Asked
     * only for tombstones on branches that are no roots. NULL: always yes. */
    bool (*may_show_through)(void *arg, helios_slice key);
    void *may_show_through_arg;
};

const struct garbage_branch *garbage_branch_of(const struct garbage_rules *, helios_branch_id);

/* The filter over one merged stream. After garbage_init, for each key: key_begin, version for each
 * version, newest first, then key_end. */
struct garbage {
    const struct garbage_rules *rules;
    const struct garbage_branch *branch;
    helios_branch_id branch_id;
    bool certain_inside;         /* may_hold_older said no for the whole input: not asked again */
    size_t pin_count, own_count; /* pins below the horizon: the others can hold nothing */
    /* of the current key */
    const helios_seq *deletes;
    size_t delete_count;
    helios_seq shadow; /* the next newer version; UINT64_MAX: none */
    uint64_t pending;  /* tag of a tombstone at or below the horizon not yet written; 0: none */
    helios_seq aged;   /* versions below go anyway; 0: none */
    /* over keys, until reset by who reads it */
    helios_seq kept_min; /* the oldest version kept; UINT64_MAX: none */
};

enum garbage_verdict {
    GARBAGE_DROP,
    GARBAGE_KEEP,
    GARBAGE_KEEP_BOTH, /* write the tombstone in *before first, then this version */
    GARBAGE_HOLD,      /* a tombstone that may yet go: not written now */
};

/* [lower, upper): the whole input, open where a slice has no data. */
void garbage_init(struct garbage *, const struct garbage_rules *, helios_slice lower, helios_slice upper);
/* deletes: numbers of the range deletes of the inputs that cover the key, newest first; borrowed until
 * key_end. */
void garbage_key_begin(struct garbage *, helios_slice key, const helios_seq *deletes, size_t delete_count);
enum garbage_verdict garbage_version(struct garbage *, uint64_t tag, uint64_t *before);
/* The tag of a held tombstone that must be written after all, or 0. */
uint64_t garbage_key_end(struct garbage *, helios_slice key);

/* The numbers of a fragment, or of a piece of one, that must be kept: a subsequence of its seqs into
 * kept (room for all). Between keys, not inside one. kept_min: the oldest version kept of the keys in the piece. */
size_t garbage_fragment(struct garbage *, const struct rangedel_fragment *piece, helios_seq kept_min,
                        helios_seq *kept);

#endif
