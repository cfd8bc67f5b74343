/* test_pick.c - the pickers on drawn trees: files with real keys and numbers, jobs that run side by side and
 * end in any order. After every step: levels are disjoint and every key is newer further up; no pick splits a
 * key, takes a busy file or meets another's outputs; and the tree becomes quiet. */
#undef NDEBUG
#include "base/mem.h"
#include "base/random.h"
#include "compaction/pick_internal.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    KEY_SIZE = 9,
    KEY_SPACE = 3000,
    FILES_MAX = 4000,
    RUNNING_MAX = 3,
    ENTRY_BYTES = 100,
    FLUSH_ENTRIES = 20
};

struct item {
    uint32_t key;
    helios_seq seq;
    bool tombstone;
};

struct sim_file {
    struct table_file file; /* first */
    unsigned char bounds[2][KEY_SIZE];
    struct item *items;
    size_t count;
};

struct world {
    struct random random;
    struct table_file *files[COMPACT_LEVELS][FILES_MAX];
    size_t counts[COMPACT_LEVELS];
    struct compact_pick *running[RUNNING_MAX];
    struct table_file **copies[RUNNING_MAX]; /* level arrays of the version the pick was made on */
    size_t running_count;
    helios_seq latest, horizon, limit;
    uint64_t sink_time, rest_bytes;
    struct garbage_aged aged;
    uint64_t next_number;
    uint64_t jobs, reasons[COMPACT_REASON_MANUAL + 1], moves;
    bool pinned; /* nothing is ever collected */
};

static void make_key(unsigned char *out, uint32_t number)
{
    key_put_layer(out, 0, 0);
    put_u32_be(out + KEY_LAYER_BYTES, number);
}

static const struct sim_file *sim_of(const struct table_file *file)
{
    return (const struct sim_file *)file;
}

static int compare_items(const void *a, const void *b)
{
    const struct item *x = a, *y = b;

    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->seq > y->seq ? -1 : x->seq < y->seq;
}

static void count_items(struct sim_file *f)
{
    struct table_properties *p = &f->file.properties;

    *p = (struct table_properties){.entries = f->count, .seq_min = UINT64_MAX};
    for (size_t i = 0; i < f->count; i++) {
        bool same = i > 0 && f->items[i - 1].key == f->items[i].key;

        p->keys += !same;
        p->tombstones += f->items[i].tombstone;
        p->seq_min = f->items[i].seq < p->seq_min ? f->items[i].seq : p->seq_min;
        p->seq_max = f->items[i].seq > p->seq_max ? f->items[i].seq : p->seq_max;
        if (same && (p->shadow_min == 0 || f->items[i - 1].seq < p->shadow_min))
            p->shadow_min = f->items[i - 1].seq;
    }
}

static struct table_file *file_new(struct world *w, const struct item *items, size_t count)
{
    struct sim_file *f = mem_zalloc(sizeof(*f));

    f->items = mem_copy(items, count * sizeof(*items));
    f->count = count;
    f->file.number = w->next_number++;
    f->file.size = count * ENTRY_BYTES;
    f->file.collected = w->horizon;
    make_key(f->bounds[0], items[0].key);
    make_key(f->bounds[1], items[count - 1].key);
    f->file.smallest = slice_make(f->bounds[0], KEY_SIZE);
    f->file.largest = slice_make(f->bounds[1], KEY_SIZE);
    count_items(f);
    return &f->file;
}

static void file_free(struct table_file *file)
{
    mem_free(((struct sim_file *)file)->items);
    mem_free(file);
}

/* ---- what must hold ---- */

static void check_levels(const struct world *w)
{
    for (int level = 1; level < COMPACT_LEVELS; level++) {
        for (size_t i = 1; i < w->counts[level]; i++) {
            const struct table_file *a = w->files[level][i - 1], *b = w->files[level][i];
            int order = slice_compare(a->largest, b->smallest);

            assert(order < 0 || (order == 0 && a->largest_exclusive) ||
                   (order == 0 && sim_of(a)->items[sim_of(a)->count - 1].seq > sim_of(b)->items[0].seq));
        }
    }
}

