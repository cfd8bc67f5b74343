/* fault_world.c - see fault_world.h. */
#include "tests/encrypted.h"
#include "tests/fault_world.h"
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

char fault_where[512];
static const struct world *fault_world; /* under judgement */

const char *const damage_names[IO_DAMAGE_COUNT] = {"drop-all", "keep-all",  "sectors",    "prefix",
                                                   "suffix",   "data-only", "names-only", "garbage"};

static void world_print(const struct world *w)
{
    static const char kinds[] = "pdr";

    for (uint32_t i = 0; i < w->commit_count; i++) {
        const struct world_commit *c = &w->commits[i];

        fprintf(stderr, "  commit %u number %" PRIu64 "%s%s%s%s%s:", i, c->seq, c->logged ? "" : " unlogged",
                c->acknowledged ? "" : " failed", c->durable ? " durable" : "", c->lost ? " lost" : "",
                c->present ? " present" : "");
        for (uint32_t o = c->op_first; o < c->op_first + c->op_count && o < c->op_first + 12; o++)
            fprintf(stderr, " %c%u", kinds[w->ops[o].kind], w->ops[o].key);
        fprintf(stderr, "\n");
    }
}

void fault_failed(const char *file, int line, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s:%d: ", file, line);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n  in: %s\n", fault_where);
    if (fault_world)
        world_print(fault_world);
    abort();
}

/* ---- keys and values ---- */

helios_slice world_marker(unsigned index, char out[16])
{
    return slice_make(out, (size_t)snprintf(out, 16, "m%06u", index));
}

helios_slice world_key(unsigned key, char out[16])
{
    return slice_make(out, (size_t)snprintf(out, 16, "k%03u", key));
}

/* What stands behind the letter; UINT_MAX: no number. */
static unsigned key_number(helios_slice key)
{
    unsigned number = 0;

    for (size_t i = 1; i < key.size; i++) {
        unsigned digit = slice_bytes(key)[i] - (unsigned)'0';

        if (digit > 9 || key.size > 7)
            return UINT_MAX;
        number = number * 10 + digit;
    }
    return number;
}

static unsigned char value_bytes[SIZE_LARGE + 8];

/* Follows from the commit and the operation. */
helios_slice world_value(unsigned commit, unsigned op, uint32_t size)
{
    uint64_t word = (uint64_t)commit * 0x9e3779b97f4a7c15 + op;

    for (uint32_t at = 0; at < size; at += 8) {
        memcpy(value_bytes + at, &word, 8);
        if (at % 64 == 0)
            word = word * 6364136223846793005 + 1442695040888963407;
    }
    return slice_make(value_bytes, size);
}

/* ---- the world ---- */

void world_init(struct world *w, struct io_fs *fs, const char *path, uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    w->fs = fs;
    w->path = path;
    w->options = (helios_options)HELIOS_OPTIONS_INIT;
    w->options.memtable_bytes = 256 << 10;
    w->options.block_cache_bytes = 1 << 20;
    w->options.group_commit_interval = 500;
    w->options.background_threads = 2;
    w->options.block_bytes = 1024;
    w->options.encryption = encrypted_if_asked();
    random_seed(&w->rng, seed);
}

void world_note(struct world *w, helios_status status, bool makes_durable)
{
    w->failed |= status != HELIOS_OK;
    if (status != HELIOS_OK || !makes_durable)
        return;
    for (uint32_t i = 0; i < w->commit_count; i++)
        w->commits[i].durable |= w->commits[i].acknowledged;
}

bool world_open(struct world *w)
{
    helios_status status = engine_open(w->fs, w->path, &w->options, &w->db);

    w->failed |= status != HELIOS_OK;
    for (uint32_t i = 0; i < w->commit_count && status == HELIOS_OK; i++)
        w->commits[i].acknowledged &= w->commits[i].durable;
    return status == HELIOS_OK;
}

void world_reopen(struct world *w)
{
    MUST(engine_open(w->fs, w->path, &w->options, &w->db));
    w->failed = false;
    world_check(w, false);
}

void world_close(struct world *w)
{
    world_txn_drop(w);
    if (w->db)
        world_note(w, helios_close(w->db), true);
    w->db = NULL;
}

