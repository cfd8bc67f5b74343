/* pick.c - what to compact next. Called by engine/ whenever a job ended or a file came.
 *
 * A choice begins with files of one level and becomes a pick once its hull is known: all files of both
 * levels that overlap it are inputs, none may be busy, and nothing that runs may be writing there. So the
 * outputs have the place to themselves, gaps between the inputs included. */
#include "compaction/pick_internal.h"
#include "base/mem.h"
#include <assert.h>
#include <string.h>

enum {
    GRANDPARENT_FILES = 25, /* target files an output, or a moved file, may overlap two levels down */
    EXPAND_FILES = 25,      /* target files up to which inputs grow that bring in no further overlaps */
    RANGE_FILES = 16,       /* target files' worth of input in a step of a manual compaction */
    SINK_ENTRIES = 25,      /* entries below, for each of a file that sinks */
    REST_BELOW = 4,         /* bytes below that a byte may take along when it goes down at rest */
};

/* A pick in the making; becomes a struct compact_pick by publish(). */
struct choice {
    const struct compact_tree *tree;
    enum compact_reason reason;
    int input_level, output_level;
    struct run inputs;      /* of input_level >= 1; of L0 if whole */
    struct table_file **l0; /* chosen files of L0, newest first; NULL: the run in `inputs` */
    size_t l0_count;
    struct run overlaps; /* of output_level */
    struct span span;    /* hull of all */
    size_t older_l0;     /* L0 files from here on are older and stay */
};

const char *compact_reason_name(enum compact_reason reason)
{
    static const char *const names[] = {
        [COMPACT_REASON_NONE] = "none",       [COMPACT_REASON_DROP] = "drop",
        [COMPACT_REASON_L0] = "l0",           [COMPACT_REASON_INTRA_L0] = "intra-l0",
        [COMPACT_REASON_SIZE] = "size",       [COMPACT_REASON_TOMBSTONES] = "tombstones",
        [COMPACT_REASON_EXPIRED] = "expired", [COMPACT_REASON_BRANCHES] = "branches",
        [COMPACT_REASON_REST] = "rest",       [COMPACT_REASON_MANUAL] = "manual",
    };

    return names[reason];
}

/* ---- from a choice to a pick ---- */

static bool meets_running(const struct choice *c)
{
    for (size_t i = 0; i < c->tree->running_count; i++) {
        const struct compact_pick *running = c->tree->running[i];
        struct span span = {running->from, running->to, running->to_exclusive};

        if (running->output_level == c->output_level && running->output_level > 0 &&
            span_overlaps(&span, &c->span))
            return true;
    }
    return false;
}

static const struct compact_level *input_level(const struct choice *c)
{
    return &c->tree->levels[c->input_level];
}

static const struct compact_level *output_level(const struct choice *c)
{
    return &c->tree->levels[c->output_level];
}

static struct table_file *const *chosen_files(const struct choice *c, size_t *count)
{
    *count = c->l0 ? c->l0_count : c->inputs.end - c->inputs.first;
    return c->l0 ? c->l0 : input_level(c)->files + c->inputs.first;
}

static uint64_t chosen_bytes(const struct choice *c)
{
    size_t count;
    struct table_file *const *files = chosen_files(c, &count);
    uint64_t bytes = run_bytes(output_level(c), c->overlaps);

    for (size_t i = 0; i < count; i++)
        bytes += files[i]->size;
    return bytes;
}

/* At rest nothing has to go down: what does may cost little. */
static bool is_cheap_enough(const struct choice *c)
{
    uint64_t bytes = chosen_bytes(c), below = run_bytes(output_level(c), c->overlaps);

    return bytes <= c->tree->rest_bytes && below <= (bytes - below) * REST_BELOW;
}

/* A level without files has no array to stand in. */
static struct table_file *const *files_from(const struct compact_level *level, size_t first)
{
    return level->files ? level->files + first : NULL;
}