/* From L0's newest file down, the numbers of each key only fall. */
static void check_ages(const struct world *w)
{
    static helios_seq oldest[KEY_SPACE];

    for (size_t i = 0; i < KEY_SPACE; i++)
        oldest[i] = UINT64_MAX;
    for (int level = 0; level < COMPACT_LEVELS; level++) {
        for (size_t i = 0; i < w->counts[level]; i++) {
            const struct sim_file *f = sim_of(w->files[level][i]);

            for (size_t k = 0; k < f->count; k++) {
                assert(f->items[k].seq < oldest[f->items[k].key]);
                oldest[f->items[k].key] = f->items[k].seq;
            }
        }
    }
}

static bool is_input(const struct compact_pick *pick, const struct table_file *file)
{
    for (size_t i = 0; i < pick->input_count; i++) {
        if (pick->inputs[i] == file)
            return true;
    }
    for (size_t i = 0; i < pick->overlap_count; i++) {
        if (pick->overlaps[i] == file)
            return true;
    }
    return false;
}

static bool holds_key(const struct table_file *file, uint32_t key)
{
    for (size_t i = 0; i < sim_of(file)->count; i++) {
        if (sim_of(file)->items[i].key == key)
            return true;
    }
    return false;
}

/* Older versions outside, by looking; the pick may say yes too often but never no. */
static bool lies_outside(const struct world *w, const struct compact_pick *pick, uint32_t key, helios_seq seq)
{
    for (int level = 0; level < COMPACT_LEVELS; level++) {
        for (size_t i = 0; i < w->counts[level]; i++) {
            const struct sim_file *f = sim_of(w->files[level][i]);

            if (is_input(pick, &f->file))
                continue;
            for (size_t k = 0; k < f->count; k++) {
                if (f->items[k].key == key && f->items[k].seq < seq)
                    return true;
            }
        }
    }
    return false;
}

static void check_file(const struct world *w, struct compact_pick *pick, const struct table_file *file)
{
    const struct sim_file *f = sim_of(file);

    assert(!file->busy);
    for (size_t k = 0; k < f->count; k++) {
        unsigned char bytes[KEY_SIZE];
        helios_slice key = slice_make(bytes, KEY_SIZE);

        make_key(bytes, f->items[k].key);
        if (lies_outside(w, pick, f->items[k].key, f->items[k].seq)) {
            assert(!pick->bottommost);
            assert(compact_may_hold_older(pick, key, key, true));
        }
    }
}

static void check_unsplit(const struct world *w, const struct compact_pick *pick, int level)
{
    for (size_t i = 0; i < w->counts[level]; i++) {
        const struct table_file *out = w->files[level][i];
        struct span span = {pick->from, pick->to, pick->to_exclusive};

        if (is_input(pick, out))
            continue;
        if (level == pick->output_level && level > 0)
            assert(!file_overlaps(out, &span)); /* the outputs have the place to themselves */
        for (size_t k = 0; k < pick->input_count && level > 0 && level == pick->input_level; k++) {
            for (size_t n = 0; n < sim_of(out)->count; n++)
                assert(!holds_key(pick->inputs[k], sim_of(out)->items[n].key));
        }
    }
}

static void check_pick(const struct world *w, struct compact_pick *pick)
{
    uint64_t bytes = 0;

    assert(pick->input_count > 0);
    for (size_t i = 0; i < pick->input_count; i++) {
        check_file(w, pick, pick->inputs[i]);
        bytes += pick->inputs[i]->size;
        assert(pick->input_level > 0 || pick->inputs[i]->properties.seq_max <= w->limit);
    }
    for (size_t i = 0; i < pick->overlap_count; i++) {
        check_file(w, pick, pick->overlaps[i]);
        bytes += pick->overlaps[i]->size;
    }
    assert(bytes == pick->bytes);
    assert(!pick->trivial_move || (pick->input_count == 1 && pick->overlap_count == 0));
    check_unsplit(w, pick, pick->input_level);
    check_unsplit(w, pick, pick->output_level);
    for (size_t i = 0; i < w->running_count; i++) {
        const struct compact_pick *other = w->running[i];
        struct span a = {pick->from, pick->to, pick->to_exclusive},
                    b = {other->from, other->to, other->to_exclusive};

        assert(pick->output_level == 0 || other->output_level != pick->output_level || !span_overlaps(&a, &b));
    }
}

/* ---- running ---- */

/* The arrays are copied: a version is immutable, and picks point into it. */
static struct table_file **snapshot(const struct world *w, struct compact_tree *tree)
{
    size_t total = 0;
    struct table_file **copy;

