/* isolation_client.c - see isolation_client.h. */
#undef NDEBUG
#include "tests/isolation_client.h"
#include <assert.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>

const char *const mode_names[] = {"snapshot", "serializable", "mixed"};

_Noreturn void isolation_die(const struct run *r, const char *file, int line, const char *what,
                             helios_status status)
{
    fprintf(stderr, "%s:%d: %s: %s: %s\n  %s, %s, --seed %" PRIu64 ", %u threads\n", file, line, what,
            helios_status_name(status), helios_last_error(), r->workload->name, mode_names[r->mode], r->seed,
            r->threads);
    abort();
}

/* Lets others in between, so that transactions overlap also on few cores. */
static void breathe(struct client *c)
{
    if (chance(c, 6))
        sched_yield();
}

/* ---- keys and values ---- */

static helios_slice key_slice(uint32_t key, char bytes[KEY_BYTES])
{
    return slice_make(bytes, (size_t)snprintf(bytes, KEY_BYTES, "k%03u", (unsigned)key % 1000));
}

static uint32_t key_number(helios_slice key)
{
    const char *bytes = key.data;

    assert(key.size == 4 && bytes[0] == 'k');
    return (uint32_t)((bytes[1] - '0') * 100 + (bytes[2] - '0') * 10 + (bytes[3] - '0'));
}

static helios_slice cell_bytes(struct client *c, const struct cell *cell, unsigned char *bytes)
{
    memset(bytes, 'x', sizeof(*cell) + PADDING_MAX);
    memcpy(bytes, cell, sizeof(*cell));
    return slice_make(bytes, sizeof(*cell) + below(c, PADDING_MAX));
}

static struct cell cell_of(helios_slice value)
{
    struct cell cell;

    assert(value.size >= sizeof(cell));
    memcpy(&cell, value.data, sizeof(cell));
    return cell;
}

static bool same_cell(const struct cell *a, const struct cell *b)
{
    return a->present == b->present && (!a->present || (a->writer == b->writer && a->op == b->op));
}

/* ---- a transaction, with what it must see of itself ---- */

/* A call in a transaction that has become too old may say so before the commit does. */
static bool went_well(struct client *c, int line, helios_status status)
{
    if (status == HELIOS_CONFLICT && !c->read_only)
        c->lost = true;
    else if (status != HELIOS_OK)
        isolation_die(c->run, __FILE__, line, "a call in a transaction", status);
    return status == HELIOS_OK;
}

void start_record(struct client *c, uint64_t begin_min, uint64_t begin_max)
{
    c->id = atomic_fetch_add(&c->run->ids, 1) + 1;
    c->op = 0;
    c->saved_count = 0;
    c->lost = false;
    memset(c->own, 0, sizeof(c->own));
    iso_begin(c->log, c->id, c->level, begin_min, begin_max);
}

static void choose_level(struct client *c)
{
    c->level = c->run->mode == ALL_SNAPSHOT       ? ISO_SNAPSHOT
               : c->run->mode == ALL_SERIALIZABLE ? ISO_SERIALIZABLE
                                                  : (enum iso_level)below(c, 2);
}

helios_txn_options txn_options(struct client *c)
{
    helios_txn_options options = HELIOS_TXN_OPTIONS_INIT;

    choose_level(c);
    options.isolation =
        c->level == ISO_SERIALIZABLE ? HELIOS_ISOLATION_SERIALIZABLE : HELIOS_ISOLATION_SNAPSHOT;
    options.durability = chance(c, 20) ? HELIOS_DURABILITY_GROUP : HELIOS_DURABILITY_DEFAULT;
    c->read_only = false;
    c->in_past = false;
    return options;
}

void begin(struct client *c)
{
    helios_txn_options options = txn_options(c);
    uint64_t before = helios_latest(c->run->db);

    MUST(c->run, helios_txn_begin(c->run->db, &options, &c->txn));
    start_record(c, before, helios_latest(c->run->db));
}

