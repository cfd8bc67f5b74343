/* feed_terms.c - what an archive of the log is told of a record: which keys its operations are on. So a cursor with a
 * prefix passes over what has nothing for it. What it cannot tell of (ranges, tables) is wanted by every cursor, and so is
 * what was applied from elsewhere: it moves the clock of all own commits behind it. */
#include "engine/feed.h"

void feed_terms(const struct wal_record *record, struct wal_terms *terms)
{
    struct reader reader = reader_make(record->body.data, record->body.size);
    struct op op;

    if (record->type != WAL_COMMIT || record->flags) {
        wal_terms_always(terms);
        return;
    }
    for (uint32_t i = 0; i < record->op_count; i++) {
        if (!op_read(&reader, record->branch == WAL_BRANCH_MANY, &op) || op.kind == KIND_RANGE_DELETE) {
            wal_terms_always(terms);
            return;
        }
        wal_terms_add(terms, op.space, op.key);
    }
}
