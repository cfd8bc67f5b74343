/* test_crash.c - the process is killed while four threads write, again and again, on a real directory. What was
 * acknowledged survives, also ASYNC commits; a commit is there as a whole or not at all; of each thread's commits a
 * prefix is there; helios_verify finds nothing. Then it goes on with the same database.
 *
 * A commit of a thread follows from its number, so the judge needs to know only how far each thread came. It
 * writes the number under the thread's counter key, a marker, and some keys of the thread's own; in between ranges
 * are deleted and batches are ingested. Every third is a transaction, with a part that is taken back; others are left
 * open; one counter is added to by all threads, in transactions that collide.
 *
 * One thread makes and drops tags and notes how far all threads were at the tag's point, which is readable as long
 * as the tag is there, whatever the retention: that is another in each life.
 * One more thread makes branches, merges them into main and drops them: crash_branches.c.
 * Usage: test_crash [seed [kills [directory]]] */
#undef NDEBUG
#include "base/random.h"
#include "tests/crash_branches.h"
#include "tests/encrypted.h"
#include "tests/feed_replay.h"
#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    THREADS = 4,
    KILLS_DEFAULT = 110,
    LIFE_MIN_MS = 20,
    LIFE_MAX_MS = 300,
    OPEN_EVERY = 6,
    LIFE_OPEN_MS = 10, /* now and then it dies while it opens */
    KEYS = 40,         /* of each thread */
    OPS_MAX = 6,
    VALUE_MAX = 2000,
    INGEST_EVERY = 701, /* commits */
    INGEST_VALUE = 60000,
    SWEEP_EVERY = 97,  /* a range delete */
    MARKERS_KEPT = 64, /* older ones are deleted by a range on the way */
    TXN_EVERY = 3,
    LEAVE_EVERY = 29, /* a transaction is begun, and left open until the next one is */
    ADD_EVERY = 7,
    TAGS = 12,
    TAG_EVERY = 83,
};

/* MAKING and DROPPING: it may be there or not. */
enum tag_state { TAG_GONE, TAG_MAKING, TAG_THERE, TAG_DROPPING };
struct shared_tag {
    _Atomic int state; /* release: the rest is written */
    helios_seq at;
    uint64_t done[THREADS]; /* how far each thread was */
};

/* Seen by both processes. Written before a commit begins and after it was acknowledged. */
struct shared {
    _Atomic uint64_t begun[THREADS], acknowledged[THREADS];
    _Atomic uint64_t adds_begun, adds_acknowledged;
    struct shared_tag tags[TAGS];
    struct crash_branches branches;
    _Atomic int opened;
};

/* What one thread's keys should hold. */
struct model {
    uint64_t done;
    uint64_t written[KEYS]; /* by which commit; 0: nothing */
};

static uint64_t seed = 1;
static struct shared *shared;
static struct model models[THREADS];
static struct model tagged[TAGS][THREADS]; /* what each tag should show */
static int round_now;
static struct feed_replay *replay; /* the judge of the feed, which lives in the parent */

static void failed(const char *what)
{
    fprintf(stderr, "%s: %s\n  seed %" PRIu64 ", kill %d\n", what, helios_last_error(), seed, round_now);
    abort();
}