static void set_deeper(struct compact_pick *pick, const struct choice *c)
{
    for (int i = c->output_level + 1; i < COMPACT_LEVELS; i++)
        pick->deeper[i] = c->tree->levels[i];
    pick->older_l0 = files_from(&c->tree->levels[0], c->older_l0);
    pick->older_l0_count = c->tree->levels[0].count - c->older_l0;
    pick->bottommost = !compact_may_hold_older(pick, pick->from, pick->to, !pick->to_exclusive);
}

static void set_grandparents(struct compact_pick *pick, const struct choice *c)
{
    const struct compact_level *level;
    struct run run;

    pick->grandparent_bytes_max = c->tree->target_file_bytes * GRANDPARENT_FILES;
    if (c->output_level == 0 || c->output_level == COMPACT_LAST_LEVEL)
        return;
    level = &c->tree->levels[c->output_level + 1];
    run = level_overlaps(level, &c->span);
    pick->grandparents = files_from(level, run.first);
    pick->grandparent_count = run.end - run.first;
    if (pick->trivial_move && run_bytes(level, run) > pick->grandparent_bytes_max)
        pick->trivial_move = false;
}

static helios_status publish(const struct choice *c, struct compact_pick **pick_out)
{
    size_t count;
    struct table_file *const *files = chosen_files(c, &count);
    size_t bytes = sizeof(struct compact_pick) + count * sizeof(*files);
    struct compact_pick *pick = mem_zalloc(bytes);

    if (!pick)
        return fail_no_memory(bytes);
    pick->reason = c->reason;
    pick->input_level = c->input_level;
    pick->output_level = c->output_level;
    pick->inputs = (struct table_file **)(pick + 1);
    pick->input_count = count;
    memcpy(pick->inputs, files, count * sizeof(*files));
    pick->overlaps = files_from(output_level(c), c->overlaps.first);
    pick->overlap_count = c->overlaps.end - c->overlaps.first;
    pick->bytes = chosen_bytes(c);
    pick->from = c->span.from;
    pick->to = c->span.to;
    pick->to_exclusive = c->span.exclusive;
    pick->trivial_move = c->input_level != c->output_level && count == 1 && pick->overlap_count == 0;
    set_deeper(pick, c);
    set_grandparents(pick, c);
    *pick_out = pick;
    return HELIOS_OK;
}

void compact_pick_free(struct compact_pick *pick)
{
    mem_free(pick);
}

/* ---- levels from 1 on ---- */

/* Inputs from one level into the next, or in place. False: something in the way is busy. */
static bool settle(struct choice *c)
{
    const struct compact_level *in = input_level(c), *out = output_level(c);
    struct run files;

    c->inputs = level_widened(in, c->inputs);
    files = c->inputs;
    c->span = span_of_files(in->files + files.first, files.end - files.first);
    c->overlaps = (struct run){0, 0};
    if (c->input_level != c->output_level) {
        c->overlaps = level_widened(out, level_overlaps(out, &c->span));
        for (size_t i = c->overlaps.first; i < c->overlaps.end; i++)
            span_add(&c->span, out->files[i]);
    }
    c->older_l0 = c->tree->levels[0].count;
    return !run_is_busy(in, c->inputs) && !run_is_busy(out, c->overlaps) && !meets_running(c);
}

/* More files of the input level that fall into what is rewritten anyway. */
static void expand(struct choice *c)
{
    struct choice more = *c;

    if (c->overlaps.first == c->overlaps.end)
        return;
    more.inputs = level_overlaps(input_level(c), &c->span);
    if (!settle(&more) || more.overlaps.first != c->overlaps.first || more.overlaps.end != c->overlaps.end)
        return;
    if (chosen_bytes(&more) <= c->tree->target_file_bytes * EXPAND_FILES)
        *c = more;
}

static bool choose_file(const struct compact_tree *tree, int level, size_t index, int to,
                        enum compact_reason reason, struct choice *c)
{
    *c = (struct choice){
        .tree = tree,
        .reason = reason,
        .input_level = level,
        .output_level = to,
        .inputs = {index, index + 1},
    };
    return settle(c);
}