    for (int level = 0; level < COMPACT_LEVELS; level++)
        total += w->counts[level];
    copy = mem_array(total + 1, sizeof(*copy));
    *tree = (struct compact_tree){
        .memtable_bytes = FLUSH_ENTRIES * ENTRY_BYTES,
        .target_file_bytes = FLUSH_ENTRIES * ENTRY_BYTES / 2,
        .horizon = w->horizon,
        .limit_seq = w->limit,
        .sink_time = w->sink_time,
        .rest_bytes = w->rest_bytes,
        .aged = w->aged,
        .running = (const struct compact_pick *const *)w->running,
        .running_count = w->running_count,
    };
    total = 0;
    for (int level = 0; level < COMPACT_LEVELS; level++) {
        memcpy(copy + total, w->files[level], w->counts[level] * sizeof(*copy));
        tree->levels[level] = (struct compact_level){copy + total, w->counts[level]};
        total += w->counts[level];
    }
    return copy;
}

static void set_busy(struct compact_pick *pick, bool busy)
{
    for (size_t i = 0; i < pick->input_count; i++)
        pick->inputs[i]->busy = busy;
    for (size_t i = 0; i < pick->overlap_count; i++)
        pick->overlaps[i]->busy = busy;
}

static void begin(struct world *w, struct compact_pick *pick, struct table_file **copy)
{
    check_pick(w, pick);
    set_busy(pick, true);
    w->running[w->running_count] = pick;
    w->copies[w->running_count++] = copy;
    w->jobs++;
    w->reasons[pick->reason]++;
}

static bool begin_next(struct world *w)
{
    struct compact_tree tree;
    struct table_file **copy;
    struct compact_pick *pick;

    if (w->running_count == RUNNING_MAX)
        return false;
    copy = snapshot(w, &tree);
    assert(compact_pick(&tree, &pick) == HELIOS_OK);
    if (!pick) {
        mem_free(copy);
        return false;
    }
    begin(w, pick, copy);
    return true;
}

static size_t remove_file(struct world *w, int level, const struct table_file *file)
{
    size_t at = 0;

    while (w->files[level][at] != file)
        at++;
    w->counts[level]--;
    memmove(&w->files[level][at], &w->files[level][at + 1], (w->counts[level] - at) * sizeof(w->files[0][0]));
    return at;
}

static void insert_file(struct world *w, int level, size_t at, struct table_file *file)
{
    assert(w->counts[level] < FILES_MAX);
    memmove(&w->files[level][at + 1], &w->files[level][at], (w->counts[level] - at) * sizeof(w->files[0][0]));
    w->files[level][at] = file;
    w->counts[level]++;
}

static void insert_sorted(struct world *w, int level, struct table_file *file)
{
    size_t at = 0;

    while (at < w->counts[level] && slice_compare(w->files[level][at]->smallest, file->smallest) < 0)
        at++;
    insert_file(w, level, at, file);
}

static size_t gather(const struct compact_pick *pick, struct item **items)
{
    size_t count = 0, at = 0;

    for (size_t i = 0; i < pick->input_count; i++)
        count += sim_of(pick->inputs[i])->count;
    for (size_t i = 0; i < pick->overlap_count; i++)
        count += sim_of(pick->overlaps[i])->count;
    *items = mem_array(count, sizeof(**items));
    for (size_t i = 0; i < pick->input_count; i++) {
        memcpy(*items + at, sim_of(pick->inputs[i])->items, sim_of(pick->inputs[i])->count * sizeof(**items));
        at += sim_of(pick->inputs[i])->count;
    }
    for (size_t i = 0; i < pick->overlap_count; i++) {
        memcpy(*items + at, sim_of(pick->overlaps[i])->items,
               sim_of(pick->overlaps[i])->count * sizeof(**items));
        at += sim_of(pick->overlaps[i])->count;
    }
    qsort(*items, count, sizeof(**items), compare_items);
    return count;
}

