/* event_log.c - see event_log.h. */
#include "engine/event_log.h"
#include "base/mem.h"
#include "base/thread.h"
#include <stdio.h>
#include <time.h>

enum { LOG_BYTES_MAX = 1 << 20, LOG_LINE_MAX = 1024, LOG_PATH_MAX = 4096 };

struct event_log {
    struct mutex mu;
    struct io_fs *fs;
    struct io_file *file;
    uint64_t end;
    char path[LOG_PATH_MAX], old[LOG_PATH_MAX];
};

static void open_file(struct event_log *log)
{
    log->end = 0;
    if (io_open(log->fs, log->path, IO_WRITE | IO_CREATE, &log->file) != HELIOS_OK)
        log->file = NULL;
    else if (io_size(log->file, &log->end) != HELIOS_OK)
        log->end = 0;
}

struct event_log *event_log_open(struct io_fs *fs, const char *directory)
{
    struct event_log *log = mem_zalloc(sizeof(*log));

    if (!log)
        return NULL;
    mutex_init(&log->mu);
    log->fs = fs;
    snprintf(log->path, sizeof(log->path), "%s/LOG", directory);
    snprintf(log->old, sizeof(log->old), "%s/LOG.old", directory);
    open_file(log);
    return log;
}

void event_log_close(struct event_log *log)
{
    if (!log)
        return;
    io_close(log->file);
    mutex_release(&log->mu);
    mem_free(log);
}

static int put_time(char *line, size_t size, uint64_t now)
{
    time_t seconds = (time_t)(now / 1000000);
    struct tm utc;
    int used;

    gmtime_r(&seconds, &utc);
    used = (int)strftime(line, size, "%Y-%m-%dT%H:%M:%S", &utc);
    return used + snprintf(line + used, size - (size_t)used, ".%06uZ ", (unsigned)(now % 1000000));
}

static void rotate(struct event_log *log)
{
    io_close(log->file);
    log->file = NULL;
    if (io_rename(log->fs, log->path, log->old) == HELIOS_OK)
        open_file(log);
}

void event_log_say(struct event_log *log, const char *format, ...)
{
    struct error_note note = {0};
    char line[LOG_LINE_MAX];
    va_list args;
    int used;

    if (!log)
        return;
    error_keep(&note, HELIOS_IO); /* the caller's sentence survives a failure here */
    used = put_time(line, sizeof(line), io_time(log->fs));
    va_start(args, format);
    used += vsnprintf(line + used, sizeof(line) - (size_t)used - 1, format, args);
    va_end(args);
    if (used > (int)sizeof(line) - 2)
        used = (int)sizeof(line) - 2;
    line[used++] = '\n';
    mutex_lock(&log->mu);
    if (log->file && log->end > LOG_BYTES_MAX)
        rotate(log);
    if (log->file && io_write(log->file, log->end, line, (size_t)used) == HELIOS_OK)
        log->end += (uint64_t)used;
    mutex_unlock(&log->mu);
    (void)!error_tell(&note);
}
