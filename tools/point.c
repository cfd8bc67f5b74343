/* point.c - read points and times as text, both ways.
 *
 *   point    = "now" | "latest" | "start" | "tag:" name | digits | date | span "ago"
 *   date     = YYYY-MM-DD [("T" | blanks) HH:MM [":" SS ["." digits]]] [zone]
 *   zone     = "Z" | "UTC" | ("+" | "-") HH [":"] [MM]
 *   span     = (digits ["." digits] unit)+
 *
 * A reader runs along the text; the first thing it cannot take becomes its problem. */
#include "tools/point.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define SECOND ((uint64_t)1000000)
#define DAY    (24 * 3600 * SECOND)

static const struct unit {
    const char *name; /* with an s behind it, too, from three letters on */
    uint64_t micros;
} units[] = {
    {"us", 1},
    {"\xc2\xb5s", 1},
    {"usec", 1},
    {"microsecond", 1},
    {"ms", 1000},
    {"msec", 1000},
    {"millisecond", 1000},
    {"s", SECOND},
    {"sec", SECOND},
    {"second", SECOND},
    {"m", 60 * SECOND},
    {"min", 60 * SECOND},
    {"minute", 60 * SECOND},
    {"h", 3600 * SECOND},
    {"hr", 3600 * SECOND},
    {"hrs", 3600 * SECOND},
    {"hour", 3600 * SECOND},
    {"d", DAY},
    {"day", DAY},
    {"w", 7 * DAY},
    {"week", 7 * DAY},
};

struct reader {
    const char *at;
    const char *problem; /* the first; NULL: none so far */
};

static bool refuse(struct reader *r, const char *problem)
{
    if (!r->problem)
        r->problem = problem;
    return false;
}

static void skip_blanks(struct reader *r)
{
    while (*r->at == ' ' || *r->at == '\t')
        r->at++;
}

static bool take(struct reader *r, char c)
{
    if (*r->at != c)
        return false;
    r->at++;
    return true;
}

/* Between `least` and `most` digits; false and nothing taken if there are fewer. */
static bool take_digits(struct reader *r, int least, int most, int *value)
{
    int count = 0, sum = 0;

    while (count < most && isdigit((unsigned char)r->at[count]))
        sum = sum * 10 + (r->at[count++] - '0');
    if (count < least)
        return false;
    r->at += count;
    *value = sum;
    return true;
}

static bool take_number(struct reader *r, uint64_t *value)
{
    uint64_t sum = 0;

    if (!isdigit((unsigned char)*r->at))
        return refuse(r, "a number is wanted");
    for (; isdigit((unsigned char)*r->at); r->at++)
        if (__builtin_mul_overflow(sum, (uint64_t)10, &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(*r->at - '0'), &sum))
            return refuse(r, "the number is too large");
    *value = sum;
    return true;
}

/* Digits behind a point, as millionths; those behind the sixth are dropped. False: there are none. */
static bool take_millionths(struct reader *r, uint64_t *millionths)
{
    uint64_t weight = 100000;

    *millionths = 0;
    if (!isdigit((unsigned char)*r->at))
        return refuse(r, "digits are missing behind the point");
    for (; isdigit((unsigned char)*r->at); r->at++, weight /= 10)
        *millionths += (uint64_t)(*r->at - '0') * weight;
    return true;
}

/* ---- spans ---- */

static bool take_unit(struct reader *r, uint64_t *micros)
{
    size_t size = 0;

    while (isalpha((unsigned char)r->at[size]) || (unsigned char)r->at[size] >= 0x80)
        size++;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        size_t length = strlen(units[i].name);
        bool plural = size == length + 1 && length >= 3 && tolower((unsigned char)r->at[length]) == 's';

        if ((size == length || plural) && strncasecmp(r->at, units[i].name, length) == 0) {
            *micros = units[i].micros;
            r->at += size;
            return true;
        }
    }
    return refuse(r, "a span wants a unit behind each number: us, ms, seconds, minutes, hours, days or weeks");
}

