/* shape.c - what can be said of the tree by looking at bounds, sizes and counts: overlaps, targets, debt.
 * Called by the pickers in pick.c; targets, debt and runs by engine/ too. */
#include "compaction/pick_internal.h"
#include "base/mem.h"
#include <assert.h>
#include <stdlib.h>

/* ---- spans and runs ---- */

struct span span_of(const struct table_file *file)
{
    return (struct span){file->smallest, file->largest, file->largest_exclusive};
}

void span_add(struct span *span, const struct table_file *file)
{
    int order = slice_compare(file->largest, span->to);

    if (slice_compare(file->smallest, span->from) < 0)
        span->from = file->smallest;
    if (order > 0 || (order == 0 && span->exclusive)) {
        span->to = file->largest;
        span->exclusive = file->largest_exclusive;
    }
}

struct span span_of_files(struct table_file *const *files, size_t count)
{
    struct span span = span_of(files[0]);

    for (size_t i = 1; i < count; i++)
        span_add(&span, files[i]);
    return span;
}

static bool ends_before(const struct span *span, helios_slice key)
{
    int order = span->to.data && key.data ? slice_compare(span->to, key) : 1;

    return order < 0 || (order == 0 && span->exclusive);
}

bool span_overlaps(const struct span *a, const struct span *b)
{
    return !ends_before(a, b->from) && !ends_before(b, a->from);
}

bool file_overlaps(const struct table_file *file, const struct span *span)
{
    struct span own = span_of(file);

    return span_overlaps(&own, span);
}

struct run level_overlaps(const struct compact_level *level, const struct span *span)
{
    size_t from = 0, to = level->count;
    struct run run;

    while (from < to) {
        size_t middle = from + (to - from) / 2;
        struct span own = span_of(level->files[middle]);

        if (ends_before(&own, span->from))
            from = middle + 1;
        else
            to = middle;
    }
    run.first = from;
    to = level->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (ends_before(span, level->files[middle]->smallest))
            to = middle;
        else
            from = middle + 1;
    }
    run.end = from;
    return run;
}

struct run level_widened(const struct compact_level *level, struct run run)
{
    while (run.first < run.end) {
        struct span span = span_of_files(level->files + run.first, run.end - run.first);
        struct run wider = level_overlaps(level, &span);

        if (wider.first == run.first && wider.end == run.end)
            break;
        run = wider;
    }
    return run;
}

bool run_is_busy(const struct compact_level *level, struct run run)
{
    for (size_t i = run.first; i < run.end; i++) {
        if (level->files[i]->busy)
            return true;
    }
    return false;
}

uint64_t run_bytes(const struct compact_level *level, struct run run)
{
    uint64_t bytes = 0;

    for (size_t i = run.first; i < run.end; i++)
        bytes += level->files[i]->size;
    return bytes;
}

uint64_t level_bytes(const struct compact_level *level)
{
    return run_bytes(level, (struct run){0, level->count});
}

helios_seq file_seq_max(const struct table_file *file)
{
    return file->override_seq ? file->override_seq : file->properties.seq_max;
}

helios_seq file_seq_min(const struct table_file *file)
{
    return file->override_seq ? file->override_seq : file->properties.seq_min;
}

/* ---- L0 ---- */

size_t compact_l0_begin(const struct compact_tree *tree)
{
    const struct compact_level *l0 = &tree->levels[0];
    size_t begin = l0->count;

    /* From the oldest on: nothing older than a file that stays may be newer than what goes. */
    while (begin > 0 && file_seq_max(l0->files[begin - 1]) <= tree->limit_seq)
        begin--;
    return begin;
}

/* Tables of one flush, ingest or merge have numbers from one range; those of others do not mix with it. */
size_t compact_l0_run_end(const struct compact_tree *tree, size_t first)
{
    const struct compact_level *l0 = &tree->levels[0];
    helios_seq oldest = file_seq_min(l0->files[first]);
    size_t end = first + 1;

    while (end < l0->count && file_seq_max(l0->files[end]) >= oldest) {
        if (file_seq_min(l0->files[end]) < oldest)
            oldest = file_seq_min(l0->files[end]);
        end++;
    }
    return end;
}