#define MUST(call)                                                                                             \
    do {                                                                                                       \
        if ((call) != HELIOS_OK)                                                                               \
            failed(#call);                                                                                     \
    } while (0)
#define CHECK(condition)                                                                                       \
    do {                                                                                                       \
        if (!(condition))                                                                                      \
            failed("not so: " #condition);                                                                     \
    } while (0)

static helios_slice text(char *out, const char *format, int thread, uint64_t number)
{
    return (helios_slice){out, (size_t)sprintf(out, format, thread, number)};
}

static const helios_slice sum_key = {"sum", 3};
static const char counter_format[] = "%d/counter", marker_format[] = "%d/m%012" PRIu64,
                  key_format[] = "%d/k%02" PRIu64, share_format[] = "%d/share",
                  open_format[] = "%d/open%" PRIu64;

/* ---- commits ---- */

struct planned {
    unsigned count, keys[OPS_MAX];
    bool deletes[OPS_MAX];
    uint32_t size;
    bool ingest, sweep, marker_sweep;
};

static struct planned plan(int thread, uint64_t number)
{
    struct planned p = {0};
    struct random rng;

    random_seed(&rng, seed * 1000003 + number * THREADS + (uint64_t)thread);
    p.count = 1 + (unsigned)random_below(&rng, OPS_MAX);
    p.size = 16 + (uint32_t)random_below(&rng, VALUE_MAX - 16);
    p.sweep = number % SWEEP_EVERY == 0;
    p.marker_sweep = number % MARKERS_KEPT == 0;
    p.ingest = number % INGEST_EVERY == 0;
    for (unsigned i = 0; i < p.count; i++) {
        p.keys[i] = (unsigned)random_below(&rng, KEYS);
        p.deletes[i] = random_below(&rng, 6) == 0;
    }
    return p;
}

static helios_slice value_of(int thread, uint64_t number, uint64_t key, uint32_t size, char *out)
{
    uint64_t word = number * 0x9e3779b97f4a7c15 + key * 31 + (uint64_t)thread;

    for (uint32_t at = 0; at < size; at += 8) {
        memcpy(out + at, &word, 8);
        word = word * 6364136223846793005 + 1442695040888963407;
    }
    return (helios_slice){out, size};
}

static uint32_t value_size(const struct planned *p)
{
    return p->ingest ? INGEST_VALUE : p->size;
}

/* In the order of the batch: sweeps first. An ingest writes every key. */
static void model_commit(struct model *m, int thread)
{
    uint64_t number = ++m->done;
    struct planned p = plan(thread, number);

    for (unsigned k = 0; k < KEYS; k++)
        if (p.ingest || (p.sweep && k >= KEYS / 4 && k < KEYS / 2))
            m->written[k] = p.ingest ? number : 0;
    for (unsigned i = 0; i < p.count && !p.ingest; i++)
        m->written[p.keys[i]] = p.deletes[i] ? 0 : number;
}

/* A batch or, if there is one, a transaction. */
struct writing {
    helios_batch *batch;
    helios_txn *txn;
};

static void write_put(const struct writing *w, helios_slice key, helios_slice value)
{
    if (w->txn)
        MUST(helios_txn_put(w->txn, key, value));
    else
        helios_batch_put(w->batch, key, value);
}

static void write_delete(const struct writing *w, helios_slice key)
{
    if (w->txn)
        MUST(helios_txn_delete(w->txn, key));
    else
        helios_batch_delete(w->batch, key);
}

static void write_sweep(const struct writing *w, helios_slice from, helios_slice to)
{
    if (w->txn)
        MUST(helios_txn_delete_range(w->txn, from, to));
    else
        helios_batch_delete_range(w->batch, from, to);
}

static void fill(const struct writing *w, int thread, uint64_t number)
{
    static __thread char value[INGEST_VALUE + 8];
    struct planned p = plan(thread, number);
    char key[64], to[64], digits[32];

    if (p.marker_sweep && number > MARKERS_KEPT)
        write_sweep(w, text(key, marker_format, thread, 0),
                    text(to, marker_format, thread, number - MARKERS_KEPT));
    if (p.sweep)
        write_sweep(w, text(key, key_format, thread, KEYS / 4), text(to, key_format, thread, KEYS / 2));
    write_put(w, text(key, counter_format, thread, 0),
              (helios_slice){digits, (size_t)sprintf(digits, "%" PRIu64, number)});
    write_put(w, text(key, marker_format, thread, number), (helios_slice){"here", 4});
    for (unsigned k = 0; k < KEYS && p.ingest; k++)
        write_put(w, text(key, key_format, thread, k), value_of(thread, number, k, INGEST_VALUE, value));
    for (unsigned i = 0; i < p.count && !p.ingest; i++) {
        if (p.deletes[i])
            write_delete(w, text(key, key_format, thread, p.keys[i]));
        else
            write_put(w, text(key, key_format, thread, p.keys[i]),
                      value_of(thread, number, p.keys[i], p.size, value));
    }
}

/* ---- the child ---- */

struct writer {
    helios_db *db;
    int thread;
    uint64_t next;
    helios_batch *batch;
    helios_txn *open;
};

/* Nothing of it is ever to be seen. */
static void write_open_key(helios_txn *txn, int thread)
{
    char key[64];

    for (uint64_t i = 0; i < 3; i++)
        MUST(helios_txn_put(txn, text(key, open_format, thread, i), (helios_slice){"never", 5}));
}

static void commit_txn(struct writer *w, uint64_t number, helios_durability durability)
{
    helios_txn_options options = HELIOS_TXN_OPTIONS_INIT;
    struct writing writing = {0};

    options.durability = durability;
    options.isolation = number % 2 ? HELIOS_ISOLATION_SERIALIZABLE : HELIOS_ISOLATION_SNAPSHOT;
    MUST(helios_txn_begin(w->db, &options, &writing.txn));
    if (number % 4 == 0) {
        MUST(helios_txn_savepoint(writing.txn));
        write_open_key(writing.txn, w->thread);
        MUST(helios_txn_rollback_to_savepoint(writing.txn));
    }
    fill(&writing, w->thread, number);
    MUST(helios_txn_commit(writing.txn, NULL));
    helios_txn_free(writing.txn);
}

static void commit_batch(struct writer *w, uint64_t number, helios_durability durability)
{
    struct writing writing = {.batch = w->batch};
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;

    options.durability = durability;
    helios_batch_clear(w->batch);
    fill(&writing, w->thread, number);
    MUST(helios_write(w->db, &options, w->batch, NULL));
}

static void leave_open(struct writer *w)
{
    helios_txn_free(w->open);
    MUST(helios_txn_begin(w->db, NULL, &w->open));
    write_open_key(w->open, w->thread);
}

static helios_status add_to(helios_txn *txn, helios_slice key)
{
    helios_buf value = {0};
    uint64_t sum = 0;
    helios_status status = helios_txn_get(txn, key, &value);

    if (status == HELIOS_OK)
        memcpy(&sum, value.data, sizeof(sum));
    helios_buf_free(&value);
    sum++;
    if (status != HELIOS_OK && status != HELIOS_NOT_FOUND)
        return status;
    return helios_txn_put(txn, key, (helios_slice){&sum, sizeof(sum)});
}

/* To the sum, and to the thread's own share of it. */
static helios_status add_one(void *arg, helios_txn *txn)
{
    const struct writer *w = arg;
    char key[64];
    helios_status status = add_to(txn, sum_key);

    return status == HELIOS_OK ? add_to(txn, text(key, share_format, w->thread, 0)) : status;
}

static void add(struct writer *w)
{
    atomic_fetch_add(&shared->adds_begun, 1);
    MUST(helios_txn_run(w->db, NULL, add_one, w, NULL));
    atomic_fetch_add(&shared->adds_acknowledged, 1);
}

static const char *tag_name(uint64_t index, char out[16])
{
    snprintf(out, 16, "tag %d", (int)index);
    return out;
}

static uint64_t read_counter(helios_db *db, helios_seq at, int thread, helios_buf *buf);

/* In turn one is made or, if it is there already, dropped. */
static void tag_next(struct writer *w, uint64_t index)
{
    struct shared_tag *tag = &shared->tags[index];
    helios_branch_id branch;
    helios_buf buf = {0};
    char name[16];

    tag_name(index, name);
    if (atomic_load(&tag->state) == TAG_THERE) {
        atomic_store(&tag->state, TAG_DROPPING);
        MUST(helios_tag_drop(w->db, name));
        atomic_store(&tag->state, TAG_GONE);
        return;
    }
    atomic_store(&tag->state, TAG_MAKING);
    MUST(helios_tag_create(w->db, name, 0, 0));
    MUST(helios_tag_get(w->db, name, &branch, &tag->at));
    for (int t = 0; t < THREADS; t++)
        tag->done[t] = read_counter(w->db, tag->at, t, &buf);
    atomic_store(&tag->state, TAG_THERE);
    helios_buf_free(&buf);
}

static void *write_forever(void *arg)
{
    struct writer *w = arg;

    w->batch = helios_batch_new();
    for (uint64_t number = w->next;; number++) {
        helios_durability durability = number % 50 == 0  ? HELIOS_DURABILITY_SYNC
                                       : number % 7 == 0 ? HELIOS_DURABILITY_GROUP
                                                         : HELIOS_DURABILITY_ASYNC;

        atomic_store(&shared->begun[w->thread], number);
        (number % TXN_EVERY == 0 ? commit_txn : commit_batch)(w, number, durability);
        atomic_store(&shared->acknowledged[w->thread], number);
        if (number % LEAVE_EVERY == 0)
            leave_open(w);
        if (number % ADD_EVERY == 0)
            add(w);
        if (w->thread == 0 && number % TAG_EVERY == 0)
            tag_next(w, number / TAG_EVERY % TAGS);
    }
    return NULL;
}

static helios_options options_make(void)
{
    static const uint64_t retentions[4] = {1000000, 0, HELIOS_FOREVER, 0};
    helios_options options = HELIOS_OPTIONS_INIT;

    options.memtable_bytes = (uint64_t)64 << (10 + round_now % 3); /* 64 to 256 KiB */
    options.block_cache_bytes = 4 << 20;
    options.block_bytes = 2048;
    options.background_threads = 2;
    options.history_retention = retentions[round_now % 4];
    options.feed_retention = HELIOS_FOREVER;
    options.encryption = encrypted_if_asked();
    return options;
}

static void *merge_forever(void *db)
{
    crash_branches_run(db, &shared->branches);
    return NULL;
}

static void child(const char *path)
{
    helios_options options = options_make();
    struct writer writers[THREADS];
    pthread_t threads[THREADS], merger;
    helios_db *db = NULL;

    MUST(helios_open(path, &options, &db));
    for (int t = 0; t < THREADS; t++) {
        writers[t] = (struct writer){.db = db, .thread = t, .next = models[t].done + 1};
        assert(pthread_create(&threads[t], NULL, write_forever, &writers[t]) == 0);
    }
    assert(pthread_create(&merger, NULL, merge_forever, db) == 0);
    atomic_store(&shared->opened, 1);
    for (;;)
        pause();
}

/* ---- the judge ---- */

static uint64_t read_counter(helios_db *db, helios_seq at, int thread, helios_buf *buf)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    char key[64], digits[32] = {0};
    helios_status status;

    options.at = at;
    status = helios_get(db, &options, text(key, counter_format, thread, 0), buf);
    if (status == HELIOS_NOT_FOUND)
        return 0;
    if (status != HELIOS_OK)
        failed("counter");
    assert(buf->size < sizeof(digits));
    memcpy(digits, buf->data, buf->size);
    return strtoull(digits, NULL, 10);
}

static void check_markers(helios_db *db, int thread, uint64_t done, helios_buf *buf)
{
    uint64_t swept = done / MARKERS_KEPT * MARKERS_KEPT,
             first = swept > MARKERS_KEPT ? swept - MARKERS_KEPT : 1;
    char key[64];

    for (uint64_t number = first; number <= done; number++)
        MUST(helios_get(db, NULL, text(key, marker_format, thread, number), buf));
    for (uint64_t number = done + 1; number <= atomic_load(&shared->begun[thread]) + 1; number++)
        CHECK(helios_get(db, NULL, text(key, marker_format, thread, number), buf) == HELIOS_NOT_FOUND);
    if (first > 1)
        CHECK(helios_get(db, NULL, text(key, marker_format, thread, first - 1), buf) == HELIOS_NOT_FOUND);
}

static void check_keys(helios_db *db, helios_seq at, int thread, const struct model *m, helios_buf *buf)
{
    static char wanted[INGEST_VALUE + 8];
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    char key[64];

    options.at = at;
    for (uint64_t k = 0; k < KEYS; k++) {
        helios_status status = helios_get(db, &options, text(key, key_format, thread, k), buf);
        struct planned p;

        if (m->written[k] == 0) {
            CHECK(status == HELIOS_NOT_FOUND);
            continue;
        }
        if (status != HELIOS_OK)
            failed(key);
        p = plan(thread, m->written[k]);
        value_of(thread, m->written[k], k, value_size(&p), wanted);
        CHECK(buf->size == value_size(&p) && memcmp(buf->data, wanted, buf->size) == 0);
    }
}

static void check_open_keys(helios_db *db, int thread, helios_buf *buf)
{
    char key[64];

    for (uint64_t i = 0; i < 3; i++)
        CHECK(helios_get(db, NULL, text(key, open_format, thread, i), buf) == HELIOS_NOT_FOUND);
}

static uint64_t read_sum(helios_db *db, helios_slice key, helios_buf *buf)
{
    helios_status status = helios_get(db, NULL, key, buf);
    uint64_t sum = 0;

    CHECK(status == HELIOS_OK || status == HELIOS_NOT_FOUND);
    if (status == HELIOS_OK)
        memcpy(&sum, buf->data, sizeof(sum));
    return sum;
}

static void check_sum(helios_db *db, helios_buf *buf)
{
    uint64_t sum = read_sum(db, sum_key, buf), shares = 0;
    char key[64];

    for (int t = 0; t < THREADS; t++)
        shares += read_sum(db, text(key, share_format, t, 0), buf);
    CHECK(sum == shares);                                  /* nothing of a transaction that lost */
    CHECK(sum >= atomic_load(&shared->adds_acknowledged)); /* each was added once */
    CHECK(sum <= atomic_load(&shared->adds_begun));
    atomic_store(&shared->adds_begun, sum);
    atomic_store(&shared->adds_acknowledged, sum);
}

/* As the thread's commits are gone through: what each tag should show of it. */
static void note_tagged(int thread)
{
    for (int i = 0; i < TAGS; i++)
        if (atomic_load(&shared->tags[i].state) >= TAG_THERE &&
            shared->tags[i].done[thread] == models[thread].done)
            tagged[i][thread] = models[thread];
}

static void check_tag(helios_db *db, int index, helios_buf *buf)
{
    struct shared_tag *tag = &shared->tags[index];
    int state = atomic_load(&tag->state);
    helios_branch_id branch;
    helios_seq at;
    char name[16];
    helios_status status = helios_tag_get(db, tag_name((uint64_t)index, name), &branch, &at);

    if (status == HELIOS_NOT_FOUND) {
        CHECK(state != TAG_THERE);
        atomic_store(&tag->state, TAG_GONE);
        return;
    }
    if (status != HELIOS_OK)
        failed(name);
    CHECK(state != TAG_GONE);
    if (state == TAG_MAKING) { /* killed before it was noted what it shows */
        read_counter(db, at, 0, buf);
        MUST(helios_tag_drop(db, name));
        atomic_store(&tag->state, TAG_GONE);
        return;
    }
    CHECK(branch == 0 && at == tag->at);
    for (int t = 0; t < THREADS; t++) {
        CHECK(tagged[index][t].done == tag->done[t]);
        CHECK(read_counter(db, at, t, buf) == tag->done[t]);
        check_keys(db, at, t, &tagged[index][t], buf);
    }
    atomic_store(&tag->state, TAG_THERE);
}

/* Numbers increase, times do not decrease, and each leads to the other. */
static void check_commits(helios_db *db)
{
    helios_commits_options options = HELIOS_COMMITS_OPTIONS_INIT;
    helios_commits *commits = NULL;
    helios_commit_info info;
    helios_seq last = 0, found = 0;
    uint64_t time = 0, told = 0;

    options.oldest_first = true;
    MUST(helios_commits_new(db, &options, &commits));
    for (uint64_t i = 0; helios_commits_next(commits, &info); i++) {
        CHECK(info.operations > 0 && info.seq - info.operations >= last);
        CHECK(info.seq > last && info.time >= time);
        last = info.seq;
        time = info.time;
        if (i % 256 != 0)
            continue;
        MUST(helios_time_of_seq(db, last, &told));
        MUST(helios_seq_at_time(db, told, &found));
        CHECK(told == time && found >= last);
    }
    MUST(helios_commits_status(commits));
    helios_commits_free(commits);
    CHECK(last == 0 || last == helios_latest(db));
}

/* The feed goes on from where it was before the kill; what was followed is let go of. */
static void check_feed(helios_db *db)
{
    feed_replay_opened(replay, db);
    feed_replay_follow(replay, db);
    feed_replay_release(replay);
    MUST(helios_feed_trim(db, helios_latest(db) + 1, NULL));
}

static void judge(const char *path)
{
    helios_options options = options_make();
    helios_buf buf = {0};
    helios_db *db = NULL;

    MUST(helios_open(path, &options, &db));
    check_commits(db);
    check_feed(db);
    for (int t = 0; t < THREADS; t++) {
        uint64_t done = read_counter(db, 0, t, &buf);

        CHECK(done >= atomic_load(&shared->acknowledged[t])); /* nothing acknowledged is lost */
        CHECK(done <= atomic_load(&shared->begun[t]));
        CHECK(done >= models[t].done);
        for (note_tagged(t); models[t].done < done; note_tagged(t))
            model_commit(&models[t], t);
        check_markers(db, t, done, &buf);
        check_keys(db, 0, t, &models[t], &buf);
        check_open_keys(db, t, &buf);
        /* From here on it is all that there is. */
        atomic_store(&shared->begun[t], done);
        atomic_store(&shared->acknowledged[t], done);
    }
    check_sum(db, &buf);
    crash_branches_judge(db, &shared->branches);
    for (int i = 0; i < TAGS; i++)
        check_tag(db, i, &buf);
    MUST(helios_verify(db, NULL, NULL));
    MUST(helios_close(db));
    helios_buf_free(&buf);
}

static void sleep_ms(uint64_t ms)
{
    struct timespec time = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};

    nanosleep(&time, NULL);
}

