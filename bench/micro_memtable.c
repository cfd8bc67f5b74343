/* micro_memtable.c - what the memtable does a second, alone: inserts in random and in ascending order,
 * look-ups that hit and that miss, a scan. Keys are 16 decimal digits behind a layer, values 100 bytes.
 * Usage: micro_memtable [entries [rounds]] */
#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"
#include "memtable/memtable.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { KEY_SIZE = KEY_LAYER_BYTES + 16, VALUE_SIZE = 100, ENTRY_BYTES = 192 };

struct keys {
    unsigned char (*at)[KEY_SIZE];
    uint64_t count;
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(helios_status status)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "micro_memtable: %s\n", helios_last_error());
    exit(1);
}

static void key_put(unsigned char *at, uint64_t id)
{
    key_put_layer(at, 0, SPACE_USER);
    for (int i = KEY_SIZE - 1; i >= KEY_LAYER_BYTES; i--, id /= 10)
        at[i] = (unsigned char)('0' + id % 10);
}

/* Even ids: the odd ones are for look-ups that miss. */
static struct keys keys_make(uint64_t count, bool shuffled, uint64_t odd)
{
    struct keys keys = {mem_array(count, KEY_SIZE), count};
    unsigned char swap[KEY_SIZE];
    struct random random;

    if (!keys.at)
        exit(1);
    random_seed(&random, 1);
    for (uint64_t i = 0; i < count; i++)
        key_put(keys.at[i], i * 2 + odd);
    for (uint64_t i = count; shuffled && i > 1; i--) {
        uint64_t other = random_below(&random, i);

        memcpy(swap, keys.at[i - 1], KEY_SIZE);
        memcpy(keys.at[i - 1], keys.at[other], KEY_SIZE);
        memcpy(keys.at[other], swap, KEY_SIZE);
    }
    return keys;
}

static helios_slice key_of(const struct keys *keys, uint64_t i)
{
    return slice_make(keys->at[i], KEY_SIZE);
}

static void report(const char *what, uint64_t count, double began)
{
    double seconds = now() - began;

    printf("  %-34s %7.3f M/s  %6.0f ns\n", what, (double)count / seconds / 1e6, seconds / (double)count * 1e9);
}

static void fill(struct memtable *m, const struct keys *keys, struct memtable_hint *hint, const char *what)
{
    static const char value[VALUE_SIZE] = "value";
    double began = now();

    for (uint64_t i = 0; i < keys->count; i++) {
        struct memtable_node *node =
            memtable_prepare(m, key_of(keys, i), slice_make(value, VALUE_SIZE), KIND_VALUE);

        if (!node)
            exit(1);
        memtable_insert(m, node, i + 1, hint);
    }
    report(what, keys->count, began);
}

static void ask(const struct memtable *m, const struct keys *keys, bool hit, const char *what)
{
    double began = now();
    uint64_t tag, found = 0;
    helios_slice value;

    for (uint64_t i = 0; i < keys->count; i++)
        found += memtable_get(m, key_of(keys, i), hash_key(key_of(keys, i)), SEQ_MAX, &tag, &value);
    report(what, keys->count, began);
    if (found != (hit ? keys->count : 0))
        exit(1);
}

static void scan(struct memtable *m, helios_seq read_point, const char *what)
{
    struct cursor *cursor;
    double began;
    uint64_t count = 0;

    must(memtable_cursor_new(m, read_point, &cursor));
    began = now();
    for (cursor_first(cursor); cursor->valid; cursor_next(cursor))
        count++;
    report(what, count, began);
    cursor_free(cursor);
}

static struct memtable *open_memtable(uint64_t count, helios_slice shared)
{
    struct memtable *m;

    must(memtable_new(count * ENTRY_BYTES, shared, &m));
    return m;
}

static void close_memtable(struct memtable *m)
{
    memtable_unref(m);
    epoch_drain();
}

static void run(const struct keys *shuffled, const struct keys *ascending, const struct keys *missing)
{
    unsigned char shared[KEY_SIZE];
    size_t shared_size;
    struct memtable_hint hint = {0}, other = {0};
    struct memtable *m = open_memtable(shuffled->count, slice_make("", 0));

    fill(m, ascending, &hint, "ascending, hint");
    shared_size = memtable_common_prefix(m, shared, sizeof(shared));
    close_memtable(m);
    m = open_memtable(shuffled->count, slice_make("", 0));
    fill(m, shuffled, NULL, "random, no shared prefix");
    ask(m, shuffled, true, "get, no shared prefix");
    close_memtable(m);
    m = open_memtable(shuffled->count, slice_make(shared, shared_size));
    fill(m, shuffled, &other, "random, shared prefix, hint");
    close_memtable(m);
    m = open_memtable(shuffled->count, slice_make(shared, shared_size));
    fill(m, shuffled, NULL, "random, shared prefix");
    ask(m, shuffled, true, "get, in the order of insertion");
    ask(m, ascending, true, "get, ascending");
    ask(m, missing, false, "get, absent");
    scan(m, SEQ_MAX, "scan at a read point");
    scan(m, CURSOR_ALL, "scan of all versions");
    close_memtable(m);
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 500000;
    int rounds = argc > 2 ? atoi(argv[2]) : 2;
    struct keys shuffled, ascending, missing;

    if (count == 0 || count > 100000000)
        return 2;
    shuffled = keys_make(count, true, 0);
    ascending = keys_make(count, false, 0);
    missing = keys_make(count, true, 1);
    for (int i = 0; i < rounds; i++) {
        printf("round %d, %" PRIu64 " entries\n", i + 1, count);
        run(&shuffled, &ascending, &missing);
    }
    memtable_pool_release();
    mem_free(shuffled.at);
    mem_free(ascending.at);
    mem_free(missing.at);
    return 0;
}
