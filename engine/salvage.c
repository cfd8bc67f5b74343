/* salvage.c - a new database from whatever is sound in a damaged one. All tables and the records of the log become one
 * stream of versions in order, and that becomes the tables of one level; nothing is collected on the way. Beside it, in
 * level 0, stand times of the log's commits and the commit that brings the registry into agreement. */
#include "engine/consumer_entries.h"
#include "engine/identity.h"
#include "engine/salvage_internal.h"
#include "engine/timeline.h"
#include <inttypes.h>
#include <stdio.h>

enum {
    TARGET_BYTES = 64 << 20,
    LARGE_COMMIT_MIN = 32 << 10, /* no ingested commit has fewer bytes */
    MENDING_BYTES = 1 << 20,     /* of a memtable, and for each entry in it: */
    NODE_BYTES = 128,
    NUMBERS_UNKNOWN = 1 << 25, /* without a manifest: so many may have been handed out beyond what is seen */
};

/* ---- what is lost ---- */

static void split_key(helios_slice key, helios_lost_key *out)
{
    if (key.size < KEY_LAYER_BYTES)
        return;
    *out = (helios_lost_key){key_branch(key), key_space_of(key), key_user(key)};
}

void salvage_lose(struct salvage *s, const struct salvage_loss *loss)
{
    helios_lost lost = {
        .size = sizeof(lost),
        .kind = loss->kind,
        .file = loss->file ? loss->file : "",
        .all_below = loss->from.size < KEY_LAYER_BYTES,
        .all_above = loss->to.size < KEY_LAYER_BYTES,
        .first = loss->first,
        .last = loss->last,
        .reason = loss->reason,
    };

    split_key(loss->from, &lost.from);
    split_key(loss->to, &lost.to);
    s->report.lost++;
    if (s->options.lost)
        s->options.lost(s->options.arg, &lost);
}

struct table_watch {
    struct salvage *s;
    struct salvage_table table; /* a copy: the list may move */
    bool quiet;                 /* it is not known yet whether the table counts */
};

static helios_status table_lost(void *arg, enum table_loss kind, helios_slice from, helios_slice to,
                                const char *reason)
{
    const struct table_watch *w = arg;
    const struct salvage_table *table = &w->table;
    struct salvage_loss loss = {kind == TABLE_LOSS_KEYS ? HELIOS_LOST_KEYS : HELIOS_LOST_RANGE_DELETES,
                                table->name,
                                from,
                                to,
                                0,
                                0,
                                reason};

    if (w->quiet)
        return HELIOS_OK;
    if (table->described) {
        loss.first = table->override_seq ? table->override_seq : table->properties.seq_min;
        loss.last = table->override_seq ? table->override_seq : table->properties.seq_max;
        if (!loss.from.data)
            loss.from = table->smallest;
        if (!loss.to.data)
            loss.to = table->largest;
        if (kind == TABLE_LOSS_RANGE_DELETES && table->properties.range_deletes == 0)
            return HELIOS_OK;
    }
    salvage_lose(w->s, &loss);
    return HELIOS_OK;
}

/* Of a table that was just written nothing may be lost. */
static helios_status spill_lost(void *arg, enum table_loss kind, helios_slice from, helios_slice to,
                                const char *reason)
{
    return fail(HELIOS_IO, "%s", reason);
}

/* ---- sources ---- */

helios_status salvage_add_source(struct salvage *s, struct cursor *cursor)
{
    helios_status status = salvage_room(&s->sources, s->source_count, &s->source_capacity, sizeof(*s->sources));

    if (status == HELIOS_OK)
        s->sources[s->source_count++] = cursor;
    else
        cursor_free(cursor);
    return status;
}

helios_status salvage_add_deletes(struct salvage *s, struct rangedel_set *set, helios_seq override_seq)
{
    helios_status status = HELIOS_OK;

    for (size_t i = 0; set && i < set->count && status == HELIOS_OK; i++)
        for (size_t j = 0; j < set->fragments[i].count && status == HELIOS_OK; j++) {
            status = salvage_room(&s->deletes, s->delete_count, &s->delete_capacity, sizeof(*s->deletes));
            if (status == HELIOS_OK)
                s->deletes[s->delete_count++] =
                    (struct rangedel){set->fragments[i].from, set->fragments[i].to,
                                      override_seq ? override_seq : set->fragments[i].seqs[j]};
        }
    return status;
}

