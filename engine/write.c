/* write.c - the public writes: check the arguments, make a write set of them, commit. */
#include "engine/branches.h"
#include "engine/feed.h"

static const helios_write_options default_write = HELIOS_WRITE_OPTIONS_INIT;

helios_status write_durability(struct helios_db *db, helios_durability *durability)
{
    if ((unsigned)*durability > HELIOS_DURABILITY_SYNC)
        return fail(HELIOS_INVALID, "durability %d is none of helios_durability", (int)*durability);
    if (*durability == HELIOS_DURABILITY_DEFAULT)
        *durability = db->options.durability;
    /* While a feed is kept it has no holes. */
    if (*durability == HELIOS_DURABILITY_NONE && db->options.feed_retention != 0)
        *durability = HELIOS_DURABILITY_ASYNC;
    return HELIOS_OK;
}

/* Fills in what was not given; refuses a larger struct whose unknown bytes are set. */
static helios_status write_options(struct helios_db *db, const helios_write_options *given,
                                   helios_write_options *out)
{
    helios_status status =
        options_copy(given, given ? given->size : 0, &default_write, sizeof(*out), out, "helios_write_options");

    if (status != HELIOS_OK)
        return status;
    if (out->branch != 0)
        status = branch_writable(db, out->branch);
    if (status == HELIOS_OK)
        status = write_durability(db, &out->durability);
    return status == HELIOS_OK ? db_writable(db) : status;
}

static helios_status commit_one(struct helios_db *db, helios_branch_id branch, helios_durability durability,
                                const struct op *op, helios_seq *commit)
{
    unsigned char header[OP_HEADER_MAX];
    struct write_set set = {.count = 1, .range_deletes = op->kind == KIND_RANGE_DELETE};
    size_t header_size = op_header(header, op->kind, op->space, op->key, op->value);

    set.one = *op;
    set.pieces[0] = slice_make(header, header_size);
    set.pieces[1] = op->key;
    set.pieces[2] = op->value;
    set.piece_count = 3;
    set.body_size = header_size + op->key.size + op->value.size;
    set.user_bytes = op->key.size + op->value.size;
    return commit_write(db, branch, durability, &set, commit);
}

static helios_status write_one(struct helios_db *db, const helios_write_options *given, enum key_kind kind,
                               helios_slice key, helios_slice value)
{
    const struct op op = {.kind = kind, .space = SPACE_USER, .key = key, .value = value};
    helios_write_options options;
    helios_status status = write_options(db, given, &options);

    return status == HELIOS_OK ? commit_one(db, options.branch, options.durability, &op, NULL) : status;
}

helios_status write_system(struct helios_db *db, helios_durability durability, enum key_kind kind,
                           helios_slice key, helios_slice value, helios_seq *commit)
{
    const struct op op = {.kind = kind, .space = SPACE_SYSTEM, .key = key, .value = value};

    return commit_one(db, 0, durability, &op, commit);
}

helios_status helios_put(helios_db *db, const helios_write_options *options, helios_slice key,
                         helios_slice value)
{
    helios_status status = db ? check_key(key) : fail(HELIOS_INVALID, "no database was given");

    if (status == HELIOS_OK)
        status = check_value(value);
    return status == HELIOS_OK ? write_one(db, options, KIND_VALUE, key, value) : status;
}

helios_status helios_delete(helios_db *db, const helios_write_options *options, helios_slice key)
{
    helios_status status = db ? check_key(key) : fail(HELIOS_INVALID, "no database was given");

    return status == HELIOS_OK ? write_one(db, options, KIND_TOMBSTONE, key, slice_make("", 0)) : status;
}

helios_status helios_delete_range(helios_db *db, const helios_write_options *options, helios_slice from,
                                  helios_slice to)
{
    helios_write_options checked;
    helios_status status = db ? check_key(from) : fail(HELIOS_INVALID, "no database was given");

    if (status == HELIOS_OK)
        status = check_key(to);
    if (status == HELIOS_OK)
        status = write_options(db, options, &checked);
    if (status != HELIOS_OK || slice_compare(from, to) >= 0)
        return status;
    return write_one(db, options, KIND_RANGE_DELETE, from, to);
}

struct write_set write_set_of(struct helios_batch *batch)
{
    return (struct write_set){
        .batch = batch,
        .count = batch->count,
        .range_deletes = batch->range_deletes,
        .pieces = {buf_slice(&batch->body)},
        .piece_count = 1,
        .body_size = batch->body.size,
        .user_bytes = batch->user_bytes,
    };
}

helios_status helios_write(helios_db *db, const helios_write_options *given, helios_batch *batch,
                           helios_seq *commit)
{
    helios_write_options options;
    struct write_set set;
    helios_status status;

    if (!db || !batch)
        return fail(HELIOS_INVALID, "no %s was given", db ? "batch" : "database");
    status = error_tell(&batch->error);
    if (status == HELIOS_OK)
        status = write_options(db, given, &options);
    if (status == HELIOS_OK)
        status = batch_settle(batch);
    if (status != HELIOS_OK)
        return status;
    if (batch->count == 0) {
        if (commit)
            *commit = 0;
        return HELIOS_OK;
    }
    set = write_set_of(batch);
    if (batch->acks)
        return feed_write_acks(db, options.branch, options.durability, &set, commit);
    return commit_write(db, options.branch, options.durability, &set, commit);
}
