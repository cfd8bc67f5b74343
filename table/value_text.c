/* value_text.c - values as text and JSON, and back. */
#include "table/value.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MICROS_A_SECOND INT64_C(1000000)
#define MICROS_A_DAY    (86400 * MICROS_A_SECOND)

/* ---- the calendar (Hinnant, "chrono-compatible low-level date algorithms") ---- */

static int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

int64_t days_from_date(int64_t year, unsigned month, unsigned day)
{
    int64_t y = year - (month <= 2), era = floor_divide(y, 400);
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

void date_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
    int64_t z = days + 719468, era = floor_divide(z, 146097), of_era = z - era * 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100), m = (5 * of_year + 2) / 153;

    *day = (unsigned)(of_year - (153 * m + 2) / 5 + 1);
    *month = (unsigned)(m < 10 ? m + 3 : m - 9);
    *year = y + era * 400 + (*month <= 2);
}

/* ---- printing ---- */

static helios_status print_decimal(const helios_decimal *d, helios_buf *text)
{
    decimal_number n = decimal_of(d);
    unsigned __int128 rest = n < 0 ? -(unsigned __int128)n : (unsigned __int128)n;
    char digits[96], *at = digits + sizeof(digits);
    uint32_t written = 0, scale = d->scale < DECIMAL_SCALE_MAX ? d->scale : DECIMAL_SCALE_MAX;

    do {
        if (written++ == scale && scale)
            *--at = '.';
        *--at = (char)('0' + (int)(rest % 10));
        rest /= 10;
    } while (rest || written <= scale);
    if (n < 0)
        *--at = '-';
    return buf_append(text, at, (size_t)(digits + sizeof(digits) - at));
}

static helios_status print_date(int64_t days, helios_buf *text)
{
    int64_t year;
    unsigned month, day;

    date_from_days(days, &year, &month, &day);
    return buf_printf(text, "%s%04" PRId64 "-%02u-%02u", year < 0 ? "-" : "", year < 0 ? -year : year, month,
                      day);
}

static helios_status print_timestamp(int64_t micros, helios_buf *text)
{
    int64_t days = floor_divide(micros, MICROS_A_DAY), left = micros - days * MICROS_A_DAY;
    int second = (int)(left / MICROS_A_SECOND), part = (int)(left % MICROS_A_SECOND), digits = 6;
    helios_status status = print_date(days, text);

    if (status == HELIOS_OK)
        status = buf_printf(text, "T%02d:%02d:%02d", second / 3600, second / 60 % 60, second % 60);
    if (status != HELIOS_OK)
        return status;
    for (; part && part % 10 == 0; digits--)
        part /= 10;
    return part ? buf_printf(text, ".%0*dZ", digits, part) : buf_append(text, "Z", 1);
}

/* The shortest of three precisions that reads back as the same. */
static helios_status print_real(double real, bool narrow, helios_buf *text)
{
    char out[64];

    if (isnan(real))
        return buf_append(text, "NaN", 3);
    if (isinf(real))
        return buf_printf(text, "%sInfinity", real < 0 ? "-" : "");
    for (int precision = narrow ? 6 : 15; precision <= 17; precision++) {
        snprintf(out, sizeof(out), "%.*g", precision, real);
        if (narrow ? strtof(out, NULL) == (float)real : strtod(out, NULL) == real)
            break;
    }
    return buf_append(text, out, strlen(out));
}

static helios_status print_hex(helios_slice bytes, helios_buf *text)
{
    static const char digits[] = "0123456789abcdef";
    helios_status status = buf_reserve(text, text->size + 2 * bytes.size);

    for (size_t i = 0; i < bytes.size && status == HELIOS_OK; i++) {
        const char pair[2] = {digits[slice_bytes(bytes)[i] >> 4], digits[slice_bytes(bytes)[i] & 15]};

        status = buf_append(text, pair, 2);
    }
    return status;
}

static helios_status print_uuid(const uint8_t uuid[16], helios_buf *text)
{
    static const unsigned char groups[] = {4, 2, 2, 2, 6};
    helios_status status = HELIOS_OK;

    for (size_t i = 0; i < sizeof(groups) && status == HELIOS_OK; uuid += groups[i++]) {
        if (i)
            status = buf_append(text, "-", 1);
        if (status == HELIOS_OK)
            status = print_hex(slice_make(uuid, groups[i]), text);
    }
    return status;
}