static helios_status add_table(struct salvage *s, const char *directory, struct table_watch *watch,
                               const char *name)
{
    char path[PATH_BYTES_MAX];
    const struct table_salvage_options options = {.fs = s->fs,
                                                  .path = path,
                                                  .override_seq = watch ? watch->table.override_seq : 0,
                                                  .lost = watch ? table_lost : spill_lost,
                                                  .arg = watch};
    struct table_salvage **opened =
        mem_realloc(s->opened, (s->opened_count + 1) * sizeof(*opened)); /* few enough to count one by one */
    helios_status status;

    if (!opened)
        return fail_no_memory((s->opened_count + 1) * sizeof(*opened));
    s->opened = opened;
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    status = table_salvage_open(&options, &s->opened[s->opened_count]);
    if (status == HELIOS_OK)
        s->opened_count++;
    return status;
}

/* Both walks of the table that was opened last, and its range deletes. */
static helios_status add_opened(struct salvage *s, helios_seq override_seq)
{
    struct table_salvage *table = s->opened[s->opened_count - 1];
    helios_status status = salvage_add_deletes(s, table_salvage_rangedels(table), override_seq);

    /* All versions of an ingested table are one, so no key has history. */
    for (int history = 0; history < (override_seq ? 1 : 2) && status == HELIOS_OK; history++) {
        struct cursor *cursor = NULL;

        status = table_salvage_cursor(table, history, &cursor);
        if (status == HELIOS_OK)
            status = salvage_add_source(s, cursor);
    }
    return status;
}

static uint64_t take_number(void *arg)
{
    struct salvage *s = arg;

    return s->next_number++;
}

static const struct garbage_rules keep_everything = {.collect = false};

static helios_status write_tables(struct salvage *s, struct cursor *input, const struct rangedel_set *deletes,
                                  uint64_t time_min, uint64_t time_max, struct compact_result *result)
{
    static const helios_options usual = HELIOS_OPTIONS_INIT;
    const struct table_writer_options writer = {
        .block_bytes = usual.block_bytes,
        .filter_bits_per_key = usual.filter_bits_per_key,
        .compression = usual.compression,
        .time_min = time_min,
        .time_max = time_max,
    };
    const struct compact_job job = {
        .input = input,
        .rangedels = deletes,
        .rules = &keep_everything,
        .home = &s->home,
        .next_number = take_number,
        .next_number_arg = s,
        .writer = &writer,
        .target_bytes = TARGET_BYTES,
    };

    return compact_run(&job, result);
}

static helios_status note_spilled(struct salvage *s, uint64_t number)
{
    uint64_t *spilled = mem_realloc(s->spilled, (s->spilled_count + 1) * sizeof(*spilled));
    struct table_watch *watch = NULL;
    char name[32];
    helios_status status;

    if (!spilled)
        return fail_no_memory((s->spilled_count + 1) * sizeof(*spilled));
    s->spilled = spilled;
    s->spilled[s->spilled_count++] = number;
    snprintf(name, sizeof(name), "%08" PRIu64 ".sst", number);
    status = add_table(s, s->home.directory, watch, name);
    return status == HELIOS_OK ? add_opened(s, 0) : status;
}

helios_status salvage_spill(struct salvage *s)
{
    struct compact_result result = {0};
    struct cursor *cursor = NULL;
    helios_status status = HELIOS_OK;

    if (s->memtable && !memtable_empty(s->memtable)) {
        status = memtable_cursor_new(s->memtable, CURSOR_ALL, &cursor);
        if (status == HELIOS_OK)
            status = write_tables(s, cursor, memtable_rangedels(s->memtable), 0, 0, &result);
        cursor_free(cursor);
    }
    memtable_unref(s->memtable);
    s->memtable = NULL;
    for (size_t i = 0; i < result.count && status == HELIOS_OK; i++)
        status = note_spilled(s, result.tables[i].number);
    compact_result_release(&result);
    return status;
}

/* ---- which tables count ---- */