static void live_and_die(const char *path, uint64_t ms)
{
    pid_t pid;
    int how;

    atomic_store(&shared->opened, 0);
    fflush(NULL);
    pid = fork();
    assert(pid >= 0);
    if (pid == 0) {
        child(path);
        _exit(1);
    }
    sleep_ms(ms); /* an open is killed too, now and then */
    assert(kill(pid, SIGKILL) == 0);
    assert(waitpid(pid, &how, 0) == pid);
    CHECK(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL); /* it did not end by itself */
}

int main(int argc, char **argv)
{
    char made[PATH_MAX] = "/tmp/helios-crash-XXXXXX", path[PATH_MAX + 8];
    struct feed_replay_options options = {.consumer = "judge", .no_trim = true};
    int kills, in_open = 0;
    uint64_t total = 0;
    struct random rng;

    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    kills = argc > 2 ? atoi(argv[2]) : KILLS_DEFAULT;
    if (argc > 3)
        snprintf(made, sizeof(made), "%s/helios-crash-XXXXXX", argv[3]);
    assert(mkdtemp(made));
    snprintf(path, sizeof(path), "%s/db", made);
    printf("seed %" PRIu64 ", %s\n", seed, path);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(shared != MAP_FAILED);
    random_seed(&rng, seed);
    options.seed = seed;
    replay = feed_replay_new(&options);
    for (round_now = 0; round_now < kills; round_now++) {
        live_and_die(path, round_now % OPEN_EVERY == 0
                               ? random_below(&rng, LIFE_OPEN_MS)
                               : LIFE_MIN_MS + random_below(&rng, LIFE_MAX_MS - LIFE_MIN_MS));
        in_open += !atomic_load(&shared->opened);
        judge(path);
    }
    for (int t = 0; t < THREADS; t++)
        total += models[t].done;
    MUST(helios_destroy(path));
    assert(rmdir(made) == 0);
    feed_replay_report(replay);
    feed_replay_free(replay);
    printf("%d of the kills during an open, %" PRIu64 " commits\n", in_open, total);
    printf("tried: %d kills of writers\n", kills);
    printf("tried: %" PRIu64 " merges beside kills\n", atomic_load(&shared->branches.acknowledged));
    return 0;
}
