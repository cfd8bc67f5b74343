/* engine_internal.h - what the files of this room share: the database, its view, its path of commits.
 *
 * The main paths: a commit runs write.c -> commit.c (reserve, copy, publish) -> wal/ and memtable/; a get
 * runs read.c -> memtable/, then sstable/; background.c turns memtables into tables and merges them;
 * manifest.c makes each change of the tree durable; open.c and recovery.c bring it all back.
 *
 * Lock order: keys_mu, manifest_mu, state_mu, commit_mu; the last is held for a few dozen instructions. Readers take none.
 * Those of tags.h and feed_state.h stand above and below them. */
#ifndef HELIOS_ENGINE_INTERNAL_H
#define HELIOS_ENGINE_INTERNAL_H
#include "base/buf.h"
#include "base/epoch.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/merge.h"
#include "base/thread.h"
#include "branch/holds.h"
#include "compaction/job.h"
#include "compaction/pace.h"
#include "compaction/pick.h"
#include "compaction/pool.h"
#include "engine/batch.h"
#include "engine/event_log.h"
#include "engine/feed_state.h"
#include "engine/manifest.h"
#include "engine/origin_state.h"
#include "engine/row_ids.h"
#include "engine/tags.h"
#include "engine/version.h"
#include "memtable/memtable.h"
#include "mvcc/footprint.h"
#include "mvcc/horizon.h"
#include "mvcc/pins.h"
#include "mvcc/stretch.h"
#include "wal/wal.h"

enum {
    VIEW_MEMTABLES_MAX = 32,
    RING_SLOTS = 4096, /* commits between reservation and publication */
    RUNNING_MAX = 64,  /* compactions at once */
    PATH_BYTES_MAX = 4096,
};

/* ---- what a reader reads ---- */

/* A memtable and what the engine knows beside it. Counted through the memtable's own holders: a
 * view holds one. */
struct mem_slot {
    _Atomic uint32_t refs;
    struct memtable *memtable;
    uint64_t log_segment;        /* the log from here on is needed until it is flushed */
    helios_seq first;            /* all its numbers are at or above this */
    helios_seq last;             /* set when it is closed: all are at or below */
    _Atomic helios_seq unlogged; /* first of its commits that are in no log; 0: none */
    struct stretch stretch;      /* when its commits were made, and an ingested one's just below `first` */
};

/* Immutable, replaced whole under state_mu (and commit_mu, when the active memtable changes). */
struct view {
    struct epoch_item item;
    struct helios_db *db;
    struct view *next_dead;
    _Atomic uint32_t refs; /* one is the database's, dropped through the epoch */
    uint64_t generation;
    struct mem_slot *active;
    size_t closed_count;
    struct mem_slot *closed[VIEW_MEMTABLES_MAX]; /* newest first */
    struct version *version;
    helios_seq ingested;         /* largest number of an ingested table younger than a memtable here; 0: none */
    helios_seq timeline_flushed; /* commits above have their times in the stretches, others in tables */
};

/* Inside an epoch only; counted to stay valid outside of it. */
struct view *view_now(struct helios_db *);
struct view *view_ref(struct view *);
struct view *view_acquire(struct helios_db *); /* now, counted; from anywhere */
void view_unref(struct view *);                /* NULL is fine; frees nothing itself */
void view_bury(struct helios_db *);            /* does, where it may take long; without locks */

/* ---- commits in flight ---- */

struct ring_slot {
    _Atomic uint64_t ready; /* ticket + 1 once complete; release, read by the publisher */
    wal_pos end;            /* 0: unlogged */
    helios_seq last;
    struct timeline_entry entry; /* count 0: given up, nobody's commit */
    struct mem_slot *slot;       /* whose stretch takes the entry; not flushed before the commit is published */
    /* What the commit writes; NULL or another ticket's: unknown. Set in the reservation, taken away by the next
     * user of the slot; looked at inside an epoch. */
    _Atomic(struct footprint *) footprint;
};

