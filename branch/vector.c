/* vector.c - merge vectors and merge bases. Called by engine/merge.c for merges, by engine/branch_rules.c for the points that
 * merges keep. */
#include "branch/vector.h"
#include "base/mem.h"
#include <stdlib.h>

enum { RECORD_VERSION = 1, RECORD_HAS_BASE = 1, RECORD_CLOSED = 2 };

/* ---- vectors ---- */

void vector_release(struct vector *v)
{
    mem_free(v->at);
    *v = (struct vector){0};
}

static size_t vector_place(const struct vector *v, helios_branch_id branch)
{
    size_t low = 0, high = v->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (v->at[middle].branch < branch)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static helios_status vector_grow(struct vector *v)
{
    size_t capacity = v->capacity ? v->capacity * 2 : 16;
    struct vector_entry *at = mem_realloc(v->at, capacity * sizeof(*at));

    if (!at)
        return fail_no_memory(capacity * sizeof(*at));
    v->at = at;
    v->capacity = capacity;
    return HELIOS_OK;
}

helios_status vector_raise(struct vector *v, helios_branch_id branch, helios_seq seq)
{
    size_t place = vector_place(v, branch);

    if (place < v->count && v->at[place].branch == branch) {
        if (v->at[place].seq < seq)
            v->at[place].seq = seq;
        return HELIOS_OK;
    }
    if (v->count == v->capacity) {
        helios_status status = vector_grow(v);

        if (status != HELIOS_OK)
            return status;
    }
    memmove(v->at + place + 1, v->at + place, (v->count - place) * sizeof(*v->at));
    v->at[place] = (struct vector_entry){branch, seq};
    v->count++;
    return HELIOS_OK;
}

bool vector_find(const struct vector *v, helios_branch_id branch, helios_seq *seq)
{
    size_t place = vector_place(v, branch);

    if (place == v->count || v->at[place].branch != branch)
        return false;
    *seq = v->at[place].seq;
    return true;
}

helios_status vector_missing(const struct vector *theirs, const struct vector *ours, struct vector *out)
{
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < theirs->count && status == HELIOS_OK; i++) {
        helios_seq seq;

        if (!vector_find(ours, theirs->at[i].branch, &seq) || seq < theirs->at[i].seq)
            status = vector_raise(out, theirs->at[i].branch, theirs->at[i].seq);
    }
    return status;
}

/* ---- merges ---- */

struct merge *merge_alloc(size_t raised)
{
    struct merge *merge = mem_zalloc(sizeof(*merge) + raised * sizeof(merge->raised[0]));

    if (merge)
        merge->count = raised;
    else
        (void)!fail_no_memory(raised * sizeof(merge->raised[0]));
    return merge;
}

void merge_free(struct merge *merge)
{
    mem_free(merge);
}

struct merge *branch_merges(const struct branch *branch)
{
    return atomic_load_explicit(&branch->merges, memory_order_acquire);
}

void branch_add_merge(struct branch *branch, struct merge *merge)
{
    merge->older = branch_merges(branch);
    atomic_store_explicit(&branch->merges, merge, memory_order_release);
}

static helios_status append_number(helios_buf *out, uint64_t number)
{
    unsigned char bytes[VARINT_MAX];

    return buf_append(out, bytes, put_varint(bytes, number));
}

static helios_status append_entry(helios_buf *out, const struct vector_entry *entry)
{
    helios_status status = append_number(out, entry->branch);

    return status == HELIOS_OK ? append_number(out, entry->seq) : status;
}

helios_status merge_encode(helios_buf *out, const struct merge *merge)
{
    const unsigned char head[] = {RECORD_VERSION, (merge->has_base ? RECORD_HAS_BASE : 0) |
                                                      (merge->closed_source ? RECORD_CLOSED : 0)};
    helios_status status = buf_set(out, head, sizeof(head));

    if (status == HELIOS_OK)
        status = append_number(out, merge->time);
    if (status == HELIOS_OK)
        status = append_entry(out, &merge->source);
    if (status == HELIOS_OK)
        status = append_entry(out, &merge->base);
    if (status == HELIOS_OK)
        status = append_number(out, merge->count);
    for (size_t i = 0; i < merge->count && status == HELIOS_OK; i++)
        status = append_entry(out, &merge->raised[i].at);
    return status;
}

static struct vector_entry read_entry(struct reader *r)
{
    uint64_t branch = read_varint(r);
    struct vector_entry entry = {(helios_branch_id)branch, read_varint(r)};

    r->bad |= branch > UINT32_MAX || entry.seq > SEQ_MAX;
    return entry;
}

