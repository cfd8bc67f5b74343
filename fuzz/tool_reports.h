/* tool_reports.h - what the tool's text and input files call of the rest of it, silent: for the fuzz targets of them. */
#ifndef HELIOS_FUZZ_TOOL_REPORTS_H
#define HELIOS_FUZZ_TOOL_REPORTS_H
#include "tools/heliosctl.h"
#include <stdlib.h>

void *xrealloc(void *old, size_t size)
{
    void *memory = realloc(old, size ? size : 1);

    if (!memory)
        abort();
    return memory;
}
void *xalloc(size_t size)
{
    return xrealloc(NULL, size);
}

int report_usage(const struct args *args, const char *format, ...)
{
    return EXIT_CODE_USAGE;
}
int report_input(const struct args *args, const char *format, ...)
{
    return EXIT_CODE_INPUT;
}
int report_system(const struct args *args, const char *format, ...)
{
    return EXIT_CODE_DATABASE;
}

#endif
