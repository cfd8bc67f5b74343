/* version.c - versions of the tree: made by applying changes to the one before, never changed after.
 * Called by manifest.c (from disk) and background.c (after jobs); searched by the read path. */
#include "engine/version.h"
#include "base/mem.h"
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

helios_status version_new_empty(struct version **out)
{
    struct version *version = mem_zalloc(sizeof(*version));

    if (!version)
        return fail_no_memory(sizeof(*version));
    atomic_init(&version->refs, 1);
    *out = version;
    return HELIOS_OK;
}

struct version *version_ref(struct version *version)
{
    atomic_fetch_add_explicit(&version->refs, 1, memory_order_relaxed);
    return version;
}

void version_unref(struct version *version)
{
    if (!version || atomic_fetch_sub_explicit(&version->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t l = 0; l < LEVEL_COUNT; l++) {
        for (size_t i = 0; i < version->levels[l].count; i++)
            table_file_unref(version->levels[l].files[i]);
        mem_free(version->levels[l].files);
        mem_free(version->levels[l].prefixes);
        mem_free(version->levels[l].branches);
    }
    mem_free(version);
}

/* Newest numbers first; files of one flush share their range and are ordered by number. */
static int compare_newest(const void *a, const void *b)
{
    const struct table_file *x = *(struct table_file *const *)a, *y = *(struct table_file *const *)b;
    helios_seq x_seq = x->properties.seq_max, y_seq = y->properties.seq_max;

    if (x_seq != y_seq)
        return x_seq > y_seq ? -1 : 1;
    return x->number > y->number ? -1 : x->number < y->number;
}

static int compare_smallest(const void *a, const void *b)
{
    const struct table_file *x = *(struct table_file *const *)a, *y = *(struct table_file *const *)b;
    int order = slice_compare(x->smallest, y->smallest);

    if (order != 0)
        return order;
    /* Only files that split one user key begin alike: the one with newer versions comes first. */
    return x->properties.seq_max > y->properties.seq_max ? -1 : x->properties.seq_max < y->properties.seq_max;
}

static helios_status level_index(struct level *level)
{
    helios_slice first, last;

    if (level->count == 0)
        return HELIOS_OK;
    level->prefixes = mem_array(level->count, sizeof(*level->prefixes));
    if (!level->prefixes)
        return fail_no_memory(level->count * sizeof(*level->prefixes));
    first = level->files[0]->largest;
    last = level->files[level->count - 1]->largest;
    level->prefix_skip = slice_common(first, last);
    level->branches = mem_array(level->count, sizeof(*level->branches));
    if (!level->branches)
        return fail_no_memory(level->count * sizeof(*level->branches));
    for (size_t i = 0; i < level->count; i++) {
        const struct table_file *file = level->files[i];

        level->prefixes[i] = key_prefix(file->largest, level->prefix_skip);
        level->branches[i] = (struct file_branches){key_branch(file->smallest), key_branch(file->largest)};
    }
    return HELIOS_OK;
}

static bool is_removed(const struct version_change *changes, size_t count, uint32_t level, uint64_t number)
{
    for (size_t i = 0; i < count; i++)
        if (changes[i].remove && changes[i].level == level && changes[i].file->number == number)
            return true;
    return false;
}

/* Whether any change touches the level; an untouched one is copied without a look at each file. */
static size_t level_changes(const struct version_change *changes, size_t count, uint32_t level, size_t *removed)
{
    size_t added = 0;

    *removed = 0;
    for (size_t i = 0; i < count; i++)
        if (changes[i].level == level) {
            added += !changes[i].remove;
            *removed += changes[i].remove;
        }
    return added;
}

static helios_status level_apply(const struct level *base, const struct version_change *changes, size_t count,
                                 uint32_t l, struct level *level)
{
    size_t removed, added = level_changes(changes, count, l, &removed), gone = 0;

    if (base->count + added == 0)
        return removed ? fail_corrupt("level %u: a file to remove is not there", l) : HELIOS_OK;
    level->files = mem_array(base->count + added, sizeof(*level->files));
    if (!level->files)
        return fail_no_memory((base->count + added) * sizeof(*level->files));
    for (size_t i = 0; i < base->count; i++) {
        if (removed && is_removed(changes, count, l, base->files[i]->number)) {
            gone++;
            continue;
        }
        level->files[level->count++] = table_file_ref(base->files[i]);
    }
    for (size_t i = 0; i < count; i++)
        if (!changes[i].remove && changes[i].level == l)
            level->files[level->count++] = table_file_ref(changes[i].file);
    if (gone != removed)
        return fail_corrupt("level %u: a file to remove is not there", l);
    if (added)
        qsort(level->files, level->count, sizeof(*level->files), l == 0 ? compare_newest : compare_smallest);
    for (size_t i = 0; i < level->count; i++)
        level->bytes += level->files[i]->size;
    return l == 0 ? HELIOS_OK : level_index(level);
}

helios_status version_apply(const struct version *base, const struct version_change *changes, size_t count,
                            struct version **out)
{
    struct version *version = NULL;
    helios_status status = version_new_empty(&version);

    for (uint32_t l = 0; l < LEVEL_COUNT && status == HELIOS_OK; l++)
        status = level_apply(&base->levels[l], changes, count, l, &version->levels[l]);
    if (status != HELIOS_OK)
        goto out;
    for (size_t l = 0; l < LEVEL_COUNT; l++) {
        const struct level *level = &version->levels[l];

        version->file_count += level->count;
        for (size_t i = 0; i < level->count; i++) {
            if (level->files[i]->properties.seq_max > version->seq_max)
                version->seq_max = level->files[i]->properties.seq_max;
            version->range_deletes |= level->files[i]->properties.range_deletes > 0;
        }
    }
    *out = version;
    version = NULL;
out:
    if (status != HELIOS_OK)
        version_unref(version);
    return status;
}

/* Whether all of the file lies before key. */
static bool file_before(const struct table_file *file, helios_slice key)
{
    int order = slice_compare(file->largest, key);

    return order < 0 || (order == 0 && file->largest_exclusive);
}

/* How many of `count` > 0 ascending prefixes are below the wanted one. Each step is a conditional move: the branch could
 * not be foretold. */
static size_t prefixes_below(const uint64_t *prefixes, size_t count, uint64_t wanted)
{
    const uint64_t *base = prefixes;

    while (count > 1) {
        size_t half = count / 2;

        base += base[half - 1] < wanted ? half : 0;
        count -= half;
    }
    return (size_t)(base - prefixes) + (*base < wanted);
}

size_t version_find(const struct level *level, helios_slice key)
{
    size_t low = 0, high = level->count;
    uint64_t wanted;

    if (level->count == 0)
        return 0;
    /* The prefixes decide only among keys that share what the largest keys share. */
    if (key.size >= level->prefix_skip &&
        memcmp(key.data, level->files[0]->largest.data, level->prefix_skip) == 0) {
        wanted = key_prefix(key, level->prefix_skip);
        low = prefixes_below(level->prefixes, level->count, wanted);
        if (low == level->count || level->prefixes[low] != wanted)
            return low;
        while (low < high) {
            size_t middle = low + (high - low) / 2;

            if (level->prefixes[middle] < wanted ||
                (level->prefixes[middle] == wanted && file_before(level->files[middle], key)))
                low = middle + 1;
            else
                high = middle;
        }
        return low;
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (file_before(level->files[middle], key))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

enum branch_place version_find_branch(const struct level *level, helios_branch_id branch,
                                      struct table_file **within)
{
    const struct file_branches *branches = level->branches;
    size_t low = 0, high = level->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (branches[middle].last < branch)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == level->count || branches[low].first > branch)
        return BRANCH_NOWHERE;
    if (branches[low].first == branch || branches[low].last == branch)
        return BRANCH_ACROSS;
    *within = level->files[low];
    return BRANCH_WITHIN;
}

bool version_overlaps(const struct version *version, uint32_t level, helios_slice from, helios_slice to)
{
    for (uint32_t l = level; l < LEVEL_COUNT; l++) {
        const struct level *deeper = &version->levels[l];
        size_t i;

        if (l == 0) {
            for (i = 0; i < deeper->count; i++)
                if (!file_before(deeper->files[i], from) && slice_compare(deeper->files[i]->smallest, to) <= 0)
                    return true;
            continue;
        }
        i = version_find(deeper, from);
        if (i < deeper->count && slice_compare(deeper->files[i]->smallest, to) <= 0)
            return true;
    }
    return false;
}

static int compare_numbers(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* A table that two places list would go with the first of them. */
static helios_status validate_numbers(const struct version *version)
{
    uint64_t *numbers = mem_array(version->file_count + 1, sizeof(*numbers));
    size_t count = 0;
    helios_status status = HELIOS_OK;

    if (!numbers)
        return fail_no_memory((version->file_count + 1) * sizeof(*numbers));
    for (size_t l = 0; l < LEVEL_COUNT; l++)
        for (size_t i = 0; i < version->levels[l].count; i++)
            numbers[count++] = version->levels[l].files[i]->number;
    qsort(numbers, count, sizeof(*numbers), compare_numbers);
    for (size_t i = 1; i < count && status == HELIOS_OK; i++)
        if (numbers[i - 1] == numbers[i])
            status = fail_corrupt("table %08" PRIu64 ".sst is listed twice", numbers[i]);
    mem_free(numbers);
    return status;
}

helios_status version_validate(const struct version *version)
{
    for (size_t l = 0; l < LEVEL_COUNT; l++) {
        const struct level *level = &version->levels[l];

        for (size_t i = 0; i < level->count; i++) {
            const struct table_file *file = level->files[i];
            int order = slice_compare(file->smallest, file->largest);

            if (order > 0 || file->smallest.size < KEY_LAYER_BYTES)
                return fail_corrupt("table %08" PRIu64 ".sst: its bounds are out of order", file->number);
            if (l == 0 || i == 0)
                continue;
            order = slice_compare(level->files[i - 1]->largest, file->smallest);
            /* Touching is fine: an exclusive end, or one user key split between the two. */
            if (order > 0)
                return fail_corrupt("tables %08" PRIu64 ".sst and %08" PRIu64 ".sst of level %zu overlap",
                                    level->files[i - 1]->number, file->number, l);
        }
    }
    return validate_numbers(version);
}

void version_check(const struct version *version)
{
    for (size_t l = 0; l < LEVEL_COUNT; l++) {
        const struct level *level = &version->levels[l];
        uint64_t bytes = 0;

        for (size_t i = 0; i < level->count; i++) {
            bytes += level->files[i]->size;
            assert(slice_compare(level->files[i]->smallest, level->files[i]->largest) <= 0);
            assert(i == 0 || l != 0 || compare_newest(&level->files[i - 1], &level->files[i]) < 0);
            assert(i == 0 || l == 0 ||
                   slice_compare(level->files[i - 1]->largest, level->files[i]->smallest) <= 0);
        }
        assert(bytes == level->bytes);
        (void)bytes;
    }
}