/* The file whose move down rewrites least beside itself. One walk over both levels. */
static bool choose_cheapest(const struct compact_tree *tree, int level, struct choice *best)
{
    const struct compact_level *in = &tree->levels[level], *out = &tree->levels[level + 1];
    double least = 0;
    bool found = false;

    for (size_t i = 0; i < in->count; i++) {
        struct choice c;
        struct span span = span_of(in->files[i]);
        double ratio;

        if (in->files[i]->busy)
            continue;
        ratio = (double)run_bytes(out, level_overlaps(out, &span)) / ((double)in->files[i]->size + 1);
        if ((found && ratio >= least) || !choose_file(tree, level, i, level + 1, COMPACT_REASON_SIZE, &c))
            continue;
        least = ratio;
        *best = c;
        found = true;
    }
    if (found)
        expand(best);
    return found;
}

/* ---- L0 ---- */

static bool l0_is_busy(const struct compact_tree *tree)
{
    const struct compact_level *l0 = &tree->levels[0];

    return run_is_busy(l0, (struct run){compact_l0_begin(tree), l0->count});
}

/* Marks what hangs together with the marked files by overlaps; the hull grows with it. */
static void mark_connected(const struct compact_tree *tree, bool *marks, struct span *span)
{
    const struct compact_level *l0 = &tree->levels[0];
    bool grown = true;

    while (grown) {
        grown = false;
        for (size_t i = compact_l0_begin(tree); i < l0->count; i++) {
            if (marks[i] || !file_overlaps(l0->files[i], span))
                continue;
            marks[i] = grown = true;
            span_add(span, l0->files[i]);
        }
    }
}

static void take_marked(struct choice *c, const bool *marks)
{
    const struct compact_level *l0 = &c->tree->levels[0];

    for (size_t i = 0; i < l0->count; i++) {
        if (marks[i])
            c->l0[c->l0_count++] = l0->files[i];
    }
}

/* The L0 file `seed` and all that hang together with it, into the base level. *pick stays NULL if something
 * in the way is busy. Two jobs from L0 never run at once: their outputs could meet. */
static helios_status pick_from_l0(const struct compact_tree *tree, size_t seed, enum compact_reason reason,
                                  struct compact_pick **pick)
{
    const struct compact_level *l0 = &tree->levels[0], *base;
    struct compact_targets targets;
    struct choice c = {.tree = tree, .reason = reason, .older_l0 = l0->count};
    helios_status status = HELIOS_OK;
    bool *marks;

    if (l0_is_busy(tree))
        return HELIOS_OK;
    compact_get_targets(tree, &targets);
    c.output_level = targets.base_level;
    base = &tree->levels[targets.base_level];
    marks = mem_array(l0->count, sizeof(*marks));
    c.l0 = mem_array(l0->count, sizeof(*c.l0));
    if (!marks || !c.l0) {
        status = fail_no_memory(l0->count * (sizeof(*marks) + sizeof(*c.l0)));
        goto out;
    }
    marks[seed] = true;
    c.span = span_of(l0->files[seed]);
    mark_connected(tree, marks, &c.span);
    take_marked(&c, marks);
    c.overlaps = level_widened(base, level_overlaps(base, &c.span));
    for (size_t i = c.overlaps.first; i < c.overlaps.end; i++)
        span_add(&c.span, base->files[i]);
    if (!run_is_busy(base, c.overlaps) && !meets_running(&c) &&
        (reason != COMPACT_REASON_REST || is_cheap_enough(&c)))
        status = publish(&c, pick);
out:
    mem_free(marks);
    mem_free(c.l0);
    return status;
}

/* The newest runs of L0 into one, as long as each further one makes the merge cheaper per run saved: what
 * was merged before is large and is left alone. Stays a run of L0 between its neighbours. */