bool begin_reading(struct client *c)
{
    helios_txn_options options = txn_options(c);
    uint64_t latest = helios_latest(c->run->db), horizon = helios_horizon(c->run->db);
    helios_status status;

    options.read_only = c->read_only = true;
    if (latest > 0 && chance(c, 3)) {
        options.at = latest - below(c, latest - horizon + 1);
        c->in_past = options.at != 0;
    }
    status = helios_txn_begin(c->run->db, &options, &c->txn);
    if (status == HELIOS_HISTORY_GONE && c->in_past) {
        atomic_fetch_add(&c->run->gone, 1);
        return false;
    }
    MUST(c->run, status);
    if (c->in_past)
        start_record(c, options.at, options.at);
    else
        start_record(c, latest, helios_latest(c->run->db));
    atomic_fetch_add(&c->run->past, c->in_past);
    return true;
}

static struct cell saw(struct client *c, uint32_t key, struct cell cell, bool in_range)
{
    if (c->own[key].is_set) {
        if (!same_cell(&c->own[key].cell, &cell))
            fprintf(stderr, "T%" PRIu32 ", key %" PRIu32 ": own %d.%u.%u, seen %d.%u.%u\n", c->id, key,
                    c->own[key].cell.present, c->own[key].cell.writer, c->own[key].cell.op, cell.present,
                    cell.writer, cell.op);
        CHECK(c->run, same_cell(&c->own[key].cell, &cell));
    } else {
        iso_read(c->log, key, cell.present ? cell.writer : 0, cell.op, in_range);
    }
    return cell;
}

struct cell get(struct client *c, uint32_t key)
{
    char bytes[KEY_BYTES];
    struct cell cell = {0};
    helios_status status;

    breathe(c);
    if (c->lost)
        return cell;
    status = helios_txn_get(c->txn, key_slice(key, bytes), &c->value);
    if (status != HELIOS_NOT_FOUND && !went_well(c, __LINE__, status))
        return cell;
    if (status == HELIOS_OK)
        cell = cell_of(slice_make(c->value.data, c->value.size));
    return saw(c, key, cell, false);
}

static void set_own(struct client *c, uint32_t key, struct cell cell)
{
    c->own[key] = (struct own){true, cell};
}

void put(struct client *c, uint32_t key, int64_t number, uint64_t chain)
{
    struct cell cell = {c->id, ++c->op, true, number, chain};
    unsigned char value[sizeof(cell) + PADDING_MAX];
    char bytes[KEY_BYTES];

    breathe(c);
    if (!c->lost &&
        went_well(c, __LINE__, helios_txn_put(c->txn, key_slice(key, bytes), cell_bytes(c, &cell, value))))
        set_own(c, key, cell);
}

void delete_key(struct client *c, uint32_t key)
{
    char bytes[KEY_BYTES];

    if (!c->lost && went_well(c, __LINE__, helios_txn_delete(c->txn, key_slice(key, bytes))))
        set_own(c, key, (struct cell){0});
}

void delete_range(struct client *c, uint32_t from, uint32_t to)
{
    char bytes[2][KEY_BYTES];

    if (c->lost ||
        !went_well(c, __LINE__,
                   helios_txn_delete_range(c->txn, key_slice(from, bytes[0]), key_slice(to, bytes[1]))))
        return;
    for (uint32_t key = from; key < to; key++)
        set_own(c, key, (struct cell){0});
}

void savepoint(struct client *c)
{
    if (c->lost || c->saved_count == SAVEPOINTS_MAX || !went_well(c, __LINE__, helios_txn_savepoint(c->txn)))
        return;
    memcpy(c->saved[c->saved_count++], c->own, sizeof(c->own));
}

void rollback_to_savepoint(struct client *c)
{
    if (c->lost)
        return;
    if (c->saved_count == 0) {
        CHECK(c->run, helios_txn_rollback_to_savepoint(c->txn) == HELIOS_NOT_FOUND);
        return;
    }
    if (went_well(c, __LINE__, helios_txn_rollback_to_savepoint(c->txn)))
        memcpy(c->own, c->saved[--c->saved_count], sizeof(c->own));
}