static helios_status print_vector(const helios_value *v, bool json, helios_buf *text)
{
    helios_status status = buf_append(text, "[", 1);

    for (size_t i = 0; i < v->as.vector.count && status == HELIOS_OK; i++) {
        float f = v->as.vector.at[i];

        if (i)
            status = buf_append(text, ",", 1);
        if (status == HELIOS_OK)
            status = json && !isfinite(f) ? buf_append(text, "null", 4) : print_real((double)f, true, text);
    }
    return status == HELIOS_OK ? buf_append(text, "]", 1) : status;
}

helios_status helios_value_print(const helios_value *v, helios_buf *text)
{
    if (!v || !text)
        return fail(HELIOS_INVALID, "no %s was given", v ? "place for the text" : "value");
    switch (v->type) {
    case HELIOS_TYPE_BOOL: return buf_printf(text, v->as.boolean ? "true" : "false");
    case HELIOS_TYPE_INT16:
    case HELIOS_TYPE_INT32:
    case HELIOS_TYPE_INT64: return buf_printf(text, "%" PRId64, v->as.integer);
    case HELIOS_TYPE_FLOAT32: return print_real(v->as.real, true, text);
    case HELIOS_TYPE_FLOAT64: return print_real(v->as.real, false, text);
    case HELIOS_TYPE_TEXT:
    case HELIOS_TYPE_JSON: return buf_append(text, v->as.bytes.data, v->as.bytes.size);
    case HELIOS_TYPE_BYTES: return print_hex(v->as.bytes, text);
    case HELIOS_TYPE_DATE: return print_date(v->as.integer, text);
    case HELIOS_TYPE_TIMESTAMP: return print_timestamp(v->as.integer, text);
    case HELIOS_TYPE_UUID: return print_uuid(v->as.uuid, text);
    case HELIOS_TYPE_DECIMAL: return print_decimal(&v->as.decimal, text);
    case HELIOS_TYPE_VECTOR: return print_vector(v, false, text);
    default: return HELIOS_OK;
    }
}

static helios_status print_quoted(helios_slice s, helios_buf *text)
{
    helios_status status = buf_append(text, "\"", 1);

    for (size_t i = 0; i < s.size && status == HELIOS_OK; i++) {
        unsigned char c = slice_bytes(s)[i];

        if (c == '"' || c == '\\')
            status = buf_printf(text, "\\%c", c);
        else if (c < 0x20)
            status = buf_printf(text, "\\u%04x", c);
        else
            status = buf_append(text, &c, 1);
    }
    return status == HELIOS_OK ? buf_append(text, "\"", 1) : status;
}

/* Whether the printed form is a JSON number that every reader keeps exactly. */
static bool is_json_number(const helios_value *v)
{
    switch (v->type) {
    case HELIOS_TYPE_INT16:
    case HELIOS_TYPE_INT32: return true;
    case HELIOS_TYPE_INT64: return v->as.integer <= INT64_C(1) << 53 && v->as.integer >= -(INT64_C(1) << 53);
    case HELIOS_TYPE_FLOAT32:
    case HELIOS_TYPE_FLOAT64: return isfinite(v->as.real);
    default: return false;
    }
}

helios_status helios_value_print_json(const helios_value *v, helios_buf *text)
{
    helios_buf plain = {0};
    helios_status status;

    if (!v || !text)
        return fail(HELIOS_INVALID, "no %s was given", v ? "place for the text" : "value");
    if (v->type == HELIOS_TYPE_NULL || v->type == HELIOS_TYPE_NONE)
        return buf_append(text, "null", 4);
    if (v->type == HELIOS_TYPE_VECTOR)
        return print_vector(v, true, text);
    if (v->type == HELIOS_TYPE_TEXT)
        return print_quoted(v->as.bytes, text);
    if (v->type == HELIOS_TYPE_BOOL || v->type == HELIOS_TYPE_JSON || is_json_number(v))
        return helios_value_print(v, text);
    status = helios_value_print(v, &plain);
    if (status == HELIOS_OK)
        status = print_quoted(buf_slice(&plain), text);
    helios_buf_free(&plain);
    return status;
}

/* ---- reading ---- */

struct scan {
    const char *at, *end;
};