static helios_status pick_intra_l0(const struct compact_tree *tree, struct compact_pick **pick)
{
    const struct compact_level *l0 = &tree->levels[0];
    size_t begin = compact_l0_begin(tree), end = begin, runs = 0;
    uint64_t bytes = 0, each = UINT64_MAX;
    struct choice c = {.tree = tree, .reason = COMPACT_REASON_INTRA_L0};

    /* Never a part of a run: the rest of it may stay above the limit. */
    if (begin > 0 && begin < l0->count && compact_l0_run_end(tree, begin - 1) != begin)
        begin = end = compact_l0_run_end(tree, begin - 1);
    while (end < l0->count) {
        struct run run = {end, compact_l0_run_end(tree, end)};
        uint64_t more = bytes + run_bytes(l0, run);

        if (run_is_busy(l0, run) || (runs > 0 && more / runs > each))
            break;
        each = runs > 0 ? more / runs : UINT64_MAX;
        bytes = more;
        end = run.end;
        runs++;
    }
    if (runs < COMPACT_L0_TRIGGER)
        return HELIOS_OK;
    c.inputs = (struct run){begin, end};
    c.older_l0 = end;
    c.span = span_of_files(l0->files + begin, end - begin);
    return publish(&c, pick);
}

static helios_status pick_l0(const struct compact_tree *tree, struct compact_pick **pick)
{
    /* The oldest first: what is under it in age is done with. */
    helios_status status = pick_from_l0(tree, tree->levels[0].count - 1, COMPACT_REASON_L0, pick);

    if (status != HELIOS_OK || *pick || compact_l0_runs(tree) < COMPACT_L0_TRIGGER + 2)
        return status;
    return pick_intra_l0(tree, pick);
}

/* ---- the order of urgency ---- */

/* How far above its target: 1 is due. Files that are on their way already do not count. */
static double level_score(const struct compact_tree *tree, const struct compact_targets *targets, int level)
{
    const struct compact_level *l = &tree->levels[level];
    uint64_t bytes = 0;

    if (level == 0) {
        bool any = compact_l0_begin(tree) < l->count;

        return any ? (double)compact_l0_runs(tree) / COMPACT_L0_TRIGGER : 0;
    }
    if (level < targets->base_level || level == COMPACT_LAST_LEVEL)
        return 0;
    for (size_t i = 0; i < l->count; i++)
        bytes += l->files[i]->busy ? 0 : l->files[i]->size;
    return bytes > targets->bytes[level] ? (double)bytes / (double)targets->bytes[level] : 0;
}

static helios_status pick_by_score(const struct compact_tree *tree, struct compact_pick **pick)
{
    struct compact_targets targets;
    double scores[COMPACT_LEVELS];

    compact_get_targets(tree, &targets);
    for (int i = 0; i < COMPACT_LEVELS; i++)
        scores[i] = level_score(tree, &targets, i);
    for (;;) {
        struct choice c;
        int level = 0;
        helios_status status = HELIOS_OK;

        for (int i = 1; i < COMPACT_LEVELS; i++)
            level = scores[i] > scores[level] ? i : level;
        if (scores[level] < 1)
            return HELIOS_OK;
        if (level == 0)
            status = pick_l0(tree, pick);
        else if (choose_cheapest(tree, level, &c))
            status = publish(&c, pick);
        if (status != HELIOS_OK || *pick)
            return status;
        scores[level] = 0; /* all busy */
    }
}

/* Are all branches that the file's bounds touch garbage? */
static bool is_garbage(const struct compact_tree *tree, const struct table_file *file)
{
    helios_branch_id id, last;

    compact_branches_of(file, &id, &last);
    while (id < last && tree->branch_is_garbage(tree->branch_is_garbage_arg, id))
        id++;
    return tree->branch_is_garbage(tree->branch_is_garbage_arg, id);
}

