/* commits.c - the commits one by one, from the timeline: up to a run at a time from the stretches or tables of
 * the view of that moment, so that a walk that is left alone holds no memory and no file. A floor keeps the entries
 * that are still ahead. */
#include "engine/read.h"
#include "engine/timeline.h"
#include <inttypes.h>

struct helios_commits {
    struct helios_db *db;
    pin_id floor;
    helios_seq from, to; /* what is left of the walk, inclusive; from > to: nothing */
    bool oldest_first;
    struct timeline_run run; /* read; entries[at, count) are to be shown, in the order of the walk */
    uint32_t at;
    struct error_note error;
};

static const helios_commits_options default_commits = HELIOS_COMMITS_OPTIONS_INIT;

/* ---- reading ---- */

static void take_up(struct helios_commits *c)
{
    c->at = timeline_count_seq(&c->run, c->from - 1);
}

/* The run turned round, without what is above the end of the walk. */
static void take_down(struct helios_commits *c)
{
    c->run.count = timeline_count_seq(&c->run, c->to);
    for (uint32_t i = 0; i < c->run.count / 2; i++) {
        struct timeline_entry entry = c->run.entries[i];

        c->run.entries[i] = c->run.entries[c->run.count - 1 - i];
        c->run.entries[c->run.count - 1 - i] = entry;
    }
}

static bool up_in_view(struct helios_commits *c, const struct view *view)
{
    c->run.count = 0;
    for (size_t i = view->closed_count; i-- > 0 && c->run.count == 0;)
        c->run.count =
            (uint32_t)stretch_read_up(&view->closed[i]->stretch, c->from, c->run.entries, TIMELINE_RUN_MAX);
    if (c->run.count == 0)
        c->run.count =
            (uint32_t)stretch_read_up(&view->active->stretch, c->from, c->run.entries, TIMELINE_RUN_MAX);
    return c->run.count > 0;
}

static bool down_in_view(struct helios_commits *c, const struct view *view)
{
    c->run.count = (uint32_t)stretch_read_down(&view->active->stretch, c->to, c->run.entries, TIMELINE_RUN_MAX);
    for (size_t i = 0; i < view->closed_count && c->run.count == 0; i++)
        c->run.count =
            (uint32_t)stretch_read_down(&view->closed[i]->stretch, c->to, c->run.entries, TIMELINE_RUN_MAX);
    return c->run.count > 0;
}

/* Everything above the view's flushed number is in its stretches, everything else in tables. */
static helios_status read_up(struct helios_commits *c, struct sources *sources)
{
    bool found = false;
    helios_status status = HELIOS_OK;

    if (c->from <= sources->view->timeline_flushed)
        status = timeline_run_from(c->db, sources, c->from, &c->run, &found);
    if (found)
        take_up(c);
    else if (status == HELIOS_OK)
        (void)up_in_view(c, sources->view);
    return status;
}

static helios_status read_down(struct helios_commits *c, struct sources *sources)
{
    bool found;
    helios_status status;

    if (down_in_view(c, sources->view))
        return HELIOS_OK;
    /* The run that holds the number, if it has anything at or below it; else the one before. */
    status = timeline_run_from(c->db, sources, c->to, &c->run, &found);
    if (status == HELIOS_OK && (!found || timeline_count_seq(&c->run, c->to) == 0))
        status = timeline_run_below(c->db, sources, c->to, &c->run, &found);
    if (status == HELIOS_OK && found)
        take_down(c);
    else
        c->run.count = 0;
    return status;
}

/* More to show, or nothing when there is no more. */
static helios_status refill(struct helios_commits *c)
{
    struct sources sources = {0};
    helios_status status = timeline_open(c->db, &sources);

    c->at = c->run.count = 0;
    if (status == HELIOS_OK)
        status = c->oldest_first ? read_up(c, &sources) : read_down(c, &sources);
    sources_close(&sources);
    if (status != HELIOS_OK)
        c->run.count = 0;
    return status;
}