/* The garbage rule without pins, or with all pinned. */
static size_t collect(const struct world *w, struct compact_pick *pick, struct item *items, size_t count)
{
    struct item newer = {0};
    size_t kept = 0;

    for (size_t i = 0; i < count && !w->pinned; i++) {
        bool shadowed = i > 0 && newer.key == items[i].key && newer.seq <= w->horizon;

        newer = items[i]; /* items[i - 1] may be overwritten by now */

        if (!shadowed && !(pick->bottommost && items[i].tombstone && items[i].seq <= w->horizon))
            items[kept++] = items[i];
    }
    return w->pinned ? count : kept;
}

static void install_outputs(struct world *w, const struct compact_pick *pick, size_t l0_at,
                            const struct item *items, size_t count)
{
    struct sim_file *last = NULL;

    for (size_t from = 0, to; from < count; from = to) {
        struct table_file *file;

        for (to = from + 1; to < count && (to - from < FLUSH_ENTRIES / 2 || items[to].key == items[to - 1].key);
             to++)
            continue;
        file = file_new(w, items + from, to - from);
        if (last && random_below(&w->random, 2)) { /* as after a range delete that was cut */
            memcpy(last->bounds[1], file->smallest.data, KEY_SIZE);
            last->file.largest_exclusive = true;
        }
        last = (struct sim_file *)file;
        if (pick->output_level == 0)
            insert_file(w, 0, l0_at++, file);
        else
            insert_sorted(w, pick->output_level, file);
    }
}

static void end(struct world *w, size_t index)
{
    struct compact_pick *pick = w->running[index];
    size_t l0_at = SIZE_MAX, count;
    struct item *items;

    set_busy(pick, false);
    for (size_t i = 0; i < pick->input_count; i++) {
        size_t at = remove_file(w, pick->input_level, pick->inputs[i]);

        l0_at = at < l0_at ? at : l0_at;
    }
    for (size_t i = 0; i < pick->overlap_count; i++)
        remove_file(w, pick->output_level, pick->overlaps[i]);
    if (pick->trivial_move) {
        w->moves++;
        insert_sorted(w, pick->output_level, pick->inputs[0]);
    } else if (pick->reason != COMPACT_REASON_DROP) {
        count = gather(pick, &items);
        install_outputs(w, pick, l0_at, items, collect(w, pick, items, count));
        mem_free(items);
    }
    w->running_count--;
    w->running[index] = w->running[w->running_count];
    if (!pick->trivial_move) {
        for (size_t i = 0; i < pick->input_count; i++)
            file_free(pick->inputs[i]);
        for (size_t i = 0; i < pick->overlap_count; i++)
            file_free(pick->overlaps[i]);
    }
    mem_free(w->copies[index]);
    w->copies[index] = w->copies[w->running_count];
    compact_pick_free(pick);
    check_levels(w);
    check_ages(w);
}

static void flush(struct world *w, bool ascending)
{
    struct item items[FLUSH_ENTRIES];
    size_t count = 0;
    uint32_t base = (uint32_t)(w->latest % KEY_SPACE);

    while (count < FLUSH_ENTRIES) {
        uint32_t key =
            ascending ? (base + (uint32_t)count) % KEY_SPACE : (uint32_t)random_below(&w->random, KEY_SPACE);

        items[count++] = (struct item){key, ++w->latest, random_below(&w->random, 4) == 0};
    }
    qsort(items, count, sizeof(items[0]), compare_items);
    insert_file(w, 0, 0, file_new(w, items, count));
}

static struct world *world_new(uint64_t seed)
{
    struct world *w = mem_zalloc(sizeof(*w));

    random_seed(&w->random, seed);
    w->next_number = 1;
    w->limit = UINT64_MAX;
    return w;
}

static void world_free(struct world *w)
{
    for (int level = 0; level < COMPACT_LEVELS; level++) {
        for (size_t i = 0; i < w->counts[level]; i++)
            file_free(w->files[level][i]);
    }
    mem_free(w);
}

static void settle_down(struct world *w)
{
    uint64_t jobs = w->jobs;

    while (begin_next(w) || w->running_count > 0) {
        if (w->running_count == RUNNING_MAX || random_below(&w->random, 2))
            end(w, random_below(&w->random, w->running_count));
        assert(w->jobs < jobs + 2000); /* it comes to rest */
    }
}

