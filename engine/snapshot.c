/* snapshot.c - snapshots, and what is known of the one history: its last commit, its horizon. */
#include "engine/read.h"

helios_status helios_snapshot_new(helios_db *db, helios_seq at, helios_snapshot **out)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    struct helios_snapshot *snapshot;
    helios_status status;

    if (!db || !out)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the snapshot" : "database");
    snapshot = mem_zalloc(sizeof(*snapshot));
    if (!snapshot)
        return fail_no_memory(sizeof(*snapshot));
    snapshot->db = db;
    options.at = at;
    status = read_point_pin(db, &options, HELIOS_PIN_SNAPSHOT, &snapshot->pin, &snapshot->seq);
    if (status != HELIOS_OK) {
        mem_free(snapshot);
        return status;
    }
    atomic_fetch_add_explicit(&db->snapshots, 1, memory_order_relaxed);
    *out = snapshot;
    return HELIOS_OK;
}

helios_seq helios_snapshot_seq(const helios_snapshot *snapshot)
{
    return snapshot && snapshot->seq ? snapshot->seq : HELIOS_SEQ_NONE;
}

void helios_snapshot_free(helios_db *db, helios_snapshot *snapshot)
{
    (void)db; /* a snapshot knows its own */
    if (!snapshot)
        return;
    pins_release(snapshot->db->pins, snapshot->pin);
    atomic_fetch_sub_explicit(&snapshot->db->snapshots, 1, memory_order_release);
    mem_free(snapshot);
}

helios_seq helios_latest(helios_db *db)
{
    return db ? atomic_load(&db->latest) : 0;
}
helios_seq helios_horizon(helios_db *db)
{
    return db ? atomic_load(&db->horizon) : 0;
}