/* Transactions that keep losing, for helios_txn_run. */
struct txn_queue {
    struct mutex mu;           /* below all other locks; never across an attempt */
    struct txn_waiter *first;  /* whose turn it is */
    _Atomic uint32_t starving; /* 1: the first loses all the same: newcomers wait, asleep on this */
};

/* Who sleeps until more becomes visible; followers.c. All atomic. */
struct followers {
    _Atomic uint32_t waiting; /* a publisher stores `visible`, then loads this */
    _Atomic uint32_t word;
    _Atomic uint32_t baton; /* 1: who is awake next wakes the others */
};

/* What is known of numbers that are no commit's, and of old ones that are. */
struct fate {
    /* Constant after open. */
    struct lost_range lost[LOST_RANGES_MAX];
    uint32_t lost_count;
    helios_seq recovered; /* commits up to here survive: the open saw to it */
    /* Atomic. */
    _Atomic helios_seq refused; /* the least number whose record the log refused; UINT64_MAX: none */
};

struct helios_db {
    /* Constant after open. */
    helios_options options; /* but history_retention: guarded by state_mu */
    char *path, *wal_directory, *sst_directory;
    struct io_fs *fs;
    bool owns_fs; /* an in-memory database brings its own */
    struct io_lock *lock;
    struct keys *keys; /* NULL: not encrypted */
    unsigned char uuid[16], node_id[16];
    uint64_t created;
    uint64_t ingest_bytes;   /* a commit above goes into tables directly */
    uint64_t target_bytes;   /* of a table */
    helios_seq first_number; /* of this open's commits; all below was there or is skipped */
    struct table_home home;
    struct cache *cache;
    struct pins *pins;      /* points */
    struct pins *floors;    /* from a point on: transactions, histories */
    struct tags tags;       /* its own locks */
    struct feed feed;       /* likewise */
    struct origins origins; /* likewise */
    struct row_ids row_ids; /* likewise */
    struct registry *registry;
    struct branch_holds holds; /* its own lock */
    _Atomic uint64_t
        drops_gone; /* so many dropped branches have left nothing behind that is worth looking for */
    struct pool *pool;
    struct wal *wal; /* NULL when read-only */

    /* Atomic. */
    _Atomic(struct view *) view __attribute__((aligned(64))); /* release: installs; acquire: readers */
    _Atomic uint64_t generation;                              /* of the view; iterators look at it */
    _Atomic(struct view *) dead_views; /* of no count; release: view_unref(); acquire: view_bury() */
    _Atomic helios_seq visible __attribute__((aligned(64))); /* release: publisher in order; acquire: readers */
    _Atomic helios_seq latest;     /* the last commit; below visible after a void one */
    _Atomic helios_seq horizon;    /* H */
    _Atomic helios_seq aged_below; /* garbage_aged of the last rules: what jobs may gain by it */
    _Atomic uint32_t visible_word; /* changes with visible; waiters sleep on it */
    _Atomic uint32_t visible_waiters;
    struct followers followers;  /* likewise, but for what is visible at all */
    _Atomic bool publishing;     /* somebody advances the prefix */
    _Atomic uint64_t published;  /* tickets below are visible: stored after visible */
    _Atomic uint32_t validating; /* open read-write transactions: commits leave footprints for them */
    struct txn_queue queue;      /* of transactions that keep losing */
    _Atomic bool failed;         /* fatal: `failure` says why; writes are refused */
    _Atomic bool no_space;       /* background work waits for space; writes are refused meanwhile */
    _Atomic bool closing;
    struct pace_bucket write_pace; /* of writers: by the debt of the background, and by the flush under way */
    struct pace_bucket background_pace; /* of flushes and compactions, by write_rate_limit */
    _Atomic uint32_t
        ingests_logged; /* commits whose record may be in the log before their tables are in the tree */
    _Atomic uint32_t iterators, snapshots, transactions; /* open handles */
    _Atomic uint64_t user_bytes;                         /* key and value bytes committed since creation */
    struct fate fate;