static bool take(struct scan *s, char c)
{
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

/* Exactly `count` digits. */
static bool take_number(struct scan *s, unsigned count, unsigned *out)
{
    *out = 0;
    for (; count; count--) {
        if (s->at == s->end || *s->at < '0' || *s->at > '9')
            return false;
        *out = *out * 10 + (unsigned)(*s->at++ - '0');
    }
    return true;
}

static bool take_date(struct scan *s, int64_t *days)
{
    bool before = take(s, '-');
    int64_t year = 0, back;
    unsigned month, day, m, d;
    const char *first = s->at;

    for (; s->at < s->end && *s->at >= '0' && *s->at <= '9' && s->at - first < 8; s->at++)
        year = year * 10 + (*s->at - '0');
    if (s->at - first < 4 || !take(s, '-') || !take_number(s, 2, &month) || !take(s, '-') ||
        !take_number(s, 2, &day))
        return false;
    if (before)
        year = -year;
    if (month < 1 || month > 12 || day < 1 || day > 31)
        return false;
    *days = days_from_date(year, month, day);
    date_from_days(*days, &back, &m, &d);
    return back == year && m == month && d == day; /* not the 30th of February */
}

static bool take_zone(struct scan *s, int *minutes)
{
    unsigned hour, minute = 0;
    bool east = take(s, '+');

    *minutes = 0;
    if (!east && !take(s, '-'))
        return take(s, 'Z') || s->at == s->end;
    if (!take_number(s, 2, &hour) || hour > 23)
        return false;
    if (take(s, ':') || s->at < s->end)
        if (!take_number(s, 2, &minute) || minute > 59)
            return false;
    *minutes = (int)(hour * 60 + minute) * (east ? 1 : -1);
    return true;
}

static bool take_fraction(struct scan *s, unsigned *micros)
{
    unsigned digits = 0;

    *micros = 0;
    for (; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++, digits++) {
        if (digits >= 6)
            return false;
        *micros = *micros * 10 + (unsigned)(*s->at - '0');
    }
    for (unsigned i = digits; i < 6; i++)
        *micros *= 10;
    return digits > 0;
}

static bool take_timestamp(struct scan *s, int64_t *out)
{
    unsigned hour, minute, second = 0, micros = 0;
    int zone;
    int64_t days, time;

    if (!take_date(s, &days))
        return false;
    if (s->at == s->end)
        return !__builtin_mul_overflow(days, MICROS_A_DAY, out);
    if (!take(s, 'T') && !take(s, ' '))
        return false;
    if (!take_number(s, 2, &hour) || !take(s, ':') || !take_number(s, 2, &minute))
        return false;
    if (take(s, ':')) {
        if (!take_number(s, 2, &second) || (take(s, '.') && !take_fraction(s, &micros)))
            return false;
    }
    if (hour > 23 || minute > 59 || second > 59 || !take_zone(s, &zone))
        return false;
    time =
        ((int64_t)hour * 3600 + (int64_t)minute * 60 + second - (int64_t)zone * 60) * MICROS_A_SECOND + micros;
    return !__builtin_mul_overflow(days, MICROS_A_DAY, &days) && !__builtin_add_overflow(days, time, out);
}

static bool take_decimal(struct scan *s, helios_decimal *out)
{
    bool negative = take(s, '-'), point = false;
    decimal_number n = 0;
    uint32_t scale = 0, digits = 0;

    for (; s->at < s->end; s->at++) {
        if (*s->at == '.' && !point) {
            point = true;
            continue;
        }
        if (*s->at < '0' || *s->at > '9')
            return false;
        n = n * 10 + (*s->at - '0');
        digits++;
        scale += point;
        if (!decimal_in_range(n) || scale > DECIMAL_SCALE_MAX)
            return false;
    }
    *out = decimal_make(negative ? -n : n, scale);
    return digits > 0;
}

static bool take_integer(struct scan *s, int64_t *out)
{
    bool negative = take(s, '-');
    const char *first = s->at;
    int64_t n = 0;

    for (; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++)
        if (__builtin_mul_overflow(n, 10, &n) || (negative ? __builtin_sub_overflow(n, *s->at - '0', &n)
                                                           : __builtin_add_overflow(n, *s->at - '0', &n)))
            return false;
    *out = n;
    return s->at > first;
}

/* By the C library, in the form that it and JSON write; no spaces, no hexadecimal. */
static bool take_real(struct scan *s, bool narrow, double *out)
{
    char copy[128], *end;
    size_t size = (size_t)(s->end - s->at);

    if (size == 0 || size >= sizeof(copy) || memchr(s->at, 0, size))
        return false;
    memcpy(copy, s->at, size);
    copy[size] = 0;
    if (strcspn(copy, " \t\n\r\v\fxX()") != size)
        return false;
    *out = narrow ? (double)strtof(copy, &end) : strtod(copy, &end);
    s->at += end - copy;
    return end != copy;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool take_byte(struct scan *s, uint8_t *out)
{
    int high = s->end - s->at >= 2 ? hex_digit(s->at[0]) : -1, low = high >= 0 ? hex_digit(s->at[1]) : -1;

    if (low < 0)
        return false;
    *out = (uint8_t)(high << 4 | low);
    s->at += 2;
    return true;
}

static bool take_uuid(struct scan *s, uint8_t out[16])
{
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            (void)take(s, '-');
        if (!take_byte(s, &out[i]))
            return false;
    }
    return true;
}

static bool is_word(helios_slice text, const char *word)
{
    return slice_equal(text, slice_text(word));
}

bool value_from_text(helios_type type, helios_slice text, helios_value *out)
{
    struct scan s = {text.data, (const char *)text.data + text.size};
    bool good;

    *out = (helios_value){.type = type};
    if (text.size == 0 || !text.data)
        return false;
    switch (type) {
    case HELIOS_TYPE_BOOL:
        out->as.boolean = is_word(text, "true");
        return out->as.boolean || is_word(text, "false");
    case HELIOS_TYPE_INT16:
    case HELIOS_TYPE_INT32:
    case HELIOS_TYPE_INT64: good = take_integer(&s, &out->as.integer); break;
    case HELIOS_TYPE_FLOAT32:
    case HELIOS_TYPE_FLOAT64: good = take_real(&s, type == HELIOS_TYPE_FLOAT32, &out->as.real); break;
    case HELIOS_TYPE_DATE: good = take_date(&s, &out->as.integer); break;
    case HELIOS_TYPE_TIMESTAMP: good = take_timestamp(&s, &out->as.integer); break;
    case HELIOS_TYPE_UUID: good = take_uuid(&s, out->as.uuid); break;
    case HELIOS_TYPE_DECIMAL: good = take_decimal(&s, &out->as.decimal); break;
    default: return false;
    }
    return good && s.at == s.end;
}

static helios_status read_bytes(helios_slice text, helios_buf *memory, bool *good)
{
    struct scan s = {text.data, (const char *)text.data + text.size};
    helios_status status = buf_reserve(memory, text.size / 2 + 1);
    uint8_t byte;

    memory->size = 0;
    while (status == HELIOS_OK && take_byte(&s, &byte))
        status = buf_append(memory, &byte, 1);
    *good = s.at == s.end;
    return status;
}

static helios_status read_vector(helios_slice text, helios_buf *memory, bool *good)
{
    struct scan s = {text.data, (const char *)text.data + text.size};
    helios_status status = HELIOS_OK;
    bool more;

    memory->size = 0;
    *good = text.size >= 2 && take(&s, '[') && s.end[-1] == ']';
    if (!*good)
        return HELIOS_OK;
    s.end--;
    for (more = s.at < s.end; more && *good && status == HELIOS_OK;) {
        const char *comma = memchr(s.at, ',', (size_t)(s.end - s.at));
        struct scan one = {s.at, comma ? comma : s.end};
        double real = 0;
        float narrow;

        while (one.at < one.end && *one.at == ' ')
            one.at++;
        *good = take_real(&one, true, &real) && one.at == one.end;
        narrow = (float)real;
        if (*good)
            status = buf_append(memory, &narrow, sizeof(narrow));
        more = comma != NULL;
        s.at = comma ? comma + 1 : s.end;
    }
    return status;
}

helios_status helios_value_read(helios_type type, helios_slice text, helios_buf *memory, helios_value *out)
{
    helios_value value = {.type = type};
    helios_status status = HELIOS_OK;
    bool good;

    if (!text.data || !memory || !out)
        return fail(HELIOS_INVALID, "no %s was given", !text.data ? "text" : memory ? "value" : "memory");
    switch (type) {
    case HELIOS_TYPE_TEXT:
    case HELIOS_TYPE_JSON:
        value.as.bytes = text;
        good = utf8_is_valid(text);
        break;
    case HELIOS_TYPE_BYTES:
        status = read_bytes(text, memory, &good);
        value.as.bytes = buf_slice(memory);
        break;
    case HELIOS_TYPE_VECTOR:
        status = read_vector(text, memory, &good);
        value.as.vector.at = (const float *)(const void *)memory->data;
        value.as.vector.count = memory->size / sizeof(float);
        break;
    default: good = value_from_text(type, text, &value); break;
    }
    if (status == HELIOS_OK && !good)
        return fail(HELIOS_INVALID, "\"%.*s\" is no %s", (int)(text.size < 100 ? text.size : 100),
                    (const char *)text.data, helios_type_name(type));
    if (status == HELIOS_OK)
        *out = value;
    return status;
}
