/* feed_judge.h - what the files of the feed's judge share: feed_replay.c follows the feed, feed_compare.c compares what it
 * made of it with what the database says otherwise. */
#ifndef HELIOS_TESTS_FEED_JUDGE_H
#define HELIOS_TESTS_FEED_JUDGE_H
#include "base/random.h"
#include "tests/feed_replay.h"
#include "tests/feed_states.h"

/* An entry as it was read; or a key that one of them, a range delete, has deleted. */
struct feed_record {
    helios_seq lsn, commit;
    uint64_t time;
    helios_branch_id branch;
    helios_change_kind kind;
    uint8_t space;
    bool expansion;
    bool blind; /* what was there before is not known */
    const struct feed_key *key, *end;
    struct feed_value value, before;
};
struct feed_commit {
    helios_seq seq, first;
    uint64_t time, entries;
};

struct feed_replay {
    struct feed_replay_options options;
    struct random rng;
    struct feed_states states;
    helios_changes *cursor;
    bool images, no_images; /* asked for; cannot be had */
    bool adopted;           /* once begun anew in the middle */
    uint8_t node[16];       /* that made all of it */
    /* Where it stands. */
    helios_seq next, lsn, commit, acked;
    uint64_t time;
    bool ended;
    /* Entries, the newest; commits, all. */
    struct feed_record *records;
    size_t record_count, record_room;
    bool forgot_records;
    struct feed_commit *commits;
    size_t commit_count, commit_room;
    struct {
        uint64_t entries, goes, images, reads, scans, filters, adopted;
    } counts;
};

_Noreturn void judge_failed(const struct feed_replay *, int line, const char *file, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
#define JUDGE(r, condition, ...)                                                                               \
    do {                                                                                                       \
        if (!(condition))                                                                                      \
            judge_failed(r, __LINE__, __FILE__, __VA_ARGS__);                                                  \
    } while (0)
#define JUDGE_MUST(r, call) JUDGE(r, (call) == HELIOS_OK, "%s", #call)

/* Of a point as the library gives it, and back. */
static inline helios_seq judge_plain(helios_seq point)
{
    return point == HELIOS_SEQ_NONE ? 0 : point;
}
static inline helios_seq judge_point(helios_seq plain)
{
    return plain ? plain : HELIOS_SEQ_NONE;
}

bool judge_any_dropped(const struct feed_replay *, helios_db *);
/* Of an entry not yet applied, which its commit has not written before: reads at the number before. */
void judge_read_before(struct feed_replay *, helios_db *, const struct feed_record *);
/* A commit was read to its end: its branch, and another. */
void judge_commit(struct feed_replay *, helios_db *, const helios_change *last);
/* All was read up to the last commit: states, lists, bounds. */
void judge_end(struct feed_replay *, helios_db *, helios_seq latest);
/* The list of commits, from this one of the replay's on. */
void judge_commits(struct feed_replay *, helios_db *, size_t from, helios_seq latest);
void judge_filter(struct feed_replay *, helios_db *);

#endif