    /* Guarded by commit_mu: the reservation. */
    struct mutex commit_mu __attribute__((aligned(64)));
    struct mem_slot *active; /* also needs state_mu to change */
    helios_seq next;         /* first number not handed out */
    uint64_t ticket;
    uint64_t last_time;
    helios_seq ceiling;         /* handed out only below; raised durably by the background */
    struct ring_slot *ring;     /* RING_SLOTS */
    struct gate *gates;         /* branches that take no reservations now; see gate.h */
    _Atomic uint32_t gate_word; /* changes when one goes; who waits sleeps on it */

    /* Guarded by state_mu: the tree and its jobs. */
    struct mutex state_mu;
    struct condition state_changed; /* memtable flushed, job done, error, closing */
    struct version *version;        /* changes under manifest_mu too */
    helios_seq timeline_flushed;    /* of the view */
    uint64_t next_file;
    size_t jobs; /* submitted and not finished */
    bool flush_running;
    struct flush_job *flush_job;
    const struct compact_pick *running[RUNNING_MAX];
    size_t running_count, background_compactions;
    helios_seq
        rest_latest; /* at rest since this number, and then free to rewrite rest_bytes at once for readers */
    uint64_t rest_bytes;
    bool recovering;         /* nothing is collected until the log is replayed */
    uint64_t memtable_least; /* recovery: the next memtable must hold this much */
    uint64_t replay_segment; /* recovery: where the record that is replayed stands */
    bool log_failed;         /* `failure` came from the log: only an open helps */
    struct horizon retention;
    struct error_note failure;       /* the first fatal background error */
    struct error_note space_failure; /* background work waits: NO_SPACE, NO_MEMORY */
    struct error_note damage;        /* found by a compaction; its files are left alone */
    pthread_t janitor;
    bool janitor_started;

    struct mutex registry_mu; /* changes of the registry, one by one; before every other lock */

    struct mutex merge_mu;      /* branch.merging, and: */
    uint32_t merges_committing; /* merges that may be visible before the registry has them */
    struct condition merge_over;

    struct mutex keys_mu; /* data keys come and go; a checkpoint must have those of its files */

    /* Guarded by manifest_mu. */
    struct mutex manifest_mu;
    struct manifest *manifest;
    struct manifest_state manifest_state;
    struct event_log *events; /* its own lock */

    /* Statistics, relaxed. */
    _Atomic uint64_t flush_bytes, compaction_read_bytes, compaction_written_bytes, stall_time;
    _Atomic uint64_t ingest_written_bytes, flushes, compactions, stall_count;
    struct compact_progress progress; /* of compactions, summed */
};

/* ---- what one commit writes ---- */

/* Either one operation or a batch; the body of the log record as pieces that lie one behind the other. */
struct write_set {
    struct op one;
    struct helios_batch *batch; /* NULL: `one` */
    size_t count, range_deletes;
    helios_slice pieces[3];
    size_t piece_count;
    uint64_t body_size, user_bytes;
    helios_slice origin; /* of an applied commit, in front of the operations in the record; its first piece */
    bool holds_gate;     /* its writer has closed the gate of its branch */
    struct helios_txn *txn; /* validates once more behind the reservation; NULL: nothing to validate */
};

/* ---- options ---- */
/* Copies a caller's option struct over the defaults: a smaller one means defaults for the rest, a larger one
 * with unknown bytes set is HELIOS_UNSUPPORTED. given may be NULL. */
helios_status options_copy(const void *given, size_t given_size, const void *defaults, size_t size, void *out,
                           const char *name) CHECKED;

/* ---- errors and state ---- */
/* HELIOS_OK, or why writes are refused now. */
helios_status db_writable(struct helios_db *) CHECKED;
/* Keeps the first fatal error: the database is read-only from now on; wakes everybody. Returns status. */
helios_status db_fail(struct helios_db *, helios_status status);

/* All who wait for something to become visible look again, also at `failed`. */
void visible_wake(struct helios_db *);

