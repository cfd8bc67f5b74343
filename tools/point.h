/* point.h - read points and times as text, both ways. Knows no database, so that it can be tested alone. */
#ifndef HELIOS_TOOLS_POINT_H
#define HELIOS_TOOLS_POINT_H
#include <stdbool.h>
#include <stdint.h>

enum point_kind {
    POINT_LATEST,
    POINT_START, /* before the first commit */
    POINT_SEQ,
    POINT_TIME,
    POINT_TAG,
};
struct point {
    enum point_kind kind;
    uint64_t seq, time; /* of POINT_SEQ, of POINT_TIME */
    const char *tag;    /* of POINT_TAG: the end of the text that was read */
};

/* What can be asked for, for help and failures. */
#define POINT_EXAMPLES                                                                                         \
    "4711 (a commit's number), \"2026-11-21 10:00:00.25\" (UTC, or with a zone behind it, such as +01:00), "   \
    "\"10 minutes ago\", tag:NAME, now or start"

/* True, and *point; or false, and *problem says in a few words what was not understood. Times before 1970 read as
 * 1970, digits below the microsecond are dropped. now: us since 1970. */
bool point_parse(const char *text, uint64_t now, struct point *, const char **problem);

/* "7d", "1 hour 30 minutes", "none", "forever" (UINT64_MAX). us. */
bool duration_parse(const char *text, uint64_t *duration, const char **problem);

/* "2026-11-21 10:00:00.250000", in UTC, which point_parse() reads; iso: "2026-11-21T10:00:00.250000Z". */
enum { TIME_TEXT_SIZE = 48 };
void time_text(uint64_t time, bool iso, char out[TIME_TEXT_SIZE]);
/* "7 days", "1 hour", "90 minutes": in the largest unit that divides it, "none", "forever". */
void duration_text(uint64_t duration, char out[TIME_TEXT_SIZE]);

#endif
