/* compact.c - a picked compaction, run: in parts side by side where it is big enough, each part a job of
 * the pool; the part that ends last installs the results of all in one edit. */
#include "engine/engine_internal.h"
#include <assert.h>
#include <inttypes.h>

enum {
    PARTS_MAX = 8,
    READ_AHEAD_BYTES = 256 << 10,
    READ_AHEAD_LEAST = 16 << 10,
    READ_AHEAD_PART = 1024, /* of the memory budget */
};

struct compaction;

struct part {
    struct pool_job job;
    struct compaction *whole;
    helios_slice lower, upper;
    struct compact_result result;
    helios_status status;
    struct error_note note;
};

struct compaction {
    struct helios_db *db;
    struct compact_pick *pick;
    struct version *version; /* keeps what the pick borrows */
    struct job_rules rules;
    struct rangedel_set *rangedels;
    uint64_t began;
    uint64_t time_min, time_max;
    size_t part_count;
    _Atomic size_t parts_left;
    struct part parts[PARTS_MAX];
};

static void set_busy(struct compact_pick *pick, bool busy)
{
    for (size_t i = 0; i < pick->input_count; i++)
        pick->inputs[i]->busy = busy;
    for (size_t i = 0; i < pick->overlap_count; i++)
        pick->overlaps[i]->busy = busy;
}

static void compaction_free(struct compaction *c)
{
    for (size_t i = 0; i < c->part_count; i++)
        compact_result_release(&c->parts[i].result);
    job_rules_release(&c->rules);
    rangedel_unref(c->rangedels);
    compact_pick_free(c->pick);
    version_unref(c->version);
    mem_free(c);
}

/* ---- inputs ---- */

/* Range deletes of the inputs, with the tables that they borrow their bounds from. */
struct gathered {
    struct rangedel *items;
    size_t count, capacity;
    struct table **tables;
    size_t table_count;
};

static helios_status add_rangedels(struct table_file *file, struct gathered *g)
{
    const struct rangedel_set *set;
    struct table *table;
    helios_status status;

    if (file->properties.range_deletes == 0)
        return HELIOS_OK;
    status = table_file_open(file, &table);
    if (status != HELIOS_OK)
        return status;
    g->tables[g->table_count++] = table;
    set = table_rangedels(table);
    for (size_t i = 0; set && i < set->count; i++)
        for (size_t j = 0; j < set->fragments[i].count; j++) {
            if (g->count == g->capacity) {
                size_t more = g->capacity ? g->capacity * 2 : 64;
                struct rangedel *grown = mem_realloc(g->items, more * sizeof(*grown));

                if (!grown)
                    return fail_no_memory(more * sizeof(*grown));
                g->items = grown;
                g->capacity = more;
            }
            g->items[g->count++] =
                (struct rangedel){set->fragments[i].from, set->fragments[i].to, set->fragments[i].seqs[j]};
        }
    return HELIOS_OK;
}

static helios_status gather_rangedels(struct compaction *c)
{
    size_t files = c->pick->input_count + c->pick->overlap_count;
    struct gathered g = {.tables = mem_array(files, sizeof(struct table *))};
    helios_status status = g.tables ? HELIOS_OK : fail_no_memory(files * sizeof(struct table *));

    for (size_t i = 0; i < c->pick->input_count && status == HELIOS_OK; i++)
        status = add_rangedels(c->pick->inputs[i], &g);
    for (size_t i = 0; i < c->pick->overlap_count && status == HELIOS_OK; i++)
        status = add_rangedels(c->pick->overlaps[i], &g);
    if (status == HELIOS_OK && g.count)
        status = rangedel_build(g.items, g.count, &c->rangedels);
    for (size_t i = 0; i < g.table_count; i++)
        table_unref(g.tables[i]);
    mem_free(g.tables);
    mem_free(g.items);
    return status;
}

/* Each source of each part has a buffer of as much: less where memory is bounded. */
static size_t read_ahead(const struct helios_db *db)
{
    uint64_t share = db->options.memory_budget / READ_AHEAD_PART;

    if (db->options.memory_budget == 0 || share > READ_AHEAD_BYTES)
        return READ_AHEAD_BYTES;
    return share < READ_AHEAD_LEAST ? READ_AHEAD_LEAST : (size_t)share;
}

