/* layers.c - the filters of a view, asked about one key on several layers. First all that can hold the key on a
 * layer, by branch, bounds and numbers, are gathered and the lines of their filters fetched; then they are asked.
 *
 * A layer is to be looked at unasked where range deletes may cover the key, and where a table is not open yet. */
#include "engine/layers.h"
#include "engine/read.h"

enum { PROBES_MAX = 64 };

/* A filter to ask: of a memtable or of a table. */
struct probe {
    struct layer *layer;
    const struct memtable *memtable; /* or: */
    struct table *table;
};

struct asking {
    const struct view *view;
    helios_slice key; /* on the layer that is gathered for */
    struct layer *layer;
    const struct level *levels[LEVEL_COUNT]; /* below L0, those that are not empty */
    size_t level_count, count;
    struct probe probes[PROBES_MAX];
};

/* NULL: no room, and the layer is looked at unasked. */
static struct probe *add_probe(struct asking *a)
{
    struct probe *probe = &a->probes[a->count];

    if (a->count == PROBES_MAX) {
        a->layer->may_hold = true;
        return NULL;
    }
    a->count++;
    probe->layer = a->layer;
    probe->memtable = NULL;
    return probe;
}

static void gather_memtable(struct asking *a, const struct memtable *memtable)
{
    struct probe *probe;

    if (!memtable_may_hold_layer(memtable, slice_bytes(a->key)))
        return;
    if (memtable_rangedels(memtable)) {
        a->layer->may_hold = true;
        return;
    }
    probe = add_probe(a);
    if (!probe)
        return;
    probe->memtable = memtable;
    memtable_prefetch(memtable, a->layer->hash);
}

/* The key is within the file's bounds. */
static void gather_file(struct asking *a, struct table_file *file)
{
    struct table *table = table_file_peek(file);
    struct probe *probe;

    if (file->properties.seq_min > a->layer->seq)
        return;
    if (!table || file->properties.range_deletes) {
        a->layer->may_hold = true;
        return;
    }
    probe = add_probe(a);
    if (!probe)
        return;
    probe->table = table;
    table_prefetch(table, a->layer->hash);
}

static void gather_level(struct asking *a, const struct level *level)
{
    struct table_file *file;
    enum branch_place place = version_find_branch(level, a->layer->branch, &file);

    if (place == BRANCH_WITHIN)
        gather_file(a, file);
    if (place != BRANCH_ACROSS)
        return;
    for (size_t i = version_find(level, a->key); i < level->count && file_holds(level->files[i], a->key); i++)
        gather_file(a, level->files[i]);
}

static void gather(struct asking *a, struct layer *layer)
{
    const struct level *l0 = &a->view->version->levels[0];

    put_u32_be((void *)a->key.data, layer->branch);
    a->layer = layer;
    gather_memtable(a, a->view->active->memtable);
    for (size_t i = 0; i < a->view->closed_count; i++)
        if (a->view->closed[i]->first <= layer->seq)
            gather_memtable(a, a->view->closed[i]->memtable);
    for (size_t i = 0; i < l0->count && !layer->may_hold; i++)
        if (file_holds(l0->files[i], a->key))
            gather_file(a, l0->files[i]);
    for (size_t i = 0; i < a->level_count; i++)
        gather_level(a, a->levels[i]);
}

void layers_ask(const struct view *view, helios_slice key, const struct key_hasher *hasher,
                struct layer *layers, size_t count)
{
    struct asking a;

    a.view = view;
    a.key = key;
    a.count = 0;
    a.level_count = 0;
    for (size_t l = 1; l < LEVEL_COUNT; l++)
        if (view->version->levels[l].count)
            a.levels[a.level_count++] = &view->version->levels[l];
    for (size_t i = 0; i < count; i++) {
        layers[i].hash = key_hasher_on(hasher, layers[i].branch);
        if (layers[i].may_hold)
            memtable_prefetch(view->active->memtable, layers[i].hash);
        else
            gather(&a, &layers[i]);
    }
    for (size_t i = 0; i < a.count; i++) {
        const struct probe *probe = &a.probes[i];

        probe->layer->may_hold |= probe->memtable ? memtable_may_hold(probe->memtable, probe->layer->hash)
                                                  : table_may_hold(probe->table, probe->layer->hash);
    }
}
