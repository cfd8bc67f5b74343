/* salvage.h - what is sound in a table file that may be damaged anywhere: its blocks one by one, its range deletes.
 * For engine/salvage.c; nothing here writes. What cannot be read is told as a range of keys and left out.
 *
 * The blocks are found by the indexes. Where one of these is damaged they are found by walking: blocks stand behind
 * each other, so one ends where a trailer's checksum holds for all bytes since the block before. */
#ifndef HELIOS_SSTABLE_SALVAGE_H
#define HELIOS_SSTABLE_SALVAGE_H
#include "sstable/table.h"

enum table_loss {
    TABLE_LOSS_KEYS,          /* versions of keys in the range */
    TABLE_LOSS_RANGE_DELETES, /* range deletes: what they deleted in the range may be there again */
};

struct table_salvage_options {
    struct io_fs *fs;
    const char *path;        /* copied */
    helios_seq override_seq; /* as in table_open */
    /* [from, to], keys with layer, both may be affected; no data: open. The reason is a sentence that names the file. */
    helios_status (*lost)(void *arg, enum table_loss, helios_slice from, helios_slice to, const char *reason);
    void *arg;
};

struct table_salvage;
/* Fails only for want of memory, or where lost() does. A file that is not there has nothing but a loss. */
helios_status table_salvage_open(const struct table_salvage_options *, struct table_salvage **) CHECKED;
void table_salvage_free(struct table_salvage *); /* after its cursors; NULL is fine */
struct rangedel_set *table_salvage_rangedels(const struct table_salvage *); /* NULL: none; lives as long */
/* NULL: they cannot be read. */
const struct table_properties *table_salvage_properties(const struct table_salvage *);
/* Whether it holds any block of keys, or range delete, that can be read. */
bool table_salvage_found(const struct table_salvage *);

/* Walks over all versions in data blocks, or in history blocks: first() and next() alone. Each sorted by itself. */
helios_status table_salvage_cursor(struct table_salvage *, bool history, struct cursor **) CHECKED;

#endif