helios_status merge_decode(helios_slice value, struct merge **out)
{
    struct reader r = reader_make(value.data, value.size);
    const unsigned char *head = read_raw(&r, 2);
    uint64_t time = read_varint(&r), count;
    struct vector_entry source = read_entry(&r), base = read_entry(&r);
    struct merge *merge;

    count = read_varint(&r);
    if (r.bad || head[0] != RECORD_VERSION || head[1] > (RECORD_HAS_BASE | RECORD_CLOSED) || count > value.size)
        return fail(HELIOS_CORRUPT, "a merge's entry cannot be read");
    merge = merge_alloc((size_t)count);
    if (!merge)
        return HELIOS_NO_MEMORY;
    merge->time = time;
    merge->source = source;
    merge->base = base;
    merge->has_base = head[1] & RECORD_HAS_BASE;
    merge->closed_source = head[1] & RECORD_CLOSED;
    for (size_t i = 0; i < count; i++)
        merge->raised[i].at = read_entry(&r);
    if (!reader_done(&r)) {
        merge_free(merge);
        return fail(HELIOS_CORRUPT, "a merge's entry cannot be read");
    }
    *out = merge;
    return HELIOS_OK;
}

/* ---- the vector of a state ---- */

struct vector_entry point_settled(const struct registry *registry, helios_branch_id id, helios_seq seq)
{
    const struct branch *branch = registry_at(registry, id);

    while (branch->id != 0 && seq <= branch->fork_seq)
        branch = registry_at(registry, branch->parent);
    return (struct vector_entry){branch->id, seq};
}

static helios_status raise_by_merges(const struct branch *branch, helios_seq seq, struct vector *vector)
{
    helios_status status = HELIOS_OK;

    for (const struct merge *m = branch_merges(branch); m; m = m->older)
        for (size_t i = 0; i < m->count && m->commit <= seq && status == HELIOS_OK; i++)
            status = vector_raise(vector, m->raised[i].at.branch, m->raised[i].at.seq);
    return status;
}

helios_status vector_of(const struct registry *registry, helios_branch_id id, helios_seq seq,
                        struct vector *vector)
{
    const struct branch *branch = registry_at(registry, id);
    helios_status status = vector_raise(vector, id, seq);

    while (status == HELIOS_OK) {
        if (branch->id == 0 || seq >= branch->fork_seq)
            status = raise_by_merges(branch, seq, vector);
        if (branch->id == 0 || status != HELIOS_OK)
            break;
        if (branch->fork_seq < seq)
            seq = branch->fork_seq;
        branch = registry_at(registry, branch->parent);
        status = vector_raise(vector, branch->id, seq);
    }
    return status;
}

/* ---- bases ---- */

void bases_release(struct bases *bases)
{
    vector_release(&bases->points);
}

/* What contains another point is numbered above it. */
static int newest_first(const void *a, const void *b)
{
    const struct vector_entry *x = a, *y = b;

    if (x->seq != y->seq)
        return x->seq > y->seq ? -1 : 1;
    return x->branch < y->branch ? -1 : x->branch > y->branch;
}

static helios_status common_points(const struct registry *registry, const struct vector *a,
                                   const struct vector *b, struct vector *out)
{
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < a->count && status == HELIOS_OK; i++) {
        struct vector_entry point = a->at[i];
        helios_seq other;

        if (!vector_find(b, point.branch, &other))
            continue;
        point = point_settled(registry, point.branch, other < point.seq ? other : point.seq);
        status = vector_raise(out, point.branch, point.seq);
    }
    if (out->count)
        qsort(out->at, out->count, sizeof(*out->at), newest_first);
    return status;
}

/* Leaves out of points[from, count) what the vector contains. */
static size_t leave_out(struct vector_entry *points, size_t from, size_t count, const struct vector *vector)
{
    size_t kept = from;

    for (size_t i = from; i < count; i++) {
        helios_seq seq;

        if (!vector_find(vector, points[i].branch, &seq) || seq < points[i].seq)
            points[kept++] = points[i];
    }
    return kept;
}

helios_status bases_find(const struct registry *registry, const struct vector *a, const struct vector *b,
                         struct bases *out)
{
    struct vector points = {0};
    helios_status status = common_points(registry, a, b, &points);

    out->lost = false;
    for (size_t i = 0; i < points.count && status == HELIOS_OK; i++) {
        const struct branch *branch = registry_at(registry, points.at[i].branch);
        struct vector within = {0};

        if (atomic_load(&branch->state) == HELIOS_BRANCH_DROPPED) {
            out->lost = true;
            break;
        }
        status = vector_of(registry, branch->id, points.at[i].seq, &within);
        if (status == HELIOS_OK)
            points.count = leave_out(points.at, i + 1, points.count, &within);
        vector_release(&within);
    }
    if (status == HELIOS_OK)
        out->points = points;
    else
        vector_release(&points);
    return status;
}