static void lose_table(struct salvage *s, const struct salvage_table *table, const char *reason)
{
    struct table_watch watch = {s, *table, false};
    char name[64];

    if (!table->name[0]) {
        snprintf(name, sizeof(name), "sst/%08" PRIu64 ".sst", table->number);
        memcpy(watch.table.name, name, sizeof(name));
    }
    s->report.tables_lost++;
    (void)!table_lost(&watch, TABLE_LOSS_KEYS, (helios_slice){0}, (helios_slice){0}, reason);
}

/* In the file all versions of an ingested table are 1; only the first commit of all has that number otherwise. */
static bool lacks_number(const struct salvage_table *table, const struct table_properties *p)
{
    return !table->override_seq && !table->listed && p && p->seq_max == 1 &&
           (p->entries + p->range_deletes > 1 || p->key_bytes + p->value_bytes >= LARGE_COMMIT_MIN);
}

/* A table that nobody names: of a manifest that is believed, what it holds beyond what that knows. */
static bool unnamed_counts(const struct salvage *s, const struct table_properties *p)
{
    return !s->trusted || (p && p->seq_max > s->state.flushed);
}

static helios_status take_table(struct salvage *s, const struct salvage_table *table, struct table_watch *watch)
{
    const struct table_properties *p;
    struct table_salvage *opened;
    helios_status status;

    if (s->trusted && !table->listed && strncmp(table->name, "wal/", 4) == 0)
        return HELIOS_OK; /* of the feed */
    /* What a killed job has left half-written is no loss. */
    *watch = (struct table_watch){s, *table, .quiet = s->trusted && !table->listed};
    status = add_table(s, s->from, watch, table->name);
    if (status != HELIOS_OK)
        return status;
    opened = s->opened[s->opened_count - 1];
    p = table_salvage_properties(opened);
    if (!table->listed && !unnamed_counts(s, p))
        return HELIOS_OK;
    watch->quiet = false;
    s->report.tables++;
    if (lacks_number(table, p)) {
        lose_table(s, table, "nothing is left that names the commit that brought it");
        return HELIOS_OK;
    }
    if (!table_salvage_found(opened))
        s->report.tables_lost++;
    return add_opened(s, table->override_seq);
}

static helios_status take_tables(struct salvage *s, struct table_watch *watches)
{
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < s->tables.count && status == HELIOS_OK; i++) {
        const struct salvage_table *table = &s->tables.items[i];

        if (table->name[0])
            status = take_table(s, table, &watches[i]);
        else if (table->listed)
            lose_table(s, table, "the table is missing");
        if (s->options.progress)
            s->options.progress(s->options.arg, i + 1, s->tables.count);
    }
    return status;
}

/* ---- the stream, looked at on its way ---- */

struct sieve {
    struct cursor base;
    struct salvage *s;
    struct cursor *inner;
    helios_buf last; /* key of the last entry of the system space */
    struct error_note error;
};

static helios_status keep_entry(struct salvage *s, const struct cursor *c)
{
    helios_slice key = key_user(c->key);
    struct salvage_entry entry = {.seq = tag_seq(c->tag)};
    helios_status status = salvage_room(&s->entries, s->entry_count, &s->entry_capacity, sizeof(*s->entries));
    char *bytes;

    if (status != HELIOS_OK)
        return status;
    bytes = mem_alloc(key.size + c->value.size + 1);
    if (!bytes)
        return fail_no_memory(key.size + c->value.size + 1);
    memcpy(bytes, key.data, key.size);
    if (c->value.size)
        memcpy(bytes + key.size, c->value.data, c->value.size);
    entry.key = slice_make(bytes, key.size);
    entry.value = slice_make(bytes + key.size, c->value.size);
    s->entries[s->entry_count++] = entry;
    return HELIOS_OK;
}

/* Of branches, merges and tags the newest version; of the timeline how far it goes. */
static helios_status see_system(struct sieve *v)
{
    const struct cursor *c = v->inner;
    const unsigned char *user = slice_bytes(c->key) + KEY_LAYER_BYTES;
    size_t size = c->key.size - KEY_LAYER_BYTES;
    bool is_newest = !slice_equal(c->key, buf_slice(&v->last));

    if (!is_newest || size == 0 || tag_kind(c->tag) != KIND_VALUE)
        return buf_set(&v->last, c->key.data, c->key.size);
    if (user[0] == TIMELINE_BY_SEQ && size == TIMELINE_SEQ_KEY_BYTES && c->value.size == 8) {
        uint64_t time = get_u64_be(c->value.data);

        if (tag_seq(c->tag) > v->s->timeline_last)
            v->s->timeline_last = tag_seq(c->tag);
        if (time > v->s->clock)
            v->s->clock = time;
    }
    if ((user[0] == 'B' || user[0] == 'M' || user[0] == 'T') && (helios_status)keep_entry(v->s, c) != HELIOS_OK)
        return HELIOS_NO_MEMORY;
    return buf_set(&v->last, c->key.data, c->key.size);
}

