/* salvage_internal.h - what the files of salvage share: what was found in the damaged database, what is known of it,
 * what is being made of it.
 *
 * salvage_find.c looks at names and manifests; salvage_log.c reads records into memtables; salvage.c merges all tables
 * and memtables into tables of one level; salvage_registry.c brings the entries of branches, merges and tags into
 * agreement, in a commit of its own. Files of the source are opened and decoded by wal_reader_open(), salvage_manifest()
 * and table_salvage_open() alone: whatever else they may be wrapped in belongs there. */
#ifndef HELIOS_ENGINE_SALVAGE_INTERNAL_H
#define HELIOS_ENGINE_SALVAGE_INTERNAL_H
#include "engine/branches.h"
#include "engine/engine_internal.h"
#include "sstable/salvage.h"

/* A table that is there, or of which somebody tells. */
struct salvage_table {
    uint64_t number, size;
    char name[64]; /* below the source; "": it is not there */
    bool listed;   /* the manifest names it, or a record behind what the manifest has */
    bool described;
    helios_seq override_seq;
    helios_slice smallest, largest; /* if described; owned */
    struct table_properties properties;
};

struct salvage_tables {
    struct salvage_table *items;
    size_t count, capacity;
};

/* An entry of the system space of main, its newest version. */
struct salvage_entry {
    helios_slice key, value; /* user key; owned, one block */
    helios_seq seq;
};

struct salvage {
    struct io_fs *fs;
    const char *from, *to;
    helios_salvage_options options;
    helios_salvage_report report;
    struct io_lock *lock;

    /* Found. */
    struct salvage_tables tables;
    uint64_t *segments; /* numbers of the log's files, ascending */
    size_t segment_count, segment_capacity;
    bool trusted; /* the manifest: else everything that is found counts */
    struct manifest_state state;
    unsigned char node_id[16];
    helios_seq last_record; /* of the log, whether or not it was taken */

    /* Made. */
    struct table_home home;
    uint64_t next_number;
    struct cursor **sources;
    size_t source_count, source_capacity;
    struct table_salvage **opened; /* closed behind the sources */
    size_t opened_count;
    struct rangedel *deletes; /* of all sources; keys borrowed from their sets */
    size_t delete_count, delete_capacity;
    struct memtable *memtable;
    uint64_t *spilled; /* tables of log records, removed at the end */
    size_t spilled_count;
    struct timeline_entry *times; /* of the log's commits */
    size_t time_count, time_capacity;

    /* Seen on the way through. */
    helios_seq last_seen, timeline_last;
    uint64_t clock; /* the latest time of a commit */
    struct salvage_entry *entries;
    size_t entry_count, entry_capacity;
    helios_branch_id *branches; /* ascending: that hold anything */
    size_t branch_count, branch_capacity;
};

/* An array of `size` bytes an item with room for one more. */
helios_status salvage_room(void *items, size_t count, size_t *capacity, size_t size) CHECKED;

/* ---- what is lost ---- */
struct salvage_loss {
    helios_lost_kind kind;
    const char *file;
    helios_slice from, to; /* with layer; no data: open */
    helios_seq first, last;
    const char *reason;
};
void salvage_lose(struct salvage *, const struct salvage_loss *);

/* ---- salvage_find.c ---- */
/* HELIOS_NOT_FOUND: nothing is there. */
helios_status salvage_find(struct salvage *) CHECKED;
/* Once the log was read: whether the manifest is to be believed, which a record may have changed. */
void salvage_judge(struct salvage *);
/* The table of that number, made if need be. */
helios_status salvage_table_of(struct salvage *, uint64_t number, struct salvage_table **) CHECKED;
helios_status salvage_describe(struct salvage_table *, helios_slice smallest, helios_slice largest,
                               const struct table_properties *, helios_seq override_seq) CHECKED;
void salvage_release_found(struct salvage *);

/* ---- salvage_log.c ---- */
/* Its operations join the sources; times and names of tables are noted. */
helios_status salvage_log(struct salvage *) CHECKED;

/* ---- salvage.c ---- */
helios_status salvage_add_source(struct salvage *,
                                 struct cursor *) CHECKED; /* takes it over, whatever happens */
helios_status salvage_add_deletes(struct salvage *, struct rangedel_set *, helios_seq override_seq) CHECKED;
/* Writes the memtable of log records, if there is one, into a table for the time being, which joins the sources. */
helios_status salvage_spill(struct salvage *) CHECKED;

/* ---- salvage_registry.c ---- */
/* Puts and deletes of entries under the number `seq`; *count: how many. */
helios_status salvage_registry(struct salvage *, struct memtable *, helios_seq seq, uint32_t *count,
                               uint64_t *bytes) CHECKED;

#endif
