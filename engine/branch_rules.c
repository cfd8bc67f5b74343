/* branch_rules.c - what jobs may collect, branch by branch: all of a dropped one, and of the others what neither their
 * own readers nor a fork sees any more. Called by horizon.c for each job. */
#include "engine/branches.h"

bool branch_is_garbage(void *arg, helios_branch_id id)
{
    const struct branch *branch = branch_at(arg, id);

    return branch && atomic_load_explicit(&branch->garbage, memory_order_acquire);
}

bool branch_holds_point(struct helios_db *db, helios_branch_id id, helios_seq seq)
{
    return holds_have(&db->holds, id, seq);
}

/* What the log has not got on disk may be gone after a crash. */
static helios_seq durable_through(struct helios_db *db)
{
    helios_seq durable;

    if (db->options.in_memory)
        return SEQ_MAX;
    durable = db->wal ? wal_durable_seq(db->wal) : 0;
    return durable > db->fate.recovered ? durable : db->fate.recovered;
}

helios_seq branches_durable(struct helios_db *db, helios_seq point)
{
    helios_seq durable = durable_through(db);

    return durable < point ? durable : point;
}

void branches_settle(struct helios_db *db, helios_seq floor)
{
    holds_settle(&db->holds, branches_durable(db, floor));
}

helios_status branch_rules_init(struct job_rules *rules, const helios_seq *pins, size_t count)
{
    const struct held_list *held = &rules->held;
    struct garbage_branch *out = mem_array(held->count + 1, sizeof(*out));

    if (!out)
        return fail_no_memory((held->count + 1) * sizeof(*out));
    rules->branches = out;
    rules->rules.branches = out;
    rules->rules.others = (struct garbage_branch){.pins = pins, .count = count};
    if (held->count == 0 || held->at[0].branch != 0) /* main is always listed */
        *out++ = (struct garbage_branch){.pins = pins, .count = count, .is_root = true};
    for (size_t i = 0; i < held->count; i++)
        *out++ = (struct garbage_branch){.branch = held->at[i].branch,
                                         .pins = pins,
                                         .count = count,
                                         .own = held->at[i].points,
                                         .own_count = held->at[i].count,
                                         .is_root = held->at[i].branch == 0,
                                         .dropped = held->at[i].garbage};
    rules->rules.count = (size_t)(out - rules->branches);
    return HELIOS_OK;
}

void branch_rules_release(struct job_rules *rules)
{
    mem_free(rules->branches);
    rules->branches = NULL;
    rules->rules.count = 0;
}
