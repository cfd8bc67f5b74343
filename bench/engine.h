/* engine.h - what the driver asks of a storage engine: one table of functions each, one program each.
 * A failure ends the program: a figure from a run in which something failed is worth nothing. */
#ifndef HELIOS_BENCH_ENGINE_H
#define HELIOS_BENCH_ENGINE_H
#include "base/slice.h"

struct settings {
    const char *path;
    uint64_t memtable_bytes, cache_bytes, file_bytes;
    uint64_t retention; /* us of history that is kept, where the engine has such a setting */
    unsigned writers;   /* threads that write at the same time */
    bool sync;          /* a write is on the disk when it returns; else it has reached the operating system */
    bool transactions;  /* there will be some */
    bool encrypted;     /* at rest, where the engine can */
    bool mixed;         /* what is written is read soon, too */
};

struct record {
    helios_slice key, value;
};

/* Records in ascending order, until false; each slice lives until the next call. */
struct source {
    bool (*next)(void *arg, struct record *);
    void *arg;
};

/* A session is one thread's way to the database, a cursor one walk of a session. Slices handed out
 * live until the next call on the same session or cursor. */
struct engine {
    const char *name;
    bool stores; /* false: keeps nothing, shows what the driver itself costs */
    void (*describe)(const struct settings *, char *text, size_t size);
    void *(*open)(const struct settings *);
    void (*close)(void *db);
    void (*flush)(void *db); /* what is in memory goes to tables; may leave work to background threads */
    void *(*session_open)(void *db);
    void (*session_close)(void *session);
    void (*put)(void *session, helios_slice key, helios_slice value);
    void (*put_batch)(void *session, const struct record *, size_t count); /* all or none */
    void (*del)(void *session, helios_slice key);
    /* Into an empty database, all that the source gives, in the way that the engine is fastest in. Everything is on
     * its way to the disk at least as a put would be. */
    void (*bulk_load)(void *session, const struct source *);
    bool (*get)(void *session, helios_slice key, helios_slice *value);
    void *(*cursor_open)(void *session);
    void (*cursor_close)(void *cursor);
    /* Each says whether the cursor now stands on a record, and fills it if so. */
    bool (*first)(void *cursor, struct record *);
    bool (*last)(void *cursor, struct record *);
    bool (*seek)(void *cursor, helios_slice key, struct record *); /* the first key >= key */
    bool (*next)(void *cursor, struct record *);
    bool (*prev)(void *cursor, struct record *);
    /* From here on: NULL where the engine has nothing of the kind. */
    uint64_t (*point)(void *session);               /* the last commit, as a read point */
    void (*read_at)(void *session, uint64_t point); /* later gets and cursors read there */
    void *(*snapshot_new)(void *session);
    void (*snapshot_free)(void *session, void *snapshot);
    /* A session has one transaction at a time. */
    void (*txn_begin)(void *session);
    bool (*txn_get)(void *session, helios_slice key, helios_slice *value);
    void (*txn_put)(void *session, helios_slice key, helios_slice value);
    bool (*txn_commit)(void *session); /* false: it lost against another, and is over */
    /* body between begin and commit, again and again until it wins. */
    void (*txn_run)(void *session, void (*body)(void *arg), void *arg);
};

extern const struct engine bench_engine;

/* Says what went wrong on stderr and exits with 1. */
_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
