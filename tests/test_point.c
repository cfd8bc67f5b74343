/* test_point.c - read points and spans of time as the tool reads them: what is understood, what is refused and
 * with which words, and that times come back from their text. */
#undef NDEBUG
#include "tools/point.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

#define SECOND ((uint64_t)1000000)
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)
/* 2026-11-21 10:00:00 UTC */
#define NOW (1795255200 * SECOND)

static const struct {
    const char *text;
    enum point_kind kind;
    uint64_t number; /* seq or time */
} good[] = {
    {"4711", POINT_SEQ, 4711},
    {" 1", POINT_SEQ, 1},
    {"18446744073709551614", POINT_SEQ, UINT64_MAX - 1},
    {"0", POINT_START, 0},
    {"start", POINT_START, 0},
    {"now", POINT_LATEST, 0},
    {"Latest", POINT_LATEST, 0},
    {"tag:release-1", POINT_TAG, 0},
    {"tag: with blanks ", POINT_TAG, 0},
    {"2026-11-21 10:00:00", POINT_TIME, NOW},
    {"2026-11-21T10:00:00Z", POINT_TIME, NOW},
    {"2026-11-21t10:00z", POINT_TIME, NOW},
    {"2026-11-21 10:00 UTC", POINT_TIME, NOW},
    {"2026-11-21 10:00:00.25", POINT_TIME, NOW + 250000},
    {"2026-11-21 10:00:00.000001", POINT_TIME, NOW + 1},
    {"2026-11-21 10:00:00.0000019", POINT_TIME, NOW + 1},
    {"2026-11-21T11:00:00.5+01:00", POINT_TIME, NOW + 500000},
    {"2026-11-21 11:00 +0100", POINT_TIME, NOW},
    {"2026-11-21 11:00+01", POINT_TIME, NOW},
    {"2026-11-21 04:30:00-05:30", POINT_TIME, NOW},
    {"2026-11-21", POINT_TIME, NOW - 10 * HOUR},
    {"2026-11-21 +01:00", POINT_TIME, NOW - 11 * HOUR},
    {"2024-02-29", POINT_TIME, 1709164800 * SECOND},
    {"2000-02-29", POINT_TIME, 951782400 * SECOND},
    {"1970-01-01", POINT_TIME, 0},
    {"1969-12-31 23:59:59.9", POINT_TIME, 0},
    {"0001-01-01", POINT_TIME, 0},
    {"9999-12-31 23:59:59.999999", POINT_TIME, 253402300799 * SECOND + 999999},
    {"10 minutes ago", POINT_TIME, NOW - 600 * SECOND},
    {"1 minute ago", POINT_TIME, NOW - 60 * SECOND},
    {"10m ago", POINT_TIME, NOW - 600 * SECOND},
    {"10 MIN AGO", POINT_TIME, NOW - 600 * SECOND},
    {"2h30m ago", POINT_TIME, NOW - HOUR * 5 / 2},
    {"1 day 2 hrs ago", POINT_TIME, NOW - 26 * HOUR},
    {"1.5 hours ago", POINT_TIME, NOW - HOUR * 3 / 2},
    {"0.000001 s ago", POINT_TIME, NOW - 1},
    {"2.5 ms ago", POINT_TIME, NOW - 2500},
    {"7us ago", POINT_TIME, NOW - 7},
    {"7 \xc2\xb5s ago", POINT_TIME, NOW - 7},
    {"2 weeks ago", POINT_TIME, NOW - 14 * DAY},
    {"1w ago", POINT_TIME, NOW - 7 * DAY},
    {"0s ago", POINT_TIME, NOW},
    {"100000 days ago", POINT_TIME, 0},
};