static helios_status see(struct sieve *v)
{
    const struct cursor *c = v->inner;
    struct salvage *s = v->s;
    helios_branch_id branch = key_branch(c->key);
    helios_status status = HELIOS_OK;

    if (tag_seq(c->tag) > s->last_seen)
        s->last_seen = tag_seq(c->tag);
    s->report.versions++;
    if (s->branch_count == 0 || s->branches[s->branch_count - 1] != branch) {
        status = salvage_room(&s->branches, s->branch_count, &s->branch_capacity, sizeof(*s->branches));
        if (status == HELIOS_OK)
            s->branches[s->branch_count++] = branch;
    }
    if (status == HELIOS_OK && branch == 0 && key_space_of(c->key) == SPACE_SYSTEM)
        status = see_system(v);
    return status;
}

/* Consumers go with the feed that they read. */
static bool is_left_out(const struct cursor *c)
{
    return c->key.size > KEY_LAYER_BYTES && key_branch(c->key) == 0 && key_space_of(c->key) == SPACE_SYSTEM &&
           (slice_bytes(c->key)[KEY_LAYER_BYTES] == 'C' || slice_bytes(c->key)[KEY_LAYER_BYTES] == 'c');
}

static void sieve_show(struct sieve *v)
{
    helios_status status;

    while (v->inner->valid && is_left_out(v->inner))
        cursor_next(v->inner);
    v->base.valid = v->inner->valid;
    v->base.status = v->inner->status;
    if (!v->inner->valid) {
        if (v->inner->status != HELIOS_OK && v->inner->error)
            v->error = *v->inner->error;
        return;
    }
    v->base.key = v->inner->key;
    v->base.tag = v->inner->tag;
    v->base.value = v->inner->value;
    status = see(v);
    if (status != HELIOS_OK) {
        v->base.valid = false;
        v->base.status = status;
        error_keep(&v->error, status);
    }
}

static void sieve_first(struct cursor *base)
{
    struct sieve *v = (struct sieve *)base;

    cursor_first(v->inner);
    sieve_show(v);
}

static void sieve_next(struct cursor *base)
{
    struct sieve *v = (struct sieve *)base;

    cursor_next(v->inner);
    sieve_show(v);
}

static const struct cursor_ops sieve_ops = {.first = sieve_first, .next = sieve_next};

/* ---- the new database ---- */

struct made {
    struct compact_result main, beside;
    struct manifest_state state;
};

static helios_status write_main(struct salvage *s, struct rangedel_set **deletes, struct compact_result *result)
{
    struct sieve sieve = {.base = {.ops = &sieve_ops}, .s = s};
    helios_status status = HELIOS_OK;

    sieve.base.error = &sieve.error;
    for (size_t i = 0; i < s->delete_count; i++)
        if (s->deletes[i].seq > s->last_seen)
            s->last_seen = s->deletes[i].seq;
    if (s->delete_count)
        status = rangedel_build(s->deletes, s->delete_count, deletes);
    if (status == HELIOS_OK && s->source_count == 0)
        return HELIOS_OK;
    if (status == HELIOS_OK)
        status = merge_cursor_new(s->sources, s->source_count, CURSOR_ALL, &sieve.inner);
    if (status != HELIOS_OK)
        return status;
    s->source_count = 0; /* they are the merge's now */
    status = write_tables(s, &sieve.base, *deletes, 0, s->clock, result);
    cursor_free(sieve.inner);
    helios_buf_free(&sieve.last);
    return status;
}

