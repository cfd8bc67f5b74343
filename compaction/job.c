/* job.c - the merge of a flush or compaction. Called by engine/ on a thread of the pool.
 *
 * One pass: for each key its versions go through the garbage rule and what is kept to the writer. Range
 * deletes are walked beside it, fragment by fragment: once the merge has passed a fragment, or cuts the
 * output inside it, it is known what versions it still hides, and so which of its numbers must be kept. */
#include "compaction/job.h"
#include "base/mem.h"
#include <assert.h>
#include <inttypes.h>

enum { TICK_ENTRIES = 256, PATH_BYTES = 4096 };

struct merge {
    const struct compact_job *job;
    struct garbage garbage;
    struct table_writer *writer; /* of the output under way; NULL: none yet */
    uint64_t number;
    uint64_t grandparent_bytes; /* passed by the output under way */
    size_t grandparent;         /* the first that ends at or above the key */

    unsigned char *key_bytes; /* KEY_BYTES_MAX: the current key */
    helios_slice key;
    uint64_t last_tag;

    /* The fragment that is not behind the merge yet, and whether a key in it was met. */
    size_t fragment;
    bool inside;
    helios_slice cut;         /* outputs end here so far; data NULL: none was cut */
    unsigned char *cut_bytes; /* KEY_BYTES_MAX */
    helios_seq *kept_seqs;    /* room for the longest fragment */

    struct compact_result result;
    size_t result_capacity;
    /* since the last tick */
    uint64_t entries, bytes, written, dropped;
    uint64_t bytes_read; /* until then */
};

/* ---- outputs ---- */

static helios_status open_output(struct merge *m)
{
    struct table_writer_options options = *m->job->writer;
    char path[PATH_BYTES];

    m->number = m->job->next_number(m->job->next_number_arg);
    table_file_path(m->job->home, m->number, path, sizeof(path));
    options.fs = m->job->home->fs;
    options.crypt = m->job->home->crypt;
    options.path = path;
    options.number = m->number;
    m->grandparent_bytes = 0;
    return table_writer_new(&options, &m->writer);
}

/* Room for one more result, so that a finished file is never without a place. */
static helios_status reserve_result(struct merge *m)
{
    size_t capacity = m->result_capacity ? m->result_capacity * 2 : 8;
    struct table_result *tables;

    if (m->result.count < m->result_capacity)
        return HELIOS_OK;
    tables = mem_realloc(m->result.tables, capacity * sizeof(*tables));
    if (!tables)
        return fail_no_memory(capacity * sizeof(*tables));
    m->result.tables = tables;
    m->result_capacity = capacity;
    return HELIOS_OK;
}

static helios_status finish_output(struct merge *m)
{
    struct table_result table = {0};
    helios_status status;

    if (!m->writer)
        return HELIOS_OK;
    status = reserve_result(m);
    if (status != HELIOS_OK)
        return status;
    status = table_writer_finish(m->writer, &table);
    if (status != HELIOS_OK)
        return status;
    table_writer_free(m->writer);
    m->writer = NULL;
    m->result.tables[m->result.count++] = table;
    if (m->job->progress)
        atomic_fetch_add_explicit(&m->job->progress->bytes_written, table.size, memory_order_relaxed);
    return HELIOS_OK;
}

static inline helios_status write_version(struct merge *m, uint64_t tag, helios_slice value)
{
    if (!m->writer) {
        helios_status status = open_output(m);

        if (status != HELIOS_OK)
            return status;
    }
    m->written++;
    return table_writer_add(m->writer, m->key, tag, value);
}

/* ---- range deletes ---- */

static bool at_or_below(helios_slice bound, helios_slice key)
{
    return slice_compare(bound, key) <= 0;
}