void any_write(struct client *c, uint32_t from, uint32_t to)
{
    uint32_t key = from + (uint32_t)below(c, to - from);
    uint64_t dice = below(c, 10);

    if (dice < 7)
        put(c, key, (int64_t)below(c, 100), 0);
    else if (dice < 9)
        delete_key(c, key);
    else
        delete_range(c, key, key + 1 + (uint32_t)below(c, to - key));
}

/* ---- walks ---- */

/* Keys that the walk went past: absent, all of them. */
static void saw_absent(struct client *c, struct cell *cells, uint32_t from, uint32_t to)
{
    for (uint32_t key = from; key < to; key++)
        cells[key] = saw(c, key, (struct cell){0}, true);
}

static helios_iter *new_walk(struct client *c, uint32_t from, uint32_t to, bool reverse)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    char bytes[2][KEY_BYTES];
    helios_iter *iter = NULL;

    options.lower = key_slice(from, bytes[0]);
    options.upper = key_slice(to, bytes[1]);
    if (!went_well(c, __LINE__, helios_txn_iter(c->txn, &options, &iter)))
        return NULL;
    if (reverse && chance(c, 2))
        helios_iter_seek_for_prev(iter, options.upper);
    else if (reverse)
        helios_iter_last(iter);
    else if (chance(c, 2))
        helios_iter_seek(iter, options.lower);
    else
        helios_iter_first(iter);
    return iter;
}

void scan(struct client *c, uint32_t from, uint32_t to, struct cell *cells, bool meddle)
{
    bool reverse = chance(c, 2);
    helios_iter *iter = c->lost ? NULL : new_walk(c, from, to, reverse);

    for (uint32_t key = from; key < to && !iter; key++)
        cells[key] = (struct cell){0};
    while (iter && helios_iter_valid(iter)) {
        uint32_t key = key_number(helios_iter_key(iter));

        CHECK(c->run, key >= from && key < to); /* what is left of the range: never back */
        if (reverse)
            saw_absent(c, cells, key + 1, to);
        else
            saw_absent(c, cells, from, key);
        cells[key] = saw(c, key, cell_of(helios_iter_value(iter)), true);
        if (reverse)
            to = key;
        else
            from = key + 1;
        if (meddle && from < to && chance(c, 10))
            any_write(c, from, to);
        breathe(c);
        (reverse ? helios_iter_prev : helios_iter_next)(iter);
    }
    if (iter && went_well(c, __LINE__, helios_iter_status(iter)))
        saw_absent(c, cells, from, to);
    helios_iter_free(iter);
}

/* ---- ends ---- */

static void record_writes(struct client *c)
{
    for (uint32_t key = 0; key < c->run->workload->keys; key++)
        if (c->own[key].is_set)
            iso_write(c->log, key, c->own[key].cell.op, !c->own[key].cell.present);
}

void end_record(struct client *c, helios_status status, helios_seq commit)
{
    if (status == HELIOS_OK) {
        record_writes(c);
        iso_end(c->log, ISO_COMMITTED, commit);
        atomic_fetch_add(&c->run->committed, 1);
        return;
    }
    if (status != HELIOS_CONFLICT)
        isolation_die(c->run, __FILE__, __LINE__, "commit", status);
    iso_end(c->log, ISO_ABORTED, 0);
    atomic_fetch_add(&c->run->conflicts, 1);
}

void end(struct client *c)
{
    helios_seq commit = 0;
    helios_status status;

    breathe(c);
    if (!c->read_only && chance(c, 30)) {
        if (chance(c, 2))
            MUST(c->run, helios_txn_rollback(c->txn));
        iso_end(c->log, ISO_ABORTED, 0);
        atomic_fetch_add(&c->run->rolled_back, 1);
    } else {
        status = helios_txn_commit(c->txn, &commit);
        CHECK(c->run, !c->lost || status == HELIOS_CONFLICT);
        end_record(c, status, commit);
    }
    helios_txn_free(c->txn);
    c->txn = NULL;
}

void look_at_all(struct client *c)
{
    const struct workload *w = c->run->workload;
    struct cell cells[KEYS_MAX];

    if (chance(c, 4))
        for (uint32_t i = 0, at = (uint32_t)below(c, w->keys); i < w->keys; i++, at = (at + 7) % w->keys)
            cells[at] = get(c, at);
    else
        scan(c, 0, w->keys, cells, false);
    if (w->look)
        w->look(c, cells);
}

