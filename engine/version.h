/* version.h - which table files make up the tree, by level: an immutable value, replaced whole.
 * L0 is newest first by numbers, its files may overlap; deeper levels are sorted by key and disjoint in
 * internal order. Counted; holders: the current view, jobs, iterators through their view. */
#ifndef HELIOS_ENGINE_VERSION_H
#define HELIOS_ENGINE_VERSION_H
#include "sstable/file.h"

enum { LEVEL_COUNT = 7 };

struct level {
    struct table_file **files;
    size_t count;
    uint64_t bytes;
    /* Deeper levels: 8 bytes of each file's largest key behind what all of them share, for the
     * binary search of a look-up. */
    uint64_t *prefixes;
    size_t prefix_skip;
    struct file_branches *branches; /* of each file */
};

/* The branches of a file's smallest and largest key. */
struct file_branches {
    helios_branch_id first, last;
};

struct version {
    _Atomic uint32_t refs;
    struct level levels[LEVEL_COUNT];
    size_t file_count;
    helios_seq seq_max; /* over all files */
    bool range_deletes; /* some file has some */
};

struct version_change {
    struct table_file *file;
    uint32_t level;
    bool remove; /* by file number; else add */
};

helios_status version_new_empty(struct version **) CHECKED;
/* base with the changes; a removed file that is not there is HELIOS_CORRUPT. base is not changed. */
helios_status version_apply(const struct version *base, const struct version_change *, size_t count,
                            struct version **) CHECKED;
struct version *version_ref(struct version *);
void version_unref(struct version *); /* NULL is fine; call without locks */

/* Index of the first file of a deeper level whose largest key is >= key (> where it is exclusive). */
size_t version_find(const struct level *, helios_slice key);
/* Where the keys of a branch lie in a deeper level, if there are any, without a look at a key: nowhere; nowhere but
 * between the first and the last key of one file, which is set; or by version_find(). */
enum branch_place { BRANCH_NOWHERE, BRANCH_WITHIN, BRANCH_ACROSS };
enum branch_place version_find_branch(const struct level *, helios_branch_id, struct table_file **within);
/* Could an older version of a key in [from, to] lie below `level` (deeper), or in L0 beside the given
 * numbers? For the garbage rule. to inclusive. */
bool version_overlaps(const struct version *, uint32_t level, helios_slice from, helios_slice to);

/* Asserts order, bounds, disjointness; for tests and debug builds. */
void version_check(const struct version *);
/* The same of a version from disk: HELIOS_CORRUPT naming the files. */
helios_status version_validate(const struct version *) CHECKED;

#endif