static helios_status open_sources(const struct compaction *c, struct cursor **sources, size_t *count)
{
    const struct table_cursor_options options = {.read_point = CURSOR_ALL, .read_ahead = read_ahead(c->db)};
    const struct compact_pick *pick = c->pick;
    helios_status status = HELIOS_OK;

    *count = 0;
    if (pick->input_level == 0) {
        for (size_t i = 0; i < pick->input_count && status == HELIOS_OK; i++) {
            status = level_cursor_new(&pick->inputs[i], 1, &options, &sources[*count]);
            *count += status == HELIOS_OK;
        }
    } else {
        status = level_cursor_new(pick->inputs, pick->input_count, &options, &sources[*count]);
        *count += status == HELIOS_OK;
    }
    if (status == HELIOS_OK && pick->overlap_count) {
        status = level_cursor_new(pick->overlaps, pick->overlap_count, &options, &sources[*count]);
        *count += status == HELIOS_OK;
    }
    return status;
}

static helios_status open_input(const struct compaction *c, struct cursor **out)
{
    struct cursor **sources = mem_array(c->pick->input_count + 2, sizeof(struct cursor *));
    size_t count = 0;
    helios_status status;

    if (!sources)
        return fail_no_memory(c->pick->input_count * sizeof(*sources));
    status = open_sources(c, sources, &count);
    if (status == HELIOS_OK && count == 1) {
        *out = sources[0];
        count = 0;
    } else if (status == HELIOS_OK) {
        status = merge_cursor_new(sources, count, CURSOR_ALL, out);
        if (status == HELIOS_OK)
            count = 0;
    }
    for (size_t i = 0; i < count; i++)
        cursor_free(sources[i]);
    mem_free(sources);
    return status;
}

/* ---- running ---- */

static helios_status run_part(struct part *part)
{
    struct compaction *c = part->whole;
    struct helios_db *db = c->db;
    const struct compact_pick *pick = c->pick;
    bool bottom = pick->bottommost || pick->output_level == LEVEL_COUNT - 1;
    const struct table_writer_options writer = {
        .block_bytes = db->options.block_bytes,
        .filter_bits_per_key = db->options.filter_bits_per_key,
        .compression = bottom ? db->options.bottom_compression : db->options.compression,
        .time_min = c->time_min,
        .time_max = c->time_max,
        .pace = pace_table,
        .pace_arg = &db->background_pace,
    };
    struct compact_job job = {
        .lower = part->lower,
        .upper = part->upper,
        .rangedels = c->rangedels,
        .rules = &c->rules.rules,
        .home = &db->home,
        .next_number = file_number_take,
        .next_number_arg = db,
        .writer = &writer,
        .target_bytes = db->target_bytes,
        .grandparents = pick->grandparents,
        .grandparent_count = pick->grandparent_count,
        .grandparent_bytes_max = pick->grandparent_bytes_max,
        .cancel = &db->closing,
        .progress = &db->progress,
    };
    helios_status status = open_input(c, &job.input);

    if (status == HELIOS_OK)
        status = compact_run(&job, &part->result);
    cursor_free(job.input);
    return status;
}

static size_t result_count(const struct compaction *c)
{
    size_t count = 0;

    for (size_t i = 0; i < c->part_count; i++)
        count += c->parts[i].result.count;
    return count;
}

static size_t add_removals(const struct compaction *c, struct version_change *changes)
{
    size_t n = 0;

    for (size_t i = 0; i < c->pick->input_count; i++)
        changes[n++] = (struct version_change){c->pick->inputs[i], (uint32_t)c->pick->input_level, true};
    for (size_t i = 0; i < c->pick->overlap_count; i++)
        changes[n++] = (struct version_change){c->pick->overlaps[i], (uint32_t)c->pick->output_level, true};
    return n;
}