void read_turn(struct client *c)
{
    if (!begin_reading(c))
        return;
    look_at_all(c);
    end(c);
}

/* ---- writes outside of transactions ---- */

static void plain_begin(struct client *c)
{
    choose_level(c);
    start_record(c, 0, UINT64_MAX);
}

static void plain_end(struct client *c, helios_seq commit)
{
    record_writes(c);
    iso_end(c->log, ISO_COMMITTED, commit);
    atomic_fetch_add(&c->run->committed, 1);
}

/* helios_put gives no number back: the commit is the first point at which the value is seen. */
static helios_seq number_of_put(struct client *c, uint32_t key, helios_seq before, helios_seq after)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    char bytes[KEY_BYTES];

    for (options.at = before + 1; options.at <= after; options.at++) {
        helios_status status = helios_get(c->run->db, &options, key_slice(key, bytes), &c->value);

        if (status == HELIOS_NOT_FOUND)
            continue;
        MUST(c->run, status);
        if (cell_of(slice_make(c->value.data, c->value.size)).writer == c->id)
            return options.at;
    }
    isolation_die(c->run, __FILE__, __LINE__, "a put is not seen at any point", HELIOS_OK);
    return 0;
}

static void plain_put(struct client *c, uint32_t key, int64_t number)
{
    struct cell cell;
    unsigned char value[sizeof(cell) + PADDING_MAX];
    char bytes[KEY_BYTES];
    helios_seq before = helios_latest(c->run->db);

    plain_begin(c);
    cell = (struct cell){c->id, ++c->op, true, number, 0};
    MUST(c->run, helios_put(c->run->db, NULL, key_slice(key, bytes), cell_bytes(c, &cell, value)));
    set_own(c, key, cell);
    plain_end(c, number_of_put(c, key, before, helios_latest(c->run->db)));
}

/* Keys that are nobody's, so that the batch is ingested where memtables are small. */
static void add_ballast(helios_batch *batch)
{
    static const unsigned char value[2000] = {0};

    for (unsigned char i = 0; i < 50; i++)
        helios_batch_put(batch, slice_make((unsigned char[]){'z', i}, 2), slice_make(value, sizeof(value)));
}

static void plain_batch(struct client *c)
{
    helios_batch *batch = helios_batch_new();
    uint32_t keys = c->run->workload->keys;
    helios_seq commit = 0;
    char bytes[2][KEY_BYTES];

    plain_begin(c);
    if (chance(c, 100))
        add_ballast(batch);
    for (uint64_t i = 1 + below(c, 4); i > 0; i--) {
        struct cell cell = {c->id, ++c->op, true, (int64_t)below(c, 2), 0};
        unsigned char value[sizeof(cell) + PADDING_MAX];
        uint32_t key = (uint32_t)below(c, keys), to = key + 1 + (uint32_t)below(c, keys - key);
        uint64_t dice = below(c, 10);

        if (dice < 7) {
            helios_batch_put(batch, key_slice(key, bytes[0]), cell_bytes(c, &cell, value));
            set_own(c, key, cell);
        } else if (dice < 9) {
            helios_batch_delete(batch, key_slice(key, bytes[0]));
            set_own(c, key, (struct cell){0});
        } else {
            helios_batch_delete_range(batch, key_slice(key, bytes[0]), key_slice(to, bytes[1]));
            for (; key < to; key++)
                set_own(c, key, (struct cell){0});
        }
    }
    MUST(c->run, helios_write(c->run->db, NULL, batch, &commit));
    plain_end(c, commit);
    helios_batch_free(batch);
}

void flood(struct client *c)
{
    for (int i = 0; i < FLOOD_COMMITS; i++)
        MUST(c->run, helios_put(c->run->db, NULL, slice_make("zz", 2), slice_make("", 0)));
}

void plain_turn(struct client *c)
{
    if (c->run->retention == HELIOS_FOREVER && chance(c, 3))
        plain_put(c, (uint32_t)below(c, c->run->workload->keys), (int64_t)below(c, 2));
    else
        plain_batch(c);
}
