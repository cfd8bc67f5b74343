/* encrypted.h - a random test run on encrypted databases: with HELIOS_TEST_ENCRYPTED set in the environment. */
#ifndef HELIOS_TESTS_ENCRYPTED_H
#define HELIOS_TESTS_ENCRYPTED_H
#include "helios/helios.h"
#include <stdlib.h>

/* For helios_options.encryption; NULL: not asked for. */
static inline const helios_encryption *encrypted_if_asked(void)
{
    static const helios_encryption encryption = {.size = sizeof(helios_encryption),
                                                 .source = HELIOS_KEY_RAW,
                                                 .key = {"thirty-two bytes that are a key.", 32}};

    return getenv("HELIOS_TEST_ENCRYPTED") ? &encryption : NULL;
}

#endif
