/* derived.c - a consumer with a copy of what it reads, and its judge; see derived.h. */
#undef NDEBUG
#include "tests/derived.h"
#include "base/coding.h"
#include "base/hash.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(d, condition)                                                                                    \
    do {                                                                                                       \
        if (!(condition)) {                                                                                    \
            fprintf(stderr, "%s:%d: consumer %s: not so: %s (%s)\n", __FILE__, __LINE__, (d)->name,            \
                    #condition, helios_last_error());                                                          \
            abort();                                                                                           \
        }                                                                                                      \
    } while (0)
#define MUST(d, call) CHECK(d, (call) == HELIOS_OK)

enum { STATE_BYTES = 24, COPY_KEY_BYTES = 96 };

/* ---- keys ---- */

helios_slice derived_key(unsigned key, char out[32])
{
    return slice_make(out, (size_t)snprintf(out, 32, "in/%02u", key));
}

static helios_slice copy_key(const struct derived *d, helios_slice key, char out[COPY_KEY_BYTES])
{
    return slice_make(out, (size_t)snprintf(out, COPY_KEY_BYTES, "out/%s/%.*s", d->name, (int)key.size,
                                            (const char *)key.data));
}

static helios_slice state_key(const struct derived *d, char out[COPY_KEY_BYTES])
{
    return slice_make(out, (size_t)snprintf(out, COPY_KEY_BYTES, "state/%s", d->name));
}

static unsigned number_of(helios_slice key)
{
    const char *k = key.data;

    return (unsigned)((k[3] - '0') * 10 + (k[4] - '0'));
}

/* Of a value; never 0. */
static uint64_t hash_of(helios_slice value)
{
    return hash_bytes(value.data, value.size) | 1;
}

/* ---- others ---- */

static void add_some(helios_batch *batch, struct random *rng, size_t size)
{
    static char bytes[70000];
    char key[32], end[32];
    unsigned from = (unsigned)random_below(rng, DERIVED_KEYS), dice = (unsigned)random_below(rng, 20);
    char value[200];

    if (dice == 0) {
        helios_batch_delete_range(batch, derived_key(from, key),
                                  derived_key(from + 1 + (unsigned)random_below(rng, 20), end));
    } else if (dice < 4) {
        helios_batch_delete(batch, derived_key(from, key));
    } else if (size) {
        helios_batch_put(batch, derived_key(from, key), slice_make(bytes, size + random_below(rng, 10000)));
    } else {
        for (size_t i = 0; i < 8; i++)
            value[i] = (char)random_below(rng, 256);
        memset(value + 8, 'v', sizeof(value) - 8);
        helios_batch_put(batch, derived_key(from, key), slice_make(value, 8 + random_below(rng, 150)));
    }
}

helios_status derived_write(helios_db *db, struct random *rng, bool large)
{
    helios_batch *batch = helios_batch_new();
    unsigned count = large ? 40 : 1 + (unsigned)random_below(rng, 6);
    helios_status status;

    assert(batch);
    for (unsigned i = 0; i < count; i++)
        add_some(batch, rng, large ? 50000 : 0);
    status = helios_write(db, NULL, batch, NULL);
    helios_batch_free(batch);
    return status;
}

/* ---- the consumer ---- */

static helios_status open_changes(const struct derived *d, helios_db *db, const char *consumer, helios_seq from,
                                  helios_seq to, helios_changes **changes)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;

    options.from = from;
    options.to = to;
    options.prefix = slice_text("in/");
    options.consumer = consumer;
    options.before_images = consumer && d->images;
    options.expand_ranges = consumer && d->expand;
    options.unsynced = d->unsynced;
    return helios_changes_new(db, &options, changes);
}

static void decode(helios_buf *value, uint64_t *count, uint64_t *chain, helios_seq *last)
{
    struct reader reader = reader_make(value->data, value->size);

    *count = read_u64(&reader);
    *chain = read_u64(&reader);
    *last = read_u64(&reader);
    assert(reader_done(&reader));
}

helios_status derived_begin(struct derived *d, helios_db *db)
{
    char key[COPY_KEY_BYTES];
    helios_buf value = {0};
    helios_status status = helios_get(db, NULL, state_key(d, key), &value);

    d->count = d->chain = d->read = d->ready = 0;
    d->batch = helios_batch_new();
    assert(d->batch);
    if (status == HELIOS_OK)
        decode(&value, &d->count, &d->chain, &d->read);
    helios_buf_free(&value);
    if (status != HELIOS_OK && status != HELIOS_NOT_FOUND)
        return status;
    return open_changes(d, db, d->name, 0, 0, &d->changes);
}

static uint64_t chained(uint64_t chain, const helios_change *change)
{
    uint64_t words[5] = {chain, change->lsn, change->kind, hash_of(change->key),
                         change->value.data ? hash_of(change->value) : 0};

    return hash_bytes(words, sizeof(words));
}

static void copy_entry(struct derived *d, const helios_change *change)
{
    char key[COPY_KEY_BYTES], end[COPY_KEY_BYTES], hash[8];

    CHECK(d, change->lsn > d->read || (d->expand && change->lsn == d->read));
    if (change->kind == HELIOS_CHANGE_PUT) {
        put_u64(hash, hash_of(change->value));
        helios_batch_put(d->batch, copy_key(d, change->key, key), slice_make(hash, sizeof(hash)));
    } else if (change->kind == HELIOS_CHANGE_DELETE) {
        helios_batch_delete(d->batch, copy_key(d, change->key, key));
    } else {
        helios_batch_delete_range(d->batch, copy_key(d, change->key, key), copy_key(d, change->value, end));
    }
    d->count++;
    d->chain = chained(d->chain, change);
    d->read = change->lsn;
    d->ready++;
}