static helios_status pick_drop(const struct compact_tree *tree, struct compact_pick **pick)
{
    for (int level = 0; tree->branch_is_garbage && level < COMPACT_LEVELS; level++) {
        const struct compact_level *l = &tree->levels[level];

        for (size_t i = level ? 0 : compact_l0_begin(tree); i < l->count; i++) {
            struct choice c = {
                .tree = tree,
                .reason = COMPACT_REASON_DROP,
                .input_level = level,
                .output_level = level,
                .inputs = {i, i + 1},
                .older_l0 = tree->levels[0].count,
                .span = span_of(l->files[i]),
            };

            if (!l->files[i]->busy && is_garbage(tree, l->files[i]))
                return publish(&c, pick);
        }
    }
    return HELIOS_OK;
}

/* Shadowed versions go wherever their file lies; a tombstone only where nothing is below it. */
static bool choose_for_garbage(const struct compact_tree *tree, int level, size_t index, struct choice *c)
{
    const struct table_file *file = tree->levels[level].files[index];
    struct span span = span_of(file);

    if (file->busy)
        return false;
    if (compact_is_expired(tree, file) || compact_has_aged(tree, file))
        return choose_file(tree, level, index, level, COMPACT_REASON_EXPIRED, c);
    if (compact_has_dropped(tree, file))
        return choose_file(tree, level, index, level, COMPACT_REASON_BRANCHES, c);
    if (!compact_has_tombstones(tree, file))
        return false;
    for (int below = level + 1; below < COMPACT_LEVELS; below++) {
        struct run run = level_overlaps(&tree->levels[below], &span);

        if (run.first < run.end)
            return choose_file(tree, level, index, level + 1, COMPACT_REASON_TOMBSTONES, c);
    }
    return choose_file(tree, level, index, level, COMPACT_REASON_TOMBSTONES, c);
}

static enum compact_reason l0_garbage(const struct compact_tree *tree, const struct table_file *file)
{
    if (compact_is_expired(tree, file))
        return COMPACT_REASON_EXPIRED;
    if (compact_has_dropped(tree, file))
        return COMPACT_REASON_BRANCHES;
    return compact_has_tombstones(tree, file) ? COMPACT_REASON_TOMBSTONES : COMPACT_REASON_NONE;
}

static helios_status pick_garbage(const struct compact_tree *tree, struct compact_pick **pick)
{
    const struct compact_level *l0 = &tree->levels[0];

    for (size_t i = l0->count; i > compact_l0_begin(tree); i--) {
        enum compact_reason reason = l0_garbage(tree, l0->files[i - 1]);
        helios_status status;

        if (reason == COMPACT_REASON_NONE)
            continue;
        status = pick_from_l0(tree, i - 1, reason, pick);
        if (status != HELIOS_OK || *pick)
            return status;
        break; /* L0 is busy */
    }
    for (int level = COMPACT_LAST_LEVEL; level > 0; level--) {
        for (size_t i = 0; i < tree->levels[level].count; i++) {
            struct choice c;

            if (choose_for_garbage(tree, level, i, &c))
                return publish(&c, pick);
        }
    }
    return HELIOS_OK;
}

/* ---- what sinks ---- */

static bool has_left_retention(const struct compact_tree *tree, const struct table_file *file)
{
    return tree->sink_time > 0 && file_seq_max(file) <= tree->horizon &&
           file->properties.time_max <= tree->sink_time;
}

/* An entry hides at most one below that is not history there already, a range delete any number. So this bounds what
 * is rewritten for what can go: a few entries above very many stay where they are. */
static bool is_worth_sinking(uint64_t entries, uint64_t range_deletes, uint64_t below)
{
    return below > 0 && (range_deletes > 0 || below <= entries * SINK_ENTRIES);
}

static uint64_t entries_below(const struct compact_tree *tree, int level, const struct span *span)
{
    uint64_t entries = 0;

    for (int below = level + 1; below < COMPACT_LEVELS; below++) {
        struct run run = level_overlaps(&tree->levels[below], span);

        for (size_t i = run.first; i < run.end; i++)
            entries += tree->levels[below].files[i]->properties.entries;
    }
    return entries;
}