/* ---- followers.c ---- */
/* Enter, then in a loop: the word; what is looked for, leave if it is there; sleep. May wake early. */
void followers_enter(struct followers *);
uint32_t followers_word(struct followers *);
void followers_sleep(struct followers *, uint32_t word, uint64_t timeout); /* us; UINT64_MAX: no limit */
void followers_leave(struct followers *);
void followers_tell(struct followers *); /* after what they look for has changed */

/* ---- fate.c ---- */
/* At the end of an open. */
void fate_begin(struct helios_db *);
/* The log has not got the record of the commit that begins with this number: neither it nor a later one that is
 * not visible will ever be. */
void fate_refused(struct helios_db *, helios_seq first);
/* Whether a number that was once seen is none of a commit any more: it lies where an open has cut, or above all. */
bool fate_is_lost(const struct helios_db *, helios_seq);

/* ---- write path: commit.c, ingest.c, memtables.c ---- */
/* One commit on a branch, acknowledged by durability. commit may be NULL. */
helios_status commit_write(struct helios_db *, helios_branch_id branch, helios_durability, struct write_set *,
                           helios_seq *commit) CHECKED;
/* The same through tables instead of the memtable. */
helios_status ingest_write(struct helios_db *, helios_branch_id branch, helios_durability, struct write_set *,
                           helios_seq *commit) CHECKED;
/* One operation on an entry of the system space, a commit of its own. commit may be NULL. */
helios_status write_system(struct helios_db *, helios_durability, enum key_kind, helios_slice key,
                           helios_slice value, helios_seq *commit) CHECKED;
/* All of a settled batch. */
struct write_set write_set_of(struct helios_batch *);
/* Whose layer an operation of a commit on `branch` goes to. */
static inline helios_branch_id op_branch(helios_branch_id branch, const struct op *op)
{
    return branch == WAL_BRANCH_MANY ? op->branch : branch;
}
/* Whose gate a commit on `branch` has to pass: none, if its writer holds it. */
static inline helios_branch_id write_set_gate(const struct write_set *set, helios_branch_id branch)
{
    return set->holds_gate ? WAL_BRANCH_MANY : branch;
}
/* Resolves the default; HELIOS_INVALID. */
helios_status write_durability(struct helios_db *, helios_durability *) CHECKED;
struct op write_set_at(const struct write_set *, size_t index);
bool write_set_superseded(const struct write_set *, size_t index);

/* What a reservation hands out, all together. The slot's stretch takes the commit's time: for an ingest, that is
 * the memtable after it. */
struct reserved {
    struct mem_slot *slot;
    uint64_t ticket, time;
    helios_seq first, last;
    bool logged;
    struct wal_reservation log;
    struct footprint *footprint; /* now the ring's; NULL: none */
    struct footprint *replaced;  /* what stood in the slot: to be retired without locks */
};
enum reserve_result {
    RESERVE_DONE,
    RESERVE_OTHER_MEMTABLE,
    RESERVE_LOG_FULL,
    RESERVE_RING_FULL,
    RESERVE_CEILING,
    RESERVE_HELD,  /* a merge into the branch is about to commit */
    RESERVE_CLOSED /* the branch takes no more writes */
};
/* Takes `count` numbers and record_size bytes of log (0: unlogged), if `slot` is still the active
 * memtable; never waits. Otherwise says why not; reserve_wait waits for that, outside every epoch.
 * footprint: of the commit, taken over on RESERVE_DONE; NULL: transactions will have to look in the tree. */
enum reserve_result reserve_try(struct helios_db *, helios_branch_id, struct mem_slot *slot, size_t count,
                                uint64_t record_size, struct footprint *, struct reserved *);
/* Under commit_mu, for whoever changes the active memtable with it; who then retires out->replaced. */
enum reserve_result reserve_locked(struct helios_db *, helios_branch_id, struct mem_slot *slot, size_t count,
                                   uint64_t record_size, uint64_t now, struct footprint *, struct reserved *);
