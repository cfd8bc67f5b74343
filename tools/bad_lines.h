/* bad_lines.h - lines of a file that could not be loaded: the first are told, all are counted. */
#ifndef HELIOS_TOOLS_BAD_LINES_H
#define HELIOS_TOOLS_BAD_LINES_H
#include "tools/heliosctl.h"

struct bad_lines {
    const struct args *args;   /* words[1] is the file */
    struct progress *progress; /* cleared before a line is told */
    uint64_t count;
};
void bad_lines_note(struct bad_lines *, uint64_t line, const char *problem);
void bad_lines_end(const struct bad_lines *); /* how many were not told */
void bad_lines_summary(const struct bad_lines *);

#endif