/* What goes down with it counts as well; what is older lies below it, also in L0. */
static bool sinks_from_l0(const struct compact_tree *tree, size_t index)
{
    const struct compact_level *l0 = &tree->levels[0];
    struct span span = span_of(l0->files[index]);
    uint64_t entries = 0, range_deletes = 0, below = entries_below(tree, 0, &span);

    if (!has_left_retention(tree, l0->files[index]))
        return false;
    for (size_t i = compact_l0_begin(tree); i < l0->count; i++) {
        const struct table_file *file = l0->files[i];

        if (!has_left_retention(tree, file) || !file_overlaps(file, &span))
            continue;
        entries += file->properties.entries;
        range_deletes += file->properties.range_deletes;
        below += i > index ? file->properties.entries : 0;
    }
    return is_worth_sinking(entries, range_deletes, below) || compact_may_hide(tree, l0->files[index]);
}

/* One level down; or rewritten in place, if there is nothing below to hide. */
static bool choose_to_sink(const struct compact_tree *tree, int level, size_t index, struct choice *c)
{
    const struct table_file *file = tree->levels[level].files[index];
    const struct table_properties *p = &file->properties;
    struct span span = span_of(file);
    uint64_t below;

    if (!has_left_retention(tree, file))
        return false;
    below = entries_below(tree, level, &span);
    if (below == 0 && compact_may_hide(tree, file))
        return choose_file(tree, level, index, level, COMPACT_REASON_EXPIRED, c);
    if (!is_worth_sinking(p->entries, p->range_deletes, below) ||
        !choose_file(tree, level, index, level + 1, COMPACT_REASON_EXPIRED, c))
        return false;
    expand(c);
    return true;
}

/* From the top, so that what meets on the way goes on together: each entry is moved once a level at most, and it
 * ends where nothing lies below. One job at a time, and none beside others. */
static helios_status pick_sinking(const struct compact_tree *tree, struct compact_pick **pick)
{
    const struct compact_level *l0 = &tree->levels[0];

    if (tree->running_count > 0)
        return HELIOS_OK;
    for (size_t i = compact_l0_begin(tree); i < l0->count; i++) {
        helios_status status;

        if (!sinks_from_l0(tree, i))
            continue;
        status = pick_from_l0(tree, i, COMPACT_REASON_EXPIRED, pick);
        if (status != HELIOS_OK || *pick)
            return status;
        break; /* L0 is busy: damaged */
    }
    for (int level = 1; level < COMPACT_LEVELS; level++) {
        for (size_t i = 0; i < tree->levels[level].count; i++) {
            struct choice c;

            if (choose_to_sink(tree, level, i, &c))
                return publish(&c, pick);
        }
    }
    return HELIOS_OK;
}

/* ---- at rest ---- */

/* Each run costs a reader a search, and none costs a writer anything now. From the top, as far down as each step
 * rewrites at most REST_BELOW bytes beside each that it moves: so a byte is moved once a level, and what cannot pay stays
 * where it is. One job at a time, and none beside others. */
static helios_status pick_at_rest(const struct compact_tree *tree, struct compact_pick **pick)
{
    const struct compact_level *l0 = &tree->levels[0];

    if (tree->rest_bytes == 0 || tree->running_count > 0)
        return HELIOS_OK;
    for (size_t i = l0->count; i > compact_l0_begin(tree); i--) {
        helios_status status = pick_from_l0(tree, i - 1, COMPACT_REASON_REST, pick);

        if (status != HELIOS_OK || *pick)
            return status;
    }
    for (int level = 1; level < COMPACT_LAST_LEVEL; level++) {
        for (size_t i = 0; i < tree->levels[level].count; i++) {
            struct choice c;

            if (choose_file(tree, level, i, level + 1, COMPACT_REASON_REST, &c) && is_cheap_enough(&c))
                return publish(&c, pick);
        }
    }
    return HELIOS_OK;
}

