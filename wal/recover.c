/* recover.c - what the log says after an open: replay up to the first hole, and is that hole what a killed
 * writer leaves, or damage?
 *
 * Writers copy in parallel, so a killed process leaves holes with valid records behind them: normal. It
 * is damage when something says that the hole had been synced: a later record's `synced`, a seal, a link made
 * by an earlier recovery, or the manifest. Changes no file. */
#include "wal/wal_internal.h"
#include "base/mem.h"
#include <inttypes.h>

struct recovery {
    const struct wal_options *options;
    struct wal_recovery *state;
    helios_status (*record)(void *arg, const struct wal_record *);
    void *arg;
    struct wal_chain chain;
    wal_pos proven;  /* the largest position that something replayed says was durable */
    wal_pos damaged; /* where the first damage was passed over by salvage; 0: none */
};

static void prove(struct recovery *recovery, wal_pos pos)
{
    if (pos > recovery->proven)
        recovery->proven = pos;
}

/* ---- is it damage? ---- */

/* What the manifest knows, against a log that ends at `hole`. */
static bool manifest_denies(const struct wal_recovery *state, wal_pos hole)
{
    if (state->synced > hole || (state->clean && state->clean_end > hole))
        return true;
    /* With a floor, the last synced number may be in a segment that is gone. */
    return state->last_synced > state->last && (state->last != 0 || state->floor == 0);
}

/* Headers, links and seals of the segment with the hole and of those behind it. */
static bool segments_deny(const struct wal_walk *walk)
{
    const struct wal_link *links = walk->chain->links;
    const struct wal_segment_info *here = &links[walk->index].info;
    uint64_t hole = wal_reader_offset(walk->reader);

    if ((here->sealed && hole < here->sealed_end) || hole < here->copied_end)
        return true;
    for (size_t i = walk->index + 1; i < walk->chain->count; i++) {
        if (links[i].info.sealed || links[i].info.predecessor_end != 0 || links[i].gap)
            return true;
    }
    return false;
}

/* Records behind the hole: one that knew it synced denies it; all others are counted as cut. */
static helios_status records_deny(struct recovery *recovery, const struct wal_walk *at, bool *denied)
{
    wal_pos hole = wal_walk_at(at);
    struct wal_walk walk;
    helios_status status = wal_walk_open(&walk, recovery->options, &recovery->chain, hole, at->expected);
    uint64_t records = 0, bytes = 0;

    *denied = false;
    while (status == HELIOS_OK && !*denied) {
        struct wal_record record;
        enum walk_found found;

        status = wal_walk_skip(&walk, &record, &found);
        if (status != HELIOS_OK || found == WALK_END)
            break;
        *denied = record.synced > hole;
        if (record.type != WAL_END) {
            records++;
            bytes += record.end - record.at;
        }
    }
    wal_walk_close(&walk);
    if (status == HELIOS_OK && !*denied) {
        recovery->state->cut_records = records;
        recovery->state->cut_bytes = bytes;
    }
    return status;
}

static helios_status fail_damaged(const struct recovery *recovery, wal_pos at, const char *why)
{
    char path[WAL_PATH_MAX];

    wal_segment_path(recovery->options->directory, wal_pos_segment(at), path, sizeof(path));
    return fail_corrupt("%s: no record at %" PRIu64 ", but %s", path, wal_pos_offset(at), why);
}

/* HELIOS_OK if the log may end at the walk; HELIOS_CORRUPT if not. */
static helios_status end_check(struct recovery *recovery, const struct wal_walk *walk, enum walk_found found)
{
    wal_pos at = wal_walk_at(walk);
    bool denied;
    helios_status status;

    if (manifest_denies(recovery->state, at))
        return fail_damaged(recovery, at, "the manifest knows that the log was synced beyond");
    if (segments_deny(walk))
        return fail_damaged(recovery, at, "a segment's seal or link says that this was synced");
    if (found == WALK_LOST)
        return fail_damaged(recovery, at, "an end mark: the segment after it is missing");
    status = records_deny(recovery, walk, &denied);
    if (status == HELIOS_OK && denied)
        return fail_damaged(recovery, at, "a later record knows that this was synced");
    return status;
}

/* ---- replay ---- */

static helios_status deliver(struct recovery *recovery, const struct wal_record *record)
{
    struct wal_recovery *state = recovery->state;

    prove(recovery, record->synced);
    if (record->type == WAL_END)
        return HELIOS_OK;
    state->last = record->first + record->op_count - 1;
    if (record->time > state->last_time)
        state->last_time = record->time;
    state->records++;
    state->bytes += record->end - record->at;
    return recovery->record ? recovery->record(recovery->arg, record) : HELIOS_OK;
}