/* One or more numbers with units, added up. */
static bool take_span(struct reader *r, uint64_t *span)
{
    *span = 0;
    do {
        uint64_t whole, millionths = 0, micros;

        if (!take_number(r, &whole) || (take(r, '.') && !take_millionths(r, &millionths)))
            return false;
        skip_blanks(r);
        if (!take_unit(r, &micros))
            return false;
        if (__builtin_mul_overflow(whole, micros, &whole) || __builtin_add_overflow(*span, whole, span) ||
            __builtin_add_overflow(
                *span, millionths * (micros / SECOND) + millionths * (micros % SECOND) / SECOND, span))
            return refuse(r, "the span is too long");
        skip_blanks(r);
    } while (isdigit((unsigned char)*r->at));
    return true;
}

static bool parse_ago(struct reader *r, uint64_t now, struct point *point)
{
    uint64_t span;

    if (!take_span(r, &span))
        return false;
    if (strcasecmp(r->at, "ago") != 0)
        return refuse(r, *r->at ? "behind a span only \"ago\" is understood"
                                : "\"ago\" is missing behind the span");
    *point = (struct point){.kind = POINT_TIME, .time = span < now ? now - span : 0};
    return true;
}

/* ---- dates ---- */

struct moment {
    int year, month, day, hour, minute, second;
    uint64_t micros;
    int zone; /* minutes east */
};

static int days_of_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

static bool take_day(struct reader *r, struct moment *m)
{
    if (!take_digits(r, 4, 4, &m->year) || !take(r, '-') || !take_digits(r, 1, 2, &m->month) || !take(r, '-') ||
        !take_digits(r, 1, 2, &m->day))
        return refuse(r, "a date is written YYYY-MM-DD");
    if (m->month < 1 || m->month > 12)
        return refuse(r, "there is no such month");
    if (m->day < 1 || m->day > days_of_month(m->year, m->month))
        return refuse(r, "that month has no such day");
    return true;
}

/* Behind the date: "T" or blanks, and digits; neither: midnight. */
static bool take_time_of_day(struct reader *r, struct moment *m)
{
    bool marked = take(r, 'T') || take(r, 't');

    if (!marked)
        skip_blanks(r);
    if (!marked && !isdigit((unsigned char)*r->at))
        return true;
    if (!take_digits(r, 1, 2, &m->hour) || !take(r, ':') || !take_digits(r, 2, 2, &m->minute) ||
        (take(r, ':') && !take_digits(r, 2, 2, &m->second)))
        return refuse(r, "a time of day is written HH:MM:SS");
    if (m->hour > 23 || m->minute > 59 || m->second > 59)
        return refuse(r, "there is no such time of day");
    return !take(r, '.') || take_millionths(r, &m->micros);
}

static bool take_zone(struct reader *r, struct moment *m)
{
    int sign = 0, hours, minutes = 0;

    skip_blanks(r);
    if (!*r->at)
        return true;
    if (strcasecmp(r->at, "Z") == 0 || strcasecmp(r->at, "UTC") == 0) {
        r->at += strlen(r->at);
        return true;
    }
    if (*r->at == '+' || *r->at == '-')
        sign = *r->at++ == '+' ? 1 : -1;
    if (!sign || !take_digits(r, 2, 2, &hours))
        return refuse(r, "behind a time only a zone is understood: Z, UTC, +01:00");
    if (take(r, ':') ? !take_digits(r, 2, 2, &minutes) : *r->at && !take_digits(r, 2, 2, &minutes))
        return refuse(r, "a zone is written +HH:MM");
    if (*r->at || hours > 14 || minutes > 59)
        return refuse(r, "there is no such zone");
    m->zone = sign * (hours * 60 + minutes);
    return true;
}

static bool parse_date(struct reader *r, struct point *point)
{
    struct moment m = {0};
    struct tm tm;
    int64_t seconds;

    if (!take_day(r, &m) || !take_time_of_day(r, &m) || !take_zone(r, &m))
        return false;
    tm = (struct tm){.tm_year = m.year - 1900,
                     .tm_mon = m.month - 1,
                     .tm_mday = m.day,
                     .tm_hour = m.hour,
                     .tm_min = m.minute,
                     .tm_sec = m.second};
    seconds = (int64_t)timegm(&tm) - (int64_t)m.zone * 60;
    *point =
        (struct point){.kind = POINT_TIME, .time = seconds < 0 ? 0 : (uint64_t)seconds * SECOND + m.micros};
    return true;
}

