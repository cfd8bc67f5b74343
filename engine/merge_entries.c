/* merge_entries.c - merges on disk: one entry for each in the system space, written with the merge's own commit and read
 * at open. What is in it: docs/format.md. */
#include "engine/merge.h"
#include "engine/read.h"

helios_slice merge_key(unsigned char out[MERGE_KEY_BYTES], helios_branch_id target, uint32_t ordinal)
{
    out[0] = 'M';
    put_u32_be(out + 1, target);
    put_u32_be(out + 5, ordinal);
    return slice_make(out, MERGE_KEY_BYTES);
}

static helios_status load_one(struct helios_db *db, const helios_iter *it)
{
    helios_slice key = helios_iter_key(it);
    struct branch *target = NULL;
    struct merge *merge = NULL, *older;
    uint32_t ordinal = 0;
    helios_status status;

    if (key.size == MERGE_KEY_BYTES) {
        target = (struct branch *)branch_at(db, get_u32_be(slice_bytes(key) + 1));
        ordinal = get_u32_be(slice_bytes(key) + 5);
    }
    if (!target)
        return fail_corrupt("%s: the registry has a merge into a branch that never was", db->path);
    status = merge_decode(helios_iter_value(it), &merge);
    if (status != HELIOS_OK)
        return fail_context(status, "%s: merge %u into branch %u", db->path, ordinal, target->id);
    merge->ordinal = ordinal;
    merge->commit = helios_iter_seq(it);
    for (size_t i = 0; i < merge->count; i++)
        if (!branch_at(db, merge->raised[i].branch))
            status = HELIOS_CORRUPT;
    older = branch_merges(target);
    if (status != HELIOS_OK || (older && older->commit >= merge->commit) ||
        !branch_at(db, merge->source.branch) || !branch_at(db, merge->base.branch)) {
        merge_free(merge);
        return fail_corrupt("%s: the entry of merge %u into branch %u contradicts the others", db->path,
                            ordinal, target->id);
    }
    branch_add_merge(target, merge);
    return HELIOS_OK;
}

helios_status merges_load(struct helios_db *db)
{
    helios_iter *it = NULL;
    helios_status status = iter_new_internal(db, 0, SPACE_SYSTEM, slice_make("M", 1), slice_make("N", 1),
                                             atomic_load(&db->visible), &it);

    if (status != HELIOS_OK)
        return status;
    for (helios_iter_first(it); helios_iter_valid(it) && status == HELIOS_OK; helios_iter_next(it))
        status = load_one(db, it);
    if (status == HELIOS_OK)
        status = helios_iter_status(it);
    helios_iter_free(it);
    return status;
}

/* ---- points that merges may need as a base ---- */

static bool reaches(struct helios_db *db, const struct vector_entry *entry, helios_branch_id branch,
                    helios_seq seq)
{
    helios_seq point;
    bool reaches;

    epoch_enter();
    reaches = branch_point_on(db->registry, entry->branch, entry->seq, branch, &point) && point == seq;
    epoch_leave();
    return reaches;
}

bool branch_holds_point(struct helios_db *db, helios_branch_id branch, helios_seq seq)
{
    for (helios_branch_id id = 0; id < registry_next_id(db->registry); id++) {
        const struct branch *target = branch_at(db, id);

        if (atomic_load(&target->state) == HELIOS_BRANCH_DROPPED)
            continue;
        for (const struct merge *merge = branch_merges(target); merge; merge = merge->older)
            for (size_t i = 0; i < merge->count; i++)
                if (reaches(db, &merge->raised[i], branch, seq))
                    return true;
    }
    return branch_forked_at(db, branch, seq);
}