/* With ranges expanded several entries have one lsn, which is done with as a whole: it stops only between commits. */
helios_status derived_read(struct derived *d, uint64_t timeout, unsigned most)
{
    helios_change change = {.commit_end = true};
    helios_status status = HELIOS_OK;

    for (unsigned i = 0; status == HELIOS_OK && (i < most || (d->expand && !change.commit_end)); i++) {
        status = helios_changes_next(d->changes, i ? 0 : timeout, &change);
        if (status == HELIOS_OK)
            copy_entry(d, &change);
    }
    return status == HELIOS_TIMEOUT ? HELIOS_OK : status;
}

helios_status derived_commit(struct derived *d, helios_db *db, helios_durability durability)
{
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    char key[COPY_KEY_BYTES], value[STATE_BYTES];
    helios_status status;

    if (!d->ready)
        return HELIOS_OK;
    put_u64(value, d->count);
    put_u64(value + 8, d->chain);
    put_u64(value + 16, d->read);
    helios_batch_put(d->batch, state_key(d, key), slice_make(value, sizeof(value)));
    helios_batch_ack(d->batch, d->name, d->read);
    options.durability = durability;
    status = helios_write(db, &options, d->batch, NULL);
    helios_batch_clear(d->batch);
    d->ready = 0;
    return status;
}

void derived_end(struct derived *d)
{
    helios_changes_free(d->changes);
    helios_batch_free(d->batch);
    d->changes = NULL;
    d->batch = NULL;
}

/* ---- the judge ---- */

static bool position(struct derived *d, helios_db *db, helios_seq *acked)
{
    helios_consumer_info *list;
    size_t count;
    bool found = false;

    MUST(d, helios_consumer_list(db, &list, &count));
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].name, d->name) == 0) {
            *acked = list[i].acked;
            found = true;
        }
    helios_free(list);
    return found;
}

static void apply(struct derived_state *s, const helios_change *change)
{
    if (change->kind == HELIOS_CHANGE_DELETE_RANGE) {
        for (unsigned i = 0; i < DERIVED_KEYS; i++) {
            char key[32];

            if (slice_compare(derived_key(i, key), change->key) >= 0 &&
                slice_compare(derived_key(i, key), change->value) < 0)
                s->hash[i] = 0;
        }
    } else {
        s->hash[number_of(change->key)] = change->kind == HELIOS_CHANGE_PUT ? hash_of(change->value) : 0;
    }
    s->count++;
    s->chain = chained(s->chain, change);
    s->last = change->lsn;
}

/* The keys that a range deletes, as the consumer was told of them. */
static void apply_expanded(struct derived_state *s, const helios_change *range)
{
    helios_change one = *range;
    char key[32];

    one.kind = HELIOS_CHANGE_DELETE;
    one.value = (helios_slice){0};
    for (unsigned i = 0; i < DERIVED_KEYS; i++) {
        one.key = derived_key(i, key);
        if (s->hash[i] && slice_compare(one.key, range->key) >= 0 && slice_compare(one.key, range->value) < 0)
            apply(s, &one);
    }
}

/* From where it was judged last to what it has acknowledged, by a cursor of its own. */
static void replay(struct derived *d, helios_db *db, helios_seq acked)
{
    struct derived_state *s = &d->judged;
    helios_changes *changes;
    helios_change change;
    helios_status status;

    if (acked <= s->last)
        return;
    MUST(d, open_changes(d, db, NULL, s->last + 1, acked, &changes));
    while ((status = helios_changes_next(changes, UINT64_MAX, &change)) == HELIOS_OK)
        if (change.kind == HELIOS_CHANGE_DELETE_RANGE && d->expand)
            apply_expanded(s, &change);
        else
            apply(s, &change);
    CHECK(d, status == HELIOS_NOT_FOUND);
    helios_changes_free(changes);
    s->last = acked;
}

static void compare_copies(struct derived *d, helios_db *db)
{
    helios_buf value = {0};
    char in[32], out[COPY_KEY_BYTES];

    for (unsigned i = 0; i < DERIVED_KEYS; i++) {
        helios_status status = helios_get(db, NULL, copy_key(d, derived_key(i, in), out), &value);

        CHECK(d, status == (d->judged.hash[i] ? HELIOS_OK : HELIOS_NOT_FOUND));
        CHECK(d, status != HELIOS_OK || (value.size == 8 && get_u64(value.data) == d->judged.hash[i]));
    }
    helios_buf_free(&value);
}

helios_seq derived_judge(struct derived *d, helios_db *db)
{
    char key[COPY_KEY_BYTES];
    helios_buf value = {0};
    uint64_t count = 0, chain = 0;
    helios_seq acked = 0, last = 0;
    helios_status status = helios_get(db, NULL, state_key(d, key), &value);

    CHECK(d, status == HELIOS_OK || status == HELIOS_NOT_FOUND);
    if (status == HELIOS_OK)
        decode(&value, &count, &chain, &last);
    helios_buf_free(&value);
    if (!position(d, db, &acked)) {
        CHECK(d, status == HELIOS_NOT_FOUND && d->judged.last == 0);
        return 0;
    }
    CHECK(d, acked >= d->judged.last);
    CHECK(d, acked == last);
    replay(d, db, acked);
    CHECK(d, d->judged.count == count);
    CHECK(d, d->judged.chain == chain);
    compare_copies(d, db);
    return acked;
}