size_t compact_l0_runs(const struct compact_tree *tree)
{
    size_t runs = 0;

    for (size_t at = 0; at < tree->levels[0].count; at = compact_l0_run_end(tree, at))
        runs++;
    return runs;
}

/* ---- targets and debt ---- */

static int first_filled_level(const struct compact_tree *tree)
{
    int level = 1;

    while (level < COMPACT_LAST_LEVEL && tree->levels[level].count == 0)
        level++;
    return level;
}

void compact_get_targets(const struct compact_tree *tree, struct compact_targets *targets)
{
    uint64_t base_max = tree->memtable_bytes * 4, size = 0;
    int level = COMPACT_LAST_LEVEL, first = first_filled_level(tree);

    *targets = (struct compact_targets){0};
    for (int i = 1; i < COMPACT_LEVELS; i++) {
        uint64_t bytes = level_bytes(&tree->levels[i]);

        size = bytes > size ? bytes : size;
    }
    /* Up from the last level while the one above is still worth having, or has files already. */
    targets->bytes[level] = size > base_max ? size : base_max;
    while (level > 1 && (level > first || size > base_max)) {
        size /= COMPACT_MULTIPLIER;
        level--;
        targets->bytes[level] = size;
    }
    targets->base_level = level;
    /* L0 brings about base_max at once: no level below it may have a smaller target, and the base level
     * need not be larger. */
    for (int i = level; i < COMPACT_LAST_LEVEL; i++) {
        if (targets->bytes[i] < base_max)
            targets->bytes[i] = base_max;
    }
}

uint64_t compact_debt(const struct compact_tree *tree)
{
    struct compact_targets targets;
    uint64_t debt = 0, incoming = 0, bytes[COMPACT_LEVELS];

    compact_get_targets(tree, &targets);
    for (int i = 0; i < COMPACT_LEVELS; i++)
        bytes[i] = level_bytes(&tree->levels[i]);
    if (compact_l0_runs(tree) >= COMPACT_L0_TRIGGER) {
        incoming = bytes[0];
        debt = bytes[0] + (bytes[targets.base_level] < bytes[0] * 4 ? bytes[targets.base_level] : bytes[0] * 4);
    }
    /* What is above the target goes down, and rewrites what it meets there. */
    for (int i = targets.base_level; i < COMPACT_LAST_LEVEL; i++) {
        uint64_t size = bytes[i] + incoming;

        if (size <= targets.bytes[i])
            break;
        incoming = size - targets.bytes[i];
        debt += incoming + (uint64_t)((double)incoming * ((double)bytes[i + 1] / (double)size));
    }
    return debt;
}

/* ---- garbage by counts ---- */

enum {
    TOMBSTONES_PERCENT = 30,
    EXPIRED_PERCENT = 33,       /* while more will expire later */
    EXPIRED_PERCENT_FINAL = 10, /* all numbers of the file are behind the horizon: the last chance */
    DROPPED_PERCENT = 10,
};

/* The part of (from, to] that the horizon has passed since the file was written, 0 to 1. A file that was
 * written at this horizon already gives 0: what it still has is pinned. So a file is rewritten for its
 * garbage a few times at most, whatever the pins. */
static double passed(const struct compact_tree *tree, const struct table_file *file, helios_seq from,
                     helios_seq to)
{
    if (file->collected > from)
        from = file->collected;
    if (to <= from || tree->horizon <= from)
        return 0;
    return tree->horizon >= to ? 1 : (double)(tree->horizon - from) / (double)(to - from);
}

bool compact_is_expired(const struct compact_tree *tree, const struct table_file *file)
{
    const struct table_properties *p = &file->properties;
    double part, shadowed;

    if (p->shadow_min == 0 || p->shadow_min > tree->horizon || p->entries <= p->keys)
        return false;
    part = passed(tree, file, p->shadow_min - 1, file_seq_max(file));
    shadowed = part * (double)(p->entries - p->keys) * 100;
    return shadowed > 0 &&
           shadowed >= (double)p->entries * (part == 1 ? EXPIRED_PERCENT_FINAL : EXPIRED_PERCENT);
}