/* ---- points ---- */

static bool parse_number(struct reader *r, struct point *point)
{
    uint64_t seq;

    if (!take_number(r, &seq))
        return false;
    if (seq == UINT64_MAX)
        return refuse(r, "the number is too large");
    *point = seq == 0 ? (struct point){.kind = POINT_START} : (struct point){.kind = POINT_SEQ, .seq = seq};
    return true;
}

static bool parse_word(struct reader *r, struct point *point)
{
    if (strcasecmp(r->at, "now") == 0 || strcasecmp(r->at, "latest") == 0) {
        *point = (struct point){.kind = POINT_LATEST};
        return true;
    }
    if (strcasecmp(r->at, "start") == 0) {
        *point = (struct point){.kind = POINT_START};
        return true;
    }
    if (strncmp(r->at, "tag:", 4) == 0) {
        *point = (struct point){.kind = POINT_TAG, .tag = r->at + 4};
        return r->at[4] ? true : refuse(r, "the tag's name is missing");
    }
    return refuse(r, *r->at ? "it is no number, time, tag: or word that is known" : "it is empty");
}

bool point_parse(const char *text, uint64_t now, struct point *point, const char **problem)
{
    struct reader r = {.at = text};
    struct point parsed = {0};
    size_t digits;
    bool good;

    skip_blanks(&r);
    digits = strspn(r.at, "0123456789");
    if (digits == 0)
        good = parse_word(&r, &parsed);
    else if (r.at[digits] == '\0')
        good = parse_number(&r, &parsed);
    else if (r.at[digits] == '-')
        good = parse_date(&r, &parsed);
    else
        good = parse_ago(&r, now, &parsed);
    if (good)
        *point = parsed;
    else
        *problem = r.problem;
    return good;
}

bool duration_parse(const char *text, uint64_t *duration, const char **problem)
{
    struct reader r = {.at = text};
    uint64_t span = 0;

    skip_blanks(&r);
    if (strcasecmp(r.at, "forever") == 0) {
        *duration = UINT64_MAX;
        return true;
    }
    if (strcasecmp(r.at, "none") == 0) {
        *duration = 0;
        return true;
    }
    if (!take_span(&r, &span) || (*r.at && !refuse(&r, "something stands behind the span"))) {
        *problem = r.problem;
        return false;
    }
    *duration = span;
    return true;
}

void time_text(uint64_t time, bool iso, char out[TIME_TEXT_SIZE])
{
    time_t seconds = (time_t)(time / SECOND);
    struct tm tm;

    if (!gmtime_r(&seconds, &tm)) {
        snprintf(out, TIME_TEXT_SIZE, "?");
        return;
    }
    snprintf(out, TIME_TEXT_SIZE, "%04d-%02d-%02d%c%02d:%02d:%02d.%06u%s", tm.tm_year + 1900, tm.tm_mon + 1,
             tm.tm_mday, iso ? 'T' : ' ', tm.tm_hour, tm.tm_min, tm.tm_sec, (unsigned)(time % SECOND),
             iso ? "Z" : "");
}

void duration_text(uint64_t duration, char out[TIME_TEXT_SIZE])
{
    static const struct unit shown[] = {
        {"day", DAY}, {"hour", 3600 * SECOND}, {"minute", 60 * SECOND}, {"second", SECOND}, {"ms", 1000},
        {"us", 1}};
    size_t i = 0;

    if (duration == 0 || duration == UINT64_MAX) {
        snprintf(out, TIME_TEXT_SIZE, "%s", duration ? "forever" : "none");
        return;
    }
    while (duration % shown[i].micros)
        i++;
    snprintf(out, TIME_TEXT_SIZE, "%llu %s%s", (unsigned long long)(duration / shown[i].micros), shown[i].name,
             duration == shown[i].micros || shown[i].micros < SECOND ? "" : "s");
}
