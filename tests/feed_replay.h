/* feed_replay.h - the change feed as a judge, for any test to take along: it follows the feed, makes states of it
 * (feed_states.h), and compares them with what the database shows.
 *
 * Each time that it follows, up to the last commit of that moment: numbers, times, ends of commits, images, origins of
 * the entries; states at some commits, on every branch that the feed tells of, and at the end on all; some images with
 * reads at the number before; the list of commits, branches, tags and consumers; the feed's bounds; and the same entries again
 * through random filters. What is wrong is told, with where the test stands, and ends the process.
 *
 * Where what comes next was trimmed it takes the states before the oldest entry, or those of now if history does not reach that
 * far, from scans and goes on from there. */
#ifndef HELIOS_TESTS_FEED_REPLAY_H
#define HELIOS_TESTS_FEED_REPLAY_H
#include "helios/helios.h"

struct feed_replay;

struct feed_replay_options {
    uint64_t seed;
    /* Prints what replays the test; may be NULL. */
    void (*where)(const void *arg);
    const void *arg;
    const char
        *consumer; /* follows under this name, with images, and acknowledges; NULL: only reads, and nothing is
                             ever written */
    /* Told of each commit that it makes itself: of the consumer, of its position. */
    void (*committed)(void *arg, helios_seq);
    void *committed_arg;
    bool hold; /* the cursor stays open until feed_replay_release(), and with it the images of branches that are
                          dropped. Only where nobody writes while it follows */
    bool others_write; /* threads write meanwhile: lists are not compared. Nothing that was read is ever lost */
    bool no_sync;      /* never waits for what is durable: that would have the log synced */
    bool no_trim;      /* what it has not read yet is never trimmed */
    unsigned scans;    /* whole states compared in one go, at most; 0: 6 */
    unsigned filters;  /* random filters in one go; 0: 2 */
};

struct feed_replay *feed_replay_new(const struct feed_replay_options *);
/* Reads on, to the end as it is now. A database without a feed, or open read-only, is left alone. */
void feed_replay_follow(struct feed_replay *, helios_db *);
/* Lets go of the cursor: before a close. */
void feed_replay_release(struct feed_replay *);
/* After an open: what was lost at the end never was. */
void feed_replay_opened(struct feed_replay *, helios_db *);
/* What was done, for the report of a test: one line. */
void feed_replay_report(const struct feed_replay *);
void feed_replay_free(struct feed_replay *);

#endif
