/* merge_oracle_maker.c - for test_merge_oracle.py: makes a drawn history of branches and merges in Helios and writes down
 * what git needs to judge it.
 *   merge_oracle_maker SEED MERGES STREAM JUDGED
 * STREAM gets the history for `git fast-import`: one file per key, named by its bytes in hex; inside, one line of that
 * name and the value (so that no two files are alike and git sees no renames); one commit per commit, with the keys that were written; of a merge, with all that the target shows
 * afterwards. JUDGED gets a line for each merge: "merge MARK OURS-MARK THEIRS-MARK STRATEGY CONFLICT..." with the
 * conflicting keys in hex, or "nothing OURS-MARK THEIRS-MARK" where Helios had nothing to merge.
 * A point of a branch that is forked or merged is always the number of a commit on that branch itself. For others
 * Helios may see two points where git sees one commit, and so a conflict too many. */
#undef NDEBUG
#include "base/random.h"
#include "base/slice.h"
#include "helios/helios.h"
#include "tests/feed_replay.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEYS = 150, BRANCHES_MAX = 2000, COMMITS_MAX = 40000, LIVE = 7 };

struct commit {
    helios_branch_id branch;
    helios_seq seq;
    unsigned mark;
};

static struct random rng;
static helios_db *db;
static FILE *stream, *judged;
static struct commit commits[COMMITS_MAX];
static size_t commit_count;
static unsigned marks;
static helios_branch_id live[LIVE], made;
static size_t live_count = 1; /* main */

static void must(helios_status status, int line)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "line %d: %s: %s\n", line, helios_status_name(status), helios_last_error());
    exit(1);
}
#define MUST(call) must((call), __LINE__)

static uint64_t below(uint64_t limit)
{
    return random_below(&rng, limit);
}

/* The last commit of a branch. */
static const struct commit *tip(helios_branch_id branch)
{
    for (size_t i = commit_count; i-- > 0;)
        if (commits[i].branch == branch)
            return &commits[i];
    return NULL;
}

/* ---- the stream ---- */

static void print_hex(FILE *out, helios_slice key)
{
    for (size_t i = 0; i < key.size; i++)
        fprintf(out, "%02x", ((const unsigned char *)key.data)[i]);
}

static void print_put(helios_slice key, helios_slice value)
{
    fprintf(stream, "M 100644 inline ");
    print_hex(stream, key);
    fprintf(stream, "\ndata %zu\n", 2 * key.size + value.size + 2);
    print_hex(stream, key);
    fprintf(stream, " %.*s\n\n", (int)value.size, (const char *)value.data);
}

static void print_delete(helios_slice key)
{
    fprintf(stream, "D ");
    print_hex(stream, key);
    fprintf(stream, "\n");
}

static void begin_commit(helios_branch_id branch, const struct commit *from, const struct commit *merged)
{
    marks++;
    fprintf(stream, "commit refs/heads/b%u\nmark :%u\ncommitter h <h@h> %u +0000\ndata 0\n", branch, marks,
            1700000000 + marks);
    if (from)
        fprintf(stream, "from :%u\n", from->mark);
    if (merged)
        fprintf(stream, "merge :%u\n", merged->mark);
}

static void end_commit(helios_branch_id branch, helios_seq seq)
{
    fprintf(stream, "\n");
    assert(commit_count < COMMITS_MAX);
    commits[commit_count++] = (struct commit){branch, seq, marks};
}

/* ---- the history ---- */

static helios_slice key_of(uint64_t key, char out[16])
{
    return slice_make(out, (size_t)sprintf(out, "k%03u", (unsigned)key));
}

/* Few values, so that both sides often come to the same. */
static helios_slice any_value(char out[32])
{
    return slice_make(out, (size_t)sprintf(out, "value %u", (unsigned)below(below(4) ? 100000 : 3)));
}

/* Each key at most once in a commit, as git has no order within one. */
static void write_some(helios_branch_id branch, const struct commit *from)
{
    helios_write_options write = HELIOS_WRITE_OPTIONS_INIT;
    helios_batch *batch = helios_batch_new();
    size_t first = below(KEYS), count = 1 + below(5);
    helios_seq seq;
    char k[16], v[32];

    write.branch = branch;
    begin_commit(branch, from, NULL);
    for (size_t i = 0; i < count; i++) {
        helios_slice key = key_of((first + i * 7) % KEYS, k), value = any_value(v);

        if (below(3)) {
            helios_batch_put(batch, key, value);
            print_put(key, value);
        } else {
            helios_batch_delete(batch, key);
            print_delete(key);
        }
    }
    MUST(helios_write(db, &write, batch, &seq));
    end_commit(branch, seq);
    helios_batch_free(batch);
}