static const struct {
    const char *text, *problem;
} bad[] = {
    {"", "empty"},
    {"   ", "empty"},
    {"yesterday", "no number, time, tag: or word"},
    {"-5", "no number, time"},
    {"Tag:x", "no number, time"},
    {"tag:", "name is missing"},
    {"18446744073709551615", "too large"},
    {"99999999999999999999", "too large"},
    {"12x", "unit"},
    {"10 parsecs ago", "unit"},
    {"10 minutess ago", "unit"},
    {"10 ago", "unit"},
    {"10.ago", "digits are missing"},
    {"10 minutes", "\"ago\" is missing"},
    {"10 minutes before", "only \"ago\""},
    {"10 minutes ago now", "only \"ago\""},
    {"99999999999999999999 s ago", "too large"},
    {"99999999999999999 weeks ago", "too long"},
    {"26-11-21", "YYYY-MM-DD"},
    {"2026-11", "YYYY-MM-DD"},
    {"2026-11-", "YYYY-MM-DD"},
    {"2026-13-01", "month"},
    {"2026-00-01", "month"},
    {"2026-11-31", "day"},
    {"2026-11-00", "day"},
    {"2025-02-29", "day"},
    {"1900-02-29", "day"},
    {"2026-11-21T", "HH:MM:SS"},
    {"2026-11-21 10", "HH:MM:SS"},
    {"2026-11-21 10:0", "HH:MM:SS"},
    {"2026-11-21 10:00:", "HH:MM:SS"},
    {"2026-11-21 24:00", "time of day"},
    {"2026-11-21 10:60", "time of day"},
    {"2026-11-21 10:00:60", "time of day"},
    {"2026-11-21 10:00:00.", "digits are missing"},
    {"2026-11-21 10:00:00 CET", "zone"},
    {"2026-11-21 10:00 pm", "zone"},
    {"2026-11-21 10:00 +1", "zone"},
    {"2026-11-21 10:00 +01:0", "+HH:MM"},
    {"2026-11-21 10:00 +01:00x", "no such zone"},
    {"2026-11-21 10:00 +15:00", "no such zone"},
    {"2026-11-21 10:00 +01:60", "no such zone"},
};

static void test_points(void)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        const char *problem = NULL;
        struct point point = {0};
        bool parsed = point_parse(good[i].text, NOW, &point, &problem);
        uint64_t number = point.kind == POINT_SEQ ? point.seq : point.time;

        if (!parsed || point.kind != good[i].kind || number != good[i].number)
            printf("\"%s\": %s, kind %d, %llu\n", good[i].text, problem ? problem : "parsed", (int)point.kind,
                   (unsigned long long)number);
        assert(parsed);
        assert(point.kind == good[i].kind);
        assert(number == good[i].number);
        if (point.kind == POINT_TAG)
            assert(point.tag == good[i].text + 4);
    }
}

static void test_refusals(void)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *problem = NULL;
        struct point point = {.kind = POINT_TAG, .tag = "untouched"};
        bool parsed = point_parse(bad[i].text, NOW, &point, &problem);

        if (parsed || !strstr(problem, bad[i].problem))
            printf("\"%s\": %s\n", bad[i].text, parsed ? "parsed" : problem);
        assert(!parsed);
        assert(strstr(problem, bad[i].problem));
        assert(strcmp(point.tag, "untouched") == 0);
    }
}

static void test_durations(void)
{
    static const struct {
        const char *text;
        uint64_t duration;
        const char *back;
    } cases[] = {
        {"7d", 7 * DAY, "7 days"},
        {"36 h", 36 * HOUR, "36 hours"},
        {"1 day", DAY, "1 day"},
        {"none", 0, "none"},
        {"forever", UINT64_MAX, "forever"},
        {"2 weeks", 14 * DAY, "14 days"},
        {"90s", 90 * SECOND, "90 seconds"},
        {"1500 ms", 1500000, "1500 ms"},
        {"1us", 1, "1 us"},
    };
    static const char *const refused[] = {
        "", "7", "d", "7d ago", "7 fortnights", "-1d", "99999999999999 weeks"};
    const char *problem;
    uint64_t duration;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[TIME_TEXT_SIZE];

        assert(duration_parse(cases[i].text, &duration, &problem));
        assert(duration == cases[i].duration);
        duration_text(duration, text);
        assert(strcmp(text, cases[i].back) == 0);
    }
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        problem = NULL;
        assert(!duration_parse(refused[i], &duration, &problem));
        assert(problem);
    }
}

static void test_back(void)
{
    static const uint64_t times[] = {0, 1, NOW, NOW + 250000, 253402300799 * SECOND + 999999};
    char text[TIME_TEXT_SIZE];
    const char *problem;
    struct point point;

    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
        for (int iso = 0; iso < 2; iso++) {
            time_text(times[i], iso, text);
            assert(point_parse(text, NOW, &point, &problem));
            assert(point.kind == POINT_TIME);
            assert(point.time == times[i]);
        }
    time_text(NOW + 250000, false, text);
    assert(strcmp(text, "2026-11-21 10:00:00.250000") == 0);
    time_text(UINT64_MAX, true, text); /* a stranger's number: some text, and no harm */
    assert(*text);
}

int main(void)
{
    test_points();
    test_refusals();
    test_durations();
    test_back();
    puts("all as expected");
    return 0;
}
