/* options.c - option structs that can grow: the caller's size says which fields it knows. */
#include "engine/engine_internal.h"

helios_status options_copy(const void *given, size_t given_size, const void *defaults, size_t size, void *out,
                           const char *name)
{
    const unsigned char *bytes = given;
    size_t known = given_size < size ? given_size : size;

    memcpy(out, defaults, size);
    if (!given)
        return HELIOS_OK;
    if (given_size < sizeof(size_t))
        return fail(HELIOS_INVALID, "%s.size is %zu; initialise the struct with its INIT macro", name,
                    given_size);
    for (size_t i = size; i < given_size; i++)
        if (bytes[i] != 0)
            return fail(HELIOS_UNSUPPORTED, "%s has a field at byte %zu that this version does not know", name,
                        i);
    memcpy(out, given, known);
    memcpy(out, &size, sizeof(size));
    return HELIOS_OK;
}
