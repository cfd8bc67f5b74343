/* chain.c - which files of the directory are the log, and a walk over their records. Called by recovery
 * and by wal_open.
 *
 * The highest segment is the end of the log; each names its predecessor. What lies between the two was
 * discarded by an earlier recovery and may have come back with a power cut. A segment has its name only
 * after all of it was synced, so one that does not verify is damage. */
#include "wal/wal_internal.h"
#include "base/mem.h"
#include <inttypes.h>
#include <stdlib.h>

/* ---- names ---- */

/* A number of eight digits or more and one of our endings. */
static bool name_parse(const char *text, struct wal_name *name)
{
    static const char *const endings[WAL_NAME_COUNT] = {[WAL_NAME_SEGMENT] = ".wal",
                                                        [WAL_NAME_TEMPORARY] = ".wal.tmp",
                                                        [WAL_NAME_INDEX] = ".idx",
                                                        [WAL_NAME_ARCHIVE] = ".arc",
                                                        [WAL_NAME_ARCHIVE_TEMPORARY] = ".arc.tmp"};
    size_t digits = strspn(text, "0123456789"), kind = 0;
    uint64_t number = 0;

    if (digits < 8 || digits > 10)
        return false;
    for (size_t i = 0; i < digits; i++)
        number = number * 10 + (uint64_t)(text[i] - '0');
    while (kind < WAL_NAME_COUNT && strcmp(text + digits, endings[kind]) != 0)
        kind++;
    name->number = number;
    name->kind = (enum wal_name_kind)kind;
    return number <= WAL_NUMBER_MAX && kind < WAL_NAME_COUNT;
}

static helios_status name_add(void *arg, const char *text)
{
    struct wal_chain *chain = arg;
    struct wal_name name;

    if (!name_parse(text, &name))
        return HELIOS_OK;
    if (chain->name_count == chain->name_capacity) {
        size_t capacity = chain->name_capacity ? 2 * chain->name_capacity : 16;
        struct wal_name *names = mem_realloc(chain->names, capacity * sizeof(*names));

        if (!names)
            return fail_no_memory(capacity * sizeof(*names));
        chain->names = names;
        chain->name_capacity = capacity;
    }
    chain->names[chain->name_count++] = name;
    if (name.number > chain->last)
        chain->last = name.number;
    return HELIOS_OK;
}

static int name_compare(const void *a, const void *b)
{
    const struct wal_name *x = a, *y = b;

    return x->number < y->number ? -1 : x->number > y->number;
}

/* The highest named segment at or below number and at or above floor; 0: none. */
static uint64_t name_below(const struct wal_chain *chain, uint64_t floor, uint64_t number)
{
    for (size_t i = chain->name_count; i-- > 0;) {
        const struct wal_name *name = &chain->names[i];

        if (name->kind == WAL_NAME_SEGMENT && name->number <= number && name->number >= floor)
            return name->number;
    }
    return 0;
}

/* ---- links ---- */

static helios_status length_check(struct io_file *file, struct wal_link *link)
{
    uint64_t wanted = link->info.sealed ? link->info.sealed_end : link->info.size;
    helios_status status = io_size(file, &link->file_bytes);

    if (status != HELIOS_OK || link->file_bytes >= wanted)
        return status;
    return fail_corrupt("%s: ends at %" PRIu64 ", should have %" PRIu64 " bytes", io_path(file),
                        link->file_bytes, wanted);
}

