/* sim_world.c - one seed of the simulation from its first open to its last. */
#undef NDEBUG
#include "tests/sim_world.h"
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

struct sim_world *sim_world;

static uint64_t below(struct sim_world *w, uint64_t limit)
{
    return random_below(&w->rng, limit);
}

uint64_t sim_hash_of(uint64_t seed, uint64_t a, uint64_t b, uint64_t c)
{
    struct random rng;

    random_seed(&rng, seed * 0x9e3779b97f4a7c15u ^ a << 40 ^ b << 32 ^ c);
    return random_next(&rng);
}

/* ---- failures ---- */

static void tell_seed(void)
{
    fprintf(stderr, "  replay: sim --seed %" PRIu64 "%s%s%s%s\n", sim_world->seed,
            sim_world->options->only ? " --only " : "",
            sim_world->options->only ? sim_world->options->only : "",
            sim_world->options->without ? " --without " : "",
            sim_world->options->without ? sim_world->options->without : "");
}

static void tell_replay(const void *arg)
{
    tell_seed();
}

_Noreturn void sim_failed(const char *file, int line, const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "%s:%d: round %u: ", file, line, sim_world->round);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
    tell_seed();
    abort();
}

/* ---- values and keys ---- */

helios_slice sim_value(uint32_t value, unsigned char *out)
{
    uint64_t dice = value * 0x9e3779b97f4a7c15u >> 40;
    size_t size = dice % 100 < 90   ? 8 + dice % 150
                  : dice % 100 < 99 ? 8 + dice % 4000
                                    : 8 + dice % (SIM_VALUE_MAX - 8);

    memset(out, 0, 8);
    memcpy(out, &value, sizeof(value));
    value_fill(value, out + 8, size - 8);
    return slice_make(out, size);
}

uint32_t sim_value_number(helios_slice bytes)
{
    static unsigned char expected[SIM_VALUE_MAX];
    uint32_t value = 0;

    SIM_CHECK(bytes.size >= 8, "a value of %zu bytes", bytes.size);
    memcpy(&value, bytes.data, sizeof(value));
    SIM_CHECK(slice_equal(bytes, sim_value(value, expected)), "the bytes of value %" PRIu32 " are others",
              value);
    return value;
}

