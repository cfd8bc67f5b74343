/* event_log.h - the file LOG: what happened, for people. One line an event, with wall time; rotated to
 * LOG.old at 1 MiB. Best effort: a failure to write it never fails what it tells of. Any thread. */
#ifndef HELIOS_ENGINE_EVENT_LOG_H
#define HELIOS_ENGINE_EVENT_LOG_H
#include "base/status.h"
#include "io/io.h"

struct event_log;
/* NULL when it cannot be written; the others accept that. */
struct event_log *event_log_open(struct io_fs *, const char *directory);
void event_log_close(struct event_log *);
void event_log_say(struct event_log *, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
