/* micro_memtable.c - inserts and look-ups: of the memtable alone, and of a bare skip list as it is in the paper (Pugh, CACM
 * 1990), with pointers and whole keys, for one thread. Keys are 16 decimal digits behind a layer, values 100 bytes. */
#include "base/hash.h"
#include "bench/data.h"
#include "bench/micro.h"
#include "memtable/memtable.h"
#include <stdlib.h>
#include <sys/mman.h>

enum { KEY_SIZE = KEY_LAYER_BYTES + KEY_BYTES, VALUE = 100, ENTRY_BYTES = 192, HEIGHT_MAX = 16, BRANCHING = 4 };

struct keys {
    unsigned char (*at)[KEY_SIZE];
    uint64_t count;
};

static const char value_bytes[VALUE] = "value";

/* Even ids: the odd ones are for look-ups that miss. */
static struct keys keys_make(bool scattered, uint64_t odd)
{
    struct keys keys = {micro_alloc(micro.entries * KEY_SIZE), micro.entries};
    struct data data;

    data_init(&data, keys.count, VALUE, false);
    for (uint64_t i = 0; i < keys.count; i++) {
        key_put_layer(keys.at[i], 0, SPACE_USER);
        data_key(&data, (scattered ? data_scatter(&data, i) : i) * 2 + odd,
                 (char *)keys.at[i] + KEY_LAYER_BYTES);
    }
    data_release(&data);
    return keys;
}

static helios_slice key_of(const struct keys *keys, uint64_t i)
{
    return slice_make(keys->at[i], KEY_SIZE);
}

/* ---- ours ---- */

struct ask {
    const struct keys *keys;
    struct memtable *memtable;
    bool hinted, hit;
};

/* `shared` is what a memtable knows of the keys of the one before: a layer and the digits that are zero. */
static struct memtable *filled(const struct keys *keys, bool hinted, double *seconds)
{
    struct memtable_hint hint = {0};
    unsigned char shared[KEY_SIZE];
    struct memtable *m;
    double start;

    key_put_layer(shared, 0, SPACE_USER);
    memset(shared + KEY_LAYER_BYTES, '0', KEY_BYTES / 2);
    micro_must(
        memtable_new(keys->count * ENTRY_BYTES, slice_make(shared, KEY_LAYER_BYTES + KEY_BYTES / 2), &m));
    start = seconds_now();
    for (uint64_t i = 0; i < keys->count; i++) {
        struct memtable_node *node =
            memtable_prepare(m, key_of(keys, i), slice_make(value_bytes, VALUE), KIND_VALUE);

        if (!node)
            micro_die("the memtable is full");
        memtable_insert(m, node, i + 1, hinted ? &hint : NULL);
    }
    *seconds = seconds_now() - start;
    return m;
}

static double fill(void *arg)
{
    const struct ask *ask = arg;
    double seconds;

    memtable_unref(filled(ask->keys, ask->hinted, &seconds));
    epoch_drain();
    return seconds;
}

static double get(void *arg)
{
    const struct ask *ask = arg;
    uint64_t tag, found = 0;
    helios_slice value;
    double start = seconds_now();

    for (uint64_t i = 0; i < ask->keys->count; i++) {
        helios_slice key = key_of(ask->keys, i);

        found += memtable_get(ask->memtable, key, hash_key(key), SEQ_MAX, &tag, &value);
    }
    start = seconds_now() - start;
    if (found != (ask->hit ? ask->keys->count : 0))
        micro_die("the memtable lost entries");
    return start;
}

static double walk(void *arg)
{
    const struct ask *ask = arg;
    struct cursor *cursor;
    uint64_t count = 0;
    double start;

    micro_must(memtable_cursor_new(ask->memtable, SEQ_MAX, &cursor));
    start = seconds_now();
    for (cursor_first(cursor); cursor->valid; cursor_next(cursor))
        count++;
    start = seconds_now() - start;
    cursor_free(cursor);
    micro_sink(count);
    return start;
}

static void measure_ours(const struct keys *scattered, const struct keys *ascending, const struct keys *missing)
{
    struct ask random = {.keys = scattered, .hit = true}, sequential = {.keys = ascending, .hinted = true},
               absent = {.keys = missing};
    double seconds;

    micro_measure("memtable, insert, random", micro.entries, 0, fill, &random);
    micro_measure("memtable, insert, ascending", micro.entries, 0, fill, &sequential);
    random.memtable = absent.memtable = filled(scattered, false, &seconds);
    micro_measure("memtable, get, random", micro.entries, 0, get, &random);
    micro_measure("memtable, get, absent", micro.entries, 0, get, &absent);
    micro_measure("memtable, step of a scan", micro.entries, 0, walk, &random);
    memtable_unref(random.memtable);
    epoch_drain();
    memtable_pool_release();
}

/* ---- the bare one ---- */

struct node {
    unsigned char key[KEY_SIZE], value[VALUE];
    struct node *next[]; /* as many as it is high */
};

struct bare {
    const struct keys *keys;
    bool huge;
};

static struct node *node_new(unsigned char **memory, unsigned height)
{
    struct node *node = (struct node *)*memory;

    *memory += (sizeof(*node) + height * sizeof(node->next[0]) + 7) / 8 * 8;
    return node;
}

static void node_insert(struct node *head, unsigned char **memory, const unsigned char *key, unsigned height)
{
    struct node *at = head, *node = node_new(memory, height);

    memcpy(node->key, key, KEY_SIZE);
    memcpy(node->value, value_bytes, VALUE);
    for (int level = HEIGHT_MAX - 1; level >= 0; level--) {
        while (at->next[level] && memcmp(at->next[level]->key, key, KEY_SIZE) < 0)
            at = at->next[level];
        if (level >= (int)height)
            continue;
        node->next[level] = at->next[level];
        at->next[level] = node;
    }
}

static double bare_fill(void *arg)
{
    const struct bare *bare = arg;
    size_t size = bare->keys->count * ENTRY_BYTES + ENTRY_BYTES * 2;
    unsigned char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                  *at = memory;
    struct random random;
    struct node *head;
    double start;

    if (memory == MAP_FAILED)
        micro_die("no memory");
    if (bare->huge)
        madvise(memory, size, MADV_HUGEPAGE);
    memset(memory, 0, size);
    head = node_new(&at, HEIGHT_MAX);
    random_seed(&random, 1);
    start = seconds_now();
    for (uint64_t i = 0; i < bare->keys->count; i++) {
        unsigned height = 1;

        while (height < HEIGHT_MAX && random_below(&random, BRANCHING) == 0)
            height++;
        node_insert(head, &at, bare->keys->at[i], height);
    }
    start = seconds_now() - start;
    munmap(memory, size);
    return start;
}

void micro_memtable(void)
{
    struct keys scattered = keys_make(true, 0), ascending = keys_make(false, 0), missing = keys_make(true, 1);
    struct bare plain = {.keys = &scattered}, huge = {.keys = &scattered, .huge = true};

    measure_ours(&scattered, &ascending, &missing);
    micro_measure("bare skip list, insert, random", micro.entries, 0, bare_fill, &plain);
    micro_measure("bare skip list, insert, random, huge pages", micro.entries, 0, bare_fill, &huge);
    free(scattered.at);
    free(ascending.at);
    free(missing.at);
}
