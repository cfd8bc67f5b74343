/* slice.h - borrowed bytes, as helios_slice, and the small things done with them. */
#ifndef HELIOS_BASE_SLICE_H
#define HELIOS_BASE_SLICE_H
#include "helios/helios.h"
#include <string.h>

static inline helios_slice slice_make(const void *data, size_t size)
{
    return (helios_slice){data, size};
}

static inline helios_slice slice_text(const char *text)
{
    return (helios_slice){text, strlen(text)};
}

static inline const unsigned char *slice_bytes(helios_slice slice)
{
    return (const unsigned char *)slice.data;
}

/* Unsigned bytes, the shorter first; below, at or above zero. */
static inline int slice_compare(helios_slice a, helios_slice b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common ? memcmp(a.data, b.data, common) : 0;

    if (order != 0)
        return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

static inline bool slice_equal(helios_slice a, helios_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool slice_starts_with(helios_slice slice, helios_slice prefix)
{
    return slice.size >= prefix.size && (prefix.size == 0 || memcmp(slice.data, prefix.data, prefix.size) == 0);
}

/* How many leading bytes both share. */
static inline size_t slice_common(helios_slice a, helios_slice b)
{
    size_t limit = a.size < b.size ? a.size : b.size, count = 0;

    while (count < limit && slice_bytes(a)[count] == slice_bytes(b)[count])
        count++;
    return count;
}

#endif