/* Of a commit, if there is a transaction that will ask; else, or without memory, NULL. */
struct footprint *footprint_of(struct helios_db *, helios_branch_id, const struct write_set *);
/* Copies the record of a reservation to its place in the log; notes the fate of what follows if that fails. */
helios_status record_write(struct helios_db *, const struct reserved *, const struct wal_record *,
                           uint64_t body_hash, const helios_slice *pieces, size_t count) CHECKED;
helios_status reserve_wait(struct helios_db *, helios_branch_id, enum reserve_result why,
                           uint64_t record_size) CHECKED;
/* The commit is complete: advances the visible number over all complete ones and returns once this one is
 * visible. */
helios_status publish(struct helios_db *, const struct reserved *, uint64_t user_bytes) CHECKED;
/* The same for numbers that are given up: a void record stands in the log, nobody's commit. */
helios_status publish_void(struct helios_db *, const struct reserved *) CHECKED;
helios_status publish_wait(struct helios_db *, helios_seq seq) CHECKED;
helios_status acknowledge(struct helios_db *, helios_durability, const struct reserved *) CHECKED;

/* Closes `expected` (if it is still the active one and not empty; NULL: whichever is) and puts a fresh
 * memtable in its place; waits while too many are unflushed. */
helios_status memtable_switch(struct helios_db *, struct mem_slot *expected) CHECKED;
helios_status mem_slot_new(struct helios_db *, helios_slice shared, struct mem_slot **) CHECKED;
struct mem_slot *mem_slot_ref(struct mem_slot *);
void mem_slot_unref(struct mem_slot *);
bool mem_slot_empty(const struct mem_slot *); /* nothing in it to flush */
/* Fresh views; installed under state_mu (and commit_mu when the active memtable changes). */
struct view *view_alloc(struct helios_db *); /* an empty one; NULL: no memory, sentence set */
void view_fill(struct view *, struct mem_slot *active, struct mem_slot *const *closed, size_t closed_count,
               struct version *);
void view_install_locked(struct helios_db *,
                         struct view *); /* takes the view; the caller retires the old one */
helios_seq view_newest_ingested(const struct view *);
/* Waits, under state_mu, until there is room for one more closed memtable, or `expected` is not the active one. */
helios_status view_wait_for_room(struct helios_db *, const struct mem_slot *expected) CHECKED;
void view_retire(struct view *old); /* without locks */

/* rotate.c: lets go of data keys that no file uses. An encrypted database that is written. */
helios_status keys_settle(struct helios_db *) CHECKED;
/* As helios_compact_range of everything, and every table that is there now is written anew. */
helios_status compact_rewriting(struct helios_db *, const helios_compact_options *) CHECKED;
/* Whether a commit up to `last` is in no log and not yet in a table. */
bool unlogged_up_to(struct helios_db *, helios_seq last);

/* ---- the background: background.c, flush.c, compact.c, install.c, horizon.c ---- */
helios_status background_start(struct helios_db *) CHECKED;
/* Under state_mu: starts whatever flush or compaction is due, and sets the pace of writers. */
void background_schedule_locked(struct helios_db *);
void background_stop(struct helios_db *); /* cancels compactions, waits for all jobs */
/* A job is over. A failure is kept: space and memory as something to wait for, the rest is fatal. */
void background_done(struct helios_db *, helios_status status);
/* Waits until no closed memtable is left to flush; read-only, they stay. */
helios_status background_wait_flushed(struct helios_db *) CHECKED;
/* Flushes the active memtable and all closed ones; waits. */
helios_status background_flush_all(struct helios_db *) CHECKED;

struct flush_job {
    struct pool_job job;
    struct helios_db *db;
};
void flush_run(struct pool_job *);
/* Writes the oldest closed memtable into L0 and installs it; on this thread. */
helios_status flush_oldest(struct helios_db *) CHECKED;

/* Takes over the pick; its files are marked busy and it stands in `running`. */
helios_status compaction_start_locked(struct helios_db *, struct compact_pick *) CHECKED;
void compact_tree_of(struct helios_db *, struct version *, struct compact_tree *); /* under state_mu */