/* Commits whose times are in no table, in order, times never falling. */
static helios_status fill_stretch(struct salvage *s, struct stretch *stretch, helios_seq before)
{
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < s->time_count && status == HELIOS_OK; i++) {
        struct timeline_entry entry = s->times[i];

        if (entry.last - entry.count < before)
            continue;
        if (entry.time < s->clock)
            entry.time = s->clock;
        s->clock = entry.time;
        status = stretch_prepare(stretch);
        if (status == HELIOS_OK) {
            stretch_append(stretch, &entry);
            s->timeline_last = entry.last;
        }
    }
    return status;
}

/* The commit that mends the registry, one number for each of its operations, into a memtable that is made for it. */
static helios_status mend(struct salvage *s, struct memtable **memtable, struct stretch *stretch)
{
    struct timeline_entry entry = {0};
    uint64_t bytes = 0;
    helios_status status = salvage_registry(s, NULL, 0, &entry.count, &bytes);

    if (status == HELIOS_OK)
        status = memtable_new(MENDING_BYTES + bytes + (uint64_t)entry.count * NODE_BYTES, (helios_slice){"", 0},
                              memtable);
    if (status != HELIOS_OK || entry.count == 0)
        return status;
    if (s->last_seen > SEQ_MAX - entry.count)
        return fail(HELIOS_LIMIT, "%s: no number is left for the commit that mends the branches", s->from);
    s->last_seen += entry.count;
    entry.last = s->last_seen;
    if (s->clock < s->state.clock)
        s->clock = s->state.clock;
    entry.time = s->clock;
    entry.bytes = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
    status = salvage_registry(s, *memtable, entry.last, &entry.count, &bytes);
    if (status == HELIOS_OK)
        status = stretch_prepare(stretch);
    if (status != HELIOS_OK)
        return status;
    stretch_append(stretch, &entry);
    s->timeline_last = entry.last;
    return HELIOS_OK;
}

static helios_status write_beside(struct salvage *s, struct compact_result *result)
{
    struct cursor *sources[2] = {0}, *input = NULL;
    struct memtable *memtable = NULL;
    struct stretch stretch;
    helios_seq before = s->trusted ? s->state.timeline_flushed : s->timeline_last;
    helios_status status;
    size_t count = 1;

    stretch_init(&stretch);
    if (s->timeline_last < before)
        s->timeline_last = before;
    status = fill_stretch(s, &stretch, before);
    if (status == HELIOS_OK)
        status = mend(s, &memtable, &stretch);
    if (status == HELIOS_OK)
        status = memtable_cursor_new(memtable, CURSOR_ALL, &sources[0]);
    if (status == HELIOS_OK && !stretch_empty(&stretch)) {
        status = timeline_cursor_new(&stretch, before, &sources[1]);
        count = 2;
    }
    if (status == HELIOS_OK)
        status = merge_cursor_new(sources, count, CURSOR_ALL, &input);
    if (status == HELIOS_OK)
        status = write_tables(s, input, NULL, 0, s->clock, result);
    else
        for (size_t i = 0; i < 2; i++)
            cursor_free(sources[i]);
    cursor_free(input);
    stretch_release(&stretch);
    memtable_unref(memtable);
    return status;
}

static helios_status add_changes(struct salvage *s, const struct compact_result *result, uint32_t level,
                                 struct version_change *changes, size_t *count)
{
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < result->count && status == HELIOS_OK; i++) {
        const struct table_result *t = &result->tables[i];

        changes[*count].level = level;
        status = table_file_new(&s->home, t->number, t->size, 0, t->smallest, t->largest, t->largest_exclusive,
                                &t->properties, &changes[*count].file);
        *count += status == HELIOS_OK;
        s->report.bytes += t->size;
    }
    return status;
}

static helios_status make_version(struct salvage *s, const struct made *made, struct version **out)
{
    size_t room = made->main.count + made->beside.count + 1, count = 0;
    struct version_change *changes = mem_array(room, sizeof(*changes));
    struct version *empty = NULL;
    helios_status status = changes ? version_new_empty(&empty) : fail_no_memory(room * sizeof(*changes));

    if (status == HELIOS_OK)
        status = add_changes(s, &made->main, LEVEL_COUNT - 1, changes, &count);
    if (status == HELIOS_OK)
        status = add_changes(s, &made->beside, 0, changes, &count);
    if (status == HELIOS_OK)
        status = version_apply(empty, changes, count, out);
    for (size_t i = 0; i < count; i++)
        table_file_unref(changes[i].file);
    version_unref(empty);
    mem_free(changes);
    return status;
}

