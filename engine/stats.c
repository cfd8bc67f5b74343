/* stats.c - numbers about a running database, by name and as JSON. */
#include "engine/branches.h"
#include "engine/feed.h"
#include <inttypes.h>

struct numbers {
    struct helios_db *db;
    struct view *view;
    struct cache_stats cache;
};

static uint64_t table_bytes(const struct numbers *n)
{
    uint64_t bytes = 0;

    for (size_t l = 0; l < LEVEL_COUNT; l++)
        bytes += n->view->version->levels[l].bytes;
    return bytes;
}

static uint64_t log_bytes(const struct numbers *n)
{
    return n->db->wal ? wal_bytes(n->db->wal) : 0;
}
static uint64_t disk_bytes(const struct numbers *n)
{
    return table_bytes(n) + log_bytes(n);
}

static uint64_t memtable_bytes(const struct numbers *n)
{
    uint64_t bytes = memtable_resident(n->view->active->memtable);

    for (size_t i = 0; i < n->view->closed_count; i++)
        bytes += memtable_resident(n->view->closed[i]->memtable);
    return bytes;
}

static uint64_t memory_bytes(const struct numbers *n)
{
    return memtable_bytes(n) + n->cache.bytes + n->cache.charged;
}
static uint64_t cache_bytes(const struct numbers *n)
{
    return n->cache.bytes;
}
static uint64_t cache_charged(const struct numbers *n)
{
    return n->cache.charged;
}
static uint64_t cache_hits(const struct numbers *n)
{
    return n->cache.hits;
}
static uint64_t cache_misses(const struct numbers *n)
{
    return n->cache.misses;
}
static uint64_t files(const struct numbers *n)
{
    return n->view->version->file_count;
}
static uint64_t files_l0(const struct numbers *n)
{
    return n->view->version->levels[0].count;
}

/* Live keys: what tables and memtables hold, less what is known to be deleted or written twice in one
 * table; versions of a key in several places count more than once. */
static uint64_t keys_estimate(const struct numbers *n)
{
    uint64_t keys = memtable_count(n->view->active->memtable), gone = 0;

    for (size_t i = 0; i < n->view->closed_count; i++)
        keys += memtable_count(n->view->closed[i]->memtable);
    for (size_t l = 0; l < LEVEL_COUNT; l++)
        for (size_t i = 0; i < n->view->version->levels[l].count; i++) {
            keys += n->view->version->levels[l].files[i]->properties.keys;
            gone += 2 * n->view->version->levels[l].files[i]->properties.tombstones;
        }
    return keys > gone ? keys - gone : 0;
}

#define COUNTER(name, field)                                                                                   \
    static uint64_t name(const struct numbers *n)                                                              \
    {                                                                                                          \
        return atomic_load_explicit(&n->db->field, memory_order_relaxed);                                      \
    }
COUNTER(user_bytes, user_bytes)
COUNTER(flush_bytes, flush_bytes)
COUNTER(ingest_bytes, ingest_written_bytes)
COUNTER(compaction_read_bytes, compaction_read_bytes)
COUNTER(compaction_written_bytes, compaction_written_bytes)
COUNTER(stall_time, stall_time)
COUNTER(stall_count, stall_count)
COUNTER(snapshots, snapshots)
COUNTER(iterators, iterators)
COUNTER(transactions, transactions)
COUNTER(flushes, flushes)
COUNTER(compactions, compactions)
COUNTER(horizon, horizon)
COUNTER(latest, visible)
#undef COUNTER

static uint64_t pins(const struct numbers *n)
{
    return pins_count(n->db->pins);
}
static uint64_t log_written(const struct numbers *n)
{
    return n->db->wal ? wal_written(n->db->wal) : 0;
}

/* What is there for it alone, but for tables that are in the tree as well. */
static uint64_t feed_bytes(const struct numbers *n)
{
    return feed_first(n->db) ? wal_kept_bytes(feed_log(n->db)) + feed_tables_bytes(n->db, 0) : 0;
}
static uint64_t feed_watermark(const struct numbers *n)
{
    return feed_first(n->db);
}
static uint64_t consumers(const struct numbers *n)
{
    return feed_consumers_count(n->db, CONSUMERS_ALL);
}
static uint64_t lost_consumers(const struct numbers *n)
{
    return feed_consumers_count(n->db, CONSUMERS_LOST);
}

static uint64_t expired_consumers(const struct numbers *n)
{
    return feed_consumers_count(n->db, CONSUMERS_EXPIRED);
}

static uint64_t running(const struct numbers *n)
{
    uint64_t count;

    mutex_lock(&n->db->state_mu);
    count = n->db->jobs;
    mutex_unlock(&n->db->state_mu);
    return count;
}

static uint64_t debt_bytes(const struct numbers *n)
{
    struct compact_tree tree;
    uint64_t bytes;

    mutex_lock(&n->db->state_mu);
    compact_tree_of(n->db, n->db->version, &tree);
    bytes = compact_debt(&tree);
    mutex_unlock(&n->db->state_mu);
    return bytes;
}

static uint64_t live_branches(const struct numbers *n)
{
    uint64_t count;

    mutex_lock(&n->db->registry_mu);
    count = registry_live(n->db->registry);
    mutex_unlock(&n->db->registry_mu);
    return count;
}

static uint64_t dropped_branches(const struct numbers *n)
{
    struct dropped_space space;

    branch_space_look(n->db, &space);
    return space.branches;
}

static uint64_t dropped_bytes(const struct numbers *n)
{
    struct dropped_space space;

    branch_space_look(n->db, &space);
    return space.bytes;
}

