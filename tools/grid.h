/* grid.h - rows in columns that are aligned, for people. */
#ifndef HELIOS_TOOLS_GRID_H
#define HELIOS_TOOLS_GRID_H
#include "tools/heliosctl.h"

struct grid;
struct grid *grid_new(size_t columns);
/* The next cell of the header first, then of the rows; printed as display_append() has it. right: numbers. */
void grid_cell(struct grid *, helios_slice text, bool right);
void grid_text(struct grid *, const char *text);
/* Prints what is left, and frees. */
void grid_finish(struct grid *);

#endif