static helios_status link_load(const struct wal_options *options, uint64_t number, struct wal_link *link)
{
    struct wal_segment_info *info = &link->info;
    char path[WAL_PATH_MAX];
    unsigned char page[WAL_DATA];
    struct io_file *file = NULL;
    size_t got;
    helios_status status;

    wal_segment_path(options->directory, number, path, sizeof(path));
    status = io_open(options->fs, path, IO_READ, &file);
    if (status == HELIOS_NOT_FOUND)
        return fail_corrupt("%s: the log needs this segment and it is missing", path);
    if (status != HELIOS_OK)
        return status;
    status = io_read_some(file, 0, page, sizeof(page), &got);
    if (status == HELIOS_OK)
        status = wal_info_decode(page, got, path, info);
    if (status == HELIOS_OK && info->header.number != number)
        status = fail_corrupt("%s: header at 0: this is segment %" PRIu64, path, info->header.number);
    if (status == HELIOS_OK)
        status = length_check(file, link);
    io_close(file);
    return status;
}

/* Salvage: the first page counts also when the file is too short. */
static helios_status link_salvage(const struct wal_options *options, uint64_t number, struct wal_link *link)
{
    char path[WAL_PATH_MAX];
    struct wal_reader *reader;
    helios_status status;

    wal_segment_path(options->directory, number, path, sizeof(path));
    status = wal_reader_open(options->fs, options->crypt, path, &reader);
    if (status != HELIOS_OK)
        return status;
    link->info = *wal_reader_info(reader);
    link->file_bytes = link->info.size;
    wal_reader_close(reader);
    return link->info.header.number == number ? HELIOS_OK : HELIOS_CORRUPT;
}

static void links_reverse(struct wal_chain *chain)
{
    for (size_t i = 0, j = chain->count; i + 1 < j; i++) {
        struct wal_link other = chain->links[--j];

        chain->links[j] = chain->links[i];
        chain->links[i] = other;
    }
}

/* From the end of the log down; chain->links has room for every name. */
static helios_status links_load(const struct wal_options *options, uint64_t floor, bool salvage,
                                struct wal_chain *chain)
{
    uint64_t number = name_below(chain, floor, UINT64_MAX);

    while (number != 0 && number >= floor) {
        struct wal_link *link = &chain->links[chain->count];
        helios_status status = link_load(options, number, link);

        link->gap = status != HELIOS_OK;
        if (status == HELIOS_CORRUPT && salvage) {
            if (chain->count > 0)
                link[-1].gap = true;
            status = link_salvage(options, number, link);
            if (status == HELIOS_CORRUPT || status == HELIOS_NOT_FOUND) {
                number = name_below(chain, floor, number - 1);
                continue;
            }
        }
        if (status != HELIOS_OK)
            return status;
        chain->count++;
        number = link->info.predecessor;
    }
    return HELIOS_OK;
}

/* The floor's own segment, or the one into which recovery moved the end of the log that the floor was in: what
 * lay between its predecessor and itself is copied in it. */
static bool holds_floor(const struct wal_segment_info *oldest, uint64_t floor)
{
    return oldest->header.number == floor || (oldest->predecessor_end != 0 && oldest->predecessor < floor);
}

static helios_status links_check(const struct wal_options *options, uint64_t floor, bool salvage,
                                 struct wal_chain *chain)
{
    char path[WAL_PATH_MAX];

    if (floor == 0 || (chain->count > 0 && holds_floor(&chain->links[0].info, floor)))
        return HELIOS_OK;
    if (salvage) {
        if (chain->count > 0)
            chain->links[0].gap = true;
        return HELIOS_OK;
    }
    wal_segment_path(options->directory, floor, path, sizeof(path));
    return fail_corrupt("%s: the log needs this segment and it is missing", path);
}

helios_status wal_chain_load(const struct wal_options *options, uint64_t floor, bool salvage,
                             struct wal_chain *out)
{
    struct wal_chain chain = {0};
    helios_status status = io_list(options->fs, options->directory, name_add, &chain);

    if (status != HELIOS_OK)
        goto out;
    if (chain.name_count > 0)
        qsort(chain.names, chain.name_count, sizeof(*chain.names), name_compare);
    chain.links = mem_array(chain.name_count + 1, sizeof(*chain.links));
    if (!chain.links) {
        status = fail_no_memory((chain.name_count + 1) * sizeof(*chain.links));
        goto out;
    }
    status = links_load(options, floor, salvage, &chain);
    if (status != HELIOS_OK)
        goto out;
    links_reverse(&chain);
    status = links_check(options, floor, salvage, &chain);
    if (status != HELIOS_OK)
        goto out;
    *out = chain;
    chain = (struct wal_chain){0};
out:
    wal_chain_release(&chain);
    return status;
}

