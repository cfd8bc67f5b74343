/* value.h - typed values: conversion without loss, text and JSON. Pure; any thread. */
#ifndef HELIOS_TABLE_VALUE_H
#define HELIOS_TABLE_VALUE_H
#include "base/buf.h"

typedef __int128 decimal_number;
#define DECIMAL_SCALE_MAX 38

/* |number| < 10^38. */
bool decimal_in_range(decimal_number);
decimal_number decimal_of(const helios_decimal *);
helios_decimal decimal_make(decimal_number, uint32_t scale);

bool type_is_column(helios_type); /* a column may have it */
bool type_is_key(helios_type);    /* an index may have it */
bool type_is_integer(helios_type);
bool utf8_is_valid(helios_slice);

/* The value as the column would hold it; NULL and NONE as they are. False: it cannot hold it without loss, or it is
 * malformed. Points to what `in` points to. */
bool value_coerce(const helios_value *in, helios_type type, uint32_t scale, helios_value *out);

/* Days since 1970 of a date of the proleptic Gregorian calendar, and back. */
int64_t days_from_date(int64_t year, unsigned month, unsigned day);
void date_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day);

/* value_text.c: a text that is wholly a value of the type, which needs no memory: all but BYTES and VECTOR. */
bool value_from_text(helios_type, helios_slice text, helios_value *out);

#endif