bool world_going(const struct world *w)
{
    return w->db && !(w->stop_on_error && w->failed);
}

void world_sync(struct world *w)
{
    if (world_going(w))
        world_note(w, helios_sync(w->db), true);
}

/* Everything logged before a synced commit is durable with it. */
void world_note_commit(struct world *w, struct world_commit *commit, helios_durability durability,
                       helios_status status)
{
    w->failed |= status != HELIOS_OK;
    commit->acknowledged = status == HELIOS_OK;
    if (status != HELIOS_OK)
        return;
    CHECK(commit->seq > w->seq_max, "k01: number %" PRIu64 " was handed out before (%" PRIu64 ")", commit->seq,
          w->seq_max);
    w->seq_max = commit->seq;
    for (uint32_t i = 0; durability == HELIOS_DURABILITY_SYNC && i < w->commit_count; i++)
        w->commits[i].durable |= w->commits[i].acknowledged && w->commits[i].logged;
    if (helios_time_of_seq(w->db, commit->seq, &commit->time) != HELIOS_OK)
        commit->time = 0;
}

struct world_commit *world_commit_new(struct world *w, helios_durability durability)
{
    struct world_commit *commit = &w->commits[w->commit_count];

    CHECK(w->commit_count < WORLD_COMMITS, "too many commits");
    memset(commit, 0, sizeof(*commit));
    commit->logged = durability != HELIOS_DURABILITY_NONE;
    commit->op_first = w->op_count;
    w->commit_count++;
    return commit;
}

static struct world_commit *commit_begin(struct world *w, helios_durability durability, helios_batch *batch)
{
    struct world_commit *commit = world_commit_new(w, durability);
    char key[16];

    helios_batch_put(batch, world_marker(w->commit_count - 1, key), slice_make("here", 4));
    return commit;
}

static void commit_add(struct world *w, struct world_commit *commit, helios_batch *batch, struct world_op op)
{
    char from[16], to[16];
    helios_slice key = world_key(op.key, from);

    CHECK(w->op_count < WORLD_OPS, "too many operations");
    if (op.kind == OP_PUT)
        helios_batch_put(batch, key, world_value(w->commit_count - 1, w->op_count, op.size));
    else if (op.kind == OP_DELETE)
        helios_batch_delete(batch, key);
    else
        helios_batch_delete_range(batch, key, world_key(op.to, to));
    w->ops[w->op_count++] = op;
    commit->op_count++;
}

static void commit_end(struct world *w, struct world_commit *commit, helios_batch *batch,
                       helios_durability durability, bool ingested)
{
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    helios_status status;

    options.durability = durability;
    commit->logged |= ingested;
    status = helios_write(w->db, &options, batch, &commit->seq);
    /* What is too large for a memtable is synced whatever was asked. */
    world_note_commit(w, commit, ingested ? HELIOS_DURABILITY_SYNC : durability, status);
    helios_batch_free(batch);
}

struct world_op world_draw(struct world *w, uint32_t size)
{
    struct world_op op = {.kind = OP_PUT, .key = (unsigned char)random_below(&w->rng, WORLD_KEYS)};
    uint64_t dice = random_below(&w->rng, 20);

    if (dice < 3) {
        op.kind = OP_DELETE;
    } else if (dice == 3) {
        op.kind = OP_RANGE;
        op.to = (unsigned char)(op.key + 1 + random_below(&w->rng, 12));
    } else {
        op.size = (uint32_t)(size / 2 + random_below(&w->rng, size / 2 + 1));
    }
    return op;
}

void world_commit(struct world *w, helios_durability durability, unsigned count, uint32_t size)
{
    helios_batch *batch;
    struct world_commit *commit;

    if (!world_going(w))
        return;
    batch = helios_batch_new();
    commit = commit_begin(w, durability, batch);
    for (unsigned i = 0; i < count; i++)
        commit_add(w, commit, batch, world_draw(w, size));
    commit_end(w, commit, batch, durability, size >= SIZE_INGEST);
}