/* Of one of the last commits of a live branch; the last on the list makes room if need be. */
static void fork_some(void)
{
    helios_branch_id parent = live[below(live_count)], id;
    const struct commit *from = tip(parent);
    char name[32];

    for (size_t back = below(3) ? 0 : below(6); back > 0 && from > commits; back--) {
        const struct commit *c = from - 1;

        while (c > commits && c->branch != parent)
            c--;
        from = c->branch == parent ? c : from;
    }
    sprintf(name, "b%u", ++made);
    MUST(helios_branch_create(db, name, parent, from->seq, &id));
    assert(id == made && made < BRANCHES_MAX);
    write_some(id, from);
    live[live_count < LIVE ? live_count++ : 1 + below(LIVE - 1)] = id;
}

static void note_conflict(void *arg, const helios_merge_conflict *conflict)
{
    FILE *out = arg;

    fprintf(out, " ");
    print_hex(out, conflict->key);
}

static void print_state(helios_branch_id branch)
{
    helios_read_options read = HELIOS_READ_OPTIONS_INIT;
    helios_iter *it;

    read.branch = branch;
    fprintf(stream, "deleteall\n");
    MUST(helios_iter_new(db, &read, &it));
    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it))
        print_put(helios_iter_key(it), helios_iter_value(it));
    MUST(helios_iter_status(it));
    helios_iter_free(it);
}

static void merge_once(helios_branch_id source, helios_branch_id target)
{
    helios_merge_options options = HELIOS_MERGE_OPTIONS_INIT;
    const struct commit *ours = tip(target), *theirs = tip(source);
    bool take_theirs = below(2);
    helios_merge_result result;
    char *conflicts = NULL;
    size_t size = 0;

    options.strategy = take_theirs ? HELIOS_MERGE_THEIRS : HELIOS_MERGE_OURS;
    options.on_conflict = note_conflict;
    options.arg = open_memstream(&conflicts, &size);
    MUST(helios_branch_merge(db, source, target, &options, &result));
    fclose(options.arg);
    if (result.commit) {
        begin_commit(target, ours, theirs);
        print_state(target);
        fprintf(judged, "merge %u %u %u %s%s\n", marks, ours->mark, theirs->mark,
                take_theirs ? "theirs" : "ours", conflicts);
        end_commit(target, result.commit);
    } else {
        fprintf(judged, "nothing %u %u\n", ours->mark, theirs->mark);
    }
    free(conflicts);
}

/* Mostly with main, as people do: others soon have several bases. */
static bool merge_some(void)
{
    helios_branch_id source = live[below(live_count)], target = below(3) ? 0 : live[below(live_count)];

    if (below(3) == 0) {
        helios_branch_id swap = source;

        source = target;
        target = swap;
    }
    if (source == target)
        return false;
    write_some(source, NULL);
    merge_once(source, target);
    if (below(8) == 0)
        merge_once(source, target); /* nothing new */
    return true;
}

int main(int argc, char **argv)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    struct feed_replay_options replay = {.no_trim = true, .filters = 10};
    struct feed_replay *judge;
    uint64_t merges, done = 0;

    assert(argc == 5);
    random_seed(&rng, strtoull(argv[1], NULL, 10));
    merges = strtoull(argv[2], NULL, 10);
    stream = fopen(argv[3], "w");
    judged = fopen(argv[4], "w");
    assert(stream && judged);
    options.in_memory = true;
    options.memtable_bytes = 64 << 10;
    options.history_retention = options.feed_retention = HELIOS_FOREVER;
    MUST(helios_open("oracle", &options, &db));
    write_some(0, NULL);
    while (done < merges) {
        if (below(10) < 6)
            write_some(live[below(live_count)], NULL);
        else if (below(10) < 3)
            fork_some();
        else
            done += merge_some();
    }
    fprintf(stream, "done\n");
    assert(fclose(stream) == 0 && fclose(judged) == 0);
    replay.seed = merges;
    judge = feed_replay_new(&replay);
    feed_replay_follow(judge, db);
    feed_replay_free(judge);
    MUST(helios_close(db));
    return 0;
}
