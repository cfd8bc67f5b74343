/* value.c - what types there are, and conversion from one to another where nothing is lost by it. */
#include "table/value.h"
#include <float.h>
#include <math.h>

static const struct {
    const char *name;
    bool column, key;
} types[] = {
    [HELIOS_TYPE_NONE] = {"none", false, false},     [HELIOS_TYPE_NULL] = {"null", false, false},
    [HELIOS_TYPE_BOOL] = {"bool", true, true},       [HELIOS_TYPE_INT16] = {"int16", true, true},
    [HELIOS_TYPE_INT32] = {"int32", true, true},     [HELIOS_TYPE_INT64] = {"int64", true, true},
    [HELIOS_TYPE_FLOAT32] = {"float32", true, true}, [HELIOS_TYPE_FLOAT64] = {"float64", true, true},
    [HELIOS_TYPE_TEXT] = {"text", true, true},       [HELIOS_TYPE_BYTES] = {"bytes", true, true},
    [HELIOS_TYPE_DATE] = {"date", true, true},       [HELIOS_TYPE_TIMESTAMP] = {"timestamp", true, true},
    [HELIOS_TYPE_UUID] = {"uuid", true, true},       [HELIOS_TYPE_DECIMAL] = {"decimal", true, true},
    [HELIOS_TYPE_JSON] = {"json", true, false},      [HELIOS_TYPE_VECTOR] = {"vector", true, false},
};
enum { TYPE_COUNT = sizeof(types) / sizeof(types[0]) };

const char *helios_type_name(helios_type type)
{
    return (unsigned)type < TYPE_COUNT ? types[type].name : "?";
}

helios_type helios_type_named(const char *name)
{
    for (unsigned i = 0; name && i < TYPE_COUNT; i++)
        if (types[i].column && strcmp(types[i].name, name) == 0)
            return (helios_type)i;
    return HELIOS_TYPE_NONE;
}

bool type_is_column(helios_type type)
{
    return (unsigned)type < TYPE_COUNT && types[type].column;
}

bool type_is_key(helios_type type)
{
    return (unsigned)type < TYPE_COUNT && types[type].key;
}

bool type_is_integer(helios_type type)
{
    return type == HELIOS_TYPE_INT16 || type == HELIOS_TYPE_INT32 || type == HELIOS_TYPE_INT64;
}

/* ---- decimals ---- */

static decimal_number ten_to(uint32_t power)
{
    decimal_number n = 1;

    while (power--)
        n *= 10;
    return n;
}

bool decimal_in_range(decimal_number n)
{
    decimal_number bound = ten_to(DECIMAL_SCALE_MAX);

    return n < bound && n > -bound;
}

decimal_number decimal_of(const helios_decimal *d)
{
    return (decimal_number)(((unsigned __int128)(uint64_t)d->high << 64) | d->low);
}

helios_decimal decimal_make(decimal_number n, uint32_t scale)
{
    return (helios_decimal){(int64_t)(n >> 64), (uint64_t)n, scale};
}

/* False: digits would be lost, or there is no room for them. */
static bool rescale(const helios_decimal *in, uint32_t scale, helios_decimal *out)
{
    decimal_number n = decimal_of(in);

    if (in->scale > DECIMAL_SCALE_MAX || !decimal_in_range(n))
        return false;
    for (uint32_t at = in->scale; at < scale; at++) {
        n *= 10; /* in range before: no overflow of 128 bits */
        if (!decimal_in_range(n))
            return false;
    }
    if (in->scale > scale) {
        decimal_number unit = ten_to(in->scale - scale);

        if (n % unit != 0)
            return false;
        n /= unit;
    }
    *out = decimal_make(n, scale);
    return true;
}

/* ---- numbers ---- */

static bool integer_fits(int64_t n, helios_type type)
{
    switch (type) {
    case HELIOS_TYPE_INT16: return n >= INT16_MIN && n <= INT16_MAX;
    case HELIOS_TYPE_INT32:
    case HELIOS_TYPE_DATE: return n >= INT32_MIN && n <= INT32_MAX;
    default: return true;
    }
}

static bool to_integer(const helios_value *in, int64_t *out)
{
    helios_decimal whole;
    decimal_number n;

    switch (in->type) {
    case HELIOS_TYPE_INT16:
    case HELIOS_TYPE_INT32:
    case HELIOS_TYPE_INT64: *out = in->as.integer; return true;
    case HELIOS_TYPE_FLOAT32:
    case HELIOS_TYPE_FLOAT64:
        if (!(in->as.real >= -0x1p63 && in->as.real < 0x1p63) || in->as.real != trunc(in->as.real))
            return false;
        *out = (int64_t)in->as.real;
        return true;
    case HELIOS_TYPE_DECIMAL:
        if (!rescale(&in->as.decimal, 0, &whole))
            return false;
        n = decimal_of(&whole);
        *out = (int64_t)n;
        return n >= INT64_MIN && n <= INT64_MAX;
    default: return false;
    }
}

static bool coerce_integer(const helios_value *in, helios_type type, helios_value *out)
{
    int64_t n;

    if (!to_integer(in, &n) || !integer_fits(n, type))
        return false;
    *out = (helios_value){.type = type, .as.integer = n};
    return true;
}

/* One zero and one NaN, so that values that are equal have one key and one row. */
static double canonical(double real)
{
    if (isnan(real))
        return (double)NAN;
    return real == 0 ? 0 : real;
}

