/* seen.h - the keys of a file so far, by 128-bit hash, each with the line that it came from. */
#ifndef HELIOS_TOOLS_SEEN_H
#define HELIOS_TOOLS_SEEN_H
#include "tools/heliosctl.h"

struct seen;
struct seen *seen_new(void);
void seen_free(struct seen *);
/* 0: the key is new and is kept; else the line that had it before. line > 0. */
uint64_t seen_add(struct seen *, helios_slice key, uint64_t line);

#endif