/* The rules for a job that starts now; moves the horizon as far as it may go. */
struct job_rules {
    struct garbage_rules rules;
    helios_seq *pins;
    struct held_list held;
    struct garbage_branch *branches;
};
helios_status job_rules_init(struct helios_db *, struct job_rules *) CHECKED;
void job_rules_release(struct job_rules *);
helios_seq horizon_move(struct helios_db *); /* takes state_mu */
/* Moves it, and where it differs from *looked sees what a job would find that starts now. */
void horizon_look(struct helios_db *, helios_seq *looked);
helios_seq horizon_of_jobs_locked(
    struct helios_db *); /* as it would be for a job that starts now; under state_mu */
/* Whose a pin of this thread is that is taken now. */
struct pin_owner pin_owner_now(struct helios_db *, helios_pin_kind);
/* A floor: every state from its point on stays readable by its holder until pins_release(db->floors, pin). At the
 * last commit, or as far back as there is history. */
helios_status floor_acquire_latest(struct helios_db *, helios_pin_kind, pin_id *, helios_seq *seq) CHECKED;
helios_status floor_acquire_horizon(struct helios_db *, helios_pin_kind, pin_id *, helios_seq *seq) CHECKED;

/* Applies the changes durably, then shows them in a new view. flushed: the closed memtable that they
 * replace, or NULL. changes may be empty: the state alone (ceiling, floor) is made durable. */
helios_status tree_install(struct helios_db *, const struct version_change *, size_t count,
                           struct mem_slot *flushed) CHECKED;
/* The same for tables that a durable log record names: they are shown even if the manifest cannot be
 * written now, as the log brings them back and the next edit is a snapshot that has them. */
helios_status tree_install_logged(struct helios_db *, const struct version_change *, size_t count) CHECKED;
/* Removes the tables of a job whose edit failed, unless the manifest may name them all the same; the next
 * open removes them then. The caller's sentence stays. */
void tables_discard(struct helios_db *, struct compact_result *);
/* The last edit of a clean close. */
helios_status tree_mark_clean(struct helios_db *, wal_pos end) CHECKED;
uint64_t file_number_take(void *db); /* any db; the type fits compact_job.next_number */
/* What a job has let go of, for its files to tell. */
struct collected {
    helios_seq horizon;
    uint64_t drops; /* of branches */
};
struct collected collected_by(const struct job_rules *);
/* Fills a change list with the results of a job at a level; files are new references. */
helios_status changes_add_results(struct helios_db *, const struct compact_result *, uint32_t level,
                                  struct collected, struct version_change *out) CHECKED;

/* ---- upkeep.c ---- */
/* Adds how much of the file lies in [from, to), keys with layer, by its index: to about a block. May open the table. */
helios_status file_share(struct table_file *, helios_slice from, helios_slice to, uint64_t *bytes) CHECKED;

/* ---- record_ops.c ---- */
/* What the operations of a COMMIT come to: of each key of a branch one, range deletes among them, in an order in which
 * all can be applied under the commit's number. scratch: cleared and filled. HELIOS_CORRUPT without a place. */
typedef helios_status (*record_visit)(void *arg, helios_branch_id, const struct op *);
enum { OP_BYTES_MIN = 3 }; /* in a record */
helios_status record_operations(const struct wal_record *, struct helios_batch *scratch, record_visit,
                                void *arg) CHECKED;
/* Of keys and values of a COMMIT or INGEST, whatever they came to. */
helios_status record_user_bytes(const struct wal_record *, uint64_t *bytes) CHECKED;

/* ---- recovery.c, open.c ---- */
/* Replays the log from the manifest's floor into memtables and tables. */
helios_status recover_log(struct helios_db *, const struct wal_options *, struct wal_recovery *) CHECKED;
/* helios_open on a given file system, which stays the caller's: for tests on memory and faulty ones. */
helios_status engine_open(struct io_fs *, const char *path, const helios_options *, helios_db **) CHECKED;
/* helios_salvage likewise. */
helios_status engine_salvage(struct io_fs *, const char *from, const char *to, const helios_salvage_options *,
                             helios_salvage_report *) CHECKED;

#endif