void world_commit_range(struct world *w, helios_durability durability, unsigned from, unsigned to)
{
    helios_batch *batch;
    struct world_commit *commit;

    if (!world_going(w))
        return;
    batch = helios_batch_new();
    commit = commit_begin(w, durability, batch);
    commit_add(w, commit, batch, (struct world_op){OP_RANGE, (unsigned char)from, (unsigned char)to, 0});
    commit_end(w, commit, batch, durability, false);
}

/* ---- judging ---- */

bool check_judge(struct check *c, helios_status status, const char *what)
{
    if (status == HELIOS_OK || status == HELIOS_NOT_FOUND)
        return true;
    CHECK(c->may_fail || (c->detected_is_fine && status == HELIOS_CORRUPT), "%s: %s: %s", what,
          helios_status_name(status), helios_last_error());
    c->w->failed |= c->may_fail;
    c->detected = true;
    return false;
}

void check_expect(struct check *c, uint32_t count)
{
    const struct world *w = c->w;

    memset(c->by_op, 0xff, sizeof(c->by_op));
    for (uint32_t i = 0; i < count; i++) {
        const struct world_commit *commit = &w->commits[i];

        for (uint32_t o = commit->op_first; commit->present && o < commit->op_first + commit->op_count; o++) {
            const struct world_op *op = &w->ops[o];

            for (unsigned k = op->key; k < (op->kind == OP_RANGE ? op->to : op->key + 1u) && k < WORLD_KEYS;
                 k++) {
                c->by_op[k] = op->kind == OP_PUT ? (int)o : -1;
                c->by_commit[k] = (int)i;
            }
        }
    }
}

static void check_found(struct check *c, unsigned key, helios_slice found, const char *how)
{
    int op = c->by_op[key];
    helios_slice wanted;

    CHECK(op >= 0, "key k%03u is there (%s, %zu bytes) and should not be", key, how, found.size);
    wanted = world_value((unsigned)c->by_commit[key], (unsigned)op, c->w->ops[op].size);
    CHECK(found.size == wanted.size && memcmp(found.data, wanted.data, wanted.size) == 0,
          "key k%03u: wrong value by %s (%zu bytes, wanted %zu of commit %d)", key, how, found.size,
          wanted.size, c->by_commit[key]);
}

/* Which markers a scan finds. False: it met damage. */
static bool find_markers(struct check *c, helios_iter *it)
{
    struct world *w = c->w;

    helios_iter_seek(it, slice_make("m", 1));
    for (; helios_iter_valid(it) && slice_bytes(helios_iter_key(it))[0] == 'm'; helios_iter_next(it)) {
        helios_slice key = helios_iter_key(it);
        unsigned index;

        CHECK(key.size == 7, "a key that nobody wrote: %.*s", (int)key.size, (const char *)key.data);
        index = key_number(key);
        CHECK(index < w->commit_count, "marker %u of no commit", index);
        CHECK(helios_iter_value(it).size == 4, "marker %u: wrong value", index);
        w->commits[index].present = true;
    }
    return check_judge(c, helios_iter_status(it), "scan of markers");
}

static void check_present(const struct world *w)
{
    int64_t last = -1, last_unlogged = -1;

    for (uint32_t i = 0; i < w->commit_count; i++) {
        const struct world_commit *commit = &w->commits[i];

        if (!commit->present)
            continue;
        CHECK(!commit->lost, "commit %u (number %" PRIu64 ") was lost and came back", i, commit->seq);
        last = i;
        if (!commit->logged)
            last_unlogged = i;
    }
    for (uint32_t i = 0; i < w->commit_count; i++) {
        const struct world_commit *commit = &w->commits[i];

        if (commit->present || commit->lost)
            continue;
        CHECK(!commit->durable,
              "commit %u (number %" PRIu64 "%s) was durable and is lost; the last present is %d", i,
              commit->seq, commit->logged ? "" : ", unlogged", (int)last);
        CHECK(!commit->acknowledged || !commit->logged || i > last, "commit %u is missing, %d is there", i,
              (int)last);
        CHECK(!commit->acknowledged || (int64_t)i > last_unlogged,
              "commit %u is missing, the unlogged %d is there", i, (int)last_unlogged);
    }
}