static bool coerce_real(const helios_value *in, helios_type type, helios_value *out)
{
    bool narrow = type == HELIOS_TYPE_FLOAT32, exact = true;
    double real;

    if (type_is_integer(in->type)) {
        real = (double)in->as.integer;
        exact = real < 0x1p63 && (int64_t)real == in->as.integer;
    } else if (in->type == HELIOS_TYPE_FLOAT32 || in->type == HELIOS_TYPE_FLOAT64) {
        real = in->type == HELIOS_TYPE_FLOAT32 ? (double)(float)in->as.real : in->as.real;
    } else {
        return false;
    }
    if (narrow && exact)
        exact = isnan(real) || isinf(real) || (fabs(real) <= (double)FLT_MAX && (double)(float)real == real);
    *out = (helios_value){.type = type, .as.real = canonical(real)};
    return exact;
}

static bool coerce_decimal(const helios_value *in, uint32_t scale, helios_value *out)
{
    helios_decimal from = in->as.decimal;

    if (type_is_integer(in->type))
        from = decimal_make(in->as.integer, 0);
    else if (in->type != HELIOS_TYPE_DECIMAL)
        return false;
    out->type = HELIOS_TYPE_DECIMAL;
    return rescale(&from, scale, &out->as.decimal);
}

/* ---- bytes ---- */

bool utf8_is_valid(helios_slice s)
{
    const unsigned char *at = slice_bytes(s), *end = at + s.size;

    while (at < end) {
        unsigned char c = *at++;
        unsigned more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : 3;

        if (c >= 0x80 && (c < 0xc2 || c > 0xf4))
            return false;
        if ((size_t)(end - at) < more)
            return false;
        if ((c == 0xe0 && at[0] < 0xa0) || (c == 0xed && at[0] > 0x9f) || (c == 0xf0 && at[0] < 0x90) ||
            (c == 0xf4 && at[0] > 0x8f))
            return false;
        for (; more; more--)
            if ((*at++ & 0xc0) != 0x80)
                return false;
    }
    return true;
}

static bool coerce_bytes(const helios_value *in, helios_type type, helios_value *out)
{
    if (in->type != type && in->type != HELIOS_TYPE_TEXT)
        return false;
    if (!in->as.bytes.data && in->as.bytes.size)
        return false;
    *out = (helios_value){.type = type, .as.bytes = in->as.bytes};
    if (!out->as.bytes.data)
        out->as.bytes.data = "";
    return type == HELIOS_TYPE_BYTES || utf8_is_valid(out->as.bytes);
}

static bool coerce_uuid(const helios_value *in, helios_value *out)
{
    if (in->type != HELIOS_TYPE_BYTES || in->as.bytes.size != sizeof(out->as.uuid))
        return false;
    out->type = HELIOS_TYPE_UUID;
    memcpy(out->as.uuid, in->as.bytes.data, sizeof(out->as.uuid));
    return true;
}

static bool coerce_time(const helios_value *in, helios_type type, helios_value *out)
{
    enum { MICROS_A_DAY_MILLIONS = 86400 };
    int64_t n = in->as.integer;

    if (type == HELIOS_TYPE_TIMESTAMP && in->type == HELIOS_TYPE_DATE) {
        if (__builtin_mul_overflow(n, (int64_t)MICROS_A_DAY_MILLIONS * 1000000, &n))
            return false;
    } else if (in->type != type) {
        return false;
    }
    *out = (helios_value){.type = type, .as.integer = n};
    return integer_fits(n, type);
}

/* ---- any ---- */

bool value_coerce(const helios_value *in, helios_type type, uint32_t scale, helios_value *out)
{
    helios_value parsed;

    if (in->type == HELIOS_TYPE_NULL || in->type == HELIOS_TYPE_NONE) {
        *out = (helios_value){.type = in->type};
        return true;
    }
    /* A text stands for a value of any type that is written so; but it is none of those made of bytes. */
    if (in->type == HELIOS_TYPE_TEXT && type != HELIOS_TYPE_TEXT && type != HELIOS_TYPE_BYTES &&
        type != HELIOS_TYPE_JSON) {
        if ((!in->as.bytes.data && in->as.bytes.size) || !value_from_text(type, in->as.bytes, &parsed))
            return false;
        in = &parsed;
    }
    switch (type) {
    case HELIOS_TYPE_BOOL: *out = *in; return in->type == HELIOS_TYPE_BOOL;
    case HELIOS_TYPE_INT16:
    case HELIOS_TYPE_INT32:
    case HELIOS_TYPE_INT64: return coerce_integer(in, type, out);
    case HELIOS_TYPE_FLOAT32:
    case HELIOS_TYPE_FLOAT64: return coerce_real(in, type, out);
    case HELIOS_TYPE_DECIMAL: return coerce_decimal(in, scale, out);
    case HELIOS_TYPE_DATE:
    case HELIOS_TYPE_TIMESTAMP: return coerce_time(in, type, out);
    case HELIOS_TYPE_UUID:
        if (in->type == HELIOS_TYPE_UUID) {
            *out = *in;
            return true;
        }
        return coerce_uuid(in, out);
    case HELIOS_TYPE_TEXT:
    case HELIOS_TYPE_BYTES:
    case HELIOS_TYPE_JSON: return coerce_bytes(in, type, out);
    case HELIOS_TYPE_VECTOR:
        *out = *in;
        return in->type == HELIOS_TYPE_VECTOR && (in->as.vector.at || in->as.vector.count == 0);
    default: return false;
    }
}