/* Writes what must be kept of the current fragment, of its part before `to`. */
static helios_status write_piece(struct merge *m, helios_slice to)
{
    const struct compact_job *job = m->job;
    struct rangedel_fragment piece = job->rangedels->fragments[m->fragment];
    helios_seq kept_min = m->inside ? m->garbage.kept_min : UINT64_MAX;
    size_t count;

    m->inside = false;
    if (job->lower.data && at_or_below(piece.from, job->lower))
        piece.from = job->lower;
    if (m->cut.data && at_or_below(piece.from, m->cut))
        piece.from = m->cut;
    if (at_or_below(to, piece.to))
        piece.to = to;
    if (at_or_below(piece.to, piece.from))
        return HELIOS_OK;
    count = garbage_fragment(&m->garbage, &piece, kept_min, m->kept_seqs);
    for (size_t i = 0; i < count; i++) {
        struct rangedel item = {piece.from, piece.to, m->kept_seqs[i]};
        helios_status status = m->writer ? HELIOS_OK : open_output(m);

        if (status == HELIOS_OK)
            status = table_writer_add_rangedel(m->writer, &item);
        if (status != HELIOS_OK)
            return status;
    }
    return HELIOS_OK;
}

/* The next output begins at `at`, which must stay where it is. */
static helios_status cut_output(struct merge *m, helios_slice at)
{
    m->cut = at;
    return finish_output(m);
}

/* Passes all fragments that end at or before key; no key: all that begin below the upper bound. */
static helios_status pass_fragments(struct merge *m, helios_slice key)
{
    const struct rangedel_set *set = m->job->rangedels;
    helios_slice upper = m->job->upper;

    while (m->fragment < set->count) {
        const struct rangedel_fragment *fragment = &set->fragments[m->fragment];
        helios_slice to = fragment->to;
        helios_status status;

        if (key.data ? !at_or_below(to, key) : upper.data && at_or_below(upper, fragment->from))
            return HELIOS_OK;
        if (upper.data && at_or_below(upper, to))
            to = upper;
        status = write_piece(m, to);
        if (status == HELIOS_OK && m->writer && table_writer_size(m->writer) >= m->job->target_bytes)
            status = cut_output(m, to);
        if (status != HELIOS_OK)
            return status;
        m->fragment++;
    }
    return HELIOS_OK;
}

/* The fragment that covers the current key, all before it passed; NULL: none. */
static const struct rangedel_fragment *covering_fragment(struct merge *m)
{
    const struct rangedel_set *set = m->job->rangedels;
    const struct rangedel_fragment *fragment = &set->fragments[m->fragment];

    if (m->fragment == set->count || !at_or_below(fragment->from, m->key))
        return NULL;
    if (!m->inside) {
        m->inside = true;
        m->garbage.kept_min = UINT64_MAX;
    }
    return fragment;
}

/* ---- keys ---- */

/* Grandparents that end below the key are behind the output under way. */
static bool overlaps_too_much(struct merge *m, helios_slice key)
{
    const struct compact_job *job = m->job;

    while (m->grandparent < job->grandparent_count &&
           slice_compare(job->grandparents[m->grandparent]->largest, key) < 0) {
        m->grandparent_bytes += job->grandparents[m->grandparent]->size;
        m->grandparent++;
    }
    return job->grandparent_bytes_max && m->grandparent_bytes > job->grandparent_bytes_max;
}

/* The engine's own entries come with every flush: in tables of their own they do not stretch those of the users'
 * keys over all that lies between. */
static bool enters_other_space(const struct merge *m, helios_slice key)
{
    return m->key.data && (key_space_of(m->key) == SPACE_SYSTEM) != (key_space_of(key) == SPACE_SYSTEM);
}

/* Ends the output before `key` if it is large enough. */
static helios_status maybe_cut(struct merge *m, helios_slice key)
{
    const struct rangedel_set *set = m->job->rangedels;
    bool full = overlaps_too_much(m, key);

    if (!m->writer)
        return HELIOS_OK;
    if (!full && table_writer_size(m->writer) < m->job->target_bytes && !enters_other_space(m, key))
        return HELIOS_OK;
    if (set && m->fragment < set->count && !at_or_below(key, set->fragments[m->fragment].from)) {
        helios_status status = write_piece(m, key);

        if (status != HELIOS_OK)
            return status;
    }
    memcpy(m->cut_bytes, key.data, key.size); /* the cursor's bytes do not stay */
    return cut_output(m, slice_make(m->cut_bytes, key.size));
}