static const struct {
    const char *name;
    uint64_t (*get)(const struct numbers *);
} all[] = {
    {"disk.bytes", disk_bytes},
    {"table.bytes", table_bytes},
    {"log.bytes", log_bytes},
    {"log.written.bytes", log_written},
    {"memory.bytes", memory_bytes},
    {"memtable.bytes", memtable_bytes},
    {"cache.bytes", cache_bytes},
    {"cache.charged.bytes", cache_charged},
    {"cache.hits", cache_hits},
    {"cache.misses", cache_misses},
    {"files", files},
    {"files.l0", files_l0},
    {"keys.estimate", keys_estimate},
    {"user.bytes", user_bytes},
    {"flush.bytes", flush_bytes},
    {"flushes", flushes},
    {"ingest.bytes", ingest_bytes},
    {"compaction.read.bytes", compaction_read_bytes},
    {"compaction.written.bytes", compaction_written_bytes},
    {"compactions", compactions},
    {"compaction.debt.bytes", debt_bytes},
    {"background.jobs", running},
    {"stall.micros", stall_time},
    {"stalls", stall_count},
    {"snapshots", snapshots},
    {"iterators", iterators},
    {"transactions", transactions},
    {"pins", pins},
    {"branches", live_branches},
    {"branches.dropped", dropped_branches},
    {"branches.dropped.bytes", dropped_bytes},
    {"latest", latest},
    {"horizon", horizon},
    {"feed.bytes", feed_bytes},
    {"feed.first", feed_watermark},
    {"feed.consumers", consumers},
    {"feed.consumers.trimmed", lost_consumers},
    {"feed.consumers.expired", expired_consumers},
};

static void numbers_init(struct numbers *n, struct helios_db *db)
{
    n->db = db;
    n->view = view_acquire(db);
    cache_get_stats(db->cache, &n->cache);
}

helios_status helios_stat(helios_db *db, const char *name, uint64_t *value)
{
    struct numbers n;

    if (!db || !name || !value)
        return fail(HELIOS_INVALID, "no %s was given",
                    !db     ? "database"
                    : !name ? "name"
                            : "place for the value");
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (strcmp(all[i].name, name) == 0) {
            numbers_init(&n, db);
            *value = all[i].get(&n);
            view_unref(n.view);
            return HELIOS_OK;
        }
    return fail(HELIOS_NOT_FOUND, "no statistic is called %s", name);
}

/* ---- JSON ---- */

static helios_status put_json_key(helios_buf *text, helios_slice key)
{
    helios_status status = buf_append(text, "\"", 1);

    for (size_t i = 0; i < key.size && i < 64 && status == HELIOS_OK; i++) {
        unsigned char byte = slice_bytes(key)[i];

        if (byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\')
            status = buf_append(text, &byte, 1);
        else
            status = buf_printf(text, "\\\\x%02x", byte);
    }
    if (status == HELIOS_OK && key.size > 64)
        status = buf_printf(text, "...");
    return status == HELIOS_OK ? buf_append(text, "\"", 1) : status;
}

static helios_status put_file(helios_buf *text, const struct table_file *file, bool first)
{
    const struct table_properties *p = &file->properties;
    helios_status status =
        buf_printf(text, "%s{\"number\":%" PRIu64 ",\"size\":%" PRIu64 ",\"smallest\":", first ? "" : ",",
                   file->number, file->size);

    if (status == HELIOS_OK)
        status = put_json_key(text, key_user(file->smallest));
    if (status == HELIOS_OK)
        status = buf_printf(text, ",\"largest\":");
    if (status == HELIOS_OK)
        status = put_json_key(text, key_user(file->largest));
    if (status == HELIOS_OK)
        status = buf_printf(text,
                            ",\"entries\":%" PRIu64 ",\"keys\":%" PRIu64 ",\"tombstones\":%" PRIu64
                            ",\"range_deletes\":%" PRIu64 ",\"seq_min\":%" PRIu64 ",\"seq_max\":%" PRIu64 "}",
                            p->entries, p->keys, p->tombstones, p->range_deletes, p->seq_min, p->seq_max);
    return status;
}

static helios_status put_levels(helios_buf *text, const struct version *version)
{
    helios_status status = buf_printf(text, "\"levels\":[");

    for (size_t l = 0; l < LEVEL_COUNT && status == HELIOS_OK; l++) {
        const struct level *level = &version->levels[l];

        status = buf_printf(text, "%s{\"level\":%zu,\"bytes\":%" PRIu64 ",\"files\":[", l ? "," : "", l,
                            level->bytes);
        for (size_t i = 0; i < level->count && status == HELIOS_OK; i++)
            status = put_file(text, level->files[i], i == 0);
        if (status == HELIOS_OK)
            status = buf_printf(text, "]}");
    }
    return status == HELIOS_OK ? buf_printf(text, "]") : status;
}

static helios_status put_all(helios_buf *text, const struct numbers *n)
{
    helios_status status = buf_printf(text, "{");

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && status == HELIOS_OK; i++)
        status = buf_printf(text, "\"%s\":%" PRIu64 ",", all[i].name, all[i].get(n));
    if (status == HELIOS_OK)
        status = put_levels(text, n->view->version);
    return status == HELIOS_OK ? buf_printf(text, "}") : status;
}

helios_status helios_stats_json(helios_db *db, char **out)
{
    helios_buf text = {0};
    struct numbers n;
    helios_status status;

    if (!db || !out)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the text" : "database");
    numbers_init(&n, db);
    status = put_all(&text, &n);
    view_unref(n.view);
    if (status != HELIOS_OK) {
        helios_buf_free(&text);
        return status;
    }
    *out = text.data;
    return HELIOS_OK;
}

const char *helios_version_string(void)
{
    return HELIOS_VERSION;
}