/* One edit: the inputs go, the results come. A trivial move adds the input itself, one level down. */
static helios_status install(struct compaction *c)
{
    struct helios_db *db = c->db;
    const struct compact_pick *pick = c->pick;
    size_t removed = pick->input_count + pick->overlap_count, results = result_count(c), n, added;
    struct version_change *changes = mem_array(removed + results + pick->input_count, sizeof(*changes));
    helios_status status = HELIOS_OK;

    if (!changes)
        return fail_no_memory((removed + results) * sizeof(*changes));
    if (results)
        status = io_sync_directory(db->fs, db->sst_directory);
    n = added = add_removals(c, changes);
    for (size_t i = 0; pick->trivial_move && i < pick->input_count; i++)
        changes[n++] =
            (struct version_change){table_file_ref(pick->inputs[i]), (uint32_t)pick->output_level, false};
    for (size_t i = 0; i < c->part_count && status == HELIOS_OK; i++) {
        status = changes_add_results(db, &c->parts[i].result, (uint32_t)pick->output_level,
                                     collected_by(&c->rules), changes + n);
        if (status == HELIOS_OK)
            n += c->parts[i].result.count;
    }
    if (status == HELIOS_OK)
        status = tree_install(db, changes, n, NULL);
    for (; added < n; added++) {
        if (status == HELIOS_OK && !pick->trivial_move)
            atomic_fetch_add(&db->compaction_written_bytes, changes[added].file->size);
        table_file_unref(changes[added].file);
    }
    mem_free(changes);
    return status;
}

static void tell(struct compaction *c, size_t results)
{
    const struct compact_pick *pick = c->pick;

    event_log_say(c->db->events,
                  "compacted L%d %zu + L%d %zu files (%s%s), %" PRIu64 " bytes, into %zu in %" PRIu64 " ms",
                  pick->input_level, pick->input_count, pick->output_level, pick->overlap_count,
                  compact_reason_name(pick->reason), pick->trivial_move ? ", moved" : "", pick->bytes, results,
                  (io_monotonic(c->db->fs) - c->began) / 1000);
}

static void leave_running_locked(struct helios_db *db, const struct compact_pick *pick)
{
    for (size_t i = 0; i < db->running_count; i++)
        if (db->running[i] == pick) {
            db->running[i] = db->running[--db->running_count];
            return;
        }
}

/* Damaged inputs stay busy, so that nothing tries them again before the next open: quarantined. The rest of
 * the database goes on; who asked for a compaction is told. */
static helios_status quarantine(struct compaction *c, helios_status status)
{
    if (status != HELIOS_CORRUPT)
        return status;
    event_log_say(c->db->events, "a compaction found damage and leaves its files alone: %s",
                  helios_last_error());
    mutex_lock(&c->db->state_mu);
    error_keep(&c->db->damage, status);
    mutex_unlock(&c->db->state_mu);
    return HELIOS_OK;
}

/* What nobody needs may not end what others do: without space or memory it is left, until the next rest. */
static helios_status forgo(struct compaction *c, helios_status status)
{
    if (c->pick->reason != COMPACT_REASON_REST || (status != HELIOS_NO_SPACE && status != HELIOS_NO_MEMORY))
        return status;
    mutex_lock(&c->db->state_mu);
    c->db->rest_bytes = 0;
    mutex_unlock(&c->db->state_mu);
    return HELIOS_OK;
}

static void finish(struct compaction *c)
{
    struct helios_db *db = c->db;
    helios_status status = HELIOS_OK;
    bool corrupt;

    for (size_t i = 0; i < c->part_count && status == HELIOS_OK; i++)
        if (c->parts[i].note.status != HELIOS_OK)
            status = error_tell(&c->parts[i].note);
    if (status == HELIOS_OK)
        status = install(c);
    if (status == HELIOS_OK) {
        atomic_fetch_add(&db->compactions, 1);
        if (!c->pick->trivial_move)
            atomic_fetch_add(&db->compaction_read_bytes, c->pick->bytes);
        tell(c, result_count(c));
    } else {
        for (size_t i = 0; i < c->part_count; i++)
            tables_discard(db, &c->parts[i].result);
    }
    corrupt = status == HELIOS_CORRUPT;
    status = forgo(c, quarantine(c, status));
    mutex_lock(&db->state_mu);
    leave_running_locked(db, c->pick);
    if (!corrupt)
        set_busy(c->pick, false);
    mutex_unlock(&db->state_mu);
    compaction_free(c);
    background_done(db, status);
}