/* What can be said of numbers and times; the rest as in a database that was just made. */
static struct manifest_state new_state(struct salvage *s)
{
    const struct manifest_state *old = &s->state;
    struct manifest_state state = {
        .next_file = s->next_number,
        .flushed = s->last_seen,
        .ceiling = s->last_seen,
        .last = s->last_seen,
        .horizon = s->trusted ? old->horizon : s->last_seen,
        .time = io_time(s->fs),
        .user_bytes = old->user_bytes,
        .timeline_flushed = s->timeline_last,
        .clock = old->clock > s->clock ? old->clock : s->clock,
        .drops_settled = old->drops_settled,
    };

    if (s->trusted && old->ceiling > state.ceiling)
        state.ceiling = old->ceiling;
    if (!s->trusted && state.ceiling + NUMBERS_UNKNOWN <= SEQ_MAX)
        state.ceiling += NUMBERS_UNKNOWN;
    if (state.horizon > state.last)
        state.horizon = state.last;
    s->report.horizon = state.horizon;
    s->report.last = state.last;
    return state;
}

static helios_status remove_spilled(struct salvage *s)
{
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < s->spilled_count && status == HELIOS_OK; i++) {
        char path[PATH_BYTES_MAX];

        table_file_path(&s->home, s->spilled[i], path, sizeof(path));
        status = io_remove(s->fs, path);
    }
    return status;
}

/* The manifest and HELIOS last: before, nothing there is a database. */
static helios_status finish(struct salvage *s, const struct made *made)
{
    struct manifest_state state = new_state(s);
    struct identity identity = {0};
    struct version *version = NULL;
    helios_status status = remove_spilled(s);

    if (status == HELIOS_OK)
        status = io_sync_directory(s->fs, s->home.directory);
    if (status == HELIOS_OK)
        status = make_version(s, made, &version);
    if (status == HELIOS_OK)
        status = manifest_write_copy(s->fs, NULL, s->to, &state, version);
    version_unref(version);
    if (status == HELIOS_OK)
        status = identity_draw(s->fs, s->node_id, &identity);
    if (status == HELIOS_OK)
        status = identity_write(s->fs, s->to, &identity);
    return status == HELIOS_OK ? directory_sync_name(s->fs, s->to) : status;
}

static helios_status build(struct salvage *s)
{
    struct made made = {0};
    struct rangedel_set *deletes = NULL;
    struct table_watch *watches;
    helios_status status = salvage_log(s);

    if (status != HELIOS_OK)
        return status;
    salvage_judge(s); /* a record may have named tables */
    watches = mem_array(s->tables.count + 1, sizeof(*watches));
    if (!watches)
        return fail_no_memory(s->tables.count * sizeof(*watches));
    s->last_seen = s->last_record;
    if (s->trusted && s->state.last > s->last_seen)
        s->last_seen = s->state.last;
    status = take_tables(s, watches);
    if (status == HELIOS_OK)
        status = write_main(s, &deletes, &made.main);
    if (status == HELIOS_OK)
        status = write_beside(s, &made.beside);
    if (status == HELIOS_OK)
        status = finish(s, &made);
    compact_result_release(&made.main);
    compact_result_release(&made.beside);
    rangedel_unref(deletes);
    mem_free(watches);
    return status;
}

/* ---- both ends ---- */

static helios_status make_folders(struct salvage *s)
{
    char path[PATH_BYTES_MAX];
    helios_status status = io_make_directory(s->fs, s->to);

    snprintf(path, sizeof(path), "%s/wal", s->to);
    if (status == HELIOS_OK)
        status = io_make_directory(s->fs, path);
    return status == HELIOS_OK ? io_make_directory(s->fs, s->home.directory) : status;
}

