/* engine_null.c - an engine that does nothing: what is left is the driver's own cost. */
#include "bench/engine.h"
#include <stdio.h>

static char value[1 << 20];
static struct record here = {{value, 16}, {value, 100}};

static void null_describe(const struct settings *settings, char *text, size_t size)
{
    snprintf(text, size, "nothing is stored");
}

static void *null_open(const struct settings *settings)
{
    return value;
}
static void null_done(void *handle) {}
static void *null_handle(void *handle)
{
    return handle;
}
static void null_put(void *session, helios_slice key, helios_slice data) {}
static void null_put_batch(void *session, const struct record *records, size_t count) {}
static void null_del(void *session, helios_slice key) {}

static void null_bulk_load(void *session, const struct source *source)
{
    struct record record;

    while (source->next(source->arg, &record))
        ;
}

static bool null_get(void *session, helios_slice key, helios_slice *data)
{
    *data = here.value;
    return true;
}

static bool null_step(void *cursor, struct record *record)
{
    *record = here;
    return true;
}

static bool null_seek(void *cursor, helios_slice key, struct record *record)
{
    *record = here;
    return true;
}

static uint64_t null_point(void *session)
{
    return 1;
}
static void null_read_at(void *session, uint64_t point) {}
static void null_snapshot_free(void *session, void *snapshot) {}
static bool null_txn_commit(void *session)
{
    return true;
}
static void null_txn_run(void *session, void (*body)(void *arg), void *arg)
{
    body(arg);
}

const struct engine bench_engine = {
    .name = "null",
    .stores = false,
    .describe = null_describe,
    .open = null_open,
    .close = null_done,
    .flush = null_done,
    .session_open = null_handle,
    .session_close = null_done,
    .put = null_put,
    .put_batch = null_put_batch,
    .del = null_del,
    .bulk_load = null_bulk_load,
    .get = null_get,
    .cursor_open = null_handle,
    .cursor_close = null_done,
    .first = null_step,
    .last = null_step,
    .seek = null_seek,
    .next = null_step,
    .prev = null_step,
    .point = null_point,
    .read_at = null_read_at,
    .snapshot_new = null_handle,
    .snapshot_free = null_snapshot_free,
    .txn_begin = null_done,
    .txn_get = null_get,
    .txn_put = null_put,
    .txn_commit = null_txn_commit,
    .txn_run = null_txn_run,
};