static void part_run(struct pool_job *job)
{
    struct part *part = (struct part *)((char *)job - offsetof(struct part, job));
    struct compaction *c = part->whole;
    bool read_nothing = c->pick->trivial_move || c->pick->reason == COMPACT_REASON_DROP;
    helios_status status = HELIOS_OK;

    if (!read_nothing)
        status = run_part(part);
    if (status != HELIOS_OK)
        error_keep(&part->note, status);
    if (atomic_fetch_sub(&c->parts_left, 1) == 1)
        finish(c);
}

/* The first job of a compaction: opens what all parts share, then cuts it into parts. */
static helios_status prepare_parts(struct compaction *c)
{
    struct helios_db *db = c->db;
    helios_slice bounds[PARTS_MAX];
    unsigned threads = pool_threads(db->pool);
    size_t parts = threads > 2 ? threads - 1 : 1, cuts = 0;
    helios_status status = job_rules_init(db, &c->rules);

    if (status == HELIOS_OK)
        status = gather_rangedels(c);
    if (status != HELIOS_OK)
        return status;
    c->rules.rules.may_hold_older = compact_may_hold_older;
    c->rules.rules.may_hold_older_arg = c->pick;
    if (parts > PARTS_MAX)
        parts = PARTS_MAX;
    if (parts > c->pick->bytes / (2 * db->target_bytes) + 1)
        parts = (size_t)(c->pick->bytes / (2 * db->target_bytes) + 1);
    if (parts > 1)
        cuts = compact_split(c->pick, parts, bounds);
    c->part_count = cuts + 1;
    for (size_t i = 0; i < c->part_count; i++) {
        c->parts[i].whole = c;
        c->parts[i].job.run = part_run;
        if (i > 0)
            c->parts[i].lower = bounds[i - 1];
        if (i < cuts)
            c->parts[i].upper = bounds[i];
    }
    return HELIOS_OK;
}

static void compaction_run(struct pool_job *job)
{
    struct part *first = (struct part *)((char *)job - offsetof(struct part, job));
    struct compaction *c = first->whole;
    helios_status status = HELIOS_OK;

    c->began = io_monotonic(c->db->fs);
    c->part_count = 1;
    if (!c->pick->trivial_move && c->pick->reason != COMPACT_REASON_DROP)
        status = prepare_parts(c);
    if (status != HELIOS_OK) {
        error_keep(&first->note, status);
        finish(c);
        return;
    }
    atomic_store(&c->parts_left, c->part_count);
    for (size_t i = 1; i < c->part_count; i++)
        pool_submit(c->db->pool, POOL_COMPACTION, &c->parts[i].job);
    part_run(&first->job);
}

static void note_times(struct compaction *c, const struct table_file *file)
{
    const struct table_properties *p = &file->properties;

    if (p->time_min && (c->time_min == 0 || p->time_min < c->time_min))
        c->time_min = p->time_min;
    if (p->time_max > c->time_max)
        c->time_max = p->time_max;
}

helios_status compaction_start_locked(struct helios_db *db, struct compact_pick *pick)
{
    struct compaction *c = mem_zalloc(sizeof(*c));

    if (!c) {
        compact_pick_free(pick);
        return fail_no_memory(sizeof(*c));
    }
    assert(db->running_count < RUNNING_MAX);
    c->db = db;
    c->pick = pick;
    c->version = version_ref(db->version);
    for (size_t i = 0; i < pick->input_count; i++)
        note_times(c, pick->inputs[i]);
    for (size_t i = 0; i < pick->overlap_count; i++)
        note_times(c, pick->overlaps[i]);
    set_busy(pick, true);
    db->running[db->running_count++] = pick;
    db->jobs++;
    c->parts[0].whole = c;
    c->parts[0].job.run = compaction_run;
    pool_submit(db->pool, POOL_COMPACTION, &c->parts[0].job);
    return HELIOS_OK;
}