size_t sim_key_index(const struct sim_world *w, helios_slice key)
{
    size_t low = 0, high = w->cell_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (slice_compare(sim_key(w, middle), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    SIM_CHECK(low < w->cell_count && slice_equal(sim_key(w, low), key), "a key that nobody wrote");
    return low;
}

/* Those of the markers come after all others. */
static void make_keys(struct sim_world *w)
{
    size_t wanted = 6 + below(w, SIM_KEYS - 6), kept = 1;
    unsigned char marker[40];

    for (size_t i = 0; i < wanted; i++) /* without the huge ones */
        make_pool_key(&w->keys[i], i ? i + 2 : 0, &w->rng);
    qsort(w->keys, wanted, sizeof(w->keys[0]), compare_pool_keys);
    for (size_t i = 1; i < wanted; i++) {
        if (slice_equal(sim_key(w, i), sim_key(w, kept - 1)))
            free(w->keys[i].data);
        else
            w->keys[kept++] = w->keys[i];
    }
    w->key_count = kept;
    memset(marker, 0xff, sizeof(marker));
    for (unsigned i = 0; i < SIM_CLIENTS * SIM_MARKERS; i++) {
        marker[39] = (unsigned char)i;
        key_bytes(&w->keys[kept++], marker, sizeof(marker));
    }
    w->cell_count = kept;
}

/* Numbers of steps, as "3-7,9". */
static bool listed(const char *list, unsigned number)
{
    while (list && *list) {
        char *end;
        unsigned long from = strtoul(list, &end, 10), to = from;

        if (*end == '-')
            to = strtoul(end + 1, &end, 10);
        if (number >= from && number <= to)
            return true;
        list = *end == ',' ? end + 1 : end;
        if (list == end && *end)
            return false;
    }
    return false;
}

bool sim_step_wanted(const struct sim_world *w, unsigned step)
{
    return !w->options->only || listed(w->options->only, step);
}

/* ---- opening ---- */

static void draw_options(struct sim_world *w)
{
    static const uint32_t blocks[] = {1024, 4096, 16384};
    static const uint64_t retentions[] = {0, 20000, 2000000, HELIOS_FOREVER, HELIOS_FOREVER};
    helios_options *o = &w->open_options;

    *o = (helios_options)HELIOS_OPTIONS_INIT;
    o->memtable_bytes = (uint64_t)64 << 10 << below(w, 3);
    o->block_bytes = blocks[below(w, 3)];
    o->block_cache_bytes = below(w, 2) ? 64 << 10 : 8 << 20;
    o->filter_bits_per_key = below(w, 4) ? 14 : 0;
    o->history_retention =
        w->feed ? HELIOS_FOREVER : retentions[below(w, 5)]; /* the feed's judge reads all of it */
    o->feed_retention = w->feed ? HELIOS_FOREVER : 0;
    o->durability = below(w, 3) ? HELIOS_DURABILITY_ASYNC : HELIOS_DURABILITY_SYNC;
    o->background_threads = 2 + (int)below(w, 3);
    o->compression = (helios_compression)below(w, 3);
    if (below(w, 4) == 0)
        o->memory_budget = (uint64_t)1 << 20;
}

/* An open while something fails may be refused; then the machine may stop once more. */
static void open_under_faults(struct sim_world *w)
{
    enum sim_end end = sim_faults_arm(w);
    helios_status status = engine_open(w->fs, "/db", &w->open_options, &w->db);

    sim_note("open while something fails: %s", helios_status_name(status));
    SIM_CHECK(status == HELIOS_OK || w->faulty, "open: %s", helios_last_error());
    SIM_CHECK(status != HELIOS_CORRUPT && status != HELIOS_NOT_FOUND, "open: %s", helios_last_error());
    if (status == HELIOS_OK)
        (void)!helios_close(w->db);
    else
        w->counts.refused_opens++;
    w->db = NULL;
    if (end == END_CUT || io_faulty_stopped(w->fs))
        sim_faults_cut(w);
    sim_faults_disarm(w);
}

static void open_again(struct sim_world *w)
{
    draw_options(w);
    if (below(w, 4) == 0)
        open_under_faults(w);
    SIM_MUST(engine_open(w->fs, "/db", &w->open_options, &w->db));
    w->counts.opens++;
    sim_judge_open(w);
    feed_replay_opened(w->replay, w->db);
    if (w->feed)
        feed_replay_follow(w->replay, w->db);
    if (below(w, 3) == 0)
        SIM_MUST(helios_verify(w->db, NULL, NULL));
}

/* ---- rounds ---- */

static void run_clients(struct sim_world *w)
{
    struct sim_client clients[SIM_CLIENTS];

    for (unsigned i = 0; i < w->clients; i++) {
        clients[i] = (struct sim_client){.w = w, .index = i};
        clients[i].thread = sim_spawn("client", sim_client_run, &clients[i]);
    }
    for (unsigned i = 0; i < w->clients; i++)
        sim_join(clients[i].thread);
}

/* KILL: what a killed process leaves, as far as a process can leave it to itself: nothing is written after. */
static void end_round(struct sim_world *w, enum sim_end end)
{
    bool stopped = io_faulty_stopped(w->fs);
    helios_status status;

    if (end != END_CLOSE && !stopped)
        io_faulty_stop_at(w->fs, 1);
    status = helios_close(w->db);
    w->db = NULL;
    sim_note("close: %s", helios_status_name(status));
    SIM_CHECK(status == HELIOS_OK || w->faulty || end != END_CLOSE, "close: %s", helios_last_error());
    if (status == HELIOS_OK && end == END_CLOSE && !stopped)
        w->durable = model_latest(w->model);
    if (end == END_CUT || stopped) {
        sim_faults_cut(w);
    } else if (end == END_KILL) {
        w->kept = w->faulty ? 0 : model_latest(w->model);
        io_faulty_stop_at(w->fs, 0);
    }
}

static void run_round(struct sim_world *w)
{
    bool armed;
    enum sim_end end;

    random_seed(&w->rng, sim_hash_of(w->seed, w->round, SIM_CLIENTS, 0));
    w->clients = 1 + (unsigned)below(w, SIM_CLIENTS);
    w->steps = 10 + (unsigned)below(w, 240 / w->clients);
    sim_set_latency(below(w, 3) ? below(w, 300) : 0);
    open_again(w);
    armed = !listed(w->options->without, w->round);
    end = sim_faults_arm(w);
    if (!armed) {
        sim_faults_disarm(w);
        w->faulty = false;
        end = END_CLOSE;
    }
    run_clients(w);
    sim_faults_disarm(w);
    sim_judge_round(w);
    if (w->feed && !w->faulty)
        feed_replay_follow(w->replay, w->db);
    feed_replay_release(w->replay);
    end_round(w, end);
}

/* ---- the whole ---- */

static void hash_files(struct sim_world *w, const char *path);

struct listing {
    char names[512][64];
    size_t count;
};

static helios_status list_name(void *arg, const char *name)
{
    struct listing *list = arg;

    assert(list->count < 512);
    snprintf(list->names[list->count++], 64, "%s", name);
    return HELIOS_OK;
}

static void hash_file(struct sim_world *w, const char *path)
{
    struct io_stat stat;
    uint64_t size;

    SIM_MUST(io_stat(w->fs, path, &stat));
    if (stat.is_directory) {
        hash_files(w, path);
        return;
    }
    sim_trace_bytes(io_memory_bytes(w->fs, path, &size), stat.size);
}

/* All bytes that are left, in the order of names. */
static void hash_files(struct sim_world *w, const char *path)
{
    struct listing *list = calloc(1, sizeof(*list));
    char inner[600];

    assert(list);
    SIM_MUST(io_list(w->fs, path, list_name, list));
    qsort(list->names, list->count, sizeof(list->names[0]), (int (*)(const void *, const void *))strcmp);
    for (size_t i = 0; i < list->count; i++) {
        snprintf(inner, sizeof(inner), "%s/%s", path, list->names[i]);
        sim_trace_bytes(inner, strlen(inner));
        hash_file(w, inner);
    }
    free(list);
}

static void begin(struct sim_world *w, const struct sim_options *options)
{
    const struct feed_replay_options replay = {.seed = options->seed,
                                               .where = tell_replay,
                                               .no_trim = true,
                                               .no_sync = true,
                                               .scans = 2,
                                               .filters = 1};

    w->options = options;
    w->seed = options->seed;
    random_seed(&w->rng, w->seed);
    w->model = calloc(1, sizeof(*w->model));
    w->events = calloc(SIM_EVENTS, sizeof(*w->events));
    w->looks = calloc(SIM_LOOKS, sizeof(*w->looks));
    assert(w->model && w->events && w->looks);
    make_keys(w);
    model_init(w->model, w->cell_count);
    w->rounds = 2 + (unsigned)below(w, 6);
    w->feed = below(w, 2);
    w->jumps = below(w, 10) == 0;
    w->replay = feed_replay_new(&replay);
    SIM_MUST(io_faulty_new(w->seed, &w->fs));
}

static void end(struct sim_world *w)
{
    random_seed(&w->rng, sim_hash_of(w->seed, SIM_ROUNDS, 0, 0));
    open_again(w);
    SIM_MUST(helios_compact(w->db, (helios_slice){0}, (helios_slice){0}));
    sim_judge_open(w);
    if (w->feed)
        feed_replay_follow(w->replay, w->db);
    SIM_MUST(helios_verify(w->db, NULL, NULL));
    feed_replay_free(w->replay);
    SIM_MUST(helios_close(w->db));
    hash_files(w, "/");
    io_free(w->fs);
    for (size_t i = 0; i < w->cell_count; i++)
        free(w->keys[i].data);
    model_release(w->model);
    free(w->model);
    free(w->events);
    free(w->looks);
}

void sim_run(const struct sim_options *options, struct sim_counts *counts)
{
    struct sim_world *w = calloc(1, sizeof(*w));

    assert(w);
    sim_world = w;
    sim_start(options->seed);
    sim_on_failure(tell_seed);
    begin(w, options);
    for (w->round = 0; w->round < w->rounds; w->round++)
        run_round(w);
    end(w);
    *counts = w->counts;
    free(w);
}
