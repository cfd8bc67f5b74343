/* load_table.h - `load --table`. */
#ifndef HELIOS_TOOLS_LOAD_TABLE_H
#define HELIOS_TOOLS_LOAD_TABLE_H
#include "tools/heliosctl.h"

int load_table(struct args *);

#endif