bool check_scan(struct check *c, helios_iter *it)
{
    unsigned key = 0;
    helios_slice value;

    helios_iter_seek(it, slice_make("k", 1));
    for (; helios_iter_valid(it) && slice_bytes(helios_iter_key(it))[0] == 'k'; helios_iter_next(it)) {
        unsigned found = key_number(helios_iter_key(it));

        CHECK(found < WORLD_KEYS, "a key that nobody wrote");
        for (; key < found; key++)
            CHECK(c->by_op[key] < 0, "key k%03u of commit %d is missing in the scan", key, c->by_commit[key]);
        value = helios_iter_value(it);
        if (!helios_iter_valid(it)) /* a large one that could not be read */
            break;
        check_found(c, found, value, "scan");
        key = found + 1;
    }
    if (!check_judge(c, helios_iter_status(it), "scan"))
        return false;
    for (; key < WORLD_KEYS; key++)
        CHECK(c->by_op[key] < 0, "key k%03u of commit %d is missing in the scan", key, c->by_commit[key]);
    return true;
}

static bool check_back(struct check *c, helios_iter *it)
{
    unsigned key = WORLD_KEYS;
    helios_slice value;

    helios_iter_seek_for_prev(it, slice_make("k~", 2));
    for (; helios_iter_valid(it) && slice_bytes(helios_iter_key(it))[0] == 'k'; helios_iter_prev(it)) {
        unsigned found = key_number(helios_iter_key(it));

        CHECK(found < key, "a key that nobody wrote, or out of order");
        while (--key > found)
            CHECK(c->by_op[key] < 0, "key k%03u is missing in the scan back", key);
        value = helios_iter_value(it);
        if (!helios_iter_valid(it))
            break;
        check_found(c, found, value, "scan back");
    }
    return check_judge(c, helios_iter_status(it), "scan back");
}

void check_get(struct check *c, unsigned key, helios_seq at, bool kept)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    char text[16];
    helios_status status;

    options.at = at;
    status = helios_get(c->w->db, &options, world_key(key, text), &c->value);
    if (status == HELIOS_HISTORY_GONE && !kept && at < helios_horizon(c->w->db))
        return; /* the background has moved it meanwhile */
    if (!check_judge(c, status, "get"))
        return;
    if (status == HELIOS_OK)
        check_found(c, key, slice_make(c->value.data, c->value.size), at ? "get in the past" : "get");
    else
        CHECK(c->by_op[key] < 0, "key k%03u is not found at %" PRIu64, key, at);
}

static void check_past(struct check *c, struct random *rng)
{
    struct world *w = c->w;

    for (int round = 0; round < 6 && w->commit_count; round++) {
        uint32_t index = (uint32_t)random_below(rng, w->commit_count);

        if (w->commits[index].seq == 0 || w->commits[index].seq > helios_latest(w->db) ||
            w->commits[index].seq < helios_horizon(w->db))
            continue;
        check_expect(c, index + 1);
        for (int i = 0; i < 12; i++)
            check_get(c, (unsigned)random_below(rng, WORLD_KEYS), w->commits[index].seq, false);
    }
}

/* What is missing now must stay away, what is there must stay. */
static void conclude(struct world *w)
{
    for (uint32_t i = 0; i < w->commit_count; i++) {
        w->commits[i].lost |= !w->commits[i].present;
        w->commits[i].durable |= w->commits[i].present;
    }
}

void check_all(struct check *c, helios_iter *it)
{
    struct world *w = c->w;
    struct random rng;

    random_seed(&rng, w->commit_count);
    for (uint32_t i = 0; i < w->commit_count; i++)
        w->commits[i].present = false;
    if (!find_markers(c, it)) {
        /* Without the markers nothing can be said but that each answer is right or refused. */
        return;
    }
    check_present(w);
    check_expect(c, w->commit_count);
    if (check_scan(c, it))
        check_back(c, it);
    for (unsigned key = 0; key < WORLD_KEYS; key++)
        check_get(c, key, 0, true);
    check_past(c, &rng);
    check_facts(c);
    check_history(c);
}

enum judgement world_check(struct world *w, bool detected_is_fine)
{
    struct check c = {.w = w, .detected_is_fine = detected_is_fine};
    helios_iter *it = NULL;