static void check_quiet(const struct world *w)
{
    struct compact_tree tree;
    struct compact_targets targets;
    struct table_file **copy = snapshot(w, &tree);

    compact_get_targets(&tree, &targets);
    assert(compact_l0_runs(&tree) < COMPACT_L0_TRIGGER);
    for (int level = 1; level < COMPACT_LAST_LEVEL; level++) {
        assert(level >= targets.base_level || w->counts[level] == 0);
        assert(level < targets.base_level || level_bytes(&tree.levels[level]) <= targets.bytes[level]);
    }
    assert(compact_debt(&tree) == 0);
    mem_free(copy);
}

/* What is left above something that it may hide is little. */
static void check_sunk(const struct world *w)
{
    size_t above = 0, total = 0;

    for (int level = 0; level < COMPACT_LEVELS; level++) {
        for (size_t i = 0; i < w->counts[level]; i++) {
            total += sim_of(w->files[level][i])->count;
            above += level > 0 && level < COMPACT_LAST_LEVEL ? sim_of(w->files[level][i])->count : 0;
        }
    }
    assert(above * 10 <= total);
}

static void test_life(uint64_t seed, bool ascending, bool pinned, int flushes)
{
    struct world *w = world_new(seed);

    w->pinned = pinned;
    for (int i = 0; i < flushes; i++) {
        flush(w, ascending);
        w->horizon = w->latest > 200 ? w->latest - 200 : 0;
        w->limit =
            random_below(&w->random, 4) ? UINT64_MAX : w->latest - random_below(&w->random, 2) * FLUSH_ENTRIES;
        if (w->running_count < RUNNING_MAX && random_below(&w->random, 3))
            begin_next(w);
        while (w->running_count > 0 && random_below(&w->random, 3) == 0)
            end(w, random_below(&w->random, w->running_count));
    }
    w->limit = UINT64_MAX;
    settle_down(w);
    check_quiet(w);
    /* Time passes, nothing is written: what expired goes, and then it is quiet again, pinned or not. */
    w->horizon = w->latest;
    settle_down(w);
    check_quiet(w);
    w->sink_time = UINT64_MAX;
    settle_down(w);
    check_quiet(w);
    check_sunk(w);
    w->rest_bytes = UINT64_MAX;
    settle_down(w);
    check_quiet(w);
    for (int level = 1; level < COMPACT_LEVELS && !pinned; level++) {
        for (size_t i = 0; i < w->counts[level]; i++) {
            struct compact_tree tree = {.horizon = w->horizon};

            assert(!compact_is_expired(&tree, w->files[level][i]));
        }
    }
    if (ascending)
        assert(w->moves > 0);
    world_free(w);
}

/* Everything, or a part, goes down to one level while flushes go on; then history and tombstones are gone. */
static void test_range(uint64_t seed, uint32_t from, uint32_t to)
{
    struct world *w = world_new(seed);
    unsigned char bounds[2][KEY_SIZE];
    struct compact_range range = {0};
    bool done = false;

    for (int i = 0; i < 150; i++) {
        flush(w, false);
        if (i % 4 == 0 && begin_next(w))
            end(w, 0);
    }
    w->horizon = w->latest;
    make_key(bounds[0], from);
    make_key(bounds[1], to);
    if (from < to)
        range = (struct compact_range){slice_make(bounds[0], KEY_SIZE), slice_make(bounds[1], KEY_SIZE)};
    range.seq_limit = w->latest;
    range.number_limit = w->next_number;
    for (int steps = 0; !done; steps++) {
        struct compact_tree tree;
        struct table_file **copy = snapshot(w, &tree);
        struct compact_pick *pick = NULL;

        assert(steps < 1000);
        assert(compact_pick_range(&tree, &range, &pick, &done) == HELIOS_OK);
        if (pick)
            begin(w, pick, copy);
        else
            mem_free(copy);
        assert(pick || done || w->running_count > 0);
        if (w->running_count == RUNNING_MAX || (w->running_count && (!pick || random_below(&w->random, 2))))
            end(w, random_below(&w->random, w->running_count));
        if (steps < 50 && random_below(&w->random, 4) == 0)
            flush(w, false);
    }
    assert(w->running_count == 0);
    for (int level = 0; level < COMPACT_LEVELS; level++) {
        for (size_t i = 0; i < w->counts[level]; i++) {
            const struct sim_file *f = sim_of(w->files[level][i]);

            for (size_t k = 0; k < f->count; k++) {
                bool asked = from >= to || (f->items[k].key >= from && f->items[k].key < to);

                assert(!asked || f->items[k].seq > range.seq_limit || level == COMPACT_LAST_LEVEL);
                assert(!asked || f->items[k].seq > range.seq_limit || !f->items[k].tombstone);
            }
        }
    }
    world_free(w);
}