helios_status compact_pick(const struct compact_tree *tree, struct compact_pick **pick_out)
{
    static helios_status (*const by_urgency[])(const struct compact_tree *, struct compact_pick **) = {
        pick_drop, pick_by_score, pick_garbage, pick_sinking, pick_at_rest,
    };
    struct compact_pick *pick = NULL;

    for (size_t i = 0; i < sizeof(by_urgency) / sizeof(by_urgency[0]) && !pick; i++) {
        helios_status status = by_urgency[i](tree, &pick);

        if (status != HELIOS_OK)
            return status;
    }
    *pick_out = pick;
    return HELIOS_OK;
}

/* ---- by hand ---- */

static bool is_asked_for(const struct compact_range *range, const struct table_file *file)
{
    struct span span = {range->from, range->to, true};

    return file_seq_min(file) <= range->seq_limit && file_overlaps(file, &span);
}

static bool needs_rewrite(const struct compact_tree *tree, const struct compact_range *range,
                          const struct table_file *file)
{
    const struct table_properties *p = &file->properties;

    return is_asked_for(range, file) && file->number < range->number_limit &&
           (range->rewrite || p->tombstones || p->range_deletes || p->entries > p->keys ||
            compact_may_have_dropped(tree, file));
}

static int deepest_asked_for(const struct compact_tree *tree, const struct compact_range *range)
{
    struct span span = {range->from, range->to, true};

    for (int level = COMPACT_LAST_LEVEL; level > 0; level--) {
        struct run run = level_overlaps(&tree->levels[level], &span);

        if (run.first < run.end)
            return level;
    }
    return 0;
}

/* A piece of the level from file `index` on. */
static bool choose_piece(const struct compact_tree *tree, const struct compact_range *range, int level,
                         size_t index, struct choice *c)
{
    const struct compact_level *in = &tree->levels[level];

    if (in->files[index]->busy || !choose_file(tree, level, index, level + 1, COMPACT_REASON_MANUAL, c))
        return false;
    while (c->inputs.end < in->count && is_asked_for(range, in->files[c->inputs.end]) &&
           chosen_bytes(c) < tree->target_file_bytes * RANGE_FILES) {
        struct choice more = *c;

        more.inputs.end++;
        if (!settle(&more))
            break;
        *c = more;
    }
    return true;
}

/* True: the level holds files that are to go down; *pick if one of them can. */
static bool range_in_level(const struct compact_tree *tree, const struct compact_range *range, int level,
                           bool in_place, struct compact_pick **pick, helios_status *status)
{
    const struct compact_level *in = &tree->levels[level];
    bool some = false;

    for (size_t i = 0; i < in->count; i++) {
        struct choice c;

        if (in_place ? !needs_rewrite(tree, range, in->files[i]) : !is_asked_for(range, in->files[i]))
            continue;
        some = true;
        if (in_place ? choose_file(tree, level, i, level, COMPACT_REASON_MANUAL, &c)
                     : choose_piece(tree, range, level, i, &c)) {
            *status = publish(&c, pick);
            break;
        }
    }
    return some;
}

static bool range_in_l0(const struct compact_tree *tree, const struct compact_range *range,
                        struct compact_pick **pick, helios_status *status)
{
    const struct compact_level *l0 = &tree->levels[0];

    for (size_t i = l0->count; i > compact_l0_begin(tree); i--) {
        if (!is_asked_for(range, l0->files[i - 1]))
            continue;
        *status = pick_from_l0(tree, i - 1, COMPACT_REASON_MANUAL, pick);
        return true;
    }
    return false;
}

helios_status compact_pick_range(const struct compact_tree *tree, const struct compact_range *range,
                                 struct compact_pick **pick_out, bool *done)
{
    struct compact_pick *pick = NULL;
    helios_status status = HELIOS_OK;
    bool some = range_in_l0(tree, range, &pick, &status);
    int deepest = deepest_asked_for(tree, range);

    for (int level = 1; level <= deepest && !some; level++)
        some = range_in_level(tree, range, level, level == deepest, &pick, &status);
    if (status != HELIOS_OK)
        return status;
    *pick_out = pick;
    *done = !some;
    return HELIOS_OK;
}