static helios_status end_key(struct merge *m)
{
    uint64_t tag;

    if (!m->key.data)
        return HELIOS_OK;
    tag = garbage_key_end(&m->garbage, m->key);
    return tag ? write_version(m, tag, slice_make("", 0)) : HELIOS_OK;
}

static helios_status begin_key(struct merge *m, helios_slice key)
{
    const struct rangedel_fragment *fragment = NULL;
    helios_status status = end_key(m);

    if (status == HELIOS_OK && m->job->rangedels)
        status = pass_fragments(m, key);
    if (status == HELIOS_OK)
        status = maybe_cut(m, key);
    if (status != HELIOS_OK)
        return status;
    memcpy(m->key_bytes, key.data, key.size);
    m->key = slice_make(m->key_bytes, key.size);
    if (m->job->rangedels)
        fragment = covering_fragment(m);
    garbage_key_begin(&m->garbage, m->key, fragment ? fragment->seqs : NULL, fragment ? fragment->count : 0);
    return HELIOS_OK;
}

/* Tables are checked block by block; that they are in order with each other is checked here. */
static helios_status check_order(const struct merge *m, helios_slice key, uint64_t tag, int order)
{
    if (key.size < KEY_LAYER_BYTES || key.size > KEY_BYTES_MAX)
        return fail_corrupt("compaction: a key of %zu bytes", key.size);
    if (order < 0 || (order == 0 && tag >= m->last_tag))
        return fail_corrupt("compaction: version %" PRIu64 " of a key of %zu bytes is out of order",
                            tag_seq(tag), key.size);
    return HELIOS_OK;
}

static helios_status keep_version(struct merge *m, struct cursor *cursor)
{
    helios_slice value;
    helios_status status = cursor_value(cursor, &value);

    return status == HELIOS_OK ? write_version(m, cursor->tag, value) : status;
}

static helios_status one_version(struct merge *m, struct cursor *cursor)
{
    uint64_t before;
    helios_status status;

    switch (garbage_version(&m->garbage, cursor->tag, &before)) {
    case GARBAGE_DROP:
    case GARBAGE_HOLD: return HELIOS_OK;
    case GARBAGE_KEEP_BOTH:
        status = write_version(m, before, slice_make("", 0));
        if (status != HELIOS_OK)
            return status;
        return keep_version(m, cursor);
    case GARBAGE_KEEP: break;
    }
    return keep_version(m, cursor);
}

/* ---- the walk ---- */

static void publish_progress(struct merge *m)
{
    struct compact_progress *progress = m->job->progress;

    m->result.entries_read += m->entries;
    m->result.entries_written += m->written;
    m->bytes_read += m->bytes;
    if (progress) {
        atomic_fetch_add_explicit(&progress->entries_read, m->entries, memory_order_relaxed);
        atomic_fetch_add_explicit(&progress->bytes_read, m->bytes, memory_order_relaxed);
        atomic_fetch_add_explicit(&progress->entries_written, m->written, memory_order_relaxed);
    }
    m->entries = m->bytes = m->written = 0;
}

static helios_status tick(struct merge *m)
{
    publish_progress(m);
    if (m->job->tick)
        m->job->tick(m->job->tick_arg, m->result.entries_read, m->bytes_read);
    if (m->job->cancel && atomic_load_explicit(m->job->cancel, memory_order_relaxed))
        return fail(HELIOS_BUSY, "compaction cancelled");
    return HELIOS_OK;
}

