/* diff.c - the public differences: of the candidates that compare.c finds between two points, those whose presence or
 * bytes differ. */
#include "engine/branches.h"
#include "engine/compare.h"
#include "engine/read.h"

enum { FROM, TO, SIDES };

struct helios_diff {
    struct helios_db *db;
    struct compare *compare;
    pin_id pins[SIDES];
    helios_branch_id branches[SIDES]; /* held */
    bool keys_only;
    struct error_note error;
};

static const helios_diff_options default_diff = HELIOS_DIFF_OPTIONS_INIT;

/* ---- making ---- */

/* Keeps the branch and its point; at: the number that counts, before the first commit 0. */
static helios_status hold(struct helios_diff *d, int side, helios_point point, helios_seq *at)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;
    helios_status status = branch_readable(d->db, point.branch);

    options.branch = point.branch;
    options.at = point.at;
    if (status == HELIOS_OK)
        status = branch_hold(d->db, point.branch);
    if (status != HELIOS_OK)
        return status;
    d->branches[side] = point.branch;
    return read_point_pin(d->db, &options, HELIOS_PIN_ITERATOR, &d->pins[side], at);
}

/* Latest is the same for both: of a branch with itself nothing differs, whatever is written meanwhile. */
static helios_status hold_both(struct helios_diff *d, helios_point from, helios_point to, helios_seq at[SIDES])
{
    helios_status status = hold(d, FROM, from, &at[FROM]);

    if (status != HELIOS_OK)
        return status;
    if (from.at == 0 && to.at == 0)
        to.at = at[FROM] ? at[FROM] : HELIOS_SEQ_NONE;
    return hold(d, TO, to, &at[TO]);
}

static helios_status open_compare(struct helios_diff *d, helios_point from, helios_point to,
                                  const helios_diff_options *given)
{
    static const uint8_t pair[1][2] = {{FROM, TO}};
    helios_diff_options options;
    helios_seq at[SIDES] = {0};
    helios_status status = options_copy(given, given ? given->size : 0, &default_diff, sizeof(options),
                                        &options, "helios_diff_options");

    if (status == HELIOS_OK)
        status = hold_both(d, from, to, at);
    if (status != HELIOS_OK)
        return status;
    d->keys_only = options.keys_only;
    return compare_new(d->db,
                       &(struct compare_options){
                           .space = SPACE_USER,
                           .lower = options.lower,
                           .upper = options.upper,
                           .states = (struct state_point[]){{from.branch, at[FROM]}, {to.branch, at[TO]}},
                           .state_count = SIDES,
                           .pairs = pair,
                           .pair_count = 1,
                           .fill_cache = !options.no_cache_fill,
                       },
                       &d->compare);
}

helios_status helios_diff_new_with(helios_db *db, helios_point from, helios_point to,
                                   const helios_diff_options *options, helios_diff **out)
{
    struct helios_diff *d;
    helios_status status;

    if (!db || !out)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the differences" : "database");
    d = mem_zalloc(sizeof(*d));
    if (!d)
        return fail_no_memory(sizeof(*d));
    d->db = db;
    atomic_fetch_add_explicit(&db->iterators, 1, memory_order_relaxed);
    status = open_compare(d, from, to, options);
    if (status != HELIOS_OK) {
        helios_diff_free(d);
        return status;
    }
    *out = d;
    return HELIOS_OK;
}

helios_status helios_diff_new(helios_db *db, helios_point from, helios_point to, helios_diff **out)
{
    return helios_diff_new_with(db, from, to, NULL, out);
}

void helios_diff_free(helios_diff *d)
{
    if (!d)
        return;
    compare_free(d->compare);
    for (int side = 0; side < SIDES; side++) {
        pins_release(d->db->pins, d->pins[side]);
        branch_release(d->db, d->branches[side]);
    }
    atomic_fetch_sub_explicit(&d->db->iterators, 1, memory_order_release);
    mem_free(d);
}

/* ---- walking ---- */

/* On to the next key that differs. False: the end, or an error, kept. */
static bool next_differing(struct helios_diff *d)
{
    helios_status status = HELIOS_OK;
    bool equal = true;

    while (status == HELIOS_OK && equal && compare_next(d->compare))
        status = compare_equal(d->compare, FROM, TO, &equal);
    if (status == HELIOS_OK)
        status = compare_status(d->compare);
    error_keep(&d->error, status);
    return status == HELIOS_OK && !equal;
}

static helios_status show(struct helios_diff *d, helios_difference *difference)
{
    struct compare *c = d->compare;
    helios_status status = HELIOS_OK;

    *difference = (helios_difference){
        .key = compare_key(c),
        .in_from = compare_has(c, FROM),
        .in_to = compare_has(c, TO),
        .from_seq = compare_seq(c, FROM),
        .to_seq = compare_seq(c, TO),
    };
    if (difference->in_from && !d->keys_only)
        status = compare_value(c, FROM, &difference->from);
    if (status == HELIOS_OK && difference->in_to && !d->keys_only)
        status = compare_value(c, TO, &difference->to);
    return status;
}

bool helios_diff_next(helios_diff *d, helios_difference *difference)
{
    helios_difference found;
    helios_status status;

    if (!d || !difference || d->error.status != HELIOS_OK || !next_differing(d))
        return false;
    status = show(d, &found);
    error_keep(&d->error, status);
    if (status == HELIOS_OK)
        *difference = found;
    return status == HELIOS_OK;
}

helios_status helios_diff_status(const helios_diff *d)
{
    if (!d)
        return fail(HELIOS_INVALID, "no differences were given");
    return error_tell(&d->error);
}

helios_status helios_diff_count(helios_db *db, helios_point from, helios_point to,
                                const helios_diff_options *options, helios_diff_counts *counts)
{
    helios_diff_counts found = {0};
    helios_diff *d;
    helios_status status;

    if (!counts)
        return fail(HELIOS_INVALID, "no place for the counts was given");
    status = helios_diff_new_with(db, from, to, options, &d);
    if (status != HELIOS_OK)
        return status;
    while (next_differing(d)) {
        bool before = compare_has(d->compare, FROM), after = compare_has(d->compare, TO);

        *(before && after ? &found.changed : before ? &found.removed : &found.added) += 1;
    }
    status = helios_diff_status(d);
    helios_diff_free(d);
    if (status == HELIOS_OK)
        *counts = found;
    return status;
}