/* A reader's lock, if there is anything to lock. */
static helios_status lock_source(struct salvage *s)
{
    struct identity identity = {0};
    struct io_stat stat;
    char path[PATH_BYTES_MAX];
    helios_status status;

    snprintf(path, sizeof(path), "%s/HELIOS", s->from);
    status = io_lock(s->fs, path, false, &s->lock);
    if (status == HELIOS_BUSY)
        return fail(HELIOS_BUSY, "%s: open for writing; close it there first", s->from);
    if (identity_read(s->fs, s->from, &identity) == HELIOS_OK)
        memcpy(s->node_id, identity.node_id, sizeof(s->node_id));
    snprintf(path, sizeof(path), "%s/KEYS", s->from);
    if (identity.encrypted || io_stat(s->fs, path, &stat) == HELIOS_OK)
        return fail(HELIOS_UNSUPPORTED, "%s: encrypted; salvage reads only what is not", s->from);
    return HELIOS_OK;
}

static void release(struct salvage *s)
{
    for (size_t i = 0; i < s->source_count; i++)
        cursor_free(s->sources[i]);
    for (size_t i = 0; i < s->opened_count; i++)
        table_salvage_free(s->opened[i]);
    for (size_t i = 0; i < s->entry_count; i++)
        mem_free((void *)s->entries[i].key.data);
    memtable_unref(s->memtable);
    epoch_drain();
    memtable_pool_release();
    salvage_release_found(s);
    mem_free(s->sources);
    mem_free(s->opened);
    mem_free(s->deletes);
    mem_free(s->spilled);
    mem_free(s->times);
    mem_free(s->entries);
    mem_free(s->branches);
    mem_free(s->home.directory);
    cache_free(s->home.cache);
    mutex_release(&s->home.ring_mu);
    mutex_release(&s->home.open_mu);
    io_unlock(s->lock);
}

static helios_status prepare(struct salvage *s)
{
    struct io_stat stat;
    helios_status status = io_stat(s->fs, s->to, &stat);

    if (status == HELIOS_OK)
        return fail(HELIOS_EXISTS, "%s: is there already; salvage makes its own directory", s->to);
    if (status == HELIOS_NOT_FOUND)
        status = io_stat(s->fs, s->from, &stat);
    if (status == HELIOS_OK && !stat.is_directory)
        status = fail(HELIOS_INVALID, "%s: not a directory; name the directory of a database", s->from);
    if (status == HELIOS_OK)
        status = lock_source(s);
    if (status == HELIOS_OK)
        status = cache_new(0, &s->home.cache);
    return status == HELIOS_OK ? salvage_find(s) : status;
}

helios_status engine_salvage(struct io_fs *fs, const char *from, const char *to,
                             const helios_salvage_options *options, helios_salvage_report *report)
{
    static const helios_salvage_options usual = HELIOS_SALVAGE_OPTIONS_INIT;
    struct salvage s = {.fs = fs, .from = from, .to = to, .next_number = 1};
    char directory[PATH_BYTES_MAX];
    struct error_note note = {0};
    helios_status status;

    if (!from || !to)
        return fail(HELIOS_INVALID, "no %s was given", from ? "place for the new database" : "source");
    if (strlen(from) + 96 > PATH_BYTES_MAX || strlen(to) + 96 > PATH_BYTES_MAX)
        return fail(HELIOS_INVALID, "a path is too long");
    status = options_copy(options, options ? options->size : 0, &usual, sizeof(s.options), &s.options,
                          "helios_salvage_options");
    if (status != HELIOS_OK)
        return status;
    mutex_init(&s.home.open_mu);
    mutex_init(&s.home.ring_mu);
    snprintf(directory, sizeof(directory), "%s/sst", to);
    s.home.fs = fs;
    s.home.directory = mem_text(directory);
    status = s.home.directory ? prepare(&s) : fail_no_memory(sizeof(directory));
    if (status == HELIOS_OK) {
        status = make_folders(&s);
        if (status == HELIOS_OK)
            status = build(&s);
        error_keep(&note, status);
        if (status != HELIOS_OK && status != HELIOS_EXISTS)
            (void)!directory_remove_ours(fs, to, true);
    }
    error_keep(&note, status);
    release(&s);
    if (note.status == HELIOS_OK && report && report->size) {
        s.report.size = report->size;
        s.report.manifest = s.trusted;
        memcpy(report, &s.report, report->size < sizeof(s.report) ? report->size : sizeof(s.report));
    }
    return error_tell(&note);
}

helios_status helios_salvage(const char *from, const char *to, const helios_salvage_options *options,
                             helios_salvage_report *report)
{
    return engine_salvage(io_posix(), from, to, options, report);
}
