/* old.c - what wal_open takes over from before: segments that recovery may still need go into the list, those that only
 * the feed wants beside it; every other file of ours goes. */
#include "wal/wal_internal.h"
#include "base/mem.h"

/* One of them, as its own first page and its successor's tell. */
struct old {
    const struct wal_link *link;
    bool kept;
    uint64_t end;
    helios_seq first; /* 0: not known */
};

static uint64_t end_of(const struct wal_segment_info *info, uint64_t cut)
{
    return cut != 0 ? cut : info->sealed ? info->sealed_end : info->size;
}

/* The oldest first; those of the chain up to number `upto`, which ends at upto_end. Without any of the chain, which is then
 * all written anew, nothing leads to the kept ones any more. */
static size_t gather(const struct wal_chain *chain, const struct wal_link *kept, size_t kept_count,
                     uint64_t upto, uint64_t upto_end, struct old *old)
{
    size_t count = 0;

    if (chain->count == 0 || chain->links[0].info.header.number > upto)
        return 0;
    for (size_t i = kept_count; i-- > 0;)
        old[count++] = (struct old){.link = &kept[i], .kept = true};
    for (size_t i = 0; i < chain->count && chain->links[i].info.header.number <= upto; i++)
        old[count++] = (struct old){.link = &chain->links[i]};
    for (size_t i = 0; i < count; i++)
        old[i].end =
            end_of(&old[i].link->info, i + 1 < count ? old[i + 1].link->info.predecessor_end : upto_end);
    return count;
}

/* Its first record says; damage there is told to whoever walks over it. */
static helios_status first_read(const struct wal_options *options, struct old *old)
{
    char path[WAL_PATH_MAX];
    struct wal_reader *reader;
    struct wal_record record;
    enum wal_found found;
    helios_status status;

    wal_place_path(options->directory, old->link->info.header.number, old->link->archived, path, sizeof(path));
    status = wal_reader_open(options->fs, options->crypt, path, &reader);
    if (status != HELIOS_OK)
        return status;
    status = wal_reader_step(reader, &record, &found);
    if (status == HELIOS_OK && found == FOUND_RECORD)
        old->first = record.first;
    wal_reader_close(reader);
    return status;
}

/* The keeper does not know the first number of a segment that it prepares; the seal of the one before, which is written
 * when it is entered, tells, if it knows one. Only what a killed process had not sealed has to be looked into. */
static helios_status first_find(const struct wal_options *options, struct old *old, const struct old *before)
{
    const struct wal_segment_info *info = &old->link->info;

    old->first = wal_info_first(info);
    if (old->first == 0 && before && before->link->info.sealed && before->link->info.sealed_last != 0 &&
        info->predecessor_end == 0)
        old->first = before->link->info.sealed_last + 1;
    if (old->first != 0 || options->keep == WAL_KEEP_NONE || old->end == WAL_DATA)
        return HELIOS_OK;
    return first_read(options, old);
}

/* One that is still not known is as its successor's: too late, so that a search begins before it. */
static helios_status firsts_find(const struct wal_options *options, struct old *old, size_t count,
                                 helios_seq next)
{
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < count && status == HELIOS_OK; i++)
        status = first_find(options, &old[i], i > 0 ? &old[i - 1] : NULL);
    for (size_t i = count; i-- > 0;) {
        if (old[i].first == 0 || old[i].first > next)
            old[i].first = next;
        next = old[i].first;
    }
    return status;
}

static helios_status list(struct wal *wal, const struct old *old)
{
    struct wal_segment *segment = mem_zalloc(sizeof(*segment));

    if (!segment)
        return fail_no_memory(sizeof(*segment));
    segment->header = old->link->info.header;
    segment->number = segment->header.number;
    segment->size = old->link->info.size;
    segment->bytes = old->link->file_bytes;
    segment->old = segment->sealed = true;
    atomic_init(&segment->first, old->first);
    atomic_init(&segment->end, old->end);
    if (wal->last)
        wal->last->next = segment;
    else
        wal->first = segment;
    wal->last = segment;
    return HELIOS_OK;
}

static helios_status take_over(struct wal *wal, const struct old *old, size_t count)
{
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < count && status == HELIOS_OK; i++) {
        const struct wal_kept kept = {.number = old[i].link->info.header.number,
                                      .bytes = old[i].link->file_bytes,
                                      .end = old[i].end,
                                      .first = old[i].first,
                                      .archived = old[i].link->archived};

        status = old[i].kept ? wal_kept_add_locked(wal, &kept) : list(wal, &old[i]);
        atomic_fetch_add(&wal->bytes, kept.bytes);
    }
    return status;
}

/* NULL: it is no part of the log. */
static const struct wal_link *taken(const struct old *old, size_t count, uint64_t number)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (old[middle].link->info.header.number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && old[low].link->info.header.number == number ? old[low].link : NULL;
}

static bool stays(const struct wal_options *options, const struct wal_link *link, enum wal_name_kind kind)
{
    switch (kind) {
    case WAL_NAME_SEGMENT: return link && !link->archived;
    case WAL_NAME_INDEX: return link && !link->archived && options->keep != WAL_KEEP_NONE;
    case WAL_NAME_ARCHIVE: return link && link->archived;
    default: return false;
    }
}

static void name_path(const struct wal_options *options, const struct wal_name *name, char *path, size_t size)
{
    switch (name->kind) {
    case WAL_NAME_INDEX: wal_index_path(options->directory, name->number, path, size); break;
    case WAL_NAME_TEMPORARY: wal_temporary_path(options->directory, name->number, path, size); break;
    case WAL_NAME_ARCHIVE: wal_archive_path(options->directory, name->number, false, path, size); break;
    case WAL_NAME_ARCHIVE_TEMPORARY:
        wal_archive_path(options->directory, name->number, true, path, size);
        break;
    default: wal_segment_path(options->directory, name->number, path, size); break;
    }
}

/* Files of ours that are no part of the log, segments whose archives are, and indexes where no feed is kept. That one stays
 * is no harm: nothing names it. */
static void remove_others(const struct wal_options *options, const struct wal_chain *chain,
                          const struct old *old, size_t count)
{
    for (size_t i = 0; i < chain->name_count; i++) {
        const struct wal_name *name = &chain->names[i];
        char path[WAL_PATH_MAX];

        if (stays(options, taken(old, count, name->number), name->kind))
            continue;
        name_path(options, name, path, sizeof(path));
        if (io_remove(options->fs, path) != HELIOS_OK)
            continue;
    }
}

helios_status wal_take_over(struct wal *wal, const struct wal_chain *chain, const struct wal_link *kept,
                            size_t kept_count, const struct wal_segment_info *first)
{
    struct old *old = mem_array(kept_count + chain->count + 1, sizeof(*old));
    size_t count;
    helios_status status;

    if (!old)
        return fail_no_memory((kept_count + chain->count + 1) * sizeof(*old));
    count = gather(chain, kept, kept_count, first->predecessor, first->predecessor_end, old);
    status = firsts_find(&wal->options, old, count, wal_info_first(first));
    if (status == HELIOS_OK)
        status = take_over(wal, old, count);
    if (status == HELIOS_OK && !wal->options.read_only)
        remove_others(&wal->options, chain, old, count);
    mem_free(old);
    return status;
}
