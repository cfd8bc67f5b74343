/* archiver.c - the thread that archives what is there for the feed alone, one segment at a time, the oldest first, at a
 * low priority, while little is written. It owns nothing that others wait for: the keeper goes on preparing, sealing and
 * removing beside it.
 *
 * An archive gets its name when it is whole and synced; the directory is synced before the segment goes. So a crash leaves
 * one of them, or both, and then the next open lets the segment go. Whoever has begun to look at files by name (a
 * checkpoint) is waited for; who reads the segment has it open. */
#include "wal/wal_internal.h"
#include <limits.h>
#include <inttypes.h>
#include <stdio.h>

enum {
    RETRY = 30000000,       /* us, after a failure; or when there is more to archive */
    QUIET_TIME = 20000,     /* us: */
    QUIET_BYTES = 64 << 10, /* who writes less in that time than this is not in the way of an archive */
    BACKLOG_MAX = 64,       /* segments; with more to do it does not wait for a quiet moment */
};

static bool stopping(const struct wal *wal)
{
    return atomic_load_explicit(&wal->stop, memory_order_acquire);
}

void wal_archiver_wake(struct wal *wal)
{
    if (!wal->options.archive)
        return;
    atomic_fetch_add_explicit(&wal->archiver_word, 1, memory_order_release);
    futex_wake(&wal->archiver_word, INT_MAX);
}

/* One that stays is removed by the next open. Why an archive is not made, which the caller may have to say, is not forgotten. */
static void remove_archive(struct wal *wal, uint64_t number, bool temporary)
{
    struct error_note note = {0};
    char path[WAL_PATH_MAX];

    wal_archive_path(wal->options.directory, number, temporary, path, sizeof(path));
    error_keep(&note, HELIOS_IO);
    (void)!io_remove(wal->options.fs, path);
    (void)!error_tell(&note);
}

static void remove_segment(struct wal *wal, uint64_t number)
{
    char path[WAL_PATH_MAX];

    wal_segment_path(wal->options.directory, number, path, sizeof(path));
    if (io_remove(wal->options.fs, path) != HELIOS_OK)
        return; /* as above */
    wal_index_remove(&wal->options, number);
}

/* The archive, which has its name for good, takes the segment's place. */
static void take_place(struct wal *wal, const struct wal_kept *kept, uint64_t end, uint64_t bytes)
{
    for (;;) {
        uint32_t word = atomic_load_explicit(&wal->archiver_word, memory_order_acquire);

        switch (wal_kept_replace(wal, kept->number, end, bytes)) {
        case WAL_REPLACED: remove_segment(wal, kept->number); return;
        case WAL_NOT_THERE: remove_archive(wal, kept->number, false); return;
        case WAL_HELD: break;
        }
        if (stopping(wal))
            return; /* both are there */
        futex_wait(&wal->archiver_word, word, UINT64_MAX);
    }
}

static helios_status give_name(struct wal *wal, uint64_t number)
{
    char from[WAL_PATH_MAX], to[WAL_PATH_MAX];
    helios_status status;

    wal_archive_path(wal->options.directory, number, true, from, sizeof(from));
    wal_archive_path(wal->options.directory, number, false, to, sizeof(to));
    status = io_rename(wal->options.fs, from, to);
    return status == HELIOS_OK ? wal_directory_sync(wal) : status;
}

/* *stays: it is not worth it, or damaged, which whoever walks over it is told. */
static helios_status archive(struct wal *wal, const struct wal_kept *kept, bool *stays)
{
    uint64_t end = kept->end, bytes = 0;
    helios_status status =
        wal_archive_write(&wal->options, kept->number, &wal->stop, kept->bytes - kept->bytes / 8, &end, &bytes);

    *stays = status == HELIOS_CORRUPT || status == HELIOS_UNSUPPORTED || (status == HELIOS_OK && bytes == 0);
    if (status == HELIOS_OK && bytes > 0)
        status = give_name(wal, kept->number);
    if (status != HELIOS_OK || bytes == 0)
        remove_archive(wal, kept->number, true);
    else
        take_place(wal, kept, end, bytes);
    if (status == HELIOS_NOT_FOUND && !wal_is_kept(wal, kept->number))
        status = HELIOS_OK; /* it was let go of before it was opened */
    return *stays || status == HELIOS_TIMEOUT ? HELIOS_OK : status;
}

/* Compressing takes a processor for a while, which writers may want. */
static void wait_until_quiet(const struct wal *wal, uint64_t number)
{
    uint64_t before = wal_written(wal), now;

    while (!stopping(wal) && wal_segment_now(wal) - number < BACKLOG_MAX) {
        thread_sleep(QUIET_TIME);
        now = wal_written(wal);
        if (now - before < QUIET_BYTES)
            break;
        before = now;
    }
}

/* Once, until it works again. */
static void say_failure(struct wal *wal, uint64_t number, bool *said)
{
    char text[512];

    if (!*said && wal->options.say) {
        snprintf(text, sizeof(text), "log segment %" PRIu64 " is not compressed for now: %s", number,
                 helios_last_error());
        wal->options.say(wal->options.say_arg, text);
    }
    *said = true;
}

void *wal_archiver_run(void *arg)
{
    struct wal *wal = arg;
    uint64_t from = 0; /* what is below was looked at */
    bool said = false;

    thread_yield_to_others();
    while (!stopping(wal)) {
        uint32_t word = atomic_load_explicit(&wal->archiver_word, memory_order_acquire);
        helios_status status = HELIOS_OK;
        struct wal_kept kept;
        bool stays, found = !atomic_load_explicit(&wal->failed, memory_order_acquire) &&
                            wal_kept_plain(wal, from, &kept);

        if (found) {
            wait_until_quiet(wal, kept.number);
            status = archive(wal, &kept, &stays);
        }
        if (found && status == HELIOS_OK) {
            from = kept.number + 1;
            said &= stays;
        } else {
            if (found)
                say_failure(wal, kept.number, &said);
            if (!stopping(wal))
                futex_wait(&wal->archiver_word, word, found ? RETRY : UINT64_MAX);
        }
    }
    return NULL;
}