    fault_world = w;
    if (check_judge(&c, helios_iter_new(w->db, NULL, &it), "iterator"))
        check_all(&c, it);
    helios_iter_free(it);
    check_judge(&c, helios_verify(w->db, NULL, NULL), "verify");
    helios_buf_free(&c.value);
    if (!c.detected)
        conclude(w);
    fault_world = NULL;
    return c.detected ? JUDGED_DETECTED : JUDGED_RIGHT;
}

void world_check_copy(struct world *w, const char *path, uint32_t commits)
{
    struct world *copy = malloc(sizeof(*copy));

    memcpy(copy, w, sizeof(*copy));
    copy->path = path;
    copy->options.create_if_missing = false;
    copy->options.error_if_exists = false;
    MUST(engine_open(copy->fs, path, &copy->options, &copy->db));
    for (uint32_t i = 0; i < copy->commit_count; i++) {
        copy->commits[i].durable = i < commits && copy->commits[i].acknowledged;
        copy->commits[i].lost = false;
    }
    for (uint32_t i = 0; i < copy->tag_count; i++)
        copy->tags[i].state = TAG_IN_DOUBT;
    copy->added = 0;
    for (uint32_t i = 0; i < copy->fact_count; i++)
        copy->facts[i] = TAG_IN_DOUBT;
    copy->consumer = TAG_IN_DOUBT;
    copy->trimmed = 0;
    world_check(copy, false);
    MUST(helios_close(copy->db));
    free(copy);
}

/* ---- runs ---- */

uint64_t fault_seed(const char *text)
{
    uint64_t seed = text ? strtoull(text, NULL, 10) : 0;

    if (seed == 0)
        seed = (uint64_t)time(NULL) / 86400;
    printf("seed %" PRIu64 "\n", seed);
    return seed;
}

void fault_tried(uint64_t count, const char *what)
{
    printf("tried: %" PRIu64 " %s\n", count, what);
    fflush(stdout);
}

/* ---- file systems ---- */

struct cloning {
    struct io_fs *from, *to;
    const char *path;
};

static void clone_file(const struct cloning *c, const char *path, uint64_t size)
{
    struct io_file *in = NULL, *out = NULL;
    void *bytes;
    helios_status status = io_open(c->from, path, IO_READ, &in);

    if (status == HELIOS_NOT_FOUND)
        return; /* the database is open and has just removed or renamed it */
    MUST(status);
    bytes = malloc((size_t)size + 1);
    MUST(io_open(c->to, path, IO_WRITE | IO_CREATE, &out));
    MUST(io_read(in, 0, bytes, (size_t)size));
    if (size)
        MUST(io_write(out, 0, bytes, (size_t)size));
    MUST(io_sync(out));
    io_close(in);
    io_close(out);
    free(bytes);
}

static helios_status clone_entry(void *arg, const char *name)
{
    const struct cloning *c = arg;
    char path[1024];
    struct cloning inner = {c->from, c->to, path};
    struct io_stat stat;

    snprintf(path, sizeof(path), "%s/%s", strcmp(c->path, "/") == 0 ? "" : c->path, name);
    if (io_stat(c->from, path, &stat) == HELIOS_NOT_FOUND)
        return HELIOS_OK; /* likewise */
    if (!stat.is_directory) {
        clone_file(c, path, stat.size);
        return HELIOS_OK;
    }
    MUST(io_make_directory(c->to, path));
    MUST(io_list(c->from, path, clone_entry, &inner));
    return io_sync_directory(c->to, path);
}

struct io_fs *world_clone(struct io_fs *from, uint64_t seed)
{
    struct cloning c = {.from = from, .path = "/"};

    MUST(io_faulty_new(seed, &c.to));
    MUST(io_list(from, "/", clone_entry, &c));
    MUST(io_sync_directory(c.to, "/"));
    return c.to;
}

void world_cut(struct world *w, enum io_damage damage, uint64_t seed)
{
    if (!io_faulty_stopped(w->fs))
        io_faulty_stop_at(w->fs, 1);
    io_faulty_plan(w->fs, NULL);
    world_txn_drop(w);
    if (w->db && helios_close(w->db) != HELIOS_OK) {
        /* The machine has stopped: nothing can be closed in order. */
    }
    w->db = NULL;
    io_faulty_power_cut(w->fs, damage, seed);
}