static bool has_name(const struct wal_chain *chain, uint64_t number, enum wal_name_kind kind)
{
    size_t low = 0, high = chain->name_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (chain->names[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < chain->name_count && chain->names[low].number == number; low++)
        if (chain->names[low].kind == kind)
            return true;
    return false;
}

static helios_status archive_load(const struct wal_options *options, uint64_t number, struct wal_link *link)
{
    char path[WAL_PATH_MAX];
    struct wal_reader *reader;
    struct io_stat stat;
    helios_status status;

    wal_archive_path(options->directory, number, false, path, sizeof(path));
    status = wal_reader_open(options->fs, options->crypt, path, &reader);
    if (status != HELIOS_OK)
        return status;
    link->info = *wal_reader_info(reader);
    wal_reader_close(reader);
    if (link->info.header.number != number)
        return fail_corrupt("%s: header at 0: this is segment %" PRIu64, path, link->info.header.number);
    status = io_stat(options->fs, path, &stat);
    link->file_bytes = stat.size;
    return status;
}

/* Where both are, a crash came before the segment went; its archive is whole, or something has happened to it since. */
static helios_status kept_load(const struct wal_options *options, const struct wal_chain *chain,
                               uint64_t number, struct wal_link *link)
{
    helios_status status;

    link->archived = has_name(chain, number, WAL_NAME_ARCHIVE);
    if (!link->archived)
        return link_load(options, number, link);
    status = archive_load(options, number, link);
    if (status != HELIOS_CORRUPT || !has_name(chain, number, WAL_NAME_SEGMENT))
        return status;
    link->archived = false;
    return link_load(options, number, link);
}

helios_status wal_chain_load_kept(const struct wal_options *options, uint64_t from, bool salvage,
                                  const struct wal_chain *chain, struct wal_link **kept_out, size_t *count_out)
{
    uint64_t number = chain->count > 0 ? chain->links[0].info.predecessor : 0;
    struct wal_link *kept = mem_array(chain->name_count + 1, sizeof(*kept));
    size_t count = 0;

    if (!kept)
        return fail_no_memory((chain->name_count + 1) * sizeof(*kept));
    while (number != 0 && number >= from) {
        helios_status status = kept_load(options, chain, number, &kept[count]);

        if (status == HELIOS_CORRUPT && salvage)
            break;
        if (status != HELIOS_OK) {
            mem_free(kept);
            return status;
        }
        number = kept[count++].info.predecessor;
    }
    *kept_out = kept;
    *count_out = count;
    return HELIOS_OK;
}

void wal_chain_release(struct wal_chain *chain)
{
    mem_free(chain->names);
    mem_free(chain->links);
    *chain = (struct wal_chain){0};
}

/* ---- the walk ---- */

static helios_status walk_enter(struct wal_walk *walk, size_t index, uint64_t offset)
{
    const struct wal_segment_info *info = &walk->chain->links[index].info;
    char path[WAL_PATH_MAX];
    helios_status status;

    wal_reader_close(walk->reader);
    walk->reader = NULL;
    walk->index = index;
    wal_segment_path(walk->options->directory, info->header.number, path, sizeof(path));
    status = wal_reader_open(walk->options->fs, walk->options->crypt, path, &walk->reader);
    if (status != HELIOS_OK)
        return status;
    wal_reader_seek(walk->reader, offset);
    if (walk->expected <= info->predecessor_last)
        walk->expected = info->predecessor_last + 1;
    return HELIOS_OK;
}

helios_status wal_walk_open(struct wal_walk *walk, const struct wal_options *options,
                            const struct wal_chain *chain, wal_pos at, helios_seq expected)
{
    size_t index = 0;

    *walk = (struct wal_walk){.options = options, .chain = chain, .expected = expected};
    while (index + 1 < chain->count && chain->links[index].info.header.number < wal_pos_segment(at))
        index++;
    return walk_enter(walk, index, wal_pos_offset(at));
}

void wal_walk_close(struct wal_walk *walk)
{
    wal_reader_close(walk->reader);
    walk->reader = NULL;
}

wal_pos wal_walk_at(const struct wal_walk *walk)
{
    return wal_pos_make(walk->chain->links[walk->index].info.header.number, wal_reader_offset(walk->reader));
}

static bool is_last(const struct wal_walk *walk)
{
    return walk->index + 1 == walk->chain->count;
}

/* Where the successor says that this segment was cut; UINT64_MAX: it was not. */
static uint64_t walk_cut(const struct wal_walk *walk)
{
    const struct wal_link *here = &walk->chain->links[walk->index];

    if (is_last(walk) || here[1].info.predecessor != here->info.header.number ||
        here[1].info.predecessor_end == 0)
        return UINT64_MAX;
    return here[1].info.predecessor_end;
}

static helios_status walk_advance(struct wal_walk *walk)
{
    if (walk->chain->links[walk->index + 1].gap && walk->gap_at == 0)
        walk->gap_at = wal_walk_at(walk);
    return walk_enter(walk, walk->index + 1, WAL_DATA);
}

/* The record at the walk, within the segment. */
static helios_status walk_step(struct wal_walk *walk, struct wal_record *record, enum wal_found *found)
{
    uint64_t at = wal_reader_offset(walk->reader), cut = walk_cut(walk);
    helios_status status;

    if (at == cut) {
        *found = FOUND_LIMIT;
        return HELIOS_OK;
    }
    status = wal_reader_step(walk->reader, record, found);
    if (status != HELIOS_OK)
        return status;
    if (*found != FOUND_RECORD) {
        if (cut != UINT64_MAX)
            *found = FOUND_HOLE; /* it ended before its end */
        return HELIOS_OK;
    }
    if (wal_pos_offset(record->end) <= cut && record->first >= walk->expected)
        return HELIOS_OK;
    wal_reader_seek(walk->reader, at);
    *found = FOUND_HOLE;
    return HELIOS_OK;
}

helios_status wal_walk_next(struct wal_walk *walk, struct wal_record *record, enum walk_found *found)
{
    for (;;) {
        enum wal_found step;
        helios_status status = walk_step(walk, record, &step);

        if (status != HELIOS_OK)
            return status;
        if (step == FOUND_RECORD) {
            walk->expected = record->first + record->op_count;
            *found = WALK_RECORD;
            return HELIOS_OK;
        }
        if (step == FOUND_HOLE) {
            *found = WALK_HOLE;
            return HELIOS_OK;
        }
        if (is_last(walk)) {
            *found = step == FOUND_END ? WALK_LOST : WALK_END;
            return HELIOS_OK;
        }
        status = walk_advance(walk);
        if (status != HELIOS_OK)
            return status;
    }
}

helios_status wal_walk_skip(struct wal_walk *walk, struct wal_record *record, enum walk_found *found)
{
    for (;;) {
        enum wal_found step;
        helios_status status = wal_reader_search(walk->reader, record, &step);

        if (status != HELIOS_OK)
            return status;
        if (step == FOUND_LIMIT || wal_pos_offset(record->end) > walk_cut(walk)) {
            *found = WALK_END;
            if (is_last(walk))
                return HELIOS_OK;
            status = walk_advance(walk);
            if (status != HELIOS_OK)
                return status;
            continue;
        }
        if (record->first < walk->expected)
            continue; /* stale: the search stands behind it */
        walk->expected = record->first + record->op_count;
        *found = WALK_RECORD;
        return HELIOS_OK;
    }
}
