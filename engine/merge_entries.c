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

/* What the merges into one branch have raised, so that only what was raised before is looked for. */
struct loading {
    const struct branch *target;
    struct vector known;
};

static helios_status note_loaded(struct helios_db *db, struct loading *loading, const struct branch *target)
{
    const struct merge *merge = branch_merges(target);
    helios_status status = HELIOS_OK;

    if (loading->target != target)
        loading->known.count = 0;
    loading->target = target;
    for (size_t i = 0; i < merge->count && status == HELIOS_OK; i++) {
        helios_seq seq;

        if (vector_find(&loading->known, merge->raised[i].at.branch, &seq))
            merge_replaces(db, target, merge->raised[i].at.branch);
        status = vector_raise(&loading->known, merge->raised[i].at.branch, merge->raised[i].at.seq);
    }
    return status;
}

static helios_status load_one(struct helios_db *db, struct loading *loading, const helios_iter *it)
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
        if (!branch_at(db, merge->raised[i].at.branch))
            status = HELIOS_CORRUPT;
    older = branch_merges(target);
    if (status != HELIOS_OK || (older && older->commit >= merge->commit) ||
        !branch_at(db, merge->source.branch) || !branch_at(db, merge->base.branch)) {
        merge_free(merge);
        return fail_corrupt("%s: the entry of merge %u into branch %u contradicts the others", db->path,
                            ordinal, target->id);
    }
    status = merge_hold(db, merge);
    if (status != HELIOS_OK) {
        merge_free(merge);
        return status;
    }
    branch_add_merge(target, merge);
    return note_loaded(db, loading, target);
}

helios_status merges_load(struct helios_db *db)
{
    helios_iter *it = NULL;
    struct loading loading = {0};
    helios_status status = iter_new_internal(db, 0, SPACE_SYSTEM, slice_make("M", 1), slice_make("N", 1),
                                             atomic_load(&db->visible), &it);

    if (status != HELIOS_OK)
        return status;
    for (helios_iter_first(it); helios_iter_valid(it) && status == HELIOS_OK; helios_iter_next(it))
        status = load_one(db, &loading, it);
    if (status == HELIOS_OK)
        status = helios_iter_status(it);
    helios_iter_free(it);
    vector_release(&loading.known);
    return status;
}

/* ---- what later merges have raised further ---- */

void merge_replaces(struct helios_db *db, const struct branch *target, helios_branch_id raised)
{
    const struct merge *newest = branch_merges(target);

    for (struct merge *merge = newest->older; merge; merge = merge->older)
        for (size_t i = 0; i < merge->count; i++)
            if (merge->raised[i].at.branch == raised) {
                holds_replaced(&db->holds, target, merge, i, newest->commit);
                return;
            }
}

helios_status merges_settle(struct helios_db *db)
{
    helios_seq horizon = atomic_load(&db->horizon), *points = NULL;
    size_t count = 0;
    helios_status status = tags_add_points(&db->tags, horizon, &points, &count);

    if (status == HELIOS_OK)
        holds_settle_replaced(&db->holds, horizon, points, count);
    mem_free(points);
    return status;
}

/* ---- points that merges may need as a base ---- */

helios_status merge_hold(struct helios_db *db, const struct merge *merge)
{
    helios_status status = HELIOS_OK;
    size_t held = 0;

    while (held < merge->count && status == HELIOS_OK) {
        status = holds_add(&db->holds, merge->raised[held].at.branch, merge->raised[held].at.seq);
        held += status == HELIOS_OK;
    }
    while (status != HELIOS_OK && held-- > 0)
        holds_remove(&db->holds, merge->raised[held].at.branch, merge->raised[held].at.seq);
    return status;
}

void merge_let_go(struct helios_db *db, const struct merge *merge)
{
    for (size_t i = 0; i < merge->count; i++)
        holds_remove(&db->holds, merge->raised[i].at.branch, merge->raised[i].at.seq);
}