/* ---- for the feed ---- */

static helios_status count_commits(struct helios_db *db, helios_seq from, helios_seq to, size_t most,
                                   struct timeline_count *out)
{
    struct helios_commits c = {.db = db, .from = from, .to = to, .oldest_first = true};
    struct timeline_count counted = {0};
    helios_commit_info info;

    while (most-- && helios_commits_next(&c, &info)) {
        if (!counted.first)
            counted.first = info.seq - info.operations + 1;
        counted.operations += info.operations;
    }
    if (c.error.status == HELIOS_OK)
        *out = counted;
    return error_tell(&c.error);
}

helios_status timeline_operations(struct helios_db *db, helios_seq from, helios_seq to,
                                  struct timeline_count *out)
{
    return count_commits(db, from, to, SIZE_MAX, out);
}

helios_status timeline_first(struct helios_db *db, helios_seq from, helios_seq to, struct timeline_count *out)
{
    return count_commits(db, from, to, 1, out);
}

/* ---- the public calls ---- */

static helios_status begin(struct helios_commits *c, const helios_commits_options *options)
{
    helios_seq oldest, latest = atomic_load(&c->db->latest);
    helios_status status = floor_acquire_horizon(c->db, HELIOS_PIN_HISTORY, &c->floor, &oldest);

    c->oldest_first = options->oldest_first;
    c->from = options->from == HELIOS_SEQ_NONE ? 0 : options->from;
    c->to = options->to == 0 || options->to > latest ? latest : options->to;
    if (options->to == HELIOS_SEQ_NONE)
        c->to = 0; /* before the first commit: there is none up to there */
    if (c->from < oldest)
        c->from = oldest;
    if (c->from == 0)
        c->from = 1;
    return status;
}

helios_status helios_commits_new(helios_db *db, const helios_commits_options *given, helios_commits **out)
{
    helios_commits_options options;
    struct helios_commits *c;
    helios_status status;

    if (!db || !out)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the commits" : "database");
    status = options_copy(given, given ? given->size : 0, &default_commits, sizeof(options), &options,
                          "helios_commits_options");
    if (status != HELIOS_OK)
        return status;
    c = mem_zalloc(sizeof(*c));
    if (!c)
        return fail_no_memory(sizeof(*c));
    c->db = db;
    atomic_fetch_add_explicit(&db->iterators, 1, memory_order_relaxed);
    status = begin(c, &options);
    if (status != HELIOS_OK) {
        helios_commits_free(c);
        return status;
    }
    *out = c;
    return HELIOS_OK;
}

bool helios_commits_next(helios_commits *c, helios_commit_info *info)
{
    const struct timeline_entry *entry;
    helios_status status = HELIOS_OK;

    if (!c || !info || c->error.status != HELIOS_OK || c->from > c->to)
        return false;
    if (c->at == c->run.count)
        status = refill(c);
    if (status != HELIOS_OK)
        error_keep(&c->error, status);
    if (c->at == c->run.count)
        return false;
    entry = &c->run.entries[c->at++];
    if (entry->last < c->from || entry->last > c->to) {
        c->to = 0; /* the end */
        return false;
    }
    if (c->oldest_first)
        c->from = entry->last + 1;
    else
        c->to = entry->last - 1;
    *info = (helios_commit_info){
        .seq = entry->last, .time = entry->time, .operations = entry->count, .bytes = entry->bytes};
    return true;
}

helios_status helios_commits_status(const helios_commits *c)
{
    if (!c)
        return fail(HELIOS_INVALID, "no commits were given");
    return error_tell(&c->error);
}

void helios_commits_free(helios_commits *c)
{
    if (!c)
        return;
    pins_release(c->db->floors, c->floor);
    atomic_fetch_sub_explicit(&c->db->iterators, 1, memory_order_release);
    mem_free(c);
}
