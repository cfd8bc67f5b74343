/* fault_feed.c - the change feed while the power is cut or calls fail: a consumer that acknowledges, trims, and the
 * judge of what an open finds of them; see fault_world.h. */
#include "engine/feed.h"
#include "tests/fault_world.h"
#include "tests/feed_replay.h"
#include <inttypes.h>
#include <stdio.h>

static const char name[] = "reader";

void world_feed(struct world *w)
{
    w->options.feed_retention = HELIOS_FOREVER;
}

void world_consume(struct world *w)
{
    struct feed_consumer *consumer = NULL;
    helios_seq acked;
    helios_status status;

    if (!world_going(w))
        return;
    w->consumer = w->consumer == TAG_THERE ? TAG_THERE : TAG_IN_DOUBT;
    status = feed_consumer_open(w->db, name, 0, true, &consumer, &acked);
    w->failed |= status != HELIOS_OK;
    if (status != HELIOS_OK)
        return;
    if (w->consumer != TAG_THERE)
        w->acked = w->acked_tried = acked;
    CHECK(acked == w->acked, "the consumer stands at %" PRIu64 ", not %" PRIu64, acked, w->acked);
    w->consumer = TAG_THERE;
    feed_consumer_close(w->db, consumer);
}

/* Everything there is, with a commit of its own. */
void world_ack(struct world *w)
{
    struct feed_consumer *consumer = NULL;
    helios_seq acked, last;
    helios_status status;

    if (!world_going(w) || w->consumer != TAG_THERE)
        return;
    status = feed_consumer_open(w->db, name, 0, true, &consumer, &acked);
    last = w->acked_tried = feed_last(w->db, true);
    if (status == HELIOS_OK)
        status = feed_consumer_ack(w->db, consumer, last);
    w->failed |= status != HELIOS_OK;
    if (status == HELIOS_OK)
        w->acked = last;
    if (consumer)
        feed_consumer_close(w->db, consumer);
}

void world_trim(struct world *w)
{
    helios_status status;

    if (!world_going(w))
        return;
    status = helios_feed_trim(w->db, UINT64_MAX - 1, NULL);
    w->failed |= status != HELIOS_OK;
    if (status == HELIOS_OK)
        w->trimmed = feed_first(w->db);
}

/* ---- the judge ---- */

static void check_consumer(struct check *c)
{
    struct world *w = c->w;
    helios_consumer_info *list = NULL;
    size_t count = 0;

    if (!check_judge(c, helios_consumer_list(w->db, &list, &count), "list of consumers"))
        return;
    CHECK(count <= 1 && (count == 0 || w->consumer != TAG_GONE), "%zu consumers", count);
    CHECK(count == 1 || w->consumer != TAG_THERE, "the consumer is lost");
    if (count == 1 && w->consumer == TAG_THERE)
        CHECK(list[0].acked >= w->acked && list[0].acked <= w->acked_tried,
              "the consumer stands at %" PRIu64 ", not from %" PRIu64 " to %" PRIu64, list[0].acked, w->acked,
              w->acked_tried);
    if (count == 1)
        CHECK(feed_first(w->db) <= list[0].acked + 1, "what the consumer at %" PRIu64 " needs is gone",
              list[0].acked);
    if (count == 1)
        w->acked = w->acked_tried = list[0].acked;
    w->consumer = count ? TAG_THERE : TAG_GONE;
    helios_free(list);
}

static bool check_tables(struct check *c, const struct wal_record *record)
{
    struct reader reader = reader_make(record->body.data, record->body.size);
    uint64_t count = read_varint(&reader);
    bool good = true;

    for (uint64_t i = 0; i < count && good; i++) {
        struct table_file *file = NULL;
        struct file_record named;

        CHECK(file_record_read(&reader, &named), "a record of tables cannot be read");
        good = check_judge(c, feed_table_open(c->w->db, &named, record->first + record->op_count - 1, &file),
                           "table of the feed");
        table_file_unref(file);
    }
    return good;
}

/* All commits of ours from the watermark on stand in the log that is kept, in order. */
static void check_log(struct check *c)
{
    struct world *w = c->w;
    struct wal_cursor *cursor = NULL;
    struct wal_record record;
    helios_seq first = feed_first(w->db), last = 0;
    uint32_t next = 0;
    helios_status status;

    if (!check_judge(c, wal_cursor_new(w->db->wal, first, NULL, &cursor), "feed"))
        return;
    while ((status = wal_cursor_next(cursor, wal_durable(w->db->wal), &record)) == HELIOS_OK) {
        helios_seq seq = record.first + record.op_count - 1;

        CHECK(record.first > last, "record %" PRIu64 " after %" PRIu64, record.first, last);
        for (; next < w->commit_count && w->commits[next].seq <= seq; next++) {
            const struct world_commit *commit = &w->commits[next];

            CHECK(commit->seq < first || commit->seq == seq || !commit->present || commit->seq == 0,
                  "commit %u (number %" PRIu64 ") is not in the feed", next, commit->seq);
        }
        if (record.type == WAL_INGEST && seq >= first && !check_tables(c, &record))
            break;
        last = seq;
    }
    if (status != HELIOS_OK)
        (void)check_judge(c, status, "feed");
    wal_cursor_free(cursor);
    for (; next < w->commit_count && !c->detected; next++)
        CHECK(!w->commits[next].present || w->commits[next].seq < first,
              "commit %u (number %" PRIu64 ") is not in the feed", next, w->commits[next].seq);
}

static void tell_where(const void *arg)
{
    (void)arg;
    fprintf(stderr, "  %s\n", fault_where);
}

/* What is left of the feed makes the states that are there. Each fourth time: it takes as long as all other checks. */
static void check_replay(struct world *w)
{
    static unsigned turn;
    const struct feed_replay_options options = {
        .seed = w->commit_count, .where = tell_where, .no_sync = true, .scans = 2};
    struct feed_replay *replay;

    if (turn++ % 4 != 0)
        return;
    replay = feed_replay_new(&options);
    feed_replay_follow(replay, w->db);
    feed_replay_free(replay);
}

void check_feed(struct check *c)
{
    struct world *w = c->w;
    helios_seq oldest, newest;

    if (!w->options.feed_retention || w->options.read_only)
        return;
    CHECK(feed_first(w->db) >= w->trimmed, "the feed begins at %" PRIu64 ", it was trimmed up to %" PRIu64,
          feed_first(w->db), w->trimmed);
    if (!check_judge(c, helios_feed_bounds(w->db, &oldest, &newest), "bounds of the feed"))
        return;
    CHECK(oldest <= newest && (!oldest || oldest >= feed_first(w->db)), "the feed from %" PRIu64 " to %" PRIu64,
          oldest, newest);
    check_consumer(c);
    if (!c->detected)
        check_log(c);
    if (!c->detected_is_fine && !c->may_fail)
        check_replay(w);
}
