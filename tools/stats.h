/* stats.h - the library's statistics, read once and looked at by `stats` and `tree`. */
#ifndef HELIOS_TOOLS_STATS_H
#define HELIOS_TOOLS_STATS_H
#include "tools/heliosctl.h"

/* Opens words[0], takes helios_stats_json(), closes. 0 or an exit code, reported. json_free() it. */
int stats_take(struct args *, struct json_object **);
uint64_t stats_number(struct json_object *, const char *name);           /* 0: not there */
struct json_object *stats_array(struct json_object *, const char *name); /* NULL: not there */

struct level_sum {
    int level;
    size_t files;
    uint64_t bytes, entries, older, tombstones; /* older: versions behind the newest of a key in its file */
};
void stats_level_sum(struct json_object *level, struct level_sum *);

#endif