static void test_targets(void)
{
    struct world *w = world_new(1);
    struct compact_tree tree = {.memtable_bytes = 64 << 20, .target_file_bytes = 32 << 20};
    struct compact_targets targets;
    struct item one = {1, 1, false};
    struct table_file *file = file_new(w, &one, 1);
    struct compact_level level = {&file, 1};

    compact_get_targets(&tree, &targets);
    assert(targets.base_level == COMPACT_LAST_LEVEL);
    tree.levels[COMPACT_LAST_LEVEL] = level;
    file->size = UINT64_C(100) << 30; /* 100 GiB, 10, 1, and then less than 256 MiB */
    compact_get_targets(&tree, &targets);
    assert(targets.base_level == 3 && targets.bytes[3] == 256 << 20);
    assert(targets.bytes[5] == file->size / 10 && targets.bytes[4] == file->size / 100);
    tree.levels[2] = level; /* a level that has files is not skipped */
    compact_get_targets(&tree, &targets);
    assert(targets.base_level == 2);
    file_free(file);
    world_free(w);
}

static bool is_branch_zero(void *arg, helios_branch_id branch)
{
    return branch == 0;
}

static void test_drop_and_split(void)
{
    struct world *w = world_new(3);
    struct compact_tree tree;
    struct table_file **copy;
    struct compact_pick *pick;
    helios_slice bounds[8];
    size_t parts;

    for (int i = 0; i < 60; i++) {
        flush(w, false);
        if (begin_next(w))
            end(w, 0);
    }
    copy = snapshot(w, &tree);
    assert(compact_pick(&tree, &pick) == HELIOS_OK);
    while (!pick) {
        mem_free(copy);
        flush(w, false);
        copy = snapshot(w, &tree);
        assert(compact_pick(&tree, &pick) == HELIOS_OK);
    }
    parts = compact_split(pick, 4, bounds);
    assert(parts <= 3 && compact_split(pick, 1, bounds) == 0);
    parts = compact_split(pick, 8, bounds);
    for (size_t i = 0; i < parts; i++)
        assert(slice_compare(i ? bounds[i - 1] : pick->from, bounds[i]) < 0 &&
               slice_compare(bounds[i], pick->to) <= 0);
    assert(parts > 0);
    compact_pick_free(pick);
    mem_fail_at(1, false);
    assert(compact_pick(&tree, &pick) == HELIOS_NO_MEMORY);
    mem_fail_at(0, false);
    mem_free(copy);
    while (w->running_count || w->counts[0] || w->counts[COMPACT_LAST_LEVEL]) {
        copy = snapshot(w, &tree);
        tree.branch_is_garbage = is_branch_zero;
        assert(compact_pick(&tree, &pick) == HELIOS_OK && pick->reason == COMPACT_REASON_DROP);
        begin(w, pick, copy);
        end(w, 0);
    }
    world_free(w);
}

/* A key whose versions lie in three neighbouring files takes all three along, from either side. */
static void test_split_key(void)
{
    static const struct item items[] = {
        {1, 90, false}, {2, 80, false}, {2, 70, false}, {2, 60, false},
        {2, 50, false}, {3, 40, false}, {9, 30, false},
    };
    struct compact_tree tree;
    struct world *w = world_new(5);
    struct table_file **copy;
    struct compact_pick *pick;

    insert_sorted(w, COMPACT_LAST_LEVEL - 1, file_new(w, items, 2));
    for (size_t i = 2; i < 6; i += 2)
        insert_file(w, COMPACT_LAST_LEVEL - 1, i / 2, file_new(w, items + i, 2));
    insert_file(w, COMPACT_LAST_LEVEL - 1, 3, file_new(w, items + 6, 1));
    insert_file(w, COMPACT_LAST_LEVEL, 0, file_new(w, &(struct item){2, 10, false}, 1));
    check_levels(w);
    for (size_t i = 0; i < 3; i++) {
        struct compact_range range = {w->files[COMPACT_LAST_LEVEL - 1][i]->smallest, {0}, 100, 100};
        bool done;

        copy = snapshot(w, &tree);
        range.to = w->files[COMPACT_LAST_LEVEL - 1][3]->smallest;
        tree.target_file_bytes = 1; /* no more than must be */
        assert(compact_pick_range(&tree, &range, &pick, &done) == HELIOS_OK && pick && !done);
        assert(pick->input_count == 3 && pick->overlap_count == 1 && pick->bottommost);
        check_pick(w, pick);
        compact_pick_free(pick);
        mem_free(copy);
    }
    world_free(w);
}

