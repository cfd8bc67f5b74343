/* infer.c - a column has the narrowest type that every value has which was seen there. What a number would lose stays text:
 * zeros in front of a code, digits beyond what a double holds. */
#include "tools/infer.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* From the narrowest on; the first that every value could be is taken. */
static const helios_type candidates[] = {HELIOS_TYPE_INT64, HELIOS_TYPE_FLOAT64, HELIOS_TYPE_BOOL,
                                         HELIOS_TYPE_DATE, HELIOS_TYPE_TIMESTAMP};
enum { CANDIDATE_COUNT = sizeof(candidates) / sizeof(candidates[0]) };
enum { REAL_DIGITS_MAX = 17, WHOLE_DIGITS_MAX = 15 }; /* that a double gives back */

struct column {
    char *name;
    bool seen;                      /* a value that is not NULL */
    bool nested;                    /* an array or object */
    bool possible[CANDIDATE_COUNT]; /* every value could be of it */
};

struct infer {
    struct column *columns;
    size_t count;
};

struct infer *infer_new(void)
{
    struct infer *infer = xalloc(sizeof(*infer));

    *infer = (struct infer){0};
    return infer;
}

void infer_free(struct infer *infer)
{
    if (!infer)
        return;
    for (size_t i = 0; i < infer->count; i++)
        free(infer->columns[i].name);
    free(infer->columns);
    free(infer);
}

/* guess: where it stands if all rows are alike. */
static struct column *column_of(struct infer *infer, const char *name, size_t guess)
{
    if (guess < infer->count && strcmp(infer->columns[guess].name, name) == 0)
        return &infer->columns[guess];
    for (size_t i = 0; i < infer->count; i++)
        if (strcmp(infer->columns[i].name, name) == 0)
            return &infer->columns[i];
    infer->columns = xrealloc(infer->columns, (infer->count + 1) * sizeof(*infer->columns));
    infer->columns[infer->count] = (struct column){.name = xtext(name)};
    memset(infer->columns[infer->count].possible, true, sizeof(infer->columns[infer->count].possible));
    return &infer->columns[infer->count++];
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Would a number give these digits back? */
static bool keeps_digits(helios_slice text, helios_type type)
{
    const char *at = text.data, *end = at + text.size;
    size_t digits = 0;
    bool whole = true;

    at += at < end && *at == '-';
    if (at == end || !is_digit(*at) || (*at == '0' && at + 1 < end && is_digit(at[1])))
        return false;
    for (; at < end && *at != 'e' && *at != 'E'; at++) {
        digits += is_digit(*at);
        whole &= is_digit(*at);
    }
    return type == HELIOS_TYPE_INT64 || digits <= (whole ? WHOLE_DIGITS_MAX : REAL_DIGITS_MAX);
}

static bool is_of(const struct cell *cell, helios_type type)
{
    bool number = type == HELIOS_TYPE_INT64 || type == HELIOS_TYPE_FLOAT64;
    enum cell_kind kind = number ? CELL_NUMBER : type == HELIOS_TYPE_BOOL ? CELL_BOOL : CELL_STRING;
    helios_buf memory = {0};
    helios_value value;
    bool good;

    if (cell->kind != CELL_TEXT && cell->kind != kind)
        return false;
    good = (!number || keeps_digits(cell->text, type)) &&
           helios_value_read(type, cell->text, &memory, &value) == HELIOS_OK &&
           (type != HELIOS_TYPE_FLOAT64 || isfinite(value.as.real));
    helios_buf_free(&memory);
    return good;
}

void infer_row(struct infer *infer, const struct cells *cells)
{
    for (size_t i = 0; i < cells->count; i++) {
        const struct cell *cell = &cells->items[i];
        struct column *column = column_of(infer, cell->name, i);

        if (cell->kind == CELL_NULL)
            continue;
        column->seen = true;
        column->nested |= cell->kind == CELL_NESTED;
        for (size_t k = 0; k < CANDIDATE_COUNT; k++)
            column->possible[k] = column->possible[k] && is_of(cell, candidates[k]);
    }
}

static helios_type type_of(const struct column *column)
{
    if (column->nested)
        return HELIOS_TYPE_JSON;
    for (size_t k = 0; k < CANDIDATE_COUNT && column->seen; k++)
        if (column->possible[k])
            return candidates[k];
    return HELIOS_TYPE_TEXT;
}

helios_column *infer_columns(const struct infer *infer, size_t *count)
{
    helios_column *columns = xalloc(infer->count * sizeof(*columns));

    for (size_t i = 0; i < infer->count; i++)
        columns[i] = (helios_column){.name = infer->columns[i].name, .type = type_of(&infer->columns[i])};
    *count = infer->count;
    return columns;
}
