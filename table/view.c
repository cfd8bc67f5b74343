/* view.c - where a call on tables reads, and the transaction in which one writes. */
#include "table/table_internal.h"

static const helios_table_options default_options = HELIOS_TABLE_OPTIONS_INIT;

helios_status table_options(const helios_table_options *given, helios_table_options *out)
{
    helios_status status = options_copy(given, given ? given->size : 0, &default_options, sizeof(*out), out,
                                        "helios_table_options");

    if (status == HELIOS_OK && out->txn && (out->branch || out->at || out->snapshot || out->durability))
        return fail(HELIOS_INVALID, "a transaction has its own branch, point and durability");
    return status;
}

struct table_view view_of_txn(helios_db *db, helios_txn *txn)
{
    return (struct table_view){.db = db, .txn = txn};
}

helios_status view_begin(struct table_view *view, helios_db *db, const helios_table_options *options)
{
    helios_read_options given = HELIOS_READ_OPTIONS_INIT, checked;
    helios_status status;

    if (options->txn) {
        *view = view_of_txn(db, options->txn);
        return HELIOS_OK;
    }
    *view = (struct table_view){.db = db, .branch = options->branch};
    given.branch = options->branch;
    given.at = options->at;
    given.snapshot = options->snapshot;
    status = read_options(db, &given, &checked);
    return status == HELIOS_OK ? read_point_pin(db, &checked, HELIOS_PIN_ITERATOR, &view->pin, &view->seq)
                               : status;
}

void view_end(struct table_view *view)
{
    if (!view->txn)
        pins_release(view->db->pins, view->pin);
    view->pin = 0;
}

helios_status view_get(const struct table_view *view, uint8_t space, helios_slice key, helios_buf *value)
{
    const struct read_point point = {.seq = view->seq, .pinned = true};
    struct layered layered;
    helios_status status;

    if (view->txn)
        return txn_get(view->txn, space, key, value);
    status = layered_init(&layered, view->branch, space, key);
    if (status != HELIOS_OK)
        return status;
    status = read_at(view->db, &point, true, layered.key, value);
    layered_release(&layered);
    return status;
}

helios_status view_iter(const struct table_view *view, uint8_t space, const struct view_bounds *bounds,
                        helios_iter **out)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;

    options.lower = bounds->lower;
    options.upper = bounds->upper;
    options.keys_only = bounds->keys_only;
    options.no_cache_fill = bounds->no_cache_fill;
    if (view->txn)
        return txn_iter(view->txn, space, &options, out);
    options.branch = view->branch;
    options.at = view->seq ? view->seq : HELIOS_SEQ_NONE;
    return iter_new_in(view->db, space, &options, out);
}

static helios_status write_within(helios_txn *txn, helios_status (*body)(void *arg, helios_txn *), void *arg)
{
    struct error_note note = {0};
    helios_status status = helios_txn_savepoint(txn);

    if (status != HELIOS_OK)
        return status;
    status = body(arg, txn);
    if (status == HELIOS_OK) {
        txn_savepoint_release(txn);
        return HELIOS_OK;
    }
    error_keep(&note, status);
    if (helios_txn_rollback_to_savepoint(txn) != HELIOS_OK)
        return fail_context(helios_txn_rollback(txn), "half of a change could not be taken back");
    return error_tell(&note);
}

helios_status table_write(helios_db *db, const helios_table_options *options,
                          helios_status (*body)(void *arg, helios_txn *), void *arg)
{
    helios_txn_options own = HELIOS_TXN_OPTIONS_INIT;

    if (options->at || options->snapshot)
        return fail(HELIOS_READ_ONLY, "a read point in the past is for reading");
    if (options->txn)
        return write_within(options->txn, body, arg);
    own.branch = options->branch;
    own.durability = options->durability;
    return helios_txn_run(db, &own, body, arg, NULL);
}