/* ---- what sinks ---- */

static struct table_file *add_file(struct world *w, int level, uint32_t from, uint32_t to, helios_seq seq)
{
    struct item items[KEY_SPACE];
    size_t count = 0;
    struct table_file *file;

    for (uint32_t key = from; key < to; key++)
        items[count++] = (struct item){key, seq, false};
    file = file_new(w, items, count);
    file->collected = 0;
    file->properties.time_max = seq * 1000;
    if (level == 0)
        insert_file(w, 0, 0, file);
    else
        insert_sorted(w, level, file);
    w->latest = seq > w->latest ? seq : w->latest;
    return file;
}

/* Jobs until it is quiet. */
static uint64_t jobs_to_rest(struct world *w)
{
    uint64_t before = w->jobs;

    settle_down(w);
    return w->jobs - before;
}

static void test_sinking(void)
{
    static const struct {
        const char *name;
        int level;
        uint32_t from, to; /* of the newer file; [100, 200) lie on the last level, at number 1 */
        helios_seq seq, horizon;
        uint64_t sink_time, range_deletes;
        bool pinned;
        uint64_t jobs;  /* until it is quiet */
        size_t entries; /* then */
    } cases[] = {
        {"a level at a time to the bottom", 4, 100, 150, 5, 5, 5000, 0, false, 2, 100},
        {"out of L0 by the base level", 0, 100, 150, 5, 5, 5000, 0, false, 2, 100},
        {"pinned versions go down once", 3, 100, 150, 5, 5, 5000, 0, true, 3, 150},
        {"within the retention", 4, 100, 150, 5, 4, 5000, 0, false, 0, 150},
        {"too young", 4, 100, 150, 5, 5, 4999, 0, false, 0, 150},
        {"nothing sinks", 4, 100, 150, 5, 5, 0, 0, false, 0, 150},
        {"nothing below", 4, 200, 250, 5, 5, 5000, 0, false, 0, 150},
        {"few over many", 4, 100, 103, 5, 5, 5000, 0, false, 0, 103},
        {"few, but a range delete", 4, 100, 103, 5, 5, 5000, 1, false, 2, 100},
        {"a range delete over its own file alone", 4, 200, 250, 5, 5, 5000, 1, false, 1, 150},
        {"the same in L0: moved first", 0, 200, 250, 5, 5, 5000, 1, false, 2, 150},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world *w = world_new(i + 1);
        struct table_file *newer;
        size_t entries = 0;
        uint64_t jobs;

        add_file(w, COMPACT_LAST_LEVEL, 100, 200, 1);
        newer = add_file(w, cases[i].level, cases[i].from, cases[i].to, cases[i].seq);
        newer->properties.range_deletes = cases[i].range_deletes;
        w->horizon = cases[i].horizon;
        w->sink_time = cases[i].sink_time;
        w->pinned = cases[i].pinned;
        jobs = jobs_to_rest(w);
        for (int level = 0; level < COMPACT_LEVELS; level++)
            for (size_t k = 0; k < w->counts[level]; k++)
                entries += sim_of(w->files[level][k])->count;
        if (jobs != cases[i].jobs || entries != cases[i].entries)
            fprintf(stderr, "%s: %d jobs, %zu entries\n", cases[i].name, (int)jobs, entries);
        assert(jobs == cases[i].jobs && entries == cases[i].entries);
        world_free(w);
    }
}