static helios_status merge_entries(struct merge *m)
{
    struct cursor *cursor = m->job->input;
    helios_slice lower = m->job->lower, upper = m->job->upper;
    helios_status status = tick(m);

    if (status != HELIOS_OK)
        return status;
    if (lower.data)
        cursor_seek(cursor, lower, TAG_MAX);
    else
        cursor_first(cursor);
    for (; cursor->valid; cursor_next(cursor)) {
        int order = m->key.data ? slice_compare(cursor->key, m->key) : 1;

        if (order <= 0 || cursor->key.size < KEY_LAYER_BYTES || cursor->key.size > KEY_BYTES_MAX) {
            status = check_order(m, cursor->key, cursor->tag, order);
            if (status != HELIOS_OK)
                return status;
        }
        if (order > 0) {
            if (upper.data && at_or_below(upper, cursor->key))
                break;
            status = begin_key(m, cursor->key);
            if (status != HELIOS_OK)
                return status;
        }
        m->last_tag = cursor->tag;
        m->bytes += cursor->key.size + cursor->value.size;
        status = one_version(m, cursor);
        if (status == HELIOS_OK && ++m->entries == TICK_ENTRIES)
            status = tick(m);
        if (status != HELIOS_OK)
            return status;
    }
    if (cursor->status == HELIOS_OK)
        return HELIOS_OK;
    return cursor->error ? error_tell(cursor->error) : cursor->status;
}

static helios_status merge_all(struct merge *m)
{
    helios_status status = merge_entries(m);

    if (status == HELIOS_OK)
        status = end_key(m);
    if (status == HELIOS_OK && m->job->rangedels)
        status = pass_fragments(m, slice_make(NULL, 0));
    if (status == HELIOS_OK)
        status = finish_output(m);
    publish_progress(m);
    return status;
}

static size_t longest_fragment(const struct rangedel_set *set)
{
    size_t longest = 0;

    for (size_t i = 0; set && i < set->count; i++) {
        if (set->fragments[i].count > longest)
            longest = set->fragments[i].count;
    }
    return longest;
}

static helios_status merge_init(struct merge *m, const struct compact_job *job)
{
    size_t longest = longest_fragment(job->rangedels);

    *m = (struct merge){.job = job, .last_tag = TAG_MAX};
    garbage_init(&m->garbage, job->rules, job->lower, job->upper);
    if (job->rangedels && job->lower.data)
        m->fragment = rangedel_find(job->rangedels, job->lower);
    m->key_bytes = mem_alloc(KEY_BYTES_MAX);
    m->cut_bytes = mem_alloc(KEY_BYTES_MAX);
    m->kept_seqs = mem_array(longest, sizeof(*m->kept_seqs));
    if (!m->key_bytes || !m->cut_bytes || !m->kept_seqs)
        return fail_no_memory(2 * (size_t)KEY_BYTES_MAX + longest * sizeof(*m->kept_seqs));
    return HELIOS_OK;
}

/* No file is left, and the sentence is still the one of the failure. */
static helios_status give_up(struct merge *m, helios_status status)
{
    struct error_note note = {0};

    error_keep(&note, status);
    table_writer_free(m->writer);
    m->writer = NULL;
    compact_result_discard(&m->result, m->job->home);
    return error_tell(&note);
}

helios_status compact_run(const struct compact_job *job, struct compact_result *result)
{
    struct merge m;
    helios_status status = merge_init(&m, job);

    assert(!job->lower.data || !job->upper.data || slice_compare(job->lower, job->upper) < 0);
    if (status == HELIOS_OK)
        status = merge_all(&m);
    if (status == HELIOS_OK) {
        m.result.dropped = m.result.entries_read - m.result.entries_written;
        if (job->progress)
            atomic_fetch_add_explicit(&job->progress->dropped, m.result.dropped, memory_order_relaxed);
        *result = m.result;
    } else {
        status = give_up(&m, status);
    }
    mem_free(m.key_bytes);
    mem_free(m.cut_bytes);
    mem_free(m.kept_seqs);
    return status;
}

void compact_result_release(struct compact_result *result)
{
    for (size_t i = 0; i < result->count; i++)
        table_result_release(&result->tables[i]);
    mem_free(result->tables);
    *result = (struct compact_result){0};
}

void compact_result_discard(struct compact_result *result, const struct table_home *home)
{
    char path[PATH_BYTES];

    for (size_t i = 0; i < result->count; i++) {
        table_file_path(home, result->tables[i].number, path, sizeof(path));
        if (io_remove(home->fs, path) != HELIOS_OK)
            continue; /* found and removed as a stray file by the next open */
    }
    compact_result_release(result);
}
