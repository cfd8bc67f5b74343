/* test_crash.c - the process is killed while four threads write, again and again, on a real directory. What was
 * acknowledged survives, also ASYNC commits; a commit is there as a whole or not at all; of each thread's commits a
 * prefix is there; helios_verify finds nothing. Then it goes on with the same database.
 *
 * A commit of a thread follows from its number, so the judge needs to know only how far each thread came. It
 * writes the number under the thread's counter key, a marker, and some keys of the thread's own; in between ranges
 * are deleted and batches are ingested.
 * Usage: test_crash [seed [kills [directory]]] */
#undef NDEBUG
#include "base/random.h"
#include "helios/helios.h"
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
};

/* Seen by both processes. Written before a commit begins and after it was acknowledged. */
struct shared {
    _Atomic uint64_t begun[THREADS], acknowledged[THREADS];
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
static int round_now;

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

static const char counter_format[] = "%d/counter", marker_format[] = "%d/m%012" PRIu64,
                  key_format[] = "%d/k%02" PRIu64;

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

static void fill(helios_batch *batch, int thread, uint64_t number)
{
    static __thread char value[INGEST_VALUE + 8];
    struct planned p = plan(thread, number);
    char key[64], to[64], digits[32];

    helios_batch_clear(batch);
    if (p.marker_sweep && number > MARKERS_KEPT)
        helios_batch_delete_range(batch, text(key, marker_format, thread, 0),
                                  text(to, marker_format, thread, number - MARKERS_KEPT));
    if (p.sweep)
        helios_batch_delete_range(batch, text(key, key_format, thread, KEYS / 4),
                                  text(to, key_format, thread, KEYS / 2));
    helios_batch_put(batch, text(key, counter_format, thread, 0),
                     (helios_slice){digits, (size_t)sprintf(digits, "%" PRIu64, number)});
    helios_batch_put(batch, text(key, marker_format, thread, number), (helios_slice){"here", 4});
    for (unsigned k = 0; k < KEYS && p.ingest; k++)
        helios_batch_put(batch, text(key, key_format, thread, k),
                         value_of(thread, number, k, INGEST_VALUE, value));
    for (unsigned i = 0; i < p.count && !p.ingest; i++) {
        if (p.deletes[i])
            helios_batch_delete(batch, text(key, key_format, thread, p.keys[i]));
        else
            helios_batch_put(batch, text(key, key_format, thread, p.keys[i]),
                             value_of(thread, number, p.keys[i], p.size, value));
    }
}

/* ---- the child ---- */

struct writer {
    helios_db *db;
    int thread;
    uint64_t next;
};

static void *write_forever(void *arg)
{
    struct writer *w = arg;
    helios_batch *batch = helios_batch_new();
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;

    for (uint64_t number = w->next;; number++) {
        fill(batch, w->thread, number);
        options.durability = number % 50 == 0  ? HELIOS_DURABILITY_SYNC
                             : number % 7 == 0 ? HELIOS_DURABILITY_GROUP
                                               : HELIOS_DURABILITY_ASYNC;
        atomic_store(&shared->begun[w->thread], number);
        MUST(helios_write(w->db, &options, batch, NULL));
        atomic_store(&shared->acknowledged[w->thread], number);
    }
    return NULL;
}

static helios_options options_make(void)
{
    helios_options options = HELIOS_OPTIONS_INIT;

    options.memtable_bytes = (uint64_t)64 << (10 + round_now % 3); /* 64 to 256 KiB */
    options.block_cache_bytes = 4 << 20;
    options.block_bytes = 2048;
    options.background_threads = 2;
    options.history_retention = round_now % 4 ? 0 : 1000000;
    return options;
}

static void child(const char *path)
{
    helios_options options = options_make();
    struct writer writers[THREADS];
    pthread_t threads[THREADS];
    helios_db *db = NULL;

    MUST(helios_open(path, &options, &db));
    for (int t = 0; t < THREADS; t++) {
        writers[t] = (struct writer){db, t, models[t].done + 1};
        assert(pthread_create(&threads[t], NULL, write_forever, &writers[t]) == 0);
    }
    atomic_store(&shared->opened, 1);
    for (;;)
        pause();
}

/* ---- the judge ---- */

static uint64_t read_counter(helios_db *db, int thread, helios_buf *buf)
{
    char key[64], digits[32] = {0};
    helios_status status = helios_get(db, NULL, text(key, counter_format, thread, 0), buf);

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

static void check_keys(helios_db *db, int thread, helios_buf *buf)
{
    static char wanted[INGEST_VALUE + 8];
    const struct model *m = &models[thread];
    char key[64];

    for (uint64_t k = 0; k < KEYS; k++) {
        helios_status status = helios_get(db, NULL, text(key, key_format, thread, k), buf);
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

static void judge(const char *path)
{
    helios_options options = options_make();
    helios_buf buf = {0};
    helios_db *db = NULL;

    MUST(helios_open(path, &options, &db));
    for (int t = 0; t < THREADS; t++) {
        uint64_t done = read_counter(db, t, &buf);

        CHECK(done >= atomic_load(&shared->acknowledged[t])); /* nothing acknowledged is lost */
        CHECK(done <= atomic_load(&shared->begun[t]));
        CHECK(done >= models[t].done);
        while (models[t].done < done)
            model_commit(&models[t], t);
        check_markers(db, t, done, &buf);
        check_keys(db, t, &buf);
        /* From here on it is all that there is. */
        atomic_store(&shared->begun[t], done);
        atomic_store(&shared->acknowledged[t], done);
    }
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
    printf("%d kills, %d of them during an open, %" PRIu64 " commits\n", kills, in_open, total);
    return 0;
}