/* What goes down at rest, and how much it takes along. */
static void test_rest(void)
{
    static const struct {
        const char *name;
        int level;
        uint32_t from, to; /* of the upper file; [100, 180) lie on the last level, the base */
        uint64_t rest_bytes;
        uint64_t jobs, moves; /* until it is quiet */
    } cases[] = {
        {"not at rest", 0, 100, 140, 0, 0, 0},
        {"a half of what is below", 0, 100, 140, UINT64_MAX, 1, 0},
        {"a quarter", 0, 100, 120, UINT64_MAX, 1, 0},
        {"less than a quarter", 0, 100, 119, UINT64_MAX, 0, 0},
        {"larger than allowed", 0, 100, 140, 120 * ENTRY_BYTES - 1, 0, 0},
        {"as large as allowed", 0, 100, 140, 120 * ENTRY_BYTES, 1, 0},
        {"beside what is below: moved", 0, 300, 310, UINT64_MAX, 1, 1},
        {"a level", 5, 100, 140, UINT64_MAX, 1, 0},
        {"a level of too little", 5, 100, 119, UINT64_MAX, 0, 0},
        {"through an empty level", 4, 100, 140, UINT64_MAX, 2, 1},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world *w = world_new(i + 1);
        uint64_t jobs;

        add_file(w, COMPACT_LAST_LEVEL, 100, 180, 1);
        add_file(w, cases[i].level, cases[i].from, cases[i].to, 5);
        w->pinned = true;
        jobs = jobs_to_rest(w);
        assert(jobs == 0);
        w->rest_bytes = cases[i].rest_bytes;
        jobs = jobs_to_rest(w);
        if (jobs != cases[i].jobs || w->moves != cases[i].moves)
            fprintf(stderr, "%s: %d jobs, %d moves\n", cases[i].name, (int)jobs, (int)w->moves);
        assert(jobs == cases[i].jobs && w->moves == cases[i].moves);
        assert(jobs == 0 || w->counts[cases[i].level] == 0);
        assert(jobs_to_rest(w) == 0); /* never twice */
        world_free(w);
    }
}

/* Not while others run, nor what is busy. */
static void test_rest_beside_others(void)
{
    struct world *w = world_new(1);
    struct compact_tree tree;
    struct table_file **copy, *file;
    struct compact_pick *pick;

    add_file(w, COMPACT_LAST_LEVEL, 100, 180, 1);
    file = add_file(w, 0, 100, 180, 5);
    w->rest_bytes = UINT64_MAX;
    file->busy = true;
    assert(!begin_next(w));
    file->busy = false;
    assert(begin_next(w) && w->running[0]->reason == COMPACT_REASON_REST);
    add_file(w, 4, 500, 550, 6);
    copy = snapshot(w, &tree);
    assert(compact_pick(&tree, &pick) == HELIOS_OK && !pick);
    mem_free(copy);
    settle_down(w);
    assert(w->counts[0] == 0 && w->counts[4] == 0);
    world_free(w);
}

/* A file of keys that go by their age: looked at once half of it may go, and not again at the same point. */
static void test_aged(void)
{
    static const struct {
        uint32_t from, to; /* keys of the file, numbers 1 to 100; those in [1000, 1100) age */
        helios_seq below, collected;
        uint64_t jobs;
    } cases[] = {
        {1000, 1100, 51, 0, 1},   {1000, 1100, 200, 0, 1}, {1000, 1100, 49, 0, 0}, {1000, 1100, 0, 0, 0},
        {1000, 1100, 51, 100, 0}, {999, 1099, 51, 0, 0},   {1001, 1101, 51, 0, 0}, {100, 200, 51, 0, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world *w = world_new(i + 1);
        unsigned char bounds[2][KEY_SIZE];
        struct table_file *file = add_file(w, COMPACT_LAST_LEVEL, cases[i].from, cases[i].to, 1);

        make_key(bounds[0], 1000);
        make_key(bounds[1], 1100);
        w->aged = (struct garbage_aged){slice_make(bounds[0], KEY_SIZE), slice_make(bounds[1], KEY_SIZE),
                                        cases[i].below};
        file->properties.seq_max = 100;
        file->collected = cases[i].collected;
        w->horizon = 200;
        assert(jobs_to_rest(w) == cases[i].jobs);
        world_free(w);
    }
}

int main(void)
{
    test_aged();
    test_sinking();
    test_rest();
    test_rest_beside_others();
    test_targets();
    test_split_key();
    test_drop_and_split();
    for (uint64_t seed = 1; seed <= 3; seed++) {
        test_life(seed, false, false, 200);
        test_life(seed, true, false, 200);
        test_life(seed, false, true, 100);
        test_range(seed, 0, 0);
        test_range(seed, 500, 900);
    }
    return 0;
}