/* At a hole or the end of the chain. *done: the log ends here. */
static helios_status replay_stop(struct recovery *recovery, struct wal_walk *walk, enum walk_found found,
                                 bool *done)
{
    struct wal_record record;
    helios_status status = end_check(recovery, walk, found);

    *done = true;
    if (status != HELIOS_CORRUPT || !recovery->state->salvage)
        return status;
    if (recovery->damaged == 0)
        recovery->damaged = wal_walk_at(walk);
    status = wal_walk_skip(walk, &record, &found);
    if (status != HELIOS_OK || found == WALK_END)
        return status;
    *done = false;
    return deliver(recovery, &record);
}

static helios_status replay(struct recovery *recovery, struct wal_walk *walk)
{
    bool done = false;
    helios_status status = HELIOS_OK;

    while (status == HELIOS_OK && !done) {
        struct wal_record record;
        enum walk_found found;

        status = wal_walk_next(walk, &record, &found);
        if (status != HELIOS_OK)
            break;
        if (found == WALK_RECORD)
            status = deliver(recovery, &record);
        else
            status = replay_stop(recovery, walk, found, &done);
    }
    return status;
}

/* ---- how far it was durable ---- */

static void prove_by_segments(struct recovery *recovery)
{
    for (size_t i = 0; i < recovery->chain.count; i++) {
        const struct wal_segment_info *info = &recovery->chain.links[i].info;
        uint64_t number = info->header.number;

        if (i == 0 || info->predecessor_end != 0)
            prove(recovery, wal_pos_make(number, WAL_DATA));
        if (info->copied_end != 0)
            prove(recovery, wal_pos_make(number, info->copied_end));
        if (info->sealed)
            prove(recovery, wal_pos_make(number, info->sealed_end));
    }
}

/* A position in a segment that is no longer there is the start of the next. */
static wal_pos into_chain(const struct wal_chain *chain, wal_pos pos)
{
    for (size_t i = 0; i < chain->count; i++) {
        uint64_t number = chain->links[i].info.header.number;

        if (number == wal_pos_segment(pos))
            return pos;
        if (number > wal_pos_segment(pos))
            return wal_pos_make(number, WAL_DATA);
    }
    return pos;
}

static wal_pos earlier(wal_pos a, wal_pos b)
{
    return a < b ? a : b;
}

static void conclude(struct recovery *recovery, const struct wal_walk *walk)
{
    struct wal_recovery *state = recovery->state;

    state->end = wal_walk_at(walk);
    prove(recovery, state->synced);
    if (state->clean)
        prove(recovery, state->clean_end);
    prove_by_segments(recovery);
    state->durable = earlier(into_chain(&recovery->chain, recovery->proven), state->end);
    if (recovery->damaged != 0)
        state->durable = earlier(state->durable, recovery->damaged);
    if (walk->gap_at != 0)
        state->durable = earlier(state->durable, walk->gap_at);
    if (recovery->chain.links[0].gap)
        state->durable = 0; /* all of it is written anew */
}

/* No segment from the floor on. */
static helios_status recover_nothing(const struct wal_options *options, const struct wal_recovery *state)
{
    if (!manifest_denies(state, 0) || state->salvage)
        return HELIOS_OK;
    return fail_corrupt("%s: the manifest knows of a log and there is none", options->directory);
}

helios_status wal_recover(const struct wal_options *options, struct wal_recovery *state,
                          helios_status (*record)(void *arg, const struct wal_record *), void *arg)
{
    struct recovery recovery = {.options = options, .state = state, .record = record, .arg = arg};
    struct wal_walk walk = {0};
    helios_status status;

    state->last = 0;
    state->last_time = 0;
    state->end = state->durable = 0;
    state->records = state->bytes = state->cut_bytes = state->cut_records = 0;
    state->last_segment = 0;
    status = wal_chain_load(options, state->floor, state->salvage, &recovery.chain);
    if (status != HELIOS_OK)
        return status;
    state->last_segment = recovery.chain.last;
    if (recovery.chain.count == 0) {
        status = recover_nothing(options, state);
        goto out;
    }
    status = wal_walk_open(&walk, options, &recovery.chain, 0, 0);
    if (status == HELIOS_OK)
        status = replay(&recovery, &walk);
    if (status == HELIOS_OK)
        conclude(&recovery, &walk);
out:
    wal_walk_close(&walk);
    wal_chain_release(&recovery.chain);
    return status;
}