bool compact_has_tombstones(const struct compact_tree *tree, const struct table_file *file)
{
    const struct table_properties *p = &file->properties;
    uint64_t tombstones = p->tombstones + p->range_deletes;

    if (tombstones == 0 || tombstones * 100 < p->entries * TOMBSTONES_PERCENT)
        return false;
    return passed(tree, file, file_seq_min(file) - 1, file_seq_max(file)) >= 0.5;
}

bool compact_has_aged(const struct compact_tree *tree, const struct table_file *file)
{
    const struct garbage_aged *aged = &tree->aged;
    helios_seq first = file_seq_min(file), last = file_seq_max(file);
    const struct span own = span_of(file);

    return aged->below > first && file->collected < aged->below && aged->below - first >= (last - first) / 2 &&
           slice_compare(file->smallest, aged->from) >= 0 && ends_before(&own, aged->to);
}

bool compact_may_hide(const struct compact_tree *tree, const struct table_file *file)
{
    return file->properties.range_deletes &&
           passed(tree, file, file_seq_min(file) - 1, file_seq_max(file)) == 1;
}

/* ---- branches ---- */

void compact_branches_of(const struct table_file *file, helios_branch_id *first, helios_branch_id *last)
{
    helios_slice end = file->largest;

    *first = key_branch(file->smallest);
    *last = key_branch(end);
    if (file->largest_exclusive && *last > *first && end.size == KEY_LAYER_BYTES && key_space_of(end) == 0)
        --*last; /* the range delete ends with the branch before */
}

bool compact_may_have_dropped(const struct compact_tree *tree, const struct table_file *file)
{
    helios_branch_id id, last;

    if (!tree->branch_is_garbage || file->drops_seen >= tree->drops)
        return false;
    compact_branches_of(file, &id, &last);
    while (id < last && !tree->branch_is_garbage(tree->branch_is_garbage_arg, id))
        id++;
    return tree->branch_is_garbage(tree->branch_is_garbage_arg, id);
}

bool compact_has_dropped(const struct compact_tree *tree, const struct table_file *file)
{
    uint64_t bytes = atomic_load_explicit(&file->dropped_bytes, memory_order_relaxed);

    return bytes > 0 && file->drops_seen < tree->drops && bytes >= file->size / 100 * DROPPED_PERCENT;
}

/* ---- what is outside ---- */

bool compact_may_hold_older(void *arg, helios_slice from, helios_slice to, bool inclusive)
{
    const struct compact_pick *pick = arg;
    struct span span = {from, to, !inclusive};

    for (size_t i = 0; i < pick->older_l0_count; i++) {
        if (file_overlaps(pick->older_l0[i], &span))
            return true;
    }
    for (int i = pick->output_level + 1; i < COMPACT_LEVELS; i++) {
        struct run run = level_overlaps(&pick->deeper[i], &span);

        if (run.first < run.end)
            return true;
    }
    return false;
}

/* ---- sub-compactions ---- */

static int compare_starts(const void *a, const void *b)
{
    return slice_compare((*(struct table_file *const *)a)->smallest,
                         (*(struct table_file *const *)b)->smallest);
}

size_t compact_split(const struct compact_pick *pick, size_t parts, helios_slice *bounds)
{
    size_t count = pick->input_count + pick->overlap_count, found = 0;
    uint64_t before = 0;
    struct table_file **files = parts > 1 ? mem_array(count, sizeof(*files)) : NULL;

    if (!files)
        return 0; /* one part is always right */
    for (size_t i = 0; i < count; i++)
        files[i] = i < pick->input_count ? pick->inputs[i] : pick->overlaps[i - pick->input_count];
    qsort(files, count, sizeof(*files), compare_starts);
    for (size_t i = 0; i < count && found < parts - 1; i++) {
        helios_slice last = found ? bounds[found - 1] : pick->from;

        if (before * parts >= pick->bytes * (found + 1) && slice_compare(files[i]->smallest, last) > 0)
            bounds[found++] = files[i]->smallest;
        before += files[i]->size;
    }
    mem_free(files);
    return found;
}
